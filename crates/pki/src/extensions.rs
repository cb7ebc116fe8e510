//! Certificate extensions (RFC 5280 §4.2), read once into what they mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetString};
use der::{Decode, Encode, Sequence};
use sa::DistinguishedName;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName as EncodedName};
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, CertificatePolicies, CrlDistributionPoints, ExtendedKeyUsage, NameConstraints,
    PolicyConstraints, PolicyMappings, SubjectAltName,
};

use crate::address_blocks::AddressBlocks;
use crate::name_constraints::Subtrees;
use crate::oid;

/// What a certificate's extensions say; the default is a certificate without any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority: AuthorityKey,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) purposes: Option<Vec<ObjectIdentifier>>,
    pub(crate) basic_constraints: Option<BasicConstraints>,
    pub(crate) subject_names: Vec<GeneralName>,
    pub(crate) subtrees: Option<Subtrees>,
    pub(crate) policies: Option<Vec<ObjectIdentifier>>,
    /// Pairs of the issuer's policy and the subject's.
    pub(crate) policy_mappings: Vec<(ObjectIdentifier, ObjectIdentifier)>,
    pub(crate) require_explicit_policy: Option<u32>,
    pub(crate) inhibit_policy_mapping: Option<u32>,
    pub(crate) inhibit_any_policy: Option<u32>,
    pub(crate) address_blocks: Option<AddressBlocks>,
    pub(crate) distribution_points: Vec<DistributionPoint>,
    pub(crate) freshest: Vec<DistributionPoint>,
    pub(crate) ocsp_uris: Vec<String>,
    pub(crate) issuer_uris: Vec<String>,
    /// The certificate is an OCSP responder's that need not be asked for itself (RFC 6960 §4.2.2.2.1).
    pub(crate) ocsp_no_check: bool,
    /// Critical ones that we do not know.
    pub(crate) unknown_critical: Vec<ObjectIdentifier>,
    /// Critical ones, known and unknown.
    pub(crate) critical: Vec<ObjectIdentifier>,
}

/// Which key has signed, as far as a certificate or CRL says (RFC 5280 §4.2.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthorityKey {
    pub(crate) key_id: Option<Vec<u8>>,
}

/// What a key may be used for (RFC 5280 §4.2.1.3), bit 0 being the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyUsage(pub(crate) u16);

impl KeyUsage {
    pub(crate) const DIGITAL_SIGNATURE: KeyUsage = KeyUsage(1 << 0);
    pub(crate) const NON_REPUDIATION: KeyUsage = KeyUsage(1 << 1);
    pub(crate) const KEY_CERT_SIGN: KeyUsage = KeyUsage(1 << 5);
    pub(crate) const CRL_SIGN: KeyUsage = KeyUsage(1 << 6);

    /// Tells whether any of `other`'s bits is set.
    pub(crate) fn has(self, other: KeyUsage) -> bool {
        self.0 & other.0 != 0
    }

    /// The names of the bits that are set.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [&str; 9] = [
            "digitalSignature",
            "nonRepudiation",
            "keyEncipherment",
            "dataEncipherment",
            "keyAgreement",
            "keyCertSign",
            "cRLSign",
            "encipherOnly",
            "decipherOnly",
        ];
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name)
    }
}

/// Whether a certificate is a CA's (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Sequence)]
pub(crate) struct BasicConstraints {
    #[asn1(default = "Default::default")]
    pub(crate) ca: bool,
    #[asn1(optional = "true")]
    pub(crate) path_len: Option<u32>,
}

/// Where a CRL can be had, and which part of the reasons and certificates it is about (RFC 5280 §4.2.1.13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DistributionPoint {
    pub(crate) names: Vec<GeneralName>,
    /// Bits of ReasonFlags, bit 0 being the lowest; `None` is all.
    pub(crate) reasons: Option<u16>,
    pub(crate) crl_issuer: Vec<DistinguishedName>,
}

impl DistributionPoint {
    pub(crate) fn uris(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(|name| match name {
            GeneralName::Uri(uri) => Some(uri.as_str()),
            _ => None,
        })
    }
}

/// A name of a subject, beside its distinguished name (RFC 5280 §4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeneralName {
    /// rfc822Name: an e-mail address.
    Email(String),
    /// dNSName: a domain name.
    Dns(String),
    /// uniformResourceIdentifier.
    Uri(String),
    /// iPAddress of one host.
    Address(IpAddr),
    /// directoryName.
    Directory(DistinguishedName),
    /// registeredID.
    RegisteredId(ObjectIdentifier),
    /// otherName of this type.
    Other(ObjectIdentifier),
    /// ediPartyName.
    EdiParty,
}

