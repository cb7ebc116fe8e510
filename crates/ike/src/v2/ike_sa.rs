//! An established IKE SA: its two windows, what waits to be done in it, and the dispatch of messages to exchanges.
//!
//! ```text
//!   our window      tasks ──► one request in flight (active) ──► its exchange's finish
//!   their window    a request ──► its exchange's respond ──► the response, kept for a repetition
//! ```
//!
//! The two windows know nothing of each other (RFC 7296 §2.3): while a rekeying of ours waits for its response, the
//! peer's requests are answered as ever. Where the two touch the same SA, the exchanges' files say what wins (§2.25).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use sa::{ExpiryCause, Hardness, SaId, Spi};
use wire::isakmp::IkeSpi;
use wire::registry::ExchangeType;
use wire::v2::{Datagram, Notify, Payload};

use super::authentication::PeerAuthenticated;
use super::channel::{Channel, Kind, Opening};
use super::child::{Carriage, ChildSa, Confirmation, Sending, Tenure};
use super::contents::Contents;
use super::fragmentation::Reassembly;
use super::ike_auth::Closed;
use super::window::{Completion, OurWindow, Retransmission, Standing, TheirWindow};
use super::{Sa, create_child_sa, informational, rekey_child, rekey_ike};
use crate::context::{ChildRequest, Contact, Context, Initiation, Intent};
use crate::error::{Error, Failure};
use crate::event::{DownReason, Event};
use crate::io::{ChildSaId, Path, Ticket, TimeoutReason};
use crate::lifetime::Schedule;
use crate::nat_detection::Behind;
use crate::status::{ChildState, IkeSaStatus, IkeState};
use crate::{CloseAction, Connection, limits};

/// An established IKE SA.
pub(crate) struct IkeSa {
    pub channel: Channel,
    pub connection: Arc<Connection>,
    pub peer: PeerAuthenticated,
    pub children: BTreeMap<ChildSaId, ChildSa>,
    pub active: Option<Active>,
    pub life: Life,
    ours: OurWindow,
    theirs: TheirWindow,
    /// Fragments of the response that we wait for.
    responses: Reassembly,
    /// Fragments of the peer's next request.
    requests: Reassembly,
    tasks: VecDeque<Queued>,
    established_at: Instant,
    schedule: Schedule,
    last_heard: Instant,
    last_sent: Instant,
}

/// Where an IKE SA stands in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// In use.
    Current,
    /// Another took over; it waits to be deleted, until then at the latest.
    Replaced(Instant),
    /// It lost a collision of rekeyings, or the collision is not decided; its maker deletes it if it lost.
    Redundant(Instant),
    /// Gone.
    Over,
}

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
    /// Delete a Child SA that the peer has and we do not, by our SPI.
    DeleteUnwanted(Spi),
    /// Delete this IKE SA.
    DeleteIke(DownReason, Vec<Ticket>),
}

impl Task {
    fn name(&self) -> &'static str {
        match self {
            Task::Liveness => "LIVENESS",
            Task::CreateChild(..) => "CHILD_CREATE",
            Task::RekeyChild(..) => "CHILD_REKEY",
            Task::RekeyIke(_) => "IKE_REKEY",
            Task::DeleteChild(..) | Task::DeleteUnwanted(_) => "CHILD_DELETE",
            Task::DeleteIke(..) => "IKE_DELETE",
        }
    }

    fn into_tickets(self) -> Vec<Ticket> {
        match self {
            Task::Liveness | Task::DeleteUnwanted(_) => Vec::new(),
            Task::CreateChild(_, tickets)
            | Task::RekeyChild(_, tickets)
            | Task::RekeyIke(tickets)
            | Task::DeleteChild(_, _, tickets)
            | Task::DeleteIke(_, tickets) => tickets,
        }
    }
}

#[derive(Debug)]
struct Queued {
    task: Task,
    not_before: Instant,
}

/// Our request in flight: what its response will be given to.
#[derive(Debug)]
pub(crate) enum Active {
    Liveness,
    CreateChild(create_child_sa::Initiated),
    RekeyChild(Box<rekey_child::Initiated>),
    RekeyIke(Box<rekey_ike::Initiated>),
    DeleteChild(informational::DeletingChild),
    DeleteUnwanted,
    DeleteIke(informational::DeletingIke),
}

