//! A super-packet from TUN into the packets that go on the wire (what a network card's TSO and USO do).

use wire::ip::checksum::Sum;
use wire::ip::protocol::{TCP, UDP};

use super::{
    Checksum, Segmentation, TCP_CHECKSUM, TCP_CWR, TCP_FIN, TCP_PSH, UDP_CHECKSUM, VnetHeader, be16, be32,
    pseudo_header, put16, put32,
};

/// A packet from TUN, checked, with the plan of its segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SuperPacket<'a> {
    packet: &'a [u8],
    plan: Plan,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    /// Goes out as it is.
    Whole,
    /// Goes out in one piece, with the checksum completed.
    Complete { transport: usize, field: usize },
    /// Goes out in pieces.
    Cut { transport: usize, header_len: usize, segment_size: usize, protocol: Transport },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

/// The header before the packet does not fit the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsplittable;

impl<'a> SuperPacket<'a> {
    /// Checks a packet against the header that came with it.
    pub(crate) fn new(header: VnetHeader, packet: &'a [u8]) -> Result<SuperPacket<'a>, Unsplittable> {
        let plan = match (header.segments, header.checksum) {
            (Segmentation::None, Checksum::Complete) => Plan::Whole,
            (Segmentation::None, Checksum::Partial { start, offset }) => {
                let (transport, field) = (usize::from(start), usize::from(start) + usize::from(offset));
                let fits = field + 2 <= packet.len();
                fits.then_some(Plan::Complete { transport, field }).ok_or(Unsplittable)?
            }
            (Segmentation::TcpV4(size) | Segmentation::TcpV6(size), Checksum::Partial { start, .. }) => {
                cut(packet, Transport::Tcp, start.into(), size.into())?
            }
            (Segmentation::Udp(size), Checksum::Partial { start, .. }) => {
                cut(packet, Transport::Udp, start.into(), size.into())?
            }
            (Segmentation::TcpV4(_) | Segmentation::TcpV6(_) | Segmentation::Udp(_), Checksum::Complete) => {
                return Err(Unsplittable);
            }
        };
        Ok(SuperPacket { packet, plan })
    }

    /// Gives the packet as it came.
    pub(crate) fn octets(&self) -> &'a [u8] {
        self.packet
    }

    /// Counts the segments; at least one.
    pub(crate) fn segments(&self) -> usize {
        match self.plan {
            Plan::Whole | Plan::Complete { .. } => 1,
            Plan::Cut { header_len, segment_size, .. } => {
                (self.packet.len() - header_len).div_ceil(segment_size).max(1)
            }
        }
    }

    /// Tells the octets of segment `index`, headers included.
    pub(crate) fn segment_len(&self, index: usize) -> usize {
        match self.plan {
            Plan::Whole | Plan::Complete { .. } => self.packet.len(),
            Plan::Cut { header_len, segment_size, .. } => {
                let payload = self.packet.len() - header_len;
                header_len + segment_size.min(payload - index * segment_size)
            }
        }
    }

    /// Writes segment `index` to `out`, which has exactly its length.
    pub(crate) fn write_segment(&self, index: usize, out: &mut [u8]) {
        match self.plan {
            Plan::Whole => out.copy_from_slice(self.packet),
            Plan::Complete { transport, field } => {
                out.copy_from_slice(self.packet);
                complete_checksum(out, transport, field);
            }
            Plan::Cut { transport, header_len, segment_size, protocol } => {
                let start = header_len + index * segment_size;
                let payload = &self.packet[start..start + out.len() - header_len];
                out[..header_len].copy_from_slice(&self.packet[..header_len]);
                out[header_len..].copy_from_slice(payload);
                let last = index + 1 == self.segments();
                fix_ip_header(out, transport, index);
                match protocol {
                    Transport::Tcp => {
                        let position = if last { Position::Last } else { Position::Earlier };
                        fix_tcp_header(out, transport, index, index * segment_size, position);
                    }
                    Transport::Udp => fix_udp_header(out, transport),
                }
            }
        }
    }
}

/// Checks that all headers lie within the packet and are those that the kernel named.
fn cut(
    packet: &[u8],
    protocol: Transport,
    transport: usize,
    segment_size: usize,
) -> Result<Plan, Unsplittable> {
    let ip_header_len = match packet.first().map(|octet| octet >> 4) {
        Some(4) => 20,
        Some(6) => 40,
        _ => return Err(Unsplittable),
    };
    let header_len = match protocol {
        Transport::Tcp => transport + usize::from(packet.get(transport + 12).ok_or(Unsplittable)? >> 4) * 4,
        Transport::Udp => transport + 8,
    };
    let transport_len = header_len - transport;
    let minimum = match protocol {
        Transport::Tcp => 20,
        Transport::Udp => 8,
    };
    let sound = transport >= ip_header_len
        && transport_len >= minimum
        && header_len <= packet.len()
        && segment_size > 0
        && packet.len() <= usize::from(u16::MAX) + ip_header_len;
    sound.then_some(Plan::Cut { transport, header_len, segment_size, protocol }).ok_or(Unsplittable)
}

/// Adds what the kernel left out: the field holds the pseudo header's sum already.
fn complete_checksum(packet: &mut [u8], transport: usize, field: usize) {
    let checksum = Sum::ZERO.add_octets(&packet[transport..]).checksum();
    // RFC 768: a computed zero is sent as ones; for TCP both zeros verify.
    let checksum = if field - transport == UDP_CHECKSUM && checksum == 0 { 0xffff } else { checksum };
    put16(packet, field, checksum);
}

fn fix_ip_header(segment: &mut [u8], transport: usize, index: usize) {
    let length = segment.len();
    if segment[0] >> 4 == 4 {
        put16(segment, 2, u16::try_from(length).unwrap_or(u16::MAX));
        // RFC 6864 §4: the identification must differ between fragments' datagrams; a card's TSO counts up, too.
        let id = be16(segment, 4).wrapping_add(index as u16);
        put16(segment, 4, id);
        put16(segment, 10, 0);
        let checksum = Sum::ZERO.add_octets(&segment[..transport]).checksum();
        put16(segment, 10, checksum);
    } else {
        put16(segment, 4, u16::try_from(length - 40).unwrap_or(u16::MAX));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Earlier,
    Last,
}

fn fix_tcp_header(segment: &mut [u8], transport: usize, index: usize, offset: usize, position: Position) {
    let tcp = &mut segment[transport..];
    let sequence = be32(tcp, 4).wrapping_add(offset as u32);
    put32(tcp, 4, sequence);
    if position == Position::Earlier {
        tcp[13] &= !(TCP_FIN | TCP_PSH);
    }
    if index > 0 {
        // RFC 3168 §6.1.2: one reduction of the window is announced once.
        tcp[13] &= !TCP_CWR;
    }
    put16(tcp, TCP_CHECKSUM, 0);
    let checksum = transport_sum(segment, transport, TCP).checksum();
    put16(segment, transport + TCP_CHECKSUM, checksum);
}

fn fix_udp_header(segment: &mut [u8], transport: usize) {
    let length = segment.len() - transport;
    put16(segment, transport + 4, u16::try_from(length).unwrap_or(u16::MAX));
    put16(segment, transport + UDP_CHECKSUM, 0);
    let checksum = match transport_sum(segment, transport, UDP).checksum() {
        0 => 0xffff,
        checksum => checksum,
    };
    put16(segment, transport + UDP_CHECKSUM, checksum);
}

fn transport_sum(packet: &[u8], transport: usize, protocol: u8) -> Sum {
    pseudo_header(packet, protocol, packet.len() - transport).add_octets(&packet[transport..])
}
