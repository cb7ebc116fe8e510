//! What two Keyways do when the network, one of them, or its address goes away: a ticket (RFC 5723), a token (RFC 6290), and a
//! name that has another address when it is asked for again.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use interop::Implementation::{Keyway, StrongSwan};
use interop::{Capture, Cut, End, Failure, Gateway, Implementation, Lab, Pair, Result, Tunnel, Wire, until};

/// What dead peer detection and a new call may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks its peer soon whether it lives, and calls again for ever if it does not.
fn insistent() -> Tunnel {
    Tunnel::default()
        .connection_line("dpd_delay = 2s")
        .connection_line("keyingtries = 0")
        .child_line("dpd_action = restart")
}

fn is_up(gateway: &dyn Gateway) -> bool {
    let sas = gateway.sas().unwrap_or_default();
    sas.iter().any(|sa| sa.is_established() && sa.children.iter().any(interop::ChildSa::is_installed))
}

// --- RFC 5723 --------------------------------------------------------------------------------------------------------

/// The network is away until the client has missed the gateway; when it is back, so is the tunnel, without IKE_SA_INIT.
#[test]
fn an_outage_ends_with_a_ticket() -> Result<()> {
    let resuming = insistent().connection_line("session_resumption = yes");
    let lab = Lab::new(Wire::Plain)?;
    let pair = Pair { a: Keyway.start(&lab, End::A)?, b: Keyway.start(&lab, End::B)?, lab };
    pair.a.configure(&resuming.text(&pair.lab, End::A))?;
    // The gateway waits for its client's call.
    let waiting = Tunnel::default().connection_line("session_resumption = yes");
    pair.b.configure(&waiting.text(&pair.lab, End::B))?;
    pair.initiate(End::A)?;
    let before = pair.settled()?;

    let capture = Capture::start(&pair.lab, End::A, &pair.lab.directory().join("resumption.pcapng"))?;
    pair.lab.cut(Cut::Open)?;
    until(PATIENCE, "the client to miss the gateway", || !is_up(&*pair.a))?;
    pair.lab.cut(Cut::Mended)?;
    until(PATIENCE, "the tunnel to be back", || is_up(&*pair.a))?;
    let after = pair.settled()?;
    pair.carry(&resuming)?;
    let recording = capture.finish()?;

    assert_ne!(before.ike, after.ike);
    // HDR(SPIi,0), Ni, N(TICKET_OPAQUE) -->   <-- HDR(SPIi,SPIr), Nr
    let resumed = "isakmp.exchangetype == 38 && isakmp.flag_r == 1 && isakmp.rspi != 00:00:00:00:00:00:00:00";
    assert!(recording.count(resumed)? > 0);
    assert_eq!(recording.count("isakmp.exchangetype == 34")?, 0, "nothing was proven anew");
    pair.lab.dismantle();
    Ok(())
}

// --- RFC 6290 --------------------------------------------------------------------------------------------------------

/// A gateway is killed and starts again; the client's next question is answered by a token, in the clear, and the tunnel is
/// made anew at once instead of after all repetitions.
#[test]
fn a_killed_gateway_says_so_with_its_token() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let b = interop::Keyway::start_with_crash_secret(&lab, End::B)?;
    let mut pair = Pair { a: Keyway.start(&lab, End::A)?, b: Box::new(b), lab };
    pair.a.configure(&insistent().text(&pair.lab, End::A))?;
    let text = Tunnel::default().text(&pair.lab, End::B);
    pair.b.configure(&text)?;
    pair.initiate(End::A)?;
    let before = pair.settled()?;

    let capture = Capture::start(&pair.lab, End::A, &pair.lab.directory().join("token.pcapng"))?;
    // The configuration is in its directory, and so is the secret.
    pair.b.kill();
    pair.b.start()?;
    until(PATIENCE, "the tunnel to be made anew", || {
        is_up(&*pair.b) && pair.settled().is_ok_and(|after| after.ike != before.ike)
    })?;
    pair.carry(&Tunnel::default())?;
    let recording = capture.finish()?;

    let said = "the peer has lost it, and said so with its token";
    assert!(pair.a.log().contains(said), "{}", pair.a.log());
    // <-- HDR, N(INVALID_IKE_SPI), N(QCD_TOKEN)
    let token = "isakmp.exchangetype == 37 && isakmp.notify.msgtype == 4 && isakmp.notify.msgtype == 16419";
    assert!(recording.count(token)? > 0);
    pair.lab.dismantle();
    Ok(())
}

