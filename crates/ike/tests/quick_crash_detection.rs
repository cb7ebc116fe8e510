//! Quick crash detection (RFC 6290): who has lost an IKE SA says so when it is asked, and is believed for its token alone.

use std::net::SocketAddr;
use std::time::Duration;

use crypto::Secret;
use ike::{CloseAction, DownReason, Event, limits};
use testkit::{Cargo, Impostor, Pair, Parcel, Scenario, Side, Weather, for_seeds, site_address};
use wire::isakmp::{Flags, IkeSpi};
use wire::registry::{ExchangeType, NotifyType, PayloadType};
use wire::v2::{HeaderFields, Notify, Payload, decode, encode_clear, encrypted_prefix};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Both ends have secrets that survive them, and ask after thirty seconds of silence.
fn with_secrets(seed: u64) -> Scenario {
    let mut scenario = Scenario::site_to_site(seed)
        .both(|gateway| {
            gateway.connection.liveness_delay = 30 * SECOND;
            gateway.connection.keying_tries = 0;
        })
        .both_children(|child| child.liveness_action = CloseAction::Start);
    for side in Side::BOTH {
        let secret = vec![side.index() as u8; 32];
        scenario.gateway_mut(side).settings.crash_secret = Some(Secret::from(secret));
    }
    scenario
}

fn connected(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    pair
}

fn learned(pair: &Pair, side: Side) -> bool {
    pair.events(side).iter().any(|event| matches!(event, Event::IkeDown(_, DownReason::PeerLostState)))
}

fn crash(pair: &mut Pair, side: Side) {
    pair.switch_off(side);
    pair.switch_on(side);
}

/// A request that nobody can open.
fn protected(fields: HeaderFields) -> Vec<u8> {
    let prefix = encrypted_prefix(&fields, PayloadType::NONE, None, 40).expect("it is short");
    [prefix, vec![0x5a; 40]].concat()
}

fn of_nobody() -> HeaderFields {
    HeaderFields {
        initiator_spi: IkeSpi(0x1111),
        responder_spi: IkeSpi(0x2222),
        exchange_type: ExchangeType::INFORMATIONAL,
        flags: Flags::INITIATOR,
        message_id: 7,
    }
}

fn token_in(message: &[u8]) -> Option<Vec<u8>> {
    decode(message).expect("it is whole").payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.notify_type == NotifyType::QUICK_CRASH_DETECTION => {
            Some(notify.data.clone())
        }
        _ => None,
    })
}

// --- What it is for ------------------------------------------------------------------------------------------------

#[test]
fn an_end_that_restarts_is_found_out_with_the_first_question() {
    for side in Side::BOTH {
        let mut pair = connected(with_secrets(1));
        crash(&mut pair, side);
        // HDR, SK { } -->
        //             <-- HDR, N(INVALID_IKE_SPI), N(QCD_TOKEN)
        pair.run_until("the other end learns of it", 31 * SECOND, |pair| learned(pair, side.other()));
        pair.run_until("the tunnel is back", 5 * SECOND, |pair| pair.is_up("net"));
        pair.settle_and_check();
    }
}

