//! Words that do not belong into the tree.

use std::path::Path;

use super::{Fault, Tree};

/// Marks of unfinished work, and the beginnings of paths that exist on one machine only. They are put together here so that
/// this file does not find itself.
const UNWANTED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("HA", "CK:"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/."),
];

/// Finds unwanted words, in code, comments and documents alike.
pub(crate) fn words(tree: &Tree) -> Vec<Fault> {
    let sources = tree.sources.iter().map(|source| (source.path.as_path(), source.text.as_str()));
    let texts = tree.texts.iter().map(|text| (text.path.as_path(), text.content.as_str()));
    sources.chain(texts).flat_map(|(path, content)| faults_of(path, content)).collect()
}

/// Finds modules that do not say what they are. A fuzz target is one line that names what does.
pub(crate) fn module_openings(tree: &Tree) -> Vec<Fault> {
    let modules = tree.sources.iter().filter(|source| !source.path.starts_with("fuzz/fuzz_targets"));
    let silent = modules.filter(|source| {
        let first = source.text.lines().find(|line| !line.starts_with("#!") && !line.is_empty());
        !source.path.ends_with("tests.rs") && !first.is_some_and(|line| line.starts_with("//!"))
    });
    silent.map(|source| Fault::at(&source.path, 1, "no //!")).collect()
}

fn faults_of(path: &Path, content: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (line, text) in (1..).zip(content.lines()) {
        for word in UNWANTED.iter().filter(|word| text.contains(**word)) {
            faults.push(Fault::at(path, line, *word));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_of_unfinished_work_is_found() {
        let text = format!("fine\n// {}: later\n", UNWANTED[0]);
        assert_eq!(faults_of("a.rs".as_ref(), &text), [Fault::at("a.rs".as_ref(), 2, UNWANTED[0])]);
        assert_eq!(faults_of("a.rs".as_ref(), "To do this, work hard.\n"), []);
    }
}
