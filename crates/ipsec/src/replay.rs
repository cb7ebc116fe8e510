//! The anti-replay window (RFC 4303 §3.4.3), for several workers at once and without a lock.
//!
//! RFC 6479 keeps the window in a ring of words, so that moving it clears words instead of shifting bits. Here each word
//! carries, beside its bits, the number of the lap in which it was written:
//!
//! ```text
//!    sequence number = (lap × words of the ring + word) × 36 + bit
//!
//!    one word          │ lap, its low 28 bits │ 36 bits │
//! ```
//!
//! A word of an older lap simply counts as empty, so nothing is ever cleared, however far the window jumps. And since the
//! lap and the bits change together in one compare-and-swap, a word's lap never goes back and a bit of a lap never goes
//! out: a sequence number is accepted at most once, whatever the other workers do at that moment. `top` is only the edge
//! against which age is measured; the order in which workers raise it decides nothing else.
//!
//! Laps are told apart while they are within 2²⁷ of each other, which is eighteen times the longest leap that an extended
//! sequence number can express. A word that every leap since then has missed takes no number until the laps come round
//! again; it never takes one twice.
//!
//! A window of W packets takes W/36 + 1 words, rounded up to a power of two: 128 octets for up to 540 packets, 256 for
//! 1024, 16 KiB for 65,536.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sa::Esn;

use crate::DropReason;
use crate::limits::LAST_EXTENDED_SEQUENCE;

/// Remembers which sequence numbers of one inbound SA were accepted.
#[derive(Debug)]
pub(crate) struct ReplayWindow {
    size: u32,
    top: AtomicU64,
    /// Made with the first packet, since many SAs never see one; empty where replays are not looked for.
    ring: OnceLock<Box<[AtomicU64]>>,
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
        ReplayWindow { size, top: AtomicU64::new(0), ring: OnceLock::new() }
    }

    /// Completes the number that a packet carries, and refuses one that cannot be accepted; changes nothing.
    pub(crate) fn admit(&self, low: u32, esn: Esn) -> Result<u64, DropReason> {
        let number = match esn {
            Esn::No => low.into(),
            Esn::Yes => self.extend(low),
        };
        self.check(number)?;
        Ok(number)
    }

    /// Completes the 32 bits that a packet carries to the extended sequence number that they mean (RFC 4303 §A2.2).
    ///
    /// That is the one number of those low bits among the 2³² that start at the window's lower edge. Without a window it
    /// is the one next to the highest number so far. A sender whose last 2³² packets were all lost is not found again
    /// (§A3 would try): its packets are refused until it rekeys.
    fn extend(&self, low: u32) -> u64 {
        let reach = if self.size == 0 { HALF_SUBSPACE } else { self.size.into() };
        let bottom = (self.top.load(Ordering::Relaxed) + 1).saturating_sub(reach);
        let candidate = (bottom & !LOW_BITS) | u64::from(low);
        if candidate < bottom { candidate + SUBSPACE } else { candidate }
    }

    /// Refuses a number that cannot be accepted, before anything is spent on its packet; changes nothing.
    fn check(&self, number: u64) -> Result<(), DropReason> {
        self.check_age(number)?;
        let Some(ring) = self.ring.get() else { return Ok(()) };
        let Some(place) = place(number, ring.len()) else { return Ok(()) };
        ring[place.word].load(Ordering::Relaxed).with(place).map(|_| ())
    }

    /// Accepts the number of an authenticated packet, this once.
    pub(crate) fn mark(&self, number: u64) -> Result<Arrival, DropReason> {
        self.check_age(number)?;
        let ring = self.ring.get_or_init(|| empty_ring(self.size));
        if let Some(place) = place(number, ring.len()) {
            ring[place.word]
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| held.with(place).ok())
                .map_err(|held| held.with(place).err().unwrap_or(DropReason::Replayed))?;
        }
        let before = self.top.fetch_max(number, Ordering::Relaxed);
        Ok(if number > before { Arrival::Newest } else { Arrival::Late })
    }

    fn check_age(&self, number: u64) -> Result<(), DropReason> {
        // Where replays are looked for, zero is never sent: a sender's counter is incremented before its first packet, and
        // ends before it comes round (RFC 4303 §3.3.3).
        let reached = number.saturating_add(self.size.into());
        if self.size > 0 && (number == 0 || reached <= self.top.load(Ordering::Relaxed)) {
            Err(DropReason::TooOld)
        } else if number > LAST_EXTENDED_SEQUENCE {
            Err(DropReason::SequenceExhausted)
        } else {
            Ok(())
        }
    }
}

