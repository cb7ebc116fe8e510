//! What each end answers while it is itself about something else, sentence by sentence of RFC 7296 §2.25, and what it makes
//! of the other's refusals. The left's own requests stay unanswered here, so that it is for certain in the middle of them.

use std::time::Duration;

use ike::Failure;
use sa::transform;
use testkit::{Impostor, Pair, Scenario, Side};
use wire::registry::{ExchangeType, KeyExchangeId, NotifyType, ProtocolId};
use wire::v2::{Delete, KeyExchange, Notify, Payload, TrafficSelector};

const SECOND: Duration = Duration::from_secs(1);

/// What the left is in the middle of.
#[derive(Clone, Copy, Debug)]
enum Doing {
    CreatingChild,
    RekeyingChild,
    DeletingChild,
    RekeyingIke,
    DeletingIke,
}

fn left_is(doing: Doing) -> (Pair, Impostor) {
    let mut scenario = Scenario::site_to_site(1);
    for side in Side::BOTH {
        let more = testkit::child("more", side, 1);
        scenario.gateway_mut(side).connection.children.push(more.into());
    }
    let (mut pair, impostor) = Impostor::takes_over(scenario);
    let ticket = match doing {
        Doing::CreatingChild => Some(pair.up(Side::Left, "more")),
        Doing::RekeyingChild => pair.rekey_child(Side::Left, "net"),
        Doing::DeletingChild => pair.down_child(Side::Left, "net"),
        Doing::RekeyingIke => pair.rekey_ike(Side::Left),
        Doing::DeletingIke => pair.down(Side::Left),
    };
    ticket.expect("there is such an SA");
    (pair, impostor)
}

fn has_notify(payloads: &[Payload], notify_type: NotifyType) -> bool {
    payloads
        .iter()
        .any(|payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == notify_type))
}

fn has_sa(payloads: &[Payload]) -> bool {
    payloads.iter().any(|payload| matches!(payload, Payload::SecurityAssociation(_)))
}

fn notify(notify_type: NotifyType) -> Payload {
    Payload::Notify(Notify::new(notify_type, []))
}

/// What the right calls its end of the Child SA.
fn right_spi(pair: &Pair) -> sa::Spi {
    pair.ike_sas(Side::Left)[0].children.first().expect("there is one").outbound.spi
}

/// SA, Ni, TSi, TSr for traffic within the `index`th networks.
fn child_request(index: u8) -> Vec<Payload> {
    let proposal = wire::v2::Proposal {
        number: 1,
        protocol: ProtocolId::ESP,
        spi: vec![0xc0, 0xff, 0xee, 0x07],
        transforms: vec![
            wire::v2::Transform::encryption(wire::registry::EncryptionId::AES_GCM_16, Some(128)),
            wire::v2::Transform::esn(wire::registry::EsnId::EXTENDED),
        ],
    };
    let network = |side: u8| {
        let [first, last] = [0, 255].map(|host| [10, side, index, host].into());
        vec![TrafficSelector::addresses(first, last).expect("they are of one family")]
    };
    vec![
        Payload::SecurityAssociation(vec![proposal]),
        Payload::Nonce(vec![9; 32]),
        Payload::TrafficSelectorsInitiator(network(2)),
        Payload::TrafficSelectorsResponder(network(1)),
    ]
}

// CREATE_CHILD_SA { SA, Ni, TSi, TSr } -->
fn create_child() -> Vec<Payload> {
    child_request(1)
}

// CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr } -->
fn rekey_child(pair: &Pair) -> Vec<Payload> {
    let rekey = Notify::about(ProtocolId::ESP, right_spi(pair), NotifyType::REKEY_SA);
    [vec![Payload::Notify(rekey)], child_request(0)].concat()
}

// INFORMATIONAL { D(ESP) } -->
fn delete_child(pair: &Pair) -> Vec<Payload> {
    vec![Payload::Delete(Delete { protocol: ProtocolId::ESP, spis: vec![right_spi(pair)] })]
}

// CREATE_CHILD_SA { SA, Ni, KEi } -->
fn rekey_ike() -> Vec<Payload> {
    use wire::registry::{EncryptionId, PrfId};
    let group = transform::group(KeyExchangeId::CURVE25519).expect("it is in the table");
    let private = group.key_exchange.generate().expect("there is randomness");
    let proposal = wire::v2::Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: vec![7; 8],
        transforms: vec![
            wire::v2::Transform::encryption(EncryptionId::AES_GCM_16, Some(128)),
            wire::v2::Transform::prf(PrfId::HMAC_SHA2_256),
            wire::v2::Transform::key_exchange(group.id),
        ],
    };
    vec![
        Payload::SecurityAssociation(vec![proposal]),
        Payload::Nonce(vec![9; 32]),
        Payload::KeyExchange(KeyExchange { group: group.id, data: private.public().to_vec() }),
    ]
}

