//! CREATE_CHILD_SA: another Child SA (RFC 7296 §1.3.1), and the fork to its two siblings that replace SAs.
//!
//! ```text
//!   Initiator                                         Responder
//!   HDR, SK { SA, Ni, [KEi,] TSi, TSr }        -->
//!                                              <--    HDR, SK { SA, Nr, [KEr,] TSi, TSr }
//!
//!   A KE payload is there if the Child SA has a key exchange of its own (perfect forward secrecy). One in the wrong
//!   group is answered, and the request is sent again:
//!                                              <--    HDR, SK { N(INVALID_KE_PAYLOAD) }
//! ```
//!
//! Where additional key exchanges were agreed, they come next (`ike_followup_ke`), and the Child SA after them.
//!
//! A request with N(REKEY_SA) replaces a Child SA (`rekey_child`), one that proposes protocol IKE replaces the IKE SA
//! (`rekey_ike`).

use std::sync::Arc;

use crypto::{KeyExchangePrivate, Secret};
use sa::transform::{self, Group};
use wire::registry::{ExchangeType, KeyExchangeId, NotifyType, ProtocolId};
use wire::v2::{KeyExchange, Payload};

use super::child::{self, ChildAnswer, ChildOffer, Keying};
use super::contents::Contents;
use super::ike_followup_ke::{self, Material, Stage, Step};
use super::ike_sa::{Active, IkeSa, Life, Request, Task};
use super::keys::Nonces;
use super::{optimized_rekey, rekey_child, rekey_ike};
use crate::child::{Agreed, Installation};
use crate::context::{ChildRequest, Context};
use crate::error::{Error, Failure};
use crate::event::DownReason;
use crate::io::Ticket;
use crate::negotiation::Groups;
use crate::{ChildConfig, Misbehaviour, Role, limits};

/// Answers a request, or gives it to the sibling whose it is.
pub(crate) fn dispatch(sa: &mut IkeSa, cx: &mut Context, request: &Contents) -> Result<Vec<Payload>, Error> {
    if sa.life != Life::Current {
        return Err(Error::Busy);
    }
    if let Some(notify) = request.notify(NotifyType::REKEY_SA) {
        let spi = notify.child_spi().ok_or(Misbehaviour::Other("its REKEY_SA notify names no SPI"))?;
        return rekey_child::respond(sa, cx, request, notify.protocol, spi);
    }
    if optimized_rekey::is_asked(request)?
        || request.security_association()?.iter().all(|proposal| proposal.protocol == ProtocolId::IKE)
    {
        return rekey_ike::respond(sa, cx, request);
    }
    respond(sa, cx, request)
}

// --- Initiator -----------------------------------------------------------------------------------------------------

/// Our request is under way.
#[derive(Debug)]
pub(crate) struct Initiated {
    pub tickets: Vec<Ticket>,
    request: ChildRequest,
    offer: ChildOffer,
    nonce: Vec<u8>,
    stage: Stage<Agreed>,
}

impl Initiated {
    pub(crate) fn child_name(&self) -> &str {
        &self.request.config.name
    }
}

// HDR, SK { SA, Ni, [KEi,] TSi, TSr } -->
pub(crate) fn initiate(
    sa: &mut IkeSa,
    cx: &mut Context,
    request: ChildRequest,
    tickets: Vec<Ticket>,
) -> Option<Request> {
    if sa.has_child(&request.config.name) {
        cx.finish(&tickets, &Ok(()));
        return None;
    }
    let group = request.config.proposals.iter().flat_map(|proposal| &proposal.key_exchange).next().copied();
    initiate_with(sa, cx, request, tickets, group)
}

fn initiate_with(
    sa: &mut IkeSa,
    cx: &mut Context,
    request: ChildRequest,
    tickets: Vec<Ticket>,
    group: Option<&'static Group>,
) -> Option<Request> {
    let key = match OwnKey::generate(group) {
        Ok(key) => key,
        Err(fault) => {
            cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), fault.into());
            return None;
        }
    };
    let offer = match ChildOffer::new(cx, &request, &sa.ends(), Groups::Offer) {
        Ok(offer) => offer,
        Err(fault) => {
            cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), fault.into());
            return None;
        }
    };
    let nonce = cx.next_nonce();
    let mut payloads = vec![offer.security_association(), Payload::Nonce(nonce.clone())];
    payloads.extend(key.payload());
    payloads.extend(offer.selectors_and_terms());
    let active = Active::CreateChild(Initiated { tickets, request, offer, nonce, stage: Stage::Asked(key) });
    Some(Request { exchange_type: ExchangeType::CREATE_CHILD_SA, payloads, active })
}

