//! Entries under small numbers, in pages that never move.

/// Entries of a page. Growing by pages wastes at most one of them and copies nothing.
const PAGE: usize = 256;

const NONE: u32 = u32::MAX;

/// Keeps entries under keys that are used again after they were freed.
pub(crate) struct Slab<T> {
    pages: Vec<Vec<Slot<T>>>,
    free: u32,
    len: usize,
}

enum Slot<T> {
    Taken(T),
    /// And the next that is free.
    Free(u32),
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Slab { pages: Vec::new(), free: NONE, len: 0 }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every key is below this.
    pub(crate) fn bound(&self) -> u32 {
        let last = self.pages.last().map_or(0, Vec::len);
        (self.pages.len().saturating_sub(1) * PAGE + last) as u32
    }

    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        self.len += 1;
        if self.free != NONE {
            let key = self.free;
            let slot = &mut self.pages[key as usize / PAGE][key as usize % PAGE];
            if let Slot::Free(next) = *slot {
                self.free = next;
            }
            *slot = Slot::Taken(entry);
            return key;
        }
        let key = self.bound();
        assert!(key < NONE, "more entries than there can be descriptors");
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        self.pages.last_mut().expect("there is one now").push(Slot::Taken(entry));
        key
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let slot = self.pages.get_mut(key as usize / PAGE)?.get_mut(key as usize % PAGE)?;
        let entry = match std::mem::replace(slot, Slot::Free(self.free)) {
            Slot::Taken(entry) => entry,
            free @ Slot::Free(_) => {
                *slot = free;
                return None;
            }
        };
        self.free = key;
        self.len -= 1;
        if self.len == 0 {
            *self = Slab::new();
        }
        Some(entry)
    }

    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        match self.pages.get(key as usize / PAGE)?.get(key as usize % PAGE)? {
            Slot::Taken(entry) => Some(entry),
            Slot::Free(_) => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        match self.pages.get_mut(key as usize / PAGE)?.get_mut(key as usize % PAGE)? {
            Slot::Taken(entry) => Some(entry),
            Slot::Free(_) => None,
        }
    }
}
