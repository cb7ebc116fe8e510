//! A model data plane: it carries out orders, complains about every one that breaks the contract, and moves model
//! packets with null cryptography, which opens a packet only where both ends agree on every parameter of the SA.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ike::NameServers;
use sa::{
    Direction, Encapsulation, ExpiryCause, Hardness, Lifetime, Mode, Outer, PolicyAction, PolicyId,
    PolicySpec, SaEvent, SaId, SaOp, SaSpec, Spi,
};

use crate::{Around, Cargo, Flow, Packet, Parcel, Sealed, SpiPool};

/// The policies and SAs of one side.
#[derive(Debug)]
pub struct Plane {
    /// The side's own addresses, earlier ones among them.
    own: Vec<IpAddr>,
    spis: SpiPool,
    /// In the order in which they select.
    policies: BTreeMap<(u32, PolicyId), InstalledPolicy>,
    sas: BTreeMap<SaId, InstalledSa>,
    path_mtus: BTreeMap<IpAddr, usize>,
    /// Virtual addresses.
    addresses: BTreeSet<IpAddr>,
    /// By the connection that they came by.
    name_servers: BTreeMap<String, NameServers>,
    events: VecDeque<SaEvent>,
    faults: Vec<String>,
}

#[derive(Debug)]
struct InstalledPolicy {
    spec: PolicySpec,
    outbound: Option<SaId>,
    has_had_sa: bool,
    acquired_at: Option<Instant>,
}

/// An SA and what it has carried.
#[derive(Debug)]
pub struct InstalledSa {
    /// What was ordered.
    pub spec: SaSpec,
    /// Octets of inner packets carried.
    pub bytes: u64,
    /// Packets carried.
    pub packets: u64,
    /// How many sequence numbers it was told to leave out.
    pub skipped: u64,
    /// When its last packet went through.
    pub used_at: Option<Instant>,
    active_at: Option<Instant>,
    /// The highest number of a packet that it has opened.
    newest: Option<u64>,
}

/// What became of a packet that was to leave.
#[derive(Debug)]
pub enum Departure {
    /// It goes out protected.
    Protected(Parcel),
    /// A bypass policy lets it pass as it is.
    Bypassed(Parcel),
    /// No policy is about it, so it passes as it is.
    Unguarded(Parcel),
    /// A discard policy ended it.
    Discarded,
    /// A trap policy has no SA yet; the packet is gone and an acquire on its way.
    Awaiting,
    /// A protect policy has had no SA yet: it is the guard of a child.
    Blocked,
    /// A policy has lost its SA, which never happens in a make-before-break rekeying.
    NoSa,
    /// The SA's hard limit is reached.
    Expired,
}

/// What became of a packet that came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It opened, or came in plaintext where that is allowed.
    Opened(Packet),
    /// No SA has its SPI.
    UnknownSpi(Spi, Packet),
    /// The SA of its SPI has another key, algorithm, mode or width of sequence number.
    WrongSa(Spi, Packet),
    /// Its checksums cover other addresses than the SA knows of.
    WrongAddresses(Spi, Packet),
    /// The SA's selectors do not select it.
    NotSelected(Spi, Packet),
    /// The SA's hard limit is reached.
    Expired(Spi, Packet),
    /// It came in plaintext, and a policy wants it protected.
    Refused(Packet),
}

impl Plane {
    /// Makes an empty plane at the side's own addresses.
    pub fn new(own: Vec<IpAddr>, spis: SpiPool) -> Plane {
        Plane {
            own,
            spis,
            policies: BTreeMap::new(),
            sas: BTreeMap::new(),
            path_mtus: BTreeMap::new(),
            addresses: BTreeSet::new(),
            name_servers: BTreeMap::new(),
            events: VecDeque::new(),
            faults: Vec::new(),
        }
    }

    /// The side has other addresses of its own now; its engine does not know at once.
    pub(crate) fn relocate(&mut self, own: Vec<IpAddr>) {
        self.own.extend(own);
    }

    /// Gives the side a virtual address.
    pub fn take_address(&mut self, address: IpAddr) {
        if !self.addresses.insert(address) {
            self.faults.push(format!("{address} was there already"));
        }
    }

