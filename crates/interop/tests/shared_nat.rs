//! Clients of L2TP/IPsec behind one NAT, in transport mode: each has a pre-shared key of its own and sends from UDP port 1701, and
//! each gets its own answers.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use interop::Implementation::Keyway as KeywayGateway;
use interop::{
    Capture, End, Failure, Family, Gateway, GuestStrongSwan, Keyway, Lab, Namespace, Result, Wire, within,
};

const L2TP: u16 = 1701;
const PATIENCE: Duration = Duration::from_secs(30);

/// The clients are site a's gateway and, behind it, site a's host; the server is site b's gateway.
const CLIENTS: [&str; 2] = ["first", "second"];

fn secret(name: &str) -> String {
    format!("ike-{name} {{\n id = {name}.example\n secret = \"the key of {name}\"\n}}\n")
}

fn connection(name: &str, version: u8, addresses: &str, ids: [&str; 2], remote_port: &str) -> String {
    let suites = match version {
        1 => ["aes256-sha256-modp2048", "aes128gcm16"],
        _ => ["aes128gcm16-prfsha256-x25519", "aes128gcm16"],
    };
    format!(
        "{name} {{
            version = {version}
            {addresses}
            proposals = {}
            local {{
                auth = psk
                id = {}
            }}
            remote {{
                auth = psk
                id = {}
            }}
            children {{
                {name} {{
                    mode = transport
                    local_ts = dynamic[udp/1701]
                    remote_ts = dynamic[{remote_port}]
                    esp_proposals = {}
                }}
            }}
        }}\n",
        suites[0], ids[0], ids[1], suites[1]
    )
}

fn server_text(lab: &Lab, version: u8) -> String {
    let addresses = format!("local_addrs = {}\nremote_addrs = %any", lab.b.outside(Family::V4));
    let of = |name: &str| {
        let id = format!("{name}.example");
        connection(name, version, &addresses, ["server.example", &id], "udp/1701")
    };
    format!(
        "connections {{\n{}}}\nsecrets {{\n{}}}\n",
        CLIENTS.map(of).concat(),
        CLIENTS.map(secret).concat()
    )
}

fn client_text(lab: &Lab, version: u8, name: &str) -> String {
    let addresses = format!("remote_addrs = {}", lab.b.outside(Family::V4));
    let id = format!("{name}.example");
    let connection = connection(name, version, &addresses, [&id, "server.example"], "udp/1701");
    format!("connections {{\n{connection}}}\nsecrets {{\n{}}}\n", secret(name))
}

/// A laboratory in which site a's host is behind the NAT, too.
fn lab() -> Result<Lab> {
    let lab = Lab::new(Wire::Nat)?;
    let (network, gateway) = (lab.a.network(Family::V4), lab.a.outside(Family::V4));
    lab.wire.batch(&format!("route add {network} via {gateway}"))?;
    Ok(lab)
}

