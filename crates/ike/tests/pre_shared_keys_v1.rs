//! Several pre-shared keys for one address in main mode: the responder finds out by message 5 which of them the initiator
//! has, and a key proves no more than whose it is.

use std::sync::Arc;
use std::time::Duration;

use crypto::Secret;
use ike::{Command, Event, Identity, IdentityPattern, PeerAddresses, SecretKind, SharedSecret};
use testkit::{Cargo, Pair, Parcel, Scenario, Side, Weather, for_seeds};
use wire::isakmp::Flags;
use wire::v1::{HeaderFields, decode, encode_message};

const MINUTE: Duration = Duration::from_secs(60);
const DAMAGED: &str = "pre-shared keys differ, or message 5 was damaged";

/// Far more keys than one message is tried with, and as many as that.
const MORE_KEYS: usize = 300;
const KEYS_TRIED: usize = 128;

fn pattern(text: &str) -> IdentityPattern {
    IdentityPattern::parse(text).expect("the test's own")
}

fn key(name: &str, owners: &[&str], secret: &str) -> Command {
    Command::LoadSecret(SharedSecret {
        name: name.to_owned(),
        kind: SecretKind::PreSharedKey,
        owners: owners.iter().map(|owner| pattern(owner)).collect(),
        secret: Secret::from(secret.as_bytes().to_vec()),
    })
}

/// The left has `secret`; the right serves whoever comes from anywhere, and knows no key yet.
fn keyless(mut scenario: Scenario, secret: &str) -> Pair {
    scenario.left.secret = secret.as_bytes().to_vec();
    scenario.right.connection.remote_addresses = PeerAddresses::Any;
    let mut pair = Pair::new(scenario.both(|gateway| gateway.settings.disclose_keys = true));
    pair.command(Side::Right, Command::UnloadSecret("site".to_owned()));
    pair
}

/// The right has two connections more, for others, before and after the left's; each of the three peers has its key.
fn three_peers(scenario: Scenario, secret: &str) -> Pair {
    let mut pair = keyless(scenario, secret);
    for (connection, peer) in [("another", "another.example"), ("third", "third.example")] {
        let mut other = pair.scenario().right.connection.clone();
        other.name = connection.to_owned();
        other.remote_identity = pattern(peer);
        pair.command(Side::Right, Command::Load(Arc::new(other)));
        pair.command(Side::Right, key(connection, &[peer], &format!("{connection}'s")));
    }
    pair.command(Side::Right, key("site", &["left.example"], "left's"));
    pair
}

/// The right has one connection, for anybody below a domain; each peer has its key.
fn one_connection_for_all(mut scenario: Scenario, secret: &str) -> Pair {
    scenario.right.connection.remote_identity = pattern("*.example");
    let mut pair = keyless(scenario, secret);
    for peer in ["another", "left", "third"] {
        let owner = format!("{peer}.example");
        pair.command(Side::Right, key(peer, &[&owner], &format!("{peer}'s")));
    }
    pair
}

fn version_1(seed: u64) -> Scenario {
    Scenario::site_to_site(seed).version_1()
}

fn comes_up(mut pair: Pair) {
    pair.connect_version_1(MINUTE);
    pair.settle_and_check();
    let at_right = &pair.ike_sas(Side::Right)[0];
    assert_eq!(at_right.connection, "site");
    let told = Side::BOTH.map(|side| pair.disclosed_keys(side).expect("it is wanted"));
    assert!(told[0].sk_ei.ct_eq(told[1].sk_ei.as_slice()), "the keys in use are told");
}

/// Gives what the right says, once, of an attempt that fails.
fn fails(mut pair: Pair) -> String {
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("the right lets nobody in").to_string();
    assert!(failure.contains("pre-shared keys or identities differ"), "{failure}");
    pair.settle();
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    let told = pair.events(Side::Right).iter().filter_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{told:?}");
    told.concat()
}

#[test]
fn each_peer_behind_one_address_has_its_own_key() {
    comes_up(three_peers(version_1(1), "left's"));
    comes_up(one_connection_for_all(version_1(1), "left's"));
}

#[test]
fn keys_are_found_over_every_kind_of_network() {
    for_seeds(0..150, |seed| {
        for weather in [Weather::lossy(30), Weather::SHUFFLED] {
            comes_up(three_peers(version_1(seed).weather(weather).patient(), "left's"));
        }
        let behind_nat = version_1(seed).behind_nat(Side::Left, 5 * MINUTE).weather(Weather::lossy(10));
        comes_up(one_connection_for_all(behind_nat.patient(), "left's"));
    });
}

#[test]
fn only_the_keys_in_use_are_told_to_whoever_decrypts() {
    let mut pair = three_peers(version_1(1), "left's");
    pair.connect_version_1(MINUTE);
    let is_told = |event: &&Event| matches!(event, Event::IkeKeys(_));
    assert_eq!(pair.events(Side::Right).iter().filter(is_told).count(), 1);
}

#[test]
fn whoever_has_a_key_cannot_pass_for_another() {
    let said = "authentication failed: the peer says that it is left.example, and has another pre-shared key than is \
                configured for right.example (here) and left.example (the peer)";
    for of_another in ["another's", "third's"] {
        assert_eq!(fails(three_peers(version_1(1), of_another)), said);
        assert_eq!(fails(one_connection_for_all(version_1(1), of_another)), said);
    }
}