    /// Takes a virtual address away.
    pub fn drop_address(&mut self, address: IpAddr) {
        if !self.addresses.remove(&address) {
            self.faults.push(format!("{address} was not there"));
        }
    }

    /// Gives the virtual addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }

    /// Gives the side name servers.
    pub fn take_name_servers(&mut self, told: NameServers) {
        self.name_servers.insert(told.connection.clone(), told);
    }

    /// Takes the name servers of a connection away.
    pub fn drop_name_servers(&mut self, connection: &str) {
        if self.name_servers.remove(connection).is_none() {
            self.faults.push(format!("name servers of {connection} were not there"));
        }
    }

    /// Gives the name servers.
    pub fn name_servers(&self) -> impl Iterator<Item = &NameServers> {
        self.name_servers.values()
    }

    /// Carries out an order.
    pub fn apply(&mut self, op: SaOp) {
        match op {
            SaOp::InstallPolicy(spec) => self.install_policy(spec),
            SaOp::RemovePolicy(policy) => self.remove_policy(policy),
            SaOp::InstallSa(spec) => self.install_sa(*spec),
            SaOp::UseOutbound { policy, sa } => self.use_outbound(policy, sa),
            SaOp::RemoveSa(sa) => self.remove_sa(sa),
            SaOp::MoveSa { sa, outer } => self.move_sa(sa, outer),
            SaOp::SkipSequence { sa, by } => match self.sas.get_mut(&sa) {
                Some(sa) => sa.skipped = sa.skipped.saturating_add(by),
                None => self.faults.push(format!("{} is not there to skip numbers", name(&sa))),
            },
            SaOp::SetPathMtu { remote, octets } => {
                self.path_mtus.extend(octets.map(|octets| (remote, octets)));
                if octets.is_none() {
                    self.path_mtus.remove(&remote);
                }
            }
        }
    }

    /// Tells what probes found out of the path to an address, in octets of a packet.
    pub fn path_mtu(&self, remote: IpAddr) -> Option<usize> {
        self.path_mtus.get(&remote).copied()
    }

    /// Gives every breach of contract so far.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Gives the next event for the engine.
    pub fn poll_event(&mut self) -> Option<SaEvent> {
        self.events.pop_front()
    }

    /// Gives the installed SAs.
    pub fn sas(&self) -> &BTreeMap<SaId, InstalledSa> {
        &self.sas
    }

    /// Gives the installed policies, in the order in which they select.
    pub fn policies(&self) -> impl Iterator<Item = &PolicySpec> {
        self.policies.values().map(|policy| &policy.spec)
    }

    /// Gives the outbound SA that a policy's packets go through.
    pub fn outbound(&self, policy: PolicyId) -> Option<SaId> {
        self.policies.values().find(|installed| installed.spec.id == policy)?.outbound
    }

    /// Handles a packet of a host behind this side.
    pub fn send(&mut self, now: Instant, packet: Packet) -> Departure {
        let plain = || Parcel {
            source: SocketAddr::new(packet.flow.source, 0),
            destination: SocketAddr::new(packet.flow.destination, 0),
            cargo: Cargo::Plain(packet),
        };
        let selecting = self
            .policies
            .values_mut()
            .find(|policy| policy.spec.selectors.iter().any(|pair| packet.flow.leaves_by(pair)));
        let Some(policy) = selecting else { return Departure::Unguarded(plain()) };
        match (policy.spec.action, policy.outbound) {
            (PolicyAction::Bypass, _) => Departure::Bypassed(plain()),
            (PolicyAction::Discard, _) => Departure::Discarded,
            (PolicyAction::Protect | PolicyAction::Trap, Some(outbound)) => self.seal(now, outbound, packet),
            (PolicyAction::Protect | PolicyAction::Trap, None) if policy.has_had_sa => Departure::NoSa,
            (PolicyAction::Protect, None) => Departure::Blocked,
            (PolicyAction::Trap, None) => {
                if policy.acquired_at.is_none_or(|at| now >= at + ACQUIRE_EVERY) {
                    policy.acquired_at = Some(now);
                    let flow = packet.flow.acquired();
                    self.events.push_back(SaEvent::Acquire { policy: policy.spec.id, flow });
                }
                Departure::Awaiting
            }
        }
    }

