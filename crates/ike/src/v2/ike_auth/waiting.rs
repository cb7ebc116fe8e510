//! IKE_AUTH while somebody outside works for it: makes our signature, or finds out whether the peer's key is trusted.
//!
//! ```text
//!   initiator   Attempt ──Sign──► send the request … the response comes ──Trust──► Established
//!   responder   the request comes ──Trust──► Claimed ──Sign──► answer: Established
//! ```
//!
//! What the peer sends meanwhile is a repetition, and is not looked at: it will repeat it again.

use std::time::Instant;

use wire::isakmp::IkeSpi;

use super::{Admitted, Attempt, Authenticating, Claimed, SoFar};
use crate::authentication::v2::proof_of;
use crate::context::{Context, Initiation, Question};
use crate::credentials::{SignatureForm, Signed, TrustedKey};
use crate::error::Error;
use crate::io::{Answer, Path, Query, QueryId};
use crate::limits;
use crate::status::IkeSaStatus;
use crate::v2::Sa;
use crate::v2::contents::Contents;

/// An IKE SA whose next step waits for an answer from outside.
pub(crate) struct Waiting {
    query: QueryId,
    until: Instant,
    step: Step,
}

/// What the answer is for.
pub(crate) enum Step {
    /// We begin, and need our signature.
    SignRequest(Box<Attempt>, SignatureForm),
    /// We began, and the responder has shown its signature.
    TrustResponder(Box<Authenticating>, Contents),
    /// The initiator has shown its signature.
    TrustInitiator(Box<Claimed>),
    /// The initiator is who it says, and we need our signature.
    SignResponse(Box<Admitted>, SignatureForm),
}

impl Waiting {
    /// Asks, and waits.
    pub(super) fn begin(cx: &mut Context, query: Query, step: Step) -> Sa {
        let query = cx.ask(query);
        cx.questions.insert(query, Question::Credentials(step.our_spi()));
        Sa::Waiting(Box::new(Waiting { query, until: cx.now + limits::OUTSIDE_WAIT, step }))
    }

    /// Goes on with the answer.
    pub(crate) fn handle_answer(
        self: Box<Self>,
        cx: &mut Context,
        query: QueryId,
        answer: Answer,
    ) -> Option<Sa> {
        if query != self.query {
            return Some(Sa::Waiting(self));
        }
        match (self.step, answer) {
            (Step::SignRequest(sa, form), Answer::Signed(signed)) => {
                match signed.map_err(Error::Local).and_then(|signed| proof_of(&form, signed)) {
                    Ok(proof) => sa.take_proof(cx, proof),
                    Err(fault) => sa.fail(cx, fault.into()),
                }
            }
            (Step::SignResponse(sa, form), Answer::Signed(signed)) => Some(sa.sign(cx, &form, signed)),
            (Step::TrustResponder(sa, contents), Answer::Trusted(trusted)) => {
                sa.trust(cx, &contents, trusted)
            }
            (Step::TrustInitiator(sa), Answer::Trusted(trusted)) => Some(sa.trust(cx, trusted)),
            (step, _) => step.give_up(cx, "the answer was to another question"),
        }
    }

    /// Gives up when nobody has answered for too long.
    pub(crate) fn handle_timeout(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        if cx.now < self.until {
            return Some(Sa::Waiting(self));
        }
        cx.questions.remove(&self.query);
        let why = match &self.step {
            Step::SignRequest(..) | Step::SignResponse(..) => "our private key did not sign in time",
            Step::TrustResponder(..) | Step::TrustInitiator(_) => {
                "whether the peer's certificate is good was not found out in time"
            }
        };
        self.step.give_up(cx, why)
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.step.our_spi()
    }

    /// Gives the address of an initiator that nobody has believed yet.
    pub(crate) fn stranger(&self) -> Option<std::net::IpAddr> {
        match &self.step {
            Step::TrustInitiator(sa) => Some(sa.half_open.address()),
            Step::SignRequest(..) | Step::TrustResponder(..) | Step::SignResponse(..) => None,
        }
    }

