//! IKEv1 between two endpoints: main mode, quick mode, deletes and dead peer detection, over every kind of network.

use std::time::Duration;

use ike::{DownReason, Encap, Event, Failure, IkeVersion, Lifetimes, Phase1Mode, SelectorTemplate, Versions};
use sa::{Encapsulation, IpProtocol, Mode, PortRange};
use testkit::{Cargo, Pair, Scenario, Side, Weather, child, for_seeds};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Brings the child up, moves packets both ways, and checks every invariant.
fn comes_up(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect_version_1(MINUTE);
    carries(&mut pair);
    pair.settle_and_check();
    pair
}

/// Moves packets both ways; none is lost but by the network.
fn carries(pair: &mut Pair) {
    pair.start_traffic(0, Duration::from_millis(100));
    pair.run_for(SECOND);
    pair.stop_traffic();
    for side in Side::BOTH {
        let tally = pair.tally(side);
        assert_eq!(tally.delivered + tally.lost_by_network, tally.sent, "{tally:?}");
    }
}

fn version_1(seed: u64) -> Scenario {
    Scenario::site_to_site(seed).version_1()
}

#[test]
fn a_tunnel_comes_up_in_nine_messages() {
    let pair = comes_up(version_1(1));
    let sent = |side| pair.sent(side).filter(|parcel| matches!(parcel.cargo, Cargo::Ike(_))).count();
    assert_eq!((sent(Side::Left), sent(Side::Right)), (3 + 2, 3 + 1));
    for side in Side::BOTH {
        let ike = &pair.ike_sas(side)[0];
        assert_eq!(ike.version, IkeVersion::V1(Phase1Mode::Main));
        assert_eq!(ike.suite.expect("it is agreed").to_string(), "aes128-sha256-prfsha256-ecp256");
    }
}

#[test]
fn a_tunnel_comes_up_whatever_the_order_and_number_of_datagrams() {
    for_seeds(0..2000, |seed| {
        comes_up(version_1(seed).weather(Weather::SHUFFLED));
    });
}

#[test]
fn a_tunnel_comes_up_with_ten_percent_lost_each_way() {
    for_seeds(0..2000, |seed| {
        comes_up(version_1(seed).weather(Weather::lossy(10)).patient());
    });
}

#[test]
fn a_tunnel_comes_up_with_thirty_percent_lost_each_way() {
    for_seeds(0..2000, |seed| {
        comes_up(version_1(seed).weather(Weather::lossy(30)).patient());
    });
}

#[test]
fn a_left_behind_a_nat_floats_to_4500() {
    for_seeds(0..2000, |seed| {
        let scenario = version_1(seed).behind_nat(Side::Left, 5 * MINUTE).weather(Weather::SHUFFLED);
        let pair = comes_up(scenario);
        let (left, right) = (&pair.ike_sas(Side::Left)[0], &pair.ike_sas(Side::Right)[0]);
        assert!(left.nat.local && !left.nat.remote && right.nat.remote && !right.nat.local);
        assert_eq!((left.path.local.port(), left.path.remote.port()), (4500, 4500));
        assert_eq!(right.path.local.port(), 4500);
        assert_ne!(right.path.remote.port(), 4500);
        assert_eq!(left.children[0].encapsulation, Encapsulation::Udp);
    });
}

#[test]
fn a_tunnel_comes_up_with_a_nat_at_both_ends() {
    for_seeds(0..2000, |seed| {
        let scenario = version_1(seed)
            .behind_nat(Side::Left, 5 * MINUTE)
            .behind_nat(Side::Right, 5 * MINUTE)
            .weather(Weather::lossy(10));
        let pair = comes_up(scenario.patient());
        let left = &pair.ike_sas(Side::Left)[0];
        assert!(left.nat.remote && left.nat.local);
    });
}

#[test]
fn without_a_nat_nothing_floats_and_nothing_is_encapsulated_unless_asked() {
    let pair = comes_up(version_1(1));
    let left = &pair.ike_sas(Side::Left)[0];
    assert_eq!((left.path.local.port(), left.path.remote.port()), (500, 500));
    assert_eq!(left.children[0].encapsulation, Encapsulation::None);

    let pair = comes_up(version_1(1).both(|gateway| gateway.connection.encap = Encap::Always));
    let left = &pair.ike_sas(Side::Left)[0];
    assert_eq!(left.path.remote.port(), 4500);
    assert_eq!(left.children[0].encapsulation, Encapsulation::Udp);
}

