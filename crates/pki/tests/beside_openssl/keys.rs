//! Private keys in every form, written by OpenSSL and by us.

use std::fs;
use std::path::Path;

use pki::pkcs12::Pkcs12;
use pki::{CannotDecrypt, InvalidPrivateKey, Password, PrivateKey};

use crate::openssl::OpenSsl;
use crate::{chain, corpus};

const KINDS: [&str; 10] = [
    "rsa1024",
    "rsa2048",
    "p256",
    "p384",
    "p521",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
    "ed25519",
    "ed448",
];

fn password() -> Password {
    Password::from(b"sw\xc3\xb6rdfish".to_vec())
}

/// Reads a key, and checks that it is the one whose public half OpenSSL tells.
fn check(openssl: &OpenSsl, octets: &[u8], key: &Path, password: Option<&Password>) {
    let read =
        PrivateKey::read(octets, password).unwrap_or_else(|fault| panic!("{}: {fault}", key.display()));
    assert_eq!(read.public_key_info(), public_half(openssl, key), "{}", key.display());
}

fn public_half(openssl: &OpenSsl, key: &Path) -> Vec<u8> {
    let public = openssl.path("public.der");
    let (key, out) = (key.to_str().unwrap(), public.to_str().unwrap());
    let passes = ["-passin", "pass:swördfish"];
    openssl
        .run(&[&["pkey", "-in", key, "-pubout", "-outform", "DER", "-out", out], passes.as_slice()].concat())
        .unwrap();
    fs::read(public).unwrap()
}

/// Has OpenSSL write a key in another form.
fn convert(openssl: &OpenSsl, key: &Path, arguments: &[&str]) -> Vec<u8> {
    let file = openssl.path("converted");
    let ends = ["-in", key.to_str().unwrap(), "-out", file.to_str().unwrap()];
    openssl
        .run(&[arguments, &ends].concat())
        .unwrap_or_else(|complaint| panic!("{arguments:?}: {complaint}"));
    fs::read(file).unwrap()
}

#[test]
fn every_kind_of_key_is_read_from_every_form() {
    let openssl = OpenSsl::new("keys");
    for kind in KINDS {
        let key = openssl.key(kind, "forms");
        let mut forms: Vec<Vec<&str>> = vec![
            vec!["pkey"],
            vec!["pkey", "-outform", "DER"],
            vec!["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"],
        ];
        if kind.starts_with("rsa") {
            forms.push(vec!["rsa", "-traditional"]);
            forms.push(vec!["rsa", "-traditional", "-outform", "DER"]);
        } else if !kind.starts_with("ed") {
            forms.push(vec!["ec"]);
            forms.push(vec!["ec", "-outform", "DER"]);
        }
        for form in forms {
            check(&openssl, &convert(&openssl, &key, &form), &key, None);
        }
    }
}

#[test]
fn encrypted_keys_open_with_their_password_and_no_other() {
    let openssl = OpenSsl::new("encrypted");
    let key = openssl.key("p256", "encrypted");
    let forms: [&[&str]; 7] = [
        &["-v1", "PBE-SHA1-3DES"],
        &["-v2", "aes-256-cbc"],
        &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"],
        &["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512", "-iter", "10000"],
        &["-v2", "des3"],
        &["-scrypt"],
        &["-v2", "aes-256-cbc", "-outform", "DER"],
    ];
    for form in forms {
        let arguments = [&["pkcs8", "-topk8", "-passout", "pass:swördfish"], form].concat();
        let octets = convert(&openssl, &key, &arguments);
        check(&openssl, &octets, &key, Some(&password()));
        let without = PrivateKey::read(&octets, None).unwrap_err();
        assert_eq!(without, InvalidPrivateKey::PasswordWanted, "{form:?}");
        let wrong = PrivateKey::read(&octets, Some(&Password::from(b"swordfish".to_vec()))).unwrap_err();
        assert_eq!(wrong, CannotDecrypt::WrongPassword.into(), "{form:?}");
    }
}

#[test]
fn keys_of_old_versions_open_with_their_password_and_no_other() {
    let openssl = OpenSsl::new("old-keys");
    for (kind, command) in [("rsa1024", "rsa"), ("p384", "ec")] {
        let key = openssl.key(kind, "old");
        for cipher in ["-aes128", "-aes192", "-aes256", "-des3"] {
            let mut arguments = vec![command, cipher, "-passout", "pass:swördfish"];
            if command == "rsa" {
                arguments.push("-traditional");
            }
            let octets = convert(&openssl, &key, &arguments);
            assert!(String::from_utf8_lossy(&octets).contains("DEK-Info: "));
            check(&openssl, &octets, &key, Some(&password()));
            assert_eq!(PrivateKey::read(&octets, None).unwrap_err(), InvalidPrivateKey::PasswordWanted);
            let wrong = PrivateKey::read(&octets, Some(&Password::from(b"swordfish".to_vec()))).unwrap_err();
            assert_eq!(wrong, CannotDecrypt::WrongPassword.into(), "{cipher}");
        }
    }
}

