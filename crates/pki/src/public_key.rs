//! Public keys: SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), in certificates and as raw public keys (RFC 7670).

use std::fmt;
use std::sync::Arc;

use crypto::VerifyingKey;
use crypto::signature::{BadSignature, Curve, KeyKind, MlDsa, SignatureScheme, verifying_key};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Encode};
use thiserror::Error;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::{limits, oid};

/// A public key, and what its container says of its use.
#[derive(Clone)]
pub struct PublicKey {
    key: Arc<dyn VerifyingKey>,
    /// Whether it is for RSA-PSS only (RFC 4055 §1.2).
    only_pss: bool,
}

/// Why there is no usable public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidPublicKey {
    /// The octets are no SubjectPublicKeyInfo.
    #[error("which is not encoded in DER")]
    Malformed,
    /// The algorithm or curve is not one of ours.
    #[error("of the algorithm {0}, which we do not know")]
    UnknownAlgorithm(ObjectIdentifier),
    /// The octets inside are no key of their algorithm.
    #[error("which is no valid {0} key")]
    Invalid(KeyKind),
    /// The RSA modulus is so short that anybody could find the private key, or long enough to keep us busy.
    #[error("of {bits} bits, and RSA keys have {} to {}", limits::MIN_RSA_BITS, limits::MAX_RSA_BITS)]
    Size {
        /// The length of the modulus.
        bits: usize,
    },
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER, all of `octets`.
    ///
    /// # Errors
    /// It is malformed, of an algorithm that we do not know, or no valid key.
    pub fn from_der(octets: &[u8]) -> Result<PublicKey, InvalidPublicKey> {
        let info = SubjectPublicKeyInfoRef::from_der(octets).map_err(|_| InvalidPublicKey::Malformed)?;
        let content = info.subject_public_key.as_bytes().ok_or(InvalidPublicKey::Malformed)?;
        let kind = kind_of(info.algorithm)?;
        let key = verifying_key(kind, content).map_err(|fault| InvalidPublicKey::Invalid(fault.0))?;
        let bits = key.bits();
        if kind == KeyKind::Rsa && !(limits::MIN_RSA_BITS..=limits::MAX_RSA_BITS).contains(&bits) {
            return Err(InvalidPublicKey::Size { bits });
        }
        Ok(PublicKey { key, only_pss: info.algorithm.oid == oid::RSA_PSS })
    }

    /// Makes an RSA key of its modulus and exponent, both big-endian, as tokens have it.
    ///
    /// # Errors
    /// It is no valid key.
    pub fn from_rsa_parts(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, InvalidPublicKey> {
        let invalid = || InvalidPublicKey::Invalid(KeyKind::Rsa);
        let number = |octets| UintRef::new(octets).map_err(|_| invalid());
        let parts = [number(modulus)?, number(exponent)?];
        let key =
            verifying_key(KeyKind::Rsa, &parts.to_der().map_err(|_| invalid())?).map_err(|_| invalid())?;
        PublicKey::from_der(&encode_public_key(&*key))
    }

    /// Makes a key on a curve of ECParameters and a point in an OCTET STRING, as tokens have it.
    ///
    /// # Errors
    /// The curve is not one of ours, or the point not on it.
    pub fn from_curve_parts(parameters: &[u8], point: &[u8]) -> Result<PublicKey, InvalidPublicKey> {
        let name = ObjectIdentifier::from_der(parameters).map_err(|_| InvalidPublicKey::Malformed)?;
        let curve = curve_of(name).ok_or(InvalidPublicKey::UnknownAlgorithm(name))?;
        PublicKey::from_point(KeyKind::Ecdsa(curve), point)
    }

    /// Makes an Ed25519 or Ed448 key of its octets, perhaps in an OCTET STRING, as tokens have it.
    ///
    /// # Errors
    /// It has the length of neither.
    pub fn from_edwards_point(point: &[u8]) -> Result<PublicKey, InvalidPublicKey> {
        let octets = unwrapped(point);
        let kind = if octets.len() == 57 { KeyKind::Ed448 } else { KeyKind::Ed25519 };
        PublicKey::from_point(kind, octets)
    }

    fn from_point(kind: KeyKind, point: &[u8]) -> Result<PublicKey, InvalidPublicKey> {
        let key =
            verifying_key(kind, unwrapped(point)).map_err(|fault| InvalidPublicKey::Invalid(fault.0))?;
        Ok(PublicKey::from(key))
    }

    /// Gives the SubjectPublicKeyInfo in DER.
    pub fn to_der(&self) -> Vec<u8> {
        encode(&*self.key, self.only_pss).unwrap_or_default()
    }

    /// Gives the kind of key.
    pub fn kind(&self) -> KeyKind {
        self.key.kind()
    }

    /// Gives the length of the modulus, or of the curve's field, in bits.
    pub fn bits(&self) -> usize {
        self.key.bits()
    }

    /// Gives what checks signatures with it, whatever its container says of its use.
    pub fn verifying_key(&self) -> &Arc<dyn VerifyingKey> {
        &self.key
    }

    /// Tells whether its container lets it sign in this way.
    pub fn is_for(&self, scheme: SignatureScheme) -> bool {
        !self.only_pss || matches!(scheme, SignatureScheme::RsaPss { .. })
    }

    /// Checks a signature over `message`.
    ///
    /// # Errors
    /// The signature is not this key's, or the key is not for this scheme.
    pub fn verify(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        if !self.is_for(scheme) {
            return Err(BadSignature);
        }
        self.key.verify(scheme, message, signature)
    }
}

