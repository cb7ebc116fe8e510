//! Both ends prove anew who they are (RFC 4478): a new IKE SA with the same children is there before the old one goes.

use std::sync::Arc;
use std::time::Duration;

use ike::{Command, Event, Lifetimes, ReauthenticationOrder, Ticket, Unique};
use testkit::{Pair, Scenario, Side, Weather, child, for_seeds};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn every(after: Duration) -> Lifetimes {
    Lifetimes { rekey: after, rand: after / 10, expire: after + after / 10 }
}

fn talking(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.start_traffic(0, Duration::from_millis(25));
    pair.run_for(SECOND);
    pair
}

/// Nothing is lost but by the network.
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

fn reauthenticate(pair: &mut Pair, side: Side) -> Ticket {
    let ike = pair.ike_sas(side)[0].id;
    pair.command_with(side, |ticket| Command::ReauthenticateIke { ike, ticket })
}

/// Counts the IKE SAs that a side has brought up.
fn made(pair: &Pair, side: Side) -> usize {
    pair.events(side).iter().filter(|event| matches!(event, Event::IkeUp(_))).count()
}

#[test]
fn the_new_ike_sa_has_all_children_before_the_old_one_goes() {
    let mut scenario = Scenario::site_to_site(1);
    for side in Side::BOTH {
        let connection = &mut scenario.gateway_mut(side).connection;
        connection.children.push(Arc::new(child("second", side, 1)));
    }
    let mut pair = talking(scenario);
    let second = pair.up(Side::Left, "second");
    pair.finish(second).expect("it comes up");
    pair.start_traffic(1, Duration::from_millis(25));
    for side in Side::BOTH {
        let before = pair.ike_sas(Side::Left)[0].initiator_spi;
        let ticket = reauthenticate(&mut pair, side);
        pair.finish(ticket).expect("it succeeds");
        pair.run_for(10 * SECOND);
        assert_eq!(pair.ike_sas(Side::Left).len(), 1, "the old one is gone");
        assert_ne!(pair.ike_sas(Side::Left)[0].initiator_spi, before);
        assert!(pair.is_up("net") && pair.is_up("second"));
    }
    ends_well(&mut pair);
}

#[test]
fn it_comes_by_time_for_hours_whoever_wants_it() {
    for_seeds(0..18, |seed| {
        let mut scenario = Scenario::site_to_site(seed);
        let (left, right) = (seed % 3 != 1, seed % 3 != 2);
        if left {
            scenario.left.connection.reauthentication = every(20 * MINUTE);
        }
        if right {
            scenario.right.connection.reauthentication = every(25 * MINUTE);
        }
        // Rekeying does not put it off.
        scenario = scenario.both(|gateway| gateway.connection.lifetimes = every(7 * MINUTE));
        let mut pair = Pair::new(scenario);
        pair.connect();
        pair.start_traffic(0, SECOND);
        pair.run_for(180 * MINUTE);
        assert!((7..=11).contains(&made(&pair, Side::Left)), "seed {seed}: {}", made(&pair, Side::Left));
        ends_well(&mut pair);
    });
}

#[test]
fn who_is_not_proven_anew_in_time_goes() {
    let mut scenario = Scenario::site_to_site(2);
    scenario.right.connection.reauthentication = every(20 * MINUTE);
    let mut pair = Pair::new(scenario);
    pair.connect();
    // It may not make a new one: the connection is not configured there any more.
    pair.command(Side::Left, Command::Unload("site".to_owned()));
    pair.command(Side::Left, Command::UnloadSecret("site".to_owned()));
    pair.run_for(23 * MINUTE);
    for side in Side::BOTH {
        assert!(pair.ike_sas(side).is_empty(), "{:?}", pair.ike_sas(side));
    }
}

#[test]
fn in_bad_weather_no_packet_is_lost_but_by_the_network() {
    for_seeds(0..1000, |seed| {
        let scenario = Scenario::site_to_site(seed).patient().weather(Weather::lossy(30)).both(|gateway| {
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = 10 * SECOND;
            gateway.settings.half_open_timeout = 10 * MINUTE;
        });
        let mut pair = talking(scenario);
        let (first, second) =
            if seed % 2 == 0 { (Side::Left, Side::Right) } else { (Side::Right, Side::Left) };
        let ticket = reauthenticate(&mut pair, first);
        match seed % 4 {
            0 => drop(pair.rekey_ike(first)),
            1 => drop(pair.rekey_child(second, "net")),
            2 => drop(pair.rekey_ike(second)),
            _ => {}
        }
        pair.finish(ticket).expect("it succeeds");
        ends_well(&mut pair);
        assert!(pair.is_up("net"));
    });
}

