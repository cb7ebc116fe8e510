//! Sealing: an inner packet becomes an ESP packet in tunnel mode (RFC 4303 §3.3).
//!
//! ```text
//!   1  look at the inner packet      version, traffic class
//!   2  hard limits                   bytes, packets
//!   3  trailer                       padding 1, 2, 3 …, pad length, next header
//!   4  sequence number               the last is never passed
//!   5  header and IV
//!   6  encrypt and authenticate
//!   7  count                         which limit did this packet reach?
//! ```

use std::fmt;
use std::sync::Arc;

use crypto::Random;
use sa::{Hardness, Outer, PolicyId, SaId, SaSpec, SelectorPair, Spi};
use wire::esp;

use crate::ends::Ends;
use crate::esp_keys::EspKeys;
use crate::hash_pages::Seed;
use crate::iv::IvSource;
use crate::lifetime::Meter;
use crate::selectors::Selectors;
use crate::sequence::SequenceCounter;
use crate::tunnel::Inner;
use crate::{DropCounters, DropReason, Expiry, PacketBuf};

/// An SA that seals; clones share its keys, its counters and its sequence numbers.
#[derive(Clone)]
pub struct OutboundSa {
    outer: Outer,
    shared: Arc<Shared>,
}

struct Shared {
    // Fixed for life.
    id: SaId,
    policy: PolicyId,
    selectors: Selectors,
    keys: EspKeys,
    iv: IvSource,
    // Written with every packet, by several workers.
    counters: Counters,
}

/// Kept away from the cache lines that hold what is only read.
#[repr(align(128))]
struct Counters {
    sequence: SequenceCounter,
    meter: Meter,
    drops: DropCounters,
}

/// What sealing a packet brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The limit of the SA that this packet reached; every limit is told once in the SA's life.
    pub expiry: Option<Expiry>,
    /// The inner packet's DSCP and ECN, for the outer header (RFC 4301 §5.1.2, RFC 6040 §4.1).
    pub traffic_class: u8,
}

impl OutboundSa {
    /// Lowers a specification to what packets need; `used` sequence numbers count as spent, 0 for a new SA.
    pub(crate) fn new(
        spec: &SaSpec,
        seed: Seed,
        random: &mut dyn Random,
        used: u64,
    ) -> Result<OutboundSa, crypto::Error> {
        let shared = Shared {
            id: spec.id(),
            policy: spec.policy,
            selectors: Selectors::new(&spec.selectors, seed),
            keys: EspKeys::new(&spec.protection, spec.key.as_slice(), spec.esn)?,
            iv: IvSource::new(&spec.protection, random)?,
            counters: Counters {
                sequence: SequenceCounter::new(spec.esn, used),
                meter: Meter::new(spec.lifetime),
                drops: DropCounters::default(),
            },
        };
        Ok(OutboundSa { outer: spec.outer, shared: Arc::new(shared) })
    }

    /// Turns the inner IP packet in `packet` into an ESP packet, from the SPI to the ICV, in place.
    ///
    /// The buffer needs [`overhead`](Self::overhead) octets of room around the packet, which [`PacketBuf::new`] leaves.
    ///
    /// # Errors
    /// The SA reached a hard limit or its last sequence number, or the packet is not an IP packet or too long. It must be
    /// thrown away then; the SA has counted it.
    pub fn seal(&self, packet: &mut PacketBuf) -> Result<Sealed, DropReason> {
        self.try_seal(packet).inspect_err(|reason| self.shared.counters.drops.count(*reason))
    }

    /// Gives the SA's name.
    pub fn id(&self) -> SaId {
        self.shared.id
    }

    /// Gives the peer's SPI.
    pub fn spi(&self) -> Spi {
        self.shared.id.spi
    }

    /// Gives the policy that the SA serves.
    pub fn policy(&self) -> PolicyId {
        self.shared.policy
    }

    /// Gives the outer addresses and the encapsulation.
    pub fn outer(&self) -> Outer {
        self.outer
    }

