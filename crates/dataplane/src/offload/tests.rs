//! Splitting and coalescing against a naive model, and against each other.

use std::io::IoSlice;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipsec::PacketBuf;
use proptest::prelude::*;

use super::coalesce::Coalescer;
use super::split::SuperPacket;
use super::{Checksum, Joins, Segmentation, TCP_CHECKSUM, VnetHeader};

/// A super-packet of a TCP stream or a UDP flow, as fields, from 10.1.0.1 to 10.2.0.1 or their likes in IPv6.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    udp: bool,
    pub(crate) v6: bool,
    tos: u8,
    identification: u16,
    ports: (u16, u16),
    sequence: u32,
    acknowledgement: u32,
    push: bool,
    options: Vec<u8>,
    pub(crate) segment_size: usize,
    payload: Vec<u8>,
}

/// Makes streams of every shape.
pub(crate) fn streams() -> impl Strategy<Value = Stream> {
    let headers = (any::<[bool; 2]>(), any::<u8>(), any::<u16>(), any::<(u16, u16)>(), any::<(u32, u32)>());
    let body = (any::<bool>(), 0usize..=10, 1usize..1500, 1usize..64, any::<u8>());
    (headers, body, any::<proptest::sample::Index>()).prop_map(
        |(
            ([udp, v6], tos, identification, ports, numbers),
            (push, option_words, segment_size, segments, seed),
            last,
        )| {
            let last_len = last.index(segment_size) + 1;
            let length = ((segments - 1) * segment_size + last_len).min(60_000);
            Stream {
                udp,
                v6,
                tos,
                identification,
                ports,
                sequence: numbers.0,
                acknowledgement: numbers.1,
                push,
                options: vec![1; option_words * 4],
                segment_size,
                payload: (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect(),
            }
        },
    )
}

impl Stream {
    fn ip_len(&self) -> usize {
        if self.v6 { 40 } else { 20 }
    }

    /// Writes one packet of the stream from its definition: the model that the code under test must agree with.
    fn packet(&self, offset: usize, payload: &[u8], identification: u16, push: bool) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(self.ports.0.to_be_bytes());
        segment.extend(self.ports.1.to_be_bytes());
        if self.udp {
            segment.extend(((8 + payload.len()) as u16).to_be_bytes());
            segment.extend([0, 0]);
        } else {
            segment.extend(self.sequence.wrapping_add(offset as u32).to_be_bytes());
            segment.extend(self.acknowledgement.to_be_bytes());
            let flags = if push { 0x18 } else { 0x10 };
            segment.extend([(((20 + self.options.len()) / 4) << 4) as u8, flags, 0x12, 0x34, 0, 0, 0, 0]);
            segment.extend(&self.options);
        }
        segment.extend(payload);
        let mut packet = self.ip_header(segment.len(), identification);
        let mut summed = self.pseudo_header(segment.len());
        summed.extend(&segment);
        let checksum = match !naive_sum(&summed) {
            0 if self.udp => 0xffff,
            checksum => checksum,
        };
        let field = self.checksum_field();
        segment[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(segment);
        packet
    }

    fn protocol(&self) -> u8 {
        if self.udp { 17 } else { 6 }
    }

    fn checksum_field(&self) -> usize {
        if self.udp { 6 } else { TCP_CHECKSUM }
    }

    fn ip_header(&self, segment_len: usize, identification: u16) -> Vec<u8> {
        let mut header = Vec::new();
        if self.v6 {
            header.extend([0x60 | self.tos >> 4, self.tos << 4, 0xab, 0xcd]);
            header.extend((segment_len as u16).to_be_bytes());
            header.extend([self.protocol(), 61]);
        } else {
            header.extend([0x45, self.tos]);
            header.extend(((20 + segment_len) as u16).to_be_bytes());
            header.extend(identification.to_be_bytes());
            header.extend([0x40, 0, 61, self.protocol(), 0, 0]);
        }
        header.extend(self.addresses());
        if !self.v6 {
            let checksum = !naive_sum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        header
    }

    fn addresses(&self) -> Vec<u8> {
        if self.v6 {
            let end = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets();
            [end(1), end(2)].concat()
        } else {
            [Ipv4Addr::new(10, 1, 0, 1).octets(), Ipv4Addr::new(10, 2, 0, 1).octets()].concat()
        }
    }

    fn pseudo_header(&self, segment_len: usize) -> Vec<u8> {
        let mut bytes = self.addresses();
        bytes.extend((segment_len as u32).to_be_bytes());
        bytes.extend([0, 0, 0, self.protocol()]);
        bytes
    }

    /// The packets of the stream as a host without offload sends them.
    pub(crate) fn naive_packets(&self) -> Vec<Vec<u8>> {
        let chunks = self.payload.chunks(self.segment_size);
        let count = chunks.len();
        chunks
            .enumerate()
            .map(|(index, payload)| {
                let identification = self.identification.wrapping_add(index as u16);
                let push = self.push && index + 1 == count;
                self.packet(index * self.segment_size, payload, identification, push)
            })
            .collect()
    }

    /// The stream as the kernel gives it to a TUN device with offloads: the checksum only begun.
    pub(crate) fn super_packet(&self) -> (VnetHeader, Vec<u8>) {
        let mut packet = self.packet(0, &self.payload, self.identification, self.push);
        let begun = naive_sum(&self.pseudo_header(packet.len() - self.ip_len()));
        let field = self.ip_len() + self.checksum_field();
        packet[field..field + 2].copy_from_slice(&begun.to_be_bytes());
        let size = self.segment_size as u16;
        let (segments, transport_len) = match (self.udp, self.v6) {
            (true, _) => (Segmentation::Udp(size), 8),
            (false, true) => (Segmentation::TcpV6(size), 20 + self.options.len()),
            (false, false) => (Segmentation::TcpV4(size), 20 + self.options.len()),
        };
        let header = VnetHeader {
            checksum: Checksum::Partial { start: self.ip_len() as u16, offset: self.checksum_field() as u16 },
            segments,
            header_len: (self.ip_len() + transport_len) as u16,
        };
        (header, packet)
    }
}

fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn split(header: VnetHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let whole = SuperPacket::new(header, packet).expect("a sound super-packet");
    let segment = |index| {
        let mut out = vec![0; whole.segment_len(index)];
        whole.write_segment(index, &mut out);
        out
    };
    (0..whole.segments()).map(segment).collect()
}

fn coalesce(packets: &[Vec<u8>]) -> Vec<(VnetHeader, Vec<u8>)> {
    let buffers: Vec<PacketBuf> = packets
        .iter()
        .map(|packet| {
            let mut buffer = PacketBuf::new(packet.len());
            buffer.copy_from(packet).expect("a buffer of the packet's size");
            buffer
        })
        .collect();
    let mut written = Vec::new();
    let mut write = |header, parts: &[IoSlice<'_>]| {
        written.push((header, parts.iter().flat_map(|part| part.to_vec()).collect()));
    };
    let mut coalescer = Coalescer::new(Joins::TcpAndUdp);
    for index in 0..buffers.len() {
        coalescer.push(index, &buffers, &mut write);
    }
    coalescer.flush(&buffers, &mut write);
    written
}

/// Leaves out what nobody may look at (RFC 6864 §4.1): the identification of UDP datagrams that must not be fragmented.
fn as_seen(mut packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    for packet in &mut packets {
        if packet[0] == 0x45 && packet[9] == 17 && packet[6] & 0x40 != 0 {
            packet[4..6].fill(0);
            packet[10..12].fill(0);
        }
    }
    packets
}

proptest! {
    #[test]
    fn splitting_gives_what_a_host_without_offload_sends(stream in streams()) {
        let (header, packet) = stream.super_packet();
        prop_assert_eq!(split(header, &packet), stream.naive_packets());
    }

    #[test]
    fn coalescing_undoes_splitting(stream in streams()) {
        let packets = stream.naive_packets();
        let written = coalesce(&packets);
        if packets.len() == 1 {
            prop_assert_eq!(&written[..], &[(VnetHeader::default(), packets[0].clone())]);
        } else {
            prop_assert_eq!(written, vec![stream.super_packet()]);
        }
    }

    /// Whatever arrives, cutting again what was written gives each stream's packets in their order.
    #[test]
    fn nothing_is_lost_or_reordered_within_a_stream(
        one in streams(),
        other in streams(),
        order in proptest::collection::vec(any::<bool>(), 128),
        swapped in any::<proptest::sample::Index>(),
        corrupt in any::<Option<(proptest::sample::Index, proptest::sample::Index)>>(),
    ) {
        let mut other = other;
        other.ports = (one.ports.0.wrapping_add(1), one.ports.1);
        other.v6 = one.v6;
        let (mut left, right) = (one.naive_packets(), other.naive_packets());
        let at = swapped.index(left.len());
        left.swap(0, at);
        if let Some((packet, octet)) = corrupt {
            let packet = packet.index(left.len());
            let octet = octet.index(left[packet].len());
            left[packet][octet] ^= 0x40;
        }
        let (mut lefts, mut rights) = (left.iter(), right.iter());
        let mut mixed = Vec::new();
        for first in order {
            mixed.extend(if first { lefts.next() } else { rights.next() }.cloned());
        }
        mixed.extend(lefts.chain(rights).cloned());

        let mut result = Vec::new();
        for (header, packet) in coalesce(&mixed) {
            result.extend(split(header, &packet));
        }
        let (left, right) = (as_seen(left), as_seen(right));
        let (mixed, result) = (as_seen(mixed), as_seen(result));
        let of = |packets: &[Vec<u8>], wanted: &[Vec<u8>]| -> Vec<Vec<u8>> {
            packets.iter().filter(|packet| wanted.contains(packet)).cloned().collect()
        };
        prop_assert_eq!(result.len(), mixed.len());
        let right_result = of(&result, &right);
        prop_assert_eq!(right_result, right);
        // A packet whose addresses or ports were corrupted belongs to no stream and may go anywhere.
        let mut sorted = (result.clone(), mixed.clone());
        sorted.0.sort();
        sorted.1.sort();
        prop_assert_eq!(sorted.0, sorted.1);
        if corrupt.is_none() {
            prop_assert_eq!(of(&result, &left), left);
        }
    }

    #[test]
    fn any_header_before_any_packet_is_split_or_refused(
        header in proptest::array::uniform10(any::<u8>()),
        small in any::<bool>(),
        packet in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut header = header;
        if small {
            for at in [2, 4, 6, 8] {
                let little = u16::from(header[at]) % 64;
                header[at..at + 2].copy_from_slice(&little.to_ne_bytes());
            }
        }
        if let Ok(header) = VnetHeader::decode(&header)
            && let Ok(whole) = SuperPacket::new(header, &packet)
        {
            for index in 0..whole.segments() {
                let mut out = vec![0; whole.segment_len(index)];
                whole.write_segment(index, &mut out);
            }
        }
    }
}

#[test]
fn a_partial_checksum_is_completed() {
    let stream = Stream {
        udp: false,
        v6: false,
        tos: 0,
        identification: 7,
        ports: (1, 2),
        sequence: 3,
        acknowledgement: 4,
        push: true,
        options: Vec::new(),
        segment_size: 100,
        payload: vec![9; 51],
    };
    let (header, packet) = stream.super_packet();
    let single = VnetHeader { segments: Segmentation::None, ..header };
    assert_eq!(split(single, &packet), stream.naive_packets());
}

/// Datagrams that must not be fragmented, of a sender that gives them all the same identification.
#[test]
fn datagrams_join_whatever_their_identification() {
    let stream = Stream {
        udp: true,
        v6: false,
        tos: 0,
        identification: 0,
        ports: (1, 2),
        sequence: 0,
        acknowledgement: 0,
        push: false,
        options: Vec::new(),
        segment_size: 100,
        payload: vec![9; 250],
    };
    let same: Vec<Vec<u8>> =
        [100, 100, 50].map(|octets| stream.packet(0, &stream.payload[..octets], 0, false)).to_vec();
    assert_eq!(coalesce(&same), [stream.super_packet()]);
    let without_checksum = |mut packet: Vec<u8>| {
        packet[26..28].fill(0);
        packet
    };
    let unsummed: Vec<Vec<u8>> = same.into_iter().map(without_checksum).collect();
    let expected: Vec<_> = unsummed.iter().map(|packet| (VnetHeader::default(), packet.clone())).collect();
    assert_eq!(coalesce(&unsummed), expected);
}

#[test]
fn datagrams_of_a_udp_train_get_their_own_headers() {
    let mut packet = vec![0x45, 0, 0, 0, 0, 9, 0x40, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1];
    packet.extend([0x10, 0x00, 0x20, 0x00, 0, 0, 0, 0]);
    packet.extend([1, 2, 3, 4, 5]);
    let header = VnetHeader {
        checksum: Checksum::Partial { start: 20, offset: 6 },
        segments: Segmentation::Udp(4),
        header_len: 28,
    };
    let datagrams = split(header, &packet);
    assert_eq!(datagrams.iter().map(Vec::len).collect::<Vec<_>>(), [32, 29]);
    for (index, datagram) in datagrams.iter().enumerate() {
        assert_eq!(naive_sum(&datagram[..20]), 0xffff, "IP checksum");
        assert_eq!(usize::from(u16::from_be_bytes([datagram[24], datagram[25]])), datagram.len() - 20);
        assert_eq!(usize::from(datagram[5]), 9 + index, "identification");
        let mut summed = datagram[12..20].to_vec();
        summed.extend([0, 17, datagram[24], datagram[25]]);
        summed.extend(&datagram[20..]);
        assert_eq!(naive_sum(&summed), 0xffff, "UDP checksum");
    }
    assert_eq!([&datagrams[0][28..], &datagrams[1][28..]].concat(), [1, 2, 3, 4, 5]);
}
