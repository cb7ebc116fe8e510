//! What keeps User-Mode Linux awake.
//!
//! A signal tells it that a descriptor has something for it. Now and then it looks before there is anything to be seen (the
//! driver of a tap signals first and fills its queue then), and the packet waits for the next signal, whatever that is about.
//! So there is always a next one: an idle question to the kernel's management console, a hundred times a second.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Result;

/// How long a packet may wait.
const INTERVAL: Duration = Duration::from_millis(10);

/// A thread that asks until this is dropped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts to ask the console that the kernel has, or will have, at `path`.
    pub(super) fn start(path: PathBuf) -> Result<Heartbeat> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // There is no console yet, or it has questions enough: both will do.
                    let _ = socket.send_to(&question(), &path);
                    thread::sleep(INTERVAL);
                }
            })
        };
        Ok(Heartbeat { over, thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // A thread that panicked has nothing to say that its output did not.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The request `version`: magic, version of the protocol and length, each in the host's order, and the command. Nobody waits
/// for the answer, so the socket has no name to which it could go.
fn question() -> Vec<u8> {
    const COMMAND: &[u8] = b"version";
    let header = [0xcafe_babe, 2, COMMAND.len() as u32];
    header.iter().flat_map(|field| field.to_ne_bytes()).chain(COMMAND.iter().copied()).collect()
}