impl Active {
    fn name(&self) -> &'static str {
        match self {
            Active::Liveness => "LIVENESS",
            Active::CreateChild(_) => "CHILD_CREATE",
            Active::RekeyChild(_) => "CHILD_REKEY",
            Active::RekeyIke(_) => "IKE_REKEY",
            Active::DeleteChild(_) | Active::DeleteUnwanted => "CHILD_DELETE",
            Active::DeleteIke(_) => "IKE_DELETE",
        }
    }

    fn into_tickets(self) -> Vec<Ticket> {
        match self {
            Active::Liveness | Active::DeleteUnwanted => Vec::new(),
            Active::CreateChild(initiated) => initiated.tickets,
            Active::RekeyChild(initiated) => initiated.tickets,
            Active::RekeyIke(initiated) => initiated.tickets,
            Active::DeleteChild(deleting) => deleting.tickets,
            Active::DeleteIke(deleting) => deleting.tickets,
        }
    }
}

/// A request that a task makes.
pub(crate) struct Request {
    pub exchange_type: ExchangeType,
    pub payloads: Vec<Payload>,
    pub active: Active,
}

// --- Making and ending ---------------------------------------------------------------------------------------------

impl IkeSa {
    /// Makes the IKE SA of an authenticated peer, its windows at message id 0.
    pub(crate) fn new(
        cx: &mut Context,
        channel: Channel,
        connection: Arc<Connection>,
        peer: PeerAuthenticated,
    ) -> IkeSa {
        let schedule = connection.lifetimes.schedule(cx.now, &mut *cx.random);
        IkeSa {
            channel,
            connection,
            peer,
            children: BTreeMap::new(),
            active: None,
            life: Life::Current,
            ours: OurWindow::starting_at(0),
            theirs: TheirWindow::expecting(0),
            responses: Reassembly::default(),
            requests: Reassembly::default(),
            tasks: VecDeque::new(),
            established_at: cx.now,
            schedule,
            last_heard: cx.now,
            last_sent: cx.now,
        }
    }

    /// We sent IKE_SA_INIT (0) and IKE_AUTH (1).
    pub(crate) fn windows_after_ike_auth(&mut self) {
        self.ours = OurWindow::starting_at(2);
    }

    /// The peer sent IKE_SA_INIT (0) and IKE_AUTH (1), whose response this is.
    pub(crate) fn windows_after_answering_ike_auth(&mut self, response: Vec<Vec<u8>>) {
        self.theirs = TheirWindow::expecting(1);
        self.theirs.answered(1, response);
    }

    /// Sends a request that another one's response made necessary.
    pub(crate) fn send_next(&mut self, cx: &mut Context, request: Request) {
        self.send(cx, request);
    }

    /// Puts the SA back among the living, or keeps its last response for a peer that repeats its request.
    pub(crate) fn alive(self: Box<Self>) -> Option<Sa> {
        match self.life {
            Life::Current | Life::Replaced(_) | Life::Redundant(_) => Some(Sa::Established(self)),
            Life::Over => {
                let until = self.last_heard.max(self.last_sent) + limits::CLOSED_SA_LINGER;
                let closed = Closed::new(self.channel.our_spi(), self.theirs, until);
                Some(Sa::Closed(Box::new(closed)))
            }
        }
    }

    /// Ends the IKE SA: its Child SAs go, and whoever waits for something in it is told.
    pub(crate) fn end(&mut self, cx: &mut Context, reason: DownReason) {
        if self.life == Life::Over {
            return;
        }
        let was_current = self.life == Life::Current;
        let before = self.status();
        for id in self.children.keys().copied().collect::<Vec<_>>() {
            self.drop_child(cx, id, reason.clone());
        }
        self.life = Life::Over;
        if was_current {
            cx.tell(Event::IkeDown(Box::new(before), reason));
        }
        let waiting = std::mem::take(&mut self.tasks);
        let active = self.active.take().map(Active::into_tickets).unwrap_or_default();
        for tickets in waiting.into_iter().map(|queued| queued.task.into_tickets()).chain([active]) {
            cx.finish(&tickets, &Err(Failure::Terminated));
        }
    }

