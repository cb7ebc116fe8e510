//! Ed25519 (RFC 8032 §5.1).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::{BadSignature, CannotSign, InvalidKey, KeyKind, SignatureScheme, SigningKey, VerifyingKey};

/// The length of a private key in octets, and of a public one.
pub(super) const SEED_LEN: usize = 32;

/// A public key.
pub(super) struct Public(Vec<u8>);

/// A private key.
pub(super) struct Private {
    pair: Ed25519KeyPair,
    public: Public,
}

impl Public {
    pub(super) fn new(octets: &[u8]) -> Result<Self, InvalidKey> {
        if octets.len() == SEED_LEN { Ok(Self(octets.to_vec())) } else { Err(InvalidKey(KeyKind::Ed25519)) }
    }
}

impl Private {
    pub(super) fn new(seed: &[u8]) -> Result<Self, InvalidKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| InvalidKey(KeyKind::Ed25519))?;
        let public = Public(pair.public_key().as_ref().to_vec());
        Ok(Self { pair, public })
    }
}

impl VerifyingKey for Public {
    fn kind(&self) -> KeyKind {
        KeyKind::Ed25519
    }

    fn bits(&self) -> usize {
        255
    }

    fn octets(&self) -> &[u8] {
        &self.0
    }

    fn verify(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if scheme != SignatureScheme::Ed25519 {
            return Err(BadSignature);
        }
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).map_err(|_| BadSignature)
    }
}

impl SigningKey for Private {
    fn verifying_key(&self) -> &dyn VerifyingKey {
        &self.public
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        if scheme != SignatureScheme::Ed25519 {
            return Err(CannotSign::Unfit { kind: KeyKind::Ed25519, scheme });
        }
        Ok(self.pair.sign(message).as_ref().to_vec())
    }
}
