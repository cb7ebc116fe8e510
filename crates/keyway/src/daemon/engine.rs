//! The glue loop: the one task that owns the IKE engine and gives orders to the data plane.
//!
//! ```text
//!   data plane ── IKE datagrams, SA events ─┐                    ┌─► Transmit, Keepalive, Sa ── data plane
//!   clients ───── orders ───────────────────┼─► IKE engine ──────┼─► Query ── a task that asks the host
//!   look-ups ──── answers ──────────────────┤    (Endpoint)      └─► Event ── log, clients, waiting commands
//!   the clock ── poll_timeout ──────────────┘
//! ```
//!
//! After every input all outputs are carried out, in their order, before the next input is looked at: the order is the
//! protocol. Nothing here waits for a socket, a name or a client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use config::{AddressSpec, StartAction, Treatment};
use crypto::SystemRandom;
use dataplane::{Dataplane, Delivery, IkeDatagram, PlaneEvent, Usage};
use ike::{
    Answer, Command, Connection, Datagram, Endpoint, Failure, Output, Path, Query, QueryId, SpiSource, Ticket,
};
use sa::{SaId, SaOp, Spi};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::announce::Announcer;
use super::handle::{Changes, Order, Outcome, Snapshot};
use super::limits;
use super::loaded::{Loaded, LoadedConnection, LoadedSecret};
use super::lower;
use super::resolve::{self, OwnSockets};
use super::shunts::Shunts;

/// What reaches the loop, apart from the clock.
pub(crate) struct Inputs {
    /// Orders of clients.
    pub(crate) orders: mpsc::Receiver<Order>,
    /// What the data plane reports.
    pub(crate) plane: PlaneInputs,
}

/// What the data plane reports: datagrams within bounds, and what must not be lost.
pub(crate) struct PlaneInputs {
    datagrams: mpsc::Receiver<IkeDatagram>,
    events: mpsc::UnboundedReceiver<PlaneEvent>,
}

impl PlaneInputs {
    /// Makes the two queues, and the function that the data plane is to call.
    pub(crate) fn channel() -> (impl Fn(PlaneEvent) -> Delivery + Send + Sync + 'static, PlaneInputs) {
        let (datagrams_in, datagrams) = mpsc::channel(limits::IKE_QUEUE);
        let (events_in, events) = mpsc::unbounded_channel();
        let deliver = move |event| {
            let taken = match event {
                PlaneEvent::Ike(datagram) => datagrams_in.try_send(datagram).is_ok(),
                PlaneEvent::Sa(_) | PlaneEvent::HostFault(_) => events_in.send(event).is_ok(),
            };
            if taken { Delivery::Taken } else { Delivery::Refused }
        };
        (deliver, PlaneInputs { datagrams, events })
    }
}

/// The loop's state.
pub(crate) struct EngineLoop {
    endpoint: Endpoint,
    plane: Arc<Dataplane>,
    own: OwnSockets,
    loaded: Loaded,
    shunts: Shunts,
    announcer: Announcer,
    waiting: BTreeMap<Ticket, oneshot::Sender<Outcome>>,
    /// What SAs had carried when they were removed, until the event that says so has been told.
    last_usage: BTreeMap<SaId, Usage>,
    answers: mpsc::UnboundedSender<(QueryId, Answer)>,
    answered: mpsc::UnboundedReceiver<(QueryId, Answer)>,
}

/// Comes back from commands that nobody waits for.
const NOBODY: Ticket = Ticket(0);

impl EngineLoop {
    /// Makes the loop of an engine that has no connections yet.
    pub(crate) fn new(
        settings: ike::Settings,
        plane: Arc<Dataplane>,
        own: OwnSockets,
        announcer: Announcer,
    ) -> EngineLoop {
        let spis = PlaneSpis { plane: Arc::clone(&plane) };
        let (answers, answered) = mpsc::unbounded_channel();
        EngineLoop {
            endpoint: Endpoint::new(settings, Box::new(SystemRandom), Box::new(spis), Instant::now()),
            plane,
            own,
            loaded: Loaded::default(),
            shunts: Shunts::default(),
            announcer,
            waiting: BTreeMap::new(),
            last_usage: BTreeMap::new(),
            answers,
            answered,
        }
    }