    /// Gives the octets of inner packets sealed so far.
    pub fn bytes(&self) -> u64 {
        self.shared.counters.meter.bytes()
    }

    /// Gives the packets sealed so far.
    pub fn packets(&self) -> u64 {
        self.shared.counters.meter.packets()
    }

    /// Gives the counts of packets that [`seal`](Self::seal) refused.
    pub fn drops(&self) -> &DropCounters {
        &self.shared.counters.drops
    }

    /// Gives the most octets that sealing adds to a packet, in front and behind together.
    pub fn overhead(&self) -> usize {
        let keys = &self.shared.keys;
        keys.front_len() + keys.alignment - 1 + esp::TRAILER_LEN + keys.icv_len
    }

    /// Gives the length of the ESP packet that an inner packet of `inner` octets becomes.
    pub fn sealed_len(&self, inner: usize) -> usize {
        let keys = &self.shared.keys;
        keys.front_len() + (inner + esp::TRAILER_LEN).next_multiple_of(keys.alignment) + keys.icv_len
    }

    /// Gives the length of the longest inner packet whose ESP packet has at most `sealed` octets.
    pub fn inner_len(&self, sealed: usize) -> usize {
        let keys = &self.shared.keys;
        let ciphertext = sealed.saturating_sub(keys.front_len() + keys.icv_len);
        (ciphertext - ciphertext % keys.alignment).saturating_sub(esp::TRAILER_LEN)
    }

    /// Gives the SA with other outer addresses; all else is shared with this one.
    pub(crate) fn moved(&self, outer: Outer) -> OutboundSa {
        OutboundSa { outer, shared: Arc::clone(&self.shared) }
    }

    /// Tells whether the SA was negotiated for this packet.
    pub(crate) fn selects(&self, ends: &Ends) -> bool {
        self.shared.selectors.select(ends)
    }

    /// Tells whether the SA was negotiated for every packet of `pair`.
    pub(crate) fn covers(&self, pair: &SelectorPair) -> bool {
        self.shared.selectors.cover(pair)
    }

    fn try_seal(&self, packet: &mut PacketBuf) -> Result<Sealed, DropReason> {
        let Shared { id, keys, iv, counters, .. } = &*self.shared;
        let inner = Inner::of(packet.as_slice())?;
        let inner_len = packet.len();
        counters.meter.admit()?;

        let padding = esp::padding_len(inner_len, keys.alignment);
        let trailer = packet.push_back(padding + esp::TRAILER_LEN).ok_or(DropReason::TooLong)?;
        esp::write_trailer(trailer, inner.next_header).map_err(|_| DropReason::TooLong)?;
        packet.push_back(keys.icv_len).ok_or(DropReason::TooLong)?;
        let front = packet.push_front(keys.front_len()).ok_or(DropReason::TooLong)?;

        let number = counters.sequence.next()?;
        let header = esp::Header { spi: esp::Spi(id.spi.0), sequence: number as u32 };
        let (header_room, iv_room) = front.split_at_mut(esp::HEADER_LEN);
        header_room.copy_from_slice(&header.encode());
        iv.fill(number, iv_room).map_err(|_| DropReason::TooLong)?;
        keys.seal(number, packet.as_mut_slice()).map_err(|_| DropReason::TooLong)?;

        let expiry = graver(counters.meter.count(inner_len), counters.sequence.expiry(number));
        Ok(Sealed { expiry, traffic_class: inner.traffic_class })
    }
}

fn graver(first: Option<Expiry>, second: Option<Expiry>) -> Option<Expiry> {
    match (first, second) {
        (Some(Expiry { hardness: Hardness::Soft, .. }), Some(second)) => Some(second),
        (first, second) => first.or(second),
    }
}

impl fmt::Debug for OutboundSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundSa")
            .field("id", &self.id())
            .field("outer", &self.outer)
            .finish_non_exhaustive()
    }
}
