//! What a worker needs of a TUN queue and of a socket; the kernel's are in `tun` and `socket`, twins for tests in `twin`.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use ipsec::limits::HEADER_OCTETS;
use ipsec::{Envelope, OuterHeader};
use sa::{DeviceId, Protocol};
use wire::ip::{Ecn, Ipv4, Ipv6Header, protocol};

use crate::limits::{LONGEST_PACKET, RECEIVE_BATCH};
use crate::offload::{Joins, VnetHeader};

/// One queue of a TUN device with `IFF_VNET_HDR`. Neither method waits.
pub(crate) trait Tun {
    /// Reads one packet or super-packet into `buffer`; `WouldBlock` when there is none.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(VnetHeader, usize)>;

    /// Writes one packet or super-packet that lies in several parts.
    fn send(&mut self, header: VnetHeader, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Tells which super-packets it takes.
    fn joins(&self) -> Joins;
}

/// A worker's queues: one of the common device, and one of each device with a name of its own.
pub(crate) struct Tuns<T> {
    common: T,
    named: Vec<(DeviceId, T)>,
}

impl<T> Tuns<T> {
    /// Begins with the common device.
    pub(crate) fn new(common: T) -> Tuns<T> {
        Tuns { common, named: Vec::new() }
    }

    /// Adds a device, in place of one of the same name.
    pub(crate) fn add(&mut self, device: DeviceId, queue: T) {
        self.remove(device);
        self.named.push((device, queue));
    }

    /// Gives a device up.
    pub(crate) fn remove(&mut self, device: DeviceId) {
        self.named.retain(|(name, _)| *name != device);
    }

    /// Gives the queue of a device, `None` being the common one.
    pub(crate) fn of(&mut self, device: Option<DeviceId>) -> Option<&mut T> {
        match device {
            None => Some(&mut self.common),
            Some(device) => self.named.iter_mut().find(|(name, _)| *name == device).map(|(_, queue)| queue),
        }
    }
}

/// A UDP socket or a raw socket of protocol 50 or 51.
pub(crate) trait Socket {
    /// Tells what its datagrams carry.
    fn carries(&self) -> Carries;

    /// Tells the address and port it is bound to; the address may be unspecified.
    fn bound(&self) -> SocketAddr;

    /// Receives up to [`RECEIVE_BATCH`] datagrams and gives their number; `WouldBlock` when there are none.
    fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize>;

    /// Sends up to [`SEND_BATCH`](crate::limits::SEND_BATCH) trains and gives how many went.
    ///
    /// Fewer than all went if the kernel refused the next one; an error says that it refused the first. A full queue is such
    /// a refusal: a gateway drops what its line does not take, as a router does, rather than keep the other direction waiting.
    fn send(&self, trains: &[Train<'_>]) -> io::Result<usize>;
}

impl<S: Socket> Socket for Arc<S> {
    fn carries(&self) -> Carries {
        (**self).carries()
    }

    fn bound(&self) -> SocketAddr {
        (**self).bound()
    }

    fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        (**self).receive(batch)
    }

    fn send(&self, trains: &[Train<'_>]) -> io::Result<usize> {
        (**self).send(trains)
    }
}

/// What the datagrams of a socket carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// IKE and nothing else: port 500.
    Ike,
    /// IKE behind a marker, ESP and keepalives: port 4500 (RFC 3948 §2).
    IkeAndEsp,
    /// ESP or AH directly: IP protocol 50 or 51. Ports of its addresses are 0.
    Bare(Protocol),
    /// Whole IP packets with the header that they have, unprotected; it receives nothing.
    WholePackets,
    /// ICMP errors about packets of this host; it sends nothing. In IPv4 they come with their IP header, in IPv6 without.
    Errors,
}

/// Datagrams of equal length (the last may be shorter) to the same place, back to back in `parts`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Train<'a> {
    /// The address to send from; unspecified lets the kernel choose.
    pub(crate) source: IpAddr,
    /// Where to.
    pub(crate) destination: SocketAddr,
    /// The octets of each datagram if there are several; the kernel cuts there (`UDP_SEGMENT`).
    pub(crate) segment_size: Option<u16>,
    /// What the outer header says, where the socket makes it.
    pub(crate) header: OuterHeader,
    /// The firewall mark, if it is not to be the socket's.
    pub(crate) mark: Option<NonZeroU32>,
    /// The datagrams' octets.
    pub(crate) parts: &'a [IoSlice<'a>],
}

impl Train<'_> {
    /// Fills arrays.
    pub(crate) const NONE: Train<'static> = Train {
        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        destination: NOWHERE,
        segment_size: None,
        header: PLAIN_HEADER,
        mark: None,
        parts: &[],
    };
}

/// A datagram as received, or several of equal length back to back (the last may be shorter).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Octets in front of the datagram that are none of it: the IPv4 header that raw sockets show.
    pub(crate) skip: usize,
    /// All octets.
    pub(crate) len: usize,
    /// The octets of each datagram, at least 1; equals `len` if there is one.
    pub(crate) segment_size: usize,
    /// Where they come from.
    pub(crate) source: SocketAddr,
    /// The address of ours that they were sent to.
    pub(crate) destination: IpAddr,
    /// The outer header's DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// The outer header's time to live or hop limit.
    pub(crate) hop_limit: u8,
    /// The outer IPv6 header's flow label, as raw sockets tell it.
    pub(crate) flow_label: u32,
}

