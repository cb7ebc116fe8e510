//! The chain of payloads (RFC 7296 §3.2), and the payloads whose body is little more than octets.
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! A payload does not say its own type, but the type of the one after it: the chain begins with the
//! type that the header announces and ends with [`PayloadType::NONE`].

use alloc::vec::Vec;

use super::{
    Authentication, Certificate, CertificateRequest, Configuration, Delete, Identification, Notify, Proposal,
    TrafficSelector, security_association, traffic_selector,
};
use crate::limits::{NONCE_LENGTH, PAYLOADS_PER_MESSAGE};
use crate::reader::Reader;
use crate::registry::{KeyExchangeId, PayloadType};
use crate::writer::with_length;
use crate::{Fault, Malformed, TooLong};

/// Octets in the generic payload header.
pub(super) const GENERIC_HEADER_LEN: usize = 4;
/// The bit that says: refuse the whole message if you do not know this payload (RFC 7296 §3.2).
const CRITICAL: u8 = 0x80;

/// strongSwan's vendor ID, the MD5 of its name: to whom it is sent, numbers for private use mean what strongSwan has them
/// mean (RFC 7296 §3.12).
pub const STRONGSWAN_MARK: [u8; 16] = 0x882f_e56d_6fd2_0dbc_2251_613b_2ebe_5beb_u128.to_be_bytes();

/// Keyway's own vendor ID, the beginning of the SHA-256 of "Keyway: drafts without assigned numbers": numbers for private use
/// mean what Keyway has them mean.
pub const KEYWAY_MARK: [u8; 16] = 0x68d1_f9b9_ae8e_bf9f_9d17_db0b_c140_2836_u128.to_be_bytes();

/// One payload of an IKEv2 message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// SA: what is offered, or the one offer that was chosen (RFC 7296 §3.3).
    SecurityAssociation(Vec<Proposal>),
    /// KE: a public value for a key exchange (RFC 7296 §3.4).
    KeyExchange(KeyExchange),
    /// IDi: who the initiator says it is (RFC 7296 §3.5).
    IdentificationInitiator(Identification),
    /// IDr: who the responder says it is, or whom the initiator wants (RFC 7296 §3.5).
    IdentificationResponder(Identification),
    /// CERT: a certificate (RFC 7296 §3.6).
    Certificate(Certificate),
    /// CERTREQ: which certificates are wanted (RFC 7296 §3.7).
    CertificateRequest(CertificateRequest),
    /// AUTH: the proof of an identity (RFC 7296 §3.8).
    Authentication(Authentication),
    /// Ni, Nr: 16 to 256 random octets (RFC 7296 §3.9).
    Nonce(Vec<u8>),
    /// N: an error or a status (RFC 7296 §3.10).
    Notify(Notify),
    /// D: which SAs the sender has deleted (RFC 7296 §3.11).
    Delete(Delete),
    /// V: a mark by which implementations know each other (RFC 7296 §3.12).
    VendorId(Vec<u8>),
    /// TSi: the traffic of the initiator's side (RFC 7296 §3.13).
    TrafficSelectorsInitiator(Vec<TrafficSelector>),
    /// TSr: the traffic of the responder's side (RFC 7296 §3.13).
    TrafficSelectorsResponder(Vec<TrafficSelector>),
    /// CP: addresses and the like, asked for or given (RFC 7296 §3.15).
    Configuration(Configuration),
    /// EAP: one whole EAP message, its own header included (RFC 7296 §3.16).
    Eap(Vec<u8>),
    /// A payload of a type that this crate does not read.
    Unknown(Unknown),
}

/// The body of a KE payload (RFC 7296 §3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyExchange {
    /// The method that `data` belongs to; it must be the one that the SA payload offers or chose.
    pub group: KeyExchangeId,
    /// The public value, or a KEM's public key or ciphertext. Its length is the method's business.
    pub data: Vec<u8>,
}

/// A payload whose type this crate does not read, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its type.
    pub payload_type: PayloadType,
    /// Whether the sender wants the whole message refused by those who do not know the payload, with
    /// UNSUPPORTED_CRITICAL_PAYLOAD (RFC 7296 §2.5).
    pub critical: bool,
    /// What follows the generic payload header.
    pub body: Vec<u8>,
}

/// Reads a whole chain that begins with a payload of type `first` and fills `bytes` exactly: the
/// plaintext of an Encrypted payload, its padding removed.
///
/// # Errors
/// When a length contradicts the bytes, a payload cannot be read, octets left over, or an
/// Encrypted payload is found inside.
pub fn decode_payloads(first: PayloadType, bytes: &[u8]) -> Result<Vec<Payload>, Malformed> {
    let (payloads, encrypted) = decode_chain(first, bytes)?;
    match encrypted {
        None => Ok(payloads),
        Some(raw) => Err(Malformed::forbidden(
            "Payload chain",
            "Next Payload",
            raw.payload_type.0.into(),
            "a payload that may be inside an Encrypted payload",
        )),
    }
}

