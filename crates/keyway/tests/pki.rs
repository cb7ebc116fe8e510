//! `keyway pki` from a new CA to a revoked certificate, and OpenSSL beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of its own, in which commands run.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pki-{name}"));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory).expect("the directory can be made");
        Place(directory)
    }

    /// Runs a command, and gives what it prints, or what it complains about.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program).args(arguments).current_dir(&self.0).output();
        let output = output.unwrap_or_else(|error| panic!("this test needs the program {program}: {error}"));
        let text = |octets: Vec<u8>| String::from_utf8(octets).expect("text");
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn pki(&self, arguments: &[&str]) -> Result<String, String> {
        self.run(env!("CARGO_BIN_EXE_keyway"), &[&["pki"], arguments].concat())
    }

    fn openssl(&self, arguments: &[&str]) -> Result<String, String> {
        self.run("openssl", arguments)
    }

    fn mode(&self, file: &str) -> u32 {
        fs::metadata(self.0.join(file)).expect(file).permissions().mode() & 0o777
    }
}

fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[test]
fn a_newcomer_needs_no_other_tool() {
    let place = Place::new("newcomer");
    let said = place.pki(&["ca", "ca", "C=CH, O=Example, CN=Example CA"]).unwrap();
    has(
        &said,
        &["The CA C=CH, O=Example, CN=Example CA is in ca, valid until ", "keep ca/ca.key to yourself"],
    );
    let said = place.pki(&["issue", "ca", "gw.example.org", "192.0.2.1"]).unwrap();
    has(
        &said,
        &["CN=gw.example.org, also for gw.example.org, 192.0.2.1 is in gw.example.org.crt, valid until "],
    );
    assert_eq!((place.mode("ca/ca.key"), place.mode("gw.example.org.key")), (0o600, 0o600));
    assert_eq!((place.mode("ca/ca.crt"), place.mode("gw.example.org.crt")), (0o644, 0o644));

    place.pki(&["request", "C=CH, CN=alice", "alice@example.org", "--key", "ed25519"]).unwrap();
    place.pki(&["sign", "ca", "alice.csr", "--days", "10", "--purpose", "client"]).unwrap();
    let shown = place.pki(&["show", "alice.crt", "alice.csr", "alice.key"]).unwrap();
    has(
        &shown,
        &[
            "certificate  C=CH, CN=alice",
            "names      alice@example.org",
            "issuer     C=CH, O=Example, CN=Example CA",
            "key        Ed25519, for digitalSignature",
            "purposes   clientAuth, ipsecIKE",
            "signature  ECDSA and SHA-256",
            "signed     with this key",
            "private key  Ed25519",
        ],
    );

    let trusting = ["--ca", "ca/ca.crt"];
    let verify = |more: &[&str]| place.pki(&[&["verify", "alice.crt"], trusting.as_slice(), more].concat());
    assert_eq!(
        verify(&["--identity", "alice@example.org"]).unwrap(),
        "alice.crt: valid: C=CH, CN=alice, issued by C=CH, O=Example, CN=Example CA\n"
    );
    assert_eq!(
        verify(&["--identity", "bob@example.org"]).unwrap_err(),
        "keyway: identity bob@example.org is not in the certificate, which names C=CH, CN=alice, alice@example.org\n"
    );
    let said = place.pki(&["revoke", "ca", "alice.crt", "--reason", "superseded"]).unwrap();
    has(&said, &["1 certificate is revoked; the CRL is in ca/ca.crl"]);
    let revoked = verify(&["--crl", "ca/ca.crl"]).unwrap_err();
    has(&revoked, &["keyway: the certificate C=CH, CN=alice was revoked on ", " UTC (superseded)"]);
    has(
        &place.pki(&["show", "ca/ca.crl"]).unwrap(),
        &["CRL          of C=CH, O=Example, CN=Example CA", "superseded"],
    );
}

#[test]
fn openssl_agrees_with_all_of_it() {
    let place = Place::new("openssl");
    let kinds = ["p256", "p384", "p521", "rsa2048", "ed25519", "ed448", "brainpool256"];
    for kind in kinds {
        let (ca, sub, end) = (format!("{kind}-ca"), format!("{kind}-sub"), format!("{kind}-end"));
        place.pki(&["ca", &ca, "CN=Example CA", "--key", kind]).unwrap();
        place.pki(&["ca", &sub, "CN=Branch CA", "--parent", &ca, "--path-len", "0", "--key", kind]).unwrap();
        place.pki(&["issue", &sub, "gw.example.org", "--out", &end, "--key", kind]).unwrap();
        let files = [format!("{ca}/ca.crt"), format!("{sub}/ca.crt"), format!("{end}.crt")];
        let [ca_file, sub_file, end_file] = files.each_ref().map(String::as_str);
        let verify = ["verify", "-x509_strict", "-CAfile", ca_file, "-untrusted", sub_file];
        place.openssl(&[verify.as_slice(), &[end_file]].concat()).unwrap();
        has(
            &place.openssl(&["x509", "-in", end_file, "-noout", "-text"]).unwrap(),
            &["Subject: CN = gw.example.org", "DNS:gw.example.org", "Issuer: CN = Branch CA"],
        );
        has(&place.openssl(&["x509", "-in", sub_file, "-noout", "-text"]).unwrap(), &["CA:TRUE, pathlen:0"]);
        place.openssl(&["pkey", "-in", &format!("{end}.key"), "-noout", "-check"]).unwrap();

        place.pki(&["crl", &sub]).unwrap();
        let crl = format!("{sub}/ca.crl");
        place.openssl(&["crl", "-in", &crl, "-CAfile", sub_file, "-noout"]).unwrap();
        let with_list = ["-crl_check", "-CRLfile", &crl, end_file];
        place.openssl(&[verify.as_slice(), &with_list].concat()).unwrap();
        place.pki(&["revoke", &sub, end_file]).unwrap();
        place.openssl(&[verify.as_slice(), &with_list].concat()).unwrap_err();
        has(&place.openssl(&["crl", "-in", &crl, "-noout", "-crlnumber"]).unwrap(), &["crlNumber=0x02"]);
    }
}

