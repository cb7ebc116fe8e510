//! Every reason for which a packet is dropped, met once and counted once.

mod common;

use std::collections::BTreeSet;

use common::link::{Link, Plan};
use common::*;
use ipsec::{Databases, DropReason, Envelope, InboundSa, OutboundSa, PacketBuf, Tables, Verdict, limits};
use sa::transform::INTEGRITY;
use sa::{
    Cpi, Direction, Esn, Family, Handling, Lifetime, Mode, PolicyAction, Protection, Protocol, SaOp, SaSpec,
};
use wire::ip::{Ecn, Ipv4, Ipv6Header, protocol};
use wire::ipcomp;

const SUITE: &str = "aes128gcm16";

type Case = fn() -> DropReason;

#[test]
fn every_reason_is_met() {
    let cases: &[Case] = &[
        a_packet_that_is_none,
        a_discarding_policy,
        no_sa,
        a_narrowed_sa,
        a_fragment_in_transport_mode,
        extension_headers_that_end_nowhere,
        a_dead_sa,
        the_end_of_the_numbers,
        no_room,
        a_strange_spi,
        the_other_protocol,
        esp_without_its_ah,
        another_icv_length,
        a_misaligned_packet,
        a_replay,
        a_late_packet,
        a_forgery,
        wrong_padding,
        another_compression,
        a_damaged_stream,
        a_bomb,
        a_protocol_that_the_mode_does_not_carry,
        options_that_do_not_fit,
        a_dummy,
        another_selector,
        congestion_for_who_cannot_carry_it,
    ];
    let mut met = BTreeSet::new();
    for case in cases {
        let reason = case();
        assert!(met.insert(reason), "{reason:?} is met twice");
    }
    met.extend(OF_REASSEMBLY);
    // Whoever carries a packet that no policy selects decides what becomes of it.
    met.insert(DropReason::NoPolicy);
    assert_eq!(met, BTreeSet::from(DropReason::ALL));
}

/// What a reassembler drops, which is no SA's affair: `reassembly.rs` meets each.
const OF_REASSEMBLY: [DropReason; 7] = [
    DropReason::MalformedFragment,
    DropReason::TinyFragment,
    DropReason::DuplicateFragment,
    DropReason::OverlappingFragments,
    DropReason::TooManyFragments,
    DropReason::ReassemblyTimeout,
    DropReason::ReassemblyFull,
];

/// Seals a packet that cannot be sealed.
fn unsealed(sa: &OutboundSa, mut packet: PacketBuf) -> DropReason {
    let reason = sa.seal(&mut packet).expect_err("it cannot be sealed");
    assert_eq!((sa.drops().of(reason), sa.drops().total(), sa.packets()), (1, 1, 0));
    reason
}

/// Opens a packet that cannot be opened.
fn unopened(sa: &InboundSa, octets: &[u8], envelope: &Envelope<'_>) -> DropReason {
    let before = (sa.packets(), sa.bytes());
    let reason = sa.open(&mut buffer(octets), envelope).expect_err("it cannot be opened");
    assert_eq!((sa.drops().of(reason), sa.drops().total()), (1, 1), "{reason:?}");
    assert_eq!((sa.packets(), sa.bytes()), before);
    reason
}

/// What a peer that holds the key of a tunnel may seal.
fn evil(handling: Handling, plaintext: &[u8]) -> DropReason {
    let suite = suite(SUITE);
    let inbound = SaSpec { handling, ..spec(Direction::Inbound, suite, Esn::No) };
    let tunnel = Tunnel::of(spec(Direction::Outbound, suite, Esn::No), inbound, 0);
    unopened(&tunnel.inbound, evil::seal(suite, plaintext).as_slice(), &datagram(0))
}

fn tunnel() -> Tunnel {
    Tunnel::new(suite(SUITE), Esn::No)
}

fn verdict(tables: &Tables) -> DropReason {
    match tables.classify(&flow(&v4(b"x")), None) {
        Verdict::Discard(reason) => reason,
        other => panic!("not discarded: {other:?}"),
    }
}

fn with_policy(action: PolicyAction) -> Databases {
    let mut databases = databases();
    let protect = policy(POLICY.0, 1, action, left_selectors());
    databases.apply(SaOp::InstallPolicy(protect)).expect("a valid policy");
    databases
}

