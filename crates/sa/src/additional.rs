//! Additional key exchanges (RFC 9370): up to seven after the one that every IKE SA has, each with a transform type of its
//! own, so that an SA is secret as long as one of them is.
//!
//! ```text
//!   x25519-ke1_mlkem768-ke2_ecp384-ke2_none
//!
//!   type 4   x25519           goes first, as ever
//!   type 6   mlkem768         must follow
//!   type 7   ecp384, or NONE  may follow
//! ```

use std::fmt;

use wire::registry::KeyExchangeId;

use crate::transform::{self, GROUPS, Group};

/// Additional key exchanges that an SA can have.
pub const ADDITIONAL_KEY_EXCHANGES: usize = 7;

/// What a proposal allows for one of them: a method, or `None` to do without.
pub type AdditionalChoice = Option<&'static Group>;

/// What a proposal allows for each of them, best first; one for which nothing is named is not offered at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdditionalOffer([Vec<AdditionalChoice>; ADDITIONAL_KEY_EXCHANGES]);

/// The methods that were agreed, in the order in which they take place; by their numbers, as every SA has one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdditionalSuite([KeyExchangeId; ADDITIONAL_KEY_EXCHANGES]);

impl AdditionalOffer {
    /// Tells whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// Gives every choice with the position, from 0, of the key exchange that it is for.
    pub fn iter(&self) -> impl Iterator<Item = (usize, AdditionalChoice)> {
        let positions = self.0.iter().enumerate();
        positions.flat_map(|(position, choices)| choices.iter().map(move |choice| (position, *choice)))
    }

    pub(crate) fn add(&mut self, position: usize, choice: AdditionalChoice) {
        let choices = &mut self.0[position];
        if !choices.contains(&choice) {
            choices.push(choice);
        }
    }

    /// Tells whether what was agreed is among what it allows.
    pub fn allows(&self, suite: &AdditionalSuite) -> bool {
        let agreed = suite.choices();
        self.choose(|position, choice| agreed[position] == choice).is_some()
    }

    /// Chooses one of each, among those that are `offered` too, and none twice (RFC 9370 §2.2.1): the first of each list,
    /// as far as the others then still have one. What is named by neither side does not take place.
    pub fn choose(&self, offered: impl Fn(usize, AdditionalChoice) -> bool) -> Option<AdditionalSuite> {
        let possible = |position: usize| -> Vec<AdditionalChoice> {
            let ours = if self.0[position].is_empty() { &[None][..] } else { &self.0[position] };
            ours.iter().copied().filter(|choice| offered(position, *choice)).collect()
        };
        let mut possible: [Vec<AdditionalChoice>; ADDITIONAL_KEY_EXCHANGES] = std::array::from_fn(possible);
        for position in 0..ADDITIONAL_KEY_EXCHANGES {
            let with = |choice: &AdditionalChoice| {
                let mut decided = possible.clone();
                decided[position] = vec![*choice];
                decided
            };
            possible = possible[position].iter().map(with).find(is_possible)?;
        }
        let method = |decided: Vec<AdditionalChoice>| decided.first().copied().flatten();
        Some(AdditionalSuite(
            possible.map(|decided| method(decided).map_or(KeyExchangeId::NONE, |row| row.id)),
        ))
    }
}

/// Tells whether every position can have something that no other has.
fn is_possible(possible: &[Vec<AdditionalChoice>; ADDITIONAL_KEY_EXCHANGES]) -> bool {
    let mut holders = Vec::new();
    (0..ADDITIONAL_KEY_EXCHANGES).all(|position| place(position, possible, &mut holders, &mut Vec::new()))
}

/// Finds a method for one position; whoever holds the only one that is left takes another of its own, if it can.
fn place(
    position: usize,
    possible: &[Vec<AdditionalChoice>; ADDITIONAL_KEY_EXCHANGES],
    holders: &mut Vec<(&'static Group, usize)>,
    tried: &mut Vec<&'static Group>,
) -> bool {
    for choice in &possible[position] {
        let Some(group) = *choice else { return true };
        if tried.contains(&group) {
            continue;
        }
        tried.push(group);
        match holders.iter().find(|(held, _)| *held == group).map(|(_, holder)| *holder) {
            None => {
                holders.push((group, position));
                return true;
            }
            Some(holder) if place(holder, possible, holders, tried) => {
                holders.retain(|holding| *holding != (group, holder));
                holders.push((group, position));
                return true;
            }
            Some(_) => {}
        }
    }
    false
}

impl AdditionalSuite {
    /// Tells whether none takes place.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Gives the methods in order.
    pub fn iter(&self) -> impl Iterator<Item = &'static Group> + use<> {
        self.choices().into_iter().flatten()
    }

    /// Gives the choice for each position.
    pub fn choices(&self) -> [AdditionalChoice; ADDITIONAL_KEY_EXCHANGES] {
        self.0.map(transform::group)
    }
}

impl Default for AdditionalSuite {
    /// None takes place.
    fn default() -> AdditionalSuite {
        AdditionalSuite([KeyExchangeId::NONE; ADDITIONAL_KEY_EXCHANGES])
    }
}

