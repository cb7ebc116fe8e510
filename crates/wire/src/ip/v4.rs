//! The IPv4 header (RFC 791 §3.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version|  IHL  |   DSCP    |ECN|          Total Length         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         Identification        | |D|M|     Fragment Offset     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Time to Live |    Protocol   |         Header Checksum       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       Source Address                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Destination Address                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                           Options                             ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv4Addr;

use super::checksum;
use super::ecn::traffic_class;
use super::{Ecn, Fragment, UpperLayer};
use crate::reader::Reader;
use crate::{Fault, Malformed};

const VERSION: u8 = 4;
/// Where each field that is rewritten begins.
const CLASS_AT: usize = 0;
pub(super) const TOTAL_LENGTH_AT: usize = 2;
const IDENTIFICATION_AT: usize = 4;
pub(super) const FRAGMENT_AT: usize = 6;
const TTL_AT: usize = 8;
pub(super) const PROTOCOL_AT: usize = 9;
pub(super) const CHECKSUM_AT: usize = 10;
const SOURCE_AT: usize = 12;
const DESTINATION_AT: usize = 16;
pub(super) const DONT_FRAGMENT: u16 = 0x4000;
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// A header without options, to be written in front of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// 6 bits (RFC 2474).
    pub dscp: u8,
    /// Congestion notification.
    pub ecn: Ecn,
    /// Octets in header and payload together.
    pub total_length: u16,
    /// What fragments of one packet have in common.
    pub identification: u16,
    /// Whether routers must not cut the packet up.
    pub dont_fragment: bool,
    /// How many more routers may forward the packet.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: u8,
    /// The sender.
    pub source: Ipv4Addr,
    /// The receiver.
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// Octets that a header without options takes.
    pub const LEN: usize = 20;

    /// The header's octets, its checksum among them.
    pub fn encode(&self) -> [u8; Ipv4Header::LEN] {
        let flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        let mut octets = [0; Ipv4Header::LEN];
        octets[0] = VERSION << 4 | (Ipv4Header::LEN / 4) as u8;
        octets[1] = traffic_class(self.dscp, self.ecn);
        put(&mut octets, TOTAL_LENGTH_AT, self.total_length);
        put(&mut octets, IDENTIFICATION_AT, self.identification);
        put(&mut octets, FRAGMENT_AT, flags);
        octets[TTL_AT] = self.ttl;
        octets[PROTOCOL_AT] = self.protocol;
        octets[SOURCE_AT..][..4].copy_from_slice(&self.source.octets());
        octets[DESTINATION_AT..][..4].copy_from_slice(&self.destination.octets());
        let checksum = checksum::internet(&octets);
        put(&mut octets, CHECKSUM_AT, checksum);
        octets
    }
}

/// A view of an IPv4 packet whose header has been checked: `20 <= header_len <= total_length`, and
/// all of it is there.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<Bytes> {
    bytes: Bytes,
}

impl<Bytes: AsRef<[u8]>> Ipv4<Bytes> {
    /// Checks the header at the front of `bytes`; its checksum is not part of that (see
    /// [`Ipv4::has_valid_checksum`]). What is behind the packet's own length is no part of it.
    ///
    /// # Errors
    /// When the version is not 4, or a length contradicts another or the octets there are.
    pub fn new(bytes: Bytes) -> Result<Ipv4<Bytes>, Malformed> {
        let octets = bytes.as_ref();
        let mut reader = Reader::new("IPv4 header", octets);
        let [first, _] = reader.array("Version and IHL")?;
        let total_length = usize::from(reader.u16("Total Length")?);
        if first >> 4 != VERSION {
            return Err(reader.forbidden("Version", (first >> 4).into(), "4"));
        }
        let header_len = usize::from(first & 0x0f) * 4;
        if header_len < Ipv4Header::LEN {
            let fault = Fault::WrongLength { stated: header_len, actual: Ipv4Header::LEN };
            return Err(reader.malformed("IHL", fault));
        }
        if total_length < header_len {
            let fault = Fault::WrongLength { stated: total_length, actual: header_len };
            return Err(reader.malformed("Total Length", fault));
        }
        if total_length > octets.len() {
            let fault = Fault::WrongLength { stated: total_length, actual: octets.len() };
            return Err(reader.malformed("Total Length", fault));
        }
        Ok(Ipv4 { bytes })
    }

