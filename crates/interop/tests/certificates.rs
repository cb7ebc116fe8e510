//! Certificates between Keyway and strongSwan: every kind of key in both roles, chains, mixed methods, and what is said when a
//! certificate is not good.

use std::fs;
use std::process::Command;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{
    Answer, CHILD, CONNECTION, Certificates, End, Gateway, Lab, Pair, Proof, Result, Tunnel, Wire,
};

/// Two gateways without a configuration, and a CA that both trust.
struct Bench {
    pair: Pair,
    certificates: Certificates,
}

impl Bench {
    fn new(a: Implementation, b: Implementation) -> Result<Bench> {
        let lab = Lab::new(Wire::Plain)?;
        let certificates = Certificates::new(&lab)?;
        certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
        let (a, b) = (a.start(&lab, End::A)?, b.start(&lab, End::B)?);
        Ok(Bench { pair: Pair { a, b, lab }, certificates })
    }

    /// Takes back what the gateways have, and gives both the root.
    fn begin(&self) -> Result<()> {
        for end in [End::A, End::B] {
            self.certificates.take_back(self.gateway(end));
            self.certificates.give(self.gateway(end), "x509ca", "root/ca.crt")?;
        }
        Ok(())
    }

    /// Certifies a fresh key of an end, and gives it both.
    fn certify(&self, end: End, ca: &str, key: &str) -> Result<Proof> {
        let (name, out) = (format!("{end}.example.org"), format!("{end}-{key}"));
        if self.certificates.has(&format!("{out}.crt")) {
            return self.hand_over(end, &out);
        }
        self.certificates.make(&["issue", ca, &name, "--key", key, "--out", &out])?;
        self.hand_over(end, &out)
    }

    fn hand_over(&self, end: End, out: &str) -> Result<Proof> {
        let gateway = self.gateway(end);
        self.certificates.give(gateway, "x509", &format!("{out}.crt"))?;
        self.certificates.give(gateway, "private", &format!("{out}.key"))?;
        Ok(Proof::certificate(&format!("{out}.crt")))
    }

    fn gateway(&self, end: End) -> &dyn Gateway {
        self.pair.gateway(end)
    }

    /// Brings the tunnel up from either end in turn, and carries packets through it.
    fn holds(&self, tunnel: &Tunnel) -> Result<()> {
        self.pair.configure(tunnel)?;
        for from in [End::A, End::B] {
            self.pair.initiate(from)?;
            self.pair.settled()?;
            self.pair.carry(tunnel)?;
            self.pair.terminate(from)?;
        }
        Ok(())
    }

    /// Has a try from `from` fail, and gives what is said there and what Keyway at a logs.
    fn fails(&self, tunnel: &Tunnel, from: End) -> Result<(String, String)> {
        self.pair.configure(tunnel)?;
        let answer = self.gateway(from).initiate(CHILD)?;
        assert_ne!(answer.code, Some(0), "it must not come up: {answer:?}");
        Ok((format!("{}{}", answer.stdout, answer.stderr), self.pair.a.log()))
    }
}

#[test]
fn every_kind_of_key_with_strongswan_in_both_roles() -> Result<()> {
    let bench = Bench::new(Keyway, StrongSwan)?;
    for key in ["rsa2048", "rsa3072", "p256", "p384", "p521", "ed25519", "ed448"] {
        bench.begin()?;
        let (a, b) = (bench.certify(End::A, "root", key)?, bench.certify(End::B, "root", key)?);
        bench.holds(&Tunnel::default().proven(a, b))?;
        let log = bench.pair.b.log();
        assert!(log.contains("authentication of 'a.example.org' with"), "{key}: {log}");
    }
    bench.pair.lab.dismantle();
    Ok(())
}

