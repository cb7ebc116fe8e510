//! Our own signature: which key makes it, and which certificates go with it.
//!
//! A certificate that the connection names is used, and must be for the identity that we claim. Where it names none, any
//! that is for the identity and whose key we have may be; one below a CA that the peer trusts comes first.

use crypto::hash;
use crypto::signature::KeyKind;
use ike::{AuthorityName, Connection, Identity, SignRequest, SignatureForm, Signed};
use pki::ocsp::Response;
use pki::{Certificate, Demands, PrivateKey, PublicKey, Purpose, Time, ValidPath, Weak, algorithm, limits};
use sa::SendCertificate;
use wire::registry::CertificateEncoding;

use crate::{Credentials, Wishes, authority_id};

/// A signature of ours, and the certificate whose key has made it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The signature, with what is sent to show whose it is.
    pub signed: Signed,
    /// The certificate, sent or not; `None` for a key that the peer knows without one.
    pub certificate: Option<Certificate>,
}

/// A key that may sign, and the certificates that show whose it is: its own first.
#[derive(Clone)]
pub(crate) struct Candidate<'a> {
    pub(crate) key: &'a PrivateKey,
    pub(crate) chain: Vec<Certificate>,
    /// The public key, where the peer is to know it without a certificate.
    raw: Option<&'a PublicKey>,
}

