//! Two gateways in one process: real tables and real ciphers between twin devices.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sa::{
    AcquiredFlow, DeviceId, Direction, Encapsulation, Esn, ExpiryCause, Handling, Hardness, IpProtocol,
    Lifetime, Mode, Outer, PolicyAction, PolicyId, PolicySpec, Protection, Protocol, SaEvent, SaId, SaOp,
    SaSpec, SelectorPair, Spi,
};
use wire::ip::{Ecn, Ipv4, Ipv4Header};

use crate::control::Control;
use crate::departures::Gso;
use crate::device::Carries;
use crate::offload::split::SuperPacket;
use crate::offload::tests::streams;
use crate::offload::{Segmentation, VnetHeader};
use crate::twin::{Datagram, Line, Trains, TwinSocket, TwinTun};
use crate::worker::Pipeline;
use crate::{Delivery, DropReason, HoldBounds, IkeDatagram, PlaneEvent};

mod path_mtu;

/// One gateway: control, one worker, and the ends of its devices.
struct Gateway {
    control: Control<TwinSocket>,
    pipeline: Pipeline<TwinTun, TwinSocket>,
    tun: TwinTun,
    sockets: Vec<TwinSocket>,
    heard: Arc<Mutex<Vec<PlaneEvent>>>,
    /// What the first link takes, if it is known.
    link: Arc<Mutex<Option<usize>>>,
    now: Instant,
}

const LEFT: &str = "192.0.2.1";
const RIGHT: &str = "192.0.2.2";
const POLICY: PolicyId = PolicyId(7);
const TO_LEFT: Spi = Spi(0x0010_0001);
const TO_RIGHT: Spi = Spi(0x0010_0002);
const MTU: usize = 1500;

/// The indices of a gateway's sockets.
const IKE: usize = 0;
const NAT: usize = 1;
const ESP: usize = 2;
const RAW: usize = 2;
const CLEAR: usize = 3;
const ERRORS: usize = 4;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("the test's own address")
}

/// Joins two gateways by lines: what one sends by a socket, the other receives by the same.
fn gateways(trains: Trains) -> (Gateway, Gateway) {
    let kinds = [
        (Carries::Ike, 500),
        (Carries::IkeAndEsp, 4500),
        (Carries::Bare(Protocol::Esp), 0),
        (Carries::WholePackets, 0),
        (Carries::Errors, 0),
    ];
    let mut left = Vec::new();
    let mut right = Vec::new();
    for (carries, port) in kinds {
        let (east, west) = (Line::default(), Line::default());
        let bound = |address| SocketAddr::new(ip(address), port);
        let socket = |bound, receives: &Line, sends: &Line| TwinSocket {
            carries,
            bound,
            receives: receives.clone(),
            sends: sends.clone(),
            trains,
        };
        left.push(socket(bound(LEFT), &west, &east));
        right.push(socket(bound(RIGHT), &east, &west));
    }
    (Gateway::new(left), Gateway::new(right))
}

impl Gateway {
    fn new(sockets: Vec<TwinSocket>) -> Gateway {
        let heard = Arc::<Mutex<Vec<PlaneEvent>>>::default();
        let sink = Arc::clone(&heard);
        let events = move |event: PlaneEvent| {
            let mut heard = sink.lock().expect("no test panics while it holds this");
            let queued = heard.iter().filter(|event| matches!(event, PlaneEvent::Ike(_))).count();
            if matches!(event, PlaneEvent::Ike(_)) && queued == IKE_QUEUE {
                return Delivery::Refused;
            }
            heard.push(event);
            Delivery::Taken
        };
        let hold = HoldBounds { per_policy: 4, total: 8, octets: 100_000, longest: Duration::from_secs(2) };
        let link = Arc::<Mutex<Option<usize>>>::default();
        let asked = Arc::clone(&link);
        let link_mtu = Box::new(move |_| *asked.lock().expect("no test panics while it holds this"));
        let control = Control::new(sockets.clone(), MTU, Gso::Offered, hold, link_mtu, Box::new(events));
        let tun = TwinTun::default();
        let shared = Arc::clone(control.shared());
        let pipeline = Pipeline::new(shared, Arc::default(), tun.clone(), sockets.clone(), MTU, Gso::Offered);
        Gateway { control, pipeline, tun, sockets, heard, link, now: Instant::now() }
    }

