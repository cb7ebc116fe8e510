//! An IKE SA of either version, as the endpoint sees it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sa::{ExpiryCause, Hardness, SaId};
use wire::isakmp::IkeSpi;

use crate::authentication::PeerAuthenticated;
use crate::context::{Context, Initiation};
use crate::event::DownReason;
use crate::io::{Answer, ChildSaId, IkeSaId, Path, QueryId, Ticket, TimeoutReason};
use crate::status::IkeSaStatus;
use crate::{Connection, Failure, v1, v2};

/// An IKE SA in one of its states.
pub(crate) enum Sa {
    /// Of version 1: an ISAKMP SA.
    V1(v1::Sa),
    /// Of version 2.
    V2(v2::Sa),
}

/// What the endpoint asks of an IKE SA whose ends are authenticated, whichever version made it.
pub(crate) trait Established {
    /// Gives its name for people.
    fn id(&self) -> IkeSaId;
    /// Gives our SPI.
    fn our_spi(&self) -> IkeSpi;
    /// Gives the connection that it belongs to.
    fn connection(&self) -> &Arc<Connection>;
    /// Gives who the two ends are.
    fn peer(&self) -> &PeerAuthenticated;
    /// Gives the path to the peer.
    fn path(&self) -> Path;
    /// Tells whether it is ours to delete.
    fn is_deletable(&self) -> bool;
    /// Tells whether it is in use.
    fn is_current(&self) -> bool;
    /// Tells whether it is in use and nobody wants it gone.
    fn is_lasting(&self) -> bool;
    /// Tells whether a Child SA is its own.
    fn owns(&self, child: ChildSaId) -> bool;
    /// Makes the children that somebody wants.
    fn initiate(&mut self, cx: &mut Context, initiation: Initiation);
    /// Replaces it.
    fn rekey(&mut self, cx: &mut Context, tickets: Vec<Ticket>);
    /// Replaces it, and has both ends prove anew who they are.
    fn reauthenticate(&mut self, cx: &mut Context, tickets: Vec<Ticket>);
    /// Replaces a Child SA.
    fn rekey_child(&mut self, cx: &mut Context, child: ChildSaId, tickets: Vec<Ticket>);
    /// Deletes it.
    fn terminate(&mut self, cx: &mut Context, tickets: Vec<Ticket>);
    /// Deletes a Child SA.
    fn terminate_child(&mut self, cx: &mut Context, child: ChildSaId, tickets: Vec<Ticket>);
    /// Ends it at once.
    fn end(&mut self, cx: &mut Context, reason: DownReason);
    /// A newer one with the same peer takes over from those that were up at a moment.
    fn retire(&mut self, cx: &mut Context, up_at: Instant);
    /// An SA of its own reached a limit.
    fn handle_expiry(&mut self, cx: &mut Context, sa: SaId, hardness: Hardness, cause: ExpiryCause);
    /// The peer's packets arrive on an SA of its own.
    fn handle_activity(&mut self, cx: &mut Context, sa: SaId);
    /// The data plane says how long nothing has gone through an SA of its own and its other half.
    fn handle_idle(&mut self, cx: &mut Context, sa: SaId, idle: Option<Duration>);
    /// The data plane did not take an SA of its own.
    fn handle_rejection(&mut self, cx: &mut Context, sa: SaId, failure: Failure);
    /// The peer's packets come from here.
    fn heard_from(&mut self, cx: &mut Context, path: Path);
}

impl Sa {
    /// Goes on with what the outside has found out; `None` means that the SA is gone.
    pub(crate) fn handle_answer(self, cx: &mut Context, query: QueryId, answer: Answer) -> Option<Sa> {
        match self {
            Sa::V1(sa) => sa.handle_answer(cx, query, answer).map(Sa::V1),
            Sa::V2(sa) => sa.handle_answer(cx, query, answer).map(Sa::V2),
        }
    }

    /// Does what is due; `None` means that the SA is gone.
    pub(crate) fn handle_timeout(self, cx: &mut Context) -> Option<Sa> {
        match self {
            Sa::V1(sa) => sa.handle_timeout(cx).map(Sa::V1),
            Sa::V2(sa) => sa.handle_timeout(cx).map(Sa::V2),
        }
    }

    /// Tells when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn deadline(&self, cx: &Context) -> Option<(Instant, TimeoutReason)> {
        match self {
            Sa::V1(sa) => sa.deadline(cx),
            Sa::V2(sa) => sa.deadline(cx),
        }
    }

    /// Gives the snapshot for people; half-open and closed SAs are nobody's yet or any more.
    pub(crate) fn status(&self) -> Option<IkeSaStatus> {
        match self {
            Sa::V1(sa) => sa.status(),
            Sa::V2(sa) => sa.status(),
        }
    }

    /// Gives our SPI.
    pub(crate) fn our_spi(&self) -> IkeSpi {
        match self {
            Sa::V1(sa) => sa.our_spi(),
            Sa::V2(sa) => sa.our_spi(),
        }
    }

    /// Gives the address of somebody who has not proven who he is.
    pub(crate) fn stranger(&self) -> Option<IpAddr> {
        match self {
            Sa::V1(sa) => sa.stranger(),
            Sa::V2(sa) => sa.stranger(),
        }
    }

    /// Tells of such a one whether the peer may have an ISAKMP SA already.
    pub(crate) fn is_arriving(&self) -> bool {
        match self {
            Sa::V1(sa) => sa.is_arriving(),
            Sa::V2(_) => false,
        }
    }

    /// Gives the initiation of ours that it is to serve once it is up.
    pub(crate) fn initiation(&mut self) -> Option<&mut Initiation> {
        match self {
            Sa::V1(sa) => sa.initiation(),
            Sa::V2(sa) => sa.initiation(),
        }
    }

    /// Gives the connection that it belongs to, as far as that is known: a stranger's belongs to none yet.
    pub(crate) fn connection(&mut self) -> Option<Arc<Connection>> {
        let established = self.established().map(|ike| Arc::clone(ike.connection()));
        established.or_else(|| self.initiation().map(|initiation| Arc::clone(&initiation.connection)))
    }

    /// Gives the same up, with the path; any other SA stays what it is.
    pub(crate) fn into_initiation(self) -> Result<(Initiation, Path), Sa> {
        match self {
            Sa::V1(sa) => sa.into_initiation().map_err(Sa::V1),
            Sa::V2(sa) => sa.into_initiation().map_err(Sa::V2),
        }
    }

    /// Gives it if its ends are authenticated.
    pub(crate) fn established(&self) -> Option<&dyn Established> {
        match self {
            Sa::V1(sa) => sa.established(),
            Sa::V2(sa) => sa.established(),
        }
    }

    /// Gives it to be acted on if its ends are authenticated.
    pub(crate) fn established_mut(&mut self) -> Option<&mut dyn Established> {
        match self {
            Sa::V1(sa) => sa.established_mut(),
            Sa::V2(sa) => sa.established_mut(),
        }
    }

    /// Puts it back among the living after it was acted on, or keeps what is left of it.
    pub(crate) fn alive(self) -> Option<Sa> {
        match self {
            Sa::V1(sa) => sa.alive().map(Sa::V1),
            Sa::V2(sa) => sa.alive().map(Sa::V2),
        }
    }
}
