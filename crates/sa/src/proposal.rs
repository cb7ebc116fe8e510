//! Proposals (what one side would accept) and suites (what both agreed on), as RFC 7296 §3.3 has them.

use std::fmt;

use crypto::IvRule;
use thiserror::Error;
use wire::registry::KeyExchangeId;

use crate::additional::{self, AdditionalOffer, AdditionalSuite, additional_keyword};
use crate::transform::{
    self, ENCRYPTION, Encryption, EncryptionKind, GROUPS, Group, INTEGRITY, Integrity, PSEUDO_RANDOM,
    PseudoRandom,
};
use crate::{Esn, Protocol};

/// What a proposal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProposalProtocol {
    /// The IKE SA itself.
    Ike,
    /// A Child SA with ESP.
    Esp,
    /// A Child SA with AH.
    Ah,
}

/// One proposal: for each kind of transform the acceptable ones, best first.
///
/// A proposal holds either only AEADs (and no integrity) or only other ciphers (with integrity): RFC 7296 §3.3 wants
/// the two in separate proposals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// What it is for.
    pub protocol: ProposalProtocol,
    /// Encryption; AH has none.
    pub encryption: Vec<&'static Encryption>,
    /// Integrity; empty beside AEADs.
    pub integrity: Vec<&'static Integrity>,
    /// Pseudo-random functions; IKE only.
    pub prf: Vec<&'static PseudoRandom>,
    /// Key exchange methods; for ESP and AH empty means no new key exchange when rekeying (no PFS).
    pub key_exchange: Vec<&'static Group>,
    /// Additional key exchanges (RFC 9370).
    pub additional: AdditionalOffer,
    /// Sequence number widths; ESP and AH only.
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
    /// An AH proposal names no integrity algorithm.
    #[error("an AH proposal needs an integrity algorithm, such as sha256")]
    NothingForAh,
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
    /// Additional key exchanges are named, and no first one.
    #[error("additional key exchanges need one that goes before them, such as x25519")]
    NothingToAddTo,
    /// Additional key exchanges are named that cannot all take place, for no method may take place twice.
    #[error("the additional key exchanges have too few methods: none may take place twice (RFC 9370 §2.2.1)")]
    AdditionalTwice,
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

    /// Gives the proposals that `default` stands for: AEADs first, then AES-CBC with HMAC; for AH the same HMACs
    /// (RFC 8247, RFC 8221). For IKE, ML-KEM-768 after Curve25519 comes before all: whoever records the exchange today shall
    /// not read it with a quantum computer, and a peer that does not know ML-KEM passes over the proposal.
    pub fn defaults(protocol: ProposalProtocol) -> Vec<Proposal> {
        let texts: &[&str] = match protocol {
            ProposalProtocol::Ike => &[
                "aes128gcm16-aes256gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512-x25519-ke1_mlkem768",
                "aes128gcm16-aes256gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512\
                 -x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048",
                "aes128-aes192-aes256-sha256-sha384-sha512\
                 -x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048",
            ],
            ProposalProtocol::Esp => &[
                "aes128gcm16-aes256gcm16-chacha20poly1305-esn-noesn",
                "aes128-aes192-aes256-sha256-sha384-sha512-esn-noesn",
            ],
            ProposalProtocol::Ah => &["sha256-sha384-sha512-esn-noesn"],
        };
        texts
            .iter()
            .map(|text| Proposal::parse(protocol, text).expect("the built-in defaults are tested to parse"))
            .collect()
    }

    /// Gives each weak algorithm that is named, with why it is weak. For a PRF that an integrity algorithm implies, the
    /// latter stands.
    pub fn weaknesses(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let is_implied = |id| self.integrity.iter().any(|row| row.implied_prf == Some(id));
        let encryption = self.encryption.iter().map(|row| (row.keywords[0], row.weakness));
        let integrity = self.integrity.iter().map(|row| (row.keywords[0], row.weakness));
        let prf = self.prf.iter().filter(move |row| !is_implied(row.id));
        let prf = prf.map(|row| (row.keywords[0], row.weakness));
        let additional = self.additional.iter().filter_map(|(_, choice)| choice);
        let groups = self.key_exchange.iter().copied().chain(additional);
        let groups = groups.map(|row| (row.keywords[0], row.weakness));
        let rows = encryption.chain(integrity).chain(prf).chain(groups);
        rows.filter_map(|(keyword, weakness)| Some((keyword, weakness?)))
    }

    /// Tells whether IKEv1 can negotiate it: that knows neither additional key exchanges nor ML-KEM.
    pub fn serves_version_1(&self) -> bool {
        const KEMS: [KeyExchangeId; 3] =
            [KeyExchangeId::ML_KEM_512, KeyExchangeId::ML_KEM_768, KeyExchangeId::ML_KEM_1024];
        self.additional.is_empty() && !self.key_exchange.iter().any(|row| KEMS.contains(&row.id))
    }

    /// Gives what `default` stands for in phase 1 of IKEv1: few combinations, since each is spelled out, and message 1
    /// must fit into one packet. The ESP defaults are the same as in version 2.
    pub fn defaults_of_version_1() -> Vec<Proposal> {
        let text = "aes256-aes128-sha256-modp2048-modp3072-ecp256";
        vec![Proposal::parse(ProposalProtocol::Ike, text).expect("the built-in defaults are tested to parse")]
    }

    fn empty(protocol: ProposalProtocol) -> Proposal {
        Proposal {
            protocol,
            encryption: Vec::new(),
            integrity: Vec::new(),
            prf: Vec::new(),
            key_exchange: Vec::new(),
            additional: AdditionalOffer::default(),
            esn: Vec::new(),
        }
    }

    fn add(&mut self, keyword: &str) -> Result<(), InvalidProposal> {
        let known = |keywords: &[&str]| keywords.contains(&keyword);
        let misplaced =
            || InvalidProposal::Misplaced { keyword: keyword.to_owned(), protocol: self.protocol };
        let is_ike = self.protocol == ProposalProtocol::Ike;
        let is_ah = self.protocol == ProposalProtocol::Ah;
        let integrity = INTEGRITY.iter().find(|row| known(row.keywords) && (is_ah || !row.is_for_ah_alone()));
        if let Some(row) = integrity {
            add_once(&mut self.integrity, row);
        } else if let Some(row) = ENCRYPTION.iter().find(|row| known(row.keywords)) {
            if is_ah || is_ike && !row.serves_ike() {
                return Err(misplaced());
            }
            add_once(&mut self.encryption, row);
        } else if let Some(row) = GROUPS.iter().find(|row| known(row.keywords)) {
            add_once(&mut self.key_exchange, row);
        } else if let Some((position, choice)) = additional::read(keyword) {
            self.additional.add(position, choice);
        } else if let (Some(row), true) = (PSEUDO_RANDOM.iter().find(|row| known(row.keywords)), is_ike) {
            add_once(&mut self.prf, row);
        } else if let (Some(esn), false) = (read_esn(keyword), is_ike) {
            add_once(&mut self.esn, esn);
        } else if read_esn(keyword).is_some() || PSEUDO_RANDOM.iter().any(|row| known(row.keywords)) {
            return Err(misplaced());
        } else {
            return Err(InvalidProposal::UnknownKeyword(keyword.to_owned()));
        }
        Ok(())
    }

    /// Checks that nothing is missing and fills in what the keywords imply.
    fn complete(mut self) -> Result<Proposal, InvalidProposal> {
        if self.protocol != ProposalProtocol::Ike && self.esn.is_empty() {
            self.esn.push(Esn::No);
        }
        if self.protocol != ProposalProtocol::Ike
            && self.key_exchange.is_empty()
            && !self.additional.is_empty()
        {
            return Err(InvalidProposal::NothingToAddTo);
        }
        if self.additional.choose(|_, _| true).is_none() {
            return Err(InvalidProposal::AdditionalTwice);
        }
        if self.protocol == ProposalProtocol::Ah {
            return if self.integrity.is_empty() { Err(InvalidProposal::NothingForAh) } else { Ok(self) };
        }
        let aead = self.encryption.iter().find(|row| matches!(row.kind, EncryptionKind::Aead(_)));
        let cipher = self.encryption.iter().find(|row| matches!(row.kind, EncryptionKind::Cipher(_)));
        let first = self.encryption.first().ok_or(InvalidProposal::NoEncryption)?.keywords[0];
        if let (Some(aead), Some(cipher)) = (aead, cipher) {
            return Err(InvalidProposal::MixedKinds { aead: aead.keywords[0], cipher: cipher.keywords[0] });
        }
        if aead.is_none() && self.integrity.is_empty() {
            return Err(InvalidProposal::NoIntegrity(first));
        }
        if self.protocol == ProposalProtocol::Ike {
            self.imply_prf(first)?;
        }
        if matches!(self.encryption[0].kind, EncryptionKind::Aead(_)) {
            self.integrity.clear();
        }
        Ok(self)
    }

    fn imply_prf(&mut self, first: &'static str) -> Result<(), InvalidProposal> {
        if self.prf.is_empty() {
            self.prf =
                self.integrity.iter().filter_map(|row| transform::pseudo_random(row.implied_prf?)).collect();
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
            ProposalProtocol::Ah => "AH",
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
            .chain(self.additional.iter().map(|(position, choice)| additional_keyword(position, choice)))
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
    /// A MAC alone: what AH has (RFC 4302).
    Authenticated(&'static Integrity),
}

impl Protection {
    /// Gives the encryption algorithm; AH has none.
    pub fn encryption(&self) -> Option<&'static Encryption> {
        match self {
            Protection::Combined(encryption) | Protection::Separate { encryption, .. } => Some(encryption),
            Protection::Authenticated(_) => None,
        }
    }

    /// Gives the integrity algorithm where it is one of its own.
    pub fn integrity(&self) -> Option<&'static Integrity> {
        match self {
            Protection::Combined(_) => None,
            Protection::Separate { integrity, .. } | Protection::Authenticated(integrity) => Some(integrity),
        }
    }

    /// Tells whether packets carry a count that must never come twice under one key: what is built on a stream of AES or
    /// ChaCha gives plaintexts, and with an AEAD the key of the authentication, away if it does (RFC 8221 §3).
    pub fn counts(&self) -> bool {
        match self.encryption().map(|encryption| &encryption.kind) {
            Some(EncryptionKind::Aead(_)) => true,
            Some(EncryptionKind::Cipher(cipher)) => cipher.encrypts() && cipher.iv_rule() == IvRule::Unique,
            None => self.integrity().is_some_and(Integrity::is_for_ah_alone),
        }
    }

    /// Gives the octets of key material that encryption takes, its salt included (RFC 5282 §7.1, RFC 4106 §8.1,
    /// RFC 3686 §5.1).
    pub fn encryption_key_len(&self) -> usize {
        self.encryption().map_or(0, Encryption::key_len)
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
            Protection::Authenticated(integrity) => write!(f, "{integrity}"),
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
    /// How the first shared secret came to be.
    pub key_exchange: &'static Group,
    /// How further ones came to be.
    pub additional: AdditionalSuite,
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}{}", self.protection, self.prf, self.key_exchange, self.additional)
    }
}

