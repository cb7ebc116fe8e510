//! What a data plane tells the daemon.

use std::net::{IpAddr, SocketAddr};

use sa::SaEvent;

/// Something that happened on a socket or to an SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaneEvent {
    /// An IKE datagram arrived.
    Ike(IkeDatagram),
    /// Something happened to an SA or a policy; see [`SaEvent`].
    Sa(SaEvent),
    /// This host has these addresses, at first and after its addresses, links or routes have changed.
    Uplinks(Vec<IpAddr>),
    /// This host would not take or give up a route, rule, block or device, or another hand took one away; the sentence says
    /// what and why.
    ///
    /// Traffic that such a route should have led to us is blocked, or passes in the clear where blocks are what was refused:
    /// whoever hears this should say so loudly.
    HostFault(String),
}

/// A UDP datagram of IKE, without the non-ESP marker (RFC 3948 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeDatagram {
    /// Our address and port. An unspecified address lets the host choose the one to send from.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// The ISAKMP header and what follows it.
    pub bytes: Vec<u8>,
}

/// What became of an event that was handed to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It was taken.
    Taken,
    /// There was no room; the plane counts the loss as [`DropReason::IkeQueueFull`](crate::DropReason::IkeQueueFull).
    Refused,
}
