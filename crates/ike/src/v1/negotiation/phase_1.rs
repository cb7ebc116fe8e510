//! What is agreed on for an ISAKMP SA (RFC 2409 §5, appendix A).

use std::fmt;
use std::time::Duration;

use sa::transform::Group;
use sa::{AdditionalSuite, IkeSuite, Proposal, Protection, transform, transform_v1};
use wire::registry::KeyExchangeId;
use wire::registry::v1::{
    AuthenticationMethod, EncryptionAlgorithm, HashAlgorithm, Phase1AttributeType, ProtocolId,
};
use wire::v1::{Attribute, Transform};

use super::{Lack, only_transform};
use crate::NoAgreement;
use crate::negotiation::{Unacceptable, in_words};
use crate::v1::expiry::{Expiry, Phase};
use crate::v1::method::{self, Method};

/// KEY_IKE: the only transform of phase 1 (RFC 2407 §4.4.2).
const KEY_IKE: u8 = 1;

/// What both ends agreed on for an ISAKMP SA.
#[derive(Clone, Debug)]
pub(crate) struct ChosenPhase1 {
    pub(crate) suite: IkeSuite,
    pub(crate) method: &'static Method,
    /// How long it lives and what it carries at most.
    pub(crate) lifetime: Expiry,
    /// The responder's answer.
    pub(crate) answer: wire::v1::Proposal,
}

/// Keeps of proposals what is in the group that comes first: whoever sends its public value with its offer can have only
/// one. `None` is that IKEv1 has no number for any of it.
pub(crate) fn with_one_group(proposals: &[Proposal]) -> Option<(&'static Group, Vec<Proposal>)> {
    let group = phase_1_suites(proposals).next()?.key_exchange;
    let in_group = proposals.iter().filter(|proposal| proposal.key_exchange.contains(&group));
    let kept = in_group.map(|proposal| Proposal { key_exchange: vec![group], ..proposal.clone() });
    Some((group, kept.collect()))
}

/// The same of the whole combination that comes first: whoever encrypts with his offer can have only one.
pub(crate) fn with_one_suite(proposals: &[Proposal]) -> Option<(&'static Group, Vec<Proposal>)> {
    let suite = first_suite(proposals)?;
    let proposal = proposals.iter().find(|proposal| proposal.serves_version_1())?.clone();
    let kept = Proposal {
        encryption: vec![suite.protection.encryption()?],
        integrity: vec![suite.protection.integrity()?],
        key_exchange: vec![suite.key_exchange],
        ..proposal
    };
    Some((suite.key_exchange, vec![kept]))
}

/// Gives the combination that comes first.
pub(crate) fn first_suite(proposals: &[Proposal]) -> Option<IkeSuite> {
    phase_1_suites(proposals).next()
}

