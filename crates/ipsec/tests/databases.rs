//! Orders, one after the other, and what workers see of them.

mod common;

use std::net::SocketAddr;

use common::*;
use ipsec::{Databases, DropReason, Rejection, Tables, Usage, Verdict, limits};
use sa::{Direction, Encapsulation, Esn, Mode, Outer, PolicyAction, Protocol, SaId, SaOp, SaSpec, Spi};

fn outbound(spi: u32) -> SaSpec {
    SaSpec { spi: Spi(spi), ..spec(Direction::Outbound, suite("aes128gcm16"), Esn::No) }
}

fn inbound(spi: Spi) -> SaSpec {
    SaSpec { spi, ..spec(Direction::Inbound, suite("aes128gcm16"), Esn::No) }
}

fn install(databases: &mut Databases, spec: &SaSpec) -> Result<(), Rejection> {
    databases.apply(SaOp::InstallSa(Box::new(spec.clone())))
}

/// Databases with one policy for the traffic from left to right.
fn left(action: PolicyAction) -> Databases {
    let mut databases = databases();
    let selectors = left_selectors();
    databases.apply(SaOp::InstallPolicy(policy(POLICY.0, 1, action, selectors))).expect("a valid policy");
    databases
}

fn use_outbound(databases: &mut Databases, spec: &SaSpec) {
    databases.apply(SaOp::UseOutbound { policy: POLICY, sa: spec.id() }).expect("both exist");
}

