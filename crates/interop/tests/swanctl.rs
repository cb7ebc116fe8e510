//! Debian's own `swanctl` drives Keyway as it drives charon.

use std::time::Duration;

use interop::Implementation::{Keyway, StrongSwan};
use interop::{CHILD, CONNECTION, End, Failure, Lab, Pair, Process, Result, Tunnel, Wire};
use vici::{Client, Tree};

const PATIENCE: Duration = Duration::from_secs(20);

/// Loads, lists, initiates, rekeys and terminates, and looks at what is printed at every step.
#[test]
fn every_command() -> Result<()> {
    let tunnel = Tunnel::default();
    let pair = Pair::new(Wire::Plain, Keyway, StrongSwan, &tunnel)?;
    let swanctl = pair.a.swanctl();

    says(&swanctl.run(&["--version", "--daemon"])?, &["keyway", env!("CARGO_PKG_VERSION")]);
    says(&swanctl.run(&["--stats"])?, &["uptime", "IKE_SAs: 0 total"]);
    says(&swanctl.run(&["--list-algs"])?, &["AES_GCM_16", "CURVE_25519", "PRF_HMAC_SHA2_256"]);
    says(
        &swanctl.run(&["--list-conns"])?,
        &[
            "site: IKEv2",
            "192.0.2.1",
            "198.51.100.1",
            "pre-shared key",
            "a.example.org",
            "10.1.0.0/24",
            "10.2.0.0/24",
        ],
    );
    says(&swanctl.run(&["--initiate", "--child", CHILD])?, &["initiate completed successfully"]);
    says(
        &swanctl.run(&["--list-sas"])?,
        &[
            "site: #1, ESTABLISHED, IKEv2",
            "AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE_25519",
            "net: #1",
            "INSTALLED, TUNNEL",
            "10.1.0.0/24",
        ],
    );
    pair.carry(&tunnel)?;
    let before = pair.settled()?;
    says(&swanctl.run(&["--stats"])?, &["IKE_SAs: 1 total"]);

    says(&swanctl.run(&["--rekey", "--child", CHILD])?, &["rekey completed successfully"]);
    says(&swanctl.run(&["--rekey", "--ike", CONNECTION])?, &["rekey completed successfully"]);
    interop::until(PATIENCE, "both rekeyings", || {
        pair.settled().is_ok_and(|now| now.ike != before.ike && now.child != before.child)
    })?;
    pair.carry(&tunnel)?;

    says(&swanctl.run(&["--terminate", "--child", CHILD])?, &["terminate completed successfully"]);
    says(&swanctl.run(&["--terminate", "--ike", CONNECTION])?, &["terminate completed successfully"]);
    pair.empty()?;
    pair.lab.dismantle();
    Ok(())
}

/// A trap policy is installed, listed and taken away again.
#[test]
fn policies() -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &Tunnel::default())?;
    let swanctl = pair.a.swanctl();

    swanctl.run(&["--install", "--child", CHILD])?;
    says(&swanctl.run(&["--list-pols", "--trap"])?, &["site/net", "10.1.0.0/24", "10.2.0.0/24"]);
    swanctl.run(&["--uninstall", "--child", CHILD])?;
    assert!(!swanctl.run(&["--list-pols", "--trap"])?.contains("10.2.0.0/24"));
    pair.lab.dismantle();
    Ok(())
}

/// `--log` and `--monitor-sa` run on and print what happens.
#[test]
fn events() -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &Tunnel::default())?;
    let swanctl = pair.a.swanctl();
    let start = |name: &str, arguments: &[&str]| {
        let log = pair.lab.directory().join(format!("swanctl-{name}.log"));
        Process::start(name, &mut swanctl.follow(arguments), &log)
    };
    let mut log = start("log", &["--log"])?;
    let mut monitor = start("monitor", &["--monitor-sa", "--raw"])?;
    // Neither says when it is ready, so that it is told often enough.
    let talk = || -> Result<bool> {
        pair.initiate(End::A)?;
        pair.terminate(End::A)?;
        Ok(!log.log().is_empty() && monitor.log().contains("ike-updown"))
    };
    interop::until(PATIENCE, "both to have seen a tunnel", || talk().unwrap_or(false))?;

    pair.initiate(End::B)?;
    monitor.wait_for_text("child-updown event {up=yes", PATIENCE)?;
    log.wait_for_text("b.example.org", PATIENCE)?;
    pair.lab.dismantle();
    Ok(())
}

/// Debian's swanctl asks for two of the events only; this is a client that asks for the others too.
#[test]
fn rekey_events() -> Result<()> {
    let tunnel = Tunnel::default();
    let lab = Lab::new(Wire::Plain)?;
    let a = interop::Keyway::start(&lab, End::A)?;
    let mut client = Client::connect(a.socket())?;
    client.set_timeout(Some(PATIENCE))?;
    let pair = Pair { a: Box::new(a), b: Keyway.start(&lab, End::B)?, lab };
    pair.configure(&tunnel)?;
    for event in ["ike-updown", "child-updown", "ike-rekey", "child-rekey"] {
        client.register(event).map_err(Failure::at(event))?;
    }

    pair.initiate(End::A)?;
    pair.rekey_child(End::A)?;
    pair.rekey_ike(End::A)?;

    let mut next = |name: &str| -> Result<Tree> {
        let event = client.next_event().map_err(Failure::at(name))?;
        assert_eq!(event.name, name, "{event:?}");
        Ok(event.message.section(CONNECTION).expect("an event says whose it is").clone())
    };
    assert!(next("ike-updown")?.text("state").is_some());
    assert!(next("child-updown")?.section("child-sas").is_some());
    let children = next("child-rekey")?;
    let child = children.section("child-sas").and_then(|children| children.section(CHILD));
    let child = child.expect("the children are listed under their names");
    assert_ne!(spi(child, "old", "spi-in"), spi(child, "new", "spi-in"));
    let ike = next("ike-rekey")?;
    assert_ne!(spi(&ike, "old", "initiator-spi"), spi(&ike, "new", "initiator-spi"));
    pair.lab.dismantle();
    Ok(())
}

/// What swanctl sends that Keyway cannot do is refused with a reason.
#[test]
fn refusals() -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &Tunnel::default())?;
    let swanctl = pair.a.swanctl();

    for arguments in [
        ["--initiate", "--child", "nobody"],
        ["--terminate", "--ike", "nobody"],
        ["--rekey", "--child", "nobody"],
        ["--install", "--child", "nobody"],
    ] {
        let answer = swanctl.answer(&arguments)?;
        assert_ne!(answer.code, Some(0), "{answer:?}");
        assert!(answer.stderr.contains("failed"), "{answer:?}");
    }
    let unknown_key = Tunnel::default().connection_line("no_such_key = yes").text(&pair.lab, End::A);
    let refusal = pair.a.configure(&unknown_key).expect_err("an unknown key is an error").to_string();
    assert!(refusal.contains("no_such_key"), "{refusal}");
    // And what was there before is still there.
    pair.initiate(End::A)?;
    pair.lab.dismantle();
    Ok(())
}

fn spi(tree: &Tree, which: &str, key: &str) -> String {
    tree.section(which).and_then(|sa| sa.text(key)).expect("both SAs have SPIs").to_owned()
}

fn says(output: &str, words: &[&str]) {
    for word in words {
        assert!(output.contains(word), "{word:?} is missing in:\n{output}");
    }
}
