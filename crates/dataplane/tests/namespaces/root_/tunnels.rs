//! Tunnels between the gateways: what goes through them, what does not, and what a start finds and leaves.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use dataplane::{Dataplane, Delivery, DropReason, IkeDatagram, PlaneEvent, Settings};
use sa::{PolicyAction, PolicyId, SaOp};

use crate::laboratory::*;

#[test]
fn esp_in_udp_over_ipv4() {
    carries_everything("udp", ["192.0.2.1", "192.0.2.2"]);
}

#[test]
fn esp_alone_over_ipv4() {
    carries_everything("esp", ["192.0.2.1", "192.0.2.2"]);
}

#[test]
fn esp_in_udp_over_ipv6() {
    carries_everything("udp", ["2001:db8::1", "2001:db8::2"]);
}

#[test]
fn esp_alone_over_ipv6() {
    carries_everything("esp", ["2001:db8::1", "2001:db8::2"]);
}

/// Pings both ways and moves bulk data both ways, of both families, and counts that all of it went through the SAs.
fn carries_everything(carrier: &str, outer: [&str; 2]) {
    let lab = Lab::new();
    let mut a = lab.gateway(End::A, carrier, outer, SITES, &[]);
    let mut b = lab.gateway(End::B, carrier, outer, SITES, &[]);
    for (inner_a, inner_b) in [("10.1.0.1", "10.2.0.1"), ("fd00:1::1", "fd00:2::1")] {
        assert_success(&lab.ping(End::A, inner_b, 3));
        assert_success(&lab.ping(End::B, inner_a, 3));
        lab.transfer(End::A, End::B, inner_b);
        lab.transfer(End::B, End::A, inner_a);
    }
    assert_eq!(a.ask("drops"), "drops Drops({})");
    assert_eq!(b.ask("drops"), "drops Drops({})");
    for gateway in [&mut a, &mut b] {
        let (inbound, outbound) = gateway.usage();
        assert!(inbound > 4 * BULK_OCTETS as u64 / 1390, "{inbound} octets in");
        assert!(outbound > 4 * BULK_OCTETS as u64 / 1390, "{outbound} octets out");
    }
    lab.assert_idle_is_clean(a, b);
}

/// The selectors are the gateways' own outer addresses: only the mark keeps ESP itself out of the tunnel.
#[test]
fn host_to_host_with_the_peers_own_address_in_the_selector() {
    let lab = Lab::new();
    let outer = ["192.0.2.1", "192.0.2.2"];
    let mut a = lab.gateway(End::A, "udp", outer, outer, &[]);
    let _b = lab.gateway(End::B, "udp", outer, outer, &[]);
    assert_success(&lab.ping(End::A, outer[1], 3));
    let (inbound, outbound) = a.usage();
    assert!(inbound >= 3 * 84 && outbound >= 3 * 84, "{inbound} octets in, {outbound} out");
}

/// The far end has everything behind the tunnel: our own networks lie inside its selector, and are ours all the same.
#[test]
fn everything_behind_the_peer_and_a_network_of_our_own() {
    let lab = Lab::new();
    lab.join_third("10.1.5");
    lab.ip(End::C, "route add default via 10.1.5.1");
    lab.ip(End::A, "addr add 10.1.6.1/32 dev lo");
    let outer = ["192.0.2.1", "192.0.2.2"];
    let selectors = ["10.1.0.0/16,fd00:1::/64", "0.0.0.0/0,::/0"];
    let mut a = lab.gateway(End::A, "udp", outer, selectors, &[]);
    let _b = lab.gateway(End::B, "udp", outer, selectors, &[]);
    assert_eq!(lab.routes(End::B), ["10.1.0.0/16 dev keyway0", "fd00:1::/64 dev keyway0"]);
    for (from, to, crossings) in [
        (End::A, "10.2.0.1", 1),
        (End::A, "fd00:2::1", 1),
        (End::C, "10.2.0.1", 1),
        (End::B, "10.1.0.1", 1),
        (End::B, "10.1.5.2", 1),
        (End::B, "fd00:1::1", 1),
        (End::A, "10.1.5.2", 0),
        (End::C, "10.1.5.1", 0),
        (End::C, "10.1.6.1", 0),
    ] {
        let before = a.packets();
        assert_success(&lab.ping(from, to, 2));
        assert_eq!(a.packets(), before.map(|packets| packets + 2 * crossings), "to {to}");
    }
    assert_eq!(a.ask("drops"), "drops Drops({})");
    a.stop();
    assert_eq!(lab.routes(End::A), Vec::<String>::new());
}

