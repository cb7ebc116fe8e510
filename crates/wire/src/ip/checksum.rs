//! The Internet checksum (RFC 1071), its update in place (RFC 1624), and what TCP and UDP add to it
//! (RFC 9293 §3.1, RFC 768, RFC 8200 §8.1).

use core::net::IpAddr;

/// A sum of 16-bit words in ones' complement, to which more can be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Nothing added yet.
    pub const ZERO: Sum = Sum(0);

    /// Adds `octets`, two to a word. Of several slices that are one after the other in a packet, all
    /// but the last must have an even length.
    #[must_use]
    pub fn add_octets(self, octets: &[u8]) -> Sum {
        // RFC 1071 §2: the sum is the same in words of 32 bits and, but for the order of its two
        // octets, in the order that the machine has; words side by side it adds at once. A lane holds
        // 2^32 words, far more than any packet has.
        let (blocks, rest) = octets.as_chunks::<{ 4 * LANES }>();
        let mut lanes = [0; LANES];
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let (words, rest) = rest.as_chunks::<4>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let words = words.iter().chain([&last]).map(|word| u64::from(u32::from_ne_bytes(*word)));
        let sum = lanes.iter().sum::<u64>() + words.sum::<u64>();
        let sum = u64::from(u16::from_be(Sum(sum).folded()));
        Sum(self.0 + sum)
    }

    /// Adds one word.
    #[must_use]
    pub const fn add_word(self, word: u16) -> Sum {
        Sum(self.0 + word as u64)
    }

    /// The sum in 16 bits, its carries folded back: what a checksum offload wants to find in the
    /// field of a packet whose checksum it is to complete.
    pub const fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    /// The checksum: the complement of the sum. Over octets that hold their own checksum it is zero
    /// when that is right.
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }
}

/// Words that are added at once: two registers of the narrowest vector unit that a compiler may expect.
const LANES: usize = 8;

/// The checksum of `octets`.
pub fn internet(octets: &[u8]) -> u16 {
    Sum::ZERO.add_octets(octets).checksum()
}

/// What becomes of `checksum` when the word `old` that it covers becomes `new` (RFC 1624 §3,
/// equation 3).
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::ZERO.add_word(!checksum).add_word(!old).add_word(new).checksum()
}

/// The sum of the pseudo-header that TCP, UDP and ICMPv6 checksums begin with; `length` is that of
/// the transport header and what follows it, in octets.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: u32) -> Sum {
    add_address(add_address(Sum::ZERO, source), destination)
        .add_octets(&length.to_be_bytes())
        .add_word(protocol.into())
}

/// The checksum of a TCP, UDP or ICMPv6 `segment`, its transport header first: with the checksum
/// field zero, what belongs there; with the field as it came, zero if it is right. (In UDP a
/// checksum of zero means none, and 0xffff goes in its place.)
pub fn transport(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    // An IP packet is at most 64 KiB long, so a length always fits.
    pseudo_header(source, destination, protocol, segment.len() as u32).add_octets(segment).checksum()
}

fn add_address(sum: Sum, address: IpAddr) -> Sum {
    match address {
        IpAddr::V4(address) => sum.add_octets(&address.octets()),
        IpAddr::V6(address) => sum.add_octets(&address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        // RFC 1071 §3: the words 0001 f203 f4f5 f6f7 sum to ddf2.
        let sum = Sum::ZERO.add_octets(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), 0xddf2);
        assert_eq!(sum.checksum(), 0x220d);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // RFC 1624 §4: a word goes from 5555 to 3285 under the checksum dd2f; the right result is 0000.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn a_udp_datagram_summed_by_hand() {
        // From 192.0.2.1 port 500 to 192.0.2.2 port 500, "ping": the pseudo-header's words c000 0201
        // c000 0202 0011 000c, the header's 01f4 01f4 000c and the data's 7069 6e67 sum to 266e4,
        // folded 66e6.
        let source = IpAddr::from([192, 0, 2, 1]);
        let destination = IpAddr::from([192, 0, 2, 2]);
        let mut segment = *b"\x01\xf4\x01\xf4\x00\x0c\x00\x00ping";
        let checksum = transport(source, destination, protocol::UDP, &segment);
        assert_eq!(checksum, 0x9919);
        segment[6..8].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(transport(source, destination, protocol::UDP, &segment), 0);
    }

    proptest! {
        #[test]
        fn wide_words_sum_to_the_same(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let by_the_book = octets.chunks(2).fold(Sum::ZERO, |sum, pair| {
                sum.add_word(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
            });
            prop_assert_eq!(Sum::ZERO.add_octets(&octets).folded(), by_the_book.folded());
        }

        #[test]
        fn an_update_is_a_fresh_checksum(mut words in any::<[u16; 8]>(), at in 0usize..8, new: u16) {
            let sum = |words: &[u16; 8]| words.iter().fold(Sum::ZERO, |sum, word| sum.add_word(*word));
            let before = sum(&words).checksum();
            let updated = update(before, words[at], new);
            words[at] = new;
            // A sum of nothing but zeros is the one case in which the two representations of zero
            // differ (RFC 1624 §3); both are right.
            let fresh = sum(&words).checksum();
            prop_assert!(updated == fresh || (updated, fresh) == (0, 0xffff));
        }
    }
}
