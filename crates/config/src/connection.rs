//! A connection: the words for what it may be configured to do. How it is read is in [`read`](crate::read).

use std::net::IpAddr;
use std::time::Duration;

use sa::{
    CertificateExchange, Identity, IdentityPattern, InBandOcsp, InvalidSignatureTerms, Proposal,
    SendCertificate, SignatureTerms,
};
use vici::Span;

use crate::AddressSpec;
use crate::child::Child;
use crate::material::Material;
use crate::schema::Shape;
use crate::value::{Unreadable, choice, yes_or_no};

/// One peer relation: who, how, and which children. Every default is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name, unique in the configuration.
    pub name: String,
    /// The versions of IKE that it speaks.
    pub versions: Versions,
    /// How phase 1 of version 1 goes.
    pub phase_1: Phase1Mode,
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
    /// How we prove who we are.
    pub local_authentication: Authentication,
    /// How the peer must.
    pub remote_authentication: Authentication,
    /// How we prove further identities after the first (RFC 4739).
    pub further_own: Vec<OwnRound>,
    /// How the peer must.
    pub further_peer: Vec<PeerRound>,
    /// The post-quantum pre-shared key that is mixed into the keys (RFC 8784).
    pub ppk: Option<PpkTerms>,
    /// Whether an IKE SA begins without a Child SA (RFC 6023).
    pub childless: Childless,
    /// Which end's user gives a name and a password besides (XAuth).
    pub xauth: Xauth,
    /// The virtual addresses that we want of the peer; an unspecified one is any of its family.
    pub virtual_addresses: Vec<IpAddr>,
    /// The pools out of which the peer gets virtual addresses.
    pub pools: Vec<String>,
    /// What the networks mean that a peer names as those behind it.
    pub split_networks: SplitNetworks,
    /// Which end begins to speak of virtual addresses.
    pub configuration: ConfigurationMode,
    /// What is sent of certificates, and asked for.
    pub certificates: CertificateExchange,
    /// The certificates and keys that we prove ourselves by.
    pub own: OwnCredentials,
    /// Those that the peer may.
    pub peer: PeerCredentials,
    /// What we offer and accept for the IKE SA, best first; never empty.
    pub proposals: Vec<Proposal>,
    /// Whether ESP goes in UDP though there is no NAT.
    pub encap: Encap,
    /// Whether messages are cut into fragments: those of RFC 7383, or in version 1 those of payload 132.
    pub fragmentation: Fragmentation,
    /// Whether the addresses of both ends may change while the SAs live.
    pub mobike: Mobike,
    /// The address or the name of the gateway to which clients are sent that can be.
    pub redirect_to: Option<String>,
    /// Whether probes find out how long a packet the path to the peer takes.
    pub path_mtu_probing: PathProbing,
    /// Whether an IKE SA that was lost may be had again with a ticket.
    pub session_resumption: Resumption,
    /// Whether SAs are replaced without repeating what stays as it is.
    pub optimized_rekey: OptimizedRekey,
    /// Whether the peer may be a cluster whose members take over from each other.
    pub counter_synchronization: CounterSynchronization,
    /// Whether a new proof of both ends comes before the old IKE SA goes.
    pub reauthentication_order: ReauthenticationOrder,
    /// What happens to older IKE SAs with the same peer identity.
    pub unique: Unique,
    /// How often an attempt to come up is made; 0 is without end.
    pub keying_tries: u32,
    /// Silence after which the peer is asked whether it lives; zero never asks (RFC 7296 §2.4).
    pub dpd_delay: Duration,
    /// When the IKE SA is rekeyed and when it ends.
    pub lifetimes: Lifetimes,
    /// When both ends prove anew who they are, and when the IKE SA ends if they have not (RFC 4478).
    pub reauthentication: Lifetimes,
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

/// Which versions of IKE a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// It begins with version 2, and answers both.
    Either,
}

