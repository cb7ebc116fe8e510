//! Waiting for what other processes do.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Failure, Result};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(30);

/// Looks at `condition` until it gives a value, and gives that.
///
/// # Errors
///
/// When `limit` has passed: the sentence says what was waited for.
pub fn within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() >= end {
            return Err(Failure::new(format!("waited {} s in vain for {what}", limit.as_secs_f32())));
        }
        sleep(INTERVAL);
    }
}

/// Looks at `condition` until it holds.
///
/// # Errors
///
/// When `limit` has passed: the sentence says what was waited for.
pub fn until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    within(limit, what, || condition().then_some(()))
}
