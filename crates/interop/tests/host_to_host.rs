//! Two hosts that protect what they say to each other: every mode and protocol that IKE can ask for, their own packets never
//! caught by their own policies.

use interop::Implementation::Keyway;
use interop::traffic::{Gre, Pace, Ping, Transfer, echo_udp};
use interop::{Capture, End, Failure, Family, Gateway, Lab, Pair, Result, Tunnel, Wire};

/// What a child says of itself, and what the wire then carries.
struct Row {
    name: &'static str,
    lines: &'static [&'static str],
    connection: &'static [&'static str],
    on_the_wire: &'static str,
}

const ROWS: [Row; 7] = [
    Row {
        name: "ESP in transport mode",
        lines: &["mode = transport"],
        connection: &[],
        on_the_wire: "esp && !udp",
    },
    Row {
        name: "ESP in transport mode inside UDP",
        lines: &["mode = transport"],
        connection: &["encap = yes"],
        on_the_wire: "udpencap && esp",
    },
    Row {
        name: "ESP in tunnel mode",
        lines: &["mode = tunnel"],
        connection: &[],
        on_the_wire: "esp && !udp",
    },
    Row { name: "ESP in BEET mode", lines: &["mode = beet"], connection: &[], on_the_wire: "esp && !udp" },
    Row {
        name: "AH in transport mode",
        lines: &["mode = transport", "ah_proposals = sha256"],
        connection: &[],
        on_the_wire: "ah && !esp",
    },
    Row {
        name: "AH in tunnel mode",
        lines: &["mode = tunnel", "ah_proposals = sha384"],
        connection: &[],
        on_the_wire: "ah && !esp",
    },
    Row {
        name: "compressed ESP in transport mode",
        lines: &["mode = transport", "ipcomp = yes"],
        connection: &[],
        on_the_wire: "esp && !udp",
    },
];

/// The child of two hosts: what they say to each other.
fn tunnel(outside: Family, row: &Row) -> Tunnel {
    let mut tunnel = Tunnel {
        outside,
        local_selectors: Some("dynamic".to_owned()),
        remote_selectors: Some("dynamic".to_owned()),
        ..Tunnel::default()
    };
    for line in row.connection {
        tunnel = tunnel.connection_line(line);
    }
    if row.lines.iter().any(|line| line.starts_with("ah_proposals")) {
        tunnel.esp_proposals.clear();
    }
    for line in row.lines {
        tunnel = tunnel.child_line(line);
    }
    tunnel
}

fn every_mode_carries(family: Family) -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &tunnel(family, &ROWS[0]))?;
    for row in &ROWS {
        in_this_mode(&pair, family, row).map_err(Failure::at(row.name))?;
    }
    pair.lab.dismantle();
    Ok(())
}

fn in_this_mode(pair: &Pair, family: Family, row: &Row) -> Result<()> {
    pair.configure(&tunnel(family, row))?;
    pair.initiate(End::A)?;
    pair.settled()?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("host-to-host.pcapng"))?;
    pair.carry_between_gateways(family)?;
    pair.rekey_child(End::B)?;
    pair.carry_between_gateways(family)?;
    if family == Family::V4 {
        speak_gre(pair)?;
    }
    let recording = capture.finish()?;
    let protected = recording.count(row.on_the_wire)?;
    // Of what is neither protected nor IKE only neighbours' search for each other may be seen, and their groups. What comes
    // in fragments is told by the last of them.
    let others = recording.count(&format!(
        "!({}) && !isakmp && !arp && !icmpv6.nd.ns.target_address && !icmpv6.nd.na.target_address \
         && !(ipv6.dst == ff00::/8) && !(ip.flags.mf == 1) && !(ipv6.fraghdr.more == 1)",
        row.on_the_wire
    ))?;
    if protected < 100 || others > 0 {
        return Err(Failure::new(format!("{protected} packets are protected and {others} are not")));
    }
    pair.terminate(End::A)
}

#[test]
fn two_hosts_protect_what_they_say_in_every_mode() -> Result<()> {
    every_mode_carries(Family::V4)
}

#[test]
fn two_hosts_protect_what_they_say_in_every_mode_over_ipv6() -> Result<()> {
    every_mode_carries(Family::V6)
}

/// Octets that a packet may have where links are wide.
const JUMBO: u16 = 9000;
/// The same inside a tunnel.
const INNER_JUMBO: &str = "8800";
/// A datagram that such a tunnel carries whole, in each mode and family.
const DATAGRAM: usize = 8600;

/// One packet carries what six would: where links are wide, so is what goes through them.
fn wide_links_carry_jumbo_packets(family: Family) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    lab.widen(JUMBO)?;
    let daemon = |end| {
        let daemon =
            interop::Keyway::start_with(&lab, end, "", &["--mtu", INNER_JUMBO, "--retransmit-timeout", "1"])?;
        Ok::<Box<dyn Gateway>, Failure>(Box::new(daemon))
    };
    let pair = Pair { a: daemon(End::A)?, b: daemon(End::B)?, lab };
    for row in &ROWS {
        jumbo_in_this_mode(&pair, family, row).map_err(Failure::at(row.name))?;
    }
    pair.lab.dismantle();
    Ok(())
}

