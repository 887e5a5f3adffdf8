//! Rows and the values they hold.

use std::{str::FromStr, sync::Arc};

use mysql_async::{Row, Value, prelude::FromValue};
use uuid::Uuid;

use super::{ArchiveError, ArchiveErrorKind};
use crate::event::{ClientId, Entry, Epoch, Event, Key, RoomId, Seq, Status, User, UserId};

/// The columns that [`event`] reads, in its order.
pub(super) const EVENT: &str =
    "seq, epoch, id, kind, status, user_id, user_kind, user_name, text, target, ts, client_id, by_user";

/// The same columns of a table that is called by this name in the statement.
pub(super) fn event_of(table: &str) -> String {
    EVENT.split(", ").map(|column| format!("{table}.{column}")).collect::<Vec<_>>().join(", ")
}

/// A row, taken column by column from the left.
pub(super) struct Columns {
    row: Row,
    next: usize,
}

impl Columns {
    pub(super) fn new(row: Row) -> Self {
        Columns { row, next: 0 }
    }

    /// The next column.
    pub(super) fn take<T: FromValue>(&mut self) -> Result<T, ArchiveError> {
        let column = self.next;
        self.next += 1;
        self.row.take_opt(column).and_then(Result::ok).ok_or_else(|| unreadable(column))
    }

    /// The next column, which holds 16 bytes.
    pub(super) fn id(&mut self) -> Result<Uuid, ArchiveError> {
        let column = self.next;
        Uuid::from_slice(&self.take::<Vec<u8>>()?).map_err(|_| unreadable(column))
    }

    /// Does the next column hold nothing?
    pub(super) fn is_null(&self) -> bool {
        matches!(self.row.as_ref(self.next), None | Some(Value::NULL))
    }

    /// Columns that are of no use in this row.
    pub(super) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    /// The next columns: id, kind and name of a person.
    pub(super) fn user(&mut self) -> Result<User, ArchiveError> {
        Ok(User { id: UserId(self.id()?), kind: self.parsed()?, name: self.parsed()? })
    }

    /// The next column, which holds 16 bytes or nothing.
    pub(super) fn hash(&mut self) -> Result<Option<[u8; 16]>, ArchiveError> {
        let column = self.next;
        let bytes: Option<Vec<u8>> = self.take()?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| unreadable(column))).transpose()
    }

    /// The next column, a seq.
    pub(super) fn seq(&mut self) -> Result<Seq, ArchiveError> {
        self.take().map(Seq)
    }

    /// The next column, an epoch.
    pub(super) fn epoch(&mut self) -> Result<Epoch, ArchiveError> {
        self.take().map(Epoch)
    }

    /// The next column, a word.
    pub(super) fn parsed<T: FromStr>(&mut self) -> Result<T, ArchiveError> {
        let column = self.next;
        self.take::<String>()?.parse().map_err(|_| unreadable(column))
    }
}

/// A row that no maru wrote.
fn unreadable(column: usize) -> ArchiveError {
    ArchiveError::new(ArchiveErrorKind::Unreadable, format!("column {column} of a row"))
}

/// An event as it was written.
pub(super) fn event(label: &Arc<str>, row: &mut Columns) -> Result<Event, ArchiveError> {
    Ok(Event {
        room: Arc::clone(label),
        seq: row.seq()?,
        epoch: row.epoch()?,
        id: row.id()?,
        kind: row.parsed()?,
        status: row.take::<Option<String>>()?.map(|_| Status::Deleted),
        user: row.user()?,
        text: row.take::<Option<String>>()?.map(Arc::from),
        target: row.take::<Option<u64>>()?.map(Seq),
        edited: None,
        ts: row.take()?,
        client_id: client_id(row)?,
        by: by(row)?,
    })
}

fn by(row: &mut Columns) -> Result<Option<User>, ArchiveError> {
    let column = row.next;
    let json: Option<String> = row.take()?;
    json.map(|json| serde_json::from_str(&json).map_err(|_| unreadable(column))).transpose()
}

fn client_id(row: &mut Columns) -> Result<Option<ClientId>, ArchiveError> {
    let column = row.next;
    let id: Option<String> = row.take()?;
    id.map(|id| id.parse().map_err(|_| unreadable(column))).transpose()
}

/// An entry that was given back: room, json, idem, idem_text.
pub(super) fn returned(row: &mut Columns) -> Result<Entry, ArchiveError> {
    let room = RoomId(row.id()?);
    let column = row.next;
    let event = serde_json::from_slice(&row.take::<Vec<u8>>()?).map_err(|_| unreadable(column))?;
    let key = row.hash()?.zip(row.hash()?).map(|(key, text)| Key { key, text });
    Ok(Entry { room, event, key })
}

/// An entry as a row of `returned`: room_id, seq, json, idem, idem_text.
pub(super) fn to_returned(entry: &Entry) -> Vec<Value> {
    vec![
        id(entry.room.0),
        entry.event.seq.0.into(),
        json(entry).into(),
        entry.key.map(|key| key.key.to_vec()).into(),
        entry.key.map(|key| key.text.to_vec()).into(),
    ]
}

/// The event's JSON.
pub(super) fn json(entry: &Entry) -> Vec<u8> {
    serde_json::to_vec(&entry.event).expect("an event is plain data, and memory does not fail")
}

/// 16 bytes.
pub(super) fn id(id: Uuid) -> Value {
    id.as_bytes().to_vec().into()
}

/// A row of messages: [`MESSAGE`].
pub(super) fn to_message(entry: &Entry) -> Vec<Value> {
    let event = &entry.event;
    vec![
        id(entry.room.0),
        event.seq.0.into(),
        event.epoch.0.into(),
        id(event.id),
        event.kind.as_str().into(),
        event.status.map(|_| "deleted").into(),
        id(event.user.id.0),
        event.user.kind.as_str().into(),
        event.user.name.as_str().into(),
        event.text.as_deref().into(),
        event.target.map(|seq| seq.0).into(),
        event.ts.into(),
        event.client_id.as_ref().map(ClientId::as_str).into(),
        entry.key.map(|key| key.key.to_vec()).into(),
        entry.key.map(|key| key.text.to_vec()).into(),
        event.by.as_ref().map(|by| serde_json::to_vec(by).expect("a person is plain data")).into(),
    ]
}

/// The columns of [`to_message`].
pub(super) const MESSAGE: &str = "room_id, seq, epoch, id, kind, status, user_id, user_kind, user_name, text, \
                                  target, ts, client_id, idem, idem_text, by_user";
