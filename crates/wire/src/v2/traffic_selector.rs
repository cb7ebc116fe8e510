//! The Traffic Selector payloads, TSi and TSr (RFC 7296 §3.13).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Number of TSs |                 RESERVED                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   TS Type     |IP Protocol ID |       Selector Length         |  \
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   |
//! |           Start Port          |           End Port            |   | each
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   | selector
//! ~                         Starting Address                      ~   |
//! ~                         Ending Address                        ~  /
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! What a selector *means*, and whether its ranges hold anything, is for those who select with it.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::reader::Reader;
use crate::registry::TrafficSelectorType;
use crate::writer::{length_u8, with_length};
use crate::{Malformed, TooLong};

/// Octets of a selector up to the end of its length field.
const SELECTOR_HEADER_LEN: usize = 4;

/// One kind of traffic, from one side (RFC 7296 §3.13.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrafficSelector {
    /// A range of IPv4 addresses.
    Ipv4(SelectorRange<Ipv4Addr>),
    /// A range of IPv6 addresses.
    Ipv6(SelectorRange<Ipv6Addr>),
    /// A selector of a type that this crate does not read.
    Unknown(UnknownSelector),
}

/// Addresses, ports and a protocol; a packet has to match all three.
///
/// Ports 0 to 65535 mean any, or none at all; 65535 to 0 means OPAQUE. Of ICMP and of IPv6's
/// mobility header, type and code are the high and the low octet (RFC 7296 §3.13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SelectorRange<Address> {
    /// The IP protocol, or 0 for any.
    pub ip_protocol: u8,
    /// The lowest port.
    pub start_port: u16,
    /// The highest port.
    pub end_port: u16,
    /// The lowest address.
    pub start: Address,
    /// The highest address.
    pub end: Address,
}

/// A selector of a type that this crate does not read, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSelector {
    /// Its type.
    pub selector_type: TrafficSelectorType,
    /// The octet after the type: a protocol, or reserved.
    pub ip_protocol: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl TrafficSelector {
    /// Addresses `start` to `end`, any protocol and any port; `None` when the two are not of one
    /// family.
    pub fn addresses(start: IpAddr, end: IpAddr) -> Option<TrafficSelector> {
        match (start, end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => {
                Some(TrafficSelector::Ipv4(SelectorRange::addresses(start, end)))
            }
            (IpAddr::V6(start), IpAddr::V6(end)) => {
                Some(TrafficSelector::Ipv6(SelectorRange::addresses(start, end)))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// The selector with addresses of either family, unless its type is unknown.
    pub fn range(&self) -> Option<SelectorRange<IpAddr>> {
        match self {
            TrafficSelector::Ipv4(range) => Some(range.widen()),
            TrafficSelector::Ipv6(range) => Some(range.widen()),
            TrafficSelector::Unknown(_) => None,
        }
    }
}

impl<Address> SelectorRange<Address> {
    /// Addresses `start` to `end`, any protocol and any port.
    pub const fn addresses(start: Address, end: Address) -> SelectorRange<Address> {
        SelectorRange { ip_protocol: 0, start_port: 0, end_port: u16::MAX, start, end }
    }

    /// Whether the ports are OPAQUE: of traffic whose ports cannot be seen (RFC 4301 §4.4.1.1).
    pub fn has_opaque_ports(&self) -> bool {
        (self.start_port, self.end_port) == (u16::MAX, 0)
    }

    fn widen(&self) -> SelectorRange<IpAddr>
    where
        Address: Copy + Into<IpAddr>,
    {
        let SelectorRange { ip_protocol, start_port, end_port, start, end } = *self;
        SelectorRange { ip_protocol, start_port, end_port, start: start.into(), end: end.into() }
    }
}

impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrafficSelector::Ipv4(range) => range.fmt(f),
            TrafficSelector::Ipv6(range) => range.fmt(f),
            TrafficSelector::Unknown(unknown) => write!(f, "a selector of type {}", unknown.selector_type),
        }
    }
}

