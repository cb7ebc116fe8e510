//! One whole IKEv2 message as a datagram carries it: in, and out.
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  \
//! ~          IKE header, then any payloads in the clear           ~   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   | associated
//! | Next Payload  |C|  RESERVED   |         Payload Length        |   | data
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   |
//! |        Fragment Number        |        Total Fragments        |   | (SKF alone)
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  /
//! |                     Initialization Vector                     |  \
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   |
//! ~                    Encrypted IKE Payloads                     ~   | body
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   |
//! ~                    Integrity Checksum Data                    ~   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  /
//! ```
//!
//! The Encrypted payload (SK, RFC 7296 §3.14) and its fragment (SKF, RFC 7383 §2.5) have no
//! plaintext here: this file finds them, and lays out what goes in front of them. The parts of the
//! body are the cipher's business.

use alloc::vec::Vec;

use super::Payload;
use super::payload::{GENERIC_HEADER_LEN, RawPayload, decode_chain, encode_payloads};
use crate::isakmp::{Flags, Header, IkeSpi, Version};
use crate::reader::Reader;
use crate::registry::{ExchangeType, PayloadType};
use crate::writer::length_u16;
use crate::{Fault, Malformed, TooLong};

/// Octets in the Fragment Number and Total Fragments fields.
const FRAGMENT_FIELDS_LEN: usize = 4;

/// An IKEv2 message as it came, its payloads in the clear read and its encrypted one found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The header.
    pub header: Header,
    /// The whole message.
    pub bytes: &'a [u8],
    /// The payloads in the clear, in order: all of an IKE_SA_INIT, most often none of the others.
    pub payloads: Vec<Payload>,
    /// The Encrypted payload, which is the last where there is one.
    pub encrypted: Option<Encrypted<'a>>,
}

/// Where an Encrypted payload, or a fragment of one, is (RFC 7296 §3.14, RFC 7383 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encrypted<'a> {
    /// The type of the first payload inside. Of fragments, the first alone names it.
    pub first_payload: PayloadType,
    /// The message from its first octet up to `body`: what an AEAD authenticates without encrypting
    /// (RFC 5282 §5.1, RFC 7383 §2.5.1).
    pub associated: &'a [u8],
    /// Initialization vector, ciphertext and integrity checksum, to the end of the message.
    pub body: &'a [u8],
    /// Which fragment this is, or `None` of a message that is whole.
    pub fragment: Option<FragmentNumber>,
}

/// Which of how many fragments: `1 <= number <= total` (RFC 7383 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentNumber {
    /// Counts from one.
    pub number: u16,
    /// How many fragments the message was cut into.
    pub total: u16,
}

/// What the sender of a message decides about its header; the rest follows from the payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderFields {
    /// See [`Header::initiator_spi`].
    pub initiator_spi: IkeSpi,
    /// See [`Header::responder_spi`].
    pub responder_spi: IkeSpi,
    /// See [`Header::exchange_type`].
    pub exchange_type: ExchangeType,
    /// See [`Header::flags`].
    pub flags: Flags,
    /// See [`Header::message_id`].
    pub message_id: u32,
}

/// Reads a message that fills `bytes` exactly (in UDP on port 4500, after the marker).
///
/// # Errors
/// When the message is not of major version 2, its length is not that of `bytes`, a payload in the
/// clear cannot be read, or a fragment's numbers contradict each other.
pub fn decode(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
    let header = Header::decode(bytes)?;
    if header.version.major != Version::V2.major {
        let major = header.version.major.into();
        return Err(Malformed::forbidden("IKE header", "Major Version", major, "2"));
    }
    if usize::try_from(header.length) != Ok(bytes.len()) {
        let stated = usize::try_from(header.length).unwrap_or(usize::MAX);
        let fault = Fault::WrongLength { stated, actual: bytes.len() };
        return Err(Malformed::new("IKE header", "Length", fault));
    }
    let (payloads, raw) = decode_chain(header.next_payload, &bytes[Header::LEN..])?;
    let encrypted = raw.map(|raw| Encrypted::locate(bytes, &raw)).transpose()?;
    Ok(Datagram { header, bytes, payloads, encrypted })
}

