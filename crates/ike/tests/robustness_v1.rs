//! What strangers, noise and a mad peer send in IKEv1, where both ends have the same keys and messages no numbers.

use std::net::SocketAddr;
use std::time::Duration;

use ike::{DownReason, Event, TimeoutReason};
use testkit::{
    Cargo, ContentV1, ForgerV1, Pair, Parcel, Proof, Scenario, SeededRandom, Side, Weather, for_seeds,
};
use wire::isakmp::{Flags, Header};
use wire::registry::v1::{NotifyType, ProtocolId};
use wire::registry::{ExchangeType, PayloadType};
use wire::v1::{DOI_IPSEC, Delete, HeaderFields, Notification, Payload};

const MINUTE: Duration = Duration::from_secs(60);

/// Main mode for every other seed, aggressive mode for the rest.
fn version_1(seed: u64) -> Scenario {
    let scenario = Scenario::site_to_site(seed);
    let scenario = if seed.is_multiple_of(2) { scenario.version_1() } else { scenario.aggressive() };
    scenario.both(|gateway| {
        gateway.settings.disclose_keys = true;
        gateway.connection.liveness_delay = MINUTE;
    })
}

/// Begun by the left; each end has begun a quick mode, been asked whether it lives, and deleted something.
fn connected(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    for side in Side::BOTH {
        let ticket = pair.rekey_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
    }
    // No question is due in the next moments.
    pair.run_for(3 * MINUTE + MINUTE / 3);
    pair
}

fn forger(pair: &Pair) -> ForgerV1 {
    let keys = pair.disclosed_keys(Side::Left).expect("the settings ask for it");
    let sent = Side::BOTH.map(|side| pair.messages(side));
    ForgerV1::new(keys, &sent[0], &sent[1]).expect("phase 1 is among it")
}

fn fingerprints(pair: &Pair) -> [String; 2] {
    Side::BOTH.map(|side| pair.fingerprint(side))
}

/// Gives what the ends have said, and what they are. From now on nothing arrives of what they say: an answer that a
/// stranger provokes would be a sign of life all the same.
fn strangers_only(pair: &mut Pair) -> ([Vec<Vec<u8>>; 2], [String; 2]) {
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    (Side::BOTH.map(|side| pair.messages(side)), fingerprints(pair))
}

#[test]
fn the_forger_opens_what_was_sealed() {
    let pair = connected(version_1(1));
    let forger = forger(&pair);
    let sealed = Side::BOTH
        .into_iter()
        .flat_map(|side| pair.messages(side))
        .filter(|bytes| Header::decode(bytes).is_ok_and(|header| header.message_id != 0));
    for bytes in sealed {
        let content = forger.open(&bytes).expect("it has the key");
        if content.exchange_type == ExchangeType::V1_INFORMATIONAL {
            assert_eq!(forger.seal(&content, Proof::First).as_ref(), Some(&bytes), "it seals like the ends");
        }
    }
}

#[test]
fn noise_and_spoiled_messages_change_nothing() {
    for_seeds(0..200, |seed| {
        let mut pair = connected(version_1(seed));
        let mut random = SeededRandom::new(seed);
        let (past, before) = strangers_only(&mut pair);
        for side in Side::BOTH {
            for _ in 0..50 {
                let bytes = random.spoil(&past[side.index()]);
                let names_no_sa = bytes.len() >= 16 && bytes[8..16] == [0; 8];
                if !names_no_sa {
                    pair.answers(side.other(), bytes);
                }
            }
        }
        assert_eq!(fingerprints(&pair), before);
        pair.check();
    });
}

