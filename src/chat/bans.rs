//! Who is shut out of which room, for how long, by themselves and by their address.
//!
//! A ban is of a person. For a guest, who is somebody else as soon as they throw their cookie away, each pod that saw
//! them lately adds their addresses, in disguise; these shut out other guests, and never people whom a site knows. An
//! address counts only while the ban of the person for whom it was added does: who lifts that lifts all of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, RwLock},
};

use uuid::Uuid;

use super::{Chat, Client, Select};
use crate::{
    clock,
    event::{Ban, Banned, RoomId, UserId, UserKind},
    faults::{self, Fault},
    identity::Seal,
    log::LogError,
    packed::Generations,
};

/// Bans that are read again, since their numbers are given before they are committed.
const OVERLAP: i64 = 1000;
/// Guests whose addresses are remembered, at least.
const REMEMBERED: usize = 16_384;
/// Addresses of one guest that are remembered.
const ADDRESSES: usize = 4;
/// Bans that stand in one room at once, for those who are not the operator.
const MOST_BANS: usize = 1000;

/// Somebody at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// Who.
    pub(crate) user: UserId,
    /// How they came by that.
    pub(crate) kind: UserKind,
    /// From where.
    pub(crate) client: Client,
}

/// What this pod knows of bans.
pub(crate) struct Bans {
    seal: Arc<Seal>,
    rooms: RwLock<Rooms>,
    seen: Mutex<Generations<UserId, Seen>>,
    heard: Mutex<Heard>,
}

/// From where a guest came: nearly always from one address.
struct Seen {
    last: Client,
    before: Option<Box<[Option<Client>; ADDRESSES - 1]>>,
}

// Of each of some ten thousand guests.
const _: () = assert!(size_of::<(UserId, Seen)>() <= 32);

impl Seen {
    fn at(last: Client) -> Self {
        Seen { last, before: None }
    }

    fn all(&self) -> impl Iterator<Item = Client> {
        [self.last].into_iter().chain(self.before.iter().flat_map(|before| **before).flatten())
    }

    fn add(&mut self, client: Client) {
        if self.all().all(|known| known != client) {
            let mut all = self.all();
            let before = std::array::from_fn(|_| all.next());
            drop(all);
            *self = Seen { last: client, before: Some(Box::new(before)) };
        }
    }
}

/// How far the store was read.
#[derive(Default)]
struct Heard {
    /// How often it was asked.
    asked: u64,
    /// The last time of those whose answer was taken in.
    taken: u64,
    /// The number of the last ban.
    last: i64,
    /// A fault: the store did not answer the last time, and what it would have said is passed over.
    passes_over: bool,
}

/// A question to the store for bans, on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    turn: u64,
    /// Those after this number are asked for.
    pub(crate) after: i64,
}

/// What is to be done about what was heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Rooms that more people are shut out of than before.
    pub(crate) rooms: Vec<RoomId>,
    /// People who are shut out for another time than before.
    people: Vec<(RoomId, UserId, i64)>,
}

#[derive(Default)]
struct Rooms(HashMap<RoomId, Shut>);

/// Who is shut out of one room. Times are in seconds since 1970.
#[derive(Default)]
struct Shut {
    people: HashMap<UserId, i64>,
    /// Of an address and the person for whom it is banned, see [`address`].
    addresses: BTreeSet<Uuid>,
}

/// An address as it is banned for somebody: half of it is the address in disguise, and half is of them.
fn address(disguise: Uuid, user: UserId) -> Uuid {
    Uuid::from_u64_pair(disguise.as_u64_pair().0, user.0.as_u64_pair().1)
}

impl Shut {
    fn has(&self, whom: Banned, until: i64) -> bool {
        match whom {
            Banned::User(user) => self.people.get(&user) == Some(&until),
            Banned::Address(address) => self.addresses.contains(&address),
        }
    }

