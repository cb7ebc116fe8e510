//! An established IKE SA: its two windows, what waits to be done in it, and the dispatch of messages to exchanges.
//!
//! ```text
//!   our window      tasks ──► one request in flight (active) ──► its exchange's finish
//!   their window    a request ──► its exchange's respond ──► the response, kept for a repetition
//! ```
//!
//! `tasks` is the first of the two, `messages` the second and what comes back from the first, `timers` what happens when
//! nothing comes, `probes` what happens when nothing is to be done. The two windows know nothing of each other (RFC 7296 §2.3): while a rekeying of ours waits for its response, the
//! peer's requests are answered as ever. Where the two touch the same SA, the exchanges' files say what wins (§2.25).

mod established;
mod messages;
mod probes;
mod reauthentication;
mod rivals;
mod tasks;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use sa::{AddressRange, PolicyId, Protocol, Spi};
use wire::isakmp::IkeSpi;

use super::Sa;
use super::channel::Channel;
use super::child::Ends;
use super::closed::Closed;
use super::counter_synchronization::Counters;
use super::fragmentation::Reassembly;
use super::ike_followup_ke::Pending;
use super::mobike::Mobility;
use super::optimized_rekey;
use super::redirect::{Following, Redirection};
use super::window::{OurWindow, TheirWindow};
use crate::authentication::PeerAuthenticated;
use crate::child::{self, Carriage, ChildSa, Tenure};
use crate::context::{ChildRequest, Contact, Context, Initiation, Intent};
use crate::error::Failure;
use crate::event::{DownReason, Event};
use crate::io::{ChildSaId, IkeSaId};
use crate::lifetime::Schedule;
use crate::status::{IkeSaStatus, IkeState, IkeVersion};
use crate::virtual_addresses::Inside;
use crate::{CloseAction, Connection, Resumption, Role, SplitNetworks, limits};

use probes::Knowledge;
pub(crate) use reauthentication::Lineage;
use tasks::Queued;
pub(crate) use tasks::{Active, Request, Task};

/// An established IKE SA.
pub(crate) struct IkeSa {
    pub channel: Channel,
    pub connection: Arc<Connection>,
    pub peer: PeerAuthenticated,
    pub children: BTreeMap<ChildSaId, ChildSa>,
    /// The virtual addresses of the two ends.
    pub inside: Inside,
    pub active: Option<Active>,
    pub life: Life,
    /// What MOBIKE knows, if both ends speak it.
    pub mobility: Option<Mobility>,
    /// Who goes to another gateway when told to.
    pub following: Following,
    /// Whether both ends know how to replace SAs without repeating what stays as it is.
    pub optimized_rekeys: optimized_rekey::Support,
    /// What is known of clusters whose members take over from each other.
    pub counters: Counters,
    pub(super) ours: OurWindow,
    pub(super) theirs: TheirWindow,
    /// What the peer wants, and will have when its additional key exchanges are over.
    pub pending: Vec<Pending>,
    /// How many links to such wishes there have been.
    links: u64,
    /// Fragments of the response that we wait for.
    responses: Reassembly,
    /// Fragments of the peer's next request.
    requests: Reassembly,
    tasks: VecDeque<Queued>,
    established_at: Instant,
    schedule: Schedule,
    /// What it has in common with those before it that it replaced.
    pub lineage: Lineage,
    /// What is brought up once it is gone.
    afterwards: Option<Box<Initiation>>,
    /// The IKE SA whose place it takes with a new proof.
    pub predecessor: Option<IkeSaId>,
    pub(super) last_heard: Instant,
    pub(super) last_sent: Instant,
    /// Since when the peer has put off what we ask for.
    put_off_since: Option<Instant>,
    /// What probes found of the path.
    knowledge: Knowledge,
    /// What the peer will show when it has lost this IKE SA (RFC 6290).
    pub crash_token: Option<Vec<u8>>,
    /// Whether a rekeying has made it, and what IKE_AUTH would have given is still to be exchanged.
    is_renewed: bool,
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

impl IkeSa {
    /// Makes the IKE SA of an authenticated peer, its windows at message id 0; `lineage` is of the one that it replaces.
    pub(crate) fn new(
        cx: &mut Context,
        channel: Channel,
        connection: Arc<Connection>,
        peer: PeerAuthenticated,
        lineage: Option<Lineage>,
    ) -> IkeSa {
        let lineage = lineage.unwrap_or_else(|| Lineage::begin(cx, channel.role, &connection));
        let schedule = connection.lifetimes.schedule(cx.now, &mut *cx.random);
        IkeSa {
            channel,
            connection,
            peer,
            children: BTreeMap::new(),
            inside: Inside::default(),
            active: None,
            life: Life::Current,
            mobility: None,
            following: Following::Nobody,
            optimized_rekeys: optimized_rekey::Support::None,
            counters: Counters::default(),
            ours: OurWindow::starting_at(0),
            theirs: TheirWindow::expecting(0),
            pending: Vec::new(),
            links: 0,
            responses: Reassembly::default(),
            requests: Reassembly::default(),
            tasks: VecDeque::new(),
            established_at: cx.now,
            schedule,
            lineage,
            afterwards: None,
            predecessor: None,
            last_heard: cx.now,
            last_sent: cx.now,
            put_off_since: None,
            knowledge: Knowledge::None,
            crash_token: None,
            is_renewed: false,
        }
    }

