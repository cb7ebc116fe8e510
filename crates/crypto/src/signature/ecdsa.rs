//! ECDSA (FIPS 186-5) on the NIST and Brainpool curves.

use super::{
    BadSignature, CannotSign, Curve, InvalidKey, KeyKind, SignatureScheme, SigningKey, VerifyingKey,
};
use crate::ffi::ec::EcKey;
use crate::{Error, Secret};

/// A public key.
pub(super) struct Public {
    key: EcKey,
    curve: Curve,
    point: Vec<u8>,
}

/// A private key.
pub(super) struct Private {
    key: EcKey,
    public: Public,
}

/// Makes a private key, a scalar.
pub(super) fn generate(curve: Curve) -> Result<Secret<Vec<u8>>, Error> {
    EcKey::generate(curve.into())?.scalar(curve.into())
}

impl Public {
    pub(super) fn new(curve: Curve, point: &[u8]) -> Result<Self, InvalidKey> {
        let key = EcKey::from_point(curve.into(), point);
        let with_point = key.and_then(|key| Ok((key.point(curve.into())?, key)));
        let (point, key) = with_point.map_err(|_| InvalidKey(KeyKind::Ecdsa(curve)))?;
        Ok(Self { key, curve, point })
    }

    /// Checks a signature r | s.
    fn verify_fixed(&self, digest: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let signature = der_of_fixed(self.curve, signature).ok_or(BadSignature)?;
        self.key.verify(digest, &signature)
    }
}

impl Private {
    pub(super) fn new(curve: Curve, scalar: &[u8]) -> Result<Self, InvalidKey> {
        let key = EcKey::from_scalar(curve.into(), scalar);
        let with_point = key.and_then(|key| Ok((key.point(curve.into())?, key)));
        let (point, key) = with_point.map_err(|_| InvalidKey(KeyKind::Ecdsa(curve)))?;
        Ok(Self { key, public: Public::new(curve, &point)? })
    }
}

impl VerifyingKey for Public {
    fn kind(&self) -> KeyKind {
        KeyKind::Ecdsa(self.curve)
    }

    fn bits(&self) -> usize {
        self.curve.bits()
    }

    fn octets(&self) -> &[u8] {
        &self.point
    }

    fn verify(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match scheme {
            SignatureScheme::Ecdsa(hash) => self.key.verify(&hash.digest(message), signature),
            SignatureScheme::EcdsaFixed(hash) => self.verify_fixed(&hash.digest(message), signature),
            SignatureScheme::EcdsaBare => self.verify_fixed(message, signature),
            SignatureScheme::RsaPkcs1(_)
            | SignatureScheme::RsaPss { .. }
            | SignatureScheme::RsaBare
            | SignatureScheme::Ed25519
            | SignatureScheme::Ed448
            | SignatureScheme::MlDsa(_) => Err(BadSignature),
        }
    }
}

impl SigningKey for Private {
    fn verifying_key(&self) -> &dyn VerifyingKey {
        &self.public
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        let sign = |digest: &[u8]| self.key.sign(digest).map_err(|_| CannotSign::Library);
        let sign_fixed =
            |digest: &[u8]| fixed_of_der(self.public.curve, &sign(digest)?).ok_or(CannotSign::Library);
        match scheme {
            SignatureScheme::Ecdsa(hash) => sign(&hash.digest(message)),
            SignatureScheme::EcdsaFixed(hash) => sign_fixed(&hash.digest(message)),
            SignatureScheme::EcdsaBare => sign_fixed(message),
            SignatureScheme::RsaPkcs1(_)
            | SignatureScheme::RsaPss { .. }
            | SignatureScheme::RsaBare
            | SignatureScheme::Ed25519
            | SignatureScheme::Ed448
            | SignatureScheme::MlDsa(_) => Err(CannotSign::Unfit { kind: self.public.kind(), scheme }),
        }
    }
}

/// Turns r | s into an `ECDSA-Sig-Value`, a SEQUENCE of two INTEGERs; `None` if the two are not as long as the curve has it.
pub fn der_of_fixed(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    if signature.len() != 2 * curve.octets() {
        return None;
    }
    let (r, s) = signature.split_at(curve.octets());
    let content = [integer(r)?, integer(s)?].concat();
    let length = u8::try_from(content.len()).ok()?;
    let header: &[u8] = if length < 0x80 { &[SEQUENCE, length] } else { &[SEQUENCE, 0x81, length] };
    Some([header, &content].concat())
}

/// Encodes an unsigned number of at most 66 octets.
fn integer(number: &[u8]) -> Option<Vec<u8>> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let mut significant = number[zeros..].to_vec();
    // The sign bit of a positive INTEGER is zero, and zero itself has one octet.
    if significant.first().is_none_or(|first| first & 0x80 != 0) {
        significant.insert(0, 0);
    }
    Some([&[INTEGER, u8::try_from(significant.len()).ok()?], significant.as_slice()].concat())
}

/// Turns an `ECDSA-Sig-Value` into r | s.
fn fixed_of_der(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    let content = match signature {
        [SEQUENCE, 0x81, _, content @ ..] | [SEQUENCE, 0..=0x7f, content @ ..] => content,
        _ => return None,
    };
    let (r, rest) = split_integer(content)?;
    let (s, _) = split_integer(rest)?;
    let mut fixed = vec![0; 2 * curve.octets()];
    let (r_place, s_place) = fixed.split_at_mut(curve.octets());
    for (number, place) in [(r, r_place), (s, s_place)] {
        let start = place.len().checked_sub(number.len())?;
        place[start..].copy_from_slice(number);
    }
    Some(fixed)
}

/// Splits an INTEGER off, without the octet that makes it positive.
fn split_integer(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let [INTEGER, length, rest @ ..] = content else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((number.strip_prefix(&[0]).unwrap_or(number), rest))
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
