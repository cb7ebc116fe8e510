//! Whole packets that Scapy made, in both directions: see `vectors/headers.py`.

mod common;

use std::net::{IpAddr, SocketAddr};

use common::link::{Link, on_the_wire};
use common::*;
use ipsec::{DropReason, Form};
use sa::transform::INTEGRITY;
use sa::{
    Direction, Encapsulation, Esn, Family, Handling, Mode, Outer, PolicyAction, Protection, Protocol, SaOp,
    SaSpec, SelectorPair, TrafficSelector,
};
use wire::ip::{Ipv4Header, Ipv6Header, Packet, checksum, protocol};

struct Vector {
    protocol: Protocol,
    mode: Mode,
    protection: Protection,
    esn: Esn,
    number: u64,
    key: Vec<u8>,
    inner: Vec<u8>,
    wire: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    include_str!("vectors/headers.txt").lines().map(Vector::read).collect()
}

impl Vector {
    fn read(line: &str) -> Vector {
        let fields: Vec<&str> = line.split(' ').collect();
        let [protocol, mode, suite_name, esn, number, key, inner, wire] = fields[..] else {
            panic!("eight fields: {line}");
        };
        let octets = |text: &str| hex::decode(text).expect("hexadecimal");
        Vector {
            protocol: if protocol == "ah" { Protocol::Ah } else { Protocol::Esp },
            mode: if mode == "tunnel" { Mode::Tunnel } else { Mode::Transport },
            protection: match INTEGRITY.iter().find(|row| row.keywords[0] == suite_name) {
                Some(row) => Protection::Authenticated(row),
                None => suite(suite_name),
            },
            esn: if esn == "esn" { Esn::Yes } else { Esn::No },
            number: number.parse().expect("a number"),
            key: octets(key),
            inner: octets(inner),
            wire: octets(wire),
        }
    }

    /// Tells whether Scapy left destination options in the clear that have no routing header behind them. Here they are
    /// protected; RFC 4302 §3.1.1 allows both.
    fn is_placed_otherwise(&self) -> bool {
        self.wire.starts_with(&[0x60])
            && self.wire[6] == protocol::HOP_BY_HOP
            && self.wire[40] == protocol::DESTINATION_OPTIONS
    }

    fn spec(&self, direction: Direction) -> SaSpec {
        let packet = Packet::new(&self.wire[..]).expect("a whole packet");
        let (source, destination) = (packet.source(), packet.destination());
        let (local, remote) = match direction {
            Direction::Outbound => (source, destination),
            Direction::Inbound => (destination, source),
        };
        let at = |address: IpAddr| SocketAddr::new(address, 0);
        let any = |family| SelectorPair {
            local: TrafficSelector::any(family),
            remote: TrafficSelector::any(family),
        };
        SaSpec {
            protocol: self.protocol,
            mode: self.mode,
            outer: Outer { local: at(local), remote: at(remote), encapsulation: Encapsulation::None },
            key: std::sync::Arc::new(crypto::Secret::new(self.key.clone())),
            selectors: vec![any(Family::V4), any(Family::V6)],
            handling: Handling::default(),
            ..spec(direction, self.protection, self.esn)
        }
    }

    fn link(&self) -> Link {
        let (mut left, mut right) = (databases(), databases());
        let outbound = self.spec(Direction::Outbound);
        let protect = policy(POLICY.0, 1, PolicyAction::Protect, outbound.selectors.clone());
        left.apply(SaOp::InstallPolicy(protect)).expect("a valid policy");
        left.install_outbound(&outbound, self.number - 1).expect("a valid SA");
        left.apply(SaOp::UseOutbound { policy: POLICY, sa: outbound.id() }).expect("both exist");
        right.apply(SaOp::InstallSa(Box::new(self.spec(Direction::Inbound)))).expect("a valid SA");
        Link { left: left.tables(), right: right.tables() }
    }
}

