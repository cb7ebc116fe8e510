//! One TCP stream without end, pinned to the processors of its two sites.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use interop::{Failure, Namespace, Result, within};
use rustix::net::sockopt::set_tcp_congestion;
use rustix::thread::{CpuSet, sched_setaffinity};

/// What is written and read at once.
const CHUNK: usize = 128 * 1024;
/// How long a stream takes to find its rate.
const SETTLING: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(10);
/// The machine's own choice may be one that keeps the line half empty; this one fills it.
const CONGESTION_CONTROL: &str = "cubic";

/// A stream that flows until it is stopped.
pub(crate) struct Flood {
    received: Arc<AtomicU64>,
    stream: TcpStream,
    sender: JoinHandle<()>,
    receiver: JoinHandle<()>,
}

impl Flood {
    /// Connects from one host to the other and lets octets flow.
    pub(crate) fn start(from: &Namespace, to: &Namespace, address: IpAddr) -> Result<Flood> {
        let listener = to.inside(|| Ok(TcpListener::bind(SocketAddr::new(address, 0))?))?;
        let target = listener.local_addr()?;
        let stream = from.inside(|| {
            within(PATIENCE, "a connection through the tunnel", || {
                TcpStream::connect_timeout(&target, PATIENCE).ok()
            })
        })?;
        set_tcp_congestion(&stream, CONGESTION_CONTROL).map_err(Failure::at(CONGESTION_CONTROL))?;
        let (arrived, _) = listener.accept()?;
        let received = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&received);
        let outgoing = stream.try_clone()?;
        Ok(Flood {
            received,
            stream,
            sender: thread::spawn(move || send(outgoing)),
            receiver: thread::spawn(move || receive(arrived, &counter)),
        })
    }

    /// Waits until the stream has found its rate.
    ///
    /// # Errors
    /// Nothing arrives.
    pub(crate) fn settle(&mut self) -> Result<()> {
        thread::sleep(SETTLING);
        if self.octets() > 0 { Ok(()) } else { Err(Failure::new("nothing crosses the tunnel")) }
    }

    /// Gives the octets that arrived so far.
    pub(crate) fn octets(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Ends the stream.
    pub(crate) fn stop(self) -> Result<()> {
        match self.stream.shutdown(Shutdown::Both) {
            Err(error) if error.kind() != ErrorKind::NotConnected => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let panicked = |_| Failure::new("a thread of the stream panicked");
        self.sender.join().map_err(panicked)?;
        self.receiver.join().map_err(panicked)
    }
}

fn send(mut stream: TcpStream) {
    stay_on(0);
    let chunk = vec![0x5a; CHUNK];
    // It ends when the stream is shut down.
    while stream.write_all(&chunk).is_ok() {}
}

fn receive(mut stream: TcpStream, received: &AtomicU64) {
    stay_on(1);
    let mut room = vec![0; CHUNK];
    while let Ok(octets @ 1..) = stream.read(&mut room) {
        received.fetch_add(octets as u64, Ordering::Relaxed);
    }
}

/// Keeps this thread on one processor; on a machine with fewer it stays where it may.
fn stay_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("bench: a thread is not kept on processor {processor}: {error}");
    }
}
