//! Every bound that the configuration checks, with its reason.

/// The widest anti-replay window in packets that the data plane has.
pub const MAX_REPLAY_WINDOW: u32 = 4096;

/// Characters of a pre-shared key below which it is called short.
///
/// Who plays the responder once can try secrets against what the initiator sent, as fast as a PRF runs (RFC 7296 §2.15).
pub const SHORT_SECRET_LEN: usize = 16;

/// Bytes of a configuration file; what is larger is something else.
pub const MAX_FILE_LEN: u64 = 16 * 1024 * 1024;
