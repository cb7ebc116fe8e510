//! What quick modes agree on between two endpoints: AH, AH around ESP, compression, lifetimes in time and kilobytes.

use std::time::Duration;

use ike::{ChildConfig, Compress, Event, Lifetimes, MessageTrace, PayloadTrace, Phase1Mode, TraceDirection};
use sa::{Lifetime, Mode, Protocol};
use testkit::{AGELESS, Pair, Scenario, Side, Weather, ah_proposal, esp_proposal, flow, for_seeds};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn version_1(seed: u64, change: impl Fn(&mut ChildConfig)) -> Scenario {
    Scenario::site_to_site(seed).version_1().both_children(change)
}

fn connect(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    assert_eq!(pair.finish(ticket), Ok(()), "the child comes up");
    pair.start_stream(flow(Side::Left, 0), SECOND, 100);
    pair.run_until("both sides have the child", MINUTE, |pair| pair.is_up("net"));
    pair.stop_traffic();
    pair
}

/// Carries packets both ways while either end renews the keys, and takes the child away in the end.
fn carries_and_rekeys(pair: &mut Pair) {
    pair.start_traffic(0, Duration::from_millis(50));
    for side in Side::BOTH {
        let ticket = pair.rekey_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.run_for(20 * SECOND);
    }
    pair.stop_traffic();
    pair.settle_and_check();
    let ticket = pair.down_child(Side::Right, "net").expect("it is up");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle_and_check();
    assert!(Side::BOTH.iter().all(|side| pair.plane(*side).sas().is_empty()));
}

fn bundle(child: &mut ChildConfig) {
    child.proposals = vec![esp_proposal("aes128-sha256-ecp256")];
    child.wrapping = vec![ah_proposal("sha384-sha512")];
}

#[test]
fn ah_alone() {
    for_seeds(0..2000, |seed| {
        let mut pair = connect(
            version_1(seed, |child| child.proposals = vec![ah_proposal("sha256-ecp256")])
                .weather(Weather::SHUFFLED),
        );
        assert_eq!(pair.children(Side::Right, "net")[0].inbound.protocol, Protocol::Ah);
        carries_and_rekeys(&mut pair);
    });
}

#[test]
fn ah_around_esp_in_both_modes() {
    for_seeds(0..2000, |seed| {
        let mut pair = connect(version_1(seed, bundle).weather(Weather::SHUFFLED));
        let [left, right] = Side::BOTH.map(|side| pair.children(side, "net")[0].clone());
        let [outer_left, outer_right] = [&left, &right].map(|child| child.wrapper.clone().expect("a bundle"));
        assert_eq!((left.inbound.protocol, outer_left.inbound.protocol), (Protocol::Esp, Protocol::Ah));
        assert_eq!(outer_left.inbound.spi, outer_right.outbound.spi);
        assert_eq!(outer_left.suite.to_string(), "sha384");
        assert_eq!(pair.plane(Side::Left).sas().len(), 4);
        carries_and_rekeys(&mut pair);
    });
    let host = Scenario::host_to_host(1).version_1().both_children(bundle).both_children(|child| {
        child.mode = Mode::Transport;
    });
    let own = host.own_flow(Side::Left);
    let mut pair = Pair::new(host);
    let ticket = pair.up(Side::Left, "net");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.start_stream(own, SECOND, 100);
    pair.run_until("both sides have the child", MINUTE, |pair| pair.is_up("net"));
    pair.run_for(10 * SECOND);
    pair.stop_traffic();
    pair.settle_and_check();
}

#[test]
fn both_ends_rekey_a_bundle_at_once() {
    for_seeds(0..500, |seed| {
        let mut pair = connect(version_1(seed, bundle).weather(Weather::lossy(10)));
        pair.start_traffic(0, Duration::from_millis(50));
        let _tickets = Side::BOTH.map(|side| pair.rekey_child(side, "net").expect("it is up"));
        pair.run_for(3 * MINUTE);
        pair.stop_traffic();
        pair.check_faults();
        assert!(pair.is_up("net"));
    });
}

