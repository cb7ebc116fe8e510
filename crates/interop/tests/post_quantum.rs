//! Several key exchanges for one SA, with a strongSwan that knows RFC 9370 and ML-KEM, in both roles; and with one that knows
//! neither, which gets what it knows.

use std::collections::BTreeSet;

use interop::Implementation::{self, Keyway, StrongSwan, StrongSwan6};
use interop::{Capture, End, Failure, Pair, Result, Tunnel, Wire};

/// IKE_INTERMEDIATE and IKE_FOLLOWUP_KE (RFC 9242, RFC 9370).
const EXCHANGES: [&str; 2] = ["43", "44"];

fn tunnel(methods: &str) -> Tunnel {
    Tunnel::default()
        .suite(&format!("aes256gcm16-prfsha384-{methods}"), &format!("aes256gcm16-{methods}"))
        .connection_line("fragmentation = yes")
}

/// The tunnel comes up, and either end replaces both SAs, each time with `number` additional key exchanges.
fn rekeyed_by_both(a: Implementation, b: Implementation, methods: &str, number: usize) -> Result<()> {
    let tunnel = tunnel(methods);
    let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
    pair.initiate(End::A)?;
    pair.carry(&tunnel)?;
    for end in [End::A, End::B] {
        pair.rekey_ike(end)?;
        pair.rekey_child(end)?;
        pair.carry(&tunnel)?;
    }
    let listed = methods_listed(&pair, End::A)?;
    assert_eq!(listed.len(), 1 + number, "{listed:?}");
    assert_eq!(listed, methods_listed(&pair, End::B)?);
    let recording = capture.finish()?;
    // Each of the four rekeyings has as many key exchanges as the beginning; a response may come in fragments.
    for (exchange, times) in EXCHANGES.into_iter().zip([1, 4]) {
        let seen = recording.count(&format!("isakmp.exchangetype == {exchange}"))?;
        assert!(seen >= 2 * times * number, "{seen} messages of exchange {exchange}");
    }
    pair.lab.dismantle();
    Ok(())
}

/// The key exchanges of an end's SAs under the keys that `swanctl --list-sas --raw` has for them; strongSwan lists a Child SA
/// that was replaced for some seconds more.
fn methods_listed(pair: &Pair, end: End) -> Result<BTreeSet<String>> {
    let raw = pair.gateway(end).swanctl().run(&["--list-sas", "--raw"])?;
    let words =
        raw.split([' ', '{', '}']).filter(|word| word.starts_with("ake") || word.starts_with("dh-group"));
    Ok(words.map(str::to_owned).collect())
}

#[test]
fn strongswan6_takes_a_hybrid_of_x25519_and_ml_kem() -> Result<()> {
    rekeyed_by_both(Keyway, StrongSwan6, "x25519-ke1_mlkem768", 1)
}

#[test]
fn strongswan6_begins_a_hybrid_of_x25519_and_ml_kem() -> Result<()> {
    rekeyed_by_both(StrongSwan6, Keyway, "x25519-ke1_mlkem768", 1)
}

#[test]
fn strongswan6_takes_several_additional_key_exchanges() -> Result<()> {
    rekeyed_by_both(Keyway, StrongSwan6, "x25519-ke1_mlkem512-ke2_mlkem1024-ke4_ecp384-ke7_modp3072", 4)
}

#[test]
fn strongswan6_begins_several_additional_key_exchanges() -> Result<()> {
    rekeyed_by_both(StrongSwan6, Keyway, "x25519-ke1_mlkem512-ke2_mlkem1024-ke4_ecp384-ke7_modp3072", 4)
}

#[test]
fn strongswan6_agrees_on_ml_kem_alone_in_both_roles() -> Result<()> {
    rekeyed_by_both(Keyway, StrongSwan6, "mlkem512", 0)?;
    rekeyed_by_both(StrongSwan6, Keyway, "mlkem512", 0)
}

/// What both ends offer by themselves, with and without ML-KEM in the peer.
fn defaults(a: Implementation, b: Implementation, expected: &str) -> Result<()> {
    let tunnel = Tunnel::default().suite("default", "default");
    let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
    pair.initiate(End::A)?;
    pair.carry(&tunnel)?;
    let keyway = if a == Keyway { &pair.a } else { &pair.b };
    let sas = keyway.swanctl().run(&["--list-sas"])?;
    if !sas.contains(expected) {
        return Err(Failure::new(format!("{expected} was not agreed on:\n{sas}")));
    }
    // IKE_SA_INIT cannot be cut.
    assert_eq!(capture.finish()?.count("isakmp.exchangetype == 34 && ip.len > 1280")?, 0);
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn defaults_meet_a_strongswan_that_knows_no_ml_kem() -> Result<()> {
    defaults(Keyway, StrongSwan, "CURVE_25519")?;
    defaults(StrongSwan, Keyway, "CURVE_25519")
}
