//! Bytes to payloads and back.
//!
//! Everything that Keyway reads from or writes to a network has its layout here: the ISAKMP header
//! that both versions of IKE share, the payloads of each, ESP and AH, IKE and ESP in UDP, and the IP
//! headers around and inside them. The numbers that IANA gives out are open newtypes in
//! [`registry`]: a value that this crate has never heard of survives a decode and an encode, and
//! prints.
//!
//! The crate knows no keys, no state, no time and no I/O. It says what bytes *are*, never whether
//! they are welcome: a decoder refuses what cannot be read unambiguously, and leaves every question
//! of policy to those who call it. No input makes it panic, and no input makes it keep more memory
//! than the input's own size times a small constant (see [`limits`]).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod reader;
mod writer;

pub mod ah;
pub mod esp;
pub mod ip;
pub mod ipcomp;
pub mod isakmp;
pub mod limits;
pub mod registry;
pub mod udp;
pub mod v1;
pub mod v2;

pub use error::{Fault, Malformed, TooLong};
