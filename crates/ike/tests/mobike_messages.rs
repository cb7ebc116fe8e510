//! MOBIKE's single messages (RFC 4555 §3): what an end answers to each, whatever its peer says of addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::{DownReason, Event};
use testkit::{Cargo, Forger, Pair, Parcel, Scenario, Side, Weather, site_address};
use wire::isakmp::Flags;
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{HeaderFields, Notify, Payload};

const SECOND: Duration = Duration::from_secs(1);

fn elsewhere() -> IpAddr {
    "203.0.113.7".parse().expect("the test's own text")
}

fn connected(change: impl Fn(&mut Scenario)) -> Pair {
    let mut scenario =
        Scenario::site_to_site(1).mobile().both(|gateway| gateway.settings.disclose_keys = true);
    change(&mut scenario);
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    pair
}

fn forger(pair: &Pair) -> Forger {
    let keys = pair.disclosed_keys(Side::Left).expect("the settings ask for it");
    Forger::new(keys).expect("the suite is an AEAD")
}

/// Lets the right receive this INFORMATIONAL request of the left, who began the IKE SA with two requests, from an address;
/// gives the payloads of its answer.
fn ask_right(pair: &mut Pair, source: IpAddr, notifies: &[Notify]) -> Vec<Payload> {
    let keys = pair.disclosed_keys(Side::Left).expect("the settings ask for it");
    let message_id = 2;
    let fields = HeaderFields {
        initiator_spi: keys.initiator_spi,
        responder_spi: keys.responder_spi,
        exchange_type: ExchangeType::INFORMATIONAL,
        flags: Flags::INITIATOR,
        message_id,
    };
    let payloads: Vec<Payload> = notifies.iter().cloned().map(Payload::Notify).collect();
    let forger = forger(pair);
    let request = forger.seal_payloads(fields, &payloads).expect("it is short");
    let port = |address| SocketAddr::new(address, 4500);
    let (source, destination) = (port(source), port(site_address(Side::Right)));
    pair.inject(Side::Right, Parcel { source, destination, cargo: Cargo::Ike(request) }, Duration::ZERO);
    pair.run_for(SECOND / 100);
    let answers = pair.messages(Side::Right);
    let mut opened = answers.iter().rev().filter_map(|bytes| forger.open(bytes));
    let answer =
        opened.find(|content| content.fields.flags.is_response() && content.fields.message_id == message_id);
    let answer = answer.expect("the right answers");
    wire::v2::decode_payloads(answer.first_payload, &answer.octets).expect("it can be read")
}

fn notify(notify_type: NotifyType, data: &[u8]) -> Notify {
    Notify::new(notify_type, data)
}

fn types(payloads: &[Payload]) -> Vec<NotifyType> {
    let of = |payload: &Payload| match payload {
        Payload::Notify(notify) => Some(notify.notify_type),
        _ => None,
    };
    payloads.iter().filter_map(of).collect()
}

fn remote(pair: &Pair, side: Side) -> IpAddr {
    pair.ike_sas(side)[0].path.remote.ip()
}

#[test]
fn a_cookie_is_returned_as_it_came_wherever_the_request_came_from() {
    let mut pair = connected(|_| {});
    let answer = ask_right(&mut pair, elsewhere(), &[notify(NotifyType::COOKIE2, b"12345678")]);
    assert_eq!(answer, [Payload::Notify(notify(NotifyType::COOKIE2, b"12345678"))]);
    let sent = pair.sent(Side::Right).next_back().expect("it has answered").destination;
    assert_eq!(sent.ip(), elsewhere(), "to where the request came from");
    assert_eq!(remote(&pair, Side::Right), site_address(Side::Left), "and nothing has moved");
}

#[test]
fn nat_detection_is_answered_with_the_same_and_moves_nothing() {
    let mut pair = connected(|_| {});
    let detection = [
        notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[1; 20]),
        notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &[2; 20]),
    ];
    let answer = ask_right(&mut pair, elsewhere(), &detection);
    assert_eq!(
        types(&answer),
        [NotifyType::NAT_DETECTION_SOURCE_IP, NotifyType::NAT_DETECTION_DESTINATION_IP]
    );
    let right = &pair.ike_sas(Side::Right)[0];
    assert!(!right.nat.remote && right.path.remote.ip() == site_address(Side::Left));
}

#[test]
fn who_is_written_as_source_and_destination_must_be_it_where_no_nat_is_allowed() {
    let mut pair = connected(|_| {});
    let stated = [192, 0, 2, 1, 198, 51, 100, 1, 0x11, 0x94, 0x11, 0x94];
    let no_nats =
        [notify(NotifyType::UPDATE_SA_ADDRESSES, &[]), notify(NotifyType::NO_NATS_ALLOWED, &stated)];
    let answer = ask_right(&mut pair, elsewhere(), &no_nats);
    assert_eq!(types(&answer), [NotifyType::UNEXPECTED_NAT_DETECTED]);
    assert_eq!(remote(&pair, Side::Right), site_address(Side::Left));
}

