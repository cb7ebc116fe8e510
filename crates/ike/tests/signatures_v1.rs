//! Phase 1 of IKEv1 with signatures: RSA and ECDSA in both modes and roles over every kind of network, and every way to be
//! refused.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use credentials::Wishes;
use crypto::signature::{Curve, NewKey};
use ike::{
    Authentication, Event, Identity, IdentityPattern, Lifetimes, MessageTrace, Phase1Mode, TraceDirection,
};
use pki::issue::Draft;
use pki::{Certificate, PrivateKey, Time};
use sa::DistinguishedName;
use testkit::{AGELESS, Authority, Gateway, Pair, Scenario, Side, Weather, authority, for_seeds};

const MINUTE: Duration = Duration::from_secs(60);
const RSA: NewKey = NewKey::Rsa { bits: 2048 };
const P256: NewKey = NewKey::Ecdsa(Curve::P256);

/// What both sides trust in most tests.
static ROOT: LazyLock<Authority> = LazyLock::new(|| Authority::root("C=CH, CN=root", P256));

/// A key and certificate of each side and kind, made once: RSA keys take their time.
static OWN: LazyLock<Vec<[(Certificate, PrivateKey); 2]>> = LazyLock::new(|| {
    let of = |key| Side::BOTH.map(|side| ROOT.certify(&name(side), key));
    KEYS.map(of).to_vec()
});

const KEYS: [NewKey; 4] = [RSA, P256, NewKey::Ecdsa(Curve::P384), NewKey::Ecdsa(Curve::P521)];

fn name(side: Side) -> Identity {
    Identity::Fqdn(format!("{side}.example"))
}

fn terms(text: &str) -> Authentication {
    Authentication::Signature(text.parse().expect("the test's own text"))
}

/// Has both sides prove themselves in version 1 by keys of this kind, below the root.
fn certified(seed: u64, mode: Phase1Mode, kind: usize) -> Scenario {
    let scenario = Scenario::site_to_site(seed);
    let mut scenario = match mode {
        Phase1Mode::Main => scenario.version_1(),
        Phase1Mode::Aggressive => scenario.aggressive(),
    };
    for side in Side::BOTH {
        let gateway = scenario.gateway_mut(side);
        gateway.connection.local_authentication = terms("pubkey");
        gateway.connection.remote_authentication = terms("pubkey");
        give(gateway, OWN[kind][side.index()].clone());
        gateway.credentials.anchors = vec![ROOT.certificate.clone()];
        // Nothing but the certificate says who it is.
        gateway.secret = format!("{side} alone").into_bytes();
    }
    scenario
}

/// Each mode and kind of key in turn.
fn any(seed: u64) -> Scenario {
    let nth = seed as usize;
    let mode = if nth.is_multiple_of(2) { Phase1Mode::Main } else { Phase1Mode::Aggressive };
    certified(seed, mode, nth / 2 % KEYS.len())
}

/// Gives a gateway a certificate, in place of what it has.
fn give(gateway: &mut Gateway, (certificate, key): (Certificate, PrivateKey)) {
    gateway.credentials.certificates = vec![certificate];
    gateway.credentials.keys = vec![key];
}

/// Brings the child up, moves packets both ways, and checks every invariant.
fn comes_up(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect_version_1(3 * MINUTE);
    pair.settle_and_check();
    pair
}

/// Tries to bring the child up from the left; gives what is said there, and what the right side says.
fn fails(scenario: Scenario) -> (String, String) {
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it must not come up");
    pair.run_for(5 * MINUTE);
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    let told = pair.events(Side::Right).iter().rev().find_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    (failure.to_string(), told.unwrap_or_default())
}

const USER: &str = "carol";

/// RSA keys in either mode, and the left's user; every other time, nothing but his password proves the left (hybrid).
fn with_user(seed: u64) -> Scenario {
    let mode = if seed.is_multiple_of(2) { Phase1Mode::Main } else { Phase1Mode::Aggressive };
    let mut scenario = certified(seed, mode, 0).with_user(USER);
    if (seed / 2).is_multiple_of(2) {
        scenario.left.connection.local_authentication = Authentication::User;
        scenario.right.connection.remote_authentication = Authentication::User;
        scenario.left.credentials.certificates.clear();
        scenario.left.credentials.keys.clear();
    }
    scenario
}

#[test]
fn an_initiator_learns_beside_a_signature_how_long_phase_1_is_kept() {
    let mut scenario = certified(1, Phase1Mode::Main, 1);
    scenario.right.connection.lifetimes = Lifetimes { expire: 20 * MINUTE, ..AGELESS };
    let pair = comes_up(scenario);
    let ike = &pair.ike_sas(Side::Left)[0];
    assert_eq!(ike.expire_at.expect("it ends") - ike.established_at.expect("it is up"), 20 * MINUTE);
}

