//! What PKCS #8 holds of an ML-DSA key (RFC 9881 §6).
//!
//! ```text
//!   CHOICE { seed [0] OCTET STRING, expandedKey OCTET STRING, both SEQUENCE { seed, expandedKey } }
//! ```

use crypto::Secret;
use crypto::signature::MlDsa;
use der::asn1::{AnyRef, ContextSpecificRef, OctetStringRef};
use der::{Decode, Encode, Sequence, TagMode, TagNumber};

#[derive(Sequence)]
struct Both<'a> {
    seed: &'a OctetStringRef,
    expanded: &'a OctetStringRef,
}

/// Gives the octets of the key, as [`crypto::signature::signing_key`] takes them, which looks at their length.
pub(crate) fn decode(content: &[u8]) -> Option<Secret<Vec<u8>>> {
    match content.first()? {
        0x80 => {
            // The tag is implicit: what follows is the string's own length and octets.
            Some(AnyRef::from_der(content).ok()?.value().into())
        }
        0x04 => Some(<&OctetStringRef>::from_der(content).ok()?.as_bytes().into()),
        0x30 => {
            let Both { seed, expanded } = Both::from_der(content).ok()?;
            Some(Secret::from([seed.as_bytes(), expanded.as_bytes()].concat()))
        }
        _ => None,
    }
}

/// Writes the key in the form in which it is known, the seed alone if that is all.
pub(crate) fn encode(set: MlDsa, octets: &[u8]) -> der::Result<Vec<u8>> {
    let expanded_octets = set.expanded_octets();
    match octets.len().checked_sub(expanded_octets) {
        None => {
            let seed = OctetStringRef::new(octets)?;
            ContextSpecificRef { tag_number: TagNumber(0), tag_mode: TagMode::Implicit, value: &seed }
                .to_der()
        }
        Some(0) => OctetStringRef::new(octets)?.to_der(),
        Some(seed_len) => {
            let (seed, expanded) = octets.split_at(seed_len);
            Both { seed: OctetStringRef::new(seed)?, expanded: OctetStringRef::new(expanded)? }.to_der()
        }
    }
}
