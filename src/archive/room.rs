//! Rooms held in a transaction: their tips, and how they move on to a new epoch.

use std::collections::BTreeMap;

use mysql_async::{Conn, Value, prelude::Queryable};

use super::{
    ArchiveError, ArchiveErrorKind,
    rows::id,
    shapes::{Insert, MAX_BYTES, select_in},
};
use crate::event::{EPOCH_STRIDE, Entry, Epoch, Event, Extent, RoomId, Seq, Shape};

/// A room whose row is locked until the transaction ends.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) epoch: Epoch,
    pub(crate) base: Seq,
    pub(crate) tip: Seq,
    pub(crate) first: Seq,
    pub(crate) last_ts: i64,
    pub(crate) losses: u32,
}

/// Rooms in the order in which everybody locks them.
pub(super) type Rooms = BTreeMap<RoomId, Held>;

const COLUMNS: &str = "id, epoch, base, tip, first_seq, last_ts, losses";

/// How often the whole store was lost.
pub(super) async fn losses(conn: &mut Conn) -> Result<u32, ArchiveError> {
    losses_by(conn, "SELECT losses FROM fence").await
}

/// The same, and it stays so until the transaction ends: a room that is made for one number of losses must be
/// there before anybody reads another, and takes the room for one that is not.
pub(super) async fn losses_to_stay(conn: &mut Conn) -> Result<u32, ArchiveError> {
    losses_by(conn, "SELECT losses FROM fence LOCK IN SHARE MODE").await
}

async fn losses_by(conn: &mut Conn, sql: &str) -> Result<u32, ArchiveError> {
    let losses: Option<u32> = conn.query_first(sql).await?;
    losses.ok_or_else(|| ArchiveError::new(ArchiveErrorKind::Unreadable, "the fence has no row"))
}

/// Locks the rooms of these entries, makes those that are not there yet, and has each take all losses into
/// account.
pub(super) async fn of_entries(conn: &mut Conn, entries: &[Entry]) -> Result<Rooms, ArchiveError> {
    let firsts: BTreeMap<RoomId, &Entry> = entries.iter().rev().map(|entry| (entry.room, entry)).collect();
    let mut losses = losses(conn).await?;
    let ids: Vec<RoomId> = firsts.keys().copied().collect();
    let mut rooms = lock(conn, &ids).await?;
    let missing: Vec<&Entry> =
        firsts.values().filter(|entry| !rooms.contains_key(&entry.room)).copied().collect();
    if !missing.is_empty() {
        losses = losses_to_stay(conn).await?;
        make(conn, &missing, losses).await?;
        let ids: Vec<RoomId> = missing.iter().map(|entry| entry.room).collect();
        rooms.append(&mut lock(conn, &ids).await?);
    }
    if rooms.len() < firsts.len() {
        return Err(ArchiveError::new(ArchiveErrorKind::Refused, "another room has this one's name"));
    }
    for (room, held) in &mut rooms {
        if let Some(ended) = held.settle(losses) {
            ended.keep(conn, *room).await?;
        }
    }
    Ok(rooms)
}

/// Locks those of these rooms that are there.
pub(super) async fn lock(conn: &mut Conn, ids: &[RoomId]) -> Result<Rooms, ArchiveError> {
    let keys: Vec<Vec<Value>> = ids.iter().map(|room| vec![id(room.0)]).collect();
    let sql = format!("SELECT {COLUMNS} FROM rooms WHERE id IN");
    let mut rooms = Rooms::new();
    for mut row in select_in(conn, &sql, &[], &keys, "FOR UPDATE").await? {
        let room = RoomId(row.id()?);
        let held = Held {
            epoch: row.epoch()?,
            base: row.seq()?,
            tip: row.seq()?,
            first: row.seq()?,
            last_ts: row.take()?,
            losses: row.take()?,
        };
        rooms.insert(room, held);
    }
    Ok(rooms)
}

async fn make(conn: &mut Conn, firsts: &[&Entry], losses: u32) -> Result<(), ArchiveError> {
    let empty = Held::empty(losses);
    let rows: Vec<Vec<Value>> = firsts
        .iter()
        .map(|entry| {
            // A room with members is made before it is spoken in; one that is not here was lost with a backup.
            let slug = Some(entry.event.room.as_ref()).filter(|_| !entry.has_members());
            vec![
                id(entry.room.0),
                if slug.is_some() { "open".into() } else { Shape::Group.as_str().into() },
                slug.into(),
                empty.epoch.0.into(),
                empty.base.0.into(),
                empty.tip.0.into(),
                empty.first.0.into(),
                0.into(),
                losses.into(),
                entry.event.ts.into(),
            ]
        })
        .collect();
    let insert = Insert {
        into: "rooms (id, kind, slug, epoch, base, tip, first_seq, last_ts, losses, created)",
        otherwise: "id = id",
        max_bytes: MAX_BYTES.min(1 << 19),
    };
    insert.run(conn, &rows).await.map(drop)
}

