//! Traffic selectors: which packets an SA or a policy is about (RFC 4301 §4.4.1.1, RFC 7296 §3.13).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use crate::{AddressRange, Family, InvalidRange};

/// An IP protocol number; 0 selects any.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// Selects every protocol.
    pub const ANY: IpProtocol = IpProtocol(0);
    /// ICMP for IPv4.
    pub const ICMP: IpProtocol = IpProtocol(1);
    /// TCP.
    pub const TCP: IpProtocol = IpProtocol(6);
    /// UDP.
    pub const UDP: IpProtocol = IpProtocol(17);
    /// Generic routing encapsulation.
    pub const GRE: IpProtocol = IpProtocol(47);
    /// ICMP for IPv6.
    pub const ICMPV6: IpProtocol = IpProtocol(58);
    /// SCTP.
    pub const SCTP: IpProtocol = IpProtocol(132);

    const NAMES: [(&'static str, IpProtocol); 9] = [
        ("icmp", IpProtocol::ICMP),
        ("tcp", IpProtocol::TCP),
        ("udp", IpProtocol::UDP),
        ("gre", IpProtocol::GRE),
        ("esp", IpProtocol(50)),
        ("ah", IpProtocol(51)),
        ("ipv6-icmp", IpProtocol::ICMPV6),
        ("ospf", IpProtocol(89)),
        ("sctp", IpProtocol::SCTP),
    ];
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| number == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The ports of a selector: an inclusive range, or OPAQUE (RFC 4301 §4.4.1.1).
///
/// For ICMP a "port" is `type << 8 | code` (RFC 7296 §3.13.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    start: u16,
    end: u16,
}

impl PortRange {
    /// Every port, and packets without one.
    pub const ANY: PortRange = PortRange { start: 0, end: u16::MAX };
    /// Only packets whose ports cannot be seen (non-initial fragments); on the wire 65535 to 0.
    pub const OPAQUE: PortRange = PortRange { start: u16::MAX, end: 0 };

    /// Makes the range from `start` to `end`; `65535, 0` is OPAQUE, any other reversed pair is none.
    pub fn new(start: u16, end: u16) -> Option<PortRange> {
        let range = PortRange { start, end };
        (start <= end || range == PortRange::OPAQUE).then_some(range)
    }

    /// Makes the range of one port.
    pub fn single(port: u16) -> PortRange {
        PortRange { start: port, end: port }
    }

    /// Gives the first port (65535 for OPAQUE).
    pub fn start(self) -> u16 {
        self.start
    }

    /// Gives the last port (0 for OPAQUE).
    pub fn end(self) -> u16 {
        self.end
    }

    /// Tells whether a packet with this port is selected.
    pub fn contains(self, port: u16) -> bool {
        self.start <= port && port <= self.end
    }

    /// Tells whether a packet with this port is selected; `None` is a port that cannot be seen.
    pub fn selects(self, port: Option<u16>) -> bool {
        match port {
            Some(port) => self.contains(port),
            None => self == PortRange::ANY || self == PortRange::OPAQUE,
        }
    }

    /// Gives the ports in both ranges; OPAQUE meets ANY and itself.
    pub fn intersection(self, other: PortRange) -> Option<PortRange> {
        match (self, other) {
            (PortRange::ANY, ports) | (ports, PortRange::ANY) => Some(ports),
            (left, right) if left == right => Some(left),
            (PortRange::OPAQUE, _) | (_, PortRange::OPAQUE) => None,
            (left, right) => {
                let (start, end) = (left.start.max(right.start), left.end.min(right.end));
                (start <= end).then_some(PortRange { start, end })
            }
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            PortRange::ANY => f.write_str("any"),
            PortRange::OPAQUE => f.write_str("opaque"),
            PortRange { start, end } if start == end => write!(f, "{start}"),
            PortRange { start, end } => write!(f, "{start}-{end}"),
        }
    }
}

impl fmt::Debug for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One end's share of the traffic: addresses, protocol and ports (RFC 7296 §3.13.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrafficSelector {
    /// The addresses.
    pub addresses: AddressRange,
    /// The IP protocol above IP and its extension headers.
    pub protocol: IpProtocol,
    /// The ports at this end.
    pub ports: PortRange,
}

