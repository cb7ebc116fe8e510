//! What a Child SA may be beside ESP in tunnel mode: transport and BEET mode, AH, compressed (RFC 7296 §1.3.1, §2.22,
//! §2.23.1), each from its making to its rekeying, with packets running through it.

use std::time::Duration;

use ike::{ChildSaStatus, Compress, Encap, Failure, Truncation};
use sa::{Encapsulation, FlowPadding, Mode, Protocol};
use testkit::{Pair, Scenario, Side, Weather, ah_proposal, esp_proposal, for_seeds};
use wire::v2::{Payload, STRONGSWAN_MARK};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Gives the scenario weather that the seed draws, and patience for it.
fn in_any_weather(seed: u64, scenario: Scenario) -> Scenario {
    let weather = [Weather::CLEAR, Weather::SHUFFLED, Weather::lossy(10), Weather::lossy(30)];
    scenario.weather(weather[seed as usize % weather.len()].clone()).both(|gateway| {
        gateway.settings.retransmission.tries = 25;
        gateway.settings.retransmission.limit = 10 * SECOND;
        gateway.settings.half_open_timeout = 10 * MINUTE;
    })
}

/// Brings the child up and lets the gateways themselves talk through it.
fn talking_themselves(scenario: Scenario) -> Pair {
    let flows = Side::BOTH.map(|side| scenario.own_flow(side));
    let mut pair = Pair::new(scenario);
    pair.connect();
    for flow in flows {
        pair.start_stream(flow, Duration::from_millis(25), 1000);
    }
    pair.run_for(SECOND);
    pair
}

/// Brings the child up and lets hosts behind the gateways talk through it.
fn talking(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.start_traffic(0, Duration::from_millis(25));
    pair.run_for(SECOND);
    pair
}

/// Rekeys the child from either end, or from both at once, while packets run.
fn is_rekeyed(pair: &mut Pair) {
    let first = *pair.random().pick(&Side::BOTH);
    let ticket = pair.rekey_child(first, "net").expect("it is up");
    let second = if pair.random().chance(50) { pair.rekey_child(first.other(), "net") } else { None };
    for ticket in second.into_iter().chain([ticket]) {
        assert_eq!(pair.finish(ticket), Ok(()));
    }
}

/// Lets them talk on until both ends are at rest, and checks that no packet was the SAs' loss.
fn ends_well(pair: &mut Pair) {
    pair.settle();
    pair.run_for(SECOND);
    pair.stop_traffic();
    pair.settle_and_check();
    for side in Side::BOTH {
        let tally = pair.tally(side);
        assert_eq!(tally.delivered + tally.lost_by_network, tally.sent, "{tally:?}");
        assert!(tally.delivered > 0);
    }
}

fn net(pair: &Pair, side: Side) -> ChildSaStatus {
    pair.children(side, "net").first().expect("it is up").clone()
}

#[test]
fn two_hosts_talk_in_transport_mode() {
    for_seeds(0..200, |seed| {
        let mut pair = talking_themselves(in_any_weather(seed, Scenario::host_to_host(seed)));
        for side in Side::BOTH {
            assert_eq!(net(&pair, side).mode, Mode::Transport);
            assert_eq!(net(&pair, side).encapsulation, Encapsulation::None);
        }
        is_rekeyed(&mut pair);
        ends_well(&mut pair);
        assert_eq!(net(&pair, Side::Left).mode, Mode::Transport);
    });
}

#[test]
fn transport_mode_behind_nats_knows_which_addresses_the_checksums_cover() {
    for_seeds(0..300, |seed| {
        let mut scenario = in_any_weather(seed, Scenario::host_to_host(seed));
        // Left, right, or both.
        if seed % 3 != 1 {
            scenario = scenario.behind_nat(Side::Left, 10 * MINUTE);
        }
        if seed % 3 != 0 {
            scenario = scenario.behind_nat(Side::Right, 10 * MINUTE);
        }
        let mut pair = talking_themselves(scenario);
        is_rekeyed(&mut pair);
        ends_well(&mut pair);
        for side in Side::BOTH {
            assert_eq!(net(&pair, side).encapsulation, Encapsulation::Udp);
        }
    });
}

