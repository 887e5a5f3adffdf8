//! What an inbox's entries point to now.

use rusqlite::{Connection, Row, params};

use super::rows;
use crate::event::{Cursor, Event, EventKind, Frame, Room, RoomId, Seq, UserId};

pub(super) fn after(
    connection: &Connection,
    user: UserId,
    after: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<Frame>> {
    resolved(connection, user, "seq > ?2 ORDER BY seq", after, limit)
}

pub(super) fn last(connection: &Connection, user: UserId, count: usize) -> rusqlite::Result<Vec<Frame>> {
    resolved(connection, user, "seq < ?2 ORDER BY seq DESC", Seq::MAX, count)
}

fn resolved(
    connection: &Connection,
    user: UserId,
    part: &'static str,
    place: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<Frame>> {
    connection
        .prepare_cached(&format!(
            "WITH entry AS (SELECT * FROM inbox WHERE user_id = ?1 AND {part} LIMIT ?3)
             SELECT entry.seq, entry.epoch, entry.room_id, member.from_seq, {}
             FROM entry
             LEFT JOIN messages event ON event.room_id = entry.room_id AND event.seq = entry.room_seq
             LEFT JOIN participants member ON member.room_id = entry.room_id AND member.user_id = ?1
             ORDER BY entry.seq",
            rows::event_of("event"),
        ))?
        .query_map(params![user, place, limit], |row| frame(user, row))?
        .collect()
}

/// What is given of an entry: its event while its reader may see that, and their own leaving for good.
fn frame(user: UserId, row: &Row<'_>) -> rusqlite::Result<Frame> {
    const EVENT: usize = 4;
    let cursor = Cursor { seq: row.get(0)?, epoch: row.get(1)? };
    let room: RoomId = row.get(2)?;
    if row.get::<_, Option<Seq>>(EVENT)?.is_none() {
        return Ok(Frame::gone(cursor));
    }
    let event: Event = rows::event(&Room::of_members(room).label, row, EVENT)?;
    let from: Option<Seq> = row.get(3)?;
    let is_own_leave = event.kind == EventKind::Leave && event.user.id == user;
    if from.is_some_and(|from| from <= event.seq) || is_own_leave {
        return Ok(Frame::pointing(&event, room, cursor));
    }
    Ok(Frame::gone(cursor))
}
