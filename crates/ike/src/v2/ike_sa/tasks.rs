//! What waits to be done in an established IKE SA, one request at a time.

use std::time::Instant;

use sa::{Protocol, Spi};
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{GatewayName, Notify, Payload};

use super::probes::Sent;
use super::{IkeSa, Life};
use crate::child::Confirmation;
use crate::context::{ChildRequest, Context, Intent};
use crate::error::{Error, Failure};
use crate::event::DownReason;
use crate::io::{ChildSaId, IkeSaId, Ticket};
use crate::limits;
use crate::v2::channel::Kind;
use crate::v2::contents::Contents;
use crate::v2::{
    create_child_sa, ike_session_resume, informational, mobike, quick_crash_detection, redirect, rekey_child,
    rekey_ike,
};

/// Something to be done when our window is free.
#[derive(Debug)]
pub(crate) enum Task {
    /// Ask whether the peer lives.
    Liveness,
    /// Make another Child SA.
    CreateChild(ChildRequest, Vec<Ticket>),
    /// Replace a Child SA.
    RekeyChild(ChildSaId, Vec<Ticket>),
    /// Replace this IKE SA.
    RekeyIke(Vec<Ticket>),
    /// Delete a Child SA.
    DeleteChild(ChildSaId, DownReason, Vec<Ticket>),
    /// Delete a Child SA that the peer has and we do not, by our SPI of a protocol.
    DeleteUnwanted((Protocol, Spi)),
    /// Delete this IKE SA.
    DeleteIke(DownReason, Vec<Ticket>),
    /// Send the client at the other end to another gateway.
    Redirect(GatewayName, Vec<Ticket>),
    /// Settle which addresses are used.
    Mobike(mobike::Task),
    /// End the IKE SA whose place this one takes, when the peer is known to have what it has made in the same place, or then.
    Retire(IkeSaId, Instant),
    /// See whether the peer has made another IKE SA in the same place, until then at the latest.
    Compare(Instant),
}

impl Task {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Task::Liveness => "LIVENESS",
            Task::CreateChild(..) => "CHILD_CREATE",
            Task::RekeyChild(..) => "CHILD_REKEY",
            Task::RekeyIke(_) => "IKE_REKEY",
            Task::DeleteChild(..) | Task::DeleteUnwanted(_) => "CHILD_DELETE",
            Task::DeleteIke(..) => "IKE_DELETE",
            Task::Redirect(..) => "IKE_REDIRECT",
            Task::Mobike(task) => task.name(),
            Task::Retire(..) => "IKE_RETIRE",
            Task::Compare(_) => "IKE_COMPARE",
        }
    }

    /// Tells who waits for the task that its IKE SA is gone, which is what a delete wants.
    pub(super) fn abandon(self, cx: &mut Context) {
        let result = match self {
            Task::DeleteChild(..) | Task::DeleteIke(..) => Ok(()),
            Task::Liveness
            | Task::CreateChild(..)
            | Task::RekeyChild(..)
            | Task::RekeyIke(_)
            | Task::DeleteUnwanted(_)
            | Task::Redirect(..)
            | Task::Retire(..)
            | Task::Compare(_)
            | Task::Mobike(_) => Err(Failure::Terminated),
        };
        cx.finish(&self.into_tickets(), &result);
    }

    pub(super) fn into_tickets(self) -> Vec<Ticket> {
        match self {
            Task::Liveness
            | Task::DeleteUnwanted(_)
            | Task::Mobike(_)
            | Task::Retire(..)
            | Task::Compare(_) => Vec::new(),
            Task::CreateChild(_, tickets)
            | Task::RekeyChild(_, tickets)
            | Task::RekeyIke(tickets)
            | Task::DeleteChild(_, _, tickets)
            | Task::DeleteIke(_, tickets)
            | Task::Redirect(_, tickets) => tickets,
        }
    }
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) task: Task,
    pub(super) not_before: Instant,
}

/// Our request in flight: what its response will be given to.
#[derive(Debug)]
pub(crate) enum Active {
    Liveness,
    Probe(Sent),
    CreateChild(create_child_sa::Initiated),
    RekeyChild(Box<rekey_child::Initiated>),
    RekeyIke(Box<rekey_ike::Initiated>),
    DeleteChild(informational::DeletingChild),
    DeleteUnwanted,
    DeleteIke(informational::DeletingIke),
    Mobike(mobike::Sent),
    Redirect(Vec<Ticket>),
}