#[test]
fn a_user_comes_in_behind_certificates_whatever_the_network_does() {
    for_seeds(0..2000, |seed| {
        comes_up(with_user(seed).weather(Weather::SHUFFLED));
        comes_up(with_user(seed).weather(Weather::lossy(10)).patient());
        let scenario = with_user(seed).weather(Weather::lossy(30)).patient();
        let pair = comes_up(scenario.behind_nat(Side::Left, 5 * MINUTE));
        assert_eq!(pair.ike_sas(Side::Right)[0].remote_user, Some(Identity::parse(USER).expect("a name")));
    });
}

#[test]
fn a_server_that_calls_asks_all_the_same() {
    for_seeds(0..1000, |seed| {
        let mut pair = Pair::new(with_user(seed).weather(Weather::SHUFFLED));
        let ticket = pair.up(Side::Right, "net");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.run_for(MINUTE);
        assert!(pair.is_up("net"));
        pair.settle_and_check();
    });
}

#[test]
fn a_user_without_a_certificate_needs_his_password() {
    for seed in [0, 1] {
        let mut scenario = with_user(seed);
        scenario.left.passwords[0].1 = "guessed".to_owned();
        let (left, right) = fails(scenario);
        assert!(left.ends_with("the peer does not believe user carol: name or password differ"), "{left}");
        assert!(right.ends_with("user carol gave another password than is configured"), "{right}");
    }
}

/// A gateway whose certificate is not trusted is not told a password.
#[test]
fn no_password_goes_to_a_gateway_that_proves_nothing() {
    let stranger = Authority::root("CN=stranger", P256);
    for seed in [0, 1] {
        let mut scenario = with_user(seed);
        give(&mut scenario.right, stranger.certify(&name(Side::Right), RSA));
        let (left, _) = fails(scenario);
        assert!(left.contains("was issued by CN=stranger, whose certificate neither"), "{left}");
    }
}

#[test]
fn an_end_that_wants_a_certificate_takes_no_password_for_it() {
    let mut scenario = with_user(0);
    scenario.right.connection.remote_authentication = terms("pubkey");
    let (_, right) = fails(scenario);
    let said = "authentication by HybridInitRSA (64221) where we want XAUTHInitRSA (65005)";
    assert!(right.contains(said), "{right}");
}

/// Gives the notations of the payloads of each message of phase 1 that a side sent.
fn sent(pair: &Pair, side: Side) -> Vec<Vec<String>> {
    let is_of_phase_1 =
        |trace: &&MessageTrace| trace.direction == TraceDirection::Sent && trace.message_id == 0;
    let names = |trace: &MessageTrace| trace.payloads.iter().map(|payload| payload.name.clone()).collect();
    pair.traces(side).iter().filter(is_of_phase_1).map(names).collect()
}

/// RFC 4945 §3.2.7, §3.3.10: CERTREQ is in messages 4 and 5, CERT in 5 and 6.
#[test]
fn certificates_are_asked_for_and_sent_where_they_should_be() {
    let certified = |mode| {
        let scenario = certified(1, mode, 0).both(|gateway| gateway.settings.trace_messages = true);
        let pair = comes_up(scenario);
        let [left, right] = Side::BOTH.map(|side| sent(&pair, side));
        let has = |payloads: &[String], name: &str| payloads.iter().any(|payload| payload == name);
        let of = |name: &str| {
            let with = |messages: &[Vec<String>]| -> Vec<bool> {
                messages.iter().map(|payloads| has(payloads, name)).collect()
            };
            (with(&left), with(&right))
        };
        [of("CR"), of("CERT"), of("SIG")]
    };
    let last = (vec![false, false, true], vec![false, false, true]);
    let requests = (vec![false, false, true], vec![false, true, false]);
    assert_eq!(certified(Phase1Mode::Main), [requests, last.clone(), last]);
    let last = (vec![false, true], vec![true]);
    let requests = (vec![true, false], vec![true]);
    assert_eq!(certified(Phase1Mode::Aggressive), [requests, last.clone(), last]);
}

#[test]
fn every_kind_of_key_proves_both_ends_in_either_mode() {
    for seed in 0..8 {
        let pair = comes_up(any(seed));
        for side in Side::BOTH {
            assert_eq!(pair.ike_sas(side)[0].remote_identity, Some(name(side.other())));
        }
    }
}

#[test]
fn a_tunnel_comes_up_whatever_the_network_does() {
    for_seeds(0..2000, |seed| {
        comes_up(any(seed).weather(Weather::SHUFFLED));
        comes_up(any(seed).weather(Weather::lossy(10)).patient());
        comes_up(any(seed).weather(Weather::lossy(30)).patient());
    });
}

