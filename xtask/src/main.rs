//! House rules that no lint knows: `cargo xtask check`.
//!
//! [`source`] reads the tree once, as tokens; each of [`rules`] looks at it and gives what it does not like. A rule is a
//! function; to add one, write it and name it in [`RULES`].

#![forbid(unsafe_code)]

mod rules;
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rules::{Fault, Tree};

/// Looks at the tree and gives what breaks the rule.
type Rule = fn(&Tree) -> Vec<Fault>;

/// All rules, with what a person has to know when one is broken.
const RULES: &[(&str, Rule)] = &[
    ("a file has at most 600 lines without its tests", rules::size::files),
    ("a function has at most 70 lines", rules::size::functions),
    (
        "a core panics on no input: no unwrap, panic!, unreachable!, todo!, unimplemented!",
        rules::cores::panics,
    ),
    ("a core takes the time, randomness and octets; it reads no clock, file or socket", rules::cores::world),
    ("unsafe code stands in the one module that talks to the kernel or to C", rules::unsafety::places),
    ("every crate forbids unsafe code, but for the ones with such a module", rules::unsafety::attributes),
    ("a crate knows only the crates below it", rules::layers::layers),
    ("a dependency's licence is one that we may ship", rules::licences::licences),
    ("no marks of unfinished work, and no paths of somebody's machine", rules::words::words),
    ("a module opens with //! and says what it is", rules::words::module_openings),
    ("a line of specs/ names a test that is there, or why there is none", rules::specs::lines),
];

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("check") => check(),
        _ => {
            eprintln!("usage: cargo xtask check");
            ExitCode::from(2)
        }
    }
}

fn check() -> ExitCode {
    let tree = match Tree::read(&root()) {
        Ok(tree) => tree,
        Err(fault) => {
            eprintln!("cannot check: {fault}");
            return ExitCode::FAILURE;
        }
    };
    let mut count = 0;
    for (rule, find) in RULES {
        let faults = find(&tree);
        if !faults.is_empty() {
            eprintln!("\n{rule}:");
        }
        for fault in &faults {
            eprintln!("  {fault}");
        }
        count += faults.len();
    }
    if count > 0 {
        eprintln!("\n{count} breaches of {} rules", RULES.len());
        return ExitCode::FAILURE;
    }
    println!("{} files keep {} house rules", tree.sources.len(), RULES.len());
    ExitCode::SUCCESS
}

/// The root of the workspace, wherever cargo runs us.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
