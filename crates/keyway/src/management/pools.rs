//! Pools of virtual addresses: `load-pool` and its kin.

use ike::PoolStatus;
use vici::Tree;

use super::arguments::flag;
use super::commands::success;
use super::connections::first_error;
use crate::daemon::handle::Engine;
use crate::daemon::loaded::Source;
use crate::daemon::lower;

/// Answers `load-pool`.
pub(crate) async fn load(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let loaded = config::load_pools(arguments);
    if !loaded.is_sound() {
        return Err(first_error(&loaded.faults));
    }
    for warning in &loaded.faults {
        tracing::warn!("{}", warning.sentence());
    }
    for pool in loaded.config.pools {
        engine.load_pool(lower::pool(pool, Source::Client)).await?;
    }
    Ok(success())
}

/// Answers `unload-pool`.
pub(crate) async fn unload(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let name = arguments.text("name").ok_or("unload-pool needs the key `name`")?;
    engine.unload_pool(name.to_owned()).await?;
    Ok(success())
}

/// Answers `get-pools`: all of them, or the one that is named, and who has what if that is asked.
pub(crate) async fn list(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let name = arguments.text("name");
    let with_leases = flag(arguments, "leases")?;
    let pools = engine.pools().await?;
    let wanted = pools.iter().filter(|status| name.is_none_or(|name| status.pool.name == name));
    Ok(wanted.fold(Tree::new(), |tree, status| {
        tree.with_section(status.pool.name.clone(), describe(status, with_leases))
    }))
}

/// Where others read a number of 32 bits with a sign, charon counts no more.
const LARGEST: u64 = (1 << 31) - 2;

fn describe(status: &PoolStatus, with_leases: bool) -> Tree {
    let online = status.leases.iter().filter(|lease| lease.is_online).count();
    let described = Tree::new()
        .with_value("base", status.pool.addresses.start().to_string())
        .with_value("size", status.size.min(LARGEST).to_string())
        .with_value("online", online.to_string())
        .with_value("offline", (status.leases.len() - online).to_string());
    if !with_leases {
        return described;
    }
    let leases = status.leases.iter().enumerate().fold(Tree::new(), |tree, (index, lease)| {
        let entry = Tree::new()
            .with_value("address", lease.address.to_string())
            .with_value("identity", lease.client.to_string())
            .with_value("status", if lease.is_online { "online" } else { "offline" });
        tree.with_section(index.to_string(), entry)
    });
    described.with_section("leases", leases)
}
