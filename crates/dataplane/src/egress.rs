//! The way out of a packet: from the TUN device to a socket.
//!
//! ```text
//!   1  super-packet          as the kernel gave it, its checksum only begun
//!   2  flow, verdict         once for all of its segments: they differ in nothing that a policy sees; fragments are put
//!                            together first where a policy looks at ports, and for SAs that take whole packets
//!   3  segment               headers fixed, checksum complete, into a buffer with room around it
//!   4  fit                   what is too long for the path is cut, or its sender told (egress/long.rs)
//!   5  segment size          what TCP announces as it opens a connection fits the path, too
//!   6  seal                  in place
//!   7  train                 equal lengths, same SA, back to back: one message of one sendmmsg
//! ```
//!
//! Packets without an SA wait in [`Hold`](crate::hold::Hold) or are dropped; those of a bypass policy leave as they are.
//! So do those that no policy selects, if the host's blocks look at them once more: a route led them here, and routes know
//! nothing of protocols and ports.

mod long;

use std::net::IpAddr;
use std::num::NonZeroU32;

use ipsec::{Form, OutboundSa, PacketBuf, Reassembled, Sealed, TooBigAnswers, Verdict, Way};
use sa::{AcquiredFlow, DeviceId, IpProtocol, PolicyId, SaEvent};
use wire::ip::{Flow, Packet, Part, Ports, clamp_mss, opens_connection};

use crate::activity::Recent;
use crate::departures::{Departure, Departures, Gso};
use crate::device::Socket;
use crate::dummies::length_up_to;
use crate::hold::{Kept, Question};
use crate::offload::VnetHeader;
use crate::offload::split::SuperPacket;
use crate::shared::Batch;
use crate::{DropReason, PlaneEvent};

/// Packets on their way out, gathered until [`Egress::flush`] sends them.
pub(crate) struct Egress {
    departures: Departures,
    recent: Recent,
    too_big: TooBigAnswers,
    /// ICMP errors for hosts on our side, to be written to the device that is carried at the moment.
    answers: Vec<Vec<u8>>,
}

/// What is known of a packet beside its octets.
#[derive(Clone, Copy)]
struct Origin<'a> {
    device: Option<DeviceId>,
    flow: &'a Flow,
    /// If it came in fragments: what they were.
    came_as: Option<&'a Reassembled>,
}

impl Egress {
    /// Makes buffers for inner packets of up to `mtu` octets.
    pub(crate) fn new(mtu: usize, gso: Gso) -> Egress {
        Egress {
            departures: Departures::new(mtu, gso),
            recent: Recent::new(),
            too_big: TooBigAnswers::new(),
            answers: Vec::new(),
        }
    }

    /// Makes the buffers large enough for inner packets of up to `mtu` octets; nothing may be under way.
    pub(crate) fn make_room(&mut self, mtu: usize) {
        self.departures.make_room(mtu);
    }

    /// Takes a packet of a device in, sealed or not as the tables say; `None` is the common device.
    pub(crate) fn take<S: Socket>(
        &mut self,
        packet: &SuperPacket<'_>,
        device: Option<DeviceId>,
        batch: &Batch<'_, S>,
    ) {
        let Ok(flow) = Flow::of(packet.octets()) else {
            return batch.drop_by_tables(ipsec::DropReason::MalformedInner);
        };
        let verdict = batch.tables.classify_packet(packet.octets(), &flow, device);
        if packet.is_fragment() && is_wanted_whole(&verdict, device, batch) {
            return self.put_together(packet.octets(), device, batch);
        }
        self.carry(packet, Origin { device, flow: &flow, came_as: None }, &verdict, batch);
    }

    /// Does with a packet as the tables say.
    fn carry<S: Socket>(
        &mut self,
        packet: &SuperPacket<'_>,
        origin: Origin<'_>,
        verdict: &Verdict<'_>,
        batch: &Batch<'_, S>,
    ) {
        match *verdict {
            Verdict::Protect(sa) => self.protect(packet, origin, sa, batch),
            Verdict::Bypass => self.pass(packet, Departure::in_the_clear(origin.flow.destination), batch),
            Verdict::Unselected => match passing_mark(origin, batch) {
                Some(mark) => {
                    self.pass(packet, Departure::unselected(origin.flow.destination, mark), batch);
                }
                None => discard(packet, ipsec::DropReason::NoPolicy, origin, batch),
            },
            Verdict::Discard(reason) => discard(packet, reason, origin, batch),
            Verdict::Acquire(policy) => {
                for index in 0..packet.segments() {
                    self.hold(packet, index, policy, origin, batch);
                }
            }
        }
    }

