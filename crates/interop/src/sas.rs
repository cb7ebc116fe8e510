//! The SAs of a gateway, as `swanctl --list-sas --raw` prints them.

use std::collections::BTreeMap;

use crate::{Failure, Result};

/// An IKE SA with its Child SAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeSa {
    /// The connection's name.
    pub name: String,
    /// All that was said of it, by key: `state`, `initiator-spi`, `encr-alg` and so on.
    pub fields: BTreeMap<String, String>,
    /// Its Child SAs.
    pub children: Vec<ChildSa>,
}

/// A Child SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSa {
    /// The configured child's name.
    pub name: String,
    /// All that was said of it, by key: `state`, `spi-in`, `bytes-in` and so on; lists separated by spaces.
    pub fields: BTreeMap<String, String>,
}

impl IkeSa {
    /// Reads the answer of `swanctl --list-sas --raw`.
    ///
    /// # Errors
    ///
    /// When it is not what `swanctl` prints.
    pub fn parse(raw: &str) -> Result<Vec<IkeSa>> {
        let mut sas = Vec::new();
        for line in raw.lines().filter(|line| line.starts_with("list-sa event ")) {
            let text = line.trim_start_matches("list-sa event ");
            let mut rest = text;
            let Node::Section(entries) = section(&mut rest).ok_or_else(|| unreadable(line))? else {
                return Err(unreadable(line));
            };
            sas.extend(entries.into_iter().map(|(name, node)| ike_sa(name, node)));
        }
        Ok(sas)
    }

    /// Whether it is up.
    pub fn is_established(&self) -> bool {
        self.field("state") == "ESTABLISHED"
    }

    /// A field's value; empty when it was not there.
    pub fn field(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    /// Both SPIs, which name it.
    pub fn spis(&self) -> (&str, &str) {
        (self.field("initiator-spi"), self.field("responder-spi"))
    }
}

impl ChildSa {
    /// Whether it carries packets.
    pub fn is_installed(&self) -> bool {
        self.field("state") == "INSTALLED"
    }

    /// A field's value; empty when it was not there.
    pub fn field(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    /// A field's value as a number; 0 when it was not there.
    pub fn number(&self, key: &str) -> u64 {
        self.field(key).parse().unwrap_or(0)
    }

    /// Both SPIs, inbound first.
    pub fn spis(&self) -> (&str, &str) {
        (self.field("spi-in"), self.field("spi-out"))
    }
}

enum Node {
    Value(String),
    Section(Vec<(String, Node)>),
}

fn ike_sa(name: String, node: Node) -> IkeSa {
    let Node::Section(entries) = node else {
        return IkeSa { name, fields: BTreeMap::new(), children: Vec::new() };
    };
    let mut sa = IkeSa { name, fields: BTreeMap::new(), children: Vec::new() };
    for (key, node) in entries {
        match node {
            Node::Value(value) => _ = sa.fields.insert(key, value),
            Node::Section(children) if key == "child-sas" => {
                sa.children = children.into_iter().map(|(name, node)| child_sa(name, node)).collect();
            }
            Node::Section(_) => {}
        }
    }
    sa
}

fn child_sa(unique_name: String, node: Node) -> ChildSa {
    let Node::Section(entries) = node else { return ChildSa { name: unique_name, fields: BTreeMap::new() } };
    let fields: BTreeMap<_, _> = entries
        .into_iter()
        .filter_map(|(key, node)| match node {
            Node::Value(value) => Some((key, value)),
            Node::Section(_) => None,
        })
        .collect();
    ChildSa { name: fields.get("name").cloned().unwrap_or(unique_name), fields }
}

/// Reads `{key=value key=[value value] key {…}}` from the front of `rest`.
fn section(rest: &mut &str) -> Option<Node> {
    *rest = rest.trim_start().strip_prefix('{')?;
    let mut entries = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            *rest = after;
            return Some(Node::Section(entries));
        }
        let (key, after) = rest.split_at(rest.find(['=', ' ', '{'])?);
        *rest = after;
        let node = match rest.strip_prefix('=') {
            Some(after) => {
                *rest = after;
                Node::Value(value(rest)?)
            }
            None => section(rest)?,
        };
        entries.push((key.to_owned(), node));
    }
}

/// Reads a value or a bracketed list, and leaves the closing brace of the section alone.
fn value(rest: &mut &str) -> Option<String> {
    if let Some(after) = rest.strip_prefix('[') {
        let (list, after) = after.split_at(closing_bracket(after)?);
        *rest = &after[1..];
        return Some(list.to_owned());
    }
    let (value, after) = rest.split_at(rest.find([' ', '}'])?);
    *rest = after;
    Some(value.to_owned())
}

/// Finds the bracket that ends a list; values in it may have brackets of their own, as `10.1.0.0/24[tcp/80]` has.
fn closing_bracket(list: &str) -> Option<usize> {
    let mut depth = 1;
    list.find(|character| {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

fn unreadable(line: &str) -> Failure {
    Failure::new(format!("swanctl printed what is no section: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_swanctl_prints() {
        let raw = "list-sa event {site {uniqueid=1 version=2 state=ESTABLISHED initiator-spi=ab12 responder-spi=cd34 \
                   tasks-active=[CHILD_REKEY] child-sas {net-3 {name=net state=INSTALLED spi-in=c0de spi-out=beef \
                   bytes-in=84 local-ts=[10.1.0.0/24[tcp/80] fd00:1::/64]}}}}\nlist-sas reply {}\n";

        let sas = IkeSa::parse(raw).expect("this is well formed");

        assert_eq!(sas.len(), 1);
        assert!(sas[0].is_established());
        assert_eq!(sas[0].name, "site");
        assert_eq!(sas[0].spis(), ("ab12", "cd34"));
        assert_eq!(sas[0].field("tasks-active"), "CHILD_REKEY");
        let child = &sas[0].children[0];
        assert_eq!(
            (child.name.as_str(), child.spis(), child.number("bytes-in")),
            ("net", ("c0de", "beef"), 84)
        );
        assert_eq!(child.field("local-ts"), "10.1.0.0/24[tcp/80] fd00:1::/64");
    }

    #[test]
    fn refuses_a_section_without_end() {
        assert!(IkeSa::parse("list-sa event {site {uniqueid=1").is_err());
    }
}
