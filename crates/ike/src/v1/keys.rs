//! From phase 1's key exchange to keys: SKEYID and what comes of it (RFC 2409 §5, §5.5, appendix B).
//!
//! ```text
//!  SKEYID   = prf(pre-shared key, Ni_b | Nr_b)          with a pre-shared key
//!             prf(Ni_b | Nr_b, g^xy)                    with signatures
//!             prf(hash(Ni_b | Nr_b), CKY-I | CKY-R)     with public key encryption
//!
//!  SKEYID_d = prf(SKEYID,            g^xy | CKY-I | CKY-R | 0)   ─► KEYMAT of Child SAs
//!  SKEYID_a = prf(SKEYID, SKEYID_d | g^xy | CKY-I | CKY-R | 1)   ─► the hashes of phase 2
//!  SKEYID_e = prf(SKEYID, SKEYID_a | g^xy | CKY-I | CKY-R | 2)   ─► the cipher's key, stretched if it is too short
//!
//!  KEYMAT   = K1 | K2 | …   K1 = prf(SKEYID_d,      [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b)
//!                           K2 = prf(SKEYID_d, K1 | [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b)
//! ```
//!
//! Nonces are bodies of their payloads. Each of the two SAs of a Child SA has a KEYMAT of its own, by its receiver's SPI.

use crypto::{Hash, Prf, Secret};
use sa::{IkeSuite, Spi};
use wire::registry::v1::ProtocolId;

use super::channel::hash_of;
use super::method::{Keying, Method};
use crate::error::Error;
use crate::exchange::{IkeSpis, Nonces};

/// What SKEYID is made from besides the nonces.
#[derive(Clone, Copy)]
pub(crate) enum KeySource<'a> {
    /// A pre-shared key.
    PreSharedKey(&'a Secret<Vec<u8>>),
    /// The pre-shared key that the peer most likely has; message 5 of main mode tells.
    LikelyKey(&'a Secret<Vec<u8>>),
    /// The secret of the key exchange, where signatures prove who the ends are.
    Exchange,
    /// Nothing: the nonces are secret, where they were encrypted to the ends. This is the hash function agreed on.
    Nonces(&'static dyn Hash),
}

impl<'a> KeySource<'a> {
    /// What a method wants; a pre-shared key, where there is one.
    ///
    /// # Errors
    /// The suite is none of phase 1.
    pub(crate) fn new(
        method: &Method,
        suite: &IkeSuite,
        secret: Option<&'a Secret<Vec<u8>>>,
    ) -> Result<KeySource<'a>, Error> {
        match (method.keying(), secret) {
            (Keying::Encryption, _) => match hash_of(suite) {
                Some(hash) => Ok(KeySource::Nonces(hash)),
                None => Err(Error::Local(format!("{suite} is no suite of IKEv1's phase 1"))),
            },
            (Keying::PreSharedKey | Keying::Signature, Some(secret)) => Ok(KeySource::PreSharedKey(secret)),
            (Keying::PreSharedKey | Keying::Signature, None) => Ok(KeySource::Exchange),
        }
    }

    /// The same where it is not known yet whose it is.
    pub(crate) fn of_somebody(self) -> KeySource<'a> {
        match self {
            KeySource::PreSharedKey(secret) | KeySource::LikelyKey(secret) => KeySource::LikelyKey(secret),
            other @ (KeySource::Exchange | KeySource::Nonces(_)) => other,
        }
    }
}

/// What both ends of a phase 1 derive from it.
#[derive(Clone, Debug)]
pub(crate) struct Phase1Keys {
    /// Proves in phase 1 who an end is.
    pub(crate) skeyid: Secret<Vec<u8>>,
    /// Gives the keys of Child SAs.
    pub(crate) skeyid_d: Secret<Vec<u8>>,
    /// Authenticates the messages of phase 2.
    pub(crate) skeyid_a: Secret<Vec<u8>>,
    /// Gives the key of the cipher that all encrypted messages have in common.
    pub(crate) skeyid_e: Secret<Vec<u8>>,
}

