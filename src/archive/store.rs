//! Entries go in: messages, then what edits and deletions do to them, then tips, members and people.

use std::collections::{BTreeMap, HashMap, HashSet};

use mysql_async::{Conn, Value, prelude::Queryable};
use uuid::Uuid;

use super::{
    Archive, ArchiveError, members,
    room::{self, Rooms},
    rows::{self, id, to_message},
    shapes::{Insert, select_in},
    transaction::Work,
};
use crate::{
    clock,
    event::{Entry, EventKind, RoomId, Seq},
};

/// Entries that go into one transaction when somebody hands in more.
const BATCH: usize = 1000;

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Places that were taken already, by events with another id. Those stay what they were.
    pub conflicts: Vec<(RoomId, Seq)>,
}

impl Archive {
    /// Stores a batch of up to 1,000 entries of any rooms in one transaction. An entry that is there already
    /// changes nothing, so a batch may be handed in again; a place that another event has is a conflict.
    ///
    /// # Errors
    /// `Unavailable`: all of it or nothing is stored, hand it in again. `Refused`: nothing is, and one of the
    /// entries is why; see [`Archive::quarantine`].
    pub async fn store(&self, entries: &[Entry]) -> Result<Stored, ArchiveError> {
        let conflicts = self.transact(&Store { entries, max_bytes: self.max_bytes() }).await?;
        Ok(Stored { conflicts })
    }

    /// Puts an entry that is refused aside and keeps its place with a deleted message without text.
    /// `error` says why, for whoever looks into it.
    pub async fn quarantine(&self, entry: &Entry, error: &str) -> Result<(), ArchiveError> {
        self.transact(&Aside { entry, error, max_bytes: self.max_bytes() }).await
    }

    /// Entries of a pod that was left out: what is not stored yet is, in its own epoch and place. The tip of
    /// a newer epoch stays where it is.
    pub async fn give_late(&self, entries: &[Entry]) -> Result<(), ArchiveError> {
        for batch in entries.chunks(BATCH) {
            self.store(batch).await?;
        }
        Ok(())
    }
}

struct Store<'a> {
    entries: &'a [Entry],
    max_bytes: usize,
}

impl Work for Store<'_> {
    type Output = Vec<(RoomId, Seq)>;

    async fn run(&self, conn: &mut Conn) -> Result<Vec<(RoomId, Seq)>, ArchiveError> {
        take(conn, self.entries, self.max_bytes).await
    }
}

struct Aside<'a> {
    entry: &'a Entry,
    error: &'a str,
    max_bytes: usize,
}

impl Work for Aside<'_> {
    type Output = ();

    async fn run(&self, conn: &mut Conn) -> Result<(), ArchiveError> {
        set_aside(conn, self.entry, self.error, self.max_bytes).await
    }
}

/// Stores entries within a transaction. Everybody locks rooms first, then messages, members and people, each in
/// the order of their keys, so that two pods seldom wait for one another. Gives the conflicts.
pub(super) async fn take(
    conn: &mut Conn,
    entries: &[Entry],
    max_bytes: usize,
) -> Result<Vec<(RoomId, Seq)>, ArchiveError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| (entry.room, entry.event.seq));
    let mut rooms = room::of_entries(conn, entries).await?;
    let messages: Vec<Vec<Value>> = sorted.iter().map(|entry| to_message(entry)).collect();
    let into = format!("messages ({})", rows::MESSAGE);
    let insert = Insert { into: &into, otherwise: "seq = seq", max_bytes };
    let affected = insert.run(conn, &messages).await?;
    let all_are_new = affected == entries.len() as u64;
    let conflicts = if all_are_new { Vec::new() } else { conflicts(conn, &sorted).await? };
    if !conflicts.is_empty() {
        let taken: HashSet<(RoomId, Seq)> = conflicts.iter().copied().collect();
        let ids = |entry: &&Entry| !taken.contains(&(entry.room, entry.event.seq));
        sorted.retain(ids);
    }
    for (room, span) in spans(&sorted, &rooms) {
        span.apply(conn, room).await?;
    }
    for (room, highest) in highest(&sorted) {
        let held = rooms.get_mut(&room).expect("the rooms of all entries are held");
        for entry in highest {
            held.take_and_keep(conn, entry).await?;
        }
    }
    room::keep(conn, &rooms).await?;
    members::follow(conn, &sorted).await?;
    // A batch that was there before may be older than the names that are known now. Who can be found by a name has
    // said by which.
    let renamed = "name = IF(name_key IS NULL, VALUES(name), name)";
    people(conn, &sorted, if all_are_new { renamed } else { "id = id" }).await?;
    Ok(conflicts)
}

/// Puts an entry aside within a transaction.
pub(super) async fn set_aside(
    conn: &mut Conn,
    entry: &Entry,
    error: &str,
    max_bytes: usize,
) -> Result<(), ArchiveError> {
    let row: Vec<Value> = vec![
        id(entry.room.0),
        entry.event.seq.0.into(),
        id(entry.event.id),
        rows::json(entry).into(),
        error.chars().take(4096).collect::<String>().into(),
        clock::millis().into(),
    ];
    conn.exec_drop(
        "INSERT INTO quarantine (room_id, seq, id, json, error, at) VALUES (?, ?, ?, ?, ?, ?)
         ON DUPLICATE KEY UPDATE seq = seq",
        row,
    )
    .await?;
    let mut placeholder = Entry { event: entry.event.clone().scrubbed(), ..entry.clone() };
    placeholder.event.kind = EventKind::Message;
    placeholder.event.target = None;
    placeholder.event.client_id = None;
    take(conn, &[placeholder], max_bytes).await.map(drop)
}

