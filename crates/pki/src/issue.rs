//! Issuing: certificates and lists, for people who run a CA of their own.
//!
//! What is issued follows the profile of RFC 5280 §4 and RFC 4945 §5: a CA's certificate says so and may sign
//! certificates and lists, an end's may sign messages, and every certificate names both keys by their digests.

use crypto::hash;
use crypto::signature::{CannotSign, Curve, KeyKind, SignatureHash, SignatureScheme};
use der::asn1::{Any, BitString, Ia5String, ObjectIdentifier, OctetString, Uint};
use der::{Decode, Encode, EncodeValue, FixedTag, Sequence};
use sa::DistinguishedName;
use thiserror::Error;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName as EncodedName};
use x509_cert::ext::pkix::{AccessDescription, AuthorityKeyIdentifier, CrlDistributionPoints};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::Time as EncodedTime;

use crate::algorithm::identifier_of;
use crate::crl::Revoked;
use crate::extensions::{BasicConstraints, GeneralName, KeyUsage};
use crate::{Certificate, Crl, PrivateKey, Time, oid};

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Who it is for; may be empty if there are other names.
    pub subject: DistinguishedName,
    /// The subject's other names.
    pub names: Vec<GeneralName>,
    /// The subject's key, a SubjectPublicKeyInfo in DER.
    pub key_info: Vec<u8>,
    /// A number that the issuer has not given before, big-endian, of at most 20 octets and random at best.
    pub serial: Vec<u8>,
    /// From when on it is valid.
    pub not_before: Time,
    /// Until when it is valid.
    pub not_after: Time,
    /// What the key is for.
    pub role: Role,
    /// Where the issuer's lists can be fetched.
    pub crl_uris: Vec<String>,
    /// Where an OCSP responder can be asked.
    pub ocsp_uris: Vec<String>,
}

/// What a certificate's key is for.
#[derive(Clone, Debug)]
pub enum Role {
    /// To sign certificates and lists.
    Ca {
        /// How many CAs may stand below this one; `None` is any number.
        path_len: Option<u32>,
    },
    /// To sign messages, for these purposes, or for all if there is none (RFC 4945 §5.1.3.12 prefers none).
    End {
        /// The purposes.
        purposes: Vec<ObjectIdentifier>,
    },
}

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub enum Issuer<'a> {
    /// The subject itself.
    Itself(&'a PrivateKey),
    /// A CA.
    Ca(&'a Certificate, &'a PrivateKey),
}

/// Why nothing can be issued.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CannotIssue {
    /// The key is not the CA's.
    #[error("the private key is not that of the certificate {0}")]
    WrongKey(String),
    /// It is no CA.
    #[error("the certificate {0} is not a CA's")]
    NotCa(String),
    /// The CA ends before.
    #[error("the certificate of the CA is valid until {0} only")]
    CaEndsBefore(Time),
    /// It would never be valid.
    #[error("it would end on {not_after}, before it begins on {not_before}")]
    EndsBeforeItBegins {
        /// The beginning.
        not_before: Time,
        /// The end.
        not_after: Time,
    },
    /// There would be no name.
    #[error("it would name nobody: neither a subject nor another name is given")]
    Nobody,
    /// Something cannot be encoded.
    #[error("it cannot be encoded: {0}")]
    Encoding(String),
    /// The key cannot sign.
    #[error(transparent)]
    Signature(#[from] CannotSign),
}

impl From<der::Error> for CannotIssue {
    fn from(fault: der::Error) -> CannotIssue {
        CannotIssue::Encoding(fault.to_string())
    }
}

#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0")]
    version: u8,
    serial: Uint,
    signature: AlgorithmIdentifierOwned,
    issuer: Any,
    validity: Validity,
    subject: Any,
    key: Any,
    #[asn1(context_specific = "3")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Validity {
    not_before: EncodedTime,
    not_after: EncodedTime,
}

