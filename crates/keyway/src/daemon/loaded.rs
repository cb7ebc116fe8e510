//! What is loaded, where it came from, and what a new configuration changes about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{Interface, ManualSa};
use credentials::Wishes;
use ike::{Pool, SharedSecret};

use super::handle::Changes;
use super::keyring::Ring;
use super::resolve::same_addresses;

/// Who loaded something; a configuration file replaces only what came from a file, a client sees only its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The daemon's configuration.
    File,
    /// A vici client.
    Client,
}

/// A connection as it was configured, and as the engine has it.
#[derive(Clone, Debug)]
pub(crate) struct LoadedConnection {
    /// As configured: names, not addresses.
    pub(crate) config: Arc<config::Connection>,
    /// As lowered.
    pub(crate) engine: Arc<ike::Connection>,
    /// The certificates and keys that it names.
    pub(crate) wishes: Arc<Wishes>,
    /// Who loaded it.
    pub(crate) source: Source,
}

impl LoadedConnection {
    /// Gives the devices that its children name.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &Interface> + Clone {
        self.config.children.iter().filter_map(|child| child.interface.as_ref())
    }

    /// Tells whether loading `new` in its place would change nothing.
    fn is_same(&self, new: &LoadedConnection) -> bool {
        self.source == new.source
            && self.config == new.config
            && same_addresses(&self.engine.local_addresses, &new.engine.local_addresses)
            && same_addresses(&self.engine.remote_addresses, &new.engine.remote_addresses)
    }
}

/// A secret.
#[derive(Clone, Debug)]
pub(crate) struct LoadedSecret {
    /// The secret with its name and owners.
    pub(crate) secret: SharedSecret,
    /// Who loaded it.
    pub(crate) source: Source,
}

/// A pool of virtual addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadedPool {
    /// The pool.
    pub(crate) pool: Pool,
    /// Who loaded it.
    pub(crate) source: Source,
}

/// Everything that is loaded, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loaded {
    /// The connections.
    pub(crate) connections: BTreeMap<String, LoadedConnection>,
    /// The secrets.
    pub(crate) secrets: BTreeMap<String, LoadedSecret>,
    /// The pools of virtual addresses.
    pub(crate) pools: BTreeMap<String, LoadedPool>,
    /// The SAs without IKE, which only a file can load.
    pub(crate) manual: BTreeMap<String, Arc<ManualSa>>,
}

/// What a configuration file says.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// All its connections.
    pub(crate) connections: Vec<LoadedConnection>,
    /// All its secrets.
    pub(crate) secrets: Vec<LoadedSecret>,
    /// All its pools of virtual addresses.
    pub(crate) pools: Vec<LoadedPool>,
    /// All its SAs without IKE.
    pub(crate) manual: Vec<ManualSa>,
    /// All certificates and keys beside it.
    pub(crate) ring: Ring,
}

/// What has to be done to get from what is loaded to what a configuration file says.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Connections that are new or different.
    pub(crate) load_connections: Vec<LoadedConnection>,
    /// Connections that are gone from the file.
    pub(crate) unload_connections: Vec<String>,
    /// Secrets that are new or different.
    pub(crate) load_secrets: Vec<LoadedSecret>,
    /// Secrets that are gone from the file.
    pub(crate) unload_secrets: Vec<String>,
    /// Pools that are new or different.
    pub(crate) load_pools: Vec<LoadedPool>,
    /// Pools that are gone from the file.
    pub(crate) unload_pools: Vec<String>,
    /// SAs without IKE that are new or different.
    pub(crate) load_manual: Vec<Arc<ManualSa>>,
    /// SAs without IKE that are gone from the file.
    pub(crate) unload_manual: Vec<String>,
    kept: usize,
}

