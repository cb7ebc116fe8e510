//! Certificates, requests and lists that we make, and what OpenSSL says of them.

use std::fs;
use std::sync::LazyLock;

use crypto::signature::{Curve, NewKey};
use pki::crl::{RevocationReason, Revoked};
use pki::issue::{self, CannotIssue, Draft, Issuer, ListDraft, Role};
use pki::{Certificate, Contents, Demands, GeneralName, PrivateKey, Purpose, Request, Time, Weak};
use sa::DistinguishedName;

use crate::authority::text_of;
use crate::openssl::OpenSsl;
use crate::{chain, corpus};

fn name(text: &str) -> DistinguishedName {
    DistinguishedName::parse(text).unwrap()
}

/// One moment for all certificates of a test: no CA may end before what it issues, not by a second.
static NOW: LazyLock<Time> = LazyLock::new(|| chain::today(0));

fn draft(subject: &str, key: &PrivateKey, serial: u8, role: Role) -> Draft {
    let now = *NOW;
    Draft {
        subject: name(subject),
        names: Vec::new(),
        key_info: key.public_key_info(),
        serial: vec![serial],
        not_before: Time(now.0 - 3600),
        not_after: now.after_secs(86_400),
        role,
        crl_uris: Vec::new(),
        ocsp_uris: Vec::new(),
    }
}

const CA: Role = Role::Ca { path_len: None };
const END: Role = Role::End { purposes: Vec::new() };

fn every_kind() -> Vec<NewKey> {
    let curves = Curve::ALL.map(NewKey::Ecdsa);
    [[NewKey::Rsa { bits: 2048 }, NewKey::Ed25519, NewKey::Ed448].as_slice(), &curves].concat()
}

/// Writes a certificate where OpenSSL finds it.
fn file(openssl: &OpenSsl, label: &str, der: &[u8]) -> std::path::PathBuf {
    let path = openssl.path(&label.replace(' ', "-"));
    fs::write(&path, pki::pem::write(label.split('.').next().unwrap(), der).as_slice()).unwrap();
    path
}

#[test]
fn openssl_accepts_what_every_kind_of_key_issues() {
    let openssl = OpenSsl::new("issued");
    for new in every_kind() {
        let keys = [(); 3].map(|()| PrivateKey::generate(new).unwrap());
        let root = issue::issue(&draft("CN=root", &keys[0], 1, CA), Issuer::Itself(&keys[0])).unwrap();
        let sub = Draft { role: Role::Ca { path_len: Some(0) }, ..draft("CN=sub", &keys[1], 2, CA) };
        let sub = issue::issue(&sub, Issuer::Ca(&root, &keys[0])).unwrap();
        let end = Draft {
            names: vec![
                GeneralName::Dns("gw.example".to_owned()),
                GeneralName::Email("vpn@gw.example".to_owned()),
                GeneralName::Address("2001:db8::1".parse().unwrap()),
            ],
            crl_uris: vec!["http://pki.example/ca.crl".to_owned()],
            ocsp_uris: vec!["http://ocsp.example".to_owned()],
            ..draft("C=CH, O=Zoë, CN=gw.example", &keys[2], 0x83, END)
        };
        let end = issue::issue(&end, Issuer::Ca(&sub, &keys[1])).unwrap();
        let files = [(&root, "root"), (&sub, "sub"), (&end, "end")]
            .map(|(own, name)| file(&openssl, &format!("CERTIFICATE.{name}"), own.to_der()));
        let arguments =
            ["verify", "-x509_strict", "-trusted", text_of(&files[0]), "-untrusted", text_of(&files[1])];
        openssl
            .run(&[&arguments, [text_of(&files[2])].as_slice()].concat())
            .unwrap_or_else(|complaint| panic!("{new:?}: {complaint}"));
        let policies = [];
        let demands =
            Demands { now: chain::today(0), purpose: Purpose::Ike, weak: Weak::Refused, policies: &policies };
        pki::validate(&end, &[sub], &[root], &demands).unwrap();
    }
}

