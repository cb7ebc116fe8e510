//! Which packets must not pass this host unprotected, as look-ups that the kernel's packet filter can make.
//!
//! A block is what a protecting policy says, said to the kernel: it holds while no data plane runs and whatever becomes of
//! routes. As in the data plane's own index, a selector pair is cut into boxes whose sides are prefixes (of addresses,
//! ports, ICMP's type and code); boxes whose prefixes have the same lengths have the same [`Shape`], and those of one shape
//! are the elements of one hashed set. So a packet costs one look-up for each shape, however many policies there are.
//!
//! Between bypass policies the order of the others does not matter: whichever selects a packet refuses it. So the sets
//! stand in [`Stage`]s, and the first stage that knows the packet decides:
//!
//! ```text
//!   0  pass     our side of the tunnels: what the routes leave alone inside a wider remote selector
//!   1  refuse   policies before the first bypass policy
//!   2  pass     the first bypass policy
//!   3  refuse   policies between the first and the second ...
//! ```
//!
//! A block may be wider than its policy where the kernel sees less than we do, and an exception narrower: a fragment other
//! than the first has no ports to look at, so it is refused where a policy protects any port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sa::{AddressRange, Family, IpProtocol, PolicyAction, PolicyId, PolicySpec, PortRange, SelectorPair};
use wire::ip::protocol;

use super::super::route_plan::{Rank, RoutePlan, rank};
use crate::limits::BLOCK_BOXES_OF_A_PAIR;

/// The policies as the packet filter is to know them.
#[derive(Debug, Default)]
pub(super) struct BlockPlan {
    policies: BTreeMap<Rank, PolicySpec>,
    ranks: BTreeMap<PolicyId, Rank>,
    /// Those of bypass policies.
    passing: BTreeSet<Rank>,
    sides: RoutePlan,
    our_side: BTreeSet<AddressRange>,
    layout: Layout,
}

/// All sets and what is in them; an element that several policies put there is counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    sets: BTreeMap<SetId, BTreeMap<Key, usize>>,
}

/// What changed in a plan.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Update {
    /// These, in this order: more is refused before less is.
    Changes(Vec<Change>),
    /// The stages moved: everything is to be laid out anew.
    Everything,
}

impl Update {
    /// Joins what happened first, and what happened then.
    pub(super) fn and(self, then: Update) -> Update {
        match (self, then) {
            // Whoever carries changes out adds before it removes.
            (Update::Changes(first), Update::Changes(then))
                if first.iter().all(|change| change.adds()) || !then.iter().any(|change| change.adds()) =>
            {
                Update::Changes([first, then].concat())
            }
            _ => Update::Everything,
        }
    }
}

impl Change {
    fn adds(&self) -> bool {
        match self {
            Change::AddSet(_) | Change::Add(..) => true,
            Change::Remove(..) | Change::RemoveSet(_) => false,
        }
    }
}

/// A difference between the sets as they are and as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    AddSet(SetId),
    Add(SetId, Key),
    Remove(SetId, Key),
    /// It is empty.
    RemoveSet(SetId),
}

/// Names a set; in the order in which sets are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SetId {
    pub(super) stage: Stage,
    pub(super) shape: Shape,
}

/// A turn in the order of look-ups, and what it says of a packet that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// A policy selects the packet as one that leaves and as one that arrives: which of the two it is, is known only when
    /// it has been routed.
    EitherWay,
    /// The packet passes or is refused.
    Turn(u32, Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Pass,
    Refuse,
}

/// How many leading bits count in each dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    pub(super) family: Family,
    pub(super) local: u8,
    pub(super) remote: u8,
    pub(super) upper: Upper,
}

/// What a shape looks at above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Upper {
    Nothing,
    Protocol,
    /// The protocol, of fragments other than the first.
    LaterFragment,
    /// The protocol and the leading bits of the ports.
    Ports {
        local: u8,
        remote: u8,
    },
    /// The protocol and the leading bits of ICMP's type and code.
    Icmp(u8),
}

