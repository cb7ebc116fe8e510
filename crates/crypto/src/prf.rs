//! Pseudo-random functions and the key stream that IKEv2 makes of them.

use std::fmt;

use aws_lc_rs::hmac::{self, Key};
use zeroize::Zeroizing;

use crate::tag::{TagKey, aes_cmac, hmac_md5};
use crate::xcbc::XcbcKey;
use crate::{Error, Secret};

/// Computes one pseudo-random function (RFC 7296 §2.13).
pub trait Prf: Send + Sync {
    /// Names the function for people, such as `PRF_HMAC_SHA2_256`.
    fn name(&self) -> &'static str;

    /// Gives the length of the output in octets.
    fn output_len(&self) -> usize;

    /// Gives the preferred key length in octets, which is the length of SK_d, SK_pi and SK_pr (RFC 7296 §2.14). It is that
    /// of the output.
    fn key_len(&self) -> usize {
        self.output_len()
    }

    /// Tells how long keys may be.
    fn key_rule(&self) -> KeyRule;

    /// Computes `prf(key, parts[0] | parts[1] | …)`, [`output_len`](Self::output_len) octets.
    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret<Vec<u8>>;
}

/// Says how long the keys of a pseudo-random function may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// As long as they like.
    Any,
    /// [`Prf::key_len`] octets. A key of another length works too, for pre-shared keys, but when keying material is
    /// made of nonces each gives just half a key (RFC 4434 §1.1, RFC 7296 §2.14).
    Fixed,
}

/// Computes the first `len` octets of `prf+(key, seed)`, where `seed` is given in parts (RFC 7296 §2.13):
///
/// ```text
/// prf+ (K,S) = T1 | T2 | T3 | …
/// T1 = prf (K, S | 0x01)
/// T2 = prf (K, T1 | S | 0x02) …
/// ```
///
/// # Errors
/// [`Error::Length`] if `len` takes more than the 255 blocks that the counter octet can number.
pub fn prf_plus(prf: &dyn Prf, key: &[u8], seed: &[&[u8]], len: usize) -> Result<Secret<Vec<u8>>, Error> {
    let blocks = u8::try_from(len.div_ceil(prf.output_len())).map_err(|_| Error::Length)?;
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut stream = Secret::new(Vec::with_capacity(usize::from(blocks) * prf.output_len()));
    let mut previous = Secret::new(Vec::new());
    for counter in 1..=blocks {
        let counter = [counter];
        let mut parts = Vec::with_capacity(seed.len() + 2);
        parts.push(previous.as_slice());
        parts.extend_from_slice(seed);
        parts.push(&counter);
        let block = prf.compute(key, &parts);
        stream.expose_mut().extend_from_slice(block.as_slice());
        previous = block;
    }
    stream.expose_mut().truncate(len);
    Ok(stream)
}

/// HMAC-SHA-256 (RFC 4868): keys and output of 32 octets.
pub static HMAC_SHA2_256: &dyn Prf =
    &hmac("PRF_HMAC_SHA2_256", 32, |key, parts| output(&Key::new(hmac::HMAC_SHA256, key), parts));
/// HMAC-SHA-384 (RFC 4868): keys and output of 48 octets.
pub static HMAC_SHA2_384: &dyn Prf =
    &hmac("PRF_HMAC_SHA2_384", 48, |key, parts| output(&Key::new(hmac::HMAC_SHA384, key), parts));
/// HMAC-SHA-512 (RFC 4868): keys and output of 64 octets.
pub static HMAC_SHA2_512: &dyn Prf =
    &hmac("PRF_HMAC_SHA2_512", 64, |key, parts| output(&Key::new(hmac::HMAC_SHA512, key), parts));
/// AES-XCBC-PRF-128 (RFC 4434): keys and output of 16 octets.
pub static AES128_XCBC: &dyn Prf = &aes128("PRF_AES128_XCBC", |key, parts| {
    // RFC 4434 §2: a shorter key is padded with zeros, a longer one goes through the function itself first.
    let mut aes_key = Zeroizing::new([0; AES_LEN]);
    match aes_key.get_mut(..key.len()) {
        Some(start) => start.copy_from_slice(key),
        None => aes_key.copy_from_slice(&XcbcKey::new(&[0; AES_LEN]).tag(&[key])),
    }
    output(&XcbcKey::new(&aes_key), parts)
});
/// AES-CMAC-PRF-128 (RFC 4615): keys and output of 16 octets.
pub static AES128_CMAC: &dyn Prf = &aes128("PRF_AES128_CMAC", |key, parts| {
    // RFC 4615 §3: a key of any other length goes through the function itself first.
    let mut aes_key = Zeroizing::new([0; AES_LEN]);
    match key.try_into() {
        Ok(key) => *aes_key = key,
        Err(_) => aes_key.copy_from_slice(&aes_cmac(&[0; AES_LEN]).tag(&[key])),
    }
    output(&aes_cmac(&aes_key), parts)
});
/// HMAC-SHA-1 (RFC 2104): keys and output of 20 octets.
pub static HMAC_SHA1: &dyn Prf = &hmac("PRF_HMAC_SHA1", 20, |key, parts| {
    output(&Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), parts)
});
/// HMAC-MD5 (RFC 2104): keys and output of 16 octets.
pub static HMAC_MD5: &dyn Prf = &hmac("PRF_HMAC_MD5", 16, |key, parts| output(&hmac_md5(key), parts));

/// All that there is to say about a function.
struct Definition {
    name: &'static str,
    output_len: usize,
    key_rule: KeyRule,
    compute: Compute,
}

type Compute = fn(key: &[u8], parts: &[&[u8]]) -> Secret<Vec<u8>>;

const fn hmac(name: &'static str, output_len: usize, compute: Compute) -> Definition {
    Definition { name, output_len, key_rule: KeyRule::Any, compute }
}

const fn aes128(name: &'static str, compute: Compute) -> Definition {
    Definition { name, output_len: AES_LEN, key_rule: KeyRule::Fixed, compute }
}

fn output(key: &impl TagKey, parts: &[&[u8]]) -> Secret<Vec<u8>> {
    Secret::from(key.tag(parts).as_ref())
}

/// Octets of a key and of a block of AES-128.
const AES_LEN: usize = 16;

impl Prf for Definition {
    fn name(&self) -> &'static str {
        self.name
    }

    fn output_len(&self) -> usize {
        self.output_len
    }

    fn key_rule(&self) -> KeyRule {
        self.key_rule
    }

    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret<Vec<u8>> {
        (self.compute)(key, parts)
    }
}

impl fmt::Debug for dyn Prf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
