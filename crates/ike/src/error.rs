//! What can go wrong, by whose fault; one match turns a fault into the notify that tells the peer.

use std::fmt;

use thiserror::Error;
use wire::registry::{KeyExchangeId, NotifyType, ProtocolId};
use wire::v2::Notify;

use crate::NoAgreement;

/// A fault in an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The peer's message cannot be read.
    #[error("the peer's message is malformed: {0}")]
    Malformed(#[from] wire::Malformed),
    /// The peer's message can be read but breaks the protocol.
    #[error("{0}")]
    Misbehaved(#[from] Misbehaviour),
    /// Nothing that the peer offers is allowed here.
    #[error("{0}")]
    NoAgreement(#[from] NoAgreement),
    /// The peer's key exchange is in another group than the one that both like best.
    #[error("the peer sent a key for group {sent}; {wanted} was agreed")]
    InvalidKeyExchange {
        /// The group of the peer's KE payload.
        sent: KeyExchangeId,
        /// The group of the chosen proposal.
        wanted: KeyExchangeId,
    },
    /// The selectors have nothing in common.
    #[error(
        "traffic selectors do not meet: the peer asks {theirs_remote} <-> {theirs_local}; configured is {ours_local} <-> {ours_remote}"
    )]
    SelectorsDoNotMeet {
        /// What the peer proposed for our end.
        theirs_local: String,
        /// What the peer proposed for its end.
        theirs_remote: String,
        /// What is configured for our end.
        ours_local: String,
        /// What is configured for the peer's end.
        ours_remote: String,
    },
    /// No connection is configured for such a peer.
    #[error("{0}")]
    NoConnection(String),
    /// The peer did not prove to be who it must be.
    #[error("authentication failed: {0}")]
    AuthenticationFailed(String),
    /// The peer asks about a Child SA that is not there.
    #[error("the peer named a Child SA that does not exist here")]
    ChildSaNotFound {
        /// The SPI that it named.
        spi: sa::Spi,
    },
    /// What the peer asks cannot be done at this moment (RFC 7296 §2.25).
    #[error("busy with an exchange that the peer's request collides with")]
    Busy,
    /// The peer wants a Child SA in another mode than the configured one.
    #[error("{0}")]
    OtherMode(&'static str),
    /// What the peer asks is not to be had here.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The peer uses a payload that it calls critical and that is not known here.
    #[error("the peer sent a payload of unknown type {0} and marked it critical")]
    UnsupportedCriticalPayload(u8),
    /// The fault is ours.
    #[error("{0}")]
    Local(String),
    /// The peer refused, with this notify.
    #[error("{0}")]
    Refused(Refusal),
}

/// How a readable message breaks the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Misbehaviour {
    /// A payload that the exchange needs is not there.
    #[error("the peer's {exchange} message lacks its {payload} payload")]
    Missing {
        /// The exchange.
        exchange: &'static str,
        /// The payload.
        payload: &'static str,
    },
    /// A payload stands more often than it may.
    #[error("the peer's {exchange} message has more than one {payload} payload")]
    Repeated {
        /// The exchange.
        exchange: &'static str,
        /// The payload.
        payload: &'static str,
    },
    /// A nonce is shorter or longer than RFC 7296 §2.10 allows.
    #[error("the peer's nonce has {0} octets; 16 to 256 are allowed")]
    NonceLength(usize),
    /// A public value is not one of its group.
    #[error("the peer's public key exchange value is not valid: {0}")]
    PublicValue(String),
    /// A message is not protected as its IKE SA demands.
    #[error("the message does not authenticate: {0}")]
    Protection(String),
    /// An answer contains something that was not asked for.
    #[error("the peer's answer is not among what we offered: {0}")]
    NotOffered(String),
    /// Anything else.
    #[error("the peer broke the protocol: {0}")]
    Other(&'static str),
}

/// The peer's refusal of a request of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The exchange in which it came.
    pub exchange: &'static str,
    /// The notify.
    pub notify: NotifyType,
    /// What we had asked for, in words; empty where nothing helps.
    pub asked: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.notify {
            NotifyType::NO_PROPOSAL_CHOSEN => "none of the algorithms that we offered is allowed there",
            NotifyType::AUTHENTICATION_FAILED => {
                "it could not authenticate us: pre-shared keys or identities differ"
            }
            NotifyType::TS_UNACCEPTABLE => "its traffic selectors do not meet ours",
            NotifyType::INVALID_SYNTAX => "it could not read our message",
            NotifyType::TEMPORARY_FAILURE => "it is busy",
            NotifyType::CHILD_SA_NOT_FOUND => "it does not have that Child SA",
            NotifyType::NO_ADDITIONAL_SAS => "it takes no more Child SAs",
            _ => "it gave no reason",
        };
        write!(f, "the peer refused {} with {}: {meaning}", self.exchange, self.notify)?;
        if self.asked.is_empty() { Ok(()) } else { write!(f, "; {}", self.asked) }
    }
}

