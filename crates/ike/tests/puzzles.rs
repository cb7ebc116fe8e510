//! Puzzles (RFC 8019): under a flood of strangers who can return cookies, who pays is served, and who knows none now and then.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::{PeerAddresses, limits};
use testkit::{Cargo, Pair, Parcel, Scenario, Side, Weather, for_seeds, site_address};
use wire::isakmp::IkeSpi;
use wire::registry::{ExchangeType, NotifyType, PayloadType};
use wire::v2::{HeaderFields, Notify, Payload, Unknown, decode, encode_clear};

const MINUTE: Duration = Duration::from_secs(60);

fn notify_of(payloads: &[Payload], notify_type: NotifyType) -> Option<Notify> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.notify_type == notify_type => Some(notify.clone()),
        _ => None,
    })
}

fn has_sa(payloads: &[Payload]) -> bool {
    payloads.iter().any(|payload| matches!(payload, Payload::SecurityAssociation(_)))
}

fn solution_in(payloads: &[Payload]) -> Option<&[u8]> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Unknown(Unknown { payload_type: PayloadType::PUZZLE_SOLUTION, body, .. }) => {
            Some(body.as_slice())
        }
        _ => None,
    })
}

/// The IKE_SA_INIT requests that the left has sent, in order.
fn inits(pair: &Pair) -> Vec<Vec<Payload>> {
    let messages = pair.messages(Side::Left);
    let read = messages.iter().filter_map(|bytes| decode(bytes).ok());
    read.filter(|message| message.header.exchange_type == ExchangeType::IKE_SA_INIT)
        .map(|message| message.payloads)
        .collect()
}

/// A pair whose right is open to everybody, and what somebody would send to it first.
fn open_to_all(seed: u64) -> (Pair, Vec<Payload>) {
    let mut template = Pair::new(Scenario::site_to_site(seed));
    template.connect();
    let request = inits(&template).remove(0);
    let mut scenario = Scenario::site_to_site(seed);
    scenario.right.connection.remote_addresses = PeerAddresses::Any;
    // Nobody is forgotten meanwhile.
    scenario.right.settings.half_open_timeout = 60 * MINUTE;
    (Pair::new(scenario), request)
}

/// Lets the `number`th stranger send something, and gives what it gets.
fn ask(pair: &mut Pair, number: u32, payloads: &[Payload]) -> Vec<Payload> {
    let fields = HeaderFields {
        initiator_spi: IkeSpi(u64::from(number) + 1),
        responder_spi: IkeSpi::ZERO,
        exchange_type: ExchangeType::IKE_SA_INIT,
        flags: wire::isakmp::Flags::INITIATOR,
        message_id: 0,
    };
    let address = IpAddr::from((0x0a80_0000 + number).to_be_bytes());
    let (source, destination) =
        (SocketAddr::new(address, 500), SocketAddr::new(site_address(Side::Right), 500));
    let bytes = encode_clear(&fields, payloads).expect("it is short");
    pair.inject(Side::Right, Parcel { source, destination, cargo: Cargo::Ike(bytes) }, Duration::ZERO);
    pair.run_for(Duration::from_micros(1));
    let answer = pair.sent(Side::Right).next_back().expect("it has answered");
    let Cargo::Ike(bytes) = &answer.cargo else { panic!("it answers with IKE") };
    decode(bytes).expect("it is whole").payloads
}

/// Strangers return cookies, and then never go on, until puzzles are posed; gives the number of the next.
fn flood(pair: &mut Pair, request: &[Payload]) -> u32 {
    for number in 0.. {
        let answer = ask(pair, number, request);
        if notify_of(&answer, NotifyType::PUZZLE).is_some() {
            assert_eq!(pair.endpoint(Side::Right).half_open(), limits::HALF_OPEN_BEFORE_PUZZLES);
            return number;
        }
        if let Some(cookie) = notify_of(&answer, NotifyType::COOKIE) {
            let again = [vec![Payload::Notify(cookie)], request.to_vec()].concat();
            let answer = ask(pair, number, &again);
            assert!(has_sa(&answer) || notify_of(&answer, NotifyType::PUZZLE).is_some());
        }
    }
    unreachable!("numbers end")
}

