//! A set that mostly has one member, which then needs no memory of its own.

use std::collections::BTreeSet;

#[derive(Clone, Debug, Default)]
pub(crate) enum Few<T> {
    #[default]
    None,
    One(T),
    #[expect(
        clippy::box_collection,
        reason = "a set itself is three words, which all the others would take too"
    )]
    Several(Box<BTreeSet<T>>),
}

impl<T: Copy + Ord> Few<T> {
    pub(crate) fn insert(&mut self, member: T) {
        *self = match std::mem::take(self) {
            Few::None => Few::One(member),
            Few::One(first) if first == member => Few::One(member),
            Few::One(first) => Few::Several(Box::new(BTreeSet::from([first, member]))),
            Few::Several(mut members) => {
                members.insert(member);
                Few::Several(members)
            }
        };
    }

    pub(crate) fn remove(&mut self, member: T) {
        match self {
            Few::One(first) if *first == member => *self = Few::None,
            Few::None | Few::One(_) => {}
            Few::Several(members) => {
                members.remove(&member);
            }
        }
    }

    pub(crate) fn contains(&self, member: T) -> bool {
        match self {
            Few::None => false,
            Few::One(first) => *first == member,
            Few::Several(members) => members.contains(&member),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Gives the members in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let (one, several) = match self {
            Few::None => (None, None),
            Few::One(member) => (Some(*member), None),
            Few::Several(members) => (None, Some(members.iter().copied())),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }
}

const _: () = assert!(size_of::<Few<u32>>() <= 16);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((0..4u32, any::<bool>()), 0..40)) {
            let (mut few, mut model) = (Few::default(), BTreeSet::new());
            for (member, insert) in steps {
                if insert {
                    few.insert(member);
                    model.insert(member);
                } else {
                    few.remove(member);
                    model.remove(&member);
                }
                prop_assert_eq!(few.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(few.is_empty(), model.is_empty());
                prop_assert!((0..4).all(|member| few.contains(member) == model.contains(&member)));
            }
        }
    }
}
