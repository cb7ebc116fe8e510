//! Phase 1 of IKEv1 with public key encryption, plain and revised, in both modes and roles over every kind of network; and
//! what somebody learns who sends what nobody encrypted.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use credentials::Wishes;
use crypto::VerifyingKey;
use crypto::signature::{Curve, NewKey};
use ike::{Authentication, EncryptionForm, Event, Identity, IdentityPattern, Phase1Mode, TraceDirection};
use pki::{Certificate, PrivateKey};
use testkit::{Authority, Gateway, Pair, Scenario, Side, Weather, for_seeds};
use wire::registry::PayloadType;
use wire::registry::v1::NotifyType;
use wire::v1::{Content, Payload};

const MINUTE: Duration = Duration::from_secs(60);
const RSA: NewKey = NewKey::Rsa { bits: 2048 };

static ROOT: LazyLock<Authority> =
    LazyLock::new(|| Authority::root("C=CH, CN=root", NewKey::Ecdsa(Curve::P256)));

/// Two keys and certificates of each side: the second is the one that its peer knows.
static OWN: LazyLock<[[(Certificate, PrivateKey); 2]; 2]> =
    LazyLock::new(|| Side::BOTH.map(|side| [RSA, RSA].map(|key| ROOT.certify(&name(side), key))));

fn name(side: Side) -> Identity {
    Identity::Fqdn(format!("{side}.example"))
}

fn known(side: Side) -> &'static (Certificate, PrivateKey) {
    &OWN[side.index()][1]
}

/// How the ends know each other's keys.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Knowledge {
    /// By certificates, which a CA issued.
    Certificates,
    /// The keys stand in the configuration.
    Keys,
    /// The responder has nothing of the initiator: that shows its certificate.
    Shown,
}

fn encrypted(seed: u64, mode: Phase1Mode, form: EncryptionForm, knowledge: Knowledge) -> Scenario {
    let scenario = Scenario::site_to_site(seed);
    let mut scenario = match mode {
        Phase1Mode::Main => scenario.version_1(),
        Phase1Mode::Aggressive => scenario.aggressive(),
    };
    for side in Side::BOTH {
        let gateway = scenario.gateway_mut(side);
        gateway.connection.local_authentication = Authentication::Encryption(form);
        gateway.connection.remote_authentication = Authentication::Encryption(form);
        gateway.credentials.anchors = vec![ROOT.certificate.clone()];
        gateway.secret = format!("{side} alone").into_bytes();
        know(gateway, side, knowledge);
    }
    scenario
}

fn know(gateway: &mut Gateway, side: Side, knowledge: Knowledge) {
    let [spare, own] = &OWN[side.index()];
    let peer = &known(side.other()).0;
    let certificates = |list: &[&Certificate]| list.iter().copied().cloned().collect::<Vec<_>>();
    gateway.credentials.keys = vec![spare.1.clone(), own.1.clone()];
    let wishes = match (knowledge, side) {
        (Knowledge::Keys, _) => {
            gateway.credentials.certificates = Vec::new();
            Wishes {
                own_keys: vec![own.0.key().expect("ours").clone()],
                peer_keys: vec![peer.key().expect("ours").clone()],
                ..Wishes::default()
            }
        }
        // Which of its two certificates the left has encrypted to, HASH(1) says; which of the left's, nothing does.
        (Knowledge::Certificates, Side::Right) | (Knowledge::Shown, Side::Left) => {
            gateway.credentials.certificates = certificates(&[peer]);
            Wishes { own: certificates(&[&own.0, &spare.0]), ..Wishes::default() }
        }
        (Knowledge::Certificates, Side::Left) => {
            gateway.credentials.certificates = certificates(&[peer]);
            Wishes { own: certificates(&[&own.0]), ..Wishes::default() }
        }
        (Knowledge::Shown, Side::Right) => {
            gateway.credentials.certificates = Vec::new();
            Wishes { own: certificates(&[&spare.0, &own.0]), ..Wishes::default() }
        }
    };
    gateway.credentials.connections.insert("site".to_owned(), Arc::new(wishes));
}

