//! What an initiator of IKE_SA_INIT does while it waits for an answer, and what people see of it.

use std::time::Instant;

use wire::isakmp::IkeSpi;

use super::{Initiating, NAME};
use crate::context::{Context, Initiation};
use crate::error::Failure;
use crate::io::{IkeSaId, Path, TimeoutReason};
use crate::retransmission::Retransmission;
use crate::status::{IkeSaStatus, IkeState, IkeVersion, Nat};
use crate::v2::Sa;
use crate::v2::puzzle::Unsolvable;
use crate::{Role, limits};

impl Initiating {
    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.path;
        if self.solving.as_ref().is_some_and(|(_, at)| *at <= cx.now) {
            return match self.solve(cx) {
                Ok(()) => Some(Sa::Initiating(self)),
                Err(failure) => self.fail(cx, failure),
            };
        }
        match self.window.retransmit(cx.now) {
            Retransmission::NotDue => Some(Sa::Initiating(self)),
            Retransmission::Send { .. } if self.refused.is_some() => {
                let failure = self.refused.take().unwrap_or(Failure::Terminated);
                self.fail(cx, failure)
            }
            Retransmission::Send { datagrams, .. } => {
                cx.transmit(path, datagrams);
                Some(Sa::Initiating(self))
            }
            Retransmission::GiveUp => {
                let failure = cx.no_answer(path, NAME, self.begun_at);
                cx.retry_or_fail(self.initiation, path, failure);
                None
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, TimeoutReason)> {
        match &self.solving {
            Some((_, at)) => Some((*at, TimeoutReason::Puzzle)),
            None => self.window.deadline().map(|at| (at, TimeoutReason::Retransmission)),
        }
    }

    pub(crate) fn spi(&self) -> IkeSpi {
        self.spi
    }

    pub(crate) fn initiation(&mut self) -> &mut Initiation {
        &mut self.initiation
    }

    pub(crate) fn into_initiation(self) -> (Initiation, Path) {
        (self.initiation, self.path)
    }

    pub(crate) fn status(&self) -> IkeSaStatus {
        connecting(self.id, &self.initiation, self.spi, self.path, NAME)
    }

    /// Tries some more keys for a puzzle; what waits for its answer waits on meanwhile.
    fn solve(&mut self, cx: &mut Context) -> Result<(), Failure> {
        let Some((mut solving, _)) = self.solving.take() else { return Ok(()) };
        match solving.go_on(limits::PUZZLE_SLICE) {
            Ok(None) => {
                self.solving = Some((solving, cx.now + limits::PUZZLE_PAUSE));
                return Ok(());
            }
            Ok(Some(keys)) => (self.cookie, self.solution) = (solving.cookie, keys),
            Err(Unsolvable) => (self.cookie, self.solution) = (solving.cookie, Vec::new()),
        }
        self.send_anew(cx)
    }
}

/// What people see of an attempt that knows of its peer no more than where it should be.
pub(in crate::v2) fn connecting(
    id: IkeSaId,
    initiation: &Initiation,
    spi: IkeSpi,
    path: Path,
    exchange: &'static str,
) -> IkeSaStatus {
    IkeSaStatus {
        id,
        connection: initiation.connection.name.clone(),
        version: IkeVersion::V2,
        state: IkeState::Connecting,
        role: Role::Initiator,
        initiator_spi: spi,
        responder_spi: IkeSpi::ZERO,
        path,
        local_identity: None,
        remote_identity: None,
        remote_user: None,
        mobile: None,
        ppk: None,
        inside: Default::default(),
        suite: None,
        method: None,
        nat: Nat::default(),
        established_at: None,
        rekey_at: None,
        expire_at: None,
        reauthenticate_at: None,
        tasks_queued: vec!["IKE_AUTH"],
        tasks_active: vec![exchange],
        children: Vec::new(),
    }
}
