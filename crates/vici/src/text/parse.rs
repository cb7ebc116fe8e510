//! From characters to sections as they are written, before inheritance.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Includes, Overridden, SyntaxFault};
use crate::limits::{MAX_DEPTH, MAX_INCLUDE_DEPTH, MAX_INCLUDED_FILES, MAX_SYNTAX_FAULTS};
use crate::{FileId, Sources, Span, Value};

/// A section as written: names are unique per kind, references are not yet followed.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) entries: Vec<WrittenEntry>,
    pub(super) references: Vec<Reference>,
    index: BTreeMap<(Kind, String), usize>,
}

#[derive(Debug)]
pub(super) struct WrittenEntry {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) node: WrittenNode,
}

#[derive(Debug)]
pub(super) enum WrittenNode {
    Value(Value),
    /// `key =`: no value, and none inherited.
    Cleared,
    Section(Written),
}

/// Another section, by its absolute name.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) span: Span,
}

/// A section and a value may share a name, for they are never asked for alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Value,
    Section,
}

pub(super) struct Parsed {
    pub(super) root: Written,
    pub(super) overridden: Vec<Overridden>,
}

/// Reads `file` and what it includes.
pub(super) fn parse(
    sources: &mut Sources,
    file: FileId,
    includes: &mut dyn Includes,
) -> Result<Parsed, Vec<SyntaxFault>> {
    let mut parser = Parser {
        sources,
        includes,
        path: Vec::new(),
        include_depth: 0,
        included_files: 0,
        faults: Vec::new(),
        overridden: Vec::new(),
    };
    let mut root = Written::default();
    parser.file(file, &mut root);
    if parser.faults.is_empty() {
        Ok(Parsed { root, overridden: parser.overridden })
    } else {
        Err(parser.faults)
    }
}

struct Parser<'a> {
    sources: &'a mut Sources,
    includes: &'a mut dyn Includes,
    /// Names of the sections around the current place.
    path: Vec<String>,
    include_depth: usize,
    included_files: usize,
    faults: Vec<SyntaxFault>,
    overridden: Vec<Overridden>,
}

/// Where a body ends.
#[derive(Clone, Copy)]
enum Until {
    EndOfFile,
    ClosingBrace { opened_by: Span },
}

