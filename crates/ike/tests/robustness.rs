//! What strangers, noise and a mad peer send: nothing of it changes a state that it has no right to, and nothing panics.

use std::time::Duration;

use ike::TimeoutReason;
use testkit::{Content, Forger, Pair, Scenario, SeededRandom, Side, Weather, for_seeds};
use wire::isakmp::{Flags, IkeSpi};
use wire::registry::{ExchangeType, NotifyType, PayloadType, ProtocolId};
use wire::v2::{Delete, HeaderFields, Notify, Payload, Unknown};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn connected(seed: u64) -> Pair {
    let scenario = Scenario::site_to_site(seed).both(|gateway| gateway.settings.disclose_keys = true);
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    pair
}

fn is_response(bytes: &[u8]) -> bool {
    wire::isakmp::Header::decode(bytes).is_ok_and(|header| header.flags.is_response())
}

fn forger(pair: &Pair) -> Forger {
    let keys = pair.disclosed_keys(Side::Left).expect("the settings ask for it");
    Forger::new(keys).expect("the suite is an AEAD")
}

/// Gives the header of the right's first own request in an IKE SA that the left began.
fn fields_of_right(pair: &Pair, exchange_type: ExchangeType) -> HeaderFields {
    let keys = pair.disclosed_keys(Side::Right).expect("the settings ask for it");
    HeaderFields {
        initiator_spi: keys.initiator_spi,
        responder_spi: keys.responder_spi,
        exchange_type,
        flags: Flags::NONE,
        message_id: 0,
    }
}

/// Lets the left receive an authentic request with these payloads, and gives the payloads of its response.
fn ask_left(pair: &mut Pair, exchange_type: ExchangeType, payloads: &[Payload]) -> Vec<Payload> {
    let forger = forger(pair);
    let request = forger.seal_payloads(fields_of_right(pair, exchange_type), payloads).expect("it is short");
    let responses = pair.answers(Side::Left, request);
    let [response] = responses.as_slice() else {
        panic!("one response was expected, not {}", responses.len())
    };
    let content = forger.open(response).expect("it is authentic");
    wire::v2::decode_payloads(content.first_payload, &content.octets).expect("it can be read")
}

fn has_notify(payloads: &[Payload], notify_type: NotifyType) -> bool {
    payloads
        .iter()
        .any(|payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == notify_type))
}

#[test]
fn a_repeated_request_gets_the_identical_response_and_changes_nothing() {
    for_seeds(0..50, |seed| {
        let mut pair = connected(seed);
        for side in Side::BOTH {
            let ticket = pair.rekey_child(side, "net").expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.settle();
            // The last request of each end was a delete; the one before it is out of the window.
            let requests: Vec<_> =
                pair.messages(side).into_iter().filter(|bytes| !is_response(bytes)).collect();
            let responses: Vec<_> =
                pair.messages(side.other()).into_iter().filter(|bytes| is_response(bytes)).collect();
            let (Some(request), Some(response)) = (requests.last(), responses.last()) else {
                panic!("{side} asked and was answered");
            };
            let before = pair.fingerprint(side.other());
            assert_eq!(pair.answers(side.other(), request.clone()), std::slice::from_ref(response));
            let older = &requests[requests.len() - 2];
            assert_eq!(pair.answers(side.other(), older.clone()), Vec::<Vec<u8>>::new());
            assert_eq!(pair.fingerprint(side.other()), before);
        }
    });
}

#[test]
fn a_repeated_ike_sa_init_request_gets_the_identical_response() {
    let mut pair = connected(1);
    let request = pair.messages(Side::Left)[0].clone();
    let mut stranger = request.clone();
    stranger[..8].copy_from_slice(&[7; 8]);
    let first = pair.answers(Side::Right, stranger.clone());
    assert_eq!(first.len(), 1);
    assert_eq!(pair.answers(Side::Right, stranger), first);
    assert_eq!(pair.endpoint(Side::Right).half_open(), 1);
    // Another request under the same SPI is not answered as if it were the first (RFC 7296 §2.1).
    let mut other = request;
    other[..8].copy_from_slice(&[7; 8]);
    let last = other.len() - 1;
    other[last] ^= 1;
    assert_ne!(pair.answers(Side::Right, other), first);
}

