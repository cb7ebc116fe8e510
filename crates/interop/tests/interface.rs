//! Tunnels that are reached by routes: a device of the tunnel's own, routing daemons and GRE across it, in the gateway's
//! namespace or in another.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use interop::Implementation::Keyway as OfOurs;
use interop::traffic::{Gre, Ping, echo_udp};
use interop::{
    CHILD, CONNECTION, Capture, End, Failure, Family, Gateway, Guest, Keyway, Lab, Pair, Process, Result,
    Tunnel, Wire, keyway_program, until,
};

/// What OSPF may need until it has found its neighbour and told what it knows, twice.
const PATIENCE: Duration = Duration::from_secs(60);

/// The child takes everything; which networks are at the other end, the gateways tell each other by OSPF. The tunnel, its
/// device and the routes outlast a daemon that crashes.
#[test]
fn networks_are_learnt_across_the_tunnel() -> Result<()> {
    let tunnel = routed(&[Family::V4, Family::V6]);
    let mut pair = Pair::new(Wire::Plain, OfOurs, OfOurs, &tunnel)?;
    for end in [End::A, End::B] {
        pair.gateway(end).configure(&addressed(&tunnel, end).text(&pair.lab, end))?;
    }
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
    let _routers = [router(&pair.lab, End::A)?, router(&pair.lab, End::B)?];
    until(PATIENCE, "OSPF to tell both networks", || learnt(&pair.lab, End::A) && learnt(&pair.lab, End::B))?;
    pair.carry(&tunnel)?;

    pair.gateway_mut(End::A).kill();
    assert!(learnt(&pair.lab, End::A), "the device stays, and with it the routes");
    pair.gateway_mut(End::A).start()?;
    until(PATIENCE, "the tunnel to stand again", || pair.carry(&tunnel).is_ok())?;

    let recording = capture.finish()?;
    assert_eq!(recording.leaks()?, 0);
    assert!(recording.count("esp")? > 100);
    pair.lab.dismantle();
    Ok(())
}

/// Static routes and GRE instead of OSPF, and one end that comes and goes: what is routed to its device goes through the
/// tunnel or nowhere.
#[test]
fn what_is_routed_to_a_device_never_leaves_otherwise() -> Result<()> {
    let (lab, tunnel) = (Lab::new(Wire::Plain)?, routed(&[Family::V4]));
    let configuration = |end| addressed(&tunnel, end).text(&lab, end);
    let mut a = Keyway::start_with(&lab, End::A, &configuration(End::A), &[])?;
    let _b = Keyway::start_with(&lab, End::B, &configuration(End::B), &[])?;
    for end in [End::A, End::B] {
        let network = lab.site(end.other()).network(Family::V4);
        lab.site(end).gateway.batch(&format!("route add {network} dev vpn0"))?;
    }
    let capture = Capture::start(&lab, End::B, &lab.directory().join("wire.pcapng"))?;
    let heard =
        |pings| Ping::run(&lab.a.host, lab.b.host_address(Family::V4), pings, 20).map(|ping| ping.received);
    until(PATIENCE, "the first packet to bring the tunnel up", || heard(1).is_ok_and(|heard| heard == 1))?;
    let ends = [End::A, End::B].map(|end| Gre::open(&lab.site(end).gateway, address(end)));
    let [gre_at_a, gre_at_b] = ends;
    gre_at_a?.send(address(End::B), b"generic")?;
    assert_eq!(gre_at_b?.receive()?, b"generic");
    let status = a.command(&["status"])?.success()?;
    assert!(status.contains("device   vpn0\n"), "{status}");

    for how in [Gateway::stop, |daemon: &mut Keyway| {
        daemon.kill();
        Ok(())
    }] {
        how(&mut a)?;
        assert!(route(&lab)?.contains("dev vpn0"), "the route stays");
        assert_eq!(heard(20)?, 0);
        a.start()?;
        until(PATIENCE, "the tunnel to stand again", || heard(1).is_ok_and(|heard| heard == 1))?;
        assert_eq!(heard(10)?, 10);
    }
    let recording = capture.finish()?;
    assert_eq!((recording.leaks()?, recording.count("gre")?), (0, 0));
    assert!(recording.count("esp")? > 40);
    lab.dismantle();
    Ok(())
}

