//! IKE_AUTH with signatures: every kind of key in both roles, chains, mixed methods, and every way to be refused.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use credentials::Wishes;
use crypto::signature::{Curve, MlDsa, NewKey};
use ike::{Authentication, Failure, Identity};
use pki::issue::Draft;
use pki::{Certificate, PrivateKey, Time};
use sa::{InBandOcsp, SendCertificate};
use testkit::{Authority, Gateway, Pair, Scenario, Side, Weather, authority, for_seeds};
use wire::registry::{CertificateEncoding, NotifyType};
use wire::v2::Payload;

/// What both sides trust in most tests.
static ROOT: LazyLock<Authority> = LazyLock::new(|| Authority::root("C=CH, CN=root", NewKey::Ed25519));

fn name(side: Side) -> Identity {
    Identity::Fqdn(format!("{side}.example"))
}

fn terms(text: &str) -> Authentication {
    Authentication::Signature(text.parse().expect("the test's own text"))
}

/// Has both sides prove themselves by certificates below the root.
fn certified(seed: u64, left: NewKey, right: NewKey) -> Scenario {
    let mut scenario = Scenario::site_to_site(seed);
    for (side, key) in [(Side::Left, left), (Side::Right, right)] {
        let gateway = scenario.gateway_mut(side);
        gateway.connection.local_authentication = terms("pubkey");
        gateway.connection.remote_authentication = terms("pubkey");
        give(gateway, ROOT.certify(&name(side), key));
        gateway.credentials.anchors = vec![ROOT.certificate.clone()];
    }
    scenario
}

/// Gives a gateway a certificate, in place of what it has.
fn give(gateway: &mut Gateway, (certificate, key): (Certificate, PrivateKey)) {
    gateway.credentials.certificates = vec![certificate];
    gateway.credentials.keys = vec![key];
}

/// Gives the left side a certificate that is as it should be but for one change.
fn with_left(change: impl FnOnce(&mut Draft)) -> Scenario {
    let mut scenario = certified(1, NewKey::Ed25519, NewKey::Ed25519);
    give(&mut scenario.left, ROOT.certify_with(&name(Side::Left), NewKey::Ed25519, change));
    scenario
}

fn comes_up(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle_and_check();
    pair
}

