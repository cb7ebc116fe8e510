//! Main mode while somebody outside works for it: makes our signature, finds out whether the peer's key is trusted, or
//! decrypts ([`encrypted`](super::encrypted)).
//!
//! ```text
//!   initiator   message 4 ──Sign──► message 5      message 6 ──Trust──► established
//!   responder   message 5 ──Trust──► ──Sign──► message 6: established
//! ```
//!
//! What the peer sends meanwhile is a repetition, and is not looked at: it will repeat it again.

use super::state::{Believed, Claimed, Sixth, Unbelieved};
use super::{Answered, Awaiting, Initiating, Judgement, Responding, Secured, Sent};
use crate::authentication::v1::{Claim, DeviceAuthenticated, proof_of};
use crate::context::Context;
use crate::credentials::{SignRequest, Signed, TrustRequest, TrustedKey};
use crate::error::Error;
use crate::io::{Answer, Path, Query, QueryId};
use crate::v1::Sa;
use crate::v1::channel::Iv;
use crate::v1::phase_1::{Awaited, check_identity, part};

const UNKNOWN: &str = "whether the peer's certificate is good was not found out in time";
const UNSIGNED: &str = "our private key did not sign in time";
const UNREAD: &str = "our private key did not decrypt in time";

// --- Initiator -----------------------------------------------------------------------------------------------------

impl Initiating {
    pub(super) fn await_trust(
        mut self: Box<Self>,
        cx: &mut Context,
        request: Box<TrustRequest>,
        claim: Box<Claim>,
        sixth: Sixth,
    ) -> Box<Self> {
        self.sent = match std::mem::replace(&mut self.sent, Sent::Sa) {
            Sent::Proof(secured) => {
                let awaited = Awaited::begin(cx, self.spis.initiator, Query::Trust(request));
                Sent::Claimed(secured, Box::new(Claimed { awaited, claim, sixth }))
            }
            other => other,
        };
        self
    }

    /// Gives the answer that it waits for, if it does.
    pub(super) fn awaited(&self) -> Option<&Awaited> {
        match &self.sent {
            Sent::Unaddressed(_, awaited) | Sent::Unread(_, _, awaited) | Sent::Unsigned(_, awaited) => {
                Some(awaited)
            }
            Sent::Claimed(_, claimed) => Some(&claimed.awaited),
            Sent::Sa | Sent::Key(_) | Sent::Proof(_) => None,
        }
    }

    /// Goes on with an answer from outside.
    pub(crate) fn handle_answer(
        mut self: Box<Self>,
        cx: &mut Context,
        query: QueryId,
        answer: Answer,
    ) -> Option<Sa> {
        if !self.awaited().is_some_and(|awaited| awaited.is(query)) {
            return Some(Sa::Initiating(self));
        }
        match (std::mem::replace(&mut self.sent, Sent::Sa), answer) {
            (Sent::Unaddressed(half, _), Answer::Trusted(trusted)) => self.address(cx, half, trusted),
            (Sent::Unread(half, unread, _), Answer::Decrypted(decrypted)) => {
                self.read(cx, half, &unread, decrypted)
            }
            (Sent::Unsigned(secured, _), Answer::Signed(signed)) => self.sign(cx, secured, signed),
            (Sent::Claimed(secured, claimed), Answer::Trusted(trusted)) => {
                self.trust(cx, secured, &claimed, trusted)
            }
            (other, _) => {
                self.sent = other;
                self.stop_waiting(cx)
            }
        }
    }

    fn sign(
        mut self: Box<Self>,
        cx: &mut Context,
        secured: Box<Secured>,
        signed: Result<Signed, String>,
    ) -> Option<Sa> {
        match proof_of(signed).and_then(|proof| self.prove(cx, secured, proof)) {
            Ok(()) => Some(Sa::Initiating(self)),
            Err(fault) => {
                cx.fail_initiation(&self.initiation, self.path, fault.into());
                None
            }
        }
    }

    fn trust(
        mut self: Box<Self>,
        cx: &mut Context,
        secured: Box<Secured>,
        claimed: &Claimed,
        trusted: Result<TrustedKey, String>,
    ) -> Option<Sa> {
        self.sent = Sent::Proof(secured);
        match claimed.claim.verify_with(trusted) {
            Ok(peer) => self.believe(cx, peer, claimed.sixth.clone()),
            Err(fault) => self.part(cx, claimed.sixth.next_iv.clone(), fault),
        }
    }

    /// The responder is who it says: that must be who the connection is for.
    pub(super) fn believe(
        self: Box<Self>,
        cx: &mut Context,
        peer: DeviceAuthenticated,
        sixth: Sixth,
    ) -> Option<Sa> {
        match check_identity(&self.initiation.connection, peer.remote()) {
            Ok(()) => self.establish(cx, peer, sixth),
            Err(fault) => self.part(cx, sixth.next_iv, fault),
        }
    }

    /// Whoever made the keys with us is not who it must be.
    pub(super) fn part(self: Box<Self>, cx: &mut Context, next_iv: Iv, fault: Error) -> Option<Sa> {
        let Sent::Proof(secured) = self.sent else { return None };
        let Secured { mut channel, .. } = *secured;
        channel.move_phase_1_on(next_iv);
        part(cx, &self.initiation, self.path, channel, fault)
    }

