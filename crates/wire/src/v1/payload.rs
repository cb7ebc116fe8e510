//! The chain of payloads (RFC 2408 §3.2), and the payloads whose body is little more than octets.
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |   RESERVED    |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use super::security_association;
use super::{Attributes, Delete, Identification, Notification, OriginalAddress, Proposal};
use crate::limits::{NONCE_BODY_LENGTH_V1, PAYLOADS_PER_MESSAGE};
use crate::reader::Reader;
use crate::registry::{CertificateEncoding, PayloadType};
use crate::writer::with_length;
use crate::{Fault, Malformed, TooLong};

/// Octets of the generic payload header.
const GENERIC_HEADER_LEN: usize = 4;
/// Octets of which messages in the clear may consist in whole multiples.
const WORD: usize = 4;

/// One payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// SA (RFC 2408 §3.4).
    SecurityAssociation(Vec<Proposal>),
    /// KE: a public value; the group is the SA's (RFC 2408 §3.7).
    KeyExchange(Vec<u8>),
    /// ID (RFC 2407 §4.6.2).
    Identification(Identification),
    /// CERT (RFC 2408 §3.9).
    Certificate(Certificate),
    /// CR: the authority whose certificates are wanted, in DER, or any (RFC 2408 §3.10).
    CertificateRequest(Certificate),
    /// HASH (RFC 2408 §3.11).
    Hash(Vec<u8>),
    /// SIG (RFC 2408 §3.12).
    Signature(Vec<u8>),
    /// NONCE (RFC 2408 §3.13).
    Nonce(Vec<u8>),
    /// N (RFC 2408 §3.14).
    Notification(Notification),
    /// D (RFC 2408 §3.15).
    Delete(Delete),
    /// VID: a mark by which implementations know each other (RFC 2408 §3.16).
    VendorId(Vec<u8>),
    /// ATTR: Mode Config and XAuth (draft-dukes-ike-mode-cfg §3.2).
    Attributes(Attributes),
    /// NAT-D: the hash of an address and port (RFC 3947 §3.2).
    NatDiscovery(Draft, Vec<u8>),
    /// NAT-OA: an address before its translation (RFC 3947 §5.2).
    NatOriginalAddress(Draft, OriginalAddress),
    /// A payload whose body is encrypted by itself, under a header in the clear (RFC 2409 §5.2, §5.3). From its octets
    /// nobody can tell: whoever knows of it says so, with [`Payload::sealed`].
    Sealed(Sealed),
    /// A payload of a type that this crate does not read.
    Unknown(Unknown),
}

/// Whether a payload of NAT traversal has the number of RFC 3947 or that of its drafts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draft {
    /// The RFC's.
    No,
    /// The drafts', from the range for private use.
    Yes,
}

/// The body of a CERT or CR payload.
///
/// ```text
/// | Cert Encoding |       Certificate or Authority Data           ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The form of `data`.
    pub encoding: CertificateEncoding,
    /// The certificate, or the name of an authority.
    pub data: Vec<u8>,
}

/// A payload whose body is encrypted by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its type.
    pub payload_type: PayloadType,
    /// The ciphertext.
    pub body: Vec<u8>,
}

/// A payload whose type this crate does not read, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its type.
    pub payload_type: PayloadType,
    /// What follows the generic payload header.
    pub body: Vec<u8>,
}

/// The payloads of a message, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Each with the octets that it was read from.
    pub payloads: Vec<Received<'a>>,
}

/// A payload with the octets that it was read from, which IKEv1 hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// What they mean.
    pub payload: Payload,
    /// Its body, without the generic payload header.
    pub body: &'a [u8],
    /// All payloads that follow it, with their headers and without padding.
    pub following: &'a [u8],
}

/// Whether octets may follow the last payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// Up to the next multiple of four: Libreswan fills what it does not encrypt, too.
    ToWord,
    Any,
}

