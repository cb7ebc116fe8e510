//! What selectors say of ICMP errors and of fragments, which do not show all that selectors look at (RFC 4301 §6.2, §7).

mod common;

use std::net::Ipv4Addr;
use std::time::Instant;

use common::*;
use ipsec::{
    Content, Databases, DropCounters, DropReason, PacketBuf, Reassembler, TooBigReport, Verdict, Way, limits,
};
use sa::{Direction, Esn, PolicyAction, Protocol, SaOp, SaSpec, SelectorPair, Spi};
use wire::ip::{Fragments, Ipv4, protocol};

const LEFT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 3);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
const FORBIDDEN: [u8; 8] = [3, 13, 0, 0, 0, 0, 0, 0];
const REDIRECT: [u8; 8] = [5, 1, 0, 0, 10, 1, 0, 9];

/// A tunnel of UDP to port 53 and nothing else.
fn narrow() -> (Tunnel, SelectorPair) {
    let left = pair("10.1.0.0/16[udp]", "10.2.0.0/16[udp/53]");
    let right = SelectorPair { local: left.remote, remote: left.local };
    let of = |direction, selectors| SaSpec { selectors, ..spec(direction, suite("aes128gcm16"), Esn::No) };
    let (mut sending, mut receiving) = (databases(), databases());
    let outbound = of(Direction::Outbound, vec![left]);
    sending
        .apply(SaOp::InstallPolicy(policy(POLICY.0, 1, PolicyAction::Protect, vec![left])))
        .expect("a valid policy");
    sending.apply(SaOp::InstallSa(Box::new(outbound.clone()))).expect("a valid SA");
    sending.apply(SaOp::UseOutbound { policy: POLICY, sa: outbound.id() }).expect("both exist");
    receiving.apply(SaOp::InstallSa(Box::new(of(Direction::Inbound, vec![right])))).expect("a valid SA");
    let question = udp((LEFT, 4000), (RIGHT, 53));
    let tunnel = Tunnel {
        outbound: protecting_sa(&sending.tables(), &question).clone(),
        inbound: receiving.tables().inbound(Protocol::Esp, SPI).expect("just installed").clone(),
    };
    (tunnel, left)
}

/// An ICMP message about `quoted`.
fn error(source: Ipv4Addr, destination: Ipv4Addr, kind: [u8; 8], quoted: &[u8]) -> Vec<u8> {
    v4_between(source, destination, protocol::ICMP, &[&kind[..], quoted].concat())
}

#[test]
fn an_error_about_a_packet_of_ours_is_admitted_and_no_other() {
    let (tunnel, _) = narrow();
    let sent_by_us = udp((RIGHT, 53), (LEFT, 4000));
    let of_others = udp((RIGHT, 80), (LEFT, 4000));
    for (packet, expected) in [
        // From the host that was asked, or from a router on its side that no selector names.
        (error(LEFT, RIGHT, FORBIDDEN, &sent_by_us), Ok(Content::Packet)),
        (error(ELSEWHERE, RIGHT, FORBIDDEN, &sent_by_us), Ok(Content::Packet)),
        (error(ELSEWHERE, RIGHT, FORBIDDEN, &sent_by_us[..28]), Ok(Content::Packet)),
        // About a packet that does not go through this tunnel, or without enough of it.
        (error(ELSEWHERE, RIGHT, FORBIDDEN, &of_others), Err(DropReason::Selectors)),
        (error(ELSEWHERE, RIGHT, FORBIDDEN, &sent_by_us[..22]), Err(DropReason::Selectors)),
        // To somebody who did not send it.
        (error(ELSEWHERE, Ipv4Addr::new(10, 2, 0, 9), FORBIDDEN, &sent_by_us), Err(DropReason::Selectors)),
        // What is no error needs selectors of its own.
        (error(ELSEWHERE, RIGHT, REDIRECT, &sent_by_us), Err(DropReason::Selectors)),
        (error(LEFT, RIGHT, [8, 0, 0, 0, 0, 0, 0, 0], &sent_by_us), Err(DropReason::Selectors)),
    ] {
        let mut sealed = tunnel.seal(&packet);
        assert_eq!(tunnel.open(&mut sealed).map(|opened| opened.content), expected, "{packet:?}");
    }
}

