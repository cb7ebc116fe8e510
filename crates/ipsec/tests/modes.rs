//! Every mode of ESP and AH, every mix of families, from an inner packet over the wire to the inner packet again.

mod common;

use std::net::IpAddr;

use common::link::{self, Link, Plan, WRAPPER_SPI};
use common::*;
use ipsec::DropReason;
use proptest::prelude::*;
use sa::transform::INTEGRITY;
use sa::{Encapsulation, Esn, Family, Mode, Protection, Protocol};
use wire::ip::{Ecn, Flow, Ipv4, Ipv4Header, Ipv6Header, Packet, checksum, protocol};

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Tunnel), Just(Mode::Transport), Just(Mode::Beet)]
}

fn any_integrity() -> impl Strategy<Value = Protection> {
    (0..INTEGRITY.len()).prop_map(|nth| Protection::Authenticated(&INTEGRITY[nth]))
}

/// ESP in UDP or not, AH, AH around ESP.
fn any_plan() -> impl Strategy<Value = Plan> {
    let esn = prop_oneof![Just(Esn::No), Just(Esn::Yes)];
    let suites = prop::sample::select(suites());
    let common = (any_mode(), any_family(), any_family(), esn, suites, any_integrity(), 0..4u8);
    common.prop_map(|(mode, outer, inner, esn, suite, integrity, kind)| {
        let inner = if mode == Mode::Transport { outer } else { inner };
        let esp = Plan { outer, inner, esn, ..Plan::esp(mode, suite) };
        match kind {
            0 => esp,
            1 => Plan { encapsulation: Encapsulation::Udp, ..esp },
            2 => Plan { wrapper: Some(integrity), ..esp },
            _ => Plan { protocol: Protocol::Ah, protection: integrity, ..esp },
        }
    })
}

/// What an application sends through a plan, with options or extension headers of all sorts.
#[derive(Clone, Debug)]
struct Sent {
    traffic_class: u8,
    hop_limit: u8,
    dont_fragment: bool,
    /// IPv4 options.
    options: Vec<u8>,
    /// IPv6 extension headers: number and octets without the next header and the length.
    extensions: Vec<(u8, Vec<u8>)>,
    payload: Vec<u8>,
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let options = prop_oneof![
        3 => Just(vec![]),
        // Router alert; record route, empty; no operation and timestamp.
        1 => Just(vec![148, 4, 0, 0]),
        1 => Just(vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        1 => Just(vec![1, 1, 1, 1, 68, 8, 5, 0, 0, 0, 0, 0, 148, 4, 0, 0]),
    ];
    let hop_by_hop = Just((protocol::HOP_BY_HOP, vec![5, 2, 0, 0, 1, 0]));
    let changing = Just((protocol::HOP_BY_HOP, vec![0x3e, 4, 9, 9, 9, 9]));
    let destination = Just((protocol::DESTINATION_OPTIONS, vec![1, 4, 0, 0, 0, 0]));
    let extensions = prop_oneof![
        3 => Just(vec![]),
        1 => hop_by_hop.clone().prop_map(|extension| vec![extension]),
        1 => destination.clone().prop_map(|extension| vec![extension]),
        1 => (changing, destination).prop_map(|(first, second)| vec![first, second]),
    ];
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    (any::<u8>(), 1..=255u8, any::<bool>(), options, extensions, payload).prop_map(
        |(traffic_class, hop_limit, dont_fragment, options, extensions, payload)| Sent {
            traffic_class: traffic_class & !0b11,
            hop_limit,
            dont_fragment,
            options,
            extensions,
            payload,
        },
    )
}

impl Sent {
    fn packet(&self, (source, destination): (IpAddr, IpAddr)) -> Vec<u8> {
        let (dscp, ecn) = (self.traffic_class >> 2, Ecn::NotCapable);
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header_len = Ipv4Header::LEN + self.options.len();
                let header = Ipv4Header {
                    dscp,
                    ecn,
                    total_length: (header_len + self.payload.len()) as u16,
                    identification: 77,
                    dont_fragment: self.dont_fragment,
                    ttl: self.hop_limit,
                    protocol: 253,
                    source,
                    destination,
                };
                let mut packet = [&header.encode()[..], &self.options, &self.payload].concat();
                packet[0] = 0x40 | (header_len / 4) as u8;
                packet[10..12].fill(0);
                let checksum = checksum::internet(&packet[..header_len]);
                packet[10..12].copy_from_slice(&checksum.to_be_bytes());
                packet
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut behind = Vec::new();
                for (nth, (_, octets)) in self.extensions.iter().enumerate() {
                    let next = self.extensions.get(nth + 1).map_or(253, |(kind, _)| *kind);
                    behind.extend([next, (octets.len() / 8) as u8]);
                    behind.extend(octets);
                }
                behind.extend(&self.payload);
                let header = Ipv6Header {
                    dscp,
                    ecn,
                    flow_label: 0xabcde,
                    payload_length: behind.len() as u16,
                    next_header: self.extensions.first().map_or(253, |(kind, _)| *kind),
                    hop_limit: self.hop_limit,
                    source,
                    destination,
                };
                [&header.encode()[..], &behind].concat()
            }
            mixed => panic!("a packet between {mixed:?}"),
        }
    }
}

