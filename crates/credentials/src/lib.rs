//! The certificates and keys that a gateway has, and those that it trusts.
//!
//! ```text
//!   ike ── Query::Sign ───► sign    which of our keys, which certificates go with it    ──► Answer::Signed
//!       ── Query::Trust ──► judge   who the peer's certificate is for, and who says so  ──► Judgement
//!                                   └ revoked?  the evidence is somebody else's to fetch ──► Answer::Trusted
//! ```
//!
//! [`pki`] says what a certificate is worth and [`ike`] what is to be proven; this crate holds what both speak of, and
//! knows no file, no network and no clock.

#![forbid(unsafe_code)]

mod judging;
mod signing;

use std::collections::BTreeMap;
use std::sync::Arc;

use crypto::hash;
use ike::{Answer, Authority, AuthorityId, Query};
use pki::revocation::{self, Evidence, Strictness};
use pki::{Certificate, Crl, ObjectIdentifier, PrivateKey, PublicKey, Time};

pub use judging::Judgement;

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
    /// What single connections want of it, by name.
    pub connections: BTreeMap<String, Arc<Wishes>>,
}

/// What one connection wants of the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Our certificates for it, the best first; none is any that fits.
    pub own: Vec<Certificate>,
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
        let named = |anchor: &Certificate| Authority {
            key_id: authority_id(anchor),
            subject: anchor.subject().clone(),
        };
        self.anchors.iter().map(named).collect()
    }

    fn wishes(&self, connection: &str, round: usize) -> Wishes {
        let wishes = self.connections.get(connection).and_then(|wishes| wishes.in_round(round));
        wishes.cloned().unwrap_or_default()
    }

    /// Answers a question of the engine by what is at hand; `None` if it is not about credentials.
    pub fn answer(&self, query: &Query, now: Time) -> Option<Answer> {
        match query {
            Query::Sign(request) => Some(Answer::Signed(self.sign(request))),
            Query::Trust(request) => {
                let judgement = self.judge(request, now);
                Some(Answer::Trusted(judgement.and_then(|judgement| {
                    let evidence = Evidence {
                        crls: &self.crls,
                        responses: &[],
                        nonce: None,
                        certificates: &self.certificates,
                    };
                    judgement.unless_revoked(&evidence, now)
                })))
            }
            Query::Path(_) | Query::Route { .. } | Query::Link(_) | Query::Idle { .. } => None,
        }
    }
}

impl Judgement {
    /// Gives the peer's key unless a certificate above it is revoked, as far as the evidence says.
    ///
    /// # Errors
    /// One is, or nobody knows and the connection is strict about that.
    pub fn unless_revoked(self, evidence: &Evidence<'_>, now: Time) -> Result<ike::TrustedKey, String> {
        if let Some(path) = &self.path {
            revocation::check(path, evidence, self.strictness, now, self.weak)
                .map_err(|refusal| refusal.to_string())?;
        }
        Ok(self.trusted)
    }
}

fn authority_id(certificate: &Certificate) -> AuthorityId {
    let digest = hash::SHA1.digest(&[certificate.key_info()]);
    AuthorityId::try_from(digest.as_slice()).expect("SHA-1 has as many octets")
}
