//! The IP headers around and inside IPsec packets: views over a packet's own octets.
//!
//! A view ([`Ipv4`], [`Ipv6`]) checks its header once, when it is made, and then reads and rewrites
//! fields in place; nothing is copied and nothing is allocated. [`Flow`] is what a security policy
//! looks at in a packet.

pub mod checksum;
pub mod protocol;

mod ecn;
mod flow;
mod fragment;
mod icmp;
mod mss;
mod upper_layer;
mod v4;
mod v6;

pub use ecn::Ecn;
pub use flow::{Flow, Ports};
pub use fragment::{Fragments, Part, Uncut};
pub use icmp::{IcmpError, IcmpFault, LONGEST_ERROR, Quoted, write_too_big};
pub use mss::{clamp_mss, opens_connection};
pub use upper_layer::{Fragment, UpperLayer};
pub use v4::{Ipv4, Ipv4Header};
pub use v6::{Ipv6, Ipv6Header};

use core::net::IpAddr;

use crate::{Fault, Malformed};

/// A view of an IP packet of either version.
#[derive(Clone, Copy, Debug)]
pub enum Packet<Bytes> {
    /// An IPv4 packet.
    V4(Ipv4<Bytes>),
    /// An IPv6 packet.
    V6(Ipv6<Bytes>),
}

impl<Bytes: AsRef<[u8]>> Packet<Bytes> {
    /// Checks the header of the packet at the front of `bytes`; what is behind the packet's own
    /// length is no part of it.
    ///
    /// # Errors
    /// When the version is neither 4 nor 6, or the header contradicts itself or the octets there are.
    pub fn new(bytes: Bytes) -> Result<Packet<Bytes>, Malformed> {
        match bytes.as_ref().first().map(|first| first >> 4) {
            Some(4) => Ipv4::new(bytes).map(Packet::V4),
            Some(6) => Ipv6::new(bytes).map(Packet::V6),
            Some(version) => Err(Malformed::forbidden("IP packet", "Version", version.into(), "4 or 6")),
            None => Err(Malformed::new("IP packet", "Version", Fault::Truncated { needed: 1, available: 0 })),
        }
    }

    /// The sender's address.
    pub fn source(&self) -> IpAddr {
        match self {
            Packet::V4(packet) => packet.source().into(),
            Packet::V6(packet) => packet.source().into(),
        }
    }

    /// The receiver's address.
    pub fn destination(&self) -> IpAddr {
        match self {
            Packet::V4(packet) => packet.destination().into(),
            Packet::V6(packet) => packet.destination().into(),
        }
    }

    /// Octets in the whole packet, its header included.
    pub fn total_length(&self) -> usize {
        match self {
            Packet::V4(packet) => packet.total_length(),
            Packet::V6(packet) => packet.total_length(),
        }
    }

    /// How the packet wants to be treated on its way; 6 bits (RFC 2474).
    pub fn dscp(&self) -> u8 {
        match self {
            Packet::V4(packet) => packet.dscp(),
            Packet::V6(packet) => packet.dscp(),
        }
    }

    /// Whether the packet met congestion (RFC 3168).
    pub fn ecn(&self) -> Ecn {
        match self {
            Packet::V4(packet) => packet.ecn(),
            Packet::V6(packet) => packet.ecn(),
        }
    }

    /// How many more routers may forward the packet: time to live, or hop limit.
    pub fn ttl(&self) -> u8 {
        match self {
            Packet::V4(packet) => packet.ttl(),
            Packet::V6(packet) => packet.hop_limit(),
        }
    }

    /// Where the transport header is, and whether it can be seen.
    ///
    /// # Errors
    /// When a chain of IPv6 extension headers cannot be followed to its end.
    pub fn upper_layer(&self) -> Result<UpperLayer, Malformed> {
        match self {
            Packet::V4(packet) => Ok(packet.upper_layer()),
            Packet::V6(packet) => packet.upper_layer(),
        }
    }

    /// The packet's octets, header first, and nothing behind it.
    pub fn octets(&self) -> &[u8] {
        match self {
            Packet::V4(packet) => packet.octets(),
            Packet::V6(packet) => packet.octets(),
        }
    }
}

impl<Bytes: AsRef<[u8]> + AsMut<[u8]>> Packet<Bytes> {
    /// Rewrites the DSCP; 6 bits.
    pub fn set_dscp(&mut self, dscp: u8) {
        match self {
            Packet::V4(packet) => packet.set_dscp(dscp),
            Packet::V6(packet) => packet.set_dscp(dscp),
        }
    }

    /// Rewrites the ECN field.
    pub fn set_ecn(&mut self, ecn: Ecn) {
        match self {
            Packet::V4(packet) => packet.set_ecn(ecn),
            Packet::V6(packet) => packet.set_ecn(ecn),
        }
    }

    /// Rewrites the time to live or hop limit.
    pub fn set_ttl(&mut self, ttl: u8) {
        match self {
            Packet::V4(packet) => packet.set_ttl(ttl),
            Packet::V6(packet) => packet.set_hop_limit(ttl),
        }
    }
}
