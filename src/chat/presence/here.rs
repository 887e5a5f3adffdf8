//! Who is in: streams by person, and a grace after the last one.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    event::{Name, User, UserId, UserKind},
    packed::Packed,
};

/// Somebody who is in.
#[derive(Debug)]
struct Present {
    name: Name,
    /// Open ones; a person has at most a few dozen.
    streams: u16,
    kind: UserKind,
}

// With its share of the index and room to grow: 65 bytes a person whose name has up to 23.
const _: () = assert!(size_of::<(UserId, Present)>() <= 48);

#[derive(Debug)]
struct Leaving {
    due: Instant,
    present: Present,
}

/// What a new stream makes of its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// They were not in.
    New,
    /// They were in their grace.
    Back,
    /// They have one more stream.
    More,
}

/// What the end of a stream makes of its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// They have others, or had none.
    Stays,
    /// Their grace begins.
    Leaving,
}

/// What became of a new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renamed {
    /// They are not in.
    Unknown,
    /// It is the one that they have.
    Same,
    /// It is another.
    Changed,
}

/// The people of one room who have, or had a moment ago, streams on this pod.
#[derive(Debug)]
pub(super) struct Here {
    grace: Duration,
    /// With at least one stream.
    here: Packed<UserId, Present>,
    /// Without a stream, in their grace.
    leaving: Packed<UserId, Leaving>,
    /// When each grace ends.
    graces: BTreeSet<(Instant, UserId)>,
}

impl Here {
    /// Nobody.
    pub(super) fn new(grace: Duration) -> Self {
        Here { grace, here: Packed::default(), leaving: Packed::default(), graces: BTreeSet::new() }
    }

    /// A stream of this person opens.
    pub(super) fn enter(&mut self, user: UserId, name: &Name, kind: UserKind) -> Entered {
        if let Some(present) = self.here.get_mut(&user) {
            present.streams = present.streams.saturating_add(1);
            present.name = name.clone();
            return Entered::More;
        }
        let was_leaving = self.leaving.remove(&user);
        self.here.insert(user, Present { name: name.clone(), streams: 1, kind });
        match was_leaving {
            Some(Leaving { due, .. }) => {
                self.graces.remove(&(due, user));
                Entered::Back
            }
            None => Entered::New,
        }
    }

    /// A stream of this person is over.
    pub(super) fn leave(&mut self, user: UserId, now: Instant) -> Ended {
        let Some(present) = self.here.get_mut(&user) else { return Ended::Stays };
        present.streams -= 1;
        if present.streams > 0 {
            return Ended::Stays;
        }
        let due = now + self.grace;
        if let Some(present) = self.here.remove(&user) {
            self.leaving.insert(user, Leaving { due, present });
            self.graces.insert((due, user));
        }
        Ended::Leaving
    }

    /// This person has another name now.
    pub(super) fn rename(&mut self, user: UserId, name: &Name) -> Renamed {
        let leaving = self.leaving.get_mut(&user).map(|leaving| &mut leaving.present);
        let Some(present) = self.here.get_mut(&user).or(leaving) else { return Renamed::Unknown };
        if present.name == *name {
            return Renamed::Same;
        }
        present.name = name.clone();
        Renamed::Changed
    }

    /// Somebody whose grace is over by now; they are forgotten.
    pub(super) fn gone(&mut self, now: Instant) -> Option<User> {
        let (due, user) = self.graces.first().copied().filter(|(due, _)| *due <= now)?;
        self.graces.remove(&(due, user));
        let Leaving { present, .. } = self.leaving.remove(&user)?;
        Some(shown(&user, &present))
    }

    /// When the next grace ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.graces.first().map(|(due, _)| *due)
    }

    /// How many people are in, those in their grace included.
    pub(super) fn online(&self) -> usize {
        self.here.len() + self.leaving.len()
    }

    /// Has nobody a stream?
    pub(super) fn is_quiet(&self) -> bool {
        self.here.is_empty()
    }

    /// Who is in, those in their grace last.
    pub(super) fn people(&self) -> impl Iterator<Item = User> {
        self.present().chain(self.leaving.entries().iter().map(|(id, leaving)| shown(id, &leaving.present)))
    }

    /// Who has a stream.
    pub(super) fn present(&self) -> impl Iterator<Item = User> {
        self.here.entries().iter().map(|(id, present)| shown(id, present))
    }

    /// This person, if they have a stream.
    pub(super) fn find(&mut self, user: &UserId) -> Option<User> {
        self.here.get_mut(user).map(|present| shown(user, present))
    }

    /// This person, if they are in their grace.
    pub(super) fn find_leaving(&mut self, user: &UserId) -> Option<User> {
        self.leaving.get_mut(user).map(|leaving| shown(user, &leaving.present))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.here.bytes()
    }
}

fn shown(id: &UserId, present: &Present) -> User {
    User { id: *id, name: present.name.clone(), kind: present.kind }
}
