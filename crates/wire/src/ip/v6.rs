//! The IPv6 header (RFC 8200 §3) and the walk along its extension headers (RFC 8200 §4).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version|   DSCP    |ECN|              Flow Label               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         Payload Length        |  Next Header  |   Hop Limit   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                         Source Address                        ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                      Destination Address                      ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv6Addr;

use super::ecn::traffic_class;
use super::{Ecn, Fragment, UpperLayer, protocol};
use crate::limits::IPV6_EXTENSION_HEADERS;
use crate::reader::Reader;
use crate::{Fault, Malformed};

const VERSION: u8 = 6;
pub(super) const PAYLOAD_LENGTH_AT: usize = 4;
pub(super) const NEXT_HEADER_AT: usize = 6;
const HOP_LIMIT_AT: usize = 7;
const SOURCE_AT: usize = 8;
const DESTINATION_AT: usize = 24;
const FLOW_LABEL_MASK: u32 = 0x000f_ffff;

/// A header to be written in front of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    /// 6 bits (RFC 2474).
    pub dscp: u8,
    /// Congestion notification.
    pub ecn: Ecn,
    /// What packets of one flow have in common; 20 bits (RFC 6437).
    pub flow_label: u32,
    /// Octets behind the header.
    pub payload_length: u16,
    /// What the payload is.
    pub next_header: u8,
    /// How many more routers may forward the packet.
    pub hop_limit: u8,
    /// The sender.
    pub source: Ipv6Addr,
    /// The receiver.
    pub destination: Ipv6Addr,
}

impl Ipv6Header {
    /// Octets that the header takes.
    pub const LEN: usize = 40;

    /// The header's octets.
    pub fn encode(&self) -> [u8; Ipv6Header::LEN] {
        let class = u32::from(traffic_class(self.dscp, self.ecn));
        let first = u32::from(VERSION) << 28 | class << 20 | self.flow_label & FLOW_LABEL_MASK;
        let mut octets = [0; Ipv6Header::LEN];
        octets[..PAYLOAD_LENGTH_AT].copy_from_slice(&first.to_be_bytes());
        octets[PAYLOAD_LENGTH_AT..NEXT_HEADER_AT].copy_from_slice(&self.payload_length.to_be_bytes());
        octets[NEXT_HEADER_AT] = self.next_header;
        octets[HOP_LIMIT_AT] = self.hop_limit;
        octets[SOURCE_AT..DESTINATION_AT].copy_from_slice(&self.source.octets());
        octets[DESTINATION_AT..].copy_from_slice(&self.destination.octets());
        octets
    }
}

/// A view of an IPv6 packet whose header has been checked: all of the packet is there.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<Bytes> {
    bytes: Bytes,
}

impl<Bytes: AsRef<[u8]>> Ipv6<Bytes> {
    /// Checks the header at the front of `bytes`. What is behind the packet's own length is no part
    /// of it.
    ///
    /// # Errors
    /// When the version is not 6, or there is less than the header and its payload length need.
    pub fn new(bytes: Bytes) -> Result<Ipv6<Bytes>, Malformed> {
        let octets = bytes.as_ref();
        let mut reader = Reader::new("IPv6 header", octets);
        let fixed = reader.array::<{ Ipv6Header::LEN }>("fixed header")?;
        if fixed[0] >> 4 != VERSION {
            return Err(reader.forbidden("Version", (fixed[0] >> 4).into(), "6"));
        }
        let stated =
            usize::from(u16::from_be_bytes([fixed[PAYLOAD_LENGTH_AT], fixed[PAYLOAD_LENGTH_AT + 1]]));
        if stated > reader.remaining() {
            let fault = Fault::WrongLength { stated, actual: reader.remaining() };
            return Err(reader.malformed("Payload Length", fault));
        }
        Ok(Ipv6 { bytes })
    }

    /// Octets in the whole packet: the fixed header's and its payload length.
    pub fn total_length(&self) -> usize {
        Ipv6Header::LEN + usize::from(self.payload_length())
    }

    /// Octets behind the fixed header, extension headers among them.
    pub fn payload_length(&self) -> u16 {
        let octets = self.bytes.as_ref();
        u16::from_be_bytes([octets[PAYLOAD_LENGTH_AT], octets[PAYLOAD_LENGTH_AT + 1]])
    }