/// Which of these places are taken by another event.
async fn conflicts(conn: &mut Conn, entries: &[&Entry]) -> Result<Vec<(RoomId, Seq)>, ArchiveError> {
    let keys: Vec<Vec<Value>> =
        entries.iter().map(|entry| vec![id(entry.room.0), entry.event.seq.0.into()]).collect();
    let sql = "SELECT room_id, seq, id FROM messages WHERE (room_id, seq) IN";
    let mut kept: HashMap<(RoomId, Seq), Uuid> = HashMap::new();
    for mut row in select_in(conn, sql, &[], &keys, "").await? {
        kept.insert((RoomId(row.id()?), row.seq()?), row.id()?);
    }
    let places = entries.iter().map(|entry| ((entry.room, entry.event.seq), entry.event.id));
    Ok(places.filter(|(place, id)| kept.get(place) != Some(id)).map(|(place, _)| place).collect())
}

/// The last entry of each epoch, per room, oldest epoch first; and the first of an epoch, which may be the
/// oldest that is kept.
pub(crate) fn highest<'a>(sorted: &[&'a Entry]) -> BTreeMap<RoomId, Vec<&'a Entry>> {
    let mut found: BTreeMap<RoomId, Vec<&Entry>> = BTreeMap::new();
    for entry in sorted {
        let of_room = found.entry(entry.room).or_default();
        match of_room.as_slice() {
            [.., first, last]
                if first.event.epoch == last.event.epoch && last.event.epoch == entry.event.epoch =>
            {
                *of_room.last_mut().expect("there are two") = entry;
            }
            _ => of_room.push(entry),
        }
    }
    found
}

/// The part of a room where edits and deletions are to be looked for, as seqs.
struct Span {
    from: Seq,
    upto: Seq,
}

/// Rooms in which entries may have an effect on others. What comes late may have been edited or deleted by
/// what is there already, anywhere above.
fn spans(sorted: &[&Entry], rooms: &Rooms) -> BTreeMap<RoomId, Span> {
    let mut found: BTreeMap<RoomId, Span> = BTreeMap::new();
    for entry in sorted {
        let (event, held) = (&entry.event, &rooms[&entry.room]);
        let is_late = event.epoch < held.epoch || event.seq <= held.tip;
        if !is_late && event.kind == EventKind::Message {
            continue;
        }
        let span = found.entry(entry.room).or_insert(Span { from: event.seq, upto: event.seq });
        span.upto = if is_late { Seq::MAX } else { span.upto.max(event.seq) };
    }
    found
}

/// A deleted message loses its text, and so do its edits.
const DELETIONS: [&str; 2] = [
    "UPDATE messages gone JOIN messages message
     ON message.room_id = gone.room_id AND message.seq = gone.target
     SET message.text = '', message.status = 'deleted'
     WHERE gone.room_id = ? AND gone.seq BETWEEN ? AND ? AND gone.kind = 'delete'
     AND message.kind = 'message' AND message.status IS NULL",
    "UPDATE messages gone JOIN messages edit
     ON edit.room_id = gone.room_id AND edit.target = gone.target
     SET edit.text = '', edit.status = 'deleted'
     WHERE gone.room_id = ? AND gone.seq BETWEEN ? AND ? AND gone.kind = 'delete'
     AND edit.kind = 'edit' AND edit.status IS NULL",
];

/// An edit of what is deleted already has no text either.
const EDITS_OF_DELETED: &str = "UPDATE messages edit JOIN messages message
     ON message.room_id = edit.room_id AND message.seq = edit.target
     SET edit.text = '', edit.status = 'deleted'
     WHERE edit.room_id = ? AND edit.seq BETWEEN ? AND ? AND edit.kind = 'edit'
     AND edit.status IS NULL AND message.status = 'deleted'";

/// A message knows the last of its edits.
const LAST_EDITS: &str = "UPDATE messages message JOIN
     (SELECT room_id, target, MAX(seq) AS last FROM messages
      WHERE room_id = ? AND seq BETWEEN ? AND ? AND kind = 'edit' GROUP BY room_id, target) edit
     ON message.room_id = edit.room_id AND message.seq = edit.target
     SET message.edit_seq = edit.last
     WHERE message.kind = 'message' AND (message.edit_seq IS NULL OR message.edit_seq < edit.last)";

impl Span {
    async fn apply(&self, conn: &mut Conn, room: RoomId) -> Result<(), ArchiveError> {
        for statement in DELETIONS.into_iter().chain([EDITS_OF_DELETED, LAST_EDITS]) {
            let span: Vec<Value> = vec![id(room.0), self.from.0.into(), self.upto.0.into()];
            conn.exec_drop(statement, span).await?;
        }
        Ok(())
    }
}

/// Everybody who spoke, with the name of their last entry.
async fn people(conn: &mut Conn, entries: &[&Entry], otherwise: &str) -> Result<(), ArchiveError> {
    let mut people: BTreeMap<Uuid, &Entry> = BTreeMap::new();
    for entry in entries {
        let last = people.entry(entry.event.user.id.0).or_insert(entry);
        if (entry.event.ts, entry.event.seq) >= (last.event.ts, last.event.seq) {
            *last = entry;
        }
    }
    let rows: Vec<Vec<Value>> = people
        .into_iter()
        .map(|(user, entry)| {
            let event = &entry.event;
            vec![id(user), event.user.kind.as_str().into(), event.user.name.as_str().into(), event.ts.into()]
        })
        .collect();
    let insert = Insert { into: "users (id, kind, name, created)", otherwise, max_bytes: 1 << 19 };
    insert.run(conn, &rows).await.map(drop)
}
