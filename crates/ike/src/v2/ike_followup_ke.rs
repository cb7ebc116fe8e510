//! IKE_FOLLOWUP_KE: the additional key exchanges after CREATE_CHILD_SA (RFC 9370 §2.2.4).
//!
//! ```text
//!   Initiator                                                      Responder
//!   HDR, SK { SA, Ni, KEi, … }                              -->
//!                                                           <--    HDR, SK { SA, Nr, KEr, …, N(ADDITIONAL_KEY_EXCHANGE)(link 1) }
//!   HDR, SK { KEi(1), N(ADDITIONAL_KEY_EXCHANGE)(link 1) }  -->
//!                                                           <--    HDR, SK { KEr(1), N(ADDITIONAL_KEY_EXCHANGE)(link 2) }
//!   HDR, SK { KEi(2), N(ADDITIONAL_KEY_EXCHANGE)(link 2) }  -->
//!                                                           <--    HDR, SK { KEr(2) }
//!   both make the SA, with SK(0) | Ni | Nr | SK(1) | SK(2)
//! ```
//!
//! The SA is made when the last of them is over: until then the initiator's exchange counts as under way, and the responder
//! keeps the peer's wish for a while. A link means something to the responder alone.
//!
//! If both ends replace the same SA at once, the nonces of CREATE_CHILD_SA decide, before there is anything to delete:
//! whoever loses goes no further.

use std::collections::VecDeque;
use std::time::Instant;

use crypto::{KeyExchangePrivate, Secret};
use sa::AdditionalSuite;
use sa::transform::Group;
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{KeyExchange, Notify, Payload};

use super::contents::Contents;
use super::create_child_sa::{self, OwnKey};
use super::ike_sa::{Active, IkeSa, Life, Request};
use super::keys::{Nonces, SharedSecrets};
use super::{rekey_child, rekey_ike};
use crate::context::Context;
use crate::error::{Error, Misbehaviour};
use crate::limits;

/// What the keys of an SA come from, as far as the exchange that makes it goes.
#[derive(Debug)]
pub(crate) struct Material {
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    /// None without any key exchange.
    pub secrets: Option<SharedSecrets>,
}

impl Material {
    pub(crate) fn new(nonces: Nonces<'_>, shared: Option<Secret<Vec<u8>>>) -> Material {
        Material {
            nonce_i: nonces.initiator.to_vec(),
            nonce_r: nonces.responder.to_vec(),
            secrets: shared.map(SharedSecrets::from),
        }
    }

    pub(crate) fn nonces(&self) -> Nonces<'_> {
        Nonces { initiator: &self.nonce_i, responder: &self.nonce_r }
    }

    /// Tells whether there were additional key exchanges.
    pub(crate) fn has_followed(&self) -> bool {
        self.secrets.as_ref().is_some_and(|secrets| !secrets.further.is_empty())
    }

    fn add(&mut self, shared: Secret<Vec<u8>>) {
        match &mut self.secrets {
            Some(secrets) => secrets.further.push(shared),
            None => self.secrets = Some(SharedSecrets::from(shared)),
        }
    }
}

// --- Initiator -----------------------------------------------------------------------------------------------------

/// How far an exchange of ours has come; `T` is what the response of CREATE_CHILD_SA agreed on.
#[derive(Debug)]
pub(crate) enum Stage<T> {
    /// CREATE_CHILD_SA is under way.
    Asked(OwnKey),
    /// It is answered, and an additional key exchange is under way.
    Following(Box<Following<T>>),
}

/// An additional key exchange of ours.
#[derive(Debug)]
pub(crate) struct Following<T> {
    pub agreed: T,
    pub material: Material,
    group: &'static Group,
    private: Box<dyn KeyExchangePrivate>,
    rest: VecDeque<&'static Group>,
}

/// What a response leads to.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// All key exchanges are over.
    Made(T, Material),
    /// The next one begins, with these payloads.
    Further(Box<Following<T>>, Vec<Payload>),
}

impl<T> Step<T> {
    /// Reads the response of CREATE_CHILD_SA, after which the agreed key exchanges begin.
    pub(crate) fn after_first(
        agreed: T,
        additional: &AdditionalSuite,
        material: Material,
        response: &Contents,
    ) -> Result<Step<T>, Error> {
        Step::next(agreed, material, additional.iter().collect(), response)
    }

    fn next(
        agreed: T,
        material: Material,
        mut rest: VecDeque<&'static Group>,
        response: &Contents,
    ) -> Result<Step<T>, Error> {
        let Some(group) = rest.pop_front() else { return Ok(Step::Made(agreed, material)) };
        let link = response.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
        let link = link.ok_or(Misbehaviour::Other("it gives no link to the additional key exchange"))?;
        let private = group.key_exchange.generate().map_err(|fault| Error::Local(fault.to_string()))?;
        let data = private.public().to_vec();
        // HDR, SK { KEi(n), N(ADDITIONAL_KEY_EXCHANGE)(link n) } -->
        let payloads =
            vec![Payload::KeyExchange(KeyExchange { group: group.id, data }), Payload::Notify(link.clone())];
        Ok(Step::Further(Box::new(Following { agreed, material, group, private, rest }), payloads))
    }
}

