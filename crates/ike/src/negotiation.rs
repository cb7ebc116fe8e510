//! Agreeing on algorithms: what is offered, what is chosen, and whether the answer is what was offered
//! (RFC 7296 §2.7, §3.3).
//!
//! ```text
//!  initiator                                             responder
//!  offer_ike, offer_esp   ---- SA: proposals 1, 2, … -->  choose_ike, choose_esp
//!  accept_ike, accept_esp <--- SA: one proposal, one ---  answer_ike, answer_esp
//!                              transform of each type
//! ```
//!
//! The responder's own order decides: the first of its proposals that meets any of the peer's, and in it the first of
//! each kind of transform. Only the group gives way to the one that the peer has already sent a key for, since any other
//! would cost a round trip.

use std::fmt;

use sa::transform::{Encryption, EncryptionKind, Group};
use sa::{Esn, EspSuite, IkeSuite, Proposal, Protection, Spi, transform};
use thiserror::Error;
use wire::isakmp::IkeSpi;
use wire::registry::{EncryptionId, EsnId, IntegrityId, KeyExchangeId, PrfId, ProtocolId, TransformType};
use wire::v2::Transform;

/// Whether the proposals of a Child SA speak of key exchange methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    /// In CREATE_CHILD_SA, where the Child SA may have a key exchange of its own.
    Offer,
    /// In IKE_AUTH, which has none (RFC 7296 §1.2).
    Omit,
}

/// What both ends agreed on for an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChosenIke {
    /// The algorithms.
    pub(crate) suite: IkeSuite,
    /// The number of the proposal among those offered.
    pub(crate) proposal_number: u8,
    /// The peer's SPI of the new IKE SA, which the proposal names when rekeying.
    pub(crate) peer_spi: Option<IkeSpi>,
    /// The transforms as they were offered: an answer returns them unmodified (RFC 7296 §3.3.6).
    transforms: Vec<Transform>,
}

/// What both ends agreed on for a Child SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChosenEsp {
    /// The algorithms.
    pub(crate) suite: EspSuite,
    /// The number of the proposal among those offered.
    pub(crate) proposal_number: u8,
    /// The SPI of the SA towards the peer.
    pub(crate) peer_spi: Spi,
    /// The transforms as they were offered.
    transforms: Vec<Transform>,
}

/// Nothing that the peer offers is allowed here; its sentence says what was missing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the peer offers {theirs}; we allow {ours}: {lacking}")]
pub struct NoAgreement {
    /// What we allow, in keywords of the configuration.
    pub ours: String,
    /// What the peer offers, in keywords where we know them, else by IANA's names.
    pub theirs: String,
    /// What the two that come closest do not have in common.
    pub lacking: String,
}

