use std::sync::Arc;

use crypto::Secret;
use ike::SpiSource;
use sa::{
    ChildSuite, Esn, Handling, Mode, PolicyAction, Protection, Protocol, SelectorPair, TrafficSelector,
    transform::ENCRYPTION,
};

use super::*;
use crate::{Flow, Side, flow, site_address};

const POLICY: PolicyId = PolicyId(1);

/// Two planes with one SA from left to right, and its policy on the left.
struct Joined {
    left: Plane,
    right: Plane,
    outbound: SaId,
    inbound: SaId,
}

fn joined() -> Joined {
    let mut right_spis = SpiPool::default();
    let spi = right_spis.allocate(7);
    let spec = |side: Side, direction| spec(side, direction, spi, 1);
    let mut left = Plane::new(vec![site_address(Side::Left)], SpiPool::default());
    let mut right = Plane::new(vec![site_address(Side::Right)], right_spis);
    let (ours, theirs) = (spec(Side::Left, Direction::Outbound), spec(Side::Right, Direction::Inbound));
    let (outbound, inbound) = (ours.id(), theirs.id());
    left.apply(SaOp::InstallPolicy(policy(PolicyAction::Protect, ours.selectors.clone())));
    left.apply(SaOp::InstallSa(Box::new(ours)));
    left.apply(SaOp::UseOutbound { policy: POLICY, sa: outbound });
    right.apply(SaOp::InstallSa(Box::new(theirs)));
    assert_eq!((left.faults(), right.faults()), (&[][..], &[][..]));
    Joined { left, right, outbound, inbound }
}

fn spec(side: Side, direction: Direction, spi: Spi, key: u8) -> SaSpec {
    let suite = ChildSuite {
        protocol: Protocol::Esp,
        protection: Protection::Combined(&ENCRYPTION[0]),
        key_exchange: None,
        additional: sa::AdditionalSuite::default(),
        esn: Esn::Yes,
    };
    let port = |side| SocketAddr::new(site_address(side), 4500);
    SaSpec {
        direction,
        protocol: Protocol::Esp,
        spi,
        mode: Mode::Tunnel,
        outer: Outer { local: port(side), remote: port(side.other()), encapsulation: Encapsulation::Udp },
        protection: suite.protection,
        key: Arc::new(Secret::new(vec![key; suite.protection.key_len()])),
        esn: suite.esn,
        replay_window: 32,
        selectors: vec![SelectorPair { local: everything_of(side), remote: everything_of(side.other()) }],
        lifetime: Lifetime::UNLIMITED,
        policy: POLICY,
        handling: Handling::default(),
    }
}

fn everything_of(side: Side) -> TrafficSelector {
    let text = match side {
        Side::Left => "10.1.0.0/16",
        Side::Right => "10.2.0.0/16",
    };
    text.parse().expect("a prefix")
}

fn policy(action: PolicyAction, selectors: Vec<SelectorPair>) -> PolicySpec {
    PolicySpec { id: POLICY, priority: 100, selectors, action, device: None }
}

fn packet(flow: Flow) -> Packet {
    Packet { number: 1, flow, octets: 100 }
}

fn carry(joined: &mut Joined, flow: Flow) -> Arrival {
    let now = Instant::now();
    match joined.left.send(now, packet(flow)) {
        Departure::Protected(Parcel { source, cargo: Cargo::Esp(sealed), .. }) => {
            joined.right.open(now, source, site_address(Side::Right), &sealed)
        }
        other => panic!("the policy protects it, but: {other:?}"),
    }
}

#[test]
fn a_packet_crosses_where_both_ends_agree_and_the_receiver_tells_that_the_peer_lives() {
    let mut joined = joined();
    assert_eq!(carry(&mut joined, flow(Side::Left, 0)), Arrival::Opened(packet(flow(Side::Left, 0))));
    assert_eq!(joined.right.poll_event(), Some(SaEvent::Active { sa: joined.inbound }));
    assert_eq!(joined.right.poll_event(), None);
}