/// A key for anybody is for whoever has none of his own.
#[test]
fn the_key_of_a_group_does_not_make_a_peer_with_a_key_of_its_own() {
    let with_group = |secret| {
        let mut pair = one_connection_for_all(version_1(1), secret);
        pair.command(Side::Right, key("group", &[], "everybody's"));
        pair
    };
    assert!(fails(with_group("everybody's")).contains("says that it is left.example"));
    comes_up(with_group("left's"));

    let mut without_own = with_group("everybody's");
    without_own.command(Side::Right, Command::UnloadSecret("left".to_owned()));
    comes_up(without_own);
}

#[test]
fn a_key_for_the_address_counts_before_one_for_anybody() {
    let by_address = |secret| {
        let mut scenario = version_1(1);
        scenario.right.connection.remote_identity = IdentityPattern::Any;
        let mut pair = keyless(scenario, secret);
        pair.command(Side::Right, key("address", &["192.0.2.1"], "whoever is there"));
        pair.command(Side::Right, key("elsewhere", &["192.0.2.2"], "not there"));
        pair.command(Side::Right, key("group", &[], "everybody's"));
        pair
    };
    comes_up(by_address("whoever is there"));
    comes_up(by_address("everybody's"));
    assert!(fails(by_address("not there")).contains("says that it is left.example"));
}

#[test]
fn a_key_that_nobody_has_is_told_as_such() {
    assert!(fails(three_peers(version_1(1), "nobody's")).contains(DAMAGED));
    assert!(fails(one_connection_for_all(version_1(1), "nobody's")).contains(DAMAGED));
}

#[test]
fn so_many_keys_are_tried_and_no_more() {
    let crowd = |secret: usize| {
        let mut scenario = version_1(1);
        scenario.right.connection.remote_identity = IdentityPattern::Any;
        let mut pair = keyless(scenario, &format!("key {secret}"));
        for nth in 0..MORE_KEYS {
            // The left may have any of them.
            let owners = [format!("{nth}.example"), "left.example".to_owned()];
            let owners = owners.each_ref().map(String::as_str);
            let owners = if nth == secret { &owners[..] } else { &owners[..1] };
            pair.command(Side::Right, key(&format!("{nth:03}"), owners, &format!("key {nth}")));
        }
        pair
    };
    comes_up(crowd(KEYS_TRIED - 1));
    assert!(fails(crowd(KEYS_TRIED)).contains(DAMAGED));
}

/// Whoever writes nonsense in the initiator's name has so many keys tried, and then the likeliest alone: what it costs is
/// bounded.
#[test]
fn nonsense_makes_no_work_without_end() {
    let after = |nonsense: usize, who: &str| {
        let mut scenario = version_1(1);
        scenario.left.connection.local_identity = Some(Identity::Fqdn(format!("{who}.example")));
        let mut pair = three_peers(scenario, &format!("{who}'s"));
        pair.up(Side::Left, "net");
        let has_answered = |pair: &Pair| pair.messages(Side::Right).len() == 2;
        pair.run_until("message 4", MINUTE, has_answered);
        let answer = pair.sent(Side::Right).next_back().expect("message 4").clone();
        let Cargo::Ike(bytes) = &answer.cargo else { panic!("it is of IKE") };
        let header = decode(bytes).expect("the right sent it").header;
        for nth in 0..nonsense {
            let fields = HeaderFields {
                initiator_spi: header.initiator_spi,
                responder_spi: header.responder_spi,
                exchange_type: header.exchange_type,
                flags: Flags::V1_ENCRYPTION,
                message_id: 0,
            };
            let octets = [nth.to_be_bytes(), [0xa5; 8]].concat().repeat(4);
            let message = encode_message(&fields, wire::registry::PayloadType::V1_IDENTIFICATION, &octets);
            let (source, destination) = (answer.destination, answer.source);
            let cargo = Cargo::Ike(message.expect("short"));
            pair.inject(Side::Right, Parcel { source, destination, cargo }, Duration::ZERO);
        }
        pair.run_for(2 * MINUTE);
        pair.ike_sas(Side::Right).len()
    };
    // Two keys besides the likeliest are tried on each, of 1024 in all.
    assert_eq!(after(511, "left"), 1);
    assert_eq!(after(512, "left"), 0);
    assert_eq!(after(512, "another"), 1);
}

/// Nobody has one key after the other tried on 64 KiB.
#[test]
fn other_keys_are_not_tried_on_what_is_longer_than_an_identity_and_a_hash() {
    let called = |octets: usize| {
        let name = format!("{}.example", "x".repeat(octets));
        let mut scenario = version_1(1);
        scenario.left.connection.local_identity = Some(Identity::Fqdn(name.clone()));
        let mut pair = one_connection_for_all(scenario, "long's");
        pair.command(Side::Right, key("long", &[&name], "long's"));
        pair
    };
    comes_up(called(1500));
    assert!(fails(called(2500)).contains(DAMAGED));
    let mut likeliest = called(2500);
    for other in ["another", "left", "third"] {
        likeliest.command(Side::Right, Command::UnloadSecret(other.to_owned()));
    }
    comes_up(likeliest);
}
