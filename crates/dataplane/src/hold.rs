//! Packets that wait while an SA is negotiated for their policy (RFC 4301 §4.4.1, "trap" policies).
//!
//! None of this is on the path of a packet that has its SA.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sa::PolicyId;

use crate::{HoldBounds, limits};

/// The waiting packets of all policies, each in the order of its arrival.
pub(crate) struct Hold {
    bounds: HoldBounds,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    packets: usize,
    queues: BTreeMap<PolicyId, Queue>,
}

struct Queue {
    asked: Instant,
    packets: VecDeque<Held>,
}

struct Held {
    since: Instant,
    octets: Vec<u8>,
}

/// What became of a packet that was to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It waits.
    Waits(Question),
    /// There is no room for it.
    Full(Question),
    /// The tables on whose word it was to wait are not the current ones any more: classify it again.
    Outdated,
}

/// Whether somebody must now be asked for the policy's SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Ask.
    Due,
    /// That was asked a short while ago.
    Asked,
}

impl Hold {
    /// Makes an empty hold.
    pub(crate) fn new(bounds: HoldBounds) -> Hold {
        Hold { bounds, waiting: Mutex::default() }
    }

    /// Keeps a copy of a packet until its policy is released.
    ///
    /// `is_current` tells whether the tables that had no SA for the packet are still those that workers read. It is asked
    /// under the lock that [`Hold::release`] takes, so that no packet can slip in behind the release that it waits for.
    pub(crate) fn keep(
        &self,
        policy: PolicyId,
        packet: &[u8],
        now: Instant,
        is_current: impl FnOnce() -> bool,
    ) -> Kept {
        let mut waiting = self.lock();
        if !is_current() {
            return Kept::Outdated;
        }
        let full = waiting.packets >= self.bounds.total;
        let mut question = Question::Asked;
        let queue = waiting.queues.entry(policy).or_insert_with(|| {
            question = Question::Due;
            Queue { asked: now, packets: VecDeque::new() }
        });
        if now.saturating_duration_since(queue.asked) >= limits::ACQUIRE_INTERVAL {
            queue.asked = now;
            question = Question::Due;
        }
        if full || queue.packets.len() >= self.bounds.per_policy {
            // The question goes out all the same: its answer makes room.
            return Kept::Full(question);
        }
        queue.packets.push_back(Held { since: now, octets: packet.to_vec() });
        waiting.packets += 1;
        Kept::Waits(question)
    }

    /// Gives a policy's packets in their order; the next one that comes to wait asks anew.
    pub(crate) fn release(&self, policy: PolicyId) -> Vec<Vec<u8>> {
        let mut waiting = self.lock();
        let Some(queue) = waiting.queues.remove(&policy) else { return Vec::new() };
        waiting.packets -= queue.packets.len();
        queue.packets.into_iter().map(|held| held.octets).collect()
    }

    /// Gives the packets of all policies, those of each in their order; whichever has to wait again asks anew.
    pub(crate) fn release_all(&self) -> Vec<Vec<u8>> {
        let mut waiting = self.lock();
        waiting.packets = 0;
        let queues = std::mem::take(&mut waiting.queues);
        queues.into_values().flat_map(|queue| queue.packets).map(|held| held.octets).collect()
    }

    /// Drops the packets that waited too long and gives their number.
    pub(crate) fn expire(&self, now: Instant) -> usize {
        let mut waiting = self.lock();
        let before = waiting.packets;
        let longest = self.bounds.longest;
        let mut dropped = 0;
        waiting.queues.retain(|_, queue| {
            while queue
                .packets
                .front()
                .is_some_and(|held| now.saturating_duration_since(held.since) >= longest)
            {
                queue.packets.pop_front();
                dropped += 1;
            }
            // An empty queue still remembers when its SA was asked for.
            !queue.packets.is_empty() || now.saturating_duration_since(queue.asked) < limits::ACQUIRE_INTERVAL
        });
        waiting.packets = before - dropped;
        dropped
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that holds the lock can panic halfway through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const A: PolicyId = PolicyId(1);
    const B: PolicyId = PolicyId(2);

    fn hold() -> Hold {
        Hold::new(HoldBounds { per_policy: 2, total: 3, longest: Duration::from_secs(2) })
    }

    #[test]
    fn one_question_is_asked_for_each_policy_and_packets_keep_their_order() {
        let (hold, now) = (hold(), Instant::now());
        assert_eq!(hold.keep(A, b"1", now, || true), Kept::Waits(Question::Due));
        assert_eq!(hold.keep(A, b"2", now, || true), Kept::Waits(Question::Asked));
        assert_eq!(hold.keep(B, b"3", now, || true), Kept::Waits(Question::Due));
        assert_eq!(hold.release(A), [b"1", b"2"]);
        assert_eq!(hold.release(A), Vec::<Vec<u8>>::new());
        assert_eq!(hold.keep(A, b"4", now, || true), Kept::Waits(Question::Due));
    }

    #[test]
    fn bounds_hold_for_each_policy_and_for_all() {
        let (hold, now) = (hold(), Instant::now());
        hold.keep(A, b"1", now, || true);
        hold.keep(A, b"2", now, || true);
        assert_eq!(hold.keep(A, b"3", now, || true), Kept::Full(Question::Asked));
        hold.keep(B, b"4", now, || true);
        assert_eq!(hold.keep(B, b"5", now, || true), Kept::Full(Question::Asked));
        assert_eq!(hold.release(B), [b"4"]);
        assert_eq!(hold.release(A).len(), 2);
    }

    #[test]
    fn packets_wait_for_a_bounded_time_and_the_question_is_repeated() {
        let (hold, start) = (hold(), Instant::now());
        hold.keep(A, b"1", start, || true);
        hold.keep(A, b"2", start + Duration::from_secs(1), || true);
        assert_eq!(hold.expire(start + Duration::from_secs(1)), 0);
        assert_eq!(hold.expire(start + Duration::from_secs(2)), 1);
        assert_eq!(hold.expire(start + Duration::from_secs(3)), 1);
        assert_eq!(hold.keep(A, b"3", start + Duration::from_secs(4), || true), Kept::Waits(Question::Asked));
        let later = start + limits::ACQUIRE_INTERVAL;
        assert_eq!(hold.keep(A, b"4", later, || true), Kept::Waits(Question::Due));
        assert_eq!(hold.expire(later + limits::ACQUIRE_INTERVAL), 2);
        assert_eq!(hold.release(A), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_packet_judged_by_old_tables_is_not_kept() {
        let (hold, now) = (hold(), Instant::now());
        assert_eq!(hold.keep(A, b"1", now, || false), Kept::Outdated);
        assert_eq!(hold.release(A), Vec::<Vec<u8>>::new());
    }
}
