//! What a data plane is started with.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use crate::limits;

/// What [`Dataplane::start`](crate::Dataplane::start) takes. [`Settings::default`] suits a gateway; every field may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The addresses to listen on.
    pub listen: Listen,
    /// The UDP port that carries nothing but IKE (RFC 7296 §2).
    pub ike_port: u16,
    /// The UDP port that carries IKE behind a marker, ESP and NAT keepalives (RFC 3948 §2).
    pub nat_port: u16,
    /// The name of the TUN device.
    pub tun_name: String,
    /// The largest inner packet in octets that the TUN device takes.
    pub tun_mtu: u16,
    /// The firewall mark that our own sockets carry, so that the rule below lets them pass.
    pub mark: u32,
    /// The firewall mark of packets that were routed to us though no policy selects them, and that we send on as they are.
    pub passing_mark: NonZeroU32,
    /// The number of the routing table that leads protected traffic to the TUN device.
    pub routing_table: u32,
    /// The priority of the rule that consults this table; it must lie before the main table's 32766.
    pub rule_priority: u32,
    /// The file that lists what we changed on this host, for [`sweep`](crate::sweep) after a crash.
    pub journal: PathBuf,
    /// Where the name servers go that peers give.
    pub name_servers: NameServices,
    /// How many worker threads to run; `None` is one for each processor.
    pub workers: Option<NonZeroUsize>,
    /// Bounds on the packets that wait for an SA.
    pub hold: HoldBounds,
}

/// Where the name servers go that peers give with a virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServices {
    /// To whoever manages /etc/resolv.conf, or else into that file.
    Found,
    /// Into this file.
    File(PathBuf),
    /// Nowhere.
    LeftAlone,
}

/// The local addresses that a data plane listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Every address of the host; IPv6 is left out without an error where the host has none.
    Everywhere,
    /// These addresses only; one that cannot be bound is an error.
    On(Vec<IpAddr>),
}

/// Bounds on the packets that are kept while an SA is negotiated for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldBounds {
    /// Packets of one policy.
    pub per_policy: usize,
    /// Packets of all policies.
    pub total: usize,
    /// Octets of all packets of all policies.
    pub octets: usize,
    /// The longest that a packet is kept.
    pub longest: Duration,
}

/// The inner packet that fits 1500 octets in IPv6 and UDP with the longest of our suites.
///
/// 1500 - 40 (IPv6) - 8 (UDP) - 8 (ESP) - 16 (CBC IV) - 32 (HMAC-SHA-512-256) leaves 1396; of whole 16-octet blocks that
/// is 1392, and two octets are the ESP trailer's (RFC 4303 §2).
pub const DEFAULT_TUN_MTU: u16 = (1500 - 40 - 8 - 8 - 16 - 32) / 16 * 16 - 2;

/// Mark, table and priority share the number of the port that this is all about; 220 and 51820 are other people's.
const DEFAULT_HOST_NUMBER: u32 = 4500;

/// The one after it.
const DEFAULT_PASSING_MARK: NonZeroU32 = NonZeroU32::new(DEFAULT_HOST_NUMBER + 1).expect("it is 4501");

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: Listen::Everywhere,
            ike_port: 500,
            nat_port: 4500,
            tun_name: "keyway0".to_owned(),
            tun_mtu: DEFAULT_TUN_MTU,
            mark: DEFAULT_HOST_NUMBER,
            passing_mark: DEFAULT_PASSING_MARK,
            routing_table: DEFAULT_HOST_NUMBER,
            rule_priority: DEFAULT_HOST_NUMBER,
            journal: PathBuf::from("/run/keyway/dataplane.journal"),
            name_servers: NameServices::Found,
            workers: None,
            hold: HoldBounds::default(),
        }
    }
}

impl Default for HoldBounds {
    fn default() -> HoldBounds {
        HoldBounds {
            per_policy: limits::HELD_PER_POLICY,
            total: limits::HELD_IN_TOTAL,
            octets: limits::HELD_OCTETS,
            longest: limits::LONGEST_HOLD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_mtu_fits_ethernet_in_the_worst_case() {
        let sealed_payload = (usize::from(DEFAULT_TUN_MTU) + 2).next_multiple_of(16);
        assert!(40 + 8 + 8 + 16 + sealed_payload + 32 <= 1500);
        assert_eq!(DEFAULT_TUN_MTU, 1390);
    }
}
