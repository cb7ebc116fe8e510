//! Runs a simulation for many seeds, and says how to run the one that failed again.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The environment variable that names the only seed to run.
pub const SEED_VARIABLE: &str = "KEYWAY_SEED";

/// The environment variable that says how many times more seeds to run, for a night's hunt.
pub const MORE_SEEDS_VARIABLE: &str = "KEYWAY_MORE_SEEDS";

/// Runs `simulation` once for each seed, on every processor, until one fails.
///
/// # Panics
/// With the panic of a simulation that failed, after its seed was printed.
pub fn for_seeds(seeds: Range<u64>, simulation: impl Fn(u64) + Sync) {
    if let Some(seed) = only_seed() {
        return simulation(seed);
    }
    let more = number_in(MORE_SEEDS_VARIABLE).unwrap_or(1);
    let seeds = seeds.start..seeds.start + (seeds.end - seeds.start) * more;
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| simulation(seed))) {
                failed.store(true, Ordering::Relaxed);
                eprintln!(
                    "seed {seed} failed; {SEED_VARIABLE}={seed} before the test's command replays it alone"
                );
                resume_unwind(panic);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for handle in handles {
            if let Err(panic) = handle.join() {
                resume_unwind(panic);
            }
        }
    });
}

/// Tells which seed alone is to be run; its messages are traced.
pub(crate) fn only_seed() -> Option<u64> {
    number_in(SEED_VARIABLE)
}

fn number_in(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} holds {text:?}, which is no number")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_seed_is_run_once() {
        let seen = Mutex::new(Vec::new());
        for_seeds(5..105, |seed| seen.lock().expect("no panic holds it").push(seed));
        let mut seen = seen.into_inner().expect("no panic held it");
        seen.sort_unstable();
        assert_eq!(seen, (5..105).collect::<Vec<u64>>());
    }

    #[test]
    #[should_panic(expected = "seed 7 is unlucky")]
    fn a_failure_is_passed_on() {
        for_seeds(0..10, |seed| assert_ne!(seed, 7, "seed 7 is unlucky"));
    }
}
