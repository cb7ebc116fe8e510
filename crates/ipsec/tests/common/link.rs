//! Two gateways and the wire between them: what sockets make of sealed packets, and what other sockets show of them.

use std::net::{IpAddr, SocketAddr};

use ipsec::{Content, DropReason, Envelope, Form, OutboundSa, Sealed, Tables};
use sa::transform::INTEGRITY;
use sa::{
    AddressRange, Direction, Encapsulation, Esn, Family, Handling, Mode, Outer, PolicyAction, Protection,
    Protocol, SaId, SaOp, SaSpec, SelectorPair, Spi, TrafficSelector,
};
use wire::ip::{Ecn, Ipv4, Ipv4Header, Ipv6, Ipv6Header, checksum, protocol};
use wire::udp;

use super::{POLICY, SPI, buffer, databases, policy, spec};

/// The SPI of the AH SA around another.
pub(crate) const WRAPPER_SPI: Spi = Spi(0x0065_4321);

/// How two gateways protect what goes from the left one to the right one.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) protocol: Protocol,
    pub(crate) mode: Mode,
    pub(crate) protection: Protection,
    /// The integrity of the AH SA around an ESP SA, where there is one.
    pub(crate) wrapper: Option<Protection>,
    pub(crate) outer: Family,
    pub(crate) inner: Family,
    pub(crate) encapsulation: Encapsulation,
    pub(crate) esn: Esn,
    pub(crate) handling: Handling,
}

/// The two gateways' databases.
pub(crate) struct Link {
    pub(crate) left: std::sync::Arc<Tables>,
    pub(crate) right: std::sync::Arc<Tables>,
}

impl Plan {
    /// ESP between IPv4 gateways for IPv4 hosts, with no UDP.
    pub(crate) fn esp(mode: Mode, protection: Protection) -> Plan {
        Plan {
            protocol: Protocol::Esp,
            mode,
            protection,
            wrapper: None,
            outer: Family::V4,
            inner: Family::V4,
            encapsulation: Encapsulation::None,
            esn: Esn::No,
            handling: Handling::default(),
        }
    }

    /// AH between IPv4 gateways for IPv4 hosts.
    pub(crate) fn ah(mode: Mode) -> Plan {
        Plan { protocol: Protocol::Ah, ..Plan::esp(mode, Protection::Authenticated(&INTEGRITY[0])) }
    }

    /// The left gateway's address, and the right one's.
    pub(crate) fn outer_addresses(&self) -> (IpAddr, IpAddr) {
        gateways(self.outer)
    }

    /// The addresses that inner packets go between.
    pub(crate) fn inner_addresses(&self) -> (IpAddr, IpAddr) {
        match (self.mode, self.inner) {
            (Mode::Transport, _) => self.outer_addresses(),
            (Mode::Tunnel | Mode::Beet, family) => hosts(family),
        }
    }

    fn selectors(&self, direction: Direction) -> Vec<SelectorPair> {
        let (left, right) = self.inner_addresses();
        let [left, right] = [left, right].map(|address| TrafficSelector::all_of(AddressRange::host(address)));
        vec![match direction {
            Direction::Outbound => SelectorPair { local: left, remote: right },
            Direction::Inbound => SelectorPair { local: right, remote: left },
        }]
    }

    pub(crate) fn spec(&self, direction: Direction) -> SaSpec {
        let (left, right) = self.outer_addresses();
        let (local, remote) = match direction {
            Direction::Outbound => (left, right),
            Direction::Inbound => (right, left),
        };
        let [local, remote] =
            [local, remote].map(|address| SocketAddr::new(address, udp::NAT_TRAVERSAL_PORT));
        let wrapped_by = self.wrapper.and(Some(self.wrapper_id(direction)));
        SaSpec {
            protocol: self.protocol,
            mode: self.mode,
            outer: Outer { local, remote, encapsulation: self.encapsulation },
            selectors: self.selectors(direction),
            handling: Handling { wrapped_by, ..self.handling.clone() },
            ..spec(direction, self.protection, self.esn)
        }
    }

