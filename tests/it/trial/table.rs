//! What is kept for good: the tables of MariaDB, or of SQLite where there is one process.

use std::collections::BTreeSet;

use rusqlite::{Connection, OpenFlags};

use crate::harness::Maru;

/// The events of an open room: epoch, seq and id of each.
pub(super) fn rows(maru: &Maru, room: &str) -> BTreeSet<String> {
    let row = match maru.is_alone() {
        true => "m.epoch || '-' || m.seq || ' ' || LOWER(HEX(m.id))",
        false => "CONCAT(m.epoch, '-', m.seq, ' ', LOWER(HEX(m.id)))",
    };
    let rows = ask(
        maru,
        &format!("SELECT {row} FROM messages m JOIN rooms r ON r.id = m.room_id WHERE r.slug = '{room}'"),
    );
    rows.into_iter().collect()
}

/// Has it an id, or a place, twice?
pub(super) fn has_anything_twice(maru: &Maru) -> bool {
    ["id", "room_id, seq"].iter().any(|one| {
        let twice = format!("SELECT 'twice' FROM messages GROUP BY {one} HAVING COUNT(*) > 1");
        !ask(maru, &twice).is_empty()
    })
}

/// The rows of one column of text.
fn ask(maru: &Maru, question: &str) -> Vec<String> {
    if !maru.is_alone() {
        return maru.servers().database.sql(question).lines().map(str::to_owned).collect();
    }
    let path = maru.one_pod().data().join("maru.db");
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("there is a database");
    let mut question = connection.prepare(question).expect("a question");
    let rows = question.query_map([], |row| row.get(0)).expect("an answer");
    rows.collect::<Result<_, _>>().expect("text")
}
