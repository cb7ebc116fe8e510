//! IKE_SA_INIT and IKE_AUTH over a network that loses, reorders, repeats and translates; and every way to be refused.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ike::{Encap, Failure, PeerAddresses, RetransmissionPolicy};
use sa::Encapsulation;
use testkit::{
    AGELESS, Cargo, Pair, Parcel, Scenario, Side, Weather, child, esp_proposal, flow, for_seeds,
    ike_proposal, site_address,
};
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::Payload;

const MINUTE: Duration = Duration::from_secs(60);

/// Brings the child up, moves packets both ways, and checks every invariant.
fn comes_up(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.start_traffic(0, Duration::from_millis(100));
    pair.run_for(Duration::from_secs(1));
    pair.stop_traffic();
    for side in Side::BOTH {
        let tally = pair.tally(side);
        assert_eq!(tally.delivered + tally.lost_by_network, tally.sent, "{tally:?}");
    }
    pair.settle_and_check();
    pair
}

/// Tries to bring the child up, and gives the failure.
fn fails(pair: &mut Pair) -> Failure {
    let ticket = pair.up(Side::Left, "net");
    pair.finish(ticket).expect_err("it must not come up")
}

/// Gives the payloads of a message in the clear.
fn clear_payloads(parcel: &Parcel) -> Vec<Payload> {
    let Cargo::Ike(bytes) = &parcel.cargo else { return Vec::new() };
    wire::v2::decode(bytes).map(|datagram| datagram.payloads).unwrap_or_default()
}

/// Tells whether a side has sent such a notify in the clear.
fn has_notified(pair: &Pair, side: Side, notify_type: NotifyType) -> bool {
    pair.sent(side)
        .flat_map(clear_payloads)
        .any(|payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == notify_type))
}

#[test]
fn a_tunnel_comes_up_whatever_the_order_and_number_of_datagrams() {
    for_seeds(0..300, |seed| {
        comes_up(Scenario::site_to_site(seed).weather(Weather::SHUFFLED));
    });
}

#[test]
fn a_tunnel_comes_up_with_ten_percent_lost_each_way() {
    for_seeds(0..300, |seed| {
        comes_up(Scenario::site_to_site(seed).weather(Weather::lossy(10)).patient());
    });
}

#[test]
fn a_tunnel_comes_up_with_thirty_percent_lost_each_way() {
    for_seeds(0..300, |seed| {
        comes_up(Scenario::site_to_site(seed).weather(Weather::lossy(30)).patient());
    });
}

#[test]
fn a_tunnel_comes_up_where_loss_comes_in_bursts() {
    let bursts = Weather { burst_percent: 10, burst_length: 4, ..Weather::SHUFFLED };
    for_seeds(0..200, |seed| {
        comes_up(Scenario::site_to_site(seed).weather(bursts.clone()).patient());
    });
}

