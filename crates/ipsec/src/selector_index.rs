//! Finding the policy of a packet without asking every policy.
//!
//! A selector is a box in five dimensions: two addresses, a protocol, two ports. Each side of the box is covered by one
//! or two *blocks*, a block being all values that share a number of leading bits. Boxes whose blocks have the same
//! lengths have the same *shape*, and those of one shape stand in a hash table under their leading bits:
//!
//! ```text
//!   10.1.0.0/16 <-> 10.2.7.1/32           shape 16 32 0 0 0     key 10.1 10.2.7.1
//!   10.1.0.0/16 <-> 10.2.7.2/32           shape 16 32 0 0 0     key 10.1 10.2.7.2
//!   10.1.0.0/16 <-> 10.3.0.0/16[tcp/80]   shape 16 16 8 0 17    key 10.1 10.3 tcp 80
//! ```
//!
//! A packet is looked up once in each shape, best priority first, until no remaining shape can hold a better policy than
//! the one found. So the cost grows with the number of shapes, of which a configuration has a handful, and not with the
//! number of policies: a hundred thousand road warriors are one shape. A range of addresses or ports that is no block is
//! covered by two that may be wider than it, and of a key only its hash is kept; so whether the packet is really selected
//! is asked of the selector itself. Policies that share a key (equal selectors, or ranges under one block) are tried one
//! after the other.
//!
//! The index is persistent: a clone shares everything, and a change copies the shapes' heads and one page of one table.

use sa::{Family, IpProtocol, PolicyId, PortRange, SelectorPair, TrafficSelector};
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::ends::Ends;
use crate::hash_pages::{HashPages, Keep, Seed};

/// The order of policies: the lowest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) priority: u32,
    pub(crate) id: PolicyId,
}

/// One selector pair of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) rank: Rank,
    /// Which of the policy's pairs.
    pub(crate) pair: u32,
    /// The policy's place in the table of policies.
    pub(crate) policy: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct SelectorIndex {
    seed: Seed,
    /// Ordered by `best`.
    shapes: Arc<Vec<ShapeTable>>,
}

#[derive(Clone, Debug)]
struct ShapeTable {
    shape: Shape,
    /// The bits that count in this shape.
    mask: Key,
    /// No policy of this shape ranks before it; a policy that was removed may have been the last to rank so high.
    best: Rank,
    /// By what the keys hash to: a key itself would take more memory than all else.
    table: HashPages<u64, Candidates>,
}

impl SelectorIndex {
    pub(crate) fn new(seed: Seed) -> SelectorIndex {
        SelectorIndex { seed, shapes: Arc::new(Vec::new()) }
    }

    /// Gives the lowest-ranking candidate that `selects` the packet; the index alone never knows for certain.
    pub(crate) fn first(&self, ends: &Ends, selects: impl Fn(&Candidate) -> bool) -> Option<Candidate> {
        let (family, point) = (Family::of(ends.local), Key::point(ends));
        let mut found: Option<Candidate> = None;
        for shape in self.shapes.iter().filter(|table| table.shape.family == family) {
            if found.is_some_and(|found| found.rank <= shape.best) {
                break;
            }
            let key = self.seed.hash_one(point.masked(&shape.mask));
            let same_key = shape.table.at(&key).map_or(&[][..], Candidates::as_slice);
            let better = same_key
                .iter()
                .take_while(|candidate| found.is_none_or(|found| candidate.rank < found.rank))
                .find(|candidate| selects(candidate));
            found = better.copied().or(found);
        }
        found
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Tells whether some selector selects by ports.
    pub(crate) fn looks_at_ports(&self) -> bool {
        self.shapes.iter().any(|table| table.shape.local_port > 0 || table.shape.remote_port > 0)
    }

    pub(crate) fn insert(&mut self, pair: &SelectorPair, candidate: Candidate) {
        for (shape, key) in boxes(pair) {
            let shapes = Arc::make_mut(&mut self.shapes);
            let index = shapes.iter().position(|table| table.shape == shape).unwrap_or_else(|| {
                let (mask, best) = (Key::mask(&shape), candidate.rank);
                shapes.push(ShapeTable { shape, mask, best, table: HashPages::new(self.seed) });
                shapes.len() - 1
            });
            shapes[index].best = shapes[index].best.min(candidate.rank);
            shapes[index].table.change(self.seed.hash_one(key), |candidates| {
                candidates.insert(candidate);
                Keep::Yes
            });
            shapes.sort_by_key(|table| table.best);
        }
    }

    pub(crate) fn remove(&mut self, pair: &SelectorPair, candidate: Candidate) {
        for (shape, key) in boxes(pair) {
            let shapes = Arc::make_mut(&mut self.shapes);
            if let Some(table) = shapes.iter_mut().find(|table| table.shape == shape) {
                table.table.change(self.seed.hash_one(key), |candidates| {
                    candidates.remove(candidate);
                    if candidates.as_slice().is_empty() { Keep::No } else { Keep::Yes }
                });
            }
            shapes.retain(|table| !table.table.is_empty());
        }
    }
}

/// The candidates of one key, in order; mostly there is one, which then needs no memory of its own.
#[derive(Clone, Debug, Default)]
enum Candidates {
    #[default]
    None,
    One(Candidate),
    Several(Box<[Candidate]>),
}

/// Two keys and what they lead to are one cache line.
const _: () = assert!(size_of::<Option<(u64, Candidates)>>() == 32);

impl Candidates {
    fn as_slice(&self) -> &[Candidate] {
        match self {
            Candidates::None => &[],
            Candidates::One(candidate) => std::slice::from_ref(candidate),
            Candidates::Several(candidates) => candidates,
        }
    }

