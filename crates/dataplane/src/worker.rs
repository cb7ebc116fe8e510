//! One worker: a thread that waits for its TUN queue and its sockets, and carries what comes, a batch at a time.

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use sa::DeviceId;

use crate::activity::Activity;
use crate::departures::Gso;
use crate::device::{Socket, Tun, Tuns};
use crate::egress::Egress;
use crate::ingress::Ingress;
use crate::limits::{HOLD_CHECK_INTERVAL, LONGEST_PACKET, SUPER_PACKETS_A_TURN};
use crate::offload::VnetHeader;
use crate::offload::split::SuperPacket;
use crate::shared::Shared;
use crate::socket::HostSocket;
use crate::tun::TunQueue;
use crate::{DropReason, PlaneEvent};

/// Both directions of one worker, on whatever devices.
pub(crate) struct Pipeline<T, S> {
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    tuns: Tuns<T>,
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
            sockets,
            egress: Egress::new(mtu, gso),
            ingress: Ingress::new(mtu.max(ETHERNET_MTU) + ESP_ROOM, tun.joins()),
            tuns: Tuns::new(tun),
            super_packet: vec![0; SUPER_PACKET_ROOM].into_boxed_slice(),
        }
    }

    /// Adds a device for inner packets of up to `mtu` octets.
    pub(crate) fn add_device(&mut self, device: DeviceId, queue: T, mtu: usize) {
        self.egress.make_room(mtu);
        self.tuns.add(device, queue);
    }

    /// Gives a device up.
    pub(crate) fn remove_device(&mut self, device: DeviceId) {
        self.tuns.remove(device);
    }

    /// Carries what a TUN device has (`None` is the common one), until it has no more or a fair share is done.
    ///
    /// # Errors
    /// The TUN device is gone.
    pub(crate) fn carry_out(&mut self, device: Option<DeviceId>, now: Instant) -> io::Result<()> {
        let begin = || self.shared.batch(now, &self.sockets, &self.activity);
        let Some(tun) = self.tuns.of(device) else { return Ok(()) };
        let mut outcome = Ok(());
        for _ in 0..SUPER_PACKETS_A_TURN {
            let received = tun.receive(&mut self.super_packet);
            // After the packet: what was ordered before it came holds for it.
            let batch = begin();
            match received {
                Ok((header, length)) => match SuperPacket::new(header, &self.super_packet[..length]) {
                    Ok(packet) => self.egress.take(&packet, device, &batch),
                    Err(_) => batch.drop(DropReason::TunRefused),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => batch.drop(DropReason::TunRefused),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let batch = begin();
        self.egress.flush(&batch);
        for answer in self.egress.answers() {
            if tun.send(VnetHeader::default(), &[IoSlice::new(&answer)]).is_err() {
                batch.drop(DropReason::TunRefused);
            }
        }
        outcome
    }

    /// Carries one batch of what a socket has.
    pub(crate) fn carry_in(&mut self, socket: usize, now: Instant) {
        let begin = || self.shared.batch(now, &self.sockets, &self.activity);
        let Some(socket) = self.sockets.get(socket) else { return };
        match self.ingress.receive(socket, begin, &mut self.tuns) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // An error that the kernel reports once, and clears: the next receive goes on.
            Err(error) => tracing::debug!(%error, bound = %socket.bound(), "receive failed"),
        }
    }

    /// Drops the packets that waited too long for their SA or for the rest of them, and forgets what is old of paths.
    pub(crate) fn expire(&mut self, now: Instant) {
        let batch = self.shared.batch(now, &self.sockets, &self.activity);
        self.shared.reassembler().expire(now, batch.tables.drops());
        self.shared.age_paths(now);
        let dropped = self.shared.hold.expire(now);
        self.shared.drops.count(DropReason::HeldTooLong, dropped);
    }
}

/// A running worker thread.
#[derive(Debug)]
pub(crate) struct Worker {
    thread: JoinHandle<()>,
    orders: Arc<Orders>,
}

/// What a worker is told; it looks when it is woken.
#[derive(Debug)]
struct Orders {
    stop: AtomicBool,
    devices: Mutex<Vec<DeviceOrder>>,
    wake: OwnedFd,
}

#[derive(Debug)]
enum DeviceOrder {
    Add(DeviceId, TunQueue, usize),
    Remove(DeviceId),
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
        mut pipeline: Pipeline<TunQueue, Arc<HostSocket>>,
        received: usize,
        duty: Duty,
    ) -> io::Result<Worker> {
        let orders = Arc::new(Orders {
            stop: AtomicBool::new(false),
            devices: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let readiness = Readiness::watch(&mut pipeline, received, &orders)?;
        let theirs = Arc::clone(&orders);
        let thread = thread::Builder::new()
            .name(format!("keyway-plane-{index}"))
            .spawn(move || run(pipeline, &readiness, duty, &theirs))?;
        Ok(Worker { thread, orders })
    }

    /// Lets it carry the packets of one more device; `mtu` is its longest inner packet.
    pub(crate) fn add_device(&self, device: DeviceId, queue: TunQueue, mtu: usize) {
        self.orders.give(DeviceOrder::Add(device, queue, mtu));
    }

    /// Lets it give up a device.
    pub(crate) fn remove_device(&self, device: DeviceId) {
        self.orders.give(DeviceOrder::Remove(device));
    }

    /// Stops the thread and waits for its end.
    pub(crate) fn stop(self) {
        self.orders.stop.store(true, Ordering::Release);
        self.orders.wake_up();
        if self.thread.join().is_err() {
            tracing::error!("a worker had panicked");
        }
    }
}

impl Orders {
    fn give(&self, order: DeviceOrder) {
        self.devices().push(order);
        self.wake_up();
    }

    /// Takes the orders that were given; whoever gives more wakes again.
    fn take(&self) -> Vec<DeviceOrder> {
        // An eventfd that is read is silent until it is written to.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        std::mem::take(&mut self.devices())
    }

    fn devices(&self) -> MutexGuard<'_, Vec<DeviceOrder>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_up(&self) {
        if let Err(error) = rustix::io::write(&self.wake, &1u64.to_ne_bytes()) {
            tracing::warn!(%error, "cannot wake a worker");
        }
    }
}

fn run(
    mut pipeline: Pipeline<TunQueue, Arc<HostSocket>>,
    readiness: &Readiness,
    duty: Duty,
    orders: &Orders,
) {
    let _last_words = LastWords(Arc::clone(&pipeline.shared));
    let mut last_check = Instant::now();
    while !orders.stop.load(Ordering::Acquire) {
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
                Source::Tun(device) => {
                    if let Err(error) = pipeline.carry_out(device, now) {
                        // Whoever takes a device away tells us first.
                        obey(orders.take(), &mut pipeline, readiness);
                        if let Some(name) = readiness.forget(&mut pipeline, device) {
                            tell_of_loss(&pipeline.shared, &name, &error);
                        }
                    }
                }
                Source::Socket(index) => pipeline.carry_in(index, now),
                Source::Wake => obey(orders.take(), &mut pipeline, readiness),
            }
        }
        if duty == Duty::Clock && now.saturating_duration_since(last_check) >= HOLD_CHECK_INTERVAL {
            last_check = now;
            pipeline.expire(now);
        }
    }
}

