//! Tunnels with devices of their own: what is routed there goes through, and nothing else does.

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dataplane::{Dataplane, Persistence, PlaneEvent, TunnelDevice};
use sa::{
    DeviceId, Direction, Encapsulation, Esn, Handling, Lifetime, Mode, Outer, PolicyAction, PolicyId,
    PolicySpec, Protection, Protocol, SaOp, SaSpec, SelectorPair, Spi,
};
use socket2::{Domain, Socket, Type};

use crate::laboratory::*;

const VPN0: DeviceId = DeviceId(1);
const VPN1: DeviceId = DeviceId(2);

/// A device with the address 10.255.N.1 at A, 10.255.N.2 at B, N being its number; all traffic may go there.
fn device(end: End, id: DeviceId) -> TunnelDevice {
    let address = IpAddr::from([10, 255, id.0 as u8, number(end)]);
    TunnelDevice {
        id,
        name: format!("vpn{}", id.0 - 1),
        mtu: 1400,
        addresses: vec![(address, 30)],
        namespace: None,
        master: None,
        persistence: Persistence::WithPlane,
    }
}

fn number(end: End) -> u8 {
    match end {
        End::A => 1,
        End::B => 2,
        End::C => 3,
        End::RouterOfA | End::RouterOfB => panic!("a router is no gateway"),
    }
}

/// Gives a device its policy and its SAs.
fn protect(plane: &Dataplane, end: End, id: DeviceId) {
    let pair = |any: &str| {
        let any = any.parse().expect("the test's own selector");
        SelectorPair { local: any, remote: any }
    };
    let selectors = vec![pair("0.0.0.0/0"), pair("::/0")];
    let policy = PolicyId(id.0);
    for direction in [Direction::Inbound, Direction::Outbound] {
        let receiver = match (direction, end) {
            (Direction::Inbound, end) => end,
            (Direction::Outbound, End::A) => End::B,
            (Direction::Outbound, _) => End::A,
        };
        let spec = sa(direction, end, Spi(0x0010_0000 | id.0 << 8 | u32::from(number(receiver))));
        let spec = SaSpec {
            selectors: selectors.clone(),
            policy,
            handling: Handling { device: Some(id), ..Handling::default() },
            ..spec
        };
        let name = spec.id();
        plane.apply(SaOp::InstallSa(Box::new(spec)));
        if direction == Direction::Outbound {
            let action = PolicyAction::Protect;
            let spec = PolicySpec {
                id: policy,
                priority: 10,
                selectors: selectors.clone(),
                action,
                device: Some(id),
            };
            plane.apply(SaOp::InstallPolicy(spec));
            plane.apply(SaOp::UseOutbound { policy, sa: name });
        }
    }
}

fn sa(direction: Direction, end: End, spi: Spi) -> SaSpec {
    let address = |number: u8| SocketAddr::from(([192, 0, 2, number], 4500));
    let (ours, theirs) = (number(end), 3 - number(end));
    let rows = sa::transform::ENCRYPTION.iter();
    let aes_128_gcm =
        rows.clone().find(|row| row.keywords.contains(&"aes128gcm16")).expect("it is in the table");
    SaSpec {
        direction,
        protocol: Protocol::Esp,
        spi,
        mode: Mode::Tunnel,
        outer: Outer { local: address(ours), remote: address(theirs), encapsulation: Encapsulation::Udp },
        protection: Protection::Combined(aes_128_gcm),
        // RFC 4106 §8.1: the key, then four octets of salt.
        key: Arc::new(vec![spi.0 as u8; 20].into()),
        esn: Esn::Yes,
        replay_window: 1024,
        selectors: Vec::new(),
        lifetime: Lifetime::UNLIMITED,
        policy: PolicyId(0),
        handling: Handling::default(),
    }
}

/// Two gateways with tunnel devices.
struct Ends {
    a: Dataplane,
    b: Dataplane,
    lab: Lab,
}

