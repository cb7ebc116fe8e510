//! What a worker needs of a TUN queue and of a socket; the kernel's are in `tun` and `socket`, twins for tests in `twin`.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::limits::{LONGEST_PACKET, RECEIVE_BATCH};
use crate::offload::VnetHeader;

/// One queue of a TUN device with `IFF_VNET_HDR`. Neither method waits.
pub(crate) trait Tun {
    /// Reads one packet or super-packet into `buffer`; `WouldBlock` when there is none.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(VnetHeader, usize)>;

    /// Writes one packet or super-packet that lies in several parts.
    fn send(&mut self, header: VnetHeader, parts: &[IoSlice<'_>]) -> io::Result<()>;
}

/// A UDP socket or a raw socket of protocol 50.
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
    /// ESP directly: IP protocol 50. Ports of its addresses are 0.
    Esp,
    /// Whole IP packets with the header that they have, unprotected; it receives nothing.
    WholePackets,
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
    /// The outer header's DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// The datagrams' octets.
    pub(crate) parts: &'a [IoSlice<'a>],
}

impl Train<'_> {
    /// Fills arrays.
    pub(crate) const NONE: Train<'static> = Train {
        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        destination: NOWHERE,
        segment_size: None,
        traffic_class: 0,
        parts: &[],
    };
}

/// A datagram as received, or several of equal length back to back (the last may be shorter).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Octets in front of the datagram that are none of it: the IP header that raw IPv4 sockets show.
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
}

/// Room for a batch of datagrams, used again and again.
pub(crate) struct ReceiveBatch {
    octets: Box<[u8]>,
    received: [Received; RECEIVE_BATCH],
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
        };
        ReceiveBatch {
            octets: vec![0; RECEIVE_BATCH * LONGEST_PACKET].into_boxed_slice(),
            received: [nothing; RECEIVE_BATCH],
        }
    }

    /// Gives datagram `index` of the last receive, and its octets.
    pub(crate) fn datagram(&self, index: usize) -> (Received, &[u8]) {
        let received = self.received[index];
        let start = index * LONGEST_PACKET + received.skip;
        (received, &self.octets[start..start + received.len])
    }

    /// Gives the room for every datagram and the place to describe it.
    pub(crate) fn rooms(&mut self) -> impl Iterator<Item = (&mut [u8], &mut Received)> {
        self.octets.chunks_exact_mut(LONGEST_PACKET).zip(&mut self.received)
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
