//! IKEv1 with strongSwan, in both roles: suites, both modes of phase 1, NAT, rekeying of both phases by either end, dead
//! peers, refusals.

use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{CHILD, CONNECTION, End, Family, Pair, Result, Tunnel, USER, Wire, until};

/// What dead peer detection may take.
const DEATH: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);

/// Combinations of phase 1, and what quick mode negotiates under each.
const SUITES: &[(&str, &str)] = &[
    ("aes128-sha256-modp2048", "aes128-sha256"),
    ("aes256-sha512-modp3072", "aes256gcm16-modp2048"),
    ("aes192-sha384-ecp384", "aes192-sha384-ecp256"),
    ("aes256-sha256-ecp256", "aes128gcm16"),
    ("aes128-sha1-modp1536", "aes128-sha1-modp1536"),
    ("3des-md5-modp1024", "3des-md5"),
    ("3des-sha1-modp1024", "aes256-sha1-modp1024"),
    ("aes256-sha256-modp4096", "aes256-sha512"),
];

/// The rest of the ciphers, hashes and groups of both phases, each at least once.
const SPREAD: &[(&str, &str)] = &[
    ("des-md5-modp768", "des-md5-modp768"),
    ("des-sha1-modp1024", "des-sha1"),
    ("camellia128-sha256-modp2048", "camellia128-sha256"),
    ("camellia256-sha512-ecp521", "camellia256-sha512-ecp521"),
    ("camellia192-sha384-modp6144", "camellia192-sha384"),
    ("aes256-sha384-modp8192", "aes256gcm8"),
    ("aes128-sha256-modp1024s160", "aes128ctr-sha256-modp1024s160"),
    ("aes128-sha256-modp2048s224", "aes128ccm16-modp2048s224"),
    ("aes128-sha256-modp2048s256", "aes256gcm12-modp2048s256"),
    ("aes128-sha256-ecp192", "aes128-sha256-ecp192"),
    ("aes128-sha256-ecp224", "aes128-sha256-ecp224"),
    ("aes256-sha256-ecp256bp", "aes192-sha256-ecp256bp"),
    ("aes256-sha384-ecp384bp", "aes256-aesxcbc-ecp384bp"),
    ("aes256-sha512-ecp512bp", "null-sha256-ecp512bp"),
    ("aes256-sha256-ecp224bp", "aes128-sha256-ecp224bp"),
    ("aes256-sha256-x25519", "aes128gcm16-x25519"),
];

fn version_1(ike: &str, esp: &str) -> Tunnel {
    let tunnel = Tunnel { version: 1, ..Tunnel::default() };
    tunnel.suite(ike, esp).connection_line("allow_weak = yes")
}

fn plain() -> Tunnel {
    version_1("aes256-sha256-modp2048", "aes128gcm16-modp2048")
}

fn every_suite(wire: Wire, a: Implementation, b: Implementation, suites: &[(&str, &str)]) -> Result<()> {
    let pair = Pair::new(wire, a, b, &plain())?;
    let mut failures = Vec::new();
    for (ike, esp) in suites {
        if let Err(failure) = one_suite(&pair, &version_1(ike, esp)) {
            failures.push(format!("{ike} / {esp}: {failure}"));
            // What is left of it must not fail the next one as well.
            let _ = pair.a.terminate(CONNECTION);
        }
    }
    assert!(failures.is_empty(), "{} suites failed:\n{}", failures.len(), failures.join("\n"));
    pair.lab.dismantle();
    Ok(())
}

fn one_suite(pair: &Pair, tunnel: &Tunnel) -> Result<()> {
    pair.configure(tunnel)?;
    pair.initiate(End::A)?;
    pair.settled()?;
    pair.carry(tunnel)?;
    pair.terminate(End::A)
}

#[test]
fn keyway_initiates_to_strongswan() -> Result<()> {
    every_suite(Wire::Plain, Keyway, StrongSwan, SUITES)
}

#[test]
fn keyway_initiates_to_strongswan_through_nat() -> Result<()> {
    every_suite(Wire::Nat, Keyway, StrongSwan, SUITES)
}

#[test]
fn strongswan_initiates_to_keyway() -> Result<()> {
    every_suite(Wire::Plain, StrongSwan, Keyway, SUITES)
}

#[test]
fn strongswan_initiates_to_keyway_through_nat() -> Result<()> {
    every_suite(Wire::Nat, StrongSwan, Keyway, SUITES)
}

fn aggressive(ike: &str, esp: &str) -> Tunnel {
    version_1(ike, esp).connection_line("aggressive = yes")
}

