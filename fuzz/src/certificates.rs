//! Certificates, lists, OCSP responses and files: a stranger's, and those of a CA that we trust and that means no good.
//!
//! ```text
//!   octet 0    what follows: a certificate, a list, a response, a request, a file, a name; or, signed with the right
//!              key, the extensions of a CA and of an end, the content of a list, the content of a response
//! ```

use std::slice;
use std::sync::{Arc, LazyLock};

use crypto::SigningKey;
use crypto::signature::{KeyKind, SignatureScheme, signing_key};
use pki::ocsp::{self, Response};
use pki::revocation::{self, Evidence, Strictness};
use pki::{Certificate, Contents, Crl, Demands, Purpose, Request, Time, Weak};
use sa::DistinguishedName;

/// Reads what it is; what was read must be the octets that came, and nothing that it says may confuse a log.
pub fn run(input: &[u8]) {
    let Some((kind, octets)) = input.split_first() else { return };
    match kind % 9 {
        0 => certificate(octets),
        1 => list(octets),
        2 => drop(Response::from_der(octets)),
        3 => request(octets),
        4 => drop(Contents::read(octets, None)),
        5 => name(octets),
        6 => signed_chain(octets),
        7 => signed_list(octets),
        _ => signed_response(octets),
    }
}

fn certificate(octets: &[u8]) {
    let Ok(own) = Certificate::from_der(octets) else { return };
    assert_eq!(own.to_der(), octets);
    assert_printable(&own.to_string());
    let anchors = [own.clone()];
    let demands = demands(own.not_before());
    drop(pki::validate(&own, &[], &anchors, &demands));
    if let Err(refusal) = pki::validate(&own, &anchors, &[], &demands) {
        assert_printable(&refusal.to_string());
    }
    check_identities(&own);
    drop(Response::from_der(&ocsp::request(&own, &own, Some(&[1; 16]))));
}

fn check_identities(own: &Certificate) {
    for identity in pki::identities(own) {
        assert_printable(&identity.to_string());
        assert!(pki::certifies(own, &identity).is_ok(), "{identity}");
    }
}

fn list(octets: &[u8]) {
    let Ok(own) = Crl::from_der(octets) else { return };
    assert_eq!(own.to_der(), octets);
    assert!(own.entries().is_sorted_by_key(|(serial, _)| serial.to_vec()));
}

fn request(octets: &[u8]) {
    let Ok(own) = Request::from_der(octets) else { return };
    assert_eq!(own.to_der(), octets);
    assert!(own.verify().is_err() || own.key().is_ok());
}

fn name(octets: &[u8]) {
    if let Ok(own) = DistinguishedName::from_der(octets) {
        assert_printable(&own.to_string());
        assert!(own.covers(&own) && own.is_below(&own));
    }
    if let Ok(own) = std::str::from_utf8(octets)
        .map_err(drop)
        .and_then(|text| DistinguishedName::parse(text).map_err(drop))
    {
        assert_eq!(DistinguishedName::from_der(own.to_der()).as_ref(), Ok(&own));
    }
}

fn assert_printable(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// A chain whose CA and end have extensions that the input says: the length of the CA's, these, and the end's.
fn signed_chain(octets: &[u8]) {
    let Some((length, rest)) = octets.split_first_chunk() else { return };
    let (of_ca, of_end) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
    let ca = make_certificate("CN=ca", "CN=root", Some(of_ca));
    let end = make_certificate("CN=end", "CN=ca", Some(of_end));
    let (Ok(ca), Ok(end)) = (Certificate::from_der(&ca), Certificate::from_der(&end)) else { return };
    let policies = [pki::ObjectIdentifier::new_unwrap("1.2.3")];
    let without = demands(NOW);
    let with = Demands { policies: &policies, purpose: Purpose::Any, ..without };
    for demands in [without, with] {
        let path = match pki::validate(&end, slice::from_ref(&ca), slice::from_ref(&HOUSE.root), &demands) {
            Ok(path) => path,
            Err(refusal) => {
                assert_printable(&refusal.to_string());
                continue;
            }
        };
        assert!(path.certificates().len() == 3 && ca.is_ca());
        let evidence = Evidence { crls: &[], responses: &[], nonce: None, certificates: &[] };
        let checked = revocation::check(&path, &evidence, Strictness::Relaxed, NOW, Weak::Refused);
        assert_eq!(checked, Ok(()));
    }
    check_identities(&end);
}

/// A list whose content after the times is the input.
fn signed_list(octets: &[u8]) {
    let content =
        [integer(1), ALGORITHM.to_vec(), subject("CN=root"), utc_time("260101000000Z"), octets.to_vec()];
    let Ok(list) = Crl::from_der(&sign(&tlv(0x30, &content.concat()))) else { return };
    assert!(list.verify(&HOUSE.root, Weak::Refused).is_ok());
    let crls = [list];
    let evidence = Evidence { crls: &crls, responses: &[], nonce: None, certificates: &[] };
    let checked = revocation::check(&HOUSE.path, &evidence, Strictness::Strict, NOW, Weak::Refused);
    if let Err(refusal) = checked {
        assert_printable(&refusal.to_string());
    }
}

/// A response whose content is the input.
fn signed_response(octets: &[u8]) {
    let basic = sign(&tlv(0x30, octets));
    let bytes = tlv(0x30, &[BASIC_RESPONSE, &tlv(0x04, &basic)].concat());
    let whole = tlv(0x30, &[[0x0a, 1, 0].as_slice(), &tlv(0xa0, &bytes)].concat());
    let Ok(response) = Response::from_der(&whole) else { return };
    let responses = [response];
    let evidence = Evidence { crls: &[], responses: &responses, nonce: Some(&[7; 16]), certificates: &[] };
    let checked = revocation::check(&HOUSE.path, &evidence, Strictness::Strict, NOW, Weak::Refused);
    if let Err(refusal) = checked {
        assert_printable(&refusal.to_string());
    }
}

fn demands(now: Time) -> Demands<'static> {
    Demands { now, purpose: Purpose::Ike, weak: Weak::Refused, policies: &[] }
}