impl Parser<'_> {
    fn file(&mut self, file: FileId, into: &mut Written) {
        if let Some(source) = self.sources.file(file) {
            let mut cursor = Cursor { text: Arc::clone(&source.text), file, at: 0 };
            self.body(&mut cursor, into, Until::EndOfFile);
        }
    }

    fn body(&mut self, cursor: &mut Cursor, into: &mut Written, until: Until) {
        while self.faults.len() < MAX_SYNTAX_FAULTS {
            cursor.skip_blank_lines();
            let start = cursor.at;
            match (cursor.peek(), until) {
                (None, Until::EndOfFile) => return,
                (None, Until::ClosingBrace { opened_by }) => {
                    let name = self.path.join(".");
                    return self.fault(
                        opened_by,
                        format!("the section `{name}` is not closed"),
                        "a `}` is missing",
                    );
                }
                (Some('}'), Until::ClosingBrace { .. }) => return cursor.advance(),
                (Some('}'), Until::EndOfFile) => {
                    cursor.advance();
                    self.fault(cursor.span_from(start), "this `}` closes no section".into(), "");
                }
                (Some(c), _) if is_name_character(c) => self.statement(cursor, into),
                (Some(_), _) => {
                    cursor.advance();
                    let span = cursor.span_from(start);
                    cursor.skip_line();
                    self.fault(span, "a name must stand here".into(), NAME_HELP);
                }
            }
        }
    }

    /// `name = value`, `name { … }`, `name : references { … }` or `include pattern`.
    fn statement(&mut self, cursor: &mut Cursor, into: &mut Written) {
        let start = cursor.at;
        let name = cursor.name();
        let span = cursor.span_from(start);
        let after_name = cursor.at;
        cursor.skip_blank_lines();
        match cursor.peek() {
            Some('=') => {
                cursor.advance();
                self.key_value(cursor, into, name, span);
            }
            Some('{') => {
                cursor.advance();
                self.section(cursor, into, name, span, Vec::new());
            }
            Some(':') => {
                cursor.advance();
                let references = self.references(cursor);
                if cursor.peek() == Some('{') {
                    cursor.advance();
                    self.section(cursor, into, name, span, references);
                } else {
                    self.fault(cursor.here(), "a `{` must follow the references".into(), "");
                    cursor.skip_line();
                }
            }
            _ if name == "include" => {
                cursor.at = after_name;
                self.include(cursor, into, span);
            }
            _ => {
                cursor.at = after_name;
                cursor.skip_line();
                // The name may be the rest of a secret, so the message leaves it out.
                self.fault(
                    span,
                    "this name is followed by neither `=` nor `{`".into(),
                    "write `key = value` or `section { … }`",
                );
            }
        }
    }

    fn key_value(&mut self, cursor: &mut Cursor, into: &mut Written, name: String, span: Span) {
        let Some(value) = self.value(cursor) else { return };
        let node = value.map_or(WrittenNode::Cleared, WrittenNode::Value);
        if let Some(earlier) = into.value_span(&name)
            && earlier.file == span.file
        {
            let key = self.absolute(&name);
            self.overridden.push(Overridden { key, earlier, later: span });
        }
        into.put(WrittenEntry { name, span, node });
    }

    /// Reads up to the end of the line; `Some(None)` is no value, `None` a fault that has been recorded.
    fn value(&mut self, cursor: &mut Cursor) -> Option<Option<Value>> {
        let mut parts: Vec<String> = Vec::new();
        let mut verbatim_at = None;
        let mut start = None;
        let mut end = cursor.at;
        loop {
            cursor.skip_blanks();
            let part_start = cursor.at;
            let (part, text_at) = match cursor.peek() {
                None | Some('\n' | '}') => break,
                Some('#') => {
                    cursor.skip_line();
                    break;
                }
                Some('"') => match cursor.quoted() {
                    Some((text, is_verbatim)) => (text, is_verbatim.then_some(part_start + 1)),
                    None => {
                        let span = Span::new(cursor.file, part_start, part_start + 1);
                        self.fault(span, "this quotation mark is not closed".into(), "");
                        return None;
                    }
                },
                Some(_) => (cursor.bare().to_owned(), Some(part_start)),
            };
            verbatim_at = if parts.is_empty() { text_at } else { None };
            start.get_or_insert(part_start);
            end = part_start + cursor.text[part_start..cursor.at].trim_end().len();
            parts.push(part);
        }
        let value = start.map(|start| {
            Value::located(parts.join(" ").into_bytes(), Span::new(cursor.file, start, end), verbatim_at)
        });
        Some(value)
    }

    fn section(
        &mut self,
        cursor: &mut Cursor,
        into: &mut Written,
        name: String,
        span: Span,
        references: Vec<Reference>,
    ) {
        if self.path.len() == MAX_DEPTH {
            self.fault(span, format!("sections are nested more than {MAX_DEPTH} deep"), "");
            // What follows cannot be told apart any more.
            cursor.at = cursor.text.len();
            return;
        }
        let at = into.section_index(&name, span);
        if let WrittenNode::Section(section) = &mut into.entries[at].node {
            section.references.extend(references);
            self.path.push(name);
            self.body(cursor, section, Until::ClosingBrace { opened_by: span });
            self.path.pop();
        }
    }

    fn references(&mut self, cursor: &mut Cursor) -> Vec<Reference> {
        let mut references = Vec::new();
        loop {
            cursor.skip_blank_lines();
            let start = cursor.at;
            cursor.skip_while(|c| is_name_character(c) || c == '.');
            let name = cursor.text[start..cursor.at].to_owned();
            let span = cursor.span_from(start);
            if name.is_empty() {
                self.fault(cursor.here(), "the name of a section must stand here".into(), NAME_HELP);
            } else {
                references.push(Reference { name, span });
            }
            cursor.skip_blank_lines();
            if cursor.peek() != Some(',') {
                return references;
            }
            cursor.advance();
        }
    }

    fn include(&mut self, cursor: &mut Cursor, into: &mut Written, span: Span) {
        let Some(pattern) = self.value(cursor) else { return };
        let Some(pattern) = pattern else {
            return self.fault(span, "`include` names no file".into(), "");
        };
        if self.include_depth == MAX_INCLUDE_DEPTH {
            let message = format!("files include each other more than {MAX_INCLUDE_DEPTH} deep");
            return self.fault(pattern.span, message, "perhaps this file includes itself");
        }
        let from = self.sources.file(cursor.file).map_or_else(String::new, |file| file.name.clone());
        let found = match self.includes.find(&String::from_utf8_lossy(&pattern.bytes), &from) {
            Ok(found) => found,
            Err(message) => return self.fault(pattern.span, message, ""),
        };
        self.include_depth += 1;
        for included in found {
            self.included_files += 1;
            if self.included_files > MAX_INCLUDED_FILES {
                self.fault(pattern.span, format!("more than {MAX_INCLUDED_FILES} files are included"), "");
                break;
            }
            let file = self.sources.add(included.name, included.text);
            self.file(file, into);
        }
        self.include_depth -= 1;
    }

    fn absolute(&self, name: &str) -> String {
        self.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
    }

    fn fault(&mut self, span: Span, message: String, help: &str) {
        if self.faults.len() < MAX_SYNTAX_FAULTS {
            self.faults.push(SyntaxFault {
                span,
                section: self.path.join("."),
                message,
                help: help.to_owned(),
            });
        }
    }
}