/// Why something that somebody wanted did not come about: one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// An exchange failed.
    #[error(transparent)]
    Exchange(#[from] Error),
    /// The peer does not answer.
    #[error("the peer at {peer} does not answer: {tries} tries of {exchange} in {seconds} s went unanswered")]
    NoAnswer {
        /// Where it should be.
        peer: std::net::SocketAddr,
        /// The exchange.
        exchange: &'static str,
        /// How often it was sent.
        tries: u32,
        /// Over how long.
        seconds: u64,
    },
    /// What a command named is not there.
    #[error("{0}")]
    NotFound(String),
    /// A command took the thing away that another command waited for.
    #[error("terminated before it was done")]
    Terminated,
    /// The data plane refused an order.
    #[error("the data plane refused SA {}: {reason}", sa.spi)]
    Plane {
        /// The SA.
        sa: sa::SaId,
        /// One sentence.
        reason: String,
    },
    /// There is no way to the peer.
    #[error("no path to the peer: {0}")]
    NoPath(String),
}

impl Error {
    /// Gives the notify, with its data, that answers a request which met this fault.
    pub(crate) fn to_notify(&self) -> Option<Notify> {
        match self {
            Error::ChildSaNotFound { spi } => {
                Some(Notify::about(ProtocolId::ESP, *spi, NotifyType::CHILD_SA_NOT_FOUND))
            }
            Error::InvalidKeyExchange { wanted, .. } => {
                Some(Notify::new(NotifyType::INVALID_KE_PAYLOAD, wanted.0.to_be_bytes()))
            }
            Error::UnsupportedCriticalPayload(payload_type) => {
                Some(Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, [*payload_type]))
            }
            other => other.notify().map(|notify_type| Notify::new(notify_type, [])),
        }
    }

    /// Tells which notify, if any, answers a request that met this fault (RFC 7296 §2.21, §3.10.1).
    fn notify(&self) -> Option<NotifyType> {
        match self {
            Error::Malformed(_) | Error::Misbehaved(_) => Some(NotifyType::INVALID_SYNTAX),
            Error::NoAgreement(_) | Error::NoConnection(_) | Error::OtherMode(_) => {
                Some(NotifyType::NO_PROPOSAL_CHOSEN)
            }
            Error::InvalidKeyExchange { .. } => Some(NotifyType::INVALID_KE_PAYLOAD),
            Error::SelectorsDoNotMeet { .. } => Some(NotifyType::TS_UNACCEPTABLE),
            Error::AuthenticationFailed(_) => Some(NotifyType::AUTHENTICATION_FAILED),
            Error::ChildSaNotFound { .. } => Some(NotifyType::CHILD_SA_NOT_FOUND),
            Error::Busy | Error::Local(_) => Some(NotifyType::TEMPORARY_FAILURE),
            Error::NotAllowed(_) => Some(NotifyType::NO_ADDITIONAL_SAS),
            Error::UnsupportedCriticalPayload(_) => Some(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD),
            Error::Refused(_) => None,
        }
    }
}
