//! INFORMATIONAL: deletes, and the question whether the peer lives (RFC 7296 §1.4, §2.4).
//!
//! ```text
//!   Initiator                              Responder
//!   HDR, SK { D(ESP, our SPIs) }    -->    takes the pair away
//!                                   <--    HDR, SK { D(ESP, its SPIs) }
//!
//!   HDR, SK { D(IKE) }              -->    takes the IKE SA and all its Child SAs away
//!                                   <--    HDR, SK { }
//!
//!   HDR, SK { }                     -->    liveness: any authentic answer will do
//!                                   <--    HDR, SK { }
//! ```
//!
//! An end names in a delete the SA towards itself; the other end's SA of the pair is named in the answer (§1.4.1).
//! When both ends delete the same pair at once, the answers name nothing (§2.25.1).

use std::sync::Arc;

use sa::{Protocol, Spi};
use wire::registry::{ExchangeType, NotifyType, ProtocolId};
use wire::v2::{Delete, Payload};

use super::configuration;
use super::contents::Contents;
use super::ike_sa::{Active, IkeSa, Life, Request, Task};
use super::{
    counter_synchronization, ike_session_resume, mobike, quick_crash_detection, redirect, rekey_child,
    rekey_ike,
};
use crate::child::Confirmation;
use crate::context::Context;
use crate::error::{Error, Failure};
use crate::event::DownReason;
use crate::io::{ChildSaId, Path, Ticket};
use crate::negotiation::{child_protocol, protocol_id};
use crate::status::ChildState;

// --- Initiator -----------------------------------------------------------------------------------------------------

/// HDR, SK { } -->
pub(crate) fn liveness() -> Request {
    Request { exchange_type: ExchangeType::INFORMATIONAL, payloads: Vec::new(), active: Active::Liveness }
}

/// Our delete of a Child SA is under way.
#[derive(Debug)]
pub(crate) struct DeletingChild {
    pub tickets: Vec<Ticket>,
    id: ChildSaId,
    reason: DownReason,
    /// Whether the peer was known to have it when we asked.
    confirmation: Confirmation,
}

impl DeletingChild {
    /// Gives the task that it carries out.
    pub(crate) fn into_task(self) -> Task {
        Task::DeleteChild(self.id, self.reason, self.tickets)
    }
}

/// HDR, SK { D(ESP, our SPI) } -->
pub(crate) fn delete_child(
    sa: &mut IkeSa,
    cx: &mut Context,
    id: ChildSaId,
    reason: DownReason,
    tickets: Vec<Ticket>,
) -> Option<Request> {
    let Some(child) = sa.children.get_mut(&id) else {
        cx.finish(&tickets, &Ok(()));
        return None;
    };
    child.state = ChildState::Deleting;
    let (inbound, confirmation) = (child.inbound, child.confirmation);
    let active = Active::DeleteChild(DeletingChild { tickets, id, reason, confirmation });
    Some(delete(Delete { protocol: protocol_id(inbound.protocol), spis: vec![inbound.spi] }, active))
}

/// HDR, SK { D(ESP, our SPI) } -->   for a pair that is not here
pub(crate) fn delete_unwanted((protocol, spi): (Protocol, Spi)) -> Request {
    delete(Delete { protocol: protocol_id(protocol), spis: vec![spi] }, Active::DeleteUnwanted)
}

/// <-- HDR, SK { D(ESP, its SPI) }   or nothing, if the peer deleted it at the same time
pub(crate) fn finish_child(sa: &mut IkeSa, cx: &mut Context, deleting: DeletingChild, response: &Contents) {
    let DeletingChild { tickets, id, reason, confirmation } = deleting;
    let is_named = response.deletes().any(|delete| delete.protocol != ProtocolId::IKE);
    if let Some(child) = sa.children.get(&id)
        && !is_named
        && child.is_perhaps_coming(confirmation, cx.now)
    {
        return sa.queue_later(cx, Task::DeleteChild(id, reason, tickets));
    }
    sa.drop_child(cx, id, reason);
    cx.finish(&tickets, &Ok(()));
}

/// Our delete of the IKE SA is under way.
#[derive(Debug)]
pub(crate) struct DeletingIke {
    pub tickets: Vec<Ticket>,
    reason: DownReason,
}

impl DeletingIke {
    /// Gives the task that it carries out.
    pub(crate) fn into_task(self) -> Task {
        Task::DeleteIke(self.reason, self.tickets)
    }
}

