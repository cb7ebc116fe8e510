//! What happens in IKEv1 when both ends begin something at once: quick modes, phase 1, deletes, in every combination. Nobody
//! yields there as in version 2: two quick modes for the same traffic both succeed, and the newer takes over.

use std::sync::Arc;
use std::time::Duration;

use ike::{CloseAction, Lifetimes, StartAction, Ticket, Unique};
use testkit::{Pair, Scenario, SeededRandom, Side, Weather, child, for_seeds};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Main mode for every other seed, aggressive mode for the rest; exchanges fail only where they must.
fn in_any_weather(seed: u64) -> Scenario {
    let weather = [Weather::CLEAR, Weather::SHUFFLED, Weather::lossy(10), Weather::lossy(30)];
    let scenario = Scenario::site_to_site(seed);
    let scenario = if seed.is_multiple_of(2) { scenario.version_1() } else { scenario.aggressive() };
    let mut scenario =
        scenario.weather(weather[(seed / 2) as usize % weather.len()].clone()).both(|gateway| {
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = 10 * SECOND;
            gateway.settings.half_open_timeout = 10 * MINUTE;
        });
    for side in Side::BOTH {
        let mut more = child("more", side, 1);
        more.proposals = vec![testkit::esp_proposal("aes128gcm16-noesn")];
        scenario.gateway_mut(side).connection.children.push(Arc::new(more));
    }
    scenario
}

fn connected(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect_version_1(20 * MINUTE);
    pair.settle();
    pair
}

/// The child is up, and no packet was lost but by the network.
fn ends_well(pair: &mut Pair) {
    pair.run_for(MINUTE);
    pair.stop_traffic();
    pair.run_for(SECOND);
    pair.check_faults();
    assert!(pair.is_up("net"));
    for side in Side::BOTH {
        let tally = pair.tally(side);
        assert_eq!(tally.delivered + tally.lost_by_network + tally.awaiting, tally.sent, "{tally:?}");
    }
}

fn a_moment(pair: &mut Pair) {
    let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(60));
    pair.run_for(apart);
}

#[test]
fn both_ends_rekey_a_child_at_once_under_traffic() {
    for_seeds(0..2000, |seed| {
        let mut pair = connected(in_any_weather(seed));
        pair.start_traffic(0, Duration::from_millis(50));
        let first = pair.rekey_child(Side::Left, "net").expect("it is up");
        a_moment(&mut pair);
        let second = pair.rekey_child(Side::Right, "net");
        for ticket in second.into_iter().chain([first]) {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        ends_well(&mut pair);
        agrees(&mut pair);
    });
}

#[test]
fn both_ends_make_phase_1_anew_at_once_under_traffic_in_main_mode() {
    for_seeds(0..1000, |seed| make_phase_1_anew_at_once(2 * seed));
}

#[test]
fn both_ends_make_phase_1_anew_at_once_under_traffic_in_aggressive_mode() {
    for_seeds(0..1000, |seed| make_phase_1_anew_at_once(2 * seed + 1));
}

fn make_phase_1_anew_at_once(seed: u64) {
    let mut pair = connected(in_any_weather(seed));
    pair.start_traffic(0, Duration::from_millis(50));
    let first = pair.rekey_ike(Side::Left).expect("it is up");
    a_moment(&mut pair);
    let second = pair.rekey_ike(Side::Right);
    for ticket in second.into_iter().chain([first]) {
        // The one that is to be replaced may be so already.
        let _ = pair.finish(ticket);
    }
    ends_well(&mut pair);
    agrees(&mut pair);
    // What is left of it works both ways.
    for side in Side::BOTH {
        pair.start_traffic(0, Duration::from_millis(50));
        let ticket = pair.rekey_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        ends_well(&mut pair);
    }
    agrees(&mut pair);
}

/// Both ends have the same ISAKMP SAs and Child SAs, their keys are the same, and nothing is left over of another.
fn agrees(pair: &mut Pair) {
    pair.settle();
    pair.check_agreement();
}

#[test]
fn both_ends_begin_phase_1_at_once_in_main_mode() {
    for_seeds(0..1000, |seed| begin_phase_1_at_once(2 * seed));
}

#[test]
fn both_ends_begin_phase_1_at_once_in_aggressive_mode() {
    for_seeds(0..1000, |seed| begin_phase_1_at_once(2 * seed + 1));
}

fn begin_phase_1_at_once(seed: u64) {
    let mut pair = Pair::new(in_any_weather(seed));
    let first = pair.up(Side::Left, "net");
    a_moment(&mut pair);
    let second = pair.up(Side::Right, "net");
    for ticket in [first, second] {
        assert_eq!(pair.finish(ticket), Ok(()));
    }
    pair.start_traffic(0, Duration::from_millis(50));
    ends_well(&mut pair);
    agrees(&mut pair);
    // Whichever of the two each end has chosen, it works both ways.
    for side in Side::BOTH {
        pair.start_traffic(0, Duration::from_millis(50));
        let ticket = pair.rekey_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        ends_well(&mut pair);
    }
    agrees(&mut pair);
}

#[test]
fn quick_modes_are_under_way_while_phase_1_is_made_anew_in_main_mode() {
    for_seeds(0..1000, |seed| make_phase_1_anew_among_quick_modes(2 * seed));
}

#[test]
fn quick_modes_are_under_way_while_phase_1_is_made_anew_in_aggressive_mode() {
    for_seeds(0..1000, |seed| make_phase_1_anew_among_quick_modes(2 * seed + 1));
}

fn make_phase_1_anew_among_quick_modes(seed: u64) {
    let mut pair = connected(in_any_weather(seed));
    pair.start_traffic(0, Duration::from_millis(50));
    let mut tickets = Vec::new();
    let mut begin = |pair: &mut Pair, what: u64| {
        let side = *pair.random().pick(&Side::BOTH);
        match what {
            0 => tickets.extend(pair.rekey_ike(side)),
            1 => tickets.extend(pair.rekey_child(side, "net")),
            _ => tickets.push(pair.up(side, "more")),
        }
        a_moment(pair);
    };
    // Phase 1 anew comes first, in the middle, or last.
    let order = [[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 0, 1]][seed as usize % 4];
    for what in order {
        begin(&mut pair, what);
    }
    for ticket in tickets {
        // What is replaced meanwhile need not be so once more.
        let _ = pair.finish(ticket);
    }
    ends_well(&mut pair);
    assert!(pair.is_up("more"));
    agrees(&mut pair);
}

/// Something that one end begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    CreateChild,
    RekeyChild,
    DeleteChild,
    Phase1Anew,
    DeleteIke,
}

