//! Rules of RFC 7296 that no exchange's own story shows: what is passed over, what is not answered, what stays the same when
//! a request is made anew.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ike::{Command, PeerAddresses, SelectorTemplate, StartAction};
use testkit::{Cargo, Content, Forger, Impostor, Pair, Parcel, Scenario, Side, Weather, flow, site_address};
use wire::isakmp::{Flags, IkeSpi};
use wire::registry::{ExchangeType, NotifyType, PayloadType, ProtocolId};
use wire::v2::{HeaderFields, Notify, Payload, TrafficSelector, decode, encode_clear};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn connected() -> Pair {
    let mut pair = Pair::new(Scenario::site_to_site(1));
    pair.connect();
    pair.settle();
    pair
}

/// An IKE_SA_INIT request of somebody whom the right does not know.
fn init_request() -> Vec<u8> {
    let mut request = connected().messages(Side::Left)[0].clone();
    request[..8].copy_from_slice(&[7; 8]);
    request
}

fn payloads_of(message: &[u8]) -> Vec<Payload> {
    decode(message).expect("it is whole").payloads
}

fn has_sa(payloads: &[Payload]) -> bool {
    payloads.iter().any(|payload| matches!(payload, Payload::SecurityAssociation(_)))
}

fn has_notify(payloads: &[Payload], notify_type: NotifyType) -> bool {
    payloads
        .iter()
        .any(|payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == notify_type))
}

fn notify(notify_type: NotifyType) -> Payload {
    Payload::Notify(Notify::new(notify_type, []))
}

// --- What is not answered ------------------------------------------------------------------------------------------

// RFC 7296 §1.5, §2.21.4, §3.1.
#[test]
fn what_names_no_ike_sa_is_not_answered() {
    let mut pair = connected();
    let before = pair.fingerprint(Side::Left);
    let silent = |pair: &mut Pair, fields: HeaderFields, payload: Payload| {
        let bytes = encode_clear(&fields, &[payload]).expect("it is short");
        assert_eq!(pair.answers(Side::Left, bytes), Vec::<Vec<u8>>::new(), "{fields:?}");
    };
    let strange = HeaderFields {
        initiator_spi: IkeSpi(1),
        responder_spi: IkeSpi(2),
        exchange_type: ExchangeType::INFORMATIONAL,
        flags: Flags::RESPONSE,
        message_id: 0,
    };
    for exchange_type in [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH, ExchangeType::INFORMATIONAL] {
        for flags in [Flags::RESPONSE, Flags::RESPONSE.with(Flags::INITIATOR)] {
            let fields = HeaderFields { exchange_type, flags, ..strange };
            silent(&mut pair, fields, notify(NotifyType::INVALID_IKE_SPI));
        }
    }
    // INVALID_SPI without an IKE SA: both SPIs are zero.
    let nobody = HeaderFields {
        initiator_spi: IkeSpi::ZERO,
        responder_spi: IkeSpi::ZERO,
        flags: Flags::INITIATOR,
        ..strange
    };
    silent(&mut pair, nobody, Payload::Notify(Notify::new(NotifyType::INVALID_SPI, [1, 2, 3, 4])));
    // Who begins an IKE SA has an SPI.
    let mut request = init_request();
    request[..8].copy_from_slice(&[0; 8]);
    assert_eq!(pair.answers(Side::Left, request), Vec::<Vec<u8>>::new());
    assert_eq!(pair.fingerprint(Side::Left), before);
}

// RFC 7296 §2.4, §2.21.4.
#[test]
fn a_notify_in_the_clear_changes_nothing() {
    let mut pair = connected();
    let ike = pair.ike_sas(Side::Left).remove(0);
    let before = pair.fingerprint(Side::Left);
    let sent = pair.messages(Side::Left).len();
    let told = [
        NotifyType::INVALID_IKE_SPI,
        NotifyType::INVALID_SPI,
        NotifyType::INVALID_MAJOR_VERSION,
        NotifyType::INVALID_SYNTAX,
        NotifyType::AUTHENTICATION_FAILED,
        NotifyType::INITIAL_CONTACT,
    ];
    for notify_type in told {
        for flags in [Flags::NONE, Flags::RESPONSE] {
            for message_id in 0..4 {
                let fields = HeaderFields {
                    initiator_spi: ike.initiator_spi,
                    responder_spi: ike.responder_spi,
                    exchange_type: ExchangeType::INFORMATIONAL,
                    flags,
                    message_id,
                };
                let bytes = encode_clear(&fields, &[notify(notify_type)]).expect("it is short");
                pair.answers(Side::Left, bytes);
            }
        }
    }
    assert_eq!(pair.messages(Side::Left).len(), sent, "nothing is sent");
    assert_eq!(pair.fingerprint(Side::Left), before);
}

