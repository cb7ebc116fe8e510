//! What a decoder says about bytes it cannot read, and an encoder about values that do not fit.

use core::fmt;

/// Bytes that are not what they claim to be: which field of which structure, and why.
///
/// Its `Display` is one plain sentence, fit for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The header, payload or substructure being read, e.g. `"Proposal"`.
    pub structure: &'static str,
    /// The field of it that is wrong, by its RFC name, e.g. `"SPI Size"`.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end before the field does.
    Truncated {
        /// Octets that the field takes.
        needed: usize,
        /// Octets that are left for it.
        available: usize,
    },
    /// A length field contradicts the bytes that are there.
    WrongLength {
        /// Octets that the length field claims.
        stated: usize,
        /// Octets that there are, or that the structure must have.
        actual: usize,
    },
    /// Octets are left over after the structure's end.
    Trailing {
        /// How many octets left over.
        octets: usize,
    },
    /// There are more of these than [`crate::limits`] allows.
    TooMany {
        /// The limit that was passed.
        limit: usize,
    },
    /// The field holds a value that the protocol forbids here.
    Forbidden {
        /// The value found.
        value: u64,
        /// What it should have been, as a phrase: `"at least 1"`.
        expected: &'static str,
    },
}

impl Malformed {
    pub(crate) const fn new(structure: &'static str, field: &'static str, fault: Fault) -> Malformed {
        Malformed { structure, field, fault }
    }

    pub(crate) const fn forbidden(
        structure: &'static str,
        field: &'static str,
        value: u64,
        expected: &'static str,
    ) -> Malformed {
        Malformed::new(structure, field, Fault::Forbidden { value, expected })
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Malformed { structure, field, fault } = self;
        match fault {
            Fault::Truncated { needed, available } => {
                let needed = Octets(*needed);
                write!(f, "{structure}: {field} takes {needed}, but only {available} are left")
            }
            Fault::WrongLength { stated, actual } => {
                let stated = Octets(*stated);
                write!(f, "{structure}: {field} says {stated} where there are {actual}")
            }
            Fault::Trailing { octets } => {
                let octets = Octets(*octets);
                write!(f, "{structure}: {octets} left over after {field}")
            }
            Fault::TooMany { limit } => write!(f, "{structure}: more than {limit} of {field}"),
            Fault::Forbidden { value, expected } => {
                write!(f, "{structure}: {field} is {value}, but must be {expected}")
            }
        }
    }
}

impl core::error::Error for Malformed {}

/// So many octets, or one.
struct Octets(usize);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 octet"),
            count => write!(f, "{count} octets"),
        }
    }
}

/// A value that does not fit the length or count field that the format has for it.
///
/// Only our own side can cause it, never a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The structure being written, e.g. `"Certificate payload"`.
    pub structure: &'static str,
    /// Octets or elements that it would have.
    pub length: usize,
    /// Octets or elements that its length or count field can express.
    pub limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLong { structure, length, limit } = self;
        write!(f, "{structure}: {length} does not fit where at most {limit} can be expressed")
    }
}

impl core::error::Error for TooLong {}
