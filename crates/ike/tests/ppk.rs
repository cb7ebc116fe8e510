//! Post-quantum pre-shared keys (RFC 8784): mixed in by both ends or by none, as their configurations want it.

use std::time::Duration;

use crypto::signature::NewKey;
use ike::{Authentication, IdentityPattern, PpkNeed, PpkTerms};
use testkit::{Authority, Forger, Pair, Scenario, Side, Weather, for_seeds};
use wire::registry::NotifyType;
use wire::v2::{Notify, Payload, decode_payloads};

const NAME: &str = "winter-key";
const KEY: &[u8] = b"two hundred and fifty-six bits that nobody recorded";

/// What an end has: nothing, the key, another key of the same name, or none of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Without,
    Wants(PpkNeed),
    /// It knows the name, but no key of it.
    LacksKey(PpkNeed),
    HasOther(PpkNeed),
}

fn terms(need: PpkNeed) -> Option<PpkTerms> {
    Some(PpkTerms { id: IdentityPattern::parse(NAME).expect("a name"), need })
}

fn scenario(seed: u64, ends: [End; 2]) -> Scenario {
    let mut scenario = Scenario::site_to_site(seed);
    for (side, end) in Side::BOTH.into_iter().zip(ends) {
        let gateway = scenario.gateway_mut(side);
        let (ppk, key) = match end {
            End::Without => (None, None),
            End::Wants(need) => (terms(need), Some(KEY)),
            End::LacksKey(need) => (terms(need), None),
            End::HasOther(need) => (terms(need), Some(&b"another one, which the peer has not"[..])),
        };
        gateway.connection.ppk = ppk;
        gateway.ppks = key.map(|key| (NAME.to_owned(), key.to_vec())).into_iter().collect();
    }
    scenario
}

/// Has both ends sign instead of sharing a secret.
fn signed(mut scenario: Scenario) -> Scenario {
    let root = Authority::root("C=CH, CN=root", NewKey::Ed25519);
    for side in Side::BOTH {
        let gateway = scenario.gateway_mut(side);
        let pubkey = Authentication::Signature("pubkey".parse().expect("terms"));
        gateway.connection.local_authentication = pubkey.clone();
        gateway.connection.remote_authentication = pubkey;
        let name = ike::Identity::Fqdn(format!("{side}.example"));
        let (certificate, key) = root.certify(&name, NewKey::Ed25519);
        gateway.credentials.certificates = vec![certificate];
        gateway.credentials.keys = vec![key];
        gateway.credentials.anchors = vec![root.certificate.clone()];
    }
    scenario
}

/// Tells whether the key is in the keys of both ends' IKE SAs.
fn is_mixed(pair: &Pair) -> bool {
    let names = Side::BOTH.map(|side| pair.ike_sas(side)[0].ppk.as_ref().map(ToString::to_string));
    assert_eq!(names[0], names[1], "both ends agree on what is in their keys");
    names[0].as_deref() == Some(NAME)
}

/// Has exchanges fail only where they must.
fn patient(scenario: Scenario) -> Scenario {
    scenario.patient().both(|gateway| {
        gateway.settings.retransmission.tries = 25;
        gateway.settings.retransmission.limit = Duration::from_secs(10);
        gateway.settings.half_open_timeout = Duration::from_secs(600);
    })
}

fn talk(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.start_traffic(0, Duration::from_millis(40));
    pair.run_for(Duration::from_secs(1));
    pair
}

