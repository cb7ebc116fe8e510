//! The bounds of the daemon's own queues and waits, in one place.

use std::time::Duration;

/// IKE datagrams that wait for the engine; more are dropped, and counted by the data plane.
pub(crate) const IKE_QUEUE: usize = 1024;

/// Orders that wait for the engine; a client that gives more waits for room.
pub(crate) const ORDER_QUEUE: usize = 64;

/// Notices that a client may lag behind before it is cut off.
pub(crate) const NOTICES_BEHIND: usize = 4096;

/// Log lines that `keyway log` shows of the past.
pub(crate) const RECENT_LOG_LINES: usize = 256;

/// Clients at a time.
pub(crate) const CLIENTS: usize = 64;

/// How long a client may take to read what it is sent before it is cut off.
pub(crate) const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long deleting the SAs at the end may take: the first retransmission of a delete fits, a dead peer does not
/// hold us up.
pub(crate) const FAREWELL: Duration = Duration::from_secs(6);

/// How long the names of one connection may take to resolve.
pub(crate) const NAME_RESOLUTION: Duration = Duration::from_secs(10);

/// Failures of one kind that strangers can provoke and that are logged in one [`FAILURE_WINDOW`].
pub(crate) const FAILURES_LOGGED: u32 = 10;

/// The window of [`FAILURES_LOGGED`], and how often counters that strangers drive are summed up in the log.
pub(crate) const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// How long to wait after a client could not be taken in.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How often the names of connections are looked up again.
pub(crate) const NAME_REFRESH: Duration = Duration::from_secs(60);

/// The same while a name has never had an address, as when the host has only just started.
pub(crate) const NAME_RETRY: Duration = Duration::from_secs(5);

/// How often certificates are looked at that may be about to expire.
pub(crate) const EXPIRY_CHECK: Duration = Duration::from_secs(3600);