#[test]
fn a_bundle_is_had_with_those_who_want_one_only() {
    let mut scenario = version_1(1, bundle);
    scenario.right.change_child("net", |child| child.wrapping.clear());
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("they differ").to_string();
    assert_eq!(
        failure,
        "the peer refused quick mode with NO-PROPOSAL-CHOSEN (14): none of the combinations that we offered is \
         allowed there; we offered aes128-sha256-ecp256-noesn in AH with sha384-sha512-noesn for 10.1.0.0/24 <-> \
         10.2.0.0/24"
    );
    let behind_nat = version_1(1, bundle).behind_nat(Side::Left, 5 * MINUTE);
    let mut pair = Pair::new(behind_nat);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("AH passes no NAT").to_string();
    assert_eq!(failure, "AH protects the addresses of packets, and a NAT between the two ends changes them");
}

#[test]
fn compression_is_had_where_both_ends_want_it() {
    let deflate = |child: &mut ChildConfig| child.compress = Compress::Deflate;
    for change in [deflate as fn(&mut ChildConfig), |child| {
        bundle(child);
        child.compress = Compress::Deflate;
    }] {
        for_seeds(0..30, |seed| {
            let mut pair = connect(version_1(seed, change).weather(Weather::SHUFFLED));
            let [left, right] = Side::BOTH.map(|side| pair.children(side, "net")[0].compression);
            let ((ours, theirs), right) = (left.expect("both want it"), right.expect("both want it"));
            assert_eq!((theirs, ours), right);
            carries_and_rekeys(&mut pair);
        });
    }
    for side in Side::BOTH {
        let mut scenario = version_1(1, |_| {});
        scenario.gateway_mut(side).change_child("net", deflate);
        let pair = connect(scenario);
        assert!(Side::BOTH.iter().all(|side| pair.children(*side, "net")[0].compression.is_none()));
    }
}

/// Each end keeps the lesser of both ends' limits, whoever begins: an answer repeats the offer, so the responder says
/// its own in a notification.
#[test]
fn both_ends_keep_the_lesser_lifetime() {
    let long = |child: &mut ChildConfig| {
        child.lifetimes = Lifetimes { expire: 60 * MINUTE, ..AGELESS };
        child.volume = Lifetime { hard_bytes: 1 << 30, ..Lifetime::UNLIMITED };
    };
    let short = |child: &mut ChildConfig| {
        child.lifetimes = Lifetimes { expire: 10 * MINUTE, ..AGELESS };
        child.volume = Lifetime { hard_bytes: 1 << 20, ..Lifetime::UNLIMITED };
    };
    for shorter in Side::BOTH {
        let mut scenario = version_1(1, long);
        scenario.gateway_mut(shorter).change_child("net", short);
        let pair = connect(scenario);
        for side in Side::BOTH {
            let child = &pair.children(side, "net")[0];
            let life = child.expire_at.expect("it ends") - child.installed_at;
            assert_eq!(life, 10 * MINUTE, "{side} where {shorter} is shorter");
            assert_eq!(child.volume.hard_bytes, 1 << 20);
            assert!(child.volume.soft_bytes < child.volume.hard_bytes);
        }
    }
}

#[test]
fn a_child_that_has_carried_enough_is_replaced() {
    for_seeds(0..100, |seed| {
        let mut scenario = version_1(seed, |_| {}).weather(Weather::SHUFFLED);
        // Only the right has a limit; the left learns of it.
        scenario.right.change_child("net", |child| {
            child.volume = Lifetime { soft_bytes: 64_000, hard_bytes: 128 << 10, ..Lifetime::UNLIMITED };
        });
        let mut pair = connect(scenario);
        pair.start_traffic(0, Duration::from_millis(100));
        pair.run_for(5 * MINUTE);
        pair.stop_traffic();
        pair.check_faults();
        let replaced = |event: &&Event| matches!(event, Event::ChildRekeyed { .. });
        assert!(pair.events(Side::Right).iter().filter(replaced).count() >= 10);
        assert!(Side::BOTH.iter().all(|side| pair.tally(*side).lost_by_sas.is_empty()));
    });
}

#[test]
fn an_initiator_learns_how_long_the_responder_keeps_phase_1() {
    let life = |expire| Lifetimes { rekey: expire - 5 * MINUTE, rand: Duration::ZERO, expire };
    for shorter in Side::BOTH {
        let mut scenario = version_1(1, |_| {});
        scenario.left.connection.lifetimes = life(60 * MINUTE);
        scenario.right.connection.lifetimes = life(60 * MINUTE);
        scenario.gateway_mut(shorter).connection.lifetimes = life(20 * MINUTE);
        let pair = connect(scenario);
        for side in Side::BOTH {
            let ike = &pair.ike_sas(side)[0];
            let established = ike.established_at.expect("it is up");
            assert_eq!(ike.expire_at.expect("it ends") - established, 20 * MINUTE, "{side}, {shorter}");
            assert!(ike.rekey_at < ike.expire_at);
        }
    }
}

