//! Packets of hosts behind the gateways, and the account of what became of them.

use std::time::{Duration, Instant};

use crate::Flow;

/// A host that sends a packet every so often.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Which packets.
    pub flow: Flow,
    /// How often.
    pub every: Duration,
    /// How long each is, in octets.
    pub octets: u64,
    /// When the next one leaves.
    pub(crate) next_at: Instant,
}

/// What became of the packets that the hosts behind one side sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They were sent.
    pub sent: u64,
    /// They arrived at the other host; copies that the network made are not counted.
    pub delivered: u64,
    /// They went out protected, and the network lost them.
    pub lost_by_network: u64,
    /// They met a trap policy that had no SA yet.
    pub awaiting: u64,
    /// A policy discarded them.
    pub discarded: u64,
    /// The guard of a child that is not up dropped them.
    pub blocked: u64,
    /// A policy let them pass in plaintext.
    pub bypassed: u64,
    /// No policy was about them: they left in plaintext.
    pub unguarded: u64,
    /// They were lost since the SAs of the two sides were not what they must be; one sentence for each.
    pub lost_by_sas: Vec<String>,
}
