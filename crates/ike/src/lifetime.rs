//! When an SA is replaced and when it ends, if nothing replaces it: swanctl.conf's `rekey_time`, `rand_time`,
//! `over_time` and `life_time` (RFC 7296 §2.8).
//!
//! ```text
//!  made            rekey_at                      expire_at
//!   |-----------------|-----------------------------|
//!   |   rekey - (0..=rand)    |<-------- over ----->|
//!   |<-------- rekey -------->|
//! ```
//!
//! Byte and packet limits are the data plane's to count; they are part of its `SaSpec`.

use std::time::{Duration, Instant};

use crypto::Random;

/// The times of one kind of SA, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long after it was made an SA is replaced; zero is never.
    pub rekey: Duration,
    /// Up to this much is taken off `rekey` at random, so that two ends with the same configuration do not begin at
    /// the same moment.
    pub rand: Duration,
    /// How long after it was made an SA ends if no rekeying succeeded; zero is never.
    pub expire: Duration,
}

impl Lifetimes {
    /// Ends after `limit` at the latest: what the two ends agreed on.
    pub(crate) fn limited_to(self, limit: Duration) -> Lifetimes {
        let is_longer = self.expire.is_zero() || self.expire > limit;
        Lifetimes { expire: if is_longer { limit } else { self.expire }, ..self }
    }

    /// Fixes the moments for an SA that is made `now`.
    ///
    /// An SA that would expire before it is replaced is replaced at nine tenths of its life instead.
    pub(crate) fn schedule(&self, now: Instant, random: &mut dyn Random) -> Schedule {
        let expire_at = moment(now, self.expire);
        let rand = self.rand.min(self.rekey);
        let mut rekey_after = self.rekey - fraction_of(rand, random);
        if !self.expire.is_zero() && rekey_after >= self.expire {
            rekey_after = self.expire.mul_f64(0.9);
        }
        let rekey_at = if self.rekey.is_zero() { None } else { now.checked_add(rekey_after) };
        Schedule { rekey_at, expire_at }
    }
}

/// The moments of one SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// When to begin its replacement; `None` is never.
    pub(crate) rekey_at: Option<Instant>,
    /// When to delete it; `None` is never.
    pub(crate) expire_at: Option<Instant>,
}

impl Schedule {
    /// Ends `limit` after the SA was made at the latest, and has it replaced before that.
    pub(crate) fn limited_to(self, made: Instant, limit: Duration) -> Schedule {
        let earlier =
            |at: Instant, after: Duration| made.checked_add(after).map_or(at, |limit| at.min(limit));
        let expire_at = match self.expire_at {
            Some(at) => Some(earlier(at, limit)),
            None => moment(made, limit),
        };
        Schedule { rekey_at: self.rekey_at.map(|at| earlier(at, limit.mul_f64(0.9))), expire_at }
    }
}

fn moment(now: Instant, after: Duration) -> Option<Instant> {
    if after.is_zero() { None } else { now.checked_add(after) }
}

/// A random share of `duration`, from nothing to all of it.
fn fraction_of(duration: Duration, random: &mut dyn Random) -> Duration {
    let mut octets = [0; 4];
    random.fill(&mut octets);
    duration.mul_f64(f64::from(u32::from_be_bytes(octets)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::SystemRandom;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A generator that always gives the same octet.
    struct Constant(u8);
    impl Random for Constant {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn random_time_is_taken_off_and_never_added() {
        let now = Instant::now();
        let lifetimes = Lifetimes { rekey: HOUR, rand: HOUR / 10, expire: HOUR + HOUR / 10 };
        assert_eq!(lifetimes.schedule(now, &mut Constant(0x00)).rekey_at, Some(now + HOUR));
        assert_eq!(lifetimes.schedule(now, &mut Constant(0xff)).rekey_at, Some(now + HOUR - HOUR / 10));
        for _ in 0..100 {
            let Schedule { rekey_at, expire_at } = lifetimes.schedule(now, &mut SystemRandom);
            assert!((Some(now + HOUR - HOUR / 10)..=Some(now + HOUR)).contains(&rekey_at));
            assert_eq!(expire_at, Some(now + HOUR + HOUR / 10));
        }
    }

    #[test]
    fn a_limit_that_comes_later_is_kept_too() {
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        let schedule = Schedule { rekey_at: Some(now + HOUR), expire_at: Some(now + 2 * HOUR) };
        let limited = schedule.limited_to(now, 10 * minute);
        assert_eq!(
            limited,
            Schedule { rekey_at: Some(now + 9 * minute), expire_at: Some(now + 10 * minute) }
        );
        assert_eq!(schedule.limited_to(now, 3 * HOUR), schedule);
        let never = Schedule { rekey_at: None, expire_at: None };
        assert_eq!(never.limited_to(now, HOUR), Schedule { rekey_at: None, expire_at: Some(now + HOUR) });
    }

    #[test]
    fn zero_is_never() {
        let now = Instant::now();
        let lifetimes = Lifetimes { rekey: Duration::ZERO, rand: HOUR, expire: Duration::ZERO };
        let schedule = lifetimes.schedule(now, &mut SystemRandom);
        assert_eq!(schedule, Schedule { rekey_at: None, expire_at: None });
    }

    #[test]
    fn an_sa_is_replaced_before_it_expires_whatever_the_configuration() {
        let now = Instant::now();
        let lifetimes = Lifetimes { rekey: 2 * HOUR, rand: Duration::ZERO, expire: HOUR };
        let schedule = lifetimes.schedule(now, &mut SystemRandom);
        assert_eq!(schedule.rekey_at, Some(now + HOUR.mul_f64(0.9)));
    }
}
