//! The Notification and Delete payloads (RFC 2408 §3.14 and §3.15).

use alloc::vec::Vec;

use crate::esp::Spi;
use crate::reader::Reader;
use crate::registry::v1::{NotifyType, ProtocolId};
use crate::writer::{length_u8, length_u16};
use crate::{Fault, Malformed, TooLong};

/// The domain of interpretation of IPsec (RFC 2407 §4.1).
pub const DOI_IPSEC: u32 = 1;
/// The domain of interpretation of phase 1 notifications of some senders (RFC 2408 §3.14).
pub const DOI_ISAKMP: u32 = 0;

/// An error or a status.
///
/// ```text
/// |              Domain of Interpretation  (DOI)                  |
/// |  Protocol-ID  |   SPI Size    |      Notify Message Type      |
/// ~                Security Parameter Index (SPI)                 ~
/// ~                       Notification Data                       ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Under whose rules it is to be read.
    pub doi: u32,
    /// The protocol of the SA that `spi` names.
    pub protocol: ProtocolId,
    /// The SA that it is about: four octets of AH and ESP, of ISAKMP both cookies or nothing.
    pub spi: Vec<u8>,
    /// What it says.
    pub notify_type: NotifyType,
    /// What more there is to say, in a form that belongs to the type.
    pub data: Vec<u8>,
}

impl Notification {
    pub(super) fn decode(body: &[u8]) -> Result<Notification, Malformed> {
        let mut reader = Reader::new("Notification payload", body);
        let doi = reader.u32("Domain of Interpretation")?;
        let protocol = ProtocolId(reader.u8("Protocol-ID")?);
        let spi_size = reader.u8("SPI Size")?;
        let notify_type = NotifyType(reader.u16("Notify Message Type")?);
        let spi = reader.take("SPI", spi_size.into())?.to_vec();
        Ok(Notification { doi, protocol, spi, notify_type, data: reader.rest().to_vec() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let spi_size = length_u8("SPI of a Notification payload", self.spi.len())?;
        out.extend_from_slice(&self.doi.to_be_bytes());
        out.extend_from_slice(&[self.protocol.0, spi_size]);
        out.extend_from_slice(&self.notify_type.0.to_be_bytes());
        out.extend_from_slice(&self.spi);
        out.extend_from_slice(&self.data);
        Ok(())
    }
}

/// SAs that the sender has deleted.
///
/// ```text
/// |              Domain of Interpretation  (DOI)                  |
/// |  Protocol-Id  |   SPI Size    |           # of SPIs           |
/// ~               Security Parameter Index(es) (SPI)              ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Under whose rules it is to be read.
    pub doi: u32,
    /// Their protocol.
    pub protocol: ProtocolId,
    /// Octets of each SPI: four of AH and ESP, sixteen of ISAKMP.
    pub spi_size: u8,
    /// The SPIs on which the sender received, one after the other; of ISAKMP both cookies.
    pub spis: Vec<u8>,
}

impl Delete {
    /// A delete of AH or ESP SAs.
    pub fn of_sas(protocol: ProtocolId, spis: &[Spi]) -> Delete {
        let spis = spis.iter().flat_map(|spi| spi.0.to_be_bytes()).collect();
        Delete { doi: DOI_IPSEC, protocol, spi_size: 4, spis }
    }

    /// The AH or ESP SAs that it names.
    pub fn sas(&self) -> impl Iterator<Item = Spi> {
        let (spis, _) = self.spis.as_chunks::<4>();
        let is_of_sas = self.spi_size == 4;
        spis.iter().filter(move |_| is_of_sas).map(|octets| Spi(u32::from_be_bytes(*octets)))
    }

    pub(super) fn decode(body: &[u8]) -> Result<Delete, Malformed> {
        let mut reader = Reader::new("Delete payload", body);
        let doi = reader.u32("Domain of Interpretation")?;
        let protocol = ProtocolId(reader.u8("Protocol-Id")?);
        let spi_size = reader.u8("SPI Size")?;
        let count = reader.u16("# of SPIs")?;
        let stated = usize::from(spi_size) * usize::from(count);
        let spis = reader.rest();
        if stated != spis.len() || spi_size == 0 {
            let fault = Fault::WrongLength { stated, actual: spis.len() };
            return Err(Malformed::new("Delete payload", "# of SPIs", fault));
        }
        Ok(Delete { doi, protocol, spi_size, spis: spis.to_vec() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let count = self.spis.len() / usize::from(self.spi_size.max(1));
        let count = length_u16("SPIs of a Delete payload", count)?;
        out.extend_from_slice(&self.doi.to_be_bytes());
        out.extend_from_slice(&[self.protocol.0, self.spi_size]);
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&self.spis);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn a_delete_by_hand() {
        let delete = Delete::of_sas(ProtocolId::ESP, &[Spi(0xc0ff_ee01), Spi(256)]);
        let mut out = Vec::new();
        delete.encode(&mut out).unwrap();
        assert_eq!(hex::encode(&out), "0000000103040002c0ffee0100000100");
        assert_eq!(Delete::decode(&out), Ok(delete.clone()));
        assert!(delete.sas().eq([Spi(0xc0ff_ee01), Spi(256)]));
        out.pop();
        assert_eq!(
            Delete::decode(&out).unwrap_err().to_string(),
            "Delete payload: # of SPIs says 8 octets where there are 7"
        );
    }

    #[test]
    fn an_isakmp_sa_is_named_by_both_cookies() {
        let delete = Delete { doi: DOI_IPSEC, protocol: ProtocolId::ISAKMP, spi_size: 16, spis: vec![7; 16] };
        let mut out = Vec::new();
        delete.encode(&mut out).unwrap();
        assert_eq!(hex::encode(&out[..8]), "0000000101100001");
        assert_eq!(delete.sas().count(), 0);
    }

    #[test]
    fn a_delete_of_spis_without_octets_names_nothing() {
        assert!(Delete::decode(&[0, 0, 0, 1, 3, 0, 0xff, 0xff]).is_err());
    }
}
