//! SPD and SAD, ESP and AH in every mode, anti-replay and ESN; sans-IO.
//!
//! ```text
//!                 SaOp                                    one thread owns it
//!                  │
//!            ┌─────▼─────┐  tables()   ┌────────┐
//!            │ Databases ├────────────►│ Tables │           any number of workers read it
//!            └───────────┘    Arc      └───┬────┘
//!                                          │
//!   out  inner IP packet ── classify ──► Verdict::Protect(&OutboundSa) ── seal ──► ESP packet, or a whole IP packet
//!   in   ESP or AH packet ─ inbound(SPI) ───────► &InboundSa ──────────── open ──► inner IP packet
//! ```
//!
//! A packet is worked on in place in a [`PacketBuf`]. Once a [`Tables`] is taken, nothing on the path of a packet
//! allocates (but with the first packet that an SA receives, and the first that it drops), waits for a lock or enters the
//! kernel; what an SA counts it counts in atomics, so that several workers may use one SA at the same time.
//!
//! The crate refuses to know IKE, file descriptors, routes and clocks. What a packet's outer addresses are is written in
//! [`OutboundSa::outer`]; putting them on is the socket's affair, but for packets whose header no socket makes ([`Form`]).

#![forbid(unsafe_code)]

mod ah;
mod authenticated;
mod beet;
mod clients;
mod copying;
mod databases;
mod drops;
mod ends;
mod envelope;
mod esp;
mod esp_keys;
mod few;
mod fitting;
mod hash_pages;
mod header;
mod inbound;
mod ipcomp;
mod iv;
mod lifetime;
pub mod limits;
mod mode;
mod nat_checksum;
mod outbound;
mod packet_buf;
mod pairs;
mod path_mtu;
mod place;
mod reassembly;
mod rejection;
mod replay;
mod selector_index;
mod selectors;
mod sequence;
mod shared_ports;
mod slots;
mod spi;
mod tables;
mod too_big;

pub use copying::OuterHeader;
pub use databases::{Databases, Usage};
pub use drops::{DropCounters, DropReason};
pub use envelope::Envelope;
pub use fitting::{Contents, Fit, Room, segment_size};
pub use inbound::{Content, InboundSa, Opened};
pub use lifetime::Expiry;
pub use outbound::{Form, OutboundSa, Sealed};
pub use packet_buf::PacketBuf;
pub use path_mtu::{Belief, PathMtu, Paths, TooBigReport};
pub use reassembly::{Reassembled, Reassembler, Way};
pub use rejection::Rejection;
pub use spi::{SpiAllocator, SpisExhausted};
pub use tables::{Admitted, Refused, Tables, Verdict};
pub use too_big::TooBigAnswers;
