//! A configuration file, in either syntax: from characters to connections, and to complaints about it.

use config::{Fault, Loaded, Place, Severity, Syntax, load_text};
use vici::text::{self, NoIncludes};
use vici::{Sources, Tree};

/// Reads a text as swanctl.conf, prints and reads it again; then loads it in both syntaxes.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(tree) = parse(text) {
        let printed = text::print(&tree);
        assert_eq!(parse(&printed), Some(tree), "{printed}");
    }
    for syntax in [Syntax::Swanctl, Syntax::Toml] {
        check(&load_text("input", text, syntax), text);
    }
}

fn parse(text: &str) -> Option<Tree> {
    let mut sources = Sources::default();
    let file = sources.add("input", text);
    text::parse(&mut sources, file, &mut NoIncludes).ok().map(|settings| settings.tree)
}

fn check(loaded: &Loaded, text: &str) {
    for fault in &loaded.faults {
        assert!(!fault.to_string().is_empty() && !fault.message.is_empty());
        check_place(fault, text.split('\n').count());
    }
    assert_eq!(loaded.is_sound(), loaded.faults.iter().all(|fault| fault.severity == Severity::Warning));
    for connection in &loaded.config.connections {
        assert!(!connection.local_addresses.is_empty() && !connection.remote_addresses.is_empty());
        assert!(!connection.proposals.is_empty());
        for child in &connection.children {
            assert!(!child.local_selectors.is_empty() && !child.remote_selectors.is_empty());
            assert!(!child.proposals.is_empty());
        }
        connection.to_list_conn(|material| material.name.clone());
    }
}

fn check_place(fault: &Fault, lines: usize) {
    match &fault.place {
        Place::Text { line, column, width, line_text, .. } => {
            assert!((1..=lines).contains(line));
            assert!(*column >= 1 && *width >= 1 && width - 1 <= line_text.chars().count() + 1);
        }
        Place::File(_) | Place::Message => panic!("a fault of a text has a place in it: {fault}"),
    }
}
