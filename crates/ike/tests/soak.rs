//! Hours of everything at once: lives that end, commands from both sides, weather that changes, gateways that restart.
//! Whatever happened, once the weather clears both ends find back to one IKE SA and one Child SA in agreement.

use std::time::Duration;

use ike::{CloseAction, Lifetimes, StartAction, Unique};
use testkit::{Pair, Scenario, SeededRandom, Side, Weather, flow, for_seeds};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Two gateways that keep their tunnel up by themselves.
fn steadfast(seed: u64) -> Scenario {
    Scenario::site_to_site(seed)
        .both(|gateway| {
            gateway.connection.keying_tries = 0;
            gateway.connection.liveness_delay = 30 * SECOND;
            gateway.connection.unique = Unique::Replace;
            gateway.connection.lifetimes =
                Lifetimes { rekey: 20 * MINUTE, rand: 5 * MINUTE, expire: 60 * MINUTE };
        })
        .both_children(|child| {
            child.start_action = StartAction::Trap;
            child.close_action = CloseAction::Trap;
            child.liveness_action = CloseAction::Trap;
            child.lifetimes = Lifetimes { rekey: 5 * MINUTE, rand: MINUTE, expire: 20 * MINUTE };
        })
}

fn weather(random: &mut SeededRandom) -> Weather {
    let choices = [
        Weather::CLEAR,
        Weather::SHUFFLED,
        Weather::lossy(10),
        Weather::lossy(30),
        Weather { burst_percent: 10, burst_length: 5, ..Weather::SHUFFLED },
    ];
    random.pick(&choices).clone()
}

/// Gives some command on some side, or changes the weather.
fn disturb(pair: &mut Pair, random: &mut SeededRandom) {
    let side = *random.pick(&Side::BOTH);
    match random.below(8) {
        0 => pair.network.weather[side.index()] = weather(random),
        1 | 2 => drop(pair.rekey_child(side, "net")),
        3 | 4 => drop(pair.rekey_ike(side)),
        5 => drop(pair.down_child(side, "net")),
        6 => drop(pair.down(side)),
        _ => drop(pair.up(side, "net")),
    }
}

/// Clears the weather, and lets both ends find together again.
fn reconcile(pair: &mut Pair) {
    pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
    // Long enough for every liveness check, retransmission and half-open SA to end.
    pair.run_for(20 * MINUTE);
    pair.stop_traffic();
    pair.settle();
    assert!(pair.is_up("net"), "seed {}: the tunnel is up", pair.scenario().seed);
}

#[test]
fn hours_of_commands_in_any_weather_end_in_agreement() {
    for_seeds(0..100, |seed| {
        let mut random = SeededRandom::new(seed);
        let mut pair = Pair::new(steadfast(seed));
        pair.start_traffic(0, 5 * SECOND);
        let end = 120 * MINUTE;
        while pair.elapsed() < end {
            disturb(&mut pair, &mut random);
            let pause = match random.below(3) {
                0 => random.duration(Duration::ZERO..=Duration::from_millis(100)),
                1 => random.duration(Duration::ZERO..=10 * SECOND),
                _ => random.duration(Duration::ZERO..=3 * MINUTE),
            };
            pair.run_for(pause);
        }
        reconcile(&mut pair);
        pair.check_but_for_losses();
    });
}

#[test]
fn gateways_that_restart_now_and_then_find_back() {
    for_seeds(0..100, |seed| {
        let mut random = SeededRandom::new(seed);
        let mut pair = Pair::new(steadfast(seed).weather(Weather::lossy(10)));
        pair.start_traffic(0, 5 * SECOND);
        for _ in 0..10 {
            let side = *random.pick(&Side::BOTH);
            pair.run_for(random.duration(SECOND..=10 * MINUTE));
            pair.switch_off(side);
            pair.run_for(random.duration(SECOND..=5 * MINUTE));
            pair.switch_on(side);
        }
        reconcile(&mut pair);
        pair.check_but_for_losses();
    });
}

#[test]
fn a_tunnel_left_alone_for_a_day_loses_no_packet() {
    for_seeds(0..8, |seed| {
        let mut pair = Pair::new(steadfast(seed).weather(Weather::SHUFFLED));
        pair.start_stream(flow(Side::Left, 0), 10 * SECOND, 100);
        pair.run_for(SECOND * 5);
        pair.start_stream(flow(Side::Right, 0), 10 * SECOND, 100);
        pair.run_for(24 * 60 * MINUTE);
        pair.stop_traffic();
        pair.settle_and_check();
        for side in Side::BOTH {
            let tally = pair.tally(side);
            assert_eq!(tally.delivered + tally.awaiting, tally.sent, "{tally:?}");
            assert!(tally.awaiting <= 1, "{tally:?}");
        }
    });
}
