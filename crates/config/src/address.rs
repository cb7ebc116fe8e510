//! Addresses of the two ends, and the traffic between them.

use std::fmt;
use std::net::IpAddr;

use sa::{AddressRange, Family, IpProtocol, PortRange, TrafficSelector};

use crate::schema::Shape;
use crate::value::Unreadable;

/// Where an end may be found, as configured: names are not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressSpec {
    /// Anywhere: `%any`.
    Any,
    /// Anywhere within a family: `%any4`, `%any6`.
    AnyOf(Family),
    /// At this address.
    Host(IpAddr),
    /// Somewhere in this network or range.
    Range(AddressRange),
    /// Wherever the name service says.
    Name(String),
}

impl AddressSpec {
    /// Gives the name, if it is one that must be looked up.
    pub fn name(&self) -> Option<&str> {
        match self {
            AddressSpec::Name(name) => Some(name),
            AddressSpec::Any | AddressSpec::AnyOf(_) | AddressSpec::Host(_) | AddressSpec::Range(_) => None,
        }
    }

    /// Tells whether the end can be reached without waiting for it to call: it is one address or a name.
    pub fn is_single(&self) -> bool {
        match self {
            AddressSpec::Host(_) | AddressSpec::Name(_) => true,
            AddressSpec::Any | AddressSpec::AnyOf(_) | AddressSpec::Range(_) => false,
        }
    }
}

impl fmt::Display for AddressSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressSpec::Any => f.write_str("%any"),
            AddressSpec::AnyOf(Family::V4) => f.write_str("%any4"),
            AddressSpec::AnyOf(Family::V6) => f.write_str("%any6"),
            AddressSpec::Host(address) => write!(f, "{address}"),
            AddressSpec::Range(range) => write!(f, "{range}"),
            AddressSpec::Name(name) => f.write_str(name),
        }
    }
}

/// A traffic selector as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// As it stands.
    Fixed(TrafficSelector),
    /// `dynamic`: the end's own outer address, with this protocol and these ports.
    Dynamic(IpProtocol, PortRange),
}

impl Selector {
    /// Fills in the end's own outer address.
    pub fn resolve(&self, own: IpAddr) -> TrafficSelector {
        match *self {
            Selector::Fixed(selector) => selector,
            Selector::Dynamic(protocol, ports) => {
                TrafficSelector { addresses: AddressRange::host(own), protocol, ports }
            }
        }
    }

    /// Gives the family of the addresses; `None` if it depends on the path.
    pub fn family(&self) -> Option<Family> {
        match self {
            Selector::Fixed(selector) => Some(selector.family()),
            Selector::Dynamic(..) => None,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Selector::Fixed(selector) => write!(f, "{selector}"),
            Selector::Dynamic(protocol, ports) => {
                // The one address is only there to print protocol and ports behind it.
                let addresses = AddressRange::host(Family::V4.unspecified());
                let whole = TrafficSelector { addresses, protocol, ports }.to_string();
                write!(f, "dynamic{}", whole.strip_prefix("0.0.0.0/32").unwrap_or_default())
            }
        }
    }
}

/// Where an end may be found.
pub(crate) const ADDRESS: Shape<AddressSpec> =
    Shape { words: "addresses, networks, ranges or names", read: address };

/// Which traffic.
pub(crate) const SELECTOR: Shape<Selector> =
    Shape { words: "networks or ranges, perhaps with [protocol/port]", read: selector };

fn address(text: &str) -> Result<AddressSpec, Unreadable> {
    match text {
        "%any" | "0.0.0.0/0,::/0" => return Ok(AddressSpec::Any),
        "%any4" | "0.0.0.0/0" | "0.0.0.0" => return Ok(AddressSpec::AnyOf(Family::V4)),
        "%any6" | "::/0" | "::" => return Ok(AddressSpec::AnyOf(Family::V6)),
        _ => {}
    }
    if let Ok(address) = text.parse() {
        return Ok(AddressSpec::Host(address));
    }
    let range = text.parse::<AddressRange>();
    match range {
        Ok(range) => Ok(AddressSpec::Range(range)),
        Err(_) if is_host_name(text) => Ok(AddressSpec::Name(text.to_owned())),
        Err(fault) => Err(Unreadable::new(fault.to_string(), "or write %any for anywhere")),
    }
}

/// RFC 1123 §2.1: labels of letters, digits and hyphens; all digits would be a mistyped address.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.trim_end_matches('.').split('.').all(is_label)
        && last.bytes().any(|octet| octet.is_ascii_alphabetic())
}

fn selector(text: &str) -> Result<Selector, Unreadable> {
    let unreadable = |fault: sa::InvalidTrafficSelector| Unreadable::new(fault.to_string(), "");
    match text.strip_prefix("dynamic") {
        Some(rest) => {
            let selector: TrafficSelector = format!("0.0.0.0{rest}").parse().map_err(unreadable)?;
            if !rest.is_empty() && !rest.trim_start().starts_with('[') {
                return Err(Unreadable::new(
                    format!("`{text}` is not a traffic selector"),
                    "write dynamic[tcp/80]",
                ));
            }
            Ok(Selector::Dynamic(selector.protocol, selector.ports))
        }
        None => text.parse().map(Selector::Fixed).map_err(unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_are_read() {
        for text in
            ["%any", "%any4", "%any6", "192.0.2.1", "::1", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "gw.example"]
        {
            assert_eq!(address(text).expect("valid").to_string(), text);
        }
        assert!(address("192.0.2.1").expect("valid").is_single());
        assert!(!address("192.0.2.0/24").expect("valid").is_single());
    }

    #[test]
    fn what_is_neither_address_nor_name_is_refused() {
        for text in
            ["", "10.0.0", "10.300.0.1", "10.0.0.0/33", "a b", "-x.example", "a..b", "fe80::1%", "x@y"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selectors_print_as_they_are_read() {
        for text in
            ["10.1.0.0/16", "10.1.0.0/16[tcp/80-90]", "::/0", "dynamic", "dynamic[udp/53]", "dynamic[gre]"]
        {
            assert_eq!(selector(text).expect("valid").to_string(), text);
        }
        for text in ["dynamics", "dynamic/8", "10.1.0.0/16[", "10.1.0.0/16[tcp/http]", "%any"] {
            assert!(selector(text).is_err(), "{text}");
        }
    }
}