impl Credentials {
    /// Signs in our name.
    ///
    /// # Errors
    /// We have no key for it, or none that the peer and the connection allow; one sentence.
    pub fn sign(&self, request: &SignRequest) -> Result<Shown, String> {
        let wishes = self.wishes(&request.connection.name, request.round);
        let wanted = request.authorities.as_deref().unwrap_or_default();
        let mut candidates = self.candidates(&request.local, &wishes)?;
        // A stable sort: of equals the first that is configured.
        candidates.sort_by_key(|candidate| !is_below(&candidate.chain, wanted, &self.anchors));
        // RFC 9593 §3: what the peer has announced comes first; it may still take what it has not.
        let announced = request.announced.as_deref();
        let tries = [announced, None].into_iter().skip(usize::from(announced.is_none()));
        let mut refusal = None;
        for (among, candidate) in tries.flat_map(|among| candidates.iter().map(move |own| (among, own))) {
            let Candidate { key, chain, raw } = candidate.clone();
            match sign_with(key, request, among) {
                Ok(signed) => {
                    let certificates = self.payloads(request, &chain, raw);
                    return Ok(Shown {
                        signed: Signed { certificates, ..signed },
                        certificate: chain.into_iter().next(),
                    });
                }
                Err(fault) if among.is_none() => refusal = refusal.or(Some(fault)),
                Err(_) => {}
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

    /// Gives what is sent of a chain, in the form that the peer takes.
    fn payloads(
        &self,
        request: &SignRequest,
        chain: &[Certificate],
        raw: Option<&PublicKey>,
    ) -> Vec<ike::Certificate> {
        let is_sent = match request.connection.certificates.send {
            SendCertificate::Always => true,
            SendCertificate::IfAsked if raw.is_some() => request.takes_raw_key,
            // In IKEv1, clients such as vpnc ask for nothing, and cannot go on without it.
            SendCertificate::IfAsked => {
                request.authorities.is_some() || matches!(request.form, SignatureForm::Bare(_))
            }
            SendCertificate::Never => false,
        };
        if !is_sent {
            return Vec::new();
        }
        let place = |certificate: &Certificate| {
            self.places
                .iter()
                .find(|place| request.can_look_up && place.authority.subject() == certificate.issuer())
        };
        let certificates = chain.iter().map(|certificate| match place(certificate) {
            Some(place) => reference(certificate, &place.base),
            None => encoded(certificate),
        });
        let issuers = || chain.iter().chain(&self.anchors);
        let is_about = |response: &&Response| {
            chain.first().is_some_and(|own| issuers().any(|issuer| response.validity(own, issuer).is_some()))
        };
        let responses = self.responses.iter().filter(|_| request.wants_ocsp).filter(is_about);
        let raw = raw.map(|key| ike::Certificate {
            encoding: CertificateEncoding::RAW_PUBLIC_KEY,
            data: key.to_der().to_vec(),
        });
        raw.into_iter().chain(certificates).chain(responses.map(ocsp_payload)).collect()
    }

    /// Finds the path of a certificate of ours, as far as we can know what a peer trusts: to a CA that we trust.
    pub fn own_path(&self, certificate: &Certificate, request: &SignRequest, now: Time) -> Option<ValidPath> {
        let wishes = self.wishes(&request.connection.name, request.round);
        let others = [wishes.behind.as_slice(), &self.certificates].concat();
        let anchors = [wishes.anchors.as_slice(), &self.anchors].concat();
        let demands = Demands { now, purpose: Purpose::Any, weak: Weak::Allowed, policies: &[] };
        pki::validate(certificate, &others, &anchors, &demands).ok()
    }

    /// Finds the keys that prove us to be this one, the best first.
    pub(crate) fn candidates<'a>(
        &'a self,
        local: &Identity,
        wishes: &'a Wishes,
    ) -> Result<Vec<Candidate<'a>>, String> {
        let key_of = |certificate: &Certificate| self.keys.iter().find(|key| key.belongs_to(certificate));
        let mut candidates = Vec::new();
        for certificate in &wishes.own {
            let key = key_of(certificate)
                .ok_or_else(|| format!("the private key of our certificate {certificate} is not there"))?;
            pki::certifies(certificate, local).map_err(|mismatch| format!("our {mismatch}"))?;
            candidates.push(Candidate { key, chain: self.chain(certificate, &wishes.behind), raw: None });
        }
        for public in &wishes.own_keys {
            let is_its = |key: &&PrivateKey| key.public_key_info() == public.to_der();
            let key = self.keys.iter().find(is_its);
            let key =
                key.ok_or_else(|| format!("the private key of our public key {public} is not there"))?;
            candidates.push(Candidate { key, chain: Vec::new(), raw: Some(public) });
        }
        if candidates.is_empty() {
            let fitting = self.certificates.iter().filter(|own| pki::certifies(own, local).is_ok());
            candidates.extend(fitting.filter_map(|certificate| {
                Some(Candidate { key: key_of(certificate)?, chain: self.chain(certificate, &[]), raw: None })
            }));
        }
        Ok(candidates)
    }

    /// Gives a certificate and those above it, as far as we have them, without the CA at the top.
    fn chain(&self, end: &Certificate, behind: &[Certificate]) -> Vec<Certificate> {
        let mut chain = vec![end.clone()];
        while let Some(last) = chain.last().filter(|last| !last.is_self_issued())
            && chain.len() < limits::MAX_PATH_CERTIFICATES
        {
            let issued = |issuer: &&Certificate| {
                issuer.subject() == last.issuer()
                    && issuer.key().is_ok_and(|key| last.verify_signature(key).is_ok())
            };
            match behind.iter().chain(&self.certificates).chain(&self.anchors).find(issued) {
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

fn sign_with(key: &PrivateKey, request: &SignRequest, among: Option<&[Vec<u8>]>) -> Result<Signed, String> {
    let is_announced = |scheme| {
        let name = || algorithm::scheme_to_der(scheme).unwrap_or_default();
        among.is_none_or(|announced| announced.contains(&name()))
    };
    let key = key.signing_key();
    let scheme =
        request.scheme_among(key.verifying_key(), is_announced).map_err(|fault| fault.to_string())?;
    let signature = key.sign(scheme, &request.message).map_err(|fault| fault.to_string())?;
    let algorithm = algorithm::scheme_to_der(scheme).unwrap_or_default();
    Ok(Signed { certificates: Vec::new(), scheme, algorithm, signature })
}

/// RFC 7296 §3.6: the SHA-1 digest of the certificate, then where it is.
fn reference(certificate: &Certificate, base: &str) -> ike::Certificate {
    let digest = hash::SHA1.digest(&[certificate.to_der()]);
    let name: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    let data = [digest.as_slice(), base.as_bytes(), name.as_bytes()].concat();
    ike::Certificate { encoding: CertificateEncoding::HASH_AND_URL_X509, data }
}

/// Encodes what OCSP says of a certificate for the peer (RFC 4806 §3.2).
pub fn ocsp_payload(response: &Response) -> ike::Certificate {
    ike::Certificate { encoding: CertificateEncoding::OCSP, data: response.to_der().to_vec() }
}

pub(crate) fn encoded(certificate: &Certificate) -> ike::Certificate {
    let data = certificate.to_der().to_vec();
    ike::Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data }
}
