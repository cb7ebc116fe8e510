//! The databases as their owner changes them: SPD and SAD (RFC 4301 §4.4), one order at a time.
//!
//! Every structure is persistent: to take a snapshot is to count five references, and the first change after it copies
//! what it touches, not what there is. Changing an SA copies 64 slots of about 90 octets and a list of 8 octets for every
//! 64 SAs; changing a policy copies a page of the selector index besides. Keys are expanded once and never copied.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crypto::Random;
use sa::{Direction, Mode, Outer, PolicyId, PolicySpec, Protocol, SaId, SaOp, SaSpec, SelectorPair, Spi};
use thiserror::Error;

use crate::hash_pages::Seed;
use crate::selector_index::{Candidate, SelectorIndex};
use crate::slots::Slots;
use crate::spi::slot_of;
use crate::tables::Policy;
use crate::{DropCounters, InboundSa, OutboundSa, SpiAllocator, SpisExhausted, Tables, limits};

/// The SPD and the SAD of one host; one thread owns it and hands out [`Tables`].
pub struct Databases {
    random: Box<dyn Random>,
    seed: Seed,
    tables: Tables,
    spis: SpiAllocator,
    /// SPIs as they were given out, the oldest first, those of SAs that were installed since among them.
    reserved: VecDeque<Spi>,
    inbound: BTreeMap<Spi, InboundSa>,
    /// By SPI, then by the destination in the SA's name: SPIs of several peers may be equal.
    outbound: BTreeMap<(Spi, IpAddr), Outbound>,
    policies: BTreeMap<PolicyId, u32>,
    free_policies: Vec<u32>,
}

struct Outbound {
    sa: OutboundSa,
    users: BTreeSet<PolicyId>,
}

/// What becomes of packets that no policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// They pass unprotected: Keyway is one of several things that this host does.
    Bypass,
    /// They are dropped, as RFC 4301 §5.1 has it.
    Discard,
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

/// Why an order was not carried out; the databases are as they were.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// There is no such SA.
    #[error("there is no {:?} SA {} to {}", .0.direction, .0.spi, .0.destination)]
    UnknownSa(SaId),
    /// There is no such policy.
    #[error("there is no policy {0}")]
    UnknownPolicy(PolicyId),
    /// Another SA has the same name.
    #[error("there is already an {:?} SA {} to {}", .0.direction, .0.spi, .0.destination)]
    DuplicateSa(SaId),
    /// The SPI is one that IANA keeps (RFC 4303 §2.1).
    #[error("the SPI {0} is reserved")]
    ReservedSpi(Spi),
    /// The user-space plane does ESP only.
    #[error("{0} is not supported by the user-space data plane")]
    UnsupportedProtocol(Protocol),
    /// The user-space plane does tunnel mode only.
    #[error("{0} mode is not supported by the user-space data plane")]
    UnsupportedMode(Mode),
    /// The key does not suit the algorithms.
    #[error("the keys cannot be used: {0}")]
    Keys(crypto::Error),
    /// The anti-replay window is larger than [`limits::REPLAY_WINDOW`].
    #[error("a replay window of {0} packets is more than {most}", most = limits::REPLAY_WINDOW)]
    ReplayWindow(u32),
    /// An SA or a policy selects nothing.
    #[error("no traffic selector is given")]
    NoSelectors,
    /// There are more selector pairs than [`limits::SELECTOR_PAIRS`].
    #[error("{0} pairs of traffic selectors are more than {most}", most = limits::SELECTOR_PAIRS)]
    TooManySelectors(usize),
    /// The two ends of a selector pair are of different families.
    #[error("the traffic selectors {0} mix address families")]
    MixedFamilies(SelectorPair),
}

impl Databases {
    /// Starts without policies and SAs; `random` keys the CBC IVs and seeds the hash of the selector index.
    pub fn new(unmatched: Unmatched, mut random: Box<dyn Random>) -> Databases {
        let mut octets = [0; 8];
        random.fill(&mut octets);
        let seed = Seed(u64::from_ne_bytes(octets));
        let tables = Tables {
            unmatched,
            policies: Slots::new(),
            index: SelectorIndex::new(seed),
            inbound: Slots::new(),
            displaced: Arc::default(),
            drops: Arc::default(),
        };
        Databases {
            random,
            seed,
            tables,
            spis: SpiAllocator::new(),
            reserved: VecDeque::new(),
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
            policies: BTreeMap::new(),
            free_policies: Vec::new(),
        }
    }

