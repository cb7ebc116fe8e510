//! What is copied between the inner and the outer header (RFC 4301 §5.1.2 and §8.1, RFC 6040, RFC 2983).
//!
//! ```text
//!                      outward                               inward
//!   DSCP               the inner one, or 0                   the outer one, or nothing
//!   ECN                the inner one, or not-ECT             congestion that the outer header met
//!   Don't Fragment     the inner one, set, or clear          nothing
//!   hop limit          tunnel: the host's own                tunnel: nothing
//! ```
//!
//! The inner hop limit is not touched in tunnel mode; whoever forwards the inner packet decrements it.

use sa::{CopyDscp, CopyEcn, DontFragment, Handling};
use wire::ip::{Ecn, Ipv4Header, Ipv6Header, Packet, protocol};

use crate::DropReason;

/// What one SA copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copying {
    dscp: CopyDscp,
    ecn: CopyEcn,
    dont_fragment: DontFragment,
}

/// What the header around a sealed packet says beside addresses, lengths and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterHeader {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Whether routers must not cut the packet up. Of IPv6 packets none may be cut up on the way, whatever this says; it
    /// tells then whether the sender may.
    pub dont_fragment: bool,
    /// Time to live or hop limit; `None` is the host's own choice.
    pub hop_limit: Option<u8>,
}

/// What of an inner packet is needed to wrap it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// 4 or 41: what the packet is to whatever carries it.
    pub(crate) protocol: u8,
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// Whether it must not be cut up on its way; nobody cuts an IPv6 packet up.
    pub(crate) dont_fragment: bool,
}

impl Copying {
    pub(crate) fn new(handling: &Handling) -> Copying {
        Copying { dscp: handling.dscp, ecn: handling.ecn, dont_fragment: handling.dont_fragment }
    }

    /// Gives the outer header of a packet that is about to be sealed.
    pub(crate) fn outward(&self, inner: &Inner) -> OuterHeader {
        let dscp = match self.dscp {
            CopyDscp::Out | CopyDscp::Both => inner.traffic_class & !ECN_BITS,
            CopyDscp::No | CopyDscp::In => 0,
        };
        let ecn = match self.ecn {
            CopyEcn::Yes => inner.traffic_class & ECN_BITS,
            CopyEcn::No => Ecn::NotCapable.to_bits(),
        };
        let dont_fragment = match self.dont_fragment {
            DontFragment::Copy => inner.dont_fragment,
            DontFragment::Set => true,
            DontFragment::Clear => false,
        };
        OuterHeader { traffic_class: dscp | ecn, dont_fragment, hop_limit: None }
    }

    /// Carries over what the outer header has to say to the inner packet, which was just opened.
    ///
    /// A receiver that cannot tell the outer ECN field says [`Ecn::NotCapable`], which changes nothing.
    ///
    /// # Errors
    /// The outer header reports congestion that the inner packet cannot carry on, or there is no IP packet.
    pub(crate) fn inward(&self, inner: &mut [u8], outer_class: u8) -> Result<(), DropReason> {
        let outer_ecn = match self.ecn {
            CopyEcn::Yes => Ecn::from_bits(outer_class),
            CopyEcn::No => Ecn::NotCapable,
        };
        let dscp = match self.dscp {
            CopyDscp::In | CopyDscp::Both => Some(outer_class >> 2),
            CopyDscp::No | CopyDscp::Out => None,
        };
        if outer_ecn == Ecn::NotCapable && dscp.is_none() {
            return Ok(());
        }
        let mut packet = Packet::new(inner).map_err(|_| DropReason::MalformedInner)?;
        if let Some(ecn) = decapsulated(packet.ecn(), outer_ecn)? {
            packet.set_ecn(ecn);
        }
        if let Some(dscp) = dscp {
            packet.set_dscp(dscp);
        }
        Ok(())
    }
}

impl Inner {
    /// Looks at the front of a packet that is about to be sealed.
    pub(crate) fn of(packet: &[u8]) -> Result<Inner, DropReason> {
        match *packet {
            [first, class, _, _, _, _, flags, ..] if first >> 4 == 4 && packet.len() >= Ipv4Header::LEN => {
                Ok(Inner {
                    protocol: protocol::IPV4,
                    traffic_class: class,
                    dont_fragment: flags & V4_DONT_FRAGMENT != 0,
                })
            }
            [first, second, ..] if first >> 4 == 6 && packet.len() >= Ipv6Header::LEN => Ok(Inner {
                protocol: protocol::IPV6,
                traffic_class: first << 4 | second >> 4,
                dont_fragment: true,
            }),
            _ => Err(DropReason::MalformedInner),
        }
    }
}

