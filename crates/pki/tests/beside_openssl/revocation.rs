//! Lists and OCSP responses that OpenSSL writes, and what follows from them.

use std::fs;

use pki::crl::{RevocationReason, Status};
use pki::ocsp::{self, Response};
use pki::revocation::{self, Evidence, Strictness};
use pki::{Certificate, Crl, Demands, Purpose, Time, ValidPath, Weak};

use crate::authority::{self, List, read, text_of};
use crate::openssl::{Made, OpenSsl};
use crate::{chain, corpus};

/// A CA, one below it, and ends.
struct House {
    openssl: OpenSsl,
    root: Made,
    sub: Made,
    end: Made,
    other: Made,
    now: Time,
}

impl House {
    fn new(name: &str, of_end: &str) -> House {
        let openssl = OpenSsl::new(name);
        let text = format!("\n== house\nroot\nsub < root ca\nother < sub\nend < sub\n{of_end}");
        let cases = corpus::read(&text);
        let [root, sub, other, end] = cases[0].certificates.as_slice() else { panic!("four certificates") };
        let root = openssl.certificate(root, None);
        let sub = openssl.certificate(sub, Some(&root));
        let (other, end) = (openssl.certificate(other, Some(&sub)), openssl.certificate(end, Some(&sub)));
        House { openssl, root, sub, end, other, now: chain::today(0) }
    }

    fn certificate(&self, text: &str, issuer: &Made) -> Made {
        let cases = corpus::read(&format!("\n== one\n{text}"));
        self.openssl.certificate(&cases[0].certificates[0], Some(issuer))
    }

    fn path(&self) -> ValidPath {
        self.path_at(self.now)
    }

    fn path_at(&self, now: Time) -> ValidPath {
        let demands = Demands { now, purpose: Purpose::Any, weak: Weak::Refused, policies: &[] };
        pki::validate(&read(&self.end), &[read(&self.sub)], &[read(&self.root)], &demands).unwrap()
    }

    /// What we say of the end alone.
    fn status(&self, crls: &[&Crl], certificates: &[Certificate], now: Time) -> Status<String> {
        let crls: Vec<Crl> = crls.iter().map(|crl| (*crl).clone()).collect();
        let evidence = Evidence { crls: &crls, responses: &[], nonce: None, certificates };
        let path = self.path_at(now);
        revocation::status(path.end(), &read(&self.sub), &path, &evidence, now, Weak::Refused)
    }

    /// Checks that OpenSSL agrees, and gives what we say.
    fn agreed(&self, crls: &[&Crl], now: Time, options: &[&str]) -> Status<String> {
        let ours = self.status(crls, &[], now);
        let theirs =
            authority::verify(&self.openssl, &self.root, &[&self.sub], &self.end, crls, now.0, options);
        assert_eq!(ours == Status::Good, theirs.is_ok(), "we say {ours:?}, OpenSSL {theirs:?}");
        ours
    }
}

fn is_revoked(status: &Status<String>, reason: RevocationReason) -> bool {
    matches!(status, Status::Revoked(revoked) if revoked.reason == reason && revoked.at == Time(1_735_787_045))
}

fn unknown(status: Status<String>) -> String {
    match status {
        Status::Unknown(why) => why,
        Status::Good | Status::Revoked(_) => panic!("{status:?}"),
    }
}

