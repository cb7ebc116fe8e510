//! Cutting packets into fragments: RFC 791's own example, and whatever packets against a model that puts them together
//! as the RFCs say.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use wire::ip::{Ecn, Fragments, Ipv4, Ipv4Header, Ipv6Header, Packet, Part, Uncut, checksum, protocol};

/// RFC 791, example 2: 452 octets of data where 280 may be sent at once.
#[test]
fn the_example_of_rfc_791() {
    let packet = v4(&[], 452);
    let fragments = cut(&packet, 280);
    let shapes: Vec<_> = fragments.iter().map(|octets| shape(octets)).collect();
    assert_eq!(shapes, [(276, 0, true), (216, 256, false)]);
    for octets in &fragments {
        let fragment = Ipv4::new(&octets[..]).unwrap();
        assert_eq!((fragment.identification(), fragment.protocol()), (111, 6));
    }
}

/// RFC 791 §3.1: loose source routing and router alert are copied, record route and no-operation are not.
#[test]
fn options_go_where_rfc_791_has_them() {
    let record_route = [7, 7, 4, 0, 0, 0, 0];
    let source_route = [131, 7, 4, 192, 0, 2, 9];
    let router_alert = [148, 4, 0, 0];
    let options = [&[1][..], &record_route, &source_route, &router_alert, &[0]].concat();
    let fragments = cut(&v4(&options, 100), 80);
    assert_eq!(fragments.len(), 3);
    assert_eq!(Ipv4::new(&fragments[0][..]).unwrap().options(), options);
    for later in &fragments[1..] {
        let copied = [&source_route[..], &router_alert, &[0]].concat();
        assert_eq!(Ipv4::new(&later[..]).unwrap().options(), copied);
    }
}

#[test]
fn an_option_that_ends_behind_its_header_is_refused() {
    for options in [[131, 5, 0, 0], [131, 0, 0, 0], [131, 1, 0, 0], [1, 1, 1, 131]] {
        assert!(matches!(Fragments::new(&v4(&options, 100), 80, 0), Err(Uncut::Malformed(_))), "{options:?}");
    }
}

#[test]
fn a_path_that_no_fragment_fits_is_refused() {
    assert_eq!(Fragments::new(&v4(&[], 100), 27, 0).unwrap_err(), Uncut::TooNarrow(28));
    assert_eq!(Fragments::new(&v6(&[], 100), 55, 0).unwrap_err(), Uncut::TooNarrow(56));
    // The destination options must be in the first fragment, with what follows them.
    let options = [(protocol::DESTINATION_OPTIONS, 24)];
    assert_eq!(Fragments::new(&v6(&options, 100), 79, 0).unwrap_err(), Uncut::TooNarrow(80));
    assert_eq!(cut(&v6(&options, 100), 80).len(), 4);
}

#[test]
fn a_fragment_beyond_the_longest_packet_is_refused() {
    let mut packet = v4(&[], 200);
    packet[6..8].copy_from_slice(&8180u16.to_be_bytes());
    let refusal = Fragments::new(&packet, 100, 0).unwrap_err().to_string();
    assert_eq!(refusal, "IP packet: Fragment Offset is 65660, but must be at most 65535");
}

#[test]
fn an_ipv6_fragment_is_not_cut_again_and_a_fragment_that_is_whole_is_none() {
    let fragment = cut(&v6(&[], 100), 80).remove(0);
    let refusal = Fragments::new(&fragment, 64, 0).unwrap_err().to_string();
    assert_eq!(refusal, "IPv6 header: Next Header is 44, but must be no fragment");
    // RFC 6946: an atomic fragment.
    let mut atomic = fragment;
    atomic[43] = 0;
    assert_eq!(Part::of(&Packet::new(&atomic[..]).unwrap()), Ok(None));
}

/// Scapy 2.5, `fragment6(packet, 120)`: hop-by-hop options, routing header, fragment header, destination options, UDP.
#[test]
fn fragments_as_scapy_cuts_them() {
    let lines: Vec<Vec<u8>> =
        include_str!("vectors/fragment6.txt").lines().map(|line| hex::decode(line).unwrap()).collect();
    let [packet, scapys @ ..] = &lines[..] else { panic!("a packet and its fragments") };
    assert_eq!(write_all(&Fragments::new(packet, 120, 0x1234_5678).unwrap()), scapys);
}

