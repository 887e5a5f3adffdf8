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
    "seq, epoch, id, kind, status, user_id, user_kind, user_name, text, target, ts, client_id";

/// An event as it was written.
pub(super) fn event(label: &Arc<str>, row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        room: Arc::clone(label),
        seq: row.get(0)?,
        epoch: row.get(1)?,
        id: row.get(2)?,
        kind: parsed(row, 3)?,
        status: row.get_ref(4)?.as_str_or_null()?.map(|_| Status::Deleted),
        user: User { id: row.get(5)?, kind: parsed(row, 6)?, name: parsed(row, 7)? },
        text: row.get(8)?,
        target: row.get(9)?,
        edited: None,
        ts: row.get(10)?,
        client_id: row.get_ref(11)?.as_str_or_null()?.map(str::parse).transpose().map_err(|_| wrong(11))?,
    })
}

fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
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
