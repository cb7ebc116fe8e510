//! Orders, one after the other, and what workers see of them.

mod common;

use std::net::SocketAddr;

use common::*;
use ipsec::{Databases, DropReason, Rejection, Tables, Usage, Verdict, limits};
use sa::transform::INTEGRITY;
use sa::{
    DeviceId, Direction, Encapsulation, Esn, Handling, Mode, Outer, PolicyAction, Protection, Protocol, SaId,
    SaOp, SaSpec, Spi,
};

fn outbound(spi: u32) -> SaSpec {
    SaSpec { spi: Spi(spi), ..spec(Direction::Outbound, suite("aes128gcm16"), Esn::No) }
}

fn inbound(spi: Spi) -> SaSpec {
    SaSpec { spi, ..spec(Direction::Inbound, suite("aes128gcm16"), Esn::No) }
}

fn ah(spi: u32, encapsulation: Encapsulation) -> SaSpec {
    let protection = Protection::Authenticated(&INTEGRITY[0]);
    let esp = spec(Direction::Outbound, protection, Esn::No);
    let outer = Outer { encapsulation, ..esp.outer };
    SaSpec { protocol: Protocol::Ah, mode: Mode::Transport, spi: Spi(spi), outer, ..esp }
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
    match tables.classify(&flow(&v4(b"x")), None) {
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
    assert_eq!(verdict(&databases.tables()), Err("Unselected".to_owned()));
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
        assert_eq!(tables.inbound(Protocol::Esp, *spi).map(|sa| sa.spi()), Ok(*spi));
    }
    for stranger in [Spi(0), Spi(0xabc0_0001), Spi(0x0002_f000), Spi(0xffd0_0100)] {
        assert!(tables.inbound(Protocol::Esp, stranger).is_err());
    }
    for spi in &spis {
        databases.apply(SaOp::RemoveSa(inbound(*spi).id())).expect("it exists");
    }
    assert!(spis.iter().all(|spi| databases.tables().inbound(Protocol::Esp, *spi).is_err()));
    assert!(
        spis.iter().all(|spi| tables.inbound(Protocol::Esp, *spi).is_ok()),
        "a snapshot keeps what it had"
    );
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
    assert!(databases.tables().inbound(Protocol::Esp, kept).is_ok());
    // One whose negotiation took very long finds a place all the same.
    install(&mut databases, &inbound(early)).expect("a valid SA");
    assert!(databases.tables().inbound(Protocol::Esp, early).is_ok());
}

