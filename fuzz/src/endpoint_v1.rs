//! The same script as `endpoint`'s, between two ends that speak IKEv1. What a step ignores of its octet says, in the first
//! step, what these ends are configured for:
//!
//! ```text
//!   octet 1  =  fragments NAT virtual-address user aggressive step[3]
//!   octet 2  =  254: public key encryption; 255: revised public key encryption
//! ```

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crypto::signature::NewKey;
use ike::{Authentication, EncryptionForm};
use pki::{PrivateKey, PublicKey};
use testkit::{ContentV1, ForgerV1, Pair, Proof, Scenario, Side};
use wire::registry::{ExchangeType, PayloadType};

use crate::endpoint::{change, play};

/// Runs the script.
pub fn run(input: &[u8]) {
    let mut scenario = scenario(input.first().copied().unwrap_or_default());
    match input.get(1) {
        Some(254) => encrypt(&mut scenario, EncryptionForm::Plain),
        Some(255) => encrypt(&mut scenario, EncryptionForm::Revised),
        Some(_) | None => {}
    }
    play(input, scenario, [forge, forge_changed]);
}

/// A key for each side, made once: that takes its time.
static KEYS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| {
    Side::BOTH.map(|_| PrivateKey::generate(NewKey::Rsa { bits: 1024 }).expect("the library makes keys"))
});

/// Has both sides know each other's keys, and prove themselves by them.
fn encrypt(scenario: &mut Scenario, form: EncryptionForm) {
    for side in Side::BOTH {
        let public = |of: Side| PublicKey::from_der(&KEYS[of.index()].public_key_info()).expect("it has one");
        let gateway = scenario.gateway_mut(side);
        gateway.connection.local_authentication = Authentication::Encryption(form);
        gateway.connection.remote_authentication = Authentication::Encryption(form);
        gateway.credentials.keys = vec![KEYS[side.index()].clone()];
        let wishes = credentials::Wishes {
            own_keys: vec![public(side)],
            peer_keys: vec![public(side.other())],
            ..credentials::Wishes::default()
        };
        gateway.credentials.connections.insert("site".to_owned(), Arc::new(wishes));
    }
}

fn scenario(octet: u8) -> Scenario {
    let has = |bit: u32| octet & (1 << bit) != 0;
    let mut scenario = Scenario::site_to_site(1).version_1();
    if has(AGGRESSIVE) {
        scenario = scenario.aggressive();
    }
    if has(USER) {
        scenario = scenario.with_user("carol");
    }
    if has(VIRTUAL_ADDRESS) {
        scenario = scenario.with_virtual_address();
    }
    if has(NAT) {
        scenario = scenario.behind_nat(Side::Left, Duration::from_secs(60));
    }
    if has(FRAGMENTS) {
        // Public values in quick mode as well, so that it is too long.
        scenario = scenario.suites("aes128-sha256-ecp256", "aes128gcm16-ecp256-noesn");
        scenario = scenario.both(|gateway| gateway.settings.fragment_size = SMALL);
    }
    scenario
}

const AGGRESSIVE: u32 = 3;
const USER: u32 = 4;
const VIRTUAL_ADDRESS: u32 = 5;
const NAT: u32 = 6;
const FRAGMENTS: u32 = 7;
/// How many of the messages that the right sent last may be said again.
const RECENT: usize = 40;
/// Octets of an IP packet that most messages exceed.
const SMALL: usize = 160;

/// The left receives an authentic message of these payloads.
fn forge(pair: &mut Pair, argument: u8, content: &[u8]) {
    let Some((&first, octets)) = content.split_first() else { return };
    let exchanges = [
        ExchangeType::V1_QUICK_MODE,
        ExchangeType::V1_INFORMATIONAL,
        ExchangeType::V1_TRANSACTION,
        ExchangeType(argument),
    ];
    let exchange_type = exchanges[usize::from(argument) % exchanges.len()];
    let first_payload = PayloadType(first);
    say(pair, ContentV1 { exchange_type, message_id: 0, first_payload, octets: octets.to_vec() });
}

/// The left receives what the right once said, changed in places before it was sealed.
fn forge_changed(pair: &mut Pair, argument: u8, content: &[u8]) {
    let Some(forger) = forger(pair) else { return };
    let past = pair.messages(Side::Right);
    // To open one, all are looked at: in a script with much time in it they are hundreds.
    let recent = &past[past.len().saturating_sub(RECENT)..];
    let past: Vec<_> = recent.iter().filter_map(|bytes| forger.open(bytes)).collect();
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
