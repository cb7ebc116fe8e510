//! Ranges of IP addresses of one family: what a traffic selector selects (RFC 7296 §3.13.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// The family of an IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, 32-bit addresses.
    V4,
    /// IPv6, 128-bit addresses.
    V6,
}

impl Family {
    /// Tells the family of an address.
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Gives the width of an address in bits.
    pub const fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// Gives the unspecified address, `0.0.0.0` or `::`.
    pub const fn unspecified(self) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// An inclusive range of addresses of one family; never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    start: IpAddr,
    end: IpAddr,
}

/// Why two addresses or a text make no range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidRange {
    /// The ends belong to different families.
    #[error("{0} and {1} are of different address families")]
    MixedFamilies(IpAddr, IpAddr),
    /// The first address lies behind the last.
    #[error("the range {0}-{1} ends before it starts")]
    Reversed(IpAddr, IpAddr),
    /// The prefix is longer than an address.
    #[error("a prefix of {length} bits is longer than an {family} address")]
    PrefixTooLong {
        /// The length asked for, in bits.
        length: u8,
        /// The family of the address.
        family: Family,
    },
    /// The text is no address, prefix or range.
    #[error("{0:?} is not an address, a prefix (10.1.0.0/16) or a range (10.1.0.1-10.1.0.9)")]
    Unreadable(String),
}

impl AddressRange {
    /// Makes the range from `start` to `end`, both included.
    ///
    /// # Errors
    /// The ends are of different families or in the wrong order.
    pub fn new(start: IpAddr, end: IpAddr) -> Result<AddressRange, InvalidRange> {
        if Family::of(start) != Family::of(end) {
            Err(InvalidRange::MixedFamilies(start, end))
        } else if start > end {
            Err(InvalidRange::Reversed(start, end))
        } else {
            Ok(AddressRange { start, end })
        }
    }

    /// Makes the range of a single address.
    pub fn host(address: IpAddr) -> AddressRange {
        AddressRange { start: address, end: address }
    }

    /// Makes the range of all addresses of a family.
    pub fn any(family: Family) -> AddressRange {
        match family {
            Family::V4 => from_bits(family, 0, u128::from(u32::MAX)),
            Family::V6 => from_bits(family, 0, u128::MAX),
        }
    }

    /// Makes the range of a prefix; host bits of `address` are ignored.
    ///
    /// # Errors
    /// `length` is greater than the width of the address.
    pub fn prefix(address: IpAddr, length: u8) -> Result<AddressRange, InvalidRange> {
        let family = Family::of(address);
        let host_bits =
            family.bits().checked_sub(length).ok_or(InvalidRange::PrefixTooLong { length, family })?;
        let host_mask = low_mask(host_bits);
        let start = to_bits(address) & !host_mask;
        Ok(from_bits(family, start, start | host_mask))
    }

    /// Gives the first address.
    pub fn start(&self) -> IpAddr {
        self.start
    }

    /// Gives the last address.
    pub fn end(&self) -> IpAddr {
        self.end
    }

    /// Tells the family of the addresses.
    pub fn family(&self) -> Family {
        Family::of(self.start)
    }

    /// Tells in how many of their low bits the addresses differ: 8 for `10.1.2.0/24`, 0 for one address alone.
    pub fn host_bits(&self) -> u32 {
        u128::BITS - (to_bits(self.start) ^ to_bits(self.end)).leading_zeros()
    }

    /// Tells whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.start <= address && address <= self.end && self.family() == Family::of(address)
    }

    /// Tells whether every address of `other` lies in this range.
    pub fn covers(&self, other: &AddressRange) -> bool {
        self.contains(other.start) && self.contains(other.end)
    }

    /// Gives the addresses that both ranges hold.
    pub fn intersection(&self, other: &AddressRange) -> Option<AddressRange> {
        AddressRange::new(self.start.max(other.start), self.end.min(other.end)).ok()
    }

    /// Gives the address and length of the prefix that equals this range, if there is one.
    pub fn as_prefix(&self) -> Option<(IpAddr, u8)> {
        let (start, end) = (to_bits(self.start), to_bits(self.end));
        let differing = start ^ end;
        let host_bits = 128 - u8::try_from(differing.leading_zeros()).expect("at most 128 leading zeros");
        let is_prefix = differing == low_mask(host_bits) && start & differing == 0;
        is_prefix.then(|| (self.start, self.family().bits() - host_bits))
    }

    /// Gives the fewest prefixes that together are this range, in order: what a routing table can hold.
    pub fn prefixes(&self) -> Vec<(IpAddr, u8)> {
        let family = self.family();
        let (mut next, last) = (to_bits(self.start), to_bits(self.end));
        let mut prefixes = Vec::new();
        loop {
            let host_bits = widest_block(next, last, family.bits());
            let block_end = next | low_mask(host_bits);
            prefixes.push((from_bits(family, next, next).start, family.bits() - host_bits));
            if block_end >= last {
                return prefixes;
            }
            next = block_end + 1;
        }
    }
}

