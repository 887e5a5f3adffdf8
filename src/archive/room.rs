//! Rooms held in a transaction: their tips, and how they move on to a new epoch.

use std::collections::BTreeMap;

use mysql_async::{Conn, Value, prelude::Queryable};

use super::{
    ArchiveError, ArchiveErrorKind,
    rows::id,
    shapes::{Insert, MAX_BYTES, select_in},
};
use crate::event::{EPOCH_STRIDE, Entry, Epoch, Extent, RoomId, Seq, Shape};

/// A room whose row is locked until the transaction ends.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) epoch: Epoch,
    pub(super) base: Seq,
    pub(super) tip: Seq,
    pub(super) first: Seq,
    pub(super) last_ts: i64,
    pub(super) losses: u32,
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
        held.settle(conn, *room, losses).await?;
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
    let empty = Extent::empty(losses);
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

impl Held {
    /// Takes the losses of the whole store into account that this room has not: with one new epoch, however
    /// many they were, since nobody was given a place in between.
    pub(super) async fn settle(
        &mut self,
        conn: &mut Conn,
        room: RoomId,
        losses: u32,
    ) -> Result<(), ArchiveError> {
        if self.losses < losses {
            self.losses = losses;
            self.move_on(conn, room).await?;
        }
        Ok(())
    }

    /// Ends the epoch at its tip and begins the next one far above.
    pub(super) async fn move_on(&mut self, conn: &mut Conn, room: RoomId) -> Result<(), ArchiveError> {
        past(conn, room, self.epoch, self.base, self.tip).await?;
        let is_bare = self.first == self.tip.next();
        self.epoch = Epoch(self.epoch.0 + 1);
        self.tip = Seq(self.tip.0 + EPOCH_STRIDE);
        self.base = self.tip;
        if is_bare {
            self.first = self.tip.next();
        }
        Ok(())
    }

    /// An entry that was stored: moves the tip, or the end of the epoch that it is of.
    pub(super) async fn take(&mut self, conn: &mut Conn, entry: &Entry) -> Result<(), ArchiveError> {
        let event = &entry.event;
        self.last_ts = self.last_ts.max(event.ts);
        if event.epoch > self.epoch {
            // This archive was put back from a copy that is older than what the pods know.
            past(conn, entry.room, self.epoch, self.base, self.tip).await?;
            if self.first == self.tip.next() {
                self.first = event.seq;
            }
            self.epoch = event.epoch;
            self.base = event.seq.before();
            self.tip = event.seq;
        } else if event.epoch == self.epoch {
            self.tip = self.tip.max(event.seq);
        } else {
            // A room whose past is not known here began as every room did in that epoch.
            let base = Extent::empty(event.epoch.0.saturating_sub(1)).base.min(event.seq.before());
            past(conn, entry.room, event.epoch, base, event.seq).await?;
            // Retention took nothing from a room whose oldest event begins an epoch, so there is no hole between.
            let begins =
                self.first == self.base.next() || begins_an_epoch(conn, entry.room, self.first).await?;
            if event.seq < self.first && begins {
                self.first = event.seq;
            }
        }
        Ok(())
    }
}

/// An epoch that has ended, or turns out to have ended later.
async fn past(conn: &mut Conn, room: RoomId, epoch: Epoch, base: Seq, last: Seq) -> Result<(), ArchiveError> {
    let row: Vec<Value> = vec![id(room.0), epoch.0.into(), base.0.into(), last.0.into()];
    conn.exec_drop(
        "INSERT INTO epochs (room_id, epoch, base, last) VALUES (?, ?, ?, ?)
         ON DUPLICATE KEY UPDATE last = GREATEST(last, VALUES(last))",
        row,
    )
    .await?;
    Ok(())
}

/// Is `first` the first seq of an epoch that has ended?
async fn begins_an_epoch(conn: &mut Conn, room: RoomId, first: Seq) -> Result<bool, ArchiveError> {
    let place: Vec<Value> = vec![id(room.0), first.before().0.into()];
    let found: Option<u8> =
        conn.exec_first("SELECT 1 FROM epochs WHERE room_id = ? AND base = ? LIMIT 1", place).await?;
    Ok(found.is_some())
}