#[test]
fn a_list_says_who_is_revoked_and_why() {
    let house = House::new("crl-reasons", "");
    let (end, other) = (read(&house.end), read(&house.other));
    let none = List::of(&house.sub).make(&house.openssl);
    assert_eq!(house.agreed(&[&none], house.now, &[]), Status::Good);
    let another = List { revoked: &[(&other, "")], ..List::of(&house.sub) }.make(&house.openssl);
    assert_eq!(house.agreed(&[&another], house.now, &[]), Status::Good);
    assert_eq!(another.entries().map(|(serial, _)| serial.to_vec()).collect::<Vec<_>>(), [other.serial()]);
    let reasons = [
        ("", RevocationReason::Unspecified),
        ("keyCompromise", RevocationReason::KeyCompromise),
        ("CACompromise", RevocationReason::CaCompromise),
        ("affiliationChanged", RevocationReason::AffiliationChanged),
        ("superseded", RevocationReason::Superseded),
        ("cessationOfOperation", RevocationReason::CessationOfOperation),
        ("certificateHold", RevocationReason::CertificateHold),
    ];
    for (word, reason) in reasons {
        let revoked = [(&other, "superseded"), (&end, word)];
        let list = List { revoked: &revoked, ..List::of(&house.sub) }.make(&house.openssl);
        let status = house.agreed(&[&list], house.now, &[]);
        assert!(is_revoked(&status, reason), "{word}: {status:?}");
    }
}

#[test]
fn a_list_that_does_not_count_says_nothing() {
    let house = House::new("crl-faults", "");
    let list = List::of(&house.sub).make(&house.openssl);
    assert_eq!(unknown(house.agreed(&[], house.now, &[])), "no CRL of CN=sub is at hand that covers it");
    let stale = unknown(house.agreed(&[&list], house.now.after_secs(200_000), &[]));
    assert!(stale.starts_with("the CRL of CN=sub was to be replaced by "), "{stale}");
    let other_list = List::of(&house.root).make(&house.openssl);
    assert_eq!(
        unknown(house.agreed(&[&other_list], house.now, &[])),
        "no CRL of CN=sub is at hand that covers it"
    );
    let impostor = house.certificate("false < root ca key=p256:false\n  subject = /CN=sub\n", &house.root);
    let forged = List::of(&impostor).make(&house.openssl);
    assert_eq!(
        unknown(house.agreed(&[&forged], house.now, &[])),
        "the CRL was not signed with the key of CN=sub"
    );
    let critical = List { extensions: "1.2.3.4 = critical, ASN1:NULL", ..List::of(&house.sub) };
    assert_eq!(
        unknown(house.agreed(&[&critical.make(&house.openssl)], house.now, &[])),
        "the CRL of CN=sub has the critical extension 1.2.3.4, which we do not know"
    );
    // Beside a list that counts, the others do no harm.
    assert_eq!(house.agreed(&[&forged, &list], house.now, &[]), Status::Good);
}

#[test]
fn a_list_changed_in_any_octet_says_nothing() {
    let house = House::new("crl-octets", "");
    let end = read(&house.end);
    let list = List { revoked: &[(&end, "keyCompromise")], ..List::of(&house.sub) }.make(&house.openssl);
    let path = house.path();
    for at in 0..list.to_der().len() {
        let mut changed = list.to_der().to_vec();
        changed[at] ^= 1 << (at % 8);
        let Ok(changed) = Crl::from_der(&changed) else { continue };
        let crls = [changed];
        let evidence = Evidence { crls: &crls, responses: &[], nonce: None, certificates: &[] };
        let status =
            revocation::status(path.end(), &read(&house.sub), &path, &evidence, house.now, Weak::Refused);
        assert!(matches!(status, Status::Unknown(_)), "octet {at}: {status:?}");
    }
}

