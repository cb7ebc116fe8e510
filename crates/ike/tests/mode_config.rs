//! Mode Config between two endpoints: a virtual address, asked for or given unasked, over every kind of network.

use std::net::IpAddr;
use std::time::Duration;

use ike::{ConfigurationMode, Event};
use testkit::{Cargo, Pair, Scenario, Side, Weather, for_seeds};

const MINUTE: Duration = Duration::from_secs(60);
const GIVEN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 5));

/// Every combination of main and aggressive mode, with a user and without, pull and push.
fn scenario(seed: u64) -> Scenario {
    let scenario = Scenario::site_to_site(seed);
    let scenario = if seed & 1 == 0 { scenario.version_1() } else { scenario.aggressive() };
    let scenario = if seed & 2 == 0 { scenario } else { scenario.with_user("carol") };
    let configuration = if seed & 4 == 0 { ConfigurationMode::Pull } else { ConfigurationMode::Push };
    scenario.with_virtual_address().both(|gateway| gateway.connection.configuration = configuration)
}

/// Brings the child up, and moves packets both ways.
fn comes_up(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect_version_1(3 * MINUTE);
    pair.settle_and_check();
    pair
}

fn has_it(pair: &Pair) {
    let left = &pair.ike_sas(Side::Left)[0];
    let right = &pair.ike_sas(Side::Right)[0];
    assert_eq!((left.inside.local.as_slice(), right.inside.remote.as_slice()), (&[GIVEN][..], &[GIVEN][..]));
    assert_eq!(pair.plane(Side::Left).addresses().collect::<Vec<_>>(), [GIVEN]);
    assert_eq!(left.children[0].local_selectors[0].to_string(), "10.1.0.5/32");
    assert_eq!(right.children[0].remote_selectors[0].to_string(), "10.1.0.5/32");
}

#[test]
fn one_transaction_gives_an_address_and_what_belongs_to_it() {
    for seed in 0..8 {
        let pair = comes_up(scenario(seed));
        has_it(&pair);
        let left = &pair.ike_sas(Side::Left)[0].inside;
        assert_eq!(left.dns, [IpAddr::from([10, 2, 0, 53])]);
        if seed & 4 == 0 {
            assert_eq!(left.domain.as_deref(), Some("corp.example"));
        }
        let user = if seed & 2 == 0 { (0, 0) } else { (2, 2) };
        let of_phase_1 = if seed & 1 == 0 { (3, 3) } else { (2, 1) };
        let sent = |side| pair.sent(side).filter(|parcel| matches!(parcel.cargo, Cargo::Ike(_))).count();
        assert_eq!(sent(Side::Left), of_phase_1.0 + user.0 + 1 + 2, "seed {seed}");
        assert_eq!(sent(Side::Right), of_phase_1.1 + user.1 + 1 + 1, "seed {seed}");
    }
}

#[test]
fn an_address_comes_whatever_the_network_does() {
    for_seeds(0..4000, |seed| {
        has_it(&comes_up(scenario(seed).weather(Weather::SHUFFLED)));
        has_it(&comes_up(scenario(seed).weather(Weather::lossy(10)).patient()));
    });
}

#[test]
fn an_address_comes_through_a_nat() {
    for_seeds(0..2000, |seed| {
        has_it(&comes_up(scenario(seed).behind_nat(Side::Left, 5 * MINUTE).weather(Weather::SHUFFLED)));
    });
}

#[test]
fn a_new_phase_1_keeps_the_address_and_loses_no_packet() {
    for_seeds(0..2000, |seed| {
        let mut pair = Pair::new(scenario(seed).weather(Weather::SHUFFLED));
        pair.connect();
        pair.start_traffic(0, Duration::from_millis(100));
        for side in Side::BOTH {
            let ticket = pair.rekey_ike(side).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.run_for(MINUTE);
            assert_eq!(pair.ike_sas(Side::Left).len(), 1);
            has_it(&pair);
        }
        pair.stop_traffic();
        pair.settle_and_check();
    });
}

#[test]
fn the_address_goes_with_the_isakmp_sa_and_comes_again() {
    for_seeds(0..2000, |seed| {
        let mut pair = comes_up(scenario(seed));
        let ticket = pair.down(if seed & 8 == 0 { Side::Left } else { Side::Right }).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
        let ticket = pair.up(Side::Left, "net");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
        has_it(&pair);
    });
}

#[test]
fn a_server_that_has_no_address_says_so_at_both_ends() {
    let mut scenario = scenario(0);
    scenario.right.pools[0].addresses = "2001:db8::1-2001:db8::2".parse().expect("a range");
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let told = pair.finish(ticket).expect_err("there is none").to_string();
    assert_eq!(told, "the peer gave no virtual address; we want 0.0.0.0");
    let at_the_right = pair.events(Side::Right).iter().find_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    assert_eq!(at_the_right.as_deref(), Some("no IPv4 address is free in the pools clients"));
    pair.settle();
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
}

#[test]
fn a_client_that_is_given_nothing_gives_up() {
    let mut scenario = scenario(4);
    scenario.right.connection.configuration = ConfigurationMode::Pull;
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let told = pair.finish(ticket).expect_err("nobody pushes").to_string();
    assert!(told.contains("Mode Config"), "{told}");
    pair.settle();
    assert!(pair.ike_sas(Side::Left).is_empty());
}
