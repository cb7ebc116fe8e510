//! Signatures: RSA, ECDSA, Ed25519, Ed448 and ML-DSA, for IKE's AUTH payload and for certificates.
//!
//! A key is made from the octets that its container holds, whatever the container is:
//!
//! | kind | public key | private key |
//! |---|---|---|
//! | [`KeyKind::Rsa`] | `RSAPublicKey` in DER (RFC 8017 A.1.1) | `RSAPrivateKey` in DER (RFC 8017 A.1.2) |
//! | [`KeyKind::Ecdsa`] | a point (SEC 1 §2.3.3), as a rule `04` x y | the scalar, big-endian |
//! | [`KeyKind::Ed25519`] | 32 octets (RFC 8032 §5.1.5) | the seed, 32 octets |
//! | [`KeyKind::Ed448`] | 57 octets (RFC 8032 §5.2.5) | the seed, 57 octets |
//! | [`KeyKind::MlDsa`] | pkEncode (FIPS 204 §7.2) | the seed, 32 octets, or skEncode, or both, the seed first |
//!
//! These public octets are the content of the BIT STRING in a SubjectPublicKeyInfo. How a scheme is named on the wire,
//! by a method, a hash number or an AlgorithmIdentifier, is for callers to know.

mod ecdsa;
mod ed25519;
mod ed448;
mod ml_dsa;
mod rsa;

pub use ecdsa::der_of_fixed;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use thiserror::Error;

use crate::encryption::{CannotDecrypt, CannotEncrypt};
use crate::{Hash, Secret, hash};

/// Checks signatures with one public key, and encrypts to it.
pub trait VerifyingKey: Send + Sync {
    /// Gives the kind of key.
    fn kind(&self) -> KeyKind;

    /// Gives the length of the modulus or of the curve's field in bits, by which people judge strength; of ML-DSA the
    /// strength itself.
    fn bits(&self) -> usize;

    /// Gives the public key's octets, an elliptic curve's point uncompressed.
    fn octets(&self) -> &[u8];

    /// Checks a signature over `message`.
    ///
    /// # Errors
    /// [`BadSignature`] if the signature is not this key's over this message, or the key does not fit the scheme.
    fn verify(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> Result<(), BadSignature>;

    /// Encrypts `message` to the private key's owner, in the padding of PKCS #1 v1.5 (RFC 8017 §7.2.1).
    ///
    /// # Errors
    /// [`CannotEncrypt`] if the key is not of RSA or too short.
    fn encrypt(&self, _message: &[u8]) -> Result<Vec<u8>, CannotEncrypt> {
        Err(CannotEncrypt::Unfit(self.kind()))
    }
}

/// Signs with one private key, and decrypts what was encrypted to it.
pub trait SigningKey: Send + Sync {
    /// Gives the public key that belongs to it.
    fn verifying_key(&self) -> &dyn VerifyingKey;

    /// Signs `message`.
    ///
    /// # Errors
    /// [`CannotSign`] if the key does not fit the scheme, or the library fails.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CannotSign>;

    /// Decrypts what [`VerifyingKey::encrypt`] made of a message of one of these lengths. Of anything else comes another
    /// message of one of them, so that nobody learns which it was (see [`encryption`](crate::encryption)).
    ///
    /// # Errors
    /// [`CannotDecrypt`] if the key is not of RSA or of another length.
    fn decrypt(
        &self,
        _ciphertext: &[u8],
        _lengths: RangeInclusive<usize>,
    ) -> Result<Secret<Vec<u8>>, CannotDecrypt> {
        Err(CannotDecrypt::Unfit(self.verifying_key().kind()))
    }
}

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// RSA (RFC 8017).
    Rsa,
    /// ECDSA (FIPS 186-5) on a curve.
    Ecdsa(Curve),
    /// Ed25519 (RFC 8032 §5.1).
    Ed25519,
    /// Ed448 (RFC 8032 §5.2).
    Ed448,
    /// ML-DSA (FIPS 204) with a parameter set.
    MlDsa(MlDsa),
}

