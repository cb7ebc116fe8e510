//! What tunnel mode copies between the inner and the outer IP header (RFC 4301 §5.1.2, RFC 6040).
//!
//! The outer header itself is the socket's: it is told a traffic class with each packet it sends, and tells one with each
//! packet it receives. The inner TTL is not touched here; whoever forwards the inner packet decrements it.

use wire::ip::{Ecn, Packet, protocol};

use crate::DropReason;

/// What of an inner packet is needed to wrap it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// 4 or 41, for the ESP trailer.
    pub(crate) next_header: u8,
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
}

impl Inner {
    /// Looks at the front of a packet that is about to be sealed.
    pub(crate) fn of(packet: &[u8]) -> Result<Inner, DropReason> {
        match *packet {
            [first, class, ..] if first >> 4 == 4 => {
                Ok(Inner { next_header: protocol::IPV4, traffic_class: class })
            }
            [first, second, ..] if first >> 4 == 6 => {
                Ok(Inner { next_header: protocol::IPV6, traffic_class: first << 4 | second >> 4 })
            }
            _ => Err(DropReason::MalformedInner),
        }
    }
}

/// Carries congestion that the outer header met over to the inner packet, which was just opened (RFC 6040 §4.2).
///
/// A receiver that cannot tell the outer ECN field says [`Ecn::NotCapable`], which changes nothing.
///
/// # Errors
/// The inner packet cannot carry the report and must be dropped, or is no IP packet.
pub fn decapsulate_ecn(inner: &mut [u8], outer: Ecn) -> Result<(), DropReason> {
    if outer == Ecn::NotCapable {
        return Ok(());
    }
    let mut packet = Packet::new(inner).map_err(|_| DropReason::MalformedInner)?;
    match (packet.ecn(), outer) {
        (Ecn::NotCapable, Ecn::CongestionExperienced) => return Err(DropReason::Congestion),
        (Ecn::Capable0 | Ecn::Capable1, Ecn::CongestionExperienced) => {
            packet.set_ecn(Ecn::CongestionExperienced)
        }
        (Ecn::Capable0, Ecn::Capable1) => packet.set_ecn(Ecn::Capable1),
        (Ecn::NotCapable, Ecn::NotCapable | Ecn::Capable0 | Ecn::Capable1)
        | (Ecn::Capable0, Ecn::NotCapable | Ecn::Capable0)
        | (Ecn::Capable1, Ecn::NotCapable | Ecn::Capable0 | Ecn::Capable1)
        | (Ecn::CongestionExperienced, _) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use wire::ip::{Ipv4Header, Ipv6Header};

    fn v4(ecn: Ecn) -> Vec<u8> {
        let header = Ipv4Header {
            dscp: 46,
            ecn,
            total_length: 20,
            identification: 7,
            dont_fragment: true,
            ttl: 64,
            protocol: protocol::NO_NEXT_HEADER,
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
        };
        header.encode().to_vec()
    }

    fn v6(ecn: Ecn) -> Vec<u8> {
        let header = Ipv6Header {
            dscp: 46,
            ecn,
            flow_label: 0xabcde,
            payload_length: 0,
            next_header: protocol::NO_NEXT_HEADER,
            hop_limit: 64,
            source: Ipv6Addr::LOCALHOST,
            destination: Ipv6Addr::LOCALHOST,
        };
        header.encode().to_vec()
    }

    #[test]
    fn inner_packets_tell_their_version_and_traffic_class() {
        let class = 46 << 2 | 0b10;
        assert_eq!(Inner::of(&v4(Ecn::Capable0)), Ok(Inner { next_header: 4, traffic_class: class }));
        assert_eq!(Inner::of(&v6(Ecn::Capable0)), Ok(Inner { next_header: 41, traffic_class: class }));
        for nothing in [&[][..], &[0x45], &[0x55, 0, 0, 0]] {
            assert_eq!(Inner::of(nothing), Err(DropReason::MalformedInner));
        }
    }

    #[test]
    fn congestion_is_carried_over_as_in_figure_4() {
        use Ecn::{Capable0, Capable1, CongestionExperienced as Ce, NotCapable as Not};
        let rows = [
            (Not, [Some(Not), Some(Not), Some(Not), None]),
            (Capable0, [Some(Capable0), Some(Capable0), Some(Capable1), Some(Ce)]),
            (Capable1, [Some(Capable1), Some(Capable1), Some(Capable1), Some(Ce)]),
            (Ce, [Some(Ce), Some(Ce), Some(Ce), Some(Ce)]),
        ];
        for (inner, results) in rows {
            for (outer, expected) in [Not, Capable0, Capable1, Ce].into_iter().zip(results) {
                for (mut packet, expected) in [(v4(inner), expected.map(v4)), (v6(inner), expected.map(v6))] {
                    let result = decapsulate_ecn(&mut packet, outer);
                    match expected {
                        Some(expected) => {
                            assert_eq!((result, packet), (Ok(()), expected), "{inner:?} in {outer:?}")
                        }
                        None => assert_eq!(result, Err(DropReason::Congestion)),
                    }
                }
            }
        }
    }
}