#[test]
fn messages_of_the_past_change_nothing() {
    for_seeds(0..50, |seed| {
        let mut pair = connected(seed);
        let old = [pair.messages(Side::Left), pair.messages(Side::Right)];
        let ticket = pair.rekey_ike(Side::Right).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
        pair.run_for(5 * MINUTE);
        let before = Side::BOTH.map(|side| pair.fingerprint(side));
        for side in Side::BOTH {
            for bytes in old[side.index()].iter().filter(|bytes| bytes[18] != ExchangeType::IKE_SA_INIT.0) {
                assert_eq!(pair.answers(side.other(), bytes.clone()), Vec::<Vec<u8>>::new());
                // Its own messages come back to an end.
                assert_eq!(pair.answers(side, bytes.clone()), Vec::<Vec<u8>>::new());
            }
        }
        assert_eq!(Side::BOTH.map(|side| pair.fingerprint(side)), before);
    });
}

#[test]
fn noise_and_spoiled_messages_change_nothing() {
    for_seeds(0..200, |seed| {
        let mut pair = connected(seed);
        let mut random = SeededRandom::new(seed);
        let ticket = pair.rekey_child(Side::Left, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
        let before = Side::BOTH.map(|side| pair.fingerprint(side));
        for side in Side::BOTH {
            let past = pair.messages(side);
            for _ in 0..50 {
                let bytes = random.spoil(&past);
                let names_no_sa = bytes.len() >= 16 && bytes[8..16] == [0; 8];
                if !names_no_sa {
                    pair.answers(side.other(), bytes);
                }
            }
        }
        assert_eq!(Side::BOTH.map(|side| pair.fingerprint(side)), before);
        pair.check();
    });
}

#[test]
fn a_critical_payload_of_unknown_type_is_refused_by_name() {
    let unknown = |critical| {
        Payload::Unknown(Unknown { payload_type: PayloadType(200), critical, body: vec![1, 2, 3] })
    };
    // INFORMATIONAL { 200! } -->
    //                         <-- INFORMATIONAL { N(UNSUPPORTED_CRITICAL_PAYLOAD) }
    let mut pair = connected(1);
    let response = ask_left(&mut pair, ExchangeType::INFORMATIONAL, &[unknown(true)]);
    let [Payload::Notify(notify)] = response.as_slice() else {
        panic!("one notify was expected: {response:?}")
    };
    assert_eq!(notify.notify_type, NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD);
    assert_eq!(notify.data, [200]);
    assert_eq!(pair.ike_sas(Side::Left).len(), 1, "the IKE SA lives on");

    // One that is not critical is skipped (RFC 7296 §2.5).
    let mut pair = connected(2);
    assert_eq!(ask_left(&mut pair, ExchangeType::INFORMATIONAL, &[unknown(false)]), []);

    // The same in the clear.
    let mut pair = connected(3);
    let request = pair.messages(Side::Left)[0].clone();
    let datagram = wire::v2::decode(&request).expect("it is whole");
    let fields = HeaderFields { initiator_spi: IkeSpi(42), ..HeaderFields::from(&datagram.header) };
    let payloads = [datagram.payloads.clone(), vec![unknown(true)]].concat();
    let bytes = wire::v2::encode_clear(&fields, &payloads).expect("it is short");
    let responses = pair.answers(Side::Right, bytes);
    let response = wire::v2::decode(&responses[0]).expect("it is whole");
    assert!(has_notify(&response.payloads, NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD));
    assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
}

#[test]
fn a_message_of_a_higher_major_version_is_told_ours_and_one_of_ikev1_is_counted() {
    let mut pair = connected(1);
    let mut newer = pair.messages(Side::Left)[0].clone();
    newer[17] = 0x30;
    let responses = pair.answers(Side::Right, newer);
    let response = wire::v2::decode(&responses[0]).expect("it is whole");
    assert!(has_notify(&response.payloads, NotifyType::INVALID_MAJOR_VERSION));
    let mut older = pair.messages(Side::Left)[0].clone();
    older[17] = 0x10;
    assert_eq!(pair.answers(Side::Right, older), Vec::<Vec<u8>>::new());
    assert_eq!(pair.endpoint(Side::Right).counters().other_version, 2);
}

#[test]
fn a_delete_of_what_is_not_there_is_answered_with_nothing() {
    let mut pair = connected(1);
    let delete = Payload::Delete(Delete { protocol: ProtocolId::ESP, spis: vec![sa::Spi(0xdead_beef)] });
    assert_eq!(ask_left(&mut pair, ExchangeType::INFORMATIONAL, &[delete]), []);
    pair.check();
}

#[test]
fn a_rekeying_of_what_is_not_there_is_refused() {
    let mut pair = connected(1);
    let template = ask_for_another_child(&pair);
    let rekey = Notify::about(ProtocolId::ESP, sa::Spi(0xdead_beef), NotifyType::REKEY_SA);
    let payloads = [vec![Payload::Notify(rekey)], template].concat();
    let response = ask_left(&mut pair, ExchangeType::CREATE_CHILD_SA, &payloads);
    assert!(has_notify(&response, NotifyType::CHILD_SA_NOT_FOUND), "{response:?}");
    assert_eq!(pair.children(Side::Left, "net").len(), 1);
}

/// Gives what a request for a further Child SA says.
fn ask_for_another_child(pair: &Pair) -> Vec<Payload> {
    let forger = forger(pair);
    let messages = pair.messages(Side::Left);
    let auth = messages.iter().rev().find_map(|bytes| forger.open(bytes)).expect("the last one is IKE_AUTH");
    let payloads = wire::v2::decode_payloads(auth.first_payload, &auth.octets).expect("it can be read");
    let mut wanted: Vec<_> =
        payloads.into_iter().filter(|payload| matches!(payload, Payload::SecurityAssociation(_))).collect();
    wanted.push(Payload::Nonce(vec![9; 32]));
    let [left, right] = [("10.1.0.0", "10.1.0.255"), ("10.2.0.0", "10.2.0.255")].map(|(first, last)| {
        let [first, last] = [first, last].map(|text| text.parse().expect("an address"));
        vec![wire::v2::TrafficSelector::addresses(first, last).expect("they are of one family")]
    });
    wanted.push(Payload::TrafficSelectorsInitiator(right));
    wanted.push(Payload::TrafficSelectorsResponder(left));
    wanted
}

#[test]
fn a_mad_peer_with_the_right_keys_can_end_its_own_ike_sa_and_no_more() {
    for_seeds(0..2000, |seed| {
        let mut pair = connected(seed);
        let mut random = SeededRandom::new(seed);
        let ticket = pair.rekey_child(Side::Right, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
        let forger = forger(&pair);
        let past: Vec<Content> =
            pair.messages(Side::Right).iter().filter_map(|bytes| forger.open(bytes)).collect();
        let mut message_id = past.iter().filter(|content| !content.fields.flags.is_response()).count() as u32;
        for _ in 0..20 {
            let mut content = random.pick(&past).clone();
            madden(&mut random, &mut content);
            content.fields.flags = Flags::NONE;
            content.fields.message_id = message_id;
            let Some(bytes) = forger.seal(&content) else { continue };
            message_id +=
                pair.answers(Side::Left, bytes).iter().filter(|bytes| is_response(bytes)).count() as u32;
        }
        // The pair has checked the engine against its plane after each of them.
        pair.run_for(5 * MINUTE);
        let regular = [None, Some(TimeoutReason::Rekey), Some(TimeoutReason::Retransmission)];
        let reason = pair.endpoint(Side::Left).poll_timeout().map(|(_, reason)| reason);
        assert!(regular.contains(&reason), "{reason:?}");
        assert_eq!(pair.plane(Side::Left).faults(), &[] as &[String]);
    });
}

/// Changes something in a message before it is sealed.
fn madden(random: &mut SeededRandom, content: &mut Content) {
    let exchanges = [ExchangeType::CREATE_CHILD_SA, ExchangeType::INFORMATIONAL, ExchangeType::IKE_AUTH];
    if random.chance(20) {
        content.fields.exchange_type = *random.pick(&exchanges);
    }
    if random.chance(20) {
        content.first_payload = PayloadType(33 + random.below(20) as u8);
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
        let mut pair = Pair::new(Scenario::site_to_site(seed).both(|gateway| {
            gateway.settings.retransmission.tries = 20;
            gateway.settings.retransmission.factor = 1.2;
        }));
        pair.connect();
        pair.settle();
        pair.network.weather = [spoiling.clone(), spoiling.clone()];
        for turn in 0..6 {
            let side = if turn % 2 == 0 { Side::Left } else { Side::Right };
            let ticket = if turn < 4 { pair.rekey_child(side, "net") } else { pair.rekey_ike(side) };
            assert_eq!(ticket.map(|ticket| pair.finish(ticket)), Some(Ok(())));
            pair.run_for(10 * SECOND);
        }
        pair.settle_and_check();
    });
}
