//! Two engines, two model data planes, the network between them and a simulated clock.
//!
//! ```text
//!   hosts ─► Plane ─► Parcel ─┐             ┌─► Parcel ─► Plane ─► hosts
//!              ▲ │            ▼             │             ▲ │
//!        SaOp  │ │ SaEvent  Network ────────┘       SaOp  │ │ SaEvent
//!              │ ▼            ▲                           │ ▼
//!            Endpoint ────────┘                         Endpoint
//! ```
//!
//! `time` says how time passes and what moves; this file, what a test sees and does.

mod time;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ike::{
    Answer, ChildSaStatus, ChildState, Command, Endpoint, Event, IkeKeyDisclosure, IkeSaStatus, MessageTrace,
    QueryId, Ticket,
};
use sa::{PolicyId, SaEvent};

use crate::journal::Entry;
use crate::seeds::only_seed;
use crate::{
    Cargo, Flow, Gateway, Journal, Nat, Network, Parcel, Plane, Scenario, SeededRandom, Side, SpiPool,
    Stream, Tally, scenario, site_address,
};

/// Two gateways in one process.
#[derive(Debug)]
pub struct Pair {
    /// The network between them.
    pub network: Network,
    pub(crate) now: Instant,
    pub(crate) nodes: [Node; 2],
    pub(crate) tickets: BTreeMap<Ticket, Errand>,
    pub(crate) faults: Vec<String>,
    start: Instant,
    seed: u64,
    random: SeededRandom,
    scenario: Scenario,
    journal: Journal,
    agenda: BTreeMap<(Instant, u64), Task>,
    tasks: u64,
    streams: Vec<Stream>,
    packets: u64,
    delivered: BTreeSet<u64>,
    tallies: [Tally; 2],
    wakes: (Instant, u32),
}

/// One gateway.
pub(crate) struct Node {
    /// None while it is switched off.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) plane: Plane,
    pub(crate) events: Vec<Event>,
    /// What its messages said, if the scenario wants them told.
    pub(crate) traces: Vec<MessageTrace>,
    /// The last IKE datagrams that it sent.
    sent: VecDeque<Parcel>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("plane", &self.plane).finish_non_exhaustive()
    }
}

/// A command that was given, and how it ended.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) side: Side,
    pub(crate) command: String,
    pub(crate) result: Option<Result<(), ike::Failure>>,
}

/// Something that happens later.
#[derive(Debug)]
enum Task {
    Answer(Side, QueryId, Answer),
    Command(Side, Command),
}

impl Pair {
    /// Starts both gateways and loads their configuration.
    pub fn new(scenario: Scenario) -> Pair {
        let mut random = SeededRandom::new(scenario.seed);
        let now = Instant::now();
        let addresses = Side::BOTH.map(|side| scenario.gateway(side).addresses());
        let nats = Side::BOTH.map(|side| scenario.gateway(side).nat.clone());
        let weather = [scenario.weather.clone(), scenario.weather.clone()];
        let mut pair = Pair {
            network: Network::new(random.fork(), addresses, nats, weather),
            now,
            nodes: Side::BOTH.map(|side| Node::off(scenario.gateway(side))),
            tickets: BTreeMap::new(),
            faults: Vec::new(),
            start: now,
            seed: scenario.seed,
            random,
            scenario,
            journal: Journal::new(now),
            agenda: BTreeMap::new(),
            tasks: 0,
            streams: Vec::new(),
            packets: 0,
            delivered: BTreeSet::new(),
            tallies: [Tally::default(), Tally::default()],
            wakes: (now, 0),
        };
        for side in Side::BOTH {
            pair.switch_on(side);
        }
        pair
    }

    /// Gives what the run began with.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Tells how long the run has lasted on its own clock.
    pub fn elapsed(&self) -> Duration {
        self.now.duration_since(self.start)
    }

    /// Gives the run's own generator, for what a test draws.
    pub fn random(&mut self) -> &mut SeededRandom {
        &mut self.random
    }

    /// Gives the IKE SAs of a side; none while it is switched off.
    pub fn ike_sas(&self, side: Side) -> Vec<IkeSaStatus> {
        self.node(side).endpoint.as_ref().map_or_else(Vec::new, Endpoint::ike_sas)
    }

