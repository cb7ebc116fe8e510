//! What control and all workers share.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use ipsec::{Expiry, Tables};
use sa::{SaEvent, SaId};

use crate::activity::Activity;
use crate::drops::PlaneDrops;
use crate::hold::Hold;
use crate::{Delivery, DropReason, HoldBounds, IkeDatagram, PlaneEvent};

/// The tables as they are now, the counters, the waiting packets and the way to the daemon.
pub(crate) struct Shared {
    tables: ArcSwap<Tables>,
    pub(crate) drops: PlaneDrops,
    pub(crate) hold: Hold,
    events: Box<dyn Fn(PlaneEvent) -> Delivery + Send + Sync>,
}

/// What holds for a whole batch: one look at the tables and one at the clock, and where its packets may leave.
pub(crate) struct Batch<'a, S> {
    pub(crate) shared: &'a Shared,
    pub(crate) tables: Guard<Arc<Tables>>,
    pub(crate) now: Instant,
    pub(crate) sockets: &'a [S],
    pub(crate) activity: &'a Activity,
}

impl Shared {
    /// Starts with these tables.
    pub(crate) fn new(
        tables: Arc<Tables>,
        hold: HoldBounds,
        events: Box<dyn Fn(PlaneEvent) -> Delivery + Send + Sync>,
    ) -> Shared {
        Shared { tables: ArcSwap::new(tables), drops: PlaneDrops::default(), hold: Hold::new(hold), events }
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

    /// Counts a packet that was dropped for another reason.
    pub(crate) fn drop(&self, reason: DropReason) {
        self.shared.drops.count(reason, 1);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