/// The responder's answer is nothing that we offered: it broke the protocol (RFC 7296 §3.3.6).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the peer answers {answer}; we offered {offered}: {reason}")]
pub(crate) struct Unacceptable {
    /// What it answered.
    pub(crate) answer: String,
    /// What we offered.
    pub(crate) offered: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// Lays out what we offer for an IKE SA; `spi` is that of the new IKE SA when rekeying, and `None` in IKE_SA_INIT.
pub(crate) fn offer_ike(proposals: &[Proposal], spi: Option<IkeSpi>) -> Vec<wire::v2::Proposal> {
    let spi = spi.map_or(Vec::new(), |spi| spi.to_octets().to_vec());
    numbered(proposals)
        .map(|(number, proposal)| {
            let transforms = protection_transforms(proposal)
                .chain(proposal.prf.iter().map(|row| Transform::prf(row.id)))
                .chain(group_transforms(proposal))
                .collect();
            wire::v2::Proposal { number, protocol: ProtocolId::IKE, spi: spi.clone(), transforms }
        })
        .collect()
}

/// Lays out what we offer for a Child SA; `spi` is that of the SA towards us.
pub(crate) fn offer_esp(proposals: &[Proposal], spi: Spi, groups: Groups) -> Vec<wire::v2::Proposal> {
    numbered(proposals)
        .map(|(number, proposal)| {
            let key_exchange = match groups {
                Groups::Offer => group_transforms(proposal).collect(),
                Groups::Omit => Vec::new(),
            };
            let transforms = protection_transforms(proposal)
                .chain(key_exchange)
                .chain(proposal.esn.iter().map(|esn| esn_transform(*esn)))
                .collect();
            wire::v2::Proposal {
                number,
                protocol: ProtocolId::ESP,
                spi: spi.0.to_be_bytes().to_vec(),
                transforms,
            }
        })
        .collect()
}

/// Chooses, as responder, among what the peer offers for an IKE SA. `preferred_group` is that of its KE payload.
///
/// # Errors
/// Nothing offered is allowed.
pub(crate) fn choose_ike(
    ours: &[Proposal],
    offer: &[wire::v2::Proposal],
    preferred_group: Option<KeyExchangeId>,
) -> Result<ChosenIke, NoAgreement> {
    choose(ours, offer, |our, their| match_ike(our, their, preferred_group))
}

/// Chooses, as responder, among what the peer offers for a Child SA. `preferred_group` is that of its KE payload, if
/// there is one.
///
/// # Errors
/// Nothing offered is allowed.
pub(crate) fn choose_esp(
    ours: &[Proposal],
    offer: &[wire::v2::Proposal],
    groups: Groups,
    preferred_group: Option<KeyExchangeId>,
) -> Result<ChosenEsp, NoAgreement> {
    choose(ours, offer, |our, their| match_esp(our, their, groups, preferred_group))
}

/// Lays out the responder's answer for an IKE SA; `our_spi` is that of the new IKE SA when rekeying.
pub(crate) fn answer_ike(chosen: &ChosenIke, our_spi: Option<IkeSpi>) -> wire::v2::Proposal {
    wire::v2::Proposal {
        number: chosen.proposal_number,
        protocol: ProtocolId::IKE,
        spi: our_spi.map_or(Vec::new(), |spi| spi.to_octets().to_vec()),
        transforms: chosen.transforms.clone(),
    }
}

/// Lays out the responder's answer for a Child SA; `our_spi` is that of the SA towards us.
pub(crate) fn answer_esp(chosen: &ChosenEsp, our_spi: Spi) -> wire::v2::Proposal {
    wire::v2::Proposal {
        number: chosen.proposal_number,
        protocol: ProtocolId::ESP,
        spi: our_spi.0.to_be_bytes().to_vec(),
        transforms: chosen.transforms.clone(),
    }
}

/// Checks, as initiator, the answer to what [`offer_ike`] made of `offered`.
///
/// # Errors
/// It is not one of the proposals with one transform of each type.
pub(crate) fn accept_ike(
    offered: &[Proposal],
    answer: &[wire::v2::Proposal],
) -> Result<ChosenIke, Unacceptable> {
    accept(offered, answer, |our, their| match_ike(our, their, None))
}

/// Checks, as initiator, the answer to what [`offer_esp`] made of `offered` and `groups`.
///
/// # Errors
/// It is not one of the proposals with one transform of each type.
pub(crate) fn accept_esp(
    offered: &[Proposal],
    answer: &[wire::v2::Proposal],
    groups: Groups,
) -> Result<ChosenEsp, Unacceptable> {
    accept(offered, answer, |our, their| match_esp(our, their, groups, None))
}

/// Tries all pairs, ours in the outer loop; on failure names what the pair that came closest lacked.
fn choose<T>(
    ours: &[Proposal],
    offer: &[wire::v2::Proposal],
    matching: impl Fn(&Proposal, &wire::v2::Proposal) -> Result<T, Lack>,
) -> Result<T, NoAgreement> {
    let mut closest = Lack::Proposal;
    for our in ours {
        for their in offer {
            match matching(our, their) {
                Ok(chosen) => return Ok(chosen),
                Err(lack) => closest = closest.max(lack),
            }
        }
    }
    Err(NoAgreement {
        ours: ours_in_words(ours),
        theirs: offer_in_words(offer),
        lacking: closest.to_string(),
    })
}

fn accept<T>(
    offered: &[Proposal],
    answer: &[wire::v2::Proposal],
    matching: impl Fn(&Proposal, &wire::v2::Proposal) -> Result<T, Lack>,
) -> Result<T, Unacceptable> {
    let unacceptable = |reason: String| Unacceptable {
        answer: offer_in_words(answer),
        offered: ours_in_words(offered),
        reason,
    };
    let [answer] = answer else {
        return Err(unacceptable(format!("{} proposals where one must be", answer.len())));
    };
    let (_, ours) = numbered(offered)
        .find(|(number, _)| *number == answer.number)
        .ok_or_else(|| unacceptable(format!("no proposal {} was offered", answer.number)))?;
    if let Some(doubled) = first_doubled(&answer.transforms) {
        return Err(unacceptable(format!("more than one transform of type {doubled}")));
    }
    matching(ours, answer).map_err(|lack| unacceptable(lack.to_string()))
}

fn first_doubled(transforms: &[Transform]) -> Option<TransformType> {
    let types: Vec<TransformType> = transforms.iter().map(|transform| transform.transform_type).collect();
    types.iter().enumerate().find(|(index, kind)| types[..*index].contains(kind)).map(|(_, kind)| *kind)
}

/// What keeps two proposals from meeting; ordered by how close they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Proposal,
    Protocol,
    TransformType(TransformType),
    Encryption,
    Integrity,
    PseudoRandom,
    SequenceNumbers,
    KeyExchange,
    NoKeyExchangeTheirs,
    NoKeyExchangeOurs,
    Spi,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Proposal => f.write_str("no proposal at all"),
            Lack::Protocol => f.write_str("no proposal for the protocol"),
            Lack::TransformType(kind) => {
                write!(f, "a transform of type {kind}, which is not understood here")
            }
            Lack::Encryption => f.write_str("no common encryption algorithm"),
            Lack::Integrity => f.write_str("no common integrity algorithm"),
            Lack::PseudoRandom => f.write_str("no common pseudo-random function"),
            Lack::SequenceNumbers => f.write_str("no common width of sequence numbers"),
            Lack::KeyExchange => f.write_str("no common key exchange method"),
            Lack::NoKeyExchangeTheirs => f.write_str("no key exchange offered where we want one (PFS)"),
            Lack::NoKeyExchangeOurs => f.write_str("a key exchange (PFS) where we allow none"),
            Lack::Spi => f.write_str("an SPI that cannot be one"),
        }
    }
}

