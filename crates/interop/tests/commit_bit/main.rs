//! The commit bit of IKEv1's quick mode with a peer that sets it, in both roles: see `peer.py`. No daemon of the laboratory
//! does any more.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use interop::Implementation::Keyway;
use interop::{CHILD, End, Failure, Family, Lab, Result, Tunnel, Wire, until};

/// How long the peer waits with CONNECTED. Keyway waits ten seconds at most.
const DELAY: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(30);

/// A running Python; it ends when this is dropped.
struct Peer {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Peer {
    fn start(lab: &Lab, role: &str) -> Result<Peer> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commit_bit/peer.py");
        let (own, remote) = (lab.a.outside(Family::V4), lab.b.outside(Family::V4));
        let mut process = lab
            .a
            .gateway
            .command("/usr/bin/python3")
            .arg(script)
            .args([role, &own.to_string(), &remote.to_string(), &DELAY.as_secs().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::at("python3"))?;
        let said = process.stdout.take().ok_or_else(|| Failure::new("it has no standard output"))?;
        let mut peer = Peer { process, said: BufReader::new(said) };
        peer.says("ready")?;
        Ok(peer)
    }

    fn says(&mut self, expected: &str) -> Result<()> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        if line.trim() == expected {
            return Ok(());
        }
        Err(Failure::new(format!("the peer said {line:?} instead of {expected:?}")))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tunnel() -> Tunnel {
    Tunnel { version: 1, ..Tunnel::default() }.suite("aes128-sha256-modp2048", "aes128-sha256")
}

/// Keyway has no Child SA in place before CONNECTED is there, and has one then.
fn keyway_waits_for_connected(peers_role: &str) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let keyway = Keyway.start(&lab, End::B)?;
    keyway.configure(&tunnel().text(&lab, End::B))?;
    let installed = || {
        keyway
            .sas()
            .is_ok_and(|sas| sas.iter().any(|sa| sa.children.iter().any(|child| child.is_installed())))
    };
    let mut peer = Peer::start(&lab, peers_role)?;
    let begun = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let initiated = (peers_role == "responder").then(|| {
            let keyway = &keyway;
            scope.spawn(move || keyway.initiate(CHILD)?.success().map(drop))
        });
        if peers_role == "initiator" {
            peer.says("sent message 1 with the commit bit")?;
            peer.says("sent message 3")?;
        } else {
            peer.says("sent message 2 with the commit bit")?;
            peer.says("got message 3")?;
        }
        let third = Instant::now();
        while third.elapsed() + Duration::from_secs(2) < DELAY {
            assert!(!installed(), "it waits");
            std::thread::sleep(Duration::from_millis(100));
        }
        peer.says("sent CONNECTED")?;
        until(PATIENCE, "the Child SA", installed)?;
        initiated.map_or(Ok(()), |thread| thread.join().map_err(|_| Failure::new("a thread panicked"))?)
    })
    .map_err(|failure| {
        Failure::new(format!("{failure} after {:?}; Keyway's log:\n{}", begun.elapsed(), keyway.log()))
    })?;
    drop((peer, keyway));
    lab.dismantle();
    Ok(())
}

#[test]
fn an_initiator_waits_for_connected() -> Result<()> {
    keyway_waits_for_connected("responder")
}

#[test]
fn a_responder_waits_for_connected() -> Result<()> {
    keyway_waits_for_connected("initiator")
}
