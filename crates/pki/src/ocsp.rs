//! The Online Certificate Status Protocol (RFC 6960): a question to encode, and an answer to verify.
//!
//! ```text
//!   OCSPRequest  ─ the certificate: digests of its issuer's name and key, its serial number; a nonce
//!   OCSPResponse ─ good, revoked or unknown, from when until when; signed by the issuer or by whom it delegates to
//! ```
//!
//! Who carries them is nothing that this module knows: HTTP, or IKE itself (RFC 4806).

use std::sync::Arc;

use crypto::signature::SignatureHash;
use der::asn1::{
    AnyRef, ContextSpecific, GeneralizedTime, IntRef, Null, ObjectIdentifier, OctetString, OctetStringRef,
};
use der::{Choice, Decode, Encode, Enumerated, Reader, Sequence, SliceReader, Tag, Tagged};
use sa::DistinguishedName;
use thiserror::Error;
use x509_cert::ext::Extension;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::algorithm::{hash_identifier, hash_of};
use crate::crl::{RevocationReason, Revoked, Status};
use crate::extensions::read_any_name;
use crate::signed::Signed;
use crate::validation::{self, Weak, is_weak_scheme};
use crate::{Certificate, Malformed, Purpose, Time, limits};

/// Which certificate is meant.
#[derive(Clone, Debug, Sequence)]
struct CertId<'a> {
    hash: AlgorithmIdentifierRef<'a>,
    issuer_name_hash: &'a OctetStringRef,
    issuer_key_hash: &'a OctetStringRef,
    serial: IntRef<'a>,
}

/// Encodes a question about a certificate. A nonce of 16 to 32 octets (RFC 8954) ties the answer to the question.
pub fn request(certificate: &Certificate, issuer: &Certificate, nonce: Option<&[u8]>) -> Vec<u8> {
    encode_request(certificate, issuer, nonce).unwrap_or_default()
}

fn encode_request(
    certificate: &Certificate,
    issuer: &Certificate,
    nonce: Option<&[u8]>,
) -> der::Result<Vec<u8>> {
    #[derive(Sequence)]
    struct Request<'a> {
        certificate: CertId<'a>,
    }
    #[derive(Sequence)]
    struct Tbs<'a> {
        requests: Vec<Request<'a>>,
        #[asn1(context_specific = "2", optional = "true")]
        extensions: Option<Vec<Extension>>,
    }
    #[derive(Sequence)]
    struct OcspRequest<'a> {
        tbs: Tbs<'a>,
    }
    // RFC 5019 §2.1.1: the digests are SHA-1, which every responder knows. Nothing depends on their strength.
    let hash = SignatureHash::Sha1;
    let (name, key) = issuer_digests(hash, certificate, issuer)?;
    let certificate = CertId {
        hash: hash_identifier(hash),
        issuer_name_hash: OctetStringRef::new(&name)?,
        issuer_key_hash: OctetStringRef::new(&key)?,
        serial: IntRef::new(certificate.serial())?,
    };
    let extensions = nonce.map(nonce_extensions).transpose()?;
    OcspRequest { tbs: Tbs { requests: vec![Request { certificate }], extensions } }.to_der()
}

/// RFC 8954 §2.1: the nonce is an OCTET STRING.
fn nonce_extensions(nonce: &[u8]) -> der::Result<Vec<Extension>> {
    let value = OctetStringRef::new(nonce)?.to_der()?;
    Ok(vec![Extension { extn_id: NONCE, critical: false, extn_value: OctetString::new(value)? }])
}

/// The digests by which a CertID names an issuer.
fn issuer_digests(
    hash: SignatureHash,
    certificate: &Certificate,
    issuer: &Certificate,
) -> der::Result<(Vec<u8>, Vec<u8>)> {
    let digest = |octets: &[u8]| hash.function().digest(&[octets]);
    let info = SubjectPublicKeyInfoRef::from_der(issuer.key_info())?;
    Ok((digest(certificate.issuer().to_der()), digest(info.subject_public_key.raw_bytes())))
}

/// An answer, read.
#[derive(Clone, Debug)]
pub struct Response {
    der: Arc<[u8]>,
    signed: Signed,
    responder: Responder,
    produced_at: Time,
    answers: Vec<Answer>,
    nonce: Option<Vec<u8>>,
    unknown_critical: Option<ObjectIdentifier>,
    certificates: Vec<Certificate>,
}

