//! Finding out what a path takes by trying it (RFC 8899), where nobody says so.

use std::net::IpAddr;
use std::time::Duration;

use ike::{Event, Fragmentation, PathProbing, limits};
use sa::SaEvent;
use testkit::{Pair, Scenario, Side, Weather, for_seeds, site_address};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The left end probes. From it to the right no packet passes that is longer than `takes`.
fn probing(seed: u64, takes: usize, weather: Weather) -> Pair {
    let mut scenario = Scenario::site_to_site(seed);
    scenario.left.connection.path_probing = PathProbing::Yes;
    paired(scenario, takes, weather)
}

fn paired(scenario: Scenario, takes: usize, weather: Weather) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.network.weather = [Weather { largest_packet: takes, ..weather.clone() }, weather];
    pair
}

fn found(pair: &Pair) -> Option<usize> {
    pair.plane(Side::Left).path_mtu(site_address(Side::Right))
}

/// Whether what was found is what the path takes, or next to it.
fn is_close(pair: &Pair, takes: usize) -> bool {
    let close = takes - 2 * limits::PROBE_STEP..=takes;
    found(pair).is_some_and(|found| close.contains(&found))
}

fn is_up_still(pair: &Pair) -> bool {
    let ends = pair.events(Side::Left).iter().chain(pair.events(Side::Right));
    pair.is_up("net")
        && !ends.into_iter().any(|event| matches!(event, Event::IkeDown(..) | Event::Failed { .. }))
}

#[test]
fn a_path_that_swallows_long_packets_is_found_out_while_everything_else_goes_on() {
    for_seeds(0..30, |seed| {
        let takes = 1300 + 7 * seed as usize;
        let mut pair = probing(seed, takes.min(1500), Weather::CLEAR);
        // The first size is tried three times, and given up after seven seconds.
        pair.run_for(8 * SECOND);
        assert!(found(&pair).is_some_and(|found| found <= takes));
        pair.run_for(MINUTE);
        assert!(is_close(&pair, takes.min(1500)), "{:?} of {takes}", found(&pair));
        pair.run_for(20 * MINUTE);
        assert!(is_close(&pair, takes.min(1500)), "{:?} of {takes}", found(&pair));
        assert!(is_up_still(&pair));
        pair.settle_and_check();
    });
}

#[test]
fn every_cipher_and_family_of_sizes_is_found_out() {
    for suite in ["aes128-sha256-x25519", "3des-sha1-x25519", "chacha20poly1305-prfsha256-x25519"] {
        let mut scenario = Scenario::site_to_site(1).suites(suite, "aes128gcm16-esn");
        scenario.left.connection.path_probing = PathProbing::Yes;
        let mut pair = paired(scenario, 1410, Weather::CLEAR);
        pair.run_for(2 * MINUTE);
        assert!(is_close(&pair, 1410), "{:?} with {suite}", found(&pair));
        assert!(is_up_still(&pair));
    }
}

#[test]
fn behind_a_nat_the_marker_counts() {
    let mut scenario = Scenario::site_to_site(1).behind_nat(Side::Left, 2 * MINUTE);
    scenario.left.connection.path_probing = PathProbing::Yes;
    let mut pair = paired(scenario, 1500, Weather::CLEAR);
    pair.run_for(SECOND);
    assert_eq!(found(&pair), Some(1500));
    let longest = pair.sent(Side::Left).map(|parcel| parcel.octets()).max();
    assert_eq!(longest, Some(1500));
}

/// A network that loses some of everything makes the search longer, and now and then too careful; it kills nobody.
#[test]
fn losses_are_no_death_and_no_long_mistake() {
    for_seeds(0..30, |seed| {
        let mut pair = probing(seed, 1400, Weather::lossy(10));
        pair.run_for(30 * MINUTE);
        assert!(found(&pair).is_some_and(|found| found <= 1400));
        pair.network.weather = [Weather { largest_packet: 1400, ..Weather::CLEAR }, Weather::CLEAR];
        pair.run_for(15 * MINUTE);
        assert!(is_close(&pair, 1400), "{:?}", found(&pair));
        assert!(is_up_still(&pair));
        pair.settle_and_check();
    });
}

