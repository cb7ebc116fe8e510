//! Why packets are dropped, and how many were.

use std::fmt;
use std::sync::OnceLock;
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
    /// A fragment met an SA that takes whole packets only (RFC 4303 §3.3.4).
    Fragment = "fragment", "a fragment cannot go through an SA of this mode";
    /// The options or extension headers contradict themselves, are too long, or are such as AH cannot predict.
    Header = "header", "the options or extension headers of the packet cannot be kept or authenticated";
    /// The SA reached its hard limit of bytes or packets.
    Expired = "expired", "the SA reached its hard limit";
    /// The SA has no sequence number left (RFC 4303 §3.3.3).
    SequenceExhausted = "sequence-exhausted", "the SA has used all its sequence numbers";
    /// The sealed packet does not fit its buffer or its cipher.
    TooLong = "too-long", "the packet is too long to be sealed";
    /// No inbound SA has the packet's SPI.
    UnknownSpi = "unknown-spi", "no SA has the packet's SPI";
    /// The SA that has the packet's SPI is of the other protocol, ESP or AH.
    OtherProtocol = "other-protocol", "the SA of the packet's SPI is of another protocol";
    /// The packet came alone though its SA is bundled with another, inside one that its SA is not bundled with, or the
    /// other way round (RFC 4301 §5.2).
    Bundle = "bundle", "the packet did not come inside the SA that its own is bundled with";
    /// The AH header is not of the length that the SA's algorithm has.
    MalformedAh = "malformed-ah", "the AH header is not what its SA makes";
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
    /// The compression parameter index is not the one that was agreed on (RFC 3173 §4).
    CompressionIndex = "compression-index", "the packet is compressed in a way that was not agreed on";
    /// The compressed payload is damaged.
    Compression = "compression", "the compressed payload is damaged";
    /// The compressed payload would become longer than an IP packet can be.
    Expansion = "expansion", "the compressed payload is longer than an IP packet can be";
    /// The mode does not carry what the next header says: tunnel mode IP packets only, the others what can follow ESP.
    NextHeader = "next-header", "the SA's mode does not carry what the next header says";
    /// The pseudo header of IPv4 options contradicts itself (RFC 7402 appendix B.1.7).
    PseudoHeader = "pseudo-header", "the pseudo header of BEET mode contradicts itself";
    /// A dummy packet, sent to hide traffic patterns (RFC 4303 §2.6); nothing is wrong.
    Dummy = "dummy", "a dummy packet";
    /// The inner packet is not of the traffic that the SA was negotiated for (RFC 4301 §5.2).
    Selectors = "selectors", "the inner packet is outside the SA's traffic selectors";
    /// A header reports congestion that the packet cannot carry on: an inner one (RFC 6040 §4.2), or one that is put together
    /// (RFC 3168 §5.3).
    Congestion = "congestion", "congestion is reported that the packet cannot carry on";
    /// A fragment has a place or a length that no part of a packet has.
    MalformedFragment = "malformed-fragment", "the fragment's place or length is impossible";
    /// A first fragment does not show all headers (RFC 7112 §5), or a later one begins among them (RFC 3128).
    TinyFragment = "tiny-fragment", "the packet is cut in the middle of its headers";
    /// A fragment came again.
    DuplicateFragment = "duplicate-fragment", "the same fragment was there already";
    /// Fragments of a packet overlap, or disagree about its end (RFC 5722 §4).
    OverlappingFragments = "overlapping-fragments", "fragments of the packet overlap";
    /// A packet comes in too many fragments.
    TooManyFragments = "too-many-fragments", "the packet comes in too many fragments";
    /// The rest of a fragment's packet did not come in time.
    ReassemblyTimeout = "reassembly-timeout", "the rest of the fragmented packet did not come in time";
    /// A fragment made room for others.
    ReassemblyFull = "reassembly-full", "too many fragments wait for the rest of their packets";
}

/// Counts drops by reason; workers share it without a lock.
///
/// Most SAs never drop a packet, and there may be many SAs: the counts take memory from the first drop on.
#[derive(Debug, Default)]
pub struct DropCounters {
    counts: OnceLock<Box<Counts>>,
}

type Counts = [AtomicU64; DropReason::ALL.len()];

impl DropCounters {
    /// Counts one dropped packet.
    pub fn count(&self, reason: DropReason) {
        let counts = self.counts.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        counts[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Tells how many packets were dropped for a reason.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.counts.get().map_or(0, |counts| counts[reason as usize].load(Ordering::Relaxed))
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
        drops.count(DropReason::Congestion);
        drops.count(DropReason::Replayed);
        drops.count(DropReason::Replayed);
        assert_eq!(drops.of(DropReason::Replayed), 2);
        assert_eq!(drops.of(DropReason::Congestion), 1);
        assert_eq!(drops.of(DropReason::Forged), 0);
        assert_eq!(drops.total(), 3);
    }
}
