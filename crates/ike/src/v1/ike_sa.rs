//! An established ISAKMP SA: its Child SAs, the quick modes under way in it, and the dispatch of messages to exchanges.
//!
//! ```text
//!   message id 0    the last message of phase 1 once more ──► its answer once more
//!   an id of ours   quick_mode::finish, …              an id that is new ──► quick_mode::respond, informational
//! ```
//!
//! Any number of exchanges may be under way at once, each under a random message id of its own; `timers` is what happens
//! when nothing comes. An ISAKMP SA that another replaced goes on answering, but begins nothing.

mod established;
mod inheritance;
mod timers;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sa::{PolicyId, Protocol, Spi};
use wire::isakmp::IkeSpi;
use wire::registry::ExchangeType;
use wire::registry::v1::NotifyType;
use wire::v1::{Content, Datagram, Payload};

use super::Sa;
use super::abilities::PeerAbilities;
use super::channel::{Channel, Iv, trace_received};
use super::closed::{Closed, Farewell};
use super::contents::Contents;
use super::deletion::{self, Deletions, Pair};
use super::dpd::DeadPeerDetection;
use super::expiry::{Expiry, Meter, Reached};
use super::informational;
use super::mode_config::{self, Configuring};
use super::phase_1::LastMessage;
use super::quick_mode::{self, Purpose, QuickMode};
use super::transaction::Transactions;
use crate::authentication::PeerAuthenticated;
use crate::child::{self, Carriage, ChildSa, Tenure};
use crate::context::{ChildRequest, Contact, Context, Initiation, Intent};
use crate::error::{Error, Failure};
use crate::event::{DownReason, Event};
use crate::io::{ChildSaId, Path, Ticket};
use crate::lifetime::Schedule;
use crate::nat_detection::Behind;
use crate::status::{ChildState, IkeSaStatus, IkeState, IkeVersion};
use crate::virtual_addresses::Inside;
use crate::{ChildConfig, CloseAction, Connection, Role, limits};

/// An established ISAKMP SA.
pub(crate) struct IkeSa {
    pub channel: Channel,
    pub connection: Arc<Connection>,
    pub peer: PeerAuthenticated,
    pub children: BTreeMap<ChildSaId, ChildSa>,
    pub life: Life,
    /// Quick modes by message id.
    pub(super) quick_modes: BTreeMap<u32, QuickMode>,
    /// When replaced Child SAs are to be deleted by us.
    pub(super) farewells: BTreeMap<ChildSaId, Instant>,
    /// When our packets go through the newest Child SA of a policy, unless the peer uses it before.
    pub(super) turns: BTreeMap<PolicyId, Instant>,
    /// When those are to be deleted that came up at once with another.
    pub(super) twins: BTreeMap<ChildSaId, Instant>,
    pub(super) deletions: Deletions,
    pub(super) detection: DeadPeerDetection,
    /// The peer's, that were answered.
    pub(super) transactions: Transactions,
    /// The virtual addresses of both ends, and what is under way about them.
    pub(super) inside: Inside,
    pub(super) configuring: Configuring,
    pub(crate) abilities: PeerAbilities,
    pub(crate) last_of_phase_1: LastMessage,
    /// Attempts that failed before this one came up.
    pub(super) failed_tries: u32,
    /// What the peer is told of the end, once it is.
    farewell: Farewell,
    pub(crate) established_at: Instant,
    schedule: Schedule,
    meter: Meter,
    pub(super) last_heard: Instant,
    last_sent: Instant,
}

/// Where an ISAKMP SA stands in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// In use.
    Current,
    /// Another with the same peer took its Child SAs over; ours to delete at that moment, if there is one.
    Superseded {
        /// The other, by our SPI; `None` once it was asked to take over what came about here since.
        heir: Option<IkeSpi>,
        /// When we delete it.
        until: Option<Instant>,
    },
    /// Gone.
    Over,
}

