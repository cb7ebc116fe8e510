//! The anti-replay window (RFC 4303 §3.4.3), for several workers at once and without a lock.
//!
//! RFC 6479 keeps the window in a ring of words, so that moving it clears words instead of shifting bits. Here each word
//! carries, beside its bits, the number of the lap in which it was written:
//!
//! ```text
//!    sequence number   │ lap (48 bits at most) │ word of the ring │ bit (4) │
//!
//!    one word          │ lap (48)                                │ bits (16) │
//! ```
//!
//! A word of an older lap simply counts as empty, so nothing is ever cleared, however far the window jumps. And since the
//! lap and the bits change together in one compare-and-swap, a word's lap never goes back and a bit of a lap never goes
//! out: a sequence number is accepted at most once, whatever the other workers do at that moment. `top` is only the edge
//! against which age is measured; the order in which workers raise it decides nothing else.
//!
//! A window of W packets takes W/16 + 1 words, rounded up to a power of two: 128 octets for up to 240 packets, 4 KiB for 4096.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::DropReason;
use crate::limits::LAST_EXTENDED_SEQUENCE;

/// Remembers which sequence numbers of one inbound SA were accepted.
#[derive(Debug)]
pub(crate) struct ReplayWindow {
    size: u64,
    top: AtomicU64,
    /// Empty where replays are not looked for.
    ring: Box<[AtomicU64]>,
}

/// Where an accepted sequence number stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Above every number before it.
    Newest,
    /// Within the window.
    Late,
}

impl ReplayWindow {
    /// Makes the window of `size` packets; 0 accepts everything.
    pub(crate) fn new(size: u32) -> ReplayWindow {
        // One word more than the size fills: the newest packets share none with the oldest that still count.
        let words = match size {
            0 => 0,
            size => (size.div_ceil(BITS) + 1).next_power_of_two().max(FEWEST_WORDS) as usize,
        };
        ReplayWindow {
            size: u64::from(size),
            top: AtomicU64::new(0),
            ring: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Completes the 32 bits that a packet carries to the extended sequence number that they mean (RFC 4303 §A2.2).
    ///
    /// That is the one number of those low bits among the 2³² that start at the window's lower edge. Without a window it
    /// is the one next to the highest number so far. A sender whose last 2³² packets were all lost is not found again
    /// (§A3 would try): its packets are refused until it rekeys.
    pub(crate) fn extend(&self, low: u32) -> u64 {
        let reach = if self.size == 0 { HALF_SUBSPACE } else { self.size };
        let bottom = (self.top.load(Ordering::Relaxed) + 1).saturating_sub(reach);
        let candidate = (bottom & !LOW_BITS) | u64::from(low);
        if candidate < bottom { candidate + SUBSPACE } else { candidate }
    }

    /// Refuses a number that cannot be accepted, before anything is spent on its packet; changes nothing.
    pub(crate) fn check(&self, number: u64) -> Result<(), DropReason> {
        self.check_age(number)?;
        let Some(place) = self.place(number) else {
            return Ok(());
        };
        self.ring[place.word].load(Ordering::Relaxed).with(place).map(|_| ())
    }

    /// Accepts the number of an authenticated packet, this once.
    pub(crate) fn mark(&self, number: u64) -> Result<Arrival, DropReason> {
        self.check_age(number)?;
        if let Some(place) = self.place(number) {
            self.ring[place.word]
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| held.with(place).ok())
                .map_err(|held| held.with(place).err().unwrap_or(DropReason::Replayed))?;
        }
        let before = self.top.fetch_max(number, Ordering::Relaxed);
        Ok(if number > before { Arrival::Newest } else { Arrival::Late })
    }

    fn check_age(&self, number: u64) -> Result<(), DropReason> {
        // Zero is never sent: a sender's counter is incremented before its first packet (RFC 4303 §3.3.3).
        let too_old = self.size > 0 && number.saturating_add(self.size) <= self.top.load(Ordering::Relaxed);
        if number == 0 || too_old {
            Err(DropReason::TooOld)
        } else if number > LAST_EXTENDED_SEQUENCE {
            Err(DropReason::SequenceExhausted)
        } else {
            Ok(())
        }
    }

    /// Tells where in the ring a number stands; `None` without a window.
    fn place(&self, number: u64) -> Option<Place> {
        let words = self.ring.len() as u64;
        let block = number / u64::from(BITS);
        let lap = block.checked_shr(words.checked_ilog2()?)?;
        Some(Place { word: (block & (words - 1)) as usize, lap, bit: 1 << (number % u64::from(BITS)) })
    }
}

/// A number's word in the ring, its lap, and its bit.
#[derive(Clone, Copy)]
struct Place {
    word: usize,
    lap: u64,
    bit: u64,
}

trait Word {
    /// Gives the word with the bit of `place` set; an error if it is set, or the word is in a later lap already.
    fn with(self, place: Place) -> Result<u64, DropReason>;
}

impl Word for u64 {
    fn with(self, place: Place) -> Result<u64, DropReason> {
        let lap = self >> BITS;
        if lap > place.lap {
            Err(DropReason::TooOld)
        } else if lap < place.lap {
            Ok(place.lap << BITS | place.bit)
        } else if self & place.bit == 0 {
            Ok(self | place.bit)
        } else {
            Err(DropReason::Replayed)
        }
    }
}

/// Sequence numbers in one word of the ring.
const BITS: u32 = 16;
/// With fewer words a lap would not fit beside the bits: 56 bits of number less 4 of bit and 4 of word are 48.
const FEWEST_WORDS: u32 = 16;
const _: () = assert!((LAST_EXTENDED_SEQUENCE / BITS as u64 / FEWEST_WORDS as u64) >> (64 - BITS) == 0);

const SUBSPACE: u64 = 1 << 32;
const HALF_SUBSPACE: u64 = 1 << 31;
const LOW_BITS: u64 = SUBSPACE - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REPLAY_WINDOW;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// RFC 4303 §3.4.3 in so many words.
    struct Naive {
        size: u64,
        top: u64,
        seen: BTreeSet<u64>,
    }