/// Issues a certificate.
///
/// # Errors
/// The draft or the issuer is not right.
pub fn issue(draft: &Draft, issuer: Issuer<'_>) -> Result<Certificate, CannotIssue> {
    check(draft, issuer)?;
    let (key, issuer_name) = match issuer {
        Issuer::Itself(key) => (key, &draft.subject),
        Issuer::Ca(certificate, key) => (key, certificate.subject()),
    };
    let (scheme, algorithm) = usual_algorithm(key.kind())?;
    let tbs = Tbs {
        version: 2,
        serial: Uint::new(&draft.serial)?,
        signature: algorithm.clone(),
        issuer: Any::from_der(issuer_name.to_der())?,
        validity: Validity { not_before: draft.not_before.to_x509(), not_after: draft.not_after.to_x509() },
        subject: Any::from_der(draft.subject.to_der())?,
        key: Any::from_der(&draft.key_info)?,
        extensions: extensions(draft, issuer)?,
    };
    let der = sign(&tbs.to_der()?, scheme, algorithm, key)?;
    Certificate::from_der(&der).map_err(|fault| CannotIssue::Encoding(fault.to_string()))
}

fn check(draft: &Draft, issuer: Issuer<'_>) -> Result<(), CannotIssue> {
    let Draft { not_before, not_after, .. } = *draft;
    if not_after < not_before {
        return Err(CannotIssue::EndsBeforeItBegins { not_before, not_after });
    }
    if draft.subject.is_empty() && draft.names.is_empty() {
        return Err(CannotIssue::Nobody);
    }
    match issuer {
        Issuer::Itself(key) if key.public_key_info() != draft.key_info => {
            Err(CannotIssue::WrongKey(draft.subject.to_string()))
        }
        Issuer::Itself(_) => Ok(()),
        Issuer::Ca(certificate, key) => {
            check_ca(certificate, key)?;
            match certificate.not_after() {
                ca_ends if ca_ends < not_after => Err(CannotIssue::CaEndsBefore(ca_ends)),
                _ => Ok(()),
            }
        }
    }
}

fn check_ca(certificate: &Certificate, key: &PrivateKey) -> Result<(), CannotIssue> {
    if !certificate.is_ca() {
        Err(CannotIssue::NotCa(certificate.to_string()))
    } else if !key.belongs_to(certificate) {
        Err(CannotIssue::WrongKey(certificate.to_string()))
    } else {
        Ok(())
    }
}

fn extensions(draft: &Draft, issuer: Issuer<'_>) -> Result<Vec<Extension>, CannotIssue> {
    let own_id = key_id(&draft.key_info)?;
    let (usage, constraints) = match draft.role {
        Role::Ca { path_len } => (
            KeyUsage(KeyUsage::KEY_CERT_SIGN.0 | KeyUsage::CRL_SIGN.0),
            Some(BasicConstraints { ca: true, path_len }),
        ),
        Role::End { .. } => (KeyUsage::DIGITAL_SIGNATURE, None),
    };
    let mut extensions = Vec::new();
    if let Some(constraints) = constraints {
        extensions.push(extension(oid::BASIC_CONSTRAINTS, Criticality::Critical, &constraints)?);
    }
    extensions.push(extension(oid::KEY_USAGE, Criticality::Critical, &named_bits(usage)?)?);
    extensions.push(extension(
        oid::SUBJECT_KEY_IDENTIFIER,
        Criticality::Ignorable,
        &OctetString::new(own_id)?,
    )?);
    if let Issuer::Ca(certificate, _) = issuer {
        extensions.push(authority_key(certificate)?);
    }
    if !draft.names.is_empty() {
        extensions.push(subject_names(&draft.names, draft.subject.is_empty())?);
    }
    if let Role::End { purposes } = &draft.role
        && !purposes.is_empty()
    {
        extensions.push(extension(oid::EXTENDED_KEY_USAGE, Criticality::Ignorable, purposes)?);
    }
    if !draft.crl_uris.is_empty() {
        let points = draft.crl_uris.iter().map(|uri| point(uri)).collect::<der::Result<_>>()?;
        let points = CrlDistributionPoints(points);
        extensions.push(extension(oid::CRL_DISTRIBUTION_POINTS, Criticality::Ignorable, &points)?);
    }
    if !draft.ocsp_uris.is_empty() {
        let access = draft.ocsp_uris.iter().map(|uri| {
            Ok(AccessDescription { access_method: oid::ACCESS_OCSP, access_location: encoded_uri(uri)? })
        });
        let access = access.collect::<der::Result<Vec<_>>>()?;
        extensions.push(extension(oid::AUTHORITY_INFO_ACCESS, Criticality::Ignorable, &access)?);
    }
    Ok(extensions)
}

