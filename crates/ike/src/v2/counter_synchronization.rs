//! Counters of an IKE SA after its cluster has failed over (RFC 6311): the member that takes over and the peer agree on new
//! message ids, and both skip sequence numbers of ESP and AH.
//!
//! ```text
//!   IKE_AUTH
//!   HDR, SK { IDi, …, N(IKEV2_MESSAGE_ID_SYNC_SUPPORTED), N(IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED) }   -->
//!                   <--   HDR, SK { IDr, …, N(IKEV2_MESSAGE_ID_SYNC_SUPPORTED), N(IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED) }
//!
//!   INFORMATIONAL with message id 0, out of the order of all others
//!   Member                                                                              Peer
//!   HDR, SK { N(IKEV2_MESSAGE_ID_SYNC)(nonce, M1, P1), [N(IPSEC_REPLAY_COUNTER_SYNC)(by)] }   -->
//!                                                 <--   HDR, SK { N(IKEV2_MESSAGE_ID_SYNC)(nonce, P2, M2) }
//!   from now on the member's next request has message id M2, the peer's P2
//!
//!   The sender's own next message id comes first, then the one that it expects of the other (§6.3).
//! ```
//!
//! Message id 0 is that of many other messages, and no window tells a repetition from a replay there. What guards it instead
//! (§5.1, §11): the peer takes a request only if M1 is higher than every message id that the member has used or has named in
//! an earlier request, and the member takes one answer only, which has the nonce of its last request. So a request is never
//! repeated as it was: each further one has a higher M1.
//!
//! What either end was waiting for then is not answered any more (§9), and is begun again under the new message ids.
//!
//! A member's state comes from the member before it, by ways that are not known here: it has an IKE SA, and may have missed
//! the last that happened in it.

use std::time::Instant;

use sa::{Esn, SaOp};
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{Datagram, Notify, Payload};

use super::channel::Kind;
use super::contents::Contents;
use super::ike_sa::{IkeSa, Life, Task};
use super::window::{OurWindow, TheirWindow};
use crate::context::Context;
use crate::error::{Error, Failure};
use crate::event::DownReason;
use crate::io::{MissedPackets, Path, Ticket};
use crate::{Connection, CounterSynchronization, limits};

/// What an IKE SA knows of the synchronization of its counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    abilities: Abilities,
    /// The highest M1 that the peer has named.
    named_by_peer: Option<u32>,
    /// Our own wish, until the peer has answered it.
    asked: Option<Asked>,
}

/// What both ends know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Abilities {
    message_ids: bool,
    replay_counters: bool,
}

impl Counters {
    /// Gives what a replacement of the IKE SA has of it: both count from 0 again.
    pub(crate) fn inherited(&self) -> Counters {
        Counters { abilities: self.abilities, ..Counters::default() }
    }

    /// Tells whether we wait for the peer to agree on new message ids: nothing else is asked meanwhile.
    pub(crate) fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }

    /// Tells when [`go_on`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.again_at)
    }

    /// Gives up a wish of our own.
    pub(crate) fn abandon(&mut self) -> Vec<Ticket> {
        self.asked.take().map(|asked| asked.tickets).unwrap_or_default()
    }
}

// --- IKE_AUTH ------------------------------------------------------------------------------------------------------

/// Says what we know of it, where the connection lets us.
pub(crate) fn support(connection: &Connection) -> Vec<Payload> {
    match connection.counter_synchronization {
        CounterSynchronization::No => Vec::new(),
        CounterSynchronization::Yes => {
            SUPPORTED.iter().map(|notify_type| Payload::Notify(Notify::new(*notify_type, []))).collect()
        }
    }
}

const SUPPORTED: [NotifyType; 2] =
    [NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED, NotifyType::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED];

/// Reads what of it the peer knows, too (§5: only what both have asserted can be used).
pub(crate) fn agree(connection: &Connection, contents: &Contents) -> Counters {
    let says = |notify_type| contents.notify(notify_type).is_some();
    let [message_ids, replay_counters] = SUPPORTED.map(says);
    let abilities = match connection.counter_synchronization {
        CounterSynchronization::No => Abilities::default(),
        CounterSynchronization::Yes => Abilities { message_ids, replay_counters },
    };
    Counters { abilities, ..Counters::default() }
}