// <-- HDR, SK { SA, Nr, [KEr,] TSi, TSr }   or what answers an additional key exchange
pub(crate) fn finish(sa: &mut IkeSa, cx: &mut Context, initiated: Initiated, response: &Contents) {
    let Initiated { tickets, request, offer, nonce, stage } = initiated;
    if response.notify(NotifyType::TEMPORARY_FAILURE).is_some() || ike_followup_ke::is_forgotten(response) {
        return sa.put_off(cx, Task::CreateChild(request, tickets));
    }
    let (unwanted, step) = match stage {
        Stage::Asked(key) => {
            if let Some(group) = key.wanted_instead(&request.config.proposals, response) {
                if let Some(again) = initiate_with(sa, cx, request, tickets, Some(group)) {
                    sa.send_next(cx, again);
                }
                return;
            }
            ((offer.protocol(response), offer.our_spi()), after_first(sa, &offer, &nonce, key, response))
        }
        Stage::Following(following) => {
            ((following.agreed.suite.protocol, offer.our_spi()), following.take_in(response))
        }
    };
    let made = match step {
        Ok(Step::Further(following, payloads)) => {
            let stage = Stage::Following(following);
            let active = Active::CreateChild(Initiated { tickets, request, offer, nonce, stage });
            return sa.send_next(cx, ike_followup_ke::request(payloads, active));
        }
        Ok(Step::Made(agreed, material)) => {
            let keying = keying(sa, Role::Initiator, &material);
            child::install(cx, &sa.peer, &offer.config, agreed, &keying, sa.carriage(), Installation::New)
        }
        Err(fault) => Err(fault),
    };
    match made {
        Ok(child) => {
            let id = child.id;
            let is_redundant = sa.has_child(&request.config.name) && sa.channel.role == Role::Responder;
            sa.adopt(cx, child);
            if is_redundant {
                // The peer has made the same one meanwhile.
                sa.queue_first(cx, Task::DeleteChild(id, DownReason::Redundant, Vec::new()));
            }
            cx.finish(&tickets, &Ok(()));
        }
        Err(fault) => {
            if !matches!(fault, Error::Refused(_)) {
                sa.delete_unwanted_child(cx, unwanted);
            }
            if sa.predecessor.is_some() {
                // The IKE SA whose place this one takes had it: it is not forgotten.
                sa.queue_after_refusal(cx, Task::CreateChild(request, Vec::new()));
            }
            cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), Failure::from(fault));
        }
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

// HDR, SK { SA, Ni, [KEi,] TSi, TSr } -->
//                                     <-- HDR, SK { SA, Nr, [KEr,] TSi, TSr }
fn respond(sa: &mut IkeSa, cx: &mut Context, request: &Contents) -> Result<Vec<Payload>, Error> {
    if matches!(sa.active, Some(Active::RekeyIke(_) | Active::DeleteIke(_))) {
        return Err(Error::Busy);
    }
    if sa.children.len() >= limits::CHILD_SAS {
        return Err(Error::NotAllowed("the IKE SA has as many Child SAs as it may have"));
    }
    let nonce_i = request.nonce()?;
    let answer = ChildAnswer::choose(cx, &sa.connection, &sa.peer, &sa.ends(), request, Groups::Offer)?;
    if is_ours_to_make(sa, &answer.config.name) {
        return Err(Error::Busy);
    }
    let (key_payload, shared) = answer_key_exchange(answer.group(), request)?;
    let nonce_r = cx.next_nonce();
    let mut payloads = vec![answer.security_association(), Payload::Nonce(nonce_r.clone())];
    payloads.extend(key_payload);
    payloads.extend(answer.selectors_and_terms());
    let material = Material::new(Nonces { initiator: nonce_i, responder: &nonce_r }, shared);
    let ChildAnswer { config, agreed, .. } = answer;
    let additional = agreed.suite.additional;
    let wish = ike_followup_ke::Wish::CreateChild(Wish { config, agreed });
    payloads.extend(ike_followup_ke::grant(sa, cx, wish, &additional, material)?);
    Ok(payloads)
}

/// The Child SA that the peer wants, as it was agreed.
#[derive(Debug)]
pub(crate) struct Wish {
    config: Arc<ChildConfig>,
    agreed: Agreed,
}

/// Makes it: all of its key exchanges are over.
pub(crate) fn fulfil(sa: &mut IkeSa, cx: &mut Context, wish: Wish, material: &Material) -> Result<(), Error> {
    let Wish { config, agreed } = wish;
    if matches!(sa.active, Some(Active::RekeyIke(_) | Active::DeleteIke(_)))
        || is_ours_to_make(sa, &config.name)
    {
        return Err(Error::Busy);
    }
    let keying = keying(sa, Role::Responder, material);
    let child = child::install(cx, &sa.peer, &config, agreed, &keying, sa.carriage(), Installation::New)?;
    sa.adopt(cx, child);
    Ok(())
}

/// Tells whether both ends are making the same child at once and ours is to be the one: that of whoever began the IKE
/// SA. The other end tries again and then has it, or has made another already, which it deletes.
fn is_ours_to_make(sa: &IkeSa, name: &str) -> bool {
    let is_under_way = matches!(&sa.active, Some(Active::CreateChild(ours)) if ours.child_name() == name);
    is_under_way && sa.channel.role == Role::Initiator
}