impl IkeSa {
    /// Makes the ISAKMP SA of an authenticated peer; `lifetime` is what the two ends agreed on.
    pub(crate) fn new(
        cx: &mut Context,
        channel: Channel,
        connection: Arc<Connection>,
        peer: PeerAuthenticated,
        abilities: PeerAbilities,
        lifetime: Expiry,
        last_of_phase_1: LastMessage,
    ) -> IkeSa {
        let lifetimes = match lifetime.time {
            Some(limit) => connection.lifetimes.limited_to(limit),
            None => connection.lifetimes,
        };
        let schedule = lifetimes.schedule(cx.now, &mut *cx.random);
        IkeSa {
            channel,
            connection,
            peer,
            children: BTreeMap::new(),
            life: Life::Current,
            quick_modes: BTreeMap::new(),
            farewells: BTreeMap::new(),
            turns: BTreeMap::new(),
            twins: BTreeMap::new(),
            deletions: Deletions::default(),
            detection: DeadPeerDetection::new(cx),
            transactions: Transactions::default(),
            inside: Inside::default(),
            configuring: Configuring::default(),
            abilities,
            last_of_phase_1,
            failed_tries: 0,
            farewell: Farewell::None,
            established_at: cx.now,
            schedule,
            meter: Meter::new(lifetime.kilobytes),
            last_heard: cx.now,
            last_sent: cx.now,
        }
    }

    /// Puts the SA back among the living, or keeps what its peer may have to be told again.
    pub(crate) fn alive(self: Box<Self>) -> Option<Sa> {
        match self.life {
            Life::Current | Life::Superseded { .. } => Some(Sa::Established(self)),
            Life::Over => {
                let until = self.last_heard.max(self.last_sent) + limits::CLOSED_SA_LINGER;
                Some(Sa::Closed(Box::new(Closed::new(self.channel, self.farewell, until))))
            }
        }
    }

    /// Begins what an initiation wants.
    pub(crate) fn take_up(&mut self, cx: &mut Context, initiation: Initiation) {
        let Some(initiation) = mode_config::before(self, cx, initiation) else { return };
        let Initiation { child, further, tickets, failed_tries, .. } = initiation;
        self.failed_tries = failed_tries;
        if child.is_none() {
            cx.finish(&tickets, &Ok(()));
        }
        for (request, tickets) in child.map(|child| (child, tickets)).into_iter().chain(further) {
            quick_mode::initiate(self, cx, Purpose::New(request), tickets);
        }
    }
}

// --- Messages ------------------------------------------------------------------------------------------------------

impl IkeSa {
    /// Handles a message that names this ISAKMP SA.
    pub(crate) fn handle_datagram(&mut self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        let header = &datagram.header;
        if header.message_id == 0 {
            self.last_of_phase_1.repeat(cx, &self.channel, path, datagram);
            return;
        }
        let Content::Encrypted(ciphertext) = &datagram.content else {
            // What is not protected is never obeyed.
            cx.note_forged();
            return;
        };
        match header.exchange_type {
            ExchangeType::V1_TRANSACTION => mode_config::handle(self, cx, path, datagram),
            ExchangeType::V1_QUICK_MODE => quick_mode::handle(self, cx, path, datagram, ciphertext),
            ExchangeType::V1_INFORMATIONAL if quick_mode::awaits_fourth(self, header.message_id) => {
                quick_mode::handle(self, cx, path, datagram, ciphertext);
            }
            _ => self.handle_single(cx, path, datagram, ciphertext),
        }
    }

    /// A message that is an exchange by itself, or of an exchange that is not to be had here.
    fn handle_single(&mut self, cx: &mut Context, path: Path, datagram: &Datagram<'_>, ciphertext: &[u8]) {
        let iv = self.channel.phase_2_iv(datagram.header.message_id);
        let opened = self.channel.open(&iv, ciphertext);
        let chain = opened.as_ref().and_then(|opened| opened.payloads(datagram.header.next_payload).ok());
        let Some(chain) = chain else {
            cx.note_forged();
            return;
        };
        let contents = Contents::new(informational::NAME, chain.clone());
        let message_id = datagram.header.message_id;
        let exchange_type = datagram.header.exchange_type;
        if self.check_hash(&contents, message_id, &[]).is_err() || !contents.begins(exchange_type) {
            cx.note_forged();
            return;
        }
        if !self.channel.use_message_id(message_id) {
            return informational::respond_again(self, cx, message_id, &contents);
        }
        trace_received(cx, path, datagram, &chain);
        self.heard_from_peer(cx, path);
        self.count(cx, datagram.bytes.len());
        match exchange_type {
            ExchangeType::V1_INFORMATIONAL => informational::respond(self, cx, message_id, &contents),
            other => {
                informational::refuse(self, cx, NotifyType::UNSUPPORTED_EXCHANGE_TYPE, None);
                self.report(cx, Error::NotAllowed(not_to_be_had(other)));
            }
        }
    }

