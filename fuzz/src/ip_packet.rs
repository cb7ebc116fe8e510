//! An IP packet from a host or from the network, and whatever of ours it carries.

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::ip::{Ecn, Flow, Fragment, Ipv4, Packet, protocol};
use wire::udp::Encapsulated;
use wire::{ah, esp, udp, v2};

/// Reads a packet from its header to its payload, then rewrites its header.
pub fn run(bytes: &[u8]) {
    let flow = Flow::of(bytes);
    let Ok(packet) = Packet::new(bytes) else {
        assert!(flow.is_err());
        return;
    };
    assert_eq!(packet.octets().len(), packet.total_length());
    if let Ok(found) = packet.upper_layer() {
        let payload = &packet.octets()[found.offset..];
        match found.fragment {
            Fragment::Whole => read_payload(found.protocol, payload),
            Fragment::First | Fragment::Later => {}
        }
    }
    if let Ok(flow) = flow {
        assert_eq!((flow.source, flow.destination), (packet.source(), packet.destination()));
        assert_eq!(flow.reversed().reversed(), flow);
    }
    rewrite(bytes.to_vec());
}

fn read_payload(protocol: u8, payload: &[u8]) {
    match protocol {
        protocol::UDP => {
            let Ok((header, datagram)) = udp::Header::decode(payload) else { return };
            assert_eq!(header.encode(), payload[..udp::Header::LEN]);
            if let Ok(Encapsulated::Ike(message)) = Encapsulated::classify(datagram) {
                let _ = v2::decode(message);
            }
        }
        protocol::ESP => {
            let Ok(header) = esp::Header::decode(payload) else { return };
            assert_eq!(header.encode(), payload[..esp::HEADER_LEN]);
            // As if the cipher were none.
            if let Ok(trailer) = esp::Trailer::decode(&payload[esp::HEADER_LEN..]) {
                assert!(trailer.payload_len + esp::TRAILER_LEN <= payload.len() - esp::HEADER_LEN);
            }
        }
        protocol::AH => {
            let Ok(header) = ah::Header::decode(payload) else { return };
            assert_eq!(ah::FIXED_LEN + header.icv.len() + header.payload.len(), payload.len());
        }
        _ => {}
    }
}

/// Rewriting a header must leave a valid packet valid, checksum and all.
fn rewrite(mut bytes: Vec<u8>) {
    let checksum_was_valid = Ipv4::new(&bytes[..]).is_ok_and(|packet| packet.has_valid_checksum());
    let length = match Packet::new(&mut bytes[..]).expect("it was valid before") {
        Packet::V4(mut packet) => {
            packet.set_source(Ipv4Addr::BROADCAST);
            packet.set_destination(Ipv4Addr::UNSPECIFIED);
            packet.set_dscp(46);
            packet.set_ecn(Ecn::CongestionExperienced);
            packet.set_ttl(packet.ttl().wrapping_sub(1));
            packet.set_protocol(protocol::ESP);
            packet.set_identification(0xffff);
            packet.forbid_fragmentation();
            assert_eq!(packet.has_valid_checksum(), checksum_was_valid);
            packet.payload_mut().fill(0);
            packet.total_length()
        }
        Packet::V6(mut packet) => {
            packet.set_source(Ipv6Addr::LOCALHOST);
            packet.set_destination(Ipv6Addr::UNSPECIFIED);
            packet.set_dscp(46);
            packet.set_ecn(Ecn::CongestionExperienced);
            packet.set_hop_limit(packet.hop_limit().wrapping_sub(1));
            packet.set_next_header(protocol::NO_NEXT_HEADER);
            packet.payload_mut().fill(0);
            packet.total_length()
        }
    };
    let rewritten = Packet::new(&bytes[..]).expect("a rewritten header is valid");
    assert_eq!((rewritten.total_length(), rewritten.dscp()), (length, 46));
    assert_eq!(rewritten.ecn(), Ecn::CongestionExperienced);
}
