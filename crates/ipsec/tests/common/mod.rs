//! What the tests are made of: two gateways, their SAs, and inner packets.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod evil;
pub(crate) mod link;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crypto::{Random, Secret};
use ipsec::{Databases, DropReason, Envelope, InboundSa, Opened, OutboundSa, PacketBuf, Tables, Verdict};
use sa::transform::{ENCRYPTION, EncryptionKind, INTEGRITY};
use sa::{
    Direction, Encapsulation, Esn, Handling, Lifetime, Mode, Outer, PolicyAction, PolicyId, PolicySpec,
    Protection, Protocol, SaOp, SaSpec, SelectorPair, Spi,
};
use wire::ip::{Ecn, Flow, Ipv4Header, Ipv6Header, protocol};

/// The policy that all SAs here serve unless a test says otherwise.
pub(crate) const POLICY: PolicyId = PolicyId(1);
/// The SPI of all SAs here unless a test says otherwise.
pub(crate) const SPI: Spi = Spi(0x0012_3456);

/// Octets that look random and are the same in every run.
pub(crate) struct Seeded(pub(crate) u64);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

pub(crate) fn databases() -> Databases {
    Databases::new(Box::new(Seeded(7)))
}

/// Every suite of the transform table that ESP may have.
pub(crate) fn suites() -> Vec<Protection> {
    let macs = || INTEGRITY.iter().filter(|row| !row.is_for_ah_alone());
    let suites = ENCRYPTION.iter().flat_map(|encryption| match encryption.kind {
        EncryptionKind::Aead(_) => vec![Protection::Combined(encryption)],
        EncryptionKind::Cipher(_) => {
            macs().map(|integrity| Protection::Separate { encryption, integrity }).collect()
        }
    });
    suites.collect()
}

pub(crate) fn suite(keyword: &str) -> Protection {
    suites().into_iter().find(|suite| suite.to_string() == keyword).expect("a suite of the transform table")
}

pub(crate) fn pair(local: &str, remote: &str) -> SelectorPair {
    let selector = |text: &str| text.parse().expect("the test's own text");
    SelectorPair { local: selector(local), remote: selector(remote) }
}

/// The two families' traffic between the left and the right network, as the left gateway sees it.
pub(crate) fn left_selectors() -> Vec<SelectorPair> {
    vec![pair("10.1.0.0/16", "10.2.0.0/16"), pair("2001:db8:1::/48", "2001:db8:2::/48")]
}

pub(crate) fn right_selectors() -> Vec<SelectorPair> {
    left_selectors().iter().map(|pair| SelectorPair { local: pair.remote, remote: pair.local }).collect()
}

/// An SA from the left gateway to the right one, seen from either side.
pub(crate) fn spec(direction: Direction, protection: Protection, esn: Esn) -> SaSpec {
    let (left, right) = ("203.0.113.1:4500", "203.0.113.2:4500");
    let (local, remote) = match direction {
        Direction::Outbound => (left, right),
        Direction::Inbound => (right, left),
    };
    let mut key = vec![0; protection.key_len()];
    Seeded(key.len() as u64).fill(&mut key);
    SaSpec {
        direction,
        protocol: Protocol::Esp,
        spi: SPI,
        mode: Mode::Tunnel,
        outer: Outer {
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
            encapsulation: Encapsulation::Udp,
        },
        protection,
        key: Arc::new(Secret::new(key)),
        esn,
        replay_window: 64,
        selectors: match direction {
            Direction::Outbound => left_selectors(),
            Direction::Inbound => right_selectors(),
        },
        lifetime: Lifetime::UNLIMITED,
        policy: POLICY,
        handling: Handling::default(),
    }
}

pub(crate) fn policy(
    id: u32,
    priority: u32,
    action: PolicyAction,
    selectors: Vec<SelectorPair>,
) -> PolicySpec {
    PolicySpec { id: PolicyId(id), priority, selectors, action, device: None }
}

/// The two ends of one SA.
pub(crate) struct Tunnel {
    pub(crate) outbound: OutboundSa,
    pub(crate) inbound: InboundSa,
}

impl Tunnel {
    pub(crate) fn new(protection: Protection, esn: Esn) -> Tunnel {
        Tunnel::of(spec(Direction::Outbound, protection, esn), spec(Direction::Inbound, protection, esn), 0)
    }