/// Lays out what we offer for an ISAKMP SA whose ends prove themselves in one of these ways, and that we let live so long;
/// zero is for ever.
pub(crate) fn offer_phase_1(
    proposals: &[Proposal],
    methods: &[&'static Method],
    lifetime: Duration,
) -> Vec<wire::v1::Proposal> {
    let suites = phase_1_suites(proposals);
    let combinations = suites.flat_map(|suite| methods.iter().map(move |method| (suite, method.number)));
    let transforms = (1..=u8::MAX).zip(combinations).filter_map(|(number, (suite, method))| {
        Some(Transform { number, id: KEY_IKE, attributes: phase_1_attributes(&suite, method, lifetime)? })
    });
    let transforms = transforms.collect();
    vec![wire::v1::Proposal { number: 1, protocol: ProtocolId::ISAKMP, spi: Vec::new(), transforms }]
}

/// Chooses, as responder, among what the peer offers for an ISAKMP SA.
///
/// # Errors
/// Nothing offered is allowed.
pub(crate) fn choose_phase_1(
    ours: &[Proposal],
    methods: &[&'static Method],
    offer: &[wire::v1::Proposal],
) -> Result<ChosenPhase1, NoAgreement> {
    let offered = || {
        let proposals = offer.iter().filter(|proposal| proposal.protocol == ProtocolId::ISAKMP);
        proposals.flat_map(|proposal| proposal.transforms.iter().map(move |transform| (proposal, transform)))
    };
    let mut closest = Lack::Proposal;
    let suites = phase_1_suites(ours);
    for (suite, method) in suites.flat_map(|suite| methods.iter().map(move |method| (suite, *method))) {
        for (proposal, transform) in offered() {
            match Phase1Terms::read(transform).meets(&suite, method.number) {
                Ok(lifetime) => {
                    let transforms = vec![transform.clone()];
                    let answer = wire::v1::Proposal { transforms, ..proposal.clone() };
                    return Ok(ChosenPhase1 { suite, method, lifetime, answer });
                }
                Err(lack) => closest = closest.max(lack),
            }
        }
    }
    let lacking = match closest {
        Lack::Method(theirs) => {
            format!("authentication by {theirs} where we want {}", method::in_words(methods))
        }
        other => other.to_string(),
    };
    Err(NoAgreement { ours: suites_in_words(ours), theirs: phase_1_in_words(offer), lacking })
}

/// Checks, as initiator, the answer to what [`offer_phase_1`] made of these proposals.
///
/// # Errors
/// It is not one of the combinations.
pub(crate) fn accept_phase_1(
    offered: &[Proposal],
    methods: &[&'static Method],
    answer: &[wire::v1::Proposal],
) -> Result<ChosenPhase1, Unacceptable> {
    let unacceptable = |reason: String| Unacceptable {
        answer: phase_1_in_words(answer),
        offered: suites_in_words(offered),
        reason,
    };
    only_transform(answer).map_err(unacceptable)?;
    choose_phase_1(offered, methods, answer).map_err(|fault| unacceptable(fault.lacking))
}

pub(super) fn phase_1_suites(proposals: &[Proposal]) -> impl Iterator<Item = IkeSuite> {
    let of_one = |proposal: &Proposal| {
        let Proposal { encryption, integrity, prf: _, key_exchange, .. } = proposal.clone();
        let mut suites = Vec::new();
        for encryption in encryption.into_iter().filter(|row| transform_v1::phase_1_cipher(row).is_some()) {
            for integrity in &integrity {
                let prf = integrity.implied_prf.and_then(transform::pseudo_random);
                let Some(prf) = prf.filter(|_| transform_v1::phase_1_hash(integrity).is_some()) else {
                    continue;
                };
                suites.extend(key_exchange.iter().map(|key_exchange| IkeSuite {
                    protection: Protection::Separate { encryption, integrity },
                    prf,
                    key_exchange,
                    additional: AdditionalSuite::default(),
                }));
            }
        }
        suites
    };
    proposals
        .iter()
        .filter(|proposal| proposal.serves_version_1())
        .flat_map(of_one)
        .collect::<Vec<_>>()
        .into_iter()
}

fn phase_1_attributes(
    suite: &IkeSuite,
    method: AuthenticationMethod,
    lifetime: Duration,
) -> Option<Vec<Attribute>> {
    let number = |attribute_type: Phase1AttributeType, number| Attribute::number(attribute_type.0, number);
    let (encryption, integrity) = (suite.protection.encryption()?, suite.protection.integrity()?);
    let cipher = transform_v1::phase_1_cipher(encryption)?;
    let mut attributes = vec![number(Phase1AttributeType::ENCRYPTION_ALGORITHM, cipher.0.into())];
    attributes.extend(encryption.key_bits.map(|bits| number(Phase1AttributeType::KEY_LENGTH, bits.into())));
    let hash = transform_v1::phase_1_hash(integrity)?;
    attributes.push(number(Phase1AttributeType::HASH_ALGORITHM, hash.0.into()));
    attributes.push(number(Phase1AttributeType::GROUP_DESCRIPTION, suite.key_exchange.id.0.into()));
    attributes.push(number(Phase1AttributeType::AUTHENTICATION_METHOD, method.0.into()));
    attributes.extend(Expiry::new(lifetime, u64::MAX).attributes(Phase::One));
    Some(attributes)
}

/// What a transform of phase 1 says.
#[derive(Debug, Default)]
struct Phase1Terms {
    cipher: Option<EncryptionAlgorithm>,
    key_bits: Option<u16>,
    hash: Option<HashAlgorithm>,
    group: Option<KeyExchangeId>,
    method: Option<AuthenticationMethod>,
    lifetime: Expiry,
    /// An attribute that is not understood here: the combination must not be taken.
    stranger: Option<u16>,
}

impl Phase1Terms {
    fn read(transform: &Transform) -> Phase1Terms {
        let lifetime = Expiry::read(Phase::One, &transform.attributes);
        let mut terms = Phase1Terms { lifetime, ..Phase1Terms::default() };
        for attribute in &transform.attributes {
            let number = attribute.as_number();
            let short = number.and_then(|number| u16::try_from(number).ok());
            match Phase1AttributeType(attribute.attribute_type) {
                Phase1AttributeType::ENCRYPTION_ALGORITHM => terms.cipher = short.map(EncryptionAlgorithm),
                Phase1AttributeType::KEY_LENGTH => terms.key_bits = short,
                Phase1AttributeType::HASH_ALGORITHM => terms.hash = short.map(HashAlgorithm),
                Phase1AttributeType::GROUP_DESCRIPTION => terms.group = short.map(KeyExchangeId),
                Phase1AttributeType::AUTHENTICATION_METHOD => {
                    terms.method = short.map(AuthenticationMethod);
                }
                // The group's type follows from the group.
                Phase1AttributeType::LIFE_TYPE
                | Phase1AttributeType::LIFE_DURATION
                | Phase1AttributeType::GROUP_TYPE => {}
                Phase1AttributeType(other) => terms.stranger = Some(other),
            }
        }
        terms
    }

    /// Compares with a suite of ours; gives the lifetime that is asked for.
    fn meets(&self, suite: &IkeSuite, method: AuthenticationMethod) -> Result<Expiry, Lack> {
        if let Some(stranger) = self.stranger {
            return Err(Lack::Attribute(stranger));
        }
        let cipher = self.cipher.and_then(|cipher| transform_v1::find_phase_1_cipher(cipher, self.key_bits));
        if cipher.is_none() || cipher != suite.protection.encryption() {
            return Err(Lack::Encryption);
        }
        let ours = suite.protection.integrity().and_then(transform_v1::phase_1_hash);
        if ours.is_none() || self.hash != ours {
            return Err(Lack::Hash);
        }
        if self.group != Some(suite.key_exchange.id) {
            return Err(Lack::Group);
        }
        match self.method {
            Some(theirs) if theirs == method => Ok(self.lifetime),
            theirs => Err(Lack::Method(theirs.unwrap_or(AuthenticationMethod(0)))),
        }
    }
}

impl fmt::Display for Phase1Terms {
    /// Prints `aes256-sha256-modp2048`, with what is not known here by number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cipher = self.cipher.unwrap_or(EncryptionAlgorithm(0));
        match transform_v1::find_phase_1_cipher(cipher, self.key_bits) {
            Some(row) => write!(f, "{row}")?,
            None => write!(f, "{cipher}")?,
        }
        let hash = self.hash.unwrap_or(HashAlgorithm(0));
        match transform_v1::find_phase_1_hash(hash) {
            Some(row) => write!(f, "-{row}")?,
            None => write!(f, "-{hash}")?,
        }
        let group = self.group.unwrap_or(KeyExchangeId::NONE);
        match transform::group(group) {
            Some(row) => write!(f, "-{row}")?,
            None => write!(f, "-{group}")?,
        }
        match self.method {
            Some(AuthenticationMethod::PRE_SHARED_KEY) => Ok(()),
            method => write!(f, " by {}", method.unwrap_or(AuthenticationMethod(0))),
        }
    }
}

fn suites_in_words(proposals: &[Proposal]) -> String {
    let suites =
        phase_1_suites(proposals).map(|suite| format!("{}-{}", suite.protection, suite.key_exchange));
    in_words(suites.collect::<Vec<_>>().into_iter())
}

fn phase_1_in_words(offer: &[wire::v1::Proposal]) -> String {
    let transforms = offer.iter().flat_map(|proposal| &proposal.transforms);
    let words = transforms.map(|transform| Phase1Terms::read(transform).to_string());
    in_words(words.collect::<Vec<_>>().into_iter())
}
