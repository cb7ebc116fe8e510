//! Compressed payloads: those of a peer that means no good, and our own.
//!
//! ```text
//!   octet 0     bit 0: whose; bit 1: in a tunnel, or between hosts
//!   a peer's    an IPComp header and what it says is deflated, then the ESP trailer
//!   ours        what an inner packet carries
//! ```

use ipsec::{DropReason, Envelope, Form, Verdict, limits};
use sa::{Cpi, Family, Handling, Mode, Protocol};
use wire::ip::{Ecn, Flow, Ipv4Header, Packet};

use crate::sas::{SPI, Sa, Traffic, buffer, esp_suite};

/// Decompresses; what comes out is a whole IP packet and no longer than one can be.
pub fn run(input: &[u8]) {
    let Some((choice, octets)) = input.split_first() else { return };
    let sa = Sa {
        protocol: Protocol::Esp,
        mode: if choice & 2 == 0 { Mode::Tunnel } else { Mode::Transport },
        protection: esp_suite(0),
        handling: Handling { compression: Some(Cpi(2)), ..Handling::default() },
        outer: Family::V4,
        traffic: Traffic::Any,
    };
    if choice & 1 == 0 {
        open(&sa, octets);
    } else {
        there_and_back(&sa, octets);
    }
}

fn open(sa: &Sa, plaintext: &[u8]) {
    let tables = sa.receiver();
    let receiver = tables.inbound(Protocol::Esp, SPI).expect("it was installed");
    let mut packet = buffer(&sa.seal_evil(plaintext));
    match receiver.open(&mut packet, &envelope()) {
        Ok(_) => {
            let inner = Packet::new(packet.as_slice()).expect("it was looked at");
            assert_eq!(inner.total_length(), packet.len());
            assert!(packet.len() <= limits::DECOMPRESSED_OCTETS);
        }
        Err(reason) => {
            assert_ne!(reason, DropReason::Forged);
            assert_eq!(receiver.packets(), 0);
        }
    }
}

fn there_and_back(sa: &Sa, payload: &[u8]) {
    let Ok(total_length) = u16::try_from(Ipv4Header::LEN + payload.len()) else { return };
    let header = Ipv4Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        total_length,
        identification: 9,
        dont_fragment: false,
        ttl: 64,
        protocol: 253,
        source: [203, 0, 113, 1].into(),
        destination: [203, 0, 113, 2].into(),
    };
    let inner = [&header.encode()[..], payload].concat();
    let (left, right) = (sa.sender(), sa.receiver());
    let flow = Flow::of(&inner).expect("a whole packet");
    let Verdict::Protect(sender) = left.classify(&flow, None) else {
        panic!("everything is protected");
    };
    let mut packet = buffer(&inner);
    let Ok(sealed) = sender.seal(&mut packet) else { return };
    assert!(matches!(sealed.form, Form::Payload(_)));
    assert!(packet.len() + Ipv4Header::LEN <= sender.sealed_len(inner.len()), "compressed is never longer");
    let receiver = right.inbound(Protocol::Esp, SPI).expect("it was installed");
    receiver.open(&mut packet, &envelope()).expect("it was just sealed");
    assert!(packet.as_slice().ends_with(payload));
    assert_eq!(packet.len(), inner.len());
}

fn envelope() -> Envelope<'static> {
    Envelope::Datagram {
        source: [203, 0, 113, 1].into(),
        destination: [203, 0, 113, 2].into(),
        traffic_class: 0,
        hop_limit: 64,
    }
}
