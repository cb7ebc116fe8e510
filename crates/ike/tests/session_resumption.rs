//! Session resumption (RFC 5723): an IKE SA that was lost is had again with a ticket, and with none of what is no longer good.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ike::{CloseAction, Command, Resumption, limits};
use testkit::{Cargo, Pair, Parcel, Scenario, SeededRandom, Side, Weather, for_seeds, site_address};
use wire::isakmp::{Flags, IkeSpi};
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{HeaderFields, Notify, Payload, decode, encode_clear};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The left asks for tickets, misses the right after thirty seconds of silence, and comes back.
fn resuming(seed: u64) -> Scenario {
    let mut scenario = Scenario::site_to_site(seed).both(|gateway| {
        gateway.connection.resumption = Resumption::Yes;
        gateway.connection.keying_tries = 0;
    });
    scenario.left.connection.liveness_delay = 30 * SECOND;
    scenario.left.change_child("net", |child| child.liveness_action = CloseAction::Start);
    scenario
}

fn connected(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    pair
}

/// Tells how many requests of this exchange the left has sent, repetitions among them.
fn sent(pair: &Pair, exchange_type: ExchangeType) -> usize {
    let is_it = |bytes: &&Vec<u8>| {
        decode(bytes).is_ok_and(|message| {
            message.header.exchange_type == exchange_type && !message.header.flags.is_response()
        })
    };
    pair.messages(Side::Left).iter().filter(is_it).count()
}

fn last_resumption(pair: &Pair) -> Vec<u8> {
    let messages = pair.messages(Side::Left);
    let is_it = |bytes: &&Vec<u8>| {
        decode(bytes).is_ok_and(|message| message.header.exchange_type == ExchangeType::IKE_SESSION_RESUME)
    };
    messages.iter().rev().find(is_it).expect("it has resumed").clone()
}

/// Cuts the wire until the left has missed the right, and joins it again.
fn outage(pair: &mut Pair) {
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    pair.run_until("the left misses the right", 5 * MINUTE, |pair| {
        !pair.is_up("net") && sent(pair, ExchangeType::IKE_SESSION_RESUME) > 0
    });
    pair.run_for(10 * SECOND);
    pair.network.weather = [pair.scenario().weather.clone(), pair.scenario().weather.clone()];
}

fn has_notify(message: &[u8], notify_type: NotifyType) -> bool {
    decode(message)
        .expect("it is whole")
        .payloads
        .iter()
        .any(|payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == notify_type))
}

// --- What it is for ------------------------------------------------------------------------------------------------

#[test]
fn an_ike_sa_is_had_again_after_an_outage() {
    let mut pair = connected(resuming(1));
    let before = pair.ike_sas(Side::Right)[0].clone();
    outage(&mut pair);
    // HDR(SPIi,0), Ni, N(TICKET_OPAQUE) -->
    pair.run_until("the tunnel is back", MINUTE, |pair| pair.is_up("net"));
    pair.settle_and_check();
    assert_eq!(sent(&pair, ExchangeType::IKE_SA_INIT), 1, "only at the beginning");
    // What the right had of the old one went without a word.
    let after = pair.ike_sas(Side::Right);
    assert_eq!(after.len(), 1);
    assert_ne!(after[0].responder_spi, before.responder_spi);
    assert_eq!(after[0].suite, before.suite);
    assert_eq!(after[0].remote_identity, before.remote_identity);
    // The new one has a ticket of its own.
    outage(&mut pair);
    pair.run_until("the tunnel is back", MINUTE, |pair| pair.is_up("net"));
    pair.settle_and_check();
    assert_eq!(sent(&pair, ExchangeType::IKE_SA_INIT), 1);
}

