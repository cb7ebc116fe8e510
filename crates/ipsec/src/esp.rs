//! ESP around what a mode protects (RFC 4303 §2 and §3).
//!
//! ```text
//!           ┌─────┬──────────┬────┬─────────┬───────────────┬─────────┬────────────┬─────────────┬─────┐
//!           │ SPI │ sequence │ IV │ payload │ flow padding  │ padding │ pad length │ next header │ ICV │
//!           └─────┴──────────┴────┴─────────┴───────────────┴─────────┴────────────┴─────────────┴─────┘
//! ```
//!
//! Flow padding hides the length of a payload that tells its own (RFC 4303 §2.7).

use crypto::Random;
use sa::{SaSpec, Spi};
use wire::esp;

use crate::esp_keys::EspKeys;
use crate::iv::IvSource;
use crate::replay::ReplayWindow;
use crate::sequence::SequenceCounter;
use crate::{DropReason, PacketBuf};

/// What one outbound SA needs to seal.
pub(crate) struct EspSealer {
    keys: EspKeys,
    iv: IvSource,
}

/// What one inbound SA needs to open.
pub(crate) struct EspOpener {
    keys: EspKeys,
}

impl EspSealer {
    pub(crate) fn new(spec: &SaSpec, random: &mut dyn Random) -> Result<EspSealer, crypto::Error> {
        let keys = EspKeys::new(&spec.protection, spec.key.as_slice(), spec.esn)?;
        Ok(EspSealer { keys, iv: IvSource::new(&spec.protection, random)? })
    }

    /// Turns a payload into an ESP packet from the SPI to the ICV, in place; gives its sequence number.
    ///
    /// The payload is lengthened by zeros to `flow_len` octets first, as far as the buffer has room.
    ///
    /// # Errors
    /// The buffer has no room, the payload is too long for the cipher, or no sequence number is left.
    pub(crate) fn seal(
        &self,
        packet: &mut PacketBuf,
        spi: Spi,
        next_header: u8,
        flow_len: usize,
        sequence: &SequenceCounter,
    ) -> Result<u64, DropReason> {
        let keys = &self.keys;
        pad_flow(packet, flow_len, keys.alignment() + esp::TRAILER_LEN + keys.icv_len());
        let padding = esp::padding_len(packet.len(), keys.alignment());
        let trailer = packet.push_back(padding + esp::TRAILER_LEN).ok_or(DropReason::TooLong)?;
        esp::write_trailer(trailer, next_header).map_err(|_| DropReason::TooLong)?;
        packet.push_back(keys.icv_len()).ok_or(DropReason::TooLong)?;
        let front = packet.push_front(keys.front_len()).ok_or(DropReason::TooLong)?;

        let number = sequence.next()?;
        let header = esp::Header { spi, sequence: number as u32 };
        let (header_room, iv_room) = front.split_at_mut(esp::HEADER_LEN);
        header_room.copy_from_slice(&header.encode());
        self.iv.fill(number, iv_room).map_err(|_| DropReason::TooLong)?;
        keys.seal(number, packet.as_mut_slice()).map_err(|_| DropReason::TooLong)?;
        Ok(number)
    }

    pub(crate) fn prefetch(&self) {
        self.keys.prefetch();
    }

    /// Gives the length of the ESP packet that a payload of `octets` becomes.
    pub(crate) fn sealed_len(&self, octets: usize) -> usize {
        let ciphertext = (octets + esp::TRAILER_LEN).next_multiple_of(self.keys.alignment());
        self.keys.front_len() + ciphertext + self.keys.icv_len()
    }

    /// Gives the length of the longest payload whose ESP packet has at most `sealed` octets.
    pub(crate) fn payload_len(&self, sealed: usize) -> usize {
        let ciphertext = sealed.saturating_sub(self.keys.front_len() + self.keys.icv_len());
        (ciphertext - ciphertext % self.keys.alignment()).saturating_sub(esp::TRAILER_LEN)
    }
}

impl EspOpener {
    pub(crate) fn new(spec: &SaSpec) -> Result<EspOpener, crypto::Error> {
        let keys = EspKeys::new(&spec.protection, spec.key.as_slice(), spec.esn)?;
        Ok(EspOpener { keys })
    }

    pub(crate) fn prefetch(&self) {
        self.keys.prefetch();
    }

    /// Reads the sequence number, and refuses a packet that cannot be one of this SA before anything is spent on it.
    ///
    /// # Errors
    /// The packet is too short or misaligned, or its sequence number was seen before or lies before the window.
    pub(crate) fn number(&self, packet: &PacketBuf, window: &ReplayWindow) -> Result<u64, DropReason> {
        if !self.keys.fits(packet.len()) {
            return Err(DropReason::MalformedEsp);
        }
        let header = esp::Header::decode(packet.as_slice()).map_err(|_| DropReason::MalformedEsp)?;
        window.admit(header.sequence, self.keys.esn())
    }

    /// Checks the ICV and decrypts in place, and leaves from the IV's end to the ICV's beginning.
    ///
    /// # Errors
    /// The ICV is wrong.
    pub(crate) fn decrypt(&self, packet: &mut PacketBuf, number: u64) -> Result<(), DropReason> {
        self.keys.open(number, packet.as_mut_slice()).map_err(|_| DropReason::Forged)?;
        packet.pull_front(self.keys.front_len()).ok_or(DropReason::MalformedEsp)?;
        packet.truncate(packet.len() - self.keys.icv_len());
        Ok(())
    }
}

/// Takes the trailer off what was decrypted; leaves the payload with its flow padding and gives the next header.
///
/// # Errors
/// The padding is not what it must be.
pub(crate) fn take_trailer(packet: &mut PacketBuf) -> Result<u8, DropReason> {
    let trailer = esp::Trailer::decode(packet.as_slice()).map_err(|_| DropReason::Padding)?;
    packet.truncate(trailer.payload_len);
    Ok(trailer.next_header)
}

/// Lengthens the payload to `flow_len`, as far as the buffer has room beside what follows.
fn pad_flow(packet: &mut PacketBuf, flow_len: usize, behind: usize) {
    let room = packet.tailroom().saturating_sub(behind);
    let missing = flow_len.saturating_sub(packet.len()).min(room);
    if let Some(padding) = packet.push_back(missing) {
        padding.fill(0);
    }
}