    fn apply(&mut self, op: SaOp) {
        self.control.apply(op).expect("a sound order");
    }

    /// Lets the worker run until nothing is left to carry.
    fn run(&mut self) {
        self.pipeline.carry_out(None, self.now).expect("a twin is never gone");
        for socket in [IKE, NAT, RAW, ERRORS] {
            self.pipeline.carry_in(socket, self.now);
        }
    }

    fn events(&self) -> Vec<PlaneEvent> {
        std::mem::take(&mut self.heard.lock().expect("no test panics while it holds this"))
    }

    fn drops(&self) -> Vec<(DropReason, u64)> {
        self.control.shared().drops.with(self.control.drops()).0.into_iter().collect()
    }

    fn sent(&self) -> Vec<Datagram> {
        self.sockets.iter().flat_map(|socket| socket.sends.drain()).collect()
    }
}

/// Which end of the tunnel a gateway is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

fn pair(end: End) -> SelectorPair {
    let selector = |text: &str| text.parse().expect("the test's own selector");
    let (left, right) = (selector("10.1.0.0/16"), selector("10.2.0.0/16"));
    match end {
        End::Left => SelectorPair { local: left, remote: right },
        End::Right => SelectorPair { local: right, remote: left },
    }
}

fn policy(end: End, action: PolicyAction) -> PolicySpec {
    PolicySpec { id: POLICY, priority: 10, selectors: vec![pair(end)], action, device: None }
}

fn spec(end: End, direction: Direction, encapsulation: Encapsulation) -> SaSpec {
    let address = |text| SocketAddr::new(ip(text), 4500);
    let (local, remote, inbound, outbound) = match end {
        End::Left => (LEFT, RIGHT, TO_LEFT, TO_RIGHT),
        End::Right => (RIGHT, LEFT, TO_RIGHT, TO_LEFT),
    };
    let spi = match direction {
        Direction::Inbound => inbound,
        Direction::Outbound => outbound,
    };
    let aes = sa::transform::ENCRYPTION.iter().find(|row| row.keywords.contains(&"aes128gcm16"));
    SaSpec {
        direction,
        protocol: Protocol::Esp,
        spi,
        mode: Mode::Tunnel,
        outer: Outer { local: address(local), remote: address(remote), encapsulation },
        protection: Protection::Combined(aes.expect("the transform table has AES-128-GCM")),
        key: Arc::new(vec![spi.0 as u8; 20].into()),
        esn: Esn::No,
        replay_window: 256,
        selectors: vec![pair(end)],
        lifetime: Lifetime::UNLIMITED,
        policy: POLICY,
        handling: Handling::default(),
    }
}

fn tunnel(encapsulation: Encapsulation, trains: Trains) -> (Gateway, Gateway) {
    let (mut left, mut right) = gateways(trains);
    for (gateway, end) in [(&mut left, End::Left), (&mut right, End::Right)] {
        gateway.apply(SaOp::InstallPolicy(policy(end, PolicyAction::Protect)));
        install(gateway, end, encapsulation);
    }
    (left, right)
}

fn install(gateway: &mut Gateway, end: End, encapsulation: Encapsulation) {
    for direction in [Direction::Inbound, Direction::Outbound] {
        gateway.apply(SaOp::InstallSa(Box::new(spec(end, direction, encapsulation))));
    }
    let sa = outbound_id(end, encapsulation);
    gateway.apply(SaOp::UseOutbound { policy: POLICY, sa });
}

fn outbound_id(end: End, encapsulation: Encapsulation) -> SaId {
    spec(end, Direction::Outbound, encapsulation).id()
}