    /// Checks the hash that a message of phase 2 begins with.
    pub(super) fn check_hash(&self, contents: &Contents<'_>, id: u32, prefix: &[u8]) -> Result<(), Error> {
        self.channel.check_hash(contents, id, prefix)
    }

    /// Seals payloads behind the hash that a message of phase 2 begins with; gives the exchange's next IV.
    pub(super) fn seal(
        &mut self,
        cx: &mut Context,
        exchange_type: ExchangeType,
        message_id: u32,
        iv: &Iv,
        prefix: &[u8],
        payloads: Vec<Payload>,
    ) -> Result<(Vec<Vec<u8>>, Iv), Error> {
        let sealed = self.channel.seal_hashed(cx, exchange_type, message_id, iv, prefix, payloads)?;
        self.last_sent = cx.now;
        self.count(cx, sealed.0.iter().map(Vec::len).sum());
        Ok(sealed)
    }

    /// Counts what an authentic message has of the kilobytes that the SA may carry.
    pub(super) fn count(&mut self, cx: &Context, octets: usize) {
        match self.meter.count(octets as u64) {
            Reached::Nothing => {}
            Reached::Soft => self.schedule.rekey_at = Some(cx.now),
            Reached::Hard => self.schedule.expire_at = Some(cx.now),
        }
    }

    /// Takes note of an authentic message: the peer lives, and if it is behind a NAT, this is where it is now.
    pub(super) fn heard_from_peer(&mut self, cx: &mut Context, path: Path) {
        self.last_heard = cx.now;
        self.last_of_phase_1.unconfirmed = None;
        // RFC 3947 §4: once both have floated to port 4500, what comes to port 500 is old; UDP carries no ESP there.
        let is_old =
            path.local.port() == limits::IKE_PORT && self.channel.path.local.port() != limits::IKE_PORT;
        if path != self.channel.path && self.channel.nat.remote == Behind::Nat && !is_old {
            let before = std::mem::replace(&mut self.channel.path, path);
            let (owner, carriage) = (self.channel.our_spi(), self.carriage());
            child::move_all(cx, &mut self.children, owner, carriage);
            cx.tell(Event::PathChanged(Box::new(self.status()), before));
        }
    }

    pub(super) fn report(&self, cx: &mut Context, failure: impl Into<Failure>) {
        cx.fail(&[], Some(&self.connection.name), Some(self.channel.path), failure.into());
    }
}

fn not_to_be_had(exchange_type: ExchangeType) -> &'static str {
    match exchange_type {
        ExchangeType::V1_TRANSACTION => {
            "the peer began a transaction (XAuth, Mode Config), which is not to be had"
        }
        ExchangeType::V1_NEW_GROUP_MODE => "the peer began new group mode, which is not to be had",
        _ => "the peer began an exchange that is not known here",
    }
}

// --- Child SAs -----------------------------------------------------------------------------------------------------

impl IkeSa {
    /// Takes a Child SA in.
    pub(super) fn adopt(&mut self, cx: &mut Context, child: ChildSa) {
        let (id, status) = (child.id, child.status());
        self.take_in(cx, child);
        cx.tell(Event::ChildUp(Box::new(self.status()), status));
        self.note_twins(cx, id);
    }

    /// Takes a Child SA in without a word.
    pub(super) fn take_in(&mut self, cx: &mut Context, child: ChildSa) {
        cx.guard_child(&self.connection, &child.config, self.own_address());
        let owner = self.channel.our_spi();
        child::take_in(cx, &mut self.children, owner, child);
    }

