//! A hash table that two owners can share while one of them changes it.
//!
//! ```text
//!   pages   │ ● │ ● │ ● │ ● │              the hash's upper bits choose one
//!             │
//!             └──► │ key, value │ │ key, value │ key, value │ …      its lower bits where to begin looking
//! ```
//!
//! To clone the table is to count one reference. Whoever changes a clone copies the list of pages (16 octets for about 48
//! keys) and the one page that holds the key. Doubling the number of pages moves every key, once for each doubling of the
//! table. A page is one piece of memory, three quarters full: among a hundred thousand keys, most look-ups wait for memory
//! once.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct HashPages<K, V> {
    seed: Seed,
    keys: usize,
    pages: Arc<Vec<Page<K, V>>>,
}

/// Places for keys, the free ones among them; a key stands at the first free place from where its hash points.
type Page<K, V> = Arc<[Option<(K, V)>]>;

impl<K: Copy + Eq + Hash, V: Clone + Default> HashPages<K, V> {
    pub(crate) fn new(seed: Seed) -> HashPages<K, V> {
        HashPages { seed, keys: 0, pages: Arc::new(vec![Arc::from([])]) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys == 0
    }

    pub(crate) fn at(&self, key: &K) -> Option<&V> {
        let hash = self.seed.hash_one(key);
        let page = &self.pages[page_index(hash, self.pages.len())];
        let place = find(page, key, hash)?;
        page[place].as_ref().map(|(_, value)| value)
    }

    /// Changes the value of a key, a default one if there was none; `change` tells whether the key stays.
    pub(crate) fn change(&mut self, key: K, change: impl FnOnce(&mut V) -> Keep) {
        let hash = self.seed.hash_one(key);
        let index = page_index(hash, self.pages.len());
        let page = &mut Arc::make_mut(&mut self.pages)[index];
        let place = find(page, &key, hash);
        let mut value =
            place.and_then(|place| page[place].clone()).map_or_else(V::default, |(_, value)| value);
        match (change(&mut value), place) {
            (Keep::Yes, Some(place)) => Arc::make_mut(page)[place] = Some((key, value)),
            (Keep::Yes, None) => {
                *page = filled(self.seed, others(page, key).chain([(key, value)]));
                self.keys += 1;
            }
            (Keep::No, Some(_)) => {
                *page = filled(self.seed, others(page, key));
                self.keys -= 1;
            }
            (Keep::No, None) => {}
        }
        if self.keys > self.pages.len() * KEYS_PER_PAGE {
            self.double();
        }
    }

    fn double(&mut self) {
        let pages = self.pages.len() * 2;
        let mut sorted = vec![Vec::new(); pages];
        for (key, value) in self.pages.iter().flat_map(|page| page.iter().flatten()) {
            sorted[page_index(self.seed.hash_one(key), pages)].push((*key, value.clone()));
        }
        self.pages = Arc::new(sorted.into_iter().map(|page| filled(self.seed, page.into_iter())).collect());
    }
}

fn find<K: Eq, V>(page: &[Option<(K, V)>], key: &K, hash: u64) -> Option<usize> {
    let (before, from) = page.split_at_checked(first_place(hash, page.len()))?;
    // A page is never full, so the search ends.
    let found = from.iter().chain(before).position(|place| match place {
        Some((other, _)) => other == key,
        None => true,
    })?;
    let place = (before.len() + found) % page.len();
    page[place].is_some().then_some(place)
}

fn others<K: Copy + Eq, V: Clone>(page: &[Option<(K, V)>], key: K) -> impl Iterator<Item = (K, V)> {
    page.iter().flatten().filter(move |(other, _)| *other != key).cloned()
}

/// Makes a page of these keys.
fn filled<K: Hash, V>(seed: Seed, keys: impl Iterator<Item = (K, V)>) -> Page<K, V> {
    let keys: Vec<(K, V)> = keys.collect();
    let places = if keys.is_empty() { 0 } else { keys.len() + keys.len() / 3 + 1 };
    let mut page: Vec<Option<(K, V)>> = std::iter::repeat_with(|| None).take(places).collect();
    for (key, value) in keys {
        let first = first_place(seed.hash_one(&key), places);
        let free = (first..places).chain(0..first).find(|place| page[*place].is_none());
        if let Some(free) = free {
            page[free] = Some((key, value));
        }
    }
    page.into()
}

/// Whether a key stays in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    No,
}

/// The page of a hash, of a power of two.
fn page_index(hash: u64, pages: usize) -> usize {
    (hash >> 32) as usize & (pages - 1)
}

/// Where in a page the search for a hash begins.
fn first_place(hash: u64, places: usize) -> usize {
    (((hash & u64::from(u32::MAX)) * places as u64) >> 32) as usize
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
        let mut table: HashPages<u64, u8> = HashPages::new(Seed(1));
        for key in 0..100_000u64 {
            table.change(key << 32, |_| Keep::Yes);
        }
        let fullest = table.pages.iter().map(|page| page.iter().flatten().count()).max();
        assert!(fullest < Some(3 * KEYS_PER_PAGE), "{fullest:?}");
    }
}
