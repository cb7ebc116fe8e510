//! ML-DSA (FIPS 204) in its pure form with an empty context, signatures hedged with fresh randomness: what certificates
//! (RFC 9881) and IKE (draft-ietf-ipsecme-ikev2-pqc-auth §3.2) take.

use aws_lc_rs::encoding::AsRawBytes;
use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, ML_DSA_87, ML_DSA_87_SIGNING,
    PqdsaKeyPair, PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm, UnparsedPublicKey,
};

use super::{
    BadSignature, CannotSign, InvalidKey, KeyKind, MlDsa, SignatureScheme, SigningKey, VerifyingKey,
};
use crate::Secret;

/// The length of the seed from which a key pair is made, in octets.
pub(super) const SEED_LEN: usize = 32;

/// A public key.
pub(super) struct Public {
    set: MlDsa,
    octets: Vec<u8>,
}

/// A private key.
pub(super) struct Private {
    pair: PqdsaKeyPair,
    public: Public,
}

impl Public {
    pub(super) fn new(set: MlDsa, octets: &[u8]) -> Result<Self, InvalidKey> {
        // FIPS 204 §7.2: every string of this length is a public key.
        if octets.len() == set.public_octets() {
            Ok(Self { set, octets: octets.to_vec() })
        } else {
            Err(InvalidKey(KeyKind::MlDsa(set)))
        }
    }
}

impl Private {
    /// Takes a seed, an expanded key, or both, one behind the other, which must then fit.
    pub(super) fn new(set: MlDsa, octets: &[u8]) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey(KeyKind::MlDsa(set));
        let signing = signing_algorithm(set);
        let (seed, expanded) = match octets.len() {
            SEED_LEN => (Some(octets), None),
            length if length == set.expanded_octets() => (None, Some(octets)),
            length if length == SEED_LEN + set.expanded_octets() => {
                let (seed, expanded) = octets.split_at(SEED_LEN);
                (Some(seed), Some(expanded))
            }
            _ => return Err(invalid()),
        };
        let pair = match (seed, expanded) {
            (Some(seed), _) => PqdsaKeyPair::from_seed(signing, seed),
            (None, expanded) => PqdsaKeyPair::from_raw_private_key(signing, expanded.unwrap_or_default()),
        };
        let pair = pair.map_err(|_| invalid())?;
        // RFC 9881 §8.2: a seed that makes another key than the one beside it is an error, perhaps an attack.
        if let (Some(_), Some(expanded)) = (seed, expanded) {
            let made = pair.private_key().as_raw_bytes().map_err(|_| invalid())?;
            if !Secret::from(made.as_ref().to_vec()).ct_eq(expanded) {
                return Err(invalid());
            }
        }
        let public = Public::new(set, pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }
}

impl VerifyingKey for Public {
    fn kind(&self) -> KeyKind {
        KeyKind::MlDsa(self.set)
    }

    fn bits(&self) -> usize {
        self.set.strength_bits()
    }

    fn octets(&self) -> &[u8] {
        &self.octets
    }

    fn verify(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if scheme != SignatureScheme::MlDsa(self.set) {
            return Err(BadSignature);
        }
        let key = UnparsedPublicKey::new(verification_algorithm(self.set), &self.octets);
        key.verify(message, signature).map_err(|_| BadSignature)
    }
}

impl SigningKey for Private {
    fn verifying_key(&self) -> &dyn VerifyingKey {
        &self.public
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        if scheme != SignatureScheme::MlDsa(self.public.set) {
            return Err(CannotSign::Unfit { kind: self.public.kind(), scheme });
        }
        let mut signature = vec![0; self.pair.algorithm().signature_len()];
        let length = self.pair.sign(message, &mut signature).map_err(|_| CannotSign::Library)?;
        signature.truncate(length);
        Ok(signature)
    }
}

fn signing_algorithm(set: MlDsa) -> &'static PqdsaSigningAlgorithm {
    match set {
        MlDsa::Set44 => &ML_DSA_44_SIGNING,
        MlDsa::Set65 => &ML_DSA_65_SIGNING,
        MlDsa::Set87 => &ML_DSA_87_SIGNING,
    }
}

fn verification_algorithm(set: MlDsa) -> &'static PqdsaVerificationAlgorithm {
    match set {
        MlDsa::Set44 => &ML_DSA_44,
        MlDsa::Set65 => &ML_DSA_65,
        MlDsa::Set87 => &ML_DSA_87,
    }
}