/// The leading bits in each dimension; what a shape does not look at is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    pub(super) protocol: u8,
    pub(super) ports: PortBits,
}

/// Leading bits of what stands in for ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortBits {
    /// Our port, or ICMP's type and code.
    pub(super) local: u16,
    pub(super) remote: u16,
}

impl BlockPlan {
    /// Takes a policy in, in place of the one of the same name.
    pub(super) fn install(&mut self, spec: &PolicySpec) -> Update {
        let rank = rank(spec);
        self.sides.install(spec, &[]);
        let before = self.ranks.insert(spec.id, rank);
        let replaced = before.and_then(|before| self.policies.remove(&before));
        self.policies.insert(rank, spec.clone());
        self.settle(Some(spec), replaced.as_ref())
    }

    /// Takes a policy out.
    pub(super) fn remove(&mut self, id: PolicyId) -> Update {
        self.sides.remove(id);
        let removed = self.ranks.remove(&id).and_then(|rank| self.policies.remove(&rank));
        self.settle(None, removed.as_ref())
    }

    /// Gives the policies, the one that wins first.
    pub(super) fn policies(&self) -> impl ExactSizeIterator<Item = &PolicySpec> {
        self.policies.values()
    }

    /// Gives all sets.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    fn settle(&mut self, new: Option<&PolicySpec>, old: Option<&PolicySpec>) -> Update {
        let our_side = std::mem::replace(&mut self.our_side, self.sides.thrown());
        let passes = |spec: &&PolicySpec| verdict(spec.action) == Verdict::Pass;
        if new.filter(passes).is_some() || old.filter(passes).is_some() {
            self.passing = self.policies.values().filter(passes).map(rank).collect();
            self.layout = self.laid_out_anew();
            return Update::Everything;
        }
        let mut changes = Vec::new();
        let (added, removed) = (new.map(|spec| self.elements(spec)), old.map(|spec| self.elements(spec)));
        for (id, key) in added.into_iter().flatten() {
            self.layout.add(id, key, &mut changes);
        }
        for (id, key) in self.our_side.difference(&our_side).flat_map(our_side_elements) {
            self.layout.add(id, key, &mut changes);
        }
        for (id, key) in our_side.difference(&self.our_side).flat_map(our_side_elements) {
            self.layout.remove(id, key, &mut changes);
        }
        for (id, key) in removed.into_iter().flatten() {
            self.layout.remove(id, key, &mut changes);
        }
        Update::Changes(changes)
    }

    fn laid_out_anew(&self) -> Layout {
        let mut layout = Layout::default();
        let policies = self.policies.values().flat_map(|spec| self.elements(spec));
        for (id, key) in self.our_side.iter().flat_map(our_side_elements).chain(policies) {
            layout.add(id, key, &mut Vec::new());
        }
        layout
    }

    /// Gives a policy's elements of sets.
    fn elements(&self, spec: &PolicySpec) -> Vec<(SetId, Key)> {
        let rank = rank(spec);
        let passing_before = self.passing.range(..rank).count() as u32;
        let mut elements = Vec::new();
        for pair in &spec.selectors {
            match verdict(spec.action) {
                Verdict::Pass => {
                    let stage = Stage::Turn(2 * passing_before + 2, Verdict::Pass);
                    elements.extend(in_stage(stage, boxes(pair, Verdict::Pass)));
                }
                Verdict::Refuse => {
                    let stage = Stage::Turn(2 * passing_before + 1, Verdict::Refuse);
                    elements.extend(in_stage(stage, boxes(pair, Verdict::Refuse)));
                    if let Some(both) = pair.local.intersection(&pair.remote) {
                        let pair = SelectorPair { local: both, remote: both };
                        elements.extend(in_stage(Stage::EitherWay, boxes(&pair, Verdict::Pass)));
                    }
                }
            }
        }
        elements
    }
}

