//! ML-DSA in certificates (RFC 9881) beside an OpenSSL that knows it, and in IKE (draft-ietf-ipsecme-ikev2-pqc-auth) between
//! two Keyways, for no other daemon that we know of signs with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use interop::Implementation::Keyway;
use interop::{Answer, Certificates, End, Lab, NewerOpenSsl, Pair, Proof, Result, Tunnel, Wire};

const SETS: [(&str, &str); 3] =
    [("mldsa44", "ML-DSA-44"), ("mldsa65", "ML-DSA-65"), ("mldsa87", "ML-DSA-87")];

/// A directory of its own, in which both programs run.
struct Place {
    directory: PathBuf,
    openssl: NewerOpenSsl,
}

impl Place {
    fn new(name: &str) -> Result<Place> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ml-dsa-{name}"));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory)?;
        let openssl = NewerOpenSsl::find(&directory)?;
        Ok(Place { directory, openssl })
    }

    fn keyway(&self, arguments: &[&str]) -> Result<Answer> {
        Answer::of(
            Command::new(interop::keyway_program()?).arg("pki").args(arguments).current_dir(&self.directory),
        )
    }

    fn openssl(&self, arguments: &[&str]) -> Result<String> {
        self.openssl.run(arguments)?.success()
    }
}

#[test]
fn strongswan6_comes_with_an_openssl_that_takes_ml_dsa_of_ours() -> Result<()> {
    let place = Place::new("ours")?;
    for (kind, name) in SETS {
        let (ca, end) = (format!("{kind}-ca"), format!("{kind}-end"));
        place.keyway(&["ca", &ca, "C=CH, CN=Example CA", "--key", kind])?.success()?;
        place.keyway(&["issue", &ca, "gw.example.org", "--out", &end, "--key", kind])?.success()?;
        place.keyway(&["crl", &ca])?.success()?;
        let (ca_file, list) = (format!("{ca}/ca.crt"), format!("{ca}/ca.crl"));
        let (end_file, key_file) = (format!("{end}.crt"), format!("{end}.key"));
        let verify =
            ["verify", "-x509_strict", "-CAfile", &ca_file, "-crl_check", "-CRLfile", &list, &end_file];
        place.openssl(&verify)?;
        let printed = place.openssl(&["x509", "-in", &end_file, "-noout", "-text"])?;
        assert!(printed.matches(&format!("Signature Algorithm: {name}")).count() >= 1, "{printed}");
        assert!(printed.contains(&format!("Public Key Algorithm: {name}")), "{printed}");
        // The key is the certificate's, and OpenSSL signs with it what only that verifies.
        let of_key = place.openssl(&["pkey", "-in", &key_file, "-pubout"])?;
        let of_certificate = place.openssl(&["x509", "-in", &end_file, "-noout", "-pubkey"])?;
        assert_eq!(of_key, of_certificate, "{kind}");
        let (asks, request) = (format!("{kind}-asks"), format!("{kind}-asks.csr"));
        place.keyway(&["request", "C=CH, CN=asks", "--out", &asks, "--key", kind])?.success()?;
        place.openssl(&["req", "-in", &request, "-verify", "-noout"])?;
        place.keyway(&["revoke", &ca, &end_file])?.success()?;
        assert!(place.openssl(&verify).is_err(), "{kind}: a revoked certificate is not accepted");
    }
    Ok(())
}

#[test]
fn strongswan6_comes_with_an_openssl_whose_ml_dsa_we_take() -> Result<()> {
    let place = Place::new("theirs")?;
    for (kind, name) in SETS {
        // RFC 9881 §6: the three forms of a private key.
        for form in ["seed-only", "priv-only", "seed-priv"] {
            let provider = ["-provparam", &format!("ml-dsa.output_formats={form}")].map(str::to_owned);
            let provider = provider.each_ref().map(String::as_str);
            let make = ["genpkey", "-algorithm", name, "-out", "ca.key"];
            place.openssl(&[&make, provider.as_slice()].concat())?;
            let make = ["genpkey", "-algorithm", name, "-out", "end.key"];
            place.openssl(&[&make, provider.as_slice()].concat())?;
            let root =
                ["req", "-x509", "-new", "-key", "ca.key", "-subj", "/C=CH/CN=their CA", "-out", "ca.crt"];
            let usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"];
            place.openssl(&[root.as_slice(), &usage].concat())?;
            let issue = [
                "req",
                "-x509",
                "-new",
                "-key",
                "end.key",
                "-subj",
                "/C=CH/CN=theirs",
                "-CA",
                "ca.crt",
                "-CAkey",
                "ca.key",
                "-out",
                "end.crt",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-addext",
                "subjectAltName=DNS:their.example",
                "-addext",
                "keyUsage=digitalSignature",
            ];
            place.openssl(&issue)?;
            let verify = ["verify", "end.crt", "--ca", "ca.crt", "--identity", "their.example"];
            let said = place.keyway(&verify)?.success()?;
            assert_eq!(
                said, "end.crt: valid: C=CH, CN=theirs, issued by C=CH, CN=their CA\n",
                "{kind} {form}"
            );
            let shown = place.keyway(&["show", "end.key", "end.crt"])?.success()?;
            assert!(shown.contains(&format!("private key  {name}")), "{form}: {shown}");
            assert!(shown.contains(&format!("key        {name}")), "{form}: {shown}");
        }
        // A signature that another key made is found out.
        place.openssl(&["genpkey", "-algorithm", name, "-out", "other.key"])?;
        let other =
            ["req", "-x509", "-new", "-key", "other.key", "-subj", "/C=CH/CN=their CA", "-out", "other.crt"];
        place.openssl(&other)?;
        let refused = place.keyway(&["verify", "end.crt", "--ca", "other.crt"])?.success();
        assert!(refused.is_err(), "{kind}");
    }
    Ok(())
}

#[test]
fn ml_dsa_proves_both_ends() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let certificates = Certificates::new(&lab)?;
    certificates.make(&["ca", "root", "C=CH, CN=Root CA", "--key", "mldsa87"])?;
    certificates.make(&["ca", "sub", "C=CH, CN=Sub CA", "--parent", "root", "--key", "mldsa65"])?;
    let (a, b) = (Keyway.start(&lab, End::A)?, Keyway.start(&lab, End::B)?);
    let pair = Pair { a, b, lab };
    for (kind, _) in SETS {
        let mut proofs = Vec::new();
        for end in [End::A, End::B] {
            let gateway = pair.gateway(end);
            let (name, out) = (format!("{end}.example.org"), format!("{end}-{kind}"));
            certificates.take_back(gateway);
            certificates.give(gateway, "x509ca", "root/ca.crt")?;
            certificates.give(gateway, "x509", "sub/ca.crt")?;
            certificates.make(&["issue", "sub", &name, "--key", kind, "--out", &out])?;
            certificates.give(gateway, "x509", &format!("{out}.crt"))?;
            certificates.give(gateway, "private", &format!("{out}.key"))?;
            let own = format!("certs = {out}.crt");
            proofs.push(Proof::of(&[&format!("auth = {kind}"), &own], &[&format!("auth = {kind}")]));
        }
        let [of_a, of_b] = <[Proof; 2]>::try_from(proofs).expect("one for each end");
        let tunnel = Tunnel::default().proven(of_a, of_b);
        pair.configure(&tunnel)?;
        for from in [End::A, End::B] {
            pair.initiate(from)?;
            pair.settled()?;
            pair.carry(&tunnel)?;
            pair.terminate(from)?;
        }
    }
    pair.lab.dismantle();
    Ok(())
}
