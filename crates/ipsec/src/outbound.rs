//! Sealing: an inner packet becomes an ESP or AH packet (RFC 4303 §3.3, RFC 4302 §3.3).
//!
//! ```text
//!   1  hard limits                   bytes, packets; also those of the SA that wraps this one
//!   2  strip                         the mode leaves what is protected; what stands in front is apart (mode.rs)
//!   3  compress                      where that was agreed on, and makes the packet shorter (ipcomp.rs)
//!   4  guard                         ESP: padding, trailer, header, IV, encrypt (esp.rs); AH: the header's image (ah.rs)
//!                                    the last sequence number is never passed
//!   5  form                          most packets are done: a socket puts the headers in front
//!   6  wrap                          the others get them here, AH among them where SAs are bundled
//!   7  count                         which limit did this packet reach?
//! ```

use std::fmt;
use std::sync::Arc;

use crypto::Random;
use sa::{
    DeviceId, Encapsulation, FlowPadding, Fragmenting, Handling, Hardness, Lifetime, Outer, PolicyId,
    Protocol, SaId, SaSpec, SegmentSize, SelectorPair, Spi,
};
use wire::ip::{Ipv4Header, Ipv6Header, checksum, protocol};
use wire::udp;

use crate::ah::Ah;
use crate::copying::OuterHeader;
use crate::ends::Ends;
use crate::esp::EspSealer;
use crate::hash_pages::Seed;
use crate::header::{Addresses, Header};
use crate::ipcomp::Compressor;
use crate::lifetime::Meter;
use crate::mode::{Front, Mode};
use crate::place::Place;
use crate::selectors::Selectors;
use crate::sequence::SequenceCounter;
use crate::shared_ports::Seat;
use crate::{
    Contents, DropCounters, DropReason, Expiry, PacketBuf, PathMtu, Rejection, Room, authenticated, limits,
};

/// An SA that seals; clones share its keys, its counters and its sequence numbers.
#[derive(Clone)]
pub struct OutboundSa {
    place: Place,
    path: Arc<PathMtu>,
    shared: Arc<Shared>,
}

struct Shared {
    // Fixed for life.
    id: SaId,
    policy: PolicyId,
    selectors: Selectors,
    mode: Mode,
    guard: Guard,
    padding: FlowPadding,
    fragmenting: Fragmenting,
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
    compressor: Option<Compressor>,
    /// The AH SA that carries this one's packets.
    wrapper: Option<OutboundSa>,
    device: Option<DeviceId>,
    mark: u32,
}

enum Guard {
    Esp(EspSealer),
    Ah(Ah),
}

struct Counters {
    sequence: SequenceCounter,
    meter: Meter,
    drops: DropCounters,
}

/// What sealing a packet brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// What the buffer holds.
    pub form: Form,
    /// The limit of the SA that this packet reached; every limit is told once in the SA's life.
    pub expiry: Option<Expiry>,
    /// The same for the SA that wraps this one, see [`OutboundSa::wrapper`].
    pub wrapper_expiry: Option<Expiry>,
}

/// What a buffer holds when it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An ESP packet, from the SPI to the ICV. The socket puts an IP header with the SA's outer addresses in front, and a
    /// UDP header where the SA has that encapsulation.
    Payload(OuterHeader),
    /// A whole IP packet with all its headers, to be sent to its own destination.
    Packet,
}

impl OutboundSa {
    /// Lowers a specification to what packets need; `used` sequence numbers count as spent, 0 for a new SA.
    pub(crate) fn new(
        spec: &SaSpec,
        path: Arc<PathMtu>,
        wrapper: Option<OutboundSa>,
        seat: Option<Seat>,
        seed: Seed,
        random: &mut dyn Random,
        used: u64,
    ) -> Result<OutboundSa, Rejection> {
        let guard = match spec.protocol {
            Protocol::Esp => Guard::Esp(EspSealer::new(spec, random).map_err(Rejection::Keys)?),
            Protocol::Ah => Guard::Ah(Ah::new(spec).map_err(Rejection::Keys)?),
        };
        let shared = Shared {
            id: spec.id(),
            policy: spec.policy,
            selectors: Selectors::new(&spec.selectors, spec.direction, seed),
            mode: Mode::new(spec, seat).ok_or(Rejection::InnerAddresses)?,
            guard,
            padding: spec.handling.padding,
            fragmenting: spec.handling.fragmenting,
            segment_size: spec.handling.segment_size,
            unusual: Unusual::of(spec, wrapper).map(Box::new),
            counters: Counters {
                sequence: SequenceCounter::new(spec.esn, used),
                meter: Meter::default(),
                drops: DropCounters::default(),
            },
        };
        Ok(OutboundSa { place: Place::new(spec.outer), path, shared: Arc::new(shared) })
    }