/// Aggressive mode of some suites, the last with a new phase 1 begun by either end.
fn in_aggressive_mode(wire: Wire, a: Implementation, b: Implementation) -> Result<()> {
    let last = aggressive("aes256-sha256-modp2048", "aes128gcm16");
    let pair = Pair::new(wire, a, b, &last)?;
    for (ike, esp) in &SUITES[..5] {
        one_suite(&pair, &aggressive(ike, esp))?;
    }
    pair.configure(&last)?;
    pair.initiate(End::A)?;
    for end in [End::A, End::B] {
        let before = pair.in_use()?;
        pair.gateway(end).rekey_ike(CONNECTION)?;
        until(PATIENCE, "a new phase 1", || pair.in_use().is_ok_and(|now| now.ike != before.ike))?;
        pair.carry(&last)?;
    }
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn keyway_initiates_aggressive_mode_to_strongswan() -> Result<()> {
    in_aggressive_mode(Wire::Plain, Keyway, StrongSwan)
}

#[test]
fn keyway_initiates_aggressive_mode_to_strongswan_through_nat() -> Result<()> {
    in_aggressive_mode(Wire::Nat, Keyway, StrongSwan)
}

#[test]
fn strongswan_initiates_aggressive_mode_to_keyway() -> Result<()> {
    in_aggressive_mode(Wire::Plain, StrongSwan, Keyway)
}

#[test]
fn strongswan_initiates_aggressive_mode_to_keyway_through_nat() -> Result<()> {
    in_aggressive_mode(Wire::Nat, StrongSwan, Keyway)
}

#[test]
fn a_spread_of_suites_keyway_to_strongswan() -> Result<()> {
    every_suite(Wire::Plain, Keyway, StrongSwan, SPREAD)
}

#[test]
fn a_spread_of_suites_strongswan_to_keyway() -> Result<()> {
    every_suite(Wire::Plain, StrongSwan, Keyway, SPREAD)
}

/// A user of site a gives his password, in both modes; then the wrong one.
fn with_user(wire: Wire, a: Implementation, b: Implementation) -> Result<()> {
    let plain = plain().user_of(End::A);
    let aggressive = aggressive("aes256-sha256-modp2048", "aes128gcm16").user_of(End::A);
    let pair = Pair::new(wire, a, b, &plain)?;
    for tunnel in [&plain, &aggressive] {
        pair.configure(tunnel)?;
        pair.initiate(End::A)?;
        pair.settled()?;
        pair.carry(tunnel)?;
        if b == Keyway {
            let listed = pair.b.swanctl().run(&["--list-sas", "--raw"])?;
            assert!(listed.contains(&format!("remote-xauth-id={USER}")), "{listed}");
        }
        let before = pair.in_use()?;
        pair.a.rekey_ike(CONNECTION)?;
        until(PATIENCE, "a new phase 1", || pair.in_use().is_ok_and(|now| now.ike != before.ike))?;
        pair.carry(tunnel)?;
        pair.terminate(End::A)?;
    }
    let wrong = Tunnel { user: Some((End::A, ["guess".to_owned(), "open sesame".to_owned()])), ..plain };
    pair.configure(&wrong)?;
    let answer = pair.a.initiate(CHILD)?;
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    if a == Keyway {
        assert!(answer.stderr.contains("name or password differ"), "{answer:?}");
    }
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn keyways_user_gives_strongswan_his_password() -> Result<()> {
    with_user(Wire::Plain, Keyway, StrongSwan)
}

#[test]
fn keyways_user_gives_strongswan_his_password_through_nat() -> Result<()> {
    with_user(Wire::Nat, Keyway, StrongSwan)
}

#[test]
fn strongswans_user_gives_keyway_his_password() -> Result<()> {
    with_user(Wire::Plain, StrongSwan, Keyway)
}

#[test]
fn strongswans_user_gives_keyway_his_password_through_nat() -> Result<()> {
    with_user(Wire::Nat, StrongSwan, Keyway)
}

/// Either end renews the keys of both phases; packets are carried all along.
fn either_end_rekeys_and_says_goodbye(wire: Wire, a: Implementation, b: Implementation) -> Result<()> {
    let tunnel = plain();
    let pair = Pair::new(wire, a, b, &tunnel)?;
    for goodbye_from in [End::A, End::B] {
        pair.initiate(End::A)?;
        for end in [End::A, End::B] {
            let before = pair.in_use()?;
            pair.gateway(end).rekey_child(CHILD)?;
            until(PATIENCE, "new keys for packets", || {
                pair.in_use().is_ok_and(|now| now.child != before.child)
            })?;
            pair.carry(&tunnel)?;
            let before = pair.in_use()?;
            pair.gateway(end).rekey_ike(CONNECTION)?;
            until(PATIENCE, "a new phase 1", || pair.in_use().is_ok_and(|now| now.ike != before.ike))?;
            pair.carry(&tunnel)?;
        }
        pair.terminate(goodbye_from)?;
    }
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn either_end_rekeys_keyway_to_strongswan() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Plain, Keyway, StrongSwan)
}

#[test]
fn either_end_rekeys_keyway_to_strongswan_through_nat() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Nat, Keyway, StrongSwan)
}