proptest! {
    #[test]
    fn fragments_fit_and_make_the_packet_again(packet in packets(), mtu in 64usize..700) {
        let plan = match Fragments::new(&packet, mtu, IDENTIFICATION) {
            Ok(plan) => plan,
            Err(Uncut::TooNarrow(needed)) => {
                prop_assert!(needed > mtu);
                return Ok(());
            }
            Err(other) => panic!("{other}"),
        };
        let fragments = write_all(&plan);
        for (index, octets) in fragments.iter().enumerate() {
            prop_assert!(octets.len() <= mtu);
            let fragment = Packet::new(&octets[..]).unwrap();
            prop_assert_eq!(fragment.total_length(), octets.len());
            if let Packet::V4(fragment) = fragment {
                prop_assert!(fragment.has_valid_checksum());
            }
            let data = octets.len() - header_len(octets);
            prop_assert!(index + 1 == fragments.len() || data.is_multiple_of(8));
        }
        prop_assert_eq!(put_together(&fragments), packet);
    }

    /// A router on the way may have to cut what was cut before.
    #[test]
    fn fragments_of_fragments_make_the_packet_again(
        payload in 200usize..3000,
        first in 150usize..700,
        second in 68usize..149,
    ) {
        let packet = v4(&[], payload);
        let fragments: Vec<Vec<u8>> =
            cut(&packet, first).iter().flat_map(|fragment| cut(fragment, second)).collect();
        prop_assert_eq!(put_together(&fragments), packet);
    }

    #[test]
    fn no_octets_make_cutting_panic(mut bytes in vec(any::<u8>(), 1..400), six: bool, mtu in 0usize..200) {
        bytes[0] = if six { 0x60 } else { 0x40 | bytes[0] & 0x0f };
        if bytes.len() > 40 {
            let length = bytes.len() as u16 - if six { 40 } else { 0 };
            let at = if six { 4 } else { 2 };
            bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
            bytes[6] = if six { bytes[6] % 61 } else { bytes[6] };
        }
        if let Ok(plan) = Fragments::new(&bytes, mtu, 0) {
            write_all(&plan);
        }
        if let Ok(packet) = Packet::new(&bytes[..])
            && let Ok(Some(part)) = Part::of(&packet)
        {
            prop_assert!(part.start <= packet.total_length());
            let _ = part.write_whole_header(&bytes, bytes.len(), &mut vec![0; part.header_len]);
        }
    }
}

const IDENTIFICATION: u32 = 0x0102_0304;

fn cut(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    write_all(&Fragments::new(packet, mtu, IDENTIFICATION).unwrap())
}

fn write_all(plan: &Fragments<'_>) -> Vec<Vec<u8>> {
    let write = |index| {
        let mut out = vec![0xee; plan.fragment_len(index)];
        plan.write(index, &mut out);
        out
    };
    (0..plan.count()).map(write).collect()
}

fn shape(octets: &[u8]) -> (usize, usize, bool) {
    let fragment = Ipv4::new(octets).unwrap();
    (fragment.total_length(), fragment.fragment_offset(), fragment.more_fragments())
}

/// Puts fragments together octet by octet, from the header of the one at offset 0.
fn put_together(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut data = BTreeMap::new();
    let mut whole = Vec::new();
    for octets in fragments {
        let packet = Packet::new(&octets[..]).unwrap();
        let Some(part) = Part::of(&packet).unwrap() else { return strip_atomic(octets) };
        if matches!(packet, Packet::V6(_)) {
            assert_eq!(part.identification, IDENTIFICATION);
        }
        for (at, octet) in octets[part.start..].iter().enumerate() {
            assert_eq!(data.insert(part.offset + at, *octet), None, "octet {at} came twice");
        }
    }
    assert!(data.keys().copied().eq(0..data.len()), "there are holes");
    for octets in fragments {
        let part = Part::of(&Packet::new(&octets[..]).unwrap()).unwrap().unwrap();
        if part.offset == 0 {
            whole = vec![0; part.header_len];
            part.write_whole_header(octets, data.len(), &mut whole).unwrap();
        }
    }
    whole.extend(data.values());
    whole
}

