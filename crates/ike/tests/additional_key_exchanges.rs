//! Additional key exchanges that do not go their way: out of turn, too late, or with a peer that has forgotten what they
//! are for (RFC 9242 §3.2, RFC 9370 §2.2.4).

use std::time::Duration;

use ike::{DownReason, Event, Failure};
use sa::transform;
use testkit::{Forger, Impostor, Pair, Scenario, Side, Weather};
use wire::registry::{
    EncryptionId, ExchangeType, KeyExchangeId, NotifyType, PrfId, ProtocolId, TransformType,
};
use wire::v2::{HeaderFields, KeyExchange, Notify, Payload, Proposal, Transform, decode};

const SECOND: Duration = Duration::from_secs(1);

fn hybrid() -> Scenario {
    Scenario::site_to_site(1).suites("aes128gcm16-prfsha256-x25519-ke1_ecp256", "aes128gcm16-esn")
}

fn has_notify(payloads: &[Payload], notify_type: NotifyType) -> bool {
    notify_data(payloads, notify_type).is_some()
}

fn notify_data(payloads: &[Payload], notify_type: NotifyType) -> Option<Vec<u8>> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.notify_type == notify_type => Some(notify.data.clone()),
        _ => None,
    })
}

fn public_value(id: KeyExchangeId) -> Payload {
    let group = transform::group(id).expect("it is in the table");
    let private = group.key_exchange.generate().expect("there is randomness");
    Payload::KeyExchange(KeyExchange { group: id, data: private.public().to_vec() })
}

// RFC 9242 §3.2, §5.
#[test]
fn an_intermediate_exchange_out_of_turn_is_ignored() {
    let mut pair = Pair::new(hybrid().both(|gateway| gateway.settings.disclose_keys = true));
    pair.up(Side::Left, "net");
    pair.run_until("the right answers", SECOND, |pair| !pair.messages(Side::Right).is_empty());
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    pair.run_until("the left goes on", SECOND, |pair| pair.messages(Side::Left).len() == 2);
    let forger = Forger::new(pair.disclosed_keys(Side::Left).expect("it is told")).expect("an AEAD");
    let first = pair.messages(Side::Left).pop().expect("it has sent IKE_INTERMEDIATE");
    let fields = HeaderFields::from(&decode(&first).expect("it is whole").header);
    assert_eq!((fields.exchange_type, fields.message_id), (ExchangeType::IKE_INTERMEDIATE, 1));
    let key_exchange = public_value(KeyExchangeId::ECP_256);
    for message_id in [0, 2, 3, ike::limits::INTERMEDIATE_EXCHANGES + 1] {
        let fields = HeaderFields { message_id, ..fields };
        let bytes = forger.seal_payloads(fields, std::slice::from_ref(&key_exchange)).expect("it is short");
        assert_eq!(pair.answers(Side::Right, bytes), Vec::<Vec<u8>>::new(), "message {message_id}");
    }
    // Nor is IKE_AUTH heard before all of them are over.
    let fields = HeaderFields { exchange_type: ExchangeType::IKE_AUTH, ..fields };
    let bytes = forger.seal_payloads(fields, &[Payload::VendorId(vec![1])]).expect("it is short");
    assert_eq!(pair.answers(Side::Right, bytes), Vec::<Vec<u8>>::new());
    assert_eq!(pair.answers(Side::Right, first).len(), 1);
}

// CREATE_CHILD_SA { SA, Ni, KEi } -->   with an additional key exchange
fn rekey_ike() -> Vec<Payload> {
    let proposal = Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: vec![7; 8],
        transforms: vec![
            Transform::encryption(EncryptionId::AES_GCM_16, Some(128)),
            Transform::prf(PrfId::HMAC_SHA2_256),
            Transform::key_exchange(KeyExchangeId::CURVE25519),
            Transform::new(TransformType::ADDITIONAL_KEY_EXCHANGE_1, KeyExchangeId::ECP_256.0),
        ],
    };
    let nonce = Payload::Nonce(vec![9; 32]);
    vec![Payload::SecurityAssociation(vec![proposal]), nonce, public_value(KeyExchangeId::CURVE25519)]
}

