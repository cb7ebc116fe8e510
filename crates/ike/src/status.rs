//! Snapshots of SAs, for status displays and management.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use sa::{
    ChildSuite, Cpi, Encapsulation, FlowPadding, IkeSuite, Lifetime, Mode, PolicyId, SaId, TrafficSelector,
};
use wire::isakmp::IkeSpi;
use wire::registry::v1::AuthenticationMethod;

use crate::{ChildSaId, Identity, IkeSaId, Inside, Path, Role};

/// An IKE SA at one moment.
#[derive(Clone, Debug)]
pub struct IkeSaStatus {
    /// Its name for people.
    pub id: IkeSaId,
    /// The connection that it belongs to.
    pub connection: String,
    /// The version of IKE that made it.
    pub version: IkeVersion,
    /// How far it is.
    pub state: IkeState,
    /// Our part in it.
    pub role: Role,
    /// The initiator's SPI.
    pub initiator_spi: IkeSpi,
    /// The responder's SPI; zero until the peer has chosen it.
    pub responder_spi: IkeSpi,
    /// Where its messages go.
    pub path: Path,
    /// Who we are; `None` until it is settled.
    pub local_identity: Option<Identity>,
    /// Who the peer is; `None` until it is authenticated.
    pub remote_identity: Option<Identity>,
    /// Who uses the peer, if a name and a password told that (XAuth).
    pub remote_user: Option<Identity>,
    /// Where else the peer can be reached, if the addresses of both ends may change (RFC 4555); `None` if they may not.
    pub mobile: Option<Vec<IpAddr>>,
    /// The post-quantum pre-shared key that is in its keys, by name (RFC 8784).
    pub ppk: Option<Identity>,
    /// How the ends prove who they are, in version 1, where one number says it for both; `None` until it is agreed.
    pub method: Option<AuthenticationMethod>,
    /// The virtual addresses of both ends.
    pub inside: Inside,
    /// The algorithms; `None` until they are agreed.
    pub suite: Option<IkeSuite>,
    /// Who sits behind a NAT.
    pub nat: Nat,
    /// When it came up; `None` until it is.
    pub established_at: Option<Instant>,
    /// When it will be rekeyed; `None` is never.
    pub rekey_at: Option<Instant>,
    /// When it will end if it is not rekeyed; `None` is never.
    pub expire_at: Option<Instant>,
    /// When we will have both ends prove anew who they are; `None` is never.
    pub reauthenticate_at: Option<Instant>,
    /// Exchanges that wait for their turn.
    pub tasks_queued: Vec<&'static str>,
    /// The exchange that we have under way.
    pub tasks_active: Vec<&'static str>,
    /// Its Child SAs.
    pub children: Vec<ChildSaStatus>,
}

/// Which version of IKE made an IKE SA, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IkeVersion {
    /// IKEv1, with this phase 1; the IKE SA is what it calls an ISAKMP SA.
    V1(Phase1Mode),
    /// IKEv2.
    V2,
}

/// How an IKEv1 phase 1 goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase1Mode {
    /// Six messages that hide who the ends are (RFC 2409 §5: identity protection).
    Main,
    /// Three messages, the first two in the clear (RFC 2409 §5).
    Aggressive,
}

impl fmt::Display for Phase1Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase1Mode::Main => "main",
            Phase1Mode::Aggressive => "aggressive",
        })
    }
}

/// How far an IKE SA is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IkeState {
    /// Not yet authenticated.
    Connecting,
    /// In use.
    Established,
    /// We are replacing it.
    Rekeying,
    /// Replaced; waits to be deleted.
    Rekeyed,
    /// We are deleting it.
    Deleting,
}

/// Who sits behind a NAT (RFC 7296 §2.23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Nat {
    /// Whether our address is translated on the way to the peer.
    pub local: bool,
    /// Whether the peer's is.
    pub remote: bool,
}

/// A Child SA at one moment.
#[derive(Clone, Debug)]
pub struct ChildSaStatus {
    /// Its name for people.
    pub id: ChildSaId,
    /// The configured child's name.
    pub name: String,
    /// How far it is.
    pub state: ChildState,
    /// Tunnel or transport.
    pub mode: Mode,
    /// The SA towards us.
    pub inbound: SaId,
    /// The SA towards the peer.
    pub outbound: SaId,
    /// The policy that it serves.
    pub policy: PolicyId,
    /// The algorithms.
    pub suite: ChildSuite,
    /// AH around it, in a bundle of IKEv1.
    pub wrapper: Option<Box<WrapperStatus>>,
    /// What carries its packets.
    pub encapsulation: Encapsulation,
    /// The indices of compressed packets, towards us and towards the peer; `None` without compression.
    pub compression: Option<(Cpi, Cpi)>,
    /// How the length of our packets is hidden.
    pub padding: FlowPadding,
    /// What it may carry in bytes and packets.
    pub volume: Lifetime,
    /// Our traffic.
    pub local_selectors: Vec<TrafficSelector>,
    /// The peer's traffic.
    pub remote_selectors: Vec<TrafficSelector>,
    /// When it came up.
    pub installed_at: Instant,
    /// When it will be rekeyed; `None` is never.
    pub rekey_at: Option<Instant>,
    /// When it will end if it is not rekeyed; `None` is never.
    pub expire_at: Option<Instant>,
}

/// AH around a Child SA's own SAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapperStatus {
    /// The SA towards us.
    pub inbound: SaId,
    /// The SA towards the peer.
    pub outbound: SaId,
    /// The algorithms.
    pub suite: ChildSuite,
}

/// How far a Child SA is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildState {
    /// In use.
    Installed,
    /// We are replacing it.
    Rekeying,
    /// Replaced; waits to be deleted.
    Rekeyed,
    /// We are deleting it.
    Deleting,
}
