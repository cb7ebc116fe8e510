//! Several identities of one end, proven one after the other (RFC 4739).

use std::time::Duration;

use credentials::Wishes;
use crypto::signature::NewKey;
use ike::{Authentication, Event, Identity, IdentityPattern, OwnRound, PeerRound};
use std::sync::{Arc, LazyLock};
use testkit::{Authority, Pair, Scenario, Side, Weather, for_seeds};
use wire::registry::ExchangeType;

static ROOT: LazyLock<Authority> = LazyLock::new(|| Authority::root("C=CH, CN=root", NewKey::Ed25519));

/// How an end proves each of its identities.
type Methods = &'static [&'static str];

fn method(text: &str) -> Authentication {
    match text {
        "psk" => Authentication::PreSharedKey,
        terms => Authentication::Signature(terms.parse().expect("terms")),
    }
}

fn name(side: Side, round: usize) -> Identity {
    Identity::Fqdn(if round == 0 {
        format!("{side}.example")
    } else {
        format!("user-{round}.{side}.example")
    })
}

/// Has each end prove itself as often as it has methods.
fn scenario(seed: u64, left: Methods, right: Methods) -> Scenario {
    let mut scenario = Scenario::site_to_site(seed);
    for (side, own, peer) in [(Side::Left, left, right), (Side::Right, right, left)] {
        let gateway = scenario.gateway_mut(side);
        let connection = &mut gateway.connection;
        connection.local_authentication = method(own[0]);
        connection.remote_authentication = method(peer[0]);
        let own_round = |(n, text): (usize, &&str)| OwnRound {
            identity: Some(name(side, n)),
            authentication: method(text),
        };
        connection.further_own = own.iter().enumerate().skip(1).map(own_round).collect();
        let peer_round = |(n, text): (usize, &&str)| PeerRound {
            identity: IdentityPattern::Exact(name(side.other(), n)),
            authentication: method(text),
        };
        connection.further_peer = peer.iter().enumerate().skip(1).map(peer_round).collect();
        let own = (0..own.len()).map(|round| ROOT.certify(&name(side, round), NewKey::Ed25519));
        let (certificates, keys): (Vec<_>, Vec<_>) = own.unzip();
        let mut wishes =
            certificates.iter().map(|own| Wishes { own: vec![own.clone()], ..Wishes::default() });
        let mut first = wishes.next().expect("there is a first round");
        first.further = wishes.collect();
        gateway.credentials.connections.insert("site".to_owned(), Arc::new(first));
        gateway.credentials.certificates = certificates;
        gateway.credentials.keys = keys;
        gateway.credentials.anchors = vec![ROOT.certificate.clone()];
    }
    scenario
}

fn comes_up(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle_and_check();
    pair
}

/// Tries to bring the child up from the left; gives what both sides say of it.
fn fails(scenario: Scenario) -> (String, String) {
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it must not come up");
    pair.run_for(Duration::from_secs(1));
    assert!(pair.ike_sas(Side::Right).is_empty(), "the responder has no IKE SA either");
    let told = pair.events(Side::Right).iter().rev().find_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    (failure.to_string(), told.unwrap_or_default())
}

/// Counts the exchanges of IKE_AUTH.
fn exchanges(pair: &Pair) -> usize {
    let messages = pair.messages(Side::Left);
    let headers =
        messages.iter().filter_map(|bytes| wire::v2::decode(bytes).ok()).map(|message| message.header);
    let auths = headers.filter(|header| header.exchange_type == ExchangeType::IKE_AUTH);
    auths.map(|header| header.message_id).collect::<std::collections::BTreeSet<_>>().len()
}

const COMBINATIONS: [(Methods, Methods, usize); 8] = [
    (&["psk"], &["pubkey"], 1),
    (&["psk", "pubkey"], &["psk"], 2),
    (&["pubkey", "psk"], &["pubkey"], 2),
    (&["psk"], &["psk", "pubkey"], 2),
    (&["pubkey", "pubkey"], &["pubkey"], 2),
    (&["pubkey", "pubkey"], &["pubkey", "pubkey"], 2),
    (&["psk", "pubkey"], &["pubkey", "psk", "pubkey"], 3),
    (&["pubkey", "psk", "pubkey", "psk"], &["psk", "pubkey"], 4),
];