    /// Gives the Child SAs of this name that are in use on a side.
    pub fn children(&self, side: Side, name: &str) -> Vec<ChildSaStatus> {
        let all = self.ike_sas(side).into_iter().flat_map(|ike| ike.children);
        all.filter(|child| child.name == name && child.state == ChildState::Installed).collect()
    }

    /// Gives the policies that guard the children of a side, traps and blocks.
    pub fn guards(&self, side: Side) -> Vec<PolicyId> {
        let Some(endpoint) = &self.node(side).endpoint else { return Vec::new() };
        endpoint.traps().chain(endpoint.blocks()).map(|(_, _, policy)| policy).collect()
    }

    /// Tells whether both sides have a Child SA of this name in use.
    pub fn is_up(&self, name: &str) -> bool {
        Side::BOTH.iter().all(|side| !self.children(*side, name).is_empty())
    }

    /// Gives a side's engine.
    ///
    /// # Panics
    /// The side is switched off.
    pub fn endpoint(&self, side: Side) -> &Endpoint {
        self.node(side).endpoint.as_ref().expect("the test knows that the side is on")
    }

    /// Gives a side's data plane.
    pub fn plane(&self, side: Side) -> &Plane {
        &self.node(side).plane
    }

    /// Gives what a side's messages said, sent and received, if the scenario has them told.
    pub fn traces(&self, side: Side) -> &[MessageTrace] {
        &self.node(side).traces
    }

    /// Gives everything that a side has told so far.
    pub fn events(&self, side: Side) -> &[Event] {
        &self.node(side).events
    }

    /// Gives the last IKE datagrams that a side sent, oldest first, as they left it.
    pub fn sent(&self, side: Side) -> impl DoubleEndedIterator<Item = &Parcel> {
        self.node(side).sent.iter()
    }

    /// Gives every IKE message among them.
    pub fn messages(&self, side: Side) -> Vec<Vec<u8>> {
        let of_ike = |parcel: &Parcel| match &parcel.cargo {
            Cargo::Ike(bytes) => Some(bytes.clone()),
            Cargo::Keepalive | Cargo::Esp(_) | Cargo::Plain(_) => None,
        };
        self.sent(side).filter_map(of_ike).collect()
    }

    /// Gives the keys of the IKE SA that a side told of last, if its settings have it tell.
    pub fn disclosed_keys(&self, side: Side) -> Option<&IkeKeyDisclosure> {
        self.events(side).iter().rev().find_map(|event| match event {
            Event::IkeKeys(keys) => Some(keys),
            _ => None,
        })
    }

    /// Gives what became of the packets of the hosts behind a side.
    pub fn tally(&self, side: Side) -> &Tally {
        &self.tallies[side.index()]
    }

    /// Gives how a command ended; `None` if it has not.
    pub fn result(&self, ticket: Ticket) -> Option<Result<(), ike::Failure>> {
        self.tickets.get(&ticket)?.result.clone()
    }

    /// Says in words all that a side's engine shows of its state, for telling whether something changed it.
    pub fn fingerprint(&self, side: Side) -> String {
        let timeout = self.node(side).endpoint.as_ref().map(|endpoint| endpoint.poll_timeout());
        format!("{:?} {timeout:?} {:?}", self.ike_sas(side), self.plane(side))
    }
}

/// What a test does.
impl Pair {
    /// Brings a child up.
    pub fn up(&mut self, side: Side, child: &str) -> Ticket {
        let (connection, child) = (CONNECTION.to_owned(), Some(child.to_owned()));
        self.command_with(side, |ticket| Command::Initiate { connection, child, ticket })
    }

    /// Rekeys the Child SA of this name; `None` if none is in use.
    pub fn rekey_child(&mut self, side: Side, name: &str) -> Option<Ticket> {
        let child = self.children(side, name).first()?.id;
        Some(self.command_with(side, |ticket| Command::RekeyChild { child, ticket }))
    }

    /// Deletes the Child SA of this name; `None` if none is in use.
    pub fn down_child(&mut self, side: Side, name: &str) -> Option<Ticket> {
        let child = self.children(side, name).first()?.id;
        Some(self.command_with(side, |ticket| Command::TerminateChild { child, ticket }))
    }

    /// Rekeys the first IKE SA; `None` if there is none.
    pub fn rekey_ike(&mut self, side: Side) -> Option<Ticket> {
        let ike = self.ike_sas(side).first()?.id;
        Some(self.command_with(side, |ticket| Command::RekeyIke { ike, ticket }))
    }

