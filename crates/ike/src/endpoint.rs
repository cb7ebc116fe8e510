//! The endpoint: all IKE SAs of one shard, and the one place where inputs come in and outputs go out.
//!
//! A datagram finds its IKE SA by the SPI that we chose (RFC 7296 §2.6); one without is a stranger's first message. The
//! SA handles it by itself. What concerns other SAs it leaves as an [`Intent`], which is carried out here afterwards.

mod commands;
mod initiation;
mod succession;
mod twins;
mod version_1;
mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use crypto::Random;
use sa::{SaEvent, SaId, SaOp, Spi};
use wire::isakmp::{Flags, IkeSpi, Version};
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{HeaderFields, Notify, Payload};

use crate::context::{Context, Errand, Initiation, Intent, Question};
use crate::cookie::Admission;
use crate::established::{Established, Sa};
use crate::event::{DownReason, Event};
use crate::io::{Answer, Command, Datagram, Output, Path, QueryId, TimeoutReason};
use crate::status::IkeSaStatus;
use crate::tally::Counted;
use crate::v1::fragmentation::Collection;
use crate::v2::ike_sa::Inheritance;
use crate::v2::ike_sa_init::{self, Demand};
use crate::v2::ike_session_resume;
use crate::v2::quick_crash_detection;
use crate::{Failure, Settings, v1, v2};

/// Gives SPIs for inbound SAs: the data plane's, whose look-up they index.
pub trait SpiSource: Send {
    /// Gives an SPI that is not in use; `random` makes it hard to guess.
    fn allocate(&mut self, random: u32) -> Spi;
}

/// What came in and led nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that cannot be read.
    pub malformed: u64,
    /// Datagrams of another major version.
    pub other_version: u64,
    /// Datagrams that name an IKE SA but were not made with its keys.
    pub forged: u64,
    /// Datagrams that name an IKE SA which is not here.
    pub unknown_spi: u64,
    /// First messages of strangers that were ignored because too many are half open already.
    pub refused_strangers: u64,
    /// First messages of strangers that were asked for a cookie.
    pub cookies_demanded: u64,
}

/// Where an IKE_SA_INIT request came from: its sender's address and SPI.
type Origin = (SocketAddr, IkeSpi);

/// All IKE SAs of one shard.
pub struct Endpoint {
    cx: Context,
    sas: BTreeMap<IkeSpi, Sa>,
    timers: BTreeMap<(Instant, IkeSpi), TimeoutReason>,
    deadlines: BTreeMap<IkeSpi, Instant>,
    /// IKE_SA_INIT requests that were answered, by where they came from, and our SPI in the answer.
    answered: BTreeMap<Origin, IkeSpi>,
    /// The same the other way round; both hold as long as the IKE SA, so that a late copy of its first message does not
    /// make another.
    origins: BTreeMap<IkeSpi, Origin>,
    /// Fragments of messages of version 1.
    collection: Collection,
    /// Whether any connection has been of version 1: until then its messages are not even read.
    speaks_v1: bool,
    /// Initiations that wait for a path.
    pathless: BTreeMap<QueryId, Initiation>,
    answers_for_lost: quick_crash_detection::Answers,
    counters: Counters,
}

// --- Inputs and outputs --------------------------------------------------------------------------------------------

impl Endpoint {
    /// Makes an endpoint without connections.
    pub fn new(
        settings: Settings,
        random: Box<dyn Random>,
        spis: Box<dyn SpiSource>,
        now: Instant,
    ) -> Endpoint {
        Endpoint {
            cx: Context::new(settings, random, spis, now),
            sas: BTreeMap::new(),
            timers: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            answered: BTreeMap::new(),
            origins: BTreeMap::new(),
            collection: Collection::default(),
            speaks_v1: false,
            pathless: BTreeMap::new(),
            answers_for_lost: quick_crash_detection::Answers::new(now),
            counters: Counters::default(),
        }
    }