impl Written {
    /// Adds an entry or replaces the value of that name.
    pub(super) fn put(&mut self, entry: WrittenEntry) {
        match self.index.get(&(entry.node.kind(), entry.name.clone())) {
            Some(&at) => self.entries[at] = entry,
            None => self.append(entry),
        }
    }

    /// Adds what `parent` has and this section has not.
    pub(super) fn inherit(&mut self, parent: Written) {
        for entry in parent.entries {
            match self.index.get(&(entry.node.kind(), entry.name.clone())) {
                None => self.append(entry),
                Some(&at) => {
                    if let (WrittenNode::Section(own), WrittenNode::Section(inherited)) =
                        (&mut self.entries[at].node, entry.node)
                    {
                        own.inherit(inherited);
                    }
                }
            }
        }
    }

    /// Finds a section by its name in this one.
    pub(super) fn find(&self, name: &str) -> Option<&Written> {
        let at = *self.index.get(&(Kind::Section, name.to_owned()))?;
        match &self.entries[at].node {
            WrittenNode::Section(section) => Some(section),
            WrittenNode::Value(_) | WrittenNode::Cleared => None,
        }
    }

    /// Tells which entry is the section of that name, which is made if there is none.
    fn section_index(&mut self, name: &str, span: Span) -> usize {
        if let Some(&at) = self.index.get(&(Kind::Section, name.to_owned())) {
            return at;
        }
        self.append(WrittenEntry {
            name: name.to_owned(),
            span,
            node: WrittenNode::Section(Written::default()),
        });
        self.entries.len() - 1
    }

    fn value_span(&self, name: &str) -> Option<Span> {
        self.index.get(&(Kind::Value, name.to_owned())).map(|&at| self.entries[at].span)
    }

    fn append(&mut self, entry: WrittenEntry) {
        self.index.insert((entry.node.kind(), entry.name.clone()), self.entries.len());
        self.entries.push(entry);
    }
}

impl WrittenNode {
    fn kind(&self) -> Kind {
        match self {
            WrittenNode::Value(_) | WrittenNode::Cleared => Kind::Value,
            WrittenNode::Section(_) => Kind::Section,
        }
    }
}

/// A place in a text. It always rests between two characters.
struct Cursor {
    text: Arc<str>,
    file: FileId,
    at: usize,
}

impl Cursor {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn advance(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn here(&self) -> Span {
        let width = self.peek().map_or(0, char::len_utf8);
        Span::new(self.file, self.at, self.at + width)
    }

    fn span_from(&self, start: usize) -> Span {
        Span::new(self.file, start, self.at)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = &self.text[self.at..];
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn skip_blanks(&mut self) {
        self.skip_while(|c| matches!(c, ' ' | '\t' | '\r'));
    }

    /// Goes to the end of the line, before its `\n`.
    fn skip_line(&mut self) {
        self.skip_while(|c| c != '\n');
    }

    /// Skips blanks, line ends and comments.
    fn skip_blank_lines(&mut self) {
        loop {
            self.skip_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
            if self.peek() != Some('#') {
                return;
            }
            self.skip_line();
        }
    }

    fn name(&mut self) -> String {
        let start = self.at;
        self.skip_while(is_name_character);
        self.text[start..self.at].to_owned()
    }

    /// Reads a part of a value without quotation marks.
    fn bare(&mut self) -> &str {
        let start = self.at;
        self.skip_while(|c| !matches!(c, '\n' | '#' | '}' | '"'));
        self.text[start..self.at].trim_end_matches([' ', '\t', '\r'])
    }

    /// Reads a part of a value in quotation marks, and tells whether the file has it just so; `None` if it has no end.
    fn quoted(&mut self) -> Option<(String, bool)> {
        self.advance();
        let start = self.at;
        let mut text = String::new();
        let mut is_verbatim = true;
        let mut characters = self.text[start..].char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.at = start + offset + 1;
                    return Some((text, is_verbatim));
                }
                '\\' => {
                    is_verbatim = false;
                    match characters.next()?.1 {
                        'n' => text.push('\n'),
                        'r' => text.push('\r'),
                        't' => text.push('\t'),
                        '\n' => {}
                        other => text.push(other),
                    }
                }
                other => text.push(other),
            }
        }
        self.at = self.text.len();
        None
    }
}

/// Tells whether a character may be part of a name.
pub(super) fn is_name_character(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !matches!(c, '.' | ',' | ':' | '{' | '}' | '=' | '"' | '#')
}

const NAME_HELP: &str = "names are made of any characters but . , : { } = \" # and blanks";