impl Layout {
    /// Gives the sets in the order in which they are asked, each with its elements.
    pub(super) fn sets(&self) -> impl Iterator<Item = (SetId, impl Iterator<Item = Key>)> {
        self.sets.iter().map(|(id, keys)| (*id, keys.keys().copied()))
    }

    fn add(&mut self, id: SetId, key: Key, changes: &mut Vec<Change>) {
        let keys = self.sets.entry(id).or_insert_with(|| {
            changes.push(Change::AddSet(id));
            BTreeMap::new()
        });
        let users = keys.entry(key).or_default();
        *users += 1;
        if *users == 1 {
            changes.push(Change::Add(id, key));
        }
    }

    fn remove(&mut self, id: SetId, key: Key, changes: &mut Vec<Change>) {
        let Some(keys) = self.sets.get_mut(&id) else { return };
        let Some(users) = keys.get_mut(&key) else { return };
        *users -= 1;
        if *users == 0 {
            keys.remove(&key);
            changes.push(Change::Remove(id, key));
        }
        if keys.is_empty() {
            self.sets.remove(&id);
            changes.push(Change::RemoveSet(id));
        }
    }
}

/// What a policy says of a packet that is not protected.
fn verdict(action: PolicyAction) -> Verdict {
    match action {
        PolicyAction::Protect | PolicyAction::Trap | PolicyAction::Discard => Verdict::Refuse,
        PolicyAction::Bypass => Verdict::Pass,
    }
}

fn our_side_elements(range: &AddressRange) -> Vec<(SetId, Key)> {
    let everywhere = AddressRange::any(range.family());
    let pair = SelectorPair {
        local: sa::TrafficSelector::all_of(everywhere),
        remote: sa::TrafficSelector::all_of(*range),
    };
    in_stage(Stage::Turn(0, Verdict::Pass), boxes(&pair, Verdict::Pass)).collect()
}

fn in_stage(stage: Stage, boxes: Vec<(Shape, Key)>) -> impl Iterator<Item = (SetId, Key)> {
    boxes.into_iter().map(move |(shape, key)| (SetId { stage, shape }, key))
}

/// Cuts a selector pair into boxes.
///
/// A pair of odd ranges that would need too many becomes one wider box if it refuses, and none if it passes.
fn boxes(pair: &SelectorPair, verdict: Verdict) -> Vec<(Shape, Key)> {
    let family = pair.local.family();
    let protocol = match (pair.local.protocol, pair.remote.protocol) {
        (IpProtocol::ANY, protocol) | (protocol, IpProtocol::ANY) => protocol,
        (left, right) if left == right => left,
        _ => return Vec::new(),
    };
    if pair.remote.family() != family {
        return Vec::new();
    }
    let locals = pair.local.addresses.prefixes();
    let remotes = pair.remote.addresses.prefixes();
    let uppers = uppers(family, protocol, pair.local.ports, pair.remote.ports, verdict);
    if locals.len() * remotes.len() * uppers.len() > BLOCK_BOXES_OF_A_PAIR {
        return match verdict {
            Verdict::Refuse => vec![around(pair)],
            Verdict::Pass => Vec::new(),
        };
    }
    let mut boxes = Vec::new();
    for ((local, local_len), (remote, remote_len)) in
        locals.iter().flat_map(|local| remotes.iter().map(move |remote| (*local, *remote)))
    {
        for &(upper, protocol, ports) in &uppers {
            let shape = Shape { family, local: local_len, remote: remote_len, upper };
            boxes.push((shape, Key { local, remote, protocol, ports }));
        }
    }
    boxes
}

/// Gives one box that holds all that a pair selects.
fn around(pair: &SelectorPair) -> (Shape, Key) {
    let family = pair.local.family();
    let prefix = |range: AddressRange| {
        let length = family.bits() - range.host_bits() as u8;
        AddressRange::prefix(range.start(), length)
            .map_or((family.unspecified(), 0), |range| (range.start(), length))
    };
    let ((local, local_len), (remote, remote_len)) =
        (prefix(pair.local.addresses), prefix(pair.remote.addresses));
    let shape = Shape { family, local: local_len, remote: remote_len, upper: Upper::Nothing };
    (shape, Key { local, remote, protocol: 0, ports: PortBits::default() })
}