fn inbound_id(end: End) -> SaId {
    spec(end, Direction::Inbound, Encapsulation::Udp).id()
}

/// A packet of an experimental protocol, which nothing looks into.
fn packet(source: &str, destination: &str, ecn: Ecn, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse().expect("the test's own IPv4 address");
    let header = Ipv4Header {
        dscp: 10,
        ecn,
        total_length: 20 + payload.len() as u16,
        identification: 1,
        dont_fragment: true,
        ttl: 64,
        protocol: 253,
        source: address(source),
        destination: address(destination),
    };
    [&header.encode()[..], payload].concat()
}

fn plain(payload: &[u8]) -> Vec<u8> {
    packet("10.1.0.1", "10.2.0.1", Ecn::NotCapable, payload)
}

const WHOLE: VnetHeader =
    VnetHeader { checksum: crate::offload::Checksum::Complete, segments: Segmentation::None, header_len: 0 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What one host gives its gateway as a super-packet, the other host gets as the same super-packet.
    #[test]
    fn a_stream_crosses_the_tunnel_whole(stream in streams(), udp: bool, refused: bool) {
        let mut stream = stream;
        stream.v6 = false;
        stream.segment_size = stream.segment_size.min(MTU - 80);
        let encapsulation = if udp { Encapsulation::Udp } else { Encapsulation::None };
        let trains = if refused { Trains::Refused } else { Trains::Taken };
        let (mut left, mut right) = tunnel(encapsulation, trains);
        let (header, packet) = stream.super_packet();
        left.tun.push(header, packet.clone());
        left.run();
        right.run();
        while right.sockets.iter().any(|socket| !socket.receives.is_empty()) {
            right.run();
        }
        let cut = |written: Vec<(VnetHeader, Vec<u8>)>| -> Vec<Vec<u8>> {
            written.iter().flat_map(|(header, packet)| segments(*header, packet)).collect()
        };
        let written = right.tun.written();
        if udp && !refused {
            prop_assert!(written.len() <= 1 + stream.naive_packets().len() / 32, "{} writes", written.len());
        }
        prop_assert_eq!(cut(written), stream.naive_packets());
        prop_assert_eq!(left.drops(), []);
        prop_assert_eq!(right.drops(), []);
    }

    /// Whatever a host sends, what the selectors cover leaves as ESP of our SA, and nothing else does.
    #[test]
    fn nothing_leaves_in_the_clear(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 1..20),
        inside in proptest::collection::vec(any::<bool>(), 20),
    ) {
        let (mut left, _right) = tunnel(Encapsulation::Udp, Trains::Taken);
        for (payload, inside) in packets.iter().zip(&inside) {
            left.tun.push(WHOLE, payload.clone());
            let destination = if *inside { "10.2.0.9" } else { "10.9.0.9" };
            left.tun.push(WHOLE, packet("10.1.0.1", destination, Ecn::NotCapable, payload));
        }
        left.run();
        let mut datagrams = 0;
        let is_clear = |sent: &Datagram| sent.source.port() != 4500;
        for sent in left.sent() {
            if is_clear(&sent) {
                prop_assert!(sent.destination.ip() != ip("10.2.0.9"));
                continue;
            }
            for datagram in sent.octets.chunks(sent.segment_size) {
                prop_assert_eq!(&datagram[..4], &TO_RIGHT.0.to_be_bytes());
                datagrams += 1;
            }
        }
        prop_assert_eq!(datagrams, inside.iter().take(packets.len()).filter(|inside| **inside).count());
    }
}

fn segments(header: VnetHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let whole = SuperPacket::new(header, packet).expect("a sound super-packet");
    let segment = |index| {
        let mut out = vec![0; whole.segment_len(index)];
        whole.write_segment(index, &mut out);
        out
    };
    (0..whole.segments()).map(segment).collect()
}

