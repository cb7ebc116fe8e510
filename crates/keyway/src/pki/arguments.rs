//! The command line of `keyway pki`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use crypto::signature::{Curve, MlDsa, NewKey};
use pki::crl::RevocationReason;

/// `keyway pki`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Pki {
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub(crate) action: Action,
}

const EXAMPLES: &str = "\
Examples:
  keyway pki ca ca 'CN=Example CA'             Make a CA in the directory `ca`
  keyway pki issue ca gw.example.org           Make gw.example.org.key and gw.example.org.crt
  keyway pki issue ca 'C=CH, CN=gw' gw.example.org 192.0.2.1
                                               The same with a subject and two other names
  keyway pki request gw.example.org            Make a key, and a request for somebody else's CA
  keyway pki sign ca gw.example.org.csr        Certify a request
  keyway pki revoke ca gw.example.org.crt      Revoke a certificate, and write ca/ca.crl
  keyway pki show gw.example.org.crt           See what is in it
  keyway pki verify gw.example.org.crt --ca ca/ca.crt --crl ca/ca.crl --identity gw.example.org";

/// What `keyway pki` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Make a CA: a directory with its key, its certificate, and what it will issue
    Ca(Ca),
    /// Make a key and its certificate
    Issue(Issue),
    /// Make a key and a certificate request
    Request(Request),
    /// Certify a request
    Sign(Sign),
    /// Revoke a certificate, and write the CRL
    Revoke(Revoke),
    /// Write the CRL anew, before it is too old
    Crl(Crl),
    /// Print what certificates, requests, CRLs and private keys say
    Show(Show),
    /// Say whether a certificate is valid for IKE, and if not, why
    Verify(Verify),
}

/// `keyway pki ca`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keyway pki ca ca 'C=CH, O=Example, CN=Example CA'\n  keyway pki ca branch-ca 'CN=Branch CA' --parent ca --path-len 0"
)]
pub(crate) struct Ca {
    /// The directory to make
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The CA's distinguished name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The directory of the CA that certifies this one [default: it certifies itself]
    #[arg(long, value_name = "DIR")]
    pub(crate) parent: Option<PathBuf>,
    /// The file with the password of that CA's key, its first line
    #[arg(long, value_name = "FILE", requires = "parent")]
    pub(crate) password: Option<PathBuf>,
    /// How many CAs may stand below this one [default: any number]
    #[arg(long, value_name = "N")]
    pub(crate) path_len: Option<u32>,
    /// How many days it is valid
    #[arg(long, value_name = "N", default_value_t = 3650)]
    pub(crate) days: u32,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) key: Key,
}

/// Which key is made, and how it is kept.
#[derive(Args, Debug)]
pub(crate) struct Key {
    /// The kind of key
    #[arg(long = "key", value_name = "KIND", value_enum, default_value_t = KeyChoice::P256)]
    pub(crate) kind: KeyChoice,
    /// Encrypt the key with the password in this file, its first line
    #[arg(long, value_name = "FILE")]
    pub(crate) encrypt_with: Option<PathBuf>,
}

/// The kinds of keys that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub(crate) enum KeyChoice {
    P256,
    P384,
    P521,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    Ed25519,
    Ed448,
    Brainpool256,
    Brainpool384,
    Brainpool512,
    Mldsa44,
    Mldsa65,
    Mldsa87,
}

impl From<KeyChoice> for NewKey {
    fn from(choice: KeyChoice) -> NewKey {
        match choice {
            KeyChoice::P256 => NewKey::Ecdsa(Curve::P256),
            KeyChoice::P384 => NewKey::Ecdsa(Curve::P384),
            KeyChoice::P521 => NewKey::Ecdsa(Curve::P521),
            KeyChoice::Rsa2048 => NewKey::Rsa { bits: 2048 },
            KeyChoice::Rsa3072 => NewKey::Rsa { bits: 3072 },
            KeyChoice::Rsa4096 => NewKey::Rsa { bits: 4096 },
            KeyChoice::Ed25519 => NewKey::Ed25519,
            KeyChoice::Ed448 => NewKey::Ed448,
            KeyChoice::Brainpool256 => NewKey::Ecdsa(Curve::BrainpoolP256r1),
            KeyChoice::Brainpool384 => NewKey::Ecdsa(Curve::BrainpoolP384r1),
            KeyChoice::Brainpool512 => NewKey::Ecdsa(Curve::BrainpoolP512r1),
            KeyChoice::Mldsa44 => NewKey::MlDsa(MlDsa::Set44),
            KeyChoice::Mldsa65 => NewKey::MlDsa(MlDsa::Set65),
            KeyChoice::Mldsa87 => NewKey::MlDsa(MlDsa::Set87),
        }
    }
}

/// A CA that signs.
#[derive(Args, Debug)]
pub(crate) struct Signer {
    /// The CA's directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The file with the password of the CA's key, its first line
    #[arg(long, value_name = "FILE")]
    pub(crate) password: Option<PathBuf>,
}