/// Cuts protocol and ports into what shapes can look at.
fn uppers(
    family: Family,
    protocol: IpProtocol,
    local: PortRange,
    remote: PortRange,
    verdict: Verdict,
) -> Vec<(Upper, u8, PortBits)> {
    let no_ports = PortBits::default();
    if local == PortRange::ANY && remote == PortRange::ANY {
        let upper = if protocol == IpProtocol::ANY { Upper::Nothing } else { Upper::Protocol };
        return vec![(upper, protocol.0, no_ports)];
    }
    let protocols = match protocol {
        IpProtocol::ANY => with_ports(family),
        IpProtocol(one) => vec![one],
    };
    protocols
        .into_iter()
        .flat_map(|protocol| {
            let mut uppers = match protocol {
                protocol::ICMP | protocol::ICMPV6 => icmp_uppers(protocol, local, remote),
                protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::DCCP | protocol::SCTP => {
                    port_uppers(protocol, local, remote)
                }
                // RFC 6275's type takes the place of ports; it is no part of the filter's look-ups.
                protocol::MOBILITY if verdict == Verdict::Refuse => {
                    vec![(Upper::Protocol, protocol, no_ports)]
                }
                // A selector of ports selects no packet of a protocol without them.
                _ => Vec::new(),
            };
            let only_later = |ports| ports == PortRange::ANY || ports == PortRange::OPAQUE;
            let any_later = !uppers.is_empty() && verdict == Verdict::Refuse;
            if any_later || only_later(local) && only_later(remote) {
                uppers.push((Upper::LaterFragment, protocol, no_ports));
            }
            uppers
        })
        .collect()
}

fn port_uppers(protocol: u8, local: PortRange, remote: PortRange) -> Vec<(Upper, u8, PortBits)> {
    let remotes = port_blocks(remote);
    let pairs =
        port_blocks(local).into_iter().flat_map(|local| remotes.iter().map(move |remote| (local, *remote)));
    pairs
        .map(|((local, local_len), (remote, remote_len))| {
            let upper = Upper::Ports { local: local_len, remote: remote_len };
            (upper, protocol, PortBits { local, remote })
        })
        .collect()
}

/// ICMP's type and code belong to neither end: both ends' selectors must hold them.
fn icmp_uppers(protocol: u8, local: PortRange, remote: PortRange) -> Vec<(Upper, u8, PortBits)> {
    let both = local.intersection(remote).map_or_else(Vec::new, port_blocks);
    both.into_iter()
        .map(|(start, length)| (Upper::Icmp(length), protocol, PortBits { local: start, remote: 0 }))
        .collect()
}

/// Gives the fewest prefixes of 16 bits that together are a range; none for OPAQUE, which is no port.
fn port_blocks(ports: PortRange) -> Vec<(u16, u8)> {
    let mut blocks = Vec::new();
    let (mut next, last) = (u32::from(ports.start()), u32::from(ports.end()));
    while next <= last {
        let aligned = next.trailing_zeros().min(16);
        let bits = (0..=aligned).rev().find(|bits| next + (1 << bits) - 1 <= last).unwrap_or(0);
        blocks.push((next as u16, 16 - bits as u8));
        next += 1 << bits;
    }
    blocks
}

