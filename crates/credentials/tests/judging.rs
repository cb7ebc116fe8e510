//! Whom a gateway believes: the peer's certificates and keys against what it trusts.

use std::sync::Arc;

use credentials::{Credentials, Wishes};
use crypto::signature::{NewKey, SignatureScheme};
use ike::{Authentication, Identity, TrustRequest};
use pki::revocation::Strictness;
use pki::{Certificate, Time, algorithm};
use sa::SignatureTerms;
use testkit::{Authority, Scenario, authority};
use wire::registry::CertificateEncoding;

fn name(text: &str) -> Identity {
    Identity::Fqdn(text.to_owned())
}

fn payload(certificate: &Certificate) -> ike::Certificate {
    let data = certificate.to_der().to_vec();
    ike::Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data }
}

/// A peer that says it is `remote` and shows these certificates.
fn claim(remote: &str, certificates: &[&Certificate]) -> TrustRequest {
    let mut connection = Scenario::site_to_site(1).left.connection;
    connection.remote_authentication = Authentication::Signature(SignatureTerms::ANY);
    TrustRequest {
        connection: Arc::new(connection),
        round: 0,
        remote: name(remote),
        certificates: certificates.iter().map(|certificate| payload(certificate)).collect(),
        algorithm: algorithm::scheme_to_der(SignatureScheme::Ed25519),
    }
}

fn verdict(credentials: &Credentials, request: &TrustRequest) -> Result<(), String> {
    credentials.judge(request, authority::NOW).map(drop)
}

/// Trusts one CA, with what the connection wants beside.
fn trusting(root: &Authority, wishes: Wishes) -> Credentials {
    Credentials {
        anchors: vec![root.certificate.clone()],
        connections: [("site".to_owned(), Arc::new(wishes))].into(),
        ..Credentials::default()
    }
}

#[test]
fn a_certificate_is_for_whom_it_names() {
    let root = Authority::root("CN=root", NewKey::Ed25519);
    let (certificate, _) = root.certify(&name("b.example"), NewKey::Ed25519);
    let credentials = trusting(&root, Wishes::default());
    assert_eq!(verdict(&credentials, &claim("b.example", &[&certificate])), Ok(()));
    assert_eq!(
        verdict(&credentials, &claim("a.example", &[&certificate])).unwrap_err(),
        "identity a.example is not in the certificate, which names CN=b.example, b.example"
    );
}

#[test]
fn a_connection_may_trust_less_than_all() {
    let (root, other) =
        (Authority::root("CN=root", NewKey::Ed25519), Authority::root("CN=other", NewKey::Ed25519));
    let (certificate, _) = root.certify(&name("b.example"), NewKey::Ed25519);
    let (wanted, _) = other.certify(&name("b.example"), NewKey::Ed25519);
    let only = |anchors| trusting(&root, Wishes { anchors, ..Wishes::default() });
    let request = claim("b.example", &[&certificate]);
    assert_eq!(verdict(&only(vec![root.certificate.clone()]), &request), Ok(()));
    assert!(
        verdict(&only(vec![other.certificate.clone()]), &request).unwrap_err().contains("issued by CN=root")
    );
    let named = trusting(&root, Wishes { peer: vec![wanted.clone()], ..Wishes::default() });
    assert_eq!(
        verdict(&named, &request).unwrap_err(),
        "the certificate CN=b.example is not one of those that the connection site names: CN=b.example"
    );
    assert_eq!(verdict(&named, &claim("b.example", &[&wanted])), Ok(()));
    // The peer need not send what is known here, and is believed for that alone.
    assert_eq!(verdict(&named, &claim("b.example", &[])), Ok(()));
    assert!(verdict(&named, &claim("c.example", &[])).unwrap_err().contains("sent no certificate"));
}

#[test]
fn a_policy_that_is_wanted_must_be_there() {
    let root = Authority::root("CN=root", NewKey::Ed25519);
    let (certificate, _) = root.certify(&name("b.example"), NewKey::Ed25519);
    let policies = vec![pki::ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1")];
    let credentials = trusting(&root, Wishes { policies, ..Wishes::default() });
    let refusal = verdict(&credentials, &claim("b.example", &[&certificate])).unwrap_err();
    assert!(refusal.contains("none of the certificate policies that are wanted"), "{refusal}");
}

#[test]
fn who_is_strict_wants_to_know_of_revocation() {
    let root = Authority::root("CN=root", NewKey::Ed25519);
    let (certificate, _) = root.certify(&name("b.example"), NewKey::Ed25519);
    let request = ike::Query::Trust(Box::new(claim("b.example", &[&certificate])));
    for (revocation, is_trusted) in
        [(Strictness::Strict, false), (Strictness::Relaxed, true), (Strictness::IfUri, true)]
    {
        let credentials = trusting(&root, Wishes { revocation, ..Wishes::default() });
        let Some(ike::Answer::Trusted(answer)) = credentials.answer(&request, authority::NOW) else {
            panic!("a question about trust is answered")
        };
        assert_eq!(answer.is_ok(), is_trusted, "{revocation:?}: {answer:?}");
    }
}

#[test]
fn what_is_no_certificate_is_said_to_be_none() {
    let root = Authority::root("CN=root", NewKey::Ed25519);
    let mut request = claim("b.example", &[]);
    request.certificates =
        vec![ike::Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data: vec![1, 2, 3] }];
    let credentials = trusting(&root, Wishes::default());
    assert!(
        verdict(&credentials, &request).unwrap_err().starts_with("the peer's certificate cannot be read")
    );
    request.algorithm = Some(vec![0x30, 0]);
    assert!(verdict(&credentials, &request).unwrap_err().contains("signs with"));
}

