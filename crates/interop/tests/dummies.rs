//! Dummy packets (RFC 4303 §2.6): an idle tunnel is busy, and the peer, whoever made it, throws them away.

use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{Capture, End, Pair, Result, Tunnel, Wire, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Enough that nobody sends them by accident.
const MANY: u64 = 50;

fn an_idle_tunnel_is_busy(b: Implementation) -> Result<()> {
    let tunnel = Tunnel::default().connection_line("encap = yes");
    let pair = Pair::new(Wire::Plain, Keyway, b, &tunnel)?;
    let busy = tunnel.clone().child_line("tfc_dummies = 100").child_line("tfc_padding = mtu");
    pair.a.configure(&busy.text(&pair.lab, End::A))?;
    let capture = Capture::start(&pair.lab, End::A, &pair.lab.directory().join("wire.pcapng"))?;
    pair.initiate(End::A)?;

    let sent = || Some(pair.a.sas().ok()?.first()?.children.first()?.number("packets-out"));
    until(PATIENCE, "many dummies", || sent().is_some_and(|sent| sent >= MANY))?;
    // What is no dummy passes between them, also after a rekeying.
    pair.carry(&tunnel)?;
    pair.rekey_child(End::A)?;
    pair.carry(&tunnel)?;
    until(PATIENCE, "many dummies", || sent().is_some_and(|sent| sent >= MANY))?;

    let recording = capture.finish()?;
    let from_a = format!("esp && ip.src == {}", pair.lab.a.outside(tunnel.outside));
    assert!(recording.count(&from_a)? as u64 > 2 * MANY);
    let lengths = recording.count(&format!("{from_a} && udp.length < 1400"))?;
    assert_eq!(lengths, 0, "all are as long as the path takes");
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn an_idle_tunnel_is_busy_keyway_to_keyway() -> Result<()> {
    an_idle_tunnel_is_busy(Keyway)
}

#[test]
fn an_idle_tunnel_is_busy_keyway_to_strongswan() -> Result<()> {
    an_idle_tunnel_is_busy(StrongSwan)
}