    /// We began with IKE_SA_INIT (0), and the last request was IKE_AUTH.
    pub(crate) fn windows_after_ike_auth(&mut self, message_id: u32) {
        self.ours = OurWindow::starting_at(message_id + 1);
    }

    /// The peer began with IKE_SA_INIT (0), and its last request was IKE_AUTH, whose response this is.
    pub(crate) fn windows_after_answering_ike_auth(&mut self, message_id: u32, response: Vec<Vec<u8>>) {
        self.theirs = TheirWindow::expecting(message_id);
        self.theirs.answered(message_id, response);
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
                let closed = Closed::new(self.channel, self.theirs, until);
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
        if was_current && !matches!(reason, DownReason::PeerDead | DownReason::PeerLostState) {
            cx.tickets.forget_ike(self.channel.id);
        }
        let before = self.status();
        for id in self.children.keys().copied().collect::<Vec<_>>() {
            self.drop_child(cx, id, reason.clone());
        }
        cx.release_addresses(&self.inside, self.channel.our_spi());
        self.life = Life::Over;
        self.forget_path(cx, self.channel.path.remote.ip());
        if was_current {
            cx.tell(Event::IkeDown(Box::new(before), reason));
        }
        cx.finish(&self.counters.abandon(), &Err(Failure::Terminated));
        if let Some(initiation) = self.afterwards.take() {
            cx.intents.push_back(Intent::Initiate(*initiation));
        }
        let waiting = std::mem::take(&mut self.tasks);
        for queued in waiting {
            queued.task.abandon(cx);
        }
        match self.active.take() {
            None => {}
            // A client that was sent elsewhere may say goodbye before its answer arrives.
            Some(active @ (Active::DeleteIke(_) | Active::DeleteChild(_) | Active::Redirect(_))) => {
                cx.finish(&active.into_tickets(), &Ok(()));
            }
            Some(active) => cx.finish(&active.into_tickets(), &Err(Failure::Terminated)),
        }
    }

    /// Tells whether it is in use and nobody wants it gone.
    pub(crate) fn is_lasting(&self) -> bool {
        let is_deleting = matches!(self.active, Some(Active::DeleteIke(_)))
            || self.tasks.iter().any(|queued| matches!(queued.task, Task::DeleteIke(..)));
        self.life == Life::Current && !is_deleting
    }

    /// Ends the IKE SA with a peer that no longer answers, or not to the point, and does what the configuration wants then.
    pub(crate) fn end_lost(&mut self, cx: &mut Context, reason: DownReason) {
        let configs: Vec<_> = self.children.values().map(|child| Arc::clone(&child.config)).collect();
        let was_current = self.life == Life::Current;
        self.end(cx, reason);
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
            CloseAction::Trap => cx.trap_lost(&self.connection, config),
            CloseAction::Start => cx.intents.push_back(Intent::Initiate(Initiation {
                connection: Arc::clone(&self.connection),
                child: Some(ChildRequest { config: Arc::clone(config), flow: None }),
                further: Vec::new(),
                tickets: Vec::new(),
                failed_tries: 0,
                contact: Contact::Further,
                replaces: None,
                predecessor: None,
                redirection: None,
            })),
        }
    }