    /// Handles a protected packet from the network. An SA is found by its SPI alone, wherever it was moved meanwhile.
    pub fn open(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: IpAddr,
        sealed: &Sealed,
    ) -> Arrival {
        let packet = sealed.packet;
        let is_named = |id: &&SaId| {
            (id.direction, id.protocol, id.spi) == (Direction::Inbound, sealed.protocol, sealed.spi)
        };
        let named = self.sas.keys().find(|id| is_named(id) && id.destination == destination);
        let Some(id) = named.or_else(|| self.sas.keys().find(is_named)).copied() else {
            return Arrival::UnknownSpi(sealed.spi, packet);
        };
        let is_wrapped_rightly =
            self.sas.get(&id).is_some_and(|sa| self.unwraps(sa.spec.handling.wrapped_by, sealed));
        let Some(sa) = self.sas.get_mut(&id) else { return Arrival::UnknownSpi(sealed.spi, packet) };
        let spec = &sa.spec;
        let opens = spec.key.ct_eq(sealed.key.as_slice())
            && spec.protection == sealed.protection
            && spec.esn == sealed.esn
            && spec.mode == sealed.mode
            && spec.handling.compression == sealed.compression
            && is_wrapped_rightly;
        if !opens {
            return Arrival::WrongSa(sealed.spi, packet);
        }
        let Some(flow) = flow_here(spec, source.ip(), packet.flow) else {
            return Arrival::WrongAddresses(sealed.spi, packet);
        };
        if !spec.selectors.iter().any(|pair| flow.arrives_by(pair)) {
            return Arrival::NotSelected(sealed.spi, packet);
        }
        // RFC 7296 §2.23: only the newest packet tells where the peer is now.
        let is_newest = sa.newest.is_none_or(|newest| packet.number > newest);
        if is_newest && sealed.encapsulation == Encapsulation::Udp && spec.outer.remote != source {
            self.events.push_back(SaEvent::PathChanged { sa: id, remote: source });
        }
        sa.newest = sa.newest.max(Some(packet.number));
        if sa.active_at.is_none_or(|at| now >= at + ACTIVE_EVERY) {
            sa.active_at = Some(now);
            self.events.push_back(SaEvent::Active { sa: id });
        }
        sa.used_at = Some(now);
        match sa.count(packet.octets) {
            Count::Exhausted => return Arrival::Expired(sealed.spi, packet),
            Count::Reached(hardness, cause) => {
                self.events.push_back(SaEvent::Expire { sa: id, hardness, cause })
            }
            Count::Within => {}
        }
        Arrival::Opened(packet)
    }

    /// Handles an unprotected packet from the network (RFC 4301 §5.2: it must not be one that a policy protects).
    pub fn receive_plain(&self, packet: Packet) -> Arrival {
        let selecting = self
            .policies
            .values()
            .find(|policy| policy.spec.selectors.iter().any(|pair| packet.flow.arrives_by(pair)));
        match selecting.map(|policy| policy.spec.action) {
            None | Some(PolicyAction::Bypass) => Arrival::Opened(packet),
            Some(PolicyAction::Protect | PolicyAction::Trap | PolicyAction::Discard) => {
                Arrival::Refused(packet)
            }
        }
    }

