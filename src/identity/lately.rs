//! Who was seen lately, in bounded memory.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    mem,
    sync::Mutex,
};

use crate::event::{User, UserId};

/// Who was made findable by this pod lately, and under which name, so that not each of their requests is a write.
pub struct Introduced {
    names: Mutex<Generations<u64>>,
    hasher: RandomState,
}

/// People that are remembered in one generation; there are two.
const GENERATION: usize = 32_768;

impl Default for Introduced {
    fn default() -> Self {
        Introduced { names: Mutex::new(Generations::new(GENERATION)), hasher: RandomState::new() }
    }
}

impl fmt::Debug for Introduced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Introduced")
    }
}

/// What is to be done about somebody's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introduction {
    /// Nothing.
    Done,
    /// They were not seen here lately.
    First,
    /// They had another name.
    Renamed,
}

impl Introduced {
    /// Takes it that somebody is being introduced under this name from now on; says what there was to do.
    pub fn introduce(&self, user: &User) -> Introduction {
        let name = self.hasher.hash_one(&user.name);
        let mut names = self.names.lock().expect("no panic while locked");
        let known = names.of(user.id);
        match known.replace(name) {
            Some(before) if before == name => Introduction::Done,
            Some(_) => Introduction::Renamed,
            None => Introduction::First,
        }
    }
}

/// A bounded memory of people: whoever was not asked for while so many others were is forgotten.
pub(crate) struct Generations<V> {
    young: HashMap<UserId, Option<V>>,
    old: HashMap<UserId, Option<V>>,
    most: usize,
}

impl<V> Generations<V> {
    /// Remembers at least the last `most` people, and at most twice as many.
    pub(crate) fn new(most: usize) -> Self {
        Generations { young: HashMap::new(), old: HashMap::new(), most }
    }

    /// What is remembered of somebody, to be looked at or changed.
    pub(crate) fn of(&mut self, user: UserId) -> &mut Option<V> {
        if !self.young.contains_key(&user) {
            if self.young.len() >= self.most {
                self.old = mem::take(&mut self.young);
            }
            let known = self.old.remove(&user).flatten();
            self.young.insert(user, known);
        }
        self.young.get_mut(&user).expect("it was put there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::UserKind;

    fn user(name: &str) -> User {
        User { id: UserId::random(), name: name.parse().unwrap(), kind: UserKind::Member }
    }

    #[test]
    fn somebody_is_introduced_once_under_each_name() {
        let introduced = Introduced::default();
        let ann = user("Ann");
        assert_eq!(introduced.introduce(&ann), Introduction::First);
        assert_eq!(introduced.introduce(&ann), Introduction::Done);
        let anna = User { name: "Anna".parse().unwrap(), ..ann.clone() };
        assert_eq!(introduced.introduce(&anna), Introduction::Renamed);
        assert_eq!(introduced.introduce(&anna), Introduction::Done);
    }

    #[test]
    fn the_last_people_are_remembered_and_the_memory_is_bounded() {
        let mut people = Generations::new(8);
        let ids: Vec<_> = (0..100).map(|_| UserId::random()).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(people.of(*id).replace(n), None);
            let first_kept = n.saturating_sub(7);
            for (n, id) in ids.iter().enumerate().take(n + 1).skip(first_kept) {
                let known = people.young.get(id).or_else(|| people.old.get(id)).copied().flatten();
                assert_eq!(known, Some(n));
            }
            assert!(people.young.len() + people.old.len() <= 16);
        }
    }
}
