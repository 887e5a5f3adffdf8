//! What the others are told of comings and goings, and when.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{
    chat::lang::Group,
    event::{Lang, Name, UserId},
    log::Person,
    packed::Packed,
};

/// When what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Between the end of a person's last stream and their leave.
    pub(crate) grace: Duration,
    /// From so many people on it is a digest,
    pub(crate) digest_from: usize,
    /// until they are fewer than so many.
    pub(crate) digest_until: usize,
    /// Least time between two digests.
    pub(crate) digest_every: Duration,
    /// Most people named in one [`Change`], at least 2.
    pub(crate) names_cap: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            grace: crate::log::GRACE,
            digest_from: 50,
            digest_until: 40,
            digest_every: Duration::from_secs(1),
            names_cap: 50,
        }
    }
}

/// Something to tell everybody in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Came in since the last change.
    pub(crate) joined: Vec<Person>,
    /// Came in too, but are too many to be named.
    pub(crate) joined_unnamed: usize,
    /// Went away since the last change.
    pub(crate) left: Vec<Person>,
    /// Went away too, but are too many to be named.
    pub(crate) left_unnamed: usize,
    /// How many are in now.
    pub(crate) online: usize,
}

/// A [`Change`] as it goes out: `{"joined":[…],"left":[…],"online":n,"text":"…"}`.
#[derive(Debug, Serialize)]
pub(crate) struct Told<'a> {
    joined: &'a [Person],
    left: &'a [Person],
    online: usize,
    pub(super) text: String,
}

impl Change {
    /// The change with a text fit for reading.
    pub(crate) fn told_in(&self, lang: Lang) -> Told<'_> {
        let joined: Vec<&Name> = self.joined.iter().map(|person| &person.name).collect();
        let left: Vec<&Name> = self.left.iter().map(|person| &person.name).collect();
        let text = lang.came_and_went(
            Group { named: &joined, unnamed: self.joined_unnamed },
            Group { named: &left, unnamed: self.left_unnamed },
        );
        Told { joined: &self.joined, left: &self.left, online: self.online, text }
    }
}

/// What is still to be told in one room.
#[derive(Debug)]
pub(super) struct Telling {
    rules: Rules,
    /// Came, and the others were not told yet.
    came: Packed<UserId, Name>,
    /// Went, and the others were not told yet.
    went: Packed<UserId, Name>,
    in_digests: bool,
    last_told: Option<Instant>,
}

impl Telling {
    /// Nothing.
    pub(super) fn new(rules: Rules) -> Self {
        assert!(rules.names_cap >= 2, "somebody who joined and somebody who left can be named");
        Telling {
            rules,
            came: Packed::default(),
            went: Packed::default(),
            in_digests: false,
            last_told: None,
        }
    }

    /// Somebody came. Unless it was not told yet that they went: then there is nothing to tell.
    pub(super) fn came(&mut self, who: Person) {
        if self.went.remove(&who.id).is_none() {
            self.came.insert(who.id, who.name);
        }
    }

    /// Somebody went. Unless it was not told yet that they came.
    pub(super) fn went(&mut self, who: Person) {
        if self.came.remove(&who.id).is_none() {
            self.went.insert(who.id, who.name);
        }
    }

    /// Whoever came is told of with this name.
    pub(super) fn rename(&mut self, user: UserId, name: &Name) {
        if let Some(came) = self.came.get_mut(&user) {
            *came = name.clone();
        }
    }

    /// When [`Telling::tell`] is to be called next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.last_told.filter(|_| self.is_pending()).map(|last| last + self.rules.digest_every)
    }

    /// Tells what there is to tell, unless the digest has to wait; so many people are in now.
    pub(super) fn tell(&mut self, now: Instant, online: usize) -> Option<Change> {
        self.in_digests |= online >= self.rules.digest_from;
        let may_tell_at =
            self.last_told.filter(|_| self.in_digests).map(|last| last + self.rules.digest_every);
        if !self.is_pending() || may_tell_at.is_some_and(|at| now < at) {
            return None;
        }
        let (mut joined, mut left) = (people(&mut self.came), people(&mut self.went));
        let cap = self.rules.names_cap;
        let left_unnamed = cut(&mut left, cap.saturating_sub(joined.len()).max(cap / 2));
        let joined_unnamed = cut(&mut joined, cap - left.len());
        self.last_told = Some(now);
        self.in_digests &= online >= self.rules.digest_until;
        Some(Change { joined, joined_unnamed, left, left_unnamed, online })
    }

    fn is_pending(&self) -> bool {
        !self.came.is_empty() || !self.went.is_empty()
    }

    #[cfg(test)]
    pub(super) fn is_in_digests(&self) -> bool {
        self.in_digests
    }
}

fn people(of: &mut Packed<UserId, Name>) -> Vec<Person> {
    let taken = std::mem::take(of);
    taken.entries().iter().map(|(id, name)| Person { id: *id, name: name.clone() }).collect()
}

/// Keeps at most so many, and says how many went.
fn cut(people: &mut Vec<Person>, most: usize) -> usize {
    let unnamed = people.len().saturating_sub(most);
    people.truncate(most);
    unnamed
}
