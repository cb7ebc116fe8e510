//! What can go wrong, by whose fault; one match turns a fault into the notify that tells the peer.

use std::fmt;

use thiserror::Error;
use wire::registry::v1;
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
    /// The peer's certificate does not let it speak for its traffic.
    #[error("{remote} may not speak for {selector}: its certificate is for the addresses {addresses}")]
    OutsideCertificate {
        /// The traffic.
        selector: String,
        /// Who the peer is.
        remote: String,
        /// What its certificate allows (RFC 3779).
        addresses: String,
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
        /// Its protocol.
        protocol: ProtocolId,
        /// The SPI that it named.
        spi: sa::Spi,
    },
    /// The peer goes on with something that is not known here, or no longer (RFC 9370 §2.2.4).
    #[error("the peer goes on with a key exchange that is not known here any more")]
    StateNotFound,
    /// What the peer asks cannot be done at this moment (RFC 7296 §2.25).
    #[error("busy with an exchange that the peer's request collides with")]
    Busy,
    /// The peer wants a Child SA of another kind than the configured one.
    #[error("{0}")]
    Unsuitable(String),
    /// No virtual address is free for the peer.
    #[error("{0}")]
    NoAddress(String),
    /// The peer must ask for a virtual address, and does not.
    #[error("{0}")]
    ShouldHaveAsked(String),
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
    /// The peer refused in version 1, with this notification.
    #[error("{0}")]
    RefusedV1(RefusalV1),
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
                "it could not authenticate us: keys, certificates or identities differ"
            }
            NotifyType::TS_UNACCEPTABLE => "its traffic selectors do not meet ours",
            NotifyType::INVALID_SYNTAX => "it could not read our message",
            NotifyType::TEMPORARY_FAILURE => "it is busy",
            NotifyType::STATE_NOT_FOUND => "it does not know of the exchange any more",
            NotifyType::CHILD_SA_NOT_FOUND => "it does not have that Child SA",
            NotifyType::INTERNAL_ADDRESS_FAILURE => "it has no virtual address for us",
            NotifyType::FAILED_CP_REQUIRED => {
                "it wants to be asked for a virtual address, with `vips = 0.0.0.0` or `::`"
            }
            NotifyType::NO_ADDITIONAL_SAS => "it takes no more Child SAs",
            _ => "it gave no reason",
        };
        write!(f, "the peer refused {} with {}: {meaning}", self.exchange, self.notify)?;
        if self.asked.is_empty() { Ok(()) } else { write!(f, "; {}", self.asked) }
    }
}

/// The peer's refusal in IKEv1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalV1 {
    /// The exchange in which it came.
    pub exchange: &'static str,
    /// The notification.
    pub notify: v1::NotifyType,
    /// What we had asked for, in words; empty where nothing helps.
    pub asked: String,
}

impl fmt::Display for RefusalV1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.notify {
            v1::NotifyType::NO_PROPOSAL_CHOSEN => "none of the combinations that we offered is allowed there",
            v1::NotifyType::AUTHENTICATION_FAILED
            | v1::NotifyType::INVALID_HASH_INFORMATION
            | v1::NotifyType::PAYLOAD_MALFORMED => {
                "it could not read or not believe our message: pre-shared keys or identities differ, or it does not \
                 trust our certificate"
            }
            v1::NotifyType::INVALID_ID_INFORMATION => {
                "it does not allow the identity or traffic that we named"
            }
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
    /// What a peer of version 1 began was refused.
    #[error("{phase}: {fault}")]
    TurnedAway {
        /// `phase 1` or `quick mode`: with the same words, either may have been meant.
        phase: &'static str,
        /// Why.
        fault: Error,
    },
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
    /// The peer goes on putting off what it is asked for.
    #[error(
        "the peer has been busy with something else for {minutes} minutes: the two ends have lost each other"
    )]
    PutOff {
        /// For how long.
        minutes: u64,
    },
    /// There is no way to the peer.
    #[error("no path to the peer: {0}")]
    NoPath(String),
}

impl Error {
    /// Gives the notify, with its data, that answers a request which met this fault.
    pub(crate) fn to_notify(&self) -> Option<Notify> {
        match self {
            Error::ChildSaNotFound { protocol, spi } => {
                Some(Notify::about(*protocol, *spi, NotifyType::CHILD_SA_NOT_FOUND))
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
            Error::NoAgreement(_) | Error::NoConnection(_) | Error::Unsuitable(_) => {
                Some(NotifyType::NO_PROPOSAL_CHOSEN)
            }
            Error::InvalidKeyExchange { .. } => Some(NotifyType::INVALID_KE_PAYLOAD),
            Error::SelectorsDoNotMeet { .. } | Error::OutsideCertificate { .. } => {
                Some(NotifyType::TS_UNACCEPTABLE)
            }
            Error::AuthenticationFailed(_) => Some(NotifyType::AUTHENTICATION_FAILED),
            Error::ChildSaNotFound { .. } => Some(NotifyType::CHILD_SA_NOT_FOUND),
            Error::StateNotFound => Some(NotifyType::STATE_NOT_FOUND),
            Error::Busy | Error::Local(_) => Some(NotifyType::TEMPORARY_FAILURE),
            Error::NoAddress(_) => Some(NotifyType::INTERNAL_ADDRESS_FAILURE),
            Error::ShouldHaveAsked(_) => Some(NotifyType::FAILED_CP_REQUIRED),
            Error::NotAllowed(_) => Some(NotifyType::NO_ADDITIONAL_SAS),
            Error::UnsupportedCriticalPayload(_) => Some(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD),
            Error::Refused(_) | Error::RefusedV1(_) => None,
        }
    }

    /// Tells which notification of IKEv1, if any, answers a message that met this fault (RFC 2408 §3.14.1, §5).
    pub(crate) fn to_v1_notify(&self) -> Option<v1::NotifyType> {
        match self {
            Error::Malformed(_) | Error::Misbehaved(_) | Error::UnsupportedCriticalPayload(_) => {
                Some(v1::NotifyType::PAYLOAD_MALFORMED)
            }
            Error::NoAgreement(_) | Error::NoConnection(_) | Error::NotAllowed(_) | Error::Unsuitable(_) => {
                Some(v1::NotifyType::NO_PROPOSAL_CHOSEN)
            }
            Error::InvalidKeyExchange { .. } => Some(v1::NotifyType::INVALID_KEY_INFORMATION),
            Error::SelectorsDoNotMeet { .. } | Error::OutsideCertificate { .. } => {
                Some(v1::NotifyType::INVALID_ID_INFORMATION)
            }
            Error::AuthenticationFailed(_) => Some(v1::NotifyType::AUTHENTICATION_FAILED),
            Error::ChildSaNotFound { .. }
            | Error::StateNotFound
            | Error::Busy
            | Error::NoAddress(_)
            | Error::ShouldHaveAsked(_)
            | Error::Local(_)
            | Error::Refused(_)
            | Error::RefusedV1(_) => None,
        }
    }
}
