//! What a child of a connection is configured to be.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sa::{AddressRange, Handling, IpProtocol, Lifetime, Mode, PortRange, Proposal, TrafficSelector};

use crate::Lifetimes;
use crate::guard::GuardKind;

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
    /// The same for AH around each packet of ESP; empty is none. Only IKEv1 can agree on it.
    pub wrapping: Vec<Proposal>,
    /// Tunnel, transport or BEET.
    pub mode: Mode,
    /// Whether packets are compressed where the peer wants that too.
    pub compress: Compress,
    /// To how many bits HMAC-SHA-256 is cut.
    pub truncation: Truncation,
    /// When it is rekeyed and when it ends, in time.
    pub lifetimes: Lifetimes,
    /// When it is rekeyed and when it ends, in bytes and packets.
    pub volume: Lifetime,
    /// Anti-replay window in packets.
    pub replay_window: u32,
    /// What is done to packets beyond that; what the negotiation decides is filled in by it.
    pub handling: Handling,
    /// The priority of its policies, where the lowest wins; `None` lets the smaller selectors win.
    pub priority: Option<u32>,
    /// How long nothing may go through it before it is closed; zero is for ever.
    pub inactivity: Duration,
    /// What loading the connection does.
    pub start_action: StartAction,
    /// What the peer's deleting it does.
    pub close_action: CloseAction,
    /// What the peer's death does.
    pub liveness_action: CloseAction,
}

impl ChildConfig {
    /// Gives the priority of the guard's policy, trap or block; the lowest wins.
    pub(crate) fn guard_priority(&self) -> u32 {
        self.sa_priority().saturating_add(1)
    }

    /// Gives the priority of a Child SA's policy: before the child's own guard, but not before the guard of another child
    /// whose selectors are smaller. So children are two apart.
    pub(crate) fn sa_priority(&self) -> u32 {
        let base = self.priority.unwrap_or_else(|| {
            // Whichever address a dynamic selector comes to stand for, it is one.
            let any_one = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let resolve = |templates: &[SelectorTemplate]| -> Vec<TrafficSelector> {
                templates.iter().map(|template| template.resolve(any_one)).collect()
            };
            sa::derived_priority(&resolve(&self.local_selectors), &resolve(&self.remote_selectors))
        });
        base.saturating_mul(2)
    }
}

/// Whether packets are compressed before they are protected (RFC 3173).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// They are not.
    No,
    /// By DEFLATE (RFC 2394).
    Deflate,
}

/// To how many bits HMAC-SHA-256 is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// To 128 (RFC 4868).
    To128,
    /// To 96, though 128 were agreed: some peers take the one for the other.
    To96,
}

/// A traffic selector, or the place where an address that is known later goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorTemplate {
    /// As it stands.
    Fixed(TrafficSelector),
    /// The end's virtual addresses or, if it has none, its own address on the path, with this protocol and these ports.
    Dynamic(IpProtocol, PortRange),
}

impl SelectorTemplate {
    /// Fills in the end's own address.
    pub fn resolve(&self, own: IpAddr) -> TrafficSelector {
        self.resolve_to(AddressRange::host(own))
    }

    /// Fills in what stands for the end's own address.
    pub(crate) fn resolve_to(&self, own: AddressRange) -> TrafficSelector {
        match *self {
            SelectorTemplate::Fixed(selector) => selector,
            SelectorTemplate::Dynamic(protocol, ports) => TrafficSelector { addresses: own, protocol, ports },
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
    /// Both.
    TrapAndStart,
}

impl StartAction {
    /// Tells what guards the child from then on.
    pub(crate) fn guard(self) -> Option<GuardKind> {
        match self {
            StartAction::None => None,
            StartAction::Start => Some(GuardKind::Block),
            StartAction::Trap | StartAction::TrapAndStart => Some(GuardKind::Trap),
        }
    }

    /// Tells whether the child is brought up at once.
    pub(crate) fn starts(self) -> bool {
        match self {
            StartAction::None | StartAction::Trap => false,
            StartAction::Start | StartAction::TrapAndStart => true,
        }
    }
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
            wrapping: Vec::new(),
            mode: Mode::Tunnel,
            compress: Compress::No,
            truncation: Truncation::To128,
            lifetimes: Lifetimes { rekey: Duration::ZERO, rand: Duration::ZERO, expire: Duration::ZERO },
            volume: Lifetime::UNLIMITED,
            replay_window: 32,
            handling: Handling::default(),
            priority,
            inactivity: Duration::ZERO,
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
            assert!(small.guard_priority() < large.sa_priority(), "{small:?} {large:?}");
        }
        assert!(ascending.iter().all(|child| child.sa_priority() < child.guard_priority()));
        assert_eq!(child("::/0", "::/0", Some(u32::MAX)).guard_priority(), u32::MAX);
    }
}
