//! Finding out what a path takes by trying it, where no router says so (RFC 8899).
//!
//! ```text
//!   Searching    the most that the link takes; if that does not pass, a size that passes almost everywhere, and then
//!                halfway between what passed and what did not, until they are close
//!   Settled      what passed is tried again and again: a path may change; now and then it is searched for more
//!   Stuck        not even the base size passes: the least that IP allows is assumed, and searched anew later
//! ```
//!
//! Who sends probes says here what became of each; how that is done is in `v2/ike_sa/probes.rs`. Sizes that are asked for
//! may be rounded down by less than [`PROBE_STEP`], and what was sent is what counts.
//!
//! Other than in RFC 8899, packets of the link's size are sent until a probe shows that they do not pass: TCP connections
//! that open in the meantime would else keep to the base size for life.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::{
    LEAST_PATH_MTU_V4, LEAST_PATH_MTU_V6, LONGEST_PROBE, PROBE_BASE_V4, PROBE_CONFIRM_INTERVAL,
    PROBE_RAISE_INTERVAL, PROBE_STEP, PROBE_TRIES, PROBE_WAIT,
};

/// The search for what one path takes. Sizes are octets of whole packets, their outer IP header included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probing {
    base: usize,
    least: usize,
    most: usize,
    /// The largest size that passed.
    passed: Option<usize>,
    /// The smallest size above it that did not pass, or the first that the link does not take.
    failed: usize,
    /// A size that is likely to be the path's.
    hint: Option<usize>,
    /// How often the size that is being tried was lost, one time after the other.
    lost: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Searching,
    Settled { confirm_at: Instant, raise_at: Instant },
    Stuck { until: Instant },
}

/// What to try, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Octets of the packet, its IP header included.
    pub(crate) size: usize,
    /// Not before this time.
    pub(crate) at: Instant,
    /// How long its answer may take.
    pub(crate) wait: Duration,
}

impl Probing {
    /// Begins the search for what the path to `remote` takes, where the first link takes `link` octets.
    pub(crate) fn new(remote: IpAddr, link: usize) -> Probing {
        let (least, base) = match remote {
            IpAddr::V4(_) => (LEAST_PATH_MTU_V4, PROBE_BASE_V4),
            IpAddr::V6(_) => (LEAST_PATH_MTU_V6, LEAST_PATH_MTU_V6),
        };
        let most = link.clamp(least, LONGEST_PROBE);
        Probing {
            base: base.min(most),
            least,
            most,
            passed: None,
            failed: most + 1,
            hint: Some(most),
            lost: 0,
            phase: Phase::Searching,
        }
    }

    /// Gives the longest packet that should be sent along the path.
    pub(crate) fn octets(&self) -> usize {
        match self.phase {
            Phase::Searching | Phase::Settled { .. } => self.passed.or(self.hint).unwrap_or(self.base),
            Phase::Stuck { .. } => self.least,
        }
    }

    /// Gives the next probe.
    pub(crate) fn next(&mut self, now: Instant) -> Probe {
        if matches!(self.phase, Phase::Settled { raise_at, .. } if raise_at <= now) {
            self.failed = self.most + 1;
            self.hint = Some(self.most);
            self.phase = Phase::Searching;
        }
        let (size, at) = match self.phase {
            Phase::Searching => (self.candidate(), now),
            Phase::Settled { confirm_at, .. } => (self.octets(), confirm_at),
            Phase::Stuck { until } => (self.base, until),
        };
        Probe { size, at, wait: PROBE_WAIT * 2u32.pow(self.lost) }
    }

