//! What hides the length and the rhythm of packets: flow padding and dummies (RFC 4303 §2.7, §2.6).

mod common;

use std::collections::BTreeSet;

use common::link::{Link, Plan, on_the_wire};
use common::*;
use ipsec::{DropReason, PacketBuf, limits};
use proptest::prelude::*;
use sa::{Cpi, Encapsulation, Family, FlowPadding, Handling, Mode, SaOp};
use wire::ip::Ipv4Header;

fn padded(padding: FlowPadding) -> Plan {
    let handling = Handling { padding, ..Handling::default() };
    Plan { handling, ..Plan::esp(Mode::Tunnel, suite("aes128gcm16")) }
}

/// Seals a packet in a buffer as large as the plane's, and gives it as it goes out.
fn send(link: &Link, inner: &[u8]) -> Vec<u8> {
    let mut packet = PacketBuf::new(1500);
    packet.copy_from(inner).expect("it fits");
    let sa = link.outbound(inner);
    let sealed = sa.seal(&mut packet).expect("there is room");
    on_the_wire(sa, &sealed, packet.as_slice())
}

fn inner(plan: &Plan, octets: usize) -> Vec<u8> {
    let (source, destination) = plan.inner_addresses();
    let header = if source.is_ipv4() { 20 } else { 40 };
    packet_between(source, destination, 253, &vec![7; octets - header])
}

proptest! {
    #[test]
    fn padded_packets_look_alike_and_come_out_as_they_were(
        to in 100..1400u16, sizes in prop::collection::vec(40..1400usize, 1..10), four: bool, outer_four: bool,
        compressed: bool, udp: bool,
    ) {
        let family = |four| if four { Family::V4 } else { Family::V6 };
        let mut plan = Plan { inner: family(four), outer: family(outer_four), ..padded(FlowPadding::To(to)) };
        plan.handling.compression = compressed.then_some(Cpi(2));
        plan.encapsulation = if udp { Encapsulation::Udp } else { Encapsulation::None };
        let link = Link::new(&plan);
        let mut lengths = BTreeSet::new();
        for size in sizes {
            let inner = inner(&plan, size);
            let wire = send(&link, &inner);
            if size <= to.into() {
                lengths.insert(wire.len());
            } else if !compressed {
                prop_assert_eq!(wire.len(), link.outbound(&inner).sealed_len(size), "longer ones are as they are");
            }
            prop_assert_eq!(link.receive(&wire), Ok(inner));
        }
        prop_assert!(lengths.len() <= 1, "{lengths:?}");
        if let Some(length) = lengths.first() {
            prop_assert_eq!(*length, link.outbound(&inner(&plan, 60)).sealed_len(to.into()));
        }
    }
}

#[test]
fn packets_are_padded_to_what_the_path_takes() {
    let plan = padded(FlowPadding::ToPathMtu);
    let (mut left, link) = (databases(), Link::new(&plan));
    // Nobody has told what the path takes: every path takes this.
    let unknown = send(&link, &inner(&plan, 60));
    assert!(
        (limits::LEAST_PATH_MTU - 3..=limits::LEAST_PATH_MTU).contains(&unknown.len()),
        "{}",
        unknown.len()
    );

    let outbound = plan.spec(sa::Direction::Outbound);
    let selectors = outbound.selectors.clone();
    let protect = policy(POLICY.0, 1, sa::PolicyAction::Protect, selectors);
    for op in [
        SaOp::InstallPolicy(protect),
        SaOp::InstallSa(Box::new(outbound.clone())),
        SaOp::UseOutbound { policy: POLICY, sa: outbound.id() },
    ] {
        left.apply(op).expect("a valid order");
    }
    let link = Link { left: left.tables(), right: link.right };
    let now = std::time::Instant::now();
    for mtu in [1400, 1500, 1280] {
        left.paths().lock().expect("nobody panics").set_link(outbound.outer.remote.ip(), mtu, now);
        for size in [60, 1000, 1100] {
            let wire = send(&link, &inner(&plan, size));
            assert!((mtu - 3..=mtu).contains(&wire.len()), "{} of {mtu}", wire.len());
            assert_eq!(link.receive(&wire), Ok(inner(&plan, size)));
        }
    }
}