#[test]
fn unknown_notifies_and_vendor_ids_are_skipped() {
    let (mut pair, mut impostor) = Impostor::takes_over(Scenario::site_to_site(1));
    let odd = Notify { protocol: ProtocolId::AH, ..Notify::new(NotifyType(40_000), [1]) };
    let payloads = [
        notify(NotifyType(8192)),
        Payload::VendorId(b"somebody else's".to_vec()),
        Payload::Notify(odd),
        Payload::Notify(Notify::new(NotifyType::INVALID_IKE_SPI, [])),
    ];
    // INFORMATIONAL { N(8192), V, N(40000), N(INVALID_IKE_SPI) } -->
    //                                                           <-- INFORMATIONAL { }
    let answer = impostor.asks(&mut pair, ExchangeType::INFORMATIONAL, &payloads);
    assert_eq!(answer, Some(Vec::new()));
    assert_eq!(pair.children(Side::Left, "net").len(), 1);
    let request = init_request();
    let fields = HeaderFields::from(&decode(&request).expect("it is whole").header);
    let strange = [payloads[..3].to_vec(), payloads_of(&request)].concat();
    let answers = pair.answers(Side::Left, encode_clear(&fields, &strange).expect("it is short"));
    assert!(has_sa(&payloads_of(&answers[0])));
}

// --- What is not looked at -----------------------------------------------------------------------------------------

#[test]
fn minor_versions_and_reserved_flags_are_not_looked_at() {
    let mut pair = connected();
    let mut request = init_request();
    request[17] = 0x2f;
    request[19] |= 0b1101_0111;
    let answers = pair.answers(Side::Right, request);
    assert!(has_sa(&payloads_of(&answers[0])));
    // Our own have neither.
    assert_eq!((answers[0][17], answers[0][19]), (0x20, 0b0010_0000));
}

#[test]
fn payloads_are_read_in_any_order() {
    let backwards = |payloads: &[Payload]| payloads.iter().rev().cloned().collect::<Vec<_>>();
    let mut pair = connected();
    let request = init_request();
    let fields = HeaderFields::from(&decode(&request).expect("it is whole").header);
    let bytes = encode_clear(&fields, &backwards(&payloads_of(&request))).expect("it is short");
    let answers = pair.answers(Side::Right, bytes);
    assert!(has_sa(&payloads_of(&answers[0])));

    // IKE_AUTH, which the right has not got yet.
    let (mut pair, forger) = before_ike_auth();
    let request = forger.open(&last_message(&pair)).expect("it is IKE_AUTH");
    let payloads = wire::v2::decode_payloads(request.first_payload, &request.octets).expect("it can be read");
    let bytes = forger.seal_payloads(request.fields, &backwards(&payloads)).expect("it is short");
    pair.answers(Side::Right, bytes);
    assert_eq!(pair.children(Side::Right, "net").len(), 1);
}

/// A pair whose left has sent IKE_AUTH, which was lost, and somebody who knows its keys.
fn before_ike_auth() -> (Pair, Forger) {
    let scenario = Scenario::site_to_site(1).both(|gateway| gateway.settings.disclose_keys = true);
    let mut pair = Pair::new(scenario);
    pair.up(Side::Left, "net");
    pair.run_until("the right answers", SECOND, |pair| !pair.messages(Side::Right).is_empty());
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    pair.run_until("the left goes on", SECOND, |pair| pair.messages(Side::Left).len() == 2);
    let forger = Forger::new(pair.disclosed_keys(Side::Left).expect("it is told")).expect("an AEAD");
    (pair, forger)
}

fn last_message(pair: &Pair) -> Vec<u8> {
    pair.messages(Side::Left).pop().expect("it has sent something")
}

// RFC 7296 §2.21.2.
#[test]
fn an_ike_auth_request_that_cannot_be_read_gets_one_notify() {
    let (mut pair, forger) = before_ike_auth();
    let request = forger.open(&last_message(&pair)).expect("it is IKE_AUTH");
    let unreadable = Content {
        first_payload: PayloadType::IDENTIFICATION_INITIATOR,
        octets: vec![0, 0, 0, 200],
        ..request
    };
    let answers = pair.answers(Side::Right, forger.seal(&unreadable).expect("it is short"));
    let answer = forger.open(&answers[0]).expect("it is authentic");
    let payloads = wire::v2::decode_payloads(answer.first_payload, &answer.octets).expect("it can be read");
    assert_eq!(payloads, [notify(NotifyType::INVALID_SYNTAX)]);
    assert!(pair.ike_sas(Side::Right).is_empty());
}

// --- IKE_SA_INIT once more -----------------------------------------------------------------------------------------