    /// Gives up: nobody outside has answered.
    pub(super) fn stop_waiting(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let why = match &self.sent {
            Sent::Claimed(..) | Sent::Unaddressed(..) => UNKNOWN,
            Sent::Unread(..) => UNREAD,
            Sent::Unsigned(..) | Sent::Sa | Sent::Key(_) | Sent::Proof(_) => UNSIGNED,
        };
        cx.fail_initiation(&self.initiation, self.path, Error::Local(why.to_owned()).into());
        None
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

impl Responding {
    pub(super) fn await_trust(
        self: Box<Self>,
        cx: &mut Context,
        judgement: Judgement,
        request: Box<TrustRequest>,
        claim: Box<Claim>,
    ) -> Box<Self> {
        let our_spi = self.spis.responder;
        self.waiting(|awaiting| {
            let awaited = Awaited::begin(cx, our_spi, Query::Trust(request));
            Answered::Claimed(awaiting, Box::new(Unbelieved { awaited, claim, judgement }))
        })
    }

    pub(super) fn await_signature(
        self: Box<Self>,
        cx: &mut Context,
        judgement: Judgement,
        peer: DeviceAuthenticated,
        request: Box<SignRequest>,
    ) -> Box<Self> {
        let our_spi = self.spis.responder;
        self.waiting(|awaiting| {
            let awaited = Awaited::begin(cx, our_spi, Query::Sign(request));
            Answered::Unsigned(awaiting, Box::new(Believed { awaited, peer, judgement }))
        })
    }

    fn waiting(mut self: Box<Self>, wait: impl FnOnce(Box<Awaiting>) -> Answered) -> Box<Self> {
        self.answered = match std::mem::replace(&mut self.answered, Answered::Sa) {
            Answered::Key(awaiting) => wait(awaiting),
            other => other,
        };
        self
    }

    /// Gives the answer that it waits for, if it does.
    pub(super) fn awaited(&self) -> Option<&Awaited> {
        match &self.answered {
            Answered::Unread(_, awaited) | Answered::Unaddressed(_, awaited) => Some(awaited),
            Answered::Claimed(_, unbelieved) => Some(&unbelieved.awaited),
            Answered::Unsigned(_, believed) => Some(&believed.awaited),
            Answered::Sa | Answered::Key(_) => None,
        }
    }

    /// Goes on with an answer from outside.
    pub(crate) fn handle_answer(
        mut self: Box<Self>,
        cx: &mut Context,
        query: QueryId,
        answer: Answer,
    ) -> Option<Sa> {
        if !self.awaited().is_some_and(|awaited| awaited.is(query)) {
            return Some(Sa::Responding(self));
        }
        match (std::mem::replace(&mut self.answered, Answered::Sa), answer) {
            (Answered::Unread(unread, _), Answer::Decrypted(decrypted)) => self.read(cx, *unread, decrypted),
            (Answered::Unaddressed(unaddressed, _), Answer::Trusted(trusted)) => {
                self.answer_to(cx, *unaddressed, trusted)
            }
            (Answered::Claimed(awaiting, unbelieved), Answer::Trusted(trusted)) => {
                self.answered = Answered::Key(awaiting);
                let Unbelieved { claim, judgement, .. } = *unbelieved;
                match claim.verify_with(trusted) {
                    Ok(peer) => self.admit(cx, judgement, peer),
                    Err(fault) => self.go_back(cx, &judgement, fault),
                }
            }
            (Answered::Unsigned(awaiting, believed), Answer::Signed(signed)) => {
                self.answered = Answered::Key(awaiting);
                let Believed { peer, judgement, .. } = *believed;
                match proof_of(signed) {
                    Ok(proof) => self.establish(cx, judgement, peer, proof),
                    Err(fault) => self.go_back(cx, &judgement, fault),
                }
            }
            (other, _) => {
                self.answered = other;
                self.stop_waiting(cx)
            }
        }
    }

    /// Stops waiting: nobody outside has answered. The initiator may try again.
    pub(super) fn stop_waiting(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let (awaiting, judgement, why) = match std::mem::replace(&mut self.answered, Answered::Sa) {
            Answered::Claimed(awaiting, unbelieved) => (awaiting, unbelieved.judgement, UNKNOWN),
            Answered::Unsigned(awaiting, believed) => (awaiting, believed.judgement, UNSIGNED),
            Answered::Unread(unread, _) => return self.wait_no_more(cx, unread.path, UNREAD),
            Answered::Unaddressed(unaddressed, _) => {
                return self.wait_no_more(cx, unaddressed.path, UNKNOWN);
            }
            other @ (Answered::Sa | Answered::Key(_)) => {
                self.answered = other;
                return Some(Sa::Responding(self));
            }
        };
        self.answered = Answered::Key(awaiting);
        self.go_back(cx, &judgement, Error::Local(why.to_owned()))
    }

    /// The initiator may repeat message 3.
    fn wait_no_more(mut self: Box<Self>, cx: &mut Context, path: Path, why: &str) -> Option<Sa> {
        self.complain(cx, path, Error::Local(why.to_owned()));
        Some(Sa::Responding(self))
    }

    fn go_back(mut self: Box<Self>, cx: &mut Context, judgement: &Judgement, fault: Error) -> Option<Sa> {
        self.complain(cx, judgement.path, fault);
        Some(Sa::Responding(self))
    }
}