// --- A peer by its name ----------------------------------------------------------------------------------------------

const NAME: &str = "gateway.example.test";
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// A name server on the gateway's loopback that knows one name; it ends when its owner is dropped.
struct NameServer {
    address: Arc<AtomicU32>,
}

impl NameServer {
    fn start(lab: &Lab, address: Ipv4Addr) -> Result<NameServer> {
        let socket =
            lab.a.gateway.inside(|| UdpSocket::bind("127.0.0.1:53").map_err(Failure::at("port 53")))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let server = NameServer { address: Arc::new(AtomicU32::new(address.to_bits())) };
        let address = Arc::downgrade(&server.address);
        thread::spawn(move || serve(&socket, &address));
        Ok(server)
    }

    fn says(&self, address: Ipv4Addr) {
        self.address.store(address.to_bits(), Ordering::SeqCst);
    }
}

fn serve(socket: &UdpSocket, address: &Weak<AtomicU32>) {
    let mut query = [0; 512];
    while let Some(address) = address.upgrade() {
        let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
        if let Some(answer) = answer(&query[..length], Ipv4Addr::from_bits(address.load(Ordering::SeqCst))) {
            let _ = socket.send_to(&answer, client);
        }
    }
}

/// Answers a query with one question (RFC 1035 §4): the address of the name, for no time at all; or nothing.
fn answer(query: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let labels: Vec<u8> = NAME
        .split('.')
        .flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()))
        .chain([0])
        .collect();
    let (header, question) = query.split_at_checked(12)?;
    let (name, rest) = question.split_at_checked(labels.len())?;
    let is_meant = name.eq_ignore_ascii_case(&labels) && rest.starts_with(&[0, 1, 0, 1]);
    let count = u8::from(is_meant);
    let question_len = if name.eq_ignore_ascii_case(&labels) { labels.len() + 4 } else { question.len() };
    // An answer, with authority, to one question.
    let mut answer = [&header[..2], &[0x84, 0, 0, 1, 0, count, 0, 0, 0, 0]].concat();
    answer.extend(question.get(..question_len)?);
    if is_meant {
        // The name as above, A, IN, 0 s, four octets.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// The peer dies and comes back at another address, which its name has then: whoever missed it asks for the name again.
fn is_found_at_its_new_address(peer: Implementation) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let names = NameServer::start(&lab, FIRST)?;
    let etc = lab.directory().join("keyway-a/etc");
    fs::create_dir_all(&etc)?;
    fs::write(etc.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")?;
    fs::write(etc.join("nsswitch.conf"), "hosts: files dns\n")?;
    let mut pair = Pair { a: Keyway.start(&lab, End::A)?, b: peer.start(&lab, End::B)?, lab };
    let calling = insistent().text(&pair.lab, End::A);
    let by_name = calling.replace(&format!("remote_addrs = {FIRST}"), &format!("remote_addrs = {NAME}"));
    assert_ne!(by_name, calling);
    pair.a.configure(&by_name)?;
    let waiting = Tunnel::default().text(&pair.lab, End::B);
    pair.b.configure(&waiting)?;
    pair.initiate(End::A)?;
    let before = pair.settled()?;
    pair.carry(&Tunnel::default())?;

    pair.b.kill();
    pair.lab.b.gateway.batch(&format!(
        "addr del {FIRST}/24 dev out
         addr add {SECOND}/24 dev out
         route replace default via 198.51.100.254 dev out"
    ))?;
    pair.b.start()?;
    let moved = waiting.replace(&format!("local_addrs = {FIRST}"), &format!("local_addrs = {SECOND}"));
    pair.b.configure(&moved)?;
    names.says(SECOND);
    until(PATIENCE, "the tunnel to be back", || {
        is_up(&*pair.b) && pair.settled().is_ok_and(|after| after.ike != before.ike)
    })?;
    let sas = pair.a.sas()?;
    assert_eq!(sas[0].field("remote-host"), SECOND.to_string());
    pair.carry(&Tunnel::default())?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn a_keyway_is_found_at_its_names_new_address() -> Result<()> {
    is_found_at_its_new_address(Keyway)
}

#[test]
fn a_strongswan_is_found_at_its_names_new_address() -> Result<()> {
    is_found_at_its_new_address(StrongSwan)
}
