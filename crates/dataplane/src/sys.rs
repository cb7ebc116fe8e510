//! The kernel calls for which no safe wrapper fits: `ioctl` on TUN, socket options, `recvmmsg` and `sendmmsg` with
//! control messages. All unsafe code of the crate is here.

#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{ptr, slice};

use libc::{c_int, c_void, cmsghdr, in_pktinfo, in6_pktinfo, iovec, mmsghdr, msghdr, sockaddr_storage};
use socket2::SockAddr;

use wire::ip::protocol;

use crate::Persistence;
use crate::device::{Extensions, ReceiveBatch, Received, Train};
use crate::limits::{RECEIVE_BATCH, SEND_BATCH};

/// Attaches an open `/dev/net/tun` to a queue of the device `name`, which comes into being with its first queue.
pub(crate) fn attach_tun_queue(tun: BorrowedFd<'_>, name: &str, flags: c_int) -> io::Result<()> {
    // SAFETY: an ifreq is plain data; all zeros is a valid one.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a device name has 1 to 15 octets"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, and `request` outlives the call.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as libc::Ioctl, &raw mut request) };
    succeeded(result)
}

/// Tells the kernel whether a TUN device stays when its last queue is closed.
pub(crate) fn set_tun_persistence(tun: BorrowedFd<'_>, persistence: Persistence) -> io::Result<()> {
    let stays: c_int = match persistence {
        Persistence::WithPlane => 0,
        Persistence::UntilRemoved => 1,
    };
    // SAFETY: TUNSETPERSIST takes its argument by value.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETPERSIST as libc::Ioctl, stays) };
    succeeded(result)
}

/// Tells the kernel which offloads we take from a TUN device.
pub(crate) fn set_tun_offloads(tun: BorrowedFd<'_>, offloads: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    let result = unsafe {
        libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD as libc::Ioctl, libc::c_ulong::from(offloads))
    };
    succeeded(result)
}

/// Sets a socket option whose value is an int.
pub(crate) fn set_option(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set_plain_option(socket, level, name, value)
}

/// Tells a raw ICMPv6 socket which of the 256 types it does not want, a bit each (RFC 3542 §3.2).
pub(crate) fn set_icmpv6_filter(socket: BorrowedFd<'_>, blocked: [u32; 8]) -> io::Result<()> {
    set_plain_option(socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, blocked)
}

/// Sets a socket option whose value is plain data.
fn set_plain_option<T: Copy>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: T) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            mem::size_of::<T>() as libc::socklen_t,
        )
    };
    succeeded(result)
}

/// `linux/icmpv6.h`.
const ICMPV6_FILTER: c_int = 1;

/// Receives up to [`RECEIVE_BATCH`] datagrams in one call, without waiting.
pub(crate) fn receive_batch(socket: BorrowedFd<'_>, batch: &mut ReceiveBatch) -> io::Result<usize> {
    let mut names = [const { MaybeUninit::<sockaddr_storage>::uninit() }; RECEIVE_BATCH];
    let mut controls = [const { MaybeUninit::<HeardRoom>::uninit() }; RECEIVE_BATCH];
    let mut vectors = [iovec { iov_base: ptr::null_mut(), iov_len: 0 }; RECEIVE_BATCH];
    let mut messages = [EMPTY_MESSAGE; RECEIVE_BATCH];
    let rooms = batch.rooms().zip(&mut names).zip(&mut controls).zip(&mut vectors).zip(&mut messages);
    for ((((room, name), control), vector), message) in rooms {
        *vector = iovec { iov_base: room.octets.as_mut_ptr().cast(), iov_len: room.octets.len() };
        message.msg_hdr.msg_name = name.as_mut_ptr().cast();
        message.msg_hdr.msg_namelen = mem::size_of::<sockaddr_storage>() as libc::socklen_t;
        message.msg_hdr.msg_iov = vector;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_control = control.as_mut_ptr().cast();
        message.msg_hdr.msg_controllen = mem::size_of_val(control) as _;
    }
    // SAFETY: every header points to a name, a control buffer and one vector of this stack frame, and every vector to a
    // room of `batch`, which is borrowed exclusively; each with its own length. The kernel writes within these.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            RECEIVE_BATCH as libc::c_uint,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    for ((room, name), message) in batch.rooms().zip(&names).zip(&messages).take(count) {
        // SAFETY: the kernel filled the name and the control buffer of the first `count` messages.
        *room.received = unsafe { describe(name, message, room.extensions) };
        if message.msg_hdr.msg_flags & libc::MSG_CTRUNC != 0 {
            room.extensions.overflow();
        }
    }
    Ok(count)
}

