//! Looks the host names of connections up: soon after they are loaded, and again from time to time, so that a peer whose
//! address changes is still let in.
//!
//! Whom we call is looked up when we call. This is about who may call us, and for that the engine needs addresses.

use std::sync::Arc;

use config::AddressSpec;
use crypto::SystemRandom;
use ike::PeerAddresses;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::handle::Engine;
use super::loaded::LoadedConnection;
use super::resolve::same_addresses;
use super::{limits, lower};

/// Looks the names of a connection up that was just loaded, in a task of its own; what does not resolve is logged.
pub(crate) fn look_up_soon(engine: &Engine, loaded: LoadedConnection) {
    if has_names(&loaded.config) {
        let (engine, name) = (engine.clone(), loaded.config.name.clone());
        let complain = move |sentence: String| tracing::warn!(connection = name, "{sentence}");
        tokio::spawn(async move { look_up(&engine, &loaded, complain).await });
    }
}

/// Looks names up for ever, and loads a connection anew whose peer has moved. Returns when the engine has ended.
pub(crate) async fn keep_fresh(engine: &Engine) {
    let mut pause = limits::NAME_RETRY;
    loop {
        sleep(pause).await;
        let Ok(snapshot) = engine.snapshot().await else { return };
        let named = snapshot.loaded.connections.into_values().filter(|loaded| has_names(&loaded.config));
        // All at once: a name service that is down then costs its patience once.
        let mut look_ups = JoinSet::new();
        pause = limits::NAME_REFRESH;
        for loaded in named {
            if is_unknown(&loaded.engine.remote_addresses) {
                pause = limits::NAME_RETRY;
            }
            let engine = engine.clone();
            look_ups.spawn(async move { look_up(&engine, &loaded, |_| {}).await });
        }
        look_ups.join_all().await;
    }
}

async fn look_up(engine: &Engine, loaded: &LoadedConnection, mut complain: impl FnMut(String)) {
    let LoadedConnection { config, engine: lowered, .. } = loaded;
    let local = addresses_now(&config.local_addresses, &lowered.local_addresses, &mut complain).await;
    let remote = addresses_now(&config.remote_addresses, &lowered.remote_addresses, &mut complain).await;
    if same_addresses(&local, &lowered.local_addresses) && same_addresses(&remote, &lowered.remote_addresses)
    {
        return;
    }
    let Ok(snapshot) = engine.snapshot().await else { return };
    let now = snapshot.loaded.connections.get(&config.name);
    if !now.is_some_and(|now| Arc::ptr_eq(&now.engine, lowered)) {
        // It was unloaded or replaced meanwhile.
        return;
    }
    tracing::info!(connection = config.name, ?remote, "the names of the connection have other addresses now");
    let moved = lower::moved(loaded, local, remote, &mut SystemRandom);
    if let Err(sentence) = engine.load_connection(moved).await {
        tracing::warn!(connection = config.name, "{sentence}");
    }
}

/// Looks up what an end's addresses are; what was known stays while a name does not resolve, for a name service that is
/// down for a while moves nobody.
async fn addresses_now(
    specs: &[AddressSpec],
    known: &PeerAddresses,
    complain: &mut impl FnMut(String),
) -> PeerAddresses {
    let mut has_failed = false;
    let mut note = |sentence| {
        has_failed = true;
        complain(sentence);
    };
    let mut now = lower::addresses(specs, &mut note).await;
    if let (true, PeerAddresses::Ranges(now), PeerAddresses::Ranges(known)) = (has_failed, &mut now, known) {
        now.extend(known);
    }
    now
}

fn has_names(config: &config::Connection) -> bool {
    config.local_addresses.iter().chain(&config.remote_addresses).any(|spec| spec.name().is_some())
}

