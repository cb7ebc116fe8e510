//! The management tree, its two codecs (swanctl.conf text and vici packets) and a client.
//!
//! ```text
//!   swanctl.conf text ──text::parse──►  ┌──────┐  ◄──message::decode── vici message ◄──Frames── bytes
//!                     ◄──text::print──  │ Tree │  ──message::encode──►               ──Packet::encode──►
//!            (TOML: see config) ──────► └──────┘  ──json::render──► {"…": …}
//! ```
//!
//! A [`Tree`] is ordered sections, values and lists. Every node that came from text knows where it stood, so that
//! whoever finds fault with it can point there. The codecs are sans-IO: [`Frames`] takes bytes as they arrive, and
//! [`text::parse`] asks an [`Includes`](text::Includes) for other files. Only [`Client`] owns a socket.
//!
//! This crate refuses to know what a key means; that is `config`'s affair.

#![forbid(unsafe_code)]

mod client;
pub mod json;
pub mod limits;
pub mod message;
mod packet;
mod source;
pub mod text;
mod tree;

pub use client::{Client, ClientError, Event};
pub use packet::{Frames, InvalidPacket, Packet};
pub use source::{FileId, Location, SourceFile, Sources, Span};
pub use tree::{Entry, Node, Tree, Value};
