//! The Encapsulating Security Payload (RFC 4303 §2): what is in front of the ciphertext, and what is
//! behind the packet inside it.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               Security Parameters Index (SPI)                 | \ header,
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ | in the
//! |                      Sequence Number                          | / clear
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~           IV, the packet, traffic flow confidentiality        ~
//! +               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               |     Padding (0-255 octets)                    | \ trailer,
//! +-+-+-+-+-+-+-+-+               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ | encrypted
//! |                               |  Pad Length   | Next Header   | /
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                 Integrity Check Value (ICV)                   ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::fmt;

use crate::reader::Reader;
use crate::{Fault, Malformed};

/// Octets of the header: SPI and sequence number.
pub const HEADER_LEN: usize = 8;
/// Octets of the trailer behind its padding: pad length and next header.
pub const TRAILER_LEN: usize = 2;
/// The most padding that the pad length can express, in octets.
pub const PADDING_MAX: usize = 255;
/// Ciphertext ends at a multiple of this many octets whatever the cipher (RFC 4303 §2.4).
pub const ALIGNMENT: usize = 4;

/// The name of one AH or ESP SA, given by the end that receives on it (RFC 4303 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(
    /// The four octets, first octet most significant.
    pub u32,
);

impl Spi {
    /// The lowest value that may name an SA; IANA keeps those below, and zero never goes out
    /// (RFC 4303 §2.1).
    pub const LOWEST: Spi = Spi(256);
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of an ESP packet in front of its initialization vector (RFC 4303 §2.1 and §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which SA the packet belongs to.
    pub spi: Spi,
    /// The sequence number, or the low half of an extended one (RFC 4303 §2.2.1).
    pub sequence: u32,
}

impl Header {
    /// Reads the header at the front of `packet`.
    ///
    /// # Errors
    /// When fewer than [`HEADER_LEN`] octets are there.
    pub fn decode(packet: &[u8]) -> Result<Header, Malformed> {
        let mut reader = Reader::new("ESP header", packet);
        Ok(Header { spi: Spi(reader.u32("SPI")?), sequence: reader.u32("Sequence Number")? })
    }

    /// The header's octets.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let both = u64::from(self.spi.0) << 32 | u64::from(self.sequence);
        both.to_be_bytes()
    }
}

/// How many octets of padding make `payload_len` octets and a trailer end at a multiple of
/// `alignment`: the cipher's block length, and never less than [`ALIGNMENT`] (RFC 4303 §2.4).
pub const fn padding_len(payload_len: usize, alignment: usize) -> usize {
    let alignment = if alignment < ALIGNMENT { ALIGNMENT } else { alignment };
    (alignment - (payload_len + TRAILER_LEN) % alignment) % alignment
}

/// Fills `trailer`, which begins where the payload ends, with padding 1, 2, 3, … (RFC 4303 §2.4),
/// pad length and next header.
///
/// # Errors
/// When `trailer` is shorter than [`TRAILER_LEN`], or longer than that and [`PADDING_MAX`].
pub fn write_trailer(trailer: &mut [u8], next_header: u8) -> Result<(), Malformed> {
    let length = trailer.len();
    let wrong =
        |actual| Malformed::new("ESP trailer", "length", Fault::WrongLength { stated: length, actual });
    let (padding, last) = trailer.split_last_chunk_mut::<TRAILER_LEN>().ok_or(wrong(TRAILER_LEN))?;
    let pad_length = u8::try_from(padding.len()).map_err(|_| wrong(PADDING_MAX + TRAILER_LEN))?;
    for (octet, value) in padding.iter_mut().zip(1..=u8::MAX) {
        *octet = value;
    }
    *last = [pad_length, next_header];
    Ok(())
}

/// What the trailer says of the plaintext in front of it (RFC 4303 §2.4 to §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Octets of the plaintext that are payload. In tunnel mode the packet inside may be shorter
    /// than that: the rest hides its length (RFC 4303 §2.7).
    pub payload_len: usize,
    /// What the payload is: an IP protocol number, [`crate::ip::protocol::NO_NEXT_HEADER`] of a
    /// packet that is there to be thrown away (RFC 4303 §2.6).
    pub next_header: u8,
}

