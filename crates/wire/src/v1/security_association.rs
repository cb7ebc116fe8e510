//! The Security Association payload: proposals, their transforms, and their attributes (RFC 2408 §3.4 to §3.6, RFC 2407
//! §4.6.1).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                Domain of Interpretation (IPSEC)               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Situation (bitmap)                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |   RESERVED    |         Payload Length        |  \
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   |
//! |  Proposal #   |  Protocol-Id  |    SPI Size   |# of Transforms|   | each
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   | proposal
//! ~                        SPI (variable)                         ~   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   |
//! | Next Payload  |   RESERVED    |         Payload Length        |   |  \
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   |   | each
//! |  Transform #  |  Transform-Id |           RESERVED2           |   |   | transform
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   |   |
//! ~                        SA Attributes                          ~  /   /
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! A transform is a whole combination of algorithms, of which the responder takes one. Proposals of the same number
//! belong together: AH and ESP, or ESP and IPComp.

use alloc::vec::Vec;

use super::attribute::{Attribute, decode_all};
use super::notification::DOI_IPSEC;
use crate::limits::PROPOSALS_PER_SA;
use crate::reader::Reader;
use crate::registry::PayloadType;
use crate::registry::v1::ProtocolId;
use crate::writer::{length_u8, with_length};
use crate::{Fault, Malformed, TooLong};

/// SIT_IDENTITY_ONLY: the two ends are known by their identities alone, without labels (RFC 2407 §4.2.1).
const IDENTITY_ONLY: u32 = 1;
/// Octets of a proposal or a transform up to the end of its length field.
const SUBSTRUCTURE_HEADER_LEN: usize = 4;

/// One protocol on offer, with the transforms of which the responder takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// An answer repeats the number of the proposal that it chose.
    pub number: u8,
    /// The protocol that the SA will speak.
    pub protocol: ProtocolId,
    /// The sender's SPI: four octets of AH and ESP, two or four of IPComp, none or eight (without meaning) in phase 1.
    pub spi: Vec<u8>,
    /// The preferred one first.
    pub transforms: Vec<Transform>,
}

/// One combination of algorithms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Tells it from the proposal's others; an answer repeats it.
    pub number: u8,
    /// The algorithm that gives the combination its name, of a registry that belongs to the protocol.
    pub id: u8,
    /// All the rest, in any order; an answer repeats them unchanged (RFC 2408 §4.2).
    pub attributes: Vec<Attribute>,
}

impl Transform {
    /// The first attribute of a type.
    pub fn find(&self, attribute_type: u16) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.attribute_type == attribute_type)
    }

    /// The number that the first attribute of a type says.
    pub fn number_of(&self, attribute_type: u16) -> Option<u64> {
        self.find(attribute_type)?.as_number()
    }
}

/// Reads the body of an SA payload.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Proposal>, Malformed> {
    let mut reader = Reader::new("SA payload", body);
    let doi = reader.u32("Domain of Interpretation")?;
    if doi != DOI_IPSEC {
        return Err(reader.forbidden("Domain of Interpretation", doi.into(), "1 (IPsec)"));
    }
    let situation = reader.u32("Situation")?;
    if situation != IDENTITY_ONLY {
        return Err(reader.forbidden("Situation", situation.into(), "1 (identity only)"));
    }
    let mut proposals = Vec::new();
    let mut more = true;
    while more {
        if proposals.len() == PROPOSALS_PER_SA {
            return Err(reader.malformed("proposals", Fault::TooMany { limit: PROPOSALS_PER_SA }));
        }
        more = decode_next(&mut reader, PayloadType::V1_PROPOSAL)?;
        proposals.push(Proposal::decode(&mut reader)?);
    }
    reader.finish("the last proposal")?;
    Ok(proposals)
}

/// Appends the body of an SA payload.
pub(super) fn encode(proposals: &[Proposal], out: &mut Vec<u8>) -> Result<(), TooLong> {
    out.extend_from_slice(&DOI_IPSEC.to_be_bytes());
    out.extend_from_slice(&IDENTITY_ONLY.to_be_bytes());
    proposals.iter().enumerate().try_for_each(|(index, proposal)| {
        proposal.encode(next(index, proposals.len(), PayloadType::V1_PROPOSAL), out)
    })
}

impl Proposal {
    /// Reads what follows the Next Payload field and its reserved octet.
    fn decode(outer: &mut Reader<'_>) -> Result<Proposal, Malformed> {
        let length = outer.u16("Payload Length")?;
        let mut reader = outer.substructure("Proposal", length, SUBSTRUCTURE_HEADER_LEN)?;
        let number = reader.u8("Proposal #")?;
        let protocol = ProtocolId(reader.u8("Protocol-Id")?);
        let spi_size = reader.u8("SPI Size")?;
        let count = usize::from(reader.u8("# of Transforms")?);
        let spi = reader.take("SPI", spi_size.into())?.to_vec();
        let mut transforms = Vec::new();
        for index in 0..count {
            let more = decode_next(&mut reader, PayloadType::V1_TRANSFORM)?;
            if more != (index + 1 < count) {
                let found = if more { PayloadType::V1_TRANSFORM } else { PayloadType::NONE };
                return Err(reader.forbidden("Next Payload", found.0.into(), "as # of Transforms has it"));
            }
            transforms.push(Transform::decode(&mut reader)?);
        }
        reader.finish("the last transform")?;
        Ok(Proposal { number, protocol, spi, transforms })
    }