/// The protocols whose packets have what selectors call ports.
fn with_ports(family: Family) -> Vec<u8> {
    let icmp = match family {
        Family::V4 => protocol::ICMP,
        Family::V6 => protocol::ICMPV6,
    };
    vec![
        protocol::TCP,
        protocol::UDP,
        protocol::UDP_LITE,
        protocol::DCCP,
        protocol::SCTP,
        icmp,
        protocol::MOBILITY,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(id: u32, priority: u32, action: PolicyAction, pairs: &[(&str, &str)]) -> PolicySpec {
        let selector = |text: &str| text.parse().expect("the test's own text");
        let selectors = pairs
            .iter()
            .map(|(local, remote)| SelectorPair { local: selector(local), remote: selector(remote) });
        PolicySpec { id: PolicyId(id), priority, selectors: selectors.collect(), action, device: None }
    }

    /// What the packet filter sees of a packet.
    #[derive(Clone, Copy, Debug)]
    struct Seen {
        local: IpAddr,
        remote: IpAddr,
        protocol: u8,
        /// Ports, or ICMP's type and code twice; `None` in a fragment other than the first and where there are none.
        ports: Option<(u16, u16)>,
        is_later_fragment: bool,
    }

    /// Does what the rules of a table do.
    fn looked_up(layout: &BTreeMap<SetId, BTreeSet<Key>>, seen: &Seen) -> Option<Verdict> {
        layout.iter().find_map(|(id, keys)| match id.stage {
            Stage::Turn(_, verdict) if keys.contains(&key_of(seen, &id.shape)?) => Some(verdict),
            Stage::Turn(..) | Stage::EitherWay => None,
        })
    }

    fn key_of(seen: &Seen, shape: &Shape) -> Option<Key> {
        let cut =
            |address: IpAddr, length| AddressRange::prefix(address, length).ok().map(|range| range.start());
        let bits = |port: u16, length: u8| port & !(u16::MAX.checked_shr(length.into()).unwrap_or(0));
        let is_icmp = seen.protocol == protocol::ICMP;
        let (protocol, ports) = match shape.upper {
            Upper::Nothing => (0, PortBits::default()),
            Upper::Protocol => (seen.protocol, PortBits::default()),
            Upper::LaterFragment => (seen.is_later_fragment.then_some(seen.protocol)?, PortBits::default()),
            Upper::Ports { local, remote } => {
                let ports = seen.ports.filter(|_| !is_icmp)?;
                (seen.protocol, PortBits { local: bits(ports.0, local), remote: bits(ports.1, remote) })
            }
            Upper::Icmp(length) => {
                let ports = seen.ports.filter(|_| is_icmp)?;
                (seen.protocol, PortBits { local: bits(ports.0, length), remote: 0 })
            }
        };
        (Family::of(seen.local) == shape.family).then_some(())?;
        Some(Key {
            local: cut(seen.local, shape.local)?,
            remote: cut(seen.remote, shape.remote)?,
            protocol,
            ports,
        })
    }

    /// Asks every policy, one after the other.
    fn asked_one_by_one(policies: &BTreeMap<PolicyId, PolicySpec>, seen: &Seen) -> Option<Verdict> {
        let mut ordered: Vec<&PolicySpec> = policies.values().collect();
        ordered.sort_by_key(|spec| rank(spec));
        let selects = |pair: &SelectorPair, ports: Option<(u16, u16)>| {
            pair.local.selects(seen.local, IpProtocol(seen.protocol), ports.map(|ports| ports.0))
                && pair.remote.selects(seen.remote, IpProtocol(seen.protocol), ports.map(|ports| ports.1))
        };
        let might_select = |pair: &SelectorPair| {
            let any_ports = |selector| sa::TrafficSelector { ports: PortRange::ANY, ..selector };
            let wide = SelectorPair { local: any_ports(pair.local), remote: any_ports(pair.remote) };
            let has_type = pair.local.ports.intersection(pair.remote.ports).is_some();
            let can_have_ports = seen.protocol != protocol::ICMP || has_type;
            let is_opaque = [pair.local.ports, pair.remote.ports].contains(&PortRange::OPAQUE);
            seen.is_later_fragment && selects(&wide, None) && can_have_ports && !is_opaque
        };
        let first = ordered.into_iter().find(|spec| {
            spec.selectors.iter().any(|pair| match verdict(spec.action) {
                Verdict::Pass => selects(pair, seen.ports),
                Verdict::Refuse => selects(pair, seen.ports) || might_select(pair),
            })
        });
        first.map(|spec| verdict(spec.action))
    }

    fn selectors() -> impl Strategy<Value = String> {
        let upper = prop_oneof![
            Just(""),
            Just("[tcp]"),
            Just("[tcp/80]"),
            Just("[udp/3-9]"),
            Just("[icmp/2048]"),
            Just("[/7-80]"),
            Just("[udp/opaque]"),
        ];
        let addresses = prop_oneof![
            (0u8..4, 28u8..=32).prop_map(|(low, length)| format!("10.0.0.{}/{length}", low * 5)),
            (0u8..9, 0u8..9).prop_map(|(low, more)| format!("10.0.0.{low}-10.0.0.{}", low + more)),
        ];
        (addresses, upper).prop_map(|(addresses, upper)| format!("{addresses}{upper}"))
    }

    fn policies() -> impl Strategy<Value = PolicySpec> {
        let action = prop_oneof![
            1 => Just(PolicyAction::Bypass),
            1 => Just(PolicyAction::Discard),
            2 => Just(PolicyAction::Protect),
            2 => Just(PolicyAction::Trap),
        ];
        (0u32..6, 0u32..3, action, proptest::collection::vec((selectors(), selectors()), 1..3)).prop_map(
            |(id, priority, action, pairs)| {
                let pairs: Vec<(&str, &str)> = pairs.iter().map(|(l, r)| (l.as_str(), r.as_str())).collect();
                policy(id, priority, action, &pairs)
            },
        )
    }

    fn packets() -> impl Strategy<Value = Seen> {
        let ports = prop_oneof![Just(3u16), Just(8), Just(80), Just(81), Just(2048)];
        let kind = prop_oneof![
            (prop_oneof![Just(protocol::TCP), Just(protocol::UDP)], ports.clone(), ports.clone())
                .prop_map(|(protocol, local, remote)| (protocol, Some((local, remote)), false)),
            ports.prop_map(|both| (protocol::ICMP, Some((both, both)), false)),
            prop_oneof![Just(protocol::TCP), Just(protocol::UDP), Just(protocol::ICMP)]
                .prop_map(|protocol| (protocol, None, true)),
            Just((47, None, false)),
        ];
        (0u8..20, 0u8..20, kind).prop_map(|(local, remote, (protocol, ports, is_later_fragment))| Seen {
            local: IpAddr::from([10, 0, 0, local]),
            remote: IpAddr::from([10, 0, 0, remote]),
            protocol,
            ports,
            is_later_fragment,
        })
    }

    /// Carries changes out as the kernel is told to: whatever is added first, then what is removed.
    fn carry_out(table: &mut BTreeMap<SetId, BTreeSet<Key>>, update: Update, layout: &Layout) {
        let Update::Changes(changes) = update else {
            *table = layout.sets().map(|(id, keys)| (id, keys.collect())).collect();
            return;
        };
        let (added, removed): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(Change::adds);
        for change in added.into_iter().chain(removed) {
            let fresh = match change {
                Change::AddSet(id) => table.insert(id, BTreeSet::new()).is_none(),
                Change::Add(id, key) => table.get_mut(&id).is_some_and(|keys| keys.insert(key)),
                Change::Remove(id, key) => table.get_mut(&id).is_some_and(|keys| keys.remove(&key)),
                Change::RemoveSet(id) => table.remove(&id).is_some_and(|keys| keys.is_empty()),
            };
            assert!(fresh, "the kernel would refuse {change:?}");
        }
    }

    proptest! {
        /// After any history the look-ups say what the policies say, asked one by one.
        #[test]
        fn look_ups_say_what_policies_say(
            history in proptest::collection::vec((policies(), any::<bool>(), any::<bool>()), 1..20),
            packets in proptest::collection::vec(packets(), 100),
        ) {
            let mut plan = BlockPlan::default();
            let mut installed: BTreeMap<PolicyId, PolicySpec> = BTreeMap::new();
            let mut table = BTreeMap::new();
            let mut pending = Update::Changes(Vec::new());
            for (spec, add, wait) in history {
                let update = if add {
                    installed.insert(spec.id, spec.clone());
                    plan.install(&spec)
                } else {
                    installed.remove(&spec.id);
                    plan.remove(spec.id)
                };
                pending = pending.and(update);
                if !wait {
                    carry_out(&mut table, std::mem::replace(&mut pending, Update::Changes(Vec::new())), plan.layout());
                }
            }
            carry_out(&mut table, pending, plan.layout());
            prop_assert_eq!(&plan.laid_out_anew(), plan.layout());
            for seen in packets {
                let passes_on_our_side = plan.our_side.iter().any(|range| range.contains(seen.remote));
                let expected =
                    if passes_on_our_side { Some(Verdict::Pass) } else { asked_one_by_one(&installed, &seen) };
                prop_assert_eq!(looked_up(&table, &seen), expected, "{:?}", seen);
            }
            for id in installed.into_keys() {
                let update = plan.remove(id);
                carry_out(&mut table, update, plan.layout());
            }
            prop_assert!(table.is_empty(), "{:?} left behind", table);
        }

        #[test]
        fn port_blocks_are_the_range(start: u16, end: u16, port: u16) {
            let Some(range) = PortRange::new(start, end) else { return Ok(()) };
            let blocks = port_blocks(range);
            let holders = blocks.iter().filter(|(first, length)| u32::from(*first ^ port) >> (16 - length) == 0);
            prop_assert_eq!(holders.count(), usize::from(range.contains(port)));
            prop_assert!(blocks.len() <= 30);
        }
    }

    #[test]
    fn our_side_is_left_alone_inside_a_wider_remote_selector() {
        let mut plan = BlockPlan::default();
        plan.install(&policy(1, 10, PolicyAction::Protect, &[("10.1.0.0/16", "0.0.0.0/0")]));
        plan.install(&policy(2, 10, PolicyAction::Protect, &[("10.1.0.0/16", "10.1.9.0/24")]));
        let ranges: Vec<String> = plan.our_side.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.1.0.0-10.1.8.255", "10.1.10.0-10.1.255.255"]);
        plan.remove(PolicyId(2));
        let ranges: Vec<String> = plan.our_side.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.1.0.0/16"]);
    }

    /// Whether such a packet goes into the tunnel or comes past it is known when it has been routed.
    #[test]
    fn what_a_policy_selects_in_both_directions_is_known() {
        let mut plan = BlockPlan::default();
        plan.install(&policy(1, 10, PolicyAction::Protect, &[("10.0.0.0/8", "10.2.0.0/16")]));
        let either_way: Vec<(SetId, Vec<Key>)> = plan
            .layout()
            .sets()
            .filter(|(id, _)| id.stage == Stage::EitherWay)
            .map(|(id, keys)| (id, keys.collect()))
            .collect();
        let [(id, keys)] = either_way.as_slice() else { panic!("{either_way:?}") };
        assert_eq!((id.shape.local, id.shape.remote), (16, 16));
        assert_eq!(
            keys.iter().map(|key| (key.local, key.remote)).collect::<Vec<_>>(),
            [(IpAddr::from([10, 2, 0, 0]), IpAddr::from([10, 2, 0, 0]))]
        );
    }

    #[test]
    fn odd_ranges_at_both_ends_are_refused_by_one_wider_box() {
        let pair = |text: &str| SelectorPair {
            local: text.parse().expect("the test's own text"),
            remote: text.parse().expect("the test's own text"),
        };
        let odd = pair("10.0.0.1-10.255.255.254[tcp/1-65534]");
        let refusing = boxes(&odd, Verdict::Refuse);
        let [(shape, key)] = refusing.as_slice() else { panic!("{} boxes", refusing.len()) };
        assert_eq!((shape.local, shape.remote, shape.upper), (8, 8, Upper::Nothing));
        assert_eq!((key.local, key.remote), (IpAddr::from([10, 0, 0, 0]), IpAddr::from([10, 0, 0, 0])));
        assert_eq!(boxes(&odd, Verdict::Pass), []);
    }
}
