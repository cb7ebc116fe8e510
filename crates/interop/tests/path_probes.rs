//! Paths that swallow what is too long without a word: whoever does not try them out (RFC 8899) sends into a hole.

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::traffic::{Pace, Transfer};
use interop::{Capture, End, Family, Pair, Result, Tunnel, Wire};

/// What the path to site b takes, in octets of a packet.
const TAKES: u16 = 1300;

/// How ESP crosses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encapsulation {
    None,
    Udp,
}

fn tunnel(outside: Family, encapsulation: Encapsulation) -> Tunnel {
    let tunnel = Tunnel { outside, ..Tunnel::default() };
    match encapsulation {
        Encapsulation::None => tunnel,
        Encapsulation::Udp => tunnel.connection_line("encap = yes"),
    }
}

fn pair(b: Implementation, probed: &Tunnel, other: &Tunnel) -> Result<Pair> {
    let pair = Pair::new(Wire::Plain, Keyway, b, other)?;
    pair.a.configure(&probed.text(&pair.lab, End::A))?;
    pair.lab.swallow_longer(End::B, TAKES)?;
    pair.initiate(End::A)?;
    Ok(pair)
}

fn transfer(pair: &Pair) -> Result<Transfer> {
    let (a, b) = (&pair.lab.a, &pair.lab.b);
    Transfer::run(&a.host, &b.host, b.host_address(Family::V4), 200_000, Pace::Unlimited)
}

/// A connection that is there before the path is known goes on when it is, and is the only one that has to wait.
fn passes_with_probes(b: Implementation, outside: Family, encapsulation: Encapsulation) -> Result<()> {
    let other = tunnel(outside, encapsulation);
    let probed = other.clone().connection_line("path_mtu_probing = yes");
    let pair = pair(b, &probed, &other)?;
    let capture = Capture::start(&pair.lab, End::A, &pair.lab.directory().join("wire.pcapng"))?;

    transfer(&pair)?;
    transfer(&pair)?;

    let recording = capture.finish()?;
    let (to_b, ip) = match outside {
        Family::V4 => (format!("ip.dst == {}", pair.lab.b.outside(outside)), "ip.len"),
        Family::V6 => (format!("ipv6.dst == {}", pair.lab.b.outside(outside)), "ipv6.plen + 40"),
    };
    assert!(recording.count(&format!("{to_b} && isakmp.exchangetype == 37 && {ip} == 1500"))? > 0, "probes");
    assert_eq!(pair.settled()?, pair.settled()?, "the SAs stand");
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn passes_with_probes_keyway_to_keyway_over_ipv4() -> Result<()> {
    passes_with_probes(Keyway, Family::V4, Encapsulation::None)
}

#[test]
fn passes_with_probes_keyway_to_keyway_over_ipv4_in_udp() -> Result<()> {
    passes_with_probes(Keyway, Family::V4, Encapsulation::Udp)
}

#[test]
fn passes_with_probes_keyway_to_keyway_over_ipv6() -> Result<()> {
    passes_with_probes(Keyway, Family::V6, Encapsulation::None)
}

#[test]
fn passes_with_probes_keyway_to_keyway_over_ipv6_in_udp() -> Result<()> {
    passes_with_probes(Keyway, Family::V6, Encapsulation::Udp)
}

#[test]
fn passes_with_probes_keyway_to_strongswan() -> Result<()> {
    passes_with_probes(StrongSwan, Family::V4, Encapsulation::Udp)
}

/// Without probes the same connection stands still, or else the tests above would show nothing.
fn stands_still_without(b: Implementation) -> Result<()> {
    let tunnel = tunnel(Family::V4, Encapsulation::Udp);
    let pair = pair(b, &tunnel, &tunnel)?;

    assert!(transfer(&pair).is_err());
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn stands_still_without_probes_keyway_to_keyway() -> Result<()> {
    stands_still_without(Keyway)
}

#[test]
fn stands_still_without_probes_keyway_to_strongswan() -> Result<()> {
    stands_still_without(StrongSwan)
}
