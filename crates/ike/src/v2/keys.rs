//! From a shared secret to keys: the key schedule of an IKE SA and its children, and the AUTH value of a pre-shared
//! key (RFC 7296 §2.13 to §2.15, §2.17, §2.18).
//!
//! ```text
//!  IKE_SA_INIT    SKEYSEED = prf(Ni | Nr, g^ir)
//!  rekeyed        SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr | SK(1) …)  with the old IKE SA's prf
//!                     │
//!                     ▼
//!  {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)
//!     │                                       └──────┴─► AUTH
//!     ▼
//!  KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr | SK(1) …)   ─► initiator's encryption, integrity; responder's encryption, integrity
//! ```
//!
//! SK(1) and so on are the shared secrets of additional key exchanges, where there are any (RFC 9370 §2.2.2, §2.2.4).
//!
//! Nonces are values without their payload headers. "Initiator" is whoever began the exchange that the nonces belong to.

use std::sync::Arc;

use crypto::{Error, KeyRule, Prf, Secret, prf_plus};
use sa::{ChildSuite, IkeSuite};

pub(crate) use crate::exchange::{IkeSpis, Nonces};

/// The shared secrets that an SA is made of.
#[derive(Debug)]
pub(crate) struct SharedSecrets {
    first: Secret<Vec<u8>>,
    /// Of its additional key exchanges, in order.
    pub(crate) further: Vec<Secret<Vec<u8>>>,
}

impl From<Secret<Vec<u8>>> for SharedSecrets {
    fn from(first: Secret<Vec<u8>>) -> SharedSecrets {
        SharedSecrets { first, further: Vec::new() }
    }
}

/// Lays out what the keys of a new SA come from (RFC 9370 §2.2.4).
fn seed<'a>(shared: Option<&'a SharedSecrets>, nonces: Nonces<'a>) -> Vec<&'a [u8]> {
    let first = shared.map(|shared| shared.first.as_slice());
    let further = shared.into_iter().flat_map(|shared| shared.further.iter().map(Secret::as_slice));
    first.into_iter().chain([nonces.initiator, nonces.responder]).chain(further).collect()
}

/// The seven secrets of an IKE SA (RFC 7296 §2.14).
#[derive(Clone, Debug)]
pub(crate) struct IkeKeys {
    /// Derives the keys of Child SAs and of the next IKE SA.
    pub(crate) sk_d: Secret<Vec<u8>>,
    /// Integrity of the initiator's messages; empty with an AEAD.
    pub(crate) sk_ai: Secret<Vec<u8>>,
    /// Integrity of the responder's messages; empty with an AEAD.
    pub(crate) sk_ar: Secret<Vec<u8>>,
    /// Encryption of the initiator's messages, an AEAD's salt at its end.
    pub(crate) sk_ei: Secret<Vec<u8>>,
    /// Encryption of the responder's messages, an AEAD's salt at its end.
    pub(crate) sk_er: Secret<Vec<u8>>,
    /// Binds the initiator's identity to the IKE SA.
    pub(crate) sk_pi: Secret<Vec<u8>>,
    /// Binds the responder's identity to the IKE SA.
    pub(crate) sk_pr: Secret<Vec<u8>>,
}