impl<T> Following<T> {
    // <-- HDR, SK { KEr(n), [N(ADDITIONAL_KEY_EXCHANGE)(link n + 1)] }
    pub(crate) fn take_in(self, response: &Contents) -> Result<Step<T>, Error> {
        let Following { agreed, mut material, group, private, rest } = self;
        if let Some(refusal) = response.refusal(&format!("we sent a key of {group}")) {
            return Err(Error::Refused(refusal));
        }
        let theirs = response.key_exchange()?;
        if theirs.group != group.id {
            return Err(Error::InvalidKeyExchange { sent: theirs.group, wanted: group.id });
        }
        let shared =
            private.finish(&theirs.data).map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        material.add(shared);
        Step::next(agreed, material, rest, response)
    }
}

/// Gives the request that goes on.
pub(crate) fn request(payloads: Vec<Payload>, active: Active) -> Request {
    Request { exchange_type: ExchangeType::IKE_FOLLOWUP_KE, payloads, active }
}

/// Tells whether the peer knows nothing, or nothing any more, of what we go on with.
pub(crate) fn is_forgotten(response: &Contents) -> bool {
    response.notify(NotifyType::STATE_NOT_FOUND).is_some()
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// A wish of the peer that waits for the rest of its key exchanges.
#[derive(Debug)]
pub(crate) struct Pending {
    link: u64,
    until: Instant,
    rest: VecDeque<&'static Group>,
    material: Material,
    pub wish: Wish,
}

/// What the peer wants, as it was agreed.
#[derive(Debug)]
pub(crate) enum Wish {
    CreateChild(create_child_sa::Wish),
    RekeyChild(rekey_child::Wish),
    RekeyIke(rekey_ike::Wish),
}

impl Pending {
    pub(crate) fn until(&self) -> Instant {
        self.until
    }
}

/// Grants a wish at once, or keeps it until its additional key exchanges are over; gives what that adds to the response.
pub(crate) fn grant(
    sa: &mut IkeSa,
    cx: &mut Context,
    wish: Wish,
    additional: &AdditionalSuite,
    material: Material,
) -> Result<Vec<Payload>, Error> {
    let rest: VecDeque<_> = additional.iter().collect();
    if rest.is_empty() {
        fulfil(sa, cx, wish, &material)?;
        return Ok(Vec::new());
    }
    if sa.pending.len() >= limits::PENDING_FOLLOW_UPS {
        sa.pending.remove(0);
    }
    Ok(vec![wait(sa, cx, rest, material, wish)])
}

// HDR, SK { KEi(n), N(ADDITIONAL_KEY_EXCHANGE)(link n) } -->
//                                                       <-- HDR, SK { KEr(n), [N(ADDITIONAL_KEY_EXCHANGE)(link n + 1)] }
pub(crate) fn respond(sa: &mut IkeSa, cx: &mut Context, request: &Contents) -> Result<Vec<Payload>, Error> {
    let link = request.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE).map(|notify| notify.data.as_slice());
    let is_meant =
        |pending: &Pending| Some(&pending.link.to_be_bytes()[..]) == link && cx.now < pending.until;
    let position = sa.pending.iter().position(is_meant).filter(|_| sa.life == Life::Current);
    let pending = position.map(|position| sa.pending.remove(position)).ok_or(Error::StateNotFound)?;
    let Pending { mut rest, mut material, wish, .. } = pending;
    let group = rest.pop_front().ok_or(Error::StateNotFound)?;
    let theirs = request.key_exchange()?;
    if theirs.group != group.id {
        return Err(Misbehaviour::Other("it sends a key of another method than was agreed").into());
    }
    let (data, shared) = group
        .key_exchange
        .respond(&theirs.data)
        .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
    material.add(shared);
    let mut payloads = vec![Payload::KeyExchange(KeyExchange { group: group.id, data })];
    if rest.is_empty() {
        fulfil(sa, cx, wish, &material)?;
    } else {
        payloads.push(wait(sa, cx, rest, material, wish));
    }
    Ok(payloads)
}

/// Keeps a wish, and gives the link to it.
fn wait(
    sa: &mut IkeSa,
    cx: &mut Context,
    rest: VecDeque<&'static Group>,
    material: Material,
    wish: Wish,
) -> Payload {
    let link = sa.next_link();
    sa.pending.push(Pending { link, until: cx.now + limits::FOLLOW_UP_WAIT, rest, material, wish });
    Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link.to_be_bytes()))
}

fn fulfil(sa: &mut IkeSa, cx: &mut Context, wish: Wish, material: &Material) -> Result<(), Error> {
    match wish {
        Wish::CreateChild(wish) => create_child_sa::fulfil(sa, cx, wish, material),
        Wish::RekeyChild(wish) => rekey_child::fulfil(sa, cx, wish, material),
        Wish::RekeyIke(wish) => rekey_ike::fulfil(sa, cx, wish, material),
    }
}
