//! What quick modes of IKEv1 agree on beside one ESP: bundles between two Keyways, and with strongSwan lifetimes, of phase 1, too.

use std::time::Duration;

use interop::Implementation::{Keyway, StrongSwan};
use interop::{CONNECTION, Capture, End, Family, Pair, Result, Tunnel, Wire, until};

const PATIENCE: Duration = Duration::from_secs(20);

fn version_1(esp: &str) -> Tunnel {
    Tunnel { version: 1, inside: vec![Family::V4], ..Tunnel::default() }.suite("aes256-sha256-ecp256", esp)
}

/// No peer of the laboratory puts AH around ESP by IKE any more: two Keyways do, compressed and not, and tshark reads it.
#[test]
fn ah_goes_around_esp_between_two_keyways() -> Result<()> {
    for (outside, lines) in [
        (Family::V4, &["ah_proposals = sha512"][..]),
        (Family::V6, &["ah_proposals = sha384", "ipcomp = yes"]),
    ] {
        let mut tunnel = Tunnel { outside, ..version_1("aes128-sha256-ecp256") }.child_line("bundle = yes");
        for line in lines {
            tunnel = tunnel.child_line(line);
        }
        let pair = Pair::new(Wire::Plain, Keyway, Keyway, &tunnel)?;
        let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
        pair.initiate(End::A)?;
        pair.carry(&tunnel)?;
        for end in [End::A, End::B] {
            pair.rekey_child(end)?;
            pair.carry(&tunnel)?;
        }
        let recording = capture.finish()?;
        assert!(recording.count("ah && esp")? > 100);
        assert_eq!(recording.count("(ah || esp) && !(ah && esp)")?, 0);
        assert_eq!(recording.leaks()?, 0);
        pair.terminate(End::B)?;
        pair.lab.dismantle();
    }
    Ok(())
}

/// strongSwan names no kilobytes in IKEv1 and would keep a Child SA for hours; our limits are kept whoever began.
#[test]
fn a_child_of_strongswans_is_replaced_once_it_has_carried_enough() -> Result<()> {
    let tunnel = version_1("aes128gcm16");
    for (a, b) in [(Keyway, StrongSwan), (StrongSwan, Keyway)] {
        let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
        let ours = if a == Keyway { End::A } else { End::B };
        let limited = tunnel.clone().child_line("life_bytes = 200000").child_line("rekey_bytes = 100000");
        pair.gateway(ours).configure(&limited.text(&pair.lab, ours))?;
        pair.initiate(End::A)?;
        let before = pair.settled()?;
        pair.carry(&tunnel)?;
        until(PATIENCE, "the next Child SA", || {
            pair.carry(&tunnel).is_ok() && pair.settled().is_ok_and(|now| now.child != before.child)
        })?;
        pair.terminate(End::A)?;
        pair.lab.dismantle();
    }
    Ok(())
}

/// A Keyway that keeps phase 1 for less than it is offered says so in message 6 (RFC 2407 §4.6.3.1), which strongSwan reads and
/// lives well with.
#[test]
fn strongswan_hears_that_phase_1_is_shorter() -> Result<()> {
    let tunnel = version_1("aes128gcm16");
    let pair = Pair::new(Wire::Plain, StrongSwan, Keyway, &tunnel)?;
    let shorter = tunnel.clone().connection_line("rekey_time = 20m").connection_line("over_time = 10m");
    pair.b.configure(&shorter.text(&pair.lab, End::B))?;
    pair.initiate(End::A)?;
    pair.settled()?;
    pair.carry(&tunnel)?;
    // It has no name for it in version 1.
    let log = pair.a.log();
    assert!(log.contains("parsed ID_PROT response 0 [ ID HASH N((24576)) ]"), "{log}");
    pair.a.rekey_ike(CONNECTION)?;
    let said = |pair: &Pair| pair.a.log().matches("N((24576))").count() > 1;
    until(PATIENCE, "it to be said of the next phase 1", || said(&pair))?;
    pair.carry(&tunnel)?;
    pair.terminate(End::A)?;
    pair.lab.dismantle();
    Ok(())
}
