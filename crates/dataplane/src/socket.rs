//! The kernel's sockets: UDP 500 and 4500, and raw sockets of protocol 50.
//!
//! Every socket is bound to one family (IPv6 without mapped IPv4), carries the mark that our routing rule lets pass,
//! and learns with each datagram which of our addresses it was sent to. ICMP errors do not reach an unconnected
//! socket without `IP_RECVERR`, so a peer that is away disturbs nobody.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use libc::c_int;
use socket2::{Domain, Protocol, SockAddr, Type};

use crate::device::{Carries, ReceiveBatch, Socket, Train};
use crate::egress::Gso;
use crate::limits::SOCKET_BUFFER;
use crate::{Listen, Settings, StartError, sys};

/// A socket of the kernel.
#[derive(Debug)]
pub(crate) struct HostSocket {
    socket: socket2::Socket,
    carries: Carries,
    bound: SocketAddr,
}

/// The sockets of one worker.
#[derive(Clone, Debug)]
pub(crate) struct SocketSet {
    /// All that it may send through.
    pub(crate) sockets: Vec<Arc<HostSocket>>,
    /// How many of them, from the front, it receives from.
    pub(crate) received: usize,
}

/// Opens the sockets of `workers` workers.
///
/// Peers are spread over the workers by the kernel's hash of their addresses and ports (`SO_REUSEPORT`). That leaves port
/// 500 and protocol 50 to the first worker: IKE is rare, and every raw socket of a protocol gets every packet of it. The
/// others send through the first one's raw sockets.
///
/// # Errors
/// A port is in use, an address is not ours, a privilege is missing.
pub(crate) fn open(settings: &Settings, workers: usize) -> Result<Vec<SocketSet>, StartError> {
    let mut first = Vec::new();
    let mut raw = Vec::new();
    let mut addresses = Vec::new();
    for (address, presence) in wanted_addresses(&settings.listen) {
        match open_all_kinds(settings, address) {
            Ok(sockets) => {
                let (sends_only, receives) = sockets
                    .into_iter()
                    .partition::<Vec<_>, _>(|socket| socket.carries == Carries::WholePackets);
                raw.extend(receives.iter().filter(|socket| socket.carries == Carries::Esp).cloned());
                raw.extend(sends_only);
                first.extend(receives);
                addresses.push(address);
            }
            Err(StartError::Listen { source, .. })
                if presence == Presence::IfThere && is_absent_family(&source) =>
            {
                tracing::info!(%address, "not listening: this host has no such addresses");
            }
            Err(error) => return Err(error),
        }
    }
    let mut sets = vec![with_raw(first, &raw)];
    for _ in 1..workers {
        let shared = |address: &IpAddr| {
            open_udp(settings, *address, settings.nat_port, Carries::IkeAndEsp).map(Arc::new)
        };
        sets.push(with_raw(addresses.iter().map(shared).collect::<Result<_, _>>()?, &raw));
    }
    Ok(sets)
}

/// Tells whether the kernel cuts trains of datagrams for these sockets.
pub(crate) fn probe_gso(sockets: &[Arc<HostSocket>]) -> Gso {
    let cuts = |socket: &Arc<HostSocket>| {
        sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
    };
    let mut udp = sockets.iter().filter(|socket| socket.carries == Carries::IkeAndEsp);
    if udp.all(cuts) { Gso::Offered } else { Gso::Absent }
}

impl Socket for HostSocket {
    fn carries(&self) -> Carries {
        self.carries
    }

    fn bound(&self) -> SocketAddr {
        self.bound
    }

    fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        let count = sys::receive_batch(self.socket.as_fd(), batch)?;
        if self.carries == Carries::Esp {
            for (room, received) in batch.rooms().take(count) {
                received.source.set_port(0);
                // raw(7): an IPv4 socket shows the IP header, an IPv6 socket does not.
                if self.bound.is_ipv4() {
                    received.skip = (usize::from(room[0] & 0x0f) * 4).min(received.len);
                    received.len -= received.skip;
                    received.segment_size = received.len.max(1);
                }
            }
        }
        Ok(count)
    }

    fn send(&self, trains: &[Train<'_>]) -> io::Result<usize> {
        sys::send_batch(self.socket.as_fd(), trains)
    }
}

impl AsFd for HostSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    IfThere,
}

fn wanted_addresses(listen: &Listen) -> Vec<(IpAddr, Presence)> {
    match listen {
        Listen::Everywhere => vec![
            (Ipv4Addr::UNSPECIFIED.into(), Presence::Required),
            (Ipv6Addr::UNSPECIFIED.into(), Presence::IfThere),
        ],
        Listen::On(addresses) => addresses.iter().map(|address| (*address, Presence::Required)).collect(),
    }
}

fn is_absent_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn with_raw(received: Vec<Arc<HostSocket>>, raw: &[Arc<HostSocket>]) -> SocketSet {
    let count = received.len();
    let mut sockets = received;
    for socket in raw {
        if !sockets.iter().any(|there| Arc::ptr_eq(there, socket)) {
            sockets.push(Arc::clone(socket));
        }
    }
    SocketSet { sockets, received: count }
}

fn open_all_kinds(settings: &Settings, address: IpAddr) -> Result<Vec<Arc<HostSocket>>, StartError> {
    let sockets = [
        open_udp(settings, address, settings.ike_port, Carries::Ike)?,
        open_first_of_nat_port(settings, address)?,
        open_raw(settings, address, ESP, Carries::Esp)?,
        open_raw(settings, address, libc::IPPROTO_RAW, Carries::WholePackets)?,
    ];
    Ok(sockets.map(Arc::new).to_vec())
}

