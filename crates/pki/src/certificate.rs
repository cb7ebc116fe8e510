//! A certificate (RFC 5280 §4.1), read once.
//!
//! ```text
//!   Certificate    ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
//!   TBSCertificate ::= SEQUENCE { version [0], serialNumber, signature, issuer, validity, subject,
//!                                 subjectPublicKeyInfo, issuerUniqueID [1], subjectUniqueID [2], extensions [3] }
//! ```
//!
//! Reading refuses what is no certificate. Whether one is good for anything is for [`crate::validate`] to say: a
//! certificate with an unknown critical extension, an unknown key or a weak signature can be read, shown and sent on.

use std::fmt;
use std::sync::Arc;

use crypto::signature::{BadSignature, SignatureScheme};
use der::asn1::{AnyRef, BitStringRef, Int, ObjectIdentifier};
use der::{Decode, Encode, Sequence};
use sa::DistinguishedName;
use thiserror::Error;
use x509_cert::certificate::{Raw, Version};
use x509_cert::ext::Extension;
use x509_cert::time::Validity;

use crate::algorithm::UnknownScheme;
use crate::extensions::{Extensions, GeneralName, read_any_name};
use crate::public_key::{InvalidPublicKey, PublicKey};
use crate::signed::Signed;
use crate::{Time, limits};

/// A certificate. Clones share what they hold.
#[derive(Clone)]
pub struct Certificate(Arc<Parts>);

struct Parts {
    der: Vec<u8>,
    signed: Signed,
    serial: Vec<u8>,
    issuer: DistinguishedName,
    subject: DistinguishedName,
    not_before: Time,
    not_after: Time,
    /// The SubjectPublicKeyInfo as it came.
    key_info: Vec<u8>,
    key: Result<PublicKey, InvalidPublicKey>,
    extensions: Extensions,
}

