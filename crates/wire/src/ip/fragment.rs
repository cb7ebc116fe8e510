//! Cutting an IP packet into fragments, and what a fragment says of its packet (RFC 791 §3.2,
//! RFC 8200 §4.5).
//!
//! ```text
//!   IPv4   header, all options    │ data
//!          header, all options    │ first octets   ┐
//!          header, copied options │ second octets  ├ each part but the last a multiple of 8 octets
//!          header, copied options │ the rest       ┘
//!
//!   IPv6   per-fragment headers │ what follows them
//!          per-fragment headers │ fragment header │ first octets
//!          per-fragment headers │ fragment header │ the rest
//! ```
//!
//! Whether a packet may be cut (its Don't Fragment bit; that IPv6 leaves it to the source) is for the
//! caller to say.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::v4::{CHECKSUM_AT, DONT_FRAGMENT, FRAGMENT_AT, MORE_FRAGMENTS, PROTOCOL_AT, TOTAL_LENGTH_AT, put};
use super::v6::{NEXT_HEADER_AT, PAYLOAD_LENGTH_AT, skip_extension};
use super::{Ipv4, Ipv4Header, Ipv6, Ipv6Header, Packet, checksum, protocol};
use crate::limits::IPV6_EXTENSION_HEADERS;
use crate::reader::Reader;
use crate::{Fault, Malformed};

/// Octets of the IPv6 fragment header.
const FRAGMENT_HEADER_LEN: usize = 8;

/// Octets of the longest IPv4 header.
const LONGEST_V4_HEADER: usize = 60;

/// Offsets count in units of so many octets.
const UNIT: usize = 8;

/// What a fragment says of the packet that it is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What the fragments of one packet have in common; 16 bits in IPv4.
    pub identification: u32,
    /// Where the part belongs, in octets behind the header, or behind IPv6's per-fragment headers.
    pub offset: usize,
    /// Whether more of the packet follows the part.
    pub more: bool,
    /// What the packet has behind its header, or behind its per-fragment headers.
    pub protocol: u8,
    /// Octets of the header, or of the per-fragment headers.
    pub header_len: usize,
    /// Where in the fragment the part begins.
    pub start: usize,
    /// Where in the header the octet is that will name `protocol`.
    named_at: usize,
}

impl Part {
    /// Reads which part of a packet `packet` is; `None` if it is whole. An IPv6 packet whose fragment
    /// header says that it is whole is that (RFC 6946).
    ///
    /// # Errors
    /// When a chain of IPv6 extension headers cannot be followed.
    pub fn of<Bytes: AsRef<[u8]>>(packet: &Packet<Bytes>) -> Result<Option<Part>, Malformed> {
        let part = match packet {
            Packet::V4(packet) => Some(Part::of_v4(packet)),
            Packet::V6(packet) => Part::of_v6(packet)?,
        };
        Ok(part.filter(|part| part.more || part.offset > 0))
    }

    /// Writes the header, or the per-fragment headers, of the whole packet to `out`, which has
    /// [`Part::header_len`] octets: `fragment` is its first one, and `length` octets follow.
    ///
    /// # Errors
    /// When the whole packet is longer than an IP packet can be.
    pub fn write_whole_header(
        &self,
        fragment: &[u8],
        length: usize,
        out: &mut [u8],
    ) -> Result<(), Malformed> {
        out.copy_from_slice(&fragment[..self.header_len]);
        if out[0] >> 4 == 4 {
            let total = fitting("Total Length", self.header_len + length)?;
            let flags = u16::from_be_bytes([out[FRAGMENT_AT], out[FRAGMENT_AT + 1]]) & DONT_FRAGMENT;
            finish_v4_header(out, total, flags);
        } else {
            let payload = fitting("Payload Length", self.header_len - Ipv6Header::LEN + length)?;
            out[self.named_at] = self.protocol;
            put(out, PAYLOAD_LENGTH_AT, payload);
        }
        Ok(())
    }