    /// Handles a datagram that arrived. Whatever it is, it costs no more than its reading unless it is authentic.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.cx.now = now;
        match Version::of(datagram.bytes) {
            Some(Version { major: 1, .. }) if !self.speaks_v1 => self.counters.other_version += 1,
            Some(Version { major: 1, .. }) => match wire::v1::decode(datagram.bytes) {
                Ok(message) => self.route_v1(datagram.path, &message),
                Err(_) => self.count_malformed(),
            },
            _ => match wire::v2::decode(datagram.bytes) {
                Ok(message) => self.route_v2(datagram.path, &message),
                Err(_) => self.handle_unreadable(datagram),
            },
        }
        // Whoever was turned away belongs to no connection.
        self.cx.tally.settle(None);
        self.carry_out_intents();
    }

    /// Handles an order.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        self.cx.now = now;
        match command {
            Command::Load(connection) => self.load(connection),
            Command::Unload(name) => self.unload(&name),
            Command::LoadSecret(secret) => {
                self.cx.tickets.forget_all();
                self.cx.secrets.insert(secret.name.clone(), secret);
            }
            Command::UnloadSecret(name) => {
                self.cx.tickets.forget_all();
                self.cx.secrets.remove(&name);
            }
            Command::TrustAuthorities(authorities) => {
                self.cx.tickets.forget_all();
                self.cx.authorities = authorities;
            }
            Command::OwnKeys(own_keys) => self.cx.own_keys = own_keys,
            Command::LoadPool(pool) => self.cx.leases.load(*pool),
            Command::UnloadPool(name) => self.cx.leases.unload(&name),
            Command::HostChanged(addresses) => self.host_changed(addresses),
            Command::DiscloseKeys(disclosure) => self.command_disclose_keys(disclosure),
            Command::RestoreLeases { pool, leases } => self.cx.leases.restore(&pool, leases),
            Command::Initiate { connection, child, ticket } => {
                self.command_initiate(&connection, child, ticket)
            }
            Command::Install { connection, child, ticket } => {
                self.command_install(&connection, &child, ticket)
            }
            Command::Uninstall { connection, child, ticket } => {
                self.command_uninstall(connection, child, ticket)
            }
            Command::Unblock { connection, child, ticket } => self.command_unblock(connection, child, ticket),
            Command::RekeyIke { ike, ticket } => self.command_rekey_ike(ike, ticket),
            Command::ReauthenticateIke { ike, ticket } => self.command_reauthenticate_ike(ike, ticket),
            Command::RekeyChild { child, ticket } => self.command_rekey_child(child, ticket),
            Command::TerminateIke { ike, ticket } => self.command_terminate_ike(ike, ticket),
            Command::ForgetIke { ike, ticket } => self.command_forget_ike(ike, ticket),
            Command::Redirect { ike, gateway, ticket } => self.command_redirect(ike, gateway, ticket),
            Command::SynchronizeCounters { ike, missed, ticket } => {
                self.command_synchronize(ike, missed, ticket)
            }
            Command::TerminateChild { child, ticket } => self.command_terminate_child(child, ticket),
        }
        self.carry_out_intents();
    }

    /// Handles what the data plane tells.
    pub fn handle_sa_event(&mut self, now: Instant, event: SaEvent) {
        self.cx.now = now;
        match event {
            SaEvent::Acquire { policy, flow } => self.acquire(policy, flow),
            SaEvent::Expire { sa, hardness, cause } => {
                self.with_owner(sa, |ike, cx| ike.handle_expiry(cx, sa, hardness, cause));
            }
            SaEvent::Active { sa } => self.with_owner(sa, |ike, cx| ike.handle_activity(cx, sa)),
            SaEvent::PathChanged { sa, remote } => self.with_owner(sa, |ike, cx| {
                let path = Path { remote, ..ike.path() };
                ike.heard_from(cx, path);
            }),
            SaEvent::PathNarrowed { remote, octets } => self.hear_of_path(remote, octets),
            SaEvent::Rejected { sa, reason } => {
                let failure = Failure::Plane { sa, reason };
                self.cx.tell(Event::Failed { connection: None, path: None, failure: failure.clone() });
                self.with_owner(sa, |ike, cx| ike.handle_rejection(cx, sa, failure));
            }
        }
        self.carry_out_intents();
    }

    /// Handles the answer to a query. One to a question that nobody asked is ignored.
    pub fn handle_answer(&mut self, now: Instant, id: QueryId, answer: Answer) {
        self.cx.now = now;
        match answer {
            Answer::Path(path) => self.handle_path(id, path),
            Answer::Link(link) => {
                if let Some(Question::Link(our_spi)) = self.cx.questions.remove(&id) {
                    self.with_established_v2(our_spi, |ike, cx| ike.handle_link(cx, link));
                }
            }
            Answer::Idle(idle) => {
                if let Some(Question::Idle(sa)) = self.cx.questions.remove(&id) {
                    self.with_owner(sa, |ike, cx| ike.handle_idle(cx, sa, idle));
                }
            }
            answer @ (Answer::Signed(_) | Answer::Trusted(_) | Answer::Decrypted(_)) => {
                if let Some(Question::Credentials(our_spi)) = self.cx.questions.remove(&id) {
                    self.with_sa(our_spi, |sa, cx| sa.handle_answer(cx, id, answer));
                }
            }
        }
        self.carry_out_intents();
    }

    /// Does everything that is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.cx.now = now;
        while let Some((&(at, spi), _)) = self.timers.first_key_value()
            && at <= now
        {
            self.timers.pop_first();
            self.deadlines.remove(&spi);
            self.with_sa(spi, |sa, cx| sa.handle_timeout(cx));
            self.carry_out_intents();
        }
        while let Some(&(until, sa)) = self.cx.lingering.front()
            && until <= now
        {
            self.cx.lingering.pop_front();
            self.cx.order(SaOp::RemoveSa(sa));
        }
        while let Some(errand) = self.cx.later.first_entry().filter(|errand| errand.key().0 <= now) {
            match errand.remove() {
                Errand::Initiate(initiation) => self.initiate(initiation),
                Errand::Guard(wish) => self.cx.want_guard(wish),
            }
        }
        self.carry_out_intents();
    }

    /// Gives the next output. To be called until it gives none, after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.poll_output()
    }

    /// Tells when [`handle_timeout`](Self::handle_timeout) is to be called next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, TimeoutReason)> {
        let timer = self.timers.first_key_value().map(|(&(at, _), &reason)| (at, reason));
        let linger = self.cx.lingering.front().map(|&(at, _)| (at, TimeoutReason::Linger));
        let later = self.cx.later.first_key_value().map(|(&(at, _), _)| (at, TimeoutReason::Retry));
        timer.into_iter().chain(linger).chain(later).min()
    }
}