    /// Takes a Child SA away, and its policy with it unless another holds that.
    pub(crate) fn drop_child(&mut self, cx: &mut Context, id: ChildSaId, reason: DownReason) {
        self.farewells.remove(&id);
        self.twins.remove(&id);
        if let Some(child) = child::take_away(cx, &mut self.children, id) {
            cx.leave_guarded(&self.connection, &child.config, &reason);
            cx.tell(Event::ChildDown(Box::new(self.status()), child.status(), reason));
        }
    }

    /// The same of one whose traffic another carries: what comes late is opened for a while.
    pub(super) fn retire_child(
        &mut self,
        cx: &mut Context,
        id: ChildSaId,
        reason: DownReason,
        linger: Duration,
    ) {
        self.farewells.remove(&id);
        self.twins.remove(&id);
        if let Some(child) = child::retire(cx, &mut self.children, id, linger) {
            cx.tell(Event::ChildDown(Box::new(self.status()), child.status(), reason));
        }
    }

    /// The newest Child SA of a policy takes it over; those that it replaces stay until they are deleted.
    pub(super) fn hand_over(&mut self, cx: &mut Context, new: ChildSaId) {
        self.take_over(cx, new);
        if let Some(policy) = self.children.get(&new).map(|child| child.policy) {
            self.turn(cx, policy);
        }
    }

    /// The same for one that the peer may not have in place before it has read message 3: until it sends through it, or until
    /// it has had the time, ours go through the one before.
    pub(super) fn hand_over_gently(&mut self, cx: &mut Context, new: ChildSaId) {
        self.take_over(cx, new);
        if let Some(policy) = self.children.get(&new).map(|child| child.policy) {
            self.turns.insert(policy, cx.now + limits::MESSAGE_3_WAIT);
        }
    }

    /// Lets our packets go through the Child SA that holds a policy.
    pub(super) fn turn(&mut self, cx: &mut Context, policy: PolicyId) {
        self.turns.remove(&policy);
        child::send_through_holder(cx, &mut self.children, policy);
    }

    fn take_over(&mut self, cx: &mut Context, new: ChildSaId) {
        let Some(policy) = self.children.get(&new).map(|child| child.policy) else { return };
        let mut replaced = None;
        for other in self.children.values_mut().filter(|other| other.policy == policy && other.id != new) {
            if other.tenure == Tenure::Holds {
                replaced = Some(other.status());
            }
            other.tenure = Tenure::Aside;
            other.state = ChildState::Rekeyed;
        }
        let Some(child) = self.children.get_mut(&new) else { return };
        child.tenure = Tenure::Holds;
        let (child, ike) = (child.status(), Box::new(self.status()));
        match replaced {
            Some(old) => cx.tell(Event::ChildRekeyed { ike, old, new: child }),
            None => cx.tell(Event::ChildUp(ike, child)),
        }
        self.note_twins(cx, new);
    }

    /// Finds the Child SA in use that a quick mode for the same traffic replaces; of twins, the greater at both ends.
    pub(super) fn serving(
        &self,
        config: &ChildConfig,
        local: &[sa::TrafficSelector],
        remote: &[sa::TrafficSelector],
    ) -> Option<(ChildSaId, PolicyId)> {
        let same = self.children.values().filter(|child| {
            child.config.name == config.name
                && child.is_in_use()
                && child.agreed.local == local
                && child.agreed.remote == remote
        });
        same.max_by_key(|child| deletion::name_of(child)).map(|child| (child.id, child.policy))
    }

    /// Tells whether a Child SA holds a policy.
    pub(super) fn has_holder(&self, policy: PolicyId) -> bool {
        self.children.values().any(|child| child.policy == policy && child.tenure == Tenure::Holds)
    }

    /// Gives what a Child SA's packets travel in.
    pub(super) fn carriage(&self) -> Carriage {
        Carriage { path: self.channel.path, encapsulation: self.channel.encapsulation }
    }

    /// Tells whether a child is up, and not about to go.
    pub(super) fn has_child(&self, name: &str) -> bool {
        self.children.values().any(|child| child.config.name == name && child.is_in_use())
    }