fn match_ike(
    ours: &Proposal,
    offer: &wire::v2::Proposal,
    preferred_group: Option<KeyExchangeId>,
) -> Result<ChosenIke, Lack> {
    const UNDERSTOOD: &[TransformType] = &[
        TransformType::ENCRYPTION,
        TransformType::PRF,
        TransformType::INTEGRITY,
        TransformType::KEY_EXCHANGE,
    ];
    let mut choice = Choice::begin(offer, ProtocolId::IKE, UNDERSTOOD)?;
    let protection = choice.protection(ours)?;
    let prf =
        choice.pick(ours.prf.iter().copied(), |row| Transform::prf(row.id)).ok_or(Lack::PseudoRandom)?;
    let key_exchange = choice.group(ours, preferred_group).ok_or(Lack::KeyExchange)?;
    let peer_spi = match <[u8; 8]>::try_from(offer.spi.as_slice()) {
        Ok(octets) => Some(IkeSpi(u64::from_be_bytes(octets))).filter(|spi| !spi.is_zero()),
        Err(_) if offer.spi.is_empty() => None,
        Err(_) => return Err(Lack::Spi),
    };
    let suite = IkeSuite { protection, prf, key_exchange };
    Ok(ChosenIke { suite, proposal_number: offer.number, peer_spi, transforms: choice.transforms })
}

