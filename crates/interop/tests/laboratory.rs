//! The laboratory itself, proved with two peers that we did not write: if this fails, no other result counts.

use std::time::Duration;

use interop::traffic::{self, Pace, Ping, Transfer};
use interop::{
    CHILD, CONNECTION, Capture, Cut, End, Family, Implementation, Lab, Result, Tunnel, Wire, until,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn cables_carry_both_families_and_the_nat_hides_site_a() -> Result<()> {
    let lab = Lab::new(Wire::Nat)?;
    let from_behind_nat = Ping::run(&lab.a.gateway, lab.b.outside(Family::V4), 3, 50)?;
    let over_v6 = Ping::run(&lab.b.gateway, lab.a.outside(Family::V6), 3, 50)?;
    let unprotected = Ping::run(&lab.a.host, lab.b.host_address(Family::V4), 2, 50)?;

    assert_eq!((from_behind_nat.received, over_v6.received), (3, 3));
    assert_eq!(unprotected.received, 0, "the wire must not know the inner networks");
    lab.dismantle();
    Ok(())
}

#[test]
fn a_cut_wire_and_a_lossy_one() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let peer = lab.b.outside(Family::V4);

    lab.lose(30)?;
    let lossy = Ping::run(&lab.a.gateway, peer, 200, 500)?;
    lab.lose(0)?;
    let whole = Ping::run(&lab.a.gateway, peer, 50, 500)?;
    lab.cut(Cut::Open)?;
    let cut = Ping::run(&lab.a.gateway, peer, 2, 50)?;
    lab.cut(Cut::Mended)?;
    let mended = Ping::run(&lab.a.gateway, peer, 20, 50)?;

    // 0.7 of the requests and of the answers: 0.49, and six standard deviations around it.
    assert!((56..=140).contains(&lossy.received), "{lossy:?}");
    assert_eq!((whole.received, cut.received), (50, 0));
    assert!(mended.received > 10, "{mended:?}");
    lab.dismantle();
    Ok(())
}

#[test]
fn two_strongswans_through_a_nat() -> Result<()> {
    let lab = Lab::new(Wire::Nat)?;
    let tunnel = Tunnel { inside: vec![Family::V4, Family::V6], ..Tunnel::default() };
    let a = Implementation::StrongSwan.start_with(&lab, End::A, &tunnel)?;
    let b = Implementation::StrongSwan.start_with(&lab, End::B, &tunnel)?;
    let capture = Capture::start(&lab, End::B, &lab.directory().join("wire.pcapng"))?;

    a.initiate(CHILD)?.success()?;
    for family in [Family::V4, Family::V6] {
        let address = lab.b.host_address(family);
        assert_eq!(Ping::run(&lab.a.host, address, 20, 100)?.received, 20);
        Transfer::run(&lab.a.host, &lab.b.host, address, 1 << 20, Pace::Unlimited)?;
        assert_eq!(traffic::echo_udp(&lab.a.host, &lab.b.host, address, 20, 900)?, 20);
    }
    let before = b.sas()?;
    assert_eq!(before[0].field("remote-host"), lab.seen_address(End::A, Family::V4).to_string());
    a.rekey_ike(CONNECTION)?;
    until(PATIENCE, "the IKE SA to be rekeyed", || {
        b.sas()
            .is_ok_and(|sas| sas.len() == 1 && sas[0].is_established() && sas[0].spis() != before[0].spis())
    })?;
    b.rekey_child(CHILD)?;
    until(PATIENCE, "the Child SA to be rekeyed", || {
        b.sas().is_ok_and(|sas| {
            sas[0].children.len() == 1 && sas[0].children[0].spis() != before[0].children[0].spis()
        })
    })?;
    a.terminate(CONNECTION)?;
    assert!(b.sas()?.is_empty());
    let recording = capture.finish()?;
    assert_eq!(recording.leaks()?, 0);
    assert!(recording.count("isakmp")? >= 10 && recording.count("esp")? > 100);
    lab.dismantle();
    Ok(())
}
