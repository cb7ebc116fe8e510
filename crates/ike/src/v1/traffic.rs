//! The traffic of a quick mode: one Identification payload for each end (RFC 2407 §4.6.2, RFC 2409 §5.5).
//!
//! One quick mode carries one pair of selectors, and its responder can take or refuse it but not narrow it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sa::{AddressRange, IpProtocol, PortRange, TrafficSelector};
use wire::registry::IdType;
use wire::v1::Identification;

/// Lays out a selector; `None` is one that IKEv1 cannot say: a range of ports, or only fragments.
pub(crate) fn to_wire(selector: &TrafficSelector) -> Option<Identification> {
    let port = match selector.ports {
        PortRange::ANY => 0,
        ports if ports.start() == ports.end() && ports.start() != 0 => ports.start(),
        _ => return None,
    };
    let (id_type, data) = addresses_to_wire(&selector.addresses);
    Some(Identification { id_type, protocol: selector.protocol.0, port, data })
}

fn addresses_to_wire(addresses: &AddressRange) -> (IdType, Vec<u8>) {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (start, end) = (addresses.start(), addresses.end());
    let forms = match start {
        IpAddr::V4(_) => [IdType::IPV4_ADDR, IdType::IPV4_ADDR_SUBNET, IdType::IPV4_ADDR_RANGE],
        IpAddr::V6(_) => [IdType::IPV6_ADDR, IdType::IPV6_ADDR_SUBNET, IdType::IPV6_ADDR_RANGE],
    };
    match addresses.as_prefix() {
        _ if start == end => (forms[0], octets(start)),
        Some((address, length)) => (forms[1], [octets(address), octets(mask(address, length))].concat()),
        None => (forms[2], [octets(start), octets(end)].concat()),
    }
}

/// Reads a selector; `None` is no traffic that we know: a name, or a mask with holes.
pub(crate) fn from_wire(identification: &Identification) -> Option<TrafficSelector> {
    let Identification { id_type, protocol, port, data } = identification;
    let addresses = match *id_type {
        IdType::IPV4_ADDR | IdType::IPV6_ADDR => AddressRange::host(address(*id_type, data)?),
        IdType::IPV4_ADDR_SUBNET | IdType::IPV6_ADDR_SUBNET => {
            let (network, mask) = halves(*id_type, data)?;
            AddressRange::prefix(network, mask_length(mask)?).ok()?
        }
        IdType::IPV4_ADDR_RANGE | IdType::IPV6_ADDR_RANGE => {
            let (start, end) = halves(*id_type, data)?;
            AddressRange::new(start, end).ok()?
        }
        _ => return None,
    };
    let ports = if *port == 0 { PortRange::ANY } else { PortRange::single(*port) };
    Some(TrafficSelector { addresses, protocol: IpProtocol(*protocol), ports })
}

fn halves(id_type: IdType, data: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let (first, second) = data.split_at(data.len() / 2);
    Some((address(id_type, first)?, address(id_type, second)?))
}

fn address(id_type: IdType, octets: &[u8]) -> Option<IpAddr> {
    match id_type {
        IdType::IPV4_ADDR | IdType::IPV4_ADDR_SUBNET | IdType::IPV4_ADDR_RANGE => {
            <[u8; 4]>::try_from(octets).ok().map(|octets| IpAddr::V4(octets.into()))
        }
        _ => <[u8; 16]>::try_from(octets).ok().map(|octets| IpAddr::V6(octets.into())),
    }
}

fn mask(family: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match family {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(!u32::MAX.checked_shr(length).unwrap_or(0))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(!u128::MAX.checked_shr(length).unwrap_or(0))),
    }
}

fn mask_length(mask: IpAddr) -> Option<u8> {
    let (ones, all) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
    };
    u8::try_from(ones).ok().filter(|_| ones == all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> TrafficSelector {
        text.parse().expect("the test's own text")
    }

    #[test]
    fn selectors_survive_the_wire() {
        for text in [
            "10.1.0.0/16",
            "192.0.2.1[udp/1701]",
            "192.0.2.1[gre]",
            "10.0.0.1-10.0.0.9[tcp/80]",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::/33[ipv6-icmp]",
            "2001:db8::1",
        ] {
            let wire = to_wire(&selector(text)).expect("IKEv1 can say it");
            assert_eq!(from_wire(&wire), Some(selector(text)), "{text}");
        }
    }

    #[test]
    fn a_network_has_a_mask() {
        let wire = to_wire(&selector("10.1.0.0/17")).expect("IKEv1 can say it");
        assert_eq!(
            (wire.id_type, wire.data),
            (IdType::IPV4_ADDR_SUBNET, vec![10, 1, 0, 0, 255, 255, 128, 0])
        );
    }

    #[test]
    fn ranges_of_ports_cannot_be_said() {
        assert_eq!(to_wire(&selector("10.1.0.0/16[tcp/80-90]")), None);
        assert_eq!(to_wire(&selector("10.1.0.0/16[udp/opaque]")), None);
    }

    #[test]
    fn what_is_no_traffic_is_none() {
        let read = |id_type, data: &[u8]| {
            from_wire(&Identification { id_type, protocol: 0, port: 0, data: data.to_vec() })
        };
        assert_eq!(read(IdType::FQDN, b"gw.example"), None);
        assert_eq!(read(IdType::IPV4_ADDR_SUBNET, &[10, 1, 0, 0, 255, 0, 255, 0]), None);
        assert_eq!(read(IdType::IPV4_ADDR_RANGE, &[10, 0, 0, 9, 10, 0, 0, 1]), None);
        assert_eq!(read(IdType::IPV4_ADDR, &[10, 0, 0]), None);
        assert_eq!(read(IdType::IPV6_ADDR_SUBNET, &[]), None);
    }
}
