//! Who answers: an echo over UDP, and over TCP a checksum of what came.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crypto::hash::SHA2_256;

use super::STALL;
use crate::{Failure, Namespace, Result};

/// How often the server looks for a new connection, and whether it is over.
const GLANCE: Duration = Duration::from_millis(10);
/// Ports that may be taken for TCP although they are free for UDP: so often another one is tried.
const TRIES: usize = 20;

/// A server of both kinds on one port of one address; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it in a namespace, on a port that is free there.
    ///
    /// # Errors
    ///
    /// When the address is not there.
    pub fn start(inside: &Namespace, address: IpAddr) -> Result<Server> {
        inside.inside(|| Server::start_here((address, 0).into()))
    }

    /// Starts it where this process is; port 0 stands for any that is free.
    ///
    /// # Errors
    ///
    /// When the address is not there or the port is taken.
    pub fn start_here(address: SocketAddr) -> Result<Server> {
        let (echo, listener) = (1..TRIES)
            .fold(sockets(address), |tried, _| tried.or_else(|_| sockets(address)))
            .map_err(Failure::at(address))?;
        echo.set_read_timeout(Some(GLANCE))?;
        listener.set_nonblocking(true)?;
        let address = echo.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let over = Arc::clone(&over);
            Some(thread::spawn(move || serve(&echo, &listener, &over)))
        };
        Ok(Server { address, over, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // A server that panicked has answered nobody, which is what its clients found.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn sockets(address: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let echo = UdpSocket::bind(address)?;
    let listener = TcpListener::bind(echo.local_addr()?)?;
    Ok((echo, listener))
}

fn serve(echo: &UdpSocket, listener: &TcpListener, over: &AtomicBool) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    while !over.load(Ordering::Relaxed) {
        if let Ok((len, peer)) = echo.recv_from(&mut buffer) {
            // A lost answer is what the client counts.
            let _ = echo.send_to(&buffer[..len], peer);
        }
        if let Ok((stream, _)) = listener.accept() {
            // Whose checksum does not come back is told by the client.
            thread::spawn(move || answer(stream).ok());
        }
    }
}

fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STALL))?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    stream.write_all(&SHA2_256.digest(&[&received]))?;
    Ok(())
}
