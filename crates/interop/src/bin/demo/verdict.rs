//! What was promised, and whether it held.

use crate::terminal::{Style, heading, styled};

/// The promises so far.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    promises: Vec<(String, Kept)>,
}

/// Whether a promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    No,
}

impl Verdict {
    /// Notes a promise, and prints it.
    pub(crate) fn note(&mut self, promise: impl Into<String>, kept: bool) {
        let kept = if kept { Kept::Yes } else { Kept::No };
        let promise = promise.into();
        println!("  {} {promise}", mark(kept));
        self.promises.push((promise, kept));
    }

    /// Tells whether every promise was kept, and whether there were any.
    pub(crate) fn holds(&self) -> bool {
        !self.promises.is_empty() && self.promises.iter().all(|(_, kept)| *kept == Kept::Yes)
    }

    /// Prints all of it.
    pub(crate) fn print(&self) {
        heading("Verdict");
        for (promise, kept) in &self.promises {
            println!("  {} {promise}", mark(*kept));
        }
        let broken = self.promises.iter().filter(|(_, kept)| *kept == Kept::No).count();
        if self.holds() {
            let sentence = format!("All {} held.", self.promises.len());
            println!("\n  {}", styled(Style::Green, &sentence));
        } else {
            let sentence = format!("{broken} of {} did not hold.", self.promises.len());
            println!("\n  {}", styled(Style::Red, &sentence));
        }
    }
}

fn mark(kept: Kept) -> String {
    match kept {
        Kept::Yes => styled(Style::Green, "✓"),
        Kept::No => styled(Style::Red, "✗"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_promise_breaks_it_and_none_is_no_success() {
        let mut verdict = Verdict::default();
        assert!(!verdict.holds());
        verdict.note("first", true);
        assert!(verdict.holds());
        verdict.note("second", false);
        assert!(!verdict.holds());
    }
}
