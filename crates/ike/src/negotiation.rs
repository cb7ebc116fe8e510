//! Agreeing on algorithms: what is offered, what is chosen, and whether the answer is what was offered
//! (RFC 7296 §2.7, §3.3).
//!
//! ```text
//!  initiator                                             responder
//!  offer_ike, offer_child   ---- SA: proposals 1, 2, … -->  choose_ike, choose_child
//!  accept_ike, accept_child <--- SA: one proposal, one ---  answer_ike, answer_child
//!                              transform of each type
//! ```
//!
//! The responder's own order decides: the first of its proposals that meets any of the peer's, and in it the first of
//! each kind of transform. Only the group gives way to the one that the peer has already sent a key for, since any other
//! would cost a round trip.

mod additional;

use std::fmt;

use sa::transform::{Encryption, EncryptionKind, Group};
use sa::{
    AdditionalSuite, ChildSuite, Esn, IkeSuite, Proposal, ProposalProtocol, Protection, Protocol, Spi,
    additional_keyword, transform,
};
use thiserror::Error;
use wire::isakmp::IkeSpi;
use wire::registry::{EncryptionId, EsnId, IntegrityId, KeyExchangeId, PrfId, ProtocolId, TransformType};
use wire::v2::Transform;

use additional::{additional_transforms, position_of};

/// Whether the proposals of a Child SA speak of key exchange methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    /// In CREATE_CHILD_SA, where the Child SA may have a key exchange of its own.
    Offer,
    /// In IKE_AUTH, which has none (RFC 7296 §1.2).
    Omit,
}

/// Whether additional key exchanges can take place (RFC 9370).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Additional {
    /// Both ends know how.
    Possible,
    /// The other end does not know IKE_INTERMEDIATE: in IKE_SA_INIT their transforms count as unknown (§2.2.1).
    Unknown,
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
pub(crate) struct ChosenChild {
    /// The algorithms.
    pub(crate) suite: ChildSuite,
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
                .chain(additional_transforms(proposal))
                .collect();
            wire::v2::Proposal { number, protocol: ProtocolId::IKE, spi: spi.clone(), transforms }
        })
        .collect()
}

