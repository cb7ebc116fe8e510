//! Text on a terminal: at most [`WIDTH`] columns, colours only where somebody looks.

use std::io::IsTerminal;
use std::sync::OnceLock;

/// Columns of everything that is printed.
pub(crate) const WIDTH: usize = 100;

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Bold,
    Dim,
    Green,
    Red,
    Cyan,
}

/// Styles a piece of text, if standard output is a terminal and `NO_COLOR` is not set.
pub(crate) fn styled(style: Style, text: &str) -> String {
    static COLOURS: OnceLock<bool> = OnceLock::new();
    let wanted =
        *COLOURS.get_or_init(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    if !wanted {
        return text.to_owned();
    }
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Green => "32",
        Style::Red => "1;31",
        Style::Cyan => "36",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Prints the heading of a scene.
pub(crate) fn heading(title: &str) {
    let rule = "─".repeat(WIDTH.saturating_sub(title.chars().count() + 4));
    println!("\n{} {} {}", styled(Style::Dim, "──"), styled(Style::Bold, title), styled(Style::Dim, &rule));
}

/// Prints text with an indentation.
pub(crate) fn indented(text: &str, by: usize) {
    for line in text.lines() {
        println!("{:by$}{line}", "");
    }
}

/// Breaks text into lines of at most `width` columns, at spaces.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let needed = lines.last().map_or(0, |line| line.chars().count() + 1 + word.chars().count());
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if needed <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_breaks_at_spaces_and_loses_no_word() {
        let lines = wrapped("one two three four", 9);
        assert_eq!(lines, ["one two", "three", "four"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbreakable"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
