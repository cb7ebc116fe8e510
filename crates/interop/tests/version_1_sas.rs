//! ISAKMP SAs of IKEv1 with strongSwan in both roles: phase 1 is made anew under traffic, and several quick modes run at once.

use std::net::SocketAddr;
use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::traffic::{self, Ping};
use interop::{CONNECTION, End, Failure, Family, Lab, Pair, Result, Tied, Tunnel, Wire, until, within};

const PATIENCE: Duration = Duration::from_secs(60);
const PER_SECOND: u32 = 200;
/// Longer than either end keeps an ISAKMP SA that was replaced.
const SECONDS: u32 = 18;

/// Children beside the first, as many as each end begins at once.
const EACH: u16 = 4;
const FIRST_PORT: u16 = 7001;

fn version_1() -> Tunnel {
    Tunnel { version: 1, ..Tunnel::default() }.suite("aes256-sha256-ecp256", "aes128gcm16")
}

/// Either end has phase 1 made anew; the Child SA goes on under the new one, and no packet notices.
fn phase_1_is_made_anew_under_traffic(wire: Wire, a: Implementation, b: Implementation) -> Result<()> {
    let tunnel = version_1();
    let pair = Pair::new(wire, a, b, &tunnel)?;
    pair.initiate(End::A)?;
    for end in [End::A, End::B] {
        let before = pair.in_use()?;
        let address = pair.lab.b.host_address(Family::V4);
        let ping = Ping::start(&pair.lab.a.host, address, PER_SECOND * SECONDS, PER_SECOND)?;
        pair.gateway(end).rekey_ike(CONNECTION)?;
        let is_another = || pair.in_use().ok().filter(|now| now.ike != before.ike);
        let after = within(PATIENCE, "another phase 1 to take the place of the first", is_another)?;
        let ping = ping.finish()?;
        assert_eq!(ping.sent, PER_SECOND * SECONDS);
        assert!(ping.missing.is_empty(), "{end} began; missing are {:?}", ping.missing);
        assert_eq!(after.child, before.child, "the Child SA was adopted");
        assert_eq!(pair.in_use()?, after);
        pair.carry(&tunnel)?;
    }
    pair.terminate(End::A)?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn phase_1_is_made_anew_under_traffic_keyway_to_strongswan() -> Result<()> {
    phase_1_is_made_anew_under_traffic(Wire::Plain, Keyway, StrongSwan)
}

#[test]
fn phase_1_is_made_anew_under_traffic_strongswan_to_keyway() -> Result<()> {
    phase_1_is_made_anew_under_traffic(Wire::Plain, StrongSwan, Keyway)
}

#[test]
fn phase_1_is_made_anew_under_traffic_keyway_to_strongswan_through_nat() -> Result<()> {
    phase_1_is_made_anew_under_traffic(Wire::Nat, Keyway, StrongSwan)
}

#[test]
fn phase_1_is_made_anew_under_traffic_strongswan_to_keyway_through_nat() -> Result<()> {
    phase_1_is_made_anew_under_traffic(Wire::Nat, StrongSwan, Keyway)
}

fn ports() -> std::ops::Range<u16> {
    FIRST_PORT..FIRST_PORT + 2 * EACH
}

fn child(port: u16) -> String {
    format!("to-{port}")
}

/// Gives the tunnel's text with a child more for each port of UDP at site b.
fn with_children(tunnel: &Tunnel, lab: &Lab, end: End) -> String {
    let (here, there) = (lab.site(end).network(Family::V4), lab.site(end.other()).network(Family::V4));
    let selectors = |port: u16| match end {
        End::A => format!("local_ts = {here}[udp]\nremote_ts = {there}[udp/{port}]"),
        End::B => format!("local_ts = {here}[udp/{port}]\nremote_ts = {there}[udp]"),
    };
    let children: String = ports()
        .map(|port| {
            format!("{} {{\n{}\nesp_proposals = aes128gcm16-ecp256\n}}\n", child(port), selectors(port))
        })
        .collect();
    tunnel.text(lab, end).replacen("children {\n", &format!("children {{\n{children}"), 1)
}

/// Each end begins half of the children while the other begins the rest: their quick modes overlap on the one ISAKMP SA.
fn several_quick_modes_at_once(a: Implementation, b: Implementation) -> Result<()> {
    let tunnel = version_1();
    let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    for end in [End::A, End::B] {
        pair.gateway(end).configure(&with_children(&tunnel, &pair.lab, end))?;
    }
    pair.initiate(End::A)?;
    let before = pair.settled()?;
    let begin = |port: u16| {
        let end = if port.is_multiple_of(2) { End::A } else { End::B };
        pair.gateway(end).initiate(&child(port))?.success().map(drop)
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = ports().map(|port| (port, scope.spawn(move || begin(port)))).collect();
        all.into_iter().try_for_each(|(port, thread)| {
            let result = thread.join().unwrap_or_else(|_| Err(Failure::new("it panicked")));
            result.map_err(|failure| Failure::new(format!("{}: {failure}", child(port))))
        })
    })?;
    until(PATIENCE, "both ends to have all of them, once", || {
        [End::A, End::B].into_iter().all(|end| has_all(&pair, end, &before))
    })
    .map_err(|failure| Failure::new(format!("{failure}:\n{:#?}\n{:#?}", pair.a.sas(), pair.b.sas())))?;
    for port in ports() {
        let address = SocketAddr::new(pair.lab.b.host_address(Family::V4), port);
        let server = pair.lab.b.host.inside(|| traffic::Server::start_here(address))?;
        assert_eq!(traffic::echo_udp_at(&pair.lab.a.host, server.address(), 5, 300)?, 5, "{}", child(port));
    }
    assert!(carried_by_each(&pair)?, "{:#?}", pair.a.sas());
    pair.carry(&tunnel)?;
    pair.terminate(End::B)?;
    pair.lab.dismantle();
    Ok(())
}

/// Whether an end has the ISAKMP SA from the beginning and no other, and below it every child once.
fn has_all(pair: &Pair, end: End, before: &Tied) -> bool {
    let Ok(sas) = pair.gateway(end).sas() else { return false };
    let [only] = sas.as_slice() else { return false };
    let mut names: Vec<_> = only.children.iter().map(|child| child.field("name").to_owned()).collect();
    names.sort();
    let mut expected: Vec<_> = ports().map(child).chain([interop::CHILD.to_owned()]).collect();
    expected.sort();
    let (initiator, responder) = only.spis();
    (initiator, responder) == (before.ike.0.as_str(), before.ike.1.as_str())
        && only.children.iter().all(interop::ChildSa::is_installed)
        && names == expected
}

/// Whether each child of the ports has carried what was sent to its port, as Keyway counts it.
fn carried_by_each(pair: &Pair) -> Result<bool> {
    let end = if pair.a.implementation() == Keyway { End::A } else { End::B };
    let sas = pair.gateway(end).sas()?;
    let children =
        sas.iter().flat_map(|sa| &sa.children).filter(|child| child.field("name") != interop::CHILD);
    Ok(children.into_iter().all(|child| child.number("packets-in") == 5 && child.number("packets-out") == 5))
}

#[test]
fn several_quick_modes_at_once_keyway_to_strongswan() -> Result<()> {
    several_quick_modes_at_once(Keyway, StrongSwan)
}

#[test]
fn several_quick_modes_at_once_strongswan_to_keyway() -> Result<()> {
    several_quick_modes_at_once(StrongSwan, Keyway)
}
