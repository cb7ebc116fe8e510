//! What must hold after every input, and what must hold once both sides have come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ike::{ChildSaId, ChildSaStatus, ChildState, Event, IkeSaId, IkeState, TimeoutReason};
use sa::{AddressRange, Direction, Mode, PolicyId, SaId, SaSpec, SelectorPair, TrafficSelector};

use crate::plane::name;
use crate::{Pair, Side};

impl Pair {
    /// Runs until both sides are at rest, and checks every invariant.
    ///
    /// # Panics
    /// They do not come to rest within ten minutes, or an invariant does not hold.
    pub fn settle_and_check(&mut self) {
        self.settle();
        self.check();
    }

    /// Runs until both sides are at rest: no exchange, no command, no replaced SA, no timers but the regular ones.
    ///
    /// # Panics
    /// They do not within ten minutes.
    pub fn settle(&mut self) {
        // The first two are cheap, and most often tell.
        let is_at_rest = |pair: &Pair| {
            let is_waking =
                |side: &Side| pair.wake_time(*side).is_some_and(|(_, reason)| !is_regular(reason));
            !pair.has_plans() && !Side::BOTH.iter().any(is_waking) && pair.unrest().is_empty()
        };
        if !self.runs_until(SETTLED_WITHIN, is_at_rest) {
            self.report(&self.unrest());
        }
    }

    /// Checks every invariant of two sides at rest.
    ///
    /// # Panics
    /// One does not hold; the message names all that do not.
    pub fn check(&self) {
        let mut faults = self.faults_so_far();
        faults.extend(self.disagreements());
        faults.extend(Side::BOTH.iter().flat_map(|side| self.redundancies(*side)));
        self.report(&faults);
    }

    /// Checks every invariant of two sides at rest but one: there may be more SAs than are needed.
    ///
    /// # Panics
    /// Another one does not hold; the message names all that do not.
    pub fn check_agreement(&self) {
        let mut faults = self.faults_so_far();
        faults.extend(self.disagreements());
        self.report(&faults);
    }

    /// Checks every invariant of two sides at rest but two: packets may have been lost to SAs that a command or a
    /// restart took away at one end first, and both ends may have begun an IKE SA at once.
    ///
    /// # Panics
    /// Another one does not hold; the message names all that do not.
    pub fn check_but_for_losses(&self) {
        let mut faults = self.breaches();
        faults.extend(self.disagreements());
        self.report(&faults);
    }

    /// Checks what holds at any moment, of sides at rest or not.
    ///
    /// # Panics
    /// It does not.
    pub fn check_faults(&self) {
        self.report(&self.faults_so_far());
    }

    /// Checks that nothing is left of any SA on a side: no IKE SA, no SA, no policy but the guards of children, no timer.
    ///
    /// # Panics
    /// Something is.
    pub fn check_nothing_left(&self, side: Side) {
        let mut left = self.faults_so_far();
        left.extend(self.ike_sas(side).iter().map(|ike| format!("{side} still has IKE SA {}", ike.id)));
        left.extend(self.plane(side).sas().keys().map(|sa| format!("{side} still has {}", name(sa))));
        left.extend(self.plane(side).name_servers().map(|told| format!("{side} still has {told:?}")));
        left.extend(self.plane(side).addresses().map(|address| format!("{side} still has {address}")));
        left.extend(self.unguarding(side).map(|policy| format!("{side} still has policy {policy}")));
        left.extend(self.wake_time(side).map(|(_, reason)| format!("{side} still waits for {reason:?}")));
        self.report(&left);
    }

    /// Gives the policies of a side that are no guards of children.
    fn unguarding(&self, side: Side) -> impl Iterator<Item = PolicyId> {
        let guards: BTreeSet<PolicyId> = self.guards(side).into_iter().collect();
        let policies = self.plane(side).policies().map(|policy| policy.id);
        policies.filter(move |policy| !guards.contains(policy))
    }

    fn report(&self, faults: &[String]) {
        assert!(faults.is_empty(), "seed {}: {}", self.seed(), faults.join("\n"));
    }

    /// Gives everything that is still under way.
    fn unrest(&self) -> Vec<String> {
        let mut unrest = Vec::new();
        if self.has_plans() {
            unrest.push("datagrams, commands or answers are on their way".to_owned());
        }
        let waiting = self.tickets.values().filter(|errand| errand.result.is_none());
        unrest.extend(waiting.map(|errand| format!("{} never finished {}", errand.side, errand.command)));
        unrest.extend(Side::BOTH.iter().flat_map(|side| self.unrest_of(*side)));
        unrest
    }

