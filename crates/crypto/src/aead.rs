//! Ciphers that encrypt and authenticate in one pass.
//!
//! IKE and ESP use them alike (RFC 4106, RFC 4309, RFC 5282, RFC 7634): the negotiated keying material is a key followed
//! by a salt, each packet carries an IV, and the nonce is both together.
//!
//! ```text
//!      keying material                        packet
//!  +------------+------+      +-----+----+------------+-----+
//!  |    key     | salt |      | ... | IV | ciphertext | ICV |
//!  +------------+--+---+      +-----+-+--+------------+-----+
//!                  |     nonce        |
//!                  +--> salt | IV <---+
//! ```
//!
//! With an implicit IV (RFC 8750) the packet does not carry it: both ends know it from the sequence number.
//! GMAC (RFC 4543) belongs here because it is negotiated and used in the place of an AEAD; it authenticates only.

mod ccm;
mod evp;
mod gmac;

use std::fmt;

use ::ccm::consts::{U8, U12, U16};
use aes::{Aes128, Aes192, Aes256};
use camellia::{Camellia128, Camellia192, Camellia256};

use self::ccm::Ccm;
use self::evp::evp;
use crate::ffi::AeadAlgorithm;
use crate::{Error, Forged};

/// Describes one AEAD algorithm with one ICV length, and makes keys for it.
pub trait Aead: Send + Sync {
    /// Names the algorithm for people, such as `ENCR_AES_GCM_16-128`.
    fn name(&self) -> &'static str;

    /// Gives the key length in octets, without the salt.
    fn key_len(&self) -> usize;

    /// Gives the length of the salt in octets.
    fn salt_len(&self) -> usize;

    /// Gives the length in octets of the IV that goes before the ciphertext: 8, or 0 where it is implicit (RFC 8750).
    /// What [`AeadKey`] takes has 8 octets either way.
    fn iv_len(&self) -> usize;

    /// Gives the length of the integrity check value (ICV, the tag) in octets.
    fn icv_len(&self) -> usize;

    /// Tells whether the ciphertext hides the plaintext; that of GMAC does not.
    fn encrypts(&self) -> bool;

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

    /// Asks the processor to bring the key into its caches, because it is going to be used soon: among many keys, most of
    /// the time that a packet takes is spent waiting for memory.
    fn prefetch(&self) {}
}

/// AES-128-GCM with an 8-octet ICV (RFC 4106).
pub static AES_128_GCM_8: &dyn Aead = &evp("ENCR_AES_GCM_8-128", AeadAlgorithm::Aes128Gcm, 8);
/// AES-128-GCM with a 12-octet ICV (RFC 4106).
pub static AES_128_GCM_12: &dyn Aead = &evp("ENCR_AES_GCM_12-128", AeadAlgorithm::Aes128Gcm, 12);
/// AES-128-GCM with a 16-octet ICV (RFC 4106).
pub static AES_128_GCM_16: &dyn Aead = &evp("ENCR_AES_GCM_16-128", AeadAlgorithm::Aes128Gcm, 16);
/// AES-192-GCM with an 8-octet ICV (RFC 4106).
pub static AES_192_GCM_8: &dyn Aead = &evp("ENCR_AES_GCM_8-192", AeadAlgorithm::Aes192Gcm, 8);
/// AES-192-GCM with a 12-octet ICV (RFC 4106).
pub static AES_192_GCM_12: &dyn Aead = &evp("ENCR_AES_GCM_12-192", AeadAlgorithm::Aes192Gcm, 12);
/// AES-192-GCM with a 16-octet ICV (RFC 4106).
pub static AES_192_GCM_16: &dyn Aead = &evp("ENCR_AES_GCM_16-192", AeadAlgorithm::Aes192Gcm, 16);
/// AES-256-GCM with an 8-octet ICV (RFC 4106).
pub static AES_256_GCM_8: &dyn Aead = &evp("ENCR_AES_GCM_8-256", AeadAlgorithm::Aes256Gcm, 8);
/// AES-256-GCM with a 12-octet ICV (RFC 4106).
pub static AES_256_GCM_12: &dyn Aead = &evp("ENCR_AES_GCM_12-256", AeadAlgorithm::Aes256Gcm, 12);
/// AES-256-GCM with a 16-octet ICV (RFC 4106).
pub static AES_256_GCM_16: &dyn Aead = &evp("ENCR_AES_GCM_16-256", AeadAlgorithm::Aes256Gcm, 16);
/// ChaCha20-Poly1305 with a 16-octet ICV (RFC 7634).
pub static CHACHA20_POLY1305: &dyn Aead = &evp("ENCR_CHACHA20_POLY1305", AeadAlgorithm::ChaCha20Poly1305, 16);

