//! The file system's side of reading a configuration: `include` and its wildcards.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use vici::text::{Included, Includes};

use crate::limits::MAX_FILE_LEN;

/// Finds included files on disk, relative to the file that includes them.
pub(crate) struct Disk;

impl Includes for Disk {
    fn find(&mut self, pattern: &str, from: &str) -> Result<Vec<Included>, String> {
        let directory = Path::new(from).parent().unwrap_or(Path::new(""));
        let pattern = directory.join(pattern);
        let paths = if has_wildcard(&pattern.to_string_lossy()) { expand(&pattern) } else { vec![pattern] };
        let included = paths.into_iter().map(|path| {
            let name = path.display().to_string();
            match read(&path) {
                Ok(text) => Ok(Included { name, text }),
                Err(fault) => Err(format!("`{name}` cannot be read: {fault}")),
            }
        });
        included.collect()
    }
}

/// Reads a file that is not absurdly large.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_FILE_LEN {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a configuration"));
    }
    fs::read_to_string(path)
}

/// Finds the files that a pattern names, in the order of their names.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = component.as_os_str().to_string_lossy();
        found = match component {
            Component::Normal(_) if has_wildcard(&part) => {
                found.iter().flat_map(|directory| matching(directory, &part)).collect()
            }
            _ => {
                found.iter().map(|directory| directory.join(component)).filter(|path| path.exists()).collect()
            }
        };
    }
    found.retain(|path| path.is_file());
    found
}

fn matching(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = fs::read_dir(listed) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // As in the shell, a leading dot is matched by nothing but a dot.
    let visible = names.filter(|name| pattern.starts_with('.') || !name.starts_with('.'));
    let mut paths: Vec<_> =
        visible.filter(|name| fits(pattern, name)).map(|name| directory.join(name)).collect();
    paths.sort();
    paths
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Tells whether a name fits a shell pattern of `*`, `?` and `[…]`.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on if what followed the last star does not fit here.
    let mut retry = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                retry = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) if n < name.len() => fits_one(&pattern[p..], name[n]),
            None if n == name.len() => return true,
            _ => None,
        };
        match (step, retry) {
            (Some(len), _) => (p, n) = (p + len, n + 1),
            (None, Some((star, at))) if at < name.len() => {
                retry = Some((star, at + 1));
                (p, n) = (star + 1, at + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Gives the length of the pattern's first element if a character fits it.
fn fits_one(pattern: &[char], character: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', set @ ..] if set.iter().skip(1).any(|c| *c == ']') => {
            let len = set.iter().skip(1).position(|c| *c == ']')? + 1;
            let (is_negated, members) = match &set[..len] {
                ['!' | '^', members @ ..] => (true, members),
                members => (false, members),
            };
            (in_set(members, character) != is_negated).then_some(len + 2)
        }
        [literal, ..] => (*literal == character).then_some(1),
        [] => None,
    }
}

fn in_set(members: &[char], character: char) -> bool {
    match members {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&character) || in_set(rest, character),
        [member, rest @ ..] => *member == character || in_set(rest, character),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_the_shell() {
        for (pattern, name) in [
            ("*.conf", "a.conf"),
            ("*", "anything"),
            ("a*b*c", "aXbYbZc"),
            ("?.conf", "ä.conf"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]x]y", "]y"),
            ("a[", "a["),
            ("**", ""),
            ("10-*.[ct]o*", "10-x.conf"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.conf", "a.toml"),
            ("?", ""),
            ("?", "ab"),
            ("[a-c]x", "dx"),
            ("a*b", "ac"),
            ("", "a"),
            ("[!a]", "a"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
