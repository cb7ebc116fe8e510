//! Optimized rekeying (draft-ietf-ipsecme-ikev2-sa-ts-payloads-opt): what a replacement leaves out, what it inherits, what is
//! refused, and that the regular way is open whenever the short one is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ike::{
    CloseAction, Command, Compress, Event, Failure, Lifetimes, MessageTrace, OptimizedRekey, Resumption,
    TraceDirection,
};
use sa::transform;
use testkit::{Impostor, Pair, Scenario, Side, Weather, child, esp_proposal, for_seeds};
use wire::registry::v1::IpcompTransformId;
use wire::registry::{ExchangeType, KeyExchangeId, NotifyType, ProtocolId};
use wire::v2::{KEYWAY_MARK, KeyExchange, Notify, Payload};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Both ends know optimized rekeying.
fn optimizing(seed: u64) -> Scenario {
    Scenario::site_to_site(seed).both(|gateway| {
        gateway.connection.optimized_rekey = OptimizedRekey::Yes;
        gateway.settings.trace_messages = true;
    })
}

fn connected(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    pair
}

fn rekey_child(pair: &mut Pair, side: Side) {
    let ticket = pair.rekey_child(side, "net").expect("it is up");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle_and_check();
}

fn rekey_ike(pair: &mut Pair, side: Side) {
    let ticket = pair.rekey_ike(side).expect("it is up");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle_and_check();
}

fn names(trace: &MessageTrace) -> Vec<&str> {
    trace.payloads.iter().map(|payload| payload.name.as_str()).collect()
}

/// Gives the payloads of the CREATE_CHILD_SA messages that a side sent.
fn sent(pair: &Pair, side: Side) -> Vec<Vec<&str>> {
    let traces = pair.traces(side).iter();
    let sent =
        traces.filter(|trace| trace.direction == TraceDirection::Sent && trace.exchange == "CREATE_CHILD_SA");
    sent.map(names).collect()
}

const SHORT_CHILD: [&str; 3] = ["N(REKEY_SA)", "N(OPTIMIZED_REKEY)", "Nonce"];
const SHORT_IKE: [&str; 3] = ["N(OPTIMIZED_REKEY)", "Nonce", "KE"];

// --- What is left out ----------------------------------------------------------------------------------------------

#[test]
fn either_end_replaces_either_sa_by_what_is_new_alone() {
    for side in Side::BOTH {
        let mut pair = connected(optimizing(1));
        let before = pair.ike_sas(Side::Left)[0].clone();
        // §5.1: the Child SA of IKE_AUTH has not said yet whether it has key exchanges of its own.
        rekey_child(&mut pair, side);
        assert_eq!(sent(&pair, side), [["N(REKEY_SA)", "SA", "Nonce", "TSi", "TSr"]]);
        // CREATE_CHILD_SA { N(REKEY_SA), N(OPTIMIZED_REKEY), Ni } -->
        rekey_child(&mut pair, side);
        assert_eq!(sent(&pair, side)[1], SHORT_CHILD);
        assert_eq!(sent(&pair, side.other())[1], ["N(OPTIMIZED_REKEY)", "Nonce"]);
        // CREATE_CHILD_SA { N(OPTIMIZED_REKEY), Ni, KEi } -->
        rekey_ike(&mut pair, side);
        assert_eq!(sent(&pair, side)[2], SHORT_IKE);
        assert_eq!(sent(&pair, side.other())[2], SHORT_IKE);
        // §3: the agreement holds for the new IKE SA, too, whoever made it.
        rekey_child(&mut pair, side.other());
        assert_eq!(sent(&pair, side.other())[3], SHORT_CHILD);
        rekey_ike(&mut pair, side.other());
        assert_eq!(sent(&pair, side.other())[4], SHORT_IKE);
        let after = pair.ike_sas(Side::Left)[0].clone();
        assert_ne!(after.initiator_spi, before.initiator_spi);
        assert_ne!(after.children[0].inbound, before.children[0].inbound);
        assert_eq!(after.suite, before.suite);
        assert_eq!(after.children[0].suite, before.children[0].suite);
        assert_eq!(after.children[0].local_selectors, before.children[0].local_selectors);
    }
}

