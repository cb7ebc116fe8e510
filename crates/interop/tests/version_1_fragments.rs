//! IKEv1 in fragments of payload 132 with strongSwan, in both roles: `fragment_size` is 256 at both ends.

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{CHILD, Capture, End, Family, Pair, Result, Tunnel, Wire};

fn tunnel(fragmentation: &str) -> Tunnel {
    let tunnel = Tunnel { version: 1, ..Tunnel::default() };
    let tunnel = tunnel.suite("aes256-sha256-modp3072", "aes128gcm16-modp3072");
    tunnel.connection_line(&format!("fragmentation = {fragmentation}"))
}

/// Both phases go in fragments from both ends, behind a NAT and without one; so does a rekeying from either end.
fn in_fragments(wire: Wire, a: Implementation, b: Implementation, fragmentation: &str) -> Result<()> {
    let tunnel = tunnel(fragmentation);
    let pair = Pair::new(wire, a, b, &tunnel)?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
    pair.initiate(End::A)?;
    pair.carry(&tunnel)?;
    for end in [End::A, End::B] {
        pair.gateway(end).rekey_child(CHILD)?;
        pair.carry(&tunnel)?;
    }
    let recording = capture.finish()?;
    for exchange in ["2", "32"] {
        for end in [End::A, End::B] {
            let from = pair.lab.seen_address(end, Family::V4);
            let of = format!("ip.src == {from} && isakmp.exchangetype == {exchange}");
            let cut = recording.count(&format!("{of} && isakmp.nextpayload == 132"))?;
            assert!(cut >= 2, "{cut} fragments of exchange {exchange} from {from}");
        }
    }
    // Only the first two messages go before either end knows that the other puts fragments together.
    assert_eq!(recording.count("isakmp && udp.length > 300 && isakmp.exchangetype == 32")?, 0);
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn keyway_initiates_to_strongswan() -> Result<()> {
    in_fragments(Wire::Plain, Keyway, StrongSwan, "yes")
}

#[test]
fn strongswan_initiates_to_keyway() -> Result<()> {
    in_fragments(Wire::Plain, StrongSwan, Keyway, "yes")
}

#[test]
fn keyway_initiates_to_strongswan_through_nat_by_force() -> Result<()> {
    in_fragments(Wire::Nat, Keyway, StrongSwan, "force")
}

#[test]
fn strongswan_initiates_to_keyway_through_nat_by_force() -> Result<()> {
    in_fragments(Wire::Nat, StrongSwan, Keyway, "force")
}

/// A peer that announces nothing gets no fragments.
#[test]
fn nothing_is_cut_for_a_strongswan_that_does_not_want_it() -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, StrongSwan, &tunnel("no"))?;
    pair.a.configure(&tunnel("yes").text(&pair.lab, End::A))?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
    pair.initiate(End::A)?;
    pair.carry(&tunnel("yes"))?;
    assert_eq!(capture.finish()?.count("isakmp.nextpayload == 132")?, 0);
    pair.lab.dismantle();
    Ok(())
}
