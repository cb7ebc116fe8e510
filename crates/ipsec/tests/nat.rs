//! Transport mode through a NAT: checksums that cover the addresses before it (RFC 3948 §3.1.2).

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::*;
use ipsec::{Envelope, Form};
use proptest::prelude::*;
use sa::{
    AddressRange, Direction, Encapsulation, Esn, Handling, Mode, OriginalAddresses, Outer, PolicyAction,
    SaOp, SaSpec, SelectorPair, TrafficSelector,
};
use wire::ip::{checksum, protocol};

/// Who sends, what the receiver sees, and what the sender calls the receiver.
#[derive(Clone, Copy, Debug)]
struct Nat {
    inside: IpAddr,
    outside: IpAddr,
    receiver: IpAddr,
    receiver_as_called: IpAddr,
}

fn any_nat() -> impl Strategy<Value = Nat> {
    let v4 = any::<[u32; 4]>().prop_map(|bits| bits.map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))));
    let v6 = any::<[u128; 4]>().prop_map(|bits| bits.map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))));
    prop_oneof![v4, v6].prop_map(|[inside, outside, receiver, receiver_as_called]| Nat {
        inside,
        outside,
        receiver,
        receiver_as_called,
    })
}

impl Nat {
    /// The SA that goes from inside to the receiver, seen from either end.
    fn spec(&self, direction: Direction) -> SaSpec {
        let (local, remote) = match direction {
            Direction::Outbound => (self.inside, self.receiver_as_called),
            Direction::Inbound => (self.receiver, self.outside),
        };
        let original = OriginalAddresses { local: self.receiver_as_called, remote: self.inside };
        let host = |address| TrafficSelector::all_of(AddressRange::host(address));
        SaSpec {
            mode: Mode::Transport,
            outer: Outer {
                local: (local, 4500).into(),
                remote: (remote, 4500).into(),
                encapsulation: Encapsulation::Udp,
            },
            selectors: vec![SelectorPair { local: host(local), remote: host(remote) }],
            handling: Handling { original: Some(original), ..Handling::default() },
            ..spec(direction, suite("aes128gcm16"), Esn::No)
        }
    }

    /// Sends a packet from inside and gives it as the receiver gets it.
    fn pass(&self, protocol: u8, segment: &[u8]) -> Vec<u8> {
        self.pass_to(self.spec(Direction::Inbound), protocol, segment)
    }

    /// The same, if the receiver does not know which addresses the packet had.
    fn pass_untold(&self, protocol: u8, segment: &[u8]) -> Vec<u8> {
        self.pass_to(
            SaSpec { handling: Handling::default(), ..self.spec(Direction::Inbound) },
            protocol,
            segment,
        )
    }

    fn pass_to(&self, inbound: SaSpec, protocol: u8, segment: &[u8]) -> Vec<u8> {
        let inner = packet_between(self.inside, self.receiver_as_called, protocol, segment);
        let tunnel = Tunnel::of_flow(self.spec(Direction::Outbound), inbound, &inner);
        let mut packet = buffer(&inner);
        tunnel.outbound.seal(&mut packet).expect("a whole packet");
        let envelope = Envelope::Datagram {
            source: self.outside,
            destination: self.receiver,
            traffic_class: 0,
            hop_limit: 60,
        };
        tunnel.inbound.open(&mut packet, &envelope).expect("it was just sealed");
        packet.as_slice().to_vec()
    }
}

/// Where each protocol has its checksum.
const COVERING: [(u8, usize); 5] = [
    (protocol::TCP, 16),
    (protocol::UDP, 6),
    (protocol::ICMPV6, 2),
    (protocol::UDP_LITE, 6),
    (protocol::DCCP, 6),
];

