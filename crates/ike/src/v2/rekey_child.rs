//! CREATE_CHILD_SA with N(REKEY_SA): a new Child SA takes the place of an old one (RFC 7296 §1.3.3, §2.8).
//!
//! ```text
//!   Initiator                                                        Responder
//!   HDR, SK { N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr }          -->    new inbound SA, old SAs carry on
//!                                                             <--    HDR, SK { SA, Nr, [KEr,] TSi, TSr }
//!   new SAs in place, our packets go through the new one
//!   HDR, SK { D(old SPI) }                                    -->    packets go through the new one
//!                                                             <--    HDR, SK { D(old SPI) }
//! ```
//!
//! Nothing is lost on the way: the responder sends through the old SA until it knows that the initiator has its answer,
//! which the delete shows, or the first packet in the new SA. Late packets of the old SA are opened for a while after
//! it was deleted.
//!
//! Where additional key exchanges were agreed, they come before the new SAs (`ike_followup_ke`). Where both ends know how,
//! SA, TSi and TSr are left out (`optimized_rekey`).
//!
//! When both ends begin at once, `collision` says whose replacement stays. Who made the other deletes it.

use std::sync::Arc;

use sa::transform::Group;
use sa::{PolicyId, Spi};
use wire::registry::{ExchangeType, NotifyType, ProtocolId};
use wire::v2::{Notify, Payload};

use super::child::{self, ChildAnswer, ChildOffer};
use super::collision::{Collision, Rival};
use super::contents::Contents;
use super::create_child_sa::{OwnKey, after_agreement, after_first, answer_key_exchange, keying};
use super::ike_followup_ke::{self, Following, Material, Pending, Stage, Step};
use super::ike_sa::{Active, IkeSa, Request, Task};
use super::keys::Nonces;
use super::optimized_rekey::{self, Manner};
use crate::child::{Agreed, ChildSa, Confirmation, Installation, Tenure};
use crate::context::Context;
use crate::error::{Error, Failure};
use crate::event::{DownReason, Event};
use crate::io::{ChildSaId, Ticket};
use crate::negotiation::{child_protocol, protocol_id};
use crate::status::{ChildSaStatus, ChildState};
use crate::{ChildConfig, Role};

// --- Initiator -----------------------------------------------------------------------------------------------------

/// Our request is under way.
#[derive(Debug)]
pub(crate) struct Initiated {
    pub tickets: Vec<Ticket>,
    old: ChildSaId,
    /// The old Child SA as it was, for telling people; it may be gone when the response comes.
    old_status: ChildSaStatus,
    /// Whether the peer was known to have it when we asked.
    confirmation: Confirmation,
    config: Arc<ChildConfig>,
    policy: PolicyId,
    offer: ChildOffer,
    nonce: Vec<u8>,
    manner: Manner<Box<Agreed>>,
    stage: Stage<Agreed>,
    /// The peer's replacement of the same Child SA, if it began one as well.
    collision: Option<Collision<ChildSaId>>,
}

// HDR, SK { N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr } -->
pub(crate) fn initiate(
    sa: &mut IkeSa,
    cx: &mut Context,
    id: ChildSaId,
    tickets: Vec<Ticket>,
) -> Option<Request> {
    let old = sa.children.get(&id);
    if let Some(group) = old.and_then(|old| optimized_rekey::key_exchange_of_child(sa, cx, old)) {
        return initiate_with(sa, cx, id, tickets, group, Way::Optimized);
    }
    let group = sa.children.get(&id).and_then(group_to_offer);
    initiate_with(sa, cx, id, tickets, group, Way::Regular)
}

/// Gives the key exchange method to begin a regular rekeying with.
fn group_to_offer(old: &ChildSa) -> Option<&'static Group> {
    let configured = old.config.proposals.iter().flat_map(|proposal| &proposal.key_exchange).next().copied();
    old.agreed.suite.key_exchange.or(configured)
}

/// Which way a rekeying of ours is to go.
#[derive(Clone, Copy)]
enum Way {
    Regular,
    Optimized,
}

