//! What is learned of the path, and what becomes of packets that are too long for it.

use std::net::IpAddr;
use std::time::Duration;

use ipsec::limits::PATH_MTU_AGE;
use ipsec::{DropCounters, Reassembler, Way};
use sa::SegmentSize;
use wire::ip::{Fragments, IcmpError, IcmpFault, LONGEST_ERROR, Packet, Part, checksum, write_too_big};

use super::*;

/// The IPv4 packets that a gateway has sent without UDP, as the network sees them.
fn outer_packets(gateway: &Gateway) -> Vec<Vec<u8>> {
    let sent = gateway.sockets[RAW].sends.drain();
    sent.iter()
        .map(|datagram| {
            let address = |of: SocketAddr| match of.ip() {
                IpAddr::V4(address) => address,
                IpAddr::V6(_) => panic!("the lines are IPv4"),
            };
            let header = Ipv4Header {
                dscp: datagram.traffic_class >> 2,
                ecn: Ecn::from_bits(datagram.traffic_class),
                total_length: 20 + datagram.octets.len() as u16,
                identification: 0,
                dont_fragment: datagram.dont_fragment,
                ttl: 64,
                protocol: 50,
                source: address(datagram.source),
                destination: address(datagram.destination),
            };
            [&header.encode()[..], &datagram.octets].concat()
        })
        .collect()
}

/// Lets a router tell the gateway that `packet` was too long.
fn report(gateway: &mut Gateway, packet: &[u8], mtu: u16) {
    let mut octets = vec![0; LONGEST_ERROR];
    let length = write_too_big(packet, mtu, &mut octets).expect("a sound packet");
    octets.truncate(length);
    gateway.sockets[ERRORS].receives.push(Datagram {
        source: SocketAddr::new(ip("198.51.100.1"), 0),
        destination: SocketAddr::new(ip(LEFT), 0),
        traffic_class: 0,
        dont_fragment: true,
        segment_size: length,
        octets,
    });
    gateway.run();
}

fn path(gateway: &Gateway) -> Option<usize> {
    gateway.control.shared().paths().octets(ip(RIGHT))
}

#[test]
fn a_router_is_believed_if_it_quotes_a_packet_of_ours() {
    let (mut left, _right) = tunnel(Encapsulation::None, Trains::Taken);
    left.tun.push(WHOLE, plain(&[7; 1400]));
    left.run();
    let [packet] = &outer_packets(&left)[..] else { panic!("one packet") };
    let mut forged = packet.clone();
    forged[20] ^= 1;
    report(&mut left, &forged, 1300);
    assert_eq!(path(&left), Some(usize::from(u16::MAX)));
    report(&mut left, packet, 1300);
    assert_eq!(path(&left), Some(1300));
    left.pipeline.expire(left.now + PATH_MTU_AGE);
    assert_eq!(path(&left), Some(usize::from(u16::MAX)));
}

#[test]
fn the_first_link_is_asked_for_with_each_sa_and_when_it_may_have_changed() {
    let (mut left, _right) = gateways(Trains::Taken);
    let set = |gateway: &Gateway, mtu| *gateway.link.lock().expect("no other thread") = Some(mtu);
    set(&left, 1500);
    left.apply(SaOp::InstallPolicy(policy(End::Left, PolicyAction::Protect)));
    install(&mut left, End::Left, Encapsulation::None);
    assert_eq!(path(&left), Some(1500));
    set(&left, 9000);
    left.pipeline.expire(left.now + PATH_MTU_AGE - Duration::from_secs(1));
    assert_eq!(path(&left), Some(1500));
    left.pipeline.expire(Instant::now() + PATH_MTU_AGE);
    assert_eq!(path(&left), Some(9000));
}

/// Octets in front of the ESP packet on the wire.
fn lead(encapsulation: Encapsulation) -> usize {
    match encapsulation {
        Encapsulation::Udp => 28,
        Encapsulation::None => 20,
    }
}

/// Lets `left` know what its path takes.
fn narrow(left: &mut Gateway, mtu: usize) {
    left.control.shared().paths().set_link(ip(RIGHT), mtu, left.now);
}

fn udp(ports: (u16, u16), octets: usize, may_be_cut: bool) -> Vec<u8> {
    let length = (8 + octets) as u16;
    let header = [ports.0, ports.1, length, 0].map(u16::to_be_bytes).concat();
    let data: Vec<u8> = (0..octets).map(|at| (at * 31) as u8).collect();
    let mut packet = packet("10.1.0.1", "10.2.0.1", Ecn::NotCapable, &[header, data].concat());
    let mut view = Ipv4::new(&mut packet[..]).expect("a sound packet");
    view.set_protocol(17);
    if may_be_cut {
        view.allow_fragmentation();
    }
    packet
}