    /// The peer deletes a Child SA: what losing it is configured to do is done.
    pub(crate) fn lose_child(&mut self, cx: &mut Context, id: ChildSaId) {
        if !self.abilities.answered_deletes {
            // One that answers deletes says itself what it has.
            quick_mode::confirm_by_delete(self, cx, id);
        }
        self.fall_back(cx, id);
        let Some(child) = self.children.get(&id) else { return };
        let (config, is_lost) = (Arc::clone(&child.config), child.is_in_use() && !self.has_like(id));
        match self.has_like(id) {
            true => self.retire_child(cx, id, DownReason::DeletedByPeer, limits::REPLACED_SA_LINGER),
            false => self.drop_child(cx, id, DownReason::DeletedByPeer),
        }
        if is_lost {
            self.carry_out(cx, config.close_action, &config);
        }
    }

    /// The same by the name that the peer has for it; one whose quick mode is not over counts, too. Gives its SAs.
    pub(crate) fn lose_named(&mut self, cx: &mut Context, protocol: Protocol, spi: Spi) -> Option<Vec<Pair>> {
        if self.deletions.settle(protocol, spi) {
            return Some(Vec::new());
        }
        let Some(id) = self.child_named_by_peer(protocol, spi) else {
            return quick_mode::abandon_deleted(self, cx, protocol, spi);
        };
        let pairs = self.children.get(&id).map(|child| child.pairs().collect());
        self.lose_child(cx, id);
        pairs
    }

    /// Does what losing a child is configured to do.
    pub(super) fn carry_out(&self, cx: &mut Context, action: CloseAction, config: &Arc<ChildConfig>) {
        match action {
            CloseAction::None => {}
            CloseAction::Trap => cx.trap_lost(&self.connection, config),
            CloseAction::Start => {
                let request = ChildRequest { config: Arc::clone(config), flow: None };
                let initiation = Initiation::of_child(Arc::clone(&self.connection), request, Vec::new());
                cx.intents.push_back(Intent::Initiate(initiation));
            }
        }
    }
}

// --- Its own life --------------------------------------------------------------------------------------------------

impl IkeSa {
    /// Begins a new phase 1 that will take this one's place.
    pub(super) fn replace(&mut self, cx: &mut Context, tickets: Vec<Ticket>) {
        // If it fails, it is tried again.
        self.schedule.rekey_at = Some(cx.now + limits::RETRY_AFTER_REFUSAL);
        cx.intents.push_back(Intent::Initiate(Initiation {
            connection: Arc::clone(&self.connection),
            child: None,
            further: Vec::new(),
            tickets,
            failed_tries: 0,
            contact: Contact::Further,
            redirection: None,
            replaces: Some(self.channel.our_spi()),
            predecessor: None,
        }));
    }

    /// Tells an initiator who offered `lifetime` that we keep it for less (RFC 2407 §4.6.3.1).
    pub(crate) fn say_lifetime(&mut self, cx: &mut Context, lifetime: Expiry) {
        if self.channel.role == Role::Responder
            && let Some(said) = lifetime.of_phase_1(self.connection.lifetimes.expire, self.channel.spis)
        {
            informational::send(self, cx, vec![said]);
        }
    }

    /// Deletes it and its Child SAs. A peer that answers deletes is told all in one message, until it has.
    pub(crate) fn delete(&mut self, cx: &mut Context, reason: DownReason) {
        if self.abilities.answered_deletes {
            let mut pairs = self.deletions.take_unanswered();
            pairs.extend(self.children.values().flat_map(ChildSa::pairs));
            let deletes = deletion::payloads(&pairs).map(|(_, payload)| payload);
            let payloads = quick_mode::confirmations(self, &pairs).chain(deletes).collect();
            if let Ok(message) = informational::farewell(&mut self.channel, cx, payloads) {
                let repeating = Some(cx.begin_repeating(message.clone()));
                self.farewell = Farewell::Ours { message, repeating };
            }
        } else {
            let ids: Vec<_> = self.children.keys().copied().collect();
            informational::delete_children(self, cx, &ids);
            self.farewell = Farewell::ours(informational::farewell(&mut self.channel, cx, Vec::new()).ok());
        }
        self.end(cx, reason);
    }