#[test]
fn the_friend_solves_a_puzzle_and_comes_up() {
    for_seeds(0..4, |seed| {
        let (mut pair, request) = open_to_all(seed);
        flood(&mut pair, &request);
        pair.network.weather = if seed % 2 == 0 {
            [Weather::CLEAR, Weather::CLEAR]
        } else {
            [Weather::lossy(20), Weather::lossy(20)]
        };
        let ticket = pair.up(Side::Left, "net");
        // HDR(A,0), SAi1, KEi, Ni -->
        //                         <-- HDR(A,0), N(COOKIE), N(PUZZLE)
        // HDR(A,0), N(COOKIE), PS, SAi1, KEi, Ni -->
        let result = pair.finish(ticket);
        if seed % 2 == 0 {
            assert_eq!(result, Ok(()));
            let inits = inits(&pair);
            let [first, second] = inits.as_slice() else { panic!("{} requests", inits.len()) };
            assert!(notify_of(&second[..1], NotifyType::COOKIE).is_some());
            assert_eq!(solution_in(second).map(<[u8]>::len), Some(16));
            assert_eq!(second[2..], first[..]);
        }
        pair.run_for(MINUTE);
        pair.check_faults();
    });
}

#[test]
fn who_solves_no_puzzle_is_served_now_and_then() {
    let (mut pair, request) = open_to_all(1);
    let next = flood(&mut pair, &request);
    let mut served = 0;
    for number in next..next + 200 {
        // Without a cookie there is nothing to win.
        let posed = ask(&mut pair, number, &request);
        assert!(!has_sa(&posed));
        let cookie = notify_of(&posed, NotifyType::COOKIE).expect("it comes with the puzzle");
        let puzzle = notify_of(&posed, NotifyType::PUZZLE).expect("it is posed");
        assert_eq!(puzzle.data, [0, 5, limits::PUZZLE_DIFFICULTY]);
        let alone = [vec![Payload::Notify(cookie.clone())], request.clone()].concat();
        let wrong = Payload::Unknown(Unknown {
            payload_type: PayloadType::PUZZLE_SOLUTION,
            critical: false,
            body: vec![number as u8; 16],
        });
        let guessed = [vec![Payload::Notify(cookie), wrong], request.clone()].concat();
        let answer = ask(&mut pair, number, if number % 2 == 0 { &alone } else { &guessed });
        served += u32::from(has_sa(&answer));
        assert!(has_sa(&answer) || notify_of(&answer, NotifyType::PUZZLE).is_some());
    }
    // One in eight.
    assert!((8..60).contains(&served), "{served} of 200");
}

#[test]
fn a_puzzle_that_is_none_or_too_hard_costs_nothing() {
    let demand = |pair: &mut Pair, notifies: &[Notify]| {
        pair.up(Side::Left, "net");
        pair.run_until("it asks", MINUTE, |pair| !pair.messages(Side::Left).is_empty());
        let spi = pair.ike_sas(Side::Left)[0].initiator_spi;
        let fields = HeaderFields {
            initiator_spi: spi,
            responder_spi: IkeSpi::ZERO,
            exchange_type: ExchangeType::IKE_SA_INIT,
            flags: wire::isakmp::Flags::RESPONSE,
            message_id: 0,
        };
        let payloads: Vec<_> = notifies.iter().cloned().map(Payload::Notify).collect();
        pair.answers(Side::Left, encode_clear(&fields, &payloads).expect("it is short"));
        inits(pair)
    };
    let pair = || {
        let mut pair = Pair::new(Scenario::site_to_site(1).weather(Weather::DEAD));
        pair.run_for(Duration::from_millis(1));
        pair
    };
    let cookie = Notify::new(NotifyType::COOKIE, [7; 20]);
    let puzzle = |difficulty| Notify::new(NotifyType::PUZZLE, [0, 5, difficulty]);
    // Without a cookie it cannot be solved (RFC 8019 §7.1.2).
    assert_eq!(demand(&mut pair(), &[puzzle(18)]).len(), 1);
    // One that is too hard is answered with the cookie alone.
    for difficulty in [limits::PUZZLE_DIFFICULTY_AT_MOST + 1, 255] {
        let inits = demand(&mut pair(), &[cookie.clone(), puzzle(difficulty)]);
        assert_eq!(inits.len(), 2);
        assert!(solution_in(&inits[1]).is_none() && notify_of(&inits[1], NotifyType::COOKIE).is_some());
    }
    // One of no set difficulty is solved as well as we like.
    let mut pair = pair();
    assert_eq!(demand(&mut pair, &[cookie, puzzle(0)]).len(), 1, "it is not solved at once");
    pair.run_for(MINUTE);
    let last = inits(&pair).pop().expect("it has asked");
    assert_eq!(solution_in(&last).map(<[u8]>::len), Some(16));
}
