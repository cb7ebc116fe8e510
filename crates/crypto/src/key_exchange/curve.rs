//! Diffie-Hellman on elliptic curves: Curve25519 (RFC 8031) and the NIST curves (RFC 5903).

use aws_lc_rs::agreement::{self, Algorithm, PrivateKey, UnparsedPublicKey};

use crate::key_exchange::{KeyExchange, KeyExchangePrivate};
use crate::{Error, InvalidPublicValue, Secret};

/// One curve, and how its public values look on the wire.
#[derive(Clone, Copy)]
pub(super) struct Curve {
    name: &'static str,
    algorithm: &'static Algorithm,
    public_len: usize,
    /// What SEC 1 puts before the coordinates and IKE does not: `04` for an uncompressed point.
    prefix: &'static [u8],
    /// Why the library refuses a public value of the right length.
    refusal: InvalidPublicValue,
}

pub(super) const CURVE25519: Curve = Curve {
    name: "CURVE25519",
    algorithm: &agreement::X25519,
    public_len: 32,
    prefix: &[],
    // RFC 7748 §5: all 32-octet strings are accepted as u coordinates, but RFC 8031 §2 refuses the zero secret.
    refusal: InvalidPublicValue::SmallOrder,
};

pub(super) const ECP_256: Curve = nist_curve("ECP_256", &agreement::ECDH_P256, 2 * 32);
pub(super) const ECP_384: Curve = nist_curve("ECP_384", &agreement::ECDH_P384, 2 * 48);
pub(super) const ECP_521: Curve = nist_curve("ECP_521", &agreement::ECDH_P521, 2 * 66);

/// RFC 5903 §7: the public value is x | y, the shared secret is x alone.
const fn nist_curve(name: &'static str, algorithm: &'static Algorithm, public_len: usize) -> Curve {
    Curve { name, algorithm, public_len, prefix: &[0x04], refusal: InvalidPublicValue::NotOnCurve }
}

impl KeyExchange for Curve {
    fn name(&self) -> &'static str {
        self.name
    }

    fn public_len(&self) -> usize {
        self.public_len
    }

    fn generate(&self) -> Result<Box<dyn KeyExchangePrivate>, Error> {
        Ok(Box::new(self.private(random_key(self.algorithm)?)?))
    }

    fn respond(&self, peer_public: &[u8]) -> Result<(Vec<u8>, Secret<Vec<u8>>), Error> {
        let private = self.private(random_key(self.algorithm)?)?;
        let secret = private.agree(peer_public)?;
        Ok((private.public, secret))
    }
}

impl Curve {
    fn private(self, key: PrivateKey) -> Result<CurvePrivate, Error> {
        let point = key.compute_public_key().map_err(|_| Error::Library)?;
        let public = point.as_ref().strip_prefix(self.prefix).ok_or(Error::Library)?.to_vec();
        Ok(CurvePrivate { curve: self, key, public })
    }
}

fn random_key(algorithm: &'static Algorithm) -> Result<PrivateKey, Error> {
    PrivateKey::generate(algorithm).map_err(|_| Error::Library)
}

struct CurvePrivate {
    curve: Curve,
    key: PrivateKey,
    public: Vec<u8>,
}

impl CurvePrivate {
    fn agree(&self, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let Curve { algorithm, public_len, prefix, refusal, .. } = self.curve;
        if peer_public.len() != public_len {
            let actual = peer_public.len();
            return Err(InvalidPublicValue::Length { expected: public_len, actual }.into());
        }
        let point = UnparsedPublicKey::new(algorithm, [prefix, peer_public].concat());
        agreement::agree(&self.key, point, Error::from(refusal), |secret| Ok(Secret::from(secret)))
    }
}

impl KeyExchangePrivate for CurvePrivate {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn finish(self: Box<Self>, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        self.agree(peer_public)
    }
}

#[cfg(test)]
mod tests;
