use std::sync::{Arc, Mutex, Weak};

use testbed::{Database, MariaDb};
use uuid::Uuid;

use super::*;
use crate::event::{
    Cursor, EPOCH_STRIDE, Entry, Epoch, Event, EventKind, Extent, Key, Room, RoomId, Seq, Slug, User, UserId,
    UserKind,
};

mod fence;
mod history;
mod members;
mod server;
mod store;

/// One server for all tests that do nothing to it: the last one to end takes it along.
static SERVER: Mutex<Weak<MariaDb>> = Mutex::new(Weak::new());

/// One server starts at a time: each begins by clearing away temporary files, also those of another that is
/// just beginning.
static STARTING: Mutex<()> = Mutex::new(());

/// An archive in a database of its own.
struct Bed {
    archive: Archive,
    database: Database,
    _server: Arc<MariaDb>,
}

impl Bed {
    async fn new() -> Self {
        let server = shared();
        let database = server.database();
        let archive = Archive::open(database.url()).await.unwrap();
        Bed { archive, database, _server: server }
    }

    async fn all(&self, room: &Room) -> Vec<Event> {
        self.archive.after(room, Seq(0), Seq::MAX, 1_000_000).await.unwrap()
    }

    async fn store(&self, entries: &[Entry]) {
        assert_eq!(self.archive.store(entries).await.unwrap(), Stored::default());
    }
}

/// A server for one test.
fn own(args: &[&str]) -> MariaDb {
    let _alone = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    MariaDb::with(args)
}

pub(crate) fn shared() -> Arc<MariaDb> {
    let mut server = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    server.upgrade().unwrap_or_else(|| {
        let started = Arc::new(own(&[]));
        *server = Arc::downgrade(&started);
        started
    })
}

fn room(slug: &str) -> Room {
    Room::from(&slug.parse::<Slug>().unwrap())
}

fn ann() -> User {
    User { id: UserId(Uuid::from_u128(1)), name: "Ann".parse().unwrap(), kind: UserKind::Guest }
}

/// A message of the first epoch; its time is its seq.
fn said(room: &Room, seq: u64, text: &str) -> Entry {
    said_in(room, Cursor::new(1, seq), text)
}

fn said_in(room: &Room, cursor: Cursor, text: &str) -> Entry {
    let event = Event {
        room: Arc::clone(&room.label),
        epoch: cursor.epoch,
        seq: cursor.seq,
        id: Uuid::now_v7(),
        kind: EventKind::Message,
        target: None,
        user: ann(),
        text: Some(Arc::from(text)),
        status: None,
        edited: None,
        by: None,
        ts: i64::try_from(cursor.seq.0).unwrap(),
        client_id: None,
    };
    Entry { room: room.id, event, key: None }
}

fn edited(room: &Room, seq: u64, target: u64, text: &str) -> Entry {
    let mut entry = said(room, seq, text);
    entry.event.kind = EventKind::Edit;
    entry.event.target = Some(Seq(target));
    entry
}

fn deleted(room: &Room, seq: u64, target: u64) -> Entry {
    let mut entry = edited(room, seq, target, "");
    entry.event.kind = EventKind::Delete;
    entry.event.text = None;
    entry
}

fn events(entries: &[Entry]) -> Vec<Event> {
    entries.iter().map(|entry| entry.event.clone()).collect()
}
