//! What can go wrong: the caller's sizes, the peer's public value, the library, or a forged packet.

use thiserror::Error;

/// Says why an algorithm could not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The key has another length than the algorithm takes.
    #[error("a key of {expected} octets was expected, {actual} octets were given")]
    KeyLength {
        /// The length that the algorithm takes, in octets.
        expected: usize,
        /// The length that was given, in octets.
        actual: usize,
    },
    /// The peer's public value must not be used; the exchange fails.
    #[error("the peer's public key exchange value is invalid: {0}")]
    InvalidPublicValue(#[from] InvalidPublicValue),
    /// An input or output other than a key has a length that the algorithm cannot take.
    #[error("a buffer has a length that the algorithm cannot take")]
    Length,
    /// The cryptographic library failed for a reason that no input explains, such as lack of memory.
    #[error("the cryptographic library failed")]
    Library,
}

/// Says what is wrong with a peer's public key exchange value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidPublicValue {
    /// It does not have the one length that the method fixes.
    #[error("{expected} octets were expected, {actual} octets came")]
    Length {
        /// The length that the method fixes, in octets.
        expected: usize,
        /// The length that came, in octets.
        actual: usize,
    },
    /// A MODP value is not strictly between 1 and p − 1 (RFC 6989 §2.1).
    #[error("it is not between 1 and p - 1")]
    OutOfRange,
    /// A point has coordinates that are too large or do not satisfy the curve's equation (RFC 6989 §2.3).
    #[error("it is not a point of the curve")]
    NotOnCurve,
    /// A Curve25519 value gives the all-zero shared secret, whatever our private key (RFC 8031 §2).
    #[error("it gives the all-zero shared secret")]
    SmallOrder,
    /// An ML-KEM encapsulation key has coefficients that are not reduced (FIPS 203 §7.2).
    #[error("it is not an encapsulation key")]
    NotEncapsulationKey,
}

/// Says that an integrity check value does not fit what it should protect; deliberately nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the integrity check failed")]
pub struct Forged;
