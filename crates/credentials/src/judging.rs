//! The peer's key: whose certificate it is in, and whether anybody whom we trust says so.
//!
//! ```text
//!   1. read what the peer sent              the first certificate is its own (RFC 7296 §3.6)
//!   2. or take what we have                 it may have sent none, since we know it
//!   3. a path to a CA that we trust         pki::validate
//!   4. the certificate is for the identity  pki::certifies
//!   5. nothing on the path is revoked       the caller's affair: it may have to ask
//! ```

use crypto::signature::{KeyKind, SignatureScheme};
use ike::{Authentication, TrustRequest, TrustedKey};
use pki::ocsp::Response;
use pki::revocation::Strictness;
use pki::{Certificate, Demands, PublicKey, Purpose, Time, ValidPath, Weak, algorithm, pkcs7};
use sa::{KeyFamily, SignatureTerms, WeakSignatures};
use wire::registry::CertificateEncoding;

use crate::{Credentials, Wishes};

/// A peer whose certificate is good, as long as it is not revoked.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Its key.
    pub(crate) trusted: TrustedKey,
    /// How it is known to be its key; `None` where the configuration says so.
    pub(crate) path: Option<ValidPath>,
    pub(crate) strictness: Strictness,
    pub(crate) weak: Weak,
    /// What the peer itself brought of OCSP (RFC 4806).
    pub(crate) responses: Vec<Response>,
}

impl Judgement {
    /// Gives the certificates that may be revoked.
    pub fn path(&self) -> Option<&ValidPath> {
        self.path.as_ref()
    }

    /// Gives the OCSP responses that the peer brought itself (RFC 4806). Whether they count is not known yet.
    pub fn responses(&self) -> &[Response] {
        &self.responses
    }

    /// Tells what follows where nobody knows whether one is.
    pub fn strictness(&self) -> Strictness {
        self.strictness
    }

    /// Tells whether signatures that can be forged are accepted on the way to that answer.
    pub fn weak(&self) -> Weak {
        self.weak
    }
}

impl Credentials {
    /// Finds the key of a peer, and whether somebody whom we trust says that it is the peer's.
    ///
    /// # Errors
    /// Nobody does; one sentence.
    pub fn judge(&self, request: &TrustRequest, now: Time) -> Result<Judgement, String> {
        let need = match request.connection.peer_authentication(request.round) {
            Some(Authentication::Signature(terms)) => Need::Signature(terms),
            Some(Authentication::Encryption(_)) => Need::Encryption,
            Some(Authentication::PreSharedKey | Authentication::Null | Authentication::User) | None => {
                return Err(format!("{} is not to prove itself by a key", request.remote));
            }
        };
        let wishes = self.wishes(&request.connection.name, request.round);
        let scheme = request.algorithm.as_deref().map(algorithm::scheme_from_der).transpose();
        let scheme = scheme.map_err(|unknown| format!("{} signs with {unknown}", request.remote))?;
        let weak = need.weak();
        let sent = read(&request.certificates)?;
        if sent.certificates.is_empty()
            && let Some(key) = known_key(&wishes, sent.raw_key.as_ref(), need, scheme)
        {
            let trusted = trusted(key, scheme, None, None)?;
            let (strictness, responses) = (wishes.revocation, Vec::new());
            return Ok(Judgement { trusted, path: None, strictness, weak, responses });
        }
        let end = self.end(request, &wishes, &sent.certificates)?;
        let sent_above = sent.certificates.get(1..).unwrap_or_default();
        let others = [sent_above, &wishes.behind, &self.certificates].concat();
        let anchors = match (wishes.peer.as_slice(), wishes.anchors.as_slice()) {
            ([], []) => &self.anchors,
            ([], anchors) => anchors,
            (certificates, _) => certificates,
        };
        let demands = Demands { now, purpose: Purpose::Ike, weak, policies: &wishes.policies };
        let path = pki::validate(end, &others, anchors, &demands).map_err(|refusal| refusal.to_string())?;
        pki::certifies(end, &request.remote).map_err(|mismatch| mismatch.to_string())?;
        if matches!(need, Need::Encryption) && !path.key().is_for(SignatureScheme::RsaBare) {
            return Err(format!("the key of {end} is not one that others may encrypt to"));
        }
        let trusted = trusted(path.key(), scheme, path.addresses(), Some(end))?;
        let (strictness, responses) = (wishes.revocation, sent.responses);
        Ok(Judgement { trusted, path: Some(path), strictness, weak, responses })
    }

