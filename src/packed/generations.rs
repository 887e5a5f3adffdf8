//! A bounded memory of what was asked for lately.

use std::{hash::Hash, mem};

use super::Packed;

/// A bounded memory: what was not asked for while so much else was is forgotten.
pub(crate) struct Generations<K, V> {
    young: Packed<K, V>,
    old: Packed<K, V>,
    most: usize,
}

impl<K: Eq + Hash + Copy, V> Generations<K, V> {
    /// Remembers at least the last `most` keys, and at most twice as many.
    pub(crate) fn new(most: usize) -> Self {
        Generations { young: Packed::default(), old: Packed::default(), most }
    }

    /// What is remembered of a key, to be looked at or changed.
    pub(crate) fn find(&mut self, key: &K) -> Option<&mut V> {
        if let Some(known) = self.old.remove(key) {
            self.insert(*key, known);
        }
        self.young.get_mut(key)
    }

    /// Remembers this of a key of which nothing is remembered.
    pub(crate) fn insert(&mut self, key: K, known: V) {
        if self.young.len() >= self.most {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_keys_are_remembered_and_the_memory_is_bounded() {
        let mut known = Generations::new(8);
        let keys: Vec<u32> = (0..100).collect();
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(known.find(key), None);
            known.insert(*key, n);
            let first_kept = n.saturating_sub(7);
            for (n, key) in keys.iter().enumerate().take(n + 1).skip(first_kept) {
                let found = known.young.get_mut(key).or_else(|| known.old.get_mut(key)).copied();
                assert_eq!(found, Some(n));
            }
            assert!(known.young.len() + known.old.len() <= 16);
        }
    }
}