/// The parameter sets of ML-DSA (FIPS 204 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MlDsa {
    /// ML-DSA-44.
    Set44,
    /// ML-DSA-65.
    Set65,
    /// ML-DSA-87.
    Set87,
}

impl MlDsa {
    /// Every parameter set.
    pub const ALL: [MlDsa; 3] = [MlDsa::Set44, MlDsa::Set65, MlDsa::Set87];

    /// Gives the length of a public key in octets (FIPS 204, table 2).
    pub const fn public_octets(self) -> usize {
        match self {
            MlDsa::Set44 => 1312,
            MlDsa::Set65 => 1952,
            MlDsa::Set87 => 2592,
        }
    }

    /// Gives the length of an expanded private key in octets (FIPS 204, table 2).
    pub const fn expanded_octets(self) -> usize {
        match self {
            MlDsa::Set44 => 2560,
            MlDsa::Set65 => 4032,
            MlDsa::Set87 => 4896,
        }
    }

    /// Gives the strength in bits (FIPS 204, table 1, column λ).
    pub const fn strength_bits(self) -> usize {
        match self {
            MlDsa::Set44 => 128,
            MlDsa::Set65 => 192,
            MlDsa::Set87 => 256,
        }
    }
}

/// The curves for ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Curve {
    /// P-256 (FIPS 186-5), which X9.62 calls prime256v1.
    P256,
    /// P-384 (FIPS 186-5).
    P384,
    /// P-521 (FIPS 186-5).
    P521,
    /// brainpoolP256r1 (RFC 5639 §3.4).
    BrainpoolP256r1,
    /// brainpoolP384r1 (RFC 5639 §3.6).
    BrainpoolP384r1,
    /// brainpoolP512r1 (RFC 5639 §3.7).
    BrainpoolP512r1,
}

impl Curve {
    /// Every curve.
    pub const ALL: [Curve; 6] = [
        Curve::P256,
        Curve::P384,
        Curve::P521,
        Curve::BrainpoolP256r1,
        Curve::BrainpoolP384r1,
        Curve::BrainpoolP512r1,
    ];

    /// Gives the length of a coordinate, and of a scalar, in bits.
    pub const fn bits(self) -> usize {
        match self {
            Curve::P256 | Curve::BrainpoolP256r1 => 256,
            Curve::P384 | Curve::BrainpoolP384r1 => 384,
            Curve::P521 => 521,
            Curve::BrainpoolP512r1 => 512,
        }
    }

    /// Gives the length of a coordinate, and of a scalar, in octets.
    pub const fn octets(self) -> usize {
        self.bits().div_ceil(8)
    }
}

/// How a message is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).
    RsaPkcs1(SignatureHash),
    /// RSASSA-PSS (RFC 8017 §8.1).
    RsaPss {
        /// Hashes the message.
        hash: SignatureHash,
        /// Makes the mask (MGF1); nearly always the same.
        mask_hash: SignatureHash,
        /// The length of the salt in octets.
        salt_len: usize,
    },
    /// The message itself in PKCS #1 padding, without a hash and its name, as IKEv1 signs HASH_I (RFC 2409 §5.1).
    RsaBare,
    /// ECDSA, the signature an `ECDSA-Sig-Value` in DER (RFC 3279 §2.2.3).
    Ecdsa(SignatureHash),
    /// ECDSA, the signature r and s of fixed length side by side (RFC 4754 §7).
    EcdsaFixed(SignatureHash),
    /// ECDSA over the message itself, which is a hash already, r and s side by side, as IKEv1 signs HASH_I (RFC 4754).
    EcdsaBare,
    /// Ed25519 (RFC 8032 §5.1).
    Ed25519,
    /// Ed448 with an empty context (RFC 8032 §5.2).
    Ed448,
    /// ML-DSA with an empty context, not of a hash (FIPS 204 §5.2).
    MlDsa(MlDsa),
}