/// What a certificate says beside its names.
#[derive(Args, Debug)]
pub(crate) struct Terms {
    /// How many days it is valid
    #[arg(long, value_name = "N", default_value_t = 365)]
    pub(crate) days: u32,
    /// What it is for beside IKE; peers of some makers ask for it [default: everything]
    #[arg(long, value_name = "ROLE", value_enum)]
    pub(crate) purpose: Option<PurposeChoice>,
    /// Where the CA's CRL can be fetched; may be given more than once
    #[arg(long, value_name = "URI")]
    pub(crate) crl_uri: Vec<String>,
    /// Where an OCSP responder can be asked; may be given more than once
    #[arg(long, value_name = "URI")]
    pub(crate) ocsp_uri: Vec<String>,
}

/// What a certificate can be limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PurposeChoice {
    /// IKE (ipsecIKE) and nothing else.
    Ike,
    /// IKE, and servers of the Web (serverAuth), as Windows and Apple's systems want it of a gateway.
    Server,
    /// IKE, and clients of the Web (clientAuth).
    Client,
}

/// `keyway pki issue`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keyway pki issue ca gw.example.org\n  keyway pki issue ca alice@example.org --key ed25519 --days 90\n  keyway pki issue ca 'C=CH, CN=gw' gw.example.org 192.0.2.1 --out gw --purpose server"
)]
pub(crate) struct Issue {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) ca: Signer,
    /// Whom it is for: a distinguished name, domain names, e-mail and IP addresses
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// Write PATH.key and PATH.crt [default: the first name]
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) terms: Terms,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) key: Key,
}

/// `keyway pki request`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  keyway pki request gw.example.org --key rsa3072")]
pub(crate) struct Request {
    /// Whom it is for: a distinguished name, domain names, e-mail and IP addresses
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// Write PATH.key and PATH.csr [default: the first name]
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) key: Key,
}

/// `keyway pki sign`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keyway pki sign ca gw.csr\n  keyway pki sign ca gw.csr gw.example.org --out gw.crt\n\nNames given here take the place of those that the request has."
)]
pub(crate) struct Sign {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) ca: Signer,
    /// The request
    #[arg(value_name = "REQUEST")]
    pub(crate) request: PathBuf,
    /// Whom it is for, if not for whom the request says
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Where to write the certificate [default: beside the request, as .crt]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) terms: Terms,
}

/// `keyway pki revoke`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keyway pki revoke ca gw.crt --reason keyCompromise\n  keyway pki revoke ca 3f9a21c4"
)]
pub(crate) struct Revoke {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) ca: Signer,
    /// The certificate, or its serial number as `keyway pki show` prints it
    #[arg(value_name = "CERTIFICATE")]
    pub(crate) certificate: String,
    /// Why
    #[arg(long, value_name = "REASON", value_enum, default_value_t = ReasonChoice::Unspecified)]
    pub(crate) reason: ReasonChoice,
    /// How many days the CRL counts
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(crate) days: u32,
}

/// Why a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
#[allow(missing_docs)]
pub(crate) enum ReasonChoice {
    Unspecified,
    KeyCompromise,
    CaCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    CertificateHold,
    PrivilegeWithdrawn,
}

impl From<ReasonChoice> for RevocationReason {
    fn from(choice: ReasonChoice) -> RevocationReason {
        match choice {
            ReasonChoice::Unspecified => RevocationReason::Unspecified,
            ReasonChoice::KeyCompromise => RevocationReason::KeyCompromise,
            ReasonChoice::CaCompromise => RevocationReason::CaCompromise,
            ReasonChoice::AffiliationChanged => RevocationReason::AffiliationChanged,
            ReasonChoice::Superseded => RevocationReason::Superseded,
            ReasonChoice::CessationOfOperation => RevocationReason::CessationOfOperation,
            ReasonChoice::CertificateHold => RevocationReason::CertificateHold,
            ReasonChoice::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
        }
    }
}

/// `keyway pki crl`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  keyway pki crl ca --days 7")]
pub(crate) struct Crl {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) ca: Signer,
    /// How many days the CRL counts
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(crate) days: u32,
}

/// `keyway pki show`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keyway pki show ca/ca.crt ca/ca.crl\n  keyway pki show bundle.p12 --password secret"
)]
pub(crate) struct Show {
    /// Files in PEM, DER, PKCS #7 or PKCS #12
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The file with the password for what is encrypted, its first line
    #[arg(long, value_name = "FILE")]
    pub(crate) password: Option<PathBuf>,
}

/// `keyway pki verify`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  keyway pki verify gw.crt --ca ca/ca.crt --crl ca/ca.crl --identity gw.example.org"
)]
pub(crate) struct Verify {
    /// The certificate; others in the same file may stand between it and the CA
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// A CA that is trusted; may be given more than once
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) ca: Vec<PathBuf>,
    /// Certificates that may stand in between; may be given more than once
    #[arg(long, value_name = "FILE")]
    pub(crate) intermediate: Vec<PathBuf>,
    /// A CRL; with any, each certificate of the chain must be covered by one
    #[arg(long, value_name = "FILE")]
    pub(crate) crl: Vec<PathBuf>,
    /// Whom the certificate should be for; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) identity: Vec<String>,
    /// Accept SHA-1 and short RSA keys
    #[arg(long)]
    pub(crate) allow_weak: bool,
}
