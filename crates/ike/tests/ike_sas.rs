//! Rekeying and deleting IKE SAs: from either end, from both at once (RFC 7296 §2.8.2), and across whatever else is
//! under way (§2.25).

use std::sync::Arc;
use std::time::Duration;

use ike::{Command, Event, Lifetimes, Ticket};
use testkit::{Pair, Scenario, Side, Weather, child, for_seeds};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Gives a scenario in the weather that the seed draws, whose exchanges fail only where they must.
fn in_any_weather(seed: u64) -> Scenario {
    let weather = [Weather::CLEAR, Weather::SHUFFLED, Weather::lossy(10), Weather::lossy(30)];
    let mut scenario = Scenario::site_to_site(seed)
        .weather(weather[seed as usize % weather.len()].clone())
        .both(|gateway| {
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = 10 * SECOND;
            gateway.settings.half_open_timeout = 10 * MINUTE;
        });
    for side in Side::BOTH {
        let more = child("more", side, 1);
        scenario.gateway_mut(side).connection.children.push(Arc::new(more));
    }
    scenario
}

fn talking(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.start_traffic(0, Duration::from_millis(25));
    pair.run_for(SECOND);
    pair
}

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

#[test]
fn either_end_rekeys_the_ike_sa_and_the_children_move_along() {
    for_seeds(0..300, |seed| {
        let mut pair = talking(in_any_weather(seed));
        let before = pair.ike_sas(Side::Left)[0].clone();
        let side = *pair.random().pick(&Side::BOTH);
        // CREATE_CHILD_SA { SA, Ni, KEi } -->
        let ticket = pair.rekey_ike(side).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        ends_well(&mut pair);
        let after = &pair.ike_sas(Side::Left)[0];
        assert_ne!(after.initiator_spi, before.initiator_spi);
        assert_eq!(after.id, before.id);
        assert_eq!(after.children[0].inbound, before.children[0].inbound);
        // The new IKE SA works both ways.
        for side in Side::BOTH {
            let ticket = pair.rekey_child(side, "net").expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.settle_and_check();
        }
    });
}

#[test]
fn both_ends_rekey_the_ike_sa_at_once_and_one_replacement_stays() {
    for_seeds(0..500, |seed| {
        let mut pair = talking(in_any_weather(seed));
        let first = pair.rekey_ike(Side::Left).expect("it is up");
        let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(40));
        pair.run_for(apart);
        let second = pair.rekey_ike(Side::Right);
        for ticket in second.into_iter().chain([first]) {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        ends_well(&mut pair);
        for side in Side::BOTH {
            assert_eq!(pair.ike_sas(side).len(), 1);
            assert!(pair.events(side).iter().any(|event| matches!(event, Event::IkeRekeyed { .. })));
        }
        let ticket = pair.rekey_child(Side::Right, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
    });
}

#[test]
fn the_ike_sa_is_rekeyed_by_time_for_hours_without_losing_a_packet() {
    for_seeds(0..20, |seed| {
        let lifetimes = Lifetimes { rekey: 10 * MINUTE, rand: MINUTE, expire: 40 * MINUTE };
        let scenario = in_any_weather(seed).both(|gateway| gateway.connection.lifetimes = lifetimes);
        let mut pair = Pair::new(scenario);
        pair.connect();
        pair.start_traffic(0, SECOND);
        pair.run_for(180 * MINUTE);
        ends_well(&mut pair);
        let rekeyed = |event: &&Event| matches!(event, Event::IkeRekeyed { .. });
        let counts = Side::BOTH.map(|side| pair.events(side).iter().filter(rekeyed).count());
        assert!(counts[0] >= 12 && counts[0] == counts[1], "{counts:?}");
    });
}

#[test]
fn a_deleted_ike_sa_takes_everything_with_it() {
    for_seeds(0..200, |seed| {
        let mut pair = Pair::new(in_any_weather(seed));
        pair.connect();
        let side = *pair.random().pick(&Side::BOTH);
        // INFORMATIONAL { D() } -->
        let ticket = pair.down(side).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        // A late copy of the first message may have made another half-open SA.
        pair.run_for(20 * MINUTE);
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    });
}

#[test]
fn both_ends_delete_the_ike_sa_at_once() {
    for_seeds(0..200, |seed| {
        let mut pair = Pair::new(in_any_weather(seed));
        pair.connect();
        let first = pair.down(Side::Left).expect("it is up");
        let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(15));
        pair.run_for(apart);
        let second = pair.down(Side::Right);
        for ticket in second.into_iter().chain([first]) {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        pair.run_for(20 * MINUTE);
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    });
}

/// Something that one end begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    CreateChild,
    RekeyChild,
    DeleteChild,
    RekeyIke,
    DeleteIke,
}