    /// How the packet wants to be treated on its way; 6 bits (RFC 2474).
    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// Whether the packet met congestion (RFC 3168).
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.traffic_class())
    }

    /// What packets of one flow have in common; 20 bits (RFC 6437).
    pub fn flow_label(&self) -> u32 {
        self.first_word() & FLOW_LABEL_MASK
    }

    /// What follows the fixed header: an extension header, or the payload's protocol.
    pub fn next_header(&self) -> u8 {
        self.bytes.as_ref()[NEXT_HEADER_AT]
    }

    /// How many more routers may forward the packet.
    pub fn hop_limit(&self) -> u8 {
        self.bytes.as_ref()[HOP_LIMIT_AT]
    }

    /// The sender.
    pub fn source(&self) -> Ipv6Addr {
        self.address(SOURCE_AT)
    }

    /// The receiver. A routing header may name another, final one; a security policy looks at this
    /// one.
    pub fn destination(&self) -> Ipv6Addr {
        self.address(DESTINATION_AT)
    }

    /// What follows the fixed header, to the packet's own end.
    pub fn payload(&self) -> &[u8] {
        &self.octets()[Ipv6Header::LEN..]
    }

    /// The packet, and nothing behind it.
    pub fn octets(&self) -> &[u8] {
        &self.bytes.as_ref()[..self.total_length()]
    }

    /// Follows the extension headers to the transport header, or to where a later fragment's part
    /// of the packet begins.
    ///
    /// Hop-by-hop options, routing, fragment and destination options are followed; ESP and AH are
    /// protocols like any other, as RFC 4301 §4.4.1.1 has it.
    ///
    /// # Errors
    /// When an extension header is longer than the packet, or there are more of them than
    /// [`IPV6_EXTENSION_HEADERS`].
    pub fn upper_layer(&self) -> Result<UpperLayer, Malformed> {
        let mut reader = Reader::new("IPv6 extension header", self.payload());
        let mut fragment = Fragment::Whole;
        let mut next = self.next_header();
        for _ in 0..=IPV6_EXTENSION_HEADERS {
            match next {
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                    next = skip_extension(&mut reader)?;
                }
                protocol::FRAGMENT => (next, fragment) = read_fragment(&mut reader)?,
                protocol => return Ok(self.found(protocol, &reader, fragment)),
            }
            if fragment == Fragment::Later {
                return Ok(self.found(next, &reader, fragment));
            }
        }
        Err(reader.malformed("headers", Fault::TooMany { limit: IPV6_EXTENSION_HEADERS }))
    }

    fn found(&self, protocol: u8, rest: &Reader<'_>, fragment: Fragment) -> UpperLayer {
        UpperLayer { protocol, offset: self.total_length() - rest.remaining(), fragment }
    }

    fn first_word(&self) -> u32 {
        let octets = self.bytes.as_ref();
        u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]])
    }

    fn traffic_class(&self) -> u8 {
        (self.first_word() >> 20) as u8
    }

    fn address(&self, at: usize) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.bytes.as_ref()[at..][..16]);
        Ipv6Addr::from(octets)
    }
}

impl<Bytes: AsRef<[u8]> + AsMut<[u8]>> Ipv6<Bytes> {
    /// Rewrites the DSCP; 6 bits.
    pub fn set_dscp(&mut self, dscp: u8) {
        let class = traffic_class(dscp, self.ecn());
        self.set_traffic_class(class);
    }

    /// Rewrites the ECN field.
    pub fn set_ecn(&mut self, ecn: Ecn) {
        let class = traffic_class(self.dscp(), ecn);
        self.set_traffic_class(class);
    }

    /// Rewrites the number of octets behind the fixed header.
    ///
    /// # Errors
    /// When that is more than there is.
    pub fn set_payload_length(&mut self, length: u16) -> Result<(), Malformed> {
        let (stated, actual) = (usize::from(length), self.bytes.as_ref().len() - Ipv6Header::LEN);
        if stated > actual {
            let fault = Fault::WrongLength { stated, actual };
            return Err(Malformed::new("IPv6 header", "Payload Length", fault));
        }
        self.bytes.as_mut()[PAYLOAD_LENGTH_AT..NEXT_HEADER_AT].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Rewrites what follows the fixed header.
    pub fn set_next_header(&mut self, next_header: u8) {
        self.bytes.as_mut()[NEXT_HEADER_AT] = next_header;
    }

    /// Rewrites the hop limit.
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.bytes.as_mut()[HOP_LIMIT_AT] = hop_limit;
    }

    /// Rewrites the sender. The checksum of a transport header inside covers it too, and is left
    /// alone.
    pub fn set_source(&mut self, source: Ipv6Addr) {
        self.bytes.as_mut()[SOURCE_AT..][..16].copy_from_slice(&source.octets());
    }

    /// Rewrites the receiver. The checksum of a transport header inside covers it too, and is left
    /// alone.
    pub fn set_destination(&mut self, destination: Ipv6Addr) {
        self.bytes.as_mut()[DESTINATION_AT..][..16].copy_from_slice(&destination.octets());
    }

    /// What follows the fixed header, to the packet's own end.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = self.total_length();
        &mut self.bytes.as_mut()[Ipv6Header::LEN..end]
    }

    fn set_traffic_class(&mut self, class: u8) {
        let octets = self.bytes.as_mut();
        octets[0] = octets[0] & 0xf0 | class >> 4;
        octets[1] = octets[1] & 0x0f | class << 4;
    }
}

/// Steps over an extension header of the common form; gives what follows it (RFC 8200 §4.3).
pub(super) fn skip_extension(reader: &mut Reader<'_>) -> Result<u8, Malformed> {
    let next = reader.u8("Next Header")?;
    // In units of eight octets, not counting the first.
    let length = (usize::from(reader.u8("Hdr Ext Len")?) + 1) * 8;
    reader.take("options", length - 2)?;
    Ok(next)
}

/// Steps over a fragment header; gives what follows it, and which fragment this is (RFC 8200 §4.5).
fn read_fragment(reader: &mut Reader<'_>) -> Result<(u8, Fragment), Malformed> {
    let [next, _reserved] = reader.array("Next Header")?;
    let offset_and_more = reader.u16("Fragment Offset")?;
    reader.u32("Identification")?;
    Ok((next, Fragment::new(offset_and_more >> 3, offset_and_more & 1 != 0)))
}
