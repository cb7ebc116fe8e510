//! What an end asks for of the other's certificates.
//!
//! ```text
//!   CERTREQ 4                        certificates, below these CAs                      RFC 7296 §3.7
//!   N(SUPPORTED_AUTH_METHODS)        which signatures it may make                       RFC 9593
//!   CERTREQ 14                       what OCSP says of them, from the peer itself       RFC 4806 §3
//!   N(HTTP_CERT_LOOKUP_SUPPORTED)    their digest, and where to fetch them, is enough   RFC 7296 §3.6
//! ```
//!
//! The initiator asks in its IKE_AUTH request, the responder in its IKE_SA_INIT response.

use wire::registry::{AuthMethod, CertificateEncoding, NotifyType};
use wire::v2::{AnnouncedMethod, CertificateRequest, Notify, Payload};

use crate::context::Context;
use crate::{Authentication, Connection, limits};

/// Asks for certificates of the CAs that we trust, if the peer of one of these connections proves itself by a signature.
pub(in crate::v2) fn certificate_request<'a>(
    cx: &Context,
    connections: impl IntoIterator<Item = &'a Connection>,
) -> Vec<Payload> {
    let is_signature = |authentication: &Authentication| match authentication {
        Authentication::Signature(_) => true,
        Authentication::PreSharedKey
        | Authentication::Null
        | Authentication::User
        | Authentication::Encryption(_) => false,
    };
    let signs = |connection: &&Connection| {
        connection.certificates.asks && connection.peer_authentications().any(is_signature)
    };
    let possible: Vec<&Connection> = connections.into_iter().collect();
    let asking: Vec<&Connection> = possible.iter().copied().filter(signs).collect();
    if cx.authorities.is_empty() || asking.is_empty() {
        return Vec::new();
    }
    let authorities = cx.authorities.iter().take(limits::AUTHORITIES_NAMED);
    let authorities = authorities.flat_map(|authority| authority.key_id).collect();
    let request =
        |encoding, authorities| Payload::CertificateRequest(CertificateRequest { encoding, authorities });
    let mut payloads = vec![request(CertificateEncoding::X509_SIGNATURE, authorities)];
    if asking.iter().any(|connection| connection.certificates.ocsp.requests()) {
        // RFC 4806 §3.1: that nobody is named means whoever the certificate's own CA has answer for it.
        payloads.push(request(CertificateEncoding::OCSP, Vec::new()));
    }
    payloads.extend(announcement(cx, &possible));
    if cx.settings.certificate_lookup {
        payloads.push(Payload::Notify(Notify::new(NotifyType::HTTP_CERT_LOOKUP_SUPPORTED, [])));
    }
    payloads
}

/// RFC 9593 §3.1: which ways of proof are taken. A key's length, which some terms demand, cannot be said.
fn announcement(cx: &Context, connections: &[&Connection]) -> Option<Payload> {
    let is_taken = |fits: &dyn Fn(&Authentication) -> bool| {
        connections.iter().any(|connection| connection.peer_authentications().any(fits))
    };
    let by_secret = |authentication: &Authentication| match authentication {
        Authentication::PreSharedKey => true,
        Authentication::Signature(_)
        | Authentication::Null
        | Authentication::User
        | Authentication::Encryption(_) => false,
    };
    let by_nothing = |authentication: &Authentication| *authentication == Authentication::Null;
    let plain = |method| AnnouncedMethod { method, link: None, algorithm: Vec::new() };
    let secret = is_taken(&by_secret).then(|| plain(AuthMethod::SHARED_KEY));
    let nothing = is_taken(&by_nothing).then(|| plain(AuthMethod::NULL));
    let signatures = cx.settings.announced_signatures.iter().filter(|(scheme, _)| {
        is_taken(&|authentication| match authentication {
            Authentication::Signature(terms) => terms.rank(*scheme, usize::MAX).is_some(),
            Authentication::PreSharedKey
            | Authentication::Null
            | Authentication::User
            | Authentication::Encryption(_) => false,
        })
    });
    let signatures = signatures.map(|(_, algorithm)| AnnouncedMethod {
        method: AuthMethod::DIGITAL_SIGNATURE,
        link: Some(0),
        algorithm: algorithm.clone(),
    });
    let methods: Vec<AnnouncedMethod> = secret.into_iter().chain(signatures).chain(nothing).collect();
    // One that is empty would say that the list comes in IKE_INTERMEDIATE.
    (!methods.is_empty()).then(|| Payload::Notify(Notify::auth_methods(&methods)))
}
