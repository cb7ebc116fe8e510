//! What AH authenticates of the IP header in front of it (RFC 4302 §3.3.3.1 and appendix A).
//!
//! ```text
//!   IPv4   zeroed      class of service, flags, fragment offset, TTL, checksum; options that change on the way
//!          predicted   the destination, where a source route names a later one
//!   IPv6   zeroed      traffic class, flow label, hop limit; data of options that say they change on the way
//!          predicted   destination and addresses of a routing header, as the receiver finds them
//! ```
//!
//! Sender and receiver make the same image: what is predicted has already happened when a packet arrives.

use wire::ip::{Ipv4Header, Ipv6Header, protocol};

use crate::DropReason;
use crate::header::Header;

/// Gives the image of `header` that the ICV covers; of its octets only, which must say their lengths already.
///
/// # Errors
/// The options or extension headers contradict themselves, or are such that nobody can predict them.
pub(crate) fn image(header: &Header) -> Result<Header, DropReason> {
    let mut image = *header;
    let next_at = image.next_at();
    if image.is_v4() {
        zero_v4(image.octets_mut()).ok_or(DropReason::Header)?;
    } else {
        zero_v6(image.octets_mut(), next_at).ok_or(DropReason::Header)?;
    }
    Ok(image)
}

fn zero_v4(octets: &mut [u8]) -> Option<()> {
    for mutable in [1..2, 6..9, 10..12] {
        octets.get_mut(mutable)?.fill(0);
    }
    let mut at = Ipv4Header::LEN;
    while at < octets.len() {
        let kind = octets[at];
        at += match kind {
            option::END_OF_LIST => return Some(()),
            option::NO_OPERATION => 1,
            kind => {
                let len = usize::from(*octets.get(at + 1)?);
                let end = at.checked_add(len).filter(|end| len >= 2 && *end <= octets.len())?;
                if kind == option::LOOSE_SOURCE_ROUTE || kind == option::STRICT_SOURCE_ROUTE {
                    follow_source_route(octets, at, len);
                }
                if !option::IMMUTABLE.contains(&kind) {
                    octets[at..end].fill(0);
                }
                len
            }
        };
    }
    Some(())
}

/// Makes the last address of a route the destination, unless the packet has reached it (RFC 791 §3.1).
fn follow_source_route(octets: &mut [u8], at: usize, len: usize) {
    let pointer = octets.get(at + 2).map(|pointer| usize::from(*pointer));
    if len >= ROUTE_FIXED_LEN + 4 && pointer.is_some_and(|pointer| pointer < len) {
        octets.copy_within(at + len - 4..at + len, V4_DESTINATION_AT);
    }
}

fn zero_v6(octets: &mut [u8], last_next_at: usize) -> Option<()> {
    octets[0] = 6 << 4;
    octets[1..4].fill(0);
    octets[V6_HOP_LIMIT_AT] = 0;
    let (mut next_at, mut at) = (V6_NEXT_HEADER_AT, Ipv6Header::LEN);
    while next_at != last_next_at {
        let len = (usize::from(*octets.get(at + 1)?) + 1) * 8;
        let (front, rest) = octets.split_at_mut_checked(at)?;
        let extension = rest.get_mut(..len)?;
        match front.get(next_at)? {
            &protocol::HOP_BY_HOP | &protocol::DESTINATION_OPTIONS => zero_options(extension.get_mut(2..)?)?,
            &protocol::ROUTING => {
                follow_routing_header(extension, front.get_mut(V6_DESTINATION_AT..Ipv6Header::LEN)?)?
            }
            _ => return None,
        }
        (next_at, at) = (at, at + len);
    }
    Some(())
}

/// Zeroes the data of options that say they change on the way (RFC 8200 §4.2).
fn zero_options(mut options: &mut [u8]) -> Option<()> {
    while let Some(&kind) = options.first() {
        if kind == option::PAD_1 {
            options = &mut options[1..];
            continue;
        }
        let len = usize::from(*options.get(1)?);
        let (option, rest) = options.split_at_mut_checked(2 + len)?;
        if kind & option::CHANGES_ON_THE_WAY != 0 {
            option[2..].fill(0);
        }
        options = rest;
    }
    Some(())
}

/// Goes the rest of a route, as the routers on it will (RFC 2460 §4.4 for type 0, RFC 6275 §6.4 for type 2).
fn follow_routing_header(extension: &mut [u8], destination: &mut [u8]) -> Option<()> {
    let &[_, _, kind, segments_left, ..] = &*extension else { return None };
    if segments_left == 0 {
        return Some(());
    }
    if kind != option::SOURCE_ROUTE_TYPE && kind != option::HOME_ADDRESS_TYPE {
        return None;
    }
    let (fixed, addresses) = extension.split_at_mut_checked(8)?;
    let (addresses, _) = addresses.as_chunks_mut::<16>();
    let first = addresses.len().checked_sub(segments_left.into())?;
    for address in &mut addresses[first..] {
        destination.swap_with_slice(address);
    }
    fixed[3] = 0;
    Some(())
}

/// Types of options, and of routing headers.
mod option {
    pub(super) const END_OF_LIST: u8 = 0;
    pub(super) const NO_OPERATION: u8 = 1;
    pub(super) const LOOSE_SOURCE_ROUTE: u8 = 131;
    pub(super) const STRICT_SOURCE_ROUTE: u8 = 137;
    /// Security, extended and commercial security, router alert, sender-directed delivery.
    pub(super) const IMMUTABLE: [u8; 5] = [130, 133, 134, 148, 149];

    pub(super) const PAD_1: u8 = 0;
    pub(super) const CHANGES_ON_THE_WAY: u8 = 0x20;
    pub(super) const SOURCE_ROUTE_TYPE: u8 = 0;
    pub(super) const HOME_ADDRESS_TYPE: u8 = 2;
}

/// Type, length and pointer of an IPv4 route.
const ROUTE_FIXED_LEN: usize = 3;
const V4_DESTINATION_AT: usize = 16;
const V6_NEXT_HEADER_AT: usize = 6;
const V6_HOP_LIMIT_AT: usize = 7;
const V6_DESTINATION_AT: usize = 24;