// IKE_FOLLOWUP_KE { KEi(1), N(ADDITIONAL_KEY_EXCHANGE) } -->
fn follow_up(link: Vec<u8>) -> [Payload; 2] {
    let link = Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link));
    [public_value(KeyExchangeId::ECP_256), link]
}

// RFC 9370 §2.2.4.
#[test]
fn what_is_not_followed_up_in_time_is_forgotten_and_said_to_be() {
    let (mut pair, mut impostor) = Impostor::takes_over(hybrid());
    // Nothing was ever begun.
    let answer = impostor.asks(&mut pair, ExchangeType::IKE_FOLLOWUP_KE, &follow_up(vec![0; 8]));
    assert!(has_notify(&answer.expect("it is answered"), NotifyType::STATE_NOT_FOUND));
    let mut begun = |wait: Duration| {
        let answer = impostor.asks(&mut pair, ExchangeType::CREATE_CHILD_SA, &rekey_ike());
        let answer = answer.expect("it is answered");
        let link = notify_data(&answer, NotifyType::ADDITIONAL_KEY_EXCHANGE).expect("it is to go on");
        pair.run_for(wait);
        let answer = impostor.asks(&mut pair, ExchangeType::IKE_FOLLOWUP_KE, &follow_up(link));
        answer.expect("it is answered")
    };
    let late = begun(ike::limits::FOLLOW_UP_WAIT + SECOND);
    assert!(has_notify(&late, NotifyType::STATE_NOT_FOUND), "{late:?}");
    let in_time = begun(ike::limits::FOLLOW_UP_WAIT - SECOND);
    assert!(matches!(in_time.as_slice(), [Payload::KeyExchange(_)]), "{in_time:?}");
}

/// Answers the left's last request: agrees to what it wants, and has forgotten that when it goes on.
fn forget(pair: &mut Pair, impostor: &Impostor) -> bool {
    let (exchange_type, payloads) = impostor.heard(pair);
    let answer = match exchange_type {
        ExchangeType::CREATE_CHILD_SA => agree(&payloads),
        ExchangeType::IKE_FOLLOWUP_KE => {
            vec![Payload::Notify(Notify::new(NotifyType::STATE_NOT_FOUND, []))]
        }
        _ => Vec::new(),
    };
    impostor.answers(pair, &answer);
    exchange_type == ExchangeType::IKE_FOLLOWUP_KE
}

// <-- CREATE_CHILD_SA { SA, Nr, KEr, N(ADDITIONAL_KEY_EXCHANGE) }
fn agree(request: &[Payload]) -> Vec<Payload> {
    let mut answer = Vec::new();
    for payload in request {
        answer.extend(match payload {
            Payload::SecurityAssociation(proposals) => {
                let chosen = Proposal { spi: vec![5; 8], ..proposals[0].clone() };
                Some(Payload::SecurityAssociation(vec![chosen]))
            }
            Payload::Nonce(_) => Some(Payload::Nonce(vec![3; 32])),
            Payload::KeyExchange(theirs) => Some(public_value(theirs.group)),
            _ => None,
        });
    }
    answer.push(Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, [1])));
    answer
}

// RFC 9370 §2.2.4.
#[test]
fn a_peer_that_forgets_every_key_exchange_has_lost_us() {
    let (mut pair, impostor) = Impostor::takes_over(hybrid());
    let ticket = pair.rekey_ike(Side::Left).expect("it is up");
    let mut forgotten = 0;
    while !pair.ike_sas(Side::Left).is_empty() {
        assert!(pair.elapsed() < 900 * SECOND, "it goes on for ever");
        forgotten += u32::from(forget(&mut pair, &impostor));
        pair.run_for(SECOND / 2);
    }
    assert!(forgotten > 20, "it has tried {forgotten} times");
    assert!(matches!(pair.result(ticket), Some(Err(Failure::PutOff { .. }))));
    let ended = pair
        .events(Side::Left)
        .iter()
        .any(|event| matches!(event, Event::IkeDown(_, DownReason::Failed(Failure::PutOff { .. }))));
    assert!(ended, "and says why");
    let last = impostor.heard(&pair);
    assert!(
        matches!(last, (ExchangeType::INFORMATIONAL, payloads) if matches!(payloads[..], [Payload::Delete(_)]))
    );
}
