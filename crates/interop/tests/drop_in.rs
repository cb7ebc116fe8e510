//! `keyway run --drop-in` does what the strongswan.conf of the charon says whose place it takes.

use std::fs;
use std::time::Duration;

use interop::Implementation::StrongSwan;
use interop::{CHILD, End, Gateway, Keyway, Lab, Pair, Result, Tunnel, Wire, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Keyway at a that reads this strongswan.conf.
fn start(lab: &Lab, strongswan_conf: &str) -> Result<Keyway> {
    let path = lab.directory().join("strongswan.conf");
    fs::write(&path, strongswan_conf)?;
    let environment = [("STRONGSWAN_CONF", path.display().to_string())];
    Keyway::start_with_environment(lab, End::A, "", &["--drop-in"], &environment)
}

/// Name servers for every client, a log that tells of Child SAs alone, and a word on each key without effect.
#[test]
fn what_is_honoured_shows_and_what_is_not_is_named() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    fs::create_dir_all(lab.directory().join("strongswan.d"))?;
    fs::write(
        lab.directory().join("strongswan.d/logging.conf"),
        "charon {\n   filelog {\n      stderr {\n         default = 0\n         chd = 1\n      }\n   }\n}\n",
    )?;
    let text = "charon {
   retransmit_timeout = 0.25
   retransmit_base = 1.2
   retransmit_tries = 12
   dns1 = 10.1.0.53
   install_routes = no
   plugins {
      kernel-netlink {
         fwmark = !0x42
      }
   }
}
include strongswan.d/*.conf
";
    let a = start(&lab, text)?;
    let log = a.log();
    for said in [
        "`install_routes` has no effect: without a route nothing reaches the TUN device",
        "charon.plugins.kernel-netlink.fwmark: `fwmark` has no effect: there are no plugins",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert_eq!(log.matches("has no effect").count(), 2, "{log}");
    let b = StrongSwan.start(&lab, End::B)?;
    let pool = "pools {\n   road {\n      addrs = 10.3.0.0/24\n   }\n}\n";
    let gateway = Tunnel { remote_selectors: Some("dynamic".to_owned()), ..Tunnel::default() };
    a.configure(&(gateway.connection_line("pools = road").text(&lab, End::A) + pool))?;
    let client = Tunnel { local_selectors: Some("dynamic".to_owned()), ..Tunnel::default() };
    b.configure(&client.connection_line("vips = 0.0.0.0").text(&lab, End::B))?;
    let pair = Pair { a: Box::new(a), b, lab };
    pair.initiate(End::B)?;
    pair.settled()?;
    // charon has no plugin here that would put a name server in place, and says so.
    let told = pair.b.log();
    assert!(told.contains("INTERNAL_IP4_DNS"), "{told}");
    let log = pair.a.log();
    assert!(
        log.contains("Child SA is up") && !log.contains("IKE SA is up"),
        "only Child SAs are told of: {log}"
    );
    pair.lab.dismantle();
    Ok(())
}

/// Whoever only ever begins answers nobody.
#[test]
fn an_initiator_only_answers_nobody() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let text = "charon {\n   initiator_only = yes\n   retransmit_timeout = 0.25\n   retransmit_base = 1.2\n   retransmit_tries = 12\n}\n";
    let a = start(&lab, text)?;
    let b = StrongSwan.start(&lab, End::B)?;
    let tunnel = Tunnel::default();
    a.configure(&tunnel.text(&lab, End::A))?;
    b.configure(&tunnel.text(&lab, End::B))?;
    let pair = Pair { a: Box::new(a), b, lab };
    let refused = pair.b.initiate(CHILD)?;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    let retransmitted = || pair.b.log().contains("retransmit 1 of request");
    until(PATIENCE, "charon to have asked again", retransmitted)?;
    pair.initiate(End::A)?;
    pair.settled()?;
    pair.carry(&tunnel)?;
    pair.lab.dismantle();
    Ok(())
}

/// Aggressive mode with a pre-shared key is a decision, which strongswan.conf takes for all connections.
#[test]
fn consent_to_aggressive_mode_with_secrets_is_taken_over() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let consent = "i_dont_care_about_security_and_use_aggressive_mode_psk = yes";
    let a = start(&lab, &format!("charon {{\n   {consent}\n   retransmit_timeout = 0.25\n}}\n"))?;
    let b = StrongSwan.start(&lab, End::B)?;
    let tunnel = Tunnel { version: 1, ..Tunnel::default() }
        .suite("aes128-sha256-modp2048", "aes128-sha256")
        .connection_line("aggressive = yes");
    a.configure(&tunnel.text(&lab, End::A))?;
    b.configure(&tunnel.text(&lab, End::B))?;
    let pair = Pair { a: Box::new(a), b, lab };
    pair.initiate(End::B)?;
    pair.settled()?;
    pair.carry(&tunnel)?;
    pair.lab.dismantle();
    Ok(())
}
