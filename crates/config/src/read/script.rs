//! What a child has run when it comes up and goes down.

use crate::reader::Reader;
use crate::script::{Script, mark};
use crate::table::child::{HOST_ACCESS_KEY, UPDOWN};

/// Reads it; `None` if nothing is run.
pub(super) fn script(reader: &Reader<'_>) -> Option<Script> {
    let host_access = reader.one(&HOST_ACCESS_KEY);
    let command = reader.maybe(&UPDOWN)?;
    Some(Script { command, host_access, mark_in: reader.tree.text("mark_in").and_then(mark) })
}