fn initiate_with(
    sa: &mut IkeSa,
    cx: &mut Context,
    id: ChildSaId,
    tickets: Vec<Ticket>,
    group: Option<&'static Group>,
    way: Way,
) -> Option<Request> {
    let ends = sa.ends();
    let Some(old) = sa.children.get_mut(&id).filter(|old| old.state == ChildState::Installed) else {
        cx.finish(
            &tickets,
            &Err(Failure::NotFound(format!("Child SA {id} is gone or being replaced already"))),
        );
        return None;
    };
    let key = match OwnKey::generate(group) {
        Ok(key) => key,
        Err(fault) => {
            cx.finish(&tickets, &Err(fault.into()));
            return None;
        }
    };
    let offer = match ChildOffer::replacing(cx, old, &ends) {
        Ok(offer) => offer,
        Err(fault) => {
            cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), fault.into());
            return None;
        }
    };
    let old_status = old.status();
    old.state = ChildState::Rekeying;
    let nonce = cx.next_nonce();
    let protocol = protocol_id(old.inbound.protocol);
    let rekey_sa = Notify::about(protocol, old.inbound.spi, NotifyType::REKEY_SA);
    let manner = match way {
        Way::Regular => Manner::Regular,
        Way::Optimized => optimized_rekey::heir(cx, &old.agreed, offer.our_spi()),
    };
    let (wish, more) = match &manner {
        Manner::Regular => (offer.security_association(), offer.selectors_and_terms()),
        Manner::Optimized(heir) => optimized_rekey::child_notifies(heir),
    };
    let mut payloads = vec![Payload::Notify(rekey_sa), wish, Payload::Nonce(nonce.clone())];
    payloads.extend(key.payload());
    payloads.extend(more);
    let (config, policy, confirmation) = (Arc::clone(&old.config), old.policy, old.confirmation);
    let initiated = Initiated {
        tickets,
        old: id,
        old_status,
        confirmation,
        config,
        policy,
        offer,
        nonce,
        manner,
        stage: Stage::Asked(key),
        collision: None,
    };
    let active = Active::RekeyChild(Box::new(initiated));
    Some(Request { exchange_type: ExchangeType::CREATE_CHILD_SA, payloads, active })
}

// <-- HDR, SK { SA, Nr, [KEr,] TSi, TSr }   or what answers an additional key exchange
pub(crate) fn finish(sa: &mut IkeSa, cx: &mut Context, mut initiated: Initiated, response: &Contents) {
    if response.refusal("").is_some() {
        stop_rekeying(sa, initiated.old);
        return finish_refused(sa, cx, initiated, response);
    }
    let stage = std::mem::replace(&mut initiated.stage, Stage::Asked(OwnKey::Absent));
    let (protocol, step) = match stage {
        Stage::Asked(key) => {
            let Initiated { offer, nonce, manner, .. } = &initiated;
            match manner {
                Manner::Regular => (offer.protocol(response), after_first(sa, offer, nonce, key, response)),
                Manner::Optimized(heir) => (heir.suite.protocol, after_optimized(heir, nonce, key, response)),
            }
        }
        Stage::Following(following) => (following.agreed.suite.protocol, following.take_in(response)),
    };
    let made = match step {
        Ok(Step::Further(following, payloads)) => return go_on(sa, cx, initiated, following, payloads),
        Ok(Step::Made(agreed, material)) => {
            make(sa, cx, &initiated, agreed, &material).map(|new| (new, material))
        }
        Err(fault) => Err(fault),
    };
    stop_rekeying(sa, initiated.old);
    match made {
        Err(fault) => {
            sa.delete_unwanted_child(cx, (protocol, initiated.offer.our_spi()));
            cx.fail(&initiated.tickets, Some(&sa.connection.name), Some(sa.channel.path), fault.into());
        }
        Ok((mut new, material)) => {
            // A rival that is gone without a successor, as when the IKE SA is being taken down, has nothing to win.
            let is_rivalled = sa
                .children
                .values()
                .any(|other| other.policy == initiated.policy && other.id != initiated.old);
            let lost = initiated.collision.as_ref().filter(|collision| {
                let is_there = is_rivalled || !matches!(collision.rival, Rival::Made(_));
                is_there && collision.is_lost(material.nonces())
            });
            match lost {
                Some(collision) => {
                    let rival = collision.rival;
                    concede(sa, cx, new, &initiated, rival);
                }
                None => {
                    new.start_sending(cx);
                    forget_rival(sa, initiated.old);
                    take_over(sa, cx, new, &initiated);
                }
            }
            cx.finish(&initiated.tickets, &Ok(()));
        }
    }
}

/// Reads what is new about a Child SA that inherits the rest.
fn after_optimized(
    heir: &Agreed,
    nonce: &[u8],
    key: OwnKey,
    response: &Contents,
) -> Result<Step<Agreed>, Error> {
    let agreed = optimized_rekey::accept_child(heir.clone(), response)?;
    after_agreement(agreed, nonce, key, response)
}