    /// Ends it: its Child SAs go, and whoever waits for something in it is told.
    pub(crate) fn end(&mut self, cx: &mut Context, reason: DownReason) {
        if self.life == Life::Over {
            return;
        }
        for id in self.children.keys().copied().collect::<Vec<_>>() {
            self.drop_child(cx, id, reason.clone());
        }
        for quick_mode in std::mem::take(&mut self.quick_modes).into_values() {
            quick_mode.abandon(cx);
        }
        for waiting in self.configuring.take_waiting() {
            cx.fail_initiation(&waiting, self.channel.path, Failure::Terminated);
        }
        let before = self.status();
        cx.release_addresses(&self.inside, self.channel.our_spi());
        self.life = Life::Over;
        cx.tell(Event::IkeDown(Box::new(before), reason));
    }

    /// Ends the ISAKMP SA of a peer that no longer answers, and does what the configuration wants then.
    pub(super) fn end_dead(&mut self, cx: &mut Context) {
        let in_use = self.children.values().filter(|child| child.is_in_use());
        let configs: Vec<_> = in_use.map(|child| Arc::clone(&child.config)).collect();
        self.end(cx, DownReason::PeerDead);
        for config in configs {
            self.carry_out(cx, config.liveness_action, &config);
        }
    }

    /// The peer deleted it.
    pub(super) fn end_deleted(&mut self, cx: &mut Context) {
        if self.leave_to_heir(cx) {
            return;
        }
        let has_begun = self.quick_modes.values().any(QuickMode::is_begun_by_us);
        if self.abilities.answered_deletes && (has_begun || !self.children.is_empty()) {
            // Such a peer has named all that goes with it: it has the rest in another one, if there is one.
            cx.intents.push_back(Intent::Orphan { from: self.channel.our_spi() });
            return;
        }
        self.end_for_good(cx);
    }

    /// The peer deleted it, and there is no other that could take over what it has.
    pub(crate) fn end_for_good(&mut self, cx: &mut Context) {
        if self.abilities.answered_deletes
            && let Ok(message) = informational::farewell(&mut self.channel, cx, Vec::new())
        {
            self.farewell = Farewell::Answer { to: self.deletions.last_of_all, message };
        }
        let in_use = self.children.values().filter(|child| child.is_in_use());
        let configs: Vec<_> = in_use.map(|child| Arc::clone(&child.config)).collect();
        self.end(cx, DownReason::DeletedByPeer);
        for config in configs {
            self.carry_out(cx, config.close_action, &config);
        }
    }

    /// Gives what a dynamic selector of ours stands for: our virtual address, or else that of the path.
    pub(super) fn own_address(&self) -> IpAddr {
        self.inside.local.first().copied().unwrap_or(self.channel.path.local.ip())
    }

    /// The same of the peer's.
    pub(super) fn peer_address(&self) -> IpAddr {
        self.inside.remote.first().copied().unwrap_or(self.channel.path.remote.ip())
    }

    pub(crate) fn status(&self) -> IkeSaStatus {
        let state = match &self.life {
            Life::Current => IkeState::Established,
            Life::Superseded { .. } => IkeState::Rekeyed,
            Life::Over => IkeState::Deleting,
        };
        let active = self.quick_modes.values().filter_map(QuickMode::name);
        let (local_identity, remote_identity) = self.peer.devices();
        IkeSaStatus {
            id: self.channel.id,
            connection: self.connection.name.clone(),
            version: IkeVersion::V1(self.channel.mode),
            state,
            role: self.channel.role,
            initiator_spi: self.channel.spis.initiator,
            responder_spi: self.channel.spis.responder,
            path: self.channel.path,
            local_identity: Some(local_identity.clone()),
            remote_identity: Some(remote_identity.clone()),
            remote_user: self.peer.user().cloned(),
            mobile: None,
            ppk: None,
            method: Some(self.channel.method.number),
            inside: self.inside.clone(),
            suite: Some(self.channel.suite),
            nat: self.channel.nat(),
            established_at: Some(self.established_at),
            rekey_at: self.schedule.rekey_at,
            expire_at: self.schedule.expire_at,
            reauthenticate_at: None,
            tasks_queued: Vec::new(),
            tasks_active: active.chain(self.detection.name()).chain(self.configuring.name()).collect(),
            children: self.children.values().map(ChildSa::status).collect(),
        }
    }
}
