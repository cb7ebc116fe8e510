//! The databases as their owner changes them: SPD and SAD (RFC 4301 §4.4), one order at a time.
//!
//! Every structure is persistent: to take a snapshot is to count seven references, and the first change after it copies
//! what it touches, not what there is. Changing an SA copies 64 slots of some octets each and a list of 8 octets for every
//! 64 SAs; changing a policy copies a page of the selector index besides. Keys are expanded once and never copied.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crypto::Random;
use sa::{DeviceId, Direction, Outer, PolicyId, PolicySpec, Protocol, SaId, SaOp, SaSpec, SelectorPair, Spi};

use crate::clients::{Clients, Hosts, Member};
use crate::few::Few;
use crate::hash_pages::Seed;
use crate::rejection::{check_outer, check_sa, check_selectors};
use crate::selector_index::{Candidate, SelectorIndex};
use crate::slots::Slots;
use crate::spi::slot_of;
use crate::tables::{Policy, Sharing};
use crate::{
    DropCounters, InboundSa, OutboundSa, Paths, Rejection, SpiAllocator, SpisExhausted, Tables, limits,
};

/// The SPD and the SAD of one host; one thread owns it and hands out [`Tables`].
pub struct Databases {
    random: Box<dyn Random>,
    seed: Seed,
    tables: Tables,
    spis: SpiAllocator,
    /// SPIs as they were given out, the oldest first, those of SAs that were installed since among them.
    reserved: VecDeque<Spi>,
    /// SPIs of several peers, and of both protocols, may be equal.
    outbound: BTreeMap<OutboundKey, Outbound>,
    policies: BTreeMap<PolicyId, u32>,
    free_policies: Vec<u32>,
    clients: Clients,
    paths: Arc<Mutex<Paths>>,
}

/// SPI, protocol, and the destination in the SA's name.
type OutboundKey = (Spi, Protocol, IpAddr);

/// Where an outbound SA is: nothing is kept twice.
enum Outbound {
    /// No policy sends through it.
    Idle(Box<OutboundSa>),
    /// With these policies, of which there is one at least: its own, and seldom another.
    InUse(Few<PolicyId>),
}

/// What one SA has carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The SA.
    pub sa: SaId,
    /// Octets of inner packets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets of this SA that were dropped, whatever the reason.
    pub dropped: u64,
}

impl Databases {
    /// Starts without policies and SAs; `random` keys the CBC IVs and seeds the hash of the selector index.
    pub fn new(mut random: Box<dyn Random>) -> Databases {
        let mut octets = [0; 8];
        random.fill(&mut octets);
        let seed = Seed(u64::from_ne_bytes(octets));
        let tables = Tables {
            policies: Slots::default(),
            index: SelectorIndex::new(seed),
            device_indexes: Arc::default(),
            inbound: Slots::default(),
            displaced: Arc::default(),
            shared: Arc::default(),
            drops: Arc::default(),
        };
        Databases {
            random,
            seed,
            tables,
            spis: SpiAllocator::new(),
            reserved: VecDeque::new(),
            outbound: BTreeMap::new(),
            policies: BTreeMap::new(),
            free_policies: Vec::new(),
            clients: Clients::default(),
            paths: Arc::default(),
        }
    }

    /// Carries out an order; snapshots taken before do not see it.
    ///
    /// # Errors
    /// The order names what is not there, or describes what this data plane cannot do. Nothing has changed then.
    pub fn apply(&mut self, op: SaOp) -> Result<(), Rejection> {
        match op {
            SaOp::InstallPolicy(spec) => self.install_policy(&spec),
            SaOp::RemovePolicy(id) => self.remove_policy(id),
            SaOp::InstallSa(spec) => match spec.direction {
                Direction::Inbound => self.install_inbound(&spec),
                Direction::Outbound => self.install_outbound(&spec, 0),
            },
            SaOp::UseOutbound { policy, sa } => self.use_outbound(policy, sa),
            SaOp::RemoveSa(id) => match id.direction {
                Direction::Inbound => self.remove_inbound(id),
                Direction::Outbound => self.remove_outbound(id),
            },
            SaOp::MoveSa { sa, outer } => match sa.direction {
                Direction::Inbound => self.move_inbound(sa, outer),
                Direction::Outbound => self.move_outbound(sa, outer),
            },
            SaOp::SkipSequence { sa, by } => {
                let (_, sa) = self.find_outbound(sa)?;
                sa.skip_sequence(by);
                Ok(())
            }
            SaOp::SetPathMtu { remote, octets } => {
                lock(&self.paths).set_probed(remote, octets);
                Ok(())
            }
        }
    }