#[test]
fn a_delta_adds_to_a_list_and_takes_from_it() {
    let house = House::new("crl-delta", "");
    let end = read(&house.end);
    let with_delta: &[&str] = &["-use_deltas"];
    let complete = List { number: 5, ..List::of(&house.sub) }.make(&house.openssl);
    let hold = List { number: 5, revoked: &[(&end, "certificateHold")], ..List::of(&house.sub) };
    let hold = hold.make(&house.openssl);
    let to_five = "2.5.29.27 = critical, ASN1:INTEGER:5";
    let adds =
        List { number: 6, revoked: &[(&end, "superseded")], extensions: to_five, ..List::of(&house.sub) };
    let adds = adds.make(&house.openssl);
    let removes =
        List { number: 6, revoked: &[(&end, "removeFromCRL")], extensions: to_five, ..List::of(&house.sub) };
    let removes = removes.make(&house.openssl);
    let empty = List { number: 6, extensions: to_five, ..List::of(&house.sub) }.make(&house.openssl);
    assert!(adds.is_delta() && !complete.is_delta());
    assert!(is_revoked(&house.status(&[&complete, &adds], &[], house.now), RevocationReason::Superseded));
    assert_eq!(house.agreed(&[&complete, &empty], house.now, with_delta), Status::Good);
    assert_eq!(house.status(&[&hold, &removes], &[], house.now), Status::Good);
    assert!(is_revoked(&house.status(&[&hold, &empty], &[], house.now), RevocationReason::CertificateHold));
    // RFC 5280 §5.2.4: a delta alone is no list (for OpenSSL it is), and one to a later list cannot update an earlier.
    let why = unknown(house.status(&[&empty], &[], house.now));
    assert_eq!(why, "no CRL of CN=sub is at hand that covers it");
    let to_seven = "2.5.29.27 = critical, ASN1:INTEGER:7";
    let later =
        List { number: 8, revoked: &[(&end, "superseded")], extensions: to_seven, ..List::of(&house.sub) };
    assert_eq!(house.status(&[&complete, &later.make(&house.openssl)], &[], house.now), Status::Good);
    // RFC 5280 §6.3.3 (a)(1)(i): a current delta keeps an old list alive.
    let old = List { number: 5, hours: 1, ..List::of(&house.sub) }.make(&house.openssl);
    let in_two_hours = house.now.after_secs(7200);
    assert!(matches!(house.status(&[&old], &[], in_two_hours), Status::Unknown(_)));
    assert_eq!(house.status(&[&old, &empty], &[], in_two_hours), Status::Good);
}

#[test]
fn a_list_for_some_certificates_or_reasons_covers_these_only() {
    let house = House::new("crl-scope", "  crlDistributionPoints = URI:http://crl.example/1\n");
    let scopes = [
        ("onlyuser = TRUE", true),
        ("onlyCA = TRUE", false),
        ("onlyAA = TRUE", false),
        ("fullname = URI:http://crl.example/1", true),
        ("fullname = URI:http://crl.example/2", false),
        ("onlysomereasons = keyCompromise, CACompromise", false),
    ];
    for (scope, covers) in scopes {
        let extensions = format!("issuingDistributionPoint = critical, @idp\n[idp]\n{scope}");
        let list = List { extensions: &extensions, ..List::of(&house.sub) }.make(&house.openssl);
        let status = house.agreed(&[&list], house.now, &[]);
        assert_eq!(status == Status::Good, covers, "{scope}: {status:?}");
    }
}

#[test]
fn two_lists_cover_all_reasons_together() {
    let house = House::new("crl-partial", "");
    let end = read(&house.end);
    let scope = |reasons: &str| {
        format!("issuingDistributionPoint = critical, @idp\n[idp]\nonlysomereasons = {reasons}")
    };
    let serious = scope("keyCompromise, CACompromise");
    let others = scope(
        "affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn, AACompromise",
    );
    let first = List { extensions: &serious, ..List::of(&house.sub) }.make(&house.openssl);
    let second = List { extensions: &others, ..List::of(&house.sub) }.make(&house.openssl);
    assert!(matches!(house.status(&[&first], &[], house.now), Status::Unknown(_)));
    let extended: &[&str] = &["-extended_crl"];
    assert_eq!(house.agreed(&[&first, &second], house.now, extended), Status::Good);
    let revoked = List { extensions: &others, revoked: &[(&end, "superseded")], ..List::of(&house.sub) };
    let revoked = revoked.make(&house.openssl);
    assert!(is_revoked(&house.status(&[&first, &revoked], &[], house.now), RevocationReason::Superseded));
}

