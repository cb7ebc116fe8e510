//! The same in version 1, where both ends have the same keys and the hash of a message tells whose it is.

use ike::IkeKeyDisclosure;
use sa::transform::EncryptionKind;
use sa::transform_v1;
use wire::isakmp::Flags;
use wire::registry::{ExchangeType, PayloadType};
use wire::v1::{Content, HeaderFields, Payload, decode, decode_payloads, encode_message};

/// Opens the messages of phase 2 in an ISAKMP SA, and seals new ones with a hash that is right.
pub struct ForgerV1 {
    keys: IkeKeyDisclosure,
    cipher: Box<dyn crypto::CipherKey>,
    hash: &'static dyn crypto::Hash,
    block_len: usize,
    /// The last block of phase 1.
    phase_1: Vec<u8>,
    past: Vec<Vec<u8>>,
}

/// A message of phase 2, but for its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentV1 {
    /// The exchange.
    pub exchange_type: ExchangeType,
    /// The exchange's message id.
    pub message_id: u32,
    /// The type of the payload after the hash.
    pub first_payload: PayloadType,
    /// The payloads after the hash, and padding, as they were before encryption.
    pub octets: Vec<u8>,
}

/// What the hash of a message proves besides its content.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// HASH(1): nothing. The message is its exchange's first.
    First,
    /// It is that of another message, as if somebody without the keys had changed this one.
    Wrong,
    /// HASH(2): this nonce, and that the message follows this one.
    Second(&'a [u8], &'a [u8]),
    /// HASH(3): these nonces, and that the message follows this one.
    Third(&'a [u8], &'a [u8], &'a [u8]),
    /// HASH(1), and the message follows this one: CONNECTED as the fourth of quick mode.
    Fourth(&'a [u8]),
}

impl ForgerV1 {
    /// Takes the keys of an ISAKMP SA and all that its ends have sent; `None` if phase 1 is not among it.
    pub fn new(keys: &IkeKeyDisclosure, initiator: &[Vec<u8>], responder: &[Vec<u8>]) -> Option<ForgerV1> {
        let Some(EncryptionKind::Cipher(cipher)) = keys.suite.protection.encryption().map(|row| &row.kind)
        else {
            return None;
        };
        let row = keys.suite.protection.integrity()?;
        let block_len = cipher.block_len();
        let end_of_phase_1 = |bytes: &Vec<u8>| {
            let datagram = decode(bytes).ok()?;
            let header = &datagram.header;
            let is_here = header.initiator_spi == keys.initiator_spi && header.message_id == 0;
            let Content::Encrypted(text) = datagram.content else { return None };
            is_here.then(|| text[text.len() - block_len..].to_vec())
        };
        Some(ForgerV1 {
            cipher: cipher.key(keys.sk_ei.as_slice()).ok()?,
            hash: transform_v1::hash_function(transform_v1::phase_1_hash(row)?)?,
            block_len,
            // Main mode ends with the responder's message, aggressive mode with the initiator's.
            phase_1: responder.iter().chain(initiator).find_map(end_of_phase_1)?,
            keys: keys.clone(),
            past: [initiator, responder].concat(),
        })
    }

    /// Takes note of another message: what follows it in its exchange can be opened.
    pub fn note(&mut self, message: Vec<u8>) {
        self.past.push(message);
    }

    /// Opens a message of phase 2 that one of the ends sent; `None` of anything else.
    pub fn open(&self, bytes: &[u8]) -> Option<ContentV1> {
        let datagram = decode(bytes).ok()?;
        let Content::Encrypted(text) = datagram.content else { return None };
        let header = &datagram.header;
        if header.message_id == 0 || header.initiator_spi != self.keys.initiator_spi {
            return None;
        }
        // With another IV than its own the first block is noise, and that is where the hash begins.
        let same_exchange = self.past.iter().filter(|other| other.get(20..24) == bytes.get(20..24));
        let ivs = same_exchange.filter_map(|other| self.last_block(other));
        let octets = std::iter::once(self.first_iv(header.message_id)).chain(ivs).find_map(|iv| {
            let mut octets = text.to_vec();
            self.cipher.decrypt(&iv, &mut octets).ok()?;
            let begins_with_hash =
                usize::from(octets[3]) == 4 + self.hash.output_len() && octets[1..3] == [0; 2];
            (begins_with_hash && decode_payloads(header.next_payload, &octets).is_ok()).then_some(octets)
        })?;
        Some(ContentV1 {
            exchange_type: header.exchange_type,
            message_id: header.message_id,
            first_payload: PayloadType(octets[0]),
            octets: octets[4 + self.hash.output_len()..].to_vec(),
        })
    }

    /// Seals a message; `None` if it is too long.
    pub fn seal(&self, content: &ContentV1, proof: Proof<'_>) -> Option<Vec<u8>> {
        let ContentV1 { exchange_type, message_id, first_payload, octets } = content;
        let mut octets = octets.clone();
        octets.resize(
            (4 + self.hash.output_len() + octets.len()).next_multiple_of(self.block_len)
                - 4
                - self.hash.output_len(),
            0,
        );
        // The hash is over the payloads and not over what pads them.
        let hashed = match decode_payloads(*first_payload, &octets) {
            Ok(chain) => chain.payloads.iter().map(|received| 4 + received.body.len()).sum(),
            Err(_) => octets.len(),
        };
        let hashed = &octets[..hashed.min(octets.len())];
        let (id, key) = (message_id.to_be_bytes(), self.keys.sk_ai.as_slice());
        let prf = self.keys.suite.prf.prf;
        let (hash, iv) = match proof {
            Proof::First => (prf.compute(key, &[&id, hashed]), Some(self.first_iv(*message_id))),
            Proof::Wrong => (prf.compute(key, &[&id, hashed, &[0]]), Some(self.first_iv(*message_id))),
            Proof::Second(nonce, before) => {
                (prf.compute(key, &[&id, nonce, hashed]), self.last_block(before))
            }
            Proof::Fourth(before) => (prf.compute(key, &[&id, hashed]), self.last_block(before)),
            Proof::Third(nonce_i, nonce_r, before) => {
                (prf.compute(key, &[&[0], &id, nonce_i, nonce_r]), self.last_block(before))
            }
        };
        let length = 4 + u8::try_from(hash.len()).ok()?;
        let mut body = [&[first_payload.0, 0, 0, length], hash.as_slice(), &octets].concat();
        self.cipher.encrypt(&iv?, &mut body).ok()?;
        let fields = HeaderFields {
            initiator_spi: self.keys.initiator_spi,
            responder_spi: self.keys.responder_spi,
            exchange_type: *exchange_type,
            flags: Flags::V1_ENCRYPTION,
            message_id: *message_id,
        };
        encode_message(&fields, PayloadType::V1_HASH, &body).ok()
    }

    fn first_iv(&self, message_id: u32) -> Vec<u8> {
        let mut iv = self.hash.digest(&[&self.phase_1, &message_id.to_be_bytes()]);
        iv.truncate(self.block_len);
        iv
    }

    fn last_block(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(message[message.len().checked_sub(self.block_len)?..].to_vec())
    }
}

impl ContentV1 {
    /// Puts payloads into a message; `None` if they are too long.
    pub fn new(exchange_type: ExchangeType, message_id: u32, payloads: &[Payload]) -> Option<ContentV1> {
        let (first_payload, octets) = wire::v1::encode_payloads(payloads).ok()?;
        Some(ContentV1 { exchange_type, message_id, first_payload, octets })
    }

    /// Reads the payloads; `None` if they are malformed.
    pub fn payloads(&self) -> Option<Vec<Payload>> {
        let chain = decode_payloads(self.first_payload, &self.octets).ok()?;
        Some(chain.payloads.into_iter().map(|received| received.payload).collect())
    }

    /// Gives the nonce inside.
    pub fn nonce(&self) -> Option<Vec<u8>> {
        self.payloads()?.into_iter().find_map(|payload| match payload {
            Payload::Nonce(nonce) => Some(nonce),
            _ => None,
        })
    }
}
