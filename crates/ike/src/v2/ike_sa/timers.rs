//! Time, and what the data plane tells: retransmission, liveness, lifetimes, keepalives.

use std::time::{Duration, Instant};

use sa::{ExpiryCause, Hardness, SaId};

use super::{Active, IkeSa, Life, Task};
use crate::child::{ChildSa, Confirmation, Tenure};
use crate::context::Context;
use crate::error::Failure;
use crate::event::DownReason;
use crate::io::{ChildSaId, TimeoutReason};
use crate::nat_detection::Behind;
use crate::retransmission::Retransmission;
use crate::status::ChildState;
use crate::v2::{counter_synchronization, informational};

impl IkeSa {
    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context) {
        counter_synchronization::go_on(self, cx);
        match self.ours.retransmit(cx.now) {
            Retransmission::NotDue => {}
            Retransmission::Send { datagrams, attempt } => {
                let datagrams = datagrams.to_vec();
                self.avoid_silent_path(cx, attempt);
                cx.transmit(self.channel.path, &datagrams);
                self.last_sent = cx.now;
                self.note_repetition();
            }
            Retransmission::GiveUp => return self.give_up(cx),
        }
        self.pending.retain(|pending| cx.now < pending.until());
        match self.life {
            Life::Current => self.keep_current(cx),
            Life::Replaced(until) | Life::Redundant(until) if cx.now >= until => {
                self.end(cx, DownReason::Redundant);
            }
            Life::Replaced(_) | Life::Redundant(_) | Life::Over => {}
        }
        self.pump(cx);
    }

    /// The peer has not answered our request: it is gone, or does not want to talk.
    fn give_up(&mut self, cx: &mut Context) {
        if let Some(Active::DeleteIke(deleting)) =
            self.active.take_if(|active| matches!(active, Active::DeleteIke(_)))
        {
            return informational::finish_ike(self, cx, deleting);
        }
        let failure = Failure::NoAnswer {
            peer: self.channel.path.remote,
            exchange: self.active.as_ref().map_or("INFORMATIONAL", Active::name),
            tries: cx.settings.retransmission.tries + 1,
            seconds: (cx.now - self.last_heard).as_secs(),
        };
        let tickets = self.active.take().map(Active::into_tickets).unwrap_or_default();
        cx.fail(&tickets, Some(&self.connection.name), Some(self.channel.path), failure);
        self.end_lost(cx, DownReason::PeerDead);
    }

    fn keep_current(&mut self, cx: &mut Context) {
        if self.schedule.rekey_at.take_if(|at| *at <= cx.now).is_some() {
            self.queue(cx, Task::RekeyIke(Vec::new()));
        }
        if self.schedule.expire_at.take_if(|at| *at <= cx.now).is_some() {
            self.queue_first(cx, Task::DeleteIke(DownReason::Expired, Vec::new()));
        }
        self.keep_proven(cx);
        for id in self.children.keys().copied().collect::<Vec<_>>() {
            self.keep_child(cx, id);
        }
        if self.liveness_at().is_some_and(|at| at <= cx.now) {
            self.queue(cx, Task::Liveness);
        }
        if self.keepalive_at(cx).is_some_and(|at| at <= cx.now) {
            cx.keepalive(self.channel.path);
            self.last_sent = cx.now;
        }
    }

    fn keep_child(&mut self, cx: &mut Context, id: ChildSaId) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let rekey_due = child.schedule.rekey_at.take_if(|at| *at <= cx.now).is_some();
        let expired = child.schedule.expire_at.take_if(|at| *at <= cx.now).is_some();
        child.ask_idle(cx);
        if rekey_due && child.state == ChildState::Installed {
            self.queue(cx, Task::RekeyChild(id, Vec::new()));
        }
        if expired {
            self.queue_first(cx, Task::DeleteChild(id, DownReason::Expired, Vec::new()));
        }
    }

    /// The data plane says how long nothing has gone through a Child SA.
    pub(crate) fn handle_idle(&mut self, cx: &mut Context, sa: SaId, idle: Option<Duration>) {
        let Some(child) = self.children.values_mut().find(|child| child.inbound == sa) else { return };
        if child.is_idle(cx.now, idle) && child.is_in_use() {
            let id = child.id;
            self.queue_first(cx, Task::DeleteChild(id, DownReason::Inactive, Vec::new()));
            self.pump(cx);
        }
    }

    /// When the peer's silence becomes suspicious; never while something of ours waits for its answer anyway.
    fn liveness_at(&self) -> Option<Instant> {
        let is_busy = self.active.is_some() || self.counters.is_under_way();
        let is_wanted = !self.connection.liveness_delay.is_zero() && !is_busy;
        let is_waiting = self.is_queued(|task| matches!(task, Task::Liveness));
        (is_wanted && !is_waiting).then(|| self.last_heard + self.connection.liveness_delay)
    }

    fn keepalive_at(&self, cx: &Context) -> Option<Instant> {
        (self.channel.nat.local == Behind::Nat).then(|| self.last_sent + cx.settings.nat_keepalive)
    }

    /// Tells when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self, cx: &Context) -> Option<(Instant, TimeoutReason)> {
        let retransmission = self.ours.deadline().map(|at| (at, TimeoutReason::Retransmission));
        let lifetimes = match self.life {
            Life::Current => self.current_timeouts(cx),
            Life::Replaced(until) | Life::Redundant(until) => vec![(until, TimeoutReason::Linger)],
            Life::Over => Vec::new(),
        };
        let synchronization = self.counters.deadline().map(|at| (at, TimeoutReason::Retransmission));
        let is_free = self.active.is_none() && !self.counters.is_under_way();
        let waiting = is_free.then(|| self.tasks.iter().map(|queued| queued.not_before).min());
        let waiting = waiting.flatten().map(|at| (at, TimeoutReason::Retry));
        retransmission.into_iter().chain(synchronization).chain(lifetimes).chain(waiting).min()
    }

    fn current_timeouts(&self, cx: &Context) -> Vec<(Instant, TimeoutReason)> {
        let schedules =
            self.children.values().map(|child| child.schedule).chain([self.schedule, self.lineage.schedule]);
        let mut timeouts: Vec<_> = schedules
            .flat_map(|schedule| {
                let rekey = schedule.rekey_at.map(|at| (at, TimeoutReason::Rekey));
                rekey.into_iter().chain(schedule.expire_at.map(|at| (at, TimeoutReason::Expiry)))
            })
            .collect();
        let idle = self.children.values().filter_map(|child| child.idle_at);
        timeouts.extend(idle.map(|at| (at, TimeoutReason::Idle)));
        timeouts.extend(self.pending.iter().map(|pending| (pending.until(), TimeoutReason::Linger)));
        timeouts.extend(self.liveness_at().map(|at| (at, TimeoutReason::Liveness)));
        timeouts.extend(self.keepalive_at(cx).map(|at| (at, TimeoutReason::Keepalive)));
        timeouts.extend(self.probe_at(cx).map(|at| (at, TimeoutReason::Probe)));
        timeouts
    }

    /// An SA of ours reached a limit.
    pub(crate) fn handle_expiry(
        &mut self,
        cx: &mut Context,
        sa: SaId,
        hardness: Hardness,
        _cause: ExpiryCause,
    ) {
        let Some(child) = self.child_of(sa) else { return };
        let (id, state) = (child.id, child.state);
        match hardness {
            Hardness::Soft if state == ChildState::Installed => {
                let is_waiting =
                    self.is_queued(|task| matches!(task, Task::RekeyChild(waiting, _) if *waiting == id));
                if !is_waiting {
                    self.queue(cx, Task::RekeyChild(id, Vec::new()));
                }
            }
            Hardness::Soft => {}
            Hardness::Hard => self.queue_first(cx, Task::DeleteChild(id, DownReason::Expired, Vec::new())),
        }
        self.pump(cx);
    }

    /// The data plane did not take an SA of ours: without it there is no Child SA.
    pub(crate) fn handle_rejection(&mut self, cx: &mut Context, sa: SaId, failure: Failure) {
        let Some(id) = self.child_of(sa).map(|child| child.id) else { return };
        self.queue_first(cx, Task::DeleteChild(id, DownReason::Failed(failure), Vec::new()));
        self.pump(cx);
    }

    /// The peer's packets arrive: it lives, and it has our response to its rekeying.
    pub(crate) fn handle_activity(&mut self, cx: &mut Context, sa: SaId) {
        self.last_heard = cx.now;
        if let Some(child) = self.children.values_mut().find(|child| child.inbound == sa) {
            child.confirmation = Confirmation::Known;
            let (policy, tenure) = (child.policy, child.tenure);
            if tenure == Tenure::Holds {
                self.send_through_holder(cx, policy);
            }
        }
    }

    fn child_of(&self, sa: SaId) -> Option<&ChildSa> {
        self.children.values().find(|child| child.inbound == sa || child.outbound == sa)
    }
}
