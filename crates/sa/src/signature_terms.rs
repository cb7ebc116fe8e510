//! Which signatures prove who an end is: the words of `auth` in swanctl.conf, and what they allow.
//!
//! ```text
//!   pubkey                          any that is not weak
//!   rsa-3072                        RSA from 3072 bits on, whatever its padding and hash
//!   rsa-sha256-sha512               RSA with the padding of PKCS #1 v1.5 and one of the two hashes
//!   rsa/pss-sha384-ed25519          the one or the other
//!   ike:ecdsa-sha256                the same as without `ike:`
//!   mldsa65-mldsa87                 ML-DSA with one of the two parameter sets
//! ```

use std::fmt;
use std::str::FromStr;

use crypto::signature::{KeyKind, MlDsa, SignatureHash, SignatureScheme};
use thiserror::Error;

/// The signatures that an end may prove itself by, the best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureTerms {
    /// What is allowed; none is everything.
    pub kinds: Vec<SignatureKind>,
    /// Whether SHA-1 is.
    pub weak: WeakSignatures,
}

/// A kind of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureKind {
    /// What the key is.
    pub family: KeyFamily,
    /// The bits that it has at least.
    pub least_bits: usize,
    /// The hash; `None` is any.
    pub hash: Option<SignatureHash>,
}

/// What keys are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFamily {
    /// Any.
    Any,
    /// RSA, whatever its padding.
    Rsa,
    /// RSA with the padding of PKCS #1 v1.5.
    RsaPkcs1,
    /// RSA-PSS.
    RsaPss,
    /// ECDSA on any curve.
    Ecdsa,
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
    /// ML-DSA with this parameter set.
    MlDsa(MlDsa),
}

/// Whether signatures with SHA-1 are made and accepted, and certificates that are signed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakSignatures {
    /// They are not.
    Refused,
    /// They are.
    Allowed,
}

impl SignatureTerms {
    /// Everything that is not weak.
    pub const ANY: SignatureTerms = SignatureTerms { kinds: Vec::new(), weak: WeakSignatures::Refused };

    /// Ranks a signature by a key of so many bits, the lowest the best; `None` if it is not allowed.
    pub fn rank(&self, scheme: SignatureScheme, bits: usize) -> Option<usize> {
        if hash_of(scheme) == Some(SignatureHash::Sha1) && self.weak == WeakSignatures::Refused {
            return None;
        }
        if self.kinds.is_empty() {
            return Some(0);
        }
        self.kinds.iter().position(|kind| kind.fits(scheme, bits))
    }
}

impl SignatureTerms {
    /// Tells whether some key of this kind may sign so, whatever its length.
    pub fn allows(&self, scheme: SignatureScheme) -> bool {
        self.rank(scheme, usize::MAX).is_some()
    }
}

impl SignatureKind {
    fn fits(self, scheme: SignatureScheme, bits: usize) -> bool {
        let is_of_family = match self.family {
            KeyFamily::Any => true,
            KeyFamily::Rsa => is_rsa(scheme),
            KeyFamily::RsaPkcs1 => is_rsa(scheme) && !matches!(scheme, SignatureScheme::RsaPss { .. }),
            KeyFamily::RsaPss => matches!(scheme, SignatureScheme::RsaPss { .. }),
            KeyFamily::Ecdsa => is_ecdsa(scheme),
            KeyFamily::Ed25519 => scheme == SignatureScheme::Ed25519,
            KeyFamily::Ed448 => scheme == SignatureScheme::Ed448,
            KeyFamily::MlDsa(set) => scheme == SignatureScheme::MlDsa(set),
        };
        // What has no hash of its own is not measured by one.
        let has_hash = self.hash.is_none_or(|hash| hash_of(scheme).is_none_or(|own| own == hash));
        is_of_family && has_hash && bits >= self.least_bits
    }
}

impl KeyFamily {
    /// Tells whether a key of this kind may be meant.
    pub fn includes(self, kind: KeyKind) -> bool {
        match self {
            KeyFamily::Any => true,
            KeyFamily::Rsa | KeyFamily::RsaPkcs1 | KeyFamily::RsaPss => kind == KeyKind::Rsa,
            KeyFamily::Ecdsa => matches!(kind, KeyKind::Ecdsa(_)),
            KeyFamily::Ed25519 => kind == KeyKind::Ed25519,
            KeyFamily::Ed448 => kind == KeyKind::Ed448,
            KeyFamily::MlDsa(set) => kind == KeyKind::MlDsa(set),
        }
    }
}

