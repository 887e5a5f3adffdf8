//! Rows and the values they hold.

use std::{str::FromStr, sync::Arc};

use rusqlite::{
    Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use uuid::Uuid;

use crate::event::{Epoch, Event, RoomId, Seq, Status, User, UserId};

/// The columns that [`event`] reads, in its order.
pub(super) const EVENT: &str =
    "seq, epoch, id, kind, status, user_id, user_kind, user_name, by_user, text, target, ts, client_id";

/// The same of a table that goes by another name.
pub(super) fn event_of(table: &str) -> String {
    EVENT.split(", ").map(|column| format!("{table}.{column}")).collect::<Vec<_>>().join(", ")
}

/// An event as it was written, from the columns that begin with `first`.
pub(super) fn event(label: &Arc<str>, row: &Row<'_>, first: usize) -> rusqlite::Result<Event> {
    let (by, client_id) = (first + 8, first + 12);
    let by =
        row.get_ref(by)?.as_str_or_null()?.map(serde_json::from_str).transpose().map_err(|_| wrong(by))?;
    Ok(Event {
        room: Arc::clone(label),
        seq: row.get(first)?,
        epoch: row.get(first + 1)?,
        id: row.get(first + 2)?,
        kind: parsed(row, first + 3)?,
        status: row.get_ref(first + 4)?.as_str_or_null()?.map(|_| Status::Deleted),
        user: user(row, first + 5)?,
        by,
        text: row.get(first + 9)?,
        target: row.get(first + 10)?,
        edited: None,
        ts: row.get(first + 11)?,
        client_id: maybe(row, client_id)?,
    })
}

/// Somebody, from the columns of their id, kind and name, which begin with `first`.
pub(super) fn user(row: &Row<'_>, first: usize) -> rusqlite::Result<User> {
    Ok(User { id: row.get(first)?, kind: parsed(row, first + 1)?, name: parsed(row, first + 2)? })
}

/// A word of ours, if there is one.
pub(super) fn maybe<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    row.get_ref(column)?.as_str_or_null()?.map(str::parse).transpose().map_err(|_| wrong(column))
}

/// A word of ours.
pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|_| wrong(column))
}

fn wrong(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        rusqlite::types::Type::Text,
        "a value that this program never wrote".into(),
    )
}

macro_rules! blob_id {
    ($($id:ident),*) => {$(
        impl ToSql for $id {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(&self.0.as_bytes()[..]))
            }
        }
        impl FromSql for $id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Uuid::from_slice(value.as_blob()?).map($id).map_err(|_| FromSqlError::InvalidType)
            }
        }
    )*};
}
blob_id!(RoomId, UserId);

impl ToSql for Seq {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // Seqs end at 2^53.
        Ok(ToSqlOutput::from(self.0.cast_signed()))
    }
}

impl FromSql for Seq {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u64::column_result(value).map(Seq)
    }
}

impl ToSql for Epoch {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0))
    }
}

impl FromSql for Epoch {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u32::column_result(value).map(Epoch)
    }
}
