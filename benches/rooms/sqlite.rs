//! The log of one machine.

use std::sync::Arc;

use maru::{
    event::SearchKeys,
    log::{Log, SqliteLog},
};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    Store,
    town::{Place, TEXT, Town},
};

pub(super) fn store(town: &Town, runtime: &Runtime) -> Store {
    let data = TempDir::new().unwrap();
    let log = SqliteLog::open(data.path(), |_| {}).unwrap();
    runtime.block_on(Log::Sqlite(Arc::new(log)).close());
    let mut connection = Connection::open(data.path().join("maru.db")).unwrap();
    let filling = connection.transaction().unwrap();
    for user in &town.people {
        let SearchKeys { name, initials } = SearchKeys::of(&user.name);
        filling
            .prepare_cached(
                "INSERT INTO users (id, kind, name, name_key, initials, created)
                     VALUES (?1, 'guest', ?2, ?3, ?4, 0)",
            )
            .unwrap()
            .execute(params![user.id.0.as_bytes(), user.name.as_str(), name, initials])
            .unwrap();
    }
    town.rooms.iter().for_each(|place| fill(&filling, town, place));
    filling.commit().unwrap();
    drop(connection);
    let log = Log::Sqlite(Arc::new(SqliteLog::open(data.path(), |_| {}).unwrap()));
    Store { name: "sqlite", log, _kept: Box::new(data) }
}

fn fill(filling: &Connection, town: &Town, place: &Place) {
    let id = &place.id.0.as_bytes()[..];
    filling
        .prepare_cached("INSERT INTO rooms VALUES (?1, ?2, NULL, NULL, 1, 0, ?3, 1, ?4, 0)")
        .unwrap()
        .execute(params![id, place.kind(), place.messages, place.last_ts])
        .unwrap();
    for (n, (member, read)) in place.members().enumerate() {
        filling
            .prepare_cached("INSERT INTO participants VALUES (?1, ?2, 'member', ?3, 1, ?4)")
            .unwrap()
            .execute(params![id, town.people[member].id.0.as_bytes(), n + 1, read])
            .unwrap();
    }
    for seq in 1..=place.messages {
        let (speaker, ts) = place.said(seq);
        let speaker = &town.people[speaker];
        filling
            .prepare_cached(
                "INSERT INTO messages (room_id, seq, epoch, id, kind, user_id, user_kind, user_name, text, ts,
                 counted) VALUES (?1, ?2, 1, ?1, 'message', ?3, 'guest', ?4, ?5, ?6, 1)",
            )
            .unwrap()
            .execute(params![
                id,
                seq,
                speaker.id.0.as_bytes(),
                speaker.name.as_str(),
                TEXT,
                ts,
            ])
            .unwrap();
    }
}
