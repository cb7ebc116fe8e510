//! The same script as `endpoint`'s, between two ends that speak IKEv1.

use testkit::{ContentV1, ForgerV1, Pair, Proof, Scenario, Side};
use wire::registry::{ExchangeType, PayloadType};

use crate::endpoint::{change, play};

/// Runs the script.
pub fn run(input: &[u8]) {
    play(input, Scenario::site_to_site(1).version_1(), [forge, forge_changed]);
}

/// The left receives an authentic message of these payloads.
fn forge(pair: &mut Pair, argument: u8, content: &[u8]) {
    let Some((&first, octets)) = content.split_first() else { return };
    let exchanges = [ExchangeType::V1_QUICK_MODE, ExchangeType::V1_INFORMATIONAL, ExchangeType(argument)];
    let exchange_type = exchanges[usize::from(argument) % exchanges.len()];
    let first_payload = PayloadType(first);
    say(pair, ContentV1 { exchange_type, message_id: 0, first_payload, octets: octets.to_vec() });
}

/// The left receives what the right once said, changed in places before it was sealed.
fn forge_changed(pair: &mut Pair, argument: u8, content: &[u8]) {
    let Some(forger) = forger(pair) else { return };
    let past: Vec<_> = pair.messages(Side::Right).iter().filter_map(|bytes| forger.open(bytes)).collect();
    let Some(mut said) = past.iter().rev().nth(usize::from(argument) % past.len().max(1)).cloned() else {
        return;
    };
    change(&mut said.octets, content);
    say(pair, said);
}

/// Begins an exchange with the left, and goes on with it if it is a quick mode that the left answers.
fn say(pair: &mut Pair, content: ContentV1) {
    let Some(mut forger) = forger(pair) else { return };
    // Every step takes a while, so it is another one each time.
    let message_id = pair.elapsed().as_micros() as u32;
    let content = ContentV1 { message_id, ..content };
    let Some(bytes) = forger.seal(&content, Proof::First) else { return };
    forger.note(bytes.clone());
    for answer in pair.answers(Side::Left, bytes) {
        let nonces = (content.nonce(), forger.open(&answer).and_then(|second| second.nonce()));
        let (Some(nonce_i), Some(nonce_r)) = nonces else { continue };
        let third = ContentV1 { first_payload: PayloadType::NONE, octets: Vec::new(), ..content.clone() };
        if let Some(bytes) = forger.seal(&third, Proof::Third(&nonce_i, &nonce_r, &answer)) {
            pair.answers(Side::Left, bytes);
        }
    }
}

/// Gives whoever knows the keys of the ISAKMP SA that came last.
fn forger(pair: &Pair) -> Option<ForgerV1> {
    let keys = pair.disclosed_keys(Side::Left)?;
    let [left, right] = Side::BOTH.map(|side| pair.messages(side));
    let left_began = pair.ike_sas(Side::Left).last().is_none_or(|sa| sa.role == ike::Role::Initiator);
    if left_began { ForgerV1::new(keys, &left, &right) } else { ForgerV1::new(keys, &right, &left) }
}