/// The extension headers of an IPv6 packet, one after the other, as raw sockets tell them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extensions {
    octets: [u8; HEADER_OCTETS],
    len: usize,
    /// The protocol of the first.
    first: u8,
    /// Whether there were more of them than there is room for.
    overflowed: bool,
}

/// Room for a batch of datagrams, used again and again.
pub(crate) struct ReceiveBatch {
    octets: Box<[u8]>,
    received: [Received; RECEIVE_BATCH],
    extensions: [Extensions; RECEIVE_BATCH],
}

/// Room for one datagram and for what its socket tells of it.
pub(crate) struct Room<'a> {
    pub(crate) octets: &'a mut [u8],
    pub(crate) received: &'a mut Received,
    pub(crate) extensions: &'a mut Extensions,
}

impl Extensions {
    /// No extension header.
    pub(crate) const NONE: Extensions =
        Extensions { octets: [0; HEADER_OCTETS], len: 0, first: 0, overflowed: false };

    /// Adds a further header, of this protocol. A packet with more of them than there is room for is to be dropped: nobody
    /// could authenticate it, or give it back as it was.
    pub(crate) fn push(&mut self, protocol: u8, header: &[u8]) {
        let Some(room) = self.octets.get_mut(self.len..self.len + header.len()) else {
            self.overflowed = true;
            return;
        };
        room.copy_from_slice(header);
        if self.len == 0 {
            self.first = protocol;
        }
        self.len += header.len();
    }

    /// Notes that the kernel had no room for all of them.
    pub(crate) fn overflow(&mut self) {
        self.overflowed = true;
    }

    fn as_slice(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

impl ReceiveBatch {
    /// Makes the room; the kernel gives the memory when it is first used.
    pub(crate) fn new() -> ReceiveBatch {
        let nothing = Received {
            skip: 0,
            len: 0,
            segment_size: 1,
            source: NOWHERE,
            destination: NOWHERE.ip(),
            traffic_class: 0,
            hop_limit: 0,
            flow_label: 0,
        };
        ReceiveBatch {
            octets: vec![0; RECEIVE_BATCH * ROOM].into_boxed_slice(),
            received: [nothing; RECEIVE_BATCH],
            extensions: [Extensions::NONE; RECEIVE_BATCH],
        }
    }

    /// Gives datagram `index` of the last receive, and its octets.
    pub(crate) fn datagram(&self, index: usize) -> (Received, &[u8]) {
        let received = self.received[index];
        let start = index * ROOM + received.skip;
        (received, &self.octets[start..start + received.len])
    }

    /// Tells under which IP header a packet of a raw socket came; `None` if the socket showed none that can be read, or not
    /// all of it.
    pub(crate) fn bare_envelope(&self, index: usize, carried: Protocol) -> Option<Envelope<'_>> {
        let (received, octets) = self.datagram(index);
        match (received.source.ip(), received.destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let extensions = &self.extensions[index];
                if extensions.overflowed {
                    return None;
                }
                let next_header = if extensions.len > 0 { extensions.first } else { number(carried) };
                let header = Ipv6Header {
                    dscp: received.traffic_class >> 2,
                    ecn: Ecn::from_bits(received.traffic_class),
                    flow_label: received.flow_label,
                    payload_length: 0,
                    next_header,
                    hop_limit: received.hop_limit,
                    source,
                    destination,
                };
                Some(Envelope::V6 { header, extensions: extensions.as_slice() })
            }
            _ => {
                let start = index * ROOM;
                let whole = &self.octets[start..start + received.skip + octets.len()];
                Ipv4::new(whole).ok().map(Envelope::V4)
            }
        }
    }

    /// Gives the room for every datagram and the places to describe it.
    pub(crate) fn rooms(&mut self) -> impl Iterator<Item = Room<'_>> {
        let rooms = self.octets.chunks_exact_mut(ROOM);
        rooms.zip(&mut self.received).zip(&mut self.extensions).map(|((octets, received), extensions)| Room {
            octets,
            received,
            extensions,
        })
    }
}

impl Received {
    /// Tells under which IP header a UDP datagram came.
    pub(crate) fn datagram_envelope(&self) -> Envelope<'static> {
        Envelope::Datagram {
            source: self.source.ip(),
            destination: self.destination,
            traffic_class: self.traffic_class,
            hop_limit: self.hop_limit,
        }
    }
}

/// Gives the IP protocol number of a protocol.
pub(crate) fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Esp => protocol::ESP,
        Protocol::Ah => protocol::AH,
    }
}

/// What the header says of a packet that has nothing to say for itself.
pub(crate) const PLAIN_HEADER: OuterHeader =
    OuterHeader { traffic_class: 0, dont_fragment: false, hop_limit: None };

/// Octets from one datagram's room to the next. Rooms that are a power of two apart would have the fronts of all datagrams
/// fight for the same lines of the processor's caches.
const ROOM: usize = LONGEST_PACKET + 22 * 64;

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_whose_headers_do_not_all_fit_comes_under_none() {
        let mut batch = ReceiveBatch::new();
        let address = SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), 0);
        for (octets, comes) in [(HEADER_OCTETS, true), (HEADER_OCTETS + 8, false)] {
            let Some(room) = batch.rooms().next() else { panic!("there is room for one") };
            room.received.source = address;
            room.received.destination = address.ip();
            *room.extensions = Extensions::NONE;
            room.extensions.push(protocol::HOP_BY_HOP, &vec![0; octets - 8]);
            room.extensions.push(protocol::DESTINATION_OPTIONS, &[0; 8]);
            assert_eq!(batch.bare_envelope(0, Protocol::Esp).is_some(), comes, "{octets} octets");
        }
    }
}