/// Begins the next additional key exchange, unless a collision is lost: then there is nothing to delete yet, and it ends
/// here (RFC 9370 §2.2.4).
fn go_on(
    sa: &mut IkeSa,
    cx: &mut Context,
    mut initiated: Initiated,
    following: Box<Following<Agreed>>,
    payloads: Vec<Payload>,
) {
    if let Some(collision) = initiated.collision.take() {
        if collision.is_lost(following.material.nonces()) {
            stop_rekeying(sa, initiated.old);
            yield_to_rival(sa, cx, initiated.old, &initiated.old_status, collision.rival);
            return cx.finish(&initiated.tickets, &Ok(()));
        }
        // The peer goes no further with its own, or deletes it.
        forget_rival(sa, initiated.old);
    }
    initiated.stage = Stage::Following(following);
    let active = Active::RekeyChild(Box::new(initiated));
    sa.send_next(cx, ike_followup_ke::request(payloads, active));
}

/// The old Child SA is no longer being replaced by us.
fn stop_rekeying(sa: &mut IkeSa, old: ChildSaId) {
    if let Some(old) = sa.children.get_mut(&old)
        && old.state == ChildState::Rekeying
    {
        old.state = ChildState::Installed;
    }
}

/// The peer goes no further with its own wish to replace a Child SA.
fn forget_rival(sa: &mut IkeSa, old: ChildSaId) {
    sa.pending.retain(|pending| !is_about(pending, old));
}

/// Tells whether the peer is replacing a Child SA, and has not come to the end of its key exchanges.
pub(crate) fn is_peers_to_replace(sa: &IkeSa, old: ChildSaId) -> bool {
    sa.pending.iter().any(|pending| is_about(pending, old))
}

fn is_about(pending: &Pending, old: ChildSaId) -> bool {
    matches!(&pending.wish, ike_followup_ke::Wish::RekeyChild(wish) if wish.old == old)
}

/// Installs the replacement without using it yet: a collision may make it redundant.
fn make(
    sa: &mut IkeSa,
    cx: &mut Context,
    initiated: &Initiated,
    agreed: Agreed,
    material: &Material,
) -> Result<ChildSa, Error> {
    let Initiated { offer, policy, .. } = initiated;
    let keying = keying(sa, Role::Initiator, material);
    let is_served =
        sa.children.values().any(|child| child.policy == *policy && child.tenure == Tenure::Holds);
    let installation = if is_served { Installation::StandBy(*policy) } else { Installation::New };
    child::install(cx, &sa.peer, &offer.config, agreed, &keying, sa.carriage(), installation)
}

/// Ours stays: it takes the old one's place, which is ours to delete. A rival is the peer's to delete.
fn take_over(sa: &mut IkeSa, cx: &mut Context, mut new: ChildSa, initiated: &Initiated) {
    new.tenure = Tenure::Holds;
    let new_status = new.status();
    let mut replaced = None;
    for other in sa.children.values_mut().filter(|other| other.policy == new.policy) {
        if other.tenure == Tenure::Holds {
            replaced = Some(other.status());
        }
        other.state = ChildState::Rekeyed;
        other.tenure = Tenure::Aside;
        other.stop_sending();
    }
    sa.take_in(cx, new);
    let ike = Box::new(sa.status());
    match replaced {
        Some(old) => cx.tell(Event::ChildRekeyed { ike, old, new: new_status }),
        // The peer deleted the old one meanwhile, and nevertheless agreed to this one (RFC 7296 §2.25.1).
        None => cx.tell(Event::ChildUp(ike, new_status)),
    }
    if sa.children.contains_key(&initiated.old) {
        sa.queue_first(cx, Task::DeleteChild(initiated.old, DownReason::Replaced, Vec::new()));
    }
}

/// Theirs stays: ours is redundant and ours to delete; the old one is the peer's to delete.
fn concede(
    sa: &mut IkeSa,
    cx: &mut Context,
    mut redundant: ChildSa,
    initiated: &Initiated,
    rival: Rival<ChildSaId>,
) {
    redundant.state = ChildState::Rekeyed;
    let id = redundant.id;
    sa.take_in(cx, redundant);
    yield_to_rival(sa, cx, initiated.old, &initiated.old_status, rival);
    sa.queue_first(cx, Task::DeleteChild(id, DownReason::Redundant, Vec::new()));
}

