//! What a run begins with: two gateways, what each is configured to do, and the network between them.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use credentials::Credentials;
use crypto::Secret;
use ike::{
    Authentication, ChildConfig, Childless, CloseAction, Compress, ConfigurationMode, Connection,
    CounterSynchronization, Encap, Fragmentation, Identity, IdentityPattern, Lifetimes, Mobike,
    OptimizedRekey, PathProbing, PeerAddresses, Phase1Mode, Pool, ReauthenticationOrder, Resumption,
    SecretKind, SelectorTemplate, Settings, SharedSecret, SplitNetworks, StartAction, Truncation, Unique,
    Versions, Xauth,
};
use sa::{
    AddressRange, CertificateExchange, Handling, IpProtocol, Lifetime, Mode, PortRange, Proposal,
    ProposalProtocol, TrafficSelector,
};

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
    /// Others that it has.
    pub further_addresses: Vec<IpAddr>,
    /// The translator before it.
    pub nat: Option<Nat>,
    /// What the first link on its way to the other side takes, in octets.
    pub link: usize,
    /// Its engine's settings.
    pub settings: Settings,
    /// Its one connection, before it is loaded.
    pub connection: Connection,
    /// The secret that it shares.
    pub secret: Vec<u8>,
    /// Its pools of virtual addresses.
    pub pools: Vec<Pool>,
    /// The users whose passwords it knows.
    pub passwords: Vec<(String, String)>,
    /// The post-quantum pre-shared keys that it knows, by name.
    pub ppks: Vec<(String, Vec<u8>)>,
    /// The certificates and keys that it has and trusts.
    pub credentials: Credentials,
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

    /// Lets the two gateways themselves talk, in transport mode.
    pub fn host_to_host(seed: u64) -> Scenario {
        let own = || vec![SelectorTemplate::Dynamic(IpProtocol::ANY, PortRange::ANY)];
        Scenario::site_to_site(seed).both_children(|child| {
            child.mode = Mode::Transport;
            child.local_selectors = own();
            child.remote_selectors = own();
        })
    }

    /// Gives a flow from a gateway itself to the other one, by the addresses that the sender knows.
    pub fn own_flow(&self, from: Side) -> Flow {
        let (ours, theirs) = (self.gateway(from), self.gateway(from.other()));
        Flow::udp(ours.address, theirs.nat.as_ref().map_or(theirs.address, Nat::outside))
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

    /// Lets both sides try for as long as it takes.
    #[must_use]
    pub fn patient(self) -> Scenario {
        self.both(|gateway| gateway.connection.keying_tries = 0)
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

    /// Has both sides speak MOBIKE.
    #[must_use]
    pub fn mobile(self) -> Scenario {
        self.both(|gateway| gateway.connection.mobike = Mobike::Yes)
    }

    /// Has both sides speak IKEv1, with proposals that it has numbers for.
    #[must_use]
    pub fn version_1(self) -> Scenario {
        self.both(|gateway| gateway.connection.versions = Versions::V1)
            .suites("aes128-sha256-ecp256", "aes128gcm16-noesn")
    }

    /// Has both sides speak IKEv1, and begin with aggressive mode.
    #[must_use]
    pub fn aggressive(self) -> Scenario {
        self.version_1().both(|gateway| gateway.connection.phase_1 = Phase1Mode::Aggressive)
    }

    /// Has the left's user say by his password who he is, and the right know him.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Scenario {
        self.left.connection.xauth = Xauth::Ours(user.to_owned());
        self.right.connection.xauth = Xauth::Theirs;
        self.both(|gateway| gateway.passwords = vec![(user.to_owned(), "correct horse".to_owned())])
    }

    /// Has the right lease the left a virtual address, that of the left's host in [`flow`], and the left's child carry
    /// nothing else.
    #[must_use]
    pub fn with_virtual_address(mut self) -> Scenario {
        let pool = Pool {
            name: "clients".to_owned(),
            addresses: "10.1.0.5-10.1.0.9".parse().expect("a range"),
            netmask: None,
            dns: vec![IpAddr::from([10, 2, 0, 53])],
            nbns: Vec::new(),
            dhcp: Vec::new(),
            servers: Vec::new(),
            subnets: Vec::new(),
            split_include: Vec::new(),
            split_exclude: Vec::new(),
            numbered: Vec::new(),
            domain: Some("corp.example".to_owned()),
            banner: None,
        };
        let own = vec![SelectorTemplate::Dynamic(IpProtocol::ANY, PortRange::ANY)];
        self.left.connection.virtual_addresses = vec![IpAddr::from([0, 0, 0, 0])];
        self.left.change_child("net", |child| child.local_selectors.clone_from(&own));
        self.right.connection.pools = vec![pool.name.clone()];
        self.right.change_child("net", |child| child.remote_selectors.clone_from(&own));
        self.right.pools = vec![pool];
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
            further_addresses: Vec::new(),
            nat: None,
            link: 1500,
            settings: Settings {
                announced_signatures: credentials::announced_signatures(),
                ..Settings::default()
            },
            connection: Connection {
                name: "site".to_owned(),
                versions: Versions::V2,
                phase_1: Phase1Mode::Main,
                local_addresses: PeerAddresses::Any,
                remote_addresses: PeerAddresses::Ranges(vec![AddressRange::host(site_address(side.other()))]),
                local_identity: Some(name(side)),
                remote_identity: IdentityPattern::Exact(name(side.other())),
                local_authentication: Authentication::PreSharedKey,
                remote_authentication: Authentication::PreSharedKey,
                further_own: Vec::new(),
                further_peer: Vec::new(),
                ppk: None,
                childless: Childless::Allow,
                certificates: CertificateExchange::default(),
                xauth: Xauth::None,
                virtual_addresses: Vec::new(),
                pools: Vec::new(),
                split_networks: SplitNetworks::Ignored,
                configuration: ConfigurationMode::Pull,
                proposals: vec![ike_proposal("aes128gcm16-prfsha256-x25519")],
                encap: Encap::WhenNat,
                fragmentation: Fragmentation::Yes,
                mobike: Mobike::No,
                redirect_to: None,
                path_probing: PathProbing::No,
                resumption: Resumption::No,
                optimized_rekey: OptimizedRekey::No,
                counter_synchronization: CounterSynchronization::Yes,
                reauthentication_order: ReauthenticationOrder::MakeBeforeBreak,
                unique: Unique::No,
                keying_tries: 1,
                liveness_delay: Duration::ZERO,
                lifetimes: AGELESS,
                reauthentication: AGELESS,
                children: vec![Arc::new(child("net", side, 0))],
            },
            secret: b"the two gateways know this".to_vec(),
            pools: Vec::new(),
            passwords: Vec::new(),
            ppks: Vec::new(),
            credentials: Credentials::default(),
        }
    }

    /// Gives all its addresses.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        [self.address].into_iter().chain(self.further_addresses.iter().copied()).collect()
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

    /// Gives the secrets in the form in which they are loaded.
    pub(crate) fn shared_secrets(&self) -> Vec<SharedSecret> {
        let shared = SharedSecret {
            name: "site".to_owned(),
            kind: SecretKind::PreSharedKey,
            owners: Vec::new(),
            secret: Secret::from(self.secret.clone()),
        };
        let passwords = self.passwords.iter().map(|(user, password)| SharedSecret {
            name: format!("xauth-{user}"),
            kind: SecretKind::Password,
            owners: vec![IdentityPattern::parse(user).expect("the test's own user")],
            secret: Secret::from(password.as_bytes().to_vec()),
        });
        let ppks = self.ppks.iter().map(|(name, key)| SharedSecret {
            name: format!("ppk-{name}"),
            kind: SecretKind::PostQuantum,
            owners: vec![IdentityPattern::parse(name).expect("the test's own name")],
            secret: Secret::from(key.clone()),
        });
        std::iter::once(shared).chain(passwords).chain(ppks).collect()
    }
}

