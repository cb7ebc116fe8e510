//! One whole IKEv1 message as a datagram carries it: in, and out (RFC 2408 §3.1).

use alloc::vec::Vec;

use super::payload::{Chain, Padding, decode_chain};
use crate::isakmp::{Flags, Header, IkeSpi, Version};
use crate::reader::Reader;
use crate::registry::{ExchangeType, PayloadType};
use crate::writer::length_u16;
use crate::{Fault, Malformed, TooLong};

/// Octets of a generic payload header and of the numbers that follow it in a fragment.
const FRAGMENT_HEADER_LEN: usize = 8;
/// The flag of a message's last fragment.
const LAST_FRAGMENT: u8 = 1;

/// An IKEv1 message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The header.
    pub header: Header,
    /// The whole message.
    pub bytes: &'a [u8],
    /// In how many fragments it came; one is whole.
    pub fragments: usize,
    /// What follows the header.
    pub content: Content<'a>,
}

/// What follows the header of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Payloads that anybody can read.
    Clear(Chain<'a>),
    /// Ciphertext: payloads, of which the header names the first, and padding.
    Encrypted(&'a [u8]),
    /// A piece of a whole message with a header of its own.
    Fragment(Fragment<'a>),
}

/// A piece of a message that was too long for the way (payload 132, which Cisco introduced and others adopted).
///
/// ```text
/// | Next Payload=0|   RESERVED    |         Payload Length        |
/// |          Fragment ID          |Fragment Number|     Flags     |
/// ~                         Fragment Data                         ~
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The same in all fragments of a message.
    pub id: u16,
    /// Counts from one.
    pub number: u8,
    /// Whether no fragment with a higher number follows.
    pub is_last: bool,
    /// The piece: the pieces put together are a message from its ISAKMP header on.
    pub data: &'a [u8],
}

/// What the sender of a message decides about its header; the rest follows from the payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderFields {
    /// The initiator's cookie.
    pub initiator_spi: IkeSpi,
    /// The responder's cookie; zero in the first message.
    pub responder_spi: IkeSpi,
    /// See [`Header::exchange_type`].
    pub exchange_type: ExchangeType,
    /// See [`Header::flags`].
    pub flags: Flags,
    /// Zero in phase 1, else a random name of the exchange.
    pub message_id: u32,
}

/// Reads a message that fills `bytes` exactly (in UDP on port 4500, after the marker).
///
/// # Errors
/// When the message is not of major version 1, its length is not that of `bytes`, or a payload in the clear cannot be
/// read.
pub fn decode(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
    let header = Header::decode(bytes)?;
    if header.version.major != Version::V1.major {
        let major = header.version.major.into();
        return Err(Malformed::forbidden("IKE header", "Major Version", major, "1"));
    }
    if usize::try_from(header.length) != Ok(bytes.len()) {
        let stated = usize::try_from(header.length).unwrap_or(usize::MAX);
        let fault = Fault::WrongLength { stated, actual: bytes.len() };
        return Err(Malformed::new("IKE header", "Length", fault));
    }
    let body = &bytes[Header::LEN..];
    let content = if header.next_payload == PayloadType::V1_FRAGMENT {
        Content::Fragment(Fragment::decode(body)?)
    } else if header.flags.contains(Flags::V1_ENCRYPTION) {
        Content::Encrypted(body)
    } else {
        Content::Clear(decode_chain(header.next_payload, body, Padding::ToWord)?)
    };
    Ok(Datagram { header, bytes, fragments: 1, content })
}

/// Lays out a whole message: its header, and what follows it, encrypted or not, whose first payload is `first`.
///
/// # Errors
/// When the message is longer than its length field can express.
pub fn encode_message(fields: &HeaderFields, first: PayloadType, body: &[u8]) -> Result<Vec<u8>, TooLong> {
    let length = Header::LEN + body.len();
    let mut out = Vec::with_capacity(length);
    fields.header(first, length)?.encode(&mut out);
    out.extend_from_slice(body);
    Ok(out)
}

/// Lays out a message that carries a fragment of another.
///
/// # Errors
/// When the fragment is longer than its length field can express.
pub fn encode_fragment(fields: &HeaderFields, fragment: &Fragment<'_>) -> Result<Vec<u8>, TooLong> {
    let payload_length = FRAGMENT_HEADER_LEN + fragment.data.len();
    let stated = length_u16("Fragment payload", payload_length)?;
    let mut out = Vec::with_capacity(Header::LEN + payload_length);
    fields.header(PayloadType::V1_FRAGMENT, Header::LEN + payload_length)?.encode(&mut out);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&stated.to_be_bytes());
    out.extend_from_slice(&fragment.id.to_be_bytes());
    out.extend_from_slice(&[fragment.number, if fragment.is_last { LAST_FRAGMENT } else { 0 }]);
    out.extend_from_slice(fragment.data);
    Ok(out)
}

