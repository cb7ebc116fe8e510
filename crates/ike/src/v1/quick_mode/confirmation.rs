//! What tells as well as a message that the peer has what we sent last, or wants it no more: it acts on it.

use sa::{Protocol, SaId, Spi};
use wire::registry::v1::NotifyType;
use wire::v1::{DOI_IPSEC, Notification, Payload};

use super::{QuickMode, committing, install_answered};
use crate::child::Tenure;
use crate::context::Context;
use crate::io::ChildSaId;
use crate::v1::deletion::Pair;
use crate::v1::ike_sa::IkeSa;
use crate::v1::negotiation;

/// Packets arrive on an inbound SA whose message 3 or 4 is still awaited: the initiator has message 2, or it could not
/// have sealed them. Tells whether it is such an SA.
pub(crate) fn confirm_by_traffic(sa: &mut IkeSa, cx: &mut Context, inbound: SaId) -> bool {
    let is_of = |quick_mode: &QuickMode| {
        quick_mode.awaited().is_some_and(|prepared| prepared.inbound_sas().any(|own| own == inbound))
    };
    let awaited = sa.quick_modes.iter().find(|(_, quick_mode)| is_of(quick_mode));
    let Some(message_id) = awaited.map(|(message_id, _)| *message_id) else { return false };
    confirm(sa, cx, message_id);
    true
}

/// The peer deletes the Child SA that a quick mode replaces whose message 3 or 4 is still awaited: it has the new one, unless
/// another has taken the old one's place already.
pub(crate) fn confirm_by_delete(sa: &mut IkeSa, cx: &mut Context, old: ChildSaId) {
    let holder = sa.children.get(&old).filter(|old| old.tenure == Tenure::Holds);
    let Some(policy) = holder.map(|old| old.policy) else { return };
    let awaited = sa.quick_modes.iter().find(|(_, quick_mode)| quick_mode.awaited_policy() == Some(policy));
    if let Some(message_id) = awaited.map(|(message_id, _)| *message_id) {
        confirm(sa, cx, message_id);
    }
}

/// HDR*, HASH(1), N(CONNECTED) …   the peer, which began a quick mode, says that it is over: our copies of message 3 are lost.
/// CONNECTED names the SA towards its sender (RFC 2408 §3.14.1).
pub(crate) fn confirm_by_peer(sa: &mut IkeSa, cx: &mut Context, spi: Spi) {
    let is_it = |quick_mode: &QuickMode| {
        let by = |protocol| quick_mode.awaited().is_some_and(|new| new.is_named_by_peer(protocol, spi));
        by(Protocol::Esp) || by(Protocol::Ah)
    };
    let named = sa.quick_modes.iter().find(|(_, quick_mode)| is_it(quick_mode));
    if let Some(message_id) = named.map(|(message_id, _)| *message_id) {
        confirm(sa, cx, message_id);
    }
}

/// N(CONNECTED) …   of every quick mode of ours whose message 3 the peer may have missed, but for what is deleted; only to a
/// peer that answers deletes
pub(crate) fn confirmations(sa: &IkeSa, deleted: &[Pair]) -> impl Iterator<Item = Payload> {
    let is_deleted = |inbound: &SaId| deleted.iter().any(|(ours, _)| ours == inbound);
    let finished = sa.quick_modes.values().filter_map(|quick_mode| match quick_mode {
        QuickMode::Done { begun: Some(finished), .. } => Some(finished.inbound),
        QuickMode::Begun(_)
        | QuickMode::Answered(_)
        | QuickMode::Committing(_)
        | QuickMode::Refused { .. }
        | QuickMode::Done { begun: None, .. } => None,
    });
    let finished = finished.filter(move |inbound| sa.abilities.answered_deletes && !is_deleted(inbound));
    finished.map(|inbound| {
        Payload::Notification(Notification {
            doi: DOI_IPSEC,
            protocol: negotiation::protocol_id(inbound.protocol),
            spi: inbound.spi.0.to_be_bytes().to_vec(),
            notify_type: NotifyType::CONNECTED,
            data: Vec::new(),
        })
    })
}

/// The peer deletes a Child SA whose message 3 or 4 is still awaited: nothing is to come of it. Gives its SAs, if there is one
/// that the peer calls so.
pub(crate) fn abandon_deleted(
    sa: &mut IkeSa,
    cx: &mut Context,
    protocol: Protocol,
    spi: Spi,
) -> Option<Vec<Pair>> {
    let is_it = |quick_mode: &QuickMode| {
        quick_mode.awaited().is_some_and(|prepared| prepared.is_named_by_peer(protocol, spi))
    };
    let named = sa.quick_modes.iter().find(|(_, quick_mode)| is_it(quick_mode));
    let id = named.map(|(id, _)| *id)?;
    let quick_mode = sa.quick_modes.remove(&id)?;
    let pairs = quick_mode.awaited().map_or_else(Vec::new, |prepared| prepared.pairs().collect());
    quick_mode.abandon(cx);
    sa.pass_on(cx);
    Some(pairs)
}

fn confirm(sa: &mut IkeSa, cx: &mut Context, message_id: u32) {
    match sa.quick_modes.remove(&message_id) {
        Some(QuickMode::Answered(answered)) => install_answered(sa, cx, message_id, *answered),
        Some(QuickMode::Committing(committing)) => committing::conclude(sa, cx, message_id, *committing),
        Some(other) => {
            sa.quick_modes.insert(message_id, other);
        }
        None => {}
    }
}