const FORMS: [EncryptionForm; 2] = [EncryptionForm::Plain, EncryptionForm::Revised];
const MODES: [Phase1Mode; 2] = [Phase1Mode::Main, Phase1Mode::Aggressive];

/// Each mode, form and way to know a key in turn.
fn any(seed: u64) -> Scenario {
    let nth = seed as usize;
    let (mode, form) = (MODES[nth % 2], FORMS[nth / 2 % 2]);
    let knowledge = match (nth / 4 % 3, form) {
        (0, _) => Knowledge::Certificates,
        (1, _) | (2, EncryptionForm::Plain) => Knowledge::Keys,
        (_, EncryptionForm::Revised) => Knowledge::Shown,
        (_, EncryptionForm::Plain) => Knowledge::Certificates,
    };
    encrypted(seed, mode, form, knowledge)
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
    (failure.to_string(), said(&pair, Side::Right).unwrap_or_default())
}

fn said(pair: &Pair, side: Side) -> Option<String> {
    pair.events(side).iter().rev().find_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    })
}

#[test]
fn both_ends_know_each_other_in_every_mode_and_form() {
    for seed in 0..24 {
        let pair = comes_up(any(seed));
        for side in Side::BOTH {
            let ike = &pair.ike_sas(side)[0];
            assert_eq!(ike.remote_identity, Some(name(side.other())));
            assert_eq!(ike.method.map(|method| method.0), Some(4 + (seed / 2 % 2) as u16));
        }
    }
}

#[test]
fn a_tunnel_comes_up_whatever_the_network_does() {
    for_seeds(0..1000, |seed| {
        comes_up(any(seed).weather(Weather::SHUFFLED));
    });
}

#[test]
fn a_tunnel_comes_up_though_one_in_ten_messages_is_lost() {
    for_seeds(1000..2000, |seed| {
        comes_up(any(seed).weather(Weather::lossy(10)).patient());
    });
}

#[test]
fn a_tunnel_comes_up_though_three_in_ten_messages_are_lost() {
    for_seeds(2000..3000, |seed| {
        comes_up(any(seed).weather(Weather::lossy(30)).patient());
    });
}

#[test]
fn a_tunnel_comes_up_through_a_nat() {
    for_seeds(3000..3800, |seed| {
        let scenario = any(seed).behind_nat(Side::Left, 5 * MINUTE).weather(Weather::lossy(10)).patient();
        let pair = comes_up(scenario);
        let (left, right) = (&pair.ike_sas(Side::Left)[0], &pair.ike_sas(Side::Right)[0]);
        assert!(left.nat.local && right.nat.remote);
        assert_eq!((left.path.local.port(), right.path.local.port()), (4500, 4500));
    });
}

#[test]
fn a_tunnel_comes_up_through_two_nats_in_fragments() {
    for_seeds(3800..4200, |seed| {
        let scenario = any(seed)
            .behind_nat(Side::Left, 5 * MINUTE)
            .behind_nat(Side::Right, 5 * MINUTE)
            .weather(Weather::lossy(10))
            .patient();
        comes_up(scenario.both(|gateway| gateway.settings.fragment_size = 576));
    });
}

#[test]
fn whoever_has_the_keys_may_take_seconds_to_answer() {
    for_seeds(0..200, |seed| {
        let mut scenario = any(seed).weather(Weather::lossy(10)).patient();
        scenario.answer_delay = Duration::from_millis(1)..=Duration::from_secs(5);
        comes_up(scenario);
    });
}