/// Whether somebody who does not know an extension must refuse the certificate.
#[derive(Clone, Copy)]
enum Criticality {
    Critical,
    Ignorable,
}

fn extension<T: EncodeValue + FixedTag>(
    kind: ObjectIdentifier,
    criticality: Criticality,
    value: &T,
) -> der::Result<Extension> {
    Ok(Extension {
        extn_id: kind,
        critical: matches!(criticality, Criticality::Critical),
        extn_value: OctetString::new(value.to_der()?)?,
    })
}

/// The other names of a subject; critical if there is no other (RFC 5280 §4.2.1.6).
pub(crate) fn subject_names(names: &[GeneralName], is_only: bool) -> der::Result<Extension> {
    let criticality = if is_only { Criticality::Critical } else { Criticality::Ignorable };
    let names = names.iter().map(encoded_name).collect::<der::Result<Vec<_>>>()?;
    extension(oid::SUBJECT_ALT_NAME, criticality, &names)
}

fn authority_key(issuer: &Certificate) -> Result<Extension, CannotIssue> {
    let id = match issuer.subject_key_id() {
        Some(id) => id.to_vec(),
        None => key_id(issuer.key_info())?,
    };
    let key = AuthorityKeyIdentifier { key_identifier: Some(OctetString::new(id)?), ..Default::default() };
    Ok(extension(oid::AUTHORITY_KEY_IDENTIFIER, Criticality::Ignorable, &key)?)
}

/// RFC 5280 §4.2.1.2, method (1): the SHA-1 digest of the public key.
fn key_id(key_info: &[u8]) -> der::Result<Vec<u8>> {
    let info = SubjectPublicKeyInfoRef::from_der(key_info)?;
    Ok(hash::SHA1.digest(&[info.subject_public_key.raw_bytes()]))
}

/// A BIT STRING of named bits ends with the last that is set.
fn named_bits(usage: KeyUsage) -> der::Result<BitString> {
    let reversed = usage.0.reverse_bits().to_be_bytes();
    let octets = if reversed[1] == 0 { &reversed[..1] } else { &reversed[..] };
    let unused = octets.last().map_or(0, |last| last.trailing_zeros());
    BitString::new(u8::try_from(unused.min(7)).unwrap_or(0), octets)
}

fn point(uri: &str) -> der::Result<DistributionPoint> {
    Ok(DistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(vec![encoded_uri(uri)?])),
        reasons: None,
        crl_issuer: None,
    })
}

fn encoded_uri(uri: &str) -> der::Result<EncodedName> {
    Ok(EncodedName::UniformResourceIdentifier(Ia5String::new(uri)?))
}

fn encoded_name(name: &GeneralName) -> der::Result<EncodedName> {
    Ok(match name {
        GeneralName::Email(text) => EncodedName::Rfc822Name(Ia5String::new(text)?),
        GeneralName::Dns(text) => EncodedName::DnsName(Ia5String::new(text)?),
        GeneralName::Uri(text) => encoded_uri(text)?,
        GeneralName::Address(address) => EncodedName::from(*address),
        GeneralName::Directory(name) => EncodedName::DirectoryName(Decode::from_der(name.to_der())?),
        GeneralName::RegisteredId(id) => EncodedName::RegisteredId(*id),
        // What such names hold was not kept when they were read.
        GeneralName::Other(_) | GeneralName::EdiParty => return Err(der::Tag::Sequence.value_error().into()),
    })
}

