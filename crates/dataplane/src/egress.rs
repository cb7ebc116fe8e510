//! The way out of a packet: from the TUN device to a socket.
//!
//! ```text
//!   1  super-packet          as the kernel gave it, its checksum only begun
//!   2  flow, verdict         once for all of its segments: they differ in nothing that a policy sees
//!   3  segment               headers fixed, checksum complete, into a buffer with room around it
//!   4  seal                  in place
//!   5  train                 equal lengths, same SA, back to back: one message of one sendmmsg
//! ```
//!
//! Packets without an SA wait in [`Hold`](crate::hold::Hold) or are dropped; those of a bypass policy leave as they are.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ipsec::{OutboundSa, PacketBuf, Verdict};
use sa::{AcquiredFlow, Encapsulation, IpProtocol, Outer, PolicyId, SaEvent, SaId};
use wire::ip::{Flow, Ports};

use crate::device::{Carries, Socket, Train};
use crate::hold::{Kept, Question};
use crate::limits::{
    PACKET_BUFFERS, REFUSING_DESTINATIONS, SEND_BATCH, TRAIN_DATAGRAMS, TRAIN_OCTETS, TRAIN_PAUSE,
};
use crate::offload::VnetHeader;
use crate::offload::split::SuperPacket;
use crate::shared::Batch;
use crate::{DropReason, PlaneEvent};

/// Packets on their way out, gathered until [`Egress::flush`] sends them.
pub(crate) struct Egress {
    packets: Vec<PacketBuf>,
    /// How each of the first packets leaves; the other buffers are free.
    departures: Vec<Departure>,
    last_sa: Option<SaId>,
    trains: Trains,
}

/// Where trains may go.
#[derive(Debug)]
struct Trains {
    gso: Gso,
    /// Destinations that refused one, and when; the oldest first.
    refusals: VecDeque<(SocketAddr, Instant)>,
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Departure {
    carries: Carries,
    source: IpAddr,
    destination: SocketAddr,
    traffic_class: u8,
}

/// Whether the kernel cuts trains into datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gso {
    /// It does (`UDP_SEGMENT`).
    Offered,
    /// It does not: every datagram is a message of its own.
    Absent,
}

impl Egress {
    /// Makes buffers for inner packets of up to `mtu` octets.
    pub(crate) fn new(mtu: usize, gso: Gso) -> Egress {
        Egress {
            packets: (0..PACKET_BUFFERS).map(|_| PacketBuf::new(mtu)).collect(),
            departures: Vec::with_capacity(PACKET_BUFFERS),
            last_sa: None,
            trains: Trains { gso, refusals: VecDeque::with_capacity(REFUSING_DESTINATIONS) },
        }
    }

    /// Tells whether the buffers are used up: time to [`flush`](Self::flush).
    pub(crate) fn is_full(&self) -> bool {
        self.departures.len() == PACKET_BUFFERS
    }

    /// Takes a packet in, sealed or not as the tables say.
    pub(crate) fn take<S: Socket>(&mut self, packet: &SuperPacket<'_>, batch: &Batch<'_, S>) {
        let Ok(flow) = Flow::of(packet.octets()) else {
            return batch.drop_by_tables(ipsec::DropReason::MalformedInner);
        };
        match batch.tables.classify(&flow) {
            Verdict::Protect(sa) => {
                if self.last_sa.replace(sa.id()) != Some(sa.id()) {
                    // What we send proves nothing about the peer: of an outbound SA only the time is kept.
                    let _ = batch.activity.note(sa.id(), batch.now);
                }
                for index in 0..packet.segments() {
                    self.seal(packet, index, sa, batch);
                }
            }
            Verdict::Bypass => {
                for index in 0..packet.segments() {
                    self.pass(packet, index, flow.destination, batch);
                }
            }
            Verdict::Discard(reason) => {
                (0..packet.segments()).for_each(|_| batch.drop_by_tables(reason));
            }
            Verdict::Acquire(policy) => {
                for index in 0..packet.segments() {
                    self.hold(packet, index, policy, &flow, batch);
                }
            }
        }
    }

