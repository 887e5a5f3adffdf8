//! One room with the people who are in it now.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};

use super::{
    Client, Doors, Select,
    bans::Visitor,
    endings::Whom,
    presence::{Change, Presence, Rules, Shared},
};
use crate::{
    event::{LogId, Name, RoomId, RoomKind, User, UserId, UserKind, named},
    hub::Feed,
    identity::Session,
    log::{Move, Passed, Person, What},
    readers::Occupant,
};

/// How long a stream that opens waits until the other pods can know of it.
const ENTERED: Duration = Duration::from_millis(200);

/// A room that somebody has open on this pod.
pub struct Room {
    feed: Arc<Feed>,
    people: Mutex<People>,
    /// Somebody's coming may be known everywhere by now.
    settled: Notify,
    doors: Arc<Doors>,
}

/// Who is in.
enum People {
    /// All of them are here.
    Alone(Box<Presence>),
    /// They are on any pod.
    Shared(Box<Shared>),
}

impl Room {
    pub(super) fn new(feed: Arc<Feed>, doors: Arc<Doors>) -> Self {
        let people = match doors.crowd() {
            None => People::Alone(Box::new(Presence::new(Rules::default()))),
            Some(_) => People::Shared(Box::new(Shared::new(Rules::default()))),
        };
        Room { feed, people: Mutex::new(people), settled: Notify::new(), doors }
    }

    /// Its log.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// How many people are here, on all pods, as far as this one knows.
    pub fn online(&self) -> usize {
        match &*self.lock() {
            People::Alone(presence) => presence.online(),
            People::Shared(shared) => shared.online(),
        }
    }

    /// Who is here on this pod, up to `limit` of them.
    pub(super) fn people(&self, limit: usize) -> Vec<User> {
        match &*self.lock() {
            People::Alone(presence) => presence.people(limit),
            People::Shared(shared) => shared.people(limit),
        }
    }

    pub(super) fn id(&self) -> RoomId {
        self.feed.room().id
    }

    /// Somebody has another name.
    pub(super) fn rename(self: &Arc<Self>, user: UserId, name: &Name) {
        let mut people = self.lock();
        match &mut *people {
            People::Alone(presence) => presence.rename(user, name),
            People::Shared(shared) => {
                shared.rename(user, name);
                self.settle(people, None);
            }
        }
    }

    /// Somebody with this name speaks here, who may listen on another pod.
    pub(super) fn spoken(self: &Arc<Self>, user: UserId, name: &Name) {
        let mut people = self.lock();
        match &mut *people {
            People::Alone(presence) => presence.rename(user, name),
            People::Shared(shared) => {
                if !shared.rename(user, name) {
                    shared.name(user, name);
                }
                self.settle(people, None);
            }
        }
    }