    /// Gives the databases as they are now, for workers to read.
    pub fn tables(&self) -> Arc<Tables> {
        Arc::new(self.tables.clone())
    }

    /// Gives an SPI for an inbound SA and reserves it, until [`SaOp::RemoveSa`] of that SA, installed or not.
    ///
    /// Negotiations fail, and nobody tells of the SPIs that they were for: of those that wait for their SA, only the
    /// last [`limits::RESERVED_SPIS`] keep their slot. An SA that comes later still finds a place, if a slower one.
    ///
    /// # Errors
    /// As many SAs as there are slots exist.
    pub fn allocate_spi(&mut self, random: u32) -> Result<Spi, SpisExhausted> {
        loop {
            let spi = self.spis.allocate(random)?;
            // An SA whose own slot was taken may have this very SPI.
            if self.tables.inbound_of(spi).is_none() {
                self.reserve(spi);
                return Ok(spi);
            }
            self.spis.release(spi);
        }
    }

    fn reserve(&mut self, spi: Spi) {
        self.reserved.push_back(spi);
        if self.reserved.len() > limits::RESERVED_SPIS
            && let Some(oldest) = self.reserved.pop_front()
            && self.tables.inbound_of(oldest).is_none()
        {
            self.spis.release(oldest);
        }
    }

    /// Tells what one SA has carried.
    pub fn usage(&self, sa: SaId) -> Option<Usage> {
        match sa.direction {
            Direction::Inbound => self.find_inbound(sa).ok().map(Usage::of_inbound),
            Direction::Outbound => self.find_outbound(sa).ok().map(|(_, sa)| Usage::of_outbound(sa)),
        }
    }

    /// Gives an outbound SA, if some policy sends its packets through it.
    pub fn carrying(&self, sa: SaId) -> Option<&OutboundSa> {
        let (key, found) = self.find_outbound(sa).ok()?;
        match self.outbound.get(&key)? {
            Outbound::Idle(_) => None,
            Outbound::InUse(_) => Some(found),
        }
    }

    /// Tells which packets of one SA were dropped, and why.
    pub fn drops_of(&self, sa: SaId) -> Option<&DropCounters> {
        match sa.direction {
            Direction::Inbound => self.find_inbound(sa).ok().map(InboundSa::drops),
            Direction::Outbound => self.find_outbound(sa).ok().map(|(_, sa)| sa.drops()),
        }
    }

