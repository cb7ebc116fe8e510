//! Quick mode: three messages that make a Child SA, or one in the place of another (RFC 2409 §5.5).
//!
//! ```text
//!   Initiator                                             Responder
//!   HDR*, HASH(1), SA, Ni, [KE,] IDci, IDcr        -->    inbound SA in place
//!                                                  <--    HDR*, HASH(2), SA, Nr, [KE,] IDci, IDcr
//!   both SAs in place, our packets go through
//!   HDR*, HASH(3)                                  -->    outbound SA in place, our packets go through
//!
//!   HASH(1) = prf(SKEYID_a, M-ID | all that follows)
//!   HASH(2) = prf(SKEYID_a, M-ID | Ni_b | all that follows)
//!   HASH(3) = prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b)
//! ```
//!
//! KE is there if the Child SA has a key exchange of its own (perfect forward secrecy). In transport mode behind a NAT
//! both messages carry NAT-OA payloads too (RFC 3947 §5.2).
//!
//! The initiator repeats message 1, the responder message 2 until it has message 3; a repeated message gets the answer
//! that it had. A peer may ask for a fourth message by the commit bit: see `committing`. Nothing says that a quick mode replaces a Child SA: one for the same traffic does. Whoever began it
//! deletes the old one, but not before the responder can be expected to have message 3.

mod committing;
mod confirmation;
mod standing;

use std::time::Instant;

use crypto::{KeyExchangePrivate, Secret};
use sa::{SaId, SaOp, Spi};
use wire::registry::ExchangeType;
use wire::v1::{Datagram, Payload};

use super::channel::{Iv, trace_received};
use super::child::{
    Offer, OwnKey, Terms, Wish, answer_key_exchange, check_nat, choose, expiry_of, is_translated,
    message_payloads, original_addresses, own_spis, prepare, responder_expiry, secure, subject_of,
    with_original_addresses,
};
use super::contents::Contents;
use super::expiry::{Expiry, Phase};
use super::ike_sa::{IkeSa, Life};
use super::informational::{self, Subject};
use super::negotiation::{self, Wanted};
use super::repeated::{Repeated, Seen};
use crate::child::{Installation, Prepared};
use crate::context::{ChildRequest, Context};
use crate::error::{Error, Misbehaviour, RefusalV1};
use crate::exchange::Nonces;
use crate::io::{ChildSaId, Path, Ticket};
use crate::retransmission::Repeating;
use crate::status::ChildState;
use crate::{Role, limits};

use committing::Part;
pub(crate) use committing::{Committing, awaits_fourth, conclude as conclude_committing};
pub(crate) use confirmation::{
    abandon_deleted, confirm_by_delete, confirm_by_peer, confirm_by_traffic, confirmations,
};

pub(crate) const NAME: &str = "quick mode";

/// A quick mode under way, or done and remembered for a peer that missed our last message.
pub(crate) enum QuickMode {
    /// We sent message 1.
    Begun(Box<Begun>),
    /// We sent message 2.
    Answered(Box<Answered>),
    /// The peer wants us to wait for a fourth message.
    Committing(Box<Committing>),
    /// We refused message 1.
    Refused {
        /// Message 1 and our refusal.
        last: Repeated,
        /// When it is forgotten.
        until: Instant,
    },
    /// We sent or received message 3.
    Done {
        /// What we know of it, if we began it.
        begun: Option<Finished>,
        /// When it is forgotten.
        until: Instant,
    },
}

/// A quick mode that we began, and finished.
pub(crate) struct Finished {
    /// Message 2, and our message 3.
    pub(super) last: Repeated,
    /// The first SA towards us that it made.
    pub(super) inbound: SaId,
}

/// What a quick mode of ours is for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// Another Child SA.
    New(ChildRequest),
    /// One in the place of this one.
    Replace(ChildSaId),
}

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We sent message 1.
pub(crate) struct Begun {
    pub(super) purpose: Purpose,
    pub(super) tickets: Vec<Ticket>,
    offer: Offer,
    nonce: Vec<u8>,
    private: Option<Box<dyn KeyExchangePrivate>>,
    iv: Iv,
    pub(super) repeating: Repeating,
    pub(super) begun_at: Instant,
}

