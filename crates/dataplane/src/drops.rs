//! Counters of packets that went nowhere, by reason.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// The IPsec tables refused it.
    Ipsec(ipsec::DropReason),
    /// The IKE queue to the daemon was full.
    IkeQueueFull,
    /// A datagram on the NAT port is too short to be IKE, ESP or a keepalive (RFC 3948 §2).
    MalformedDatagram,
    /// Its policy held as many packets as it may while its SA is negotiated.
    HoldQueueFull,
    /// Its SA did not come in time.
    HeldTooLong,
    /// It is longer than its path takes once it is sealed, and must not be cut; its sender is told.
    TooBig,
    /// The kernel would not send it: no route, too long, a firewall.
    SendRefused,
    /// The kernel gave it to us, or would not take it from us, in a form that a TUN device does not carry.
    TunRefused,
}

impl DropReason {
    /// Gives the short name that statistics print, such as `held-too-long`.
    pub const fn name(self) -> &'static str {
        match self {
            DropReason::Ipsec(reason) => reason.name(),
            DropReason::IkeQueueFull => "ike-queue-full",
            DropReason::MalformedDatagram => "malformed-datagram",
            DropReason::HoldQueueFull => "hold-queue-full",
            DropReason::HeldTooLong => "held-too-long",
            DropReason::TooBig => "too-big",
            DropReason::SendRefused => "send-refused",
            DropReason::TunRefused => "tun-refused",
        }
    }
}

impl fmt::Display for DropReason {
    /// Prints one sentence for a person, without a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropReason::Ipsec(reason) => return reason.fmt(f),
            DropReason::IkeQueueFull => "the queue of IKE datagrams was full",
            DropReason::MalformedDatagram => "a datagram on the NAT port is neither IKE nor ESP",
            DropReason::HoldQueueFull => "too many packets wait for an SA",
            DropReason::HeldTooLong => "the packet's SA did not come in time",
            DropReason::TooBig => "the packet is longer than its path takes, and must not be cut",
            DropReason::SendRefused => "the kernel would not send the packet",
            DropReason::TunRefused => "the TUN device would not carry the packet",
        })
    }
}

/// Packets dropped since the start, by reason; reasons that never happened are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops(pub BTreeMap<DropReason, u64>);

impl Drops {
    /// Takes the counts of the IPsec tables, or of one SA.
    pub(crate) fn of_ipsec(counters: &ipsec::DropCounters) -> Drops {
        let counts = counters.iter().filter(|(_, count)| *count > 0);
        Drops(counts.map(|(reason, count)| (DropReason::Ipsec(reason), count)).collect())
    }

    /// Counts the drops of all reasons.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Counts the drops that the tables know nothing of; workers share it without a lock.
#[derive(Debug, Default)]
pub(crate) struct PlaneDrops([AtomicU64; OWN.len()]);

impl PlaneDrops {
    /// Counts dropped packets. Those of [`DropReason::Ipsec`] belong into the tables' counters and are not counted here.
    pub(crate) fn count(&self, reason: DropReason, packets: usize) {
        if let Some(at) = OWN.iter().position(|own| *own == reason) {
            self.0[at].fetch_add(packets as u64, Ordering::Relaxed);
        }
    }

    /// Gives these counts and the tables'.
    pub(crate) fn with(&self, ipsec: &ipsec::DropCounters) -> Drops {
        let own = OWN.iter().zip(&self.0).map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)));
        let mut drops = Drops::of_ipsec(ipsec);
        drops.0.extend(own.filter(|(_, count)| *count > 0));
        drops
    }
}

const OWN: [DropReason; 7] = [
    DropReason::IkeQueueFull,
    DropReason::MalformedDatagram,
    DropReason::HoldQueueFull,
    DropReason::HeldTooLong,
    DropReason::TooBig,
    DropReason::SendRefused,
    DropReason::TunRefused,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_both_kinds_are_told_together() {
        let (own, ipsec) = (PlaneDrops::default(), ipsec::DropCounters::default());
        own.count(DropReason::HeldTooLong, 3);
        ipsec.count(ipsec::DropReason::Forged);
        let drops = own.with(&ipsec);
        assert_eq!(drops.total(), 4);
        assert_eq!(drops.0[&DropReason::HeldTooLong], 3);
        assert_eq!(drops.0[&DropReason::Ipsec(ipsec::DropReason::Forged)], 1);
        assert_eq!(drops.0.len(), 2);
    }
}