/// Answers what the initiator knows of it (§5: the responder asserts nothing else).
pub(crate) fn answer(counters: &Counters) -> Vec<Payload> {
    let Abilities { message_ids, replay_counters } = counters.abilities;
    let known = SUPPORTED.into_iter().zip([message_ids, replay_counters]);
    known
        .filter(|(_, is_known)| *is_known)
        .map(|(known, _)| Payload::Notify(Notify::new(known, [])))
        .collect()
}

// --- The member that takes over --------------------------------------------------------------------------------------

/// Our wish, as the peer was told it last.
#[derive(Debug)]
struct Asked {
    tickets: Vec<Ticket>,
    nonce: [u8; 4],
    /// M1: our next message id.
    send: u32,
    /// P1: the peer's.
    receive: u32,
    /// How many sequence numbers the peer is to skip.
    skip: u64,
    /// How often it was asked.
    tries: u32,
    again_at: Instant,
}

/// Agrees with the peer on new message ids, and skips what may have been used of the sequence numbers of the Child SAs.
pub(crate) fn begin(sa: &mut IkeSa, cx: &mut Context, missed: MissedPackets, ticket: Ticket) {
    if !sa.counters.abilities.message_ids {
        let sentence =
            format!("the peer {} does not synchronize counters with clusters (RFC 6311)", sa.peer.remote());
        return cx.finish(&[ticket], &Err(Error::Unsuitable(sentence).into()));
    }
    // §9: nobody answers what was asked before, so it is neither repeated nor a reason to give the peer up.
    sa.begin_again(cx);
    sa.ours = OurWindow::starting_at(sa.ours.peek_next_id());
    let mut tickets = sa.counters.abandon();
    tickets.push(ticket);
    skip_outbound(sa, cx, missed.outbound);
    // §5.2: after a great leap a rekeying follows, so that no counter comes to its end.
    if missed.outbound.max(missed.inbound) >= limits::LEAP_WORTH_A_REKEYING {
        let few = sa.children.values().filter(|child| child.agreed.suite.esn == Esn::No && child.is_in_use());
        for id in few.map(|child| child.id).collect::<Vec<_>>() {
            sa.queue(cx, Task::RekeyChild(id, Vec::new()));
        }
    }
    // §5.1: larger than any value known to have been used, by the size of our window.
    let send = sa.ours.peek_next_id().saturating_add(1);
    let skip = if sa.counters.abilities.replay_counters { missed.inbound } else { 0 };
    ask(sa, cx, Asked { tickets, nonce: [0; 4], send, receive: 0, skip, tries: 0, again_at: cx.now });
}

// HDR, SK { N(IKEV2_MESSAGE_ID_SYNC)(nonce, M1, P1), [N(IPSEC_REPLAY_COUNTER_SYNC)(by)] } -->
fn ask(sa: &mut IkeSa, cx: &mut Context, mut asked: Asked) {
    cx.random.fill(&mut asked.nonce);
    asked.receive = sa.theirs.expected_id();
    let ids = MessageIds { nonce: asked.nonce, send: asked.send, receive: asked.receive };
    let mut payloads = vec![ids.to_payload()];
    if asked.skip > 0 {
        payloads.push(skip_notify(sa, asked.skip));
    }
    let policy = cx.settings.retransmission;
    let jitter = policy.draw_jitter(&mut *cx.random);
    asked.again_at = cx.now + jitter.apply(policy.delay(asked.tries));
    asked.tries += 1;
    match sa.channel.seal_synchronization(cx, Kind::Request, &payloads) {
        Ok(datagrams) => {
            cx.transmit(sa.channel.path, &datagrams);
            sa.last_sent = cx.now;
            sa.counters.asked = Some(asked);
        }
        Err(fault) => cx.finish(&asked.tickets, &Err(fault.into())),
    }
}