impl Phase1Keys {
    /// Derives them (RFC 2409 §5).
    pub(crate) fn derive(
        prf: &dyn Prf,
        source: KeySource<'_>,
        shared: &Secret<Vec<u8>>,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Phase1Keys {
        let skeyid = match source {
            KeySource::PreSharedKey(secret) | KeySource::LikelyKey(secret) => skeyid_of(prf, secret, nonces),
            KeySource::Exchange => {
                prf.compute(&[nonces.initiator, nonces.responder].concat(), &[shared.as_slice()])
            }
            KeySource::Nonces(hash) => {
                let key = Secret::from(hash.digest(&[nonces.initiator, nonces.responder]));
                prf.compute(key.as_slice(), &[&spis.initiator.to_octets(), &spis.responder.to_octets()])
            }
        };
        Phase1Keys::of_skeyid(prf, skeyid, shared, spis)
    }

    /// Derives what comes of SKEYID.
    pub(crate) fn of_skeyid(
        prf: &dyn Prf,
        skeyid: Secret<Vec<u8>>,
        shared: &Secret<Vec<u8>>,
        spis: IkeSpis,
    ) -> Phase1Keys {
        let (spi_i, spi_r) = (spis.initiator.to_octets(), spis.responder.to_octets());
        let next = |previous: &[u8], counter: u8| {
            prf.compute(skeyid.as_slice(), &[previous, shared.as_slice(), &spi_i, &spi_r, &[counter]])
        };
        let skeyid_d = next(&[], 0);
        let skeyid_a = next(skeyid_d.as_slice(), 1);
        let skeyid_e = next(skeyid_a.as_slice(), 2);
        Phase1Keys { skeyid, skeyid_d, skeyid_a, skeyid_e }
    }

    /// Gives the key of a cipher: the start of SKEYID_e, or if that is too short, of what it is stretched to (RFC 2409
    /// appendix B).
    pub(crate) fn cipher_key(&self, prf: &dyn Prf, length: usize) -> Secret<Vec<u8>> {
        stretched(prf, &self.skeyid_e, length)
    }
}

/// Derives the SKEYID of a pre-shared key (RFC 2409 §5).
pub(crate) fn skeyid_of(prf: &dyn Prf, secret: &Secret<Vec<u8>>, nonces: Nonces<'_>) -> Secret<Vec<u8>> {
    prf.compute(secret.as_slice(), &[nonces.initiator, nonces.responder])
}

/// Gives the start of a secret, or if that is too short, of what it is stretched to (RFC 2409 §5.3, appendix B).
pub(crate) fn stretched(prf: &dyn Prf, secret: &Secret<Vec<u8>>, length: usize) -> Secret<Vec<u8>> {
    if let Some(start) = secret.as_slice().get(..length) {
        return Secret::from(start);
    }
    let first = prf.compute(secret.as_slice(), &[&[0]]);
    chained(first, length, |previous| prf.compute(secret.as_slice(), &[previous]))
}

/// What the KEYMAT of one SA is made from.
#[derive(Clone, Copy)]
pub(crate) struct KeymatSource<'a> {
    pub(crate) prf: &'static dyn Prf,
    pub(crate) skeyid_d: &'a Secret<Vec<u8>>,
    /// The secret of quick mode's own key exchange, where it has one.
    pub(crate) shared: Option<&'a Secret<Vec<u8>>>,
    pub(crate) nonces: Nonces<'a>,
}

impl KeymatSource<'_> {
    /// Gives the first `length` octets for the SA whose receiver chose `spi` (RFC 2409 §5.5).
    pub(crate) fn keymat(&self, protocol: ProtocolId, spi: Spi, length: usize) -> Secret<Vec<u8>> {
        let KeymatSource { prf, skeyid_d, shared, nonces } = self;
        let (protocol, spi) = ([protocol.0], spi.0.to_be_bytes());
        let block = |previous: &[u8]| {
            let shared = shared.map_or(&[][..], Secret::as_slice);
            prf.compute(
                skeyid_d.as_slice(),
                &[previous, shared, &protocol, &spi, nonces.initiator, nonces.responder],
            )
        };
        chained(block(&[]), length, block)
    }
}