    pub(crate) fn wrapper_spec(&self, direction: Direction, protection: Protection) -> SaSpec {
        SaSpec {
            spi: WRAPPER_SPI,
            protocol: Protocol::Ah,
            mode: Mode::Transport,
            key: spec(direction, protection, self.esn).key,
            protection,
            handling: Handling::default(),
            ..Plan { wrapper: None, ..self.clone() }.spec(direction)
        }
    }

    fn wrapper_id(&self, direction: Direction) -> SaId {
        SaId { direction, protocol: Protocol::Ah, destination: self.outer_addresses().1, spi: WRAPPER_SPI }
    }
}

impl Link {
    pub(crate) fn new(plan: &Plan) -> Link {
        let (mut left, mut right) = (databases(), databases());
        let selectors = plan.selectors(Direction::Outbound);
        let protect = policy(POLICY.0, 1, PolicyAction::Protect, selectors);
        left.apply(SaOp::InstallPolicy(protect)).expect("a valid policy");
        for (side, direction) in [(&mut left, Direction::Outbound), (&mut right, Direction::Inbound)] {
            if let Some(wrapper) = plan.wrapper {
                let wrapper = plan.wrapper_spec(direction, wrapper);
                side.apply(SaOp::InstallSa(Box::new(wrapper))).expect("a valid SA");
            }
            side.apply(SaOp::InstallSa(Box::new(plan.spec(direction)))).expect("a valid SA");
        }
        let sa = plan.spec(Direction::Outbound).id();
        left.apply(SaOp::UseOutbound { policy: POLICY, sa }).expect("both exist");
        Link { left: left.tables(), right: right.tables() }
    }

    /// The left gateway's SA.
    pub(crate) fn outbound(&self, inner: &[u8]) -> &OutboundSa {
        super::protecting_sa(&self.left, inner)
    }

    /// Gives the packet on the wire.
    pub(crate) fn send(&self, inner: &[u8]) -> Result<Vec<u8>, DropReason> {
        let sa = self.outbound(inner);
        let mut packet = buffer(inner);
        let sealed = sa.seal(&mut packet)?;
        Ok(on_the_wire(sa, &sealed, packet.as_slice()))
    }

    /// Gives the inner packet.
    pub(crate) fn receive(&self, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let Some((protocol, envelope, octets)) = shown(packet) else { return Err(DropReason::Header) };
        let spi_at = match protocol {
            Protocol::Esp => 0,
            Protocol::Ah => 4,
        };
        let spi = octets.get(spi_at..spi_at + 4).ok_or(DropReason::UnknownSpi)?;
        let spi = Spi(u32::from_be_bytes(spi.try_into().expect("four octets")));
        let sa = self.right.inbound(protocol, spi)?;
        let mut packet = buffer(octets);
        let admitted = self.right.open(sa, &mut packet, &envelope).map_err(|refused| refused.reason)?;
        assert_eq!(admitted.opened.content, Content::Packet);
        Ok(packet.as_slice().to_vec())
    }

    /// Every drop that the right gateway's SAs have counted.
    pub(crate) fn refused(&self) -> Vec<(DropReason, u64)> {
        let mut drops = Vec::new();
        for (protocol, spi) in [(Protocol::Esp, SPI), (Protocol::Ah, SPI), (Protocol::Ah, WRAPPER_SPI)] {
            if let Ok(sa) = self.right.inbound(protocol, spi) {
                drops.extend(sa.drops().iter().filter(|(_, count)| *count > 0));
            }
        }
        drops
    }
}

