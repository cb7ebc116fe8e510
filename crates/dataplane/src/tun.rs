//! The kernel's TUN device: one queue for each worker, super-packets both ways.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::device::Tun;
use crate::limits::RUN_PACKETS;
use crate::offload::{Joins, VnetHeader};
use crate::{Persistence, StartError, sys};

/// One queue of a TUN device; the device goes with its last queue.
#[derive(Debug)]
pub(crate) struct TunQueue {
    file: File,
    offloads: TunOffloads,
    name: Box<str>,
}

/// What the kernel may leave to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunOffloads {
    /// Checksums, TCP segmentation and UDP segmentation (Linux 6.2).
    TcpAndUdp,
    /// Checksums and TCP segmentation.
    Tcp,
    /// Nothing: every packet comes whole.
    None,
}

/// Makes the device `name` with `count` queues.
///
/// # Errors
/// No TUN driver, no privilege, or the name is taken.
pub(crate) fn create(name: &str, count: usize) -> Result<Vec<TunQueue>, StartError> {
    // The first queue must make the device: one of this name that is there already belongs to somebody else.
    (0..count).map(|index| open(name, if index == 0 { libc::IFF_TUN_EXCL } else { 0 })).collect()
}

/// Makes the device `name` with `count` queues, or takes over a persistent one that nobody reads.
///
/// # Errors
/// No TUN driver, no privilege, or the name is that of a device of another kind.
pub(crate) fn attach(name: &str, count: usize) -> Result<Vec<TunQueue>, StartError> {
    (0..count).map(|_| open(name, 0)).collect()
}

/// Lets a device go with its last queue, or stay.
pub(crate) fn set_persistence(queues: &[TunQueue], persistence: Persistence) -> io::Result<()> {
    match queues {
        [queue, ..] => sys::set_tun_persistence(queue.file.as_fd(), persistence),
        [] => Ok(()),
    }
}

impl TunQueue {
    /// Gives the name that its device was made or attached by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells which offloads the kernel accepted.
    pub(crate) fn offloads(&self) -> TunOffloads {
        self.offloads
    }
}

impl Tun for TunQueue {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(VnetHeader, usize)> {
        let mut header = [0; VnetHeader::LEN];
        let parts = &mut [io::IoSliceMut::new(&mut header), io::IoSliceMut::new(buffer)];
        let octets = self.file.read_vectored(parts)?;
        let invalid = |what| io::Error::new(ErrorKind::InvalidData, what);
        let length = octets.checked_sub(VnetHeader::LEN).ok_or_else(|| invalid("shorter than its header"))?;
        let header = VnetHeader::decode(&header).map_err(|_| invalid("an offload that we did not offer"))?;
        Ok((header, length))
    }

    fn send(&mut self, header: VnetHeader, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let header = header.encode();
        let mut vectors = [IoSlice::new(&[]); MOST_PARTS];
        let (first, rest) = vectors.split_at_mut(1);
        first[0] = IoSlice::new(&header);
        let rest = rest.get_mut(..parts.len()).ok_or(ErrorKind::InvalidInput)?;
        rest.copy_from_slice(parts);
        // A TUN device takes a packet whole or not at all.
        self.file.write_vectored(&vectors[..=parts.len()]).map(drop)
    }

    fn joins(&self) -> Joins {
        match self.offloads {
            TunOffloads::TcpAndUdp => Joins::TcpAndUdp,
            TunOffloads::Tcp | TunOffloads::None => Joins::Tcp,
        }
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open_driver() -> Result<File, StartError> {
    let opened = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DRIVER);
    opened.map_err(|error| match error.kind() {
        ErrorKind::NotFound => StartError::NoTunDriver,
        ErrorKind::PermissionDenied => StartError::TunDriverForbidden,
        _ if error.raw_os_error() == Some(libc::ENODEV) => StartError::NoTunDriver,
        _ => StartError::Tun { name: DRIVER.to_owned(), source: error },
    })
}

fn open(name: &str, more_flags: libc::c_int) -> Result<TunQueue, StartError> {
    let file = open_driver()?;
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE | more_flags;
    sys::attach_tun_queue(file.as_fd(), name, flags).map_err(|error| refused(name, error))?;
    let offloads = negotiate_offloads(file.as_fd());
    Ok(TunQueue { file, offloads, name: name.into() })
}

fn refused(name: &str, error: io::Error) -> StartError {
    match error.raw_os_error() {
        Some(libc::EPERM) => NO_PRIVILEGE,
        _ => StartError::Tun { name: name.to_owned(), source: error },
    }
}

fn negotiate_offloads(tun: BorrowedFd<'_>) -> TunOffloads {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    let tcp_and_udp = tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6;
    if sys::set_tun_offloads(tun, tcp_and_udp).is_ok() {
        TunOffloads::TcpAndUdp
    } else if sys::set_tun_offloads(tun, tcp).is_ok() {
        TunOffloads::Tcp
    } else {
        TunOffloads::None
    }
}

const DRIVER: &str = "/dev/net/tun";

const NO_PRIVILEGE: StartError =
    StartError::Privilege { action: "creating the TUN device", capability: "CAP_NET_ADMIN" };

/// A virtio-net header, TCP/IP headers and the payloads of a run.
const MOST_PARTS: usize = 2 + RUN_PACKETS;
