//! The payloads by which an end says who it is and proves it: Identification, Certificate,
//! Certificate Request and Authentication (RFC 7296 §3.5 to §3.8).
//!
//! All four are one number of a registry and octets whose form that number decides.

use alloc::vec::Vec;

use crate::reader::Reader;
use crate::registry::{AuthMethod, CertificateEncoding, IdType};
use crate::writer::length_u8;
use crate::{Malformed, TooLong};

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
    /// A digital signature: the AlgorithmIdentifier in DER of how it was made, and the signature (RFC 7427 §3).
    ///
    /// ```text
    /// | ASN.1 Length  | AlgorithmIdentifier ASN.1 object ~ Signature Value ~
    /// ```
    ///
    /// # Errors
    /// The AlgorithmIdentifier is longer than its field can say.
    pub fn digital_signature(algorithm: &[u8], signature: &[u8]) -> Result<Authentication, TooLong> {
        let length = length_u8("AlgorithmIdentifier of an AUTH payload", algorithm.len())?;
        let data = [&[length], algorithm, signature].concat();
        Ok(Authentication { method: AuthMethod::DIGITAL_SIGNATURE, data })
    }

    /// The AlgorithmIdentifier and the signature of a digital signature (RFC 7427 §3).
    ///
    /// # Errors
    /// The AlgorithmIdentifier is cut off.
    pub fn signature_parts(&self) -> Result<(&[u8], &[u8]), Malformed> {
        let mut reader = Reader::new("AUTH payload", &self.data);
        let length = reader.u8("ASN.1 Length")?;
        let algorithm = reader.take("AlgorithmIdentifier", length.into())?;
        Ok((algorithm, reader.rest()))
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_digital_signature_comes_apart_as_it_was_put_together() {
        let made = Authentication::digital_signature(&[0x30, 1, 2], &[7; 64]).unwrap();
        assert_eq!(made.data[..4], [3, 0x30, 1, 2]);
        assert_eq!(made.signature_parts(), Ok(([0x30, 1, 2].as_slice(), [7; 64].as_slice())));
        assert!(Authentication::digital_signature(&[0; 256], &[]).is_err());
    }

    #[test]
    fn a_cut_off_algorithm_is_malformed() {
        for data in [vec![], vec![1], vec![5, 1, 2, 3, 4]] {
            let cut = Authentication { method: AuthMethod::DIGITAL_SIGNATURE, data };
            assert!(cut.signature_parts().is_err(), "{cut:?}");
        }
    }
}
