//! Proving anew who both ends are, after a while (RFC 4478): whoever began makes a whole new IKE SA with the same children, and
//! deletes the old one when all of them are there. Rekeying does not put it off.
//!
//! ```text
//!   old  ◄── N(AUTH_LIFETIME) of the responder, or `reauth_time` of ours
//!   new  IKE_SA_INIT, IKE_AUTH with the first child, CREATE_CHILD_SA for each other     make before break
//!   old  D(IKE) -->
//! ```
//!
//! Where the connection wants it so, the old one is deleted first, for peers that bear no two at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sa::SaOp;
use wire::registry::NotifyType;
use wire::v2::{Notify, Payload};

use super::rivals::Birth;
use super::{IkeSa, Life, Task};
use crate::child::{self, ChildSa, Sending, Tenure};
use crate::context::{ChildRequest, Contact, Context, Initiation, Intent};
use crate::event::{DownReason, Event};
use crate::io::{ChildSaId, Ticket};
use crate::lifetime::Schedule;
use crate::v2::contents::Contents;
use crate::{Connection, ReauthenticationOrder, Role, limits};

/// What an IKE SA has in common with those that replace it without a new proof.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lineage {
    /// Our part when both ends proved who they are.
    pub role: Role,
    /// When they are to do it again, and when it ends if they have not.
    pub schedule: Schedule,
    /// How the first of them came about.
    pub(super) birth: Birth,
}

impl Lineage {
    /// Both ends have proven who they are, just now.
    pub(crate) fn begin(cx: &mut Context, role: Role, connection: &Connection) -> Lineage {
        let schedule = connection.reauthentication.schedule(cx.now, &mut *cx.random);
        Lineage { role, schedule, birth: Birth::UNKNOWN }
    }

    /// The responder says within which time it wants to see a new proof.
    fn limit(&mut self, now: Instant, lifetime: Duration) {
        let Some(latest) = now.checked_add(lifetime.mul_f64(0.9)) else { return };
        if self.role == Role::Initiator {
            self.schedule.rekey_at = Some(self.schedule.rekey_at.map_or(latest, |at| at.min(latest)));
        }
    }
}

impl IkeSa {
    /// Gives what tells the initiator when to prove anew who it is.
    pub(crate) fn authentication_lifetime(&self) -> Option<Payload> {
        let lifetime = self.connection.reauthentication.rekey;
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        (!lifetime.is_zero())
            .then(|| Payload::Notify(Notify::new(NotifyType::AUTH_LIFETIME, seconds.to_be_bytes())))
    }

    /// Reads the same of a peer.
    pub(crate) fn note_authentication_lifetime(&mut self, cx: &Context, contents: &Contents) {
        let notify = contents.notify(NotifyType::AUTH_LIFETIME);
        if let Some(seconds) = notify.and_then(|notify| <[u8; 4]>::try_from(notify.data.as_slice()).ok()) {
            self.lineage.limit(cx.now, Duration::from_secs(u32::from_be_bytes(seconds).into()));
        }
    }

    /// Proves anew who both ends are if that is due, or ends what was not proven anew in time.
    pub(super) fn keep_proven(&mut self, cx: &mut Context) {
        let is_due = self.lineage.schedule.rekey_at.take_if(|at| *at <= cx.now).is_some();
        if is_due && self.lineage.role == Role::Initiator {
            // A try that fails is made again.
            self.lineage.schedule.rekey_at = cx.now.checked_add(limits::REAUTHENTICATION_RETRY);
            self.reauthenticate(cx, Vec::new());
        }
        if self.lineage.schedule.expire_at.take_if(|at| *at <= cx.now).is_some() {
            self.queue_first(cx, Task::DeleteIke(DownReason::Expired, Vec::new()));
        }
    }