#[test]
fn a_request_that_openssl_made_is_certified() {
    let place = Place::new("foreign-request");
    place.pki(&["ca", "ca", "CN=Example CA"]).unwrap();
    let request = [
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "their.key",
        "-out",
        "their.csr",
        "-subj",
    ];
    place
        .openssl(
            &[request.as_slice(), &["/CN=theirs", "-addext", "subjectAltName=DNS:their.example"]].concat(),
        )
        .unwrap();
    has(
        &place.pki(&["sign", "ca", "their.csr"]).unwrap(),
        &["CN=theirs, also for their.example is in their.crt"],
    );
    has(
        &place.pki(&["sign", "ca", "their.csr", "other.example", "--out", "other.crt"]).unwrap(),
        &["CN=other.example, also for other.example is in other.crt"],
    );
    place.openssl(&["verify", "-CAfile", "ca/ca.crt", "their.crt", "other.crt"]).unwrap();
    // A bundle as others make it, behind a password.
    fs::write(place.0.join("secret"), "swordfish\n").unwrap();
    let export = ["pkcs12", "-export", "-inkey", "their.key", "-in", "their.crt", "-out", "their.p12"];
    place.openssl(&[export.as_slice(), &["-passout", "pass:swordfish"]].concat()).unwrap();
    let shown = place.pki(&["show", "their.p12", "--password", "secret"]).unwrap();
    has(&shown, &["certificate  CN=theirs", "private key  RSA 2048"]);
    assert_eq!(
        place.pki(&["show", "their.p12"]).unwrap_err(),
        "keyway: their.p12: the PKCS #12 file cannot be opened: the password does not open it\n"
    );
}

#[test]
fn an_encrypted_ca_opens_with_its_password_only() {
    let place = Place::new("encrypted");
    fs::write(place.0.join("secret"), "correct horse\n").unwrap();
    fs::write(place.0.join("wrong"), "battery staple\n").unwrap();
    place.pki(&["ca", "ca", "CN=Example CA", "--encrypt-with", "secret"]).unwrap();
    assert_eq!(
        place.pki(&["issue", "ca", "gw"]).unwrap_err(),
        "keyway: ca/ca.key: the private key is encrypted, and there is no password for it\n"
    );
    assert_eq!(
        place.pki(&["issue", "ca", "gw", "--password", "wrong"]).unwrap_err(),
        "keyway: ca/ca.key: the private key cannot be opened: the password does not open it\n"
    );
    place.pki(&["issue", "ca", "gw", "--password", "secret"]).unwrap();
    place.pki(&["ca", "sub", "CN=Sub CA", "--parent", "ca", "--password", "secret"]).unwrap();
    place.openssl(&["pkey", "-in", "ca/ca.key", "-passin", "file:secret", "-noout"]).unwrap();
}

#[test]
fn what_cannot_be_done_says_why_and_changes_nothing() {
    let place = Place::new("refusals");
    place.pki(&["ca", "ca", "CN=Example CA", "--days", "20"]).unwrap();
    place.pki(&["ca", "other", "CN=Other CA"]).unwrap();
    place.pki(&["issue", "ca", "gw"]).unwrap();
    place.pki(&["request", "alice@example.org"]).unwrap();
    let count = || fs::read_dir(place.0.join("ca/issued")).unwrap().count();
    let issued = count();
    let cases: [(&[&str], &str); 7] = [
        (
            &["ca", "ca", "CN=Again"],
            "ca exists already, and is not overwritten; move it away, or write elsewhere",
        ),
        (
            &["issue", "ca", "gw"],
            "gw.key exists already, and is not overwritten; move it away, or write elsewhere",
        ),
        (&["issue", "nowhere", "x"], "cannot read nowhere/ca.crt: No such file or directory (os error 2)"),
        (&["ca", "c", "nobody"], "\"nobody\" is not TYPE=value"),
        (&["sign", "ca", "gw.crt"], "gw.crt: there is no certificate request"),
        (&["revoke", "other", "gw.crt"], "gw.crt: CN=Other CA has not issued this certificate"),
        (&["issue", "ca", "keyid:#01"], "keyid:#01 is a name that no certificate holds"),
    ];
    for (arguments, sentence) in cases {
        assert_eq!(place.pki(arguments).unwrap_err(), format!("keyway: {sentence}\n"), "{arguments:?}");
    }
    let mut request = fs::read(place.0.join("alice@example.org.csr")).unwrap();
    let middle = request.len() / 2;
    request[middle] = if request[middle] == b'A' { b'B' } else { b'A' };
    fs::write(place.0.join("changed.csr"), request).unwrap();
    let refused = place.pki(&["sign", "ca", "changed.csr"]).unwrap_err();
    assert!(refused.starts_with("keyway: changed.csr: "), "{refused}");
    assert_eq!(count(), issued);
    // A certificate never outlives its CA.
    let shown = place.openssl(&["x509", "-in", "gw.crt", "-noout", "-checkend", &(21 * 86_400).to_string()]);
    shown.unwrap_err();
    place.pki(&["revoke", "ca", "gw.crt"]).unwrap();
    has(
        &place.pki(&["revoke", "ca", "gw.crt"]).unwrap_err(),
        &["keyway: it was revoked on ", " already (unspecified)"],
    );
}
