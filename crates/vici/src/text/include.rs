//! The door through which `include` reaches other files.

/// Finds the files that an `include` statement names.
///
/// The codec itself opens no file: it says what stands there, and an implementation looks it up.
pub trait Includes {
    /// Gives the files that `pattern` names, in order, seen from the file named `from`.
    ///
    /// The pattern may hold shell wildcards; none found is then no fault.
    ///
    /// # Errors
    /// One sentence: a file that the pattern names cannot be had.
    fn find(&mut self, pattern: &str, from: &str) -> Result<Vec<Included>, String>;
}

/// A file that an `include` statement names.
#[derive(Clone, Debug)]
pub struct Included {
    /// Its name, as later passed to [`Includes::find`] and shown in faults.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// Refuses every `include`: for texts that have no place in a file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIncludes;

impl Includes for NoIncludes {
    fn find(&mut self, _pattern: &str, _from: &str) -> Result<Vec<Included>, String> {
        Err("other files cannot be included here".into())
    }
}