#[test]
fn either_end_rekeys_strongswan_to_keyway() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Plain, StrongSwan, Keyway)
}

#[test]
fn either_end_rekeys_strongswan_to_keyway_through_nat() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Nat, StrongSwan, Keyway)
}

#[test]
fn either_end_rekeys_keyway_to_keyway() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Plain, Keyway, Keyway)
}

/// The peer dies without a word: it is asked whether it lives (RFC 3706), and when it is back a new tunnel comes up.
fn a_killed_peer_is_missed(a: Implementation, b: Implementation, killed: End) -> Result<()> {
    let tunnel = plain().connection_line("dpd_delay = 1s").connection_line("dpd_timeout = 10s");
    let mut pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    pair.initiate(End::A)?;
    pair.carry(&tunnel)?;

    pair.gateway_mut(killed).kill();
    let survivor = pair.gateway(killed.other());
    until(DEATH, "the survivor to miss its peer", || survivor.sas().is_ok_and(|sas| sas.is_empty()))?;
    pair.gateway_mut(killed).start()?;
    pair.configure(&tunnel)?;
    pair.initiate(killed)?;
    pair.settled()?;
    pair.carry(&tunnel)?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn keyway_misses_a_killed_strongswan() -> Result<()> {
    a_killed_peer_is_missed(Keyway, StrongSwan, End::B)
}

#[test]
fn strongswan_misses_a_killed_keyway() -> Result<()> {
    a_killed_peer_is_missed(Keyway, StrongSwan, End::A)
}

/// A peer restarts and calls before it was missed: INITIAL-CONTACT replaces what is left of the old tunnel at once.
fn a_restarted_peer_replaces_its_old_tunnel(
    a: Implementation,
    b: Implementation,
    restarted: End,
) -> Result<()> {
    let tunnel = plain();
    let mut pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    pair.initiate(End::A)?;
    let before = pair.settled()?;

    pair.gateway_mut(restarted).kill();
    pair.gateway_mut(restarted).start()?;
    pair.configure(&tunnel)?;
    pair.initiate(restarted)?;
    let after = pair.settled()?;
    assert_ne!(before.ike, after.ike);
    pair.carry(&tunnel)?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn keyway_accepts_a_restarted_strongswan() -> Result<()> {
    a_restarted_peer_replaces_its_old_tunnel(Keyway, StrongSwan, End::B)
}

#[test]
fn strongswan_accepts_a_restarted_keyway() -> Result<()> {
    a_restarted_peer_replaces_its_old_tunnel(Keyway, StrongSwan, End::A)
}

/// Both families, inside and outside, with strongSwan in either role.
#[test]
fn ipv6_inside_and_outside() -> Result<()> {
    for (a, b) in [(Keyway, StrongSwan), (StrongSwan, Keyway)] {
        for (outside, inside) in
            [(Family::V6, Family::V4), (Family::V4, Family::V6), (Family::V6, Family::V6)]
        {
            let tunnel = Tunnel { outside, inside: vec![inside], ..plain() };
            let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
            pair.initiate(End::A)?;
            pair.carry(&tunnel)?;
            pair.terminate(End::B)?;
            pair.lab.dismantle();
        }
    }
    Ok(())
}

/// Site a's attempt has to fail and say all of `words` in one line.
fn refused(a: &Tunnel, b: &Tunnel, words: &[&str]) -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, StrongSwan, b)?;
    pair.a.configure(&a.text(&pair.lab, End::A))?;
    let answer = pair.a.initiate(CHILD)?;
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    let said = answer.stderr.trim();
    assert_eq!(said.lines().count(), 1, "one sentence: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn mismatched_proposals_of_phase_1() -> Result<()> {
    let other = version_1("aes128-sha512-ecp384", "aes128gcm16-modp2048");
    refused(&plain(), &other, &["NO-PROPOSAL-CHOSEN", "aes256-sha256-", "modp2048"])
}

#[test]
fn mismatched_proposals_of_phase_2() -> Result<()> {
    let other = version_1("aes256-sha256-modp2048", "aes256-sha512");
    refused(&plain(), &other, &["NO-PROPOSAL-CHOSEN", "aes128gcm16-modp2048"])
}

#[test]
fn mismatched_traffic() -> Result<()> {
    let other = Tunnel { local_selectors: Some("10.77.0.0/16".to_owned()), ..plain() };
    refused(&plain(), &other, &["INVALID-ID-INFORMATION", "we offered"])
}
