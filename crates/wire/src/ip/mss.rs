//! The Maximum Segment Size that TCP announces when a connection opens (RFC 9293 §3.7.1), lowered in passing.
//!
//! ```text
//!   +--------+--------+---------+--------+
//!   |00000010|00000100|   max seg size   |
//!   +--------+--------+---------+--------+
//! ```
//!
//! A router knows of a narrower path than the ends do. RFC 9293 says nothing of routers that change the option; all that
//! carry tunnels do, because TCP then works where ICMP is filtered.

use core::ops::Range;

use super::{Fragment, Packet, checksum, protocol};

/// Lowers the maximum segment size that the IP packet at the front of `bytes` announces to at most `most`, and its
/// checksum with it; gives what was announced, if that was more.
///
/// Only a segment that opens a connection (SYN) announces one; any other packet is left alone, and so is what follows an
/// option that cannot be read. An end that hears of no size sends 536 octets, or 1220 in IPv6: none is added.
pub fn clamp_mss(bytes: &mut [u8], most: u16) -> Option<u16> {
    let segment = opening_segment(bytes)?;
    let header_len = usize::from(segment[DATA_OFFSET_AT] >> 4) * 4;
    let mut announced = None;
    let mut at = FIXED_LEN;
    while at < header_len {
        let Some(length) = option_len(&segment[at..header_len]) else { break };
        if let [MAXIMUM_SEGMENT_SIZE, 4, high, low] = segment[at..at + length] {
            let old = u16::from_be_bytes([high, low]);
            if old > most {
                rewrite(segment, at + 2, old, most);
                announced = announced.max(Some(old));
            }
        }
        at += length;
    }
    announced
}

/// Tells whether the IP packet at the front of `bytes` is a TCP segment that opens a connection.
pub fn opens_connection(bytes: &[u8]) -> bool {
    segment_of(bytes).is_some()
}

fn opening_segment(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let segment = segment_of(bytes)?;
    Some(&mut bytes[segment])
}

/// Finds the TCP segment of a packet, if its whole header is there and it has SYN set.
fn segment_of(bytes: &[u8]) -> Option<Range<usize>> {
    let packet = Packet::new(bytes).ok()?;
    let found = packet.upper_layer().ok()?;
    if found.protocol != protocol::TCP || found.fragment == Fragment::Later {
        return None;
    }
    let segment = &packet.octets()[found.offset..];
    let header_len = usize::from(segment.get(DATA_OFFSET_AT)? >> 4) * 4;
    let is_whole = (FIXED_LEN..=segment.len()).contains(&header_len);
    (is_whole && segment[FLAGS_AT] & SYN != 0).then_some(found.offset..packet.total_length())
}

/// Gives the length of the option at the front of `options`; `None` at their end, and where one has no length that it
/// could have.
fn option_len(options: &[u8]) -> Option<usize> {
    match *options {
        [END_OF_OPTIONS, ..] => None,
        [NO_OPERATION, ..] => Some(1),
        [_, length, ..] => Some(length.into()).filter(|length| (2..=options.len()).contains(length)),
        [] | [_] => None,
    }
}

fn rewrite(segment: &mut [u8], at: usize, old: u16, new: u16) {
    let checksum = u16::from_be_bytes([segment[CHECKSUM_AT], segment[CHECKSUM_AT + 1]]);
    // RFC 1071 §2: a word that begins at an odd octet counts as its octets swapped.
    let counted = |word: u16| if at.is_multiple_of(2) { word } else { word.swap_bytes() };
    let updated = checksum::update(checksum, counted(old), counted(new));
    segment[at..at + 2].copy_from_slice(&new.to_be_bytes());
    segment[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&updated.to_be_bytes());
}

const FIXED_LEN: usize = 20;
const DATA_OFFSET_AT: usize = 12;
const FLAGS_AT: usize = 13;
const CHECKSUM_AT: usize = 16;
const SYN: u8 = 0x02;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
