//! What the endpoint asks of a main mode that is under way.

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::v1::{Datagram, Payload};

use super::{Answered, Half, Initiating, NAME, Responding, Sent};
use crate::context::{Context, Initiation};
use crate::error::Error;
use crate::io::{Path, TimeoutReason};
use crate::retransmission::Retransmission;
use crate::status::{IkeSaStatus, Nat, Phase1Mode};
use crate::v1::Sa;
use crate::v1::fragmentation::Cutting;
use crate::v1::negotiation::ChosenPhase1;
use crate::v1::phase_1::{connecting, discovery, encode, end_attempt, refuse};

impl Initiating {
    /// Sends a message, and has it repeated until the next one comes.
    pub(super) fn send(&mut self, cx: &mut Context, path: Path, message: Vec<Vec<u8>>) {
        cx.transmit(path, &message);
        self.repeating.replace(cx.now, message);
        self.refused = None;
    }

    /// Sends our half of the key exchange: message 3.
    pub(super) fn send_key(
        &mut self,
        cx: &mut Context,
        half: Box<Half>,
        payloads: &[Payload],
    ) -> Result<(), Error> {
        let cutting = Cutting::towards(self.peer, self.initiation.connection.fragmentation);
        let message = encode(cx, Phase1Mode::Main, self.spis, self.path, cutting, payloads)?;
        self.send(cx, self.path, message);
        self.sent = Sent::Key(half);
        Ok(())
    }

    /// Gives NAT-D, NAT-D, where both ends can pass NATs.
    pub(super) fn discovery(&self, chosen: &ChosenPhase1) -> Vec<Payload> {
        let connection = &self.initiation.connection;
        discovery(&chosen.suite, self.peer.traversal, self.spis, self.path, connection)
    }

    /// Says what we asked for, for a refusal.
    pub(super) fn in_words(&self) -> String {
        let connection = &self.initiation.connection;
        let proposals = connection.proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match &self.sent {
            Sent::Sa => format!("we offered {proposals}"),
            Sent::Unaddressed(..)
            | Sent::Key(_)
            | Sent::Unread(..)
            | Sent::Unsigned(..)
            | Sent::Proof(_)
            | Sent::Claimed(..) => format!(
                "we are {} and want {}",
                connection.own_identity(self.path),
                connection.remote_identity
            ),
        }
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        match self.awaited() {
            Some(awaited) => (awaited.until, TimeoutReason::Outside),
            None => (self.repeating.deadline(), TimeoutReason::Retransmission),
        }
    }

    /// Repeats our last message, ends the attempt, or stops waiting for somebody outside, if that is due.
    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.path;
        if let Some(awaited) = self.awaited() {
            return if awaited.is_over(cx) { self.stop_waiting(cx) } else { Some(Sa::Initiating(self)) };
        }
        match self.repeating.repeat(cx.now) {
            Retransmission::NotDue => return Some(Sa::Initiating(self)),
            Retransmission::Send { datagrams, .. } if self.refused.is_none() => {
                cx.transmit(path, datagrams);
                return Some(Sa::Initiating(self));
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
        let (chosen, nat, local_identity) = match &self.sent {
            Sent::Sa => (None, Nat::default(), None),
            Sent::Unaddressed(half, _) | Sent::Key(half) | Sent::Unread(half, ..) => {
                (Some((half.chosen.suite, half.chosen.method)), Nat::default(), None)
            }
            Sent::Unsigned(secured, _) | Sent::Proof(secured) | Sent::Claimed(secured, _) => {
                let channel = &secured.channel;
                (Some((channel.suite, channel.method)), channel.nat(), Some(secured.local.clone()))
            }
        };
        let connection = self.initiation.connection.name.clone();
        IkeSaStatus {
            local_identity,
            method: chosen.map(|(_, method)| method.number),
            suite: chosen.map(|(suite, _)| suite),
            nat,
            ..connecting(self.id, connection, Phase1Mode::Main, self.spis, self.path)
        }
    }
}

impl Responding {
    /// Answers a first message that comes once more.
    pub(crate) fn repeat_first(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        self.last.repeat(cx, path, datagram.bytes);
    }

    /// Tells the peer what is wrong, and people once: a message that is not authenticated may come a thousand times.
    pub(super) fn complain(&mut self, cx: &mut Context, path: Path, fault: Error) {
        refuse(cx, self.spis, path, &fault);
        if std::mem::replace(&mut self.complained, true) {
            cx.note_forged();
        } else {
            cx.fail(&[], None, Some(path), fault.into());
        }
    }

    /// A half-open SA whose time is over is forgotten; nobody outside is waited for longer than that takes.
    pub(crate) fn handle_timeout(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        match self.awaited() {
            Some(awaited) if awaited.is_over(cx) => self.stop_waiting(cx),
            Some(_) => Some(Sa::Responding(self)),
            None => (cx.now < self.until).then_some(Sa::Responding(self)),
        }
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        match self.awaited() {
            Some(awaited) => (awaited.until, TimeoutReason::Outside),
            None => (self.until, TimeoutReason::HalfOpen),
        }
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.spis.responder
    }

    /// Gives the address from which it was begun.
    pub(crate) fn address(&self) -> IpAddr {
        self.origin
    }

    /// Whoever sends a message 3 knows our cookie, which was sent there.
    pub(crate) fn is_arriving(&self) -> bool {
        match &self.answered {
            Answered::Sa => false,
            Answered::Unread(..)
            | Answered::Unaddressed(..)
            | Answered::Key(_)
            | Answered::Claimed(..)
            | Answered::Unsigned(..) => true,
        }
    }
}
