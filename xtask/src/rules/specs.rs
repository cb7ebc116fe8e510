//! `specs/`: what the RFCs demand, one line for each demand, with the tests that show it or the reason why none does.
//!
//! ```text
//! RFC 7296: Internet Key Exchange Protocol Version 2 (IKEv2)
//!
//! §2.1 Use of Retransmission Timers
//!   MUST      keep the response until the next request → ike/src/v2/window.rs::a_repeated_request_gets_the_same_response
//!   MUST NOT  do what nobody can do here — by construction: the type has no such value
//! ```
//!
//! A line that points at nothing is worse than none. So a test must be there, with its attribute; and where there is none,
//! the first word of the reason says which kind it is, and a file that it names must be there too.

use std::path::{Path, PathBuf};

use super::{Fault, Text, Tree};

/// How RFC 2119 demands something; longer words before those that they begin with.
const DEMANDS: &[&str] = &[
    "MUST NOT",
    "MUST",
    "SHALL NOT",
    "SHALL",
    "SHOULD NOT",
    "SHOULD",
    "REQUIRED",
    "NOT RECOMMENDED",
    "RECOMMENDED",
];

/// What a reason without a test begins with.
const REASONS: &[&str] = &["by construction: ", "not ours: ", "not done: ", "not shown: ", "not yet: "];

/// Finds lines of `specs/` that are not of the form, or point at nothing.
pub(crate) fn lines(tree: &Tree) -> Vec<Fault> {
    let is_spec = |text: &&Text| {
        text.path.starts_with("specs") && text.path.extension().is_some_and(|extension| extension == "txt")
    };
    let source = |path: &Path| tree.sources.iter().find(|source| source.path == path);
    let has_file = |path: &Path| source(path).is_some() || tree.texts.iter().any(|text| text.path == path);
    let has_test = |path: &Path, name: &str| source(path).is_some_and(|source| is_test(&source.text, name));
    tree.texts
        .iter()
        .filter(is_spec)
        .flat_map(|text| faults_of(&text.path, &text.content, &has_file, &has_test))
        .collect()
}

/// Looks at one file, with two ways to ask of the tree.
fn faults_of(
    path: &Path,
    content: &str,
    has_file: &dyn Fn(&Path) -> bool,
    has_test: &dyn Fn(&Path, &str) -> bool,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut demands = 0;
    for (line, text) in (1..).zip(content.lines()) {
        let Some(demand) = text.strip_prefix("  ") else { continue };
        demands += 1;
        let said = match split(demand) {
            Err(fault) => vec![fault],
            Ok(Shown::By(tests)) => {
                tests.split(", ").filter_map(|test| fault_of_test(test, has_file, has_test)).collect()
            }
            Ok(Shown::Not(reason)) => fault_of_reason(reason, has_file),
        };
        faults.extend(said.into_iter().map(|what| Fault::at(path, line, what)));
    }
    if demands == 0 {
        faults.push(Fault::at(path, 0, "demands nothing"));
    }
    faults
}

/// What a line says of a demand.
enum Shown<'a> {
    By(&'a str),
    Not(&'a str),
}

fn split(demand: &str) -> Result<Shown<'_>, String> {
    if !DEMANDS.iter().any(|word| demand.strip_prefix(word).is_some_and(|rest| rest.starts_with(' '))) {
        return Err("begins with no word of RFC 2119".to_owned());
    }
    match (demand.split_once(" → "), demand.split_once(" — ")) {
        (Some((_, tests)), None) => Ok(Shown::By(tests)),
        (None, Some((_, reason))) => Ok(Shown::Not(reason)),
        (None, None) => Err("neither → a test nor — a reason".to_owned()),
        (Some(_), Some(_)) => Err("both → a test and — a reason".to_owned()),
    }
}

fn fault_of_test(
    test: &str,
    has_file: &dyn Fn(&Path) -> bool,
    has_test: &dyn Fn(&Path, &str) -> bool,
) -> Option<String> {
    let Some((path, name)) = test.split_once("::") else { return Some(format!("{test} names no test")) };
    let path = in_tree(path, has_file);
    (!has_test(&path, name)).then(|| format!("there is no test {name} in {}", path.display()))
}

