//! Ed448 (RFC 8032 §5.2), which the house's library lacks.

use ed448_goldilocks::{Signature, signature::Signer};

use super::{BadSignature, CannotSign, InvalidKey, KeyKind, SignatureScheme, SigningKey, VerifyingKey};

/// The length of a private key in octets, and of a public one.
pub(super) const SEED_LEN: usize = 57;

/// A public key.
pub(super) struct Public {
    key: ed448_goldilocks::VerifyingKey,
    octets: [u8; SEED_LEN],
}

/// A private key.
pub(super) struct Private {
    key: ed448_goldilocks::SigningKey,
    public: Public,
}

impl Public {
    pub(super) fn new(octets: &[u8]) -> Result<Self, InvalidKey> {
        let octets: [u8; SEED_LEN] = octets.try_into().map_err(|_| InvalidKey(KeyKind::Ed448))?;
        if !is_canonical_end(octets[SEED_LEN - 1]) {
            return Err(InvalidKey(KeyKind::Ed448));
        }
        let key =
            ed448_goldilocks::VerifyingKey::from_bytes(&octets).map_err(|_| InvalidKey(KeyKind::Ed448))?;
        Ok(Self { key, octets })
    }
}

impl Private {
    pub(super) fn new(seed: &[u8]) -> Result<Self, InvalidKey> {
        let key = ed448_goldilocks::SigningKey::try_from(seed).map_err(|_| InvalidKey(KeyKind::Ed448))?;
        let public = Public::new(key.verifying_key().as_bytes())?;
        Ok(Self { key, public })
    }
}

impl VerifyingKey for Public {
    fn kind(&self) -> KeyKind {
        KeyKind::Ed448
    }

    fn bits(&self) -> usize {
        448
    }

    fn octets(&self) -> &[u8] {
        &self.octets
    }

    fn verify(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if scheme != SignatureScheme::Ed448 {
            return Err(BadSignature);
        }
        let signature = Signature::from_slice(signature).map_err(|_| BadSignature)?;
        if !is_canonical_end(signature.r_bytes()[SEED_LEN - 1]) {
            return Err(BadSignature);
        }
        self.key.verify_raw(&signature, message).map_err(|_| BadSignature)
    }
}

/// RFC 8032 §5.2.2: of a point's last octet only the highest bit is used. The library does not look at the others.
fn is_canonical_end(last_octet: u8) -> bool {
    last_octet & 0x7f == 0
}

impl SigningKey for Private {
    fn verifying_key(&self) -> &dyn VerifyingKey {
        &self.public
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        if scheme != SignatureScheme::Ed448 {
            return Err(CannotSign::Unfit { kind: KeyKind::Ed448, scheme });
        }
        let signature = self.key.try_sign(message).map_err(|_| CannotSign::Library)?;
        Ok(signature.to_bytes().to_vec())
    }
}