    /// What has become due by now: leaves after their grace, digests.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) {
        let mut people = self.lock();
        let change = match &mut *people {
            People::Alone(presence) => presence.tick(now),
            People::Shared(shared) => shared.tick(now),
        };
        self.settle(people, change);
    }

    /// The server before all pods says who came and went.
    pub(super) fn hear(self: &Arc<Self>, passed: Passed) {
        let mut people = self.lock();
        let People::Shared(shared) = &mut *people else { return };
        let change = shared.hear(passed, Instant::now());
        let is_calm = shared.is_calm();
        self.settle(people, change);
        if is_calm {
            self.settled.notify_waiters();
        }
    }

    /// What there is to do with the people of a room that is on many pods; nothing when it is not.
    pub(super) fn with_shared<T>(self: &Arc<Self>, act: impl FnOnce(&mut Shared) -> T) -> Option<T> {
        let mut people = self.lock();
        let People::Shared(shared) = &mut *people else { return None };
        let done = act(shared);
        self.settle(people, None);
        self.settled.notify_waiters();
        Some(done)
    }

    /// The server before all pods was told by this one that somebody came, who was not here on any: if this is their
    /// inbox, they are online now.
    pub(super) fn came_online(&self, came: &Move) {
        if let What::Enter(name, ..) = &came.what
            && self.is_inbox()
        {
            let joined = [Person { id: came.user, name: name.clone() }];
            self.doors.desk().passed(self.owner(), &joined, &[]);
        }
    }

    fn is_inbox(&self) -> bool {
        self.feed.room().kind == RoomKind::Inbox
    }

    /// Of an inbox: whose it is.
    fn owner(&self) -> UserId {
        UserId(self.id().0)
    }

    /// Waits until this person, whose stream opened here, is counted on every pod and was told of, but not for long.
    async fn entered(self: &Arc<Self>, user: UserId) {
        let Some(crowd) = self.doors.crowd().filter(|crowd| !crowd.is_away()) else { return };
        let settled = async {
            loop {
                let settled = self.settled.notified();
                let is_settled = match &mut *self.lock() {
                    People::Alone(_) => true,
                    People::Shared(shared) => shared.is_settled(&user),
                };
                if is_settled {
                    return;
                }
                settled.await;
            }
        };
        if timeout(ENTERED, settled).await.is_err() && !crowd.is_away() {
            self.with_shared(|shared| shared.give_up(&user));
        }
    }

    fn enter(self: &Arc<Self>, user: &User) {
        let mut people = self.lock();
        let change = match &mut *people {
            People::Alone(presence) => presence.enter(user.id, &user.name, user.kind, Instant::now()),
            People::Shared(shared) => {
                shared.enter(user.id, &user.name, user.kind);
                None
            }
        };
        self.settle(people, change);
    }

    fn leave(self: &Arc<Self>, user: UserId) {
        let mut people = self.lock();
        match &mut *people {
            People::Alone(presence) => presence.leave(user, Instant::now()),
            People::Shared(shared) => shared.leave(user, Instant::now()),
        }
        self.settle(people, None);
    }

    /// Tells the others, and sees to it that what is due later is not forgotten.
    fn settle(self: &Arc<Self>, people: MutexGuard<'_, People>, change: Option<Change>) {
        let (due, is_waiting) = match &*people {
            People::Alone(presence) => (presence.due(), false),
            People::Shared(shared) => (shared.due(), shared.is_waiting()),
        };
        // Under the lock, so that changes are told in the order in which they happened.
        match (change, &*people) {
            (Some(change), _) if !self.is_inbox() => {
                self.feed.aside(&named("presence", None, None, &change.told_in(self.doors.lang())));
            }
            (Some(change), People::Alone(_)) => {
                self.doors.desk().passed(self.owner(), &change.joined, &change.left);
            }
            // Of many pods each hears of it; one of them tells.
            (Some(_), People::Shared(_)) | (None, _) => {}
        }
        drop(people);
        if let Some(due) = due {
            self.doors.schedule(due, self);
        }
        if let Some(crowd) = self.doors.crowd().filter(|_| is_waiting) {
            crowd.post(self);
        }
    }

    fn lock(&self) -> MutexGuard<'_, People> {
        self.people.lock().expect("no panic while locked")
    }
}

/// One open stream of one person in one room. Leaving is `Drop`.
pub struct Visit {
    room: Arc<Room>,
    user: UserId,
    client: Client,
    session: i64,
    expires: u32,
    kind: UserKind,
}

impl Visit {
    /// Enters the room with one more stream; the streams of the person and the address were counted by
    /// [`Doors::admit`], and are given back when the visit is dropped.
    pub(super) fn new(room: Arc<Room>, session: &Session, client: Client) -> Self {
        room.enter(&session.user);
        // Seconds since 1970 fit until 2106.
        let expires = u32::try_from(session.expires).unwrap_or(u32::MAX);
        let User { id: user, kind, .. } = session.user;
        Visit { room, user, client, session: session.id, expires, kind }
    }

    /// Where.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Waits until the other pods can know of it, but not for long.
    pub async fn entered(&self) {
        self.room.entered(self.user).await;
    }

    /// In which session.
    pub fn session(&self) -> i64 {
        self.session
    }

    /// Who, as bans know them.
    fn visitor(&self) -> Visitor {
        Visitor { user: self.user, kind: self.kind, client: self.client }
    }

    /// Are they shut out of the room now?
    pub fn is_banned(&self) -> bool {
        self.room.doors.bans().until(self.room.id(), self.visitor()).is_some()
    }

    pub(super) fn whom(&self) -> Whom {
        Whom { room: self.room.id(), visitor: self.visitor(), session: self.session }
    }
}

impl Occupant for Visit {
    type Select = Select;

    fn is_meant(&self, select: &Select) -> bool {
        select.means(&self.whom(), || self.is_banned())
    }

    fn within(select: &Select) -> Option<LogId> {
        select.within()
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