    /// Ends the IKE SA of a peer that no longer answers, and does what the configuration wants then.
    fn end_dead(&mut self, cx: &mut Context) {
        let configs: Vec<_> = self.children.values().map(|child| Arc::clone(&child.config)).collect();
        let was_current = self.life == Life::Current;
        self.end(cx, DownReason::PeerDead);
        if was_current {
            for config in configs {
                let action = config.liveness_action;
                self.carry_out(cx, action, &config);
            }
        }
    }

    /// Does what losing a child is configured to do.
    pub(crate) fn carry_out(&self, cx: &mut Context, action: CloseAction, config: &Arc<crate::ChildConfig>) {
        match action {
            CloseAction::None => {}
            CloseAction::Trap => cx.trap(&self.connection, config),
            CloseAction::Start => cx.intents.push_back(Intent::Initiate(Initiation {
                connection: Arc::clone(&self.connection),
                child: Some(ChildRequest { config: Arc::clone(config), flow: None }),
                further: Vec::new(),
                tickets: Vec::new(),
                failed_tries: 0,
                contact: Contact::Further,
            })),
        }
    }

    /// A newer IKE SA with the same peer takes over from those that were up at a moment: the Child SAs go at once, and
    /// the peer is told in case it lives.
    pub(crate) fn retire(&mut self, cx: &mut Context, up_at: Instant) {
        if self.established_at > up_at {
            return;
        }
        for id in self.children.keys().copied().collect::<Vec<_>>() {
            self.drop_child(cx, id, DownReason::Replaced);
        }
        self.queue_first(cx, Task::DeleteIke(DownReason::Replaced, Vec::new()));
        self.pump(cx);
    }

    /// Takes a Child SA in.
    pub(crate) fn adopt(&mut self, cx: &mut Context, child: ChildSa) {
        self.take_in(cx, child);
        let newest = self.children.values().next_back().map(ChildSa::status);
        if let Some(child) = newest {
            cx.tell(Event::ChildUp(Box::new(self.status()), child));
        }
    }

    /// Takes a Child SA in without a word: it replaces another, or comes from a replaced IKE SA.
    pub(crate) fn take_in(&mut self, cx: &mut Context, child: ChildSa) {
        for sa in [child.inbound, child.outbound] {
            cx.owners.insert(sa, self.channel.our_spi());
        }
        self.children.insert(child.id, child);
    }

    /// Takes a Child SA away, and its policy with it unless another holds that.
    pub(crate) fn drop_child(&mut self, cx: &mut Context, id: ChildSaId, reason: DownReason) {
        let Some(child) = self.children.remove(&id) else { return };
        for sa in [child.inbound, child.outbound] {
            cx.owners.remove(&sa);
        }
        match child.tenure {
            Tenure::Holds => {
                child.remove(cx);
                cx.tell(Event::ChildDown(Box::new(self.status()), child.status(), reason));
            }
            Tenure::Aside => {
                let holds =
                    |other: &&mut ChildSa| other.policy == child.policy && other.tenure == Tenure::Holds;
                let holder = self.children.values_mut().find(holds);
                // One that never carried our packets says nothing of whether the peer knows the holder.
                if let Some(holder) = holder.filter(|_| child.sending == Sending::Yes) {
                    holder.start_sending(cx);
                }
                child.remove_replaced(cx);
            }
        }
    }

    /// Gives what a Child SA's packets travel in.
    pub(crate) fn carriage(&self) -> Carriage {
        Carriage { path: self.channel.path, encapsulation: self.channel.encapsulation }
    }

    /// Finds the Child SA that the peer calls by this SPI.
    pub(crate) fn child_named_by_peer(&self, spi: Spi) -> Option<ChildSaId> {
        self.children.values().find(|child| child.is_named_by_peer(spi)).map(|child| child.id)
    }

    /// Tells whether a child is up, and not about to go.
    pub(crate) fn has_child(&self, name: &str) -> bool {
        self.children.values().any(|child| child.config.name == name && child.is_in_use())
    }

