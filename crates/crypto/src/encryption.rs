//! Encryption to RSA keys in the padding of PKCS #1 v1.5 (RFC 8017 §7.2), which IKEv1 wants (RFC 2409 §5.2) and nobody
//! should for anything new.
//!
//! ```text
//!   EM = 00 | 02 | PS, at least eight octets, none of them zero | 00 | M
//! ```
//!
//! Whoever learns of a ciphertext of his own whether its padding is right can decrypt others by many such questions
//! (Bleichenbacher 1998). So decrypting never says so: of a padding that is wrong comes a message all the same, made from
//! the private key and the ciphertext, always the same one (as draft-irtf-cfrg-rsa-guidance has it), and neither what
//! happens nor how long it takes tells which of the two it is.

use std::hint::black_box;
use std::ops::RangeInclusive;

use thiserror::Error;

use crate::signature::KeyKind;
use crate::{Secret, prf};

/// Octets of EM around a message, at least.
const PADDING_LEN: usize = 11;
/// Where the zero octet before the message can be first.
const FIRST_SEPARATOR: usize = PADDING_LEN - 1;

/// Says why a message is not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CannotEncrypt {
    /// Only RSA keys encrypt.
    #[error("a key of {0} does not encrypt; one of RSA would")]
    Unfit(KeyKind),
    /// The modulus has no room for the padded message.
    #[error("an RSA key of {bits} bits is too short to encrypt {octets} octets")]
    TooLong {
        /// The length of the modulus in bits.
        bits: usize,
        /// The length of the message.
        octets: usize,
    },
}

/// Says why a ciphertext is not decrypted, as everybody can see from the ciphertext's length and the public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CannotDecrypt {
    /// Only RSA keys decrypt.
    #[error("a key of {0} does not decrypt; one of RSA would")]
    Unfit(KeyKind),
    /// It is as long as what is encrypted to a key of another length.
    #[error("{actual} octets were not encrypted to our key of {expected}")]
    Length {
        /// Octets of our modulus.
        expected: usize,
        /// Octets of the ciphertext.
        actual: usize,
    },
    /// Whatever has the key failed; the ciphertext has nothing to do with it.
    #[error("what holds the private key failed")]
    Library,
}

/// Takes paddings off, and never tells whether one was right.
///
/// This is for keys that only undo the power, as those on tokens do; [`SigningKey::decrypt`](crate::SigningKey::decrypt)
/// does both.
#[derive(Clone, Debug)]
pub struct Unpadding(Secret<Vec<u8>>);

impl Unpadding {
    /// Takes something that nobody else knows and that stays the same for a key.
    pub fn new(secret: &[u8]) -> Unpadding {
        Unpadding(prf::HMAC_SHA2_256.compute(secret, &[b"implicit rejection"]))
    }

    /// Gives the message in `padded`, EM as long as the modulus; where that is not so padded or the message has none of
    /// these lengths, another message of one of them.
    pub fn unpad(
        &self,
        ciphertext: &[u8],
        padded: &Secret<Vec<u8>>,
        lengths: RangeInclusive<usize>,
    ) -> Secret<Vec<u8>> {
        let padded = padded.as_slice();
        let most = padded.len().saturating_sub(PADDING_LEN).min(*lengths.end());
        let least = most.min(*lengths.start());
        let (substitute, substitute_len) = self.substitute(ciphertext, padded.len(), least..=most);
        let (separator, mut is_good) = separator(padded);
        let found_len = padded.len().wrapping_sub(separator).wrapping_sub(1);
        is_good &= is_less(FIRST_SEPARATOR - 1, separator);
        is_good &= 1 ^ is_less(found_len, least);
        is_good &= 1 ^ is_less(most, found_len);
        let mut out = Secret::new(vec![0; padded.len()]);
        for ((out, found), other) in out.expose_mut().iter_mut().zip(padded).zip(substitute.as_slice()) {
            *out = select(is_good, usize::from(*found), usize::from(*other)) as u8;
        }
        let length = select(is_good, found_len, substitute_len);
        // From here on its length is known, as that of any message is.
        Secret::from(out.as_slice().get(padded.len() - length..).unwrap_or_default())
    }

    /// Makes the message that stands in for one that is wrongly padded, at the end of as many octets as EM has.
    fn substitute(
        &self,
        ciphertext: &[u8],
        octets: usize,
        lengths: RangeInclusive<usize>,
    ) -> (Secret<Vec<u8>>, usize) {
        let derive = |label: &[u8], number: u32| {
            prf::HMAC_SHA2_256.compute(self.0.as_slice(), &[label, &number.to_be_bytes(), ciphertext])
        };
        let mut stream = Secret::new(Vec::with_capacity(octets + 32));
        for number in (0..).take_while(|number| *number as usize * 32 < octets) {
            stream.expose_mut().extend_from_slice(derive(b"message", number).as_slice());
        }
        stream.expose_mut().truncate(octets);
        let choice = derive(b"length", 0)
            .as_slice()
            .iter()
            .take(4)
            .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        (stream, lengths.start() + choice % (lengths.end() - lengths.start() + 1))
    }
}

/// Finds the zero octet before the message, in a time that depends on the length alone; 1 says that there is one, and that
/// EM begins as it must.
fn separator(padded: &[u8]) -> (usize, usize) {
    let at = |index: usize| usize::from(padded.get(index).copied().unwrap_or_default());
    let is_type_2 = is_zero(at(0)) & is_zero(at(1) ^ 2);
    let (mut separator, mut is_found) = (0, 0);
    for (index, octet) in padded.iter().enumerate().skip(2) {
        let is_first = is_zero(usize::from(*octet)) & (1 ^ is_found);
        separator = select(is_first, index, separator);
        is_found |= is_first;
    }
    (separator, is_type_2 & is_found)
}

/// 1 if it is zero, else 0.
fn is_zero(number: usize) -> usize {
    (!number & number.wrapping_sub(1)) >> (usize::BITS - 1)
}

/// 1 if `a` is less than `b`, else 0; both are lengths, of which none has the highest bit.
fn is_less(a: usize, b: usize) -> usize {
    a.wrapping_sub(b) >> (usize::BITS - 1)
}

/// Gives `one` if `bit` is 1, and `other` if it is 0, without a branch: the compiler must not see that it is one of the two.
fn select(bit: usize, one: usize, other: usize) -> usize {
    let mask = black_box(bit).wrapping_neg();
    (one & mask) | (other & !mask)
}

#[cfg(test)]
mod tests;
