//! What the endpoint asks of an established IKE SA: most of it becomes a task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sa::{ExpiryCause, Hardness, SaId};
use wire::isakmp::IkeSpi;

use super::{IkeSa, Life, Task};
use crate::authentication::PeerAuthenticated;
use crate::context::{Context, Initiation};
use crate::established::Established;
use crate::event::DownReason;
use crate::io::{ChildSaId, IkeSaId, Path, Ticket};
use crate::{Connection, Failure, GatewayName};

impl IkeSa {
    /// Sends the client at the other end to another gateway.
    pub(crate) fn redirect(&mut self, cx: &mut Context, gateway: GatewayName, ticket: Ticket) {
        self.queue(cx, Task::Redirect(gateway, vec![ticket]));
        self.pump(cx);
    }

    /// Asks whether the peer lives, unless something of ours waits for its answer anyway.
    pub(crate) fn doubt(&mut self, cx: &mut Context) {
        if self.active.is_none() && !self.is_queued(|task| matches!(task, Task::Liveness)) {
            self.queue(cx, Task::Liveness);
            self.pump(cx);
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
        self.life == Life::Current
    }

    fn is_current(&self) -> bool {
        self.life == Life::Current
    }

    fn is_lasting(&self) -> bool {
        IkeSa::is_lasting(self)
    }

    fn owns(&self, child: ChildSaId) -> bool {
        self.children.contains_key(&child)
    }

    fn initiate(&mut self, cx: &mut Context, initiation: Initiation) {
        let Initiation { child, further, tickets, .. } = initiation;
        if child.is_none() {
            cx.finish(&tickets, &Ok(()));
        }
        for (request, tickets) in child.map(|child| (child, tickets)).into_iter().chain(further) {
            let name = &request.config.name;
            if self.has_child(name) {
                cx.finish(&tickets, &Ok(()));
            } else if self.is_creating(name) {
                self.join_creation(name, &tickets);
            } else {
                self.queue(cx, Task::CreateChild(request, tickets));
            }
        }
        self.pump(cx);
    }

    fn rekey(&mut self, cx: &mut Context, tickets: Vec<Ticket>) {
        self.queue(cx, Task::RekeyIke(tickets));
        self.pump(cx);
    }

    fn reauthenticate(&mut self, cx: &mut Context, tickets: Vec<Ticket>) {
        IkeSa::reauthenticate(self, cx, tickets);
    }

    fn rekey_child(&mut self, cx: &mut Context, child: ChildSaId, tickets: Vec<Ticket>) {
        self.queue(cx, Task::RekeyChild(child, tickets));
        self.pump(cx);
    }

    fn terminate(&mut self, cx: &mut Context, tickets: Vec<Ticket>) {
        self.queue_first(cx, Task::DeleteIke(DownReason::Terminated, tickets));
        self.pump(cx);
    }

    fn terminate_child(&mut self, cx: &mut Context, child: ChildSaId, tickets: Vec<Ticket>) {
        self.queue_first(cx, Task::DeleteChild(child, DownReason::Terminated, tickets));
        self.pump(cx);
    }

    fn end(&mut self, cx: &mut Context, reason: DownReason) {
        IkeSa::end(self, cx, reason);
    }

    fn retire(&mut self, cx: &mut Context, up_at: Instant) {
        IkeSa::retire(self, cx, up_at);
    }

    fn handle_expiry(&mut self, cx: &mut Context, sa: SaId, hardness: Hardness, cause: ExpiryCause) {
        IkeSa::handle_expiry(self, cx, sa, hardness, cause);
    }

    fn handle_activity(&mut self, cx: &mut Context, sa: SaId) {
        IkeSa::handle_activity(self, cx, sa);
    }

    fn handle_idle(&mut self, cx: &mut Context, sa: SaId, idle: Option<Duration>) {
        IkeSa::handle_idle(self, cx, sa, idle);
    }

    fn handle_rejection(&mut self, cx: &mut Context, sa: SaId, failure: Failure) {
        IkeSa::handle_rejection(self, cx, sa, failure);
    }

    fn heard_from(&mut self, cx: &mut Context, path: Path) {
        IkeSa::heard_from(self, cx, path);
    }
}
