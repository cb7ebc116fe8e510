//! Pseudo-random functions and the key stream that IKEv2 makes of them.

use std::fmt;

use aws_lc_rs::hmac;

use crate::{Error, Secret};

/// Computes one pseudo-random function (RFC 7296 §2.13).
pub trait Prf: Send + Sync {
    /// Names the function for people, such as `PRF_HMAC_SHA2_256`.
    fn name(&self) -> &'static str;

    /// Gives the preferred key length in octets, which is the length of SK_d, SK_pi and SK_pr (RFC 7296 §2.14).
    /// The functions here take keys of any length.
    fn key_len(&self) -> usize;

    /// Gives the length of the output in octets.
    fn output_len(&self) -> usize;

    /// Computes `prf(key, parts[0] | parts[1] | …)`, [`output_len`](Self::output_len) octets.
    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret<Vec<u8>>;
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
pub static HMAC_SHA2_256: &dyn Prf = &Hmac { name: "PRF_HMAC_SHA2_256", algorithm: hmac::HMAC_SHA256 };
/// HMAC-SHA-384 (RFC 4868): keys and output of 48 octets.
pub static HMAC_SHA2_384: &dyn Prf = &Hmac { name: "PRF_HMAC_SHA2_384", algorithm: hmac::HMAC_SHA384 };
/// HMAC-SHA-512 (RFC 4868): keys and output of 64 octets.
pub static HMAC_SHA2_512: &dyn Prf = &Hmac { name: "PRF_HMAC_SHA2_512", algorithm: hmac::HMAC_SHA512 };

struct Hmac {
    name: &'static str,
    algorithm: hmac::Algorithm,
}

impl Prf for Hmac {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        self.output_len()
    }

    fn output_len(&self) -> usize {
        self.algorithm.tag_len()
    }

    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret<Vec<u8>> {
        let mut context = hmac::Context::with_key(&hmac::Key::new(self.algorithm, key));
        for part in parts {
            context.update(part);
        }
        Secret::from(context.sign().as_ref())
    }
}

impl fmt::Debug for dyn Prf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