/// Says back to whoever sends, and by which port it seems to send.
struct Server {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(lab: &Lab) -> Result<Server> {
        let address = SocketAddr::new(lab.b.outside(Family::V4), L2TP);
        let socket = lab.b.gateway.inside(|| Ok(UdpSocket::bind(address)?))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut octets = [0; 2000];
            while !seen.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut octets) {
                    let answer = format!("{} {}", String::from_utf8_lossy(&octets[..length]), from.port());
                    let _ = socket.send_to(answer.as_bytes(), from);
                }
            }
        });
        Ok(Server { over, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An L2TP daemon's socket.
struct Caller {
    name: &'static str,
    socket: UdpSocket,
}

impl Caller {
    fn new(name: &'static str, within: &Namespace, own: IpAddr, server: IpAddr) -> Result<Caller> {
        let socket = within.inside(|| {
            let socket = UdpSocket::bind(SocketAddr::new(own, L2TP))?;
            socket.connect(SocketAddr::new(server, L2TP))?;
            Ok(socket)
        })?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(Caller { name, socket })
    }

    fn ask(&self, nth: usize) -> Result<()> {
        self.socket.send(format!("{} {nth}", self.name).as_bytes())?;
        Ok(())
    }

    /// Takes the answer to a question; gives the port from which the server saw it come.
    fn hear(&self, nth: usize) -> Result<u16> {
        let mut octets = [0; 2000];
        let length = self.socket.recv(&mut octets).map_err(Failure::at(format!("{} {nth}", self.name)))?;
        let answer = String::from_utf8_lossy(&octets[..length]).into_owned();
        let expected = format!("{} {nth} ", self.name);
        let port = answer.strip_prefix(&expected).and_then(|port| port.parse().ok());
        port.ok_or_else(|| Failure::new(format!("{} asked {expected:?} and got {answer:?}", self.name)))
    }
}

/// Both ask, then both listen, many times; gives the ports that the server saw.
fn talk(callers: &[Caller; 2]) -> Result<[u16; 2]> {
    let mut ports = [0; 2];
    for nth in 0..50 {
        for caller in callers {
            caller.ask(nth)?;
        }
        for (caller, port) in callers.iter().zip(&mut ports) {
            let seen = caller.hear(nth)?;
            assert!(nth == 0 || *port == seen, "{} keeps its port", caller.name);
            *port = seen;
        }
    }
    Ok(ports)
}

fn up(client: &dyn Gateway, name: &str) -> Result<()> {
    within(PATIENCE, "a client to come up", || client.initiate(name).ok()?.success().ok()).map(drop)
}

fn two_callers(lab: &Lab) -> Result<[Caller; 2]> {
    let at_b = lab.b.outside(Family::V4);
    Ok([
        Caller::new(CLIENTS[0], &lab.a.gateway, lab.a.outside(Family::V4), at_b)?,
        Caller::new(CLIENTS[1], &lab.a.host, lab.a.host_address(Family::V4), at_b)?,
    ])
}

fn keyways_behind_one_nat(version: u8) -> Result<()> {
    let lab = lab()?;
    let b = KeywayGateway.start(&lab, End::B)?;
    b.configure(&server_text(&lab, version))?;
    let server = Server::start(&lab)?;
    let clients: [Box<dyn Gateway>; 2] =
        [Box::new(Keyway::start(&lab, End::A)?), Box::new(Keyway::start_on_host(&lab, End::A)?)];
    let capture = Capture::start(&lab, End::B, &lab.directory().join("wire.pcapng"))?;
    for (client, name) in clients.iter().zip(CLIENTS) {
        client.configure(&client_text(&lab, version, name))?;
        up(&**client, name)?;
    }
    let callers = two_callers(&lab)?;
    let ports = talk(&callers)?;
    assert_eq!(ports[0], L2TP, "the first keeps its port");
    assert_ne!(ports[1], L2TP, "the second is told apart");

    // New keys for either change nothing.
    clients[1].rekey_child(CLIENTS[1])?;
    assert_eq!(talk(&callers)?, ports);
    b.rekey_child(CLIENTS[0])?;
    assert_eq!(talk(&callers)?, ports);

    // One goes, and the other notices nothing.
    clients[0].terminate(CLIENTS[0])?;
    for nth in 0..20 {
        callers[1].ask(nth)?;
        assert_eq!(callers[1].hear(nth)?, ports[1]);
    }
    let recording = capture.finish()?;
    assert_eq!(recording.count("udp.port == 1701 && !esp")?, 0, "nothing went in plaintext");
    drop((server, clients, b));
    lab.dismantle();
    Ok(())
}

#[test]
fn l2tp_clients_behind_one_nat() -> Result<()> {
    keyways_behind_one_nat(1)
}

#[test]
fn l2tp_clients_behind_one_nat_with_version_2() -> Result<()> {
    keyways_behind_one_nat(2)
}

/// Two clients prove the same identity, and `unique = never` lets both stay, each with its own answers.
fn one_identity(version: u8) -> Result<()> {
    let lab = lab()?;
    let b = KeywayGateway.start(&lab, End::B)?;
    b.configure(
        &server_text(&lab, version).replace("remote_addrs = %any", "remote_addrs = %any\nunique = never"),
    )?;
    let server = Server::start(&lab)?;
    let clients: [Box<dyn Gateway>; 2] =
        [Box::new(Keyway::start(&lab, End::A)?), Box::new(Keyway::start_on_host(&lab, End::A)?)];
    for client in &clients {
        client.configure(&client_text(&lab, version, CLIENTS[0]))?;
        up(&**client, CLIENTS[0])?;
    }
    let callers = two_callers(&lab)?;
    let ports = talk(&callers)?;
    assert_ne!(ports[0], ports[1]);
    assert_eq!(b.sas()?.len(), 2);
    // One goes, and the other notices nothing.
    clients[0].terminate(CLIENTS[0])?;
    for nth in 0..20 {
        callers[1].ask(nth)?;
        assert_eq!(callers[1].hear(nth)?, ports[1]);
    }
    drop((server, clients, b));
    lab.dismantle();
    Ok(())
}

#[test]
fn clients_of_one_identity_behind_one_nat() -> Result<()> {
    one_identity(1)
}

#[test]
fn clients_of_one_identity_behind_one_nat_with_version_2() -> Result<()> {
    one_identity(2)
}

/// The first client is strongSwan with Linux's ESP, in the place of the gateway behind which the second one is.
#[test]
fn guest_strongswan_and_keyway_are_l2tp_clients_behind_one_nat() -> Result<()> {
    let lab = lab()?;
    let b = KeywayGateway.start(&lab, End::B)?;
    b.configure(&server_text(&lab, 1))?;
    let server = Server::start(&lab)?;
    let strongswan = GuestStrongSwan::start(&lab, End::A)?;
    let keyway = Keyway::start_on_host(&lab, End::A)?;
    strongswan.configure(&client_text(&lab, 1, CLIENTS[0]))?;
    keyway.configure(&client_text(&lab, 1, CLIENTS[1]))?;
    up(&strongswan, CLIENTS[0])?;
    up(&keyway, CLIENTS[1])?;
    let at_b = lab.b.outside(Family::V4);
    let second = Caller::new(CLIENTS[1], &lab.a.host, lab.a.host_address(Family::V4), at_b)?;
    let guest = strongswan.guest();
    let script = format!(
        "python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((\"\", {L2TP}))
s.connect((\"{at_b}\", {L2TP}))
s.settimeout(5)
for nth in range(30):
    s.send(b\"first %d\" % nth)
    print(s.recv(2000).decode())
'"
    );
    std::thread::scope(|scope| -> Result<()> {
        let first = scope.spawn(|| guest.run(&script));
        let mut ports = Vec::new();
        for nth in 0..100 {
            second.ask(nth)?;
            ports.push(second.hear(nth)?);
        }
        let said = first.join().map_err(|_| Failure::new("a thread panicked"))??;
        let expected: String = (0..30).map(|nth| format!("first {nth} {L2TP}\n")).collect();
        assert_eq!(said, expected, "strongSwan's own answers");
        assert!(ports.iter().all(|port| *port == ports[0] && *port != L2TP), "{ports:?}");
        Ok(())
    })?;
    drop((server, strongswan, keyway, b));
    lab.dismantle();
    Ok(())
}
