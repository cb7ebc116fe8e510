//! Putting inner packets together from fragments (RFC 791 §3.2, RFC 8200 §4.5), where a policy or an SA has to see ports
//! that only the first fragment shows (RFC 4301 §7), and for transport mode, which takes whole packets only.
//!
//! ```text
//!   fragment ── put ──► waits for the rest ──────────► the whole packet, and how it was cut
//!                         │ overlaps another            the packet is spoiled, what else comes of it is dropped (RFC 5722)
//!                         │ too old, or no room left    the oldest go first
//! ```
//!
//! Fragments of one packet have the same addresses, identification and protocol, and came the same way: what arrives
//! through one policy's SAs never meets what arrives through another's. Memory is bounded in all and for each host and
//! peer, and the oldest packets make room: who sends fragments without end mostly loses their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use sa::{DeviceId, PolicyId};
use wire::ip::{Ecn, Flow, Fragments, Packet, Part};

use crate::limits::{
    FRAGMENT_COST, FRAGMENTS_PER_PACKET, REASSEMBLY_COST, REASSEMBLY_OCTETS, REASSEMBLY_OCTETS_PER_HOLDER,
    REASSEMBLY_TIME,
};
use crate::{DropCounters, DropReason};

/// The fragments that wait for the rest of their packets.
#[derive(Debug, Default)]
pub struct Reassembler {
    packets: BTreeMap<Key, Incomplete>,
    /// Whose fragments came first is first.
    by_age: BTreeMap<Serial, Key>,
    holders: BTreeMap<Holder, Held>,
    next: Serial,
    octets: usize,
}

/// Which way a fragment came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// From this host or a network behind it, through a device.
    Out(Option<DeviceId>),
    /// Through the SAs of a policy.
    In(PolicyId),
}

/// A packet put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassembled {
    /// The packet, its IP header first.
    pub packet: Vec<u8>,
    /// What its fragments had in common, for fragments of the same packet that are made anew.
    pub identification: u32,
    /// The octets of its longest fragment. Whoever cut it knew a path that takes no more, or no path that takes less.
    pub longest_fragment: usize,
}

impl Reassembled {
    /// Gives fragments of the packet again, none longer than those in which it came: whoever is next on its way may take no
    /// longer ones, and must not cut it if it is IPv6 or says so.
    pub fn fragments(&self) -> Vec<Vec<u8>> {
        match Fragments::new(&self.packet, self.longest_fragment, self.identification) {
            Ok(plan) => plan.iter().collect(),
            Err(_) => vec![self.packet.clone()],
        }
    }
}

/// What fragments of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    way: Way,
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    /// 0 in IPv6, where fragments of one packet may differ in it (RFC 8200 §4.5).
    protocol: u8,
}

/// Who answers for the memory that fragments take: a host on our side, or the peer of a policy with all hosts behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Host(IpAddr),
    Peer(PolicyId),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Serial(u64);

#[derive(Debug, Default)]
struct Held {
    octets: usize,
    packets: BTreeSet<Serial>,
}

#[derive(Debug)]
struct Incomplete {
    serial: Serial,
    since: Instant,
    /// The octets that it is counted with.
    cost: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Gathering(Gathered),
    /// What else comes of it is dropped.
    Spoiled,
}

#[derive(Debug, Default)]
struct Gathered {
    /// Ordered by offset, without overlap.
    parts: Vec<HeldPart>,
    /// Of all parts together.
    octets: usize,
    /// Where the last part ends, if it is there.
    end: Option<usize>,
    /// The front of the first fragment, if it is there.
    front: Option<(Part, Vec<u8>)>,
    longest_fragment: usize,
    not_capable: bool,
    congested: bool,
}

#[derive(Debug)]
struct HeldPart {
    offset: usize,
    octets: Vec<u8>,
}

/// A fragment that has been looked at.
struct Arrived<'a> {
    key: Key,
    part: Part,
    /// What is in front of the part, but for the IPv6 fragment header.
    front: &'a [u8],
    /// The part.
    octets: &'a [u8],
    /// Of the whole fragment, in octets.
    len: usize,
    ecn: Ecn,
}

/// What a further fragment makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Waits,
    Complete,
    /// The fragment is dropped, and the others wait on.
    Refused(DropReason),
    /// The packet is given up.
    Spoiled(DropReason),
}