impl Active {
    /// Tells whether the peer may ask for patience (RFC 7296 §2.25).
    pub(super) fn may_be_put_off(&self) -> bool {
        match self {
            Active::CreateChild(_) | Active::RekeyChild(_) | Active::RekeyIke(_) => true,
            Active::Liveness
            | Active::Probe(_)
            | Active::DeleteChild(_)
            | Active::DeleteUnwanted
            | Active::DeleteIke(_)
            | Active::Mobike(_)
            | Active::Redirect(_) => false,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Active::Liveness => "LIVENESS",
            Active::Probe(_) => "PATH_PROBE",
            Active::CreateChild(_) => "CHILD_CREATE",
            Active::RekeyChild(_) => "CHILD_REKEY",
            Active::RekeyIke(_) => "IKE_REKEY",
            Active::DeleteChild(_) | Active::DeleteUnwanted => "CHILD_DELETE",
            Active::DeleteIke(_) => "IKE_DELETE",
            Active::Mobike(sent) => sent.name(),
            Active::Redirect(_) => "IKE_REDIRECT",
        }
    }

    pub(super) fn into_tickets(self) -> Vec<Ticket> {
        match self {
            Active::Liveness | Active::Probe(_) | Active::DeleteUnwanted | Active::Mobike(_) => Vec::new(),
            Active::CreateChild(initiated) => initiated.tickets,
            Active::RekeyChild(initiated) => initiated.tickets,
            Active::RekeyIke(initiated) => initiated.tickets,
            Active::DeleteChild(deleting) => deleting.tickets,
            Active::DeleteIke(deleting) => deleting.tickets,
            Active::Redirect(tickets) => tickets,
        }
    }
}

/// A request that a task makes.
pub(crate) struct Request {
    pub exchange_type: ExchangeType,
    pub payloads: Vec<Payload>,
    pub active: Active,
}

impl IkeSa {
    /// Queues a task.
    pub(crate) fn queue(&mut self, cx: &Context, task: Task) {
        self.tasks.push_back(Queued { task, not_before: cx.now });
    }

    /// Queues a task for later: the peer said TEMPORARY_FAILURE, or nothing of use (RFC 7296 §2.25).
    pub(crate) fn queue_later(&mut self, cx: &mut Context, task: Task) {
        let wait = limits::RETRY_AT_LEAST + cx.random_below(limits::RETRY_SPREAD);
        self.tasks.push_back(Queued { task, not_before: cx.now + wait });
    }

    /// Queues a task for later that the peer has put off with TEMPORARY_FAILURE. A peer that does nothing else for minutes
    /// has lost us: the IKE SA is closed then (RFC 7296 §2.25).
    pub(crate) fn put_off(&mut self, cx: &mut Context, task: Task) {
        let since = *self.put_off_since.get_or_insert(cx.now);
        if cx.now.saturating_duration_since(since) < limits::PUT_OFF_AT_MOST {
            return self.queue_later(cx, task);
        }
        let failure = Failure::PutOff { minutes: limits::PUT_OFF_AT_MOST.as_secs() / 60 };
        cx.fail(&task.into_tickets(), Some(&self.connection.name), Some(self.channel.path), failure.clone());
        self.queue_first(cx, Task::DeleteIke(DownReason::Failed(failure), Vec::new()));
    }

    /// Queues a task for much later: the peer's configuration does not allow it, and may change.
    pub(crate) fn queue_after_refusal(&mut self, cx: &Context, task: Task) {
        self.tasks.push_back(Queued { task, not_before: cx.now + limits::RETRY_AFTER_REFUSAL });
    }

    /// Queues a task ahead of all others.
    pub(crate) fn queue_first(&mut self, cx: &Context, task: Task) {
        self.tasks.push_front(Queued { task, not_before: cx.now });
    }

    /// Has the peer delete a Child SA that it believes in and we do not.
    pub(crate) fn delete_unwanted_child(&mut self, cx: &Context, unwanted: (Protocol, Spi)) {
        self.queue_first(cx, Task::DeleteUnwanted(unwanted));
    }