/// Scenario in which the right has so many half-open IKE SAs that it asks for cookies.
fn flooded(mut scenario: Scenario) -> Pair {
    scenario.right.connection.remote_addresses = PeerAddresses::Any;
    let mut pair = Pair::new(scenario);
    for stranger in 0..40 {
        let mut bytes = init_request();
        bytes[..8].copy_from_slice(&[stranger + 1; 8]);
        let source = SocketAddr::new(IpAddr::from([203, 0, 113, stranger]), 500);
        let destination = SocketAddr::new(site_address(Side::Right), 500);
        pair.inject(Side::Right, Parcel { source, destination, cargo: Cargo::Ike(bytes) }, Duration::ZERO);
    }
    pair.run_for(Duration::from_millis(100));
    pair
}

// RFC 7296 §1.2, §2.6, §2.6.1, §3.4.
#[test]
fn another_group_or_a_cookie_changes_nothing_else_in_the_request() {
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.propose("aes128gcm16-prfsha256-ecp256-x25519");
    scenario.right.propose("aes128gcm16-prfsha256-x25519");
    let mut pair = flooded(scenario);
    pair.connect();
    let messages = pair.messages(Side::Left);
    let inits: Vec<_> = messages.iter().map(|bytes| decode(bytes).expect("it is whole")).collect();
    let inits: Vec<_> =
        inits.iter().filter(|message| message.header.exchange_type == ExchangeType::IKE_SA_INIT).collect();
    let [first, with_cookie, with_group] = inits.as_slice() else { panic!("{} requests", inits.len()) };
    for message in [first, with_cookie, with_group] {
        assert_eq!((message.header.message_id, message.header.responder_spi), (0, IkeSpi::ZERO));
        assert_eq!(message.header.initiator_spi, first.header.initiator_spi);
    }
    // HDR(A,0), N(COOKIE), … -->
    assert!(has_notify(&with_cookie.payloads[..1], NotifyType::COOKIE));
    assert_eq!(with_cookie.payloads[1..], first.payloads);
    // HDR(A,0), N(COOKIE), SAi1, KEi, … -->   the KE in the other group, which is among those offered as before
    assert_eq!(with_group.payloads[0], with_cookie.payloads[0]);
    let but_for_key = |payloads: &[Payload]| {
        let is_key = |payload: &&Payload| matches!(payload, Payload::KeyExchange(_));
        payloads.iter().filter(|payload| !is_key(payload)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(but_for_key(&with_group.payloads), but_for_key(&with_cookie.payloads));
    let group_of = |payloads: &[Payload]| {
        payloads.iter().find_map(|payload| match payload {
            Payload::KeyExchange(key_exchange) => Some(key_exchange.group.0),
            _ => None,
        })
    };
    assert_eq!([first, with_group].map(|message| group_of(&message.payloads)), [Some(19), Some(31)]);
}

// RFC 7296 §2.6.
#[test]
fn a_wrong_cookie_is_as_good_as_none() {
    let mut pair = flooded(Scenario::site_to_site(1));
    let request = init_request();
    let fields = HeaderFields::from(&decode(&request).expect("it is whole").header);
    let cookie = Payload::Notify(Notify::new(NotifyType::COOKIE, [1; 36]));
    let bytes = encode_clear(&fields, &[vec![cookie], payloads_of(&request)].concat()).expect("it is short");
    let answer = payloads_of(&pair.answers(Side::Right, bytes)[0]);
    assert!(has_notify(&answer, NotifyType::COOKIE) && !has_sa(&answer), "{answer:?}");
}

// --- Where things go -----------------------------------------------------------------------------------------------

// RFC 7296 §2.11, §2.23.
#[test]
fn an_answer_goes_to_where_the_request_came_from() {
    for port in [500, 4500] {
        let mut pair = connected();
        let source = SocketAddr::new(site_address(Side::Left), 12_345);
        let destination = SocketAddr::new(site_address(Side::Right), port);
        pair.inject(
            Side::Right,
            Parcel { source, destination, cargo: Cargo::Ike(init_request()) },
            Duration::ZERO,
        );
        pair.run_for(Duration::from_millis(1));
        let answer = pair.sent(Side::Right).next_back().expect("it has answered");
        assert_eq!((answer.source, answer.destination), (destination, source));
    }
}

// RFC 7296 §2.23.
#[test]
fn who_is_behind_a_nat_alone_follows_nobody() {
    let scenario = Scenario::site_to_site(1)
        .behind_nat(Side::Left, MINUTE)
        .both(|gateway| gateway.settings.disclose_keys = true);
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    let ike = pair.ike_sas(Side::Left).remove(0);
    assert!(ike.nat.local && !ike.nat.remote);
    let fields = HeaderFields {
        initiator_spi: ike.initiator_spi,
        responder_spi: ike.responder_spi,
        exchange_type: ExchangeType::INFORMATIONAL,
        flags: Flags::NONE,
        message_id: 0,
    };
    // INFORMATIONAL { } -->   of the right, by another way
    let bytes = Impostor::of(&pair).seals(fields, &[]);
    let destination = pair.ike_sas(Side::Right)[0].path.remote;
    let source = SocketAddr::new(IpAddr::from([203, 0, 113, 9]), 4500);
    pair.inject(Side::Left, Parcel { source, destination, cargo: Cargo::Ike(bytes) }, Duration::ZERO);
    pair.run_for(Duration::from_millis(1));
    assert_eq!(pair.ike_sas(Side::Left)[0].path, ike.path);
}

// RFC 7296 §2.23: ESP goes where IKE goes, and on port 500 nowhere in UDP.
#[test]
fn a_copy_that_comes_to_port_500_leads_nobody_there() {
    let scenario = Scenario::site_to_site(1)
        .behind_nat(Side::Right, MINUTE)
        .both(|gateway| gateway.settings.disclose_keys = true);
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    let ike = pair.ike_sas(Side::Left).remove(0);
    assert!(ike.nat.remote && ike.path.local.port() == 4500);
    let fields = HeaderFields {
        initiator_spi: ike.initiator_spi,
        responder_spi: ike.responder_spi,
        exchange_type: ExchangeType::INFORMATIONAL,
        flags: Flags::NONE,
        message_id: 0,
    };
    for port in [500, 4500] {
        // INFORMATIONAL { } -->   of the right, by another address of its NAT
        let bytes =
            Impostor::of(&pair).seals(HeaderFields { message_id: u32::from(port == 4500), ..fields }, &[]);
        let source = SocketAddr::new(ike.path.remote.ip(), 40_000 + port);
        let destination = SocketAddr::new(ike.path.local.ip(), port);
        pair.inject(Side::Left, Parcel { source, destination, cargo: Cargo::Ike(bytes) }, Duration::ZERO);
        pair.run_for(Duration::from_millis(1));
        let path = pair.ike_sas(Side::Left)[0].path;
        assert_eq!(path == ike.path, port == 500);
    }
}

// --- Rekeying ------------------------------------------------------------------------------------------------------

// RFC 7296 §1.3.3, §2.8, §2.9.2.
#[test]
fn a_rekeying_proposes_the_traffic_in_use_and_no_packet_of_it() {
    let scenario = Scenario::site_to_site(1)
        .both(|gateway| gateway.settings.disclose_keys = true)
        .both_children(|child| child.start_action = StartAction::Trap);
    let mut pair = Pair::new(scenario);
    pair.run_for(SECOND);
    pair.start_stream(flow(Side::Left, 0), SECOND, 100);
    pair.run_until("the child is up", MINUTE, |pair| pair.is_up("net"));
    pair.stop_traffic();
    pair.rekey_child(Side::Left, "net").expect("it is up");
    let (exchange_type, payloads) = Impostor::of(&pair).heard(&pair);
    assert_eq!(exchange_type, ExchangeType::CREATE_CHILD_SA);
    assert!(has_notify(&payloads[..1], NotifyType::REKEY_SA), "{payloads:?}");
    let network = |side: u8| {
        let [first, last] = [0, 255].map(|host| IpAddr::from([10, side, 0, host]));
        vec![TrafficSelector::addresses(first, last).expect("they are of one family")]
    };
    assert!(payloads.contains(&Payload::TrafficSelectorsInitiator(network(1))), "{payloads:?}");
    assert!(payloads.contains(&Payload::TrafficSelectorsResponder(network(2))), "{payloads:?}");
    // No group is configured, and so no KE is sent (§3.4).
    assert!(!payloads.iter().any(|payload| matches!(payload, Payload::KeyExchange(_))), "{payloads:?}");
}

// RFC 7296 §2.9.2.
#[test]
fn a_rekeying_keeps_the_traffic_though_the_configuration_has_narrowed() {
    for side in Side::BOTH {
        let mut pair = connected();
        let mut narrow = pair.scenario().left.connection.clone();
        let child = Arc::make_mut(&mut narrow.children[0]);
        child.remote_selectors = vec![SelectorTemplate::Fixed("10.2.0.0/26".parse().expect("a prefix"))];
        pair.command(Side::Left, Command::Load(Arc::new(narrow)));
        let ticket = pair.rekey_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
        let carried = &pair.children(Side::Left, "net")[0].remote_selectors;
        assert_eq!(carried, &["10.2.0.0/24".parse().expect("a prefix")], "{side} rekeys");
    }
}