impl IkeKeys {
    /// Derives the keys of a new IKE SA from the shared secret of its IKE_SA_INIT exchange (RFC 7296 §2.14).
    ///
    /// # Errors
    /// The suite takes more key material than its PRF can give.
    pub(crate) fn derive(
        suite: &IkeSuite,
        shared: &Secret<Vec<u8>>,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<IkeKeys, Error> {
        let prf = suite.prf.prf;
        let key =
            Secret::new([nonces.initiator, nonces.responder].map(|nonce| key_part(prf, nonce)).concat());
        let skeyseed = prf.compute(key.as_slice(), &[shared.as_slice()]);
        IkeKeys::expand(suite, &skeyseed, nonces, spis)
    }

    /// Derives the keys of an IKE SA that replaces another one, of which `old_prf` and `old_sk_d` are
    /// (RFC 7296 §2.18). `spis` are the new IKE SA's, taken from the proposals.
    ///
    /// # Errors
    /// The suite takes more key material than its PRF can give.
    pub(crate) fn rekeyed(
        suite: &IkeSuite,
        old_prf: &dyn Prf,
        old_sk_d: &Secret<Vec<u8>>,
        shared: &SharedSecrets,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<IkeKeys, Error> {
        let skeyseed = old_prf.compute(old_sk_d.as_slice(), &seed(Some(shared), nonces));
        IkeKeys::expand(suite, &skeyseed, nonces, spis)
    }

    /// Derives the keys of an IKE SA that is had again, from SK_d of the old one (RFC 5723 §5.1).
    ///
    /// # Errors
    /// The suite takes more key material than its PRF can give.
    pub(crate) fn resumed(
        suite: &IkeSuite,
        old_sk_d: &Secret<Vec<u8>>,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<IkeKeys, Error> {
        let seed = [&b"Resumption"[..], nonces.initiator, nonces.responder];
        let skeyseed = suite.prf.prf.compute(old_sk_d.as_slice(), &seed);
        IkeKeys::expand(suite, &skeyseed, nonces, spis)
    }

    fn expand(
        suite: &IkeSuite,
        skeyseed: &Secret<Vec<u8>>,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<IkeKeys, Error> {
        let prf = suite.prf.prf;
        let (integrity, encryption) =
            (suite.protection.integrity_key_len(), suite.protection.encryption_key_len());
        let lengths =
            [prf.key_len(), integrity, integrity, encryption, encryption, prf.key_len(), prf.key_len()];
        let (spi_i, spi_r) = (spis.initiator.to_octets(), spis.responder.to_octets());
        let seed = [nonces.initiator, nonces.responder, &spi_i, &spi_r];
        let stream = prf_plus(prf, skeyseed.as_slice(), &seed, lengths.iter().sum())?;
        let [sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr] = cut(&stream, lengths);
        Ok(IkeKeys { sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr })
    }
}

/// The secrets of an IKE SA that a post-quantum pre-shared key (PPK) changes before IKE_AUTH proves anything.
#[derive(Clone, Debug)]
pub(crate) struct MixableKeys {
    pub(crate) sk_d: Secret<Vec<u8>>,
    pub(crate) sk_pi: Secret<Vec<u8>>,
    pub(crate) sk_pr: Secret<Vec<u8>>,
}

impl MixableKeys {
    /// Mixes a PPK in: each becomes prf+ (PPK, what it was), as long as before (RFC 8784 §3).
    ///
    /// # Errors
    /// A key is longer than the PRF can make it.
    pub(crate) fn mixed_with(&self, prf: &dyn Prf, ppk: &Secret<Vec<u8>>) -> Result<MixableKeys, Error> {
        let mixed = |key: &Secret<Vec<u8>>| prf_plus(prf, ppk.as_slice(), &[key.as_slice()], key.len());
        Ok(MixableKeys { sk_d: mixed(&self.sk_d)?, sk_pi: mixed(&self.sk_pi)?, sk_pr: mixed(&self.sk_pr)? })
    }
}

/// The part of a nonce that goes into the key of the first derivation: half a key where the PRF wants keys of one length
/// (RFC 7296 §2.14).
fn key_part<'a>(prf: &dyn Prf, nonce: &'a [u8]) -> &'a [u8] {
    match prf.key_rule() {
        KeyRule::Any => nonce,
        KeyRule::Fixed => &nonce[..nonce.len().min(prf.key_len() / 2)],
    }
}

/// The keys of a Child SA, one for each of its two SAs: encryption key, then integrity key (RFC 7296 §2.17).
#[derive(Clone, Debug)]
pub(crate) struct ChildKeys {
    /// Of the SA that carries traffic from whoever began the exchange.
    pub(crate) initiator: Arc<Secret<Vec<u8>>>,
    /// Of the SA that carries traffic from whoever answered.
    pub(crate) responder: Arc<Secret<Vec<u8>>>,
}

impl ChildKeys {
    /// Derives them with the IKE SA's `prf` and `sk_d`; `shared` is from the exchange's own key exchanges, where it has
    /// any.
    ///
    /// # Errors
    /// The suite takes more key material than the PRF can give.
    pub(crate) fn derive(
        prf: &dyn Prf,
        sk_d: &Secret<Vec<u8>>,
        shared: Option<&SharedSecrets>,
        nonces: Nonces<'_>,
        suite: &ChildSuite,
    ) -> Result<ChildKeys, Error> {
        let length = suite.protection.key_len();
        let stream = prf_plus(prf, sk_d.as_slice(), &seed(shared, nonces), 2 * length)?;
        let [initiator, responder] = cut(&stream, [length; 2]);
        Ok(ChildKeys { initiator: Arc::new(initiator), responder: Arc::new(responder) })
    }
}

/// What an end's AUTH payload signs (RFC 7296 §2.15).
#[derive(Clone, Debug)]
pub(crate) struct SignedOctets<'a> {
    /// The other end's IKE_SA_INIT message, if both ends sign both
    /// (draft-ietf-ipsecme-ikev2-downgrade-prevention §6).
    pub(crate) others_message: Option<&'a Vec<u8>>,
    /// The end's own IKE_SA_INIT message, from the first octet of its header, without the non-ESP marker.
    pub(crate) message: &'a [u8],
    /// The other end's nonce.
    pub(crate) nonce: &'a [u8],
    /// The end's own SK_p: SK_pi of the original initiator, SK_pr of the responder.
    pub(crate) sk_p: &'a Secret<Vec<u8>>,
    /// The end's own ID payload without the generic header: type, reserved octets and data, as sent.
    pub(crate) identification_body: &'a [u8],
    /// What the IKE_INTERMEDIATE exchanges add (RFC 9242 §3.3.2); nothing if there were none.
    pub(crate) int_auth: Vec<u8>,
}

impl SignedOctets<'_> {
    /// Gives them in one piece, as a signature covers them.
    pub(crate) fn to_vec(&self, prf: &dyn Prf) -> Vec<u8> {
        let signed = [self.message, self.nonce, self.maced_id(prf).as_slice(), &self.int_auth].concat();
        match self.others_message {
            // No message begins with so many zeros: what is signed so is never what is signed otherwise.
            Some(others) => [&[0; 8], others.as_slice(), &signed].concat(),
            None => signed,
        }
    }

