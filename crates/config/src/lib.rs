//! The typed configuration: every key, its default and its reason.
//!
//! ```text
//!   swanctl.conf ─┐                    audit: unknown? misplaced? not honoured?
//!   TOML ─────────┼─► vici::Tree ──►   read:  one section of the table at a time  ──► Config + every Fault
//!   load-conn ────┘                    check: do the parts fit together?
//! ```
//!
//! The [table](self#the-table) of keys is the only place that knows a name, a default or a reason; the parsing, the
//! suggestion for a mistyped key and the [manual page](manual::page) come from it. All faults are collected, not just
//! the first, and each knows its place in the text.
//!
//! This crate refuses to know how anything is carried out: no sockets, no clock, no engine. It reads files only because
//! a configuration is made of them.
//!
//! # The table
//! See `table/connection.rs`, `table/authentication.rs`, `table/child.rs`, `table/credentials.rs` and
//! `table/manual_keying.rs`.

#![forbid(unsafe_code)]

mod address;
mod algorithm;
mod audit;
mod charon;
mod check;
mod child;
mod connection;
mod export;
mod fault;
mod files;
mod handling;
mod identity;
mod interface;
pub mod limits;
mod load;
pub mod manual;
mod manual_keying;
mod material;
mod pool;
mod read;
mod reader;
mod schema;
mod script;
mod secret;
mod table;
mod toml;
mod value;

pub use address::{AddressSpec, Selector};
pub use charon::{
    AddressUse, AggressiveSecrets, Charon, CrlCache, Level, LogPart, LookUp, Retransmission, Strangers,
    load_charon,
};
pub use child::{Child, CloseAction, Compress, StartAction, Treatment, Truncation, Volume};
pub use connection::{
    Authentication, Childless, ConfigurationMode, Connection, CounterSynchronization, Encap, EncryptionForm,
    Fragmentation, Lifetimes, Mobike, OptimizedRekey, OwnCredentials, OwnRound, PathProbing, PeerCredentials,
    PeerRound, Phase1Mode, PpkNeed, PpkTerms, ReauthenticationOrder, Resumption, Revocation, SplitNetworks,
    Unique, Versions, Xauth,
};
pub use fault::{Fault, Place, Severity};
pub use handling::Handling;
pub use interface::Interface;
pub use load::{
    Loaded, Syntax, load_connections, load_connections_with, load_file, load_file_with, load_pools,
    load_shared, load_text,
};
pub use manual_keying::{BothWays, ManualKeys, ManualSa};
pub use material::{Authority, KeyMaterial, Material, Materials, Token};
pub use pool::Pool;
pub use script::{HostAccess, Script};
pub use secret::{SecretKind, SharedSecret};

/// A whole configuration, every default in place.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The connections, in the order of the text.
    pub connections: Vec<Connection>,
    /// The pre-shared keys and passwords.
    pub secrets: Vec<SharedSecret>,
    /// The pools of virtual addresses.
    pub pools: Vec<Pool>,
    /// The SAs without IKE.
    pub manual: Vec<ManualSa>,
    /// The certificates and keys in the folders beside the configuration.
    pub materials: Materials,
}