impl Extensions {
    /// Reads all extensions of a certificate.
    pub(crate) fn read(extensions: &[Extension]) -> der::Result<Extensions> {
        let mut read = Extensions::default();
        for (at, extension) in extensions.iter().enumerate() {
            // RFC 5280 §4.2: no extension comes twice.
            if extensions[..at].iter().any(|earlier| earlier.extn_id == extension.extn_id) {
                return Err(der::Tag::ObjectIdentifier.value_error().into());
            }
            if extension.critical {
                read.critical.push(extension.extn_id);
            }
            let is_known = read.read_one(extension.extn_id, extension.extn_value.as_bytes())?;
            if extension.critical && !is_known {
                read.unknown_critical.push(extension.extn_id);
            }
        }
        Ok(read)
    }

    /// Reads one extension, and tells whether it is one that we process.
    fn read_one(&mut self, kind: ObjectIdentifier, value: &[u8]) -> der::Result<bool> {
        match kind {
            oid::SUBJECT_KEY_IDENTIFIER => {
                self.subject_key_id = Some(OctetString::from_der(value)?.as_bytes().to_vec());
            }
            oid::AUTHORITY_KEY_IDENTIFIER => self.authority = read_authority(value)?,
            oid::KEY_USAGE => self.key_usage = Some(KeyUsage(read_flags(value)?)),
            oid::EXTENDED_KEY_USAGE => self.purposes = Some(ExtendedKeyUsage::from_der(value)?.0),
            oid::BASIC_CONSTRAINTS => self.basic_constraints = Some(BasicConstraints::from_der(value)?),
            oid::SUBJECT_ALT_NAME => self.subject_names = read_names(&SubjectAltName::from_der(value)?.0)?,
            // Another name for the issuer is nothing that we look for.
            oid::ISSUER_ALT_NAME | oid::SUBJECT_INFO_ACCESS => {}
            oid::NAME_CONSTRAINTS => {
                self.subtrees = Some(Subtrees::read(&NameConstraints::from_der(value)?)?);
            }
            oid::CERTIFICATE_POLICIES => self.policies = Some(read_policies(value)?),
            oid::POLICY_MAPPINGS => {
                let mappings = PolicyMappings::from_der(value)?.0.into_iter();
                let pairs =
                    mappings.map(|mapping| (mapping.issuer_domain_policy, mapping.subject_domain_policy));
                self.policy_mappings = pairs.collect();
            }
            oid::POLICY_CONSTRAINTS => {
                let constraints = PolicyConstraints::from_der(value)?;
                self.require_explicit_policy = constraints.require_explicit_policy;
                self.inhibit_policy_mapping = constraints.inhibit_policy_mapping;
            }
            oid::INHIBIT_ANY_POLICY => self.inhibit_any_policy = Some(u32::from_der(value)?),
            oid::ADDRESS_BLOCKS => self.address_blocks = Some(AddressBlocks::from_der(value)?),
            oid::CRL_DISTRIBUTION_POINTS => self.distribution_points = read_points(value)?,
            oid::FRESHEST_CRL => self.freshest = read_points(value)?,
            oid::AUTHORITY_INFO_ACCESS => self.read_access(value)?,
            oid::OCSP_NO_CHECK => self.ocsp_no_check = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_access(&mut self, value: &[u8]) -> der::Result<()> {
        for access in AuthorityInfoAccessSyntax::from_der(value)?.0 {
            let EncodedName::UniformResourceIdentifier(uri) = access.access_location else { continue };
            match access.access_method {
                oid::ACCESS_OCSP => self.ocsp_uris.push(uri.as_str().to_owned()),
                oid::ACCESS_CA_ISSUERS => self.issuer_uris.push(uri.as_str().to_owned()),
                _ => {}
            }
        }
        Ok(())
    }
}

pub(crate) fn read_authority(value: &[u8]) -> der::Result<AuthorityKey> {
    /// The other two parts name the issuer's certificate; the issuer's name and key are what we go by.
    #[derive(Sequence)]
    struct Encoded {
        #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
        key_id: Option<OctetString>,
        #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
        issuer: Option<Vec<EncodedName>>,
        #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
        serial: Option<der::asn1::Int>,
    }
    let key_id = Encoded::from_der(value)?.key_id.map(|id| id.as_bytes().to_vec());
    Ok(AuthorityKey { key_id })
}

/// Reads a BIT STRING of named bits, of which we know no more than sixteen.
pub(crate) fn read_flags(value: &[u8]) -> der::Result<u16> {
    Ok(flags_of(BitStringRef::from_der(value)?))
}

pub(crate) fn flags_of(bits: BitStringRef<'_>) -> u16 {
    bits.bits().take(16).enumerate().fold(0, |flags, (at, bit)| flags | u16::from(bit) << at)
}

fn read_policies(value: &[u8]) -> der::Result<Vec<ObjectIdentifier>> {
    let policies = CertificatePolicies::from_der(value)?.0;
    let policies: Vec<_> = policies.into_iter().map(|policy| policy.policy_identifier).collect();
    // RFC 5280 §4.2.1.4: no policy comes twice.
    let mut sorted = policies.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() == policies.len() {
        Ok(policies)
    } else {
        Err(der::Tag::ObjectIdentifier.value_error().into())
    }
}

pub(crate) fn read_points(value: &[u8]) -> der::Result<Vec<DistributionPoint>> {
    let points = CrlDistributionPoints::from_der(value)?.0.into_iter();
    points
        .map(|point| {
            let crl_issuer = read_names(&point.crl_issuer.unwrap_or_default())?;
            Ok(DistributionPoint {
                names: point.distribution_point.map_or(Ok(Vec::new()), |name| read_point_names(&name))?,
                reasons: point.reasons.map(|reasons| reasons.bits()),
                crl_issuer: crl_issuer.into_iter().filter_map(GeneralName::into_directory).collect(),
            })
        })
        .collect()
}

/// A name that is relative to the CRL's issuer names no place from which we could fetch, and is left out.
pub(crate) fn read_point_names(name: &DistributionPointName) -> der::Result<Vec<GeneralName>> {
    match name {
        DistributionPointName::FullName(names) => read_names(names),
        DistributionPointName::NameRelativeToCRLIssuer(_) => Ok(Vec::new()),
    }
}

pub(crate) fn read_names(names: &[EncodedName]) -> der::Result<Vec<GeneralName>> {
    names.iter().map(GeneralName::read).collect()
}

impl GeneralName {
    pub(crate) fn read(name: &EncodedName) -> der::Result<GeneralName> {
        Ok(match name {
            EncodedName::Rfc822Name(address) => GeneralName::Email(address.as_str().to_owned()),
            EncodedName::DnsName(name) => GeneralName::Dns(name.as_str().to_owned()),
            EncodedName::UniformResourceIdentifier(uri) => GeneralName::Uri(uri.as_str().to_owned()),
            EncodedName::IpAddress(octets) => GeneralName::Address(
                address_of(octets.as_bytes()).ok_or_else(|| der::Tag::OctetString.value_error())?,
            ),
            EncodedName::DirectoryName(name) => GeneralName::Directory(read_name(&name.to_der()?)?),
            EncodedName::RegisteredId(id) => GeneralName::RegisteredId(*id),
            EncodedName::OtherName(name) => GeneralName::Other(name.type_id),
            EncodedName::EdiPartyName(_) => GeneralName::EdiParty,
        })
    }

    fn into_directory(self) -> Option<DistinguishedName> {
        match self {
            GeneralName::Directory(name) => Some(name),
            _ => None,
        }
    }
}

pub(crate) fn read_name(octets: &[u8]) -> der::Result<DistinguishedName> {
    DistinguishedName::from_der(octets).map_err(|_| der::Tag::Sequence.value_error().into())
}

pub(crate) fn read_any_name(name: AnyRef<'_>) -> der::Result<DistinguishedName> {
    read_name(&name.to_der()?)
}

/// The address of 4 or 16 octets.
pub(crate) fn address_of(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into())
}

/// A text of somebody else's, without the control characters that would confuse whoever reads a log.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

impl std::fmt::Display for GeneralName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            GeneralName::Email(text) | GeneralName::Dns(text) | GeneralName::Uri(text) => {
                f.write_str(&printable(text))
            }
            GeneralName::Address(address) => write!(f, "{address}"),
            GeneralName::Directory(name) => write!(f, "{name}"),
            GeneralName::RegisteredId(id) => write!(f, "the registered identifier {id}"),
            GeneralName::Other(kind) => write!(f, "a name of the type {kind}"),
            GeneralName::EdiParty => f.write_str("an EDI party name"),
        }
    }
}
