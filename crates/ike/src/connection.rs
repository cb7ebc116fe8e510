//! What a connection is configured to be: the engine's view of it, with every default already in place.

mod child;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crypto::Secret;
use sa::{AddressRange, CertificateExchange, Proposal, SignatureTerms};
use wire::isakmp::Version;

use crate::GatewayName;
use crate::v1::method;
use crate::{Identity, IdentityPattern, Lifetimes, Path, Phase1Mode};
pub use child::{ChildConfig, CloseAction, Compress, SelectorTemplate, StartAction, Truncation};

/// One peer relation: who, how, and which children.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its name, unique in the engine.
    pub name: String,
    /// The versions of IKE that it speaks.
    pub versions: Versions,
    /// How phase 1 of version 1 goes: what we begin, and what a peer may begin.
    pub phase_1: Phase1Mode,
    /// Our addresses; a request to another address is not for this connection.
    pub local_addresses: PeerAddresses,
    /// The peer's addresses.
    pub remote_addresses: PeerAddresses,
    /// Who we say we are; `None` is our address on the path.
    pub local_identity: Option<Identity>,
    /// Who the peer must be.
    pub remote_identity: IdentityPattern,
    /// How we prove who we are.
    pub local_authentication: Authentication,
    /// How the peer must.
    pub remote_authentication: Authentication,
    /// How we prove further identities after the first, in version 2 (RFC 4739).
    pub further_own: Vec<OwnRound>,
    /// How the peer must.
    pub further_peer: Vec<PeerRound>,
    /// The post-quantum pre-shared key that is mixed into the keys, in version 2 (RFC 8784).
    pub ppk: Option<PpkTerms>,
    /// Whether an IKE SA begins without a Child SA, in version 2 (RFC 6023).
    pub childless: Childless,
    /// What is sent of certificates, and asked for.
    pub certificates: CertificateExchange,
    /// Which end's user gives a password besides, in version 1.
    pub xauth: Xauth,
    /// The virtual addresses that we want of the peer; an unspecified one is any of its family.
    pub virtual_addresses: Vec<IpAddr>,
    /// The pools out of which the peer gets virtual addresses, the best first.
    pub pools: Vec<String>,
    /// What the networks that a peer names as those behind it mean.
    pub split_networks: SplitNetworks,
    /// Which end begins Mode Config, in version 1.
    pub configuration: ConfigurationMode,
    /// What we offer and accept for the IKE SA, best first.
    pub proposals: Vec<Proposal>,
    /// Whether ESP goes in UDP though there is no NAT.
    pub encap: Encap,
    /// Whether messages are cut into fragments.
    pub fragmentation: Fragmentation,
    /// Whether the addresses of both ends may change while an IKE SA lives; not in version 1.
    pub mobike: Mobike,
    /// The gateway to which clients are sent that can be (RFC 5685); not in version 1.
    pub redirect_to: Option<GatewayName>,
    /// Whether probes find out how long a packet the path takes; not in version 1.
    pub path_probing: PathProbing,
    /// Whether an IKE SA that was lost may be had again with a ticket; not in version 1.
    pub resumption: Resumption,
    /// Whether SAs are replaced without repeating what stays as it is; not in version 1.
    pub optimized_rekey: OptimizedRekey,
    /// Whether the other end may be a cluster whose members take over from each other; not in version 1.
    pub counter_synchronization: CounterSynchronization,
    /// Whether a new proof of both ends comes before the old IKE SA goes; not in version 1.
    pub reauthentication_order: ReauthenticationOrder,
    /// What happens to older IKE SAs with the same peer identity.
    pub unique: Unique,
    /// How often an attempt to come up is made; 0 is without end.
    pub keying_tries: u32,
    /// Silence after which the peer is asked whether it lives; zero never asks (RFC 7296 §2.4).
    pub liveness_delay: Duration,
    /// When the IKE SA is rekeyed and when it ends.
    pub lifetimes: Lifetimes,
    /// When both ends prove anew who they are, in version 2, and when the IKE SA ends if they have not (RFC 4478).
    pub reauthentication: Lifetimes,
    /// Its children.
    pub children: Vec<Arc<ChildConfig>>,
}

impl Connection {
    /// Finds a child by name.
    pub fn child(&self, name: &str) -> Option<&Arc<ChildConfig>> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Tells whether a peer that speaks this version is answered: version 1 does not know every way to prove who one is.
    pub(crate) fn answers(&self, version: Version) -> bool {
        self.versions.answers(version) && (version == Version::V2 || method::is_provable(self))
    }

