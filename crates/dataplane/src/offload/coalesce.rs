//! Packets of a TCP stream, or datagrams of a UDP flow, back into one super-packet for TUN (what a network card's receive
//! offload does).
//!
//! A packet joins the run before it only where cutting the run would give back the very same packets: same headers but
//! for length, identification, sequence number and checksum, and all of these as [`super::split`] makes them. Datagrams that
//! must not be fragmented join whatever their identification is, for nobody may look at it (RFC 6864 §4.1).
//! The kernel takes a super-packet's checksum on trust, so every packet's own is verified before it joins.

use std::io::IoSlice;

use ipsec::PacketBuf;
use wire::ip::checksum::Sum;
use wire::ip::protocol::{TCP, UDP};

use super::{
    Checksum, Joins, Segmentation, TCP_ACK, TCP_CHECKSUM, TCP_ECE, TCP_PSH, UDP_CHECKSUM, VnetHeader, be16,
    be32, pseudo_header, put16,
};
use crate::limits::{OPEN_RUNS, RUN_PACKETS};

/// The headers of a packet that can join a run: 40 of IPv6 and 60 of TCP at most.
const HEADER_ROOM: usize = 100;

const UDP_HEADER: usize = 8;
/// Where the length lies in a UDP header.
const UDP_LENGTH: usize = 4;
/// In the first of the two octets with the fragment offset.
const IPV4_DONT_FRAGMENT: u8 = 0x40;

/// Gathers the packets of a batch. Packets are named by their index in the batch's slice of buffers.
#[derive(Debug)]
pub(crate) struct Coalescer {
    joins: Joins,
    /// Runs in the order of their first packets. A run's memory is used again for the next batch.
    open: Vec<Run>,
    spare: Vec<Run>,
}

/// Packets of one stream that follow each other.
#[derive(Debug)]
struct Run {
    transport: Transport,
    headers: [u8; HEADER_ROOM],
    ip_len: usize,
    header_len: usize,
    segment_size: usize,
    payload_len: usize,
    next_sequence: u32,
    next_identification: u16,
    last_flags: u8,
    packets: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

/// A packet that may join a run: its headers are plain and its checksums hold.
#[derive(Clone, Copy)]
struct Segment<'a> {
    transport: Transport,
    packet: &'a [u8],
    ip_len: usize,
    header_len: usize,
}

impl Coalescer {
    /// Starts without packets.
    pub(crate) fn new(joins: Joins) -> Coalescer {
        Coalescer { joins, open: Vec::new(), spare: Vec::new() }
    }

