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
//! Time stands still while something is handled, and jumps to the next thing that happens. After each input an engine
//! is drained, its orders are carried out in their order, and its invariants are checked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ike::{
    Answer, ChildSaStatus, ChildState, Command, Connection, Datagram, Endpoint, Event, IkeSaStatus, Output,
    Path, QueryId, Ticket, TimeoutReason,
};
use sa::SaEvent;

use crate::journal::Entry;
use crate::plane::{Arrival, Departure};
use crate::seeds::only_seed;
use crate::{
    Cargo, Flow, Gateway, Journal, Network, Packet, Parcel, Plane, Scenario, SeededRandom, Side, SpiPool,
    Stream, Tally, scenario,
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
        let addresses = Side::BOTH.map(|side| scenario.gateway(side).address);
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

    /// Gives everything that a side has told so far.
    pub fn events(&self, side: Side) -> &[Event] {
        &self.node(side).events
    }

    /// Gives the last IKE datagrams that a side sent, oldest first, as they left it.
    pub fn sent(&self, side: Side) -> impl DoubleEndedIterator<Item = &Parcel> {
        self.node(side).sent.iter()
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
        let (connection, secret) = (gateway.connection.clone(), gateway.shared_secret());
        let mut settings = gateway.settings.clone();
        settings.trace_messages |= only_seed().is_some();
        let spis = SpiPool::default();
        let random = Box::new(self.random.fork());
        let plane = Plane::new(gateway.address, spis.clone());
        let endpoint = Endpoint::new(settings, random, Box::new(spis), self.now);
        let node = self.node_mut(side);
        node.plane = plane;
        node.endpoint = Some(endpoint);
        self.command(side, Command::LoadSecret(secret));
        self.command(side, Command::Load(Arc::new(connection)));
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
}

/// How time passes.
impl Pair {
    /// Lets the next thing happen; `false` if nothing does before `end`, which it is then.
    fn step(&mut self, end: Instant) -> bool {
        let next = [
            self.agenda.first_key_value().map(|((at, _), _)| *at),
            self.network.next_arrival(),
            self.streams.iter().map(|stream| stream.next_at).min(),
            Side::BOTH.iter().filter_map(|side| self.wake_time(*side)).map(|(at, _)| at).min(),
        ];
        let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(at);
        if !(self.run_task() || self.deliver() || self.run_stream()) {
            self.wake();
        }
        true
    }

    fn run_task(&mut self) -> bool {
        let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= self.now) else {
            return false;
        };
        let now = self.now;
        match entry.remove() {
            Task::Answer(side, id, answer) => {
                self.with_endpoint(side, |endpoint| endpoint.handle_answer(now, id, answer));
            }
            Task::Command(side, command) => self.command(side, command),
        }
        true
    }

    fn deliver(&mut self) -> bool {
        let now = self.now;
        let Some((to, parcel, loss)) = self.network.receive(now) else { return false };
        if parcel.cargo.is_of_ike() {
            self.journal.note(now, to, Entry::Received(parcel.clone(), loss));
        }
        let Parcel { source, destination, cargo } = parcel;
        let is_off = self.node(to).endpoint.is_none();
        match cargo {
            Cargo::Esp(sealed) if loss.is_some() || is_off => self.lost_by_network(sealed.packet),
            Cargo::Ike(bytes) if loss.is_none() => {
                let path = Path { local: destination, remote: source };
                self.with_endpoint(to, |endpoint| {
                    endpoint.handle_datagram(now, Datagram { path, bytes: &bytes })
                });
            }
            Cargo::Esp(sealed) => {
                let arrival = self.node_mut(to).plane.open(now, source, &sealed);
                self.account_arrival(to, arrival);
                self.pass_events(to);
            }
            Cargo::Plain(packet) => {
                let arrival = self.node(to).plane.receive_plain(packet);
                self.account_arrival(to, arrival);
            }
            Cargo::Ike(_) | Cargo::Keepalive => {}
        }
        true
    }

    fn run_stream(&mut self) -> bool {
        let now = self.now;
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.next_at <= now) else { return false };
        stream.next_at = now + stream.every;
        let (flow, octets) = (stream.flow, stream.octets);
        self.packets += 1;
        self.send_packet(Packet { number: self.packets, flow, octets });
        true
    }

    fn send_packet(&mut self, packet: Packet) {
        let from = scenario::side_of(packet.flow.source);
        let now = self.now;
        if self.node(from).endpoint.is_none() {
            self.tallies[from.index()].sent += 1;
            return self.lost_by_network(packet);
        }
        let departure = self.node_mut(from).plane.send(now, packet);
        let tally = &mut self.tallies[from.index()];
        tally.sent += 1;
        match departure {
            Departure::Protected(parcel) => self.transmit(from, parcel),
            Departure::Bypassed(parcel) => {
                tally.bypassed += 1;
                self.transmit(from, parcel);
            }
            Departure::Unguarded(parcel) => {
                tally.unguarded += 1;
                self.transmit(from, parcel);
            }
            Departure::Discarded => tally.discarded += 1,
            Departure::Awaiting => tally.awaiting += 1,
            Departure::NoSa => tally.lost_by_sas.push("a protect policy has no outbound SA".to_owned()),
            Departure::Expired => tally.lost_by_sas.push("the outbound SA is at its hard limit".to_owned()),
        }
        self.pass_events(from);
    }

    fn account_arrival(&mut self, at: Side, arrival: Arrival) {
        let (packet, why) = match arrival {
            Arrival::Opened(packet) => {
                if self.delivered.insert(packet.number) {
                    self.tallies[at.other().index()].delivered += 1;
                }
                return;
            }
            Arrival::UnknownSpi(spi, packet) => (packet, format!("the receiver has no SA {spi}")),
            Arrival::WrongSa(spi, packet) => (packet, format!("the receiver's SA {spi} is another one")),
            Arrival::NotSelected(spi, packet) => {
                (packet, format!("the receiver's SA {spi} does not select it"))
            }
            Arrival::Expired(spi, packet) => {
                (packet, format!("the receiver's SA {spi} is at its hard limit"))
            }
            Arrival::Refused(packet) => (packet, "it came in plaintext".to_owned()),
        };
        // A late copy of a packet that has arrived is nobody's loss.
        if !self.delivered.contains(&packet.number) {
            if self.tallies[at.other().index()].lost_by_sas.len() < LOSSES_NOTED {
                self.journal.note(self.now, at, Entry::Note(format!("packet {} is lost: {why}", packet.number)));
            }
            self.tallies[at.other().index()].lost_by_sas.push(why);
        }
    }

    fn lost_by_network(&mut self, packet: Packet) {
        let from = scenario::side_of(packet.flow.source);
        self.tallies[from.index()].lost_by_network += 1;
    }

    /// Wakes the engine whose time has come.
    fn wake(&mut self) {
        let now = self.now;
        let due = Side::BOTH.into_iter().filter_map(|side| Some((side, self.wake_time(side)?)));
        let Some((side, (_, reason))) = due.min_by_key(|(_, (at, _))| *at) else { return };
        self.wakes = if self.wakes.0 == now { (now, self.wakes.1 + 1) } else { (now, 1) };
        assert!(
            self.wakes.1 < WAKES_AT_ONE_MOMENT,
            "seed {}: the {side} engine wants to be woken for {reason:?} again and again, and time does not pass",
            self.seed
        );
        self.with_endpoint(side, |endpoint| endpoint.handle_timeout(now));
    }

    pub(crate) fn wake_time(&self, side: Side) -> Option<(Instant, TimeoutReason)> {
        self.node(side).endpoint.as_ref()?.poll_timeout()
    }

    /// Gives an engine some input, and carries out what it wants.
    fn with_endpoint(&mut self, side: Side, input: impl FnOnce(&mut Endpoint)) {
        if let Some(endpoint) = &mut self.node_mut(side).endpoint {
            input(endpoint);
            if self.drain(side) {
                self.check_standing(side);
            }
            self.pass_events(side);
        }
    }

    fn pass_events(&mut self, side: Side) {
        while let Some(event) = self.node_mut(side).plane.poll_event() {
            self.tell(side, event);
        }
    }

    /// Carries out what an engine wants; tells whether any of it concerned an SA.
    fn drain(&mut self, side: Side) -> bool {
        let mut concerns_sas = false;
        while let Some(output) = self.node_mut(side).endpoint.as_mut().and_then(Endpoint::poll_output) {
            concerns_sas |= matches!(output, Output::Sa(_) | Output::Event(_));
            self.carry_out(side, output);
        }
        concerns_sas
    }

    fn carry_out(&mut self, side: Side, output: Output) {
        match output {
            Output::Transmit { path, bytes } => {
                let parcel = parcel(path, Cargo::Ike(bytes));
                let sent = &mut self.node_mut(side).sent;
                sent.push_back(parcel.clone());
                if sent.len() > SENT_KEPT {
                    sent.pop_front();
                }
                self.transmit(side, parcel);
            }
            Output::Keepalive(path) => self.transmit(side, parcel(path, Cargo::Keepalive)),
            Output::Sa(op) => {
                self.journal.note(self.now, side, Entry::Ordered(op.clone()));
                self.node_mut(side).plane.apply(op);
            }
            Output::Query { id, query: ike::Query::Path(connection) } => {
                self.answer_path(side, id, &connection)
            }
            Output::Event(event) => self.hear(side, event),
        }
    }

    fn transmit(&mut self, from: Side, parcel: Parcel) {
        let packet = match &parcel.cargo {
            Cargo::Esp(sealed) => Some(sealed.packet),
            Cargo::Ike(_) | Cargo::Keepalive | Cargo::Plain(_) => None,
        };
        let loss = self.network.send(self.now, from, parcel.clone());
        if parcel.cargo.is_of_ike() {
            self.journal.note(self.now, from, Entry::Sent(parcel, loss));
        }
        match (packet, loss) {
            (Some(_), Some(crate::Loss::NotTranslatable)) => {
                let why = "ESP without UDP went to a NAT".to_owned();
                self.tallies[from.index()].lost_by_sas.push(why);
            }
            (Some(packet), Some(_)) => self.lost_by_network(packet),
            (None, _) | (_, None) => {}
        }
    }

    fn answer_path(&mut self, side: Side, id: QueryId, _connection: &Connection) {
        self.journal.note(self.now, side, Entry::Asked(id));
        let local = SocketAddr::new(self.scenario.gateway(side).address, IKE_PORT);
        let remote = SocketAddr::new(self.network.public_address(side.other()), IKE_PORT);
        let delay = self.random.duration(self.scenario.answer_delay.clone());
        self.schedule(delay, Task::Answer(side, id, Answer::Path(Ok(Path { local, remote }))));
    }

    fn hear(&mut self, side: Side, event: Event) {
        self.journal.note(self.now, side, Entry::Event(Box::new(event.clone())));
        if let Event::Finished { ticket, result } = &event {
            match self.tickets.get_mut(ticket) {
                Some(errand) if errand.result.is_none() => errand.result = Some(result.clone()),
                Some(_) => self.faults.push(format!("{side} finished {ticket:?} twice")),
                None => self.faults.push(format!("{side} finished {ticket:?}, which nobody gave")),
            }
        }
        if !matches!(event, Event::Message(_)) {
            self.node_mut(side).events.push(event);
        }
    }

    fn schedule(&mut self, after: Duration, task: Task) {
        self.tasks += 1;
        self.agenda.insert((self.now + after, self.tasks), task);
    }

    /// Tells whether nothing is to happen that was not there before.
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
            plane: Plane::new(gateway.address, SpiPool::default()),
            events: Vec::new(),
            sent: VecDeque::new(),
        }
    }
}

fn parcel(path: Path, cargo: Cargo) -> Parcel {
    Parcel { source: path.local, destination: path.remote, cargo }
}

/// The name of every scenario's connection.
pub const CONNECTION: &str = "site";

const IKE_PORT: u16 = 500;
const LOSSES_NOTED: usize = 5;
const SENT_KEPT: usize = 64;
const WAKES_AT_ONE_MOMENT: u32 = 1000;
