//! What a person is told when it does not work: one plain sentence with both sides' values, and an exit code that is not 0.

use std::fs;
use std::process::Command;
use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{Answer, CHILD, End, Lab, Pair, Result, Tunnel, Wire};

/// Both ends are configured, differently; site a's attempt has to fail and say all of `words` in one line.
fn refused(b: Implementation, a_text: &Tunnel, b_text: &Tunnel, words: &[&str]) -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, b, b_text)?;
    pair.a.configure(&a_text.text(&pair.lab, End::A))?;

    let answer = pair.a.initiate(CHILD)?;

    one_sentence(&answer, words);
    assert!(words.iter().all(|word| pair.a.log().contains(word)), "the log says less:\n{}", pair.a.log());
    pair.lab.dismantle();
    Ok(())
}

/// Checks an answer of the command line: it failed, and one line of it says all of `words`.
fn one_sentence(answer: &Answer, words: &[&str]) {
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    let said = answer.stderr.trim();
    assert_eq!(said.lines().count(), 1, "one sentence: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
}

fn wrong_key() -> Tunnel {
    Tunnel { secret: "incorrect horse".to_owned(), ..Tunnel::default() }
}

#[test]
fn a_wrong_key_with_strongswan() -> Result<()> {
    refused(
        StrongSwan,
        &wrong_key(),
        &Tunnel::default(),
        &["AUTHENTICATION_FAILED", "pre-shared key", "a.example.org"],
    )
}

#[test]
fn a_wrong_key_with_keyway() -> Result<()> {
    refused(
        Keyway,
        &wrong_key(),
        &Tunnel::default(),
        &["AUTHENTICATION_FAILED", "pre-shared key", "a.example.org"],
    )
}

#[test]
fn mismatched_ike_proposals() -> Result<()> {
    let a = Tunnel { ike_proposals: "aes128gcm16-prfsha256-x25519".to_owned(), ..Tunnel::default() };
    let b = Tunnel { ike_proposals: "aes256-sha512-ecp384".to_owned(), ..Tunnel::default() };
    refused(StrongSwan, &a, &b, &["NO_PROPOSAL_CHOSEN", "aes128gcm16", "x25519"])?;
    refused(Keyway, &a, &b, &["NO_PROPOSAL_CHOSEN", "aes128gcm16", "x25519"])
}

/// The responder knows both sides' offers, and its log says so.
#[test]
fn a_responder_names_both_offers() -> Result<()> {
    let a = Tunnel { ike_proposals: "aes128gcm16-prfsha256-x25519".to_owned(), ..Tunnel::default() };
    let b = Tunnel { ike_proposals: "aes256-sha512-ecp384".to_owned(), ..Tunnel::default() };
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &b)?;
    pair.a.configure(&a.text(&pair.lab, End::A))?;

    pair.a.initiate(CHILD)?;

    let log = pair.b.log();
    let said = log.lines().any(|line| {
        ["aes128gcm16", "x25519", "aes256", "sha512", "ecp384"].iter().all(|word| line.contains(word))
    });
    assert!(said, "no line names both offers:\n{log}");
    pair.lab.dismantle();
    Ok(())
}

/// What strongSwan takes without a word takes a decision here, and what a peer offers decides nothing.
#[test]
fn weak_algorithms_without_consent() -> Result<()> {
    let weak = Tunnel::default().suite("3des-md5-modp1024", "3des-md5");
    let pair = Pair::new(Wire::Plain, StrongSwan, Keyway, &Tunnel::default())?;

    let refusal = pair.b.configure(&weak.text(&pair.lab, End::B)).expect_err("nobody consented").to_string();
    for word in ["`3des` is weak", "`md5` is weak", "`modp1024` is weak", "`allow_weak = yes`"] {
        assert!(refusal.contains(word), "{word:?} is missing in: {refusal}");
    }

    pair.b.configure(&Tunnel::default().text(&pair.lab, End::B))?;
    pair.a.configure(&weak.text(&pair.lab, End::A))?;
    assert_ne!(pair.a.initiate(CHILD)?.code, Some(0));
    let log = pair.b.log();
    let said = log
        .lines()
        .any(|line| ["3des", "md5", "modp1024", "aes128gcm16"].iter().all(|word| line.contains(word)));
    assert!(said, "no line names both offers:\n{log}");
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn mismatched_esp_proposals() -> Result<()> {
    let a = Tunnel { esp_proposals: "aes128gcm16".to_owned(), ..Tunnel::default() };
    let b = Tunnel { esp_proposals: "aes256-sha512".to_owned(), ..Tunnel::default() };
    refused(StrongSwan, &a, &b, &["NO_PROPOSAL_CHOSEN", "aes128gcm16"])?;
    refused(Keyway, &a, &b, &["NO_PROPOSAL_CHOSEN", "aes128gcm16"])
}

#[test]
fn selectors_that_do_not_meet() -> Result<()> {
    let a = Tunnel { remote_selectors: Some("10.77.0.0/16".to_owned()), ..Tunnel::default() };
    refused(StrongSwan, &a, &Tunnel::default(), &["TS_UNACCEPTABLE", "10.77.0.0/16"])?;
    refused(Keyway, &a, &Tunnel::default(), &["TS_UNACCEPTABLE", "10.77.0.0/16"])
}

#[test]
fn a_missing_peer() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let a = Keyway.start_with(&lab, End::A, &Tunnel::default())?;

    let answer = a.initiate(CHILD)?;

    one_sentence(&answer, &["198.51.100.1", "500"]);
    lab.dismantle();
    Ok(())
}

