//! IP headers: by hand, against each other, and against octets that nobody meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use wire::ip::{
    Ecn, Flow, Fragment, Ipv4, Ipv4Header, Ipv6, Ipv6Header, Packet, Ports, UpperLayer, protocol,
};

/// A ping from 192.0.2.1 to 192.0.2.2, both of its checksums right.
const PING: &str = "4500001c 00010000 4001f6dc c0000201 c0000202 0800f7fe 00000001";

#[test]
fn an_ipv4_packet_by_hand() {
    let bytes = octets(PING);
    let packet = Ipv4::new(&bytes[..]).unwrap();
    assert!(packet.has_valid_checksum());
    assert_eq!((packet.header_len(), packet.total_length(), packet.ttl()), (20, 28, 64));
    assert_eq!(packet.source(), Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(packet.destination(), Ipv4Addr::new(192, 0, 2, 2));
    assert_eq!(packet.payload(), &bytes[20..]);
    let flow = Flow::of(&bytes).unwrap();
    assert_eq!((flow.protocol, flow.ports), (protocol::ICMP, Ports::Icmp { icmp_type: 8, code: 0 }));
}

#[test]
fn the_example_checksum_of_a_header() {
    // The same header as above from its fields: its checksum is f6dc.
    let header = Ipv4Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        total_length: 28,
        identification: 1,
        dont_fragment: false,
        ttl: 64,
        protocol: protocol::ICMP,
        source: Ipv4Addr::new(192, 0, 2, 1),
        destination: Ipv4Addr::new(192, 0, 2, 2),
    };
    assert_eq!(header.encode()[..], octets(PING)[..20]);
}

#[test]
fn octets_behind_a_packet_are_no_part_of_it() {
    let mut bytes = octets(PING);
    bytes.extend([0xee; 10]);
    let packet = Packet::new(&bytes[..]).unwrap();
    assert_eq!(packet.octets(), &bytes[..28]);
}

#[test]
fn an_ipv4_header_that_contradicts_itself_is_refused() {
    let refusal = |at: usize, value: u8| {
        let mut bytes = octets(PING);
        bytes[at] = value;
        Packet::new(&bytes[..]).unwrap_err().to_string()
    };
    assert_eq!(refusal(0, 0x55), "IP packet: Version is 5, but must be 4 or 6");
    assert_eq!(refusal(0, 0x44), "IPv4 header: IHL says 16 octets where there are 20");
    assert_eq!(refusal(3, 19), "IPv4 header: Total Length says 19 octets where there are 20");
    assert_eq!(refusal(3, 29), "IPv4 header: Total Length says 29 octets where there are 28");
    assert_eq!(
        Packet::new(&[][..]).unwrap_err().to_string(),
        "IP packet: Version takes 1 octet, but only 0 are left"
    );
}

#[test]
fn a_later_fragment_hides_its_ports() {
    let mut bytes = octets(PING);
    bytes[6..8].copy_from_slice(&[0x20, 0x00]);
    assert_eq!(Flow::of(&bytes).unwrap().ports, Ports::Icmp { icmp_type: 8, code: 0 });
    bytes[6..8].copy_from_slice(&[0x00, 0x01]);
    let packet = Ipv4::new(&bytes[..]).unwrap();
    assert_eq!((packet.fragment_offset(), packet.upper_layer().fragment), (8, Fragment::Later));
    assert_eq!(Flow::of(&bytes).unwrap().ports, Ports::Opaque);
}

#[test]
fn ipv6_extension_headers_are_followed() {
    // Hop-by-hop options of 8 octets, destination options of 16, then UDP from 53 to 4660.
    let hop_by_hop = "3c00000000000000";
    let destination_options = "1101000000000000 0000000000000000";
    let udp = "00351234 00080000";
    let bytes = ipv6(protocol::HOP_BY_HOP, &[hop_by_hop, destination_options, udp]);
    let found = UpperLayer { protocol: protocol::UDP, offset: 40 + 8 + 16, fragment: Fragment::Whole };
    assert_eq!(Ipv6::new(&bytes[..]).unwrap().upper_layer(), Ok(found));
    let flow = Flow::of(&bytes).unwrap();
    assert_eq!((flow.source_port(), flow.destination_port()), (Some(53), Some(0x1234)));
    assert_eq!(flow.reversed().source_port(), Some(0x1234));
}