#[test]
fn every_suite_comes_up_with_and_without_forward_secrecy() {
    let groups = ["ecp256", "ecp384", "ecp521", "modp2048", "modp3072", "modp4096"];
    let ciphers = ["aes128", "aes192", "aes256"];
    let hashes = ["sha256", "sha384", "sha512"];
    let esp = ["aes128gcm16", "aes256gcm8", "aes192gcm12", "aes128-sha256", "aes256-sha512", "aes192-sha384"];
    for_seeds(0..18, |seed| {
        let nth = seed as usize;
        let (cipher, hash, group) = (ciphers[nth % 3], hashes[nth / 3 % 3], groups[nth % 6]);
        let own = if nth.is_multiple_of(2) { format!("-{}", groups[(nth + 1) % 6]) } else { String::new() };
        let esn = if nth.is_multiple_of(3) { "esn" } else { "noesn" };
        let (ike, esp) = (format!("{cipher}-{hash}-{group}"), format!("{}{own}-{esn}", esp[nth % 6]));
        let mut pair = comes_up(version_1(seed).suites(&ike, &esp));
        for side in Side::BOTH {
            let ticket = pair.rekey_child(side, "net").expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.settle_and_check();
        }
    });
}

#[test]
fn a_transport_mode_sa_between_the_gateways_themselves() {
    let host = |gateway: &mut testkit::Gateway| {
        gateway.change_child("net", |child| {
            child.mode = Mode::Transport;
            let own = SelectorTemplate::Dynamic(IpProtocol::UDP, PortRange::single(1701));
            child.local_selectors = vec![own];
            child.remote_selectors = vec![own];
        });
    };
    let pair = comes_up_silently(version_1(1).both(host));
    let child = &pair.ike_sas(Side::Right)[0].children[0];
    assert_eq!((child.mode, child.encapsulation), (Mode::Transport, Encapsulation::None));
    assert_eq!(child.local_selectors[0].to_string(), "198.51.100.1/32[udp/1701]");
}

#[test]
fn transport_mode_behind_a_nat_tells_the_addresses_that_checksums_cover() {
    let host = |gateway: &mut testkit::Gateway| {
        gateway.change_child("net", |child| {
            child.mode = Mode::Transport;
            child.local_selectors = vec![SelectorTemplate::Dynamic(IpProtocol::UDP, PortRange::ANY)];
            child.remote_selectors = vec![SelectorTemplate::Dynamic(IpProtocol::UDP, PortRange::ANY)];
        });
    };
    let pair = comes_up_silently(version_1(1).behind_nat(Side::Left, 5 * MINUTE).both(host));
    let original = |side| {
        let mut sas = pair.plane(side).sas().values();
        sas.next().and_then(|installed| installed.spec.handling.original).expect("a NAT is on the way")
    };
    let (left, right) = (original(Side::Left), original(Side::Right));
    assert_eq!(left.remote.to_string(), "198.51.100.1");
    assert_eq!(left.local.to_string(), "192.0.2.1");
    assert_eq!(right.remote.to_string(), "172.16.1.2");
    assert_eq!(right.local.to_string(), "198.51.100.1");
}

/// Brings the child up, and leaves it at that.
fn comes_up_silently(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect_version_1(MINUTE);
    pair.settle();
    pair
}

#[test]
fn a_rekeyed_child_loses_no_packet() {
    for_seeds(0..2000, |seed| {
        let mut pair = Pair::new(version_1(seed).weather(Weather::SHUFFLED));
        pair.connect_version_1(MINUTE);
        pair.start_traffic(0, Duration::from_millis(20));
        for side in Side::BOTH {
            let ticket = pair.rekey_child(side, "net").expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.run_for(20 * SECOND);
        }
        pair.stop_traffic();
        pair.settle_and_check();
    });
}