    /// Runs until [`Order::Stop`].
    pub(crate) async fn run(mut self, mut inputs: Inputs) {
        loop {
            let deadline = self.endpoint.poll_timeout().map(|(at, _)| at);
            tokio::select! {
                Some(datagram) = inputs.plane.datagrams.recv() => self.take_datagram(&datagram),
                Some(event) = inputs.plane.events.recv() => self.take_plane_event(event),
                Some((id, answer)) = self.answered.recv() => self.endpoint.handle_answer(Instant::now(), id, answer),
                order = inputs.orders.recv() => match order {
                    Some(Order::Stop) | None => return,
                    Some(order) => self.take_order(order),
                },
                () = wake_at(deadline) => self.endpoint.handle_timeout(Instant::now()),
            }
            self.carry_out();
            self.announcer.sum_up(Instant::now(), self.endpoint.counters());
        }
    }

    fn take_datagram(&mut self, datagram: &IkeDatagram) {
        let path = Path { local: datagram.local, remote: datagram.remote };
        self.endpoint.handle_datagram(Instant::now(), Datagram { path, bytes: &datagram.bytes });
    }

    fn take_plane_event(&mut self, event: PlaneEvent) {
        match event {
            PlaneEvent::Ike(datagram) => self.take_datagram(&datagram),
            PlaneEvent::Sa(event) => self.endpoint.handle_sa_event(Instant::now(), event),
            PlaneEvent::HostFault(sentence) => tracing::error!("{sentence}; traffic may pass unprotected"),
        }
    }