    fn protect<S: Socket>(
        &mut self,
        packet: &SuperPacket<'_>,
        origin: Origin<'_>,
        sa: &OutboundSa,
        batch: &Batch<'_, S>,
    ) {
        if self.recent.is_due(sa.id(), batch.now) {
            // What we send proves nothing about the peer: of an outbound SA only the time is kept.
            let _ = batch.activity.note(sa.id(), batch.now);
        }
        let room = sa.room();
        for index in 0..packet.segments() {
            if packet.segment_len(index) > room.longest || origin.came_as.is_some() {
                self.protect_long(packet, index, origin, sa, batch);
            } else if let Some(buffer) = self.write_segment(packet, index, batch) {
                if packet.segments() == 1 && opens_connection(buffer.as_slice()) {
                    let Origin { device, flow, .. } = origin;
                    let (rule, longest) = (sa.segment_size(), room.longest);
                    if let Some(most) = batch.shared.segment_size(rule, longest, device, flow.source) {
                        clamp_mss(buffer.as_mut_slice(), most);
                    }
                }
                let sealed = sa.seal(buffer);
                self.depart_sealed(sa, sealed, batch);
            }
        }
    }

    /// Takes a fragment whose packet must be seen whole, and carries that if this was the last that it lacked.
    fn put_together<S: Socket>(&mut self, fragment: &[u8], device: Option<DeviceId>, batch: &Batch<'_, S>) {
        let drops = batch.tables.drops();
        let whole = batch.shared.reassembler().put(Way::Out(device), fragment, batch.now, drops);
        let Some(whole) = whole else { return };
        let Ok(flow) = Flow::of(&whole.packet) else {
            return batch.drop_by_tables(ipsec::DropReason::MalformedInner);
        };
        let verdict = batch.tables.classify_packet(&whole.packet, &flow, device);
        let origin = Origin { device, flow: &flow, came_as: Some(&whole) };
        match verdict {
            Verdict::Protect(sa) => self.protect(&SuperPacket::whole(&whole.packet), origin, sa, batch),
            // What does not go into an SA goes on as it came.
            Verdict::Bypass | Verdict::Unselected | Verdict::Discard(_) | Verdict::Acquire(_) => {
                for fragment in whole.fragments() {
                    self.carry(&SuperPacket::whole(&fragment), origin, &verdict, batch);
                }
            }
        }
    }

    /// Sends a dummy packet of an SA, of any length up to `longest` that its path takes.
    pub(crate) fn send_dummy<S: Socket>(&mut self, sa: &OutboundSa, longest: usize, batch: &Batch<'_, S>) {
        let longest = longest.min(sa.longest_inner());
        let Some(buffer) = self.departures.buffer(longest, batch) else { return };
        let sealed = sa.seal_dummy(buffer, length_up_to(longest));
        self.depart_sealed(sa, sealed, batch);
    }

    /// Sends everything that was taken.
    pub(crate) fn flush<S: Socket>(&mut self, batch: &Batch<'_, S>) {
        self.departures.flush(batch);
    }

    /// Gives the ICMP errors for hosts on our side that have come up since the last time.
    pub(crate) fn answers(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.answers.drain(..)
    }

    /// Lets the packet in the buffer that was taken last leave, if it could be sealed.
    fn depart_sealed<S: Socket>(
        &mut self,
        sa: &OutboundSa,
        sealed: Result<Sealed, ipsec::DropReason>,
        batch: &Batch<'_, S>,
    ) {
        match sealed {
            Ok(sealed) => {
                let departure = match sealed.form {
                    Form::Payload(header) => Departure::of_sealed(sa, header),
                    Form::Packet => Departure::of_whole(sa),
                };
                self.departures.depart(departure, batch);
                tell_expiries(sa, &sealed, batch);
            }
            Err(reason) => batch.drop_sealing(reason, &sa.id()),
        }
    }

    /// Lets a packet leave as it is.
    fn pass<S: Socket>(&mut self, packet: &SuperPacket<'_>, departure: Departure, batch: &Batch<'_, S>) {
        for index in 0..packet.segments() {
            if self.write_segment(packet, index, batch).is_some() {
                self.departures.depart(departure, batch);
            }
        }
    }