    fn maced_id(&self, prf: &dyn Prf) -> Secret<Vec<u8>> {
        prf.compute(self.sk_p.as_slice(), &[self.identification_body])
    }
}

/// Computes the AUTH value of a pre-shared key, to be sent or to be compared by [`Secret::ct_eq`] (RFC 7296 §2.15).
pub(crate) fn psk_auth(prf: &dyn Prf, secret: &[u8], signed: &SignedOctets<'_>) -> Secret<Vec<u8>> {
    let padded = prf.compute(secret, &[KEY_PAD]);
    prf.compute(padded.as_slice(), &[&signed.to_vec(prf)])
}

/// Computes the AUTH value of an end that proves nothing: the secret is its own SK_p (RFC 7619 §2.1).
pub(crate) fn null_auth(prf: &dyn Prf, signed: &SignedOctets<'_>) -> Secret<Vec<u8>> {
    psk_auth(prf, signed.sk_p.as_slice(), signed)
}

/// Computes the AUTH value of an IKE SA that is had again, for which the new keys are the proof (RFC 5723 §4.3.3).
pub(crate) fn resumed_auth(prf: &dyn Prf, signed: &SignedOctets<'_>) -> Secret<Vec<u8>> {
    prf.compute(signed.sk_p.as_slice(), &[&signed.to_vec(prf)])
}

const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// Cuts the start of a key stream into pieces of the given lengths, whose sum it has.
fn cut<const N: usize>(stream: &Secret<Vec<u8>>, lengths: [usize; N]) -> [Secret<Vec<u8>>; N] {
    let mut rest = stream.as_slice();
    lengths.map(|length| {
        let (piece, after) = rest.split_at(length);
        rest = after;
        Secret::from(piece)
    })
}

/// The expected values were computed from the RFC's formulas by another implementation of HMAC.
#[cfg(test)]
mod tests {
    use super::*;
    use sa::{AdditionalSuite, Proposal, ProposalProtocol, Protection, transform};
    use wire::isakmp::IkeSpi;

    /// Inputs that every value below is computed from: octets that count up.
    fn octets(start: u8, end: u8) -> Vec<u8> {
        (start..end).collect()
    }

    fn secrets() -> SharedSecrets {
        Secret::from(octets(0x60, 0x80)).into()
    }

    const SPIS: IkeSpis =
        IkeSpis { initiator: IkeSpi(0x0102_0304_0506_0708), responder: IkeSpi(0x1112_1314_1516_1718) };

    fn ike_suite(text: &str) -> IkeSuite {
        let proposal = Proposal::parse(ProposalProtocol::Ike, text).expect("the test's own text");
        IkeSuite {
            protection: protection(&proposal),
            prf: proposal.prf[0],
            key_exchange: proposal.key_exchange[0],
            additional: AdditionalSuite::default(),
        }
    }

    fn protection(proposal: &Proposal) -> Protection {
        let encryption = proposal.encryption[0];
        match proposal.integrity.first() {
            Some(integrity) => Protection::Separate { encryption, integrity },
            None => Protection::Combined(encryption),
        }
    }

    fn derive(text: &str) -> IkeKeys {
        let (ni, nr) = (octets(0x00, 0x20), octets(0x20, 0x40));
        let nonces = Nonces { initiator: &ni, responder: &nr };
        IkeKeys::derive(&ike_suite(text), &octets(0x40, 0x60).into(), nonces, SPIS)
            .expect("enough key material")
    }

