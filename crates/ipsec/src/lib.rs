//! SPD and SAD, ESP seal and open, anti-replay and ESN; sans-IO.
//!
//! ```text
//!                 SaOp                                    one thread owns it
//!                  │
//!            ┌─────▼─────┐  tables()   ┌────────┐
//!            │ Databases ├────────────►│ Tables │           any number of workers read it
//!            └───────────┘    Arc      └───┬────┘
//!                                          │
//!   out  inner IP packet ── classify ──► Verdict::Protect(&OutboundSa) ── seal ──► ESP packet
//!   in   ESP packet ─────── inbound(SPI) ───────► &InboundSa ──────────── open ──► inner IP packet
//! ```
//!
//! A packet is worked on in place in a [`PacketBuf`]. Once a [`Tables`] is taken, nothing on the path of a packet
//! allocates, waits for a lock or enters the kernel; what an SA counts it counts in atomics, so that several workers
//! may use one SA at the same time.
//!
//! The crate refuses to know IKE, file descriptors, routes and clocks. What a packet's outer addresses are is written in
//! [`OutboundSa::outer`]; putting them on is the socket's affair.

#![forbid(unsafe_code)]

mod databases;
mod drops;
mod ends;
mod esp_keys;
mod hash_pages;
mod inbound;
mod iv;
mod lifetime;
pub mod limits;
mod outbound;
mod packet_buf;
mod replay;
mod selector_index;
mod selectors;
mod sequence;
mod slots;
mod spi;
mod tables;
pub mod tunnel;

pub use databases::{Databases, Rejection, Unmatched, Usage};
pub use drops::{DropCounters, DropReason};
pub use inbound::{InboundSa, Opened};
pub use lifetime::Expiry;
pub use outbound::{OutboundSa, Sealed};
pub use packet_buf::PacketBuf;
pub use spi::{SpiAllocator, SpisExhausted};
pub use tables::{Tables, Verdict};