#[test]
fn an_end_that_restarts_is_found_out_in_any_weather() {
    let by_token = std::sync::atomic::AtomicU64::new(0);
    for_seeds(0..2000, |seed| {
        let weather = if seed % 2 == 0 { Weather::lossy(30) } else { Weather::SHUFFLED };
        let mut pair = Pair::new(with_secrets(seed).weather(weather));
        pair.connect();
        if seed % 4 >= 2 {
            // The new IKE SA has a token of its own, which is given once it is certain that the peer knows it.
            let rekeying = *pair.random().pick(&Side::BOTH);
            let _ = pair.rekey_ike(rekeying).map(|ticket| pair.finish(ticket));
            pair.run_for(MINUTE);
            pair.run_until("the tunnel is there", 30 * MINUTE, |pair| pair.is_up("net"));
        }
        let side = *pair.random().pick(&Side::BOTH);
        crash(&mut pair, side);
        let is_over =
            |pair: &Pair| pair.events(side.other()).iter().any(|event| matches!(event, Event::IkeDown(..)));
        pair.run_until("the other end learns of it", 10 * MINUTE, is_over);
        let counted = u64::from(learned(&pair, side.other()));
        by_token.fetch_add(counted, std::sync::atomic::Ordering::Relaxed);
        pair.run_until("the tunnel is back", 30 * MINUTE, |pair| pair.is_up("net"));
        pair.settle_and_check();
    });
    // Of the others, all questions or answers were lost, or the end that restarted came first.
    let by_token = by_token.into_inner();
    assert!(by_token > 1500 || std::env::var_os(testkit::SEED_VARIABLE).is_some(), "{by_token} of 2000");
}

#[test]
fn a_new_ike_sa_has_a_token_of_its_own() {
    for rekeying in Side::BOTH {
        for side in Side::BOTH {
            let mut pair = connected(with_secrets(1));
            let ticket = pair.rekey_ike(rekeying).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.run_for(10 * SECOND);
            crash(&mut pair, side);
            pair.run_until("the other end learns of it", 41 * SECOND, |pair| learned(pair, side.other()));
        }
    }
}

// --- What nobody may do with it ------------------------------------------------------------------------------------

#[test]
fn who_asks_for_an_ike_sa_that_is_gone_is_told_with_its_token() {
    let mut pair = connected(with_secrets(1));
    for (flags, role) in [(Flags::INITIATOR, Flags::NONE), (Flags::NONE, Flags::INITIATOR)] {
        let fields = HeaderFields { flags, ..of_nobody() };
        let source = SocketAddr::new(site_address(Side::Left), 12_345);
        let destination = SocketAddr::new(site_address(Side::Right), 500);
        let parcel = Parcel { source, destination, cargo: Cargo::Ike(protected(fields)) };
        let octets = parcel.octets();
        pair.inject(Side::Right, parcel, Duration::ZERO);
        pair.run_for(Duration::from_millis(1));
        let answer = pair.sent(Side::Right).next_back().expect("it has answered").clone();
        assert_eq!((answer.source, answer.destination), (destination, source));
        assert!(answer.octets() < octets + 10, "{} octets answer {octets}", answer.octets());
        let Cargo::Ike(bytes) = answer.cargo else { panic!("it is a message") };
        let message = decode(&bytes).expect("it is whole");
        let expected = HeaderFields { flags: Flags::RESPONSE.with(role), ..fields };
        assert_eq!(HeaderFields::from(&message.header), expected);
        let [Payload::Notify(lost), Payload::Notify(token)] = message.payloads.as_slice() else {
            panic!("{:?}", message.payloads)
        };
        assert_eq!(lost.notify_type, NotifyType::INVALID_IKE_SPI);
        assert_eq!((token.notify_type, token.data.len()), (NotifyType::QUICK_CRASH_DETECTION, 16));
    }
    // What is a response, or in the clear, or without a secret that makes tokens, gets nothing.
    let response = HeaderFields { flags: Flags::RESPONSE, ..of_nobody() };
    let clear = encode_clear(&of_nobody(), &[]).expect("it is short");
    for bytes in [protected(response), clear] {
        assert_eq!(pair.answers(Side::Right, bytes), Vec::<Vec<u8>>::new());
    }
    let mut pair = connected(Scenario::site_to_site(1));
    assert_eq!(pair.answers(Side::Right, protected(of_nobody())), Vec::<Vec<u8>>::new());
}

