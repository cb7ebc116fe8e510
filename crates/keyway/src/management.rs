//! The vici server: strongSwan's management protocol on a Unix socket, for `keyway`, `swanctl` and the rest.
//!
//! ```text
//!   client ⇄ session ── commands ──► about · connections · secrets · pools · control · sas
//!               ▲                            │ orders
//!               └── events ── notices        ▼
//!                                        engine task
//! ```
//!
//! Each client is a task of its own. What a command means is in the file of its kind; none of them knows IKE.

mod about;
mod arguments;
mod blocks;
mod commands;
mod connections;
mod control;
mod counters;
mod credentials;
mod disclosure;
mod events;
mod listing;
mod pools;
mod redirect;
pub(crate) mod sas;
mod secrets;
mod server;
mod session;
mod tally;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use server::{Listener, listen, serve};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use config::AggressiveSecrets;

use crate::daemon::handle::Engine;
use crate::daemon::notices::Notices;
use crate::daemon::revocation::Revocation;
use crate::daemon::token::Modules;

/// What the commands work with.
#[derive(Clone, Debug)]
pub(crate) struct Management {
    /// The engine task.
    pub(crate) engine: Engine,
    /// What there is to watch.
    pub(crate) notices: Notices,
    /// What does not change while the daemon runs.
    pub(crate) daemon: Arc<Constants>,
    /// What has been fetched of revocation.
    pub(crate) revocation: Arc<Revocation>,
}

/// What does not change while the daemon runs.
#[derive(Debug)]
pub(crate) struct Constants {
    /// The configuration file; `None` if it runs without one.
    pub(crate) configuration: Option<PathBuf>,
    /// When the daemon started.
    pub(crate) started: SystemTime,
    /// Threads that carry packets.
    pub(crate) workers: usize,
    /// Who speaks with tokens.
    pub(crate) tokens: Arc<Modules>,
    /// Whether aggressive mode with pre-shared keys needs the consent of each connection.
    pub(crate) aggressive_secrets: AggressiveSecrets,
}
