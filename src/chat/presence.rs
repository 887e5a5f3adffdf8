//! Who is in a room, and what the others are told of it.
//!
//! A person is in while at least one of their streams is open, and for a grace after that, so that a reload or
//! a lost connection is not a coming and going. Few people are told of one by one; many in a digest, in which
//! whoever came and went in between does not appear. Time is an argument: whoever calls looks at [`Presence::due`].

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{lang::Group, packed::Packed};
use crate::event::{Lang, Name, User, UserId, UserKind};

#[cfg(test)]
mod tests;

/// When what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Between the end of a person's last stream and their leave.
    pub(super) grace: Duration,
    /// From so many people on it is a digest,
    pub(super) digest_from: usize,
    /// until they are fewer than so many.
    pub(super) digest_until: usize,
    /// Least time between two digests.
    pub(super) digest_every: Duration,
    /// Most people named in one [`Change`], at least 2.
    pub(super) names_cap: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            grace: Duration::from_secs(10),
            digest_from: 50,
            digest_until: 40,
            digest_every: Duration::from_secs(1),
            names_cap: 50,
        }
    }
}

/// A person, as the others are told of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Person {
    /// Who.
    pub(super) id: UserId,
    /// Their name now.
    pub(super) name: Name,
}

/// Something to tell everybody in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Came in since the last change.
    pub(super) joined: Vec<Person>,
    /// Came in too, but are too many to be named.
    pub(super) joined_unnamed: usize,
    /// Went away since the last change.
    pub(super) left: Vec<Person>,
    /// Went away too, but are too many to be named.
    pub(super) left_unnamed: usize,
    /// How many are in now.
    pub(super) online: usize,
}

/// A [`Change`] as it goes out: `{"joined":[…],"left":[…],"online":n,"text":"…"}`.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    joined: &'a [Person],
    left: &'a [Person],
    online: usize,
    text: String,
}

impl Change {
    /// The change with a text fit for reading.
    pub(super) fn told_in(&self, lang: Lang) -> Told<'_> {
        let joined: Vec<&Name> = self.joined.iter().map(|person| &person.name).collect();
        let left: Vec<&Name> = self.left.iter().map(|person| &person.name).collect();
        let text = lang.came_and_went(
            Group { named: &joined, unnamed: self.joined_unnamed },
            Group { named: &left, unnamed: self.left_unnamed },
        );
        Told { joined: &self.joined, left: &self.left, online: self.online, text }
    }
}

/// Somebody who is in.
#[derive(Debug)]
struct Present {
    name: Name,
    /// Open ones; a person has at most a few dozen.
    streams: u16,
    kind: UserKind,
    /// The others were told that they came.
    told: bool,
}

// With the name's own bytes (48 for most), its share of the index and room to grow: 100 bytes a person.
const _: () = assert!(size_of::<(UserId, Present)>() <= 40);

#[derive(Debug)]
struct Leaving {
    due: Instant,
    present: Present,
}

/// The people of one room.
#[derive(Debug)]
pub(super) struct Presence {
    rules: Rules,
    /// With at least one stream.
    here: Packed<UserId, Present>,
    /// Without a stream, in their grace.
    leaving: Packed<UserId, Leaving>,
    /// When each grace ends.
    graces: BTreeSet<(Instant, UserId)>,
    /// Came, and the others were not told yet; some may have gone since.
    came: Vec<UserId>,
    /// Went, and the others were not told yet.
    went: Packed<UserId, Name>,
    in_digests: bool,
    last_told: Option<Instant>,
}

impl Presence {
    /// An empty room.
    pub(super) fn new(rules: Rules) -> Self {
        assert!(rules.names_cap >= 2, "somebody who joined and somebody who left can be named");
        Presence {
            rules,
            here: Packed::default(),
            leaving: Packed::default(),
            graces: BTreeSet::new(),
            came: Vec::new(),
            went: Packed::default(),
            in_digests: false,
            last_told: None,
        }
    }

    /// A stream of this person opens.
    pub(super) fn enter(
        &mut self,
        user: UserId,
        name: &Name,
        kind: UserKind,
        now: Instant,
    ) -> Option<Change> {
        if let Some(present) = self.here.get_mut(&user) {
            present.streams = present.streams.saturating_add(1);
            present.name = name.clone();
            return None;
        }
        let told = if let Some(Leaving { due, present }) = self.leaving.remove(&user) {
            self.graces.remove(&(due, user));
            present.told
        } else if self.went.remove(&user).is_some() {
            true
        } else {
            self.came.push(user);
            false
        };
        self.here.insert(user, Present { name: name.clone(), streams: 1, kind, told });
        self.tell(now)
    }