    fn unrest_of(&self, side: Side) -> Vec<String> {
        let mut unrest = Vec::new();
        if let Some((_, reason)) = self.wake_time(side).filter(|(_, reason)| !is_regular(*reason)) {
            unrest.push(format!("{side} waits for {reason:?}"));
        }
        for ike in self.ike_sas(side) {
            let at_rest = ike.tasks_active.is_empty() && ike.tasks_queued.is_empty();
            if ike.state != IkeState::Established || !at_rest {
                let (active, queued) = (ike.tasks_active, ike.tasks_queued);
                unrest
                    .push(format!("{side}: IKE SA {} is {:?}, {active:?} and {queued:?}", ike.id, ike.state));
            }
            let restless = ike.children.iter().filter(|child| child.state != ChildState::Installed);
            unrest.extend(
                restless.map(|child| format!("{side}: {}{} is {:?}", child.name, child.id, child.state)),
            );
        }
        unrest.extend(self.lingering(side).iter().map(|sa| format!("{side}: {} lingers", name(sa))));
        unrest
    }

    /// Checks a side's engine against its plane after an input: every SA in the plane is a listed Child SA's, of an
    /// authenticated IKE SA, and every listed Child SA's SAs are in the plane.
    pub(crate) fn check_standing(&mut self, side: Side) {
        let mut faults = Vec::new();
        for ike in self.ike_sas(side) {
            if ike.state == IkeState::Connecting && !ike.children.is_empty() {
                faults.push(format!("{side}: IKE SA {} has a Child SA and is not authenticated", ike.id));
            }
            for child in &ike.children {
                let installed = self.plane(side).sas();
                let missing = sas_of(child).filter(|sa| !installed.contains_key(sa));
                faults.extend(missing.map(|sa| {
                    format!(
                        "{side}: Child SA {}{} ({:?}) lists {}, which is not installed",
                        child.name,
                        child.id,
                        child.state,
                        name(&sa)
                    )
                }));
            }
        }
        let stray = self.lingering(side).into_iter().filter(|sa| sa.direction == Direction::Outbound);
        faults.extend(stray.map(|sa| format!("{side}: {} belongs to no Child SA", name(&sa))));
        if let Some(first) = faults.first() {
            panic!("seed {}: {first}", self.seed());
        }
    }

    /// Gives the SAs that are in a side's plane and belong to no listed Child SA.
    fn lingering(&self, side: Side) -> Vec<SaId> {
        let children = self.ike_sas(side).into_iter().flat_map(|ike| ike.children);
        let listed: BTreeSet<SaId> = children.flat_map(|child| sas_of(&child)).collect();
        self.plane(side).sas().keys().filter(|sa| !listed.contains(sa)).copied().collect()
    }

    fn faults_so_far(&self) -> Vec<String> {
        let mut faults = self.breaches();
        for side in Side::BOTH {
            let by_sas = &self.tally(side).lost_by_sas;
            if let Some(why) = by_sas.first() {
                faults.push(format!(
                    "{} packets from the {side} were lost by the SAs; the first: {why}",
                    by_sas.len()
                ));
            }
        }
        faults
    }

    /// Gives every breach of a contract, and every packet that should have been protected.
    fn breaches(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        for side in Side::BOTH {
            faults.extend(self.plane(side).faults().iter().map(|fault| format!("{side}: {fault}")));
            let unguarded = self.tally(side).unguarded;
            if unguarded > 0 {
                faults.push(format!("{unguarded} packets from the {side} left in plaintext"));
            }
        }
        faults
    }

    /// Gives what the two sides do not agree about.
    fn disagreements(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let spis = |side| -> BTreeSet<_> {
            self.ike_sas(side).iter().map(|ike| (ike.initiator_spi, ike.responder_spi)).collect()
        };
        if spis(Side::Left) != spis(Side::Right) {
            faults.push(format!(
                "IKE SAs differ: left {:?}, right {:?}",
                spis(Side::Left),
                spis(Side::Right)
            ));
        }
        for side in Side::BOTH {
            for installed in self.plane(side).sas().values() {
                faults.extend(self.mirror_fault(side, &installed.spec));
            }
            faults.extend(self.untold(side));
            let waiting =
                self.tickets.iter().filter(|(_, errand)| errand.side == side && errand.result.is_none());
            faults.extend(waiting.map(|(_, errand)| format!("{side} never finished {}", errand.command)));
        }
        faults
    }

    /// Gives how an SA's other end differs from it.
    fn mirror_fault(&self, side: Side, ours: &SaSpec) -> Option<String> {
        let other = self.plane(side.other()).sas().values().map(|installed| &installed.spec);
        let theirs = other.clone().find(|spec| spec.spi == ours.spi && spec.direction != ours.direction);
        let Some(theirs) = theirs else {
            return Some(format!(
                "{side} has {}, and {} has no other end of it",
                name(&ours.id()),
                side.other()
            ));
        };
        let mirror = |pair: &SelectorPair| SelectorPair { local: pair.remote, remote: pair.local };
        // In transport mode a NAT gives the ends other addresses for each other.
        let comparable = |pair: SelectorPair| match ours.mode {
            Mode::Tunnel | Mode::Beet => pair,
            Mode::Transport => {
                let anywhere = AddressRange::any(pair.local.family());
                let blurred = |selector| TrafficSelector { addresses: anywhere, ..selector };
                SelectorPair { local: blurred(pair.local), remote: blurred(pair.remote) }
            }
        };
        let selectors: BTreeSet<SelectorPair> = ours.selectors.iter().copied().map(comparable).collect();
        let mirrored: BTreeSet<SelectorPair> = theirs.selectors.iter().map(mirror).map(comparable).collect();
        let same = [
            ("key", ours.key.ct_eq(theirs.key.as_slice())),
            ("algorithm", ours.protection == theirs.protection),
            ("mode", ours.mode == theirs.mode),
            ("width of sequence number", ours.esn == theirs.esn),
            ("encapsulation", ours.outer.encapsulation == theirs.outer.encapsulation),
            ("protocol", ours.protocol == theirs.protocol),
            ("compression", ours.handling.compression == theirs.handling.compression),
            ("selectors", selectors == mirrored),
        ];
        let differing: Vec<&str> = same.iter().filter(|(_, same)| !same).map(|(what, _)| *what).collect();
        (!differing.is_empty())
            .then(|| format!("{}: both ends differ in {}", name(&ours.id()), differing.join(", ")))
    }