    /// Tells what each SA has carried, inbound ones first.
    pub fn usages(&self) -> impl Iterator<Item = Usage> + '_ {
        let outbound = self.all_outbound().map(|(_, sa)| Usage::of_outbound(sa));
        self.tables.all_inbound().map(Usage::of_inbound).chain(outbound)
    }

    /// Gives what is known of the paths to the peers of outbound SAs, which learn at once of what is changed here.
    pub fn paths(&self) -> &Arc<Mutex<Paths>> {
        &self.paths
    }

    /// Gives the counters of dropped packets that all snapshots share.
    pub fn drops(&self) -> &DropCounters {
        &self.tables.drops
    }

    fn install_policy(&mut self, spec: &PolicySpec) -> Result<(), Rejection> {
        check_selectors(&spec.selectors)?;
        let id = spec.id;
        let outbound = self.policy(id).and_then(|policy| policy.outbound.clone());
        if self.policies.contains_key(&id) {
            self.unlist_policy(id)?;
        }
        let slot = self.free_policies.pop().unwrap_or(self.policies.len() as u32);
        let policy = Policy::new(spec, outbound);
        let index = self.index_mut(policy.device);
        for (pair, candidate) in candidates(&policy, slot) {
            index.insert(&pair, candidate);
        }
        self.tables.policies.put(slot as usize, policy);
        self.policies.insert(id, slot);
        self.share(self.clients.hosts_of_policy(id));
        Ok(())
    }

    fn remove_policy(&mut self, id: PolicyId) -> Result<(), Rejection> {
        self.leave_outbound(id);
        self.unlist_policy(id)?;
        let hosts = self.clients.leave(id);
        self.share(hosts);
        Ok(())
    }

    /// Lists the clients between two hosts as packets to them find them.
    fn share(&mut self, hosts: Option<Hosts>) {
        let Some(hosts) = hosts else { return };
        let slots = |member: &Member| -> Vec<u32> {
            member.policies.iter().filter_map(|id| self.policies.get(id).copied()).collect()
        };
        let sharing = self.clients.sharing(hosts).map(|group| Sharing {
            ports: Arc::clone(&group.ports),
            first: group.first.and_then(|first| group.clients.get(&first)).map(slots).unwrap_or_default(),
            clients: group.clients.iter().map(|(client, member)| (*client, slots(member))).collect(),
        });
        match sharing {
            Some(sharing) => {
                Arc::make_mut(&mut self.tables.shared).insert(hosts, sharing);
            }
            None if self.tables.shared.contains_key(&hosts) => {
                Arc::make_mut(&mut self.tables.shared).remove(&hosts);
            }
            None => {}
        }
    }

    /// Takes a policy out of the tables and frees its slot.
    fn unlist_policy(&mut self, id: PolicyId) -> Result<(), Rejection> {
        let slot = self.policies.remove(&id).ok_or(Rejection::UnknownPolicy(id))?;
        self.free_policies.push(slot);
        if let Some(policy) = self.tables.policies.at(slot as usize).cloned() {
            let index = self.index_mut(policy.device);
            for (pair, candidate) in candidates(&policy, slot) {
                index.remove(&pair, candidate);
            }
            if let Some(device) = policy.device.filter(|_| index.is_empty()) {
                Arc::make_mut(&mut self.tables.device_indexes).remove(&device);
            }
            self.tables.policies.clear(slot as usize);
        }
        Ok(())
    }

    fn index_mut(&mut self, device: Option<DeviceId>) -> &mut SelectorIndex {
        match device {
            None => &mut self.tables.index,
            Some(device) => Arc::make_mut(&mut self.tables.device_indexes)
                .entry(device)
                .or_insert_with(|| SelectorIndex::new(self.seed)),
        }
    }

    fn install_inbound(&mut self, spec: &SaSpec) -> Result<(), Rejection> {
        check_sa(spec)?;
        if self.tables.inbound_of(spec.spi).is_some() {
            return Err(Rejection::DuplicateSa(spec.id()));
        }
        let seat = self.clients.seat(spec, self.seed);
        let sa = InboundSa::new(spec, seat, self.seed).inspect_err(|_| {
            if !self.policies.contains_key(&spec.policy) {
                self.clients.leave(spec.policy);
            }
        })?;
        // An SPI of our own has its slot already; anyone else's takes it if it is free.
        let _ = self.spis.claim(spec.spi);
        self.put_inbound(sa);
        self.share(self.clients.hosts_of_policy(spec.policy));
        Ok(())
    }

    /// Installs an outbound SA that has `used` sequence numbers behind it, for tests of what happens near their end.
    #[doc(hidden)]
    pub fn install_outbound(&mut self, spec: &SaSpec, used: u64) -> Result<(), Rejection> {
        check_sa(spec)?;
        let key = key_of(spec.id());
        if self.outbound.contains_key(&key) {
            return Err(Rejection::DuplicateSa(spec.id()));
        }
        let wrapper = spec.handling.wrapped_by.map(|id| self.wrapper(id)).transpose()?;
        let remote = spec.outer.remote.ip();
        let path = lock(&self.paths).join(remote, spec.protocol, spec.spi);
        let seat = self.clients.seat(spec, self.seed);
        let sa = OutboundSa::new(spec, path, wrapper, seat, self.seed, &mut *self.random, used);
        let sa = sa.inspect_err(|_| lock(&self.paths).leave(remote, spec.protocol, spec.spi))?;
        self.outbound.insert(key, Outbound::Idle(Box::new(sa)));
        self.share(self.clients.hosts_of_policy(spec.policy));
        Ok(())
    }

    fn use_outbound(&mut self, policy: PolicyId, sa: SaId) -> Result<(), Rejection> {
        if !self.policies.contains_key(&policy) {
            return Err(Rejection::UnknownPolicy(policy));
        }
        let (key, sa) = self.find_outbound(sa).map(|(key, sa)| (key, sa.clone()))?;
        self.leave_outbound(policy);
        match self.outbound.get_mut(&key) {
            Some(Outbound::InUse(users)) => users.insert(policy),
            Some(Outbound::Idle(_)) | None => {
                self.outbound.insert(key, Outbound::InUse(Few::One(policy)));
            }
        }
        self.set_outbound(policy, Some(sa));
        Ok(())
    }

    fn remove_inbound(&mut self, id: SaId) -> Result<(), Rejection> {
        if self.tables.inbound_of(id.spi).is_none() && self.spis.holds(id.spi) {
            self.spis.release(id.spi);
            return Ok(());
        }
        let (spi, policy) = self.find_inbound(id).map(|sa| (sa.spi(), sa.policy()))?;
        if !self.policies.contains_key(&policy) {
            // Nothing came of what it was for.
            let hosts = self.clients.leave(policy);
            self.share(hosts);
        }
        if self.spis.holds(spi) {
            self.tables.inbound.clear(slot_of(spi) as usize);
            self.spis.release(spi);
        } else {
            Arc::make_mut(&mut self.tables.displaced).remove(&spi);
        }
        Ok(())
    }

    fn remove_outbound(&mut self, id: SaId) -> Result<(), Rejection> {
        let (key, sa) = self.find_outbound(id).map(|(key, sa)| (key, sa.clone()))?;
        lock(&self.paths).leave(sa.outer().remote.ip(), id.protocol, id.spi);
        self.retire(key, &sa);
        self.outbound.remove(&key);
        if id.protocol == Protocol::Ah {
            // Without it the SAs that it carried would send what no peer takes.
            let wrapped: Vec<(OutboundKey, OutboundSa)> = self
                .all_outbound()
                .filter(|(_, other)| other.wrapper().is_some_and(|wrapper| wrapper.id() == sa.id()))
                .map(|(key, other)| (key, other.clone()))
                .collect();
            wrapped.iter().for_each(|(key, sa)| self.retire(*key, sa));
        }
        Ok(())
    }

    /// Takes an SA out of use.
    fn retire(&mut self, key: OutboundKey, sa: &OutboundSa) {
        if let Some(Outbound::InUse(users)) = self.outbound.insert(key, Outbound::Idle(Box::new(sa.clone())))
        {
            users.iter().for_each(|policy| self.set_outbound(policy, None));
        }
    }

    fn move_inbound(&mut self, id: SaId, outer: Outer) -> Result<(), Rejection> {
        let sa = self.find_inbound(id)?;
        check_outer(id.protocol, sa.wrapped_by(), outer)?;
        let (policy, moved) = (sa.policy(), sa.moved(outer));
        self.clients.move_to(policy, outer.remote);
        self.put_inbound(moved);
        Ok(())
    }

    fn move_outbound(&mut self, id: SaId, outer: Outer) -> Result<(), Rejection> {
        let (key, sa) = self.find_outbound(id)?;
        check_outer(id.protocol, sa.wrapper().map(OutboundSa::id), outer)?;
        let (from, to) = (sa.outer().remote.ip(), outer.remote.ip());
        let mut paths = lock(&self.paths);
        let moved = sa.moved(outer, paths.join(to, id.protocol, id.spi));
        if from != to {
            paths.leave(from, id.protocol, id.spi);
        }
        drop(paths);
        let users = match self.outbound.get_mut(&key) {
            Some(Outbound::InUse(users)) => users.clone(),
            Some(Outbound::Idle(sa)) => {
                **sa = moved;
                return Ok(());
            }
            None => return Ok(()),
        };
        users.iter().for_each(|policy| self.set_outbound(policy, Some(moved.clone())));
        Ok(())
    }

    /// Lists an inbound SA where packets find it: in its slot if its SPI has one.
    fn put_inbound(&mut self, sa: InboundSa) {
        if self.spis.holds(sa.spi()) {
            self.tables.inbound.put(slot_of(sa.spi()) as usize, sa);
        } else {
            Arc::make_mut(&mut self.tables.displaced).insert(sa.spi(), sa);
        }
    }

    fn set_outbound(&mut self, policy: PolicyId, sa: Option<OutboundSa>) {
        if let Some(slot) = self.policies.get(&policy)
            && let Some(changed) = self.policy(policy).map(|policy| policy.with(sa))
        {
            self.tables.policies.put(*slot as usize, changed);
        }
    }

    /// Makes a policy no user of the outbound SA that it has, if any.
    fn leave_outbound(&mut self, policy: PolicyId) {
        if let Some(sa) = self.policy(policy).and_then(|policy| policy.outbound.clone())
            && let Some(outbound) = self.outbound.get_mut(&key_of(sa.id()))
            && let Outbound::InUse(users) = outbound
        {
            users.remove(policy);
            if users.is_empty() {
                *outbound = Outbound::Idle(Box::new(sa));
            }
        }
    }

    /// Finds the AH SA that is to carry another SA.
    fn wrapper(&self, id: SaId) -> Result<OutboundSa, Rejection> {
        let (_, wrapper) = self.find_outbound(id)?;
        if wrapper.wraps() { Ok(wrapper.clone()) } else { Err(Rejection::Wrapper(id)) }
    }

    fn policy(&self, id: PolicyId) -> Option<&Policy> {
        self.tables.policies.at(*self.policies.get(&id)? as usize)
    }

    /// Finds an inbound SA by its SPI, which is enough; its address may have changed since it got its name.
    fn find_inbound(&self, id: SaId) -> Result<&InboundSa, Rejection> {
        self.tables.inbound(id.protocol, id.spi).map_err(|_| Rejection::UnknownSa(id))
    }

    /// Finds an outbound SA by its name, or by its SPI and the address that its peer has now.
    fn find_outbound(&self, id: SaId) -> Result<(OutboundKey, &OutboundSa), Rejection> {
        let named = key_of(id);
        if let Some(sa) = self.outbound.get(&named).and_then(|outbound| self.sa_of(outbound)) {
            return Ok((named, sa));
        }
        self.outbound
            .range((id.spi, id.protocol, LOWEST_ADDRESS)..)
            .take_while(|((spi, protocol, _), _)| (*spi, *protocol) == (id.spi, id.protocol))
            .filter_map(|(key, outbound)| Some((*key, self.sa_of(outbound)?)))
            .find(|(_, sa)| sa.outer().remote.ip() == id.destination)
            .ok_or(Rejection::UnknownSa(id))
    }

    fn all_outbound(&self) -> impl Iterator<Item = (OutboundKey, &OutboundSa)> {
        self.outbound.iter().filter_map(|(key, outbound)| Some((*key, self.sa_of(outbound)?)))
    }

    fn sa_of<'a>(&'a self, outbound: &'a Outbound) -> Option<&'a OutboundSa> {
        match outbound {
            Outbound::Idle(sa) => Some(sa),
            Outbound::InUse(users) => self.policy(users.iter().next()?)?.outbound.as_ref(),
        }
    }
}

fn key_of(id: SaId) -> OutboundKey {
    (id.spi, id.protocol, id.destination)
}

fn candidates(policy: &Policy, slot: u32) -> impl Iterator<Item = (SelectorPair, Candidate)> + '_ {
    let rank = policy.rank;
    (0..)
        .zip(policy.pairs.iter())
        .map(move |(pair, selectors)| (selectors, Candidate { rank, pair, policy: slot }))
}

fn lock(paths: &Mutex<Paths>) -> MutexGuard<'_, Paths> {
    // No code that holds the lock can panic halfway through a change.
    paths.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Usage {
    fn of_inbound(sa: &InboundSa) -> Usage {
        Usage { sa: sa.id(), bytes: sa.bytes(), packets: sa.packets(), dropped: sa.drops().total() }
    }

    fn of_outbound(sa: &OutboundSa) -> Usage {
        Usage { sa: sa.id(), bytes: sa.bytes(), packets: sa.packets(), dropped: sa.drops().total() }
    }
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Databases")
            .field("policies", &self.policies.len())
            .field("inbound", &self.tables.all_inbound().count())
            .field("outbound", &self.outbound.len())
            .finish_non_exhaustive()
    }
}

/// The least address in their order.
const LOWEST_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