/// What comes out of one tunnel goes into the other, whether the hub names the networks one by one or all at once.
#[test]
fn a_hub_carries_packets_from_one_tunnel_to_the_other() {
    for everything in ["10.0.0.0/8", "0.0.0.0/0"] {
        let lab = Lab::new();
        lab.join_third("198.51.100");
        lab.ip(End::C, "addr add 10.3.0.1/32 dev lo");
        // Otherwise the kernel tells the spokes by ICMP that there is a shorter way, and we count these packets as well.
        for scope in ["all", "default"] {
            let setting = format!("net.ipv4.conf.{scope}.send_redirects=0");
            run(lab.command(End::A, "sysctl").args(["-qw", &setting]));
        }
        let (to_b, to_c) = (["192.0.2.1", "192.0.2.2"], ["198.51.100.1", "198.51.100.2"]);
        let second = ["and", "c", "udp", to_c[0], to_c[1], everything, "10.3.0.0/16"];
        let mut hub = lab.gateway(End::A, "udp", to_b, [everything, "10.2.0.0/16"], &second);
        let _b = lab.gateway(End::B, "udp", to_b, [everything, "10.2.0.0/16"], &[]);
        let _c = lab.gateway(End::C, "udp", to_c, [everything, "10.3.0.0/16"], &[]);
        assert_success(&lab.ping(End::B, "10.1.0.1", 1));
        assert_success(&lab.ping(End::C, "10.1.0.1", 1));
        let before = hub.packets();
        assert_success(&lab.ping(End::B, "10.3.0.1", 2));
        assert_success(&lab.ping(End::C, "10.2.0.1", 2));
        assert_eq!(hub.packets(), before.map(|packets| packets + 4));
        assert_eq!(hub.ask("drops"), "drops Drops({})");
    }
}

/// The first packet asks for the SAs, waits for them and is not lost.
#[test]
fn a_trapped_packet_waits_for_its_sa() {
    let lab = Lab::new();
    let outer = ["192.0.2.1", "192.0.2.2"];
    let _a = lab.gateway(End::A, "udp", outer, SITES, &["trap"]);
    let _b = lab.gateway(End::B, "udp", outer, SITES, &[]);
    assert_success(&lab.ping(End::A, "10.2.0.1", 1));
}

/// Nothing but ESP passes the wire between the gateways, also when the far end is away.
#[test]
fn protected_packets_never_pass_in_the_clear() {
    let lab = Lab::new();
    let outer = ["192.0.2.1", "192.0.2.2"];
    let mut a = lab.gateway(End::A, "udp", outer, SITES, &[]);
    lab.ip(End::B, "addr add 10.2.0.9/32 dev lo");
    lab.ip(End::A, "route add 10.2.0.0/16 via 192.0.2.2");
    lab.ip(End::B, "route add 10.1.0.0/16 via 192.0.2.1");
    // Without the data plane these routes carry the ping; with it, it goes into the tunnel, which leads nowhere.
    assert!(!lab.ping(End::A, "10.2.0.9", 2).status.success());
    let (_, outbound) = a.usage();
    assert_eq!(outbound, 2 * 84);
    a.stop();
    assert_success(&lab.ping(End::A, "10.2.0.9", 1));
}

#[test]
fn what_a_crash_leaves_is_swept_by_the_next_start() {
    let lab = Lab::new();
    let outer = ["192.0.2.1", "192.0.2.2"];
    let a = lab.gateway(End::A, "udp", outer, SITES, &[]);
    a.kill();
    assert_eq!(lab.rules(End::A), 2, "a crash leaves the rules of both families");
    assert!(lab.journal(End::A).exists());
    let mut a = lab.gateway(End::A, "udp", outer, SITES, &[]);
    let b = lab.gateway(End::B, "udp", outer, SITES, &[]);
    assert_eq!(lab.rules(End::A), 2, "no rule stands twice");
    assert_success(&lab.ping(End::A, "10.2.0.1", 1));
    assert!(a.usage().1 >= 84);
    lab.assert_idle_is_clean(a, b);
}

/// `sweep` by itself, for an administrator who does not start the daemon again.
#[test]
fn a_sweep_removes_leftovers_and_leaves_a_living_run_alone() {
    let lab = Lab::new();
    let outer = ["192.0.2.1", "192.0.2.2"];
    let a = lab.gateway(End::A, "udp", outer, SITES, &[]);
    lab.inside(End::A, |lab| dataplane::sweep(&lab.journal(End::A))).expect("nothing to do");
    assert_eq!(lab.rules(End::A), 2);
    a.kill();
    lab.inside(End::A, |lab| dataplane::sweep(&lab.journal(End::A))).expect("root may");
    assert_eq!(lab.rules(End::A), 0);
    assert!(lab.journal(End::A).exists(), "it tells of the blocks");
    lab.inside(End::A, |lab| dataplane::unblock(&lab.journal(End::A))).expect("root may");
    assert!(!lab.journal(End::A).exists());
    lab.inside(End::A, |lab| dataplane::sweep(&lab.journal(End::A))).expect("nothing to do");
}

