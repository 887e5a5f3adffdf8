//! The floor of speaking: a loop that commits rows to SQLite, many at a time, and does nothing else.
//!
//! It has maru's own tables and settings, and inserts the same row for each message; only who may, idempotency, HTTP
//! and telling anybody are missing.

use super::Failure;
use super::crowd::text;
use rusqlite::{Connection, params};
use std::path::Path;
use std::time::{Duration, Instant};

/// The tables, as maru makes them.
const SCHEMA: [&str; 2] = [
    include_str!("../../../schema/sqlite/001_log.sql"),
    include_str!("../../../schema/sqlite/002_members.sql"),
];

/// What the loop did.
pub(crate) struct Committed {
    pub(crate) rows: u64,
    pub(crate) wall: Duration,
}

/// Commits `batch` rows at a time into a new store at `path`, for so long.
pub(crate) fn commit(path: &Path, batch: u64, rooms: usize, time: Duration) -> Result<Committed, Failure> {
    let failed = |e: rusqlite::Error| Failure::Setup(format!("{}: {e}", path.display()));
    let mut connection = Connection::open(path).map_err(failed)?;
    for (name, value) in [("journal_mode", "wal"), ("synchronous", "full"), ("secure_delete", "on")] {
        connection.pragma_update(None, name, value).map_err(failed)?;
    }
    SCHEMA.iter().try_for_each(|schema| connection.execute_batch(schema)).map_err(failed)?;
    for room in 0..rooms {
        let id = id(1, room as u64);
        let sql = "INSERT INTO rooms (id, kind, slug, epoch, base, tip, first_seq, last_ts, created)
                   VALUES (?1, 'open', ?2, 1, 0, 0, 1, 0, 0)";
        connection.execute(sql, params![id, format!("load-{room}")]).map_err(failed)?;
    }
    let start = Instant::now();
    let mut rows = 0;
    while start.elapsed() < time {
        rows += one_batch(&mut connection, rows, batch, rooms as u64).map_err(failed)?;
    }
    Ok(Committed { rows, wall: start.elapsed() })
}

fn one_batch(connection: &mut Connection, from: u64, batch: u64, rooms: u64) -> rusqlite::Result<u64> {
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO messages (room_id, seq, epoch, id, kind, user_id, user_kind, user_name, by_user,
             text, target, ts, client_id, counted)
             VALUES (?1, ?2, 1, ?3, 'message', ?4, 'guest', ?5, NULL, ?6, NULL, ?7, NULL, NULL)",
        )?;
        let mut tip = transaction.prepare_cached("UPDATE rooms SET tip = ?2, last_ts = ?3 WHERE id = ?1")?;
        for n in from..from + batch {
            let (room, seq, speaker) = (n % rooms, n / rooms + 1, n % batch);
            let name = format!("Speaker {speaker}");
            let said = text(speaker as usize, n);
            insert.execute(params![id(1, room), seq, id(2, n), id(3, speaker), name, said, n])?;
        }
        for room in 0..rooms.min(batch) {
            tip.execute(params![id(1, room), (from + batch) / rooms, from])?;
        }
    }
    transaction.commit()?;
    Ok(batch)
}

/// 16 bytes, as an id has.
fn id(kind: u64, n: u64) -> Vec<u8> {
    [kind.to_be_bytes(), n.to_be_bytes()].concat()
}
