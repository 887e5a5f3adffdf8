//! A new epoch of the whole store.

use rusqlite::{Connection, params};

use crate::event::EPOCH_STRIDE;

/// Begins a new epoch in every room and inbox, and for every one that is yet to be made.
pub(in crate::log::sqlite) fn new_epoch(connection: &mut Connection) -> rusqlite::Result<u32> {
    let transaction = connection.transaction()?;
    let epoch: u32 =
        transaction.query_row("UPDATE store SET epoch = epoch + 1 RETURNING epoch", [], |row| row.get(0))?;
    transaction.execute("INSERT INTO epochs SELECT id, epoch, base, tip FROM rooms", [])?;
    transaction.execute(
        "UPDATE rooms SET first_seq = CASE first_seq WHEN tip + 1 THEN tip + ?2 + 1 ELSE first_seq END,
         epoch = ?1, base = tip + ?2, tip = tip + ?2",
        params![epoch, EPOCH_STRIDE],
    )?;
    transaction.commit()?;
    Ok(epoch)
}