/// Makes an informational message of the left's, whose notification is about ESP.
fn about_esp(pair: &Pair, message_id: u32, notify_type: NotifyType, spi: u32, data: &[u8]) -> Vec<u8> {
    let notification = Notification {
        doi: DOI_IPSEC,
        protocol: ProtocolId::ESP,
        spi: spi.to_be_bytes().to_vec(),
        notify_type,
        data: data.to_vec(),
    };
    let payloads = [Payload::Notification(notification)];
    let content = ContentV1::new(ExchangeType::V1_INFORMATIONAL, message_id, &payloads).expect("short");
    forger(pair).seal(&content, Proof::First).expect("short")
}

#[test]
fn a_peer_that_has_lost_a_child_gets_another() {
    for_seeds(0..20, |seed| {
        let mut pair = connected(version_1(seed));
        let before = pair.children(Side::Right, "net")[0].clone();
        let message =
            |pair: &Pair, message_id, spi| about_esp(pair, message_id, NotifyType::INVALID_SPI, spi, &[]);
        // Another SPI says nothing of ours.
        let other = message(&pair, 77, before.outbound.spi.0 ^ 1);
        pair.answers(Side::Right, other);
        assert_eq!(pair.children(Side::Right, "net")[0].id, before.id);
        let lost = message(&pair, 78, before.outbound.spi.0);
        pair.answers(Side::Right, lost);
        pair.run_for(MINUTE);
        let after = pair.children(Side::Right, "net");
        assert_ne!(after[0].id, before.id);
        pair.settle_and_check();
    });
}

#[test]
fn a_lifetime_that_is_said_later_is_kept() {
    let mut pair = connected(version_1(0));
    let child = pair.children(Side::Right, "net")[0].clone();
    // RFC 2407 §4.5: eight hours where nobody says anything.
    assert_eq!(child.expire_at, Some(child.installed_at + 480 * MINUTE));
    // Life type seconds, duration 600.
    let ten_minutes = [0x80, 1, 0, 1, 0x80, 2, 0x02, 0x58];
    let said = about_esp(&pair, 77, NotifyType::RESPONDER_LIFETIME, child.outbound.spi.0, &ten_minutes);
    pair.answers(Side::Right, said);
    let child = pair.children(Side::Right, "net")[0].clone();
    assert_eq!(child.expire_at, Some(child.installed_at + 10 * MINUTE));
}

#[test]
fn a_refused_quick_mode_is_refused_again_when_it_is_asked_again() {
    for_seeds(0..20, |seed| {
        let mut scenario = version_1(seed);
        scenario.right.change_child("net", |child| {
            child.proposals = vec![testkit::esp_proposal("aes256-sha512-noesn")];
        });
        let mut pair = Pair::new(scenario);
        let ticket = pair.up(Side::Left, "net");
        assert!(pair.finish(ticket).is_err());
        let of = |pair: &Pair, side, exchange: ExchangeType| {
            let mut messages = pair.messages(side).into_iter();
            messages.rfind(|bytes| bytes[18] == exchange.0).expect("it was sent")
        };
        let asked = of(&pair, Side::Left, ExchangeType::V1_QUICK_MODE);
        let refusal = of(&pair, Side::Right, ExchangeType::V1_INFORMATIONAL);
        assert_eq!(pair.answers(Side::Right, asked.clone()), [refusal]);
        // Not for ever.
        pair.run_for(10 * MINUTE);
        assert!(pair.answers(Side::Right, asked).is_empty());
    });
}

/// Each end takes the other's answer for a delete, and answers that: there must be an end to it.
#[test]
fn a_forged_delete_of_phase_1_is_answered_a_few_times_at_most() {
    for_seeds(0..200, |seed| {
        let mut pair = connected(version_1(seed).weather(Weather::SHUFFLED));
        let delete = pair.ike_sas(Side::Left)[0].clone();
        let spis = [delete.initiator_spi.to_octets(), delete.responder_spi.to_octets()].concat();
        let delete = Payload::Delete(wire::v1::Delete {
            doi: DOI_IPSEC,
            protocol: ProtocolId::ISAKMP,
            spi_size: 16,
            spis,
        });
        let content = ContentV1::new(ExchangeType::V1_INFORMATIONAL, 77, &[delete]).expect("short");
        let delete = forger(&pair).seal(&content, Proof::First).expect("short");
        let before = Side::BOTH.map(|side| pair.messages(side).last().cloned());
        pair.answers(Side::Left, delete);
        pair.run_for(MINUTE);
        for side in Side::BOTH {
            let said = pair.messages(side).into_iter().rev();
            let after = said.take_while(|message| Some(message) != before[side.index()].as_ref()).count();
            assert!(after <= 10, "the {side} said {after} messages");
        }
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    });
}

