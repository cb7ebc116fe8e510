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

mod questions;
mod scripts;
mod view;

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Instant;

use config::{AddressUse, ManualSa};
use credentials::Credentials;
use crypto::SystemRandom;
use dataplane::{Dataplane, Delivery, IkeDatagram, PlaneEvent};
use ike::{
    Answer, Command, Datagram, Endpoint, Failure, NoCounts, Output, Path, Query, QueryId, SpiSource, Ticket,
};
use sa::{SaId, SaOp, Spi};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use self::view::plane_status;
use super::announce::Announcer;
use super::charon::ForClients;
use super::handle::{Changes, Order, Outcome, PlaneStatus};
use super::interfaces::Interfaces;
use super::keyring::{Keyring, KeyringChange};
use super::leases::Leases;
use super::limits;
use super::loaded::{Loaded, LoadedConnection, LoadedPool, LoadedSecret, Wanted};
use super::manual_keying::ManualSas;
use super::proving::LookUp;
use super::resolve::{self, OwnSockets};
use super::revocation::{Authorities, Revocation};
use super::scripts::Scripts;
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
                PlaneEvent::Sa(_) | PlaneEvent::Uplinks(_) | PlaneEvent::HostFault(_) => {
                    events_in.send(event).is_ok()
                }
            };
            if taken { Delivery::Taken } else { Delivery::Refused }
        };
        (deliver, PlaneInputs { datagrams, events })
    }
}

/// What the loop uses of the world outside, apart from the data plane.
pub(crate) struct Outside {
    /// Our own sockets.
    pub(crate) own: OwnSockets,
    /// Who tells people what happens.
    pub(crate) announcer: Announcer,
    /// Who asks whether certificates are revoked.
    pub(crate) revocation: Arc<Revocation>,
    /// Whether certificates are fetched from where a peer says that they are.
    pub(crate) look_up: LookUp,
    /// What runs when Child SAs come and go.
    pub(crate) scripts: Scripts,
    /// What every client is told beside what its pool has.
    pub(crate) for_clients: ForClients,
    /// What becomes of virtual addresses that peers give.
    pub(crate) virtual_addresses: AddressUse,
    /// The TUN device of all traffic that has none of its own.
    pub(crate) tun_name: String,
}

/// The loop's state.
pub(crate) struct EngineLoop {
    endpoint: Endpoint,
    plane: Arc<Dataplane>,
    outside: Outside,
    loaded: Loaded,
    shunts: Shunts,
    interfaces: Interfaces,
    manual: ManualSas,
    keyring: Keyring,
    /// All of the keyring together, with what connections want of it.
    credentials: Arc<Credentials>,
    leases: Leases,
    /// What is configured of CAs.
    authorities: Arc<Authorities>,
    waiting: BTreeMap<Ticket, oneshot::Sender<Outcome>>,
    /// What was to be told of SAs when they were removed, until the event that says so has been told.
    last_status: BTreeMap<SaId, PlaneStatus>,
    answers: mpsc::UnboundedSender<(QueryId, Answer)>,
    answered: mpsc::UnboundedReceiver<(QueryId, Answer)>,
}

