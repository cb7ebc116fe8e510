//! One worker: a thread that waits for its TUN queue and its sockets, and carries what comes, a batch at a time.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use crate::activity::Activity;
use crate::device::{Socket, Tun};
use crate::egress::{Egress, Gso};
use crate::ingress::Ingress;
use crate::limits::{HOLD_CHECK_INTERVAL, LONGEST_PACKET, SUPER_PACKETS_A_TURN};
use crate::offload::split::SuperPacket;
use crate::shared::Shared;
use crate::socket::HostSocket;
use crate::tun::TunQueue;
use crate::{DropReason, PlaneEvent};

/// Both directions of one worker, on whatever devices.
pub(crate) struct Pipeline<T, S> {
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    tun: T,
    sockets: Vec<S>,
    egress: Egress,
    ingress: Ingress,
    super_packet: Box<[u8]>,
}

impl<T: Tun, S: Socket> Pipeline<T, S> {
    /// Joins devices to the tables; `mtu` is the longest inner packet.
    pub(crate) fn new(
        shared: Arc<Shared>,
        activity: Arc<Activity>,
        tun: T,
        sockets: Vec<S>,
        mtu: usize,
        gso: Gso,
    ) -> Self {
        Pipeline {
            shared,
            activity,
            tun,
            sockets,
            egress: Egress::new(mtu, gso),
            ingress: Ingress::new(mtu.max(ETHERNET_MTU) + ESP_ROOM),
            super_packet: vec![0; SUPER_PACKET_ROOM].into_boxed_slice(),
        }
    }

    /// Carries what the TUN device has, until it has no more or a fair share is done.
    ///
    /// # Errors
    /// The TUN device is gone.
    pub(crate) fn carry_out(&mut self, now: Instant) -> io::Result<()> {
        let batch = self.shared.batch(now, &self.sockets, &self.activity);
        for _ in 0..SUPER_PACKETS_A_TURN {
            match self.tun.receive(&mut self.super_packet) {
                Ok((header, length)) => match SuperPacket::new(header, &self.super_packet[..length]) {
                    Ok(packet) => self.egress.take(&packet, &batch),
                    Err(_) => batch.drop(DropReason::TunRefused),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => batch.drop(DropReason::TunRefused),
                Err(error) => {
                    self.egress.flush(&batch);
                    return if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) };
                }
            }
        }
        self.egress.flush(&batch);
        Ok(())
    }

    /// Carries one batch of what a socket has.
    pub(crate) fn carry_in(&mut self, socket: usize, now: Instant) {
        let batch = self.shared.batch(now, &self.sockets, &self.activity);
        let Some(socket) = self.sockets.get(socket) else { return };
        match self.ingress.receive(socket, &batch, &mut self.tun) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // An error that the kernel reports once, and clears: the next receive goes on.
            Err(error) => tracing::debug!(%error, bound = %socket.bound(), "receive failed"),
        }
    }

    /// Drops the packets that waited too long for their SA.
    pub(crate) fn expire(&mut self, now: Instant) {
        let dropped = self.shared.hold.expire(now);
        self.shared.drops.count(DropReason::HeldTooLong, dropped);
    }
}

/// A running worker thread.
#[derive(Debug)]
pub(crate) struct Worker {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
}

/// What a worker does besides carrying packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It looks after packets that wait for an SA.
    Clock,
    /// Nothing.
    None,
}

impl Worker {
    /// Starts a thread around a pipeline over the kernel's devices.
    pub(crate) fn start(
        index: usize,
        pipeline: Pipeline<TunQueue, Arc<HostSocket>>,
        received: usize,
        duty: Duty,
    ) -> io::Result<Worker> {
        let stop = Arc::new(AtomicBool::new(false));
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let readiness = Readiness::watch(&pipeline, received, &wake)?;
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name(format!("keyway-plane-{index}"))
            .spawn(move || run(pipeline, &readiness, duty, &stopped))?;
        Ok(Worker { thread, stop, wake })
    }

    /// Stops the thread and waits for its end.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = rustix::io::write(&self.wake, &1u64.to_ne_bytes()) {
            tracing::warn!(%error, "cannot wake a worker");
        }
        if self.thread.join().is_err() {
            tracing::error!("a worker had panicked");
        }
    }
}

fn run(
    mut pipeline: Pipeline<TunQueue, Arc<HostSocket>>,
    readiness: &Readiness,
    duty: Duty,
    stop: &AtomicBool,
) {
    let _last_words = LastWords(Arc::clone(&pipeline.shared));
    let mut last_check = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let ready = match readiness.wait(duty) {
            Ok(ready) => ready,
            Err(error) => {
                let sentence = format!("a worker cannot wait for packets and ends: {error}");
                return pipeline.shared.tell(PlaneEvent::HostFault(sentence));
            }
        };
        let now = Instant::now();
        for source in ready.iter() {
            match source {
                Source::Tun => {
                    if let Err(error) = pipeline.carry_out(now) {
                        readiness.forget_tun(&pipeline);
                        let sentence = format!("the TUN device is gone, and traffic with it: {error}");
                        pipeline.shared.tell(PlaneEvent::HostFault(sentence));
                    }
                }
                Source::Socket(index) => pipeline.carry_in(index, now),
                Source::Wake => {}
            }
        }
        if duty == Duty::Clock && now.saturating_duration_since(last_check) >= HOLD_CHECK_INTERVAL {
            last_check = now;
            pipeline.expire(now);
        }
    }
}

