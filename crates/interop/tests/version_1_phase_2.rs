//! What quick modes of IKEv1 agree on beside one ESP: bundles between two Keyways, and with strongSwan lifetimes.

use interop::Implementation::{Keyway, StrongSwan};
use interop::{Capture, End, Family, Pair, Result, Tunnel, Wire};

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
        interop::until(std::time::Duration::from_secs(20), "the next Child SA", || {
            pair.carry(&tunnel).is_ok() && pair.settled().is_ok_and(|now| now.child != before.child)
        })?;
        pair.terminate(End::A)?;
        pair.lab.dismantle();
    }
    Ok(())
}