/// RFC 2407 §4.6.3: in main mode the last message says it, and is repeated until it has arrived; after aggressive mode, which
/// cannot protect it, an exchange of its own does.
#[test]
fn phase_1_is_said_to_be_shorter_where_it_is_protected() {
    let shorter = |seed, mode| {
        let mut scenario = version_1(seed, |_| {}).both(|gateway| gateway.settings.trace_messages = true);
        scenario = scenario.both(|gateway| gateway.connection.phase_1 = mode);
        scenario.right.connection.lifetimes = Lifetimes { expire: 20 * MINUTE, ..AGELESS };
        scenario
    };
    let says_it = |trace: &&MessageTrace| {
        let is_it = |payload: &PayloadTrace| payload.name == "N(RESPONDER-LIFETIME)";
        trace.direction == TraceDirection::Sent && trace.payloads.iter().any(is_it)
    };
    for (mode, exchange) in
        [(Phase1Mode::Main, "Identity Protection"), (Phase1Mode::Aggressive, "Informational")]
    {
        let pair = connect(shorter(1, mode));
        let traces = pair.traces(Side::Right).iter().filter(says_it);
        let exchanges: Vec<_> = traces.map(|trace| trace.exchange.as_str()).collect();
        assert!(exchanges.len() == 1 && exchanges[0].starts_with(exchange), "{exchanges:?}");
        assert!(!pair.traces(Side::Left).iter().any(|trace| says_it(&trace)));
    }
    for_seeds(0..100, |seed| {
        let pair = connect(shorter(seed, Phase1Mode::Main).weather(Weather::lossy(30)).patient());
        let ike = &pair.ike_sas(Side::Left)[0];
        let established = ike.established_at.expect("it is up");
        assert_eq!(ike.expire_at.expect("it ends") - established, 20 * MINUTE);
    });
}

/// What message 6 says of it could have been changed on the way.
#[test]
fn message_6_cannot_make_phase_1_too_short_to_be_of_use() {
    let mut scenario = version_1(1, |_| {});
    scenario.right.connection.lifetimes = Lifetimes { expire: 2 * SECOND, ..AGELESS };
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    assert_eq!(pair.finish(ticket), Ok(()));
    let ike = &pair.ike_sas(Side::Left)[0];
    assert_eq!(ike.expire_at.expect("it ends") - ike.established_at.expect("it is up"), MINUTE);
}

/// Children of one ISAKMP SA come up and are renewed all at once, each by a quick mode of its own.
#[test]
fn several_quick_modes_at_once() {
    const NAMES: [&str; 6] = ["net", "b", "c", "d", "e", "f"];
    for_seeds(0..400, |seed| {
        let mut scenario = version_1(seed, |_| {}).weather(Weather::lossy(10));
        for side in Side::BOTH {
            let gateway = scenario.gateway_mut(side);
            gateway.connection.keying_tries = 0;
            for (index, name) in (0..).zip(NAMES).skip(1) {
                let mut child = testkit::child(name, side, index);
                child.proposals = vec![esp_proposal("aes128gcm16-ecp256-noesn")];
                gateway.connection.children.push(std::sync::Arc::new(child));
            }
        }
        let mut pair = Pair::new(scenario);
        let tickets = NAMES.map(|name| pair.up(Side::Left, name));
        for ticket in tickets {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        let all_up = |pair: &Pair| NAMES.iter().all(|name| pair.is_up(name));
        pair.run_until("all are up", 5 * MINUTE, all_up);
        for index in 0..6 {
            pair.start_traffic(index, Duration::from_millis(200));
        }
        for side in Side::BOTH {
            pair.run_until("all are up", 5 * MINUTE, all_up);
            let tickets = NAMES.map(|name| pair.rekey_child(side, name).expect("it is up"));
            for ticket in tickets {
                assert_eq!(pair.finish(ticket), Ok(()));
            }
        }
        pair.run_for(5 * MINUTE);
        pair.stop_traffic();
        pair.check_faults();
        assert!(NAMES.iter().all(|name| pair.is_up(name)));
        assert_eq!(pair.ike_sas(Side::Left).len(), 1);
    });
}
