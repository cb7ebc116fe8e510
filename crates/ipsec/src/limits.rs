//! Every bound of the crate, in one place.

/// Octets that a [`PacketBuf`](crate::PacketBuf) keeps free in front of a packet.
///
/// Enough for an ESP header (8), the longest IV (16), UDP (8), an outer IPv6 header (40) and a virtio-net header (12),
/// rounded up so that the packet itself starts on a cache line.
pub const HEADROOM: usize = 128;

/// Octets that a [`PacketBuf`](crate::PacketBuf) keeps free behind a packet.
///
/// Enough for the longest padding (15), the ESP trailer (2) and the longest ICV (32).
pub const TAILROOM: usize = 64;

/// The largest anti-replay window in packets (RFC 4303 §3.4.3); a memory bound, see `replay`.
pub const REPLAY_WINDOW: u32 = 4096;

/// The last sequence number of an SA without extended sequence numbers (RFC 4303 §3.3.3).
pub const LAST_SEQUENCE: u64 = u32::MAX as u64;

/// The last extended sequence number that we send or accept.
///
/// RFC 4303 §2.2.1 allows 2⁶⁴ − 1. The anti-replay window keeps 56 bits; ten million packets a second use them up in
/// 228 years.
pub const LAST_EXTENDED_SEQUENCE: u64 = (1 << 56) - 1;

/// The share of the sequence numbers that is left when an SA asks for its replacement: one in this many.
///
/// For 32-bit numbers that leaves nine minutes at a million packets a second.
pub const SEQUENCE_RESERVE: u64 = 8;

/// Low bits of an SPI that index the table of inbound SAs, and so bound their number to a million.
pub const SPI_SLOT_BITS: u32 = 20;

/// Selector pairs of one SA or policy. The payload that carries them has an octet for their number (RFC 7296 §3.13).
pub const SELECTOR_PAIRS: usize = 255 * 255;

/// SPIs that wait for their SA. More negotiations at a time do not go on; what is more is left from ones that failed.
pub const RESERVED_SPIS: usize = 1 << 16;