/// Lays out a whole message that is not encrypted.
///
/// # Errors
/// When a payload does not fit its length field.
pub fn encode_clear(fields: &HeaderFields, payloads: &[Payload]) -> Result<Vec<u8>, TooLong> {
    let (first, body) = encode_payloads(payloads)?;
    let mut out = Vec::with_capacity(Header::LEN + body.len());
    fields.header(first, Header::LEN + body.len())?.encode(&mut out);
    out.extend_from_slice(&body);
    Ok(out)
}

/// Lays out all that goes in front of an Encrypted payload's body of `body_len` octets
/// (initialization vector, ciphertext with padding, integrity checksum): the IKE header, the generic
/// payload header and, of a fragment, its numbers, every length as it will be once the body is
/// appended. Exactly this is the associated data.
///
/// `first_payload` is the type of the first payload inside; of fragments but the first it must be
/// [`PayloadType::NONE`] (RFC 7383 §2.5).
///
/// # Errors
/// When the body does not fit the payload's length field.
pub fn encrypted_prefix(
    fields: &HeaderFields,
    first_payload: PayloadType,
    fragment: Option<FragmentNumber>,
    body_len: usize,
) -> Result<Vec<u8>, TooLong> {
    let (payload_type, fixed_len) = match fragment {
        None => (PayloadType::ENCRYPTED, GENERIC_HEADER_LEN),
        Some(_) => (PayloadType::ENCRYPTED_FRAGMENT, GENERIC_HEADER_LEN + FRAGMENT_FIELDS_LEN),
    };
    let payload_length = length_u16("Encrypted payload", fixed_len.saturating_add(body_len))?;
    let message_len = Header::LEN + fixed_len + body_len;
    let mut out = Vec::with_capacity(message_len);
    fields.header(payload_type, message_len)?.encode(&mut out);
    out.extend_from_slice(&[first_payload.0, 0]);
    out.extend_from_slice(&payload_length.to_be_bytes());
    if let Some(FragmentNumber { number, total }) = fragment {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&total.to_be_bytes());
    }
    Ok(out)
}

impl HeaderFields {
    fn header(&self, next_payload: PayloadType, length: usize) -> Result<Header, TooLong> {
        let HeaderFields { initiator_spi, responder_spi, exchange_type, flags, message_id } = *self;
        let limit = u32::MAX as usize;
        let length =
            u32::try_from(length).map_err(|_| TooLong { structure: "IKE message", length, limit })?;
        let version = Version::V2;
        Ok(Header {
            initiator_spi,
            responder_spi,
            next_payload,
            version,
            exchange_type,
            flags,
            message_id,
            length,
        })
    }
}

impl From<&Header> for HeaderFields {
    fn from(header: &Header) -> HeaderFields {
        HeaderFields {
            initiator_spi: header.initiator_spi,
            responder_spi: header.responder_spi,
            exchange_type: header.exchange_type,
            flags: header.flags,
            message_id: header.message_id,
        }
    }
}

impl<'a> Encrypted<'a> {
    /// Finds the parts of `raw`, which ends where `message` does.
    fn locate(message: &'a [u8], raw: &RawPayload<'a>) -> Result<Encrypted<'a>, Malformed> {
        let mut reader = Reader::new("SKF payload", raw.body);
        let fragment = match raw.payload_type {
            PayloadType::ENCRYPTED_FRAGMENT => Some(FragmentNumber::decode(raw.next, &mut reader)?),
            _ => None,
        };
        let (associated, body) = message.split_at(message.len() - reader.remaining());
        Ok(Encrypted { first_payload: raw.next, associated, body, fragment })
    }
}