#[test]
fn a_port_in_use() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let _occupied = lab.a.gateway.inside(|| Ok(std::net::UdpSocket::bind("0.0.0.0:500")?))?;

    let answer = run_in_vain(&lab, &[])?;

    one_sentence(&answer, &["500", "in use"]);
    lab.dismantle();
    Ok(())
}

#[test]
fn a_missing_privilege() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;

    // Root with an empty bounding set is root in name only.
    let answer = run_in_vain(&lab, &["setpriv", "--bounding-set=-all", "--inh-caps=-all"])?;

    let said = answer.stderr.to_lowercase();
    one_sentence(&answer, &[]);
    assert!(said.contains("root") || said.contains("cap_net_admin"), "{said}");
    lab.dismantle();
    Ok(())
}

#[test]
fn a_daemon_that_is_not_there() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let socket = lab.directory().join("nobody");

    let mut command = Command::new(interop::keyway_program()?);
    let answer = Answer::of(command.args(["up", "net", "--socket"]).arg(&socket))?;

    one_sentence(&answer, &[&socket.display().to_string()]);
    lab.dismantle();
    Ok(())
}

#[test]
fn a_fault_in_the_configuration() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let file = lab.directory().join("swanctl.conf");
    fs::write(&file, Tunnel::default().text(&lab, End::A).replace("proposals =", "propsals ="))?;

    let answer = Answer::of(Command::new(interop::keyway_program()?).arg("check").arg(&file))?;

    assert_ne!(answer.code, Some(0));
    let said = answer.stderr + &answer.stdout;
    for word in ["propsals", "proposals", "swanctl.conf:6", "^"] {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
    lab.dismantle();
    Ok(())
}

/// A reload that cannot be applied keeps what there was: the tunnel still comes up.
#[test]
fn a_bad_reload_keeps_the_configuration() -> Result<()> {
    let tunnel = Tunnel::default();
    let lab = Lab::new(Wire::Plain)?;
    let a = interop::Keyway::start_with(&lab, End::A, &tunnel.text(&lab, End::A), &[])?;
    let _b = Keyway.start_with(&lab, End::B, &tunnel)?;
    fs::write(a.directory().join("swanctl.conf"), tunnel.text(&lab, End::A).replace("version", "versoin"))?;

    let reload = a.command(&["reload"])?;
    let up = a.command(&["up", CHILD])?;

    assert_ne!(reload.code, Some(0));
    assert!(reload.stderr.contains("versoin"), "{reload:?}");
    up.success()?;
    lab.dismantle();
    Ok(())
}

/// Runs a daemon that is not expected to come up, under `wrapper`.
fn run_in_vain(lab: &Lab, wrapper: &[&str]) -> Result<Answer> {
    let configuration = lab.directory().join("swanctl.conf");
    fs::write(&configuration, Tunnel::default().text(lab, End::A))?;
    let program = interop::keyway_program()?;
    let words: Vec<_> = wrapper.iter().map(std::path::Path::new).chain([program.as_path()]).collect();
    let mut command = lab.a.gateway.command(words[0]);
    command.args(&words[1..]).arg("run").arg("--config").arg(&configuration);
    command.arg("--socket").arg(lab.directory().join("vici"));
    Answer::of_within(&mut command, Duration::from_secs(10))
}
