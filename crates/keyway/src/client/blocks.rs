//! `keyway unblock`, and what is blocked: as the daemon tells it, or, where none runs, as its journal does.

use std::io::{self, Write as _};
use std::path::PathBuf;

use dataplane::{Block, Blocks, LeftDevice};
use sa::PolicyAction;
use vici::{Client, ClientError, Tree};

use super::units::count;
use super::{Failure, connect};
use crate::cli::{Daemon, Journal, Unblock};

/// Lets pass what is blocked.
///
/// # Errors
/// Nothing of the name is blocked, or the kernel refuses.
pub(crate) fn unblock(arguments: &Unblock) -> Result<(), Failure> {
    let mut client = match connect(&arguments.daemon) {
        Ok(client) => client,
        Err(Failure::NotRunning { .. }) => return unblock_without_daemon(arguments),
        Err(failure) => return Err(failure),
    };
    let mut request = Tree::new();
    for (key, value) in [("child", &arguments.child), ("ike", &arguments.ike)] {
        if let Some(value) = value {
            request.push_value(key, value);
        }
    }
    let response = Client::success(client.request("unblock", &request)?)?;
    let number = response.text("unblocked").and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok(writeln!(io::stdout(), "{}", unblocked(number))?)
}

fn unblock_without_daemon(arguments: &Unblock) -> Result<(), Failure> {
    if let Some(child) = &arguments.child {
        let sentence = format!("the daemon does not run, and without it nobody knows {child}: name none");
        return Err(Failure::Other(sentence));
    }
    let path = journal(&arguments.journal, &arguments.daemon);
    let lifted = dataplane::unblock(&path).map_err(|error| Failure::Other(error.to_string()))?;
    let number = blocking(&lifted).count() + lifted.devices.len();
    Ok(writeln!(io::stdout(), "{}", unblocked(number as u64))?)
}

fn unblocked(number: u64) -> String {
    match number {
        0 => "Nothing was blocked.".to_owned(),
        number => format!("{} taken away: the traffic passes unprotected.", count(number, "block")),
    }
}

/// Says what is blocked at this moment, if anything is.
///
/// # Errors
/// The daemon does not answer.
pub(super) fn blocked(client: &mut Client) -> Result<String, Failure> {
    let mut text = String::new();
    let each = |block: Tree| {
        if let Some(name) = block.text("interface") {
            let namespace = block.text("interface-netns").map(str::to_owned);
            let device = LeftDevice { name: name.to_owned(), namespace };
            text.push_str(&format!(
                "  what is routed to {device}  left by an earlier run: `keyway unblock`\n"
            ));
            return;
        }
        let traffic = |key: &str| {
            let selectors = block.list(key).unwrap_or_default().iter().filter_map(|value| value.text());
            selectors.collect::<Vec<_>>().join(" ")
        };
        let traffic = format!("{} <-> {}", traffic("local-ts"), traffic("remote-ts"));
        text.push_str(&match (block.text("ike"), block.text("child")) {
            (Some(ike), Some(child)) => format!(
                "  {traffic}  child {child} of {ike} is not up: `keyway up {child}`, or `keyway unblock {child}`\n"
            ),
            _ => format!("  {traffic}  left by an earlier run: `keyway unblock`\n"),
        });
    };
    match client.streamed("list-blocks", "list-block", &Tree::new(), each) {
        Ok(response) => drop(Client::success(response)?),
        // A daemon that is no Keyway blocks nothing.
        Err(ClientError::UnknownCommand(_) | ClientError::UnknownEvent(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(if text.is_empty() { text } else { format!("Blocked, that is dropped:\n{text}") })
}

/// Says what a daemon that does not run has left blocked, if anything, and how to let it pass.
pub(super) fn left_behind(options: &Journal, daemon: &Daemon) -> String {
    let blocks = match dataplane::blocks(&journal(options, daemon)) {
        Ok(blocks) => blocks,
        Err(error) => return format!("What it has left blocked cannot be told: {error}\n"),
    };
    let pairs = blocking(&blocks).flat_map(|block| &block.selectors);
    let pairs = pairs.map(|pair| format!("  {} <-> {}\n", pair.local, pair.remote));
    let devices = blocks.devices.iter().map(|device| format!("  what is routed to {device}\n"));
    let lines: String = pairs.chain(devices).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "Blocked until the daemon runs again, for it was to be protected:\n{lines}`keyway unblock` lets it pass unprotected.\n"
    )
}

/// Gives those that refuse packets; the others are exceptions to them.
fn blocking(blocks: &Blocks) -> impl Iterator<Item = &Block> {
    blocks.blocks.iter().filter(|block| block.action != PolicyAction::Bypass)
}

fn journal(options: &Journal, daemon: &Daemon) -> PathBuf {
    options.journal.clone().unwrap_or_else(|| daemon.socket.with_file_name("keyway.journal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_journal_nothing_is_said() {
        let daemon = Daemon { socket: "/nonexistent/keyway.vici".into() };
        assert_eq!(left_behind(&Journal { journal: None }, &daemon), "");
        let named =
            Unblock { child: Some("net".into()), ike: None, journal: Journal { journal: None }, daemon };
        let refused = unblock(&named).expect_err("nobody runs").to_string();
        assert_eq!(refused, "the daemon does not run, and without it nobody knows net: name none");
        assert_eq!(unblocked(1), "1 block taken away: the traffic passes unprotected.");
    }
}
