//! What readers ask of the store.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows;
use crate::event::{Epoch, Event, EventKind, Extent, Part, Room, RoomId, Seq};

/// Where a room's log begins and ends. A room that nobody has spoken in has an extent too: its first seq of
/// epoch n will be above all that epochs before may have given.
pub(super) fn extent(connection: &Connection, room: RoomId) -> rusqlite::Result<Extent> {
    let found = connection
        .prepare_cached("SELECT epoch, base, tip, first_seq FROM rooms WHERE id = ?1")?
        .query_row([room], |row| {
            let (epoch, base, tip, first) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Extent { epoch, base, tip, first, past: Vec::new() })
        })
        .optional()?;
    let Some(mut extent) = found else {
        let epoch: Epoch =
            connection.prepare_cached("SELECT epoch FROM store")?.query_row([], |row| row.get(0))?;
        return Ok(Extent::empty(epoch.0 - 1));
    };
    if extent.epoch > Epoch(1) {
        extent.past = connection
            .prepare_cached("SELECT epoch, base, last FROM epochs WHERE room_id = ?1 ORDER BY epoch")?
            .query_map([room], |row| Ok((row.get(0)?, row.get::<_, u64>(1)? + 1..=row.get(2)?)))?
            .collect::<Result<_, _>>()?;
    }
    Ok(extent)
}

pub(super) fn after(
    connection: &Connection,
    room: &Room,
    after: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<Event>> {
    connection
        .prepare_cached(&format!(
            "SELECT {} FROM messages WHERE room_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            rows::EVENT
        ))?
        .query_map(params![room.id, after, limit], |row| rows::event(&room.label, row, 0))?
        .collect()
}

pub(super) fn last(connection: &Connection, room: &Room, count: usize) -> rusqlite::Result<Vec<Event>> {
    before(connection, room, Seq::MAX, count)
}

fn before(connection: &Connection, room: &Room, below: Seq, limit: usize) -> rusqlite::Result<Vec<Event>> {
    let mut events: Vec<Event> = connection
        .prepare_cached(&format!(
            "SELECT {} FROM messages WHERE room_id = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
            rows::EVENT
        ))?
        .query_map(params![room.id, below, limit], |row| rows::event(&room.label, row, 0))?
        .collect::<Result<_, _>>()?;
    events.reverse();
    Ok(events)
}

pub(super) fn page(
    connection: &Connection,
    room: &Room,
    part: Part,
    limit: usize,
) -> rusqlite::Result<Vec<Event>> {
    let mut events = match part {
        Part::Newest => last(connection, room, limit)?,
        Part::Before(seq) => before(connection, room, seq, limit)?,
        Part::After(seq) => after(connection, room, seq, limit)?,
    };
    for event in events.iter_mut().filter(|e| e.kind == EventKind::Message && e.status.is_none()) {
        if let Some((text, ts)) = last_edit(connection, room.id, event.seq)? {
            event.text = Some(text);
            event.edited = Some(ts);
        }
    }
    Ok(events)
}

fn last_edit(connection: &Connection, room: RoomId, seq: Seq) -> rusqlite::Result<Option<(Arc<str>, i64)>> {
    connection
        .prepare_cached(
            "SELECT edit.text, edit.ts FROM messages message
             JOIN messages edit ON edit.room_id = message.room_id AND edit.seq = message.edit_seq
             WHERE message.room_id = ?1 AND message.seq = ?2",
        )?
        .query_row(params![room, seq], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

pub(super) fn revoked(connection: &Connection) -> rusqlite::Result<Vec<(i64, i64)>> {
    connection
        .prepare_cached("SELECT session, until FROM revoked WHERE until > unixepoch()")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
