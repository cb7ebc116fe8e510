//! The Notify and Delete payloads, by which one end tells the other what happened
//! (RFC 7296 §3.10 and §3.11).

use alloc::vec::Vec;

use crate::esp::Spi;
use crate::reader::Reader;
use crate::registry::{NotifyType, ProtocolId};
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
    /// A notify that is not about one Child SA.
    pub fn new(notify_type: NotifyType, data: impl Into<Vec<u8>>) -> Notify {
        Notify { protocol: ProtocolId::NONE, spi: Vec::new(), notify_type, data: data.into() }
    }

    /// A notify about the AH or ESP SA that `spi` names: REKEY_SA, CHILD_SA_NOT_FOUND.
    pub fn about(protocol: ProtocolId, spi: Spi, notify_type: NotifyType) -> Notify {
        Notify { protocol, spi: spi.0.to_be_bytes().to_vec(), notify_type, data: Vec::new() }
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
