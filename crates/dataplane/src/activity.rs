//! When each SA last carried a packet, and what was told about it; each worker keeps its own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sa::SaId;

use crate::limits;

/// The SAs that one worker carried packets of. Its lock is taken whenever a batch goes from one SA to another: once for each
/// packet where the packets of SAs alternate. Only a question about usage or the end of an SA makes it wait.
#[derive(Debug, Default)]
pub(crate) struct Activity(Mutex<HashMap<SaId, Seen>>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    last: Instant,
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

impl Activity {
    /// Notes that an SA carried packets; says whether [`Active`](sa::SaEvent::Active) is due.
    pub(crate) fn note(&self, sa: SaId, now: Instant) -> Telling {
        let mut seen = self.lock();
        let seen = seen.entry(sa).or_insert(Seen { last: now, told: None, move_told: None });
        seen.last = now;
        telling(&mut seen.told, now)
    }

    /// Notes that an SA's packet came from elsewhere; says whether [`PathChanged`](sa::SaEvent::PathChanged) is due.
    pub(crate) fn note_move(&self, sa: SaId, now: Instant) -> Telling {
        let mut seen = self.lock();
        let seen = seen.entry(sa).or_insert(Seen { last: now, told: None, move_told: None });
        telling(&mut seen.move_told, now)
    }

    /// Tells when an SA last carried a packet.
    pub(crate) fn last(&self, sa: &SaId) -> Option<Instant> {
        self.lock().get(sa).map(|seen| seen.last)
    }

    /// Forgets an SA that was removed.
    pub(crate) fn forget(&self, sa: &SaId) {
        self.lock().remove(sa);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SaId, Seen>> {
        // No code that holds the lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

    #[test]
    fn life_is_told_once_a_second_and_moves_by_themselves() {
        let sa = SaId {
            direction: Direction::Inbound,
            protocol: Protocol::Esp,
            destination: [192, 0, 2, 1].into(),
            spi: Spi(0x1234),
        };
        let (activity, start) = (Activity::default(), Instant::now());
        assert_eq!(activity.last(&sa), None);
        assert_eq!(activity.note(sa, start), Telling::Due);
        assert_eq!(activity.note_move(sa, start), Telling::Due);
        let soon = start + Duration::from_millis(999);
        assert_eq!(activity.note(sa, soon), Telling::TooSoon);
        assert_eq!(activity.note_move(sa, soon), Telling::TooSoon);
        assert_eq!(activity.last(&sa), Some(soon));
        assert_eq!(activity.note(sa, start + Duration::from_secs(1)), Telling::Due);
        activity.forget(&sa);
        assert_eq!(activity.last(&sa), None);
    }
}