    /// Deletes the first IKE SA; `None` if there is none.
    pub fn down(&mut self, side: Side) -> Option<Ticket> {
        let ike = self.ike_sas(side).first()?.id;
        Some(self.command_with(side, |ticket| Command::TerminateIke { ike, ticket }))
    }

    /// Gives a command that comes back with a ticket.
    pub fn command_with(&mut self, side: Side, command: impl FnOnce(Ticket) -> Command) -> Ticket {
        let ticket = Ticket(self.tickets.len() as u64 + 1);
        let command = command(ticket);
        self.tickets.insert(ticket, Errand { side, command: format!("{command:?}"), result: None });
        self.command(side, command);
        ticket
    }

    /// Gives a command.
    pub fn command(&mut self, side: Side, command: Command) {
        self.journal.note(self.now, side, Entry::Command(command.clone()));
        let now = self.now;
        self.with_endpoint(side, |endpoint| endpoint.handle_command(now, command));
    }

    /// Tells a side's engine something in its data plane's name.
    pub fn tell(&mut self, side: Side, event: SaEvent) {
        // Signs of life are many, and what one brings about is noted.
        if !matches!(event, SaEvent::Active { .. }) {
            self.journal.note(self.now, side, Entry::Told(event.clone()));
        }
        let now = self.now;
        self.with_endpoint(side, |endpoint| endpoint.handle_sa_event(now, event));
    }

    /// Lets an attacker's datagram arrive at a side after a while.
    pub fn inject(&mut self, to: Side, parcel: Parcel, after: Duration) {
        self.network.inject(self.now + after, to, parcel);
    }

    /// Lets a message arrive at a side at once as if from the other, and gives what the side sends then.
    pub fn answers(&mut self, to: Side, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let before = self.messages(to).len();
        let port = |side| SocketAddr::new(site_address(side), 500);
        let parcel = Parcel { source: port(to.other()), destination: port(to), cargo: Cargo::Ike(bytes) };
        self.inject(to, parcel, Duration::ZERO);
        self.run_for(Duration::from_millis(1));
        self.messages(to).split_off(before)
    }

    /// Lets hosts behind both sides send to each other, within the `index`th networks.
    pub fn start_traffic(&mut self, index: u8, every: Duration) {
        for side in Side::BOTH {
            self.start_stream(scenario::flow(side, index), every, 1000);
        }
    }

    /// Lets one host send.
    pub fn start_stream(&mut self, flow: Flow, every: Duration, octets: u64) {
        self.streams.push(Stream { flow, every, octets, next_at: self.now });
    }

    /// Lets all hosts fall silent, and what is on its way arrive.
    pub fn stop_traffic(&mut self) {
        self.streams.clear();
        self.run_for(Duration::from_secs(1));
    }

    /// Switches a gateway off: it forgets everything and sends nothing more.
    pub fn switch_off(&mut self, side: Side) {
        self.journal.note(self.now, side, Entry::Note("is switched off".to_owned()));
        *self.node_mut(side) = Node::off(self.scenario.gateway(side));
        self.tickets.retain(|_, errand| errand.side != side || errand.result.is_some());
        let of_another = |task: &Task| match task {
            Task::Answer(whose, ..) | Task::Command(whose, _) => *whose != side,
        };
        self.agenda.retain(|_, task| of_another(task));
    }

    /// Switches a gateway on that was off, and loads its configuration.
    pub fn switch_on(&mut self, side: Side) {
        self.journal.note(self.now, side, Entry::Note("is switched on".to_owned()));
        let gateway = self.scenario.gateway(side);
        let (connection, secrets) = (gateway.connection.clone(), gateway.shared_secrets());
        let pools = gateway.pools.clone();
        let authorities = gateway.credentials.authorities();
        let own_keys = [(connection.name.clone(), gateway.credentials.own_keys(&connection))].into();
        let mut settings = gateway.settings.clone();
        settings.trace_messages |= only_seed().is_some();
        let spis = SpiPool::default();
        let random = Box::new(self.random.fork());
        let addresses = gateway.addresses();
        let plane = Plane::new(addresses.clone(), spis.clone());
        let endpoint = Endpoint::new(settings, random, Box::new(spis), self.now);
        let node = self.node_mut(side);
        node.plane = plane;
        node.endpoint = Some(endpoint);
        self.command(side, Command::HostChanged(addresses));
        pools.into_iter().for_each(|pool| self.command(side, Command::LoadPool(Box::new(pool))));
        secrets.into_iter().for_each(|secret| self.command(side, Command::LoadSecret(secret)));
        self.command(side, Command::TrustAuthorities(authorities));
        self.command(side, Command::OwnKeys(own_keys));
        self.command(side, Command::Load(Arc::new(connection)));
    }

