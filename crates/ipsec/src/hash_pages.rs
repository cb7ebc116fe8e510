//! A hash table that two owners can share while one of them changes it.
//!
//! The table is a list of pages, each a small hash map behind an `Arc` of its own. To clone it is to count one
//! reference. Whoever changes a clone copies the list of pages (8 octets for about 64 keys) and the one page that holds
//! the key. Doubling the number of pages moves every key, once for each doubling of the table.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct HashPages<K, V> {
    seed: Seed,
    keys: usize,
    pages: Arc<Vec<Arc<Page<K, V>>>>,
}

type Page<K, V> = HashMap<K, V, Seed>;

impl<K: Copy + Eq + Hash, V: Clone + Default> HashPages<K, V> {
    pub(crate) fn new(seed: Seed) -> HashPages<K, V> {
        HashPages { seed, keys: 0, pages: Arc::new(vec![Arc::new(HashMap::with_hasher(seed))]) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys == 0
    }

    pub(crate) fn at(&self, key: &K) -> Option<&V> {
        self.pages[self.page_of(key)].get(key)
    }

    /// Changes the value of a key, a default one if there was none; `change` tells whether the key stays.
    pub(crate) fn change(&mut self, key: K, change: impl FnOnce(&mut V) -> Keep) {
        let index = self.page_of(&key);
        let page = Arc::make_mut(&mut Arc::make_mut(&mut self.pages)[index]);
        let before = page.len();
        let keep = change(page.entry(key).or_default());
        if keep == Keep::No {
            page.remove(&key);
        }
        self.keys = self.keys - before + page.len();
        if self.keys > self.pages.len() * KEYS_PER_PAGE {
            self.double();
        }
    }

    fn double(&mut self) {
        let pages = self.pages.len() * 2;
        let old = std::mem::replace(&mut self.pages, Arc::new(Vec::new()));
        let mut new = vec![Page::with_hasher(self.seed); pages];
        for (key, value) in old.iter().flat_map(|page| page.iter()) {
            new[page_index(self.seed.hash_one(key), pages)].insert(*key, value.clone());
        }
        self.pages = Arc::new(new.into_iter().map(Arc::new).collect());
    }

    fn page_of(&self, key: &K) -> usize {
        page_index(self.seed.hash_one(key), self.pages.len())
    }
}

/// Whether a key stays in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    No,
}

/// The page of a hash; its low and its topmost bits find the place within the page.
fn page_index(hash: u64, pages: usize) -> usize {
    (hash >> 24) as usize & (pages - 1)
}

const KEYS_PER_PAGE: usize = 64;

/// Hashes fixed-width integers, differently for every seed: a peer that has a say in which keys there are cannot choose
/// such as meet in one place.
#[derive(Clone, Copy)]
pub(crate) struct Seed(pub(crate) u64);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl BuildHasher for Seed {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        FoldHasher(self.0)
    }
}

/// Mixes each word in with one wide multiplication.
pub(crate) struct FoldHasher(u64);

impl Hasher for FoldHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(ODD);
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        // The last word has reached only the bits above it in one half of the product; one more round spreads it.
        let mut last = FoldHasher(self.0);
        last.write_u64(ODD.rotate_left(32));
        last.0
    }
}

/// An odd number whose bits look random: 2⁶⁴ divided by the golden ratio.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_table_agrees_with_a_map_and_clones_keep_what_they_had(
            seed: u64,
            steps in prop::collection::vec((0..400u64, any::<Option<u8>>()), 0..900),
        ) {
            let mut table: HashPages<u64, u8> = HashPages::new(Seed(seed));
            let mut model = BTreeMap::new();
            let mut snapshots = Vec::new();
            for (nth, (key, change)) in steps.into_iter().enumerate() {
                table.change(key, |value| match change {
                    Some(new) => {
                        *value = new;
                        Keep::Yes
                    }
                    None => Keep::No,
                });
                match change {
                    Some(new) => model.insert(key, new),
                    None => model.remove(&key),
                };
                if nth % 100 == 0 {
                    snapshots.push((table.clone(), model.clone()));
                }
            }
            snapshots.push((table, model));
            for (table, model) in snapshots {
                prop_assert_eq!(table.is_empty(), model.is_empty());
                for key in 0..400 {
                    prop_assert_eq!(table.at(&key), model.get(&key));
                }
            }
        }
    }

    #[test]
    fn consecutive_keys_spread_over_the_pages() {
        let mut table: HashPages<u128, u8> = HashPages::new(Seed(1));
        for key in 0..100_000u128 {
            table.change(key << 96, |_| Keep::Yes);
        }
        let fullest = table.pages.iter().map(|page| page.len()).max();
        assert!(fullest < Some(4 * KEYS_PER_PAGE), "{fullest:?}");
    }
}
