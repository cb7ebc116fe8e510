//! Notices what other hands do to what is ours on this host.
//!
//! The kernel tells of every change of devices, rules and packet filter tables. What exactly changed is not of interest:
//! each such word is a reason to look whether all that is ours stands, some time later and not too often. So a word that is
//! lost in a flood does no harm, for another one follows.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::nft::TableSignature;
use crate::limits::HOST_LOOK_INTERVAL;

/// A thread that calls somebody when the host changed.
#[derive(Debug)]
pub(crate) struct Watch {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
}

/// What is known of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touched {
    /// Our device: its routes may be gone, whatever it is like now.
    Device,
    /// Our table of blocks, or a part of it.
    Blocks,
    /// Something; perhaps nothing of ours.
    Something,
}

impl Watch {
    /// Starts to watch this thread's network namespace; `look` is called after changes. `device` is our device's index,
    /// `blocks` our table, if there is one.
    pub(super) fn start(
        device: u32,
        blocks: Option<TableSignature>,
        look: impl FnMut(&BTreeSet<Touched>) + Send + 'static,
    ) -> io::Result<Watch> {
        let links_and_rules = listening(NETLINK_ROUTE, &[LINKS, IPV4_RULES, IPV6_RULES])?;
        // A kernel without packet filter has no such group, and no table of ours.
        let tables = listening(NETLINK_NETFILTER, &[TABLES]).ok();
        let stop = Arc::new(AtomicBool::new(false));
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let watcher = Watcher {
            links_and_rules,
            tables,
            device,
            blocks,
            stop: Arc::clone(&stop),
            wake: Arc::clone(&wake),
            touched: BTreeSet::new(),
            last_look: None,
        };
        let thread =
            thread::Builder::new().name("keyway-watch".to_owned()).spawn(move || watcher.run(look))?;
        Ok(Watch { thread, stop, wake })
    }

    /// Stops the thread and waits for its end.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = rustix::io::write(&self.wake, &1u64.to_ne_bytes()) {
            tracing::warn!(%error, "cannot wake the watcher of the host");
        }
        if self.thread.join().is_err() {
            tracing::error!("the watcher of the host had panicked");
        }
    }
}

struct Watcher {
    links_and_rules: Socket,
    tables: Option<Socket>,
    device: u32,
    blocks: Option<TableSignature>,
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    /// What changed since the last look.
    touched: BTreeSet<Touched>,
    last_look: Option<Instant>,
}

impl Watcher {
    fn run(mut self, mut look: impl FnMut(&BTreeSet<Touched>)) {
        while !self.stop.load(Ordering::Acquire) {
            if let Err(error) = self.wait() {
                return tracing::error!(%error, "this host is watched no more");
            }
            self.listen();
            if self.until_next_look() == Some(Duration::ZERO) {
                self.last_look = Some(Instant::now());
                look(&std::mem::take(&mut self.touched));
            }
        }
    }

    /// Tells how long to wait for the next look; `None` if there is no reason for one.
    fn until_next_look(&self) -> Option<Duration> {
        if self.touched.is_empty() {
            return None;
        }
        let since = self.last_look.map_or(HOST_LOOK_INTERVAL, |last| last.elapsed());
        Some(HOST_LOOK_INTERVAL.saturating_sub(since))
    }

    fn wait(&self) -> io::Result<()> {
        let timeout = self.until_next_look().and_then(|wait| Timespec::try_from(wait).ok());
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![readable(self.wake.as_fd()), readable(self.links_and_rules.as_fd())];
        fds.extend(self.tables.as_ref().map(|tables| readable(tables.as_fd())));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what the kernel has to say; that it had to leave something out is a change as well.
    fn listen(&mut self) {
        loop {
            let touched = match self.links_and_rules.recv_from_full() {
                Ok((datagram, _)) if is_about(&datagram, self.device) => Touched::Device,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => Touched::Something,
            };
            self.touched.insert(touched);
        }
        let Some(tables) = &self.tables else { return };
        loop {
            let blocks = self.blocks.as_ref();
            let touched = match tables.recv_from_full() {
                Ok((datagram, _)) if blocks.is_some_and(|blocks| blocks.is_touched_in(&datagram)) => {
                    Touched::Blocks
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Blocks that are laid out are many words at once, and to lay them out again would be as many.
                Ok(_) | Err(_) => Touched::Something,
            };
            self.touched.insert(touched);
        }
    }
}

pub(super) fn listening(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    groups.iter().try_for_each(|group| socket.add_membership(*group))?;
    Ok(socket)
}

/// Tells whether a message is about the device.
fn is_about(datagram: &[u8], device: u32) -> bool {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram);
    matches!(
        message.map(|message| message.payload),
        Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))) if link.header.index == device
    )
}

const LINKS: u32 = libc::RTNLGRP_LINK;
const IPV4_RULES: u32 = libc::RTNLGRP_IPV4_RULE;
const IPV6_RULES: u32 = libc::RTNLGRP_IPV6_RULE;
const TABLES: u32 = libc::NFNLGRP_NFTABLES as u32;
