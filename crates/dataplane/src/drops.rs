//! Counters of packets that went nowhere, by reason.

use std::collections::BTreeMap;
use std::fmt;

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// The IKE queue to the daemon was full.
    IkeQueueFull,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropReason::IkeQueueFull => "IKE queue full",
        })
    }
}

/// Packets dropped since the start, by reason; reasons that never happened are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops(pub BTreeMap<DropReason, u64>);

impl Drops {
    /// Counts the drops of all reasons.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}