impl<Address: fmt::Display + PartialEq> fmt::Display for SelectorRange<Address> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.start)?;
        if self.end != self.start {
            write!(f, " to {}", self.end)?;
        }
        if self.ip_protocol != 0 {
            write!(f, ", protocol {}", self.ip_protocol)?;
        }
        match (self.start_port, self.end_port) {
            (0, u16::MAX) => Ok(()),
            (u16::MAX, 0) => write!(f, ", ports that cannot be seen"),
            (start, end) if start == end => write!(f, ", port {start}"),
            (start, end) => write!(f, ", ports {start} to {end}"),
        }
    }
}

/// Reads the body of a TSi or TSr payload.
pub(super) fn decode(body: &[u8]) -> Result<Vec<TrafficSelector>, Malformed> {
    let mut reader = Reader::new("TS payload", body);
    let count = reader.u8("Number of TSs")?;
    reader.array::<3>("RESERVED")?;
    let selectors = (0..count).map(|_| TrafficSelector::decode(&mut reader)).collect::<Result<_, _>>()?;
    reader.finish("the last selector")?;
    Ok(selectors)
}

/// Appends the body of a TSi or TSr payload.
pub(super) fn encode(selectors: &[TrafficSelector], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let count = length_u8("TS payload's selectors", selectors.len())?;
    out.extend_from_slice(&[count, 0, 0, 0]);
    selectors.iter().try_for_each(|selector| selector.encode(out))
}

impl TrafficSelector {
    fn selector_type(&self) -> TrafficSelectorType {
        match self {
            TrafficSelector::Ipv4(_) => TrafficSelectorType::IPV4_ADDR_RANGE,
            TrafficSelector::Ipv6(_) => TrafficSelectorType::IPV6_ADDR_RANGE,
            TrafficSelector::Unknown(unknown) => unknown.selector_type,
        }
    }

    fn ip_protocol(&self) -> u8 {
        match self {
            TrafficSelector::Ipv4(range) => range.ip_protocol,
            TrafficSelector::Ipv6(range) => range.ip_protocol,
            TrafficSelector::Unknown(unknown) => unknown.ip_protocol,
        }
    }

    fn decode(outer: &mut Reader<'_>) -> Result<TrafficSelector, Malformed> {
        let selector_type = TrafficSelectorType(outer.u8("TS Type")?);
        let ip_protocol = outer.u8("IP Protocol ID")?;
        let length = outer.u16("Selector Length")?;
        let mut reader = outer.substructure("Traffic Selector", length, SELECTOR_HEADER_LEN)?;
        let selector = match selector_type {
            TrafficSelectorType::IPV4_ADDR_RANGE => {
                TrafficSelector::Ipv4(SelectorRange::decode::<4>(ip_protocol, &mut reader)?)
            }
            TrafficSelectorType::IPV6_ADDR_RANGE => {
                TrafficSelector::Ipv6(SelectorRange::decode::<16>(ip_protocol, &mut reader)?)
            }
            selector_type => {
                let body = reader.rest().to_vec();
                TrafficSelector::Unknown(UnknownSelector { selector_type, ip_protocol, body })
            }
        };
        reader.finish("Ending Address")?;
        Ok(selector)
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = out.len();
        out.extend_from_slice(&[self.selector_type().0, self.ip_protocol(), 0, 0]);
        with_length(out, "Traffic Selector", start, 2, |out| {
            match self {
                TrafficSelector::Ipv4(range) => range.encode(|address| address.octets(), out),
                TrafficSelector::Ipv6(range) => range.encode(|address| address.octets(), out),
                TrafficSelector::Unknown(unknown) => out.extend_from_slice(&unknown.body),
            }
            Ok(())
        })
    }
}

