//! The certificates and keys that a gateway has, and those that it trusts.
//!
//! ```text
//!   ike ── Query::Sign ───► sign    which of our keys, which certificates go with it    ──► Answer::Signed
//!       ── Query::Decrypt ► decrypt which of our keys reads what is encrypted to us         ──► Answer::Decrypted
//!       ── Query::Trust ──► judge   who the peer's certificate is for, and who says so  ──► Judgement
//!                                   └ revoked?  the evidence is somebody else's to fetch ──► Answer::Trusted
//! ```
//!
//! [`pki`] says what a certificate is worth and [`ike`] what is to be proven; this crate holds what both speak of, and
//! knows no file, no network and no clock.

#![forbid(unsafe_code)]

mod decrypting;
mod judging;
mod signing;

use std::collections::BTreeMap;
use std::sync::Arc;

use crypto::hash;
use crypto::signature::{MlDsa, SignatureHash, SignatureScheme};
use ike::{Answer, Authority, AuthorityId, Query};
use pki::ocsp::Response;
use pki::revocation::{self, Evidence, RevocationRefusal, Strictness};
use pki::{Certificate, Crl, ObjectIdentifier, PrivateKey, PublicKey, Time, algorithm};

pub use judging::Judgement;
pub use signing::{Shown, ocsp_payload};

/// Everything of certificates and keys that a gateway has.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Our private keys.
    pub keys: Vec<PrivateKey>,
    /// Certificates: our own, those of CAs between them and a trusted one, and peers'.
    pub certificates: Vec<Certificate>,
    /// Certificates of CAs that are trusted.
    pub anchors: Vec<Certificate>,
    /// Lists of revoked certificates.
    pub crls: Vec<Crl>,
    /// What OCSP says of certificates.
    pub responses: Vec<Response>,
    /// Where our certificates can be fetched.
    pub places: Vec<Place>,
    /// What single connections want of it, by name.
    pub connections: BTreeMap<String, Arc<Wishes>>,
}

/// Where the certificates that a CA has issued to us can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The CA's certificate.
    pub authority: Certificate,
    /// What stands in front of a certificate's SHA-1 digest in hexadecimal.
    pub base: String,
}

/// What one connection wants of the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Our certificates for it, the best first; none is any that fits.
    pub own: Vec<Certificate>,
    /// Certificates that stood behind those in their files: those of the CAs above.
    pub behind: Vec<Certificate>,
    /// Our public keys for it, for peers that know them without a certificate.
    pub own_keys: Vec<PublicKey>,
    /// The certificates of which the peer must have one, which is then trusted by itself; none is any.
    pub peer: Vec<Certificate>,
    /// The keys of which the peer may have one without a certificate.
    pub peer_keys: Vec<PublicKey>,
    /// The CAs of which one must stand above the peer; none is all that are trusted.
    pub anchors: Vec<Certificate>,
    /// The certificate policies of which one must hold; none is any.
    pub policies: Vec<ObjectIdentifier>,
    /// What follows where nobody knows whether a certificate is revoked.
    pub revocation: Strictness,
    /// The same for the rounds of authentication after the first (RFC 4739).
    pub further: Vec<Wishes>,
}

impl Default for Wishes {
    fn default() -> Wishes {
        Wishes {
            own: Vec::new(),
            behind: Vec::new(),
            own_keys: Vec::new(),
            peer: Vec::new(),
            peer_keys: Vec::new(),
            anchors: Vec::new(),
            policies: Vec::new(),
            revocation: Strictness::Relaxed,
            further: Vec::new(),
        }
    }
}

impl Wishes {
    /// Gives those of a round, from 0 up.
    fn in_round(&self, round: usize) -> Option<&Wishes> {
        match round.checked_sub(1) {
            None => Some(self),
            Some(further) => self.further.get(further),
        }
    }
}

