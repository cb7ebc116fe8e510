//! Why packets are dropped, and how many were.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $reason:ident = $name:literal, $sentence:literal;)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $reason,)+
        }

        impl DropReason {
            /// Every reason, in the order in which a packet can meet them.
            pub const ALL: [DropReason; [$($name),+].len()] = [$(DropReason::$reason),+];

            /// Gives the short name that statistics print, such as `replayed`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$reason => $name,)+
                }
            }
        }

        impl fmt::Display for DropReason {
            /// Prints one sentence for a person, without a full stop.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(DropReason::$reason => $sentence,)+
                })
            }
        }
    };
}

drop_reasons! {
    /// A packet is no readable IP packet, or its inner packet is none.
    MalformedInner = "malformed-inner", "the inner packet is not a whole IPv4 or IPv6 packet";
    /// A discard policy selects the packet.
    Policy = "policy", "a discard policy selects the packet";
    /// No policy selects the packet, and such packets are discarded.
    NoPolicy = "no-policy", "no policy selects the packet";
    /// A protect policy selects the packet, but it has no outbound SA.
    NoSa = "no-sa", "the policy of the packet has no SA";
    /// The policy's SA was negotiated for less than the policy covers (RFC 7296 §2.9), and not for this packet.
    OutsideSa = "outside-sa", "the policy's SA was negotiated for other traffic than this packet";
    /// The SA reached its hard limit of bytes or packets.
    Expired = "expired", "the SA reached its hard limit";
    /// The SA has no sequence number left (RFC 4303 §3.3.3).
    SequenceExhausted = "sequence-exhausted", "the SA has used all its sequence numbers";
    /// The sealed packet does not fit its buffer or its cipher.
    TooLong = "too-long", "the packet is too long to be sealed";
    /// No inbound SA has the packet's SPI.
    UnknownSpi = "unknown-spi", "no SA has the packet's SPI";
    /// The packet is too short or misaligned for the SA's algorithms.
    MalformedEsp = "malformed-esp", "the packet is too short or misaligned for its SA";
    /// The anti-replay window holds the packet's sequence number already.
    Replayed = "replayed", "the sequence number was seen before";
    /// The packet's sequence number lies before the anti-replay window.
    TooOld = "too-old", "the sequence number lies before the anti-replay window";
    /// The integrity check failed.
    Forged = "forged", "the integrity check failed";
    /// The padding is not 1, 2, 3 … or longer than the packet (RFC 4303 §2.4).
    Padding = "padding", "the padding is not 1, 2, 3 and so on";
    /// The next header is neither IPv4 nor IPv6, which is all that tunnel mode carries.
    NextHeader = "next-header", "the next header is neither IPv4 nor IPv6";
    /// A dummy packet, sent to hide traffic patterns (RFC 4303 §2.6); nothing is wrong.
    Dummy = "dummy", "a dummy packet";
    /// The inner packet is not of the traffic that the SA was negotiated for (RFC 4301 §5.2).
    Selectors = "selectors", "the inner packet is outside the SA's traffic selectors";
    /// The outer header reports congestion to an inner packet that cannot carry the report (RFC 6040 §4.2).
    Congestion = "congestion", "the outer header reports congestion and the inner cannot carry it";
    /// A packet came unprotected that a policy wants protected or discarded (RFC 4301 §5.2).
    Unprotected = "unprotected", "a packet came in the clear that a policy wants protected";
}

/// Counts drops by reason; workers share it without a lock.
#[derive(Debug, Default)]
pub struct DropCounters {
    counts: [AtomicU64; DropReason::ALL.len()],
}

impl DropCounters {
    /// Counts one dropped packet.
    pub fn count(&self, reason: DropReason) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Tells how many packets were dropped for a reason.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.counts[reason as usize].load(Ordering::Relaxed)
    }

    /// Gives every reason with its count, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().map(|reason| (reason, self.of(reason)))
    }

    /// Tells how many packets were dropped for any reason.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn reasons_have_names_of_their_own() {
        let names: BTreeSet<&str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
    }

    #[test]
    fn each_reason_counts_by_itself() {
        let drops = DropCounters::default();
        drops.count(DropReason::Unprotected);
        drops.count(DropReason::Replayed);
        drops.count(DropReason::Replayed);
        assert_eq!(drops.of(DropReason::Replayed), 2);
        assert_eq!(drops.of(DropReason::Unprotected), 1);
        assert_eq!(drops.of(DropReason::Forged), 0);
        assert_eq!(drops.total(), 3);
    }
}