/// Gives the hash that a scheme names.
fn hash_of(scheme: SignatureScheme) -> Option<SignatureHash> {
    match scheme {
        SignatureScheme::RsaPkcs1(hash)
        | SignatureScheme::RsaPss { hash, .. }
        | SignatureScheme::Ecdsa(hash)
        | SignatureScheme::EcdsaFixed(hash) => Some(hash),
        SignatureScheme::RsaBare
        | SignatureScheme::EcdsaBare
        | SignatureScheme::Ed25519
        | SignatureScheme::Ed448
        | SignatureScheme::MlDsa(_) => None,
    }
}

fn is_rsa(scheme: SignatureScheme) -> bool {
    match scheme {
        SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPss { .. } | SignatureScheme::RsaBare => true,
        SignatureScheme::Ecdsa(_)
        | SignatureScheme::EcdsaFixed(_)
        | SignatureScheme::EcdsaBare
        | SignatureScheme::Ed25519
        | SignatureScheme::Ed448
        | SignatureScheme::MlDsa(_) => false,
    }
}

fn is_ecdsa(scheme: SignatureScheme) -> bool {
    match scheme {
        SignatureScheme::Ecdsa(_) | SignatureScheme::EcdsaFixed(_) | SignatureScheme::EcdsaBare => true,
        SignatureScheme::RsaPkcs1(_)
        | SignatureScheme::RsaPss { .. }
        | SignatureScheme::RsaBare
        | SignatureScheme::Ed25519
        | SignatureScheme::Ed448
        | SignatureScheme::MlDsa(_) => false,
    }
}

/// Says that a text names no signatures.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidSignatureTerms {
    /// A word in it is none of ours.
    #[error("`{0}` is no key type, hash or number of bits")]
    Unknown(String),
    /// A hash or number stands before any key type.
    #[error("`{0}` stands before any key type")]
    KeyMissing(String),
}

impl FromStr for SignatureTerms {
    type Err = InvalidSignatureTerms;

    /// Reads the words of `auth`; SHA-1, where it is named, still needs to be allowed.
    fn from_str(text: &str) -> Result<SignatureTerms, InvalidSignatureTerms> {
        let mut groups: Vec<Group> = Vec::new();
        for word in text.strip_prefix("ike:").unwrap_or(text).split('-') {
            if let Some(family) = family(word) {
                groups.push(Group { family, least_bits: 0, hashes: Vec::new() });
                continue;
            }
            let Some(group) = groups.last_mut() else {
                return Err(InvalidSignatureTerms::KeyMissing(word.to_owned()));
            };
            if let Some(hash) = hash(word) {
                group.hashes.push(hash);
            } else {
                group.least_bits =
                    word.parse().map_err(|_| InvalidSignatureTerms::Unknown(word.to_owned()))?;
            }
        }
        let kinds = groups.iter().flat_map(Group::kinds).collect::<Vec<_>>();
        let any = SignatureKind { family: KeyFamily::Any, least_bits: 0, hash: None };
        let kinds = if kinds == [any] { Vec::new() } else { kinds };
        Ok(SignatureTerms { kinds, weak: WeakSignatures::Refused })
    }
}

/// A key type and what follows it.
struct Group {
    family: KeyFamily,
    least_bits: usize,
    hashes: Vec<SignatureHash>,
}

impl Group {
    fn kinds(&self) -> Vec<SignatureKind> {
        let least_bits = self.least_bits;
        // What strongSwan means by the same words.
        let family = if self.family == KeyFamily::Rsa { KeyFamily::RsaPkcs1 } else { self.family };
        let kind = |hash| SignatureKind { family, least_bits, hash };
        match self.hashes.as_slice() {
            [] => vec![SignatureKind { family: self.family, least_bits, hash: None }],
            hashes => hashes.iter().map(|hash| kind(Some(*hash))).collect(),
        }
    }
}

const FAMILIES: &[(&str, KeyFamily)] = &[
    ("pubkey", KeyFamily::Any),
    ("rsa", KeyFamily::Rsa),
    ("rsa/pkcs1", KeyFamily::RsaPkcs1),
    ("rsa/pss", KeyFamily::RsaPss),
    ("ecdsa", KeyFamily::Ecdsa),
    ("ed25519", KeyFamily::Ed25519),
    ("ed448", KeyFamily::Ed448),
    ("mldsa44", KeyFamily::MlDsa(MlDsa::Set44)),
    ("mldsa65", KeyFamily::MlDsa(MlDsa::Set65)),
    ("mldsa87", KeyFamily::MlDsa(MlDsa::Set87)),
];