/// The lines of `openssl x509 -text` that say something of the extensions.
#[test]
fn openssl_reads_in_a_certificate_what_the_draft_says() {
    let openssl = OpenSsl::new("said");
    let key = PrivateKey::generate(NewKey::Ecdsa(Curve::P256)).unwrap();
    let root = issue::issue(&draft("CN=root", &key, 1, CA), Issuer::Itself(&key)).unwrap();
    let purposes = vec![pki::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.17")];
    let end = Draft {
        subject: name(""),
        names: vec![GeneralName::Dns("gw.example".to_owned()), GeneralName::Directory(name("CN=gw"))],
        crl_uris: vec!["http://pki.example/ca.crl".to_owned()],
        ocsp_uris: vec!["http://ocsp.example".to_owned()],
        ..draft("CN=x", &key, 0x83, Role::End { purposes })
    };
    let end = issue::issue(&end, Issuer::Ca(&root, &key)).unwrap();
    let text = |own: &Certificate| {
        let file = file(&openssl, "CERTIFICATE", own.to_der());
        openssl
            .run(&["x509", "-noout", "-text", "-in", text_of(&file)])
            .unwrap()
            .replace("\n                ", " ")
    };
    let (root, end) = (text(&root), text(&end));
    for line in [
        "X509v3 Basic Constraints: critical CA:TRUE",
        "X509v3 Key Usage: critical Certificate Sign, CRL Sign",
        "Version: 3 (0x2)",
        "Signature Algorithm: ecdsa-with-SHA256",
    ] {
        assert!(root.contains(line), "{line}: {root}");
    }
    for line in [
        "Serial Number: 131 (0x83)",
        "X509v3 Key Usage: critical Digital Signature",
        "X509v3 Subject Alternative Name: critical DNS:gw.example, DirName:/CN=gw",
        "X509v3 Extended Key Usage:  ipsec Internet Key Exchange",
        "X509v3 CRL Distribution Points:  Full Name:   URI:http://pki.example/ca.crl",
        "Authority Information Access:  OCSP - URI:http://ocsp.example",
    ] {
        assert!(end.contains(line), "{line}: {end}");
    }
}

#[test]
fn openssl_reads_our_lists_and_believes_them() {
    let openssl = OpenSsl::new("lists");
    let key = PrivateKey::generate(NewKey::Ecdsa(Curve::P384)).unwrap();
    let root = issue::issue(&draft("CN=root", &key, 1, CA), Issuer::Itself(&key)).unwrap();
    let end = issue::issue(&draft("CN=end", &key, 0x83, END), Issuer::Ca(&root, &key)).unwrap();
    let now = chain::today(0);
    let revoked = Revoked { at: Time(1_735_787_045), reason: RevocationReason::KeyCompromise };
    let mut list = ListDraft {
        number: vec![1],
        this_update: Time(now.0 - 3600),
        next_update: now.after_secs(3600),
        revoked: Vec::new(),
    };
    let verify = |list: &ListDraft| {
        let crl = issue::issue_list(list, &root, &key).unwrap();
        let files = [
            file(&openssl, "CERTIFICATE.root", root.to_der()),
            file(&openssl, "X509 CRL", crl.to_der()),
            file(&openssl, "CERTIFICATE.end", end.to_der()),
        ];
        let [root, crl, end] = files.each_ref().map(|file| text_of(file));
        let text = openssl.run(&["crl", "-noout", "-text", "-in", crl]).unwrap();
        (text, openssl.run(&["verify", "-CAfile", root, "-crl_check", "-CRLfile", crl, end]))
    };
    let (text, verdict) = verify(&list);
    assert!(text.contains("No Revoked Certificates.") && verdict.is_ok(), "{text} {verdict:?}");
    list.revoked = vec![(vec![0x83], revoked)];
    let (text, verdict) = verify(&list);
    assert!(text.contains("Serial Number: 83") && text.contains("Key Compromise"), "{text}");
    assert!(verdict.unwrap_err().contains("certificate revoked"));
}

#[test]
fn openssl_reads_our_requests_and_we_read_its_own() {
    let openssl = OpenSsl::new("requests");
    for new in every_kind() {
        let key = PrivateKey::generate(new).unwrap();
        let names = [GeneralName::Dns("gw.example".to_owned())];
        let request = Request::new(&name("C=CH, CN=gw"), &names, &key).unwrap();
        assert_eq!(request.verify(), Ok(()));
        let file = file(&openssl, "CERTIFICATE REQUEST", request.to_der());
        let text = openssl.run(&["req", "-in", text_of(&file), "-verify", "-noout", "-text"]).unwrap();
        assert!(text.contains("Subject: C = CH, CN = gw") && text.contains("DNS:gw.example"), "{text}");
    }
    let key = openssl.key("p256", "theirs");
    let theirs = openssl
        .run(&[
            "req",
            "-new",
            "-key",
            text_of(&key),
            "-subj",
            "/C=CH/CN=gw",
            "-addext",
            "subjectAltName=DNS:a,IP:192.0.2.1",
        ])
        .unwrap();
    let contents = Contents::read(theirs.as_bytes(), None).unwrap();
    let [request] = contents.requests.as_slice() else { panic!("one request") };
    assert_eq!(request.subject(), &name("C=CH, CN=gw"));
    let names = [GeneralName::Dns("a".to_owned()), GeneralName::Address("192.0.2.1".parse().unwrap())];
    assert_eq!((request.names(), request.verify()), (names.as_slice(), Ok(())));
    for at in 0..request.to_der().len() {
        let mut changed = request.to_der().to_vec();
        changed[at] ^= 1 << (at % 8);
        let judged = Request::from_der(&changed).map(|changed| changed.verify());
        assert!(!matches!(judged, Ok(Ok(()))), "octet {at}");
    }
}

#[test]
fn what_would_be_no_certificate_is_not_issued() {
    let keys = [(); 2].map(|()| PrivateKey::generate(NewKey::Ed25519).unwrap());
    let root = issue::issue(&draft("CN=root", &keys[0], 1, CA), Issuer::Itself(&keys[0])).unwrap();
    let end = draft("CN=end", &keys[1], 2, END);
    let issued = issue::issue(&end, Issuer::Ca(&root, &keys[0])).unwrap();
    let ends_late = Draft { not_after: root.not_after().after_secs(1), ..end.clone() };
    let backwards = Draft { not_after: Time(end.not_before.0 - 1), ..end.clone() };
    let nobody = Draft { subject: name(""), ..end.clone() };
    let by_root = Issuer::Ca(&root, &keys[0]);
    let cases = [
        (&end, Issuer::Ca(&issued, &keys[1]), "the certificate CN=end is not a CA's"),
        (&end, Issuer::Ca(&root, &keys[1]), "the private key is not that of the certificate CN=root"),
        (&end, Issuer::Itself(&keys[0]), "the private key is not that of the certificate CN=end"),
        (&nobody, by_root, "it would name nobody: neither a subject nor another name is given"),
    ];
    for (draft, issuer, sentence) in cases {
        assert_eq!(issue::issue(draft, issuer).unwrap_err().to_string(), sentence);
    }
    assert_eq!(issue::issue(&ends_late, by_root), Err(CannotIssue::CaEndsBefore(root.not_after())));
    assert!(matches!(issue::issue(&backwards, by_root), Err(CannotIssue::EndsBeforeItBegins { .. })));
    let sentence = Request::new(&name(""), &[], &keys[0]).unwrap_err().to_string();
    assert_eq!(sentence, "it would name nobody: neither a subject nor another name is given");
}

#[test]
fn a_file_gives_whatever_it_holds() {
    let openssl = OpenSsl::new("contents");
    let cases = corpus::read("\n== contents\nroot\nend < root\n");
    let [root, end] = cases[0].certificates.as_slice() else { panic!("two certificates") };
    let root = openssl.certificate(root, None);
    let end = openssl.certificate(end, Some(&root));
    let both = openssl.path("both.pem");
    let text = [&end.file, &root.file, &end.key].map(|file| fs::read_to_string(file).unwrap()).concat();
    fs::write(&both, &text).unwrap();
    let contents = Contents::read(text.as_bytes(), None).unwrap();
    assert_eq!((contents.certificates.len(), contents.keys.len()), (2, 1));
    for form in ["PEM", "DER"] {
        let bundle = openssl.path("bundle.p7b");
        let arguments =
            ["crl2pkcs7", "-nocrl", "-certfile", text_of(&both), "-outform", form, "-out", text_of(&bundle)];
        openssl.run(&arguments).unwrap();
        let contents = Contents::read(&fs::read(bundle).unwrap(), None).unwrap();
        let certificates = [&end.file, &root.file].map(|file| chain::read(file).unwrap());
        assert_eq!(contents.certificates, certificates, "{form}");
    }
    assert_eq!(
        Contents::read(b"nothing", None).unwrap_err().to_string(),
        "this is neither a certificate nor a request, CRL or private key, in PEM, DER, PKCS #7 or PKCS #12"
    );
}
