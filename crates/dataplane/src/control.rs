//! The one hand that changes the tables: orders in, snapshots out, waiting packets on their way.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use ipsec::{Databases, Rejection, SpisExhausted, Tables, Unmatched, Usage};
use sa::{PolicyId, SaId, SaOp, Spi};

use crate::activity::Activity;
use crate::device::Socket;
use crate::egress::{Egress, Gso};
use crate::offload::split::SuperPacket;
use crate::shared::Shared;
use crate::{Delivery, DropReason, HoldBounds, PlaneEvent};

/// The databases, and a way out for the packets that waited for what changes in them.
pub(crate) struct Control<S> {
    databases: Databases,
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    egress: Egress,
    sockets: Vec<S>,
}

impl<S: Socket> Control<S> {
    /// Starts with empty tables. A packet that no policy selects is dropped (RFC 4301 §5.1): it came to us because some
    /// policy's route led it here, and nobody said that it may pass.
    pub(crate) fn new(
        sockets: Vec<S>,
        mtu: usize,
        gso: Gso,
        hold: HoldBounds,
        events: Box<dyn Fn(PlaneEvent) -> Delivery + Send + Sync>,
    ) -> Control<S> {
        let databases = Databases::new(Unmatched::Discard, Box::new(crypto::SystemRandom));
        let shared = Arc::new(Shared::new(databases.tables(), hold, events));
        Control { databases, shared, activity: Arc::default(), egress: Egress::new(mtu, gso), sockets }
    }

    /// Gives what workers read.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Gives the record of the packets that control itself sent.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Carries out an order on the tables; workers see it with their next batch.
    ///
    /// Packets that waited for it leave first: those that are there before workers see the new tables, and those that
    /// workers still put there meanwhile. They waited for a trap policy, and an SA serves a policy of its own, perhaps
    /// with narrower selectors: so whatever waits is classified again.
    pub(crate) fn apply(&mut self, op: SaOp) -> Result<(), Rejection> {
        let serves = matches!(op, SaOp::UseOutbound { .. });
        let removed = match &op {
            SaOp::RemovePolicy(policy) => Some(*policy),
            SaOp::UseOutbound { .. }
            | SaOp::InstallPolicy(_)
            | SaOp::InstallSa(_)
            | SaOp::RemoveSa(_)
            | SaOp::MoveSa { .. } => None,
        };
        self.databases.apply(op)?;
        let tables = self.databases.tables();
        if serves {
            self.send_held(&tables);
            self.shared.publish(Arc::clone(&tables));
            self.send_held(&tables);
        } else {
            self.shared.publish(tables);
        }
        if let Some(policy) = removed {
            self.drop_held(policy);
        }
        Ok(())
    }

    /// Gives a free SPI and reserves it.
    pub(crate) fn allocate_spi(&mut self, random: u32) -> Result<Spi, SpisExhausted> {
        self.databases.allocate_spi(random)
    }

    /// Tells what an SA has carried.
    pub(crate) fn usage(&self, sa: SaId) -> Option<Usage> {
        self.databases.usage(sa)
    }

    /// Gives the counters of packets that the tables dropped.
    pub(crate) fn drops(&self) -> &ipsec::DropCounters {
        self.databases.drops()
    }

    fn send_held(&mut self, tables: &Arc<Tables>) {
        let tables = Arc::clone(tables);
        let batch = self.shared.batch_ahead(tables, Instant::now(), &self.sockets, &self.activity);
        for octets in &self.shared.hold.release_all() {
            self.egress.take(&SuperPacket::whole(octets), &batch);
        }
        self.egress.flush(&batch);
    }

    fn drop_held(&self, policy: PolicyId) {
        let dropped = self.shared.hold.release(policy).len();
        self.shared.drops.count(DropReason::HeldTooLong, dropped);
    }
}

impl<S> fmt::Debug for Control<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("databases", &self.databases).finish_non_exhaustive()
    }
}