#[test]
fn messages_of_the_past_change_nothing_at_either_end() {
    for_seeds(0..50, |seed| {
        let mut pair = connected(version_1(seed));
        let (past, before) = strangers_only(&mut pair);
        let begins = |bytes: &Vec<u8>| bytes[8..16] == [0; 8];
        for side in Side::BOTH {
            for bytes in past[side.index()].iter().filter(|bytes| !begins(bytes)) {
                pair.answers(side.other(), bytes.clone());
                // Both ends have the same keys: what an end sent comes back to it.
                pair.answers(side, bytes.clone());
            }
        }
        assert_eq!(fingerprints(&pair), before);
        pair.check();
    });
}

#[test]
fn messages_of_the_past_from_elsewhere_lead_nobody_there() {
    let mut pair = connected(version_1(1).behind_nat(Side::Left, 5 * MINUTE));
    let elsewhere = SocketAddr::new("203.0.113.66".parse().expect("an address"), 6666);
    let path = pair.ike_sas(Side::Right)[0].path;
    let past = pair.messages(Side::Left);
    for bytes in past {
        let parcel = Parcel { source: elsewhere, destination: path.local, cargo: Cargo::Ike(bytes) };
        pair.inject(Side::Right, parcel, Duration::ZERO);
        pair.run_for(Duration::from_millis(1));
    }
    assert_eq!(pair.ike_sas(Side::Right)[0].path, path);
    assert!(!pair.events(Side::Right).iter().any(|event| matches!(event, Event::PathChanged(..))));
}

#[test]
fn a_question_that_comes_again_is_answered_again() {
    let mut pair = connected(version_1(1));
    let forger = forger(&pair);
    let asks = |content: &ContentV1| {
        content.payloads().is_some_and(|payloads| {
            matches!(payloads.as_slice(), [Payload::Notification(notification)]
                if notification.notify_type == NotifyType::R_U_THERE)
        })
    };
    let questions: Vec<_> = pair
        .messages(Side::Left)
        .into_iter()
        .filter(|bytes| forger.open(bytes).is_some_and(|c| asks(&c)))
        .collect();
    let (last, older) = questions.split_last().expect("it asked");
    assert_eq!(pair.answers(Side::Right, last.clone()).len(), 1);
    for question in older {
        assert_eq!(pair.answers(Side::Right, question.clone()).len(), 0);
    }
}

/// Deletes and notifications, of which each would end or begin something if it came from the peer.
fn commands(pair: &Pair) -> Vec<Payload> {
    let sa = &pair.ike_sas(Side::Left)[0];
    let cookies = [sa.initiator_spi.to_octets(), sa.responder_spi.to_octets()].concat();
    let child = &sa.children[0];
    let notification = |notify_type, data: &[u8]| {
        Payload::Notification(Notification {
            doi: DOI_IPSEC,
            protocol: ProtocolId::ISAKMP,
            spi: cookies.clone(),
            notify_type,
            data: data.to_vec(),
        })
    };
    vec![
        Payload::Delete(Delete::of_sas(ProtocolId::ESP, &[child.inbound.spi, child.outbound.spi])),
        Payload::Delete(Delete {
            doi: DOI_IPSEC,
            protocol: ProtocolId::ISAKMP,
            spi_size: 16,
            spis: cookies.clone(),
        }),
        notification(NotifyType::INITIAL_CONTACT, &[]),
        notification(NotifyType::NO_PROPOSAL_CHOSEN, &[]),
        notification(NotifyType::R_U_THERE, &[0x7f, 0xff, 0xff, 0xff]),
        notification(NotifyType::R_U_THERE_ACK, &[0x7f, 0xff, 0xff, 0xff]),
    ]
}

