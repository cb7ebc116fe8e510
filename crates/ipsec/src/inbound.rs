//! Opening: an ESP or AH packet becomes the inner packet again (RFC 4303 §3.4, RFC 4302 §3.4).
//!
//! ```text
//!   1  bundle                        did it come inside the SA that its own is bundled with?
//!   2  shape                         long enough, ciphertext aligned; AH: as long as its SA's
//!   3  sequence number               with ESN: which high half? A replay costs no cryptography
//!   4  hard limits                   bytes, packets
//!   5  ICV, decrypt
//!   6  window mark                   at most once, whatever other workers do
//!   7  trailer                       padding 1, 2, 3 …; dummies end here
//!   8  decompress                    bounded, whatever the peer sends (ipcomp.rs)
//!   9  restore                       the mode makes a packet of it (mode.rs)
//!  10  inner packet                  whole; what is behind its end hid its length (RFC 4303 §2.7)
//!  11  selectors                     is this the traffic that was negotiated, or an error about it? (RFC 4301 §5.2, §6.2)
//!  12  clients of one NAT        their ports are told apart (shared_ports.rs)
//!  13  congestion, class of service  from the outer header
//!  14  count                         which limit did this packet reach?
//! ```

use std::fmt;
use std::sync::Arc;

use sa::{Cpi, DeviceId, Handling, Lifetime, Outer, PolicyId, Protocol, SaId, SaSpec, SegmentSize, Spi};
use wire::ip::protocol;

use crate::ah::Ah;
use crate::esp::{self, EspOpener};
use crate::hash_pages::Seed;
use crate::lifetime::Meter;
use crate::mode::Mode;
use crate::outbound::identification;
use crate::place::Place;
use crate::replay::{Arrival, ReplayWindow};
use crate::selectors::Selectors;
use crate::shared_ports::Seat;
use crate::{DropCounters, DropReason, Envelope, Expiry, PacketBuf, Rejection, ipcomp};

/// An SA that opens; clones share its keys, its counters and its anti-replay window.
#[derive(Clone)]
pub struct InboundSa {
    place: Place,
    shared: Arc<Shared>,
}

struct Shared {
    // Fixed for life.
    id: SaId,
    policy: PolicyId,
    selectors: Selectors,
    mode: Mode,
    guard: Guard,
    segment_size: SegmentSize,
    unusual: Option<Box<Unusual>>,
    // Written with every packet, by several workers. Whoever reads the rest writes this as well, so it does not matter
    // which cache lines they share.
    counters: Counters,
}

/// What all SAs have must not grow by accident; with its allocator's share it takes 192 octets.
const _: () = assert!(size_of::<Shared>() <= 168);

/// What few SAs have; there may be a hundred thousand of the others.
struct Unusual {
    limits: Lifetime,
    compression: Option<Cpi>,
    /// The AH SA inside which alone packets of this one are taken.
    wrapped_by: Option<SaId>,
    device: Option<DeviceId>,
}

enum Guard {
    Esp(EspOpener),
    Ah(Box<Ah>),
}

struct Counters {
    window: ReplayWindow,
    meter: Meter,
    drops: DropCounters,
}

/// What opening a packet brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What the buffer holds.
    pub content: Content,
    /// The limit of the SA that this packet reached; every limit is told once in the SA's life.
    pub expiry: Option<Expiry>,
    /// Whether the packet's sequence number is above all before it. Only then does its outer source tell where the peer
    /// is now: an older packet may have been on its way since before the peer moved (RFC 7296 §2.23).
    pub newest: bool,
}

/// What came out of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An IP packet of the SA's traffic.
    Packet,
    /// A fragment of which the SA's selectors want to see the ports: the packet has to be put together
    /// ([`Reassembler`](crate::Reassembler)), and [`InboundSa::admits`] asked about it (RFC 4301 §7).
    Fragment,
    /// Out of AH: an ESP packet, from the SPI on, whose SA is bundled with this one or not to be used. It came under the
    /// same envelope.
    Esp,
}

impl InboundSa {
    /// Lowers a specification to what packets need.
    pub(crate) fn new(spec: &SaSpec, seat: Option<Seat>, seed: Seed) -> Result<InboundSa, Rejection> {
        let guard = match spec.protocol {
            Protocol::Esp => Guard::Esp(EspOpener::new(spec).map_err(Rejection::Keys)?),
            Protocol::Ah => Guard::Ah(Box::new(Ah::new(spec).map_err(Rejection::Keys)?)),
        };
        let shared = Shared {
            id: spec.id(),
            policy: spec.policy,
            selectors: Selectors::new(&spec.selectors, spec.direction, seed),
            mode: Mode::new(spec, seat).ok_or(Rejection::InnerAddresses)?,
            guard,
            segment_size: spec.handling.segment_size,
            unusual: Unusual::of(spec).map(Box::new),
            counters: Counters {
                window: ReplayWindow::new(spec.replay_window),
                meter: Meter::default(),
                drops: DropCounters::default(),
            },
        };
        Ok(InboundSa { place: Place::new(spec.outer), shared: Arc::new(shared) })
    }

    /// Turns what is behind the IP header that `envelope` describes, from the SPI of an ESP packet or the first octet of
    /// AH on, into the inner IP packet, in place. [`Tables::open`](crate::Tables::open) does this for bundled SAs.
    ///
    /// # Errors
    /// The packet is malformed, replayed, forged, or not of the traffic that the SA is for, or the SA has reached a hard
    /// limit. The packet must be thrown away then, unread; the SA has counted it.
    pub fn open(&self, packet: &mut PacketBuf, envelope: &Envelope<'_>) -> Result<Opened, DropReason> {
        self.open_inside(packet, envelope, None)
    }

