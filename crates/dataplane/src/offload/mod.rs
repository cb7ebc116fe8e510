//! Segmentation offload: the super-packets that Linux exchanges with a TUN device that has `IFF_VNET_HDR`.
//!
//! ```text
//!   from TUN   virtio_net_hdr │ IP │ TCP │ 64 KiB of payload      ──split──►    48 packets, checksums complete
//!   to TUN     48 packets of one stream                         ──coalesce──►   virtio_net_hdr │ IP │ TCP │ payloads
//! ```
//!
//! One system call then carries what would else take 48, and the kernel walks its stack once (LRO and TSO, done by us).
//! Nothing here knows of ESP.

pub(crate) mod coalesce;
pub(crate) mod split;

use wire::ip::checksum::Sum;

/// `struct virtio_net_hdr` as `linux/virtio_net.h` and `linux/if_tun.h` use it: what the checksum and segment fields of
/// the packet behind it mean. In native byte order.
///
/// ```text
///   flags 1 │ gso_type 1 │ hdr_len 2 │ gso_size 2 │ csum_start 2 │ csum_offset 2
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VnetHeader {
    /// Whether the transport checksum is only begun, with the pseudo header's sum.
    pub(crate) checksum: Checksum,
    /// What the packet is to be split into.
    pub(crate) segments: Segmentation,
    /// A hint: the octets of all headers.
    pub(crate) header_len: u16,
}

/// The state of a packet's transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// It stands as it goes on the wire.
    #[default]
    Complete,
    /// The field holds the pseudo header's sum; the sum over the octets from `start` on is still due (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
    Partial {
        /// Where the transport header begins.
        start: u16,
        /// Where the field lies, from `start`.
        offset: u16,
    },
}

/// What a super-packet is made of; sizes are octets of payload of each segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Segmentation {
    /// One packet.
    #[default]
    None,
    /// TCP in IPv4.
    TcpV4(u16),
    /// TCP in IPv6.
    TcpV6(u16),
    /// UDP in either (`VIRTIO_NET_HDR_GSO_UDP_L4`): every segment is a datagram.
    Udp(u16),
}

/// Which packets the kernel takes from us joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joins {
    /// Those of a TCP stream.
    Tcp,
    /// Datagrams of a UDP flow as well (Linux 6.2).
    TcpAndUdp,
}

/// The kernel wrote a header whose type we did not offer to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownOffload;

impl VnetHeader {
    /// Octets of the header before every packet.
    pub(crate) const LEN: usize = 10;

    const F_NEEDS_CSUM: u8 = 1;
    const GSO_TCPV4: u8 = 1;
    const GSO_TCPV6: u8 = 4;
    const GSO_UDP_L4: u8 = 5;
    const GSO_ECN: u8 = 0x80;

    /// Reads a header.
    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> Result<VnetHeader, UnknownOffload> {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let size = word(4);
        let segments = match bytes[1] & !Self::GSO_ECN {
            0 => Segmentation::None,
            Self::GSO_TCPV4 => Segmentation::TcpV4(size),
            Self::GSO_TCPV6 => Segmentation::TcpV6(size),
            Self::GSO_UDP_L4 => Segmentation::Udp(size),
            _ => return Err(UnknownOffload),
        };
        let checksum = match bytes[0] & Self::F_NEEDS_CSUM {
            0 => Checksum::Complete,
            _ => Checksum::Partial { start: word(6), offset: word(8) },
        };
        Ok(VnetHeader { checksum, segments, header_len: word(2) })
    }

    /// Writes the header.
    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let (kind, size) = match self.segments {
            Segmentation::None => (0, 0),
            Segmentation::TcpV4(size) => (Self::GSO_TCPV4, size),
            Segmentation::TcpV6(size) => (Self::GSO_TCPV6, size),
            Segmentation::Udp(size) => (Self::GSO_UDP_L4, size),
        };
        let (flags, start, offset) = match self.checksum {
            Checksum::Complete => (0, 0, 0),
            Checksum::Partial { start, offset } => (Self::F_NEEDS_CSUM, start, offset),
        };
        let mut bytes = [0; Self::LEN];
        bytes[0] = flags;
        bytes[1] = kind;
        for (at, word) in [(2, self.header_len), (4, size), (6, start), (8, offset)] {
            bytes[at..at + 2].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_ACK: u8 = 0x10;
const TCP_ECE: u8 = 0x40;
const TCP_CWR: u8 = 0x80;

/// Where the checksum lies in a TCP and in a UDP header.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

/// Begins the checksum of a transport header: `ip` starts with a whole IP header, whose packet has `transport_len` octets
/// behind it and its extensions.
fn pseudo_header(ip: &[u8], protocol: u8, transport_len: usize) -> Sum {
    let addresses = if ip[0] >> 4 == 4 { &ip[12..20] } else { &ip[8..40] };
    let length = u32::try_from(transport_len).expect("a packet is shorter than 2^32 octets");
    Sum::ZERO.add_octets(addresses).add_octets(&length.to_be_bytes()).add_word(protocol.into())
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put16(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

fn put32(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
mod header_tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_survive(size: u16, start: u16, offset: u16, header_len: u16, kind in 0u8..4, partial: bool) {
            let segments = match kind {
                0 => Segmentation::None,
                1 => Segmentation::TcpV4(size),
                2 => Segmentation::TcpV6(size),
                _ => Segmentation::Udp(size),
            };
            let checksum = if partial { Checksum::Partial { start, offset } } else { Checksum::Complete };
            let header = VnetHeader { checksum, segments, header_len };
            prop_assert_eq!(VnetHeader::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn types_we_never_offered_are_refused() {
        let mut bytes = VnetHeader::default().encode();
        bytes[1] = 3;
        assert_eq!(VnetHeader::decode(&bytes), Err(UnknownOffload));
    }
}
