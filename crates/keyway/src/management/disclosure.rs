//! `disclose-keys`: the keys of SAs in Wireshark's tables, as long as a client wants them and stays.
//!
//! The client that asked has to stay: when it goes, by whatever cause, no more keys are written. There is one at a time.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;
use vici::Tree;

use super::commands::success;
use crate::daemon::handle::Engine;

/// Answers `disclose-keys`, once `seconds` have passed or, without them, never: its client leaves then.
pub(crate) async fn disclose(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let directory = arguments.text("directory").ok_or("disclose-keys needs the key `directory`")?;
    let directory = PathBuf::from(directory);
    if !directory.is_absolute() {
        return Err(format!("`directory = {}` is not a whole path", directory.display()));
    }
    let seconds = match arguments.text("seconds") {
        None => None,
        Some(text) => {
            let seconds =
                text.parse().map_err(|_| format!("`seconds = {text}` is not a number of seconds"))?;
            Some(Duration::from_secs(seconds))
        }
    };
    let _until_dropped = engine.disclose_keys(directory).await?;
    match seconds {
        Some(time) => sleep(time).await,
        None => pending().await,
    }
    Ok(success())
}