#[test]
fn we_seal_what_scapy_seals() {
    let vectors: Vec<Vector> = vectors().into_iter().filter(|vector| !vector.is_placed_otherwise()).collect();
    assert_eq!(vectors.len(), 198);
    for vector in vectors {
        let link = vector.link();
        let sa = link.outbound(&vector.inner);
        let mut packet = buffer(&vector.inner);
        let sealed = sa.seal(&mut packet).expect("it can be sealed");
        let (ours, theirs) = match sealed.form {
            Form::Packet => (packet.as_slice(), &vector.wire[..]),
            Form::Payload(_) => (packet.as_slice(), &vector.wire[vector.wire.len() - packet.len()..]),
        };
        assert_eq!(hex::encode(ours), hex::encode(theirs), "of {}", hex::encode(&vector.inner));
        let on_the_wire = on_the_wire(sa, &sealed, packet.as_slice());
        assert_eq!(on_the_wire.len(), vector.wire.len());
    }
}

#[test]
fn we_open_what_scapy_seals() {
    let mut opened = 0;
    for vector in vectors().iter().filter(|vector| vector.number >> 32 == 0) {
        let link = vector.link();
        assert_eq!(link.receive(&vector.wire).map(hex::encode), Ok(hex::encode(&vector.inner)));
        assert_eq!(link.receive(&vector.wire), Err(DropReason::Replayed));
        opened += 1;
    }
    assert_eq!(opened, 146);
}

#[test]
fn what_routers_change_is_not_authenticated() {
    for vector in vectors().iter().filter(|vector| vector.number >> 32 == 0) {
        let link = vector.link();
        let inner = link.receive(&travelled(&vector.wire)).unwrap_or_else(|reason| {
            panic!("{reason}: {}", hex::encode(travelled(&vector.wire)));
        });
        let expected = match vector.mode {
            Mode::Tunnel => vector.inner.clone(),
            Mode::Transport | Mode::Beet => travelled(&vector.inner),
        };
        assert_eq!(hex::encode(&inner), hex::encode(expected));
    }
}

/// A packet after routers have done to it all that they may.
fn travelled(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[1] ^= 0x54;
        packet[6] ^= 0x40;
        packet[8] -= 3;
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        let mut at = Ipv4Header::LEN;
        while at < header_len && packet[at] != 0 {
            let len = if packet[at] == 1 { 1 } else { usize::from(packet[at + 1]) };
            match packet[at] {
                7 => packet[at + 2..at + len].fill(0xad),
                131 => {
                    packet.copy_within(at + len - 4..at + len, 16);
                    packet[at + 2..at + len].fill(0xad);
                    packet[at + 2] = len as u8 + 1;
                }
                _ => {}
            }
            at += len;
        }
        packet[10..12].fill(0);
        let checksum = checksum::internet(&packet[..header_len]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        packet[1] ^= 0xcf;
        packet[2..4].fill(0x77);
        packet[7] -= 2;
        travel_extensions(&mut packet);
    }
    packet
}

fn travel_extensions(packet: &mut [u8]) {
    let (mut next, mut at) = (packet[6], Ipv6Header::LEN);
    while let protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS = next {
        let len = (usize::from(packet[at + 1]) + 1) * 8;
        match (next, packet[at]) {
            (protocol::ROUTING, _) => {
                // Three routers send it on; each swaps the destination for its successor.
                let mut addresses: Vec<[u8; 16]> = vec![packet[24..40].try_into().expect("16 octets")];
                addresses.extend(packet[at + 8..at + len].as_chunks::<16>().0);
                let last = addresses.pop().expect("an address");
                packet[24..40].copy_from_slice(&last);
                packet[at + 8..at + len].copy_from_slice(addresses.as_flattened());
                packet[at + 3] = 0;
            }
            // The first option is the one that changes on the way, where there is one.
            (protocol::HOP_BY_HOP, _) | (protocol::DESTINATION_OPTIONS, protocol::ROUTING)
                if packet[at + 2] == 0x3e =>
            {
                packet[at + 4..at + 8].fill(0xad);
            }
            _ => {}
        }
        (next, at) = (packet[at], at + len);
    }
}