#[test]
fn a_path_that_takes_next_to_nothing_is_held_to_the_least() {
    let mut pair = probing(1, 600, Weather::CLEAR);
    pair.run_for(2 * MINUTE);
    assert_eq!(found(&pair), Some(limits::LEAST_PATH_MTU_V4));
    // Wide again: that is seen when it is time to look for more.
    pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
    pair.run_for(limits::PROBE_RAISE_INTERVAL);
    assert_eq!(found(&pair), Some(1500));
    assert!(is_up_still(&pair));
}

#[test]
fn a_probe_gives_way_to_what_turns_up() {
    for_seeds(0..20, |seed| {
        let mut pair = probing(seed, 1400, Weather::CLEAR);
        pair.run_for(SECOND / 2);
        assert_eq!(found(&pair), None, "the first probe has no answer yet");
        let since = pair.elapsed();
        // HDR, SKF { 1/3 }, … -->    <-- HDR, SK { }    HDR, SK { SA, Ni, … } -->
        let ticket = pair.rekey_child(Side::Left, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        assert!(pair.elapsed() - since < SECOND / 5, "{:?}", pair.elapsed() - since);
        pair.run_for(MINUTE);
        assert!(is_close(&pair, 1400));
        pair.settle_and_check();
    });
}

#[test]
fn what_was_found_survives_a_rekeying_and_ends_with_the_ike_sa() {
    for_seeds(0..20, |seed| {
        let mut pair = probing(seed, 1400, Weather::CLEAR);
        pair.run_for(MINUTE);
        let before = found(&pair);
        for side in Side::BOTH {
            let ticket = pair.rekey_ike(side).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            assert_eq!(found(&pair), before);
        }
        // The heir goes on probing: the path is wide again.
        pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
        pair.run_for(limits::PROBE_RAISE_INTERVAL + MINUTE);
        assert_eq!(found(&pair), Some(1500));
        let ticket = pair.down(Side::Left).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        assert_eq!(found(&pair), None);
    });
}

#[test]
fn what_a_router_says_is_tried_at_once() {
    let mut pair = probing(1, 1500, Weather::CLEAR);
    pair.run_for(SECOND);
    assert_eq!(found(&pair), Some(1500));
    pair.network.weather[Side::Left.index()].largest_packet = 1400;
    let remote: IpAddr = site_address(Side::Right);
    pair.tell(Side::Left, SaEvent::PathNarrowed { remote, octets: 1400 });
    pair.run_for(SECOND);
    assert_eq!(found(&pair), Some(1400));
}

/// Losses of other kinds than by length, because the network here knows nothing of IP's own fragments.
#[test]
fn a_peer_that_knows_no_fragments_is_probed_too() {
    for_seeds(0..20, |seed| {
        let mut scenario = Scenario::site_to_site(seed);
        scenario.left.connection.path_probing = PathProbing::Yes;
        scenario.right.connection.fragmentation = Fragmentation::No;
        let mut pair = paired(scenario, 1500, Weather::lossy(10));
        pair.run_for(30 * MINUTE);
        pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
        pair.run_for(limits::PROBE_RAISE_INTERVAL + MINUTE);
        assert_eq!(found(&pair), Some(1500));
        assert!(is_up_still(&pair));
        pair.settle_and_check();
    });
}

#[test]
fn nobody_is_probed_who_was_not_to_be() {
    let mut pair = paired(Scenario::site_to_site(1), 1500, Weather::CLEAR);
    pair.run_for(5 * MINUTE);
    assert_eq!(found(&pair), None);
    let longest = pair.sent(Side::Left).map(|parcel| parcel.octets()).max();
    assert!(longest.is_some_and(|longest| longest < 600), "{longest:?}");
}

#[test]
fn a_peer_that_is_gone_is_noticed_as_by_any_request() {
    let mut pair = probing(1, 1400, Weather::CLEAR);
    pair.switch_off(Side::Right);
    pair.run_for(5 * MINUTE);
    pair.check_nothing_left(Side::Left);
    assert_eq!(found(&pair), None);
}
