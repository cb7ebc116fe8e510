//! Secrets: `load-shared` and its kin.

use vici::Tree;

use super::commands::success;
use super::connections::first_error;
use crate::daemon::handle::Engine;
use crate::daemon::loaded::Source;
use crate::daemon::lower;

/// Answers `load-shared`.
pub(crate) async fn load(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let secret = config::load_shared(arguments).map_err(|faults| first_error(&faults))?;
    let mut loaded = lower::secret(secret, Source::Client);
    if loaded.secret.name.is_empty() {
        loaded.secret.name = free_name(engine).await?;
    }
    engine.load_secret(loaded).await?;
    Ok(success())
}

/// Answers `unload-shared`.
pub(crate) async fn unload(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let name = arguments.text("id").ok_or("unload-shared needs the key `id`")?;
    engine.unload_secret(name.to_owned()).await?;
    Ok(success())
}

/// Answers `get-shared`: the names of what clients loaded.
pub(crate) async fn names(engine: &Engine) -> Result<Tree, String> {
    let loaded = engine.snapshot().await?.loaded;
    let from_clients = loaded.secrets.iter().filter(|(_, secret)| secret.source == Source::Client);
    Ok(Tree::new().with_list("keys", from_clients.map(|(name, _)| name)))
}

/// Answers `clear-creds`.
pub(crate) async fn clear(engine: &Engine) -> Result<Tree, String> {
    engine.clear_secrets().await?;
    Ok(success())
}

/// A client may load a secret without a name; each gets one that no other has.
async fn free_name(engine: &Engine) -> Result<String, String> {
    let secrets = engine.snapshot().await?.loaded.secrets;
    let mut numbers = 1_u64..;
    Ok(numbers
        .find_map(|number| Some(format!("unnamed-{number}")).filter(|name| !secrets.contains_key(name)))
        .expect("there are more numbers than secrets"))
}