#[test]
fn equal_packets_of_an_sa_leave_as_one_train_with_the_inner_traffic_class() {
    let (mut left, _right) = tunnel(Encapsulation::Udp, Trains::Taken);
    for octet in 0..10 {
        left.tun.push(WHOLE, plain(&[octet; 100]));
    }
    left.tun.push(WHOLE, plain(&[10; 40]));
    left.tun.push(WHOLE, plain(&[11; 100]));
    left.run();
    let sent = left.sent();
    assert_eq!(sent.len(), 2, "a shorter packet ends its train");
    assert_eq!(sent[0].octets.len().div_ceil(sent[0].segment_size), 11);
    assert!(sent.iter().all(|train| train.traffic_class == 10 << 2));
    assert!(sent.iter().all(|train| train.destination == SocketAddr::new(ip(RIGHT), 4500)));
}

#[test]
fn whether_a_packet_may_be_cut_is_copied_to_the_datagram() {
    for encapsulation in [Encapsulation::Udp, Encapsulation::None] {
        let (mut left, _right) = tunnel(encapsulation, Trains::Taken);
        let mut packet = plain(b"may be cut");
        Ipv4::new(&mut packet[..]).expect("a sound packet").allow_fragmentation();
        left.tun.push(WHOLE, packet);
        left.tun.push(WHOLE, plain(b"may not"));
        left.run();
        let sent: Vec<bool> = left.sent().iter().map(|datagram| datagram.dont_fragment).collect();
        assert_eq!(sent, [false, true]);
    }
}

#[test]
fn a_policy_without_an_sa_drops() {
    let (mut left, _right) = gateways(Trains::Taken);
    left.apply(SaOp::InstallPolicy(policy(End::Left, PolicyAction::Protect)));
    left.tun.push(WHOLE, plain(b"secret"));
    left.run();
    assert_eq!(left.sent(), []);
    assert_eq!(left.drops(), [(DropReason::Ipsec(ipsec::DropReason::NoSa), 1)]);
}

#[test]
fn a_bypass_policy_lets_its_packets_leave_as_they_are() {
    let (mut left, _right) = tunnel(Encapsulation::Udp, Trains::Taken);
    let bypass = PolicySpec { id: PolicyId(1), priority: 1, ..policy(End::Left, PolicyAction::Bypass) };
    left.apply(SaOp::InstallPolicy(bypass));
    left.tun.push(WHOLE, plain(b"public"));
    left.run();
    let sent = left.sockets[CLEAR].sends.drain();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].octets, plain(b"public"));
    assert_eq!(sent[0].destination.ip(), ip("10.2.0.1"));
}

/// Routes know nothing of protocols and ports: they lead more here than policies select.
#[test]
fn what_no_policy_selects_leaves_as_it_is_if_the_host_blocks() {
    const TUNNEL: DeviceId = DeviceId(1);
    let (mut left, _right) = tunnel(Encapsulation::Udp, Trains::Taken);
    let elsewhere = packet("10.9.0.1", "10.2.0.1", Ecn::NotCapable, b"public");
    let greetings = [("10.9.0.1", "224.0.0.5"), ("169.254.0.1", "10.2.0.1"), ("10.9.0.1", "255.255.255.255")]
        .map(|(source, destination)| packet(source, destination, Ecn::NotCapable, b"hello"));
    left.tun.push(WHOLE, elsewhere.clone());
    left.run();
    assert_eq!(left.sent(), []);
    assert_eq!(left.drops(), [(DropReason::Ipsec(ipsec::DropReason::NoPolicy), 1)]);

    left.control.shared().let_pass(NonZeroU32::MIN);
    let device = TwinTun::default();
    left.pipeline.add_device(TUNNEL, device.clone(), MTU);
    left.tun.push(WHOLE, elsewhere.clone());
    greetings.into_iter().for_each(|greeting| left.tun.push(WHOLE, greeting));
    device.push(WHOLE, elsewhere.clone());
    left.run();
    left.pipeline.carry_out(Some(TUNNEL), left.now).expect("a twin is never gone");
    let sent = left.sockets[CLEAR].sends.drain();
    assert_eq!(sent.iter().map(|datagram| &datagram.octets).collect::<Vec<_>>(), [&elsewhere]);
    assert_eq!(left.drops(), [(DropReason::Ipsec(ipsec::DropReason::NoPolicy), 5)]);
}

