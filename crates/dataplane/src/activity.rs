//! When each SA last carried a packet, and what was told about it; each worker keeps its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sa::SaId;

use crate::limits;

/// The SAs that one worker carried packets of. Its lock is taken ten times a second for each of them, as [`Recent`] sees to;
/// only a question about usage or the end of an SA makes it wait.
#[derive(Debug, Default)]
pub(crate) struct Activity(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    seen: HashMap<SaId, Seen>,
    /// SAs that were removed, and when: whoever is in the middle of a batch may note them once more.
    removed: VecDeque<(Instant, SaId)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    last: Option<Instant>,
    told: Option<Instant>,
    move_told: Option<Instant>,
}

/// Whether something may be told now, or was told too recently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Tell it.
    Due,
    /// Keep quiet.
    TooSoon,
}

/// The SAs that one direction of a worker noted a moment ago: what is in here need not be noted again.
///
/// Two SAs that share a place push each other out, and are noted more often than they need be.
pub(crate) struct Recent(Box<[Option<(SaId, Instant)>]>);

impl Recent {
    /// Starts with none.
    pub(crate) fn new() -> Recent {
        Recent(vec![None; PLACES].into_boxed_slice())
    }

    /// Tells whether an SA that carries a packet now is to be noted, and takes it that it is.
    pub(crate) fn is_due(&mut self, sa: SaId, now: Instant) -> bool {
        let place = &mut self.0[(sa.spi.0 ^ sa.spi.0 >> 16) as usize % PLACES];
        let due = place.is_none_or(|(noted, at)| {
            noted != sa || now.saturating_duration_since(at) >= limits::ACTIVITY_RESOLUTION
        });
        if due {
            *place = Some((sa, now));
        }
        due
    }
}

impl Activity {
    /// Notes that an SA carried packets; says whether [`Active`](sa::SaEvent::Active) is due.
    pub(crate) fn note(&self, sa: SaId, now: Instant) -> Telling {
        let mut noted = self.lock();
        let seen = noted.seen.entry(sa).or_default();
        seen.last = Some(now);
        telling(&mut seen.told, now)
    }

    /// Notes that the peer showed that it lives, though the SA carried nothing; says whether
    /// [`Active`](sa::SaEvent::Active) is due.
    pub(crate) fn note_life(&self, sa: SaId, now: Instant) -> Telling {
        telling(&mut self.lock().seen.entry(sa).or_default().told, now)
    }

    /// Notes that an SA's packet came from elsewhere; says whether [`PathChanged`](sa::SaEvent::PathChanged) is due.
    pub(crate) fn note_move(&self, sa: SaId, now: Instant) -> Telling {
        telling(&mut self.lock().seen.entry(sa).or_default().move_told, now)
    }

    /// Tells when an SA last carried a packet.
    pub(crate) fn last(&self, sa: &SaId) -> Option<Instant> {
        self.lock().seen.get(sa).and_then(|seen| seen.last)
    }

    /// Forgets an SA that was removed, and those that were noted once more after they had been.
    pub(crate) fn forget(&self, sa: SaId, now: Instant) {
        let mut noted = self.lock();
        let Noted { seen, removed } = &mut *noted;
        seen.remove(&sa);
        let is_over = |(at, _): &(Instant, SaId)| now.saturating_duration_since(*at) >= limits::LONGEST_BATCH;
        while let Some((_, late)) = removed.front().copied().filter(is_over) {
            removed.pop_front();
            seen.remove(&late);
        }
        removed.push_back((now, sa));
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        // No code that holds the lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More SAs than are busy at once on most gateways; a power of two.
const PLACES: usize = 1024;

fn telling(told: &mut Option<Instant>, now: Instant) -> Telling {
    match told {
        Some(last) if now.saturating_duration_since(*last) < limits::SA_EVENT_INTERVAL => Telling::TooSoon,
        _ => {
            *told = Some(now);
            Telling::Due
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa::{Direction, Protocol, Spi};
    use std::time::Duration;

    fn sa(spi: u32) -> SaId {
        SaId {
            direction: Direction::Inbound,
            protocol: Protocol::Esp,
            destination: [192, 0, 2, 1].into(),
            spi: Spi(spi),
        }
    }

    #[test]
    fn an_sa_is_noted_ten_times_a_second_however_packets_alternate() {
        let (mut recent, start) = (Recent::new(), Instant::now());
        let at = |millis: u64| start + Duration::from_millis(millis);
        let noted = |recent: &mut Recent, millis| [1, 2].map(|spi| recent.is_due(sa(spi), at(millis)));
        assert_eq!(noted(&mut recent, 0), [true, true]);
        assert_eq!(noted(&mut recent, 99), [false, false]);
        assert_eq!(noted(&mut recent, 100), [true, true]);
        let same_place = 1 + PLACES as u32;
        assert!(recent.is_due(sa(same_place), at(100)) && recent.is_due(sa(1), at(100)));
    }

    #[test]
    fn life_is_told_once_a_second_and_moves_by_themselves() {
        let sa = sa(0x1234);
        let (activity, start) = (Activity::default(), Instant::now());
        assert_eq!(activity.last(&sa), None);
        assert_eq!(activity.note(sa, start), Telling::Due);
        assert_eq!(activity.note_move(sa, start), Telling::Due);
        let soon = start + Duration::from_millis(999);
        assert_eq!(activity.note(sa, soon), Telling::TooSoon);
        assert_eq!(activity.note_move(sa, soon), Telling::TooSoon);
        assert_eq!(activity.last(&sa), Some(soon));
        assert_eq!(activity.note(sa, start + Duration::from_secs(1)), Telling::Due);
        activity.forget(sa, soon);
        assert_eq!(activity.last(&sa), None);
    }

    #[test]
    fn a_dummy_is_life_and_no_use() {
        let (activity, now) = (Activity::default(), Instant::now());
        assert_eq!(activity.note_life(sa(1), now), Telling::Due);
        assert_eq!(activity.note_life(sa(1), now), Telling::TooSoon);
        assert_eq!(activity.last(&sa(1)), None);
    }

    #[test]
    fn what_is_noted_after_its_end_is_forgotten_with_the_next() {
        let (activity, start) = (Activity::default(), Instant::now());
        activity.note(sa(1), start);
        activity.forget(sa(1), start);
        activity.note(sa(1), start);
        activity.forget(sa(2), start + limits::LONGEST_BATCH);
        assert_eq!(activity.last(&sa(1)), None);
    }
}
