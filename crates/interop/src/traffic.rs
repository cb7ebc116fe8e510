//! Packets from host to host.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crypto::hash::SHA2_256;

use crate::{Failure, Namespace, Result};

pub use ping::{Ping, RunningPing};

mod ping;

/// How long a connection may stand still before a transfer has failed.
const STALL: Duration = Duration::from_secs(20);

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
        let listener = to.inside(|| TcpListener::bind((address, 0)).map_err(Failure::at(address)))?;
        let target = listener.local_addr()?;
        let receiver = thread::spawn(move || receive(&listener));
        let stream = from.inside(|| {
            TcpStream::connect_timeout(&target, STALL).map_err(Failure::at(format!("connection to {target}")))
        })?;
        let transfer = send(stream, octets, pace)?;
        receiver.join().map_err(|_| Failure::new("the receiver panicked"))??;
        Ok(transfer)
    }

    /// The throughput in bits a second.
    pub fn bits_per_second(&self) -> f64 {
        self.octets as f64 * 8.0 / self.duration.as_secs_f64()
    }
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
    if answer != SHA2_256.digest(&[&noise]) {
        return Err(Failure::new("what arrived is not what was sent: the checksums differ"));
    }
    Ok(Transfer { octets, duration })
}

fn receive(listener: &TcpListener) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(STALL))?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received).map_err(Failure::at("the transfer stands still"))?;
    stream.write_all(&SHA2_256.digest(&[&received]))?;
    Ok(())
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
    const PATIENCE: Duration = Duration::from_millis(1500);
    let echo = to.inside(|| UdpSocket::bind((address, 0)).map_err(Failure::at(address)))?;
    let target = echo.local_addr()?;
    echo.set_read_timeout(Some(Duration::from_millis(100)))?;
    let (stop, stopped) = mpsc::channel::<()>();
    let server = thread::spawn(move || {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            if let Ok((len, peer)) = echo.recv_from(&mut buffer) {
                // A lost answer is what the caller counts.
                let _ = echo.send_to(&buffer[..len], peer);
            }
        }
    });
    let unspecified: SocketAddr = match address {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let client = from.inside(|| UdpSocket::bind(unspecified).map_err(Failure::at("client")))?;
    client.connect(target)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let noise = noise(octets);
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let mut returned = 0;
    for _ in 0..datagrams {
        client.send(&noise)?;
        returned += usize::from(matches!(client.recv(&mut buffer), Ok(len) if buffer[..len] == noise));
    }
    drop(stop);
    server.join().map_err(|_| Failure::new("the echo panicked"))?;
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
