//! ICMP errors: what they say of a packet, and the one that says that a packet is too long for the rest of its way
//! (RFC 792, RFC 1191 §4, RFC 4443 §3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      |     Code      |           Checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     of a packet that is too long: the MTU of the next hop     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~        the packet, as much of it as there is room for         ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::v4::TOTAL_LENGTH_AT;
use super::v6::PAYLOAD_LENGTH_AT;
use super::{Ecn, Flow, Fragment, Ipv4, Ipv4Header, Ipv6, Ipv6Header, Packet, checksum, protocol};
use crate::reader::Reader;
use crate::{Fault, Malformed};

/// The longest packets that [`write_too_big`] makes, in either version: what every path takes (RFC 1812 §4.3.2.3,
/// RFC 4443 §2.4).
pub const LONGEST_ERROR: usize = LONGEST_V6;

/// An ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError<'a> {
    /// What went wrong.
    pub fault: IcmpFault,
    /// The front of the packet that it went wrong with, from its IP header on.
    pub quoted: &'a [u8],
}

/// What went wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpFault {
    /// The next hop takes no packets longer than `mtu` octets; 0 from a router that does not say (RFC 1191 §5).
    TooBig {
        /// Octets of the longest packet that it takes.
        mtu: u32,
    },
    /// It went nowhere, or its time was exceeded, or one of its fields was wrong.
    Undelivered,
    /// It went the right way, but its sender should behave differently: redirect and source quench.
    Advice,
}

/// The front of a quoted packet, made a packet of its own: its length field says what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    front: [u8; QUOTED],
    length: usize,
}