/// The peer's replacement stays, as soon as it is there.
fn yield_to_rival(
    sa: &mut IkeSa,
    cx: &mut Context,
    old: ChildSaId,
    old_status: &ChildSaStatus,
    rival: Rival<ChildSaId>,
) {
    match rival {
        Rival::Made(rival) => replaced_by_rival(sa, cx, old, old_status, rival),
        Rival::Coming | Rival::Settled => {}
    }
}

/// The peer's replacement stays; the old one is the peer's to delete.
fn replaced_by_rival(
    sa: &mut IkeSa,
    cx: &mut Context,
    old: ChildSaId,
    old_status: &ChildSaStatus,
    rival: ChildSaId,
) {
    // Gone means that all this was settled before, and the rival itself may have been replaced since.
    let Some(old) = sa.children.get_mut(&old) else { return };
    old.state = ChildState::Rekeyed;
    old.tenure = Tenure::Aside;
    if let Some(new) = sa.children.get_mut(&rival).filter(|new| new.tenure == Tenure::Aside) {
        new.tenure = Tenure::Holds;
        let new = new.status();
        cx.tell(Event::ChildRekeyed { ike: Box::new(sa.status()), old: old_status.clone(), new });
    }
}

fn finish_refused(sa: &mut IkeSa, cx: &mut Context, initiated: Initiated, response: &Contents) {
    let Initiated { tickets, old, old_status, confirmation, manner, stage, config, collision, offer, .. } =
        initiated;
    if let Some(collision) = collision {
        // The peer replaced it without seeing our wish: its replacement stays.
        yield_to_rival(sa, cx, old, &old_status, collision.rival);
        return cx.finish(&tickets, &Ok(()));
    }
    let regular_with = match (&manner, &stage) {
        // draft-ietf-ipsecme-ikev2-sa-ts-payloads-opt §3: the regular way is open.
        (Manner::Optimized(_), Stage::Asked(_))
            if response.notify(NotifyType::NO_PROPOSAL_CHOSEN).is_some() =>
        {
            sa.children.get(&old).map(group_to_offer)
        }
        (_, Stage::Asked(key)) => key.wanted_instead(&config.proposals, response).map(Some),
        (_, Stage::Following(_)) => None,
    };
    if let Some(group) = regular_with {
        if let Some(again) = initiate_with(sa, cx, old, tickets, group, Way::Regular) {
            sa.send_next(cx, again);
        }
        return;
    }
    let is_here = sa.children.contains_key(&old);
    let is_coming = sa.children.get(&old).is_some_and(|old| old.is_perhaps_coming(confirmation, cx.now));
    if response.notify(NotifyType::CHILD_SA_NOT_FOUND).is_some() && is_here && !is_coming {
        // RFC 7296 §2.25: the peer does not have it; a new one must be made in its place.
        sa.drop_child(cx, old, DownReason::DeletedByPeer);
        let request = crate::context::ChildRequest { config, flow: None };
        return sa.queue(cx, Task::CreateChild(request, tickets));
    }
    if !is_here {
        return cx.finish(&tickets, &Err(Failure::Terminated));
    }
    if response.notify(NotifyType::TEMPORARY_FAILURE).is_some() || ike_followup_ke::is_forgotten(response) {
        return sa.put_off(cx, Task::RekeyChild(old, tickets));
    }
    if is_coming {
        return sa.queue_later(cx, Task::RekeyChild(old, tickets));
    }
    if response.notify(NotifyType::NO_ADDITIONAL_SAS).is_some() {
        return sa.replace_whole(cx, tickets);
    }
    if let Some(refusal) = response.refusal(&offer.in_words()) {
        cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), Error::Refused(refusal).into());
    }
    sa.queue_after_refusal(cx, Task::RekeyChild(old, Vec::new()));
}

/// The peer deletes a Child SA that both ends are replacing: it has seen its own replacement through, which stays
/// unless our response shows otherwise (RFC 7296 §2.25.1).
pub(crate) fn yield_to_delete(sa: &mut IkeSa, cx: &mut Context, old: ChildSaId) {
    let Some(Active::RekeyChild(ours)) = &sa.active else { return };
    if ours.old != old {
        return;
    }
    let Some(Rival::Made(rival)) = ours.collision.as_ref().map(|collision| collision.rival) else { return };
    let old_status = ours.old_status.clone();
    replaced_by_rival(sa, cx, old, &old_status, rival);
}

// --- Responder -----------------------------------------------------------------------------------------------------

