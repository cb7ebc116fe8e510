//! A path that takes less than the gateways' own links: what they learn of it, and what goes through it.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::laboratory::*;

const V4: [&str; 2] = ["192.0.2.1", "198.51.100.1"];
const V6: [&str; 2] = ["2001:db8:1::1", "2001:db8:2::1"];
const INNER: [[&str; 2]; 2] = [["10.1.0.1", "10.2.0.1"], ["fd00:1::1", "fd00:2::1"]];

#[test]
fn esp_in_udp_over_ipv4_through_1400() {
    crosses("udp", V4, 1400);
}

#[test]
fn esp_alone_over_ipv4_through_1400() {
    crosses("esp", V4, 1400);
}

#[test]
fn esp_in_udp_over_ipv6_through_1400() {
    crosses("udp", V6, 1400);
}

#[test]
fn esp_alone_over_ipv6_through_1400() {
    crosses("esp", V6, 1400);
}

#[test]
fn esp_in_udp_over_ipv4_through_1280() {
    crosses("udp", V4, 1280);
}

#[test]
fn esp_alone_over_ipv4_through_1280() {
    crosses("esp", V4, 1280);
}

#[test]
fn esp_in_udp_over_ipv6_through_1280() {
    crosses("udp", V6, 1280);
}

#[test]
fn esp_alone_over_ipv6_through_1280() {
    crosses("esp", V6, 1280);
}

/// TCP both ways, datagrams far longer than the path takes, and pings that must not be cut and are told how long they may be.
fn crosses(carrier: &str, outer: [&str; 2], mtu: u32) {
    let lab = Lab::routed(mtu);
    let _a = lab.gateway(End::A, carrier, outer, SITES, &[]);
    let _b = lab.gateway(End::B, carrier, outer, SITES, &[]);
    let longest = longest_inner(carrier, outer, mtu);
    for [inner_a, inner_b] in INNER {
        lab.transfer(End::A, End::B, inner_b);
        lab.transfer(End::B, End::A, inner_a);
        let told = if inner_a.contains(':') { longest.max(1280) } else { longest };
        for (from, to) in [(End::A, inner_b), (End::B, inner_a)] {
            assert_eq!(told_mtu(&lab, from, to), Some(told));
            assert_success(&uncut_ping(&lab, from, to, told));
        }
        for octets in [8_000, 60_000] {
            datagram_crosses(&lab, [(End::A, inner_a), (End::B, inner_b)], octets);
            datagram_crosses(&lab, [(End::B, inner_b), (End::A, inner_a)], octets);
        }
    }
}

/// Octets of the longest inner packet: AES-GCM has 8 octets in front of its ciphertext, 16 behind it, and pads to 4.
fn longest_inner(carrier: &str, outer: [&str; 2], mtu: u32) -> u32 {
    let ip = if outer[0].contains(':') { 40 } else { 20 };
    let udp = if carrier == "udp" { 8 } else { 0 };
    (mtu - ip - udp - 8 - 8 - 16) / 4 * 4 - 2
}

/// Sends pings that are too long and must not be cut; gives the MTU that the sender hears of.
fn told_mtu(lab: &Lab, from: End, to: &str) -> Option<u32> {
    let output = uncut_ping(lab, from, to, 1390);
    assert!(!output.status.success());
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let behind = ["mtu = ", "mtu=", "mtu: "].iter().find_map(|words| text.split_once(words))?.1;
    behind.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

fn uncut_ping(lab: &Lab, from: End, to: &str, octets: u32) -> std::process::Output {
    let headers = if to.contains(':') { 48 } else { 28 };
    let size = (octets - headers).to_string();
    let mut command = lab.command(from, "ping");
    command.args(["-M", "do", "-c", "2", "-i", "0.2", "-W", "2", "-s", &size, to]);
    command.output().expect("ping is there")
}

/// The kernel cuts it for the tunnel device, and puts it together at the other end.
fn datagram_crosses(lab: &Lab, [(from, source), (to, destination)]: [(End, &str); 2], octets: usize) {
    let at = |text: &str| SocketAddr::new(text.parse::<IpAddr>().expect("the test's own address"), 9);
    let receiver = lab.inside(to, |_| UdpSocket::bind(at(destination))).expect("a free port");
    let sender = lab.inside(from, |_| UdpSocket::bind(at(source))).expect("a free port");
    let sent: Vec<u8> = pattern().into_iter().take(octets).collect();
    sender.send_to(&sent, at(destination)).expect("the route leads to the plane");
    receiver.set_read_timeout(Some(PATIENCE)).expect("a positive time");
    let mut room = vec![0; octets + 1];
    let received = receiver.recv(&mut room).expect("it arrives");
    assert!(room[..received] == sent, "{received} octets of {octets}");
}
