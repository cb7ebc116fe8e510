//! Who an end says it is, and whom a connection or a secret is for (RFC 7296 §3.5).
//!
//! Identities are written as in swanctl.conf: their form tells their type, or a prefix does.
//!
//! | text | type |
//! |---|---|
//! | `192.0.2.1`, `2001:db8::1` | an address |
//! | `gw.example`, `@gw.example`, `fqdn:gw.example` | a domain name |
//! | `user@gw.example`, `email:…`, `rfc822:…` | an e-mail address |
//! | `keyid:text`, `keyid:#0a0b`, `@#0a0b` | octets without a meaning of their own |
//! | `C=CH, O=Example, CN=gw` | a distinguished name; in a pattern, a value `*` stands for any |
//! | `asn1dn:#3014…` | the same in DER |
//! | `%null` | nobody in particular (RFC 7619) |

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;
use wire::registry::IdType;
use wire::v2::Identification;

use crate::{AddressRange, DistinguishedName, InvalidName};

/// Who an end says it is. Names and e-mail addresses are compared without regard to case.
#[derive(Clone, Debug)]
pub enum Identity {
    /// ID_IPV4_ADDR.
    Ipv4(Ipv4Addr),
    /// ID_IPV6_ADDR.
    Ipv6(Ipv6Addr),
    /// ID_FQDN: a domain name, which nobody looks up.
    Fqdn(String),
    /// ID_RFC822_ADDR: an e-mail address.
    Email(String),
    /// ID_KEY_ID: octets whose meaning the two ends agreed on.
    KeyId(Vec<u8>),
    /// ID_DER_ASN1_DN: a distinguished name in DER.
    DistinguishedName(Vec<u8>),
    /// ID_NULL: nobody in particular (RFC 7619 §2.2).
    Null,
    /// Any other type, or data that its type does not allow.
    Other {
        /// The type.
        id_type: IdType,
        /// The data.
        data: Vec<u8>,
    },
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidIdentity {
    /// It names nobody.
    #[error("{0:?} stands for anybody and is nobody's identity")]
    Anybody(String),
    /// What follows `#` is not hexadecimal.
    #[error("{0:?} is not an even number of hexadecimal digits after #")]
    Hexadecimal(String),
    /// A distinguished name in words cannot be read.
    #[error("the distinguished name cannot be read: {0}")]
    DistinguishedName(#[from] InvalidName),
    /// Wildcards stand where only one identity can.
    #[error("{0:?} has a wildcard elsewhere than at its start")]
    Wildcard(String),
}

impl Identity {
    /// Reads an identity as swanctl.conf writes it.
    ///
    /// # Errors
    /// The text stands for anybody, has faulty hexadecimal digits, or is a faulty distinguished name.
    pub fn parse(text: &str) -> Result<Identity, InvalidIdentity> {
        let text = text.trim();
        if is_anybody(text) {
            return Err(InvalidIdentity::Anybody(text.to_owned()));
        }
        if text == NOBODY {
            return Ok(Identity::Null);
        }
        if let Some((prefix, value)) = text.split_once(':')
            && let Some(make) = constructor(prefix)
        {
            return Ok(make(octets_of(value)?));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Identity::from(address));
        }
        if text.contains('=') {
            return Ok(Identity::DistinguishedName(DistinguishedName::parse(text)?.to_der().to_vec()));
        }
        match text.strip_prefix('@') {
            Some(rest) if rest.starts_with('#') => Ok(Identity::KeyId(octets_of(rest)?)),
            Some(rest) => match rest.strip_prefix('@') {
                Some(address) => Ok(Identity::Email(address.to_owned())),
                None => Ok(Identity::Fqdn(rest.to_owned())),
            },
            None if text.contains('@') => Ok(Identity::Email(text.to_owned())),
            None => Ok(Identity::Fqdn(text.to_owned())),
        }
    }

    /// Reads the content of an ID payload; what cannot be read as its type says becomes [`Identity::Other`].
    pub fn from_wire(identification: &Identification) -> Identity {
        let Identification { id_type, data } = identification;
        let read = match *id_type {
            IdType::IPV4_ADDR => {
                <[u8; 4]>::try_from(data.as_slice()).ok().map(|octets| Identity::Ipv4(octets.into()))
            }
            IdType::IPV6_ADDR => {
                <[u8; 16]>::try_from(data.as_slice()).ok().map(|octets| Identity::Ipv6(octets.into()))
            }
            IdType::FQDN => printable(data).map(Identity::Fqdn),
            IdType::RFC822_ADDR => printable(data).map(Identity::Email),
            IdType::KEY_ID => Some(Identity::KeyId(data.clone())),
            IdType::DER_ASN1_DN => Some(Identity::DistinguishedName(data.clone())),
            // RFC 7619 §2.2: the data must be empty.
            IdType::NULL if data.is_empty() => Some(Identity::Null),
            _ => None,
        };
        read.unwrap_or_else(|| Identity::Other { id_type: *id_type, data: data.clone() })
    }

    /// Gives the content of an ID payload.
    pub fn to_wire(&self) -> Identification {
        let data = match self {
            Identity::Ipv4(address) => address.octets().to_vec(),
            Identity::Ipv6(address) => address.octets().to_vec(),
            Identity::Fqdn(name) | Identity::Email(name) => name.as_bytes().to_vec(),
            Identity::KeyId(data) | Identity::DistinguishedName(data) | Identity::Other { data, .. } => {
                data.clone()
            }
            Identity::Null => Vec::new(),
        };
        Identification { id_type: self.id_type(), data }
    }

    /// Gives the type as the ID payload names it.
    pub fn id_type(&self) -> IdType {
        match self {
            Identity::Ipv4(_) => IdType::IPV4_ADDR,
            Identity::Ipv6(_) => IdType::IPV6_ADDR,
            Identity::Fqdn(_) => IdType::FQDN,
            Identity::Email(_) => IdType::RFC822_ADDR,
            Identity::KeyId(_) => IdType::KEY_ID,
            Identity::DistinguishedName(_) => IdType::DER_ASN1_DN,
            Identity::Null => IdType::NULL,
            Identity::Other { id_type, .. } => *id_type,
        }
    }

    /// Tells whether this names nobody, so that two of these need not be the same peer (RFC 7619 §2.3).
    pub fn is_null(&self) -> bool {
        matches!(self, Identity::Null)
    }

    fn address(&self) -> Option<IpAddr> {
        match self {
            Identity::Ipv4(address) => Some(IpAddr::V4(*address)),
            Identity::Ipv6(address) => Some(IpAddr::V6(*address)),
            Identity::Fqdn(_)
            | Identity::Email(_)
            | Identity::KeyId(_)
            | Identity::DistinguishedName(_)
            | Identity::Null
            | Identity::Other { .. } => None,
        }
    }

    /// What two identities that are the same have in common.
    fn canonical(&self) -> (IdType, Vec<u8>) {
        let Identification { id_type, mut data } = self.to_wire();
        if matches!(self, Identity::Fqdn(_) | Identity::Email(_)) {
            data.make_ascii_lowercase();
        }
        if let Identity::DistinguishedName(der) = self
            && let Ok(name) = DistinguishedName::from_der(der)
        {
            data = name.normal_octets();
        }
        (id_type, data)
    }
}

/// As Libreswan's configuration writes it.
const NOBODY: &str = "%null";

fn is_anybody(text: &str) -> bool {
    matches!(text, "" | "%any" | "%any6" | "*" | "0.0.0.0" | "::")
}

/// Makes an identity of the type that a prefix names.
fn constructor(prefix: &str) -> Option<fn(Vec<u8>) -> Identity> {
    let id_type: fn(Vec<u8>) -> Identity = match prefix {
        "fqdn" | "dns" => |data| Identity::from_wire(&Identification { id_type: IdType::FQDN, data }),
        "email" | "rfc822" | "userfqdn" => {
            |data| Identity::from_wire(&Identification { id_type: IdType::RFC822_ADDR, data })
        }
        "keyid" => Identity::KeyId,
        "asn1dn" => Identity::DistinguishedName,
        _ => return None,
    };
    Some(id_type)
}

/// The octets of a text, or of its hexadecimal digits after `#`.
fn octets_of(value: &str) -> Result<Vec<u8>, InvalidIdentity> {
    match value.strip_prefix('#') {
        Some(digits) => hexadecimal(digits).ok_or_else(|| InvalidIdentity::Hexadecimal(value.to_owned())),
        None => Ok(value.as_bytes().to_vec()),
    }
}

/// The octets of hexadecimal digits, between which colons may stand.
pub(crate) fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.bytes().filter(|octet| *octet != b':').collect();
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

fn hex_digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A text without control characters, which would confuse whoever reads a log.
fn printable(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

impl From<IpAddr> for Identity {
    fn from(address: IpAddr) -> Identity {
        match address {
            IpAddr::V4(address) => Identity::Ipv4(address),
            IpAddr::V6(address) => Identity::Ipv6(address),
        }
    }
}

impl fmt::Display for Identity {
    /// Prints the identity as swanctl does; octets without a readable form in hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Ipv4(address) => write!(f, "{address}"),
            Identity::Ipv6(address) => write!(f, "{address}"),
            Identity::Fqdn(name) | Identity::Email(name) => f.write_str(name),
            Identity::KeyId(data) => match printable(data) {
                Some(text) => f.write_str(&text),
                None => write_hexadecimal(f, data),
            },
            Identity::DistinguishedName(data) => match DistinguishedName::from_der(data) {
                Ok(name) if !name.is_empty() => write!(f, "{name}"),
                Ok(_) | Err(_) => {
                    f.write_str("asn1dn:#")?;
                    write_hexadecimal(f, data)
                }
            },
            Identity::Null => f.write_str(NOBODY),
            Identity::Other { id_type, data } => {
                write!(f, "{id_type}:#")?;
                write_hexadecimal(f, data)
            }
        }
    }
}