impl Action {
    const ALL: [Action; 5] =
        [Action::CreateChild, Action::RekeyChild, Action::DeleteChild, Action::Phase1Anew, Action::DeleteIke];

    fn begin(self, pair: &mut Pair, side: Side) -> Option<Ticket> {
        match self {
            Action::CreateChild => Some(pair.up(side, "more")),
            Action::RekeyChild => pair.rekey_child(side, "net"),
            Action::DeleteChild => pair.down_child(side, "net"),
            Action::Phase1Anew => pair.rekey_ike(side),
            Action::DeleteIke => pair.down(side),
        }
    }
}

#[test]
fn whatever_meets_whatever_nothing_is_lost_that_was_to_stay() {
    let pairs = (Action::ALL.len() * Action::ALL.len()) as u64;
    for_seeds(0..pairs * 100, |seed| {
        let nth = (seed % pairs) as usize;
        let (left, right) = (Action::ALL[nth / Action::ALL.len()], Action::ALL[nth % Action::ALL.len()]);
        let deletes = |action| [left, right].contains(&action);
        let deletes_any = deletes(Action::DeleteIke) || deletes(Action::DeleteChild);
        let mut pair = connected(in_any_weather(seed / pairs));
        let first = left.begin(&mut pair, Side::Left);
        a_moment(&mut pair);
        let second = right.begin(&mut pair, Side::Right);
        for ticket in first.into_iter().chain(second) {
            // How a command ends that another one makes pointless is not the matter here; that it ends is.
            let _ = pair.finish(ticket);
        }
        pair.run_for(MINUTE);
        agrees(&mut pair);
        if !deletes_any {
            assert!(pair.is_up("net"), "{left:?} against {right:?} lost the child");
        }
        if !deletes(Action::DeleteIke) && deletes(Action::CreateChild) {
            assert!(pair.is_up("more"), "{left:?} against {right:?} lost the new child");
        }
    });
}

/// Two gateways that keep their tunnel up by themselves.
fn steadfast(seed: u64) -> Scenario {
    Scenario::site_to_site(seed)
        .version_1()
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

/// Hours of commands from both ends in any weather. Then the weather clears, and both find together again.
#[test]
fn hours_of_commands_in_any_weather_end_with_a_tunnel() {
    for_seeds(0..100, |seed| {
        let mut random = SeededRandom::new(seed);
        let mut pair = Pair::new(steadfast(seed));
        pair.start_traffic(0, 5 * SECOND);
        let weather = [Weather::CLEAR, Weather::SHUFFLED, Weather::lossy(10), Weather::lossy(30)];
        while pair.elapsed() < 120 * MINUTE {
            let side = *random.pick(&Side::BOTH);
            match random.below(8) {
                0 => pair.network.weather[side.index()] = random.pick(&weather).clone(),
                1 | 2 => drop(pair.rekey_child(side, "net")),
                3 | 4 => drop(pair.rekey_ike(side)),
                5 => drop(pair.down_child(side, "net")),
                6 => drop(pair.down(side)),
                _ => drop(pair.up(side, "net")),
            }
            let pause = match random.below(3) {
                0 => random.duration(Duration::ZERO..=Duration::from_millis(100)),
                1 => random.duration(Duration::ZERO..=10 * SECOND),
                _ => random.duration(Duration::ZERO..=3 * MINUTE),
            };
            pair.run_for(pause);
        }
        pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
        pair.run_for(40 * MINUTE);
        pair.run_until("the tunnel is up", 5 * MINUTE, |pair| pair.is_up("net"));
        pair.stop_traffic();
    });
}
