//! Files and functions that a reader can hold in the head.

use proc_macro2::Delimiter;

use super::{Fault, Tree};
use crate::source::{Kind, Source, Token};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Functions that are tables, a line for a row: cutting one in two makes neither half clearer.
const TABLES: &[&str] = &["meaning"];

/// Finds long files.
pub(crate) fn files(tree: &Tree) -> Vec<Fault> {
    let long = tree.sources.iter().filter(|source| !source.is_test && source.line_count() > FILE_LINES);
    long.map(|source| Fault::at(&source.path, 0, format!("{} lines", source.line_count()))).collect()
}

/// Finds long functions.
pub(crate) fn functions(tree: &Tree) -> Vec<Fault> {
    tree.sources.iter().filter(|source| !source.is_test).flat_map(long_functions).collect()
}

fn long_functions(source: &Source) -> Vec<Fault> {
    let tokens = &source.tokens;
    let mut faults = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let (Kind::Word(keyword), Kind::Word(name)) = (&pair[0].kind, &pair[1].kind) else { continue };
        if keyword != "fn" || TABLES.contains(&name.as_str()) {
            continue;
        }
        if let Some(last_line) = body_end(&tokens[at + 2..]) {
            let lines = last_line - pair[0].line + 1;
            if lines > FUNCTION_LINES {
                faults.push(Fault::at(&source.path, pair[0].line, format!("{name} has {lines} lines")));
            }
        }
    }
    faults
}

/// The last line of the body that follows a signature; `None` where there is none, as in a trait.
fn body_end(signature: &[Token]) -> Option<usize> {
    let mut depth = 0_usize;
    for token in signature {
        match &token.kind {
            Kind::Mark(';') if depth == 0 => return None,
            Kind::Open { delimiter: Delimiter::Brace, last_line } if depth == 0 => return Some(*last_line),
            Kind::Open { .. } => depth += 1,
            Kind::Close(_) if depth == 0 => return None,
            Kind::Close(_) => depth -= 1,
            Kind::Word(_) | Kind::Mark(_) | Kind::Literal => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample;

    fn with_lines(lines: usize) -> Source {
        let body = "    work();\n".repeat(lines - 2);
        sample(
            "crates/a/src/lib.rs",
            &format!(
                "trait T {{ fn no_body(&self, sizes: [u8; 4]); }}\nfn long<const N: usize>() -> [u8; N] {{\n{body}}}\n"
            ),
        )
    }

    #[test]
    fn a_function_of_seventy_lines_passes_and_a_longer_one_does_not() {
        assert_eq!(long_functions(&with_lines(70)), []);
        let faults = long_functions(&with_lines(71));
        assert_eq!(faults, [Fault::at("crates/a/src/lib.rs".as_ref(), 2, "long has 71 lines")]);
    }

    #[test]
    fn tests_do_not_count() {
        let text = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "// A line.\n".repeat(700));
        assert_eq!(sample("crates/a/src/lib.rs", &text).line_count(), 1);
    }
}