/// Makes a child of a side whose networks are the `index`th: `10.1.index.0/24` left, `10.2.index.0/24` right.
pub fn child(name: &str, side: Side, index: u8) -> ChildConfig {
    ChildConfig {
        name: name.to_owned(),
        local_selectors: vec![SelectorTemplate::Fixed(network(side, index))],
        remote_selectors: vec![SelectorTemplate::Fixed(network(side.other(), index))],
        proposals: vec![esp_proposal("aes128gcm16-esn")],
        wrapping: Vec::new(),
        mode: Mode::Tunnel,
        compress: Compress::No,
        truncation: Truncation::To128,
        lifetimes: AGELESS,
        volume: Lifetime::UNLIMITED,
        replay_window: 32,
        handling: Handling::default(),
        priority: None,
        inactivity: Duration::ZERO,
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

/// Tells behind which side a host of [`flow`] is, or which side it is itself.
pub(crate) fn side_of(host: IpAddr) -> Side {
    let networks = [[10, 2, 0, 0], [172, 16, 2, 0]].into_iter().zip([16, 24]);
    let networks = networks.map(|(network, bits)| AddressRange::prefix(network.into(), bits));
    let is_right = networks.flatten().any(|network| network.contains(host));
    if is_right || host == site_address(Side::Right) { Side::Right } else { Side::Left }
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

/// Reads an AH proposal.
///
/// # Panics
/// It is none.
pub fn ah_proposal(text: &str) -> Proposal {
    Proposal::parse(ProposalProtocol::Ah, text).expect("the test's own AH proposal")
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
