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
mod modp;

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
/// The 256-bit random ECP group (RFC 5903): public values of 64 octets, a secret of 32.
pub static ECP_256: &dyn KeyExchange = &curve::ECP_256;
/// The 384-bit random ECP group (RFC 5903): public values of 96 octets, a secret of 48.
pub static ECP_384: &dyn KeyExchange = &curve::ECP_384;
/// The 521-bit random ECP group (RFC 5903): public values of 132 octets, a secret of 66.
pub static ECP_521: &dyn KeyExchange = &curve::ECP_521;
/// The 2048-bit MODP group (RFC 3526 §3): public values and secret of 256 octets.
pub static MODP_2048: &dyn KeyExchange = &modp::MODP_2048;
/// The 3072-bit MODP group (RFC 3526 §4): public values and secret of 384 octets.
pub static MODP_3072: &dyn KeyExchange = &modp::MODP_3072;
/// The 4096-bit MODP group (RFC 3526 §5): public values and secret of 512 octets.
pub static MODP_4096: &dyn KeyExchange = &modp::MODP_4096;

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
