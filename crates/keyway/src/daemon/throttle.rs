//! Bounds how often the log repeats what strangers can provoke.

use std::time::Instant;

use super::limits;

/// Lets the first few of a kind pass in each window, and counts the rest.
#[derive(Debug)]
pub(crate) struct Throttle {
    window_began: Instant,
    passed: u32,
    held_back: u32,
}

/// What a throttle says about one more of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Log it.
    Pass,
    /// Log it, and that so many before it were held back.
    PassAfter(u32),
    /// Do not log it.
    HoldBack,
}

impl Throttle {
    /// Makes a throttle whose first window begins now.
    pub(crate) fn new(now: Instant) -> Throttle {
        Throttle { window_began: now, passed: 0, held_back: 0 }
    }

    /// Judges one more.
    pub(crate) fn judge(&mut self, now: Instant) -> Verdict {
        if now.saturating_duration_since(self.window_began) >= limits::FAILURE_WINDOW {
            let held_back = self.held_back;
            *self = Throttle { window_began: now, passed: 1, held_back: 0 };
            return if held_back == 0 { Verdict::Pass } else { Verdict::PassAfter(held_back) };
        }
        if self.passed < limits::FAILURES_LOGGED {
            self.passed += 1;
            return Verdict::Pass;
        }
        self.held_back += 1;
        Verdict::HoldBack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_a_few_times_and_then_counted() {
        let now = Instant::now();
        let mut throttle = Throttle::new(now);
        let passed = (0..1000).filter(|_| throttle.judge(now) == Verdict::Pass).count();
        assert_eq!(passed, limits::FAILURES_LOGGED as usize);
        let held_back = 1000 - limits::FAILURES_LOGGED;
        assert_eq!(throttle.judge(now + limits::FAILURE_WINDOW), Verdict::PassAfter(held_back));
        assert_eq!(throttle.judge(now + limits::FAILURE_WINDOW), Verdict::Pass);
    }
}
