//! What the daemon is, what it can do, and how it does.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use ike::{Counters, IkeState};
use sa::transform::{ENCRYPTION, EncryptionKind, GROUPS, INTEGRITY, PSEUDO_RANDOM};
use vici::Tree;

use super::Constants;
use super::sas::Keys;
use crate::daemon::expiry;
use crate::daemon::handle::{Engine, Snapshot};
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
pub(crate) async fn stats(engine: &Engine, daemon: &Constants, arguments: &Tree) -> Result<Tree, String> {
    let keys = Keys::of(arguments)?;
    let snapshot = engine.snapshot().await?;
    let half_open = snapshot.ike_sas.iter().filter(|ike| ike.state == IkeState::Connecting).count();
    let running = daemon.started.elapsed().unwrap_or(Duration::ZERO);
    let since = daemon.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let jobs = || {
        ["critical", "high", "medium", "low"]
            .into_iter()
            .fold(Tree::new(), |tree, key| tree.with_value(key, "0"))
    };
    let uptime = Tree::new()
        .with_value("running", about(running))
        .with_value("since", moment::in_words(since.as_secs()));
    let workers = Tree::new()
        .with_value("total", daemon.workers.to_string())
        .with_value("idle", "0")
        .with_section("active", jobs());
    let ike_sas = Tree::new()
        .with_value("total", snapshot.ike_sas.len().to_string())
        .with_value("half-open", half_open.to_string());
    let tree = Tree::new()
        .with_section("uptime", uptime)
        .with_section("workers", workers)
        .with_section("queues", jobs())
        .with_value("scheduled", "0")
        .with_section("ikesas", ike_sas)
        .with_list("plugins", Vec::<String>::new());
    Ok(match keys {
        Keys::Charons => tree,
        Keys::All => with_extras(tree, &snapshot),
    })
}

/// Adds what only we count.
fn with_extras(tree: Tree, snapshot: &Snapshot) -> Tree {
    let drops = snapshot.drops.0.iter();
    let drops = drops
        .fold(Tree::new(), |drops, (reason, count)| drops.with_value(reason.to_string(), count.to_string()));
    tree.with_section("datagrams", datagrams(&snapshot.counters))
        .with_section("drops", drops)
        .with_list("expiring", expiry::expiring(&snapshot.credentials, moment::now()))
}

/// Writes a duration as charon does: in the largest unit of which there are at least two.
fn about(duration: Duration) -> String {
    let secs = duration.as_secs();
    let units = [("days", 86_400), ("hours", 3_600), ("minutes", 60)];
    let fitting = units.into_iter().find(|(_, unit)| secs > 2 * unit);
    match fitting {
        Some((name, unit)) => format!("{} {name}", secs / unit),
        None if secs == 1 => "1 second".to_owned(),
        None => format!("{secs} seconds"),
    }
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

/// Answers `get-algorithms`: by charon's kinds, the names of the transform table and who implements them.
pub(crate) fn algorithms() -> Tree {
    const IMPLEMENTATION: &str = "aws-lc";
    let section = |names: BTreeSet<&'static str>| {
        names.into_iter().fold(Tree::new(), |tree, name| tree.with_value(name, IMPLEMENTATION))
    };
    let is_aead = |kind: &EncryptionKind| matches!(kind, EncryptionKind::Aead(_));
    let ciphers = ENCRYPTION.iter().filter(|row| !is_aead(&row.kind)).map(|row| row.name);
    let aeads = ENCRYPTION.iter().filter(|row| is_aead(&row.kind)).map(|row| row.name);
    let fixed = |names: &[&'static str]| section(names.iter().copied().collect());
    Tree::new()
        .with_section("encryption", section(ciphers.collect()))
        .with_section("integrity", section(INTEGRITY.iter().map(|row| row.name).collect()))
        .with_section("aead", section(aeads.collect()))
        .with_section("hasher", fixed(&["HASH_SHA1", "HASH_SHA2_256", "HASH_SHA2_384", "HASH_SHA2_512"]))
        .with_section("prf", section(PSEUDO_RANDOM.iter().map(|row| row.name).collect()))
        .with_section("xof", Tree::new())
        .with_section("kdf", fixed(&["KDF_PRF", "KDF_PRF_PLUS"]))
        .with_section("drbg", Tree::new())
        .with_section("dh", section(GROUPS.iter().map(|row| row.name).collect()))
        .with_section("rng", fixed(&["RNG_STRONG"]))
        .with_section("nonce-gen", fixed(&["NONCE_GEN"]))
}
