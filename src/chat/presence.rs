//! Who is in a room, and what the others are told of it.
//!
//! A person is in while at least one of their streams is open, and for a grace after that, so that a reload or
//! a lost connection is not a coming and going. Few people are told of one by one; many in a digest, in which
//! whoever came and went in between does not appear. Time is an argument: whoever calls looks at when something
//! is due.
//!
//! [`here`] is who is in, [`telling`] what is told and when. A pod that is alone joins the two: [`Presence`]. Among
//! many, the server before them knows who is in, and [`shared`] is what this pod tells it and hears from it.

use std::time::Instant;

use crate::{
    event::{Name, User, UserId, UserKind},
    log::Person,
};

mod here;
mod shared;
mod telling;
#[cfg(test)]
mod tests;

use here::{Entered, Here};
use telling::Telling;

pub(crate) use shared::Shared;
pub(crate) use telling::{Change, Rules};

/// The people of one room of a pod that is alone.
#[derive(Debug)]
pub(super) struct Presence {
    here: Here,
    telling: Telling,
}

impl Presence {
    /// An empty room.
    pub(super) fn new(rules: Rules) -> Self {
        Presence { here: Here::new(rules.grace), telling: Telling::new(rules) }
    }

    /// A stream of this person opens.
    pub(super) fn enter(
        &mut self,
        user: UserId,
        name: &Name,
        kind: UserKind,
        now: Instant,
    ) -> Option<Change> {
        match self.here.enter(user, name, kind) {
            Entered::More => return None,
            Entered::Back => {}
            Entered::New => self.telling.came(Person { id: user, name: name.clone() }),
        }
        self.telling.tell(now, self.online())
    }

    /// A stream of this person is over.
    pub(super) fn leave(&mut self, user: UserId, now: Instant) {
        self.here.leave(user, now);
    }

    /// This person has another name now. The others see it when they speak, or leave.
    pub(super) fn rename(&mut self, user: UserId, name: &Name) {
        self.here.rename(user, name);
        self.telling.rename(user, name);
    }

    /// What has become due by now: leaves after their grace, and digests.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Change> {
        while let Some(User { id, name, .. }) = self.here.gone(now) {
            self.telling.went(Person { id, name });
        }
        self.telling.tell(now, self.online())
    }

    /// When [`Presence::tick`] is to be called next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.here.due().into_iter().chain(self.telling.due()).min()
    }

    /// How many people are in, those in their grace included.
    pub(super) fn online(&self) -> usize {
        self.here.online()
    }

    /// Who is in, up to `limit` of them.
    pub(super) fn people(&self, limit: usize) -> Vec<User> {
        self.here.people().take(limit).collect()
    }
}