    /// A stream of this person is over.
    pub(super) fn leave(&mut self, user: UserId, now: Instant) {
        let Some(present) = self.here.get_mut(&user) else { return };
        present.streams -= 1;
        if present.streams > 0 {
            return;
        }
        let due = now + self.rules.grace;
        if let Some(present) = self.here.remove(&user) {
            self.leaving.insert(user, Leaving { due, present });
            self.graces.insert((due, user));
        }
    }

    /// This person has another name now. The others see it when they speak, or leave.
    pub(super) fn rename(&mut self, user: UserId, name: &Name) {
        if let Some(present) = self.here.get_mut(&user) {
            present.name = name.clone();
        } else if let Some(leaving) = self.leaving.get_mut(&user) {
            leaving.present.name = name.clone();
        }
    }

    /// What has become due by now: leaves after their grace, and digests.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Change> {
        while let Some((due, user)) = self.graces.first().copied().filter(|(due, _)| *due <= now) {
            self.graces.remove(&(due, user));
            if let Some(Leaving { present, .. }) = self.leaving.remove(&user).filter(|left| left.present.told)
            {
                self.went.insert(user, present.name);
            }
        }
        self.tell(now)
    }

    /// When [`Presence::tick`] is to be called next.
    pub(super) fn due(&self) -> Option<Instant> {
        let leave = self.graces.first().map(|(due, _)| *due);
        let digest = self.last_told.filter(|_| self.is_pending()).map(|last| last + self.rules.digest_every);
        leave.into_iter().chain(digest).min()
    }

    /// How many people are in, those in their grace included.
    pub(super) fn online(&self) -> usize {
        self.here.len() + self.leaving.len()
    }

    /// Who is in, up to `limit` of them.
    pub(super) fn people(&self, limit: usize) -> Vec<User> {
        let here = self.here.entries().iter().map(|(id, present)| (id, present));
        let leaving = self.leaving.entries().iter().map(|(id, leaving)| (id, &leaving.present));
        let user = |(id, present): (&UserId, &Present)| User {
            id: *id,
            name: present.name.clone(),
            kind: present.kind,
        };
        here.chain(leaving).take(limit).map(user).collect()
    }

    fn is_pending(&self) -> bool {
        !self.came.is_empty() || !self.went.is_empty()
    }

    /// Tells what there is to tell, unless the digest has to wait.
    fn tell(&mut self, now: Instant) -> Option<Change> {
        let online = self.online();
        self.in_digests |= online >= self.rules.digest_from;
        let may_tell_at =
            self.last_told.filter(|_| self.in_digests).map(|last| last + self.rules.digest_every);
        if !self.is_pending() || may_tell_at.is_some_and(|at| now < at) {
            return None;
        }
        let mut joined = Vec::new();
        for id in std::mem::take(&mut self.came) {
            let leaving = self.leaving.get_mut(&id).map(|leaving| &mut leaving.present);
            // Not in any more, or back again and in the list twice: nothing to tell.
            if let Some(present) = self.here.get_mut(&id).or(leaving).filter(|present| !present.told) {
                present.told = true;
                joined.push(Person { id, name: present.name.clone() });
            }
        }
        let went = std::mem::take(&mut self.went);
        let left = went.entries().iter().map(|(id, name)| Person { id: *id, name: name.clone() });
        let mut left: Vec<Person> = left.collect();
        if joined.is_empty() && left.is_empty() {
            return None;
        }
        let cap = self.rules.names_cap;
        let left_unnamed = cut(&mut left, cap.saturating_sub(joined.len()).max(cap / 2));
        let joined_unnamed = cut(&mut joined, cap - left.len());
        self.last_told = Some(now);
        self.in_digests &= online >= self.rules.digest_until;
        Some(Change { joined, joined_unnamed, left, left_unnamed, online })
    }
}

/// Keeps at most so many, and says how many went.
fn cut(people: &mut Vec<Person>, most: usize) -> usize {
    let unnamed = people.len().saturating_sub(most);
    people.truncate(most);
    unnamed
}