/// Puts blocks together of which each is made from the one before, and keeps `length` octets.
fn chained(
    first: Secret<Vec<u8>>,
    length: usize,
    next: impl Fn(&[u8]) -> Secret<Vec<u8>>,
) -> Secret<Vec<u8>> {
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut stream = Secret::new(Vec::with_capacity(length + first.len()));
    let mut block = first;
    while stream.len() < length {
        stream.expose_mut().extend_from_slice(block.as_slice());
        block = next(block.as_slice());
    }
    stream.expose_mut().truncate(length);
    stream
}

/// The expected values were computed from the RFC's formulas by another implementation of HMAC.
#[cfg(test)]
mod tests {
    use super::*;
    use wire::isakmp::IkeSpi;

    const PRF: &dyn Prf = crypto::prf::HMAC_SHA2_256;

    fn octets(start: u8, end: u8) -> Vec<u8> {
        (start..end).collect()
    }

    fn keys() -> Phase1Keys {
        let (ni, nr) = (octets(0, 32), octets(32, 64));
        let nonces = Nonces { initiator: &ni, responder: &nr };
        let spis =
            IkeSpis { initiator: IkeSpi(0x0102_0304_0506_0708), responder: IkeSpi(0x1112_1314_1516_1718) };
        let secret = Secret::from(b"a shared key".to_vec());
        Phase1Keys::derive(PRF, KeySource::PreSharedKey(&secret), &octets(64, 96).into(), nonces, spis)
    }

    fn assert_octets(secret: &Secret<Vec<u8>>, expected: &str) {
        assert_eq!(hex::encode(secret.as_slice()), expected);
    }

    #[test]
    fn the_four_secrets_of_phase_1() {
        let Phase1Keys { skeyid, skeyid_d, skeyid_a, skeyid_e } = keys();
        assert_octets(&skeyid, "a8d3babac533ee9c2e101aa193e45bef355815845769e938b98c110f2f7d1d43");
        assert_octets(&skeyid_d, "fb8050e419516853b00dc9cf918089f1fa4c9579e8134e05d33e71417fcd26b4");
        assert_octets(&skeyid_a, "387604a76792f9019b175fb7bfbbf26debcf6c2193f8365884f74b8921cae749");
        assert_octets(&skeyid_e, "4f9b62ad88d4bdb099b8acd6687128473eeeace36591baf5c0b97caee93d4e59");
    }

    #[test]
    fn a_cipher_key_is_cut_or_stretched() {
        assert_octets(&keys().cipher_key(PRF, 16), "4f9b62ad88d4bdb099b8acd668712847");
        assert_octets(
            &keys().cipher_key(PRF, 48),
            "3b99fd3c9293e8407775cf9dd34dc8de91a96301f1f463be6c8a5d87916b6954412eb82b87107d098c0ce4927fa34dd5",
        );
    }

    #[test]
    fn keymat_with_and_without_a_key_exchange_of_its_own() {
        let (ni, nr, shared) = (octets(0, 32), octets(32, 64), octets(96, 128).into());
        let nonces = Nonces { initiator: &ni, responder: &nr };
        let keys = keys();
        let source = KeymatSource { prf: PRF, skeyid_d: &keys.skeyid_d, shared: None, nonces };
        assert_octets(
            &source.keymat(ProtocolId::ESP, Spi(0xc0ff_ee01), 48),
            "923086c71447a6665eeec3580546a2cb3c460c818bb69d1833a1ed52091a198471732641c718d69ec3b8929c29e73d69",
        );
        let source = KeymatSource { shared: Some(&shared), ..source };
        assert_octets(
            &source.keymat(ProtocolId::ESP, Spi(0xc0ff_ee01), 48),
            "1fac0a2b36f118af6a58bde77d9aa9d51da2f5c602d0e743def5755ef91d5a7de112b28765f393836c6400316d104fbb",
        );
    }
}
