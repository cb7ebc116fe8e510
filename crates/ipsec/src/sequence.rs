//! The sequence numbers that an outbound SA gives its packets (RFC 4303 §3.3.3).

use std::sync::atomic::{AtomicU64, Ordering};

use sa::{Esn, ExpiryCause, Hardness};

use crate::limits::{LAST_EXTENDED_SEQUENCE, LAST_SEQUENCE, SEQUENCE_RESERVE};
use crate::{DropReason, Expiry};

/// Counts up from one, never repeats and never wraps; shared by workers without a lock.
#[derive(Debug)]
pub(crate) struct SequenceCounter {
    used: AtomicU64,
    last: u64,
}

impl SequenceCounter {
    /// Starts after `used` numbers: 0 for a new SA.
    pub(crate) fn new(esn: Esn, used: u64) -> SequenceCounter {
        let last = match esn {
            Esn::No => LAST_SEQUENCE,
            Esn::Yes => LAST_EXTENDED_SEQUENCE,
        };
        SequenceCounter { used: AtomicU64::new(used), last }
    }

    /// Refuses a packet for which there is no number.
    pub(crate) fn admit(&self) -> Result<(), DropReason> {
        let is_used_up = self.used.load(Ordering::Relaxed) >= self.last;
        if is_used_up { Err(DropReason::SequenceExhausted) } else { Ok(()) }
    }

    /// Gives the next number, as long as there is one.
    pub(crate) fn next(&self) -> Result<u64, DropReason> {
        // Without this look, packets after the last number would go on counting, and one day around.
        self.admit()?;
        let number = self.used.fetch_add(1, Ordering::Relaxed) + 1;
        if number > self.last { Err(DropReason::SequenceExhausted) } else { Ok(number) }
    }

    /// Leaves numbers out, but those after the one with which a replacement falls due: a counter that has come so far stays.
    pub(crate) fn skip(&self, by: u64) {
        let end = self.soft_limit().saturating_sub(1);
        let leap = |used: u64| (used < end).then(|| used.saturating_add(by).min(end));
        // An error says that it stays.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, leap);
    }

    fn soft_limit(&self) -> u64 {
        self.last - self.last / SEQUENCE_RESERVE
    }

    /// Tells whether `number` is the one with which a replacement falls due, or the last.
    pub(crate) fn expiry(&self, number: u64) -> Option<Expiry> {
        let hardness = if number == self.last {
            Hardness::Hard
        } else if number == self.soft_limit() {
            Hardness::Soft
        } else {
            return None;
        };
        Some(Expiry { hardness, cause: ExpiryCause::Sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn numbers_start_at_one() {
        let counter = SequenceCounter::new(Esn::No, 0);
        assert_eq!((counter.next(), counter.next()), (Ok(1), Ok(2)));
    }

    #[test]
    fn the_last_number_is_used_and_none_after_it() {
        for (esn, last) in [(Esn::No, LAST_SEQUENCE), (Esn::Yes, LAST_EXTENDED_SEQUENCE)] {
            let counter = SequenceCounter::new(esn, last - 1);
            assert_eq!(counter.next(), Ok(last));
            assert_eq!(counter.expiry(last).map(|expiry| expiry.hardness), Some(Hardness::Hard));
            for _ in 0..3 {
                assert_eq!(counter.next(), Err(DropReason::SequenceExhausted));
            }
            assert_eq!(counter.used.load(Ordering::Relaxed), last);
        }
    }

    #[test]
    fn a_replacement_falls_due_once_and_well_before_the_end() {
        let start = LAST_SEQUENCE - LAST_SEQUENCE / SEQUENCE_RESERVE - 5;
        let counter = SequenceCounter::new(Esn::No, start);
        let due: Vec<u64> = (0..100)
            .map(|_| counter.next().expect("many numbers are left"))
            .filter(|number| counter.expiry(*number).is_some())
            .collect();
        assert_eq!(due, [start + 5]);
        assert!(LAST_SEQUENCE - due[0] > 500_000_000);
    }

    #[test]
    fn a_leap_repeats_no_number_and_passes_no_replacement() {
        for esn in [Esn::No, Esn::Yes] {
            let counter = SequenceCounter::new(esn, 5);
            counter.skip(100);
            assert_eq!(counter.next(), Ok(106));
            counter.skip(u64::MAX);
            let number = counter.next().expect("many numbers are left");
            assert_eq!(number, counter.soft_limit());
            assert_eq!(counter.expiry(number).map(|expiry| expiry.hardness), Some(Hardness::Soft));
            counter.skip(7);
            assert_eq!(counter.next(), Ok(number + 1));
        }
    }

    #[test]
    fn workers_that_race_for_the_last_number_do_not_both_get_one() {
        const ROUNDS: usize = 5000;
        let counters: Vec<_> =
            (0..ROUNDS).map(|_| SequenceCounter::new(Esn::No, LAST_SEQUENCE - 1)).collect();
        let arrived = AtomicUsize::new(0);
        let taken: usize = std::thread::scope(|scope| {
            let race = || {
                let mut taken = 0;
                for (round, counter) in counters.iter().enumerate() {
                    meet(&arrived, 2 * (round + 1));
                    taken += usize::from(counter.next().is_ok());
                }
                taken
            };
            [scope.spawn(race), scope.spawn(race)]
                .map(|worker| worker.join().expect("no worker panics"))
                .iter()
                .sum()
        });
        assert_eq!(taken, ROUNDS);
    }

    /// Waits until `arrivals` workers have come here; they go on within nanoseconds of each other if each has a processor.
    fn meet(arrived: &AtomicUsize, arrivals: usize) {
        arrived.fetch_add(1, Ordering::Relaxed);
        let mut spins = 0u32;
        while arrived.load(Ordering::Relaxed) < arrivals {
            spins += 1;
            if spins.is_multiple_of(10_000) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}