    fn insert(&mut self, candidate: Candidate) {
        let mut candidates = self.as_slice().to_vec();
        candidates.insert(candidates.partition_point(|other| *other < candidate), candidate);
        *self = Candidates::of(candidates);
    }

    fn remove(&mut self, candidate: Candidate) {
        let mut candidates = self.as_slice().to_vec();
        candidates.retain(|other| *other != candidate);
        *self = Candidates::of(candidates);
    }

    fn of(candidates: Vec<Candidate>) -> Candidates {
        match candidates[..] {
            [] => Candidates::None,
            [candidate] => Candidates::One(candidate),
            _ => Candidates::Several(candidates.into()),
        }
    }
}

/// How many leading bits count in each dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    family: Family,
    local: u32,
    remote: u32,
    protocol: u32,
    local_port: u32,
    remote_port: u32,
}

/// The leading bits in each dimension; for a packet, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    /// In halves: whole, they would be aligned to 16 octets.
    local: [u64; 2],
    remote: [u64; 2],
    /// Family, protocol and both ports, so that the hash has fewer words to mix.
    rest: u64,
}

impl Key {
    fn point(ends: &Ends) -> Key {
        Key::of(
            Family::of(ends.local),
            address_bits(ends.local),
            address_bits(ends.remote),
            ends.protocol.0,
            port_bits(ends.local_port),
            port_bits(ends.remote_port),
        )
    }

    fn of(family: Family, local: u128, remote: u128, protocol: u8, local_port: u32, remote_port: u32) -> Key {
        let family = if family == Family::V6 { FAMILY_BIT } else { 0 };
        let ports = u64::from(local_port) << PORT_BITS | u64::from(remote_port);
        let rest = family | u64::from(protocol) << (2 * PORT_BITS) | ports;
        Key { local: halves(local), remote: halves(remote), rest }
    }

    fn mask(shape: &Shape) -> Key {
        let ports = u64::from(leading(PORT_BITS, shape.local_port)) << PORT_BITS
            | u64::from(leading(PORT_BITS, shape.remote_port));
        Key {
            local: halves(leading_address(shape.local)),
            remote: halves(leading_address(shape.remote)),
            rest: FAMILY_BIT | u64::from(leading(8, shape.protocol)) << (2 * PORT_BITS) | ports,
        }
    }

    fn masked(&self, mask: &Key) -> Key {
        let and = |[high, low]: [u64; 2], mask: [u64; 2]| [high & mask[0], low & mask[1]];
        Key {
            local: and(self.local, mask.local),
            remote: and(self.remote, mask.remote),
            rest: self.rest & mask.rest,
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.local[0]);
        state.write_u64(self.remote[0]);
        state.write_u64(self.rest);
        // IPv4 addresses end before.
        if self.rest & FAMILY_BIT != 0 {
            state.write_u64(self.local[1]);
            state.write_u64(self.remote[1]);
        }
    }
}

