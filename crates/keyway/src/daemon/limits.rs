//! The bounds of the daemon's own queues and waits, in one place.

use std::time::Duration;

/// IKE datagrams that wait for the engine; more are dropped, and counted by the data plane.
pub(crate) const IKE_QUEUE: usize = 1024;

/// Orders that wait for the engine; a client that gives more waits for room.
pub(crate) const ORDER_QUEUE: usize = 64;

/// IKE SAs that are described at a time for a client that lists them all.
pub(crate) const SAS_OF_A_PAGE: usize = 64;

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

/// What is fetched at a time, for all IKE SAs together; more waits.
pub(crate) const FETCHES_AT_ONCE: usize = 8;

/// How long one thing may take to fetch, names and redirects included.
pub(crate) const FETCH_WAIT: Duration = Duration::from_secs(10);

/// How long a server may take to accept a connection at one of its addresses.
pub(crate) const FETCH_CONNECT_WAIT: Duration = Duration::from_secs(3);

/// Addresses of one server that are tried.
pub(crate) const ADDRESSES_OF_A_SERVER: usize = 3;

/// How often what is fetched may be elsewhere.
pub(crate) const FETCH_REDIRECTS: u8 = 3;

/// Octets of a URI that is fetched from.
pub(crate) const FETCH_URI_OCTETS: usize = 2048;

/// Octets of a list of revoked certificates that is fetched.
pub(crate) const FETCHED_LIST_OCTETS: usize = 16 << 20;

/// URIs of one kind that are asked about one certificate.
pub(crate) const URIS_OF_A_CERTIFICATE: usize = 4;

/// How long all of it may take that is asked about one peer's certificates; the engine waits longer.
pub(crate) const REVOCATION_WAIT: Duration = Duration::from_secs(30);

/// How long a URI is left alone that gave nothing of use.
pub(crate) const FETCH_RETRY: Duration = Duration::from_secs(60);

/// Fetched lists that are kept, in memory and on disk.
pub(crate) const LISTS_KEPT: usize = 64;

/// Their octets, each.
pub(crate) const LISTS_KEPT_OCTETS: usize = 64 << 20;

/// OCSP responses that are kept.
pub(crate) const RESPONSES_KEPT: usize = 1024;

/// URIs that gave nothing of use and are remembered.
pub(crate) const FAILURES_KEPT: usize = 256;

/// How long a list, and an OCSP response, is kept that does not say until when it counts, in seconds.
pub(crate) const KEPT_WITHOUT_END_SECS: u64 = 60;

/// Octets of the nonce of an OCSP request (RFC 8954 §2.1: 32 is what responders are to take at most).
pub(crate) const OCSP_NONCE_OCTETS: usize = 32;

/// How long an updown script may take.
pub(crate) const SCRIPT: Duration = Duration::from_secs(30);

/// Updown scripts that run at a time.
pub(crate) const SCRIPTS_AT_ONCE: usize = 16;

/// Pairs of selectors that the updown script of one Child SA is run for, one after the other: the peer has a say in how many
/// there are.
pub(crate) const SCRIPT_RUNS: usize = 256;

/// Runs of updown scripts that have not ended; beyond that none is begun for a Child SA that comes up.
pub(crate) const SCRIPTS_PENDING: usize = 65_536;

/// Octets of what a script prints that are logged.
pub(crate) const SCRIPT_OUTPUT: u64 = 64 * 1024;

/// How long what a script has printed is waited for once it has ended.
pub(crate) const SCRIPT_LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the daemon's end waits for updown scripts, which may have to open or close a packet filter.
pub(crate) const LAST_SCRIPTS: Duration = Duration::from_secs(10);
