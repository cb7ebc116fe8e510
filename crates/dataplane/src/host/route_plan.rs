//! Which routes lead the packets of the policies to the TUN device.
//!
//! A route knows destinations only, a policy knows sources, protocols and ports as well. So the routes send too much to
//! the TUN device rather than too little, and the tables decide about each packet there:
//!
//! - every prefix of a protecting (or discarding) policy's remote selectors leads to the TUN device;
//! - a prefix of a bypass policy inside one of these is *thrown* back to the next routing table, but only if the bypass
//!   policy would win for every packet to it that a protecting policy also selects. Where it would not, its packets go
//!   through the TUN device and are bypassed by the plane;
//! - a prefix of a local selector inside one of these is thrown too: it lies on our side of the tunnel, though the remote
//!   selector is wide enough to hold it (10.1.0.0/16 === 0.0.0.0/0). So a packet that came out of a tunnel reaches our
//!   networks, and these reach one another. A remote selector as narrow as the local one, or narrower, wins: what came out of one
//!   tunnel goes into the next (a hub and its spokes). A discarding policy is stronger than that: it keeps its packets.
//!
//! The last means that a local selector should name what is here: packets to it take the host's own routes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sa::{AddressRange, IpProtocol, PolicyAction, PolicyId, PolicySpec, PortRange, SelectorPair};

/// A destination of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    /// The first address.
    pub(crate) address: IpAddr,
    /// The number of leading bits that count.
    pub(crate) length: u8,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// To the TUN device; packets of this host's own take this source address.
    Tun {
        /// An address of ours that the policy selects; the kernel's choice may not be selected by it.
        preferred_source: Option<IpAddr>,
    },
    /// Back to the next rule's table.
    Throw,
}

/// A difference between the routes as they are and as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Add this route, or let it lead elsewhere.
    Set(Prefix, Lead),
    /// Remove this route.
    Remove(Prefix),
}

/// The installed policies and the routes that follow from them.
#[derive(Debug, Default)]
pub(crate) struct RoutePlan {
    policies: BTreeMap<PolicyId, Planned>,
    /// The policies that name each prefix, the one that wins first.
    protecting: Users,
    bypassing: Users,
    /// Prefixes of the local selectors of policies with a tunnel.
    on_our_side: Users,
    routes: BTreeMap<Prefix, Lead>,
}

/// The policies that name each prefix, the one that wins first.
type Users = BTreeMap<Prefix, BTreeSet<Rank>>;

/// The order in which policies are consulted.
pub(super) type Rank = (u32, PolicyId);

#[derive(Debug)]
struct Planned {
    spec: PolicySpec,
    /// Addresses of this host when the policy was installed.
    own_addresses: Vec<IpAddr>,
}

impl RoutePlan {
    /// Takes a policy in, in place of the one of the same name, and gives the changes in the order to make them.
    pub(crate) fn install(&mut self, spec: &PolicySpec, own_addresses: &[IpAddr]) -> Vec<Change> {
        let mut touched = self.forget(spec.id);
        let own_addresses = own_addresses.iter().copied().filter(|address| is_useful_source(*address));
        let planned = Planned { spec: spec.clone(), own_addresses: own_addresses.collect() };
        touched.extend(self.remember(planned));
        self.settle(touched)
    }

    /// Takes a policy out and gives the changes in the order to make them.
    pub(crate) fn remove(&mut self, id: PolicyId) -> Vec<Change> {
        let touched = self.forget(id);
        self.settle(touched)
    }

    /// Gives all routes, in the order to make them.
    pub(crate) fn all(&self) -> Vec<Change> {
        in_order(self.routes.iter().map(|(prefix, lead)| Change::Set(*prefix, *lead)).collect())
    }

    /// Tells whether any route leads to the TUN device.
    pub(crate) fn has_tunnels(&self) -> bool {
        self.routes.values().any(|lead| matches!(lead, Lead::Tun { .. }))
    }

