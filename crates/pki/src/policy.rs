//! Certificate policies (RFC 5280 §6.1) as a graph: level i holds the policies that the i-th certificate is valid for.
//!
//! The tree of RFC 5280 has a node for each way that leads to a policy, and a hostile CA can make those ways double at
//! each level. RFC 9618 joins the nodes of one policy at one level, which gives the same answers:
//!
//! ```text
//!   level 0          anyPolicy                       the trust anchor
//!                    ╱       ╲
//!   level 1    anyPolicy      gold (expects silver)  a CA that maps gold to silver
//!                    ╲       ╱
//!   level 2            silver                        the end
//! ```

use std::collections::{BTreeMap, BTreeSet};

use der::asn1::ObjectIdentifier as Oid;

use crate::extensions::Extensions;
use crate::refusal::Reason;
use crate::{limits, oid};

/// The policies from the trust anchor down to somewhere in a path.
#[derive(Clone, Debug)]
pub(crate) struct PolicyGraph {
    /// `None` where the path has no valid policy any more.
    levels: Option<Vec<Level>>,
    size: usize,
}

/// The policies of one level.
type Level = BTreeMap<Oid, Node>;

#[derive(Clone, Debug, Default)]
struct Node {
    /// The policies one level up that lead here.
    parents: BTreeSet<Oid>,
    /// The policies that the next certificate may name for this one.
    expected: BTreeSet<Oid>,
}

/// Whether `anyPolicy` in a certificate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnyPolicy {
    Counts,
    IsInhibited,
}

/// Whether a CA may map policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    Allowed,
    IsInhibited,
}

impl PolicyGraph {
    /// Begins at the trust anchor (RFC 5280 §6.1.2 (a)).
    pub(crate) fn new() -> PolicyGraph {
        let root = Node { parents: BTreeSet::new(), expected: BTreeSet::from([oid::ANY_POLICY]) };
        PolicyGraph { levels: Some(vec![Level::from([(oid::ANY_POLICY, root)])]), size: 1 }
    }

    /// Tells whether no policy is valid.
    pub(crate) fn is_empty(&self) -> bool {
        self.levels.is_none()
    }

    /// Takes in the policies of the next certificate (RFC 5280 §6.1.3 (d) and (e), RFC 9618 §5.3).
    pub(crate) fn descend(&mut self, policies: Option<&[Oid]>, any_policy: AnyPolicy) -> Result<(), Reason> {
        let Some(levels) = &mut self.levels else { return Ok(()) };
        let Some((policies, above)) = policies.zip(levels.last()) else {
            self.levels = None;
            return Ok(());
        };
        let mut level = Level::new();
        for policy in policies.iter().filter(|policy| **policy != oid::ANY_POLICY) {
            let expecting = above.iter().filter(|(_, node)| node.expected.contains(policy));
            let mut parents: BTreeSet<Oid> = expecting.map(|(parent, _)| *parent).collect();
            if parents.is_empty() && above.contains_key(&oid::ANY_POLICY) {
                parents.insert(oid::ANY_POLICY);
            }
            if !parents.is_empty() {
                level.insert(*policy, Node { parents, expected: BTreeSet::from([*policy]) });
            }
        }
        if policies.contains(&oid::ANY_POLICY) && any_policy == AnyPolicy::Counts {
            add_expected(&mut level, above);
        }
        self.size += level.values().map(|node| 1 + node.parents.len()).sum::<usize>();
        if self.size > limits::MAX_POLICIES {
            return Err(Reason::TooMuchWork("certificate policies"));
        }
        levels.push(level);
        self.prune();
        Ok(())
    }

    /// Applies the mappings of a CA (RFC 5280 §6.1.4 (a) and (b)).
    pub(crate) fn map(&mut self, mappings: &[(Oid, Oid)], mapping: Mapping) -> Result<(), Reason> {
        if mappings.iter().any(|(from, to)| *from == oid::ANY_POLICY || *to == oid::ANY_POLICY) {
            return Err(Reason::MapsAnyPolicy);
        }
        self.size += mappings.len();
        if self.size > limits::MAX_POLICIES {
            return Err(Reason::TooMuchWork("certificate policies"));
        }
        let Some(level) = self.levels.as_mut().and_then(|levels| levels.last_mut()) else { return Ok(()) };
        let mut targets: BTreeMap<Oid, BTreeSet<Oid>> = BTreeMap::new();
        for (from, to) in mappings {
            targets.entry(*from).or_default().insert(*to);
        }
        for (from, expected) in targets {
            let through_any = level.get(&oid::ANY_POLICY).map(|any| any.parents.clone());
            match (mapping, level.get_mut(&from), through_any) {
                (Mapping::IsInhibited, _, _) => drop(level.remove(&from)),
                (Mapping::Allowed, Some(node), _) => node.expected = expected,
                // The CA was issued under anyPolicy, and so under what it maps.
                (Mapping::Allowed, None, Some(parents)) => {
                    level.insert(from, Node { parents, expected });
                }
                (Mapping::Allowed, None, None) => {}
            }
        }
        self.prune();
        Ok(())
    }

