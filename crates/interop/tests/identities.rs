//! What IKE_AUTH may do beside a single proof, between Keyway and strongSwan in both roles: post-quantum pre-shared keys
//! (RFC 8784), IKE SAs without a first child (RFC 6023), several rounds of authentication (RFC 4739).

use interop::Implementation::{Keyway, StrongSwan};
use interop::{
    CHILD, CONNECTION, Certificates, End, Gateway, Lab, Pair, Proof, Result, Tunnel, Wire, within,
};
use std::time::Duration;

const PPK: &str = "winter-key";
const PPK_SECRET: &str = "0s3f7gXh2mT1zq0kq4yPp4bqC8m4D2sJ6o9m1lV0u5wYk=";

/// Keyway at a, strongSwan at b.
struct Bench {
    pair: Pair,
    certificates: Certificates,
}

impl Bench {
    fn new() -> Result<Bench> {
        let lab = Lab::new(Wire::Plain)?;
        let certificates = Certificates::new(&lab)?;
        let (a, b) = (Keyway.start(&lab, End::A)?, StrongSwan.start(&lab, End::B)?);
        Ok(Bench { pair: Pair { a, b, lab }, certificates })
    }

    fn gateway(&self, end: End) -> &dyn Gateway {
        self.pair.gateway(end)
    }

    /// Gives an end its configuration, with more sections of its connection and more text behind.
    fn configure(&self, end: End, tunnel: &Tunnel, sections: &str, behind: &str) -> Result<()> {
        let text = tunnel.text(&self.pair.lab, end);
        let text = text.replacen("      children {", &format!("{sections}\n      children {{"), 1);
        self.gateway(end).configure(&format!("{text}{behind}\n"))
    }

    fn ppk(&self, end: End, lines: &[&str], secret: &str) -> Result<()> {
        let tunnel = lines.iter().fold(Tunnel::default(), |tunnel, line| tunnel.connection_line(line));
        let secret = if secret.is_empty() {
            String::new()
        } else {
            format!("secrets {{\n   ppk-{end} {{\n      id = {PPK}\n      secret = {secret}\n   }}\n}}")
        };
        self.configure(end, &tunnel, "", &secret)
    }

    /// Brings the tunnel up from either end in turn, carries packets through it, and has it looked at.
    fn holds(&self, look: impl Fn(&Bench) -> Result<()>) -> Result<()> {
        self.holds_from(&[End::A, End::B], look)
    }

    fn holds_from(&self, ends: &[End], look: impl Fn(&Bench) -> Result<()>) -> Result<()> {
        for &from in ends {
            self.pair.initiate(from)?;
            self.pair.settled()?;
            self.pair.carry(&Tunnel::default())?;
            look(self)?;
            self.pair.terminate(from)?;
        }
        Ok(())
    }

    /// Tells whether both ends say that a post-quantum key is in the keys.
    fn is_mixed(&self) -> Result<[bool; 2]> {
        let says = |end: End| -> Result<bool> {
            let sas = self.gateway(end).sas()?;
            Ok(sas.first().is_some_and(|sa| sa.fields.get("ppk").is_some_and(|said| said == "yes")))
        };
        Ok([says(End::A)?, says(End::B)?])
    }
}

const NAMED: &str = "ppk_id = winter-key";
const REQUIRED: &str = "ppk_required = yes";