/// What the configuration says instead of `mark_out` and `set_mark_in`: a routing rule leads packets with a mark into a tunnel,
/// and those alone, and what comes out of it is marked.
#[test]
fn marks_lead_into_a_tunnel_and_out_of_it() -> Result<()> {
    let (lab, tunnel) = (Lab::new(Wire::Plain)?, routed(&[Family::V4]));
    let configuration = |end| addressed(&tunnel, end).text(&lab, end);
    let _daemons = [
        Keyway::start_with(&lab, End::A, &configuration(End::A), &[])?,
        Keyway::start_with(&lab, End::B, &configuration(End::B), &[])?,
    ];
    let (a, b) = (&lab.a.gateway, &lab.b.gateway);
    a.batch("rule add fwmark 42 lookup 42\nroute add default dev vpn0 table 42")?;
    b.batch(&format!("route add {} dev vpn0", lab.a.network(Family::V4)))?;
    a.nft("table ip marks { chain into { type filter hook prerouting priority mangle; iifname in ip protocol icmp meta mark set 42; }; }")?;
    b.nft(
        "table ip marks { chain out { type filter hook prerouting priority mangle; iifname vpn0 meta mark set 7; };
         chain seen { type filter hook postrouting priority 0; meta mark 7 counter; }; }",
    )?;
    let (host, at_b) = (&lab.a.host, lab.b.host_address(Family::V4));
    until(PATIENCE, "a marked packet to bring the tunnel up", || {
        Ping::run(host, at_b, 1, 20).is_ok_and(|ping| ping.received == 1)
    })?;
    let capture = Capture::start(&lab, End::B, &lab.directory().join("wire.pcapng"))?;
    let ping = Ping::run(host, at_b, 20, 100)?;
    assert_eq!(ping.received, ping.sent);
    assert_eq!(echo_udp(host, &lab.b.host, at_b, 3, 33)?, 0, "no route leads there without the mark");
    let recording = capture.finish()?;
    assert_eq!(recording.count("icmp.type == 8")?, 0);
    assert!(recording.count("esp")? >= 40);
    let seen = b.run("nft", &["list", "chain", "ip", "marks", "seen"])?;
    let count = seen.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(count.and_then(|count| count.parse().ok()).is_some_and(|count: u32| count >= 20), "{seen}");
    lab.dismantle();
    Ok(())
}

/// What a reload does to a device: it changes it in place, and takes it away once no SA uses it. One that was taken out of
/// the configuration while the daemon did not run stays until a person says so.
#[test]
fn a_device_follows_the_configuration() -> Result<()> {
    let (lab, tunnel) = (Lab::new(Wire::Plain)?, routed(&[Family::V4]));
    let text = |lines: &[&str]| {
        let with = |tunnel: Tunnel, line: &&str| tunnel.child_line(line);
        lines.iter().fold(tunnel.clone(), with).text(&lab, End::A)
    };
    let mut a = Keyway::start_with(&lab, End::A, &text(&["interface_addrs = 10.255.0.1/30"]), &[])?;
    let _b = Keyway::start_with(&lab, End::B, &addressed(&tunnel, End::B).text(&lab, End::B), &[])?;
    let link = || lab.a.gateway.run("ip", &["-br", "addr", "show", "dev", "vpn0"]);
    let reload = |daemon: &Keyway, text: &str| -> Result<()> {
        fs::write(daemon.directory().join("swanctl.conf"), text)?;
        daemon.command(&["reload"])?.success().map(drop)
    };
    a.initiate(CHILD)?.success()?;
    assert!(link()?.contains("10.255.0.1/30"));
    let route = lab.a.gateway.run("ip", &["route", "add", "10.99.0.0/16", "dev", "vpn0"]);
    route?;

    reload(&a, &text(&["interface_addrs = 10.255.0.5/30, 10.255.0.9/30", "interface_mtu = 1200"]))?;
    let changed = link()?;
    assert!(changed.contains("10.255.0.5/30") && changed.contains("10.255.0.9/30"), "{changed}");
    assert!(!changed.contains("10.255.0.1/30"), "{changed}");
    assert!(lab.a.gateway.run("ip", &["link", "show", "dev", "vpn0"])?.contains("mtu 1200"));
    assert!(lab.a.gateway.run("ip", &["route"])?.contains("10.99.0.0/16 dev vpn0"), "its routes stay");

    reload(&a, "")?;
    assert!(link().is_ok(), "an SA still uses it");
    a.terminate(CONNECTION)?;
    until(PATIENCE, "the device to go", || link().is_err())?;

    reload(&a, &text(&[]))?;
    a.stop()?;
    fs::write(a.directory().join("swanctl.conf"), "")?;
    let told = a.command(&["status"])?;
    assert!(told.stdout.contains("what is routed to vpn0"), "{told:?}");
    a.start()?;
    let status = a.command(&["status"])?.success()?;
    assert!(status.contains("what is routed to vpn0  left by an earlier run: `keyway unblock`"), "{status}");
    assert!(link().is_ok());
    a.command(&["unblock"])?.success()?;
    assert!(link().is_err());
    lab.dismantle();
    Ok(())
}

