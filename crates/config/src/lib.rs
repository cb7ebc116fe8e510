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
//! See `table/connection.rs`, `table/authentication.rs`, `table/child.rs` and `table/credentials.rs`.

#![forbid(unsafe_code)]

mod address;
mod algorithm;
mod audit;
mod check;
mod child;
mod connection;
mod export;
mod fault;
mod files;
mod identity;
pub mod limits;
mod load;
pub mod manual;
mod read;
mod reader;
mod schema;
mod secret;
mod table;
mod toml;
mod value;

pub use address::{AddressSpec, Selector};
pub use child::{Child, CloseAction, StartAction, Treatment, Volume};
pub use connection::{Authentication, Connection, Encap, Fragmentation, Lifetimes, Unique};
pub use fault::{Fault, Place, Severity};
pub use load::{Loaded, Syntax, load_connections, load_file, load_shared, load_text};
pub use secret::SharedSecret;

/// A whole configuration, every default in place.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The connections, in the order of the text.
    pub connections: Vec<Connection>,
    /// The pre-shared keys.
    pub secrets: Vec<SharedSecret>,
}
