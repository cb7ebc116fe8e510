//! What the engine asks outside about keys and certificates, and in which forms an end signs.
//!
//! ```text
//!   Query::Sign     our identity, what to sign, in which forms    Answer::Signed      certificates, scheme, signature
//!   Query::Trust    the peer's identity, its certificates         Answer::Trusted     its key
//!   Query::Decrypt  our identity, what is encrypted to us         Answer::Decrypted   what it says, or seems to
//! ```
//!
//! To the engine a certificate is octets. Who reads certificates, keeps private keys and asks tokens and responders is
//! outside; whether a signature is that of the key which the outside vouches for, the engine checks itself.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crypto::signature::{Curve, KeyKind, SignatureHash, SignatureScheme};
use crypto::{Hash, Secret, VerifyingKey};
use sa::{AddressRange, DistinguishedName, SignatureTerms};
use thiserror::Error;
use wire::registry::HashAlgorithm;
use wire::v2::Certificate;

use crate::v1::method;
use crate::{Authentication, Connection, Identity, Path, limits};

/// The SHA-1 digest of a CA's public key, by which CERTREQ payloads name it (RFC 7296 §3.7).
pub type AuthorityId = [u8; limits::AUTHORITY_ID_LEN];

/// A CA that we trust, by the names that peers are told.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its name in version 2.
    pub key_id: AuthorityId,
    /// Its name in version 1 (RFC 2408 §3.10).
    pub subject: DistinguishedName,
}

/// The name of a CA that a peer trusts, as the peer says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityName {
    /// In version 2.
    KeyId(AuthorityId),
    /// In version 1.
    Subject(DistinguishedName),
}

/// The private keys that a connection has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnKeys {
    /// Their kinds, each once.
    pub kinds: Vec<KeyKind>,
    /// The certificate of the key that decrypts, to be shown to peers (RFC 2409 §5.3), if it has one.
    pub decrypting: Option<Certificate>,
}

/// A signature of ours that is wanted.
#[derive(Clone, Debug)]
pub struct SignRequest {
    /// The connection that it is for.
    pub connection: Arc<Connection>,
    /// The round of our authentication, from 0 up (RFC 4739).
    pub round: usize,
    /// Who we say we are.
    pub local: Identity,
    /// What is to be signed.
    pub message: Vec<u8>,
    /// The forms in which the peer takes it.
    pub form: SignatureForm,
    /// The CAs that the peer trusts, as far as it has said; `None` if it wants no certificate.
    pub authorities: Option<Vec<AuthorityName>>,
    /// Whether what OCSP says of the certificate is to go with it (RFC 4806).
    pub wants_ocsp: bool,
    /// The signatures that it takes, as AlgorithmIdentifiers in DER, if it has said so (RFC 9593). Another may fail.
    pub announced: Option<Vec<Vec<u8>>>,
    /// Whether the peer has asked for keys without certificates (RFC 7670).
    pub takes_raw_key: bool,
    /// Whether the peer can fetch certificates itself, so that where they are is enough (RFC 7296 §3.6).
    pub can_look_up: bool,
}

/// The forms in which a peer takes a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureForm {
    /// Any that can be named, with one of these hashes (RFC 7427).
    Named(Vec<HashAlgorithm>),
    /// One of the few methods that have a number of their own (RFC 7296 §3.8, RFC 4754).
    Numbered,
    /// That of version 1, where the message is a hash already and the key must be of this kind (RFC 2409 §5.1, RFC 4754).
    Bare(KeyKind),
}

/// A signature of ours, and what shows whose it is.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate of the key, then those between it and a CA that the peer trusts.
    pub certificates: Vec<Certificate>,
    /// How it was made: what [`SignRequest::scheme`] gave.
    pub scheme: SignatureScheme,
    /// The AlgorithmIdentifier of that in DER; empty where it has none.
    pub algorithm: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// A peer whose signature is to be checked.
#[derive(Clone, Debug)]
pub struct TrustRequest {
    /// The connection that it is for.
    pub connection: Arc<Connection>,
    /// The round of its authentication, from 0 up (RFC 4739).
    pub round: usize,
    /// Who the peer says it is.
    pub remote: Identity,
    /// What it sent as certificates, in its order.
    pub certificates: Vec<Certificate>,
    /// The AlgorithmIdentifier in DER under which it signed, if it named one.
    pub algorithm: Option<Vec<u8>>,
}

