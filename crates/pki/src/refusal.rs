//! Why a certificate is not accepted: one sentence that names the certificate and what differs.

use crypto::signature::SignatureScheme;
use der::asn1::ObjectIdentifier;
use thiserror::Error;

use crate::algorithm::UnknownScheme;
use crate::public_key::InvalidPublicKey;
use crate::{Certificate, Time, limits};

/// Says that a certificate is not accepted, and why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the certificate {certificate} {reason}")]
pub struct Refusal {
    /// Its subject, or what else people know it by.
    pub certificate: String,
    /// What is wrong with it.
    pub reason: Reason,
}

impl Refusal {
    pub(crate) fn of(certificate: &Certificate, reason: Reason) -> Refusal {
        Refusal { certificate: certificate.to_string(), reason }
    }
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// Its time is over.
    #[error("expired on {0}")]
    Expired(Time),
    /// Its time has not come.
    #[error("is not valid before {0}")]
    NotYetValid(Time),
    /// Nobody has its issuer's certificate.
    #[error("was issued by {issuer}, whose certificate neither we nor the peer have")]
    UnknownIssuer {
        /// The issuer's name.
        issuer: String,
    },
    /// It is its own issuer, and not one of the CAs that are trusted.
    #[error("is self-signed and not among the CAs that we trust")]
    Untrusted,
    /// The one whom it names as issuer has not signed it, or not as it is now.
    #[error("was not signed with the key of {issuer}, or was changed since")]
    BadSignature {
        /// The issuer's certificate.
        issuer: String,
    },
    /// It is signed in a way that we do not know.
    #[error("has {0}")]
    UnknownSignature(UnknownScheme),
    /// It is signed with a broken hash function.
    #[error("is signed with {0}, which can be forged; allow_weak = yes would accept it")]
    WeakSignature(SignatureScheme),
    /// Its key cannot be used.
    #[error("has a key {0}")]
    Key(InvalidPublicKey),
    /// Its key is short.
    #[error(
        "has an RSA key of {bits} bits, and {} are the least; allow_weak = yes would accept it",
        limits::STRONG_RSA_BITS
    )]
    WeakKey {
        /// The length of its modulus.
        bits: usize,
    },
    /// It says something that must not be ignored and that we do not know.
    #[error("has the critical extension {0}, which we do not know")]
    UnknownCritical(ObjectIdentifier),
    /// It has issued certificates without being a CA's.
    #[error("is not a CA's, yet {issued} names it as issuer")]
    NotCa {
        /// What it issued.
        issued: String,
    },
    /// Its key may not sign certificates.
    #[error("has a key usage without keyCertSign, yet {issued} names it as issuer")]
    MayNotIssue {
        /// What it issued.
        issued: String,
    },
    /// More CAs stand below it than it allows.
    #[error("allows {allowed} CAs below itself, and the chain has more")]
    TooManyCas {
        /// How many it allows.
        allowed: u32,
    },
    /// The key may not sign what it should sign.
    #[error("has a key usage of {present}, and {wanted} is wanted")]
    KeyUsage {
        /// What its key may be used for.
        present: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// It is for other purposes.
    #[error("is for the purposes {present} only, and {wanted} is wanted")]
    Purpose {
        /// The purposes that it names.
        present: String,
        /// What it should be for.
        wanted: &'static str,
    },
    /// It does not name the purpose that it must name.
    #[error("does not say that it is for {wanted}")]
    NoPurpose {
        /// What it should be for.
        wanted: &'static str,
    },
    /// A CA above may not give this name.
    #[error("names {name}, which lies outside the names that {ca} may give")]
    NameOutside {
        /// The name.
        name: String,
        /// The CA that is limited.
        ca: String,
    },
    /// A CA above must not give this name.
    #[error("names {name}, which is among the names that {ca} must not give")]
    NameExcluded {
        /// The name.
        name: String,
        /// The CA that is limited.
        ca: String,
    },
    /// A CA is limited in a kind of names that we cannot compare.
    #[error("names {name}, and we cannot tell whether {ca} may give such names")]
    NameIncomparable {
        /// The name.
        name: String,
        /// The CA that is limited.
        ca: String,
    },
    /// Its name constraints have a minimum or maximum, which nobody defined.
    #[error("has name constraints with a minimum or maximum (RFC 5280 §4.2.1.10)")]
    BoundedSubtrees,
    /// A policy is wanted, and the chain has none.
    #[error("was issued under none of the certificate policies that are wanted{0}")]
    NoPolicy(WantedPolicies),
    /// It maps policies from or to `anyPolicy`.
    #[error("maps a policy to or from anyPolicy (RFC 5280 §6.1.4)")]
    MapsAnyPolicy,
    /// It has addresses that its issuer does not have.
    #[error("has the addresses {range}, which its issuer {issuer} does not have (RFC 3779 §2.3)")]
    Addresses {
        /// The addresses.
        range: String,
        /// The issuer.
        issuer: String,
    },
    /// It inherits addresses that nobody above it has.
    #[error("inherits addresses, and its issuer {issuer} has none (RFC 3779 §2.3)")]
    InheritsNothing {
        /// The issuer.
        issuer: String,
    },
    /// The chain would be longer than we follow.
    #[error("is at the end of a chain of {}, which is as many as we follow", limits::MAX_PATH_CERTIFICATES)]
    PathTooLong,
    /// It would take too long to find out.
    #[error("has a chain with more {0} than we look at")]
    TooMuchWork(&'static str),
}

/// The policies that are wanted, for a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPolicies(pub Vec<ObjectIdentifier>);

impl std::fmt::Display for WantedPolicies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, policy) in self.0.iter().enumerate() {
            write!(f, "{}{policy}", if at == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}