    /// Gives the destinations inside protected prefixes that the routes leave alone.
    pub(crate) fn thrown(&self) -> BTreeSet<AddressRange> {
        let thrown = self.routes.iter().filter(|(_, lead)| **lead == Lead::Throw);
        thrown.flat_map(|(prefix, _)| self.without_tunnels_inside(prefix.range())).collect()
    }

    /// Gives what is left of a range when the prefixes inside it that lead to the TUN device are taken out.
    fn without_tunnels_inside(&self, range: AddressRange) -> Vec<AddressRange> {
        let first = Prefix { address: range.start(), length: 0 };
        let last = Prefix { address: range.end(), length: u8::MAX };
        let mut left = Vec::new();
        let mut next = Some(range.start());
        for (inside, lead) in self.routes.range(first..=last) {
            let inside = inside.range();
            let (Lead::Tun { .. }, Some(start), true) = (lead, next, range.covers(&inside)) else { continue };
            left.extend(before(inside.start()).and_then(|end| AddressRange::new(start, end).ok()));
            if inside.end() >= start {
                next = after(inside.end());
            }
        }
        left.extend(next.and_then(|start| AddressRange::new(start, range.end()).ok()));
        left
    }

    fn remember(&mut self, planned: Planned) -> BTreeSet<Prefix> {
        let rank = rank(&planned.spec);
        let (remote, local) = (remote_prefixes(&planned.spec), local_prefixes(&planned.spec));
        add_user(self.users(planned.spec.action), &remote, rank);
        add_user(&mut self.on_our_side, &local, rank);
        self.policies.insert(planned.spec.id, planned);
        remote.into_iter().chain(local).collect()
    }

    fn forget(&mut self, id: PolicyId) -> BTreeSet<Prefix> {
        let Some(planned) = self.policies.remove(&id) else { return BTreeSet::new() };
        let rank = rank(&planned.spec);
        let (remote, local) = (remote_prefixes(&planned.spec), local_prefixes(&planned.spec));
        remove_user(self.users(planned.spec.action), &remote, rank);
        remove_user(&mut self.on_our_side, &local, rank);
        remote.into_iter().chain(local).collect()
    }

    fn users(&mut self, action: PolicyAction) -> &mut Users {
        match action {
            PolicyAction::Protect | PolicyAction::Trap | PolicyAction::Discard => &mut self.protecting,
            PolicyAction::Bypass => &mut self.bypassing,
        }
    }

    /// Compares the routes to touched prefixes, and to those that may be thrown, with what they should be.
    fn settle(&mut self, mut touched: BTreeSet<Prefix>) -> Vec<Change> {
        touched.extend(self.bypassing.keys().copied());
        let inside: Vec<Prefix> = touched.iter().flat_map(|outer| self.on_our_side_within(*outer)).collect();
        touched.extend(inside);
        let mut changes = Vec::new();
        for prefix in touched {
            let wanted = self.lead_to(prefix);
            if wanted != self.routes.get(&prefix).copied() {
                changes.push(match wanted {
                    Some(lead) => Change::Set(prefix, lead),
                    None => Change::Remove(prefix),
                });
                match wanted {
                    Some(lead) => self.routes.insert(prefix, lead),
                    None => self.routes.remove(&prefix),
                };
            }
        }
        in_order(changes)
    }

    fn lead_to(&self, prefix: Prefix) -> Option<Lead> {
        if let Some(ranks) = self.protecting.get(&prefix) {
            let winner = ranks.first().and_then(|(_, id)| self.policies.get(id));
            let preferred_source = winner.and_then(|planned| planned.preferred_source(prefix));
            return Some(Lead::Tun { preferred_source });
        }
        if self.on_our_side.contains_key(&prefix) && self.only_tunnels_reach_over(prefix) {
            return Some(Lead::Throw);
        }
        let ranks = self.bypassing.get(&prefix)?;
        let inside = prefix.wider().any(|outer| self.protecting.contains_key(&outer));
        let mut bypasses = ranks.iter().filter_map(|(_, id)| self.policies.get(id));
        (inside && bypasses.any(|bypass| self.always_wins(&bypass.spec, prefix))).then_some(Lead::Throw)
    }

