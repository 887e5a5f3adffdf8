//! Who was seen lately, in bounded memory.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    mem,
    sync::Mutex,
};

use crate::{
    event::{User, UserId},
    packed::Generations,
};

/// Who was made findable by this pod lately, and under which name, so that not each of their requests is a write.
pub struct Introduced {
    names: Mutex<Generations<UserId, u64>>,
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
        let Some(known) = names.find(&user.id) else {
            names.insert(user.id, name);
            return Introduction::First;
        };
        match mem::replace(known, name) == name {
            true => Introduction::Done,
            false => Introduction::Renamed,
        }
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
}
