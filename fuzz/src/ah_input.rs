//! AH and the IP header that it covers: a stranger's packet, and ours with what routers and others do to it.
//!
//! ```text
//!   octet 0            bit 0: who sends it; bit 1: in a tunnel; the others choose an algorithm
//!   stranger's packet  an IP packet with AH somewhere behind its header
//!   ours               octets 1 and 2: an octet that is changed, octet 3: how, if at all; then the inner packet
//! ```

use ipsec::{Content, DropReason, Envelope, Form, Verdict};
use sa::transform::INTEGRITY;
use sa::{Family, Handling, Mode, Protection, Protocol};
use wire::ip::{Flow, Ipv4, Ipv6, Ipv6Header, Packet, protocol};

use crate::sas::{SPI, Sa, Traffic, buffer};

/// Opens a packet. A stranger's never opens; ours does, and as what it was, unless somebody changed it.
pub fn run(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let integrity = &INTEGRITY[usize::from(choice >> 2) % INTEGRITY.len()];
    let sa = Sa {
        protocol: Protocol::Ah,
        mode: if choice & 2 == 0 { Mode::Transport } else { Mode::Tunnel },
        protection: Protection::Authenticated(integrity),
        handling: Handling::default(),
        outer: Family::V4,
        traffic: Traffic::Any,
    };
    if choice & 1 == 0 {
        assert!(!opens(&sa, rest), "a stranger cannot know the key");
    } else if let [high, low, change, inner @ ..] = rest {
        let at = usize::from(u16::from_be_bytes([*high, *low]));
        travel(&sa, inner, at, *change);
    }
}

fn opens(sa: &Sa, packet: &[u8]) -> bool {
    let Some((envelope, octets)) = shown(packet) else { return false };
    let tables = sa.receiver();
    let receiver = tables.inbound(Protocol::Ah, SPI).expect("it was installed");
    receiver.open(&mut buffer(octets), &envelope).is_ok()
}

/// Sends a packet over a wire that may change one octet of it.
fn travel(sa: &Sa, inner: &[u8], at: usize, change: u8) {
    let Ok(flow) = Flow::of(inner) else { return };
    let (left, right) = (sa.sender(), sa.receiver());
    let Verdict::Protect(sender) = left.classify(&flow, None) else {
        panic!("everything is protected");
    };
    let mut packet = buffer(inner);
    let Ok(sealed) = sender.seal(&mut packet) else { return };
    assert_eq!(sealed.form, Form::Packet, "AH covers the header, so it brings it");
    let mut wire = packet.as_slice().to_vec();
    let changed = change != 0 && at < wire.len();
    if changed {
        wire[at] ^= change;
    }
    let Some((envelope, octets)) = shown(&wire) else {
        assert!(changed, "we wrote the header");
        return;
    };
    let mut packet = buffer(octets);
    let receiver = right.inbound(Protocol::Ah, SPI).expect("it was installed");
    match receiver.open(&mut packet, &envelope) {
        Ok(opened) if opened.content == Content::Packet => {
            let opened = Packet::new(packet.as_slice()).expect("it was looked at");
            assert_eq!(opened.total_length(), packet.len());
            if !changed {
                let sent = Packet::new(inner).expect("it has a flow");
                assert_eq!(opened.total_length(), sent.total_length());
                assert_eq!(Flow::of(packet.as_slice()).ok(), Some(flow));
            }
        }
        Ok(_) => {}
        Err(reason) => assert!(changed || reason != DropReason::Forged, "nobody changed the packet"),
    }
}

/// What a raw socket shows of a packet with AH.
fn shown(packet: &[u8]) -> Option<(Envelope<'_>, &[u8])> {
    if packet.first()? >> 4 == 4 {
        let view = Ipv4::new(packet).ok().filter(|view| view.protocol() == protocol::AH)?;
        let payload = &packet[view.header_len()..view.total_length()];
        return Some((Envelope::V4(view), payload));
    }
    let view = Ipv6::new(packet).ok()?;
    let (mut at, mut next) = (Ipv6Header::LEN, view.next_header());
    while let protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS = next {
        (next, at) = (*packet.get(at)?, at + (usize::from(*packet.get(at + 1)?) + 1) * 8);
    }
    let payload = packet.get(at..view.total_length()).filter(|_| next == protocol::AH)?;
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
    Some((Envelope::V6 { header, extensions: &packet[Ipv6Header::LEN..at] }, payload))
}
