//! Sealing and opening messages: the Encrypted payload, whole (RFC 7296 §3.14, RFC 5282) or in fragments
//! (RFC 7383 §2.5).
//!
//! ```text
//!              associated data, by `wire`                       body, by this file
//!  +-------------+-------------------+---------------+  +----+-------------------------------+-----+
//!  |  IKE header | generic header    | number, total |  | IV | payloads, padding, pad length | ICV |
//!  |             | of the SK payload | (SKF alone)   |  |    |          (encrypted)          |     |
//!  +-------------+-------------------+---------------+  +----+-------------------------------+-----+
//!
//!  AEAD:          ICV over everything to its left, IV from a counter
//!  cipher + MAC:  ICV over everything to its left, IV random, padding up to whole blocks
//! ```
//!
//! Keys are expanded once for an IKE SA. A direction's key protects only messages of one end, so a message that is
//! reflected to its sender does not authenticate.

use std::sync::atomic::{AtomicU64, Ordering};

use crypto::{AeadKey, CipherKey, Forged, MacKey, Random, Secret};
use sa::transform::EncryptionKind;
use sa::{IkeSuite, Protection};
use thiserror::Error;
use wire::isakmp::Header;
use wire::registry::PayloadType;
use wire::v2::{
    Datagram, Encrypted, FragmentNumber, HeaderFields, Payload, encode_payloads, encrypted_prefix,
};
use wire::{Malformed, TooLong};

use super::keys::IkeKeys;
use crate::Role;
use crate::limits::FRAGMENT_CONTENT_AT_LEAST;

/// Seals our messages and opens the peer's, for the life of one IKE SA.
#[derive(Debug)]
pub(crate) struct MessageProtection {
    outbound: DirectionKey,
    inbound: DirectionKey,
}

/// The content of an authentic message, or of a fragment of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The type of the first payload inside; of fragments, the first alone names it.
    pub(crate) first_payload: PayloadType,
    /// The payloads, or the fragment's share of them, without padding.
    pub(crate) plaintext: Vec<u8>,
    /// Which fragment, or `None` of a whole message.
    pub(crate) fragment: Option<FragmentNumber>,
}