    fn until(&self, visitor: Visitor, disguise: impl FnOnce() -> Uuid, now: i64) -> Option<i64> {
        let of_person = self.people.get(&visitor.user).copied();
        let of_address = || {
            let place = disguise().as_u64_pair().0;
            let all = Uuid::from_u64_pair(place, 0)..=Uuid::from_u64_pair(place, u64::MAX);
            let of_same = |banned: &Uuid| {
                let is_meant = |user: &UserId| user.0.as_u64_pair().1 == banned.as_u64_pair().1;
                self.people.iter().filter(move |(user, _)| is_meant(user)).map(|(_, until)| *until).max()
            };
            self.addresses.range(all).filter_map(of_same).max()
        };
        let is_by_address = visitor.kind == UserKind::Guest && !self.addresses.is_empty();
        of_person.max(is_by_address.then(of_address).flatten()).filter(|until| *until > now)
    }
}

impl Rooms {
    /// Takes in what was heard, oldest first; `is_all`: what was not is no more.
    fn hear(&mut self, heard: &[Ban], is_all: bool, now: i64) -> News {
        let mut news = News::default();
        let before = if is_all { std::mem::take(self) } else { Rooms::default() };
        // Of what was said of the same person, the last is what counts.
        let last: HashMap<_, _> = heard.iter().map(|ban| ((ban.room, ban.whom), ban.until)).collect();
        for ((room, whom), until) in last {
            let known = before.0.get(&room).or_else(|| self.0.get(&room));
            let stands = until > now;
            let is_new = stands && !known.is_some_and(|shut| shut.has(whom, until));
            if let (true, Banned::User(user)) = (is_new, whom) {
                news.people.push((room, user, until));
            }
            if is_new && !news.rooms.contains(&room) {
                news.rooms.push(room);
            }
            let shut = self.0.entry(room).or_default();
            match whom {
                Banned::User(user) if stands => _ = shut.people.insert(user, until),
                Banned::User(user) => _ = shut.people.remove(&user),
                Banned::Address(address) if stands => _ = shut.addresses.insert(address),
                Banned::Address(address) => _ = shut.addresses.remove(&address),
            }
        }
        self.0.retain(|_, shut| {
            shut.people.retain(|_, until| *until > now);
            !shut.people.is_empty()
        });
        news
    }
}

impl Bans {
    pub(crate) fn new(seal: Arc<Seal>) -> Self {
        let seen = Mutex::new(Generations::new(REMEMBERED));
        Bans { seal, rooms: RwLock::default(), seen, heard: Mutex::default() }
    }

    /// Until when somebody is shut out of a room, in seconds since 1970; `None` when they are not.
    pub(super) fn until(&self, room: RoomId, visitor: Visitor) -> Option<i64> {
        self.until_at(room, visitor, clock::seconds().cast_signed())
    }

    /// The same at another time, in seconds since 1970.
    pub(crate) fn until_at(&self, room: RoomId, visitor: Visitor, now: i64) -> Option<i64> {
        let rooms = self.rooms.read().expect("no panic while locked");
        rooms.0.get(&room)?.until(visitor, || self.disguise(visitor.client), now)
    }

    /// The store is to be asked.
    pub(crate) fn ask(&self) -> Asked {
        let mut heard = self.heard.lock().expect("no panic while locked");
        heard.asked += 1;
        let overlap = if faults::is_on(Fault::MissedBans) { 0 } else { OVERLAP };
        Asked { turn: heard.asked, after: (heard.last - overlap).max(0) }
    }

    /// The store did not answer: it is asked for the same the next time.
    pub(crate) fn not_heard(&self) {
        let is_fault = faults::is_on(Fault::MissedBans);
        self.heard.lock().expect("no panic while locked").passes_over |= is_fault;
    }

    /// Takes in what the store said, at this time in seconds since 1970.
    pub(crate) fn hear(&self, asked: Asked, rows: &[(i64, Ban)], now: i64) -> News {
        let mut heard = self.heard.lock().expect("no panic while locked");
        if asked.turn < heard.taken {
            // Whoever asked later knows all this, and what became of it.
            return News::default();
        }
        heard.taken = asked.turn;
        heard.last = rows.iter().map(|(n, _)| *n).fold(heard.last, i64::max);
        if std::mem::take(&mut heard.passes_over) {
            return News::default();
        }
        let rows: Vec<_> = rows.iter().map(|(_, ban)| *ban).collect();
        let mut rooms = self.rooms.write().expect("no panic while locked");
        rooms.hear(&rows, asked.after == 0, now)
    }