#[test]
fn whoever_signs_a_list_must_be_shown_to_be_allowed() {
    let house = House::new("crl-signers", "");
    // The CA's name on another key, which the CA above has certified for lists.
    let signer = "crls < root key=p256:crls\n  subject = /CN=sub\n  keyUsage = critical, cRLSign\n";
    let signer = house.certificate(signer, &house.root);
    let list = List::of(&signer).make(&house.openssl);
    assert_eq!(house.status(&[&list], &[read(&signer)], house.now), Status::Good);
    assert!(matches!(house.status(&[&list], &[], house.now), Status::Unknown(_)));
    // The same without the right to sign lists, and from a stranger.
    let plain = house.certificate("plain < root key=p256:plain\n  subject = /CN=sub\n", &house.root);
    let list = List::of(&plain).make(&house.openssl);
    assert!(matches!(house.status(&[&list], &[read(&plain)], house.now), Status::Unknown(_)));
    let stranger = corpus::read("\n== s\nstranger key=p256:stranger\n  subject = /CN=sub\n");
    let stranger = house.openssl.certificate(&stranger[0].certificates[0], None);
    let list = List::of(&stranger).make(&house.openssl);
    assert!(matches!(house.status(&[&list], &[read(&stranger)], house.now), Status::Unknown(_)));
}

#[test]
fn an_indirect_list_speaks_for_the_cas_that_name_it() {
    let point = "  crlDistributionPoints = point ; [point] ; fullname = URI:http://crl.example/1 ; CRLissuer = dirName:lister ; \
                 [lister] ; CN = lister\n";
    let house = House::new("crl-indirect", point);
    let lister = house.certificate("lister < root\n  keyUsage = critical, cRLSign\n", &house.root);
    let scope = "issuingDistributionPoint = critical, @idp\n[idp]\nfullname = URI:http://crl.example/1\nindirectCRL = TRUE";
    let list = List { extensions: scope, ..List::of(&lister) }.make(&house.openssl);
    let certificates = [read(&lister)];
    assert_eq!(house.status(&[&list], &certificates, house.now), Status::Good);
    let others = [&house.sub, &lister];
    let theirs = authority::verify(
        &house.openssl,
        &house.root,
        &others,
        &house.end,
        &[&list],
        house.now.0,
        &["-extended_crl"],
    );
    assert!(theirs.is_ok(), "{theirs:?}");
    // An entry without an issuer is the lister's own certificate of that number.
    let end = read(&house.end);
    let own = List { extensions: scope, revoked: &[(&end, "superseded")], ..List::of(&lister) };
    assert_eq!(house.status(&[&own.make(&house.openssl)], &certificates, house.now), Status::Good);
    // Without the mark of an indirect list it speaks for nobody else.
    let direct = List::of(&lister).make(&house.openssl);
    assert!(matches!(house.status(&[&direct], &certificates, house.now), Status::Unknown(_)));
}

/// What is said of the whole path.
fn check(house: &House, crls: &[Crl], strictness: Strictness) -> Result<(), String> {
    let evidence = Evidence { crls, responses: &[], nonce: None, certificates: &[] };
    let checked = revocation::check(&house.path(), &evidence, strictness, house.now, Weak::Refused);
    checked.map_err(|refusal| refusal.to_string())
}

