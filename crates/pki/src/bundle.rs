//! Bundles of certificates and lists, as IKE fetches them (RFC 7296 §3.6).
//!
//! ```text
//!   CertBundle       ::= SEQUENCE OF CertificateOrCRL
//!   CertificateOrCRL ::= CHOICE { cert [0] Certificate, crl [1] CertificateList }
//! ```

use der::asn1::AnyRef;
use der::{Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};

use crate::{Malformed, limits};

/// Gives the certificates of a bundle, each in DER, in its order.
///
/// # Errors
/// The octets are too many or no bundle.
pub fn certificates(octets: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    const WHAT: &str = "bundle of certificates";
    Malformed::check_length(WHAT, octets, limits::MAX_CERTIFICATE_OCTETS)?;
    read(octets).map_err(Malformed::encoding(WHAT))
}

fn read(octets: &[u8]) -> der::Result<Vec<Vec<u8>>> {
    let outer = AnyRef::from_der(octets)?;
    outer.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(outer.value())?;
    let mut found = Vec::new();
    while !reader.is_finished() && found.len() < limits::MAX_INTERMEDIATES {
        let choice = AnyRef::decode(&mut reader)?;
        if let Tag::ContextSpecific { constructed: true, number: TagNumber(0) } = choice.tag() {
            found.push(AnyRef::from_der(choice.value())?.to_der()?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_passed_over_and_noise_is_refused() {
        let certificate = [0x30, 3, 2, 1, 7];
        let bundle =
            [&[0x30, 16, 0xa0, 5], certificate.as_slice(), &[0xa1, 7, 0x30, 5, 2, 1, 8, 5, 0]].concat();
        assert_eq!(certificates(&bundle).unwrap(), [certificate.to_vec()]);
        for octets in [[].as_slice(), &[0x30, 2, 0xa0], &[2, 1, 7]] {
            assert!(certificates(octets).is_err(), "{octets:?}");
        }
    }
}