/// The hash functions of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignatureHash {
    /// SHA-1, against which collisions can be made.
    Sha1,
    /// SHA-256.
    Sha2_256,
    /// SHA-384.
    Sha2_384,
    /// SHA-512.
    Sha2_512,
}

impl SignatureHash {
    /// Gives the function itself.
    pub fn function(self) -> &'static dyn Hash {
        match self {
            SignatureHash::Sha1 => hash::SHA1,
            SignatureHash::Sha2_256 => hash::SHA2_256,
            SignatureHash::Sha2_384 => hash::SHA2_384,
            SignatureHash::Sha2_512 => hash::SHA2_512,
        }
    }

    fn digest(self, message: &[u8]) -> Vec<u8> {
        self.function().digest(&[message])
    }
}

/// Says that a signature is not the key's over the message; deliberately nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the signature does not fit")]
pub struct BadSignature;

/// Says why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CannotSign {
    /// The scheme is another kind of key's.
    #[error("{kind} keys do not sign with {scheme}")]
    Unfit {
        /// The key's kind.
        kind: KeyKind,
        /// What was asked for.
        scheme: SignatureScheme,
    },
    /// The modulus has no room for the padded message.
    #[error("an RSA key of {bits} bits is too short to sign with {scheme}")]
    TooShort {
        /// The modulus' length in bits.
        bits: usize,
        /// What was asked for.
        scheme: SignatureScheme,
    },
    /// The library failed for a reason that no input explains.
    #[error("the cryptographic library failed")]
    Library,
}

/// Says that octets are no key of the kind that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("these octets are no {0} key")]
pub struct InvalidKey(pub KeyKind);

/// Makes a key that checks signatures, from a public key's octets.
///
/// # Errors
/// The octets are no valid public key of that kind: a point off its curve, an even modulus, a wrong length.
pub fn verifying_key(kind: KeyKind, octets: &[u8]) -> Result<Arc<dyn VerifyingKey>, InvalidKey> {
    match kind {
        KeyKind::Rsa => Ok(Arc::new(rsa::Public::new(octets)?)),
        KeyKind::Ecdsa(curve) => Ok(Arc::new(ecdsa::Public::new(curve, octets)?)),
        KeyKind::Ed25519 => Ok(Arc::new(ed25519::Public::new(octets)?)),
        KeyKind::Ed448 => Ok(Arc::new(ed448::Public::new(octets)?)),
        KeyKind::MlDsa(set) => Ok(Arc::new(ml_dsa::Public::new(set, octets)?)),
    }
}

/// Makes a key that signs, from a private key's octets.
///
/// # Errors
/// The octets are no valid private key of that kind.
pub fn signing_key(kind: KeyKind, octets: &Secret<Vec<u8>>) -> Result<Arc<dyn SigningKey>, InvalidKey> {
    match kind {
        KeyKind::Rsa => Ok(Arc::new(rsa::Private::new(octets.as_slice())?)),
        KeyKind::Ecdsa(curve) => Ok(Arc::new(ecdsa::Private::new(curve, octets.as_slice())?)),
        KeyKind::Ed25519 => Ok(Arc::new(ed25519::Private::new(octets.as_slice())?)),
        KeyKind::Ed448 => Ok(Arc::new(ed448::Private::new(octets.as_slice())?)),
        KeyKind::MlDsa(set) => Ok(Arc::new(ml_dsa::Private::new(set, octets.as_slice())?)),
    }
}

/// A private key to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewKey {
    /// RSA with a modulus of so many bits, and 65537 as exponent.
    Rsa {
        /// The length of the modulus in bits.
        bits: u16,
    },
    /// ECDSA on a curve.
    Ecdsa(Curve),
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
    /// ML-DSA with a parameter set.
    MlDsa(MlDsa),
}