impl Reassembler {
    /// Takes the fragment at the front of `bytes`; gives the whole packet if this was all that it lacked.
    ///
    /// Fragments that are dropped, this one or others, are counted in `drops`. A packet that is no fragment counts as a
    /// malformed one.
    pub fn put(&mut self, way: Way, bytes: &[u8], now: Instant, drops: &DropCounters) -> Option<Reassembled> {
        self.expire(now, drops);
        let arrived = Arrived::read(way, bytes).inspect_err(|reason| drops.count(*reason)).ok()?;
        let key = arrived.key;
        let step = self.entry(key, now).take(&arrived);
        match step {
            Step::Waits => self.charge(&key, FRAGMENT_COST + arrived.octets.len(), drops),
            Step::Complete => {
                return self.remove(&key)?.finish().inspect_err(|reason| drops.count(*reason)).ok();
            }
            Step::Refused(reason) => drops.count(reason),
            Step::Spoiled(reason) => {
                drops.count(reason);
                self.spoil(&key, reason, drops);
            }
        }
        None
    }

    /// Gives up the packets that lack fragments for too long, and counts what there is of them in `drops`.
    pub fn expire(&mut self, now: Instant, drops: &DropCounters) {
        let is_over = |packet: &Incomplete| now.saturating_duration_since(packet.since) >= REASSEMBLY_TIME;
        while let Some(key) = self.by_age.first_key_value().map(|(_, key)| *key)
            && self.packets.get(&key).is_none_or(is_over)
        {
            self.evict(&key, DropReason::ReassemblyTimeout, drops);
        }
    }

    /// Gives the octets that waiting fragments take, as [`limits`](crate::limits) counts them.
    pub fn octets(&self) -> usize {
        self.octets
    }

    fn entry(&mut self, key: Key, now: Instant) -> &mut Incomplete {
        self.packets.entry(key).or_insert_with(|| {
            let serial = self.next;
            self.next = Serial(serial.0 + 1);
            self.by_age.insert(serial, key);
            let held = self.holders.entry(key.holder()).or_default();
            held.packets.insert(serial);
            held.octets += REASSEMBLY_COST;
            self.octets += REASSEMBLY_COST;
            let state = State::Gathering(Gathered::default());
            Incomplete { serial, since: now, cost: REASSEMBLY_COST, state }
        })
    }

    /// Counts what a packet takes more, and makes room for it.
    fn charge(&mut self, key: &Key, cost: usize, drops: &DropCounters) {
        if let Some(packet) = self.packets.get_mut(key) {
            packet.cost += cost;
            self.octets += cost;
            self.holders.entry(key.holder()).or_default().octets += cost;
        }
        while let Some(held) = self.holders.get(&key.holder())
            && held.octets > REASSEMBLY_OCTETS_PER_HOLDER
            && let Some(oldest) = held.packets.first().and_then(|serial| self.by_age.get(serial)).copied()
        {
            self.evict(&oldest, DropReason::ReassemblyFull, drops);
        }
        while self.octets > REASSEMBLY_OCTETS
            && let Some(oldest) = self.by_age.first_key_value().map(|(_, key)| *key)
        {
            self.evict(&oldest, DropReason::ReassemblyFull, drops);
        }
    }

    /// Gives a packet up, but remembers it, so that what else comes of it is known (RFC 5722 §4).
    fn spoil(&mut self, key: &Key, reason: DropReason, drops: &DropCounters) {
        if let Some(packet) = self.packets.get_mut(key) {
            packet.count_parts(reason, drops);
            let freed = packet.cost - REASSEMBLY_COST;
            packet.cost = REASSEMBLY_COST;
            packet.state = State::Spoiled;
            self.release(key.holder(), freed);
        }
    }