#[test]
fn what_is_not_protected_is_never_obeyed() {
    let mut pair = connected(version_1(1));
    let before = fingerprints(&pair);
    let sa = pair.ike_sas(Side::Left)[0].clone();
    for payload in commands(&pair) {
        for (hash, message_id) in [(false, 7), (true, 7), (false, 0), (true, 0)] {
            let mut payloads = vec![payload.clone()];
            if hash {
                payloads.insert(0, Payload::Hash(vec![0; 32]));
            }
            let (first, body) = wire::v1::encode_payloads(&payloads).expect("it is short");
            let fields = HeaderFields {
                initiator_spi: sa.initiator_spi,
                responder_spi: sa.responder_spi,
                exchange_type: ExchangeType::V1_INFORMATIONAL,
                flags: Flags::NONE,
                message_id,
            };
            let bytes = wire::v1::encode_message(&fields, first, &body).expect("it is short");
            assert_eq!(pair.answers(Side::Left, bytes), Vec::<Vec<u8>>::new());
            // The same behind the flag of encryption, without the key.
            let fields = HeaderFields { flags: Flags::V1_ENCRYPTION, ..fields };
            let body = [body.as_slice(), &vec![0; body.len().next_multiple_of(16) - body.len()]].concat();
            let bytes = wire::v1::encode_message(&fields, first, &body).expect("it is short");
            assert_eq!(pair.answers(Side::Left, bytes), Vec::<Vec<u8>>::new());
        }
    }
    assert_eq!(fingerprints(&pair), before);
}

#[test]
fn what_has_not_its_own_hash_is_never_obeyed() {
    let mut pair = connected(version_1(1));
    let forger = forger(&pair);
    let past = pair.messages(Side::Right);
    let said = past.iter().filter_map(|bytes| forger.open(bytes));
    let new = commands(&pair)
        .into_iter()
        .filter_map(|payload| ContentV1::new(ExchangeType::V1_INFORMATIONAL, 0, &[payload]));
    let contents: Vec<_> = said.chain(new).collect();
    let before = fingerprints(&pair);
    for (content, message_id) in contents.into_iter().zip(1..) {
        let content = ContentV1 { message_id, ..content };
        let bytes = forger.seal(&content, Proof::Wrong).expect("it is short");
        assert_eq!(pair.answers(Side::Left, bytes), Vec::<Vec<u8>>::new());
    }
    assert_eq!(fingerprints(&pair), before);
}

#[test]
fn with_the_keys_the_same_is_obeyed() {
    let forge = |pair: &mut Pair, message_id, payload| {
        let content =
            ContentV1::new(ExchangeType::V1_INFORMATIONAL, message_id, &[payload]).expect("it is short");
        let bytes = forger(pair).seal(&content, Proof::First).expect("it is short");
        pair.answers(Side::Left, bytes);
    };
    let mut pair = connected(version_1(1));
    let mut commands = commands(&pair).into_iter();
    let (Some(delete_child), Some(delete_ike)) = (commands.next(), commands.next()) else {
        panic!("they come first")
    };
    forge(&mut pair, 1, delete_child);
    assert!(pair.children(Side::Left, "net").is_empty());
    forge(&mut pair, 2, delete_ike);
    assert!(matches!(pair.events(Side::Left).last(), Some(Event::IkeDown(_, DownReason::DeletedByPeer))));
}

