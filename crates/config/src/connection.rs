//! A connection: the words for what it may be configured to do. How it is read is in [`read`](crate::read).

use std::time::Duration;

use sa::{Identity, IdentityPattern, Proposal};
use vici::Span;

use crate::AddressSpec;
use crate::child::Child;
use crate::schema::Shape;
use crate::value::{Unreadable, choice, yes_or_no};

/// One peer relation: who, how, and which children. Every default is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name, unique in the configuration.
    pub name: String,
    /// Our addresses; never empty.
    pub local_addresses: Vec<AddressSpec>,
    /// The peer's addresses; never empty. The first that [is single](AddressSpec::is_single) is the one to call.
    pub remote_addresses: Vec<AddressSpec>,
    /// The UDP port at which the peer listens.
    pub remote_port: u16,
    /// Who we say we are; `None` is our address on the path.
    pub local_identity: Option<Identity>,
    /// Who the peer must be.
    pub remote_identity: IdentityPattern,
    /// How both ends prove who they are.
    pub authentication: Authentication,
    /// What we offer and accept for the IKE SA, best first; never empty.
    pub proposals: Vec<Proposal>,
    /// Whether ESP goes in UDP though there is no NAT.
    pub encap: Encap,
    /// Whether messages are cut into fragments (RFC 7383).
    pub fragmentation: Fragmentation,
    /// What happens to older IKE SAs with the same peer identity.
    pub unique: Unique,
    /// How often an attempt to come up is made; 0 is without end.
    pub keying_tries: u32,
    /// Silence after which the peer is asked whether it lives; zero never asks (RFC 7296 §2.4).
    pub dpd_delay: Duration,
    /// When the IKE SA is rekeyed and when it ends.
    pub lifetimes: Lifetimes,
    /// Its children, in the order of the configuration.
    pub children: Vec<Child>,
    /// Where its name stands.
    pub span: Span,
}

impl Connection {
    /// Finds a child by name.
    pub fn child(&self, name: &str) -> Option<&Child> {
        self.children.iter().find(|child| child.name == name)
    }
}

/// When an SA is replaced, and when it ends if nothing replaced it (RFC 7296 §2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long after it was made an SA is rekeyed; zero is never.
    pub rekey: Duration,
    /// Up to this much is taken off `rekey` at random, so that two ends do not begin at the same moment.
    pub rand: Duration,
    /// How long after it was made an SA ends; zero is never.
    pub life: Duration,
}

/// How the two ends prove who they are (RFC 7296 §2.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By a secret that both know.
    PreSharedKey,
}

/// Whether ESP is carried in UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encap {
    /// Where a NAT makes it necessary.
    WhenNat,
    /// Always: the peer is made to believe in a NAT.
    Always,
}

/// Whether messages are cut into fragments (RFC 7383).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// Never; nor announced.
    No,
    /// Announced and, where the peer does too, used.
    Yes,
    /// Announced, so that the peer may; never used by us.
    Accept,
}

/// What happens to older IKE SAs between the same two identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// They stay, even if the peer says that this is its initial contact.
    Never,
    /// They end if the peer says that this is its initial contact.
    No,
    /// The new one is refused.
    Keep,
    /// They end.
    Replace,
}

impl Unique {
    /// Gives the word of the configuration.
    pub fn keyword(self) -> &'static str {
        match self {
            Unique::Never => "never",
            Unique::No => "no",
            Unique::Keep => "keep",
            Unique::Replace => "replace",
        }
    }
}

/// Whether a connection may name algorithms that are known to be weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WeakAlgorithms {
    Refused,
    Allowed,
}

/// What `auth` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    PreSharedKey,
    Certificate,
    Eap,
    Xauth,
}

/// The one version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version2;

pub(crate) const VERSION: Shape<Version2> = Shape {
    words: "0 or 2",
    read: |text| match text {
        "0" | "2" => Ok(Version2),
        "1" => Err(Unreadable::new("IKEv1 is not supported yet", "write `version = 2`")),
        _ => Err(Unreadable::new(format!("`{text}` is not a version of IKE"), "write `version = 2`")),
    },
};

pub(crate) const ENCAP: Shape<Encap> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Encap::Always, Encap::WhenNat) };

pub(crate) const FRAGMENTATION: Shape<Fragmentation> = Shape {
    words: "yes, accept or no",
    read: |text| match text {
        "accept" => Ok(Fragmentation::Accept),
        "force" => {
            Err(Unreadable::new("`force` exists in IKEv1 only (RFC 7383 §3)", "write `fragmentation = yes`"))
        }
        _ => yes_or_no(text, Fragmentation::Yes, Fragmentation::No)
            .map_err(|_| Unreadable::new(format!("`{text}` is none of yes, accept, no"), "")),
    },
};

pub(crate) const UNIQUE: Shape<Unique> = Shape {
    words: "never, no, keep or replace",
    read: |text| {
        choice(
            text,
            &[Unique::Never, Unique::No, Unique::Keep, Unique::Replace].map(|word| (word.keyword(), word)),
        )
    },
};

pub(crate) const WEAK: Shape<WeakAlgorithms> = Shape {
    words: "yes or no",
    read: |text| yes_or_no(text, WeakAlgorithms::Allowed, WeakAlgorithms::Refused),
};

pub(crate) const METHOD: Shape<Method> = Shape { words: "psk", read: method };

/// Signature methods carry key types, strengths and hashes behind a dash, EAP and XAuth the name of a method.
fn method(text: &str) -> Result<Method, Unreadable> {
    let first = text.split(['-', ':', '/']).next().unwrap_or_default();
    choice(
        first,
        &[
            ("psk", Method::PreSharedKey),
            ("pubkey", Method::Certificate),
            ("rsa", Method::Certificate),
            ("ecdsa", Method::Certificate),
            ("ed25519", Method::Certificate),
            ("ed448", Method::Certificate),
            ("ike", Method::Certificate),
            ("eap", Method::Eap),
            ("xauth", Method::Xauth),
        ],
    )
}
