//! What becomes of a packet that may be too long for its SA (RFC 4301 §8.2.1).
//!
//! ```text
//!                                                       DF set, or IPv6       may be cut
//!   came in fragments that fit (we put them together)   cut as it came        cut as it came
//!   fits                                                sealed                sealed
//!   tunnel                                              its sender is told    cut, or sealed and cut then
//!   transport and BEET, which take whole packets        its sender is told    sealed and cut then
//! ```
//!
//! IPv6 asks every link for 1280 octets; a tunnel that takes less owes it, and cuts the sealed packet (RFC 2473 §7.1).

use std::net::IpAddr;

use sa::{Fragmenting, SegmentSize};
use wire::ip::{Ipv4Header, Ipv6Header, Packet};

use crate::limits::LEAST_PATH_MTU_V6;

/// What an SA has to say of long packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Octets of the longest packet that the path takes once it is sealed.
    pub longest: usize,
    /// What the SA's packets contain.
    pub contents: Contents,
    /// What is cut.
    pub fragmenting: Fragmenting,
}

/// What the packets of an SA contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Any IP packet, a fragment too: tunnel mode.
    AnyPacket,
    /// Packets that are whole: transport and BEET mode (RFC 4303 §3.3.4).
    WholePackets,
}

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is sealed.
    Seal,
    /// It is sealed, and the result is cut into fragments, whatever the header that the SA gives it says.
    SealThenCut,
    /// It is cut into fragments of at most so many octets, each of which is sealed.
    Cut {
        /// Octets.
        longest: usize,
    },
    /// It is dropped, and its sender told that so many octets pass.
    TooBig {
        /// Octets.
        mtu: u16,
    },
}

impl Room {
    /// Decides on an inner packet; `came_as` is the longest of the fragments that it came in.
    pub fn fit<Bytes: AsRef<[u8]>>(&self, packet: &Packet<Bytes>, came_as: Option<usize>) -> Fit {
        let fits = packet.total_length() <= self.longest;
        match (self.contents, came_as) {
            // Behind the peer may be a link that takes no more than the fragments were long.
            (Contents::AnyPacket, Some(longest)) if longest <= self.longest => return Fit::Cut { longest },
            (Contents::WholePackets | Contents::AnyPacket, _) if fits => return Fit::Seal,
            (Contents::WholePackets, Some(_)) => return Fit::SealThenCut,
            (Contents::WholePackets | Contents::AnyPacket, _) => {}
        }
        if !may_be_cut(packet) {
            return self.tell(packet);
        }
        match (self.contents, self.fragmenting) {
            (Contents::AnyPacket, Fragmenting::BeforeSealing) => Fit::Cut { longest: self.longest },
            (Contents::WholePackets, _) | (Contents::AnyPacket, Fragmenting::AfterSealing) => {
                Fit::SealThenCut
            }
        }
    }

    fn tell<Bytes: AsRef<[u8]>>(&self, packet: &Packet<Bytes>) -> Fit {
        let mtu = match packet {
            Packet::V4(_) => self.longest,
            Packet::V6(_) if packet.total_length() <= LEAST_PATH_MTU_V6 => return Fit::SealThenCut,
            Packet::V6(_) => self.longest.max(LEAST_PATH_MTU_V6),
        };
        Fit::TooBig { mtu: u16::try_from(mtu).unwrap_or(u16::MAX) }
    }
}

/// Gives the most that a TCP connection from `source` may announce as its segments' size, where packets of `longest` octets
/// pass; `None` if it may announce what it likes.
pub fn segment_size(rule: SegmentSize, longest: usize, source: IpAddr) -> Option<u16> {
    let headers = match source {
        IpAddr::V4(_) => Ipv4Header::LEN + TCP_HEADER_LEN,
        IpAddr::V6(_) => Ipv6Header::LEN + TCP_HEADER_LEN,
    };
    match rule {
        // RFC 9293 §3.7.1: the size does not count options, which make segments shorter.
        SegmentSize::OfPath => Some(u16::try_from(longest.saturating_sub(headers)).unwrap_or(u16::MAX)),
        SegmentSize::AtMost(octets) => Some(octets),
        SegmentSize::Untouched => None,
    }
}

fn may_be_cut<Bytes: AsRef<[u8]>>(packet: &Packet<Bytes>) -> bool {
    match packet {
        Packet::V4(packet) => !packet.dont_fragment(),
        Packet::V6(_) => false,
    }
}

