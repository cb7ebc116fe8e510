//! Certificate requests (PKCS #10, RFC 2986): what somebody wants certified, signed with the key that is meant.

use crypto::signature::BadSignature;
use der::asn1::{Any, AnyRef, ObjectIdentifier, SetOfVec};
use der::{Decode, Encode, Sequence};
use sa::DistinguishedName;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;

use crate::extensions::{Extensions, GeneralName, read_any_name};
use crate::issue::{CannotIssue, sign_usually, subject_names};
use crate::public_key::{InvalidPublicKey, PublicKey};
use crate::signed::Signed;
use crate::{Malformed, PrivateKey, limits};

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    der: Vec<u8>,
    signed: Signed,
    subject: DistinguishedName,
    names: Vec<GeneralName>,
    key_info: Vec<u8>,
}

#[derive(Sequence)]
struct Info<'a> {
    version: u8,
    subject: AnyRef<'a>,
    key: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    attributes: Option<SetOfVec<Attribute>>,
}

impl Request {
    /// Makes a request for a key's certificate.
    ///
    /// # Errors
    /// There is no name, or the key cannot sign.
    pub fn new(
        subject: &DistinguishedName,
        names: &[GeneralName],
        key: &PrivateKey,
    ) -> Result<Request, CannotIssue> {
        if subject.is_empty() && names.is_empty() {
            return Err(CannotIssue::Nobody);
        }
        let mut attributes = SetOfVec::new();
        if !names.is_empty() {
            let extensions = vec![subject_names(names, subject.is_empty())?];
            let mut values = SetOfVec::new();
            values.insert(Any::encode_from(&extensions)?)?;
            attributes.insert(Attribute { oid: EXTENSION_REQUEST, values })?;
        }
        let key_info = key.public_key_info();
        let info = Info {
            version: 0,
            subject: AnyRef::from_der(subject.to_der())?,
            key: AnyRef::from_der(&key_info)?,
            attributes: Some(attributes),
        };
        let der = sign_usually(&info.to_der()?, key)?;
        Request::from_der(&der).map_err(|fault| CannotIssue::Encoding(fault.to_string()))
    }

    /// Reads a request in DER, all of `octets`.
    ///
    /// # Errors
    /// The octets are too many or no request.
    pub fn from_der(octets: &[u8]) -> Result<Request, Malformed> {
        const WHAT: &str = "certificate request";
        Malformed::check_length(WHAT, octets, limits::MAX_CERTIFICATE_OCTETS)?;
        read(octets).map_err(Malformed::encoding(WHAT))
    }

    /// Gives the request in DER.
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// Gives whom the certificate should be for.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// Gives the other names that the certificate should have.
    pub fn names(&self) -> &[GeneralName] {
        &self.names
    }

    /// Gives the SubjectPublicKeyInfo as it came.
    pub fn key_info(&self) -> &[u8] {
        &self.key_info
    }

    /// Gives the key.
    ///
    /// # Errors
    /// It is of an algorithm that we do not know, or no valid key.
    pub fn key(&self) -> Result<PublicKey, InvalidPublicKey> {
        PublicKey::from_der(&self.key_info)
    }

    /// Checks that whoever made the request has the private key.
    ///
    /// # Errors
    /// It is not signed with that key.
    pub fn verify(&self) -> Result<(), BadSignature> {
        self.signed.verify(&self.key().map_err(|_| BadSignature)?)
    }
}

fn read(octets: &[u8]) -> der::Result<Request> {
    let signed = Signed::from_der(octets)?;
    let content = signed.content.clone();
    let info = Info::from_der(&content)?;
    let mut names = Vec::new();
    for attribute in info.attributes.iter().flat_map(SetOfVec::iter) {
        if let (EXTENSION_REQUEST, Some(value)) = (attribute.oid, attribute.values.iter().next()) {
            let extensions: Vec<Extension> = value.decode_as()?;
            names = Extensions::read(&extensions)?.subject_names;
        }
    }
    Ok(Request {
        der: octets.to_vec(),
        signed,
        subject: read_any_name(info.subject)?,
        names,
        key_info: info.key.to_der()?,
    })
}

/// RFC 2985 §5.4.2.
const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
