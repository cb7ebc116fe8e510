//! MSS clamping: every kind of segment against a model that takes options apart and puts the packet together anew.

use proptest::collection::vec;
use proptest::prelude::*;
use wire::ip::{Ecn, Ipv4Header, Ipv6Header, checksum, clamp_mss, protocol};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

#[test]
fn both_segments_that_open_a_connection_are_clamped_in_either_family() {
    for six in [false, true] {
        for flags in [SYN, SYN | ACK] {
            let mut bytes = packet(six, flags, &[2, 4, 0x05, 0xb4], b"");
            assert_eq!(clamp_mss(&mut bytes, 1350), Some(1460));
            assert_eq!(bytes, packet(six, flags, &[2, 4, 0x05, 0x46], b""));
        }
    }
}

#[test]
fn nothing_else_is_touched() {
    let mss = [2, 4, 0x05, 0xb4];
    for (flags, options) in [
        (ACK, &mss[..]),
        (SYN, &[1, 1, 1, 1]),
        // A size that is small enough, or equal.
        (SYN, &[2, 4, 0x02, 0x18]),
        (SYN, &[2, 4, 0x05, 0x46]),
        // Behind the end of the options, and behind one that cannot be read.
        (SYN, &[0, 0, 0, 0, 2, 4, 0x05, 0xb4]),
        (SYN, &[254, 0, 0, 0, 2, 4, 0x05, 0xb4]),
        (SYN, &[254, 1, 2, 4, 0x05, 0xb4, 1, 1]),
        (SYN, &[254, 9, 2, 4, 0x05, 0xb4, 1, 1]),
        (SYN, &[1, 1, 1, 2]),
        // A size of another length than it has.
        (SYN, &[2, 3, 0x05, 1]),
    ] {
        let bytes = packet(false, flags, options, b"data");
        let mut clamped = bytes.clone();
        assert_eq!(clamp_mss(&mut clamped, 1350), None, "{options:?}");
        assert_eq!(clamped, bytes);
    }
}

#[test]
fn a_later_fragment_and_another_protocol_are_no_segments() {
    let whole = packet(false, SYN, &[2, 4, 0x05, 0xb4], b"");
    for (at, value) in [(7, 1), (9, protocol::UDP)] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        assert_eq!(clamp_mss(&mut bytes, 1350), None);
    }
}

proptest! {
    /// Options of every kind in any order and at odd places: only sizes above the limit change, and the checksum is what
    /// it is when the packet is made with the new size.
    #[test]
    fn clamping_makes_the_packet_with_the_lower_size(
        options in vec(option(), 0..6),
        payload in vec(any::<u8>(), 0..20),
        most: u16,
        flags: u8,
        six: bool,
    ) {
        let laid_out = |limit: u16| -> Vec<u8> {
            let lowered = options.iter().flat_map(|option| match option[..] {
                [2, 4, high, low] => {
                    let size = u16::from_be_bytes([high, low]).min(limit).to_be_bytes();
                    vec![2, 4, size[0], size[1]]
                }
                _ => option.clone(),
            });
            lowered.collect()
        };
        prop_assume!(laid_out(u16::MAX).len() <= 40);
        let mut bytes = packet(six, flags, &laid_out(u16::MAX), &payload);
        let told = clamp_mss(&mut bytes, most);
        let limit = if flags & SYN == 0 { u16::MAX } else { most };
        prop_assert_eq!(&bytes, &packet(six, flags, &laid_out(limit), &payload));
        prop_assert_eq!(told.is_some(), laid_out(limit) != laid_out(u16::MAX));
    }

    /// A checksum that was wrong stays wrong: whoever damaged the segment is not helped.
    #[test]
    fn a_wrong_checksum_stays_wrong(error in 1u16..0xffff, most in 0u16..1460) {
        let mut bytes = packet(false, SYN, &[2, 4, 0x05, 0xb4], b"");
        let right = u16::from_be_bytes([bytes[36], bytes[37]]);
        let wrong = checksum::Sum::ZERO.add_word(right).add_word(error).folded();
        bytes[36..38].copy_from_slice(&wrong.to_be_bytes());
        prop_assert_eq!(clamp_mss(&mut bytes, most), Some(1460));
        prop_assert_ne!(checksum::transport([10, 1, 0, 1].into(), [10, 2, 0, 1].into(), protocol::TCP, &bytes[20..]), 0);
    }

    #[test]
    fn no_octets_make_it_panic(mut bytes in vec(any::<u8>(), 1..120), six: bool, most: u16) {
        let length = bytes.len() as u8;
        if bytes.len() >= 48 {
            if six {
                bytes[..7].copy_from_slice(&[0x60, 0, 0, 0, 0, length - 40, protocol::TCP]);
            } else {
                bytes[..10].copy_from_slice(&[0x45, 0, 0, length, 0, 0, 0, 0, 64, protocol::TCP]);
                bytes[33] |= SYN;
            }
        }
        clamp_mss(&mut bytes, most);
    }
}

fn option() -> impl Strategy<Value = Vec<u8>> {
    let other = (3u8..=255, vec(any::<u8>(), 0..9))
        .prop_map(|(kind, data)| [&[kind, data.len() as u8 + 2][..], &data].concat());
    prop_oneof![Just(vec![1]), any::<[u8; 2]>().prop_map(|[high, low]| vec![2, 4, high, low]), other]
}

/// A TCP segment with these options, which are padded to a multiple of four octets.
fn packet(six: bool, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut segment = vec![0x30, 0x39, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0, flags, 0x20, 0, 0, 0, 0, 0];
    segment.extend(options);
    segment.resize(segment.len().next_multiple_of(4), 0);
    segment[12] = ((segment.len() / 4) << 4) as u8;
    segment.extend(payload);
    let (front, source, destination) = if six { ipv6(segment.len()) } else { ipv4(segment.len()) };
    let checksum = checksum::transport(source, destination, protocol::TCP, &segment);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    [front, segment].concat()
}

fn ipv4(length: usize) -> (Vec<u8>, std::net::IpAddr, std::net::IpAddr) {
    let header = Ipv4Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        total_length: (20 + length) as u16,
        identification: 0,
        dont_fragment: true,
        ttl: 64,
        protocol: protocol::TCP,
        source: [10, 1, 0, 1].into(),
        destination: [10, 2, 0, 1].into(),
    };
    (header.encode().to_vec(), header.source.into(), header.destination.into())
}

fn ipv6(length: usize) -> (Vec<u8>, std::net::IpAddr, std::net::IpAddr) {
    let header = Ipv6Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        flow_label: 0,
        payload_length: length as u16,
        next_header: protocol::TCP,
        hop_limit: 64,
        source: "fd00:1::1".parse().unwrap(),
        destination: "fd00:2::1".parse().unwrap(),
    };
    (header.encode().to_vec(), header.source.into(), header.destination.into())
}
