//! Worker threads that carry packets between TUN devices and sockets through the IPsec tables.
//!
//! ```text
//!            SaOp, IKE datagrams                            PlaneEvent
//!                   │                                           ▲
//!             ┌─────▼───────────────────────────────────────────┴─────┐
//!             │ Dataplane          control: tables, host set-up       │
//!             └─────┬───────────────────────────────────────────▲─────┘
//!          tables (a snapshot a batch)                    acquire, expire, IKE
//!             ┌─────▼───────────────────────────────────────────┴─────┐
//!   TUN ⇄     │ worker   split → classify → seal → train              │     ⇄ UDP 4500, IP 50
//!             │          write ← coalesce ← open ← demultiplex        │     ⇄ UDP 500 (IKE only)
//!             └────────────────────────────────────────────────────────┘
//! ```
//!
//! It refuses to know what IKE means: an IKE datagram is an address pair and bytes. Packets that need protection and
//! have none are dropped and counted, never sent in the clear.

#![deny(unsafe_code)]

mod activity;
mod audit;
mod blocks;
mod control;
mod departures;
mod device;
mod drops;
mod dummies;
mod egress;
mod error;
mod event;
mod hold;
mod host;
mod ingress;
pub mod limits;
mod offload;
mod plane;
mod raw_filter;
mod settings;
mod shared;
mod socket;
mod sys;
mod tun;
mod tunnel_device;
mod worker;

#[cfg(test)]
mod twin;

#[cfg(test)]
mod tests;

pub use blocks::{Block, Blocks, LeftDevice};
pub use drops::{DropReason, Drops};
pub use error::{DeviceError, StartError};
pub use event::{Delivery, IkeDatagram, PlaneEvent};
pub use ipsec::SpisExhausted;
pub use plane::{Dataplane, Usage, blocks, sweep, unblock};
pub use settings::{DEFAULT_TUN_MTU, HoldBounds, Listen, NameServices, Settings};
pub use tunnel_device::{Persistence, TunnelDevice};