fn empty_ring(size: u32) -> Box<[AtomicU64]> {
    // One word more than the size fills: the newest packets share none with the oldest that still count.
    let words = match size {
        0 => 0,
        size => (size.div_ceil(BITS) + 1).next_power_of_two().max(FEWEST_WORDS) as usize,
    };
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

/// Tells where in a ring of so many words a number stands; `None` if it has none.
fn place(number: u64, words: usize) -> Option<Place> {
    let words = words as u64;
    let block = number / u64::from(BITS);
    let lap = block.checked_shr(words.checked_ilog2()?)? & LAPS;
    Some(Place { word: (block & (words - 1)) as usize, lap, bit: 1 << (number % u64::from(BITS)) })
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
        let laps_ahead = place.lap.wrapping_sub(self >> BITS) & LAPS;
        if self & NUMBERS == 0 || (1..HALF_OF_LAPS).contains(&laps_ahead) {
            Ok(place.lap << BITS | place.bit)
        } else if laps_ahead > 0 {
            Err(DropReason::TooOld)
        } else if self & place.bit == 0 {
            Ok(self | place.bit)
        } else {
            Err(DropReason::Replayed)
        }
    }
}

/// Sequence numbers in one word of the ring.
const BITS: u32 = 36;
/// With fewer words, laps of one leap could not be told apart.
const FEWEST_WORDS: u32 = 16;
const NUMBERS: u64 = (1 << BITS) - 1;
const LAPS: u64 = u64::MAX >> BITS;
const HALF_OF_LAPS: u64 = LAPS.div_ceil(2);
const _: () = assert!(SUBSPACE / (BITS as u64 * FEWEST_WORDS as u64) < HALF_OF_LAPS / 16);

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
            1 => prop_oneof![Just(1 << 16), Just(1 << 20), Just(1 << 27)],
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

    /// RFC 4303 §3.3.3: a sender whose receiver looks for no replays counts on from zero when its numbers are used up.
    #[test]
    fn without_a_window_everything_is_accepted() {
        let window = ReplayWindow::new(0);
        for number in [7, 7, 1, 1 << 40, 7, 0] {
            assert_eq!(window.check(number), Ok(()));
            assert!(window.mark(number).is_ok());
        }
        assert_eq!(ReplayWindow::new(1).mark(0), Err(DropReason::TooOld));
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
    fn leaps_are_followed_and_nothing_is_accepted_twice() {
        for size in [1, 64, 1024, REPLAY_WINDOW] {
            let window = ReplayWindow::new(size);
            let mut number = 1;
            assert_eq!(window.mark(number), Ok(Arrival::Newest));
            for _ in 0..16 {
                // As far as 32 bits can express it, and to the same word of the ring: no other is touched.
                number += SUBSPACE - SUBSPACE % (u64::from(BITS) * empty_ring(size).len() as u64);
                assert_eq!(window.mark(number), Ok(Arrival::Newest));
                assert_eq!(window.mark(number), Err(DropReason::Replayed));
            }
            for next in number + 1..number + 2 * u64::from(size) + 100 {
                assert_eq!(window.mark(next), Ok(Arrival::Newest));
                assert_eq!(window.mark(next), Err(DropReason::Replayed));
            }
        }
    }

    #[test]
    fn a_word_that_every_leap_has_missed_refuses_until_the_laps_come_round() {
        let (first, half) = (Place { word: 0, lap: 0, bit: 1 }, Place { word: 0, lap: HALF_OF_LAPS, bit: 1 });
        let almost = Place { lap: HALF_OF_LAPS - 1, ..half };
        let word = 0.with(first).expect("an empty word takes any lap");
        assert!(word.with(almost).is_ok());
        assert_eq!(word.with(half), Err(DropReason::TooOld));
        assert!(0.with(half).is_ok(), "an empty word takes any lap");
    }

    #[test]
    fn memory_follows_the_size() {
        let octets = |size| empty_ring(size).len() * 8;
        assert_eq!(
            [0, 32, 64, 540, 1024, 4096, REPLAY_WINDOW].map(octets),
            [0, 128, 128, 128, 256, 1024, 16_384]
        );
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