    /// Gives the wish for an IKE SA with all the children of this one; `None` if it has none.
    pub(crate) fn initiation_of_children(&self, redirection: Option<Box<Redirection>>) -> Option<Initiation> {
        let lasting = self.children.values().filter(|child| child.is_in_use());
        let mut requests =
            lasting.map(|child| ChildRequest { config: Arc::clone(&child.config), flow: None });
        let child = Some(requests.next()?);
        Some(Initiation {
            connection: Arc::clone(&self.connection),
            child,
            further: requests.map(|request| (request, Vec::new())).collect(),
            tickets: Vec::new(),
            failed_tries: 0,
            contact: Contact::Further,
            replaces: None,
            predecessor: None,
            redirection,
        })
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
        // Where only the networks that the peer names are led to it, the rest of what is configured is nobody's to keep.
        if self.ends().within.is_empty() {
            let own = self.inside.local.first().copied();
            cx.guard_child(&self.connection, &child.config, own.unwrap_or(self.channel.path.local.ip()));
        }
        self.take_in(cx, child);
        let newest = self.children.values().next_back().map(ChildSa::status);
        if let Some(child) = newest {
            cx.tell(Event::ChildUp(Box::new(self.status()), child));
        }
    }

    /// Takes a Child SA in without a word: it replaces another, or comes from a replaced IKE SA.
    pub(crate) fn take_in(&mut self, cx: &mut Context, child: ChildSa) {
        let owner = self.channel.our_spi();
        child::take_in(cx, &mut self.children, owner, child);
    }

    /// Takes a Child SA away, and its policy with it unless another holds that.
    pub(crate) fn drop_child(&mut self, cx: &mut Context, id: ChildSaId, reason: DownReason) {
        let taken = if reason == DownReason::DeletedByPeer && self.has_successor(cx) {
            reauthentication::take_away_superseded(cx, &mut self.children, id, limits::REPLACED_SA_LINGER)
        } else {
            child::take_away(cx, &mut self.children, id)
        };
        if let Some(child) = taken {
            cx.leave_guarded(&self.connection, &child.config, &reason);
            cx.tell(Event::ChildDown(Box::new(self.status()), child.status(), reason));
        }
    }

    /// Lets our packets go through the Child SA that holds a policy: the peer knows it.
    pub(super) fn send_through_holder(&mut self, cx: &mut Context, policy: PolicyId) {
        child::send_through_holder(cx, &mut self.children, policy);
    }

    /// Gives what a Child SA's packets travel in.
    pub(crate) fn carriage(&self) -> Carriage {
        Carriage { path: self.channel.path, encapsulation: self.channel.encapsulation }
    }

    /// Gives where the two ends are, and their virtual addresses.
    pub(crate) fn ends(&self) -> Ends {
        let mut ends = self.channel.ends();
        for (own, inside) in [(&mut ends.local, &self.inside.local), (&mut ends.remote, &self.inside.remote)]
        {
            if !inside.is_empty() {
                *own = inside.iter().copied().map(AddressRange::host).collect();
            }
        }
        if self.connection.split_networks == SplitNetworks::Followed {
            ends.within.clone_from(&self.inside.subnets);
        }
        ends
    }

    /// Finds the Child SA that the peer calls by this SPI of a protocol.
    pub(crate) fn child_named_by_peer(&self, protocol: Protocol, spi: Spi) -> Option<ChildSaId> {
        self.children.values().find(|child| child.is_named_by_peer(protocol, spi)).map(|child| child.id)
    }

    /// Tells whether a child is up, and not about to go.
    pub(crate) fn has_child(&self, name: &str) -> bool {
        self.children.values().any(|child| child.config.name == name && child.is_in_use())
    }

    /// The IKE SA lost a collision, or may yet lose it: whoever made it deletes it, unless it [inherits](Self::inherit).
    pub(crate) fn declare_redundant(&mut self, cx: &Context) {
        self.life = Life::Redundant(cx.now + limits::REPLACED_IKE_SA_LIFE);
    }

    /// Tells whether a rekeying of ours is making an IKE SA of this SPI of ours.
    pub(crate) fn is_making(&self, our_spi: IkeSpi) -> bool {
        matches!(&self.active, Some(Active::RekeyIke(initiated)) if initiated.our_spi() == our_spi)
    }

    /// Forgets the fragments of messages that are not waited for any more.
    pub(super) fn forget_fragments(&mut self) {
        self.requests = Reassembly::default();
        self.responses = Reassembly::default();
    }