/// What comes out at `right` once all fragments are put together.
fn arrived(right: &Gateway) -> Vec<Vec<u8>> {
    let (mut reassembler, drops) = (Reassembler::default(), DropCounters::default());
    let mut whole = Vec::new();
    for (header, packet) in right.tun.written() {
        assert_eq!(header, WHOLE);
        let view = Packet::new(&packet[..]).expect("a sound packet");
        if Part::of(&view) == Ok(None) {
            whole.push(packet);
        } else {
            let way = Way::Out(None);
            whole.extend(reassembler.put(way, &packet, right.now, &drops).map(|whole| whole.packet));
        }
    }
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a path takes: what leaves fits it, and a packet either arrives as it was or its sender is told a length that
    /// passes, and than which no greater does.
    #[test]
    fn packets_fit_their_path_or_their_sender_is_told(
        mtu in 576usize..1600,
        octets in 0usize..1450,
        may_be_cut: bool,
        bare: bool,
    ) {
        let encapsulation = if bare { Encapsulation::None } else { Encapsulation::Udp };
        let (mut left, mut right) = tunnel(encapsulation, Trains::Taken);
        narrow(&mut left, mtu);
        let sent = udp((1000, 2000), octets, may_be_cut);
        left.tun.push(WHOLE, sent.clone());
        left.run();
        for socket in [NAT, RAW] {
            let datagrams = left.sockets[socket].sends.drain();
            for datagram in &datagrams {
                let longest = datagram.octets.len().min(datagram.segment_size);
                prop_assert!(longest + lead(encapsulation) <= mtu, "{longest} octets");
            }
            datagrams.into_iter().for_each(|datagram| left.sockets[socket].sends.push(datagram));
        }
        right.run();
        let answers = left.tun.written();
        match (&answers[..], &arrived(&right)[..]) {
            ([], [packet]) => prop_assert_eq!(packet, &sent),
            ([(_, answer)], []) => {
                prop_assert!(!may_be_cut);
                let error = IcmpError::of(answer).expect("a sound packet").expect("an error");
                let IcmpFault::TooBig { mtu: told } = error.fault else { panic!("{error:?}") };
                let told = told as usize;
                prop_assert!(told < sent.len());
                for (length, passes) in [(told, true), (told + 1, false)] {
                    left.tun.push(WHOLE, udp((1000, 2000), length - 28, false));
                    left.run();
                    right.run();
                    prop_assert_eq!(arrived(&right).len() == 1, passes, "{} octets", length);
                }
            }
            (answers, arrived) => panic!("{answers:?}, {arrived:?}"),
        }
    }
}

#[test]
fn a_super_packet_that_is_too_long_is_told_of_once() {
    let (mut left, _right) = tunnel(Encapsulation::Udp, Trains::Taken);
    narrow(&mut left, 1000);
    let mut stream = tcp_stream();
    stream.segment_size = 1200;
    let (header, packet) = stream.super_packet();
    let segments = stream.naive_packets().len() as u64;
    assert!(segments > 2);
    left.tun.push(header, packet);
    left.run();
    assert_eq!(left.tun.written().len(), 1);
    let too_big =
        left.drops().iter().find(|(reason, _)| *reason == DropReason::TooBig).map(|(_, count)| *count);
    assert!(too_big.is_some_and(|count| count + 1 >= segments), "{too_big:?} of {segments}");
}

/// A stream of several full segments.
fn tcp_stream() -> crate::offload::tests::Stream {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    loop {
        let stream = streams().new_tree(&mut runner).expect("a stream").current();
        if !stream.v6 && stream.naive_packets().len() > 50 {
            return stream;
        }
    }
}

/// A SYN that announces 1460.
fn syn(source: &str, destination: &str) -> Vec<u8> {
    let mut segment =
        vec![0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0x20, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4];
    let checksum = checksum::transport(ip(source), ip(destination), 6, &segment);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    let mut packet = packet(source, destination, Ecn::NotCapable, &segment);
    Ipv4::new(&mut packet[..]).expect("a sound packet").set_protocol(6);
    packet
}

fn announced(packet: &[u8]) -> u16 {
    let (source, destination) = (ip("10.1.0.1"), ip("10.2.0.1"));
    assert_eq!(checksum::transport(source, destination, 6, &packet[20..]), 0, "the checksum");
    u16::from_be_bytes([packet[42], packet[43]])
}