/// Why octets are no certificate, request, CRL or response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// They are not encoded as they must be.
    #[error("this is no {what} in DER: {reason}")]
    Encoding {
        /// What they should be.
        what: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// They are more than we look at.
    #[error("{octets} octets are too many for one {what}: {limit} are the most")]
    TooLong {
        /// What they should be.
        what: &'static str,
        /// How many there are.
        octets: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl Malformed {
    pub(crate) fn encoding(what: &'static str) -> impl Fn(der::Error) -> Malformed {
        move |fault| Malformed::Encoding { what, reason: fault.to_string() }
    }

    pub(crate) fn check_length(what: &'static str, octets: &[u8], limit: usize) -> Result<(), Malformed> {
        let octets = octets.len();
        if octets <= limit { Ok(()) } else { Err(Malformed::TooLong { what, octets, limit }) }
    }
}

#[derive(Sequence)]
struct EncodedTbs<'a> {
    #[asn1(context_specific = "0", default = "Default::default")]
    version: Version,
    serial: Int,
    signature: AnyRef<'a>,
    issuer: AnyRef<'a>,
    validity: Validity<Raw>,
    subject: AnyRef<'a>,
    key: AnyRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    issuer_unique_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    subject_unique_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "3", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

impl Certificate {
    /// Reads a certificate in DER, all of `octets`.
    ///
    /// # Errors
    /// The octets are too many or no certificate.
    pub fn from_der(octets: &[u8]) -> Result<Certificate, Malformed> {
        Malformed::check_length("certificate", octets, limits::MAX_CERTIFICATE_OCTETS)?;
        read(octets).map(|parts| Certificate(Arc::new(parts))).map_err(Malformed::encoding("certificate"))
    }

    /// Gives the certificate in DER.
    pub fn to_der(&self) -> &[u8] {
        &self.0.der
    }

    /// Gives the name of the subject, which may be empty.
    pub fn subject(&self) -> &DistinguishedName {
        &self.0.subject
    }

    /// Gives the name of the issuer.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.0.issuer
    }

    /// Gives the content of the serial number's INTEGER, big-endian.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// Gives the first moment at which the certificate is valid.
    pub fn not_before(&self) -> Time {
        self.0.not_before
    }

    /// Gives the last moment at which the certificate is valid.
    pub fn not_after(&self) -> Time {
        self.0.not_after
    }

    /// Gives the subject's key.
    ///
    /// # Errors
    /// It is of an algorithm that we do not know, or no valid key.
    pub fn key(&self) -> Result<&PublicKey, InvalidPublicKey> {
        self.0.key.as_ref().map_err(|fault| *fault)
    }

    /// Gives the SubjectPublicKeyInfo as it came, of whose SHA-1 digest IKE's CERTREQ payloads consist (RFC 7296 §3.7).
    pub fn key_info(&self) -> &[u8] {
        &self.0.key_info
    }

    /// Gives the subject's other names.
    pub fn subject_names(&self) -> &[GeneralName] {
        &self.0.extensions.subject_names
    }

    /// Gives the identifier of the subject's key, if the certificate has one.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.subject_key_id.as_deref()
    }

    /// Gives the identifier of the issuer's key, if the certificate has one.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.authority.key_id.as_deref()
    }

    /// Gives how the certificate is signed.
    ///
    /// # Errors
    /// In a way that we do not know.
    pub fn signature_scheme(&self) -> Result<SignatureScheme, UnknownScheme> {
        self.0.signed.scheme
    }

    /// Tells whether the certificate says that its subject is a CA (RFC 5280 §4.2.1.9).
    pub fn is_ca(&self) -> bool {
        self.0.extensions.basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    /// Tells whether subject and issuer have the same name (RFC 5280 §6.1: self-issued).
    pub fn is_self_issued(&self) -> bool {
        self.subject() == self.issuer()
    }

    /// Gives where the issuer's CRLs can be fetched, in the certificate's order.
    pub fn crl_uris(&self) -> impl Iterator<Item = &str> {
        self.0.extensions.distribution_points.iter().flat_map(|point| point.uris())
    }

    /// Gives where the issuer's delta CRLs can be fetched.
    pub fn delta_crl_uris(&self) -> impl Iterator<Item = &str> {
        self.0.extensions.freshest.iter().flat_map(|point| point.uris())
    }

    /// Gives where an OCSP responder can be asked.
    pub fn ocsp_uris(&self) -> impl Iterator<Item = &str> {
        self.0.extensions.ocsp_uris.iter().map(String::as_str)
    }

    /// Gives where the issuer's certificate can be fetched.
    pub fn issuer_uris(&self) -> impl Iterator<Item = &str> {
        self.0.extensions.issuer_uris.iter().map(String::as_str)
    }

    /// Gives the names of what the key may be used for; `None` if the certificate does not say.
    pub fn key_usages(&self) -> Option<Vec<&'static str>> {
        self.0.extensions.key_usage.map(|usage| usage.names().collect())
    }

    /// Gives the purposes that the certificate is for; `None` if it does not say.
    pub fn purposes(&self) -> Option<&[ObjectIdentifier]> {
        self.0.extensions.purposes.as_deref()
    }

    /// Gives how many CAs may stand between this CA and an end, if the certificate says.
    pub fn path_len(&self) -> Option<u32> {
        self.0.extensions.basic_constraints.and_then(|constraints| constraints.path_len)
    }

    /// Gives the policies that the certificate was issued under.
    pub fn policies(&self) -> &[ObjectIdentifier] {
        self.0.extensions.policies.as_deref().unwrap_or_default()
    }

    /// Checks that the certificate was signed with a key, and nothing more.
    ///
    /// # Errors
    /// It was not.
    pub fn verify_signature(&self, key: &PublicKey) -> Result<(), BadSignature> {
        self.0.signed.verify(key)
    }

    pub(crate) fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }
}

fn read(octets: &[u8]) -> der::Result<Parts> {
    let signed = Signed::from_der(octets)?;
    let content = signed.content.clone();
    let tbs = EncodedTbs::from_der(&content)?;
    // RFC 5280 §4.1.1.2: both places name the same algorithm.
    if tbs.signature.to_der()? != signed.algorithm {
        return Err(der::Tag::Sequence.value_error().into());
    }
    let extensions = match (tbs.version, tbs.extensions) {
        (_, None) => Extensions::default(),
        (Version::V3, Some(extensions)) => Extensions::read(&extensions)?,
        (Version::V1 | Version::V2, Some(_)) => return Err(der::Tag::Integer.value_error().into()),
    };
    let key_info = tbs.key.to_der()?;
    let key = PublicKey::from_der(&key_info);
    if key.as_ref().is_err_and(|fault| *fault == InvalidPublicKey::Malformed) {
        return Err(der::Tag::BitString.value_error().into());
    }
    Ok(Parts {
        der: octets.to_vec(),
        signed,
        serial: tbs.serial.as_bytes().to_vec(),
        issuer: read_any_name(tbs.issuer)?,
        subject: read_any_name(tbs.subject)?,
        not_before: tbs.validity.not_before.into(),
        not_after: tbs.validity.not_after.into(),
        key_info,
        key,
        extensions,
    })
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Certificate) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({self})")
    }
}

impl fmt::Display for Certificate {
    /// Prints by which name people know the certificate: its subject, or else its first other name, or its number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.subject().is_empty(), self.subject_names().first()) {
            (false, _) => write!(f, "{}", self.subject()),
            (true, Some(name)) => write!(f, "{name}"),
            (true, None) => {
                f.write_str("with the serial number ")?;
                self.serial().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}
