//! Diffie-Hellman on Brainpool's curves (RFC 6954) and on the small NIST curves (RFC 5114), by the C library's general
//! arithmetic.
//!
//! As on the other NIST curves, the public value is x | y and the shared secret is x alone (RFC 5903 §7, RFC 6954 §3).

use crate::ffi::ec::{EcCurve, EcKey};
use crate::key_exchange::{KeyExchange, KeyExchangePrivate};
use crate::{Error, InvalidPublicValue, Secret};

/// One curve.
#[derive(Clone, Copy)]
pub(super) struct Ecp {
    name: &'static str,
    curve: EcCurve,
}

pub(super) const ECP_192: Ecp = Ecp { name: "ECP_192", curve: EcCurve::P192 };
pub(super) const ECP_224: Ecp = Ecp { name: "ECP_224", curve: EcCurve::P224 };
pub(super) const BRAINPOOL_P224R1: Ecp = Ecp { name: "BRAINPOOL_P224R1", curve: EcCurve::BrainpoolP224r1 };
pub(super) const BRAINPOOL_P256R1: Ecp = Ecp { name: "BRAINPOOL_P256R1", curve: EcCurve::BrainpoolP256r1 };
pub(super) const BRAINPOOL_P384R1: Ecp = Ecp { name: "BRAINPOOL_P384R1", curve: EcCurve::BrainpoolP384r1 };
pub(super) const BRAINPOOL_P512R1: Ecp = Ecp { name: "BRAINPOOL_P512R1", curve: EcCurve::BrainpoolP512r1 };

impl KeyExchange for Ecp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn public_len(&self) -> usize {
        2 * self.curve.octets()
    }

    fn generate(&self) -> Result<Box<dyn KeyExchangePrivate>, Error> {
        Ok(Box::new(self.private(EcKey::generate(self.curve)?)?))
    }

    fn respond(&self, peer_public: &[u8]) -> Result<(Vec<u8>, Secret<Vec<u8>>), Error> {
        let private = self.private(EcKey::generate(self.curve)?)?;
        let secret = private.agree(peer_public)?;
        Ok((private.public, secret))
    }
}

impl Ecp {
    fn private(self, key: EcKey) -> Result<EcpPrivate, Error> {
        let point = key.point(self.curve)?;
        let public = point.strip_prefix(UNCOMPRESSED).ok_or(Error::Library)?.to_vec();
        Ok(EcpPrivate { ecp: self, key, public })
    }
}

struct EcpPrivate {
    ecp: Ecp,
    key: EcKey,
    public: Vec<u8>,
}

impl EcpPrivate {
    fn agree(&self, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let (expected, actual) = (self.ecp.public_len(), peer_public.len());
        if actual != expected {
            return Err(InvalidPublicValue::Length { expected, actual }.into());
        }
        let curve = self.ecp.curve;
        let peer = EcKey::from_point(curve, &[UNCOMPRESSED, peer_public].concat())
            .map_err(|_| InvalidPublicValue::NotOnCurve)?;
        self.key.agree(curve, &peer)
    }
}

impl KeyExchangePrivate for EcpPrivate {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn finish(self: Box<Self>, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        self.agree(peer_public)
    }
}

/// What SEC 1 puts before the coordinates of a point and IKE does not.
const UNCOMPRESSED: &[u8] = &[0x04];

#[cfg(test)]
mod tests;
