//! What is left of a text when numbers, SPIs and times are taken out of it.

/// Gives the shapes of what is said one after the other: a line, with those that are indented below it. Lines of a log are the
/// same to us, whatever they say, and stand there once.
pub(crate) fn shape(text: &str) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for block in blocks(text) {
        let is_log = block.starts_with("log {") || block == LOG_LINE;
        if !is_log || !once.contains(&block) {
            once.push(block);
        }
    }
    once
}

/// The same with every line of a log.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        let shape = log_shape(line).unwrap_or_else(|| line_shape(line));
        match blocks.last_mut() {
            Some(block) if line.starts_with([' ', '}']) => {
                block.push('\n');
                block.push_str(&shape);
            }
            _ => blocks.push(shape),
        }
    }
    blocks
}

/// The shape of a line of a log in words.
const LOG_LINE: &str = "[GROUP] TEXT";

/// Gives the shape of a line of a log, if it is one: no two daemons log the same.
fn log_shape(line: &str) -> Option<String> {
    if let Some((keys, text)) = line.split_once(" msg=") {
        let end = if text.ends_with('}') { "}" } else { "" };
        return Some(format!("{} msg=TEXT{end}", line_shape(&without_group(keys, "group="))));
    }
    if line.starts_with("  msg = ") {
        return Some("  msg = TEXT".to_owned());
    }
    if line.starts_with("  group = ") {
        return Some("  group = GROUP".to_owned());
    }
    let (_, rest) = line.split_once('[')?;
    let (group, _) = rest.split_once("] ")?;
    let is_group = group.len() == 3 && group.chars().all(|letter| letter.is_ascii_uppercase());
    is_group.then(|| LOG_LINE.to_owned())
}

fn without_group(keys: &str, name: &str) -> String {
    match keys.split_once(name) {
        Some((before, after)) if after.is_char_boundary(3) => format!("{before}{name}GROUP{}", &after[3..]),
        _ => keys.to_owned(),
    }
}

fn line_shape(line: &str) -> String {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_.:/#-*".contains(character);
    let mut shape = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = if is_part(first) {
            rest.find(|character| !is_part(character)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        shape.push_str(&word_shape(&rest[..end]));
        rest = &rest[end..];
    }
    shape
}

fn word_shape(word: &str) -> String {
    let bare = word.trim_end_matches(['*', ':']).trim_end_matches("_i").trim_end_matches("_r");
    let is_hex = bare.chars().all(|character| character.is_ascii_hexdigit());
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let is_time = word.len() == 8 && word.split(':').count() == 3 && word.split(':').all(is_number);
    if is_hex && matches!(bare.len(), 8 | 16) {
        return "SPI".to_owned();
    }
    let are_numbers = word.contains('/') && word.split('/').all(is_number);
    if word == "second" {
        return "seconds".to_owned();
    }
    if is_time || are_numbers || is_number(bare.trim_start_matches('#').trim_end_matches('s')) {
        return "N".to_owned();
    }
    match word.rsplit_once('-') {
        // A Child SA's section has its number in its name.
        Some((name, number)) if name == interop::CHILD && is_number(number) => format!("{name}-N"),
        _ => word.to_owned(),
    }
}
