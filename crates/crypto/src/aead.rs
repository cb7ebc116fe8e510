//! Ciphers that encrypt and authenticate in one pass.
//!
//! IKE and ESP use them alike (RFC 4106, RFC 5282, RFC 7634): the negotiated keying material is a key followed by a
//! salt, each packet carries an explicit IV, and the nonce is both together.
//!
//! ```text
//!      keying material                        packet
//!  +------------+------+      +-----+----+------------+-----+
//!  |    key     | salt |      | ... | IV | ciphertext | ICV |
//!  +------------+--+---+      +-----+-+--+------------+-----+
//!                  |     nonce        |
//!                  +--> salt | IV <---+
//! ```

use std::fmt;

use zeroize::Zeroizing;

use crate::{Error, Forged, ffi};

/// Describes one AEAD algorithm with one ICV length, and makes keys for it.
pub trait Aead: Send + Sync {
    /// Names the algorithm for people, such as `ENCR_AES_GCM_16-128`.
    fn name(&self) -> &'static str;

    /// Gives the key length in octets, without the salt.
    fn key_len(&self) -> usize;

    /// Gives the length of the salt in octets.
    fn salt_len(&self) -> usize;

    /// Gives the length in octets of the explicit IV that goes before the ciphertext.
    fn iv_len(&self) -> usize;

    /// Gives the length of the integrity check value (ICV, the tag) in octets.
    fn icv_len(&self) -> usize;

    /// Expands keying material, the key and then the salt, for use with many packets.
    ///
    /// # Errors
    /// [`Error::KeyLength`] unless there are [`key_len`](Self::key_len) + [`salt_len`](Self::salt_len) octets.
    fn key(&self, key_and_salt: &[u8]) -> Result<Box<dyn AeadKey>, Error>;
}

/// Seals and opens with one expanded key, in place and with the ICV apart; allocates nothing.
pub trait AeadKey: Send + Sync {
    /// Encrypts `data` in place and writes the ICV over it and `associated`.
    ///
    /// An `iv` must never be used twice with one key: all secrecy and integrity would be lost.
    ///
    /// # Errors
    /// [`Error::Length`] if `icv` is not as long as the algorithm's `icv_len` or `data` is longer than the
    /// algorithm can encrypt. `data` must not be sent then.
    fn seal(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &mut [u8]) -> Result<(), Error>;

    /// Checks `icv` over the ciphertext `data` and `associated`, and decrypts `data` in place.
    ///
    /// # Errors
    /// [`Forged`] if the check fails or `icv` is not as long as the algorithm's `icv_len`. `data` must not be looked
    /// at then: it may have been overwritten.
    fn open(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &[u8]) -> Result<(), Forged>;
}

/// AES-128-GCM with an 8-octet ICV (RFC 4106).
pub static AES_128_GCM_8: &dyn Aead = &gcm("ENCR_AES_GCM_8-128", ffi::AeadAlgorithm::Aes128Gcm, 8);
/// AES-128-GCM with a 12-octet ICV (RFC 4106).
pub static AES_128_GCM_12: &dyn Aead = &gcm("ENCR_AES_GCM_12-128", ffi::AeadAlgorithm::Aes128Gcm, 12);
/// AES-128-GCM with a 16-octet ICV (RFC 4106).
pub static AES_128_GCM_16: &dyn Aead = &gcm("ENCR_AES_GCM_16-128", ffi::AeadAlgorithm::Aes128Gcm, 16);
/// AES-192-GCM with an 8-octet ICV (RFC 4106).
pub static AES_192_GCM_8: &dyn Aead = &gcm("ENCR_AES_GCM_8-192", ffi::AeadAlgorithm::Aes192Gcm, 8);
/// AES-192-GCM with a 12-octet ICV (RFC 4106).
pub static AES_192_GCM_12: &dyn Aead = &gcm("ENCR_AES_GCM_12-192", ffi::AeadAlgorithm::Aes192Gcm, 12);
/// AES-192-GCM with a 16-octet ICV (RFC 4106).
pub static AES_192_GCM_16: &dyn Aead = &gcm("ENCR_AES_GCM_16-192", ffi::AeadAlgorithm::Aes192Gcm, 16);
/// AES-256-GCM with an 8-octet ICV (RFC 4106).
pub static AES_256_GCM_8: &dyn Aead = &gcm("ENCR_AES_GCM_8-256", ffi::AeadAlgorithm::Aes256Gcm, 8);
/// AES-256-GCM with a 12-octet ICV (RFC 4106).
pub static AES_256_GCM_12: &dyn Aead = &gcm("ENCR_AES_GCM_12-256", ffi::AeadAlgorithm::Aes256Gcm, 12);
/// AES-256-GCM with a 16-octet ICV (RFC 4106).
pub static AES_256_GCM_16: &dyn Aead = &gcm("ENCR_AES_GCM_16-256", ffi::AeadAlgorithm::Aes256Gcm, 16);
/// ChaCha20-Poly1305 with a 16-octet ICV (RFC 7634).
pub static CHACHA20_POLY1305: &dyn Aead =
    &EvpAead { name: "ENCR_CHACHA20_POLY1305", algorithm: ffi::AeadAlgorithm::ChaCha20Poly1305, icv_len: 16 };

struct EvpAead {
    name: &'static str,
    algorithm: ffi::AeadAlgorithm,
    icv_len: usize,
}

const fn gcm(name: &'static str, algorithm: ffi::AeadAlgorithm, icv_len: usize) -> EvpAead {
    EvpAead { name, algorithm, icv_len }
}

impl Aead for EvpAead {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        self.algorithm.key_len()
    }

    fn salt_len(&self) -> usize {
        SALT_LEN
    }

    fn iv_len(&self) -> usize {
        IV_LEN
    }

    fn icv_len(&self) -> usize {
        self.icv_len
    }

    fn key(&self, key_and_salt: &[u8]) -> Result<Box<dyn AeadKey>, Error> {
        let wrong_length =
            Error::KeyLength { expected: self.key_len() + SALT_LEN, actual: key_and_salt.len() };
        let (key, salt) = key_and_salt.split_at_checked(self.key_len()).ok_or(wrong_length)?;
        let salt = Zeroizing::new(salt.try_into().map_err(|_| wrong_length)?);
        let context = ffi::AeadContext::new(self.algorithm, key, self.icv_len)?;
        Ok(Box::new(EvpAeadKey { context, salt }))
    }
}

struct EvpAeadKey {
    context: ffi::AeadContext,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

impl EvpAeadKey {
    fn nonce(&self, iv: &[u8; IV_LEN]) -> [u8; SALT_LEN + IV_LEN] {
        let mut nonce = [0; SALT_LEN + IV_LEN];
        nonce[..SALT_LEN].copy_from_slice(&*self.salt);
        nonce[SALT_LEN..].copy_from_slice(iv);
        nonce
    }
}

impl AeadKey for EvpAeadKey {
    fn seal(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &mut [u8]) -> Result<(), Error> {
        self.context.seal(&self.nonce(iv), associated, data, icv)
    }

    fn open(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &[u8]) -> Result<(), Forged> {
        self.context.open(&self.nonce(iv), associated, data, icv)
    }
}

const SALT_LEN: usize = 4;
const IV_LEN: usize = 8;

impl fmt::Debug for dyn Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for dyn AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

#[cfg(test)]
mod tests;
