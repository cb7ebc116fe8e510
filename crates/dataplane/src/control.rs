//! The one hand that changes the tables: orders in, snapshots out, waiting packets on their way.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use ipsec::{Databases, Rejection, SpisExhausted, Tables, Usage, Verdict};
use sa::{DeviceId, Direction, PolicyId, Protocol, SaId, SaOp, Spi};
use wire::ip::Flow;

use crate::activity::Activity;
use crate::departures::Gso;
use crate::device::Socket;
use crate::dummies::Schedule;
use crate::egress::Egress;
use crate::hold::HeldPacket;
use crate::offload::split::SuperPacket;
use crate::shared::{LinkMtu, Shared};
use crate::{Delivery, DropReason, HoldBounds, PlaneEvent};

/// The databases, and a way out for the packets that waited for what changes in them.
pub(crate) struct Control<S> {
    databases: Databases,
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    egress: Egress,
    sockets: Vec<S>,
    dummies: Schedule,
    /// Octets of the longest dummy.
    longest_dummy: usize,
}

impl<S: Socket> Control<S> {
    /// Starts with empty tables.
    pub(crate) fn new(
        sockets: Vec<S>,
        mtu: usize,
        gso: Gso,
        hold: HoldBounds,
        link_mtu: LinkMtu,
        events: Box<dyn Fn(PlaneEvent) -> Delivery + Send + Sync>,
    ) -> Control<S> {
        let databases = Databases::new(Box::new(crypto::SystemRandom));
        let shared = Arc::new(Shared::new(&databases, hold, link_mtu, events));
        shared.set_device_mtu(None, mtu);
        Control {
            databases,
            shared,
            activity: Arc::default(),
            egress: Egress::new(mtu, gso),
            sockets,
            dummies: Schedule::default(),
            longest_dummy: mtu,
        }
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
    /// with narrower selectors: so whatever waits is classified again, and leaves if it need not wait any more.
    pub(crate) fn apply(&mut self, op: SaOp) -> Result<(), Rejection> {
        let serves = matches!(op, SaOp::UseOutbound { .. });
        let removed = match &op {
            SaOp::RemovePolicy(policy) => Some(*policy),
            SaOp::UseOutbound { .. }
            | SaOp::InstallPolicy(_)
            | SaOp::InstallSa(_)
            | SaOp::RemoveSa(_)
            | SaOp::MoveSa { .. }
            | SaOp::SkipSequence { .. }
            | SaOp::SetPathMtu { .. } => None,
        };
        let remote = sends_to(&op);
        let pace = self.pace_after(&op);
        self.databases.apply(op)?;
        if let Some((sa, a_second)) = pace {
            self.dummies.insert(sa, a_second, Instant::now());
        }
        if let Some(remote) = remote {
            self.shared.learn_link(remote, Instant::now());
        }
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

    /// Sends the dummy packets that are due by now; gives when the next one is.
    pub(crate) fn send_dummies(&mut self, now: Instant) -> Option<Instant> {
        let batch = self.shared.batch(now, &self.sockets, &self.activity);
        while let Some(due) = self.dummies.pop(now) {
            if let Some(sa) = self.databases.carrying(due) {
                self.egress.send_dummy(sa, self.longest_dummy, &batch);
            }
        }
        self.egress.flush(&batch);
        self.dummies.next()
    }

    /// Takes the SA of an order out of the schedule of dummies; gives under which name and at which pace it is to come back.
    fn pace_after(&mut self, op: &SaOp) -> Option<(SaId, NonZeroU16)> {
        match op {
            SaOp::InstallSa(spec)
                if (spec.direction, spec.protocol) == (Direction::Outbound, Protocol::Esp) =>
            {
                Some((spec.id(), NonZeroU16::new(spec.handling.dummies)?))
            }
            SaOp::RemoveSa(sa) => {
                self.dummies.remove(sa);
                None
            }
            SaOp::MoveSa { sa, outer } => {
                let destination = outer.remote.ip();
                Some((SaId { destination, ..*sa }, self.dummies.remove(sa)?))
            }
            SaOp::InstallSa(_)
            | SaOp::InstallPolicy(_)
            | SaOp::RemovePolicy(_)
            | SaOp::UseOutbound { .. }
            | SaOp::SkipSequence { .. }
            | SaOp::SetPathMtu { .. } => None,
        }
    }

    /// Says that there is a device for inner packets of up to `mtu` octets.
    pub(crate) fn add_device(&mut self, device: DeviceId, mtu: usize) {
        self.egress.make_room(mtu);
        self.shared.set_device_mtu(Some(device), mtu);
    }

    /// Gives a free SPI and reserves it.
    pub(crate) fn allocate_spi(&mut self, random: u32) -> Result<Spi, SpisExhausted> {
        self.databases.allocate_spi(random)
    }

    /// Tells what an SA has carried.
    pub(crate) fn usage(&self, sa: SaId) -> Option<Usage> {
        self.databases.usage(sa)
    }

    /// Gives the counters of packets of one SA that were dropped.
    pub(crate) fn drops_of(&self, sa: SaId) -> Option<&ipsec::DropCounters> {
        self.databases.drops_of(sa)
    }

    /// Gives the counters of packets that the tables dropped.
    pub(crate) fn drops(&self) -> &ipsec::DropCounters {
        self.databases.drops()
    }

    fn send_held(&mut self, tables: &Arc<Tables>) {
        let tables = Arc::clone(tables);
        let batch = self.shared.batch_ahead(tables, Instant::now(), &self.sockets, &self.activity);
        for held in &self.shared.hold.release_if(|held| may_go(held, &batch.tables)) {
            self.egress.take(&SuperPacket::whole(&held.octets), held.device, &batch);
        }
        self.egress.flush(&batch);
        // Whoever sends what is too long sends it again, and is told then.
        self.egress.answers().for_each(drop);
    }

    fn drop_held(&self, policy: PolicyId) {
        let dropped = self.shared.hold.release(policy).len();
        self.shared.drops.count(DropReason::HeldTooLong, dropped);
    }
}

/// Tells whether a packet that waited has an SA now, or whether that is seen only when it is taken again: a fragment shows
/// too little.
fn may_go(held: &HeldPacket, tables: &Tables) -> bool {
    let Ok(flow) = Flow::of(&held.octets) else { return true };
    let verdict = tables.classify_packet(&held.octets, &flow, held.device);
    !matches!(verdict, Verdict::Acquire(_)) || SuperPacket::whole(&held.octets).is_fragment()
}

/// Gives the peer's address if the order lets an SA send there that did not before.
fn sends_to(op: &SaOp) -> Option<IpAddr> {
    match op {
        SaOp::InstallSa(spec) if spec.direction == Direction::Outbound => Some(spec.outer.remote.ip()),
        SaOp::MoveSa { sa, outer } if sa.direction == Direction::Outbound => Some(outer.remote.ip()),
        SaOp::InstallSa(_)
        | SaOp::MoveSa { .. }
        | SaOp::InstallPolicy(_)
        | SaOp::RemovePolicy(_)
        | SaOp::UseOutbound { .. }
        | SaOp::RemoveSa(_)
        | SaOp::SkipSequence { .. }
        | SaOp::SetPathMtu { .. } => None,
    }
}

impl<S> fmt::Debug for Control<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("databases", &self.databases).finish_non_exhaustive()
    }
}
