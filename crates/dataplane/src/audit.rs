//! Dropped packets, told one by one at a bounded rate: the auditable events of RFC 4301, RFC 4302 and RFC 4303 §4.
//!
//! Every drop is counted; these lines say who and what, so that whoever looks after the gateway knows where to look. Each
//! reason has a bucket of its own, so that a flood of one does not hide another.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ipsec::DropReason;
use sa::{SaId, Spi};
use wire::ip::Flow;

use crate::limits::{AUDIT_BURST, AUDIT_INTERVAL};

/// The bounded log of all workers.
pub(crate) struct Audit(Mutex<[Bucket; DropReason::ALL.len()]>);

/// A packet of the outside that was dropped: what RFC 4303 §4 has a log entry say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DroppedArrival {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// `None` if the packet was too short to have one.
    pub(crate) spi: Option<Spi>,
    pub(crate) sequence: Option<u32>,
    /// The flow label of IPv6.
    pub(crate) flow_label: u32,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// Lines that may be written at once.
    lines: u32,
    /// When the bucket had got its last line.
    filled: Option<Instant>,
    /// Packets since the last line.
    untold: u64,
}

impl Audit {
    /// Starts with full buckets.
    pub(crate) fn new() -> Audit {
        let full = Bucket { lines: AUDIT_BURST, filled: None, untold: 0 };
        Audit(Mutex::new([full; DropReason::ALL.len()]))
    }

    /// Tells of a packet that arrived, if it is time.
    pub(crate) fn arrival(&self, reason: DropReason, now: Instant, packet: impl FnOnce() -> DroppedArrival) {
        if let Some(packets) = self.is_due(reason, now) {
            let DroppedArrival { source, destination, spi, sequence, flow_label } = packet();
            let spi = spi.map(tracing::field::display);
            tracing::info!(reason = reason.name(), packets, %source, %destination, spi, sequence, flow_label,
                "dropped a packet that arrived: {reason}");
        }
    }

    /// Tells of a packet that was to leave, if it is time.
    pub(crate) fn departure(&self, reason: DropReason, now: Instant, flow: &Flow) {
        // The kernel greets the neighbours on every device that it switches on.
        if flow.destination.is_multicast() {
            return;
        }
        if let Some(packets) = self.is_due(reason, now) {
            let Flow { source, destination, protocol, ports } = flow;
            tracing::info!(reason = reason.name(), packets, %source, %destination, protocol, ?ports,
                "dropped a packet that was to leave: {reason}");
        }
    }

    /// Tells of a packet that an outbound SA would not seal, if it is time.
    pub(crate) fn sealing(&self, reason: DropReason, now: Instant, sa: &SaId) {
        if let Some(packets) = self.is_due(reason, now) {
            let (destination, spi) = (sa.destination, sa.spi);
            tracing::info!(reason = reason.name(), packets, %destination, %spi, "cannot seal a packet: {reason}");
        }
    }

    /// Counts a packet, and gives the number since the last line if it is time for another.
    fn is_due(&self, reason: DropReason, now: Instant) -> Option<u64> {
        if reason == DropReason::Dummy {
            return None;
        }
        // No code that holds the lock can panic halfway through a change.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets[reason as usize].take(now)
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Option<u64> {
        let filled = *self.filled.get_or_insert(now);
        let earned = now.saturating_duration_since(filled).as_millis() / AUDIT_INTERVAL.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX).min(AUDIT_BURST);
        if earned > 0 {
            self.lines = (self.lines + earned).min(AUDIT_BURST);
            self.filled = Some(now);
        }
        self.untold += 1;
        self.lines = self.lines.checked_sub(1)?;
        Some(std::mem::take(&mut self.untold))
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_a_few_lines_that_count_it_and_hides_no_other_reason() {
        let (audit, start) = (Audit::new(), Instant::now());
        let told = |reason, at, packets: u32| -> Vec<u64> {
            (0..packets).filter_map(|_| audit.is_due(reason, at)).collect()
        };
        assert_eq!(told(DropReason::Forged, start, 1000), vec![1; AUDIT_BURST as usize]);
        assert_eq!(told(DropReason::Replayed, start, 1), [1]);
        assert_eq!(told(DropReason::Dummy, start, 1), []);
        let later = start + AUDIT_INTERVAL;
        assert_eq!(told(DropReason::Forged, later, 1000), [1000 - u64::from(AUDIT_BURST) + 1]);
        let much_later = later + 100 * AUDIT_INTERVAL;
        assert_eq!(told(DropReason::Forged, much_later, 1000).len(), AUDIT_BURST as usize);
    }
}
