//! Two endpoints, a simulated clock and an emulated network in one process; for tests only.
//!
//! ```
//! # // The engine's own simulation tests are the real examples.
//! use testkit::{Pair, Scenario, Side, Weather};
//!
//! let mut pair = Pair::new(Scenario::site_to_site(7).weather(Weather::lossy(10)));
//! pair.connect();
//! pair.rekey_child(Side::Right, "net");
//! pair.settle_and_check();
//! ```
//!
//! A [`Scenario`] says what a run begins with; a [`Pair`] runs it. A seed replays a run: everything that a run decides
//! by chance comes from it. A run that panics prints its journal.

#![forbid(unsafe_code)]

pub mod authority;
mod check;
mod forger;
mod forger_v1;
mod impostor;
mod journal;
mod nat;
mod network;
mod packet;
mod pair;
mod plane;
mod random;
mod scenario;
mod seeds;
mod side;
mod spi_pool;
mod traffic;

pub use authority::Authority;
pub use forger::{Content, Forger};
pub use forger_v1::{ContentV1, ForgerV1, Proof};
pub use impostor::Impostor;
pub use journal::Journal;
pub use nat::Nat;
pub use network::{Loss, Network, Weather};
pub use packet::{Around, Cargo, Flow, Packet, Parcel, Sealed};
pub use pair::{CONNECTION, Pair};
pub use plane::{Arrival, Departure, InstalledSa, Plane};
pub use random::SeededRandom;
pub use scenario::{
    AGELESS, Gateway, Scenario, ah_proposal, child, esp_proposal, flow, ike_proposal, site_address,
};
pub use seeds::{MORE_SEEDS_VARIABLE, SEED_VARIABLE, for_seeds};
pub use side::Side;
pub use spi_pool::SpiPool;
pub use traffic::{Stream, Tally};
