//! TOML as the second way to write the tree: tables are sections, arrays are lists, everything else is a value.

use toml_edit::{Document, Item, Key, TableLike, Value as TomlValue};
use vici::text::SyntaxFault;
use vici::{Entry, FileId, Node, Sources, Span, Tree, Value};

/// Reads the TOML text of `file`.
///
/// # Errors
/// The text is not TOML, or holds what a tree cannot.
pub(crate) fn parse(sources: &Sources, file: FileId) -> Result<Tree, Vec<SyntaxFault>> {
    let text = sources.file(file).map(|source| source.text.to_string()).unwrap_or_default();
    let document = Document::parse(text.as_str()).map_err(|fault| {
        let (start, end) = fault.span().map_or((0, 0), |span| (span.start, span.end));
        let message = fault.message().lines().next().unwrap_or("this is not TOML").to_owned();
        vec![SyntaxFault {
            span: Span::new(file, start, end),
            section: section_at(&text, start),
            message,
            help: String::new(),
        }]
    })?;
    let mut converter = Converter { file, text: &text, path: Vec::new(), faults: Vec::new() };
    let tree = converter.table(document.as_table());
    if converter.faults.is_empty() { Ok(tree) } else { Err(converter.faults) }
}

/// The name in the last table header before an offset.
fn section_at(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let header = before.lines().rev().map(str::trim).find_map(|line| line.strip_prefix('['));
    header.map(|header| header.trim_matches(['[', ']']).trim().to_owned()).unwrap_or_default()
}

struct Converter<'a> {
    file: FileId,
    text: &'a str,
    path: Vec<String>,
    faults: Vec<SyntaxFault>,
}

impl Converter<'_> {
    fn table(&mut self, table: &dyn TableLike) -> Tree {
        let mut tree = Tree::new();
        for (name, _) in table.iter() {
            let Some((key, item)) = table.get_key_value(name) else { continue };
            let span = self.key_span(key);
            self.path.push(name.to_owned());
            if let Some(node) = self.node(item, span) {
                tree.entries.push(Entry { name: name.to_owned(), span, node });
            }
            self.path.pop();
        }
        tree
    }

    fn node(&mut self, item: &Item, key: Span) -> Option<Node> {
        match item {
            Item::None => None,
            Item::Table(table) => Some(Node::Section(self.table(table))),
            Item::Value(TomlValue::InlineTable(table)) => Some(Node::Section(self.table(table))),
            Item::Value(TomlValue::Array(array)) => {
                Some(Node::List(array.iter().filter_map(|value| self.value(value, key)).collect()))
            }
            Item::Value(value) => self.value(value, key).map(Node::Value),
            Item::ArrayOfTables(_) => {
                self.fault(key, "there are no arrays of tables here", "give each section a name of its own");
                None
            }
        }
    }

    fn value(&mut self, value: &TomlValue, key: Span) -> Option<Value> {
        let span = value.span().map_or(key, |span| Span::new(self.file, span.start, span.end));
        let text = match value {
            TomlValue::String(text) => text.value().clone(),
            TomlValue::Integer(number) => number.value().to_string(),
            TomlValue::Boolean(boolean) => if *boolean.value() { "yes" } else { "no" }.to_owned(),
            TomlValue::Float(_)
            | TomlValue::Datetime(_)
            | TomlValue::Array(_)
            | TomlValue::InlineTable(_) => {
                let message = format!("no key takes a value of type {}", value.type_name());
                self.fault(span, &message, "write it as a string");
                return None;
            }
        };
        let verbatim_at = self.verbatim_at(span, &text);
        Some(Value::located(text.into_bytes(), span, verbatim_at))
    }

    /// Finds where the file has the text just so: all of the span, or all of it within quotation marks.
    fn verbatim_at(&self, span: Span, text: &str) -> Option<usize> {
        let start = span.start as usize;
        let written = self.text.get(start..span.end as usize)?;
        [0, 1, 3]
            .into_iter()
            .find(|quotes| {
                let inside = written.get(*quotes..written.len().saturating_sub(*quotes));
                inside == Some(text)
            })
            .map(|quotes| start + quotes)
    }

    fn key_span(&self, key: &Key) -> Span {
        key.span().map_or(Span::NOWHERE, |span| Span::new(self.file, span.start, span.end))
    }

    fn fault(&mut self, span: Span, message: &str, help: &str) {
        let section = self.path.join(".");
        self.faults.push(SyntaxFault { span, section, message: message.to_owned(), help: help.to_owned() });
    }
}