    /// Carries out an order; snapshots taken before do not see it.
    ///
    /// # Errors
    /// The order names what is not there, or describes what this data plane cannot do. Nothing has changed then.
    pub fn apply(&mut self, op: SaOp) -> Result<(), Rejection> {
        match op {
            SaOp::InstallPolicy(spec) => self.install_policy(spec),
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
            if !self.inbound.contains_key(&spi) {
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
            && !self.inbound.contains_key(&oldest)
        {
            self.spis.release(oldest);
        }
    }

    /// Tells what one SA has carried.
    pub fn usage(&self, sa: SaId) -> Option<Usage> {
        match sa.direction {
            Direction::Inbound => self.find_inbound(sa).ok().map(Usage::of_inbound),
            Direction::Outbound => {
                self.find_outbound(sa).ok().map(|key| Usage::of_outbound(&self.outbound[&key].sa))
            }
        }
    }

    /// Tells what each SA has carried, inbound ones first, ordered by SPI.
    pub fn usages(&self) -> impl Iterator<Item = Usage> + '_ {
        let outbound = self.outbound.values().map(|outbound| Usage::of_outbound(&outbound.sa));
        self.inbound.values().map(Usage::of_inbound).chain(outbound)
    }

    /// Gives the counters of dropped packets that all snapshots share.
    pub fn drops(&self) -> &DropCounters {
        &self.tables.drops
    }

    fn install_policy(&mut self, spec: PolicySpec) -> Result<(), Rejection> {
        check_selectors(&spec.selectors)?;
        let id = spec.id;
        let outbound = self.policy(id).and_then(|policy| policy.outbound.clone());
        if self.policies.contains_key(&id) {
            self.unlist_policy(id)?;
        }
        let slot = self.free_policies.pop().unwrap_or(self.policies.len() as u32);
        let policy = Policy::new(Arc::new(spec), outbound);
        for (pair, candidate) in candidates(&policy, slot) {
            self.tables.index.insert(pair, candidate);
        }
        self.tables.policies.put(slot as usize, policy);
        self.policies.insert(id, slot);
        Ok(())
    }

    fn remove_policy(&mut self, id: PolicyId) -> Result<(), Rejection> {
        self.leave_outbound(id);
        self.unlist_policy(id)
    }

    /// Takes a policy out of the tables and frees its slot.
    fn unlist_policy(&mut self, id: PolicyId) -> Result<(), Rejection> {
        let slot = self.policies.remove(&id).ok_or(Rejection::UnknownPolicy(id))?;
        self.free_policies.push(slot);
        if let Some(policy) = self.tables.policies.at(slot as usize).cloned() {
            for (pair, candidate) in candidates(&policy, slot) {
                self.tables.index.remove(pair, candidate);
            }
            self.tables.policies.clear(slot as usize);
        }
        Ok(())
    }

    fn install_inbound(&mut self, spec: &SaSpec) -> Result<(), Rejection> {
        check_sa(spec)?;
        if self.inbound.contains_key(&spec.spi) {
            return Err(Rejection::DuplicateSa(spec.id()));
        }
        let sa = InboundSa::new(spec, self.seed).map_err(Rejection::Keys)?;
        // An SPI of our own has its slot already; anyone else's takes it if it is free.
        let _ = self.spis.claim(spec.spi);
        self.put_inbound(sa);
        Ok(())
    }

    /// Installs an outbound SA that has `used` sequence numbers behind it, for tests of what happens near their end.
    #[doc(hidden)]
    pub fn install_outbound(&mut self, spec: &SaSpec, used: u64) -> Result<(), Rejection> {
        check_sa(spec)?;
        let key = (spec.spi, spec.id().destination);
        if self.outbound.contains_key(&key) {
            return Err(Rejection::DuplicateSa(spec.id()));
        }
        let sa = OutboundSa::new(spec, self.seed, &mut *self.random, used).map_err(Rejection::Keys)?;
        self.outbound.insert(key, Outbound { sa, users: BTreeSet::new() });
        Ok(())
    }

    fn use_outbound(&mut self, policy: PolicyId, sa: SaId) -> Result<(), Rejection> {
        if !self.policies.contains_key(&policy) {
            return Err(Rejection::UnknownPolicy(policy));
        }
        let key = self.find_outbound(sa)?;
        self.leave_outbound(policy);
        let outbound = self.outbound.get_mut(&key).ok_or(Rejection::UnknownSa(sa))?;
        outbound.users.insert(policy);
        let sa = outbound.sa.clone();
        self.set_outbound(policy, Some(sa));
        Ok(())
    }

    fn remove_inbound(&mut self, id: SaId) -> Result<(), Rejection> {
        if !self.inbound.contains_key(&id.spi) && self.spis.holds(id.spi) {
            self.spis.release(id.spi);
            return Ok(());
        }
        let spi = self.find_inbound(id)?.spi();
        self.inbound.remove(&spi);
        if self.spis.holds(spi) {
            self.tables.inbound.clear(slot_of(spi) as usize);
            self.spis.release(spi);
        } else {
            Arc::make_mut(&mut self.tables.displaced).remove(&spi);
        }
        Ok(())
    }

    fn remove_outbound(&mut self, id: SaId) -> Result<(), Rejection> {
        let key = self.find_outbound(id)?;
        let outbound = self.outbound.remove(&key).ok_or(Rejection::UnknownSa(id))?;
        for policy in outbound.users {
            self.set_outbound(policy, None);
        }
        Ok(())
    }

    fn move_inbound(&mut self, id: SaId, outer: Outer) -> Result<(), Rejection> {
        let moved = self.find_inbound(id)?.moved(outer);
        self.put_inbound(moved);
        Ok(())
    }

    fn move_outbound(&mut self, id: SaId, outer: Outer) -> Result<(), Rejection> {
        let key = self.find_outbound(id)?;
        let outbound = self.outbound.get_mut(&key).ok_or(Rejection::UnknownSa(id))?;
        outbound.sa = outbound.sa.moved(outer);
        let sa = outbound.sa.clone();
        for policy in outbound.users.clone() {
            self.set_outbound(policy, Some(sa.clone()));
        }
        Ok(())
    }

    /// Lists an inbound SA where packets find it: in its slot if its SPI has one.
    fn put_inbound(&mut self, sa: InboundSa) {
        if self.spis.holds(sa.spi()) {
            self.tables.inbound.put(slot_of(sa.spi()) as usize, sa.clone());
        } else {
            Arc::make_mut(&mut self.tables.displaced).insert(sa.spi(), sa.clone());
        }
        self.inbound.insert(sa.spi(), sa);
    }

    fn set_outbound(&mut self, policy: PolicyId, sa: Option<OutboundSa>) {
        if let Some(slot) = self.policies.get(&policy)
            && let Some(spec) = self.policy(policy).map(|policy| Arc::clone(&policy.spec))
        {
            self.tables.policies.put(*slot as usize, Policy::new(spec, sa));
        }
    }

    /// Makes a policy no user of the outbound SA that it has, if any.
    fn leave_outbound(&mut self, policy: PolicyId) {
        if let Some(id) = self.policy(policy).and_then(|policy| policy.outbound.as_ref()).map(OutboundSa::id)
            && let Some(outbound) = self.outbound.get_mut(&(id.spi, id.destination))
        {
            outbound.users.remove(&policy);
        }
    }

    fn policy(&self, id: PolicyId) -> Option<&Policy> {
        self.tables.policies.at(*self.policies.get(&id)? as usize)
    }

    /// Finds an inbound SA by its SPI, which is enough; its address may have changed since it got its name.
    fn find_inbound(&self, id: SaId) -> Result<&InboundSa, Rejection> {
        self.inbound.get(&id.spi).filter(|sa| sa.id().protocol == id.protocol).ok_or(Rejection::UnknownSa(id))
    }

    /// Finds an outbound SA by its name, or by its SPI and the address that its peer has now.
    fn find_outbound(&self, id: SaId) -> Result<(Spi, IpAddr), Rejection> {
        let named = (id.spi, id.destination);
        if self.outbound.contains_key(&named) {
            return Ok(named);
        }
        self.outbound
            .range((id.spi, LOWEST_ADDRESS)..)
            .take_while(|((spi, _), _)| *spi == id.spi)
            .find(|(_, outbound)| outbound.sa.outer().remote.ip() == id.destination)
            .map(|(key, _)| *key)
            .ok_or(Rejection::UnknownSa(id))
    }
}

fn candidates(policy: &Policy, slot: u32) -> impl Iterator<Item = (&SelectorPair, Candidate)> {
    let rank = policy.rank();
    (0..)
        .zip(&policy.spec.selectors)
        .map(move |(pair, selectors)| (selectors, Candidate { rank, pair, policy: slot }))
}

fn check_sa(spec: &SaSpec) -> Result<(), Rejection> {
    if spec.protocol != Protocol::Esp {
        Err(Rejection::UnsupportedProtocol(spec.protocol))
    } else if spec.mode != Mode::Tunnel {
        Err(Rejection::UnsupportedMode(spec.mode))
    } else if spec.spi < Spi::LOWEST {
        Err(Rejection::ReservedSpi(spec.spi))
    } else if spec.replay_window > limits::REPLAY_WINDOW {
        Err(Rejection::ReplayWindow(spec.replay_window))
    } else {
        check_selectors(&spec.selectors)
    }
}

fn check_selectors(pairs: &[SelectorPair]) -> Result<(), Rejection> {
    if pairs.is_empty() {
        Err(Rejection::NoSelectors)
    } else if pairs.len() > limits::SELECTOR_PAIRS {
        Err(Rejection::TooManySelectors(pairs.len()))
    } else {
        match pairs.iter().find(|pair| pair.local.family() != pair.remote.family()) {
            Some(pair) => Err(Rejection::MixedFamilies(*pair)),
            None => Ok(()),
        }
    }
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
            .field("inbound", &self.inbound.len())
            .field("outbound", &self.outbound.len())
            .finish_non_exhaustive()
    }
}

/// The least address in their order.
const LOWEST_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
