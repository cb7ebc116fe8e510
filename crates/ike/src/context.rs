//! What every exchange may reach besides its own IKE SA: the clock's reading, randomness, the configuration, and the
//! one output queue.

mod intent;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::{Random, Secret};
use sa::{AcquiredFlow, Cpi, PolicyId, SaId, SaOp, Spi};
use wire::isakmp::{IkeSpi, Version};

use crate::cookie::{CookieJar, HalfOpen};
use crate::credentials::{Authority, OwnKeys};
use crate::endpoint::SpiSource;
use crate::event::Event;
use crate::guard::{GuardWish, Guards, Unguarded};
use crate::io::{ChildSaId, IkeSaId, Output, Path, Query, QueryId, Ticket};
use crate::retransmission::{Repeating, Retransmission};
use crate::tally::Tally;
use crate::v2::ike_session_resume::Tickets;
use crate::v2::redirect::Redirection;
use crate::virtual_addresses::{Assumed, Inside, Leases, NameServers};
use crate::{ChildConfig, Connection, Failure, Identity, SecretKind, Settings, SharedSecret, limits};
pub(crate) use intent::Intent;

/// The surroundings of an exchange.
pub(crate) struct Context {
    /// The moment of the input that is being handled.
    pub now: Instant,
    pub settings: Settings,
    pub random: Box<dyn Random>,
    pub connections: BTreeMap<String, Arc<Connection>>,
    pub secrets: BTreeMap<String, SharedSecret>,
    /// The CAs that we trust.
    pub authorities: Vec<Authority>,
    /// The addresses of this host, as far as anybody told.
    pub host: Vec<IpAddr>,
    /// Of which kinds the private keys are that each connection has, by name.
    pub own_keys: BTreeMap<String, OwnKeys>,
    pub guards: Guards,
    /// What our pools have given to clients.
    pub leases: Leases,
    /// What peers have given us.
    pub assumed: Assumed,
    /// What the answer to a question is for, where it is not for an initiation.
    pub questions: BTreeMap<QueryId, Question>,
    /// What is to be done, and when.
    pub later: BTreeMap<(Instant, u64), Errand>,
    pub cookies: CookieJar,
    /// Who is half open.
    pub(crate) half_open: HalfOpen,
    /// By which IKE SAs that were lost can be had again.
    pub tickets: Tickets,
    /// Which IKE SA, by our SPI, an SA belongs to.
    pub owners: BTreeMap<SaId, IkeSpi>,
    /// Whom we are connected to: our identity, the peer's, our SPI.
    pub established: BTreeMap<(Identity, Identity, IkeSpi), SocketAddr>,
    /// What an exchange wants done that concerns other IKE SAs than its own.
    pub intents: VecDeque<Intent>,
    /// SAs that were replaced and still open late packets, until then.
    pub lingering: VecDeque<(Instant, SaId)>,
    /// Messages for an IKE SA that did not authenticate.
    pub(crate) forged: u64,
    pub tally: Tally,
    output: VecDeque<Output>,
    spis: Box<dyn SpiSource>,
    last_id: LastId,
}

/// The last of each kind of name that was given.
#[derive(Default)]
struct LastId {
    ike: u32,
    child: u32,
    policy: u32,
    query: u64,
    errand: u64,
    fragments: u16,
}

/// What the answer to a question is for.
#[derive(Debug)]
pub(crate) enum Question {
    /// A guard needs our address on the way to the peer.
    Guard(GuardWish),
    /// The Child SA of this inbound SA is to go if it was idle for long.
    Idle(SaId),
    /// The IKE SA with this SPI of ours waits for a signature, or for a key to be trusted.
    Credentials(IkeSpi),
    /// The IKE SA with this SPI of ours may have to move.
    Route(IkeSpi),
    /// The IKE SA with this SPI of ours probes its path, and has to begin somewhere.
    Link(IkeSpi),
}