// --- Shared with the siblings --------------------------------------------------------------------------------------

/// Our half of a key exchange of the Child SA's own, if it has one.
#[derive(Debug)]
pub(crate) enum OwnKey {
    /// The keys come from the IKE SA's alone.
    Absent,
    /// The private half, and its group.
    Present(&'static Group, Box<dyn KeyExchangePrivate>),
}

impl OwnKey {
    pub(super) fn generate(group: Option<&'static Group>) -> Result<OwnKey, Error> {
        let Some(group) = group else { return Ok(OwnKey::Absent) };
        let private = group.key_exchange.generate().map_err(|fault| Error::Local(fault.to_string()))?;
        Ok(OwnKey::Present(group, private))
    }

    /// Gives the KE payload.
    pub(super) fn payload(&self) -> Option<Payload> {
        match self {
            OwnKey::Absent => None,
            OwnKey::Present(group, private) => {
                Some(Payload::KeyExchange(KeyExchange { group: group.id, data: private.public().to_vec() }))
            }
        }
    }

    /// Reads INVALID_KE_PAYLOAD: the group that the peer wants instead, if we offered it.
    pub(super) fn wanted_instead(
        &self,
        proposals: &[sa::Proposal],
        response: &Contents,
    ) -> Option<&'static Group> {
        let notify = response.notify(NotifyType::INVALID_KE_PAYLOAD)?;
        let octets = <[u8; 2]>::try_from(notify.data.as_slice()).ok()?;
        let wanted = transform::group(KeyExchangeId(u16::from_be_bytes(octets)))?;
        let is_offered = proposals.iter().any(|proposal| proposal.key_exchange.contains(&wanted));
        let is_other = !matches!(self, OwnKey::Present(group, _) if group.id == wanted.id);
        (is_offered && is_other).then_some(wanted)
    }

    /// Computes the shared secret with the peer's KE payload, where the chosen suite has a key exchange.
    pub(super) fn finish(
        self,
        chosen: Option<&Group>,
        response: &Contents,
    ) -> Result<Option<Secret<Vec<u8>>>, Error> {
        match (self, chosen) {
            (_, None) => Ok(None),
            (OwnKey::Absent, Some(group)) => {
                Err(Misbehaviour::NotOffered(format!("a key exchange in {group}")).into())
            }
            (OwnKey::Present(own, private), Some(chosen)) => {
                let theirs = response.key_exchange()?;
                if own.id != chosen.id || own.id != theirs.group {
                    return Err(Error::InvalidKeyExchange { sent: theirs.group, wanted: own.id });
                }
                let shared = private
                    .finish(&theirs.data)
                    .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
                Ok(Some(shared))
            }
        }
    }
}

/// Our KE payload and the shared secret, where there is a key exchange.
type AnsweredKey = (Option<Payload>, Option<Secret<Vec<u8>>>);

/// Answers the peer's KE payload in the chosen group, if one was chosen.
pub(crate) fn answer_key_exchange(
    chosen: Option<KeyExchangeId>,
    request: &Contents,
) -> Result<AnsweredKey, Error> {
    let Some(group) = chosen.and_then(transform::group) else { return Ok((None, None)) };
    let theirs = request.optional_key_exchange()?;
    let Some(theirs) = theirs.filter(|theirs| theirs.group == group.id) else {
        let sent = theirs.map_or(KeyExchangeId::NONE, |theirs| theirs.group);
        return Err(Error::InvalidKeyExchange { sent, wanted: group.id });
    };
    let (data, shared) = group
        .key_exchange
        .respond(&theirs.data)
        .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
    Ok((Some(Payload::KeyExchange(KeyExchange { group: group.id, data })), Some(shared)))
}

/// Reads what the response of CREATE_CHILD_SA agreed on for a Child SA.
pub(super) fn after_first(
    sa: &IkeSa,
    offer: &ChildOffer,
    nonce: &[u8],
    key: OwnKey,
    response: &Contents,
) -> Result<Step<Agreed>, Error> {
    after_agreement(offer.accept(response, &sa.ends())?, nonce, key, response)
}

/// Goes on with the key exchange of a Child SA on which both ends agree.
pub(super) fn after_agreement(
    agreed: Agreed,
    nonce: &[u8],
    key: OwnKey,
    response: &Contents,
) -> Result<Step<Agreed>, Error> {
    let shared = key.finish(agreed.suite.key_exchange, response)?;
    let material = Material::new(Nonces { initiator: nonce, responder: response.nonce()? }, shared);
    let additional = agreed.suite.additional;
    Step::after_first(agreed, &additional, material, response)
}

/// Gives what the keys of a Child SA of this IKE SA come from.
pub(super) fn keying<'a>(sa: &'a IkeSa, role: Role, material: &'a Material) -> Keying<'a> {
    Keying {
        role,
        prf: sa.channel.suite.prf.prf,
        sk_d: &sa.channel.sk_d,
        shared: material.secrets.as_ref(),
        nonces: material.nonces(),
    }
}
