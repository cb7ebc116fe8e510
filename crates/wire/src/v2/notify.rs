//! The Notify and Delete payloads, by which one end tells the other what happened
//! (RFC 7296 §3.10 and §3.11).

use alloc::vec::Vec;

use crate::esp::Spi;
use crate::reader::Reader;
use crate::registry::v1::IpcompTransformId;
use crate::registry::{HashAlgorithm, NotifyType, ProtocolId};
use crate::writer::{length_u8, length_u16};
use crate::{Fault, Malformed, TooLong};

/// Octets in the SPI of an AH or ESP SA.
const SPI_LEN: usize = 4;

/// An error or a status.
///
/// ```text
/// |  Protocol ID  |   SPI Size    |      Notify Message Type      |
/// ~                Security Parameter Index (SPI)                 ~
/// ~                       Notification Data                       ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The protocol of the SA that `spi` names, or [`ProtocolId::NONE`].
    pub protocol: ProtocolId,
    /// The SA that the notify is about, where it is about one: four octets of AH and ESP.
    pub spi: Vec<u8>,
    /// What it says.
    pub notify_type: NotifyType,
    /// What more there is to say, in a form that belongs to the type.
    pub data: Vec<u8>,
}

impl Notify {
    /// Octets of the payload without SPI and data, its generic header included.
    pub const EMPTY_LEN: usize = 8;

    /// A notify that is not about one Child SA.
    pub fn new(notify_type: NotifyType, data: impl Into<Vec<u8>>) -> Notify {
        Notify { protocol: ProtocolId::NONE, spi: Vec::new(), notify_type, data: data.into() }
    }

    /// A notify about the AH or ESP SA that `spi` names: REKEY_SA, CHILD_SA_NOT_FOUND.
    pub fn about(protocol: ProtocolId, spi: Spi, notify_type: NotifyType) -> Notify {
        Notify { protocol, spi: spi.0.to_be_bytes().to_vec(), notify_type, data: Vec::new() }
    }

    /// IPCOMP_SUPPORTED: packets to the sender may be compressed so, and carry this index then (RFC 7296 §2.22).
    pub fn ipcomp(cpi: u16, transform: IpcompTransformId) -> Notify {
        let [high, low] = cpi.to_be_bytes();
        Notify::new(NotifyType::IPCOMP_SUPPORTED, [high, low, transform.0])
    }

    /// The index and the algorithm of an IPCOMP_SUPPORTED notify; attributes that may follow are not read.
    pub fn compression(&self) -> Option<(u16, IpcompTransformId)> {
        match (self.notify_type, self.data.as_slice()) {
            (NotifyType::IPCOMP_SUPPORTED, [high, low, transform, ..]) => {
                Some((u16::from_be_bytes([*high, *low]), IpcompTransformId(*transform)))
            }
            _ => None,
        }
    }

    /// SIGNATURE_HASH_ALGORITHMS: the hashes that the sender takes in digital signatures (RFC 7427 §4).
    pub fn signature_hashes(hashes: &[HashAlgorithm]) -> Notify {
        let data: Vec<u8> = hashes.iter().flat_map(|hash| hash.0.to_be_bytes()).collect();
        Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, data)
    }

    /// The hashes that a SIGNATURE_HASH_ALGORITHMS notify names; an odd octet at the end names none.
    pub fn named_hashes(&self) -> Option<Vec<HashAlgorithm>> {
        let hash = |pair: &[u8]| <[u8; 2]>::try_from(pair).ok().map(u16::from_be_bytes).map(HashAlgorithm);
        (self.notify_type == NotifyType::SIGNATURE_HASH_ALGORITHMS)
            .then(|| self.data.chunks(2).filter_map(hash).collect())
    }

    /// The SPI of the AH or ESP SA that the notify is about, if it is about one.
    pub fn child_spi(&self) -> Option<Spi> {
        <[u8; SPI_LEN]>::try_from(self.spi.as_slice()).ok().map(|octets| Spi(u32::from_be_bytes(octets)))
    }

    pub(super) fn decode(body: &[u8]) -> Result<Notify, Malformed> {
        let mut reader = Reader::new("Notify payload", body);
        let protocol = ProtocolId(reader.u8("Protocol ID")?);
        let spi_size = reader.u8("SPI Size")?;
        let notify_type = NotifyType(reader.u16("Notify Message Type")?);
        let spi = reader.take("SPI", spi_size.into())?.to_vec();
        Ok(Notify { protocol, spi, notify_type, data: reader.rest().to_vec() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let spi_size = length_u8("SPI of a Notify payload", self.spi.len())?;
        out.extend_from_slice(&[self.protocol.0, spi_size]);
        out.extend_from_slice(&self.notify_type.0.to_be_bytes());
        out.extend_from_slice(&self.spi);
        out.extend_from_slice(&self.data);
        Ok(())
    }
}

/// Which SAs the sender has deleted: the IKE SA that carries the message, or those AH or ESP SAs on
/// which the sender receives.
///
/// ```text
/// |  Protocol ID  |   SPI Size    |          Num of SPIs          |
/// ~               Security Parameter Index(es) (SPI)              ~
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// [`ProtocolId::IKE`], or the protocol of all of `spis`.
    pub protocol: ProtocolId,
    /// The inbound SPIs of the sender; none when the IKE SA is deleted.
    pub spis: Vec<Spi>,
}