/// RFC 2409 §5.6: a private group of the peer's own. It is told that there is no such exchange here, and loses nothing.
#[test]
fn new_group_mode_is_refused_politely() {
    let mut pair = connected(version_1(1));
    let before = pair.ike_sas(Side::Left);
    let offer = vec![wire::v1::Proposal {
        number: 1,
        protocol: ProtocolId::ISAKMP,
        spi: Vec::new(),
        transforms: vec![wire::v1::Transform { number: 1, id: 1, attributes: Vec::new() }],
    }];
    let payloads = [Payload::SecurityAssociation(offer)];
    let content = ContentV1::new(ExchangeType::V1_NEW_GROUP_MODE, 77, &payloads).expect("it is short");
    let forger = forger(&pair);
    let bytes = forger.seal(&content, Proof::First).expect("it is short");
    let answers = pair.answers(Side::Left, bytes.clone());
    let answer = forger.open(&answers[0]).and_then(|answer| answer.payloads()).expect("it is protected");
    assert!(matches!(
        answer.as_slice(),
        [Payload::Notification(told)] if told.notify_type == NotifyType::UNSUPPORTED_EXCHANGE_TYPE
    ));
    let sentence = "the peer began new group mode, which is not to be had";
    assert!(matches!(
        pair.events(Side::Left).last(),
        Some(Event::Failed { failure, .. }) if failure.to_string().contains(sentence)
    ));
    assert_eq!(pair.ike_sas(Side::Left).len(), before.len());
    assert!(pair.is_up("net"));
    // Whoever has no keys is not even told.
    let unprotected = forger.seal(&ContentV1 { message_id: 78, ..content }, Proof::Wrong).expect("short");
    let forged = pair.endpoint(Side::Left).counters().forged;
    assert!(pair.answers(Side::Left, unprotected).is_empty());
    assert!(pair.answers(Side::Left, bytes).is_empty(), "and once is enough");
    assert!(pair.endpoint(Side::Left).counters().forged > forged, "it is counted");
    pair.settle_and_check();
}

#[test]
fn a_mad_peer_with_the_right_keys_can_end_its_own_isakmp_sa_and_no_more() {
    for_seeds(0..1000, |seed| {
        let mut pair = connected(version_1(seed));
        let mut random = SeededRandom::new(seed);
        let mut forger = forger(&pair);
        let past: Vec<ContentV1> =
            pair.messages(Side::Right).iter().filter_map(|bytes| forger.open(bytes)).collect();
        for message_id in 1..20 {
            let mut content = random.pick(&past).clone();
            content.message_id = message_id;
            if random.chance(10) {
                content.exchange_type = ExchangeType(random.below(40) as u8);
            }
            madden(&mut random, &mut content);
            let Some(bytes) = forger.seal(&content, Proof::First) else { continue };
            forger.note(bytes.clone());
            for answer in pair.answers(Side::Left, bytes) {
                // It accepted a quick mode: the third message may be mad too, or missing.
                let Some(second) = forger.open(&answer).filter(|second| second.message_id == message_id)
                else {
                    continue;
                };
                let (Some(nonce_i), Some(nonce_r)) = (content.nonce(), second.nonce()) else { continue };
                let mut third = ContentV1 {
                    exchange_type: ExchangeType::V1_QUICK_MODE,
                    message_id,
                    first_payload: PayloadType::NONE,
                    octets: Vec::new(),
                };
                if random.chance(30) {
                    third = random.pick(&past).clone();
                    third.message_id = message_id;
                    madden(&mut random, &mut third);
                }
                if let Some(bytes) = forger.seal(&third, Proof::Third(&nonce_i, &nonce_r, &answer)) {
                    pair.answers(Side::Left, bytes);
                }
            }
        }
        // The pair has checked the engine against its plane after each of them.
        pair.run_for(10 * MINUTE);
        assert_is_calm(&pair);
    });
}