#[test]
fn post_quantum_keys_with_strongswan_in_both_roles() -> Result<()> {
    let bench = Bench::new()?;
    for (a, b, secret_of_b, is_mixed) in [
        (&[NAMED, REQUIRED][..], &[NAMED, REQUIRED][..], PPK_SECRET, true),
        (&[NAMED], &[NAMED], PPK_SECRET, true),
        (&[NAMED], &[], "", false),
    ] {
        bench.ppk(End::A, a, PPK_SECRET)?;
        bench.ppk(End::B, b, secret_of_b)?;
        bench.holds(|bench| {
            assert_eq!(bench.is_mixed()?, [is_mixed; 2], "{a:?} {b:?}");
            Ok(())
        })?;
    }
    // The keys that replace it come from those that it is in.
    bench.ppk(End::A, &[NAMED, REQUIRED], PPK_SECRET)?;
    bench.ppk(End::B, &[NAMED, REQUIRED], PPK_SECRET)?;
    bench.pair.initiate(End::A)?;
    bench.pair.settled()?;
    for end in [End::A, End::B] {
        bench.gateway(end).rekey_ike(CONNECTION)?;
        bench.pair.settled()?;
        bench.pair.carry(&Tunnel::default())?;
    }
    assert!(bench.is_mixed()?[0]);
    bench.pair.terminate(End::A)?;
    for (secret_of_b, lines_of_b, sentence) in [
        (
            "another-key-under-the-same-name-32",
            &[NAMED, REQUIRED][..],
            "with the post-quantum pre-shared key winter-key",
        ),
        (
            "",
            &[],
            "the peer does not use the post-quantum pre-shared key winter-key, and `ppk_required = yes`",
        ),
    ] {
        bench.ppk(End::B, lines_of_b, secret_of_b)?;
        let answer = bench.gateway(End::A).initiate(CHILD)?;
        assert_ne!(answer.code, Some(0), "it must not come up: {answer:?}");
        assert!(answer.stderr.contains(sentence), "{}", answer.stderr);
    }
    // The other way round Keyway answers, and its log says why.
    let answer = bench.gateway(End::B).initiate(CHILD)?;
    assert_ne!(answer.code, Some(0), "it must not come up: {answer:?}");
    let sentence =
        "the peer uses no post-quantum pre-shared key; winter-key is configured, and `ppk_required = yes`";
    assert!(bench.pair.a.log().contains(sentence), "{}", bench.pair.a.log());
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn ike_sas_without_a_first_child_with_strongswan_in_both_roles() -> Result<()> {
    let bench = Bench::new()?;
    bench.pair.configure(&Tunnel::default().connection_line("childless = force"))?;
    bench.holds(|_| Ok(()))?;
    bench.pair.configure(&Tunnel::default())?;
    // strongSwan 5.9.8 does not know the word.
    bench.configure(End::A, &Tunnel::default().connection_line("childless = prefer"), "", "")?;
    bench.holds(|_| Ok(()))?;
    bench.pair.configure(&Tunnel::default())?;
    for from in [End::A, End::B] {
        let said = bench.gateway(from).swanctl().run(&["--initiate", "--ike", CONNECTION])?;
        assert!(said.contains("initiate completed successfully"), "{said}");
        within(Duration::from_secs(20), "both ends to have an IKE SA without a child", || {
            let alone = |end| {
                let sas = bench.gateway(end).sas().ok()?;
                (sas.len() == 1 && sas[0].children.is_empty()).then_some(())
            };
            alone(End::A).and(alone(End::B))
        })?;
        bench.pair.initiate(from.other())?;
        bench.pair.settled()?;
        bench.pair.carry(&Tunnel::default())?;
        bench.pair.terminate(from)?;
    }
    bench.pair.configure(&Tunnel::default().connection_line("childless = never"))?;
    let sentence = "the peer takes no IKE SA that begins without a Child SA (RFC 6023)";
    let answer = bench.gateway(End::A).swanctl().answer(&["--initiate", "--ike", CONNECTION])?;
    let said = answer.stdout + &answer.stderr;
    assert!(said.contains(sentence), "{said}");
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn several_rounds_with_strongswan_in_both_roles() -> Result<()> {
    let bench = Bench::new()?;
    bench.certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
    for end in [End::A, End::B] {
        bench.certificates.give(bench.gateway(end), "x509ca", "root/ca.crt")?;
        for (out, key) in [("first", "ed25519"), ("second", "p256")] {
            let (out, name) = (format!("{end}-{out}"), format!("{end}.example.org"));
            bench.certificates.make(&["issue", "root", &name, "--key", key, "--out", &out])?;
            bench.certificates.give(bench.gateway(end), "x509", &format!("{out}.crt"))?;
            bench.certificates.give(bench.gateway(end), "private", &format!("{out}.key"))?;
        }
    }
    let second = |end: End, auth: &str| match auth {
        "psk" => format!("local-2 {{\n auth = psk\n id = {end}.example.org\n }}"),
        _ => format!("local-2 {{\n auth = pubkey\n certs = {end}-second.crt\n id = {end}.example.org\n }}"),
    };
    let expected =
        |end: End, auth: &str| format!("remote-2 {{\n auth = {auth}\n id = {end}.example.org\n }}");
    // As the one that begins, strongSwan 5.9.8 takes one proof of the other end only.
    for (first, ours, theirs, begin) in [
        ("psk", "pubkey", "", &[End::A][..]),
        ("psk", "pubkey", "pubkey", &[End::A]),
        ("pubkey", "pubkey", "pubkey", &[End::A]),
        ("pubkey", "", "psk", &[End::B]),
    ] {
        let proof = |end: End| match first {
            "psk" => Proof::secret(),
            _ => Proof::certificate(&format!("{end}-first.crt")),
        };
        let tunnel = Tunnel::default().proven(proof(End::A), proof(End::B));
        for (end, own, peer) in [(End::A, ours, theirs), (End::B, theirs, ours)] {
            let mut sections = String::new();
            if !own.is_empty() {
                sections += &second(end, own);
            }
            if !peer.is_empty() {
                sections += "\n";
                sections += &expected(end.other(), peer);
            }
            bench.configure(end, &tunnel, &sections, "")?;
        }
        bench.holds_from(begin, |_| Ok(()))?;
    }
    bench.pair.lab.dismantle();
    Ok(())
}