    /// Gives the policies in terms of the trust anchor that the path is valid for (RFC 5280 §6.1.5 (g)), restricted to
    /// those that are `wanted` unless none is; empty if there is none, `anyPolicy` alone if it is valid for all.
    pub(crate) fn valid_policies(&self, wanted: &[Oid]) -> BTreeSet<Oid> {
        let Some(levels) = &self.levels else { return BTreeSet::new() };
        // RFC 5280 §6.1.5 (g)(iii)(1): the nodes whose parent is anyPolicy are in the trust anchor's terms.
        let mut own_terms: BTreeSet<Oid> = BTreeSet::new();
        for level in levels.iter().skip(1) {
            let anchored = level.iter().filter(|(_, node)| node.parents.contains(&oid::ANY_POLICY));
            own_terms.extend(anchored.map(|(policy, _)| *policy).filter(|policy| *policy != oid::ANY_POLICY));
        }
        let is_any = levels.last().is_some_and(|level| level.contains_key(&oid::ANY_POLICY));
        match (wanted, is_any) {
            ([], true) if own_terms.is_empty() => BTreeSet::from([oid::ANY_POLICY]),
            ([], _) => own_terms,
            (wanted, true) => wanted.iter().copied().collect(),
            (wanted, false) => wanted.iter().copied().filter(|policy| own_terms.contains(policy)).collect(),
        }
    }

    /// Removes the nodes that lead nowhere (RFC 5280 §6.1.3 (d)(3)).
    fn prune(&mut self) {
        let Some(levels) = &mut self.levels else { return };
        for at in (1..levels.len()).rev() {
            let used: BTreeSet<Oid> = levels[at].values().flat_map(|node| &node.parents).copied().collect();
            levels[at - 1].retain(|policy, _| used.contains(policy));
        }
        // A node whose parents are all gone cannot be: only nodes without children go.
        if levels.iter().any(BTreeMap::is_empty) {
            self.levels = None;
        }
    }
}

/// `anyPolicy` in a certificate stands for whatever is expected of it and it does not name.
fn add_expected(level: &mut Level, above: &Level) {
    let named: BTreeSet<Oid> = level.keys().copied().collect();
    for (parent, node) in above {
        for policy in node.expected.iter().filter(|policy| !named.contains(*policy)) {
            let node = level.entry(*policy).or_default();
            node.parents.insert(*parent);
            node.expected.insert(*policy);
        }
    }
}

/// The three counters of RFC 5280 §6.1.2 (d) to (f): after how many more certificates a rule begins to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyCounters {
    pub(crate) explicit_policy: u32,
    pub(crate) inhibit_any_policy: u32,
    pub(crate) policy_mapping: u32,
}

impl PolicyCounters {
    /// Prepares for the certificate below a CA (RFC 5280 §6.1.4 (h) to (j)).
    pub(crate) fn descend(&mut self, extensions: &Extensions, is_self_issued: bool) {
        if !is_self_issued {
            self.explicit_policy = self.explicit_policy.saturating_sub(1);
            self.policy_mapping = self.policy_mapping.saturating_sub(1);
            self.inhibit_any_policy = self.inhibit_any_policy.saturating_sub(1);
        }
        let least =
            |counter: &mut u32, limit: Option<u32>| *counter = (*counter).min(limit.unwrap_or(u32::MAX));
        least(&mut self.explicit_policy, extensions.require_explicit_policy);
        least(&mut self.policy_mapping, extensions.inhibit_policy_mapping);
        least(&mut self.inhibit_any_policy, extensions.inhibit_any_policy);
    }

