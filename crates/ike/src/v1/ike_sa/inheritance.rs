//! What one ISAKMP SA leaves to another with the same peer that takes its place: its Child SAs outlive it (RFC 2409 §4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use sa::PolicyId;
use wire::isakmp::IkeSpi;

use super::{IkeSa, Life};
use crate::child::ChildSa;
use crate::context::{Context, Intent};
use crate::io::{ChildSaId, Ticket};
use crate::v1::deletion::{self, Pair};
use crate::v1::quick_mode::{self, Purpose, QuickMode};
use crate::virtual_addresses::Inside;

/// What a superseded ISAKMP SA leaves to its heir.
#[derive(Debug)]
pub(crate) struct Inheritance {
    children: Vec<ChildSa>,
    farewells: BTreeMap<ChildSaId, Instant>,
    twins: BTreeMap<ChildSaId, Instant>,
    /// Our deletes that the peer has not answered.
    deletions: Vec<Pair>,
    inside: Inside,
    /// Quick modes that we had begun.
    wishes: Vec<(Purpose, Vec<Ticket>)>,
}

impl IkeSa {
    /// Gives up all that a newer SA with the same peer takes over. `until` is when we delete this one, if we are to.
    pub(crate) fn bequeath(&mut self, cx: &mut Context, heir: IkeSpi, until: Option<Instant>) -> Inheritance {
        let before = match self.life {
            Life::Superseded { until, .. } => until,
            Life::Current | Life::Over => None,
        };
        let until = before.into_iter().chain(until).min();
        self.life = Life::Superseded { heir: Some(heir), until };
        self.leave(cx)
    }

    /// The peer deleted it, and another takes all over, also what a quick mode was to replace that the peer has given up.
    pub(crate) fn give_up_to(&mut self, cx: &mut Context, heir: IkeSpi) -> Inheritance {
        let (begun, others): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.quick_modes)
            .into_iter()
            .partition(|(_, quick_mode)| quick_mode.is_begun_by_us());
        others.into_values().for_each(|quick_mode| quick_mode.abandon(cx));
        self.quick_modes = begun;
        self.bequeath(cx, heir, None)
    }

    /// Gives up what it has, but for what a quick mode under way here is about to replace.
    pub(crate) fn leave(&mut self, cx: &mut Context) -> Inheritance {
        for policy in self.turns.keys().copied().collect::<Vec<_>>() {
            self.turn(cx, policy);
        }
        let wishes = self.take_wishes(cx);
        let awaited: BTreeSet<PolicyId> =
            self.quick_modes.values().filter_map(QuickMode::awaited_policy).collect();
        let (staying, leaving) = std::mem::take(&mut self.children)
            .into_iter()
            .partition(|(_, child)| awaited.contains(&child.policy));
        self.children = staying;
        let (staying, farewells) = std::mem::take(&mut self.farewells)
            .into_iter()
            .partition(|(id, _)| self.children.contains_key(id));
        self.farewells = staying;
        let (staying, twins) =
            std::mem::take(&mut self.twins).into_iter().partition(|(id, _)| self.children.contains_key(id));
        self.twins = staying;
        let leaving: BTreeMap<ChildSaId, ChildSa> = leaving;
        Inheritance {
            children: leaving.into_values().collect(),
            farewells,
            twins,
            deletions: self.deletions.take_unanswered(),
            wishes,
            inside: self.inside.clone(),
        }
    }

    /// A quick mode that was under way when it was superseded is over: what it stayed for goes to the heir.
    pub(crate) fn pass_on(&self, cx: &mut Context) {
        if let Life::Superseded { heir: Some(heir), .. } = self.life {
            cx.intents.push_back(Intent::PassOn { from: self.channel.our_spi(), heir });
        }
    }

    /// Gives up the quick modes that we have begun: what they were to replace is as it was. A peer that
    /// has answered one is told.
    pub(super) fn take_wishes(&mut self, cx: &mut Context) -> Vec<(Purpose, Vec<Ticket>)> {
        let (begun, others): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.quick_modes)
            .into_iter()
            .partition(|(_, quick_mode)| quick_mode.is_begun_by_us());
        self.quick_modes = others;
        let offered: Vec<_> = begun.values().filter_map(QuickMode::offered).collect();
        deletion::take_back(self, cx, &offered);
        let wishes = begun.into_values().filter_map(QuickMode::into_wish);
        wishes.inspect(|(purpose, _)| quick_mode::release(self, purpose)).collect()
    }

    /// Takes over what a superseded ISAKMP SA had.
    pub(crate) fn inherit(&mut self, cx: &mut Context, inheritance: Inheritance) {
        self.share(cx, inheritance.inside);
        self.farewells.extend(inheritance.farewells);
        self.twins.extend(inheritance.twins);
        for child in inheritance.children {
            let id = child.id;
            self.take_in(cx, child);
            self.note_twins(cx, id);
        }
        deletion::say(self, cx, &inheritance.deletions);
        for (purpose, tickets) in inheritance.wishes {
            quick_mode::initiate(self, cx, purpose, tickets);
        }
    }

    /// Holds the virtual addresses of the ISAKMP SA that it takes over from: its Child SAs are for them.
    fn share(&mut self, cx: &mut Context, inside: Inside) {
        cx.share_addresses(&inside, &self.connection.name, self.channel.our_spi());
        for address in inside.local {
            if !self.inside.local.contains(&address) {
                self.inside.local.push(address);
            }
        }
        for address in inside.remote {
            if !self.inside.remote.contains(&address) {
                self.inside.remote.push(address);
            }
        }
    }
}