    /// Opens a packet that came inside another SA's.
    pub(crate) fn open_inside(
        &self,
        packet: &mut PacketBuf,
        envelope: &Envelope<'_>,
        wrapper: Option<SaId>,
    ) -> Result<Opened, DropReason> {
        self.try_open(packet, envelope, wrapper)
            .inspect_err(|reason| self.shared.counters.drops.count(*reason))
    }

    /// Checks a packet that was put together from what [`open`](Self::open) gave as [`Content::Fragment`].
    ///
    /// # Errors
    /// It is not of the traffic that the SA is for. It must be thrown away then; the SA has counted it.
    pub fn admits(&self, packet: &[u8]) -> Result<(), DropReason> {
        let admitted = match self.shared.selectors.admit(packet) {
            Ok((_, Content::Packet)) => Ok(()),
            Ok((_, Content::Fragment | Content::Esp)) => Err(DropReason::Selectors),
            Err(reason) => Err(reason),
        };
        admitted.inspect_err(|reason| self.shared.counters.drops.count(*reason))
    }

    /// Asks the processor for what the SA's next packet needs, ahead of it. Whoever has a batch of packets of many SAs, and
    /// asks for all of them first, waits for memory about half as long.
    pub fn prefetch(&self) {
        match &self.shared.guard {
            Guard::Esp(esp) => esp.prefetch(),
            Guard::Ah(_) => {}
        }
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
        self.place.outer()
    }

    /// Gives the device that inner packets go to; `None` is the common one.
    pub fn device(&self) -> Option<DeviceId> {
        self.unusual()?.device
    }

    /// Tells what TCP connections through the SA may announce.
    pub fn segment_size(&self) -> SegmentSize {
        self.shared.segment_size
    }

    /// Gives the name of the AH SA inside which alone packets of this one are taken.
    pub(crate) fn wrapped_by(&self) -> Option<SaId> {
        self.unusual()?.wrapped_by
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
        InboundSa { place: Place::new(outer), shared: Arc::clone(&self.shared) }
    }

    fn unusual(&self) -> Option<&Unusual> {
        self.shared.unusual.as_deref()
    }

    fn limits(&self) -> Option<&Lifetime> {
        self.unusual().map(|unusual| &unusual.limits)
    }

    fn try_open(
        &self,
        packet: &mut PacketBuf,
        envelope: &Envelope<'_>,
        wrapper: Option<SaId>,
    ) -> Result<Opened, DropReason> {
        let Shared { mode, selectors, counters, .. } = &*self.shared;
        if self.wrapped_by() != wrapper {
            return Err(DropReason::Bundle);
        }
        let (number, arrival, protocol) = self.unguard(packet, envelope)?;
        let newest = arrival == Arrival::Newest;
        if let (Guard::Ah(_), protocol::ESP, Mode::Transport(_)) = (&self.shared.guard, protocol, mode) {
            return Ok(Opened {
                content: Content::Esp,
                expiry: counters.meter.count(packet.len(), self.limits()),
                newest,
            });
        }
        let protocol = match (protocol, self.unusual().and_then(|unusual| unusual.compression)) {
            (protocol::IPCOMP, Some(cpi)) => ipcomp::decompress(packet, cpi)?,
            (protocol, _) => protocol,
        };
        mode.restore(packet, protocol, envelope, identification(number))?;
        let (inner_len, content) = selectors.admit(packet.as_slice())?;
        packet.truncate(inner_len);
        mode.tell_apart(packet);
        mode.copy_inward(packet, envelope.traffic_class())?;
        Ok(Opened { content, expiry: counters.meter.count(inner_len, self.limits()), newest })
    }

    /// Takes the protection off; gives the sequence number, where it stood, and what protocol the rest is.
    fn unguard(
        &self,
        packet: &mut PacketBuf,
        envelope: &Envelope<'_>,
    ) -> Result<(u64, Arrival, u8), DropReason> {
        let Counters { window, meter, .. } = &self.shared.counters;
        match &self.shared.guard {
            Guard::Esp(esp) => {
                let number = esp.number(packet, window)?;
                meter.admit(self.limits())?;
                esp.decrypt(packet, number)?;
                let arrival = window.mark(number)?;
                match esp::take_trailer(packet)? {
                    protocol::NO_NEXT_HEADER => Err(DropReason::Dummy),
                    protocol => Ok((number, arrival, protocol)),
                }
            }
            Guard::Ah(ah) => {
                let number = ah.number(packet, envelope, window)?;
                meter.admit(self.limits())?;
                let protocol = ah.open(packet, envelope, number)?;
                Ok((number, window.mark(number)?, protocol))
            }
        }
    }
}

impl Unusual {
    fn of(spec: &SaSpec) -> Option<Unusual> {
        let Handling { compression, wrapped_by, device, .. } = spec.handling;
        let is_usual =
            spec.lifetime == Lifetime::UNLIMITED && (compression, wrapped_by, device) == (None, None, None);
        (!is_usual).then_some(Unusual { limits: spec.lifetime, compression, wrapped_by, device })
    }
}

impl fmt::Debug for InboundSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundSa")
            .field("id", &self.id())
            .field("outer", &self.outer())
            .finish_non_exhaustive()
    }
}