fn family(word: &str) -> Option<KeyFamily> {
    FAMILIES.iter().find(|(name, _)| *name == word).map(|(_, family)| *family)
}

fn hash(word: &str) -> Option<SignatureHash> {
    match word {
        "sha1" | "sha" => Some(SignatureHash::Sha1),
        "sha256" | "sha2_256" => Some(SignatureHash::Sha2_256),
        "sha384" | "sha2_384" => Some(SignatureHash::Sha2_384),
        "sha512" | "sha2_512" => Some(SignatureHash::Sha2_512),
        _ => None,
    }
}

impl fmt::Display for SignatureTerms {
    /// Prints the words of `auth`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds.is_empty() {
            return f.write_str("pubkey");
        }
        for (at, kind) in self.kinds.iter().enumerate() {
            let name =
                FAMILIES.iter().find(|(_, family)| *family == kind.family).map_or("", |(name, _)| name);
            let is_usual = kind.family == KeyFamily::RsaPkcs1 && kind.hash.is_some();
            let name = if is_usual { "rsa" } else { name };
            write!(f, "{}{name}", if at == 0 { "" } else { "-" })?;
            if kind.least_bits > 0 {
                write!(f, "-{}", kind.least_bits)?;
            }
            match kind.hash {
                None => {}
                Some(SignatureHash::Sha1) => f.write_str("-sha1")?,
                Some(SignatureHash::Sha2_256) => f.write_str("-sha256")?,
                Some(SignatureHash::Sha2_384) => f.write_str("-sha384")?,
                Some(SignatureHash::Sha2_512) => f.write_str("-sha512")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> SignatureTerms {
        text.parse().expect("the test's own text")
    }

    fn pss(hash: SignatureHash) -> SignatureScheme {
        SignatureScheme::RsaPss { hash, mask_hash: hash, salt_len: 32 }
    }

    #[test]
    fn the_words_of_auth_are_read() {
        assert_eq!(terms("pubkey"), SignatureTerms::ANY);
        let rsa = terms("rsa-3072-sha256-sha512");
        assert_eq!(rsa, terms("ike:rsa-3072-sha2_256-sha2_512"));
        let pkcs1 = SignatureScheme::RsaPkcs1;
        assert_eq!(rsa.rank(pkcs1(SignatureHash::Sha2_256), 3072), Some(0));
        assert_eq!(rsa.rank(pkcs1(SignatureHash::Sha2_512), 4096), Some(1));
        assert_eq!(rsa.rank(pss(SignatureHash::Sha2_512), 4096), None);
        assert_eq!(terms("rsa-3072").rank(pss(SignatureHash::Sha2_512), 4096), Some(0));
        assert_eq!(rsa.rank(pkcs1(SignatureHash::Sha2_384), 4096), None);
        assert_eq!(rsa.rank(pkcs1(SignatureHash::Sha2_256), 2048), None);
        assert_eq!(rsa.rank(SignatureScheme::Ed25519, 255), None);
        let either = terms("rsa/pss-sha384-ed25519");
        assert_eq!(either.rank(SignatureScheme::Ed25519, 255), Some(1));
        assert_eq!(either.rank(pkcs1(SignatureHash::Sha2_384), 4096), None);
        let lattice = terms("mldsa65-mldsa87");
        assert_eq!(lattice.rank(SignatureScheme::MlDsa(MlDsa::Set87), 256), Some(1));
        assert_eq!(lattice.rank(SignatureScheme::MlDsa(MlDsa::Set44), 128), None);
        assert_eq!(terms("rsa-sha256").rank(SignatureScheme::RsaBare, 2048), Some(0));
    }

    #[test]
    fn sha_1_needs_to_be_allowed() {
        let scheme = SignatureScheme::RsaPkcs1(SignatureHash::Sha1);
        let mut named = terms("rsa-sha1");
        assert_eq!(named.rank(scheme, 4096), None);
        named.weak = WeakSignatures::Allowed;
        assert_eq!(named.rank(scheme, 4096), Some(0));
    }

    #[test]
    fn nonsense_is_refused_and_sense_prints_as_it_is_read() {
        for text in ["", "sha256", "256-rsa", "rsa-sha3", "rsa-", "dsa", "ike:", "mldsa", "mldsa-65"] {
            assert!(text.parse::<SignatureTerms>().is_err(), "{text}");
        }
        for text in [
            "pubkey",
            "rsa-3072-sha256",
            "rsa-2048",
            "rsa/pss-sha384-ed25519",
            "ecdsa-sha256-ecdsa-sha384",
            "mldsa44-mldsa65",
        ] {
            assert_eq!(terms(text).to_string(), text);
        }
    }
}
