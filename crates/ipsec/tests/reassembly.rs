//! Reassembly against a model that keeps every octet by itself, and at its limits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ipsec::{DropCounters, DropReason, Reassembled, Reassembler, Way, limits};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use sa::PolicyId;
use wire::ip::{Ecn, Fragments, Ipv4Header, Ipv6Header, Packet, protocol};

const OUT: Way = Way::Out(None);

#[test]
fn a_packet_comes_out_as_it_was_cut_and_how_it_was_cut_is_told() {
    for packet in [v4(7, 3000), v6(3000)] {
        let fragments = cut(&packet, 1000, 99);
        let mut bench = Bench::new();
        let (last, others) = fragments.split_last().unwrap();
        for fragment in others {
            assert_eq!(bench.put(fragment), None);
        }
        let whole = bench.put(last).unwrap();
        let identification = if packet[0] >> 4 == 4 { 7 } else { 99 };
        let longest_fragment = fragments.iter().map(Vec::len).max().unwrap();
        assert_eq!(whole, Reassembled { packet, identification, longest_fragment });
        assert_eq!(whole.fragments(), fragments);
        bench.assert_empty();
    }
}

#[test]
fn what_came_another_way_does_not_belong() {
    let fragments = cut(&v4(7, 100), 80, 0);
    let mut bench = Bench::new();
    let ways = [OUT, Way::In(PolicyId(1)), Way::In(PolicyId(2))];
    for (fragment, way) in fragments.iter().zip(ways.iter().cycle()) {
        assert_eq!(bench.reassembler.put(*way, fragment, bench.now, &bench.drops), None);
    }
}

#[test]
fn overlaps_spoil_the_packet_and_all_that_comes_of_it() {
    let fragments = cut(&v4(7, 200), 80, 0);
    let mut bench = Bench::new();
    bench.put(&fragments[0]);
    bench.put(&fragments[1]);
    let mut overlapping = fragments[1].clone();
    overlapping[30] ^= 1;
    bench.put(&overlapping);
    for fragment in &fragments {
        assert_eq!(bench.put(fragment), None);
    }
    let dropped = 3 + fragments.len() as u64;
    assert_eq!(bench.drops(), [(DropReason::OverlappingFragments, dropped)]);
    bench.now += limits::REASSEMBLY_TIME;
    assert!(fragments.iter().filter_map(|fragment| bench.put(fragment)).count() == 1, "it is forgotten");
}

#[test]
fn a_duplicate_is_dropped_and_harms_nothing() {
    let fragments = cut(&v6(200), 128, 5);
    let mut bench = Bench::new();
    bench.put(&fragments[0]);
    bench.put(&fragments[0]);
    let whole = fragments[1..].iter().filter_map(|fragment| bench.put(fragment)).count();
    assert_eq!((whole, bench.drops()), (1, vec![(DropReason::DuplicateFragment, 1)]));
}

#[test]
fn two_ends_of_one_packet_spoil_it() {
    let fragments = cut(&v4(7, 200), 80, 0);
    let mut early_end = fragments[1].clone();
    early_end[6] &= !0x20;
    for order in [[&fragments[2], &early_end], [&early_end, &fragments[2]]] {
        let mut bench = Bench::new();
        order.into_iter().for_each(|fragment| drop(bench.put(fragment)));
        assert_eq!(bench.drops(), [(DropReason::OverlappingFragments, 2)]);
    }
}

#[test]
fn impossible_fragments_are_dropped() {
    let fragment = |offset: u16, octets: usize| {
        let mut packet = v4(7, octets);
        packet[6..8].copy_from_slice(&offset.to_be_bytes());
        packet
    };
    let mut bench = Bench::new();
    bench.put(&fragment(0x2001, 15));
    bench.put(&fragment(0x0001, 0));
    bench.put(&fragment(0x1fff, 16));
    bench.put(&v4(7, 100));
    assert_eq!(bench.drops(), [(DropReason::MalformedFragment, 4)]);
    // A TCP header's first two octets, and a chain of extension headers that goes on behind the fragment's end.
    let mut short = v6(8);
    short[6] = protocol::FRAGMENT;
    short.splice(40.., [protocol::DESTINATION_OPTIONS, 0, 0, 1, 0, 0, 0, 9, 6, 3, 0, 0, 0, 0, 0, 0]);
    short[5] = 16;
    bench.put(&short);
    assert_eq!(bench.drops()[1], (DropReason::TinyFragment, 1));
    bench.assert_empty();
}

