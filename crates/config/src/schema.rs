//! The form of the table of keys: what a key is, and what becomes of keys that Keyway does not honour yet.
//!
//! The table itself is in [`table`](crate::table). From it come the reading, the complaint about an unknown key, and
//! the manual page; no name, default or reason stands anywhere else.

use crate::value::Unreadable;

/// A kind of section: which keys and sections it may hold.
pub(crate) struct Section {
    /// Its absolute name with placeholders, as in `connections.<conn>.children.<child>`.
    pub(crate) path: &'static str,
    /// What it is for, in one sentence.
    pub(crate) doc: &'static str,
    /// The keys, those that we honour first.
    pub(crate) keys: &'static [&'static Row],
    /// The keys of swanctl.conf that we do not honour.
    pub(crate) others: &'static [Row],
    /// The sections inside.
    pub(crate) sections: &'static [(Name, &'static Section)],
    /// Whether the section as a whole has an effect.
    pub(crate) status: Status,
}

#[cfg(test)]
impl Section {
    /// Tells whether the table knows a key or section by its path, or that a section around it has no effect as a whole.
    pub(crate) fn knows(&self, path: &[&str]) -> bool {
        let Some((name, rest)) = path.split_first() else { return true };
        if rest.is_empty() && self.keys.iter().copied().chain(self.others).any(|row| row.fits(name)) {
            return true;
        }
        let inner = self.sections.iter().find(|(kind, _)| kind.fits(name));
        inner.is_some_and(|(_, inner)| match inner.status {
            Status::Honoured => inner.knows(rest),
            Status::Ignored { .. } | Status::Refused { .. } => true,
        })
    }
}

/// How the sections of a kind are named.
#[derive(Clone, Copy)]
pub(crate) enum Name {
    /// Just so.
    Exactly(&'static str),
    /// So, and perhaps more behind it, to tell several apart.
    Prefix(&'static str),
    /// As the author likes.
    Any,
}

impl Name {
    /// Tells whether a section of this name is of the kind.
    pub(crate) fn fits(self, name: &str) -> bool {
        match self {
            Name::Exactly(exact) => name == exact,
            Name::Prefix(prefix) => name.starts_with(prefix),
            Name::Any => true,
        }
    }
}

/// One key: a row of the table.
pub(crate) struct Row {
    /// Its name; one that ends in `*` may have more behind it, to tell several apart, and [`NUMBER`] is any number.
    pub(crate) name: &'static str,
    /// What its value looks like, in words.
    pub(crate) shape: &'static str,
    /// Whether it takes several values.
    pub(crate) arity: Arity,
    /// What holds without it.
    pub(crate) absent: Absent,
    /// What it does, in one sentence.
    pub(crate) doc: &'static str,
    /// Whether it does that.
    pub(crate) status: Status,
}

impl Row {
    /// Tells whether the row is about a key of this name.
    pub(crate) fn fits(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            _ if self.name == NUMBER => !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_digit()),
            Some(prefix) => name.starts_with(prefix),
            None => name == self.name,
        }
    }

    /// Makes the row of a key that changes nothing that matters; `harmless` values mean what happens anyway.
    pub(crate) const fn ignored(
        name: &'static str,
        shape: &'static str,
        harmless: &'static [&'static str],
        instead: &'static str,
    ) -> Row {
        Row::without_effect(name, shape, Status::Ignored { harmless, instead })
    }

    /// Makes the row of a key that nobody should believe in force; `harmless` values mean what happens anyway.
    pub(crate) const fn refused(
        name: &'static str,
        shape: &'static str,
        harmless: &'static [&'static str],
        reason: &'static str,
    ) -> Row {
        Row::without_effect(name, shape, Status::Refused { harmless, reason })
    }

    const fn without_effect(name: &'static str, shape: &'static str, status: Status) -> Row {
        Row { name, shape, arity: Arity::Any, absent: Absent::Nothing, doc: "", status }
    }
}

/// The name of a key whose name is a number.
pub(crate) const NUMBER: &str = "<number>";

