//! The protected channel of an ISAKMP SA: one cipher key for both directions, and an initialization vector for each
//! exchange (RFC 2409 §5, appendix B).
//!
//! ```text
//!  phase 1   IV = hash(g^xi | g^xr)                     then the last block of the message before
//!  phase 2   IV = hash(last block of phase 1 | M-ID)    then the last block of the exchange's message before
//! ```
//!
//! The cipher alone protects nothing from being changed: a HASH payload does, and an IV moves on only when the hash of
//! the message was right. A repeated message is sent as it was, and recognised by its octets, so it moves no IV.

use std::collections::BTreeSet;

use crypto::{Cipher, CipherKey, Hash, Prf, Secret};
use sa::transform::EncryptionKind;
use sa::{Encapsulation, IkeSuite, transform_v1};
use wire::isakmp::{Flags, Version};
use wire::registry::{ExchangeType, PayloadType};
use wire::v1::{Chain, HeaderFields, Payload};

use super::contents::Contents;
use super::fragmentation::Cutting;
use super::keys::Phase1Keys;
use super::method::Method;
use super::nat::Traversal;
use crate::context::Context;
use crate::error::{Error, Misbehaviour};
use crate::event::{Event, IkeKeyDisclosure, TraceDirection};
use crate::exchange::IkeSpis;
use crate::io::{IkeSaId, Path};
use crate::nat_detection::{Behind, NatFinding};
use crate::status::{Nat, Phase1Mode};
use crate::{Encap, Role, limits};

/// The protected channel of one ISAKMP SA.
#[derive(Debug)]
pub(crate) struct Channel {
    pub id: IkeSaId,
    /// How phase 1 went.
    pub mode: Phase1Mode,
    pub role: Role,
    /// How the ends prove who they are.
    pub method: &'static Method,
    pub spis: IkeSpis,
    pub path: Path,
    pub nat: NatFinding,
    /// How the two ends pass NATs, if both can.
    pub traversal: Option<Traversal>,
    pub encapsulation: Encapsulation,
    /// Whether our long messages are cut.
    pub cutting: Cutting,
    pub suite: IkeSuite,
    pub skeyid_d: Secret<Vec<u8>>,
    skeyid_a: Secret<Vec<u8>>,
    hash: &'static dyn Hash,
    cipher: Box<dyn CipherKey>,
    block_len: usize,
    /// The last block of phase 1: what the IVs of phase 2 begin with.
    phase_1: Iv,
    /// The message ids of all exchanges, whoever began them: none may come twice, or an old one could be played again,
    /// to either end, for both have the same keys.
    message_ids: BTreeSet<u32>,
}

/// The initialization vector of the next message of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Iv(Vec<u8>);

/// What a message decrypts to, and the IV that follows if it is the peer's.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) plaintext: Vec<u8>,
    pub(crate) next_iv: Iv,
}

/// What a channel is made of.
pub(crate) struct ChannelParts<'a> {
    pub id: IkeSaId,
    pub mode: Phase1Mode,
    pub role: Role,
    pub method: &'static Method,
    pub spis: IkeSpis,
    pub path: Path,
    pub nat: NatFinding,
    pub traversal: Option<Traversal>,
    pub encap: Encap,
    pub cutting: Cutting,
    pub suite: IkeSuite,
    pub keys: &'a Phase1Keys,
    /// The public values of initiator and responder.
    pub public_values: (&'a [u8], &'a [u8]),
}

