//! Every bound of the data plane, in one place.

use std::time::Duration;

/// Packets that one policy may hold while its SA is negotiated.
pub const HELD_PER_POLICY: usize = 64;

/// Packets that all policies together may hold.
pub const HELD_IN_TOTAL: usize = 1024;

/// The longest that a packet is held for its SA; TCP has retransmitted a SYN twice by then.
pub const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// The longest time between two [`Acquire`](sa::SaEvent::Acquire) events of a policy that still has no SA.
pub const ACQUIRE_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest time between two [`Active`](sa::SaEvent::Active) or [`PathChanged`](sa::SaEvent::PathChanged) events
/// of one inbound SA.
pub const SA_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// Workers at most, whatever the number of processors.
pub const MOST_WORKERS: usize = 16;
