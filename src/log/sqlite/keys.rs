//! Idempotency keys: kept 24 h, as hashes, each with its first answer.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    event::{ClientId, Cursor, RoomId, Text, digest},
    log::{Ack, KEY_LIFE_MS, Placed, Who},
};

/// What a key is known for.
pub(super) enum Known {
    /// Nothing yet.
    Fresh,
    /// This very text, with this answer.
    Same(Placed),
    /// Another text.
    Other,
}

pub(super) fn find(
    connection: &Connection,
    room: RoomId,
    who: Who,
    key: &ClientId,
    text: &Text,
    now: i64,
) -> rusqlite::Result<Known> {
    let mut statement = connection.prepare_cached(
        "SELECT text, id, epoch, seq, ts FROM idempotency WHERE room_id = ?1 AND who = ?2 AND key = ?3 AND ts > ?4",
    )?;
    let found = statement
        .query_row(
            params![room, who.0.as_bytes(), digest(key.as_str().as_bytes()), now - KEY_LIFE_MS],
            |row| {
                let same = row.get_ref(0)?.as_blob()? == digest(text.as_str().as_bytes());
                let cursor = Cursor { epoch: row.get(2)?, seq: row.get(3)? };
                Ok((
                    same,
                    Placed {
                        id: row.get(1)?,
                        cursor,
                        ts: row.get(4)?,
                        duplicate: true,
                        durability: Ack::Stored,
                    },
                ))
            },
        )
        .optional()?;
    Ok(match found {
        None => Known::Fresh,
        Some((true, placed)) => Known::Same(placed),
        Some((false, _)) => Known::Other,
    })
}

pub(super) fn keep(
    connection: &Connection,
    room: RoomId,
    who: Who,
    key: &ClientId,
    text: &Text,
    placed: &Placed,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO idempotency VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            room,
            who.0.as_bytes(),
            digest(key.as_str().as_bytes()),
            digest(text.as_str().as_bytes()),
            placed.id,
            placed.cursor.epoch,
            placed.cursor.seq,
            placed.ts
        ])?;
    Ok(())
}

/// Lets go of up to `limit` keys older than a day.
pub(super) fn prune(connection: &Connection, now: i64, limit: usize) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE (room_id, who, key) IN
             (SELECT room_id, who, key FROM idempotency WHERE ts <= ?1 ORDER BY ts LIMIT ?2)",
        )?
        .execute(params![now - KEY_LIFE_MS, limit])
}