impl Delete {
    /// Deletes the IKE SA that carries the message, and all its Child SAs with it.
    pub fn ike_sa() -> Delete {
        Delete { protocol: ProtocolId::IKE, spis: Vec::new() }
    }

    pub(super) fn decode(body: &[u8]) -> Result<Delete, Malformed> {
        let mut reader = Reader::new("Delete payload", body);
        let protocol = ProtocolId(reader.u8("Protocol ID")?);
        let spi_size = usize::from(reader.u8("SPI Size")?);
        let count = reader.u16("Num of SPIs")?;
        // The IKE SA is named by the header (RFC 7296 §3.11).
        let expected = if protocol == ProtocolId::IKE { 0 } else { SPI_LEN };
        if spi_size != expected {
            return Err(
                reader.malformed("SPI Size", Fault::WrongLength { stated: spi_size, actual: expected })
            );
        }
        if protocol == ProtocolId::IKE && count != 0 {
            return Err(reader.forbidden("Num of SPIs", count.into(), "0 for an IKE SA"));
        }
        let spis = (0..count).map(|_| reader.u32("SPI").map(Spi)).collect::<Result<_, _>>()?;
        reader.finish("the last SPI")?;
        Ok(Delete { protocol, spis })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let spi_size = if self.protocol == ProtocolId::IKE { 0 } else { SPI_LEN as u8 };
        let count = length_u16("SPIs of a Delete payload", self.spis.len())?;
        out.extend_from_slice(&[self.protocol.0, spi_size]);
        out.extend_from_slice(&count.to_be_bytes());
        out.extend(self.spis.iter().flat_map(|spi| spi.0.to_be_bytes()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn a_rekey_notify_by_hand() {
        // ESP, an SPI of 4 octets, REKEY_SA (16393), the SPI.
        let body = [3, 4, 0x40, 0x09, 0xde, 0xad, 0xbe, 0xef];
        let notify = Notify::about(ProtocolId::ESP, Spi(0xdead_beef), NotifyType::REKEY_SA);
        assert_eq!(notify.child_spi(), Some(Spi(0xdead_beef)));
        let mut out = Vec::new();
        notify.encode(&mut out).unwrap();
        assert_eq!(out, body);
        assert_eq!(Notify::decode(&body), Ok(notify));
    }

    #[test]
    fn an_ipcomp_notify_by_hand() {
        // No SPI, IPCOMP_SUPPORTED (16387), the CPI, DEFLATE.
        let body = [0, 0, 0x40, 0x03, 0x12, 0x34, 2];
        let notify = Notify::ipcomp(0x1234, IpcompTransformId::DEFLATE);
        let mut out = Vec::new();
        notify.encode(&mut out).unwrap();
        assert_eq!(out, body);
        assert_eq!(Notify::decode(&body).unwrap().compression(), Some((0x1234, IpcompTransformId::DEFLATE)));
        assert_eq!(Notify::decode(&body[..6]).unwrap().compression(), None);
        assert_eq!(Notify::new(NotifyType::COOKIE, [1, 2, 3]).compression(), None);
    }

    #[test]
    fn the_hashes_of_a_notify_are_read_as_they_were_written() {
        let hashes = [HashAlgorithm::SHA2_256, HashAlgorithm::IDENTITY, HashAlgorithm(77)];
        let mut notify = Notify::signature_hashes(&hashes);
        assert_eq!(notify.data, [0, 2, 0, 5, 0, 77]);
        notify.data.push(9);
        assert_eq!(notify.named_hashes(), Some(hashes.to_vec()));
        assert_eq!(Notify::new(NotifyType::COOKIE, [0, 2]).named_hashes(), None);
    }

    #[test]
    fn a_notify_spi_cannot_reach_past_the_payload() {
        let error = Notify::decode(&[3, 5, 0x40, 0x09, 1, 2, 3, 4]).unwrap_err();
        assert_eq!(error.to_string(), "Notify payload: SPI takes 5 octets, but only 4 are left");
    }

    #[test]
    fn a_delete_of_two_child_sas_by_hand() {
        let body = [3, 4, 0, 2, 0, 0, 1, 0, 0, 0, 1, 1];
        let delete = Delete { protocol: ProtocolId::ESP, spis: vec![Spi(0x100), Spi(0x101)] };
        assert_eq!(Delete::decode(&body), Ok(delete.clone()));
        let mut out = Vec::new();
        delete.encode(&mut out).unwrap();
        assert_eq!(out, body);
    }

    #[test]
    fn a_delete_has_as_many_spis_as_it_says() {
        let refusal = |body: &[u8]| Delete::decode(body).unwrap_err().to_string();
        assert_eq!(Delete::decode(&[1, 0, 0, 0]), Ok(Delete::ike_sa()));
        assert_eq!(refusal(&[1, 0, 0, 1]), "Delete payload: Num of SPIs is 1, but must be 0 for an IKE SA");
        assert_eq!(refusal(&[1, 8, 0, 0]), "Delete payload: SPI Size says 8 octets where there are 0");
        assert_eq!(
            refusal(&[3, 4, 0, 2, 0, 0, 1, 0]),
            "Delete payload: SPI takes 4 octets, but only 0 are left"
        );
        assert_eq!(refusal(&[3, 4, 0, 0, 0]), "Delete payload: 1 octet left over after the last SPI");
        // A size of zero must not make 65535 SPIs out of nothing.
        assert_eq!(refusal(&[3, 0, 0xff, 0xff]), "Delete payload: SPI Size says 0 octets where there are 4");
    }
}
