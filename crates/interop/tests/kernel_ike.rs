//! Keyway negotiates with strongSwan inside a booted kernel, and that kernel carries out what they agree on: what
//! strongSwan's own user-space ESP cannot do.

use std::net::IpAddr;
use std::sync::Arc;

use interop::Implementation::Keyway;
use interop::traffic::{Server, visit_here};
use interop::{End, Failure, Family, Guest, GuestStrongSwan, Lab, Pair, Result, Tunnel, Wire};

/// Where gateways answer.
const PORT: u16 = 7;

/// Keyway at a, strongSwan on Linux at b, and servers on both gateways.
struct Bench {
    pair: Pair,
    guest: Arc<Guest>,
    servers: Vec<Server>,
}

impl Bench {
    fn new(wire: Wire) -> Result<Bench> {
        let lab = Lab::new(wire)?;
        let strongswan = GuestStrongSwan::start(&lab, End::B)?;
        let guest = Arc::clone(strongswan.guest());
        println!("against strongSwan on Linux {}", guest.release());
        let mut servers = Vec::new();
        let mut of_the_guest = Vec::new();
        for family in [Family::V4, Family::V6] {
            for address in [lab.a.outside(family), lab.a.gateway_inside(family)] {
                servers.push(lab.a.gateway.inside(|| Server::start_here((address, PORT).into()))?);
            }
            of_the_guest.extend([lab.b.outside(family), lab.b.gateway_inside(family)]);
        }
        guest.serve(&of_the_guest.into_iter().map(|address| (address, PORT).into()).collect::<Vec<_>>())?;
        let pair = Pair { a: Keyway.start(&lab, End::A)?, b: Box::new(strongswan), lab };
        Ok(Bench { pair, guest, servers })
    }

    /// Lets the gateways visit each other's outer addresses.
    fn visit(&self, family: Family) -> Result<()> {
        let lab = &self.pair.lab;
        self.visit_at([lab.a.outside(family), lab.b.outside(family)], family)
    }

    /// Lets the gateways visit each other at these addresses, a's and b's.
    fn visit_at(&self, [a, b]: [IpAddr; 2], family: Family) -> Result<()> {
        let lab = &self.pair.lab;
        lab.a.gateway.inside(|| visit_here((b, PORT).into()))?;
        if lab.seen_address(End::A, family) != lab.a.outside(family) {
            // Who is behind a NAT cannot be visited.
            return Ok(());
        }
        self.guest.visit((a, PORT).into())
    }

    /// Makes sure that Linux has SAs of this protocol and mode, as `ip xfrm state` words them, in both directions.
    fn linux_has(&self, protocol: &str, mode: &str) -> Result<()> {
        let states = self.guest.run("ip xfrm state")?;
        let found = states.split("\nsrc ").filter(|state| {
            state.contains(&format!("proto {protocol} ")) && state.contains(&format!(" mode {mode}"))
        });
        if found.count() >= 2 {
            return Ok(());
        }
        Err(Failure::new(format!("Linux has no pair of {protocol} in {mode} mode:\n{states}")))
    }

    fn dismantle(self) {
        let Bench { pair: Pair { a, b, lab }, guest, servers } = self;
        drop((a, b, guest, servers));
        lab.dismantle();
    }
}

/// What a child says of itself, and what Linux then has.
struct Row {
    lines: &'static [&'static str],
    connection: &'static [&'static str],
    linux: &'static [(&'static str, &'static str)],
}

const HOST_TO_HOST: [Row; 9] = [
    Row { lines: &["mode = transport"], connection: &[], linux: &[("esp", "transport")] },
    Row { lines: &["mode = transport"], connection: &["encap = yes"], linux: &[("esp", "transport")] },
    Row { lines: &["mode = tunnel"], connection: &[], linux: &[("esp", "tunnel")] },
    Row {
        lines: &["mode = transport", "ah_proposals = sha256-x25519"],
        connection: &[],
        linux: &[("ah", "transport")],
    },
    Row {
        lines: &["mode = tunnel", "ah_proposals = sha512-esn-x25519"],
        connection: &[],
        linux: &[("ah", "tunnel")],
    },
    Row {
        lines: &["mode = transport", "ipcomp = yes"],
        connection: &[],
        linux: &[("comp", "transport"), ("esp", "transport")],
    },
    Row {
        lines: &["mode = tunnel", "ipcomp = yes"],
        connection: &[],
        linux: &[("comp", "tunnel"), ("esp", "transport")],
    },
    Row { lines: &["mode = beet"], connection: &[], linux: &[("esp", "beet")] },
    Row { lines: &["mode = beet"], connection: &["encap = yes"], linux: &[("esp", "beet")] },
];

/// The child of two hosts: what they say to each other.
fn host_to_host(version: u8, outside: Family, row: &Row) -> Tunnel {
    let dynamic = || Some("dynamic".to_owned());
    let suite = match version {
        1 => ["aes128-sha256-x25519", "aes128gcm16-x25519"],
        _ => ["aes128gcm16-prfsha256-x25519", "aes128gcm16-x25519-esn-noesn"],
    };
    let mut tunnel = Tunnel {
        version,
        outside,
        local_selectors: dynamic(),
        remote_selectors: dynamic(),
        ..Tunnel::default().suite(suite[0], suite[1])
    };
    if row.lines.iter().any(|line| line.starts_with("ah_proposals")) {
        tunnel.esp_proposals.clear();
    }
    for line in row.connection {
        tunnel = tunnel.connection_line(line);
    }
    for line in row.lines {
        tunnel = tunnel.child_line(line);
    }
    tunnel
}

#[test]
fn guest_strongswan_and_we_protect_what_two_hosts_say_in_every_mode() -> Result<()> {
    protects_in_every_mode(2)
}