    /// Tells how well a path fits, for choosing among connections; `None` is not at all.
    ///
    /// A connection that names the peer's address beats one that names a network, and that beats one that takes anybody.
    pub fn fit(&self, path: Path) -> Option<u32> {
        let local = self.local_addresses.fit(path.local.ip())?;
        let remote = self.remote_addresses.fit(path.remote.ip())?;
        Some(remote * 2 + local)
    }

    /// Tells whether an address of this host may be our end's.
    pub(crate) fn may_use(&self, local: IpAddr) -> bool {
        self.local_addresses.fit(local).is_some()
    }

    /// Gives who we say we are: as configured, or our address.
    pub(crate) fn own_identity(&self, path: Path) -> Identity {
        self.local_identity.clone().unwrap_or_else(|| Identity::from(path.local.ip()))
    }

    /// Gives how often we prove an identity (RFC 4739).
    pub(crate) fn own_rounds(&self) -> usize {
        1 + self.further_own.len()
    }

    /// Gives how often the peer must.
    pub(crate) fn peer_rounds(&self) -> usize {
        1 + self.further_peer.len()
    }

    /// Gives how we prove who we are in a round, from 0 up; after the last there is none.
    pub(crate) fn own_authentication(&self, round: usize) -> Option<&Authentication> {
        match round.checked_sub(1) {
            None => Some(&self.local_authentication),
            Some(further) => self.further_own.get(further).map(|round| &round.authentication),
        }
    }

    /// Gives who we say we are in a round.
    pub(crate) fn own_identity_in(&self, round: usize, path: Path) -> Identity {
        let further = round.checked_sub(1).and_then(|further| self.further_own.get(further));
        match further.and_then(|round| round.identity.clone()) {
            Some(identity) => identity,
            None => self.own_identity(path),
        }
    }

    /// Gives who the peer must be in a round, and how it must prove that; after the last there is none.
    pub(crate) fn peer_round(&self, round: usize) -> Option<(&IdentityPattern, &Authentication)> {
        match round.checked_sub(1) {
            None => Some((&self.remote_identity, &self.remote_authentication)),
            Some(further) => {
                self.further_peer.get(further).map(|round| (&round.identity, &round.authentication))
            }
        }
    }

    /// Gives who the peer should be in a round, or in its last, for finding the secret before it has told.
    pub(crate) fn expected_identity_in(&self, round: usize, path: Path) -> Identity {
        match self.peer_round(round.min(self.further_peer.len())) {
            Some((IdentityPattern::Exact(identity), _)) => identity.clone(),
            _ => Identity::from(path.remote.ip()),
        }
    }

    /// Gives how the peer must prove who it is in a round, from 0 up; after the last there is none.
    pub fn peer_authentication(&self, round: usize) -> Option<&Authentication> {
        self.peer_round(round).map(|(_, authentication)| authentication)
    }

    /// Tells whether the peer may be anybody: it is then known by no name (RFC 7619).
    pub(crate) fn takes_anybody(&self) -> bool {
        self.remote_authentication == Authentication::Null
    }

    /// Gives all the ways in which the peer must prove who it is.
    pub(crate) fn peer_authentications(&self) -> impl Iterator<Item = &Authentication> {
        let further = self.further_peer.iter().map(|round| &round.authentication);
        std::iter::once(&self.remote_authentication).chain(further)
    }

    /// Gives who the peer should be, for finding the secret before it has told.
    pub(crate) fn expected_identity(&self, path: Path) -> Identity {
        self.expected_identity_in(0, path)
    }
}

/// Which versions of IKE a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// It begins with version 2, and answers both.
    Either,
}

impl Versions {
    /// Tells whether a peer that speaks this version is answered.
    pub(crate) fn answers(self, version: Version) -> bool {
        match self {
            Versions::V1 => version == Version::V1,
            Versions::V2 => version == Version::V2,
            Versions::Either => true,
        }
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

/// How an end proves who it is (RFC 7296 §2.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By a secret that both know.
    PreSharedKey,
    /// By a signature with a key that a certificate, or the configuration, says is its own.
    Signature(SignatureTerms),
    /// By nothing: it may be anybody (RFC 7619; version 2 only).
    Null,
    /// By nothing but its user's password, which is given once the other end has proven who it is (hybrid
    /// authentication; version 1 only).
    User,
    /// By decrypting what is encrypted to its RSA key (version 1 only; both ends in the same form).
    Encryption(EncryptionForm),
}

/// How nonces and identities are encrypted to the peer in phase 1 of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionForm {
    /// Both to its RSA key (RFC 2409 §5.2).
    Plain,
    /// The nonce to its RSA key, and everything else by a cipher whose key comes from the nonce (RFC 2409 §5.3).
    Revised,
}

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authentication::PreSharedKey => f.write_str("a pre-shared key"),
            Authentication::Signature(terms) => write!(f, "a signature ({terms})"),
            Authentication::Null => f.write_str("nothing (NULL authentication)"),
            Authentication::User => f.write_str("its user's password"),
            Authentication::Encryption(EncryptionForm::Plain) => f.write_str("public key encryption"),
            Authentication::Encryption(EncryptionForm::Revised) => {
                f.write_str("revised public key encryption")
            }
        }
    }
}

