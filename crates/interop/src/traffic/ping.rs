//! Echo requests, counted exactly.
//!
//! The `ping` program waits for its last answers no longer than twice the longest round trip so far, and calls what comes
//! later lost. A test that wants to see no loss on a busy machine cannot use that.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, ipproto, socket};

use crate::{Failure, Namespace, Result};

/// How long the last answers may take.
const LAST_ANSWER: Duration = Duration::from_secs(3);
/// How often the receiver looks whether all is over, and the sender whether all is there.
const GLANCE: Duration = Duration::from_millis(5);
/// Octets of a request after the eight of its header, as `ping` sends.
const PAYLOAD: usize = 56;
const HEADER: usize = 8;
/// Sequence numbers that there are.
const MOST: u32 = 1 << 16;

/// What came of a number of echo requests (RFC 792, RFC 4443).
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    /// Requests sent.
    pub sent: u32,
    /// Requests answered; an answer that comes twice counts once.
    pub received: u32,
    /// Round trips in milliseconds: shortest, mean, longest; `None` without an answer.
    pub round_trip_ms: Option<(f64, f64, f64)>,
    /// The sequence numbers, from 0, of requests without an answer.
    pub missing: Vec<u16>,
}

impl Ping {
    /// Sends `count` echo requests, at most 65,536, `per_second` of them each second, and waits for the answers.
    ///
    /// # Errors
    ///
    /// When there is no socket to be had; lost packets are part of the count.
    pub fn run(from: &Namespace, to: IpAddr, count: u32, per_second: u32) -> Result<Ping> {
        Ping::start(from, to, count, per_second)?.finish()
    }

    /// Starts to send, and returns at once.
    ///
    /// # Errors
    ///
    /// When there is no socket to be had.
    pub fn start(from: &Namespace, to: IpAddr, count: u32, per_second: u32) -> Result<RunningPing> {
        Ping::fly(from.inside(|| echo_socket(to))?, to, count, per_second)
    }

    /// Sends `count` echo requests from where this process is, and waits for the answers.
    ///
    /// # Errors
    ///
    /// When there is no socket to be had.
    pub fn run_here(to: IpAddr, count: u32, per_second: u32) -> Result<Ping> {
        Ping::fly(echo_socket(to)?, to, count, per_second)?.finish()
    }

    fn fly(socket: UdpSocket, to: IpAddr, count: u32, per_second: u32) -> Result<RunningPing> {
        socket.set_read_timeout(Some(GLANCE))?;
        let flights = Arc::new(Mutex::new(vec![Flight::default(); count.min(MOST) as usize]));
        let over = Arc::new(AtomicBool::new(false));
        let receiver = {
            let (socket, flights, over) = (socket.try_clone()?, Arc::clone(&flights), Arc::clone(&over));
            thread::spawn(move || receive(&socket, &flights, &over))
        };
        let interval = Duration::from_secs(1) / per_second.max(1);
        let request = if to.is_ipv4() { ECHO_REQUEST_V4 } else { ECHO_REQUEST_V6 };
        let sender = thread::spawn(move || {
            send(&socket, &flights, request, interval);
            wait_for_last(&flights);
            over.store(true, Ordering::Relaxed);
            count_of(&lock(&flights))
        });
        Ok(RunningPing { sender, receiver })
    }
}

/// Echo requests under way.
#[derive(Debug)]
pub struct RunningPing {
    sender: JoinHandle<Ping>,
    receiver: JoinHandle<()>,
}

impl RunningPing {
    /// Waits for the last answers and counts.
    ///
    /// # Errors
    ///
    /// When a thread panicked.
    pub fn finish(self) -> Result<Ping> {
        let panicked = |_| Failure::new("a thread of the ping panicked");
        let ping = self.sender.join().map_err(panicked)?;
        self.receiver.join().map_err(panicked)?;
        Ok(ping)
    }
}

/// One request and its answer.
#[derive(Clone, Copy, Debug, Default)]
struct Flight {
    sent: Option<Instant>,
    answered: Option<Instant>,
}

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