#[test]
fn a_child_that_was_made_alone_is_replaced_the_short_way_at_once() {
    let mut scenario = optimizing(1).suites("aes128gcm16-prfsha256-x25519", "aes128gcm16-x25519-esn");
    for side in Side::BOTH {
        scenario.gateway_mut(side).connection.children.push(Arc::new(child("more", side, 1)));
    }
    let scenario = scenario.both(|gateway| {
        gateway.change_child("more", |child| child.proposals = vec![esp_proposal("aes128gcm16-x25519-esn")]);
    });
    let mut pair = connected(scenario);
    let ticket = pair.up(Side::Left, "more");
    assert_eq!(pair.finish(ticket), Ok(()));
    let before = pair.children(Side::Left, "more")[0].clone();
    let ticket = pair.rekey_child(Side::Left, "more").expect("it is up");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle_and_check();
    // §5: with perfect forward secrecy there is a KE payload, of the same method.
    assert_eq!(sent(&pair, Side::Left)[1], ["N(REKEY_SA)", "N(OPTIMIZED_REKEY)", "Nonce", "KE"]);
    assert_eq!(pair.children(Side::Left, "more")[0].suite, before.suite);
}

#[test]
fn a_compressed_child_gets_new_indices_and_every_other_property_is_inherited() {
    let scenario = optimizing(1).both_children(|child| child.compress = Compress::Deflate);
    let mut pair = connected(scenario);
    rekey_child(&mut pair, Side::Left);
    let before = pair.children(Side::Left, "net")[0].clone();
    rekey_child(&mut pair, Side::Right);
    let expected = ["N(REKEY_SA)", "N(OPTIMIZED_REKEY)", "Nonce", "N(IPCOMP_SUPPORTED)"];
    assert_eq!(sent(&pair, Side::Right)[1], expected);
    assert_eq!(sent(&pair, Side::Left)[1], ["N(OPTIMIZED_REKEY)", "Nonce", "N(IPCOMP_SUPPORTED)"]);
    let after = pair.children(Side::Left, "net")[0].clone();
    let (ours, theirs) = after.compression.expect("it goes on compressing");
    assert_ne!(Some((ours, theirs)), before.compression);
    assert_eq!(pair.children(Side::Right, "net")[0].compression, Some((theirs, ours)));
}

#[test]
fn transport_mode_is_inherited_without_being_said() {
    let scenario = Scenario::host_to_host(1).both(|gateway| {
        gateway.connection.optimized_rekey = OptimizedRekey::Yes;
        gateway.settings.trace_messages = true;
    });
    let mut pair = connected(scenario);
    rekey_child(&mut pair, Side::Left);
    rekey_child(&mut pair, Side::Left);
    // §5: notifies that can affect the properties must not be sent.
    assert_eq!(sent(&pair, Side::Left)[1], SHORT_CHILD);
    let modes = Side::BOTH.map(|side| pair.children(side, "net")[0].mode);
    assert_eq!(modes, [sa::Mode::Transport; 2]);
}

// §7.1.
#[test]
fn additional_key_exchanges_follow_as_they_did() {
    let suites = ("aes128gcm16-prfsha256-x25519-ke1_ecp256", "aes128gcm16-x25519-ke1_ecp256-esn");
    let mut pair = connected(optimizing(1).suites(suites.0, suites.1));
    let followed = |pair: &Pair| {
        let is_it = |trace: &&MessageTrace| trace.exchange == "IKE_FOLLOWUP_KE";
        pair.traces(Side::Left).iter().filter(is_it).count()
    };
    rekey_child(&mut pair, Side::Left);
    let before = followed(&pair);
    rekey_child(&mut pair, Side::Left);
    rekey_ike(&mut pair, Side::Left);
    assert_eq!(sent(&pair, Side::Left)[1][..3], SHORT_CHILD);
    assert_eq!(sent(&pair, Side::Left)[2], SHORT_IKE);
    assert_eq!(followed(&pair), before + 4, "a request and a response of each");
}