impl EngineLoop {
    /// Makes the loop of an engine that has no connections yet; `usual_mtu` is that of devices that have none of their own.
    pub(crate) fn new(
        settings: ike::Settings,
        plane: Arc<Dataplane>,
        usual_mtu: u16,
        leases: Leases,
        outside: Outside,
    ) -> EngineLoop {
        let spis = PlaneSpis { plane: Arc::clone(&plane) };
        let (answers, answered) = mpsc::unbounded_channel();
        EngineLoop {
            endpoint: Endpoint::new(settings, Box::new(SystemRandom), Box::new(spis), Instant::now()),
            plane,
            outside,
            loaded: Loaded::default(),
            shunts: Shunts::default(),
            interfaces: Interfaces::new(usual_mtu),
            manual: ManualSas::default(),
            keyring: Keyring::default(),
            credentials: Arc::default(),
            leases,
            authorities: Arc::default(),
            waiting: BTreeMap::new(),
            last_status: BTreeMap::new(),
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
                    Some(Order::Stop) | None => break,
                    Some(order) => self.take_order(order),
                },
                () = wake_at(deadline) => self.endpoint.handle_timeout(Instant::now()),
            }
            self.carry_out();
            self.outside.announcer.sum_up(Instant::now(), self.endpoint.counters());
        }
        self.outside.scripts.finish().await;
    }

    fn take_datagram(&mut self, datagram: &IkeDatagram) {
        let path = Path { local: datagram.local, remote: datagram.remote };
        self.endpoint.handle_datagram(Instant::now(), Datagram { path, bytes: &datagram.bytes });
    }

    fn take_plane_event(&mut self, event: PlaneEvent) {
        match event {
            PlaneEvent::Ike(datagram) => self.take_datagram(&datagram),
            PlaneEvent::Sa(event) => match self.manual.note(&event) {
                Some((name, sentence)) => tracing::error!(manual = name, "{sentence}"),
                None => self.endpoint.handle_sa_event(Instant::now(), event),
            },
            PlaneEvent::Uplinks(addresses) => self.command(Command::HostChanged(addresses)),
            PlaneEvent::HostFault(sentence) => tracing::error!("{sentence}"),
        }
    }

    /// Carries out every output of the engine, in order.
    fn carry_out(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { path, bytes } => {
                    self.plane.send_ike(IkeDatagram { local: path.local, remote: path.remote, bytes });
                }
                Output::Probe { path, bytes } => {
                    self.plane.send_probe(IkeDatagram { local: path.local, remote: path.remote, bytes });
                }
                Output::Keepalive(path) => self.plane.send_keepalive(path.local, path.remote),
                Output::TakeAddress(_) | Output::DropAddress(_)
                    if self.outside.virtual_addresses == AddressUse::LeftAlone => {}
                Output::TakeAddress(address) => self.plane.take_address(address),
                Output::DropAddress(address) => self.plane.drop_address(address),
                Output::TakeNameServers(told) => {
                    self.plane.take_name_servers(told.connection, told.servers, told.domain);
                }
                Output::DropNameServers(connection) => self.plane.drop_name_servers(&connection),
                Output::Lease(change) => self.leases.note(change),
                Output::Sa(op) => self.order_plane(op),
                Output::Query { id, query: Query::Path(connection) } => self.find_path(id, connection),
                Output::Query { id, query: Query::Route { connection, remotes } } => {
                    let route = resolve::path(
                        &connection.local_addresses,
                        &remotes,
                        self.outside.own.ike_port,
                        self.outside.own,
                    );
                    self.endpoint.handle_answer(Instant::now(), id, Answer::Path(route));
                }
                Output::Query { id, query: Query::Gateway { connection, gateway } } => {
                    self.find_gateway(id, connection, gateway);
                }
                Output::Query { id, query: Query::Link(remote) } => {
                    let link = self.plane.link_mtu(remote);
                    self.endpoint.handle_answer(Instant::now(), id, Answer::Link(link));
                }
                Output::Query { id, query: Query::Idle { inbound, outbound } } => {
                    let last =
                        [inbound, outbound].into_iter().filter_map(|sa| self.plane.usage(sa)?.idle).min();
                    self.endpoint.handle_answer(Instant::now(), id, Answer::Idle(last));
                }
                Output::Query { id, query: Query::Trust(request) } => self.find_trust(id, *request),
                Output::Query { id, query: Query::Sign(request) } => self.find_signature(id, *request),
                Output::Query { id, query: Query::Decrypt(request) } => self.decrypt(id, *request),
                Output::Event(ike::Event::Finished { ticket, result }) => self.finish(ticket, result),
                Output::Event(event) => self.tell(event),
            }
        }
        self.outside.announcer.tell_the_rest(Instant::now());
        self.last_status.clear();
        self.interfaces.remove_unused(&*self.plane);
    }

    fn order_plane(&mut self, op: SaOp) {
        if let SaOp::RemoveSa(sa) = &op
            && let Some(status) = plane_status(&self.plane, &self.interfaces, *sa)
        {
            self.last_status.insert(*sa, status);
        }
        self.interfaces.note(&op);
        self.plane.apply(op);
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
        self.run_scripts(&event);
        let (plane, interfaces, last) = (&self.plane, &self.interfaces, &self.last_status);
        self.outside.announcer.tell(Instant::now(), event, |sa| {
            plane_status(plane, interfaces, sa).or_else(|| last.get(&sa).cloned())
        });
    }

    fn take_order(&mut self, order: Order) {
        match order {
            Order::Pulse(answer) => give(answer, ()),
            Order::Snapshot(answer) => give(answer, self.snapshot()),
            Order::IkeSpis(answer) => give(answer, self.endpoint.ike_spis()),
            Order::DescribeSas(spis, answer) => give(answer, self.describe_sas(&spis)),
            Order::Tally(answer) => give(answer, self.endpoint.tally().clone()),
            Order::ResetTally(scope, done) => {
                let outcome = self.endpoint.reset_tally(&scope);
                give(done, outcome.map_err(|NoCounts| "no counters found for this connection".to_owned()));
            }
            Order::Perform { command, ticket, done } => self.perform(command, ticket, done),
            Order::LoadConnection(connection, done) => {
                self.interfaces.make(&*self.plane, self.loaded.interfaces().chain(connection.interfaces()));
                self.load_connection(*connection);
                self.settle_interfaces();
                give(done, Ok(()));
            }
            Order::UnloadConnection(name, done) => {
                let outcome = self.unload_connection(&name);
                self.settle_interfaces();
                give(done, outcome);
            }
            Order::LoadSecret(secret, done) => {
                self.load_secret(*secret);
                give(done, Ok(()));
            }
            Order::UnloadSecret(name, done) => give(done, self.unload_secret(&name)),
            Order::Pools(answer) => give(answer, self.endpoint.pools()),
            Order::LoadPool(pool, done) => {
                self.load_pool(*pool);
                give(done, Ok(()));
            }
            Order::UnloadPool(name, done) => give(done, self.unload_pool(&name)),
            Order::ClearSecrets(done) => {
                while let Some(name) = self.loaded.secrets.keys().next().cloned() {
                    self.forget_secret(&name);
                }
                self.keyring.clear();
                self.turn_keyring();
                give(done, Ok(()));
            }
            Order::ChangeKeyring(change, done) => give(done, self.change_keyring(*change)),
            Order::Configure { wanted, done } => give(done, self.configure(*wanted)),
            Order::UnblockLeft(done) => give(done, self.plane.unblock().map_err(|error| error.to_string())),
            Order::DiscloseKeys(wanted) => {
                let outcome = self.disclose_keys(Some(wanted.directory()));
                wanted.answer(outcome);
            }
            // To end it never fails.
            Order::ConcealKeys => drop(self.disclose_keys(None)),
            Order::Stop => {}
        }
    }

    fn disclose_keys(&mut self, to: Option<&FilePath>) -> Outcome {
        let disclosure = self.outside.announcer.disclose(to)?;
        self.command(Command::DiscloseKeys(disclosure));
        Ok(())
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
            | Command::Unblock { .. }
            | Command::Unload(_)
            | Command::LoadPool(_)
            | Command::UnloadPool(_)
            | Command::RestoreLeases { .. }
            | Command::LoadSecret(_)
            | Command::UnloadSecret(_)
            | Command::TrustAuthorities(_)
            | Command::HostChanged(_)
            | Command::DiscloseKeys(_)
            | Command::OwnKeys(_)
            | Command::Initiate { .. }
            | Command::RekeyIke { .. }
            | Command::ReauthenticateIke { .. }
            | Command::RekeyChild { .. }
            | Command::Redirect { .. }
            | Command::SynchronizeCounters { .. }
            | Command::TerminateIke { .. }
            | Command::ForgetIke { .. }
            | Command::TerminateChild { .. } => None,
        }
    }

    fn configure(&mut self, mut wanted: Wanted) -> Changes {
        let ring = std::mem::take(&mut wanted.ring);
        let difference = self.loaded.difference(wanted);
        let mut changes = difference.changes();
        changes.note_ring(ring != self.keyring.files);
        self.interfaces.make(&*self.plane, self.loaded.interfaces().chain(difference.interfaces()));
        // Secrets and keys first: what is loaded may come up at once and need them. What goes goes last: a connection that has
        // only another name now keeps its traffic protected.
        difference.load_secrets.into_iter().for_each(|secret| self.load_secret(secret));
        self.keyring.files = ring;
        self.turn_keyring();
        difference.unload_secrets.iter().for_each(|name| self.forget_secret(name));
        difference.load_pools.into_iter().for_each(|pool| self.load_pool(pool));
        difference.load_connections.into_iter().for_each(|connection| self.load_connection(connection));
        difference.load_manual.into_iter().for_each(|manual| self.load_manual(manual));
        difference.unload_pools.iter().for_each(|name| self.forget_pool(name));
        difference.unload_connections.iter().for_each(|name| self.forget_connection(name));
        difference.unload_manual.iter().for_each(|name| self.forget_manual(name));
        self.settle_interfaces();
        changes
    }

    /// Takes the devices away that nothing loaded names any more, once nothing uses them.
    fn settle_interfaces(&mut self) {
        self.carry_out();
        self.interfaces.settle(&*self.plane, self.loaded.interfaces());
    }

    /// What is new stands before what it replaces goes: no packet meets a moment without a policy.
    fn load_connection(&mut self, connection: LoadedConnection) {
        let name = connection.engine.name.clone();
        let renewal = self.shunts.renew(&connection.config);
        renewal.install.into_iter().for_each(|op| self.order_plane(op));
        let engine = Arc::clone(&connection.engine);
        // It may come up at once, and its certificates are looked for by its name.
        let wishes = Arc::clone(&connection.wishes);
        Arc::make_mut(&mut self.credentials).connections.insert(name.clone(), wishes);
        // It may name CAs of its own.
        self.command(Command::TrustAuthorities(self.credentials.authorities()));
        self.loaded.connections.insert(name.clone(), connection);
        self.tell_own_keys();
        self.command(Command::Load(engine));
        for sentence in renewal.refused {
            tracing::error!(connection = name, "{sentence}");
        }
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
        Arc::make_mut(&mut self.credentials).connections.remove(name);
        self.command(Command::Unload(name.to_owned()));
    }

    /// Puts certificates and keys together anew, and tells the engine whom it may name as trusted.
    fn turn_keyring(&mut self) {
        let wishes = self.loaded.connections.iter().map(|(name, loaded)| (name, &loaded.wishes));
        self.credentials = Arc::new(self.keyring.credentials(wishes));
        self.authorities = Arc::new(self.keyring.authorities().map(|(_, own)| own.clone()).collect());
        self.command(Command::TrustAuthorities(self.credentials.authorities()));
        self.tell_own_keys();
    }

    /// Tells the engine which private keys we have: version 1 offers what they can do.
    fn tell_own_keys(&mut self) {
        let connections = self.loaded.connections.iter();
        let keys =
            connections.map(|(name, loaded)| (name.clone(), self.credentials.own_keys(&loaded.engine)));
        let keys = keys.collect();
        self.command(Command::OwnKeys(keys));
    }

    fn change_keyring(&mut self, change: KeyringChange) -> Outcome {
        change.carry_out(&mut self.keyring)?;
        self.turn_keyring();
        Ok(())
    }

    fn load_manual(&mut self, manual: Arc<ManualSa>) {
        for op in self.manual.install(Arc::clone(&manual), Instant::now()) {
            self.order_plane(op);
        }
        self.loaded.manual.insert(manual.name.clone(), manual);
    }

    fn forget_manual(&mut self, name: &str) {
        for op in self.manual.uninstall(name) {
            self.order_plane(op);
        }
        self.loaded.manual.remove(name);
    }

    fn load_pool(&mut self, loaded: LoadedPool) {
        self.command(Command::LoadPool(Box::new(self.outside.for_clients.added_to(loaded.pool.clone()))));
        if let Some(command) = self.leases.restore(&loaded.pool.name) {
            self.command(command);
        }
        self.loaded.pools.insert(loaded.pool.name.clone(), loaded);
    }

    fn unload_pool(&mut self, name: &str) -> Outcome {
        let Some(status) = self.endpoint.pools().into_iter().find(|status| status.pool.name == name) else {
            return Err(format!("no pool named `{name}` is loaded"));
        };
        let online = status.leases.iter().filter(|lease| lease.is_online).count();
        if online > 0 {
            return Err(format!(
                "`{name}` is in use: {online} of its addresses are leased to clients that are connected"
            ));
        }
        self.forget_pool(name);
        Ok(())
    }

    fn forget_pool(&mut self, name: &str) {
        self.loaded.pools.remove(name);
        self.command(Command::UnloadPool(name.to_owned()));
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
