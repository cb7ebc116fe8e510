//! What clients say with a command, read strictly: what cannot be meant is refused with a sentence.

use vici::{Node, Tree};

/// Reads a key that is yes or no; it is no where nothing is said.
///
/// # Errors
/// It is neither.
pub(crate) fn flag(arguments: &Tree, key: &str) -> Result<bool, String> {
    match arguments.value(key).map(vici::Value::text) {
        None => Ok(false),
        // All that charon understands.
        Some(Some("yes" | "true" | "enabled" | "1")) => Ok(true),
        Some(Some("no" | "false" | "disabled" | "0")) => Ok(false),
        Some(other) => Err(format!("{key} = {} is neither yes nor no", other.unwrap_or("(no text)"))),
    }
}

/// Reads a number; old clients write `_` where charon now has `-`.
///
/// # Errors
/// It is none.
pub(crate) fn number(arguments: &Tree, key: &str) -> Result<Option<u32>, String> {
    let written = arguments.text(key).or_else(|| arguments.text(&key.replace('-', "_")));
    written.map(|text| text.parse().map_err(|_| format!("{key} = {text} is not a number"))).transpose()
}

/// Reads the level up to which a command streams the log; -1 is silence.
///
/// # Errors
/// It is no level.
pub(crate) fn log_level(arguments: &Tree) -> Result<Option<u8>, String> {
    // charon's own default.
    const CONTROL: u8 = 1;
    match arguments.text("loglevel") {
        None => Ok(Some(CONTROL)),
        Some(text) => match text.parse::<i8>() {
            Ok(level @ -1..=4) => Ok(u8::try_from(level).ok()),
            _ => Err(format!("loglevel = {text} is no level from -1 to 4")),
        },
    }
}

/// Refuses what cannot be meant in a command whose arguments are single values: a section or a list in the place of one, and
/// text that is none.
///
/// # Errors
/// One sentence on the first of them.
pub(crate) fn check_values(arguments: &Tree) -> Result<(), String> {
    arguments.entries.iter().try_for_each(|entry| match &entry.node {
        Node::Value(value) if value.text().is_some() => Ok(()),
        Node::Value(_) => Err(format!("`{}` is not text", entry.name)),
        Node::List(_) => Err(format!("`{}` must be a value, and is a list", entry.name)),
        Node::Section(_) => Err(format!("`{}` must be a value, and is a section", entry.name)),
    })
}