/// The other half: an error that no policy selects leaves by the SA that carries the answers to what it is about.
#[test]
fn an_error_leaves_by_the_sa_of_the_packet_that_it_is_about() {
    let mut databases = databases();
    let narrow = vec![pair("10.1.0.0/16[udp]", "10.2.0.0/16[udp/53]")];
    let spec =
        SaSpec { selectors: narrow.clone(), ..spec(Direction::Outbound, suite("aes128gcm16"), Esn::No) };
    databases
        .apply(SaOp::InstallPolicy(policy(POLICY.0, 1, PolicyAction::Protect, narrow)))
        .expect("a valid policy");
    databases.apply(SaOp::InstallSa(Box::new(spec.clone()))).expect("a valid SA");
    databases.apply(SaOp::UseOutbound { policy: POLICY, sa: spec.id() }).expect("both exist");
    let tables = databases.tables();
    let verdict = |packet: &[u8]| match tables.classify_packet(packet, &flow(packet), None) {
        Verdict::Protect(sa) => Some(sa.spi()),
        Verdict::Unselected => None,
        other => panic!("{other:?}"),
    };
    let received = udp((RIGHT, 53), (LEFT, 4000));
    let about = error(ELSEWHERE, RIGHT, FORBIDDEN, &received);
    assert!(matches!(tables.classify(&flow(&about), None), Verdict::Unselected));
    assert_eq!(verdict(&about), Some(SPI));
    assert_eq!(verdict(&error(ELSEWHERE, RIGHT, REDIRECT, &received)), None);
    assert_eq!(verdict(&error(ELSEWHERE, RIGHT, FORBIDDEN, &udp((RIGHT, 80), (LEFT, 4000)))), None);
    assert_eq!(verdict(&received), None);
}

/// It quotes what came through an SA that may be gone by now, and no SA is negotiated for an error.
#[test]
fn an_error_about_a_packet_that_came_protected_never_leaves_in_the_clear() {
    let mut databases = Databases::new(Box::new(Seeded(1)));
    let remotes = [([10, 2, 0, 1], PolicyAction::Protect), ([10, 3, 0, 1], PolicyAction::Trap)];
    for (id, ([_, network, ..], action)) in (1..).zip(remotes) {
        let selectors = vec![pair("10.1.0.0/16", &format!("10.{network}.0.0/16"))];
        databases.apply(SaOp::InstallPolicy(policy(id, 1, action, selectors))).expect("a valid policy");
    }
    let tables = databases.tables();
    let verdict = |packet: &[u8]| tables.classify_packet(packet, &flow(packet), None);
    for (sender, _) in remotes {
        let quoted = udp((sender.into(), 1), (LEFT, 2));
        let about = error(ELSEWHERE, sender.into(), FORBIDDEN, &quoted);
        assert!(matches!(verdict(&about), Verdict::Discard(DropReason::NoSa)));
        let advice = error(ELSEWHERE, sender.into(), REDIRECT, &quoted);
        assert!(matches!(verdict(&advice), Verdict::Unselected));
    }
    let unprotected = udp((Ipv4Addr::new(10, 4, 0, 1), 1), (LEFT, 2));
    let about = error(ELSEWHERE, Ipv4Addr::new(10, 4, 0, 1), FORBIDDEN, &unprotected);
    assert!(matches!(verdict(&about), Verdict::Unselected));
}

fn cut(packet: &[u8]) -> Vec<Vec<u8>> {
    let plan = Fragments::new(packet, 60, 0).expect("a sound packet");
    let write = |index| {
        let mut out = vec![0; plan.fragment_len(index)];
        plan.write(index, &mut out);
        out
    };
    (0..plan.count()).map(write).collect()
}

fn long_udp(port: u16) -> Vec<u8> {
    let segment = [&[4000u16, port, 208, 0].map(u16::to_be_bytes).concat()[..], &[7; 200]].concat();
    let mut packet = v4_between(LEFT, RIGHT, protocol::UDP, &segment);
    Ipv4::new(&mut packet[..]).expect("a sound packet").allow_fragmentation();
    packet
}

#[test]
fn fragments_are_put_together_where_ports_count() {
    let (tunnel, _) = narrow();
    for (port, expected) in [(53, Ok(())), (80, Err(DropReason::Selectors))] {
        let (mut reassembler, drops) = (Reassembler::default(), DropCounters::default());
        let mut whole = None;
        for fragment in cut(&long_udp(port)) {
            let mut sealed = tunnel.seal(&fragment);
            assert_eq!(tunnel.open(&mut sealed).expect("an authentic packet").content, Content::Fragment);
            assert_eq!(tunnel.inbound.admits(sealed.as_slice()), Err(DropReason::Selectors), "not yet");
            whole = reassembler.put(Way::In(POLICY), sealed.as_slice(), Instant::now(), &drops);
        }
        let whole = whole.expect("all fragments arrived");
        assert_eq!(whole.packet, long_udp(port));
        assert_eq!(tunnel.inbound.admits(&whole.packet), expected);
    }
}

