//! How the pods come to agree on another process of the store before this one, and on what was lost.

use std::{collections::BTreeMap, time::Duration};

use mysql_async::{Conn, Row, Value, prelude::Queryable};

use super::{
    Archive, ArchiveError, ArchiveErrorKind,
    pods::{self, Fence, NOW},
    pool::{PATIENCE, leave, within},
    room::{self, Held, Rooms, whole_since},
    rows::{self, Columns, id},
    shapes::Insert,
    store,
    transaction::{State, Work, attempts},
};
use crate::event::{Entry, RoomId};

/// Entries that are taken from `returned` at a time.
const PAGE: usize = 1000;

/// What the store before this one may have lost beyond what was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing: every pod that could have taken something has given back what it held.
    Nothing,
    /// One did not, so anything may be missing, in any room.
    Unknown,
}

const LOCK: &str = "SELECT GET_LOCK(CONCAT('maru.fence.', MD5(DATABASE())), 0)";
const UNLOCK: &str = "DO RELEASE_LOCK(CONCAT('maru.fence.', MD5(DATABASE())))";

/// The right to lead an agreement, which one pod has at a time. It is a lock of the connection that all of
/// the work is done on: whoever has lost the lock can change nothing. Dropping it lets go; the server takes it
/// from a pod that it has not heard of for 60 s, see [`FenceGuard::hold`].
#[derive(Debug)]
pub struct FenceGuard {
    conn: Option<Conn>,
    max_bytes: usize,
}

impl Archive {
    /// Takes the right to lead an agreement; none when another pod has it.
    pub async fn lock_fence(&self) -> Result<Option<FenceGuard>, ArchiveError> {
        let conn = self.pool().connect().await?;
        let mut guard = FenceGuard { conn: Some(conn), max_bytes: self.max_bytes() };
        let conn = guard.conn.as_mut().expect("it was just put there");
        let got: Option<Option<u8>> = within(PATIENCE, async { Ok(conn.query_first(LOCK).await?) }).await?;
        Ok((got.flatten() == Some(1)).then_some(guard))
    }

    /// Gives back what a pod holds, or what was found in the store. A second time changes nothing.
    pub async fn give_back(&self, entries: &[Entry]) -> Result<(), ArchiveError> {
        for entries in entries.chunks(PAGE) {
            self.transact(&GiveBack { entries, max_bytes: self.max_bytes() }).await?;
        }
        Ok(())
    }
}

impl FenceGuard {
    /// Begins an agreement on this process of the store; gives its generation. What was given back for one
    /// that was not agreed on stays.
    pub async fn begin(&mut self, run_id: &str) -> Result<i64, ArchiveError> {
        self.transact(&Begin(run_id)).await
    }

    /// Stores what was given back and ends the agreement, in one transaction. A room in which something is
    /// missing begins a new epoch; with [`Lost::Unknown`] every room does, as soon as somebody looks at it.
    /// Pods whose lease has ended and that did not give back are left out.
    pub async fn agree(&mut self, lost: Lost) -> Result<Fence, ArchiveError> {
        let max_bytes = self.max_bytes;
        self.transact(&Agree { lost, max_bytes }).await
    }

    /// Says that this pod is still there, while it waits for others; makes sure that it still has the lock.
    pub async fn hold(&mut self) -> Result<(), ArchiveError> {
        self.transact(&Hold).await
    }

    /// Lets go, and knows that the next one can take it.
    pub async fn release(mut self) -> Result<(), ArchiveError> {
        if let Some(mut conn) = self.conn.take() {
            within(PATIENCE, async {
                conn.query_drop(UNLOCK).await?;
                Ok(conn.disconnect().await?)
            })
            .await?;
        }
        Ok(())
    }

    async fn transact<W: Work>(&mut self, work: &W) -> Result<W::Output, ArchiveError> {
        // Taken out, so that a call that is broken off leaves no connection in an unknown state.
        let mut conn = self
            .conn
            .take()
            .ok_or_else(|| ArchiveError::new(ArchiveErrorKind::Unavailable, "the lock is gone"))?;
        let (result, state) = attempts(&mut conn, work).await;
        match state {
            State::Clean => self.conn = Some(conn),
            State::Unknown => leave(conn),
        }
        result
    }
}

impl Drop for FenceGuard {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            leave(conn);
        }
    }
}

struct GiveBack<'a> {
    entries: &'a [Entry],
    max_bytes: usize,
}

impl Work for GiveBack<'_> {
    type Output = ();

    async fn run(&self, conn: &mut Conn) -> Result<(), ArchiveError> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| (entry.room, entry.event.seq));
        let rows: Vec<Vec<Value>> = entries.into_iter().map(rows::to_returned).collect();
        let insert = Insert {
            into: "returned (room_id, seq, json, idem, idem_text)",
            otherwise: "seq = seq",
            max_bytes: self.max_bytes,
        };
        insert.run(conn, &rows).await.map(drop)
    }
}

struct Hold;

impl Work for Hold {
    type Output = ();