impl HeaderFields {
    /// The header of a message of `length` octets whose first payload is `next_payload`.
    ///
    /// # Errors
    /// When the length does not fit its field.
    pub fn header(&self, next_payload: PayloadType, length: usize) -> Result<Header, TooLong> {
        let HeaderFields { initiator_spi, responder_spi, exchange_type, flags, message_id } = *self;
        let limit = u32::MAX as usize;
        let length =
            u32::try_from(length).map_err(|_| TooLong { structure: "IKE message", length, limit })?;
        let version = Version::V1;
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

impl<'a> Fragment<'a> {
    fn decode(body: &'a [u8]) -> Result<Fragment<'a>, Malformed> {
        let mut reader = Reader::new("Fragment payload", body);
        reader.u8("Next Payload")?;
        reader.u8("RESERVED")?;
        let stated = usize::from(reader.u16("Payload Length")?);
        if stated != body.len() {
            let fault = Fault::WrongLength { stated, actual: body.len() };
            return Err(reader.malformed("Payload Length", fault));
        }
        let id = reader.u16("Fragment ID")?;
        let number = reader.u8("Fragment Number")?;
        if number == 0 {
            return Err(reader.forbidden("Fragment Number", 0, "at least 1"));
        }
        let is_last = reader.u8("Flags")? & LAST_FRAGMENT != 0;
        Ok(Fragment { id, number, is_last, data: reader.rest() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Payload, encode_payloads};
    use alloc::string::{String, ToString};
    use alloc::vec;

    const FIELDS: HeaderFields = HeaderFields {
        initiator_spi: IkeSpi(1),
        responder_spi: IkeSpi(2),
        exchange_type: ExchangeType::V1_QUICK_MODE,
        flags: Flags::V1_ENCRYPTION,
        message_id: 7,
    };

    fn refusal(message: &[u8]) -> String {
        decode(message).unwrap_err().to_string()
    }

    #[test]
    fn an_encrypted_message_by_hand() {
        let message = encode_message(&FIELDS, PayloadType::V1_HASH, &[0xaa; 16]).unwrap();
        let expected = concat!(
            "0000000000000001 0000000000000002", // the cookies
            "08 10 20 01 00000007 0000002c",     // HASH, 1.0, quick mode, encrypted; 7; 44 octets
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        );
        assert_eq!(hex::encode(&message), expected.replace(' ', ""));
        assert_eq!(decode(&message).unwrap().content, Content::Encrypted(&[0xaa; 16]));
    }

    #[test]
    fn a_fragment_by_hand() {
        let fragment = Fragment { id: 1, number: 2, is_last: true, data: &[0x55; 3] };
        let clear = HeaderFields { flags: Flags::NONE, ..FIELDS };
        let message = encode_fragment(&clear, &fragment).unwrap();
        assert_eq!(hex::encode(&message[Header::LEN..]), "0000000b00010201555555");
        assert_eq!(message[16], 132);
        assert_eq!(decode(&message).unwrap().content, Content::Fragment(fragment));
        let mut zeroth = message.clone();
        zeroth[Header::LEN + 6] = 0;
        assert_eq!(refusal(&zeroth), "Fragment payload: Fragment Number is 0, but must be at least 1");
    }

    #[test]
    fn a_message_in_the_clear_is_filled_by_its_payloads_or_up_to_four_octets() {
        let clear = HeaderFields { flags: Flags::NONE, ..FIELDS };
        for (octets, padding) in [(4, 0), (5, 3), (6, 2), (7, 1)] {
            let payloads = [Payload::VendorId(vec![1; octets])];
            let (first, body) = encode_payloads(&payloads).unwrap();
            let mut message = encode_message(&clear, first, &body).unwrap();
            for _ in 0..=padding {
                let Content::Clear(chain) = decode(&message).unwrap().content else {
                    panic!("it is in the clear")
                };
                let [received] = chain.payloads.as_slice() else { panic!("one") };
                assert_eq!((&received.payload, received.following), (&payloads[0], &[][..]));
                message.push(0);
                message[27] += 1;
            }
            assert_eq!(refusal(&message), "Payload chain: 1 octet left over after the last payload");
        }
    }

    #[test]
    fn another_major_version_is_refused() {
        let mut message = encode_message(&FIELDS, PayloadType::NONE, &[]).unwrap();
        message[17] = 0x20;
        assert_eq!(refusal(&message), "IKE header: Major Version is 2, but must be 1");
        message[17] = 0x10;
        message.push(0);
        assert_eq!(refusal(&message), "IKE header: Length says 28 octets where there are 29");
    }
}
