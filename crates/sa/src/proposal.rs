//! Proposals (what one side would accept) and suites (what both agreed on), as RFC 7296 §3.3 has them.

use std::fmt;

use thiserror::Error;

use crate::Esn;
use crate::transform::{
    self, ENCRYPTION, Encryption, EncryptionKind, GROUPS, Group, INTEGRITY, Integrity, PSEUDO_RANDOM,
    PseudoRandom,
};

/// What a proposal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProposalProtocol {
    /// The IKE SA itself.
    Ike,
    /// A Child SA with ESP.
    Esp,
}

/// One proposal: for each kind of transform the acceptable ones, best first.
///
/// A proposal holds either only AEADs (and no integrity) or only other ciphers (with integrity): RFC 7296 §3.3 wants
/// the two in separate proposals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// What it is for.
    pub protocol: ProposalProtocol,
    /// Encryption.
    pub encryption: Vec<&'static Encryption>,
    /// Integrity; empty beside AEADs.
    pub integrity: Vec<&'static Integrity>,
    /// Pseudo-random functions; IKE only.
    pub prf: Vec<&'static PseudoRandom>,
    /// Key exchange methods; for ESP empty means no new key exchange when rekeying (no PFS).
    pub key_exchange: Vec<&'static Group>,
    /// Sequence number widths; ESP only.
    pub esn: Vec<Esn>,
}