#[test]
fn a_tunnel_comes_up_in_spite_of_spoiled_copies() {
    for_seeds(0..100, |seed| {
        let spoiling = Weather { corrupt_percent: 20, duplicate_percent: 50, ..Weather::SHUFFLED };
        let mut pair = Pair::new(any(seed).weather(spoiling).patient());
        // Before the hashes nothing is protected: who spoils a message ends that attempt, and no more.
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
fn a_new_phase_1_from_either_side_loses_no_packet() {
    for_seeds(0..60, |seed| {
        let scenario =
            encrypted(seed, MODES[seed as usize % 2], FORMS[seed as usize / 2 % 2], Knowledge::Keys);
        let mut pair = Pair::new(scenario.weather(Weather::SHUFFLED));
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

/// RFC 2409 §5.3: a cipher whose key is longer than what the prf gives, and one that has other blocks.
#[test]
fn keys_from_nonces_are_cut_and_stretched() {
    for suite in
        ["aes256-sha1-modp2048", "3des-md5-modp2048", "aes128-sha512-ecp256", "camellia256-md5-ecp384"]
    {
        for mode in MODES {
            let scenario = encrypted(1, mode, EncryptionForm::Revised, Knowledge::Certificates);
            comes_up(scenario.suites(suite, "aes128-sha256"));
        }
    }
}

/// Nobody on the way sees who the ends are, in aggressive mode neither.
#[test]
fn no_identity_is_in_the_clear() {
    for seed in 0..12 {
        let scenario = any(seed).both(|gateway| gateway.settings.trace_messages = true);
        let pair = comes_up(scenario);
        for side in Side::BOTH {
            for message in pair.messages(side) {
                for name in [b"left.example".as_slice(), b"right.example"] {
                    assert!(!message.windows(name.len()).any(|window| window == name), "seed {seed}");
                }
            }
            let of_phase_1 =
                |trace: &&ike::MessageTrace| trace.direction == TraceDirection::Sent && trace.message_id == 0;
            let traces = pair.traces(side).iter().filter(of_phase_1);
            let told = traces.flat_map(|trace| &trace.payloads).filter(|payload| payload.name == "ID");
            let told: Vec<_> = told.map(|payload| payload.sentence.clone()).collect();
            assert!(matches!(told.as_slice(), [one] if one.contains("ciphertext")), "{told:?}");
        }
    }
}

#[test]
fn whoever_calls_must_know_whose_key_it_is() {
    for (mode, form) in MODES.into_iter().zip(FORMS) {
        let mut scenario = encrypted(1, mode, form, Knowledge::Certificates);
        scenario.left.credentials.certificates.clear();
        let (left, _) = fails(scenario);
        assert_eq!(left, "authentication failed: right.example sent no certificate, and we have none of it");
    }
}

#[test]
fn a_stranger_who_can_encrypt_is_still_a_stranger() {
    for mode in MODES {
        for form in FORMS {
            let mut scenario = encrypted(1, mode, form, Knowledge::Certificates);
            scenario.right.connection.remote_identity =
                IdentityPattern::parse("other.example").expect("a name");
            let (left, right) = fails(scenario);
            assert!(left.contains("AUTHENTICATION-FAILED"), "{left}");
            assert!(
                right.contains("the peer is left.example; configured is site (for other.example)"),
                "{right}"
            );
        }
    }
}

/// Whoever says that he is the left without its private key cannot read the right's nonce.
#[test]
fn whoever_has_not_the_private_key_gets_no_further() {
    for mode in MODES {
        for form in FORMS {
            let mut scenario = encrypted(1, mode, form, Knowledge::Keys);
            // The right encrypts to another key of the left's than it has.
            let other = OWN[0][0].0.key().expect("ours").clone();
            let wishes = Wishes {
                own_keys: vec![known(Side::Right).0.key().expect("ours").clone()],
                peer_keys: vec![other],
                ..Wishes::default()
            };
            scenario.right.credentials.connections.insert("site".to_owned(), Arc::new(wishes));
            let (left, _) = fails(scenario);
            assert!(
                left.contains("was encrypted to another key than ours, or was damaged")
                    || left.contains("the peer is"),
                "{left}"
            );
        }
    }
}

/// HASH(1) names a certificate that the right has no more: everybody can see that, and it is told.
#[test]
fn a_certificate_that_is_none_of_ours_is_named() {
    for mode in MODES {
        for form in FORMS {
            let mut scenario = encrypted(1, mode, form, Knowledge::Certificates);
            let wishes = Wishes { own: vec![OWN[1][0].0.clone()], ..Wishes::default() };
            scenario.right.credentials.connections.insert("site".to_owned(), Arc::new(wishes));
            let (left, right) = fails(scenario);
            assert!(left.contains("AUTHENTICATION-FAILED"), "{left}");
            assert!(
                right.contains("the peer encrypted to a certificate that is none of ours here"),
                "{right}"
            );
        }
    }
}

#[test]
fn only_rsa_keys_encrypt() {
    for form in FORMS {
        let mut scenario = encrypted(1, Phase1Mode::Main, form, Knowledge::Certificates);
        let (certificate, key) = ROOT.certify(&name(Side::Left), NewKey::Ecdsa(Curve::P256));
        scenario.left.credentials.keys = vec![key];
        let wishes = Wishes { own: vec![certificate], ..Wishes::default() };
        scenario.left.credentials.connections.insert("site".to_owned(), Arc::new(wishes));
        let (left, _) = fails(scenario);
        assert!(left.starts_with("connection site has no private key"), "{left}");
        let mut scenario = encrypted(1, Phase1Mode::Main, form, Knowledge::Certificates);
        let (certificate, _) = ROOT.certify(&name(Side::Right), NewKey::Ecdsa(Curve::P256));
        scenario.left.credentials.certificates = vec![certificate];
        let (left, _) = fails(scenario);
        assert!(
            left.contains("the key of right.example is of ECDSA P-256, and only RSA encrypts in IKEv1"),
            "{left}"
        );
    }
}

#[test]
fn plain_and_revised_do_not_meet() {
    for mode in MODES {
        let mut scenario = encrypted(1, mode, EncryptionForm::Plain, Knowledge::Certificates);
        let revised = Authentication::Encryption(EncryptionForm::Revised);
        scenario.right.connection.local_authentication = revised.clone();
        scenario.right.connection.remote_authentication = revised;
        let (_, right) = fails(scenario);
        let sentence =
            "authentication by Encryption with RSA (4) where we want Revised encryption with RSA (5)";
        assert!(right.contains(sentence), "{right}");
    }
}

#[test]
fn nobody_waits_forever_for_a_private_key() {
    for mode in MODES {
        for form in FORMS {
            let mut scenario = encrypted(12, mode, form, Knowledge::Certificates);
            scenario.answer_delay = Duration::from_secs(120)..=Duration::from_secs(121);
            let (left, _) = fails(scenario);
            assert_eq!(left, "whether the peer's certificate is good was not found out in time");
        }
    }
}

// --- Bleichenbacher ------------------------------------------------------------------------------------------------

/// What an attacker puts in the place of an encrypted body.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Forgery {
    /// Another message, encrypted as it must be.
    WellPadded,
    /// Noise, which is not padded as it must be when it is decrypted.
    BadlyPadded,
    /// A message that is too short for what it should be.
    TooShort,
}

const FORGERIES: [Forgery; 3] = [Forgery::WellPadded, Forgery::BadlyPadded, Forgery::TooShort];

/// What the right lets an attacker see: what it sends, by length and, if it can be read, by notification.
#[derive(Debug, PartialEq)]
struct Seen {
    to_message_3: Vec<(usize, Option<NotifyType>)>,
    to_message_5: Vec<(usize, Option<NotifyType>)>,
    sentence: Option<String>,
}

/// Lets the left send a message 3 that does not arrive.
fn with_lost_message_3(form: EncryptionForm) -> Pair {
    let mut pair = Pair::new(encrypted(1, Phase1Mode::Main, form, Knowledge::Certificates));
    pair.up(Side::Left, "net");
    let has_sent = |count: usize| move |pair: &Pair| pair.messages(Side::Left).len() >= count;
    pair.run_until("message 1", MINUTE, has_sent(1));
    pair.run_until("message 2", MINUTE, |pair| !pair.messages(Side::Right).is_empty());
    pair.network.weather[0] = Weather::DEAD;
    pair.run_until("message 3", MINUTE, has_sent(2));
    pair
}

/// Puts a forgery into the left's message 3, and lets the left go on, which does not know of it.
fn seen(form: EncryptionForm, payload_type: PayloadType, forgery: Forgery) -> Seen {
    let mut pair = with_lost_message_3(form);
    let key = known(Side::Right).0.key().expect("ours").verifying_key().clone();
    let third = with(&pair.messages(Side::Left)[1], payload_type, |body| forge(&*key, forgery, body));
    let to_message_3 = pair.answers(Side::Right, third);
    pair.run_for(Duration::from_secs(1));
    let to_message_5 = match pair.messages(Side::Left).get(2).cloned() {
        Some(fifth) => pair.answers(Side::Right, fifth),
        None => Vec::new(),
    };
    let shapes =
        |messages: Vec<Vec<u8>>| messages.iter().map(|message| (message.len(), notified(message))).collect();
    Seen {
        to_message_3: shapes(to_message_3),
        to_message_5: shapes(to_message_5),
        sentence: said(&pair, Side::Right),
    }
}

fn forge(key: &dyn VerifyingKey, forgery: Forgery, body: &[u8]) -> Vec<u8> {
    match forgery {
        Forgery::WellPadded => key.encrypt(&[0x5a; 32]).expect("it has room"),
        Forgery::TooShort => key.encrypt(&[0x5a; 3]).expect("it has room"),
        Forgery::BadlyPadded => {
            let mut noise = body.to_vec();
            noise[100] ^= 0x40;
            noise
        }
    }
}

/// Changes the body of a payload of a message in the clear.
fn with(message: &[u8], payload_type: PayloadType, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let datagram = wire::v1::decode(message).expect("it was sent");
    let Content::Clear(chain) = &datagram.content else { panic!("it is in the clear") };
    let payloads = chain.payloads.iter().map(|received| {
        let found = received.payload.payload_type();
        let body = if found == payload_type { change(received.body) } else { received.body.to_vec() };
        Payload::sealed(found, body)
    });
    let payloads: Vec<_> = payloads.collect();
    let (first, octets) = wire::v1::encode_payloads(&payloads).expect("it has room");
    wire::v1::encode_message(&(&datagram.header).into(), first, &octets).expect("it has room")
}

fn notified(message: &[u8]) -> Option<NotifyType> {
    let Content::Clear(chain) = wire::v1::decode(message).ok()?.content else { return None };
    chain.payloads.into_iter().find_map(|received| match received.payload {
        Payload::Notification(notification) => Some(notification.notify_type),
        _ => None,
    })
}

/// The nonce: the right goes on, and says at message 5 that the keys are others.
#[test]
fn a_wrong_padding_of_a_nonce_looks_as_a_wrong_nonce_does() {
    let [right, others @ ..] =
        FORGERIES.map(|forgery| seen(EncryptionForm::Plain, PayloadType::V1_NONCE, forgery));
    assert!(matches!(right.to_message_3.as_slice(), [(300.., None)]), "{right:?}");
    assert!(
        matches!(right.to_message_5.as_slice(), [(_, Some(NotifyType::AUTHENTICATION_FAILED))]),
        "{right:?}"
    );
    let sentence = right.sentence.as_deref().expect("it says so");
    assert!(sentence.contains("message 5 was damaged, or was made with other keys"), "{sentence}");
    others.into_iter().for_each(|other| assert_eq!(other, right));
}

/// In the revised form all else depends on the nonce: the right refuses message 3, whatever is wrong.
#[test]
fn a_wrong_padding_looks_as_a_wrong_nonce_does_in_the_revised_form() {
    let [right, others @ ..] =
        FORGERIES.map(|forgery| seen(EncryptionForm::Revised, PayloadType::V1_NONCE, forgery));
    assert!(
        matches!(right.to_message_3.as_slice(), [(_, Some(NotifyType::AUTHENTICATION_FAILED))]),
        "{right:?}"
    );
    for other in others {
        assert_eq!((&other.to_message_3, &other.to_message_5), (&right.to_message_3, &right.to_message_5));
    }
}

/// The identity: one that nobody has.
#[test]
fn a_wrong_padding_of_an_identity_looks_as_an_unknown_identity_does() {
    let of = |forgery| seen(EncryptionForm::Plain, PayloadType::V1_IDENTIFICATION, forgery);
    let [right, others @ ..] = FORGERIES.map(of);
    assert!(
        matches!(right.to_message_3.as_slice(), [(_, Some(NotifyType::AUTHENTICATION_FAILED))]),
        "{right:?}"
    );
    for other in others {
        assert_eq!((&other.to_message_3, &other.to_message_5), (&right.to_message_3, &right.to_message_5));
    }
}

/// The same question gets the same answer: else repeating it would tell a padding that is right from one that is not.
#[test]
fn a_wrong_padding_gives_the_same_nonce_each_time() {
    let key = &known(Side::Right).1;
    let mut noise =
        known(Side::Right).0.key().expect("ours").verifying_key().encrypt(&[1; 32]).expect("it has room");
    noise[77] ^= 1;
    let read = || key.signing_key().decrypt(&noise, 8..=256).expect("it is as long as the key");
    assert!(read().ct_eq(read().as_slice()));
    assert!((8..=245).contains(&read().len()));
}

/// Each costs operations with a private key, so there is no trying without end; and it is told once.
#[test]
fn so_many_messages_3_are_decrypted_and_no_more() {
    const DECRYPTED: usize = 4;
    let answers_to = |pair: &mut Pair, message: Vec<u8>| {
        let before = pair.messages(Side::Right).len();
        pair.answers(Side::Right, message);
        // Whoever has the key takes a while.
        pair.run_for(Duration::from_millis(100));
        pair.messages(Side::Right).split_off(before)
    };
    let key = known(Side::Right).0.key().expect("ours").verifying_key().clone();
    for (form, payload_type) in FORMS.into_iter().zip([PayloadType::V1_IDENTIFICATION, PayloadType::V1_NONCE])
    {
        for forgeries in [DECRYPTED - 1, DECRYPTED, DECRYPTED + 3] {
            let mut pair = with_lost_message_3(form);
            let third = pair.messages(Side::Left)[1].clone();
            for nth in 0..forgeries {
                let forged = with(&third, payload_type, |body| forge(&*key, Forgery::WellPadded, body));
                let answers = answers_to(&mut pair, forged);
                let refusals: Vec<_> = answers.iter().map(|answer| notified(answer)).collect();
                let expected = [Some(NotifyType::AUTHENTICATION_FAILED)];
                assert_eq!(refusals, expected[..usize::from(nth < DECRYPTED)], "{form:?} {nth}");
            }
            let told = pair.events(Side::Right).iter().filter(|event| matches!(event, Event::Failed { .. }));
            assert_eq!(told.count(), 1, "{form:?}");
            assert_eq!(pair.endpoint(Side::Right).counters().forged, forgeries as u64 - 1, "{form:?}");
            let answers = answers_to(&mut pair, third);
            assert_eq!(answers.len(), usize::from(forgeries < DECRYPTED), "{form:?} after {forgeries}");
        }
    }
}