/// The algorithms of a Child SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildSuite {
    /// ESP or AH.
    pub protocol: Protocol,
    /// How packets are protected.
    pub protection: Protection,
    /// The key exchange of its own that it was made with; `None` in IKE_AUTH and without PFS.
    pub key_exchange: Option<&'static Group>,
    /// The further ones after that.
    pub additional: AdditionalSuite,
    /// Width of the sequence number.
    pub esn: Esn,
}

impl fmt::Display for ChildSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.protection)?;
        if let Some(key_exchange) = self.key_exchange {
            write!(f, "-{key_exchange}{}", self.additional)?;
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

    fn ah(text: &str) -> Result<Proposal, InvalidProposal> {
        Proposal::parse(ProposalProtocol::Ah, text)
    }

    #[test]
    fn proposals_print_as_they_are_read() {
        for text in ["aes256gcm16-prfsha384-x25519", "aes128-aes256-sha256-sha512-prfsha256-modp2048-ecp256"]
        {
            assert_eq!(ike(text).expect("valid").to_string(), text);
        }
        assert_eq!(esp("aes128-sha256-x25519-esn").expect("valid").to_string(), "aes128-sha256-x25519-esn");
        let hybrid = "aes128gcm16-x25519-ke1_mlkem768-ke1_none-ke3_ecp384-esn";
        assert_eq!(esp(hybrid).expect("valid").to_string(), hybrid);
        assert_eq!(ah("sha256-sha512-x25519-esn").expect("valid").to_string(), "sha256-sha512-x25519-esn");
    }

    #[test]
    fn keywords_imply_what_swanctl_says_they_imply() {
        assert_eq!(ike("aes128-aesxcbc-modp2048"), ike("aes128-aesxcbc-prfaesxcbc-modp2048"));
        assert_eq!(ike("aes128-sha-md5-modp2048"), ike("aes128-sha1-md5-prfsha1-prfmd5-modp2048"));
        assert_eq!(ike("aes128-sha256-modp2048"), ike("aes128-sha256-prfsha256-modp2048"));
        assert_eq!(ike("aes128gcm16-sha256-curve25519"), ike("aes128gcm16-prfsha256-x25519"));
        assert_eq!(esp("aes128gcm16"), esp("aes128gcm16-noesn"));
        assert_eq!(esp("aes128gcm16-sha256"), esp("aes128gcm16"));
        assert_eq!(ah("sha256"), ah("sha256-noesn"));
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
        assert_eq!(esp("null"), Err(InvalidProposal::NoIntegrity("null")));
        assert!(matches!(ah("aes128-sha256"), Err(InvalidProposal::Misplaced { .. })));
        assert!(matches!(ike("aes128-aes128gmac-x25519"), Err(InvalidProposal::Misplaced { .. })));
        assert!(matches!(esp("aes128-aes128gmac"), Err(InvalidProposal::MixedKinds { .. })));
        assert_eq!(ah("x25519-esn"), Err(InvalidProposal::NothingForAh));
        assert_eq!(esp("aes128gcm16-ke1_mlkem768"), Err(InvalidProposal::NothingToAddTo));
        assert_eq!(ike("aes128-sha256-ke1_mlkem768"), Err(InvalidProposal::NoKeyExchange));
        assert_eq!(
            ike("aes128-sha256-x25519-ke1_mlkem768-ke2_mlkem768"),
            Err(InvalidProposal::AdditionalTwice)
        );
        assert_eq!(
            ike("aes128-sha256-x25519-ke1_mlkem7"),
            Err(InvalidProposal::UnknownKeyword("ke1_mlkem7".into()))
        );
    }

    #[test]
    fn what_counts_is_known() {
        let counts = |proposal: Proposal| match (proposal.encryption.first(), proposal.integrity.first()) {
            (Some(encryption), None) => Protection::Combined(encryption).counts(),
            (Some(encryption), Some(integrity)) => Protection::Separate { encryption, integrity }.counts(),
            (None, integrity) => Protection::Authenticated(integrity.expect("AH has one")).counts(),
        };
        for text in
            ["aes128gcm16", "chacha20poly1305iiv", "aes128gmac", "aes256ctr-sha256", "camellia128ctr-sha256"]
        {
            assert!(counts(esp(text).expect("valid")), "{text}");
        }
        assert!(!counts(esp("aes256-sha256").expect("valid")));
        assert!(!counts(esp("null-sha256").expect("valid")));
        assert!(!counts(ah("sha512").expect("valid")));
        assert!(counts(ah("aes256gmac").expect("valid")));
    }

    #[test]
    fn what_an_ike_sa_must_not_have_is_misplaced_there() {
        for row in ENCRYPTION {
            let keyword = row.keywords[0];
            let misplaced = matches!(
                ike(&format!("{keyword}-sha256-x25519")),
                Err(InvalidProposal::Misplaced { keyword: named, protocol: ProposalProtocol::Ike })
                    if named == keyword
            );
            assert_eq!(misplaced, !row.serves_ike(), "{keyword}");
            assert!(esp(&format!("{keyword}-sha256")).is_ok(), "{keyword}");
        }
    }

    #[test]
    fn weaknesses_are_named_once() {
        let weak = |proposal: Result<Proposal, InvalidProposal>| {
            proposal.expect("valid").weaknesses().map(|(keyword, _)| keyword).collect::<Vec<_>>()
        };
        assert_eq!(weak(ike("aes128-3des-sha1-sha256-modp1024-x25519")), ["3des", "sha1", "modp1024"]);
        assert_eq!(weak(ike("aes128-sha256-prfsha1-x25519")), ["prfsha1"]);
        // Beside an AEAD only the PRF is left of it, in ESP nothing.
        assert_eq!(weak(ike("aes128gcm16-sha1-x25519")), ["prfsha1"]);
        assert!(weak(esp("aes128gcm16-sha1")).is_empty());
        assert_eq!(weak(ah("md5-sha256")), ["md5"]);
        assert_eq!(weak(ike("aes128-sha256-x25519-ke1_modp1024")), ["modp1024"]);
    }

    #[test]
    fn defaults_parse_and_name_nothing_weak() {
        for (protocol, number) in
            [(ProposalProtocol::Ike, 3), (ProposalProtocol::Esp, 2), (ProposalProtocol::Ah, 1)]
        {
            let defaults = Proposal::defaults(protocol);
            assert_eq!(defaults.len(), number);
            assert!(defaults.iter().all(|proposal| proposal.weaknesses().next().is_none()));
        }
    }
}