/// The device is where the hosts are, so that the gateways never see a packet in the clear; keys by IKE, and by hand.
#[test]
fn a_tunnel_comes_out_in_another_namespace() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let tunnel = routed(&[Family::V4]);
    let by_ike = |end| {
        let line = format!("interface_netns = {}", lab.site(end).host.name());
        addressed(&tunnel, end).child_line(&line).text(&lab, end)
    };
    let _daemons = [
        Keyway::start_with(&lab, End::A, &(by_ike(End::A) + &manual(&lab, End::A)), &[])?,
        Keyway::start_with(&lab, End::B, &(by_ike(End::B) + &manual(&lab, End::B)), &[])?,
    ];
    let capture = Capture::start(&lab, End::B, &lab.directory().join("wire.pcapng"))?;
    for (device, first) in [("vpn0", address as fn(End) -> IpAddr), ("vpn1", other_address)] {
        until(PATIENCE, "packets to come through", || {
            Ping::run(&lab.a.host, first(End::B), 1, 20).is_ok_and(|ping| ping.received == 1)
        })?;
        let gateway = lab.a.gateway.run("ip", &["link", "show", "dev", device]);
        assert!(gateway.is_err(), "the gateway has no {device}");
        let ping = Ping::run(&lab.b.host, first(End::A), 10, 100)?;
        assert_eq!(ping.received, ping.sent);
    }
    let recording = capture.finish()?;
    assert_eq!(recording.count("icmp && !esp")?, 0);
    assert!(recording.count("esp")? > 40);
    lab.dismantle();
    Ok(())
}

/// A booted kernel that has VRFs: the tunnel and the network of the hosts belong to one, the wire to none.
#[test]
fn a_tunnel_belongs_to_a_vrf() -> Result<()> {
    let (lab, tunnel) = (Lab::new(Wire::Plain)?, routed(&[Family::V4]));
    let guest = Guest::start(&lab, End::B)?;
    let in_vrf = addressed(&tunnel, End::B).child_line("interface_vrf = blue").text(&lab, End::B);
    fs::write(lab.directory().join("guest-b/swanctl.conf"), in_vrf)?;
    let program = keyway_program()?;
    guest.run(&format!(
        "set -e
         modprobe -d /run/kernel -a tun vrf
         ip link add blue type vrf table 10
         ip link set blue up
         ip link set in master blue
         {} run --config /run/share/swanctl.conf --socket /run/keyway.vici >/run/share/keyway.log 2>&1 &",
        program.display()
    ))?;
    let log = || fs::read_to_string(lab.directory().join("guest-b/keyway.log")).unwrap_or_default();
    until(PATIENCE, "the daemon in the guest", || log().contains("the daemon is ready"))
        .map_err(|failure| Failure::new(format!("{failure}: {}", log())))?;
    let _a = Keyway::start_with(&lab, End::A, &addressed(&tunnel, End::A).text(&lab, End::A), &[])?;
    lab.a.gateway.batch(&format!("route add {} dev vpn0", lab.b.network(Family::V4)))?;
    guest.run(&format!("ip route add {} dev vpn0 table 10", lab.a.network(Family::V4)))?;

    let at_b = lab.b.host_address(Family::V4);
    until(PATIENCE, "the tunnel to carry", || {
        Ping::run(&lab.a.host, at_b, 1, 20).is_ok_and(|ping| ping.received == 1)
    })
    .map_err(|failure| Failure::new(format!("{failure}: {}", log())))?;
    let ping = Ping::run(&lab.a.host, at_b, 20, 50)?;
    assert_eq!(ping.received, ping.sent);
    assert!(guest.run("ip -br link show master blue")?.contains("vpn0"));
    lab.dismantle();
    Ok(())
}

