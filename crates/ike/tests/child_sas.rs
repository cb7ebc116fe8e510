//! CREATE_CHILD_SA for Child SAs: more of them, rekeyings from either end and from both at once (RFC 7296 §2.8.1),
//! and what happens when a rekeying meets a deletion (§2.25), all with packets running through it.

use std::sync::Arc;
use std::time::Duration;

use ike::{Event, Lifetimes};
use sa::Lifetime;
use testkit::{Pair, Scenario, Side, Weather, child, esp_proposal, for_seeds};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Gives a scenario in the weather that the seed draws, whose exchanges fail only where they must.
fn in_any_weather(seed: u64) -> Scenario {
    let weather = [Weather::CLEAR, Weather::SHUFFLED, Weather::lossy(10), Weather::lossy(30)];
    Scenario::site_to_site(seed).weather(weather[seed as usize % weather.len()].clone()).both(|gateway| {
        gateway.settings.retransmission.tries = 25;
        gateway.settings.retransmission.limit = 10 * SECOND;
        gateway.settings.half_open_timeout = 10 * MINUTE;
    })
}

/// Brings the child up and lets hosts talk through it.
fn talking(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.start_traffic(0, Duration::from_millis(25));
    pair.run_for(SECOND);
    pair
}

/// Lets the hosts talk on until both ends are at rest, and checks that no packet was the SAs' loss.
fn ends_well(pair: &mut Pair) {
    pair.settle();
    pair.run_for(SECOND);
    pair.stop_traffic();
    pair.settle_and_check();
    for side in Side::BOTH {
        let tally = pair.tally(side);
        assert_eq!(tally.delivered + tally.lost_by_network, tally.sent, "{tally:?}");
    }
}

fn rekeyings(pair: &Pair, side: Side) -> usize {
    pair.events(side).iter().filter(|event| matches!(event, Event::ChildRekeyed { .. })).count()
}

#[test]
fn a_second_child_shares_the_ike_sa() {
    for_seeds(0..100, |seed| {
        let mut scenario = in_any_weather(seed);
        for side in Side::BOTH {
            let more = child("more", side, 1);
            scenario.gateway_mut(side).connection.children.push(Arc::new(more));
        }
        let mut pair = talking(scenario);
        // CREATE_CHILD_SA { SA, Ni, TSi, TSr } -->
        let side = *pair.random().pick(&Side::BOTH);
        let ticket = pair.up(side, "more");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.run_until("both have it", MINUTE, |pair| pair.is_up("more"));
        pair.start_traffic(1, Duration::from_millis(25));
        ends_well(&mut pair);
        assert_eq!(pair.ike_sas(Side::Left)[0].children.len(), 2);
    });
}

#[test]
fn either_end_rekeys_a_child_and_no_packet_is_lost() {
    for_seeds(0..300, |seed| {
        let mut pair = talking(in_any_weather(seed));
        let before = pair.children(Side::Left, "net")[0].inbound;
        let side = *pair.random().pick(&Side::BOTH);
        // CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr } -->
        let ticket = pair.rekey_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        ends_well(&mut pair);
        assert_ne!(pair.children(Side::Left, "net")[0].inbound, before);
        assert_eq!((rekeyings(&pair, Side::Left), rekeyings(&pair, Side::Right)), (1, 1));
    });
}

