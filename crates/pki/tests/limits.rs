//! What a stranger or a file may ask of us, at each limit and past it.

use crypto::signature::NewKey;
use pki::crl::{self, RevocationReason, Revoked, Status};
use pki::issue::{self, Draft, Issuer, ListDraft, Role};
use pki::revocation::{self, Evidence};
use pki::{Certificate, Contents, Crl, Demands, GeneralName, PrivateKey, Purpose, Time, Weak, limits};
use sa::DistinguishedName;

const NOW: Time = Time(1_800_000_000);

fn key() -> PrivateKey {
    PrivateKey::generate(NewKey::Ed25519).unwrap()
}

fn draft(subject: &str, key: &PrivateKey, role: Role) -> Draft {
    Draft {
        subject: DistinguishedName::parse(subject).unwrap(),
        names: Vec::new(),
        key_info: key.public_key_info(),
        serial: vec![1],
        not_before: Time(NOW.0 - 1000),
        not_after: NOW.after_secs(1000),
        role,
        crl_uris: Vec::new(),
        ocsp_uris: Vec::new(),
    }
}

fn ca(subject: &str, key: &PrivateKey, issuer: Issuer<'_>) -> Certificate {
    issue::issue(&draft(subject, key, Role::Ca { path_len: None }), issuer).unwrap()
}

fn end(subject: &str, key: &PrivateKey, issuer: Issuer<'_>) -> Certificate {
    issue::issue(&draft(subject, key, Role::End { purposes: Vec::new() }), issuer).unwrap()
}

fn judge(end: &Certificate, intermediates: &[Certificate], anchor: &Certificate) -> Result<(), String> {
    let demands = Demands { now: NOW, purpose: Purpose::Ike, weak: Weak::Refused, policies: &[] };
    let anchors = [anchor.clone()];
    pki::validate(end, intermediates, &anchors, &demands).map(drop).map_err(|refusal| refusal.to_string())
}

#[test]
fn as_many_possible_issuers_are_tried_as_the_limit_says() {
    let (root_key, sub_key, end_key) = (key(), key(), key());
    let root = ca("CN=root", &root_key, Issuer::Itself(&root_key));
    let sub = ca("CN=sub", &sub_key, Issuer::Ca(&root, &root_key));
    let end = end("CN=end", &end_key, Issuer::Ca(&sub, &sub_key));
    let impostors: Vec<_> = (0..=limits::MAX_SIGNATURE_CHECKS)
        .map(|_| {
            let own = key();
            ca("CN=sub", &own, Issuer::Itself(&own))
        })
        .collect();
    assert_eq!(
        judge(&end, &impostors[1..], &root).unwrap_err(),
        "the certificate CN=end was not signed with the key of CN=sub, or was changed since"
    );
    assert_eq!(
        judge(&end, &impostors, &root).unwrap_err(),
        "the certificate CN=end has a chain with more possible issuers than we look at"
    );
    // Whose key has the right identifier is tried first.
    assert_eq!(judge(&end, &[impostors, vec![sub]].concat(), &root), Ok(()));
}

#[test]
fn intermediates_past_the_limit_are_not_looked_at() {
    let (root_key, sub_key, end_key) = (key(), key(), key());
    let root = ca("CN=root", &root_key, Issuer::Itself(&root_key));
    let sub = ca("CN=sub", &sub_key, Issuer::Ca(&root, &root_key));
    let end = end("CN=end", &end_key, Issuer::Ca(&sub, &sub_key));
    let others = vec![root.clone(); limits::MAX_INTERMEDIATES];
    let at_the_limit = [&others[1..], std::slice::from_ref(&sub)].concat();
    assert_eq!(judge(&end, &at_the_limit, &root), Ok(()));
    let past_it = [others.as_slice(), std::slice::from_ref(&sub)].concat();
    assert_eq!(
        judge(&end, &past_it, &root).unwrap_err(),
        "the certificate CN=end was issued by CN=sub, whose certificate neither we nor the peer have"
    );
}

#[test]
fn a_path_has_so_many_certificates_and_no_more() {
    let keys: Vec<_> = (0..limits::MAX_PATH_CERTIFICATES).map(|_| key()).collect();
    let mut cas = vec![ca("CN=ca 0", &keys[0], Issuer::Itself(&keys[0]))];
    for (at, own) in keys.iter().enumerate().skip(1) {
        let issuer = Issuer::Ca(&cas[at - 1], &keys[at - 1]);
        cas.push(ca(&format!("CN=ca {at}"), own, issuer));
    }
    // A path has an end, too: with the limit's number of CAs there is one certificate more than it may have.
    let below = |number: usize| {
        let own = key();
        let end = end("CN=end", &own, Issuer::Ca(&cas[number - 1], &keys[number - 1]));
        judge(&end, &cas[1..number], &cas[0])
    };
    assert_eq!(below(limits::MAX_PATH_CERTIFICATES - 1), Ok(()));
    assert_eq!(
        below(limits::MAX_PATH_CERTIFICATES).unwrap_err(),
        "the certificate CN=end is at the end of a chain of 10, which is as many as we follow"
    );
}