    /// Goes on with a higher sequence number, but for those after the one with which a replacement falls due.
    pub(crate) fn skip_sequence(&self, by: u64) {
        self.shared.counters.sequence.skip(by);
    }

    /// Turns the inner IP packet in `packet` into what goes out, in place.
    ///
    /// The buffer needs the room around the packet that [`PacketBuf::new`] leaves.
    ///
    /// # Errors
    /// The SA reached a hard limit or its last sequence number, or the packet is not an IP packet, too long, or none that
    /// the SA's mode takes. It must be thrown away then; the SA has counted it.
    pub fn seal(&self, packet: &mut PacketBuf) -> Result<Sealed, DropReason> {
        self.try_seal(packet).inspect_err(|reason| self.shared.counters.drops.count(*reason))
    }

    /// Makes a dummy packet with a payload of `octets` zeros, lengthened as the SA's others are: to whoever does not hold
    /// the key it is a packet like any other, and the peer throws it away (RFC 4303 §2.6).
    ///
    /// # Errors
    /// As for [`seal`](Self::seal). AH knows no dummies: [`DropReason::NextHeader`].
    pub fn seal_dummy(&self, packet: &mut PacketBuf, octets: usize) -> Result<Sealed, DropReason> {
        self.try_seal_dummy(packet, octets).inspect_err(|reason| self.shared.counters.drops.count(*reason))
    }

    /// Makes a whole IP packet of one that [`seal`](Self::seal) left to a socket ([`Form::Payload`]), for whoever is to cut
    /// it up; an `identification` of 0 is none (RFC 6864 §4.1).
    ///
    /// # Errors
    /// The packet would be longer than an IP packet can be.
    pub fn make_whole(
        &self,
        packet: &mut PacketBuf,
        header: OuterHeader,
        identification: u16,
    ) -> Result<(), DropReason> {
        let mut header = Front::New(header).into_header(&self.outer(), identification);
        header.set_protocol(protocol::ESP);
        self.put_headers_on(packet, header)
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
        self.place.outer()
    }

    /// Gives the AH SA that carries this SA's packets, if they are bundled.
    pub fn wrapper(&self) -> Option<&OutboundSa> {
        self.unusual()?.wrapper.as_ref()
    }

    /// Gives the device whose packets the SA carries; `None` is the common one.
    pub fn device(&self) -> Option<DeviceId> {
        self.unusual()?.device
    }

    /// Gives the firewall mark that sealed packets carry beside the host's own; 0 is none.
    pub fn mark(&self) -> u32 {
        self.unusual().map_or(0, |unusual| unusual.mark)
    }

