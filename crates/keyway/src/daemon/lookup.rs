//! Certificates of which a peer says only where they are, and their digest (RFC 7296 §3.6: hash and URL).
//!
//! ```text
//!   CERT 12   SHA-1 of a certificate, URL ── GET ──► the certificate             as if it had come in CERT 4
//!   CERT 13   SHA-1 of a bundle, URL ─────── GET ──► certificates and lists      the same for each certificate
//! ```
//!
//! The peer is nobody yet when it says where to fetch from. So this is done only where the daemon was started with
//! `--hash-and-url`, and within the bounds of all fetching.

use crypto::hash;
use ike::Certificate;
use pki::{bundle, limits};
use wire::registry::CertificateEncoding;

use super::fetch::Fetcher;

/// Octets of the digest in front of the URL.
const DIGEST_LEN: usize = 20;

/// Tells whether something is to be fetched.
pub(crate) fn is_needed(certificates: &[Certificate]) -> bool {
    certificates.iter().any(|certificate| is_elsewhere(certificate.encoding))
}

fn is_elsewhere(encoding: CertificateEncoding) -> bool {
    [CertificateEncoding::HASH_AND_URL_X509, CertificateEncoding::HASH_AND_URL_BUNDLE].contains(&encoding)
}

/// Puts certificates in the place of where they are.
///
/// # Errors
/// One cannot be had; one sentence.
pub(crate) async fn look_up(
    fetcher: &Fetcher,
    certificates: Vec<Certificate>,
) -> Result<Vec<Certificate>, String> {
    let mut whole = Vec::new();
    for certificate in certificates {
        if is_elsewhere(certificate.encoding) {
            whole.extend(fetch(fetcher, &certificate).await?);
        } else {
            whole.push(certificate);
        }
    }
    Ok(whole)
}

async fn fetch(fetcher: &Fetcher, certificate: &Certificate) -> Result<Vec<Certificate>, String> {
    let parts = certificate.data.split_at_checked(DIGEST_LEN);
    let (digest, uri) =
        parts.ok_or("the peer does not say where its certificate is: its payload is too short")?;
    let uri = std::str::from_utf8(uri).map_err(|_| "the peer says in no text where its certificate is")?;
    let of_peer = |fault: String| format!("the peer's certificate is not to be had from {uri}: {fault}");
    let octets = fetcher.get(uri, limits::MAX_CERTIFICATE_OCTETS).await.map_err(of_peer)?;
    if hash::SHA1.digest(&[&octets]) != digest {
        return Err(of_peer("what is there is something else than the peer means".to_owned()));
    }
    let ders = if certificate.encoding == CertificateEncoding::HASH_AND_URL_BUNDLE {
        bundle::certificates(&octets).map_err(|fault| of_peer(fault.to_string()))?
    } else {
        vec![octets]
    };
    let whole = |data| Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data };
    Ok(ders.into_iter().map(whole).collect())
}
