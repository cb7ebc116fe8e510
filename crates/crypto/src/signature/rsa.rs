//! RSA (RFC 8017): PKCS #1 v1.5 and PSS, and encryption in the former's padding.

use std::ops::RangeInclusive;

use super::{BadSignature, CannotSign, InvalidKey, KeyKind, SignatureScheme, SigningKey, VerifyingKey};
use crate::encryption::{CannotDecrypt, CannotEncrypt, Unpadding};
use crate::ffi::rsa::RsaKey;
use crate::{Error, Secret};

/// A public key.
pub(super) struct Public {
    key: RsaKey,
    octets: Vec<u8>,
}

/// A private key.
pub(super) struct Private {
    key: RsaKey,
    public: Public,
    unpadding: Unpadding,
}

/// Makes a private key, an `RSAPrivateKey` in DER.
pub(super) fn generate(bits: u16) -> Result<Secret<Vec<u8>>, Error> {
    RsaKey::generate(bits)?.private_octets()
}

impl Public {
    pub(super) fn new(octets: &[u8]) -> Result<Self, InvalidKey> {
        let key = RsaKey::from_public(octets).map_err(|_| InvalidKey(KeyKind::Rsa))?;
        Ok(Self { key, octets: octets.to_vec() })
    }
}

impl Private {
    pub(super) fn new(octets: &[u8]) -> Result<Self, InvalidKey> {
        let key = RsaKey::from_private(octets).map_err(|_| InvalidKey(KeyKind::Rsa))?;
        let public = Public::new(&key.public_octets().map_err(|_| InvalidKey(KeyKind::Rsa))?)?;
        Ok(Self { key, public, unpadding: Unpadding::new(octets) })
    }
}

impl VerifyingKey for Public {
    fn kind(&self) -> KeyKind {
        KeyKind::Rsa
    }

    fn bits(&self) -> usize {
        self.key.bits()
    }

    fn octets(&self) -> &[u8] {
        &self.octets
    }

    fn verify(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match scheme {
            SignatureScheme::RsaPkcs1(hash) => self.key.verify_pkcs1(hash, &hash.digest(message), signature),
            SignatureScheme::RsaPss { hash, mask_hash, salt_len } => {
                self.key.verify_pss(hash, mask_hash, salt_len, &hash.digest(message), signature)
            }
            SignatureScheme::RsaBare => self.key.verify_bare(message, signature),
            SignatureScheme::Ecdsa(_)
            | SignatureScheme::EcdsaFixed(_)
            | SignatureScheme::EcdsaBare
            | SignatureScheme::Ed25519
            | SignatureScheme::Ed448
            | SignatureScheme::MlDsa(_) => Err(BadSignature),
        }
    }

    fn encrypt(&self, message: &[u8]) -> Result<Vec<u8>, CannotEncrypt> {
        let too_long = |_| CannotEncrypt::TooLong { bits: self.key.bits(), octets: message.len() };
        self.key.encrypt_pkcs1(message).map_err(too_long)
    }
}

impl SigningKey for Private {
    fn verifying_key(&self) -> &dyn VerifyingKey {
        &self.public
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        let signature = match scheme {
            SignatureScheme::RsaPkcs1(hash) => self.key.sign_pkcs1(hash, &hash.digest(message)),
            SignatureScheme::RsaPss { hash, mask_hash, salt_len } => {
                self.key.sign_pss(hash, mask_hash, salt_len, &hash.digest(message))
            }
            SignatureScheme::RsaBare => self.key.sign_bare(message),
            SignatureScheme::Ecdsa(_)
            | SignatureScheme::EcdsaFixed(_)
            | SignatureScheme::EcdsaBare
            | SignatureScheme::Ed25519
            | SignatureScheme::Ed448
            | SignatureScheme::MlDsa(_) => return Err(CannotSign::Unfit { kind: KeyKind::Rsa, scheme }),
        };
        // A valid key fails for lack of room only.
        signature.map_err(|_| CannotSign::TooShort { bits: self.key.bits(), scheme })
    }
    fn decrypt(
        &self,
        ciphertext: &[u8],
        lengths: RangeInclusive<usize>,
    ) -> Result<Secret<Vec<u8>>, CannotDecrypt> {
        let expected = self.key.octets();
        if ciphertext.len() != expected {
            return Err(CannotDecrypt::Length { expected, actual: ciphertext.len() });
        }
        // What is no number below the modulus fails here, as everybody can see; so it is padded wrongly, too.
        let padded = self.key.decrypt_bare(ciphertext).unwrap_or_else(|_| Secret::new(vec![0; expected]));
        Ok(self.unpadding.unpad(ciphertext, &padded, lengths))
    }
}