#[test]
fn packets_wait_for_their_sa_and_leave_in_their_order() {
    let (mut left, mut right) = gateways(Trains::Taken);
    left.apply(SaOp::InstallPolicy(policy(End::Left, PolicyAction::Trap)));
    right.apply(SaOp::InstallPolicy(policy(End::Right, PolicyAction::Protect)));
    install(&mut right, End::Right, Encapsulation::Udp);
    for octet in 0..6 {
        left.tun.push(WHOLE, plain(&[octet; 9]));
    }
    left.run();
    let flow = AcquiredFlow {
        source: ip("10.1.0.1"),
        destination: ip("10.2.0.1"),
        protocol: IpProtocol(253),
        ports: None,
    };
    assert_eq!(left.events(), [PlaneEvent::Sa(SaEvent::Acquire { policy: POLICY, flow })], "asked once");
    assert_eq!(left.sent(), []);
    assert_eq!(left.drops(), [(DropReason::HoldQueueFull, 2)]);

    install(&mut left, End::Left, Encapsulation::Udp);
    left.tun.push(WHOLE, plain(&[9; 9]));
    left.run();
    right.run();
    let arrived: Vec<Vec<u8>> = right.tun.written().into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(arrived, [0, 1, 2, 3, 9].map(|octet| plain(&[octet; 9])));
}

#[test]
fn packets_that_waited_for_a_trap_leave_through_the_sa_of_another_policy() {
    let (mut left, mut right) = gateways(Trains::Taken);
    let trap = PolicySpec {
        id: PolicyId(POLICY.0 + 1),
        priority: u32::MAX,
        ..policy(End::Left, PolicyAction::Trap)
    };
    left.apply(SaOp::InstallPolicy(trap));
    right.apply(SaOp::InstallPolicy(policy(End::Right, PolicyAction::Protect)));
    install(&mut right, End::Right, Encapsulation::Udp);
    left.tun.push(WHOLE, plain(b"first"));
    left.run();
    assert_eq!(left.sent(), []);

    left.apply(SaOp::InstallPolicy(policy(End::Left, PolicyAction::Protect)));
    install(&mut left, End::Left, Encapsulation::Udp);
    right.run();
    let arrived: Vec<Vec<u8>> = right.tun.written().into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(arrived, [plain(b"first")]);
    assert_eq!(left.drops(), []);
}

/// A gateway with many traps must not ask for each of them again whenever one is served.
#[test]
fn packets_of_other_policies_wait_on_and_are_not_asked_for_again() {
    let (mut left, _right) = gateways(Trains::Taken);
    let selectors = [("10.1.0.0/16", "10.3.0.0/16")]
        .map(|(local, remote)| [local, remote].map(|text| text.parse().expect("the test's own selector")))
        .map(|[local, remote]| SelectorPair { local, remote });
    let other = PolicySpec {
        id: PolicyId(POLICY.0 + 1),
        selectors: selectors.to_vec(),
        ..policy(End::Left, PolicyAction::Trap)
    };
    left.apply(SaOp::InstallPolicy(policy(End::Left, PolicyAction::Trap)));
    left.apply(SaOp::InstallPolicy(other));
    let elsewhere = packet("10.1.0.1", "10.3.0.1", Ecn::NotCapable, b"waits");
    left.tun.push(WHOLE, elsewhere.clone());
    left.tun.push(WHOLE, plain(b"goes"));
    left.run();
    assert_eq!(left.events().len(), 2, "each is asked for");

    install(&mut left, End::Left, Encapsulation::Udp);
    assert_eq!(left.sent().len(), 1);
    left.tun.push(WHOLE, elsewhere);
    left.run();
    assert_eq!(left.events(), []);
    left.pipeline.expire(left.now + Duration::from_secs(2));
    assert_eq!(left.drops(), [(DropReason::HeldTooLong, 2)]);
}

