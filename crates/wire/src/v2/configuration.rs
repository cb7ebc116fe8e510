//! The Configuration payload: addresses, DNS servers and the like, asked for or given
//! (RFC 7296 §3.15).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   CFG Type    |                    RESERVED                   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |R|         Attribute Type      |            Length             |  \ each
//! ~                             Value                             ~  / attribute
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use crate::reader::Reader;
use crate::registry::{ConfigurationAttributeType, ConfigurationType};
use crate::writer::length_u16;
use crate::{Malformed, TooLong};

/// The reserved bit of an attribute's type.
const RESERVED: u16 = 0x8000;

/// The body of a CP payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Whether it asks, answers, imposes or accepts.
    pub configuration_type: ConfigurationType,
    /// What about.
    pub attributes: Vec<ConfigurationAttribute>,
}

/// One thing asked for or given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationAttribute {
    /// What it is; 15 bits.
    pub attribute_type: ConfigurationAttributeType,
    /// Its value in the form that belongs to the type; empty in a request that leaves it open.
    pub value: Vec<u8>,
}

impl Configuration {
    pub(super) fn decode(body: &[u8]) -> Result<Configuration, Malformed> {
        let mut reader = Reader::new("CP payload", body);
        let configuration_type = ConfigurationType(reader.u8("CFG Type")?);
        reader.array::<3>("RESERVED")?;
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            attributes.push(ConfigurationAttribute::decode(&mut reader)?);
        }
        Ok(Configuration { configuration_type, attributes })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.extend_from_slice(&[self.configuration_type.0, 0, 0, 0]);
        self.attributes.iter().try_for_each(|attribute| attribute.encode(out))
    }
}

impl ConfigurationAttribute {
    fn decode(reader: &mut Reader<'_>) -> Result<ConfigurationAttribute, Malformed> {
        let attribute_type = ConfigurationAttributeType(reader.u16("Attribute Type")? & !RESERVED);
        let length = reader.u16("Attribute Length")?;
        let value = reader.take("Attribute Value", length.into())?.to_vec();
        Ok(ConfigurationAttribute { attribute_type, value })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let length = length_u16("Attribute of a CP payload", self.value.len())?;
        out.extend_from_slice(&(self.attribute_type.0 & !RESERVED).to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn a_request_for_an_address_by_hand() {
        // CFG_REQUEST; INTERNAL_IP4_ADDRESS, empty; INTERNAL_IP4_DNS, empty.
        let body = [1, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0];
        let attribute = |attribute_type| ConfigurationAttribute { attribute_type, value: vec![] };
        let configuration = Configuration {
            configuration_type: ConfigurationType::REQUEST,
            attributes: vec![
                attribute(ConfigurationAttributeType::INTERNAL_IP4_ADDRESS),
                attribute(ConfigurationAttributeType::INTERNAL_IP4_DNS),
            ],
        };
        assert_eq!(Configuration::decode(&body), Ok(configuration.clone()));
        let mut out = Vec::new();
        configuration.encode(&mut out).unwrap();
        assert_eq!(out, body);
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        let configuration = Configuration::decode(&[2, 0, 0, 0, 0x80, 1, 0, 0]).unwrap();
        let attribute_type = configuration.attributes[0].attribute_type;
        assert_eq!(attribute_type, ConfigurationAttributeType::INTERNAL_IP4_ADDRESS);
    }

    #[test]
    fn a_value_cannot_reach_past_the_payload() {
        let error = Configuration::decode(&[2, 0, 0, 0, 0, 1, 0, 4, 10, 0, 0]).unwrap_err();
        assert_eq!(error.to_string(), "CP payload: Attribute Value takes 4 octets, but only 3 are left");
    }
}