    pub(crate) fn status(&self) -> Option<IkeSaStatus> {
        match &self.step {
            Step::SignRequest(sa, _) => Some(sa.status()),
            Step::TrustResponder(sa, _) => Some(sa.status()),
            Step::TrustInitiator(_) | Step::SignResponse(..) => None,
        }
    }

    pub(crate) fn initiation(&mut self) -> Option<&mut Initiation> {
        match &mut self.step {
            Step::SignRequest(sa, _) => Some(sa.initiation()),
            Step::TrustResponder(sa, _) => Some(sa.initiation()),
            Step::TrustInitiator(_) | Step::SignResponse(..) => None,
        }
    }

    pub(crate) fn into_initiation(self) -> Result<(Initiation, Path), Waiting> {
        match self.step {
            Step::SignRequest(sa, _) => Ok(sa.into_initiation()),
            Step::TrustResponder(sa, _) => Ok(sa.into_initiation()),
            step @ (Step::TrustInitiator(_) | Step::SignResponse(..)) => {
                Err(Waiting { query: self.query, until: self.until, step })
            }
        }
    }
}

impl Step {
    fn our_spi(&self) -> IkeSpi {
        let channel = match self {
            Step::SignRequest(sa, _) => &sa.channel,
            Step::TrustResponder(sa, _) => &sa.attempt.channel,
            Step::TrustInitiator(sa) => &sa.half_open.channel,
            Step::SignResponse(sa, _) => &sa.half_open.channel,
        };
        channel.our_spi()
    }

    fn give_up(self, cx: &mut Context, why: &str) -> Option<Sa> {
        let fault = Error::Local(why.to_owned());
        match self {
            Step::SignRequest(sa, _) => sa.fail(cx, fault.into()),
            Step::TrustResponder(sa, _) => sa.reject(cx, fault),
            Step::TrustInitiator(sa) => Some(Sa::Closed(Box::new(sa.reject(cx, fault)))),
            Step::SignResponse(sa, _) => Some(Sa::Closed(Box::new(sa.half_open.refuse(cx, fault)))),
        }
    }
}

impl Authenticating {
    fn trust(
        self: Box<Self>,
        cx: &mut Context,
        contents: &Contents,
        trusted: Result<TrustedKey, String>,
    ) -> Option<Sa> {
        let trusted = trusted.map_err(Error::AuthenticationFailed);
        match trusted.and_then(|key| self.claim(contents)?.verify_with(key)) {
            Ok(peer) => self.believe(cx, peer, contents),
            Err(fault) => self.reject(cx, fault),
        }
    }
}

impl Claimed {
    fn trust(self, cx: &mut Context, trusted: Result<TrustedKey, String>) -> Sa {
        let trusted = trusted.map_err(Error::AuthenticationFailed);
        match trusted.and_then(|key| self.claim()?.verify_with(key)) {
            Ok(peer) => self.admit(cx, peer),
            Err(fault) => Sa::Closed(Box::new(self.reject(cx, fault))),
        }
    }
}

impl Admitted {
    fn sign(self, cx: &mut Context, form: &SignatureForm, signed: Result<Signed, String>) -> Sa {
        // To the peer it is the same as if it had not been believed: we cannot come together so (RFC 7296 §2.21.2).
        let signed = signed.map_err(Error::AuthenticationFailed);
        match signed.and_then(|signed| proof_of(form, signed)) {
            Ok(proof) => {
                let SoFar { connection, progress, .. } = &*self.so_far;
                let local = connection.own_identity_in(progress.ours, self.half_open.channel.path);
                self.respond(cx, Some((local, proof)))
            }
            Err(fault) => Sa::Closed(Box::new(self.half_open.refuse(cx, fault))),
        }
    }
}
