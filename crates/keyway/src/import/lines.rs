//! Sections of indented assignments, and words with quotation marks: what ipsec.conf and its kin are made of.

use super::File;

/// `key=value` at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) place: String,
}

/// A section: its head in words, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) head: Vec<String>,
    pub(super) place: String,
    pub(super) pairs: Vec<Pair>,
}

/// Splits a file into sections: a line that begins at its margin opens one, indented lines belong to it.
pub(super) fn sections(file: &File) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (n, line) in file.text.lines().enumerate() {
        let place = format!("{}:{}", file.name, n + 1);
        let is_indented = line.starts_with([' ', '\t']);
        let line = without_comment(line);
        if line.trim().is_empty() {
            continue;
        }
        match (is_indented, line.split_once('='), sections.last_mut()) {
            (true, Some((key, value)), Some(section)) => {
                let pair =
                    Pair { key: key.trim().to_lowercase(), value: unquoted(value.trim()).to_owned(), place };
                section.pairs.push(pair);
            }
            _ => sections.push(Section { head: words(&line), place, pairs: Vec::new() }),
        }
    }
    sections
}

/// Takes a comment off, unless it stands in quotation marks.
pub(super) fn without_comment(line: &str) -> String {
    let mut is_quoted = false;
    let mut before = ' ';
    let mut kept = String::new();
    for character in line.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            '#' if !is_quoted && before.is_whitespace() => break,
            _ => {}
        }
        kept.push(character);
        before = character;
    }
    kept.trim_end().to_owned()
}

/// Splits at blanks, but not within quotation marks, which go.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (character, quote) {
            (mark @ ('"' | '\''), None) => {
                quote = Some(mark);
                word.get_or_insert_default();
            }
            (mark, Some(open)) if mark == open => quote = None,
            (blank, None) if blank.is_whitespace() => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// Takes quotation marks off.
pub(super) fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_blanks_outside_quotation_marks() {
        assert_eq!(words("a  \"b c\" 'd \" e' f\"g\""), ["a", "b c", "d \" e", "fg"]);
        assert_eq!(words("\"\" x"), ["", "x"]);
        assert_eq!(without_comment("secret \"a # b\" # c"), "secret \"a # b\"");
        assert_eq!(without_comment("@#0123 x"), "@#0123 x");
    }

    #[test]
    fn indented_lines_belong_to_the_section_above() {
        let file = File {
            name: "f".to_owned(),
            text: "conn a\n  left = 1 # x\n\n\tright=\"2 3\"\nconn b\n".to_owned(),
        };
        let sections = sections(&file);
        assert_eq!(sections.len(), 2);
        assert_eq!(sections[0].head, ["conn", "a"]);
        let pairs: Vec<_> =
            sections[0].pairs.iter().map(|pair| (&*pair.key, &*pair.value, &*pair.place)).collect();
        assert_eq!(pairs, [("left", "1", "f:2"), ("right", "2 3", "f:4")]);
    }
}
