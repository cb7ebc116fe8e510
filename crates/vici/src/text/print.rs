//! From a tree back to text.

use std::fmt::Write as _;

use crate::{Node, Tree, Value};

/// Prints a tree as swanctl.conf text, four blanks per level.
///
/// A tree that was parsed reads back the same. Lists have no syntax of their own: they become comma-separated values.
/// Values that are not UTF-8 become their octets in hex after `0x`.
pub fn print(tree: &Tree) -> String {
    let mut text = String::new();
    body(&mut text, tree, 0);
    text
}

fn body(text: &mut String, tree: &Tree, depth: usize) {
    for entry in &tree.entries {
        indent(text, depth);
        text.push_str(&entry.name);
        match &entry.node {
            Node::Value(one) => assign(text, &value(one)),
            Node::List(items) => assign(text, &items.iter().map(value).collect::<Vec<_>>().join(", ")),
            Node::Section(section) => {
                text.push_str(" {\n");
                body(text, section, depth + 1);
                indent(text, depth);
                text.push_str("}\n");
            }
        }
    }
}

fn assign(text: &mut String, value: &str) {
    text.push_str(" = ");
    if needs_quoting(value) {
        quote(text, value);
    } else {
        text.push_str(value);
    }
    text.push('\n');
}

fn value(value: &Value) -> String {
    value.text().map_or_else(|| hex(&value.bytes), str::to_owned)
}

fn needs_quoting(value: &str) -> bool {
    let blank = [' ', '\t', '\r'];
    value.is_empty()
        || value.starts_with(blank)
        || value.ends_with(|c: char| c.is_whitespace())
        || value.contains(['"', '#', '}', '\n'])
}

fn quote(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            other => text.push(other),
        }
    }
    text.push('"');
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("    ", depth));
}

/// Writes octets in hex after `0x`.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold("0x".to_owned(), |mut text, octet| {
        write!(text, "{octet:02x}").expect("writing to a String does not fail");
        text
    })
}
