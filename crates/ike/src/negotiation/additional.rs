//! Additional key exchanges among the transforms: types 6 to 12, all of which share the numbers of type 4 (RFC 9370 §2.2.1).

use sa::{ADDITIONAL_KEY_EXCHANGES, AdditionalChoice, AdditionalSuite, Proposal};
use wire::registry::{KeyExchangeId, TransformType};
use wire::v2::Transform;

use super::{Choice, Lack};

impl Choice<'_> {
    /// RFC 9370 §2.2.1: one transform of each type that is offered, which may be NONE; what is not offered counts as NONE.
    pub(super) fn additional(&mut self, ours: &Proposal) -> Result<AdditionalSuite, Lack> {
        let is_offered = |position, choice: AdditionalChoice| match choice {
            None if !self.offers(additional_type(position)) => true,
            choice => self.offer.transforms.contains(&additional_transform(position, choice)),
        };
        let suite = ours.additional.choose(is_offered).ok_or_else(|| {
            let is_any_offered = (0..ADDITIONAL_KEY_EXCHANGES).any(|at| self.offers(additional_type(at)));
            match (ours.additional.is_empty(), is_any_offered) {
                (true, _) => Lack::NoAdditionalOurs,
                (false, true) => Lack::Additional,
                (false, false) => Lack::NoAdditionalTheirs,
            }
        })?;
        for (position, choice) in suite.choices().into_iter().enumerate() {
            if self.offers(additional_type(position)) {
                self.transforms.push(additional_transform(position, choice));
            }
        }
        Ok(suite)
    }
}

/// Lays out what a proposal allows.
pub(super) fn additional_transforms(proposal: &Proposal) -> impl Iterator<Item = Transform> {
    proposal.additional.iter().map(|(position, choice)| additional_transform(position, choice))
}

fn additional_transform(position: usize, choice: AdditionalChoice) -> Transform {
    let method = choice.map_or(KeyExchangeId::NONE, |row| row.id);
    Transform::new(additional_type(position), method.0)
}

/// Gives the transform type of an additional key exchange, the first of which has the position 0.
fn additional_type(position: usize) -> TransformType {
    ADDITIONAL_TYPES[position]
}

/// Gives the position of the additional key exchange that has this transform type.
pub(super) fn position_of(kind: TransformType) -> Option<usize> {
    ADDITIONAL_TYPES.iter().position(|additional| *additional == kind)
}

const ADDITIONAL_TYPES: [TransformType; ADDITIONAL_KEY_EXCHANGES] = [
    TransformType::ADDITIONAL_KEY_EXCHANGE_1,
    TransformType::ADDITIONAL_KEY_EXCHANGE_2,
    TransformType::ADDITIONAL_KEY_EXCHANGE_3,
    TransformType::ADDITIONAL_KEY_EXCHANGE_4,
    TransformType::ADDITIONAL_KEY_EXCHANGE_5,
    TransformType::ADDITIONAL_KEY_EXCHANGE_6,
    TransformType::ADDITIONAL_KEY_EXCHANGE_7,
];
