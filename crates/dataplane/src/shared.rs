//! What control and all workers share.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use crypto::Random as _;
use ipsec::{Databases, Expiry, Paths, Reassembler, Tables};
use sa::{DeviceId, SaEvent, SaId, SegmentSize};
use wire::ip::Flow;

use crate::activity::Activity;
use crate::audit::{Audit, DroppedArrival};
use crate::drops::PlaneDrops;
use crate::hold::Hold;
use crate::{Delivery, DropReason, HoldBounds, IkeDatagram, PlaneEvent};

/// The tables as they are now, the counters, the waiting packets and the way to the daemon.
pub(crate) struct Shared {
    tables: ArcSwap<Tables>,
    pub(crate) drops: PlaneDrops,
    pub(crate) audit: Audit,
    pub(crate) hold: Hold,
    paths: Arc<Mutex<Paths>>,
    link_mtu: LinkMtu,
    reassembler: Mutex<Reassembler>,
    /// Of the last sealed packet that was cut. Workers share it: two packets between the same hosts must not have the same.
    identification: AtomicU32,
    /// What TUN devices take; `None` is the common one.
    device_mtus: Mutex<BTreeMap<Option<DeviceId>, usize>>,
    passing_mark: OnceLock<NonZeroU32>,
    events: Box<dyn Fn(PlaneEvent) -> Delivery + Send + Sync>,
}

/// Asks the host what the first link on the way to an address takes, in octets; `None` if it cannot say.
pub(crate) type LinkMtu = Box<dyn Fn(IpAddr) -> Option<usize> + Send + Sync>;

/// What holds for a whole batch: one look at the tables and one at the clock, and where its packets may leave.
pub(crate) struct Batch<'a, S> {
    pub(crate) shared: &'a Shared,
    pub(crate) tables: Guard<Arc<Tables>>,
    pub(crate) now: Instant,
    pub(crate) sockets: &'a [S],
    pub(crate) activity: &'a Activity,
}

impl Shared {
    /// Starts with what these databases hold.
    pub(crate) fn new(
        databases: &Databases,
        hold: HoldBounds,
        link_mtu: LinkMtu,
        events: Box<dyn Fn(PlaneEvent) -> Delivery + Send + Sync>,
    ) -> Shared {
        let mut identification = [0; 4];
        crypto::SystemRandom.fill(&mut identification);
        Shared {
            tables: ArcSwap::new(databases.tables()),
            drops: PlaneDrops::default(),
            audit: Audit::new(),
            hold: Hold::new(hold),
            paths: Arc::clone(databases.paths()),
            link_mtu,
            reassembler: Mutex::default(),
            identification: AtomicU32::new(u32::from_ne_bytes(identification)),
            device_mtus: Mutex::default(),
            passing_mark: OnceLock::new(),
            events,
        }
    }