/// How many values a key takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    /// One.
    One,
    /// Several, separated by commas or as a list.
    Many,
    /// Nobody reads it.
    Any,
}

/// What holds without a key.
#[derive(Clone, Copy)]
pub(crate) enum Absent {
    /// The value written here.
    Is {
        /// As it would be written in a file.
        text: &'static str,
        /// Why this value.
        why: &'static str,
    },
    /// A value that other keys give.
    Follows(&'static str),
    /// Nothing.
    Nothing,
}

/// Whether a key or section does what it says.
#[derive(Clone, Copy)]
pub(crate) enum Status {
    /// It does.
    Honoured,
    /// It does not, and that harms nobody: a warning says what happens instead.
    Ignored { harmless: &'static [&'static str], instead: &'static str },
    /// It does not, and whoever wrote it relies on it: an error says why.
    Refused { harmless: &'static [&'static str], reason: &'static str },
}

/// What values of a key look like and how they are read.
pub(crate) struct Shape<T: 'static> {
    /// In words, for the manual.
    pub(crate) words: &'static str,
    /// Reads one.
    pub(crate) read: fn(&str) -> Result<T, Unreadable>,
}

/// A key with one value and a default of its own.
pub(crate) struct Key<T: 'static> {
    pub(crate) row: Row,
    pub(crate) default: &'static str,
    pub(crate) read: fn(&str) -> Result<T, Unreadable>,
}

impl<T> Key<T> {
    pub(crate) const fn new(
        name: &'static str,
        shape: Shape<T>,
        default: &'static str,
        doc: &'static str,
        why: &'static str,
    ) -> Key<T> {
        let absent = Absent::Is { text: default, why };
        let row = Row { name, shape: shape.words, arity: Arity::One, absent, doc, status: Status::Honoured };
        Key { row, default, read: shape.read }
    }
}

/// A key with one value that has no default, or one that follows from other keys.
pub(crate) struct OptionalKey<T: 'static> {
    pub(crate) row: Row,
    pub(crate) read: fn(&str) -> Result<T, Unreadable>,
}

impl<T> OptionalKey<T> {
    pub(crate) const fn new(
        name: &'static str,
        shape: Shape<T>,
        absent: Absent,
        doc: &'static str,
    ) -> OptionalKey<T> {
        let row = Row { name, shape: shape.words, arity: Arity::One, absent, doc, status: Status::Honoured };
        OptionalKey { row, read: shape.read }
    }
}

/// A key with several values.
pub(crate) struct ListKey<T: 'static> {
    pub(crate) row: Row,
    pub(crate) default: &'static str,
    pub(crate) read: fn(&str) -> Result<T, Unreadable>,
}

impl<T> ListKey<T> {
    pub(crate) const fn new(
        name: &'static str,
        shape: Shape<T>,
        default: &'static str,
        doc: &'static str,
        why: &'static str,
    ) -> ListKey<T> {
        let absent = if default.is_empty() { Absent::Nothing } else { Absent::Is { text: default, why } };
        let row = Row { name, shape: shape.words, arity: Arity::Many, absent, doc, status: Status::Honoured };
        ListKey { row, default, read: shape.read }
    }
}

/// Writes a kind of section: its honoured keys as typed statics, and the section that lists them all, with those that it
/// shares with another.
macro_rules! section {
    (
        $SECTION:ident = $path:literal, $status:expr, $doc:literal;
        keys { $($KEY:ident: $type:ty = $value:expr;)* }
        $(shared [ $($shared:path,)* ])?
        others [ $($other:expr,)* ]
        sections [ $(($name:expr, $inner:expr),)* ]
    ) => {
        $(pub(crate) static $KEY: $type = $value;)*
        pub(crate) static $SECTION: $crate::schema::Section = $crate::schema::Section {
            path: $path,
            doc: $doc,
            keys: &[$(&$KEY.row,)* $($(&$shared.row,)*)?],
            others: &[$($other),*],
            sections: &[$(($name, &$inner)),*],
            status: $status,
        };
    };
}
pub(crate) use section;