/// A socket of the kernel's for echo requests alone; it fills in identifier and checksum, and passes on our answers only.
fn echo_socket(to: IpAddr) -> Result<UdpSocket> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let descriptor = socket(family, SocketType::DGRAM, Some(protocol))
        .map_err(Failure::at("a socket for echo requests"))?;
    let socket = UdpSocket::from(descriptor);
    socket.connect(SocketAddr::new(to, 0)).map_err(Failure::at(to))?;
    Ok(socket)
}

fn send(socket: &UdpSocket, flights: &Mutex<Vec<Flight>>, request: u8, interval: Duration) {
    let start = Instant::now();
    let count = lock(flights).len();
    for sequence in (0..=u16::MAX).take(count) {
        thread::sleep((interval * u32::from(sequence)).saturating_sub(start.elapsed()));
        let mut packet = [0; HEADER + PAYLOAD];
        packet[0] = request;
        packet[6..8].copy_from_slice(&sequence.to_be_bytes());
        lock(flights)[usize::from(sequence)].sent = Some(Instant::now());
        // A send also reports what a router said of an earlier packet; that one is missing, and this one is sent again.
        if socket.send(&packet).is_err() {
            let _ = socket.send(&packet);
        }
    }
}

fn receive(socket: &UdpSocket, flights: &Mutex<Vec<Flight>>, over: &AtomicBool) {
    let mut packet = [0; 1500];
    while !over.load(Ordering::Relaxed) && is_one_missing(flights) {
        match socket.recv(&mut packet) {
            Ok(len) if len >= HEADER => {
                let sequence = usize::from(u16::from_be_bytes([packet[6], packet[7]]));
                if let Some(flight) = lock(flights).get_mut(sequence) {
                    flight.answered.get_or_insert_with(Instant::now);
                }
            }
            // Too short, nothing there yet, or a router's word on a packet that is then missing.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => thread::yield_now(),
        }
    }
}

fn wait_for_last(flights: &Mutex<Vec<Flight>>) {
    let end = Instant::now() + LAST_ANSWER;
    while Instant::now() < end && is_one_missing(flights) {
        thread::sleep(GLANCE);
    }
}

fn is_one_missing(flights: &Mutex<Vec<Flight>>) -> bool {
    lock(flights).iter().any(|flight| flight.answered.is_none())
}

fn count_of(flights: &[Flight]) -> Ping {
    let round_trips: Vec<f64> = flights
        .iter()
        .filter_map(|flight| Some(flight.answered?.duration_since(flight.sent?).as_secs_f64() * 1000.0))
        .collect();
    let missing = (0..=u16::MAX)
        .zip(flights)
        .filter(|(_, flight)| flight.answered.is_none())
        .map(|(sequence, _)| sequence);
    let shortest = round_trips.iter().copied().reduce(f64::min);
    let longest = round_trips.iter().copied().reduce(f64::max);
    let mean = round_trips.iter().sum::<f64>() / round_trips.len() as f64;
    Ping {
        sent: u32::try_from(flights.iter().filter(|flight| flight.sent.is_some()).count())
            .unwrap_or(u32::MAX),
        received: u32::try_from(round_trips.len()).unwrap_or(u32::MAX),
        round_trip_ms: shortest.zip(longest).map(|(shortest, longest)| (shortest, mean, longest)),
        missing: missing.collect(),
    }
}

fn lock(flights: &Mutex<Vec<Flight>>) -> std::sync::MutexGuard<'_, Vec<Flight>> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_answer_is_counted_and_named() {
        let start = Instant::now();
        let answered = |ms| Flight { sent: Some(start), answered: Some(start + Duration::from_millis(ms)) };
        let flights = [answered(1), Flight { sent: Some(start), answered: None }, answered(3)];

        let ping = count_of(&flights);

        assert_eq!((ping.sent, ping.received), (3, 2));
        assert_eq!(ping.missing, [1]);
        assert_eq!(ping.round_trip_ms, Some((1.0, 2.0, 3.0)));
    }

    #[test]
    fn without_an_answer_there_is_no_round_trip() {
        let flights = [Flight { sent: Some(Instant::now()), answered: None }];
        assert_eq!(count_of(&flights).round_trip_ms, None);
    }
}