/// Lets the right ask while the left is about something, and gives the answer.
fn asked_while(doing: Doing, request: impl Fn(&Pair) -> Vec<Payload>) -> (Pair, Vec<Payload>) {
    let (mut pair, mut impostor) = left_is(doing);
    let payloads = request(&pair);
    let exchange_type = match payloads.first() {
        Some(Payload::Delete(_)) => ExchangeType::INFORMATIONAL,
        _ => ExchangeType::CREATE_CHILD_SA,
    };
    let answer = impostor.asks(&mut pair, exchange_type, &payloads);
    (pair, answer.expect("every request is answered"))
}

// --- RFC 7296 §2.25.1 ----------------------------------------------------------------------------------------------

#[test]
fn a_child_that_is_being_closed_is_not_rekeyed() {
    let (_, answer) = asked_while(Doing::DeletingChild, rekey_child);
    assert!(has_notify(&answer, NotifyType::TEMPORARY_FAILURE), "{answer:?}");
}

#[test]
fn a_child_that_is_being_rekeyed_may_be_rekeyed_by_the_other_end_too() {
    let (_, answer) = asked_while(Doing::RekeyingChild, rekey_child);
    assert!(has_sa(&answer), "{answer:?}");
}

#[test]
fn a_child_that_both_ends_close_is_named_by_neither_answer() {
    let (pair, answer) = asked_while(Doing::DeletingChild, delete_child);
    assert_eq!(answer, []);
    assert!(
        pair.plane(Side::Left).sas().is_empty(),
        "the outbound SA is gone already, and the inbound one too"
    );
}

#[test]
fn a_child_that_is_being_rekeyed_is_closed_as_usual() {
    let inbound = |pair: &Pair| pair.ike_sas(Side::Left)[0].children[0].inbound.spi;
    let (mut pair, mut impostor) = left_is(Doing::RekeyingChild);
    let (ours, payloads) = (inbound(&pair), delete_child(&pair));
    let answer = impostor.asks(&mut pair, ExchangeType::INFORMATIONAL, &payloads);
    let delete = Delete { protocol: ProtocolId::ESP, spis: vec![ours] };
    assert_eq!(answer, Some(vec![Payload::Delete(delete)]));
}

#[test]
fn the_ike_sa_is_not_rekeyed_while_a_child_is_created_rekeyed_or_closed() {
    for doing in [Doing::CreatingChild, Doing::RekeyingChild, Doing::DeletingChild] {
        let (_, answer) = asked_while(doing, |_| rekey_ike());
        assert!(has_notify(&answer, NotifyType::TEMPORARY_FAILURE), "{doing:?}: {answer:?}");
    }
}

// --- RFC 7296 §2.25.2 ----------------------------------------------------------------------------------------------

#[test]
fn the_ike_sa_that_is_being_rekeyed_may_be_rekeyed_by_the_other_end_too() {
    let (_, answer) = asked_while(Doing::RekeyingIke, |_| rekey_ike());
    assert!(has_sa(&answer), "{answer:?}");
}

#[test]
fn the_ike_sa_that_is_being_closed_is_not_rekeyed() {
    let (_, answer) = asked_while(Doing::DeletingIke, |_| rekey_ike());
    assert!(has_notify(&answer, NotifyType::TEMPORARY_FAILURE), "{answer:?}");
}

#[test]
fn the_ike_sa_that_is_being_rekeyed_or_closed_is_closed_as_usual() {
    for doing in [Doing::RekeyingIke, Doing::DeletingIke] {
        let (mut pair, answer) = asked_while(doing, |_| vec![Payload::Delete(Delete::ike_sa())]);
        assert_eq!(answer, [], "{doing:?}");
        assert!(pair.ike_sas(Side::Left).is_empty(), "{doing:?}");
        // Its own request is forgotten: nothing is repeated.
        let before = pair.messages(Side::Left).len();
        pair.run_for(60 * SECOND);
        assert_eq!(pair.messages(Side::Left).len(), before, "{doing:?}");
    }
}

#[test]
fn no_child_is_created_or_rekeyed_while_the_ike_sa_is_rekeyed() {
    for request in [|_: &Pair| create_child(), rekey_child] {
        let (_, answer) = asked_while(Doing::RekeyingIke, request);
        assert!(has_notify(&answer, NotifyType::TEMPORARY_FAILURE), "{answer:?}");
    }
}