    fn evict(&mut self, key: &Key, reason: DropReason, drops: &DropCounters) {
        if let Some(packet) = self.remove(key) {
            packet.count_parts(reason, drops);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Incomplete> {
        let packet = self.packets.remove(key)?;
        self.by_age.remove(&packet.serial);
        let holder = key.holder();
        self.release(holder, packet.cost);
        if let Some(held) = self.holders.get_mut(&holder) {
            held.packets.remove(&packet.serial);
            if held.packets.is_empty() {
                self.holders.remove(&holder);
            }
        }
        Some(packet)
    }

    fn release(&mut self, holder: Holder, octets: usize) {
        self.octets -= octets;
        if let Some(held) = self.holders.get_mut(&holder) {
            held.octets -= octets;
        }
    }
}

impl Key {
    fn holder(&self) -> Holder {
        match self.way {
            Way::Out(_) => Holder::Host(self.source),
            Way::In(policy) => Holder::Peer(policy),
        }
    }
}

impl<'a> Arrived<'a> {
    fn read(way: Way, bytes: &'a [u8]) -> Result<Arrived<'a>, DropReason> {
        let packet = Packet::new(bytes).map_err(|_| DropReason::MalformedInner)?;
        let part = Part::of(&packet).map_err(|_| DropReason::MalformedInner)?;
        let part = part.ok_or(DropReason::MalformedFragment)?;
        let octets = bytes.get(part.start..packet.total_length()).unwrap_or_default();
        // RFC 8200 §4.5: a part that others follow has whole units of eight octets, and no packet is longer than 64 KiB.
        let is_possible = !octets.is_empty()
            && (!part.more || octets.len().is_multiple_of(8))
            && part.offset + octets.len() <= usize::from(u16::MAX);
        if !is_possible {
            return Err(DropReason::MalformedFragment);
        }
        // RFC 7112 §5: the first fragment shows all headers. One that hides its ports wants to get past a policy.
        if part.offset == 0 && Flow::of_packet(&packet).is_err() {
            return Err(DropReason::TinyFragment);
        }
        let protocol = match packet {
            Packet::V4(_) => part.protocol,
            Packet::V6(_) => 0,
        };
        let (source, destination) = (packet.source(), packet.destination());
        let key = Key { way, source, destination, identification: part.identification, protocol };
        Ok(Arrived {
            key,
            part,
            front: &bytes[..part.header_len],
            octets,
            len: packet.total_length(),
            ecn: packet.ecn(),
        })
    }
}

impl Incomplete {
    fn take(&mut self, arrived: &Arrived<'_>) -> Step {
        match &mut self.state {
            State::Gathering(gathered) => gathered.take(arrived),
            State::Spoiled => Step::Refused(DropReason::OverlappingFragments),
        }
    }

    fn finish(self) -> Result<Reassembled, DropReason> {
        match self.state {
            State::Gathering(gathered) => gathered.finish(),
            State::Spoiled => Err(DropReason::OverlappingFragments),
        }
    }

    fn count_parts(&self, reason: DropReason, drops: &DropCounters) {
        match &self.state {
            State::Gathering(gathered) => gathered.parts.iter().for_each(|_| drops.count(reason)),
            State::Spoiled => {}
        }
    }
}

impl Gathered {
    fn take(&mut self, arrived: &Arrived<'_>) -> Step {
        let Arrived { part, octets, .. } = *arrived;
        let (start, end) = (part.offset, part.offset + octets.len());
        let at = self.parts.partition_point(|held| held.offset < start);
        if self.parts.get(at).is_some_and(|held| held.offset == start && held.octets == octets) {
            return Step::Refused(DropReason::DuplicateFragment);
        }
        let meets_earlier = at.checked_sub(1).is_some_and(|before| self.parts[before].end() > start);
        let meets_later = self.parts.get(at).is_some_and(|held| held.offset < end);
        let passes_end = self.end.is_some_and(|last| end > last || !part.more);
        let ends_early = !part.more && self.parts.last().is_some_and(|held| held.end() > end);
        if meets_earlier || meets_later || passes_end || ends_early {
            return Step::Spoiled(DropReason::OverlappingFragments);
        }
        if self.parts.len() == FRAGMENTS_PER_PACKET {
            return Step::Spoiled(DropReason::TooManyFragments);
        }
        self.parts.insert(at, HeldPart { offset: start, octets: octets.to_vec() });
        self.octets += octets.len();
        if start == 0 {
            self.front = Some((part, arrived.front.to_vec()));
        }
        if !part.more {
            self.end = Some(end);
        }
        self.longest_fragment = self.longest_fragment.max(arrived.len);
        self.not_capable |= arrived.ecn == Ecn::NotCapable;
        self.congested |= arrived.ecn == Ecn::CongestionExperienced;
        if self.end == Some(self.octets) { Step::Complete } else { Step::Waits }
    }

    fn finish(self) -> Result<Reassembled, DropReason> {
        let (part, front) = self.front.ok_or(DropReason::MalformedFragment)?;
        let mut packet = Vec::with_capacity(part.header_len + self.octets);
        packet.resize(part.header_len, 0);
        let written = part.write_whole_header(&front, self.octets, &mut packet);
        written.map_err(|_| DropReason::MalformedFragment)?;
        self.parts.iter().for_each(|held| packet.extend_from_slice(&held.octets));
        if self.congested {
            // RFC 3168 §5.3: the report is carried over, unless one of the fragments could not have carried it.
            if self.not_capable {
                return Err(DropReason::Congestion);
            }
            let whole = Packet::new(&mut packet[..]);
            whole.map_err(|_| DropReason::MalformedFragment)?.set_ecn(Ecn::CongestionExperienced);
        }
        let (identification, longest_fragment) = (part.identification, self.longest_fragment);
        Ok(Reassembled { packet, identification, longest_fragment })
    }
}

impl HeldPart {
    fn end(&self) -> usize {
        self.offset + self.octets.len()
    }
}