// §7.2.
#[test]
fn after_a_resumption_the_first_child_has_the_key_exchanges_of_the_ike_sa() {
    let mut scenario = optimizing(1).both(|gateway| {
        gateway.connection.resumption = Resumption::Yes;
        gateway.connection.keying_tries = 0;
    });
    scenario.left.connection.liveness_delay = 30 * SECOND;
    scenario.left.change_child("net", |child| child.liveness_action = CloseAction::Start);
    let mut pair = connected(scenario);
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    pair.run_until("the left misses the right", 10 * MINUTE, |pair| !pair.is_up("net"));
    pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
    pair.run_until("the tunnel is back", 10 * MINUTE, |pair| pair.is_up("net"));
    pair.settle();
    rekey_child(&mut pair, Side::Right);
    assert_eq!(sent(&pair, Side::Right)[0], ["N(REKEY_SA)", "N(OPTIMIZED_REKEY)", "Nonce", "KE"]);
}

// --- When the regular way is taken ----------------------------------------------------------------------------------

#[test]
fn without_both_ends_agreement_everything_is_said() {
    for side in Side::BOTH {
        let mut scenario = optimizing(1);
        scenario.gateway_mut(side).connection.optimized_rekey = OptimizedRekey::No;
        let mut pair = connected(scenario);
        for _ in 0..2 {
            rekey_child(&mut pair, Side::Left);
            rekey_ike(&mut pair, Side::Right);
        }
        let all = [sent(&pair, Side::Left), sent(&pair, Side::Right)].concat();
        assert_eq!(all.len(), 8);
        assert!(all.iter().all(|payloads| payloads.contains(&"SA")), "{all:?}");
        // §3: the responder says nothing of it if the initiator does not, or if it does not want it.
        let says = pair.traces(Side::Right).iter().any(|trace| {
            trace.direction == TraceDirection::Sent && names(trace).contains(&"N(OPTIMIZED_REKEY_SUPPORTED)")
        });
        assert!(!says);
    }
}

/// Loads a side's connection anew, with a change that no SA shows.
fn reconfigure(pair: &mut Pair, side: Side) {
    let mut connection = pair.scenario().gateway(side).connection.clone();
    connection.keying_tries += 1;
    pair.command(side, Command::Load(Arc::new(connection)));
}

// §3.
#[test]
fn who_is_configured_anew_asks_the_regular_way_and_refuses_the_short_one() {
    let mut pair = connected(optimizing(1));
    rekey_child(&mut pair, Side::Left);
    reconfigure(&mut pair, Side::Right);
    // CREATE_CHILD_SA { N(REKEY_SA), N(OPTIMIZED_REKEY), Ni } -->   <-- { N(NO_PROPOSAL_CHOSEN) }
    rekey_child(&mut pair, Side::Left);
    assert_eq!(sent(&pair, Side::Left)[1], SHORT_CHILD);
    assert_eq!(sent(&pair, Side::Right)[1], ["N(NO_PROPOSAL_CHOSEN)"]);
    assert_eq!(sent(&pair, Side::Left)[2], ["N(REKEY_SA)", "SA", "Nonce", "TSi", "TSr"]);
    rekey_ike(&mut pair, Side::Left);
    assert_eq!(sent(&pair, Side::Left)[3], SHORT_IKE);
    assert_eq!(sent(&pair, Side::Right)[3], ["N(NO_PROPOSAL_CHOSEN)"]);
    assert_eq!(sent(&pair, Side::Left)[4], ["SA", "Nonce", "KE"]);
    let before = sent(&pair, Side::Right).len();
    rekey_child(&mut pair, Side::Right);
    rekey_ike(&mut pair, Side::Right);
    assert!(sent(&pair, Side::Right)[before..].iter().all(|payloads| payloads.contains(&"SA")));
}