    /// Carries out every output of the engine, in order.
    fn carry_out(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { path, bytes } => {
                    self.plane.send_ike(IkeDatagram { local: path.local, remote: path.remote, bytes });
                }
                Output::Keepalive(path) => self.plane.send_keepalive(path.local, path.remote),
                Output::Sa(op) => self.order_plane(op),
                Output::Query { id, query: Query::Path(connection) } => self.find_path(id, connection),
                Output::Event(ike::Event::Finished { ticket, result }) => self.finish(ticket, result),
                Output::Event(event) => self.tell(event),
            }
        }
        self.last_usage.clear();
    }

    fn order_plane(&mut self, op: SaOp) {
        if let SaOp::RemoveSa(sa) = &op
            && let Some(usage) = self.plane.usage(*sa)
        {
            self.last_usage.insert(*sa, usage);
        }
        self.plane.apply(op);
    }

    /// Looks for the way to a peer in a task of its own, for names may take long.
    fn find_path(&self, id: QueryId, connection: Arc<Connection>) {
        let config = self.loaded.connections.get(&connection.name).map(|loaded| Arc::clone(&loaded.config));
        let (answers, own) = (self.answers.clone(), self.own);
        tokio::spawn(async move {
            let path = match config {
                Some(config) => path_to_peer(&config, own).await,
                None => Err(format!("the connection {} is no longer loaded", connection.name)),
            };
            // The loop may have ended meanwhile; then nobody asks any more.
            let _ = answers.send((id, Answer::Path(path)));
        });
    }

    fn finish(&mut self, ticket: Ticket, result: Result<(), Failure>) {
        match &result {
            // What was mistyped, or ended by another command, concerns only whoever gave the command.
            Ok(()) | Err(Failure::NotFound(_) | Failure::Terminated) => {}
            Err(failure) => tracing::warn!(target: "ike::sa", "{failure}"),
        }
        if let Some(done) = self.waiting.remove(&ticket) {
            give(done, result.map_err(|failure| failure.to_string()));
        }
    }

    fn tell(&mut self, event: ike::Event) {
        let (plane, last) = (&self.plane, &self.last_usage);
        self.announcer.tell(Instant::now(), event, |sa| plane.usage(sa).or_else(|| last.get(&sa).copied()));
    }

    fn take_order(&mut self, order: Order) {
        match order {
            Order::Snapshot(answer) => give(answer, self.snapshot()),
            Order::Perform { command, ticket, done } => self.perform(command, ticket, done),
            Order::LoadConnection(connection, done) => {
                self.load_connection(*connection);
                give(done, Ok(()));
            }
            Order::UnloadConnection(name, done) => give(done, self.unload_connection(&name)),
            Order::LoadSecret(secret, done) => {
                self.load_secret(*secret);
                give(done, Ok(()));
            }
            Order::UnloadSecret(name, done) => give(done, self.unload_secret(&name)),
            Order::ClearSecrets(done) => {
                while let Some(name) = self.loaded.secrets.keys().next().cloned() {
                    self.forget_secret(&name);
                }
                give(done, Ok(()));
            }
            Order::Configure { connections, secrets, done } => {
                give(done, self.configure(connections, secrets));
            }
            Order::Stop => {}
        }
    }

    fn snapshot(&self) -> Snapshot {
        let ike_sas = self.endpoint.ike_sas();
        let children = ike_sas.iter().flat_map(|ike| &ike.children);
        let sas = children.flat_map(|child| [child.inbound, child.outbound]);
        Snapshot {
            now: Instant::now(),
            usage: sas.filter_map(|sa| Some((sa, self.plane.usage(sa)?))).collect(),
            ike_sas,
            loaded: self.loaded.clone(),
            traps: self
                .endpoint
                .traps()
                .map(|(connection, child, _)| (connection.to_owned(), child.to_owned()))
                .collect(),
            shunts: self.shunts.clone(),
            counters: self.endpoint.counters(),
            drops: self.plane.drops(),
        }
    }

    fn perform(&mut self, command: Command, ticket: Ticket, done: oneshot::Sender<Outcome>) {
        match self.perform_on_shunt(&command) {
            Some(outcome) => give(done, outcome),
            None => {
                self.waiting.retain(|_, done| !done.is_closed());
                self.waiting.insert(ticket, done);
                self.command(command);
            }
        }
    }

    /// Installs or uninstalls a child that needs no SA; `None` if the command is about anything else.
    fn perform_on_shunt(&mut self, command: &Command) -> Option<Outcome> {
        match command {
            Command::Install { connection, child, .. } => {
                let config = Arc::clone(&self.loaded.connections.get(connection)?.config);
                match self.shunts.install(connection, config.child(child)?) {
                    Ok(op) => op.map(|op| {
                        self.order_plane(op);
                        Ok(())
                    }),
                    Err(sentence) => Some(Err(sentence)),
                }
            }
            Command::Uninstall { connection, child, .. } => {
                let op = self.shunts.uninstall(connection, child)?;
                self.order_plane(op);
                Some(Ok(()))
            }
            Command::Load(_)
            | Command::Unload(_)
            | Command::LoadSecret(_)
            | Command::UnloadSecret(_)
            | Command::Initiate { .. }
            | Command::RekeyIke { .. }
            | Command::RekeyChild { .. }
            | Command::TerminateIke { .. }
            | Command::ForgetIke { .. }
            | Command::TerminateChild { .. } => None,
        }
    }

    fn configure(&mut self, connections: Vec<LoadedConnection>, secrets: Vec<LoadedSecret>) -> Changes {
        let difference = self.loaded.difference(connections, secrets);
        let changes = difference.changes();
        // Secrets first: what is loaded may come up at once and need them. What goes goes last: a connection that has
        // only another name now keeps its traffic protected.
        difference.load_secrets.into_iter().for_each(|secret| self.load_secret(secret));
        difference.unload_secrets.iter().for_each(|name| self.forget_secret(name));
        difference.load_connections.into_iter().for_each(|connection| self.load_connection(connection));
        difference.unload_connections.iter().for_each(|name| self.forget_connection(name));
        changes
    }

    /// What is new stands before what it replaces goes: no packet meets a moment without a policy.
    fn load_connection(&mut self, connection: LoadedConnection) {
        let name = connection.engine.name.clone();
        let renewal = self.shunts.renew(&connection.config);
        renewal.install.into_iter().for_each(|op| self.order_plane(op));
        self.command(Command::Load(Arc::clone(&connection.engine)));
        for child in &connection.config.children {
            let is_protected = matches!(child.treatment, Treatment::Protect(_));
            if is_protected && child.start_action == StartAction::TrapAndStart {
                let (connection, child) = (name.clone(), child.name.clone());
                self.command(Command::Install { connection, child, ticket: NOBODY });
            }
        }
        for sentence in renewal.refused {
            tracing::error!(connection = name, "{sentence}");
        }
        self.loaded.connections.insert(name, connection);
        self.carry_out();
        renewal.remove.into_iter().for_each(|op| self.order_plane(op));
    }

    fn unload_connection(&mut self, name: &str) -> Outcome {
        if !self.loaded.connections.contains_key(name) {
            return Err(format!("no connection named `{name}` is loaded"));
        }
        self.forget_connection(name);
        Ok(())
    }

    fn forget_connection(&mut self, name: &str) {
        for op in self.shunts.uninstall_all(name) {
            self.order_plane(op);
        }
        self.loaded.connections.remove(name);
        self.command(Command::Unload(name.to_owned()));
    }

    fn load_secret(&mut self, secret: LoadedSecret) {
        self.command(Command::LoadSecret(secret.secret.clone()));
        self.loaded.secrets.insert(secret.secret.name.clone(), secret);
    }

    fn unload_secret(&mut self, name: &str) -> Outcome {
        if !self.loaded.secrets.contains_key(name) {
            return Err(format!("no secret named `{name}` is loaded"));
        }
        self.forget_secret(name);
        Ok(())
    }

    fn forget_secret(&mut self, name: &str) {
        self.loaded.secrets.remove(name);
        self.command(Command::UnloadSecret(name.to_owned()));
    }

    fn command(&mut self, command: Command) {
        self.endpoint.handle_command(Instant::now(), command);
    }
}

