//! Keeps the process's memory, which holds keys, out of core dumps and away from debuggers.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps and reading this process's memory through ptrace or /proc.
///
/// # Errors
/// The kernel refuses, which it does not for a process that only lowers its limits.
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{dumpable_behavior, getrlimit};

    #[test]
    fn the_process_can_no_longer_be_dumped() {
        forbid_core_dumps().expect("lowering a limit is always allowed");
        assert_eq!(dumpable_behavior().expect("readable"), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
