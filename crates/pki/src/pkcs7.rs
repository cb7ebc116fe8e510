//! PKCS #7 bundles (RFC 5652 §5): certificates and CRLs in the shell of a signed message that nobody signed.
//!
//! ```text
//!   ContentInfo ─ SignedData ─ version, digest algorithms, content, certificates [0], CRLs [1], signers
//! ```

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};

use crate::{Certificate, Crl, Malformed, limits};

/// What a bundle holds.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// The certificates, in the bundle's order.
    pub certificates: Vec<Certificate>,
    /// The lists, in the bundle's order.
    pub crls: Vec<Crl>,
}

impl Bundle {
    /// Reads a bundle in DER, all of `octets`.
    ///
    /// # Errors
    /// The octets are no bundle, or something in it is malformed.
    pub fn from_der(octets: &[u8]) -> Result<Bundle, Malformed> {
        const WHAT: &str = "PKCS #7 bundle";
        Malformed::check_length(WHAT, octets, limits::MAX_FILE_OCTETS)?;
        let (certificates, crls) = read(octets).map_err(Malformed::encoding(WHAT))?;
        Ok(Bundle {
            certificates: certificates
                .iter()
                .map(|der| Certificate::from_der(der))
                .collect::<Result<_, _>>()?,
            crls: crls.iter().map(|der| Crl::from_der(der)).collect::<Result<_, _>>()?,
        })
    }
}

/// Encodings of certificates, and of lists.
type Encodings = (Vec<Vec<u8>>, Vec<Vec<u8>>);

fn read(octets: &[u8]) -> der::Result<Encodings> {
    let mut outer = SliceReader::new(AnyRef::from_der(octets)?.value())?;
    let kind = ObjectIdentifier::decode(&mut outer)?;
    if kind != SIGNED_DATA {
        return Err(Tag::ObjectIdentifier.value_error().into());
    }
    let content = AnyRef::decode(&mut outer)?;
    outer.finish()?;
    let signed_data = AnyRef::from_der(content.value())?;
    signed_data.tag().assert_eq(Tag::Sequence)?;
    let mut parts = SliceReader::new(signed_data.value())?;
    let (mut certificates, mut crls) = (Vec::new(), Vec::new());
    while !parts.is_finished() {
        let part = AnyRef::decode(&mut parts)?;
        match part.tag() {
            Tag::ContextSpecific { number: TagNumber(0), .. } => certificates = elements(part)?,
            Tag::ContextSpecific { number: TagNumber(1), .. } => crls = elements(part)?,
            // Version, algorithms, content and signers: nothing of the bundle's business.
            _ => {}
        }
    }
    Ok((certificates, crls))
}

/// The elements of a set, but for attribute certificates and what else has a tag of its own.
fn elements(set: AnyRef<'_>) -> der::Result<Vec<Vec<u8>>> {
    let mut reader = SliceReader::new(set.value())?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        let element = AnyRef::decode(&mut reader)?;
        if element.tag() == Tag::Sequence {
            elements.push(element.to_der()?);
        }
    }
    Ok(elements)
}

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
