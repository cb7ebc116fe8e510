//! Reads the values of one section by the keys of the table.

use vici::{Entry, Node, Span, Tree, Value};

use crate::charon::AggressiveSecrets;
use crate::fault::Faults;
use crate::material::Folders;
use crate::schema::{Key, ListKey, OptionalKey, Row};
use crate::value::Unreadable;

/// One section of the configuration with its place. Faulty values are complained about and replaced by the default.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    /// Its entries.
    pub(crate) tree: &'a Tree,
    /// Its absolute name.
    pub(crate) path: String,
    /// Where its name stands.
    pub(crate) span: Span,
    /// Where complaints go.
    pub(crate) faults: &'a Faults<'a>,
    /// Where the files are that it names.
    pub(crate) folders: &'a dyn Folders,
    /// Whether aggressive mode with pre-shared keys needs consent here.
    pub(crate) consent: AggressiveSecrets,
}

/// One of the values of a list key.
pub(crate) struct Item {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl<'a> Reader<'a> {
    /// Gives a section inside this one.
    pub(crate) fn inner(&self, entry: &'a Entry, tree: &'a Tree) -> Reader<'a> {
        Reader { tree, path: self.key(&entry.name), span: entry.span, ..self.clone() }
    }

    /// Gives the sections inside whose names start with `prefix`.
    pub(crate) fn sections(&self, prefix: &str) -> Vec<Reader<'a>> {
        let sections = self.tree.entries.iter().filter_map(|entry| match &entry.node {
            Node::Section(tree) if entry.name.starts_with(prefix) => Some(self.inner(entry, tree)),
            Node::Section(_) | Node::Value(_) | Node::List(_) => None,
        });
        sections.collect()
    }

    /// Gives the section's own name.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Gives the absolute name of a key of this section.
    pub(crate) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Reads a key that has a default.
    pub(crate) fn one<T>(&self, key: &Key<T>) -> T {
        let given = self.entry(&key.row).and_then(|entry| self.single(entry, key.read));
        given.unwrap_or_else(|| default(key.default, key.read))
    }

    /// Reads a key that need not be there.
    pub(crate) fn maybe<T>(&self, key: &OptionalKey<T>) -> Option<T> {
        self.entry(&key.row).and_then(|entry| self.single(entry, key.read))
    }

    /// Reads all keys of a family such as `id*`.
    pub(crate) fn family<T>(&self, key: &OptionalKey<T>) -> Vec<T> {
        let entries = self.tree.entries.iter().filter(|entry| key.row.fits(&entry.name));
        entries.filter_map(|entry| self.single(entry, key.read)).collect()
    }

    /// Reads a key that takes several values; none are given means the default.
    pub(crate) fn many<T>(&self, key: &ListKey<T>) -> Vec<T> {
        let items = self.items(key);
        let read = items.into_iter().filter_map(|item| {
            (key.read)(&item.text).map_err(|fault| self.unreadable(item.span, &key.row, fault)).ok()
        });
        let values: Vec<T> = read.collect();
        if values.is_empty() {
            split(key.default).map(|(_, text)| default(text, key.read)).collect()
        } else {
            values
        }
    }

    /// Gives the values of a key as they are written, or its default.
    pub(crate) fn items<T>(&self, key: &ListKey<T>) -> Vec<Item> {
        let items = match self.entry(&key.row).map(|entry| &entry.node) {
            Some(Node::Value(value)) => self.split(&key.row, value),
            Some(Node::List(values)) => {
                let items = values.iter().filter_map(|value| {
                    let text = self.text(&key.row, value)?.trim().to_owned();
                    (!text.is_empty()).then_some(Item { text, span: value.span })
                });
                items.collect()
            }
            Some(Node::Section(_)) | None => Vec::new(),
        };
        if items.is_empty() {
            return split(key.default)
                .map(|(_, text)| Item { text: text.to_owned(), span: self.span })
                .collect();
        }
        items
    }

    /// Gives the values of a key, whether they are text or not.
    pub(crate) fn values(&self, row: &Row) -> &'a [Value] {
        match self.entry(row).map(|entry| &entry.node) {
            Some(Node::Value(value)) => std::slice::from_ref(value),
            Some(Node::List(values)) => values,
            Some(Node::Section(_)) | None => &[],
        }
    }

    /// Gives the place of a key's value, or of the section's name if the key is not there.
    pub(crate) fn place(&self, row: &Row) -> Span {
        match self.entry(row).map(|entry| (&entry.node, entry.span)) {
            Some((Node::Value(value), _)) => value.span,
            Some((_, span)) => span,
            None => self.span,
        }
    }

    /// Tells whether a key is there.
    pub(crate) fn has(&self, row: &Row) -> bool {
        self.entry(row).is_some()
    }

    /// Tells whether a key is there and its value is such; one that cannot be read is not.
    pub(crate) fn says(&self, row: &Row, is_such: impl Fn(&str) -> bool) -> bool {
        match self.entry(row).map(|entry| &entry.node) {
            Some(Node::Value(value)) => value.text().is_some_and(is_such),
            Some(Node::List(_) | Node::Section(_)) | None => false,
        }
    }

    /// Complains about a key.
    pub(crate) fn error(&self, row: &Row, message: impl Into<String>, help: impl Into<String>) {
        self.faults.error(self.place(row), &self.key(row.name), message, help);
    }

    /// Complains about the section as a whole.
    pub(crate) fn section_error(&self, message: impl Into<String>, help: impl Into<String>) {
        self.faults.error(self.span, &self.path, message, help);
    }

    /// Complains about a value that cannot be read.
    pub(crate) fn unreadable(&self, span: Span, row: &Row, fault: Unreadable) {
        self.faults.error(span, &self.key(row.name), fault.message, fault.help);
    }

    fn entry(&self, row: &Row) -> Option<&'a Entry> {
        let is_value = |entry: &&Entry| match entry.node {
            Node::Value(_) | Node::List(_) => true,
            Node::Section(_) => false,
        };
        self.tree.entries.iter().find(|entry| row.fits(&entry.name) && is_value(entry))
    }

    /// Reads an entry with one value; that lists are none is the audit's complaint.
    fn single<T>(&self, entry: &Entry, read: fn(&str) -> Result<T, Unreadable>) -> Option<T> {
        let Node::Value(value) = &entry.node else { return None };
        let key = self.key(&entry.name);
        let Some(text) = value.text() else {
            self.faults.error(value.span, &key, "the value is not text", "");
            return None;
        };
        read(text).map_err(|fault| self.faults.error(value.span, &key, fault.message, fault.help)).ok()
    }

    fn split(&self, row: &Row, value: &Value) -> Vec<Item> {
        let text = self.text(row, value).unwrap_or_default();
        let item =
            |(at, part): (usize, &str)| Item { text: part.to_owned(), span: value.part(at, at + part.len()) };
        split(text).map(item).collect()
    }

    fn text<'v>(&self, row: &Row, value: &'v Value) -> Option<&'v str> {
        let text = value.text();
        if text.is_none() {
            self.faults.error(value.span, &self.key(row.name), "the value is not text", "");
        }
        text
    }
}

/// Splits at commas, and gives each part that is not empty with its offset.
fn split(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let parts = text.split(',').scan(0, |at, part| {
        let start = *at;
        *at += part.len() + 1;
        Some((start + (part.len() - part.trim_start().len()), part.trim()))
    });
    parts.filter(|(_, part)| !part.is_empty())
}

fn default<T>(text: &str, read: fn(&str) -> Result<T, Unreadable>) -> T {
    // A connection that says nothing reads every default of the table; a test does so.
    read(text).expect("the table's defaults can be read")
}