    /// Octets in the header, its options included: 20 to 60.
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes.as_ref()[0] & 0x0f) * 4
    }

    /// Octets in the whole packet.
    pub fn total_length(&self) -> usize {
        self.word(TOTAL_LENGTH_AT).into()
    }

    /// How the packet wants to be treated on its way; 6 bits (RFC 2474).
    pub fn dscp(&self) -> u8 {
        self.bytes.as_ref()[1] >> 2
    }

    /// Whether the packet met congestion (RFC 3168).
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.bytes.as_ref()[1])
    }

    /// What fragments of one packet have in common.
    pub fn identification(&self) -> u16 {
        self.word(IDENTIFICATION_AT)
    }

    /// Whether routers must not cut the packet up.
    pub fn dont_fragment(&self) -> bool {
        self.word(FRAGMENT_AT) & DONT_FRAGMENT != 0
    }

    /// Whether more fragments of the same packet follow this one.
    pub fn more_fragments(&self) -> bool {
        self.word(FRAGMENT_AT) & MORE_FRAGMENTS != 0
    }

    /// Where in its packet this fragment belongs, in octets.
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.word(FRAGMENT_AT) & OFFSET_MASK) * 8
    }

    /// How many more routers may forward the packet.
    pub fn ttl(&self) -> u8 {
        self.bytes.as_ref()[TTL_AT]
    }

    /// What the payload is.
    pub fn protocol(&self) -> u8 {
        self.bytes.as_ref()[PROTOCOL_AT]
    }

    /// The header checksum as it came.
    pub fn checksum(&self) -> u16 {
        self.word(CHECKSUM_AT)
    }

    /// Whether the header checksum is right.
    pub fn has_valid_checksum(&self) -> bool {
        checksum::internet(&self.bytes.as_ref()[..self.header_len()]) == 0
    }

    /// The sender.
    pub fn source(&self) -> Ipv4Addr {
        self.address(SOURCE_AT)
    }

    /// The receiver.
    pub fn destination(&self) -> Ipv4Addr {
        self.address(DESTINATION_AT)
    }

    /// The options between the fixed header and the payload.
    pub fn options(&self) -> &[u8] {
        &self.bytes.as_ref()[Ipv4Header::LEN..self.header_len()]
    }

    /// What the header is in front of, to the packet's own end.
    pub fn payload(&self) -> &[u8] {
        &self.octets()[self.header_len()..]
    }

    /// The packet, and nothing behind it.
    pub fn octets(&self) -> &[u8] {
        &self.bytes.as_ref()[..self.total_length()]
    }

    /// Where the transport header is, and whether it can be seen.
    pub fn upper_layer(&self) -> UpperLayer {
        let word = self.word(FRAGMENT_AT);
        UpperLayer {
            protocol: self.protocol(),
            offset: self.header_len(),
            fragment: Fragment::new(word & OFFSET_MASK, word & MORE_FRAGMENTS != 0),
        }
    }

    fn word(&self, at: usize) -> u16 {
        let octets = self.bytes.as_ref();
        u16::from_be_bytes([octets[at], octets[at + 1]])
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        let octets = self.bytes.as_ref();
        Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3])
    }
}

/// Each of these brings the header checksum up to date with the one field that it changes, so that a
/// checksum that was right stays right and one that was wrong stays wrong.
impl<Bytes: AsRef<[u8]> + AsMut<[u8]>> Ipv4<Bytes> {
    /// Rewrites the DSCP; 6 bits.
    pub fn set_dscp(&mut self, dscp: u8) {
        let class = traffic_class(dscp, self.ecn());
        self.rewrite_low(CLASS_AT, class);
    }

    /// Rewrites the ECN field.
    pub fn set_ecn(&mut self, ecn: Ecn) {
        let class = traffic_class(self.dscp(), ecn);
        self.rewrite_low(CLASS_AT, class);
    }

    /// Rewrites the length of the whole packet, in octets.
    ///
    /// # Errors
    /// When that is less than the header takes, or more than there is.
    pub fn set_total_length(&mut self, length: u16) -> Result<(), Malformed> {
        let stated = usize::from(length);
        let available = self.bytes.as_ref().len();
        if stated < self.header_len() || stated > available {
            let fault = Fault::WrongLength { stated, actual: available };
            return Err(Malformed::new("IPv4 header", "Total Length", fault));
        }
        self.rewrite(TOTAL_LENGTH_AT, length);
        Ok(())
    }

    /// Rewrites the identification.
    pub fn set_identification(&mut self, identification: u16) {
        self.rewrite(IDENTIFICATION_AT, identification);
    }

    /// Forbids routers to cut the packet up.
    pub fn forbid_fragmentation(&mut self) {
        let word = self.word(FRAGMENT_AT) | DONT_FRAGMENT;
        self.rewrite(FRAGMENT_AT, word);
    }

    /// Allows routers to cut the packet up.
    pub fn allow_fragmentation(&mut self) {
        let word = self.word(FRAGMENT_AT) & !DONT_FRAGMENT;
        self.rewrite(FRAGMENT_AT, word);
    }

    /// Rewrites the time to live.
    pub fn set_ttl(&mut self, ttl: u8) {
        let word = u16::from_be_bytes([ttl, self.protocol()]);
        self.rewrite(TTL_AT, word);
    }

    /// Rewrites the protocol of the payload.
    pub fn set_protocol(&mut self, protocol: u8) {
        self.rewrite_low(TTL_AT, protocol);
    }

    /// Rewrites the sender. The checksum of a transport header inside covers it too, and is left
    /// alone.
    pub fn set_source(&mut self, source: Ipv4Addr) {
        self.rewrite_address(SOURCE_AT, source);
    }

    /// Rewrites the receiver. The checksum of a transport header inside covers it too, and is left
    /// alone.
    pub fn set_destination(&mut self, destination: Ipv4Addr) {
        self.rewrite_address(DESTINATION_AT, destination);
    }

    /// What the header is in front of, to the packet's own end.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.header_len(), self.total_length());
        &mut self.bytes.as_mut()[start..end]
    }

    fn rewrite(&mut self, at: usize, new: u16) {
        let checksum = checksum::update(self.checksum(), self.word(at), new);
        put(self.bytes.as_mut(), at, new);
        put(self.bytes.as_mut(), CHECKSUM_AT, checksum);
    }

    /// Rewrites the second octet of the word at `at`.
    fn rewrite_low(&mut self, at: usize, new: u8) {
        let high = self.bytes.as_ref()[at];
        self.rewrite(at, u16::from_be_bytes([high, new]));
    }

    fn rewrite_address(&mut self, at: usize, address: Ipv4Addr) {
        let [a, b, c, d] = address.octets();
        self.rewrite(at, u16::from_be_bytes([a, b]));
        self.rewrite(at + 2, u16::from_be_bytes([c, d]));
    }
}

pub(super) fn put(octets: &mut [u8], at: usize, word: u16) {
    octets[at..][..2].copy_from_slice(&word.to_be_bytes());
}
