//! How time passes: it stands still while something is handled, and jumps to the next thing that happens. After each
//! input an engine is drained, its orders are carried out in their order, and its invariants are checked.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ike::{Answer, Datagram, Endpoint, Event, GatewayName, Output, Path, Query, QueryId, TimeoutReason};

use super::{Pair, Task};
use crate::journal::Entry;
use crate::plane::{Arrival, Departure};
use crate::{Cargo, Loss, Packet, Parcel, Side, authority, scenario};

impl Pair {
    /// Lets the next thing happen; `false` if nothing does before `end`, which it is then.
    pub(super) fn step(&mut self, end: Instant) -> bool {
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
                let arrival = self.node_mut(to).plane.open(now, source, destination.ip(), &sealed);
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
            Departure::Blocked => tally.blocked += 1,
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
            Arrival::WrongAddresses(spi, packet) => (
                packet,
                format!("the receiver's SA {spi} does not know the addresses that its checksums cover"),
            ),
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
                self.journal.note(
                    self.now,
                    at,
                    Entry::Note(format!("packet {} is lost: {why}", packet.number)),
                );
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
    pub(super) fn with_endpoint(&mut self, side: Side, input: impl FnOnce(&mut Endpoint)) {
        if let Some(endpoint) = &mut self.node_mut(side).endpoint {
            input(endpoint);
            if self.drain(side) {
                self.check_standing(side);
            }
            self.pass_events(side);
        }
    }

    pub(super) fn pass_events(&mut self, side: Side) {
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
            Output::Transmit { path, bytes } | Output::Probe { path, bytes } => {
                let parcel = parcel(path, Cargo::Ike(bytes));
                let sent = &mut self.node_mut(side).sent;
                sent.push_back(parcel.clone());
                if sent.len() > SENT_KEPT {
                    sent.pop_front();
                }
                self.transmit(side, parcel);
            }
            Output::Keepalive(path) => self.transmit(side, parcel(path, Cargo::Keepalive)),
            Output::TakeAddress(address) => self.node_mut(side).plane.take_address(address),
            Output::DropAddress(address) => self.node_mut(side).plane.drop_address(address),
            Output::TakeNameServers(told) => self.node_mut(side).plane.take_name_servers(told),
            Output::DropNameServers(connection) => self.node_mut(side).plane.drop_name_servers(&connection),
            Output::Lease(_) => {}
            Output::Sa(op) => {
                self.journal.note(self.now, side, Entry::Ordered(op.clone()));
                self.node_mut(side).plane.apply(op);
            }
            Output::Query { id, query: Query::Path(_) } => self.answer_path(side, id),
            Output::Query { id, query: Query::Route { remotes, .. } } => {
                self.answer_route(side, id, &remotes)
            }
            Output::Query { id, query: Query::Gateway { gateway, .. } } => {
                // The other side's last address is known by every name.
                let named = self.scenario.gateway(side.other()).addresses().pop();
                let address = match gateway {
                    GatewayName::Address(address) => Some(address),
                    GatewayName::Fqdn(_) => named,
                };
                self.answer_route(side, id, address.as_slice());
            }
            Output::Query { id, query: query @ (Query::Sign(_) | Query::Trust(_) | Query::Decrypt(_)) } => {
                self.answer_of_credentials(side, id, &query);
            }
            Output::Query { id, query: Query::Link(_) } => {
                let link = self.scenario.gateway(side).link;
                self.schedule(Duration::ZERO, Task::Answer(side, id, Answer::Link(Some(link))));
            }
            Output::Query { id, query: Query::Idle { inbound, outbound } } => {
                let used = [inbound, outbound].map(|sa| self.node(side).plane.sas().get(&sa)?.used_at);
                let idle = used.into_iter().flatten().max().map(|at| self.now.duration_since(at));
                self.schedule(Duration::ZERO, Task::Answer(side, id, Answer::Idle(idle)));
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
            (Some(_), Some(Loss::NotTranslatable)) => {
                let why = "ESP without UDP went to a NAT".to_owned();
                self.tallies[from.index()].lost_by_sas.push(why);
            }
            (Some(packet), Some(_)) => self.lost_by_network(packet),
            (None, _) | (_, None) => {}
        }
    }

    fn answer_path(&mut self, side: Side, id: QueryId) {
        self.journal.note(self.now, side, Entry::Asked(id));
        let local = SocketAddr::new(self.scenario.gateway(side).address, IKE_PORT);
        let remote = SocketAddr::new(self.network.public_address(side.other()), IKE_PORT);
        let delay = self.random.duration(self.scenario.answer_delay.clone());
        self.schedule(delay, Task::Answer(side, id, Answer::Path(Ok(Path { local, remote }))));
    }

    /// Whatever family has an address here has a way there.
    fn answer_route(&mut self, side: Side, id: QueryId, remotes: &[IpAddr]) {
        self.journal.note(self.now, side, Entry::Asked(id));
        let own = self.scenario.gateway(side).addresses();
        let pairs = remotes.iter().flat_map(|remote| own.iter().map(move |local| (*local, *remote)));
        let fitting = pairs.into_iter().find(|(local, remote)| local.is_ipv4() == remote.is_ipv4());
        let path = fitting.map(|(local, remote)| Path {
            local: SocketAddr::new(local, IKE_PORT),
            remote: SocketAddr::new(remote, IKE_PORT),
        });
        let delay = self.random.duration(self.scenario.answer_delay.clone());
        let answer = Answer::Path(path.ok_or_else(|| "no way leads there".to_owned()));
        self.schedule(delay, Task::Answer(side, id, answer));
    }

    fn answer_of_credentials(&mut self, side: Side, id: QueryId, query: &Query) {
        self.journal.note(self.now, side, Entry::Asked(id));
        let now = authority::NOW.after_secs(self.elapsed().as_secs());
        if let Some(answer) = self.scenario.gateway(side).credentials.answer(query, now) {
            let delay = self.random.duration(self.scenario.answer_delay.clone());
            self.schedule(delay, Task::Answer(side, id, answer));
        }
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
        let node = self.node_mut(side);
        match event {
            Event::Message(trace) => node.traces.push(trace),
            other => node.events.push(other),
        }
    }

    pub(super) fn schedule(&mut self, after: Duration, task: Task) {
        self.tasks += 1;
        self.agenda.insert((self.now + after, self.tasks), task);
    }
}

fn parcel(path: Path, cargo: Cargo) -> Parcel {
    Parcel { source: path.local, destination: path.remote, cargo }
}

const LOSSES_NOTED: usize = 5;
const SENT_KEPT: usize = 64;
const WAKES_AT_ONE_MOMENT: u32 = 1000;
const IKE_PORT: u16 = 500;