#[derive(Clone, Debug)]
enum Responder {
    Name(DistinguishedName),
    /// The SHA-1 digest of its public key.
    Key(Vec<u8>),
}

/// What is said of one certificate.
#[derive(Clone, Debug)]
struct Answer {
    hash: Option<SignatureHash>,
    issuer_name_hash: Vec<u8>,
    issuer_key_hash: Vec<u8>,
    serial: Vec<u8>,
    /// `None` if the responder does not know the certificate.
    status: Option<Result<(), Revoked>>,
    this_update: Time,
    next_update: Option<Time>,
    unknown_critical: Option<ObjectIdentifier>,
}

/// Why an answer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidResponse {
    /// The octets are too many or no answer.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The responder refuses.
    #[error("the OCSP responder answers: {0}")]
    Refused(&'static str),
}

/// Why an answer says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OcspFault {
    /// There is no answer, or not about this certificate.
    #[error("no OCSP response about it is at hand")]
    Missing,
    /// Its signer is not known.
    #[error("the OCSP response was signed by somebody whose certificate is not at hand")]
    UnknownSigner,
    /// Its signer did not sign it.
    #[error("the OCSP response was not signed with the key of {by}")]
    BadSignature {
        /// Who should have signed it.
        by: String,
    },
    /// Its signer may not sign it.
    #[error("the OCSP response was signed by somebody who may not: {0}")]
    MayNotSign(String),
    /// It is signed with a broken hash function.
    #[error("the OCSP response is signed with a hash that can be forged; allow_weak = yes would accept it")]
    Weak,
    /// It answers another question.
    #[error("the OCSP response is not the answer to our question: the nonces differ")]
    WrongNonce,
    /// It is too old.
    #[error("the OCSP response was to be replaced by {0}")]
    Stale(Time),
    /// It is from the future.
    #[error("the OCSP response does not count before {0}")]
    Early(Time),
    /// The responder does not know the certificate.
    #[error("the OCSP responder does not know the certificate")]
    UnknownCertificate,
    /// It says something that must not be ignored and that we do not know.
    #[error("the OCSP response has the critical extension {0}, which we do not know")]
    UnknownCritical(ObjectIdentifier),
}

/// What an answer must satisfy.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// When.
    pub now: Time,
    /// Whether algorithms that can be broken are accepted.
    pub weak: Weak,
    /// The nonce that was sent, if this is the answer to our own question. A responder may leave it out; an answer
    /// without it may be an older one that still counts.
    pub nonce: Option<&'a [u8]>,
}

#[derive(Sequence)]
struct EncodedResponse<'a> {
    status: ResponseStatus,
    #[asn1(context_specific = "0", optional = "true")]
    bytes: Option<ResponseBytes<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumerated)]
#[repr(u8)]
enum ResponseStatus {
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SigRequired = 5,
    Unauthorized = 6,
}

#[derive(Sequence)]
struct ResponseBytes<'a> {
    kind: ObjectIdentifier,
    response: &'a OctetStringRef,
}

#[derive(Sequence)]
struct ResponseData<'a> {
    #[asn1(context_specific = "0", default = "Default::default")]
    version: u8,
    responder: AnyRef<'a>,
    produced_at: GeneralizedTime,
    answers: Vec<SingleResponse<'a>>,
    #[asn1(context_specific = "1", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct SingleResponse<'a> {
    certificate: CertId<'a>,
    status: CertStatus,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Choice)]
enum CertStatus {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    Good(Null),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Revoked(RevokedInfo),
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT")]
    Unknown(Null),
}

#[derive(Sequence)]
struct RevokedInfo {
    at: GeneralizedTime,
    #[asn1(context_specific = "0", optional = "true")]
    reason: Option<RevocationReason>,
}

