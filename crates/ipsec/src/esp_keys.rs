//! The expanded keys of one SA, and what of an ESP packet each algorithm covers.
//!
//! ```text
//!           ┌─────┬──────────┬────┬──────────────────────────────┬─────┐
//!           │ SPI │ sequence │ IV │ inner packet, padding, trailer│ ICV │
//!           └─────┴──────────┴────┴──────────────────────────────┴─────┘
//!   AEAD     ◄─ associated ─►      ◄───────── encrypted ─────────►        RFC 4106 §5, RFC 4309 §5, RFC 7634 §2.1
//!   GMAC     ◄─ associated ─► ◄─────────── authenticated ────────►        RFC 4543 §3.3
//!   cipher                         ◄───────── encrypted ─────────►
//!   MAC      ◄───────────────────── authenticated ───────────────► (+ high half of an ESN)   RFC 4303 §2.8
//! ```
//!
//! With an implicit IV the packet has none: the extended sequence number is the IV (RFC 8750 §4).

use crypto::{AeadKey, CipherKey, Forged, MacKey};
use sa::transform::EncryptionKind;
use sa::{Esn, Protection};
use wire::esp;

/// The keys of one SA in the form that packets need, and the sizes that follow from its algorithms.
#[derive(Debug)]
pub(crate) struct EspKeys {
    algorithm: Algorithm,
    esn: Esn,
    iv_len: u8,
    icv_len: u8,
    alignment: u8,
}

#[derive(Debug)]
enum Algorithm {
    Combined(Box<dyn AeadKey>),
    Separate(Box<Separate>),
}

#[derive(Debug)]
struct Separate {
    cipher: Box<dyn CipherKey>,
    mac: Box<dyn MacKey>,
}

impl EspKeys {
    /// Expands `key`: the encryption key with its salt, then the integrity key (RFC 7296 §2.17).
    pub(crate) fn new(protection: &Protection, key: &[u8], esn: Esn) -> Result<EspKeys, crypto::Error> {
        let wrong_length = crypto::Error::KeyLength { expected: protection.key_len(), actual: key.len() };
        let (encryption_key, integrity_key) =
            key.split_at_checked(protection.encryption_key_len()).ok_or(wrong_length)?;
        if integrity_key.len() != protection.integrity_key_len() {
            return Err(wrong_length);
        }
        let integrity = protection.integrity().filter(|integrity| !integrity.is_for_ah_alone());
        match (protection.encryption().map(|encryption| &encryption.kind), integrity) {
            (Some(EncryptionKind::Aead(aead)), _) => Ok(EspKeys {
                algorithm: Algorithm::Combined(aead.key(encryption_key)?),
                esn,
                iv_len: octet(aead.iv_len())?,
                icv_len: octet(aead.icv_len())?,
                alignment: octet(esp::ALIGNMENT)?,
            }),
            (Some(EncryptionKind::Cipher(cipher)), Some(integrity)) => Ok(EspKeys {
                algorithm: Algorithm::Separate(Box::new(Separate {
                    cipher: cipher.key(encryption_key)?,
                    mac: integrity.mac.key(integrity_key)?,
                })),
                esn,
                iv_len: octet(cipher.iv_len())?,
                icv_len: octet(integrity.mac.icv_len())?,
                alignment: octet(cipher.block_len().max(esp::ALIGNMENT))?,
            }),
            // A suite that encrypts and does not authenticate is not to be had (RFC 8221 §4), and the reverse is AH's.
            (Some(EncryptionKind::Cipher(_)) | None, _) => Err(wrong_length),
        }
    }

    /// Tells whether sequence numbers have 64 bits.
    pub(crate) fn esn(&self) -> Esn {
        self.esn
    }

    /// Asks the processor to bring the keys into its caches.
    pub(crate) fn prefetch(&self) {
        match &self.algorithm {
            Algorithm::Combined(key) => key.prefetch(),
            // What these cost themselves hides what their keys cost.
            Algorithm::Separate(_) => {}
        }
    }

    /// Octets in front of the ciphertext.
    pub(crate) fn front_len(&self) -> usize {
        esp::HEADER_LEN + usize::from(self.iv_len)
    }

    /// Octets of the ICV.
    pub(crate) fn icv_len(&self) -> usize {
        self.icv_len.into()
    }

    /// What the length of the ciphertext is a multiple of.
    pub(crate) fn alignment(&self) -> usize {
        self.alignment.into()
    }