/// How phase 1 of IKEv1 goes, whoever begins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase1Mode {
    /// Six messages that hide who the ends are.
    Main,
    /// Three messages, the first two in the clear.
    Aggressive,
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

/// How an end proves who it is (RFC 7296 §2.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By a secret that both know.
    PreSharedKey,
    /// By a signature with a key that is known to be its own.
    Signature(SignatureTerms),
    /// By nothing: it may be anybody (RFC 7619).
    Null,
    /// By nothing but its user's password (hybrid authentication of IKEv1).
    User,
    /// By decrypting what is encrypted to its RSA key (IKEv1).
    Encryption(EncryptionForm),
}

/// How phase 1 of IKEv1 is encrypted to the ends' keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionForm {
    /// Nonces and identities are (RFC 2409 §5.2).
    Plain,
    /// Nonces are, and all else by a cipher whose key comes from them (RFC 2409 §5.3).
    Revised,
}

/// A round of authentication of ours after the first (RFC 4739).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRound {
    /// Who we say we are; `None` is whom we say in the first.
    pub identity: Option<Identity>,
    /// How we prove it.
    pub authentication: Authentication,
    /// By which certificates and keys.
    pub own: OwnCredentials,
}

/// A round of authentication of the peer's after the first (RFC 4739).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRound {
    /// Who the peer must be.
    pub identity: IdentityPattern,
    /// How it must prove it.
    pub authentication: Authentication,
    /// By which certificates and keys it may.
    pub peer: PeerCredentials,
}

/// Which post-quantum pre-shared key (PPK) a connection uses (RFC 8784).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PpkTerms {
    /// Its name, or those that a peer which begins may name.
    pub id: IdentityPattern,
    /// What follows where the peer has none.
    pub need: PpkNeed,
}

/// What follows where a peer does not have the post-quantum pre-shared key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PpkNeed {
    /// It goes without.
    Optional,
    /// It is refused.
    Required,
}

/// Whether an IKE SA begins without a Child SA (RFC 6023).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Childless {
    /// If the peer wants it so, or somebody wants no child.
    Allow,
    /// If the peer takes it.
    Prefer,
    /// Always.
    Force,
    /// Never, as far as the peer begins.
    Never,
}

/// Which end's user gives a name and a password after phase 1 of IKEv1 (XAuth).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Xauth {
    /// Neither's.
    None,
    /// Ours, and by this name.
    Ours(String),
    /// The peer's.
    Theirs,
}

/// Which end begins to speak of virtual addresses (Mode Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationMode {
    /// The client asks.
    Pull,
    /// The server gives unasked.
    Push,
}

/// What the networks mean that a peer names as those behind it, when it gives us a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitNetworks {
    /// Nothing.
    Ignored,
    /// Nothing else is sent through the tunnel.
    Followed,
}

/// The certificates and keys that we prove ourselves by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnCredentials {
    /// Our certificates, the best first; none is any that fits.
    pub certificates: Vec<Material>,
    /// Our public keys that the peer knows without a certificate.
    pub keys: Vec<Material>,
}

/// The certificates and keys that the peer may prove itself by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCredentials {
    /// The certificates of which it must have one; none is any.
    pub certificates: Vec<Material>,
    /// The public keys of which it may have one without a certificate.
    pub keys: Vec<Material>,
    /// The CAs of which one must have certified it; none is all that are trusted.
    pub authorities: Vec<Material>,
    /// The certificate policies of which one must hold, as numbers with dots; none is any.
    pub policies: Vec<String>,
    /// What follows where nobody knows whether its certificate is revoked.
    pub revocation: Revocation,
}

/// What follows where nobody knows whether a certificate is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// It is refused.
    Strict,
    /// It is refused if it says where to ask.
    IfUri,
    /// It is accepted.
    #[default]
    Relaxed,
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
    /// In version 1, used from the first message on, whether the peer announces them or not.
    Force,
}