/// Something to be done later.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Try once more.
    Initiate(Initiation),
    /// The same for a guard.
    Guard(GuardWish),
}

/// Somebody wants a connection or a child up.
#[derive(Clone, Debug)]
pub(crate) struct Initiation {
    pub connection: Arc<Connection>,
    pub child: Option<ChildRequest>,
    /// Other children that were asked for meanwhile.
    pub further: Vec<(ChildRequest, Vec<Ticket>)>,
    pub tickets: Vec<Ticket>,
    /// Attempts that already failed.
    pub failed_tries: u32,
    pub contact: Contact,
    /// The IKE SA, by our SPI, whose place the new one is to take.
    pub replaces: Option<IkeSpi>,
    /// The name of that one, if it is of version 2; it keeps it when it is rekeyed meanwhile.
    pub predecessor: Option<IkeSaId>,
    /// The gateway that we were sent to instead of the configured one.
    pub redirection: Option<Box<Redirection>>,
}

/// Whether the peer is to forget what it knows of us (RFC 7296 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// We have no other IKE SA with it.
    Initial,
    /// We have, or may have.
    Further,
}

/// The child that is wanted, and the packet that asked for it.
#[derive(Clone, Debug)]
pub(crate) struct ChildRequest {
    pub config: Arc<ChildConfig>,
    pub flow: Option<AcquiredFlow>,
}

