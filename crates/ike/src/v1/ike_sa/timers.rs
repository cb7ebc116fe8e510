//! Time: repetitions, dead peer detection, lifetimes, keepalives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sa::SaId;
use wire::isakmp::IkeSpi;

use super::{IkeSa, Life};
use crate::child::Tenure;
use crate::context::{Context, Initiation, Intent};
use crate::error::Failure;
use crate::event::DownReason;
use crate::io::{ChildSaId, TimeoutReason};
use crate::limits;
use crate::nat_detection::Behind;
use crate::v1::quick_mode::{self, Begun, Purpose, QuickMode};
use crate::v1::{deletion, informational, mode_config};

impl IkeSa {
    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context) {
        for message_id in self.quick_modes.keys().copied().collect::<Vec<_>>() {
            self.keep_quick_mode(cx, message_id);
        }
        let leaving = self.farewells.iter().filter(|(_, at)| **at <= cx.now).map(|(id, _)| *id);
        for id in leaving.collect::<Vec<_>>() {
            self.say_farewell(cx, id);
        }
        let due = self.turns.iter().filter(|(_, at)| **at <= cx.now).map(|(policy, _)| *policy);
        for policy in due.collect::<Vec<_>>() {
            self.turn(cx, policy);
        }
        let lesser = self.twins.iter().filter(|(_, at)| **at <= cx.now).map(|(id, _)| *id);
        for id in lesser.collect::<Vec<_>>() {
            self.part_from_twin(cx, id);
        }
        deletion::keep(self, cx);
        match self.life.clone() {
            Life::Current => self.keep_current(cx),
            Life::Superseded { heir, until } => self.keep_superseded(cx, heir, until),
            Life::Over => {}
        }
    }

    /// Repeats our last message of phase 1; a peer that never shows that it has it may have nothing to say.
    fn keep_last_of_phase_1(&mut self, cx: &mut Context) {
        let path = self.channel.path;
        let unconfirmed = &mut self.last_of_phase_1.unconfirmed;
        if unconfirmed.as_mut().is_some_and(|repeating| cx.repeat(path, repeating)) {
            *unconfirmed = None;
        }
    }

    /// Repeats what has had no answer, gives up, or forgets.
    fn keep_quick_mode(&mut self, cx: &mut Context, message_id: u32) {
        let path = self.channel.path;
        let is_over = match self.quick_modes.get_mut(&message_id) {
            None => return,
            Some(QuickMode::Refused { until, .. } | QuickMode::Done { until, .. }) => cx.now >= *until,
            Some(QuickMode::Begun(begun)) => cx.repeat(path, &mut begun.repeating),
            Some(QuickMode::Answered(answered)) => cx.repeat(path, &mut answered.repeating),
            Some(QuickMode::Committing(committing)) => committing.is_over(cx, path),
        };
        if !is_over {
            return;
        }
        match self.quick_modes.remove(&message_id) {
            Some(QuickMode::Begun(begun)) => self.give_up_quick_mode(cx, *begun),
            Some(QuickMode::Answered(answered)) => {
                // If only our copies of message 3 were lost, the initiator has it and must not keep it.
                let pairs: Vec<_> = answered.prepared.pairs().collect();
                deletion::say(self, cx, &pairs);
                answered.take_back(cx);
                self.pass_on(cx);
            }
            Some(QuickMode::Committing(committing)) => {
                quick_mode::conclude_committing(self, cx, message_id, *committing);
            }
            Some(QuickMode::Refused { .. } | QuickMode::Done { .. }) | None => {}
        }
    }

    fn give_up_quick_mode(&mut self, cx: &mut Context, begun: Begun) {
        let path = self.channel.path;
        let failure = cx.no_answer(path, quick_mode::NAME, begun.begun_at);
        self.end_dead(cx);
        match begun.purpose {
            Purpose::New(request) => {
                let connection = Arc::clone(&self.connection);
                let mut initiation = Initiation::of_child(connection, request, begun.tickets);
                initiation.failed_tries = self.failed_tries;
                cx.retry_or_fail(initiation, path, failure);
            }
            Purpose::Replace(_) => {
                cx.fail(&begun.tickets, Some(&self.connection.name), Some(path), failure);
            }
        }
    }

    fn keep_current(&mut self, cx: &mut Context) {
        self.keep_last_of_phase_1(cx);
        mode_config::keep(self, cx);
        if self.life != Life::Current {
            return;
        }
        if self.schedule.rekey_at.take_if(|at| *at <= cx.now).is_some() {
            self.replace(cx, Vec::new());
        }
        if self.schedule.expire_at.take_if(|at| *at <= cx.now).is_some() {
            return self.delete(cx, DownReason::Expired);
        }
        for id in self.children.keys().copied().collect::<Vec<_>>() {
            self.keep_child(cx, id);
        }
        if self.detection_at().is_some_and(|at| at <= cx.now) {
            self.detect(cx);
        }
        if self.keepalive_at(cx).is_some_and(|at| at <= cx.now) {
            cx.keepalive(self.channel.path);
            self.last_sent = cx.now;
        }
    }

    /// One that was superseded answers until it is deleted. What came about in it meanwhile goes to its heir first.
    fn keep_superseded(&mut self, cx: &mut Context, heir: Option<IkeSpi>, until: Option<Instant>) {
        let ends_at = [until, self.schedule.expire_at].into_iter().flatten().min();
        if ends_at.is_none_or(|at| at > cx.now) {
            return;
        }
        let is_busy = self.quick_modes.values().any(|quick_mode| quick_mode.name().is_some());
        if is_busy && self.schedule.expire_at.is_none_or(|at| at > cx.now) {
            // The peer may have what we still wait for a word about.
            self.life = Life::Superseded { heir, until: Some(cx.now + limits::CONFIRMATION_WAIT) };
            return;
        }
        let is_expired = self.schedule.expire_at.is_some_and(|at| at <= cx.now);
        let Some(heir) = heir.filter(|_| !is_expired || !self.children.is_empty()) else {
            return self.delete(cx, DownReason::Replaced);
        };
        if self.children.is_empty() {
            self.life =
                Life::Superseded { heir: Some(heir), until: Some(cx.now + limits::CONFIRMATION_WAIT) };
            cx.intents.push_back(Intent::EndSuperseded { old: self.channel.our_spi(), heir });
            return;
        }
        self.schedule.expire_at = None;
        self.life = Life::Superseded { heir: None, until: Some(cx.now + limits::CONFIRMATION_WAIT) };
        cx.intents.push_back(Intent::Supersede {
            heir,
            local: self.peer.local().clone(),
            remote: self.peer.remote().clone(),
            replaced: Some(self.channel.our_spi()),
        });
    }

    fn keep_child(&mut self, cx: &mut Context, id: ChildSaId) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let rekey_due = child.schedule.rekey_at.take_if(|at| *at <= cx.now).is_some();
        let expired = child.schedule.expire_at.take_if(|at| *at <= cx.now).is_some();
        child.ask_idle(cx);
        if expired {
            informational::delete_children(self, cx, &[id]);
            self.drop_child(cx, id, DownReason::Expired);
        } else if rekey_due && child.tenure == Tenure::Holds {
            quick_mode::initiate(self, cx, Purpose::Replace(id), Vec::new());
        }
    }

    /// The data plane says how long nothing has gone through a Child SA.
    pub(super) fn close_idle(&mut self, cx: &mut Context, sa: SaId, idle: Option<Duration>) {
        let Some(child) = self.children.values_mut().find(|child| child.inbound == sa) else { return };
        if child.is_idle(cx.now, idle) && child.is_in_use() {
            let id = child.id;
            informational::delete_children(self, cx, &[id]);
            self.drop_child(cx, id, DownReason::Inactive);
        }
    }

    /// Deletes a Child SA that another replaced.
    pub(crate) fn say_farewell(&mut self, cx: &mut Context, id: ChildSaId) {
        informational::delete_children(self, cx, &[id]);
        let linger = match self.abilities.answered_deletes {
            // Until the peer has heard it, it may go on sending.
            true => limits::SUPERSEDED_SA_LINGER,
            false => limits::REPLACED_SA_LINGER,
        };
        self.retire_child(cx, id, DownReason::Replaced, linger);
    }

    /// The peer does not answer: it is gone, or has forgotten us.
    pub(crate) fn give_up(&mut self, cx: &mut Context, failure: Failure) {
        cx.fail(&[], Some(&self.connection.name), Some(self.channel.path), failure);
        self.end_dead(cx);
    }

    /// When the peer's silence becomes suspicious, or the question whether it lives is due once more.
    fn detection_at(&self) -> Option<Instant> {
        let delay = self.connection.liveness_delay;
        let is_wanted = self.abilities.dead_peer_detection && !delay.is_zero();
        is_wanted.then(|| self.detection.due_at().unwrap_or(self.last_heard + delay))
    }

    fn keepalive_at(&self, cx: &Context) -> Option<Instant> {
        (self.channel.nat.local == Behind::Nat).then(|| self.last_sent + cx.settings.nat_keepalive)
    }

    /// Tells when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self, cx: &Context) -> Option<(Instant, TimeoutReason)> {
        let quick_modes = self.quick_modes.values().map(QuickMode::deadline);
        let children = self.farewells.values().chain(self.turns.values()).chain(self.twins.values());
        let farewells = children.map(|at| (*at, TimeoutReason::Linger)).chain(self.deletions.deadlines());
        let own = match &self.life {
            Life::Current => self.current_timeouts(cx),
            Life::Superseded { until, .. } => {
                let until = until.map(|at| (at, TimeoutReason::Linger));
                let expiry = self.schedule.expire_at.map(|at| (at, TimeoutReason::Expiry));
                until.into_iter().chain(expiry).collect()
            }
            Life::Over => Vec::new(),
        };
        quick_modes.chain(farewells).chain(own).min()
    }

    fn current_timeouts(&self, cx: &Context) -> Vec<(Instant, TimeoutReason)> {
        let schedules = self.children.values().map(|child| child.schedule).chain([self.schedule]);
        let mut timeouts: Vec<_> = schedules
            .flat_map(|schedule| {
                let rekey = schedule.rekey_at.map(|at| (at, TimeoutReason::Rekey));
                rekey.into_iter().chain(schedule.expire_at.map(|at| (at, TimeoutReason::Expiry)))
            })
            .collect();
        let unconfirmed = self.last_of_phase_1.unconfirmed.as_ref();
        timeouts.extend(unconfirmed.map(|last| (last.deadline(), TimeoutReason::Retransmission)));
        timeouts.extend(self.configuring.deadline());
        let idle = self.children.values().filter_map(|child| child.idle_at);
        timeouts.extend(idle.map(|at| (at, TimeoutReason::Idle)));
        timeouts.extend(self.detection_at().map(|at| (at, self.detection.reason())));
        timeouts.extend(self.keepalive_at(cx).map(|at| (at, TimeoutReason::Keepalive)));
        timeouts
    }
}