/// Writes what has changed of rooms that are held.
pub(super) async fn keep(conn: &mut Conn, rooms: &Rooms) -> Result<(), ArchiveError> {
    let rows: Vec<Vec<Value>> = rooms
        .iter()
        .map(|(room, held)| {
            vec![
                id(room.0),
                "open".into(),
                held.epoch.0.into(),
                held.base.0.into(),
                held.tip.0.into(),
                held.first.0.into(),
                held.last_ts.into(),
                held.losses.into(),
                0.into(),
            ]
        })
        .collect();
    let insert = Insert {
        into: "rooms (id, kind, epoch, base, tip, first_seq, last_ts, losses, created)",
        otherwise: "epoch = VALUES(epoch), base = VALUES(base), tip = VALUES(tip), \
                    first_seq = VALUES(first_seq), last_ts = VALUES(last_ts), losses = VALUES(losses)",
        max_bytes: MAX_BYTES.min(1 << 19),
    };
    insert.run(conn, &rows).await.map(drop)
}

/// An epoch that has ended, or turns out to have ended later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) epoch: Epoch,
    pub(crate) base: Seq,
    pub(crate) last: Seq,
}

impl Ended {
    pub(super) async fn keep(self, conn: &mut Conn, room: RoomId) -> Result<(), ArchiveError> {
        let row: Vec<Value> = vec![id(room.0), self.epoch.0.into(), self.base.0.into(), self.last.0.into()];
        conn.exec_drop(
            "INSERT INTO epochs (room_id, epoch, base, last) VALUES (?, ?, ?, ?)
             ON DUPLICATE KEY UPDATE last = GREATEST(last, VALUES(last))",
            row,
        )
        .await?;
        Ok(())
    }
}

impl Held {
    /// A room that nobody has spoken in, in a store that lost a part this often.
    pub(crate) fn empty(losses: u32) -> Self {
        let Extent { epoch, base, tip, first, .. } = Extent::empty(losses);
        Held { epoch, base, tip, first, last_ts: 0, losses }
    }

    /// Takes the losses of the whole store into account that this room has not: with one new epoch, however
    /// many they were, since nobody was given a place in between.
    #[must_use]
    pub(crate) fn settle(&mut self, losses: u32) -> Option<Ended> {
        (self.losses < losses).then(|| {
            self.losses = losses;
            self.move_on()
        })
    }

    /// Ends the epoch at its tip and begins the next one far above.
    #[must_use]
    pub(crate) fn move_on(&mut self) -> Ended {
        let ended = self.present();
        let is_bare = self.first == self.tip.next();
        self.epoch = Epoch(self.epoch.0 + 1);
        self.tip = Seq(self.tip.0 + EPOCH_STRIDE);
        self.base = self.tip;
        if is_bare {
            self.first = self.tip.next();
        }
        ended
    }

    fn present(&self) -> Ended {
        Ended { epoch: self.epoch, base: self.base, last: self.tip }
    }

    /// May an event that is older than the present epoch be the oldest of the room? Then it matters whether the oldest
    /// so far is the first of an epoch that has ended.
    pub(crate) fn may_begin_with(&self, event: &Event) -> bool {
        event.epoch < self.epoch && event.seq < self.first && self.first != self.base.next()
    }

    /// An event that was stored: moves the tip, or the end of the epoch that it is of. Of one that
    /// [may begin the room](Held::may_begin_with), `begins` says what matters then.
    #[must_use]
    pub(crate) fn take(&mut self, event: &Event, begins: bool) -> Option<Ended> {
        self.last_ts = self.last_ts.max(event.ts);
        if event.epoch > self.epoch {
            // This archive was put back from a copy that is older than what the pods know.
            let ended = self.present();
            if self.first == self.tip.next() {
                self.first = event.seq;
            }
            self.epoch = event.epoch;
            self.base = event.seq.before();
            self.tip = event.seq;
            return Some(ended);
        }
        if event.epoch == self.epoch {
            self.tip = self.tip.max(event.seq);
            return None;
        }
        // A room whose past is not known here began as every room did in that epoch.
        let base = Extent::empty(event.epoch.0.saturating_sub(1)).base.min(event.seq.before());
        // Retention took nothing from a room whose oldest event begins an epoch, so there is no hole between.
        if event.seq < self.first && (self.first == self.base.next() || begins) {
            self.first = event.seq;
        }
        Some(Ended { epoch: event.epoch, base, last: event.seq })
    }

    /// The same, and keeps what has ended.
    pub(super) async fn take_and_keep(&mut self, conn: &mut Conn, entry: &Entry) -> Result<(), ArchiveError> {
        let (room, event) = (entry.room, &entry.event);
        let begins = self.may_begin_with(event) && begins_an_epoch(conn, room, self.first).await?;
        match self.take(event, begins) {
            Some(ended) => ended.keep(conn, room).await,
            None => Ok(()),
        }
    }
}

/// Do the places of a room go on from the tip that it had, of these that it has got since? If not, something is missing
/// in between. Gives after which seq so many events have to be there.
pub(crate) fn whole_since(before: &Held, now: &Held) -> (Seq, u64) {
    let from = if now.epoch == before.epoch { before.tip } else { now.base };
    (from, now.tip.0 - from.0)
}

/// Is `first` the first seq of an epoch that has ended?
async fn begins_an_epoch(conn: &mut Conn, room: RoomId, first: Seq) -> Result<bool, ArchiveError> {
    let place: Vec<Value> = vec![id(room.0), first.before().0.into()];
    let found: Option<u8> =
        conn.exec_first("SELECT 1 FROM epochs WHERE room_id = ? AND base = ? LIMIT 1", place).await?;
    Ok(found.is_some())
}