/// RFC 4303 §2.6. Dummies go while their SA carries a policy's packets; they are life, and no use.
#[test]
fn dummies_are_sent_at_their_pace_and_thrown_away_by_the_peer() {
    let (mut left, mut right) = gateways(Trains::Taken);
    left.apply(SaOp::InstallPolicy(policy(End::Left, PolicyAction::Protect)));
    install_right(&mut right);
    let mut busy = spec(End::Left, Direction::Outbound, Encapsulation::Udp);
    busy.handling.dummies = 50;
    let sa = busy.id();
    left.apply(SaOp::InstallSa(Box::new(busy)));
    let start = Instant::now();
    let run_for = |left: &mut Gateway, seconds: u64| {
        let end = left.now + Duration::from_secs(seconds);
        while let Some(next) = left.control.send_dummies(left.now).filter(|next| *next < end) {
            left.now = next;
        }
        left.now = end;
    };
    left.now = start;
    run_for(&mut left, 10);
    assert_eq!(left.sent().len(), 0, "nothing goes through the SA yet");

    left.apply(SaOp::UseOutbound { policy: POLICY, sa });
    run_for(&mut left, 2);
    let sent: usize = left.sockets[NAT].sends.drain().len();
    assert!((50..=150).contains(&sent), "{sent} dummies");

    left.control.send_dummies(left.now + Duration::from_secs(1));
    right.run();
    assert_eq!(right.drops(), [(DropReason::Ipsec(ipsec::DropReason::Dummy), 1)]);
    assert_eq!(right.tun.written(), []);
    assert_eq!(right.events(), [PlaneEvent::Sa(SaEvent::Active { sa: inbound_id(End::Right) })]);

    left.apply(SaOp::RemoveSa(sa));
    assert_eq!(left.control.send_dummies(left.now + Duration::from_secs(60)), None);
}

#[test]
fn packets_that_wait_too_long_are_dropped_and_so_are_those_of_a_removed_policy() {
    let (mut left, _right) = gateways(Trains::Taken);
    left.apply(SaOp::InstallPolicy(policy(End::Left, PolicyAction::Trap)));
    left.tun.push(WHOLE, plain(b"first"));
    left.run();
    left.pipeline.expire(left.now + Duration::from_secs(3));
    assert_eq!(left.drops(), [(DropReason::HeldTooLong, 1)]);
    left.tun.push(WHOLE, plain(b"second"));
    left.run();
    left.apply(SaOp::RemovePolicy(POLICY));
    assert_eq!(left.drops(), [(DropReason::HeldTooLong, 2)]);
    install_after_removal(&mut left);
    assert_eq!(left.sent(), []);
}

/// Installs the policy anew: nothing that waited for its predecessor may leave.
fn install_after_removal(gateway: &mut Gateway) {
    gateway.apply(SaOp::InstallPolicy(policy(End::Left, PolicyAction::Trap)));
    install(gateway, End::Left, Encapsulation::Udp);
    gateway.run();
}

#[test]
fn limits_are_told_once_and_a_hard_one_ends_the_sa() {
    let (mut left, mut right) = gateways(Trains::Taken);
    let lifetime = Lifetime { soft_packets: 2, hard_packets: 4, ..Lifetime::UNLIMITED };
    left.apply(SaOp::InstallPolicy(policy(End::Left, PolicyAction::Protect)));
    let limited = SaSpec { lifetime, ..spec(End::Left, Direction::Outbound, Encapsulation::Udp) };
    let sa = limited.id();
    left.apply(SaOp::InstallSa(Box::new(limited)));
    left.apply(SaOp::UseOutbound { policy: POLICY, sa });
    install_right(&mut right);
    for octet in 0..6 {
        left.tun.push(WHOLE, plain(&[octet; 9]));
    }
    left.run();
    right.run();
    let expire = |hardness| PlaneEvent::Sa(SaEvent::Expire { sa, hardness, cause: ExpiryCause::Packets });
    assert_eq!(left.events(), [expire(Hardness::Soft), expire(Hardness::Hard)]);
    assert_eq!(right.tun.written().len(), 4);
    assert_eq!(left.drops(), [(DropReason::Ipsec(ipsec::DropReason::Expired), 2)]);
}

