//! What every exchange may reach besides its own IKE SA: the clock's reading, randomness, the configuration, and the
//! one output queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::{Random, Secret};
use sa::{AcquiredFlow, PolicyAction, PolicyId, PolicySpec, SaId, SaOp, Spi};
use wire::isakmp::{Header, IkeSpi};
use wire::v2::Payload;

use crate::cookie::CookieJar;
use crate::endpoint::{Settings, SpiSource};
use crate::event::{Event, MessageTrace, PayloadTrace, TraceDirection};
use crate::io::{ChildSaId, IkeSaId, Output, Path, Query, QueryId, Ticket};
use crate::v2::ike_sa::{IkeSa, Inheritance};
use crate::v2::trap::{Trap, TrapKey};
use crate::{ChildConfig, Connection, Failure, Identity, IkeSaStatus, SharedSecret, limits};

/// The surroundings of an exchange.
pub(crate) struct Context {
    /// The moment of the input that is being handled.
    pub now: Instant,
    pub settings: Settings,
    pub random: Box<dyn Random>,
    pub connections: BTreeMap<String, Arc<Connection>>,
    pub secrets: BTreeMap<String, SharedSecret>,
    pub traps: BTreeMap<TrapKey, Trap>,
    pub cookies: CookieJar,
    /// Which IKE SA, by our SPI, an SA belongs to.
    pub owners: BTreeMap<SaId, IkeSpi>,
    /// Whom we are connected to: our identity, the peer's, our SPI.
    pub established: BTreeSet<(Identity, Identity, IkeSpi)>,
    /// What an exchange wants done that concerns other IKE SAs than its own.
    pub intents: VecDeque<Intent>,
    /// SAs that were replaced and still open late packets, until then.
    pub lingering: VecDeque<(Instant, SaId)>,
    /// Messages for an IKE SA that did not authenticate.
    pub(crate) forged: u64,
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
}

/// Something for the endpoint to do once the IKE SA at hand has been put back.
pub(crate) enum Intent {
    /// Bring a connection up, or one of its children.
    Initiate(Initiation),
    /// Take in an IKE SA that a rekeying made.
    Insert(Box<IkeSa>),
    /// Hand what a replaced IKE SA had to its replacement.
    Inherit {
        /// The replacement, by our SPI.
        heir: IkeSpi,
        /// What it inherits.
        inheritance: Inheritance,
        /// The replaced IKE SA as it was.
        old: Box<IkeSaStatus>,
    },
    /// The older IKE SAs between these two identities end (RFC 7296 §2.4).
    EndOthers {
        /// The one that stays, by our SPI.
        survivor: IkeSpi,
        /// Who we are.
        local: Identity,
        /// Who the peer is.
        remote: Identity,
        /// Only those that were up at this moment.
        up_at: Instant,
    },
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
            owners: BTreeMap::new(),
            established: BTreeSet::new(),
            now,
            settings,
            random,
            connections: BTreeMap::new(),
            secrets: BTreeMap::new(),
            traps: BTreeMap::new(),
            intents: VecDeque::new(),
            lingering: VecDeque::new(),
            forged: 0,
            output: VecDeque::new(),
            spis,
            last_id: LastId::default(),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    pub(crate) fn transmit(&mut self, path: Path, datagrams: &[Vec<u8>]) {
        let transmissions = datagrams.iter().map(|bytes| Output::Transmit { path, bytes: bytes.clone() });
        self.output.extend(transmissions);
    }

    pub(crate) fn keepalive(&mut self, path: Path) {
        self.output.push_back(Output::Keepalive(path));
    }