/// Why a text is no traffic selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidTrafficSelector {
    /// The addresses are wrong.
    #[error(transparent)]
    Addresses(#[from] InvalidRange),
    /// The part in brackets is wrong.
    #[error("{0:?} is not a protocol and ports as in [tcp/80] or [udp/1000-2000]")]
    ProtocolOrPorts(String),
}

impl TrafficSelector {
    /// Selects all traffic of these addresses.
    pub fn all_of(addresses: AddressRange) -> TrafficSelector {
        TrafficSelector { addresses, protocol: IpProtocol::ANY, ports: PortRange::ANY }
    }

    /// Selects everything of a family.
    pub fn any(family: Family) -> TrafficSelector {
        TrafficSelector::all_of(AddressRange::any(family))
    }

    /// Tells the family of the addresses.
    pub fn family(&self) -> Family {
        self.addresses.family()
    }

    /// Gives the traffic that both selectors select (the narrowing of RFC 7296 §2.9).
    pub fn intersection(&self, other: &TrafficSelector) -> Option<TrafficSelector> {
        let protocol = match (self.protocol, other.protocol) {
            (IpProtocol::ANY, protocol) | (protocol, IpProtocol::ANY) => protocol,
            (left, right) if left == right => left,
            _ => return None,
        };
        Some(TrafficSelector {
            addresses: self.addresses.intersection(&other.addresses)?,
            protocol,
            ports: self.ports.intersection(other.ports)?,
        })
    }

    /// Tells whether every packet that `other` selects is selected here.
    pub fn covers(&self, other: &TrafficSelector) -> bool {
        self.intersection(other) == Some(*other)
    }

    /// Tells whether a packet with this address, protocol and port is selected; `None` is a port that cannot be seen.
    pub fn selects(&self, address: IpAddr, protocol: IpProtocol, port: Option<u16>) -> bool {
        self.addresses.contains(address)
            && (self.protocol == IpProtocol::ANY || self.protocol == protocol)
            && self.ports.selects(port)
    }
}

impl fmt::Display for TrafficSelector {
    /// Prints `10.1.0.0/16`, `10.1.0.0/16[tcp]` or `10.1.0.0/16[tcp/80-90]`, as [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addresses)?;
        match (self.protocol, self.ports) {
            (IpProtocol::ANY, PortRange::ANY) => Ok(()),
            (protocol, PortRange::ANY) => write!(f, "[{protocol}]"),
            (IpProtocol::ANY, ports) => write!(f, "[/{ports}]"),
            (protocol, ports) => write!(f, "[{protocol}/{ports}]"),
        }
    }
}

impl fmt::Debug for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TrafficSelector {
    type Err = InvalidTrafficSelector;

    /// Reads swanctl.conf's form: addresses, then optionally `[protocol]` or `[protocol/ports]`.
    fn from_str(text: &str) -> Result<TrafficSelector, InvalidTrafficSelector> {
        let text = text.trim();
        let Some((addresses, rest)) = text.split_once('[') else {
            return Ok(TrafficSelector::all_of(text.parse()?));
        };
        let faulty = || InvalidTrafficSelector::ProtocolOrPorts(format!("[{rest}"));
        let inner = rest.strip_suffix(']').ok_or_else(faulty)?;
        let (protocol, ports) = inner.split_once('/').unwrap_or((inner, ""));
        Ok(TrafficSelector {
            addresses: addresses.trim().parse()?,
            protocol: read_protocol(protocol).ok_or_else(faulty)?,
            ports: read_ports(ports).ok_or_else(faulty)?,
        })
    }
}

fn read_protocol(text: &str) -> Option<IpProtocol> {
    match text {
        "" | "any" | "%any" => Some(IpProtocol::ANY),
        "icmpv6" => Some(IpProtocol::ICMPV6),
        name => IpProtocol::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| *number)
            .or_else(|| name.parse().ok().map(IpProtocol)),
    }
}

fn read_ports(text: &str) -> Option<PortRange> {
    match text {
        "" | "any" | "%any" => Some(PortRange::ANY),
        "opaque" | "%opaque" => Some(PortRange::OPAQUE),
        ports => match ports.split_once('-') {
            Some((start, end)) => PortRange::new(start.parse().ok()?, end.parse().ok()?),
            None => ports.parse().ok().map(PortRange::single),
        },
    }
}

