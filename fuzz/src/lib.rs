//! Fuzz targets: what Keyway reads from strangers, one module each.
//!
//! A module has one function, `run`, that takes any octets, never panics, and panics on purpose when
//! something that must hold does not (what was decoded must encode and decode again, and the like).
//! libFuzzer calls it through `fuzz_targets/`:
//!
//! ```text
//! cargo +nightly fuzz run ike_message target/found corpus/ike_message
//! ```
//!
//! (`target/found` takes what libFuzzer finds; the committed corpus stays small.) Everything in
//! `corpus/` is replayed on stable Rust, without libFuzzer:
//!
//! ```text
//! cargo test --manifest-path fuzz/Cargo.toml --no-default-features
//! ```
//!
//! A new target is a module here with its line in [`TARGETS`], three lines in `fuzz_targets/`, a
//! `[[bin]]` in `Cargo.toml`, and seeds in `corpus/`. An input that once failed is committed there too,
//! under a name that says what it broke.

#![forbid(unsafe_code)]

pub mod ah_input;
pub mod certificates;
pub mod endpoint;
pub mod endpoint_v1;
pub mod esp_input;
pub mod ike_message;
pub mod ike_payloads;
pub mod ike_v1_message;
pub mod ip_packet;
pub mod ipcomp_input;
pub mod mode_input;
pub mod reassembly;
mod sas;
pub mod swanctl_text;
pub mod vici_packet;

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its binary and of its corpus.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
}

/// Every target, for the replay.
pub const TARGETS: &[Target] = &[
    Target { name: "ah_input", run: ah_input::run },
    Target { name: "certificates", run: certificates::run },
    Target { name: "endpoint", run: endpoint::run },
    Target { name: "endpoint_v1", run: endpoint_v1::run },
    Target { name: "esp_input", run: esp_input::run },
    Target { name: "ike_message", run: ike_message::run },
    Target { name: "ike_payloads", run: ike_payloads::run },
    Target { name: "ike_v1_message", run: ike_v1_message::run },
    Target { name: "ip_packet", run: ip_packet::run },
    Target { name: "ipcomp_input", run: ipcomp_input::run },
    Target { name: "mode_input", run: mode_input::run },
    Target { name: "reassembly", run: reassembly::run },
    Target { name: "swanctl_text", run: swanctl_text::run },
    Target { name: "vici_packet", run: vici_packet::run },
];