/// What the inner ECN field becomes, if it changes (RFC 6040 §4.2, figure 4).
fn decapsulated(inner: Ecn, outer: Ecn) -> Result<Option<Ecn>, DropReason> {
    match (inner, outer) {
        (Ecn::NotCapable, Ecn::CongestionExperienced) => Err(DropReason::Congestion),
        (Ecn::Capable0 | Ecn::Capable1, Ecn::CongestionExperienced) => Ok(Some(Ecn::CongestionExperienced)),
        (Ecn::Capable0, Ecn::Capable1) => Ok(Some(Ecn::Capable1)),
        (Ecn::NotCapable, Ecn::NotCapable | Ecn::Capable0 | Ecn::Capable1)
        | (Ecn::Capable0, Ecn::NotCapable | Ecn::Capable0)
        | (Ecn::Capable1, Ecn::NotCapable | Ecn::Capable0 | Ecn::Capable1)
        | (Ecn::CongestionExperienced, _) => Ok(None),
    }
}

const ECN_BITS: u8 = 0b11;
const V4_DONT_FRAGMENT: u8 = 0x40;

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

    fn copying(dscp: CopyDscp, ecn: CopyEcn, dont_fragment: DontFragment) -> Copying {
        Copying { dscp, ecn, dont_fragment }
    }

    #[test]
    fn inner_packets_tell_what_is_copied() {
        let (traffic_class, dont_fragment) = (46 << 2 | 0b10, true);
        let v4_packet = v4(Ecn::Capable0);
        assert_eq!(Inner::of(&v4_packet), Ok(Inner { protocol: 4, traffic_class, dont_fragment }));
        assert_eq!(Inner::of(&v6(Ecn::Capable0)), Ok(Inner { protocol: 41, traffic_class, dont_fragment }));
        for nothing in [&[][..], &[0x45], &[0x55; 40], &v4_packet[..19], &v6(Ecn::Capable0)[..39]] {
            assert_eq!(Inner::of(nothing), Err(DropReason::MalformedInner));
        }
    }

    #[test]
    fn the_outer_header_is_as_the_sa_says() {
        let inner = Inner { protocol: 4, traffic_class: 46 << 2 | 0b11, dont_fragment: true };
        let outer = |dscp, ecn, dont_fragment| {
            let header = copying(dscp, ecn, dont_fragment).outward(&inner);
            (header.traffic_class >> 2, header.traffic_class & 0b11, header.dont_fragment)
        };
        assert_eq!(outer(CopyDscp::Out, CopyEcn::Yes, DontFragment::Copy), (46, 0b11, true));
        assert_eq!(outer(CopyDscp::Both, CopyEcn::No, DontFragment::Clear), (46, 0, false));
        assert_eq!(outer(CopyDscp::In, CopyEcn::Yes, DontFragment::Set), (0, 0b11, true));
        assert_eq!(outer(CopyDscp::No, CopyEcn::No, DontFragment::Clear), (0, 0, false));
        let may_be_cut = Inner { dont_fragment: false, ..inner };
        let copy = copying(CopyDscp::Out, CopyEcn::Yes, DontFragment::Copy);
        assert!(!copy.outward(&may_be_cut).dont_fragment);
    }

    #[test]
    fn the_outer_dscp_goes_in_where_the_sa_says_so() {
        let inward = |dscp, mut packet: Vec<u8>| {
            let copying = copying(dscp, CopyEcn::No, DontFragment::Copy);
            copying.inward(&mut packet, 10 << 2 | 0b11).expect("a whole packet");
            let packet = Packet::new(packet).expect("a whole packet");
            (packet.dscp(), packet.ecn())
        };
        for make in [v4, v6] {
            assert_eq!(inward(CopyDscp::Out, make(Ecn::NotCapable)), (46, Ecn::NotCapable));
            assert_eq!(inward(CopyDscp::No, make(Ecn::Capable0)), (46, Ecn::Capable0));
            assert_eq!(inward(CopyDscp::In, make(Ecn::NotCapable)), (10, Ecn::NotCapable));
            assert_eq!(inward(CopyDscp::Both, make(Ecn::Capable1)), (10, Ecn::Capable1));
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
                    let copying = copying(CopyDscp::Out, CopyEcn::Yes, DontFragment::Copy);
                    let result = copying.inward(&mut packet, outer.to_bits());
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