fn write_hexadecimal(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for Identity {}

impl PartialOrd for Identity {
    fn partial_cmp(&self, other: &Identity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Identity {
    fn cmp(&self, other: &Identity) -> Ordering {
        self.canonical().cmp(&other.canonical())
    }
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

/// Whom a connection or a secret is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityPattern {
    /// Anybody: `%any`.
    Any,
    /// Any address in a network or range: `10.0.0.0/8`.
    Addresses(AddressRange),
    /// Any domain name with this ending: `*.example`, without its star.
    FqdnEnding(String),
    /// Any e-mail address with this ending: `*@gw.example`, without its star.
    EmailEnding(String),
    /// Any distinguished name with these attributes, of which some have the value `*`.
    DistinguishedName(DistinguishedName),
    /// This one.
    Exact(Identity),
}

impl IdentityPattern {
    /// The specificity of a pattern that fits one identity alone.
    pub const EXACT: u32 = 1 << 16;

    /// Reads a pattern as swanctl.conf writes it: an identity, `%any`, a network, or a name with a star at its start.
    ///
    /// # Errors
    /// The text is no identity, or has a star elsewhere.
    pub fn parse(text: &str) -> Result<IdentityPattern, InvalidIdentity> {
        let text = text.trim();
        if is_anybody(text) {
            return Ok(IdentityPattern::Any);
        }
        if text.contains(['/', '-'])
            && let Ok(range) = text.parse()
        {
            return Ok(IdentityPattern::Addresses(range));
        }
        match (Identity::parse(text)?, wildcard_ending(text)) {
            (Identity::Fqdn(_), Some(ending)) => Ok(IdentityPattern::FqdnEnding(ending)),
            (Identity::Email(_), Some(ending)) => Ok(IdentityPattern::EmailEnding(ending)),
            (Identity::Fqdn(name) | Identity::Email(name), None) if name.contains('*') => {
                Err(InvalidIdentity::Wildcard(text.to_owned()))
            }
            (identity, _) => Ok(IdentityPattern::exact_or_wildcards(identity)),
        }
    }

    fn exact_or_wildcards(identity: Identity) -> IdentityPattern {
        if let Identity::DistinguishedName(der) = &identity
            && let Ok(name) = DistinguishedName::from_der(der)
            && name.has_wildcard()
        {
            return IdentityPattern::DistinguishedName(name);
        }
        IdentityPattern::Exact(identity)
    }

    /// Tells whether an identity fits.
    pub fn matches(&self, identity: &Identity) -> bool {
        match (self, identity) {
            (IdentityPattern::Any, _) => true,
            (IdentityPattern::Exact(own), identity) => own == identity,
            (IdentityPattern::Addresses(range), identity) => {
                identity.address().is_some_and(|address| range.contains(address))
            }
            (IdentityPattern::FqdnEnding(ending), Identity::Fqdn(name))
            | (IdentityPattern::EmailEnding(ending), Identity::Email(name)) => ends_with(name, ending),
            (IdentityPattern::DistinguishedName(pattern), Identity::DistinguishedName(der)) => {
                DistinguishedName::from_der(der).is_ok_and(|name| pattern.covers(&name))
            }
            (
                IdentityPattern::FqdnEnding(_)
                | IdentityPattern::EmailEnding(_)
                | IdentityPattern::DistinguishedName(_),
                _,
            ) => false,
        }
    }

    /// Tells how closely the pattern describes those whom it fits, for choosing among several; the greatest wins:
    /// 0 for anybody, then how much of an address or a name it fixes, [`IdentityPattern::EXACT`] for one alone.
    pub fn specificity(&self) -> u32 {
        match self {
            IdentityPattern::Any => 0,
            IdentityPattern::Addresses(range) => 1 + range.as_prefix().map_or(0, |(_, length)| length.into()),
            IdentityPattern::FqdnEnding(ending) | IdentityPattern::EmailEnding(ending) => {
                u32::try_from(1 + ending.len()).unwrap_or(u32::MAX).min(IdentityPattern::EXACT - 1)
            }
            IdentityPattern::DistinguishedName(name) => {
                u32::try_from(1 + name.fixed_attributes()).unwrap_or(u32::MAX).min(IdentityPattern::EXACT - 1)
            }
            IdentityPattern::Exact(_) => IdentityPattern::EXACT,
        }
    }
}

/// What follows a star at the start of a name, past the prefix that tells its type.
fn wildcard_ending(text: &str) -> Option<String> {
    let name = match text.split_once(':') {
        Some((prefix, name)) if constructor(prefix).is_some() => name,
        _ => text.trim_start_matches('@'),
    };
    name.strip_prefix('*').filter(|ending| !ending.contains('*')).map(str::to_owned)
}

fn ends_with(name: &str, ending: &str) -> bool {
    let (name, ending) = (name.as_bytes(), ending.as_bytes());
    name.len() >= ending.len() && name[name.len() - ending.len()..].eq_ignore_ascii_case(ending)
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityPattern::Any => f.write_str("%any"),
            IdentityPattern::Addresses(range) => write!(f, "{range}"),
            IdentityPattern::FqdnEnding(ending) | IdentityPattern::EmailEnding(ending) => {
                write!(f, "*{ending}")
            }
            IdentityPattern::DistinguishedName(name) => write!(f, "{name}"),
            IdentityPattern::Exact(identity) => write!(f, "{identity}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(text: &str) -> Identity {
        Identity::parse(text).expect("the test's own text")
    }

    fn pattern(text: &str) -> IdentityPattern {
        IdentityPattern::parse(text).expect("the test's own text")
    }

    #[test]
    fn the_form_of_a_text_tells_the_type() {
        let types = [
            ("192.0.2.1", IdType::IPV4_ADDR, "192.0.2.1"),
            ("2001:db8::1", IdType::IPV6_ADDR, "2001:db8::1"),
            ("%null", IdType::NULL, "%null"),
            ("gw.example", IdType::FQDN, "gw.example"),
            ("@gw.example", IdType::FQDN, "gw.example"),
            ("fqdn:gw.example", IdType::FQDN, "gw.example"),
            ("fqdn:192.0.2.1", IdType::FQDN, "192.0.2.1"),
            ("user@gw.example", IdType::RFC822_ADDR, "user@gw.example"),
            ("@@user@gw.example", IdType::RFC822_ADDR, "user@gw.example"),
            ("rfc822:user@gw.example", IdType::RFC822_ADDR, "user@gw.example"),
            ("email:#7540", IdType::RFC822_ADDR, "u@"),
            ("keyid:branch office", IdType::KEY_ID, "branch office"),
            ("keyid:#00:ff", IdType::KEY_ID, "00ff"),
            ("@#6b31", IdType::KEY_ID, "k1"),
            ("asn1dn:#3000", IdType::DER_ASN1_DN, "asn1dn:#3000"),
            ("asn1dn:#300d310b3009060355040613024348", IdType::DER_ASN1_DN, "C=CH"),
            ("C=CH, CN=gw@site.example", IdType::DER_ASN1_DN, "C=CH, CN=gw@site.example"),
        ];
        for (text, id_type, printed) in types {
            let identity = identity(text);
            assert_eq!((identity.id_type(), identity.to_string().as_str()), (id_type, printed), "{text}");
            assert_eq!(Identity::from_wire(&identity.to_wire()), identity, "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_identity_say_why() {
        for text in ["", "%any", "*", "0.0.0.0"] {
            assert_eq!(Identity::parse(text), Err(InvalidIdentity::Anybody(text.to_owned())));
        }
        for text in ["keyid:#0", "keyid:#0g", "@#x"] {
            assert!(matches!(Identity::parse(text), Err(InvalidIdentity::Hexadecimal(_))), "{text}");
        }
        assert_eq!(
            Identity::parse("C=CH, gw").unwrap_err().to_string(),
            "the distinguished name cannot be read: \"gw\" is not TYPE=value"
        );
        assert!(matches!(IdentityPattern::parse("gw.*.example"), Err(InvalidIdentity::Wildcard(_))));
    }

    #[test]
    fn what_its_type_does_not_allow_survives_as_it_came() {
        let faulty = [
            (IdType::IPV4_ADDR, vec![1, 2, 3]),
            (IdType::FQDN, b"gw\n.example".to_vec()),
            (IdType::RFC822_ADDR, vec![0xff, 0xfe]),
            (IdType::NULL, vec![7]),
            (IdType(201), vec![7]),
        ];
        for (id_type, data) in faulty {
            let identification = Identification { id_type, data };
            let identity = Identity::from_wire(&identification);
            assert!(matches!(identity, Identity::Other { .. }), "{identity}");
            assert_eq!(identity.to_wire(), identification);
        }
    }

    #[test]
    fn names_are_the_same_in_any_case_and_octets_are_not() {
        assert_eq!(identity("GW.example"), identity("gw.EXAMPLE"));
        assert_eq!(identity("User@gw.example"), identity("user@GW.example"));
        assert_ne!(identity("keyid:Office"), identity("keyid:office"));
        assert_ne!(identity("fqdn:user@gw.example"), identity("email:user@gw.example"));
    }

    #[test]
    fn patterns_take_what_they_say() {
        let cases = [
            ("%any", "gw.example", true),
            ("gw.example", "GW.example", true),
            ("gw.example", "gw2.example", false),
            ("*.example", "gw.EXAMPLE", true),
            ("*.example", "example", false),
            ("@*.example", "gw.example", true),
            ("*.example", "user@gw.example", false),
            ("*@gw.example", "user@gw.example", true),
            ("*@gw.example", "user@other.example", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.1-10.0.0.9", "10.0.0.9", true),
            ("2001:db8::/32", "2001:db8::1", true),
            ("2001:db8::/32", "10.0.0.1", false),
            ("branch-office.example", "branch-office.example", true),
            ("C=CH, CN=*", "C=CH, CN=gw", true),
            ("C=CH, CN=*", "C=DE, CN=gw", false),
            ("C=CH, CN=gw", "c=ch, cn=GW", true),
            ("C=CH, CN=*", "gw", false),
            ("C=CH, CN=10/8-a", "C=CH, CN=10/8-a", true),
        ];
        for (own, other, expected) in cases {
            assert_eq!(pattern(own).matches(&identity(other)), expected, "{own} and {other}");
        }
    }

    #[test]
    fn the_closer_pattern_ranks_higher() {
        let ascending =
            ["%any", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3"].map(|text| pattern(text).specificity());
        assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
        let ascending =
            ["%any", "C=*, CN=*", "C=*, CN=gw", "C=CH, CN=gw"].map(|text| pattern(text).specificity());
        assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
        let ascending =
            ["%any", "*.example", "*.gw.example", "a.gw.example"].map(|text| pattern(text).specificity());
        assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
    }

    #[test]
    fn patterns_print_as_they_are_read() {
        for text in ["%any", "10.0.0.0/8", "*.example", "*@gw.example", "gw.example", "C=CH, CN=*"] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn every_identification_survives_and_prints(id_type: u8, data: Vec<u8>) {
            let identification = Identification { id_type: IdType(id_type), data };
            let identity = Identity::from_wire(&identification);
            prop_assert_eq!(identity.to_wire(), identification);
            prop_assert!(!identity.to_string().contains(char::is_control));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = Identity::parse(&text);
            let _ = IdentityPattern::parse(&text);
        }
    }
}