/// Tells the daemon of a panic when it happens: the thread's end is looked at only when the plane stops.
struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if thread::panicking() {
            let sentence = "a worker panicked, and traffic that it carried stops".to_owned();
            self.0.tell(PlaneEvent::HostFault(sentence));
        }
    }
}

/// The epoll set of a worker.
#[derive(Debug)]
struct Readiness {
    epoll: OwnedFd,
    /// Kept open for as long as the set watches it.
    _wake: Arc<OwnedFd>,
}

#[derive(Clone, Copy)]
enum Source {
    Tun,
    Wake,
    Socket(usize),
}

/// What was ready at one moment.
struct Ready {
    sources: [Source; READY_ROOM],
    count: usize,
}

impl Readiness {
    fn watch(
        pipeline: &Pipeline<TunQueue, Arc<HostSocket>>,
        received: usize,
        wake: &Arc<OwnedFd>,
    ) -> io::Result<Readiness> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let add = |source: rustix::fd::BorrowedFd<'_>, token: u64| {
            epoll::add(&set, source, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
        };
        add(pipeline.tun.as_fd(), TUN_TOKEN)?;
        add(wake.as_fd(), WAKE_TOKEN)?;
        for (index, socket) in pipeline.sockets.iter().enumerate().take(received) {
            add(socket.as_fd(), FIRST_SOCKET_TOKEN + index as u64)?;
        }
        Ok(Readiness { epoll: set, _wake: Arc::clone(wake) })
    }

    fn wait(&self, duty: Duty) -> io::Result<Ready> {
        let timeout = match duty {
            Duty::Clock => Some(&CHECK_TIMEOUT),
            Duty::None => None,
        };
        let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; READY_ROOM];
        let mut ready = Ready { sources: [Source::Wake; READY_ROOM], count: 0 };
        let events = match epoll::wait(&self.epoll, &mut room, timeout) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(ready),
            Err(error) => return Err(error.into()),
        };
        for event in events {
            ready.sources[ready.count] = match event.data.u64() {
                TUN_TOKEN => Source::Tun,
                WAKE_TOKEN => Source::Wake,
                token => Source::Socket((token - FIRST_SOCKET_TOKEN) as usize),
            };
            ready.count += 1;
        }
        Ok(ready)
    }

    fn forget_tun(&self, pipeline: &Pipeline<TunQueue, Arc<HostSocket>>) {
        if let Err(error) = epoll::delete(&self.epoll, pipeline.tun.as_fd()) {
            tracing::debug!(%error, "the TUN device was watched no more");
        }
    }
}

impl Ready {
    fn iter(&self) -> impl Iterator<Item = Source> + '_ {
        self.sources[..self.count].iter().copied()
    }
}

const CHECK_TIMEOUT: Timespec = Timespec { tv_sec: 0, tv_nsec: HOLD_CHECK_INTERVAL.subsec_nanos() as i64 };

const TUN_TOKEN: u64 = 0;
const WAKE_TOKEN: u64 = 1;
const FIRST_SOCKET_TOKEN: u64 = 2;

/// Sources that one wait may find ready; the others are found by the next.
const READY_ROOM: usize = 16;

/// Octets of the longest super-packet, and then some.
const SUPER_PACKET_ROOM: usize = LONGEST_PACKET + 512;

/// What a peer's packets have at most, usually.
const ETHERNET_MTU: usize = 1500;

/// ESP adds no more: header 8, IV 16, padding 15, trailer 2, ICV 32.
const ESP_ROOM: usize = 8 + 16 + 15 + 2 + 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Control;
    use crate::twin::TwinSocket;
    use crate::{Delivery, HoldBounds};
    use std::sync::mpsc;

    #[test]
    fn a_panic_is_told_at_once_and_a_proper_end_is_not() {
        let (events, heard) = mpsc::channel();
        let tell = move |event| {
            events.send(event).expect("the test listens");
            Delivery::Taken
        };
        let control =
            Control::<TwinSocket>::new(vec![], 1500, Gso::Absent, HoldBounds::default(), Box::new(tell));
        let words = || LastWords(Arc::clone(control.shared()));
        drop(words());
        assert!(heard.try_recv().is_err());
        let last_words = words();
        let worker = thread::spawn(move || {
            let _last_words = last_words;
            panic!("on purpose");
        });
        assert!(worker.join().is_err());
        let sentence = "a worker panicked, and traffic that it carried stops".to_owned();
        assert_eq!(heard.try_recv(), Ok(PlaneEvent::HostFault(sentence)));
    }
}