    /// Takes in the end's own requirement (RFC 5280 §6.1.5 (a) and (b)).
    pub(crate) fn finish(&mut self, extensions: &Extensions) {
        self.explicit_policy = self.explicit_policy.saturating_sub(1);
        if extensions.require_explicit_policy == Some(0) {
            self.explicit_policy = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLD: Oid = Oid::new_unwrap("1.2.3.1");
    const SILVER: Oid = Oid::new_unwrap("1.2.3.2");
    const BRONZE: Oid = Oid::new_unwrap("1.2.3.3");

    /// The policies of one certificate, and what it maps.
    type Step<'a> = (Option<&'a [Oid]>, &'a [(Oid, Oid)]);

    fn graph(steps: &[Step<'_>]) -> PolicyGraph {
        let mut graph = PolicyGraph::new();
        for (policies, mappings) in steps {
            graph.descend(*policies, AnyPolicy::Counts).unwrap();
            graph.map(mappings, Mapping::Allowed).unwrap();
        }
        graph
    }

    fn valid(graph: &PolicyGraph, wanted: &[Oid]) -> Vec<Oid> {
        graph.valid_policies(wanted).into_iter().collect()
    }

    #[test]
    fn a_policy_is_valid_if_every_certificate_has_it() {
        let both = graph(&[(Some(&[GOLD, SILVER]), &[]), (Some(&[SILVER, BRONZE]), &[])]);
        assert_eq!(valid(&both, &[]), [SILVER]);
        assert_eq!(valid(&both, &[GOLD]), []);
        assert!(graph(&[(Some(&[GOLD]), &[]), (Some(&[SILVER]), &[])]).is_empty());
        assert!(graph(&[(Some(&[GOLD]), &[]), (None, &[])]).is_empty());
    }

    #[test]
    fn any_policy_stands_for_all() {
        let any: &[Oid] = &[oid::ANY_POLICY];
        assert_eq!(valid(&graph(&[(Some(any), &[]), (Some(any), &[])]), &[]), [oid::ANY_POLICY]);
        assert_eq!(valid(&graph(&[(Some(any), &[]), (Some(any), &[])]), &[GOLD]), [GOLD]);
        assert_eq!(valid(&graph(&[(Some(&[GOLD]), &[]), (Some(any), &[])]), &[]), [GOLD]);
        assert_eq!(valid(&graph(&[(Some(any), &[]), (Some(&[GOLD]), &[])]), &[SILVER, GOLD]), [GOLD]);
        let mut inhibited = PolicyGraph::new();
        inhibited.descend(Some(any), AnyPolicy::IsInhibited).unwrap();
        assert!(inhibited.is_empty());
    }

    #[test]
    fn a_mapped_policy_keeps_its_name_above() {
        let mapped = graph(&[(Some(&[GOLD]), &[(GOLD, SILVER)]), (Some(&[SILVER]), &[])]);
        assert_eq!(valid(&mapped, &[]), [GOLD]);
        assert_eq!(valid(&mapped, &[GOLD]), [GOLD]);
        assert_eq!(valid(&mapped, &[SILVER]), []);
        assert!(graph(&[(Some(&[GOLD]), &[(GOLD, SILVER)]), (Some(&[GOLD]), &[])]).is_empty());
        let through_any = graph(&[(Some(&[oid::ANY_POLICY]), &[(GOLD, SILVER)]), (Some(&[SILVER]), &[])]);
        assert_eq!(valid(&through_any, &[GOLD]), [GOLD]);
    }

    #[test]
    fn an_inhibited_mapping_takes_the_policy_away() {
        let mut graph = PolicyGraph::new();
        graph.descend(Some(&[GOLD, BRONZE]), AnyPolicy::Counts).unwrap();
        graph.map(&[(GOLD, SILVER)], Mapping::IsInhibited).unwrap();
        assert_eq!(valid(&graph, &[]), [BRONZE]);
        assert_eq!(graph.map(&[(oid::ANY_POLICY, GOLD)], Mapping::Allowed), Err(Reason::MapsAnyPolicy));
    }

    /// Mappings of each of two policies to both double the nodes of RFC 5280's tree at each level.
    #[test]
    fn ways_that_double_do_not_double_the_graph() {
        let both: &[Oid] = &[GOLD, SILVER];
        let mappings: &[(Oid, Oid)] = &[(GOLD, GOLD), (GOLD, SILVER), (SILVER, GOLD), (SILVER, SILVER)];
        let steps = vec![(Some(both), mappings); 60];
        let graph = graph(&steps);
        assert_eq!(valid(&graph, &[]), both);
        assert!(graph.size < 60 * 16, "{}", graph.size);
    }

    #[test]
    fn too_many_policies_are_refused() {
        let many: Vec<Oid> = (0..3000_u32).map(|arc| Oid::new(&format!("1.2.4.{arc}")).unwrap()).collect();
        let mut graph = PolicyGraph::new();
        graph.descend(Some(&many[..2000]), AnyPolicy::Counts).unwrap();
        let refusal = graph.descend(Some(&many), AnyPolicy::Counts).unwrap_err();
        assert_eq!(refusal, Reason::TooMuchWork("certificate policies"));
    }
}