fn verdict(tables: &Tables) -> Result<Spi, String> {
    match tables.classify(&flow(&v4(b"x"))) {
        Verdict::Protect(sa) => Ok(sa.spi()),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn an_outbound_sa_carries_nothing_until_it_is_used() {
    let mut databases = left(PolicyAction::Trap);
    install(&mut databases, &outbound(0x1000)).expect("a valid SA");
    assert_eq!(verdict(&databases.tables()), Err(format!("Acquire({POLICY:?})")));
    use_outbound(&mut databases, &outbound(0x1000));
    assert_eq!(verdict(&databases.tables()), Ok(Spi(0x1000)));
}

#[test]
fn a_rekey_switches_between_snapshots_and_both_sas_go_on_counting() {
    let mut databases = left(PolicyAction::Protect);
    for spi in [0x1000, 0x2000] {
        install(&mut databases, &outbound(spi)).expect("a valid SA");
    }
    use_outbound(&mut databases, &outbound(0x1000));
    let before = databases.tables();
    use_outbound(&mut databases, &outbound(0x2000));
    let after = databases.tables();
    assert_eq!((verdict(&before), verdict(&after)), (Ok(Spi(0x1000)), Ok(Spi(0x2000))));

    databases.apply(SaOp::RemoveSa(outbound(0x1000).id())).expect("it exists");
    assert_eq!(verdict(&databases.tables()), Ok(Spi(0x2000)));
    // A worker with the old snapshot may still be at it.
    for tables in [&before, &after, &*databases.tables()] {
        protecting_sa(tables, &v4(b"x")).seal(&mut buffer(&v4(b"x"))).expect("room");
    }
    let inner_len = v4(b"x").len() as u64;
    assert_eq!(databases.usage(outbound(0x1000).id()), None);
    let id = outbound(0x2000).id();
    assert_eq!(databases.usage(id), Some(Usage { sa: id, bytes: 2 * inner_len, packets: 2, dropped: 0 }));
}

#[test]
fn a_policy_without_its_sa_falls_back_to_what_it_says() {
    for (action, expected) in [
        (PolicyAction::Protect, format!("Discard({:?})", DropReason::NoSa)),
        (PolicyAction::Trap, format!("Acquire({POLICY:?})")),
    ] {
        let mut databases = left(action);
        install(&mut databases, &outbound(0x1000)).expect("a valid SA");
        use_outbound(&mut databases, &outbound(0x1000));
        databases.apply(SaOp::RemoveSa(outbound(0x1000).id())).expect("it exists");
        assert_eq!(verdict(&databases.tables()), Err(expected));
    }
}

#[test]
fn a_replaced_policy_keeps_its_sa_and_a_removed_one_does_not() {
    let mut databases = left(PolicyAction::Protect);
    install(&mut databases, &outbound(0x1000)).expect("a valid SA");
    use_outbound(&mut databases, &outbound(0x1000));
    let again = policy(POLICY.0, 7, PolicyAction::Trap, left_selectors());
    databases.apply(SaOp::InstallPolicy(again.clone())).expect("a valid policy");
    assert_eq!(verdict(&databases.tables()), Ok(Spi(0x1000)));
    databases.apply(SaOp::RemovePolicy(POLICY)).expect("it exists");
    assert_eq!(verdict(&databases.tables()), Err(format!("Discard({:?})", DropReason::NoPolicy)));
    databases.apply(SaOp::InstallPolicy(again)).expect("a valid policy");
    assert_eq!(verdict(&databases.tables()), Err(format!("Acquire({POLICY:?})")));
}

#[test]
fn allocated_spis_find_their_sas_and_others_do_too() {
    let mut databases = databases();
    let mut spis: Vec<Spi> =
        (0..1000).map(|n| databases.allocate_spi(n * 7).expect("many are left")).collect();
    // Manual keys: a free slot, slots that are taken, and a chain of claims to one slot.
    spis.extend([Spi(0x0001_f000), Spi(0x0000_0100), Spi(0xfff0_0100), Spi(0xffe0_0100), Spi(0xffff_ffff)]);
    for spi in &spis {
        install(&mut databases, &inbound(*spi)).expect("a valid SA");
    }
    let tables = databases.tables();
    for spi in &spis {
        assert_eq!(tables.inbound(*spi).map(|sa| sa.spi()), Some(*spi));
    }
    for stranger in [Spi(0), Spi(0xabc0_0001), Spi(0x0002_f000), Spi(0xffd0_0100)] {
        assert!(tables.inbound(stranger).is_none());
    }
    for spi in &spis {
        databases.apply(SaOp::RemoveSa(inbound(*spi).id())).expect("it exists");
    }
    assert!(spis.iter().all(|spi| databases.tables().inbound(*spi).is_none()));
    assert!(spis.iter().all(|spi| tables.inbound(*spi).is_some()), "a snapshot keeps what it had");
}

#[test]
fn spis_of_failed_negotiations_never_run_out_and_installed_ones_stay() {
    let mut databases = databases();
    let kept = databases.allocate_spi(5).expect("many are left");
    install(&mut databases, &inbound(kept)).expect("a valid SA");
    let early = databases.allocate_spi(6).expect("many are left");
    for n in 0..(1 << limits::SPI_SLOT_BITS) + 10 {
        databases.allocate_spi(n).expect("what nobody installed is given out again");
    }
    assert!(databases.tables().inbound(kept).is_some());
    // One whose negotiation took very long finds a place all the same.
    install(&mut databases, &inbound(early)).expect("a valid SA");
    assert!(databases.tables().inbound(early).is_some());
}

#[test]
fn a_reservation_ends_with_the_removal_of_an_sa_that_never_came() {
    let mut databases = databases();
    let reserved = databases.allocate_spi(1).expect("many are left");
    assert!(databases.tables().inbound(reserved).is_none());
    databases.apply(SaOp::RemoveSa(inbound(reserved).id())).expect("it is reserved");
    let id = inbound(reserved).id();
    assert_eq!(databases.apply(SaOp::RemoveSa(id)), Err(Rejection::UnknownSa(id)));
    let next = databases.allocate_spi(1).expect("many are left");
    assert_eq!(next.0 & 0xf_ffff, reserved.0 & 0xf_ffff, "the slot is free again");
    assert_ne!(next, reserved);
}

#[test]
fn a_moved_sa_is_the_same_sa_elsewhere() {
    let mut databases = left(PolicyAction::Protect);
    let incoming = inbound(SPI);
    for spec in [&outbound(0x1000), &incoming] {
        install(&mut databases, spec).expect("a valid SA");
    }
    use_outbound(&mut databases, &outbound(0x1000));
    let seal = |databases: &Databases| {
        let mut packet = buffer(&v4(b"x"));
        let tables = databases.tables();
        protecting_sa(&tables, &v4(b"x")).seal(&mut packet).expect("room");
        packet.as_slice()[4..8].to_vec()
    };
    assert_eq!(seal(&databases), [0, 0, 0, 1]);

    let remote: SocketAddr = "198.51.100.9:61000".parse().expect("an address");
    let outer = Outer { local: outbound(0).outer.local, remote, encapsulation: Encapsulation::Udp };
    let ids: Vec<SaId> = databases.usages().map(|usage| usage.sa).collect();
    for sa in &ids {
        databases.apply(SaOp::MoveSa { sa: *sa, outer }).expect("it exists");
    }
    assert_eq!(seal(&databases), [0, 0, 0, 2]);
    let tables = databases.tables();
    assert_eq!(protecting_sa(&tables, &v4(b"x")).outer(), outer);
    assert_eq!(tables.inbound(SPI).map(|sa| sa.outer()), Some(outer));

    // Its old name still is its name; the address where it is now names it as well.
    assert_eq!(databases.usages().map(|usage| usage.sa).collect::<Vec<_>>(), ids);
    let renamed = SaId { destination: remote.ip(), ..outbound(0x1000).id() };
    assert!(databases.usage(renamed).is_some());
    databases.apply(SaOp::RemoveSa(renamed)).expect("it goes by this name too");
    databases.apply(SaOp::RemoveSa(incoming.id())).expect("it exists");
    assert_eq!(databases.usages().count(), 0);
}

#[test]
fn peers_may_choose_the_same_spi() {
    let mut databases = databases();
    let mut other = outbound(0x1000);
    other.outer.remote = "192.0.2.77:4500".parse().expect("an address");
    install(&mut databases, &outbound(0x1000)).expect("a valid SA");
    install(&mut databases, &other).expect("another peer's SA");
    databases.apply(SaOp::RemoveSa(other.id())).expect("it exists");
    assert_eq!(databases.usages().map(|usage| usage.sa).collect::<Vec<_>>(), [outbound(0x1000).id()]);
}

#[test]
fn what_cannot_be_done_is_rejected_in_a_sentence() {
    let mut databases = left(PolicyAction::Protect);
    install(&mut databases, &outbound(0x1000)).expect("a valid SA");
    install(&mut databases, &inbound(SPI)).expect("a valid SA");
    let base = outbound(0x3000);
    let faulty = [
        (
            SaSpec { protocol: Protocol::Ah, ..base.clone() },
            "AH is not supported by the user-space data plane",
        ),
        (
            SaSpec { mode: Mode::Transport, ..base.clone() },
            "TRANSPORT mode is not supported by the user-space data plane",
        ),
        (SaSpec { spi: Spi(255), ..base.clone() }, "the SPI 000000ff is reserved"),
        (
            SaSpec { replay_window: limits::REPLAY_WINDOW + 1, ..base.clone() },
            "a replay window of 4097 packets is more than 4096",
        ),
        (
            SaSpec { protection: suite("aes256gcm16"), ..base.clone() },
            "the keys cannot be used: a key of 36 octets was expected, 20 octets were given",
        ),
        (SaSpec { selectors: Vec::new(), ..base.clone() }, "no traffic selector is given"),
        (
            SaSpec { selectors: vec![pair("10.0.0.0/8", "::/0")], ..base.clone() },
            "the traffic selectors 10.0.0.0/8 <-> ::/0 mix address families",
        ),
        (outbound(0x1000), "there is already an Outbound SA 00001000 to 203.0.113.2"),
        (inbound(SPI), "there is already an Inbound SA 00123456 to 203.0.113.2"),
    ];
    for (spec, sentence) in faulty {
        assert_eq!(
            install(&mut databases, &spec).map_err(|rejection| rejection.to_string()),
            Err(sentence.into())
        );
    }
    let unknown = base.id();
    for op in [
        SaOp::RemoveSa(unknown),
        SaOp::UseOutbound { policy: POLICY, sa: unknown },
        SaOp::MoveSa { sa: unknown, outer: base.outer },
    ] {
        assert_eq!(databases.apply(op), Err(Rejection::UnknownSa(unknown)));
    }
    let stranger = sa::PolicyId(99);
    for op in
        [SaOp::RemovePolicy(stranger), SaOp::UseOutbound { policy: stranger, sa: outbound(0x1000).id() }]
    {
        assert_eq!(databases.apply(op), Err(Rejection::UnknownPolicy(stranger)));
    }
    assert_eq!(databases.usages().count(), 2);
}

#[test]
fn drop_counters_outlive_snapshots() {
    let mut databases = databases();
    databases.tables().drops().count(DropReason::UnknownSpi);
    install(&mut databases, &inbound(SPI)).expect("a valid SA");
    databases.tables().drops().count(DropReason::UnknownSpi);
    assert_eq!(databases.drops().of(DropReason::UnknownSpi), 2);
}
