//! The fourth message of quick mode, which a peer asks us to wait for by the commit bit (RFC 2408 §3.1).
//!
//! ```text
//!   Initiator                       Responder, who set the bit in message 2
//!   HDR*, HASH(3)            -->
//!                            <--    HDR*, HASH(1), N(CONNECTED)     under quick mode's message id
//!   our packets go through
//!
//!   Initiator, who set the bit      Responder
//!   HDR*, HASH(3)            -->
//!   HDR*, HASH(1), N(CONNECTED)  -->
//!                                   our packets go through
//! ```
//!
//! Whoever did not set the bit waits for the one who did. We never set it: our inbound SAs are in place before the peer
//! can know of them. While we wait, the peer's packets are opened, and what is being replaced carries ours.
//!
//! RFC 2408 makes an informational exchange of the message; others send it as quick mode's own, with the IV that follows
//! message 3. Either is taken.
//!
//! No hash covers the bit, so anybody on the way can set it. That costs no more than a wait: packets of the peer through
//! the new SAs end it too, and so does the clock. An initiator repeats message 3 meanwhile, which asks for the fourth.

use std::time::Instant;

use wire::isakmp::Flags;
use wire::registry::v1::NotifyType;
use wire::v1::Datagram;

use super::{Begun, Finished, NAME, Purpose, QuickMode, install_awaited, release};
use crate::child::Prepared;
use crate::context::Context;
use crate::error::Failure;
use crate::io::{ChildSaId, Path, Ticket, TimeoutReason};
use crate::limits;
use crate::retransmission::Repeating;
use crate::status::ChildState;
use crate::v1::channel::{Iv, trace_received};
use crate::v1::contents::Contents;
use crate::v1::ike_sa::IkeSa;
use crate::v1::repeated::{Repeated, Seen};

/// Three messages went their way, and the peer wants us to wait for the fourth.
pub(crate) struct Committing {
    pub(super) prepared: Prepared,
    part: Part,
    /// What follows message 3.
    iv: Iv,
    /// When it has been waited long enough.
    until: Instant,
}

/// What we did in the quick mode.
pub(super) enum Part {
    /// We sent messages 1 and 3.
    Began {
        /// The child's name.
        child: String,
        purpose: Purpose,
        /// The Child SA that it replaces, as it was when message 2 came: what takes that one's place meanwhile is the peer's
        /// to delete.
        replaced: Option<ChildSaId>,
        tickets: Vec<Ticket>,
        /// Message 2, and our message 3.
        last: Repeated,
        repeating: Box<Repeating>,
    },
    /// We sent message 2.
    Answered {
        /// Message 3.
        third: Seen,
    },
}

/// Tells whether the sender of a message asks us to wait.
pub(super) fn is_wanted(datagram: &Datagram<'_>) -> bool {
    datagram.header.flags.contains(Flags::V1_COMMIT)
}

impl Committing {
    pub(super) fn new(cx: &Context, prepared: Prepared, part: Part, iv: Iv) -> Box<Committing> {
        Box::new(Committing { prepared, part, iv, until: cx.now + limits::COMMIT_WAIT })
    }

    /// Gives who waits for it, if it makes another Child SA of this name.
    pub(super) fn tickets_of(&mut self, name: &str) -> Option<&mut Vec<Ticket>> {
        match &mut self.part {
            Part::Began { child, tickets, .. } if child == name => Some(tickets),
            Part::Began { .. } | Part::Answered { .. } => None,
        }
    }

    /// Repeats our message 3 if that is due; tells whether it has been waited long enough.
    pub(crate) fn is_over(&mut self, cx: &mut Context, path: Path) -> bool {
        let is_given_up = match &mut self.part {
            Part::Began { repeating, .. } => cx.repeat(path, repeating),
            Part::Answered { .. } => false,
        };
        is_given_up || cx.now >= self.until
    }

    pub(super) fn deadline(&self) -> (Instant, TimeoutReason) {
        let until = (self.until, TimeoutReason::Linger);
        match &self.part {
            Part::Began { repeating, .. } => until.min((repeating.deadline(), TimeoutReason::Retransmission)),
            Part::Answered { .. } => until,
        }
    }

