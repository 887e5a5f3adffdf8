//! What happened in the rooms of a person: their newest entries, without a hole.

use rusqlite::{OptionalExtension, params};

use super::batch::{Batch, Made};
use crate::{
    event::{Frame, LogId, MOST_ENTRIES, RoomId, Seq, UserId},
    log::Notice,
};

/// Entries that an inbox may have too many before they are taken away, all at once.
const SLACK: u64 = 64;

impl Batch<'_> {
    /// Adds an entry that points to an event of a room.
    pub(super) fn point(&mut self, user: UserId, room: RoomId, frame: &Frame) -> rusqlite::Result<()> {
        let inbox = RoomId(user.0);
        let (cursor, _) = self.advance(inbox, Made::Inbox)?;
        self.connection
            .prepare_cached(
                "INSERT INTO inbox (user_id, seq, epoch, room_id, room_seq) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![user, cursor.seq, cursor.epoch, room, frame.cursor.seq])?;
        self.notices.push(Notice::Appended(LogId(user.0), frame.pointed_to(room, cursor)));
        if cursor.seq.0.is_multiple_of(SLACK) {
            let first: Option<Seq> = self
                .connection
                .prepare_cached(
                    "SELECT seq FROM inbox WHERE user_id = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2",
                )?
                .query_row(params![user, MOST_ENTRIES - 1], |row| row.get(0))
                .optional()?;
            if let Some(first) = first {
                self.cut(user, first)?;
            }
        }
        Ok(())
    }

    /// Takes away the entries that point to events that retention took. Those are the oldest of all events, so they
    /// are the oldest entries too.
    pub(super) fn cut_taken(&mut self, user: UserId) -> rusqlite::Result<()> {
        let first: Option<Seq> = self
            .connection
            .prepare_cached(
                "SELECT seq FROM inbox WHERE user_id = ?1 AND EXISTS
                 (SELECT 1 FROM messages WHERE room_id = inbox.room_id AND messages.seq = inbox.room_seq)
                 ORDER BY seq LIMIT 1",
            )?
            .query_row([user], |row| row.get(0))
            .optional()?;
        let end = self.head(RoomId(user.0))?.tip().next();
        self.cut(user, first.unwrap_or(end))
    }

    /// Takes away the entries below `first`.
    fn cut(&mut self, user: UserId, first: Seq) -> rusqlite::Result<()> {
        let cut = self
            .connection
            .prepare_cached("DELETE FROM inbox WHERE user_id = ?1 AND seq < ?2")?
            .execute(params![user, first])?;
        if cut > 0 {
            self.connection
                .prepare_cached("UPDATE rooms SET first_seq = ?2 WHERE id = ?1")?
                .execute(params![user, first])?;
            self.notices.push(Notice::Trimmed(LogId(user.0), first));
        }
        Ok(())
    }
}
