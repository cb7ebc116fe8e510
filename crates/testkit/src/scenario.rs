//! What a run begins with: two gateways, what each is configured to do, and the network between them.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crypto::Secret;
use ike::{
    Authentication, ChildConfig, CloseAction, Connection, Encap, Fragmentation, Identity, IdentityPattern,
    Lifetimes, PeerAddresses, SelectorTemplate, Settings, SharedSecret, StartAction, Unique,
};
use sa::{AddressRange, Lifetime, Mode, Proposal, ProposalProtocol, TrafficSelector};

use crate::{Flow, Nat, Side, Weather};

/// A run's beginning. Change what the test is about, then make a [`Pair`](crate::Pair) of it.
#[derive(Debug)]
pub struct Scenario {
    /// What every draw of the run comes from.
    pub seed: u64,
    /// The side that most tests let begin.
    pub left: Gateway,
    /// The other side.
    pub right: Gateway,
    /// What happens to the datagrams of both.
    pub weather: Weather,
    /// How long a query waits for its answer.
    pub answer_delay: RangeInclusive<Duration>,
}

/// One side's configuration.
#[derive(Debug)]
pub struct Gateway {
    /// Its own address.
    pub address: IpAddr,
    /// The translator before it.
    pub nat: Option<Nat>,
    /// Its engine's settings.
    pub settings: Settings,
    /// Its one connection, before it is loaded.
    pub connection: Connection,
    /// The secret that it shares.
    pub secret: Vec<u8>,
}

impl Scenario {
    /// Joins two sites by one child, `net`, over a clear network; nothing ages, nobody asks for liveness.
    pub fn site_to_site(seed: u64) -> Scenario {
        Scenario {
            seed,
            left: Gateway::site(Side::Left),
            right: Gateway::site(Side::Right),
            weather: Weather::CLEAR,
            answer_delay: Duration::ZERO..=Duration::from_millis(3),
        }
    }

    /// Gives a side's configuration.
    pub fn gateway(&self, side: Side) -> &Gateway {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    /// Gives a side's configuration to be changed.
    pub fn gateway_mut(&mut self, side: Side) -> &mut Gateway {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }

    /// Changes both sides alike.
    #[must_use]
    pub fn both(mut self, change: impl Fn(&mut Gateway)) -> Scenario {
        change(&mut self.left);
        change(&mut self.right);
        self
    }

    /// Changes the child `net` of both sides alike.
    #[must_use]
    pub fn both_children(self, change: impl Fn(&mut ChildConfig)) -> Scenario {
        self.both(|gateway| gateway.change_child("net", &change))
    }

    /// Changes the network.
    #[must_use]
    pub fn weather(mut self, weather: Weather) -> Scenario {
        self.weather = weather;
        self
    }

    /// Puts a side behind a translator that forgets idle mappings after `idle`.
    ///
    /// The right side, where most tests send the first message, stays reachable on ports 500 and 4500.
    #[must_use]
    pub fn behind_nat(mut self, side: Side, idle: Duration) -> Scenario {
        let gateway = self.gateway_mut(side);
        let outside = gateway.address;
        gateway.address = inside_address(side);
        let nat = Nat::new(outside, idle);
        gateway.nat = Some(match side {
            Side::Left => nat,
            Side::Right => nat.forwarding(500, gateway.address).forwarding(4500, gateway.address),
        });
        self
    }

    /// Gives both sides these proposals, and no other.
    #[must_use]
    pub fn suites(self, ike: &str, esp: &str) -> Scenario {
        self.both(|gateway| gateway.propose(ike))
            .both_children(|child| child.proposals = vec![esp_proposal(esp)])
    }
}

impl Gateway {
    fn site(side: Side) -> Gateway {
        let name = |side: Side| Identity::Fqdn(format!("{side}.example"));
        Gateway {
            address: site_address(side),
            nat: None,
            settings: Settings::default(),
            connection: Connection {
                name: "site".to_owned(),
                local_addresses: PeerAddresses::Any,
                remote_addresses: PeerAddresses::Ranges(vec![AddressRange::host(site_address(side.other()))]),
                local_identity: Some(name(side)),
                remote_identity: IdentityPattern::Exact(name(side.other())),
                authentication: Authentication::PreSharedKey,
                proposals: vec![ike_proposal("aes128gcm16-prfsha256-x25519")],
                encap: Encap::WhenNat,
                fragmentation: Fragmentation::Yes,
                unique: Unique::No,
                keying_tries: 1,
                liveness_delay: Duration::ZERO,
                lifetimes: AGELESS,
                children: vec![Arc::new(child("net", side, 0))],
            },
            secret: b"the two gateways know this".to_vec(),
        }
    }