#[test]
fn a_gateway_that_is_only_told_of_a_nat_substitutes_nothing() {
    let scenario = Scenario::host_to_host(1).both(|gateway| gateway.connection.encap = Encap::Always);
    let mut pair = talking_themselves(scenario);
    assert_eq!(net(&pair, Side::Right).encapsulation, Encapsulation::Udp);
    ends_well(&mut pair);
}

#[test]
fn beet_mode_joins_one_inner_address_at_each_end() {
    for_seeds(0..100, |seed| {
        let mut scenario = in_any_weather(seed, Scenario::site_to_site(seed));
        for side in Side::BOTH {
            scenario.gateway_mut(side).change_child("net", |child| {
                child.mode = Mode::Beet;
                let host = |side: Side| {
                    let address = testkit::flow(side, 0).source;
                    vec![ike::SelectorTemplate::Fixed(sa::TrafficSelector::all_of(sa::AddressRange::host(
                        address,
                    )))]
                };
                child.local_selectors = host(side);
                child.remote_selectors = host(side.other());
            });
        }
        let mut pair = talking(scenario);
        is_rekeyed(&mut pair);
        ends_well(&mut pair);
        assert_eq!(net(&pair, Side::Right).mode, Mode::Beet);
    });
}

#[test]
fn who_may_want_beet_mode_shows_the_mark_without_which_its_number_means_nothing() {
    for mode in [Mode::Tunnel, Mode::Beet] {
        let mut scenario = Scenario::host_to_host(1);
        for side in Side::BOTH {
            scenario.gateway_mut(side).change_child("net", |child| child.mode = mode);
        }
        let mut pair = Pair::new(scenario);
        pair.connect();
        for side in Side::BOTH {
            let messages = pair.messages(side);
            let first = wire::v2::decode(&messages[0]).expect("we made it");
            let mark = Payload::VendorId(STRONGSWAN_MARK.to_vec());
            assert_eq!(first.payloads.contains(&mark), mode == Mode::Beet, "{side:?}");
        }
    }
}

#[test]
fn ah_is_made_rekeyed_and_deleted_as_esp_is() {
    for_seeds(0..200, |seed| {
        let scenario = in_any_weather(seed, Scenario::site_to_site(seed));
        let scenario =
            scenario.both_children(|child| child.proposals = vec![ah_proposal("sha256-x25519-esn")]);
        let mut pair = talking(scenario);
        let before = net(&pair, Side::Left);
        assert_eq!((before.inbound.protocol, before.suite.protocol), (Protocol::Ah, Protocol::Ah));
        assert_eq!(before.suite.to_string(), "sha256-esn");
        is_rekeyed(&mut pair);
        ends_well(&mut pair);
        assert_ne!(net(&pair, Side::Left).inbound, before.inbound);
        // INFORMATIONAL { D(AH, our SPI) } -->
        let side = *pair.random().pick(&Side::BOTH);
        let ticket = pair.down_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
        assert!(Side::BOTH.iter().all(|side| pair.plane(*side).sas().is_empty()));
    });
}

#[test]
fn where_esp_and_ah_are_both_offered_the_responder_chooses() {
    let scenario = Scenario::site_to_site(1).both_children(|child| {
        child.proposals = vec![esp_proposal("aes128gcm16"), ah_proposal("sha256")];
    });
    let mut wants_ah = scenario;
    wants_ah.right.change_child("net", |child| child.proposals = vec![ah_proposal("sha256")]);
    let mut pair = talking(wants_ah);
    assert_eq!(net(&pair, Side::Left).inbound.protocol, Protocol::Ah);
    ends_well(&mut pair);
}