// --- Datagrams -----------------------------------------------------------------------------------------------------

impl Endpoint {
    fn route_v2(&mut self, path: Path, message: &wire::v2::Datagram<'_>) {
        let header = &message.header;
        let begins = [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_SESSION_RESUME];
        let is_first = begins.contains(&header.exchange_type)
            && !header.flags.is_response()
            && header.flags.from_initiator()
            && header.responder_spi.is_zero()
            && header.message_id == 0
            && !header.initiator_spi.is_zero();
        if is_first {
            return self.handle_stranger_v2(path, message);
        }
        let our_spi = if header.flags.from_initiator() { header.responder_spi } else { header.initiator_spi };
        if !matches!(self.sas.get(&our_spi), Some(Sa::V2(_))) {
            self.count_unknown_spi();
            let sas = &self.sas;
            let is_coming = |spi| sas.values().any(|sa| matches!(sa, Sa::V2(sa) if sa.is_making(spi)));
            let answers = &mut self.answers_for_lost;
            return quick_crash_detection::answer_for_lost(&mut self.cx, answers, path, message, is_coming);
        }
        self.with_sa(our_spi, |sa, cx| match sa {
            Sa::V2(sa) => sa.handle_datagram(cx, path, message).map(Sa::V2),
            Sa::V1(_) => Some(sa),
        });
    }

    /// The first message of somebody who has no IKE SA here, or the same once more.
    fn handle_stranger_v2(&mut self, path: Path, message: &wire::v2::Datagram<'_>) {
        let origin = (path.remote, message.header.initiator_spi);
        if let Some(our_spi) = self.answered.get(&origin) {
            if let Some(Sa::V2(v2::Sa::HalfOpen(sa))) = self.sas.get(our_spi) {
                sa.repeat_init(&mut self.cx, path, message);
            }
            return;
        }
        let demand = match self.cx.half_open.admission(path.remote.ip(), self.sas.len()) {
            Admission::Welcome => Demand::Nothing,
            Admission::WithCookie => {
                self.counters.cookies_demanded += 1;
                Demand::Cookie
            }
            Admission::WithPuzzle(difficulty) => {
                self.counters.cookies_demanded += 1;
                Demand::Puzzle(difficulty)
            }
            Admission::Refused => {
                self.counters.refused_strangers += 1;
                return;
            }
        };
        let respond = match message.header.exchange_type {
            ExchangeType::IKE_SESSION_RESUME => ike_session_resume::respond,
            _ => ike_sa_init::respond,
        };
        if let Some(half_open) = respond(&mut self.cx, path, message, demand) {
            self.answered.insert(origin, half_open.channel.our_spi());
            self.origins.insert(half_open.channel.our_spi(), origin);
            self.put(Sa::V2(v2::Sa::HalfOpen(Box::new(half_open))));
        }
    }

