//! The traffic that one SA was negotiated for, asked about once a packet (RFC 4301 §5.2).
//!
//! Most SAs have one pair of selectors, or one for each family, and asking each is fastest. A peer may negotiate
//! thousands (each of its networks with each of ours); those are looked up as policies are.

use sa::{PolicyId, SelectorPair};

use crate::ends::Ends;
use crate::hash_pages::Seed;
use crate::selector_index::{Candidate, Rank, SelectorIndex};

#[derive(Debug)]
pub(crate) struct Selectors {
    pairs: Vec<SelectorPair>,
    /// `None` for few pairs.
    index: Option<SelectorIndex>,
}

impl Selectors {
    pub(crate) fn new(pairs: &[SelectorPair], seed: Seed) -> Selectors {
        let index = (pairs.len() > FEW).then(|| {
            let mut index = SelectorIndex::new(seed);
            for (pair, selectors) in (0..).zip(pairs) {
                index.insert(selectors, Candidate { rank: ONE_RANK, pair, policy: 0 });
            }
            index
        });
        Selectors { pairs: pairs.to_vec(), index }
    }

    /// Tells whether some pair selects the packet.
    pub(crate) fn select(&self, ends: &Ends) -> bool {
        match &self.index {
            None => self.pairs.iter().any(|pair| ends.are_selected_by(pair)),
            Some(index) => index
                .first(ends, |candidate| {
                    self.pairs.get(candidate.pair as usize).is_some_and(|pair| ends.are_selected_by(pair))
                })
                .is_some(),
        }
    }

    /// Tells whether some pair selects every packet that `other` selects.
    pub(crate) fn cover(&self, other: &SelectorPair) -> bool {
        self.pairs.iter().any(|pair| pair.local.covers(&other.local) && pair.remote.covers(&other.remote))
    }
}

/// Up to so many pairs are asked one after the other: about what a look-up costs.
const FEW: usize = 4;

/// The pairs of an SA have no order among them.
const ONE_RANK: Rank = Rank { priority: 0, id: PolicyId(0) };
