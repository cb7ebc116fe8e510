//! The payloads by which an end says who it is and proves it: Identification, Certificate,
//! Certificate Request and Authentication (RFC 7296 §3.5 to §3.8).
//!
//! All four are one number of a registry and octets whose form that number decides.

use alloc::vec::Vec;

use crate::Malformed;
use crate::reader::Reader;
use crate::registry::{AuthMethod, CertificateEncoding, IdType};

/// Who an end says it is.
///
/// ```text
/// |   ID Type     |                 RESERVED                      |
/// ~                   Identification Data                         ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identification {
    /// The form of `data`.
    pub id_type: IdType,
    /// The identity: an address's octets, a name's, a DER encoding, …
    pub data: Vec<u8>,
}

impl Identification {
    /// The payload's body, which the proof of the identity covers (RFC 7296 §2.15: "RestOfIDPayload").
    /// Its reserved octets are zero, as every sender must have them.
    pub fn to_body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.data.len());
        self.encode(&mut out);
        out
    }

    pub(super) fn decode(body: &[u8]) -> Result<Identification, Malformed> {
        let mut reader = Reader::new("ID payload", body);
        let id_type = IdType(reader.u8("ID Type")?);
        reader.array::<3>("RESERVED")?;
        Ok(Identification { id_type, data: reader.rest().to_vec() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.id_type.0, 0, 0, 0]);
        out.extend_from_slice(&self.data);
    }
}

/// A certificate, or something in its place.
///
/// ```text
/// | Cert Encoding |                Certificate Data               ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The form of `data`.
    pub encoding: CertificateEncoding,
    /// The certificate.
    pub data: Vec<u8>,
}

impl Certificate {
    pub(super) fn decode(body: &[u8]) -> Result<Certificate, Malformed> {
        let mut reader = Reader::new("CERT payload", body);
        let encoding = CertificateEncoding(reader.u8("Cert Encoding")?);
        Ok(Certificate { encoding, data: reader.rest().to_vec() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend_from_slice(&self.data);
    }
}

/// Which certificates the sender can make use of.
///
/// ```text
/// | Cert Encoding |             Certification Authority           ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The form in which a certificate is wanted.
    pub encoding: CertificateEncoding,
    /// Whom the sender trusts: of X.509, the SHA-1 hashes of the authorities' public keys one after
    /// the other, twenty octets each.
    pub authorities: Vec<u8>,
}

impl CertificateRequest {
    pub(super) fn decode(body: &[u8]) -> Result<CertificateRequest, Malformed> {
        let mut reader = Reader::new("CERTREQ payload", body);
        let encoding = CertificateEncoding(reader.u8("Cert Encoding")?);
        Ok(CertificateRequest { encoding, authorities: reader.rest().to_vec() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend_from_slice(&self.authorities);
    }
}

/// The proof of an identity.
///
/// ```text
/// | Auth Method   |                RESERVED                       |
/// ~                      Authentication Data                      ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// How it proves it.
    pub method: AuthMethod,
    /// The signature or message integrity code.
    pub data: Vec<u8>,
}

impl Authentication {
    pub(super) fn decode(body: &[u8]) -> Result<Authentication, Malformed> {
        let mut reader = Reader::new("AUTH payload", body);
        let method = AuthMethod(reader.u8("Auth Method")?);
        reader.array::<3>("RESERVED")?;
        Ok(Authentication { method, data: reader.rest().to_vec() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.method.0, 0, 0, 0]);
        out.extend_from_slice(&self.data);
    }
}