    /// Begins a batch.
    pub(crate) fn batch<'a, S>(
        &'a self,
        now: Instant,
        sockets: &'a [S],
        activity: &'a Activity,
    ) -> Batch<'a, S> {
        Batch { shared: self, tables: self.tables.load(), now, sockets, activity }
    }

    /// Begins a batch that sees tables which others do not see yet.
    pub(crate) fn batch_ahead<'a, S>(
        &'a self,
        tables: Arc<Tables>,
        now: Instant,
        sockets: &'a [S],
        activity: &'a Activity,
    ) -> Batch<'a, S> {
        Batch { shared: self, tables: Guard::from_inner(tables), now, sockets, activity }
    }

    /// Lets every batch that begins from now on see these tables.
    pub(crate) fn publish(&self, tables: Arc<Tables>) {
        self.tables.store(tables);
    }

    /// Gives what is known of the paths to peers.
    pub(crate) fn paths(&self) -> MutexGuard<'_, Paths> {
        lock(&self.paths)
    }

    /// Gives the fragments that wait for the rest of their packets. The kernel deals those of one packet to several
    /// workers: only the first shows the ports by which it deals.
    pub(crate) fn reassembler(&self) -> MutexGuard<'_, Reassembler> {
        lock(&self.reassembler)
    }

    /// Gives an identification for a sealed packet that is to be cut; the last of them were others.
    pub(crate) fn next_identification(&self) -> u32 {
        self.identification.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets packets that no policy selects pass with this mark: the host is ready for them.
    pub(crate) fn let_pass(&self, mark: NonZeroU32) {
        // Who says so first has said it for as long as the plane runs.
        let _ = self.passing_mark.set(mark);
    }

    /// Gives the mark of packets that pass because no policy selects them; `None` if they must not.
    pub(crate) fn passing_mark(&self) -> Option<NonZeroU32> {
        self.passing_mark.get().copied()
    }

    /// Says what a TUN device takes.
    pub(crate) fn set_device_mtu(&self, device: Option<DeviceId>, mtu: usize) {
        lock(&self.device_mtus).insert(device, mtu);
    }

    /// Gives the most that a TCP connection from `source` through a device may announce, where the path takes inner packets
    /// of `longest` octets; `None` if it may announce what it likes.
    pub(crate) fn segment_size(
        &self,
        rule: SegmentSize,
        longest: usize,
        device: Option<DeviceId>,
        source: IpAddr,
    ) -> Option<u16> {
        let mtu = lock(&self.device_mtus).get(&device).copied().unwrap_or(usize::MAX);
        ipsec::segment_size(rule, longest.min(mtu), source)
    }

    /// Asks the host what the first link on the way to an address takes.
    pub(crate) fn link_mtu(&self, remote: IpAddr) -> Option<usize> {
        (self.link_mtu)(remote)
    }

    /// Asks the host what the first link on the way to a peer takes, unless somebody did a moment ago.
    pub(crate) fn learn_link(&self, remote: IpAddr, now: Instant) {
        let may_ask = self.paths().may_ask_link(remote, now);
        if may_ask && let Some(mtu) = self.link_mtu(remote) {
            tracing::debug!(%remote, mtu, "link");
            self.paths().set_link(remote, mtu, now);
        }
    }

    /// Forgets what is known of paths for too long.
    pub(crate) fn age_paths(&self, now: Instant) {
        let old = self.paths().age(now);
        old.into_iter().for_each(|remote| self.learn_link(remote, now));
    }

    /// Hands an IKE datagram to the daemon, or counts it as dropped.
    pub(crate) fn tell_ike(&self, datagram: IkeDatagram) {
        match (self.events)(PlaneEvent::Ike(datagram)) {
            Delivery::Taken => {}
            Delivery::Refused => self.drops.count(DropReason::IkeQueueFull, 1),
        }
    }

    /// Hands any other event to the daemon.
    pub(crate) fn tell(&self, event: PlaneEvent) {
        match (self.events)(event) {
            Delivery::Taken => {}
            Delivery::Refused => tracing::warn!("the daemon refused an event of an SA or of the host"),
        }
    }

    /// Tells that an SA reached a limit.
    pub(crate) fn tell_expiry(&self, sa: SaId, expiry: Expiry) {
        self.tell(PlaneEvent::Sa(SaEvent::Expire { sa, hardness: expiry.hardness, cause: expiry.cause }));
    }
}

impl<'a, S> Batch<'a, S> {
    /// Tells whether the tables of this batch are still the current ones.
    pub(crate) fn is_current(&self) -> bool {
        Arc::ptr_eq(&self.tables, &self.shared.tables.load())
    }

    /// Begins another batch with the tables as they are now.
    pub(crate) fn renewed(&self) -> Batch<'a, S> {
        self.shared.batch(self.now, self.sockets, self.activity)
    }

    /// Counts a packet that the tables or an SA refused.
    pub(crate) fn drop_by_tables(&self, reason: ipsec::DropReason) {
        self.tables.drops().count(reason);
    }

    /// The same of a packet that arrived, which the log may tell of.
    pub(crate) fn drop_arrival(&self, reason: ipsec::DropReason, packet: impl FnOnce() -> DroppedArrival) {
        self.tables.drops().count(reason);
        self.shared.audit.arrival(reason, self.now, packet);
    }

    /// The same of a packet that was to leave.
    pub(crate) fn drop_departure(&self, reason: ipsec::DropReason, flow: &Flow) {
        self.tables.drops().count(reason);
        self.shared.audit.departure(reason, self.now, flow);
    }

    /// The same of a packet that an outbound SA would not seal.
    pub(crate) fn drop_sealing(&self, reason: ipsec::DropReason, sa: &SaId) {
        self.tables.drops().count(reason);
        self.shared.audit.sealing(reason, self.now, sa);
    }

    /// Counts a packet that was dropped for another reason.
    pub(crate) fn drop(&self, reason: DropReason) {
        self.shared.drops.count(reason, 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds one of these locks can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