    /// Sends everything that was taken.
    pub(crate) fn flush<S: Socket>(&mut self, batch: &Batch<'_, S>) {
        let mut parts = [IoSlice::new(&[]); PACKET_BUFFERS];
        for (part, packet) in parts.iter_mut().zip(&self.packets).take(self.departures.len()) {
            *part = IoSlice::new(packet.as_slice());
        }
        let mut trains = [Train::NONE; SEND_BATCH];
        let (mut waiting, mut lane) = (0, None);
        let mut start = 0;
        while start < self.departures.len() {
            let departure = self.departures[start];
            let end = self.train_end(start, &parts, batch.now);
            let socket = batch.sockets.iter().position(|socket| departure.suits(socket));
            if waiting == SEND_BATCH || socket != lane {
                send(lane.map(|lane| &batch.sockets[lane]), &trains[..waiting], batch, &mut self.trains);
                (waiting, lane) = (0, socket);
            }
            trains[waiting] = departure.train(&parts[start..end]);
            waiting += 1;
            start = end;
        }
        send(lane.map(|lane| &batch.sockets[lane]), &trains[..waiting], batch, &mut self.trains);
        self.departures.clear();
        self.last_sa = None;
    }

    fn seal<S: Socket>(
        &mut self,
        packet: &SuperPacket<'_>,
        index: usize,
        sa: &OutboundSa,
        batch: &Batch<'_, S>,
    ) {
        let Some(buffer) = self.write_segment(packet, index, batch) else { return };
        match sa.seal(buffer) {
            Ok(sealed) => {
                self.departures.push(Departure::of_sealed(sa.outer(), sealed.traffic_class));
                if let Some(expiry) = sealed.expiry {
                    batch.shared.tell_expiry(sa.id(), expiry);
                }
            }
            Err(reason) => batch.drop_by_tables(reason),
        }
    }

    /// Lets a packet leave as it is.
    fn pass<S: Socket>(
        &mut self,
        packet: &SuperPacket<'_>,
        index: usize,
        destination: IpAddr,
        batch: &Batch<'_, S>,
    ) {
        if self.write_segment(packet, index, batch).is_some() {
            self.departures.push(Departure::in_the_clear(destination));
        }
    }

