//! When a request without an answer is sent again, and when its sender gives up (RFC 7296 §2.1, §2.4).
//!
//! ```text
//!  request   1st retransmission   2nd         …        last            given up
//!     |------------|---------------|---------------------|----------------|
//!      delay(0)=4 s   delay(1)=7.2 s                       delay(tries)
//! ```

use std::time::{Duration, Instant};

use crypto::Random;

/// How often and how patiently a request is repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetransmissionPolicy {
    /// How long the first answer may take.
    pub initial: Duration,
    /// How many times longer each wait is than the one before; at least 1.
    pub factor: f64,
    /// How often the request is repeated before its sender gives up.
    pub tries: u32,
    /// No single wait is longer than this.
    pub limit: Duration,
    /// At most this share of each wait is cut off at random, in percent, so that a thousand IKE SAs that lost their
    /// peer together do not call for it together.
    pub jitter_percent: u8,
}

impl RetransmissionPolicy {
    /// strongSwan's documented timing, which peers and people expect: 4 s, then 1.8 times longer each time, five
    /// repetitions, given up after 165 s. Jitter is ours.
    pub const STRONGSWAN: RetransmissionPolicy = RetransmissionPolicy {
        initial: Duration::from_secs(4),
        factor: 1.8,
        tries: 5,
        limit: Duration::from_secs(300),
        jitter_percent: 5,
    };

    /// Gives the wait after the request itself (`attempt` 0) or after its `attempt`th repetition, without jitter.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.factor.powi(exponent);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).min(self.limit)
    }

    /// Gives how long a request waits for its response in all, without jitter.
    pub(crate) fn patience(&self) -> Duration {
        (0..=self.tries).fold(Duration::ZERO, |sum, attempt| sum.saturating_add(self.delay(attempt)))
    }

    /// Draws the jitter of one exchange.
    pub(crate) fn draw_jitter(&self, random: &mut dyn Random) -> Jitter {
        let mut octets = [0; 4];
        random.fill(&mut octets);
        let fraction = f64::from(u32::from_be_bytes(octets)) / f64::from(u32::MAX);
        Jitter { keep: 1.0 - fraction * f64::from(self.jitter_percent.min(100)) / 100.0 }
    }
}

impl Default for RetransmissionPolicy {
    fn default() -> RetransmissionPolicy {
        RetransmissionPolicy::STRONGSWAN
    }
}

/// What share of every wait of one exchange is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Jitter {
    keep: f64,
}

impl Jitter {
    /// Shortens a wait.
    pub(crate) fn apply(self, delay: Duration) -> Duration {
        delay.mul_f64(self.keep)
    }
}

/// A message of ours that waits for its answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Repeating {
    /// Its datagrams, kept because a repetition must be bitwise identical (RFC 7296 §2.1).
    datagrams: Vec<Vec<u8>>,
    /// How often it was repeated so far.
    attempt: u32,
    /// When it is repeated next, or given up.
    deadline: Instant,
    policy: RetransmissionPolicy,
    jitter: Jitter,
}

/// What to do about a message that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retransmission<'a> {
    /// Nothing: its time has not come.
    NotDue,
    /// Send these datagrams again.
    Send {
        /// The whole message, as it was sent first.
        datagrams: &'a [Vec<u8>],
        /// Counts repetitions from one.
        attempt: u32,
    },
    /// The peer has not answered in all the time it had: it is gone (RFC 7296 §2.4).
    GiveUp,
}

impl Repeating {
    /// Notes a message that is sent now.
    pub(crate) fn begin(
        now: Instant,
        datagrams: Vec<Vec<u8>>,
        policy: RetransmissionPolicy,
        jitter: Jitter,
    ) -> Repeating {
        let deadline = now + jitter.apply(policy.delay(0));
        Repeating { datagrams, attempt: 0, deadline, policy, jitter }
    }

    /// Notes that another message is sent in its place; repetitions are counted anew.
    pub(crate) fn replace(&mut self, now: Instant, datagrams: Vec<Vec<u8>>) {
        *self = Repeating::begin(now, datagrams, self.policy, self.jitter);
    }

    /// Has the message repeated at a certain moment; the waits after it are those that would have followed.
    pub(crate) fn hurry(&mut self, at: Instant) {
        self.deadline = at;
    }

    /// Has the message repeated at a certain moment, and counts repetitions anew.
    pub(crate) fn again(&mut self, at: Instant) {
        self.attempt = 0;
        self.deadline = at;
    }

    /// Tells what to do now, and counts the repetition if that is it.
    pub(crate) fn repeat(&mut self, now: Instant) -> Retransmission<'_> {
        if now < self.deadline {
            return Retransmission::NotDue;
        }
        if self.attempt >= self.policy.tries {
            return Retransmission::GiveUp;
        }
        self.attempt += 1;
        self.deadline = now + self.jitter.apply(self.policy.delay(self.attempt));
        Retransmission::Send { datagrams: &self.datagrams, attempt: self.attempt }
    }

    /// Tells when [`repeat`](Self::repeat) has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::SystemRandom;

    #[test]
    fn waits_are_those_of_strongswans_manual() {
        let policy = RetransmissionPolicy::STRONGSWAN;
        let waits: Vec<u128> = (0..=policy.tries).map(|attempt| policy.delay(attempt).as_millis()).collect();
        // "Relative Timeout" of strongSwan's retransmission table, in whole seconds: 4 7 13 23 42 76.
        assert_eq!(waits, [4000, 7200, 12960, 23328, 41990, 75582]);
        assert_eq!(waits.iter().sum::<u128>() / 1000, 165);
    }

    #[test]
    fn no_wait_passes_the_limit_however_late_the_attempt() {
        let policy =
            RetransmissionPolicy { limit: Duration::from_secs(20), ..RetransmissionPolicy::STRONGSWAN };
        assert_eq!(policy.delay(2), Duration::from_millis(12960));
        for attempt in [3, 50, 10_000, u32::MAX] {
            assert_eq!(policy.delay(attempt), Duration::from_secs(20));
        }
    }

    #[test]
    fn jitter_only_shortens_and_no_more_than_it_may() {
        let policy = RetransmissionPolicy { jitter_percent: 10, ..RetransmissionPolicy::STRONGSWAN };
        let waits: Vec<Duration> =
            (0..200).map(|_| policy.draw_jitter(&mut SystemRandom).apply(Duration::from_secs(10))).collect();
        assert!(waits.iter().all(|wait| (Duration::from_secs(9)..=Duration::from_secs(10)).contains(wait)));
        assert!(waits.iter().max() > waits.iter().min());
        let without = RetransmissionPolicy { jitter_percent: 0, ..policy }.draw_jitter(&mut SystemRandom);
        assert_eq!(without.apply(Duration::from_secs(10)), Duration::from_secs(10));
    }
}