/// AES-128-GCM with a 16-octet ICV and an implicit IV (RFC 8750).
pub static AES_128_GCM_16_IIV: &dyn Aead =
    &evp("ENCR_AES_GCM_16_IIV-128", AeadAlgorithm::Aes128Gcm, 16).with_implicit_iv();
/// AES-192-GCM with a 16-octet ICV and an implicit IV (RFC 8750).
pub static AES_192_GCM_16_IIV: &dyn Aead =
    &evp("ENCR_AES_GCM_16_IIV-192", AeadAlgorithm::Aes192Gcm, 16).with_implicit_iv();
/// AES-256-GCM with a 16-octet ICV and an implicit IV (RFC 8750).
pub static AES_256_GCM_16_IIV: &dyn Aead =
    &evp("ENCR_AES_GCM_16_IIV-256", AeadAlgorithm::Aes256Gcm, 16).with_implicit_iv();
/// ChaCha20-Poly1305 with a 16-octet ICV and an implicit IV (RFC 8750).
pub static CHACHA20_POLY1305_IIV: &dyn Aead =
    &evp("ENCR_CHACHA20_POLY1305_IIV", AeadAlgorithm::ChaCha20Poly1305, 16).with_implicit_iv();

/// AES-128-CCM with an 8-octet ICV (RFC 4309).
pub static AES_128_CCM_8: &dyn Aead = &Ccm::<Aes128, U8>::new("ENCR_AES_CCM_8-128");
/// AES-128-CCM with a 12-octet ICV (RFC 4309).
pub static AES_128_CCM_12: &dyn Aead = &Ccm::<Aes128, U12>::new("ENCR_AES_CCM_12-128");
/// AES-128-CCM with a 16-octet ICV (RFC 4309).
pub static AES_128_CCM_16: &dyn Aead = &Ccm::<Aes128, U16>::new("ENCR_AES_CCM_16-128");
/// AES-192-CCM with an 8-octet ICV (RFC 4309).
pub static AES_192_CCM_8: &dyn Aead = &Ccm::<Aes192, U8>::new("ENCR_AES_CCM_8-192");
/// AES-192-CCM with a 12-octet ICV (RFC 4309).
pub static AES_192_CCM_12: &dyn Aead = &Ccm::<Aes192, U12>::new("ENCR_AES_CCM_12-192");
/// AES-192-CCM with a 16-octet ICV (RFC 4309).
pub static AES_192_CCM_16: &dyn Aead = &Ccm::<Aes192, U16>::new("ENCR_AES_CCM_16-192");
/// AES-256-CCM with an 8-octet ICV (RFC 4309).
pub static AES_256_CCM_8: &dyn Aead = &Ccm::<Aes256, U8>::new("ENCR_AES_CCM_8-256");
/// AES-256-CCM with a 12-octet ICV (RFC 4309).
pub static AES_256_CCM_12: &dyn Aead = &Ccm::<Aes256, U12>::new("ENCR_AES_CCM_12-256");
/// AES-256-CCM with a 16-octet ICV (RFC 4309).
pub static AES_256_CCM_16: &dyn Aead = &Ccm::<Aes256, U16>::new("ENCR_AES_CCM_16-256");