/// Both ends' share of the traffic of one flow through an SA or a policy, seen from this host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SelectorPair {
    /// Our end: the source of what we send.
    pub local: TrafficSelector,
    /// The peer's end: the destination of what we send.
    pub remote: TrafficSelector,
}

impl SelectorPair {
    /// Joins two ends' selectors into one flow; `None` if their families or protocols do not meet. Where one end names a
    /// protocol and the other any, the pair has the one that is named.
    pub fn joining(local: TrafficSelector, remote: TrafficSelector) -> Option<SelectorPair> {
        let protocol = match (local.protocol, remote.protocol) {
            (IpProtocol::ANY, protocol) | (protocol, IpProtocol::ANY) => protocol,
            (left, right) if left == right => left,
            _ => return None,
        };
        (local.family() == remote.family()).then_some(SelectorPair {
            local: TrafficSelector { protocol, ..local },
            remote: TrafficSelector { protocol, ..remote },
        })
    }

    /// Gives every flow between two ends' selectors.
    pub fn all(local: &[TrafficSelector], remote: &[TrafficSelector]) -> Vec<SelectorPair> {
        let pairs = local
            .iter()
            .flat_map(|local| remote.iter().filter_map(|remote| SelectorPair::joining(*local, *remote)));
        pairs.collect()
    }
}

impl fmt::Display for SelectorPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local, self.remote)
    }
}

impl fmt::Debug for SelectorPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> TrafficSelector {
        text.parse().expect("the test's own text")
    }

    #[test]
    fn selectors_print_as_they_are_read() {
        for text in
            ["10.1.0.0/16", "10.1.0.0/16[tcp]", "10.1.0.1/32[udp/1000-2000]", "::/0[ipv6-icmp]", "::/0[/443]"]
        {
            assert_eq!(selector(text).to_string(), text);
        }
        assert_eq!(selector("10.0.0.0/8[17/opaque]").ports, PortRange::OPAQUE);
    }

    #[test]
    fn faulty_brackets_are_named() {
        for text in
            ["10.0.0.0/8[tcp", "10.0.0.0/8[nonsense/1]", "10.0.0.0/8[tcp/9-1]", "10.0.0.0/8[tcp/70000]"]
        {
            assert!(
                matches!(text.parse::<TrafficSelector>(), Err(InvalidTrafficSelector::ProtocolOrPorts(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn narrowing_takes_the_smaller_of_each() {
        let narrowed = selector("10.0.0.0/8[tcp]").intersection(&selector("10.1.0.0/16[/80-90]"));
        assert_eq!(narrowed, Some(selector("10.1.0.0/16[tcp/80-90]")));
        assert_eq!(selector("10.0.0.0/8[tcp]").intersection(&selector("10.0.0.0/8[udp]")), None);
        assert!(selector("10.0.0.0/8").covers(&selector("10.1.0.0/16[tcp/80]")));
        assert!(!selector("10.1.0.0/16[tcp]").covers(&selector("10.1.0.0/16")));
    }

    #[test]
    fn pairs_join_what_can_be_one_flow() {
        let local = ["10.1.0.0/16", "2001:db8:1::/48[tcp/80]"].map(selector);
        let remote = ["10.2.0.0/16[udp/53]", "::/0", "::/0[udp]"].map(selector);
        let texts: Vec<String> = SelectorPair::all(&local, &remote).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["10.1.0.0/16[udp] <-> 10.2.0.0/16[udp/53]", "2001:db8:1::/48[tcp/80] <-> ::/0[tcp]"]
        );
    }

    #[test]
    fn a_port_that_cannot_be_seen_meets_only_any_and_opaque() {
        let address = "10.0.0.1".parse().expect("an address");
        assert!(selector("10.0.0.0/8[udp]").selects(address, IpProtocol::UDP, None));
        assert!(selector("10.0.0.0/8[udp/opaque]").selects(address, IpProtocol::UDP, None));
        assert!(!selector("10.0.0.0/8[udp/53]").selects(address, IpProtocol::UDP, None));
        assert!(!selector("10.0.0.0/8[udp/opaque]").selects(address, IpProtocol::UDP, Some(53)));
    }
}
