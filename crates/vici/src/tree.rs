//! The management tree: ordered sections, values and lists.

use std::fmt;

use crate::Span;

/// The body of a section: entries in order. A name may occur more than once; look-ups give the first of a kind.
///
/// Two trees are equal if they hold the same entries in the same order, wherever these were written.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// A named node.
#[derive(Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where the name stood.
    pub span: Span,
    /// What has the name.
    pub node: Node,
}

/// What an entry holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// A value.
    Value(Value),
    /// A list of values, possibly empty.
    List(Vec<Value>),
    /// Further entries.
    Section(Tree),
}

/// A value: bytes, mostly text. Its `Debug` shows only the length, for it may be a secret.
#[derive(Clone)]
pub struct Value {
    /// The bytes, unquoted and trimmed.
    pub bytes: Vec<u8>,
    /// Where it stood, quotation marks included.
    pub span: Span,
    /// Offset in the file of the first byte, if the file has all the bytes as they are here.
    verbatim_at: Option<u32>,
}

impl Tree {
    /// Makes a tree without entries.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// Tells whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a value and gives the tree back, to build one in a single expression.
    #[must_use]
    pub fn with_value(mut self, name: impl Into<String>, value: impl Into<Value>) -> Tree {
        self.push_value(name, value);
        self
    }

    /// Adds a list and gives the tree back.
    #[must_use]
    pub fn with_list<V: Into<Value>>(
        mut self,
        name: impl Into<String>,
        items: impl IntoIterator<Item = V>,
    ) -> Tree {
        self.push_list(name, items);
        self
    }

    /// Adds a section and gives the tree back.
    #[must_use]
    pub fn with_section(mut self, name: impl Into<String>, section: Tree) -> Tree {
        self.push_section(name, section);
        self
    }

    /// Adds a value.
    pub fn push_value(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.push(name, Node::Value(value.into()));
    }

    /// Adds a list.
    pub fn push_list<V: Into<Value>>(&mut self, name: impl Into<String>, items: impl IntoIterator<Item = V>) {
        self.push(name, Node::List(items.into_iter().map(Into::into).collect()));
    }

    /// Adds a section.
    pub fn push_section(&mut self, name: impl Into<String>, section: Tree) {
        self.push(name, Node::Section(section));
    }

    fn push(&mut self, name: impl Into<String>, node: Node) {
        self.entries.push(Entry { name: name.into(), span: Span::NOWHERE, node });
    }

    /// Gives the first value of this name.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.named(name).find_map(|node| match node {
            Node::Value(value) => Some(value),
            Node::List(_) | Node::Section(_) => None,
        })
    }

    /// Gives the first value of this name if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.text()
    }

    /// Gives the first list of this name.
    pub fn list(&self, name: &str) -> Option<&[Value]> {
        self.named(name).find_map(|node| match node {
            Node::List(items) => Some(items.as_slice()),
            Node::Value(_) | Node::Section(_) => None,
        })
    }

    /// Gives the first section of this name.
    pub fn section(&self, name: &str) -> Option<&Tree> {
        self.named(name).find_map(|node| match node {
            Node::Section(section) => Some(section),
            Node::Value(_) | Node::List(_) => None,
        })
    }

    /// Gives all sections with their names, in order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Tree)> {
        self.entries.iter().filter_map(|entry| match &entry.node {
            Node::Section(section) => Some((entry.name.as_str(), section)),
            Node::Value(_) | Node::List(_) => None,
        })
    }

    fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Node> {
        self.entries.iter().filter(move |entry| entry.name == name).map(|entry| &entry.node)
    }
}

impl Value {
    /// Makes a value that stands at `span`.
    ///
    /// `verbatim_at` is the offset in the file of the value's first byte, given only if all its bytes follow there
    /// unchanged (no escapes, no joined parts).
    pub fn located(bytes: Vec<u8>, span: Span, verbatim_at: Option<usize>) -> Value {
        let verbatim_at = verbatim_at.and_then(|at| u32::try_from(at).ok());
        Value { bytes, span, verbatim_at }
    }

    /// Gives the value as text if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// Gives the place of the bytes `start..end` of the value, or of all of it where a part has no place of its own.
    pub fn part(&self, start: usize, end: usize) -> Span {
        match self.verbatim_at {
            Some(at) => Span::new(self.span.file, at as usize + start, at as usize + end),
            None => self.span,
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.name == other.name && self.node == other.node
    }
}

impl Eq for Entry {}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Value {}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value { bytes, span: Span::NOWHERE, verbatim_at: None }
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        bytes.to_vec().into()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        text.as_bytes().into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        text.into_bytes().into()
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Value {
        text.as_str().into()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.bytes.len())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Value(value) => value.fmt(f),
            Node::List(items) => items.fmt(f),
            Node::Section(section) => section.fmt(f),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.name, self.node)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|entry| (&entry.name, &entry.node))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_ups_give_the_first_of_the_kind() {
        let tree = Tree::new()
            .with_section("a", Tree::new().with_value("x", "1"))
            .with_value("a", "2")
            .with_value("a", "3")
            .with_list("a", ["4", "5"]);
        assert_eq!(tree.text("a"), Some("2"));
        assert_eq!(tree.section("a").and_then(|a| a.text("x")), Some("1"));
        assert_eq!(tree.list("a").map(<[_]>::len), Some(2));
        assert_eq!(tree.value("b"), None);
    }

    #[test]
    fn debug_shows_no_value() {
        let tree = Tree::new().with_value("secret", "swordfish").with_list("l", ["x"]);
        assert_eq!(format!("{tree:?}"), r#"{"secret": (9 bytes), "l": [(1 bytes)]}"#);
    }
}
