//! What is wrong with a configuration, and where, so that a person can mend it.

use std::cell::RefCell;
use std::fmt;

use vici::{Location, Sources, Span};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// Absolute name of the key or section, such as `connections.east.remote_addrs`; may be empty.
    pub key: String,
    /// What is wrong, in one sentence without an end mark.
    pub message: String,
    /// What to do about it; empty if that is plain.
    pub help: String,
}

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is loaded all the same; the fault says what happens instead.
    Warning,
    /// It is not loaded.
    Error,
}

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a text.
    Text {
        /// The file.
        file: String,
        /// The line; the first is 1.
        line: usize,
        /// The character of the line; the first is 1.
        column: usize,
        /// How many characters it goes on; at least 1.
        width: usize,
        /// The line itself; what may be a secret in it is left out.
        line_text: String,
    },
    /// In a file as a whole.
    File(String),
    /// In a management message.
    Message,
}

impl Fault {
    /// Gives key, message and help in one line, for places that have only one.
    pub fn sentence(&self) -> String {
        let mut sentence = match self.key.as_str() {
            "" => self.message.clone(),
            key => format!("{key}: {}", self.message),
        };
        if !self.help.is_empty() {
            sentence.push_str("; ");
            sentence.push_str(&self.help);
        }
        sentence
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl fmt::Display for Fault {
    /// Prints the place, the sentence and, for a text, the line with a caret under the fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { severity, message, help, .. } = self;
        match &self.place {
            Place::Text { file, line, column, width, line_text } => {
                writeln!(f, "{file}:{line}:{column}: {severity}: {message}")?;
                writeln!(f, "{line:>5} | {}", line_text.replace('\t', " "))?;
                let caret = format!("{}{} {help}", " ".repeat(column - 1), "^".repeat(*width));
                write!(f, "      | {}", caret.trim_end())
            }
            Place::File(file) => write!(f, "{file}: {severity}: {}", self.sentence()),
            Place::Message => write!(f, "{severity}: {}", self.sentence()),
        }
    }
}

/// Collects faults while a configuration is read; finding one never stops the reading.
pub(crate) struct Faults<'a> {
    sources: &'a Sources,
    found: RefCell<Vec<Fault>>,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Faults<'a> {
        Faults { sources, found: RefCell::default() }
    }

    pub(crate) fn error(&self, span: Span, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, span, key, message.into(), help.into());
    }

    pub(crate) fn warning(&self, span: Span, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, span, key, message.into(), help.into());
    }

    /// Tells whether an error was found in a section, which is named absolutely; the empty name is everything.
    pub(crate) fn has_error_in(&self, section: &str) -> bool {
        let is_inside = |key: &str| match key.strip_prefix(section) {
            Some(rest) => rest.is_empty() || rest.starts_with('.') || section.is_empty(),
            None => false,
        };
        self.found.borrow().iter().any(|fault| fault.severity == Severity::Error && is_inside(&fault.key))
    }

    /// Gives all faults in the order of the text; those without a place keep theirs.
    pub(crate) fn into_vec(self) -> Vec<Fault> {
        let mut faults = self.found.into_inner();
        faults.sort_by(|a, b| a.place.order().cmp(&b.place.order()));
        faults
    }

    fn add(&self, severity: Severity, span: Span, key: &str, message: String, help: String) {
        let place = match self.sources.locate(span) {
            Some(location) => place(location, key),
            None => Place::Message,
        };
        self.found.borrow_mut().push(Fault { severity, place, key: key.to_owned(), message, help });
    }
}

impl Place {
    fn order(&self) -> (&str, usize, usize) {
        match self {
            Place::Text { file, line, column, .. } => (file, *line, *column),
            Place::File(_) | Place::Message => ("", 0, 0),
        }
    }
}

fn place(location: Location<'_>, key: &str) -> Place {
    let Location { file, line, column, width, line_text } = location;
    let shown = show(line_text, key);
    // A caret never leads beyond what is shown, give or take the place behind the line.
    let width = width.min((shown.chars().count() + 1).saturating_sub(column - 1)).max(1);
    Place::Text { file: file.to_owned(), line, column, width, line_text: shown }
}

/// Gives a line as it may be shown: nothing behind the name of a secret, nor behind any name inside `secrets`.
fn show(line: &str, key: &str) -> String {
    let is_in_secrets = key == "secrets" || key.starts_with("secrets.");
    if is_in_secrets && may_be_torn_off(line) {
        return "…".to_owned();
    }
    let name_end = match line.find('=') {
        Some(assignment) if is_in_secrets => Some(assignment),
        _ => {
            SECRET_KEYS.iter().filter_map(|name| word_end(line, name)).chain(mistyped_secret_end(line)).min()
        }
    };
    let Some(name_end) = name_end else { return line.to_owned() };
    let rest = line[name_end..].trim_start_matches([' ', '\t', '"', '\'']);
    let value = rest.strip_prefix('=').unwrap_or(rest);
    match value.trim() {
        "" | "{" => line.to_owned(),
        _ => format!("{} …", line[..line.len() - value.len()].trim_end()),
    }
}

