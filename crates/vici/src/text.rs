//! A tree as swanctl.conf text, the settings syntax that the strongswan.conf(5) manual page describes.
//!
//! ```text
//!   settings   := (section | keyvalue | include)*
//!   section    := name [":" references] "{" settings "}"
//!   references := absname ("," absname)*            absname := name ("." name)*
//!   keyvalue   := name "=" value                    up to the end of the line, a "#" or a "}"
//!   include    := "include" pattern                 relative to the file that says so
//! ```
//!
//! - A name is made of any printable characters but `. , : { } = " #` and blanks.
//! - A value is trimmed. Text in quotation marks may hold anything, line ends included; `\n`, `\r` and `\t` mean what
//!   they do in C, a backslash at the end of a line joins it to the next, and any other character after a backslash is
//!   itself. Several quoted and bare parts are joined by one space.
//! - `key =` takes away a value that would be inherited. A later value of the same name replaces an earlier one, a later
//!   section extends an earlier one.
//! - What a section refers to is added behind its own entries wherever it has no entry of that name itself.

mod include;
mod parse;
mod print;
mod resolve;

pub use include::{Included, Includes, NoIncludes};
pub(crate) use print::hex;
pub use print::print;

use std::collections::BTreeSet;

use crate::{FileId, Sources, Span, Tree};

/// What a text says, with inheritance carried out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sections and values.
    pub tree: Tree,
    /// Absolute names of the sections that others refer to; some exist only for that.
    pub referenced: BTreeSet<String>,
    /// Values that the same file sets again further down.
    pub overridden: Vec<Overridden>,
}

/// A value that counts for nothing because the same file sets it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// Absolute name of the key.
    pub key: String,
    /// Where it is set in vain.
    pub earlier: Span,
    /// Where it is set again.
    pub later: Span,
}

/// Something in a text that breaks the syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxFault {
    /// Where.
    pub span: Span,
    /// Absolute name of the section around it, empty at the top.
    pub section: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it; empty if that is plain.
    pub help: String,
}

/// Reads the text of `file`, which is one of `sources`; included files are added there.
///
/// # Errors
/// All the faults of the syntax that were found, up to [`MAX_SYNTAX_FAULTS`](crate::limits::MAX_SYNTAX_FAULTS).
pub fn parse(
    sources: &mut Sources,
    file: FileId,
    includes: &mut dyn Includes,
) -> Result<Settings, Vec<SyntaxFault>> {
    let parsed = parse::parse(sources, file, includes)?;
    let (tree, referenced) = resolve::resolve(&parsed.root)?;
    Ok(Settings { tree, referenced, overridden: parsed.overridden })
}