#[test]
fn a_port_in_use_is_told_with_its_holder() {
    let lab = Lab::new();
    let holder = lab.inside(End::A, |_| UdpSocket::bind("0.0.0.0:4500")).expect("a free port");
    let output = lab.failing_start(End::A);
    let expected = format!("(process {})", std::process::id());
    assert!(output.contains("UDP port 4500 of 0.0.0.0 is in use by "), "{output}");
    assert!(output.contains(&expected), "{output}");
    assert_eq!(lab.rules(End::A), 0);
    assert!(!lab.journal(End::A).exists());
    drop(holder);
}

#[test]
fn a_second_instance_is_refused_and_the_first_undisturbed() {
    let lab = Lab::new();
    let outer = ["192.0.2.1", "192.0.2.2"];
    let _a = lab.gateway(End::A, "udp", outer, SITES, &[]);
    let _b = lab.gateway(End::B, "udp", outer, SITES, &[]);
    let output = lab.failing_start(End::A);
    assert!(output.contains("another Keyway is running: it holds "), "{output}");
    assert_success(&lab.ping(End::A, "10.2.0.1", 1));
}

/// Its own ports, device and journal, but the same rule: what stands belongs to the first.
#[test]
fn a_second_instance_with_a_journal_of_its_own_leaves_the_firsts_rule_alone() {
    let lab = Lab::new();
    let (plane, _) = lab.plane(End::A);
    plane.apply(SaOp::InstallPolicy(policy(1, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.0/16")])));
    let second = Settings {
        ike_port: 1500,
        nat_port: 14500,
        tun_name: "keyway1".to_owned(),
        journal: lab.directory.join("second.journal"),
        ..Settings::default()
    };
    let started = lab.inside(End::A, |_| Dataplane::start(second, |_| Delivery::Taken));
    let error = started.expect_err("the rule is the first's");
    assert_eq!(
        error.to_string(),
        "the routing rule 4500 is already there: another Keyway runs in this network namespace"
    );
    assert!(!lab.directory.join("second.journal").exists());
    assert_eq!(lab.rules(End::A), 2);
    assert_eq!(lab.routes(End::A), ["10.2.0.0/16 dev keyway0 src 10.1.0.1"]);
    plane.stop();
    assert_eq!(lab.rules(End::A), 0);
}

#[test]
fn a_missing_privilege_is_named() {
    let lab = Lab::new();
    let output = lab
        .command(End::A, "setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(gateway_program())
        .args(["a", "udp", "192.0.2.1", "192.0.2.2", "10.1.0.0/16", "10.2.0.0/16"])
        .arg(lab.open_directory().join("journal"))
        .output()
        .expect("setpriv is there");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("needs the privilege CAP_NET_"), "{text}");
}

#[test]
fn routes_follow_the_policies() {
    let lab = Lab::new();
    let (plane, _) = lab.plane(End::A);
    let protect =
        policy(1, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.0/16"), ("fd00:1::/64", "fd00:2::/64")]);
    let twin = policy(2, PolicyAction::Trap, &[("10.1.0.0/16", "10.2.0.0/16")]);
    let bypass = policy(0, PolicyAction::Bypass, &[("0.0.0.0/0", "10.2.9.0/24")]);
    plane.apply(SaOp::InstallPolicy(protect));
    assert_eq!(
        lab.routes(End::A),
        ["10.2.0.0/16 dev keyway0 src 10.1.0.1", "fd00:2::/64 dev keyway0 src fd00:1::1"]
    );
    plane.apply(SaOp::InstallPolicy(twin));
    plane.apply(SaOp::InstallPolicy(bypass));
    plane.apply(SaOp::RemovePolicy(PolicyId(1)));
    assert_eq!(lab.routes(End::A), ["10.2.0.0/16 dev keyway0 src 10.1.0.1", "throw 10.2.9.0/24"]);
    plane.apply(SaOp::RemovePolicy(PolicyId(2)));
    assert_eq!(lab.routes(End::A), Vec::<String>::new());
    plane.stop();
    assert_eq!(lab.rules(End::A), 0);
}

/// One port of a protected prefix is bypassed: the route leads it to the plane, and the plane lets it out.
#[test]
fn a_bypassed_port_leaves_in_the_clear_and_its_neighbour_does_not() {
    let lab = Lab::new();
    let (plane, _) = lab.plane(End::A);
    let sites = [("10.1.0.0/16", "10.2.0.0/16"), ("fd00:1::/64", "fd00:2::/64")];
    plane.apply(SaOp::InstallPolicy(policy(1, PolicyAction::Protect, &sites)));
    let port = [("10.1.0.0/16", "10.2.0.0/16[udp/5353]"), ("fd00:1::/64", "fd00:2::/64[udp/5353]")];
    plane.apply(SaOp::InstallPolicy(policy(0, PolicyAction::Bypass, &port)));
    lab.ip(End::A, "route add 10.2.0.0/16 via 192.0.2.2");
    lab.ip(End::A, "route add fd00:2::/64 via 2001:db8::2");
    for (ours, theirs) in [("10.1.0.1", "10.2.0.1"), ("fd00:1::1", "fd00:2::1")] {
        let at = |text: &str, port| SocketAddr::new(text.parse().expect("the test's own address"), port);
        let bind = |end, address| lab.inside(end, |_| UdpSocket::bind(address)).expect("a free port");
        let (bypassed, protected) = (bind(End::B, at(theirs, 5353)), bind(End::B, at(theirs, 5354)));
        let sender = bind(End::A, at(ours, 0));
        sender.send_to(b"protected", at(theirs, 5354)).expect("the route leads to the plane");
        sender.send_to(b"bypassed", at(theirs, 5353)).expect("the route leads to the plane");
        let mut room = [0; 32];
        bypassed.set_read_timeout(Some(PATIENCE)).expect("a positive time");
        let (octets, from) = bypassed.recv_from(&mut room).expect("it was let out");
        assert_eq!((&room[..octets], from.ip()), (&b"bypassed"[..], at(ours, 0).ip()));
        protected.set_read_timeout(Some(Duration::from_millis(200))).expect("a positive time");
        assert!(protected.recv_from(&mut room).is_err(), "it had no SA");
    }
    assert_eq!(plane.drops().0[&DropReason::Ipsec(ipsec::DropReason::NoSa)], 2);
}

#[test]
fn ike_datagrams_cross_on_both_ports_and_in_both_families() {
    let lab = Lab::new();
    let (a, _) = lab.plane(End::A);
    let (_b, heard) = lab.plane(End::B);
    for (ours, theirs) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
        for port in [500, 4500] {
            let at = |text: &str| SocketAddr::new(text.parse().expect("the test's own address"), port);
            let (local, remote) = (at(ours), at(theirs));
            if port == 4500 {
                a.send_keepalive(local, remote);
            }
            let bytes = format!("to port {port}").into_bytes();
            a.send_ike(IkeDatagram { local, remote, bytes: bytes.clone() });
            let expected = PlaneEvent::Ike(IkeDatagram { local: remote, remote: local, bytes });
            assert_eq!(heard.recv_timeout(PATIENCE), Ok(expected));
        }
    }
}

#[test]
fn this_hosts_addresses_are_told_at_first_and_when_others_change_them() {
    let lab = Lab::new();
    let (_plane, heard) = lab.plane_telling(End::A, |event| matches!(event, PlaneEvent::Uplinks(_)));
    let told = |wanted: &str, is_there: bool| {
        let address: IpAddr = wanted.parse().expect("the test's own address");
        let deadline = Instant::now() + PATIENCE;
        let next = || heard.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        while let Ok(PlaneEvent::Uplinks(addresses)) = next() {
            if addresses.contains(&address) == is_there {
                return;
            }
        }
        panic!("{wanted} was not told");
    };
    told("192.0.2.1", true);
    lab.ip(End::A, "addr add 203.0.113.7/32 dev lo");
    told("203.0.113.7", true);
    lab.ip(End::A, "addr del 203.0.113.7/32 dev lo");
    told("203.0.113.7", false);
}

#[test]
fn a_device_that_is_taken_away_is_told_once() {
    let lab = Lab::new();
    let (_plane, heard) = lab.plane(End::A);
    lab.ip(End::A, "link del keyway0");
    let told = heard.recv_timeout(PATIENCE).expect("it is noticed");
    let PlaneEvent::HostFault(sentence) = told else { panic!("{told:?}") };
    assert!(sentence.starts_with("the TUN device keyway0 is gone, and traffic with it: "), "{sentence}");
    assert!(heard.recv_timeout(Duration::from_secs(1)).is_err(), "one worker tells it once");
}
