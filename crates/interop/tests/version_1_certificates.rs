//! Certificates in IKEv1 between Keyway and strongSwan: both modes of phase 1, every kind of key that has a number, both
//! roles, and what is said when a certificate is not good.

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{CHILD, Certificates, End, Failure, Lab, Pair, Proof, Result, Tunnel, USER, Wire};

const SUITE: (&str, &str) = ("aes256-sha256-modp2048", "aes128gcm16-modp2048");

/// Two gateways without a configuration, and a CA that both trust.
struct Bench {
    pair: Pair,
    certificates: Certificates,
}

impl Bench {
    fn new(wire: Wire, a: Implementation, b: Implementation) -> Result<Bench> {
        let lab = Lab::new(wire)?;
        let certificates = Certificates::new(&lab)?;
        certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
        let (a, b) = (a.start(&lab, End::A)?, b.start(&lab, End::B)?);
        Ok(Bench { pair: Pair { a, b, lab }, certificates })
    }

    /// Gives each end a fresh key of a kind, certified by the CA, in place of what they have.
    fn begin(&self, key: &str) -> Result<[Proof; 2]> {
        let of = |end: End| -> Result<Proof> {
            let (gateway, name) = (self.pair.gateway(end), format!("{end}.example.org"));
            self.certificates.take_back(gateway);
            self.certificates.give(gateway, "x509ca", "root/ca.crt")?;
            let out = format!("{end}-{key}");
            if !self.certificates.has(&format!("{out}.crt")) {
                self.certificates.make(&["issue", "root", &name, "--key", key, "--out", &out])?;
            }
            self.certificates.give(gateway, "x509", &format!("{out}.crt"))?;
            self.certificates.give(gateway, "private", &format!("{out}.key"))?;
            Ok(Proof::certificate(&format!("{out}.crt")))
        };
        Ok([of(End::A)?, of(End::B)?])
    }

    /// Brings the tunnel up from these ends in turn, and carries packets through it.
    fn holds(&self, tunnel: &Tunnel, from: &[End]) -> Result<()> {
        self.pair.configure(tunnel)?;
        for from in from {
            self.pair.initiate(*from)?;
            self.pair.settled()?;
            self.pair.carry(tunnel)?;
            self.pair.terminate(*from)?;
        }
        Ok(())
    }
}

fn tunnel(aggressive: &str, [a, b]: [Proof; 2]) -> Tunnel {
    let tunnel = Tunnel { version: 1, ..Tunnel::default() }.suite(SUITE.0, SUITE.1).proven(a, b);
    tunnel.connection_line(&format!("aggressive = {aggressive}"))
}

/// Every kind of key in both modes; the hash of phase 1 is not always that of the curve.
fn every_kind(wire: Wire, a: Implementation, b: Implementation, from: &[End]) -> Result<()> {
    let bench = Bench::new(wire, a, b)?;
    for key in ["rsa2048", "p256", "p384", "p521"] {
        let proofs = bench.begin(key)?;
        for aggressive in ["no", "yes"] {
            let held = bench.holds(&tunnel(aggressive, proofs.clone()), from);
            held.map_err(Failure::at(format!("{key}, aggressive = {aggressive}")))?;
        }
    }
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn every_kind_of_key_with_strongswan_in_both_roles() -> Result<()> {
    every_kind(Wire::Plain, Keyway, StrongSwan, &[End::A, End::B])
}

#[test]
fn every_kind_of_key_from_keyway_through_nat() -> Result<()> {
    every_kind(Wire::Nat, Keyway, StrongSwan, &[End::A])
}

#[test]
fn every_kind_of_key_from_strongswan_through_nat() -> Result<()> {
    every_kind(Wire::Nat, StrongSwan, Keyway, &[End::A])
}

/// A certificate for one device, and nothing but a password for the user of the other.
#[test]
fn users_without_certificates() -> Result<()> {
    let bench = Bench::new(Wire::Plain, Keyway, StrongSwan)?;
    let [a, b] = bench.begin("rsa2048")?;
    for aggressive in ["no", "yes"] {
        for (of, proofs) in [(End::A, [Proof::user(), b.clone()]), (End::B, [a.clone(), Proof::user()])] {
            let tunnel = tunnel(aggressive, proofs).user_of(of);
            bench.holds(&tunnel, &[of])?;
        }
    }
    bench.pair.lab.dismantle();
    Ok(())
}

/// Certificates for the devices, and a password for the user of either end.
#[test]
fn users_behind_rsa_keys() -> Result<()> {
    let bench = Bench::new(Wire::Plain, Keyway, StrongSwan)?;
    let proofs = bench.begin("rsa2048")?;
    for aggressive in ["no", "yes"] {
        for of in [End::A, End::B] {
            let tunnel = tunnel(aggressive, proofs.clone()).user_of(of);
            bench.pair.configure(&tunnel)?;
            bench.pair.initiate(of)?;
            bench.pair.settled()?;
            bench.pair.carry(&tunnel)?;
            if of == End::B {
                let listed = bench.pair.a.swanctl().run(&["--list-sas", "--raw"])?;
                assert!(listed.contains(&format!("remote-xauth-id={USER}")), "{listed}");
            }
            bench.pair.terminate(of)?;
        }
    }
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn a_certificate_that_is_not_good_is_refused_by_either_end() -> Result<()> {
    let bench = Bench::new(Wire::Plain, Keyway, StrongSwan)?;
    bench.certificates.make(&["ca", "stranger", "CN=Stranger"])?;
    let [a, _] = bench.begin("p256")?;
    bench.certificates.make(&[
        "issue",
        "stranger",
        "b.example.org",
        "--key",
        "p256",
        "--out",
        "b-stranger",
    ])?;
    let b = bench.pair.gateway(End::B);
    bench.certificates.take_back(b);
    bench.certificates.give(b, "x509ca", "root/ca.crt")?;
    bench.certificates.give(b, "x509", "b-stranger.crt")?;
    bench.certificates.give(b, "private", "b-stranger.key")?;
    bench.pair.configure(&tunnel("no", [a, Proof::certificate("b-stranger.crt")]))?;
    let answer = bench.pair.a.initiate(CHILD)?;
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    let said = format!("{}{}", answer.stdout, answer.stderr);
    assert!(said.contains("was issued by CN=Stranger"), "{said}");
    let answer = b.initiate(CHILD)?;
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    assert!(bench.pair.a.log().contains("was issued by CN=Stranger"), "{}", bench.pair.a.log());
    bench.pair.lab.dismantle();
    Ok(())
}
