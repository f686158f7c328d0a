//! A map with a fixed number of places, for the caches of one core.
//!
//! Eviction is the clock algorithm (second chance) with a bounded walk, so that inserting costs the same whatever the
//! size and whatever a caller does.
//!
//! INVARIANT: never more entries than places, and every entry is found by its key.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// How many used entries get their second chance before one goes in any case.
const LONGEST_WALK: usize = 8;

#[derive(Debug)]
pub(crate) struct Bounded<K, V, S> {
    places: Vec<Option<Entry<K, V>>>,
    index: HashMap<K, usize, S>,
    free: Vec<usize>,
    hand: usize,
    most: usize,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    used: bool,
}

impl<K: Clone + Eq + Hash, V, S: BuildHasher + Default> Bounded<K, V, S> {
    /// A map of at most `most` entries, at least one. Memory is taken as entries come.
    pub(crate) fn new(most: usize) -> Self {
        let index = HashMap::with_hasher(S::default());
        Self { places: Vec::new(), index, free: Vec::new(), hand: 0, most: most.max(1) }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn find(&mut self, key: &K) -> Option<&V> {
        let place = *self.index.get(key)?;
        let entry = self.places.get_mut(place)?.as_mut()?;
        entry.used = true;
        Some(&entry.value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        let place = self.place();
        self.index.insert(key.clone(), place);
        if let Some(slot) = self.places.get_mut(place) {
            *slot = Some(Entry { key, value, used: false });
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(place) = self.index.remove(key) {
            self.clear(place);
        }
    }

    /// Keeps the entries that `keep` says yes to; looks at each once. Gives memory back when little is left.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        for place in 0..self.places.len() {
            let key = match self.places.get(place) {
                Some(Some(entry)) if !keep(&entry.value) => entry.key.clone(),
                _ => continue,
            };
            self.index.remove(&key);
            self.clear(place);
        }
        if self.index.is_empty() {
            *self = Self::new(self.most);
        }
    }

    fn clear(&mut self, place: usize) {
        if let Some(slot) = self.places.get_mut(place) {
            *slot = None;
            self.free.push(place);
        }
    }

    /// An empty place: a free one, a new one, or that of an entry which was not used lately.
    fn place(&mut self) -> usize {
        if let Some(place) = self.free.pop() {
            return place;
        }
        if self.places.len() < self.most {
            self.places.push(None);
            return self.places.len() - 1;
        }
        let place = self.victim();
        if let Some(old) = self.places.get_mut(place).and_then(Option::take) {
            self.index.remove(&old.key);
        }
        place
    }

    fn victim(&mut self) -> usize {
        for _ in 0..LONGEST_WALK {
            let place = self.step();
            match self.places.get_mut(place) {
                Some(Some(entry)) if entry.used => entry.used = false,
                _ => return place,
            }
        }
        self.step()
    }

    fn step(&mut self) -> usize {
        let here = self.hand;
        self.hand = (here + 1) % self.most;
        here
    }
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;

    use proptest::prelude::*;

    use super::*;

    type Map = Bounded<u8, u32, RandomState>;

    #[test]
    fn what_was_used_outlives_what_was_not() {
        let mut map = Map::new(4);
        (0..4).for_each(|key| map.insert(key, u32::from(key)));
        assert_eq!(map.find(&0), Some(&0));
        map.insert(9, 9);
        assert_eq!(map.find(&0), Some(&0));
        assert_eq!(map.len(), 4);
        assert_eq!(map.find(&1), None);
    }

    proptest! {
        /// Against an unbounded map: what is found is what was inserted last, and the bound holds.
        #[test]
        fn it_never_lies_and_never_grows(ops in proptest::collection::vec((0u8..4, 0u8..24, any::<u32>()), 0..300)) {
            let mut map = Map::new(10);
            let mut oracle = HashMap::new();
            for (op, key, value) in ops {
                match op {
                    0 => { map.insert(key, value); oracle.insert(key, value); }
                    1 => { map.remove(&key); oracle.remove(&key); }
                    2 => { map.retain(|v| v % 3 != 0); oracle.retain(|_, v| *v % 3 != 0); }
                    _ => if let Some(found) = map.find(&key) { prop_assert_eq!(Some(found), oracle.get(&key)); }
                }
                prop_assert!(map.len() <= 10 && map.places.len() <= 10);
                prop_assert_eq!(map.index.len() + map.free.len(), map.places.len());
            }
        }
    }
}
