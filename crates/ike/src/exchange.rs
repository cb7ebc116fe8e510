//! What the exchanges of both versions are made of: the names and the random numbers of their two ends.

use wire::isakmp::IkeSpi;

/// Both nonces of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nonces<'a> {
    /// Ni, of whoever began the exchange.
    pub(crate) initiator: &'a [u8],
    /// Nr, of whoever answered.
    pub(crate) responder: &'a [u8],
}

/// Both SPIs of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IkeSpis {
    /// The original initiator's.
    pub(crate) initiator: IkeSpi,
    /// The original responder's.
    pub(crate) responder: IkeSpi,
}