    /// The IKE SA lost a collision, or may yet lose it: whoever made it deletes it, unless it [inherits](Self::inherit).
    pub(crate) fn declare_redundant(&mut self, cx: &Context) {
        self.life = Life::Redundant(cx.now + limits::REPLACED_IKE_SA_LIFE);
    }

    /// Hands over everything that a replacement inherits.
    pub(crate) fn bequeath(&mut self, cx: &Context) -> Inheritance {
        self.life = Life::Replaced(cx.now + limits::REPLACED_IKE_SA_LIFE);
        let tasks = std::mem::take(&mut self.tasks);
        Inheritance { children: std::mem::take(&mut self.children).into_values().collect(), tasks }
    }

    /// Takes over what a replaced IKE SA had.
    pub(crate) fn inherit(&mut self, cx: &mut Context, inheritance: Inheritance) {
        self.life = Life::Current;
        for child in inheritance.children {
            self.take_in(cx, child);
        }
        for queued in inheritance.tasks {
            match queued.task {
                // What they waited for has come about.
                Task::RekeyIke(tickets) => cx.finish(&tickets, &Ok(())),
                _ => self.tasks.push_back(queued),
            }
        }
    }
}

/// What a replaced IKE SA leaves to its replacement (RFC 7296 §2.18).
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    children: Vec<ChildSa>,
    tasks: VecDeque<Queued>,
}

// --- Messages ------------------------------------------------------------------------------------------------------

impl IkeSa {
    /// Handles a message that names this IKE SA.
    pub(crate) fn handle_datagram(&mut self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        if datagram.header.flags.is_response() {
            self.handle_response(cx, path, datagram);
        } else {
            self.handle_request(cx, path, datagram);
        }
        self.pump(cx);
    }

    fn handle_request(&mut self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        let message_id = datagram.header.message_id;
        match self.theirs.classify(message_id) {
            Standing::OutOfWindow => return,
            Standing::Repeated(response) => {
                if asks_for_repetition(datagram) {
                    cx.transmit(path, response);
                }
                return;
            }
            Standing::New => {}
        }
        let payloads = match self.channel.open(cx, path, datagram, &mut self.requests) {
            Opening::Forged | Opening::Incomplete => return,
            Opening::Complete(payloads) => payloads,
        };
        self.requests = Reassembly::default();
        self.heard(cx, path);
        self.confirm_children();
        let exchange_type = datagram.header.exchange_type;
        let response = self.respond(cx, exchange_type, payloads);
        match self.channel.seal(cx, exchange_type, Kind::Response, message_id, &response) {
            Ok(datagrams) => {
                cx.transmit(self.channel.path, &datagrams);
                self.theirs.answered(message_id, datagrams);
                self.last_sent = cx.now;
            }
            Err(fault) => self.report(cx, fault),
        }
    }

    /// Answers a request; a fault becomes the notify that tells the peer.
    fn respond(
        &mut self,
        cx: &mut Context,
        exchange_type: ExchangeType,
        payloads: Result<Vec<Payload>, wire::Malformed>,
    ) -> Vec<Payload> {
        match self.try_respond(cx, exchange_type, payloads) {
            Ok(response) => response,
            Err(fault) => {
                let response = error_notify(&fault).map(Payload::Notify).into_iter().collect();
                self.report(cx, fault.clone());
                if matches!(fault, Error::Malformed(_) | Error::Misbehaved(_)) {
                    // RFC 7296 §2.21.3: who authentically sends what cannot be read is not to be talked to.
                    self.end(cx, DownReason::Failed(fault.into()));
                }
                response
            }
        }
    }

    fn try_respond(
        &mut self,
        cx: &mut Context,
        exchange_type: ExchangeType,
        payloads: Result<Vec<Payload>, wire::Malformed>,
    ) -> Result<Vec<Payload>, Error> {
        let payloads = payloads?;
        match exchange_type {
            ExchangeType::CREATE_CHILD_SA => {
                create_child_sa::dispatch(self, cx, &Contents::new("CREATE_CHILD_SA", payloads)?)
            }
            ExchangeType::INFORMATIONAL => {
                informational::respond(self, cx, &Contents::new("INFORMATIONAL", payloads)?)
            }
            _ => {
                Err(crate::Misbehaviour::Other("an exchange that has no place in an established IKE SA")
                    .into())
            }
        }
    }