#[test]
fn packets_take_the_old_child_until_the_peer_has_had_time_for_message_3() {
    for_seeds(0..50, |seed| {
        let mut pair = comes_up_silently(version_1(seed));
        let carrier = |pair: &Pair| {
            let policy = pair.plane(Side::Left).policies().next().expect("it is up").id;
            pair.plane(Side::Left).outbound(policy)
        };
        let old = carrier(&pair);
        let ticket = pair.rekey_child(Side::Left, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        assert_eq!(carrier(&pair), old);
        if seed % 2 == 0 {
            // The peer has read message 3, and sends through the new one.
            pair.start_traffic(0, SECOND / 10);
            pair.run_for(SECOND);
        } else {
            pair.run_for(3 * SECOND);
        }
        assert_ne!(carrier(&pair), old);
        pair.stop_traffic();
        pair.settle_and_check();
    });
}

#[test]
fn a_child_is_rekeyed_before_it_expires_over_a_bad_network() {
    for_seeds(0..300, |seed| {
        let life = Lifetimes { rekey: 5 * MINUTE, rand: MINUTE, expire: 9 * MINUTE };
        let scenario =
            version_1(seed).weather(Weather::lossy(10)).both_children(|child| child.lifetimes = life);
        let mut pair = Pair::new(scenario.patient());
        pair.connect_version_1(MINUTE);
        pair.start_traffic(0, Duration::from_millis(500));
        pair.run_for(60 * MINUTE);
        pair.stop_traffic();
        pair.check_faults();
        pair.run_until("the child is up", 5 * MINUTE, |pair| pair.is_up("net"));
        let replaced = |event: &Event| matches!(event, Event::ChildRekeyed { .. });
        assert!(pair.events(Side::Left).iter().filter(|event| replaced(event)).count() >= 6);
    });
}

#[test]
fn a_replaced_isakmp_sa_hands_its_children_over() {
    for_seeds(0..2000, |seed| {
        let mut pair = Pair::new(version_1(seed).weather(Weather::SHUFFLED));
        pair.connect_version_1(MINUTE);
        pair.start_traffic(0, Duration::from_millis(50));
        for side in Side::BOTH {
            let before = pair.ike_sas(Side::Left)[0].initiator_spi;
            let ticket = pair.rekey_ike(side).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.run_for(MINUTE);
            let now = &pair.ike_sas(Side::Left);
            assert_eq!(now.len(), 1);
            assert_ne!(now[0].initiator_spi, before);
        }
        pair.stop_traffic();
        pair.settle_and_check();
    });
}

#[test]
fn phase_1_is_made_anew_before_it_expires() {
    for_seeds(0..50, |seed| {
        let life = Lifetimes { rekey: 20 * MINUTE, rand: 2 * MINUTE, expire: 30 * MINUTE };
        let scenario =
            version_1(seed).weather(Weather::lossy(10)).both(|gateway| gateway.connection.lifetimes = life);
        let mut pair = Pair::new(scenario.patient());
        pair.connect_version_1(MINUTE);
        pair.start_traffic(0, SECOND);
        pair.run_for(4 * 60 * MINUTE);
        pair.stop_traffic();
        pair.check_faults();
        assert!(pair.is_up("net"));
        assert!(Side::BOTH.iter().all(|side| pair.ike_sas(*side).len() <= 3));
    });
}

#[test]
fn a_deleted_child_and_a_deleted_isakmp_sa_are_gone_at_both_ends() {
    for_seeds(0..2000, |seed| {
        let mut pair = comes_up(version_1(seed).weather(Weather::SHUFFLED));
        let ticket = pair.down_child(Side::Right, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
        assert!(Side::BOTH.iter().all(|side| pair.plane(*side).sas().is_empty()));
        let ticket = pair.up(Side::Left, "net");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
        let ticket = pair.down(Side::Left).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    });
}

#[test]
fn a_peer_that_fell_silent_is_found_dead() {
    for_seeds(0..200, |seed| {
        let scenario = version_1(seed).both(|gateway| gateway.connection.liveness_delay = 30 * SECOND);
        let mut pair = comes_up(scenario);
        pair.run_for(10 * MINUTE);
        assert!(pair.is_up("net"), "a living peer answers");
        pair.switch_off(Side::Right);
        pair.run_for(10 * MINUTE);
        assert!(pair.ike_sas(Side::Left).is_empty());
        let is_dead = |event: &Event| matches!(event, Event::IkeDown(_, DownReason::PeerDead));
        assert!(pair.events(Side::Left).iter().any(is_dead));
    });
}

#[test]
fn both_ends_begin_at_once() {
    for_seeds(0..2000, |seed| {
        let mut pair = Pair::new(version_1(seed).weather(Weather::SHUFFLED));
        let tickets = Side::BOTH.map(|side| pair.up(side, "net"));
        for ticket in tickets {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        pair.run_for(MINUTE);
        pair.start_traffic(0, Duration::from_millis(100));
        pair.run_for(10 * SECOND);
        pair.stop_traffic();
        pair.check_faults();
        assert!(pair.is_up("net"));
    });
}

#[test]
fn both_ends_rekey_at_once() {
    for_seeds(0..2000, |seed| {
        let mut pair = Pair::new(version_1(seed).weather(Weather::SHUFFLED));
        pair.connect_version_1(MINUTE);
        pair.start_traffic(0, Duration::from_millis(50));
        let tickets = Side::BOTH.map(|side| pair.rekey_child(side, "net").expect("it is up"));
        for ticket in tickets {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        pair.run_for(MINUTE);
        pair.stop_traffic();
        pair.check_faults();
        assert!(pair.is_up("net"));
    });
}

#[test]
fn an_offer_that_is_not_allowed_is_refused_with_both_sides_values() {
    let mut scenario = version_1(1);
    scenario.right.propose("aes256-sha512-modp3072");
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("they do not meet").to_string();
    assert_eq!(
        failure,
        "the peer refused main mode with NO-PROPOSAL-CHOSEN (14): none of the combinations that we offered is \
         allowed there; we offered aes128-sha256-prfsha256-ecp256"
    );
    let told = failures(&pair, Side::Right);
    assert_eq!(
        told[0],
        "phase 1: the peer offers aes128-sha256-ecp256; we allow aes256-sha512-modp3072: no common encryption \
         algorithm"
    );
}

#[test]
fn other_keys_are_told_as_other_keys() {
    let mut scenario = version_1(1);
    scenario.right.secret = b"something else".to_vec();
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("the keys differ").to_string();
    assert!(failure.contains("pre-shared keys or identities differ"), "{failure}");
    assert!(failures(&pair, Side::Right)[0].contains("pre-shared keys differ, or message 5 was damaged"));
    pair.settle();
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
}

#[test]
fn other_traffic_is_told_with_both_sides_selectors() {
    let mut scenario = version_1(1);
    scenario.left.change_child("net", |left| *left = child("net", Side::Left, 7));
    scenario.left.change_child("net", |left| left.proposals = vec![testkit::esp_proposal("aes128gcm16")]);
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("the selectors do not meet").to_string();
    assert!(failure.contains("INVALID-ID-INFORMATION"), "{failure}");
    assert_eq!(
        failures(&pair, Side::Right)[0],
        "quick mode: traffic selectors do not meet: the peer asks 10.1.7.0/24 <-> 10.2.7.0/24; configured is 10.2.0.0/24 <-> \
         10.1.0.0/24"
    );
}

fn failures(pair: &Pair, side: Side) -> Vec<String> {
    let failed = pair.events(side).iter().filter_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    failed.collect()
}

#[test]
fn versions_meet_where_both_speak_one() {
    let comes_up_with = |left, right| {
        let mut scenario = version_1(1);
        scenario.left.connection.versions = left;
        scenario.right.connection.versions = right;
        let mut pair = Pair::new(scenario);
        let ticket = pair.up(Side::Left, "net");
        pair.finish(ticket).map(|()| pair.ike_sas(Side::Left)[0].version)
    };
    let main = IkeVersion::V1(Phase1Mode::Main);
    assert_eq!(comes_up_with(Versions::V1, Versions::Either), Ok(main));
    assert_eq!(comes_up_with(Versions::Either, Versions::Either), Ok(IkeVersion::V2));
    assert!(matches!(comes_up_with(Versions::V1, Versions::V2), Err(Failure::NoAnswer { .. })));
    assert!(comes_up_with(Versions::V2, Versions::V1).is_err());
}