fn ends(devices: &[DeviceId]) -> Ends {
    let lab = Lab::new();
    let start = |end| {
        let (plane, _) = lab.plane(end);
        for id in devices {
            // What is asked for again is there already.
            for _ in 0..2 {
                lab.inside(end, |_| plane.add_device(&device(end, *id))).expect("root may");
            }
            protect(&plane, end, *id);
        }
        plane
    };
    let (a, b) = (start(End::A), start(End::B));
    Ends { a, b, lab }
}

#[test]
fn what_is_routed_to_a_device_goes_through_its_tunnel_and_nothing_else_does() {
    let Ends { a, b: _b, lab } = ends(&[VPN0, VPN1]);
    assert_eq!(lab.routes(End::A), Vec::<String>::new(), "whoever administers the host makes the routes");
    let packets = |id: DeviceId| {
        let spi = Spi(0x0010_0000 | id.0 << 8 | u32::from(number(End::B)));
        a.usage(sa(Direction::Outbound, End::A, spi).id()).map(|usage| usage.packets)
    };
    let before = [packets(VPN0), packets(VPN1)].map(Option::unwrap_or_default);
    assert_success(&lab.ping(End::A, "10.255.1.2", 3));
    assert_eq!(packets(VPN0), Some(before[0] + 3));
    assert_eq!(packets(VPN1), Some(before[1]));
    assert_success(&lab.ping(End::A, "10.255.2.2", 2));
    assert_eq!(packets(VPN1), Some(before[1] + 2));

    lab.ip(End::A, "route add 10.2.0.0/16 dev vpn0 src 10.1.0.1");
    lab.ip(End::B, "route add 10.1.0.0/16 dev vpn0 src 10.2.0.1");
    assert_success(&lab.ping(End::A, "10.2.0.1", 2));
    lab.transfer(End::A, End::B, "10.2.0.1");
    lab.transfer(End::B, End::A, "10.1.0.1");
    assert_success(&lab.ping(End::A, "192.0.2.2", 1));

    a.remove_device(VPN0);
    assert!(!lab.ping(End::A, "10.255.1.2", 1).status.success());
    assert_success(&lab.ping(End::A, "10.255.2.2", 1));
    assert_eq!(lab.device(End::A, "vpn0"), None);
}

/// Routing daemons find their neighbours so.
#[test]
fn multicast_and_link_local_packets_go_through() {
    let Ends { a: _a, b: _b, lab } = ends(&[VPN0]);
    within_patience("the device has a link-local address", || {
        let shown = lab.command(End::A, "ip").args(["-6", "addr", "show", "dev", "vpn0"]).output();
        let shown = String::from_utf8(shown.expect("ip is there").stdout).expect("ip writes text");
        shown.contains("fe80::") && !shown.contains("tentative")
    });
    assert_success(&lab.ping(End::A, "ff02::1%vpn0", 1));
}

/// Packets of generic routing encapsulation (RFC 2784), as a kernel with GRE devices sends them.
#[test]
fn gre_goes_through() {
    const GRE: i32 = 47;
    let Ends { a: _a, b: _b, lab } = ends(&[VPN0]);
    let open = |end| {
        lab.inside(end, |_| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(socket2::Protocol::from(GRE)))?;
            let own = SocketAddr::from(([10, 255, 1, number(end)], 0));
            socket.bind(&own.into())?;
            socket.set_read_timeout(Some(PATIENCE)).map(|()| socket)
        })
        .expect("root may")
    };
    let (sender, receiver) = (open(End::A), open(End::B));
    // No flags, version 0, what follows is IPv4.
    let packet = [&[0, 0, 8, 0][..], b"an inner packet"].concat();
    sender.send_to(&packet, &SocketAddr::from(([10, 255, 1, 2], 0)).into()).expect("it is routed");
    let mut room = [MaybeUninit::uninit(); 100];
    let octets = receiver.recv(&mut room).expect("it arrives");
    // raw(7): the IP header comes with it.
    assert_eq!(octets, 20 + packet.len());
}