const TCP_HEADER_LEN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ip::{Ecn, protocol};

    fn v4(octets: usize, dont_fragment: bool) -> Vec<u8> {
        let header = Ipv4Header {
            dscp: 0,
            ecn: Ecn::NotCapable,
            total_length: octets as u16,
            identification: 1,
            dont_fragment,
            ttl: 64,
            protocol: protocol::UDP,
            source: [10, 1, 0, 1].into(),
            destination: [10, 2, 0, 1].into(),
        };
        let mut packet = header.encode().to_vec();
        packet.resize(octets, 0);
        packet
    }

    fn v6(octets: usize) -> Vec<u8> {
        let header = Ipv6Header {
            dscp: 0,
            ecn: Ecn::NotCapable,
            flow_label: 0,
            payload_length: octets as u16 - 40,
            next_header: protocol::UDP,
            hop_limit: 64,
            source: "fd00:1::1".parse().expect("an address"),
            destination: "fd00:2::1".parse().expect("an address"),
        };
        let mut packet = header.encode().to_vec();
        packet.resize(octets, 0);
        packet
    }

    fn fit(room: Room, packet: &[u8], came_as: Option<usize>) -> Fit {
        room.fit(&Packet::new(packet).expect("a sound packet"), came_as)
    }

    const TUNNEL: Room =
        Room { longest: 1400, contents: Contents::AnyPacket, fragmenting: Fragmenting::BeforeSealing };
    const TRANSPORT: Room = Room { contents: Contents::WholePackets, ..TUNNEL };
    const TELL: Fit = Fit::TooBig { mtu: 1400 };

    #[test]
    fn segments_leave_room_for_their_headers() {
        let (v4, v6) = (IpAddr::from([10, 1, 0, 1]), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST));
        assert_eq!(segment_size(SegmentSize::OfPath, 1400, v4), Some(1360));
        assert_eq!(segment_size(SegmentSize::OfPath, 1400, v6), Some(1340));
        assert_eq!(segment_size(SegmentSize::OfPath, usize::MAX, v4), Some(u16::MAX));
        assert_eq!(segment_size(SegmentSize::AtMost(1000), 1400, v4), Some(1000));
        assert_eq!(segment_size(SegmentSize::Untouched, 1400, v4), None);
    }

    #[test]
    fn what_fits_is_sealed() {
        for packet in [v4(1400, true), v4(1400, false), v6(1400)] {
            assert_eq!([TUNNEL, TRANSPORT].map(|room| fit(room, &packet, None)), [Fit::Seal; 2]);
        }
    }

    /// RFC 4301 §8.2.1, cases 1 to 3.
    #[test]
    fn what_is_too_long_is_told_of_or_cut() {
        let after = Room { fragmenting: Fragmenting::AfterSealing, ..TUNNEL };
        let cut = Fit::Cut { longest: 1400 };
        for (room, cut) in [(TUNNEL, cut), (after, Fit::SealThenCut), (TRANSPORT, Fit::SealThenCut)] {
            assert_eq!(fit(room, &v4(1401, true), None), TELL);
            assert_eq!(fit(room, &v4(1401, false), None), cut);
            assert_eq!(fit(room, &v6(1401), None), TELL);
        }
    }

    #[test]
    fn what_came_in_fragments_leaves_in_such_or_whole() {
        for packet in [v4(3000, false), v4(3000, true), v6(3000)] {
            assert_eq!(fit(TUNNEL, &packet, Some(1280)), Fit::Cut { longest: 1280 });
            let wide = Room { longest: 9000, ..TUNNEL };
            assert_eq!(fit(wide, &packet, Some(1280)), Fit::Cut { longest: 1280 });
            assert_eq!(fit(Room { longest: 9000, ..TRANSPORT }, &packet, Some(1280)), Fit::Seal);
            assert_eq!(fit(TRANSPORT, &packet, Some(1280)), Fit::SealThenCut);
            assert_eq!(fit(TRANSPORT, &packet, Some(1500)), Fit::SealThenCut);
        }
        // Fragments that are too long themselves.
        assert_eq!(fit(TUNNEL, &v4(3000, false), Some(1500)), Fit::Cut { longest: 1400 });
        assert_eq!(fit(TUNNEL, &v4(3000, true), Some(1500)), TELL);
        assert_eq!(fit(TUNNEL, &v6(3000), Some(1500)), TELL);
    }

    #[test]
    fn a_narrow_path_owes_ipv6_its_1280_octets() {
        let narrow = Room { longest: 1000, ..TUNNEL };
        assert_eq!(fit(narrow, &v6(1280), None), Fit::SealThenCut);
        assert_eq!(fit(narrow, &v6(1281), None), Fit::TooBig { mtu: 1280 });
        assert_eq!(fit(narrow, &v4(1280, true), None), Fit::TooBig { mtu: 1000 });
    }
}
