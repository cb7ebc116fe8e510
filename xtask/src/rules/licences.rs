//! Licences of what we link. `cargo deny` looks closer where it is installed; this always runs.

use super::{Fault, Tree};

/// Licences that ask for no more than to be named; the SPDX identifiers.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Finds packages of others under other terms.
pub(crate) fn licences(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for package in tree.packages.iter().filter(|package| !package["source"].is_null()) {
        let expression = package["license"].as_str().unwrap_or_default();
        if !is_allowed(expression) {
            let place = package["name"].as_str().unwrap_or_default().to_owned();
            faults.push(Fault { place, line: 0, what: format!("is under {expression:?}") });
        }
    }
    faults
}

/// Evaluates an SPDX expression (and the old form with a slash for OR); AND binds closer than OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest) == Some(true) && rest.is_empty()
}

/// Evaluates alternatives from the front of `rest`; `None` is no expression.
fn either(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = both(rest)?;
    while let ["OR", after @ ..] = rest {
        *rest = after;
        allowed |= both(rest)?;
    }
    Some(allowed)
}

fn both(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(rest)?;
    while let ["AND", after @ ..] = rest {
        *rest = after;
        allowed &= one(rest)?;
    }
    Some(allowed)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    let (allowed, after) = match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let allowed = either(rest)?;
            let [")", after @ ..] = *rest else { return None };
            (allowed, after)
        }
        [licence, "WITH", exception, after @ ..] => {
            (ALLOWED.contains(&format!("{licence} WITH {exception}").as_str()), after)
        }
        [licence, after @ ..] => (ALLOWED.contains(licence), after),
        [] => return None,
    };
    *rest = after;
    Some(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_alternative_is_enough() {
        assert!(is_allowed("MIT OR GPL-3.0"));
        assert!(is_allowed("MIT/Apache-2.0"));
        assert!(is_allowed("(GPL-2.0 OR MIT) AND Unicode-3.0"));
        assert!(is_allowed("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"));
    }

    #[test]
    fn every_part_of_a_conjunction_counts() {
        assert!(is_allowed("ISC AND (Apache-2.0 OR ISC) AND OpenSSL"));
        assert!(!is_allowed("MIT AND GPL-3.0"));
        assert!(!is_allowed("GPL-3.0 OR MIT AND MPL-2.0"));
    }

    #[test]
    fn what_cannot_be_read_is_not_allowed() {
        for expression in ["", "GPL-3.0", "(MIT", "MIT MIT", "MIT OR", "GPL-2.0 WITH Classpath-exception-2.0"]
        {
            assert!(!is_allowed(expression), "{expression:?}");
        }
    }
}
