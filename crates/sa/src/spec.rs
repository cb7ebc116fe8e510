//! What one SA and one policy are, in full: everything a data plane needs and nothing that it does not.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crypto::Secret;

use wire::esp::Spi;

use crate::{Protection, SelectorPair};

/// The protocol that an SA protects with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Encapsulating Security Payload, IP protocol 50 (RFC 4303).
    Esp,
    /// Authentication Header, IP protocol 51 (RFC 4302).
    Ah,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Esp => "ESP",
            Protocol::Ah => "AH",
        })
    }
}

/// How an SA wraps a packet (RFC 4301 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A whole IP packet inside a new one.
    Tunnel,
    /// The upper layer only, under the packet's own IP header.
    Transport,
    /// The upper layer only, under an IP header with the gateways' addresses; the inner addresses are those of the
    /// selectors and are not sent (draft-nikander-esp-beet-mode).
    Beet,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Tunnel => "TUNNEL",
            Mode::Transport => "TRANSPORT",
            Mode::Beet => "BEET",
        })
    }
}

/// Which way the packets of an SA go, seen from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Towards us: we open.
    Inbound,
    /// From us: we seal.
    Outbound,
}

/// Whether sequence numbers have 64 bits (RFC 4303 §2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Esn {
    /// 32-bit sequence numbers.
    No,
    /// 64-bit extended sequence numbers.
    Yes,
}

/// What carries the protected packets between the two gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// IP protocol 50 or 51 directly.
    None,
    /// UDP port 4500, or wherever a NAT put it (RFC 3948).
    Udp,
}

/// The outer addresses of an SA; the ports count with UDP encapsulation only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outer {
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// What is between the outer IP header and ESP.
    pub encapsulation: Encapsulation,
}

/// Names an SA of this host: SPIs of one direction are unique for inbound SAs, and for outbound ones with the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaId {
    /// Which of the two tables holds it.
    pub direction: Direction,
    /// The protocol.
    pub protocol: Protocol,
    /// The receiver's address.
    pub destination: IpAddr,
    /// The receiver's SPI.
    pub spi: Spi,
}

/// Limits on what one SA may carry; reaching `soft` asks for a rekey, reaching `hard` ends the SA (RFC 4301 §4.4.2.1).
///
/// Lifetimes in seconds are the negotiator's affair; it holds the clock. `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Bytes of inner packets until a rekey is asked for.
    pub soft_bytes: u64,
    /// Bytes of inner packets until the SA is dead.
    pub hard_bytes: u64,
    /// Packets until a rekey is asked for.
    pub soft_packets: u64,
    /// Packets until the SA is dead.
    pub hard_packets: u64,
}

impl Lifetime {
    /// No limit but the sequence number's own.
    pub const UNLIMITED: Lifetime = Lifetime {
        soft_bytes: u64::MAX,
        hard_bytes: u64::MAX,
        soft_packets: u64::MAX,
        hard_packets: u64::MAX,
    };
}

/// A Compression Parameter Index: an SPI of IPComp, 16 bits wide (RFC 3173 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cpi(pub u16);

/// Names a device that protected packets come from and go to; given by whoever makes the device.
///
/// A policy that names one sees the packets of that device only: a tunnel that is reached by routes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u32);

/// Which way the class of service is copied between inner and outer header (RFC 4301 §5.1.2, RFC 2983).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CopyDscp {
    /// The outer header has 0, and the inner one keeps its own.
    No,
    /// From the inner to the outer header.
    #[default]
    Out,
    /// From the outer to the inner header.
    In,
    /// Both ways.
    Both,
}

/// Whether congestion marks are carried over between inner and outer header (RFC 6040).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CopyEcn {
    /// Both ways: normal mode.
    #[default]
    Yes,
    /// Never: compatibility mode, the outer header says not-ECT.
    No,
}

/// Where the outer IPv4 header's Don't Fragment bit comes from (RFC 4301 §8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DontFragment {
    /// From the inner header; an inner IPv6 packet counts as having it set.
    #[default]
    Copy,
    /// It is set.
    Set,
    /// It is clear.
    Clear,
}

/// What becomes of a packet that is too long once sealed and may be fragmented (RFC 4301 §8.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fragmenting {
    /// The inner packet is cut, each part is sealed: the peer need not reassemble before it opens.
    #[default]
    BeforeSealing,
    /// The sealed packet is cut: the inner packet stays whole, as transport mode always has it (RFC 4303 §3.3.4).
    AfterSealing,
}