/// The most host bits of an aligned block that starts at `start` and does not pass `last`.
fn widest_block(start: u128, last: u128, family_bits: u8) -> u8 {
    let aligned = u8::try_from(start.trailing_zeros()).expect("at most 128 trailing zeros").min(family_bits);
    (0..=aligned)
        .rev()
        .find(|&host_bits| start | low_mask(host_bits) <= last)
        .expect("a block of a single address always fits, since start <= last")
}

fn low_mask(bits: u8) -> u128 {
    1u128.checked_shl(u32::from(bits)).map_or(u128::MAX, |power| power - 1)
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(family: Family, start: u128, end: u128) -> AddressRange {
    let address = |bits: u128| match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    };
    AddressRange { start: address(start), end: address(end) }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_prefix() {
            Some((address, length)) => write!(f, "{address}/{length}"),
            None => write!(f, "{}-{}", self.start, self.end),
        }
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AddressRange {
    type Err = InvalidRange;

    /// Reads `10.1.2.3`, `10.1.0.0/16` or `10.1.0.1-10.1.0.9`, and the same in IPv6.
    fn from_str(text: &str) -> Result<AddressRange, InvalidRange> {
        let unreadable = || InvalidRange::Unreadable(text.to_owned());
        let address = |part: &str| part.trim().parse::<IpAddr>().map_err(|_| unreadable());
        if let Some((start, end)) = text.split_once('-') {
            AddressRange::new(address(start)?, address(end)?)
        } else if let Some((network, length)) = text.split_once('/') {
            AddressRange::prefix(address(network)?, length.trim().parse().map_err(|_| unreadable())?)
        } else {
            Ok(AddressRange::host(address(text)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(text: &str) -> AddressRange {
        text.parse().expect("the test's own text")
    }

    #[test]
    fn prefixes_print_as_they_are_read() {
        for text in ["10.1.0.0/16", "0.0.0.0/0", "192.0.2.7/32", "2001:db8::/32", "::/0", "10.0.0.1-10.0.0.9"]
        {
            assert_eq!(range(text).to_string(), text);
        }
        assert_eq!(range("10.1.2.3").to_string(), "10.1.2.3/32");
        assert_eq!(range("10.1.2.3/8").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn faulty_texts_name_the_fault() {
        assert!(matches!("10.0.0.1-::1".parse::<AddressRange>(), Err(InvalidRange::MixedFamilies(..))));
        assert!(matches!("10.0.0.9-10.0.0.1".parse::<AddressRange>(), Err(InvalidRange::Reversed(..))));
        assert!(matches!("10.0.0.0/33".parse::<AddressRange>(), Err(InvalidRange::PrefixTooLong { .. })));
        assert!(matches!("10.0.0".parse::<AddressRange>(), Err(InvalidRange::Unreadable(_))));
    }

    #[test]
    fn families_never_meet() {
        assert_eq!(range("0.0.0.0/0").intersection(&range("::/0")), None);
        assert!(!range("::/0").contains("10.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn host_bits_are_those_in_which_the_addresses_differ() {
        for (text, bits) in
            [("10.1.2.0/24", 8), ("10.1.2.3", 0), ("0.0.0.0/0", 32), ("10.0.0.1-10.0.0.9", 4), ("::/0", 128)]
        {
            assert_eq!(
                text.parse::<AddressRange>().expect("the test's own text").host_bits(),
                bits,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn prefixes_cover_the_range_exactly(a: u32, b: u32) {
            let (low, high) = (a.min(b), a.max(b));
            let whole = AddressRange::new(Ipv4Addr::from_bits(low).into(), Ipv4Addr::from_bits(high).into()).expect("ordered");
            let mut next = u64::from(low);
            for (address, length) in whole.prefixes() {
                let part = AddressRange::prefix(address, length).expect("a valid prefix");
                prop_assert_eq!(to_bits(part.start()), u128::from(next));
                next = to_bits(part.end()) as u64 + 1;
            }
            prop_assert_eq!(next, u64::from(high) + 1);
        }

        #[test]
        fn intersection_holds_what_both_hold(a: u8, b: u8, c: u8, d: u8, probe: u8) {
            let v4 = |low: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, low));
            let left = AddressRange::new(v4(a.min(b)), v4(a.max(b))).expect("ordered");
            let right = AddressRange::new(v4(c.min(d)), v4(c.max(d))).expect("ordered");
            let both = left.intersection(&right).is_some_and(|meet| meet.contains(v4(probe)));
            prop_assert_eq!(both, left.contains(v4(probe)) && right.contains(v4(probe)));
        }
    }
}
