//! What is added to a room's log: checked first, then numbered and kept, with all that changes by it.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::{
    Answer,
    batch::{Batch, Made},
};
use crate::{
    event::{
        ClientId, Draft, Event, EventKind, Frame, MOST_MEMBERS, Right, Role, RoomId, RoomKind, Seq, User,
        UserId,
    },
    log::{
        Ack, Append, LogErrorKind, Notice, Placed,
        sqlite::keys::{self, Known},
    },
};

impl Batch<'_> {
    /// Checks first, effects after: an append that is refused has changed nothing.
    pub(in crate::log::sqlite) fn append(&mut self, append: &Append) -> Answer<Placed> {
        let members = match append.room.kind {
            RoomKind::Open => None,
            RoomKind::Members => Some(self.members(append.room.id)?),
            RoomKind::Inbox => return Err(LogErrorKind::NotFound.into()),
        };
        self.check(append, members.as_deref())?;
        if let Some(placed) = self.find_first(append)? {
            return Ok(placed);
        }
        let event = self.number(append)?;
        self.insert(append, &event)?;
        self.follow(append, &event)?;
        let frame = Frame::new(&event);
        self.notices.push(Notice::Appended(append.room.id.into(), frame.clone()));
        if let Some(members) = members {
            self.deliver(&members, append, &frame)?;
        }
        let cursor = event.cursor();
        let placed = Placed { id: event.id, cursor, ts: event.ts, duplicate: false, durability: Ack::Stored };
        if let Draft::Message { text, client_id: Some(key) } = &append.draft {
            keys::keep(self.connection, append.room.id, append.who, key, text, &placed)?;
        }
        Ok(placed)
    }

    pub(super) fn members(&self, room: RoomId) -> rusqlite::Result<Vec<UserId>> {
        self.connection
            .prepare_cached("SELECT user_id FROM participants WHERE room_id = ?1")?
            .query_map([room], |row| row.get(0))?
            .collect()
    }

    /// May they? `members`: of a room that has members.
    fn check(&self, append: &Append, members: Option<&[UserId]>) -> Answer<()> {
        let is_in = |user: UserId| members.is_none_or(|members| members.contains(&user));
        let (room, actor) = (append.room.id, append.user.id);
        let by_right = matches!(append.draft, Draft::Delete { right: Right::Moderator, .. });
        let of_leave = matches!(append.draft, Draft::Leave { .. });
        if !is_in(actor) && !by_right && !of_leave {
            return Err(LogErrorKind::NotFound.into());
        }
        match &append.draft {
            Draft::Message { .. } => Ok(()),
            // An open room goes by its slug alone.
            Draft::Delete { .. } if members.is_some_and(<[_]>::is_empty) && self.is_open(room)? => {
                Err(LogErrorKind::NotFound.into())
            }
            Draft::Edit { target, .. } => self.check_standing(room, *target, Some(actor)),
            Draft::Delete { target, .. } => self.check_standing(room, *target, (!by_right).then_some(actor)),
            Draft::Open | Draft::Join { .. } | Draft::Leave { .. } if members.is_none() => {
                Err(LogErrorKind::NotFound.into())
            }
            Draft::Open if self.has_begun(room)? => Err(LogErrorKind::NoChange.into()),
            Draft::Open => Ok(()),
            Draft::Join { member } if is_in(member.id) => Err(LogErrorKind::NoChange.into()),
            Draft::Join { .. } if members.is_some_and(|members| members.len() >= MOST_MEMBERS) => {
                Err(LogErrorKind::Crowded.into())
            }
            Draft::Join { .. } => Ok(()),
            Draft::Leave { member } if is_in(member.id) => Ok(()),
            Draft::Leave { member } if member.id == actor => Err(LogErrorKind::NotFound.into()),
            Draft::Leave { .. } => Err(LogErrorKind::NoChange.into()),
        }
    }

    fn is_open(&self, room: RoomId) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM rooms WHERE id = ?1 AND kind = 'open')")?
            .query_row([room], |row| row.get(0))
    }

    /// Is there such a message, of this author if one has to be?
    fn check_standing(&self, room: RoomId, target: Seq, author: Option<UserId>) -> Answer<()> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT user_id FROM messages
                 WHERE room_id = ?1 AND seq = ?2 AND kind = 'message' AND status IS NULL",
            )?
            .query_row(params![room, target], |row| row.get::<_, UserId>(0))
            .optional()?;
        match (found, author) {
            (None, _) => Err(LogErrorKind::NotFound.into()),
            (Some(found), Some(author)) if found != author => Err(LogErrorKind::NotYours.into()),
            (Some(_), _) => Ok(()),
        }
    }

    /// Has a room that was made ever had an event? In any epoch, whether it is still kept or not.
    fn has_begun(&self, room: RoomId) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM messages WHERE room_id = ?1)
                 OR EXISTS (SELECT 1 FROM rooms WHERE id = ?1 AND tip > base)
                 OR EXISTS (SELECT 1 FROM epochs WHERE room_id = ?1 AND last > base)",
            )?
            .query_row([room], |row| row.get(0))
    }

    /// What was answered when this was said with the same key before.
    fn find_first(&self, append: &Append) -> Answer<Option<Placed>> {
        let Draft::Message { text, client_id: Some(key) } = &append.draft else { return Ok(None) };
        match keys::find(self.connection, append.room.id, append.who, key, text, self.now)? {
            Known::Fresh => Ok(None),
            Known::Same(placed) => Ok(Some(placed)),
            Known::Other => Err(LogErrorKind::KeyReused.into()),
        }
    }

    /// The next event of the room.
    fn number(&mut self, append: &Append) -> rusqlite::Result<Event> {
        let made = match append.room.kind {
            RoomKind::Open => Made::Open(&append.room.label),
            RoomKind::Members | RoomKind::Inbox => Made::Before,
        };
        let (cursor, ts) = self.advance(append.room.id, made)?;
        let by_another = |member: &User| (member.id != append.user.id).then(|| append.user.clone());
        let mut event = Event {
            room: append.room.label.clone(),
            epoch: cursor.epoch,
            seq: cursor.seq,
            id: Uuid::now_v7(),
            kind: EventKind::Message,
            target: None,
            user: append.user.clone(),
            by: None,
            text: None,
            status: None,
            edited: None,
            ts,
            client_id: None,
        };
        match &append.draft {
            Draft::Message { text, client_id } => {
                event.text = Some(text.shared());
                event.client_id.clone_from(client_id);
            }
            Draft::Edit { target, text } => {
                event.kind = EventKind::Edit;
                event.target = Some(*target);
                event.text = Some(text.shared());
            }
            Draft::Delete { target, .. } => {
                event.kind = EventKind::Delete;
                event.target = Some(*target);
            }
            Draft::Open => event.kind = EventKind::Join,
            Draft::Join { member } => {
                event.kind = EventKind::Join;
                event.by = by_another(member);
                event.user = member.clone();
            }
            Draft::Leave { member } => {
                event.kind = EventKind::Leave;
                event.by = by_another(member);
                event.user = member.clone();
            }
        }
        Ok(event)
    }

    fn insert(&mut self, append: &Append, event: &Event) -> rusqlite::Result<()> {
        // A moderator need not be anybody.
        if !matches!(append.draft, Draft::Delete { right: Right::Moderator, .. }) {
            self.keep_person(&event.user)?;
        }
        let by = event.by.as_ref().map(|by| serde_json::to_string(by).expect("a person is plain data"));
        let is_counted = append.room.kind == RoomKind::Members && event.kind == EventKind::Message;
        self.connection
            .prepare_cached(
                "INSERT INTO messages (room_id, seq, epoch, id, kind, user_id, user_kind, user_name, by_user,
                 text, target, ts, client_id, counted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(params![
                append.room.id,
                event.seq,
                event.epoch,
                event.id,
                event.kind.as_str(),
                event.user.id,
                event.user.kind.as_str(),
                event.user.name.as_str(),
                by,
                event.text,
                event.target,
                event.ts,
                event.client_id.as_ref().map(ClientId::as_str),
                is_counted.then_some(1),
            ])?;
        Ok(())
    }

    /// What is another for this event.
    fn follow(&self, append: &Append, event: &Event) -> rusqlite::Result<()> {
        let room = append.room.id;
        match &append.draft {
            Draft::Open => {}
            Draft::Message { .. } if append.room.kind == RoomKind::Members => {
                self.connection
                    .prepare_cached(
                        "UPDATE participants SET read_seq = ?3 WHERE room_id = ?1 AND user_id = ?2",
                    )?
                    .execute(params![room, append.user.id, event.seq])?;
            }
            Draft::Message { .. } => {}
            Draft::Edit { target, .. } => {
                self.connection
                    .prepare_cached("UPDATE messages SET edit_seq = ?3 WHERE room_id = ?1 AND seq = ?2")?
                    .execute(params![room, target, event.seq])?;
            }
            Draft::Delete { target, .. } => {
                self.connection
                    .prepare_cached(
                        "UPDATE messages SET text = '', status = 'deleted', counted = NULL
                         WHERE room_id = ?1 AND (seq = ?2 OR (target = ?2 AND kind = 'edit'))",
                    )?
                    .execute(params![room, target])?;
            }
            Draft::Join { member } => self.seat(room, member.id, Role::Member, event.seq)?,
            Draft::Leave { member } => {
                self.connection
                    .prepare_cached("DELETE FROM participants WHERE room_id = ?1 AND user_id = ?2")?
                    .execute(params![room, member.id])?;
            }
        }
        Ok(())
    }

    /// Somebody is a member from here on.
    pub(in crate::log::sqlite) fn seat(
        &self,
        room: RoomId,
        user: UserId,
        role: Role,
        from: Seq,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO participants (room_id, user_id, role, place, from_seq, read_seq)
                 SELECT ?1, ?2, ?3, COALESCE(MAX(place), 0) + 1, ?4, ?5 FROM participants WHERE room_id = ?1",
            )?
            .execute(params![room, user, role.as_str(), from, from.before()])?;
        Ok(())
    }

    /// Has inboxes point to the event: those of everybody who is a member now, and of who is not any more by it.
    fn deliver(&mut self, before: &[UserId], append: &Append, frame: &Frame) -> rusqlite::Result<()> {
        for user in before {
            self.point(*user, append.room.id, frame)?;
        }
        if let Draft::Join { member } = &append.draft {
            self.point(member.id, append.room.id, frame)?;
        }
        Ok(())
    }
}
