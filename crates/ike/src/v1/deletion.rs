//! Deletes that are answered, and which of two SAs stays that came up at once.
//!
//! ```text
//!   HDR*, HASH(1), [N(CONNECTED),] D(ESP, ours) -->   repeated until
//!                                              <--    HDR*, HASH(1), D(ESP, its SPIs)     said again where ours is
//!   HDR*, HASH(1), D(ESP, …), D(ISAKMP)        -->    the same of an ISAKMP SA and all that goes with it
//!                                              <--    HDR*, HASH(1), D(ISAKMP)
//! ```
//!
//! IKEv1 answers no delete (RFC 2409 §5.7), and one that is lost leaves an end that sends to an SA which is gone. But whoever
//! deletes a Child SA takes away its own inbound SA, too, and may say so (RFC 2408 §3.15): that is the answer. A peer that does
//! so tells by a vendor ID (§3.16); to any other a delete is said once, and what a lost one leaves ends with dead peer detection,
//! INVALID-SPI or a lifetime.
//!
//! The end that began a quick mode cannot know whether its message 3 has arrived, and the other end would be without a Child SA
//! if the old one went first. So a delete confirms what was made of late: CONNECTED, by the SPI towards its sender (RFC 2408
//! §3.14.1). And an ISAKMP SA is not deleted before the peer is known to have the one that took its place.
//!
//! Two ends that begin at once may each take another SA for the newer one. Both names of an SA are known to both ends, so the
//! greater decides, once both have had time to learn of both ([`limits::TWIN_LIFE`]): the other is deleted.

use std::collections::VecDeque;
use std::time::Instant;

use sa::{Protocol, SaId, Spi};
use wire::registry::v1::ProtocolId;
use wire::v1::{Delete, Payload};

use super::ike_sa::IkeSa;
use super::{informational, negotiation, quick_mode};
use crate::child::ChildSa;
use crate::context::Context;
use crate::io::{ChildSaId, TimeoutReason};
use crate::limits;
use crate::retransmission::Repeating;

/// An SA towards us and the one towards the peer.
pub(crate) type Pair = (SaId, SaId);

/// What was deleted in one ISAKMP SA, and how the peer took it.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    /// Ours that have no answer yet.
    unanswered: Vec<Unanswered>,
    /// Our answers, by the message ids of the peer's deletes.
    answers: VecDeque<(u32, Vec<Vec<u8>>)>,
    /// The message id of the delete by which the peer ended the ISAKMP SA itself.
    pub(crate) last_of_all: u32,
}

/// A delete of ours.
#[derive(Debug)]
struct Unanswered {
    pairs: Vec<Pair>,
    repeating: Repeating,
}

impl Deletions {
    /// The peer has deleted an SA that we have deleted, too; tells whether we waited for that.
    pub(crate) fn settle(&mut self, protocol: Protocol, spi: Spi) -> bool {
        let is_it = |(_, theirs): &Pair| theirs.protocol == protocol && theirs.spi == spi;
        let is_awaited = self.unanswered.iter().any(|said| said.pairs.iter().any(is_it));
        for said in &mut self.unanswered {
            said.pairs.retain(|pair| !is_it(pair));
        }
        self.unanswered.retain(|said| !said.pairs.is_empty());
        is_awaited
    }

    /// Gives up what has no answer yet, to be said elsewhere.
    pub(crate) fn take_unanswered(&mut self) -> Vec<Pair> {
        std::mem::take(&mut self.unanswered).into_iter().flat_map(|said| said.pairs).collect()
    }

    pub(crate) fn deadlines(&self) -> impl Iterator<Item = (Instant, TimeoutReason)> {
        self.unanswered.iter().map(|said| (said.repeating.deadline(), TimeoutReason::Retransmission))
    }
}

/// Names SAs towards us that are gone, a payload for each protocol.
pub(crate) fn payloads(pairs: &[Pair]) -> impl Iterator<Item = (Protocol, Payload)> {
    [Protocol::Esp, Protocol::Ah].into_iter().filter_map(|protocol| {
        let ours = pairs.iter().map(|(ours, _)| ours).filter(|ours| ours.protocol == protocol);
        let spis: Vec<Spi> = ours.map(|ours| ours.spi).collect();
        let delete = || Delete::of_sas(negotiation::protocol_id(protocol), &spis);
        (!spis.is_empty()).then(|| (protocol, Payload::Delete(delete())))
    })
}

// --- Sender --------------------------------------------------------------------------------------------------------

