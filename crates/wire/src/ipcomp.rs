//! The IPComp header (RFC 3173 §3.3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Header  |     Flags     |  Compression Parameter Index  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use crate::Malformed;
use crate::reader::Reader;

/// What is in front of a compressed payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The IP protocol of the payload once it is decompressed.
    pub next_header: u8,
    /// Which compression it is, as the receiver numbers them.
    pub cpi: u16,
}

impl Header {
    /// Octets that the header takes.
    pub const LEN: usize = 4;

    /// Reads the header at the front of `bytes`; gives it and the compressed payload. The flags are ignored, as they
    /// must be.
    ///
    /// # Errors
    /// When fewer than [`Header::LEN`] octets are there.
    pub fn decode(bytes: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let mut reader = Reader::new("IPComp header", bytes);
        let [next_header, _flags] = reader.array("Next Header")?;
        let cpi = reader.u16("Compression Parameter Index")?;
        Ok((Header { next_header, cpi }, reader.rest()))
    }

    /// The header's octets.
    pub fn encode(&self) -> [u8; Header::LEN] {
        let [high, low] = self.cpi.to_be_bytes();
        [self.next_header, 0, high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_by_hand() {
        let header = Header { next_header: 6, cpi: 0x1234 };
        assert_eq!(header.encode(), [6, 0, 0x12, 0x34]);
        assert_eq!(Header::decode(&[6, 0xff, 0x12, 0x34, 9]), Ok((header, &[9][..])));
        assert!(Header::decode(&[6, 0, 0x12]).is_err());
    }
}