/// Curves that strongSwan has of its OpenSSL (RFC 5639), in certificates and in IKE.
#[test]
fn brainpool_keys_with_strongswan_in_both_roles() -> Result<()> {
    let bench = Bench::new(Keyway, StrongSwan)?;
    for key in ["brainpool256", "brainpool384", "brainpool512"] {
        bench.certificates.make(&["ca", key, "C=CH, CN=Brainpool CA", "--key", key])?;
        bench.begin()?;
        for end in [End::A, End::B] {
            bench.certificates.give(bench.gateway(end), "x509ca", &format!("{key}/ca.crt"))?;
        }
        let (a, b) = (bench.certify(End::A, key, key)?, bench.certify(End::B, key, key)?);
        bench.holds(&Tunnel::default().proven(a, b))?;
    }
    let log = bench.pair.b.log();
    for end in ["a", "b"] {
        let line = format!("authentication of '{end}.example.org' ");
        for named in ["ECDSA_WITH_SHA256_DER", "ECDSA_WITH_SHA384_DER", "ECDSA_WITH_SHA512_DER"] {
            let says = log.lines().any(|said| said.contains(&line) && said.contains(named));
            assert!(says, "{end} {named}: {log}");
        }
    }
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn either_padding_of_rsa_with_strongswan() -> Result<()> {
    let bench = Bench::new(Keyway, StrongSwan)?;
    bench.begin()?;
    bench.certify(End::A, "root", "rsa2048")?;
    bench.certify(End::B, "root", "rsa2048")?;
    let log_of_b = |bench: &Bench| bench.pair.b.log();
    for (auth, named) in [
        ("ike:rsa/pss-sha512", "RSA_EMSA_PSS_SHA2_512"),
        ("ike:rsa-sha384", "RSA_EMSA_PKCS1_SHA2_384"),
        ("ike:rsa/pss-sha256", "RSA_EMSA_PSS_SHA2_256"),
    ] {
        let proof = |end: End| {
            let certificate = format!("certs = {end}-rsa2048.crt");
            Proof::of(&[&format!("auth = {auth}"), &certificate], &[&format!("auth = {auth}")])
        };
        bench.holds(&Tunnel::default().proven(proof(End::A), proof(End::B)))?;
        let log = log_of_b(&bench);
        for end in ["a", "b"] {
            let line = format!("authentication of '{end}.example.org' ");
            let says = log.lines().any(|said| said.contains(&line) && said.contains(named));
            assert!(says, "{end} {auth}: {log}");
        }
    }
    bench.pair.lab.dismantle();
    Ok(())
}

/// A peer from before RFC 7427: RSA with SHA-1 is all it knows of RSA, and curves have numbers of their own.
#[test]
fn the_numbered_methods_of_older_peers() -> Result<()> {
    let mut bench = Bench::new(Keyway, StrongSwan)?;
    let settings = bench.pair.b.swanctl().directory().join("run/strongswan.conf");
    let older =
        fs::read_to_string(&settings)?.replacen("charon {", "charon {\n   signature_authentication = no", 1);
    fs::write(&settings, older)?;
    bench.pair.b.stop()?;
    bench.pair.b.start()?;
    for (key, line) in [("p256", ""), ("p384", ""), ("p521", ""), ("rsa2048", "allow_weak = yes")] {
        bench.begin()?;
        let (a, b) = (bench.certify(End::A, "root", key)?, bench.certify(End::B, "root", key)?);
        bench.holds(&Tunnel::default().connection_line(line).proven(a, b))?;
    }
    let log = bench.pair.b.log();
    for named in ["ECDSA-256", "ECDSA-384", "ECDSA-521", "RSA signature"] {
        let line = format!("authentication of 'a.example.org' with {named}");
        assert!(log.contains(&line), "{named}: {log}");
    }
    // Nobody has consented to SHA-1.
    let proof = |end: End| Proof::certificate(&format!("{end}-rsa2048.crt"));
    let (said, _) = bench.fails(&Tunnel::default().proven(proof(End::A), proof(End::B)), End::A)?;
    assert!(said.contains("the peer knows SHA-1 only, which allow_weak = yes would use"), "{said}");
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn intermediate_cas_are_sent_by_both() -> Result<()> {
    let bench = Bench::new(Keyway, StrongSwan)?;
    bench.certificates.make(&["ca", "sub", "C=CH, CN=Sub CA", "--parent", "root", "--key", "p384"])?;
    bench.certificates.make(&[
        "ca",
        "branch",
        "C=CH, CN=Branch CA",
        "--parent",
        "sub",
        "--key",
        "rsa2048",
    ])?;
    bench.begin()?;
    let mut proofs = Vec::new();
    for end in [End::A, End::B] {
        proofs.push(bench.certify(end, "branch", "p256")?);
        for ca in ["sub/ca.crt", "branch/ca.crt"] {
            bench.certificates.give(bench.gateway(end), "x509", ca)?;
        }
    }
    let (b, a) = (proofs.pop().expect("two"), proofs.pop().expect("two"));
    // Each has the other's chain, too; only what is sent proves that it is sent.
    bench.holds(&Tunnel::default().proven(a, b))?;
    let log = bench.pair.b.log();
    assert!(log.contains("received issuer cert \"C=CH, CN=Sub CA\""), "{log}");
    bench.pair.lab.dismantle();
    Ok(())
}

/// Keyway has the CAs above its certificate, and the one that it trusts, in PKCS #7 bundles that OpenSSL has made; strongSwan
/// gets all of the chain from it.
#[test]
fn intermediate_cas_come_in_pkcs7_bundles() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let certificates = Certificates::new(&lab)?;
    certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
    certificates.make(&["ca", "sub", "C=CH, CN=Sub CA", "--parent", "root", "--key", "p384"])?;
    certificates.make(&["ca", "branch", "C=CH, CN=Branch CA", "--parent", "sub", "--key", "rsa2048"])?;
    for (end, ca) in [("a", "branch"), ("b", "root")] {
        certificates.make(&["issue", ca, &format!("{end}.example.org"), "--out", end])?;
    }
    let (a, b) = (interop::Keyway::start(&lab, End::A)?, StrongSwan.start(&lab, End::B)?);
    for (gateway, end) in [(&a as &dyn Gateway, "a"), (&*b, "b")] {
        certificates.give(gateway, "x509", &format!("{end}.crt"))?;
        certificates.give(gateway, "private", &format!("{end}.key"))?;
    }
    certificates.give(&*b, "x509ca", "root/ca.crt")?;
    let tunnel = Tunnel::default().proven(Proof::certificate("a.crt"), Proof::certificate("b.crt"));
    b.configure(&tunnel.text(&lab, End::B))?;
    let path = |file: &str| lab.directory().join("pki").join(file);
    for form in ["DER", "PEM"] {
        for (bundle, folder, inside) in [
            ("chain.p7b", "x509", &["sub/ca.crt", "branch/ca.crt"][..]),
            ("trusted.p7b", "x509ca", &["root/ca.crt"]),
        ] {
            let mut openssl = Command::new("openssl");
            openssl.args(["crl2pkcs7", "-nocrl", "-outform", form, "-out"]).arg(path(bundle));
            for file in inside {
                openssl.arg("-certfile").arg(path(file));
            }
            Answer::of(&mut openssl)?.success()?;
            certificates.give(&a, folder, bundle)?;
        }
        // swanctl knows no bundles: Keyway reads the folders itself.
        fs::write(a.directory().join("swanctl.conf"), tunnel.text(&lab, End::A))?;
        a.command(&["reload"])?.success()?;
        a.initiate(CHILD)?.success()?;
        a.terminate(CONNECTION)?;
    }
    let log = b.log();
    for ca in ["Sub CA", "Branch CA"] {
        assert!(log.contains(&format!("received issuer cert \"C=CH, CN={ca}\"")), "{ca}: {log}");
    }
    drop((a, b));
    lab.dismantle();
    Ok(())
}

#[test]
fn a_certificate_at_one_end_and_a_secret_at_the_other() -> Result<()> {
    let bench = Bench::new(Keyway, StrongSwan)?;
    bench.begin()?;
    let (a, b) = (bench.certify(End::A, "root", "ed25519")?, bench.certify(End::B, "root", "p256")?);
    bench.holds(&Tunnel::default().proven(a, Proof::secret()))?;
    bench.holds(&Tunnel::default().proven(Proof::secret(), b))?;
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn what_is_not_good_is_refused_in_a_sentence() -> Result<()> {
    let bench = Bench::new(Keyway, StrongSwan)?;
    let certificates = &bench.certificates;
    certificates.make(&["ca", "stranger", "C=CH, CN=Stranger"])?;
    let issue = |out: &str, ca: &str, arguments: &[&str]| {
        certificates.make(&["request", "b.example.org", "--out", out])?;
        let (csr, key) = (format!("{out}.csr"), format!("{ca}/ca.key"));
        let ca = format!("{ca}/ca.crt");
        let fixed = ["--issue", "--type", "pkcs10", "--in", &csr, "--cacert", &ca, "--cakey", &key];
        certificates.make_elsewhere(&format!("{out}.crt"), &[fixed.as_slice(), arguments].concat())
    };
    issue("strange", "stranger", &["--san", "b.example.org"])?;
    let past =
        ["--not-before", "20240101000000", "--not-after", "20250101000000", "--dateform", "%Y%m%d%H%M%S"];
    issue("old", "root", &[&["--san", "b.example.org"], past.as_slice()].concat())?;
    for (out, sentence) in [
        (
            "strange",
            "the certificate CN=b.example.org was issued by C=CH, CN=Stranger, whose certificate neither we nor the peer have",
        ),
        ("old", "the certificate CN=b.example.org expired on 2025-01-01 00:00:00 UTC"),
    ] {
        bench.begin()?;
        let a = bench.certify(End::A, "root", "p256")?;
        let b = bench.hand_over(End::B, out)?;
        let tunnel = Tunnel::default().proven(a, b);
        let (said, _) = bench.fails(&tunnel, End::A)?;
        assert!(said.contains(sentence), "{out}: {said}");
        // The other way round Keyway answers, and its log says why.
        let (_, log) = bench.fails(&tunnel, End::B)?;
        assert!(log.matches(sentence).count() >= 2, "{out}: {log}");
    }
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn another_identity_than_the_certificate_s_is_refused() -> Result<()> {
    let bench = Bench::new(Keyway, StrongSwan)?;
    bench.begin()?;
    let a = bench.certify(End::A, "root", "p256")?;
    bench.certificates.make(&["issue", "root", "c.example.org", "--out", "other"])?;
    let b = bench.hand_over(End::B, "other")?;
    let tunnel = Tunnel::default().proven(a, b);
    let sentence =
        "identity b.example.org is not in the certificate, which names CN=c.example.org, c.example.org";
    let (said, _) = bench.fails(&tunnel, End::A)?;
    assert!(said.contains(sentence), "{said}");
    let (_, log) = bench.fails(&tunnel, End::B)?;
    assert!(log.matches(sentence).count() >= 2, "{log}");
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn a_revoked_certificate_is_refused() -> Result<()> {
    let bench = Bench::new(Keyway, StrongSwan)?;
    bench.begin()?;
    let a = bench.certify(End::A, "root", "p256")?;
    bench.certify(End::B, "root", "p256")?;
    let strict =
        Proof::of(&["auth = pubkey", "certs = b-p256.crt"], &["auth = pubkey", "revocation = strict"]);
    let tunnel = Tunnel::default().proven(a, strict);
    let unknown = "whether the certificate CN=b.example.org is revoked is not known";
    let (said, _) = bench.fails(&tunnel, End::A)?;
    assert!(said.contains(unknown), "{said}");
    bench.certificates.make(&["crl", "root"])?;
    bench.certificates.give(bench.gateway(End::A), "x509crl", "root/ca.crl")?;
    bench.holds(&tunnel)?;
    bench.certificates.make(&["revoke", "root", "b-p256.crt", "--reason", "keyCompromise"])?;
    bench.certificates.give(bench.gateway(End::A), "x509crl", "root/ca.crl")?;
    let (said, _) = bench.fails(&tunnel, End::A)?;
    assert!(said.contains("the certificate CN=b.example.org was revoked on"), "{said}");
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn a_renewed_certificate_is_taken_up_without_a_restart() -> Result<()> {
    let bench = Bench::new(Keyway, Keyway)?;
    bench.begin()?;
    let (a, b) = (bench.certify(End::A, "root", "p256")?, bench.certify(End::B, "root", "p256")?);
    let tunnel = Tunnel::default().proven(a, b);
    bench.pair.configure(&tunnel)?;
    bench.pair.initiate(End::A)?;
    bench.pair.settled()?;
    bench.pair.terminate(End::A)?;
    bench.certificates.make(&["issue", "root", "b.example.org", "--key", "ed25519", "--out", "renewed"])?;
    let folder = bench.pair.b.swanctl().directory().to_owned();
    let path = |file: &str| bench.pair.lab.directory().join("pki").join(file);
    fs::copy(path("renewed.crt"), folder.join("x509/b-p256.crt"))?;
    fs::copy(path("renewed.key"), folder.join("private/b-p256.key"))?;
    bench.pair.b.configure(&tunnel.text(&bench.pair.lab, End::B))?;
    bench.pair.initiate(End::A)?;
    bench.pair.settled()?;
    bench.pair.b.terminate(CONNECTION)?;
    bench.pair.lab.dismantle();
    Ok(())
}
