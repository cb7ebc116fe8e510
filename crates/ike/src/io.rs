//! What goes into the engine and what comes out of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sa::{SaId, SaOp};

use crate::credentials::{
    Authority, DecryptRequest, Decrypted, OwnKeys, SignRequest, Signed, TrustRequest, TrustedKey,
};
use crate::{Connection, Event, GatewayName, Identity, LeaseChange, NameServers, Pool, SharedSecret};

/// The two ends of a datagram's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port, as we see them.
    pub remote: SocketAddr,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local, self.remote)
    }
}

/// One IKE message as it arrived: the UDP payload without port 4500's non-ESP marker (RFC 3948 §2.2).
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Whence and whither.
    pub path: Path,
    /// The message, from its ISAKMP header on.
    pub bytes: &'a [u8],
}

/// Names an IKE SA for people and management, from 1 up; a rekeyed SA keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IkeSaId(pub u32);

/// Names a Child SA (the pair) for people and management, from 1 up; its replacement has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildSaId(pub u32);

impl fmt::Display for IkeSaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for ChildSaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.0)
    }
}

/// Chosen by whoever gives a command, and given back with [`Event::Finished`] when the command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// An order from a person or a program.
#[derive(Clone, Debug)]
pub enum Command {
    /// Adds a connection, or replaces the one of the same name; SAs that exist live on. Start actions are carried out.
    Load(Arc<Connection>),
    /// Forgets a connection, its traps and its blocks; SAs that exist live on.
    Unload(String),
    /// Adds a shared secret, or replaces the one of the same name.
    LoadSecret(SharedSecret),
    /// Forgets the shared secret of this name.
    UnloadSecret(String),
    /// Names the CAs that are trusted, in place of those that were named before: peers are told.
    TrustAuthorities(Vec<Authority>),
    /// Says which private keys each connection has, by name, in place of what was said before: in version 1 that decides
    /// what is offered. One that is not named is offered with all kinds.
    OwnKeys(BTreeMap<String, OwnKeys>),
    /// Adds a pool of virtual addresses, or replaces the one of the same name; leases of the same addresses live on.
    LoadPool(Box<Pool>),
    /// Forgets the pool of this name.
    UnloadPool(String),
    /// Says which addresses this host has now, and that its routes may be others than before.
    HostChanged(Vec<IpAddr>),
    /// Begins or ends the disclosure of keys ([`Event::IkeKeys`](crate::Event::IkeKeys), [`Event::ChildKeys`](crate::Event::ChildKeys)).
    DiscloseKeys(KeyDisclosure),
    /// Keeps the addresses of a pool for the clients that had them before a restart, the longest unused first.
    RestoreLeases {
        /// The pool's name.
        pool: String,
        /// The addresses and their clients.
        leases: Vec<(IpAddr, Identity)>,
    },
    /// Brings a connection up, and of its children this one.
    Initiate {
        /// The connection's name.
        connection: String,
        /// The child's name; `None` wants an IKE SA without a Child SA (RFC 6023), or in version 1 the first child.
        child: Option<String>,
        /// Comes back when it is up or has failed.
        ticket: Ticket,
    },
    /// Installs the trap policy of a child: its first packet will bring it up.
    Install {
        /// The connection's name.
        connection: String,
        /// The child's name.
        child: String,
        /// Comes back when done.
        ticket: Ticket,
    },
    /// Takes the trap policy of a child away.
    Uninstall {
        /// The connection's name.
        connection: String,
        /// The child's name.
        child: String,
        /// Comes back when done.
        ticket: Ticket,
    },
    /// Lets pass what a child that is not up should protect.
    Unblock {
        /// The connection's name.
        connection: String,
        /// The child's name.
        child: String,
        /// Comes back when done.
        ticket: Ticket,
    },
    /// Replaces an IKE SA by a new one.
    RekeyIke {
        /// Which.
        ike: IkeSaId,
        /// Comes back when the new one is in place.
        ticket: Ticket,
    },
    /// Replaces an IKE SA by one in which both ends prove anew who they are, with the same children.
    ReauthenticateIke {
        /// Which.
        ike: IkeSaId,
        /// Comes back when the new one is in place.
        ticket: Ticket,
    },
    /// Replaces a Child SA by a new one.
    RekeyChild {
        /// Which.
        child: ChildSaId,
        /// Comes back when the new one is in place.
        ticket: Ticket,
    },
    /// Deletes an IKE SA and all its Child SAs.
    TerminateIke {
        /// Which.
        ike: IkeSaId,
        /// Comes back when the peer has confirmed, or was given up.
        ticket: Ticket,
    },
    /// Forgets an IKE SA and all its Child SAs at once: the peer is told, and not waited for.
    ForgetIke {
        /// Which.
        ike: IkeSaId,
        /// Comes back when done.
        ticket: Ticket,
    },
    /// Sends the client at the other end of an IKE SA to another gateway.
    Redirect {
        /// Which.
        ike: IkeSaId,
        /// Where to.
        gateway: GatewayName,
        /// Comes back when the client has taken note, or cannot.
        ticket: Ticket,
    },
    /// Agrees with the peer on the counters of an IKE SA that another member of our cluster had before (RFC 6311).
    SynchronizeCounters {
        /// Which.
        ike: IkeSaId,
        /// What we may not know of its packets.
        missed: MissedPackets,
        /// Comes back when the peer has agreed, or cannot.
        ticket: Ticket,
    },
    /// Deletes a Child SA.
    TerminateChild {
        /// Which.
        child: ChildSaId,
        /// Comes back when the peer has confirmed.
        ticket: Ticket,
    },
}

