//! What a connection is configured to be: the engine's view of it, with every default already in place.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crypto::Secret;
use sa::{AddressRange, IpProtocol, Lifetime, Mode, PortRange, Proposal, TrafficSelector};

use crate::{Identity, IdentityPattern, Lifetimes, Path, limits};

/// One peer relation: who, how, and which children.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its name, unique in the engine.
    pub name: String,
    /// Our addresses; a request to another address is not for this connection.
    pub local_addresses: PeerAddresses,
    /// The peer's addresses.
    pub remote_addresses: PeerAddresses,
    /// Who we say we are; `None` is our address on the path.
    pub local_identity: Option<Identity>,
    /// Who the peer must be.
    pub remote_identity: IdentityPattern,
    /// How both ends prove it.
    pub authentication: Authentication,
    /// What we offer and accept for the IKE SA, best first.
    pub proposals: Vec<Proposal>,
    /// Whether ESP goes in UDP though there is no NAT.
    pub encap: Encap,
    /// Whether messages are cut into fragments (RFC 7383).
    pub fragmentation: Fragmentation,
    /// What happens to older IKE SAs with the same peer identity.
    pub unique: Unique,
    /// How often an attempt to come up is made; 0 is without end.
    pub keying_tries: u32,
    /// Silence after which the peer is asked whether it lives; zero never asks (RFC 7296 §2.4).
    pub liveness_delay: Duration,
    /// When the IKE SA is rekeyed and when it ends.
    pub lifetimes: Lifetimes,
    /// Its children.
    pub children: Vec<Arc<ChildConfig>>,
}

impl Connection {
    /// Finds a child by name.
    pub fn child(&self, name: &str) -> Option<&Arc<ChildConfig>> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Tells how well a path fits, for choosing among connections; `None` is not at all.
    ///
    /// A connection that names the peer's address beats one that names a network, and that beats one that takes anybody.
    pub fn fit(&self, path: Path) -> Option<u32> {
        let local = self.local_addresses.fit(path.local.ip())?;
        let remote = self.remote_addresses.fit(path.remote.ip())?;
        Some(remote * 2 + local)
    }
}

/// One end's addresses as configured, names already resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddresses {
    /// Whoever comes.
    Any,
    /// Any of these; never empty.
    Ranges(Vec<AddressRange>),
}

impl PeerAddresses {
    /// Gives the address, if it can be only one.
    pub fn single(&self) -> Option<IpAddr> {
        match self {
            PeerAddresses::Ranges(ranges) => match ranges.as_slice() {
                [range] if range.start() == range.end() => Some(range.start()),
                _ => None,
            },
            PeerAddresses::Any => None,
        }
    }

    fn fit(&self, address: IpAddr) -> Option<u32> {
        match self {
            PeerAddresses::Any => Some(0),
            PeerAddresses::Ranges(ranges) => {
                let meeting = ranges.iter().filter(|range| range.contains(address));
                meeting.map(|range| 1 + u32::from(range.as_prefix().map_or(0, |(_, length)| length))).max()
            }
        }
    }
}

/// How the two ends prove who they are (RFC 7296 §2.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By a secret that both know.
    PreSharedKey,
}

/// A secret and those who share it.
#[derive(Clone, Debug)]
pub struct SharedSecret {
    /// Its name, unique in the engine.
    pub name: String,
    /// Identities that it is for; none means anybody.
    pub owners: Vec<IdentityPattern>,
    /// The secret.
    pub secret: Secret<Vec<u8>>,
}

/// Whether ESP is carried in UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encap {
    /// Where a NAT makes it necessary.
    WhenNat,
    /// Always: the peer is made to believe in a NAT.
    Always,
}

/// Whether messages are cut into fragments (RFC 7383).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// Never; nor announced.
    No,
    /// Announced and, where the peer does too, used.
    Yes,
    /// Announced, so that the peer may; never used by us.
    Accept,
}

/// What happens to older IKE SAs between the same two identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// They stay, even if the peer says that this is its initial contact.
    Never,
    /// They end if the peer says that this is its initial contact.
    No,
    /// The new one is refused.
    Keep,
    /// They end.
    Replace,
}

/// One Child SA that a connection may have.
#[derive(Clone, Debug)]
pub struct ChildConfig {
    /// Its name, unique in the connection.
    pub name: String,
    /// Our traffic.
    pub local_selectors: Vec<SelectorTemplate>,
    /// The peer's traffic.
    pub remote_selectors: Vec<SelectorTemplate>,
    /// What we offer and accept, best first.
    pub proposals: Vec<Proposal>,
    /// Tunnel or transport.
    pub mode: Mode,
    /// When it is rekeyed and when it ends, in time.
    pub lifetimes: Lifetimes,
    /// When it is rekeyed and when it ends, in bytes and packets.
    pub volume: Lifetime,
    /// Anti-replay window in packets.
    pub replay_window: u32,
    /// The priority of its policies, where the lowest wins; `None` lets the smaller selectors win.
    pub priority: Option<u32>,
    /// What loading the connection does.
    pub start_action: StartAction,
    /// What the peer's deleting it does.
    pub close_action: CloseAction,
    /// What the peer's death does.
    pub liveness_action: CloseAction,
}

