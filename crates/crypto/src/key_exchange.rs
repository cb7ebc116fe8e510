//! Key exchanges: two public values cross the wire, one shared secret stays on each side.
//!
//! The shape is that of a key encapsulation, which a Diffie-Hellman exchange fits and which ML-KEM needs (RFC 9370):
//! the initiator keeps a private value between the two messages, the responder is done in one step.
//!
//! ```text
//! initiator                                     responder
//! generate() → private
//!            private.public()  ------------->   respond(public) → (public, secret)
//! private.finish(public)       <-------------
//!            → secret
//! ```

mod curve;
mod ecp;
mod ml_kem;
mod modp;
mod x448;

use std::fmt;

use crate::{Error, Secret};

/// Describes one key exchange method.
pub trait KeyExchange: Send + Sync {
    /// Names the method for people, such as `CURVE25519` or `MODP_2048`.
    fn name(&self) -> &'static str;

    /// Gives the length in octets of the public value that the initiator sends.
    fn public_len(&self) -> usize;

    /// Makes the initiator's fresh private value.
    ///
    /// # Errors
    /// [`Error::Library`] if the library fails.
    fn generate(&self) -> Result<Box<dyn KeyExchangePrivate>, Error>;

    /// Acts as responder: makes a fresh private value, and gives our public value to send and the shared secret.
    ///
    /// # Errors
    /// [`Error::InvalidPublicValue`] if the initiator's value must not be used.
    fn respond(&self, peer_public: &[u8]) -> Result<(Vec<u8>, Secret<Vec<u8>>), Error>;
}

/// Holds the initiator's private value until the responder's public value comes; it serves one exchange only.
pub trait KeyExchangePrivate: Send {
    /// Gives our public value to send, [`KeyExchange::public_len`] octets as they go on the wire.
    fn public(&self) -> &[u8];

    /// Gives the shared secret as it goes into the key derivation.
    ///
    /// # Errors
    /// [`Error::InvalidPublicValue`] if the responder's value must not be used.
    fn finish(self: Box<Self>, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error>;
}

/// Curve25519 (RFC 8031): public values and secret of 32 octets.
pub static CURVE25519: &dyn KeyExchange = &curve::CURVE25519;
/// Curve448 (RFC 8031): public values and secret of 56 octets.
pub static CURVE448: &dyn KeyExchange = &x448::Curve448;
/// The 256-bit random ECP group (RFC 5903): public values of 64 octets, a secret of 32.
pub static ECP_256: &dyn KeyExchange = &curve::ECP_256;
/// The 384-bit random ECP group (RFC 5903): public values of 96 octets, a secret of 48.
pub static ECP_384: &dyn KeyExchange = &curve::ECP_384;
/// The 521-bit random ECP group (RFC 5903): public values of 132 octets, a secret of 66.
pub static ECP_521: &dyn KeyExchange = &curve::ECP_521;
/// brainpoolP256r1 (RFC 6954): public values of 64 octets, a secret of 32.
pub static BRAINPOOL_P256R1: &dyn KeyExchange = &ecp::BRAINPOOL_P256R1;
/// brainpoolP384r1 (RFC 6954): public values of 96 octets, a secret of 48.
pub static BRAINPOOL_P384R1: &dyn KeyExchange = &ecp::BRAINPOOL_P384R1;
/// brainpoolP512r1 (RFC 6954): public values of 128 octets, a secret of 64.
pub static BRAINPOOL_P512R1: &dyn KeyExchange = &ecp::BRAINPOOL_P512R1;
/// brainpoolP224r1 (RFC 6954): public values of 56 octets, a secret of 28.
pub static BRAINPOOL_P224R1: &dyn KeyExchange = &ecp::BRAINPOOL_P224R1;
/// The 224-bit random ECP group (RFC 5114 §2.5): public values of 56 octets, a secret of 28.
pub static ECP_224: &dyn KeyExchange = &ecp::ECP_224;
/// The 192-bit random ECP group (RFC 5114 §2.4): public values of 48 octets, a secret of 24. Too small for new uses.
pub static ECP_192: &dyn KeyExchange = &ecp::ECP_192;
/// The 2048-bit MODP group (RFC 3526 §3): public values and secret of 256 octets.
pub static MODP_2048: &dyn KeyExchange = &modp::MODP_2048;
/// The 3072-bit MODP group (RFC 3526 §4): public values and secret of 384 octets.
pub static MODP_3072: &dyn KeyExchange = &modp::MODP_3072;
/// The 4096-bit MODP group (RFC 3526 §5): public values and secret of 512 octets.
pub static MODP_4096: &dyn KeyExchange = &modp::MODP_4096;
/// The 6144-bit MODP group (RFC 3526 §6): public values and secret of 768 octets.
pub static MODP_6144: &dyn KeyExchange = &modp::MODP_6144;
/// The 8192-bit MODP group (RFC 3526 §7): public values and secret of 1024 octets.
pub static MODP_8192: &dyn KeyExchange = &modp::MODP_8192;
/// The 768-bit MODP group (RFC 2409 §6.1): public values and secret of 96 octets. It has been broken.
pub static MODP_768: &dyn KeyExchange = &modp::MODP_768;
/// The 1024-bit MODP group (RFC 2409 §6.2): public values and secret of 128 octets. States can break it.
pub static MODP_1024: &dyn KeyExchange = &modp::MODP_1024;
/// The 1536-bit MODP group (RFC 3526 §2): public values and secret of 192 octets. Too small for new uses.
pub static MODP_1536: &dyn KeyExchange = &modp::MODP_1536;
/// The 1024-bit MODP group with a subgroup of 160 bits (RFC 5114 §2.1): public values and secret of 128 octets.
pub static MODP_1024_160: &dyn KeyExchange = &modp::MODP_1024_160;
/// The 2048-bit MODP group with a subgroup of 224 bits (RFC 5114 §2.2): public values and secret of 256 octets.
pub static MODP_2048_224: &dyn KeyExchange = &modp::MODP_2048_224;
/// The 2048-bit MODP group with a subgroup of 256 bits (RFC 5114 §2.3): public values and secret of 256 octets.
pub static MODP_2048_256: &dyn KeyExchange = &modp::MODP_2048_256;

/// ML-KEM-512 (FIPS 203): an encapsulation key of 800 octets, a ciphertext of 768, a secret of 32.
pub static ML_KEM_512: &dyn KeyExchange = &ml_kem::MLKEM_512;
/// ML-KEM-768 (FIPS 203): an encapsulation key of 1184 octets, a ciphertext of 1088, a secret of 32.
pub static ML_KEM_768: &dyn KeyExchange = &ml_kem::MLKEM_768;
/// ML-KEM-1024 (FIPS 203): an encapsulation key and a ciphertext of 1568 octets, a secret of 32.
pub static ML_KEM_1024: &dyn KeyExchange = &ml_kem::MLKEM_1024;

impl fmt::Debug for dyn KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for dyn KeyExchangePrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyExchangePrivate(..)")
    }
}