impl Action {
    const ALL: [Action; 5] =
        [Action::CreateChild, Action::RekeyChild, Action::DeleteChild, Action::RekeyIke, Action::DeleteIke];

    fn begin(self, pair: &mut Pair, side: Side) -> Option<Ticket> {
        match self {
            Action::CreateChild => Some(pair.up(side, "more")),
            Action::RekeyChild => pair.rekey_child(side, "net"),
            Action::DeleteChild => pair.down_child(side, "net"),
            Action::RekeyIke => pair.rekey_ike(side),
            Action::DeleteIke => pair.down(side),
        }
    }
}

/// Lets the left begin one thing and the right another within a moment, and checks that they end in agreement.
fn collide(seed: u64, left: Action, right: Action) -> Pair {
    let mut pair = Pair::new(in_any_weather(seed));
    pair.connect();
    let first = left.begin(&mut pair, Side::Left);
    let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(40));
    pair.run_for(apart);
    let second = right.begin(&mut pair, Side::Right);
    for ticket in first.into_iter().chain(second) {
        // How a command ends that another one makes pointless is not the matter here; that it ends is.
        let _ = pair.finish(ticket);
    }
    pair.settle();
    pair
}

#[test]
fn whatever_meets_whatever_both_ends_agree_afterwards() {
    let pairs = (Action::ALL.len() * Action::ALL.len()) as u64;
    for_seeds(0..pairs * 120, |seed| {
        let nth = (seed % pairs) as usize;
        let (left, right) = (Action::ALL[nth / Action::ALL.len()], Action::ALL[nth % Action::ALL.len()]);
        let mut pair = collide(seed / pairs, left, right);
        pair.settle();
        pair.check();
        let deletes = |action| [left, right].contains(&action);
        if !deletes(Action::DeleteIke) && !deletes(Action::DeleteChild) {
            assert!(pair.is_up("net"), "{left:?} against {right:?} lost the child");
        }
        if !deletes(Action::DeleteIke) && deletes(Action::CreateChild) {
            assert!(pair.is_up("more"), "{left:?} against {right:?} lost the new child");
        }
        if deletes(Action::DeleteIke) && !deletes(Action::CreateChild) {
            pair.run_for(20 * MINUTE);
            Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
        }
    });
}

#[test]
fn rekeyings_of_both_kinds_meet_under_traffic_without_losing_a_packet() {
    for_seeds(0..300, |seed| {
        let mut pair = talking(in_any_weather(seed));
        let first = pair.rekey_ike(Side::Left).expect("it is up");
        let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(40));
        pair.run_for(apart);
        let second = pair.rekey_child(Side::Right, "net");
        for ticket in second.into_iter().chain([first]) {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        ends_well(&mut pair);
    });
}

#[test]
fn an_ike_sa_is_forgotten_at_once_and_the_peer_is_told() {
    let mut pair = talking(Scenario::site_to_site(1));
    pair.stop_traffic();
    pair.run_for(SECOND);
    let ike = pair.ike_sas(Side::Left)[0].id;
    // INFORMATIONAL { D } -->
    let ticket = pair.command_with(Side::Left, |ticket| Command::ForgetIke { ike, ticket });
    assert!(pair.ike_sas(Side::Left).is_empty(), "nobody is waited for");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.run_for(SECOND);
    assert!(pair.ike_sas(Side::Right).is_empty(), "the peer was told");
}