#[test]
fn congestion_is_carried_over_or_the_packet_is_dropped() {
    for (ecn, marked, expected) in [
        (Ecn::Capable0, true, Some(Ecn::CongestionExperienced)),
        (Ecn::Capable0, false, Some(Ecn::Capable0)),
        (Ecn::NotCapable, false, Some(Ecn::NotCapable)),
        (Ecn::NotCapable, true, None),
    ] {
        for mut packet in [v4(7, 200), v6(200)] {
            Packet::new(&mut packet[..]).unwrap().set_ecn(ecn);
            let mut fragments = cut(&packet, 120, 5);
            if marked {
                Packet::new(&mut fragments[1][..]).unwrap().set_ecn(Ecn::CongestionExperienced);
            }
            let mut bench = Bench::new();
            let whole = fragments.iter().find_map(|fragment| bench.put(fragment));
            assert_eq!(whole.map(|whole| Packet::new(&whole.packet[..]).unwrap().ecn()), expected);
            let dropped = if expected.is_some() { vec![] } else { vec![(DropReason::Congestion, 1)] };
            assert_eq!(bench.drops(), dropped);
        }
    }
}

#[test]
fn fragments_wait_for_a_bounded_time() {
    let fragments = cut(&v4(7, 200), 80, 0);
    let mut bench = Bench::new();
    bench.put(&fragments[0]);
    bench.now += limits::REASSEMBLY_TIME - Duration::from_millis(1);
    bench.put(&fragments[1]);
    bench.now += Duration::from_millis(1);
    bench.reassembler.expire(bench.now, &bench.drops);
    assert_eq!(bench.drops(), [(DropReason::ReassemblyTimeout, 2)]);
    bench.assert_empty();
}

#[test]
fn a_packet_has_a_bounded_number_of_fragments() {
    let fits = cut(&v4(7, limits::FRAGMENTS_PER_PACKET * 8), 28, 0);
    let mut bench = Bench::new();
    assert_eq!(fits.iter().filter_map(|fragment| bench.put(fragment)).count(), 1);
    let too_many = cut(&v4(7, limits::FRAGMENTS_PER_PACKET * 8 + 1), 28, 0);
    assert_eq!(too_many.iter().filter_map(|fragment| bench.put(fragment)).count(), 0);
    let reason = DropReason::TooManyFragments;
    assert_eq!(bench.drops(), [(reason, 1 + limits::FRAGMENTS_PER_PACKET as u64)]);
}

/// A host that floods loses its own fragments, not those of a quiet one.
#[test]
fn a_host_has_a_bounded_share() {
    let quiet = cut(&from([10, 9, 9, 9], v4(1, 3000)), 1500, 0);
    let mut bench = Bench::new();
    bench.put(&quiet[0]);
    for identification in 0..3000 {
        bench.put(&cut(&v4(identification, 3000), 1500, 0)[0]);
        let most = limits::REASSEMBLY_OCTETS_PER_HOLDER + limits::REASSEMBLY_COST + 2000;
        assert!(bench.reassembler.octets() <= most);
    }
    assert!(bench.drops.of(DropReason::ReassemblyFull) > 2000);
    assert_eq!(quiet[1..].iter().filter_map(|fragment| bench.put(fragment)).count(), 1);
}

