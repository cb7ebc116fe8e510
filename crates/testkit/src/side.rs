//! The two ends of a run.

use std::fmt;

/// One of the two gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that most tests let begin.
    Left,
    /// The other one.
    Right,
}

impl Side {
    /// Both of them.
    pub const BOTH: [Side; 2] = [Side::Left, Side::Right];

    /// Gives the other one.
    #[must_use]
    pub fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }

    /// Gives its place in arrays of two.
    pub fn index(self) -> usize {
        match self {
            Side::Left => 0,
            Side::Right => 1,
        }
    }

    /// Gives its number in addresses.
    pub(crate) fn number(self) -> u8 {
        match self {
            Side::Left => 1,
            Side::Right => 2,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Side::Left => "left",
            Side::Right => "right",
        })
    }
}
