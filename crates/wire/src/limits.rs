//! The most of everything that a decoder accepts, in one place.
//!
//! A limit here is far above what any honest peer sends and far below what would let a stranger's
//! datagram cost more than its parse. Counts that a format keeps in one octet (transforms of a
//! proposal, selectors of a payload) need no other limit.

/// Payloads in one IKE message. The largest honest messages (a chain of certificates, every notify)
/// stay under fifty.
pub const PAYLOADS_PER_MESSAGE: usize = 256;

/// Proposals in one Security Association payload; their number is one octet and counts from one
/// (RFC 7296 §3.3.1).
pub const PROPOSALS_PER_SA: usize = 255;

/// Octets in a nonce, at least and at most (RFC 7296 §3.9).
pub const NONCE_LENGTH: core::ops::RangeInclusive<usize> = 16..=256;

/// Octets in a nonce of IKEv1, at least and at most (RFC 2409 §5).
pub const NONCE_LENGTH_V1: core::ops::RangeInclusive<usize> = 8..=256;

/// Octets in a nonce payload of IKEv1, at least and at most: it may be a nonce that is encrypted to an RSA key (RFC 2409
/// §5.2), which then is as long as the key's modulus. Nobody's key has more than 16384 bits.
pub const NONCE_BODY_LENGTH_V1: core::ops::RangeInclusive<usize> = 8..=2048;

/// IPv6 extension headers that a walk to the upper layer follows. RFC 8200 §4.1 gives each at most
/// once, destination options twice.
pub const IPV6_EXTENSION_HEADERS: usize = 8;

/// Members of a list that an explanation names before it only counts them, so that a stranger's
/// message makes no long line in a log.
pub const EXPLAINED_ITEMS: usize = 8;

/// Octets of a name that an explanation shows before it only counts them, for the same reason.
pub const EXPLAINED_OCTETS: usize = 128;