#[test]
fn every_suite_comes_up() {
    let groups = ["x25519", "ecp256", "ecp384", "ecp521", "modp2048", "modp3072", "modp4096"];
    let ciphers = [
        "aes128gcm8",
        "aes192gcm8",
        "aes256gcm8",
        "aes128gcm12",
        "aes192gcm12",
        "aes256gcm12",
        "aes128gcm16",
        "aes192gcm16",
        "aes256gcm16",
        "chacha20poly1305",
        "aes128-sha256",
        "aes192-sha384",
        "aes256-sha512",
        "aes256-sha256",
    ];
    let prfs = ["prfsha256", "prfsha384", "prfsha512"];
    for_seeds(0..ciphers.len() as u64, |seed| {
        let nth = seed as usize % ciphers.len();
        let (cipher, group, prf) = (ciphers[nth], groups[nth % groups.len()], prfs[nth % prfs.len()]);
        let esn = if nth.is_multiple_of(2) { "esn" } else { "noesn" };
        let scenario = Scenario::site_to_site(seed)
            .suites(&format!("{cipher}-{prf}-{group}"), &format!("{cipher}-{group}-{esn}"));
        let mut pair = comes_up(scenario);
        for rekeyed in [pair.rekey_child(Side::Right, "net"), pair.rekey_ike(Side::Right)] {
            let ticket = rekeyed.expect("both are up");
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        pair.settle_and_check();
        let suite = pair.ike_sas(Side::Left)[0].suite.expect("it is agreed").to_string();
        assert_eq!(suite, format!("{cipher}-{prf}-{group}"));
    });
}

#[test]
fn a_left_behind_a_nat_floats_to_4500() {
    for_seeds(0..100, |seed| {
        let scenario =
            Scenario::site_to_site(seed).behind_nat(Side::Left, 5 * MINUTE).weather(Weather::SHUFFLED);
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
fn a_right_behind_a_nat_floats_to_4500() {
    for_seeds(0..100, |seed| {
        let scenario =
            Scenario::site_to_site(seed).behind_nat(Side::Right, 5 * MINUTE).weather(Weather::SHUFFLED);
        let pair = comes_up(scenario);
        let left = &pair.ike_sas(Side::Left)[0];
        assert!(left.nat.remote && !left.nat.local);
        assert_eq!(left.path.remote.port(), 4500);
        assert_eq!(left.children[0].encapsulation, Encapsulation::Udp);
    });
}

#[test]
fn a_tunnel_comes_up_with_a_nat_at_both_ends() {
    for_seeds(0..100, |seed| {
        let scenario = Scenario::site_to_site(seed)
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
    let pair = comes_up(Scenario::site_to_site(1));
    let left = &pair.ike_sas(Side::Left)[0];
    assert_eq!((left.path.local.port(), left.path.remote.port()), (500, 500));
    assert_eq!(left.children[0].encapsulation, Encapsulation::None);

    let pair = comes_up(Scenario::site_to_site(1).both(|gateway| gateway.connection.encap = Encap::Always));
    let left = &pair.ike_sas(Side::Left)[0];
    assert_eq!(left.path.remote.port(), 4500);
    assert_eq!(left.children[0].encapsulation, Encapsulation::Udp);
}

#[test]
fn keepalives_hold_a_mapping_open_and_a_rebound_one_is_followed() {
    for_seeds(0..20, |seed| {
        let scenario = Scenario::site_to_site(seed).behind_nat(Side::Left, Duration::from_secs(30));
        let mut pair = comes_up(scenario);
        pair.run_for(10 * MINUTE);
        pair.start_stream(flow(Side::Right, 0), Duration::from_millis(50), 500);
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.tally(Side::Right).lost_by_network, 0, "the mapping was kept open");
        pair.stop_traffic();

        pair.network.nats[Side::Left.index()].as_mut().expect("it is there").rebind();
        // The left's next packet shows the right where it is now.
        pair.start_stream(flow(Side::Left, 0), Duration::from_millis(50), 500);
        pair.run_for(Duration::from_secs(5));
        let before = pair.tally(Side::Right).clone();
        pair.start_stream(flow(Side::Right, 0), Duration::from_millis(50), 500);
        pair.run_for(Duration::from_secs(5));
        pair.stop_traffic();
        let after = pair.tally(Side::Right);
        assert_eq!(after.delivered - before.delivered, after.sent - before.sent);
        pair.settle_and_check();
    });
}

#[test]
fn long_messages_go_in_fragments_where_long_packets_vanish() {
    for_seeds(0..100, |seed| {
        // Forty proposals make IKE_AUTH longer than any packet that passes.
        let narrow = Weather { largest_packet: 700, ..Weather::SHUFFLED };
        let scenario = Scenario::site_to_site(seed)
            .weather(narrow)
            .both(|gateway| gateway.settings.fragment_size = 600)
            .both_children(|child| child.proposals = vec![esp_proposal("aes128gcm16-esn"); 40]);
        let pair = comes_up(scenario);
        let fragments = pair.sent(Side::Left).filter(|parcel| {
            let Cargo::Ike(bytes) = &parcel.cargo else { return false };
            wire::v2::decode(bytes)
                .is_ok_and(|datagram| datagram.encrypted.is_some_and(|it| it.fragment.is_some()))
        });
        assert!(fragments.count() >= 2);
    });
}

#[test]
fn a_group_that_only_one_side_wants_costs_one_more_round() {
    for_seeds(0..100, |seed| {
        let mut scenario = Scenario::site_to_site(seed).weather(Weather::SHUFFLED);
        scenario.left.propose("aes128gcm16-prfsha256-ecp256-x25519");
        scenario.right.propose("aes128gcm16-prfsha256-x25519");
        let pair = comes_up(scenario);
        assert!(has_notified(&pair, Side::Right, NotifyType::INVALID_KE_PAYLOAD));
    });
}

#[test]
fn the_second_proposal_is_taken_where_the_first_does_not_please() {
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.connection.proposals.insert(0, ike_proposal("aes256-sha512-modp2048"));
    let pair = comes_up(scenario);
    let suite = pair.ike_sas(Side::Right)[0].suite.expect("it is agreed").to_string();
    assert_eq!(suite, "aes128gcm16-prfsha256-x25519");
}

#[test]
fn a_flood_of_strangers_makes_everybody_return_a_cookie_and_the_friend_still_comes_up() {
    for_seeds(0..20, |seed| {
        let mut pair = Pair::new(flooded(seed));
        flood(&mut pair, 100, |stranger| IpAddr::from([203, 0, 113, stranger]));
        pair.connect();
        assert!(has_notified(&pair, Side::Right, NotifyType::COOKIE));
        pair.run_for(5 * MINUTE);
        pair.settle_and_check();
    });
}

#[test]
fn a_key_of_ml_kem_comes_again_with_the_cookie() {
    let suites =
        |scenario: Scenario| scenario.suites("aes128gcm16-prfsha256-mlkem768-x25519", "aes128gcm16-esn");
    let mut pair = Pair::new(suites(flooded(4)));
    flood(&mut pair, 100, |stranger| IpAddr::from([203, 0, 113, stranger]));
    pair.connect();
    assert!(has_notified(&pair, Side::Right, NotifyType::COOKIE));
    let suite = pair.ike_sas(Side::Left)[0].suite.expect("it is agreed").to_string();
    assert_eq!(suite, "aes128gcm16-prfsha256-mlkem768");
}

#[test]
fn one_strangers_half_open_sas_are_limited() {
    let mut pair = Pair::new(flooded(3));
    flood(&mut pair, 50, |_| IpAddr::from([203, 0, 113, 7]));
    let answers = pair.sent(Side::Right).filter(|parcel| {
        let Cargo::Ike(bytes) = &parcel.cargo else { return false };
        wire::v2::decode(bytes).is_ok_and(|datagram| !datagram.header.responder_spi.is_zero())
    });
    // The others were asked for a cookie, which none of them brings back.
    assert_eq!(answers.count(), ike::limits::HALF_OPEN_PER_ADDRESS_BEFORE_COOKIES);
    assert!(has_notified(&pair, Side::Right, NotifyType::COOKIE));
    // They are forgotten, and the address may try again.
    pair.run_for(5 * MINUTE);
    pair.check_nothing_left(Side::Right);
}

fn flooded(seed: u64) -> Scenario {
    let mut scenario = Scenario::site_to_site(seed);
    scenario.right.connection.remote_addresses = PeerAddresses::Any;
    scenario
}

/// Sends the right IKE_SA_INIT requests that nobody goes on with.
fn flood(pair: &mut Pair, number: u8, address: impl Fn(u8) -> IpAddr) {
    let template = init_request(1);
    for stranger in 0..number {
        let mut bytes = template.clone();
        bytes[..8].copy_from_slice(&[stranger + 1; 8]);
        let source = SocketAddr::new(address(stranger), 500);
        let destination = SocketAddr::new(site_address(Side::Right), 500);
        let parcel = Parcel { source, destination, cargo: Cargo::Ike(bytes) };
        pair.inject(Side::Right, parcel, Duration::from_millis(stranger.into()));
    }
    pair.run_for(Duration::from_secs(1));
}

/// Gives an IKE_SA_INIT request of another run.
fn init_request(seed: u64) -> Vec<u8> {
    let mut pair = Pair::new(Scenario::site_to_site(seed));
    pair.connect();
    let mut requests = pair.sent(Side::Left).filter_map(|parcel| match &parcel.cargo {
        Cargo::Ike(bytes) => Some(bytes.clone()),
        Cargo::Keepalive | Cargo::Esp(_) | Cargo::Plain(_) => None,
    });
    let request = requests.next().expect("the left sent something");
    assert_eq!(
        wire::v2::decode(&request).expect("it is whole").header.exchange_type,
        ExchangeType::IKE_SA_INIT
    );
    request
}

#[test]
fn another_secret_is_refused_and_leaves_nothing() {
    for_seeds(0..50, |seed| {
        let mut scenario = Scenario::site_to_site(seed).weather(Weather::SHUFFLED);
        scenario.right.secret = b"something else".to_vec();
        let mut pair = Pair::new(scenario);
        let failure = fails(&mut pair).to_string();
        assert!(failure.contains("AUTHENTICATION_FAILED"), "{failure}");
        assert!(
            failure.contains("we are left.example by a pre-shared key and want right.example"),
            "{failure}"
        );
        pair.run_for(10 * MINUTE);
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    });
}

#[test]
fn a_responder_with_another_identity_is_refused_by_the_initiator_too() {
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.connection.remote_identity =
        ike::IdentityPattern::parse("mallory.example").expect("a name");
    let mut pair = Pair::new(scenario);
    fails(&mut pair);
    pair.run_for(10 * MINUTE);
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
}

#[test]
fn proposals_without_a_common_suite_name_both_sides() {
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.propose("aes256gcm16-prfsha384-ecp384");
    let mut pair = Pair::new(scenario);
    let failure = fails(&mut pair).to_string();
    assert!(failure.contains("NO_PROPOSAL_CHOSEN") && failure.contains("aes256gcm16"), "{failure}");
    pair.run_for(10 * MINUTE);
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
}

#[test]
fn selectors_that_do_not_meet_fail_the_child_and_leave_the_ike_sa() {
    for_seeds(0..50, |seed| {
        let mut scenario = Scenario::site_to_site(seed).weather(Weather::SHUFFLED);
        let elsewhere = child("net", Side::Right, 9);
        scenario
            .right
            .change_child("net", |child| child.local_selectors.clone_from(&elsewhere.local_selectors));
        let mut pair = Pair::new(scenario);
        let failure = fails(&mut pair).to_string();
        assert!(failure.contains("TS_UNACCEPTABLE"), "{failure}");
        pair.settle_and_check();
        for side in Side::BOTH {
            assert_eq!(pair.ike_sas(side).len(), 1);
            assert!(pair.plane(side).sas().is_empty());
        }
    });
}

#[test]
fn esp_proposals_without_a_common_suite_fail_the_child_and_leave_the_ike_sa() {
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.change_child("net", |child| child.proposals = vec![esp_proposal("aes256-sha512")]);
    let mut pair = Pair::new(scenario);
    let failure = fails(&mut pair).to_string();
    assert!(failure.contains("NO_PROPOSAL_CHOSEN"), "{failure}");
    pair.settle_and_check();
    assert_eq!(pair.ike_sas(Side::Right).len(), 1);
}

#[test]
fn narrower_selectors_of_the_responder_are_taken() {
    let mut scenario = Scenario::site_to_site(1);
    let narrow = "10.2.0.0/26".parse().expect("a prefix");
    scenario
        .right
        .change_child("net", |child| child.local_selectors = vec![ike::SelectorTemplate::Fixed(narrow)]);
    let pair = comes_up(scenario);
    assert_eq!(pair.children(Side::Left, "net")[0].remote_selectors, [narrow]);
}

#[test]
fn everybody_who_waits_is_told_of_a_failure() {
    let refused = |change: fn(&mut Scenario)| {
        let mut scenario = Scenario::site_to_site(1);
        scenario.left.connection.children.push(Arc::new(child("more", Side::Left, 1)));
        change(&mut scenario);
        let mut pair = Pair::new(scenario);
        let tickets = ["net", "net", "more"].map(|child| pair.up(Side::Left, child));
        for ticket in tickets {
            assert!(pair.finish(ticket).is_err());
        }
        pair.run_for(10 * MINUTE);
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    };
    refused(|scenario| scenario.right.secret = b"something else".to_vec());
    refused(|scenario| scenario.left.propose("aes256gcm16-prfsha384-ecp384"));
    refused(|scenario| scenario.weather = Weather::DEAD);
}

#[test]
fn children_wanted_together_come_up_together() {
    for_seeds(0..50, |seed| {
        let mut scenario = Scenario::site_to_site(seed).weather(Weather::lossy(10)).patient();
        for side in Side::BOTH {
            let children = (1..4).map(|index| Arc::new(child(&format!("net{index}"), side, index)));
            scenario.gateway_mut(side).connection.children.extend(children);
        }
        let mut pair = Pair::new(scenario);
        let tickets = ["net", "net1", "net2", "net3"].map(|child| pair.up(Side::Left, child));
        for ticket in tickets {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        (0..4).for_each(|index| pair.start_traffic(index, Duration::from_millis(100)));
        pair.run_for(Duration::from_secs(1));
        pair.stop_traffic();
        pair.settle_and_check();
        assert_eq!(pair.ike_sas(Side::Right)[0].children.len(), 4);
    });
}

#[test]
fn nobody_there_is_told_after_the_last_try_and_leaves_nothing() {
    let scenario = Scenario::site_to_site(1).weather(Weather::DEAD);
    let mut pair = Pair::new(scenario);
    let failure = fails(&mut pair);
    assert!(matches!(failure, Failure::NoAnswer { tries: 6, .. }), "{failure:?}");
    // RetransmissionPolicy::STRONGSWAN gives up after 165 s, less its jitter.
    assert!((MINUTE * 2..MINUTE * 3).contains(&pair.elapsed()), "{:?}", pair.elapsed());
    assert_eq!(pair.scenario().left.settings.retransmission, RetransmissionPolicy::STRONGSWAN);
    pair.check_nothing_left(Side::Left);
}

#[test]
fn both_ends_that_begin_at_once_come_up() {
    for_seeds(0..100, |seed| {
        let scenario = Scenario::site_to_site(seed).weather(Weather::SHUFFLED);
        let mut pair = Pair::new(scenario);
        let tickets = Side::BOTH.map(|side| pair.up(side, "net"));
        for ticket in tickets {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        pair.settle();
        pair.check_agreement();
        pair.start_traffic(0, Duration::from_millis(100));
        pair.run_for(Duration::from_secs(2));
        pair.stop_traffic();
        pair.check_agreement();
    });
}

#[test]
fn spoiled_datagrams_never_install_anything_that_the_peer_does_not_have() {
    let spoiling = Weather { corrupt_percent: 25, ..Weather::SHUFFLED };
    for_seeds(0..300, |seed| {
        let mut pair = Pair::new(Scenario::site_to_site(seed).weather(spoiling.clone()));
        let ticket = pair.up(Side::Left, "net");
        let result = pair.finish(ticket);
        pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
        pair.run_for(10 * MINUTE);
        match result {
            Ok(()) => pair.check(),
            Err(_) => pair.check_faults(),
        }
    });
}

#[test]
fn a_trap_brings_the_child_up_with_the_first_packet_and_lets_none_pass_in_plaintext() {
    for_seeds(0..100, |seed| {
        let scenario = Scenario::site_to_site(seed)
            .weather(Weather::SHUFFLED)
            .both_children(|child| child.start_action = ike::StartAction::Trap);
        let mut pair = Pair::new(scenario);
        pair.run_for(MINUTE);
        assert!(pair.ike_sas(Side::Left).is_empty(), "nobody has asked yet");
        pair.start_stream(flow(Side::Left, 0), Duration::from_millis(100), 100);
        pair.run_until("the child is up", MINUTE, |pair| pair.is_up("net"));
        let before = pair.tally(Side::Left).clone();
        pair.run_for(Duration::from_secs(5));
        pair.stop_traffic();
        let after = pair.tally(Side::Left);
        assert!(after.awaiting > 0);
        assert!(after.delivered > before.delivered + 40);
        pair.settle_and_check();
    });
}

#[test]
fn a_child_with_start_action_start_comes_up_by_itself() {
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.change_child("net", |child| child.start_action = ike::StartAction::Start);
    let mut pair = Pair::new(scenario);
    pair.run_until("the child is up", MINUTE, |pair| pair.is_up("net"));
    pair.settle_and_check();
    assert_eq!(pair.scenario().left.connection.lifetimes, AGELESS);
}
