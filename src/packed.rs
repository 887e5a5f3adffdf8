//! Maps for very many small entries.

use std::hash::{BuildHasher, Hash, RandomState};

mod generations;

pub(crate) use generations::Generations;

/// A hash map whose entries lie side by side in one vector, in the order in which they came until one is
/// removed, with an index of 4-byte places beside it.
///
/// std's map keeps whole entries in a table that is 44–88 % full. Here only the index has holes, and the vector
/// grows by an eighth: at most 12 bytes and an eighth of an entry are lost per entry, whatever the number of
/// entries. Having a place for each entry also makes it possible to look at a few at a time, in turn.
#[derive(Debug)]
pub(crate) struct Packed<K, V> {
    entries: Vec<(K, V)>,
    /// Place in `entries` plus one, or 0 for nothing; linear probing, a power of two or nothing at all.
    index: Vec<u32>,
    /// Keyed at random, so that nobody can choose keys that collide.
    hasher: RandomState,
}

impl<K, V> Default for Packed<K, V> {
    fn default() -> Self {
        Packed { entries: Vec::new(), index: Vec::new(), hasher: RandomState::new() }
    }
}

impl<K: Eq + Hash, V> Packed<K, V> {
    /// Smallest index that is not empty.
    const LEAST: usize = 8;

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries; a place in this slice is good until the next change.
    pub(crate) fn entries(&self) -> &[(K, V)] {
        &self.entries
    }

    /// All entries, to be kept.
    pub(crate) fn into_entries(self) -> Vec<(K, V)> {
        self.entries
    }

    /// Changes every value.
    pub(crate) fn each(&mut self, change: impl Fn(&mut V)) {
        self.entries.iter_mut().for_each(|(_, value)| change(value));
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (_, place) = self.find(key)?;
        Some(&mut self.entries[place].1)
    }

    /// Puts the entry in, and gives back what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(&key) {
            return Some(std::mem::replace(old, value));
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact((self.entries.len() / 8).max(1));
        }
        self.entries.push((key, value));
        if self.entries.len() * 3 > self.index.len() * 2 {
            self.rebuild((self.index.len() * 2).max(Self::LEAST));
        } else {
            self.enter(self.entries.len() - 1);
        }
        None
    }

    /// Takes the entry out. The last entry moves to its place.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (slot, place) = self.find(key)?;
        self.vacate(slot);
        let last = self.entries.len() - 1;
        if place != last {
            let (moved, _) = self.find(&self.entries[last].0).expect("every entry is in the index");
            self.index[moved] = number(place);
        }
        let (_, value) = self.entries.swap_remove(place);
        if self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        if self.entries.is_empty() {
            self.index = Vec::new();
        } else if self.entries.len() * 8 < self.index.len() && self.index.len() > Self::LEAST {
            self.rebuild(self.index.len() / 2);
        }
        Some(value)
    }

    /// Memory in bytes, without what the entries point at.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(K, V)>() + self.index.capacity() * size_of::<u32>()
    }

    /// Its slot in the index and its place among the entries.
    fn find(&self, key: &K) -> Option<(usize, usize)> {
        let mut slot = self.home(key)?;
        loop {
            let place = self.index[slot].checked_sub(1)? as usize;
            if self.entries[place].0 == *key {
                return Some((slot, place));
            }
            slot = self.after(slot);
        }
    }

    /// Where the search for a key begins; `None` if there is no index yet.
    fn home(&self, key: &K) -> Option<usize> {
        let mask = self.index.len().checked_sub(1)?;
        // The high bits do not matter to the choice, so losing them on 32-bit machines is no harm.
        #[allow(clippy::cast_possible_truncation)]
        let hash = self.hasher.hash_one(key) as usize;
        Some(hash & mask)
    }

    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.index.len() - 1)
    }

    /// Writes the entry at `place`, which is not there yet, into the index.
    fn enter(&mut self, place: usize) {
        let mut slot = self.home(&self.entries[place].0).expect("there is an index");
        while self.index[slot] != 0 {
            slot = self.after(slot);
        }
        self.index[slot] = number(place);
    }

    /// Empties a slot, and closes the gap for those that came behind it because it was taken.
    fn vacate(&mut self, slot: usize) {
        let mask = self.index.len() - 1;
        let (mut gap, mut slot) = (slot, self.after(slot));
        while let Some(place) = self.index[slot].checked_sub(1) {
            let home = self.home(&self.entries[place as usize].0).expect("there is an index");
            if slot.wrapping_sub(home) & mask >= slot.wrapping_sub(gap) & mask {
                self.index[gap] = self.index[slot];
                gap = slot;
            }
            slot = self.after(slot);
        }
        self.index[gap] = 0;
    }

    fn rebuild(&mut self, len: usize) {
        self.index = vec![0; len];
        for place in 0..self.entries.len() {
            self.enter(place);
        }
    }
}

/// How a place is written in the index.
fn number(place: usize) -> u32 {
    u32::try_from(place + 1).expect("fewer than 2^32 entries")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in vec((0..4u8, 0..60u32), 0..400)) {
            let (mut packed, mut map) = (Packed::default(), HashMap::new());
            for (n, (kind, key)) in steps.into_iter().enumerate() {
                match kind {
                    0 => prop_assert_eq!(packed.remove(&key), map.remove(&key)),
                    1 => prop_assert_eq!(packed.get_mut(&key), map.get_mut(&key)),
                    _ => prop_assert_eq!(packed.insert(key, n), map.insert(key, n)),
                }
                prop_assert_eq!(packed.len(), map.len());
                prop_assert_eq!(packed.is_empty(), map.is_empty());
            }
            let entries: HashMap<u32, usize> = packed.entries().iter().copied().collect();
            prop_assert_eq!(entries.len(), packed.len());
            prop_assert_eq!(entries, map);
        }
    }

    #[test]
    fn it_gives_memory_back() {
        let mut packed = Packed::default();
        for key in 0..10_000u64 {
            packed.insert(key, key);
            assert!(packed.len() < 16 || packed.bytes() <= packed.len() * (16 * 9 / 8 + 13));
        }
        for key in 0..10_000 {
            assert_eq!(packed.remove(&key), Some(key));
            assert!(
                packed.bytes() <= 256 + packed.len() * 128,
                "{} bytes for {}",
                packed.bytes(),
                packed.len()
            );
        }
        assert_eq!(packed.bytes(), 0);
    }
}
