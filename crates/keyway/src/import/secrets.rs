//! ipsec.secrets: `[who …] : KIND what`.
//!
//! No secret appears in a note.

use super::File;
use super::draft::{Draft, Entries, SecretDraft};
use super::lines::{without_comment, words};
use super::report::Report;

/// Tells whether a file is one with secrets.
pub(super) fn is_secrets(file: &File) -> bool {
    file.name.ends_with(".secrets") || entries(file).iter().any(|(_, line)| kind_of(line).is_some())
}

/// Reads the secrets of a file.
pub(super) fn read(file: &File, draft: &mut Draft, report: &mut Report) {
    for (place, line) in entries(file) {
        let Some((owners, kind, rest)) = kind_of(&line) else {
            match words(&line).as_slice() {
                [include, pattern, ..] if include == "include" => {
                    let said = format!("include {pattern}");
                    report.missing(&place, &said, "name the included file on the command line, too");
                }
                _ => report.missing(&place, "a line that is no secret", "left out"),
            }
            continue;
        };
        secret(&place, &owners, &kind, &words(&rest), draft, report);
    }
}

/// Joins the lines that belong together: an indented one goes on, unless it is an entry and the one before is whole.
fn entries(file: &File) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    for (n, line) in file.text.lines().enumerate() {
        let text = without_comment(line);
        if text.trim().is_empty() {
            continue;
        }
        match entries.last_mut() {
            Some((_, before))
                if line.starts_with([' ', '\t']) && !(is_whole(before) && kind_of(text.trim()).is_some()) =>
            {
                before.push(' ');
                before.push_str(text.trim());
            }
            _ => entries.push((format!("{}:{}", file.name, n + 1), text.trim().to_owned())),
        }
    }
    entries
}

/// Tells whether more than owners have come already: the mark between them and the secret, its kind, or an `include`.
fn is_whole(line: &str) -> bool {
    let words = words(line);
    let is_mark = |word: &String| {
        (word.starts_with(':') || word.ends_with(':')) && word.parse::<std::net::IpAddr>().is_err()
    };
    words.iter().any(|word| is_mark(word) || KINDS.contains(&word.as_str()))
        || words.first().is_some_and(|word| word == "include")
}

const KINDS: [&str; 10] = ["PSK", "RSA", "ECDSA", "PKCS8", "P12", "EAP", "XAUTH", "NTLM", "PIN", "BLISS"];

/// Splits an entry into whose it is, of which kind, and the rest.
fn kind_of(line: &str) -> Option<(Vec<String>, String, String)> {
    // An IPv6 address has colons, too: the one that counts stands alone.
    let at = if line.starts_with(':') {
        0
    } else {
        line.find(" :").map(|at| at + 1).or_else(|| line.find(": "))?
    };
    let (owners, rest) = (&line[..at], line[at + 1..].trim());
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let kind = kind.to_ascii_uppercase();
    KINDS.contains(&kind.as_str()).then(|| (words(owners), kind, rest.trim().to_owned()))
}

fn secret(
    place: &str,
    owners: &[String],
    kind: &str,
    words: &[String],
    draft: &mut Draft,
    report: &mut Report,
) {
    let said = format!("{} : {kind}", owners.join(" "));
    let said = said.trim();
    let Some(first) = words.first() else {
        return report.missing(place, said, "it has no value, and is left out");
    };
    let mut entries = Entries::default();
    let (section, now) = match kind {
        "PSK" => ("ike", "a pre-shared key"),
        "XAUTH" => ("xauth", "a user's password"),
        "EAP" => ("eap", "a user's password for EAP"),
        "NTLM" => ("ntlm", "a user's hash for EAP"),
        "RSA" | "ECDSA" | "PKCS8" if first == "{" => {
            let sentence = "a raw key stands in it: make a PEM file of it and put it into private/";
            return report.missing(place, said, sentence);
        }
        "RSA" | "ECDSA" | "PKCS8" | "P12" => return key_file(place, said, kind, words, draft, report),
        "PIN" => {
            return report.missing(
                place,
                said,
                "write a section `token` in `secrets`, with the key's handle",
            );
        }
        _ => return report.missing(place, said, "keys of this kind are not supported"),
    };
    if first.eq_ignore_ascii_case("%prompt") {
        return report.missing(place, said, "nobody is asked: write the secret");
    }
    // A secret that names nobody, or anybody, is everybody's.
    let named = owners.iter().filter(|owner| *owner != "%any" && *owner != "%any6" && *owner != "0.0.0.0");
    for (n, owner) in named.enumerate() {
        entries.set(&format!("id-{}", n + 1), identity(owner));
    }
    entries.set("secret", first.clone());
    draft.secrets.push(SecretDraft { kind: section, entries });
    report.translated(place, said, now);
    if words.len() > 1 {
        report.missing(place, said, "the first word is the secret; what stands after it is left out");
    }
}

/// A key that has no password is found by itself.
fn key_file(place: &str, said: &str, kind: &str, words: &[String], draft: &mut Draft, report: &mut Report) {
    let (section, folder) = match kind {
        "RSA" => ("rsa", "rsa/"),
        "ECDSA" => ("ecdsa", "ecdsa/"),
        "PKCS8" => ("pkcs8", "pkcs8/"),
        _ => ("pkcs12", "pkcs12/"),
    };
    let file = words.first().map(String::as_str).unwrap_or_default();
    let file = file.rsplit('/').next().unwrap_or(file);
    match words.get(1) {
        Some(password) if password != "%prompt" => {
            let mut entries = Entries::default();
            entries.set("file", file);
            entries.set("secret", password.clone());
            draft.secrets.push(SecretDraft { kind: section, entries });
            report.translated(
                place,
                said,
                format!("its password; put the key into {folder}, beside the configuration"),
            );
        }
        Some(_) => {
            report.missing(place, said, format!("nobody is asked for the password of {file}: write it"))
        }
        None => report.translated(place, said, format!("put {file} into {folder}, beside the configuration")),
    }
}

/// An identity without the mark that kept it from being looked up.
pub(super) fn identity(text: &str) -> String {
    match text.strip_prefix('@') {
        Some(rest) if rest.starts_with('#') => {
            format!("keyid:0x{}", rest.trim_start_matches("#0x").trim_start_matches('#'))
        }
        Some(rest) if rest.starts_with('@') => rest.trim_start_matches('@').to_owned(),
        Some(rest) => rest.to_owned(),
        None => text.to_owned(),
    }
}