fn install_right(right: &mut Gateway) {
    right.apply(SaOp::InstallPolicy(policy(End::Right, PolicyAction::Protect)));
    install(right, End::Right, Encapsulation::Udp);
}

#[test]
fn life_and_new_paths_are_told_once_a_second() {
    let (mut left, mut right) = tunnel(Encapsulation::Udp, Trains::Taken);
    let moved = SocketAddr::new(ip("198.51.100.9"), 61000);
    let mut send = |left: &mut Gateway, source: Option<SocketAddr>| {
        left.tun.push(WHOLE, plain(b"hello"));
        left.run();
        for mut datagram in left.sent() {
            datagram.source = source.unwrap_or(datagram.source);
            right.sockets[NAT].receives.push(datagram);
        }
        right.run();
        right.now += Duration::from_millis(400);
        right.events()
    };
    let active = PlaneEvent::Sa(SaEvent::Active { sa: inbound_id(End::Right) });
    let path_changed = PlaneEvent::Sa(SaEvent::PathChanged { sa: inbound_id(End::Right), remote: moved });
    let sources = [None, Some(moved), Some(moved), Some(moved), Some(moved)];
    let told = sources.map(|source| send(&mut left, source));
    assert_eq!(
        told,
        [vec![active.clone()], vec![path_changed.clone()], vec![], vec![active], vec![path_changed]]
    );
}

/// Who carries a packet could take its UDP header away, and the packet would still be genuine.
#[test]
fn a_packet_that_shows_no_port_moves_no_path() {
    let (mut left, mut right) = tunnel(Encapsulation::Udp, Trains::Taken);
    left.tun.push(WHOLE, plain(b"hello"));
    left.run();
    let mut stripped = left.sent().remove(0);
    stripped.source.set_port(0);
    right.sockets[ESP].receives.push(stripped);
    right.run();
    assert_eq!(right.events(), [PlaneEvent::Sa(SaEvent::Active { sa: inbound_id(End::Right) })]);
    assert_eq!(right.tun.written().len(), 1);
}

#[test]
fn a_replayed_or_forged_packet_moves_no_path() {
    let (mut left, mut right) = tunnel(Encapsulation::Udp, Trains::Taken);
    left.tun.push(WHOLE, plain(b"hello"));
    left.run();
    let genuine = left.sent().remove(0);
    right.sockets[NAT].receives.push(genuine.clone());
    right.run();
    right.events();
    let mut forged = genuine.clone();
    forged.octets[7] += 1;
    for mut datagram in [genuine, forged] {
        datagram.source = SocketAddr::new(ip("198.51.100.9"), 61000);
        right.sockets[NAT].receives.push(datagram);
    }
    right.run();
    assert_eq!(right.events(), []);
    let refused = |reason| (DropReason::Ipsec(reason), 1);
    assert_eq!(right.drops(), [refused(ipsec::DropReason::Replayed), refused(ipsec::DropReason::Forged)]);
    assert_eq!(right.tun.written().len(), 1);
}

#[test]
fn congestion_of_the_outer_path_reaches_the_inner_packet() {
    let (mut left, mut right) = tunnel(Encapsulation::None, Trains::Taken);
    left.tun.push(WHOLE, packet("10.1.0.1", "10.2.0.1", Ecn::Capable0, b"mark me"));
    left.run();
    let mut datagram = left.sockets[RAW].sends.drain().remove(0);
    assert_eq!(datagram.traffic_class & 0b11, Ecn::Capable0.to_bits());
    datagram.traffic_class |= Ecn::CongestionExperienced.to_bits();
    right.sockets[RAW].receives.push(datagram);
    right.run();
    let expected = packet("10.1.0.1", "10.2.0.1", Ecn::CongestionExperienced, b"mark me");
    assert_eq!(right.tun.written(), [(WHOLE, expected)]);
}