#[test]
fn a_tunnel_comes_up_through_a_nat_in_fragments() {
    for_seeds(0..2000, |seed| {
        let scenario = any(seed).behind_nat(Side::Left, 5 * MINUTE).weather(Weather::lossy(10)).patient();
        comes_up(scenario.both(|gateway| gateway.settings.fragment_size = 576));
    });
}

#[test]
fn a_tunnel_comes_up_in_spite_of_spoiled_copies() {
    for_seeds(0..2000, |seed| {
        let spoiling = Weather { corrupt_percent: 20, duplicate_percent: 50, ..Weather::SHUFFLED };
        let mut pair = Pair::new(any(seed).weather(spoiling).patient());
        // Neither a key exchange nor message 2 of aggressive mode is protected: who spoils one ends that attempt, and no
        // more.
        let tries = (0..10).take_while(|_| {
            let ticket = pair.up(Side::Left, "net");
            let result = pair.finish(ticket);
            if result.is_err() {
                pair.down(Side::Left);
            }
            result.is_err()
        });
        assert!(tries.count() < 10);
        pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
        pair.run_for(10 * MINUTE);
        pair.check_faults();
        assert!(pair.is_up("net"));
        assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
    });
}

#[test]
fn whoever_signs_may_take_seconds_for_it() {
    for_seeds(0..2000, |seed| {
        let mut scenario = any(seed).weather(Weather::lossy(10)).patient();
        scenario.answer_delay = Duration::from_millis(1)..=Duration::from_secs(5);
        comes_up(scenario);
    });
}

#[test]
fn a_new_phase_1_from_either_side_loses_no_packet() {
    for_seeds(0..1000, |seed| {
        let mut pair = Pair::new(any(seed).weather(Weather::SHUFFLED));
        pair.connect();
        pair.start_traffic(0, Duration::from_millis(100));
        for side in Side::BOTH {
            let ticket = pair.rekey_ike(side).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.run_for(MINUTE);
            assert_eq!(pair.ike_sas(Side::Left).len(), 1);
        }
        pair.stop_traffic();
        pair.settle_and_check();
    });
}

#[test]
fn chains_are_sent_whole() {
    let sub = ROOT.subordinate("C=CH, CN=sub", NewKey::Ecdsa(Curve::P384));
    let issuing = sub.subordinate("C=CH, CN=issuing", P256);
    for mode in [Phase1Mode::Main, Phase1Mode::Aggressive] {
        let mut scenario = certified(1, mode, 0);
        give(&mut scenario.left, issuing.certify(&name(Side::Left), RSA));
        let between = [&sub, &issuing].map(|ca| ca.certificate.clone());
        scenario.left.credentials.certificates.extend(between);
        comes_up(scenario);
    }
}

#[test]
fn the_kind_of_key_that_both_have_is_agreed_on() {
    for mode in [Phase1Mode::Main, Phase1Mode::Aggressive] {
        let mut scenario = certified(1, mode, 0);
        for (certificate, key) in [&OWN[1][0], &OWN[3][0]] {
            scenario.left.credentials.certificates.push(certificate.clone());
            scenario.left.credentials.keys.push(key.clone());
        }
        comes_up(scenario);
    }
}

#[test]
fn keys_of_two_kinds_do_not_meet() {
    for mode in [Phase1Mode::Main, Phase1Mode::Aggressive] {
        let mut scenario = certified(1, mode, 0);
        give(&mut scenario.right, OWN[1][1].clone());
        let (left, right) = fails(scenario);
        assert!(left.contains("NO-PROPOSAL-CHOSEN"), "{left}");
        let said =
            "authentication by RSA signatures (3) where we want ECDSA with SHA-256 on the P-256 curve (9)";
        assert!(right.contains(said), "{right}");
    }
}

#[test]
fn a_secret_and_a_signature_do_not_meet() {
    let mut scenario = certified(1, Phase1Mode::Main, 0);
    scenario.left.connection.local_authentication = Authentication::PreSharedKey;
    scenario.left.connection.remote_authentication = Authentication::PreSharedKey;
    let (_, right) = fails(scenario);
    assert!(
        right.contains("authentication by pre-shared key (1) where we want RSA signatures (3)"),
        "{right}"
    );
}

#[test]
fn an_end_without_a_key_that_can_sign_says_so() {
    let mut scenario = certified(1, Phase1Mode::Main, 0);
    give(&mut scenario.left, ROOT.certify(&name(Side::Left), NewKey::Ed25519));
    let (left, _) = fails(scenario);
    assert!(left.starts_with("connection site has no private key that can sign in IKEv1"), "{left}");
}