fn fault_of_reason(reason: &str, has_file: &dyn Fn(&Path) -> bool) -> Vec<String> {
    if !REASONS.iter().any(|kind| reason.strip_prefix(kind).is_some_and(|rest| !rest.trim().is_empty())) {
        return vec![format!("a reason begins with one of {REASONS:?}")];
    }
    let words = reason.split(|c: char| c.is_whitespace() || ",;()".contains(c));
    let files = words.filter(|word| word.ends_with(".rs"));
    files
        .filter(|file| !has_file(&in_tree(file, has_file)))
        .map(|file| format!("there is no file {file}"))
        .collect()
}

/// A path is below `crates/`, or below the root.
fn in_tree(path: &str, has_file: &dyn Fn(&Path) -> bool) -> PathBuf {
    let below_crates = Path::new("crates").join(path);
    if has_file(&below_crates) { below_crates } else { PathBuf::from(path) }
}

/// Tells whether a source has a test function of this name: the lines just above it have its attribute, or it stands in
/// `proptest!`, whose functions have it as well.
fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    let begins = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    (0..lines.len()).filter(|at| begins(lines[*at])).any(|at| {
        let above = lines[..at].iter().rev().take_while(|line| line.trim_start().starts_with("#["));
        above.into_iter().any(|line| line.contains("test]") || line.contains("test("))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(content: &str) -> Vec<String> {
        let has_file =
            |path: &Path| [Path::new("crates/a/src/lib.rs"), Path::new("fuzz/b.rs")].contains(&path);
        let has_test = |path: &Path, name: &str| has_file(path) && name == "it_holds";
        faults_of("specs/x.txt".as_ref(), content, &has_file, &has_test)
            .into_iter()
            .map(|fault| format!("{}: {}", fault.line, fault.what))
            .collect()
    }

    #[test]
    fn a_line_that_points_at_a_test_or_gives_a_reason_is_good() {
        assert_eq!(
            faults(
                "RFC 1: it\n\n§1 Here\n  MUST      be → a/src/lib.rs::it_holds, fuzz/b.rs::it_holds\n  SHOULD NOT  be — not done: a/src/lib.rs has no room\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_line_that_points_at_nothing_is_found() {
        assert_eq!(faults("RFC 1: it\n"), ["0: demands nothing"]);
        assert_eq!(
            faults("  MUST be → a/src/lib.rs::it_held"),
            ["1: there is no test it_held in crates/a/src/lib.rs"]
        );
        assert_eq!(faults("  MUST be → c.rs::it_holds"), ["1: there is no test it_holds in c.rs"]);
        assert_eq!(faults("  MUST be → a/src/lib.rs"), ["1: a/src/lib.rs names no test"]);
        assert_eq!(faults("  MUST be — by construction: of c.rs"), ["1: there is no file c.rs"]);
    }

    #[test]
    fn a_line_of_another_form_is_found() {
        assert_eq!(faults("  MAY be → a/src/lib.rs::it_holds"), ["1: begins with no word of RFC 2119"]);
        assert_eq!(faults("  MUST be"), ["1: neither → a test nor — a reason"]);
        assert_eq!(faults("  MUST be → a — b"), ["1: both → a test and — a reason"]);
        assert!(faults("  MUST be — because")[0].starts_with("1: a reason begins with"));
        assert!(faults("  MUST be — not done: ")[0].starts_with("1: a reason begins with"));
    }

    #[test]
    fn a_test_has_its_attribute() {
        let source = "#[test]\nfn one() {}\n\nfn two() {}\n\n    #[tokio::test]\n    #[ignore]\n    async fn three() {}\n";
        let found: Vec<_> = ["one", "two", "three", "on"].map(|name| is_test(source, name)).into();
        assert_eq!(found, [true, false, true, false]);
    }
}
