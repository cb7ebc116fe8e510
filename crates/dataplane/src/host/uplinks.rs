//! Notices that this host's addresses, links or routes change: an IKE SA may have to move then (RFC 4555).
//!
//! The kernel tells of each change by itself, and a link that comes or goes is many of them. So the addresses are told once
//! it has been quiet for a moment, or at the latest after a second. What we change ourselves, our routes, is not told.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteProtocol;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::ROUTE_PROTOCOL;
use super::netlink::Netlink;
use super::watch::listening;
use crate::limits::{UPLINKS_SETTLE, UPLINKS_TOLD_WITHIN};

/// A thread that tells which addresses this host has, at first and after each change.
#[derive(Debug)]
pub(crate) struct Uplinks {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
}

impl Uplinks {
    /// Starts to watch this thread's network namespace.
    pub(crate) fn start(mut tell: impl FnMut(Vec<IpAddr>) + Send + 'static) -> io::Result<Uplinks> {
        let changes = listening(NETLINK_ROUTE, &CHANGES)?;
        let mut netlink = Netlink::open()?;
        let stop = Arc::new(AtomicBool::new(false));
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (stopping, waking) = (Arc::clone(&stop), Arc::clone(&wake));
        let watch = move || {
            // The first look is due at once.
            let mut changed = Some(Instant::now());
            while !stopping.load(Ordering::Acquire) {
                let quiet = match wait(&changes, &waking, changed.is_some()) {
                    Ok(ready) => ready == 0,
                    Err(error) => return tracing::error!(%error, "this host's addresses are watched no more"),
                };
                if hears_of_others(&changes) {
                    changed.get_or_insert_with(Instant::now);
                }
                if changed.is_some_and(|at| quiet || at.elapsed() >= UPLINKS_TOLD_WITHIN) {
                    changed = None;
                    match netlink.addresses() {
                        Ok(addresses) => tell(addresses),
                        Err(error) => tracing::warn!(%error, "cannot list this host's addresses"),
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("keyway-uplinks".to_owned()).spawn(watch)?;
        Ok(Uplinks { thread, stop, wake })
    }

    /// Stops the thread and waits for its end.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = rustix::io::write(&self.wake, &1u64.to_ne_bytes()) {
            tracing::warn!(%error, "cannot wake the watcher of the host's addresses");
        }
        if self.thread.join().is_err() {
            tracing::error!("the watcher of the host's addresses had panicked");
        }
    }
}

/// Waits for a change, or after one until it has been quiet for a moment; tells what there is to hear of: nothing is quiet.
fn wait(changes: &Socket, wake: &OwnedFd, is_changed: bool) -> io::Result<usize> {
    let settle = Timespec::try_from(UPLINKS_SETTLE).ok().filter(|_| is_changed);
    let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    match poll(&mut [readable(wake.as_fd()), readable(changes.as_fd())], settle.as_ref()) {
        Ok(ready) => Ok(ready),
        Err(rustix::io::Errno::INTR) => Ok(1),
        Err(error) => Err(error.into()),
    }
}

/// Takes what the kernel has to say; tells whether anything of it was not about our own routes. That it had to leave
/// something out is a change as well.
fn hears_of_others(changes: &Socket) -> bool {
    let mut is_of_others = false;
    loop {
        match changes.recv_from_full() {
            Ok((datagram, _)) => is_of_others |= !is_ours(&datagram),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return is_of_others,
            Err(_) => is_of_others = true,
        }
    }
}

fn is_ours(datagram: &[u8]) -> bool {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram);
    match message.map(|message| message.payload) {
        Ok(NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        )) => route.header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL),
        _ => false,
    }
}

const CHANGES: [u32; 5] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
];