/// Sealed outside, in the clear inside: the namespace knows nothing of the wire.
#[test]
fn a_device_may_be_in_another_namespace() {
    let lab = Lab::new();
    lab.add_third();
    let (a, _) = lab.plane(End::A);
    let (b, _) = lab.plane(End::B);
    let inside = TunnelDevice { namespace: Some(lab.namespace(End::C)), ..device(End::A, VPN0) };
    lab.inside(End::A, |_| a.add_device(&inside)).expect("root may");
    lab.inside(End::B, |_| b.add_device(&device(End::B, VPN0))).expect("root may");
    protect(&a, End::A, VPN0);
    protect(&b, End::B, VPN0);
    assert_eq!(lab.device(End::A, "vpn0"), None);
    assert_success(&lab.ping(End::C, "10.255.1.2", 2));
    assert_success(&lab.ping(End::B, "10.255.1.1", 2));
}

#[test]
fn a_persistent_device_keeps_its_routes_until_it_is_removed() {
    let lab = Lab::new();
    let persistent = TunnelDevice { persistence: Persistence::UntilRemoved, ..device(End::A, VPN0) };
    let (plane, _) = lab.plane(End::A);
    lab.inside(End::A, |_| plane.add_device(&persistent)).expect("root may");
    lab.ip(End::A, "route add 10.2.0.0/16 dev vpn0");
    let index = lab.device(End::A, "vpn0");
    plane.stop();
    assert!(index.is_some() && lab.device(End::A, "vpn0") == index);

    let (plane, _) = lab.plane(End::A);
    let moved =
        TunnelDevice { addresses: vec![([10, 254, 0, 1].into(), 24)], mtu: 1300, ..persistent.clone() };
    lab.inside(End::A, |_| plane.add_device(&persistent)).expect("root may");
    lab.inside(End::A, |_| plane.add_device(&moved)).expect("root may");
    assert_eq!(lab.device(End::A, "vpn0"), index);
    let shown = |words: &str| {
        let output = lab.command(End::A, "ip").args(words.split(' ')).output().expect("ip is there").stdout;
        String::from_utf8(output).expect("ip writes text")
    };
    assert!(shown("route").contains("10.2.0.0/16 dev vpn0"), "{}", shown("route"));
    let addresses = shown("-4 addr show dev vpn0");
    assert!(addresses.contains("mtu 1300") && addresses.contains("10.254.0.1/24"), "{addresses}");
    assert!(!addresses.contains("10.255.1.1"), "{addresses}");
    plane.remove_device(VPN0);
    assert_eq!(lab.device(End::A, "vpn0"), None);
    lab.inside(End::A, |_| plane.add_device(&persistent)).expect("root may");
    plane.stop();

    // The next run does not know it any more.
    let (plane, _) = lab.plane(End::A);
    assert!(lab.device(End::A, "vpn0").is_some());
    plane.unblock().expect("root may");
    assert_eq!(lab.device(End::A, "vpn0"), None);
    plane.stop();
    assert!(!lab.journal(End::A).exists());
}

#[test]
fn a_device_that_somebody_made_is_used_and_left() {
    let lab = Lab::new();
    lab.ip(End::A, "tuntap add dev vpn0 mode tun multi_queue vnet_hdr");
    let index = lab.device(End::A, "vpn0");
    let (plane, _) = lab.plane(End::A);
    lab.inside(End::A, |_| plane.add_device(&device(End::A, VPN0))).expect("root may");
    plane.remove_device(VPN0);
    assert!(index.is_some() && lab.device(End::A, "vpn0") == index);
}