/// Makes equal what sockets choose or do not tell: identification, flow label.
fn without_hidden(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        assert!(Ipv4::new(&packet[..]).expect("a whole packet").has_valid_checksum());
        packet[4..6].fill(0);
        // Don't Fragment is not told by UDP sockets.
        packet[6] = 0;
        packet[10..12].fill(0);
        assert!(header_len <= packet.len());
    } else {
        packet[1] &= 0xf0;
        packet[2..4].fill(0);
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_goes_in_comes_out(plan in any_plan(), sent in prop::collection::vec(any_sent(), 1..4)) {
        let link = Link::new(&plan);
        for sent in sent {
            let inner = sent.packet(plan.inner_addresses());
            let wire = link.send(&inner).expect("it can be sealed");
            let length = link.outbound(&inner).sealed_len(inner.len());
            if sent.options.is_empty() && sent.extensions.is_empty() {
                prop_assert_eq!(wire.len(), length);
            }
            // A NAT or a tunnel shows neither options nor extension headers of what it carries.
            let received = link.receive(&wire).map(|packet| without_hidden(&packet));
            let expected = match (plan.encapsulation, plan.mode, sent.options.is_empty() && sent.extensions.is_empty()) {
                (Encapsulation::Udp, Mode::Transport, false) => None,
                _ => Some(Ok(without_hidden(&inner))),
            };
            if let Some(expected) = expected {
                prop_assert_eq!(received, expected);
            } else {
                let flow = Flow::of(&received.expect("it opens"));
                prop_assert_eq!(flow, Flow::of(&inner));
            }
        }
        prop_assert_eq!(link.refused(), []);
    }
}

/// Tells whether routers may change a bit of a packet with AH (RFC 4302 §3.3.3.1).
fn may_change(packet: &[u8], at: usize, bit: u32) -> bool {
    if packet[0] >> 4 == 4 {
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        match at {
            1 | 6..=8 | 10..=11 => true,
            // Whole options change; which, the generator of the options knows: record route and timestamp.
            20.. if at < header_len => {
                packet[20..header_len].windows(2).any(|kind| kind == [7, 11] || kind == [68, 8])
            }
            _ => false,
        }
    } else {
        match at {
            // The traffic class begins behind the version.
            0 => bit < 4,
            1..=3 | 7 => true,
            // The data of an option that changes on the way, first in the first extension header.
            44..=47 => packet[6] == protocol::HOP_BY_HOP && packet[42] == 0x3e,
            _ => false,
        }
    }
}

