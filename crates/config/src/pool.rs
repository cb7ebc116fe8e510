//! Pools of virtual addresses.

use std::net::{IpAddr, Ipv4Addr};

use sa::AddressRange;
use vici::Span;

use crate::schema::Shape;
use crate::value::Unreadable;

/// Addresses that are given to clients, and what clients are told with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name, unique in the configuration.
    pub name: String,
    /// The addresses.
    pub addresses: AddressRange,
    /// The mask that clients are told, if any.
    pub netmask: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Name servers of NetBIOS.
    pub nbns: Vec<Ipv4Addr>,
    /// DHCP servers.
    pub dhcp: Vec<IpAddr>,
    /// Servers of another kind, which some clients ask for.
    pub servers: Vec<IpAddr>,
    /// The networks behind us that clients are told.
    pub subnets: Vec<AddressRange>,
    /// The networks that clients with Unity attributes send through the tunnel; none is all.
    pub split_include: Vec<AddressRange>,
    /// Those that they do not send through it.
    pub split_exclude: Vec<AddressRange>,
    /// The domain of names without a dot.
    pub domain: Option<String>,
    /// What is shown to the user.
    pub banner: Option<String>,
    /// Attributes by their number.
    pub numbered: Vec<(u16, String)>,
    /// Where its name stands.
    pub span: Span,
}

/// An address.
pub(crate) const IP: Shape<IpAddr> = Shape {
    words: "address",
    read: |text| text.parse().map_err(|_| Unreadable::new(format!("`{text}` is no address"), "")),
};

/// An address of IPv4.
pub(crate) const IPV4: Shape<Ipv4Addr> = Shape {
    words: "IPv4 address",
    read: |text| text.parse().map_err(|_| Unreadable::new(format!("`{text}` is no IPv4 address"), "")),
};

/// A network or a range of addresses.
pub(crate) const RANGE: Shape<AddressRange> = Shape {
    words: "network, or first and last address with a dash",
    read: |text| text.parse().map_err(|fault: sa::InvalidRange| Unreadable::new(fault.to_string(), "")),
};