#[test]
fn another_key_another_spi_and_other_selectors_do_not_open() {
    let mut joined = joined();
    let crossing = packet(flow(Side::Left, 0));
    let id = joined.inbound;
    let installed = joined.right.sas.get_mut(&id).expect("it was installed");
    installed.spec.key = Arc::new(Secret::new(vec![2; installed.spec.key.len()]));
    assert_eq!(carry(&mut joined, crossing.flow), Arrival::WrongSa(id.spi, crossing));
    let installed = joined.right.sas.get_mut(&id).expect("it was installed");
    installed.spec = spec(Side::Right, Direction::Inbound, id.spi, 1);
    installed.spec.selectors[0].local = "10.2.9.0/24".parse().expect("a prefix");
    assert_eq!(carry(&mut joined, crossing.flow), Arrival::NotSelected(id.spi, crossing));
    joined.right.apply(SaOp::RemoveSa(id));
    assert_eq!(carry(&mut joined, crossing.flow), Arrival::UnknownSpi(id.spi, crossing));
    assert_eq!(joined.right.poll_event(), None);
}

#[test]
fn every_breach_of_the_contract_is_a_fault() {
    type Breach = fn(&Joined) -> SaOp;
    let breaches: [(&str, Breach); 7] = [
        ("an SA of that name exists", |_| {
            SaOp::InstallSa(Box::new(spec(Side::Left, Direction::Outbound, Spi(256), 1)))
        }),
        ("never given out", |_| {
            SaOp::InstallSa(Box::new(spec(Side::Left, Direction::Inbound, Spi(4711), 1)))
        }),
        ("while policy 1 uses it", |joined| SaOp::RemoveSa(joined.outbound)),
        ("not installed", |joined| SaOp::RemoveSa(joined.inbound)),
        ("policy 9, which does not exist", |_| SaOp::RemovePolicy(PolicyId(9))),
        ("policy 9, which does not exist", |joined| SaOp::UseOutbound {
            policy: PolicyId(9),
            sa: joined.outbound,
        }),
        ("not installed", |joined| SaOp::UseOutbound { policy: POLICY, sa: joined.inbound }),
    ];
    for (words, breach) in breaches {
        let mut joined = joined();
        let op = breach(&joined);
        joined.left.apply(op.clone());
        assert!(
            joined.left.faults().iter().any(|fault| fault.contains(words)),
            "{op:?}: {:?}",
            joined.left.faults()
        );
    }
}

#[test]
fn a_trap_asks_once_a_second_and_lets_nothing_pass() {
    let mut plane = Plane::new(vec![site_address(Side::Left)], SpiPool::default());
    let pairs = vec![SelectorPair { local: everything_of(Side::Left), remote: everything_of(Side::Right) }];
    plane.apply(SaOp::InstallPolicy(policy(PolicyAction::Trap, pairs)));
    let (now, crossing) = (Instant::now(), packet(flow(Side::Left, 0)));
    for _ in 0..3 {
        assert!(matches!(plane.send(now, crossing), Departure::Awaiting));
    }
    assert!(matches!(plane.send(now + Duration::from_secs(2), crossing), Departure::Awaiting));
    let acquire = SaEvent::Acquire { policy: POLICY, flow: crossing.flow.acquired() };
    assert_eq!(plane.poll_event(), Some(acquire.clone()));
    assert_eq!(plane.poll_event(), Some(acquire));
    assert_eq!(plane.poll_event(), None);
    assert_eq!(
        plane.receive_plain(packet(flow(Side::Right, 0))),
        Arrival::Refused(packet(flow(Side::Right, 0)))
    );
}

#[test]
fn volume_limits_are_told_once_and_the_hard_one_is_kept() {
    let mut joined = joined();
    let id = joined.outbound;
    let installed = joined.left.sas.get_mut(&id).expect("it was installed");
    installed.spec.lifetime = Lifetime { soft_packets: 2, hard_bytes: 400, ..Lifetime::UNLIMITED };
    for _ in 0..4 {
        carry(&mut joined, flow(Side::Left, 0));
    }
    let departure = joined.left.send(Instant::now(), packet(flow(Side::Left, 0)));
    assert!(matches!(departure, Departure::Expired));
    let expire = |hardness, cause| SaEvent::Expire { sa: id, hardness, cause };
    assert_eq!(joined.left.poll_event(), Some(expire(Hardness::Soft, ExpiryCause::Packets)));
    assert_eq!(joined.left.poll_event(), Some(expire(Hardness::Hard, ExpiryCause::Bytes)));
    assert_eq!(joined.left.poll_event(), None);
}
