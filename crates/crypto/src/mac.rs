//! Message authentication codes, truncated as IPsec uses them (RFC 4868 §2).

use std::fmt;

use aws_lc_rs::hmac;

use crate::{Error, Forged, constant_time_eq};

/// Describes one integrity algorithm and makes keys for it.
pub trait Mac: Send + Sync {
    /// Names the algorithm for people, such as `AUTH_HMAC_SHA2_256_128`.
    fn name(&self) -> &'static str;

    /// Gives the fixed key length in octets.
    fn key_len(&self) -> usize;

    /// Gives the length of the integrity check value (ICV) in octets, after truncation.
    fn icv_len(&self) -> usize;

    /// Expands `key` for use with many packets.
    ///
    /// # Errors
    /// [`Error::KeyLength`] unless `key` has [`key_len`](Self::key_len) octets.
    fn key(&self, key: &[u8]) -> Result<Box<dyn MacKey>, Error>;
}

/// Signs and verifies with one expanded key; allocates nothing.
pub trait MacKey: Send + Sync {
    /// Writes the ICV of the concatenation of `parts` into `icv`.
    ///
    /// # Panics
    /// If `icv` is not as long as the algorithm's `icv_len`: the caller sizes it, never the peer.
    fn sign(&self, parts: &[&[u8]], icv: &mut [u8]);

    /// Checks, in constant time, that `icv` is that of the concatenation of `parts`.
    ///
    /// # Errors
    /// [`Forged`] if it is not, or has another length than the algorithm's `icv_len`.
    fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> Result<(), Forged>;
}

/// HMAC-SHA-256-128 (RFC 4868): a key of 32 octets, an ICV of 16.
pub static HMAC_SHA2_256_128: &dyn Mac = &hmac("AUTH_HMAC_SHA2_256_128", hmac::HMAC_SHA256, 32, 16);
/// HMAC-SHA-384-192 (RFC 4868): a key of 48 octets, an ICV of 24.
pub static HMAC_SHA2_384_192: &dyn Mac = &hmac("AUTH_HMAC_SHA2_384_192", hmac::HMAC_SHA384, 48, 24);
/// HMAC-SHA-512-256 (RFC 4868): a key of 64 octets, an ICV of 32.
pub static HMAC_SHA2_512_256: &dyn Mac = &hmac("AUTH_HMAC_SHA2_512_256", hmac::HMAC_SHA512, 64, 32);

struct Hmac {
    name: &'static str,
    algorithm: hmac::Algorithm,
    key_len: usize,
    icv_len: usize,
}

const fn hmac(name: &'static str, algorithm: hmac::Algorithm, key_len: usize, icv_len: usize) -> Hmac {
    Hmac { name, algorithm, key_len, icv_len }
}

impl Mac for Hmac {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        self.key_len
    }

    fn icv_len(&self) -> usize {
        self.icv_len
    }

    fn key(&self, key: &[u8]) -> Result<Box<dyn MacKey>, Error> {
        if key.len() != self.key_len {
            return Err(Error::KeyLength { expected: self.key_len, actual: key.len() });
        }
        Ok(Box::new(HmacKey { key: hmac::Key::new(self.algorithm, key), icv_len: self.icv_len }))
    }
}

/// The library's key holds the states after the inner and outer pads, and wipes them when dropped.
struct HmacKey {
    key: hmac::Key,
    icv_len: usize,
}

impl HmacKey {
    fn tag(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

impl MacKey for HmacKey {
    fn sign(&self, parts: &[&[u8]], icv: &mut [u8]) {
        assert_eq!(icv.len(), self.icv_len, "the caller sizes the ICV by Mac::icv_len");
        icv.copy_from_slice(&self.tag(parts).as_ref()[..self.icv_len]);
    }

    fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> Result<(), Forged> {
        let tag = self.tag(parts);
        if constant_time_eq(&tag.as_ref()[..self.icv_len], icv) { Ok(()) } else { Err(Forged) }
    }
}

impl fmt::Debug for dyn Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for dyn MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

#[cfg(test)]
mod tests;