    /// Tells when there is something to try; `None` is at once.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Searching => None,
            Phase::Settled { confirm_at, .. } => Some(confirm_at),
            Phase::Stuck { until } => Some(until),
        }
    }

    /// Takes note that a probe of this size was answered.
    pub(crate) fn answered(&mut self, size: usize, now: Instant) {
        self.lost = 0;
        self.passed = self.passed.max(Some(size));
        self.failed = self.failed.max(size + 1);
        if self.hint.is_some_and(|hint| hint < size + PROBE_STEP) {
            self.hint = None;
        }
        self.proceed(now);
    }

    /// Takes note that a probe of this size was not answered, though others were or will be: a peer that answers nothing
    /// is away, and says nothing about the path.
    pub(crate) fn unanswered(&mut self, size: usize, now: Instant) {
        self.lost += 1;
        if self.lost < PROBE_TRIES {
            return;
        }
        self.lost = 0;
        self.failed = self.failed.min(size);
        self.hint = self.hint.filter(|hint| *hint < size);
        if self.passed.is_some_and(|passed| passed >= size) {
            // RFC 8899 §4.3: what passed before does so no more.
            self.passed = None;
        }
        if size <= self.base {
            self.phase = Phase::Stuck { until: now + PROBE_RAISE_INTERVAL };
            self.failed = self.most + 1;
            self.hint = Some(self.most);
        } else {
            self.proceed(now);
        }
    }

    /// Takes note that a router on the path says what it takes, in a report that was believed (RFC 8899 §4.6).
    pub(crate) fn reported(&mut self, mtu: usize, now: Instant) {
        if mtu < self.failed.saturating_sub(1) && mtu >= self.base {
            self.failed = mtu + 1;
            self.passed = self.passed.filter(|passed| *passed <= mtu);
            self.hint = Some(mtu);
            self.lost = 0;
            self.proceed(now);
        }
    }

    fn candidate(&self) -> usize {
        match (self.hint, self.passed) {
            (Some(hint), _) => hint,
            (None, None) => self.base,
            (None, Some(passed)) => passed + PROBE_STEP.max((self.failed - passed) / 2),
        }
    }

    /// Goes on searching, or settles if there is nothing more to be gained.
    fn proceed(&mut self, now: Instant) {
        let gain = self.passed.map(|passed| self.failed - passed - 1);
        self.phase = match (gain, self.phase) {
            (Some(gain), phase) if self.hint.is_none() && gain < PROBE_STEP => {
                let raise_at = match phase {
                    Phase::Settled { raise_at, .. } => raise_at,
                    Phase::Searching | Phase::Stuck { .. } => now + PROBE_RAISE_INTERVAL,
                };
                Phase::Settled { confirm_at: now + PROBE_CONFIRM_INTERVAL, raise_at }
            }
            _ => Phase::Searching,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn next(probing: &mut Probing, now: Instant) -> (usize, Instant) {
        let probe = probing.next(now);
        (probe.size, probe.at)
    }

    /// Probes until nothing is to be tried at once; gives how many probes that took.
    fn settle(probing: &mut Probing, now: Instant, passes: impl FnMut(usize) -> bool) -> usize {
        settle_in_blocks(probing, now, 1, passes)
    }

    /// The same with a cipher of this block: only every so many octets there is a message.
    fn settle_in_blocks(
        probing: &mut Probing,
        now: Instant,
        block: usize,
        mut passes: impl FnMut(usize) -> bool,
    ) -> usize {
        for count in 0.. {
            let probe = probing.next(now);
            if probe.at > now {
                return count;
            }
            let size = probe.size - probe.size % block;
            if passes(size) { probing.answered(size, now) } else { probing.unanswered(size, now) }
        }
        unreachable!("the search ends")
    }

    #[test]
    fn a_path_that_takes_what_the_link_does_costs_one_probe() {
        let now = Instant::now();
        let mut probing = Probing::new(V4, 1500);
        assert_eq!(probing.octets(), 1500);
        assert_eq!(settle(&mut probing, now, |_| true), 1);
        assert_eq!(probing.octets(), 1500);
        assert_eq!(next(&mut probing, now), (1500, now + PROBE_CONFIRM_INTERVAL));
    }

    #[test]
    fn a_path_that_does_not_even_take_the_base_is_held_to_the_least() {
        let now = Instant::now();
        let mut probing = Probing::new(V4, 1500);
        settle(&mut probing, now, |size| size <= 600);
        assert_eq!(probing.octets(), LEAST_PATH_MTU_V4);
        let later = now + PROBE_RAISE_INTERVAL;
        assert_eq!(next(&mut probing, later), (PROBE_BASE_V4, later));
        settle(&mut probing, later, |size| size <= 1400);
        assert!((1400 - PROBE_STEP..=1400).contains(&probing.octets()));
    }

    #[test]
    fn a_path_that_changes_is_found_out() {
        let start = Instant::now();
        let mut probing = Probing::new(V6, 1500);
        settle(&mut probing, start, |size| size <= 1500);
        // It becomes narrower: the next confirmation fails, and what passes is searched for.
        let narrow = start + PROBE_CONFIRM_INTERVAL;
        settle(&mut probing, narrow, |size| size <= 1400);
        assert!((1400 - PROBE_STEP..=1400).contains(&probing.octets()));
        // And wide again: that is seen when it is time to look for more.
        let wide = narrow + PROBE_RAISE_INTERVAL;
        settle(&mut probing, wide, |size| size <= 1480);
        assert!((1480 - PROBE_STEP..=1480).contains(&probing.octets()));
    }

    #[test]
    fn what_a_router_says_is_tried_first() {
        let now = Instant::now();
        let mut probing = Probing::new(V4, 1500);
        probing.reported(1400, now);
        assert_eq!(probing.octets(), 1400);
        assert_eq!(settle(&mut probing, now, |size| size <= 1400), 1);
        assert_eq!(probing.octets(), 1400);
        let before = probing.clone();
        probing.reported(1450, now);
        probing.reported(600, now);
        assert_eq!(probing, before);
    }

    proptest! {
        /// Some probes are lost for other reasons; what is found never passes what the path takes, and comes close to it
        /// when no size was lost too often.
        #[test]
        fn the_search_finds_what_the_path_takes(
            six: bool,
            block in proptest::sample::select(vec![1usize, 8, 16]),
            link in 1300usize..9001,
            takes in 1280usize..9001,
            lost in proptest::collection::vec(proptest::bool::weighted(0.1), 200),
        ) {
            let now = Instant::now();
            let mut probing = Probing::new(if six { V6 } else { V4 }, link);
            let mut lost = lost.into_iter();
            let mut in_a_row = 0;
            let mut unlucky = false;
            let count = settle_in_blocks(&mut probing, now, block, |size| {
                let lost = lost.next().unwrap_or(false) && size <= takes;
                in_a_row = if lost { in_a_row + 1 } else { 0 };
                unlucky |= in_a_row == PROBE_TRIES;
                size <= takes && !lost
            });
            let most = link.min(takes);
            prop_assert!(probing.octets() <= most);
            prop_assert!(unlucky || probing.octets() + PROBE_STEP + block > most, "{} of {most}", probing.octets());
            prop_assert!(count <= 200, "{count} probes");
        }
    }
}