/// Opens the first socket of port 4500: it must find the port free, and then shares it with our other workers.
fn open_first_of_nat_port(settings: &Settings, address: IpAddr) -> Result<HostSocket, StartError> {
    let bound = SocketAddr::new(address, settings.nat_port);
    let socket = new_socket(settings, bound, Type::DGRAM, Protocol::UDP)?;
    let socket = bind(socket, bound, Carries::IkeAndEsp)?;
    socket.socket.set_reuse_port(true)?;
    Ok(socket)
}

fn open_udp(
    settings: &Settings,
    address: IpAddr,
    port: u16,
    carries: Carries,
) -> Result<HostSocket, StartError> {
    let bound = SocketAddr::new(address, port);
    let socket = new_socket(settings, bound, Type::DGRAM, Protocol::UDP)?;
    if carries == Carries::IkeAndEsp {
        socket.set_reuse_port(true)?;
    }
    bind(socket, bound, carries)
}

fn open_raw(
    settings: &Settings,
    address: IpAddr,
    protocol: c_int,
    carries: Carries,
) -> Result<HostSocket, StartError> {
    let bound = SocketAddr::new(address, 0);
    let socket = new_socket(settings, bound, Type::RAW, Protocol::from(protocol))?;
    if carries == Carries::WholePackets && bound.is_ipv6() {
        // ip(7) implies this of IPPROTO_RAW in IPv4.
        sys::set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_HDRINCL, 1)?;
    }
    bind(socket, bound, carries)
}

fn new_socket(
    settings: &Settings,
    bound: SocketAddr,
    kind: Type,
    protocol: Protocol,
) -> Result<socket2::Socket, StartError> {
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            StartError::Privilege { action: "opening a raw socket", capability: "CAP_NET_RAW" }
        }
        _ => StartError::Listen { address: bound, source },
    };
    let socket = socket2::Socket::new(Domain::for_address(bound), kind, Some(protocol)).map_err(failed)?;
    socket.set_mark(settings.mark).map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM) => {
            StartError::Privilege { action: "marking our sockets", capability: "CAP_NET_ADMIN" }
        }
        _ => StartError::System(source),
    })?;
    grow_buffers(socket.as_fd());
    for &(level, name) in wanted_options(bound) {
        sys::set_option(socket.as_fd(), level, name, 1)?;
    }
    // A raw socket has no mapped addresses, and refuses the option.
    if kind == Type::DGRAM && bound.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::DGRAM && sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1).is_err() {
        tracing::info!("this kernel does not gather UDP datagrams (UDP_GRO); receiving them one by one");
    }
    Ok(socket)
}

/// The options without which a socket is of no use, by family.
fn wanted_options(bound: SocketAddr) -> &'static [(c_int, c_int)] {
    match bound {
        SocketAddr::V4(_) => &[(libc::IPPROTO_IP, libc::IP_PKTINFO), (libc::IPPROTO_IP, libc::IP_RECVTOS)],
        SocketAddr::V6(_) => {
            &[(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS)]
        }
    }
}

/// Asks for buffers that outlast a scheduling delay; whatever the kernel grants is fine.
fn grow_buffers(socket: BorrowedFd<'_>) {
    for (name, limited_name) in
        [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        if sys::set_option(socket, libc::SOL_SOCKET, name, SOCKET_BUFFER).is_err()
            && let Err(error) = sys::set_option(socket, libc::SOL_SOCKET, limited_name, SOCKET_BUFFER)
        {
            tracing::debug!(%error, "socket buffers keep their size");
        }
    }
}

fn bind(socket: socket2::Socket, bound: SocketAddr, carries: Carries) -> Result<HostSocket, StartError> {
    match socket.bind(&SockAddr::from(bound)) {
        Ok(()) => Ok(HostSocket { socket, carries, bound }),
        Err(error) => Err(match error.kind() {
            ErrorKind::AddrInUse => StartError::PortInUse { address: bound, holder: holder_of(bound) },
            ErrorKind::PermissionDenied => StartError::Privilege {
                action: "binding ports below 1024",
                capability: "CAP_NET_BIND_SERVICE",
            },
            _ => StartError::Listen { address: bound, source: error },
        }),
    }
}

/// Finds the program that holds a UDP port: its inode in /proc/net/udp, then the process that has this inode open.
fn holder_of(bound: SocketAddr) -> Option<String> {
    let table = if bound.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    let inode = inode_of_port(&fs::read_to_string(table).ok()?, bound.port())?;
    let mut wanted = String::new();
    write!(wanted, "socket:[{inode}]").ok()?;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let id = process.file_name();
        if id.to_str().is_none_or(|id| id.parse::<u32>().is_err()) {
            continue;
        }
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let mut targets =
            descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        if targets.any(|target| target.as_os_str() == wanted.as_str()) {
            let name = fs::read_to_string(process.path().join("comm")).ok()?;
            return Some(format!("{} (process {})", name.trim(), id.to_string_lossy()));
        }
    }
    None
}

/// Finds the inode of the socket on `port` in a table of proc(5)'s `/proc/net/udp`.
fn inode_of_port(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let (_, local_port) = local.rsplit_once(':')?;
        let inode = fields.nth(7)?;
        (u16::from_str_radix(local_port, 16) == Ok(port)).then(|| inode.parse().ok())?
    })
}

const ESP: c_int = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inode_of_a_port_is_found_in_proc() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            \x20 401: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 17001 2 0000000000000000 0\n\
            \x20 833: 0100007F:01F4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 28125 2 0000000000000000 0\n";
        assert_eq!(inode_of_port(table, 500), Some(28125));
        assert_eq!(inode_of_port(table, 4500), None);
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let address = socket.local_addr().expect("bound");
        let holder = holder_of(address).expect("this process holds it");
        assert!(holder.ends_with(&format!("(process {})", std::process::id())), "{holder}");
    }
}
