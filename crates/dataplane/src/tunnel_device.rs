//! A tunnel's own device, as the daemon asks for it.

use std::net::IpAddr;

use sa::DeviceId;

/// A TUN device with a name of its own: what the administrator, or a routing daemon, routes there is classified among the
/// policies that name it, and what the SAs that name it bring comes out of it.
///
/// No routes are made for it, and nothing is blocked for its policies: a packet that is routed elsewhere is none of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelDevice {
    /// The name that policies and SAs know it by.
    pub id: DeviceId,
    /// The name that people know it by, 1 to 15 octets.
    pub name: String,
    /// The largest inner packet in octets that it takes.
    pub mtu: u16,
    /// Its addresses, each with the length of its prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The network namespace that it is in, as `ip netns` names it; `None` is ours, where the sealed packets are.
    pub namespace: Option<String>,
    /// The VRF (or bridge) that it belongs to.
    pub master: Option<String>,
    /// What becomes of it when the plane ends.
    pub persistence: Persistence,
}

/// What becomes of a device when its plane ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It goes, and its routes with it.
    WithPlane,
    /// It stays with its routes until somebody takes it away: packets that are routed there go nowhere, but not astray.
    /// The next plane takes it over.
    UntilRemoved,
}
