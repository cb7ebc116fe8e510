//! An IP packet from a host or from the network, and whatever of ours it carries.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use ipsec::{DropCounters, Reassembler, TooBigAnswers, Way};
use wire::ip::{
    Ecn, Flow, Fragment, Fragments, IcmpError, Ipv4, LONGEST_ERROR, Packet, Part, clamp_mss, protocol,
};
use wire::udp::Encapsulated;
use wire::{ah, esp, udp, v2};

/// Reads a packet from its header to its payload, does with it what a gateway does, then rewrites its header.
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
    answer(bytes);
    clamp(bytes.to_vec());
    cut_and_put_together(bytes, &packet);
    rewrite(bytes.to_vec());
}

/// An answer answers nothing that is an error itself, and quotes what it answers.
fn answer(bytes: &[u8]) {
    let error = IcmpError::of(bytes);
    if let Ok(Some(error)) = error {
        let _ = error.quoted_flow();
    }
    let mut out = [0; LONGEST_ERROR];
    if let Some(length) = TooBigAnswers::new().write(bytes, 1400, Instant::now(), &mut out) {
        assert_eq!(error, Ok(None));
        let written = IcmpError::of(&out[..length]).expect("a sound packet").expect("an error");
        assert!(bytes.starts_with(written.quoted));
    }
}

/// What is clamped once needs it no more, and is a packet of the same length.
fn clamp(mut bytes: Vec<u8>) {
    let before = Flow::of(&bytes);
    clamp_mss(&mut bytes, 1000);
    assert_eq!(clamp_mss(&mut bytes, 1000), None);
    assert_eq!(Flow::of(&bytes), before);
}

/// Fragments fit, and make the packet again in any order, here the reverse one.
fn cut_and_put_together(bytes: &[u8], packet: &Packet<&[u8]>) {
    let mtu = 68 + usize::from(bytes[bytes.len() - 1]);
    let Ok(plan) = Fragments::new(bytes, mtu, 7) else { return };
    let (mut reassembler, drops, now) = (Reassembler::default(), DropCounters::default(), Instant::now());
    let mut whole = None;
    for index in (0..plan.count()).rev() {
        let mut fragment = vec![0; plan.fragment_len(index)];
        assert!(fragment.len() <= mtu);
        plan.write(index, &mut fragment);
        whole = reassembler.put(Way::Out(None), &fragment, now, &drops);
        assert!(whole.is_none() || index == 0);
    }
    if Part::of(packet) == Ok(None) && drops.total() == 0 && plan.count() > 1 {
        let whole = whole.expect("all fragments were put in");
        assert_eq!(whole.packet.len(), packet.total_length());
        assert_eq!(Flow::of(&whole.packet), Flow::of(bytes));
    }
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