// RFC 6290 §9.2.
#[test]
fn no_token_is_shown_of_an_ike_sa_that_is_here_or_about_to_be() {
    let scenario = with_secrets(1).both(|gateway| gateway.settings.disclose_keys = true);
    let mut pair = connected(scenario);
    let ike = pair.ike_sas(Side::Left).remove(0);
    for side in Side::BOTH {
        let flags = if side == Side::Left { Flags::NONE } else { Flags::INITIATOR };
        let of_ours = HeaderFields {
            initiator_spi: ike.initiator_spi,
            responder_spi: ike.responder_spi,
            flags,
            ..of_nobody()
        };
        assert_eq!(pair.answers(side, protected(of_ours)), Vec::<Vec<u8>>::new());
    }
    pair.switch_off(Side::Right);
    pair.rekey_ike(Side::Left).expect("it is up");
    let (_, payloads) = Impostor::of(&pair).heard(&pair);
    let spi = payloads.iter().find_map(|payload| match payload {
        Payload::SecurityAssociation(proposals) => <[u8; 8]>::try_from(proposals[0].spi.as_slice()).ok(),
        _ => None,
    });
    let spi = IkeSpi(u64::from_be_bytes(spi.expect("it proposes a new IKE SA")));
    let of_the_new = HeaderFields { initiator_spi: spi, flags: Flags::NONE, ..of_nobody() };
    assert_eq!(pair.answers(Side::Left, protected(of_the_new)), Vec::<Vec<u8>>::new());
}

#[test]
fn a_token_of_another_ike_sa_or_of_another_length_ends_nothing() {
    let mut pair = connected(with_secrets(1));
    let ike = pair.ike_sas(Side::Left).remove(0);
    let of_another = token_in(&pair.answers(Side::Right, protected(of_nobody()))[0]).expect("it shows one");
    let before = pair.fingerprint(Side::Left);
    let fields = HeaderFields {
        initiator_spi: ike.initiator_spi,
        responder_spi: ike.responder_spi,
        flags: Flags::RESPONSE,
        ..of_nobody()
    };
    let tokens = [of_another, Vec::new(), vec![0; 15], vec![0; 16], vec![0; 128], vec![0; 4000]];
    for token in tokens {
        let notifies = [
            Payload::Notify(Notify::new(NotifyType::INVALID_IKE_SPI, [])),
            Payload::Notify(Notify::new(NotifyType::QUICK_CRASH_DETECTION, token)),
        ];
        for flags in [Flags::RESPONSE, Flags::NONE, Flags::INITIATOR] {
            let bytes = encode_clear(&HeaderFields { flags, ..fields }, &notifies).expect("it is short");
            assert_eq!(pair.answers(Side::Left, bytes), Vec::<Vec<u8>>::new());
        }
    }
    assert_eq!(pair.fingerprint(Side::Left), before);
}

#[test]
fn as_many_are_told_in_a_second_as_the_limit_says() {
    let mut pair = connected(with_secrets(1));
    let ask = |pair: &mut Pair| {
        let source = SocketAddr::new(site_address(Side::Left), 500);
        let destination = SocketAddr::new(site_address(Side::Right), 500);
        for number in 0..2 * u64::from(limits::LOST_SA_ANSWERS_PER_SECOND) {
            let fields = HeaderFields { initiator_spi: IkeSpi(number + 1), ..of_nobody() };
            let parcel = Parcel { source, destination, cargo: Cargo::Ike(protected(fields)) };
            pair.inject(Side::Right, parcel, Duration::ZERO);
        }
        pair.run_for(Duration::from_millis(1));
    };
    pair.run_for(2 * SECOND);
    ask(&mut pair);
    // They were answered in turn, and those after the last not at all.
    let answered = |pair: &Pair| {
        let last = pair.messages(Side::Right).pop().expect("it has answered");
        decode(&last).expect("it is whole").header.initiator_spi
    };
    assert_eq!(answered(&pair), IkeSpi(limits::LOST_SA_ANSWERS_PER_SECOND.into()));
    pair.run_for(SECOND);
    pair.answers(Side::Right, protected(of_nobody()));
    assert_eq!(answered(&pair), of_nobody().initiator_spi);
}