    /// Begins tasks while the window is free; a probe goes when none is left, and gives way to them.
    pub(crate) fn pump(&mut self, cx: &mut Context) {
        self.retire_predecessor(cx);
        if self.tasks.iter().any(|queued| queued.not_before <= cx.now) {
            self.let_probe_give_way(cx);
        }
        while self.life != Life::Over && self.active.is_none() && !self.counters.is_under_way() {
            let Some(task) = self.next_task(cx.now) else { return self.probe_path(cx) };
            let Some(request) = self.begin(cx, task) else { continue };
            self.send(cx, request);
        }
    }

    /// Our request will not be answered any more: what it was for is begun again.
    pub(crate) fn begin_again(&mut self, cx: &mut Context) {
        let Some(active) = self.active.take() else { return };
        match active {
            // The peer, or the member before it, may have done what we asked. Deletes show what is there.
            Active::CreateChild(_) | Active::RekeyChild(_) | Active::RekeyIke(_) => {
                let put_off = Payload::Notify(Notify::new(NotifyType::TEMPORARY_FAILURE, []));
                if let Ok(contents) = Contents::new(active.name(), vec![put_off]) {
                    self.finish(cx, active, &contents);
                }
            }
            Active::DeleteChild(deleting) => self.queue_first(cx, deleting.into_task()),
            Active::DeleteIke(deleting) => self.queue_first(cx, deleting.into_task()),
            Active::Mobike(sent) => {
                if let Some(task) = sent.task() {
                    self.queue_first(cx, Task::Mobike(task));
                }
            }
            Active::Redirect(tickets) => cx.finish(&tickets, &Err(Failure::Terminated)),
            Active::Liveness | Active::Probe(_) | Active::DeleteUnwanted => {}
        }
    }

    fn next_task(&mut self, now: Instant) -> Option<Task> {
        let position = self.tasks.iter().position(|queued| queued.not_before <= now)?;
        self.tasks.remove(position).map(|queued| queued.task)
    }

    /// Turns a task into a request; `None` if there is nothing to do any more.
    fn begin(&mut self, cx: &mut Context, task: Task) -> Option<Request> {
        // A peer that has not got our response which replaces this one still looks for us here.
        let is_allowed = matches!(task, Task::DeleteIke(..) | Task::Mobike(mobike::Task::Update));
        if self.life != Life::Current && !is_allowed {
            cx.finish(&task.into_tickets(), &Err(Failure::Terminated));
            return None;
        }
        if self.is_too_early(cx.now, &task) || self.is_peers_to_do(&task) {
            self.queue_later(cx, task);
            return None;
        }
        match task {
            Task::Liveness => Some(self.ask_for_life(cx)),
            Task::CreateChild(request, tickets) => create_child_sa::initiate(self, cx, request, tickets),
            Task::RekeyChild(id, tickets) => rekey_child::initiate(self, cx, id, tickets),
            Task::RekeyIke(tickets) => rekey_ike::initiate(self, cx, tickets),
            Task::DeleteChild(id, reason, tickets) => {
                informational::delete_child(self, cx, id, reason, tickets)
            }
            Task::DeleteUnwanted(unwanted) => Some(informational::delete_unwanted(unwanted)),
            Task::DeleteIke(reason, tickets) => Some(informational::delete_ike(reason, tickets)),
            Task::Redirect(gateway, tickets) => redirect::initiate(self, cx, &gateway, tickets),
            Task::Mobike(task) => mobike::initiate(self, cx, task),
            Task::Retire(old, until) => {
                cx.intents.push_back(Intent::Retire { old, heir: self.channel.our_spi(), until });
                None
            }
            Task::Compare(until) => {
                self.compare_again(cx, until);
                None
            }
        }
    }

    /// Asks whether the peer lives; in a new IKE SA, gives it our token and asks for a ticket.
    fn ask_for_life(&mut self, cx: &Context) -> Request {
        if !std::mem::take(&mut self.is_renewed) {
            return mobike::liveness(self).unwrap_or_else(informational::liveness);
        }
        let mut request = informational::liveness();
        request.payloads.extend(ike_session_resume::ask(&self.connection));
        request.payloads.extend(quick_crash_detection::own_token(cx, self.channel.spis));
        request
    }