/// Both ends are told to in the same moment: of the two IKE SAs that come of it, the one with the lowest nonce goes, as after a
/// rekeying at once (RFC 7296 §2.8.1).
#[test]
fn of_two_that_were_made_at_once_one_stays() {
    for_seeds(0..2000, |seed| {
        let weather = if seed % 4 == 0 { Weather::CLEAR } else { Weather::lossy(30) };
        let mut scenario = Scenario::site_to_site(seed).patient().weather(weather).both(|gateway| {
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = 10 * SECOND;
            gateway.settings.half_open_timeout = 10 * MINUTE;
        });
        for side in Side::BOTH {
            let connection = &mut scenario.gateway_mut(side).connection;
            connection.children.push(Arc::new(child("second", side, 1)));
        }
        let mut pair = Pair::new(scenario);
        pair.connect();
        let second = pair.up(Side::Left, "second");
        pair.finish(second).expect("it comes up");
        pair.settle();
        (0..2).for_each(|index| pair.start_traffic(index, Duration::from_millis(300)));
        let before = pair.ike_sas(Side::Left)[0].initiator_spi;
        let (first, other) =
            if seed % 2 == 0 { (Side::Left, Side::Right) } else { (Side::Right, Side::Left) };
        let ticket = reauthenticate(&mut pair, first);
        pair.run_for(Duration::from_millis(seed % 50));
        // The old one may be gone by now.
        let later = pair.ike_sas(other).into_iter().find(|ike| ike.initiator_spi == before).map(|old| {
            let ike = old.id;
            pair.command_with(other, |ticket| Command::ReauthenticateIke { ike, ticket })
        });
        pair.finish(ticket).expect("it succeeds");
        let _may_fail = later.map(|later| pair.finish(later));
        pair.run_until("one is left", 10 * MINUTE, |pair| {
            Side::BOTH.iter().all(|side| pair.ike_sas(*side).len() == 1)
        });
        ends_well(&mut pair);
        assert_ne!(pair.ike_sas(Side::Left)[0].initiator_spi, before, "seed {seed}");
        assert!(pair.is_up("net") && pair.is_up("second"), "seed {seed}");
    });
}

/// `unique = keep` keeps whoever is connected from coming from elsewhere, not from proving anew who it is.
#[test]
fn who_is_connected_proves_anew_where_the_older_is_kept() {
    for side in Side::BOTH {
        let mut scenario = Scenario::site_to_site(3);
        for side in Side::BOTH {
            scenario.gateway_mut(side).connection.unique = Unique::Keep;
        }
        let mut pair = talking(scenario);
        let before = pair.ike_sas(Side::Left)[0].initiator_spi;
        let ticket = reauthenticate(&mut pair, side);
        pair.finish(ticket).expect("it succeeds");
        pair.run_for(10 * SECOND);
        assert_eq!(pair.ike_sas(Side::Left).len(), 1, "the old one is gone");
        assert_ne!(pair.ike_sas(Side::Left)[0].initiator_spi, before);
        ends_well(&mut pair);
    }
}

/// A child that the peer allows no more does not keep the others from having a new IKE SA, and is asked for again.
#[test]
fn a_child_that_is_refused_then_is_asked_for_again() {
    let mut scenario = Scenario::site_to_site(4);
    for side in Side::BOTH {
        let connection = &mut scenario.gateway_mut(side).connection;
        connection.children.push(Arc::new(child("second", side, 1)));
    }
    let mut pair = Pair::new(scenario);
    pair.connect();
    let second = pair.up(Side::Left, "second");
    pair.finish(second).expect("it comes up");
    let mut less = pair.scenario().right.connection.clone();
    less.children.retain(|child| child.name == "net");
    let before = pair.ike_sas(Side::Left)[0].initiator_spi;
    pair.command(Side::Right, Command::Load(Arc::new(less)));
    let ticket = reauthenticate(&mut pair, Side::Left);
    pair.finish(ticket).expect("the first child has an IKE SA");
    pair.run_for(20 * SECOND);
    assert_eq!(pair.ike_sas(Side::Left).len(), 1, "the old one is gone");
    assert_ne!(pair.ike_sas(Side::Left)[0].initiator_spi, before);
    assert!(pair.is_up("net") && pair.children(Side::Left, "second").is_empty());
    let refusals = |pair: &Pair| {
        let told = pair.events(Side::Left).iter();
        told.filter(|event| matches!(event, Event::Failed { failure, .. } if failure.to_string().contains("TS_UNACCEPTABLE")))
            .count()
    };
    assert_eq!(refusals(&pair), 1);
    pair.run_until("it is asked for again", 10 * MINUTE, |pair| refusals(pair) == 2);
    assert_eq!(pair.ike_sas(Side::Left).len(), 1);
}

/// For peers that bear no two IKE SAs at once.
#[test]
fn the_old_one_goes_first_where_that_is_wanted() {
    for_seeds(0..300, |seed| {
        let weather = if seed == 0 { Weather::CLEAR } else { Weather::lossy(30) };
        let mut scenario = Scenario::site_to_site(seed).patient().weather(weather).both(|gateway| {
            gateway.connection.reauthentication_order = ReauthenticationOrder::BreakBeforeMake;
            gateway.connection.keying_tries = 0;
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = 10 * SECOND;
            gateway.settings.half_open_timeout = 10 * MINUTE;
        });
        for side in Side::BOTH {
            let connection = &mut scenario.gateway_mut(side).connection;
            connection.children.push(Arc::new(child("second", side, 1)));
        }
        let mut pair = Pair::new(scenario);
        pair.connect();
        let second = pair.up(Side::Left, "second");
        pair.finish(second).expect("it comes up");
        pair.settle();
        let before = pair.ike_sas(Side::Left)[0].initiator_spi;
        let side = if seed % 2 == 0 { Side::Left } else { Side::Right };
        let ticket = reauthenticate(&mut pair, side);
        pair.finish(ticket).expect("it succeeds");
        pair.run_until("both children are there", 10 * MINUTE, |pair| {
            pair.is_up("net") && pair.is_up("second")
        });
        pair.settle_and_check();
        assert_ne!(pair.ike_sas(Side::Left)[0].initiator_spi, before, "seed {seed}");
        // Never were there two.
        let events = pair.events(side).iter();
        let order: Vec<&str> = events
            .filter_map(|event| match event {
                Event::IkeUp(_) => Some("up"),
                Event::IkeDown(..) => Some("down"),
                _ => None,
            })
            .collect();
        assert_eq!(order[..3], ["up", "down", "up"], "seed {seed}");
    });
}