/// The key of a peer.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    /// The key.
    pub key: Arc<dyn VerifyingKey>,
    /// What the AlgorithmIdentifier says, if the request had one.
    pub scheme: Option<SignatureScheme>,
    /// The addresses that the peer may speak for, if its certificate limits them (RFC 3779).
    pub addresses: Option<Vec<AddressRange>>,
    /// The certificate that says that it is the peer's, in DER; `None` where the configuration says so.
    pub certificate: Option<Vec<u8>>,
}

/// What is encrypted to a private key of ours (version 1; RFC 2409 §5.2, §5.3).
#[derive(Clone, Debug)]
pub struct DecryptRequest {
    /// Whose keys it may be for, the likeliest first.
    pub recipients: Vec<Recipient>,
    /// Which certificate it was encrypted to, if the peer says so; else the first key of RSA counts.
    pub certificate: Option<CertificateHash>,
    /// What is encrypted.
    pub ciphertexts: Vec<Ciphertext>,
}

/// An end of ours that may be meant.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Who we are to its peer.
    pub local: Identity,
}

impl Recipient {
    /// Us, as the peer of a connection on this path knows us.
    pub(crate) fn new(connection: Arc<Connection>, path: Path) -> Recipient {
        let local = connection.own_identity(path);
        Recipient { connection, local }
    }
}

/// A certificate as HASH(1) names it (RFC 2409 §5.2).
#[derive(Clone, Debug)]
pub struct CertificateHash {
    /// The hash function that was agreed on.
    pub function: &'static dyn Hash,
    /// What it makes of the certificate in DER.
    pub digest: Vec<u8>,
}

/// Octets encrypted to an RSA key in the padding of PKCS #1 v1.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertext {
    /// The ciphertext.
    pub octets: Vec<u8>,
    /// Octets that its message can have. To be given for one that has others, or is wrongly padded, is another message:
    /// nobody may learn which it was, or he could decrypt what others sent (see [`crypto::encryption`]).
    pub lengths: RangeInclusive<usize>,
}

/// What ciphertexts say, in their order; nonsense where they were not encrypted to our key.
#[derive(Clone, Debug)]
pub struct Decrypted(pub Vec<Secret<Vec<u8>>>);

/// Says why a key does not sign for a peer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoScheme {
    /// The peer takes no signature of such a key.
    #[error("the peer takes no signatures by {0} keys")]
    PeerTakesNone(KeyKind),
    /// What the peer takes is not allowed here.
    #[error("of the signatures that a key of {bits} bits can make and the peer takes, {terms} allows none{}", weak_hint(*.is_weak))]
    NotAllowed {
        /// The key's length.
        bits: usize,
        /// What is allowed.
        terms: SignatureTerms,
        /// Whether SHA-1 is all that the peer takes.
        is_weak: bool,
    },
    /// The connection is not configured to sign.
    #[error("the connection {0} does not prove itself by a signature")]
    NotConfigured(String),
}

fn weak_hint(is_weak: bool) -> &'static str {
    if is_weak { ": the peer knows SHA-1 only, which allow_weak = yes would use" } else { "" }
}

impl SignRequest {
    /// Chooses how a key is to sign: the best that both the peer and the connection allow.
    ///
    /// # Errors
    /// There is nothing.
    pub fn scheme(&self, key: &dyn VerifyingKey) -> Result<SignatureScheme, NoScheme> {
        self.scheme_among(key, |_| true)
    }

