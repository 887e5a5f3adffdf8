//! Retention.

use std::collections::BTreeMap;

use mysql_async::{Conn, Row, Value, prelude::Queryable};

use super::{
    Archive, ArchiveError,
    rows::{Columns, id},
    transaction::Work,
};
use crate::event::{RoomId, Seq};

/// What retention has taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Rooms that lost events, with the oldest seq that they still keep.
    pub rooms: Vec<(RoomId, Seq)>,
    /// There may be more to take.
    pub is_more: bool,
}

impl Archive {
    /// Lets go of up to `limit` of the oldest events from before `horizon_ms` (ms since 1970), in one
    /// transaction. One pod does it at a time; to the others there is nothing to do.
    pub async fn trim(&self, horizon_ms: i64, limit: usize) -> Result<Trimmed, ArchiveError> {
        self.transact(&Trim { horizon_ms, limit }).await
    }
}

const LOCK: &str = "SELECT GET_LOCK(CONCAT('maru.trim.', MD5(DATABASE())), 0)";
const UNLOCK: &str = "DO RELEASE_LOCK(CONCAT('maru.trim.', MD5(DATABASE())))";

struct Trim {
    horizon_ms: i64,
    limit: usize,
}

impl Work for Trim {
    type Output = Trimmed;

    async fn run(&self, conn: &mut Conn) -> Result<Trimmed, ArchiveError> {
        let got: Option<Option<u8>> = conn.query_first(LOCK).await?;
        if got.flatten() != Some(1) {
            return Ok(Trimmed::default());
        }
        let trimmed = self.oldest(conn).await;
        // Whoever comes next before the commit waits for the rows, and then finds them gone.
        conn.query_drop(UNLOCK).await?;
        trimmed
    }
}

impl Trim {
    async fn oldest(&self, conn: &mut Conn) -> Result<Trimmed, ArchiveError> {
        let params: Vec<Value> = vec![self.horizon_ms.into(), self.limit.into()];
        let oldest: Vec<Row> = conn
            .exec("SELECT room_id, seq FROM messages WHERE ts < ? ORDER BY ts, room_id, seq LIMIT ?", params)
            .await?;
        let is_more = oldest.len() == self.limit;
        let mut lasts: BTreeMap<RoomId, Seq> = BTreeMap::new();
        for row in oldest {
            let mut row = Columns::new(row);
            let (room, seq) = (RoomId(row.id()?), row.seq()?);
            let last = lasts.entry(room).or_insert(seq);
            *last = seq.max(*last);
        }
        let mut rooms = Vec::with_capacity(lasts.len());
        for (room, last) in lasts {
            rooms.push((room, below(conn, room, last.next()).await?));
        }
        Ok(Trimmed { rooms, is_more })
    }
}

/// Lets go of all below `first`, also of what came late and bears a later time; gives the new first seq.
async fn below(conn: &mut Conn, room: RoomId, first: Seq) -> Result<Seq, ArchiveError> {
    let place = || -> Vec<Value> { vec![id(room.0), first.0.into()] };
    let set: Vec<Value> = vec![first.0.into(), id(room.0)];
    conn.exec_drop("UPDATE rooms SET first_seq = GREATEST(first_seq, ?) WHERE id = ?", set).await?;
    conn.exec_drop("DELETE FROM messages WHERE room_id = ? AND seq < ?", place()).await?;
    conn.exec_drop("DELETE FROM quarantine WHERE room_id = ? AND seq < ?", place()).await?;
    let kept: Option<u64> =
        conn.exec_first("SELECT first_seq FROM rooms WHERE id = ?", vec![id(room.0)]).await?;
    Ok(kept.map_or(first, Seq))
}