    /// Tells whether AH around a packet is that of the SA which must carry it, or neither is there.
    fn unwraps(&self, wrapper: Option<SaId>, sealed: &Sealed) -> bool {
        match (wrapper, &sealed.around) {
            (None, None) => true,
            (Some(wrapper), Some(around)) => self.sas.get(&wrapper).is_some_and(|sa| {
                sa.spec.spi == around.spi
                    && sa.spec.key.ct_eq(around.key.as_slice())
                    && sa.spec.protection == around.protection
                    && sa.spec.esn == around.esn
            }),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    fn around(&self, outbound: SaId) -> Option<Around> {
        let wrapper = self.sas.get(&outbound)?.spec.handling.wrapped_by?;
        let SaSpec { spi, key, protection, esn, .. } = &self.sas.get(&wrapper)?.spec;
        Some(Around { spi: *spi, key: key.clone(), protection: *protection, esn: *esn })
    }

    fn seal(&mut self, now: Instant, outbound: SaId, packet: Packet) -> Departure {
        let around = self.around(outbound);
        let Some(sa) = self.sas.get_mut(&outbound) else { return Departure::NoSa };
        sa.used_at = Some(now);
        match sa.count(packet.octets) {
            Count::Exhausted => return Departure::Expired,
            Count::Reached(hardness, cause) => {
                self.events.push_back(SaEvent::Expire { sa: outbound, hardness, cause });
            }
            Count::Within => {}
        }
        let spec = &sa.spec;
        let sealed = Sealed {
            protocol: spec.protocol,
            spi: spec.spi,
            key: spec.key.clone(),
            protection: spec.protection,
            esn: spec.esn,
            mode: spec.mode,
            compression: spec.handling.compression,
            encapsulation: spec.outer.encapsulation,
            around,
            packet,
        };
        let Outer { local, remote, .. } = spec.outer;
        Departure::Protected(Parcel { source: local, destination: remote, cargo: Cargo::Esp(sealed) })
    }

    fn install_policy(&mut self, spec: PolicySpec) {
        if spec.selectors.is_empty() {
            self.fault(format!("policy {} selects nothing", spec.id));
        }
        let outbound = self.take_policy(spec.id).and_then(|replaced| replaced.outbound);
        let (key, has_had_sa) = ((spec.priority, spec.id), outbound.is_some());
        self.policies.insert(key, InstalledPolicy { spec, outbound, has_had_sa, acquired_at: None });
    }

    fn remove_policy(&mut self, policy: PolicyId) {
        if self.take_policy(policy).is_none() {
            self.fault(format!("RemovePolicy names policy {policy}, which does not exist"));
        }
    }

    fn take_policy(&mut self, policy: PolicyId) -> Option<InstalledPolicy> {
        let key = self.policies.keys().copied().find(|(_, id)| *id == policy)?;
        self.policies.remove(&key)
    }

    fn install_sa(&mut self, spec: SaSpec) {
        for complaint in self.complaints(&spec) {
            self.fault(format!("InstallSa {}: {complaint}", name(&spec.id())));
        }
        let sa = InstalledSa {
            bytes: 0,
            packets: 0,
            skipped: 0,
            used_at: None,
            active_at: None,
            newest: None,
            spec,
        };
        self.sas.insert(sa.spec.id(), sa);
    }

    fn complaints(&self, spec: &SaSpec) -> Vec<&'static str> {
        let mut complaints = Vec::new();
        let mut unless = |holds: bool, complaint| {
            if !holds {
                complaints.push(complaint);
            }
        };
        unless(!self.sas.contains_key(&spec.id()), "an SA of that name exists");
        unless(spec.spi >= Spi::LOWEST, "its SPI is reserved (RFC 4303 §2.1)");
        unless(
            spec.key.len() == spec.protection.key_len(),
            "its key has not the length that its algorithms take",
        );
        unless(!spec.selectors.is_empty(), "it selects nothing");
        unless(self.own.contains(&spec.outer.local.ip()), "its local address is not ours");
        unless(
            spec.outer.encapsulation == Encapsulation::None || spec.outer.local.port() != IKE_PORT,
            "UDP encapsulation does not work on port 500 (RFC 3948 §2.2)",
        );
        unless(
            spec.handling.wrapped_by.is_none_or(|wrapper| self.sas.contains_key(&wrapper)),
            "what is to carry it is not installed",
        );
        if spec.direction == Direction::Inbound {
            complaints.extend(self.spis.install(spec.spi));
        }
        complaints
    }

    fn use_outbound(&mut self, policy: PolicyId, sa: SaId) {
        let complaint = match self.sas.get(&sa) {
            None => Some("an SA that is not installed"),
            Some(_) if sa.direction == Direction::Inbound => Some("an inbound SA"),
            Some(installed) if installed.spec.policy != policy => Some("an SA of another policy"),
            Some(_) => None,
        };
        if let Some(complaint) = complaint {
            self.fault(format!("UseOutbound names {complaint}: {}", name(&sa)));
        }
        match self.policies.values_mut().find(|installed| installed.spec.id == policy) {
            Some(installed) => (installed.outbound, installed.has_had_sa) = (Some(sa), true),
            None => self.fault(format!("UseOutbound names policy {policy}, which does not exist")),
        }
    }

    fn remove_sa(&mut self, sa: SaId) {
        if self.sas.remove(&sa).is_none() {
            self.fault(format!("RemoveSa names {}, which is not installed", name(&sa)));
        }
        if self.sas.values().any(|carried| carried.spec.handling.wrapped_by == Some(sa)) {
            self.fault(format!("RemoveSa takes {} away before what it carries", name(&sa)));
        }
        let user = self.policies.values_mut().find(|policy| policy.outbound == Some(sa));
        if let Some(policy) = user {
            policy.outbound = None;
            let id = policy.spec.id;
            self.fault(format!("RemoveSa takes {} away while policy {id} uses it", name(&sa)));
        }
    }

    fn move_sa(&mut self, sa: SaId, outer: Outer) {
        let Some(mut installed) = self.sas.remove(&sa) else {
            return self.fault(format!("MoveSa names {}, which is not installed", name(&sa)));
        };
        installed.spec.outer = outer;
        let moved = installed.spec.id();
        for policy in self.policies.values_mut().filter(|policy| policy.outbound == Some(sa)) {
            policy.outbound = Some(moved);
        }
        self.sas.insert(moved, installed);
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}

/// Gives the flow of a packet with the addresses that it has where it is opened: its own in tunnel mode, those of the
/// outer header in transport mode, those of the selectors in BEET mode. `None` if its checksums, which cover the
/// addresses that it had where it was sealed, would be wrong then (RFC 3948 §3.1.2).
fn flow_here(spec: &SaSpec, source: IpAddr, sealed: Flow) -> Option<Flow> {
    let (here, covered) = match spec.mode {
        Mode::Tunnel => return Some(sealed),
        Mode::Transport => {
            let here = (source, spec.outer.local.ip());
            let original = spec.handling.original;
            (here, original.map_or(here, |original| (original.remote, original.local)))
        }
        Mode::Beet => {
            let pair = spec.selectors.first()?;
            let here = (pair.remote.addresses.start(), pair.local.addresses.start());
            (here, here)
        }
    };
    let is_right = covered == (sealed.source, sealed.destination);
    is_right.then_some(Flow { source: here.0, destination: here.1, ..sealed })
}

/// What counting a packet found.
enum Count {
    Within,
    Reached(Hardness, ExpiryCause),
    Exhausted,
}

impl InstalledSa {
    fn count(&mut self, octets: u64) -> Count {
        let Lifetime { soft_bytes, hard_bytes, soft_packets, hard_packets } = self.spec.lifetime;
        if self.bytes >= hard_bytes || self.packets >= hard_packets {
            return Count::Exhausted;
        }
        let (bytes, packets) = (self.bytes, self.packets);
        self.bytes += octets;
        self.packets += 1;
        let reaches = |before: u64, after: u64, limit: u64| before < limit && limit <= after;
        let limits = [
            (bytes, self.bytes, hard_bytes, Hardness::Hard, ExpiryCause::Bytes),
            (packets, self.packets, hard_packets, Hardness::Hard, ExpiryCause::Packets),
            (bytes, self.bytes, soft_bytes, Hardness::Soft, ExpiryCause::Bytes),
            (packets, self.packets, soft_packets, Hardness::Soft, ExpiryCause::Packets),
        ];
        let reached = limits.into_iter().find(|(before, after, limit, ..)| reaches(*before, *after, *limit));
        reached.map_or(Count::Within, |(.., hardness, cause)| Count::Reached(hardness, cause))
    }
}

/// Names an SA for people.
pub(crate) fn name(sa: &SaId) -> String {
    let direction = match sa.direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    format!("{direction} {} {} to {}", sa.protocol, sa.spi, sa.destination)
}

const IKE_PORT: u16 = 500;
const ACTIVE_EVERY: Duration = Duration::from_secs(1);
const ACQUIRE_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