impl Credentials {
    /// Gives the names by which peers are told of the CAs that are trusted (RFC 7296 §3.7, RFC 2408 §3.10).
    pub fn authorities(&self) -> Vec<Authority> {
        let name = |anchor: &Certificate| Authority {
            key_id: authority_id(anchor),
            subject: anchor.subject().clone(),
        };
        let of_connections = self.connections.values().flat_map(|wishes| &wishes.anchors);
        let mut named: Vec<Authority> = Vec::new();
        for authority in self.anchors.iter().chain(of_connections).map(name) {
            if named.iter().all(|known| known.key_id != authority.key_id) {
                named.push(authority);
            }
        }
        named
    }

    fn wishes(&self, connection: &str, round: usize) -> Wishes {
        let wishes = self.connections.get(connection).and_then(|wishes| wishes.in_round(round));
        wishes.cloned().unwrap_or_default()
    }

    /// Answers a question of the engine by what is at hand; `None` if it is not about credentials.
    pub fn answer(&self, query: &Query, now: Time) -> Option<Answer> {
        match query {
            Query::Sign(request) => Some(Answer::Signed(self.sign(request).map(|shown| shown.signed))),
            Query::Trust(request) => {
                let judgement = self.judge(request, now);
                Some(Answer::Trusted(judgement.and_then(|judgement| self.at_hand(judgement, now))))
            }
            Query::Decrypt(request) => Some(Answer::Decrypted(self.decrypt(request))),
            Query::Path(_)
            | Query::Route { .. }
            | Query::Gateway { .. }
            | Query::Link(_)
            | Query::Idle { .. } => None,
        }
    }

    /// Gives a peer's key unless a certificate above it is revoked, as far as is known here and from the peer itself.
    ///
    /// # Errors
    /// One is, or nobody knows and the connection is strict about that; one sentence.
    pub fn at_hand(&self, judgement: Judgement, now: Time) -> Result<ike::TrustedKey, String> {
        let responses = [judgement.responses.as_slice(), &self.responses].concat();
        let evidence = Evidence {
            crls: &self.crls,
            responses: &responses,
            nonce: None,
            certificates: &self.certificates,
        };
        judgement.unless_revoked(&evidence, now).map_err(|refusal| refusal.to_string())
    }
}

impl Judgement {
    /// Gives the peer's key unless a certificate above it is revoked, as far as the evidence says.
    ///
    /// # Errors
    /// One is, or nobody knows and the connection is strict about that.
    pub fn unless_revoked(
        self,
        evidence: &Evidence<'_>,
        now: Time,
    ) -> Result<ike::TrustedKey, RevocationRefusal> {
        if let Some(path) = &self.path {
            revocation::check(path, evidence, self.strictness, now, self.weak)?;
        }
        Ok(self.trusted)
    }
}

/// Gives the signatures that may be announced to peers (RFC 9593), with their names.
pub fn announced_signatures() -> Vec<(SignatureScheme, Vec<u8>)> {
    use SignatureHash::{Sha2_256, Sha2_384, Sha2_512};
    let of_hash = |hash: SignatureHash| {
        let salt_len = hash.function().output_len();
        let pss = SignatureScheme::RsaPss { hash, mask_hash: hash, salt_len };
        [SignatureScheme::Ecdsa(hash), pss, SignatureScheme::RsaPkcs1(hash)]
    };
    let hashed = [Sha2_256, Sha2_384, Sha2_512].into_iter().flat_map(of_hash);
    let lattice = MlDsa::ALL.into_iter().map(SignatureScheme::MlDsa);
    let all = [SignatureScheme::Ed25519, SignatureScheme::Ed448].into_iter().chain(hashed).chain(lattice);
    all.filter_map(|scheme| Some((scheme, algorithm::scheme_to_der(scheme)?))).collect()
}

fn authority_id(certificate: &Certificate) -> AuthorityId {
    let digest = hash::SHA1.digest(&[certificate.key_info()]);
    AuthorityId::try_from(digest.as_slice()).expect("SHA-1 has as many octets")
}
