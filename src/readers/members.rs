//! The readers of one ring, in an order that a sweep can be stopped and taken up in.

/// Keys of seats in three runs: *blocked* (epoll will tell), *swept* (have had their turn) and *due*. Between
/// sweeps nobody is in the second. Every change of somebody's place is told to `placed(key, place)`.
#[derive(Default)]
pub(crate) struct Members {
    keys: Vec<u32>,
    blocked: u32,
    swept: u32,
}

impl Members {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn all(&self) -> &[u32] {
        &self.keys
    }

    pub(crate) fn blocked(&self) -> &[u32] {
        &self.keys[..self.blocked as usize]
    }

    /// Adds somebody who is due, and says at which place.
    pub(crate) fn add(&mut self, key: u32) -> u32 {
        self.keys.push(key);
        (self.keys.len() - 1) as u32
    }

    /// Takes whoever is at `place` out.
    pub(crate) fn remove(&mut self, mut place: u32, mut placed: impl FnMut(u32, u32)) {
        if place < self.blocked {
            self.blocked -= 1;
            self.swap(place, self.blocked, &mut placed);
            place = self.blocked;
        }
        if place < self.swept {
            self.swept -= 1;
            self.swap(place, self.swept, &mut placed);
            place = self.swept;
        }
        self.keys.swap_remove(place as usize);
        if let Some(&moved) = self.keys.get(place as usize) {
            placed(moved, place);
        }
        if self.keys.capacity() > 64 && self.keys.len() < self.keys.capacity() / 4 {
            self.keys.shrink_to(self.keys.len() * 2);
        }
    }

    /// Everybody who is not blocked is due.
    pub(crate) fn begin(&mut self) {
        self.swept = self.blocked;
    }

    /// Who is due, in the order of their turns.
    pub(crate) fn due(&self) -> &[u32] {
        &self.keys[self.swept as usize..]
    }

    /// The next `n` have had their turn.
    pub(crate) fn had(&mut self, n: usize) {
        self.swept += n as u32;
    }

    pub(crate) fn block(&mut self, mut place: u32, mut placed: impl FnMut(u32, u32)) {
        debug_assert!(place >= self.blocked, "is blocked already");
        if place >= self.swept {
            self.swap(place, self.swept, &mut placed);
            place = self.swept;
            self.swept += 1;
        }
        self.swap(place, self.blocked, &mut placed);
        self.blocked += 1;
    }

    /// Whoever is at `place` is no longer blocked and has had their turn.
    pub(crate) fn unblock(&mut self, place: u32, mut placed: impl FnMut(u32, u32)) {
        debug_assert!(place < self.blocked, "is not blocked");
        self.blocked -= 1;
        self.swap(place, self.blocked, &mut placed);
    }

    fn swap(&mut self, a: u32, b: u32, placed: &mut impl FnMut(u32, u32)) {
        if a != b {
            self.keys.swap(a as usize, b as usize);
            placed(self.keys[a as usize], a);
            placed(self.keys[b as usize], b);
        }
    }
}
