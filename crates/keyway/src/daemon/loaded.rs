//! What is loaded, where it came from, and what a new configuration changes about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ike::SharedSecret;

use super::handle::Changes;

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
    /// Who loaded it.
    pub(crate) source: Source,
}

impl LoadedConnection {
    /// Tells whether loading `new` in its place would change nothing.
    fn is_same(&self, new: &LoadedConnection) -> bool {
        self.source == new.source
            && self.config == new.config
            && self.engine.local_addresses == new.engine.local_addresses
            && self.engine.remote_addresses == new.engine.remote_addresses
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

/// Everything that is loaded, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loaded {
    /// The connections.
    pub(crate) connections: BTreeMap<String, LoadedConnection>,
    /// The secrets.
    pub(crate) secrets: BTreeMap<String, LoadedSecret>,
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
    kept: usize,
}

impl Loaded {
    /// Compares what is loaded with what a configuration file says now.
    pub(crate) fn difference(
        &self,
        connections: Vec<LoadedConnection>,
        secrets: Vec<LoadedSecret>,
    ) -> Difference {
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
        difference
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
    /// Counts what the difference comes to.
    pub(crate) fn changes(&self) -> Changes {
        Changes {
            loaded: self.load_connections.len() + self.load_secrets.len(),
            unloaded: self.unload_connections.len() + self.unload_secrets.len(),
            kept: self.kept,
        }
    }
}

fn missing_from<'a>(named: &BTreeSet<String>, loaded: impl Iterator<Item = &'a String>) -> Vec<String> {
    loaded.filter(|name| !named.contains(*name)).cloned().collect()
}

fn is_same_secret(old: &SharedSecret, new: &SharedSecret) -> bool {
    old.owners == new.owners && old.secret.ct_eq(new.secret.as_slice())
}