#[test]
fn an_ike_sa_is_had_again_in_any_weather() {
    let resumed = AtomicU64::new(0);
    for_seeds(0..2000, |seed| {
        let weather = if seed % 2 == 0 { Weather::lossy(30) } else { Weather::SHUFFLED };
        let mut scenario = resuming(seed).weather(weather);
        if seed % 3 == 0 {
            scenario = scenario.behind_nat(Side::Left, 5 * MINUTE);
        }
        let mut pair = Pair::new(scenario);
        pair.connect();
        if seed % 4 >= 2 {
            let rekeying = *pair.random().pick(&Side::BOTH);
            let _ = pair.rekey_ike(rekeying).map(|ticket| pair.finish(ticket));
            pair.run_for(MINUTE);
            pair.run_until("the tunnel is there", 30 * MINUTE, |pair| pair.is_up("net"));
        }
        let before = sent(&pair, ExchangeType::IKE_SA_INIT);
        pair.network.weather = [Weather::DEAD, Weather::DEAD];
        pair.run_until("the left misses the right", 10 * MINUTE, |pair| {
            sent(pair, ExchangeType::IKE_SESSION_RESUME) > 0 || sent(pair, ExchangeType::IKE_SA_INIT) > before
        });
        pair.network.weather = [pair.scenario().weather.clone(), pair.scenario().weather.clone()];
        pair.run_until("the tunnel is back", 60 * MINUTE, |pair| pair.is_up("net"));
        let has_begun_anew = sent(&pair, ExchangeType::IKE_SA_INIT) > before;
        resumed.fetch_add(u64::from(!has_begun_anew), Ordering::Relaxed);
        pair.check_faults();
    });
    let resumed = resumed.into_inner();
    assert!(resumed > 1000 || std::env::var_os(testkit::SEED_VARIABLE).is_some(), "{resumed} of 2000");
}

#[test]
fn a_hybrid_ike_sa_is_had_again_without_its_key_exchanges() {
    let scenario = resuming(1).suites("aes128gcm16-prfsha256-x25519-ke1_mlkem768", "aes128gcm16-esn");
    let mut pair = connected(scenario);
    let at_the_beginning = sent(&pair, ExchangeType::IKE_INTERMEDIATE);
    assert!(at_the_beginning > 0);
    outage(&mut pair);
    pair.run_until("the tunnel is back", MINUTE, |pair| pair.is_up("net"));
    pair.settle_and_check();
    assert_eq!(sent(&pair, ExchangeType::IKE_INTERMEDIATE), at_the_beginning);
}

#[test]
fn whoever_asks_for_cookies_asks_here_too() {
    let mut scenario = resuming(1);
    scenario.right.connection.remote_addresses = ike::PeerAddresses::Any;
    let mut pair = connected(scenario);
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    pair.run_until("the left misses the right", 5 * MINUTE, |pair| {
        sent(pair, ExchangeType::IKE_SESSION_RESUME) > 0
    });
    let template = pair.messages(Side::Left)[0].clone();
    for stranger in 0..40 {
        let mut bytes = template.clone();
        bytes[..8].copy_from_slice(&[stranger + 1; 8]);
        let source = SocketAddr::from(([203, 0, 113, stranger], 500));
        let destination = SocketAddr::new(site_address(Side::Right), 500);
        pair.inject(Side::Right, Parcel { source, destination, cargo: Cargo::Ike(bytes) }, SECOND);
    }
    pair.run_for(2 * SECOND);
    pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
    pair.run_until("the tunnel is back", 25 * SECOND, |pair| pair.is_up("net"));
    assert!(has_notify(&last_resumption(&pair), NotifyType::COOKIE));
    assert_eq!(sent(&pair, ExchangeType::IKE_SA_INIT), 1);
}

// --- What is no longer good ----------------------------------------------------------------------------------------

#[test]
fn a_gateway_that_restarted_says_that_it_knows_no_ticket() {
    let mut pair = connected(resuming(1));
    pair.switch_off(Side::Right);
    pair.switch_on(Side::Right);
    pair.run_until("the tunnel is back", 5 * MINUTE, |pair| pair.is_up("net"));
    pair.settle_and_check();
    // HDR(SPIi,0), Ni, N(TICKET_OPAQUE) -->
    //                                   <-- HDR(SPIi,0), N(TICKET_NACK)
    assert_eq!(sent(&pair, ExchangeType::IKE_SESSION_RESUME), 1);
    assert_eq!(sent(&pair, ExchangeType::IKE_SA_INIT), 2);
}

#[test]
fn a_ticket_is_good_once() {
    let mut pair = connected(resuming(1));
    outage(&mut pair);
    pair.run_until("the tunnel is back", MINUTE, |pair| pair.is_up("net"));
    pair.settle();
    let mut again = last_resumption(&pair);
    again[..8].copy_from_slice(&[7; 8]);
    let answers = pair.answers(Side::Right, again);
    assert!(has_notify(&answers[0], NotifyType::TICKET_NACK));
    assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
}