impl ChildConfig {
    /// Gives the priority of the trap policy; the lowest wins.
    pub(crate) fn trap_priority(&self) -> u32 {
        self.sa_priority().saturating_add(1)
    }

    /// Gives the priority of a Child SA's policy: before the child's own trap, but not before the trap of another child
    /// whose selectors are smaller. So children are two apart.
    pub(crate) fn sa_priority(&self) -> u32 {
        let base = self.priority.unwrap_or_else(|| {
            let extent = extent(&self.local_selectors) + extent(&self.remote_selectors);
            limits::DERIVED_PRIORITY + extent
        });
        base.saturating_mul(2)
    }
}

/// Measures the largest selector: by its addresses first, and among the same addresses by its protocol and ports.
fn extent(selectors: &[SelectorTemplate]) -> u32 {
    let of_one = |selector: &SelectorTemplate| {
        let (bits, protocol, ports) = match *selector {
            SelectorTemplate::Fixed(fixed) => (fixed.addresses.host_bits(), fixed.protocol, fixed.ports),
            SelectorTemplate::Dynamic(protocol, ports) => (0, protocol, ports),
        };
        // Both ends together have four of these at most: less than one bit of an address.
        let unlimited = u32::from(protocol == IpProtocol::ANY) + u32::from(ports == PortRange::ANY);
        bits * 5 + unlimited
    };
    selectors.iter().map(of_one).max().unwrap_or(0)
}

/// A traffic selector, or the place where an address that is known later goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorTemplate {
    /// As it stands.
    Fixed(TrafficSelector),
    /// The end's own address on the path, with this protocol and these ports.
    Dynamic(IpProtocol, PortRange),
}

impl SelectorTemplate {
    /// Fills in the end's own address.
    pub fn resolve(&self, own: IpAddr) -> TrafficSelector {
        match *self {
            SelectorTemplate::Fixed(selector) => selector,
            SelectorTemplate::Dynamic(protocol, ports) => {
                TrafficSelector { addresses: AddressRange::host(own), protocol, ports }
            }
        }
    }
}

/// What loading a connection does with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAction {
    /// Nothing.
    None,
    /// Installs a trap policy: the first packet brings it up.
    Trap,
    /// Brings it up.
    Start,
}

/// What losing a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseAction {
    /// Nothing more.
    None,
    /// Installs a trap policy.
    Trap,
    /// Brings it up again.
    Start,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(local: &str, remote: &str, priority: Option<u32>) -> ChildConfig {
        let fixed = |text: &str| {
            let selectors = text.split(", ").map(|text| text.parse().expect("the test's own text"));
            selectors.map(SelectorTemplate::Fixed).collect()
        };
        ChildConfig {
            name: "net".to_owned(),
            local_selectors: fixed(local),
            remote_selectors: fixed(remote),
            proposals: Vec::new(),
            mode: Mode::Tunnel,
            lifetimes: Lifetimes { rekey: Duration::ZERO, rand: Duration::ZERO, expire: Duration::ZERO },
            volume: Lifetime::UNLIMITED,
            replay_window: 32,
            priority,
            start_action: StartAction::Trap,
            close_action: CloseAction::None,
            liveness_action: CloseAction::None,
        }
    }

    #[test]
    fn smaller_selectors_win_even_over_a_larger_child_that_is_up() {
        let ascending = [
            child("10.1.0.0/16", "10.0.0.0/8", Some(1)),
            child("10.1.0.0/16", "10.2.9.1", None),
            child("10.1.0.0/16", "10.2.9.0/24[tcp/443]", None),
            child("10.1.0.0/16", "10.2.9.0/24", None),
            child("10.1.0.0/16", "10.0.0.0/8", None),
            child("10.1.0.0/16", "10.2.9.0/24, 0.0.0.0/0", None),
            child("::/0", "::/0", None),
        ];
        for pair in ascending.windows(2) {
            let [small, large] = pair else { panic!("two") };
            assert!(small.trap_priority() < large.sa_priority(), "{small:?} {large:?}");
        }
        assert!(ascending.iter().all(|child| child.sa_priority() < child.trap_priority()));
        assert_eq!(child("::/0", "::/0", Some(u32::MAX)).trap_priority(), u32::MAX);
    }
}