/// HDR*, HASH(1), [N(CONNECTED),] D(ESP, our SPIs) -->   CONNECTED names what replaces it, where the peer may not have that
pub(crate) fn say(sa: &mut IkeSa, cx: &mut Context, pairs: &[Pair]) {
    for (protocol, payload) in payloads(pairs).collect::<Vec<_>>() {
        let mut message: Vec<Payload> = quick_mode::confirmations(sa, pairs).collect();
        message.push(payload);
        let message = informational::send(sa, cx, message);
        if let Some(message) = message.filter(|_| sa.abilities.answered_deletes) {
            let pairs = pairs.iter().filter(|(ours, _)| ours.protocol == protocol).copied().collect();
            let repeating = cx.begin_repeating(message);
            sa.deletions.unanswered.push(Unanswered { pairs, repeating });
        }
    }
}

/// HDR*, HASH(1), D(ESP, an SPI that we offered) -->   to a peer that may have answered a quick mode that we have given up
pub(crate) fn take_back(sa: &mut IkeSa, cx: &mut Context, offered: &[(ProtocolId, Spi)]) {
    for (protocol, spi) in
        offered.iter().filter(|_| sa.abilities.answered_deletes).copied().collect::<Vec<_>>()
    {
        informational::send(sa, cx, vec![Payload::Delete(Delete::of_sas(protocol, &[spi]))]);
    }
}

/// Repeats what has no answer; a peer that never answers may have known before.
pub(crate) fn keep(sa: &mut IkeSa, cx: &mut Context) {
    let path = sa.channel.path;
    sa.deletions.unanswered.retain_mut(|said| !cx.repeat(path, &mut said.repeating));
}

// --- Receiver ------------------------------------------------------------------------------------------------------

/// <-- HDR*, HASH(1), D(ESP, our SPIs)   to a peer that wants an answer
pub(crate) fn answer(sa: &mut IkeSa, cx: &mut Context, message_id: u32, pairs: &[Pair]) {
    if !sa.abilities.answered_deletes {
        return;
    }
    for (_, payload) in payloads(pairs).collect::<Vec<_>>() {
        let Some(message) = informational::send(sa, cx, vec![payload]) else { continue };
        let answers = &mut sa.deletions.answers;
        answers.push_back((message_id, message));
        if answers.len() > limits::DELETE_ANSWERS_KEPT {
            answers.pop_front();
        }
    }
}

/// The peer's delete comes once more: our answer was lost. Tells whether there was one.
pub(crate) fn answer_again(sa: &IkeSa, cx: &mut Context, message_id: u32) -> bool {
    let is_it = |(answered, _): &&(u32, _)| *answered == message_id;
    let kept = sa.deletions.answers.iter().filter(is_it);
    kept.map(|(_, message)| cx.transmit(sa.channel.path, message)).count() > 0
}

// --- Twins ---------------------------------------------------------------------------------------------------------

impl IkeSa {
    /// A Child SA is here whose twin may be, too: one for the same traffic that came up meanwhile, so that neither knew of the
    /// other. The lesser will go.
    pub(super) fn note_twins(&mut self, cx: &Context, id: ChildSaId) {
        let Some(new) = self.children.get(&id).filter(|_| self.abilities.answered_deletes) else { return };
        let is_twin = |other: &&ChildSa| {
            let both_in_use = other.policy != new.policy && other.is_in_use() && new.is_in_use();
            (both_in_use || other.policy == new.policy && other.id > new.id) && self.are_alike(new, other)
        };
        let losers = self
            .children
            .values()
            .filter(is_twin)
            .map(|other| if name_of(other) < name_of(new) { other.id } else { new.id });
        for loser in losers.collect::<Vec<_>>() {
            self.twins.entry(loser).or_insert(cx.now + limits::TWIN_LIFE);
        }
    }

    /// Deletes a Child SA if a greater twin of it is still here.
    pub(super) fn part_from_twin(&mut self, cx: &mut Context, id: ChildSaId) {
        self.twins.remove(&id);
        let Some(child) = self.children.get(&id) else { return };
        let is_greater = |other: &&ChildSa| self.are_alike(child, other) && name_of(other) > name_of(child);
        if self.children.values().any(|other| is_greater(&other)) {
            self.fall_back(cx, id);
            self.say_farewell(cx, id);
        }
    }

    /// Tells whether another Child SA carries the same traffic.
    pub(super) fn has_like(&self, id: ChildSaId) -> bool {
        let Some(child) = self.children.get(&id) else { return false };
        self.children.values().any(|other| other.is_in_use() && self.are_alike(child, other))
    }

    /// Tells whether two Child SAs are for the same traffic, and the other is not to go anyway.
    fn are_alike(&self, child: &ChildSa, other: &ChildSa) -> bool {
        other.id != child.id
            && other.config.name == child.config.name
            && other.agreed.local == child.agreed.local
            && other.agreed.remote == child.agreed.remote
            && !self.farewells.contains_key(&other.id)
    }
}

/// Names a Child SA as both ends do.
pub(super) fn name_of(child: &ChildSa) -> [Spi; 2] {
    let mut name = [child.inbound.spi, child.outbound.spi];
    name.sort_unstable();
    name.reverse();
    name
}