impl Trailer {
    /// Reads the trailer at the end of `plaintext`, a packet's decrypted and authenticated octets
    /// between initialization vector and ICV, and checks its padding.
    ///
    /// # Errors
    /// When the pad length is more than there is, or the padding is not 1, 2, 3, … (RFC 4303 §2.4).
    pub fn decode(plaintext: &[u8]) -> Result<Trailer, Malformed> {
        const STRUCTURE: &str = "ESP trailer";
        let Some((front, &[pad_length, next_header])) = plaintext.split_last_chunk::<TRAILER_LEN>() else {
            let fault = Fault::Truncated { needed: TRAILER_LEN, available: plaintext.len() };
            return Err(Malformed::new(STRUCTURE, "Pad Length", fault));
        };
        let Some(payload_len) = front.len().checked_sub(pad_length.into()) else {
            let fault = Fault::WrongLength { stated: pad_length.into(), actual: front.len() };
            return Err(Malformed::new(STRUCTURE, "Pad Length", fault));
        };
        match front[payload_len..].iter().zip(1..=u8::MAX).find(|(octet, expected)| *octet != expected) {
            None => Ok(Trailer { payload_len, next_header }),
            Some((octet, _)) => {
                Err(Malformed::forbidden(STRUCTURE, "Padding", (*octet).into(), "1, 2, 3, ..."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn a_header_by_hand() {
        let header = Header { spi: Spi(0xc0ff_ee01), sequence: 7 };
        assert_eq!(header.encode(), [0xc0, 0xff, 0xee, 0x01, 0, 0, 0, 7]);
        assert_eq!(Header::decode(&header.encode()), Ok(header));
        assert!(Header::decode(&[0; 7]).is_err());
    }

    #[test]
    fn a_trailer_by_hand() {
        // Five octets of payload and a trailer fill eight with one octet of padding, or sixteen with nine.
        assert_eq!((padding_len(5, 1), padding_len(5, 16)), (1, 9));
        let mut trailer = [0xff; 5];
        write_trailer(&mut trailer, crate::ip::protocol::IPV4).unwrap();
        assert_eq!(trailer, [1, 2, 3, 3, 4]);
    }

    #[test]
    fn a_wrong_trailer_says_what_is_wrong() {
        let refusal = |plaintext: &[u8]| Trailer::decode(plaintext).unwrap_err().to_string();
        assert_eq!(refusal(&[4]), "ESP trailer: Pad Length takes 2 octets, but only 1 are left");
        assert_eq!(refusal(&[1, 2, 3, 4]), "ESP trailer: Pad Length says 3 octets where there are 2");
        assert_eq!(refusal(&[1, 1, 2, 4]), "ESP trailer: Padding is 1, but must be 1, 2, 3, ...");
    }

    #[test]
    fn padding_beyond_its_length_field_is_refused() {
        let mut longest = [0; PADDING_MAX + TRAILER_LEN];
        write_trailer(&mut longest, 4).unwrap();
        assert_eq!(Trailer::decode(&longest), Ok(Trailer { payload_len: 0, next_header: 4 }));
        assert!(write_trailer(&mut [0; PADDING_MAX + TRAILER_LEN + 1], 4).is_err());
        assert!(write_trailer(&mut [0; 1], 4).is_err());
    }

    proptest! {
        #[test]
        fn what_is_padded_ends_aligned_and_reads_back(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            alignment in prop_oneof![Just(1usize), Just(4), Just(8), Just(16)],
            next_header: u8,
        ) {
            let padding = padding_len(payload.len(), alignment);
            prop_assert!(padding < alignment.max(ALIGNMENT));
            let mut plaintext: Vec<u8> = payload.clone();
            plaintext.extend(vec![0xee; padding + TRAILER_LEN]);
            write_trailer(&mut plaintext[payload.len()..], next_header).unwrap();
            prop_assert_eq!(plaintext.len() % alignment.max(ALIGNMENT), 0);
            prop_assert_eq!(
                Trailer::decode(&plaintext),
                Ok(Trailer { payload_len: payload.len(), next_header })
            );
        }
    }
}