/// Tells whether a line may be a secret whose `secret =` stands on the line before: it opens and closes no section, and
/// gives nothing a value. The padding of base64 is no assignment.
fn may_be_torn_off(line: &str) -> bool {
    let line = line.trim();
    let assigns = line.split_once('=').is_some_and(|(name, value)| {
        let name = name.trim_end().rsplit([' ', '\t', '{']).next().unwrap_or_default();
        SECRET_KEYS.contains(&name.trim_matches('"')) || is_assigned(value)
    });
    !assigns && !line.ends_with('{') && !line.chars().all(|c| c == '}' || c.is_whitespace())
}

/// Tells whether what follows a `=` is a value, and not the rest of base64's padding.
pub(crate) fn is_assigned(value: &str) -> bool {
    !value.trim_matches(|c: char| c.is_whitespace() || "=}".contains(c)).is_empty()
}

/// An assignment to a name that has a secret's in it.
fn mistyped_secret_end(line: &str) -> Option<usize> {
    let names = line.match_indices('=').map(|(at, _)| line[..at].trim_end_matches([' ', '\t', '"', '\'']));
    let last_word = |text: &str| {
        text.rsplit([' ', '\t', '{', '.', '"']).next().is_some_and(|word| word.contains("secret"))
    };
    names.filter(|name| last_word(name)).map(str::len).next()
}

fn word_end(line: &str, word: &str) -> Option<usize> {
    let is_apart = |at: usize| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part)
    };
    line.match_indices(word).find(|(at, _)| is_apart(*at)).map(|(at, _)| at + word.len())
}

const SECRET_KEYS: [&str; 6] =
    ["secret", "pin", "encryption_key_in", "encryption_key_out", "integrity_key_in", "integrity_key_out"];

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_in(text: &str, start: usize, end: usize, key: &str) -> String {
        let mut sources = Sources::default();
        let file = sources.add("x.conf", text);
        let faults = Faults::new(&sources);
        faults.error(Span::new(file, start, end), key, "it is wrong", "mend it");
        faults.into_vec()[0].to_string()
    }

    #[test]
    fn the_caret_stands_under_the_fault() {
        let expected = "x.conf:2:2: error: it is wrong\n    2 |  bcd = e\n      |  ^^^ mend it";
        assert_eq!(fault_in("a\n\tbcd = e\n", 3, 6, "bcd"), expected);
    }

    #[test]
    fn no_secret_is_shown() {
        for (line, key) in [
            ("secret = swordfish", "x"),
            ("  ike { secret=\"swordfish\" }", "x"),
            ("\"secret\" = \"swordfish\"", "x"),
            ("secrt = swordfish", "secrets.ike.secrt"),
            ("secret swordfish", "x"),
            ("\tsecrt swordfish", "secrets.ike"),
            ("ike.secret = 'swordfish'", "secrets.ike.secret"),
            ("ike = { id = 'x', secret = 'swordfish' }", "x"),
        ] {
            let shown = fault_in(line, 0, line.len(), key);
            assert!(!shown.contains("fish") && shown.contains('…'), "{shown}");
        }
        // Torn off from its `secret =`.
        for line in ["swordfish", "  sword fish", "swordfish==", "swordfish= ", "swordfish }", "sword } fish"]
        {
            let shown = fault_in(line, 0, line.len(), "secrets.ike");
            assert!(!shown.contains("sword") && shown.contains('…'), "{shown}");
        }
        for line in ["secret =", "}", " }}", "ike {"] {
            assert!(fault_in(line, 0, 1, "secrets.ike").contains(line), "{line}");
        }
        assert!(fault_in("  eap-2 {", 2, 7, "secrets.eap-2").contains("eap-2 {"));
        assert!(fault_in("spine = carol", 0, 2, "x").contains("carol"));
        assert!(fault_in("id = carol", 0, 2, "connections.a.local.id").contains("carol"));
    }

    #[test]
    fn a_fault_without_a_text_is_one_line() {
        let sources = Sources::default();
        let faults = Faults::new(&sources);
        faults.warning(Span::NOWHERE, "connections.a.x", "it is odd", "");
        assert_eq!(faults.into_vec()[0].to_string(), "warning: connections.a.x: it is odd");
    }
}
