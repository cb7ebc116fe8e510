//! The daemon's own configuration file: read whole, lowered whole, and only then put in place of the one before.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{AggressiveSecrets, Config, Fault, Place, Severity};
use crypto::SystemRandom;

use super::handle::{Changes, Engine};
use super::keyring::Ring;
use super::loaded::{LoadedConnection, Source, Wanted};
use super::token::{self, Modules};
use super::{lower, names, service};
use crate::cli::Run;
use crate::management::Constants;

/// Finds the configuration file: the one that was named, else the first default that exists, else none.
pub(crate) fn find(arguments: &Run) -> Option<PathBuf> {
    let is_named = arguments.config.is_some();
    arguments.configurations().into_iter().find(|path| is_named || path.exists())
}

/// Reads a configuration file. Warnings are logged.
///
/// # Errors
/// It is faulty: every error with its place.
pub(crate) fn read(path: &Path, consent: AggressiveSecrets) -> Result<Config, Faults> {
    let loaded = config::load_file_with(path, consent);
    if !loaded.is_sound() {
        let errors = loaded.faults.into_iter().filter(|fault| fault.severity == Severity::Error);
        return Err(Faults { path: path.to_owned(), errors: errors.collect() });
    }
    for warning in &loaded.faults {
        tracing::warn!(place = place(warning), "{}", warning.sentence());
    }
    Ok(loaded.config)
}

/// Warns of a file that every user of the host can read though secrets are in it.
pub(crate) fn warn_of_readers(path: &Path, config: &Config) {
    let is_open = fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
    if is_open && !(config.secrets.is_empty() && config.manual.is_empty()) {
        tracing::warn!(path = %path.display(), "the configuration holds secrets, and every user can read it");
    }
}

/// Puts a configuration in place of what was loaded from a file before. Names are looked up afterwards: a name service
/// that is down keeps no connection waiting, and what a connection's names were known to be stays known.
///
/// # Errors
/// A certificate that a connection names cannot be read, or the daemon is shutting down.
pub(crate) async fn apply(engine: &Engine, tokens: &Arc<Modules>, config: Config) -> Result<Changes, String> {
    let before = engine.snapshot().await?.loaded.connections;
    let lower = |config: config::Connection| -> Result<LoadedConnection, String> {
        let new = lower::without_names(config, Source::File, &mut SystemRandom)?;
        Ok(match before.get(&new.engine.name) {
            Some(old) if old.source == Source::File && old.config == new.config => old.clone(),
            Some(_) | None => new,
        })
    };
    let connections = config.connections.into_iter().map(lower).collect::<Result<Vec<_>, String>>()?;
    let mut ring = Ring::read(&config.materials, |sentence| tracing::warn!("{sentence}"));
    for token in config.materials.tokens {
        let name = token.name.clone();
        match token::open(tokens, token).await {
            Ok(key) => ring.keys.push(key),
            Err(sentence) => tracing::warn!("secrets.{name}: {sentence}"),
        }
    }
    let secrets = config.secrets.into_iter().map(|secret| lower::secret(secret, Source::File)).collect();
    let wanted = Wanted {
        connections: connections.clone(),
        secrets,
        pools: config.pools.into_iter().map(|pool| lower::pool(pool, Source::File)).collect(),
        manual: config.manual,
        ring,
    };
    let changes = engine.configure(wanted).await?;
    for connection in connections {
        names::look_up_soon(engine, connection);
    }
    Ok(changes)
}

/// Reads the file again and puts it in place.
///
/// # Errors
/// It is faulty, and nothing has changed; one sentence.
pub(crate) async fn reload(engine: &Engine, daemon: &Constants, path: &Path) -> Result<Changes, String> {
    service::reloading();
    let reloaded = replace(engine, daemon, path).await;
    match &reloaded {
        Ok(changes) => service::ready(&changes.to_string()),
        Err(_) => service::unchanged(),
    }
    reloaded
}

async fn replace(engine: &Engine, daemon: &Constants, path: &Path) -> Result<Changes, String> {
    let config = read(path, daemon.aggressive_secrets)
        .map_err(|faults| format!("{faults} (what was loaded stays)"))?;
    warn_of_readers(path, &config);
    let changes = apply(engine, &daemon.tokens, config).await?;
    tracing::info!(path = %path.display(), "{changes}");
    Ok(changes)
}

/// What is wrong with a configuration file.
#[derive(Debug)]
pub(crate) struct Faults {
    path: PathBuf,
    errors: Vec<Fault>,
}

impl Faults {
    /// Gives every error with its line and a caret under the fault.
    pub(crate) fn pointed_out(&self) -> impl Iterator<Item = &Fault> {
        self.errors.iter()
    }
}

impl fmt::Display for Faults {
    /// Gives the first error in one sentence, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [] => write!(f, "{} is faulty", self.path.display()),
            [only] => write!(f, "{}: {}", place(only), only.sentence()),
            [first, rest @ ..] => {
                write!(f, "{}: {} (and {} more)", place(first), first.sentence(), rest.len())
            }
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Changes { loaded, unloaded, kept } = self;
        write!(f, "configuration loaded: {loaded} new or changed, {unloaded} gone, {kept} as before")
    }
}

pub(super) fn place(fault: &Fault) -> String {
    match &fault.place {
        Place::Text { file, line, column, .. } => format!("{file}:{line}:{column}"),
        Place::File(file) => file.clone(),
        Place::Message => "message".to_owned(),
    }
}