    fn handle_response(&mut self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        let message_id = datagram.header.message_id;
        if self.ours.in_flight().is_none_or(|request| request.message_id != message_id) {
            return;
        }
        let payloads = match self.channel.open(cx, path, datagram, &mut self.responses) {
            Opening::Forged | Opening::Incomplete => return,
            Opening::Complete(payloads) => payloads,
        };
        self.responses = Reassembly::default();
        let (Completion::Answered, Some(active)) = (self.ours.complete(message_id), self.active.take())
        else {
            return;
        };
        self.heard(cx, path);
        let exchange = active.name();
        match payloads.map_err(Error::from).and_then(|payloads| Contents::new(exchange, payloads)) {
            Ok(contents) => self.finish(cx, active, &contents),
            Err(fault) => {
                cx.finish(&active.into_tickets(), &Err(fault.clone().into()));
                self.report(cx, fault.clone());
                self.end(cx, DownReason::Failed(fault.into()));
            }
        }
    }

    fn finish(&mut self, cx: &mut Context, active: Active, contents: &Contents) {
        match active {
            Active::Liveness | Active::DeleteUnwanted => {}
            Active::CreateChild(initiated) => create_child_sa::finish(self, cx, initiated, contents),
            Active::RekeyChild(initiated) => rekey_child::finish(self, cx, *initiated, contents),
            Active::RekeyIke(initiated) => rekey_ike::finish(self, cx, *initiated, contents),
            Active::DeleteChild(deleting) => informational::finish_child(self, cx, deleting, contents),
            Active::DeleteIke(deleting) => informational::finish_ike(self, cx, deleting),
        }
    }

    /// Takes note of an authentic message: the peer lives, and if it is behind a NAT, this is where it is now
    /// (RFC 7296 §2.23).
    fn heard(&mut self, cx: &mut Context, path: Path) {
        self.last_heard = cx.now;
        if path != self.channel.path && self.channel.nat.remote == Behind::Nat {
            self.move_to(cx, path);
        }
    }

    /// The peer's packets come from another address or port.
    pub(crate) fn heard_from(&mut self, cx: &mut Context, path: Path) {
        self.heard(cx, path);
    }

    /// Talks to the peer on another path from now on, in IKE and in ESP.
    pub(crate) fn move_to(&mut self, cx: &mut Context, path: Path) {
        self.channel.path = path;
        for child in self.children.values_mut() {
            for sa in [child.inbound, child.outbound] {
                cx.owners.remove(&sa);
            }
            child.move_to(cx, path);
            for sa in [child.inbound, child.outbound] {
                cx.owners.insert(sa, self.channel.our_spi());
            }
        }
        cx.tell(Event::PathChanged(Box::new(self.status()), path));
    }

    /// The peer sends its next request when it has our last response (RFC 7296 §2.3): what that made, it has.
    fn confirm_children(&mut self) {
        for child in self.children.values_mut() {
            child.confirmation = Confirmation::Known;
        }
    }

    pub(crate) fn report(&self, cx: &mut Context, fault: Error) {
        cx.fail(&[], Some(&self.connection.name), Some(self.channel.path), fault.into());
    }
}

/// Of a repeated request in fragments only the first asks for the response again (RFC 7383 §2.6.1).
fn asks_for_repetition(datagram: &Datagram<'_>) -> bool {
    let fragment = datagram.encrypted.as_ref().and_then(|encrypted| encrypted.fragment);
    fragment.is_none_or(|fragment| fragment.number == 1)
}

/// Gives the notify that tells the peer of a fault of a protected request.
fn error_notify(fault: &Error) -> Option<Notify> {
    use wire::registry::{NotifyType, ProtocolId};
    match fault {
        Error::ChildSaNotFound { spi } => {
            Some(Notify::about(ProtocolId::ESP, *spi, NotifyType::CHILD_SA_NOT_FOUND))
        }
        Error::InvalidKeyExchange { wanted, .. } => {
            Some(Notify::new(NotifyType::INVALID_KE_PAYLOAD, wanted.0.to_be_bytes()))
        }
        Error::UnsupportedCriticalPayload(payload_type) => {
            Some(Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, [*payload_type]))
        }
        other => other.notify().map(|notify_type| Notify::new(notify_type, [])),
    }
}