#[test]
fn a_silent_child_is_rekeyed_too() {
    for_seeds(0..100, |seed| {
        let mut pair = Pair::new(in_any_weather(seed));
        pair.connect();
        let ticket = pair.rekey_child(Side::Right, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
        pair.start_traffic(0, Duration::from_millis(25));
        ends_well(&mut pair);
    });
}

#[test]
fn both_ends_rekey_a_child_at_once_and_one_replacement_stays() {
    for_seeds(0..1000, |seed| {
        let mut pair = talking(in_any_weather(seed));
        // Left and right: CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr } -->
        let first = pair.rekey_child(Side::Left, "net").expect("it is up");
        let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(40));
        pair.run_for(apart);
        let second = pair.rekey_child(Side::Right, "net");
        for ticket in second.into_iter().chain([first]) {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        ends_well(&mut pair);
        assert_eq!(pair.children(Side::Left, "net").len(), 1);
    });
}

#[test]
fn a_key_exchange_of_its_own_settles_its_group_in_two_rounds() {
    for_seeds(0..50, |seed| {
        let mut scenario = in_any_weather(seed);
        scenario
            .left
            .change_child("net", |child| child.proposals = vec![esp_proposal("aes128gcm16-ecp256-x25519")]);
        scenario
            .right
            .change_child("net", |child| child.proposals = vec![esp_proposal("aes128gcm16-x25519")]);
        let mut pair = talking(scenario);
        for side in Side::BOTH {
            let ticket = pair.rekey_child(side, "net").expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.settle();
        }
        ends_well(&mut pair);
        let suite = pair.children(Side::Right, "net")[0].suite.to_string();
        assert_eq!(suite, "aes128gcm16-x25519");
    });
}

#[test]
fn a_child_is_rekeyed_by_volume_before_its_hard_limit_stops_it() {
    for_seeds(0..50, |seed| {
        let volume = Lifetime { soft_packets: 500, hard_packets: 8000, ..Lifetime::UNLIMITED };
        let mut pair = talking(in_any_weather(seed).both_children(|child| child.volume = volume));
        pair.run_for(MINUTE);
        pair.stop_traffic();
        ends_well(&mut pair);
        // The worst weather keeps one request on its way for most of the time.
        assert!(rekeyings(&pair, Side::Left) >= 1);
        assert_eq!(rekeyings(&pair, Side::Left), rekeyings(&pair, Side::Right));
    });
}

#[test]
fn a_child_is_rekeyed_by_time_for_hours_without_losing_a_packet() {
    for_seeds(0..20, |seed| {
        let lifetimes = Lifetimes { rekey: 5 * MINUTE, rand: MINUTE, expire: 30 * MINUTE };
        let mut pair = Pair::new(in_any_weather(seed).both_children(|child| child.lifetimes = lifetimes));
        pair.connect();
        pair.start_traffic(0, SECOND);
        pair.run_for(120 * MINUTE);
        ends_well(&mut pair);
        assert!(rekeyings(&pair, Side::Left) >= 20, "{}", rekeyings(&pair, Side::Left));
        assert_eq!(rekeyings(&pair, Side::Left), rekeyings(&pair, Side::Right));
    });
}

#[test]
fn a_child_that_cannot_be_rekeyed_expires() {
    let lifetimes = Lifetimes { rekey: Duration::ZERO, rand: Duration::ZERO, expire: 5 * MINUTE };
    let mut pair = Pair::new(Scenario::site_to_site(1).both_children(|child| child.lifetimes = lifetimes));
    pair.connect();
    pair.run_for(6 * MINUTE);
    pair.settle_and_check();
    for side in Side::BOTH {
        assert_eq!(pair.ike_sas(side).len(), 1);
        assert!(pair.plane(side).sas().is_empty());
    }
}

#[test]
fn a_deleted_child_is_gone_at_both_ends_and_the_ike_sa_stays() {
    for_seeds(0..100, |seed| {
        let mut pair = Pair::new(in_any_weather(seed));
        pair.connect();
        let side = *pair.random().pick(&Side::BOTH);
        // INFORMATIONAL { D(spi) } -->
        let ticket = pair.down_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
        assert_eq!(pair.ike_sas(side).len(), 1);
        assert!(pair.plane(side).sas().is_empty());
        let ticket = pair.up(side.other(), "net");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.start_traffic(0, Duration::from_millis(25));
        ends_well(&mut pair);
    });
}

#[test]
fn both_ends_delete_the_same_child_at_once() {
    for_seeds(0..200, |seed| {
        let mut pair = Pair::new(in_any_weather(seed));
        pair.connect();
        let tickets = Side::BOTH.map(|side| {
            let ticket = pair.down_child(side, "net");
            let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(15));
            pair.run_for(apart);
            ticket
        });
        for ticket in tickets.into_iter().flatten() {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        pair.settle_and_check();
        for side in Side::BOTH {
            assert_eq!(pair.ike_sas(side).len(), 1);
            assert!(pair.plane(side).sas().is_empty());
        }
    });
}
