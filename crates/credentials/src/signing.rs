//! Our own signature: which key makes it, and which certificates go with it.
//!
//! A certificate that the connection names is used, and must be for the identity that we claim. Where it names none, any
//! that is for the identity and whose key we have may be; one below a CA that the peer trusts comes first.

use crypto::signature::KeyKind;
use ike::{AuthorityName, Connection, SignRequest, Signed};
use pki::{Certificate, PrivateKey, algorithm, limits};
use wire::registry::CertificateEncoding;

use crate::{Credentials, Wishes, authority_id};

/// A key that may sign, and the certificates that show whose it is: its own first.
struct Candidate<'a> {
    key: &'a PrivateKey,
    chain: Vec<Certificate>,
}

impl Credentials {
    /// Signs in our name.
    ///
    /// # Errors
    /// We have no key for it, or none that the peer and the connection allow; one sentence.
    pub fn sign(&self, request: &SignRequest) -> Result<Signed, String> {
        let wishes = self.wishes(&request.connection.name, request.round);
        let wanted = request.authorities.as_deref().unwrap_or_default();
        let mut candidates = self.candidates(request, &wishes)?;
        // A stable sort: of equals the first that is configured.
        candidates.sort_by_key(|candidate| !is_below(&candidate.chain, wanted, &self.anchors));
        let mut refusal = None;
        for Candidate { key, chain } in candidates {
            match sign_with(key, request) {
                Ok(signed) => {
                    let certificates = chain.iter().map(encoded).collect();
                    return Ok(Signed { certificates, ..signed });
                }
                Err(fault) => refusal = refusal.or(Some(fault)),
            }
        }
        Err(refusal.unwrap_or_else(|| format!("no private key is there for {}", request.local)))
    }

    /// Tells of which kinds the keys are by which we can prove ourselves for a connection, each once.
    pub fn key_kinds(&self, connection: &Connection) -> Vec<KeyKind> {
        let wishes = self.wishes(&connection.name, 0);
        let kind_of = |certificate: &Certificate| {
            let key = self.keys.iter().find(|key| key.belongs_to(certificate))?;
            Some(key.signing_key().verifying_key().kind())
        };
        let is_for_us = |certificate: &&Certificate| match &connection.local_identity {
            Some(local) => pki::certifies(certificate, local).is_ok(),
            None => true,
        };
        let mut kinds: Vec<KeyKind> = wishes.own.iter().filter_map(kind_of).collect();
        kinds.extend(wishes.own_keys.iter().map(|key| key.verifying_key().kind()));
        if wishes.own.is_empty() && wishes.own_keys.is_empty() {
            kinds.extend(self.certificates.iter().filter(is_for_us).filter_map(kind_of));
        }
        kinds.sort();
        kinds.dedup();
        kinds
    }

    fn candidates(&self, request: &SignRequest, wishes: &Wishes) -> Result<Vec<Candidate<'_>>, String> {
        let key_of = |certificate: &Certificate| self.keys.iter().find(|key| key.belongs_to(certificate));
        let mut candidates = Vec::new();
        for certificate in &wishes.own {
            let key = key_of(certificate)
                .ok_or_else(|| format!("the private key of our certificate {certificate} is not there"))?;
            pki::certifies(certificate, &request.local).map_err(|mismatch| format!("our {mismatch}"))?;
            candidates.push(Candidate { key, chain: self.chain(certificate) });
        }
        for public in &wishes.own_keys {
            let is_its = |key: &&PrivateKey| key.public_key_info() == public.to_der();
            let key = self.keys.iter().find(is_its);
            let key =
                key.ok_or_else(|| format!("the private key of our public key {public} is not there"))?;
            candidates.push(Candidate { key, chain: Vec::new() });
        }
        if candidates.is_empty() {
            let fitting = self.certificates.iter().filter(|own| pki::certifies(own, &request.local).is_ok());
            candidates.extend(fitting.filter_map(|certificate| {
                Some(Candidate { key: key_of(certificate)?, chain: self.chain(certificate) })
            }));
        }
        Ok(candidates)
    }

    /// Gives a certificate and those above it, as far as we have them, without the CA at the top.
    fn chain(&self, end: &Certificate) -> Vec<Certificate> {
        let mut chain = vec![end.clone()];
        while let Some(last) = chain.last().filter(|last| !last.is_self_issued())
            && chain.len() < limits::MAX_PATH_CERTIFICATES
        {
            let issued = |issuer: &&Certificate| {
                issuer.subject() == last.issuer()
                    && issuer.key().is_ok_and(|key| last.verify_signature(key).is_ok())
            };
            match self.certificates.iter().chain(&self.anchors).find(issued) {
                // Whoever is trusted here is trusted, or unknown, there; his own certificate shows nothing.
                Some(issuer) if !issuer.is_self_issued() => chain.push(issuer.clone()),
                Some(_) | None => break,
            }
        }
        chain
    }
}

/// Tells whether a chain leads to a CA that the peer trusts.
fn is_below(chain: &[Certificate], wanted: &[AuthorityName], anchors: &[Certificate]) -> bool {
    let above = chain
        .last()
        .into_iter()
        .flat_map(|last| anchors.iter().filter(move |anchor| anchor.subject() == last.issuer()));
    let is_named = |ca: &Certificate| {
        let key_id = authority_id(ca);
        wanted.iter().any(|name| match name {
            AuthorityName::KeyId(id) => *id == key_id,
            AuthorityName::Subject(subject) => subject == ca.subject(),
        })
    };
    chain.iter().skip(1).chain(above).any(is_named)
}

fn sign_with(key: &PrivateKey, request: &SignRequest) -> Result<Signed, String> {
    let key = key.signing_key();
    let scheme = request.scheme(key.verifying_key()).map_err(|fault| fault.to_string())?;
    let signature = key.sign(scheme, &request.message).map_err(|fault| fault.to_string())?;
    let algorithm = algorithm::scheme_to_der(scheme).unwrap_or_default();
    Ok(Signed { certificates: Vec::new(), scheme, algorithm, signature })
}

fn encoded(certificate: &Certificate) -> ike::Certificate {
    let data = certificate.to_der().to_vec();
    ike::Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data }
}