    impl Naive {
        fn accept(&mut self, number: u64) -> Result<(), DropReason> {
            if number == 0 || number + self.size <= self.top {
                return Err(DropReason::TooOld);
            }
            self.top = self.top.max(number);
            if self.seen.insert(number) { Ok(()) } else { Err(DropReason::Replayed) }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<i64>> {
        let step = prop_oneof![
            6 => -40..40i64,
            3 => -5000..5000i64,
            1 => -70_000..70_000i64,
            1 => prop_oneof![Just(1 << 16), Just(1 << 20), Just(1 << 33)],
        ];
        prop::collection::vec(step, 1..400)
    }

    proptest! {
        #[test]
        fn the_ring_agrees_with_a_set_of_numbers(
            size in prop_oneof![1..=REPLAY_WINDOW, Just(1), Just(32), Just(64), Just(REPLAY_WINDOW)],
            start in prop_oneof![0..10_000u64, 0..1u64 << 50],
            steps in steps(),
        ) {
            let window = ReplayWindow::new(size);
            let mut naive = Naive { size: u64::from(size), top: 0, seen: BTreeSet::new() };
            let mut number = start;
            for step in steps {
                number = number.saturating_add_signed(step);
                let expected = naive.accept(number);
                prop_assert_eq!(window.check(number), expected);
                prop_assert_eq!(window.mark(number).map(|_| ()), expected);
                prop_assert_eq!(window.top.load(Ordering::Relaxed), naive.top);
            }
        }

        #[test]
        fn extending_gives_back_every_number_from_the_lower_edge_on(
            size in 0..=REPLAY_WINDOW, top in 0..1u64 << 50, ahead in 0..SUBSPACE - u64::from(REPLAY_WINDOW),
        ) {
            let window = ReplayWindow::new(size);
            window.top.store(top, Ordering::Relaxed);
            let bottom = (top + 1).saturating_sub(u64::from(size));
            let number = bottom + if size == 0 { ahead / 2 } else { ahead };
            prop_assert_eq!(window.extend(number as u32), number);
        }
    }

    #[test]
    fn numbers_are_extended_as_in_the_two_cases_of_the_appendix() {
        let window = ReplayWindow::new(64);
        let extend = |top: u64, low: u32| {
            window.top.store(top, Ordering::Relaxed);
            window.extend(low)
        };
        // Case A: the window lies within one subspace.
        assert_eq!(extend(0x5_0000_1000, 0x0fff), 0x5_0000_0fff);
        assert_eq!(extend(0x5_0000_1000, 0x0fc1), 0x5_0000_0fc1);
        assert_eq!(extend(0x5_0000_1000, 0x0fc0), 0x6_0000_0fc0);
        // Case B: it spans two.
        assert_eq!(extend(0x5_0000_0003, 0xffff_fff0), 0x4_ffff_fff0);
        assert_eq!(extend(0x5_0000_0003, 0x0000_0001), 0x5_0000_0001);
        assert_eq!(extend(0x5_0000_0003, 0xffff_ff00), 0x5_ffff_ff00);
    }

    #[test]
    fn without_a_window_everything_is_accepted_but_zero() {
        let window = ReplayWindow::new(0);
        for number in [7, 7, 1, 1 << 40, 7] {
            assert_eq!(window.check(number), Ok(()));
            assert!(window.mark(number).is_ok());
        }
        assert_eq!(window.mark(0), Err(DropReason::TooOld));
    }

    #[test]
    fn arrivals_are_told_apart() {
        let window = ReplayWindow::new(64);
        assert_eq!(window.mark(10), Ok(Arrival::Newest));
        assert_eq!(window.mark(9), Ok(Arrival::Late));
        assert_eq!(window.mark(11), Ok(Arrival::Newest));
    }

    #[test]
    fn a_word_that_another_worker_took_into_a_later_lap_never_goes_back() {
        let (earlier, later) = (Place { word: 0, lap: 6, bit: 1 }, Place { word: 0, lap: 7, bit: 1 });
        assert_eq!(0.with(later).and_then(|word| word.with(earlier)), Err(DropReason::TooOld));
        assert_eq!(0.with(later).and_then(|word| word.with(later)), Err(DropReason::Replayed));
        assert!(0.with(earlier).and_then(|word| word.with(later)).is_ok());
    }

    #[test]
    fn the_last_number_has_a_place_and_the_next_one_none() {
        for size in [1, REPLAY_WINDOW] {
            let window = ReplayWindow::new(size);
            assert_eq!(window.mark(LAST_EXTENDED_SEQUENCE), Ok(Arrival::Newest));
            assert_eq!(window.mark(LAST_EXTENDED_SEQUENCE), Err(DropReason::Replayed));
            assert_eq!(window.mark(LAST_EXTENDED_SEQUENCE + 1), Err(DropReason::SequenceExhausted));
        }
    }

    #[test]
    fn workers_that_race_accept_every_number_exactly_once() {
        const NUMBERS: u64 = 60_000;
        let window = ReplayWindow::new(REPLAY_WINDOW);
        // Each worker meets every number, in blocks that keep the workers within the window of each other.
        let barrier = std::sync::Barrier::new(4);
        let accepted: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4u64)
                .map(|worker| {
                    let (window, barrier) = (&window, &barrier);
                    scope.spawn(move || {
                        let mut accepted = Vec::new();
                        for block in (1..=NUMBERS).step_by(2000) {
                            barrier.wait();
                            let last = (block + 1999).min(NUMBERS);
                            let forwards = (block..=last).collect::<Vec<_>>();
                            let numbers: Box<dyn Iterator<Item = &u64>> = match worker % 2 {
                                0 => Box::new(forwards.iter()),
                                _ => Box::new(forwards.iter().rev()),
                            };
                            accepted.extend(numbers.filter(|number| window.mark(**number).is_ok()));
                        }
                        accepted
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("no worker panics")).collect()
        });
        let mut all: Vec<u64> = accepted.concat();
        all.sort_unstable();
        assert_eq!(all, (1..=NUMBERS).collect::<Vec<_>>());
    }

    #[test]
    fn workers_that_race_far_apart_accept_no_number_twice() {
        let window = ReplayWindow::new(64);
        let accepted: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (1..=100_000u64).filter(|number| window.mark(*number).is_ok()).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("no worker panics")).collect()
        });
        let total: usize = accepted.iter().map(Vec::len).sum();
        let distinct: BTreeSet<u64> = accepted.concat().into_iter().collect();
        assert_eq!(distinct.len(), total);
        assert!(distinct.contains(&100_000));
    }
}