/// RFC 8784 §3, table 1, with what it leaves to the initiator.
#[test]
fn it_is_mixed_in_where_both_ends_have_it_and_left_out_where_both_can_do_without() {
    use End::{HasOther, LacksKey, Wants, Without};
    use PpkNeed::{Optional, Required};
    let mixed = "mixed in";
    let without = "left out";
    for (ends, outcome) in [
        ([Wants(Optional), Wants(Optional)], mixed),
        ([Wants(Required), Wants(Optional)], mixed),
        ([Wants(Optional), Wants(Required)], mixed),
        ([Wants(Required), Wants(Required)], mixed),
        ([Without, Wants(Optional)], without),
        ([Wants(Optional), Without], without),
        ([Wants(Optional), LacksKey(Optional)], without),
        ([LacksKey(Optional), Wants(Optional)], without),
        (
            [Wants(Required), Without],
            "authentication failed: the peer does not use the post-quantum pre-shared key winter-key, and `ppk_required = yes`",
        ),
        (
            [LacksKey(Required), Wants(Optional)],
            "no post-quantum pre-shared key called winter-key is configured, and the connection requires it",
        ),
        (
            [Without, Wants(Required)],
            "the peer refused IKE_AUTH with AUTHENTICATION_FAILED (24): it could not authenticate us: keys, certificates or \
             identities differ; we are left.example by a pre-shared key and want right.example",
        ),
        (
            [HasOther(Optional), Wants(Optional)],
            "the peer refused IKE_AUTH with AUTHENTICATION_FAILED (24): it could not authenticate us: keys, certificates or \
             identities differ; we are left.example by a pre-shared key, with the post-quantum pre-shared key winter-key \
             and want right.example",
        ),
    ] {
        for scenario in [scenario(1, ends), signed(scenario(2, ends))] {
            let is_signed = scenario.left.connection.local_authentication != Authentication::PreSharedKey;
            let mut pair = Pair::new(scenario);
            let ticket = pair.up(Side::Left, "net");
            match pair.finish(ticket) {
                Ok(()) => {
                    assert_eq!(if is_mixed(&pair) { mixed } else { without }, outcome, "{ends:?}");
                    pair.settle_and_check();
                }
                Err(failure) if is_signed => assert!(outcome.len() > mixed.len(), "{ends:?}: {failure}"),
                Err(failure) => assert_eq!(failure.to_string(), outcome, "{ends:?}"),
            }
        }
    }
}

#[test]
fn the_one_that_is_called_says_what_differs() {
    use End::{HasOther, Wants, Without};
    for (ends, sentence) in [
        (
            [Without, Wants(PpkNeed::Required)],
            "authentication failed: the peer uses no post-quantum pre-shared key; winter-key is configured, and \
             `ppk_required = yes`",
        ),
        (
            [HasOther(PpkNeed::Required), Wants(PpkNeed::Required)],
            "authentication failed: the pre-shared keys of right.example (here) and left.example (the peer) differ, or the \
             two ends have different post-quantum pre-shared keys called winter-key",
        ),
    ] {
        let mut pair = Pair::new(scenario(3, ends));
        let ticket = pair.up(Side::Left, "net");
        pair.finish(ticket).expect_err("it must not come up");
        let told = pair.events(Side::Right).iter().rev().find_map(|event| match event {
            ike::Event::Failed { failure, .. } => Some(failure.to_string()),
            _ => None,
        });
        assert_eq!(told.as_deref(), Some(sentence));
        assert!(pair.ike_sas(Side::Right).is_empty());
    }
}

#[test]
fn another_name_than_ours_is_refused_with_both() {
    let mut scenario = scenario(4, [End::Wants(PpkNeed::Required); 2]);
    scenario.left.connection.ppk =
        Some(PpkTerms { id: IdentityPattern::parse("summer-key").expect("a name"), need: PpkNeed::Required });
    scenario.left.ppks = vec![("summer-key".to_owned(), KEY.to_vec())];
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    pair.finish(ticket).expect_err("it must not come up");
    let told: Vec<String> = pair
        .events(Side::Right)
        .iter()
        .filter_map(|event| match event {
            ike::Event::Failed { failure, .. } => Some(failure.to_string()),
            _ => None,
        })
        .collect();
    let sentence = "authentication failed: the peer names the post-quantum pre-shared key summer-key, which the peer cannot \
                    do without; configured is winter-key";
    assert_eq!(told, [sentence]);
}