/// A single IPv6 fragment is the packet and a fragment header.
fn strip_atomic(octets: &[u8]) -> Vec<u8> {
    if octets[0] >> 4 == 4 {
        return octets.to_vec();
    }
    let at = header_len(octets) - 8;
    let mut whole = octets.to_vec();
    let next = whole[at];
    whole.drain(at..at + 8);
    let named_at = names(octets).last().copied().unwrap();
    whole[named_at] = next;
    let payload = (whole.len() - 40) as u16;
    whole[4..6].copy_from_slice(&payload.to_be_bytes());
    whole
}

/// Octets in front of a fragment's part.
fn header_len(octets: &[u8]) -> usize {
    if octets[0] >> 4 == 4 {
        return usize::from(octets[0] & 0x0f) * 4;
    }
    let last = names(octets).last().copied().unwrap();
    let at = if last == 6 { 40 } else { last + (usize::from(octets[last + 1]) + 1) * 8 };
    at + 8
}

/// Where each octet is that names a header, through the fragment header's.
fn names(octets: &[u8]) -> Vec<usize> {
    let (mut named_at, mut at) = (vec![6], 40);
    let mut next = octets[6];
    while next != protocol::FRAGMENT {
        named_at.push(at);
        next = octets[at];
        at += (usize::from(octets[at + 1]) + 1) * 8;
    }
    named_at
}

fn packets() -> impl Strategy<Value = Vec<u8>> {
    let options = prop_oneof![Just(vec![]), Just(vec![148, 4, 0, 0]), Just(vec![7, 7, 4, 0, 0, 0, 0, 0])];
    let four = (options, 1usize..3000).prop_map(|(options, payload)| v4(&options, payload));
    let kinds = [protocol::HOP_BY_HOP, protocol::ROUTING, protocol::DESTINATION_OPTIONS];
    let header = (proptest::sample::select(kinds.to_vec()), (1usize..4).prop_map(|units| units * 8));
    let six = (vec(header, 0..4), 1usize..3000).prop_map(|(headers, payload)| v6(&headers, payload));
    prop_oneof![four, six]
}

fn payload(octets: usize) -> Vec<u8> {
    (0..octets).map(|at| (at * 37 + at / 251) as u8).collect()
}

fn v4(options: &[u8], octets: usize) -> Vec<u8> {
    let header = Ipv4Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        total_length: (20 + options.len() + octets) as u16,
        identification: 111,
        dont_fragment: false,
        ttl: 123,
        protocol: protocol::TCP,
        source: [192, 0, 2, 1].into(),
        destination: [192, 0, 2, 2].into(),
    };
    let mut packet = [&header.encode()[..], options].concat();
    packet[0] = 0x40 | (packet.len() / 4) as u8;
    packet[10..12].fill(0);
    let checksum = checksum::internet(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(payload(octets));
    packet
}

/// An IPv6 packet with extension headers of these kinds and lengths, padded with zeros.
fn v6(headers: &[(u8, usize)], octets: usize) -> Vec<u8> {
    let mut following: Vec<u8> = headers.iter().map(|(kind, _)| *kind).collect();
    following.push(protocol::UDP);
    let mut extensions = Vec::new();
    for (index, (_, length)) in headers.iter().enumerate() {
        let start = extensions.len();
        extensions.resize(start + length, 0);
        extensions[start] = following[index + 1];
        extensions[start + 1] = (length / 8 - 1) as u8;
    }
    let header = Ipv6Header {
        dscp: 10,
        ecn: Ecn::Capable0,
        flow_label: 0xabcde,
        payload_length: (extensions.len() + octets) as u16,
        next_header: following[0],
        hop_limit: 64,
        source: "2001:db8::1".parse().unwrap(),
        destination: "2001:db8::2".parse().unwrap(),
    };
    [&header.encode()[..], &extensions, &payload(octets)].concat()
}
