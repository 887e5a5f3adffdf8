use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::{
    event::{Cursor, Draft, EPOCH_STRIDE, Epoch, EventKind, LogId, Slug, User, UserId, UserKind},
    log::Who,
};

mod bans;
mod inbox;
mod members;
mod model;
mod people;

/// A log, what it announced, and somebody to speak in it.
struct Store {
    log: SqliteLog,
    told: Arc<Mutex<Vec<Notice>>>,
    runtime: Runtime,
    data: TempDir,
}

impl Store {
    fn new() -> Self {
        Store::on(TempDir::new().unwrap())
    }

    fn on(data: TempDir) -> Self {
        let told: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let telling = Arc::clone(&told);
        let log = SqliteLog::open(data.path(), move |notices| telling.lock().unwrap().extend(notices));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Store { log: log.unwrap(), told, runtime, data }
    }

    /// Ends it and opens it again.
    fn again(self) -> Self {
        self.runtime.block_on(self.log.close());
        let Store { log, data, .. } = self;
        drop(log);
        Store::on(data)
    }

    /// The same with a new epoch.
    fn lost(self) -> Self {
        self.runtime.block_on(self.log.close());
        let Store { log, data, .. } = self;
        drop(log);
        new_epoch(data.path()).unwrap();
        Store::on(data)
    }

    /// What was announced of a log so far.
    fn told(&self, log: impl Into<LogId>) -> Vec<Frame> {
        let log = log.into();
        let told = self.told.lock().unwrap();
        let frames = told.iter().filter_map(|notice| match notice {
            Notice::Appended(of, frame) if *of == log => Some(frame.clone()),
            _ => None,
        });
        frames.collect()
    }

    fn append(&self, room: &Room, user: &User, draft: Draft) -> Result<Placed, LogErrorKind> {
        let append = Append { room: room.clone(), user: user.clone(), who: Who(user.id.0), draft, ack: None };
        self.runtime.block_on(self.log.append(append)).map_err(|e| e.kind)
    }

    fn say(&self, room: &Room, text: &str) -> Placed {
        self.append(room, &user("Ann"), message(text, None)).unwrap()
    }

    fn frames(&self, room: &Room) -> Vec<Frame> {
        self.runtime.block_on(self.log.read(room.clone(), Seq(0), usize::MAX >> 1)).unwrap()
    }

    fn all(&self, room: &Room) -> Vec<Event> {
        self.frames(room).iter().map(|frame| serde_json::from_slice(&frame.json()).unwrap()).collect()
    }

    fn extent(&self, room: &Room) -> Extent {
        self.runtime.block_on(self.log.extent(room.clone())).unwrap()
    }
}

fn room(slug: &str) -> Room {
    Room::from(&slug.parse::<Slug>().unwrap())
}

fn user(name: &str) -> User {
    User { id: UserId::random(), name: name.parse().unwrap(), kind: UserKind::Guest }
}

fn message(text: &str, key: Option<&str>) -> Draft {
    Draft::Message { text: text.parse().unwrap(), client_id: key.map(|key| key.parse().unwrap()) }
}

#[test]
fn what_was_told_is_what_is_read_after_it_was_opened_again() {
    let store = Store::new();
    let lobby = room("lobby");
    for text in ["one", "두 번째", "\r\n\0\u{2028}"] {
        store.say(&lobby, text);
    }
    let told = store.told(lobby.id);
    let store = store.again();
    assert_eq!(store.frames(&lobby), told);
}

#[test]
fn seqs_go_on_where_they_were() {
    let store = Store::new();
    let lobby = room("lobby");
    assert_eq!(store.say(&lobby, "a").cursor, Cursor::new(1, 1));
    let store = store.again();
    assert_eq!(store.say(&lobby, "b").cursor, Cursor::new(1, 2));
    assert_eq!(store.say(&room("attic"), "c").cursor, Cursor::new(1, 1));
    assert_eq!(store.extent(&lobby).tip, Seq(2));
}

#[test]
fn a_room_that_nobody_has_spoken_in_is_empty() {
    let store = Store::new();
    let nowhere = room("nowhere");
    let extent = store.extent(&nowhere);
    assert_eq!((extent.tip(), extent.first), (Cursor::new(1, 0), Seq(1)));
    assert!(store.all(&nowhere).is_empty());
}