/// Why a text is no proposal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidProposal {
    /// A keyword stands in no row of the transform table.
    #[error("`{0}` is not a known algorithm")]
    UnknownKeyword(String),
    /// A keyword has no meaning in a proposal of this protocol.
    #[error("`{keyword}` has no meaning in an {protocol} proposal")]
    Misplaced {
        /// The keyword.
        keyword: String,
        /// What the proposal is for.
        protocol: ProposalProtocol,
    },
    /// No encryption algorithm is named.
    #[error("the proposal names no encryption algorithm")]
    NoEncryption,
    /// AEADs and other ciphers stand in one proposal.
    #[error(
        "`{aead}` brings its own integrity and `{cipher}` does not; write them as two proposals (RFC 7296 §3.3)"
    )]
    MixedKinds {
        /// The AEAD.
        aead: &'static str,
        /// The other cipher.
        cipher: &'static str,
    },
    /// A cipher has no integrity algorithm beside it.
    #[error("`{0}` needs an integrity algorithm beside it, such as sha256")]
    NoIntegrity(&'static str),
    /// An IKE proposal names no pseudo-random function and no integrity algorithm implies one.
    #[error("`{0}` in an IKE proposal needs a pseudo-random function, such as prfsha256")]
    NoPrf(&'static str),
    /// An IKE proposal names no key exchange.
    #[error("an IKE proposal needs a key exchange method, such as x25519")]
    NoKeyExchange,
}

impl Proposal {
    /// Reads a proposal of keywords joined by `-`, such as `aes256gcm16-prfsha384-x25519`.
    ///
    /// As in swanctl.conf, an integrity keyword implies the PRF of an IKE proposal that names none, and is otherwise
    /// without effect beside AEADs.
    ///
    /// # Errors
    /// A keyword is unknown or misplaced, or a kind of transform is missing.
    pub fn parse(protocol: ProposalProtocol, text: &str) -> Result<Proposal, InvalidProposal> {
        let mut proposal = Proposal::empty(protocol);
        for keyword in text.split('-').map(str::trim) {
            proposal.add(keyword)?;
        }
        proposal.complete()
    }

    /// Gives the proposals that `default` stands for: AEADs first, then AES-CBC with HMAC (RFC 8247, RFC 8221).
    pub fn defaults(protocol: ProposalProtocol) -> Vec<Proposal> {
        let (aead, cbc) = match protocol {
            ProposalProtocol::Ike => (
                "aes128gcm16-aes256gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512\
                 -x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048",
                "aes128-aes192-aes256-sha256-sha384-sha512\
                 -x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048",
            ),
            ProposalProtocol::Esp => (
                "aes128gcm16-aes256gcm16-chacha20poly1305-esn-noesn",
                "aes128-aes192-aes256-sha256-sha384-sha512-esn-noesn",
            ),
        };
        [aead, cbc]
            .map(|text| Proposal::parse(protocol, text).expect("the built-in defaults are tested to parse"))
            .into()
    }

    fn empty(protocol: ProposalProtocol) -> Proposal {
        Proposal {
            protocol,
            encryption: Vec::new(),
            integrity: Vec::new(),
            prf: Vec::new(),
            key_exchange: Vec::new(),
            esn: Vec::new(),
        }
    }

    fn add(&mut self, keyword: &str) -> Result<(), InvalidProposal> {
        let known = |keywords: &[&str]| keywords.contains(&keyword);
        let is_ike = self.protocol == ProposalProtocol::Ike;
        if let Some(row) = ENCRYPTION.iter().find(|row| known(row.keywords)) {
            add_once(&mut self.encryption, row);
        } else if let Some(row) = INTEGRITY.iter().find(|row| known(row.keywords)) {
            add_once(&mut self.integrity, row);
        } else if let Some(row) = GROUPS.iter().find(|row| known(row.keywords)) {
            add_once(&mut self.key_exchange, row);
        } else if let (Some(row), true) = (PSEUDO_RANDOM.iter().find(|row| known(row.keywords)), is_ike) {
            add_once(&mut self.prf, row);
        } else if let (Some(esn), false) = (read_esn(keyword), is_ike) {
            add_once(&mut self.esn, esn);
        } else if read_esn(keyword).is_some() || PSEUDO_RANDOM.iter().any(|row| known(row.keywords)) {
            return Err(InvalidProposal::Misplaced { keyword: keyword.to_owned(), protocol: self.protocol });
        } else {
            return Err(InvalidProposal::UnknownKeyword(keyword.to_owned()));
        }
        Ok(())
    }

    /// Checks that nothing is missing and fills in what the keywords imply.
    fn complete(mut self) -> Result<Proposal, InvalidProposal> {
        let aead = self.encryption.iter().find(|row| matches!(row.kind, EncryptionKind::Aead(_)));
        let cipher = self.encryption.iter().find(|row| matches!(row.kind, EncryptionKind::Cipher(_)));
        let first = self.encryption.first().ok_or(InvalidProposal::NoEncryption)?.keywords[0];
        if let (Some(aead), Some(cipher)) = (aead, cipher) {
            return Err(InvalidProposal::MixedKinds { aead: aead.keywords[0], cipher: cipher.keywords[0] });
        }
        if aead.is_none() && self.integrity.is_empty() {
            return Err(InvalidProposal::NoIntegrity(first));
        }
        match self.protocol {
            ProposalProtocol::Ike => self.imply_prf(first)?,
            ProposalProtocol::Esp if self.esn.is_empty() => self.esn.push(Esn::No),
            ProposalProtocol::Esp => {}
        }
        if matches!(self.encryption[0].kind, EncryptionKind::Aead(_)) {
            self.integrity.clear();
        }
        Ok(self)
    }

    fn imply_prf(&mut self, first: &'static str) -> Result<(), InvalidProposal> {
        if self.prf.is_empty() {
            self.prf =
                self.integrity.iter().filter_map(|row| transform::pseudo_random(row.implied_prf)).collect();
        }
        if self.prf.is_empty() {
            return Err(InvalidProposal::NoPrf(first));
        }
        if self.key_exchange.is_empty() {
            return Err(InvalidProposal::NoKeyExchange);
        }
        Ok(())
    }
}

fn read_esn(keyword: &str) -> Option<Esn> {
    match keyword {
        "esn" => Some(Esn::Yes),
        "noesn" => Some(Esn::No),
        _ => None,
    }
}

fn add_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

impl fmt::Display for ProposalProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProposalProtocol::Ike => "IKE",
            ProposalProtocol::Esp => "ESP",
        })
    }
}

impl fmt::Display for Esn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Esn::No => "noesn",
            Esn::Yes => "esn",
        })
    }
}

impl fmt::Display for Proposal {
    /// Prints the keywords as [`Proposal::parse`] reads them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keywords = self
            .encryption
            .iter()
            .map(ToString::to_string)
            .chain(self.integrity.iter().map(ToString::to_string))
            .chain(self.prf.iter().map(ToString::to_string))
            .chain(self.key_exchange.iter().map(ToString::to_string))
            .chain(self.esn.iter().map(ToString::to_string));
        f.write_str(&keywords.collect::<Vec<_>>().join("-"))
    }
}

/// How an SA protects: encryption with integrity, in one algorithm or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// An AEAD.
    Combined(&'static Encryption),
    /// A cipher, then a MAC over the ciphertext.
    Separate {
        /// The cipher.
        encryption: &'static Encryption,
        /// The MAC.
        integrity: &'static Integrity,
    },
}