#[test]
fn all_hosts_together_have_a_bounded_share_and_the_newest_go_on() {
    let mut bench = Bench::new();
    for host in 0u16..8000 {
        let [third, fourth] = host.to_be_bytes();
        let fragments = cut(&from([10, 8, third, fourth], v4(host, 2000)), 1500, 0);
        bench.put(&fragments[0]);
        if host % 100 == 0 {
            assert!(bench.put(&fragments[1]).is_some());
        }
        assert!(bench.reassembler.octets() <= limits::REASSEMBLY_OCTETS);
    }
    assert!(bench.drops.of(DropReason::ReassemblyFull) > 0);
}

/// What happens to a fragment on its way.
#[derive(Clone, Debug)]
struct Mishap {
    at: Index,
    kind: u8,
}

proptest! {
    /// Several packets' fragments in any order, some of them lost, doubled or forged: what comes out is what the model
    /// says, and nothing stays behind but what is incomplete.
    #[test]
    fn reassembly_agrees_with_the_model(
        shapes in vec((any::<bool>(), 1usize..2500, 80usize..900), 1..4),
        mishaps in vec((any::<Index>(), 0u8..4).prop_map(|(at, kind)| Mishap { at, kind }), 0..4),
        order in vec(any::<u16>(), 256),
    ) {
        let mut fragments = Vec::new();
        for (nth, (six, octets, mtu)) in shapes.iter().enumerate() {
            let packet = if *six { v6(octets + mtu) } else { v4(nth as u16, octets + mtu) };
            fragments.extend(cut(&packet, *mtu, nth as u32));
        }
        for Mishap { at, kind } in &mishaps {
            let at = at.index(fragments.len());
            let mut fragment = fragments[at].clone();
            match kind {
                0 if fragments.len() > 1 => drop(fragments.remove(at)),
                1 => fragments.push(fragment),
                2 => {
                    *fragment.last_mut().unwrap() ^= 1;
                    fragments.push(fragment);
                }
                _ => {
                    let word = if fragment[0] >> 4 == 4 { 6 } else { 42 };
                    fragment[word] ^= 0x01;
                    fragments.push(fragment);
                }
            }
        }
        let mut keyed: Vec<_> = fragments.into_iter().zip(order.iter().cycle()).collect();
        keyed.sort_by_key(|(_, key)| **key);

        let (mut bench, mut model) = (Bench::new(), Model::default());
        for (fragment, _) in &keyed {
            let whole = bench.put(fragment).map(|whole| whole.packet);
            prop_assert_eq!(whole, model.put(fragment));
        }
        bench.now += limits::REASSEMBLY_TIME;
        bench.reassembler.expire(bench.now, &bench.drops);
        bench.assert_empty();
        prop_assert_eq!(bench.drops.total(), keyed.len() as u64 - model.used);
    }

    #[test]
    fn no_octets_make_it_panic(packets in vec((vec(any::<u8>(), 48..120), any::<bool>()), 1..30)) {
        let mut bench = Bench::new();
        for (mut bytes, six) in packets {
            let length = bytes.len() as u8;
            if six {
                bytes[..7].copy_from_slice(&[0x60, 0, 0, 0, 0, length - 40, protocol::FRAGMENT]);
                bytes[8..40].fill(0);
                bytes[42] = 0;
                bytes[44..48].fill(0);
            } else {
                bytes[..6].copy_from_slice(&[0x45, 0, 0, length, 0, 0]);
                bytes[6] &= 0x20;
                bytes[9..20].fill(0);
            }
            bench.put(&bytes);
        }
    }
}

struct Bench {
    reassembler: Reassembler,
    drops: DropCounters,
    now: Instant,
}

impl Bench {
    fn new() -> Bench {
        Bench { reassembler: Reassembler::default(), drops: DropCounters::default(), now: Instant::now() }
    }

    fn put(&mut self, fragment: &[u8]) -> Option<Reassembled> {
        self.reassembler.put(OUT, fragment, self.now, &self.drops)
    }

    fn drops(&self) -> Vec<(DropReason, u64)> {
        self.drops.iter().filter(|(_, count)| *count > 0).collect()
    }

    fn assert_empty(&self) {
        assert_eq!(self.reassembler.octets(), 0);
    }
}

/// Every octet of every packet, by its place.
#[derive(Default)]
struct Model {
    packets: BTreeMap<Vec<u8>, Naive>,
    used: u64,
}