#[test]
fn strictness_decides_what_follows_where_nobody_knows() {
    let plain = House::new("strict-plain", "");
    let with_uri = House::new("strict-uri", "  crlDistributionPoints = URI:http://crl.example/1\n");
    let unknown =
        "whether the certificate CN=end is revoked is not known: no CRL of CN=sub is at hand that covers it";
    assert_eq!(check(&plain, &[], Strictness::Strict), Err(unknown.to_owned()));
    assert_eq!(check(&plain, &[], Strictness::IfUri), Ok(()));
    assert_eq!(check(&plain, &[], Strictness::Relaxed), Ok(()));
    assert_eq!(check(&with_uri, &[], Strictness::IfUri), Err(unknown.to_owned()));
    assert_eq!(check(&with_uri, &[], Strictness::Relaxed), Ok(()));
    // Every certificate of the path but the anchor's counts.
    let of_sub = List::of(&plain.sub).make(&plain.openssl);
    let of_root = List::of(&plain.root).make(&plain.openssl);
    let unknown =
        "whether the certificate CN=sub is revoked is not known: no CRL of CN=root is at hand that covers it";
    assert_eq!(check(&plain, std::slice::from_ref(&of_sub), Strictness::Strict), Err(unknown.to_owned()));
    assert_eq!(check(&plain, &[of_sub.clone(), of_root], Strictness::Strict), Ok(()));
    let sub = read(&plain.sub);
    let revoked = List { revoked: &[(&sub, "CACompromise")], ..List::of(&plain.root) }.make(&plain.openssl);
    assert_eq!(
        check(&plain, &[of_sub, revoked], Strictness::Relaxed),
        Err("the certificate CN=sub was revoked on 2025-01-02 03:04:05 UTC (cACompromise)".to_owned())
    );
}

/// Has OpenSSL answer our question about the end.
fn respond(
    house: &House,
    signer: &Made,
    nonce: Option<&[u8]>,
    revoked: Option<&str>,
    options: &[&str],
) -> Vec<u8> {
    let end = read(&house.end);
    let (question, answer) = (house.openssl.path("question.der"), house.openssl.path("answer.der"));
    fs::write(&question, ocsp::request(&end, &read(&house.sub), nonce)).unwrap();
    let index = match revoked {
        Some(reason) => authority::index(&house.openssl, &[(&end, reason)], &[]),
        None => authority::index(&house.openssl, &[], &[&end]),
    };
    let arguments = [
        "ocsp",
        "-index",
        &index,
        "-CA",
        text_of(&house.sub.file),
        "-rsigner",
        text_of(&signer.file),
        "-rkey",
        text_of(&signer.key),
        "-reqin",
        text_of(&question),
        "-respout",
        text_of(&answer),
    ];
    let time: &[&str] =
        if options.contains(&"-ndays") || options.contains(&"-nmin") { &[] } else { &["-ndays", "1"] };
    house.openssl.run(&[&arguments, time, options].concat()).unwrap();
    fs::read(answer).unwrap()
}

fn ocsp_status(
    house: &House,
    response: &[u8],
    nonce: Option<&[u8]>,
    crls: &[Crl],
    now: Time,
) -> Status<String> {
    let responses = [Response::from_der(response).unwrap()];
    let evidence = Evidence { crls, responses: &responses, nonce, certificates: &[] };
    let path = house.path_at(now);
    revocation::status(path.end(), &read(&house.sub), &path, &evidence, now, Weak::Refused)
}

#[test]
fn the_issuer_answers_good_revoked_or_nothing() {
    let house = House::new("ocsp-issuer", "");
    let nonce = [7; 16];
    for options in [&[][..], &["-resp_key_id"], &["-resp_no_certs"], &["-rmd", "sha512"]] {
        let good = respond(&house, &house.sub, Some(&nonce), None, options);
        assert_eq!(ocsp_status(&house, &good, Some(&nonce), &[], house.now), Status::Good, "{options:?}");
        let revoked = respond(&house, &house.sub, Some(&nonce), Some("keyCompromise"), options);
        let status = ocsp_status(&house, &revoked, Some(&nonce), &[], house.now);
        assert!(is_revoked(&status, RevocationReason::KeyCompromise), "{options:?}: {status:?}");
    }
    // Without a nonce, an answer to anybody's question counts.
    let good = respond(&house, &house.sub, None, None, &[]);
    assert_eq!(ocsp_status(&house, &good, Some(&nonce), &[], house.now), Status::Good);
    let good = respond(&house, &house.sub, Some(&nonce), None, &[]);
    assert_eq!(
        unknown(ocsp_status(&house, &good, Some(&[8; 16]), &[], house.now)),
        "the OCSP response is not the answer to our question: the nonces differ"
    );
    let late = unknown(ocsp_status(&house, &good, Some(&nonce), &[], house.now.after_secs(90_000)));
    assert!(late.starts_with("the OCSP response was to be replaced by "), "{late}");
}