/// Lays out `payloads` one after the other; gives the type of the first, which the header or the
/// Encrypted payload in front of them has to announce, and their octets.
///
/// The critical bit is set on [`Payload::Unknown`] alone, where it says so: everyone must know the
/// other payloads (RFC 7296 §3.2).
///
/// # Errors
/// When something is longer, or there are more of it, than its field can express.
pub fn encode_payloads(payloads: &[Payload]) -> Result<(PayloadType, Vec<u8>), TooLong> {
    let mut out = Vec::new();
    let first = encode_chain(payloads, &mut out)?;
    Ok((first, out))
}

/// A payload's type and body before the body is read.
pub(super) struct RawPayload<'a> {
    pub(super) payload_type: PayloadType,
    pub(super) next: PayloadType,
    critical: bool,
    pub(super) body: &'a [u8],
}

/// Reads payloads up to the end of `bytes`, or up to an Encrypted payload, which must be the last
/// one (RFC 7296 §3.14) and is handed back as it is.
pub(super) fn decode_chain(
    first: PayloadType,
    bytes: &[u8],
) -> Result<(Vec<Payload>, Option<RawPayload<'_>>), Malformed> {
    let mut reader = Reader::new("Payload chain", bytes);
    let mut payloads = Vec::new();
    let mut payload_type = first;
    while payload_type != PayloadType::NONE {
        if payloads.len() == PAYLOADS_PER_MESSAGE {
            return Err(reader.malformed("payloads", Fault::TooMany { limit: PAYLOADS_PER_MESSAGE }));
        }
        let raw = RawPayload::decode(payload_type, &mut reader)?;
        if matches!(payload_type, PayloadType::ENCRYPTED | PayloadType::ENCRYPTED_FRAGMENT) {
            reader.finish("the Encrypted payload")?;
            return Ok((payloads, Some(raw)));
        }
        payloads.push(Payload::decode(&raw)?);
        payload_type = raw.next;
    }
    reader.finish("the last payload")?;
    Ok((payloads, None))
}

/// Appends `payloads` to `out`; gives the type of the first.
pub(super) fn encode_chain(payloads: &[Payload], out: &mut Vec<u8>) -> Result<PayloadType, TooLong> {
    let following = payloads.iter().skip(1).map(Payload::payload_type).chain([PayloadType::NONE]);
    for (payload, next) in payloads.iter().zip(following) {
        let start = out.len();
        let critical = matches!(payload, Payload::Unknown(Unknown { critical: true, .. }));
        out.extend_from_slice(&[next.0, if critical { CRITICAL } else { 0 }, 0, 0]);
        with_length(out, payload.structure(), start, 2, |out| payload.encode_body(out))?;
    }
    Ok(payloads.first().map_or(PayloadType::NONE, Payload::payload_type))
}

impl<'a> RawPayload<'a> {
    fn decode(payload_type: PayloadType, reader: &mut Reader<'a>) -> Result<RawPayload<'a>, Malformed> {
        let next = PayloadType(reader.u8("Next Payload")?);
        let critical = reader.u8("Critical bit")? & CRITICAL != 0;
        let length = reader.u16("Payload Length")?;
        let mut body = reader.substructure("Payload", length, GENERIC_HEADER_LEN)?;
        Ok(RawPayload { payload_type, next, critical, body: body.rest() })
    }
}

impl Payload {
    /// The type that announces this payload.
    pub fn payload_type(&self) -> PayloadType {
        match self {
            Payload::SecurityAssociation(_) => PayloadType::SECURITY_ASSOCIATION,
            Payload::KeyExchange(_) => PayloadType::KEY_EXCHANGE,
            Payload::IdentificationInitiator(_) => PayloadType::IDENTIFICATION_INITIATOR,
            Payload::IdentificationResponder(_) => PayloadType::IDENTIFICATION_RESPONDER,
            Payload::Certificate(_) => PayloadType::CERTIFICATE,
            Payload::CertificateRequest(_) => PayloadType::CERTIFICATE_REQUEST,
            Payload::Authentication(_) => PayloadType::AUTHENTICATION,
            Payload::Nonce(_) => PayloadType::NONCE,
            Payload::Notify(_) => PayloadType::NOTIFY,
            Payload::Delete(_) => PayloadType::DELETE,
            Payload::VendorId(_) => PayloadType::VENDOR_ID,
            Payload::TrafficSelectorsInitiator(_) => PayloadType::TRAFFIC_SELECTORS_INITIATOR,
            Payload::TrafficSelectorsResponder(_) => PayloadType::TRAFFIC_SELECTORS_RESPONDER,
            Payload::Configuration(_) => PayloadType::CONFIGURATION,
            Payload::Eap(_) => PayloadType::EAP,
            Payload::Unknown(unknown) => unknown.payload_type,
        }
    }

