//! Who is shut out of a room, and until when.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::{
    clock,
    event::{Ban, Banned, UserId},
    log::sqlite::Batch,
};

/// Bans that are over and taken away with each new one.
const STEP: usize = 100;
/// For how long it can still be asked for that a ban is over, in s.
const OVER: i64 = 24 * 60 * 60;

impl Batch<'_> {
    /// What is said of somebody last is what holds.
    pub(super) fn ban(&self, ban: &Ban, by: Option<UserId>, reason: Option<&str>) -> rusqlite::Result<()> {
        let (kind, whom) = match ban.whom {
            Banned::User(user) => ("user", user.0),
            Banned::Address(address) => ("address", address),
        };
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO bans (room_id, kind, whom, until, by_id, reason, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![ban.room, kind, whom.as_bytes(), ban.until, by, reason, self.now])?;
        self.connection
            .prepare_cached(
                "DELETE FROM bans WHERE n IN (SELECT n FROM bans WHERE until < ?1 AND created < ?2 LIMIT ?3)",
            )?
            .execute(params![seconds() - OVER, self.now - 1000 * OVER, STEP])?;
        Ok(())
    }
}

/// Those said after the `after`th; after the 0th, those that stand.
pub(super) fn bans(connection: &Connection, after: i64) -> rusqlite::Result<Vec<(i64, Ban)>> {
    let standing = if after == 0 { seconds() } else { i64::MIN };
    connection
        .prepare_cached(
            "SELECT n, room_id, kind, whom, until FROM bans WHERE n > ?1 AND until > ?2 ORDER BY n",
        )?
        .query_map([after, standing], |row| Ok((row.get(0)?, ban(row)?)))?
        .collect()
}

fn ban(row: &Row<'_>) -> rusqlite::Result<Ban> {
    let whom: Uuid = row.get(3)?;
    let whom = match row.get_ref(2)?.as_str()? {
        "user" => Banned::User(UserId(whom)),
        _ => Banned::Address(whom),
    };
    Ok(Ban { room: row.get(1)?, whom, until: row.get(4)? })
}

fn seconds() -> i64 {
    clock::seconds().cast_signed()
}
