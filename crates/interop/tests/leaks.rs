//! Nothing that a policy protects crosses the wire in plaintext, whatever happens to the daemons.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use interop::Implementation::Keyway;
use interop::traffic::{self, Server};
use interop::{
    CHILD, CONNECTION, Capture, End, Failure, Family, Namespace, Pair, Result, Tunnel, Wire, until,
};

/// What a restarted peer may need until it notices, and the tunnel until it stands again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long each state is left to itself, under load.
const A_WHILE: Duration = Duration::from_millis(700);

/// Addresses of site b that are not there: packets from them were made on the wire.
const FORGED: [&str; 2] = ["10.2.0.99", "fd00:2::99"];

/// A capture on both ends of the wire while daemons start, rekey, crash, come back and stop, one and then the other, and
/// hosts and gateways send to each other without a pause.
#[test]
fn no_packet_of_a_policy_crosses_the_wire_in_plaintext() -> Result<()> {
    let tunnel = Tunnel {
        inside: vec![Family::V4, Family::V6],
        ..Tunnel::default().child_line("start_action = trap")
    };
    let mut pair = Pair::new(Wire::Plain, Keyway, Keyway, &tunnel)?;
    let sites = [(&pair.lab.a, &pair.lab.b), (&pair.lab.b, &pair.lab.a)];
    let mut echoes = Vec::new();
    let mut load = Vec::new();
    for (here, there) in sites {
        for family in [Family::V4, Family::V6] {
            let echo = Server::start(&there.host, there.host_address(family))?;
            for (namespace, source) in
                [(&here.host, here.host_address(family)), (&here.gateway, here.gateway_inside(family))]
            {
                load.push((bound(namespace, source)?, echo.address()));
            }
            echoes.push(echo);
        }
    }
    let directory = pair.lab.directory().to_owned();
    let captures = [End::A, End::B]
        .map(|end| Capture::start(&pair.lab, end, &directory.join(format!("wire-{end}.pcapng"))));

    let done = AtomicBool::new(false);
    let lived = thread::scope(|scope| {
        for (socket, target) in &load {
            scope.spawn(|| send_until(&done, socket, *target));
        }
        let lived = live(&mut pair, &echoes);
        done.store(true, Ordering::Relaxed);
        lived
    });
    lived?;

    for capture in captures {
        let recording = capture?.finish()?;
        assert!(recording.count("esp")? > 1000, "the load went through the tunnel");
        assert_eq!(recording.leaks()?, 0, "{}", recording.file.display());
    }
    pair.lab.dismantle();
    Ok(())
}

/// The story of two daemons under load.
fn live(pair: &mut Pair, echoes: &[Server]) -> Result<()> {
    carries(pair, echoes)?;
    // Each end may have called the other at the same moment; then there are two of each, and all are renewed.
    for end in [End::A, End::B] {
        pair.gateway(end).rekey_child(CHILD)?;
        thread::sleep(A_WHILE);
        pair.gateway(end).rekey_ike(CONNECTION)?;
        thread::sleep(A_WHILE);
        carries(pair, echoes)?;
    }
    for end in [End::A, End::B] {
        pair.gateway_mut(end).kill();
        thread::sleep(A_WHILE);
        pair.gateway_mut(end).start()?;
        carries(pair, echoes)?;
    }
    for end in [End::A, End::B] {
        pair.gateway_mut(end).stop()?;
        thread::sleep(A_WHILE);
        pair.gateway_mut(end).start()?;
        carries(pair, echoes)?;
    }
    for end in [End::A, End::B] {
        pair.gateway_mut(end).stop()?;
    }
    thread::sleep(A_WHILE);
    Ok(())
}

/// Waits until each host hears the other's echo again.
fn carries(pair: &Pair, echoes: &[Server]) -> Result<()> {
    for echo in echoes {
        let (a, b) = (&pair.lab.a.host, &pair.lab.b.host);
        let at_b = [Family::V4, Family::V6]
            .map(|family| pair.lab.b.host_address(family))
            .contains(&echo.address().ip());
        let from = if at_b { a } else { b };
        until(PATIENCE, "packets to go through the tunnel again", || {
            traffic::echo_udp_at(from, echo.address(), 1, 100).is_ok_and(|returned| returned == 1)
        })?;
    }
    Ok(())
}

/// What arrives in plaintext for a protected selector is dropped, for hosts and for the gateway itself, whether the tunnel
/// stands or its daemon has crashed.
#[test]
fn plaintext_for_a_protected_selector_is_refused() -> Result<()> {
    let tunnel = Tunnel {
        inside: vec![Family::V4, Family::V6],
        ..Tunnel::default().child_line("start_action = trap")
    };
    let mut pair = Pair::new(Wire::Plain, Keyway, Keyway, &tunnel)?;
    let wire = &pair.lab.wire;
    for (family, forged) in [Family::V4, Family::V6].into_iter().zip(FORGED) {
        wire.batch(&format!(
            "addr add {forged} dev lo
             route add {} via {}",
            pair.lab.a.network(family),
            pair.lab.a.outside(family)
        ))?;
    }
    let capture = Capture::start(&pair.lab, End::A, &pair.lab.directory().join("wire.pcapng"))?;
    pair.initiate(End::A)?;
    forge(&pair)?;
    pair.gateway_mut(End::A).kill();
    forge(&pair)?;

    let recording = capture.finish()?;
    for forged in ["ip.addr == 10.2.0.99", "ipv6.addr == fd00:2::99"] {
        assert_eq!(recording.count(&format!("{forged} && udp"))?, 4, "each was sent, and none answered");
    }
    pair.lab.dismantle();
    Ok(())
}

/// Sends datagrams to a host and to the gateway of site a, and looks whether they arrive.
fn forge(pair: &Pair) -> Result<()> {
    for (family, forged) in [Family::V4, Family::V6].into_iter().zip(FORGED) {
        let source: IpAddr = forged.parse().map_err(Failure::at(forged))?;
        let site = &pair.lab.a;
        for (namespace, address) in
            [(&site.host, site.host_address(family)), (&site.gateway, site.gateway_inside(family))]
        {
            let receiver = bound(namespace, address)?;
            receiver.set_read_timeout(Some(Duration::from_millis(300)))?;
            bound(&pair.lab.wire, source)?.send_to(b"forged", receiver.local_addr()?)?;
            if receiver.recv(&mut [0; 16]).is_ok() {
                return Err(Failure::new(format!("plaintext from {forged} reached {address}")));
            }
        }
    }
    Ok(())
}

fn bound(namespace: &Namespace, address: IpAddr) -> Result<UdpSocket> {
    namespace.inside(|| UdpSocket::bind(SocketAddr::new(address, 0)).map_err(Failure::at(address)))
}

fn send_until(done: &AtomicBool, socket: &UdpSocket, target: SocketAddr) {
    while !done.load(Ordering::Relaxed) {
        // A gateway's own packet may be refused to its face.
        let _ = socket.send_to(&[0; 200], target);
        thread::sleep(Duration::from_millis(2));
    }
}