    fn on_our_side_within(&self, outer: Prefix) -> impl Iterator<Item = Prefix> + '_ {
        let range = outer.range();
        let first = Prefix { address: range.start(), length: 0 };
        let last = Prefix { address: range.end(), length: u8::MAX };
        self.on_our_side.range(first..=last).map(|(prefix, _)| *prefix)
    }

    /// Tells whether `prefix` lies inside the remote selectors of tunnels, and of no discarding policy.
    fn only_tunnels_reach_over(&self, prefix: Prefix) -> bool {
        let mut over = prefix.wider().filter_map(|outer| self.protecting.get(&outer)).flatten().peekable();
        over.peek().is_some()
            && over
                .filter_map(|(_, id)| self.policies.get(id))
                .all(|planned| planned.spec.action != PolicyAction::Discard)
    }

    /// Tells whether `bypass` is consulted before, and selects everything of, each protecting policy's share of `prefix`.
    fn always_wins(&self, bypass: &PolicySpec, prefix: Prefix) -> bool {
        let range = prefix.range();
        let covers_sources = |pair: &SelectorPair| {
            bypass.selectors.iter().any(|ours| {
                is_of_every_port(ours)
                    && ours.remote.addresses.covers(&range)
                    && ours.local.addresses.covers(&pair.local.addresses)
            })
        };
        let mut protecting =
            self.policies.values().filter(|planned| planned.spec.action != PolicyAction::Bypass);
        protecting.all(|planned| {
            let mut contested = planned
                .spec
                .selectors
                .iter()
                .filter(|pair| pair.remote.addresses.intersection(&range).is_some())
                .peekable();
            contested.peek().is_none() || rank(bypass) < rank(&planned.spec) && contested.all(covers_sources)
        })
    }
}

impl Planned {
    /// Finds an address of ours inside the local selector that goes with a remote prefix.
    ///
    /// A selector of every address needs none: whatever the kernel chooses is selected.
    fn preferred_source(&self, prefix: Prefix) -> Option<IpAddr> {
        let range = prefix.range();
        let pair = self.spec.selectors.iter().find(|pair| pair.remote.addresses.covers(&range))?;
        let local = pair.local.addresses;
        if local == AddressRange::any(local.family()) {
            return None;
        }
        self.own_addresses.iter().copied().find(|address| local.contains(*address))
    }
}

impl Prefix {
    fn range(self) -> AddressRange {
        AddressRange::prefix(self.address, self.length).unwrap_or_else(|_| AddressRange::host(self.address))
    }

    /// Gives the prefixes that hold this one, the widest first.
    fn wider(self) -> impl Iterator<Item = Prefix> {
        (0..self.length).filter_map(move |length| {
            let (address, length) = AddressRange::prefix(self.address, length).ok()?.as_prefix()?;
            Some(Prefix { address, length })
        })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// Routes to the TUN device come first and throws are taken away first, so that at no time a packet that needs protection
/// finds a way around it.
fn in_order(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by_key(|change| match change {
        Change::Set(_, Lead::Tun { .. }) => 0,
        Change::Remove(_) => 1,
        Change::Set(_, Lead::Throw) => 2,
    });
    changes
}

fn before(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().checked_sub(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().checked_sub(1)?).into(),
    })
}

fn after(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().checked_add(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().checked_add(1)?).into(),
    })
}

/// Gives a policy's place in the order.
pub(super) fn rank(spec: &PolicySpec) -> Rank {
    (spec.priority, spec.id)
}

fn remote_prefixes(spec: &PolicySpec) -> BTreeSet<Prefix> {
    prefixes(spec.selectors.iter().map(|pair| pair.remote.addresses))
}

