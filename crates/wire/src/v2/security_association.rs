//! The Security Association payload: proposals, their transforms, and their attributes
//! (RFC 7296 §3.3).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Last Substruc |   RESERVED    |         Proposal Length       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                        SPI (variable)                         ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Last Substruc |   RESERVED    |        Transform Length       |  \
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   |
//! |Transform Type |   RESERVED    |          Transform ID         |   | each
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   | transform
//! |A|      Attribute Type         | A=1: value, A=0: length       |   |
//! ~                       A=0: Attribute Value                    ~  /
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;
use core::fmt;

use crate::limits::PROPOSALS_PER_SA;
use crate::reader::Reader;
use crate::registry::{
    EncryptionId, EsnId, IntegrityId, KeyExchangeId, PrfId, ProtocolId, TransformAttributeType, TransformType,
};
use crate::writer::{length_u8, length_u16, with_length};
use crate::{Fault, Malformed, TooLong};

/// "Last Substruc" of a proposal that another one follows.
const MORE_PROPOSALS: u8 = 2;
/// "Last Substruc" of a transform that another one follows.
const MORE_TRANSFORMS: u8 = 3;
/// "Last Substruc" of the last one.
const LAST: u8 = 0;
/// Octets of a proposal or a transform up to the end of its length field.
const SUBSTRUCTURE_HEADER_LEN: usize = 4;
/// The bit of an attribute's type that says: the value is in the length's place.
const FIXED_LENGTH: u16 = 0x8000;

/// One proposal: transforms of which the responder takes one of each type (RFC 7296 §3.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Counts from one; an answer repeats the number of the proposal that it chose.
    pub number: u8,
    /// The protocol that the SA will speak.
    pub protocol: ProtocolId,
    /// The sender's SPI: four octets of AH and ESP, eight when rekeying an IKE SA, else none.
    pub spi: Vec<u8>,
    /// What is offered, the preferred of each type first.
    pub transforms: Vec<Transform>,
}

/// One algorithm on offer (RFC 7296 §3.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// What the algorithm is for.
    pub transform_type: TransformType,
    /// Which algorithm: a number of the registry that belongs to the type.
    pub id: u16,
    /// The length of its key in bits, of algorithms whose keys have no one length.
    pub key_bits: Option<u16>,
    /// The other attributes. None is registered, and a transform that has one that its receiver
    /// does not know must not be chosen (RFC 7296 §3.3.6).
    pub unknown_attributes: Vec<TransformAttribute>,
}

/// An attribute of a transform other than the key length (RFC 7296 §3.3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformAttribute {
    /// What it is about; 15 bits.
    pub attribute_type: TransformAttributeType,
    /// What it says.
    pub value: AttributeValue,
}

/// An attribute's value in one of its two forms (RFC 7296 §3.3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// Type and value: two octets in all.
    Short(u16),
    /// Type, length and value.
    Long(Vec<u8>),
}

impl Transform {
    /// A cipher, with the length of its key where that has to be said.
    pub fn encryption(id: EncryptionId, key_bits: Option<u16>) -> Transform {
        Transform { key_bits, ..Transform::new(TransformType::ENCRYPTION, id.0) }
    }

    /// A pseudorandom function.
    pub fn prf(id: PrfId) -> Transform {
        Transform::new(TransformType::PRF, id.0)
    }

    /// An integrity algorithm.
    pub fn integrity(id: IntegrityId) -> Transform {
        Transform::new(TransformType::INTEGRITY, id.0)
    }

    /// The key exchange, the only one or the first.
    pub fn key_exchange(id: KeyExchangeId) -> Transform {
        Transform::new(TransformType::KEY_EXCHANGE, id.0)
    }

    /// The length of sequence numbers.
    pub fn esn(id: EsnId) -> Transform {
        Transform::new(TransformType::ESN, id.0)
    }

    /// A transform without attributes.
    pub fn new(transform_type: TransformType, id: u16) -> Transform {
        Transform { transform_type, id, key_bits: None, unknown_attributes: Vec::new() }
    }