impl Channel {
    /// Expands the keys.
    ///
    /// # Errors
    /// The suite is none of phase 1.
    pub(crate) fn new(parts: ChannelParts<'_>) -> Result<Channel, Error> {
        let ChannelParts {
            id,
            mode,
            role,
            method,
            spis,
            path,
            nat,
            traversal,
            encap,
            cutting,
            suite,
            keys,
            public_values,
        } = parts;
        let hash = hash_of(&suite).ok_or_else(|| not_of_phase_1(&suite))?;
        let (cipher, block_len) = cipher_of(&suite, keys)?;
        let phase_1 = Iv::of_hash(hash, block_len, &[public_values.0, public_values.1]);
        Ok(Channel {
            id,
            mode,
            role,
            method,
            spis,
            path,
            nat,
            traversal,
            encapsulation: encapsulation(nat, traversal, encap),
            cutting,
            suite,
            skeyid_d: keys.skeyid_d.clone(),
            skeyid_a: keys.skeyid_a.clone(),
            hash,
            cipher,
            block_len,
            phase_1,
            message_ids: BTreeSet::new(),
        })
    }

    /// Gives the same channel under other keys, before anything is said in it.
    ///
    /// # Errors
    /// The suite is none of phase 1.
    pub(crate) fn under(&self, keys: &Phase1Keys) -> Result<Channel, Error> {
        let (cipher, block_len) = cipher_of(&self.suite, keys)?;
        Ok(Channel {
            skeyid_d: keys.skeyid_d.clone(),
            skeyid_a: keys.skeyid_a.clone(),
            cipher,
            block_len,
            phase_1: self.phase_1.clone(),
            message_ids: BTreeSet::new(),
            ..*self
        })
    }

    /// Tells the keys to whoever decrypts a recording, if that is wanted.
    ///
    /// # Errors
    /// The suite is none of phase 1.
    pub(crate) fn disclose(&self, cx: &mut Context, keys: &Phase1Keys) -> Result<(), Error> {
        if cx.settings.disclose_keys {
            let key = cipher_key_of(&self.suite, keys)?.1;
            cx.tell(Event::IkeKeys(IkeKeyDisclosure {
                version: Version::V1,
                initiator_spi: self.spis.initiator,
                responder_spi: self.spis.responder,
                suite: self.suite,
                sk_ei: key.clone(),
                sk_er: key,
                sk_ai: keys.skeyid_a.clone(),
                sk_ar: keys.skeyid_a.clone(),
            }));
        }
        Ok(())
    }

    /// Takes note of the NATs on the way, where they are found only after the keys are made.
    pub(crate) fn find_nat(&mut self, nat: NatFinding, encap: Encap) {
        self.nat = nat;
        self.encapsulation = encapsulation(nat, self.traversal, encap);
    }

    /// Gives the SPI (cookie) that we chose.
    pub(crate) fn our_spi(&self) -> wire::isakmp::IkeSpi {
        match self.role {
            Role::Initiator => self.spis.initiator,
            Role::Responder => self.spis.responder,
        }
    }

    /// Gives who is behind a NAT, for people.
    pub(crate) fn nat(&self) -> Nat {
        Nat { local: self.nat.local == Behind::Nat, remote: self.nat.remote == Behind::Nat }
    }

