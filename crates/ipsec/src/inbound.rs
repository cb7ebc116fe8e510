//! Opening: an ESP packet becomes the inner packet again (RFC 4303 §3.4).
//!
//! ```text
//!   1  shape                         long enough, ciphertext aligned
//!   2  sequence number               with ESN: which high half?
//!   3  window check                  so that a replay costs no cryptography
//!   4  hard limits                   bytes, packets
//!   5  ICV, decrypt
//!   6  window mark                   at most once, whatever other workers do
//!   7  trailer                       padding 1, 2, 3 …, next header 4 or 41
//!   8  inner packet                  whole; what is behind its end hid its length (RFC 4303 §2.7)
//!   9  selectors                     is this the traffic that was negotiated? (RFC 4301 §5.2)
//!  10  count                         which limit did this packet reach?
//! ```

use std::fmt;
use std::sync::Arc;

use sa::{Esn, Outer, PolicyId, SaId, SaSpec, Spi};
use wire::esp;
use wire::ip::{Flow, Packet, protocol};

use crate::ends::Ends;
use crate::esp_keys::EspKeys;
use crate::hash_pages::Seed;
use crate::lifetime::Meter;
use crate::replay::{Arrival, ReplayWindow};
use crate::selectors::Selectors;
use crate::{DropCounters, DropReason, Expiry, PacketBuf};

/// An SA that opens; clones share its keys, its counters and its anti-replay window.
#[derive(Clone)]
pub struct InboundSa {
    outer: Outer,
    shared: Arc<Shared>,
}

struct Shared {
    // Fixed for life.
    id: SaId,
    policy: PolicyId,
    selectors: Selectors,
    esn: Esn,
    keys: EspKeys,
    // Written with every packet, by several workers.
    counters: Counters,
}

/// Kept away from the cache lines that hold what is only read.
#[repr(align(128))]
struct Counters {
    window: ReplayWindow,
    meter: Meter,
    drops: DropCounters,
}

/// What opening a packet brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The limit of the SA that this packet reached; every limit is told once in the SA's life.
    pub expiry: Option<Expiry>,
    /// Whether the packet's sequence number is above all before it. Only then does its outer source tell where the peer
    /// is now: an older packet may have been on its way since before the peer moved (RFC 7296 §2.23).
    pub newest: bool,
}

impl InboundSa {
    /// Lowers a specification to what packets need.
    pub(crate) fn new(spec: &SaSpec, seed: Seed) -> Result<InboundSa, crypto::Error> {
        let shared = Shared {
            id: spec.id(),
            policy: spec.policy,
            selectors: Selectors::new(&spec.selectors, seed),
            esn: spec.esn,
            keys: EspKeys::new(&spec.protection, spec.key.as_slice(), spec.esn)?,
            counters: Counters {
                window: ReplayWindow::new(spec.replay_window),
                meter: Meter::new(spec.lifetime),
                drops: DropCounters::default(),
            },
        };
        Ok(InboundSa { outer: spec.outer, shared: Arc::new(shared) })
    }

    /// Turns the ESP packet in `packet`, from the SPI to the ICV, into the inner IP packet, in place.
    ///
    /// # Errors
    /// The packet is malformed, replayed, forged, or not of the traffic that the SA is for, or the SA has reached a hard
    /// limit. The packet must be thrown away then, unread; the SA has counted it.
    pub fn open(&self, packet: &mut PacketBuf) -> Result<Opened, DropReason> {
        self.try_open(packet).inspect_err(|reason| self.shared.counters.drops.count(*reason))
    }

    /// Gives the SA's name.
    pub fn id(&self) -> SaId {
        self.shared.id
    }

    /// Gives our SPI.
    pub fn spi(&self) -> Spi {
        self.shared.id.spi
    }

    /// Gives the policy that the SA serves.
    pub fn policy(&self) -> PolicyId {
        self.shared.policy
    }

    /// Gives the outer addresses and the encapsulation; packets from elsewhere are as good, see [`Opened::newest`].
    pub fn outer(&self) -> Outer {
        self.outer
    }

    /// Gives the octets of inner packets opened so far.
    pub fn bytes(&self) -> u64 {
        self.shared.counters.meter.bytes()
    }

    /// Gives the packets opened so far.
    pub fn packets(&self) -> u64 {
        self.shared.counters.meter.packets()
    }

    /// Gives the counts of packets that [`open`](Self::open) refused.
    pub fn drops(&self) -> &DropCounters {
        &self.shared.counters.drops
    }

    /// Gives the SA with other outer addresses; all else is shared with this one.
    pub(crate) fn moved(&self, outer: Outer) -> InboundSa {
        InboundSa { outer, shared: Arc::clone(&self.shared) }
    }

    fn try_open(&self, packet: &mut PacketBuf) -> Result<Opened, DropReason> {
        let Shared { selectors, esn, keys, counters, .. } = &*self.shared;
        if !keys.fits(packet.len()) {
            return Err(DropReason::MalformedEsp);
        }
        let header = esp::Header::decode(packet.as_slice()).map_err(|_| DropReason::MalformedEsp)?;
        let number = match esn {
            Esn::No => header.sequence.into(),
            Esn::Yes => counters.window.extend(header.sequence),
        };
        counters.window.check(number)?;
        counters.meter.admit()?;
        keys.open(number, packet.as_mut_slice()).map_err(|_| DropReason::Forged)?;
        let arrival = counters.window.mark(number)?;

        packet.pull_front(keys.front_len()).ok_or(DropReason::MalformedEsp)?;
        packet.truncate(packet.len() - keys.icv_len);
        let trailer = esp::Trailer::decode(packet.as_slice()).map_err(|_| DropReason::Padding)?;
        packet.truncate(trailer.payload_len);
        let inner_len = admit_inner(packet.as_slice(), trailer.next_header, selectors)?;
        packet.truncate(inner_len);
        Ok(Opened { expiry: counters.meter.count(inner_len), newest: arrival == Arrival::Newest })
    }
}

/// Checks what came out of a packet, and gives the inner packet's own length.
fn admit_inner(payload: &[u8], next_header: u8, selectors: &Selectors) -> Result<usize, DropReason> {
    match next_header {
        protocol::IPV4 | protocol::IPV6 => {}
        protocol::NO_NEXT_HEADER => return Err(DropReason::Dummy),
        _ => return Err(DropReason::NextHeader),
    }
    let inner = Packet::new(payload).map_err(|_| DropReason::MalformedInner)?;
    match (&inner, next_header) {
        (Packet::V4(_), protocol::IPV4) | (Packet::V6(_), protocol::IPV6) => {}
        (Packet::V4(_) | Packet::V6(_), _) => return Err(DropReason::MalformedInner),
    }
    let flow = Flow::of_packet(&inner).map_err(|_| DropReason::MalformedInner)?;
    if !selectors.select(&Ends::inbound(&flow)) {
        return Err(DropReason::Selectors);
    }
    Ok(inner.total_length())
}

impl fmt::Debug for InboundSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundSa")
            .field("id", &self.id())
            .field("outer", &self.outer)
            .finish_non_exhaustive()
    }
}
