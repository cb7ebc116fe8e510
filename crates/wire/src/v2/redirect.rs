//! REDIRECT and REDIRECTED_FROM: which gateway a client is to go to, and which one sent it (RFC 5685 §9).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::Notify;
use crate::registry::NotifyType;

/// A gateway as a redirection names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GatewayName {
    /// Its address.
    Address(IpAddr),
    /// Its name: letters, digits, hyphens and dots, at most 255 of them.
    Fqdn(String),
}

impl GatewayName {
    /// The name, if it is one that can be looked up.
    pub fn fqdn(name: &str) -> Option<GatewayName> {
        let is_usual =
            |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'.' || octet == b'_';
        let is_name = !name.is_empty() && name.len() <= LONGEST && name.bytes().all(is_usual);
        is_name.then(|| GatewayName::Fqdn(name.to_owned()))
    }

    /// The type, the length and the name itself.
    fn encode(&self) -> Vec<u8> {
        let (kind, octets) = match self {
            GatewayName::Address(IpAddr::V4(address)) => (IPV4, address.octets().to_vec()),
            GatewayName::Address(IpAddr::V6(address)) => (IPV6, address.octets().to_vec()),
            GatewayName::Fqdn(name) => (FQDN, name.as_bytes().to_vec()),
        };
        let octets: Vec<u8> = octets.into_iter().take(LONGEST).collect();
        // `take` has seen to it that the length fits.
        let length = u8::try_from(octets.len()).unwrap_or(u8::MAX);
        [kind, length].into_iter().chain(octets).collect()
    }

    /// The name, and what follows it.
    fn decode(data: &[u8]) -> Option<(GatewayName, &[u8])> {
        let (&[kind, length], rest) = data.split_first_chunk()?;
        let (octets, rest) = rest.split_at_checked(length.into())?;
        let name = match kind {
            IPV4 => GatewayName::Address(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
            IPV6 => GatewayName::Address(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()),
            FQDN => GatewayName::fqdn(core::str::from_utf8(octets).ok()?)?,
            _ => return None,
        };
        Some((name, rest))
    }
}

impl Notify {
    /// REDIRECT: go to this gateway; `nonce` is the initiator's, in IKE_SA_INIT only.
    pub fn redirect(to: &GatewayName, nonce: &[u8]) -> Notify {
        let mut data = to.encode();
        data.extend_from_slice(nonce);
        Notify::new(NotifyType::REDIRECT, data)
    }

    /// REDIRECTED_FROM: this gateway sent the initiator here.
    pub fn redirected_from(from: IpAddr) -> Notify {
        Notify::new(NotifyType::REDIRECTED_FROM, GatewayName::Address(from).encode())
    }

    /// The gateway that a REDIRECT notify names, and the nonce; `None` if it is none that can be read.
    pub fn redirection(&self) -> Option<(GatewayName, &[u8])> {
        (self.notify_type == NotifyType::REDIRECT).then(|| GatewayName::decode(&self.data)).flatten()
    }
}

impl FromStr for GatewayName {
    type Err = NoGatewayName;

    fn from_str(text: &str) -> Result<GatewayName, NoGatewayName> {
        let address = text.parse().map(GatewayName::Address).ok();
        address.or_else(|| GatewayName::fqdn(text)).ok_or(NoGatewayName)
    }
}

impl fmt::Display for GatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GatewayName::Address(address) => address.fmt(f),
            GatewayName::Fqdn(name) => f.write_str(name),
        }
    }
}

/// A text is neither an address nor a host's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoGatewayName;

impl fmt::Display for NoGatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither an address nor a host's name")
    }
}

impl core::error::Error for NoGatewayName {}

/// The types of names (RFC 5685 §9.2).
const IPV4: u8 = 1;
const IPV6: u8 = 2;
const FQDN: u8 = 3;
/// Octets of a name: its length is one octet.
const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["192.0.2.7", "2001:db8::7", "gw2.example.org"] {
            let name: GatewayName = text.parse().expect("the test's own text");
            let notify = Notify::redirect(&name, b"nonce");
            assert_eq!(notify.redirection(), Some((name, b"nonce".as_slice())));
        }
        let from = Notify::redirected_from(IpAddr::from([192, 0, 2, 7]));
        assert_eq!(from.data, [1, 4, 192, 0, 2, 7]);
    }

    #[test]
    fn what_is_no_gateway_is_none() {
        let data: [&[u8]; 7] = [
            &[],
            &[1],
            &[1, 4, 192, 0, 2],
            &[1, 5, 192, 0, 2, 7, 0],
            &[2, 4, 1, 2, 3, 4],
            &[3, 0],
            &[4, 1, 1],
        ];
        for data in data {
            assert_eq!(Notify::new(NotifyType::REDIRECT, data).redirection(), None, "{data:?}");
        }
        assert_eq!("a b".parse::<GatewayName>(), Err(NoGatewayName));
        assert_eq!(Notify::new(NotifyType::REDIRECT, [3, 2, b'a', 0]).redirection(), None);
    }
}