#[test]
fn ipv6_fragments_are_told_apart() {
    let udp = "00351234 00080000";
    // Fragment header: UDP next, offset and more, identification 7.
    let whole = ipv6(protocol::FRAGMENT, &["11000000 00000007", udp]);
    assert_eq!(Ipv6::new(&whole[..]).unwrap().upper_layer().unwrap().fragment, Fragment::Whole);
    let first = ipv6(protocol::FRAGMENT, &["11000001 00000007", udp]);
    assert_eq!(Ipv6::new(&first[..]).unwrap().upper_layer().unwrap().fragment, Fragment::First);
    let later = ipv6(protocol::FRAGMENT, &["11000008 00000007", udp]);
    let found = UpperLayer { protocol: protocol::UDP, offset: 48, fragment: Fragment::Later };
    assert_eq!(Ipv6::new(&later[..]).unwrap().upper_layer(), Ok(found));
    assert_eq!(Flow::of(&later).unwrap().ports, Ports::Opaque);
    // What follows the header in a later fragment is data, whatever header the first one begins with.
    let options = ipv6(protocol::FRAGMENT, &["3c000008 00000007", "11ff0000"]);
    let found = UpperLayer { protocol: protocol::DESTINATION_OPTIONS, ..found };
    assert_eq!(Ipv6::new(&options[..]).unwrap().upper_layer(), Ok(found));
}

#[test]
fn esp_and_ah_are_protocols_and_not_extension_headers() {
    // RFC 4301 §4.4.1.1.
    for next in [protocol::ESP, protocol::AH] {
        let bytes = ipv6(next, &["00000100 00000001"]);
        let flow = Flow::of(&bytes).unwrap();
        assert_eq!((flow.protocol, flow.ports), (next, Ports::Absent));
    }
}

#[test]
fn a_chain_of_extension_headers_ends() {
    let empty = ["3c00000000000000"; 9];
    let refusal = Flow::of(&ipv6(protocol::DESTINATION_OPTIONS, &empty)).unwrap_err().to_string();
    assert_eq!(refusal, "IPv6 extension header: more than 8 of headers");
    let refusal = Flow::of(&ipv6(protocol::ROUTING, &["11010000 00000000"])).unwrap_err().to_string();
    assert_eq!(refusal, "IPv6 extension header: options takes 14 octets, but only 6 are left");
}

#[test]
fn eight_extension_headers_are_followed() {
    let mut headers = ["3c00000000000000"; 8];
    headers[7] = "3b00000000000000";
    let flow = Flow::of(&ipv6(protocol::DESTINATION_OPTIONS, &headers)).unwrap();
    assert_eq!((flow.protocol, flow.ports), (protocol::NO_NEXT_HEADER, Ports::Absent));
}

#[test]
fn ports_that_should_be_there_and_are_not_are_refused() {
    let refusal = Flow::of(&ipv6(protocol::TCP, &["0035"])).unwrap_err().to_string();
    assert_eq!(refusal, "transport header: Destination Port takes 2 octets, but only 0 are left");
}