fn local_prefixes(spec: &PolicySpec) -> BTreeSet<Prefix> {
    match spec.action {
        PolicyAction::Protect | PolicyAction::Trap => {
            prefixes(spec.selectors.iter().map(|pair| pair.local.addresses))
        }
        PolicyAction::Discard | PolicyAction::Bypass => BTreeSet::new(),
    }
}

fn prefixes(ranges: impl Iterator<Item = AddressRange>) -> BTreeSet<Prefix> {
    ranges.flat_map(|range| range.prefixes()).map(|(address, length)| Prefix { address, length }).collect()
}

fn add_user(users: &mut Users, prefixes: &BTreeSet<Prefix>, rank: Rank) {
    for prefix in prefixes {
        users.entry(*prefix).or_default().insert(rank);
    }
}

fn remove_user(users: &mut Users, prefixes: &BTreeSet<Prefix>, rank: Rank) {
    for prefix in prefixes {
        if let Some(ranks) = users.get_mut(prefix) {
            ranks.remove(&rank);
            if ranks.is_empty() {
                users.remove(prefix);
            }
        }
    }
}

fn is_of_every_port(pair: &SelectorPair) -> bool {
    [pair.local, pair.remote]
        .iter()
        .all(|selector| selector.protocol == IpProtocol::ANY && selector.ports == PortRange::ANY)
}

