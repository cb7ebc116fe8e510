//! The kernel's sockets: UDP 500 and 4500, and raw sockets of protocols 50 and 51.
//!
//! Every socket is bound to one family (IPv6 without mapped IPv4), carries the mark that our routing rule lets pass,
//! and learns with each datagram which of our addresses it was sent to. ICMP errors do not reach an unconnected
//! socket without `IP_RECVERR`, so a peer that is away disturbs nobody; those that count have a socket of their own.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use libc::c_int;
use socket2::{Domain, Protocol, SockAddr, Type};

use sa::Family;
use sa::Protocol::{Ah, Esp};

use crate::departures::Gso;
use crate::device::{self, Carries, ReceiveBatch, Socket, Train};
use crate::limits::{RAW_WORKERS, SOCKET_BUFFER};
use crate::raw_filter::{self, Share};
use crate::{Listen, Settings, StartError, sys};

/// A socket of the kernel.
#[derive(Debug)]
pub(crate) struct HostSocket {
    socket: socket2::Socket,
    carries: Carries,
    bound: SocketAddr,
    /// What the kernel was last told, which it cannot be told with each packet; whoever sends holds the lock.
    cutting: Mutex<Option<Cutting>>,
}

/// Whether the packets of a socket may be cut on their way, by this host as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cutting {
    /// Don't Fragment is set.
    Forbidden,
    /// It is not.
    Allowed,
}

/// The sockets of one worker.
#[derive(Clone, Debug)]
pub(crate) struct SocketSet {
    /// All that it may send through.
    pub(crate) sockets: Vec<Arc<HostSocket>>,
    /// How many of them, from the front, it receives from.
    pub(crate) received: usize,
}

impl SocketSet {
    /// Joins the sockets that a worker receives from and those that it borrows to send through.
    fn new<'a>(received: Vec<Arc<HostSocket>>, lent: impl Iterator<Item = &'a Arc<HostSocket>>) -> SocketSet {
        let count = received.len();
        let mut sockets = received;
        for socket in lent {
            if !sockets.iter().any(|there| Arc::ptr_eq(there, socket)) {
                sockets.push(Arc::clone(socket));
            }
        }
        SocketSet { sockets, received: count }
    }
}

