//! Keyed functions with their whole output: integrity algorithms truncate it, pseudo-random functions do not.

use aes::Aes128;
use aws_lc_rs::hmac::{Context, Key};
use cmac::Cmac;
use hmac::digest::Output;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

/// Computes with one expanded key; allocates nothing.
pub(crate) trait TagKey: Send + Sync {
    /// The whole output.
    type Tag: AsRef<[u8]>;

    /// Computes the output over the concatenation of `parts`.
    fn tag(&self, parts: &[&[u8]]) -> Self::Tag;
}

/// HMAC by aws-lc: the key holds the states after the inner and outer pads, and wipes them when dropped.
impl TagKey for Key {
    type Tag = aws_lc_rs::hmac::Tag;

    fn tag(&self, parts: &[&[u8]]) -> Self::Tag {
        let mut context = Context::with_key(self);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

/// A function of the RustCrypto project in its state after the key, which each computation begins with a copy of.
pub(crate) struct Keyed<M>(M);

/// HMAC-MD5 (RFC 2104), which aws-lc-rs leaves out; it takes keys of any length.
pub(crate) fn hmac_md5(key: &[u8]) -> Keyed<Hmac<Md5>> {
    Keyed(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
}

/// AES-CMAC (RFC 4493).
pub(crate) fn aes_cmac(key: &[u8; 16]) -> Keyed<Cmac<Aes128>> {
    Keyed(Cmac::new(key.into()))
}

impl<M: Mac + Clone + Send + Sync> TagKey for Keyed<M> {
    type Tag = Output<M>;

    fn tag(&self, parts: &[&[u8]]) -> Self::Tag {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes()
    }
}