/// Lays out what we offer for a Child SA; `spi` is that of the SA towards us.
pub(crate) fn offer_child(proposals: &[Proposal], spi: Spi, groups: Groups) -> Vec<wire::v2::Proposal> {
    numbered(proposals)
        .map(|(number, proposal)| {
            let key_exchange = match groups {
                Groups::Offer => group_transforms(proposal).chain(additional_transforms(proposal)).collect(),
                Groups::Omit => Vec::new(),
            };
            let transforms = protection_transforms(proposal)
                .chain(key_exchange)
                .chain(proposal.esn.iter().map(|esn| esn_transform(*esn)))
                .collect();
            let protocol = on_wire(proposal.protocol);
            wire::v2::Proposal { number, protocol, spi: spi.0.to_be_bytes().to_vec(), transforms }
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
    additional: Additional,
) -> Result<ChosenIke, NoAgreement> {
    choose(ours, offer, |our, their| match_ike(our, their, preferred_group, additional))
}

/// Chooses, as responder, among what the peer offers for a Child SA. `preferred_group` is that of its KE payload, if
/// there is one.
///
/// # Errors
/// Nothing offered is allowed.
pub(crate) fn choose_child(
    ours: &[Proposal],
    offer: &[wire::v2::Proposal],
    groups: Groups,
    preferred_group: Option<KeyExchangeId>,
) -> Result<ChosenChild, NoAgreement> {
    choose(ours, offer, |our, their| match_child(our, their, groups, preferred_group))
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
pub(crate) fn answer_child(chosen: &ChosenChild, our_spi: Spi) -> wire::v2::Proposal {
    wire::v2::Proposal {
        number: chosen.proposal_number,
        protocol: protocol_id(chosen.suite.protocol),
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
    additional: Additional,
) -> Result<ChosenIke, Unacceptable> {
    accept(offered, answer, |our, their| match_ike(our, their, None, additional))
}

/// Checks, as initiator, the answer to what [`offer_child`] made of `offered` and `groups`.
///
/// # Errors
/// It is not one of the proposals with one transform of each type.
pub(crate) fn accept_child(
    offered: &[Proposal],
    answer: &[wire::v2::Proposal],
    groups: Groups,
) -> Result<ChosenChild, Unacceptable> {
    accept(offered, answer, |our, their| match_child(our, their, groups, None))
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
    Additional,
    NoAdditionalTheirs,
    NoAdditionalOurs,
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
            Lack::Additional => f.write_str("no common methods for the additional key exchanges"),
            Lack::NoAdditionalTheirs => {
                f.write_str("no additional key exchange offered where we want one (RFC 9370)")
            }
            Lack::NoAdditionalOurs => f.write_str("an additional key exchange where we allow none"),
            Lack::Spi => f.write_str("an SPI that cannot be one"),
        }
    }
}

fn match_ike(
    ours: &Proposal,
    offer: &wire::v2::Proposal,
    preferred_group: Option<KeyExchangeId>,
    additional: Additional,
) -> Result<ChosenIke, Lack> {
    const UNDERSTOOD: &[TransformType] = &[
        TransformType::ENCRYPTION,
        TransformType::PRF,
        TransformType::INTEGRITY,
        TransformType::KEY_EXCHANGE,
    ];
    let mut choice = Choice::begin(offer, ProtocolId::IKE, UNDERSTOOD, additional)?;
    let protection = choice.protection(ours)?;
    let prf =
        choice.pick(ours.prf.iter().copied(), |row| Transform::prf(row.id)).ok_or(Lack::PseudoRandom)?;
    let key_exchange = choice.group(ours, preferred_group).ok_or(Lack::KeyExchange)?;
    let peer_spi = match <[u8; 8]>::try_from(offer.spi.as_slice()) {
        Ok(octets) => Some(IkeSpi(u64::from_be_bytes(octets))).filter(|spi| !spi.is_zero()),
        Err(_) if offer.spi.is_empty() => None,
        Err(_) => return Err(Lack::Spi),
    };
    let additional = choice.additional(ours)?;
    let suite = IkeSuite { protection, prf, key_exchange, additional };
    Ok(ChosenIke { suite, proposal_number: offer.number, peer_spi, transforms: choice.transforms })
}

fn match_child(
    ours: &Proposal,
    offer: &wire::v2::Proposal,
    groups: Groups,
    preferred_group: Option<KeyExchangeId>,
) -> Result<ChosenChild, Lack> {
    /// What AH has comes first, and then what only ESP has.
    const UNDERSTOOD: [TransformType; 4] = [
        TransformType::INTEGRITY,
        TransformType::KEY_EXCHANGE,
        TransformType::ESN,
        TransformType::ENCRYPTION,
    ];
    let (protocol, understood) = match ours.protocol {
        ProposalProtocol::Ah => (Protocol::Ah, &UNDERSTOOD[..3]),
        ProposalProtocol::Ike | ProposalProtocol::Esp => (Protocol::Esp, &UNDERSTOOD[..]),
    };
    let mut choice = Choice::begin(offer, protocol_id(protocol), understood, Additional::Possible)?;
    let protection = match protocol {
        Protocol::Esp => choice.protection(ours)?,
        Protocol::Ah => choice.authentication(ours)?,
    };
    let esn =
        choice.pick(ours.esn.iter().copied(), |esn| esn_transform(*esn)).ok_or(Lack::SequenceNumbers)?;
    let (key_exchange, additional) = match groups {
        Groups::Offer => (choice.own_group(ours, preferred_group)?, choice.additional(ours)?),
        // Some peers name groups in IKE_AUTH all the same; they can have no effect there.
        Groups::Omit => (None, AdditionalSuite::default()),
    };
    let peer_spi = <[u8; 4]>::try_from(offer.spi.as_slice()).map(|octets| Spi(u32::from_be_bytes(octets)));
    let peer_spi = peer_spi.ok().filter(|spi| *spi >= Spi::LOWEST).ok_or(Lack::Spi)?;
    let suite = ChildSuite { protocol, protection, key_exchange, additional, esn };
    Ok(ChosenChild { suite, proposal_number: offer.number, peer_spi, transforms: choice.transforms })
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
        additional: Additional,
    ) -> Result<Choice<'a>, Lack> {
        if offer.protocol != protocol {
            return Err(Lack::Protocol);
        }
        let is_understood = |kind: TransformType| {
            let is_additional = position_of(kind).is_some();
            understood.contains(&kind) || is_additional && additional == Additional::Possible
        };
        let stranger = offer.transforms.iter().find(|transform| !is_understood(transform.transform_type));
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
        let ways = ours.encryption.iter().flat_map(|row| row.offered_key_bits().map(|bits| (*row, bits)));
        let (encryption, _) =
            self.pick(ways, |(row, bits)| Transform::encryption(row.id, *bits)).ok_or(Lack::Encryption)?;
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

    /// AH has a MAC and nothing else (RFC 4302).
    fn authentication(&mut self, ours: &Proposal) -> Result<Protection, Lack> {
        let integrity = self.pick(ours.integrity.iter().copied(), |row| Transform::integrity(row.id));
        Ok(Protection::Authenticated(integrity.ok_or(Lack::Integrity)?))
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

/// Gives IANA's number of what a proposal is for.
fn on_wire(protocol: ProposalProtocol) -> ProtocolId {
    match protocol {
        ProposalProtocol::Ike => ProtocolId::IKE,
        ProposalProtocol::Esp => ProtocolId::ESP,
        ProposalProtocol::Ah => ProtocolId::AH,
    }
}

/// Gives IANA's number of the protocol of a Child SA.
pub(crate) fn protocol_id(protocol: Protocol) -> ProtocolId {
    match protocol {
        Protocol::Esp => ProtocolId::ESP,
        Protocol::Ah => ProtocolId::AH,
    }
}

/// Gives the protocol of a Child SA by IANA's number.
pub(crate) fn child_protocol(protocol: ProtocolId) -> Option<Protocol> {
    match protocol {
        ProtocolId::ESP => Some(Protocol::Esp),
        ProtocolId::AH => Some(Protocol::Ah),
        _ => None,
    }
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
    in_words(proposals.iter().map(|proposal| {
        let ah = if proposal.protocol == ProposalProtocol::Ah { "AH with " } else { "" };
        format!("{ah}{proposal}")
    }))
}

fn offer_in_words(offer: &[wire::v2::Proposal]) -> String {
    in_words(offer.iter().map(|proposal| {
        let words: Vec<String> = proposal.transforms.iter().map(keyword).collect();
        let ah = if proposal.protocol == ProtocolId::AH { "AH with " } else { "" };
        format!("{ah}{}", words.join("-"))
    }))
}

/// An offer can be made long, and this goes into logs.
pub(crate) fn in_words(proposals: impl ExactSizeIterator<Item = String>) -> String {
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
        kind => position_of(kind).and_then(|position| match KeyExchangeId(id) {
            KeyExchangeId::NONE => Some(additional_keyword(position, None)),
            id => transform::group(id).map(|row| additional_keyword(position, Some(row))),
        }),
    };
    keyword.unwrap_or_else(|| transform.to_string())
}

fn row_keyword(row: &impl fmt::Display) -> String {
    row.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sa::transform::{ENCRYPTION, GROUPS, INTEGRITY, PSEUDO_RANDOM};
    use sa::{AdditionalChoice, AdditionalOffer};

    const OUR_SPI: Spi = Spi(0xc0ff_ee01);
    const PEER_SPI: Spi = Spi(0xbeef_0002);

    fn ike(texts: &[&str]) -> Vec<Proposal> {
        texts
            .iter()
            .map(|text| Proposal::parse(ProposalProtocol::Ike, text).expect("the test's own text"))
            .collect()
    }

    fn esp(texts: &[&str]) -> Vec<Proposal> {
        texts
            .iter()
            .map(|text| Proposal::parse(ProposalProtocol::Esp, text).expect("the test's own text"))
            .collect()
    }

    fn chosen_ike(ours: &[&str], theirs: &[&str]) -> Result<String, String> {
        let chosen = choose_ike(&ike(ours), &offer_ike(&ike(theirs), None), None, Additional::Possible);
        chosen.map(|chosen| chosen.suite.to_string()).map_err(|lack| lack.to_string())
    }

    fn chosen_esp(ours: &[&str], theirs: &[&str], groups: Groups) -> Result<String, String> {
        let chosen = choose_child(&esp(ours), &offer_child(&esp(theirs), PEER_SPI, groups), groups, None);
        chosen.map(|chosen| chosen.suite.to_string()).map_err(|lack| lack.lacking)
    }

    #[test]
    fn an_offer_is_what_the_rfc_lays_out() {
        let offer = offer_ike(&ike(&["aes256gcm16-prfsha384-x25519", "aes128-sha256-ecp256-modp2048"]), None);
        assert_eq!(offer.iter().map(|proposal| proposal.number).collect::<Vec<_>>(), [1, 2]);
        assert!(offer.iter().all(|proposal| proposal.protocol == ProtocolId::IKE && proposal.spi.is_empty()));
        assert_eq!(
            offer[0].transforms,
            [
                Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
                Transform::prf(PrfId::HMAC_SHA2_384),
                Transform::key_exchange(KeyExchangeId::CURVE25519),
            ]
        );
        assert_eq!(
            offer[1].transforms,
            [
                Transform::encryption(EncryptionId::AES_CBC, Some(128)),
                Transform::integrity(IntegrityId::HMAC_SHA2_256_128),
                Transform::prf(PrfId::HMAC_SHA2_256),
                Transform::key_exchange(KeyExchangeId::ECP_256),
                Transform::key_exchange(KeyExchangeId::MODP_2048),
            ]
        );
        let rekeying =
            offer_ike(&ike(&["aes256gcm16-prfsha384-x25519"]), Some(IkeSpi(0x0102_0304_0506_0708)));
        assert_eq!(rekeying[0].spi, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn ike_auth_offers_no_groups_and_every_child_offer_has_sequence_numbers() {
        let proposals = esp(&["chacha20poly1305-x25519"]);
        let no_esn = Transform::esn(EsnId::SEQUENCE_NUMBERS_32);
        let cipher = Transform::encryption(EncryptionId::CHACHA20_POLY1305, None);
        let auth = offer_child(&proposals, OUR_SPI, Groups::Omit);
        assert_eq!(auth[0].transforms, [cipher.clone(), no_esn.clone()]);
        assert_eq!(auth[0].spi, [0xc0, 0xff, 0xee, 0x01]);
        let create = offer_child(&proposals, OUR_SPI, Groups::Offer);
        let group = Transform::key_exchange(KeyExchangeId::CURVE25519);
        assert_eq!(create[0].transforms, [cipher, group, no_esn]);
    }

    #[test]
    fn our_own_order_decides() {
        let ours = ["aes256gcm16-prfsha384-ecp384-x25519", "aes128-sha256-modp2048"];
        let theirs = ["aes128-sha256-modp2048", "aes128gcm16-aes256gcm16-prfsha256-prfsha384-x25519-ecp384"];
        assert_eq!(chosen_ike(&ours, &theirs).as_deref(), Ok("aes256gcm16-prfsha384-ecp384"));
        assert_eq!(chosen_ike(&ours[1..], &theirs).as_deref(), Ok("aes128-sha256-prfsha256-modp2048"));
    }

    #[test]
    fn the_group_of_the_peers_key_is_preferred_where_it_is_allowed() {
        let ours = ike(&["aes256gcm16-prfsha384-ecp384-x25519"]);
        let offer = offer_ike(&ike(&["aes256gcm16-prfsha384-x25519-ecp384-modp2048"]), None);
        let group = |preferred| {
            let chosen = choose_ike(&ours, &offer, preferred, Additional::Possible).expect("they meet");
            (chosen.suite.key_exchange.id, chosen.proposal_number)
        };
        assert_eq!(group(None), (KeyExchangeId::ECP_384, 1));
        assert_eq!(group(Some(KeyExchangeId::CURVE25519)), (KeyExchangeId::CURVE25519, 1));
        assert_eq!(group(Some(KeyExchangeId::MODP_2048)), (KeyExchangeId::ECP_384, 1));
    }

    #[test]
    fn a_failure_says_who_wants_what_and_what_is_missing() {
        let ours = ["aes256gcm16-prfsha384-x25519"];
        let fault = chosen_ike(&ours, &["aes256-sha256-modp2048"]).expect_err("they do not meet");
        assert_eq!(
            fault,
            "the peer offers aes256-sha256-prfsha256-modp2048; we allow aes256gcm16-prfsha384-x25519: \
             no common encryption algorithm"
        );
        let lacking = |theirs: &str| chosen_ike(&ours, &[theirs]).expect_err("they do not meet");
        assert!(lacking("aes256gcm16-prfsha256-x25519").ends_with("no common pseudo-random function"));
        assert!(lacking("aes256gcm16-prfsha384-ecp256").ends_with("no common key exchange method"));
        assert!(
            chosen_ike(&["aes128-sha256-x25519"], &["aes128-sha384-x25519"])
                .expect_err("no")
                .contains("integrity")
        );
        assert_eq!(
            chosen_ike(&[], &[]),
            Err("the peer offers nothing; we allow nothing: no proposal at all".into())
        );
    }

    #[test]
    fn what_we_do_not_know_is_named_as_iana_names_it() {
        let mut offer = offer_ike(&ike(&["aes128-sha256-x25519"]), None);
        offer[0].transforms[0] = Transform::encryption(EncryptionId::IDEA, None);
        let fault = choose_ike(&ike(&["aes128-sha256-x25519"]), &offer, None, Additional::Possible)
            .expect_err("not in the table");
        assert_eq!(fault.theirs, "ENCR_IDEA-sha256-prfsha256-x25519");
    }

    #[test]
    fn strange_transforms_are_passed_over_and_strange_types_spoil_their_proposal() {
        let ours = ike(&["aes128-sha256-x25519"]);
        let offer = offer_ike(&ours, None);
        let strange_id = Transform::encryption(EncryptionId(1024), Some(128));
        let mut strange_attribute = offer[0].transforms[0].clone();
        strange_attribute.unknown_attributes.push(wire::v2::TransformAttribute {
            attribute_type: wire::registry::TransformAttributeType(99),
            value: wire::v2::AttributeValue::Short(1),
        });
        let mut passed_over = offer.clone();
        passed_over[0].transforms.splice(0..0, [strange_id.clone(), strange_attribute.clone()]);
        assert!(choose_ike(&ours, &passed_over, None, Additional::Possible).is_ok());
        let mut nothing_left = offer.clone();
        nothing_left[0].transforms.splice(0..1, [strange_id, strange_attribute]);
        assert_eq!(
            choose_ike(&ours, &nothing_left, None, Additional::Possible).expect_err("none").lacking,
            "no common encryption algorithm"
        );
        let mut spoilt = offer.clone();
        spoilt[0].transforms.push(Transform::new(TransformType::ADDITIONAL_KEY_EXCHANGE_1, 35));
        assert!(choose_ike(&ours, &spoilt, None, Additional::Possible).is_err());
        spoilt.extend(offer);
        spoilt[1].number = 2;
        assert_eq!(
            choose_ike(&ours, &spoilt, None, Additional::Possible).expect("the second").proposal_number,
            2
        );
    }

    #[test]
    fn key_lengths_must_match_exactly() {
        assert!(chosen_ike(&["aes256-sha256-x25519"], &["aes128-sha256-x25519"]).is_err());
        let mut without = offer_ike(&ike(&["aes128-sha256-x25519"]), None);
        without[0].transforms[0].key_bits = None;
        assert!(choose_ike(&ike(&["aes128-sha256-x25519"]), &without, None, Additional::Possible).is_err());
    }

    /// RFC 7296 §3.3.5 of Blowfish; the answer leaves out what the offer does (§3.3.6).
    #[test]
    fn a_cipher_with_a_default_key_length_may_come_without_one() {
        let ours = ike(&["blowfish256-blowfish128-sha256-x25519"]);
        let mut without = offer_ike(&ike(&["blowfish128-sha256-x25519"]), None);
        without[0].transforms[0].key_bits = None;
        let chosen =
            choose_ike(&ours, &without, None, Additional::Possible).expect("128 bits is what it means");
        assert_eq!(chosen.suite.protection.to_string(), "blowfish128-sha256");
        assert_eq!(answer_ike(&chosen, None).transforms[0].key_bits, None);
        assert!(
            choose_ike(&ike(&["blowfish256-sha256-x25519"]), &without, None, Additional::Possible).is_err()
        );
    }

    #[test]
    fn an_aead_goes_with_integrity_none_and_with_no_other() {
        let ours = ike(&["aes256gcm16-prfsha384-x25519"]);
        let mut offer = offer_ike(&ours, None);
        offer[0].transforms.push(Transform::integrity(IntegrityId::NONE));
        let chosen = choose_ike(&ours, &offer, None, Additional::Possible).expect("NONE is none");
        assert!(answer_ike(&chosen, None).transforms.contains(&Transform::integrity(IntegrityId::NONE)));
        assert!(accept_ike(&ours, &[answer_ike(&chosen, None)], Additional::Possible).is_ok());
        offer[0].transforms.pop();
        offer[0].transforms.push(Transform::integrity(IntegrityId::HMAC_SHA2_256_128));
        assert_eq!(
            choose_ike(&ours, &offer, None, Additional::Possible).expect_err("not beside an AEAD").lacking,
            "no common integrity algorithm"
        );
    }

    #[test]
    fn forward_secrecy_is_had_by_both_or_neither() {
        let (with, without) = ("aes128gcm16-x25519", "aes128gcm16");
        assert_eq!(chosen_esp(&[with], &[with], Groups::Offer).as_deref(), Ok("aes128gcm16-x25519"));
        assert_eq!(chosen_esp(&[without], &[without], Groups::Offer).as_deref(), Ok("aes128gcm16"));
        assert!(chosen_esp(&[with], &[without], Groups::Offer).expect_err("we want it").contains("PFS"));
        assert!(
            chosen_esp(&[without], &[with], Groups::Offer).expect_err("we do not allow it").contains("PFS")
        );
        // In IKE_AUTH it does not come up.
        assert_eq!(chosen_esp(&[with], &[without], Groups::Omit).as_deref(), Ok("aes128gcm16"));
        let mut none = offer_child(&esp(&[with]), PEER_SPI, Groups::Offer);
        none[0].transforms.push(Transform::key_exchange(KeyExchangeId::NONE));
        let chosen = choose_child(&esp(&[without]), &none, Groups::Offer, None).expect("NONE is offered too");
        assert!(
            answer_child(&chosen, OUR_SPI).transforms.contains(&Transform::key_exchange(KeyExchangeId::NONE))
        );
    }

    #[test]
    fn groups_named_in_ike_auth_have_no_effect() {
        let ours = esp(&["aes128gcm16-x25519"]);
        let offer = offer_child(&esp(&["aes128gcm16-modp2048"]), PEER_SPI, Groups::Offer);
        let chosen = choose_child(&ours, &offer, Groups::Omit, None).expect("groups do not count");
        assert_eq!(chosen.suite.key_exchange, None);
        let types: Vec<TransformType> = answer_child(&chosen, OUR_SPI)
            .transforms
            .iter()
            .map(|transform| transform.transform_type)
            .collect();
        assert_eq!(types, [TransformType::ENCRYPTION, TransformType::ESN]);
    }

    #[test]
    fn sequence_numbers_must_be_agreed() {
        assert_eq!(
            chosen_esp(&["aes128gcm16-esn-noesn"], &["aes128gcm16"], Groups::Omit).as_deref(),
            Ok("aes128gcm16")
        );
        assert!(
            chosen_esp(&["aes128gcm16-esn"], &["aes128gcm16"], Groups::Omit)
                .expect_err("no")
                .contains("sequence")
        );
        let mut offer = offer_child(&esp(&["aes128gcm16"]), PEER_SPI, Groups::Omit);
        offer[0].transforms.retain(|transform| transform.transform_type != TransformType::ESN);
        assert!(choose_child(&esp(&["aes128gcm16"]), &offer, Groups::Omit, None).is_err());
    }

    /// A peer that offers the whole transform table gets nothing weak from proposals that name nothing weak, and one that
    /// offers a single weak algorithm gets nothing at all.
    #[test]
    fn what_is_weak_is_chosen_only_where_we_name_it() {
        let rows = |protocol| Proposal {
            protocol,
            encryption: ENCRYPTION.iter().rev().collect(),
            integrity: INTEGRITY.iter().rev().collect(),
            prf: PSEUDO_RANDOM.iter().rev().collect(),
            key_exchange: GROUPS.iter().rev().collect(),
            additional: AdditionalOffer::default(),
            esn: vec![Esn::No],
        };
        let ours = Proposal::defaults(ProposalProtocol::Ike);
        let offer = offer_ike(&[rows(ProposalProtocol::Ike)], None);
        // Of a peer's proposal that mixes AEADs with other ciphers, only the latter can go with its integrity.
        let IkeSuite { protection, prf, key_exchange, .. } =
            choose_ike(&ours, &offer, None, Additional::Possible).expect("it offers all that we allow").suite;
        let weaknesses = [
            protection.encryption().and_then(|row| row.weakness),
            protection.integrity().and_then(|row| row.weakness),
            prf.weakness,
            key_exchange.weakness,
        ];
        assert_eq!(weaknesses, [None; 4]);

        let sound = "aes128-sha256-prfsha256-x25519";
        let refuses = |weak: &Proposal| {
            choose_ike(&ours, &offer_ike(std::slice::from_ref(weak), None), None, Additional::Possible)
                .is_err()
        };
        let mut refused = 0;
        for row in ENCRYPTION.iter().filter(|row| row.weakness.is_some()) {
            assert!(refuses(&Proposal { encryption: vec![row], ..ike(&[sound])[0].clone() }), "{row}");
            refused += 1;
        }
        for row in INTEGRITY.iter().filter(|row| row.weakness.is_some()) {
            assert!(refuses(&Proposal { integrity: vec![row], ..ike(&[sound])[0].clone() }), "{row}");
            refused += 1;
        }
        for row in PSEUDO_RANDOM.iter().filter(|row| row.weakness.is_some()) {
            assert!(refuses(&Proposal { prf: vec![row], ..ike(&[sound])[0].clone() }), "{row}");
            refused += 1;
        }
        for row in GROUPS.iter().filter(|row| row.weakness.is_some()) {
            assert!(refuses(&Proposal { key_exchange: vec![row], ..ike(&[sound])[0].clone() }), "{row}");
            refused += 1;
        }
        assert_eq!(refused, 6 + 4 + 2 + 9);
    }

    #[test]
    fn spis_are_read_and_reserved_ones_refused() {
        let ours = esp(&["aes128gcm16"]);
        let choose = |spi: &[u8]| {
            let mut offer = offer_child(&ours, PEER_SPI, Groups::Omit);
            offer[0].spi = spi.to_vec();
            choose_child(&ours, &offer, Groups::Omit, None)
                .map(|chosen| chosen.peer_spi)
                .map_err(|fault| fault.lacking)
        };
        assert_eq!(choose(&[0, 0, 1, 0]), Ok(Spi(256)));
        for spi in [&[0, 0, 0, 255][..], &[0; 4], &[1; 3], &[1; 8], &[]] {
            assert_eq!(choose(spi), Err("an SPI that cannot be one".to_owned()), "{spi:?}");
        }
        let ours = ike(&["aes128gcm16-prfsha256-x25519"]);
        let spi = IkeSpi(7);
        assert_eq!(
            choose_ike(&ours, &offer_ike(&ours, Some(spi)), None, Additional::Possible)
                .expect("meets")
                .peer_spi,
            Some(spi)
        );
        assert_eq!(
            choose_ike(&ours, &offer_ike(&ours, None), None, Additional::Possible).expect("meets").peer_spi,
            None
        );
    }

    #[test]
    fn an_answer_must_be_one_of_what_was_offered() {
        let offered = ike(&["aes256gcm16-prfsha384-x25519", "aes128-sha256-sha512-ecp256-modp2048"]);
        let good = answer_ike(
            &choose_ike(
                &ike(&["aes128-sha512-prfsha512-prfsha256-modp2048"]),
                &offer_ike(&offered, None),
                None,
                Additional::Possible,
            )
            .expect("meets"),
            Some(IkeSpi(9)),
        );
        let accepted =
            accept_ike(&offered, std::slice::from_ref(&good), Additional::Possible).expect("was offered");
        assert_eq!((accepted.proposal_number, accepted.peer_spi), (2, Some(IkeSpi(9))));
        let refused = |answer: &[wire::v2::Proposal]| {
            accept_ike(&offered, answer, Additional::Possible).expect_err("was not offered").reason
        };
        assert_eq!(refused(&[]), "0 proposals where one must be");
        assert_eq!(refused(&[good.clone(), good.clone()]), "2 proposals where one must be");
        let numbered = |number| wire::v2::Proposal { number, ..good.clone() };
        assert_eq!(refused(&[numbered(3)]), "no proposal 3 was offered");
        assert_eq!(refused(&[numbered(1)]), "no common encryption algorithm");
        let mut doubled = good.clone();
        doubled.transforms.push(Transform::key_exchange(KeyExchangeId::ECP_256));
        assert!(refused(&[doubled]).starts_with("more than one transform of type Key Exchange"));
        let mut missing = good.clone();
        missing.transforms.retain(|transform| transform.transform_type != TransformType::PRF);
        assert_eq!(refused(&[missing]), "no common pseudo-random function");
    }

    #[test]
    fn a_long_offer_makes_a_short_sentence() {
        let offer = vec![offer_ike(&ike(&["aes128-sha256-x25519"]), None).remove(0); 200];
        let fault = choose_ike(&ike(&["aes256gcm16-prfsha384-x25519"]), &offer, None, Additional::Possible)
            .expect_err("they do not meet");
        assert!(fault.theirs.ends_with(" and 192 more") && fault.theirs.len() < 400, "{}", fault.theirs);
    }

    const HYBRID: &str = "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke3_ecp384-ke3_none";

    #[test]
    fn additional_key_exchanges_have_transform_types_of_their_own() {
        let offer = offer_ike(&ike(&[HYBRID]), None);
        let additional = |kind, method: KeyExchangeId| Transform::new(kind, method.0);
        assert_eq!(
            offer[0].transforms[3..],
            [
                additional(TransformType::ADDITIONAL_KEY_EXCHANGE_1, KeyExchangeId::ML_KEM_768),
                additional(TransformType::ADDITIONAL_KEY_EXCHANGE_3, KeyExchangeId::ECP_384),
                additional(TransformType::ADDITIONAL_KEY_EXCHANGE_3, KeyExchangeId::NONE),
            ]
        );
        let chosen = choose_ike(
            &ike(&["aes128gcm16-prfsha256-x25519-ke1_mlkem768"]),
            &offer,
            None,
            Additional::Possible,
        );
        let answer = answer_ike(&chosen.expect("the third may be left out"), None);
        // What is offered is answered, be it with NONE.
        assert_eq!(answer.transforms[3..], [offer[0].transforms[3].clone(), offer[0].transforms[5].clone()]);
        let accepted = accept_ike(&ike(&[HYBRID]), &[answer], Additional::Possible).expect("was offered");
        assert_eq!(accepted.suite.to_string(), "aes128gcm16-prfsha256-x25519-ke1_mlkem768");
    }

    #[test]
    fn additional_key_exchanges_are_had_by_both_or_neither() {
        let plain = "aes128gcm16-prfsha256-x25519";
        assert_eq!(chosen_ike(&[HYBRID, plain], &[plain]).as_deref(), Ok(plain));
        assert_eq!(chosen_ike(&[plain], &[HYBRID, plain]).as_deref(), Ok(plain));
        let lacking =
            |ours: &str, theirs: &str| chosen_ike(&[ours], &[theirs]).expect_err("they do not meet");
        assert!(
            lacking(HYBRID, plain)
                .ends_with("no additional key exchange offered where we want one (RFC 9370)")
        );
        assert_eq!(
            lacking(plain, HYBRID),
            format!(
                "the peer offers {HYBRID}; we allow {plain}: an additional key exchange where we allow none"
            )
        );
        let other = HYBRID.replace("mlkem768", "mlkem1024");
        assert!(lacking(HYBRID, &other).ends_with("no common methods for the additional key exchanges"));
    }

    /// RFC 9370 §2.2.1.
    #[test]
    fn who_does_not_know_ike_intermediate_has_no_additional_key_exchanges() {
        let ours = ike(&[HYBRID, "aes256gcm16-prfsha256-x25519"]);
        let offer = offer_ike(&ours, None);
        let number = |additional| choose_ike(&ours, &offer, None, additional).expect("meets").proposal_number;
        assert_eq!(number(Additional::Possible), 1);
        assert_eq!(number(Additional::Unknown), 2);
        let chosen = choose_ike(&ours, &offer, None, Additional::Possible).expect("meets");
        assert!(accept_ike(&ours, &[answer_ike(&chosen, None)], Additional::Unknown).is_err());
    }

    /// RFC 9370 §2.2.1: such an answer fails the exchange.
    #[test]
    fn an_answer_with_one_method_twice_is_refused() {
        let ours = ike(&["aes128-sha256-x25519-ke1_mlkem768-ke1_mlkem512-ke2_mlkem768-ke2_mlkem512"]);
        let chosen = choose_ike(&ours, &offer_ike(&ours, None), None, Additional::Possible).expect("meets");
        assert_eq!(chosen.suite.additional.to_string(), "-ke1_mlkem768-ke2_mlkem512");
        let mut answer = answer_ike(&chosen, None);
        answer.transforms.last_mut().expect("there are some").id = KeyExchangeId::ML_KEM_768.0;
        let refused = accept_ike(&ours, &[answer], Additional::Possible).expect_err("twice the same");
        assert_eq!(refused.reason, "no common methods for the additional key exchanges");
    }

    #[test]
    fn a_child_sa_may_have_additional_key_exchanges_beside_its_own() {
        let with = "aes128gcm16-x25519-ke1_mlkem768";
        assert_eq!(chosen_esp(&[with], &[with], Groups::Offer).as_deref(), Ok(with));
        assert_eq!(chosen_esp(&[with], &[with], Groups::Omit).as_deref(), Ok("aes128gcm16"));
        assert!(chosen_esp(&[with], &["aes128gcm16-x25519"], Groups::Offer).is_err());
        assert!(chosen_esp(&["aes128gcm16"], &[with], Groups::Offer).is_err());
    }

    fn some_ike() -> impl Strategy<Value = Vec<Proposal>> {
        let one =
            (0usize..3, 0usize..3, 0usize..3, 0usize..3).prop_map(|(encryption, integrity, prf, group)| {
                let text = match encryption {
                    0 => format!("aes128gcm16-aes256gcm16-{}", ["prfsha256", "prfsha384", "prfsha512"][prf]),
                    1 => {
                        format!("chacha20poly1305-{}-prfsha256", ["prfsha256", "prfsha384", "prfsha512"][prf])
                    }
                    _ => format!("aes256-aes128-{}", ["sha256", "sha384-sha256", "sha512"][integrity]),
                };
                format!(
                    "{text}-{}",
                    ["x25519", "ecp256-x25519-ke1_mlkem768", "modp2048-ecp256-ke1_mlkem768-ke1_none"][group]
                )
            });
        prop::collection::vec(one, 1..4)
            .prop_map(|texts| ike(&texts.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    proptest! {
        #[test]
        fn whatever_is_chosen_both_ends_allow_and_agree_on(ours in some_ike(), theirs in some_ike()) {
            let offer = offer_ike(&theirs, None);
            if let Ok(chosen) = choose_ike(&ours, &offer, None, Additional::Possible) {
                let accepted = accept_ike(&theirs, &[answer_ike(&chosen, None)], Additional::Possible).expect("it was offered");
                prop_assert_eq!(&accepted.suite, &chosen.suite);
                for side in [&ours, &theirs] {
                    prop_assert!(side.iter().any(|proposal| allows(proposal, &chosen.suite)));
                }
            } else {
                let meets = ours.iter().any(|our| theirs.iter().any(|their| meet(our, their)));
                prop_assert!(!meets);
            }
        }
    }

    fn allows(proposal: &Proposal, suite: &IkeSuite) -> bool {
        suite.protection.encryption().is_some_and(|encryption| proposal.encryption.contains(&encryption))
            && suite.protection.integrity().is_none_or(|integrity| proposal.integrity.contains(&integrity))
            && proposal.prf.contains(&suite.prf)
            && proposal.key_exchange.contains(&suite.key_exchange)
            && proposal.additional.allows(&suite.additional)
    }

    fn meet(our: &Proposal, their: &Proposal) -> bool {
        fn common<T: PartialEq>(left: &[T], right: &[T]) -> bool {
            left.iter().any(|item| right.contains(item))
        }
        common(&our.encryption, &their.encryption)
            && (our.integrity.is_empty() && their.integrity.is_empty()
                || common(&our.integrity, &their.integrity))
            && common(&our.prf, &their.prf)
            && common(&our.key_exchange, &their.key_exchange)
            && common(&additional(our), &additional(their))
    }

    /// What the proposals of [`some_ike`] allow for the first additional key exchange.
    fn additional(proposal: &Proposal) -> Vec<AdditionalChoice> {
        let named: Vec<AdditionalChoice> = proposal.additional.iter().map(|(_, choice)| choice).collect();
        if named.is_empty() { vec![None] } else { named }
    }
}