fn with_right_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    if packet[0] >> 4 == 4 && header_len >= Ipv4Header::LEN && header_len <= packet.len() {
        packet[10..12].fill(0);
        let checksum = checksum::internet(&packet[..header_len]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_changed_bit_under_ah_is_noticed_unless_it_may_change(
        plan in any_plan().prop_filter("with AH", |plan| plan.protocol == Protocol::Ah || plan.wrapper.is_some()),
        sent in any_sent(), position: prop::sample::Index, bit in 0..8u32,
    ) {
        let link = Link::new(&plan);
        let inner = sent.packet(plan.inner_addresses());
        // Packet number three: no single bit makes zero of it, which would be refused for another reason.
        link.send(&inner).expect("it can be sealed");
        link.send(&inner).expect("it can be sealed");
        let wire = link.send(&inner).expect("it can be sealed");
        let mut changed = wire.clone();
        let at = position.index(wire.len());
        changed[at] ^= 1 << bit;
        let result = link.receive(&with_right_checksum(changed));
        prop_assert!(result.is_err() || may_change(&wire, at, bit), "bit {} of octet {} of {}", bit, at, hex::encode(&wire));
        if result.is_err() {
            // The true packet is as good as ever.
            prop_assert!(link.receive(&wire).is_ok());
        }
    }

    #[test]
    fn a_changed_bit_in_esp_is_noticed(
        plan in any_plan().prop_filter("with ESP alone", |plan| plan.protocol == Protocol::Esp && plan.wrapper.is_none()),
        sent in any_sent(), position: prop::sample::Index, bit in 0..8u32,
    ) {
        let link = Link::new(&plan);
        let inner = sent.packet(plan.inner_addresses());
        link.send(&inner).expect("it can be sealed");
        link.send(&inner).expect("it can be sealed");
        let wire = link.send(&inner).expect("it can be sealed");
        let (_, _, esp) = link::shown(&wire).expect("it is ESP");
        let (front, esp_len) = (wire.len() - esp.len(), esp.len());
        let mut changed = wire.clone();
        changed[front + position.index(esp_len)] ^= 1 << bit;
        // A UDP checksum, which only a packet with IPv6 extension headers has, would notice first.
        if wire[0] >> 4 == 4 || plan.encapsulation == Encapsulation::None {
            let refused = link.receive(&changed).expect_err("it was changed");
            let allowed = [DropReason::Forged, DropReason::UnknownSpi, DropReason::TooOld];
            prop_assert!(allowed.contains(&refused), "{refused:?}");
        }
        prop_assert!(link.receive(&wire).is_ok());
    }
}

#[test]
fn what_is_behind_a_packet_is_no_part_of_it() {
    for mode in [Mode::Tunnel, Mode::Transport, Mode::Beet] {
        for family in [Family::V4, Family::V6] {
            let plan = Plan { outer: family, inner: family, ..Plan::esp(mode, suite("aes128gcm16")) };
            let link = Link::new(&plan);
            let (source, destination) = plan.inner_addresses();
            let inner = packet_between(source, destination, 253, b"the packet");
            let sealed = link.send(&[&inner[..], b"and more"].concat()).expect("it can be sealed");
            assert_eq!(
                link.receive(&sealed).map(|packet| without_hidden(&packet)),
                Ok(without_hidden(&inner))
            );
        }
    }
}

#[test]
fn the_wrapper_is_on_the_outside() {
    let wrapper = Some(Protection::Authenticated(&INTEGRITY[0]));
    let plan = Plan { wrapper, ..Plan::esp(Mode::Tunnel, suite("aes128gcm16")) };
    let link = Link::new(&plan);
    let wire = link.send(&v4(b"x")).expect("it can be sealed");
    let outer = Ipv4::new(&wire[..]).expect("a whole packet");
    assert_eq!(outer.protocol(), protocol::AH);
    assert_eq!(outer.payload()[0], protocol::ESP);
    assert_eq!(outer.payload()[4..8], WRAPPER_SPI.0.to_be_bytes());
    assert_eq!(outer.payload()[28..32], SPI.0.to_be_bytes());
    assert_eq!(Packet::new(&wire[..]).map(|packet| packet.total_length()), Ok(wire.len()));
    assert_eq!(link.receive(&wire), Ok(v4(b"x")));
    // The same ESP packet on its own is not taken.
    let mut alone = wire[..20].to_vec();
    alone[9] = protocol::ESP;
    alone.extend(&wire[20 + 28..]);
    alone[2..4].copy_from_slice(&(wire.len() as u16 - 28).to_be_bytes());
    alone[10..12].fill(0);
    let checksum = checksum::internet(&alone[..20]);
    alone[10..12].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(link.receive(&alone), Err(DropReason::Bundle));
}

/// RFC 4543 §4: the ICV field is an IV and a tag, and the tag covers the IV. GCM of nothing is the model for GMAC.
#[test]
fn gmac_in_ah_never_repeats_an_iv() {
    let gmac = INTEGRITY.iter().find(|row| row.keywords[0] == "aes128gmac").expect("it is in the table");
    let protection = Protection::Authenticated(gmac);
    let plan = Plan { protection, outer: Family::V6, inner: Family::V6, ..Plan::ah(Mode::Transport) };
    let link = Link::new(&plan);
    let key = plan.spec(sa::Direction::Outbound).key;
    let gcm = crypto::aead::AES_128_GCM_16.key(key.as_slice()).expect("16 octets and a salt");
    let sent = Sent {
        traffic_class: 0,
        hop_limit: 9,
        dont_fragment: true,
        options: Vec::new(),
        extensions: Vec::new(),
        payload: vec![7; 33],
    };
    for number in 1..=3u64 {
        let wire = link.send(&sent.packet(plan.inner_addresses())).expect("it can be sealed");
        let (iv, tag) = (Ipv6Header::LEN + 12, Ipv6Header::LEN + 20);
        assert_eq!(wire[iv..tag], number.to_be_bytes());

        let mut authenticated = wire.clone();
        // Traffic class, flow label and hop limit change on the way; the tag covers itself as zeros.
        authenticated[..4].copy_from_slice(&[0x60, 0, 0, 0]);
        authenticated[7] = 0;
        authenticated[tag..tag + 16].fill(0);
        let mut expected = [0; 16];
        gcm.seal(&number.to_be_bytes(), &authenticated, &mut [], &mut expected).expect("short enough");
        assert_eq!(wire[tag..tag + 16], expected);
        assert!(link.receive(&wire).is_ok());
    }
}

/// RFC 6864 §4.1: who sends a packet that others may cut gives it an identification; the inner packet's own header, which an
/// atomic one leaves without, goes out as it is otherwise.
#[test]
fn a_header_with_options_that_goes_out_whole_has_an_identification() {
    let plan = Plan::esp(Mode::Transport, suite("aes128gcm16"));
    let link = Link::new(&plan);
    let sent = Sent {
        traffic_class: 0,
        hop_limit: 64,
        dont_fragment: true,
        options: vec![148, 4, 0, 0],
        extensions: Vec::new(),
        payload: vec![7; 20],
    };
    let mut inner = sent.packet(plan.inner_addresses());
    inner[4..6].fill(0);
    inner[10..12].fill(0);
    let sum = checksum::internet(&inner[..24]);
    inner[10..12].copy_from_slice(&sum.to_be_bytes());
    let wire = link.send(&inner).expect("a sound packet");
    assert_ne!(wire[4..6], [0, 0]);
    assert_eq!(checksum::internet(&wire[..24]), 0);
}
