//! AH between an IP header and what it protects (RFC 4302 §2 and §3).
//!
//! ```text
//!   ┌───────────┬─────────────┬────────┬──────────┬─────┬──────────┬─────┬─────────┐
//!   │ IP header │ next header │ length │ reserved │ SPI │ sequence │ ICV │ payload │ (+ high half of an ESN)
//!   └───────────┴─────────────┴────────┴──────────┴─────┴──────────┴─────┴─────────┘
//!     its image                                                     zeros           ◄── all of it authenticated
//! ```
//!
//! The ICV is followed by padding where the header would not end at a multiple of four octets, or of eight in IPv6. That of
//! GMAC begins with an IV, the sequence number, which is authenticated as it stands (RFC 4543 §4, §7).

use crypto::MacKey;
use sa::{Esn, SaSpec, Spi};
use wire::ah::{FIXED_LEN, Header as AhHeader};
use wire::ip::protocol;

use crate::header::Header;
use crate::outbound::identification;
use crate::replay::ReplayWindow;
use crate::sequence::SequenceCounter;
use crate::{DropReason, Envelope, PacketBuf, authenticated};

/// What one SA needs to authenticate packets or to check them.
pub(crate) struct Ah {
    key: Box<dyn MacKey>,
    esn: Esn,
    /// Octets of the IV that the ICV begins with.
    iv_len: u8,
    icv_len: u8,
}

impl Ah {
    pub(crate) fn new(spec: &SaSpec) -> Result<Ah, crypto::Error> {
        let Some(integrity) = spec.protection.integrity() else {
            return Err(crypto::Error::KeyLength { expected: 0, actual: spec.key.as_slice().len() });
        };
        let (iv_len, icv_len) = (integrity.mac.iv_len(), integrity.mac.icv_len());
        if iv_len > IV_MAX || icv_len > ICV_MAX {
            return Err(crypto::Error::Length);
        }
        let [iv_len, icv_len] = [iv_len as u8, icv_len as u8];
        Ok(Ah { key: integrity.mac.key(spec.key.as_slice())?, esn: spec.esn, iv_len, icv_len })
    }

    /// Puts AH in front of a payload and `header` in front of both; gives the sequence number.
    ///
    /// # Errors
    /// The buffer has no room, the packet is too long, its header is such as no one can predict, or no sequence number is
    /// left.
    pub(crate) fn seal(
        &self,
        packet: &mut PacketBuf,
        spi: Spi,
        mut header: Header,
        sequence: &SequenceCounter,
    ) -> Result<u64, DropReason> {
        let len = self.header_len(header.is_v4());
        let front = packet.push_front(len).ok_or(DropReason::TooLong)?;
        front.fill(0);
        front[0] = header.protocol();
        front[1] = (len / 4 - 2) as u8;
        front[4..8].copy_from_slice(&spi.0.to_be_bytes());
        header.set_protocol(protocol::AH);
        header.set_payload_len(packet.len())?;
        let mut image = authenticated::image(&header)?;

        let number = sequence.next()?;
        header.identify(identification(number));
        image.identify(identification(number));
        packet.as_mut_slice()[8..FIXED_LEN].copy_from_slice(&(number as u32).to_be_bytes());
        let mut icv = [0; ICV_MAX];
        let icv = &mut icv[..self.icv_len()];
        let iv = &number.to_be_bytes()[..self.iv_len()];
        icv[..self.iv_len()].copy_from_slice(iv);
        packet.as_mut_slice()[FIXED_LEN..][..self.iv_len()].copy_from_slice(iv);
        self.key.sign(&[image.octets(), packet.as_slice(), self.hidden(&high_half(number))], icv);
        packet.as_mut_slice()[FIXED_LEN..][..self.icv_len()].copy_from_slice(icv);
        header.put_on(packet)?;
        Ok(number)
    }

    /// Reads the sequence number, and refuses a packet that cannot be one of this SA before anything is spent on it.
    ///
    /// # Errors
    /// The AH header is malformed, or its sequence number was seen before or lies before the window.
    pub(crate) fn number(
        &self,
        packet: &PacketBuf,
        envelope: &Envelope<'_>,
        window: &ReplayWindow,
    ) -> Result<u64, DropReason> {
        let header = AhHeader::decode(packet.as_slice()).map_err(|_| DropReason::MalformedAh)?;
        let len = FIXED_LEN + header.icv.len();
        // Some senders align to eight in IPv4 too, which is as good: the padding is authenticated.
        let fits = match envelope {
            Envelope::V4(_) => len == self.header_len(true) || len == self.header_len(false),
            Envelope::V6 { .. } => len == self.header_len(false),
            // AH covers the header, so it passes no NAT and is not defined inside UDP.
            Envelope::Datagram { .. } => false,
        };
        if fits { window.admit(header.sequence, self.esn) } else { Err(DropReason::MalformedAh) }
    }

    /// Checks the ICV and takes AH off; gives what it says follows.
    ///
    /// # Errors
    /// The ICV is wrong, or the header around the packet contradicts itself.
    pub(crate) fn open(
        &self,
        packet: &mut PacketBuf,
        envelope: &Envelope<'_>,
        number: u64,
    ) -> Result<u8, DropReason> {
        let mut header = Header::of_envelope(envelope, 0)?;
        header.set_payload_len(packet.len())?;
        let image = authenticated::image(&header)?;
        let octets = packet.as_mut_slice();
        let mut icv = [0; ICV_MAX];
        let icv = &mut icv[..self.icv_len()];
        let place = octets.get_mut(FIXED_LEN..FIXED_LEN + self.icv_len()).ok_or(DropReason::MalformedAh)?;
        icv.copy_from_slice(place);
        place[self.iv_len()..].fill(0);
        let high = high_half(number);
        let parts = [image.octets(), octets, self.hidden(&high)];
        self.key.verify(&parts, icv).map_err(|_| DropReason::Forged)?;
        let (next_header, len) = (octets[0], (usize::from(octets[1]) + 2) * 4);
        packet.pull_front(len).ok_or(DropReason::MalformedAh)?;
        Ok(next_header)
    }

    /// Gives the length of the AH header.
    pub(crate) fn header_len(&self, is_v4: bool) -> usize {
        (FIXED_LEN + self.icv_len()).next_multiple_of(if is_v4 { 4 } else { 8 })
    }

    fn iv_len(&self) -> usize {
        self.iv_len.into()
    }

    fn icv_len(&self) -> usize {
        self.icv_len.into()
    }

    /// The high half of an extended sequence number, which is authenticated but not sent (RFC 4302 §2.5.1).
    fn hidden<'a>(&self, high: &'a [u8; 4]) -> &'a [u8] {
        match self.esn {
            Esn::Yes => high,
            Esn::No => &[],
        }
    }
}

fn high_half(number: u64) -> [u8; 4] {
    ((number >> 32) as u32).to_be_bytes()
}

/// Octets of a whole sequence number.
const IV_MAX: usize = 8;
/// The longest ICV of any algorithm.
const ICV_MAX: usize = 64;
