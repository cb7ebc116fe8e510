//! A sparse table by index that two owners can share while one of them changes it.
//!
//! The table is a list of chunks, each behind an `Arc` of its own. To clone it is to count one reference. Whoever
//! changes a clone copies the list of chunks (8 octets for every 64 slots up to the highest) and the one chunk that
//! holds the slot; every other chunk stays shared. Looking up is two array accesses, whatever the table holds.

use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct Slots<T> {
    chunks: Arc<Vec<Option<Arc<Chunk<T>>>>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { chunks: Arc::default() }
    }
}

type Chunk<T> = [Option<T>; CHUNK];

impl<T: Clone> Slots<T> {
    pub(crate) fn at(&self, index: usize) -> Option<&T> {
        self.chunks.get(index / CHUNK)?.as_deref()?[index % CHUNK].as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().flat_map(|chunk| chunk.iter().flatten())
    }

    pub(crate) fn put(&mut self, index: usize, value: T) {
        *self.slot_mut(index) = Some(value);
    }

    pub(crate) fn clear(&mut self, index: usize) {
        if self.at(index).is_some() {
            *self.slot_mut(index) = None;
        }
    }

    fn slot_mut(&mut self, index: usize) -> &mut Option<T> {
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.len() <= index / CHUNK {
            chunks.resize(index / CHUNK + 1, None);
        }
        let chunk = chunks[index / CHUNK].get_or_insert_with(|| Arc::new(std::array::from_fn(|_| None)));
        &mut Arc::make_mut(chunk)[index % CHUNK]
    }
}

/// Slots that are copied together when one of them changes.
const CHUNK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_clone_keeps_what_it_had(
            before in prop::collection::vec((0..5000usize, any::<Option<u8>>()), 0..60),
            after in prop::collection::vec((0..5000usize, any::<Option<u8>>()), 0..60),
        ) {
            fn apply(slots: &mut Slots<u8>, model: &mut BTreeMap<usize, u8>, changes: &[(usize, Option<u8>)]) {
                for (index, change) in changes {
                    match change {
                        Some(value) => {
                            slots.put(*index, *value);
                            model.insert(*index, *value);
                        }
                        None => {
                            slots.clear(*index);
                            model.remove(index);
                        }
                    }
                }
            }
            let (mut slots, mut model) = (Slots::default(), BTreeMap::new());
            apply(&mut slots, &mut model, &before);
            let (snapshot, snapshot_model) = (slots.clone(), model.clone());
            apply(&mut slots, &mut model, &after);
            for index in 0..5100 {
                prop_assert_eq!(slots.at(index), model.get(&index));
                prop_assert_eq!(snapshot.at(index), snapshot_model.get(&index));
            }
        }
    }
}
