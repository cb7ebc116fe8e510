//! What the endpoint asks of an established ISAKMP SA.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sa::{ExpiryCause, Hardness, Protocol, SaId, Spi};
use wire::isakmp::IkeSpi;

use super::{IkeSa, Life};
use crate::authentication::PeerAuthenticated;
use crate::child::Tenure;
use crate::context::{Context, Initiation, Intent};
use crate::established::Established;
use crate::event::DownReason;
use crate::io::{ChildSaId, IkeSaId, Path, Ticket};
use crate::status::ChildState;
use crate::v1::expiry::Expiry;
use crate::v1::quick_mode::{self, Purpose};
use crate::v1::{deletion, informational};
use crate::{Connection, Failure, limits};

impl IkeSa {
    /// The peer deletes an SA that another has superseded: what is still here, for the sake of a quick mode that the peer has
    /// given up, goes there. Tells whether there is such an heir.
    pub(crate) fn leave_to_heir(&mut self, cx: &mut Context) -> bool {
        let Life::Superseded { heir: Some(heir), .. } = self.life else { return false };
        if self.children.is_empty() {
            return false;
        }
        for quick_mode in std::mem::take(&mut self.quick_modes).into_values() {
            quick_mode.abandon(cx);
        }
        self.life = Life::Superseded { heir: Some(heir), until: Some(cx.now) };
        self.pass_on(cx);
        true
    }

    /// The peer deletes, in another ISAKMP SA, Child SAs that this one may have.
    pub(crate) fn lose_elsewhere(&mut self, cx: &mut Context, protocol: Protocol, spis: &[Spi]) {
        let gone = spis.iter().filter_map(|spi| self.lose_named(cx, protocol, *spi));
        let gone: Vec<_> = gone.flatten().collect();
        // No message here has this id: should the answer be lost, it is not said again.
        deletion::answer(self, cx, 0, &gone);
    }

    /// The responder keeps it for less than we offered.
    pub(crate) fn limit(&mut self, lifetime: Expiry) {
        if let Some(limit) = lifetime.time {
            self.schedule = self.schedule.limited_to(self.established_at, limit);
        }
        self.meter.limit(lifetime.kilobytes);
    }

    /// The responder keeps a Child SA for less than it said in quick mode; what it carries was settled there.
    pub(crate) fn limit_child(&mut self, protocol: Protocol, spi: Spi, lifetime: Expiry) {
        let named = self.child_named_by_peer(protocol, spi).and_then(|id| self.children.get_mut(&id));
        if let (Some(child), Some(limit)) = (named, lifetime.time) {
            child.schedule = child.schedule.limited_to(child.installed_at, limit);
        }
    }

    /// Finds the Child SA that the peer calls by this SPI.
    pub(crate) fn child_named_by_peer(&self, protocol: Protocol, spi: Spi) -> Option<ChildSaId> {
        self.children.values().find(|child| child.is_named_by_peer(protocol, spi)).map(|child| child.id)
    }

    /// The peer deletes a Child SA that holds a policy: another that was made in the same one's place, and is not to go, holds
    /// it from now on. Of two that came up at once, either end may have preferred another.
    pub(crate) fn fall_back(&mut self, cx: &mut Context, deleted: ChildSaId) {
        let Some(lost) = self.children.get(&deleted).filter(|child| child.tenure == Tenure::Holds) else {
            return;
        };
        let policy = lost.policy;
        let spares = self.children.values().filter(|other| other.policy == policy && other.id != deleted);
        let spare = spares.map(|other| other.id).filter(|id| !self.farewells.contains_key(id)).max();
        let Some(spare) = spare else { return };
        self.hand_over(cx, spare);
        if let Some(child) = self.children.get_mut(&spare) {
            child.state = ChildState::Installed;
            child.resume_sending(cx);
        }
    }
}

impl Established for IkeSa {
    fn id(&self) -> IkeSaId {
        self.channel.id
    }

