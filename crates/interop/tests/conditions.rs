//! Bad wires and second thoughts: loss, fragments, the wrong group first, packets before the tunnel, narrowed selectors.

use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::traffic::Ping;
use interop::{CHILD, Capture, End, Family, Pair, Result, Tunnel, Wire, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Thirty packets of a hundred are lost each way, fragments of IKE_AUTH among them, and the tunnel comes up and is
/// rekeyed.
fn comes_up_through_loss(a: Implementation, b: Implementation) -> Result<()> {
    let tunnel = Tunnel::default();
    let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    for _ in 0..3 {
        pair.lab.lose(30)?;
        pair.initiate(End::A)?;
        pair.rekey_child(End::A)?;
        pair.lab.lose(0)?;
        pair.carry(&tunnel)?;
        pair.terminate(End::A)?;
    }
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn comes_up_through_loss_keyway_to_strongswan() -> Result<()> {
    comes_up_through_loss(Keyway, StrongSwan)
}

#[test]
fn comes_up_through_loss_strongswan_to_keyway() -> Result<()> {
    comes_up_through_loss(StrongSwan, Keyway)
}

#[test]
fn comes_up_through_loss_keyway_to_keyway() -> Result<()> {
    comes_up_through_loss(Keyway, Keyway)
}

/// The initiator's first proposal names a group that the responder does not take: INVALID_KE_PAYLOAD, and once more.
fn the_wrong_group_first(a: Implementation, b: Implementation) -> Result<()> {
    let asks = Tunnel::default()
        .suite("aes256gcm16-prfsha256-ecp521-x25519", "aes256gcm16-ecp521, aes256gcm16-x25519");
    let takes = Tunnel::default().suite("aes256gcm16-prfsha256-x25519", "aes256gcm16-x25519");
    let pair = Pair::new(Wire::Plain, a, b, &takes)?;
    pair.a.configure(&asks.text(&pair.lab, End::A))?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;

    pair.initiate(End::A)?;
    pair.settled()?;
    // And once more in CREATE_CHILD_SA, for the Child SA's and then for the IKE SA's group.
    pair.rekey_child(End::A)?;
    pair.rekey_ike(End::A)?;
    pair.carry(&takes)?;

    let recording = capture.finish()?;
    // IKE_SA_INIT is exchange 34, N(INVALID_KE_PAYLOAD) type 17.
    assert_eq!(recording.count("isakmp.exchangetype == 34 && isakmp.flag_r == 0")?, 2);
    assert_eq!(recording.count("isakmp.notify.msgtype == 17")?, 1);
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn the_wrong_group_first_keyway_to_strongswan() -> Result<()> {
    the_wrong_group_first(Keyway, StrongSwan)
}

#[test]
fn the_wrong_group_first_strongswan_to_keyway() -> Result<()> {
    the_wrong_group_first(StrongSwan, Keyway)
}

#[test]
fn the_wrong_group_first_keyway_to_keyway() -> Result<()> {
    the_wrong_group_first(Keyway, Keyway)
}

/// IKE_AUTH is cut into fragments (RFC 7383), which an encrypted fragment payload (53) shows on the wire.
fn fragments(a: Implementation, b: Implementation) -> Result<()> {
    let tunnel = Tunnel { inside: vec![Family::V4, Family::V6], ..Tunnel::default() }
        .connection_line("fragmentation = yes");
    let pair = Pair::new(Wire::Nat, a, b, &tunnel)?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;

    pair.initiate(End::A)?;
    pair.carry(&tunnel)?;

    let recording = capture.finish()?;
    let cut = recording.count("isakmp.exchangetype == 35 && isakmp.nextpayload == 53")?;
    assert!(cut >= 2, "{cut} fragments of IKE_AUTH");
    assert_eq!(recording.leaks()?, 0);
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn fragments_keyway_to_strongswan() -> Result<()> {
    fragments(Keyway, StrongSwan)
}

#[test]
fn fragments_strongswan_to_keyway() -> Result<()> {
    fragments(StrongSwan, Keyway)
}

/// With `start_action = trap` the first packet brings the tunnel up; nothing goes out in the clear before.
fn a_packet_starts_the_tunnel(wire: Wire, a: Implementation, b: Implementation) -> Result<()> {
    let tunnel = Tunnel::default();
    let pair = Pair::new(wire, a, b, &tunnel)?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
    pair.a.configure(&tunnel.clone().child_line("start_action = trap").text(&pair.lab, End::A))?;

    let ping = Ping::run(&pair.lab.a.host, pair.lab.b.host_address(Family::V4), 40, 20)?;
    pair.settled()?;
    pair.carry(&tunnel)?;

    assert!(ping.received >= 20, "{ping:?}");
    assert_eq!(capture.finish()?.leaks()?, 0);
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn a_packet_starts_the_tunnel_keyway_to_strongswan() -> Result<()> {
    a_packet_starts_the_tunnel(Wire::Plain, Keyway, StrongSwan)
}

#[test]
fn a_packet_starts_the_tunnel_keyway_to_keyway_through_nat() -> Result<()> {
    a_packet_starts_the_tunnel(Wire::Nat, Keyway, Keyway)
}

/// The responder offers less than the initiator asked for, and both use what they have in common.
fn selectors_are_narrowed(a: Implementation, b: Implementation) -> Result<()> {
    let tunnel = Tunnel::default();
    let wide = Tunnel { remote_selectors: Some("10.2.0.0/16".to_owned()), ..tunnel.clone() };
    let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    pair.a.configure(&wide.text(&pair.lab, End::A))?;

    pair.initiate(End::A)?;
    pair.settled()?;
    pair.carry(&tunnel)?;

    assert_eq!(pair.a.sas()?[0].children[0].field("remote-ts"), "10.2.0.0/24");
    assert_eq!(pair.b.sas()?[0].children[0].field("local-ts"), "10.2.0.0/24");
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn selectors_are_narrowed_keyway_to_strongswan() -> Result<()> {
    selectors_are_narrowed(Keyway, StrongSwan)
}

#[test]
fn selectors_are_narrowed_strongswan_to_keyway() -> Result<()> {
    selectors_are_narrowed(StrongSwan, Keyway)
}

/// Neither end sees anything of the other but IKE and ESP, and the capture can tell: with no tunnel it is ESP that lacks.
#[test]
fn only_ike_and_esp_cross_the_wire() -> Result<()> {
    let tunnel = Tunnel::default();
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &tunnel)?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
    pair.initiate(End::A)?;
    pair.carry(&tunnel)?;
    pair.terminate(End::B)?;
    until(PATIENCE, "no SA of the child", || pair.a.sas().is_ok_and(|sas| sas.is_empty()))?;
    // After the tunnel is gone its policy still stands: packets for the other side are dropped, not sent in the clear.
    let ping = Ping::run(&pair.lab.a.host, pair.lab.b.host_address(Family::V4), 3, 20)?;

    let recording = capture.finish()?;
    assert_eq!(ping.received, 0);
    assert_eq!(recording.leaks()?, 0);
    assert_eq!(recording.count("!isakmp && !esp && !arp && !icmpv6 && !udpencap")?, 0);
    assert!(recording.count("esp")? > 50);
    pair.lab.dismantle();
    Ok(())
}

/// The child's name is one of the connection's; another is no silent success.
#[test]
fn an_unknown_child_is_refused() -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &Tunnel::default())?;
    let answer = pair.a.initiate("nett")?;
    assert_ne!(answer.code, Some(0));
    assert!(answer.stderr.contains("nett") && answer.stderr.contains(CHILD), "{answer:?}");
    pair.lab.dismantle();
    Ok(())
}
