//! A tree as JSON: sections are objects, lists are arrays, every value is a string.
//!
//! A value that is not UTF-8 becomes its octets in hex after `0x`. The second entry of a name in one section becomes
//! `name#2`, for JSON objects cannot repeat a name and nothing may vanish.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::{Node, Tree, Value};

/// Renders a tree as indented JSON that ends with a newline.
pub fn render(tree: &Tree) -> String {
    let mut json = String::new();
    object(&mut json, tree, 0);
    json.push('\n');
    json
}

fn object(json: &mut String, tree: &Tree, depth: usize) {
    if tree.entries.is_empty() {
        json.push_str("{}");
        return;
    }
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut opening = '{';
    for entry in &tree.entries {
        json.push(opening);
        opening = ',';
        new_line(json, depth + 1);
        let times = seen.entry(&entry.name).or_default();
        *times += 1;
        match *times {
            1 => string(json, &entry.name),
            again => string(json, &format!("{}#{again}", entry.name)),
        }
        json.push_str(": ");
        match &entry.node {
            Node::Value(one) => value(json, one),
            Node::List(items) => array(json, items, depth + 1),
            Node::Section(section) => object(json, section, depth + 1),
        }
    }
    new_line(json, depth);
    json.push('}');
}

fn array(json: &mut String, items: &[Value], depth: usize) {
    if items.is_empty() {
        json.push_str("[]");
        return;
    }
    let mut opening = '[';
    for item in items {
        json.push(opening);
        opening = ',';
        new_line(json, depth + 1);
        value(json, item);
    }
    new_line(json, depth);
    json.push(']');
}

fn value(json: &mut String, value: &Value) {
    match value.text() {
        Some(text) => string(json, text),
        None => string(json, &crate::text::hex(&value.bytes)),
    }
}

fn string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if control < ' ' => {
                write!(json, "\\u{:04x}", u32::from(control)).expect("writing to a String does not fail");
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

fn new_line(json: &mut String, depth: usize) {
    json.push('\n');
    json.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_node_has_its_form() {
        let tree = Tree::new()
            .with_value("quote", "a \"b\" \\ \n \u{1}ä")
            .with_value("blob", vec![0xff, 0x00])
            .with_list("list", ["x", "y"])
            .with_list("none", Vec::<String>::new())
            .with_section("s", Tree::new().with_section("t", Tree::new()))
            .with_value("quote", "again");
        let expected = r#"{
  "quote": "a \"b\" \\ \n \u0001ä",
  "blob": "0xff00",
  "list": [
    "x",
    "y"
  ],
  "none": [],
  "s": {
    "t": {}
  },
  "quote#2": "again"
}
"#;
        assert_eq!(render(&tree), expected);
        assert_eq!(render(&Tree::new()), "{}\n");
    }
}