    /// Tells what TCP connections through the SA may announce.
    pub fn segment_size(&self) -> SegmentSize {
        self.shared.segment_size
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

    /// Tells whether fragments can be sealed as they are (RFC 4303 §3.3.4); if not, they have to be put together first.
    pub fn takes_fragments(&self) -> bool {
        matches!(self.shared.mode, Mode::Tunnel(_))
    }

    /// Tells what becomes of long packets.
    pub fn room(&self) -> Room {
        let contents = if self.takes_fragments() { Contents::AnyPacket } else { Contents::WholePackets };
        Room { longest: self.longest_inner(), contents, fragmenting: self.shared.fragmenting }
    }

    /// Gives the path MTU to the peer in octets, as far as it is known: that of the outer packets ([`Paths`](crate::Paths)).
    pub fn path_mtu(&self) -> Option<usize> {
        self.path.is_known().then(|| self.path.octets())
    }

    /// Gives the length of the longest inner packet that the path takes once it is sealed.
    pub fn longest_inner(&self) -> usize {
        self.inner_len(self.path.octets())
    }

    /// Gives the length of the IP packet on the wire that an inner packet of `inner` octets becomes, without flow padding.
    pub fn sealed_len(&self, inner: usize) -> usize {
        let payload = inner.saturating_sub(self.stripped_len());
        self.lead_len()
            + match &self.shared.guard {
                Guard::Esp(esp) => esp.sealed_len(payload),
                Guard::Ah(ah) => ah.header_len(self.place.is_v4()) + payload,
            }
    }

    /// Gives the length of the longest inner packet that becomes an IP packet of at most `sealed` octets on the wire.
    pub fn inner_len(&self, sealed: usize) -> usize {
        self.payload_len(sealed) + self.stripped_len()
    }

    /// Gives the SA with other outer addresses; all else is shared with this one.
    pub(crate) fn moved(&self, outer: Outer, path: Arc<PathMtu>) -> OutboundSa {
        OutboundSa { place: Place::new(outer), path, shared: Arc::clone(&self.shared) }
    }

    /// Tells whether the SA can carry another: AH in transport mode.
    pub(crate) fn wraps(&self) -> bool {
        matches!((&self.shared.guard, &self.shared.mode), (Guard::Ah(_), Mode::Transport(_)))
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
        let inner_len = packet.len();
        self.admit()?;
        let (protocol, front) = self.shared.mode.strip(packet)?;
        let protocol = match self.unusual().and_then(|unusual| unusual.compressor.as_ref()) {
            Some(compressor) => compressor.compress(packet, protocol),
            None => protocol,
        };
        self.guard(packet, protocol, front, inner_len)
    }

    fn try_seal_dummy(&self, packet: &mut PacketBuf, octets: usize) -> Result<Sealed, DropReason> {
        if matches!(self.shared.guard, Guard::Ah(_)) {
            return Err(DropReason::NextHeader);
        }
        self.admit()?;
        packet.clear();
        packet.push_back(octets).ok_or(DropReason::TooLong)?.fill(0);
        let front = Front::New(OuterHeader { traffic_class: 0, dont_fragment: true, hop_limit: None });
        self.guard(packet, protocol::NO_NEXT_HEADER, front, 0)
    }

    fn unusual(&self) -> Option<&Unusual> {
        self.shared.unusual.as_deref()
    }

    fn limits(&self) -> Option<&Lifetime> {
        self.unusual().map(|unusual| &unusual.limits)
    }

    /// Refuses a packet that cannot leave, before a sequence number is spent on it.
    fn admit(&self) -> Result<(), DropReason> {
        let Counters { sequence, meter, .. } = &self.shared.counters;
        meter.admit(self.limits())?;
        sequence.admit()?;
        self.wrapper().map_or(Ok(()), OutboundSa::admit)
    }

    /// Protects a payload, and puts in front of it what no socket can.
    fn guard(
        &self,
        packet: &mut PacketBuf,
        protocol: u8,
        front: Front,
        inner_len: usize,
    ) -> Result<Sealed, DropReason> {
        let Shared { guard, counters, .. } = &*self.shared;
        let (number, form, wrapper_expiry) = match guard {
            Guard::Esp(esp) => {
                let number = esp.seal(packet, self.spi(), protocol, self.flow_len(), &counters.sequence)?;
                let (form, wrapper_expiry) = self.finish_esp(packet, front, number)?;
                (number, form, wrapper_expiry)
            }
            Guard::Ah(ah) => {
                let mut header = front.into_header(&self.outer(), 0);
                header.set_protocol(protocol);
                let number = ah.seal(packet, self.spi(), header, &counters.sequence)?;
                (number, Form::Packet, None)
            }
        };
        let expiry = graver(counters.meter.count(inner_len, self.limits()), counters.sequence.expiry(number));
        Ok(Sealed { form, expiry, wrapper_expiry })
    }

    /// Leaves an ESP packet to a socket, or makes it whole where its header is one that a socket cannot make.
    fn finish_esp(
        &self,
        packet: &mut PacketBuf,
        front: Front,
        number: u64,
    ) -> Result<(Form, Option<Expiry>), DropReason> {
        let wrapper = self.wrapper();
        if wrapper.is_none()
            && let Some(header) = front.as_plain(&self.place)
        {
            return Ok((Form::Payload(header), None));
        }
        let mut header = front.into_header(&self.outer(), identification(number));
        // The inner packet's own header may have none, and whoever cuts this one needs one (RFC 6864 §4.1).
        header.identify(identification(number));
        header.set_protocol(protocol::ESP);
        match wrapper {
            Some(wrapper) => Ok((Form::Packet, wrapper.wrap(packet, header)?)),
            None => {
                self.put_headers_on(packet, header)?;
                Ok((Form::Packet, None))
            }
        }
    }

    /// Makes an ESP packet whole: UDP where the SA has that encapsulation, and the IP header.
    fn put_headers_on(&self, packet: &mut PacketBuf, mut header: Header) -> Result<(), DropReason> {
        if self.place.encapsulation() == Encapsulation::Udp {
            self.put_into_udp(packet, &mut header)?;
        }
        header.put_on(packet)
    }

    /// Puts this SA's AH around another SA's packet.
    fn wrap(&self, packet: &mut PacketBuf, header: Header) -> Result<Option<Expiry>, DropReason> {
        let Shared { guard: Guard::Ah(ah), counters, .. } = &*self.shared else {
            return Err(DropReason::Bundle);
        };
        let inner_len = packet.len();
        let number = ah.seal(packet, self.spi(), header, &counters.sequence)?;
        Ok(graver(counters.meter.count(inner_len, self.limits()), counters.sequence.expiry(number)))
    }

    /// Puts a UDP header between an ESP packet and an IP header that no UDP socket makes (RFC 3948 §2.1).
    fn put_into_udp(&self, packet: &mut PacketBuf, header: &mut Header) -> Result<(), DropReason> {
        let length = udp::Header::LEN + packet.len();
        let mut encapsulation = udp::Header {
            source_port: self.outer().local.port(),
            destination_port: self.outer().remote.port(),
            length: u16::try_from(length).map_err(|_| DropReason::TooLong)?,
            checksum: 0,
        };
        packet
            .push_front(udp::Header::LEN)
            .ok_or(DropReason::TooLong)?
            .copy_from_slice(&encapsulation.encode());
        header.set_protocol(protocol::UDP);
        if let Addresses::V6 { .. } = header.addresses() {
            // RFC 8200 §8.1: the last destination of a route counts, and there is no packet without a checksum.
            let addresses = authenticated::image(header)?.addresses();
            let (source, destination) = (addresses.source(), addresses.destination());
            encapsulation.checksum =
                match checksum::transport(source, destination, protocol::UDP, packet.as_slice()) {
                    0 => u16::MAX,
                    checksum => checksum,
                };
            packet.as_mut_slice()[..udp::Header::LEN].copy_from_slice(&encapsulation.encode());
        }
        Ok(())
    }

    /// Gives the length to which payloads are lengthened, so that they tell nothing by it.
    ///
    /// Only tunnel mode can: its payload tells its own length (RFC 4303 §2.7).
    fn flow_len(&self) -> usize {
        match (self.shared.padding, &self.shared.mode) {
            (FlowPadding::None, _) | (_, Mode::Transport(_) | Mode::Beet(..)) => 0,
            (FlowPadding::To(octets), Mode::Tunnel(_)) => octets.into(),
            (FlowPadding::ToPathMtu, Mode::Tunnel(_)) => {
                self.payload_len(self.path_mtu().unwrap_or(limits::LEAST_PATH_MTU))
            }
        }
    }

    /// Gives the length of the longest payload that becomes an IP packet of at most `sealed` octets on the wire.
    fn payload_len(&self, sealed: usize) -> usize {
        let guarded = sealed.saturating_sub(self.lead_len());
        match &self.shared.guard {
            Guard::Esp(esp) => esp.payload_len(guarded),
            Guard::Ah(ah) => guarded.saturating_sub(ah.header_len(self.place.is_v4())),
        }
    }

    /// Octets of the headers in front of this SA's own.
    fn lead_len(&self) -> usize {
        let is_v4 = self.place.is_v4();
        let udp = match self.place.encapsulation() {
            Encapsulation::Udp => udp::Header::LEN,
            Encapsulation::None => 0,
        };
        let ah = match self.wrapper().map(|wrapper| &wrapper.shared.guard) {
            Some(Guard::Ah(ah)) => ah.header_len(is_v4),
            Some(Guard::Esp(_)) | None => 0,
        };
        ip_header_len(is_v4) + udp + ah
    }

    /// Octets of an inner packet's header that are not sent as such.
    fn stripped_len(&self) -> usize {
        match &self.shared.mode {
            Mode::Tunnel(_) => 0,
            Mode::Transport(_) => ip_header_len(self.place.is_v4()),
            Mode::Beet(_, addresses) => ip_header_len(addresses.source().is_ipv4()),
        }
    }
}

impl Unusual {
    fn of(spec: &SaSpec, wrapper: Option<OutboundSa>) -> Option<Unusual> {
        let Handling { compression, device, mark, .. } = spec.handling;
        let is_usual = spec.lifetime == Lifetime::UNLIMITED
            && (compression, device, mark) == (None, None, 0)
            && wrapper.is_none();
        let compressor = compression.map(Compressor::new);
        (!is_usual).then_some(Unusual { limits: spec.lifetime, compressor, wrapper, device, mark })
    }
}

/// An identification that no two of 65,535 packets in a row share, and that is never zero: a socket would choose another.
pub(crate) fn identification(number: u64) -> u16 {
    1 + (number % u64::from(u16::MAX)) as u16
}

fn ip_header_len(is_v4: bool) -> usize {
    if is_v4 { Ipv4Header::LEN } else { Ipv6Header::LEN }
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
            .field("outer", &self.outer())
            .finish_non_exhaustive()
    }
}
