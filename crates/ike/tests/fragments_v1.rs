//! IKEv1 in fragments of payload 132, between two endpoints.

use std::time::Duration;

use ike::Fragmentation;
use testkit::{Pair, Scenario, Side, Weather, flow, for_seeds};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
/// Octets of an IP packet: the messages with public values and those of quick mode are longer, message 1 too.
const SMALL: usize = 200;
/// Next Payload of a fragment (in the ISAKMP header).
const FRAGMENT: u8 = 132;

fn in_fragments(seed: u64) -> Scenario {
    let scenario = Scenario::site_to_site(seed).version_1();
    scenario.suites("aes256-sha256-modp2048", "aes128gcm16-modp2048-noesn").both(|gateway| {
        gateway.settings.fragment_size = SMALL;
        gateway.connection.keying_tries = 0;
    })
}

fn connect(pair: &mut Pair) {
    let ticket = pair.up(Side::Left, "net");
    assert_eq!(pair.finish(ticket), Ok(()), "the child comes up");
    pair.start_stream(flow(Side::Left, 0), SECOND, 100);
    pair.run_until("both sides have the child", MINUTE, |pair| pair.is_up("net"));
    pair.stop_traffic();
}

fn fragments(pair: &Pair, side: Side) -> usize {
    pair.messages(side).iter().filter(|message| message[16] == FRAGMENT).count()
}

/// Brings the child up and renews its keys from either end, over a network on which long packets vanish.
fn both_phases(seed: u64, weather: Weather) -> Pair {
    // Message 1 must pass whole: nobody has said yet that he puts fragments together.
    let weather = Weather { largest_packet: 300, ..weather };
    let mut pair = Pair::new(in_fragments(seed).weather(weather));
    connect(&mut pair);
    for side in Side::BOTH {
        let ticket = pair.rekey_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.run_for(MINUTE);
        assert!(fragments(&pair, side) > 0);
    }
    pair
}

#[test]
fn both_phases_pass_where_long_packets_vanish() {
    for_seeds(0..2000, |seed| {
        both_phases(seed, Weather::SHUFFLED).settle_and_check();
    });
}

#[test]
fn both_phases_pass_where_long_packets_vanish_and_others_are_lost() {
    for_seeds(0..2000, |seed| {
        let mut pair = both_phases(seed, Weather::lossy(10));
        pair.check_faults();
        // The second rekeying may still be repeated.
        pair.run_until("the child is up", 5 * MINUTE, |pair| pair.is_up("net"));
    });
}

#[test]
fn forced_fragments_begin_with_the_first_message() {
    for_seeds(0..2000, |seed| {
        let weather = Weather { largest_packet: SMALL, ..Weather::SHUFFLED };
        let scenario = in_fragments(seed).weather(weather);
        let mut pair = Pair::new(scenario.both(|gateway| {
            gateway.connection.fragmentation = Fragmentation::Force;
        }));
        connect(&mut pair);
        assert_eq!(pair.messages(Side::Left)[0][16], FRAGMENT);
        pair.settle_and_check();
    });
}

/// How each side's choice decides what the other may send.
#[test]
fn an_end_cuts_only_what_the_other_puts_together() {
    let cut = |left, right| {
        let mut scenario = in_fragments(1);
        scenario.left.connection.fragmentation = left;
        scenario.right.connection.fragmentation = right;
        let mut pair = Pair::new(scenario);
        connect(&mut pair);
        Side::BOTH.map(|side| fragments(&pair, side) > 0)
    };
    use Fragmentation::{Accept, Force, No, Yes};
    assert_eq!(cut(Yes, Yes), [true, true]);
    assert_eq!(cut(Yes, Accept), [true, false]);
    assert_eq!(cut(No, Yes), [false, false]);
    assert_eq!(cut(Accept, No), [false, false]);
    assert_eq!(cut(No, Force), [false, true]);
}
