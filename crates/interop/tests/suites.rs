//! Every suite, both ways, with and without a NAT.

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{CONNECTION, End, Family, Pair, Result, Tunnel, Wire};

const ENCRYPTION: [&str; 19] = [
    "aes128gcm16",
    "aes192gcm16",
    "aes256gcm16",
    "aes128gcm12",
    "aes192gcm12",
    "aes256gcm12",
    "aes128gcm8",
    "aes192gcm8",
    "aes256gcm8",
    "chacha20poly1305",
    "aes128-sha256",
    "aes128-sha384",
    "aes128-sha512",
    "aes192-sha256",
    "aes192-sha384",
    "aes192-sha512",
    "aes256-sha256",
    "aes256-sha384",
    "aes256-sha512",
];
const PRFS: [&str; 3] = ["prfsha256", "prfsha384", "prfsha512"];
const GROUPS: [&str; 7] = ["x25519", "ecp256", "ecp384", "ecp521", "modp2048", "modp3072", "modp4096"];

/// Rows so that every encryption, and every PRF with every group, stands in one of them.
fn rows() -> impl Iterator<Item = (String, String)> {
    (0..PRFS.len() * GROUPS.len()).map(|row| {
        let (encryption, prf, group) = (ENCRYPTION[row % ENCRYPTION.len()], PRFS[row % 3], GROUPS[row % 7]);
        (format!("{encryption}-{prf}-{group}"), format!("{encryption}-{group}"))
    })
}

/// Tries every row, with one laboratory and one pair of daemons for all; the rekeying is what uses the Child SA's group.
fn every_suite(wire: Wire, a: Implementation, b: Implementation) -> Result<()> {
    let pair = Pair::new(wire, a, b, &Tunnel::default())?;
    let mut failures = Vec::new();
    for (ike, esp) in rows() {
        let tunnel = Tunnel::default().suite(&ike, &esp);
        if let Err(failure) = one_suite(&pair, &tunnel) {
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
    pair.rekey_child(End::A)?;
    pair.carry(tunnel)?;
    pair.terminate(End::A)
}

#[test]
fn rows_name_everything_once() {
    let text: Vec<_> = rows().map(|(ike, _)| ike).collect();
    for word in ENCRYPTION.iter().chain(&PRFS).chain(&GROUPS) {
        assert!(
            text.iter().any(|row| format!("{row}-").contains(&format!("{word}-"))),
            "{word} is not tried"
        );
    }
}

#[test]
fn keyway_initiates_to_strongswan() -> Result<()> {
    every_suite(Wire::Plain, Keyway, StrongSwan)
}

#[test]
fn keyway_initiates_to_strongswan_through_nat() -> Result<()> {
    every_suite(Wire::Nat, Keyway, StrongSwan)
}

#[test]
fn strongswan_initiates_to_keyway() -> Result<()> {
    every_suite(Wire::Plain, StrongSwan, Keyway)
}

#[test]
fn strongswan_initiates_to_keyway_through_nat() -> Result<()> {
    every_suite(Wire::Nat, StrongSwan, Keyway)
}

#[test]
fn keyway_to_keyway() -> Result<()> {
    every_suite(Wire::Plain, Keyway, Keyway)
}

#[test]
fn keyway_to_keyway_through_nat() -> Result<()> {
    every_suite(Wire::Nat, Keyway, Keyway)
}

fn family_in_family(a: Implementation, b: Implementation) -> Result<()> {
    for outside in [Family::V4, Family::V6] {
        let tunnel = Tunnel { outside, inside: vec![Family::V4, Family::V6], ..Tunnel::default() };
        let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
        pair.initiate(End::A)?;
        pair.carry(&tunnel)?;
        pair.rekey_child(End::A)?;
        pair.rekey_ike(End::A)?;
        pair.carry(&tunnel)?;
        pair.terminate(End::B)?;
        pair.lab.dismantle();
    }
    Ok(())
}

#[test]
fn both_families_in_either_keyway_to_strongswan() -> Result<()> {
    family_in_family(Keyway, StrongSwan)
}

#[test]
fn both_families_in_either_strongswan_to_keyway() -> Result<()> {
    family_in_family(StrongSwan, Keyway)
}

#[test]
fn both_families_in_either_keyway_to_keyway() -> Result<()> {
    family_in_family(Keyway, Keyway)
}