#[test]
fn a_second_process_is_refused() {
    let store = Store::new();
    let refused = SqliteLog::open(store.data.path(), |_| {}).unwrap_err();
    assert!(refused.to_string().contains("another maru is running"), "{refused}");
}

#[test]
fn a_store_of_a_newer_program_is_refused() {
    let store = Store::new();
    let data = store.data;
    drop(store.log);
    let connection = Connection::open(data.path().join("maru.db")).unwrap();
    connection.pragma_update(None, "user_version", 999).unwrap();
    let refused = SqliteLog::open(data.path(), |_| {}).unwrap_err();
    assert!(refused.to_string().contains("newer"), "{refused}");
}

#[test]
fn a_new_epoch_uses_no_seq_twice() {
    let store = Store::new();
    let (lobby, lost) = (room("lobby"), room("lost"));
    store.say(&lobby, "before");
    let store = store.lost();
    let extent = store.extent(&lobby);
    let base = 1 + EPOCH_STRIDE;
    assert_eq!((extent.epoch, extent.base, extent.tip), (Epoch(2), Seq(base), Seq(base)));
    assert_eq!((extent.past.clone(), extent.first), (vec![(Epoch(1), 1..=1)], Seq(1)));
    assert_eq!(extent.before(Seq(1)), Cursor::new(1, 0));
    assert_eq!(store.say(&lobby, "after").cursor, Cursor::new(2, base + 1));
    // A room that was made after the backup was taken, and is not in it.
    assert_eq!(store.say(&lost, "anew").cursor, Cursor::new(2, EPOCH_STRIDE + 1));
    assert_eq!(store.extent(&lost).first, Seq(EPOCH_STRIDE + 1));
}

#[test]
fn retention_takes_the_old_and_says_where_the_log_begins() {
    let store = Store::new();
    let (lobby, attic) = (room("lobby"), room("attic"));
    for _ in 0..3 {
        store.say(&lobby, "old");
    }
    let horizon = store.say(&attic, "old too").ts + 1;
    std::thread::sleep(std::time::Duration::from_millis(3));
    store.say(&lobby, "new");
    assert!(!store.runtime.block_on(store.log.trim(horizon)).unwrap());
    assert_eq!(store.all(&lobby).iter().map(|event| event.seq.0).collect::<Vec<_>>(), [4]);
    assert_eq!(store.extent(&lobby).first, Seq(4));
    let attic = store.extent(&attic);
    assert_eq!((attic.first, attic.tip), (Seq(2), Seq(1)));
}

#[test]
fn revoked_sessions_are_kept_until_they_would_have_expired() {
    let store = Store::new();
    let far = crate::clock::seconds().cast_signed() + 1000;
    store.runtime.block_on(store.log.revoke(7, far)).unwrap();
    store.runtime.block_on(store.log.revoke(8, 1)).unwrap();
    let store = store.again();
    assert_eq!(store.runtime.block_on(store.log.revoked()).unwrap(), [(7, far)]);
}

#[test]
fn times_do_not_go_back() {
    let store = Store::new();
    let lobby = room("lobby");
    store.say(&lobby, "now");
    store.runtime.block_on(store.log.close());
    let Store { log, data, .. } = store;
    drop(log);
    let connection = Connection::open(data.path().join("maru.db")).unwrap();
    let far = 99_999_999_999_999i64;
    connection.execute("UPDATE rooms SET last_ts = ?1", [far]).unwrap();
    drop(connection);
    let store = Store::on(data);
    assert_eq!(store.say(&lobby, "later").ts, far);
}