proptest! {
    #[test]
    fn a_checksum_that_was_right_is_right(
        nat in any_nat(), choice in 0..COVERING.len(), mut segment in prop::collection::vec(any::<u8>(), 20..300),
    ) {
        let (protocol, at) = COVERING[choice];
        segment[at..at + 2].fill(0);
        let sum = checksum::transport(nat.inside, nat.receiver_as_called, protocol, &segment);
        let sum = if sum == 0 && protocol == protocol::UDP { 0xffff } else { sum };
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        // Of the last two it is not known what they cover.
        let untold = (choice < COVERING.len() - 2).then(|| nat.pass_untold(protocol, &segment));
        for received in [Some(nat.pass(protocol, &segment)), untold].into_iter().flatten() {
            let received = &received[received.len() - segment.len()..];
            // The model: as a receiver checks it, over the addresses that it sees.
            prop_assert_eq!(checksum::transport(nat.outside, nat.receiver, protocol, received), 0);
            prop_assert!(protocol != protocol::UDP || received[at..at + 2] != [0, 0]);
            let mut others = received.to_vec();
            others[at..at + 2].copy_from_slice(&segment[at..at + 2]);
            prop_assert_eq!(&others, &segment, "nothing else changes");
        }
    }

    #[test]
    fn a_checksum_that_was_wrong_stays_wrong(
        nat in any_nat(), mut segment in prop::collection::vec(any::<u8>(), 20..60), error in 1..0xffffu16,
    ) {
        segment[16..18].fill(0);
        let right = checksum::transport(nat.inside, nat.receiver_as_called, protocol::TCP, &segment);
        let wrong = checksum::update(right, 0, error);
        segment[16..18].copy_from_slice(&wrong.to_be_bytes());
        let received = nat.pass(protocol::TCP, &segment);
        let received = &received[received.len() - segment.len()..];
        prop_assert_ne!(checksum::transport(nat.outside, nat.receiver, protocol::TCP, received), 0);
    }

    #[test]
    fn what_has_no_checksum_over_addresses_is_left_alone(
        nat in any_nat(), protocol in prop::sample::select(vec![protocol::SCTP, protocol::ICMP, 47u8, 253]),
        segment in prop::collection::vec(any::<u8>(), 4..60),
    ) {
        prop_assert!(nat.pass(protocol, &segment).ends_with(&segment));
        prop_assert!(nat.pass_untold(protocol, &segment).ends_with(&segment));
    }
}

#[test]
fn a_udp_datagram_without_checksum_gets_none() {
    let nat = Nat {
        inside: address("192.168.1.2"),
        outside: address("198.51.100.1"),
        receiver: address("203.0.113.2"),
        receiver_as_called: address("203.0.113.2"),
    };
    let segment = [0x0f, 0xa0, 0x00, 0x35, 0, 9, 0, 0, b'x'];
    assert!(nat.pass(protocol::UDP, &segment).ends_with(&segment));
    assert!(nat.pass_untold(protocol::UDP, &segment).ends_with(&segment));
}

#[test]
fn a_segment_too_short_for_its_checksum_passes_as_it_is() {
    let nat = Nat {
        inside: address("192.168.1.2"),
        outside: address("198.51.100.1"),
        receiver: address("203.0.113.2"),
        receiver_as_called: address("203.0.113.2"),
    };
    for octets in 4..18 {
        let segment = vec![5; octets];
        assert!(nat.pass(protocol::TCP, &segment).ends_with(&segment));
        assert!(nat.pass_untold(protocol::TCP, &segment).ends_with(&segment));
    }
}

#[test]
fn connections_keep_their_addresses_when_the_nat_takes_others() {
    let nat = Nat {
        inside: address("192.168.1.2"),
        outside: address("198.51.100.1"),
        receiver: address("203.0.113.2"),
        receiver_as_called: address("203.0.113.2"),
    };
    // From inside, through a NAT that has come to use another address.
    let segment = [0x0f, 0xa0, 0x00, 0x35, 0, 9, 0, 0, b'x'];
    let inner = packet_between(nat.inside, nat.receiver, protocol::UDP, &segment);
    let tunnel = Tunnel::of_flow(nat.spec(Direction::Outbound), nat.spec(Direction::Inbound), &inner);
    let mut packet = buffer(&inner);
    tunnel.outbound.seal(&mut packet).expect("a whole packet");
    let envelope = Envelope::Datagram {
        source: address("198.51.100.77"),
        destination: nat.receiver,
        traffic_class: 0,
        hop_limit: 60,
    };
    tunnel.inbound.open(&mut packet, &envelope).expect("whoever holds the key is the peer");
    assert_eq!(flow(packet.as_slice()).source, nat.outside);

    // And back: to the address that the connection knows, through the one where the peer is now.
    let mut databases = databases();
    let answers = SaSpec { direction: Direction::Outbound, ..nat.spec(Direction::Inbound) };
    let moved = Outer { remote: (address("198.51.100.77"), 61_000).into(), ..answers.outer };
    let selectors = answers.selectors.clone();
    for op in [
        SaOp::InstallPolicy(policy(POLICY.0, 1, PolicyAction::Protect, selectors)),
        SaOp::InstallSa(Box::new(answers.clone())),
        SaOp::UseOutbound { policy: POLICY, sa: answers.id() },
        SaOp::MoveSa { sa: answers.id(), outer: moved },
    ] {
        databases.apply(op).expect("a valid order");
    }
    let answer = packet_between(nat.receiver, nat.outside, protocol::UDP, &segment);
    let tables = databases.tables();
    let sealed = protecting_sa(&tables, &answer).seal(&mut buffer(&answer)).expect("a whole packet");
    assert!(matches!(sealed.form, Form::Payload(_)), "it goes where the SA's peer is");
}
