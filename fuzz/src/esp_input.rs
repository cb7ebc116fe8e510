//! ESP packets for an SA: a stranger's, and those of a peer that holds the key and means no good.
//!
//! ```text
//!   octet 0             bit 0: who sends it; the others choose a suite
//!   stranger's packet   SPI, sequence number, IV, ciphertext, ICV
//!   peer's packet       what is to be encrypted, down to the next header
//! ```

use ipsec::{Content, DropReason, Envelope};
use sa::{AddressRange, Family, Handling, Mode, Protocol};
use wire::ip::{Ecn, Flow, Packet, protocol};

use crate::sas::{NETWORKS, SPI, Sa, Traffic, buffer, esp_suite};

/// Opens a packet; what comes out of it must be a whole IP packet of the SA's traffic, and must come out once.
pub fn run(input: &[u8]) {
    let Some((choice, octets)) = input.split_first() else { return };
    let sa = Sa {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        protection: esp_suite(usize::from(choice >> 1)),
        handling: Handling::default(),
        outer: Family::V4,
        traffic: Traffic::Networks,
    };
    let tables = sa.receiver();
    let receiver = tables.inbound(Protocol::Esp, SPI).expect("it was just installed");
    if choice & 1 == 0 {
        let opened = receiver.open(&mut buffer(octets), &envelope(Ecn::NotCapable));
        assert!(opened.is_err(), "a stranger cannot know the key");
        assert_eq!(receiver.packets(), 0);
    } else {
        let sealed = sa.seal_evil(octets);
        let mut packet = buffer(&sealed);
        match receiver.open(&mut packet, &envelope(Ecn::CongestionExperienced)) {
            Ok(opened) => check_inner(packet.as_slice(), opened.content),
            Err(reason) => assert_ne!(reason, DropReason::Forged),
        }
        let again = receiver.open(&mut buffer(&sealed), &envelope(Ecn::NotCapable));
        assert_eq!(again, Err(DropReason::Replayed));
    }
}

fn check_inner(inner: &[u8], content: Content) {
    let packet = Packet::new(inner).expect("an opened packet has been read already");
    assert_eq!(packet.total_length(), inner.len());
    assert_eq!(packet.ecn(), Ecn::CongestionExperienced);
    let flow = Flow::of(inner).expect("it has been read already");
    let within =
        |network: &str, address| network.parse::<AddressRange>().expect("a prefix").contains(address);
    let is_ours =
        NETWORKS.iter().any(|[left, right]| within(left, flow.source) && within(right, flow.destination));
    // An error comes from a router, which no selector knows.
    let is_error = matches!(flow.protocol, protocol::ICMP | protocol::ICMPV6);
    assert!(is_ours || is_error && content == Content::Packet);
}

/// What a UDP socket tells.
fn envelope(ecn: Ecn) -> Envelope<'static> {
    Envelope::Datagram {
        source: [203, 0, 113, 1].into(),
        destination: [203, 0, 113, 2].into(),
        traffic_class: ecn.to_bits(),
        hop_limit: 64,
    }
}
