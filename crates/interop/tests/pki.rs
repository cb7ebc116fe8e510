//! `keyway pki` beside strongSwan's `pki`: each takes what the other has made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use interop::{Answer, Result};

/// A directory of its own, in which both programs run.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Result<Place> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pki-{name}"));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory)?;
        Ok(Place(directory))
    }

    fn keyway(&self, arguments: &[&str]) -> Result<Answer> {
        Answer::of(Command::new(interop::keyway_program()?).arg("pki").args(arguments).current_dir(&self.0))
    }

    fn strongswan(&self, arguments: &[&str]) -> Result<Answer> {
        Answer::of(Command::new("pki").args(arguments).current_dir(&self.0))
    }

    /// Has strongSwan make something, which it prints, and keeps it in a file.
    fn make(&self, file: &str, arguments: &[&str]) -> Result<()> {
        let text = self.strongswan(&[arguments, &["--outform", "pem"]].concat())?.success()?;
        Ok(fs::write(self.0.join(file), text)?)
    }
}

#[test]
fn strongswan_takes_what_keyway_makes() -> Result<()> {
    let place = Place::new("ours")?;
    for kind in ["p256", "p384", "rsa2048", "ed25519", "ed448"] {
        let (ca, sub, end) = (format!("{kind}-ca"), format!("{kind}-sub"), format!("{kind}-end"));
        place.keyway(&["ca", &ca, "C=CH, CN=Example CA", "--key", kind])?.success()?;
        place.keyway(&["ca", &sub, "C=CH, CN=Branch CA", "--parent", &ca, "--key", kind])?.success()?;
        place
            .keyway(&["issue", &sub, "gw.example.org", "192.0.2.1", "--out", &end, "--key", kind])?
            .success()?;
        // strongSwan wants to know of every certificate of the chain.
        place.keyway(&["crl", &ca])?.success()?;
        place.keyway(&["crl", &sub])?.success()?;
        let lists = [format!("{ca}/ca.crl"), format!("{sub}/ca.crl")];
        let lists = ["--crl", &lists[0], "--crl", &lists[1]];
        let (ca, branch, end) = (format!("{ca}/ca.crt"), format!("{sub}/ca.crt"), format!("{end}.crt"));
        let verify = ["--verify", "--in", &end, "--cacert", &ca, "--cacert", &branch];
        let said = place.strongswan(&verify)?.success()?;
        assert!(said.contains("certificate trusted, lifetimes valid"), "{kind}: {said}");
        let said = place.strongswan(&[verify.as_slice(), &lists].concat())?.success()?;
        assert!(said.contains("certificate not revoked"), "{kind}: {said}");
        let printed = place.strongswan(&["--print", "--in", &end])?.success()?;
        for line in [
            "subject:  \"CN=gw.example.org\"",
            "issuer:   \"C=CH, CN=Branch CA\"",
            "gw.example.org, 192.0.2.1",
        ] {
            assert!(printed.contains(line), "{line} is missing in:\n{printed}");
        }
        place.keyway(&["revoke", &sub, &end, "--reason", "keyCompromise"])?.success()?;
        let said = place.strongswan(&[verify.as_slice(), &lists].concat())?;
        assert!(said.success().is_err(), "{kind}: a revoked certificate is not accepted");
    }
    Ok(())
}

#[test]
fn keyway_takes_what_strongswan_makes() -> Result<()> {
    let place = Place::new("theirs")?;
    for (kind, options) in [("ecdsa", &["--size", "384"][..]), ("rsa", &["--size", "2048"]), ("ed25519", &[])]
    {
        for owner in ["ca", "end"] {
            let arguments = [&["--gen", "--type", kind], options].concat();
            place.make(&format!("{owner}.key"), &arguments)?;
        }
        let own = ["--self", "--ca", "--type", kind, "--in", "ca.key", "--dn", "C=CH, CN=their CA"];
        place.make("ca.crt", &own)?;
        let issue =
            ["--issue", "--type", "priv", "--in", "end.key", "--cacert", "ca.crt", "--cakey", "ca.key"];
        let names = ["--dn", "C=CH, CN=theirs", "--san", "their.example"];
        place.make("end.crt", &[issue.as_slice(), &names].concat())?;
        let verify = ["verify", "end.crt", "--ca", "ca.crt", "--identity", "their.example"];
        let said = place.keyway(&verify)?.success()?;
        assert_eq!(said, "end.crt: valid: C=CH, CN=theirs, issued by C=CH, CN=their CA\n", "{kind}");
        let revoke = [
            "--signcrl",
            "--cacert",
            "ca.crt",
            "--cakey",
            "ca.key",
            "--reason",
            "superseded",
            "--cert",
            "end.crt",
        ];
        place.make("ca.crl", &revoke)?;
        let refused = place.keyway(&[verify.as_slice(), &["--crl", "ca.crl"]].concat())?;
        let refused = refused.success().expect_err("it is revoked").to_string();
        assert!(refused.contains("the certificate C=CH, CN=theirs was revoked on "), "{kind}: {refused}");
        let key = place.keyway(&["show", "end.key"])?.success()?;
        assert!(key.starts_with("private key  "), "{kind}: {key}");
    }
    Ok(())
}
