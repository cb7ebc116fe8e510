//! Peers that fall silent, restart, or lose their way: liveness (RFC 7296 §2.4), INITIAL_CONTACT, and what the
//! configuration wants done then.

use std::time::Duration;

use ike::{CloseAction, DownReason, Event};
use testkit::{Pair, Scenario, Side, Weather, flow, for_seeds};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Both ends ask after thirty seconds of silence, and do this when the other is dead.
fn asking(seed: u64, action: CloseAction) -> Scenario {
    Scenario::site_to_site(seed)
        .both(|gateway| {
            gateway.connection.liveness_delay = 30 * SECOND;
            gateway.connection.keying_tries = 0;
        })
        .both_children(|child| child.liveness_action = action)
}

fn died(pair: &Pair, side: Side) -> bool {
    pair.events(side).iter().any(|event| matches!(event, Event::IkeDown(_, DownReason::PeerDead)))
}

#[test]
fn a_dead_peer_is_noticed_and_nothing_is_left() {
    for_seeds(0..50, |seed| {
        let mut pair = Pair::new(asking(seed, CloseAction::None).weather(Weather::SHUFFLED));
        pair.connect();
        let since = pair.elapsed();
        pair.switch_off(Side::Right);
        pair.run_until("the left notices", 10 * MINUTE, |pair| died(pair, Side::Left));
        // Thirty seconds of silence, then five repetitions, in 165 seconds but for the jitter.
        let after = pair.elapsed() - since;
        assert!((150 * SECOND..=200 * SECOND).contains(&after), "{after:?}");
        pair.run_for(MINUTE);
        pair.check_nothing_left(Side::Left);
    });
}

#[test]
fn a_living_peer_is_not_given_up_however_silent_its_hosts() {
    for_seeds(0..20, |seed| {
        let mut pair = Pair::new(asking(seed, CloseAction::None).weather(Weather::lossy(5)));
        pair.connect();
        pair.run_for(60 * MINUTE);
        assert!(!died(&pair, Side::Left) && !died(&pair, Side::Right));
        pair.settle_and_check();
        assert!(pair.is_up("net"));
    });
}

#[test]
fn packets_of_the_peer_are_a_sign_of_life() {
    let mut pair = Pair::new(asking(1, CloseAction::None));
    pair.connect();
    pair.settle();
    let before = pair.sent(Side::Left).count();
    pair.start_traffic(0, SECOND);
    pair.run_for(10 * MINUTE);
    assert_eq!(pair.sent(Side::Left).count(), before, "nobody had to ask");
    pair.stop_traffic();
    pair.settle_and_check();
}

#[test]
fn a_child_that_is_to_be_started_again_comes_back_with_its_peer() {
    for_seeds(0..20, |seed| {
        let mut pair = Pair::new(asking(seed, CloseAction::Start).weather(Weather::SHUFFLED));
        pair.connect();
        pair.switch_off(Side::Right);
        pair.run_until("the left notices", 10 * MINUTE, |pair| died(pair, Side::Left));
        pair.run_for(10 * MINUTE);
        pair.switch_on(Side::Right);
        pair.run_until("the child is back", 10 * MINUTE, |pair| pair.is_up("net"));
        pair.settle_and_check();
    });
}

#[test]
fn a_child_that_is_to_be_trapped_comes_back_with_the_next_packet() {
    for_seeds(0..20, |seed| {
        let mut pair = Pair::new(asking(seed, CloseAction::Trap).weather(Weather::SHUFFLED));
        pair.connect();
        pair.start_stream(flow(Side::Left, 0), SECOND, 100);
        pair.switch_off(Side::Right);
        pair.run_until("the left notices", 10 * MINUTE, |pair| died(pair, Side::Left));
        pair.switch_on(Side::Right);
        pair.run_until("the child is back", 10 * MINUTE, |pair| pair.is_up("net"));
        assert_eq!(pair.tally(Side::Left).unguarded, 0, "the trap was there before the child was gone");
    });
}

#[test]
fn an_end_that_restarts_says_that_it_is_its_first_contact_and_the_other_forgets() {
    for_seeds(0..100, |seed| {
        let restarting = if seed % 2 == 0 { Side::Left } else { Side::Right };
        let mut pair = Pair::new(Scenario::site_to_site(seed).weather(Weather::SHUFFLED));
        pair.connect();
        pair.switch_off(restarting);
        pair.run_for(10 * SECOND);
        pair.switch_on(restarting);
        // IKE_AUTH { IDi, N(INITIAL_CONTACT), … } -->
        let ticket = pair.up(restarting, "net");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
        assert!(pair.is_up("net"));
        let replaced = |event: &Event| matches!(event, Event::IkeDown(_, DownReason::Replaced));
        assert!(pair.events(restarting.other()).iter().any(replaced));
    });
}

#[test]
fn a_child_that_the_peer_deletes_is_closed_as_configured() {
    for (action, comes_back) in [(CloseAction::None, false), (CloseAction::Start, true)] {
        for_seeds(0..20, |seed| {
            let mut scenario = Scenario::site_to_site(seed).weather(Weather::SHUFFLED);
            scenario.left.change_child("net", |child| child.close_action = action);
            let mut pair = Pair::new(scenario);
            pair.connect();
            let ticket = pair.down_child(Side::Right, "net").expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.settle_and_check();
            assert_eq!(pair.is_up("net"), comes_back);
        });
    }
}

#[test]
fn an_ike_sa_that_the_peer_deletes_is_closed_as_configured() {
    for_seeds(0..20, |seed| {
        let mut scenario = Scenario::site_to_site(seed).weather(Weather::SHUFFLED);
        scenario.left.change_child("net", |child| child.close_action = CloseAction::Start);
        let mut pair = Pair::new(scenario);
        pair.connect();
        let ticket = pair.down(Side::Right).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.run_until("the child is back", 10 * MINUTE, |pair| pair.is_up("net"));
        pair.settle_and_check();
    });
}

#[test]
fn a_network_that_comes_back_in_time_costs_nothing() {
    for_seeds(0..50, |seed| {
        let mut pair = Pair::new(asking(seed, CloseAction::None));
        pair.connect();
        pair.network.weather = [Weather::DEAD, Weather::DEAD];
        let outage = pair.random().duration(SECOND..=100 * SECOND);
        pair.run_for(outage);
        pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
        pair.run_for(5 * MINUTE);
        pair.settle_and_check();
        assert!(pair.is_up("net") && !died(&pair, Side::Left) && !died(&pair, Side::Right));
    });
}

/// RFC 7296 §2.4: INITIAL_CONTACT stands in the first IKE_AUTH or nowhere, and whoever may be one of several of its name
/// (`unique = never`) does not say that it is the only one.
#[test]
fn who_may_be_one_of_several_does_not_say_that_it_is_the_only_one() {
    for (unique, expected) in [(ike::Unique::Never, vec![]), (ike::Unique::No, vec![("IKE_AUTH", 1)])] {
        let mut scenario = Scenario::site_to_site(1).both(|gateway| gateway.settings.trace_messages = true);
        scenario.left.connection.unique = unique;
        let mut pair = Pair::new(scenario);
        pair.connect();
        let ticket = pair.rekey_ike(Side::Left).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        let sent =
            pair.traces(Side::Left).iter().filter(|trace| trace.direction == ike::TraceDirection::Sent);
        let says =
            sent.filter(|trace| trace.payloads.iter().any(|payload| payload.name == "N(INITIAL_CONTACT)"));
        let said: Vec<_> = says.map(|trace| (trace.exchange.as_str(), trace.message_id)).collect();
        assert_eq!(said, expected, "{unique:?}");
    }
}