fn jumbo_in_this_mode(pair: &Pair, family: Family, row: &Row) -> Result<()> {
    pair.configure(&tunnel(family, row))?;
    pair.initiate(End::A)?;
    pair.settled()?;
    let (a, b) = (&pair.lab.a, &pair.lab.b);
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("jumbo.pcapng"))?;
    let returned = echo_udp(&a.gateway, &b.gateway, b.outside(family), 6, DATAGRAM)?;
    Transfer::run(&b.gateway, &a.gateway, a.outside(family), 500_000, Pace::Unlimited)?;
    let recording = capture.finish()?;
    let (whole, parts) = (
        recording.count(&format!("({}) && frame.len > {DATAGRAM}", row.on_the_wire))?,
        recording.count("ip.flags.mf == 1 || ipv6.fraghdr.more == 1")?,
    );
    // What TCP sends in one go is captured in one piece, whatever it was on a wire of copper.
    if returned != 6 || whole < 18 || parts > 0 {
        return Err(Failure::new(format!(
            "{returned} of 6 came back, in {whole} packets and {parts} fragments"
        )));
    }
    pair.terminate(End::A)
}

#[test]
fn jumbo_packets_cross_every_mode() -> Result<()> {
    wide_links_carry_jumbo_packets(Family::V4)
}

#[test]
fn jumbo_packets_cross_every_mode_over_ipv6() -> Result<()> {
    wide_links_carry_jumbo_packets(Family::V6)
}

/// RFC 3948 §3.1.2: the checksums of TCP and UDP cover addresses that the NAT has changed.
#[test]
fn transport_mode_repairs_checksums_behind_a_nat() -> Result<()> {
    let tunnel = Tunnel {
        local_selectors: Some("dynamic".to_owned()),
        remote_selectors: Some("dynamic".to_owned()),
        ..Tunnel::default()
    }
    .child_line("mode = transport");
    let pair = Pair::new(Wire::Nat, Keyway, Keyway, &tunnel)?;
    pair.initiate(End::A)?;
    pair.settled()?;
    let (a, b) = (&pair.lab.a, &pair.lab.b);
    let seen = pair.lab.seen_address(End::A, Family::V4);
    Transfer::run(&a.gateway, &b.gateway, b.outside(Family::V4), 200_000, Pace::Unlimited)?;
    let returned = echo_udp(&a.gateway, &b.gateway, b.outside(Family::V4), 6, 400)?;
    let ping = Ping::run(&b.gateway, seen, 5, 100)?;
    assert_eq!((returned, ping.received), (6, 5));
    pair.lab.dismantle();
    Ok(())
}

/// A child for GRE alone, whose route leads to the device whatever one host says to the other: the rest passes as if there
/// were no child, while it is up, while it is not, and while its daemon goes.
#[test]
fn what_no_policy_selects_passes_beside_what_is_protected() -> Result<()> {
    let selectors = Some("dynamic[gre]".to_owned());
    let tunnel =
        Tunnel { local_selectors: selectors.clone(), remote_selectors: selectors, ..Tunnel::default() }
            .child_line("mode = transport")
            .child_line("start_action = trap");
    let mut pair = Pair::new(Wire::Plain, Keyway, Keyway, &tunnel)?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("beside.pcapng"))?;
    let at_b = pair.lab.b.outside(Family::V4);
    let gre = Gre::open(&pair.lab.a.gateway, pair.lab.a.outside(Family::V4))?;
    gre.send(at_b, b"brings it up")?;
    pair.settled()?;
    pair.carry_between_gateways(Family::V4)?;
    let ping = Ping::start(&pair.lab.a.gateway, at_b, 400, 100)?;
    gre.send(at_b, b"before")?;
    pair.gateway_mut(End::A).stop()?;
    gre.send(at_b, b"after").expect_err("it is blocked");
    let ping = ping.finish()?;
    assert!(ping.received + 5 > ping.sent, "{ping:?}");
    let recording = capture.finish()?;
    assert_eq!(recording.count("gre")?, 0);
    assert!(recording.count("icmp && !esp")? > 400);
    pair.lab.dismantle();
    Ok(())
}

/// Sends twenty GRE packets each way, each when the one before has come.
fn speak_gre(pair: &Pair) -> Result<()> {
    let (a, b) = (&pair.lab.a, &pair.lab.b);
    let (at_a, at_b) = (a.outside(Family::V4), b.outside(Family::V4));
    let ends = [Gre::open(&a.gateway, at_a)?, Gre::open(&b.gateway, at_b)?];
    for nth in 0..20 {
        let message = [nth; 700];
        ends[0].send(at_b, &message)?;
        assert_eq!(ends[1].receive()?, message);
        ends[1].send(at_a, &message[..100])?;
        assert_eq!(ends[0].receive()?, message[..100]);
    }
    Ok(())
}

/// RFC 4301 §4.1: what tunnels of another kind carry can be protected from host to host.
#[test]
fn gre_crosses_in_transport_mode() -> Result<()> {
    let selectors = Some("dynamic[gre]".to_owned());
    let tunnel =
        Tunnel { local_selectors: selectors.clone(), remote_selectors: selectors, ..Tunnel::default() }
            .child_line("mode = transport")
            .child_line("start_action = trap");
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &tunnel)?;
    pair.initiate(End::A)?;
    pair.settled()?;
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("gre.pcapng"))?;
    speak_gre(&pair)?;
    let recording = capture.finish()?;
    assert_eq!(recording.count("gre")?, 0);
    assert!(recording.count("esp")? >= 40);
    pair.lab.dismantle();
    Ok(())
}
