//! One transaction at work: where the logs end, and what is to be announced of it.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    clock,
    event::{Cursor, Epoch, Extent, Name, RoomId, Seq, User, UserId},
    log::{Notice, sqlite::keys},
    packed::Generations,
};

/// Logs whose heads the writer remembers; one that is not among them is read again.
const HEADS: usize = 16_384;
/// People of whom the writer remembers under which name they are kept.
const PEOPLE: usize = 16_384;
/// Places given out between two looks for idempotency keys that are too old.
const PRUNE_EVERY: usize = 256;
/// Places given out in one transaction, those in inboxes too: a message to a large group takes many.
const PLACES: usize = 8192;

/// The end of a log, as the writer knows it.
#[derive(Clone, Copy)]
pub(in crate::log::sqlite) struct Head {
    epoch: Epoch,
    tip: Seq,
    last_ts: i64,
    is_new: bool,
}

impl Head {
    /// The last seq given.
    pub(in crate::log::sqlite) fn tip(&self) -> Seq {
        self.tip
    }
}

/// What the writer remembers from one transaction to the next, so as not to read it again.
pub(super) struct Remembered {
    /// Of logs that are yet to be made.
    epoch: Epoch,
    /// The ends of the logs that were written to.
    heads: HashMap<RoomId, Head>,
    /// Under which names people are kept who spoke lately.
    people: Generations<UserId, Name>,
    /// Places given out since keys were looked through.
    unpruned: usize,
}

impl Remembered {
    pub(super) fn new(connection: &Connection) -> rusqlite::Result<Self> {
        let epoch = connection.query_row("SELECT epoch FROM store", [], |row| row.get(0))?;
        Ok(Remembered { epoch, heads: HashMap::new(), people: Generations::new(PEOPLE), unpruned: 0 })
    }

    /// What was given out in memory was never committed.
    pub(super) fn forget(&mut self) {
        self.heads.clear();
        self.people = Generations::new(PEOPLE);
    }
}

/// What a log is made as, when its first event is written.
#[derive(Clone, Copy)]
pub(super) enum Made<'a> {
    /// An open room of this slug.
    Open(&'a str),
    /// A room with members, which is made before.
    Before,
    /// Somebody's inbox.
    Inbox,
}

/// One transaction at work.
pub(in crate::log::sqlite) struct Batch<'a> {
    pub(in crate::log::sqlite) connection: &'a Connection,
    pub(in crate::log::sqlite) now: i64,
    pub(super) notices: Vec<Notice>,
    remembered: &'a mut Remembered,
    touched: Vec<RoomId>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(connection: &'a Connection, remembered: &'a mut Remembered) -> Self {
        if remembered.heads.len() > HEADS {
            remembered.heads.clear();
        }
        Batch { connection, now: clock::millis(), notices: Vec::new(), remembered, touched: Vec::new() }
    }

    /// Should what comes next go into another?
    pub(super) fn is_full(&self) -> bool {
        self.touched.len() >= PLACES
    }

    /// Writes what was only remembered; gives what is to be announced after the commit.
    pub(super) fn finish(mut self) -> rusqlite::Result<Vec<Notice>> {
        self.remembered.unpruned += self.touched.len();
        if self.remembered.unpruned >= PRUNE_EVERY {
            keys::prune(self.connection, self.now, std::mem::take(&mut self.remembered.unpruned))?;
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        for log in std::mem::take(&mut self.touched) {
            let head = *self.head(log)?;
            self.connection
                .prepare_cached("UPDATE rooms SET tip = ?2, last_ts = ?3 WHERE id = ?1")?
                .execute(params![log, head.tip, head.last_ts])?;
        }
        Ok(self.notices)
    }

    /// The end of a log. One that is not there yet ends before the first seq of this epoch of the store.
    pub(in crate::log::sqlite) fn head(&mut self, log: RoomId) -> rusqlite::Result<&mut Head> {
        if !self.remembered.heads.contains_key(&log) {
            let found = self
                .connection
                .prepare_cached("SELECT epoch, tip, last_ts FROM rooms WHERE id = ?1")?
                .query_row([log], |row| {
                    Ok(Head { epoch: row.get(0)?, tip: row.get(1)?, last_ts: row.get(2)?, is_new: false })
                })
                .optional()?;
            let Extent { epoch, tip, .. } = self.empty();
            self.remembered.heads.insert(log, found.unwrap_or(Head { epoch, tip, last_ts: 0, is_new: true }));
        }
        Ok(self.remembered.heads.get_mut(&log).expect("it was just put there"))
    }

    /// A log that is yet to be made.
    pub(in crate::log::sqlite) fn empty(&self) -> Extent {
        Extent::empty(self.remembered.epoch.0 - 1)
    }

    /// A log was made or is another than it was.
    pub(in crate::log::sqlite) fn look_again(&mut self, log: RoomId) {
        self.remembered.heads.remove(&log);
    }

    /// Gives the next place of a log, and its time; makes the log when this is its first.
    pub(super) fn advance(&mut self, log: RoomId, made: Made<'_>) -> rusqlite::Result<(Cursor, i64)> {
        let now = self.now;
        let head = self.head(log)?;
        head.tip = head.tip.next();
        head.last_ts = head.last_ts.max(now);
        let is_new = std::mem::take(&mut head.is_new);
        let Head { epoch, tip, last_ts, .. } = *head;
        if is_new {
            let (kind, slug) = match made {
                Made::Open(slug) => ("open", Some(slug)),
                Made::Inbox => ("inbox", None),
                Made::Before => return Err(rusqlite::Error::QueryReturnedNoRows),
            };
            self.connection
                .prepare_cached(
                    "INSERT INTO rooms (id, kind, slug, epoch, base, tip, first_seq, last_ts, created)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?7)",
                )?
                .execute(params![log, kind, slug, epoch, tip.before(), tip, last_ts])?;
        }
        self.touched.push(log);
        Ok((Cursor { epoch, seq: tip }, last_ts))
    }

    /// Keeps a person. Who can be found keeps the name that they are found by.
    pub(in crate::log::sqlite) fn keep_person(&mut self, user: &User) -> rusqlite::Result<()> {
        if self.remembered.people.find(&user.id).is_some_and(|name| *name == user.name) {
            return Ok(());
        }
        self.connection
            .prepare_cached(
                "INSERT INTO users (id, kind, name, created) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name
                 WHERE name <> excluded.name AND name_key IS NULL",
            )?
            .execute(params![user.id, user.kind.as_str(), user.name.as_str(), self.now])?;
        self.kept(user);
        Ok(())
    }

    /// Somebody is kept under this name from now on.
    pub(in crate::log::sqlite) fn kept(&mut self, user: &User) {
        match self.remembered.people.find(&user.id) {
            Some(name) => name.clone_from(&user.name),
            None => self.remembered.people.insert(user.id, user.name.clone()),
        }
    }
}