impl FragmentNumber {
    /// Reads the numbers and checks them against each other and against the Next Payload field
    /// (RFC 7383 §2.5 and §2.6).
    fn decode(next: PayloadType, reader: &mut Reader<'_>) -> Result<FragmentNumber, Malformed> {
        let number = reader.u16("Fragment Number")?;
        let total = reader.u16("Total Fragments")?;
        if number == 0 {
            return Err(reader.forbidden("Fragment Number", 0, "at least 1"));
        }
        if total < number {
            return Err(reader.forbidden("Total Fragments", total.into(), "at least the Fragment Number"));
        }
        if number > 1 && next != PayloadType::NONE {
            return Err(reader.forbidden("Next Payload", next.0.into(), "0 after the first fragment"));
        }
        Ok(FragmentNumber { number, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;

    const FIELDS: HeaderFields = HeaderFields {
        initiator_spi: IkeSpi(1),
        responder_spi: IkeSpi(2),
        exchange_type: ExchangeType::INFORMATIONAL,
        flags: Flags::INITIATOR,
        message_id: 7,
    };

    fn encrypted(first_payload: PayloadType, fragment: Option<FragmentNumber>) -> Vec<u8> {
        let mut message = encrypted_prefix(&FIELDS, first_payload, fragment, 3).unwrap();
        message.extend_from_slice(&[0xaa, 0xbb, 0xcc]);
        message
    }

    fn refusal(message: &[u8]) -> String {
        decode(message).unwrap_err().to_string()
    }

    #[test]
    fn an_encrypted_message_by_hand() {
        let expected = concat!(
            "0000000000000001 0000000000000002", // the SPIs
            "2e 20 25 08 00000007 00000023",     // SK, 2.0, INFORMATIONAL, initiator; 7; 35 octets
            "2a 00 0007 aabbcc",                 // the first payload inside is D; 7 octets
        );
        assert_eq!(hex::encode(encrypted(PayloadType::DELETE, None)), expected.replace(' ', ""));
    }

    #[test]
    fn a_fragment_by_hand() {
        let message = encrypted(PayloadType::NONE, Some(FragmentNumber { number: 2, total: 3 }));
        assert_eq!(hex::encode(&message[Header::LEN..]), "0000000b00020003aabbcc");
        let found = decode(&message).unwrap().encrypted.unwrap();
        assert_eq!(found.associated, &message[..36]);
        assert_eq!(found.body, [0xaa, 0xbb, 0xcc]);
    }

    #[test]
    fn payloads_in_front_of_the_encrypted_one_are_associated() {
        let mut message = encrypted(PayloadType::NONE, None);
        message.splice(Header::LEN..Header::LEN, [PayloadType::ENCRYPTED.0, 0, 0, 5, 0x55]);
        message[16] = PayloadType::VENDOR_ID.0;
        message[27] = message.len() as u8;
        let datagram = decode(&message).unwrap();
        assert_eq!(datagram.payloads, [Payload::VendorId(vec![0x55])]);
        let found = datagram.encrypted.unwrap();
        assert_eq!(found.associated, &message[..Header::LEN + 5 + 4]);
        assert_eq!(found.body, [0xaa, 0xbb, 0xcc]);
    }

    #[test]
    fn the_encrypted_payload_is_the_last() {
        let mut message = encrypted(PayloadType::NONE, None);
        message.extend_from_slice(&[0, 0, 0, 4]);
        message[27] += 4;
        assert_eq!(refusal(&message), "Payload chain: 4 octets left over after the Encrypted payload");
    }

    #[test]
    fn fragment_numbers_must_make_sense() {
        let with = |next: PayloadType, number, total| {
            refusal(&encrypted(next, Some(FragmentNumber { number, total })))
        };
        assert_eq!(
            with(PayloadType::NONE, 0, 1),
            "SKF payload: Fragment Number is 0, but must be at least 1"
        );
        assert_eq!(
            with(PayloadType::NONE, 3, 2),
            "SKF payload: Total Fragments is 2, but must be at least the Fragment Number"
        );
        assert_eq!(
            with(PayloadType::DELETE, 2, 2),
            "SKF payload: Next Payload is 42, but must be 0 after the first fragment"
        );
    }

    #[test]
    fn a_message_is_as_long_as_it_says() {
        let mut message = encode_clear(&FIELDS, &[]).unwrap();
        message.push(0);
        assert_eq!(refusal(&message), "IKE header: Length says 28 octets where there are 29");
    }

    #[test]
    fn another_major_version_is_refused_and_a_minor_one_is_not() {
        let mut message = encode_clear(&FIELDS, &[]).unwrap();
        message[17] = 0x2f;
        assert_eq!(decode(&message).unwrap().header.version, Version { major: 2, minor: 15 });
        message[17] = 0x30;
        assert_eq!(refusal(&message), "IKE header: Major Version is 3, but must be 2");
    }

    #[test]
    fn a_body_of_64_kib_does_not_fit() {
        assert!(encrypted_prefix(&FIELDS, PayloadType::NONE, None, 65531).is_ok());
        let error = encrypted_prefix(&FIELDS, PayloadType::NONE, None, usize::MAX).unwrap_err();
        assert_eq!(error.limit, 65535);
    }
}