impl<Address> SelectorRange<Address> {
    /// Reads what follows the length; an address takes `N` octets.
    fn decode<const N: usize>(
        ip_protocol: u8,
        reader: &mut Reader<'_>,
    ) -> Result<SelectorRange<Address>, Malformed>
    where
        Address: From<[u8; N]>,
    {
        Ok(SelectorRange {
            ip_protocol,
            start_port: reader.u16("Start Port")?,
            end_port: reader.u16("End Port")?,
            start: Address::from(reader.array("Starting Address")?),
            end: Address::from(reader.array("Ending Address")?),
        })
    }

    fn encode<const N: usize>(&self, octets: impl Fn(&Address) -> [u8; N], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.start_port.to_be_bytes());
        out.extend_from_slice(&self.end_port.to_be_bytes());
        out.extend_from_slice(&octets(&self.start));
        out.extend_from_slice(&octets(&self.end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;

    const SELECTORS: &str = concat!(
        "02000000",                            // two selectors
        "07060010 0050005a 0a000000 0a0000ff", // IPv4, TCP, 16 octets; ports 80 to 90; 10.0.0.0 to .255
        "08000028 0000ffff",                   // IPv6, any protocol, 40 octets; any port
        "20010db8000000000000000000000001",
        "20010db8000000000000000000000001",
    );

    fn selectors() -> Vec<TrafficSelector> {
        let subnet = SelectorRange {
            ip_protocol: 6,
            start_port: 80,
            end_port: 90,
            start: Ipv4Addr::new(10, 0, 0, 0),
            end: Ipv4Addr::new(10, 0, 0, 255),
        };
        let host = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        vec![TrafficSelector::Ipv4(subnet), TrafficSelector::addresses(host, host).unwrap()]
    }

    fn octets(hexadecimal: &str) -> Vec<u8> {
        hex::decode(hexadecimal.replace(' ', "")).unwrap()
    }

    fn refusal(hexadecimal: &str) -> String {
        decode(&octets(hexadecimal)).unwrap_err().to_string()
    }

    #[test]
    fn selectors_by_hand() {
        assert_eq!(decode(&octets(SELECTORS)), Ok(selectors()));
        let mut out = Vec::new();
        encode(&selectors(), &mut out).unwrap();
        assert_eq!(out, octets(SELECTORS));
    }

    #[test]
    fn a_selector_is_as_long_as_its_addresses() {
        // Lengths that would have IPv4 and IPv6 addresses of another size.
        let one = "01000000 07060010 0050005a 0a000000 0a0000ff";
        assert!(decode(&octets(one)).is_ok());
        assert_eq!(
            refusal("01000000 07060014 0050005a 0a000000 0a0000ff 00000000"),
            "Traffic Selector: 4 octets left over after Ending Address"
        );
        assert_eq!(
            refusal(&one.replace("07060010", "08060010")),
            "Traffic Selector: Starting Address takes 16 octets, but only 8 are left"
        );
        assert_eq!(
            refusal(&one.replace("01000000", "02000000")),
            "TS payload: TS Type takes 1 octet, but only 0 are left"
        );
        assert_eq!(
            refusal(&one.replace("01000000", "00000000")),
            "TS payload: 16 octets left over after the last selector"
        );
    }

    #[test]
    fn selectors_print_plainly() {
        let printed: Vec<_> = selectors().iter().map(TrafficSelector::to_string).collect();
        assert_eq!(printed, ["10.0.0.0 to 10.0.0.255, protocol 6, ports 80 to 90", "2001:db8::1"]);
        let opaque = SelectorRange { start_port: u16::MAX, end_port: 0, ..selectors()[0].range().unwrap() };
        assert!(opaque.has_opaque_ports());
        assert_eq!(opaque.to_string(), "10.0.0.0 to 10.0.0.255, protocol 6, ports that cannot be seen");
    }

    #[test]
    fn two_families_make_no_range() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        let v6 = IpAddr::from([0u16; 8]);
        assert_eq!(TrafficSelector::addresses(v4, v6), None);
    }
}
