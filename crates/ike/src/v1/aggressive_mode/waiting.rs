//! Aggressive mode while somebody outside works for it: makes our signature, finds out whether the peer's key is trusted,
//! or decrypts ([`encrypted`](super::encrypted)).
//!
//! ```text
//!   initiator   message 2 ──Trust──► ──Sign──► message 3: established
//!   responder   message 1 ──Sign──► message 2      message 3 ──Trust──► established
//! ```
//!
//! What the peer sends meanwhile is a repetition, and is not looked at: it will repeat it again.

use super::state::{Called, Calling};
use super::{Initiating, Responding};
use crate::authentication::v1::{Claim, proof_of};
use crate::context::{Contact, Context};
use crate::credentials::TrustRequest;
use crate::error::Error;
use crate::io::{Answer, Path, Query, QueryId};
use crate::nat_detection::NatFinding;
use crate::v1::Sa;
use crate::v1::channel::Iv;
use crate::v1::phase_1::{Awaited, turn_away};

pub(super) const UNREAD: &str = "our private key did not decrypt in time";
const UNSIGNED: &str = "our private key did not sign in time";
pub(super) const UNKNOWN: &str = "whether the peer's certificate is good was not found out in time";

// --- Initiator -----------------------------------------------------------------------------------------------------

impl Initiating {
    /// Gives the answer that it waits for, if it does.
    pub(super) fn awaited(&self) -> Option<&Awaited> {
        match &self.stage {
            Calling::Unaddressed(awaited)
            | Calling::Unread(_, awaited)
            | Calling::Claimed(_, _, awaited)
            | Calling::Unsigned(_, _, awaited) => Some(awaited),
            Calling::Open => None,
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
            return Some(Sa::Calling(self));
        }
        match (std::mem::replace(&mut self.stage, Calling::Open), answer) {
            (Calling::Unaddressed(_), Answer::Trusted(trusted)) => self.address(cx, trusted),
            (Calling::Unread(unread, _), Answer::Decrypted(decrypted)) => self.read(cx, *unread, decrypted),
            (Calling::Claimed(secured, claim, _), Answer::Trusted(trusted)) => {
                match claim.verify_with(trusted) {
                    Ok(peer) => self.believe(cx, secured, peer),
                    // Message 2 is not encrypted, and may be anybody's: it is told once nothing better has come.
                    Err(fault) => {
                        self.refused.get_or_insert(fault.into());
                        Some(Sa::Calling(self))
                    }
                }
            }
            (Calling::Unsigned(secured, peer, _), Answer::Signed(signed)) => match proof_of(signed) {
                Ok(proof) => self.conclude(cx, *secured, peer, proof),
                Err(fault) => self.fail(cx, fault),
            },
            (other, _) => {
                self.stage = other;
                self.stop_waiting(cx)
            }
        }
    }

    /// Gives up: nobody outside has answered.
    pub(super) fn stop_waiting(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let why = match &self.stage {
            Calling::Claimed(..) | Calling::Unaddressed(_) => UNKNOWN,
            Calling::Unread(..) => UNREAD,
            Calling::Unsigned(..) | Calling::Open => UNSIGNED,
        };
        self.fail(cx, Error::Local(why.to_owned()))
    }

    pub(super) fn fail(self: Box<Self>, cx: &mut Context, fault: Error) -> Option<Sa> {
        cx.fail_initiation(&self.initiation, self.path, fault.into());
        None
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// What message 3 said besides who sent it.
pub(super) struct Third {
    pub(super) path: Path,
    pub(super) contact: Contact,
    pub(super) nat: NatFinding,
    pub(super) next_iv: Iv,
}

impl Responding {
    pub(super) fn await_trust(
        mut self: Box<Self>,
        cx: &mut Context,
        third: Third,
        request: Box<TrustRequest>,
        claim: Box<Claim>,
    ) -> Box<Self> {
        let our_spi = self.channel.our_spi();
        if let Called::Answered(last) = self.stage {
            let awaited = Awaited::begin(cx, our_spi, Query::Trust(request));
            self.stage = Called::Claimed(last, Box::new(third), claim, awaited);
        }
        self
    }

    /// Gives the answer that it waits for, if it does.
    pub(super) fn awaited(&self) -> Option<&Awaited> {
        match &self.stage {
            Called::Unsigned(_, awaited) | Called::Claimed(_, _, _, awaited) => Some(awaited),
            Called::Answered(_) => None,
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
            return Some(Sa::Called(self));
        }
        match (self.stage, answer) {
            (Called::Unsigned(unsent, _), Answer::Signed(signed)) => {
                let path = unsent.first.path;
                match proof_of(signed)
                    .and_then(|proof| unsent.send(cx, &self.channel, &self.connection, proof))
                {
                    Ok(last) => {
                        self.stage = Called::Answered(last);
                        Some(Sa::Called(self))
                    }
                    Err(fault) => {
                        turn_away(cx, self.channel.spis.initiator, path, fault);
                        None
                    }
                }
            }
            (Called::Claimed(last, third, claim, _), Answer::Trusted(trusted)) => {
                self.stage = Called::Answered(last);
                match claim.verify_with(trusted) {
                    Ok(peer) => self.conclude(cx, *third, peer),
                    Err(fault) => {
                        self.complain(cx, third.path, fault);
                        Some(Sa::Called(self))
                    }
                }
            }
            (other, _) => {
                self.stage = other;
                self.stop_waiting(cx)
            }
        }
    }

    /// Stops waiting: nobody outside has answered.
    pub(super) fn stop_waiting(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        match self.stage {
            Called::Unsigned(unsent, _) => {
                turn_away(
                    cx,
                    self.channel.spis.initiator,
                    unsent.first.path,
                    Error::Local(UNSIGNED.to_owned()),
                );
                None
            }
            Called::Claimed(last, third, ..) => {
                self.stage = Called::Answered(last);
                self.complain(cx, third.path, Error::Local(UNKNOWN.to_owned()));
                Some(Sa::Called(self))
            }
            Called::Answered(_) => Some(Sa::Called(self)),
        }
    }
}