fn a_packet_that_is_none() -> DropReason {
    unsealed(&tunnel().outbound, buffer(&[0x45]))
}

fn a_discarding_policy() -> DropReason {
    verdict(&with_policy(PolicyAction::Discard).tables())
}

fn no_sa() -> DropReason {
    verdict(&with_policy(PolicyAction::Protect).tables())
}

fn a_narrowed_sa() -> DropReason {
    let mut databases = with_policy(PolicyAction::Protect);
    let narrowed = SaSpec {
        selectors: vec![pair("10.1.0.9", "10.2.0.9")],
        ..spec(Direction::Outbound, suite(SUITE), Esn::No)
    };
    databases.apply(SaOp::InstallSa(Box::new(narrowed.clone()))).expect("a valid SA");
    databases.apply(SaOp::UseOutbound { policy: POLICY, sa: narrowed.id() }).expect("both exist");
    verdict(&databases.tables())
}

fn a_fragment_in_transport_mode() -> DropReason {
    let plan = Plan::esp(Mode::Transport, suite(SUITE));
    let link = Link::new(&plan);
    let (source, destination) = plan.inner_addresses();
    let whole = packet_between(source, destination, 253, &[0; 16]);
    let mut fragment = whole.clone();
    fragment[6] = 0x20;
    unsealed(link.outbound(&whole), buffer(&fragment))
}

fn extension_headers_that_end_nowhere() -> DropReason {
    let plan = Plan { outer: Family::V6, inner: Family::V6, ..Plan::esp(Mode::Transport, suite(SUITE)) };
    let link = Link::new(&plan);
    let (source, destination) = plan.inner_addresses();
    let mut packet = packet_between(source, destination, 253, &[protocol::UDP, 9, 0, 0, 0, 0, 0, 0]);
    let outbound = link.outbound(&packet);
    packet[6] = protocol::HOP_BY_HOP;
    assert_eq!(packet.len(), Ipv6Header::LEN + 8);
    unsealed(outbound, buffer(&packet))
}

fn a_dead_sa() -> DropReason {
    let lifetime = Lifetime { hard_packets: 0, ..Lifetime::UNLIMITED };
    let limited = SaSpec { lifetime, ..spec(Direction::Outbound, suite(SUITE), Esn::No) };
    let tunnel = Tunnel::of(limited, spec(Direction::Inbound, suite(SUITE), Esn::No), 0);
    unsealed(&tunnel.outbound, buffer(&v4(b"x")))
}

fn the_end_of_the_numbers() -> DropReason {
    let [outbound, inbound] =
        [Direction::Outbound, Direction::Inbound].map(|end| spec(end, suite(SUITE), Esn::No));
    let tunnel = Tunnel::of(outbound, inbound, limits::LAST_SEQUENCE);
    unsealed(&tunnel.outbound, buffer(&v4(b"x")))
}

fn no_room() -> DropReason {
    let mut crowded = buffer(&v4(b"x"));
    let room = crowded.tailroom();
    crowded.push_back(room).expect("there is so much");
    unsealed(&tunnel().outbound, crowded)
}

fn a_strange_spi() -> DropReason {
    databases().tables().inbound(Protocol::Esp, SPI).map(|sa| sa.id()).expect_err("nobody has it")
}

fn the_other_protocol() -> DropReason {
    let link = Link::new(&Plan::ah(Mode::Tunnel));
    link.right.inbound(Protocol::Esp, SPI).map(|sa| sa.id()).expect_err("AH has it")
}

fn esp_without_its_ah() -> DropReason {
    let wrapper = Some(Protection::Authenticated(&INTEGRITY[0]));
    let link = Link::new(&Plan { wrapper, ..Plan::esp(Mode::Tunnel, suite(SUITE)) });
    let sa = link.right.inbound(Protocol::Esp, SPI).expect("it was installed");
    unopened(sa, tunnel().seal(&v4(b"x")).as_slice(), &datagram(0))
}

fn another_icv_length() -> DropReason {
    let link = Link::new(&Plan::ah(Mode::Tunnel));
    let mut wire = link.send(&v4(b"x")).expect("it can be sealed");
    // AH says that it is one word shorter.
    wire[21] -= 1;
    let view = Ipv4::new(&wire[..]).expect("a whole packet");
    let sa = link.right.inbound(Protocol::Ah, SPI).expect("it was installed");
    unopened(sa, view.payload(), &Envelope::V4(view))
}