impl Loaded {
    /// Compares what is loaded with what a configuration file says now.
    pub(crate) fn difference(&self, wanted: Wanted) -> Difference {
        let Wanted { connections, secrets, pools, manual, ring: _ } = wanted;
        let mut difference = Difference::default();
        let named: BTreeSet<String> = connections.iter().map(|new| new.engine.name.clone()).collect();
        for new in connections {
            match self.connections.get(&new.engine.name) {
                Some(old) if old.is_same(&new) => difference.kept += 1,
                Some(_) | None => difference.load_connections.push(new),
            }
        }
        let from_file = self.connections.iter().filter(|(_, loaded)| loaded.source == Source::File);
        difference.unload_connections = missing_from(&named, from_file.map(|(name, _)| name));

        let named: BTreeSet<String> = secrets.iter().map(|new| new.secret.name.clone()).collect();
        for new in secrets {
            match self.secrets.get(&new.secret.name) {
                Some(old) if old.source == Source::File && is_same_secret(&old.secret, &new.secret) => {
                    difference.kept += 1;
                }
                Some(_) | None => difference.load_secrets.push(new),
            }
        }
        let from_file = self.secrets.iter().filter(|(_, loaded)| loaded.source == Source::File);
        difference.unload_secrets = missing_from(&named, from_file.map(|(name, _)| name));

        let named: BTreeSet<String> = pools.iter().map(|new| new.pool.name.clone()).collect();
        for new in pools {
            match self.pools.get(&new.pool.name) {
                Some(old) if *old == new => difference.kept += 1,
                Some(_) | None => difference.load_pools.push(new),
            }
        }
        let from_file = self.pools.iter().filter(|(_, loaded)| loaded.source == Source::File);
        difference.unload_pools = missing_from(&named, from_file.map(|(name, _)| name));

        let named: BTreeSet<String> = manual.iter().map(|new| new.name.clone()).collect();
        for new in manual {
            match self.manual.get(&new.name) {
                Some(old) if old.is_same(&new) => difference.kept += 1,
                Some(_) | None => difference.load_manual.push(Arc::new(new)),
            }
        }
        difference.unload_manual = missing_from(&named, self.manual.keys());
        difference
    }

    /// Gives the devices that anything loaded names.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &Interface> + Clone {
        let manual = self.manual.values().filter_map(|manual| manual.interface.as_ref());
        self.connections.values().flat_map(LoadedConnection::interfaces).chain(manual)
    }

    /// Finds the connections that have a child of this name.
    pub(crate) fn with_child<'a>(&'a self, child: &'a str) -> impl Iterator<Item = &'a LoadedConnection> {
        self.connections.values().filter(move |loaded| loaded.config.child(child).is_some())
    }

    /// Gives the names of all children.
    pub(crate) fn children(&self) -> impl Iterator<Item = &str> {
        let children = self.connections.values().flat_map(|loaded| &loaded.config.children);
        children.map(|child| child.name.as_str())
    }
}

impl Difference {
    /// Gives the devices that what is new or different names.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        let manual = self.load_manual.iter().filter_map(|manual| manual.interface.as_ref());
        self.load_connections.iter().flat_map(LoadedConnection::interfaces).chain(manual)
    }

    /// Counts what the difference comes to.
    pub(crate) fn changes(&self) -> Changes {
        Changes {
            loaded: self.load_connections.len()
                + self.load_secrets.len()
                + self.load_pools.len()
                + self.load_manual.len(),
            unloaded: self.unload_connections.len()
                + self.unload_secrets.len()
                + self.unload_pools.len()
                + self.unload_manual.len(),
            kept: self.kept,
        }
    }
}

fn missing_from<'a>(named: &BTreeSet<String>, loaded: impl Iterator<Item = &'a String>) -> Vec<String> {
    loaded.filter(|name| !named.contains(*name)).cloned().collect()
}

