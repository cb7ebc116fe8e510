//! Dummy packets, which make an SA busy whether it carries anything or not (RFC 4303 §2.6).
//!
//! ```text
//!   InstallSa (dummies = 5) ──► Schedule: when each SA's next one is due, spread at random
//!                                   │
//!   Ticker: sleeps until then ──► Control::send_dummies ──► seal ──► train ──► socket
//! ```
//!
//! They leave from a thread of their own, so that no worker wakes for them. Lengths are as random as the moments, up to
//! what the SA takes; who wants them to be like those of other packets has all of them padded to one length
//! (`tfc_padding`).

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crypto::{Random as _, SystemRandom};
use sa::SaId;

/// When the next dummy of each SA is due.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    due: BTreeSet<(Instant, SaId)>,
    sas: BTreeMap<SaId, Paced>,
}

#[derive(Clone, Copy, Debug)]
struct Paced {
    next: Instant,
    a_second: NonZeroU16,
}

impl Schedule {
    /// Has an SA send so many dummies a second, on average.
    pub(crate) fn insert(&mut self, sa: SaId, a_second: NonZeroU16, now: Instant) {
        self.remove(&sa);
        let next = now + wait(a_second);
        self.due.insert((next, sa));
        self.sas.insert(sa, Paced { next, a_second });
    }

    /// Takes an SA away; gives how many dummies a second it sent.
    pub(crate) fn remove(&mut self, sa: &SaId) -> Option<NonZeroU16> {
        let Paced { next, a_second } = self.sas.remove(sa)?;
        self.due.remove(&(next, *sa));
        Some(a_second)
    }

    /// Gives the next SA that is due, and when it is due again is decided.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<SaId> {
        let (_, sa) = self.due.first().filter(|(at, _)| *at <= now).copied()?;
        let a_second = self.remove(&sa)?;
        self.insert(sa, a_second, now);
        Some(sa)
    }

    /// Tells when the next SA is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// Draws the time between two dummies: up to twice the mean, so that none tells when the next one comes.
fn wait(a_second: NonZeroU16) -> Duration {
    Duration::from_secs(2).mul_f64(fraction() / f64::from(a_second.get()))
}

/// Draws the length of a dummy's payload.
pub(crate) fn length_up_to(most: usize) -> usize {
    (fraction() * most as f64) as usize
}

/// Draws a number from 0 to 1.
fn fraction() -> f64 {
    let mut octets = [0; 4];
    SystemRandom.fill(&mut octets);
    f64::from(u32::from_ne_bytes(octets)) / f64::from(u32::MAX)
}

/// A thread that calls when something is due, and ends with this value.
#[derive(Debug)]
pub(crate) struct Ticker {
    /// Wakes the thread; `None` ends it.
    bell: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread. `tick` does what is due and gives when it is to be called next; `None` is when the bell
    /// [rings](Self::ring).
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        mut tick: impl FnMut() -> Option<Instant> + Send + 'static,
    ) -> std::io::Result<Ticker> {
        let (bell, rings) = mpsc::channel();
        let run = move || loop {
            let woken = match tick() {
                Some(next) => rings.recv_timeout(next.saturating_duration_since(Instant::now())),
                None => rings.recv().map_err(RecvTimeoutError::from),
            };
            if woken == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        };
        let thread = thread::Builder::new().name("kw-dummies".to_owned()).spawn(run)?;
        Ok(Ticker { bell: Some(bell), thread: Some(thread) })
    }

    /// Says that something may be due earlier than it seemed.
    pub(crate) fn ring(&self) {
        if let Some(bell) = &self.bell {
            // A thread that has ended has nothing to do any more.
            let _ = bell.send(());
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.bell = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that sends dummy packets panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa::{Direction, Protocol, Spi};

    fn sa(spi: u32) -> SaId {
        let destination = [192, 0, 2, 1].into();
        SaId { direction: Direction::Outbound, protocol: Protocol::Esp, destination, spi: Spi(spi) }
    }

    #[test]
    fn each_sa_has_its_own_pace_and_no_rhythm() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        let a_second = |number| NonZeroU16::new(number).expect("not zero");
        schedule.insert(sa(1), a_second(10), start);
        schedule.insert(sa(2), a_second(40), start);
        let mut moments = [Vec::new(), Vec::new()];
        while let Some(now) = schedule.next().filter(|next| *next < start + Duration::from_secs(100)) {
            let due = schedule.pop(now).expect("its time has come");
            moments[due.spi.0 as usize - 1].push(now);
        }
        // Six standard deviations: ten a second vary by 0.58 of their mean, a thousand of them by 18.
        assert!((890..1110).contains(&moments[0].len()), "{}", moments[0].len());
        assert!((3780..4220).contains(&moments[1].len()), "{}", moments[1].len());
        let gaps: BTreeSet<Duration> = moments[0].windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.len() > moments[0].len() / 2);
        assert_eq!(schedule.remove(&sa(1)), Some(a_second(10)));
        assert_eq!(schedule.remove(&sa(1)), None);
        assert_eq!(schedule.pop(start + Duration::from_secs(200)), Some(sa(2)));
        schedule.remove(&sa(2));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_ticker_ticks_when_it_said_and_when_it_is_rung_for() {
        let (tell, told) = mpsc::channel();
        let mut left = 3;
        let ticker = Ticker::start(move || {
            tell.send(()).expect("the test listens");
            left -= 1;
            (left > 0).then(Instant::now)
        })
        .expect("there are threads");
        (0..3).for_each(|_| told.recv().expect("it ticks"));
        ticker.ring();
        told.recv().expect("it was rung for");
        drop(ticker);
        assert!(told.recv().is_err(), "it has ended");
    }
}
