//! Address blocks (RFC 3779 §2): which addresses a certificate's subject may speak for.
//!
//! ```text
//!   IPAddrBlocks ::= SEQUENCE OF SEQUENCE { addressFamily OCTET STRING, CHOICE {
//!                        inherit NULL, SEQUENCE OF CHOICE { prefix BIT STRING, SEQUENCE { min, max BIT STRING } } } }
//! ```

use std::net::IpAddr;

use der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use sa::{AddressRange, Family};

use crate::limits;
use crate::refusal::{Reason, Refusal};
use crate::{Certificate, extensions};

/// The extension of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressBlocks(Vec<(Family, Choice)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Inherit,
    Ranges(Vec<AddressRange>),
}

/// The addresses that a certificate's subject has, as its whole path shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(Vec<AddressRange>);

impl Addresses {
    /// Gives the addresses as ranges that do not touch, in ascending order for each family.
    pub fn ranges(&self) -> &[AddressRange] {
        &self.0
    }

    /// Tells whether all of `range` is among them.
    pub fn cover(&self, range: &AddressRange) -> bool {
        self.0.iter().any(|own| own.covers(range))
    }
}

impl AddressBlocks {
    pub(crate) fn from_der(value: &[u8]) -> der::Result<AddressBlocks> {
        let mut blocks: Vec<(Family, Choice)> = Vec::new();
        let mut total = 0;
        for block in Elements::of(AnyRef::from_der(value)?)? {
            let mut parts = Elements::of(block?)?;
            // What other families hold, and multicast, is nothing that a traffic selector is compared with.
            let Some(family) = family_of(parts.required()?.decode_as()?) else { continue };
            let choice = read_choice(parts.required()?, family)?;
            if let Choice::Ranges(ranges) = &choice {
                total += ranges.len();
            }
            let is_repeated = blocks.iter().any(|(earlier, _)| *earlier == family);
            if !parts.is_finished() || is_repeated || total > limits::MAX_ADDRESS_RANGES {
                return Err(Tag::Sequence.value_error().into());
            }
            blocks.push((family, choice));
        }
        Ok(AddressBlocks(blocks))
    }

    /// Gives the addresses of a trust anchor, which has nobody to inherit from.
    pub(crate) fn of_anchor(&self) -> Addresses {
        Addresses(self.0.iter().flat_map(|(_, choice)| choice.ranges()).copied().collect())
    }

    /// Gives the subject's addresses, all of which its issuer must have (RFC 3779 §2.3).
    pub(crate) fn below(
        &self,
        issuers: Option<&Addresses>,
        certificate: &Certificate,
    ) -> Result<Addresses, Refusal> {
        let issuer = || certificate.issuer().to_string();
        let mut own = Vec::new();
        for (family, choice) in &self.0 {
            let of_family = |range: &&AddressRange| range.family() == *family;
            let available: Vec<_> =
                issuers.into_iter().flat_map(Addresses::ranges).filter(of_family).copied().collect();
            match choice {
                Choice::Inherit if available.is_empty() => {
                    return Err(Refusal::of(certificate, Reason::InheritsNothing { issuer: issuer() }));
                }
                Choice::Inherit => own.extend(available),
                Choice::Ranges(ranges) => {
                    let is_outside = |range: &&AddressRange| !available.iter().any(|own| own.covers(range));
                    if let Some(range) = ranges.iter().find(is_outside) {
                        let reason = Reason::Addresses { range: range.to_string(), issuer: issuer() };
                        return Err(Refusal::of(certificate, reason));
                    }
                    own.extend(ranges);
                }
            }
        }
        Ok(Addresses(own))
    }
}

impl Choice {
    fn ranges(&self) -> &[AddressRange] {
        match self {
            Choice::Inherit => &[],
            Choice::Ranges(ranges) => ranges,
        }
    }
}

/// RFC 3779 §2.2.3.3: an address family's number, and of IPv4 and IPv6 all or unicast alone.
fn family_of(octets: &OctetStringRef) -> Option<Family> {
    match octets.as_bytes() {
        [0, 1] | [0, 1, 1] => Some(Family::V4),
        [0, 2] | [0, 2, 1] => Some(Family::V6),
        _ => None,
    }
}