    fn assert_keys(keys: &IkeKeys, expected: [&str; 7]) {
        let IkeKeys { sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr } = keys;
        let actual = [sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr].map(|key| hex::encode(key.as_slice()));
        assert_eq!(actual, expected);
    }

    #[test]
    fn an_aead_gets_salts_and_no_integrity_keys() {
        assert_keys(
            &derive("aes256gcm16-prfsha384-x25519"),
            [
                "f9c95d9b71b9dce3036c0503f9050ba5454e4edf4f211c4735678a36ea2be382c147db63d0742bb7a7067418d1c1b1e8",
                "",
                "",
                "4dbc5ff5d633d9435a9da5dd51708f53d3133823f576f79c3c61000539df644e7deb9371",
                "4a3123e1f4d1d5e1896275933263d5620fc46f6e602270808d032d50e873c2b0d1c1d551",
                "e8bfa97595ce8f3bc2ebcd52c7395e271a197bb7931ce6b8c10ba334c0ab80b252843c3f8ef403856f00eb7211eb7286",
                "516bf1f96b091ea5f889ea06d2fa3dccdc3530090c94690c35563d484e929fa757e6380389abbf256c7ba297f6399891",
            ],
        );
    }

    #[test]
    fn a_cipher_and_a_mac_get_a_key_each() {
        assert_keys(
            &derive("aes128-sha256-x25519"),
            [
                "0c26341d77313c227236f4aebf29182f0629dbe10e8ac56347f067a8defc22d5",
                "8748594d3353b3e04121026ebf49d4a4907e2ae4eb2a9831832397da89af6f79",
                "68b67ce3c70fad273ae0bbb34ee581341bbfd3303ab1d48166dde54604d0286b",
                "d75427665fbbb117f4d9f877d73606ca",
                "959fbdb34f746d24f8939191f8d3af60",
                "fc816d7edfca54ae0e23cdb44dc9e8476619d587774b27a4824b6c47d2e341e5",
                "7237e03458c7e3e9ef8a55ca566e9ba411bc3eec87b56ee85d17b5e931c8851f",
            ],
        );
    }

    /// RFC 7296 §2.14: the first 64 bits of each nonce begin the derivation, and all of them go on with it.
    #[test]
    fn a_prf_of_fixed_keys_takes_half_a_key_of_each_nonce() {
        assert_keys(
            &derive("aes128-aesxcbc-x25519"),
            [
                "531e16475fbe6657fc69436353f352c2",
                "fd6e04edd3a466222ef2fa2f08878650",
                "75064d40e9fe6a7b0470f7d8804f12b1",
                "a3127f51018a6a086e8ba9de2f5f5421",
                "47ea56dc88cd6b9133dcf480ace38d6c",
                "7e57605108ee0fb178405a389a2d78e6",
                "824453817ca220e4564530ee0dabc2af",
            ],
        );
        assert_keys(
            &derive("aes128-aescmac-x25519"),
            [
                "f487c1d5407b4a169cfb5ae322548bbc",
                "d2351a301755ab24824397b381dbe821",
                "030e217123b280799d25eaa3e14571ec",
                "c2e975c771893fb10c137518573222fc",
                "984ea0ff06c77b5a54d2aae57b1d1d3c",
                "57fde0342d4dc0dc9be2d304432dcd1c",
                "11ec87e906ca1cceeff24be49a2a0db7",
            ],
        );
    }

    #[test]
    fn rekeying_takes_the_old_prf_for_the_seed_and_the_new_one_for_the_keys() {
        let old = derive("aes256gcm16-prfsha384-x25519");
        let (ni, nr) = (octets(0x00, 0x20), octets(0x20, 0x40));
        let nonces = Nonces { initiator: &ni, responder: &nr };
        let suite = ike_suite("aes128-sha256-x25519");
        let prf = ike_suite("aes256gcm16-prfsha384-x25519").prf.prf;
        let keys = IkeKeys::rekeyed(&suite, prf, &old.sk_d, &secrets(), nonces, SPIS);
        assert_keys(
            &keys.expect("enough key material"),
            [
                "ae64ccb7164631d6fdecec0838f7b3599357d6682da9cf094cad50b82126bb67",
                "30cbc2676dbc02bc75c75f494923300356f7fa4a1115dadaf1295104ff52e9f9",
                "e129888b8b6908b02fdd17b6fe0666a9fd6da605a404465af3684bf3a39f8595",
                "27854824dcb41e7b7b47cce873ec5c91",
                "a4049485a15ba107e560d5c6ccd0d26a",
                "83c63a8c16f344870f61676554c9f0ccf6edae61f3916c5ea1e8490f1fcdaeae",
                "a8d67c9db4bde05ec21c38b479e9fc56ee200e508db92be8768f7aacf920238f",
            ],
        );
    }