fn match_esp(
    ours: &Proposal,
    offer: &wire::v2::Proposal,
    groups: Groups,
    preferred_group: Option<KeyExchangeId>,
) -> Result<ChosenEsp, Lack> {
    const UNDERSTOOD: &[TransformType] = &[
        TransformType::ENCRYPTION,
        TransformType::INTEGRITY,
        TransformType::KEY_EXCHANGE,
        TransformType::ESN,
    ];
    let mut choice = Choice::begin(offer, ProtocolId::ESP, UNDERSTOOD)?;
    let protection = choice.protection(ours)?;
    let esn =
        choice.pick(ours.esn.iter().copied(), |esn| esn_transform(*esn)).ok_or(Lack::SequenceNumbers)?;
    let key_exchange = match groups {
        Groups::Offer => choice.own_group(ours, preferred_group)?,
        // Some peers name groups in IKE_AUTH all the same; they can have no effect there.
        Groups::Omit => None,
    };
    let peer_spi = <[u8; 4]>::try_from(offer.spi.as_slice()).map(|octets| Spi(u32::from_be_bytes(octets)));
    let peer_spi = peer_spi.ok().filter(|spi| *spi >= Spi::LOWEST).ok_or(Lack::Spi)?;
    let suite = EspSuite { protection, key_exchange, esn };
    Ok(ChosenEsp { suite, proposal_number: offer.number, peer_spi, transforms: choice.transforms })
}

/// A walk through one offered proposal that collects the transforms chosen from it.
struct Choice<'a> {
    offer: &'a wire::v2::Proposal,
    transforms: Vec<Transform>,
}

impl<'a> Choice<'a> {
    /// RFC 7296 §3.3.6: a transform type that is not understood makes the whole proposal unacceptable; an algorithm
    /// or an attribute that is not understood, only its own transform.
    fn begin(
        offer: &'a wire::v2::Proposal,
        protocol: ProtocolId,
        understood: &[TransformType],
    ) -> Result<Choice<'a>, Lack> {
        if offer.protocol != protocol {
            return Err(Lack::Protocol);
        }
        let stranger =
            offer.transforms.iter().find(|transform| !understood.contains(&transform.transform_type));
        match stranger {
            Some(transform) => Err(Lack::TransformType(transform.transform_type)),
            None => Ok(Choice { offer, transforms: Vec::new() }),
        }
    }

    /// Takes the first of `ours` that is offered with exactly the attributes that it must have.
    fn pick<T>(
        &mut self,
        ours: impl IntoIterator<Item = T>,
        transform_of: impl Fn(&T) -> Transform,
    ) -> Option<T> {
        let offered = &self.offer.transforms;
        let (own, transform) = ours.into_iter().find_map(|own| {
            let transform = transform_of(&own);
            offered.contains(&transform).then_some((own, transform))
        })?;
        self.transforms.push(transform);
        Some(own)
    }

    fn offers(&self, kind: TransformType) -> bool {
        self.offer.transforms.iter().any(|transform| transform.transform_type == kind)
    }

    fn protection(&mut self, ours: &Proposal) -> Result<Protection, Lack> {
        let encryption = self
            .pick(ours.encryption.iter().copied(), |row| encryption_transform(row))
            .ok_or(Lack::Encryption)?;
        match encryption.kind {
            EncryptionKind::Cipher(_) => {
                let integrity = self.pick(ours.integrity.iter().copied(), |row| Transform::integrity(row.id));
                Ok(Protection::Separate { encryption, integrity: integrity.ok_or(Lack::Integrity)? })
            }
            // RFC 7296 §3.3: beside an AEAD there is no integrity transform, or NONE.
            EncryptionKind::Aead(_) if self.offers(TransformType::INTEGRITY) => {
                self.pick([()], |()| Transform::integrity(IntegrityId::NONE)).ok_or(Lack::Integrity)?;
                Ok(Protection::Combined(encryption))
            }
            EncryptionKind::Aead(_) => Ok(Protection::Combined(encryption)),
        }
    }

    fn group(&mut self, ours: &Proposal, preferred: Option<KeyExchangeId>) -> Option<&'static Group> {
        let first = ours.key_exchange.iter().filter(|row| Some(row.id) == preferred);
        self.pick(first.chain(&ours.key_exchange).copied(), |row| Transform::key_exchange(row.id))
    }

    /// The group of a Child SA's own key exchange; an offer without any, or of NONE, stands for none.
    fn own_group(
        &mut self,
        ours: &Proposal,
        preferred: Option<KeyExchangeId>,
    ) -> Result<Option<&'static Group>, Lack> {
        let none = Transform::key_exchange(KeyExchangeId::NONE);
        let offers_none = self.offer.transforms.contains(&none);
        if ours.key_exchange.is_empty() {
            return match self.pick([()], |()| none.clone()) {
                Some(()) => Ok(None),
                None if self.offers(TransformType::KEY_EXCHANGE) => Err(Lack::NoKeyExchangeOurs),
                None => Ok(None),
            };
        }
        match self.group(ours, preferred) {
            Some(group) => Ok(Some(group)),
            None if offers_none || !self.offers(TransformType::KEY_EXCHANGE) => {
                Err(Lack::NoKeyExchangeTheirs)
            }
            None => Err(Lack::KeyExchange),
        }
    }
}