/// RFC 4945 §3.3.10, §3.3.11.3: in whatever order and however often certificates come, and whatever comes beside them.
#[test]
fn what_comes_beside_a_certificate_does_no_harm() {
    let root = Authority::root("CN=root", NewKey::Ed25519);
    let (sub, stranger) =
        (root.subordinate("CN=sub", NewKey::Ed25519), Authority::root("CN=stranger", NewKey::Ed25519));
    let issuing = sub.subordinate("CN=issuing", NewKey::Ed25519);
    let (end, _) = issuing.certify(&name("b.example"), NewKey::Ed25519);
    let (irrelevant, _) = stranger.certify(&name("c.example"), NewKey::Ed25519);
    let credentials = trusting(&root, Wishes::default());
    let [sub, issuing, root, stranger] =
        [&sub.certificate, &issuing.certificate, &root.certificate, &stranger.certificate];
    for shown in [
        vec![&end, issuing, sub],
        vec![&end, sub, issuing],
        vec![&end, sub, sub, issuing, &end, sub, issuing],
        vec![&end, stranger, &irrelevant, root, sub, issuing],
    ] {
        let mut request = claim("b.example", &shown);
        assert_eq!(verdict(&credentials, &request), Ok(()), "{shown:?}");
        for encoding in [
            CertificateEncoding::CRL,
            CertificateEncoding(2),
            CertificateEncoding(9),
            CertificateEncoding(200),
        ] {
            request.certificates.insert(1, ike::Certificate { encoding, data: vec![1, 2, 3] });
        }
        assert_eq!(verdict(&credentials, &request), Ok(()), "{shown:?}");
    }
}

/// RFC 4945 §3.3.4: a PKCS #7 bundle in a CERT payload.
#[test]
fn a_bundle_is_as_good_as_its_certificates() {
    let root = Authority::root("CN=root", NewKey::Ed25519);
    let sub = root.subordinate("CN=sub", NewKey::Ed25519);
    let (end, _) = sub.certify(&name("b.example"), NewKey::Ed25519);
    let credentials = trusting(&root, Wishes::default());
    let mut request = claim("b.example", &[]);
    let bundle = |certificates: &[&Certificate]| ike::Certificate {
        encoding: CertificateEncoding::PKCS7_WRAPPED_X509,
        data: certificates_only(certificates),
    };
    request.certificates = vec![bundle(&[&end, &sub.certificate])];
    assert_eq!(verdict(&credentials, &request), Ok(()));
    request.certificates = vec![bundle(&[&end])];
    assert!(verdict(&credentials, &request).unwrap_err().contains("issued by CN=sub"));
    request.certificates[0].data.truncate(40);
    assert!(verdict(&credentials, &request).unwrap_err().contains("certificates cannot be read"));
}

/// SignedData of nothing, signed by nobody (RFC 2315 §9).
fn certificates_only(certificates: &[&Certificate]) -> Vec<u8> {
    let der = |tag: u8, content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).expect("it is short").to_be_bytes();
        [&[tag, 0x82, high, low], content].concat()
    };
    let all: Vec<u8> = certificates.iter().flat_map(|certificate| certificate.to_der()).copied().collect();
    let data = [0x30, 11, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    let signed = [&[2, 1, 1, 0x31, 0][..], &data, &der(0xa0, &all), &[0x31, 0]].concat();
    let signed = der(0xa0, &der(0x30, &signed));
    der(0x30, &[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2][..], &signed].concat())
}

#[test]
fn time_is_the_caller_s() {
    let root = Authority::root("CN=root", NewKey::Ed25519);
    let (certificate, _) = root.certify(&name("b.example"), NewKey::Ed25519);
    let credentials = trusting(&root, Wishes::default());
    let request = claim("b.example", &[&certificate]);
    let late = Time(certificate.not_after().0 + 1);
    assert!(credentials.judge(&request, late).unwrap_err().contains("expired on"));
}