    fn decode(raw: &RawPayload<'_>) -> Result<Payload, Malformed> {
        let body = raw.body;
        Ok(match raw.payload_type {
            PayloadType::SECURITY_ASSOCIATION => {
                Payload::SecurityAssociation(security_association::decode(body)?)
            }
            PayloadType::KEY_EXCHANGE => Payload::KeyExchange(KeyExchange::decode(body)?),
            PayloadType::IDENTIFICATION_INITIATOR => {
                Payload::IdentificationInitiator(Identification::decode(body)?)
            }
            PayloadType::IDENTIFICATION_RESPONDER => {
                Payload::IdentificationResponder(Identification::decode(body)?)
            }
            PayloadType::CERTIFICATE => Payload::Certificate(Certificate::decode(body)?),
            PayloadType::CERTIFICATE_REQUEST => {
                Payload::CertificateRequest(CertificateRequest::decode(body)?)
            }
            PayloadType::AUTHENTICATION => Payload::Authentication(Authentication::decode(body)?),
            PayloadType::NONCE => Payload::Nonce(decode_nonce(body)?),
            PayloadType::NOTIFY => Payload::Notify(Notify::decode(body)?),
            PayloadType::DELETE => Payload::Delete(Delete::decode(body)?),
            PayloadType::VENDOR_ID => Payload::VendorId(body.to_vec()),
            PayloadType::TRAFFIC_SELECTORS_INITIATOR => {
                Payload::TrafficSelectorsInitiator(traffic_selector::decode(body)?)
            }
            PayloadType::TRAFFIC_SELECTORS_RESPONDER => {
                Payload::TrafficSelectorsResponder(traffic_selector::decode(body)?)
            }
            PayloadType::CONFIGURATION => Payload::Configuration(Configuration::decode(body)?),
            PayloadType::EAP => Payload::Eap(decode_eap(body)?),
            payload_type => {
                Payload::Unknown(Unknown { payload_type, critical: raw.critical, body: body.to_vec() })
            }
        })
    }

    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match self {
            Payload::SecurityAssociation(proposals) => security_association::encode(proposals, out)?,
            Payload::KeyExchange(key_exchange) => key_exchange.encode(out),
            Payload::IdentificationInitiator(identification)
            | Payload::IdentificationResponder(identification) => identification.encode(out),
            Payload::Certificate(certificate) => certificate.encode(out),
            Payload::CertificateRequest(request) => request.encode(out),
            Payload::Authentication(authentication) => authentication.encode(out),
            Payload::Notify(notify) => notify.encode(out)?,
            Payload::Delete(delete) => delete.encode(out)?,
            Payload::TrafficSelectorsInitiator(selectors) | Payload::TrafficSelectorsResponder(selectors) => {
                traffic_selector::encode(selectors, out)?
            }
            Payload::Configuration(configuration) => configuration.encode(out)?,
            Payload::Nonce(octets)
            | Payload::VendorId(octets)
            | Payload::Eap(octets)
            | Payload::Unknown(Unknown { body: octets, .. }) => out.extend_from_slice(octets),
        }
        Ok(())
    }

    /// The name under which errors speak of the payload.
    fn structure(&self) -> &'static str {
        self.payload_type().name().unwrap_or("unknown payload")
    }
}

/// ```text
/// |   Diffie-Hellman Group Num    |           RESERVED            |
/// ~                       Key Exchange Data                       ~
/// ```
impl KeyExchange {
    fn decode(body: &[u8]) -> Result<KeyExchange, Malformed> {
        let mut reader = Reader::new("KE payload", body);
        let group = KeyExchangeId(reader.u16("Key Exchange Method")?);
        reader.u16("RESERVED")?;
        Ok(KeyExchange { group, data: reader.rest().to_vec() })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group.0.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.data);
    }
}

fn decode_nonce(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    if !NONCE_LENGTH.contains(&body.len()) {
        let length = body.len() as u64;
        return Err(Malformed::forbidden("Nonce payload", "Nonce Data length", length, "16 to 256"));
    }
    Ok(body.to_vec())
}