    pub(crate) fn prf(&self) -> &'static dyn Prf {
        self.suite.prf.prf
    }

    /// Gives the IV of phase 1's next message.
    pub(crate) fn phase_1_iv(&self) -> &Iv {
        &self.phase_1
    }

    /// Moves the IV of phase 1 on.
    pub(crate) fn move_phase_1_on(&mut self, iv: Iv) {
        self.phase_1 = iv;
    }

    /// Gives the IV of the first message of an exchange in phase 2.
    pub(crate) fn phase_2_iv(&self, message_id: u32) -> Iv {
        Iv::of_hash(self.hash, self.block_len, &[&self.phase_1.0, &message_id.to_be_bytes()])
    }

    /// Computes a hash of phase 2: `prf(SKEYID_a, parts)`.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> Secret<Vec<u8>> {
        self.prf().compute(self.skeyid_a.as_slice(), parts)
    }

    /// Draws a message id that no exchange here had, and notes it.
    pub(crate) fn next_message_id(&mut self, cx: &mut Context) -> u32 {
        loop {
            let mut octets = [0; 4];
            cx.random.fill(&mut octets);
            let message_id = u32::from_be_bytes(octets);
            if message_id != 0 && self.message_ids.insert(message_id) {
                return message_id;
            }
        }
    }

    /// Notes the message id of an exchange that the peer begins; `false` if it was used before, or if there have been
    /// too many.
    pub(crate) fn use_message_id(&mut self, message_id: u32) -> bool {
        self.message_ids.len() < limits::EXCHANGES_OF_AN_ISAKMP_SA && self.message_ids.insert(message_id)
    }

    /// Tells whether an exchange had this message id.
    pub(crate) fn knows_message_id(&self, message_id: u32) -> bool {
        self.message_ids.contains(&message_id)
    }

    /// Checks the hash that a message of phase 2 begins with: over its id, `prefix`, and all that follows (RFC 2409
    /// §5.5, §5.7).
    pub(crate) fn check_hash(
        &self,
        contents: &Contents<'_>,
        message_id: u32,
        prefix: &[u8],
    ) -> Result<(), Error> {
        let (hash, following) = contents.leading_hash()?;
        if self.hash(&[&message_id.to_be_bytes(), prefix, following]).ct_eq(hash) {
            Ok(())
        } else {
            Err(Misbehaviour::Protection("its hash is not the one that it should be".to_owned()).into())
        }
    }

    /// Encrypts payloads behind the hash that a message of phase 2 begins with; gives the exchange's next IV.
    pub(crate) fn seal_hashed(
        &self,
        cx: &mut Context,
        exchange_type: ExchangeType,
        message_id: u32,
        iv: &Iv,
        prefix: &[u8],
        payloads: Vec<Payload>,
    ) -> Result<(Vec<Vec<u8>>, Iv), Error> {
        let (_, following) =
            wire::v1::encode_payloads(&payloads).map_err(|fault| Error::Local(fault.to_string()))?;
        let hash = self.hash(&[&message_id.to_be_bytes(), prefix, &following]);
        let mut all = vec![Payload::Hash(hash.as_slice().to_vec())];
        all.extend(payloads);
        self.seal(cx, exchange_type, message_id, iv, &all)
    }

    /// Encrypts a message; gives it in datagrams, with the IV of the exchange's next one.
    ///
    /// # Errors
    /// It is too long to be sent, or the cipher fails.
    pub(crate) fn seal(
        &self,
        cx: &mut Context,
        exchange_type: ExchangeType,
        message_id: u32,
        iv: &Iv,
        payloads: &[Payload],
    ) -> Result<(Vec<Vec<u8>>, Iv), Error> {
        let local = |fault: &dyn std::fmt::Display| Error::Local(fault.to_string());
        let fields = HeaderFields {
            initiator_spi: self.spis.initiator,
            responder_spi: self.spis.responder,
            exchange_type,
            flags: Flags::V1_ENCRYPTION,
            message_id,
        };
        let (first, mut body) = wire::v1::encode_payloads(payloads).map_err(|fault| local(&fault))?;
        body.resize(body.len().next_multiple_of(self.block_len), 0);
        self.cipher.encrypt(&iv.0, &mut body).map_err(|fault| local(&fault))?;
        let next_iv = Iv::last_block(&body, self.block_len).unwrap_or_else(|| iv.clone());
        let message = wire::v1::encode_message(&fields, first, &body).map_err(|fault| local(&fault))?;
        let octets = message.len();
        let datagrams = self.cutting.cut(cx, self.path, &fields, message)?;
        trace(cx, TraceDirection::Sent, self.path, &fields, (datagrams.len(), octets), payloads);
        Ok((datagrams, next_iv))
    }

    /// Gives the first block of the cipher, or what there is of it.
    pub(crate) fn first_block_of<'a>(&self, ciphertext: &'a [u8]) -> &'a [u8] {
        ciphertext.get(..self.block_len).unwrap_or(ciphertext)
    }

    /// Decrypts a message. Whether it is the peer's, the hash inside tells.
    pub(crate) fn open(&self, iv: &Iv, ciphertext: &[u8]) -> Option<Opened> {
        let next_iv = Iv::last_block(ciphertext, self.block_len)?;
        let mut plaintext = ciphertext.to_vec();
        self.cipher.decrypt(&iv.0, &mut plaintext).ok()?;
        Some(Opened { plaintext, next_iv })
    }
}