fn is_unknown(addresses: &PeerAddresses) -> bool {
    matches!(addresses, PeerAddresses::Ranges(ranges) if ranges.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Instant;

    use dataplane::{Blocks, Drops};
    use ike::Counters;
    use sa::AddressRange;
    use tokio::sync::mpsc;

    use crate::daemon::configuration;
    use crate::daemon::handle::{Changes, Order, Snapshot};
    use crate::daemon::keyring::Keyring;
    use crate::daemon::loaded::Loaded;
    use crate::daemon::manual_keying::ManualSas;
    use crate::daemon::shunts::Shunts;

    /// Plays the engine task; gives each connection that was loaded, in order.
    async fn play(mut orders: mpsc::Receiver<Order>) -> Vec<LoadedConnection> {
        let (mut loaded, mut heard) = (Loaded::default(), Vec::new());
        while let Some(order) = orders.recv().await {
            let new = match order {
                Order::Snapshot(answer) => {
                    let _ = answer.send(snapshot(loaded.clone()));
                    continue;
                }
                Order::Configure { wanted, done } => {
                    let _ = done.send(Changes::default());
                    wanted.connections
                }
                Order::LoadConnection(connection, done) => {
                    let _ = done.send(Ok(()));
                    vec![*connection]
                }
                _ => return heard,
            };
            for connection in new {
                loaded.connections.insert(connection.engine.name.clone(), connection.clone());
                heard.push(connection);
            }
        }
        heard
    }

    fn snapshot(loaded: Loaded) -> Snapshot {
        Snapshot {
            now: Instant::now(),
            ike_sas: Vec::new(),
            sas: BTreeMap::new(),
            loaded,
            keyring: Keyring::default(),
            credentials: Arc::default(),
            traps: Vec::new(),
            blocks: Vec::new(),
            host_blocks: Blocks::default(),
            shunts: Shunts::default(),
            manual: ManualSas::default(),
            counters: Counters::default(),
            drops: Drops::default(),
        }
    }

    fn configured(remote: &str) -> config::Config {
        let text = format!(
            "connections {{ site {{ remote_addrs = {remote}\n local {{ auth = psk }}\n remote {{ auth = psk }}\n \
             children {{ net {{ remote_ts = 10.2.0.0/16 }} }} }} }}\n \
             secrets {{ ike {{ secret = swordfish-swordfish }} }}"
        );
        let loaded = config::load_text("test", &text, config::Syntax::Swanctl);
        assert!(loaded.is_sound(), "{:?}", loaded.faults);
        loaded.config
    }

    fn ranges(connection: &LoadedConnection) -> &[AddressRange] {
        match &connection.engine.remote_addresses {
            PeerAddresses::Ranges(ranges) => ranges,
            PeerAddresses::Any => panic!("anybody"),
        }
    }

    #[tokio::test]
    async fn a_connection_is_loaded_at_once_and_again_when_its_names_are_known() {
        let (engine, orders) = Engine::channel();
        let played = tokio::spawn(play(orders));
        let config = configured("192.0.2.2, host.invalid, localhost");
        configuration::apply(&engine, &Arc::default(), config.clone()).await.expect("the engine runs");
        let known = async {
            let unresolved =
                PeerAddresses::Ranges(vec![AddressRange::host("192.0.2.2".parse().expect("an address"))]);
            while engine.snapshot().await.expect("it runs").loaded.connections["site"].engine.remote_addresses
                == unresolved
            {
                sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let patience = std::time::Duration::from_secs(20);
        tokio::time::timeout(patience, known).await.expect("this host knows localhost");
        // Read again unchanged, it keeps what is known.
        configuration::apply(&engine, &Arc::default(), config).await.expect("the engine runs");
        engine.stop().await;
        let heard = played.await.expect("no panic");
        let loopback = |range: &AddressRange| range.start().is_loopback();
        assert_eq!(ranges(&heard[0]).len(), 1, "only what is written");
        assert!(ranges(&heard[1]).len() > 1 && ranges(&heard[1]).iter().any(loopback));
        assert!(Arc::ptr_eq(&heard[1].engine, &heard[2].engine));
    }

    #[tokio::test]
    async fn what_is_known_stays_while_a_name_does_not_resolve() {
        let known = PeerAddresses::Ranges(vec!["192.0.2.7/32".parse().expect("an address")]);
        let specs = configured("host.invalid, 192.0.2.2").connections[0].remote_addresses.clone();
        let mut complaints = Vec::new();
        let now = addresses_now(&specs, &known, &mut |sentence| complaints.push(sentence)).await;
        let expected = ["192.0.2.2/32", "192.0.2.7/32"].map(|text| text.parse().expect("an address"));
        assert_eq!(now, PeerAddresses::Ranges(expected.to_vec()));
        assert_eq!(complaints.len(), 1);
    }
}