/// Tries to bring the child up from the left; gives what is said there, and what the right side says.
fn fails(scenario: Scenario) -> (String, String) {
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it must not come up");
    pair.run_for(Duration::from_secs(1));
    assert!(pair.ike_sas(Side::Right).is_empty(), "the responder has no IKE SA either");
    let told = pair.events(Side::Right).iter().rev().find_map(|event| match event {
        ike::Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    (failure.to_string(), told.unwrap_or_default())
}

fn keys() -> Vec<NewKey> {
    let (curves, lattice) = (Curve::ALL.map(NewKey::Ecdsa), MlDsa::ALL.map(NewKey::MlDsa));
    [[NewKey::Rsa { bits: 2048 }, NewKey::Ed25519, NewKey::Ed448].as_slice(), &curves, &lattice].concat()
}

#[test]
fn every_kind_of_key_proves_either_end() {
    for key in keys() {
        comes_up(certified(1, key, NewKey::Ed25519));
        comes_up(certified(2, NewKey::Ecdsa(Curve::P256), key));
    }
}

#[test]
fn certificates_cross_a_network_that_loses_and_shuffles_their_fragments() {
    let sub = ROOT.subordinate("C=CH, CN=sub", NewKey::Ecdsa(Curve::P384));
    let issuing = sub.subordinate("C=CH, CN=issuing", NewKey::Ecdsa(Curve::P256));
    for_seeds(0..100, |seed| {
        let mut scenario = certified(seed, NewKey::Ed25519, NewKey::Ed448).weather(Weather::lossy(30));
        give(&mut scenario.left, issuing.certify(&name(Side::Left), NewKey::Ecdsa(Curve::P521)));
        let between = [&sub, &issuing].map(|ca| ca.certificate.clone());
        scenario.left.credentials.certificates.extend(between);
        comes_up(scenario.both(|gateway| {
            gateway.settings.fragment_size = 576;
            gateway.connection.keying_tries = 0;
        }));
    });
}

/// draft-ietf-ipsecme-ikev2-pqc-auth: the message is longer than any datagram, and so is each of the chain's certificates.
#[test]
fn chains_of_ml_dsa_cross_a_network_that_loses_and_shuffles_their_fragments() {
    let root = Authority::root("C=CH, CN=lattice root", NewKey::MlDsa(MlDsa::Set87));
    let sub = root.subordinate("C=CH, CN=lattice sub", NewKey::MlDsa(MlDsa::Set65));
    for_seeds(0..100, |seed| {
        let mut scenario = certified(seed, NewKey::Ed25519, NewKey::Ed25519).weather(Weather::lossy(30));
        let set = MlDsa::ALL[usize::try_from(seed % 3).expect("it is small")];
        for side in Side::BOTH {
            let gateway = scenario.gateway_mut(side);
            give(gateway, sub.certify(&name(side), NewKey::MlDsa(set)));
            gateway.credentials.certificates.push(sub.certificate.clone());
            gateway.credentials.anchors = vec![root.certificate.clone()];
            let any = "mldsa44-mldsa65-mldsa87";
            gateway.connection.local_authentication = terms(any);
            gateway.connection.remote_authentication = terms(any);
        }
        comes_up(scenario.patient().both(|gateway| {
            gateway.settings.fragment_size = 1280;
            gateway.connection.keying_tries = 0;
        }));
    });
}

#[test]
fn ml_dsa_is_refused_where_another_parameter_set_is_wanted() {
    let mut scenario = certified(16, NewKey::MlDsa(MlDsa::Set44), NewKey::Ed25519);
    scenario.right.connection.remote_authentication = terms("mldsa65-mldsa87");
    let (_, right) = fails(scenario);
    assert!(
        right.contains(
            "left.example signs by ML-DSA-44 with a key of ML-DSA-44 and 128 bits; allowed is mldsa65-mldsa87"
        ),
        "{right}"
    );
    let mut scenario = certified(17, NewKey::MlDsa(MlDsa::Set44), NewKey::Ed25519);
    scenario.left.connection.local_authentication = terms("mldsa87");
    let (left, _) = fails(scenario);
    assert!(left.contains("the peer takes, mldsa87 allows none"), "{left}");
}

#[test]
fn one_end_may_have_a_certificate_and_the_other_a_secret() {
    for (left, right) in [("pubkey", "psk"), ("psk", "pubkey")] {
        let mut scenario = certified(3, NewKey::Ed25519, NewKey::Ed25519);
        let method = |text| if text == "psk" { Authentication::PreSharedKey } else { terms(text) };
        scenario.left.connection.local_authentication = method(left);
        scenario.right.connection.remote_authentication = method(left);
        scenario.right.connection.local_authentication = method(right);
        scenario.left.connection.remote_authentication = method(right);
        comes_up(scenario);
    }
}

#[test]
fn a_secret_does_not_pass_for_a_signature_nor_the_other_way_round() {
    let mut scenario = certified(4, NewKey::Ed25519, NewKey::Ed25519);
    scenario.left.connection.local_authentication = Authentication::PreSharedKey;
    let (_, right) = fails(scenario);
    assert!(right.contains("proves itself by \"Shared Key Message Integrity Code (2)\""), "{right}");
    assert!(right.contains("configured is a signature (pubkey)"), "{right}");
    let mut scenario = certified(5, NewKey::Ed25519, NewKey::Ed25519);
    scenario.right.connection.remote_authentication = Authentication::PreSharedKey;
    let (_, right) = fails(scenario);
    assert!(right.contains("configured is a pre-shared key"), "{right}");
}

#[test]
fn who_is_known_by_certificate_or_key_needs_no_ca() {
    let mut scenario = certified(6, NewKey::Ed25519, NewKey::Ed25519);
    let left = scenario.left.credentials.certificates.clone();
    scenario.right.credentials.anchors.clear();
    let wishes = Wishes { peer: left, ..Wishes::default() };
    scenario.right.credentials.connections.insert("site".to_owned(), Arc::new(wishes));
    comes_up(scenario);

    let mut scenario = certified(7, NewKey::Ed25519, NewKey::Ed25519);
    let raw = |gateway: &Gateway| {
        gateway
            .credentials
            .certificates
            .iter()
            .map(|own| own.key().expect("ours").clone())
            .collect::<Vec<_>>()
    };
    let keys = [raw(&scenario.left), raw(&scenario.right)];
    for side in Side::BOTH {
        let own_keys = keys[side.index()].clone();
        let peer_keys = keys[side.other().index()].clone();
        let gateway = scenario.gateway_mut(side);
        gateway.credentials.certificates.clear();
        gateway.credentials.anchors.clear();
        let wishes = Wishes { own_keys, peer_keys, ..Wishes::default() };
        gateway.credentials.connections.insert("site".to_owned(), Arc::new(wishes));
    }
    comes_up(scenario);
}

#[test]
fn the_certificate_below_a_ca_that_the_peer_trusts_is_chosen() {
    let other = Authority::root("CN=other", NewKey::Ed25519);
    let mut scenario = certified(8, NewKey::Ed25519, NewKey::Ed25519);
    let (first, key) = other.certify(&name(Side::Left), NewKey::Ed25519);
    scenario.left.credentials.certificates.insert(0, first);
    scenario.left.credentials.keys.insert(0, key);
    scenario.left.credentials.anchors.push(other.certificate);
    comes_up(scenario);
}

#[test]
fn a_certificate_that_is_not_good_is_refused_in_a_sentence() {
    let stranger = Authority::root("CN=stranger", NewKey::Ed25519);
    let mut by_stranger = certified(1, NewKey::Ed25519, NewKey::Ed25519);
    give(&mut by_stranger.left, stranger.certify(&name(Side::Left), NewKey::Ed25519));
    let mut of_another = certified(1, NewKey::Ed25519, NewKey::Ed25519);
    let (certificate, key) = ROOT.certify(&Identity::Fqdn("mallory.example".to_owned()), NewKey::Ed25519);
    let wishes = Wishes { own: vec![certificate.clone()], ..Wishes::default() };
    give(&mut of_another.left, (certificate, key));
    of_another.left.credentials.connections.insert("site".to_owned(), Arc::new(wishes));
    let cases = [
        (
            with_left(|draft| draft.not_after = Time(authority::NOW.0 - 1)),
            "the certificate CN=left.example expired on",
        ),
        (with_left(|draft| draft.not_before = authority::NOW.after_secs(60)), "is not valid before"),
        (by_stranger, "was issued by CN=stranger, whose certificate neither we nor the peer have"),
    ];
    for (scenario, sentence) in cases {
        let (left, right) = fails(scenario);
        assert!(right.contains(sentence), "{right}");
        assert!(left.contains("AUTHENTICATION_FAILED"), "{left}");
    }
    let (left, _) = fails(of_another);
    assert_eq!(
        left,
        "our identity left.example is not in the certificate, which names CN=mallory.example, mallory.example"
    );
}

#[test]
fn a_signature_that_is_not_allowed_is_refused() {
    let mut scenario = certified(9, NewKey::Rsa { bits: 2048 }, NewKey::Ed25519);
    scenario.right.connection.remote_authentication = terms("rsa-3072");
    let (_, right) = fails(scenario);
    assert!(right.contains("RSA-PSS") && right.contains("2048 bits; allowed is rsa-3072"), "{right}");
    let mut scenario = certified(10, NewKey::Ed25519, NewKey::Ed25519);
    scenario.left.connection.local_authentication = terms("ecdsa");
    let (left, _) = fails(scenario);
    assert!(left.contains("the peer takes, ecdsa allows none"), "{left}");
}

#[test]
fn hashes_and_authorities_are_announced() {
    let pair = comes_up(certified(11, NewKey::Ed25519, NewKey::Ed25519));
    for side in Side::BOTH {
        let first = pair.messages(side).into_iter().next().expect("it sent IKE_SA_INIT");
        let payloads = wire::v2::decode(&first).expect("it can be read").payloads;
        let announces = |payload: &Payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == NotifyType::SIGNATURE_HASH_ALGORITHMS);
        assert!(payloads.iter().any(announces), "{side}");
        let asks = payloads.iter().any(|payload| matches!(payload, Payload::CertificateRequest(_)));
        assert_eq!(asks, side == Side::Right, "the responder asks here, the initiator in IKE_AUTH");
    }
}

/// RFC 4945 §3.2: one CERTREQ, for X.509 certificates, with every CA by the hash of its key; no lists and no bundles are asked for.
#[test]
fn every_ca_is_named_in_one_request_by_the_hash_of_its_key() {
    let other = Authority::root("CN=other", NewKey::Ed25519);
    let mut scenario = certified(16, NewKey::Ed25519, NewKey::Ed25519);
    scenario.right.credentials.anchors.push(other.certificate.clone());
    let pair = comes_up(scenario);
    let first = pair.messages(Side::Right).into_iter().next().expect("it answered IKE_SA_INIT");
    let payloads = wire::v2::decode(&first).expect("it can be read").payloads;
    let requests: Vec<_> = payloads
        .iter()
        .filter_map(|payload| match payload {
            Payload::CertificateRequest(request) => Some(request),
            _ => None,
        })
        .collect();
    let [request] = requests.as_slice() else { panic!("one request: {requests:?}") };
    assert_eq!(request.encoding, CertificateEncoding::X509_SIGNATURE);
    let hash = |ca: &Authority| crypto::hash::SHA1.digest(&[ca.certificate.key_info()]).as_slice().to_vec();
    let mut named: Vec<_> = request.authorities.chunks(20).map(<[u8]>::to_vec).collect();
    let mut expected = vec![hash(&ROOT), hash(&other)];
    named.sort();
    expected.sort();
    assert_eq!(named, expected);
}

/// RFC 4945 §3.3: of all that an end has, the certificate below a CA that the peer trusts goes, and what is between them, each
/// once; no CA that is trusted, and no second certificate of its own.
#[test]
fn a_chain_is_sent_once_and_without_its_root() {
    let (sub, other) =
        (ROOT.subordinate("C=CH, CN=sub", NewKey::Ed25519), Authority::root("CN=other", NewKey::Ed25519));
    let mut scenario = certified(17, NewKey::Ed25519, NewKey::Ed25519).both(|gateway| {
        gateway.settings.trace_messages = true;
    });
    give(&mut scenario.left, sub.certify(&name(Side::Left), NewKey::Ed25519));
    let (second, key) = other.certify(&name(Side::Left), NewKey::Ed25519);
    let beside = [second, sub.certificate.clone(), sub.certificate.clone(), ROOT.certificate.clone()];
    scenario.left.credentials.certificates.extend(beside);
    scenario.left.credentials.keys.push(key);
    let pair = comes_up(scenario);
    let sent = |side: Side| {
        let mut traces = pair.traces(side).iter();
        let proof = traces.find(|trace| trace.payloads.iter().any(|payload| payload.name == "AUTH"));
        let payloads = &proof.expect("it proved itself").payloads;
        payloads.iter().filter(|payload| payload.name == "CERT").count()
    };
    assert_eq!(sent(Side::Left), 2, "its own, and that of the CA between");
}

/// RFC 9593: the peer would refuse what comes first, and has said so.
#[test]
fn a_key_is_chosen_that_makes_a_signature_which_the_peer_announces() {
    for (wanted, keys) in [
        ("ed25519", [NewKey::Ecdsa(Curve::P256), NewKey::Ed25519]),
        ("ecdsa", [NewKey::Ed25519, NewKey::Ecdsa(Curve::P256)]),
    ] {
        for side in Side::BOTH {
            let mut scenario = certified(15, NewKey::Ed25519, NewKey::Ed25519);
            let (certificates, keys): (Vec<_>, Vec<_>) =
                keys.map(|key| ROOT.certify(&name(side), key)).into_iter().unzip();
            let gateway = scenario.gateway_mut(side);
            gateway.credentials.certificates = certificates;
            gateway.credentials.keys = keys;
            scenario.gateway_mut(side.other()).connection.remote_authentication = terms(wanted);
            comes_up(scenario);
        }
    }
}

#[test]
fn a_certificate_is_sent_if_asked_for_or_always_or_never() {
    use SendCertificate::{Always, IfAsked, Never};
    let exchange = |left: SendCertificate, is_asked: bool| {
        let mut scenario = certified(13, NewKey::Ed25519, NewKey::Ed25519);
        scenario.left.connection.certificates.send = left;
        scenario.right.connection.certificates.asks = is_asked;
        scenario
    };
    for (send, is_asked) in [(Always, true), (Always, false), (IfAsked, true)] {
        comes_up(exchange(send, is_asked));
    }
    for (send, is_asked) in [(IfAsked, false), (Never, true)] {
        let (_, right) = fails(exchange(send, is_asked));
        assert!(right.contains("left.example sent no certificate, and we have none of it"), "{right}");
        // Who has it needs none.
        let mut scenario = exchange(send, is_asked);
        let known = scenario.left.credentials.certificates.clone();
        scenario.right.credentials.certificates.extend(known);
        comes_up(scenario);
    }
}

#[test]
fn ocsp_in_band_and_look_ups_are_asked_for_where_that_is_configured() {
    let requests = |ocsp: InBandOcsp, looks_up: bool| {
        let mut scenario = certified(14, NewKey::Ed25519, NewKey::Ed25519);
        scenario.right.connection.certificates.ocsp = ocsp;
        scenario.right.settings.certificate_lookup = looks_up;
        let pair = comes_up(scenario);
        let first = pair.messages(Side::Right).into_iter().next().expect("it answered IKE_SA_INIT");
        let payloads = wire::v2::decode(&first).expect("it can be read").payloads;
        let asks = |payload: &Payload| matches!(payload, Payload::CertificateRequest(request) if request.encoding == CertificateEncoding::OCSP);
        let looks_up = |payload: &Payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == NotifyType::HTTP_CERT_LOOKUP_SUPPORTED);
        (payloads.iter().any(asks), payloads.iter().any(looks_up))
    };
    assert_eq!(requests(InBandOcsp::Reply, false), (false, false));
    assert_eq!(requests(InBandOcsp::Both, false), (true, false));
    assert_eq!(requests(InBandOcsp::Never, true), (false, true));
}

#[test]
fn nobody_waits_forever_for_a_signature() {
    let mut scenario = certified(12, NewKey::Ed25519, NewKey::Ed25519);
    scenario.answer_delay = Duration::from_secs(120)..=Duration::from_secs(121);
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("nobody signs in time");
    assert_eq!(failure.to_string(), "our private key did not sign in time");
    assert!(matches!(failure, Failure::Exchange(_)));
    pair.run_for(Duration::from_secs(120));
    assert!(pair.ike_sas(Side::Left).is_empty());
}
