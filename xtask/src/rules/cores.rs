//! What the crates that hold the protocol may not do.

use proc_macro2::Delimiter;

use super::{Fault, Tree};
use crate::source::{Kind, Source, Token};

/// The crates that strangers' octets reach; none of them may panic.
const NEVER_PANIC: &[&str] =
    &["wire", "crypto", "sa", "pki", "ike", "ipsec", "credentials", "vici", "config", "dataplane", "keyway"];
/// The crates that know nothing of the world around them.
const SANS_IO: &[&str] = &["wire", "crypto", "sa", "pki", "ike", "ipsec", "credentials"];

/// Finds what panics. An `expect` is allowed: its text says why it cannot be.
pub(crate) fn panics(tree: &Tree) -> Vec<Fault> {
    NEVER_PANIC.iter().flat_map(|name| tree.crate_sources(name)).flat_map(panics_of).collect()
}

/// Finds clocks, files and sockets.
pub(crate) fn world(tree: &Tree) -> Vec<Fault> {
    SANS_IO.iter().flat_map(|name| tree.crate_sources(name)).flat_map(world_of).collect()
}

fn panics_of(source: &Source) -> Vec<Fault> {
    const MACROS: &[&str] = &["panic", "unreachable", "todo", "unimplemented"];
    let mut faults = Vec::new();
    for window in source.tokens.windows(4) {
        let fault = match window {
            [dot, name, open, close] if is_mark(dot, '.') && is_call(open, close) => {
                word(name).filter(|name| *name == "unwrap").map(|_| ".unwrap()".to_owned())
            }
            [name, bang, open, _] if is_mark(bang, '!') && matches!(open.kind, Kind::Open { .. }) => {
                word(name).filter(|name| MACROS.contains(name)).map(|name| format!("{name}!"))
            }
            _ => None,
        };
        if let Some(what) = fault {
            faults.push(Fault::at(&source.path, window[0].line, what));
        }
    }
    faults
}

fn world_of(source: &Source) -> Vec<Fault> {
    const PATHS: &[(&str, &str)] = &[
        ("Instant", "now"),
        ("SystemTime", "now"),
        ("std", "fs"),
        ("std", "process"),
        ("std", "thread"),
        ("std", "env"),
        ("net", "UdpSocket"),
        ("net", "TcpStream"),
    ];
    let mut faults = Vec::new();
    for window in source.tokens.windows(4) {
        let [first, colon, second_colon, last] = window else { continue };
        if !is_mark(colon, ':') || !is_mark(second_colon, ':') {
            continue;
        }
        let pair = (word(first).unwrap_or_default(), word(last).unwrap_or_default());
        if PATHS.contains(&pair) {
            faults.push(Fault::at(&source.path, first.line, format!("{}::{}", pair.0, pair.1)));
        }
    }
    faults
}

fn word(token: &Token) -> Option<&str> {
    match &token.kind {
        Kind::Word(word) => Some(word),
        Kind::Mark(_) | Kind::Literal | Kind::Open { .. } | Kind::Close(_) => None,
    }
}

fn is_mark(token: &Token, mark: char) -> bool {
    token.kind == Kind::Mark(mark)
}

fn is_call(open: &Token, close: &Token) -> bool {
    matches!(open.kind, Kind::Open { delimiter: Delimiter::Parenthesis, .. })
        && close.kind == Kind::Close(Delimiter::Parenthesis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample;

    fn found(find: fn(&Source) -> Vec<Fault>, text: &str) -> Vec<String> {
        find(&sample("crates/ike/src/lib.rs", text)).into_iter().map(|fault| fault.what).collect()
    }

    #[test]
    fn unwrap_is_found_also_inside_a_macro() {
        assert_eq!(
            found(panics_of, "fn f() { g().unwrap(); println!(\"{}\", h.unwrap()); }"),
            [".unwrap()"; 2]
        );
    }

    #[test]
    fn cousins_of_unwrap_pass() {
        assert_eq!(
            found(panics_of, "fn f() { g().unwrap_or(1); h.expect(\"it was checked above\"); }"),
            [""; 0]
        );
    }

    #[test]
    fn macros_that_panic_are_found_but_not_words_in_comments_and_texts() {
        let text = "// panic!() in a comment\nfn f() { \"panic!()\"; if a != b { panic!(\"x\") } else { unreachable!() } }";
        assert_eq!(found(panics_of, text), ["panic!", "unreachable!"]);
    }

    #[test]
    fn tests_may_panic() {
        assert_eq!(found(panics_of, "#[cfg(test)]\nmod tests { #[test] fn t() { panic!() } }"), [""; 0]);
    }

    #[test]
    fn a_clock_and_a_file_are_found() {
        let text = "use std::fs::File;\nfn f() -> Instant { std::time::Instant::now() }";
        assert_eq!(found(world_of, text), ["std::fs", "Instant::now"]);
    }
}