    /// Has a new IKE SA made that takes the place of this one, with all its children.
    pub(crate) fn reauthenticate(&mut self, cx: &mut Context, tickets: Vec<Ticket>) {
        let in_use = self.children.values().filter(|child| child.is_in_use());
        let mut requests = in_use.map(|child| ChildRequest { config: child.config.clone(), flow: None });
        let initiation = Initiation {
            connection: self.connection.clone(),
            child: requests.next(),
            further: requests.map(|request| (request, Vec::new())).collect(),
            tickets,
            failed_tries: 0,
            contact: Contact::Further,
            replaces: Some(self.channel.our_spi()),
            predecessor: Some(self.channel.id),
            redirection: None,
        };
        match self.connection.reauthentication_order {
            ReauthenticationOrder::MakeBeforeBreak => cx.intents.push_back(Intent::Initiate(initiation)),
            ReauthenticationOrder::BreakBeforeMake => {
                let anew = Initiation { replaces: None, predecessor: None, ..initiation };
                self.afterwards = Some(Box::new(anew));
                self.queue_first(cx, Task::DeleteIke(DownReason::Replaced, Vec::new()));
                self.pump(cx);
            }
        }
    }

    /// The peer replaces no SAs: a whole new IKE SA takes the place of this one (RFC 7296 §4).
    pub(crate) fn replace_whole(&mut self, cx: &mut Context, tickets: Vec<Ticket>) {
        self.reauthenticate(cx, tickets);
    }

    /// Ends the IKE SA whose place this one takes, when no child is to be made any more.
    pub(super) fn retire_predecessor(&mut self, cx: &mut Context) {
        let is_creating =
            matches!(self.active, Some(super::Active::CreateChild(_))) || self.is_to_create(cx.now);
        if !is_creating && let Some(old) = self.predecessor.take() {
            let (heir, until) = (self.channel.our_spi(), cx.now + limits::PUT_OFF_AT_MOST);
            cx.intents.push_back(Intent::Retire { old, heir, until });
        }
    }

    /// Tells whether there is another IKE SA with the same peer, so that packets of a Child SA may be late rather than lost.
    pub(super) fn has_successor(&self, cx: &Context) -> bool {
        let mut all = cx.established_between(self.peer.local(), self.peer.remote());
        !self.peer.remote().is_null() && all.any(|our_spi| our_spi != self.channel.our_spi())
    }

    /// Another IKE SA has all that this one has. From now on our packets go there; the peer's come here until it knows.
    pub(crate) fn yield_to_successor(&mut self, cx: &mut Context) {
        if self.life != Life::Current {
            return;
        }
        for id in self.children.keys().copied().collect::<Vec<_>>() {
            let linger = limits::SUPERSEDED_SA_LINGER;
            if let Some(child) = take_away_superseded(cx, &mut self.children, id, linger) {
                cx.tell(Event::ChildDown(Box::new(self.status()), child.status(), DownReason::Replaced));
            }
        }
        self.queue_first(cx, Task::DeleteIke(DownReason::Replaced, Vec::new()));
        self.pump(cx);
    }
}

/// Takes a Child SA away whose traffic one of another IKE SA has taken over; late packets are opened for as long as this. Gives
/// it if it held its policy.
pub(super) fn take_away_superseded(
    cx: &mut Context,
    children: &mut BTreeMap<ChildSaId, ChildSa>,
    id: ChildSaId,
    linger: Duration,
) -> Option<ChildSa> {
    let child = children.remove(&id)?;
    for sa in child.sas() {
        cx.owners.remove(&sa);
    }
    match child.tenure {
        Tenure::Holds => cx.order(SaOp::RemovePolicy(child.policy)),
        Tenure::Aside if child.sending == Sending::Yes => {
            child::send_through_holder(cx, children, child.policy)
        }
        Tenure::Aside => {}
    }
    child.remove_outbound(cx);
    for sa in child.inbound_sas() {
        cx.linger_for(sa, linger);
    }
    (child.tenure == Tenure::Holds).then_some(child)
}