    /// The registered name of the algorithm, if it has one.
    pub fn name(&self) -> Option<&'static str> {
        match self.transform_type {
            TransformType::ENCRYPTION => EncryptionId(self.id).name(),
            TransformType::PRF => PrfId(self.id).name(),
            TransformType::INTEGRITY => IntegrityId(self.id).name(),
            TransformType::ESN => EsnId(self.id).name(),
            TransformType::KEY_EXCHANGE => KeyExchangeId(self.id).name(),
            additional if additional.is_additional_key_exchange() => KeyExchangeId(self.id).name(),
            _ => None,
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{} {}", self.transform_type, self.id)?,
        }
        if let Some(bits) = self.key_bits {
            write!(f, " with a {bits}-bit key")?;
        }
        Ok(())
    }
}

/// Reads the body of an SA payload.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Proposal>, Malformed> {
    let mut reader = Reader::new("SA payload", body);
    let mut proposals = Vec::new();
    let mut more = true;
    while more {
        if proposals.len() == PROPOSALS_PER_SA {
            return Err(reader.malformed("proposals", Fault::TooMany { limit: PROPOSALS_PER_SA }));
        }
        more = decode_last_substructure(&mut reader, MORE_PROPOSALS)?;
        proposals.push(Proposal::decode(&mut reader)?);
    }
    reader.finish("the last proposal")?;
    Ok(proposals)
}

/// Appends the body of an SA payload.
pub(super) fn encode(proposals: &[Proposal], out: &mut Vec<u8>) -> Result<(), TooLong> {
    length_u8("SA payload's proposals", proposals.len())?;
    for (index, proposal) in proposals.iter().enumerate() {
        let last = index + 1 == proposals.len();
        proposal.encode(if last { LAST } else { MORE_PROPOSALS }, out)?;
    }
    Ok(())
}

impl Proposal {
    /// Reads what follows "Last Substruc" and its reserved octet.
    fn decode(outer: &mut Reader<'_>) -> Result<Proposal, Malformed> {
        let length = outer.u16("Proposal Length")?;
        let mut reader = outer.substructure("Proposal", length, SUBSTRUCTURE_HEADER_LEN)?;
        let number = reader.u8("Proposal Num")?;
        let protocol = ProtocolId(reader.u8("Protocol ID")?);
        let spi_size = reader.u8("SPI Size")?;
        let count = usize::from(reader.u8("Num Transforms")?);
        let spi = reader.take("SPI", spi_size.into())?.to_vec();
        let mut transforms = Vec::new();
        for index in 0..count {
            let more = decode_last_substructure(&mut reader, MORE_TRANSFORMS)?;
            if more != (index + 1 < count) {
                let last = if more { MORE_TRANSFORMS } else { LAST };
                return Err(reader.forbidden("Last Substruc", last.into(), "as Num Transforms has it"));
            }
            transforms.push(Transform::decode(&mut reader)?);
        }
        reader.finish("the last transform")?;
        Ok(Proposal { number, protocol, spi, transforms })
    }

    fn encode(&self, last_substructure: u8, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = out.len();
        let spi_size = length_u8("SPI of a proposal", self.spi.len())?;
        let count = length_u8("transforms of a proposal", self.transforms.len())?;
        out.extend_from_slice(&[last_substructure, 0, 0, 0]);
        out.extend_from_slice(&[self.number, self.protocol.0, spi_size, count]);
        out.extend_from_slice(&self.spi);
        with_length(out, "Proposal", start, 2, |out| {
            self.transforms.iter().enumerate().try_for_each(|(index, transform)| {
                let last = index + 1 == self.transforms.len();
                transform.encode(if last { LAST } else { MORE_TRANSFORMS }, out)
            })
        })
    }
}

impl Transform {
    /// Reads what follows "Last Substruc" and its reserved octet.
    fn decode(outer: &mut Reader<'_>) -> Result<Transform, Malformed> {
        let length = outer.u16("Transform Length")?;
        let mut reader = outer.substructure("Transform", length, SUBSTRUCTURE_HEADER_LEN)?;
        let transform_type = TransformType(reader.u8("Transform Type")?);
        reader.u8("RESERVED")?;
        let mut transform = Transform::new(transform_type, reader.u16("Transform ID")?);
        while !reader.is_empty() {
            let attribute = TransformAttribute::decode(&mut reader)?;
            transform.keep(attribute, &reader)?;
        }
        Ok(transform)
    }

