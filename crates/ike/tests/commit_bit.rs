//! The commit bit of IKEv1's quick mode: who did not set it waits for CONNECTED (RFC 2408 §3.1). No engine here sets it; the
//! network does, as anybody on the way could.

use std::time::Duration;

use testkit::{ContentV1, ForgerV1, Pair, Proof, Scenario, Side, Weather, flow, for_seeds};
use wire::registry::ExchangeType;
use wire::registry::v1::{NotifyType, ProtocolId};
use wire::v1::{DOI_IPSEC, Notification, Payload};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Every quick mode message that `setter` sends gets the bit. The left has begun, and three messages have gone their way.
fn three_messages(seed: u64, setter: Side) -> Pair {
    let scenario = Scenario::site_to_site(seed).version_1();
    let mut pair = Pair::new(scenario.both(|gateway| gateway.settings.disclose_keys = true));
    pair.network.weather[setter.index()].commit_percent = 100;
    pair.up(Side::Left, "net");
    pair.run_for(2 * SECOND);
    pair
}

fn quick_mode(pair: &Pair, side: Side) -> Vec<Vec<u8>> {
    let messages = pair.messages(side).into_iter();
    messages.filter(|bytes| bytes[18] == ExchangeType::V1_QUICK_MODE.0).collect()
}

/// CONNECTED as RFC 2408 has it, and as quick mode's own fourth message.
fn connected(pair: &Pair, exchange_type: ExchangeType) -> Vec<u8> {
    let keys = pair.disclosed_keys(Side::Left).expect("the settings ask for it");
    let forger = ForgerV1::new(keys, &pair.messages(Side::Left), &pair.messages(Side::Right))
        .expect("phase 1 is there");
    let third = quick_mode(pair, Side::Left).pop().expect("it was sent");
    let message_id = u32::from_be_bytes(third[20..24].try_into().expect("four octets"));
    let notification = Notification {
        doi: DOI_IPSEC,
        protocol: ProtocolId::ESP,
        spi: vec![0; 4],
        notify_type: NotifyType::CONNECTED,
        data: Vec::new(),
    };
    let content = ContentV1::new(exchange_type, message_id, &[Payload::Notification(notification)]);
    let proof = match exchange_type {
        ExchangeType::V1_QUICK_MODE => Proof::Fourth(&third),
        _ => Proof::First,
    };
    forger.seal(&content.expect("it is short"), proof).expect("it is short")
}

#[test]
fn who_did_not_set_the_bit_waits_for_connected() {
    for (setter, waiting) in [(Side::Right, Side::Left), (Side::Left, Side::Right)] {
        for exchange_type in [ExchangeType::V1_INFORMATIONAL, ExchangeType::V1_QUICK_MODE] {
            let mut pair = three_messages(1, setter);
            assert_eq!(pair.children(waiting, "net").len(), 0, "{waiting} waits");
            assert_eq!(pair.children(setter, "net").len(), 1, "{setter} does not");
            let fourth = connected(&pair, exchange_type);
            pair.answers(waiting, fourth.clone());
            assert_eq!(pair.children(waiting, "net").len(), 1, "{waiting} has {exchange_type:?}");
            // It says nothing the second time.
            assert!(pair.answers(waiting, fourth).is_empty());
            pair.settle_and_check();
        }
    }
}

#[test]
fn what_has_not_its_own_hash_ends_no_wait() {
    let mut pair = three_messages(1, Side::Right);
    let mut fourth = connected(&pair, ExchangeType::V1_INFORMATIONAL);
    fourth[40] ^= 1;
    pair.answers(Side::Left, fourth);
    assert_eq!(pair.children(Side::Left, "net").len(), 0);
}

#[test]
fn the_third_message_is_repeated_until_the_fourth_is_there() {
    let mut pair = three_messages(1, Side::Right);
    let third = |pair: &Pair| {
        let sent = quick_mode(pair, Side::Left);
        sent.iter().filter(|message| Some(*message) == sent.last()).count()
    };
    assert_eq!(third(&pair), 1);
    pair.run_for(5 * SECOND);
    assert_eq!(third(&pair), 2);
    let fourth = connected(&pair, ExchangeType::V1_INFORMATIONAL);
    pair.answers(Side::Left, fourth);
    pair.run_for(MINUTE);
    assert_eq!(third(&pair), 2);
}

#[test]
fn a_wait_ends_with_the_peers_packets_or_after_a_while() {
    for setter in Side::BOTH {
        let mut pair = three_messages(1, setter);
        pair.run_for(9 * SECOND);
        assert!(pair.is_up("net"), "nobody waits for ever");
        pair.settle_and_check();

        let mut pair = three_messages(1, setter);
        pair.start_stream(flow(setter, 0), Duration::from_millis(100), 100);
        pair.run_for(SECOND);
        assert!(pair.is_up("net"), "packets say the same as the message");
        pair.stop_traffic();
        pair.settle_and_check();
    }
}

/// The bit comes and goes as it likes, and nobody sends CONNECTED: it costs a wait and nothing else.
#[test]
fn a_rekeyed_child_loses_no_packet_whoever_sets_the_bit() {
    for_seeds(0..2000, |seed| {
        let weather = Weather { commit_percent: 50, ..Weather::SHUFFLED };
        let mut pair = Pair::new(Scenario::site_to_site(seed).version_1().weather(weather));
        pair.connect_version_1(MINUTE);
        pair.settle();
        pair.start_traffic(0, Duration::from_millis(100));
        let at_once = seed.is_multiple_of(2);
        for side in Side::BOTH {
            let ticket = pair.rekey_child(side, "net").expect("it is up");
            if !at_once {
                assert_eq!(pair.finish(ticket), Ok(()));
                pair.run_for(20 * SECOND);
            }
        }
        pair.run_for(20 * SECOND);
        pair.stop_traffic();
        if !at_once {
            // Of two that replace the same child at once, either end may prefer another.
            pair.settle_and_check();
        }
        pair.check_faults();
        assert!(pair.is_up("net"));
        for side in Side::BOTH {
            let tally = pair.tally(side);
            assert_eq!(tally.delivered + tally.lost_by_network + tally.awaiting, tally.sent, "{tally:?}");
        }
    });
}

#[test]
fn a_tunnel_comes_up_whoever_sets_the_bit_with_thirty_percent_lost() {
    for_seeds(0..2000, |seed| {
        let weather = Weather { commit_percent: 50, ..Weather::lossy(30) };
        let mut pair = Pair::new(Scenario::site_to_site(seed).version_1().weather(weather).patient());
        pair.connect_version_1(20 * MINUTE);
        pair.run_for(MINUTE);
        pair.check_faults();
        assert!(pair.is_up("net"));
    });
}
