//! What becomes of the leases of pools across restarts: the engine's word of each goes to the store, and the store's back to the
//! engine when a pool is loaded.

use std::path::PathBuf;

use ike::{Command, LeaseChange};

use super::lease_store::LeaseStore;

/// The store, which is opened when the first pool is loaded: who leases nothing has no file.
#[derive(Debug)]
pub(crate) struct Leases {
    path: PathBuf,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Unopened,
    Open(LeaseStore),
    /// That has been said.
    Unusable,
}

impl Leases {
    /// Notes where leases are to be kept.
    pub(crate) fn at(path: PathBuf) -> Leases {
        Leases { path, store: Store::Unopened }
    }

    /// Gives what was leased of a pool before.
    pub(crate) fn restore(&mut self, pool: &str) -> Option<Command> {
        if let Store::Unopened = self.store {
            self.store = match LeaseStore::open(&self.path) {
                Ok(store) => Store::Open(store),
                Err(sentence) => {
                    tracing::error!("{sentence}; clients may have other addresses after a restart");
                    Store::Unusable
                }
            };
        }
        let Store::Open(store) = &self.store else { return None };
        match store.leases_of(pool) {
            Ok(leases) => Some(Command::RestoreLeases { pool: pool.to_owned(), leases }),
            Err(sentence) => {
                tracing::error!("{sentence}");
                None
            }
        }
    }

    /// Keeps a change.
    pub(crate) fn note(&self, change: LeaseChange) {
        if let Store::Open(store) = &self.store {
            store.note(change);
        }
    }
}
