//! An initiator of version 1 to whom the responder has proven to be somebody else: the responder, who has the same keys, is told
//! so and keeps nothing.

use std::sync::LazyLock;
use std::time::Duration;

use crypto::signature::{Curve, NewKey};
use ike::{Authentication, DownReason, Event, Identity, Phase1Mode};
use pki::{Certificate, PrivateKey};
use testkit::{Authority, Pair, Scenario, Side, Weather, for_seeds};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const P256: NewKey = NewKey::Ecdsa(Curve::P256);

static ROOT: LazyLock<Authority> = LazyLock::new(|| Authority::root("C=CH, CN=root", P256));
static OWN: LazyLock<[(Certificate, PrivateKey); 2]> =
    LazyLock::new(|| [identity("left"), identity("mallory")].map(|name| ROOT.certify(&name, P256)));

fn identity(name: &str) -> Identity {
    Identity::Fqdn(format!("{name}.example"))
}

/// The left wants right.example, and mallory.example answers, whom it knows as well.
fn answered_by_mallory(seed: u64, mode: Phase1Mode) -> Scenario {
    let mut scenario = Scenario::site_to_site(seed).version_1();
    scenario = scenario.both(|gateway| gateway.connection.phase_1 = mode);
    scenario.right.connection.local_identity = Some(identity("mallory"));
    scenario
}

fn with_signatures(mut scenario: Scenario) -> Scenario {
    for side in Side::BOTH {
        let gateway = scenario.gateway_mut(side);
        let terms = || Authentication::Signature("pubkey".parse().expect("the test's own text"));
        gateway.connection.local_authentication = terms();
        gateway.connection.remote_authentication = terms();
        let (certificate, key) = OWN[side.index()].clone();
        gateway.credentials.certificates = vec![certificate];
        gateway.credentials.keys = vec![key];
        gateway.credentials.anchors = vec![ROOT.certificate.clone()];
    }
    scenario
}

/// The attempt fails with a sentence, and soon the right has nothing left of it, either.
fn parts(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it is another").to_string();
    assert_eq!(failure, "authentication failed: the peer is mallory.example; configured is right.example");
    pair.run_for(10 * SECOND);
    assert!(pair.ike_sas(Side::Right).is_empty());
    assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
    pair.run_for(MINUTE);
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    pair
}

#[test]
fn a_responder_of_main_mode_hears_that_it_is_not_wanted() {
    for_seeds(0..50, |seed| {
        let scenario = answered_by_mallory(seed, Phase1Mode::Main).weather(Weather::SHUFFLED);
        let scenario = if seed.is_multiple_of(2) { with_signatures(scenario) } else { scenario };
        let pair = parts(scenario);
        let is_told = |event: &Event| matches!(event, Event::IkeDown(_, DownReason::DeletedByPeer));
        assert!(pair.events(Side::Right).iter().any(is_told));
    });
}

#[test]
fn a_responder_of_aggressive_mode_hears_that_it_is_not_wanted() {
    for_seeds(0..50, |seed| {
        let scenario = answered_by_mallory(seed, Phase1Mode::Aggressive).weather(Weather::SHUFFLED);
        let scenario = if seed.is_multiple_of(2) { with_signatures(scenario) } else { scenario };
        let pair = parts(scenario);
        let told = pair.events(Side::Right).iter().filter_map(|event| match event {
            Event::Failed { failure, .. } => Some(failure.to_string()),
            _ => None,
        });
        let said = "authentication failed: left.example (the peer) gave up once it was shown that we are mallory.example";
        assert_eq!(told.collect::<Vec<_>>(), [said]);
    });
}

/// Without a key of the two there is nothing that could protect a word.
#[test]
fn whoever_has_no_key_in_common_is_told_nothing() {
    let mut scenario = answered_by_mallory(1, Phase1Mode::Aggressive);
    scenario.right.secret = b"of another".to_vec();
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it is another").to_string();
    assert!(failure.contains("the hash of mallory.example (the peer) is not the one"), "{failure}");
    assert!(
        pair.messages(Side::Left).iter().all(|message| message[18] == 4),
        "aggressive mode, and nothing else"
    );
}
