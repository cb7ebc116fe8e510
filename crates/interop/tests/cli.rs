//! The command line against a running daemon, and what the daemon leaves on the host.

use interop::Implementation::{Keyway, StrongSwan};
use interop::{CHILD, CONNECTION, End, Failure, Family, Gateway, Lab, Namespace, Result, Tunnel, Wire};
use serde_json::Value;

/// A tunnel's life with nothing but `keyway`: each command says what it did, and `status --json` what is true then.
#[test]
fn a_tunnels_life() -> Result<()> {
    let tunnel = Tunnel::default();
    let lab = Lab::new(Wire::Nat)?;
    let a = interop::Keyway::start(&lab, End::A)?;
    a.configure(&tunnel.text(&lab, End::A))?;
    let b = StrongSwan.start_with(&lab, End::B, &tunnel)?;
    let json = || -> Result<Value> {
        let text = a.command(&["status", "--json"])?.success()?;
        serde_json::from_str(&text).map_err(Failure::at(text))
    };
    assert_eq!(json()?["ike_sas"], Value::Array(Vec::new()));

    let up = a.command(&["up", CHILD])?.success()?;
    assert!(up.contains("net is up") && up.contains("b.example.org"), "{up}");
    interop::traffic::Ping::run(&lab.a.host, lab.b.host_address(Family::V4), 10, 100)?;
    let status = json()?;
    let ike = &status["ike_sas"][0];
    assert_eq!((ike["name"].as_str(), ike["state"].as_str()), (Some(CONNECTION), Some("ESTABLISHED")));
    let child = &ike["child_sas"][0];
    assert_eq!((child["name"].as_str(), child["state"].as_str()), (Some(CHILD), Some("INSTALLED")));
    for direction in ["inbound", "outbound"] {
        assert_eq!(child[direction]["packets"].as_u64(), Some(10), "{child:#}");
    }
    // A person is told the same, and that there is a NAT.
    let text = a.command(&["status"])?.success()?;
    for word in ["a.example.org", "b.example.org", "10.1.0.0/24", "10.2.0.0/24", "NAT"] {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }

    a.command(&["rekey", CHILD])?.success()?;
    a.command(&["rekey", CONNECTION, "--ike"])?.success()?;
    let rekeyed = json()?;
    let now = &rekeyed["ike_sas"][0];
    assert_ne!(now["initiator_spi"], ike["initiator_spi"], "{rekeyed:#}");
    a.command(&["down", CHILD])?.success()?;
    a.command(&["down", CONNECTION, "--ike"])?.success()?;
    assert_eq!(json()?["ike_sas"], Value::Array(Vec::new()));
    assert_ne!(a.command(&["down", CHILD])?.code, Some(0), "there is nothing to take down any more");
    drop(b);
    lab.dismantle();
    Ok(())
}

/// Links, rules and routes of a namespace.
fn host_state(namespace: &Namespace) -> Result<String> {
    let mut state = String::new();
    for arguments in [
        &["-o", "link"][..],
        &["rule"],
        &["-6", "rule"],
        &["route", "show", "table", "all"],
        &["-6", "route", "show", "table", "all"],
    ] {
        state.push_str(&namespace.run("ip", arguments)?);
    }
    Ok(state)
}

/// Everything that the daemon added to the host is gone when it is stopped, also what one added that was killed.
#[test]
fn the_host_is_left_as_it_was() -> Result<()> {
    let tunnel = Tunnel::default();
    let lab = Lab::new(Wire::Plain)?;
    let before = host_state(&lab.a.gateway)?;
    let mut a = interop::Keyway::start(&lab, End::A)?;
    a.configure(&tunnel.text(&lab, End::A))?;
    let _b = Keyway.start_with(&lab, End::B, &tunnel)?;

    a.command(&["up", CHILD])?.success()?;
    assert!(host_state(&lab.a.gateway)?.contains("keyway0"), "the tunnel has a device");
    a.stop()?;
    assert_eq!(host_state(&lab.a.gateway)?, before, "after a stop");

    a.start()?;
    a.configure(&tunnel.text(&lab, End::A))?;
    a.command(&["up", CHILD])?.success()?;
    a.kill();
    a.start()?;
    a.stop()?;
    assert_eq!(host_state(&lab.a.gateway)?, before, "after a crash, a start and a stop");
    lab.dismantle();
    Ok(())
}
