//! What workers read: the Security Policy Database and the SAs, as they were at one moment (RFC 4301 §4.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use sa::{PolicyAction, PolicyId, PolicySpec, Spi};
use wire::ip::Flow;

use crate::ends::Ends;
use crate::selector_index::{Rank, SelectorIndex};
use crate::slots::Slots;
use crate::spi::slot_of;
use crate::{DropCounters, DropReason, InboundSa, OutboundSa, Unmatched};

/// An immutable snapshot of the databases; a worker takes one for each batch of packets.
///
/// Keys, counters and windows of the SAs are shared between snapshots: what is sealed with an old snapshot counts in the
/// new one.
#[derive(Clone)]
pub struct Tables {
    pub(crate) unmatched: Unmatched,
    pub(crate) policies: Slots<Policy>,
    pub(crate) index: SelectorIndex,
    /// Inbound SAs by the slot that their SPI names.
    pub(crate) inbound: Slots<InboundSa>,
    /// Inbound SAs whose slot another one has, which can only be if someone else chose the SPI.
    pub(crate) displaced: Arc<BTreeMap<Spi, InboundSa>>,
    pub(crate) drops: Arc<DropCounters>,
}

/// A policy as packets meet it.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) spec: Arc<PolicySpec>,
    /// The specification's, so that a packet need not look there.
    pub(crate) action: PolicyAction,
    pub(crate) outbound: Option<OutboundSa>,
    pub(crate) fit: Fit,
}

/// How much of a policy its outbound SA was negotiated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// All of it.
    Whole,
    /// A part: each packet has to be asked about.
    Part,
}

/// What is to become of a packet that leaves.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// It passes unprotected.
    Bypass,
    /// It is dropped.
    Discard(DropReason),
    /// It goes through this SA.
    Protect(&'a OutboundSa),
    /// It wants an SA that this policy does not have yet ([`SaEvent::Acquire`](sa::SaEvent::Acquire)).
    Acquire(PolicyId),
}

impl Tables {
    /// Decides on a packet that leaves, by the first policy that selects its flow (RFC 4301 §5.1).
    ///
    /// The cost does not depend on the number of policies; see `selector_index` for what it depends on.
    pub fn classify(&self, flow: &Flow) -> Verdict<'_> {
        let ends = Ends::outbound(flow);
        let Some(policy) = self.policy(&ends) else {
            return match self.unmatched {
                Unmatched::Bypass => Verdict::Bypass,
                Unmatched::Discard => Verdict::Discard(DropReason::NoPolicy),
            };
        };
        match (policy.action, &policy.outbound) {
            (PolicyAction::Bypass, _) => Verdict::Bypass,
            (PolicyAction::Discard, _) => Verdict::Discard(DropReason::Policy),
            (PolicyAction::Protect | PolicyAction::Trap, Some(sa)) => {
                if policy.fit == Fit::Whole || sa.selects(&ends) {
                    Verdict::Protect(sa)
                } else {
                    // A peer that narrowed would drop it; and to ask again for what was just refused helps nobody.
                    Verdict::Discard(DropReason::OutsideSa)
                }
            }
            (PolicyAction::Protect, None) => Verdict::Discard(DropReason::NoSa),
            (PolicyAction::Trap, None) => Verdict::Acquire(policy.spec.id),
        }
    }

    /// Tells whether a packet that arrived unprotected may pass (RFC 4301 §5.2): a policy that protects its flow forbids it.
    pub fn admits_plain(&self, flow: &Flow) -> bool {
        match self.policy(&Ends::inbound(flow)).map(|policy| policy.action) {
            Some(PolicyAction::Bypass) => true,
            Some(PolicyAction::Discard | PolicyAction::Protect | PolicyAction::Trap) => false,
            None => self.unmatched == Unmatched::Bypass,
        }
    }

    /// Finds the SA of a packet that arrived. Its SPI is an index: two array accesses find it among any number.
    pub fn inbound(&self, spi: Spi) -> Option<&InboundSa> {
        match self.inbound.at(slot_of(spi) as usize) {
            Some(sa) if sa.spi() == spi => Some(sa),
            Some(_) | None => self.displaced.get(&spi),
        }
    }

    /// Gives the counters of dropped packets, which all snapshots share; whoever drops a packet counts it here.
    pub fn drops(&self) -> &DropCounters {
        &self.drops
    }

    fn policy(&self, ends: &Ends) -> Option<&Policy> {
        let found = self.index.first(ends, |candidate| {
            self.policies
                .at(candidate.policy as usize)
                .and_then(|policy| policy.spec.selectors.get(candidate.pair as usize))
                .is_some_and(|pair| ends.are_selected_by(pair))
        })?;
        self.policies.at(found.policy as usize)
    }
}

impl Policy {
    pub(crate) fn new(spec: Arc<PolicySpec>, outbound: Option<OutboundSa>) -> Policy {
        let whole = |sa: &OutboundSa| spec.selectors.iter().all(|pair| sa.covers(pair));
        let fit = if outbound.as_ref().is_some_and(whole) { Fit::Whole } else { Fit::Part };
        Policy { action: spec.action, spec, outbound, fit }
    }

    pub(crate) fn rank(&self) -> Rank {
        Rank { priority: self.spec.priority, id: self.spec.id }
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("unmatched", &self.unmatched).finish_non_exhaustive()
    }
}