fn a_misaligned_packet() -> DropReason {
    let tunnel = tunnel();
    let packet = tunnel.seal(&v4(b"x"));
    unopened(&tunnel.inbound, &packet.as_slice()[..packet.len() - 1], &datagram(0))
}

fn a_replay() -> DropReason {
    let tunnel = tunnel();
    let packet = tunnel.seal(&v4(b"x"));
    tunnel.open(&mut buffer(packet.as_slice())).expect("the first time");
    unopened(&tunnel.inbound, packet.as_slice(), &datagram(0))
}

fn a_late_packet() -> DropReason {
    let tunnel = tunnel();
    let late = tunnel.seal(&v4(b"x"));
    for _ in 0..64 {
        tunnel.open(&mut tunnel.seal(&v4(b"x"))).expect("in order");
    }
    unopened(&tunnel.inbound, late.as_slice(), &datagram(0))
}

fn a_forgery() -> DropReason {
    let tunnel = tunnel();
    let mut packet = tunnel.seal(&v4(b"x"));
    *packet.as_mut_slice().last_mut().expect("it has an ICV") ^= 1;
    unopened(&tunnel.inbound, packet.as_slice(), &datagram(0))
}

fn wrong_padding() -> DropReason {
    evil(Handling::default(), &[&v4(b"")[..], &[1, 3, 2, 4]].concat())
}

fn compressing() -> Handling {
    Handling { compression: Some(Cpi(2)), ..Handling::default() }
}

fn compressed(cpi: u16, deflated: &[u8]) -> DropReason {
    let header = ipcomp::Header { next_header: protocol::IPV4, cpi };
    let mut plaintext = [&header.encode()[..], deflated].concat();
    let padding = (4 - (plaintext.len() + 2) % 4) % 4;
    plaintext.extend((1..).take(padding));
    plaintext.extend([padding as u8, protocol::IPCOMP]);
    evil(compressing(), &plaintext)
}

fn another_compression() -> DropReason {
    compressed(3, &[])
}

fn a_damaged_stream() -> DropReason {
    // Its first block is of a type that does not exist.
    compressed(2, &[7, 7, 7, 7])
}

fn a_bomb() -> DropReason {
    let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
    let mut deflated = Vec::with_capacity(1 << 16);
    let zeros = vec![0; 1 << 20];
    compress.compress_vec(&zeros, &mut deflated, flate2::FlushCompress::Finish).expect("there is room");
    compressed(2, &deflated)
}

fn a_protocol_that_the_mode_does_not_carry() -> DropReason {
    evil(Handling::default(), &[&[0; 16][..], &[1, 2, 2, protocol::UDP]].concat())
}

fn options_that_do_not_fit() -> DropReason {
    let plan = Plan::esp(Mode::Beet, suite(SUITE));
    let link = Link::new(&plan);
    let sa = link.right.inbound(Protocol::Esp, SPI).expect("it was installed");
    // A pseudo header of 16 octets, of which 8 are there.
    let plaintext = [253, 1, 0, 0, 0, 0, 0, 0, 1, 2, 2, protocol::BEET_PSEUDO_HEADER];
    let packet = evil::seal_for(&plan.spec(Direction::Inbound), &plaintext);
    unopened(sa, packet.as_slice(), &datagram(0))
}

fn a_dummy() -> DropReason {
    let tunnel = tunnel();
    let mut dummy = PacketBuf::new(200);
    tunnel.outbound.seal_dummy(&mut dummy, 100).expect("there is room");
    unopened(&tunnel.inbound, dummy.as_slice(), &datagram(0))
}

fn another_selector() -> DropReason {
    let inner = v4_between([10, 1, 0, 2].into(), [10, 9, 0, 3].into(), 253, b"x");
    let tunnel = tunnel();
    unopened(&tunnel.inbound, tunnel.seal(&inner).as_slice(), &datagram(0))
}

fn congestion_for_who_cannot_carry_it() -> DropReason {
    let tunnel = tunnel();
    let congested = Ecn::CongestionExperienced.to_bits();
    unopened(&tunnel.inbound, tunnel.seal(&v4(b"x")).as_slice(), &datagram(congested))
}