#[test]
fn what_is_no_key_of_ours_says_why() {
    let openssl = OpenSsl::new("strange-keys");
    let foreign = convert(&openssl, &openssl.key("secp256k1", "foreign"), &["pkey"]);
    let old = ["rsa", "-traditional", "-camellia128", "-passout", "pass:swördfish"];
    let old = convert(&openssl, &openssl.key("rsa1024", "old"), &old);
    let rc4 =
        ["pkcs8", "-topk8", "-v1", "PBE-SHA1-RC4-128", "-passout", "pass:swördfish", "-provider", "legacy"];
    let rc4 =
        convert(&openssl, &openssl.key("p256", "rc4"), &[&rc4, ["-provider", "default"].as_slice()].concat());
    let short = convert(&openssl, &openssl.key("rsa768", "short"), &["pkey"]);
    let cases = [
        (foreign, "the private key is of the algorithm 1.3.132.0.10, which we do not know"),
        (
            old,
            "the private key cannot be opened: it is encrypted with CAMELLIA-128-CBC, which we do not know",
        ),
        (
            rc4,
            "the private key cannot be opened: it is encrypted with 1.2.840.113549.1.12.1.1, which we do not know",
        ),
        (short, "the file says that it holds a private key, but it is no valid RSA key"),
        (b"no key".to_vec(), "this is no private key in PEM or DER (PKCS #8, PKCS #1 or SEC 1)"),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAEC\n".to_vec(),
            "the PEM block PRIVATE KEY has no line that ends it",
        ),
    ];
    for (octets, sentence) in cases {
        assert_eq!(PrivateKey::read(&octets, Some(&password())).unwrap_err().to_string(), sentence);
    }
}

#[test]
fn openssl_reads_the_keys_that_we_write() {
    let openssl = OpenSsl::new("written-keys");
    for kind in KINDS {
        let key = PrivateKey::read(&fs::read(openssl.key(kind, "written")).unwrap(), None).unwrap();
        let (plain, encrypted) = (openssl.path("plain.pem"), openssl.path("encrypted.pem"));
        fs::write(&plain, key.to_pem().as_slice()).unwrap();
        fs::write(&encrypted, key.to_encrypted_pem(&password()).unwrap().as_slice()).unwrap();
        for file in [plain, encrypted] {
            assert_eq!(public_half(&openssl, &file), key.public_key_info(), "{kind}");
        }
    }
}

#[test]
fn pkcs12_files_open_with_their_password_and_no_other() {
    let openssl = OpenSsl::new("pkcs12");
    let cases = corpus::read("\n== pkcs12\nroot\nend < root\n");
    let [root, end] = cases[0].certificates.as_slice() else { panic!("two certificates") };
    let root = openssl.certificate(root, None);
    let end = openssl.certificate(end, Some(&root));
    let forms: [&[&str]; 6] = [
        &[],
        &["-certpbe", "NONE", "-keypbe", "NONE"],
        &["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
        &["-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1", "-legacy"],
        &["-macalg", "sha512", "-iter", "3000", "-maciter"],
        &["-nomac"],
    ];
    for form in forms {
        let file = openssl.path("bundle.p12");
        let [key, own, ca, out] = [&end.key, &end.file, &root.file, &file].map(|path| path.to_str().unwrap());
        let ends = ["-inkey", key, "-in", own, "-certfile", ca, "-out", out, "-passout", "pass:swördfish"];
        openssl.run(&[&["pkcs12", "-export", "-name", "end"], form, &ends].concat()).unwrap();
        let octets = fs::read(&file).unwrap();
        assert!(Pkcs12::is_one(&octets));
        let opened = Pkcs12::open(&octets, &password()).unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
        let certificates = [&end.file, &root.file].map(|file| chain::read(file).unwrap());
        assert_eq!(opened.certificates, certificates, "{form:?}");
        let [key] = opened.keys.as_slice() else { panic!("{form:?}: one key") };
        assert!(key.belongs_to(&certificates[0]) && !key.belongs_to(&certificates[1]));
        let wrong = Pkcs12::open(&octets, &Password::from(b"swordfish".to_vec())).map(|_| ());
        assert_eq!(wrong, Err(CannotDecrypt::WrongPassword.into()), "{form:?}");
    }
}
