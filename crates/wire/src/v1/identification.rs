//! The Identification payload, in phase 1 an end and in phase 2 the traffic of one (RFC 2407 §4.6.2), and the original
//! addresses of transport mode behind a NAT (RFC 3947 §5.2).

use alloc::vec::Vec;

use crate::Malformed;
use crate::reader::Reader;
use crate::registry::IdType;

/// Who an end is, or which traffic it means.
///
/// ```text
/// |    ID Type    |  Protocol ID  |             Port              |
/// ~                      Identification Data                      ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identification {
    /// The form of `data`.
    pub id_type: IdType,
    /// In phase 2 the IP protocol, 0 for any; in phase 1 zero or UDP.
    pub protocol: u8,
    /// In phase 2 the port, 0 for any; in phase 1 zero or 500.
    pub port: u16,
    /// The identity: an address's octets, a network, a name, …
    pub data: Vec<u8>,
}

impl Identification {
    /// The payload's body, which the proofs of phase 1 cover (RFC 2409 §5: `ID_b`).
    pub fn to_body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.data.len());
        self.encode(&mut out);
        out
    }

    pub(super) fn decode(body: &[u8]) -> Result<Identification, Malformed> {
        let mut reader = Reader::new("ID payload", body);
        let id_type = IdType(reader.u8("ID Type")?);
        let protocol = reader.u8("Protocol ID")?;
        let port = reader.u16("Port")?;
        Ok(Identification { id_type, protocol, port, data: reader.rest().to_vec() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.id_type.0, self.protocol]);
        out.extend_from_slice(&self.port.to_be_bytes());
        out.extend_from_slice(&self.data);
    }
}

/// An address as its own end sees it.
///
/// ```text
/// |    ID Type    |                   RESERVED                    |
/// ~                   IPv4 or IPv6 address                        ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalAddress {
    /// The form of `data`.
    pub id_type: IdType,
    /// The address.
    pub data: Vec<u8>,
}

impl OriginalAddress {
    pub(super) fn decode(body: &[u8]) -> Result<OriginalAddress, Malformed> {
        let mut reader = Reader::new("NAT-OA payload", body);
        let id_type = IdType(reader.u8("ID Type")?);
        reader.array::<3>("RESERVED")?;
        Ok(OriginalAddress { id_type, data: reader.rest().to_vec() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.id_type.0, 0, 0, 0]);
        out.extend_from_slice(&self.data);
    }
}
