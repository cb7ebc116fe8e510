//! What is inside an Encrypted payload, as someone who knows the keys could send it.

use wire::registry::PayloadType;
use wire::v2::{self, Payload};

/// The most octets that an explanation may have. A payload can hold 64 KiB, a line of a log should
/// not.
const EXPLANATION_MAX: usize = 1024;

/// Reads a chain whose first payload is of the type that the first octet names.
pub fn run(input: &[u8]) {
    let Some((first, chain)) = input.split_first() else { return };
    if let Ok(payloads) = v2::decode_payloads(PayloadType(*first), chain) {
        check(&payloads);
    }
}

/// What was read must read the same once written, and must explain itself in one line.
pub fn check(payloads: &[Payload]) {
    let (first, chain) = v2::encode_payloads(payloads).expect("what was read fits");
    let again = v2::decode_payloads(first, &chain).expect("what was written can be read");
    assert_eq!(again, payloads);
    for payload in payloads {
        let sentence = payload.explain();
        assert!(!sentence.contains('\n') && sentence.len() <= EXPLANATION_MAX, "{sentence}");
    }
}