    fn hold<S: Socket>(
        &mut self,
        packet: &SuperPacket<'_>,
        index: usize,
        policy: PolicyId,
        flow: &Flow,
        batch: &Batch<'_, S>,
    ) {
        let mut octets = vec![0; packet.segment_len(index)];
        packet.write_segment(index, &mut octets);
        let kept = batch.shared.hold.keep(policy, &octets, batch.now, || batch.is_current());
        match kept {
            Kept::Outdated => self.take(&SuperPacket::whole(&octets), &batch.renewed()),
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
        if self.is_full() {
            self.flush(batch);
        }
        let buffer = &mut self.packets[self.departures.len()];
        let length = packet.segment_len(index);
        let Some(room) = buffer.room_mut().get_mut(..length) else {
            batch.drop_by_tables(ipsec::DropReason::TooLong);
            return None;
        };
        packet.write_segment(index, room);
        buffer.set_len(length);
        Some(buffer)
    }

    /// Finds the end of the train that starts with packet `start`.
    fn train_end(&self, start: usize, parts: &[IoSlice<'_>], now: Instant) -> usize {
        let (first, length) = (self.departures[start], parts[start].len());
        if first.carries != Carries::IkeAndEsp || !self.trains.may_go_to(first.destination, now) {
            return start + 1;
        }
        let (mut end, mut total) = (start + 1, length);
        while end < self.departures.len()
            && end - start < TRAIN_DATAGRAMS
            && self.departures[end] == first
            && parts[end].len() <= length
            && parts[end - 1].len() == length
            && total + parts[end].len() <= TRAIN_OCTETS
        {
            total += parts[end].len();
            end += 1;
        }
        end
    }
}

impl Trains {
    fn may_go_to(&self, destination: SocketAddr, now: Instant) -> bool {
        let refuses = |(refusing, since): &(SocketAddr, Instant)| {
            *refusing == destination && now.saturating_duration_since(*since) < TRAIN_PAUSE
        };
        self.gso == Gso::Offered && !self.refusals.iter().any(refuses)
    }

    /// Learns from the kernel's refusal of a train.
    fn learn(&mut self, error: &io::Error, destination: SocketAddr, now: Instant) {
        match error.raw_os_error() {
            Some(libc::EIO) => {
                // udp(7): no device that the packets leave by computes checksums, which trains need.
                tracing::info!("sending UDP datagrams one by one from now on");
                self.gso = Gso::Absent;
            }
            // The path takes no datagrams of this length, or its device no trains.
            Some(libc::EMSGSIZE | libc::EINVAL) => {
                self.refusals.retain(|(refusing, _)| *refusing != destination);
                if self.refusals.len() == REFUSING_DESTINATIONS {
                    self.refusals.pop_front();
                }
                self.refusals.push_back((destination, now));
            }
            _ => {}
        }
    }
}

impl Departure {
    fn of_sealed(outer: Outer, traffic_class: u8) -> Departure {
        match outer.encapsulation {
            Encapsulation::Udp => Departure {
                carries: Carries::IkeAndEsp,
                source: outer.local.ip(),
                destination: outer.remote,
                traffic_class,
            },
            Encapsulation::None => Departure {
                carries: Carries::Esp,
                source: outer.local.ip(),
                destination: SocketAddr::new(outer.remote.ip(), 0),
                traffic_class,
            },
        }
    }

    fn in_the_clear(destination: IpAddr) -> Departure {
        let source = sa::Family::of(destination).unspecified();
        let destination = SocketAddr::new(destination, 0);
        Departure { carries: Carries::WholePackets, source, destination, traffic_class: 0 }
    }

    fn suits(&self, socket: &impl Socket) -> bool {
        let bound = socket.bound();
        socket.carries() == self.carries
            && bound.is_ipv4() == self.destination.is_ipv4()
            && (bound.ip().is_unspecified() || self.source.is_unspecified() || bound.ip() == self.source)
    }

    fn train<'a>(&self, parts: &'a [IoSlice<'a>]) -> Train<'a> {
        let segment_size = match parts {
            [first, _, ..] => u16::try_from(first.len()).ok(),
            _ => None,
        };
        Train {
            source: self.source,
            destination: self.destination,
            segment_size,
            traffic_class: self.traffic_class,
            parts,
        }
    }
}

/// Sends all trains through one socket; what the kernel refuses is counted, and the next goes out.
fn send<S: Socket>(socket: Option<&S>, mut trains: &[Train<'_>], batch: &Batch<'_, S>, memory: &mut Trains) {
    let Some(socket) = socket else {
        let packets = trains.iter().map(|train| train.parts.len()).sum();
        return batch.shared.drops.count(DropReason::SendRefused, packets);
    };
    while let [first, rest @ ..] = trains {
        match socket.send(trains) {
            Ok(sent) => trains = &trains[sent.clamp(1, trains.len())..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                refused(socket, first, &error, batch, memory);
                trains = rest;
            }
        }
    }
}

/// Sends the datagrams of a refused train one by one: a path may take them though it takes no train.
fn refused<S: Socket>(
    socket: &S,
    train: &Train<'_>,
    error: &io::Error,
    batch: &Batch<'_, S>,
    memory: &mut Trains,
) {
    tracing::debug!(%error, destination = %train.destination, packets = train.parts.len(), "send refused");
    if train.segment_size.is_none() {
        return batch.drop(DropReason::SendRefused);
    }
    memory.learn(error, train.destination, batch.now);
    for part in train.parts.chunks(1) {
        let alone = Train { segment_size: None, parts: part, ..*train };
        if let Err(error) = socket.send(&[alone]) {
            tracing::debug!(%error, destination = %train.destination, "send refused");
            batch.drop(DropReason::SendRefused);
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_refused_a_train_is_spared_for_a_while() {
        let start = Instant::now();
        let peer = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let refusal = |code| io::Error::from_raw_os_error(code);
        let mut trains = Trains { gso: Gso::Offered, refusals: VecDeque::new() };
        trains.learn(&refusal(libc::EMSGSIZE), peer(0), start);
        trains.learn(&refusal(libc::ENOBUFS), peer(1), start);
        assert!(!trains.may_go_to(peer(0), start));
        assert!(trains.may_go_to(peer(1), start));
        assert!(trains.may_go_to(peer(0), start + TRAIN_PAUSE));
        for port in 1..1000 {
            trains.learn(&refusal(libc::EINVAL), peer(port), start);
        }
        assert_eq!(trains.refusals.len(), REFUSING_DESTINATIONS);
        assert!(!trains.may_go_to(peer(999), start));
        trains.learn(&refusal(libc::EIO), peer(0), start);
        assert!(!trains.may_go_to(peer(0), start + TRAIN_PAUSE));
    }
}