#[test]
fn what_pads_is_zeros_and_no_other_packet() {
    let plan = padded(FlowPadding::To(400));
    let link = Link::new(&plan);
    let short = inner(&plan, 60);
    let sa = link.outbound(&short);
    let mut packet = PacketBuf::new(1500);
    packet.room_mut().fill(0xaa);
    packet.copy_from(&short).expect("it fits");
    sa.seal(&mut packet).expect("there is room");
    // Whoever holds the key finds only zeros behind the inner packet.
    let key = plan.spec(sa::Direction::Inbound).key;
    let gcm = crypto::aead::AES_128_GCM_16.key(key.as_slice()).expect("the spec's key");
    let octets = packet.as_mut_slice();
    let (front, icv) = (octets[..16].to_vec(), octets[octets.len() - 16..].to_vec());
    let last = octets.len() - 16;
    let iv = front[8..].try_into().expect("eight octets");
    gcm.open(iv, &front[..8], &mut octets[16..last], &icv).expect("it was just sealed");
    assert_eq!(octets[16..16 + 60], short);
    assert_eq!(octets[16 + 60..16 + 400], [0; 340]);
}

#[test]
fn a_buffer_without_room_is_padded_as_far_as_it_goes() {
    let plan = padded(FlowPadding::To(1400));
    let link = Link::new(&plan);
    let inner = inner(&plan, 300);
    let sa = link.outbound(&inner);
    let mut packet = buffer(&inner);
    let sealed = sa.seal(&mut packet).expect("padding costs no packet");
    let wire = on_the_wire(sa, &sealed, packet.as_slice());
    assert!(wire.len() > sa.sealed_len(300) && wire.len() < sa.sealed_len(1400));
    assert_eq!(link.receive(&wire), Ok(inner));
}

#[test]
fn the_other_modes_cannot_be_padded_and_are_not() {
    // RFC 4303 §2.7: their payload does not tell its own length.
    for mode in [Mode::Transport, Mode::Beet] {
        let plan = Plan { mode, ..padded(FlowPadding::To(1000)) };
        let link = Link::new(&plan);
        let inner = inner(&plan, 100);
        let wire = send(&link, &inner);
        assert_eq!(wire.len(), link.outbound(&inner).sealed_len(100));
        assert!(link.receive(&wire).expect("it was just sealed").ends_with(&inner[Ipv4Header::LEN..]));
    }
}

#[test]
fn dummies_are_as_long_as_the_others_and_are_thrown_away() {
    for mode in [Mode::Tunnel, Mode::Transport, Mode::Beet] {
        for encapsulation in [Encapsulation::None, Encapsulation::Udp] {
            let plan = Plan { mode, encapsulation, ..padded(FlowPadding::To(700)) };
            let link = Link::new(&plan);
            let real = inner(&plan, 300);
            let sa = link.outbound(&real);
            let mut dummy = PacketBuf::new(1500);
            let sealed = sa.seal_dummy(&mut dummy, 120).expect("there is room");
            let wire = on_the_wire(sa, &sealed, dummy.as_slice());
            if mode == Mode::Tunnel {
                assert_eq!(wire.len(), send(&link, &real).len());
            }
            assert_eq!(link.receive(&wire), Err(DropReason::Dummy));
            assert_eq!(link.receive(&wire), Err(DropReason::Replayed), "it has a number like any other");
            assert_eq!(link.refused(), [(DropReason::Replayed, 1), (DropReason::Dummy, 1)]);
        }
    }
}

#[test]
fn a_dummy_goes_inside_ah_and_ah_alone_has_none() {
    let integrity = sa::Protection::Authenticated(&sa::transform::INTEGRITY[0]);
    let plan = Plan { wrapper: Some(integrity), ..padded(FlowPadding::None) };
    let link = Link::new(&plan);
    let mut dummy = PacketBuf::new(1500);
    let sa = link.outbound(&inner(&plan, 60));
    let sealed = sa.seal_dummy(&mut dummy, 120).expect("there is room");
    assert_eq!(link.receive(&on_the_wire(sa, &sealed, dummy.as_slice())), Err(DropReason::Dummy));
    assert_eq!(sa.bytes(), 0, "no inner packet has been carried");

    let link = Link::new(&Plan::ah(Mode::Tunnel));
    let refused = link.outbound(&inner(&plan, 60)).seal_dummy(&mut dummy, 120);
    assert_eq!(refused, Err(DropReason::NextHeader));
}
