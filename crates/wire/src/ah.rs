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