/// Sends up to [`SEND_BATCH`] trains in one call, without waiting; gives how many went.
pub(crate) fn send_batch(socket: BorrowedFd<'_>, trains: &[Train<'_>]) -> io::Result<usize> {
    let trains = &trains[..trains.len().min(SEND_BATCH)];
    let mut names = [const { None::<SockAddr> }; SEND_BATCH];
    let mut controls = [ControlRoom::EMPTY; SEND_BATCH];
    let mut messages = [EMPTY_MESSAGE; SEND_BATCH];
    for (((train, name), control), message) in
        trains.iter().zip(&mut names).zip(&mut controls).zip(&mut messages)
    {
        let name = name.insert(SockAddr::from(train.destination));
        message.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = name.len();
        // An IoSlice is guaranteed to have the layout of an iovec, and sendmmsg only reads.
        message.msg_hdr.msg_iov = train.parts.as_ptr().cast_mut().cast::<IoSlice<'_>>().cast::<iovec>();
        message.msg_hdr.msg_iovlen = train.parts.len() as _;
        let used = control.write_for(train);
        message.msg_hdr.msg_control = if used == 0 { ptr::null_mut() } else { control.0.as_mut_ptr().cast() };
        message.msg_hdr.msg_controllen = used as _;
    }
    // SAFETY: the first `trains.len()` headers point to a name and a control buffer of this stack frame and to the parts
    // of their train, which is borrowed; each with its own length. sendmmsg writes to `msg_len` of the headers only.
    let count = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            trains.len() as libc::c_uint,
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Room for the control messages of a received datagram: address, class, hop limit, flow label, segment size, and the
/// extension headers of IPv6 as far as we keep them.
type HeardRoom = [u64; 64];

/// Room for the control messages of one datagram that is sent, aligned as `cmsghdr` wants it.
#[derive(Clone, Copy)]
struct ControlRoom([u64; 17]);

impl ControlRoom {
    const EMPTY: ControlRoom = ControlRoom([0; 17]);

    /// Writes source address, segment size, traffic class, hop limit and mark where they are wanted; gives the octets used.
    fn write_for(&mut self, train: &Train<'_>) -> usize {
        let mut used = 0;
        match train.source {
            address if address.is_unspecified() => {}
            IpAddr::V4(address) => {
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
                let value = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: source };
                self.push(&mut used, libc::IPPROTO_IP, libc::IP_PKTINFO, value);
            }
            IpAddr::V6(address) => {
                let source = libc::in6_addr { s6_addr: address.octets() };
                let value = in6_pktinfo { ipi6_addr: source, ipi6_ifindex: 0 };
                self.push(&mut used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, value);
            }
        }
        if let Some(size) = train.segment_size {
            self.push(&mut used, libc::SOL_UDP, libc::UDP_SEGMENT, size);
        }
        let (level, class_kind, hop_limit_kind) = match train.destination {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS, libc::IP_TTL),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::IPV6_HOPLIMIT),
        };
        if train.header.traffic_class != 0 {
            self.push(&mut used, level, class_kind, c_int::from(train.header.traffic_class));
        }
        if let Some(hop_limit) = train.header.hop_limit {
            self.push(&mut used, level, hop_limit_kind, c_int::from(hop_limit));
        }
        if let Some(mark) = train.mark {
            self.push(&mut used, libc::SOL_SOCKET, libc::SO_MARK, mark.get());
        }
        used
    }

    fn push<T: Copy>(&mut self, used: &mut usize, level: c_int, kind: c_int, value: T) {
        let value_len = mem::size_of::<T>() as libc::c_uint;
        // SAFETY: these only compute sizes.
        let (len, space) = unsafe { (libc::CMSG_LEN(value_len), libc::CMSG_SPACE(value_len)) };
        assert!(*used + space as usize <= mem::size_of_val(&self.0), "136 octets are the most that we write");
        // SAFETY: the assertion keeps header and value within the room; `used` is a multiple of the alignment, because
        // CMSG_SPACE is; the value may be unaligned.
        unsafe {
            let header = self.0.as_mut_ptr().cast::<u8>().add(*used).cast::<cmsghdr>();
            (*header).cmsg_len = len as _;
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        *used += space as usize;
    }
}

const EMPTY_MESSAGE: mmsghdr = mmsghdr {
    // SAFETY: a msghdr of zeros is one without name, vectors and control messages.
    msg_hdr: unsafe { mem::zeroed::<msghdr>() },
    msg_len: 0,
};