    fn our_spi(&self) -> IkeSpi {
        self.channel.our_spi()
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn peer(&self) -> &PeerAuthenticated {
        &self.peer
    }

    fn path(&self) -> Path {
        self.channel.path
    }

    fn is_deletable(&self) -> bool {
        self.life != Life::Over
    }

    fn is_current(&self) -> bool {
        self.life == Life::Current
    }

    fn is_lasting(&self) -> bool {
        self.life == Life::Current
    }

    fn owns(&self, child: ChildSaId) -> bool {
        self.children.contains_key(&child)
    }

    fn initiate(&mut self, cx: &mut Context, initiation: Initiation) {
        self.take_up(cx, initiation);
    }

    fn rekey(&mut self, cx: &mut Context, tickets: Vec<Ticket>) {
        self.replace(cx, tickets);
    }

    fn reauthenticate(&mut self, cx: &mut Context, tickets: Vec<Ticket>) {
        // Version 1 knows no other way to replace an ISAKMP SA.
        self.replace(cx, tickets);
    }

    fn rekey_child(&mut self, cx: &mut Context, child: ChildSaId, tickets: Vec<Ticket>) {
        quick_mode::initiate(self, cx, Purpose::Replace(child), tickets);
    }

    fn terminate(&mut self, cx: &mut Context, tickets: Vec<Ticket>) {
        self.delete(cx, DownReason::Terminated);
        cx.finish(&tickets, &Ok(()));
    }

    fn terminate_child(&mut self, cx: &mut Context, child: ChildSaId, tickets: Vec<Ticket>) {
        informational::delete_children(self, cx, &[child]);
        self.drop_child(cx, child, DownReason::Terminated);
        cx.finish(&tickets, &Ok(()));
    }

    fn end(&mut self, cx: &mut Context, reason: DownReason) {
        IkeSa::end(self, cx, reason);
    }

    fn retire(&mut self, cx: &mut Context, up_at: Instant) {
        if self.established_at > up_at {
            return;
        }
        // What was wanted of it, the newer one is to do.
        for (purpose, tickets) in self.take_wishes(cx) {
            match purpose {
                Purpose::New(request) => {
                    let connection = Arc::clone(&self.connection);
                    let initiation = Initiation::of_child(connection, request, tickets);
                    cx.intents.push_back(Intent::Initiate(initiation));
                }
                Purpose::Replace(_) => cx.finish(&tickets, &Err(Failure::Terminated)),
            }
        }
        self.delete(cx, DownReason::Replaced);
    }

    fn handle_expiry(&mut self, cx: &mut Context, sa: SaId, hardness: Hardness, _cause: ExpiryCause) {
        let found = self.children.values().find(|child| child.sas().any(|own| own == sa));
        let Some((id, state)) = found.map(|child| (child.id, child.state)) else { return };
        match hardness {
            Hardness::Soft if state == ChildState::Installed => {
                quick_mode::initiate(self, cx, Purpose::Replace(id), Vec::new());
            }
            Hardness::Soft => {}
            Hardness::Hard => {
                informational::delete_children(self, cx, &[id]);
                self.drop_child(cx, id, DownReason::Expired);
            }
        }
    }

    /// The peer's packets arrive: it lives, and what replaced an older Child SA is in use at the other end.
    fn handle_activity(&mut self, cx: &mut Context, sa: SaId) {
        self.last_heard = cx.now;
        if quick_mode::confirm_by_traffic(self, cx, sa) {
            return;
        }
        let Some(child) = self.children.values().find(|child| child.inbound == sa) else { return };
        if child.tenure == Tenure::Holds {
            let policy = child.policy;
            self.turn(cx, policy);
            // What we sent through the old one up to now arrives before its delete does.
            let soon = cx.now + limits::FLIGHT;
            let replaced = self.children.values().filter(|other| other.policy == policy);
            for other in replaced {
                if let Some(at) = self.farewells.get_mut(&other.id) {
                    *at = soon.min(*at);
                }
            }
        }
    }

    fn handle_idle(&mut self, cx: &mut Context, sa: SaId, idle: Option<Duration>) {
        self.close_idle(cx, sa, idle);
    }

    fn handle_rejection(&mut self, cx: &mut Context, sa: SaId, failure: Failure) {
        let found = self.children.values().find(|child| child.sas().any(|own| own == sa));
        let Some(id) = found.map(|child| child.id) else { return };
        informational::delete_children(self, cx, &[id]);
        self.drop_child(cx, id, DownReason::Failed(failure));
    }

    fn heard_from(&mut self, cx: &mut Context, path: Path) {
        self.heard_from_peer(cx, path);
    }
}