// HDR, SK { N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr } -->
//                                                  <-- HDR, SK { SA, Nr, [KEr,] TSi, TSr }
pub(crate) fn respond(
    sa: &mut IkeSa,
    cx: &mut Context,
    request: &Contents,
    protocol: ProtocolId,
    spi: Spi,
) -> Result<Vec<Payload>, Error> {
    let old_id = replaceable(sa, protocol, spi)?;
    let old = &sa.children[&old_id];
    let config = Arc::clone(&old.config);
    let (agreed, (wish, more)) = if optimized_rekey::is_asked(request)? {
        let agreed = optimized_rekey::asked_of_child(sa, cx, old, request)?;
        let notifies = optimized_rekey::child_notifies(&agreed);
        (agreed, notifies)
    } else {
        let answer = ChildAnswer::replacing(cx, old, &sa.ends(), request)?;
        let payloads = (answer.security_association(), answer.selectors_and_terms());
        (answer.agreed, payloads)
    };
    let group = agreed.suite.key_exchange.map(|group| group.id);
    let (key_payload, shared) = answer_key_exchange(group, request)?;
    let (nonce_i, nonce_r) = (request.nonce()?, cx.next_nonce());
    let mut payloads = vec![wish, Payload::Nonce(nonce_r.clone())];
    payloads.extend(key_payload);
    payloads.extend(more);
    let nonces = Nonces { initiator: nonce_i, responder: &nonce_r };
    let material = Material::new(nonces, shared);
    let additional = agreed.suite.additional;
    let wish = ike_followup_ke::Wish::RekeyChild(Wish { old: old_id, protocol, spi, config, agreed });
    payloads.extend(ike_followup_ke::grant(sa, cx, wish, &additional, material)?);
    if let Some(Active::RekeyChild(ours)) = &mut sa.active
        && ours.old == old_id
        && !additional.is_empty()
    {
        ours.collision = Some(Collision::new(nonces, Rival::Coming));
    }
    Ok(payloads)
}

/// Finds the Child SA that the peer wants to replace, if that can be done now.
fn replaceable(sa: &IkeSa, protocol: ProtocolId, spi: Spi) -> Result<ChildSaId, Error> {
    if matches!(sa.active, Some(Active::RekeyIke(_) | Active::DeleteIke(_))) {
        return Err(Error::Busy);
    }
    let named = child_protocol(protocol);
    let Some(old_id) = named.and_then(|protocol| sa.child_named_by_peer(protocol, spi)) else {
        // It may be the one that a response on its way to us makes.
        let is_coming = matches!(sa.active, Some(Active::CreateChild(_) | Active::RekeyChild(_)));
        return Err(if is_coming { Error::Busy } else { Error::ChildSaNotFound { protocol, spi } });
    };
    // RFC 9370 §2.2.4: what we have begun to replace and have an answer for, the peer must not begin to.
    let is_settled = matches!(
        &sa.active,
        Some(Active::RekeyChild(ours)) if ours.old == old_id && matches!(ours.stage, Stage::Following(_))
    );
    // RFC 7296 §2.25.1: a Child SA that is being closed cannot be replaced; nor one that may yet lose a collision.
    if is_settled || !sa.children[&old_id].is_in_use() || sa.is_to_delete(old_id) {
        return Err(Error::Busy);
    }
    Ok(old_id)
}

/// The replacement that the peer wants, as it was agreed.
#[derive(Debug)]
pub(crate) struct Wish {
    old: ChildSaId,
    /// What the peer calls the old one.
    protocol: ProtocolId,
    spi: Spi,
    config: Arc<ChildConfig>,
    agreed: Agreed,
}

/// Makes it: all of its key exchanges are over.
pub(crate) fn fulfil(sa: &mut IkeSa, cx: &mut Context, wish: Wish, material: &Material) -> Result<(), Error> {
    let Wish { protocol, spi, config, agreed, .. } = wish;
    let old_id = replaceable(sa, protocol, spi)?;
    let old = &sa.children[&old_id];
    let (policy, old_status) = (old.policy, old.status());
    let keying = keying(sa, Role::Responder, material);
    let new =
        child::install(cx, &sa.peer, &config, agreed, &keying, sa.carriage(), Installation::StandBy(policy))?;
    let new_id = new.id;
    sa.take_in(cx, new);
    match &mut sa.active {
        Some(Active::RekeyChild(ours)) if ours.old == old_id => {
            let rival = if material.has_followed() { Rival::Settled } else { Rival::Made(new_id) };
            ours.collision = Some(Collision::new(material.nonces(), rival));
            if rival == Rival::Settled {
                replaced_by_rival(sa, cx, old_id, &old_status, new_id);
            }
        }
        _ => replaced_by_rival(sa, cx, old_id, &old_status, new_id),
    }
    Ok(())
}