    /// Moves a side to other addresses, behind a translator or none, and tells its engine; the first is its main one.
    pub fn relocate(&mut self, side: Side, addresses: &[IpAddr], nat: Option<Nat>) {
        self.journal.note(self.now, side, Entry::Note(format!("has {addresses:?} now, behind {nat:?}")));
        let gateway = self.scenario.gateway_mut(side);
        gateway.address = addresses[0];
        gateway.further_addresses = addresses[1..].to_vec();
        self.network.relocate(side, addresses.to_vec(), nat);
        self.node_mut(side).plane.relocate(addresses.to_vec());
        self.command(side, Command::HostChanged(addresses.to_vec()));
    }

    /// Gives a command after a while.
    pub fn command_after(&mut self, after: Duration, side: Side, command: Command) {
        self.schedule(after, Task::Command(side, command));
    }

    /// Runs for a while.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
    }

    /// Runs until something holds.
    ///
    /// # Panics
    /// It does not within `limit`.
    pub fn run_until(&mut self, what: &str, limit: Duration, holds: impl Fn(&Pair) -> bool) {
        let seed = self.seed;
        assert!(self.runs_until(limit, holds), "seed {seed}: within {limit:?} it did not happen that {what}");
    }

    /// Runs until something holds; `false` if it does not within `limit`.
    pub(crate) fn runs_until(&mut self, limit: Duration, holds: impl Fn(&Pair) -> bool) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if !self.step(end) {
                return false;
            }
        }
        true
    }

    /// Runs until a command has ended, and gives how.
    ///
    /// # Panics
    /// It does not end within an hour.
    pub fn finish(&mut self, ticket: Ticket) -> Result<(), ike::Failure> {
        self.run_until("the command ended", Duration::from_secs(3600), |pair| pair.result(ticket).is_some());
        self.result(ticket).expect("it has just been seen to have ended")
    }

    /// Brings the child `net` up from the left, and waits until both sides have it.
    ///
    /// # Panics
    /// That fails.
    pub fn connect(&mut self) {
        let ticket = self.up(Side::Left, "net");
        let result = self.finish(ticket);
        assert_eq!(result, Ok(()), "the child comes up");
        self.run_until("both sides have the child", Duration::from_secs(60), |pair| pair.is_up("net"));
    }

    /// The same for IKEv1, where nothing but a packet shows the right that the left has its last answer.
    ///
    /// # Panics
    /// That fails, or takes longer than `limit` once the left has the child.
    pub fn connect_version_1(&mut self, limit: Duration) {
        let ticket = self.up(Side::Left, "net");
        let result = self.finish(ticket);
        assert_eq!(result, Ok(()), "the child comes up");
        self.start_stream(scenario::flow(Side::Left, 0), Duration::from_secs(1), 100);
        self.run_until("both sides have the child", limit, |pair| pair.is_up("net"));
        self.stop_traffic();
    }
}

/// What its parts may reach.
impl Pair {
    /// Tells whether something is on its way that will make the engines do more.
    pub(crate) fn has_plans(&self) -> bool {
        !self.agenda.is_empty() || self.network.carries_ike()
    }

    pub(crate) fn node(&self, side: Side) -> &Node {
        &self.nodes[side.index()]
    }

    fn node_mut(&mut self, side: Side) -> &mut Node {
        &mut self.nodes[side.index()]
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }
}

impl Drop for Pair {
    /// Prints the journal of a run that failed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the journal of seed {}:\n{}", self.seed, self.journal);
        }
    }
}

impl Node {
    fn off(gateway: &Gateway) -> Node {
        Node {
            endpoint: None,
            plane: Plane::new(gateway.addresses(), SpiPool::default()),
            events: Vec::new(),
            traces: Vec::new(),
            sent: VecDeque::new(),
        }
    }
}

/// The name of every scenario's connection.
pub const CONNECTION: &str = "site";