/// Whether the addresses of both ends may change while the SAs live (RFC 4555).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mobike {
    /// Only a NAT that gives the peer another address or port is followed.
    No,
    /// They may, if the peer knows that as well.
    Yes,
}

/// What comes first when both ends prove anew who they are (RFC 4478).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReauthenticationOrder {
    /// The new IKE SA.
    MakeBeforeBreak,
    /// The end of the old one.
    BreakBeforeMake,
}

/// Whether an IKE SA that was lost may be had again with a ticket of its gateway (RFC 5723).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Everything is proven anew.
    No,
    /// As initiator we ask for tickets, as responder we give them.
    Yes,
}

/// Whether SAs are replaced without repeating what stays as it is (draft-ietf-ipsecme-ikev2-sa-ts-payloads-opt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizedRekey {
    /// All is negotiated again.
    No,
    /// What stays is inherited, if the peer knows that as well.
    Yes,
}

/// Whether an end that is a cluster may agree on new counters when one of its members has taken over (RFC 6311).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterSynchronization {
    /// Nothing is said of it.
    No,
    /// It may, if the peer knows that as well.
    Yes,
}

/// Whether probes find out how long a packet the path to the peer takes (RFC 8899).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProbing {
    /// Routers are expected to tell.
    No,
    /// They do.
    Yes,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    PreSharedKey,
    Signature(SignatureTerms),
    Null,
    Eap,
    Xauth,
    Encryption(EncryptionForm),
}

pub(crate) const VERSION: Shape<Versions> = Shape {
    words: "0, 1 or 2",
    read: |text| match text {
        "0" => Ok(Versions::Either),
        "1" => Ok(Versions::V1),
        "2" => Ok(Versions::V2),
        _ => Err(Unreadable::new(format!("`{text}` is not a version of IKE"), "write `version = 2`")),
    },
};

pub(crate) const PHASE_1: Shape<Phase1Mode> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Phase1Mode::Aggressive, Phase1Mode::Main) };

pub(crate) const PULL: Shape<ConfigurationMode> = Shape {
    words: "yes or no",
    read: |text| yes_or_no(text, ConfigurationMode::Pull, ConfigurationMode::Push),
};

pub(crate) const PPK_NEED: Shape<PpkNeed> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, PpkNeed::Required, PpkNeed::Optional) };

pub(crate) const CHILDLESS: Shape<Childless> = Shape {
    words: "allow, prefer, force or never",
    read: |text| {
        let words = [
            ("allow", Childless::Allow),
            ("prefer", Childless::Prefer),
            ("force", Childless::Force),
            ("never", Childless::Never),
        ];
        choice(text, &words)
    },
};

pub(crate) const SPLIT: Shape<SplitNetworks> = Shape {
    words: "yes or no",
    read: |text| yes_or_no(text, SplitNetworks::Followed, SplitNetworks::Ignored),
};

pub(crate) const ENCAP: Shape<Encap> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Encap::Always, Encap::WhenNat) };

pub(crate) const FRAGMENTATION: Shape<Fragmentation> = Shape {
    words: "yes, accept, force or no",
    read: |text| match text {
        "accept" => Ok(Fragmentation::Accept),
        "force" => Ok(Fragmentation::Force),
        _ => yes_or_no(text, Fragmentation::Yes, Fragmentation::No)
            .map_err(|_| Unreadable::new(format!("`{text}` is none of yes, accept, force, no"), "")),
    },
};

pub(crate) const MOBILITY: Shape<Mobike> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Mobike::Yes, Mobike::No) };

pub(crate) const GATEWAY: Shape<String> = Shape {
    words: "address or name",
    read: |text| {
        let is_usual = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_');
        let is_name = (1..=255).contains(&text.len()) && text.bytes().all(is_usual);
        if is_name || text.parse::<std::net::IpAddr>().is_ok() {
            Ok(text.to_owned())
        } else {
            Err(Unreadable::new(format!("`{text}` is neither an address nor a host's name"), ""))
        }
    },
};