/// Proposals with their numbers: from one, and no more than an octet can count.
fn numbered(proposals: &[Proposal]) -> impl Iterator<Item = (u8, &Proposal)> {
    (1..=u8::MAX).zip(proposals)
}

fn protection_transforms(proposal: &Proposal) -> impl Iterator<Item = Transform> {
    let encryption = proposal.encryption.iter().map(|row| encryption_transform(row));
    encryption.chain(proposal.integrity.iter().map(|row| Transform::integrity(row.id)))
}

fn group_transforms(proposal: &Proposal) -> impl Iterator<Item = Transform> {
    proposal.key_exchange.iter().map(|row| Transform::key_exchange(row.id))
}

fn encryption_transform(row: &Encryption) -> Transform {
    Transform::encryption(row.id, row.key_bits)
}

fn esn_transform(esn: Esn) -> Transform {
    Transform::esn(match esn {
        Esn::No => EsnId::SEQUENCE_NUMBERS_32,
        Esn::Yes => EsnId::EXTENDED,
    })
}

fn ours_in_words(proposals: &[Proposal]) -> String {
    in_words(proposals.iter().map(ToString::to_string))
}

fn offer_in_words(offer: &[wire::v2::Proposal]) -> String {
    in_words(offer.iter().map(|proposal| {
        let words: Vec<String> = proposal.transforms.iter().map(keyword).collect();
        words.join("-")
    }))
}

/// An offer can be made long, and this goes into logs.
fn in_words(proposals: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 8;
    let more = proposals.len().saturating_sub(SHOWN);
    let shown: Vec<String> = proposals.take(SHOWN).collect();
    match (shown.as_slice(), more) {
        ([], _) => "nothing".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The configuration's keyword for a transform, or else IANA's name.
fn keyword(transform: &Transform) -> String {
    let id = transform.id;
    let keyword = match transform.transform_type {
        TransformType::ENCRYPTION => {
            transform::encryption(EncryptionId(id), transform.key_bits).map(row_keyword)
        }
        TransformType::PRF => transform::pseudo_random(PrfId(id)).map(row_keyword),
        TransformType::INTEGRITY => transform::integrity(IntegrityId(id)).map(row_keyword),
        TransformType::KEY_EXCHANGE => transform::group(KeyExchangeId(id)).map(row_keyword),
        TransformType::ESN if EsnId(id) == EsnId::SEQUENCE_NUMBERS_32 => Some(Esn::No.to_string()),
        TransformType::ESN if EsnId(id) == EsnId::EXTENDED => Some(Esn::Yes.to_string()),
        _ => None,
    };
    keyword.unwrap_or_else(|| transform.to_string())
}

fn row_keyword(row: &impl fmt::Display) -> String {
    row.to_string()
}