fn is_same_secret(old: &SharedSecret, new: &SharedSecret) -> bool {
    old.kind == new.kind && old.owners == new.owners && old.secret.ct_eq(new.secret.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::lower;

    const BOTH: &str = "
        connections {
          a { remote_addrs = 192.0.2.1
            local { auth = psk }
            remote { auth = psk } }
          b { remote_addrs = 192.0.2.2
            local { auth = psk }
            remote { auth = psk } }
        }
        secrets {
          ike-a { secret = swordfish-swordfish }
          ike-b { secret = swordfish-swordfish-b }
        }
        manual { lab { local_addr = 192.0.2.7
            remote_addr = 192.0.2.8
            ah { proposal = sha256
              spi_in = 0x1001
              spi_out = 0x1002
              integrity_key_in = 0x0101010101010101010101010101010101010101010101010101010101010101
              integrity_key_out = 0x0202020202020202020202020202020202020202020202020202020202020202 } } }";

    async fn read(text: &str) -> Wanted {
        let read = config::load_text("test", text, config::Syntax::Swanctl);
        assert!(read.is_sound(), "{:?}", read.faults);
        let mut connections = Vec::new();
        for connection in read.config.connections {
            let random = &mut crypto::SystemRandom;
            let lowered = lower::connection(connection, Source::File, random, |_| {}).await;
            connections.push(lowered.expect("the test's connections name no certificates"));
        }
        let secrets = read.config.secrets.into_iter().map(|secret| lower::secret(secret, Source::File));
        let pools = read.config.pools.into_iter().map(|pool| lower::pool(pool, Source::File)).collect();
        Wanted {
            connections,
            secrets: secrets.collect(),
            pools,
            manual: read.config.manual,
            ring: Ring::default(),
        }
    }

    async fn loaded(text: &str) -> Loaded {
        let Wanted { connections, secrets, pools, manual, ring: _ } = read(text).await;
        Loaded {
            pools: pools.into_iter().map(|loaded| (loaded.pool.name.clone(), loaded)).collect(),
            connections: connections.into_iter().map(|loaded| (loaded.engine.name.clone(), loaded)).collect(),
            secrets: secrets.into_iter().map(|loaded| (loaded.secret.name.clone(), loaded)).collect(),
            manual: manual.into_iter().map(|loaded| (loaded.name.clone(), Arc::new(loaded))).collect(),
        }
    }

    #[tokio::test]
    async fn the_same_text_changes_nothing_wherever_its_lines_stand() {
        let wanted = read(&format!("# moved\n\n{BOTH}")).await;
        let difference = loaded(BOTH).await.difference(wanted);
        assert_eq!(difference.changes(), Changes { loaded: 0, unloaded: 0, kept: 5 });
    }

    #[tokio::test]
    async fn only_what_differs_is_touched() {
        let edited = BOTH
            .replace("192.0.2.2", "192.0.2.3")
            .replace("ike-a", "ike-c")
            .replace("swordfish-b", "swordfish-d")
            .replace("lab {", "laboratory {");
        let difference = loaded(BOTH).await.difference(read(&edited).await);
        let names: Vec<&str> =
            difference.load_connections.iter().map(|new| new.engine.name.as_str()).collect();
        assert_eq!(names, ["b"]);
        let names: BTreeSet<&str> =
            difference.load_secrets.iter().map(|new| new.secret.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["ike-b", "ike-c"]));
        assert_eq!(difference.unload_secrets, ["ike-a"]);
        assert!(difference.unload_connections.is_empty());
        let names: Vec<&str> = difference.load_manual.iter().map(|new| new.name.as_str()).collect();
        assert_eq!((names, difference.unload_manual), (vec!["laboratory"], vec!["lab".to_owned()]));
    }

    #[tokio::test]
    async fn what_a_client_loaded_outlives_a_reload() {
        let mut before = loaded(BOTH).await;
        before.connections.get_mut("a").expect("loaded").source = Source::Client;
        let difference = before.difference(Wanted::default());
        assert_eq!(difference.unload_connections, ["b"]);
    }
}