    #[test]
    fn a_child_sa_gets_encryption_then_integrity_of_the_initiator_then_of_the_responder() {
        let sk_d = derive("aes128-sha256-x25519").sk_d;
        let (ni, nr) = (octets(0x00, 0x20), octets(0x20, 0x40));
        let nonces = Nonces { initiator: &ni, responder: &nr };
        let child = |text: &str, shared: Option<&SharedSecrets>| {
            let proposal = Proposal::parse(ProposalProtocol::Esp, text).expect("the test's own text");
            let suite = ChildSuite {
                protocol: sa::Protocol::Esp,
                protection: protection(&proposal),
                key_exchange: None,
                additional: AdditionalSuite::default(),
                esn: sa::Esn::No,
            };
            let keys = ChildKeys::derive(crypto::prf::HMAC_SHA2_256, &sk_d, shared, nonces, &suite);
            let ChildKeys { initiator, responder } = keys.expect("enough key material");
            [initiator, responder].map(|key| hex::encode(key.as_slice()))
        };
        let plain = [
            "2b9b2f8d7f6469c5053114fe8b9f093e4c8d1156c64f995b9b6455e3a98772fa1f7a4aac",
            "e2fe2358d4a4ce9eeb031a0a46eb7d740081ef5fef0f164d899155a8e69520c0e5aac2f4",
        ];
        assert_eq!(child("aes256gcm16", None), plain);
        let with_forward_secrecy = [
            "33a6210f4949332abe27eee8617d547ad3f83f20ec53e6087680462b176168332b3ed749067e6ae365f2950ff8841e86",
            "b8c54fa3f0fbc78424423d21725b7cbf706b461057e4db948549526967225934db8a9c27d1a424edee4b6a117f4dbc19",
        ];
        assert_eq!(child("aes128-sha256", Some(&secrets())), with_forward_secrecy);
    }

    #[test]
    fn a_pre_shared_key_signs_message_nonce_and_identity() {
        let keys = derive("aes128-sha256-x25519");
        let nonce = octets(0x20, 0x40);
        let signed = SignedOctets {
            others_message: None,
            message: b"the first message",
            nonce: &nonce,
            sk_p: &keys.sk_pi,
            identification_body: b"\x02\0\0\0gw.example",
            int_auth: Vec::new(),
        };
        let auth = |signed| {
            let auth = psk_auth(crypto::prf::HMAC_SHA2_256, b"a shared secret", signed);
            hex::encode(auth.as_slice())
        };
        assert_eq!(auth(&signed), "f15bd641952480f15e6b3caa842c815860e118a101ed62ea259941c5c5a855f4");
        let second = b"the second message".to_vec();
        let whole =
            SignedOctets { others_message: Some(&second), int_auth: b"what came between".to_vec(), ..signed };
        assert_eq!(auth(&whole), "17fabef76f229386c457b1d8189b422f2e9f4ce0656b4a82973f06a7cb8c319b");
    }

    #[test]
    fn every_suite_of_the_table_can_be_keyed() {
        for encryption in transform::ENCRYPTION.iter().filter(|row| row.serves_ike()) {
            for prf in transform::PSEUDO_RANDOM {
                let protection = match encryption.kind {
                    transform::EncryptionKind::Aead(_) => Protection::Combined(encryption),
                    transform::EncryptionKind::Cipher(_) => {
                        Protection::Separate { encryption, integrity: &transform::INTEGRITY[0] }
                    }
                };
                let additional = AdditionalSuite::default();
                let suite = IkeSuite { protection, prf, key_exchange: &transform::GROUPS[0], additional };
                let nonces = Nonces { initiator: &[1; 32], responder: &[2; 32] };
                let keys =
                    IkeKeys::derive(&suite, &vec![3; 32].into(), nonces, SPIS).expect("enough key material");
                assert_eq!(keys.sk_ei.len(), protection.encryption_key_len(), "{suite}");
                assert_eq!(keys.sk_ar.len(), protection.integrity_key_len(), "{suite}");
                assert_eq!(keys.sk_pr.len(), prf.prf.key_len(), "{suite}");
                assert!(!keys.sk_ei.ct_eq(keys.sk_er.as_slice()), "{suite}");
            }
        }
    }
}
