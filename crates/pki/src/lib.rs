//! X.509 certificates: reading, paths, names, revocation, keys on disk, and issuing.
//!
//! ```text
//!   octets ─ Certificate::from_der ─► Certificate ─┐
//!                                                  ├─ validate ─► ValidPath ─ certifies ─► the peer is who it says
//!   trust anchors, intermediates, the time ────────┘
//! ```
//!
//! Path validation is RFC 5280 §6 with the profile of RFC 4945, written out here because ready validators are made
//! for the Web and refuse what IKE certificates contain. Parsing is `der`'s and `x509-cert`'s.
//!
//! Everything is a function over octets and a given time. This crate knows no IKE, fetches nothing and reads no file
//! and no clock. Every refusal is one sentence that names the certificate and what differs.

#![forbid(unsafe_code)]

mod address_blocks;
pub mod algorithm;
pub mod bundle;
mod certificate;
mod contents;
pub mod crl;
mod encryption;
mod extensions;
mod identity;
pub mod issue;
pub mod limits;
mod ml_dsa_key;
mod name_constraints;
pub mod ocsp;
mod oid;
mod path;
pub mod pem;
pub mod pkcs12;
pub mod pkcs7;
mod policy;
mod private_key;
mod public_key;
mod refusal;
mod request;
pub mod revocation;
mod signed;
mod time;
mod validation;

pub use address_blocks::Addresses;
pub use certificate::{Certificate, Malformed};
pub use contents::{Contents, InvalidFile};
pub use crl::Crl;
pub use der::asn1::ObjectIdentifier;
pub use encryption::{CannotDecrypt, Password};
pub use extensions::GeneralName;
pub use identity::{IdentityMismatch, certifies, identities};
pub use path::validate;
pub use private_key::{InvalidPrivateKey, PrivateKey};
pub use public_key::{InvalidPublicKey, PublicKey, encode_public_key};
pub use refusal::{Reason, Refusal, WantedPolicies};
pub use request::Request;
pub use time::Time;
pub use validation::{Demands, Purpose, ValidPath, Weak, purpose_name};
