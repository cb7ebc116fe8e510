//! What is known in aggressive mode at each moment.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crypto::KeyExchangePrivate;
use sa::{AddressRange, Proposal};
use wire::isakmp::IkeSpi;
use wire::v1::Identification;

use super::waiting::Third;
use crate::authentication::v1::{Claim, DeviceAuthenticated, Transcript};
use crate::context::Initiation;
use crate::credentials::AuthorityName;
use crate::error::Failure;
use crate::exchange::IkeSpis;
use crate::io::{IkeSaId, Path};
use crate::retransmission::Repeating;
use crate::v1::abilities::PeerAbilities;
use crate::v1::channel::Channel;
use crate::v1::method::Method;
use crate::v1::negotiation::ChosenPhase1;
use crate::v1::phase_1::Awaited;
use crate::v1::public_key_encryption::{Addressee, Envelope, Sealed};
use crate::v1::repeated::{Repeated, Seen};
use crate::{Connection, Identity};

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We sent message 1.
pub(crate) struct Initiating {
    pub(super) id: IkeSaId,
    pub(super) initiation: Initiation,
    pub(super) path: Path,
    pub(super) spis: IkeSpis,
    /// What we offered, all of it in the group of our public value.
    pub(super) proposals: Vec<Proposal>,
    /// How we offered that the ends prove who they are.
    pub(super) methods: Vec<&'static Method>,
    /// The body of our SA payload, which the proofs cover.
    pub(super) sa_body: Vec<u8>,
    pub(super) local: Identity,
    pub(super) nonce: Vec<u8>,
    /// Our private value; used up by the first answer that could be one.
    pub(super) private: Option<Box<dyn KeyExchangePrivate>>,
    pub(super) repeating: Repeating,
    pub(super) begun_at: Instant,
    /// What an answer said against us that nobody authenticated. A better one may yet come, until message 1 would be
    /// repeated.
    pub(super) refused: Option<Failure>,
    /// To whom message 1 is encrypted, if it is.
    pub(super) addressee: Option<Addressee>,
    pub(super) stage: Calling,
}

/// How far our attempt is.
pub(super) enum Calling {
    /// Message 1 waits for the key that it is to be encrypted to.
    Unaddressed(Awaited),
    /// Message 2 is awaited.
    Open,
    /// It waits for our private key to decrypt it.
    Unread(Box<Unread>, Awaited),
    /// The responder's signature waits for its key.
    Claimed(Box<Secured>, Box<Claim>, Awaited),
    /// The responder is who it says; message 3 waits for our signature.
    Unsigned(Box<Secured>, DeviceAuthenticated, Awaited),
}

/// Message 2: whose cookie is in it, and whence it came.
pub(super) struct Second {
    pub(super) responder: IkeSpi,
    pub(super) path: Path,
    pub(super) message: Seen,
}

/// The same, and our private key must decrypt it.
pub(super) struct Unread {
    pub(super) second: Second,
    pub(super) sealed: Sealed,
}

/// The responder has answered, and there are keys.
pub(super) struct Secured {
    pub(super) channel: Channel,
    pub(super) transcript: Transcript,
    pub(super) chosen: ChosenPhase1,
    pub(super) abilities: PeerAbilities,
    /// The CAs of which the responder would like a certificate.
    pub(super) authorities: Option<Vec<AuthorityName>>,
    /// Message 2.
    pub(super) message: Seen,
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// A stranger began; we answered message 1, or are about to.
pub(crate) struct Responding {
    pub(super) connection: Arc<Connection>,
    pub(super) channel: Channel,
    pub(super) transcript: Transcript,
    pub(super) chosen: ChosenPhase1,
    pub(super) abilities: PeerAbilities,
    /// The addresses that the key that message 2 is encrypted to lets its owner speak for, if it does (RFC 3779).
    pub(super) addresses: Option<Vec<AddressRange>>,
    /// Who the initiator says that it is, and the body of the payload that says it.
    pub(super) remote: Identity,
    pub(super) identification_body: Vec<u8>,
    pub(super) begun_at: Instant,
    pub(super) until: Instant,
    /// Where it began: what half-open SAs are counted by.
    pub(super) origin: IpAddr,
    /// Whether a message 3 that proved nothing was told of already.
    pub(super) complained: bool,
    pub(super) stage: Called,
}

/// How far it is.
pub(super) enum Called {
    /// Message 2 waits for our signature.
    Unsigned(Box<Unsent>, Awaited),
    /// Message 1 was answered.
    Answered(Repeated),
    /// The same, and the initiator's signature in message 3 waits for its key.
    Claimed(Repeated, Box<Third>, Box<Claim>, Awaited),
}

/// Message 2, as far as it stands before its proof.
pub(super) struct Unsent {
    pub(super) first: First,
    pub(super) answer: wire::v1::Proposal,
    pub(super) public: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    pub(super) identification: Identification,
    /// How it is encrypted and to whom, if it is.
    pub(super) sealing: Option<(Envelope, Addressee)>,
}

/// Message 1, whence it came, and the cookies that go with it.
pub(super) struct First {
    pub(super) message: Seen,
    pub(super) path: Path,
    pub(super) spis: IkeSpis,
}

/// Who sent it, as far as it says.
pub(super) struct Caller {
    pub(super) connection: Arc<Connection>,
    pub(super) chosen: ChosenPhase1,
    pub(super) remote: Identity,
    /// To whom message 2 is to be encrypted, if it is.
    pub(super) addressee: Option<Addressee>,
}