/// Asks again, if it is time to, and gives the peer up in the end.
pub(crate) fn go_on(sa: &mut IkeSa, cx: &mut Context) {
    let Some(mut asked) = sa.counters.asked.take_if(|asked| asked.again_at <= cx.now) else { return };
    if asked.tries > cx.settings.retransmission.tries {
        let failure = Failure::NoAnswer {
            peer: sa.channel.path.remote,
            exchange: NAME,
            tries: asked.tries,
            seconds: (cx.now - sa.last_heard).as_secs(),
        };
        cx.fail(&asked.tickets, Some(&sa.connection.name), Some(sa.channel.path), failure);
        return sa.end_lost(cx, DownReason::PeerDead);
    }
    // The peer drops what is not higher than all that it has seen (§5.1), and we may know less of that than we think.
    asked.send = asked.send.saturating_add(1 << asked.tries.min(LONGEST_STEP));
    ask(sa, cx, asked);
}

/// By how much M1 rises from try to try in the end, as a power of two: whoever has missed more has missed everything.
const LONGEST_STEP: u32 = 10;

const NAME: &str = "SA Counter Synchronization";

// <-- HDR, SK { N(IKEV2_MESSAGE_ID_SYNC)(nonce, P2, M2) }
/// Takes the answer to our wish; tells whether a datagram is one.
pub(crate) fn finish(sa: &mut IkeSa, cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> bool {
    let Some(asked) = &sa.counters.asked else { return false };
    let Some((MessageIds { nonce, send, receive }, None)) = Message::read(sa, datagram) else { return false };
    // §5.1: the nonce is that of our last request, and both message ids are at least what we said.
    if nonce != asked.nonce || receive < asked.send || send < asked.receive {
        return false;
    }
    let tickets = sa.counters.abandon();
    renumber(sa, receive, send);
    sa.heard(cx, path);
    cx.finish(&tickets, &Ok(()));
    true
}

// --- Its peer ------------------------------------------------------------------------------------------------------

/// Answers a member that has taken over; tells whether a datagram is the request of one. What contradicts the rules of §5.1
/// gets no answer.
// HDR, SK { N(IKEV2_MESSAGE_ID_SYNC)(nonce, M1, P1), … } -->
//                                                       <-- HDR, SK { N(IKEV2_MESSAGE_ID_SYNC)(nonce, P2, M2) }
pub(crate) fn respond(sa: &mut IkeSa, cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> bool {
    if !sa.counters.abilities.message_ids || sa.life != Life::Current {
        return false;
    }
    let (ids, skip) = match Message::read(sa, datagram) {
        Some(message) => message,
        None => return Message::is_one(sa, datagram),
    };
    let is_old = ids.send < sa.theirs.expected_id()
        || sa.counters.named_by_peer.is_some_and(|named| ids.send <= named);
    if is_old {
        return true;
    }
    sa.counters.named_by_peer = Some(ids.send);
    sa.heard(cx, path);
    // §9: nobody waits for what was asked before.
    sa.begin_again(cx);
    renumber(sa, ids.receive, ids.send);
    if let Some(by) = skip.filter(|_| sa.counters.abilities.replay_counters) {
        skip_outbound(sa, cx, by);
    }
    let answer =
        MessageIds { nonce: ids.nonce, send: sa.ours.peek_next_id(), receive: sa.theirs.expected_id() };
    let payloads = [answer.to_payload()];
    match sa.channel.seal_synchronization(cx, Kind::Response, &payloads) {
        Ok(datagrams) => {
            cx.transmit(path, &datagrams);
            sa.last_sent = cx.now;
        }
        Err(fault) => sa.report(cx, fault),
    }
    true
}

/// Skips sequence numbers, as a member asks that has its message ids right (§5, the second case).
pub(crate) fn skip_as_asked(sa: &IkeSa, cx: &mut Context, request: &Contents) {
    if let Some(by) = request.notify(NotifyType::IPSEC_REPLAY_COUNTER_SYNC).and_then(skip_of)
        && sa.counters.abilities.replay_counters
    {
        skip_outbound(sa, cx, by);
    }
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// Goes on with higher message ids: ours, then the peer's. Neither ever falls.
fn renumber(sa: &mut IkeSa, ours: u32, theirs: u32) {
    sa.ours = OurWindow::starting_at(ours.max(sa.ours.peek_next_id()));
    sa.theirs = TheirWindow::expecting(theirs.max(sa.theirs.expected_id()));
    sa.forget_fragments();
}

/// Skips sequence numbers of all that we send.
fn skip_outbound(sa: &IkeSa, cx: &mut Context, by: u64) {
    if by == 0 {
        return;
    }
    for child in sa.children.values() {
        cx.order(SaOp::SkipSequence { sa: child.outbound, by });
    }
}

/// IKEV2_MESSAGE_ID_SYNC, as its sender sees it (§6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MessageIds {
    nonce: [u8; 4],
    /// EXPECTED_SEND_REQ_MESSAGE_ID.
    send: u32,
    /// EXPECTED_RECV_REQ_MESSAGE_ID.
    receive: u32,
}

impl MessageIds {
    fn to_payload(self) -> Payload {
        let data = [self.nonce, self.send.to_be_bytes(), self.receive.to_be_bytes()].concat();
        Payload::Notify(Notify::new(NotifyType::IKEV2_MESSAGE_ID_SYNC, data))
    }

    fn of(notify: &Notify) -> Option<MessageIds> {
        let octets = <[u8; 12]>::try_from(notify.data.as_slice()).ok()?;
        let [n0, n1, n2, n3, s0, s1, s2, s3, r0, r1, r2, r3] = octets;
        Some(MessageIds {
            nonce: [n0, n1, n2, n3],
            send: u32::from_be_bytes([s0, s1, s2, s3]),
            receive: u32::from_be_bytes([r0, r1, r2, r3]),
        })
    }
}

/// Reading what comes with message id 0.
struct Message;

impl Message {
    /// Reads an authentic message that synchronizes counters and says nothing else (§5.1).
    fn read(sa: &IkeSa, datagram: &Datagram<'_>) -> Option<(MessageIds, Option<u64>)> {
        let payloads = Message::payloads(sa, datagram)?;
        let mut notifies = payloads.iter().map(|payload| match payload {
            Payload::Notify(notify) => Some(notify),
            _ => None,
        });
        let (first, second, third) = (notifies.next()??, notifies.next(), notifies.next());
        let (ids, skip) = match (second, third) {
            (None, None) => (first, None),
            (Some(second), None) => match second? {
                second if second.notify_type == NotifyType::IKEV2_MESSAGE_ID_SYNC => (second, Some(first)),
                second => (first, Some(second)),
            },
            (_, Some(_)) => return None,
        };
        let is_it = ids.notify_type == NotifyType::IKEV2_MESSAGE_ID_SYNC
            && skip.is_none_or(|skip| skip.notify_type == NotifyType::IPSEC_REPLAY_COUNTER_SYNC);
        let skip = skip.map(skip_of);
        let ids = MessageIds::of(ids).filter(|_| is_it)?;
        match skip {
            None => Some((ids, None)),
            Some(by) => Some((ids, Some(by?))),
        }
    }

    /// Tells whether an authentic message tries to synchronize counters, however it does so.
    fn is_one(sa: &IkeSa, datagram: &Datagram<'_>) -> bool {
        let is_sync = |payload: &Payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == NotifyType::IKEV2_MESSAGE_ID_SYNC);
        Message::payloads(sa, datagram).is_some_and(|payloads| payloads.iter().any(is_sync))
    }

    fn payloads(sa: &IkeSa, datagram: &Datagram<'_>) -> Option<Vec<Payload>> {
        let header = &datagram.header;
        if header.exchange_type != ExchangeType::INFORMATIONAL || header.message_id != 0 {
            return None;
        }
        sa.channel.read_whole(datagram)
    }
}

/// IPSEC_REPLAY_COUNTER_SYNC (§6.4): eight octets where sequence numbers have as many.
fn skip_notify(sa: &IkeSa, by: u64) -> Payload {
    let is_extended = sa.children.values().any(|child| child.agreed.suite.esn == Esn::Yes);
    let short = u32::try_from(by).unwrap_or(u32::MAX);
    let data = if is_extended { by.to_be_bytes().to_vec() } else { short.to_be_bytes().to_vec() };
    Payload::Notify(Notify::new(NotifyType::IPSEC_REPLAY_COUNTER_SYNC, data))
}

fn skip_of(notify: &Notify) -> Option<u64> {
    let octets = notify.data.as_slice();
    let long = <[u8; 8]>::try_from(octets).map(u64::from_be_bytes);
    long.or_else(|_| <[u8; 4]>::try_from(octets).map(|octets| u32::from_be_bytes(octets).into())).ok()
}