/// What the right sends and the left refuses.
struct Refusals {
    pair: Pair,
    impostor: Impostor,
}

impl Refusals {
    fn by(scenario: Scenario) -> Refusals {
        let (pair, impostor) = Impostor::takes_over(scenario);
        Refusals { pair, impostor }
    }

    fn check(&mut self, what: &str, payloads: &[Payload]) {
        let sas = |pair: &Pair| -> Vec<_> {
            let ike_sas = pair.ike_sas(Side::Left).into_iter();
            ike_sas
                .map(|ike| {
                    (ike.initiator_spi, ike.children.iter().map(|child| child.inbound).collect::<Vec<_>>())
                })
                .collect()
        };
        let before = sas(&self.pair);
        let answer = self.impostor.asks(&mut self.pair, ExchangeType::CREATE_CHILD_SA, payloads);
        let expected = vec![Payload::Notify(Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, []))];
        assert_eq!(answer, Some(expected), "{what}");
        assert_eq!(sas(&self.pair), before, "{what}");
    }

    // N(REKEY_SA)
    fn rekey_sa(&self) -> Payload {
        let child = self.pair.ike_sas(Side::Left)[0].children[0].clone();
        Payload::Notify(Notify::about(ProtocolId::ESP, child.outbound.spi, NotifyType::REKEY_SA))
    }
}

fn optimized(spi: &[u8]) -> Payload {
    Payload::Notify(Notify::new(NotifyType::OPTIMIZED_REKEY, spi))
}

fn nonce() -> Payload {
    Payload::Nonce(vec![9; 32])
}

fn key(id: KeyExchangeId) -> Payload {
    let group = transform::group(id).expect("it is in the table");
    let private = group.key_exchange.generate().expect("there is randomness");
    Payload::KeyExchange(KeyExchange { group: id, data: private.public().to_vec() })
}

// §3: whatever stands in the way of an optimized rekeying, the answer is NO_PROPOSAL_CHOSEN.
#[test]
fn what_cannot_be_replaced_so_is_refused_and_stays_as_it_is() {
    let x25519 = || key(KeyExchangeId::CURVE25519);
    let mut never = Refusals::by(Scenario::site_to_site(1));
    never.check("it was not agreed on", &[never.rekey_sa(), optimized(&[1, 2, 3, 4]), nonce()]);
    never.check("it was not agreed on", &[optimized(&[7; 8]), nonce(), x25519()]);

    let mut fresh = Refusals::by(optimizing(1));
    fresh.check("the child is of IKE_AUTH", &[fresh.rekey_sa(), optimized(&[1, 2, 3, 4]), nonce()]);
    fresh.check("no key", &[optimized(&[7; 8]), nonce()]);
    fresh.check("another key", &[optimized(&[7; 8]), nonce(), key(KeyExchangeId::ECP_256)]);
    for spi in [&[][..], &[7; 4], &[7; 7], &[7; 9], &[0; 8]] {
        fresh.check("no SPI of an IKE SA", &[optimized(spi), nonce(), x25519()]);
    }

    let mut scenario = optimizing(1).both_children(|child| child.compress = Compress::Deflate);
    scenario.left.connection.childless = ike::Childless::Prefer;
    let mut alone = Refusals::by(scenario);
    let index = || Payload::Notify(Notify::ipcomp(300, IpcompTransformId::DEFLATE));
    for spi in [&[][..], &[7; 3], &[7; 5], &[7; 8], &[0; 4], &[0, 0, 0, 255]] {
        alone.check("no SPI of a Child SA", &[alone.rekey_sa(), optimized(spi), nonce(), index()]);
    }
    alone.check("no index", &[alone.rekey_sa(), optimized(&[1, 2, 3, 4]), nonce()]);
    let with_key = [alone.rekey_sa(), optimized(&[1, 2, 3, 4]), nonce(), x25519(), index()];
    alone.check("a key where there was none", &with_key);
    // And what is right is taken, so that it was not that.
    let right = [alone.rekey_sa(), optimized(&[1, 2, 3, 4]), nonce(), index()];
    let answer = alone.impostor.asks(&mut alone.pair, ExchangeType::CREATE_CHILD_SA, &right);
    let [Payload::Notify(notify), Payload::Nonce(_), Payload::Notify(_)] =
        &answer.expect("it is answered")[..]
    else {
        panic!("N(OPTIMIZED_REKEY), Nr, N(IPCOMP_SUPPORTED)")
    };
    assert_eq!((notify.notify_type, notify.data.len()), (NotifyType::OPTIMIZED_REKEY, 4));
    assert_eq!((notify.protocol, notify.spi.len()), (ProtocolId::NONE, 0));
}

