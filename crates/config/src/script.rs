//! Scripts that a child has run when it comes up and goes down.

use crate::handling::number;
use crate::schema::Shape;
use crate::value::{Unreadable, yes_or_no};

/// What is run when a child comes up or goes down, and what it is told that the daemon itself makes no use of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The command, for the shell.
    pub command: String,
    /// Whether it should open the way to this host itself.
    pub host_access: HostAccess,
    /// The mark of packets that come through the child, with its mask.
    pub mark_in: Option<(u32, u32)>,
}

/// Whether a script should open the way to the host itself, and not only to the networks behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostAccess {
    /// It should not.
    No,
    /// It should.
    Yes,
}

pub(crate) const HOST_ACCESS: Shape<HostAccess> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, HostAccess::Yes, HostAccess::No) };

pub(crate) const COMMAND: Shape<String> = Shape {
    words: "command",
    read: |text| match text.trim() {
        "" => Err(Unreadable::new("the command is empty", "leave the key out where nothing is to be run")),
        command => Ok(command.to_owned()),
    },
};

/// Reads a mark and its mask; without one, every bit counts.
pub(crate) fn mark(text: &str) -> Option<(u32, u32)> {
    let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
    Some((number(mark.trim())?, mask.map_or(Some(u32::MAX), |mask| number(mask.trim()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_a_mask_or_means_every_bit() {
        assert_eq!(mark("42"), Some((42, u32::MAX)));
        assert_eq!(mark("0x2a/0xff"), Some((42, 0xff)));
        assert_eq!(mark("%unique"), None);
        assert_eq!(mark("1/many"), None);
    }

    #[test]
    fn a_command_is_not_empty() {
        assert_eq!((COMMAND.read)(" /etc/firewall up "), Ok("/etc/firewall up".to_owned()));
        assert!((COMMAND.read)("  ").is_err());
    }
}