#[test]
fn a_reservation_ends_with_the_removal_of_an_sa_that_never_came() {
    let mut databases = databases();
    let reserved = databases.allocate_spi(1).expect("many are left");
    assert!(databases.tables().inbound(Protocol::Esp, reserved).is_err());
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
    assert_eq!(tables.inbound(Protocol::Esp, SPI).map(|sa| sa.outer()), Ok(outer));

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
fn both_protocols_may_have_the_same_spi_at_a_peer() {
    let mut databases = databases();
    let (esp, ah) = (outbound(0x1000), ah(0x1000, Encapsulation::None));
    install(&mut databases, &esp).expect("a valid SA");
    install(&mut databases, &ah).expect("a valid SA of the other protocol");
    databases.apply(SaOp::RemoveSa(esp.id())).expect("it exists");
    assert_eq!(databases.usages().map(|usage| usage.sa).collect::<Vec<_>>(), [ah.id()]);
    // Inbound, an SPI is one SA's whatever its protocol.
    install(&mut databases, &inbound(SPI)).expect("a valid SA");
    let other = SaSpec { direction: Direction::Inbound, ..ah };
    let same_spi = SaSpec { spi: SPI, ..other };
    assert_eq!(install(&mut databases, &same_spi), Err(Rejection::DuplicateSa(same_spi.id())));
}

#[test]
fn an_sa_without_its_wrapper_carries_nothing() {
    let mut databases = left(PolicyAction::Protect);
    let wrapper = ah(0x2000, Encapsulation::None);
    let esp = SaSpec {
        outer: Outer { encapsulation: Encapsulation::None, ..outbound(0).outer },
        handling: Handling { wrapped_by: Some(wrapper.id()), ..Handling::default() },
        ..outbound(0x1000)
    };
    install(&mut databases, &wrapper).expect("a valid SA");
    install(&mut databases, &esp).expect("its wrapper is there");
    use_outbound(&mut databases, &esp);
    assert_eq!(verdict(&databases.tables()), Ok(esp.spi));
    databases.apply(SaOp::RemoveSa(wrapper.id())).expect("it exists");
    assert_eq!(verdict(&databases.tables()), Err("Discard(NoSa)".into()));
    databases.apply(SaOp::RemoveSa(esp.id())).expect("it exists");
}

#[test]
fn an_sa_tells_how_its_packets_are_treated_outside() {
    let mut databases = left(PolicyAction::Protect);
    let handling = Handling { device: Some(DeviceId(5)), mark: 0x17, ..Handling::default() };
    let (going, coming) =
        (SaSpec { handling: handling.clone(), ..outbound(0x1000) }, SaSpec { handling, ..inbound(SPI) });
    install(&mut databases, &going).expect("a valid SA");
    install(&mut databases, &coming).expect("a valid SA");
    use_outbound(&mut databases, &going);
    let tables = databases.tables();
    let sa = protecting_sa(&tables, &v4(b"x"));
    assert_eq!((sa.device(), sa.mark()), (Some(DeviceId(5)), 0x17));
    assert_eq!(tables.inbound(Protocol::Esp, SPI).map(|sa| sa.device()), Ok(Some(DeviceId(5))));
}

#[test]
fn what_cannot_be_done_is_rejected_in_a_sentence() {
    let mut databases = left(PolicyAction::Protect);
    install(&mut databases, &outbound(0x1000)).expect("a valid SA");
    install(&mut databases, &inbound(SPI)).expect("a valid SA");
    let base = outbound(0x3000);
    let two_families = Outer { remote: "[2001:db8::2]:4500".parse().expect("an address"), ..base.outer };
    let wrapped_by = |wrapper: SaId| SaSpec {
        outer: Outer { encapsulation: Encapsulation::None, ..base.outer },
        handling: Handling { wrapped_by: Some(wrapper), ..Handling::default() },
        ..base.clone()
    };
    let faulty = [
        (SaSpec { protocol: Protocol::Ah, ..base.clone() }, "AH cannot protect with aes128gcm16"),
        (ah(0x3000, Encapsulation::Udp), "AH cannot be encapsulated in UDP"),
        (
            SaSpec { outer: two_families, ..base.clone() },
            "the outer addresses 203.0.113.1 and 2001:db8::2 are of different families",
        ),
        (
            SaSpec { mode: Mode::Beet, ..base.clone() },
            "the selectors of a BEET SA must name one address at each end",
        ),
        (
            wrapped_by(outbound(0x1000).id()),
            "Outbound SA 00001000 is no AH SA in transport mode that could carry another",
        ),
        (wrapped_by(ah(0x4000, Encapsulation::None).id()), "there is no Outbound SA 00004000 to 203.0.113.2"),
        (SaSpec { spi: Spi(255), ..base.clone() }, "the SPI 000000ff is reserved"),
        (
            SaSpec { replay_window: limits::REPLAY_WINDOW + 1, ..base.clone() },
            "a replay window of 65537 packets is more than 65536",
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
fn each_sa_tells_why_its_packets_were_dropped() {
    let mut databases = left(PolicyAction::Protect);
    for spec in [outbound(0x1000), inbound(SPI)] {
        install(&mut databases, &spec).expect("a valid SA");
    }
    use_outbound(&mut databases, &outbound(0x1000));
    let tables = databases.tables();
    let received = tables.inbound(Protocol::Esp, SPI).expect("just installed");
    assert!(received.open(&mut buffer(&[0; 7]), &datagram(0)).is_err());
    assert!(protecting_sa(&tables, &v4(b"x")).seal(&mut buffer(&[0x45])).is_err());
    let drops = |id: SaId| {
        let counts = databases.drops_of(id)?.iter().filter(|(_, count)| *count > 0);
        Some(counts.collect::<Vec<_>>())
    };
    assert_eq!(drops(inbound(SPI).id()), Some(vec![(DropReason::MalformedEsp, 1)]));
    assert_eq!(drops(outbound(0x1000).id()), Some(vec![(DropReason::MalformedInner, 1)]));
    assert_eq!(drops(outbound(0x2000).id()), None);
    assert_eq!(databases.usage(inbound(SPI).id()).map(|usage| usage.dropped), Some(1));
}

#[test]
fn drop_counters_outlive_snapshots() {
    let mut databases = databases();
    databases.tables().drops().count(DropReason::UnknownSpi);
    install(&mut databases, &inbound(SPI)).expect("a valid SA");
    databases.tables().drops().count(DropReason::UnknownSpi);
    assert_eq!(databases.drops().of(DropReason::UnknownSpi), 2);
}