#[test]
fn what_cannot_be_had_is_told_in_a_sentence_and_nothing_is_left() {
    let lab = Lab::new();
    let (plane, heard) = lab.plane(End::A);
    let refusal = |device: &TunnelDevice| {
        lab.inside(End::A, |_| plane.add_device(device)).expect_err("it cannot be had").to_string()
    };
    let wanted = device(End::A, VPN0);
    let in_vrf = TunnelDevice { master: Some("blue".to_owned()), ..wanted.clone() };
    assert_eq!(
        refusal(&in_vrf),
        "cannot find blue, which the tunnel device is to belong to: No such device (os error 19)"
    );
    let elsewhere = TunnelDevice { namespace: Some("kwdp-nowhere".to_owned()), ..wanted.clone() };
    assert_eq!(
        refusal(&elsewhere),
        "cannot enter the network namespace kwdp-nowhere: No such file or directory (os error 2)"
    );
    let taken = TunnelDevice { name: "outer".to_owned(), ..wanted.clone() };
    assert!(refusal(&taken).starts_with("cannot create the TUN device outer: "), "{}", refusal(&taken));
    let common = TunnelDevice { name: "keyway0".to_owned(), ..wanted.clone() };
    assert_eq!(refusal(&common), "keyway0 is the device that all other tunnels share");
    assert_eq!(lab.device(End::A, "vpn0"), None);
    lab.inside(End::A, |_| plane.add_device(&wanted)).expect("root may");
    let same_number = TunnelDevice { name: "vpn9".to_owned(), ..wanted };
    assert_eq!(refusal(&same_number), "the tunnel device vpn0 has the same number");

    lab.ip(End::A, "link del vpn0");
    let told = heard.recv_timeout(PATIENCE).expect("it is noticed");
    let PlaneEvent::HostFault(sentence) = told else { panic!("{told:?}") };
    assert!(sentence.starts_with("the TUN device vpn0 is gone, and traffic with it: "), "{sentence}");
}

/// The route to the peer itself leads into the tunnel: a sealed packet would be sealed again, and again.
#[test]
fn a_sealed_packet_that_is_routed_into_a_tunnel_is_dropped() {
    let Ends { a, b: _b, lab } = ends(&[VPN0]);
    let spi = Spi(0x0010_0000 | VPN0.0 << 8 | u32::from(number(End::B)));
    let packets = || a.usage(sa(Direction::Outbound, End::A, spi).id()).map_or(0, |usage| usage.packets);
    assert_success(&lab.ping(End::A, "10.255.1.2", 1));
    let before = packets();
    lab.ip(End::A, "route add 192.0.2.2/32 dev vpn0");
    assert!(!lab.ping(End::A, "10.255.1.2", 10).status.success());
    // The kernel may have a word with its neighbours, too.
    assert!((10..20).contains(&(packets() - before)), "{} packets for ten pings", packets() - before);
}

/// Debian's BIRD finds its neighbour across the tunnel, in both families, and learns the other side's networks.
#[test]
fn bird_speaks_ospf_across_it() {
    let Ends { a: _a, b: _b, lab } = ends(&[VPN0]);
    let _routers = [End::A, End::B].map(|end| Router::start(&lab, end));
    for (end, networks) in [
        (End::A, ["10.2.0.1 via 10.255.1.2 dev vpn0", "fd00:2::1 "]),
        (End::B, ["10.1.0.1 via 10.255.1.1 dev vpn0", "fd00:1::1 "]),
    ] {
        for (family, network) in ["-4", "-6"].into_iter().zip(networks) {
            within_patience(&format!("{network} is learnt"), || {
                let routes = lab.command(end, "ip").args([family, "route", "show", "proto", "bird"]).output();
                String::from_utf8_lossy(&routes.expect("ip is there").stdout).contains(network)
            });
        }
    }
    assert_success(&lab.ping(End::A, "10.2.0.1", 2));
    assert_success(&lab.ping(End::B, "fd00:1::1", 2));
}

/// A BIRD on one gateway, which announces the addresses of `lo`.
struct Router(std::process::Child);