/// Opens the sockets of `workers` workers.
///
/// Peers are spread over the workers by the kernel's hash of their addresses and ports (`SO_REUSEPORT`), and SAs without UDP
/// over the first few by their SPIs ([`raw_filter`]). Port 500, ICMP and whole packets are the first worker's: they are
/// rare. Others send through its sockets, as those do through another's that have no raw sockets of their own.
///
/// # Errors
/// A port is in use, an address is not ours, a privilege is missing.
pub(crate) fn open(settings: &Settings, workers: usize) -> Result<Vec<SocketSet>, StartError> {
    let shares = workers.clamp(1, RAW_WORKERS);
    let share = |index: usize| Share { index: index as u32, of: shares as u32 };
    let mut first = Vec::new();
    let mut sends_only = Vec::new();
    let mut addresses = Vec::new();
    for (address, presence) in wanted_addresses(&settings.listen) {
        match open_all_kinds(settings, address, share(0)) {
            Ok(sockets) => {
                let (whole, received) = sockets
                    .into_iter()
                    .partition::<Vec<_>, _>(|socket| socket.carries == Carries::WholePackets);
                sends_only.extend(whole);
                first.extend(received);
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
    let mut received = vec![first];
    for index in 1..workers {
        let mut sockets = Vec::new();
        for address in &addresses {
            sockets.push(open_udp(settings, *address, settings.nat_port, Carries::IkeAndEsp)?);
            if index < shares {
                sockets.push(open_bare(settings, *address, Esp, share(index))?);
                sockets.push(open_bare(settings, *address, Ah, share(index))?);
            }
        }
        received.push(sockets.into_iter().map(Arc::new).collect());
    }
    let lends: Vec<Vec<Arc<HostSocket>>> =
        received.iter().take(shares).map(|sockets| bare(sockets)).collect();
    let sets = received.into_iter().zip(lends.iter().cycle());
    Ok(sets.map(|(received, lent)| SocketSet::new(received, lent.iter().chain(&sends_only))).collect())
}

fn bare(sockets: &[Arc<HostSocket>]) -> Vec<Arc<HostSocket>> {
    sockets.iter().filter(|socket| matches!(socket.carries, Carries::Bare(_))).cloned().collect()
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
        if let Carries::Bare(_) = self.carries {
            for room in batch.rooms().take(count) {
                let received = room.received;
                received.source.set_port(0);
                // raw(7): an IPv4 socket shows the IP header, an IPv6 socket does not.
                if self.bound.is_ipv4() {
                    received.skip = (usize::from(room.octets[0] & 0x0f) * 4).min(received.len);
                    received.len -= received.skip;
                    received.segment_size = received.len.max(1);
                }
            }
        }
        Ok(count)
    }

    fn send(&self, trains: &[Train<'_>]) -> io::Result<usize> {
        let Some(first) = trains.first() else { return Ok(0) };
        // A packet that comes with its header says there whether it may be cut.
        if self.carries == Carries::WholePackets {
            return sys::send_batch(self.socket.as_fd(), trains);
        }
        let wanted = Cutting::of(first);
        let alike = trains.iter().take_while(|train| Cutting::of(train) == wanted).count();
        // No code that holds the lock can panic halfway through a change.
        let mut told = self.cutting.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != Some(wanted) {
            *told = None;
            self.tell(wanted)?;
            *told = Some(wanted);
        }
        sys::send_batch(self.socket.as_fd(), &trains[..alike])
    }
}

impl Cutting {
    fn of(train: &Train<'_>) -> Cutting {
        if train.header.dont_fragment { Cutting::Forbidden } else { Cutting::Allowed }
    }
}

impl HostSocket {
    /// Tells the kernel what holds for the packets that follow.
    ///
    /// The kernel's own path MTUs are not looked at: it learns them from ICMP errors that anybody may have sent. Only what
    /// it cuts itself in IPv6, long messages of IKE, it has to cut by what it knows, and that is never below 1280.
    fn tell(&self, cutting: Cutting) -> io::Result<()> {
        let set = |level, name, value| sys::set_option(self.socket.as_fd(), level, name, value);
        match (self.bound, cutting) {
            (SocketAddr::V4(_), Cutting::Forbidden) => {
                set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
            }
            (SocketAddr::V4(_), Cutting::Allowed) => {
                set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
            }
            (SocketAddr::V6(_), Cutting::Forbidden) => {
                set(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
            }
            (SocketAddr::V6(_), Cutting::Allowed) => {
                set(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)
            }
        }
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

fn open_all_kinds(
    settings: &Settings,
    address: IpAddr,
    share: Share,
) -> Result<Vec<Arc<HostSocket>>, StartError> {
    let sockets = [
        open_udp(settings, address, settings.ike_port, Carries::Ike)?,
        open_first_of_nat_port(settings, address)?,
        open_bare(settings, address, Esp, share)?,
        open_bare(settings, address, Ah, share)?,
        open_raw(settings, address, libc::IPPROTO_RAW, Carries::WholePackets)?,
        open_errors(settings, address)?,
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

/// Opens a raw socket of ESP or AH for a share of the SAs, which also tells what AH authenticates of the IP header.
fn open_bare(
    settings: &Settings,
    address: IpAddr,
    protocol: sa::Protocol,
    share: Share,
) -> Result<HostSocket, StartError> {
    let socket = open_raw(settings, address, device::number(protocol).into(), Carries::Bare(protocol))?;
    if share.of > 1 {
        let program = raw_filter::program(Family::of(address), protocol, share);
        socket.socket.attach_filter(&program)?;
    }
    if address.is_ipv6() {
        for name in
            [libc::IPV6_RECVHOPOPTS, libc::IPV6_RECVRTHDR, libc::IPV6_RECVDSTOPTS, libc::IPV6_FLOWINFO]
        {
            sys::set_option(socket.as_fd(), libc::IPPROTO_IPV6, name, 1)?;
        }
    }
    Ok(socket)
}

/// Opens a raw socket that hears which of our packets were too long for their path.
///
/// `IP_RECVERR` would tell this of each socket by itself, and would let sending fail whenever there is something to tell.
fn open_errors(settings: &Settings, address: IpAddr) -> Result<HostSocket, StartError> {
    if address.is_ipv4() {
        let socket = open_raw(settings, address, libc::IPPROTO_ICMP, Carries::Errors)?;
        sys::set_option(socket.as_fd(), libc::SOL_RAW, ICMP_FILTER, !(1 << ICMP_UNREACHABLE))?;
        Ok(socket)
    } else {
        let socket = open_raw(settings, address, libc::IPPROTO_ICMPV6, Carries::Errors)?;
        let mut blocked = [u32::MAX; 8];
        blocked[0] &= !(1 << ICMPV6_TOO_BIG);
        sys::set_icmpv6_filter(socket.as_fd(), blocked)?;
        Ok(socket)
    }
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
        SocketAddr::V4(_) => &[
            (libc::IPPROTO_IP, libc::IP_PKTINFO),
            (libc::IPPROTO_IP, libc::IP_RECVTOS),
            (libc::IPPROTO_IP, libc::IP_RECVTTL),
        ],
        SocketAddr::V6(_) => &[
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
        ],
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
        Ok(()) => Ok(HostSocket { socket, carries, bound, cutting: Mutex::new(None) }),
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

/// An option of raw ICMP sockets: a mask of the types that are not wanted (`linux/icmp.h`).
const ICMP_FILTER: c_int = 1;
/// The type under which routers tell that a packet is too long, among other things (RFC 792).
const ICMP_UNREACHABLE: u32 = 3;
/// The type under which routers tell that a packet is too long (RFC 4443 §3.2).
const ICMPV6_TOO_BIG: u32 = 2;

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