impl Protection {
    /// Gives the encryption algorithm.
    pub fn encryption(&self) -> &'static Encryption {
        match self {
            Protection::Combined(encryption) | Protection::Separate { encryption, .. } => encryption,
        }
    }

    /// Gives the integrity algorithm where it is one of its own.
    pub fn integrity(&self) -> Option<&'static Integrity> {
        match self {
            Protection::Combined(_) => None,
            Protection::Separate { integrity, .. } => Some(integrity),
        }
    }

    /// Gives the octets of key material that encryption takes, an AEAD's salt included (RFC 5282 §7.1, RFC 4106 §8.1).
    pub fn encryption_key_len(&self) -> usize {
        match &self.encryption().kind {
            EncryptionKind::Aead(aead) => aead.key_len() + aead.salt_len(),
            EncryptionKind::Cipher(cipher) => cipher.key_len(),
        }
    }

    /// Gives the octets of key material that integrity takes.
    pub fn integrity_key_len(&self) -> usize {
        self.integrity().map_or(0, |integrity| integrity.mac.key_len())
    }

    /// Gives the octets of key material for one direction: encryption, then integrity.
    pub fn key_len(&self) -> usize {
        self.encryption_key_len() + self.integrity_key_len()
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protection::Combined(encryption) => write!(f, "{encryption}"),
            Protection::Separate { encryption, integrity } => write!(f, "{encryption}-{integrity}"),
        }
    }
}

/// The algorithms of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeSuite {
    /// How messages are protected.
    pub protection: Protection,
    /// How keys are derived.
    pub prf: &'static PseudoRandom,
    /// How the shared secret came to be.
    pub key_exchange: &'static Group,
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.protection, self.prf, self.key_exchange)
    }
}

/// The algorithms of a Child SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspSuite {
    /// How packets are protected.
    pub protection: Protection,
    /// The key exchange of its own that it was made with; `None` in IKE_AUTH and without PFS.
    pub key_exchange: Option<&'static Group>,
    /// Width of the sequence number.
    pub esn: Esn,
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.protection)?;
        if let Some(key_exchange) = self.key_exchange {
            write!(f, "-{key_exchange}")?;
        }
        match self.esn {
            Esn::Yes => f.write_str("-esn"),
            Esn::No => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ike(text: &str) -> Result<Proposal, InvalidProposal> {
        Proposal::parse(ProposalProtocol::Ike, text)
    }

    fn esp(text: &str) -> Result<Proposal, InvalidProposal> {
        Proposal::parse(ProposalProtocol::Esp, text)
    }

    #[test]
    fn proposals_print_as_they_are_read() {
        for text in ["aes256gcm16-prfsha384-x25519", "aes128-aes256-sha256-sha512-prfsha256-modp2048-ecp256"]
        {
            assert_eq!(ike(text).expect("valid").to_string(), text);
        }
        assert_eq!(esp("aes128-sha256-x25519-esn").expect("valid").to_string(), "aes128-sha256-x25519-esn");
    }

    #[test]
    fn keywords_imply_what_swanctl_says_they_imply() {
        assert_eq!(ike("aes128-sha256-modp2048"), ike("aes128-sha256-prfsha256-modp2048"));
        assert_eq!(ike("aes128gcm16-sha256-curve25519"), ike("aes128gcm16-prfsha256-x25519"));
        assert_eq!(esp("aes128gcm16"), esp("aes128gcm16-noesn"));
        assert_eq!(esp("aes128gcm16-sha256"), esp("aes128gcm16"));
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(ike("aes999-sha256-x25519"), Err(InvalidProposal::UnknownKeyword("aes999".into())));
        assert_eq!(ike("aes128gcm16-x25519"), Err(InvalidProposal::NoPrf("aes128gcm16")));
        assert_eq!(ike("aes128-x25519"), Err(InvalidProposal::NoIntegrity("aes128")));
        assert_eq!(ike("aes128-sha256"), Err(InvalidProposal::NoKeyExchange));
        assert_eq!(ike("sha256-x25519"), Err(InvalidProposal::NoEncryption));
        assert!(matches!(esp("aes128gcm16-aes128-sha256"), Err(InvalidProposal::MixedKinds { .. })));
        assert!(matches!(esp("aes128gcm16-prfsha256"), Err(InvalidProposal::Misplaced { .. })));
        assert!(matches!(ike("aes128-sha256-x25519-esn"), Err(InvalidProposal::Misplaced { .. })));
    }

    #[test]
    fn defaults_parse() {
        for protocol in [ProposalProtocol::Ike, ProposalProtocol::Esp] {
            assert_eq!(Proposal::defaults(protocol).len(), 2);
        }
    }
}