impl Context {
    pub(crate) fn new(
        settings: Settings,
        mut random: Box<dyn Random>,
        spis: Box<dyn SpiSource>,
        now: Instant,
    ) -> Context {
        Context {
            cookies: CookieJar::new(now, &mut *random),
            half_open: HalfOpen::within(settings.strangers),
            tickets: Tickets::default(),
            owners: BTreeMap::new(),
            established: BTreeMap::new(),
            now,
            settings,
            random,
            connections: BTreeMap::new(),
            secrets: BTreeMap::new(),
            authorities: Vec::new(),
            host: Vec::new(),
            own_keys: BTreeMap::new(),
            guards: Guards::default(),
            leases: Leases::default(),
            assumed: Assumed::default(),
            questions: BTreeMap::new(),
            later: BTreeMap::new(),
            intents: VecDeque::new(),
            lingering: VecDeque::new(),
            forged: 0,
            tally: Tally::default(),
            output: VecDeque::new(),
            spis,
            last_id: LastId::default(),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        match self.leases.poll_change() {
            Some(change) => Some(Output::Lease(change)),
            None => self.output.pop_front(),
        }
    }

    pub(crate) fn transmit(&mut self, path: Path, datagrams: &[Vec<u8>]) {
        let transmissions = datagrams.iter().map(|bytes| Output::Transmit { path, bytes: bytes.clone() });
        self.output.extend(transmissions);
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.output.push_back(output);
    }

    pub(crate) fn keepalive(&mut self, path: Path) {
        self.output.push_back(Output::Keepalive(path));
    }

    pub(crate) fn order(&mut self, op: SaOp) {
        self.output.push_back(Output::Sa(op));
    }

    /// Notes a virtual address of ours; its first holder brings it to this host.
    pub(crate) fn take_address(&mut self, address: IpAddr, connection: &str, holder: IkeSpi) {
        if self.assumed.take(address, connection, holder) {
            self.output.push_back(Output::TakeAddress(address));
        }
    }

    /// An IKE SA takes over from another that has these virtual addresses, and holds them, too.
    pub(crate) fn share_addresses(&mut self, inside: &Inside, connection: &str, holder: IkeSpi) {
        for address in &inside.local {
            self.take_address(*address, connection, holder);
        }
        for address in &inside.remote {
            self.leases.share(*address, holder);
        }
        self.take_name_servers(inside, connection, holder);
    }

    /// Notes the name servers that a peer told; its connection's first, or other ones, come to this host.
    pub(crate) fn take_name_servers(&mut self, inside: &Inside, connection: &str, holder: IkeSpi) {
        if inside.dns.is_empty() || inside.local.is_empty() {
            return;
        }
        let (servers, domain) = (inside.dns.clone(), inside.domain.clone());
        let told = NameServers { connection: connection.to_owned(), servers, domain };
        if self.assumed.take_name_servers(&told, holder) {
            self.output.push_back(Output::TakeNameServers(told));
        }
    }

    /// An IKE SA no longer holds the virtual addresses of its ends.
    pub(crate) fn release_addresses(&mut self, inside: &Inside, holder: IkeSpi) {
        self.leases.release(&inside.remote, holder);
        let gone = self.assumed.release_name_servers(holder);
        self.output.extend(gone.into_iter().map(Output::DropNameServers));
        for address in &inside.local {
            if self.assumed.release(*address, holder) {
                self.output.push_back(Output::DropAddress(*address));
            }
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.tally.note_event(&event);
        self.output.push_back(Output::Event(event));
    }

    /// Puts what was counted down to a connection. An IKE SA may outlive its connection, which then has no counts any more.
    pub(crate) fn settle_tally(&mut self, connection: Option<&Connection>) {
        let name = connection.map(|connection| connection.name.as_str());
        self.tally.settle(name.filter(|name| self.connections.contains_key(*name)));
    }

    pub(crate) fn ask(&mut self, query: Query) -> QueryId {
        self.last_id.query += 1;
        let id = QueryId(self.last_id.query);
        self.output.push_back(Output::Query { id, query });
        id
    }

    pub(crate) fn finish(&mut self, tickets: &[Ticket], result: &Result<(), Failure>) {
        for &ticket in tickets {
            self.tell(Event::Finished { ticket, result: result.clone() });
        }
    }

    /// Reports a failure to those who wait for it, and to the log if nobody does.
    pub(crate) fn fail(
        &mut self,
        tickets: &[Ticket],
        connection: Option<&str>,
        path: Option<Path>,
        failure: Failure,
    ) {
        if tickets.is_empty() {
            self.tell(Event::Failed { connection: connection.map(str::to_owned), path, failure });
        } else {
            self.finish(tickets, &Err(failure));
        }
    }

    /// Keeps an inbound SA that was replaced for packets that are still on their way.
    pub(crate) fn linger(&mut self, sa: SaId) {
        self.linger_for(sa, limits::REPLACED_SA_LINGER);
    }

    /// The same, for as long as this.
    pub(crate) fn linger_for(&mut self, sa: SaId, linger: Duration) {
        let until = self.now + linger;
        let place = self.lingering.partition_point(|(other, _)| *other <= until);
        self.lingering.insert(place, (until, sa));
    }

    pub(crate) fn next_ike_id(&mut self) -> IkeSaId {
        self.last_id.ike += 1;
        IkeSaId(self.last_id.ike)
    }

    pub(crate) fn next_child_id(&mut self) -> ChildSaId {
        self.last_id.child += 1;
        ChildSaId(self.last_id.child)
    }

    pub(crate) fn next_policy_id(&mut self) -> PolicyId {
        self.last_id.policy += 1;
        PolicyId(self.last_id.policy)
    }

    /// Gives the id of the next message of version 1 that goes in fragments; never zero.
    pub(crate) fn next_fragment_id(&mut self) -> u16 {
        self.last_id.fragments = self.last_id.fragments.checked_add(1).unwrap_or(1);
        self.last_id.fragments
    }

    /// Gives a fresh SPI for an inbound SA.
    pub(crate) fn next_spi(&mut self) -> Spi {
        let mut octets = [0; 4];
        self.random.fill(&mut octets);
        self.spis.allocate(u32::from_be_bytes(octets))
    }

    /// Gives an index for compressed packets towards us (RFC 3173 §3.3).
    pub(crate) fn next_cpi(&mut self) -> Cpi {
        let mut octets = [0; 2];
        self.random.fill(&mut octets);
        let span = limits::LAST_CPI - limits::FIRST_CPI + 1;
        Cpi(limits::FIRST_CPI + u16::from_be_bytes(octets) % span)
    }

    /// Gives a fresh SPI for an IKE SA; never zero (RFC 7296 §3.1).
    pub(crate) fn next_ike_spi(&mut self) -> IkeSpi {
        loop {
            let mut octets = [0; 8];
            self.random.fill(&mut octets);
            let spi = IkeSpi(u64::from_be_bytes(octets));
            if !spi.is_zero() {
                return spi;
            }
        }
    }

    /// Gives a fresh nonce: at least half the PRF's key, and 32 octets do for every PRF (RFC 7296 §2.10).
    pub(crate) fn next_nonce(&mut self) -> Vec<u8> {
        let mut nonce = vec![0; limits::NONCE_OCTETS];
        self.random.fill(&mut nonce);
        nonce
    }

    /// Draws a duration below `limit`, evenly.
    pub(crate) fn random_below(&mut self, limit: Duration) -> Duration {
        let mut octets = [0; 4];
        self.random.fill(&mut octets);
        limit.mul_f64(f64::from(u32::from_be_bytes(octets)) / f64::from(u32::MAX))
    }

    /// Finds the secret that two identities share: the one that fits them best, and of equals the first by name.
    pub(crate) fn shared_secret(&self, local: &Identity, remote: &Identity) -> Option<&Secret<Vec<u8>>> {
        self.best_secret(local, remote).map(|(_, secret)| secret)
    }

    /// The same, with how well it fits: the greater, the better.
    pub(crate) fn best_secret(&self, local: &Identity, remote: &Identity) -> Option<(u32, &Secret<Vec<u8>>)> {
        let fitting = self
            .pre_shared_keys()
            .filter_map(|shared| Some((sa::secret_fit(&shared.owners, local, remote)?, &shared.secret)));
        fitting.min_by_key(|(fit, _)| std::cmp::Reverse(*fit))
    }

    /// Gives all pre-shared keys.
    pub(crate) fn pre_shared_keys(&self) -> impl Iterator<Item = &SharedSecret> {
        self.secrets.values().filter(|shared| shared.kind == SecretKind::PreSharedKey)
    }

    /// Finds the password of a user.
    pub(crate) fn password_of(&self, user: &Identity) -> Option<&Secret<Vec<u8>>> {
        let is_for = |shared: &&SharedSecret| {
            shared.kind == SecretKind::Password && shared.owners.iter().any(|owner| owner.matches(user))
        };
        self.secrets.values().find(is_for).map(|shared| &shared.secret)
    }

    /// Finds the connections that fit a path and a version of IKE, the best first.
    pub(crate) fn connections_for(&self, path: Path, version: Version) -> Vec<Arc<Connection>> {
        let mut fitting: Vec<_> = self
            .connections
            .values()
            .filter(|connection| connection.answers(version))
            .filter_map(|connection| Some((connection.fit(path)?, connection)))
            .collect();
        fitting.sort_by_key(|(fit, _)| std::cmp::Reverse(*fit));
        fitting.into_iter().map(|(_, connection)| Arc::clone(connection)).collect()
    }

    /// Tells whether two identities already have an IKE SA.
    pub(crate) fn is_established(&self, local: &Identity, remote: &Identity) -> bool {
        self.established_between(local, remote).next().is_some()
    }

    /// Gives the IKE SAs between two identities, by our SPI.
    pub(crate) fn established_between(
        &self,
        local: &Identity,
        remote: &Identity,
    ) -> impl Iterator<Item = IkeSpi> + use<'_> {
        let bound = |spi| (local.clone(), remote.clone(), IkeSpi(spi));
        self.established.range(bound(0)..=bound(u64::MAX)).map(|((_, _, spi), _)| *spi)
    }

    /// Tells whether two identities already have an IKE SA with a peer that is elsewhere.
    pub(crate) fn is_established_elsewhere(
        &self,
        local: &Identity,
        remote: &Identity,
        here: SocketAddr,
    ) -> bool {
        let bound = |spi| (local.clone(), remote.clone(), IkeSpi(spi));
        self.established.range(bound(0)..=bound(u64::MAX)).any(|(_, there)| *there != here)
    }

    /// Tries again what failed, as often as the connection wants; then tells who waits for it.
    pub(crate) fn retry_or_fail(&mut self, mut initiation: Initiation, path: Path, failure: Failure) {
        initiation.failed_tries += 1;
        // If we were sent somewhere else, it was in vain.
        initiation.redirection = None;
        if !initiation.is_refreshed(&self.connections) {
            return self.fail_initiation(&initiation, path, failure);
        }
        let tries = initiation.connection.keying_tries;
        if tries == 0 || initiation.failed_tries < tries {
            let connection = Some(initiation.connection.name.clone());
            self.tell(Event::Failed { connection, path: Some(path), failure });
            self.intents.push_back(Intent::Initiate(initiation));
        } else {
            self.fail_initiation(&initiation, path, failure);
        }
    }

    /// Notes a message of version 1 that is sent now and waits for its answer.
    pub(crate) fn begin_repeating(&mut self, datagrams: Vec<Vec<u8>>) -> Repeating {
        let policy = self.settings.retransmission;
        let jitter = policy.draw_jitter(&mut *self.random);
        Repeating::begin(self.now, datagrams, policy, jitter)
    }

    /// Repeats a message of version 1 if that is due; tells whether it was repeated often enough.
    pub(crate) fn repeat(&mut self, path: Path, repeating: &mut Repeating) -> bool {
        match repeating.repeat(self.now) {
            Retransmission::NotDue => false,
            Retransmission::Send { datagrams, .. } => {
                self.transmit(path, datagrams);
                false
            }
            Retransmission::GiveUp => true,
        }
    }

    /// Says that nobody answered an exchange that was begun at a moment.
    pub(crate) fn no_answer(&self, path: Path, exchange: &'static str, begun_at: Instant) -> Failure {
        Failure::NoAnswer {
            peer: path.remote,
            exchange,
            tries: self.settings.retransmission.tries + 1,
            seconds: (self.now - begun_at).as_secs(),
        }
    }

    /// Tells everyone who waits for an initiation that it failed.
    pub(crate) fn fail_initiation(&mut self, initiation: &Initiation, path: Path, failure: Failure) {
        let mut tickets = initiation.tickets.clone();
        tickets.extend(initiation.further.iter().flat_map(|(_, tickets)| tickets));
        self.fail(&tickets, Some(&initiation.connection.name), Some(path), failure);
    }

    /// Guards a child, as soon as it is known which packets that is about; then tells who waits for it.
    pub(crate) fn want_guard(&mut self, wish: GuardWish) {
        let GuardWish { connection, child, kind, origin, .. } = &wish;
        match self.guard(connection, child, *kind, *origin, None) {
            Ok(()) => self.finish(&wish.tickets, &Ok(())),
            Err(Unguarded::LocalUnknown) => {
                let id = self.ask(Query::Path(Arc::clone(connection)));
                self.questions.insert(id, Question::Guard(wish));
            }
            Err(unguarded @ (Unguarded::RemoteUnknown | Unguarded::Virtual)) => {
                let failure = unguarded.into_failure(child);
                self.fail(&wish.tickets, Some(&connection.name), None, failure);
            }
        }
    }

    /// Does something after a while.
    pub(crate) fn do_later(&mut self, after: Duration, errand: Errand) {
        self.last_id.errand += 1;
        self.later.insert((self.now + after, self.last_id.errand), errand);
    }
}