#[test]
fn port_4500_tells_ike_esp_keepalives_and_nonsense_apart() {
    let (mut left, _right) = tunnel(Encapsulation::Udp, Trains::Taken);
    let (local, remote) = (SocketAddr::new(ip(LEFT), 4500), SocketAddr::new(ip(RIGHT), 4500));
    let datagram = |octets: &[u8]| Datagram {
        source: remote,
        destination: local,
        traffic_class: 0,
        dont_fragment: false,
        segment_size: octets.len(),
        octets: octets.to_vec(),
    };
    let marked = [&[0; 4][..], b"an IKE message"].concat();
    for octets in [&marked[..], &[0xff], &[1, 2, 3], &[0, 16, 0, 99, 0, 0, 0, 1, 9, 9]] {
        left.sockets[NAT].receives.push(datagram(octets));
    }
    left.run();
    let bytes = b"an IKE message".to_vec();
    assert_eq!(left.events(), [PlaneEvent::Ike(IkeDatagram { local, remote, bytes })]);
    assert_eq!(
        left.drops(),
        [(DropReason::Ipsec(ipsec::DropReason::UnknownSpi), 1), (DropReason::MalformedDatagram, 1)]
    );
}

#[test]
fn port_500_carries_ike_only_and_a_flood_is_bounded() {
    let (mut left, _right) = tunnel(Encapsulation::Udp, Trains::Taken);
    let (local, remote) = (SocketAddr::new(ip(LEFT), 500), SocketAddr::new(ip(RIGHT), 500));
    for octet in 0..IKE_QUEUE as u8 + 3 {
        left.sockets[IKE].receives.push(Datagram {
            source: remote,
            destination: local,
            traffic_class: 0,
            dont_fragment: false,
            segment_size: 1,
            octets: vec![octet],
        });
    }
    left.run();
    let events = left.events();
    assert_eq!(events.len(), IKE_QUEUE);
    assert_eq!(events[1], PlaneEvent::Ike(IkeDatagram { local, remote, bytes: vec![1] }));
    assert_eq!(left.drops(), [(DropReason::IkeQueueFull, 3)]);
}

/// IKE datagrams that the daemon of these tests has room for.
const IKE_QUEUE: usize = 5;

#[test]
fn a_packet_longer_than_the_usual_buffers_arrives() {
    let (mut left, mut right) = tunnel(Encapsulation::None, Trains::Taken);
    // The left end's TUN device takes more than the right end's buffers usually hold.
    left.pipeline = Pipeline::new(
        Arc::clone(left.control.shared()),
        Arc::default(),
        left.tun.clone(),
        left.sockets.clone(),
        9000,
        Gso::Offered,
    );
    for payload in [&[1; 100][..], &[2; 8000], &[3; 100]] {
        left.tun.push(WHOLE, plain(payload));
    }
    left.run();
    right.run();
    let lengths: Vec<usize> = right.tun.written().iter().map(|(_, packet)| packet.len()).collect();
    assert_eq!(lengths, [120, 8020, 120]);
}

#[test]
fn a_moved_sa_sends_to_its_new_address() {
    let (mut left, _right) = tunnel(Encapsulation::Udp, Trains::Taken);
    let sa = outbound_id(End::Left, Encapsulation::Udp);
    let remote = SocketAddr::new(ip("198.51.100.9"), 61000);
    let outer = Outer { remote, ..spec(End::Left, Direction::Outbound, Encapsulation::Udp).outer };
    left.apply(SaOp::MoveSa { sa, outer });
    left.tun.push(WHOLE, plain(b"hello"));
    left.run();
    assert_eq!(left.sent().iter().map(|sent| sent.destination).collect::<Vec<_>>(), [remote]);
}
