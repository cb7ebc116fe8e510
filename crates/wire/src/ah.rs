//! The Authentication Header (RFC 4302 §2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Header   |  Payload Len  |          RESERVED             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 Security Parameters Index (SPI)               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Sequence Number Field                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                Integrity Check Value (ICV), padded            ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use crate::esp::Spi;
use crate::reader::Reader;
use crate::{Fault, Malformed};

/// Octets of the header in front of its ICV.
pub const FIXED_LEN: usize = 12;

/// An Authentication Header and what it protects, as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The IP protocol of what follows the header.
    pub next_header: u8,
    /// Which SA the packet belongs to.
    pub spi: Spi,
    /// The sequence number, or the low half of an extended one (RFC 4302 §2.5.1).
    pub sequence: u32,
    /// The integrity check value, with the padding that RFC 4302 §3.3.3.2.1 may put behind it.
    pub icv: &'a [u8],
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads the header at the front of `bytes`, which go to the end of the IP packet.
    ///
    /// # Errors
    /// When the header's length is less than its fixed part or more than there is.
    pub fn decode(bytes: &'a [u8]) -> Result<Header<'a>, Malformed> {
        let mut reader = Reader::new("AH", bytes);
        let next_header = reader.u8("Next Header")?;
        // In units of four octets, less two (RFC 4302 §2.2).
        let length = (usize::from(reader.u8("Payload Len")?) + 2) * 4;
        reader.u16("RESERVED")?;
        let spi = Spi(reader.u32("SPI")?);
        let sequence = reader.u32("Sequence Number")?;
        let icv_len = length.checked_sub(FIXED_LEN).ok_or_else(|| {
            reader.malformed("Payload Len", Fault::WrongLength { stated: length, actual: FIXED_LEN })
        })?;
        let icv = reader.take("Integrity Check Value", icv_len)?;
        Ok(Header { next_header, spi, sequence, icv, payload: reader.rest() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_header_by_hand() {
        // TCP behind it, 24 octets (4 + 2 words), SPI 256, sequence 5; an ICV of 12 octets, 1 of payload.
        let bytes =
            hex::decode("06040000 00000100 00000005 0102030405060708090a0b0c ff".replace(' ', "")).unwrap();
        let header = Header::decode(&bytes).unwrap();
        assert_eq!((header.next_header, header.spi, header.sequence), (6, Spi(256), 5));
        assert_eq!((header.icv, header.payload), (&bytes[12..24], &bytes[24..]));
    }

    #[test]
    fn a_header_cannot_be_shorter_than_its_fixed_part_or_longer_than_the_packet() {
        let refusal = |payload_len| {
            Header::decode(&[6, payload_len, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5]).unwrap_err().to_string()
        };
        assert_eq!(refusal(0), "AH: Payload Len says 8 octets where there are 12");
        assert_eq!(refusal(2), "AH: Integrity Check Value takes 4 octets, but only 0 are left");
    }
}
