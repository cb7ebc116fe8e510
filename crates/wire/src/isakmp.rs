//! The header at the front of every IKE message, of version 1 and of version 2 (RFC 7296 §3.1).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       IKE SA Initiator's SPI                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       IKE SA Responder's SPI                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Message ID                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                            Length                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! It accepts any version, exchange and flags, so that an answer can be sent to a version that is
//! not ours (RFC 7296 §2.5).

use alloc::vec::Vec;
use core::fmt;

use crate::Malformed;
use crate::reader::Reader;
use crate::registry::{ExchangeType, PayloadType};

/// The front of an IKE message (RFC 7296 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Chosen by the one who began the IKE SA; never zero.
    pub initiator_spi: IkeSpi,
    /// Chosen by the other; zero in the first message of an IKE_SA_INIT exchange.
    pub responder_spi: IkeSpi,
    /// The type of the first payload, or [`PayloadType::NONE`].
    pub next_payload: PayloadType,
    /// The version of IKE that the message speaks.
    pub version: Version,
    /// What the message is for.
    pub exchange_type: ExchangeType,
    /// Who sent it, and whether it answers.
    pub flags: Flags,
    /// Matches requests and responses (RFC 7296 §2.2).
    pub message_id: u32,
    /// Octets in the whole message, this header included.
    pub length: u32,
}

impl Header {
    /// Octets that a header takes.
    pub const LEN: usize = 28;

    /// Reads the header at the front of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// When fewer than [`Header::LEN`] octets are there.
    pub fn decode(bytes: &[u8]) -> Result<Header, Malformed> {
        let mut reader = Reader::new("IKE header", bytes);
        Ok(Header {
            initiator_spi: IkeSpi(reader.u64("Initiator's SPI")?),
            responder_spi: IkeSpi(reader.u64("Responder's SPI")?),
            next_payload: PayloadType(reader.u8("Next Payload")?),
            version: Version::from_octet(reader.u8("Version")?),
            exchange_type: ExchangeType(reader.u8("Exchange Type")?),
            flags: Flags(reader.u8("Flags")?),
            message_id: reader.u32("Message ID")?,
            length: reader.u32("Length")?,
        })
    }

    /// Appends the header's [`Header::LEN`] octets to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.initiator_spi.0.to_be_bytes());
        out.extend_from_slice(&self.responder_spi.0.to_be_bytes());
        out.extend_from_slice(&[
            self.next_payload.0,
            self.version.to_octet(),
            self.exchange_type.0,
            self.flags.0,
        ]);
        out.extend_from_slice(&self.message_id.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }
}

/// One end's name for an IKE SA (RFC 7296 §2.6); in IKEv1, a cookie.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSpi(
    /// The eight octets, first octet most significant.
    pub u64,
);

impl IkeSpi {
    /// The SPI of an end that has not chosen one yet.
    pub const ZERO: IkeSpi = IkeSpi(0);

    /// Whether no SPI has been chosen.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The eight octets as they are in a header, a notify or a key derivation.
    pub const fn to_octets(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A version of IKE, four bits each (RFC 7296 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Messages of another major version cannot be read; 0 to 15.
    pub major: u8,
    /// To be ignored by those who speak a lower one; 0 to 15.
    pub minor: u8,
}

/// Where the version is in a header.
const VERSION_AT: usize = 17;

impl Version {
    /// IKEv1 (RFC 2409).
    pub const V1: Version = Version { major: 1, minor: 0 };
    /// IKEv2 (RFC 7296).
    pub const V2: Version = Version { major: 2, minor: 0 };

    /// The version of a message, if it is long enough to have one.
    pub fn of(message: &[u8]) -> Option<Version> {
        message.get(VERSION_AT).copied().map(Version::from_octet)
    }

    const fn from_octet(octet: u8) -> Version {
        Version { major: octet >> 4, minor: octet & 0x0f }
    }

    const fn to_octet(self) -> u8 {
        self.major << 4 | self.minor & 0x0f
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The header's flag bits (RFC 7296 §3.1); bits without a name survive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(
    /// The octet as it is in the header.
    pub u8,
);

impl Flags {
    /// A request of the IKE SA's responder: no bit set.
    pub const NONE: Flags = Flags(0);
    /// Set by the one who began the IKE SA, in requests and responses alike.
    pub const INITIATOR: Flags = Flags(0x08);
    /// Set by a sender that could speak a higher major version.
    pub const VERSION: Flags = Flags(0x10);
    /// Set in a response.
    pub const RESPONSE: Flags = Flags(0x20);

    /// IKEv1: all that follows the header is encrypted (RFC 2408 §3.1).
    pub const V1_ENCRYPTION: Flags = Flags(0x01);
    /// IKEv1: the SA is not to be used before a CONNECTED notification (RFC 2408 §3.1).
    pub const V1_COMMIT: Flags = Flags(0x02);
    /// IKEv1: authenticated and not encrypted (RFC 2408 §3.1).
    pub const V1_AUTHENTICATION_ONLY: Flags = Flags(0x04);

    /// Whether every bit of `other` is set here too.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those of `other`.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether the message answers a request.
    pub const fn is_response(self) -> bool {
        self.contains(Flags::RESPONSE)
    }

    /// Whether the sender is the one who began the IKE SA.
    pub const fn from_initiator(self) -> bool {
        self.contains(Flags::INITIATOR)
    }

    /// Whether the sender could speak a higher major version.
    pub const fn can_speak_higher(self) -> bool {
        self.contains(Flags::VERSION)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sender = if self.from_initiator() { "initiator's" } else { "responder's" };
        let kind = if self.is_response() { "response" } else { "request" };
        write!(f, "{sender} {kind}")
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:#04x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCTETS: &str = "0123456789abcdef00000000000000002120220800000000000001c8";

    #[test]
    fn a_header_reads_and_writes() {
        let bytes = hex::decode(OCTETS).unwrap();
        let header = Header {
            initiator_spi: IkeSpi(0x0123_4567_89ab_cdef),
            responder_spi: IkeSpi::ZERO,
            next_payload: PayloadType::SECURITY_ASSOCIATION,
            version: Version::V2,
            exchange_type: ExchangeType::IKE_SA_INIT,
            flags: Flags::INITIATOR,
            message_id: 0,
            length: 456,
        };
        assert_eq!(Header::decode(&bytes), Ok(header));
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out, bytes);
    }

    #[test]
    fn a_short_header_says_where_it_ends() {
        use alloc::string::ToString;
        let bytes = hex::decode(OCTETS).unwrap();
        let error = Header::decode(&bytes[..26]).unwrap_err();
        assert_eq!(error.to_string(), "IKE header: Length takes 4 octets, but only 2 are left");
    }

    #[test]
    fn flags_name_their_sender() {
        let flags = Flags::RESPONSE.with(Flags::INITIATOR);
        assert!(flags.is_response() && flags.from_initiator() && !flags.can_speak_higher());
    }
}