/// HDR*, HASH(1), SA, Ni, [KE,] IDci, IDcr -->
pub(crate) fn initiate(sa: &mut IkeSa, cx: &mut Context, purpose: Purpose, tickets: Vec<Ticket>) {
    if let Purpose::New(request) = &purpose {
        let name = &request.config.name;
        if sa.has_child(name) {
            return cx.finish(&tickets, &Ok(()));
        }
        if let Some(waiting) = sa.quick_modes.values_mut().find_map(|other| other.tickets_of(name)) {
            return waiting.extend(tickets);
        }
    }
    let prepared = prepare(sa, cx, &purpose).and_then(|(offer, private)| {
        let nonce = cx.next_nonce();
        let message_id = sa.channel.next_message_id(cx);
        let iv = sa.channel.phase_2_iv(message_id);
        let public = private.as_ref().map(|private| private.public().to_vec());
        let payloads = message_payloads(offer.security_association(), &nonce, public, &offer.identifications);
        let payloads = with_original_addresses(sa, Role::Initiator, offer.terms.mode, payloads);
        let (message, iv) = sa.seal(cx, ExchangeType::V1_QUICK_MODE, message_id, &iv, &[], payloads)?;
        cx.transmit(sa.channel.path, &message);
        let repeating = cx.begin_repeating(message);
        Ok((message_id, offer, private, nonce, iv, repeating))
    });
    match prepared {
        Ok((message_id, offer, private, nonce, iv, repeating)) => {
            if let Purpose::Replace(id) = &purpose
                && let Some(old) = sa.children.get_mut(id)
            {
                old.state = ChildState::Rekeying;
            }
            let begun_at = cx.now;
            let begun = Begun { purpose, tickets, offer, nonce, private, iv, repeating, begun_at };
            sa.quick_modes.insert(message_id, QuickMode::Begun(Box::new(begun)));
        }
        Err(fault) => cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), fault.into()),
    }
}

/// <-- HDR*, HASH(2), SA, Nr, [KE,] IDci, IDcr
///
/// HDR*, HASH(3) -->
fn finish(
    sa: &mut IkeSa,
    cx: &mut Context,
    path: Path,
    message_id: u32,
    mut begun: Box<Begun>,
    datagram: &Datagram<'_>,
    ciphertext: &[u8],
) {
    let opened = sa.channel.open(&begun.iv, ciphertext);
    let chain = opened.as_ref().and_then(|opened| opened.payloads(datagram.header.next_payload).ok());
    let (Some(opened), Some(chain)) = (&opened, chain) else {
        return put_back(sa, cx, message_id, begun);
    };
    let contents = Contents::new(NAME, chain.clone());
    if sa.check_hash(&contents, message_id, &begun.nonce).is_err() {
        return put_back(sa, cx, message_id, begun);
    }
    trace_received(cx, path, datagram, &chain);
    sa.heard_from_peer(cx, path);
    sa.count(cx, datagram.bytes.len());
    release(sa, &begun.purpose);
    let private = begun.private.take();
    let agreed = accept(sa, cx, &begun, private, &contents);
    let made = agreed.and_then(|(prepared, nonce_r)| {
        let hash = third_hash(sa, message_id, Nonces { initiator: &begun.nonce, responder: &nonce_r });
        let hash = [Payload::Hash(hash.as_slice().to_vec())];
        let sealed = sa.channel.seal(cx, ExchangeType::V1_QUICK_MODE, message_id, &opened.next_iv, &hash)?;
        Ok((prepared, sealed))
    });
    match made {
        Ok((prepared, third)) if committing::is_wanted(datagram) => {
            committing::wait(sa, cx, *begun, prepared, third, (datagram.header.message_id, ciphertext));
        }
        Ok((prepared, (message, _))) => {
            let inbound = prepared.inbound();
            install_begun(sa, cx, &begun, prepared);
            cx.transmit(sa.channel.path, &message);
            let finished = Finished { last: Repeated::new(ciphertext, message), inbound };
            let until = cx.now + limits::QUICK_MODE_LINGER;
            sa.quick_modes.insert(message_id, QuickMode::Done { begun: Some(finished), until });
            cx.finish(&begun.tickets, &Ok(()));
        }
        Err(fault) => {
            if let Some(notify_type) = fault.to_v1_notify() {
                let subject = Subject { protocol: begun.offer.protocol(), spi: begun.offer.ours.main };
                informational::refuse(sa, cx, notify_type, Some(subject));
            }
            cx.fail(&begun.tickets, Some(&sa.connection.name), Some(sa.channel.path), fault.into());
        }
    }
}