    fn count_malformed(&mut self) {
        self.counters.malformed += 1;
        self.cx.tally.note(Counted::Invalid);
    }

    fn count_unknown_spi(&mut self) {
        self.counters.unknown_spi += 1;
        self.cx.tally.note(Counted::InvalidSpi);
    }

    /// A message of a higher major version is told that ours is 2 (RFC 7296 §2.5); anything else only counts.
    fn handle_unreadable(&mut self, datagram: Datagram<'_>) {
        let Ok(header) = wire::isakmp::Header::decode(datagram.bytes) else {
            self.count_malformed();
            return;
        };
        if header.version.major <= Version::V2.major {
            if header.version.major < Version::V2.major {
                self.counters.other_version += 1;
            } else {
                self.count_malformed();
            }
            return;
        }
        self.counters.other_version += 1;
        if header.flags.is_response() {
            return;
        }
        let fields = HeaderFields {
            initiator_spi: header.initiator_spi,
            responder_spi: header.responder_spi,
            exchange_type: header.exchange_type,
            flags: Flags::RESPONSE,
            message_id: header.message_id,
        };
        let notify = Payload::Notify(Notify::new(NotifyType::INVALID_MAJOR_VERSION, []));
        if let Ok(bytes) = wire::v2::encode_clear(&fields, &[notify]) {
            self.cx.transmit(datagram.path, &[bytes]);
        }
    }
}

// --- IKE SAs -------------------------------------------------------------------------------------------------------

impl Endpoint {
    /// Takes an IKE SA out, lets it do something, and puts it back if it lives.
    fn with_sa(&mut self, our_spi: IkeSpi, act: impl FnOnce(Sa, &mut Context) -> Option<Sa>) {
        let Some(mut sa) = self.sas.remove(&our_spi) else { return };
        self.forget(&sa);
        let connection = sa.connection();
        let after = act(sa, &mut self.cx);
        if let Some(connection) = connection {
            // Also if it is no more than the memory of an IKE SA now.
            self.cx.settle_tally(Some(&connection));
        }
        match after {
            Some(sa) => self.put(sa),
            None => {
                self.cx.tally.settle(None);
                if let Some(origin) = self.origins.remove(&our_spi) {
                    self.answered.remove(&origin);
                }
            }
        }
    }

    fn with_established(&mut self, our_spi: IkeSpi, act: impl FnOnce(&mut dyn Established, &mut Context)) {
        self.with_sa(our_spi, |mut sa, cx| {
            if let Some(established) = sa.established_mut() {
                act(established, cx);
            }
            sa.alive()
        });
    }

    fn with_established_v2(
        &mut self,
        our_spi: IkeSpi,
        act: impl FnOnce(&mut v2::ike_sa::IkeSa, &mut Context),
    ) {
        self.with_sa(our_spi, |mut sa, cx| {
            if let Sa::V2(v2::Sa::Established(established)) = &mut sa {
                act(established, cx);
            }
            sa.alive()
        });
    }

    fn with_established_v1(
        &mut self,
        our_spi: IkeSpi,
        act: impl FnOnce(&mut v1::ike_sa::IkeSa, &mut Context),
    ) {
        self.with_sa(our_spi, |mut sa, cx| {
            if let Sa::V1(v1::Sa::Established(established)) = &mut sa {
                act(established, cx);
            }
            sa.alive()
        });
    }

    fn with_owner(&mut self, sa: SaId, act: impl FnOnce(&mut dyn Established, &mut Context)) {
        if let Some(&our_spi) = self.cx.owners.get(&sa) {
            self.with_established(our_spi, act);
        }
    }