    fn encode(&self, next_payload: PayloadType, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = out.len();
        let spi_size = length_u8("SPI of a proposal", self.spi.len())?;
        let count = length_u8("transforms of a proposal", self.transforms.len())?;
        out.extend_from_slice(&[next_payload.0, 0, 0, 0]);
        out.extend_from_slice(&[self.number, self.protocol.0, spi_size, count]);
        out.extend_from_slice(&self.spi);
        with_length(out, "Proposal", start, 2, |out| {
            self.transforms.iter().enumerate().try_for_each(|(index, transform)| {
                transform.encode(next(index, self.transforms.len(), PayloadType::V1_TRANSFORM), out)
            })
        })
    }
}

impl Transform {
    /// Reads what follows the Next Payload field and its reserved octet.
    fn decode(outer: &mut Reader<'_>) -> Result<Transform, Malformed> {
        let length = outer.u16("Payload Length")?;
        let mut reader = outer.substructure("Transform", length, SUBSTRUCTURE_HEADER_LEN)?;
        let number = reader.u8("Transform #")?;
        let id = reader.u8("Transform-Id")?;
        reader.u16("RESERVED2")?;
        Ok(Transform { number, id, attributes: decode_all(&mut reader)? })
    }

    fn encode(&self, next_payload: PayloadType, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = out.len();
        out.extend_from_slice(&[next_payload.0, 0, 0, 0, self.number, self.id, 0, 0]);
        with_length(out, "Transform", start, 2, |out| {
            self.attributes.iter().try_for_each(|attribute| attribute.encode(out))
        })
    }
}

/// Gives the Next Payload field of the `index`th of `count`.
fn next(index: usize, count: usize, more: PayloadType) -> PayloadType {
    if index + 1 == count { PayloadType::NONE } else { more }
}

/// Reads a Next Payload field and the reserved octet after it; gives whether another of the kind follows.
fn decode_next(reader: &mut Reader<'_>, more: PayloadType) -> Result<bool, Malformed> {
    let next_payload = PayloadType(reader.u8("Next Payload")?);
    reader.u8("RESERVED")?;
    match next_payload {
        PayloadType::NONE => Ok(false),
        next_payload if next_payload == more => Ok(true),
        next_payload => {
            Err(reader.forbidden("Next Payload", next_payload.0.into(), "0, or one more of the kind"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::v1::Phase1AttributeType;
    use alloc::string::{String, ToString};
    use alloc::vec;

    /// Phase 1, by hand after RFC 2408 §3.4 to §3.6: one transform, its lifetime in the long form.
    const PHASE_1: &str = concat!(
        "00000001 00000001",                                     // IPsec, identity only
        "00000030 01010001", // last, 48 octets; number 1, ISAKMP, no SPI, 1 transform
        "00000028 01010000", // last, 40 octets; number 1, KEY_IKE
        "80010007 800e0100 80020004 8004000e 80030001 800b0001", // AES-256, SHA2-256, group 14, PSK, seconds
        "000c0004 00015180", // 86400
    );

    fn transform() -> Transform {
        let number =
            |attribute_type: Phase1AttributeType, number| Attribute::number(attribute_type.0, number);
        Transform {
            number: 1,
            id: 1,
            attributes: vec![
                number(Phase1AttributeType::ENCRYPTION_ALGORITHM, 7),
                number(Phase1AttributeType::KEY_LENGTH, 256),
                number(Phase1AttributeType::HASH_ALGORITHM, 4),
                number(Phase1AttributeType::GROUP_DESCRIPTION, 14),
                number(Phase1AttributeType::AUTHENTICATION_METHOD, 1),
                number(Phase1AttributeType::LIFE_TYPE, 1),
                number(Phase1AttributeType::LIFE_DURATION, 86400),
            ],
        }
    }

    fn octets(hexadecimal: &str) -> Vec<u8> {
        hex::decode(hexadecimal.replace(' ', "")).unwrap()
    }

    fn refusal(hexadecimal: &str) -> String {
        decode(&octets(hexadecimal)).unwrap_err().to_string()
    }

    #[test]
    fn a_phase_1_proposal_by_hand() {
        let proposal =
            Proposal { number: 1, protocol: ProtocolId::ISAKMP, spi: vec![], transforms: vec![transform()] };
        assert_eq!(decode(&octets(PHASE_1)), Ok(vec![proposal.clone()]));
        let mut out = Vec::new();
        encode(&[proposal], &mut out).unwrap();
        assert_eq!(out, octets(PHASE_1));
    }

    #[test]
    fn another_domain_or_situation_is_refused() {
        assert_eq!(
            refusal(&PHASE_1.replacen("00000001", "00000002", 1)),
            "SA payload: Domain of Interpretation is 2, but must be 1 (IPsec)"
        );
        assert_eq!(
            refusal(&PHASE_1.replace("00000001 00000001", "00000001 00000003")),
            "SA payload: Situation is 3, but must be 1 (identity only)"
        );
    }

    #[test]
    fn counts_and_marks_must_agree() {
        assert_eq!(
            refusal(&PHASE_1.replace("01010001", "01010002")),
            "Proposal: Next Payload is 0, but must be as # of Transforms has it"
        );
        assert_eq!(
            refusal(&PHASE_1.replace("00000028", "03000028")),
            "Proposal: Next Payload is 3, but must be as # of Transforms has it"
        );
        assert_eq!(
            refusal(&PHASE_1.replace("00000030", "05000030")),
            "SA payload: Next Payload is 5, but must be 0, or one more of the kind"
        );
    }

    #[test]
    fn a_transform_finds_its_attributes_in_any_order() {
        let mut transform = transform();
        transform.attributes.reverse();
        assert_eq!(transform.number_of(Phase1AttributeType::LIFE_DURATION.0), Some(86400));
        assert_eq!(transform.number_of(Phase1AttributeType::PRF.0), None);
    }
}