    /// Puts a decoded attribute in its place. The key length has a fixed form (RFC 7296 §3.3.5), and
    /// a second one would leave open which of the two was meant.
    fn keep(&mut self, attribute: TransformAttribute, reader: &Reader<'_>) -> Result<(), Malformed> {
        if attribute.attribute_type != TransformAttributeType::KEY_LENGTH {
            self.unknown_attributes.push(attribute);
            return Ok(());
        }
        match (attribute.value, self.key_bits) {
            (AttributeValue::Short(bits), None) => {
                self.key_bits = Some(bits);
                Ok(())
            }
            (AttributeValue::Short(bits), Some(_)) => {
                Err(reader.forbidden("Key Length", bits.into(), "there only once"))
            }
            (AttributeValue::Long(value), _) => {
                let fault = Fault::WrongLength { stated: value.len(), actual: 2 };
                Err(reader.malformed("Key Length", fault))
            }
        }
    }

    fn encode(&self, last_substructure: u8, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = out.len();
        out.extend_from_slice(&[last_substructure, 0, 0, 0]);
        out.extend_from_slice(&[self.transform_type.0, 0]);
        out.extend_from_slice(&self.id.to_be_bytes());
        with_length(out, "Transform", start, 2, |out| {
            if let Some(bits) = self.key_bits {
                encode_short_attribute(TransformAttributeType::KEY_LENGTH, bits, out);
            }
            self.unknown_attributes.iter().try_for_each(|attribute| attribute.encode(out))
        })
    }
}

impl TransformAttribute {
    fn decode(reader: &mut Reader<'_>) -> Result<TransformAttribute, Malformed> {
        let format_and_type = reader.u16("Attribute Type")?;
        let value_or_length = reader.u16("Attribute Value or Length")?;
        let value = if format_and_type & FIXED_LENGTH != 0 {
            AttributeValue::Short(value_or_length)
        } else {
            AttributeValue::Long(reader.take("Attribute Value", value_or_length.into())?.to_vec())
        };
        let attribute_type = TransformAttributeType(format_and_type & !FIXED_LENGTH);
        Ok(TransformAttribute { attribute_type, value })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match &self.value {
            AttributeValue::Short(value) => encode_short_attribute(self.attribute_type, *value, out),
            AttributeValue::Long(value) => {
                let length = length_u16("Attribute of a transform", value.len())?;
                out.extend_from_slice(&(self.attribute_type.0 & !FIXED_LENGTH).to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(value);
            }
        }
        Ok(())
    }
}

fn encode_short_attribute(attribute_type: TransformAttributeType, value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&(attribute_type.0 | FIXED_LENGTH).to_be_bytes());
    out.extend_from_slice(&value.to_be_bytes());
}

