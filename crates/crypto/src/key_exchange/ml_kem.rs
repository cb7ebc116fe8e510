//! ML-KEM (FIPS 203), as IKE uses it (draft-ietf-ipsecme-ikev2-mlkem): the initiator's public value is an encapsulation
//! key, the responder's a ciphertext, and the secret has 32 octets whatever the size.

use aws_lc_rs::kem::{
    self, Algorithm, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_512, ML_KEM_768, ML_KEM_1024,
};

use crate::key_exchange::{KeyExchange, KeyExchangePrivate};
use crate::{Error, InvalidPublicValue, Secret};

/// One parameter set.
#[derive(Clone, Copy)]
pub(super) struct MlKem {
    name: &'static str,
    algorithm: &'static Algorithm,
    encapsulation_key_len: usize,
    ciphertext_len: usize,
}

// The lengths are those of FIPS 203, table 3.
pub(super) const MLKEM_512: MlKem = ml_kem("ML_KEM_512", &ML_KEM_512, 800, 768);
pub(super) const MLKEM_768: MlKem = ml_kem("ML_KEM_768", &ML_KEM_768, 1184, 1088);
pub(super) const MLKEM_1024: MlKem = ml_kem("ML_KEM_1024", &ML_KEM_1024, 1568, 1568);

const fn ml_kem(
    name: &'static str,
    algorithm: &'static Algorithm,
    encapsulation_key_len: usize,
    ciphertext_len: usize,
) -> MlKem {
    MlKem { name, algorithm, encapsulation_key_len, ciphertext_len }
}

impl KeyExchange for MlKem {
    fn name(&self) -> &'static str {
        self.name
    }

    fn public_len(&self) -> usize {
        self.encapsulation_key_len
    }

    fn generate(&self) -> Result<Box<dyn KeyExchangePrivate>, Error> {
        let key = DecapsulationKey::generate(self.algorithm).map_err(|_| Error::Library)?;
        let encapsulation_key = key.encapsulation_key().map_err(|_| Error::Library)?;
        let public = encapsulation_key.key_bytes().map_err(|_| Error::Library)?.as_ref().to_vec();
        Ok(Box::new(MlKemPrivate { ml_kem: *self, key, public }))
    }

    fn respond(&self, peer_public: &[u8]) -> Result<(Vec<u8>, Secret<Vec<u8>>), Error> {
        check_length(self.encapsulation_key_len, peer_public)?;
        // The library makes the modulus check of FIPS 203 §7.2 where it encapsulates.
        let invalid = Error::from(InvalidPublicValue::NotEncapsulationKey);
        let key = EncapsulationKey::new(self.algorithm, peer_public).map_err(|_| invalid)?;
        let (ciphertext, secret) = key.encapsulate().map_err(|_| invalid)?;
        Ok((ciphertext.as_ref().to_vec(), custody(&secret)))
    }
}

struct MlKemPrivate {
    ml_kem: MlKem,
    key: DecapsulationKey,
    public: Vec<u8>,
}

impl KeyExchangePrivate for MlKemPrivate {
    fn public(&self) -> &[u8] {
        &self.public
    }

    /// A ciphertext of the right length always gives a secret: another one than the responder's if it was tampered with
    /// (FIPS 203 §6.3).
    fn finish(self: Box<Self>, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        self.ml_kem.decapsulate(&self.key, peer_public)
    }
}

impl MlKem {
    fn decapsulate(&self, key: &DecapsulationKey, ciphertext: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        check_length(self.ciphertext_len, ciphertext)?;
        let secret = key.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| Error::Library)?;
        Ok(custody(&secret))
    }
}

fn check_length(expected: usize, public: &[u8]) -> Result<(), InvalidPublicValue> {
    let actual = public.len();
    if actual == expected { Ok(()) } else { Err(InvalidPublicValue::Length { expected, actual }) }
}

/// Copies a secret that the library wipes into one that we do.
fn custody(secret: &kem::SharedSecret) -> Secret<Vec<u8>> {
    Secret::from(secret.as_ref())
}

#[cfg(test)]
mod tests;