#[test]
fn a_mad_responder_can_end_its_own_isakmp_sa_and_no_more() {
    for_seeds(0..1000, |seed| {
        let mut pair = connected(version_1(seed));
        let mut random = SeededRandom::new(seed);
        // Nothing of what the right really says arrives any more.
        pair.network.weather[Side::Right.index()] = Weather::DEAD;
        pair.rekey_child(Side::Left, "net").expect("it is up");
        pair.run_for(Duration::from_millis(500));
        let forger = forger(&pair);
        let (first, second) = {
            let last = |side: Side| {
                let quick = |bytes: &&Vec<u8>| bytes[18] == ExchangeType::V1_QUICK_MODE.0;
                pair.messages(side).iter().rfind(quick).cloned().expect("a quick mode is under way")
            };
            (last(Side::Left), forger.open(&last(Side::Right)).expect("it has the keys"))
        };
        let nonce = forger.open(&first).and_then(|content| content.nonce()).expect("it has one");
        for _ in 0..5 {
            let mut content = second.clone();
            madden(&mut random, &mut content);
            if let Some(bytes) = forger.seal(&content, Proof::Second(&nonce, &first)) {
                pair.answers(Side::Left, bytes);
            }
        }
        pair.run_for(20 * MINUTE);
        assert_is_calm(&pair);
    });
}

/// The left is in order, whatever became of its peer.
fn assert_is_calm(pair: &Pair) {
    let regular = [
        None,
        Some(TimeoutReason::Rekey),
        Some(TimeoutReason::Retransmission),
        Some(TimeoutReason::Liveness),
        Some(TimeoutReason::HalfOpen),
    ];
    let reason = pair.endpoint(Side::Left).poll_timeout().map(|(_, reason)| reason);
    assert!(regular.contains(&reason), "{reason:?}");
    assert_eq!(pair.plane(Side::Left).faults(), &[] as &[String]);
}

/// Changes something in a message before it is sealed.
fn madden(random: &mut SeededRandom, content: &mut ContentV1) {
    if random.chance(20) {
        content.first_payload = PayloadType(random.below(24) as u8);
    }
    let length = content.octets.len() as u64;
    for _ in 0..random.below(4) {
        if length > 0 {
            content.octets[random.below(length) as usize] ^= 1 << random.below(8);
        }
    }
    if random.chance(10) {
        content.octets.truncate(random.below(length + 1) as usize);
    }
}

#[test]
fn spoiled_copies_of_every_message_do_no_harm_while_everything_goes_on() {
    let spoiling = Weather { corrupt_percent: 30, duplicate_percent: 50, ..Weather::SHUFFLED };
    for_seeds(0..100, |seed| {
        // A copy that is spoiled is as good as lost, and nearly every second round trip is: try more often.
        let mut pair = Pair::new(version_1(seed).both(|gateway| {
            gateway.settings.retransmission.tries = 20;
            gateway.settings.retransmission.factor = 1.2;
        }));
        pair.connect();
        pair.settle();
        pair.network.weather = [spoiling.clone(), spoiling.clone()];
        for turn in 0..4 {
            let side = if turn % 2 == 0 { Side::Left } else { Side::Right };
            let ticket = pair.rekey_child(side, "net");
            assert_eq!(ticket.map(|ticket| pair.finish(ticket)), Some(Ok(())));
            pair.run_for(MINUTE);
        }
        // A delete that was spoiled is never said again: what it named stays for its life.
        pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
        pair.run_for(5 * MINUTE);
        pair.check_faults();
        assert!(pair.is_up("net"));
    });
}

#[test]
fn a_tunnel_comes_up_in_spite_of_spoiled_copies() {
    for_seeds(0..200, |seed| {
        let spoiling = Weather { corrupt_percent: 20, duplicate_percent: 50, ..Weather::SHUFFLED };
        let scenario = version_1(seed).weather(spoiling);
        let mut pair = Pair::new(scenario.both(|gateway| gateway.connection.keying_tries = 0));
        // A key exchange is not protected: who spoils one ends that attempt, and no more.
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