impl Response {
    /// Reads an answer in DER, all of `octets`.
    ///
    /// # Errors
    /// The octets are no answer, or the responder refuses to answer.
    pub fn from_der(octets: &[u8]) -> Result<Response, InvalidResponse> {
        const WHAT: &str = "OCSP response";
        Malformed::check_length(WHAT, octets, limits::MAX_OCSP_OCTETS)?;
        let response = EncodedResponse::from_der(octets).map_err(Malformed::encoding(WHAT))?;
        let refused = match response.status {
            ResponseStatus::Successful => None,
            ResponseStatus::MalformedRequest => Some("our question is malformed"),
            ResponseStatus::InternalError => Some("it has an internal error"),
            ResponseStatus::TryLater => Some("try later"),
            ResponseStatus::SigRequired => Some("our question should be signed"),
            ResponseStatus::Unauthorized => Some("it may not answer us"),
        };
        if let Some(refused) = refused {
            return Err(InvalidResponse::Refused(refused));
        }
        let bytes = response.bytes.filter(|bytes| bytes.kind == BASIC_RESPONSE);
        let missing = || der::Error::from(Tag::Sequence.value_error());
        let read = bytes.ok_or_else(missing).and_then(|bytes| read_basic(bytes.response.as_bytes()));
        let read = read.map_err(Malformed::encoding(WHAT))?;
        Ok(Response { der: octets.into(), ..read })
    }

    /// Gives when the answer was made.
    pub fn produced_at(&self) -> Time {
        self.produced_at
    }

    /// Finds out what the answer says of a certificate, after it was shown that its issuer, or somebody to whom its
    /// issuer delegates (RFC 6960 §4.2.2.2), has signed it.
    pub fn status(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        question: &Question<'_>,
    ) -> Status<OcspFault> {
        match self.checked_status(certificate, issuer, question) {
            Ok(Ok(())) => Status::Good,
            Ok(Err(revoked)) => Status::Revoked(revoked),
            Err(fault) => Status::Unknown(fault),
        }
    }

    /// Gives the answer in DER.
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// Tells whether the answer says anything of a certificate, and until when that counts if it says so.
    pub fn validity(&self, certificate: &Certificate, issuer: &Certificate) -> Option<Option<Time>> {
        let about = self.answers.iter().find(|answer| answer.is_about(certificate, issuer));
        about.map(|answer| answer.next_update)
    }

    /// Gives the certificate of whoever has signed the answer, if it is not the issuer itself and is in the answer. It may
    /// be revoked too, unless it says that nobody needs to ask (RFC 6960 §4.2.2.2.1).
    pub fn delegate(&self, issuer: &Certificate) -> Option<&Certificate> {
        let is_issuer = self.is_responder(issuer);
        self.certificates.iter().find(|own| self.is_responder(own)).filter(|own| !is_issuer && *own != issuer)
    }

    fn checked_status(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        question: &Question<'_>,
    ) -> Result<Result<(), Revoked>, OcspFault> {
        let is_about = |answer: &&Answer| answer.is_about(certificate, issuer);
        let answer = self.answers.iter().find(is_about).ok_or(OcspFault::Missing)?;
        if let Some(unknown) = self.unknown_critical.or(answer.unknown_critical) {
            return Err(OcspFault::UnknownCritical(unknown));
        }
        self.check_signature(issuer, question)?;
        if let (Some(sent), Some(came)) = (question.nonce, &self.nonce)
            && sent != came
        {
            return Err(OcspFault::WrongNonce);
        }
        if question.now.after_secs(limits::CLOCK_SKEW_SECS) < answer.this_update {
            return Err(OcspFault::Early(answer.this_update));
        }
        let last = answer.next_update.unwrap_or(answer.this_update.after_secs(limits::MAX_OCSP_AGE_SECS));
        if question.now > last.after_secs(limits::CLOCK_SKEW_SECS) {
            return Err(OcspFault::Stale(last));
        }
        answer.status.ok_or(OcspFault::UnknownCertificate)
    }

    fn check_signature(&self, issuer: &Certificate, question: &Question<'_>) -> Result<(), OcspFault> {
        if question.weak == Weak::Refused && self.signed.scheme.is_ok_and(is_weak_scheme) {
            return Err(OcspFault::Weak);
        }
        let signer = match self.delegate(issuer) {
            None if self.is_responder(issuer) => issuer,
            None => return Err(OcspFault::UnknownSigner),
            Some(delegate) => {
                let demands = validation::Demands {
                    now: question.now,
                    purpose: Purpose::Ocsp,
                    weak: question.weak,
                    policies: &[],
                };
                // RFC 6960 §4.2.2.2: the issuer itself has issued the delegate's certificate.
                validation::check_delegate(delegate, issuer, &demands)
                    .map_err(|refusal| OcspFault::MayNotSign(refusal.to_string()))?;
                delegate
            }
        };
        let key = signer.key().map_err(|_| OcspFault::BadSignature { by: signer.to_string() })?;
        self.signed.verify(key).map_err(|_| OcspFault::BadSignature { by: signer.to_string() })
    }

