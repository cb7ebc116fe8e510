//! Packets that wait while an SA is negotiated for their policy (RFC 4301 §4.4.1, "trap" policies).
//!
//! None of this is on the path of a packet that has its SA.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sa::{DeviceId, PolicyId};

use crate::{HoldBounds, limits};

/// The waiting packets of all policies, each in the order of its arrival.
pub(crate) struct Hold {
    bounds: HoldBounds,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    packets: usize,
    octets: usize,
    queues: BTreeMap<PolicyId, Queue>,
}

struct Queue {
    asked: Instant,
    packets: VecDeque<Held>,
}

struct Held {
    since: Instant,
    packet: HeldPacket,
}

/// A packet that waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldPacket {
    /// The device that it came by; `None` is the common one.
    pub(crate) device: Option<DeviceId>,
    /// The packet.
    pub(crate) octets: Vec<u8>,
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
        device: Option<DeviceId>,
        packet: &[u8],
        now: Instant,
        is_current: impl FnOnce() -> bool,
    ) -> Kept {
        let mut waiting = self.lock();
        if !is_current() {
            return Kept::Outdated;
        }
        let full = waiting.packets >= self.bounds.total
            || waiting.octets.saturating_add(packet.len()) > self.bounds.octets;
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
        queue.packets.push_back(Held { since: now, packet: HeldPacket { device, octets: packet.to_vec() } });
        waiting.packets += 1;
        waiting.octets += packet.len();
        Kept::Waits(question)
    }

    /// Gives a policy's packets in their order; the next one that comes to wait asks anew.
    pub(crate) fn release(&self, policy: PolicyId) -> Vec<HeldPacket> {
        let mut waiting = self.lock();
        let Some(queue) = waiting.queues.remove(&policy) else { return Vec::new() };
        let released: Vec<_> = queue.packets.into_iter().map(|held| held.packet).collect();
        waiting.forget(&released);
        released
    }

    /// Gives the packets that need not wait any longer, those of each policy in their order. The others wait on, since when
    /// they did; a policy of which none is left asks anew.
    pub(crate) fn release_if(&self, may_go: impl Fn(&HeldPacket) -> bool) -> Vec<HeldPacket> {
        let mut waiting = self.lock();
        let mut released = Vec::new();
        waiting.queues.retain(|_, queue| {
            let before = released.len();
            let held = std::mem::take(&mut queue.packets);
            let (go, stay): (Vec<_>, _) = held.into_iter().partition(|held| may_go(&held.packet));
            queue.packets = stay.into();
            released.extend(go.into_iter().map(|held| held.packet));
            released.len() == before || !queue.packets.is_empty()
        });
        waiting.forget(&released);
        released
    }

    /// Drops the packets that waited too long and gives their number.
    pub(crate) fn expire(&self, now: Instant) -> usize {
        let mut waiting = self.lock();
        let longest = self.bounds.longest;
        let mut dropped = Vec::new();
        waiting.queues.retain(|_, queue| {
            while queue
                .packets
                .front()
                .is_some_and(|held| now.saturating_duration_since(held.since) >= longest)
            {
                dropped.extend(queue.packets.pop_front().map(|held| held.packet));
            }
            // An empty queue still remembers when its SA was asked for.
            !queue.packets.is_empty() || now.saturating_duration_since(queue.asked) < limits::ACQUIRE_INTERVAL
        });
        waiting.forget(&dropped);
        dropped.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that holds the lock can panic halfway through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Counts packets that wait no more.
    fn forget(&mut self, gone: &[HeldPacket]) {
        self.packets -= gone.len();
        self.octets -= gone.iter().map(|held| held.octets.len()).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const A: PolicyId = PolicyId(1);
    const B: PolicyId = PolicyId(2);

    fn hold() -> Hold {
        Hold::new(HoldBounds { per_policy: 2, total: 3, octets: 1000, longest: Duration::from_secs(2) })
    }

    fn octets(held: Vec<HeldPacket>) -> Vec<Vec<u8>> {
        held.into_iter().map(|held| held.octets).collect()
    }

    #[test]
    fn one_question_is_asked_for_each_policy_and_packets_keep_their_order() {
        let (hold, now) = (hold(), Instant::now());
        assert_eq!(hold.keep(A, None, b"1", now, || true), Kept::Waits(Question::Due));
        assert_eq!(hold.keep(A, None, b"2", now, || true), Kept::Waits(Question::Asked));
        assert_eq!(hold.keep(B, None, b"3", now, || true), Kept::Waits(Question::Due));
        assert_eq!(octets(hold.release(A)), [b"1", b"2"]);
        assert_eq!(hold.release(A), Vec::<HeldPacket>::new());
        assert_eq!(hold.keep(A, None, b"4", now, || true), Kept::Waits(Question::Due));
    }

    #[test]
    fn bounds_hold_for_each_policy_and_for_all() {
        let (hold, now) = (hold(), Instant::now());
        hold.keep(A, None, b"1", now, || true);
        hold.keep(A, None, b"2", now, || true);
        assert_eq!(hold.keep(A, None, b"3", now, || true), Kept::Full(Question::Asked));
        hold.keep(B, None, b"4", now, || true);
        assert_eq!(hold.keep(B, None, b"5", now, || true), Kept::Full(Question::Asked));
        assert_eq!(octets(hold.release(B)), [b"4"]);
        assert_eq!(hold.release(A).len(), 2);
    }

    #[test]
    fn octets_are_bounded_and_come_free_again() {
        let (hold, now) = (hold(), Instant::now());
        let keep = |policy, octets| hold.keep(policy, None, &vec![0; octets], now, || true);
        assert_eq!(keep(A, 600), Kept::Waits(Question::Due));
        assert_eq!(keep(B, 401), Kept::Full(Question::Due));
        assert_eq!(keep(B, 400), Kept::Waits(Question::Asked));
        assert_eq!(hold.release(A).len(), 1);
        assert_eq!(keep(B, 600), Kept::Waits(Question::Asked));
        assert_eq!(hold.expire(now + Duration::from_secs(2)), 2);
        assert_eq!(keep(A, 1000), Kept::Waits(Question::Due));
    }

    #[test]
    fn who_may_not_go_waits_on_and_is_not_asked_for_again() {
        let (hold, start) = (hold(), Instant::now());
        let soon = start + Duration::from_secs(1);
        hold.keep(A, None, b"1", start, || true);
        hold.keep(A, None, b"2", start, || true);
        hold.keep(B, None, b"3", start, || true);
        let is_odd = |held: &HeldPacket| held.octets[0] % 2 == 1;
        assert_eq!(octets(hold.release_if(is_odd)), [b"1", b"3"]);
        assert_eq!(octets(hold.release_if(is_odd)), Vec::<Vec<u8>>::new());
        assert_eq!(hold.keep(A, None, b"5", soon, || true), Kept::Waits(Question::Asked));
        assert_eq!(hold.keep(B, None, b"7", soon, || true), Kept::Waits(Question::Due));
        assert_eq!(hold.expire(start + Duration::from_secs(2)), 1, "the second has waited from the first");
    }

    #[test]
    fn packets_wait_for_a_bounded_time_and_the_question_is_repeated() {
        let (hold, start) = (hold(), Instant::now());
        hold.keep(A, None, b"1", start, || true);
        hold.keep(A, None, b"2", start + Duration::from_secs(1), || true);
        assert_eq!(hold.expire(start + Duration::from_secs(1)), 0);
        assert_eq!(hold.expire(start + Duration::from_secs(2)), 1);
        assert_eq!(hold.expire(start + Duration::from_secs(3)), 1);
        assert_eq!(
            hold.keep(A, None, b"3", start + Duration::from_secs(4), || true),
            Kept::Waits(Question::Asked)
        );
        let later = start + limits::ACQUIRE_INTERVAL;
        assert_eq!(hold.keep(A, None, b"4", later, || true), Kept::Waits(Question::Due));
        assert_eq!(hold.expire(later + limits::ACQUIRE_INTERVAL), 2);
        assert_eq!(hold.release(A), Vec::<HeldPacket>::new());
    }

    #[test]
    fn a_packet_judged_by_old_tables_is_not_kept() {
        let (hold, now) = (hold(), Instant::now());
        assert_eq!(hold.keep(A, None, b"1", now, || false), Kept::Outdated);
        assert_eq!(hold.release(A), Vec::<HeldPacket>::new());
    }
}
