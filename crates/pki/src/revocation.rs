//! Whether a certificate of a valid path is revoked, and what follows where nobody knows.
//!
//! | | revoked | not revoked | unknown |
//! |---|---|---|---|
//! | `strict` | refused | accepted | refused |
//! | `ifuri` | refused | accepted | refused if the certificate names where to ask |
//! | `relaxed` | refused | accepted | accepted |

use thiserror::Error;

use crate::crl::{self, Crl, CrlFault, Revoked, Status};
use crate::ocsp::{OcspFault, Question, Response};
use crate::validation::Weak;
use crate::{Certificate, Demands, Purpose, Time, ValidPath, limits, path};

/// What follows where nobody knows whether a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// It is refused.
    Strict,
    /// It is refused if it says where to ask.
    IfUri,
    /// It is accepted.
    Relaxed,
}

/// What is at hand about revocation, from wherever it came.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Lists, complete and delta.
    pub crls: &'a [Crl],
    /// OCSP responses.
    pub responses: &'a [Response],
    /// The nonce of our own question, if a response answers one.
    pub nonce: Option<&'a [u8]>,
    /// Certificates among which those of lists' signers may be.
    pub certificates: &'a [Certificate],
}

/// Says that a certificate is not accepted because of revocation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RevocationRefusal {
    /// It is revoked.
    #[error("the certificate {certificate} was revoked on {} ({})", revoked.at, revoked.reason)]
    Revoked {
        /// Its subject.
        certificate: String,
        /// When and why.
        revoked: Revoked,
    },
    /// Nobody knows, and that is not enough.
    #[error("whether the certificate {certificate} is revoked is not known: {why}")]
    Unknown {
        /// Its subject.
        certificate: String,
        /// Why not.
        why: String,
    },
}

/// Checks every certificate of a path but the trust anchor's.
///
/// # Errors
/// One is revoked, or that nobody knows is not enough.
pub fn check(
    path: &ValidPath,
    evidence: &Evidence<'_>,
    strictness: Strictness,
    now: Time,
    weak: Weak,
) -> Result<(), RevocationRefusal> {
    for (certificate, issuer) in path.with_issuers() {
        match status(certificate, issuer, path, evidence, now, weak) {
            Status::Good => {}
            Status::Revoked(revoked) => {
                return Err(RevocationRefusal::Revoked { certificate: certificate.to_string(), revoked });
            }
            Status::Unknown(why) if is_too_little(certificate, strictness) => {
                return Err(RevocationRefusal::Unknown { certificate: certificate.to_string(), why });
            }
            Status::Unknown(_) => {}
        }
    }
    Ok(())
}

fn is_too_little(certificate: &Certificate, strictness: Strictness) -> bool {
    match strictness {
        Strictness::Strict => true,
        Strictness::IfUri => certificate.ocsp_uris().chain(certificate.crl_uris()).next().is_some(),
        Strictness::Relaxed => false,
    }
}

/// Finds out what is known of one certificate of a path: what OCSP says, or else what the lists say.
pub fn status(
    certificate: &Certificate,
    issuer: &Certificate,
    path: &ValidPath,
    evidence: &Evidence<'_>,
    now: Time,
    weak: Weak,
) -> Status<String> {
    let signers = signers(issuer, path, evidence, now, weak);
    let of_ocsp = ocsp_status(certificate, issuer, &signers, evidence, now, weak);
    let of_lists = crl::status(certificate, &signers, evidence.crls, now, weak);
    match (of_ocsp, of_lists) {
        (Status::Revoked(revoked), _) | (Status::Unknown(_), Status::Revoked(revoked)) => {
            Status::Revoked(revoked)
        }
        (Status::Good, _) | (Status::Unknown(_), Status::Good) => Status::Good,
        (Status::Unknown(OcspFault::Missing), Status::Unknown(fault)) => Status::Unknown(fault.to_string()),
        (Status::Unknown(fault), Status::Unknown(CrlFault::Missing { .. })) => {
            Status::Unknown(fault.to_string())
        }
        (Status::Unknown(ocsp), Status::Unknown(list)) => Status::Unknown(format!("{ocsp}; {list}")),
    }
}

/// Checks that a list was signed by somebody who may sign lists about what `issuer` issued.
///
/// # Errors
/// It was not.
pub fn authenticate(
    crl: &Crl,
    issuer: &Certificate,
    path: &ValidPath,
    certificates: &[Certificate],
    now: Time,
    weak: Weak,
) -> Result<(), CrlFault> {
    let evidence = Evidence { crls: std::slice::from_ref(crl), responses: &[], nonce: None, certificates };
    let mut fault = CrlFault::BadSignature { by: crl.issuer().to_string() };
    for signer in signers(issuer, path, &evidence, now, weak) {
        match crl.verify(&signer, weak) {
            Ok(()) if signer.subject() == crl.issuer() => return Ok(()),
            Ok(()) => {}
            Err(why) => fault = why,
        }
    }
    Err(fault)
}

/// Whoever may have signed lists about what `issuer` issued: the issuer itself, and those who are valid for it below the
/// same trust anchor (RFC 5280 §6.3.3 (f)).
fn signers(
    issuer: &Certificate,
    path: &ValidPath,
    evidence: &Evidence<'_>,
    now: Time,
    weak: Weak,
) -> Vec<Certificate> {
    let demands = Demands { now, purpose: Purpose::Crl, weak, policies: &[] };
    let wanted = evidence
        .certificates
        .iter()
        .filter(|own| *own != issuer && evidence.crls.iter().any(|crl| crl.issuer() == own.subject()));
    let anchors = &path.certificates()[path.certificates().len() - 1..];
    let intermediates = [path.certificates(), evidence.certificates].concat();
    let valid = wanted
        .take(limits::MAX_CRL_SIGNERS)
        .filter(|own| path::validate(own, &intermediates, anchors, &demands).is_ok());
    std::iter::once(issuer).chain(valid).cloned().collect()
}

fn ocsp_status(
    certificate: &Certificate,
    issuer: &Certificate,
    signers: &[Certificate],
    evidence: &Evidence<'_>,
    now: Time,
    weak: Weak,
) -> Status<OcspFault> {
    let mut fault = OcspFault::Missing;
    for response in evidence.responses {
        let question = Question { now, weak, nonce: evidence.nonce };
        match response.status(certificate, issuer, &question) {
            Status::Unknown(OcspFault::Missing) => {}
            Status::Unknown(why) => fault = why,
            status @ (Status::Good | Status::Revoked(_)) => {
                let lists =
                    |delegate: &&Certificate| crl::status(delegate, signers, evidence.crls, now, weak);
                match response.delegate(issuer).filter(|own| !own.extensions().ocsp_no_check) {
                    Some(delegate) if matches!(lists(&delegate), Status::Revoked(_)) => {
                        fault = OcspFault::MayNotSign(format!("the certificate {delegate} is revoked"));
                    }
                    Some(_) | None => return status,
                }
            }
        }
    }
    Status::Unknown(fault)
}
