//! One room with the people who are in it now.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use super::{
    Client, Doors,
    presence::{Change, Presence, Rules},
};
use crate::{
    event::{Name, RoomId, User, UserId, named},
    hub::Feed,
    identity::Session,
    readers::Occupant,
};

/// A room that somebody has open on this pod.
pub struct Room {
    feed: Arc<Feed>,
    presence: Mutex<Presence>,
    doors: Arc<Doors>,
}

impl Room {
    pub(super) fn new(feed: Arc<Feed>, doors: Arc<Doors>) -> Self {
        Room { feed, presence: Mutex::new(Presence::new(Rules::default())), doors }
    }

    /// Its log.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// How many people are here.
    pub fn online(&self) -> usize {
        self.presence().online()
    }

    /// Who is here, up to `limit` of them.
    pub fn people(&self, limit: usize) -> Vec<User> {
        self.presence().people(limit)
    }

    pub(super) fn id(&self) -> RoomId {
        self.feed.room().id
    }

    pub(super) fn rename(&self, user: UserId, name: &Name) {
        self.presence().rename(user, name);
    }

    /// What has become due by now: leaves after their grace, digests.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) {
        let mut presence = self.presence();
        let change = presence.tick(now);
        self.settle(presence, change);
    }

    fn enter(self: &Arc<Self>, user: &User) {
        let mut presence = self.presence();
        let change = presence.enter(user.id, &user.name, user.kind, Instant::now());
        self.settle(presence, change);
    }

    fn leave(self: &Arc<Self>, user: UserId) {
        let mut presence = self.presence();
        presence.leave(user, Instant::now());
        self.settle(presence, None);
    }

    /// Tells the others, and sees to it that what is due later is not forgotten.
    fn settle(self: &Arc<Self>, presence: MutexGuard<'_, Presence>, change: Option<Change>) {
        let due = presence.due();
        if let Some(change) = change {
            // Under the lock, so that changes are told in the order in which they happened.
            self.feed.aside(&named("presence", None, None, &change.told_in(self.doors.lang())));
        }
        drop(presence);
        if let Some(due) = due {
            self.doors.schedule(due, self);
        }
    }

    fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().expect("no panic while locked")
    }
}

/// Whose streams are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// Those of this session.
    Session(i64),
}

/// One open stream of one person in one room. Leaving is `Drop`.
pub struct Visit {
    room: Arc<Room>,
    user: UserId,
    client: Client,
    session: i64,
    expires: u32,
}

impl Visit {
    /// Enters the room with one more stream; the streams of the person and the address were counted by
    /// [`Doors::admit`], and are given back when the visit is dropped.
    pub(super) fn new(room: Arc<Room>, session: &Session, client: Client) -> Self {
        room.enter(&session.user);
        // Seconds since 1970 fit until 2106.
        let expires = u32::try_from(session.expires).unwrap_or(u32::MAX);
        Visit { room, user: session.user.id, client, session: session.id, expires }
    }

    /// Where.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// In which session.
    pub fn session(&self) -> i64 {
        self.session
    }
}

impl Occupant for Visit {
    type Select = Select;

    fn is_meant(&self, select: &Select) -> bool {
        match select {
            Select::Session(session) => self.session == *session,
        }
    }

    fn expires(&self) -> u32 {
        self.expires
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.room.doors.leave(self.user, self.client);
        self.room.leave(self.user);
    }
}
