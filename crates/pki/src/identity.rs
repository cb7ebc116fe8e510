//! Whether a certificate is that of whom it should be of (RFC 4945 §3.1 and §5.1.3.6).
//!
//! | identity | is found in |
//! |---|---|
//! | distinguished name | the subject |
//! | domain name | dNSName |
//! | e-mail address | rfc822Name |
//! | address | iPAddress |
//! | key id | the subject key identifier, or the SHA-1 digest of the public key |
//!
//! The names are compared whole, without regard to case. A CN is never taken for a domain name, and no star in a
//! certificate stands for anything (RFC 4945 §5.1.3.6.1).

use std::net::IpAddr;

use crypto::hash;
use sa::{DistinguishedName, Identity};
use thiserror::Error;

use crate::Certificate;
use crate::extensions::GeneralName;

/// Says that an identity is not in a certificate, and who is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("identity {identity} is not in the certificate, which names {named}")]
pub struct IdentityMismatch {
    /// Whom the peer says it is, or whom we want it to be.
    pub identity: String,
    /// Whom the certificate names.
    pub named: String,
}

/// Checks that a certificate is for an identity.
///
/// # Errors
/// The certificate names others.
pub fn certifies(certificate: &Certificate, identity: &Identity) -> Result<(), IdentityMismatch> {
    let is_named = match identity {
        Identity::Ipv4(address) => has(certificate, &GeneralName::Address(IpAddr::V4(*address))),
        Identity::Ipv6(address) => has(certificate, &GeneralName::Address(IpAddr::V6(*address))),
        Identity::Fqdn(name) => has(certificate, &GeneralName::Dns(name.clone())),
        Identity::Email(address) => has(certificate, &GeneralName::Email(address.clone())),
        Identity::DistinguishedName(der) => is_subject(certificate, der),
        Identity::KeyId(id) => is_key_id(certificate, id),
        Identity::Null | Identity::Other { .. } => false,
    };
    if is_named {
        return Ok(());
    }
    let identities: Vec<_> = identities(certificate).iter().map(ToString::to_string).collect();
    let named = if identities.is_empty() { "nobody".to_owned() } else { identities.join(", ") };
    Err(IdentityMismatch { identity: identity.to_string(), named })
}

/// Gives every identity that a certificate is for, the subject first.
pub fn identities(certificate: &Certificate) -> Vec<Identity> {
    let subject = certificate.subject();
    let directory = (!subject.is_empty()).then(|| Identity::DistinguishedName(subject.to_der().to_vec()));
    // A name with control characters is nobody's, as in an ID payload.
    let is_printable = |name: &String| !name.is_empty() && !name.contains(char::is_control);
    let others = certificate.subject_names().iter().filter_map(|name| match name {
        GeneralName::Email(address) => {
            Some(address).filter(|own| is_printable(own)).cloned().map(Identity::Email)
        }
        GeneralName::Dns(name) => Some(name).filter(|own| is_printable(own)).cloned().map(Identity::Fqdn),
        GeneralName::Address(address) => Some(Identity::from(*address)),
        GeneralName::Directory(name) => Some(Identity::DistinguishedName(name.to_der().to_vec())),
        GeneralName::Uri(_)
        | GeneralName::RegisteredId(_)
        | GeneralName::Other(_)
        | GeneralName::EdiParty => None,
    });
    directory.into_iter().chain(others).collect()
}

fn has(certificate: &Certificate, wanted: &GeneralName) -> bool {
    certificate.subject_names().iter().any(|name| match (name, wanted) {
        (GeneralName::Dns(name), GeneralName::Dns(wanted))
        | (GeneralName::Email(name), GeneralName::Email(wanted)) => name.eq_ignore_ascii_case(wanted),
        (name, wanted) => name == wanted,
    })
}

fn is_subject(certificate: &Certificate, der: &[u8]) -> bool {
    DistinguishedName::from_der(der).is_ok_and(|name| {
        // An empty name names nobody.
        !name.is_empty()
            && (*certificate.subject() == name || has(certificate, &GeneralName::Directory(name)))
    })
}

fn is_key_id(certificate: &Certificate, id: &[u8]) -> bool {
    let own = certificate.subject_key_id();
    own.is_some_and(|own| own == id) || hash::SHA1.digest(&[certificate.key_info()]) == id
}