impl Router {
    fn start(lab: &Lab, end: End) -> Router {
        let name = |what: &str| lab.directory.join(format!("bird{}.{what}", number(end)));
        let area = "area 0 { interface \"vpn0\" { type ptp; hello 1; }; };";
        let learnt = "export where source ~ [ RTS_OSPF_EXT1, RTS_OSPF_EXT2 ]";
        let configuration = format!(
            "router id 10.255.1.{};\n protocol device {{ scan time 1; }}\n \
             protocol direct {{ ipv4; ipv6; interface \"lo\"; }}\n \
             protocol kernel {{ ipv4 {{ {learnt}; }}; }}\n protocol kernel {{ ipv6 {{ {learnt}; }}; }}\n \
             protocol ospf v2 {{ ipv4 {{ export where source = RTS_DEVICE; }}; {area} }}\n \
             protocol ospf v3 {{ ipv6 {{ export where source = RTS_DEVICE; }}; {area} }}\n",
            number(end)
        );
        std::fs::write(name("conf"), configuration).expect("a writable directory");
        let mut bird = lab.command(end, "bird");
        bird.arg("-f").arg("-c").arg(name("conf")).arg("-s").arg(name("socket")).arg("-P").arg(name("pid"));
        Router(bird.spawn().expect("ip is there"))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An administrator's firewall or routing rules see the mark; our own rule and blocks let the packets pass all the same,
/// though the policy protects everything between the two hosts.
#[test]
fn sealed_packets_carry_the_mark_that_is_wanted() {
    for encapsulation in [Encapsulation::Udp, Encapsulation::None] {
        let lab = Lab::new();
        let planes = [End::A, End::B].map(|end| (end, lab.plane(end).0));
        let mut outbound = Vec::new();
        for (end, plane) in &planes {
            let host = |number: u8| format!("192.0.2.{number}/32").parse().expect("the test's own selector");
            let (ours, theirs) = (number(*end), 3 - number(*end));
            let selectors = vec![SelectorPair { local: host(ours), remote: host(theirs) }];
            for (direction, receiver) in [(Direction::Inbound, ours), (Direction::Outbound, theirs)] {
                let spec = sa(direction, *end, Spi(0x0010_0000 | u32::from(receiver)));
                let outer = Outer { encapsulation, ..spec.outer };
                let handling = Handling { mark: 42, ..Handling::default() };
                let policy = PolicyId(1);
                let spec = SaSpec { outer, handling, policy, selectors: selectors.clone(), ..spec };
                let name = spec.id();
                plane.apply(SaOp::InstallSa(Box::new(spec)));
                if direction == Direction::Outbound {
                    let action = PolicyAction::Protect;
                    let spec = PolicySpec {
                        id: policy,
                        priority: 10,
                        selectors: selectors.clone(),
                        action,
                        device: None,
                    };
                    plane.apply(SaOp::InstallPolicy(spec));
                    plane.apply(SaOp::UseOutbound { policy, sa: name });
                    outbound.push(name);
                }
            }
        }
        let sees = "table ip sees { chain out { type filter hook postrouting priority 400; meta mark 42 counter; }; }";
        run(lab.command(End::A, "nft").arg(sees));
        assert_success(&lab.ping(End::A, "192.0.2.2", 3));
        let listing = lab.command(End::A, "nft").args(["list", "table", "ip", "sees"]).output();
        let listing = String::from_utf8(listing.expect("nft is there").stdout).expect("nft writes text");
        assert!(listing.contains("counter packets 3 "), "{listing}");
        assert_eq!(
            lab.rule_lines(End::A),
            8,
            "two of ours, and around them two for the mark, two for what passes, and two to land on"
        );

        let (_, plane) = &planes[0];
        plane.apply(SaOp::RemoveSa(outbound[0]));
        assert_eq!(lab.rule_lines(End::A), 6);
    }
}