/// A message that is not authentic changes nothing.
fn put_back(sa: &mut IkeSa, cx: &mut Context, message_id: u32, begun: Box<Begun>) {
    cx.note_forged();
    sa.quick_modes.insert(message_id, QuickMode::Begun(begun));
}

/// The Child SA that was to be replaced is as it was.
pub(super) fn release(sa: &mut IkeSa, purpose: &Purpose) {
    if let Purpose::Replace(id) = purpose
        && let Some(old) = sa.children.get_mut(id)
        && old.state == ChildState::Rekeying
    {
        old.state = ChildState::Installed;
    }
}

/// Reads the responder's answer.
fn accept(
    sa: &IkeSa,
    cx: &mut Context,
    begun: &Begun,
    private: OwnKey,
    contents: &Contents<'_>,
) -> Result<(Prepared, Vec<u8>), Error> {
    let offer = &begun.offer;
    let (answer, _) = contents.security_association()?;
    let chosen = negotiation::accept_phase_2(Wanted::from(&*offer.config), answer, offer.terms)
        .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
    check_nat(sa, chosen.has_ah())?;
    if let Some((initiator, responder)) = contents.traffic()?
        && [initiator, responder] != [&offer.identifications[0], &offer.identifications[1]]
        && !is_translated(sa, offer.terms.mode)
    {
        return Err(Misbehaviour::NotOffered("other traffic than we named".to_owned()).into());
    }
    let nonce_r = contents.nonce()?.to_vec();
    let shared = match private {
        None => None,
        Some(private) => Some(
            private
                .finish(contents.key_exchange()?)
                .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?,
        ),
    };
    let serving = sa.serving(&offer.config, &[offer.local], &[offer.remote]);
    let policy = serving.map_or_else(|| cx.next_policy_id(), |(_, policy)| policy);
    let terms = Terms {
        config: &offer.config,
        ours: offer.ours,
        expiry: responder_expiry(contents),
        mode: offer.config.mode,
        local: offer.local,
        remote: offer.remote,
        original: original_addresses(sa, Role::Initiator, offer.terms.mode, contents),
        policy,
    };
    let nonces = Nonces { initiator: &begun.nonce, responder: &nonce_r };
    let prepared = secure(sa, cx, &chosen, terms, shared.as_ref(), nonces)?;
    Ok((prepared, nonce_r))
}

fn install_begun(sa: &mut IkeSa, cx: &mut Context, begun: &Begun, prepared: Prepared) {
    let offer = &begun.offer;
    match sa.serving(&offer.config, &[offer.local], &[offer.remote]) {
        None => {
            let child = prepared.install(cx, Installation::New);
            sa.adopt(cx, child);
        }
        Some((old, policy)) => {
            let new = prepared.install(cx, Installation::StandBy(policy));
            let id = new.id;
            sa.take_in(cx, new);
            sa.hand_over_gently(cx, id);
            sa.farewells.insert(old, cx.now + limits::CONFIRMATION_WAIT);
        }
    }
}

