//! Every suite, both ways, with and without a NAT.

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{CONNECTION, End, Failure, Family, Gateway, Pair, Result, Tunnel, Wire};

/// Algorithms of which every suite takes one of each kind.
struct Algorithms {
    /// Encryption with its integrity; what only ESP may have stands behind a blank.
    encryption: &'static [&'static str],
    prfs: &'static [&'static str],
    groups: &'static [&'static str],
}

/// What both ends would choose by themselves.
const COMMON: Algorithms = Algorithms {
    encryption: &[
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
    ],
    prfs: &["prfsha256", "prfsha384", "prfsha512"],
    groups: &["x25519", "ecp256", "ecp384", "ecp521", "modp2048", "modp3072", "modp4096"],
};

/// All else that strongSwan has, the weak ones among it.
const RARE: Algorithms = Algorithms {
    encryption: &[
        "aes128ccm16",
        "aes192ccm16",
        "aes256ccm16",
        "aes128ccm12",
        "aes192ccm12",
        "aes256ccm12",
        "aes128ccm8",
        "aes192ccm8",
        "aes256ccm8",
        "camellia128ccm16",
        "camellia192ccm16",
        "camellia256ccm16",
        "camellia128ccm12",
        "camellia192ccm12",
        "camellia256ccm12",
        "camellia128ccm8",
        "camellia192ccm8",
        "camellia256ccm8",
        "aes128ctr-sha256",
        "aes192ctr-aesxcbc",
        "aes256ctr-aescmac",
        "camellia128-aesxcbc",
        "camellia192-aescmac",
        "camellia256-sha512",
        "camellia128ctr-sha1",
        "camellia192ctr-md5",
        "camellia256ctr-sha1_160",
        "aes128-md5_128",
        "aes256-sha1",
        "3des-sha1",
        "3des-md5",
        "des-md5",
        "cast128-sha1",
        "blowfish128-sha1",
        "blowfish192-sha256",
        "blowfish256-md5",
        " null-sha256",
        " null-sha1",
    ],
    prfs: &["prfaesxcbc", "prfaescmac", "prfsha1", "prfmd5"],
    groups: &[
        "x448",
        "ecp256bp",
        "ecp384bp",
        "ecp512bp",
        "ecp224bp",
        "ecp224",
        "ecp192",
        "modp6144",
        "modp8192",
        "modp1536",
        "modp1024",
        "modp768",
        "modp1024s160",
        "modp2048s224",
        "modp2048s256",
    ],
};

/// What strongSwan's user-space ESP does not have.
const OURS: Algorithms = Algorithms {
    encryption: &[
        " aes128gmac",
        " aes192gmac",
        " aes256gmac",
        " aes128gcm16iiv",
        " aes192gcm16iiv",
        " aes256gcm16iiv",
        " chacha20poly1305iiv",
        " aes128ccm8iiv",
        " aes192ccm8iiv",
        " aes256ccm8iiv",
    ],
    prfs: &["prfsha256"],
    groups: &["x25519"],
};

impl Algorithms {
    /// Suites for IKE and for ESP so that every algorithm stands in one of them, and every PRF with every group where
    /// there are not too many.
    fn rows(&self) -> impl Iterator<Item = (String, String)> {
        let Algorithms { encryption, prfs, groups } = *self;
        let number = encryption.len().max(prfs.len() * groups.len()).min(40);
        (0..number).map(move |row| {
            let [encryption, prf, group] = [encryption, prfs, groups].map(|kind| kind[row % kind.len()]);
            let (ike, esp) = match encryption.strip_prefix(' ') {
                Some(esp) => ("aes128-sha256", esp),
                None => (encryption, encryption),
            };
            (format!("{ike}-{prf}-{group}"), format!("{esp}-{group}"))
        })
    }
}

/// Tries every row, with one laboratory and one pair of daemons for all; the rekeying is what uses the Child SA's group.
fn every_suite(of: &Algorithms, wire: Wire, a: Implementation, b: Implementation) -> Result<()> {
    let pair = Pair::new(wire, a, b, &Tunnel::default())?;
    let mut failures = Vec::new();
    for (ike, esp) in of.rows() {
        let tunnel = Tunnel::default().suite(&ike, &esp).connection_line("allow_weak = yes");
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
    same_names(pair)?;
    pair.carry(tunnel)?;
    pair.rekey_child(End::A)?;
    pair.carry(tunnel)?;
    pair.terminate(End::A)
}

/// Both ends' management calls the algorithms by the same names.
fn same_names(pair: &Pair) -> Result<()> {
    let names = |gateway: &dyn Gateway| -> Result<Vec<String>> {
        let sas = gateway.sas()?;
        let of_ike =
            ["encr-alg", "encr-keysize", "integ-alg", "prf-alg", "dh-group"].map(|key| sas[0].field(key));
        let of_child = ["encr-alg", "encr-keysize", "integ-alg"].map(|key| sas[0].children[0].field(key));
        Ok(of_ike.into_iter().chain(of_child).map(str::to_owned).collect())
    };
    let (at_a, at_b) = (names(&*pair.a)?, names(&*pair.b)?);
    if at_a == at_b {
        Ok(())
    } else {
        Err(Failure::new(format!("one end says {at_a:?}, the other {at_b:?}")))
    }
}

#[test]
fn rows_name_everything() {
    for of in [&COMMON, &RARE, &OURS] {
        let rows: Vec<_> = of.rows().map(|(ike, esp)| format!("-{ike}-{esp}-")).collect();
        for word in of.encryption.iter().chain(of.prfs).chain(of.groups) {
            let word = word.trim();
            assert!(rows.iter().any(|row| row.contains(&format!("-{word}-"))), "{word} is not tried");
        }
    }
}

#[test]
fn keyway_initiates_to_strongswan() -> Result<()> {
    every_suite(&COMMON, Wire::Plain, Keyway, StrongSwan)
}

#[test]
fn keyway_initiates_to_strongswan_through_nat() -> Result<()> {
    every_suite(&COMMON, Wire::Nat, Keyway, StrongSwan)
}

#[test]
fn strongswan_initiates_to_keyway() -> Result<()> {
    every_suite(&COMMON, Wire::Plain, StrongSwan, Keyway)
}

#[test]
fn strongswan_initiates_to_keyway_through_nat() -> Result<()> {
    every_suite(&COMMON, Wire::Nat, StrongSwan, Keyway)
}

#[test]
fn keyway_to_keyway() -> Result<()> {
    every_suite(&COMMON, Wire::Plain, Keyway, Keyway)
}

#[test]
fn keyway_to_keyway_through_nat() -> Result<()> {
    every_suite(&COMMON, Wire::Nat, Keyway, Keyway)
}

#[test]
fn keyway_initiates_to_strongswan_with_what_is_rare() -> Result<()> {
    every_suite(&RARE, Wire::Plain, Keyway, StrongSwan)
}

#[test]
fn strongswan_initiates_to_keyway_with_what_is_rare() -> Result<()> {
    every_suite(&RARE, Wire::Plain, StrongSwan, Keyway)
}

#[test]
fn keyway_to_keyway_with_what_strongswan_lacks() -> Result<()> {
    every_suite(&OURS, Wire::Plain, Keyway, Keyway)
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
