//! From a shared secret to keys: the key schedule of an IKE SA and its children, and the AUTH value of a pre-shared
//! key (RFC 7296 §2.13 to §2.15, §2.17, §2.18).
//!
//! ```text
//!  IKE_SA_INIT    SKEYSEED = prf(Ni | Nr, g^ir)
//!  rekeyed        SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)           with the old IKE SA's prf
//!                     │
//!                     ▼
//!  {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)
//!     │                                       └──────┴─► AUTH
//!     ▼
//!  KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr)   ─► initiator's encryption, integrity; responder's encryption, integrity
//! ```
//!
//! Nonces are values without their payload headers. "Initiator" is whoever began the exchange that the nonces belong to.

use std::sync::Arc;

use crypto::{Error, Prf, Secret, prf_plus};
use sa::{EspSuite, IkeSuite};
use wire::isakmp::IkeSpi;

/// Both nonces of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nonces<'a> {
    /// Ni, of whoever began the exchange.
    pub(crate) initiator: &'a [u8],
    /// Nr, of whoever answered.
    pub(crate) responder: &'a [u8],
}

/// Both SPIs of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IkeSpis {
    /// The original initiator's.
    pub(crate) initiator: IkeSpi,
    /// The original responder's.
    pub(crate) responder: IkeSpi,
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
        let both_nonces = Secret::new([nonces.initiator, nonces.responder].concat());
        let skeyseed = suite.prf.prf.compute(both_nonces.as_slice(), &[shared.as_slice()]);
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
        shared: &Secret<Vec<u8>>,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<IkeKeys, Error> {
        let seed = [shared.as_slice(), nonces.initiator, nonces.responder];
        let skeyseed = old_prf.compute(old_sk_d.as_slice(), &seed);
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

/// The keys of a Child SA, one for each of its two SAs: encryption key, then integrity key (RFC 7296 §2.17).
#[derive(Clone, Debug)]
pub(crate) struct ChildKeys {
    /// Of the SA that carries traffic from whoever began the exchange.
    pub(crate) initiator: Arc<Secret<Vec<u8>>>,
    /// Of the SA that carries traffic from whoever answered.
    pub(crate) responder: Arc<Secret<Vec<u8>>>,
}

impl ChildKeys {
    /// Derives them with the IKE SA's `prf` and `sk_d`; `shared` is the secret of the exchange's own key exchange,
    /// where it has one.
    ///
    /// # Errors
    /// The suite takes more key material than the PRF can give.
    pub(crate) fn derive(
        prf: &dyn Prf,
        sk_d: &Secret<Vec<u8>>,
        shared: Option<&Secret<Vec<u8>>>,
        nonces: Nonces<'_>,
        suite: &EspSuite,
    ) -> Result<ChildKeys, Error> {
        let length = suite.protection.key_len();
        let seed = [shared.map_or(&[][..], Secret::as_slice), nonces.initiator, nonces.responder];
        let stream = prf_plus(prf, sk_d.as_slice(), &seed, 2 * length)?;
        let [initiator, responder] = cut(&stream, [length; 2]);
        Ok(ChildKeys { initiator: Arc::new(initiator), responder: Arc::new(responder) })
    }
}

/// What an end's AUTH payload signs (RFC 7296 §2.15).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedOctets<'a> {
    /// The end's own IKE_SA_INIT message, from the first octet of its header, without the non-ESP marker.
    pub(crate) message: &'a [u8],
    /// The other end's nonce.
    pub(crate) nonce: &'a [u8],
    /// The end's own SK_p: SK_pi of the original initiator, SK_pr of the responder.
    pub(crate) sk_p: &'a Secret<Vec<u8>>,
    /// The end's own ID payload without the generic header: type, reserved octets and data, as sent.
    pub(crate) identification_body: &'a [u8],
}

/// Computes the AUTH value of a pre-shared key, to be sent or to be compared by [`Secret::ct_eq`] (RFC 7296 §2.15).
pub(crate) fn psk_auth(prf: &dyn Prf, secret: &[u8], signed: &SignedOctets<'_>) -> Secret<Vec<u8>> {
    let padded = prf.compute(secret, &[KEY_PAD]);
    let maced_id = prf.compute(signed.sk_p.as_slice(), &[signed.identification_body]);
    prf.compute(padded.as_slice(), &[signed.message, signed.nonce, maced_id.as_slice()])
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