/// Covers a selector pair with boxes, 16 at most; with none if its ends are of two families or two protocols, since it
/// selects nothing then.
fn boxes(pair: &SelectorPair) -> Vec<(Shape, Key)> {
    let SelectorPair { local, remote } = pair;
    let family = local.family();
    let protocol = match (local.protocol, remote.protocol) {
        (IpProtocol::ANY, protocol) | (protocol, IpProtocol::ANY) => Some(protocol),
        (left, right) => (left == right).then_some(left),
    };
    let Some(protocol) = protocol.filter(|_| remote.family() == family) else {
        return Vec::new();
    };
    let [locals, remotes] = [local, remote].map(address_blocks);
    let [local_ports, remote_ports] = [local.ports, remote.ports].map(port_blocks);

    let mut boxes = Vec::new();
    for (local, remote) in locals.iter().flat_map(|local| remotes.iter().map(move |remote| (local, remote))) {
        for local_port in &local_ports {
            for remote_port in &remote_ports {
                let shape = Shape {
                    family,
                    local: local.len,
                    remote: remote.len,
                    protocol: if protocol == IpProtocol::ANY { 0 } else { 8 },
                    local_port: local_port.len,
                    remote_port: remote_port.len,
                };
                let ports = (local_port.start as u32, remote_port.start as u32);
                boxes.push((shape, Key::of(family, local.start, remote.start, protocol.0, ports.0, ports.1)));
            }
        }
    }
    boxes
}

/// All values whose first `len` bits are those of `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    start: u128,
    len: u32,
}

/// Covers a range of `width`-bit values with one block if it is one, else with the smallest block on either side of its
/// middle, the value in it with the most trailing zeros.
fn blocks(start: u128, end: u128, width: u32) -> Vec<Block> {
    let around = |start: u128, end: u128| {
        let free = 128 - (start ^ end).leading_zeros();
        Block { start: start & !low_bits(free), len: width - free }
    };
    let whole = around(start, end);
    if whole.start == start && whole.start | low_bits(width - whole.len) == end {
        return vec![whole];
    }
    let middle = end & !low_bits(127 - (start ^ end).leading_zeros());
    vec![around(start, middle - 1), around(middle, end)]
}

fn address_blocks(selector: &TrafficSelector) -> Vec<Block> {
    let (start, end) = (address_bits(selector.addresses.start()), address_bits(selector.addresses.end()));
    match selector.family() {
        Family::V4 => {
            let mut blocks = blocks(start >> V4_SHIFT, end >> V4_SHIFT, 32);
            blocks.iter_mut().for_each(|block| block.start <<= V4_SHIFT);
            blocks
        }
        Family::V6 => blocks(start, end, 128),
    }
}

fn port_blocks(ports: PortRange) -> Vec<Block> {
    match ports {
        PortRange::ANY => vec![Block { start: 0, len: 0 }],
        PortRange::OPAQUE => vec![Block { start: UNSEEN_PORT.into(), len: PORT_BITS }],
        ports => blocks(ports.start().into(), ports.end().into(), PORT_BITS),
    }
}

/// An address, its first bit leftmost in either family.
fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << V4_SHIFT,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A port in 17 bits, so that one that cannot be seen is a value like any other.
fn port_bits(port: Option<u16>) -> u32 {
    port.map_or(UNSEEN_PORT, u32::from)
}

fn halves(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

fn low_bits(count: u32) -> u128 {
    1u128.checked_shl(count).map_or(u128::MAX, |power| power - 1)
}

fn leading_address(len: u32) -> u128 {
    !(u128::MAX.checked_shr(len).unwrap_or(0))
}

fn leading(width: u32, len: u32) -> u32 {
    ((1 << width) - 1) & !(((1u32 << width) - 1) >> len)
}

const V4_SHIFT: u32 = 96;
const PORT_BITS: u32 = 17;
const UNSEEN_PORT: u32 = 1 << 16;
const FAMILY_BIT: u64 = 1 << 63;
