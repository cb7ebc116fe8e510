//! Someone who knows an IKE SA's keys, and says with them what no honest end would.

use std::cell::Cell;

use ike::IkeKeyDisclosure;
use sa::transform::EncryptionKind;
use wire::isakmp::Flags;
use wire::registry::PayloadType;
use wire::v2::{HeaderFields, Payload, decode, encode_payloads, encrypted_prefix};

/// Opens the messages of both ends of an IKE SA, and seals new ones in the name of either.
pub struct Forger {
    initiator: Box<dyn crypto::AeadKey>,
    responder: Box<dyn crypto::AeadKey>,
    icv_len: usize,
    /// The ends count from zero; from the other half of the numbers no IV is ever theirs.
    next_iv: Cell<u64>,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The message's header.
    pub fields: HeaderFields,
    /// The type of the first payload.
    pub first_payload: PayloadType,
    /// The payloads as they were before encryption.
    pub octets: Vec<u8>,
}

impl Forger {
    /// Takes the keys of an IKE SA whose cipher is an AEAD; `None` of one with another cipher.
    pub fn new(keys: &IkeKeyDisclosure) -> Option<Forger> {
        let Some(EncryptionKind::Aead(aead)) = keys.suite.protection.encryption().map(|row| &row.kind) else {
            return None;
        };
        Some(Forger {
            initiator: aead.key(keys.sk_ei.as_slice()).ok()?,
            responder: aead.key(keys.sk_er.as_slice()).ok()?,
            icv_len: aead.icv_len(),
            next_iv: Cell::new(1 << 63),
        })
    }

    /// Opens a message that is whole; `None` of anything else.
    pub fn open(&self, bytes: &[u8]) -> Option<Content> {
        let datagram = decode(bytes).ok()?;
        let encrypted = datagram.encrypted.filter(|encrypted| encrypted.fragment.is_none())?;
        let (iv, rest) = encrypted.body.split_first_chunk::<8>()?;
        let (text, icv) = rest.split_at_checked(rest.len().checked_sub(self.icv_len)?)?;
        let mut octets = text.to_vec();
        self.key(datagram.header.flags).open(iv, encrypted.associated, &mut octets, icv).ok()?;
        let padding = usize::from(octets.pop()?);
        octets.truncate(octets.len().checked_sub(padding)?);
        let fields = HeaderFields::from(&datagram.header);
        Some(Content { fields, first_payload: encrypted.first_payload, octets })
    }

    /// Seals a message in the name of the end that its flags name; `None` if it is too long.
    pub fn seal(&self, content: &Content) -> Option<Vec<u8>> {
        let Content { fields, first_payload, octets } = content;
        let body_len = 8 + octets.len() + 1 + self.icv_len;
        let prefix = encrypted_prefix(fields, *first_payload, None, body_len).ok()?;
        let iv = self.next_iv.replace(self.next_iv.get() + 1).to_be_bytes();
        let (mut text, mut icv) = ([octets.as_slice(), &[0]].concat(), vec![0; self.icv_len]);
        self.key(fields.flags).seal(&iv, &prefix, &mut text, &mut icv).ok()?;
        Some([prefix, iv.to_vec(), text, icv].concat())
    }

    /// Seals payloads in the name of the end that the flags name; `None` if they are too long.
    pub fn seal_payloads(&self, fields: HeaderFields, payloads: &[Payload]) -> Option<Vec<u8>> {
        let (first_payload, octets) = encode_payloads(payloads).ok()?;
        self.seal(&Content { fields, first_payload, octets })
    }

    fn key(&self, flags: Flags) -> &dyn crypto::AeadKey {
        if flags.from_initiator() { &*self.initiator } else { &*self.responder }
    }
}