#[test]
fn a_child_is_closed_as_usual_while_the_ike_sa_is_rekeyed() {
    let (pair, answer) = asked_while(Doing::RekeyingIke, delete_child);
    assert!(matches!(answer.as_slice(), [Payload::Delete(_)]), "{answer:?}");
    assert!(pair.plane(Side::Left).sas().is_empty());
}

// RFC 7296 §2.8.2.
#[test]
fn an_ike_sa_that_was_rekeyed_is_not_rekeyed_once_more() {
    let (mut pair, mut impostor) = Impostor::takes_over(Scenario::site_to_site(1));
    // CREATE_CHILD_SA { SA, Ni, KEi } -->
    let answer = impostor.asks(&mut pair, ExchangeType::CREATE_CHILD_SA, &rekey_ike());
    assert!(has_sa(&answer.expect("it is answered")));
    let answer = impostor.asks(&mut pair, ExchangeType::CREATE_CHILD_SA, &rekey_ike());
    assert!(has_notify(&answer.expect("it is answered"), NotifyType::TEMPORARY_FAILURE));
    // Nor is anything made in it (§1.3.2).
    let answer = impostor.asks(&mut pair, ExchangeType::CREATE_CHILD_SA, &create_child());
    assert!(has_notify(&answer.expect("it is answered"), NotifyType::TEMPORARY_FAILURE));
}

// --- What the left makes of a refusal ------------------------------------------------------------------------------

#[test]
fn what_is_put_off_is_not_asked_for_again_at_once() {
    for doing in [Doing::CreatingChild, Doing::RekeyingChild, Doing::RekeyingIke] {
        let (mut pair, impostor) = left_is(doing);
        // <-- CREATE_CHILD_SA { N(TEMPORARY_FAILURE) }
        impostor.answers(&mut pair, &[notify(NotifyType::TEMPORARY_FAILURE)]);
        assert!(!impostor.hears_within(&mut pair, SECOND, ExchangeType::CREATE_CHILD_SA), "{doing:?}");
        assert!(impostor.hears_within(&mut pair, 10 * SECOND, ExchangeType::CREATE_CHILD_SA), "{doing:?}");
    }
}

#[test]
fn a_child_that_the_peer_does_not_have_is_made_anew() {
    let (mut pair, impostor) = left_is(Doing::RekeyingChild);
    // <-- CREATE_CHILD_SA { N(CHILD_SA_NOT_FOUND) }
    impostor.answers(&mut pair, &[notify(NotifyType::CHILD_SA_NOT_FOUND)]);
    assert!(pair.plane(Side::Left).sas().is_empty(), "the old one is gone without a word");
    let (exchange_type, payloads) = impostor.heard(&pair);
    assert_eq!(exchange_type, ExchangeType::CREATE_CHILD_SA);
    assert!(has_sa(&payloads) && !has_notify(&payloads, NotifyType::REKEY_SA), "{payloads:?}");
}

#[test]
fn an_error_of_an_unknown_type_is_a_refusal() {
    let (mut pair, impostor) = Impostor::takes_over(Scenario::site_to_site(1));
    let ticket = pair.rekey_ike(Side::Left).expect("it is up");
    // <-- CREATE_CHILD_SA { N(8192) }
    impostor.answers(&mut pair, &[notify(NotifyType(8192))]);
    let Some(Err(Failure::Exchange(fault))) = pair.result(ticket) else { panic!("it was refused") };
    assert!(fault.to_string().contains("8192"), "{fault}");
    assert_eq!(pair.ike_sas(Side::Left).len(), 1, "the IKE SA lives on");
}

/// RFC 7296 §4: the peer replaces no SAs, so a whole new IKE SA is made, and takes the place of this one.
#[test]
fn a_peer_that_replaces_no_sas_gets_a_new_ike_sa() {
    for doing in [Doing::RekeyingChild, Doing::RekeyingIke] {
        let (mut pair, impostor) = left_is(doing);
        let before = pair.ike_sas(Side::Left)[0].initiator_spi;
        pair.switch_on(Side::Right);
        // <-- CREATE_CHILD_SA { N(NO_ADDITIONAL_SAS) }
        impostor.answers(&mut pair, &[notify(NotifyType::NO_ADDITIONAL_SAS)]);
        pair.run_until("both ends have a new one", 10 * SECOND, |pair| {
            pair.is_up("net") && pair.ike_sas(Side::Left).iter().any(|ike| ike.initiator_spi != before)
        });
        // The old one ends, with or without the peer's word.
        pair.run_until("the old one is gone", 600 * SECOND, |pair| pair.ike_sas(Side::Left).len() == 1);
        assert_ne!(pair.ike_sas(Side::Left)[0].initiator_spi, before, "{doing:?}");
        pair.settle_and_check();
    }
}
