//! What an ISAKMP SA asks of a quick mode that is under way.

use std::time::Instant;

use sa::{PolicyId, Spi};
use wire::registry::v1::ProtocolId;

use super::{Purpose, QuickMode};
use crate::child::Prepared;
use crate::context::Context;
use crate::error::Failure;
use crate::io::{Ticket, TimeoutReason};

impl QuickMode {
    /// Names the exchange if it is under way.
    pub(crate) fn name(&self) -> Option<&'static str> {
        match self {
            QuickMode::Begun(_) | QuickMode::Answered(_) | QuickMode::Committing(_) => Some("QUICK_MODE"),
            QuickMode::Refused { .. } | QuickMode::Done { .. } => None,
        }
    }

    pub(crate) fn is_begun_by_us(&self) -> bool {
        matches!(self, QuickMode::Begun(_))
    }

    /// Gives the protocol and the SPI that we offered, if the peer's answer is awaited.
    pub(crate) fn offered(&self) -> Option<(ProtocolId, Spi)> {
        match self {
            QuickMode::Begun(begun) => Some((begun.offer.protocol(), begun.offer.ours.main)),
            QuickMode::Answered(_)
            | QuickMode::Committing(_)
            | QuickMode::Refused { .. }
            | QuickMode::Done { .. } => None,
        }
    }

    /// Gives the Child SA that awaits message 3 or 4.
    pub(super) fn awaited(&self) -> Option<&Prepared> {
        match self {
            QuickMode::Answered(answered) => Some(&answered.prepared),
            QuickMode::Committing(committing) => Some(&committing.prepared),
            QuickMode::Begun(_) | QuickMode::Refused { .. } | QuickMode::Done { .. } => None,
        }
    }

    /// Gives its policy: an older one may hold it until then.
    pub(crate) fn awaited_policy(&self) -> Option<PolicyId> {
        self.awaited().map(Prepared::policy)
    }

    /// Gives who waits for a Child SA of this name that we are making.
    pub(super) fn tickets_of(&mut self, name: &str) -> Option<&mut Vec<Ticket>> {
        match self {
            QuickMode::Begun(begun) if begun.offer.config.name == *name => Some(&mut begun.tickets),
            QuickMode::Committing(committing) => committing.tickets_of(name),
            QuickMode::Begun(_)
            | QuickMode::Answered(_)
            | QuickMode::Refused { .. }
            | QuickMode::Done { .. } => None,
        }
    }

    /// Gives what we wanted, to be begun anew elsewhere.
    pub(crate) fn into_wish(self) -> Option<(Purpose, Vec<Ticket>)> {
        match self {
            QuickMode::Begun(begun) => Some((begun.purpose, begun.tickets)),
            QuickMode::Answered(_)
            | QuickMode::Committing(_)
            | QuickMode::Refused { .. }
            | QuickMode::Done { .. } => None,
        }
    }

    /// Gives up: the ISAKMP SA ends.
    pub(crate) fn abandon(self, cx: &mut Context) {
        match self {
            QuickMode::Begun(begun) => cx.finish(&begun.tickets, &Err(Failure::Terminated)),
            QuickMode::Answered(answered) => answered.take_back(cx),
            QuickMode::Committing(committing) => committing.abandon(cx),
            QuickMode::Refused { .. } | QuickMode::Done { .. } => {}
        }
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        match self {
            QuickMode::Begun(begun) => (begun.repeating.deadline(), TimeoutReason::Retransmission),
            QuickMode::Answered(answered) => (answered.repeating.deadline(), TimeoutReason::Retransmission),
            QuickMode::Committing(committing) => committing.deadline(),
            QuickMode::Refused { until, .. } | QuickMode::Done { until, .. } => {
                (*until, TimeoutReason::Linger)
            }
        }
    }
}
