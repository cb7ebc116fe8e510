//! Connections: `load-conn` and its kin, the lists of them and of their policies, and the daemon's own configuration.

use config::{Fault, Severity, Treatment};
use crypto::SystemRandom;
use vici::Tree;

use super::Constants;
use super::arguments::flag;
use super::commands::success;
use super::sas::Keys;
use crate::daemon::configuration;
use crate::daemon::handle::{Engine, Snapshot};
use crate::daemon::loaded::Source;
use crate::daemon::lower;

/// Answers `reload-settings`: reads the configuration file again; a faulty one changes nothing.
pub(crate) async fn reload(engine: &Engine, daemon: &Constants, arguments: &Tree) -> Result<Tree, String> {
    let keys = Keys::of(arguments)?;
    let Some(path) = &daemon.configuration else {
        return Ok(changed(keys, "the daemon runs without a configuration file"));
    };
    let changes = configuration::reload(engine, daemon, path).await?;
    Ok(changed(keys, &changes.to_string()))
}

fn changed(keys: Keys, changes: &str) -> Tree {
    match keys {
        Keys::Charons => success(),
        Keys::All => success().with_value("changes", changes),
    }
}

/// Answers `load-conn`.
pub(crate) async fn load(engine: &Engine, daemon: &Constants, arguments: &Tree) -> Result<Tree, String> {
    let loaded = config::load_connections_with(arguments, daemon.aggressive_secrets);
    if !loaded.is_sound() {
        return Err(first_error(&loaded.faults));
    }
    for warning in &loaded.faults {
        tracing::warn!("{}", warning.sentence());
    }
    for connection in loaded.config.connections {
        let name = connection.name.clone();
        let complain = |sentence: String| tracing::warn!(connection = name, "{sentence}");
        let lowered = lower::connection(connection, Source::Client, &mut SystemRandom, complain).await?;
        engine.load_connection(lowered).await?;
    }
    Ok(success())
}

/// Answers `unload-conn`.
pub(crate) async fn unload(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let name = arguments.text("name").ok_or("unload-conn needs the key `name`")?;
    engine.unload_connection(name.to_owned()).await?;
    Ok(success())
}

/// Answers `get-conns`: the names of what clients loaded.
pub(crate) async fn names(engine: &Engine) -> Result<Tree, String> {
    let loaded = engine.snapshot().await?.loaded;
    let from_clients = loaded.connections.iter().filter(|(_, loaded)| loaded.source == Source::Client);
    Ok(Tree::new().with_list("conns", from_clients.map(|(name, _)| name)))
}

/// Answers `list-conns`, a message for each connection.
pub(crate) async fn list(engine: &Engine, arguments: &Tree) -> Result<Vec<Tree>, String> {
    let loaded = engine.snapshot().await?.loaded;
    let name = arguments.text("ike");
    let listed =
        loaded.connections.values().filter(|loaded| name.is_none_or(|name| loaded.config.name == name));
    Ok(listed.map(|loaded| loaded.config.to_list_conn(subject)).collect())
}

/// Gives whom a certificate is for; a connection whose certificate cannot be read is not loaded.
fn subject(certificate: &config::Material) -> String {
    let contents = pki::Contents::read(&certificate.octets, None).ok();
    let first = contents.and_then(|contents| contents.certificates.into_iter().next());
    first.map_or_else(|| certificate.name.clone(), |certificate| certificate.subject().to_string())
}

/// Answers `list-policies`, a message for each trap, pass and drop policy of the kinds that are asked for.
pub(crate) async fn policies(engine: &Engine, arguments: &Tree) -> Result<Vec<Tree>, String> {
    let snapshot = engine.snapshot().await?;
    let [traps, passes, drops] =
        [flag(arguments, "trap")?, flag(arguments, "pass")?, flag(arguments, "drop")?];
    let (ike, name) = (arguments.text("ike"), arguments.text("child"));
    let mut messages = Vec::new();
    for loaded in snapshot.loaded.connections.values() {
        for child in &loaded.config.children {
            let is_asked = match child.treatment {
                Treatment::Protect(_) => traps,
                Treatment::Pass => passes,
                Treatment::Drop => drops,
            };
            if is_asked
                && ike.is_none_or(|name| loaded.config.name == name)
                && is_installed(&snapshot, &loaded.config.name, child)
                && name.is_none_or(|name| child.name == name)
            {
                messages.push(list_policy(&loaded.config.name, child));
            }
        }
    }
    Ok(messages)
}

/// Gives the first error in one line, and how many more there are.
pub(crate) fn first_error(faults: &[Fault]) -> String {
    let mut errors = faults.iter().filter(|fault| fault.severity == Severity::Error);
    let first = errors.next().map_or_else(|| "the message is faulty".to_owned(), Fault::sentence);
    match errors.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

fn is_installed(snapshot: &Snapshot, connection: &str, child: &config::Child) -> bool {
    match child.treatment {
        Treatment::Protect(_) => {
            snapshot.traps.iter().any(|(owner, name)| owner == connection && *name == child.name)
        }
        Treatment::Pass | Treatment::Drop => snapshot.shunts.has(connection, &child.name),
    }
}

fn list_policy(connection: &str, child: &config::Child) -> Tree {
    let policy = Tree::new()
        .with_value("child", &child.name)
        .with_value("ike", connection)
        .with_value("mode", child.treatment.keyword())
        .with_list("local-ts", child.local_selectors.iter().map(ToString::to_string))
        .with_list("remote-ts", child.remote_selectors.iter().map(ToString::to_string));
    Tree::new().with_section(format!("{connection}/{}", child.name), policy)
}