#[derive(Default)]
struct Naive {
    octets: BTreeMap<usize, u8>,
    fragments: Vec<Vec<u8>>,
    ends: Vec<usize>,
    spoiled: bool,
}

impl Model {
    fn put(&mut self, fragment: &[u8]) -> Option<Vec<u8>> {
        let (six, word_at) = (fragment[0] >> 4 == 6, if fragment[0] >> 4 == 6 { 42 } else { 6 });
        let word = u16::from_be_bytes([fragment[word_at], fragment[word_at + 1]]);
        let (offset, more, data, key) = if six {
            (usize::from(word & 0xfff8), word & 1 != 0, &fragment[48..], &fragment[44..48])
        } else {
            (usize::from(word & 0x1fff) * 8, word & 0x2000 != 0, &fragment[20..], &fragment[4..6])
        };
        if (more && data.len() % 8 != 0) || offset + data.len() > 65_535 || (offset, more) == (0, false) {
            return None;
        }
        let entry = self.packets.entry([&fragment[..1], key].concat()).or_default();
        if entry.spoiled || entry.fragments.iter().any(|other| other == fragment) {
            return None;
        }
        let end = offset + data.len();
        let taken = (offset..end).any(|at| entry.octets.contains_key(&at));
        if !more {
            entry.ends.push(end);
        }
        let beyond = entry.octets.keys().chain([&(end - 1)]).any(|at| entry.ends.iter().any(|end| at >= end));
        if taken || beyond || entry.ends.len() > 1 {
            entry.spoiled = true;
            return None;
        }
        entry.octets.extend((offset..end).zip(data.iter().copied()));
        entry.fragments.push(fragment.to_vec());
        if entry.ends.first() != Some(&entry.octets.len()) {
            return None;
        }
        let whole: Vec<u8> = entry.octets.values().copied().collect();
        self.used += entry.fragments.len() as u64;
        let six_id = [&fragment[..1], key].concat();
        self.packets.remove(&six_id);
        Some(if six { six_header(&whole) } else { four_header(key, &whole) })
    }
}

fn four_header(identification: &[u8], data: &[u8]) -> Vec<u8> {
    let mut packet = v4(u16::from_be_bytes([identification[0], identification[1]]), data.len());
    packet[20..].copy_from_slice(data);
    packet
}

fn six_header(data: &[u8]) -> Vec<u8> {
    let mut packet = v6(data.len());
    packet[40..].copy_from_slice(data);
    packet
}

fn cut(packet: &[u8], mtu: usize, identification: u32) -> Vec<Vec<u8>> {
    let plan = Fragments::new(packet, mtu, identification).unwrap();
    let write = |index| {
        let mut out = vec![0; plan.fragment_len(index)];
        plan.write(index, &mut out);
        out
    };
    (0..plan.count()).map(write).collect()
}

fn from(source: [u8; 4], mut packet: Vec<u8>) -> Vec<u8> {
    wire::ip::Ipv4::new(&mut packet[..]).unwrap().set_source(source.into());
    packet
}

fn payload(octets: usize) -> impl Iterator<Item = u8> {
    (0..octets).map(|at| (at * 37 + at / 251) as u8)
}

fn v4(identification: u16, octets: usize) -> Vec<u8> {
    let header = Ipv4Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        total_length: (20 + octets) as u16,
        identification,
        dont_fragment: false,
        ttl: 64,
        protocol: protocol::UDP,
        source: [10, 1, 0, 1].into(),
        destination: [10, 2, 0, 1].into(),
    };
    header.encode().into_iter().chain(payload(octets)).collect()
}

fn v6(octets: usize) -> Vec<u8> {
    let header = Ipv6Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        flow_label: 0,
        payload_length: octets as u16,
        next_header: protocol::UDP,
        hop_limit: 64,
        source: "2001:db8::1".parse().unwrap(),
        destination: "2001:db8::2".parse().unwrap(),
    };
    header.encode().into_iter().chain(payload(octets)).collect()
}