fn obey(orders: Vec<DeviceOrder>, pipeline: &mut Pipeline<TunQueue, Arc<HostSocket>>, readiness: &Readiness) {
    for order in orders {
        match order {
            DeviceOrder::Add(device, queue, mtu) => {
                match readiness.add(queue.as_fd(), device_token(device)) {
                    Ok(()) => pipeline.add_device(device, queue, mtu),
                    Err(error) => tell_of_loss(&pipeline.shared, queue.name(), &error),
                }
            }
            DeviceOrder::Remove(device) => {
                readiness.forget(pipeline, Some(device));
                pipeline.remove_device(device);
            }
        }
    }
}

fn tell_of_loss(shared: &Shared, name: &str, error: &io::Error) {
    let sentence = format!("the TUN device {name} is gone, and traffic with it: {error}");
    shared.tell(PlaneEvent::HostFault(sentence));
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
    /// Kept for as long as the set watches what wakes them.
    _orders: Arc<Orders>,
}

#[derive(Clone, Copy)]
enum Source {
    Tun(Option<DeviceId>),
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
        pipeline: &mut Pipeline<TunQueue, Arc<HostSocket>>,
        received: usize,
        orders: &Arc<Orders>,
    ) -> io::Result<Readiness> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let readiness = Readiness { epoll, _orders: Arc::clone(orders) };
        if let Some(tun) = pipeline.tuns.of(None) {
            readiness.add(tun.as_fd(), TUN_TOKEN)?;
        }
        readiness.add(orders.wake.as_fd(), WAKE_TOKEN)?;
        for (index, socket) in pipeline.sockets.iter().enumerate().take(received) {
            readiness.add(socket.as_fd(), FIRST_SOCKET_TOKEN + index as u64)?;
        }
        Ok(readiness)
    }

    fn add(&self, source: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        epoll::add(&self.epoll, source, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        Ok(())
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
                TUN_TOKEN => Source::Tun(None),
                WAKE_TOKEN => Source::Wake,
                token if token >= FIRST_DEVICE_TOKEN => {
                    Source::Tun(Some(DeviceId((token - FIRST_DEVICE_TOKEN) as u32)))
                }
                token => Source::Socket((token - FIRST_SOCKET_TOKEN) as usize),
            };
            ready.count += 1;
        }
        Ok(ready)
    }

    /// Stops watching a device; gives its name if it was watched until now.
    fn forget(
        &self,
        pipeline: &mut Pipeline<TunQueue, Arc<HostSocket>>,
        device: Option<DeviceId>,
    ) -> Option<String> {
        let tun = pipeline.tuns.of(device)?;
        if let Err(error) = epoll::delete(&self.epoll, tun.as_fd()) {
            tracing::debug!(%error, "the TUN device was watched no more");
        }
        Some(tun.name().to_owned())
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
/// More than there are sockets; ids of devices are numbers of 32 bits.
const FIRST_DEVICE_TOKEN: u64 = 1 << 32;

fn device_token(device: DeviceId) -> u64 {
    FIRST_DEVICE_TOKEN + u64::from(device.0)
}

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
        let control = Control::<TwinSocket>::new(
            vec![],
            1500,
            Gso::Absent,
            HoldBounds::default(),
            Box::new(|_| None),
            Box::new(tell),
        );
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