    /// Gives a link to a wish of the peer that is none of those before.
    pub(crate) fn next_link(&mut self) -> u64 {
        self.links += 1;
        self.links
    }

    /// Hands over everything that a replacement inherits.
    pub(crate) fn bequeath(&mut self, cx: &mut Context) -> Inheritance {
        self.pending.clear();
        // The heir's counters begin anew at both ends.
        cx.finish(&self.counters.abandon(), &Ok(()));
        self.life = Life::Replaced(cx.now + limits::REPLACED_IKE_SA_LIFE);
        let mut tasks = std::mem::take(&mut self.tasks);
        if let Some(Active::Mobike(sent)) = &self.active {
            // What it brings about here is of no use to the heir, which does it again.
            let again = sent.task().map(|task| Queued { task: Task::Mobike(task), not_before: cx.now });
            tasks.extend(again);
        }
        let knowledge = std::mem::take(&mut self.knowledge).inherited();
        let children = std::mem::take(&mut self.children).into_values().collect();
        let (ends, mobility) = (self.channel.ends(), self.mobility.clone());
        let (inside, predecessor) = (self.inside.clone(), self.predecessor.take());
        let following = self.following.clone();
        Inheritance { children, inside, tasks, knowledge, ends, mobility, predecessor, following }
    }

    /// Takes over what a replaced IKE SA had.
    pub(crate) fn inherit(&mut self, cx: &mut Context, inheritance: Inheritance) {
        self.life = Life::Current;
        self.knowledge = inheritance.knowledge;
        cx.share_addresses(&inheritance.inside, &self.connection.name, self.channel.our_spi());
        self.inside = inheritance.inside;
        self.predecessor = self.predecessor.or(inheritance.predecessor);
        if cx.settings.crash_secret.is_some() || self.connection.resumption == Resumption::Yes {
            // Not at once: the peer may not have our answer yet, and so not know the new IKE SA.
            self.is_renewed = true;
            self.queue_later(cx, Task::Liveness);
        }
        self.following = inheritance.following;
        for child in inheritance.children {
            self.take_in(cx, child);
        }
        self.inherit_path(cx, inheritance.ends, inheritance.mobility);
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
#[derive(Debug)]
pub(crate) struct Inheritance {
    children: Vec<ChildSa>,
    inside: Inside,
    tasks: VecDeque<Queued>,
    knowledge: Knowledge,
    ends: Ends,
    mobility: Option<Mobility>,
    predecessor: Option<IkeSaId>,
    following: Following,
}

impl Inheritance {
    /// Takes everything down: the heir is gone.
    pub(crate) fn abandon(self, cx: &mut Context, old: Box<IkeSaStatus>) {
        for child in self.children {
            for sa in [child.inbound, child.outbound] {
                cx.owners.remove(&sa);
            }
            match child.tenure {
                Tenure::Holds => {
                    child.remove(cx);
                    cx.tell(Event::ChildDown(old.clone(), child.status(), DownReason::PeerDead));
                }
                Tenure::Aside => child.remove_replaced(cx),
            }
        }
        for queued in self.tasks {
            queued.task.abandon(cx);
        }
        self.knowledge.forget(cx, old.path.remote.ip());
        cx.tell(Event::IkeDown(old, DownReason::PeerDead));
    }
}

impl IkeSa {
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
            version: IkeVersion::V2,
            state,
            role: self.channel.role,
            initiator_spi: self.channel.spis.initiator,
            responder_spi: self.channel.spis.responder,
            path: self.channel.path,
            local_identity: Some(self.peer.local().clone()),
            remote_identity: Some(self.peer.remote().clone()),
            remote_user: None,
            mobile: self.mobility.as_ref().map(|mobility| mobility.peer_addresses.clone()),
            ppk: self.channel.ppk.name().cloned(),
            method: None,
            inside: self.inside.clone(),
            suite: Some(self.channel.suite),
            nat: self.channel.nat(),
            established_at: Some(self.established_at),
            rekey_at: self.schedule.rekey_at,
            expire_at: self.schedule.expire_at.into_iter().chain(self.lineage.schedule.expire_at).min(),
            reauthenticate_at: match self.lineage.role {
                Role::Initiator => self.lineage.schedule.rekey_at,
                Role::Responder => None,
            },
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