/// Reads a whole chain that begins with a payload of type `first`, from plaintext that may end in padding.
///
/// # Errors
/// When a length contradicts the octets, a reserved octet is not zero, or a payload cannot be read. With IKEv1 that may
/// also mean that the plaintext was decrypted with a wrong key.
pub fn decode_payloads(first: PayloadType, plaintext: &[u8]) -> Result<Chain<'_>, Malformed> {
    decode_chain(first, plaintext, Padding::Any)
}

/// Lays out `payloads` one after the other; gives the type of the first, which the header in front of them has to
/// announce, and their octets.
///
/// # Errors
/// When something is longer, or there are more of it, than its field can express.
pub fn encode_payloads(payloads: &[Payload]) -> Result<(PayloadType, Vec<u8>), TooLong> {
    let mut out = Vec::new();
    let following = payloads.iter().skip(1).map(Payload::payload_type).chain([PayloadType::NONE]);
    for (payload, next) in payloads.iter().zip(following) {
        let start = out.len();
        out.extend_from_slice(&[next.0, 0, 0, 0]);
        with_length(&mut out, payload.structure(), start, 2, |out| payload.encode_body(out))?;
    }
    Ok((payloads.first().map_or(PayloadType::NONE, Payload::payload_type), out))
}

pub(super) fn decode_chain(
    first: PayloadType,
    bytes: &[u8],
    padding: Padding,
) -> Result<Chain<'_>, Malformed> {
    let mut reader = Reader::new("Payload chain", bytes);
    let mut found = Vec::new();
    let mut payload_type = first;
    while payload_type != PayloadType::NONE {
        if found.len() == PAYLOADS_PER_MESSAGE {
            return Err(reader.malformed("payloads", Fault::TooMany { limit: PAYLOADS_PER_MESSAGE }));
        }
        let next = PayloadType(reader.u8("Next Payload")?);
        let reserved = reader.u8("RESERVED")?;
        if reserved != 0 {
            return Err(reader.forbidden("RESERVED", reserved.into(), "0"));
        }
        let length = reader.u16("Payload Length")?;
        let body = reader.substructure("Payload", length, GENERIC_HEADER_LEN)?.rest();
        let end = bytes.len() - reader.remaining();
        found.push((Payload::decode(payload_type, body)?, body, end));
        payload_type = next;
    }
    let whole = bytes.len() - reader.remaining();
    if padding == Padding::ToWord {
        let padding = reader.remaining().min(whole.next_multiple_of(WORD) - whole);
        reader.take("padding", padding)?;
        reader.finish("the last payload")?;
    }
    let received = |(payload, body, end)| Received { payload, body, following: &bytes[end..whole] };
    Ok(Chain { payloads: found.into_iter().map(received).collect() })
}

impl Payload {
    /// The type that announces this payload.
    pub fn payload_type(&self) -> PayloadType {
        match self {
            Payload::SecurityAssociation(_) => PayloadType::V1_SECURITY_ASSOCIATION,
            Payload::KeyExchange(_) => PayloadType::V1_KEY_EXCHANGE,
            Payload::Identification(_) => PayloadType::V1_IDENTIFICATION,
            Payload::Certificate(_) => PayloadType::V1_CERTIFICATE,
            Payload::CertificateRequest(_) => PayloadType::V1_CERTIFICATE_REQUEST,
            Payload::Hash(_) => PayloadType::V1_HASH,
            Payload::Signature(_) => PayloadType::V1_SIGNATURE,
            Payload::Nonce(_) => PayloadType::V1_NONCE,
            Payload::Notification(_) => PayloadType::V1_NOTIFICATION,
            Payload::Delete(_) => PayloadType::V1_DELETE,
            Payload::VendorId(_) => PayloadType::V1_VENDOR_ID,
            Payload::Attributes(_) => PayloadType::V1_ATTRIBUTES,
            Payload::NatDiscovery(Draft::No, _) => PayloadType::V1_NAT_DISCOVERY,
            Payload::NatDiscovery(Draft::Yes, _) => PayloadType::V1_NAT_DISCOVERY_DRAFT,
            Payload::NatOriginalAddress(Draft::No, _) => PayloadType::V1_NAT_ORIGINAL_ADDRESS,
            Payload::NatOriginalAddress(Draft::Yes, _) => PayloadType::V1_NAT_ORIGINAL_ADDRESS_DRAFT,
            Payload::Sealed(sealed) => sealed.payload_type,
            Payload::Unknown(unknown) => unknown.payload_type,
        }
    }

