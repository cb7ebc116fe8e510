//! Dead peer detection: whether a silent peer still lives (RFC 3706).
//!
//! ```text
//!   HDR*, HASH(1), N(R-U-THERE, sequence)       -->
//!                                               <--    HDR*, HASH(1), N(R-U-THERE-ACK, the same)
//! ```
//!
//! Each question is an exchange of its own, also the same question once more. A peer that answers none is dead.

use std::time::Instant;

use wire::registry::v1::{NotifyType, ProtocolId};
use wire::v1::{DOI_IPSEC, Notification, Payload};

use super::ike_sa::IkeSa;
use super::informational;
use crate::context::Context;
use crate::exchange::IkeSpis;
use crate::io::TimeoutReason;

/// What we asked the peer, and what it asked us.
#[derive(Debug)]
pub(crate) struct DeadPeerDetection {
    sequence: u32,
    asked: Option<Asked>,
    /// The highest number of the peer's questions: a lower one is an old message that somebody plays again.
    answered: Option<u32>,
}

/// A question of ours that waits for its answer.
#[derive(Debug)]
struct Asked {
    /// How often it was repeated.
    attempt: u32,
    /// When it is repeated, or the peer given up.
    due_at: Instant,
    begun_at: Instant,
}

impl DeadPeerDetection {
    /// Draws the number of the first question.
    pub(crate) fn new(cx: &mut Context) -> DeadPeerDetection {
        let mut octets = [0; 4];
        cx.random.fill(&mut octets);
        // RFC 3706 §6.2: random, with room to count up.
        DeadPeerDetection { sequence: u32::from_be_bytes(octets) >> 1, asked: None, answered: None }
    }

    /// Tells when a question that waits is due once more; `None` if none waits.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.due_at)
    }

    pub(crate) fn reason(&self) -> TimeoutReason {
        if self.asked.is_some() { TimeoutReason::Retransmission } else { TimeoutReason::Liveness }
    }

    /// Names the question that is under way.
    pub(crate) fn name(&self) -> Option<&'static str> {
        self.asked.as_ref().map(|_| "DPD")
    }
}

impl IkeSa {
    /// Asks whether the peer lives, for the first time or once more; or gives it up.
    pub(crate) fn detect(&mut self, cx: &mut Context) {
        let policy = cx.settings.retransmission;
        // A sign of life since then is an answer.
        if self.detection.asked.as_ref().is_some_and(|asked| self.last_heard > asked.begun_at) {
            self.detection.asked = None;
            return;
        }
        let (attempt, begun_at) = match &self.detection.asked {
            None => {
                self.detection.sequence = self.detection.sequence.wrapping_add(1);
                (0, cx.now)
            }
            Some(asked) if asked.attempt >= policy.tries => {
                let failure = cx.no_answer(self.channel.path, "R-U-THERE", asked.begun_at);
                return self.give_up(cx, failure);
            }
            Some(asked) => (asked.attempt + 1, asked.begun_at),
        };
        let due_at = cx.now + policy.delay(attempt);
        self.detection.asked = Some(Asked { attempt, due_at, begun_at });
        let question = notification(self.channel.spis, NotifyType::R_U_THERE, self.detection.sequence);
        informational::send(self, cx, vec![question]);
    }

    /// Asks only to hear something: nothing follows if no answer comes.
    pub(crate) fn ask_once(&mut self, cx: &mut Context) {
        if self.detection.asked.is_none() && self.abilities.dead_peer_detection {
            self.detection.sequence = self.detection.sequence.wrapping_add(1);
            let question = notification(self.channel.spis, NotifyType::R_U_THERE, self.detection.sequence);
            informational::send(self, cx, vec![question]);
        }
    }

    /// Answers the peer's question.
    pub(super) fn answer_detection(&mut self, cx: &mut Context, question: &Notification) {
        let Some(sequence) = sequence_of(question) else { return };
        if self.detection.answered.is_some_and(|highest| sequence < highest) {
            return;
        }
        self.detection.answered = Some(sequence);
        let answer = notification(self.channel.spis, NotifyType::R_U_THERE_ACK, sequence);
        informational::send(self, cx, vec![answer]);
    }

    /// Answers the peer's question once more, if it is its last one.
    pub(super) fn repeat_detection(&mut self, cx: &mut Context, question: &Notification) {
        if self.detection.answered.is_some() && sequence_of(question) == self.detection.answered {
            self.answer_detection(cx, question);
        }
    }

    /// Takes note of the peer's answer.
    pub(super) fn finish_detection(&mut self, answer: &Notification) {
        if sequence_of(answer) == Some(self.detection.sequence) {
            self.detection.asked = None;
        }
    }
}

fn notification(spis: IkeSpis, notify_type: NotifyType, sequence: u32) -> Payload {
    Payload::Notification(Notification {
        doi: DOI_IPSEC,
        protocol: ProtocolId::ISAKMP,
        spi: [spis.initiator.to_octets(), spis.responder.to_octets()].concat(),
        notify_type,
        data: sequence.to_be_bytes().to_vec(),
    })
}

fn sequence_of(notification: &Notification) -> Option<u32> {
    <[u8; 4]>::try_from(notification.data.as_slice()).ok().map(u32::from_be_bytes)
}