    pub(crate) fn order(&mut self, op: SaOp) {
        self.output.push_back(Output::Sa(op));
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
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
        self.lingering.push_back((self.now + limits::REPLACED_SA_LINGER, sa));
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

    /// Gives a fresh SPI for an inbound SA.
    pub(crate) fn next_spi(&mut self) -> Spi {
        let mut octets = [0; 4];
        self.random.fill(&mut octets);
        self.spis.allocate(u32::from_be_bytes(octets))
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
        let fitting = self
            .secrets
            .values()
            .filter_map(|shared| Some((sa::secret_fit(&shared.owners, local, remote)?, shared)));
        fitting.min_by_key(|(fit, _)| std::cmp::Reverse(*fit)).map(|(_, shared)| &shared.secret)
    }

    /// Finds the connections that fit a path, the best first.
    pub(crate) fn connections_for(&self, path: Path) -> Vec<Arc<Connection>> {
        let mut fitting: Vec<_> = self
            .connections
            .values()
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
        self.established.range(bound(0)..=bound(u64::MAX)).map(|(_, _, spi)| *spi)
    }

    /// Tries again what failed, as often as the connection wants; then tells who waits for it.
    pub(crate) fn retry_or_fail(&mut self, mut initiation: Initiation, path: Path, failure: Failure) {
        initiation.failed_tries += 1;
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

    /// Tells everyone who waits for an initiation that it failed.
    pub(crate) fn fail_initiation(&mut self, initiation: &Initiation, path: Path, failure: Failure) {
        let mut tickets = initiation.tickets.clone();
        tickets.extend(initiation.further.iter().flat_map(|(_, tickets)| tickets));
        self.fail(&tickets, Some(&initiation.connection.name), Some(path), failure);
    }

    /// Installs the trap policy of a child, unless it is there.
    ///
    /// # Errors
    /// Its selectors cannot be known yet.
    pub(crate) fn install_trap(
        &mut self,
        connection: &Connection,
        child: &ChildConfig,
    ) -> Result<(), Failure> {
        let key = TrapKey::new(connection, child);
        if self.traps.contains_key(&key) {
            return Ok(());
        }
        let trap = Trap::new(self, connection, child)?;
        let spec = PolicySpec {
            id: trap.policy,
            priority: child.trap_priority(),
            selectors: trap.selectors.clone(),
            action: PolicyAction::Trap,
        };
        self.traps.insert(key, trap);
        self.order(SaOp::InstallPolicy(spec));
        Ok(())
    }

    /// The same where nobody waits for it.
    pub(crate) fn trap(&mut self, connection: &Connection, child: &ChildConfig) {
        if let Err(failure) = self.install_trap(connection, child) {
            self.fail(&[], Some(&connection.name), None, failure);
        }
    }

    /// Takes the trap policy of a child away.
    pub(crate) fn remove_trap(&mut self, key: &TrapKey) {
        if let Some(trap) = self.traps.remove(key) {
            self.order(SaOp::RemovePolicy(trap.policy));
        }
    }

    /// Tells what a message says, if anybody listens.
    pub(crate) fn trace(
        &mut self,
        direction: TraceDirection,
        path: Path,
        header: &Header,
        datagrams: (usize, usize),
        payloads: &[Payload],
    ) {
        if !self.settings.trace_messages {
            return;
        }
        let (fragments, octets) = datagrams;
        let payloads = payloads.iter().map(explain).collect();
        self.tell(Event::Message(MessageTrace {
            at: self.now,
            direction,
            path,
            exchange: header
                .exchange_type
                .name()
                .map_or_else(|| header.exchange_type.to_string(), str::to_owned),
            is_response: header.flags.is_response(),
            message_id: header.message_id,
            initiator_spi: header.initiator_spi,
            responder_spi: header.responder_spi,
            octets,
            fragments,
            payloads,
        }));
    }
}

/// Puts a payload in words: its notation in the RFC, and the sentence that follows it.
fn explain(payload: &Payload) -> PayloadTrace {
    let explanation = payload.explain();
    let (name, sentence) = explanation.split_once(": ").unwrap_or((&explanation, ""));
    PayloadTrace { name: name.to_owned(), sentence: sentence.to_owned() }
}