/// RFC 8784 §3: an initiator that says USE_PPK and then names no key, as none of ours does.
#[test]
fn whoever_says_that_it_uses_one_and_does_not_say_which_is_refused() {
    let second = Duration::from_secs(1);
    let scenario = scenario(9, [End::Wants(PpkNeed::Optional); 2]);
    let mut pair = Pair::new(scenario.both(|gateway| gateway.settings.disclose_keys = true));
    pair.up(Side::Left, "net");
    pair.run_until("the right answers", second, |pair| !pair.messages(Side::Right).is_empty());
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    pair.run_until("the left goes on", second, |pair| pair.messages(Side::Left).len() == 2);
    let forger = Forger::new(pair.disclosed_keys(Side::Left).expect("it is told")).expect("an AEAD");
    let request = forger.open(&pair.messages(Side::Left)[1]).expect("IKE_AUTH");
    let mut payloads = decode_payloads(request.first_payload, &request.octets).expect("it can be read");
    let names_it = |payload: &Payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == NotifyType::PPK_IDENTITY);
    assert!(payloads.iter().any(names_it));
    payloads.retain(|payload| !names_it(payload));
    let answers =
        pair.answers(Side::Right, forger.seal_payloads(request.fields, &payloads).expect("it is short"));
    let answer = forger.open(answers.first().expect("it answers")).expect("an AEAD");
    let payloads = decode_payloads(answer.first_payload, &answer.octets).expect("it can be read");
    assert_eq!(payloads, [Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED, []))]);
    assert!(pair.ike_sas(Side::Right).is_empty());
}

#[test]
fn it_stays_in_the_keys_of_what_replaces_the_ike_sa() {
    let mut pair = talk(scenario(5, [End::Wants(PpkNeed::Required); 2]));
    for side in Side::BOTH {
        let ticket = pair.rekey_ike(side).expect("it is up");
        pair.finish(ticket).expect("it is rekeyed");
        pair.run_for(Duration::from_secs(1));
        assert!(is_mixed(&pair));
        let ticket = pair.rekey_child(side, "net").expect("it is up");
        pair.finish(ticket).expect("it is rekeyed");
    }
    pair.stop_traffic();
    pair.settle_and_check();
}

#[test]
fn nothing_of_it_is_said_where_none_is_configured() {
    let mut pair = Pair::new(scenario(6, [End::Without, End::Wants(PpkNeed::Optional)]));
    pair.connect();
    for bytes in pair.messages(Side::Left).iter().chain(&pair.messages(Side::Right)) {
        let message = wire::v2::decode(bytes).expect("it is a message");
        let says = |payload: &wire::v2::Payload| matches!(payload, wire::v2::Payload::Notify(notify) if notify.notify_type == NotifyType::USE_PPK);
        assert!(!message.payloads.iter().any(says));
    }
}

#[test]
fn in_bad_weather_both_ends_agree_on_it() {
    for_seeds(0..1500, |seed| {
        let needs = [PpkNeed::Optional, PpkNeed::Required];
        let (left, right) = (needs[seed as usize % 2], needs[seed as usize / 2 % 2]);
        let ends = match seed % 5 {
            0 => [End::Wants(PpkNeed::Optional), End::LacksKey(PpkNeed::Optional)],
            1 => [End::Wants(PpkNeed::Optional), End::Without],
            _ => [End::Wants(left), End::Wants(right)],
        };
        let scenario = scenario(seed, ends);
        let scenario = if seed % 7 == 0 { signed(scenario) } else { scenario };
        let mut pair = Pair::new(patient(scenario).weather(Weather::lossy(30)));
        pair.connect();
        assert_eq!(is_mixed(&pair), seed % 5 > 1);
        if seed % 3 == 0 {
            pair.rekey_ike(Side::Right);
            pair.rekey_child(Side::Left, "net");
        }
        pair.settle_and_check();
    });
}
