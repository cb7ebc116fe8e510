//! Every bound of the data plane, in one place.

use std::time::Duration;

/// Packets that one policy may hold while its SA is negotiated.
pub const HELD_PER_POLICY: usize = 64;

/// Packets that all policies together may hold.
pub const HELD_IN_TOTAL: usize = 1024;

/// Octets of all packets that are held: as many of Ethernet's length as may be held, and a few super-packets.
pub const HELD_OCTETS: usize = 2 << 20;

/// The longest that a packet is held for its SA; TCP has retransmitted a SYN twice by then.
pub const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// The longest time between two [`Acquire`](sa::SaEvent::Acquire) events of a policy that still has no SA.
pub const ACQUIRE_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest time between two [`Active`](sa::SaEvent::Active) or [`PathChanged`](sa::SaEvent::PathChanged) events
/// of one inbound SA.
pub const SA_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// The longest that a worker goes on with tables that have been replaced.
pub const LONGEST_BATCH: Duration = Duration::from_secs(1);

/// How exactly it is known when an SA last carried a packet.
pub const ACTIVITY_RESOLUTION: Duration = Duration::from_millis(100);

/// Workers at most, whatever the number of processors.
pub const MOST_WORKERS: usize = 16;

/// Workers that receive ESP and AH without UDP: each costs every such packet a look, and one carries a gigabit a second.
pub const RAW_WORKERS: usize = 4;

/// Packets that a worker seals, or opens, before it must send, or write, them: two and a half full super-packets.
pub const PACKET_BUFFERS: usize = 128;

/// Octets of the longest IP packet, datagram, or train of datagrams that the kernel gives.
pub const LONGEST_PACKET: usize = 1 << 16;

/// Datagrams of one receive at most. A train that `UDP_GRO` gathered is one of them, so that a few suffice.
pub const RECEIVE_BATCH: usize = 16;

/// Trains of one send at most.
pub const SEND_BATCH: usize = 32;

/// Datagrams of a train: `UDP_MAX_SEGMENTS` of Linux before 6.9.
pub const TRAIN_DATAGRAMS: usize = 64;

/// Octets of a train: what goes behind a UDP header is shorter than 64 KiB.
pub const TRAIN_OCTETS: usize = 65_000;

/// How long a destination is sent single datagrams after the kernel refused a train to it: its path may have changed by then.
pub const TRAIN_PAUSE: Duration = Duration::from_secs(30);

/// Destinations that a worker remembers for having refused trains; a further one replaces the oldest.
pub const REFUSING_DESTINATIONS: usize = 16;

/// Super-packets read from TUN before the sockets have their turn.
pub const SUPER_PACKETS_A_TURN: usize = 64;

/// TCP streams whose packets are coalesced at the same time; a further one pushes out the oldest.
pub const OPEN_RUNS: usize = 8;

/// Packets coalesced into one: as many as a super-packet of small segments usefully has, few enough for one `writev`.
pub const RUN_PACKETS: usize = 64;

/// Octets that we ask each socket to buffer: half of what a 1 Gbit/s path of 100 ms has under way.
pub const SOCKET_BUFFER: i32 = 4 << 20;

/// How often packets that wait for their SA are looked at.
pub const HOLD_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Boxes that one pair of traffic selectors may be cut into for the kernel's packet filter; one that needs more (both its
/// ends are odd ranges) is blocked by a single wider box.
pub const BLOCK_BOXES_OF_A_PAIR: usize = 4096;

/// How long this host's addresses and routes must be quiet before what they are now is told.
pub const UPLINKS_SETTLE: Duration = Duration::from_millis(100);

/// How long after a change they are told at the latest, quiet or not.
pub const UPLINKS_TOLD_WITHIN: Duration = Duration::from_secs(1);

/// The shortest time between two looks whether what is ours on this host still stands: another program that takes it away
/// again and again is not fought more often.
pub const HOST_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Lines that the log gives at once to packets dropped for one reason.
pub const AUDIT_BURST: u32 = 5;

/// How long until it gives them another line.
pub const AUDIT_INTERVAL: Duration = Duration::from_secs(10);

/// Name servers that this host is told of at once; few resolvers read more than three.
pub const NAME_SERVERS: usize = 8;