    fn of_v4<Bytes: AsRef<[u8]>>(packet: &Ipv4<Bytes>) -> Part {
        Part {
            identification: packet.identification().into(),
            offset: packet.fragment_offset(),
            more: packet.more_fragments(),
            protocol: packet.protocol(),
            header_len: packet.header_len(),
            start: packet.header_len(),
            named_at: PROTOCOL_AT,
        }
    }

    fn of_v6<Bytes: AsRef<[u8]>>(packet: &Ipv6<Bytes>) -> Result<Option<Part>, Malformed> {
        let octets = packet.octets();
        let mut link = Link::first(octets);
        for _ in 0..=IPV6_EXTENSION_HEADERS {
            match link.next {
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                    link = link.following(octets)?;
                }
                protocol::FRAGMENT => return Part::behind(link, octets).map(Some),
                _ => return Ok(None),
            }
        }
        Err(too_many_headers())
    }

    fn behind(link: Link, octets: &[u8]) -> Result<Part, Malformed> {
        let mut reader = Reader::new("IPv6 fragment header", &octets[link.at..]);
        let [protocol, _reserved] = reader.array("Next Header")?;
        let offset_and_more = reader.u16("Fragment Offset")?;
        Ok(Part {
            identification: reader.u32("Identification")?,
            offset: usize::from(offset_and_more & !0b111),
            more: offset_and_more & 1 != 0,
            protocol,
            header_len: link.at,
            start: link.at + FRAGMENT_HEADER_LEN,
            named_at: link.named_at,
        })
    }
}

/// A packet and the plan of its fragments.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    packet: &'a [u8],
    /// Octets of the header, or of the per-fragment headers.
    header_len: usize,
    /// Octets of each part but the last.
    part_len: usize,
    version: Version,
}

#[derive(Clone, Debug)]
enum Version {
    /// The header of all fragments but the first, and the octets that it takes.
    V4 {
        later: [u8; LONGEST_V4_HEADER],
        later_len: usize,
    },
    V6 {
        identification: u32,
        next_header: u8,
        named_at: usize,
    },
}

/// Why a packet cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncut {
    /// Its headers cannot be read, or say that it has been cut where only its source may do so.
    Malformed(Malformed),
    /// Every fragment takes at least this many octets.
    TooNarrow(usize),
}

impl From<Malformed> for Uncut {
    fn from(malformed: Malformed) -> Uncut {
        Uncut::Malformed(malformed)
    }
}

impl fmt::Display for Uncut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Uncut::Malformed(malformed) => malformed.fmt(f),
            Uncut::TooNarrow(octets) => write!(f, "IP packet: every fragment takes at least {octets} octets"),
        }
    }
}

impl core::error::Error for Uncut {}