    /// Tells whether a task is about a Child SA that the peer may not have yet.
    fn is_too_early(&self, now: Instant, task: &Task) -> bool {
        let (Task::RekeyChild(id, _) | Task::DeleteChild(id, ..)) = task else { return false };
        self.children.get(id).is_some_and(|child| {
            child.confirmation == Confirmation::Awaited
                && now < child.installed_at + limits::CONFIRMATION_WAIT
        })
    }

    /// Tells whether a task would replace what the peer is replacing: its wish is known, so that this would be no collision but
    /// a contradiction (RFC 9370 §2.2.4).
    fn is_peers_to_do(&self, task: &Task) -> bool {
        match task {
            Task::RekeyChild(id, _) => rekey_child::is_peers_to_replace(self, *id),
            Task::RekeyIke(_) => rekey_ike::is_peers_to_replace(self),
            Task::Liveness
            | Task::CreateChild(..)
            | Task::DeleteChild(..)
            | Task::DeleteUnwanted(_)
            | Task::DeleteIke(..)
            | Task::Redirect(..)
            | Task::Retire(..)
            | Task::Compare(_)
            | Task::Mobike(_) => false,
        }
    }

    pub(super) fn send(&mut self, cx: &mut Context, request: Request) {
        let Request { exchange_type, payloads, active } = request;
        let message_id = self.ours.peek_next_id();
        let sealed = self.channel.seal(cx, exchange_type, Kind::Request, message_id, &payloads);
        let started = sealed.and_then(|datagrams| {
            self.start(cx, datagrams.clone())?;
            Ok(datagrams)
        });
        match started {
            Ok(datagrams) => {
                cx.transmit(self.channel.path, &datagrams);
                self.last_sent = cx.now;
                self.active = Some(active);
            }
            Err(fault) => {
                cx.finish(&active.into_tickets(), &Err(fault.clone().into()));
                self.report(cx, fault.clone());
                self.end(cx, DownReason::Failed(fault.into()));
            }
        }
    }

    /// Takes up our window with a request that is repeated in these datagrams.
    pub(super) fn start(&mut self, cx: &mut Context, datagrams: Vec<Vec<u8>>) -> Result<(), Error> {
        let policy = cx.settings.retransmission;
        let jitter = policy.draw_jitter(&mut *cx.random);
        let started = self.ours.start(cx.now, datagrams, policy, jitter);
        started.map(|_| ()).map_err(|fault| Error::Local(fault.to_string()))
    }

    /// Tells whether a Child SA is to be deleted as soon as that can be.
    pub(crate) fn is_to_delete(&self, id: ChildSaId) -> bool {
        self.is_queued(|task| matches!(task, Task::DeleteChild(waiting, ..) if *waiting == id))
    }

    pub(crate) fn is_queued(&self, is_it: impl Fn(&Task) -> bool) -> bool {
        self.tasks.iter().any(|queued| is_it(&queued.task))
    }

    /// Tells whether a child is to be made soon. One that the peer has refused is asked for again much later.
    pub(super) fn is_to_create(&self, now: Instant) -> bool {
        let soon = now + limits::RETRY_AT_LEAST + limits::RETRY_SPREAD;
        let is_soon = |queued: &Queued| queued.not_before <= soon;
        self.tasks.iter().any(|queued| matches!(queued.task, Task::CreateChild(..)) && is_soon(queued))
    }

    /// Tells whether a packet's flow is already on its way to an SA here.
    pub(crate) fn is_creating(&self, name: &str) -> bool {
        let active =
            matches!(&self.active, Some(Active::CreateChild(initiated)) if initiated.child_name() == name);
        active
            || self.is_queued(
                |task| matches!(task, Task::CreateChild(request, _) if request.config.name == name),
            )
    }

    /// Adds a ticket to a Child SA that is being made.
    pub(crate) fn join_creation(&mut self, name: &str, tickets: &[Ticket]) {
        if let Some(Active::CreateChild(initiated)) = &mut self.active
            && initiated.child_name() == name
        {
            return initiated.tickets.extend(tickets);
        }
        for queued in &mut self.tasks {
            if let Task::CreateChild(request, waiting) = &mut queued.task
                && request.config.name == name
            {
                return waiting.extend(tickets);
            }
        }
    }
}
