//! Informational exchanges: single messages that nobody answers (RFC 2409 §5.7, RFC 2408 §4.8).
//!
//! ```text
//!   HDR*, HASH(1), D(ESP, our SPIs)     -->    takes the Child SA away
//!   HDR*, HASH(1), D(ISAKMP, cookies)   -->    takes the ISAKMP SA and its Child SAs away
//!   HDR*, HASH(1), N                    -->    an error of a quick mode, or a status
//! ```
//!
//! HASH(1) proves that the peer sent it; without that it changes nothing. An end names in a delete the SA towards
//! itself.

use std::sync::Arc;

use sa::{Protocol, Spi};
use wire::registry::ExchangeType;
use wire::registry::v1::{NotifyType, ProtocolId};
use wire::v1::{DOI_IPSEC, Delete, Notification, Payload};

use super::channel::Channel;
use super::contents::Contents;
use super::deletion::{self, Pair};
use super::expiry::Expiry;
use super::ike_sa::IkeSa;
use super::quick_mode::{self, Purpose};
use crate::Unique;
use crate::child::ChildSa;
use crate::context::{ChildRequest, Context, Intent};
use crate::error::{Error, Failure, RefusalV1};
use crate::event::DownReason;
use crate::io::ChildSaId;
use crate::limits;

pub(crate) const NAME: &str = "informational";

// --- Sender --------------------------------------------------------------------------------------------------------

/// HDR*, HASH(1), N or D -->
pub(crate) fn send(sa: &mut IkeSa, cx: &mut Context, payloads: Vec<Payload>) -> Option<Vec<Vec<u8>>> {
    let message_id = sa.channel.next_message_id(cx);
    let iv = sa.channel.phase_2_iv(message_id);
    match sa.seal(cx, ExchangeType::V1_INFORMATIONAL, message_id, &iv, &[], payloads) {
        Ok((message, _)) => {
            cx.transmit(sa.channel.path, &message);
            Some(message)
        }
        Err(fault) => {
            sa.report(cx, fault);
            None
        }
    }
}

/// HDR*, HASH(1), D(ESP, our SPIs) -->
pub(crate) fn delete_children(sa: &mut IkeSa, cx: &mut Context, ids: &[ChildSaId]) {
    let children = ids.iter().filter_map(|id| sa.children.get(id));
    let pairs: Vec<Pair> = children.flat_map(ChildSa::pairs).collect();
    deletion::say(sa, cx, &pairs);
}

/// HDR*, HASH(1), [N(CONNECTED),] [D(ESP, our SPIs),] D(ISAKMP, cookies) -->
pub(crate) fn farewell(
    channel: &mut Channel,
    cx: &mut Context,
    mut payloads: Vec<Payload>,
) -> Result<Vec<Vec<u8>>, Error> {
    let spis = channel.spis;
    let spis = [spis.initiator.to_octets(), spis.responder.to_octets()].concat();
    let delete = Delete { doi: DOI_IPSEC, protocol: ProtocolId::ISAKMP, spi_size: 16, spis };
    let message_id = channel.next_message_id(cx);
    let iv = channel.phase_2_iv(message_id);
    payloads.push(Payload::Delete(delete));
    let exchange_type = ExchangeType::V1_INFORMATIONAL;
    let (message, _) = channel.seal_hashed(cx, exchange_type, message_id, &iv, &[], payloads)?;
    cx.transmit(channel.path, &message);
    Ok(message)
}

/// What a refusal is about: the protocol and the SPI of a quick mode's first proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) protocol: ProtocolId,
    pub(crate) spi: Spi,
}

/// HDR*, HASH(1), N(error) -->   about the peer's quick mode of this subject, if it has one
pub(crate) fn refuse(
    sa: &mut IkeSa,
    cx: &mut Context,
    notify_type: NotifyType,
    subject: Option<Subject>,
) -> Option<Vec<Vec<u8>>> {
    let notification = Notification {
        doi: DOI_IPSEC,
        protocol: subject.map_or(ProtocolId::ISAKMP, |subject| subject.protocol),
        spi: subject.map_or(Vec::new(), |subject| subject.spi.0.to_be_bytes().to_vec()),
        notify_type,
        data: Vec::new(),
    };
    send(sa, cx, vec![Payload::Notification(notification)])
}

// --- Receiver ------------------------------------------------------------------------------------------------------

/// Does what an authentic message says.
pub(crate) fn respond(sa: &mut IkeSa, cx: &mut Context, message_id: u32, contents: &Contents<'_>) {
    for notification in contents.notifications() {
        respond_notification(sa, cx, notification);
    }
    let gone = respond_deletes(sa, cx, contents);
    if contents.deletes().any(|delete| delete.protocol == ProtocolId::ISAKMP) {
        sa.deletions.last_of_all = message_id;
        sa.end_deleted(cx);
    } else {
        deletion::answer(sa, cx, message_id, &gone);
    }
}

/// An authentic message comes once more, or comes back to us. It is no sign of life, but the peer may have missed our
/// answer to its question.
pub(crate) fn respond_again(sa: &mut IkeSa, cx: &mut Context, message_id: u32, contents: &Contents<'_>) {
    if sa.abilities.answered_deletes && !deletion::answer_again(sa, cx, message_id) {
        // When it came first, what it names may not have been here yet. An SA's name comes once, so an old delete does no harm.
        let gone = respond_deletes(sa, cx, contents);
        deletion::answer(sa, cx, message_id, &gone);
    }
    for notification in contents.notifications() {
        if notification.notify_type == NotifyType::R_U_THERE {
            sa.repeat_detection(cx, notification);
        }
    }
}

