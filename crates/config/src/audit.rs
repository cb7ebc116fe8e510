//! Holds a tree against the table: nothing unknown, nothing misplaced, nothing swallowed.

use std::collections::BTreeSet;

use vici::{Entry, Node, Span, Tree, Value};

use crate::charon::AggressiveSecrets;
use crate::fault::{Faults, is_assigned};
use crate::material::Nowhere;
use crate::reader::Reader;
use crate::schema::{Arity, Name, Row, Section, Status};
use crate::table;
use crate::value::{closest, is_same};

/// Complains about everything in a section that the table does not have there, or has with a reservation.
pub(crate) fn audit(reader: &Reader<'_>, schema: &Section) {
    for entry in &reader.tree.entries {
        match &entry.node {
            Node::Section(tree) => section(reader, schema, entry, tree),
            Node::Value(value) => key(reader, schema, entry, std::slice::from_ref(value)),
            Node::List(values) => key(reader, schema, entry, values),
        }
    }
}

/// Complains about what stands at the top of a file. Sections that others inherit from may have any name there.
pub(crate) fn audit_top(tree: &Tree, referenced: &BTreeSet<String>, faults: &Faults<'_>) {
    let is_template =
        |name: &str| referenced.iter().any(|reference| reference.split('.').next() == Some(name));
    let known = |entry: &&Entry| !is_template(&entry.name) || inner(&table::ROOT, &entry.name).is_some();
    let entries = tree.entries.iter().filter(known).cloned().collect();
    audit(
        &Reader {
            tree: &Tree { entries },
            path: String::new(),
            span: Span::NOWHERE,
            faults,
            folders: &Nowhere,
            consent: AggressiveSecrets::AskEach,
        },
        &table::ROOT,
    );
}

fn section<'a>(reader: &Reader<'a>, schema: &Section, entry: &'a Entry, tree: &'a Tree) {
    let path = reader.key(&entry.name);
    let Some(inner_schema) = inner(schema, &entry.name) else {
        let (message, help) = if row(schema, &entry.name).is_some() {
            let name = &entry.name;
            (format!("`{name}` is a key and not a section"), format!("write `{name} = …`"))
        } else {
            (format!("unknown section `{}`", entry.name), section_help(schema, &entry.name))
        };
        return reader.faults.error(entry.span, &path, message, help);
    };
    match inner_schema.status {
        Status::Honoured => audit(&reader.inner(entry, tree), inner_schema),
        Status::Ignored { instead, .. } => {
            reader.faults.warning(
                entry.span,
                &path,
                format!("`{}` has no effect: {instead}", entry.name),
                "",
            );
        }
        Status::Refused { reason, .. } => {
            reader.faults.error(
                entry.span,
                &path,
                format!("`{}` cannot be honoured: {reason}", entry.name),
                "",
            );
        }
    }
}

fn key(reader: &Reader<'_>, schema: &Section, entry: &Entry, values: &[Value]) {
    let path = reader.key(&entry.name);
    let Some(row) = row(schema, &entry.name) else {
        if may_be_secret(&path, values) {
            let message = "the secret stands on another line than its key";
            return reader.faults.error(entry.span, &reader.path, message, "write `secret = …` in one line");
        }
        let (message, help) = if is_section_name(schema, &entry.name) {
            let name = &entry.name;
            (format!("`{name}` is a section and not a key"), format!("write `{name} {{ … }}`"))
        } else {
            (format!("unknown key `{}`", entry.name), key_help(schema, &entry.name))
        };
        return reader.faults.error(entry.span, &path, message, help);
    };
    if row.arity == Arity::One && matches!(entry.node, Node::List(_)) {
        let message = format!("`{}` takes one value, not a list", entry.name);
        return reader.faults.error(entry.span, &path, message, "");
    }
    let means_what_happens = |harmless: &[&str]| {
        values.iter().all(|value| {
            let text = value.text().unwrap_or_default().trim();
            harmless.iter().any(|word| is_same(word, text))
        })
    };
    match row.status {
        Status::Honoured => {}
        Status::Ignored { harmless, .. } | Status::Refused { harmless, .. }
            if means_what_happens(harmless) => {}
        Status::Ignored { instead, .. } => {
            reader.faults.warning(
                entry.span,
                &path,
                format!("`{}` has no effect: {instead}", entry.name),
                "",
            );
        }
        Status::Refused { reason, harmless } => {
            let help = match harmless.first() {
                Some(word) => format!("`{} = {word}` is what happens", entry.name),
                None => String::new(),
            };
            let message = format!("`{}` cannot be honoured: {reason}", entry.name);
            reader.faults.error(entry.span, &path, message, help);
        }
    }
}

/// Base64 on a line of its own reads like a key with its padding as the value; such a key must not be repeated.
fn may_be_secret(path: &str, values: &[Value]) -> bool {
    path.starts_with("secrets.") && !values.iter().any(|value| is_assigned(value.text().unwrap_or_default()))
}

fn row(schema: &Section, name: &str) -> Option<&'static Row> {
    schema.keys.iter().copied().chain(schema.others).find(|row| row.fits(name))
}

fn inner(schema: &Section, name: &str) -> Option<&'static Section> {
    schema.sections.iter().find(|(kind, _)| kind.fits(name)).map(|(_, section)| *section)
}

/// Tells whether a name is that of a section and of nothing else.
fn is_section_name(schema: &Section, name: &str) -> bool {
    schema.sections.iter().any(|(kind, _)| match kind {
        Name::Exactly(exact) | Name::Prefix(exact) => *exact == name,
        Name::Any => false,
    })
}

fn key_help(schema: &Section, name: &str) -> String {
    if let Some(section) = home(&table::ROOT, name) {
        return format!("`{name}` belongs in {}", section.path);
    }
    let rows = schema.keys.iter().copied().chain(schema.others);
    match closest(name, rows.map(|row| row.name.trim_end_matches('*'))) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if schema.keys.is_empty() => "only sections stand here".to_owned(),
        None => format!("keyway.conf(5) lists the keys of {}", schema.path),
    }
}

fn section_help(schema: &Section, name: &str) -> String {
    let names = schema.sections.iter().filter_map(|(kind, _)| match kind {
        Name::Exactly(exact) => Some(*exact),
        Name::Prefix(prefix) => Some(*prefix),
        Name::Any => None,
    });
    match closest(name, names.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if schema.sections.is_empty() => format!("{} has no sections", schema.path),
        None => format!("sections here are {}", names.collect::<Vec<_>>().join(", ")),
    }
}

/// Finds the section that has a key of just this name.
fn home(schema: &'static Section, name: &str) -> Option<&'static Section> {
    if row(schema, name).is_some() {
        return Some(schema);
    }
    schema.sections.iter().find_map(|(_, inner)| home(inner, name))
}
