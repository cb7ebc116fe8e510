//! What tells as well as a message that the peer has what we sent last, or wants it no more: it acts on it.

use sa::{Protocol, SaId, Spi};

use super::{QuickMode, committing, install_answered};
use crate::context::Context;
use crate::io::ChildSaId;
use crate::v1::ike_sa::IkeSa;

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

/// The peer deletes the Child SA that a quick mode replaces whose message 3 or 4 is still awaited: it has the new one.
pub(crate) fn confirm_by_delete(sa: &mut IkeSa, cx: &mut Context, old: ChildSaId) {
    let Some(policy) = sa.children.get(&old).map(|old| old.policy) else { return };
    let awaited = sa.quick_modes.iter().find(|(_, quick_mode)| quick_mode.awaited_policy() == Some(policy));
    if let Some(message_id) = awaited.map(|(message_id, _)| *message_id) {
        confirm(sa, cx, message_id);
    }
}

/// The peer deletes a Child SA whose message 3 or 4 is still awaited: nothing is to come of it. Tells whether there is one
/// that the peer calls so.
pub(crate) fn abandon_deleted(sa: &mut IkeSa, cx: &mut Context, protocol: Protocol, spi: Spi) -> bool {
    let is_it = |quick_mode: &QuickMode| {
        quick_mode.awaited().is_some_and(|prepared| prepared.is_named_by_peer(protocol, spi))
    };
    let named = sa.quick_modes.iter().find(|(_, quick_mode)| is_it(quick_mode));
    let Some(quick_mode) = named.map(|(id, _)| *id).and_then(|id| sa.quick_modes.remove(&id)) else {
        return false;
    };
    quick_mode.abandon(cx);
    sa.pass_on(cx);
    true
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