impl<'a> IcmpError<'a> {
    /// Reads the ICMP error that the packet at the front of `bytes` is; `None` if it is none.
    ///
    /// # Errors
    /// When the packet's headers cannot be read, or it ends before the ICMP header does.
    pub fn of(bytes: &'a [u8]) -> Result<Option<IcmpError<'a>>, Malformed> {
        let packet = Packet::new(bytes)?;
        let found = packet.upper_layer()?;
        match found.fragment {
            Fragment::Whole | Fragment::First => {
                IcmpError::of_message(found.protocol, &bytes[found.offset..packet.total_length()])
            }
            Fragment::Later => Ok(None),
        }
    }

    /// Reads the ICMP error that a `message` of `protocol` is, the IP header in front of it left out; `None` if it is none.
    ///
    /// # Errors
    /// When it ends before the ICMP header does.
    pub fn of_message(protocol: u8, message: &'a [u8]) -> Result<Option<IcmpError<'a>>, Malformed> {
        let version_6 = match protocol {
            protocol::ICMP => false,
            protocol::ICMPV6 => true,
            _ => return Ok(None),
        };
        let mut reader = Reader::new("ICMP header", message);
        let [icmp_type, code] = reader.array("Type")?;
        reader.u16("Checksum")?;
        let word = reader.u32("Next-Hop MTU")?;
        let fault = match (version_6, icmp_type, code) {
            (false, V4_UNREACHABLE, V4_FRAGMENTATION_NEEDED) => IcmpFault::TooBig { mtu: word & 0xffff },
            (true, V6_TOO_BIG, _) => IcmpFault::TooBig { mtu: word },
            (false, V4_SOURCE_QUENCH | V4_REDIRECT, _) | (true, V6_REDIRECT, _) => IcmpFault::Advice,
            (false, V4_UNREACHABLE | V4_TIME_EXCEEDED | V4_PARAMETER_PROBLEM, _)
            | (true, ..FIRST_V6_QUERY, _) => IcmpFault::Undelivered,
            _ => return Ok(None),
        };
        Ok(Some(IcmpError { fault, quoted: reader.rest() }))
    }

    /// Gives what is needed to read the packet that it went wrong with.
    pub fn quoted_front(&self) -> Quoted {
        let mut front = [0; QUOTED];
        let length = self.quoted.len().min(QUOTED);
        front[..length].copy_from_slice(&self.quoted[..length]);
        match front[0] >> 4 {
            4 => shorten(&mut front, TOTAL_LENGTH_AT, length),
            _ => shorten(&mut front, PAYLOAD_LENGTH_AT, length.saturating_sub(Ipv6Header::LEN)),
        }
        Quoted { front, length }
    }

    /// Reads the flow of the packet that it went wrong with.
    ///
    /// # Errors
    /// When too little of it was quoted, or it cannot be read.
    pub fn quoted_flow(&self) -> Result<Flow, Malformed> {
        Flow::of(self.quoted_front().octets())
    }
}

impl Quoted {
    /// Gives the octets, the IP header first.
    pub fn octets(&self) -> &[u8] {
        &self.front[..self.length]
    }
}

/// Writes an ICMP error to `out` that tells the sender of `packet` that the longest packet which passes has `mtu` octets;
/// gives its length, at most [`LONGEST_ERROR`].
///
/// It comes from the address that `packet` was sent to, whatever part of the way is meant: the sender knows no other
/// one of which a route leads the same way.
///
/// # Errors
/// When `packet` cannot be read, or `out` is too short.
pub fn write_too_big(packet: &[u8], mtu: u16, out: &mut [u8]) -> Result<usize, Malformed> {
    let packet = Packet::new(packet)?;
    let (front_len, longest, kind) = match packet {
        Packet::V4(_) => (Ipv4Header::LEN, LONGEST_V4, [V4_UNREACHABLE, V4_FRAGMENTATION_NEEDED]),
        Packet::V6(_) => (Ipv6Header::LEN, LONGEST_V6, [V6_TOO_BIG, 0]),
    };
    let quoted = &packet.octets()[..packet.total_length().min(longest - front_len - ICMP_HEADER_LEN)];
    let (needed, available) = (front_len + ICMP_HEADER_LEN + quoted.len(), out.len());
    let too_short = Malformed::new("ICMP error", "buffer", Fault::Truncated { needed, available });
    let (front, message) = out.get_mut(..needed).ok_or(too_short)?.split_at_mut(front_len);
    let (header, rest) = message.split_at_mut(ICMP_HEADER_LEN);
    header[..4].copy_from_slice(&[kind[0], kind[1], 0, 0]);
    header[4..].copy_from_slice(&u32::from(mtu).to_be_bytes());
    rest.copy_from_slice(quoted);
    let checksum = match packet {
        Packet::V4(packet) => {
            front.copy_from_slice(&answer_to_v4(&packet, message.len()).encode());
            checksum::internet(message)
        }
        Packet::V6(packet) => {
            let header = answer_to_v6(&packet, message.len());
            front.copy_from_slice(&header.encode());
            let (source, destination) = (header.source.into(), header.destination.into());
            checksum::transport(source, destination, protocol::ICMPV6, message)
        }
    };
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    Ok(needed)
}

fn answer_to_v4(packet: &Ipv4<&[u8]>, message_len: usize) -> Ipv4Header {
    Ipv4Header {
        dscp: INTERNETWORK_CONTROL,
        ecn: Ecn::NotCapable,
        total_length: (Ipv4Header::LEN + message_len) as u16,
        // RFC 6864 §4.1: it says nothing where the packet is not to be cut.
        identification: 0,
        dont_fragment: true,
        ttl: HOP_LIMIT,
        protocol: protocol::ICMP,
        source: packet.destination(),
        destination: packet.source(),
    }
}

fn answer_to_v6(packet: &Ipv6<&[u8]>, message_len: usize) -> Ipv6Header {
    Ipv6Header {
        dscp: INTERNETWORK_CONTROL,
        ecn: Ecn::NotCapable,
        flow_label: 0,
        payload_length: message_len as u16,
        next_header: protocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        source: packet.destination(),
        destination: packet.source(),
    }
}

/// Lowers the length field at `at` to `length` if it says more.
fn shorten(front: &mut [u8], at: usize, length: usize) {
    let stated = u16::from_be_bytes([front[at], front[at + 1]]);
    let shorter = usize::from(stated).min(length) as u16;
    front[at..at + 2].copy_from_slice(&shorter.to_be_bytes());
}

const ICMP_HEADER_LEN: usize = 8;

const V4_UNREACHABLE: u8 = 3;
const V4_FRAGMENTATION_NEEDED: u8 = 4;
const V4_SOURCE_QUENCH: u8 = 4;
const V4_REDIRECT: u8 = 5;
const V4_TIME_EXCEEDED: u8 = 11;
const V4_PARAMETER_PROBLEM: u8 = 12;

const V6_TOO_BIG: u8 = 2;
const V6_REDIRECT: u8 = 137;
/// RFC 4443 §2.1: errors have lower types.
const FIRST_V6_QUERY: u8 = 128;

/// Octets of a quoted packet that are looked at: its header, the longest one of IPv4 or some extension headers of IPv6,
/// and ports.
const QUOTED: usize = 128;

/// RFC 1812 §4.3.2.5 gives routers' errors this precedence, which is a class selector (RFC 2474 §4.2.2).
const INTERNETWORK_CONTROL: u8 = 48;
const HOP_LIMIT: u8 = 64;

const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;