fn respond_notification(sa: &mut IkeSa, cx: &mut Context, notification: &Notification) {
    match notification.notify_type {
        NotifyType::R_U_THERE => sa.answer_detection(cx, notification),
        NotifyType::R_U_THERE_ACK => sa.finish_detection(notification),
        NotifyType::INITIAL_CONTACT if sa.connection.unique != Unique::Never => {
            // Only those that were up when this one came up: the message may be an old one.
            cx.intents.push_back(Intent::EndOthers {
                survivor: sa.channel.our_spi(),
                local: sa.peer.local().clone(),
                remote: sa.peer.remote().clone(),
                up_at: sa.established_at,
            });
        }
        NotifyType::RESPONDER_LIFETIME => obey_lifetime(sa, notification),
        NotifyType::INVALID_SPI => obey_invalid_spi(sa, cx, notification),
        error if error.is_error() => {
            let refusal = RefusalV1 { exchange: "quick mode", notify: error, asked: String::new() };
            quick_mode::refused(sa, cx, spi_of(notification), refusal);
        }
        // What it confirms is in use already, if no quick mode waits for it.
        NotifyType::CONNECTED => {
            if let Some(spi) = spi_of(notification) {
                quick_mode::confirm_by_peer(sa, cx, spi);
            }
        }
        _ => {}
    }
}

/// The responder of an exchange keeps its SA for less than it was offered (RFC 2407 §4.6.3.1).
fn obey_lifetime(sa: &mut IkeSa, notification: &Notification) {
    let Some(lifetime) = Expiry::of_responder(notification) else { return };
    match (notification.protocol, spi_of(notification)) {
        (ProtocolId::ISAKMP, _) => sa.limit(lifetime),
        (ProtocolId::ESP, Some(spi)) => sa.limit_child(Protocol::Esp, spi, lifetime),
        (ProtocolId::AH, Some(spi)) => sa.limit_child(Protocol::Ah, spi, lifetime),
        _ => {}
    }
}

/// The peer got packets of an SA that it does not have: it has lost a Child SA of ours, which is made anew.
fn obey_invalid_spi(sa: &mut IkeSa, cx: &mut Context, notification: &Notification) {
    let in_data = || <[u8; 4]>::try_from(notification.data.as_slice()).ok();
    let spi = spi_of(notification).or_else(|| in_data().map(|octets| Spi(u32::from_be_bytes(octets))));
    let named = spi.and_then(|spi| {
        [Protocol::Esp, Protocol::Ah].into_iter().find_map(|protocol| sa.child_named_by_peer(protocol, spi))
    });
    // One that was just made or replaced may not be there yet, or be gone there already.
    let lost = named
        .and_then(|id| sa.children.get(&id))
        .filter(|child| child.is_in_use() && cx.now >= child.installed_at + limits::CONFIRMATION_WAIT);
    let Some((id, config)) = lost.map(|child| (child.id, Arc::clone(&child.config))) else { return };
    delete_children(sa, cx, &[id]);
    sa.drop_child(cx, id, DownReason::DeletedByPeer);
    let request = ChildRequest { config, flow: None };
    quick_mode::initiate(sa, cx, Purpose::New(request), Vec::new());
}

/// Takes away the Child SAs that a message deletes; gives them.
fn respond_deletes(sa: &mut IkeSa, cx: &mut Context, contents: &Contents<'_>) -> Vec<Pair> {
    let mut gone = Vec::new();
    for delete in contents.deletes() {
        match delete.protocol {
            ProtocolId::ESP => gone.extend(respond_delete(sa, cx, Protocol::Esp, delete)),
            ProtocolId::AH => gone.extend(respond_delete(sa, cx, Protocol::Ah, delete)),
            _ => {}
        }
    }
    gone
}

/// HDR*, HASH(1), D(ESP, its SPIs) -->   gives what went
fn respond_delete(sa: &mut IkeSa, cx: &mut Context, protocol: Protocol, delete: &Delete) -> Vec<Pair> {
    let (mut gone, mut elsewhere) = (Vec::new(), Vec::new());
    for spi in delete.sas() {
        match sa.lose_named(cx, protocol, spi) {
            Some(pairs) => gone.extend(pairs),
            None => elsewhere.push(spi),
        }
    }
    if !elsewhere.is_empty() {
        // A Child SA may be known under another ISAKMP SA with the same peer.
        cx.intents.push_back(Intent::DeleteElsewhere {
            not_here: sa.channel.our_spi(),
            local: sa.peer.local().clone(),
            remote: sa.peer.remote().clone(),
            protocol,
            spis: elsewhere,
        });
    }
    gone
}

fn spi_of(notification: &Notification) -> Option<Spi> {
    <[u8; 4]>::try_from(notification.spi.as_slice()).ok().map(|octets| Spi(u32::from_be_bytes(octets)))
}

/// Reports a fault of the peer's quick mode, and tells the peer; gives what it was told.
pub(crate) fn refuse_quick_mode(
    sa: &mut IkeSa,
    cx: &mut Context,
    fault: Error,
    subject: Option<Subject>,
) -> Option<Vec<Vec<u8>>> {
    let refusal = fault.to_v1_notify().and_then(|notify_type| refuse(sa, cx, notify_type, subject));
    sa.report(cx, Failure::TurnedAway { phase: "quick mode", fault });
    refusal
}
