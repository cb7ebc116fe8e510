//! Packets from host to host.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crypto::hash::SHA2_256;

use crate::{Failure, Namespace, Result};

pub use gre::Gre;
pub use ping::{Ping, RunningPing};
pub use server::Server;

mod gre;
mod ping;
mod server;

/// How long a connection may stand still before a transfer has failed.
const STALL: Duration = Duration::from_secs(20);

/// Octets of a visit's transfer.
const VISIT: usize = 40_000;

/// What a sender writes at once.
const CHUNK: usize = 16 * 1024;

/// How fast a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as TCP finds that it can: it learns that by filling queues until they lose packets, also those of others.
    Unlimited,
    /// No faster than this.
    BitsPerSecond(u64),
}

/// A finished transfer whose checksum was right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transfer {
    /// Octets carried.
    pub octets: usize,
    /// From the first octet sent until the receiver's checksum was back.
    pub duration: Duration,
}

impl Transfer {
    /// Sends `octets` of noise over TCP; the receiver answers with the SHA-256 of what it got, and it has to be that of what
    /// was sent.
    ///
    /// # Errors
    ///
    /// When a connection cannot be made, stands still, or the checksums differ.
    pub fn run(
        from: &Namespace,
        to: &Namespace,
        address: IpAddr,
        octets: usize,
        pace: Pace,
    ) -> Result<Transfer> {
        let server = Server::start(to, address)?;
        send(from.inside(|| connected(server.address()))?, octets, pace)
    }

    /// The throughput in bits a second.
    pub fn bits_per_second(&self) -> f64 {
        self.octets as f64 * 8.0 / self.duration.as_secs_f64()
    }
}

fn connected(server: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect_timeout(&server, STALL).map_err(Failure::at(format!("connection to {server}")))
}

fn send(mut stream: TcpStream, octets: usize, pace: Pace) -> Result<Transfer> {
    stream.set_write_timeout(Some(STALL))?;
    stream.set_read_timeout(Some(STALL))?;
    let noise = noise(octets);
    let start = Instant::now();
    for (sent, chunk) in noise.chunks(CHUNK).enumerate() {
        if let Pace::BitsPerSecond(rate) = pace {
            let due = Duration::from_secs_f64((sent * CHUNK * 8) as f64 / rate as f64);
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        stream.write_all(chunk).map_err(Failure::at("the transfer stands still"))?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(Failure::at("no checksum came back"))?;
    let duration = start.elapsed();
    if answer.is_empty() {
        return Err(Failure::new("the receiver did not get it all"));
    }
    if answer != SHA2_256.digest(&[&noise]) {
        return Err(Failure::new("what arrived is not what was sent: the checksums differ"));
    }
    Ok(Transfer { octets, duration })
}

/// Octets that neither repeat nor compress (Marsaglia's xorshift64).
fn noise(octets: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(octets + 8);
    while noise.len() < octets {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(octets);
    noise
}

/// Sends packets both ways, a TCP transfer each way, and datagrams, between two namespaces at these addresses.
///
/// # Errors
///
/// When one packet is lost or changed.
pub fn cross(a: (&Namespace, IpAddr), b: (&Namespace, IpAddr)) -> Result<()> {
    for ((from, _), (_, to)) in [(a, b), (b, a)] {
        let ping = Ping::run(from, to, 10, 200)?;
        if ping.received != ping.sent {
            return Err(Failure::new(format!("pings were lost on the way to {to}: {ping:?}")));
        }
    }
    Transfer::run(a.0, b.0, b.1, 200_000, Pace::Unlimited)?;
    Transfer::run(b.0, a.0, a.1, 200_000, Pace::Unlimited)?;
    // The second does not fit one packet. Each end may find that out by losing the first that it sends: TCP, whose segments were
    // clamped, has not found it out for them.
    for octets in [33, 2000] {
        let returned = echo_udp(a.0, b.0, b.1, 6, octets)?;
        if returned < 4 {
            return Err(Failure::new(format!("{returned} of 6 datagrams of {octets} octets came back")));
        }
    }
    Ok(())
}

/// Sends `datagrams` of UDP, each of `octets`, and gives how many came back from an echo on the other side unchanged.
///
/// # Errors
///
/// When a socket cannot be made.
pub fn echo_udp(
    from: &Namespace,
    to: &Namespace,
    address: IpAddr,
    datagrams: usize,
    octets: usize,
) -> Result<usize> {
    let server = Server::start(to, address)?;
    echo_udp_at(from, server.address(), datagrams, octets)
}

/// The same with a [`Server`] that runs already.
///
/// # Errors
///
/// When a socket cannot be made.
pub fn echo_udp_at(from: &Namespace, server: SocketAddr, datagrams: usize, octets: usize) -> Result<usize> {
    let payloads = vec![noise(octets); datagrams];
    from.inside(|| echo_here(server, &payloads))
}

/// Makes sure that the path from here to a [`Server`] carries echo requests, datagrams that compress, others of lengths that leave
/// every remainder by sixteen, some that fill a packet nearly or more than that, and TCP.
///
/// # Errors
///
/// When something is lost or changed.
pub fn visit_here(server: SocketAddr) -> Result<()> {
    let ping = Ping::run_here(server.ip(), 3, 1000)?;
    if ping.received != ping.sent {
        return Err(Failure::new(format!(
            "{} of {} pings came back from {server}",
            ping.received, ping.sent
        )));
    }
    // An end that finds nothing to compress stops looking for it, so what compresses comes first.
    let repetitive = [vec![b'a'; 1000], vec![b'b'; 300]];
    let lengths = (1..=16).map(|step| 1 + 17 * step).chain([1200]);
    let payloads: Vec<Vec<u8>> = repetitive.into_iter().chain(lengths.map(noise)).collect();
    let returned = echo_here(server, &payloads)?;
    if returned != payloads.len() {
        let sent = payloads.len();
        return Err(Failure::new(format!("{returned} of {sent} datagrams came back from {server}")));
    }
    // They go in fragments, and the first of them, there and back, are what finds out how long these can be.
    if echo_here(server, &vec![noise(3000); 5])? < 2 {
        return Err(Failure::new(format!("datagrams of 3000 octets do not come back from {server}")));
    }
    send(connected(server)?, VISIT, Pace::Unlimited).map_err(Failure::at(format!("TCP to {server}")))?;
    Ok(())
}

/// Gives how many of these datagrams came back unchanged, each sent when the answer to the one before has come or is late.
fn echo_here(server: SocketAddr, payloads: &[Vec<u8>]) -> Result<usize> {
    const PATIENCE: Duration = Duration::from_millis(1500);
    let unspecified: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let client = UdpSocket::bind(unspecified).map_err(Failure::at("client"))?;
    client.connect(server)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let mut returned = 0;
    for payload in payloads {
        client.send(payload)?;
        returned += usize::from(matches!(client.recv(&mut buffer), Ok(len) if buffer[..len] == *payload));
    }
    Ok(returned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_length_asked_for_and_does_not_repeat() {
        let noise = noise(4099);
        assert_eq!(noise.len(), 4099);
        assert_ne!(noise[..2048], noise[2048..4096]);
    }
}