    /// Tells whether a packet of `octets` can be one of this SA: all its parts are there and its ciphertext is aligned.
    pub(crate) fn fits(&self, octets: usize) -> bool {
        octets.checked_sub(self.front_len() + self.icv_len()).is_some_and(|ciphertext| {
            ciphertext >= esp::TRAILER_LEN && ciphertext.is_multiple_of(self.alignment())
        })
    }

    /// Encrypts and authenticates a packet whose header, IV, inner packet and trailer stand in place; fills in the ICV.
    ///
    /// # Errors
    /// The algorithm cannot take a packet of this length.
    pub(crate) fn seal(&self, number: u64, packet: &mut [u8]) -> Result<(), crypto::Error> {
        let parts = self.split(packet).ok_or(crypto::Error::Length)?;
        match &self.algorithm {
            Algorithm::Combined(key) => {
                let associated = Associated::new(parts.header, number, self.esn);
                let iv = aead_iv(parts.iv, number).ok_or(crypto::Error::Length)?;
                key.seal(&iv, associated.octets(), parts.ciphertext, parts.icv)
            }
            Algorithm::Separate(keys) => {
                keys.cipher.encrypt(parts.iv, parts.ciphertext)?;
                let high = high_half(number);
                keys.mac.sign(&[parts.header, parts.iv, parts.ciphertext, self.hidden(&high)], parts.icv);
                Ok(())
            }
        }
    }

    /// Checks the ICV of a packet and decrypts it in place.
    ///
    /// # Errors
    /// The ICV is wrong, or the packet does not [`fit`](Self::fits).
    pub(crate) fn open(&self, number: u64, packet: &mut [u8]) -> Result<(), Forged> {
        let parts = self.split(packet).ok_or(Forged)?;
        match &self.algorithm {
            Algorithm::Combined(key) => {
                let associated = Associated::new(parts.header, number, self.esn);
                let iv = aead_iv(parts.iv, number).ok_or(Forged)?;
                key.open(&iv, associated.octets(), parts.ciphertext, parts.icv)
            }
            Algorithm::Separate(keys) => {
                let high = high_half(number);
                keys.mac
                    .verify(&[parts.header, parts.iv, parts.ciphertext, self.hidden(&high)], parts.icv)?;
                keys.cipher.decrypt(parts.iv, parts.ciphertext).map_err(|_| Forged)
            }
        }
    }

    /// The high half of an extended sequence number, which is authenticated but not sent (RFC 4303 §2.2.1).
    fn hidden<'a>(&self, high: &'a [u8; 4]) -> &'a [u8] {
        match self.esn {
            Esn::Yes => high,
            Esn::No => &[],
        }
    }

    fn split<'a>(&self, packet: &'a mut [u8]) -> Option<Parts<'a>> {
        let (header, rest) = packet.split_first_chunk_mut()?;
        let (iv, rest) = rest.split_at_mut_checked(self.iv_len.into())?;
        let (ciphertext, icv) = rest.split_at_mut_checked(rest.len().checked_sub(self.icv_len())?)?;
        Some(Parts { header, iv, ciphertext, icv })
    }
}

struct Parts<'a> {
    header: &'a [u8; esp::HEADER_LEN],
    iv: &'a [u8],
    ciphertext: &'a mut [u8],
    icv: &'a mut [u8],
}

/// What an AEAD authenticates without encrypting it: the SPI and the whole sequence number (RFC 4106 §5).
struct Associated {
    octets: [u8; 12],
    len: usize,
}

impl Associated {
    fn new(header: &[u8; esp::HEADER_LEN], number: u64, esn: Esn) -> Associated {
        let mut octets = [0; 12];
        match esn {
            Esn::No => octets[..esp::HEADER_LEN].copy_from_slice(header),
            Esn::Yes => {
                octets[..4].copy_from_slice(&header[..4]);
                octets[4..].copy_from_slice(&number.to_be_bytes());
            }
        }
        Associated { octets, len: if esn == Esn::Yes { 12 } else { esp::HEADER_LEN } }
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// The IV of an AEAD: the packet's, or the sequence number where the packet has none (RFC 8750 §4).
fn aead_iv(explicit: &[u8], number: u64) -> Option<[u8; 8]> {
    if explicit.is_empty() { Some(number.to_be_bytes()) } else { explicit.try_into().ok() }
}

fn octet(length: usize) -> Result<u8, crypto::Error> {
    u8::try_from(length).map_err(|_| crypto::Error::Length)
}

fn high_half(number: u64) -> [u8; 4] {
    ((number >> 32) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests;
