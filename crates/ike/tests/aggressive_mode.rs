//! Aggressive mode between two endpoints: whom it lets in, what it tells strangers, over every kind of network.

use std::sync::Arc;
use std::time::Duration;

use crypto::Secret;
use ike::{
    Command, Event, Identity, IdentityPattern, IkeVersion, PeerAddresses, Phase1Mode, SecretKind,
    SharedSecret, Versions,
};
use sa::Encapsulation;
use testkit::{Cargo, Pair, Scenario, Side, Weather, for_seeds};
use wire::isakmp::IkeSpi;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Brings the child up, moves packets both ways, and checks every invariant.
fn comes_up(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect_version_1(MINUTE);
    pair.start_traffic(0, Duration::from_millis(100));
    pair.run_for(SECOND);
    pair.stop_traffic();
    pair.settle_and_check();
    pair
}

fn aggressive(seed: u64) -> Scenario {
    Scenario::site_to_site(seed).aggressive()
}

fn failures(pair: &Pair, side: Side) -> Vec<String> {
    let failed = pair.events(side).iter().filter_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    failed.collect()
}

#[test]
fn a_tunnel_comes_up_in_six_messages() {
    let pair = comes_up(aggressive(1));
    let sent = |side| pair.sent(side).filter(|parcel| matches!(parcel.cargo, Cargo::Ike(_))).count();
    assert_eq!((sent(Side::Left), sent(Side::Right)), (2 + 2, 1 + 1));
    for side in Side::BOTH {
        let ike = &pair.ike_sas(side)[0];
        assert_eq!(ike.version, IkeVersion::V1(Phase1Mode::Aggressive));
        assert_eq!(ike.suite.expect("it is agreed").to_string(), "aes128-sha256-prfsha256-ecp256");
    }
}

#[test]
fn a_tunnel_comes_up_whatever_the_network_does() {
    for_seeds(0..4000, |seed| {
        comes_up(aggressive(seed).weather(Weather::SHUFFLED));
        comes_up(aggressive(seed).weather(Weather::lossy(10)).patient());
        comes_up(aggressive(seed).weather(Weather::lossy(30)).patient());
    });
}

#[test]
fn a_left_behind_a_nat_floats_to_4500_with_its_last_message() {
    for_seeds(0..2000, |seed| {
        let scenario = aggressive(seed).behind_nat(Side::Left, 5 * MINUTE).weather(Weather::SHUFFLED);
        let pair = comes_up(scenario);
        let (left, right) = (&pair.ike_sas(Side::Left)[0], &pair.ike_sas(Side::Right)[0]);
        assert!(left.nat.local && !left.nat.remote && right.nat.remote && !right.nat.local);
        assert_eq!((left.path.local.port(), left.path.remote.port()), (4500, 4500));
        assert_eq!(right.path.local.port(), 4500);
        assert_eq!(left.children[0].encapsulation, Encapsulation::Udp);
    });
}

#[test]
fn a_tunnel_comes_up_with_a_nat_at_both_ends() {
    for_seeds(0..2000, |seed| {
        let scenario = aggressive(seed)
            .behind_nat(Side::Left, 5 * MINUTE)
            .behind_nat(Side::Right, 5 * MINUTE)
            .weather(Weather::lossy(10));
        let pair = comes_up(scenario.patient());
        let left = &pair.ike_sas(Side::Left)[0];
        assert!(left.nat.remote && left.nat.local);
    });
}

#[test]
fn a_last_message_that_is_lost_is_sent_again() {
    let mut pair = Pair::new(aggressive(1));
    let ticket = pair.up(Side::Left, "net");
    pair.run_until("the right has answered", MINUTE, |pair| pair.endpoint(Side::Right).half_open() == 1);
    pair.network.weather[0] = Weather::DEAD;
    pair.run_for(2 * SECOND);
    assert!(pair.ike_sas(Side::Right).is_empty(), "the right has message 3 not yet");
    pair.network.weather[0] = Weather::CLEAR;
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle_and_check();
}

#[test]
fn only_the_first_group_is_offered() {
    let mut scenario = aggressive(1);
    scenario.left.propose("aes128-aes256-sha256-ecp384-ecp256");
    scenario.right.propose("aes256-sha256-ecp256-ecp384");
    let pair = comes_up(scenario);
    let suite = pair.ike_sas(Side::Right)[0].suite.expect("it is agreed");
    assert_eq!(suite.to_string(), "aes256-sha256-prfsha256-ecp384");
}