#[test]
fn a_certificate_that_is_not_good_is_refused_in_a_sentence() {
    let stranger = Authority::root("CN=stranger", P256);
    for mode in [Phase1Mode::Main, Phase1Mode::Aggressive] {
        let with_left = |change: fn(&mut Draft)| {
            let mut scenario = certified(1, mode, 1);
            give(&mut scenario.left, ROOT.certify_with(&name(Side::Left), P256, change));
            scenario
        };
        let mut by_stranger = certified(1, mode, 1);
        give(&mut by_stranger.left, stranger.certify(&name(Side::Left), P256));
        let cases = [
            (
                with_left(|draft| draft.not_after = Time(authority::NOW.0 - 1)),
                "the certificate CN=left.example expired on",
            ),
            (by_stranger, "was issued by CN=stranger, whose certificate neither we nor the peer have"),
        ];
        for (scenario, sentence) in cases {
            let mut pair = Pair::new(scenario);
            let _ = pair.up(Side::Left, "net");
            pair.run_for(MINUTE);
            let told = pair.events(Side::Right).iter().find_map(|event| match event {
                Event::Failed { failure, .. } => Some(failure.to_string()),
                _ => None,
            });
            let told = told.unwrap_or_default();
            assert!(told.contains(sentence), "{told}");
            pair.run_for(5 * MINUTE);
            Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
        }
    }
}

/// The responder's certificate is for another than it says that it is, or it is another than was wanted.
#[test]
fn the_responder_must_be_who_it_says() {
    for mode in [Phase1Mode::Main, Phase1Mode::Aggressive] {
        let mut scenario = certified(1, mode, 1);
        let mallory = Identity::Fqdn("mallory.example".to_owned());
        scenario.right.connection.local_identity = Some(mallory.clone());
        give(&mut scenario.right, ROOT.certify(&mallory, P256));
        let mut pair = Pair::new(scenario);
        let ticket = pair.up(Side::Left, "net");
        let failure = pair.finish(ticket).expect_err("it is another").to_string();
        assert!(failure.contains("the peer is mallory.example; configured is right.example"), "{failure}");
        let mut scenario = certified(1, mode, 1);
        // It trusts another certificate of the same name than the peer has.
        let other = ROOT.certify(&name(Side::Right), P256).0;
        let wishes = Wishes { peer: vec![other], ..Wishes::default() };
        scenario.left.credentials.connections.insert("site".to_owned(), Arc::new(wishes));
        let (left, _) = fails(scenario);
        assert!(left.contains("is not one of those that the connection site names"), "{left}");
    }
}

#[test]
fn identities_may_be_distinguished_names() {
    for mode in [Phase1Mode::Main, Phase1Mode::Aggressive] {
        let mut scenario = certified(1, mode, 1);
        let named = |side: Side| Identity::parse(&format!("C=CH, CN={side}.example")).expect("a name");
        for side in Side::BOTH {
            let gateway = scenario.gateway_mut(side);
            gateway.connection.local_identity = Some(named(side));
            gateway.connection.remote_identity = IdentityPattern::parse("C=CH, CN=*").expect("a pattern");
            let subject = format!("C=CH, CN={side}.example");
            let own = ROOT.certify_with(&name(side), P256, |draft| {
                draft.subject = DistinguishedName::parse(&subject).expect("a name");
                draft.names.clear();
            });
            give(gateway, own);
        }
        let pair = comes_up(scenario);
        assert_eq!(pair.ike_sas(Side::Right)[0].remote_identity, Some(named(Side::Left)));
    }
}

#[test]
fn a_key_that_is_too_short_is_refused() {
    let mut scenario = certified(1, Phase1Mode::Main, 0);
    scenario.right.connection.remote_authentication = terms("rsa-3072");
    let (left, right) = fails(scenario);
    assert!(left.contains("AUTHENTICATION-FAILED"), "{left}");
    assert!(
        right.contains("left.example signs by a key of RSA and 2048 bits; allowed is rsa-3072"),
        "{right}"
    );
}

#[test]
fn nobody_waits_forever_for_a_signature() {
    for mode in [Phase1Mode::Main, Phase1Mode::Aggressive] {
        let mut scenario = certified(12, mode, 1);
        scenario.answer_delay = Duration::from_secs(120)..=Duration::from_secs(121);
        let (left, right) = fails(scenario);
        match mode {
            Phase1Mode::Main => assert_eq!(left, "our private key did not sign in time"),
            Phase1Mode::Aggressive => assert_eq!(right, "phase 1: our private key did not sign in time"),
        }
    }
}