#[test]
fn signers_of_lists_past_the_limit_are_not_looked_at() {
    let (root_key, sub_key, end_key, list_key) = (key(), key(), key(), key());
    let root = ca("CN=root", &root_key, Issuer::Itself(&root_key));
    let by_root = Issuer::Ca(&root, &root_key);
    let sub = ca("CN=sub", &sub_key, by_root);
    let end = end("CN=end", &end_key, Issuer::Ca(&sub, &sub_key));
    let signer = ca("CN=sub", &list_key, by_root);
    let list = ListDraft {
        number: vec![1],
        this_update: NOW,
        next_update: NOW.after_secs(1000),
        revoked: Vec::new(),
    };
    let crls = [issue::issue_list(&list, &signer, &list_key).unwrap()];
    let demands = Demands { now: NOW, purpose: Purpose::Ike, weak: Weak::Refused, policies: &[] };
    let path =
        pki::validate(&end, std::slice::from_ref(&sub), std::slice::from_ref(&root), &demands).unwrap();
    let others: Vec<_> = (0..limits::MAX_CRL_SIGNERS).map(|_| ca("CN=sub", &key(), by_root)).collect();
    let status = |certificates: &[Certificate]| {
        let evidence = Evidence { crls: &crls, responses: &[], nonce: None, certificates };
        revocation::status(&end, &sub, &path, &evidence, NOW, Weak::Refused)
    };
    let signer = std::slice::from_ref(&signer);
    assert_eq!(status(&[&others[1..], signer].concat()), Status::Good);
    assert!(matches!(status(&[others.as_slice(), signer].concat()), Status::Unknown(_)));
}

/// Every CA certifies every other, so that the number of chains grows as the factorial of theirs.
#[test]
fn cas_that_all_certify_each_other_end_in_bounded_work() {
    let keys: Vec<_> = (0..7).map(|_| key()).collect();
    let name = |at: usize| format!("CN=ca {at}");
    let own: Vec<_> = (0..7).map(|at| ca(&name(at), &keys[at], Issuer::Itself(&keys[at]))).collect();
    let mut mesh = Vec::new();
    for (issuer, subject) in (0..7).flat_map(|a| (0..7).map(move |b| (a, b))).filter(|(a, b)| a != b) {
        mesh.push(ca(&name(subject), &keys[subject], Issuer::Ca(&own[issuer], &keys[issuer])));
    }
    let (end_key, root_key) = (key(), key());
    let end = end("CN=end", &end_key, Issuer::Ca(&own[0], &keys[0]));
    let root = ca("CN=root", &root_key, Issuer::Itself(&root_key));
    let refusal = judge(&end, &mesh, &root).unwrap_err();
    assert!(refusal.ends_with("has a chain with more possible issuers than we look at"), "{refusal}");
}

#[test]
fn octets_past_the_limits_are_not_read() {
    let root_key = key();
    let names = |count: usize| vec![GeneralName::Dns("a".repeat(60)); count];
    let with_names =
        |count| Draft { names: names(count), ..draft("CN=a", &root_key, Role::Ca { path_len: None }) };
    let fits = issue::issue(&with_names(1000), Issuer::Itself(&root_key)).unwrap();
    assert!(fits.to_der().len() < limits::MAX_CERTIFICATE_OCTETS);
    let refusal = issue::issue(&with_names(1100), Issuer::Itself(&root_key)).unwrap_err().to_string();
    assert!(refusal.contains("are too many for one certificate: 65536 are the most"), "{refusal}");
    let zeros = vec![0; limits::MAX_CRL_OCTETS + 1];
    assert_eq!(
        Crl::from_der(&zeros).unwrap_err().to_string(),
        "33554433 octets are too many for one CRL: 33554432 are the most"
    );
    assert_eq!(
        pki::ocsp::Response::from_der(&zeros[..limits::MAX_OCSP_OCTETS + 1]).unwrap_err().to_string(),
        "65537 octets are too many for one OCSP response: 65536 are the most"
    );
    let file = vec![0; limits::MAX_FILE_OCTETS + 1];
    assert_eq!(
        Contents::read(&file, None).unwrap_err().to_string(),
        "the file has 67108865 octets, and 67108864 are the most"
    );
}

#[test]
fn a_long_list_knows_each_of_its_certificates() {
    let root_key = key();
    let root = ca("CN=root", &root_key, Issuer::Itself(&root_key));
    let revoked = Revoked { at: NOW, reason: RevocationReason::Superseded };
    let serial = |number: u32| (number | 1 << 30).to_be_bytes().to_vec();
    let list = ListDraft {
        number: vec![1],
        this_update: NOW,
        next_update: NOW.after_secs(1000),
        revoked: (0..50_000).rev().map(|number| (serial(2 * number), revoked)).collect(),
    };
    let list = issue::issue_list(&list, &root, &root_key).unwrap();
    let numbers: Vec<_> = list.entries().map(|(serial, _)| serial.to_vec()).collect();
    assert!(numbers.is_sorted() && numbers.len() == 50_000);
    let lists = [list];
    for number in [0, 1, 2, 49_999, 50_000, 99_998, 99_999] {
        let draft = Draft {
            serial: serial(number),
            ..draft("CN=end", &root_key, Role::End { purposes: Vec::new() })
        };
        let end = issue::issue(&draft, Issuer::Ca(&root, &root_key)).unwrap();
        let status = crl::status(&end, std::slice::from_ref(&root), &lists, NOW, Weak::Refused);
        let expected = if number % 2 == 0 { Status::Revoked(revoked) } else { Status::Good };
        assert_eq!(status, expected, "{number}");
    }
}
