//! The most of everything that the engine keeps for a peer, in one place.
//!
//! A limit here is far above what an honest peer needs and far below what would hurt: it bounds the memory and the
//! work that one IKE SA, or one stranger without any, can cost.

use std::time::Duration;

/// Traffic selectors of one end of a Child SA, after narrowing. The wire can count to 255 (RFC 7296 §3.13).
pub const TRAFFIC_SELECTORS: usize = 128;

/// Pairs of selectors that one Child SA carries: each packet outside the fast path is compared with all of them.
pub const SELECTOR_PAIRS: usize = 1024;

/// Fragments of one message (RFC 7383 §2.6): a message of the largest size in datagrams of 576 octets takes 122.
pub const FRAGMENTS_PER_MESSAGE: u16 = 256;

/// Octets of one reassembled message's content: no Encrypted payload is longer, since its length has 16 bits
/// (RFC 7296 §3.2), and no message that could not be sent whole needs to be accepted in pieces.
pub const REASSEMBLED_OCTETS: usize = u16::MAX as usize;

/// How long one cookie secret makes cookies; for as long again its cookies are still accepted (RFC 7296 §2.6).
pub const COOKIE_SECRET_LIFETIME: Duration = Duration::from_secs(60);

/// Half-open IKE SAs from which on every stranger must first return a cookie (strongSwan's `cookie_threshold`).
pub const HALF_OPEN_BEFORE_COOKIES: usize = 30;

/// Half-open IKE SAs of one address from which on its further requests are ignored (strongSwan's `block_threshold`).
pub const HALF_OPEN_PER_ADDRESS: usize = 5;

/// Octets of content that a fragment has at least, but for the last, however small a fragment size was asked for:
/// below that, what is in front of the content costs more than the content.
pub const FRAGMENT_CONTENT_AT_LEAST: usize = 64;