/// How many packets, at most, went through each Child SA of an IKE SA without our knowing it (RFC 6311 §5.2): as many sequence
/// numbers are skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissedPackets {
    /// From the peer.
    pub inbound: u64,
    /// To the peer.
    pub outbound: u64,
}

/// Matches a [`Query`] and its [`Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// Whether keys are told, for packet analysers. For debugging only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDisclosure {
    /// Those of SAs that come up from now on are.
    On,
    /// None are.
    Off,
}

/// Something that only the outside can find out.
#[derive(Clone, Debug)]
pub enum Query {
    /// The way to the peer of a connection: its names resolved, and our address on that way.
    Path(Arc<Connection>),
    /// The way to the first of these addresses of a connection's peer that the routes of this host lead to.
    Route {
        /// The connection.
        connection: Arc<Connection>,
        /// The addresses, the best first.
        remotes: Vec<IpAddr>,
    },
    /// The way to another gateway of a connection, whose name may have to be looked up.
    Gateway {
        /// The connection.
        connection: Arc<Connection>,
        /// The gateway.
        gateway: GatewayName,
    },
    /// What the first link on the way to a peer takes.
    Link(IpAddr),
    /// How long no packet has gone through either SA of a pair.
    Idle {
        /// Towards us.
        inbound: SaId,
        /// Towards the peer.
        outbound: SaId,
    },
    /// Our signature.
    Sign(Box<SignRequest>),
    /// The key of a peer.
    Trust(Box<TrustRequest>),
    /// What is encrypted to us.
    Decrypt(Box<DecryptRequest>),
}

/// What the outside found out.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The way to the peer, or one sentence on why there is none; of a route, the ports do not count.
    Path(Result<Path, String>),
    /// Octets of the longest IP packet, if the host knows.
    Link(Option<usize>),
    /// The time since the last packet; `None` if there has been none.
    Idle(Option<Duration>),
    /// The signature, or one sentence on why there is none.
    Signed(Result<Signed, String>),
    /// The peer's key, or one sentence on why it is not trusted.
    Trusted(Result<TrustedKey, String>),
    /// What was encrypted, or one sentence on why we have no key for it; never on what it says.
    Decrypted(Result<Decrypted, String>),
}

/// Something that the engine wants done. Outputs are to be carried out in the order in which they come.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "outputs are made one at a time, and events are the rarer ones"
)]
pub enum Output {
    /// Send a datagram.
    Transmit {
        /// Whence and whither.
        path: Path,
        /// The message, from its ISAKMP header on; port 4500's non-ESP marker is the sender's affair.
        bytes: Vec<u8>,
    },
    /// Send a datagram that must not be cut on its way: whether it arrives tells what the path takes (RFC 8899).
    Probe {
        /// Whence and whither.
        path: Path,
        /// The message, as in [`Transmit`](Output::Transmit).
        bytes: Vec<u8>,
    },
    /// Send the single octet that keeps a NAT's mapping alive (RFC 3948 §2.3).
    Keepalive(Path),
    /// Give this host a virtual address.
    TakeAddress(IpAddr),
    /// Take it away again.
    DropAddress(IpAddr),
    /// Have this host ask these name servers, in place of those that came by the same connection before.
    TakeNameServers(NameServers),
    /// Have it ask those no more that came by this connection.
    DropNameServers(String),
    /// Keep in mind, if leases are to outlive a restart, what a pool has given or got back.
    Lease(LeaseChange),
    /// Order the data plane.
    Sa(SaOp),
    /// Find something out, and come back with [`Endpoint::handle_answer`](crate::Endpoint::handle_answer).
    Query {
        /// To be given back with the answer.
        id: QueryId,
        /// The question.
        query: Query,
    },
    /// Tell people.
    Event(Event),
}

/// Why the engine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimeoutReason {
    /// A request of ours has had no response.
    Retransmission,
    /// More keys are tried for a puzzle.
    Puzzle,
    /// An SA that the peer never completed is forgotten.
    HalfOpen,
    /// The peer has been silent for long.
    Liveness,
    /// An SA nears the end of its life.
    Rekey,
    /// An SA is at the end of its life.
    Expiry,
    /// An SA may have been idle for long.
    Idle,
    /// Whoever keeps keys and reads certificates has not answered.
    Outside,
    /// A NAT might forget us.
    Keepalive,
    /// What the path takes is tried out.
    Probe,
    /// Something that failed for a passing reason is tried again.
    Retry,
    /// What lingered for late packets is taken away.
    Linger,
}