/// A round of authentication of ours after the first (RFC 4739).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRound {
    /// Who we say we are; `None` is whom we say in the first.
    pub identity: Option<Identity>,
    /// How we prove it.
    pub authentication: Authentication,
}

/// A round of authentication of the peer's after the first (RFC 4739).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRound {
    /// Who the peer must be.
    pub identity: IdentityPattern,
    /// How it must prove it.
    pub authentication: Authentication,
}

/// Which post-quantum pre-shared key (PPK) a connection uses (RFC 8784).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PpkTerms {
    /// Its name. Who begins needs one that is exact; a peer that begins may name any that fits.
    pub id: IdentityPattern,
    /// What follows where the peer has none.
    pub need: PpkNeed,
}

/// Whether an IKE SA begins without a Child SA (RFC 6023), whose children come one by one afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Childless {
    /// If the peer wants it so, or somebody wants no child.
    Allow,
    /// If the peer takes it.
    Prefer,
    /// Always.
    Force,
    /// Never, as far as the peer begins.
    Never,
}

/// What follows where a peer does not have the post-quantum pre-shared key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PpkNeed {
    /// It goes without.
    Optional,
    /// It is refused.
    Required,
}

/// Which end's user gives a name and a password after phase 1 (XAuth; version 1 only).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Xauth {
    /// Neither's.
    None,
    /// Ours, and by this name.
    Ours(String),
    /// The peer's.
    Theirs,
}

/// Which end begins Mode Config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationMode {
    /// The client asks.
    Pull,
    /// The server gives unasked.
    Push,
}

/// What it means that a peer gives us a virtual address and names the networks behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitNetworks {
    /// Nothing: the selectors say what goes to the peer.
    Ignored,
    /// Of what the selectors allow, only what is for these networks goes to the peer.
    Followed,
}

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// It proves who an end is.
    PreSharedKey,
    /// It proves who a user is; its owners are the names that he may give.
    Password,
    /// It is mixed into the keys of IKE SAs (RFC 8784); its owners are its names.
    PostQuantum,
}

/// A secret and those who share it.
#[derive(Clone, Debug)]
pub struct SharedSecret {
    /// Its name, unique in the engine.
    pub name: String,
    /// What it is for.
    pub kind: SecretKind,
    /// Identities that it is for; none means anybody, but for a password nobody.
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

/// Whether messages are cut into fragments: those of RFC 7383, or in version 1 those of payload 132. A peer's own are
/// always put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// Never; nor announced.
    No,
    /// Announced and, where the peer does too, used.
    Yes,
    /// Announced, so that the peer may; never used by us.
    Accept,
    /// In version 1, used from the first message on, whether the peer announces them or not; in version 2 as
    /// [`Yes`](Self::Yes).
    Force,
}

/// Whether the addresses of both ends may change while an IKE SA lives (RFC 4555).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mobike {
    /// Only a NAT that gives the peer another address or port is followed.
    No,
    /// They may, if the peer knows that as well.
    Yes,
}

/// What comes first when both ends prove anew who they are (RFC 4478).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReauthenticationOrder {
    /// The new IKE SA.
    MakeBeforeBreak,
    /// The end of the old one.
    BreakBeforeMake,
}

/// Whether an IKE SA that was lost may be had again with a ticket of its gateway (RFC 5723).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Everything is proven anew.
    No,
    /// As initiator we ask for tickets, as responder we give them.
    Yes,
}

/// Whether SAs are replaced without repeating what stays as it is, if the peer knows that as well
/// (draft-ietf-ipsecme-ikev2-sa-ts-payloads-opt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizedRekey {
    /// All is negotiated again.
    No,
    /// What stays is inherited.
    Yes,
}

/// Whether an end that is a cluster may agree on new counters when one of its members has taken over (RFC 6311).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterSynchronization {
    /// Nothing is said of it.
    No,
    /// It may, if the peer knows that as well.
    Yes,
}

/// Whether probes find out how long a packet the path to the peer takes (RFC 8899).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProbing {
    /// Routers are expected to tell.
    No,
    /// They do.
    Yes,
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
