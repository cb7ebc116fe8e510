//! What an SA has carried, held against what it may carry (RFC 4301 §4.4.2.1).

use std::sync::atomic::{AtomicU64, Ordering};

use sa::{ExpiryCause, Hardness, Lifetime};

use crate::DropReason;

/// A limit that an SA has just reached: told with the packet that reached it, and with no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Whether the SA still works.
    pub hardness: Hardness,
    /// Which limit it was.
    pub cause: ExpiryCause,
}

/// Counts the inner packets of one SA and tells when a limit is reached.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    bytes: AtomicU64,
    packets: AtomicU64,
}

impl Meter {
    /// Refuses a packet once a hard limit is reached.
    ///
    /// Each of several workers at the limit may still get one packet through: the count follows the packet.
    pub(crate) fn admit(&self, limits: Option<&Lifetime>) -> Result<(), DropReason> {
        match limits {
            Some(limits) if self.bytes() >= limits.hard_bytes || self.packets() >= limits.hard_packets => {
                Err(DropReason::Expired)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Counts an inner packet of `octets`, and tells which limit it reached; of several the gravest.
    pub(crate) fn count(&self, octets: usize, limits: Option<&Lifetime>) -> Option<Expiry> {
        let octets = octets as u64;
        let bytes = self.bytes.fetch_add(octets, Ordering::Relaxed);
        let packets = self.packets.fetch_add(1, Ordering::Relaxed);
        let Lifetime { soft_bytes, hard_bytes, soft_packets, hard_packets } = *limits?;
        // The value before an atomic addition is some one packet's alone, so each limit is passed exactly once.
        let bytes_reach = |limit: u64| bytes < limit && limit <= bytes.saturating_add(octets);
        let packets_reach = |limit: u64| packets < limit && limit <= packets.saturating_add(1);
        let (hardness, cause) = if bytes_reach(hard_bytes) {
            (Hardness::Hard, ExpiryCause::Bytes)
        } else if packets_reach(hard_packets) {
            (Hardness::Hard, ExpiryCause::Packets)
        } else if bytes_reach(soft_bytes) {
            (Hardness::Soft, ExpiryCause::Bytes)
        } else if packets_reach(soft_packets) {
            (Hardness::Soft, ExpiryCause::Packets)
        } else {
            return None;
        };
        Some(Expiry { hardness, cause })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiries(limits: Lifetime, packets: usize, octets: usize) -> Vec<(usize, Expiry)> {
        let meter = Meter::default();
        (1..=packets).filter_map(|nth| Some((nth, meter.count(octets, Some(&limits))?))).collect()
    }

    #[test]
    fn each_limit_is_told_once_with_the_packet_that_reaches_it() {
        let limits =
            Lifetime { soft_bytes: 250, hard_bytes: 501, soft_packets: u64::MAX, hard_packets: u64::MAX };
        let soft = Expiry { hardness: Hardness::Soft, cause: ExpiryCause::Bytes };
        let hard = Expiry { hardness: Hardness::Hard, cause: ExpiryCause::Bytes };
        assert_eq!(expiries(limits, 20, 100), [(3, soft), (6, hard)]);
    }

    #[test]
    fn a_packet_that_reaches_both_limits_tells_the_graver() {
        let limits = Lifetime { soft_packets: 2, hard_packets: 2, ..Lifetime::UNLIMITED };
        let hard = Expiry { hardness: Hardness::Hard, cause: ExpiryCause::Packets };
        assert_eq!(expiries(limits, 5, 1), [(2, hard)]);
    }

    #[test]
    fn a_hard_limit_admits_nothing_more() {
        let (meter, limits) = (Meter::default(), Lifetime { hard_packets: 1, ..Lifetime::UNLIMITED });
        assert_eq!(meter.admit(Some(&limits)), Ok(()));
        meter.count(1400, Some(&limits));
        assert_eq!(meter.admit(Some(&limits)), Err(DropReason::Expired));
    }

    #[test]
    fn no_limit_is_never_reached() {
        assert_eq!(expiries(Lifetime::UNLIMITED, 10, 65_535), []);
    }
}
