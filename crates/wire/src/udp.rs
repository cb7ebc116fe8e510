//! UDP, and IKE and ESP inside it on port 4500 (RFC 768, RFC 3948).
//!
//! ```text
//!  0      7 8     15 16    23 24    31      on port 4500, behind the UDP header:
//! +--------+--------+--------+--------+
//! |     Source      |   Destination   |     IKE        00 00 00 00, then the message
//! |      Port       |      Port       |     ESP        the packet, whose SPI is never zero
//! +--------+--------+--------+--------+     keepalive  ff, alone
//! |     Length      |    Checksum     |
//! +--------+--------+--------+--------+
//! ```

use crate::reader::Reader;
use crate::{Fault, Malformed};

/// The port that IKE begins on.
pub const IKE_PORT: u16 = 500;
/// The port that IKE and ESP share (RFC 3948 §2).
pub const NAT_TRAVERSAL_PORT: u16 = 4500;
/// What stands in front of an IKE message where an ESP packet has its SPI (RFC 3948 §2.2).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// The whole of a datagram that keeps a NAT's mapping alive (RFC 3948 §2.3).
pub const KEEPALIVE: [u8; 1] = [0xff];

/// What a datagram on port 4500 holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulated<'a> {
    /// An IKE message; the marker in front of it is gone.
    Ike(&'a [u8]),
    /// An ESP packet: SPI, sequence number and the rest.
    Esp(&'a [u8]),
    /// A keepalive, to be ignored (RFC 3948 §4).
    Keepalive,
}

impl<'a> Encapsulated<'a> {
    /// Tells what `datagram`, the octets behind the UDP header, holds.
    ///
    /// # Errors
    /// When it is too short to be any of the three.
    pub fn classify(datagram: &'a [u8]) -> Result<Encapsulated<'a>, Malformed> {
        match datagram.split_first_chunk() {
            Some((&NON_ESP_MARKER, message)) => Ok(Encapsulated::Ike(message)),
            Some(_) if datagram.len() >= crate::esp::HEADER_LEN => Ok(Encapsulated::Esp(datagram)),
            None if datagram == KEEPALIVE => Ok(Encapsulated::Keepalive),
            _ => {
                let fault = Fault::Truncated { needed: crate::esp::HEADER_LEN, available: datagram.len() };
                Err(Malformed::new("UDP datagram on port 4500", "SPI and Sequence Number", fault))
            }
        }
    }
}

/// A UDP header (RFC 768).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where it comes from.
    pub source_port: u16,
    /// Where it goes.
    pub destination_port: u16,
    /// Octets in header and datagram together.
    pub length: u16,
    /// The checksum, or zero where the sender made none: over IPv4, and of ESP (RFC 3948 §2.1).
    pub checksum: u16,
}

impl Header {
    /// Octets that the header takes.
    pub const LEN: usize = 8;

    /// Reads the header at the front of `bytes`; gives it and the datagram behind it.
    ///
    /// # Errors
    /// When the header is not whole, or its length is less than its own or more than there is.
    pub fn decode(bytes: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let mut reader = Reader::new("UDP header", bytes);
        let header = Header {
            source_port: reader.u16("Source Port")?,
            destination_port: reader.u16("Destination Port")?,
            length: reader.u16("Length")?,
            checksum: reader.u16("Checksum")?,
        };
        let mut datagram = reader.substructure("UDP header", header.length, Header::LEN)?;
        Ok((header, datagram.rest()))
    }

    /// The header's octets.
    pub fn encode(&self) -> [u8; Header::LEN] {
        let mut octets = [0; Header::LEN];
        octets[0..2].copy_from_slice(&self.source_port.to_be_bytes());
        octets[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        octets[4..6].copy_from_slice(&self.length.to_be_bytes());
        octets[6..8].copy_from_slice(&self.checksum.to_be_bytes());
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_datagram_is_one_of_three_things() {
        assert_eq!(Encapsulated::classify(&[0, 0, 0, 0, 1, 2]), Ok(Encapsulated::Ike(&[1, 2])));
        assert_eq!(Encapsulated::classify(&[0xff]), Ok(Encapsulated::Keepalive));
        let esp = [0, 0, 1, 0, 0, 0, 0, 1];
        assert_eq!(Encapsulated::classify(&esp), Ok(Encapsulated::Esp(&esp)));
    }

    #[test]
    fn a_short_datagram_is_none_of_them() {
        for datagram in [&[][..], &[0], &[0xff, 0xff], &[0, 0, 0], &[0, 0, 1, 0, 0, 0, 0]] {
            assert!(Encapsulated::classify(datagram).is_err(), "{datagram:?}");
        }
    }

    #[test]
    fn a_header_by_hand() {
        let octets = [0x01, 0xf4, 0x11, 0x94, 0x00, 0x0a, 0xbe, 0xef, 0x55, 0x66, 0x77];
        let header = Header { source_port: 500, destination_port: 4500, length: 10, checksum: 0xbeef };
        assert_eq!(Header::decode(&octets), Ok((header, &octets[8..10])));
        assert_eq!(header.encode(), octets[..8]);
    }

    #[test]
    fn a_length_must_fit() {
        let refusal = |length| Header::decode(&[0, 0, 0, 0, 0, length, 0, 0]).unwrap_err().to_string();
        assert_eq!(refusal(7), "UDP header: Length says 7 octets where there are 8");
        assert_eq!(refusal(9), "UDP header: Length says 9 octets where there are 8");
    }
}