/// Answers an order. That whoever gave it is gone by now is no fault.
fn give<T>(done: oneshot::Sender<T>, answer: T) {
    let _ = done.send(answer);
}

/// Takes SPIs from the data plane, which knows those in use.
struct PlaneSpis {
    plane: Arc<Dataplane>,
}

impl SpiSource for PlaneSpis {
    fn allocate(&mut self, random: u32) -> Spi {
        self.plane.allocate_spi(random).unwrap_or_else(|error| {
            tracing::error!(%error, "no SPI is free; the SA will be refused");
            Spi(random.max(Spi::LOWEST.0))
        })
    }
}

async fn wake_at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Looks a connection's names up again, and finds the way to the first address that can be reached.
async fn path_to_peer(config: &config::Connection, own: OwnSockets) -> Result<Path, String> {
    let mut complaints = Vec::new();
    let local = lower::addresses(&config.local_addresses, &mut |sentence| complaints.push(sentence)).await;
    let mut remote = Vec::new();
    for spec in &config.remote_addresses {
        match spec {
            AddressSpec::Host(address) => remote.push(*address),
            AddressSpec::Name(name) => match resolve::addresses_of(name).await {
                Ok(addresses) => remote.extend(addresses),
                Err(sentence) => complaints.push(sentence),
            },
            AddressSpec::Any | AddressSpec::AnyOf(_) | AddressSpec::Range(_) => {}
        }
    }
    if let (true, Some(sentence)) = (remote.is_empty(), complaints.pop()) {
        return Err(sentence);
    }
    if remote.is_empty() {
        let written: Vec<String> = config.remote_addresses.iter().map(ToString::to_string).collect();
        return Err(format!("remote_addrs = {} names no single address to call", written.join(", ")));
    }
    resolve::path(&local, &remote, config.remote_port, own)
}