    /// The same, of those schemes that fit a condition.
    ///
    /// # Errors
    /// There is nothing.
    pub fn scheme_among(
        &self,
        key: &dyn VerifyingKey,
        fits: impl Fn(SignatureScheme) -> bool,
    ) -> Result<SignatureScheme, NoScheme> {
        let Some(Authentication::Signature(terms)) = self.connection.own_authentication(self.round) else {
            return Err(NoScheme::NotConfigured(self.connection.name.clone()));
        };
        let bits = key.bits();
        let schemes = match &self.form {
            SignatureForm::Named(hashes) => named_schemes(key.kind(), bits, hashes),
            SignatureForm::Numbered => numbered_schemes(key.kind()),
            SignatureForm::Bare(kind) if *kind == key.kind() => Vec::from_iter(method::scheme_of(*kind)),
            SignatureForm::Bare(_) => Vec::new(),
        };
        let schemes: Vec<SignatureScheme> = schemes.into_iter().filter(|scheme| fits(*scheme)).collect();
        let ranked = schemes.iter().filter_map(|scheme| Some((terms.rank(*scheme, bits)?, *scheme)));
        // The first of equals.
        let best = ranked.min_by_key(|(rank, _)| *rank).map(|(_, scheme)| scheme);
        best.ok_or_else(|| match schemes.as_slice() {
            [] => NoScheme::PeerTakesNone(key.kind()),
            [SignatureScheme::RsaPkcs1(SignatureHash::Sha1)] => {
                NoScheme::NotAllowed { bits, terms: terms.clone(), is_weak: true }
            }
            _ => NoScheme::NotAllowed { bits, terms: terms.clone(), is_weak: false },
        })
    }
}

/// What a key can sign with for a peer that takes these hashes, the best first.
fn named_schemes(kind: KeyKind, bits: usize, hashes: &[HashAlgorithm]) -> Vec<SignatureScheme> {
    let taken = HASHES.iter().filter(|(number, _)| hashes.contains(number)).map(|(_, hash)| *hash);
    let mut taken: Vec<SignatureHash> = taken.collect();
    // The hash that is as strong as the key comes first, then the stronger, then the weaker.
    let fitting = fitting_hash(kind, bits);
    taken.sort_by_key(|hash| {
        (strength(*hash) < strength(fitting), strength(*hash).abs_diff(strength(fitting)))
    });
    // RFC 8420 §2, draft-ietf-ipsecme-ikev2-pqc-auth §3.2.1: these hash by themselves, which a peer announces as "Identity".
    let intrinsic =
        |scheme| if hashes.contains(&HashAlgorithm::IDENTITY) { vec![scheme] } else { Vec::new() };
    match kind {
        // RFC 8247 §3.2: RSASSA-PSS is what everyone must have.
        KeyKind::Rsa => {
            taken.into_iter().flat_map(|hash| [pss(hash), SignatureScheme::RsaPkcs1(hash)]).collect()
        }
        KeyKind::Ecdsa(_) => taken.into_iter().map(SignatureScheme::Ecdsa).collect(),
        KeyKind::Ed25519 => intrinsic(SignatureScheme::Ed25519),
        KeyKind::Ed448 => intrinsic(SignatureScheme::Ed448),
        KeyKind::MlDsa(set) => intrinsic(SignatureScheme::MlDsa(set)),
    }
}

/// RFC 7296 §3.8 and RFC 4754 §3: method 1 is RSA with SHA-1, 9 to 11 are ECDSA with the curve's own hash.
fn numbered_schemes(kind: KeyKind) -> Vec<SignatureScheme> {
    match kind {
        KeyKind::Rsa => vec![SignatureScheme::RsaPkcs1(SignatureHash::Sha1)],
        KeyKind::Ecdsa(Curve::P256) => vec![SignatureScheme::EcdsaFixed(SignatureHash::Sha2_256)],
        KeyKind::Ecdsa(Curve::P384) => vec![SignatureScheme::EcdsaFixed(SignatureHash::Sha2_384)],
        KeyKind::Ecdsa(Curve::P521) => vec![SignatureScheme::EcdsaFixed(SignatureHash::Sha2_512)],
        KeyKind::Ecdsa(Curve::BrainpoolP256r1 | Curve::BrainpoolP384r1 | Curve::BrainpoolP512r1)
        | KeyKind::Ed25519
        | KeyKind::Ed448
        | KeyKind::MlDsa(_) => Vec::new(),
    }
}

/// RFC 8017 §9.1: a salt as long as the hash.
fn pss(hash: SignatureHash) -> SignatureScheme {
    SignatureScheme::RsaPss { hash, mask_hash: hash, salt_len: hash.function().output_len() }
}