proptest! {
    #[test]
    fn an_ipv4_header_reads_back(header in ipv4_header()) {
        let mut bytes = header.encode().to_vec();
        bytes.resize(header.total_length.into(), 0);
        let packet = Ipv4::new(&bytes[..]).unwrap();
        prop_assert!(packet.has_valid_checksum());
        prop_assert_eq!(packet.header_len(), Ipv4Header::LEN);
        let read = Ipv4Header {
            dscp: packet.dscp(),
            ecn: packet.ecn(),
            total_length: packet.total_length() as u16,
            identification: packet.identification(),
            dont_fragment: packet.dont_fragment(),
            ttl: packet.ttl(),
            protocol: packet.protocol(),
            source: packet.source(),
            destination: packet.destination(),
        };
        prop_assert_eq!(read, header);
    }

    /// Rewriting one header into another field by field gives what writing the other gives, its
    /// checksum included.
    #[test]
    fn ipv4_setters_keep_the_checksum_right(from in ipv4_header(), to in ipv4_header()) {
        let mut bytes = from.encode().to_vec();
        bytes.resize(usize::from(from.total_length.max(to.total_length)), 0);
        let mut packet = Ipv4::new(&mut bytes[..]).unwrap();
        packet.set_dscp(to.dscp);
        packet.set_ecn(to.ecn);
        packet.set_total_length(to.total_length).unwrap();
        packet.set_identification(to.identification);
        if to.dont_fragment { packet.forbid_fragmentation() } else { packet.allow_fragmentation() }
        packet.set_ttl(to.ttl);
        packet.set_protocol(to.protocol);
        packet.set_source(to.source);
        packet.set_destination(to.destination);
        prop_assert!(packet.has_valid_checksum());
        prop_assert_eq!(&bytes[..Ipv4Header::LEN], &to.encode()[..]);
    }

    #[test]
    fn ipv6_setters_write_what_the_header_does(from in ipv6_header(), to in ipv6_header()) {
        let mut bytes = from.encode().to_vec();
        bytes.resize(Ipv6Header::LEN + usize::from(from.payload_length.max(to.payload_length)), 0);
        let mut packet = Ipv6::new(&mut bytes[..]).unwrap();
        packet.set_dscp(to.dscp);
        packet.set_ecn(to.ecn);
        packet.set_payload_length(to.payload_length).unwrap();
        packet.set_next_header(to.next_header);
        packet.set_hop_limit(to.hop_limit);
        packet.set_source(to.source);
        packet.set_destination(to.destination);
        prop_assert_eq!((packet.source(), packet.destination()), (to.source, to.destination));
        prop_assert_eq!((packet.dscp(), packet.ecn()), (to.dscp, to.ecn));
        prop_assert_eq!(packet.flow_label(), from.flow_label);
        let expected = Ipv6Header { flow_label: from.flow_label, ..to };
        prop_assert_eq!(&bytes[..Ipv6Header::LEN], &expected.encode()[..]);
    }

    /// Octets that look enough like a packet to get past the first check.
    #[test]
    fn no_octets_make_a_view_panic(mut bytes in vec(any::<u8>(), 1..200), version in 4u8..=6, honest: bool) {
        bytes[0] = version << 4 | bytes[0] & 0x0f;
        if honest && bytes.len() > 5 {
            let length = bytes.len() as u8;
            bytes[2..6].copy_from_slice(&[0, length, 0, length.saturating_sub(40)]);
        }
        let _ = Flow::of(&bytes);
        if let Ok(packet) = Packet::new(&bytes[..]) {
            prop_assert!(packet.octets().len() <= bytes.len());
            if let Ok(found) = packet.upper_layer() {
                prop_assert!(found.offset <= packet.total_length());
            }
        }
    }

    #[test]
    fn a_flow_reversed_twice_is_itself(source: Ipv4Addr, destination: Ipv4Addr, ports: (u16, u16)) {
        let flow = Flow {
            source: source.into(),
            destination: destination.into(),
            protocol: protocol::TCP,
            ports: Ports::Known { source: ports.0, destination: ports.1 },
        };
        prop_assert_eq!(flow.reversed().reversed(), flow);
        prop_assert_eq!(flow.reversed().source, IpAddr::from(destination));
    }
}

fn ipv4_header() -> impl Strategy<Value = Ipv4Header> {
    let fields = (0..64u8, ecn(), 20..200u16, any::<u16>(), any::<bool>(), any::<u8>(), any::<u8>());
    (fields, any::<Ipv4Addr>(), any::<Ipv4Addr>()).prop_map(|(fields, source, destination)| {
        let (dscp, ecn, total_length, identification, dont_fragment, ttl, protocol) = fields;
        Ipv4Header {
            dscp,
            ecn,
            total_length,
            identification,
            dont_fragment,
            ttl,
            protocol,
            source,
            destination,
        }
    })
}

fn ipv6_header() -> impl Strategy<Value = Ipv6Header> {
    let fields = (0..64u8, ecn(), 0..0x10_0000u32, 0..200u16, any::<u8>(), any::<u8>());
    (fields, any::<Ipv6Addr>(), any::<Ipv6Addr>()).prop_map(|(fields, source, destination)| {
        let (dscp, ecn, flow_label, payload_length, next_header, hop_limit) = fields;
        Ipv6Header { dscp, ecn, flow_label, payload_length, next_header, hop_limit, source, destination }
    })
}

fn ecn() -> impl Strategy<Value = Ecn> {
    (0..4u8).prop_map(Ecn::from_bits)
}

/// An IPv6 packet whose payload is `parts`, one behind the other.
fn ipv6(next_header: u8, parts: &[&str]) -> Vec<u8> {
    let payload = octets(&parts.concat());
    let header = Ipv6Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        flow_label: 0,
        payload_length: payload.len() as u16,
        next_header,
        hop_limit: 64,
        source: Ipv6Addr::LOCALHOST,
        destination: Ipv6Addr::LOCALHOST,
    };
    [&header.encode()[..], &payload].concat()
}

fn octets(hexadecimal: &str) -> Vec<u8> {
    hex::decode(hexadecimal.replace(' ', "")).unwrap()
}
