//! What the endpoint asks of an aggressive mode that is under way.

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::v1::Datagram;

use super::state::Called;
use super::{Initiating, NAME, Responding};
use crate::context::{Context, Initiation};
use crate::io::{Path, TimeoutReason};
use crate::retransmission::Retransmission;
use crate::status::{IkeSaStatus, Phase1Mode};
use crate::v1::Sa;
use crate::v1::phase_1::{connecting, end_attempt};

impl Initiating {
    /// Says what we asked for, for a refusal.
    pub(super) fn in_words(&self) -> String {
        let proposals = self.proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let wanted = &self.initiation.connection.remote_identity;
        format!("we offered {proposals}, are {} and want {wanted}", self.local)
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        match self.awaited() {
            Some(awaited) => (awaited.until, TimeoutReason::Outside),
            None => (self.repeating.deadline(), TimeoutReason::Retransmission),
        }
    }

    /// Repeats message 1, ends the attempt, or stops waiting for somebody outside, if that is due.
    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.path;
        if let Some(awaited) = self.awaited() {
            return if awaited.is_over(cx) { self.stop_waiting(cx) } else { Some(Sa::Calling(self)) };
        }
        match self.repeating.repeat(cx.now) {
            Retransmission::NotDue => return Some(Sa::Calling(self)),
            Retransmission::Send { datagrams, .. } if self.refused.is_none() => {
                cx.transmit(path, datagrams);
                return Some(Sa::Calling(self));
            }
            Retransmission::Send { .. } | Retransmission::GiveUp => {}
        }
        end_attempt(cx, self.initiation, path, NAME, self.begun_at, self.refused);
        None
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.spis.initiator
    }

    pub(crate) fn initiation(&mut self) -> &mut Initiation {
        &mut self.initiation
    }

    pub(crate) fn into_initiation(self) -> (Initiation, Path) {
        (self.initiation, self.path)
    }

    pub(crate) fn status(&self) -> IkeSaStatus {
        let connection = self.initiation.connection.name.clone();
        IkeSaStatus {
            local_identity: Some(self.local.clone()),
            ..connecting(self.id, connection, Phase1Mode::Aggressive, self.spis, self.path)
        }
    }
}

impl Responding {
    /// Answers a first message that comes once more.
    pub(crate) fn repeat_first(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        match &self.stage {
            Called::Answered(last) | Called::Claimed(last, ..) => {
                last.repeat(cx, path, datagram.bytes);
            }
            Called::Unsigned(..) => {}
        }
    }

    /// A half-open SA whose time is over is forgotten; somebody outside may take longer.
    pub(crate) fn handle_timeout(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        match self.awaited() {
            Some(awaited) if awaited.is_over(cx) => self.stop_waiting(cx),
            Some(_) => Some(Sa::Called(self)),
            None => (cx.now < self.until).then_some(Sa::Called(self)),
        }
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        match self.awaited() {
            Some(awaited) => (awaited.until, TimeoutReason::Outside),
            None => (self.until, TimeoutReason::HalfOpen),
        }
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.channel.our_spi()
    }

    /// Gives the address from which it was begun.
    pub(crate) fn address(&self) -> IpAddr {
        self.origin
    }
}