#[test]
fn each_end_proves_as_many_identities_as_are_configured() {
    for (left, right, count) in COMBINATIONS {
        let pair = comes_up(scenario(1, left, right));
        assert_eq!(exchanges(&pair), count, "{left:?} {right:?}");
        for side in Side::BOTH {
            let sa = &pair.ike_sas(side)[0];
            assert_eq!(sa.local_identity, Some(name(side, 0)), "it is who it said first");
            assert_eq!(sa.remote_identity, Some(name(side.other(), 0)));
        }
    }
}

#[test]
fn rounds_cross_a_network_that_loses_and_shuffles() {
    for_seeds(0..1500, |seed| {
        let (left, right, _) = COMBINATIONS[seed as usize % COMBINATIONS.len()];
        let scenario = scenario(seed, left, right).patient().weather(Weather::lossy(30)).both(|gateway| {
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = Duration::from_secs(10);
            gateway.settings.half_open_timeout = Duration::from_secs(600);
            gateway.settings.fragment_size = 576;
        });
        let mut pair = comes_up(scenario);
        if seed % 4 == 0 {
            pair.rekey_ike(Side::Right);
            pair.rekey_child(Side::Left, "net");
            pair.settle_and_check();
        }
    });
}

#[test]
fn fewer_or_more_identities_than_are_configured_are_refused_with_both_numbers() {
    let mut fewer = scenario(2, &["psk", "pubkey"], &["psk"]);
    fewer.left.connection.further_own.clear();
    let (_, right) = fails(fewer);
    assert_eq!(
        right,
        "authentication failed: left.example proves 1 of the 2 identities that are configured for it"
    );
    let mut more = scenario(3, &["psk", "pubkey"], &["psk"]);
    more.right.connection.further_peer.clear();
    let (_, right) = fails(more);
    assert_eq!(
        right,
        "authentication failed: left.example wants to prove another identity after 1; configured is 1"
    );
    let mut responder = scenario(4, &["psk"], &["psk", "pubkey"]);
    responder.left.connection.further_peer.clear();
    let mut pair = Pair::new(responder);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it must not come up");
    assert_eq!(
        failure.to_string(),
        "authentication failed: right.example wants to prove another identity after 1; configured is 1"
    );
}

#[test]
fn a_proof_that_fails_in_the_second_round_leaves_nothing() {
    let mut other_name = scenario(5, &["psk", "pubkey"], &["psk"]);
    other_name.right.connection.further_peer[0].identity = IdentityPattern::Exact(name(Side::Left, 7));
    let (left, right) = fails(other_name);
    assert!(left.contains("AUTHENTICATION_FAILED"), "it is told, and does not wait for nothing: {left}");
    assert_eq!(
        right,
        "authentication failed: the peer is user-1.left.example; configured is user-7.left.example"
    );
    let mut untrusted = scenario(6, &["psk", "pubkey"], &["psk"]);
    untrusted.right.credentials.anchors.clear();
    let (_, right) = fails(untrusted);
    // Who trusts no CA asks for no certificate, and so gets none.
    assert_eq!(
        right,
        "authentication failed: user-1.left.example sent no certificate, and we have none of it"
    );
}

#[test]
fn the_peer_that_asked_for_a_second_round_waits_no_longer_than_for_the_first() {
    let mut scenario = scenario(7, &["psk", "pubkey"], &["psk"]);
    // The answer to the question about our signature never comes.
    scenario.left.credentials.keys.clear();
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    pair.finish(ticket).expect_err("it cannot sign");
    assert_eq!(pair.endpoint(Side::Right).half_open(), 1);
    pair.run_for(Duration::from_secs(31));
    assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
}