    /// Makes a payload of this type, whose body is encrypted by itself.
    pub fn sealed(payload_type: PayloadType, body: Vec<u8>) -> Payload {
        Payload::Sealed(Sealed { payload_type, body })
    }

    fn decode(payload_type: PayloadType, body: &[u8]) -> Result<Payload, Malformed> {
        Ok(match payload_type {
            PayloadType::V1_SECURITY_ASSOCIATION => {
                Payload::SecurityAssociation(security_association::decode(body)?)
            }
            PayloadType::V1_KEY_EXCHANGE => Payload::KeyExchange(body.to_vec()),
            PayloadType::V1_IDENTIFICATION => Payload::Identification(Identification::decode(body)?),
            PayloadType::V1_CERTIFICATE => Payload::Certificate(Certificate::decode("CERT payload", body)?),
            PayloadType::V1_CERTIFICATE_REQUEST => {
                Payload::CertificateRequest(Certificate::decode("CR payload", body)?)
            }
            PayloadType::V1_HASH => Payload::Hash(body.to_vec()),
            PayloadType::V1_SIGNATURE => Payload::Signature(body.to_vec()),
            PayloadType::V1_NONCE => Payload::Nonce(decode_nonce(body)?),
            PayloadType::V1_NOTIFICATION => Payload::Notification(Notification::decode(body)?),
            PayloadType::V1_DELETE => Payload::Delete(Delete::decode(body)?),
            PayloadType::V1_VENDOR_ID => Payload::VendorId(body.to_vec()),
            PayloadType::V1_ATTRIBUTES => Payload::Attributes(Attributes::decode(body)?),
            PayloadType::V1_NAT_DISCOVERY => Payload::NatDiscovery(Draft::No, body.to_vec()),
            PayloadType::V1_NAT_DISCOVERY_DRAFT => Payload::NatDiscovery(Draft::Yes, body.to_vec()),
            PayloadType::V1_NAT_ORIGINAL_ADDRESS => {
                Payload::NatOriginalAddress(Draft::No, OriginalAddress::decode(body)?)
            }
            PayloadType::V1_NAT_ORIGINAL_ADDRESS_DRAFT => {
                Payload::NatOriginalAddress(Draft::Yes, OriginalAddress::decode(body)?)
            }
            payload_type => Payload::Unknown(Unknown { payload_type, body: body.to_vec() }),
        })
    }

    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match self {
            Payload::SecurityAssociation(proposals) => security_association::encode(proposals, out)?,
            Payload::Identification(identification) => identification.encode(out),
            Payload::Certificate(certificate) | Payload::CertificateRequest(certificate) => {
                certificate.encode(out)
            }
            Payload::Notification(notification) => notification.encode(out)?,
            Payload::Delete(delete) => delete.encode(out)?,
            Payload::Attributes(attributes) => attributes.encode(out)?,
            Payload::NatOriginalAddress(_, address) => address.encode(out),
            Payload::KeyExchange(octets)
            | Payload::Hash(octets)
            | Payload::Signature(octets)
            | Payload::Nonce(octets)
            | Payload::VendorId(octets)
            | Payload::NatDiscovery(_, octets)
            | Payload::Sealed(Sealed { body: octets, .. })
            | Payload::Unknown(Unknown { body: octets, .. }) => out.extend_from_slice(octets),
        }
        Ok(())
    }

    /// The name under which errors speak of the payload.
    fn structure(&self) -> &'static str {
        self.payload_type().name().unwrap_or("unknown payload")
    }
}

