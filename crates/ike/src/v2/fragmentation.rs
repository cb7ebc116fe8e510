//! Putting a message together that came in fragments (RFC 7383 §2.6).
//!
//! ```text
//!  SKF 1/3  SKF 3/3  SKF 1/3 again  SKF 2/3
//!     │        │        (dropped)      │
//!     └────────┴───────────────────────┴──► SK content, as if it had come whole
//! ```
//!
//! Fragments come here only after each has proved authentic, so what is kept is the peer's own. A higher Total
//! Fragments means that the peer cut the message anew into smaller pieces: everything before it is forgotten. So is what
//! stays incomplete for as long as a peer repeats its request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::registry::PayloadType;
use wire::v2::FragmentNumber;

use crate::limits::{FRAGMENTS_PER_MESSAGE, REASSEMBLED_OCTETS};

/// The fragments of one message (one message id, one direction) that have come so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reassembly {
    /// When the first of them came.
    begun_at: Option<Instant>,
    total: u16,
    octets: usize,
    /// By fragment number: the type that its Next Payload field names, and its content.
    fragments: BTreeMap<u16, (PayloadType, Vec<u8>)>,
}

impl Reassembly {
    /// Forgets what has been incomplete for longer than `patience`, before another fragment is looked at (RFC 7383 §2.6).
    pub(crate) fn forget_stale(&mut self, now: Instant, patience: Duration) {
        if self.begun_at.is_some_and(|begun_at| now.saturating_duration_since(begun_at) > patience) {
            *self = Reassembly::default();
        }
        self.begun_at.get_or_insert(now);
    }

    /// Tells whether a fragment could be of use, before it is opened (RFC 7383 §2.6): it is not one that is here, not
    /// of a set that was given up, and not of a set that is too large.
    pub(crate) fn wants(&self, fragment: FragmentNumber) -> bool {
        let FragmentNumber { number, total } = fragment;
        let possible = 1 <= number && number <= total && total <= FRAGMENTS_PER_MESSAGE;
        possible && (total > self.total || total == self.total && !self.fragments.contains_key(&number))
    }

    /// Adds an authentic fragment, and gives the whole message's first payload type and content once it is complete.
    /// A fragment that is not [wanted](Self::wants) changes nothing.
    pub(crate) fn add(
        &mut self,
        fragment: FragmentNumber,
        first_payload: PayloadType,
        plaintext: Vec<u8>,
    ) -> Option<(PayloadType, Vec<u8>)> {
        if !self.wants(fragment) {
            return None;
        }
        if fragment.total > self.total {
            *self = Reassembly { total: fragment.total, begun_at: self.begun_at, ..Reassembly::default() };
        }
        if self.octets + plaintext.len() > REASSEMBLED_OCTETS {
            return None;
        }
        self.octets += plaintext.len();
        self.fragments.insert(fragment.number, (first_payload, plaintext));
        self.complete()
    }

    fn complete(&self) -> Option<(PayloadType, Vec<u8>)> {
        let (first_payload, _) = self.fragments.get(&1)?;
        let is_complete = self.fragments.len() == usize::from(self.total);
        is_complete.then(|| {
            let contents: Vec<&[u8]> =
                self.fragments.values().map(|(_, content)| content.as_slice()).collect();
            (*first_payload, contents.concat())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: PayloadType = PayloadType::IDENTIFICATION_INITIATOR;

    fn add(
        reassembly: &mut Reassembly,
        number: u16,
        total: u16,
        octets: &[u8],
    ) -> Option<(PayloadType, Vec<u8>)> {
        let first_payload = if number == 1 { FIRST } else { PayloadType::NONE };
        reassembly.add(FragmentNumber { number, total }, first_payload, octets.to_vec())
    }

    #[test]
    fn a_larger_total_starts_over_and_a_smaller_one_is_ignored() {
        let mut reassembly = Reassembly::default();
        assert_eq!(add(&mut reassembly, 1, 2, b"old"), None);
        assert_eq!(add(&mut reassembly, 3, 3, b"c"), None);
        assert_eq!(add(&mut reassembly, 2, 2, b"old"), None);
        assert_eq!(add(&mut reassembly, 1, 3, b"a"), None);
        assert_eq!(add(&mut reassembly, 2, 3, b"b"), Some((FIRST, b"abc".to_vec())));
    }

    #[test]
    fn what_stays_incomplete_is_forgotten() {
        let (now, patience) = (Instant::now(), Duration::from_secs(165));
        let mut reassembly = Reassembly::default();
        reassembly.forget_stale(now, patience);
        assert_eq!(add(&mut reassembly, 1, 2, b"a"), None);
        reassembly.forget_stale(now + patience, patience);
        assert!(!reassembly.wants(FragmentNumber { number: 1, total: 2 }));
        reassembly.forget_stale(now + patience + Duration::from_secs(1), patience);
        assert!(reassembly.wants(FragmentNumber { number: 1, total: 2 }));
        assert_eq!(add(&mut reassembly, 2, 2, b"b"), None);
    }

    #[test]
    fn a_duplicate_neither_replaces_nor_counts() {
        let mut reassembly = Reassembly::default();
        assert_eq!(add(&mut reassembly, 1, 2, b"a"), None);
        assert!(!reassembly.wants(FragmentNumber { number: 1, total: 2 }));
        assert_eq!(add(&mut reassembly, 1, 2, b"z"), None);
        assert_eq!(add(&mut reassembly, 2, 2, b"b"), Some((FIRST, b"ab".to_vec())));
        assert_eq!(add(&mut reassembly, 2, 2, b"b"), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut reassembly = Reassembly::default();
        assert!(!reassembly.wants(FragmentNumber { number: 1, total: FRAGMENTS_PER_MESSAGE + 1 }));
        let half = vec![0; REASSEMBLED_OCTETS / 2 + 1];
        assert_eq!(add(&mut reassembly, 1, 2, &half), None);
        assert_eq!(add(&mut reassembly, 2, 2, &half), None);
        assert_eq!(add(&mut reassembly, 2, 2, b"small"), Some((FIRST, [&half[..], b"small"].concat())));
    }

    proptest! {
        #[test]
        fn any_order_with_any_duplicates_gives_the_message_once(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..20),
            seed in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let total = u16::try_from(chunks.len()).expect("few");
            let numbers = 1..=total;
            // Any fragments at first, then all of them backwards: some twice, in the end none missing.
            let order = seed.iter().map(|index| 1 + index.index(chunks.len()) as u16).chain(numbers.rev());
            let mut reassembly = Reassembly::default();
            let complete: Vec<_> = order
                .filter_map(|number| add(&mut reassembly, number, total, &chunks[usize::from(number) - 1]))
                .collect();
            prop_assert_eq!(complete, [(FIRST, chunks.concat())]);
        }
    }
}