/// Reads what the kernel said about a datagram.
///
/// # Safety
/// `message` was filled by recvmmsg; its control buffer still exists, and `name` is its name.
unsafe fn describe(
    name: &MaybeUninit<sockaddr_storage>,
    message: &mmsghdr,
    extensions: &mut Extensions,
) -> Received {
    *extensions = Extensions::NONE;
    let len = message.msg_len as usize;
    // SAFETY: the kernel wrote `msg_namelen` octets of the name.
    let source = unsafe { socket_address(name.as_ptr(), message.msg_hdr.msg_namelen as usize) };
    let mut received = Received {
        skip: 0,
        len,
        segment_size: len.max(1),
        source,
        destination: match source {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        },
        traffic_class: 0,
        hop_limit: ipsec::limits::HOP_LIMIT,
        flow_label: 0,
    };
    // SAFETY: the header describes the control buffer as the kernel left it.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(&raw const message.msg_hdr) };
    while !control.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give whole control messages or null; a value of each kind has the type
        // that ip(7), ipv6(7) and udp(7) document, read without assuming alignment, and an extension header the length
        // that is left of its message.
        unsafe {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let value = data.cast::<in_pktinfo>().read_unaligned();
                    received.destination = Ipv4Addr::from(value.ipi_addr.s_addr.to_ne_bytes()).into();
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let value = data.cast::<in6_pktinfo>().read_unaligned();
                    received.destination = Ipv6Addr::from(value.ipi6_addr.s6_addr).into();
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => received.traffic_class = data.read(),
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    received.hop_limit = data.cast::<c_int>().read_unaligned() as u8;
                }
                (libc::IPPROTO_IPV6, libc::IPV6_FLOWINFO) => {
                    let value = u32::from_be(data.cast::<u32>().read_unaligned());
                    received.flow_label = value & FLOW_LABEL;
                }
                (libc::IPPROTO_IPV6, kind @ (libc::IPV6_HOPOPTS | libc::IPV6_RTHDR | libc::IPV6_DSTOPTS)) => {
                    let len = ((*control).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                    let protocol = match kind {
                        libc::IPV6_HOPOPTS => protocol::HOP_BY_HOP,
                        libc::IPV6_RTHDR => protocol::ROUTING,
                        _ => protocol::DESTINATION_OPTIONS,
                    };
                    extensions.push(protocol, slice::from_raw_parts(data, len));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    received.traffic_class = data.cast::<c_int>().read_unaligned() as u8;
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = data.cast::<c_int>().read_unaligned();
                    received.segment_size = usize::try_from(size).unwrap_or(len).max(1);
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(&raw const message.msg_hdr, control);
        }
    }
    received
}

/// Reads an address that the kernel wrote; one that is absent or of another family is unspecified.
///
/// # Safety
/// `name` points to a sockaddr_storage of which the first `length` octets are written.
unsafe fn socket_address(name: *const sockaddr_storage, length: usize) -> SocketAddr {
    let absent = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    if length < mem::size_of::<libc::sa_family_t>() {
        return absent;
    }
    // SAFETY: the family is written, as the length says.
    let family = c_int::from(unsafe { (*name).ss_family });
    if family == libc::AF_INET && length >= mem::size_of::<libc::sockaddr_in>() {
        // SAFETY: a sockaddr_in is written, as family and length say; a sockaddr_storage is aligned for it.
        let v4 = unsafe { &*name.cast::<libc::sockaddr_in>() };
        let address = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
        SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into()
    } else if family == libc::AF_INET6 && length >= mem::size_of::<libc::sockaddr_in6>() {
        // SAFETY: a sockaddr_in6 is written, as family and length say; a sockaddr_storage is aligned for it.
        let v6 = unsafe { &*name.cast::<libc::sockaddr_in6>() };
        let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
        SocketAddrV6::new(address, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into()
    } else {
        absent
    }
}

/// The bits of IPv6's flow information that are the label.
const FLOW_LABEL: u32 = 0x000f_ffff;

fn succeeded(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_only_as_far_as_it_was_written() {
        for address in ["192.0.2.1:500", "[2001:db8::1]:4500"] {
            let address: SocketAddr = address.parse().expect("the test's own address");
            let written = SockAddr::from(address);
            let read = |length| {
                // SAFETY: all of a SockAddr's storage is written, so every prefix of it is.
                unsafe { socket_address(written.as_ptr().cast(), length) }
            };
            let whole = written.len() as usize;
            assert_eq!(read(whole), address);
            for length in 0..whole {
                assert!(read(length).ip().is_unspecified(), "{length} octets of {address}");
            }
        }
    }
}