    /// How many people are shut out of a room.
    fn count(&self, room: RoomId) -> usize {
        self.rooms.read().expect("no panic while locked").0.get(&room).map_or(0, |shut| shut.people.len())
    }

    /// Somebody who may come in was seen at an address.
    fn see(&self, visitor: Visitor) {
        if visitor.kind != UserKind::Guest {
            return;
        }
        let mut seen = self.seen.lock().expect("no panic while locked");
        match seen.find(&visitor.user) {
            Some(known) => known.add(visitor.client),
            None => seen.insert(visitor.user, Seen::at(visitor.client)),
        }
    }

    /// Where somebody was seen lately, as bans of them.
    fn addresses(&self, user: UserId) -> Vec<Uuid> {
        let mut seen = self.seen.lock().expect("no panic while locked");
        let clients = seen.find(&user).into_iter().flat_map(|seen| seen.all());
        clients.map(|client| address(self.disguise(client), user)).collect()
    }

    fn disguise(&self, client: Client) -> Uuid {
        self.seal.disguise(&client.octets())
    }
}

impl Chat {
    /// Lets somebody, or whoever is at this address, into a room, or says until when they are shut out, in seconds
    /// since 1970.
    ///
    /// # Errors
    /// With that time.
    pub fn let_in(&self, room: RoomId, who: Option<(UserId, UserKind)>, client: Client) -> Result<(), i64> {
        // Nobody has the id of somebody who shows none.
        let (user, kind) = who.unwrap_or((UserId(Uuid::nil()), UserKind::Guest));
        let visitor = Visitor { user, kind, client };
        if let Some(until) = self.doors.bans().until(room, visitor) {
            return Err(until);
        }
        if who.is_some() {
            self.doors.bans().see(visitor);
        }
        Ok(())
    }

    /// Until when a person is shut out of a room, wherever they are, in seconds since 1970.
    pub fn banned_until(&self, room: RoomId, user: UserId) -> Option<i64> {
        // A member is shut out by nothing but their own id.
        let visitor =
            Visitor { user, kind: UserKind::Member, client: Client::from(std::net::IpAddr::from([0; 4])) };
        self.doors.bans().until(room, visitor)
    }

    /// May one more person be shut out of this room?
    pub fn has_place_for_ban(&self, room: RoomId) -> bool {
        self.doors.bans().count(room) < MOST_BANS
    }

    /// Shuts somebody out of a room, or lets them in again; here it is so when this answers, on other pods within a
    /// second.
    ///
    /// # Errors
    /// When it could not be kept; then nothing changes.
    pub async fn ban(&self, ban: Ban, by: UserId, reason: Option<String>) -> Result<(), LogError> {
        self.log.ban(ban, Some(by), reason).await?;
        self.hear_of_bans().await
    }

    /// Hears of bans that were said since the last time, on any pod, and sees to it that they are so here.
    ///
    /// # Errors
    /// When the store cannot be asked; then all is as before.
    pub async fn hear_of_bans(&self) -> Result<(), LogError> {
        loop {
            let News { rooms, people } = self.heard_of_bans().await?;
            for room in rooms {
                self.end(Select::Banned(room));
            }
            let mut is_more = false;
            for (room, user, until) in people {
                for address in self.doors.bans().addresses(user) {
                    let ban = Ban { room, whom: Banned::Address(address), until };
                    match self.log.ban(ban, None, None).await {
                        Ok(()) => is_more = true,
                        Err(e) => {
                            tracing::warn!(error = %e, "a guest's address could not be banned with them");
                        }
                    }
                }
            }
            // Addresses bring no more people, so this comes to an end.
            if !is_more {
                return Ok(());
            }
        }
    }

    async fn heard_of_bans(&self) -> Result<News, LogError> {
        let bans = self.doors.bans();
        let asked = bans.ask();
        let rows = self.log.bans(asked.after).await.inspect_err(|_| bans.not_heard())?;
        Ok(bans.hear(asked, &rows, clock::seconds().cast_signed()))
    }
}

#[cfg(test)]
mod tests;