/// HDR, SK { D(IKE) } -->
pub(crate) fn delete_ike(reason: DownReason, tickets: Vec<Ticket>) -> Request {
    delete(Delete::ike_sa(), Active::DeleteIke(DeletingIke { tickets, reason }))
}

/// <-- HDR, SK { }   or no answer at all: it is over either way.
pub(crate) fn finish_ike(sa: &mut IkeSa, cx: &mut Context, deleting: DeletingIke) {
    match deleting.reason {
        reason @ DownReason::Failed(_) => sa.end_lost(cx, reason),
        reason => sa.end(cx, reason),
    }
    cx.finish(&deleting.tickets, &Ok(()));
}

fn delete(delete: Delete, active: Active) -> Request {
    Request { exchange_type: ExchangeType::INFORMATIONAL, payloads: vec![Payload::Delete(delete)], active }
}

// --- Responder -----------------------------------------------------------------------------------------------------

pub(crate) fn respond(
    sa: &mut IkeSa,
    cx: &mut Context,
    path: Path,
    request: &Contents,
) -> Result<Vec<Payload>, Error> {
    if let Some(refusal) =
        request.refusal("").filter(|refusal| refusal.notify == NotifyType::AUTHENTICATION_FAILED)
    {
        // RFC 7296 §2.21.2: the initiator does not believe in our AUTH payload.
        sa.end(cx, DownReason::Failed(Failure::Exchange(Error::Refused(refusal))));
        return Ok(Vec::new());
    }
    if request.deletes().any(|delete| delete.protocol == ProtocolId::IKE) {
        respond_delete_ike(sa, cx);
        return Ok(Vec::new());
    }
    sa.note_authentication_lifetime(cx, request);
    quick_crash_detection::keep_token(sa, request);
    redirect::respond(sa, cx, request);
    counter_synchronization::skip_as_asked(sa, cx, request);
    let mut answers = mobike::respond(sa, cx, path, request);
    answers.extend(configuration::answer_informational(request)?);
    answers.extend(ike_session_resume::grant(cx, sa, request));
    for delete in request.deletes() {
        let Some(protocol) = child_protocol(delete.protocol) else { continue };
        let named = delete.spis.iter();
        let spis: Vec<Spi> = named.filter_map(|spi| respond_delete_child(sa, cx, protocol, *spi)).collect();
        if !spis.is_empty() {
            answers.push(Payload::Delete(Delete { protocol: delete.protocol, spis }));
        }
    }
    Ok(answers)
}

/// HDR, SK { D(IKE) } -->
///                    <-- HDR, SK { }
fn respond_delete_ike(sa: &mut IkeSa, cx: &mut Context) {
    let deleting = match sa.active.take_if(|active| matches!(active, Active::DeleteIke(_))) {
        Some(Active::DeleteIke(deleting)) => Some(deleting),
        _ => None,
    };
    if let Some(deleting) = deleting {
        // Both ends delete it: ours is forgotten (RFC 7296 §2.25.2).
        return finish_ike(sa, cx, deleting);
    }
    let is_inherited = rekey_ike::yield_to_delete(sa, cx);
    let was_current = sa.life == Life::Current && !is_inherited;
    let configs: Vec<_> = sa.children.values().map(|child| Arc::clone(&child.config)).collect();
    sa.end(cx, DownReason::DeletedByPeer);
    if was_current {
        for config in configs {
            sa.carry_out(cx, config.close_action, &config);
        }
    }
}

/// HDR, SK { D(ESP, its SPI) } -->
///                             <-- HDR, SK { D(ESP, our SPI) }
fn respond_delete_child(sa: &mut IkeSa, cx: &mut Context, protocol: Protocol, spi: Spi) -> Option<Spi> {
    let id = sa.child_named_by_peer(protocol, spi)?;
    rekey_child::yield_to_delete(sa, cx, id);
    let child = &sa.children[&id];
    let (inbound, is_lost, config) = (child.inbound.spi, child.is_in_use(), Arc::clone(&child.config));
    let is_deleting = matches!(&sa.active, Some(Active::DeleteChild(deleting)) if deleting.id == id);
    sa.drop_child(cx, id, DownReason::DeletedByPeer);
    if is_lost {
        sa.carry_out(cx, config.close_action, &config);
    }
    // RFC 7296 §1.4.1: what we are deleting ourselves is not named once more.
    (!is_deleting).then_some(inbound)
}
