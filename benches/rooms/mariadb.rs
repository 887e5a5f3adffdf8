//! The log of many pods: a Redis that has seen nothing yet, and MariaDB with all that there is.

use std::sync::Arc;

use maru::{
    archive::Archive,
    event::SearchKeys,
    log::{Ack, Log, Parts, RedisLog, Standing},
    pods::Pods,
};
use mysql_async::{Conn, Params, Value, prelude::Queryable};
use testbed::{MariaDb, Redis};
use tokio::{runtime::Runtime, sync::mpsc};
use uuid::Uuid;

use super::{
    Store,
    town::{Place, TEXT, Town},
};

/// So that it has its data in memory, as a database of such a size has.
const POOL: &str = "--innodb-buffer-pool-size=512M";
/// Rows of one statement.
const ROWS: usize = 1000;

pub(super) fn store(town: &Town, runtime: &Runtime) -> Store {
    let (redis, mariadb) = (Redis::start(), MariaDb::with(&[POOL]));
    let database = mariadb.database();
    runtime.block_on(async {
        let archive = Archive::open(database.url()).await.unwrap();
        fill(&mut Conn::from_url(database.url()).await.unwrap(), town).await;
        let (said, heard) = mpsc::channel(1);
        let (url, pod, ack) = (redis.url(), Uuid::now_v7(), Ack::Buffered);
        let parts = Parts { url, pod, archive: archive.clone(), ack, channel: None, said };
        let log = RedisLog::new(parts).unwrap();
        let pods = Pods::join(pod, archive, Arc::clone(&log));
        let is_agreed = |standing: &Standing| matches!(standing, Standing::Agreed(_));
        log.standing().wait_for(is_agreed).await.unwrap();
        let kept = Box::new((pods, heard, redis, mariadb));
        Store { name: "mariadb", log: Log::Redis(log), _kept: kept }
    })
}

async fn fill(filling: &mut Conn, town: &Town) {
    filling.query_drop("START TRANSACTION").await.unwrap();
    let bytes = |id: Uuid| Value::from(id.into_bytes());
    let people = town.people.iter().map(|user| {
        let SearchKeys { name, initials } = SearchKeys::of(&user.name);
        let name = (user.name.as_str().into(), name.into(), initials.into());
        vec![bytes(user.id.0), name.0, name.1, name.2]
    });
    insert(filling, "users (kind, created, id, name, name_key, initials)", "'guest', 0, ?, ?, ?, ?", people)
        .await;
    let rooms = town.rooms.iter().map(|place| {
        vec![bytes(place.id.0), place.kind().into(), (place.messages as u64).into(), place.last_ts.into()]
    });
    let columns = "rooms (epoch, base, first_seq, losses, created, id, kind, tip, last_ts)";
    insert(filling, columns, "1, 0, 1, 0, 0, ?, ?, ?, ?", rooms).await;
    let members = town.rooms.iter().flat_map(|place| {
        let member = move |(n, (member, read)): (usize, (usize, usize))| {
            let user = bytes(town.people[member].id.0);
            vec![bytes(place.id.0), user, (n as u64 + 1).into(), (read as u64).into()]
        };
        place.members().enumerate().map(member)
    });
    insert(
        filling,
        "participants (kind, room_id, user_id, from_seq, read_seq)",
        "'member', ?, ?, ?, ?",
        members,
    )
    .await;
    let messages =
        town.rooms.iter().flat_map(|place| (1..=place.messages).map(move |seq| message(town, place, seq)));
    let columns = "messages (epoch, kind, user_kind, room_id, seq, id, user_id, user_name, text, ts)";
    insert(filling, columns, "1, 'message', 'guest', ?, ?, ?, ?, ?, ?, ?", messages).await;
    filling.query_drop("COMMIT").await.unwrap();
    filling.query_drop("ANALYZE TABLE users, rooms, participants, messages").await.unwrap();
}

fn message(town: &Town, place: &Place, seq: usize) -> Vec<Value> {
    let (speaker, ts) = place.said(seq);
    let speaker = &town.people[speaker];
    let (room, name) = (place.id.0.into_bytes(), speaker.name.as_str());
    vec![
        room.into(),
        (seq as u64).into(),
        room.into(),
        speaker.id.0.into_bytes().into(),
        name.into(),
        TEXT.into(),
        ts.into(),
    ]
}

async fn insert(filling: &mut Conn, columns: &str, row: &str, rows: impl Iterator<Item = Vec<Value>>) {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let values: Vec<Vec<Value>> = rows.by_ref().take(ROWS).collect();
        let places = vec![format!("({row})"); values.len()].join(", ");
        let params = Params::Positional(values.into_iter().flatten().collect());
        filling.exec_drop(format!("INSERT INTO {columns} VALUES {places}"), params).await.unwrap();
    }
}