    async fn run(&self, conn: &mut Conn) -> Result<(), ArchiveError> {
        Ok(conn.ping().await?)
    }
}

struct Begin<'a>(&'a str);

impl Work for Begin<'_> {
    type Output = i64;

    async fn run(&self, conn: &mut Conn) -> Result<i64, ArchiveError> {
        let fence = locked(conn).await?;
        if fence.is_agreed {
            conn.query_drop("DELETE FROM returned").await?;
        }
        let generation = fence.generation + 1;
        let params: Vec<Value> = vec![generation.into(), self.0.into()];
        conn.exec_drop("UPDATE fence SET generation = ?, is_agreed = 0, run_id = ?", params).await?;
        Ok(generation)
    }
}

async fn locked(conn: &mut Conn) -> Result<Fence, ArchiveError> {
    let sql = "SELECT generation, is_agreed, run_id, losses FROM fence FOR UPDATE";
    let row: Option<Row> = conn.query_first(sql).await?;
    let row = row.ok_or_else(|| ArchiveError::new(ArchiveErrorKind::Unreadable, "the fence has no row"))?;
    pods::fence(&mut Columns::new(row))
}

struct Agree {
    lost: Lost,
    max_bytes: usize,
}

impl Work for Agree {
    type Output = Fence;

    /// Pods give back up to 64 MiB each.
    const PATIENCE: Duration = Duration::from_secs(300);

    async fn run(&self, conn: &mut Conn) -> Result<Fence, ArchiveError> {
        let fence = locked(conn).await?;
        let losses = fence.losses + u32::from(self.lost == Lost::Unknown);
        let before = self.take_returned(conn).await?;
        self.close_holes(conn, before, losses).await?;
        conn.exec_drop("UPDATE fence SET is_agreed = 1, losses = ?", (losses,)).await?;
        conn.query_drop("DELETE FROM returned").await?;
        let left_out = format!("DELETE FROM pods WHERE lease_until <= {NOW} AND gave_back < ?");
        conn.exec_drop(left_out, (fence.generation,)).await?;
        Ok(Fence { is_agreed: true, losses, ..fence })
    }
}

impl Agree {
    /// Stores everything; gives the rooms as they were before.
    async fn take_returned(&self, conn: &mut Conn) -> Result<BTreeMap<RoomId, Held>, ArchiveError> {
        let mut before: BTreeMap<RoomId, Held> = BTreeMap::new();
        let mut from: Vec<Value> = vec![vec![0; 16].into(), vec![0; 16].into(), 0.into(), PAGE.into()];
        loop {
            let page: Vec<Row> = conn
                .exec(
                    "SELECT room_id, json, idem, idem_text FROM returned
                     WHERE room_id > ? OR (room_id = ? AND seq > ?) ORDER BY room_id, seq LIMIT ?",
                    from,
                )
                .await?;
            let entries: Vec<Entry> = page
                .into_iter()
                .map(|row| rows::returned(&mut Columns::new(row)))
                .collect::<Result<_, _>>()?;
            let Some(last) = entries.last() else { return Ok(before) };
            from = vec![id(last.room.0), id(last.room.0), last.event.seq.0.into(), PAGE.into()];
            for (room, held) in room::of_entries(conn, &entries).await? {
                before.entry(room).or_insert(held);
            }
            self.store(conn, &entries).await?;
        }
    }

    /// One entry that is refused does not keep all pods from agreeing.
    async fn store(&self, conn: &mut Conn, entries: &[Entry]) -> Result<(), ArchiveError> {
        let refused = match store::take(conn, entries, self.max_bytes).await {
            Err(e) if e.kind == ArchiveErrorKind::Refused => e,
            done => return done.map(drop),
        };
        tracing::warn!(error = %refused, "something that was given back is refused: one by one");
        for entry in entries {
            match store::take(conn, std::slice::from_ref(entry), self.max_bytes).await {
                Err(e) if e.kind == ArchiveErrorKind::Refused => {
                    store::set_aside(conn, entry, &e.to_string(), self.max_bytes).await?;
                }
                done => drop(done?),
            }
        }
        Ok(())
    }

    /// Rooms that do not have all from their old tip to their new one begin a new epoch.
    async fn close_holes(
        &self,
        conn: &mut Conn,
        before: BTreeMap<RoomId, Held>,
        losses: u32,
    ) -> Result<(), ArchiveError> {
        let mut changed = Rooms::new();
        for (room, old) in before {
            let Some(mut held) = room::lock(conn, &[room]).await?.remove(&room) else { continue };
            let (from, owed) = whole_since(&old, &held);
            let params: Vec<Value> = vec![id(room.0), from.0.into(), held.tip.0.into()];
            let kept: Option<u64> = conn
                .exec_first(
                    "SELECT COUNT(*) FROM messages WHERE room_id = ? AND seq > ? AND seq <= ?",
                    params,
                )
                .await?;
            if kept != Some(owed) {
                // This counts for a loss of the whole store too.
                held.losses = losses;
                held.move_on().keep(conn, room).await?;
            }
            changed.insert(room, held);
        }
        room::keep(conn, &changed).await
    }
}