    fn is_responder(&self, certificate: &Certificate) -> bool {
        match &self.responder {
            Responder::Name(name) => certificate.subject() == name,
            Responder::Key(digest) => {
                let info = SubjectPublicKeyInfoRef::from_der(certificate.key_info());
                info.is_ok_and(|info| {
                    crypto::hash::SHA1.digest(&[info.subject_public_key.raw_bytes()]) == *digest
                })
            }
        }
    }
}

impl Answer {
    fn is_about(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        let Some(hash) = self.hash else { return false };
        let digests = issuer_digests(hash, certificate, issuer);
        self.serial == certificate.serial()
            && digests.is_ok_and(|(name, key)| name == self.issuer_name_hash && key == self.issuer_key_hash)
    }
}

fn read_basic(octets: &[u8]) -> der::Result<Response> {
    let outer = AnyRef::from_der(octets)?;
    outer.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(outer.value())?;
    let signed = Signed::from_reader(&mut reader)?;
    let certificates = ContextSpecific::<Vec<AnyRef<'_>>>::decode_explicit(&mut reader, der::TagNumber(0))?;
    reader.finish()?;
    let content = signed.content.clone();
    let data = ResponseData::from_der(&content)?;
    let extensions = data.extensions.unwrap_or_default();
    let nonce = extensions.iter().find(|extension| extension.extn_id == NONCE);
    let nonce = nonce.map(|extension| extension.extn_value.as_bytes());
    Ok(Response {
        der: Arc::default(),
        signed,
        responder: read_responder(data.responder)?,
        produced_at: data.produced_at.into(),
        answers: data.answers.into_iter().map(read_answer).collect(),
        // RFC 8954: an OCTET STRING; before it, whatever the client had sent.
        nonce: nonce
            .map(|value| <&OctetStringRef>::from_der(value).map_or(value, OctetStringRef::as_bytes).to_vec()),
        unknown_critical: unknown_critical(&extensions),
        certificates: read_certificates(
            certificates.map(|certificates| certificates.value).unwrap_or_default(),
        )?,
    })
}

fn read_certificates(certificates: Vec<AnyRef<'_>>) -> der::Result<Vec<Certificate>> {
    let ders = certificates.into_iter().map(|certificate| certificate.to_der());
    let read = ders.map(|der| Certificate::from_der(&der?).map_err(|_| Tag::Sequence.value_error().into()));
    read.take(limits::MAX_OCSP_CERTIFICATES).collect()
}

fn read_responder(responder: AnyRef<'_>) -> der::Result<Responder> {
    let content = AnyRef::from_der(responder.value())?;
    match responder.tag() {
        Tag::ContextSpecific { constructed: true, number: der::TagNumber(1) } => {
            read_any_name(content).map(Responder::Name)
        }
        Tag::ContextSpecific { constructed: true, number: der::TagNumber(2) } => {
            let digest: &OctetStringRef = content.decode_as()?;
            Ok(Responder::Key(digest.as_bytes().to_vec()))
        }
        other => Err(other.value_error().into()),
    }
}

fn read_answer(answer: SingleResponse<'_>) -> Answer {
    let CertId { hash, issuer_name_hash, issuer_key_hash, serial } = answer.certificate;
    let status = match answer.status {
        CertStatus::Good(_) => Some(Ok(())),
        CertStatus::Revoked(RevokedInfo { at, reason }) => {
            let reason = reason.unwrap_or(RevocationReason::Unspecified);
            Some(Err(Revoked { at: at.into(), reason }))
        }
        CertStatus::Unknown(_) => None,
    };
    Answer {
        hash: hash_of(hash),
        issuer_name_hash: issuer_name_hash.as_bytes().to_vec(),
        issuer_key_hash: issuer_key_hash.as_bytes().to_vec(),
        serial: serial.as_bytes().to_vec(),
        status,
        this_update: answer.this_update.into(),
        next_update: answer.next_update.map(Time::from),
        unknown_critical: unknown_critical(&answer.extensions.unwrap_or_default()),
    }
}

fn unknown_critical(extensions: &[Extension]) -> Option<ObjectIdentifier> {
    extensions.iter().find(|own| own.critical && own.extn_id != NONCE).map(|own| own.extn_id)
}

const BASIC_RESPONSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
