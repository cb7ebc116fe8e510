//! The corpus of chains: our verdict on each, and OpenSSL's beside it.
//!
//! `paths.txt` describes the chains. Each is made anew with `openssl req` and judged twice, by [`pki::validate`] and by
//! `openssl verify`. Where the two differ, the corpus says so and names the paragraph that decides.

use pki::{Certificate, Demands, Purpose, Weak};

use crate::chain;
use crate::corpus::{self, Case, Verdict};
use crate::openssl::OpenSsl;

#[test]
fn our_verdicts_are_those_of_openssl_or_the_corpus_says_why() {
    let openssl = OpenSsl::new("paths");
    let cases = corpus::read(include_str!("paths.txt"));
    let faults: Vec<String> = cases.iter().filter_map(|case| fault_of(case, &openssl)).collect();
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
    println!("{} cases, {} certificates", cases.len(), openssl.made());
    assert!(cases.len() > 100);
}

fn fault_of(case: &Case, openssl: &OpenSsl) -> Option<String> {
    let chain = chain::make(case, openssl);
    let (ours, theirs) = (chain.our_verdict(case), chain.their_verdict(case, openssl));
    let mut faults = Vec::new();
    if ours != case.ours {
        faults.push(format!("  we say         {ours}\n  and should say {}", case.ours));
    }
    let expected = match &case.difference {
        Some(_) if case.ours == Verdict::Valid => "refused",
        None if case.ours == Verdict::Valid => "accepted",
        Some(_) => "accepted",
        None => "refused",
    };
    if theirs.is_ok() != (expected == "accepted") {
        faults.push(format!("  OpenSSL should have {expected} it, and says {theirs:?}"));
    }
    (!faults.is_empty()).then(|| format!("{}\n{}", case.name, faults.join("\n")))
}

#[test]
fn a_certificate_changed_in_any_bit_is_refused() {
    let openssl = OpenSsl::new("bits");
    let cases = corpus::read("\n== bits\nroot\nend < root\n  subjectAltName = DNS:gw.example\n");
    let [root, end] = cases[0].certificates.as_slice() else { panic!("two certificates") };
    let root = openssl.certificate(root, None);
    let end = chain::read(&openssl.certificate(end, Some(&root)).file).unwrap();
    let anchors = [chain::read(&root.file).unwrap()];
    let demands =
        Demands { now: end.not_before(), purpose: Purpose::Ike, weak: Weak::Refused, policies: &[] };
    assert!(pki::validate(&end, &[], &anchors, &demands).is_ok());
    for bit in 0..end.to_der().len() * 8 {
        let mut changed = end.to_der().to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        let judged = Certificate::from_der(&changed).map(|end| pki::validate(&end, &[], &anchors, &demands));
        assert!(!matches!(judged, Ok(Ok(_))), "bit {bit}");
    }
}
