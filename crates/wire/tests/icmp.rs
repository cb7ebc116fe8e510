//! ICMP errors: as Scapy makes them, as they are read back, and octets that nobody meant.

use proptest::collection::vec;
use proptest::prelude::*;
use wire::ip::{
    Ecn, Flow, IcmpError, IcmpFault, Ipv4Header, Ipv6Header, LONGEST_ERROR, Packet, Ports, checksum,
    protocol, write_too_big,
};

/// Scapy 2.5: a packet of each version, and what answers it, with an MTU of 1390.
#[test]
fn errors_as_scapy_makes_them() {
    let lines: Vec<Vec<u8>> =
        include_str!("vectors/icmp_too_big.txt").lines().map(|line| hex::decode(line).unwrap()).collect();
    for pair in lines.chunks(2) {
        let mut out = [0xee; LONGEST_ERROR];
        let length = write_too_big(&pair[0], 1390, &mut out).unwrap();
        assert_eq!(out[..length], pair[1]);
    }
}

#[test]
fn a_short_packet_is_quoted_whole_and_a_short_buffer_refused() {
    let packet = udp(false, 10);
    let mut out = [0; 66];
    assert_eq!(write_too_big(&packet, 20, &mut out), Ok(66));
    assert_eq!(IcmpError::of(&out).unwrap().unwrap().quoted, packet);
    let refusal = write_too_big(&packet, 20, &mut out[..65]).unwrap_err().to_string();
    assert_eq!(refusal, "ICMP error: buffer takes 66 octets, but only 65 are left");
}

#[test]
fn errors_are_told_from_queries_and_advice() {
    let fault = |six, icmp_type, code| {
        let message = icmp(six, icmp_type, code);
        IcmpError::of(&message).unwrap().map(|error| error.fault)
    };
    for (icmp_type, code, expected) in [
        (3, 4, Some(IcmpFault::TooBig { mtu: 0x0506 })),
        (3, 1, Some(IcmpFault::Undelivered)),
        (4, 0, Some(IcmpFault::Advice)),
        (5, 1, Some(IcmpFault::Advice)),
        (11, 0, Some(IcmpFault::Undelivered)),
        (12, 0, Some(IcmpFault::Undelivered)),
        (0, 0, None),
        (8, 0, None),
        (13, 0, None),
    ] {
        assert_eq!(fault(false, icmp_type, code), expected, "type {icmp_type} of ICMP");
    }
    for (icmp_type, expected) in [
        (1, Some(IcmpFault::Undelivered)),
        (2, Some(IcmpFault::TooBig { mtu: 0x0304_0506 })),
        (3, Some(IcmpFault::Undelivered)),
        (4, Some(IcmpFault::Undelivered)),
        // RFC 4443 §2.4: an error of an unknown type is one all the same.
        (127, Some(IcmpFault::Undelivered)),
        (128, None),
        (135, None),
        (137, Some(IcmpFault::Advice)),
    ] {
        assert_eq!(fault(true, icmp_type, 0), expected, "type {icmp_type} of ICMPv6");
    }
    assert_eq!(IcmpError::of(&udp(false, 20)), Ok(None));
}

#[test]
fn the_ports_of_a_quoted_packet_are_read_from_its_first_eight_octets() {
    for six in [false, true] {
        let quoted = udp(six, 1000);
        let front = if six { 48 } else { 28 };
        let error = IcmpError { fault: IcmpFault::Undelivered, quoted: &quoted[..front] };
        let flow = error.quoted_flow().unwrap();
        assert_eq!(flow, Flow::of(&quoted).unwrap());
        assert_eq!(flow.ports, Ports::Known { source: 1000, destination: 2000 });
        let error = IcmpError { fault: IcmpFault::Undelivered, quoted: &quoted[..front - 5] };
        assert!(error.quoted_flow().is_err());
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(six: bool, octets in 0usize..2000, mtu: u16) {
        let packet = udp(six, octets);
        let mut out = [0; LONGEST_ERROR];
        let length = write_too_big(&packet, mtu, &mut out).unwrap();
        let longest = if six { 1280 } else { 576 };
        prop_assert!(length <= longest);
        let answer = Packet::new(&out[..length]).unwrap();
        let asked = Packet::new(&packet[..]).unwrap();
        prop_assert_eq!(answer.total_length(), length);
        prop_assert_eq!((answer.source(), answer.destination()), (asked.destination(), asked.source()));
        let error = IcmpError::of(&out[..length]).unwrap().unwrap();
        prop_assert_eq!(error.fault, IcmpFault::TooBig { mtu: mtu.into() });
        prop_assert!(packet.starts_with(error.quoted));
        prop_assert_eq!(error.quoted_flow(), Flow::of(&packet));
        match answer {
            Packet::V4(answer) => {
                prop_assert!(answer.has_valid_checksum());
                prop_assert_eq!(checksum::internet(answer.payload()), 0);
            }
            Packet::V6(answer) => {
                let (source, destination) = (answer.source().into(), answer.destination().into());
                prop_assert_eq!(checksum::transport(source, destination, protocol::ICMPV6, answer.payload()), 0);
            }
        }
    }

    #[test]
    fn no_octets_make_it_panic(mut bytes in vec(any::<u8>(), 1..200), six: bool, mtu: u16) {
        let length = bytes.len() as u8;
        if bytes.len() >= 48 {
            if six {
                bytes[..7].copy_from_slice(&[0x60, 0, 0, 0, 0, length - 40, protocol::ICMPV6]);
            } else {
                bytes[..10].copy_from_slice(&[0x45, 0, 0, length, 0, 0, 0, 0, 64, protocol::ICMP]);
            }
        }
        let _ = write_too_big(&bytes, mtu, &mut [0; LONGEST_ERROR]);
        if let Ok(Some(error)) = IcmpError::of(&bytes) {
            let _ = error.quoted_flow();
        }
        let _ = IcmpError { fault: IcmpFault::Advice, quoted: &bytes }.quoted_flow();
    }
}

fn icmp(six: bool, icmp_type: u8, code: u8) -> Vec<u8> {
    let message = [icmp_type, code, 0, 0, 3, 4, 5, 6];
    packet(six, if six { protocol::ICMPV6 } else { protocol::ICMP }, &message)
}

fn udp(six: bool, octets: usize) -> Vec<u8> {
    let length = (8 + octets) as u16;
    let header = [1000u16, 2000, length, 0].map(u16::to_be_bytes).concat();
    packet(six, protocol::UDP, &[header, vec![0x55; octets]].concat())
}

fn packet(six: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let front = if six {
        let header = Ipv6Header {
            dscp: 0,
            ecn: Ecn::NotCapable,
            flow_label: 5,
            payload_length: payload.len() as u16,
            next_header: protocol,
            hop_limit: 64,
            source: "fd00:1::1".parse().unwrap(),
            destination: "fd00:2::1".parse().unwrap(),
        };
        header.encode().to_vec()
    } else {
        let header = Ipv4Header {
            dscp: 0,
            ecn: Ecn::NotCapable,
            total_length: (20 + payload.len()) as u16,
            identification: 7,
            dont_fragment: true,
            ttl: 64,
            protocol,
            source: [10, 1, 0, 1].into(),
            destination: [10, 2, 0, 1].into(),
        };
        header.encode().to_vec()
    };
    [&front[..], payload].concat()
}
