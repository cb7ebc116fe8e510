//! The commands that talk to a running daemon: vici clients that know nothing else.

mod blocks;
mod control;
mod export;
mod log;
mod pools;
mod status;
mod units;
mod view;

pub(crate) use blocks::unblock;
pub(crate) use control::{down, rekey, reload, up, version};
pub(crate) use export::export_wireshark;
pub(crate) use log::log;
pub(crate) use pools::pools;
pub(crate) use status::status;

use std::io;
use std::path::Path;

use thiserror::Error;
use vici::{Client, ClientError, Tree};

use crate::cli::Daemon;

/// Why a command failed: one sentence for the person who gave it.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// Nobody listens on the socket.
    #[error("the daemon is not running ({reason} at {socket}); start it with `keyway run`")]
    NotRunning {
        /// The socket's path.
        socket: String,
        /// What is there instead.
        reason: &'static str,
    },
    /// The socket is not for this user.
    #[error("you may not talk to the daemon at {0}; run this as root")]
    NotAllowed(String),
    /// The socket fails otherwise.
    #[error("cannot reach the daemon at {socket}: {error}")]
    Unreachable {
        /// The socket's path.
        socket: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The daemon refused, or the conversation broke.
    #[error(transparent)]
    Refused(#[from] ClientError),
    /// Anything else, in its own words.
    #[error("{0}")]
    Other(String),
    /// Standard output is closed, as by `| head`; nobody needs to be told.
    #[error("nobody reads the output")]
    NobodyReads,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::NobodyReads,
            _ => Failure::Other(error.to_string()),
        }
    }
}

/// Makes the arguments of a command that is to tell more than charon would.
fn extras() -> Tree {
    Tree::new().with_value("extras", "yes")
}

/// Connects to the daemon.
fn connect(daemon: &Daemon) -> Result<Client, Failure> {
    Client::connect(&daemon.socket).map_err(|error| unreachable(&daemon.socket, error))
}

fn unreachable(socket: &Path, error: io::Error) -> Failure {
    let socket = socket.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::NotRunning { socket, reason: "no socket" },
        io::ErrorKind::ConnectionRefused => Failure::NotRunning { socket, reason: "nobody listens" },
        io::ErrorKind::PermissionDenied => Failure::NotAllowed(socket),
        _ => Failure::Unreachable { socket, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_daemon_is_named_with_its_socket() {
        let daemon = Daemon { socket: "/nonexistent/keyway.vici".into() };
        let failure = connect(&daemon).expect_err("nobody listens there");
        assert_eq!(
            failure.to_string(),
            "the daemon is not running (no socket at /nonexistent/keyway.vici); start it with `keyway run`"
        );
    }
}