fn is_useful_source(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
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

    fn prefix(text: &str) -> Prefix {
        let (address, length) =
            text.parse::<AddressRange>().expect("the test's own text").as_prefix().expect("a prefix");
        Prefix { address, length }
    }

    const TUN: Lead = Lead::Tun { preferred_source: None };

    #[test]
    fn a_prefix_stays_while_one_policy_needs_it() {
        let mut plan = RoutePlan::default();
        let first = policy(1, 10, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.0/16")]);
        let second = policy(2, 10, PolicyAction::Trap, &[("10.3.0.0/16", "10.2.0.0/16")]);
        assert_eq!(plan.install(&first, &[]), [Change::Set(prefix("10.2.0.0/16"), TUN)]);
        assert_eq!(plan.install(&second, &[]), []);
        assert_eq!(plan.remove(PolicyId(1)), []);
        assert_eq!(plan.remove(PolicyId(2)), [Change::Remove(prefix("10.2.0.0/16"))]);
        assert_eq!(plan.remove(PolicyId(2)), []);
    }

    #[test]
    fn our_address_inside_the_selector_is_preferred() {
        let mut plan = RoutePlan::default();
        let own: Vec<IpAddr> =
            ["127.0.0.1", "192.0.2.1", "10.1.0.1"].map(|text| text.parse().expect("an address")).to_vec();
        let site = policy(1, 10, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.0/16")]);
        let lead = Lead::Tun { preferred_source: Some(own[2]) };
        assert_eq!(plan.install(&site, &own), [Change::Set(prefix("10.2.0.0/16"), lead)]);
        let road = policy(2, 10, PolicyAction::Protect, &[("0.0.0.0/0", "0.0.0.0/0")]);
        assert_eq!(plan.install(&road, &own)[0], Change::Set(prefix("0.0.0.0/0"), TUN));
    }

    #[test]
    fn a_range_becomes_prefixes_and_a_replaced_policy_gives_up_its_own() {
        let mut plan = RoutePlan::default();
        let range = policy(1, 10, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.0-10.2.0.2")]);
        assert_eq!(
            plan.install(&range, &[]),
            [Change::Set(prefix("10.2.0.0/31"), TUN), Change::Set(prefix("10.2.0.2/32"), TUN)]
        );
        let moved = policy(1, 10, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.2/32")]);
        assert_eq!(plan.install(&moved, &[]), [Change::Remove(prefix("10.2.0.0/31"))]);
    }

    #[test]
    fn a_bypass_inside_a_protected_prefix_is_thrown() {
        let mut plan = RoutePlan::default();
        let bypass = policy(1, 5, PolicyAction::Bypass, &[("0.0.0.0/0", "10.2.9.0/24")]);
        let protect = policy(2, 10, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.0/16")]);
        assert_eq!(
            plan.install(&bypass, &[]),
            [],
            "without a protected prefix there is nothing to be thrown from"
        );
        assert_eq!(
            plan.install(&protect, &[]),
            [Change::Set(prefix("10.2.0.0/16"), TUN), Change::Set(prefix("10.2.9.0/24"), Lead::Throw)]
        );
        assert_eq!(
            plan.remove(PolicyId(2)),
            [Change::Remove(prefix("10.2.0.0/16")), Change::Remove(prefix("10.2.9.0/24"))]
        );
    }

    #[test]
    fn a_bypass_of_some_packets_only_is_left_to_the_tables() {
        let protect = policy(2, 10, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.0/16")]);
        for (local, remote, priority) in [
            ("10.1.5.0/24", "10.2.9.0/24", 5),
            ("0.0.0.0/0[tcp]", "10.2.9.0/24[tcp]", 5),
            ("0.0.0.0/0", "10.2.9.0/24[/22]", 5),
            ("0.0.0.0/0", "10.2.9.0/24", 15),
        ] {
            let mut plan = RoutePlan::default();
            plan.install(&protect, &[]);
            let bypass = policy(1, priority, PolicyAction::Bypass, &[(local, remote)]);
            assert_eq!(plan.install(&bypass, &[]), [], "{local} {remote} {priority}");
        }
    }

    #[test]
    fn our_side_is_thrown_out_of_a_wider_remote_selector() {
        let mut plan = RoutePlan::default();
        let site = policy(1, 10, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.0/16")]);
        assert_eq!(plan.install(&site, &[]), [Change::Set(prefix("10.2.0.0/16"), TUN)]);
        let road = policy(2, 10, PolicyAction::Trap, &[("10.3.0.0/16", "0.0.0.0/0")]);
        assert_eq!(
            plan.install(&road, &[]),
            [
                Change::Set(prefix("0.0.0.0/0"), TUN),
                Change::Set(prefix("10.1.0.0/16"), Lead::Throw),
                Change::Set(prefix("10.3.0.0/16"), Lead::Throw),
            ]
        );
        let discard = policy(3, 20, PolicyAction::Discard, &[("0.0.0.0/0", "10.0.0.0/8")]);
        assert_eq!(
            plan.install(&discard, &[]),
            [
                Change::Set(prefix("10.0.0.0/8"), TUN),
                Change::Remove(prefix("10.1.0.0/16")),
                Change::Remove(prefix("10.3.0.0/16")),
            ]
        );
        assert_eq!(
            plan.remove(PolicyId(3)),
            [
                Change::Remove(prefix("10.0.0.0/8")),
                Change::Set(prefix("10.1.0.0/16"), Lead::Throw),
                Change::Set(prefix("10.3.0.0/16"), Lead::Throw),
            ]
        );
        assert_eq!(
            plan.remove(PolicyId(2)),
            [
                Change::Remove(prefix("0.0.0.0/0")),
                Change::Remove(prefix("10.1.0.0/16")),
                Change::Remove(prefix("10.3.0.0/16")),
            ]
        );
    }

    #[test]
    fn a_remote_selector_inside_a_local_one_leads_to_its_tunnel() {
        let mut plan = RoutePlan::default();
        let spokes = ["10.2.0.0/16", "10.3.0.0/16"];
        for (id, spoke) in (1..).zip(spokes) {
            plan.install(&policy(id, 10, PolicyAction::Protect, &[("10.0.0.0/8", spoke)]), &[]);
        }
        let upstream = policy(3, 10, PolicyAction::Protect, &[("10.2.0.0/16", "0.0.0.0/0")]);
        assert_eq!(
            plan.install(&upstream, &[]),
            [Change::Set(prefix("0.0.0.0/0"), TUN), Change::Set(prefix("10.0.0.0/8"), Lead::Throw)]
        );
        assert_eq!(spokes.map(|spoke| plan.routes[&prefix(spoke)]), [TUN, TUN]);
    }

    fn policies() -> impl Strategy<Value = PolicySpec> {
        let action = prop_oneof![
            Just(PolicyAction::Bypass),
            Just(PolicyAction::Discard),
            Just(PolicyAction::Protect),
            Just(PolicyAction::Trap),
        ];
        let selector = (0u8..4, 28u8..=32, any::<bool>()).prop_map(|(low, length, tcp)| {
            let protocol = if tcp { "[tcp]" } else { "" };
            format!("10.0.0.{}/{length}{protocol}", low * 5)
        });
        (0u32..6, 0u32..3, action, proptest::collection::vec((selector.clone(), selector), 1..3)).prop_map(
            |(id, priority, action, pairs)| {
                let pairs: Vec<(&str, &str)> = pairs.iter().map(|(l, r)| (l.as_str(), r.as_str())).collect();
                policy(id, priority, action, &pairs)
            },
        )
    }

    proptest! {
        /// After any history, a packet that the policies protect is led to the TUN device, unless it goes to our side.
        #[test]
        fn protected_packets_never_find_a_way_around(
            history in proptest::collection::vec((policies(), any::<bool>()), 1..20),
            packets in proptest::collection::vec((0u8..20, 0u8..20, any::<bool>()), 50),
        ) {
            let mut plan = RoutePlan::default();
            let mut installed: BTreeMap<PolicyId, PolicySpec> = BTreeMap::new();
            let mut routes: BTreeMap<Prefix, Lead> = BTreeMap::new();
            for (spec, add) in history {
                let changes = if add {
                    installed.insert(spec.id, spec.clone());
                    plan.install(&spec, &[])
                } else {
                    installed.remove(&spec.id);
                    plan.remove(spec.id)
                };
                for change in changes {
                    match change {
                        Change::Set(prefix, lead) => { routes.insert(prefix, lead); }
                        Change::Remove(prefix) => prop_assert!(routes.remove(&prefix).is_some()),
                    }
                }
            }
            let mut ordered: Vec<&PolicySpec> = installed.values().collect();
            ordered.sort_by_key(|spec| rank(spec));
            for (source, destination, tcp) in packets {
                let address = |low: u8| IpAddr::from([10, 0, 0, low]);
                let protocol = if tcp { IpProtocol::TCP } else { IpProtocol::UDP };
                let selects = |pair: &SelectorPair| {
                    pair.local.selects(address(source), protocol, None)
                        && pair.remote.selects(address(destination), protocol, None)
                };
                let to_our_side = ordered.iter().any(|spec| {
                    matches!(spec.action, PolicyAction::Protect | PolicyAction::Trap)
                        && spec.selectors.iter().any(|pair| pair.local.addresses.contains(address(destination)))
                });
                let verdict = ordered.iter().find(|spec| spec.selectors.iter().any(selects));
                let route = routes
                    .iter()
                    .filter(|(prefix, _)| prefix.range().contains(address(destination)))
                    .max_by_key(|(prefix, _)| prefix.length)
                    .map(|(_, lead)| *lead);
                let must = match verdict.map(|spec| spec.action) {
                    Some(PolicyAction::Protect | PolicyAction::Trap) => !to_our_side,
                    Some(PolicyAction::Discard) => true,
                    Some(PolicyAction::Bypass) | None => false,
                };
                if must {
                    prop_assert!(matches!(route, Some(Lead::Tun { .. })), "{:?}", route);
                }
            }
            for id in installed.into_keys() {
                for change in plan.remove(id) {
                    match change {
                        Change::Set(prefix, lead) => { routes.insert(prefix, lead); }
                        Change::Remove(prefix) => { routes.remove(&prefix); }
                    }
                }
            }
            prop_assert!(routes.is_empty(), "{:?} left behind", routes);
        }
    }
}