impl Opened {
    /// Reads the payloads.
    ///
    /// # Errors
    /// They are malformed, or the message was encrypted with another key.
    pub(crate) fn payloads(&self, first: PayloadType) -> Result<Chain<'_>, wire::Malformed> {
        wire::v1::decode_payloads(first, &self.plaintext)
    }
}

impl Iv {
    fn of_hash(hash: &dyn Hash, block_len: usize, parts: &[&[u8]]) -> Iv {
        let mut digest = hash.digest(parts);
        digest.truncate(block_len);
        Iv(digest)
    }

    /// Takes the last block of ciphertext that is whole blocks, at least one.
    fn last_block(ciphertext: &[u8], block_len: usize) -> Option<Iv> {
        let (_, last) = ciphertext.split_at_checked(ciphertext.len().checked_sub(block_len)?)?;
        ciphertext.len().is_multiple_of(block_len).then(|| Iv(last.to_vec()))
    }
}

fn cipher_of(suite: &IkeSuite, keys: &Phase1Keys) -> Result<(Box<dyn CipherKey>, usize), Error> {
    let (cipher, key) = cipher_key_of(suite, keys)?;
    let expanded = cipher.key(key.as_slice()).map_err(|fault| Error::Local(fault.to_string()))?;
    Ok((expanded, cipher.block_len()))
}

fn cipher_key_of(
    suite: &IkeSuite,
    keys: &Phase1Keys,
) -> Result<(&'static dyn Cipher, Secret<Vec<u8>>), Error> {
    match suite.protection.encryption().map(|row| &row.kind) {
        Some(EncryptionKind::Cipher(cipher)) => {
            Ok((*cipher, keys.cipher_key(suite.prf.prf, cipher.key_len())))
        }
        _ => Err(not_of_phase_1(suite)),
    }
}

fn not_of_phase_1(suite: &IkeSuite) -> Error {
    Error::Local(format!("{suite} is no suite of IKEv1's phase 1"))
}

/// Tells what carries ESP.
fn encapsulation(nat: NatFinding, traversal: Option<Traversal>, encap: Encap) -> Encapsulation {
    let is_translated = nat.local == Behind::Nat || nat.remote == Behind::Nat;
    let is_carried = traversal.is_some() && (is_translated || encap == Encap::Always);
    if is_carried { Encapsulation::Udp } else { Encapsulation::None }
}

/// Finds the hash function of a suite.
pub(crate) fn hash_of(suite: &IkeSuite) -> Option<&'static dyn Hash> {
    transform_v1::hash_function(transform_v1::phase_1_hash(suite.protection.integrity()?)?)
}

/// Tells what a message says, if anybody listens.
pub(crate) fn trace(
    cx: &mut Context,
    direction: TraceDirection,
    path: Path,
    fields: &HeaderFields,
    datagrams: (usize, usize),
    payloads: &[Payload],
) {
    if let Ok(header) = fields.header(PayloadType::NONE, datagrams.1) {
        cx.trace(direction, path, &header, datagrams, payloads);
    }
}

/// The same for a message that came.
pub(crate) fn trace_received(
    cx: &mut Context,
    path: Path,
    datagram: &wire::v1::Datagram<'_>,
    chain: &Chain<'_>,
) {
    if cx.settings.trace_messages {
        let payloads: Vec<_> = chain.payloads.iter().map(|received| received.payload.clone()).collect();
        let octets = datagram.bytes.len();
        cx.trace(TraceDirection::Received, path, &datagram.header, (datagram.fragments, octets), &payloads);
    }
}