/// NIST SP 800-57 part 1, table 2: the hash whose strength is that of the key.
fn fitting_hash(kind: KeyKind, bits: usize) -> SignatureHash {
    let curve_bits = match kind {
        KeyKind::Rsa if bits > 7680 => 512,
        KeyKind::Rsa if bits > 3072 => 384,
        KeyKind::Rsa => 256,
        KeyKind::Ecdsa(_) | KeyKind::Ed25519 | KeyKind::Ed448 | KeyKind::MlDsa(_) => bits,
    };
    match curve_bits {
        0..=256 => SignatureHash::Sha2_256,
        257..=384 => SignatureHash::Sha2_384,
        _ => SignatureHash::Sha2_512,
    }
}

fn strength(hash: SignatureHash) -> usize {
    hash.function().output_len()
}

/// The hashes by their numbers (RFC 7427 §7).
const HASHES: [(HashAlgorithm, SignatureHash); 4] = [
    (HashAlgorithm::SHA1, SignatureHash::Sha1),
    (HashAlgorithm::SHA2_256, SignatureHash::Sha2_256),
    (HashAlgorithm::SHA2_384, SignatureHash::Sha2_384),
    (HashAlgorithm::SHA2_512, SignatureHash::Sha2_512),
];

/// The hashes that we announce: what every connection takes in a peer's signature (RFC 7427 §4, RFC 8420 §2).
pub(crate) const ANNOUNCED_HASHES: [HashAlgorithm; 4] =
    [HashAlgorithm::SHA2_256, HashAlgorithm::SHA2_384, HashAlgorithm::SHA2_512, HashAlgorithm::IDENTITY];

/// Reads the content of a CERTREQ payload; what is left over at its end names nobody.
pub(crate) fn authorities_of(content: &[u8]) -> impl Iterator<Item = AuthorityId> {
    let ids = content.chunks(limits::AUTHORITY_ID_LEN).filter_map(|id| AuthorityId::try_from(id).ok());
    ids.take(limits::AUTHORITIES_OF_A_PEER)
}

#[cfg(test)]
mod tests {
    use crypto::signature::MlDsa;

    use super::*;

    #[test]
    fn the_hash_that_fits_the_key_comes_first() {
        let all = HASHES.map(|(number, _)| number);
        let first = |kind, bits| named_schemes(kind, bits, &all)[0];
        assert_eq!(first(KeyKind::Rsa, 2048), pss(SignatureHash::Sha2_256));
        assert_eq!(first(KeyKind::Rsa, 4096), pss(SignatureHash::Sha2_384));
        assert_eq!(first(KeyKind::Ecdsa(Curve::P521), 521), SignatureScheme::Ecdsa(SignatureHash::Sha2_512));
        let weaker = [HashAlgorithm::SHA1, HashAlgorithm::SHA2_256];
        assert_eq!(
            named_schemes(KeyKind::Ecdsa(Curve::P384), 384, &weaker),
            [SignatureScheme::Ecdsa(SignatureHash::Sha2_256), SignatureScheme::Ecdsa(SignatureHash::Sha1)]
        );
    }

    #[test]
    fn edwards_curves_need_the_identity_hash() {
        assert!(named_schemes(KeyKind::Ed25519, 255, &[HashAlgorithm::SHA2_512]).is_empty());
        let announced = named_schemes(KeyKind::Ed448, 448, &ANNOUNCED_HASHES);
        assert_eq!(announced, [SignatureScheme::Ed448]);
        assert!(numbered_schemes(KeyKind::Ed25519).is_empty());
    }

    #[test]
    fn ml_dsa_needs_the_identity_hash_and_has_no_number() {
        for set in MlDsa::ALL {
            let kind = KeyKind::MlDsa(set);
            let hashes = [HashAlgorithm::SHA2_256, HashAlgorithm::SHA2_512];
            assert!(named_schemes(kind, set.strength_bits(), &hashes).is_empty(), "{set}");
            let announced = named_schemes(kind, set.strength_bits(), &ANNOUNCED_HASHES);
            assert_eq!(announced, [SignatureScheme::MlDsa(set)]);
            assert!(numbered_schemes(kind).is_empty());
        }
    }

    #[test]
    fn half_an_authority_is_none() {
        assert_eq!(authorities_of(&[7; 45]).count(), 2);
        let many = vec![7; limits::AUTHORITY_ID_LEN * (limits::AUTHORITIES_OF_A_PEER + 1)];
        assert_eq!(authorities_of(&many).count(), limits::AUTHORITIES_OF_A_PEER);
    }
}