impl From<Arc<dyn VerifyingKey>> for PublicKey {
    fn from(key: Arc<dyn VerifyingKey>) -> PublicKey {
        PublicKey { key, only_pss: false }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &PublicKey) -> bool {
        self.kind() == other.kind() && self.key.octets() == other.key.octets()
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            KeyKind::Rsa => write!(f, "RSA {}", self.bits()),
            kind @ (KeyKind::Ecdsa(_) | KeyKind::Ed25519 | KeyKind::Ed448 | KeyKind::MlDsa(_)) => {
                write!(f, "{kind}")
            }
        }
    }
}

/// PKCS #11 wants points in an OCTET STRING, which not every token's maker knew.
fn unwrapped(point: &[u8]) -> &[u8] {
    <&OctetStringRef>::from_der(point).map_or(point, OctetStringRef::as_bytes)
}

/// Gives the SubjectPublicKeyInfo of a key in DER.
pub fn encode_public_key(key: &dyn VerifyingKey) -> Vec<u8> {
    encode(key, false).unwrap_or_default()
}

/// What an AlgorithmIdentifier says of the key beside it.
pub(crate) fn kind_of(algorithm: AlgorithmIdentifierRef<'_>) -> Result<KeyKind, InvalidPublicKey> {
    let curve =
        || algorithm.parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    match algorithm.oid {
        oid::RSA | oid::RSA_PSS => Ok(KeyKind::Rsa),
        oid::ED25519 => Ok(KeyKind::Ed25519),
        oid::ED448 => Ok(KeyKind::Ed448),
        oid::ML_DSA_44 => Ok(KeyKind::MlDsa(MlDsa::Set44)),
        oid::ML_DSA_65 => Ok(KeyKind::MlDsa(MlDsa::Set65)),
        oid::ML_DSA_87 => Ok(KeyKind::MlDsa(MlDsa::Set87)),
        oid::EC_PUBLIC_KEY => {
            // RFC 5480 §2.1.1: the curve is named; parameters in its place are not allowed.
            let name = curve().ok_or(InvalidPublicKey::UnknownAlgorithm(algorithm.oid))?;
            curve_of(name).map(KeyKind::Ecdsa).ok_or(InvalidPublicKey::UnknownAlgorithm(name))
        }
        other => Err(InvalidPublicKey::UnknownAlgorithm(other)),
    }
}

/// RFC 9881 §2.
pub(crate) fn ml_dsa_name(set: MlDsa) -> ObjectIdentifier {
    match set {
        MlDsa::Set44 => oid::ML_DSA_44,
        MlDsa::Set65 => oid::ML_DSA_65,
        MlDsa::Set87 => oid::ML_DSA_87,
    }
}

pub(crate) fn curve_of(name: ObjectIdentifier) -> Option<Curve> {
    Curve::ALL.into_iter().find(|curve| curve_name(*curve) == name)
}

pub(crate) fn curve_name(curve: Curve) -> ObjectIdentifier {
    match curve {
        Curve::P256 => oid::P256,
        Curve::P384 => oid::P384,
        Curve::P521 => oid::P521,
        Curve::BrainpoolP256r1 => oid::BRAINPOOL_P256R1,
        Curve::BrainpoolP384r1 => oid::BRAINPOOL_P384R1,
        Curve::BrainpoolP512r1 => oid::BRAINPOOL_P512R1,
    }
}

fn encode(key: &dyn VerifyingKey, only_pss: bool) -> der::Result<Vec<u8>> {
    let curve = match key.kind() {
        KeyKind::Ecdsa(curve) => curve_name(curve).to_der()?,
        KeyKind::Rsa | KeyKind::Ed25519 | KeyKind::Ed448 | KeyKind::MlDsa(_) => Vec::new(),
    };
    let (oid, parameters) = match key.kind() {
        KeyKind::Rsa if only_pss => (oid::RSA_PSS, None),
        KeyKind::Rsa => (oid::RSA, Some(AnyRef::NULL)),
        KeyKind::Ecdsa(_) => (oid::EC_PUBLIC_KEY, Some(AnyRef::from_der(&curve)?)),
        KeyKind::Ed25519 => (oid::ED25519, None),
        KeyKind::Ed448 => (oid::ED448, None),
        KeyKind::MlDsa(set) => (ml_dsa_name(set), None),
    };
    let algorithm = AlgorithmIdentifierRef { oid, parameters };
    let subject_public_key = BitStringRef::from_bytes(key.octets())?;
    SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der()
}
