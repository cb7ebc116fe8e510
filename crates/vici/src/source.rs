//! Where in which file a piece of configuration stood.

use std::sync::Arc;

/// Names one of the files of a [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(u32);

/// A stretch of a file, in bytes; [`Span::NOWHERE`] for what never stood in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The place of things that came from a message or were made by a program.
    pub const NOWHERE: Span = Span { file: FileId(u32::MAX), start: 0, end: 0 };

    /// Makes the span of the bytes `start..end` of a file; offsets beyond 4 GiB are cut to that.
    pub fn new(file: FileId, start: usize, end: usize) -> Span {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { file, start: offset(start), end: offset(end) }
    }

    /// Tells whether the span lies in a file.
    pub fn is_somewhere(&self) -> bool {
        *self != Span::NOWHERE
    }
}

/// A file that configuration was read from.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its name as people know it.
    pub name: String,
    /// What stood in it.
    pub text: Arc<str>,
}

/// The files that a configuration was read from, in the order of reading.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

/// A span as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The line where the span starts; the first is 1.
    pub line: usize,
    /// The character of that line where it starts; the first is 1.
    pub column: usize,
    /// Characters of the span in that line; at least 1.
    pub width: usize,
    /// The line without its end.
    pub line_text: &'a str,
}

impl Sources {
    /// Adds a file and gives it an id.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(SourceFile { name: name.into(), text: text.into() });
        id
    }

    /// Gives a file.
    pub fn file(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// Tells how many files were added.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Tells whether no file was added.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Gives line and column of a span; `None` if it lies in none of these files.
    pub fn locate(&self, span: Span) -> Option<Location<'_>> {
        let file = self.file(span.file)?;
        let text = &*file.text;
        let start = floor_char_boundary(text, span.start as usize);
        let end = floor_char_boundary(text, span.end as usize).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        Some(Location {
            file: &file.name,
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end.min(line_end)].chars().count().max(1),
            line_text: text[line_start..line_end].trim_end_matches('\r'),
        })
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let mut sources = Sources::default();
        let file = sources.add("x.conf", "a = ä\r\nbö = 7\n");
        let at = |start, end| sources.locate(Span::new(file, start, end)).expect("a span of that file");
        assert_eq!(at(0, 1), Location { file: "x.conf", line: 1, column: 1, width: 1, line_text: "a = ä" });
        assert_eq!(at(8, 11), Location { file: "x.conf", line: 2, column: 1, width: 2, line_text: "bö = 7" });
        assert_eq!(
            at(14, 99),
            Location { file: "x.conf", line: 2, column: 6, width: 1, line_text: "bö = 7" }
        );
        assert_eq!(sources.locate(Span::NOWHERE), None);
    }
}