// --- Tasks ---------------------------------------------------------------------------------------------------------

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

    /// Queues a task ahead of all others.
    pub(crate) fn queue_first(&mut self, cx: &Context, task: Task) {
        self.tasks.push_front(Queued { task, not_before: cx.now });
    }

    /// Has the peer delete a Child SA that it believes in and we do not.
    pub(crate) fn delete_unwanted_child(&mut self, cx: &Context, our_spi: Spi) {
        self.queue_first(cx, Task::DeleteUnwanted(our_spi));
    }

    /// Begins tasks while the window is free.
    pub(crate) fn pump(&mut self, cx: &mut Context) {
        while self.life != Life::Over && self.active.is_none() {
            let Some(task) = self.next_task(cx.now) else { return };
            let Some(request) = self.begin(cx, task) else { continue };
            self.send(cx, request);
        }
    }

    fn next_task(&mut self, now: Instant) -> Option<Task> {
        let position = self.tasks.iter().position(|queued| queued.not_before <= now)?;
        self.tasks.remove(position).map(|queued| queued.task)
    }

    /// Turns a task into a request; `None` if there is nothing to do any more.
    fn begin(&mut self, cx: &mut Context, task: Task) -> Option<Request> {
        let may_only_delete = self.life != Life::Current;
        if may_only_delete && !matches!(task, Task::DeleteIke(..)) {
            cx.finish(&task.into_tickets(), &Err(Failure::Terminated));
            return None;
        }
        if self.is_too_early(cx.now, &task) {
            self.queue_later(cx, task);
            return None;
        }
        match task {
            Task::Liveness => Some(informational::liveness()),
            Task::CreateChild(request, tickets) => create_child_sa::initiate(self, cx, request, tickets),
            Task::RekeyChild(id, tickets) => rekey_child::initiate(self, cx, id, tickets),
            Task::RekeyIke(tickets) => rekey_ike::initiate(self, cx, tickets),
            Task::DeleteChild(id, reason, tickets) => {
                informational::delete_child(self, cx, id, reason, tickets)
            }
            Task::DeleteUnwanted(spi) => Some(informational::delete_unwanted(spi)),
            Task::DeleteIke(reason, tickets) => Some(informational::delete_ike(reason, tickets)),
        }
    }

    /// Tells whether a task is about a Child SA that the peer may not have yet.
    fn is_too_early(&self, now: Instant, task: &Task) -> bool {
        let (Task::RekeyChild(id, _) | Task::DeleteChild(id, ..)) = task else { return false };
        self.children.get(id).is_some_and(|child| {
            child.confirmation == Confirmation::Awaited
                && now < child.installed_at + limits::CONFIRMATION_WAIT
        })
    }

    fn send(&mut self, cx: &mut Context, request: Request) {
        let Request { exchange_type, payloads, active } = request;
        let message_id = self.ours.peek_next_id();
        let sealed = self.channel.seal(cx, exchange_type, Kind::Request, message_id, &payloads);
        let jitter = cx.settings.retransmission.draw_jitter(&mut *cx.random);
        let policy = cx.settings.retransmission;
        let started = sealed.and_then(|datagrams| {
            self.ours
                .start(cx.now, datagrams.clone(), policy, jitter)
                .map_err(|fault| Error::Local(fault.to_string()))?;
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

    /// Tells whether a Child SA is to be deleted as soon as that can be.
    pub(crate) fn is_to_delete(&self, id: ChildSaId) -> bool {
        self.is_queued(|task| matches!(task, Task::DeleteChild(waiting, ..) if *waiting == id))
    }

    fn is_queued(&self, is_it: impl Fn(&Task) -> bool) -> bool {
        self.tasks.iter().any(|queued| is_it(&queued.task))
    }
}

// --- Time and the data plane ---------------------------------------------------------------------------------------

impl IkeSa {
    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context) {
        match self.ours.retransmit(cx.now) {
            Retransmission::NotDue => {}
            Retransmission::Send { datagrams, .. } => {
                cx.transmit(self.channel.path, datagrams);
                self.last_sent = cx.now;
            }
            Retransmission::GiveUp => return self.give_up(cx),
        }
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
        self.end_dead(cx);
    }

    fn keep_current(&mut self, cx: &mut Context) {
        if self.schedule.rekey_at.take_if(|at| *at <= cx.now).is_some() {
            self.queue(cx, Task::RekeyIke(Vec::new()));
        }
        if self.schedule.expire_at.take_if(|at| *at <= cx.now).is_some() {
            self.queue_first(cx, Task::DeleteIke(DownReason::Expired, Vec::new()));
        }
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
        if rekey_due && child.state == ChildState::Installed {
            self.queue(cx, Task::RekeyChild(id, Vec::new()));
        }
        if expired {
            self.queue_first(cx, Task::DeleteChild(id, DownReason::Expired, Vec::new()));
        }
    }

    /// When the peer's silence becomes suspicious; never while something of ours waits for its answer anyway.
    fn liveness_at(&self) -> Option<Instant> {
        let is_wanted = !self.connection.liveness_delay.is_zero() && self.active.is_none();
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
        let waiting = self.active.is_none().then(|| self.tasks.iter().map(|queued| queued.not_before).min());
        let waiting = waiting.flatten().map(|at| (at, TimeoutReason::Retry));
        retransmission.into_iter().chain(lifetimes).chain(waiting).min()
    }

    fn current_timeouts(&self, cx: &Context) -> Vec<(Instant, TimeoutReason)> {
        let schedules = self.children.values().map(|child| child.schedule).chain([self.schedule]);
        let mut timeouts: Vec<_> = schedules
            .flat_map(|schedule| {
                let rekey = schedule.rekey_at.map(|at| (at, TimeoutReason::Rekey));
                rekey.into_iter().chain(schedule.expire_at.map(|at| (at, TimeoutReason::Expiry)))
            })
            .collect();
        timeouts.extend(self.liveness_at().map(|at| (at, TimeoutReason::Liveness)));
        timeouts.extend(self.keepalive_at(cx).map(|at| (at, TimeoutReason::Keepalive)));
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

    /// The peer's packets arrive: it lives, and it has our response to its rekeying.
    pub(crate) fn handle_activity(&mut self, cx: &mut Context, sa: SaId) {
        self.last_heard = cx.now;
        if let Some(child) = self.children.values_mut().find(|child| child.inbound == sa) {
            child.confirmation = Confirmation::Known;
            if child.tenure == Tenure::Holds {
                child.start_sending(cx);
            }
        }
    }

    fn child_of(&self, sa: SaId) -> Option<&ChildSa> {
        self.children.values().find(|child| child.inbound == sa || child.outbound == sa)
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

    pub(crate) fn status(&self) -> IkeSaStatus {
        let state = match (&self.life, &self.active) {
            (Life::Over, _) | (_, Some(Active::DeleteIke(_))) => IkeState::Deleting,
            (Life::Replaced(_) | Life::Redundant(_), _) => IkeState::Rekeyed,
            (Life::Current, Some(Active::RekeyIke(_))) => IkeState::Rekeying,
            (Life::Current, _) => IkeState::Established,
        };
        IkeSaStatus {
            id: self.channel.id,
            connection: self.connection.name.clone(),
            state,
            role: self.channel.role,
            initiator_spi: self.channel.spis.initiator,
            responder_spi: self.channel.spis.responder,
            path: self.channel.path,
            local_identity: Some(self.peer.local().clone()),
            remote_identity: Some(self.peer.remote().clone()),
            suite: Some(self.channel.suite),
            nat: self.channel.nat(),
            established_at: Some(self.established_at),
            rekey_at: self.schedule.rekey_at,
            expire_at: self.schedule.expire_at,
            tasks_queued: self.tasks.iter().map(|queued| queued.task.name()).collect(),
            tasks_active: self.active.iter().map(Active::name).collect(),
            children: self.children.values().map(ChildSa::status).collect(),
        }
    }

    /// Gives our SPI.
    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.channel.our_spi()
    }
}