#[test]
fn an_answer_without_a_new_spi_makes_no_sa() {
    let mut scenario = optimizing(1);
    scenario.left.connection.childless = ike::Childless::Prefer;
    let (mut pair, impostor) = Impostor::takes_over(scenario);
    let before = pair.children(Side::Left, "net")[0].inbound;
    let ticket = pair.rekey_child(Side::Left, "net").expect("it is up");
    let (_, asked) = impostor.heard(&pair);
    assert!(asked.iter().any(|payload| matches!(payload,
        Payload::Notify(notify) if notify.notify_type == NotifyType::OPTIMIZED_REKEY)));
    impostor.answers(&mut pair, &[nonce()]);
    assert!(pair.result(ticket).expect("it is over").is_err());
    assert_eq!(pair.children(Side::Left, "net")[0].inbound, before);
}

// RFC 7296 §3.10.1, §3.12: a number for private use means nothing without the mark of those who use it.
#[test]
fn without_the_mark_the_number_means_nothing() {
    let pair = connected(optimizing(1));
    let marked = |side: Side| {
        let sent = pair.traces(side).iter().filter(|trace| trace.direction == TraceDirection::Sent);
        let says: Vec<_> =
            sent.filter(|trace| names(trace).contains(&"N(OPTIMIZED_REKEY_SUPPORTED)")).collect();
        assert_eq!(says.len(), 1, "in IKE_AUTH alone");
        says.iter().all(|trace| names(trace).contains(&"V"))
    };
    assert!(marked(Side::Left) && marked(Side::Right));
    assert_ne!(KEYWAY_MARK, wire::v2::STRONGSWAN_MARK);
}

// --- In any weather, and from both ends at once ----------------------------------------------------------------------

/// A scenario in the weather that the seed draws, and of the kind of SAs that it draws.
fn in_any_weather(seed: u64) -> Scenario {
    let weather = [Weather::CLEAR, Weather::SHUFFLED, Weather::lossy(10), Weather::lossy(30)];
    let esp = ["aes128gcm16-esn", "aes128gcm16-x25519-esn", "aes128gcm16-x25519-ke1_ecp256-esn"];
    let ike = ["aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-x25519-ke1_ecp256"];
    let mut scenario = Scenario::site_to_site(seed)
        .weather(weather[seed as usize % weather.len()].clone())
        .suites(ike[seed as usize / 4 % ike.len()], esp[seed as usize / 8 % esp.len()])
        .both(|gateway| {
            gateway.connection.optimized_rekey = OptimizedRekey::Yes;
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = 10 * SECOND;
            gateway.settings.half_open_timeout = 10 * MINUTE;
        });
    if seed.is_multiple_of(5) {
        scenario = scenario.both_children(|child| child.compress = Compress::Deflate);
    }
    if seed.is_multiple_of(7) {
        let odd = Side::BOTH[seed as usize / 7 % 2];
        scenario.gateway_mut(odd).connection.optimized_rekey = OptimizedRekey::No;
    }
    scenario
}

