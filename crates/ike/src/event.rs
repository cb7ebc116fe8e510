//! What happened, for people and programs that watch.

use std::time::Instant;

use crypto::Secret;
use sa::IkeSuite;
use wire::isakmp::{IkeSpi, Version};

use crate::{ChildSaStatus, Failure, IkeSaStatus, Path, Ticket};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// An IKE SA came up: the peer is authenticated.
    IkeUp(Box<IkeSaStatus>),
    /// An IKE SA is gone, its Child SAs with it (each has had its own event).
    IkeDown(Box<IkeSaStatus>, DownReason),
    /// An IKE SA was replaced.
    IkeRekeyed {
        /// As it was.
        old: Box<IkeSaStatus>,
        /// Its replacement.
        new: Box<IkeSaStatus>,
    },
    /// A Child SA came up.
    ChildUp(Box<IkeSaStatus>, ChildSaStatus),
    /// A Child SA is gone.
    ChildDown(Box<IkeSaStatus>, ChildSaStatus, DownReason),
    /// A Child SA was replaced.
    ChildRekeyed {
        /// Its IKE SA.
        ike: Box<IkeSaStatus>,
        /// As it was.
        old: ChildSaStatus,
        /// Its replacement.
        new: ChildSaStatus,
    },
    /// The peer is reached on another path than before: now the status's, before the other.
    PathChanged(Box<IkeSaStatus>, Path),
    /// A command ended.
    Finished {
        /// Which.
        ticket: Ticket,
        /// How.
        result: Result<(), Failure>,
    },
    /// Something failed that no command waits for: one sentence for the log.
    Failed {
        /// The connection, where one is known.
        connection: Option<String>,
        /// The path, where one is known.
        path: Option<Path>,
        /// Why.
        failure: Failure,
    },
    /// A message was sent or understood; only when [`Settings::trace_messages`](crate::Settings::trace_messages) asks.
    Message(MessageTrace),
    /// The keys of an IKE SA; only when [`Settings::disclose_keys`](crate::Settings::disclose_keys) asks.
    IkeKeys(IkeKeyDisclosure),
    /// The keys of a Child SA; only when [`Settings::disclose_keys`](crate::Settings::disclose_keys) asks.
    ChildKeys(ChildKeyDisclosure),
}

/// Why an SA is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// A command of ours.
    Terminated,
    /// The peer deleted it.
    DeletedByPeer,
    /// The peer no longer answers.
    PeerDead,
    /// The peer has lost it, and proves that (RFC 6290).
    PeerLostState,
    /// Its life was over.
    Expired,
    /// Nothing went through it for as long as the configuration allows.
    Inactive,
    /// A rekeying of both ends at once made it redundant (RFC 7296 §2.8.1).
    Redundant,
    /// A newer one took its place (INITIAL_CONTACT, or the `unique` policy).
    Replaced,
    /// The peer sent us to this other gateway.
    Redirected(String),
    /// Something failed.
    Failed(Failure),
}

/// One message in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTrace {
    /// When.
    pub at: Instant,
    /// Sent or received.
    pub direction: TraceDirection,
    /// Between whom.
    pub path: Path,
    /// The version of IKE that it speaks; in version 1 messages are neither requests nor responses.
    pub version: Version,
    /// The exchange's RFC name.
    pub exchange: String,
    /// Request or response.
    pub is_response: bool,
    /// Its message id.
    pub message_id: u32,
    /// The IKE SA's initiator SPI.
    pub initiator_spi: IkeSpi,
    /// The IKE SA's responder SPI.
    pub responder_spi: IkeSpi,
    /// Octets of all its datagrams.
    pub octets: usize,
    /// Datagrams that it was cut into (RFC 7383); 1 if it was not.
    pub fragments: usize,
    /// Its payloads, in order, decrypted.
    pub payloads: Vec<PayloadTrace>,
}

/// One payload in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadTrace {
    /// The RFC's short name, such as `SA`, `KE` or `N(COOKIE)`.
    pub name: String,
    /// One sentence on what it says.
    pub sentence: String,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TraceDirection {
    /// From us.
    Sent,
    /// To us.
    Received,
}

/// What a packet analyser needs to decrypt an IKE SA's messages.
///
/// In version 1 both ends encrypt with one key, which stands for SK_ei and SK_er, and SKEYID_a stands for SK_ai and SK_ar.
#[derive(Clone, Debug)]
pub struct IkeKeyDisclosure {
    /// The version of IKE.
    pub version: Version,
    /// The initiator's SPI.
    pub initiator_spi: IkeSpi,
    /// The responder's SPI.
    pub responder_spi: IkeSpi,
    /// The algorithms.
    pub suite: IkeSuite,
    /// SK_ei.
    pub sk_ei: Secret<Vec<u8>>,
    /// SK_er.
    pub sk_er: Secret<Vec<u8>>,
    /// SK_ai; empty with an AEAD.
    pub sk_ai: Secret<Vec<u8>>,
    /// SK_ar; empty with an AEAD.
    pub sk_ar: Secret<Vec<u8>>,
}

/// What a packet analyser needs to decrypt a Child SA's packets.
#[derive(Clone, Debug)]
pub struct ChildKeyDisclosure {
    /// The inbound SA.
    pub inbound: Box<sa::SaSpec>,
    /// The outbound SA.
    pub outbound: Box<sa::SaSpec>,
}