/// What a socket makes of what an SA sealed.
pub(crate) fn on_the_wire(sa: &OutboundSa, sealed: &Sealed, octets: &[u8]) -> Vec<u8> {
    let Form::Payload(header) = sealed.form else {
        return octets.to_vec();
    };
    let outer = sa.outer();
    let (upper, payload) = match outer.encapsulation {
        Encapsulation::None => (protocol::ESP, octets.to_vec()),
        Encapsulation::Udp => {
            let length = (udp::Header::LEN + octets.len()) as u16;
            let (source_port, destination_port) = (outer.local.port(), outer.remote.port());
            let udp = udp::Header { source_port, destination_port, length, checksum: 0 };
            (protocol::UDP, [&udp.encode()[..], octets].concat())
        }
    };
    let (dscp, ecn) = (header.traffic_class >> 2, Ecn::from_bits(header.traffic_class));
    let hop_limit = header.hop_limit.unwrap_or(64);
    match (outer.local.ip(), outer.remote.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header {
                dscp,
                ecn,
                total_length: (Ipv4Header::LEN + payload.len()) as u16,
                identification: 0x5eed,
                dont_fragment: header.dont_fragment,
                ttl: hop_limit,
                protocol: upper,
                source,
                destination,
            };
            [&header.encode()[..], &payload].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                dscp,
                ecn,
                flow_label: 0x12345,
                payload_length: payload.len() as u16,
                next_header: upper,
                hop_limit,
                source,
                destination,
            };
            [&header.encode()[..], &payload].concat()
        }
        mixed => panic!("an SA between {mixed:?}"),
    }
}

/// What a socket shows of a packet: its envelope, and what is behind the envelope.
pub(crate) fn shown(packet: &[u8]) -> Option<(Protocol, Envelope<'_>, &[u8])> {
    if packet.first()? >> 4 == 4 {
        let view = Ipv4::new(packet).ok().filter(Ipv4::has_valid_checksum)?;
        let payload = &packet[view.header_len()..view.total_length()];
        match view.protocol() {
            protocol::ESP => Some((Protocol::Esp, Envelope::V4(view), payload)),
            protocol::AH => Some((Protocol::Ah, Envelope::V4(view), payload)),
            protocol::UDP => {
                let ends = (view.source().into(), view.destination().into());
                udp_shown(ends, view.dscp() << 2 | view.ecn().to_bits(), view.ttl(), payload)
            }
            _ => None,
        }
    } else {
        let view = Ipv6::new(packet).ok()?;
        let (mut at, mut next) = (Ipv6Header::LEN, view.next_header());
        while matches!(next, protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS) {
            (next, at) = (*packet.get(at)?, at + (usize::from(*packet.get(at + 1)?) + 1) * 8);
        }
        let payload = packet.get(at..view.total_length())?;
        let header = Ipv6Header {
            dscp: view.dscp(),
            ecn: view.ecn(),
            flow_label: view.flow_label(),
            payload_length: view.payload_length(),
            next_header: view.next_header(),
            hop_limit: view.hop_limit(),
            source: view.source(),
            destination: view.destination(),
        };
        let envelope = Envelope::V6 { header, extensions: &packet[Ipv6Header::LEN..at] };
        match next {
            protocol::ESP => Some((Protocol::Esp, envelope, payload)),
            protocol::AH => Some((Protocol::Ah, envelope, payload)),
            protocol::UDP => {
                let ends = (view.source().into(), view.destination().into());
                udp_shown(ends, view.dscp() << 2 | view.ecn().to_bits(), view.hop_limit(), payload)
            }
            _ => None,
        }
    }
}

fn udp_shown(
    (source, destination): (IpAddr, IpAddr),
    traffic_class: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Option<(Protocol, Envelope<'static>, &[u8])> {
    let (header, datagram) = udp::Header::decode(payload).ok()?;
    if header.checksum != 0 && checksum::transport(source, destination, protocol::UDP, payload) != 0 {
        return None;
    }
    Some((Protocol::Esp, Envelope::Datagram { source, destination, traffic_class, hop_limit }, datagram))
}

pub(crate) fn gateways(family: Family) -> (IpAddr, IpAddr) {
    let (left, right) = match family {
        Family::V4 => ("203.0.113.1", "203.0.113.2"),
        Family::V6 => ("2001:db8:ffff::1", "2001:db8:ffff::2"),
    };
    (super::address(left), super::address(right))
}

pub(crate) fn hosts(family: Family) -> (IpAddr, IpAddr) {
    let (left, right) = match family {
        Family::V4 => ("10.1.0.2", "10.2.0.3"),
        Family::V6 => ("2001:db8:1::2", "2001:db8:2::3"),
    };
    (super::address(left), super::address(right))
}
