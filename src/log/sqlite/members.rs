//! People, rooms with members, and how far they have read.

use rusqlite::{OptionalExtension, params};

use super::{Batch, SqliteLog, write::Answer};
use crate::{
    event::{Ban, ListPlace, Listed, MemberRoom, Membership, NameQuery, NewRoom, RoomId, Seq, User, UserId},
    log::{Known, LogError, LogErrorKind},
};

mod bans;
mod list;
mod people;
mod rooms;

impl SqliteLog {
    pub(in crate::log) async fn know(&self, known: Known) -> Result<(), LogError> {
        self.queue.ask(move |batch| Ok(batch.know(&known)?)).await
    }

    pub(in crate::log) async fn person(&self, user: UserId) -> Result<Option<User>, LogError> {
        self.look(move |connection| people::person(connection, user)).await
    }

    pub(in crate::log) async fn search(
        &self,
        me: UserId,
        query: NameQuery,
        limit: usize,
    ) -> Result<Vec<User>, LogError> {
        self.look(move |connection| people::search(connection, me, &query, limit)).await
    }

    pub(in crate::log) async fn make_room(&self, room: NewRoom) -> Result<(MemberRoom, bool), LogError> {
        self.queue.ask(move |batch| batch.make_room(&room)).await
    }

    pub(in crate::log) async fn member_room(&self, room: RoomId) -> Result<Option<MemberRoom>, LogError> {
        self.look(move |connection| rooms::member_room(connection, room)).await
    }

    pub(in crate::log) async fn membership(
        &self,
        room: RoomId,
        user: UserId,
    ) -> Result<Option<Membership>, LogError> {
        self.look(move |connection| rooms::membership(connection, room, user)).await
    }

    pub(in crate::log) async fn rooms_of(
        &self,
        user: UserId,
        after: Option<ListPlace>,
        limit: usize,
    ) -> Result<Vec<Listed>, LogError> {
        self.look(move |connection| list::rooms_of(connection, user, after, limit)).await
    }

    pub(in crate::log) async fn contacts(&self, user: UserId, limit: usize) -> Result<Vec<UserId>, LogError> {
        self.look(move |connection| rooms::contacts(connection, user, limit)).await
    }

    pub(in crate::log) async fn member_ids(&self, room: RoomId) -> Result<Vec<UserId>, LogError> {
        self.look(move |connection| rooms::member_ids(connection, room)).await
    }

    pub(in crate::log) async fn mark_read(
        &self,
        room: RoomId,
        user: UserId,
        seq: Seq,
    ) -> Result<Option<Seq>, LogError> {
        self.queue.ask(move |batch| batch.mark_read(room, user, seq)).await
    }

    pub(in crate::log) async fn ban(
        &self,
        ban: Ban,
        by: Option<UserId>,
        reason: Option<String>,
    ) -> Result<(), LogError> {
        self.queue.ask(move |batch| Ok(batch.ban(&ban, by, reason.as_deref())?)).await
    }

    pub(in crate::log) async fn bans(&self, after: i64) -> Result<Vec<(i64, Ban)>, LogError> {
        self.look(move |connection| bans::bans(connection, after)).await
    }
}

impl Batch<'_> {
    /// Moves a member's mark on, at most to the end of the log; gives it if it moved.
    fn mark_read(&mut self, room: RoomId, user: UserId, seq: Seq) -> Answer<Option<Seq>> {
        let read = self
            .connection
            .prepare_cached("SELECT read_seq FROM participants WHERE room_id = ?1 AND user_id = ?2")?
            .query_row(params![room, user], |row| row.get::<_, Seq>(0))
            .optional()?;
        let read = read.ok_or(LogErrorKind::NotFound)?;
        let mark = seq.min(self.head(room)?.tip());
        if mark <= read {
            return Ok(None);
        }
        self.connection
            .prepare_cached("UPDATE participants SET read_seq = ?3 WHERE room_id = ?1 AND user_id = ?2")?
            .execute(params![room, user, mark])?;
        Ok(Some(mark))
    }
}
