//! Diffie-Hellman on Curve448 (RFC 8031), by the RustCrypto project.

use x448::{X448_BASEPOINT_BYTES, x448, x448_unchecked};

use crate::key_exchange::{KeyExchange, KeyExchangePrivate};
use crate::{Error, InvalidPublicValue, Random, Secret, SystemRandom};

pub(super) struct Curve448;

impl KeyExchange for Curve448 {
    fn name(&self) -> &'static str {
        "CURVE448"
    }

    fn public_len(&self) -> usize {
        LEN
    }

    fn generate(&self) -> Result<Box<dyn KeyExchangePrivate>, Error> {
        Ok(Box::new(X448Private::random()))
    }

    fn respond(&self, peer_public: &[u8]) -> Result<(Vec<u8>, Secret<Vec<u8>>), Error> {
        let private = X448Private::random();
        let secret = private.agree(peer_public)?;
        Ok((private.public.to_vec(), secret))
    }
}

struct X448Private {
    scalar: Secret<[u8; LEN]>,
    public: [u8; LEN],
}

impl X448Private {
    fn random() -> X448Private {
        let mut scalar = Secret::new([0; LEN]);
        SystemRandom.fill(scalar.expose_mut());
        X448Private::new(scalar)
    }

    fn new(scalar: Secret<[u8; LEN]>) -> X448Private {
        let public = x448_unchecked(*scalar.expose(), X448_BASEPOINT_BYTES);
        X448Private { scalar, public }
    }

    /// RFC 7748 §5: all strings of 56 octets are accepted as u coordinates, but RFC 8031 §2 refuses the zero secret.
    fn agree(&self, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let wrong_length = InvalidPublicValue::Length { expected: LEN, actual: peer_public.len() };
        let peer_public = peer_public.try_into().map_err(|_| wrong_length)?;
        let shared = x448(*self.scalar.expose(), peer_public).map(Secret::new);
        let shared =
            shared.filter(|shared| !shared.ct_eq(&[0; LEN])).ok_or(InvalidPublicValue::SmallOrder)?;
        Ok(Secret::from(shared.as_slice()))
    }
}

impl KeyExchangePrivate for X448Private {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn finish(self: Box<Self>, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        self.agree(peer_public)
    }
}

/// Octets of a scalar, of a coordinate and of the secret.
const LEN: usize = 56;

#[cfg(test)]
mod tests;