#[test]
fn addresses_that_nobody_can_have_are_not_acceptable() {
    let mut pair = connected(|_| {});
    let source = "224.0.0.5".parse().expect("the test's own text");
    let update = [notify(NotifyType::UPDATE_SA_ADDRESSES, &[]), notify(NotifyType::COOKIE2, b"12345678")];
    let answer = ask_right(&mut pair, source, &update);
    assert_eq!(types(&answer), [NotifyType::UNACCEPTABLE_ADDRESSES, NotifyType::COOKIE2]);
    assert_eq!(remote(&pair, Side::Right), site_address(Side::Left));
}

#[test]
fn child_sas_move_once_the_peer_has_shown_that_it_receives_there() {
    let mut pair = connected(|_| {});
    let answer = ask_right(&mut pair, elsewhere(), &[notify(NotifyType::UPDATE_SA_ADDRESSES, &[])]);
    assert_eq!(types(&answer), []);
    let right = &pair.ike_sas(Side::Right)[0];
    assert_eq!(right.path.remote.ip(), elsewhere());
    assert_eq!(
        right.children[0].outbound.destination,
        site_address(Side::Left),
        "its packets go where they went"
    );
    // Nobody is there: the peer is given up.
    let is_dead = |event: &Event| matches!(event, Event::IkeDown(_, DownReason::PeerDead));
    pair.run_until("it is given up", 300 * SECOND, |pair| pair.events(Side::Right).iter().any(is_dead));
}

#[test]
fn who_does_not_decide_cannot_move_the_other() {
    let mut pair = connected(|_| {});
    let keys = pair.disclosed_keys(Side::Left).expect("the settings ask for it");
    let fields = HeaderFields {
        initiator_spi: keys.initiator_spi,
        responder_spi: keys.responder_spi,
        exchange_type: ExchangeType::INFORMATIONAL,
        flags: Flags::NONE,
        message_id: 0,
    };
    let update = Payload::Notify(notify(NotifyType::UPDATE_SA_ADDRESSES, &[]));
    let request = forger(&pair).seal_payloads(fields, &[update]).expect("it is short");
    let (source, destination) =
        (SocketAddr::new(elsewhere(), 4500), SocketAddr::new(site_address(Side::Left), 4500));
    pair.inject(Side::Left, Parcel { source, destination, cargo: Cargo::Ike(request) }, Duration::ZERO);
    pair.run_for(SECOND);
    assert_eq!(remote(&pair, Side::Left), site_address(Side::Right));
}

#[test]
fn a_cookie_that_comes_back_another_ends_the_ike_sa() {
    let mut pair = connected(|_| {});
    pair.network.weather = [Weather::CLEAR, Weather::DEAD];
    pair.relocate(Side::Left, &[elsewhere()], None);
    pair.run_for(SECOND);
    let keys = pair.disclosed_keys(Side::Left).expect("the settings ask for it");
    let fields = HeaderFields {
        initiator_spi: keys.initiator_spi,
        responder_spi: keys.responder_spi,
        exchange_type: ExchangeType::INFORMATIONAL,
        flags: Flags::RESPONSE,
        message_id: 2,
    };
    let cookie = Payload::Notify(notify(NotifyType::COOKIE2, &[7; 16]));
    let response = forger(&pair).seal_payloads(fields, &[cookie]).expect("it is short");
    let (source, destination) =
        (SocketAddr::new(site_address(Side::Right), 4500), SocketAddr::new(elsewhere(), 4500));
    pair.inject(Side::Left, Parcel { source, destination, cargo: Cargo::Ike(response) }, Duration::ZERO);
    pair.run_for(SECOND);
    let ends = |event: &Event| match event {
        Event::IkeDown(_, DownReason::Failed(failure)) => failure.to_string().contains("COOKIE2"),
        _ => false,
    };
    assert!(pair.events(Side::Left).iter().any(ends));
    pair.run_for(60 * SECOND);
    pair.check_nothing_left(Side::Left);
}

#[test]
fn ah_does_not_move_behind_a_nat() {
    let mut pair = connected(|scenario| {
        for gateway in [&mut scenario.left, &mut scenario.right] {
            gateway.change_child("net", |child| child.proposals = vec![testkit::ah_proposal("sha256")]);
        }
    });
    let nat = testkit::Nat::new("203.0.113.9".parse().expect("an address"), 300 * SECOND);
    pair.relocate(Side::Left, &["10.9.0.2".parse().expect("an address")], Some(nat));
    pair.run_for(30 * SECOND);
    let says = |event: &Event| match event {
        Event::IkeDown(_, DownReason::Failed(failure)) => failure.to_string().contains("AH protects them"),
        _ => false,
    };
    pair.run_until("the left gives up", 300 * SECOND, |pair| pair.events(Side::Left).iter().any(says));
}