/// Everything, by way of vpn0.
fn routed(inside: &[Family]) -> Tunnel {
    let everything = Some("0.0.0.0/0, ::/0".to_owned());
    Tunnel {
        inside: inside.to_vec(),
        local_selectors: everything.clone(),
        remote_selectors: everything,
        ..Tunnel::default().child_line("start_action = trap").child_line("interface = vpn0")
    }
}

fn addressed(tunnel: &Tunnel, end: End) -> Tunnel {
    tunnel.clone().child_line(&format!("interface_addrs = {}/30", address(end)))
}

/// A gateway's address inside the tunnel.
fn address(end: End) -> IpAddr {
    match end {
        End::A => [10, 255, 0, 1].into(),
        End::B => [10, 255, 0, 2].into(),
    }
}

/// The same inside the tunnel with manual keys.
fn other_address(end: End) -> IpAddr {
    match end {
        End::A => [10, 255, 1, 1].into(),
        End::B => [10, 255, 1, 2].into(),
    }
}

/// A section with keys by hand, whose device is in the host's namespace.
fn manual(lab: &Lab, end: End) -> String {
    let (inbound, outbound) = match end {
        End::A => ("0a", "0b"),
        End::B => ("0b", "0a"),
    };
    let key = |octet: &str| format!("0x{}", octet.repeat(32));
    format!(
        "manual {{ lab {{ local_addr = {}
            remote_addr = {}
            local_ts = 0.0.0.0/0
            remote_ts = 0.0.0.0/0
            interface = vpn1
            interface_addrs = {}/30
            interface_netns = {}
            esp {{ proposal = aes256-sha256
               spi_in = 0x10{inbound}
               spi_out = 0x10{outbound}
               encryption_key_in = {}
               encryption_key_out = {}
               integrity_key_in = {}
               integrity_key_out = {} }} }} }}",
        lab.site(end).outside(Family::V4),
        lab.site(end.other()).outside(Family::V4),
        other_address(end),
        lab.site(end).host.name(),
        key(inbound),
        key(outbound),
        key(inbound),
        key(outbound),
    )
}

/// Gives gateway a's route to the other site.
fn route(lab: &Lab) -> Result<String> {
    lab.a.gateway.run("ip", &["route", "show", &lab.b.network(Family::V4)])
}

/// Starts Debian's BIRD on a gateway: it speaks OSPF on vpn0, and tells of the network where the host is. That the device
/// has no carrier while nobody reads it is no reason for it to forget what it has learnt there.
fn router(lab: &Lab, end: End) -> Result<Process> {
    let file = |what: &str| lab.directory().join(format!("bird-{end}.{what}"));
    let area = "area 0 { interface \"vpn0\" { type ptp; hello 1; dead 30; check link no; }; \
                interface \"in\" { stub; }; };";
    let learnt = "export where source ~ [ RTS_OSPF, RTS_OSPF_IA ]";
    fs::write(
        file("conf"),
        format!(
            "router id {};
             protocol device {{ scan time 1; }}
             protocol kernel {{ ipv4 {{ {learnt}; }}; }}
             protocol kernel {{ ipv6 {{ {learnt}; }}; }}
             protocol ospf v2 {{ ipv4; {area} }}
             protocol ospf v3 {{ ipv6; {area} }}",
            address(end)
        ),
    )?;
    let mut bird = lab.site(end).gateway.command("bird");
    bird.arg("-f").arg("-c").arg(file("conf")).arg("-s").arg(file("socket")).arg("-P").arg(file("pid"));
    Process::start(&format!("bird {end}"), &mut bird, &file("log"))
}

/// Tells whether a gateway knows both networks of the other site by OSPF.
fn learnt(lab: &Lab, end: End) -> bool {
    let (gateway, other) = (&lab.site(end).gateway, lab.site(end.other()));
    [("-4", Family::V4), ("-6", Family::V6)].into_iter().all(|(option, family)| {
        let routes = gateway.run("ip", &[option, "route", "show", "proto", "bird"]).unwrap_or_default();
        routes.lines().any(|route| route.starts_with(&other.network(family)) && route.contains("dev vpn0"))
    })
}