#[test]
fn other_keys_are_told_as_other_keys() {
    let mut scenario = aggressive(1);
    scenario.right.secret = b"something else".to_vec();
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("the keys differ").to_string();
    assert_eq!(
        failure,
        "authentication failed: the hash of right.example (the peer) is not the one that it should be for left.example \
         (here)"
    );
    pair.settle();
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
}

#[test]
fn an_unknown_identity_is_refused_with_both_sides_values() {
    let mut scenario = aggressive(1);
    scenario.left.connection.local_identity = Some(Identity::Fqdn("somebody.else".to_owned()));
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it is unknown").to_string();
    assert!(failure.contains("AUTHENTICATION-FAILED"), "{failure}");
    assert_eq!(
        failures(&pair, Side::Right)[0],
        "phase 1: authentication failed: the peer is somebody.else; configured is site (for left.example)"
    );
}

#[test]
fn a_mode_that_is_not_allowed_is_named() {
    for (left, right) in
        [(Phase1Mode::Aggressive, Phase1Mode::Main), (Phase1Mode::Main, Phase1Mode::Aggressive)]
    {
        let mut scenario = Scenario::site_to_site(1).version_1();
        scenario.left.connection.phase_1 = left;
        scenario.right.connection.phase_1 = right;
        let mut pair = Pair::new(scenario);
        let ticket = pair.up(Side::Left, "net");
        assert!(pair.finish(ticket).is_err());
        assert_eq!(
            failures(&pair, Side::Right)[0],
            format!("phase 1: the peer begins {left} mode; connection site allows {right} mode only")
        );
    }
}

/// Road warriors from anywhere, each with a secret of its own.
#[test]
fn the_secret_goes_by_who_asks() {
    let mut scenario = aggressive(1);
    scenario.left.secret = b"only the left and the right know this".to_vec();
    scenario.right.connection.remote_addresses = PeerAddresses::Any;
    scenario.right.connection.remote_identity = IdentityPattern::parse("*.example").expect("a pattern");
    let mut pair = Pair::new(scenario);
    let secret = |name: &str, owner: &str, secret: &[u8]| {
        Command::LoadSecret(SharedSecret {
            name: name.to_owned(),
            kind: SecretKind::PreSharedKey,
            owners: vec![IdentityPattern::parse(owner).expect("a pattern")],
            secret: Secret::from(secret.to_vec()),
        })
    };
    pair.command(Side::Right, secret("a", "*.example", b"another"));
    pair.command(Side::Right, secret("b", "left.example", b"only the left and the right know this"));
    let mut decoy = pair.scenario().right.connection.clone();
    "decoy".clone_into(&mut decoy.name);
    decoy.remote_identity = IdentityPattern::Any;
    decoy.children.clear();
    pair.command(Side::Right, Command::Load(Arc::new(decoy)));
    let ticket = pair.up(Side::Left, "net");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle();
    assert_eq!(pair.ike_sas(Side::Right)[0].connection, "site");
}

#[test]
fn a_stranger_gets_one_bounded_answer_for_each_message() {
    let mut pair = Pair::new(aggressive(1));
    let ticket = pair.up(Side::Left, "net");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle_and_check();
    let mut first = pair.messages(Side::Left)[0].clone();
    // The same from another initiator, whom nobody ever hears of again.
    first[..8].copy_from_slice(&IkeSpi(0x0102_0304_0506_0708).to_octets());
    let answers = pair.answers(Side::Right, first.clone());
    let [answer] = answers.as_slice() else { panic!("{} answers", answers.len()) };
    assert!(answer.len() < 2 * first.len(), "{} octets for {}", answer.len(), first.len());
    assert_eq!(pair.endpoint(Side::Right).half_open(), 1);
    let before = pair.messages(Side::Right).len();
    pair.run_for(MINUTE);
    assert_eq!(pair.messages(Side::Right).len(), before, "nothing is repeated");
    assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
}

#[test]
fn who_speaks_version_2_too_begins_with_that() {
    let mut scenario = aggressive(1);
    scenario.left.connection.versions = Versions::V1;
    scenario.right.connection.versions = Versions::Either;
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    assert_eq!(pair.finish(ticket), Ok(()));
    assert_eq!(pair.ike_sas(Side::Left)[0].version, IkeVersion::V1(Phase1Mode::Aggressive));
}
