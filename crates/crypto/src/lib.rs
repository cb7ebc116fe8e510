//! Ciphers, MACs, PRFs, key exchanges and signatures behind small traits; the only crate that names a cryptographic library.
//!
//! Each kind of algorithm is a trait, and each algorithm a static that implements it:
//!
//! | trait | statics | used for |
//! |---|---|---|
//! | [`Prf`] | [`prf::HMAC_SHA2_256`] … | IKE key derivation and AUTH, with [`prf_plus`] |
//! | [`Aead`] | [`aead::AES_128_GCM_16`] … | ESP and IKE's encrypted payload |
//! | [`Cipher`] | [`cipher::AES_128_CBC`] … | the same, together with a [`Mac`] |
//! | [`Mac`] | [`mac::HMAC_SHA2_256_128`] … | the same, together with a [`Cipher`] |
//! | [`KeyExchange`] | [`key_exchange::CURVE25519`] … | KE payloads |
//! | [`SigningKey`], [`VerifyingKey`] | made by [`signature::signing_key`] … | AUTH payloads, certificates |
//! | the same | made by them, see [`encryption`] | nonces and identities of IKEv1's public key encryption |
//! | [`Hash`] | [`hash::SHA1`] … | NAT detection, signature input |
//!
//! An algorithm knows its sizes; given key octets it makes a key object (`AeadKey`, `CipherKey`, `MacKey`) that
//! holds the expanded schedule, works in place, allocates nothing per packet, may be shared between threads, and
//! wipes itself when dropped.
//!
//! This crate knows no IANA numbers, no keywords and no protocol: the transform table of the `sa` crate gives an
//! algorithm its numbers. Nonces, IVs and sequence numbers are the caller's to choose and never to repeat.

#![deny(unsafe_code)]

pub mod aead;
pub mod cipher;
mod constant_time;
pub mod encryption;
mod error;
#[allow(unsafe_code, reason = "the one module that calls the C library")]
mod ffi;
mod gmac;
pub mod hash;
pub mod key_exchange;
pub mod mac;
pub mod prf;
mod random;
mod salt;
mod secret;
pub mod signature;
mod tag;
#[cfg(test)]
mod vectors;
mod xcbc;

pub use aead::{Aead, AeadKey};
pub use cipher::{Cipher, CipherKey, IvRule};
pub use constant_time::constant_time_eq;
pub use error::{Error, Forged, InvalidPublicValue};
pub use hash::Hash;
pub use key_exchange::{KeyExchange, KeyExchangePrivate};
pub use mac::{Mac, MacKey};
pub use prf::{KeyRule, Prf, prf_plus};
pub use random::{Random, SystemRandom};
pub use secret::Secret;
pub use signature::{SigningKey, VerifyingKey};