/// Why a message could not be sealed; always our own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotSealed {
    /// It is longer than the protocol can say.
    #[error("{0}")]
    TooLong(#[from] TooLong),
    /// The cipher failed.
    #[error("{0}")]
    Cipher(#[from] crypto::Error),
}

/// Why a message cannot be opened. It is dropped without an answer (RFC 7296 §2.21.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotOpened {
    /// It has no Encrypted payload.
    #[error("it has no encrypted payload")]
    InTheClear,
    /// The Encrypted payload has no room for what the cipher adds, or is no whole number of blocks.
    #[error("an encrypted payload of {0} octets does not fit the cipher")]
    Length(usize),
    /// The integrity check failed: the peer has other keys, or it was not the peer.
    #[error("{0}")]
    Forged(#[from] Forged),
    /// It is authentic, and yet says it has more padding than content.
    #[error("its padding is longer than its content")]
    Padding,
}

impl Opened {
    /// Reads the payloads of a whole message.
    ///
    /// # Errors
    /// They are malformed.
    pub(crate) fn payloads(&self) -> Result<Vec<Payload>, Malformed> {
        wire::v2::decode_payloads(self.first_payload, &self.plaintext)
    }
}

impl MessageProtection {
    /// Expands the keys of both directions; `role` is ours.
    ///
    /// # Errors
    /// The keys are not those of the suite.
    pub(crate) fn new(
        suite: &IkeSuite,
        keys: &IkeKeys,
        role: Role,
    ) -> Result<MessageProtection, crypto::Error> {
        let initiator = DirectionKey::new(&suite.protection, &keys.sk_ei, &keys.sk_ai)?;
        let responder = DirectionKey::new(&suite.protection, &keys.sk_er, &keys.sk_ar)?;
        Ok(match role {
            Role::Initiator => MessageProtection { outbound: initiator, inbound: responder },
            Role::Responder => MessageProtection { outbound: responder, inbound: initiator },
        })
    }

    /// Seals one message into its datagrams (without non-ESP marker): one, or fragments of at most `fragment_size`
    /// octets each where that is given and the message is longer.
    ///
    /// # Errors
    /// The message is too long to be sent, or the cipher fails.
    pub(crate) fn seal(
        &self,
        header: &HeaderFields,
        payloads: &[Payload],
        fragment_size: Option<usize>,
        random: &mut dyn Random,
    ) -> Result<Vec<Vec<u8>>, NotSealed> {
        let (first_payload, content) = encode_payloads(payloads)?;
        let key = &self.outbound;
        let whole_len = WHOLE_PREFIX_LEN + key.body_len(content.len());
        match fragment_size {
            Some(size) if whole_len > size => {
                seal_fragments(key, header, first_payload, &content, size, random)
            }
            Some(_) | None => Ok(vec![key.seal(header, first_payload, None, &content, random)?]),
        }
    }

    /// Checks and decrypts a message of the peer.
    ///
    /// # Errors
    /// The message is not the peer's, or is not protected at all.
    pub(crate) fn open(&self, datagram: &Datagram<'_>) -> Result<Opened, NotOpened> {
        let encrypted = datagram.encrypted.as_ref().ok_or(NotOpened::InTheClear)?;
        let plaintext = self.inbound.open(encrypted)?;
        Ok(Opened { first_payload: encrypted.first_payload, plaintext, fragment: encrypted.fragment })
    }
}

/// Cuts `content` into equal shares, the last one smaller, that fill datagrams of `size` octets (RFC 7383 §2.5).
fn seal_fragments(
    key: &DirectionKey,
    header: &HeaderFields,
    first_payload: PayloadType,
    content: &[u8],
    size: usize,
    random: &mut dyn Random,
) -> Result<Vec<Vec<u8>>, NotSealed> {
    let share = key.content_len(size.saturating_sub(FRAGMENT_PREFIX_LEN)).max(FRAGMENT_CONTENT_AT_LEAST);
    let count = content.len().div_ceil(share);
    let total = u16::try_from(count).map_err(|_| TooLong {
        structure: "IKE message in fragments",
        length: count,
        limit: u16::MAX.into(),
    })?;
    (1..=total)
        .zip(content.chunks(share))
        .map(|(number, chunk)| {
            let first = if number == 1 { first_payload } else { PayloadType::NONE };
            key.seal(header, first, Some(FragmentNumber { number, total }), chunk, random)
        })
        .collect()
}

/// Octets in front of the body of an Encrypted payload, and of a fragment of one.
const WHOLE_PREFIX_LEN: usize = Header::LEN + 4;
const FRAGMENT_PREFIX_LEN: usize = WHOLE_PREFIX_LEN + 4;

/// The expanded key of one direction.
#[derive(Debug)]
enum DirectionKey {
    Combined {
        key: Box<dyn AeadKey>,
        icv_len: usize,
        /// The next explicit IV. A counter cannot repeat under one key, as a random value of 8 octets could.
        next_iv: AtomicU64,
    },
    Separate {
        cipher: Box<dyn CipherKey>,
        mac: Box<dyn MacKey>,
        iv_len: usize,
        block_len: usize,
        icv_len: usize,
    },
}

impl DirectionKey {
    fn new(
        protection: &Protection,
        encryption: &Secret<Vec<u8>>,
        integrity: &Secret<Vec<u8>>,
    ) -> Result<DirectionKey, crypto::Error> {
        match (&protection.encryption().kind, protection.integrity()) {
            (EncryptionKind::Aead(aead), _) => Ok(DirectionKey::Combined {
                key: aead.key(encryption.as_slice())?,
                icv_len: aead.icv_len(),
                next_iv: AtomicU64::new(0),
            }),
            (EncryptionKind::Cipher(cipher), Some(row)) => Ok(DirectionKey::Separate {
                cipher: cipher.key(encryption.as_slice())?,
                mac: row.mac.key(integrity.as_slice())?,
                iv_len: cipher.iv_len(),
                block_len: cipher.block_len(),
                icv_len: row.mac.icv_len(),
            }),
            // A message that anybody could change is worse than none.
            (EncryptionKind::Cipher(_), None) => Err(crypto::Error::Length),
        }
    }

    fn iv_len(&self) -> usize {
        match self {
            DirectionKey::Combined { .. } => AEAD_IV_LEN,
            DirectionKey::Separate { iv_len, .. } => *iv_len,
        }
    }

    fn icv_len(&self) -> usize {
        match self {
            DirectionKey::Combined { icv_len, .. } | DirectionKey::Separate { icv_len, .. } => *icv_len,
        }
    }

    fn block_len(&self) -> usize {
        match self {
            DirectionKey::Combined { .. } => 1,
            DirectionKey::Separate { block_len, .. } => *block_len,
        }
    }

    /// Octets of the body that `content_len` octets of payloads become.
    fn body_len(&self, content_len: usize) -> usize {
        self.iv_len() + (content_len + PAD_LENGTH_LEN).next_multiple_of(self.block_len()) + self.icv_len()
    }

    /// The most octets of payloads that fit into a body of `body_len` octets.
    fn content_len(&self, body_len: usize) -> usize {
        let encrypted = body_len.saturating_sub(self.iv_len() + self.icv_len());
        (encrypted - encrypted % self.block_len()).saturating_sub(PAD_LENGTH_LEN)
    }

    fn seal(
        &self,
        header: &HeaderFields,
        first_payload: PayloadType,
        fragment: Option<FragmentNumber>,
        content: &[u8],
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, NotSealed> {
        let body_len = self.body_len(content.len());
        let mut message = encrypted_prefix(header, first_payload, fragment, body_len)?;
        let prefix_len = message.len();
        message.resize(prefix_len + body_len, 0);
        let (associated, body) = message.split_at_mut(prefix_len);
        let (iv, rest) = body.split_at_mut(self.iv_len());
        let (text, icv) = rest.split_at_mut(rest.len() - self.icv_len());
        text[..content.len()].copy_from_slice(content);
        let padding = text.len() - content.len() - PAD_LENGTH_LEN;
        text[content.len() + padding] =
            u8::try_from(padding).expect("padding is shorter than a cipher's block");
        match self {
            DirectionKey::Combined { key, next_iv, .. } => {
                let explicit_iv = next_iv.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                iv.copy_from_slice(&explicit_iv);
                key.seal(&explicit_iv, associated, text, icv)?;
            }
            DirectionKey::Separate { cipher, mac, .. } => {
                random.fill(iv);
                cipher.encrypt(iv, text)?;
                mac.sign(&[associated, iv, text], icv);
            }
        }
        Ok(message)
    }

    fn open(&self, encrypted: &Encrypted<'_>) -> Result<Vec<u8>, NotOpened> {
        let Encrypted { associated, body, .. } = *encrypted;
        let wrong_length = NotOpened::Length(body.len());
        let (iv, rest) = body.split_at_checked(self.iv_len()).ok_or(wrong_length)?;
        let text_len = rest.len().checked_sub(self.icv_len()).ok_or(wrong_length)?;
        let (text, icv) = rest.split_at(text_len);
        if text.is_empty() || text.len() % self.block_len() != 0 {
            return Err(wrong_length);
        }
        let mut plaintext = text.to_vec();
        match self {
            DirectionKey::Combined { key, .. } => {
                let iv = iv.try_into().map_err(|_| wrong_length)?;
                key.open(iv, associated, &mut plaintext, icv)?;
            }
            DirectionKey::Separate { cipher, mac, .. } => {
                mac.verify(&[associated, iv, text], icv)?;
                cipher.decrypt(iv, &mut plaintext).map_err(|_| wrong_length)?;
            }
        }
        let padding = plaintext.pop().ok_or(NotOpened::Padding)?;
        let content_len = plaintext.len().checked_sub(padding.into()).ok_or(NotOpened::Padding)?;
        plaintext.truncate(content_len);
        Ok(plaintext)
    }
}

/// Octets of the explicit IV of every AEAD of IPsec (RFC 5282 §3.1, RFC 7634 §3).
const AEAD_IV_LEN: usize = 8;
/// Octets of the Pad Length field.
const PAD_LENGTH_LEN: usize = 1;