pub(crate) const PATH_PROBING: Shape<PathProbing> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, PathProbing::Yes, PathProbing::No) };

pub(crate) const ORDER: Shape<ReauthenticationOrder> = Shape {
    words: "yes or no",
    read: |text| {
        yes_or_no(text, ReauthenticationOrder::MakeBeforeBreak, ReauthenticationOrder::BreakBeforeMake)
    },
};

pub(crate) const RESUMPTION: Shape<Resumption> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Resumption::Yes, Resumption::No) };

pub(crate) const OPTIMIZATION: Shape<OptimizedRekey> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, OptimizedRekey::Yes, OptimizedRekey::No) };

pub(crate) const SYNCHRONIZATION: Shape<CounterSynchronization> = Shape {
    words: "yes or no",
    read: |text| yes_or_no(text, CounterSynchronization::Yes, CounterSynchronization::No),
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

pub(crate) const SEND_CERTIFICATE: Shape<SendCertificate> = Shape {
    words: "always, ifasked or never",
    read: |text| {
        let choices = [
            ("always", SendCertificate::Always),
            ("ifasked", SendCertificate::IfAsked),
            ("never", SendCertificate::Never),
        ];
        choice(text, &choices)
    },
};

pub(crate) const ASK: Shape<bool> = Shape { words: "yes or no", read: |text| yes_or_no(text, true, false) };

pub(crate) const IN_BAND_OCSP: Shape<InBandOcsp> = Shape {
    words: "never, reply, request or both",
    read: |text| {
        let choices = [
            ("never", InBandOcsp::Never),
            ("reply", InBandOcsp::Reply),
            ("request", InBandOcsp::Request),
            ("both", InBandOcsp::Both),
        ];
        choice(text, &choices)
    },
};

pub(crate) const WEAK: Shape<WeakAlgorithms> = Shape {
    words: "yes or no",
    read: |text| yes_or_no(text, WeakAlgorithms::Allowed, WeakAlgorithms::Refused),
};

pub(crate) const REVOCATIONS: Shape<Revocation> = Shape {
    words: "strict, ifuri or relaxed",
    read: |text| {
        let words =
            [("strict", Revocation::Strict), ("ifuri", Revocation::IfUri), ("relaxed", Revocation::Relaxed)];
        choice(text, &words)
    },
};

pub(crate) const POLICY: Shape<String> = Shape {
    words: "numbers with dots",
    read: |text| {
        let is_number = |arc: &str| !arc.is_empty() && arc.bytes().all(|digit| digit.is_ascii_digit());
        if text.contains('.') && text.split('.').all(is_number) {
            Ok(text.to_owned())
        } else {
            Err(Unreadable::new(format!("`{text}` is no policy"), "write it as 1.3.6.1.4.1.99999.1"))
        }
    },
};

pub(crate) const METHOD: Shape<Method> = Shape {
    words: "psk, pubkey, kinds of signatures, null, xauth, pubkey-encryption, or revised-encryption",
    read: method,
};

/// Signatures are said by key types, strengths and hashes with dashes between, EAP and XAuth by the name of a method.
fn method(text: &str) -> Result<Method, Unreadable> {
    match text {
        "pubkey-encryption" => return Ok(Method::Encryption(EncryptionForm::Plain)),
        "revised-encryption" => return Ok(Method::Encryption(EncryptionForm::Revised)),
        _ => {}
    }
    match text.split(['-', ':']).next().unwrap_or_default() {
        "psk" => return Ok(Method::PreSharedKey),
        "null" => return Ok(Method::Null),
        "eap" => return Ok(Method::Eap),
        "xauth" => return Ok(Method::Xauth),
        _ => {}
    }
    text.parse().map(Method::Signature).map_err(|fault: InvalidSignatureTerms| {
        let help = "write psk, pubkey, or as in rsa-3072-sha256-sha384, ecdsa-sha256 or ed25519";
        Unreadable::new(fault.to_string(), help)
    })
}