/// ```text
/// |     Code      |  Identifier   |           Length              |
/// ```
/// The EAP message's own length has to agree with the payload's (RFC 7296 §3.16).
fn decode_eap(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new("EAP payload", body);
    reader.u16("Code and Identifier")?;
    let stated = usize::from(reader.u16("Length")?);
    if stated != body.len() {
        return Err(reader.malformed("Length", Fault::WrongLength { stated, actual: body.len() }));
    }
    Ok(body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn refusal(first: PayloadType, bytes: &[u8]) -> alloc::string::String {
        decode_payloads(first, bytes).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_chain_is_no_payloads() {
        assert_eq!(decode_payloads(PayloadType::NONE, &[]), Ok(vec![]));
        assert_eq!(encode_payloads(&[]), Ok((PayloadType::NONE, vec![])));
        assert_eq!(
            refusal(PayloadType::NONE, &[0]),
            "Payload chain: 1 octet left over after the last payload"
        );
    }

    #[test]
    fn the_critical_bit_means_nothing_on_a_known_payload() {
        // RFC 7296 §3.2: it is ignored by those who know the payload, and must not be set on one.
        let bytes = [0, 0x80, 0, 8, 1, 2, 3, 4];
        let payloads = decode_payloads(PayloadType::VENDOR_ID, &bytes).unwrap();
        assert_eq!(payloads, [Payload::VendorId(vec![1, 2, 3, 4])]);
        assert_eq!(encode_payloads(&payloads).unwrap().1, [0, 0, 0, 8, 1, 2, 3, 4]);
    }

    #[test]
    fn the_critical_bit_survives_on_an_unknown_payload() {
        let bytes = [0, 0x80, 0, 5, 0xaa];
        let unknown = Unknown { payload_type: PayloadType(200), critical: true, body: vec![0xaa] };
        assert_eq!(decode_payloads(PayloadType(200), &bytes), Ok(vec![Payload::Unknown(unknown.clone())]));
        assert_eq!(encode_payloads(&[Payload::Unknown(unknown)]).unwrap().1, bytes);
    }

    #[test]
    fn a_payload_ends_where_its_length_says() {
        assert_eq!(
            refusal(PayloadType::VENDOR_ID, &[0, 0, 0, 9, 1, 2, 3, 4]),
            "Payload: Length says 9 octets where there are 8"
        );
        assert_eq!(
            refusal(PayloadType::VENDOR_ID, &[0, 0, 0, 3]),
            "Payload: Length says 3 octets where there are 4"
        );
        assert_eq!(
            refusal(PayloadType::VENDOR_ID, &[0, 0, 0, 4, 0]),
            "Payload chain: 1 octet left over after the last payload"
        );
    }

    #[test]
    fn nothing_encrypted_is_inside_an_encrypted_payload() {
        assert_eq!(
            refusal(PayloadType::ENCRYPTED, &[0, 0, 0, 4]),
            "Payload chain: Next Payload is 46, but must be a payload that may be inside an Encrypted payload"
        );
    }

    #[test]
    fn a_nonce_has_16_to_256_octets() {
        let nonce = |length: u16| {
            let mut bytes = vec![0; usize::from(length) + GENERIC_HEADER_LEN];
            bytes[2..4].copy_from_slice(&(length + 4).to_be_bytes());
            decode_payloads(PayloadType::NONCE, &bytes)
        };
        assert!(nonce(16).is_ok() && nonce(256).is_ok());
        assert!(nonce(15).is_err());
        assert_eq!(
            nonce(257).unwrap_err().to_string(),
            "Nonce payload: Nonce Data length is 257, but must be 16 to 256"
        );
    }

    #[test]
    fn an_eap_message_agrees_with_its_payload() {
        let identity_request = [0, 0, 0, 9, 1, 7, 0, 5, 1];
        assert_eq!(
            decode_payloads(PayloadType::EAP, &identity_request),
            Ok(vec![Payload::Eap(vec![1, 7, 0, 5, 1])])
        );
        let mut longer = identity_request;
        longer[7] = 6;
        assert_eq!(refusal(PayloadType::EAP, &longer), "EAP payload: Length says 6 octets where there are 5");
    }

    #[test]
    fn a_chain_has_a_limit() {
        let vendor_id = PayloadType::VENDOR_ID.0;
        let mut bytes = [vendor_id, 0, 0, 4].repeat(PAYLOADS_PER_MESSAGE);
        let at_last = bytes.len() - GENERIC_HEADER_LEN;
        bytes[at_last] = 0;
        assert_eq!(decode_payloads(PayloadType::VENDOR_ID, &bytes).unwrap().len(), PAYLOADS_PER_MESSAGE);
        bytes[at_last] = vendor_id;
        bytes.extend_from_slice(&[0, 0, 0, 4]);
        assert_eq!(refusal(PayloadType::VENDOR_ID, &bytes), "Payload chain: more than 256 of payloads");
    }

    #[test]
    fn a_payload_of_64_kib_does_not_fit() {
        let vendor_id = |length| encode_payloads(&[Payload::VendorId(vec![0; length])]);
        assert!(vendor_id(65531).is_ok());
        assert_eq!(vendor_id(65532), Err(TooLong { structure: "V", length: 65536, limit: 65535 }));
    }
}