    /// Gives how what a side told differs from what it has.
    fn untold(&self, side: Side) -> Vec<String> {
        let told = Told::by(self.events(side));
        let sas = self.ike_sas(side);
        let ikes: BTreeSet<IkeSaId> = sas.iter().map(|ike| ike.id).collect();
        let children: BTreeSet<ChildSaId> =
            sas.iter().flat_map(|ike| ike.children.iter().map(|child| child.id)).collect();
        let mut faults = told.faults;
        if told.ikes != ikes {
            faults.push(format!("{side} told of IKE SAs {:?} and has {ikes:?}", told.ikes));
        }
        if told.children != children {
            faults.push(format!("{side} told of Child SAs {:?} and has {children:?}", told.children));
        }
        faults
    }

    /// Gives SAs of which there is more than one, and policies whose packets go through none or a stranger.
    fn redundancies(&self, side: Side) -> Vec<String> {
        let mut faults = Vec::new();
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for ike in self.ike_sas(side) {
            *counts.entry(format!("IKE SAs of {}", ike.connection)).or_default() += 1;
            for child in ike.children {
                *counts.entry(format!("Child SAs of {}", child.name)).or_default() += 1;
                if self.plane(side).outbound(child.policy) != Some(child.outbound) {
                    let used = self.plane(side).outbound(child.policy).map(|sa| name(&sa));
                    faults.push(format!(
                        "{side}: packets of policy {} go through {used:?}, not through Child SA {}{}",
                        child.policy, child.name, child.id
                    ));
                }
            }
        }
        let many = counts.into_iter().filter(|(_, count)| *count > 1);
        faults.extend(many.map(|(what, count)| format!("{side} has {count} {what}")));
        faults
    }
}

/// Tells whether a timer is one that a side at rest has.
fn is_regular(reason: TimeoutReason) -> bool {
    match reason {
        TimeoutReason::Liveness
        | TimeoutReason::Rekey
        | TimeoutReason::Expiry
        | TimeoutReason::Idle
        | TimeoutReason::Keepalive
        | TimeoutReason::Probe => true,
        TimeoutReason::Retransmission
        | TimeoutReason::HalfOpen
        | TimeoutReason::Retry
        | TimeoutReason::Puzzle
        | TimeoutReason::Outside
        | TimeoutReason::Linger => false,
    }
}

const SETTLED_WITHIN: Duration = Duration::from_secs(600);

/// Which SAs there are, by what was told.
#[derive(Default)]
struct Told {
    ikes: BTreeSet<IkeSaId>,
    children: BTreeSet<ChildSaId>,
    faults: Vec<String>,
}

impl Told {
    fn by(events: &[Event]) -> Told {
        let mut told = Told::default();
        for event in events {
            told.hear(event);
        }
        told
    }

    fn hear(&mut self, event: &Event) {
        let consistent = match event {
            Event::IkeUp(ike) => self.ikes.insert(ike.id),
            // An IKE SA that never came up may be told to have failed.
            Event::IkeDown(ike, _) => self.ikes.remove(&ike.id) || ike.established_at.is_none(),
            Event::IkeRekeyed { old, new } => {
                let had = self.ikes.remove(&old.id);
                self.ikes.insert(new.id) && had
            }
            Event::ChildUp(_, child) => self.children.insert(child.id),
            Event::ChildDown(_, child, _) => self.children.remove(&child.id),
            Event::ChildRekeyed { old, new, .. } => {
                let had = self.children.remove(&old.id);
                self.children.insert(new.id) && had
            }
            Event::PathChanged(..)
            | Event::Finished { .. }
            | Event::Failed { .. }
            | Event::Message(_)
            | Event::IkeKeys(_)
            | Event::ChildKeys(_) => true,
        };
        if !consistent {
            self.faults.push(format!("an event does not follow from those before it: {event:?}"));
        }
    }
}

/// Gives all SAs that a Child SA lists.
fn sas_of(child: &ChildSaStatus) -> impl Iterator<Item = SaId> + use<> {
    let around = child.wrapper.as_ref().map(|wrapper| [wrapper.inbound, wrapper.outbound]);
    [child.inbound, child.outbound].into_iter().chain(around.into_iter().flatten())
}