    /// Takes packet `index` of `packets` and writes what cannot wait: packets that join nothing, and runs that end.
    ///
    /// The packets of one stream are written in the order in which they are taken.
    pub(crate) fn push(
        &mut self,
        index: usize,
        packets: &[PacketBuf],
        write: &mut impl FnMut(VnetHeader, &[IoSlice<'_>]),
    ) {
        let packet = packets[index].as_slice();
        let same_stream = self.open.iter().position(|run| run.is_of_stream(packet));
        match (Segment::new(packet, self.joins), same_stream) {
            (Some(segment), Some(at)) if self.open[at].takes(&segment) => {
                self.open[at].append(index, &segment)
            }
            (Some(segment), Some(at)) => {
                self.close(at, packets, write);
                self.start(index, &segment);
            }
            (Some(segment), None) => {
                if self.open.len() == OPEN_RUNS {
                    self.close(0, packets, write);
                }
                self.start(index, &segment);
            }
            (None, same_stream) => {
                if let Some(at) = same_stream {
                    self.close(at, packets, write);
                }
                write(VnetHeader::default(), &[IoSlice::new(packet)]);
            }
        }
    }

    /// Writes every run that is still open; the batch ends.
    pub(crate) fn flush(
        &mut self,
        packets: &[PacketBuf],
        write: &mut impl FnMut(VnetHeader, &[IoSlice<'_>]),
    ) {
        while !self.open.is_empty() {
            self.close(0, packets, write);
        }
    }

    fn start(&mut self, index: usize, segment: &Segment<'_>) {
        let mut run = self.spare.pop().unwrap_or_else(Run::empty);
        run.restart(index, segment);
        self.open.push(run);
    }

    fn close(
        &mut self,
        at: usize,
        packets: &[PacketBuf],
        write: &mut impl FnMut(VnetHeader, &[IoSlice<'_>]),
    ) {
        let mut run = self.open.remove(at);
        run.write(packets, write);
        self.spare.push(run);
    }
}

impl Run {
    fn empty() -> Run {
        Run {
            transport: Transport::Tcp,
            headers: [0; HEADER_ROOM],
            ip_len: 0,
            header_len: 0,
            segment_size: 0,
            payload_len: 0,
            next_sequence: 0,
            next_identification: 0,
            last_flags: 0,
            packets: Vec::with_capacity(RUN_PACKETS),
        }
    }

    fn restart(&mut self, index: usize, segment: &Segment<'_>) {
        self.transport = segment.transport;
        self.headers[..segment.header_len].copy_from_slice(segment.headers());
        self.ip_len = segment.ip_len;
        self.header_len = segment.header_len;
        self.segment_size = segment.payload_len();
        self.payload_len = 0;
        self.packets.clear();
        self.append(index, segment);
    }

    fn append(&mut self, index: usize, segment: &Segment<'_>) {
        self.packets.push(index);
        self.payload_len += segment.payload_len();
        self.next_identification = segment.identification().wrapping_add(1);
        match segment.transport {
            Transport::Tcp => {
                self.next_sequence = segment.sequence().wrapping_add(segment.payload_len() as u32);
                self.last_flags = segment.flags();
            }
            Transport::Udp => {}
        }
    }

    /// Tells whether a packet of any form is between the run's ends; it then must not overtake the run.
    fn is_of_stream(&self, packet: &[u8]) -> bool {
        let addresses = if self.is_v4() { 12..20 } else { 8..40 };
        let ports = self.ip_len..self.ip_len + 4;
        packet.get(addresses.clone()) == Some(&self.headers[addresses])
            && packet.get(ports.clone()) == Some(&self.headers[ports])
            && packet[0] >> 4 == self.headers[0] >> 4
    }

    fn takes(&self, next: &Segment<'_>) -> bool {
        let last_len = self.payload_len - (self.packets.len() - 1) * self.segment_size;
        let goes_on = match self.transport {
            Transport::Tcp => self.last_flags & TCP_PSH == 0,
            Transport::Udp => true,
        };
        goes_on
            && last_len == self.segment_size
            && self.packets.len() < RUN_PACKETS
            && next.payload_len() <= self.segment_size
            && self.header_len + self.payload_len + next.payload_len() <= usize::from(u16::MAX)
            && self.ip_header_continues(next)
            && self.transport_header_continues(next)
    }

    /// Compares all that a cut would copy, octet by octet, leaving out what it would compute.
    fn ip_header_continues(&self, next: &Segment<'_>) -> bool {
        let (ours, theirs) = (&self.headers[..self.ip_len], next.headers());
        if self.is_v4() {
            let never_fragmented = self.transport == Transport::Udp && ours[6] & IPV4_DONT_FRAGMENT != 0;
            ours[..2] == theirs[..2]
                && ours[6..10] == theirs[6..10]
                && ours[12..20] == theirs[12..20]
                && (never_fragmented || next.identification() == self.next_identification)
        } else {
            ours[..4] == theirs[..4] && ours[6..40] == theirs[6..40]
        }
    }

    fn transport_header_continues(&self, next: &Segment<'_>) -> bool {
        let (ours, theirs) = (&self.headers[self.ip_len..self.header_len], &next.headers()[next.ip_len..]);
        let same_ports = ours.len() == theirs.len() && ours[..4] == theirs[..4];
        same_ports
            && match self.transport {
                Transport::Tcp => {
                    next.sequence() == self.next_sequence
                        && ours[8..13] == theirs[8..13]
                        && (ours[13] ^ theirs[13]) & !TCP_PSH == 0
                        && ours[14..16] == theirs[14..16]
                        && ours[18..] == theirs[18..]
                }
                Transport::Udp => true,
            }
    }

    fn is_v4(&self) -> bool {
        self.headers[0] >> 4 == 4
    }

    fn write(&mut self, packets: &[PacketBuf], write: &mut impl FnMut(VnetHeader, &[IoSlice<'_>])) {
        if let [only] = self.packets[..] {
            return write(VnetHeader::default(), &[IoSlice::new(packets[only].as_slice())]);
        }
        let vnet = self.finish_headers();
        let mut parts = [IoSlice::new(&[]); RUN_PACKETS + 1];
        parts[0] = IoSlice::new(&self.headers[..self.header_len]);
        for (part, index) in parts[1..].iter_mut().zip(&self.packets) {
            *part = IoSlice::new(&packets[*index].as_slice()[self.header_len..]);
        }
        write(vnet, &parts[..=self.packets.len()]);
    }

    /// Makes the first packet's headers those of the whole run.
    fn finish_headers(&mut self) -> VnetHeader {
        let (ip_len, header_len, total) = (self.ip_len, self.header_len, self.header_len + self.payload_len);
        let word = |octets: usize| u16::try_from(octets).expect("takes() keeps a run below 64 KiB");
        let v4 = self.is_v4();
        let headers = &mut self.headers[..header_len];
        if v4 {
            put16(headers, 2, word(total));
            put16(headers, 10, 0);
            let checksum = Sum::ZERO.add_octets(&headers[..ip_len]).checksum();
            put16(headers, 10, checksum);
        } else {
            put16(headers, 4, word(total - ip_len));
        }
        let size = word(self.segment_size);
        let (protocol, field, segments) = match self.transport {
            Transport::Tcp => {
                headers[ip_len + 13] |= self.last_flags & TCP_PSH;
                let segments = if v4 { Segmentation::TcpV4(size) } else { Segmentation::TcpV6(size) };
                (TCP, TCP_CHECKSUM, segments)
            }
            Transport::Udp => {
                put16(headers, ip_len + UDP_LENGTH, word(total - ip_len));
                (UDP, UDP_CHECKSUM, Segmentation::Udp(size))
            }
        };
        let begun = pseudo_header(headers, protocol, total - ip_len).folded();
        put16(headers, ip_len + field, begun);
        let checksum = Checksum::Partial { start: word(ip_len), offset: word(field) };
        VnetHeader { checksum, segments, header_len: word(header_len) }
    }
}

impl<'a> Segment<'a> {
    fn new(packet: &'a [u8], joins: Joins) -> Option<Segment<'a>> {
        match (plain_ip_header(packet)?, joins) {
            ((ip_len, TCP), _) => Segment::of_tcp(packet, ip_len),
            ((ip_len, UDP), Joins::TcpAndUdp) => Segment::of_udp(packet, ip_len),
            _ => None,
        }
    }

    fn of_tcp(packet: &'a [u8], ip_len: usize) -> Option<Segment<'a>> {
        let tcp = packet.get(ip_len..ip_len + 20)?;
        let header_len = ip_len + usize::from(tcp[12] >> 4) * 4;
        let segment = Segment { transport: Transport::Tcp, packet, ip_len, header_len };
        let flags = segment.flags();
        let joinable = header_len >= ip_len + 20
            && header_len < packet.len()
            && flags & TCP_ACK != 0
            && flags & !(TCP_ACK | TCP_PSH | TCP_ECE) == 0
            && segment.checksum_holds(TCP);
        joinable.then_some(segment)
    }

    fn of_udp(packet: &'a [u8], ip_len: usize) -> Option<Segment<'a>> {
        let udp = packet.get(ip_len..ip_len + UDP_HEADER)?;
        let segment = Segment { transport: Transport::Udp, packet, ip_len, header_len: ip_len + UDP_HEADER };
        // RFC 768: a checksum of zero is none, and each datagram of a run gets one.
        let joinable = usize::from(be16(udp, UDP_LENGTH)) == packet.len() - ip_len
            && segment.payload_len() > 0
            && be16(udp, UDP_CHECKSUM) != 0
            && segment.checksum_holds(UDP);
        joinable.then_some(segment)
    }

    fn headers(&self) -> &'a [u8] {
        &self.packet[..self.header_len]
    }

    fn payload_len(&self) -> usize {
        self.packet.len() - self.header_len
    }

    fn sequence(&self) -> u32 {
        be32(self.packet, self.ip_len + 4)
    }

    fn flags(&self) -> u8 {
        self.packet[self.ip_len + 13]
    }

    /// The IPv4 identification; IPv6 has none, and nobody asks.
    fn identification(&self) -> u16 {
        be16(self.packet, 4)
    }

    fn checksum_holds(&self, protocol: u8) -> bool {
        let segment = &self.packet[self.ip_len..];
        pseudo_header(self.packet, protocol, segment.len()).add_octets(segment).folded() == 0xffff
    }
}

/// Gives the length of an IP header without options, extensions or fragments, whose packet is whole, and the protocol.
fn plain_ip_header(packet: &[u8]) -> Option<(usize, u8)> {
    match packet.first()? {
        0x45 => {
            let header = packet.get(..20)?;
            let whole = usize::from(be16(header, 2)) == packet.len();
            let unfragmented = be16(header, 6) & 0x3fff == 0;
            let sound = Sum::ZERO.add_octets(header).folded() == 0xffff;
            (whole && unfragmented && sound).then_some((20, header[9]))
        }
        octet if octet >> 4 == 6 => {
            let header = packet.get(..40)?;
            let whole = usize::from(be16(header, 4)) + 40 == packet.len();
            whole.then_some((40, header[6]))
        }
        _ => None,
    }
}