#[test]
fn guest_strongswan_and_we_protect_what_two_hosts_say_in_every_mode_of_version_1() -> Result<()> {
    protects_in_every_mode(1)
}

fn protects_in_every_mode(version: u8) -> Result<()> {
    let bench = Bench::new(Wire::Plain)?;
    let mut failed = Vec::new();
    for family in [Family::V4, Family::V6] {
        // IKEv1 has no BEET mode.
        let rows = HOST_TO_HOST.iter().filter(|row| version != 1 || !row.lines.contains(&"mode = beet"));
        for (row, from) in rows.zip([End::A, End::B].into_iter().cycle()) {
            let name = format!(
                "{} {} {family:?}, {from} initiates",
                row.lines.join(", "),
                row.connection.join(", ")
            );
            // strongSwan leaves what it replaces in IKEv1 to expire, so the one who renews keys is always Keyway there.
            let renewing = if version == 1 { End::A } else { from.other() };
            let tunnel = host_to_host(version, family, row);
            match protects(&bench, &tunnel, family, row, [from, renewing]) {
                Ok(()) => println!("ok      {name}"),
                Err(failure) => {
                    println!("FAILED  {name}: {failure}");
                    failed.push(name);
                    // What is left of it must not fail the next one as well.
                    let _ = bench.pair.terminate(End::A);
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} rows failed:\n{}", failed.len(), failed.join("\n"));
    bench.dismantle();
    Ok(())
}

fn protects(
    bench: &Bench,
    tunnel: &Tunnel,
    family: Family,
    row: &Row,
    [from, renewing]: [End; 2],
) -> Result<()> {
    bench.pair.configure(tunnel)?;
    bench.pair.initiate(from)?;
    bench.pair.settled()?;
    for (protocol, mode) in row.linux {
        bench.linux_has(protocol, mode)?;
    }
    bench.visit(family)?;
    bench.pair.rekey_child(renewing)?;
    bench.visit(family)?;
    bench.pair.terminate(from)
}

#[test]
fn guest_strongswan_and_we_share_tunnels_between_networks() -> Result<()> {
    const SUITES: [&str; 5] = [
        "aes256gcm16-x25519-esn",
        "chacha20poly1305-x25519-esn",
        "aes128-sha256-x25519-esn",
        "aes256ctr-sha512-x25519-esn",
        "aes128ccm16-x25519-noesn",
    ];
    let bench = Bench::new(Wire::Plain)?;
    for (suite, (outside, from)) in
        SUITES.iter().zip([(Family::V4, End::A), (Family::V6, End::B)].into_iter().cycle())
    {
        let tunnel = Tunnel { outside, inside: vec![Family::V4, Family::V6], ..Tunnel::default() }
            .suite("aes128gcm16-prfsha256-x25519", suite);
        carries(&bench, &tunnel, from).map_err(Failure::at(suite))?;
        println!("ok      {suite} over {outside:?}");
    }
    let ah = Tunnel { esp_proposals: String::new(), ..Tunnel::default() }
        .child_line("ah_proposals = sha384-x25519");
    carries(&bench, &ah, End::B).map_err(Failure::at("AH"))?;
    bench.dismantle();
    Ok(())
}

fn carries(bench: &Bench, tunnel: &Tunnel, from: End) -> Result<()> {
    let pair = &bench.pair;
    pair.configure(tunnel)?;
    pair.initiate(from)?;
    pair.settled()?;
    pair.carry(tunnel)?;
    pair.rekey_child(from)?;
    pair.rekey_child(from.other())?;
    pair.rekey_ike(from.other())?;
    pair.carry(tunnel)?;
    pair.terminate(from.other())
}

/// In BEET mode a packet leaves its addresses behind, here others than those between which it goes.
#[test]
fn guest_strongswan_and_we_keep_inner_addresses_in_beet_mode() -> Result<()> {
    let bench = Bench::new(Wire::Plain)?;
    let pair = &bench.pair;
    for (outside, inside, from) in [(Family::V4, Family::V6, End::A), (Family::V6, Family::V4, End::B)] {
        let inner = |end| pair.lab.site(end).gateway_inside(inside);
        for end in [End::A, End::B] {
            let tunnel = Tunnel {
                outside,
                local_selectors: Some(inner(end).to_string()),
                remote_selectors: Some(inner(end.other()).to_string()),
                ..Tunnel::default().child_line("mode = beet")
            };
            pair.gateway(end).configure(&tunnel.text(&pair.lab, end))?;
        }
        pair.initiate(from)?;
        pair.settled()?;
        bench.linux_has("esp", "beet")?;
        bench.visit_at([End::A, End::B].map(inner), inside)?;
        pair.rekey_ike(from)?;
        pair.rekey_child(from.other())?;
        bench.visit_at([End::A, End::B].map(inner), inside)?;
        pair.terminate(from)?;
    }
    bench.dismantle();
    Ok(())
}

/// RFC 3948 §3.1.2: the checksums cover addresses that the NAT has changed, and each end repairs what it opens.
#[test]
fn guest_strongswan_meets_our_transport_mode_behind_a_nat() -> Result<()> {
    let bench = Bench::new(Wire::Nat)?;
    let tunnel = host_to_host(2, Family::V4, &HOST_TO_HOST[0]);
    bench.pair.configure(&tunnel)?;
    bench.pair.initiate(End::A)?;
    bench.pair.settled()?;
    bench.linux_has("esp", "transport")?;
    bench.visit(Family::V4)?;
    bench.pair.rekey_child(End::B)?;
    bench.visit(Family::V4)?;
    bench.pair.terminate(End::B)?;
    bench.dismantle();
    Ok(())
}
