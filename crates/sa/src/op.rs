//! The contract between whoever negotiates SAs and whoever carries them out.

use std::net::{IpAddr, SocketAddr};

use crate::spec::Outer;
use crate::{IpProtocol, PolicyId, PolicySpec, SaId, SaSpec};

/// An order to a data plane. Orders are carried out in the order given: the order is the protocol
/// (inbound SA before the response leaves, outbound switched before the old one is deleted).
#[derive(Clone, Debug)]
pub enum SaOp {
    /// Adds a policy, or replaces the one of the same name.
    InstallPolicy(PolicySpec),
    /// Takes a policy away; its packets then meet the next policy that selects them.
    RemovePolicy(PolicyId),
    /// Adds an SA. An outbound one carries nothing until [`SaOp::UseOutbound`] names it.
    InstallSa(Box<SaSpec>),
    /// Sends the packets of a policy through this outbound SA from now on.
    UseOutbound {
        /// The policy.
        policy: PolicyId,
        /// One of its outbound SAs.
        sa: SaId,
    },
    /// Takes an SA away.
    RemoveSa(SaId),
    /// Changes an SA's outer addresses (a NAT that rebinds, RFC 7296 §2.23).
    MoveSa {
        /// The SA.
        sa: SaId,
        /// Its new outer addresses.
        outer: Outer,
    },
    /// Has an outbound SA go on with a higher sequence number, because others may have been used that nobody told of (RFC 6311
    /// §5.2). It goes no further than to where its replacement falls due.
    SkipSequence {
        /// The SA.
        sa: SaId,
        /// How many numbers it leaves out.
        by: u64,
    },
    /// Says how long a packet the path to a peer takes, as probes have found out (RFC 8899).
    SetPathMtu {
        /// The peer.
        remote: IpAddr,
        /// Octets of a whole packet, its outer IP header included; `None` if nobody probes any more.
        octets: Option<usize>,
    },
}

/// Something that a data plane tells the negotiator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaEvent {
    /// A packet met a trap policy that has no SA.
    Acquire {
        /// The policy.
        policy: PolicyId,
        /// The packet's flow: the first pair of traffic selectors of the negotiation (RFC 7296 §2.9).
        flow: AcquiredFlow,
    },
    /// An SA reached a limit.
    Expire {
        /// The SA.
        sa: SaId,
        /// Whether it still works.
        hardness: Hardness,
        /// Which limit.
        cause: ExpiryCause,
    },
    /// Packets arrived and authenticated since the last such event: the peer lives.
    Active {
        /// The inbound SA.
        sa: SaId,
    },
    /// An authenticated packet came from another address or port than the SA knows.
    PathChanged {
        /// The inbound SA.
        sa: SaId,
        /// Where the packet came from.
        remote: SocketAddr,
    },
    /// A router said how long a packet the path to a peer takes, and was believed (RFC 1191, RFC 8201).
    PathNarrowed {
        /// The peer.
        remote: IpAddr,
        /// Octets of a whole packet, its outer IP header included.
        octets: usize,
    },
    /// An order could not be carried out.
    Rejected {
        /// The SA that the order named.
        sa: SaId,
        /// One sentence.
        reason: String,
    },
}

/// The packet that asked for an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquiredFlow {
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address.
    pub destination: IpAddr,
    /// Its protocol above IP.
    pub protocol: IpProtocol,
    /// Source and destination port where they can be seen.
    pub ports: Option<(u16, u16)>,
}

/// Whether an expired SA may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardness {
    /// It works on; a replacement is due.
    Soft,
    /// It carries nothing more.
    Hard,
}

/// Which of its limits an SA reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryCause {
    /// Bytes carried.
    Bytes,
    /// Packets carried.
    Packets,
    /// Sequence numbers used; they never wrap (RFC 4303 §3.3.3).
    Sequence,
}