/// Only what some ports could make right is worth waiting for the ports.
#[test]
fn fragments_outside_of_all_selectors_wait_for_nothing() {
    let (tunnel, _) = narrow();
    let seal = |(source, destination), protocol| {
        let mut packet = v4_between(source, destination, protocol, &[7; 208]);
        Ipv4::new(&mut packet[..]).expect("a sound packet").allow_fragmentation();
        tunnel.seal(&cut(&packet)[1])
    };
    let opened = |packet: &mut PacketBuf| tunnel.open(packet).map(|opened| opened.content);
    assert_eq!(opened(&mut seal((LEFT, RIGHT), protocol::UDP)), Ok(Content::Fragment));
    assert_eq!(opened(&mut seal((LEFT, RIGHT), protocol::SCTP)), Err(DropReason::Selectors));
    assert_eq!(opened(&mut seal((ELSEWHERE, RIGHT), protocol::UDP)), Err(DropReason::Selectors));
}

#[test]
fn fragments_pass_as_they_are_where_ports_do_not_count() {
    let tunnel = Tunnel::new(suite("aes128gcm16"), Esn::No);
    for fragment in cut(&long_udp(53)) {
        let mut sealed = tunnel.seal(&fragment);
        assert_eq!(tunnel.open(&mut sealed).expect("an authentic packet").content, Content::Packet);
        assert_eq!(sealed.as_slice(), fragment);
    }
}

/// RFC 4301 §7.2: a minimum offset check.
#[test]
fn a_fragment_that_begins_in_a_tcp_header_is_dropped() {
    let tunnel = Tunnel::new(suite("aes128gcm16"), Esn::No);
    for (protocol, units, expected) in [
        (protocol::TCP, 1, Err(DropReason::TinyFragment)),
        (protocol::TCP, 2, Ok(Content::Packet)),
        (protocol::UDP, 1, Ok(Content::Packet)),
    ] {
        let mut fragment = v4_between(LEFT, RIGHT, protocol, &[0; 32]);
        fragment[6..8].copy_from_slice(&[0, units]);
        let mut sealed = tunnel.seal(&fragment);
        assert_eq!(tunnel.open(&mut sealed).map(|opened| opened.content), expected);
    }
}

/// What a router says of the path is known to all SAs to the same peer, outlasts a rekeying, and moves with nobody.
#[test]
fn sas_to_one_peer_share_what_is_known_of_its_path() {
    let mut databases = databases();
    let selectors = left_selectors();
    databases
        .apply(SaOp::InstallPolicy(policy(POLICY.0, 1, PolicyAction::Protect, selectors)))
        .expect("valid");
    let spec = |spi| SaSpec { spi: Spi(spi), ..spec(Direction::Outbound, suite("aes128gcm16"), Esn::No) };
    let install = |databases: &mut ipsec::Databases, spi| {
        databases.apply(SaOp::InstallSa(Box::new(spec(spi)))).expect("a valid SA");
        databases.apply(SaOp::UseOutbound { policy: POLICY, sa: spec(spi).id() }).expect("both exist");
        protecting_sa(&databases.tables(), &v4(b"x")).clone()
    };
    let first = install(&mut databases, 0x1000);
    assert_eq!((first.path_mtu(), first.longest_inner()), (None, first.inner_len(limits::LONGEST_IP_PACKET)));

    let remote = first.outer().remote.ip();
    let report = TooBigReport { mtu: 1400, protocol: Protocol::Esp, spi: Spi(0x1000) };
    databases.paths().lock().expect("no panic").report(remote, report, Instant::now());
    let second = install(&mut databases, 0x2000);
    assert_eq!((first.path_mtu(), second.path_mtu()), (Some(1400), Some(1400)));
    assert_eq!(first.longest_inner(), first.inner_len(1400));

    databases.apply(SaOp::RemoveSa(first.id())).expect("it exists");
    assert_eq!(second.path_mtu(), Some(1400));
    let mut outer = second.outer();
    outer.remote.set_ip(address("203.0.113.99"));
    databases.apply(SaOp::MoveSa { sa: second.id(), outer }).expect("it exists");
    let moved = protecting_sa(&databases.tables(), &v4(b"x")).path_mtu();
    assert_eq!((moved, databases.paths().lock().expect("no panic").octets(remote)), (None, None));
}
