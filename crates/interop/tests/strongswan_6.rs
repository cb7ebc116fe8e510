//! strongSwan of version 6, which lives in a root of its own.

use interop::Implementation::Keyway;
use interop::{End, Lab, Pair, Result, StrongSwan, Tunnel, Wire};

/// Keyway at a and strongSwan 6 at b, with their ends of a tunnel.
fn pair(tunnel: &Tunnel) -> Result<Pair> {
    let lab = Lab::new(Wire::Plain)?;
    let a = Keyway.start(&lab, End::A)?;
    let b = Box::new(StrongSwan::start_version_6(&lab, End::B)?);
    let pair = Pair { a, b, lab };
    println!("against {}", pair.b.swanctl().run(&["--version", "--daemon"])?.trim());
    pair.configure(tunnel)?;
    Ok(pair)
}

#[test]
fn strongswan6_and_we_share_a_tunnel() -> Result<()> {
    let tunnel = Tunnel::default();
    let pair = pair(&tunnel)?;
    for from in [End::A, End::B] {
        pair.initiate(from)?;
        pair.settled()?;
        pair.carry(&tunnel)?;
        pair.rekey_child(from)?;
        pair.rekey_ike(from.other())?;
        pair.carry(&tunnel)?;
        pair.terminate(from.other())?;
    }
    pair.lab.dismantle();
    Ok(())
}