/// What the TCP connections inside a tunnel may announce as their maximum segment size (RFC 9293 §3.7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SegmentSize {
    /// What the path takes of the SA's packets; connections open with that, whoever filters ICMP.
    #[default]
    OfPath,
    /// This many octets at most.
    AtMost(u16),
    /// What they like.
    Untouched,
}

/// How the length of packets is hidden (RFC 4303 §2.7): in tunnel mode, whose packets tell their own length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FlowPadding {
    /// It is not.
    #[default]
    None,
    /// Shorter inner packets are padded to this many octets.
    To(u16),
    /// Every inner packet is padded to the longest that the path takes.
    ToPathMtu,
}

/// The addresses that a transport mode packet had before a NAT changed them: its checksums cover these (RFC 3948 §3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginalAddresses {
    /// Our address as the peer sees it.
    pub local: IpAddr,
    /// The peer's own address.
    pub remote: IpAddr,
}

/// How the packets of an SA are treated beyond their cryptography; the default is what RFC 4301 has as its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// IPComp under the protection, with the receiver's index, where the two ends agreed on it (RFC 3173).
    pub compression: Option<Cpi>,
    /// The SA whose packets carry those of this one: AH around ESP (RFC 4301 §4.1). Outbound, it is applied next;
    /// inbound, a packet of this SA is taken from inside that one only.
    pub wrapped_by: Option<SaId>,
    /// The class of service.
    pub dscp: CopyDscp,
    /// Congestion marks.
    pub ecn: CopyEcn,
    /// The outer Don't Fragment bit.
    pub dont_fragment: DontFragment,
    /// What is cut when a packet is too long.
    pub fragmenting: Fragmenting,
    /// What TCP connections may announce, in both directions.
    pub segment_size: SegmentSize,
    /// Padding against traffic analysis.
    pub padding: FlowPadding,
    /// Dummy packets of ESP that are sent in a second, on average, whatever else is; 0 is none (RFC 4303 §2.6).
    pub dummies: u16,
    /// The addresses before NAT, for transport mode in UDP; without them, checksums of packets that arrive are made anew.
    pub original: Option<OriginalAddresses>,
    /// The device whose packets it carries; `None` is the common one.
    pub device: Option<DeviceId>,
    /// The firewall mark that the sealed packets carry on this host beside our own; 0 is none.
    pub mark: u32,
}

/// One SA (one direction) in full, as negotiated.
#[derive(Clone, Debug)]
pub struct SaSpec {
    /// Inbound or outbound.
    pub direction: Direction,
    /// ESP or AH.
    pub protocol: Protocol,
    /// The receiver's SPI.
    pub spi: Spi,
    /// Tunnel, transport or BEET.
    pub mode: Mode,
    /// Outer addresses and encapsulation.
    pub outer: Outer,
    /// Algorithms.
    pub protection: Protection,
    /// Encryption key (with its salt), then integrity key, as RFC 7296 §2.17 takes them from KEYMAT.
    pub key: Arc<Secret<Vec<u8>>>,
    /// Width of the sequence number.
    pub esn: Esn,
    /// Anti-replay window in packets; 0 is none (RFC 4303 §3.4.3).
    pub replay_window: u32,
    /// What the SA may carry; an inner packet must fit one pair.
    pub selectors: Vec<SelectorPair>,
    /// Byte and packet limits.
    pub lifetime: Lifetime,
    /// The policy it serves.
    pub policy: PolicyId,
    /// All that is not cryptography.
    pub handling: Handling,
}

impl SaSpec {
    /// Gives the SA's name.
    pub fn id(&self) -> SaId {
        let destination = match self.direction {
            Direction::Inbound => self.outer.local.ip(),
            Direction::Outbound => self.outer.remote.ip(),
        };
        SaId { direction: self.direction, protocol: self.protocol, destination, spi: self.spi }
    }
}

/// Names a policy; given by whoever installs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What happens to the packets of a policy (RFC 4301 §4.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyAction {
    /// They pass unprotected.
    Bypass,
    /// They are dropped.
    Discard,
    /// They go through the policy's outbound SA; without one they are dropped and counted.
    Protect,
    /// The same, but without an SA the first packet asks for one ([`SaEvent::Acquire`](crate::SaEvent::Acquire)).
    Trap,
}

/// One entry of the Security Policy Database, both directions at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySpec {
    /// Its name.
    pub id: PolicyId,
    /// The lowest number that selects a packet wins; equal numbers go by `id`.
    pub priority: u32,
    /// The packets it is about.
    pub selectors: Vec<SelectorPair>,
    /// What happens to them.
    pub action: PolicyAction,
    /// The device whose packets it is about; `None` is the common one.
    pub device: Option<DeviceId>,
}
