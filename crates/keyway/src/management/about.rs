//! What the daemon is, what it can do, and how it does.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use ike::{Counters, IkeState};
use sa::transform::{ENCRYPTION, EncryptionKind, GROUPS, INTEGRITY, PSEUDO_RANDOM};
use vici::Tree;

use super::Constants;
use crate::daemon::expiry;
use crate::daemon::handle::Engine;
use crate::moment;

/// Answers `version`.
pub(crate) fn version() -> Tree {
    let system = rustix::system::uname();
    Tree::new()
        .with_value("daemon", "keyway")
        .with_value("version", env!("CARGO_PKG_VERSION"))
        .with_value("sysname", system.sysname().to_string_lossy().into_owned())
        .with_value("release", system.release().to_string_lossy().into_owned())
        .with_value("machine", system.machine().to_string_lossy().into_owned())
}

/// Answers `stats`: charon's keys as far as they mean something here, then what only we count.
pub(crate) async fn stats(engine: &Engine, daemon: &Constants) -> Result<Tree, String> {
    let snapshot = engine.snapshot().await?;
    let half_open = snapshot.ike_sas.iter().filter(|ike| ike.state == IkeState::Connecting).count();
    let running = daemon.started.elapsed().unwrap_or(Duration::ZERO);
    let since = daemon.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let jobs = || {
        ["critical", "high", "medium", "low"]
            .into_iter()
            .fold(Tree::new(), |tree, key| tree.with_value(key, "0"))
    };
    let mut drops = Tree::new();
    for (reason, count) in &snapshot.drops.0 {
        drops.push_value(reason.to_string(), count.to_string());
    }
    let uptime = Tree::new()
        .with_value("running", format!("{} seconds", running.as_secs()))
        .with_value("since", moment::utc(since.as_secs_f64()));
    let workers = Tree::new()
        .with_value("total", daemon.workers.to_string())
        .with_value("idle", "0")
        .with_section("active", jobs());
    let ike_sas = Tree::new()
        .with_value("total", snapshot.ike_sas.len().to_string())
        .with_value("half-open", half_open.to_string());
    Ok(Tree::new()
        .with_section("uptime", uptime)
        .with_section("workers", workers)
        .with_section("queues", jobs())
        .with_value("scheduled", "0")
        .with_section("ikesas", ike_sas)
        .with_list("plugins", Vec::<String>::new())
        .with_section("datagrams", datagrams(&snapshot.counters))
        .with_section("drops", drops)
        .with_list("expiring", expiry::expiring(&snapshot.credentials, moment::now())))
}

/// Lists what came in and led nowhere.
fn datagrams(counters: &Counters) -> Tree {
    Tree::new()
        .with_value("malformed", counters.malformed.to_string())
        .with_value("other-version", counters.other_version.to_string())
        .with_value("unknown-spi", counters.unknown_spi.to_string())
        .with_value("refused-strangers", counters.refused_strangers.to_string())
        .with_value("cookies-demanded", counters.cookies_demanded.to_string())
}

/// Answers `get-algorithms`: by kind, the names of the transform table and who implements them.
pub(crate) fn algorithms() -> Tree {
    const IMPLEMENTATION: &str = "aws-lc";
    let section = |names: BTreeSet<&'static str>| {
        names.into_iter().fold(Tree::new(), |tree, name| tree.with_value(name, IMPLEMENTATION))
    };
    let is_aead = |kind: &EncryptionKind| matches!(kind, EncryptionKind::Aead(_));
    let ciphers = ENCRYPTION.iter().filter(|row| !is_aead(&row.kind)).map(|row| row.name);
    let aeads = ENCRYPTION.iter().filter(|row| is_aead(&row.kind)).map(|row| row.name);
    Tree::new()
        .with_section("encryption", section(ciphers.collect()))
        .with_section("integrity", section(INTEGRITY.iter().map(|row| row.name).collect()))
        .with_section("aead", section(aeads.collect()))
        .with_section("prf", section(PSEUDO_RANDOM.iter().map(|row| row.name).collect()))
        .with_section("ke", section(GROUPS.iter().map(|row| row.name).collect()))
}