/// Reads a keyword such as `ke1_mlkem768` or `ke2_none`: the position, from 0, and what it allows there.
pub(crate) fn read(keyword: &str) -> Option<(usize, AdditionalChoice)> {
    let (number, method) = keyword.strip_prefix("ke")?.split_once('_')?;
    let position = (1..=ADDITIONAL_KEY_EXCHANGES).position(|known| number == known.to_string())?;
    match method {
        "none" => Some((position, None)),
        method => GROUPS.iter().find(|row| row.keywords.contains(&method)).map(|row| (position, Some(row))),
    }
}

/// Gives the keyword of one choice for a position, from 0.
pub fn additional_keyword(position: usize, choice: AdditionalChoice) -> String {
    let number = position + 1;
    match choice {
        Some(group) => format!("ke{number}_{group}"),
        None => format!("ke{number}_none"),
    }
}

impl fmt::Display for AdditionalSuite {
    /// Prints what takes place, each with a `-` in front.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut present = self.choices().into_iter().enumerate().filter(|(_, choice)| choice.is_some());
        present.try_for_each(|(position, choice)| write!(f, "-{}", additional_keyword(position, choice)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offer(text: &str) -> AdditionalOffer {
        let mut offer = AdditionalOffer::default();
        for keyword in text.split('-') {
            let (position, choice) = read(keyword).expect("the test's own text");
            offer.add(position, choice);
        }
        offer
    }

    fn chosen(ours: &str, theirs: &str) -> Option<String> {
        let theirs = offer(theirs);
        offer(ours)
            .choose(|position, choice| allows(&theirs, position, choice))
            .map(|suite| suite.to_string())
    }

    /// What is not named is NONE (RFC 9370 §2.2.1).
    fn allows(offer: &AdditionalOffer, position: usize, choice: AdditionalChoice) -> bool {
        match offer.0[position].as_slice() {
            [] => choice.is_none(),
            named => named.contains(&choice),
        }
    }

    #[test]
    fn keywords_are_those_of_the_method_with_a_number_in_front() {
        for keyword in
            ["ke0_x25519", "ke8_x25519", "ke+1_x25519", "ke1_", "ke1", "ke1_aes128", "x25519", "kex"]
        {
            assert_eq!(read(keyword), None, "{keyword}");
        }
        let words: Vec<String> = offer("ke7_curve25519-ke1_none-ke7_x25519")
            .iter()
            .map(|(at, one)| additional_keyword(at, one))
            .collect();
        assert_eq!(words, ["ke1_none", "ke7_x25519"]);
    }

    #[test]
    fn the_first_that_both_name_is_chosen_unless_another_needs_it() {
        let all = "ke1_none-ke1_mlkem512-ke1_mlkem768-ke2_mlkem512-ke2_mlkem768-ke2_none";
        let must = "ke1_mlkem768-ke2_mlkem512";
        assert_eq!(chosen("ke1_mlkem768-ke1_mlkem512", must), None, "the second must take place");
        assert_eq!(chosen("ke1_mlkem768-ke2_none", all).as_deref(), Some("-ke1_mlkem768"));
        let both = "ke1_mlkem768-ke1_mlkem512-ke2_mlkem768";
        assert_eq!(chosen(both, all).as_deref(), Some("-ke1_mlkem512-ke2_mlkem768"));
        assert_eq!(chosen("ke1_mlkem768-ke2_mlkem768", all), None);
        assert_eq!(chosen("ke1_mlkem768-ke2_mlkem768-ke2_none", all).as_deref(), Some("-ke1_mlkem768"));
    }

    fn some_offer() -> impl Strategy<Value = AdditionalOffer> {
        let row = (0usize..5).prop_map(|index| &GROUPS[index]);
        let choice = (0..ADDITIONAL_KEY_EXCHANGES, prop::option::weighted(0.9, row));
        prop::collection::vec(choice, 0..16).prop_map(|choices| {
            let mut offer = AdditionalOffer::default();
            choices.into_iter().for_each(|(position, choice)| offer.add(position, choice));
            offer
        })
    }

    /// Tries every way to choose.
    fn exists(possible: &[Vec<AdditionalChoice>], taken: &mut Vec<&'static Group>) -> bool {
        let Some((first, rest)) = possible.split_first() else { return true };
        first.iter().any(|choice| match choice {
            None => exists(rest, taken),
            Some(group) if taken.contains(group) => false,
            Some(group) => {
                taken.push(group);
                let found = exists(rest, taken);
                taken.pop();
                found
            }
        })
    }

    proptest! {
        #[test]
        fn a_choice_is_found_if_there_is_one(ours in some_offer(), theirs in some_offer()) {
            let both = |position: usize| -> Vec<AdditionalChoice> {
                let methods = GROUPS.iter().map(Some).chain([None]);
                let of_both = |one: &AdditionalChoice| {
                    allows(&ours, position, *one) && allows(&theirs, position, *one)
                };
                methods.filter(of_both).collect()
            };
            let possible: Vec<Vec<AdditionalChoice>> = (0..ADDITIONAL_KEY_EXCHANGES).map(both).collect();
            let suite = ours.choose(|position, choice| allows(&theirs, position, choice));
            prop_assert_eq!(suite.is_some(), exists(&possible, &mut Vec::new()));
            if let Some(suite) = suite {
                let methods: Vec<_> = suite.iter().collect();
                prop_assert!(methods.iter().enumerate().all(|(at, method)| !methods[..at].contains(method)));
                for (position, choice) in suite.choices().into_iter().enumerate() {
                    prop_assert!(possible[position].contains(&choice));
                }
            }
        }
    }
}
