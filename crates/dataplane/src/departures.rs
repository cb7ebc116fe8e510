//! Packets that are sealed and wait to be sent: to which socket, and in which train.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Instant;

use ipsec::{OutboundSa, OuterHeader, PacketBuf};
use sa::{Encapsulation, Protocol};

use crate::DropReason;
use crate::device::{Carries, PLAIN_HEADER, Socket, Train};
use crate::limits::{
    LONGEST_PACKET, PACKET_BUFFERS, REFUSING_DESTINATIONS, SEND_BATCH, TRAIN_DATAGRAMS, TRAIN_OCTETS,
    TRAIN_PAUSE,
};
use crate::shared::Batch;

/// Packets on their way out, gathered until [`Departures::flush`] sends them.
pub(crate) struct Departures {
    /// Each for a packet of up to `capacity` octets.
    packets: Vec<PacketBuf>,
    capacity: usize,
    /// For a packet that outgrows the others; it does not wait.
    long_packet: PacketBuf,
    lent: Lent,
    /// How each of the first packets leaves; the other buffers are free.
    departures: Vec<Departure>,
    trains: Trains,
}

/// Which buffer was given last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lent {
    Usual,
    Long,
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
pub(crate) struct Departure {
    carries: Carries,
    source: IpAddr,
    destination: SocketAddr,
    header: OuterHeader,
    /// The firewall mark, if it is not to be our sockets' own.
    mark: Option<NonZeroU32>,
}

/// Whether the kernel cuts trains into datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gso {
    /// It does (`UDP_SEGMENT`).
    Offered,
    /// It does not: every datagram is a message of its own.
    Absent,
}

impl Departures {
    /// Makes buffers for packets of up to `capacity` octets.
    pub(crate) fn new(capacity: usize, gso: Gso) -> Departures {
        Departures {
            packets: (0..PACKET_BUFFERS).map(|_| PacketBuf::new(capacity)).collect(),
            capacity,
            long_packet: PacketBuf::new(LONGEST_PACKET),
            lent: Lent::Usual,
            departures: Vec::with_capacity(PACKET_BUFFERS),
            trains: Trains { gso, refusals: VecDeque::with_capacity(REFUSING_DESTINATIONS) },
        }
    }

    /// Makes the buffers large enough for packets of up to `capacity` octets; nothing may be under way.
    pub(crate) fn make_room(&mut self, capacity: usize) {
        if self.capacity < capacity {
            self.packets.fill_with(|| PacketBuf::new(capacity));
            self.capacity = capacity;
        }
    }

    /// Gives a free buffer for a packet of up to `octets`, if need be after sending what is there; `None` if no packet is so
    /// long. It stays free until [`Departures::depart`].
    pub(crate) fn buffer<S: Socket>(
        &mut self,
        octets: usize,
        batch: &Batch<'_, S>,
    ) -> Option<&mut PacketBuf> {
        if octets > self.capacity {
            self.flush(batch);
            self.lent = Lent::Long;
            return (octets <= LONGEST_PACKET).then_some(&mut self.long_packet);
        }
        if self.departures.len() == PACKET_BUFFERS {
            self.flush(batch);
        }
        self.lent = Lent::Usual;
        Some(&mut self.packets[self.departures.len()])
    }

    /// Says how the packet in the buffer that was given last leaves.
    pub(crate) fn depart<S: Socket>(&mut self, departure: Departure, batch: &Batch<'_, S>) {
        match self.lent {
            Lent::Usual => self.departures.push(departure),
            Lent::Long => {
                let parts = [IoSlice::new(self.long_packet.as_slice())];
                let socket = batch.sockets.iter().find(|socket| departure.suits(*socket));
                send(socket, &[departure.train(&parts)], batch, &mut self.trains);
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
    /// A sealed packet leaves by the SA's own kind of socket.
    pub(crate) fn of_sealed(sa: &OutboundSa, header: OuterHeader) -> Departure {
        let (outer, mark) = (sa.outer(), NonZeroU32::new(sa.mark()));
        // It fits the path as far as that is known, and of IPv6 packets no router cuts one: nor do we.
        let dont_fragment = header.dont_fragment || outer.remote.is_ipv6();
        let header = OuterHeader { dont_fragment, ..header };
        match outer.encapsulation {
            Encapsulation::Udp => Departure {
                carries: Carries::IkeAndEsp,
                source: outer.local.ip(),
                destination: outer.remote,
                header,
                mark,
            },
            Encapsulation::None => Departure {
                carries: Carries::Bare(Protocol::Esp),
                source: outer.local.ip(),
                destination: SocketAddr::new(outer.remote.ip(), 0),
                header,
                mark,
            },
        }
    }

    /// A sealed packet comes with its outer header.
    pub(crate) fn of_whole(sa: &OutboundSa) -> Departure {
        let mark = NonZeroU32::new(sa.mark());
        Departure { mark, ..Departure::in_the_clear(sa.outer().remote.ip()) }
    }

    /// A packet with all its headers leaves as it is.
    pub(crate) fn in_the_clear(destination: IpAddr) -> Departure {
        let source = sa::Family::of(destination).unspecified();
        let destination = SocketAddr::new(destination, 0);
        Departure { carries: Carries::WholePackets, source, destination, header: PLAIN_HEADER, mark: None }
    }

    /// A packet that no policy selects leaves as it is, but our routes and the blocks tell it from what we protected.
    pub(crate) fn unselected(destination: IpAddr, mark: NonZeroU32) -> Departure {
        Departure { mark: Some(mark), ..Departure::in_the_clear(destination) }
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
            header: self.header,
            mark: self.mark,
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
        return give_up(train, error, batch);
    }
    memory.learn(error, train.destination, batch.now);
    for part in train.parts.chunks(1) {
        let alone = Train { segment_size: None, parts: part, ..*train };
        if let Err(error) = socket.send(&[alone]) {
            tracing::debug!(%error, destination = %train.destination, "send refused");
            give_up(train, &error, batch);
        }
    }
}

/// Drops a datagram. If it was too long, its first link is not what it was.
fn give_up<S>(train: &Train<'_>, error: &io::Error, batch: &Batch<'_, S>) {
    if error.raw_os_error() == Some(libc::EMSGSIZE) {
        batch.shared.learn_link(train.destination.ip(), batch.now);
    }
    batch.drop(DropReason::SendRefused);
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
