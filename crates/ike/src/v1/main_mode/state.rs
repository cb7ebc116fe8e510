//! What is known in main mode at each moment.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crypto::{KeyExchangePrivate, Secret};

use super::introduction::Introduction;
use crate::authentication::v1::{Claim, DeviceAuthenticated, Transcript};
use crate::context::{Contact, Initiation};
use crate::credentials::AuthorityName;
use crate::error::Failure;
use crate::exchange::IkeSpis;
use crate::io::{IkeSaId, Path};
use crate::retransmission::Repeating;
use crate::v1::abilities::PeerAbilities;
use crate::v1::channel::{Channel, Iv};
use crate::v1::expiry::Expiry;
use crate::v1::method::Method;
use crate::v1::negotiation::ChosenPhase1;
use crate::v1::phase_1::Awaited;
use crate::v1::public_key_encryption::{Addressee, Opened, Sealed};
use crate::v1::repeated::{Repeated, Seen};
use crate::{Connection, Identity};

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We began, and wait for message 2, 4 or 6.
pub(crate) struct Initiating {
    pub(super) id: IkeSaId,
    pub(super) initiation: Initiation,
    pub(super) path: Path,
    pub(super) spis: IkeSpis,
    /// What we offered: how the ends are to prove who they are.
    pub(super) methods: Vec<&'static Method>,
    /// The body of our SA payload, which the proofs cover.
    pub(super) sa_body: Vec<u8>,
    pub(super) peer: PeerAbilities,
    /// The CAs of which the peer would like a certificate.
    pub(super) authorities: Option<Vec<AuthorityName>>,
    /// The peer's last message, once there is one.
    pub(super) last: Option<Seen>,
    /// Our last message.
    pub(super) repeating: Repeating,
    pub(super) begun_at: Instant,
    /// What an answer that nobody authenticated said against us. A better one may yet come, until our message would be
    /// repeated.
    pub(super) refused: Option<Failure>,
    pub(super) sent: Sent,
}

/// Which message we sent last.
pub(super) enum Sent {
    /// Message 1.
    Sa,
    /// The same, and message 3 waits for the key that it is to be encrypted to.
    Unaddressed(Box<Half>, Awaited),
    /// Message 3.
    Key(Box<Half>),
    /// The same, and message 4 waits for our private key to decrypt it.
    Unread(Box<Half>, Box<Unread>, Awaited),
    /// The same, and message 5 waits for our signature.
    Unsigned(Box<Secured>, Awaited),
    /// Message 5.
    Proof(Box<Secured>),
    /// The same, and the responder's signature in message 6 waits for its key.
    Claimed(Box<Secured>, Box<Claimed>),
}

/// Our half of the key exchange.
pub(super) struct Half {
    pub(super) chosen: ChosenPhase1,
    pub(super) nonce: Vec<u8>,
    pub(super) private: Box<dyn KeyExchangePrivate>,
    /// To whom it was encrypted, if it was.
    pub(super) addressee: Option<Addressee>,
}

/// A message that our private key must decrypt.
pub(super) struct Unread {
    pub(super) sealed: Sealed,
    pub(super) message: Seen,
    pub(super) path: Path,
}

/// All that the last two messages need.
pub(super) struct Secured {
    pub(super) channel: Channel,
    pub(super) transcript: Transcript,
    pub(super) local: Identity,
    pub(super) lifetime: Expiry,
    pub(super) introduction: Introduction,
}

/// The responder's signature, and the message that it came in.
pub(super) struct Claimed {
    pub(super) awaited: Awaited,
    pub(super) claim: Box<Claim>,
    pub(super) sixth: Sixth,
}

/// What message 6 says besides who the responder is.
#[derive(Clone)]
pub(super) struct Sixth {
    pub(super) next_iv: Iv,
    /// For how long, at most, the responder keeps the ISAKMP SA.
    pub(super) told: Expiry,
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// A stranger began; we answered message 1 or 3.
pub(crate) struct Responding {
    pub(super) id: IkeSaId,
    pub(super) spis: IkeSpis,
    pub(super) sa_body: Vec<u8>,
    pub(super) peer: PeerAbilities,
    pub(super) chosen: ChosenPhase1,
    /// The last message that we answered, and the answer.
    pub(super) last: Repeated,
    pub(super) begun_at: Instant,
    pub(super) until: Instant,
    /// Where it began: what half-open SAs are counted by.
    pub(super) origin: IpAddr,
    /// How many more messages 3 our private key decrypts.
    pub(super) readings_left: usize,
    /// Whether people were told already that what should be the next message was none.
    pub(super) complained: bool,
    pub(super) answered: Answered,
}

/// Which message we answered last.
pub(super) enum Answered {
    /// Message 1.
    Sa,
    /// The same, and message 3 waits for our private key to decrypt it.
    Unread(Box<Unread>, Awaited),
    /// The same, and message 4 waits for the key that it is to be encrypted to.
    Unaddressed(Box<Unaddressed>, Awaited),
    /// Message 3.
    Key(Box<Awaiting>),
    /// The same, and the initiator's signature in message 5 waits for its key.
    Claimed(Box<Awaiting>, Box<Unbelieved>),
    /// The same, and message 6 waits for our signature.
    Unsigned(Box<Awaiting>, Box<Believed>),
}

/// Message 3, decrypted: who began.
pub(super) struct Unaddressed {
    pub(super) opened: Opened,
    pub(super) message: Seen,
    pub(super) path: Path,
    pub(super) connection: Arc<Connection>,
    pub(super) remote: Identity,
}

/// All that the last two messages need.
pub(super) struct Awaiting {
    pub(super) channel: Channel,
    pub(super) transcript: Transcript,
    pub(super) introduction: Introduction,
    pub(super) key: Key,
    /// The CAs of which the initiator would like a certificate.
    pub(super) authorities: Option<Vec<AuthorityName>>,
}

/// Whether the keys are those of whoever began.
pub(super) enum Key {
    /// The key exchange alone made them.
    Certain,
    /// They are made from a pre-shared key, which is the likeliest one or, once a message 5 has shown it, the right one.
    Shared(Ingredients),
}

/// What keys are made from besides a pre-shared key.
pub(super) struct Ingredients {
    pub(super) shared: Secret<Vec<u8>>,
    pub(super) nonce_i: Vec<u8>,
    pub(super) nonce_r: Vec<u8>,
    /// How many other pre-shared keys may yet be tried.
    pub(super) trials_left: usize,
}

/// Under which connection the initiator comes, and what its message 5 said besides who it is.
pub(super) struct Judgement {
    pub(super) connection: Arc<Connection>,
    pub(super) contact: Contact,
    pub(super) authorities: Option<Vec<AuthorityName>>,
    pub(super) next_iv: Iv,
    pub(super) message: Seen,
    pub(super) path: Path,
}

/// The initiator's signature.
pub(super) struct Unbelieved {
    pub(super) awaited: Awaited,
    pub(super) claim: Box<Claim>,
    pub(super) judgement: Judgement,
}

/// The initiator is who it says.
pub(super) struct Believed {
    pub(super) awaited: Awaited,
    pub(super) peer: DeviceAuthenticated,
    pub(super) judgement: Judgement,
}
