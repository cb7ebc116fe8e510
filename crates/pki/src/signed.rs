//! What certificates, requests, CRLs and OCSP responses have in common: signed octets.
//!
//! ```text
//!   SEQUENCE { content ANY, algorithm AlgorithmIdentifier, signature BIT STRING }
//! ```

use crypto::signature::{BadSignature, SignatureScheme};
use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use x509_cert::spki::AlgorithmIdentifierRef;

use crate::PublicKey;
use crate::algorithm::{UnknownScheme, scheme_of};

/// Signed octets, cut at their seams.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    /// What is signed, octet for octet as it came.
    pub(crate) content: Vec<u8>,
    /// The AlgorithmIdentifier as it came.
    pub(crate) algorithm: Vec<u8>,
    /// How it is signed.
    pub(crate) scheme: Result<SignatureScheme, UnknownScheme>,
    /// The signature.
    pub(crate) signature: Vec<u8>,
}

impl Signed {
    /// Cuts a whole encoding.
    pub(crate) fn from_der(octets: &[u8]) -> der::Result<Signed> {
        let outer = AnyRef::from_der(octets)?;
        outer.tag().assert_eq(Tag::Sequence)?;
        let mut reader = SliceReader::new(outer.value())?;
        let signed = Signed::from_reader(&mut reader)?;
        reader.finish()?;
        Ok(signed)
    }

    /// Reads the three parts.
    pub(crate) fn from_reader(reader: &mut SliceReader<'_>) -> der::Result<Signed> {
        let content = reader.tlv_bytes()?.to_vec();
        let algorithm = reader.tlv_bytes()?;
        let signature = BitStringRef::decode(reader)?;
        let signature = signature.as_bytes().ok_or_else(|| Tag::BitString.value_error())?.to_vec();
        let scheme = scheme_of(AlgorithmIdentifierRef::from_der(algorithm)?);
        Ok(Signed { content, algorithm: algorithm.to_vec(), scheme, signature })
    }

    /// Checks the signature; a scheme that we do not know cannot fit.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), BadSignature> {
        key.verify(self.scheme.map_err(|_| BadSignature)?, &self.content, &self.signature)
    }
}