    /// Installs both ends the way the daemon does; `used` sequence numbers are behind the sender.
    pub(crate) fn of(outbound: SaSpec, inbound: SaSpec, used: u64) -> Tunnel {
        Tunnel::with(outbound, inbound, used, &v4(&[0; 40]))
    }

    /// The same for SAs that carry `inner`.
    pub(crate) fn of_flow(outbound: SaSpec, inbound: SaSpec, inner: &[u8]) -> Tunnel {
        Tunnel::with(outbound, inbound, 0, inner)
    }

    fn with(outbound: SaSpec, inbound: SaSpec, used: u64, inner: &[u8]) -> Tunnel {
        let (mut left, mut right) = (databases(), databases());
        let id = outbound.id();
        let selectors = outbound.selectors.clone();
        left.apply(SaOp::InstallPolicy(policy(POLICY.0, 1, PolicyAction::Protect, selectors)))
            .expect("a valid policy");
        left.install_outbound(&outbound, used).expect("a valid SA");
        left.apply(SaOp::UseOutbound { policy: POLICY, sa: id }).expect("both exist");
        right.apply(SaOp::InstallSa(Box::new(inbound))).expect("a valid SA");
        let (left, right) = (left.tables(), right.tables());
        Tunnel {
            outbound: protecting_sa(&left, inner).clone(),
            inbound: right.inbound(Protocol::Esp, SPI).expect("just installed").clone(),
        }
    }

    pub(crate) fn seal(&self, inner: &[u8]) -> PacketBuf {
        let mut packet = buffer(inner);
        self.outbound.seal(&mut packet).expect("the SA has room for the packet");
        packet
    }

    pub(crate) fn open(&self, packet: &mut PacketBuf) -> Result<Opened, DropReason> {
        self.inbound.open(packet, &datagram(0))
    }
}

/// What a UDP socket tells of a packet from the left gateway to the right one.
pub(crate) fn datagram(traffic_class: u8) -> Envelope<'static> {
    let (source, destination) = (address("203.0.113.1"), address("203.0.113.2"));
    Envelope::Datagram { source, destination, traffic_class, hop_limit: 61 }
}

/// The SA that the tables put an outbound packet through.
pub(crate) fn protecting_sa<'a>(tables: &'a Tables, inner: &[u8]) -> &'a OutboundSa {
    match tables.classify(&flow(inner), None) {
        Verdict::Protect(sa) => sa,
        other => panic!("not protected: {other:?}"),
    }
}

pub(crate) fn flow(inner: &[u8]) -> Flow {
    Flow::of(inner).expect("a whole packet")
}

pub(crate) fn buffer(octets: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::new(octets.len());
    packet.copy_from(octets).expect("the buffer is made to fit");
    packet
}

/// An IPv4 packet from the left to the right network with an unassigned protocol.
pub(crate) fn v4(payload: &[u8]) -> Vec<u8> {
    v4_between(Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 2, 0, 3), 253, payload)
}

pub(crate) fn v4_between(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv4Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        total_length: (Ipv4Header::LEN + payload.len()) as u16,
        identification: 1,
        dont_fragment: true,
        ttl: 64,
        protocol,
        source,
        destination,
    };
    [&header.encode()[..], payload].concat()
}

/// A packet of either family, without options.
pub(crate) fn packet_between(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => v4_between(source, destination, protocol, payload),
        (IpAddr::V6(source), IpAddr::V6(destination)) => v6_between(source, destination, protocol, payload),
        mixed => panic!("a packet between {mixed:?}"),
    }
}

/// An IPv6 packet from the left to the right network with an unassigned protocol.
pub(crate) fn v6(payload: &[u8]) -> Vec<u8> {
    let left = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    let right = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 3);
    v6_between(left, right, 253, payload)
}

pub(crate) fn v6_between(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        dscp: 0,
        ecn: Ecn::NotCapable,
        flow_label: 0,
        payload_length: payload.len() as u16,
        next_header: protocol,
        hop_limit: 64,
        source,
        destination,
    };
    [&header.encode()[..], payload].concat()
}

/// A UDP packet between any two IPv4 addresses and ports.
pub(crate) fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Vec<u8> {
    let mut segment = [source.1.to_be_bytes(), destination.1.to_be_bytes(), [0, 8], [0, 0]].concat();
    segment.truncate(8);
    v4_between(source.0, destination.0, protocol::UDP, &segment)
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("the test's own text")
}
