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
//!  cipher + MAC:  ICV over everything to its left, padding up to whole blocks; IV random, or from a counter (RFC 5930)
//! ```
//!
//! Keys are expanded once for an IKE SA. A direction's key protects only messages of one end, so a message that is
//! reflected to its sender does not authenticate.

use std::sync::atomic::{AtomicU64, Ordering};

use crypto::{AeadKey, CipherKey, Forged, IvRule, MacKey, Random, Secret};
use sa::transform::EncryptionKind;
use sa::{IkeSuite, Protection};
use thiserror::Error;
use wire::TooLong;
use wire::isakmp::Header;
use wire::registry::PayloadType;
use wire::v2::{
    Datagram, Encrypted, FragmentNumber, HeaderFields, Payload, encode_payloads, encrypted_prefix,
};

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
        match fragment_size.filter(|size| whole_len > *size).map(|size| key.share_len(size)) {
            Some(share) if content.len() > share => {
                seal_fragments(key, header, first_payload, &content, share, random)
            }
            Some(_) | None => Ok(vec![key.seal(header, first_payload, None, &content, random)?]),
        }
    }

    /// Gives the octets of payloads that one message of at most `datagram` octets has room for.
    pub(crate) fn room(&self, datagram: usize) -> usize {
        self.outbound.room(WHOLE_PREFIX_LEN, datagram)
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

/// Cuts `content` into fragments of `share` octets each, the last one smaller (RFC 7383 §2.5).
fn seal_fragments(
    key: &DirectionKey,
    header: &HeaderFields,
    first_payload: PayloadType,
    content: &[u8],
    share: usize,
    random: &mut dyn Random,
) -> Result<Vec<Vec<u8>>, NotSealed> {
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
        iv_counter: IvCounter,
    },
    Separate {
        cipher: Box<dyn CipherKey>,
        mac: Box<dyn MacKey>,
        iv_rule: IvRule,
        iv_counter: IvCounter,
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
        let cipher = protection.encryption().filter(|row| row.serves_ike()).map(|row| &row.kind);
        match (cipher, protection.integrity().filter(|row| !row.is_for_ah_alone())) {
            (Some(EncryptionKind::Aead(aead)), _) => Ok(DirectionKey::Combined {
                key: aead.key(encryption.as_slice())?,
                icv_len: aead.icv_len(),
                iv_counter: IvCounter::default(),
            }),
            (Some(EncryptionKind::Cipher(cipher)), Some(row)) => Ok(DirectionKey::Separate {
                cipher: cipher.key(encryption.as_slice())?,
                mac: row.mac.key(integrity.as_slice())?,
                iv_rule: cipher.iv_rule(),
                iv_counter: IvCounter::default(),
                iv_len: cipher.iv_len(),
                block_len: cipher.block_len(),
                icv_len: row.mac.icv_len(),
            }),
            // A message that anybody could change is worse than none.
            (Some(EncryptionKind::Cipher(_)) | None, _) => Err(crypto::Error::Length),
        }
    }

    fn iv_len(&self) -> usize {
        match self {
            DirectionKey::Combined { .. } => COUNTER_IV_LEN,
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

    /// Octets of payloads that a fragment of `fragment_size` octets has room for.
    fn share_len(&self, fragment_size: usize) -> usize {
        self.room(FRAGMENT_PREFIX_LEN, fragment_size).max(FRAGMENT_CONTENT_AT_LEAST)
    }

    /// Octets of payloads that a datagram has room for behind so many octets in front of the body.
    fn room(&self, prefix_len: usize, datagram: usize) -> usize {
        let encrypted = datagram.saturating_sub(prefix_len + self.iv_len() + self.icv_len());
        let whole_blocks = encrypted - encrypted % self.block_len();
        whole_blocks.saturating_sub(PAD_LENGTH_LEN)
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
            DirectionKey::Combined { key, iv_counter, .. } => {
                let counter_iv = iv_counter.next();
                iv.copy_from_slice(&counter_iv);
                key.seal(&counter_iv, associated, text, icv)?;
            }
            DirectionKey::Separate { cipher, mac, iv_rule, iv_counter, .. } => {
                match iv_rule {
                    IvRule::Unpredictable => random.fill(iv),
                    IvRule::Unique => iv.copy_from_slice(&iv_counter.next()),
                }
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

/// The next IV where it need only be unique. A counter cannot repeat under one key, as a random value of 8 octets could.
#[derive(Debug, Default)]
struct IvCounter(AtomicU64);

impl IvCounter {
    fn next(&self) -> [u8; COUNTER_IV_LEN] {
        self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }
}

/// Octets of the IV of every AEAD and every counter mode that an IKE SA may have (RFC 5282 §3.1, RFC 5930 §2, RFC 7634 §3).
const COUNTER_IV_LEN: usize = 8;
/// Octets of the Pad Length field.
const PAD_LENGTH_LEN: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2::fragmentation::Reassembly;
    use crate::v2::keys::{IkeSpis, Nonces};
    use crypto::SystemRandom;
    use proptest::prelude::*;
    use sa::AdditionalSuite;
    use sa::transform::{self, GROUPS, INTEGRITY, PSEUDO_RANDOM};
    use wire::isakmp::{Flags, IkeSpi};
    use wire::registry::ExchangeType;

    const SPIS: IkeSpis =
        IkeSpis { initiator: IkeSpi(0x0102_0304_0506_0708), responder: IkeSpi(0x1112_1314_1516_1718) };

    const HEADER: HeaderFields = HeaderFields {
        initiator_spi: SPIS.initiator,
        responder_spi: SPIS.responder,
        exchange_type: ExchangeType::INFORMATIONAL,
        flags: Flags::INITIATOR,
        message_id: 2,
    };

    /// A generator that always gives the same octet.
    struct Constant(u8);
    impl Random for Constant {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    /// Every protection that an IKE SA may have.
    fn suites() -> Vec<IkeSuite> {
        let rows = transform::ENCRYPTION.iter().filter(|row| row.serves_ike());
        let protections = rows.flat_map(|encryption| match encryption.kind {
            EncryptionKind::Aead(_) => vec![Protection::Combined(encryption)],
            EncryptionKind::Cipher(_) => {
                let macs = INTEGRITY.iter().filter(|row| !row.is_for_ah_alone());
                macs.map(|integrity| Protection::Separate { encryption, integrity }).collect()
            }
        });
        protections
            .map(|protection| IkeSuite {
                protection,
                prf: &PSEUDO_RANDOM[0],
                key_exchange: &GROUPS[0],
                additional: AdditionalSuite::default(),
            })
            .collect()
    }

    /// Both ends of an IKE SA, with the keys of the vectors in `keys.rs`.
    fn ends(suite: &IkeSuite) -> [MessageProtection; 2] {
        let octets = |start, end| (start..end).collect::<Vec<u8>>();
        let (ni, nr) = (octets(0x00, 0x20), octets(0x20, 0x40));
        let nonces = Nonces { initiator: &ni, responder: &nr };
        let keys =
            IkeKeys::derive(suite, &octets(0x40, 0x60).into(), nonces, SPIS).expect("enough key material");
        [Role::Initiator, Role::Responder]
            .map(|role| MessageProtection::new(suite, &keys, role).expect("the suite's own keys"))
    }

    fn suite(protection: &str, prf: usize) -> IkeSuite {
        let found = suites().into_iter().find(|suite| suite.protection.to_string() == protection);
        IkeSuite { prf: &PSEUDO_RANDOM[prf], ..found.expect("in the table") }
    }

    fn open(end: &MessageProtection, message: &[u8]) -> Result<Opened, NotOpened> {
        end.open(&wire::v2::decode(message).expect("well-formed"))
    }

    /// The expected messages were sealed by another implementation of the ciphers.
    #[test]
    fn messages_are_those_of_another_implementation() {
        let keyway = [Payload::VendorId(b"keyway".to_vec())];
        let [initiator, _] = ends(&suite("aes256gcm16", 1));
        let sealed = initiator.seal(&HEADER, &keyway, None, &mut SystemRandom).expect("short");
        let expected = "010203040506070811121314151617182e20250800000002000000432b000027\
                        0000000000000000ca7a6101726e6a1908fff06f6cecb01d3275d30d3adea707cc8ea6";
        assert_eq!(sealed.iter().map(hex::encode).collect::<Vec<_>>(), [expected]);

        let [initiator, _] = ends(&suite("aes128-sha256", 0));
        let sealed = initiator.seal(&HEADER, &keyway, None, &mut Constant(0x5a)).expect("short");
        let expected = "010203040506070811121314151617182e20250800000002000000502b000034\
                        5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a90498a692c48a6ec9ec5b5b366f30ccf\
                        9dc051e1bd73f09a9bd4b9a0af43d99e";
        assert_eq!(sealed.iter().map(hex::encode).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn fragments_are_those_of_another_implementation() {
        let [initiator, _] = ends(&suite("aes256gcm16", 1));
        let long = [Payload::VendorId((0..200).collect())];
        let sealed = initiator.seal(&HEADER, &long, Some(150), &mut SystemRandom).expect("not too many");
        assert_eq!(sealed.iter().map(Vec::len).collect::<Vec<_>>(), [150, 150, 87]);
        let expected = "01020304050607081112131415161718352025080000000200000057\
                        0000003b00030003\
                        0000000000000002c8242848857ab49ca9bfd9f77bd2a79143505bdb60403d7d\
                        0175708799e3544fba2f3e750f1cdfce3aa3ef";
        assert_eq!(hex::encode(&sealed[2]), expected);
    }

    #[test]
    fn an_initialization_vector_is_never_used_twice() {
        for suite in suites() {
            let [initiator, _] = ends(&suite);
            let iv_of =
                |message: &Vec<u8>| message[WHOLE_PREFIX_LEN..][..initiator.outbound.iv_len()].to_vec();
            let messages =
                (0..50).flat_map(|_| initiator.seal(&HEADER, &[], None, &mut SystemRandom).expect("short"));
            let ivs: std::collections::BTreeSet<Vec<u8>> = messages.map(|message| iv_of(&message)).collect();
            assert_eq!(ivs.len(), 50, "{suite}");
        }
    }

    #[test]
    fn an_altered_octet_anywhere_is_noticed() {
        for suite in suites() {
            let [initiator, responder] = ends(&suite);
            let payloads = [Payload::VendorId(vec![7; 40])];
            for size in [None, Some(130)] {
                for message in initiator.seal(&HEADER, &payloads, size, &mut SystemRandom).expect("short") {
                    assert!(open(&responder, &message).is_ok(), "{suite}");
                    for index in 0..message.len() {
                        let mut altered = message.clone();
                        altered[index] ^= 0x40;
                        let is_refused = match wire::v2::decode(&altered) {
                            Ok(datagram) => responder.open(&datagram).is_err(),
                            Err(_) => true,
                        };
                        assert!(is_refused, "{suite}: octet {index} of {}", message.len());
                    }
                }
            }
        }
    }

    #[test]
    fn a_message_does_not_open_at_its_own_sender() {
        for suite in suites() {
            let [initiator, responder] = ends(&suite);
            for (sender, receiver) in [(&initiator, &responder), (&responder, &initiator)] {
                let sealed = sender.seal(&HEADER, &[], None, &mut SystemRandom).expect("short");
                let opened = open(receiver, &sealed[0]).expect("authentic");
                assert_eq!((opened.first_payload, opened.plaintext.len()), (PayloadType::NONE, 0));
                assert_eq!(open(sender, &sealed[0]), Err(NotOpened::Forged(Forged)), "{suite}");
            }
        }
    }

    #[test]
    fn bodies_that_do_not_fit_the_cipher_are_refused() {
        for suite in suites() {
            let [_, responder] = ends(&suite);
            for body_len in 0..60 {
                let mut message =
                    encrypted_prefix(&HEADER, PayloadType::NONE, None, body_len).expect("short enough");
                message.resize(message.len() + body_len, 0);
                assert!(open(&responder, &message).is_err(), "{suite}: {body_len} octets");
            }
        }
        let [_, responder] = ends(&suites()[0]);
        let clear = wire::v2::encode_clear(&HEADER, &[]).expect("short");
        assert_eq!(open(&responder, &clear), Err(NotOpened::InTheClear));
    }

    /// A peer may pad up to 255 octets (RFC 7296 §3.14), but not by more than there are.
    #[test]
    fn more_padding_than_we_use_is_accepted_and_impossible_padding_is_not() {
        let [initiator, responder] = ends(&suite("aes128gcm16", 0));
        let DirectionKey::Combined { key, .. } = &initiator.outbound else { panic!("an AEAD") };
        let mut last_iv = u64::MAX;
        let mut with_pad_length = |pad_length: u8| {
            let mut text = [0; 21];
            text[20] = pad_length;
            let (iv, mut icv) = (last_iv.to_be_bytes(), [0; 16]);
            last_iv -= 1;
            let body_len = iv.len() + text.len() + icv.len();
            let prefix = encrypted_prefix(&HEADER, PayloadType::NONE, None, body_len).expect("short");
            key.seal(&iv, &prefix, &mut text, &mut icv).expect("sizes fit");
            let message = [&prefix, &iv[..], &text, &icv].concat();
            open(&responder, &message).map(|opened| opened.plaintext.len())
        };
        assert_eq!(with_pad_length(0), Ok(20));
        assert_eq!(with_pad_length(17), Ok(3));
        assert_eq!(with_pad_length(20), Ok(0));
        assert_eq!(with_pad_length(21), Err(NotOpened::Padding));
    }

    #[test]
    fn a_message_longer_than_the_protocol_can_say_is_an_error() {
        let [initiator, _] = ends(&suites()[0]);
        let long = vec![Payload::VendorId(vec![0; 60_000]); 2];
        let sealed = initiator.seal(&HEADER, &long, None, &mut SystemRandom);
        assert!(matches!(sealed, Err(NotSealed::TooLong(_))));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_whatever_the_suite_and_the_fragment_size(
            suite in prop::sample::select(suites()),
            lengths in prop::collection::vec(0usize..600, 0..4),
            fragment_size in prop::option::of(0usize..1500),
            from_initiator: bool,
        ) {
            let [initiator, responder] = ends(&suite);
            let (sender, receiver) =
                if from_initiator { (initiator, responder) } else { (responder, initiator) };
            let payloads: Vec<Payload> =
                lengths.iter().map(|length| Payload::VendorId(vec![*length as u8; *length])).collect();
            let datagrams = sender.seal(&HEADER, &payloads, fragment_size, &mut SystemRandom).expect("short");
            let least = FRAGMENT_PREFIX_LEN + sender.outbound.body_len(FRAGMENT_CONTENT_AT_LEAST);
            if let Some(size) = fragment_size {
                prop_assert!(datagrams.iter().all(|datagram| datagram.len() <= size.max(least)));
            } else {
                prop_assert_eq!(datagrams.len(), 1);
            }
            let mut reassembly = Reassembly::default();
            let mut complete = Vec::new();
            for datagram in datagrams.iter().rev() {
                let opened = open(&receiver, datagram).expect("authentic");
                complete.extend(match opened.fragment {
                    None => Some((opened.first_payload, opened.plaintext)),
                    Some(fragment) => reassembly.add(fragment, opened.first_payload, opened.plaintext),
                });
            }
            prop_assert_eq!(complete.len(), 1);
            let (first_payload, plaintext) = complete.remove(0);
            prop_assert_eq!(wire::v2::decode_payloads(first_payload, &plaintext), Ok(payloads));
        }
    }
}
