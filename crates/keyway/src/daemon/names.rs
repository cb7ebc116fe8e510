//! Looks host names up again from time to time, so that a peer whose address changes is still let in.
//!
//! Whom we call is looked up when we call. This is about who may call us, and for that the engine needs addresses.

use config::AddressSpec;
use crypto::SystemRandom;
use ike::PeerAddresses;
use tokio::time::sleep;

use super::handle::Engine;
use super::limits;
use super::loaded::LoadedConnection;
use super::lower;

/// Looks names up for ever, and loads a connection anew whose peer has moved.
pub(crate) async fn keep_fresh(engine: &Engine) {
    loop {
        let Ok(snapshot) = engine.snapshot().await else { return };
        let named = snapshot.loaded.connections.into_values().filter(|loaded| has_names(&loaded.config));
        let mut pause = limits::NAME_REFRESH;
        for loaded in named {
            if is_unknown(&loaded.engine.remote_addresses) {
                pause = limits::NAME_RETRY;
            }
            look_up_again(engine, loaded).await;
        }
        sleep(pause).await;
    }
}

async fn look_up_again(engine: &Engine, loaded: LoadedConnection) {
    let mut has_failed = false;
    let mut complain = |_| has_failed = true;
    let local = lower::addresses(&loaded.config.local_addresses, &mut complain).await;
    let remote = lower::addresses(&loaded.config.remote_addresses, &mut complain).await;
    let has_moved = local != loaded.engine.local_addresses || remote != loaded.engine.remote_addresses;
    // A name service that is down for a while moves nobody.
    if has_failed || !has_moved {
        return;
    }
    let name = loaded.config.name.clone();
    tracing::info!(connection = name, ?remote, "the names of the connection have other addresses now");
    let config = config::Connection::clone(&loaded.config);
    let lowered = lower::connection(config, loaded.source, &mut SystemRandom, |_| {}).await;
    if let Err(sentence) = engine.load_connection(lowered).await {
        tracing::warn!(connection = name, "{sentence}");
    }
}

fn has_names(config: &config::Connection) -> bool {
    let all = config.local_addresses.iter().chain(&config.remote_addresses);
    all.into_iter().any(|spec| matches!(spec, AddressSpec::Name(_)))
}

fn is_unknown(addresses: &PeerAddresses) -> bool {
    matches!(addresses, PeerAddresses::Ranges(ranges) if ranges.is_empty())
}