    /// Gives the connection these IKE proposals, and no other.
    pub fn propose(&mut self, text: &str) {
        self.connection.proposals = vec![ike_proposal(text)];
    }

    /// Changes a child.
    ///
    /// # Panics
    /// There is none of that name.
    pub fn change_child(&mut self, name: &str, change: impl Fn(&mut ChildConfig)) {
        let child = self.connection.children.iter_mut().find(|child| child.name == name);
        change(Arc::make_mut(child.expect("the scenario has such a child")));
    }

    /// Gives the secret in the form in which it is loaded.
    pub(crate) fn shared_secret(&self) -> SharedSecret {
        SharedSecret {
            name: "site".to_owned(),
            owners: Vec::new(),
            secret: Secret::from(self.secret.clone()),
        }
    }
}

/// Makes a child of a side whose networks are the `index`th: `10.1.index.0/24` left, `10.2.index.0/24` right.
pub fn child(name: &str, side: Side, index: u8) -> ChildConfig {
    ChildConfig {
        name: name.to_owned(),
        local_selectors: vec![SelectorTemplate::Fixed(network(side, index))],
        remote_selectors: vec![SelectorTemplate::Fixed(network(side.other(), index))],
        proposals: vec![esp_proposal("aes128gcm16-esn")],
        mode: Mode::Tunnel,
        lifetimes: AGELESS,
        volume: Lifetime::UNLIMITED,
        replay_window: 32,
        priority: None,
        start_action: StartAction::None,
        close_action: CloseAction::None,
        liveness_action: CloseAction::None,
    }
}

/// Gives a flow from a host behind a side to one behind the other, within the `index`th networks.
pub fn flow(from: Side, index: u8) -> Flow {
    let host = |side: Side| IpAddr::from([10, side.number(), index, 5]);
    Flow::udp(host(from), host(from.other()))
}

/// Tells behind which side a host of [`flow`] is.
pub(crate) fn side_of(host: IpAddr) -> Side {
    let is_right =
        AddressRange::prefix(IpAddr::from([10, 2, 0, 0]), 16).is_ok_and(|right| right.contains(host));
    if is_right { Side::Right } else { Side::Left }
}

/// Reads an IKE proposal.
///
/// # Panics
/// It is none.
pub fn ike_proposal(text: &str) -> Proposal {
    Proposal::parse(ProposalProtocol::Ike, text).expect("the test's own IKE proposal")
}

/// Reads an ESP proposal.
///
/// # Panics
/// It is none.
pub fn esp_proposal(text: &str) -> Proposal {
    Proposal::parse(ProposalProtocol::Esp, text).expect("the test's own ESP proposal")
}

/// Gives the public address of a side.
pub fn site_address(side: Side) -> IpAddr {
    match side {
        Side::Left => IpAddr::from([192, 0, 2, 1]),
        Side::Right => IpAddr::from([198, 51, 100, 1]),
    }
}

fn inside_address(side: Side) -> IpAddr {
    IpAddr::from([172, 16, side.number(), 2])
}

fn network(side: Side, index: u8) -> TrafficSelector {
    let addresses = AddressRange::prefix(IpAddr::from([10, side.number(), index, 0]), 24);
    TrafficSelector::all_of(addresses.expect("24 bits fit an IPv4 address"))
}

/// Never rekeyed, never ended.
pub const AGELESS: Lifetimes =
    Lifetimes { rekey: Duration::ZERO, rand: Duration::ZERO, expire: Duration::ZERO };