impl NewKey {
    /// Gives the kind of key that this will be.
    pub fn kind(self) -> KeyKind {
        match self {
            NewKey::Rsa { .. } => KeyKind::Rsa,
            NewKey::Ecdsa(curve) => KeyKind::Ecdsa(curve),
            NewKey::Ed25519 => KeyKind::Ed25519,
            NewKey::Ed448 => KeyKind::Ed448,
            NewKey::MlDsa(set) => KeyKind::MlDsa(set),
        }
    }

    /// Makes a fresh private key and gives its octets, from which [`signing_key`] makes it sign.
    ///
    /// # Errors
    /// [`crate::Error::Library`] if the library fails or refuses so short or so long a modulus.
    pub fn generate(self) -> Result<Secret<Vec<u8>>, crate::Error> {
        match self {
            NewKey::Rsa { bits } => rsa::generate(bits),
            NewKey::Ecdsa(curve) => ecdsa::generate(curve),
            NewKey::Ed25519 => Ok(random_seed(ed25519::SEED_LEN)),
            NewKey::Ed448 => Ok(random_seed(ed448::SEED_LEN)),
            NewKey::MlDsa(_) => Ok(random_seed(ml_dsa::SEED_LEN)),
        }
    }
}

/// RFC 8032 §5.1.5 and §5.2.5, FIPS 204 §5.1: any octets are a private key.
fn random_seed(len: usize) -> Secret<Vec<u8>> {
    use crate::{Random, SystemRandom};
    let mut seed = Secret::new(vec![0; len]);
    SystemRandom.fill(seed.expose_mut());
    seed
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Rsa => f.write_str("RSA"),
            KeyKind::Ecdsa(curve) => write!(f, "ECDSA {curve}"),
            KeyKind::Ed25519 => f.write_str("Ed25519"),
            KeyKind::Ed448 => f.write_str("Ed448"),
            KeyKind::MlDsa(set) => write!(f, "{set}"),
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
            Curve::BrainpoolP256r1 => "brainpoolP256r1",
            Curve::BrainpoolP384r1 => "brainpoolP384r1",
            Curve::BrainpoolP512r1 => "brainpoolP512r1",
        })
    }
}

impl fmt::Display for MlDsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MlDsa::Set44 => "ML-DSA-44",
            MlDsa::Set65 => "ML-DSA-65",
            MlDsa::Set87 => "ML-DSA-87",
        })
    }
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignatureScheme::RsaPkcs1(hash) => write!(f, "RSA PKCS#1 v1.5 and {hash}"),
            SignatureScheme::RsaPss { hash, mask_hash, salt_len } if hash == mask_hash => {
                write!(f, "RSA-PSS, {hash} and {salt_len} octets of salt")
            }
            SignatureScheme::RsaPss { hash, mask_hash, salt_len } => {
                write!(f, "RSA-PSS, {hash}, MGF1 with {mask_hash} and {salt_len} octets of salt")
            }
            SignatureScheme::RsaBare => f.write_str("RSA PKCS#1 v1.5 without a hash"),
            SignatureScheme::Ecdsa(hash) | SignatureScheme::EcdsaFixed(hash) => write!(f, "ECDSA and {hash}"),
            SignatureScheme::EcdsaBare => f.write_str("ECDSA without a hash"),
            SignatureScheme::Ed25519 => f.write_str("Ed25519"),
            SignatureScheme::Ed448 => f.write_str("Ed448"),
            SignatureScheme::MlDsa(set) => write!(f, "{set}"),
        }
    }
}

impl fmt::Display for SignatureHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function().name())
    }
}

impl fmt::Debug for dyn VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({}, {} bits)", self.kind(), self.bits())
    }
}

impl fmt::Debug for dyn SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.verifying_key().kind())
    }
}

#[cfg(test)]
mod tests;
