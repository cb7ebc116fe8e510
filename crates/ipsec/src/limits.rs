//! Every bound of the crate, in one place.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Octets that a [`PacketBuf`](crate::PacketBuf) keeps free in front of a packet.
///
/// Enough for an ESP header (8), the longest IV (16), UDP (8) or AH (48), an outer IPv6 header (40) and a virtio-net
/// header (12), rounded up so that the packet itself starts on a cache line.
pub const HEADROOM: usize = 128;

/// Octets of an IP header, its options or extension headers among them, that can stand in front of ESP or AH.
///
/// An IPv4 header has 60 at most. An IPv6 header leaves 88 for what routers read: a routing header with five addresses,
/// or a few hop-by-hop options.
pub const HEADER_OCTETS: usize = 128;

/// The hop limit of outer headers that we make ourselves.
pub const HOP_LIMIT: u8 = 64;

/// The path MTU in octets of an SA that nobody has told one: what every IPv6 path has (RFC 8200 §5).
pub const LEAST_PATH_MTU: usize = 1280;

/// Octets that a [`PacketBuf`](crate::PacketBuf) keeps free behind a packet.
///
/// Enough for the longest padding (15), the ESP trailer (2) and the longest ICV (32).
pub const TAILROOM: usize = 64;

/// The largest anti-replay window in packets (RFC 4303 §3.4.3): 16 KiB, see `replay`.
pub const REPLAY_WINDOW: u32 = 65_536;

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

/// The longest that fragments wait for the rest of their packet. RFC 791 §3.2 begins with this much, and what was cut at
/// one place arrives within milliseconds; identifications of 16 bits come again soon (RFC 4963).
pub const REASSEMBLY_TIME: Duration = Duration::from_secs(15);

/// Fragments of one packet: as many as 64 KiB make on a path of 576 octets, and then some.
pub const FRAGMENTS_PER_PACKET: usize = 128;

/// Octets that all waiting fragments may take: a hundred packets of 64 KiB.
pub const REASSEMBLY_OCTETS: usize = 8 << 20;

/// Octets that waiting fragments from one host, or from one peer, may take.
pub const REASSEMBLY_OCTETS_PER_HOLDER: usize = 1 << 20;

/// Octets that a packet is counted with beside its fragments.
pub const REASSEMBLY_COST: usize = 512;

/// Octets that a fragment is counted with beside its own.
pub const FRAGMENT_COST: usize = 64;

/// Octets of the longest IP packet, and so the most that a path can take.
pub const LONGEST_IP_PACKET: usize = u16::MAX as usize;

/// What every IPv4 path is believed to take (RFC 791 §3.2), so that no ICMP error makes packets shorter. Paths that take
/// less have not been seen since the modems of the nineties, and forged errors that claim so have.
pub const LEAST_PATH_MTU_V4: usize = 576;

/// What every IPv6 path takes (RFC 8200 §5).
pub const LEAST_PATH_MTU_V6: usize = 1280;

/// How long what a router reported of a path is believed (RFC 1191 §6.3).
pub const PATH_MTU_AGE: Duration = Duration::from_secs(600);

/// The shortest time between two questions about one path's first link, which a flood of refusals could ask.
pub const LINK_QUESTION_INTERVAL: Duration = Duration::from_secs(1);

/// The time between two ICMP errors to one host, on average (RFC 4443 §2.4, f).
pub const ICMP_INTERVAL: Duration = Duration::from_millis(100);

/// The time between two ICMP errors to all hosts, on average.
pub const ICMP_INTERVAL_OF_ALL: Duration = Duration::from_millis(1);

/// ICMP errors to one host that may follow each other at once.
pub const ICMP_BURST: u32 = 10;

/// ICMP errors to all hosts that may follow each other at once.
pub const ICMP_BURST_OF_ALL: u32 = 100;

/// Groups of hosts whose ICMP errors are counted together; hosts fall into them by chance.
pub const ICMP_BUCKETS: usize = 256;

/// Payloads of fewer octets are not compressed: they would hardly become shorter (RFC 3173 §2.2).
pub const COMPRESSION_THRESHOLD: usize = 90;

/// Tries in a row that make nothing shorter before an SA pauses, and with each further one pauses longer.
pub const COMPRESSION_TRIES: u32 = 8;

/// Packets that are not tried in the first pause; the next is twice as long, and so on.
pub const COMPRESSION_PAUSE: u32 = 16;

/// Packets that are not tried in the longest pause.
pub const COMPRESSION_LONGEST_PAUSE: u32 = 4096;

/// Octets that a compressed payload may become: what an IP packet can hold. Whatever a peer sends, no more is inflated.
pub const DECOMPRESSED_OCTETS: usize = 65_535;

/// Ports of ours that stand for those of clients which share an address: just below the lowest that any system gives out by
/// itself (Linux, 32768), so that the first client, which keeps its own, has none of them.
pub const SHARED_PORTS: RangeInclusive<u16> = 28_672..=32_767;

/// Places at which a flow of such a client may stand.
pub const PORT_TRIES: usize = 16;
