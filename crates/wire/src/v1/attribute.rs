//! Data attributes, in transforms and in the Attributes payload of Mode Config and XAuth (RFC 2408 §3.3,
//! draft-dukes-ike-mode-cfg §3.2).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |A|       Attribute Type        | A=1: value, A=0: length       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                      A=0: Attribute Value                     ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use crate::reader::Reader;
use crate::registry::v1::{ConfigurationAttributeType, ConfigurationType};
use crate::writer::length_u16;
use crate::{Malformed, TooLong};

/// The bit of an attribute's type that says: the value is in the length's place.
const SHORT_FORM: u16 = 0x8000;

/// One attribute; what its type and value mean depends on where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// What it is about: a number of the registry that belongs to the place; 15 bits.
    pub attribute_type: u16,
    /// What it says.
    pub value: AttributeValue,
}

/// An attribute's value in one of its two forms. A number that fits two octets may come in either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// Type and value.
    Short(u16),
    /// Type, length and value.
    Long(Vec<u8>),
}

impl Attribute {
    /// An attribute whose value is a number: in the short form if it fits, else in as many octets as it takes, at
    /// least four.
    pub fn number(attribute_type: u16, number: u64) -> Attribute {
        let value = match (u16::try_from(number), u32::try_from(number)) {
            (Ok(short), _) => AttributeValue::Short(short),
            (Err(_), Ok(long)) => AttributeValue::Long(long.to_be_bytes().to_vec()),
            (Err(_), Err(_)) => AttributeValue::Long(number.to_be_bytes().to_vec()),
        };
        Attribute { attribute_type, value }
    }

    /// An attribute whose value is octets.
    pub fn octets(attribute_type: u16, octets: impl Into<Vec<u8>>) -> Attribute {
        Attribute { attribute_type, value: AttributeValue::Long(octets.into()) }
    }

    /// The value as a number, whichever its form; `None` if it has no octets or more than eight that count.
    pub fn as_number(&self) -> Option<u64> {
        match &self.value {
            AttributeValue::Short(value) => Some(u64::from(*value)),
            AttributeValue::Long(octets) if octets.is_empty() => None,
            AttributeValue::Long(octets) => {
                let leading = octets.len().saturating_sub(8);
                let (zeros, number) = octets.split_at(leading);
                let is_small = zeros.iter().all(|octet| *octet == 0);
                is_small.then(|| number.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet)))
            }
        }
    }

    /// The value as octets, whichever its form.
    pub fn to_octets(&self) -> Vec<u8> {
        match &self.value {
            AttributeValue::Short(value) => value.to_be_bytes().to_vec(),
            AttributeValue::Long(octets) => octets.clone(),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Attribute, Malformed> {
        let form_and_type = reader.u16("Attribute Type")?;
        let value_or_length = reader.u16("Attribute Value or Length")?;
        let value = if form_and_type & SHORT_FORM != 0 {
            AttributeValue::Short(value_or_length)
        } else {
            AttributeValue::Long(reader.take("Attribute Value", value_or_length.into())?.to_vec())
        };
        Ok(Attribute { attribute_type: form_and_type & !SHORT_FORM, value })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match &self.value {
            AttributeValue::Short(value) => {
                out.extend_from_slice(&(self.attribute_type | SHORT_FORM).to_be_bytes());
                out.extend_from_slice(&value.to_be_bytes());
            }
            AttributeValue::Long(octets) => {
                let length = length_u16("Attribute", octets.len())?;
                out.extend_from_slice(&(self.attribute_type & !SHORT_FORM).to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(octets);
            }
        }
        Ok(())
    }
}

/// Reads attributes up to the end.
pub(super) fn decode_all(reader: &mut Reader<'_>) -> Result<Vec<Attribute>, Malformed> {
    let mut attributes = Vec::new();
    while !reader.is_empty() {
        attributes.push(Attribute::decode(reader)?);
    }
    Ok(attributes)
}

/// Reads attributes that stand alone, as the data of a RESPONDER-LIFETIME notification does (RFC 2407 §4.6.3.1).
///
/// # Errors
/// One ends before its length says.
pub fn decode_attributes(data: &[u8]) -> Result<Vec<Attribute>, Malformed> {
    decode_all(&mut Reader::new("attributes", data))
}

/// Lays out the same.
///
/// # Errors
/// One is longer than its length can say.
pub fn encode_attributes(attributes: &[Attribute]) -> Result<Vec<u8>, TooLong> {
    let mut data = Vec::new();
    attributes.iter().try_for_each(|attribute| attribute.encode(&mut data))?;
    Ok(data)
}

/// The Attributes payload (draft-dukes-ike-mode-cfg §3.2).
///
/// ```text
/// |     Type      |   RESERVED    |          Identifier           |
/// ~                           Attributes                          ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Whether it asks, answers, imposes or accepts.
    pub configuration_type: ConfigurationType,
    /// Ties an answer to what it answers.
    pub identifier: u16,
    /// The attributes; an empty one asks for a value.
    pub attributes: Vec<Attribute>,
}

impl Attributes {
    /// The first attribute of a type.
    pub fn find(&self, attribute_type: ConfigurationAttributeType) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.attribute_type == attribute_type.0)
    }

    pub(super) fn decode(body: &[u8]) -> Result<Attributes, Malformed> {
        let mut reader = Reader::new("ATTR payload", body);
        let configuration_type = ConfigurationType(reader.u8("Type")?);
        reader.u8("RESERVED")?;
        let identifier = reader.u16("Identifier")?;
        Ok(Attributes { configuration_type, identifier, attributes: decode_all(&mut reader)? })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.extend_from_slice(&[self.configuration_type.0, 0]);
        out.extend_from_slice(&self.identifier.to_be_bytes());
        self.attributes.iter().try_for_each(|attribute| attribute.encode(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_number_is_the_same_in_either_form() {
        let long = |octets: &[u8]| Attribute::octets(12, octets).as_number();
        assert_eq!(Attribute::number(12, 3600).value, AttributeValue::Short(3600));
        assert_eq!(Attribute::number(12, 86400).value, AttributeValue::Long(vec![0, 1, 0x51, 0x80]));
        assert_eq!(long(&[0, 1, 0x51, 0x80]), Some(86400));
        assert_eq!(long(&[14, 16]), Some(3600));
        assert_eq!(long(&[0; 40]), Some(0));
        assert_eq!(long(&[1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(long(&[]), None);
        assert_eq!(Attribute::number(12, u64::MAX).as_number(), Some(u64::MAX));
    }
}