/// The peer refused a quick mode of ours: the one that offered this SPI, or else the only one under way.
pub(crate) fn refused(sa: &mut IkeSa, cx: &mut Context, spi: Option<Spi>, mut refusal: RefusalV1) {
    let begun = || {
        sa.quick_modes.iter().filter_map(|(message_id, quick_mode)| match quick_mode {
            QuickMode::Begun(begun) => Some((*message_id, &begun.offer)),
            QuickMode::Answered(_)
            | QuickMode::Committing(_)
            | QuickMode::Refused { .. }
            | QuickMode::Done { .. } => None,
        })
    };
    let is_named = |offer: &Offer| spi.is_some_and(|spi| offer.names(spi));
    let named = begun().find(|(_, offer)| is_named(offer)).map(|(message_id, _)| message_id);
    let only = || Some(begun().next()?.0).filter(|_| begun().count() == 1);
    let Some(QuickMode::Begun(begun)) =
        named.or_else(only).and_then(|message_id| sa.quick_modes.remove(&message_id))
    else {
        return sa.report(cx, Error::RefusedV1(refusal));
    };
    refusal.asked = begun.offer.in_words();
    release(sa, &begun.purpose);
    if let Purpose::Replace(id) = begun.purpose
        && let Some(old) = sa.children.get_mut(&id)
    {
        // The peer's configuration does not allow it, and may change.
        old.schedule.rekey_at = Some(cx.now + limits::RETRY_AFTER_REFUSAL);
    }
    let failure = Error::RefusedV1(refusal).into();
    cx.fail(&begun.tickets, Some(&sa.connection.name), Some(sa.channel.path), failure);
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// We sent message 2.
pub(crate) struct Answered {
    /// Message 1, and our message 2.
    last: Repeated,
    iv: Iv,
    pub(super) repeating: Repeating,
    /// HASH(3) as it must come.
    third_hash: Secret<Vec<u8>>,
    pub(super) prepared: Prepared,
    /// Whether message 1 asks us to wait for a fourth.
    is_to_wait: bool,
}

impl Answered {
    /// Takes away what was in place before message 3.
    pub(super) fn take_back(self, cx: &mut Context) {
        take_back(&self.prepared, cx);
    }
}

fn take_back(prepared: &Prepared, cx: &mut Context) {
    prepared.release(cx);
    for sa in prepared.inbound_sas() {
        cx.order(SaOp::RemoveSa(sa));
    }
}

/// HDR*, HASH(1), SA, Ni, [KE,] IDci, IDcr -->
///
/// <-- HDR*, HASH(2), SA, Nr, [KE,] IDci, IDcr
fn respond(sa: &mut IkeSa, cx: &mut Context, path: Path, datagram: &Datagram<'_>, ciphertext: &[u8]) {
    let message_id = datagram.header.message_id;
    let opened = sa.channel.open(&sa.channel.phase_2_iv(message_id), ciphertext);
    let chain = opened.as_ref().and_then(|opened| opened.payloads(datagram.header.next_payload).ok());
    let (Some(opened), Some(chain)) = (&opened, chain) else {
        cx.note_forged();
        return;
    };
    let contents = Contents::new(NAME, chain.clone());
    let is_authentic = sa.check_hash(&contents, message_id, &[]).is_ok();
    let is_new = is_authentic
        && contents.begins(datagram.header.exchange_type)
        && sa.channel.use_message_id(message_id);
    if !is_new {
        cx.note_forged();
        return;
    }
    trace_received(cx, path, datagram, &chain);
    sa.heard_from_peer(cx, path);
    sa.count(cx, datagram.bytes.len());
    // A peer that makes Child SAs here takes it for the one in use.
    if matches!(sa.life, Life::Superseded { until: None, .. }) {
        sa.life = Life::Current;
    }
    let subject = subject_of(&contents);
    match answer(sa, cx, &contents) {
        Ok(Answer { prepared, payloads, nonces: (nonce_i, nonce_r) }) => {
            let sealed =
                sa.seal(cx, ExchangeType::V1_QUICK_MODE, message_id, &opened.next_iv, &nonce_i, payloads);
            let (message, iv) = match sealed {
                Ok(sealed) => sealed,
                Err(fault) => return sa.report(cx, fault),
            };
            prepared.install_inbound(cx);
            prepared.reserve(cx, sa.channel.our_spi());
            cx.transmit(sa.channel.path, &message);
            let nonces = Nonces { initiator: &nonce_i, responder: &nonce_r };
            let answered = Answered {
                last: Repeated::new(ciphertext, message.clone()),
                iv,
                repeating: cx.begin_repeating(message),
                third_hash: third_hash(sa, message_id, nonces),
                prepared,
                is_to_wait: committing::is_wanted(datagram),
            };
            sa.quick_modes.insert(message_id, QuickMode::Answered(Box::new(answered)));
        }
        Err(fault) => {
            let refusal = informational::refuse_quick_mode(sa, cx, fault, subject);
            keep_refusal(sa, cx, message_id, refusal.map(|refusal| Repeated::new(ciphertext, refusal)));
        }
    }
}

/// Nobody confirms a refusal, so it is said again to a peer that asks again.
fn keep_refusal(sa: &mut IkeSa, cx: &Context, message_id: u32, refusal: Option<Repeated>) {
    let kept = sa.quick_modes.values().filter(|other| matches!(other, QuickMode::Refused { .. })).count();
    if let Some(last) = refusal.filter(|_| kept < limits::REFUSALS_KEPT) {
        let until = cx.now + limits::QUICK_MODE_LINGER;
        sa.quick_modes.insert(message_id, QuickMode::Refused { last, until });
    }
}

struct Answer {
    prepared: Prepared,
    payloads: Vec<Payload>,
    nonces: (Vec<u8>, Vec<u8>),
}

fn answer(sa: &mut IkeSa, cx: &mut Context, contents: &Contents<'_>) -> Result<Answer, Error> {
    let under_way = sa.quick_modes.values().filter(|quick_mode| quick_mode.name().is_some()).count();
    if sa.children.len() + under_way >= limits::CHILD_SAS {
        return Err(Error::NotAllowed("the ISAKMP SA has as many Child SAs as it may have"));
    }
    let nonce_i = contents.nonce()?.to_vec();
    let Wish { local, remote, identifications } = Wish::read(sa, contents)?;
    let (config, mode, chosen) = choose(sa, contents, local, remote)?;
    let (public, shared) = answer_key_exchange(chosen.suite.key_exchange, contents)?;
    let nonce_r = cx.next_nonce();
    let ours = own_spis(cx, chosen.wrapper.is_some(), chosen.compress());
    let serving = sa.serving(&config, &[local], &[remote]);
    let policy = serving.map_or_else(|| cx.next_policy_id(), |(_, policy)| policy);
    let terms = Terms {
        config: &config,
        ours,
        expiry: Expiry::default(),
        mode: config.mode,
        local,
        remote,
        original: original_addresses(sa, Role::Responder, mode, contents),
        policy,
    };
    let nonces = Nonces { initiator: &nonce_i, responder: &nonce_r };
    let prepared = secure(sa, cx, &chosen, terms, shared.as_ref(), nonces)?;
    let answer = negotiation::answer_phase_2(&chosen, ours);
    let mut payloads = vec![Payload::SecurityAssociation(answer), Payload::Nonce(nonce_r.clone())];
    payloads.extend(public.map(Payload::KeyExchange));
    payloads.extend(identifications.into_iter().map(Payload::Identification));
    let mut payloads = with_original_addresses(sa, Role::Responder, mode, payloads);
    let subject = (negotiation::protocol_id(chosen.suite.protocol), ours.main.0.to_be_bytes().to_vec());
    payloads.extend(expiry_of(&config).as_responder(chosen.expiry, Phase::Two, subject));
    Ok(Answer { prepared, payloads, nonces: (nonce_i, nonce_r) })
}

/// HDR*, HASH(3) -->
fn conclude(
    sa: &mut IkeSa,
    cx: &mut Context,
    path: Path,
    message_id: u32,
    answered: Box<Answered>,
    datagram: &Datagram<'_>,
    ciphertext: &[u8],
) {
    let opened = sa.channel.open(&answered.iv, ciphertext);
    let chain = opened.as_ref().and_then(|opened| opened.payloads(datagram.header.next_payload).ok());
    let is_third = chain.as_ref().is_some_and(|chain| {
        let contents = Contents::new(NAME, chain.clone());
        contents.hash().is_ok_and(|hash| answered.third_hash.ct_eq(hash))
    });
    let (Some(opened), Some(chain), true) = (&opened, &chain, is_third) else {
        cx.note_forged();
        sa.quick_modes.insert(message_id, QuickMode::Answered(answered));
        return;
    };
    trace_received(cx, path, datagram, chain);
    sa.heard_from_peer(cx, path);
    sa.count(cx, datagram.bytes.len());
    if answered.is_to_wait || committing::is_wanted(datagram) {
        let part = Part::Answered { third: Seen::new(ciphertext) };
        let committing = Committing::new(cx, answered.prepared, part, opened.next_iv.clone());
        sa.quick_modes.insert(message_id, QuickMode::Committing(committing));
    } else {
        install_answered(sa, cx, message_id, *answered);
    }
}

fn install_answered(sa: &mut IkeSa, cx: &mut Context, message_id: u32, answered: Answered) {
    install_awaited(sa, cx, answered.prepared);
    let until = cx.now + limits::QUICK_MODE_LINGER;
    sa.quick_modes.insert(message_id, QuickMode::Done { begun: None, until });
    sa.pass_on(cx);
}

/// Puts in place what only has its inbound SAs yet.
fn install_awaited(sa: &mut IkeSa, cx: &mut Context, prepared: Prepared) {
    let policy = prepared.policy();
    prepared.release(cx);
    if sa.has_holder(policy) {
        let new = prepared.install_outbound(cx, Installation::StandBy(policy));
        let id = new.id;
        sa.take_in(cx, new);
        sa.hand_over(cx, id);
    } else {
        // What it was to replace is gone, or there was nothing.
        let child = prepared.install_outbound(cx, Installation::New);
        sa.adopt(cx, child);
    }
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// Handles a message of a quick mode. One that comes once more is known by what is encrypted of it: no hash covers the header, which
/// may have been spoiled the first time.
pub(crate) fn handle(
    sa: &mut IkeSa,
    cx: &mut Context,
    path: Path,
    datagram: &Datagram<'_>,
    ciphertext: &[u8],
) {
    let message_id = datagram.header.message_id;
    match sa.quick_modes.remove(&message_id) {
        None => respond(sa, cx, path, datagram, ciphertext),
        Some(QuickMode::Begun(begun)) => finish(sa, cx, path, message_id, begun, datagram, ciphertext),
        Some(QuickMode::Answered(answered)) => {
            if answered.last.repeat(cx, path, ciphertext) {
                sa.quick_modes.insert(message_id, QuickMode::Answered(answered));
            } else {
                conclude(sa, cx, path, message_id, answered, datagram, ciphertext);
            }
        }
        Some(QuickMode::Committing(committing)) => {
            committing::handle(sa, cx, path, committing, datagram, ciphertext);
        }
        Some(QuickMode::Refused { last, until }) => {
            last.repeat(cx, path, ciphertext);
            sa.quick_modes.insert(message_id, QuickMode::Refused { last, until });
        }
        Some(QuickMode::Done { begun, until }) => {
            let is_repeated =
                begun.as_ref().is_some_and(|finished| finished.last.repeat(cx, path, ciphertext));
            if is_repeated {
                put_farewells_off(sa, cx);
            }
            sa.quick_modes.insert(message_id, QuickMode::Done { begun, until });
        }
    }
}

/// The responder has not had our message 3 yet: what it replaces must stay a while longer.
fn put_farewells_off(sa: &mut IkeSa, cx: &Context) {
    for at in sa.farewells.values_mut() {
        *at = (*at).max(cx.now + limits::CONFIRMATION_WAIT);
    }
}

fn third_hash(sa: &IkeSa, message_id: u32, nonces: Nonces<'_>) -> Secret<Vec<u8>> {
    sa.channel.hash(&[&[0], &message_id.to_be_bytes(), nonces.initiator, nonces.responder])
}