impl Certificate {
    fn decode(structure: &'static str, body: &[u8]) -> Result<Certificate, Malformed> {
        let mut reader = Reader::new(structure, body);
        let encoding = CertificateEncoding(reader.u8("Cert Encoding")?);
        Ok(Certificate { encoding, data: reader.rest().to_vec() })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend_from_slice(&self.data);
    }
}

fn decode_nonce(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    if !NONCE_BODY_LENGTH_V1.contains(&body.len()) {
        let length = body.len() as u64;
        return Err(Malformed::forbidden("Nonce payload", "Nonce Data length", length, "8 to 2048"));
    }
    Ok(body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;

    fn refusal(first: PayloadType, bytes: &[u8]) -> String {
        decode_payloads(first, bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_payload_keeps_the_octets_that_are_hashed() {
        // A hash, a nonce and a vendor id, then padding.
        let bytes = hex::decode("0a000006aabb0d00000c010203040506070800000005cc000000").unwrap();
        let chain = decode_payloads(PayloadType::V1_HASH, &bytes).unwrap();
        let [hash, nonce, vendor] = chain.payloads.as_slice() else { panic!("three") };
        assert_eq!((hash.body, hash.following), (&bytes[4..6], &bytes[6..23]));
        assert_eq!((nonce.body, nonce.following), (&bytes[10..18], &bytes[18..23]));
        assert_eq!((vendor.body, vendor.following), (&[0xcc][..], &[][..]));
    }

    #[test]
    fn a_reserved_octet_tells_of_a_wrong_key() {
        assert_eq!(
            refusal(PayloadType::V1_HASH, &[0, 1, 0, 4]),
            "Payload chain: RESERVED is 1, but must be 0"
        );
        assert_eq!(
            refusal(PayloadType::V1_HASH, &[0, 0, 0, 9, 1]),
            "Payload: Length says 9 octets where there are 5"
        );
    }

    #[test]
    fn a_nonce_has_at_least_8_octets_and_at_most_those_of_a_long_key() {
        let nonce = |length: u16| {
            let mut bytes = vec![0; usize::from(length) + GENERIC_HEADER_LEN];
            bytes[2..4].copy_from_slice(&(length + 4).to_be_bytes());
            decode_payloads(PayloadType::V1_NONCE, &bytes).map(|_| ()).map_err(|fault| fault.to_string())
        };
        assert_eq!((nonce(8), nonce(2048)), (Ok(()), Ok(())));
        assert!(nonce(7).is_err());
        assert_eq!(
            nonce(2049),
            Err("Nonce payload: Nonce Data length is 2049, but must be 8 to 2048".to_string())
        );
    }

    #[test]
    fn a_sealed_payload_is_its_header_and_the_ciphertext() {
        let sealed = Payload::sealed(PayloadType::V1_IDENTIFICATION, vec![1, 2, 3, 4, 5]);
        let (first, octets) = encode_payloads(&[sealed, Payload::Hash(vec![6])]).unwrap();
        assert_eq!(first, PayloadType::V1_IDENTIFICATION);
        assert_eq!(octets, [8, 0, 0, 9, 1, 2, 3, 4, 5, 0, 0, 0, 5, 6]);
    }

    #[test]
    fn a_chain_has_a_limit() {
        let vendor_id = PayloadType::V1_VENDOR_ID.0;
        let mut bytes = [vendor_id, 0, 0, 4].repeat(PAYLOADS_PER_MESSAGE);
        let at_last = bytes.len() - GENERIC_HEADER_LEN;
        bytes[at_last] = 0;
        let count = decode_payloads(PayloadType::V1_VENDOR_ID, &bytes).unwrap().payloads.len();
        assert_eq!(count, PAYLOADS_PER_MESSAGE);
        bytes[at_last] = vendor_id;
        bytes.extend_from_slice(&[0, 0, 0, 4]);
        assert_eq!(refusal(PayloadType::V1_VENDOR_ID, &bytes), "Payload chain: more than 256 of payloads");
    }
}
