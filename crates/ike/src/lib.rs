//! The sans-IO IKE engine.
//!
//! ```text
//!   handle_datagram ─┐                        ┌─► Transmit   a datagram to send
//!   handle_command  ─┤                        ├─► Keepalive  one octet to keep a NAT's mapping
//!   handle_sa_event ─┼─► Endpoint ─► Output ──┼─► Sa         an order to the data plane
//!   handle_answer   ─┤     ▲                  ├─► Query      a question to the outside
//!   handle_timeout  ─┘     │ now, randomness  └─► Event      what happened, for people
//! ```
//!
//! One [`Endpoint`] holds all IKE SAs of a shard. It reads no clock, opens no socket and knows no file: everything that
//! it learns comes through its `handle_` methods, and everything that it wants comes out of
//! [`Endpoint::poll_output`], in an order that must be kept: the order is the protocol.
//!
//! The exchanges of IKEv2 are told one to a file under `v2`, those of IKEv1 under `v1`, each readable from top to bottom
//! for both roles. What they share (Child SAs, selectors, identities, retransmission) are nouns in files of their own.

#![forbid(unsafe_code)]

mod authentication;
mod child;
mod configuration;
mod connection;
mod context;
mod cookie;
mod credentials;
mod endpoint;
mod error;
mod established;
mod event;
mod exchange;
mod guard;
mod io;
mod lifetime;
pub mod limits;
mod nat_detection;
mod negotiation;
mod probing;
mod retransmission;
mod selectors;
mod settings;
mod status;
mod tally;
mod trace;
mod v1;
mod v2;
mod virtual_addresses;

pub use connection::{
    Authentication, ChildConfig, Childless, CloseAction, Compress, ConfigurationMode, Connection,
    CounterSynchronization, Encap, EncryptionForm, Fragmentation, Mobike, OptimizedRekey, OwnRound,
    PathProbing, PeerAddresses, PeerRound, PpkNeed, PpkTerms, ReauthenticationOrder, Resumption, SecretKind,
    SelectorTemplate, SharedSecret, SplitNetworks, StartAction, Truncation, Unique, Versions, Xauth,
};
pub use cookie::StrangerBounds;
pub use credentials::{
    Authority, AuthorityId, AuthorityName, CertificateHash, Ciphertext, DecryptRequest, Decrypted, NoScheme,
    OwnKeys, Recipient, SignRequest, SignatureForm, Signed, TrustRequest, TrustedKey,
};
pub use endpoint::{Counters, Endpoint, SpiSource};
pub use error::{Error, Failure, Misbehaviour};
pub use event::{
    ChildKeyDisclosure, DownReason, Event, IkeKeyDisclosure, MessageTrace, PayloadTrace, TraceDirection,
};
pub use io::{
    Answer, ChildSaId, Command, Datagram, IkeSaId, KeyDisclosure, MissedPackets, Output, Path, Query,
    QueryId, Ticket, TimeoutReason,
};
pub use lifetime::Lifetimes;
pub use negotiation::NoAgreement;
pub use retransmission::RetransmissionPolicy;
pub use sa::{Identity, IdentityPattern, InvalidIdentity};
pub use settings::Settings;
pub use status::{
    ChildSaStatus, ChildState, IkeSaStatus, IkeState, IkeVersion, Nat, Phase1Mode, WrapperStatus,
};
pub use tally::{Counted, Counts, MessageKind, NoCounts, Part, Tally, TallyScope};
pub use virtual_addresses::{Inside, LeaseChange, LeaseStatus, NameServers, Pool, PoolStatus};
pub use wire::v2::{Certificate, GatewayName};

/// Which part this end plays in one IKE SA; it never changes while the SA lives (RFC 7296 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Sent the request that made the IKE SA.
    Initiator,
    /// Answered it.
    Responder,
}

impl Role {
    /// Gives the other end's role.
    #[must_use]
    pub fn opposite(self) -> Role {
        match self {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        }
    }
}