/// Camellia-128-CCM with an 8-octet ICV (RFC 5529).
pub static CAMELLIA_128_CCM_8: &dyn Aead = &Ccm::<Camellia128, U8>::new("ENCR_CAMELLIA_CCM_8-128");
/// Camellia-128-CCM with a 12-octet ICV (RFC 5529).
pub static CAMELLIA_128_CCM_12: &dyn Aead = &Ccm::<Camellia128, U12>::new("ENCR_CAMELLIA_CCM_12-128");
/// Camellia-128-CCM with a 16-octet ICV (RFC 5529).
pub static CAMELLIA_128_CCM_16: &dyn Aead = &Ccm::<Camellia128, U16>::new("ENCR_CAMELLIA_CCM_16-128");
/// Camellia-192-CCM with an 8-octet ICV (RFC 5529).
pub static CAMELLIA_192_CCM_8: &dyn Aead = &Ccm::<Camellia192, U8>::new("ENCR_CAMELLIA_CCM_8-192");
/// Camellia-192-CCM with a 12-octet ICV (RFC 5529).
pub static CAMELLIA_192_CCM_12: &dyn Aead = &Ccm::<Camellia192, U12>::new("ENCR_CAMELLIA_CCM_12-192");
/// Camellia-192-CCM with a 16-octet ICV (RFC 5529).
pub static CAMELLIA_192_CCM_16: &dyn Aead = &Ccm::<Camellia192, U16>::new("ENCR_CAMELLIA_CCM_16-192");
/// Camellia-256-CCM with an 8-octet ICV (RFC 5529).
pub static CAMELLIA_256_CCM_8: &dyn Aead = &Ccm::<Camellia256, U8>::new("ENCR_CAMELLIA_CCM_8-256");
/// Camellia-256-CCM with a 12-octet ICV (RFC 5529).
pub static CAMELLIA_256_CCM_12: &dyn Aead = &Ccm::<Camellia256, U12>::new("ENCR_CAMELLIA_CCM_12-256");
/// Camellia-256-CCM with a 16-octet ICV (RFC 5529).
pub static CAMELLIA_256_CCM_16: &dyn Aead = &Ccm::<Camellia256, U16>::new("ENCR_CAMELLIA_CCM_16-256");

/// AES-128-CCM with an 8-octet ICV and an implicit IV (RFC 8750).
pub static AES_128_CCM_8_IIV: &dyn Aead =
    &Ccm::<Aes128, U8>::new("ENCR_AES_CCM_8_IIV-128").with_implicit_iv();
/// AES-192-CCM with an 8-octet ICV and an implicit IV (RFC 8750).
pub static AES_192_CCM_8_IIV: &dyn Aead =
    &Ccm::<Aes192, U8>::new("ENCR_AES_CCM_8_IIV-192").with_implicit_iv();
/// AES-256-CCM with an 8-octet ICV and an implicit IV (RFC 8750).
pub static AES_256_CCM_8_IIV: &dyn Aead =
    &Ccm::<Aes256, U8>::new("ENCR_AES_CCM_8_IIV-256").with_implicit_iv();

/// AES-128-GMAC with a 16-octet ICV (RFC 4543): it authenticates and encrypts nothing.
pub static NULL_AES_128_GMAC: &dyn Aead = &gmac::Gmac::new("ENCR_NULL_AUTH_AES_GMAC-128", 16);
/// AES-192-GMAC with a 16-octet ICV (RFC 4543): it authenticates and encrypts nothing.
pub static NULL_AES_192_GMAC: &dyn Aead = &gmac::Gmac::new("ENCR_NULL_AUTH_AES_GMAC-192", 24);
/// AES-256-GMAC with a 16-octet ICV (RFC 4543): it authenticates and encrypts nothing.
pub static NULL_AES_256_GMAC: &dyn Aead = &gmac::Gmac::new("ENCR_NULL_AUTH_AES_GMAC-256", 32);

/// Octets of every IV, sent or implicit (RFC 4106 §3.1, RFC 4309 §3.1, RFC 4543 §3.1, RFC 7634 §2, RFC 8750 §4).
const IV_LEN: usize = 8;

/// Puts the nonce of a packet together; `NONCE` is `SALT` and the IV's 8 octets.
fn nonce<const SALT: usize, const NONCE: usize>(salt: &[u8; SALT], iv: &[u8; IV_LEN]) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce[..SALT].copy_from_slice(salt);
    nonce[SALT..].copy_from_slice(iv);
    nonce
}

/// Checks the length of keying material.
fn check_len(aead: &dyn Aead, key_and_salt: &[u8]) -> Result<(), Error> {
    let (expected, actual) = (aead.key_len() + aead.salt_len(), key_and_salt.len());
    if actual == expected { Ok(()) } else { Err(Error::KeyLength { expected, actual }) }
}

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