#[test]
fn a_forged_ticket_is_none() {
    let mut pair = connected(resuming(1));
    let mut random = SeededRandom::new(1);
    let fields = HeaderFields {
        initiator_spi: IkeSpi(7),
        responder_spi: IkeSpi::ZERO,
        exchange_type: ExchangeType::IKE_SESSION_RESUME,
        flags: Flags::INITIATOR,
        message_id: 0,
    };
    for length in [0, 1, 31, limits::TICKET_OCTETS, 33, 5000] {
        let ticket: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        let payloads =
            [Payload::Nonce(vec![9; 32]), Payload::Notify(Notify::new(NotifyType::TICKET_OPAQUE, ticket))];
        let answers = pair.answers(Side::Right, encode_clear(&fields, &payloads).expect("it is short"));
        assert!(has_notify(&answers[0], NotifyType::TICKET_NACK), "{length} octets");
    }
    // Without a ticket or a nonce it is no request.
    for payloads in [vec![Payload::Nonce(vec![9; 32])], Vec::new()] {
        let answers = pair.answers(Side::Right, encode_clear(&fields, &payloads).expect("it is short"));
        assert!(has_notify(&answers[0], NotifyType::INVALID_SYNTAX));
    }
    assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
    assert!(pair.is_up("net"));
}

#[test]
fn who_only_saw_a_ticket_gets_nothing_by_it() {
    let mut pair = connected(resuming(1));
    outage(&mut pair);
    // The thief is faster than the left.
    let mut stolen = last_resumption(&pair);
    stolen[..8].copy_from_slice(&[7; 8]);
    let answers = pair.answers(Side::Right, stolen);
    assert!(!has_notify(&answers[0], NotifyType::TICKET_NACK));
    assert_eq!(pair.endpoint(Side::Right).half_open(), 1);
    // It cannot go on, since it does not know SK_d; the left can.
    pair.run_until("the tunnel is back", MINUTE, |pair| pair.is_up("net"));
    assert_eq!(sent(&pair, ExchangeType::IKE_SA_INIT), 1);
    pair.run_for(5 * MINUTE);
    assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
    pair.settle_and_check();
}

#[test]
fn a_ticket_goes_with_the_ike_sa_that_a_person_ends_and_with_its_configuration() {
    // The left ends it.
    let mut pair = connected(resuming(1));
    let ticket = pair.down(Side::Left).expect("it is up");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.run_for(MINUTE);
    pair.connect();
    assert_eq!(sent(&pair, ExchangeType::IKE_SESSION_RESUME), 0);
    // The left's configuration changes.
    let mut pair = connected(resuming(1));
    let connection = pair.scenario().left.connection.clone();
    pair.command(Side::Left, Command::Load(connection.into()));
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    pair.run_until("the left misses the right", 5 * MINUTE, |pair| sent(pair, ExchangeType::IKE_SA_INIT) > 1);
    assert_eq!(sent(&pair, ExchangeType::IKE_SESSION_RESUME), 0);
    // The right's configuration changes.
    let mut pair = connected(resuming(1));
    let connection = pair.scenario().right.connection.clone();
    pair.command(Side::Right, Command::Load(connection.into()));
    outage(&mut pair);
    pair.run_until("the tunnel is back", MINUTE, |pair| pair.is_up("net"));
    assert_eq!(sent(&pair, ExchangeType::IKE_SA_INIT), 2);
}

#[test]
fn an_end_that_does_not_want_it_gives_no_ticket_and_asks_for_none() {
    for side in Side::BOTH {
        let mut scenario = resuming(1);
        scenario.gateway_mut(side).connection.resumption = Resumption::No;
        let mut pair = connected(scenario);
        pair.network.weather = [Weather::DEAD, Weather::DEAD];
        pair.run_until("the left misses the right", 5 * MINUTE, |pair| {
            sent(pair, ExchangeType::IKE_SA_INIT) > 1
        });
        assert_eq!(sent(&pair, ExchangeType::IKE_SESSION_RESUME), 0, "{side}");
    }
}

#[test]
fn spoiled_messages_never_install_anything_that_the_peer_does_not_have() {
    let spoiling = Weather { corrupt_percent: 25, ..Weather::SHUFFLED };
    for_seeds(0..300, |seed| {
        let mut pair = Pair::new(resuming(seed));
        pair.connect();
        outage(&mut pair);
        pair.network.weather = [spoiling.clone(), spoiling.clone()];
        pair.run_for(MINUTE);
        pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
        pair.run_for(10 * MINUTE);
        pair.check_faults();
        // What was spoiled in IKE_SA_INIT may have ended the attempt, as it may without a ticket.
        if !pair.is_up("net") {
            let ticket = pair.up(Side::Left, "net");
            assert_eq!(pair.finish(ticket), Ok(()));
        }
    });
}