    /// Finds the peer's own certificate: the first that it sent, or else one that we have.
    fn end<'a>(
        &'a self,
        request: &TrustRequest,
        wishes: &'a Wishes,
        sent: &'a [Certificate],
    ) -> Result<&'a Certificate, String> {
        let known = if wishes.peer.is_empty() { &self.certificates } else { &wishes.peer };
        let end = sent.first().or_else(|| {
            known.iter().find(|certificate| pki::certifies(certificate, &request.remote).is_ok())
        });
        let end =
            end.ok_or_else(|| format!("{} sent no certificate, and we have none of it", request.remote))?;
        if !wishes.peer.is_empty() && !wishes.peer.contains(end) {
            let named: Vec<_> = wishes.peer.iter().map(ToString::to_string).collect();
            return Err(format!(
                "the certificate {end} is not one of those that the connection {} names: {}",
                request.connection.name,
                named.join(", ")
            ));
        }
        Ok(end)
    }
}

/// What the key is to do.
#[derive(Clone, Copy)]
enum Need<'a> {
    /// Its owner signs.
    Signature(&'a SignatureTerms),
    /// Others encrypt to it.
    Encryption,
}

impl Need<'_> {
    /// Tells whether signatures that can be forged are accepted above the key.
    fn weak(self) -> Weak {
        match self {
            Need::Signature(SignatureTerms { weak: WeakSignatures::Allowed, .. }) => Weak::Allowed,
            Need::Signature(SignatureTerms { weak: WeakSignatures::Refused, .. }) | Need::Encryption => {
                Weak::Refused
            }
        }
    }
}

/// What a peer sent in its CERT payloads.
struct Sent {
    certificates: Vec<Certificate>,
    raw_key: Option<PublicKey>,
    responses: Vec<Response>,
}

/// Reads CERT payloads. What is of a form that we do not ask for is passed over.
fn read(payloads: &[ike::Certificate]) -> Result<Sent, String> {
    let mut sent = Sent { certificates: Vec::new(), raw_key: None, responses: Vec::new() };
    for ike::Certificate { encoding, data } in payloads {
        match *encoding {
            CertificateEncoding::X509_SIGNATURE | CertificateEncoding::X509_KEY_EXCHANGE => {
                let certificate = Certificate::from_der(data)
                    .map_err(|fault| format!("the peer's certificate cannot be read: {fault}"))?;
                sent.certificates.push(certificate);
            }
            CertificateEncoding::PKCS7_WRAPPED_X509 => {
                let bundle = pkcs7::Bundle::from_der(data)
                    .map_err(|fault| format!("the peer's certificates cannot be read: {fault}"))?;
                sent.certificates.extend(bundle.certificates);
            }
            CertificateEncoding::RAW_PUBLIC_KEY => {
                let key = PublicKey::from_der(data)
                    .map_err(|fault| format!("the peer's public key cannot be read: it is one {fault}"))?;
                sent.raw_key = Some(key);
            }
            // RFC 4806 §4.2: what cannot be read is as good as none.
            CertificateEncoding::OCSP => sent.responses.extend(Response::from_der(data)),
            _ => {}
        }
    }
    Ok(sent)
}

/// Finds the configured key that the peer sent, or, if it sent none, one that can have made the signature.
fn known_key<'a>(
    wishes: &'a Wishes,
    sent: Option<&PublicKey>,
    need: Need<'_>,
    scheme: Option<SignatureScheme>,
) -> Option<&'a PublicKey> {
    let can_have_signed = |key: &&PublicKey| match (need, scheme) {
        (Need::Signature(terms), Some(scheme)) => {
            family_of(scheme).includes(key.kind()) && terms.rank(scheme, key.bits()).is_some()
        }
        (Need::Signature(_), None) => true,
        (Need::Encryption, _) => key.kind() == KeyKind::Rsa && key.is_for(SignatureScheme::RsaBare),
    };
    wishes.peer_keys.iter().find(|key| match sent {
        Some(sent) => sent == *key,
        None => can_have_signed(key),
    })
}

fn family_of(scheme: SignatureScheme) -> KeyFamily {
    match scheme {
        SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPss { .. } | SignatureScheme::RsaBare => {
            KeyFamily::Rsa
        }
        SignatureScheme::Ecdsa(_) | SignatureScheme::EcdsaFixed(_) | SignatureScheme::EcdsaBare => {
            KeyFamily::Ecdsa
        }
        SignatureScheme::Ed25519 => KeyFamily::Ed25519,
        SignatureScheme::Ed448 => KeyFamily::Ed448,
        SignatureScheme::MlDsa(set) => KeyFamily::MlDsa(set),
    }
}

fn trusted(
    key: &PublicKey,
    scheme: Option<SignatureScheme>,
    addresses: Option<&pki::Addresses>,
    certificate: Option<&Certificate>,
) -> Result<TrustedKey, String> {
    if let Some(scheme) = scheme.filter(|scheme| !key.is_for(*scheme)) {
        return Err(format!("the peer signs by {scheme}, and its key is for RSA-PSS only"));
    }
    let addresses = addresses.map(|addresses| addresses.ranges().to_vec());
    let certificate = certificate.map(|certificate| certificate.to_der().to_vec());
    Ok(TrustedKey { key: key.verifying_key().clone(), scheme, addresses, certificate })
}
