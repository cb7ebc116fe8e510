//! Two IKE SAs in the place of one: both ends had both prove anew who they are, in the same moment.
//!
//! RFC 7296 has no rule for that. Ours is that of a rekeying at once (§2.8.1): of the two, the one that was begun with the lowest
//! of four nonces goes, and whoever began it deletes it, once all its children are in the other, too.
//!
//! ```text
//!   old ──► ours    our IKE_SA_INIT     ┐ the lowest nonce is in it ──► it yields to theirs, and is ours to delete
//!       └─► theirs  the peer's          ┘ or in the other           ──► the peer sees that, and deletes its own
//! ```
//!
//! A peer that knows nothing of this keeps its own, so that both stay where ours has the higher nonces.

use std::time::Instant;

use super::{IkeSa, Life, Task};
use crate::child::{ChildSa, Confirmation};
use crate::context::{Context, Intent};
use crate::v2::keys::Nonces;
use crate::{Role, Unique, limits};

/// How an IKE SA came about, for telling which of two goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    /// The start of the lower of its two nonces, as long as every nonce is (RFC 7296 §2.10).
    lowest_nonce: [u8; limits::LEAST_NONCE_OCTETS],
    place: Place,
}

/// Whose place an IKE SA takes that we began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own,
    OfAnother,
}

/// How an IKE SA of ours stands to one that the peer made in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rivalry {
    /// It stays.
    Won,
    /// It goes, when the other is known to have all its children.
    Losing,
    /// It goes now.
    Lost,
}

impl Birth {
    /// Nothing is known of it.
    pub(super) const UNKNOWN: Birth =
        Birth { lowest_nonce: [0xff; limits::LEAST_NONCE_OCTETS], place: Place::Own };
}

impl IkeSa {
    /// Notes the nonces that it was begun with.
    pub(crate) fn note_birth(&mut self, nonces: Nonces<'_>) {
        let lowest = nonces.initiator.min(nonces.responder);
        for (kept, octet) in self.lineage.birth.lowest_nonce.iter_mut().zip(lowest) {
            *kept = *octet;
        }
    }

    /// Notes that it takes the place of another.
    pub(crate) fn note_succession(&mut self) {
        self.lineage.birth.place = Place::OfAnother;
    }

    /// Has it compared with others between the same two identities, in case both ends have made one in the same place.
    pub(crate) fn compare_with_others(&self, cx: &mut Context) {
        // Many who are nobody have no more in common, nor have those who may be connected several times.
        if !self.is_one_of_few() {
            return;
        }
        let until = cx.now + limits::PUT_OFF_AT_MOST;
        cx.intents.push_back(self.comparison(until));
    }

    fn is_one_of_few(&self) -> bool {
        self.connection.unique != Unique::Never && !self.peer.remote().is_null()
    }

    fn comparison(&self, until: Instant) -> Intent {
        let (local, remote) = (self.peer.local().clone(), self.peer.remote().clone());
        Intent::CompareOthers { local, remote, until }
    }

    /// Tells whether another is the peer's, and perhaps in the same place.
    fn is_beside(&self, other: &IkeSa) -> bool {
        let is_theirs = other.lineage.role == Role::Responder && other.is_lasting();
        is_theirs && self.channel.path.remote == other.channel.path.remote
    }

    /// Tells whether the peer makes another in the same place, and may not have all that we have of it.
    pub(crate) fn waits_for(&self, other: &IkeSa) -> bool {
        let is_uncertain = |child: &ChildSa| child.is_in_use() && child.confirmation == Confirmation::Awaited;
        self.is_beside(other) && other.children.values().any(is_uncertain)
    }

    /// Tells how this one stands to another, if it is ours and the other the peer's in the same place.
    pub(crate) fn rivalry(&self, other: &IkeSa) -> Option<Rivalry> {
        let birth = &self.lineage.birth;
        let is_ours = self.is_one_of_few()
            && self.lineage.role == Role::Initiator
            && birth.place == Place::OfAnother
            && self.predecessor.is_none()
            && !self.is_queued(|task| matches!(task, Task::Retire(..)))
            && self.is_lasting();
        if !is_ours || !self.is_beside(other) {
            return None;
        }
        if birth.lowest_nonce > other.lineage.birth.lowest_nonce {
            return Some(Rivalry::Won);
        }
        let has = |child: &ChildSa| {
            let is_it = |theirs: &&ChildSa| theirs.config.name == child.config.name && theirs.is_in_use();
            let theirs = other.children.values().find(is_it);
            theirs.is_some_and(|theirs| theirs.confirmation == Confirmation::Known)
        };
        let mut lasting = self.children.values().filter(|child| child.is_in_use());
        Some(if lasting.all(has) { Rivalry::Lost } else { Rivalry::Losing })
    }

    /// Does what follows from it.
    pub(crate) fn settle_rivalry(&mut self, cx: &mut Context, rivalry: Rivalry, until: Instant) {
        if self.life != Life::Current {
            return;
        }
        match rivalry {
            // The question shows the peer that we have its last response, and with it all the children.
            Rivalry::Won => self.doubt(cx),
            Rivalry::Losing if cx.now < until => {
                self.queue_later(cx, Task::Compare(until));
                self.pump(cx);
            }
            // Both stay: the peer never had all the children in its own.
            Rivalry::Losing => {}
            Rivalry::Lost => self.yield_to_successor(cx),
        }
    }

    /// Compares once more.
    pub(super) fn compare_again(&self, cx: &mut Context, until: Instant) {
        cx.intents.push_back(self.comparison(until));
    }
}