/// The scheme with which a key signs certificates, as strong as itself.
fn usual_algorithm(kind: KeyKind) -> Result<(SignatureScheme, AlgorithmIdentifierOwned), CannotIssue> {
    let scheme = match kind {
        KeyKind::Rsa => SignatureScheme::RsaPkcs1(SignatureHash::Sha2_256),
        KeyKind::Ecdsa(Curve::P256 | Curve::BrainpoolP256r1) => {
            SignatureScheme::Ecdsa(SignatureHash::Sha2_256)
        }
        KeyKind::Ecdsa(Curve::P384 | Curve::BrainpoolP384r1) => {
            SignatureScheme::Ecdsa(SignatureHash::Sha2_384)
        }
        KeyKind::Ecdsa(Curve::P521 | Curve::BrainpoolP512r1) => {
            SignatureScheme::Ecdsa(SignatureHash::Sha2_512)
        }
        KeyKind::Ed25519 => SignatureScheme::Ed25519,
        KeyKind::Ed448 => SignatureScheme::Ed448,
        KeyKind::MlDsa(set) => SignatureScheme::MlDsa(set),
    };
    let algorithm = identifier_of(scheme).ok_or_else(|| CannotIssue::Encoding(scheme.to_string()))?;
    Ok((scheme, algorithm))
}

/// Signs with a key's usual scheme, for what has its algorithm outside only.
pub(crate) fn sign_usually(content: &[u8], key: &PrivateKey) -> Result<Vec<u8>, CannotIssue> {
    let (scheme, algorithm) = usual_algorithm(key.kind())?;
    sign(content, scheme, algorithm, key)
}

fn sign(
    content: &[u8],
    scheme: SignatureScheme,
    algorithm: AlgorithmIdentifierOwned,
    key: &PrivateKey,
) -> Result<Vec<u8>, CannotIssue> {
    #[derive(Sequence)]
    struct Parts {
        content: Any,
        algorithm: AlgorithmIdentifierOwned,
        signature: BitString,
    }
    let signature = BitString::from_bytes(&key.signing_key().sign(scheme, content)?)?;
    Ok(Parts { content: Any::from_der(content)?, algorithm, signature }.to_der()?)
}

/// What a list is to say.
#[derive(Clone, Debug)]
pub struct ListDraft {
    /// A greater number than the last, big-endian.
    pub number: Vec<u8>,
    /// When it is made.
    pub this_update: Time,
    /// Until when the next is made.
    pub next_update: Time,
    /// The serial numbers of what is revoked, with when and why.
    pub revoked: Vec<(Vec<u8>, Revoked)>,
}

/// Issues a list of what a CA has revoked.
///
/// # Errors
/// The draft or the issuer is not right.
pub fn issue_list(draft: &ListDraft, ca: &Certificate, key: &PrivateKey) -> Result<Crl, CannotIssue> {
    #[derive(Sequence)]
    struct Entry {
        serial: Uint,
        at: EncodedTime,
        #[asn1(optional = "true")]
        extensions: Option<Vec<Extension>>,
    }
    #[derive(Sequence)]
    struct TbsList {
        version: u8,
        signature: AlgorithmIdentifierOwned,
        issuer: Any,
        this_update: EncodedTime,
        next_update: EncodedTime,
        #[asn1(optional = "true")]
        revoked: Option<Vec<Entry>>,
        #[asn1(context_specific = "0")]
        extensions: Vec<Extension>,
    }
    check_ca(ca, key)?;
    let (scheme, algorithm) = usual_algorithm(key.kind())?;
    let entry = |(serial, revoked): &(Vec<u8>, Revoked)| -> der::Result<Entry> {
        let reason = extension(oid::CRL_REASON, Criticality::Ignorable, &revoked.reason)?;
        Ok(Entry { serial: Uint::new(serial)?, at: revoked.at.to_x509(), extensions: Some(vec![reason]) })
    };
    let entries = draft.revoked.iter().map(entry).collect::<der::Result<Vec<_>>>()?;
    let tbs = TbsList {
        version: 1,
        signature: algorithm.clone(),
        issuer: Any::from_der(ca.subject().to_der())?,
        this_update: draft.this_update.to_x509(),
        next_update: draft.next_update.to_x509(),
        // RFC 5280 §5.1.2.6: no list of entries at all where nothing is revoked.
        revoked: (!entries.is_empty()).then_some(entries),
        extensions: vec![
            authority_key(ca)?,
            extension(oid::CRL_NUMBER, Criticality::Ignorable, &Uint::new(&draft.number)?)?,
        ],
    };
    let der = sign(&tbs.to_der()?, scheme, algorithm, key)?;
    Crl::from_der(&der).map_err(|fault| CannotIssue::Encoding(fault.to_string()))
}