#[test]
fn an_answer_that_does_not_count_says_nothing() {
    let house = House::new("ocsp-faults", "");
    let good = respond(&house, &house.sub, None, None, &[]);
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1 << (at % 8);
        let Ok(response) = Response::from_der(&changed) else { continue };
        let responses = [response];
        let evidence = Evidence { crls: &[], responses: &responses, nonce: None, certificates: &[] };
        let path = house.path();
        let status =
            revocation::status(path.end(), &read(&house.sub), &path, &evidence, house.now, Weak::Refused);
        // The certificates behind the signature are nothing that is signed.
        let is_beside = status == Status::Good && at >= good.len() - read(&house.sub).to_der().len() - 8;
        assert!(is_beside || matches!(status, Status::Unknown(_)), "octet {at}: {status:?}");
    }
    let stranger = respond(&house, &house.other, None, None, &[]);
    assert_eq!(
        unknown(ocsp_status(&house, &stranger, None, &[], house.now)),
        "the OCSP response was signed by somebody who may not: the certificate CN=other does not say that it is for \
         OCSPSigning"
    );
    let without = respond(&house, &house.other, None, None, &["-resp_no_certs"]);
    assert_eq!(
        unknown(ocsp_status(&house, &without, None, &[], house.now)),
        "the OCSP response was signed by somebody whose certificate is not at hand"
    );
    // An answer about another certificate.
    let other = House::new("ocsp-another", "");
    let about_other = respond(&other, &other.sub, None, None, &[]);
    assert_eq!(
        unknown(ocsp_status(&house, &about_other, None, &[], house.now)),
        "no CRL of CN=sub is at hand that covers it"
    );
    let refusal = Response::from_der(&[0x30, 3, 0x0a, 1, 3]).unwrap_err();
    assert_eq!(refusal.to_string(), "the OCSP responder answers: try later");
}

#[test]
fn a_delegate_answers_if_the_issuer_says_so() {
    let house = House::new("ocsp-delegate", "");
    let purpose = "  extendedKeyUsage = critical, OCSPSigning\n";
    let delegate = house.certificate(&format!("ocsp < sub\n{purpose}"), &house.sub);
    let answer = respond(&house, &delegate, None, None, &[]);
    assert_eq!(ocsp_status(&house, &answer, None, &[], house.now), Status::Good);
    // RFC 6960 §4.2.2.2: not the issuer's issuer, nor anybody else, may delegate.
    let foreign = house.certificate(&format!("ocsp2 < root\n{purpose}"), &house.root);
    let answer = respond(&house, &foreign, None, None, &[]);
    let why = unknown(ocsp_status(&house, &answer, None, &[], house.now));
    assert_eq!(
        why,
        "the OCSP response was signed by somebody who may not: the certificate CN=ocsp2 was not signed with the key of \
         CN=sub, or was changed since"
    );
    // A delegate that is revoked itself may not, unless nobody is to ask.
    let revoked = read(&delegate);
    let list = List { revoked: &[(&revoked, "keyCompromise")], ..List::of(&house.sub) }.make(&house.openssl);
    let answer = respond(&house, &delegate, None, Some("superseded"), &[]);
    let status = ocsp_status(&house, &answer, None, &[list], house.now);
    assert_eq!(status, Status::Good, "the list does not have the end");
    let unasked = house.certificate(&format!("ocsp3 < sub\n{purpose}  noCheck = ignored\n"), &house.sub);
    let revoked = read(&unasked);
    let list = List { revoked: &[(&revoked, "keyCompromise")], ..List::of(&house.sub) }.make(&house.openssl);
    let answer = respond(&house, &unasked, None, Some("superseded"), &[]);
    let status = ocsp_status(&house, &answer, None, &[list], house.now);
    assert!(is_revoked(&status, RevocationReason::Superseded), "{status:?}");
}