impl<'a> Fragments<'a> {
    /// Plans the fragments, each of at most `mtu` octets, of the packet at the front of `bytes`, which
    /// is longer than that. A fragment of an IPv4 packet can be cut again; `identification` is for
    /// IPv6, since IPv4 packets have their own.
    ///
    /// # Errors
    /// When the packet's options or extension headers cannot be read, when it is a fragment of an
    /// IPv6 packet already, or when `mtu` leaves no room behind its headers.
    pub fn new(bytes: &'a [u8], mtu: usize, identification: u32) -> Result<Fragments<'a>, Uncut> {
        let packet = Packet::new(bytes)?;
        let octets = &bytes[..packet.total_length()];
        match packet {
            Packet::V4(packet) => Fragments::of_v4(octets, &packet, mtu),
            Packet::V6(_) => Fragments::of_v6(octets, mtu, identification),
        }
    }

    /// Counts the fragments; at least one.
    pub fn count(&self) -> usize {
        (self.packet.len() - self.header_len).div_ceil(self.part_len).max(1)
    }

    /// Tells the octets of fragment `index`, headers included.
    pub fn fragment_len(&self, index: usize) -> usize {
        self.front_len(index) + self.part(index).len()
    }

    /// Writes fragment `index` to `out`, which has exactly its length.
    pub fn write(&self, index: usize, out: &mut [u8]) {
        let (front, rest) = out.split_at_mut(self.front_len(index));
        let part = self.part(index);
        rest.copy_from_slice(part);
        let last = index + 1 == self.count();
        let units = (index * self.part_len / UNIT) as u16;
        // Both lengths were found to fit when the plan was made.
        match &self.version {
            Version::V4 { later, later_len } => {
                front.copy_from_slice(if index == 0 {
                    &self.packet[..self.header_len]
                } else {
                    &later[..*later_len]
                });
                let word = u16::from_be_bytes([self.packet[FRAGMENT_AT], self.packet[FRAGMENT_AT + 1]]);
                let more = if last { 0 } else { MORE_FRAGMENTS };
                let total = (front.len() + part.len()) as u16;
                finish_v4_header(front, total, (word | more) + units);
            }
            Version::V6 { identification, next_header, named_at } => {
                let (headers, fragment) = front.split_at_mut(self.header_len);
                headers.copy_from_slice(&self.packet[..self.header_len]);
                headers[*named_at] = protocol::FRAGMENT;
                let payload = self.header_len - Ipv6Header::LEN + FRAGMENT_HEADER_LEN + part.len();
                put(headers, PAYLOAD_LENGTH_AT, payload as u16);
                fragment[..2].copy_from_slice(&[*next_header, 0]);
                put(fragment, 2, units << 3 | u16::from(!last));
                fragment[4..].copy_from_slice(&identification.to_be_bytes());
            }
        }
    }

    /// Gives the fragments in their order, each in memory of its own.
    pub fn iter(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        (0..self.count()).map(|index| {
            let mut out = vec![0; self.fragment_len(index)];
            self.write(index, &mut out);
            out
        })
    }

    fn of_v4(octets: &'a [u8], packet: &Ipv4<&[u8]>, mtu: usize) -> Result<Fragments<'a>, Uncut> {
        let header_len = packet.header_len();
        // The last offset must still be expressible when this packet is a fragment itself.
        fitting("Fragment Offset", packet.fragment_offset() + octets.len())?;
        let mut later = [0; LONGEST_V4_HEADER];
        let (fixed, options) = later.split_at_mut(Ipv4Header::LEN);
        fixed.copy_from_slice(&octets[..Ipv4Header::LEN]);
        let later_len = Ipv4Header::LEN + copy_options(packet.options(), options)?.next_multiple_of(4);
        later[0] = later[0] & 0xf0 | (later_len / 4) as u8;
        let part_len = part_len(mtu, header_len)?;
        Ok(Fragments { packet: octets, header_len, part_len, version: Version::V4 { later, later_len } })
    }

    fn of_v6(octets: &'a [u8], mtu: usize, identification: u32) -> Result<Fragments<'a>, Uncut> {
        let Chain { per_fragment, upper } = Chain::of(octets)?;
        let part_len = part_len(mtu, per_fragment.at + FRAGMENT_HEADER_LEN)?;
        // RFC 8200 §4.5: all headers, the upper layer's among them, must be in the first fragment.
        if per_fragment.at + part_len < upper.at + UNIT {
            return Err(Uncut::TooNarrow(upper.at + FRAGMENT_HEADER_LEN + UNIT));
        }
        let Link { named_at, next, at } = per_fragment;
        let version = Version::V6 { identification, next_header: next, named_at };
        Ok(Fragments { packet: octets, header_len: at, part_len, version })
    }

    /// Octets in front of the part of fragment `index`.
    fn front_len(&self, index: usize) -> usize {
        match self.version {
            Version::V4 { .. } if index == 0 => self.header_len,
            Version::V4 { later_len, .. } => later_len,
            Version::V6 { .. } => self.header_len + FRAGMENT_HEADER_LEN,
        }
    }

    fn part(&self, index: usize) -> &'a [u8] {
        let start = self.header_len + index * self.part_len;
        &self.packet[start..self.packet.len().min(start + self.part_len)]
    }
}

/// Where the parts of an IPv6 packet's chain of headers end that fragmentation tells apart.
struct Chain {
    /// What is behind the per-fragment headers.
    per_fragment: Link,
    /// What is behind all extension headers.
    upper: Link,
}

impl Chain {
    fn of(octets: &[u8]) -> Result<Chain, Malformed> {
        let mut upper = Link::first(octets);
        let mut per_fragment = upper;
        for _ in 0..=IPV6_EXTENSION_HEADERS {
            match upper.next {
                // RFC 8200 §4.5: to the routing header if there is one, else to the hop-by-hop options.
                protocol::HOP_BY_HOP | protocol::ROUTING => {
                    upper = upper.following(octets)?;
                    per_fragment = upper;
                }
                protocol::DESTINATION_OPTIONS => upper = upper.following(octets)?,
                protocol::FRAGMENT => {
                    let fragment = protocol::FRAGMENT.into();
                    return Err(Malformed::forbidden("IPv6 header", "Next Header", fragment, "no fragment"));
                }
                _ => return Ok(Chain { per_fragment, upper }),
            }
        }
        Err(too_many_headers())
    }
}

/// A place in the chain of IPv6 headers: the header `next` begins at `at`, as the octet at `named_at`
/// says.
#[derive(Clone, Copy)]
struct Link {
    named_at: usize,
    next: u8,
    at: usize,
}

impl Link {
    fn first(octets: &[u8]) -> Link {
        Link { named_at: NEXT_HEADER_AT, next: octets[NEXT_HEADER_AT], at: Ipv6Header::LEN }
    }

    /// Steps over an extension header of the common form.
    fn following(self, octets: &[u8]) -> Result<Link, Malformed> {
        let mut reader = Reader::new("IPv6 extension header", &octets[self.at..]);
        let next = skip_extension(&mut reader)?;
        Ok(Link { named_at: self.at, next, at: octets.len() - reader.remaining() })
    }
}

/// The longest part that fits `mtu` behind `front_len` octets, a multiple of eight.
fn part_len(mtu: usize, front_len: usize) -> Result<usize, Uncut> {
    match mtu.saturating_sub(front_len) / UNIT * UNIT {
        0 => Err(Uncut::TooNarrow(front_len + UNIT)),
        octets => Ok(octets),
    }
}

/// Copies the options that every fragment carries (RFC 791 §3.1), and gives the octets that they take.
fn copy_options(mut options: &[u8], out: &mut [u8]) -> Result<usize, Malformed> {
    let mut used = 0;
    while let [kind, rest @ ..] = options {
        match *kind {
            END_OF_OPTIONS => break,
            NO_OPERATION => options = rest,
            kind => {
                let length = usize::from(rest.first().copied().unwrap_or(0));
                let Some((option, behind)) = options.split_at_checked(length).filter(|_| length >= 2) else {
                    let fault = Fault::WrongLength { stated: length, actual: options.len() };
                    return Err(Malformed::new("IPv4 option", "Length", fault));
                };
                if kind & COPIED != 0 {
                    out[used..][..length].copy_from_slice(option);
                    used += length;
                }
                options = behind;
            }
        }
    }
    Ok(used)
}

/// Takes a length or an offset that must be less than 64 KiB.
fn fitting(field: &'static str, octets: usize) -> Result<u16, Malformed> {
    let refused = |_| Malformed::forbidden("IP packet", field, octets as u64, "at most 65535");
    u16::try_from(octets).map_err(refused)
}

fn too_many_headers() -> Malformed {
    Malformed::new("IPv6 extension header", "headers", Fault::TooMany { limit: IPV6_EXTENSION_HEADERS })
}

/// Puts length and fragment word into a header, and the checksum that belongs to it.
fn finish_v4_header(header: &mut [u8], total_length: u16, fragment_word: u16) {
    put(header, TOTAL_LENGTH_AT, total_length);
    put(header, FRAGMENT_AT, fragment_word);
    put(header, CHECKSUM_AT, 0);
    let checksum = checksum::internet(header);
    put(header, CHECKSUM_AT, checksum);
}

/// Kinds of IPv4 options that are one octet long, and the flag of those that every fragment carries
/// (RFC 791 §3.1).
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const COPIED: u8 = 0x80;