/// What can be asked of a room.
#[derive(Clone, Debug)]
enum Ask {
    Say { by: usize, key: Option<u8>, text: u8 },
    Edit { by: usize, target: u64, text: u8 },
    Delete { by: usize, target: u64 },
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let ask = prop_oneof![
        3 => (0..2usize, proptest::option::of(0..4u8), 0..3u8).prop_map(|(by, key, text)| Ask::Say { by, key, text }),
        1 => (0..2usize, 0..12u64, 0..3u8).prop_map(|(by, target, text)| Ask::Edit { by, target, text }),
        1 => (0..2usize, 0..12u64).prop_map(|(by, target)| Ask::Delete { by, target }),
    ];
    proptest::collection::vec(ask, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against a list that is written by hand: answers, replay and listing agree.
    #[test]
    fn a_room_is_what_a_list_would_be(asks in asks()) {
        let store = Store::new();
        let lobby = room("lobby");
        let people = [user("Ann"), user("Bob")];
        let mut model: Vec<Event> = Vec::new();
        let mut keys: Vec<(usize, u8, u8, Cursor)> = Vec::new();
        for ask in asks {
            let (by, draft) = match &ask {
                Ask::Say { by, key, text } => {
                    (*by, message(&format!("t{text}"), key.map(|key| format!("k{key}")).as_deref()))
                }
                Ask::Edit { by, target, text } => {
                    (*by, Draft::Edit { target: Seq(*target), text: format!("e{text}").parse().unwrap() })
                }
                Ask::Delete { by, target } => (*by, Draft::Delete { target: Seq(*target), right: crate::event::Right::Author }),
            };
            let answer = store.append(&lobby, &people[by], draft);
            let own = |target: u64, model: &[Event]| {
                let event = model.iter().find(|event| event.seq.0 == target && event.kind == EventKind::Message);
                match event.filter(|event| event.status.is_none()) {
                    None => Err(LogErrorKind::NotFound),
                    Some(event) if event.user.id != people[by].id => Err(LogErrorKind::NotYours),
                    Some(_) => Ok(()),
                }
            };
            let known = match &ask {
                Ask::Say { key: Some(key), .. } => keys.iter().find(|(b, k, ..)| *b == by && k == key),
                _ => None,
            };
            let allowed = match &ask {
                Ask::Say { text, .. } => match known {
                    Some((_, _, first, _)) if first != text => Err(LogErrorKind::KeyReused),
                    _ => Ok(()),
                },
                Ask::Edit { target, .. } | Ask::Delete { target, .. } => own(*target, &model),
            };
            prop_assert_eq!(answer.map(|_| ()), allowed);
            let Ok(placed) = answer else { continue };
            if let Some((.., cursor)) = known {
                prop_assert_eq!((placed.duplicate, placed.cursor), (true, *cursor));
                continue;
            }
            let seq = Seq(model.len() as u64 + 1);
            prop_assert_eq!(placed.cursor, Cursor { epoch: Epoch(1), seq });
            if let Ask::Say { key: Some(key), text, .. } = ask {
                keys.push((by, key, text, placed.cursor));
            }
            if let Ask::Delete { target, .. } = ask {
                for event in &mut model {
                    let is_edit = event.kind == EventKind::Edit && event.target == Some(Seq(target));
                    if event.seq == Seq(target) || is_edit {
                        *event = event.clone().scrubbed();
                    }
                }
            }
            model.push(Event {
                room: lobby.label.clone(),
                epoch: Epoch(1),
                seq,
                id: placed.id,
                kind: match ask { Ask::Say { .. } => EventKind::Message, Ask::Edit { .. } => EventKind::Edit, Ask::Delete { .. } => EventKind::Delete },
                target: match ask { Ask::Say { .. } => None, Ask::Edit { target, .. } | Ask::Delete { target, .. } => Some(Seq(target)) },
                user: people[by].clone(),
                text: match ask { Ask::Say { text, .. } => Some(format!("t{text}").into()), Ask::Edit { text, .. } => Some(format!("e{text}").into()), Ask::Delete { .. } => None },
                status: None,
                edited: None,
                by: None,
                ts: placed.ts,
                client_id: match ask { Ask::Say { key: Some(key), .. } => Some(format!("k{key}").parse().unwrap()), _ => None },
            });
        }
        prop_assert_eq!(store.all(&lobby), model.clone());
        let listed = store.runtime.block_on(store.log.page(lobby.clone(), Part::Newest, 200)).unwrap();
        for (listed, written) in listed.iter().zip(&model) {
            let last_edit = model.iter().rfind(|edit| edit.kind == EventKind::Edit && edit.target == Some(written.seq));
            let expected = match last_edit.filter(|_| written.kind == EventKind::Message && written.status.is_none()) {
                Some(edit) => Event { text: edit.text.clone(), edited: Some(edit.ts), ..written.clone() },
                None => written.clone(),
            };
            prop_assert_eq!(listed, &expected);
        }
    }
}