/// 2026-06-15.
const NOW: Time = Time(1_781_481_600);

/// A trust anchor and an end below it.
struct House {
    root: Certificate,
    path: pki::ValidPath,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let made = |subject| {
        let der = make_certificate(subject, "CN=root", None);
        Certificate::from_der(&der).expect("it is made as the RFC says")
    };
    let (root, end) = (made("CN=root"), made("CN=end"));
    let path =
        pki::validate(&end, &[], slice::from_ref(&root), &demands(NOW)).expect("it is signed by the root");
    House { root, path }
});

/// Every certificate has this key, so that everybody is everybody's issuer.
static KEY: LazyLock<Arc<dyn SigningKey>> =
    LazyLock::new(|| signing_key(KeyKind::Ed25519, &vec![7; 32].into()).expect("any 32 octets are a key"));

fn make_certificate(own: &str, issuer: &str, extensions: Option<&[u8]>) -> Vec<u8> {
    let validity = tlv(0x30, &[utc_time("260101000000Z"), utc_time("261231000000Z")].concat());
    let key = pki::encode_public_key(KEY.verifying_key());
    let version = tlv(0xa0, &integer(2));
    let extensions = extensions.map_or(Vec::new(), |octets| tlv(0xa3, &tlv(0x30, octets)));
    let parts =
        [version, integer(5), ALGORITHM.to_vec(), subject(issuer), validity, subject(own), key, extensions];
    sign(&tlv(0x30, &parts.concat()))
}

fn sign(content: &[u8]) -> Vec<u8> {
    let signature = KEY.sign(SignatureScheme::Ed25519, content).expect("the key is for this scheme");
    let signature = tlv(0x03, &[&[0], signature.as_slice()].concat());
    tlv(0x30, &[content, ALGORITHM, &signature].concat())
}

fn subject(text: &str) -> Vec<u8> {
    DistinguishedName::parse(text).expect("the target's own name").to_der().to_vec()
}

fn integer(number: u8) -> Vec<u8> {
    tlv(0x02, &[number])
}

fn utc_time(text: &str) -> Vec<u8> {
    tlv(0x17, text.as_bytes())
}

/// A tag, a length and a content in DER.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![tag, short],
        Ok(short) => vec![tag, 0x81, short],
        Err(_) => {
            let octets = u32::try_from(length).expect("inputs are short").to_be_bytes();
            [[tag, 0x84].as_slice(), &octets].concat().into_iter().collect()
        }
    };
    // DER has no leading zeros in a length.
    let header = match header.as_slice() {
        [tag, 0x84, 0, 0, rest @ ..] => [[*tag, 0x82].as_slice(), rest].concat(),
        [tag, 0x84, 0, rest @ ..] => [[*tag, 0x83].as_slice(), rest].concat(),
        _ => header,
    };
    [header, content.to_vec()].concat()
}

/// Ed25519 (RFC 8410 §3).
const ALGORITHM: &[u8] = &[0x30, 5, 0x06, 3, 0x2b, 0x65, 0x70];
/// The object identifier of a basic OCSP response (RFC 6960 §4.2.1).
const BASIC_RESPONSE: &[u8] = &[0x06, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