#[test]
fn a_connection_opens_with_segments_that_fit() {
    for (rule, mtu, narrow_end, expected) in [
        // GCM takes 8 + 8 + 2 + 16 octets, UDP and IP 28; ESP is padded to 4 octets.
        (SegmentSize::OfPath, 1400, End::Left, 1400 - 62 - 40),
        // What arrives is lowered to what the answers may have.
        (SegmentSize::OfPath, 1400, End::Right, 1400 - 62 - 40),
        (SegmentSize::OfPath, 9000, End::Left, 1460),
        (SegmentSize::AtMost(1000), 9000, End::Left, 1000),
        (SegmentSize::Untouched, 1400, End::Left, 1460),
    ] {
        let (mut left, mut right) = gateways(Trains::Taken);
        for (gateway, end) in [(&mut left, End::Left), (&mut right, End::Right)] {
            gateway.apply(SaOp::InstallPolicy(policy(end, PolicyAction::Protect)));
            for direction in [Direction::Inbound, Direction::Outbound] {
                let mut spec = spec(end, direction, Encapsulation::Udp);
                spec.handling.segment_size = rule;
                gateway.apply(SaOp::InstallSa(Box::new(spec)));
            }
            gateway.apply(SaOp::UseOutbound { policy: POLICY, sa: outbound_id(end, Encapsulation::Udp) });
        }
        match narrow_end {
            End::Left => narrow(&mut left, mtu),
            End::Right => right.control.shared().paths().set_link(ip(LEFT), mtu, right.now),
        }
        left.tun.push(WHOLE, syn("10.1.0.1", "10.2.0.1"));
        left.run();
        right.run();
        let [(_, packet)] = &right.tun.written()[..] else { panic!("one packet") };
        assert_eq!(announced(packet), expected, "{rule:?} at {mtu}");
    }
}

/// A policy that looks at ports, at both ends.
fn ports_tunnel(encapsulation: Encapsulation, mode: Mode) -> (Gateway, Gateway) {
    let (mut left, mut right) = gateways(Trains::Taken);
    for (gateway, end) in [(&mut left, End::Left), (&mut right, End::Right)] {
        let selector = |text: &str| text.parse().expect("the test's own selector");
        let (ours, theirs) = match mode {
            Mode::Tunnel => (selector("10.1.0.0/16[udp]"), selector("10.2.0.0/16[udp/53]")),
            Mode::Transport | Mode::Beet => (selector("192.0.2.1/32"), selector("192.0.2.2/32")),
        };
        let pair = match end {
            End::Left => SelectorPair { local: ours, remote: theirs },
            End::Right => SelectorPair { local: theirs, remote: ours },
        };
        let policy = PolicySpec { selectors: vec![pair], ..policy(end, PolicyAction::Protect) };
        gateway.apply(SaOp::InstallPolicy(policy));
        for direction in [Direction::Inbound, Direction::Outbound] {
            let spec = SaSpec { selectors: vec![pair], mode, ..spec(end, direction, encapsulation) };
            gateway.apply(SaOp::InstallSa(Box::new(spec)));
        }
        gateway.apply(SaOp::UseOutbound { policy: POLICY, sa: outbound_id(end, encapsulation) });
    }
    (left, right)
}

fn cut(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    Fragments::new(packet, mtu, 7).expect("a sound packet").iter().collect()
}

#[test]
fn fragments_pass_where_ports_count_and_leave_as_they_came() {
    let (mut left, mut right) = ports_tunnel(Encapsulation::Udp, Mode::Tunnel);
    for (port, passes) in [(53, true), (54, false)] {
        let fragments = cut(&udp((1000, port), 4000, true), 1300);
        for fragment in fragments.iter().rev() {
            left.tun.push(WHOLE, fragment.clone());
        }
        left.run();
        right.run();
        let written: Vec<Vec<u8>> = right.tun.written().into_iter().map(|(_, packet)| packet).collect();
        assert_eq!(written, if passes { fragments } else { vec![] });
    }
    // No policy selects the other port, and what no policy selects is dropped.
    assert_eq!(left.sockets[CLEAR].sends.drain().len(), 0);
    assert_eq!(left.drops(), [(DropReason::Ipsec(ipsec::DropReason::NoPolicy), 4)]);
    assert_eq!(right.drops(), []);
}

/// RFC 4303 §3.3.4: transport mode takes whole packets; the sealed one is cut.
#[test]
fn transport_mode_seals_whole_packets_and_cuts_the_result() {
    let (mut left, mut right) = ports_tunnel(Encapsulation::None, Mode::Transport);
    narrow(&mut left, 1500);
    let mut whole = udp((1000, 2000), 4000, true);
    let mut view = Ipv4::new(&mut whole[..]).expect("a sound packet");
    view.set_source([192, 0, 2, 1].into());
    view.set_destination([192, 0, 2, 2].into());
    for fragment in cut(&whole, 1500) {
        left.tun.push(WHOLE, fragment);
    }
    left.run();
    let (mut reassembler, drops) = (Reassembler::default(), DropCounters::default());
    let mut sealed = None;
    for fragment in left.sockets[CLEAR].sends.drain() {
        assert!(fragment.octets.len() <= 1500);
        sealed = reassembler.put(Way::Out(None), &fragment.octets, left.now, &drops);
    }
    let octets = sealed.expect("its fragments are all there").packet.split_off(20);
    left.sockets[RAW].sends.push(Datagram {
        source: SocketAddr::new(ip(LEFT), 0),
        destination: SocketAddr::new(ip(RIGHT), 0),
        traffic_class: 0,
        dont_fragment: false,
        segment_size: octets.len(),
        octets,
    });
    right.run();
    let [(_, packet)] = &right.tun.written()[..] else { panic!("one packet") };
    assert_eq!(packet[20..], whole[20..]);
}
