//! What Keyway says otherwise than charon on purpose.
//!
//! Beside what stands here: the names of ports, which charon looks up in `/etc/services`; the order of connections, which is
//! that of their names with us and that of loading with charon.

use crate::scenario::Printed;

/// Keys that charon has and we have not, or whose values are the program's own, with the lines in which swanctl puts them in words, and why.
const WITHOUT: &[(&str, &str, &str)] = &[
    (
        "tasks-active",
        "  active:  ",
        "charon tells of an event from within its exchange, and we when that is over",
    ),
    ("tasks-passive", "  passive: ", "the same"),
    ("mallinfo", "mallinfo: ", "we have another allocator"),
    ("plugins", "loaded plugins:", "we have none, and say so"),
];

/// Commands whose answers name the program, and the words that are its own.
const OWN_WORDS: &[(&str, &[&str])] =
    &[("--version", &["charon", "keyway", "5.9.8", env!("CARGO_PKG_VERSION")])];

/// Gives what one of them prints and the other not, but for what is known.
pub(crate) fn differences(charon: &Printed, keyway: &Printed) -> Option<String> {
    let is_same = match charon.command.split(' ').next().unwrap_or_default() {
        // What a program can do and what it is made of is its own; the kinds of it are not.
        "--list-algs" => kinds(charon) == kinds(keyway),
        // What is logged is its own, too. We log nothing that belongs to no IKE SA while nothing but one comes and goes.
        "--log" => !keyway.lines.is_empty() && keyway.lines.iter().all(|line| charon.lines.contains(line)),
        _ => said(charon) == said(keyway),
    };
    (!is_same).then(|| format!("{charon}--- keyway:\n{keyway}"))
}

/// Gives the kinds of algorithms, in their order.
fn kinds(printed: &Printed) -> Vec<String> {
    let text = printed.lines.join("\n");
    // Plain: a line each that is not indented. Raw and pretty: what stands before a brace, but for the whole answer.
    if !text.contains('{') {
        return text.lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect();
    }
    let opened = text.split('{').filter_map(|before| before.split_whitespace().next_back());
    opened.map(str::to_owned).collect()
}

/// Gives what was said without what is known to differ.
fn said(printed: &Printed) -> Vec<String> {
    let lines = printed.lines.iter().flat_map(|block| block.lines());
    let mut kept = Vec::new();
    let mut skipping: Option<String> = None;
    for line in lines {
        if let Some(end) = &skipping {
            if line == end {
                skipping = None;
            }
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        match WITHOUT.iter().find(|(key, words, _)| {
            line.starts_with(words) || line.trim_start().split([' ', '=']).next() == Some(key)
        }) {
            // In the pretty form a list and a section end at their own indentation.
            Some(_) if line.ends_with('[') => skipping = Some(format!("{indent}]")),
            Some(_) if line.ends_with('{') => skipping = Some(format!("{indent}}}")),
            Some(_) => {}
            None => kept.push(own_words(&printed.command, &without_errmsg(&without_keys(line)))),
        }
    }
    kept
}

/// Takes keys out of a line of the raw form.
fn without_keys(line: &str) -> String {
    WITHOUT.iter().fold(line.to_owned(), |line, (key, ..)| {
        let found = [format!(" {key}=["), format!(" {key} {{")].into_iter().find_map(|start| {
            let begin = line.find(&start)?;
            let end = if start.ends_with('[') { ']' } else { '}' };
            Some(begin..begin + line[begin..].find(end)? + 1)
        });
        match found {
            Some(range) => format!("{}{}", &line[..range.start], &line[range.end..]),
            None => line,
        }
    })
}

/// We say why in our own words.
fn without_errmsg(line: &str) -> String {
    for begin in [" errmsg=", "  errmsg = "] {
        if let Some((before, after)) = line.split_once(begin) {
            let end = if after.ends_with('}') { "}" } else { "" };
            return format!("{before}{begin}TEXT{end}");
        }
    }
    match line.strip_prefix("! ").and_then(|complaint| complaint.split_once(" failed: ")) {
        Some((command, _)) => format!("! {command} failed: TEXT"),
        None => line.to_owned(),
    }
}

fn own_words(command: &str, line: &str) -> String {
    let own = OWN_WORDS.iter().filter(|(of, _)| command.starts_with(of)).flat_map(|(_, words)| *words);
    own.fold(line.to_owned(), |line, word| line.replace(word, "OWN"))
}