    /// Notes what is known of an IKE SA by something else than its SPI, and when it wants to be woken.
    fn put(&mut self, mut sa: Sa) {
        let our_spi = sa.our_spi();
        self.cx.settle_tally(sa.connection().as_deref());
        if let Some((at, reason)) = sa.deadline(&self.cx) {
            self.timers.insert((at, our_spi), reason);
            self.deadlines.insert(our_spi, at);
        }
        if let Some(ike) = sa.established().filter(|ike| ike.is_lasting()) {
            let (local, remote) = (ike.peer().local().clone(), ike.peer().remote().clone());
            self.cx.established.insert((local, remote, our_spi), ike.path().remote);
        }
        if let Some(address) = sa.stranger() {
            self.cx.half_open.opened(address);
            if sa.is_arriving() {
                self.cx.half_open.arrives(address, our_spi);
            }
        }
        self.sas.insert(our_spi, sa);
    }

    fn forget(&mut self, sa: &Sa) {
        let our_spi = sa.our_spi();
        if let Some(at) = self.deadlines.remove(&our_spi) {
            self.timers.remove(&(at, our_spi));
        }
        if let Some(ike) = sa.established() {
            let entry = (ike.peer().local().clone(), ike.peer().remote().clone(), our_spi);
            self.cx.established.remove(&entry);
        }
        if let Some(address) = sa.stranger() {
            self.cx.half_open.closed(address);
            self.cx.half_open.arrived(address, our_spi);
        }
    }

    fn carry_out_intents(&mut self) {
        while let Some(intent) = self.cx.intents.pop_front() {
            match intent {
                Intent::Initiate(initiation) => self.initiate(initiation),
                Intent::Insert(mut sa) => {
                    sa.pump(&mut self.cx);
                    if let Some(sa) = sa.alive() {
                        self.put(Sa::V2(sa));
                    }
                }
                Intent::Inherit { heir, inheritance, old } => self.inherit(heir, *inheritance, old),
                Intent::PassOn { from, heir } => self.pass_on(from, heir),
                Intent::Supersede { heir, local, remote, replaced } => {
                    self.supersede(heir, &local, &remote, replaced);
                }
                Intent::DeleteElsewhere { not_here, local, remote, protocol, spis } => {
                    self.delete_elsewhere(not_here, (&local, &remote), protocol, &spis);
                }
                Intent::Retire { old, heir, until } => self.retire(old, heir, until),
                Intent::CompareOthers { local, remote, until } => self.compare_others(&local, &remote, until),
                Intent::DoubtOthers { newcomer, local, address } => {
                    self.doubt_others(newcomer, &local, address)
                }
                Intent::Forget { ike, survivor } => {
                    let old = self.established().find(|sa| sa.id() == ike && sa.our_spi() != survivor);
                    if let Some(our_spi) = old.map(Established::our_spi) {
                        self.with_established(our_spi, |sa, cx| sa.end(cx, DownReason::Replaced));
                    }
                }
                Intent::EndSuperseded { old, heir } => self.end_superseded(old, heir),
                Intent::Orphan { from } => self.take_orphans(from),
                Intent::EndOthers { survivor, local, remote, up_at } => {
                    let others: Vec<_> =
                        self.cx.established_between(&local, &remote).filter(|spi| *spi != survivor).collect();
                    for our_spi in others {
                        self.with_established(our_spi, |sa, cx| sa.retire(cx, up_at));
                    }
                }
            }
        }
    }

    /// The IKE SA of version 2 that a rekeying made takes over what the old one had.
    fn inherit(&mut self, heir: IkeSpi, inheritance: Inheritance, old: Box<IkeSaStatus>) {
        if !matches!(self.sas.get(&heir), Some(Sa::V2(v2::Sa::Established(_)))) {
            return inheritance.abandon(&mut self.cx, old);
        }
        self.with_sa(heir, |mut sa, cx| {
            if let Sa::V2(v2::Sa::Established(sa)) = &mut sa {
                sa.inherit(cx, inheritance);
                cx.tell(Event::IkeRekeyed { old, new: Box::new(sa.status()) });
                sa.pump(cx);
            }
            sa.alive()
        });
    }

    fn established(&self) -> impl Iterator<Item = &dyn Established> {
        self.sas.values().filter_map(Sa::established)
    }
}
