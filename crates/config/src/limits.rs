//! Every bound that the configuration checks, with its reason.

/// The widest anti-replay window in packets that the data plane has.
pub const MAX_REPLAY_WINDOW: u32 = 65_536;

/// Characters of a pre-shared key below which it is called short.
///
/// Who plays the responder once can try secrets against what the initiator sent, as fast as a PRF runs (RFC 7296 §2.15).
pub const SHORT_SECRET_LEN: usize = 16;

/// Octets of a post-quantum pre-shared key (RFC 8784 §6); of fewer, a quantum computer leaves too few bits.
pub const SHORT_PPK_LEN: usize = 32;

/// Bytes of a configuration file; what is larger is something else.
pub const MAX_FILE_LEN: u64 = 16 * 1024 * 1024;

/// Bytes of a file with certificates, keys or a list; the list of a large CA has tens of millions.
pub const MAX_MATERIAL_LEN: u64 = 32 * 1024 * 1024;

/// Files of one folder that are read.
pub const MAX_MATERIAL_FILES: usize = 10_000;

/// The priority of policies whose peer may be anybody: behind all that sizes of selectors make, and all that people write
/// by hand (RFC 7619 §3.3). The engine doubles it and adds one for the guard.
pub const PRIORITY_OF_ANYBODY: u32 = u32::MAX / 2 - 1;

/// Dummy packets of one SA in a second: what hides a megabit a second.
pub const DUMMIES_A_SECOND: u16 = 1000;