fn talking(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.start_traffic(0, Duration::from_millis(100));
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
        assert_eq!((pair.ike_sas(side).len(), pair.children(side, "net").len()), (1, 1));
    }
}

#[test]
fn both_ends_replace_the_same_sa_at_once_and_no_packet_is_lost() {
    for_seeds(0..1200, |seed| {
        let mut pair = talking(in_any_weather(seed));
        let is_child = seed % 2 == 0;
        let begin = |pair: &mut Pair, side| {
            if is_child { pair.rekey_child(side, "net") } else { pair.rekey_ike(side) }
        };
        if is_child {
            let ticket = begin(&mut pair, Side::Left).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.settle();
        }
        if seed % 3 == 0 {
            // One end asks the regular way, the other the short one, which the first refuses.
            let side = *pair.random().pick(&Side::BOTH);
            reconfigure(&mut pair, side);
        }
        let first = begin(&mut pair, Side::Left).expect("it is up");
        let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(40));
        pair.run_for(apart);
        let second = begin(&mut pair, Side::Right);
        for ticket in second.into_iter().chain([first]) {
            // Where one waits for the other's key exchanges, what it wanted to replace may be gone then.
            let result = pair.finish(ticket);
            assert!(matches!(result, Ok(()) | Err(Failure::NotFound(_))), "{result:?}");
        }
        ends_well(&mut pair);
    });
}

#[test]
fn sas_are_replaced_for_hours_the_short_way_without_losing_a_packet() {
    let short = AtomicU64::new(0);
    for_seeds(0..60, |seed| {
        let scenario = in_any_weather(seed)
            .both(|gateway| {
                gateway.settings.trace_messages = true;
                gateway.connection.lifetimes =
                    Lifetimes { rekey: 10 * MINUTE, rand: MINUTE, expire: 40 * MINUTE };
            })
            .both_children(|child| {
                child.lifetimes = Lifetimes { rekey: 7 * MINUTE, rand: MINUTE, expire: 30 * MINUTE };
            });
        let mut pair = Pair::new(scenario);
        pair.connect();
        pair.start_traffic(0, SECOND);
        pair.run_for(120 * MINUTE);
        ends_well(&mut pair);
        let rekeyed = |event: &&Event| matches!(event, Event::IkeRekeyed { .. } | Event::ChildRekeyed { .. });
        assert!(pair.events(Side::Left).iter().filter(rekeyed).count() >= 20);
        let is_short = |payloads: &&Vec<&str>| payloads.contains(&"N(OPTIMIZED_REKEY)");
        let count = Side::BOTH.map(|side| sent(&pair, side).iter().filter(is_short).count());
        assert_eq!(count[0] + count[1] > 0, seed % 7 != 0, "{count:?}");
        short.fetch_add((count[0] + count[1]) as u64, Ordering::Relaxed);
    });
    let short = short.into_inner();
    assert!(short > 1000 || std::env::var_os(testkit::SEED_VARIABLE).is_some(), "{short}");
}

#[test]
fn any_two_things_at_once_end_in_agreement() {
    for_seeds(0..1000, |seed| {
        let mut pair = talking(in_any_weather(seed));
        let ticket = pair.rekey_child(Side::Left, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        let mut tickets = Vec::new();
        for _ in 0..4 {
            let side = *pair.random().pick(&Side::BOTH);
            tickets.extend(match pair.random().below(3) {
                0 => pair.rekey_ike(side),
                _ => pair.rekey_child(side, "net"),
            });
            let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(30));
            pair.run_for(apart);
        }
        for ticket in tickets {
            // Whatever another rekeying has replaced meanwhile is not there to be replaced.
            let _ = pair.finish(ticket);
        }
        ends_well(&mut pair);
    });
}