    /// Gives up: the ISAKMP SA ends, or the peer does not want it any more.
    pub(super) fn abandon(self, cx: &mut Context) {
        if let Part::Began { tickets, .. } = &self.part {
            cx.finish(tickets, &Err(Failure::Terminated));
        }
        // The peer has message 3, and may have sent through it before it did not want it any more.
        self.prepared.release(cx);
        self.prepared.inbound_sas().for_each(|sa| cx.linger(sa));
    }
}

/// Tells whether a quick mode of this message id awaits its fourth message.
pub(crate) fn awaits_fourth(sa: &IkeSa, message_id: u32) -> bool {
    matches!(sa.quick_modes.get(&message_id), Some(QuickMode::Committing(_)))
}

/// HDR*, HASH(3) -->   to a responder that wants us to wait
pub(super) fn wait(
    sa: &mut IkeSa,
    cx: &mut Context,
    begun: Begun,
    prepared: Prepared,
    (message, iv): (Vec<Vec<u8>>, Iv),
    (message_id, second): (u32, &[u8]),
) {
    prepared.install_inbound(cx);
    prepared.reserve(cx, sa.channel.our_spi());
    cx.transmit(sa.channel.path, &message);
    if let Purpose::Replace(id) = &begun.purpose
        && let Some(old) = sa.children.get_mut(id)
        && old.state == ChildState::Installed
    {
        old.state = ChildState::Rekeying;
    }
    let policy = prepared.policy();
    let held = sa.children.values().find(|child| child.policy == policy && child.is_in_use());
    let replaced = held.map(|child| child.id);
    let Begun { purpose, tickets, offer, .. } = begun;
    let part = Part::Began {
        child: offer.config.name.clone(),
        purpose,
        replaced,
        tickets,
        last: Repeated::new(second, message.clone()),
        repeating: Box::new(cx.begin_repeating(message)),
    };
    let committing = Committing::new(cx, prepared, part, iv);
    sa.quick_modes.insert(message_id, QuickMode::Committing(committing));
}

/// <-- HDR*, HASH(1), N(CONNECTED)
pub(super) fn handle(
    sa: &mut IkeSa,
    cx: &mut Context,
    path: Path,
    committing: Box<Committing>,
    datagram: &Datagram<'_>,
    ciphertext: &[u8],
) {
    let message_id = datagram.header.message_id;
    let is_repeated = match &committing.part {
        Part::Began { last, .. } => last.repeat(cx, path, ciphertext),
        Part::Answered { third } => *third == Seen::new(ciphertext),
    };
    if is_repeated {
        sa.quick_modes.insert(message_id, QuickMode::Committing(committing));
        return;
    }
    let ivs = [committing.iv.clone(), sa.channel.phase_2_iv(message_id)];
    let opened: Vec<_> = ivs.iter().filter_map(|iv| sa.channel.open(iv, ciphertext)).collect();
    let chains = opened.iter().filter_map(|opened| opened.payloads(datagram.header.next_payload).ok());
    let connected = chains.into_iter().find(|chain| {
        let contents = Contents::new(NAME, chain.clone());
        sa.check_hash(&contents, message_id, &[]).is_ok()
            && contents.notifications().any(|said| said.notify_type == NotifyType::CONNECTED)
    });
    let Some(chain) = connected else {
        cx.note_forged();
        sa.quick_modes.insert(message_id, QuickMode::Committing(committing));
        return;
    };
    trace_received(cx, path, datagram, &chain);
    sa.heard_from_peer(cx, path);
    sa.count(cx, datagram.bytes.len());
    conclude(sa, cx, message_id, *committing);
}

/// Both ends have their SAs in place, as far as we can know: our packets go through.
pub(crate) fn conclude(sa: &mut IkeSa, cx: &mut Context, message_id: u32, committing: Committing) {
    let Committing { prepared, part, .. } = committing;
    let inbound = prepared.inbound();
    let until = cx.now + limits::QUICK_MODE_LINGER;
    let (begun, tickets) = match part {
        Part::Began { purpose, replaced, tickets, last, .. } => {
            release(sa, &purpose);
            if let Some(old) = replaced.filter(|old| sa.children.contains_key(old)) {
                sa.farewells.insert(old, cx.now + limits::CONFIRMATION_WAIT);
            }
            (Some(Finished { last, inbound }), tickets)
        }
        Part::Answered { .. } => (None, Vec::new()),
    };
    install_awaited(sa, cx, prepared);
    sa.quick_modes.insert(message_id, QuickMode::Done { begun, until });
    cx.finish(&tickets, &Ok(()));
    sa.pass_on(cx);
}