/// Reads "Last Substruc" and the reserved octet after it; gives whether another one follows.
fn decode_last_substructure(reader: &mut Reader<'_>, more: u8) -> Result<bool, Malformed> {
    let value = reader.u8("Last Substruc")?;
    reader.u8("RESERVED")?;
    match value {
        LAST => Ok(false),
        value if value == more => Ok(true),
        value => Err(reader.forbidden("Last Substruc", value.into(), "0, or the mark of one more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    /// One ESP proposal, by hand after RFC 7296 §3.3: AES-GCM with a 256-bit key, no ESN.
    const PROPOSAL: &str = concat!(
        "00000020 01030402 c0ffee01", // last, 32 octets; number 1, ESP, SPI of 4, 2 transforms; the SPI
        "0300000c 01000014 800e0100", // more, 12 octets; encryption 20; key length 256
        "00000008 05000000",          // last, 8 octets; ESN 0
    );

    fn proposal() -> Proposal {
        Proposal {
            number: 1,
            protocol: ProtocolId::ESP,
            spi: vec![0xc0, 0xff, 0xee, 0x01],
            transforms: vec![
                Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
                Transform::esn(EsnId::SEQUENCE_NUMBERS_32),
            ],
        }
    }

    fn octets(hexadecimal: &str) -> Vec<u8> {
        hex::decode(hexadecimal.replace(' ', "")).unwrap()
    }

    fn refusal(hexadecimal: &str) -> alloc::string::String {
        decode(&octets(hexadecimal)).unwrap_err().to_string()
    }

    #[test]
    fn a_proposal_by_hand() {
        assert_eq!(decode(&octets(PROPOSAL)), Ok(vec![proposal()]));
        let mut out = Vec::new();
        encode(&[proposal()], &mut out).unwrap();
        assert_eq!(out, octets(PROPOSAL));
    }

    #[test]
    fn an_unknown_attribute_survives() {
        let bytes = octets("00000020 01030002 03000010 01000014 800e0080 80070001 00000008 05000000");
        let proposals = decode(&bytes).unwrap();
        let attribute =
            TransformAttribute { attribute_type: TransformAttributeType(7), value: AttributeValue::Short(1) };
        assert_eq!(proposals[0].transforms[0].unknown_attributes, [attribute]);
        let mut out = Vec::new();
        encode(&proposals, &mut out).unwrap();
        assert_eq!(out, bytes);
    }

    #[test]
    fn counts_and_marks_must_agree() {
        // Two transforms are announced, but the first is marked as the last; then the other way round.
        let marked_last = PROPOSAL.replace("0300000c", "0000000c");
        assert_eq!(
            refusal(&marked_last),
            "Proposal: Last Substruc is 0, but must be as Num Transforms has it"
        );
        let one_announced = PROPOSAL.replace("01030402", "01030401");
        assert_eq!(
            refusal(&one_announced),
            "Proposal: Last Substruc is 3, but must be as Num Transforms has it"
        );
        // A proposal is announced to follow, and none does.
        let more_proposals = PROPOSAL.replace("00000020", "02000020");
        assert_eq!(refusal(&more_proposals), "SA payload: Last Substruc takes 1 octet, but only 0 are left");
        // A proposal's mark is 2, a transform's 3.
        let wrong_mark = PROPOSAL.replace("00000020", "03000020");
        assert_eq!(
            refusal(&wrong_mark),
            "SA payload: Last Substruc is 3, but must be 0, or the mark of one more"
        );
    }

    #[test]
    fn lengths_must_agree() {
        assert_eq!(
            refusal(&PROPOSAL.replace("00000020", "00000021")),
            "Proposal: Length says 33 octets where there are 32"
        );
        assert_eq!(
            refusal(&PROPOSAL.replace("00000020", "00000003")),
            "Proposal: Length says 3 octets where there are 4"
        );
        assert_eq!(
            refusal(&PROPOSAL.replace("0300000c", "0300000a")),
            "Transform: Attribute Value or Length takes 2 octets, but only 0 are left"
        );
        assert_eq!(refusal(""), "SA payload: Last Substruc takes 1 octet, but only 0 are left");
    }

    #[test]
    fn a_key_has_one_length_in_its_fixed_form() {
        assert_eq!(
            refusal("00000018 01030001 00000010 01000014 800e0080 800e0100"),
            "Transform: Key Length is 256, but must be there only once"
        );
        assert_eq!(
            refusal("00000018 01030001 00000010 01000014 000e0004 00000080"),
            "Transform: Key Length says 4 octets where there are 2"
        );
    }

    #[test]
    fn a_transform_prints_its_name() {
        assert_eq!(proposal().transforms[0].to_string(), "ENCR_AES_GCM_16 with a 256-bit key");
        let additional =
            Transform::new(TransformType::ADDITIONAL_KEY_EXCHANGE_1, KeyExchangeId::ML_KEM_768.0);
        assert_eq!(additional.to_string(), "ml-kem-768");
        assert_eq!(Transform::new(TransformType(99), 7).to_string(), "unknown (99) 7");
    }

    #[test]
    fn too_many_transforms_do_not_fit() {
        let transforms = vec![Transform::prf(PrfId::HMAC_SHA2_256); 256];
        let error = encode(&[Proposal { transforms, ..proposal() }], &mut Vec::new()).unwrap_err();
        assert_eq!((error.length, error.limit), (256, 255));
    }
}