fn read_choice(choice: AnyRef<'_>, family: Family) -> der::Result<Choice> {
    if choice.is_null() {
        return Ok(Choice::Inherit);
    }
    let mut ranges = Vec::new();
    for element in Elements::of(choice)? {
        let element = element?;
        let (low, high) = match element.tag() {
            Tag::Sequence => {
                let mut ends = Elements::of(element)?;
                (ends.required()?.decode_as()?, ends.required()?.decode_as()?)
            }
            _ => {
                let prefix: BitStringRef<'_> = element.decode_as()?;
                (prefix, prefix)
            }
        };
        // RFC 3779 §2.1.1 and §2.1.2: what a lower end leaves out is zeros, what an upper end leaves out is ones.
        let (start, end) = (fill(low, family, 0x00)?, fill(high, family, 0xff)?);
        ranges.push(AddressRange::new(start, end).map_err(|_| Tag::BitString.value_error())?);
        if ranges.len() > limits::MAX_ADDRESS_RANGES {
            return Err(Tag::Sequence.value_error().into());
        }
    }
    Ok(Choice::Ranges(merge(ranges)))
}

/// The address that begins with these bits and goes on with zeros or ones.
fn fill(bits: BitStringRef<'_>, family: Family, rest: u8) -> der::Result<IpAddr> {
    let mut octets = vec![rest; usize::from(family.bits()) / 8];
    if bits.raw_bytes().len() > octets.len() {
        return Err(Tag::BitString.value_error().into());
    }
    for (at, octet) in bits.raw_bytes().iter().enumerate() {
        let is_last = at + 1 == bits.raw_bytes().len();
        let unused =
            if is_last { 0xff_u8.checked_shr(8 - u32::from(bits.unused_bits())).unwrap_or(0) } else { 0 };
        octets[at] = octet & !unused | rest & unused;
    }
    extensions::address_of(&octets).ok_or_else(|| Tag::BitString.value_error().into())
}

/// Sorts ranges of one family and joins what overlaps or touches.
fn merge(mut ranges: Vec<AddressRange>) -> Vec<AddressRange> {
    ranges.sort_by_key(AddressRange::start);
    let mut merged: Vec<AddressRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if next_after(last.end()).is_none_or(|next| range.start() <= next) => {
                if let Ok(joined) = AddressRange::new(last.start(), last.end().max(range.end())) {
                    *last = joined;
                }
            }
            Some(_) | None => merged.push(range),
        }
    }
    merged
}

fn next_after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(address) => u128::from(address).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

/// The elements of a SEQUENCE, one after the other.
struct Elements<'a>(SliceReader<'a>);

impl<'a> Elements<'a> {
    fn of(sequence: AnyRef<'a>) -> der::Result<Elements<'a>> {
        sequence.tag().assert_eq(Tag::Sequence)?;
        SliceReader::new(sequence.value()).map(Elements)
    }

    fn required(&mut self) -> der::Result<AnyRef<'a>> {
        AnyRef::decode(&mut self.0)
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = der::Result<AnyRef<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_finished()).then(|| AnyRef::decode(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    fn ranges(value: &str) -> Vec<String> {
        let blocks = AddressBlocks::from_der(&decode(value)).unwrap();
        blocks.of_anchor().ranges().iter().map(ToString::to_string).collect()
    }

    /// RFC 3779 appendix B: IPv4 unicast and inherited IPv6; IPv4 unicast, inherited multicast and IPv6.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let first = "3035 302b 0403000101 3024 0304040a0020 0304000a0040 0303000a01 300c 0304040a0230 0304000a0240 \
                     0303000a03 3006 04020002 0500";
        assert_eq!(
            ranges(first),
            ["10.0.32.0/20", "10.0.64.0/24", "10.1.0.0/16", "10.2.48.0-10.2.64.255", "10.3.0.0/16"]
        );
        let second = "302c 3010 0403000101 3009 0302000a 030304ac10 3007 0403000102 0500 \
                      300f 04020002 3009 030700200100000002";
        assert_eq!(ranges(second), ["10.0.0.0/8", "172.16.0.0/12", "2001:0:2::/48"]);
    }

    #[test]
    fn faulty_blocks_are_refused() {
        let faults = [
            // A BIT STRING without its first octet; a prefix of 40 bits; the ends in the wrong order; a family twice.
            "300a 3008 04020001 3002 0300",
            "3010 300e 04020001 3008 0306000a00000000",
            "3012 3010 04020001 300a 3008 0302000b 0302000a",
            "3010 3006 04020001 0500 3006 04020001 0500",
        ];
        for fault in faults {
            let octets = decode(fault);
            assert!(AddressBlocks::from_der(&octets).is_err(), "{fault}");
        }
    }
}
