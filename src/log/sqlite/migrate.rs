//! Numbered migrations, forward only; `PRAGMA user_version` says how many a store has.

use std::io;

use rusqlite::Connection;

const MIGRATIONS: &[&str] = &[
    include_str!("../../../schema/sqlite/001_log.sql"),
    include_str!("../../../schema/sqlite/002_members.sql"),
];

/// Brings the store up to this program's schema.
pub(super) fn up(connection: &mut Connection) -> io::Result<()> {
    let done: usize = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|e| io::Error::other(format!("cannot read the store: {e}")))?;
    let Some(missing) = MIGRATIONS.get(done..) else {
        return Err(io::Error::other(format!(
            "the store has schema {done}, this maru knows only {}: a newer maru made it",
            MIGRATIONS.len()
        )));
    };
    for (number, sql) in (done + 1..).zip(missing) {
        migrate(connection, number, sql)
            .map_err(|e| io::Error::other(format!("migration {number} failed: {e}")))?;
    }
    Ok(())
}

fn migrate(connection: &mut Connection, number: usize, sql: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(sql)?;
    transaction.pragma_update(None, "user_version", number)?;
    transaction.commit()
}