    fn hold<S: Socket>(
        &mut self,
        packet: &SuperPacket<'_>,
        index: usize,
        policy: PolicyId,
        origin: Origin<'_>,
        batch: &Batch<'_, S>,
    ) {
        let Origin { device, flow, .. } = origin;
        let mut octets = vec![0; packet.segment_len(index)];
        packet.write_segment(index, &mut octets);
        let kept = batch.shared.hold.keep(policy, device, &octets, batch.now, || batch.is_current());
        match kept {
            Kept::Outdated => self.take(&SuperPacket::whole(&octets), device, &batch.renewed()),
            Kept::Full(_) => batch.drop(DropReason::HoldQueueFull),
            Kept::Waits(_) => {}
        }
        match kept {
            Kept::Waits(Question::Due) | Kept::Full(Question::Due) => {
                let flow = acquired(flow);
                batch.shared.tell(PlaneEvent::Sa(SaEvent::Acquire { policy, flow }));
            }
            Kept::Waits(Question::Asked) | Kept::Full(Question::Asked) | Kept::Outdated => {}
        }
    }

    /// Writes a segment to the next free buffer.
    fn write_segment<S: Socket>(
        &mut self,
        packet: &SuperPacket<'_>,
        index: usize,
        batch: &Batch<'_, S>,
    ) -> Option<&mut PacketBuf> {
        let length = packet.segment_len(index);
        self.write(length, |room| packet.write_segment(index, room), batch)
    }

    /// Writes a packet of `length` octets to the next free buffer.
    fn write<S: Socket>(
        &mut self,
        length: usize,
        write: impl FnOnce(&mut [u8]),
        batch: &Batch<'_, S>,
    ) -> Option<&mut PacketBuf> {
        let Some(buffer) = self.departures.buffer(length, batch) else {
            batch.drop_by_tables(ipsec::DropReason::TooLong);
            return None;
        };
        write(&mut buffer.room_mut()[..length]);
        buffer.set_len(length);
        Some(buffer)
    }
}

/// Tells whether a fragment has to be put together with the rest of its packet before it goes anywhere: a policy wants to
/// see ports, or the SA takes whole packets only.
fn is_wanted_whole<S>(verdict: &Verdict<'_>, device: Option<DeviceId>, batch: &Batch<'_, S>) -> bool {
    let by_sa = match verdict {
        Verdict::Protect(sa) => !sa.takes_fragments(),
        Verdict::Bypass | Verdict::Unselected | Verdict::Discard(_) | Verdict::Acquire(_) => false,
    };
    by_sa || batch.tables.looks_at_ports(device)
}

/// Gives the mark with which a packet that no policy selects may pass. What is for the neighbours on our device leads
/// nowhere else (RFC 3927 §7, RFC 4291 §2.5.6), and what is routed to a tunnel's own device has no other way.
fn passing_mark<S>(origin: Origin<'_>, batch: &Batch<'_, S>) -> Option<NonZeroU32> {
    let Flow { source, destination, .. } = origin.flow;
    let stays = destination.is_multicast() || is_of_one_link(destination) || is_of_one_link(source);
    if stays || origin.device.is_some() { None } else { batch.shared.passing_mark() }
}

fn is_of_one_link(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast() || address.is_unspecified(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_unspecified(),
    }
}

fn discard<S>(packet: &SuperPacket<'_>, reason: ipsec::DropReason, origin: Origin<'_>, batch: &Batch<'_, S>) {
    (0..packet.segments()).for_each(|_| batch.drop_departure(reason, origin.flow));
}

fn tell_expiries<S>(sa: &OutboundSa, sealed: &Sealed, batch: &Batch<'_, S>) {
    if let Some(expiry) = sealed.expiry {
        batch.shared.tell_expiry(sa.id(), expiry);
    }
    if let (Some(wrapper), Some(expiry)) = (sa.wrapper(), sealed.wrapper_expiry) {
        batch.shared.tell_expiry(wrapper.id(), expiry);
    }
}

fn acquired(flow: &Flow) -> AcquiredFlow {
    let ports = match flow.ports {
        Ports::Known { source, destination } => Some((source, destination)),
        // Whoever pings wants more through the SA than this type of ICMP.
        Ports::Icmp { .. } | Ports::Mobility { .. } | Ports::Absent | Ports::Opaque => None,
    };
    AcquiredFlow {
        source: flow.source,
        destination: flow.destination,
        protocol: IpProtocol(flow.protocol),
        ports,
    }
}

impl<'a> SuperPacket<'a> {
    /// Takes a packet that goes out as it is.
    pub(crate) fn whole(packet: &'a [u8]) -> SuperPacket<'a> {
        SuperPacket::new(VnetHeader::default(), packet)
            .expect("a header that asks for nothing fits every packet")
    }

    /// Tells whether the packet is a part of another.
    pub(crate) fn is_fragment(&self) -> bool {
        self.segments() == 1 && Packet::new(self.octets()).and_then(|packet| Part::of(&packet)) != Ok(None)
    }
}