#[test]
fn ah_does_not_go_through_a_nat_and_says_so() {
    let scenario = Scenario::site_to_site(1)
        .behind_nat(Side::Left, MINUTE)
        .both_children(|child| child.proposals = vec![ah_proposal("sha256")]);
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it cannot work").to_string();
    assert_eq!(failure, "AH protects the addresses of packets, and a NAT between the two ends changes them");
    // Where ESP is offered beside it, that is taken.
    let scenario = Scenario::site_to_site(2).behind_nat(Side::Left, MINUTE).both_children(|child| {
        child.proposals = vec![ah_proposal("sha256"), esp_proposal("aes128gcm16")];
    });
    let mut pair = talking(scenario);
    assert_eq!(net(&pair, Side::Right).inbound.protocol, Protocol::Esp);
    ends_well(&mut pair);
}

#[test]
fn packets_are_compressed_where_both_ends_want_that() {
    for_seeds(0..100, |seed| {
        let mut scenario = in_any_weather(seed, Scenario::site_to_site(seed));
        let wanting: &[Side] = if seed % 2 == 0 { &Side::BOTH } else { &[Side::Left] };
        for side in wanting {
            scenario.gateway_mut(*side).change_child("net", |child| child.compress = Compress::Deflate);
        }
        let mut pair = talking(scenario);
        is_rekeyed(&mut pair);
        ends_well(&mut pair);
        for side in Side::BOTH {
            assert_eq!(net(&pair, side).compression.is_some(), wanting.len() == 2);
        }
    });
}

#[test]
fn lengths_are_hidden_from_a_peer_that_takes_padding() {
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.change_child("net", |child| child.handling.padding = FlowPadding::ToPathMtu);
    let pair = talking(scenario);
    assert_eq!(net(&pair, Side::Left).padding, FlowPadding::ToPathMtu);
    assert_eq!(net(&pair, Side::Right).padding, FlowPadding::None);
}

#[test]
fn a_peer_that_cuts_hmac_sha_256_too_short_is_met_where_the_configuration_says_so() {
    let scenario = Scenario::site_to_site(1).both_children(|child| {
        child.proposals = vec![esp_proposal("aes128-sha256")];
        child.truncation = Truncation::To96;
    });
    let mut pair = talking(scenario);
    assert_eq!(net(&pair, Side::Left).suite.to_string(), "aes128-sha256_96");
    is_rekeyed(&mut pair);
    ends_well(&mut pair);
}

#[test]
fn a_mode_that_only_one_end_wants_is_refused_with_both_names() {
    let one_sided = |mode: Mode, side: Side| {
        let mut scenario = Scenario::host_to_host(1);
        scenario = scenario.both_children(|child| child.mode = Mode::Tunnel);
        scenario.gateway_mut(side).change_child("net", |child| child.mode = mode);
        let mut pair = Pair::new(scenario);
        let ticket = pair.up(Side::Left, "net");
        let failure = match pair.finish(ticket) {
            Err(failure @ Failure::Exchange(_)) => failure.to_string(),
            other => panic!("{other:?}"),
        };
        pair.settle_and_check();
        assert!(Side::BOTH.iter().all(|side| pair.plane(*side).sas().is_empty()));
        failure
    };
    // The responder declines by saying nothing of it, and the initiator deletes what it cannot use.
    for (mode, word) in [(Mode::Transport, "transport"), (Mode::Beet, "BEET")] {
        let sentence = format!("the peer wants tunnel mode; configured is {word} mode");
        assert_eq!(one_sided(mode, Side::Left), sentence);
        assert!(one_sided(mode, Side::Right).contains("NO_PROPOSAL_CHOSEN"));
    }
}

#[test]
fn transport_mode_for_others_than_the_two_ends_is_refused_before_a_word_is_said() {
    let mut scenario = Scenario::host_to_host(1);
    scenario.left.change_child("net", |child| {
        child.local_selectors = vec![ike::SelectorTemplate::Fixed("10.1.0.0/16".parse().expect("a network"))];
    });
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it cannot work").to_string();
    let expected = "transport mode carries what 192.0.2.1 and 198.51.100.1 say themselves, and net is configured for \
                    10.1.0.0/16 <-> 198.51.100.1/32";
    assert_eq!(failure, expected);
}
