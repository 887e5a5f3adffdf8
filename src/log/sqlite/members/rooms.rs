//! Rooms with members, and who is in them.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    event::{
        Extent, MOST_MEMBERS, Member, MemberRoom, Membership, Name, NewRoom, Role, RoomId, Seq, Shape, UserId,
    },
    log::{
        LogErrorKind,
        sqlite::{Batch, rows, write::Answer},
    },
};

impl Batch<'_> {
    /// Makes a room and its members, all at once; `false` when it is there already.
    pub(super) fn make_room(&mut self, new: &NewRoom) -> Answer<(MemberRoom, bool)> {
        if let Some(room) = member_room(self.connection, new.id)? {
            return Ok((room, false));
        }
        let mut known = BTreeSet::from([new.maker.id]);
        let others: Vec<UserId> = new.others.iter().copied().filter(|user| known.insert(*user)).collect();
        if others.len() >= MOST_MEMBERS {
            return Err(LogErrorKind::Crowded.into());
        }
        for other in &others {
            if super::people::person(self.connection, *other)?.is_none() {
                return Err(LogErrorKind::NotFound.into());
            }
        }
        self.keep_person(&new.maker)?;
        let Extent { epoch, tip, first, .. } = self.empty();
        self.connection
            .prepare_cached(
                "INSERT INTO rooms (id, kind, name, epoch, base, tip, first_seq, last_ts, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?7)",
            )?
            .execute(params![
                new.id,
                new.shape.as_str(),
                new.name.as_ref().map(Name::as_str),
                epoch,
                tip,
                first,
                self.now
            ])?;
        self.look_again(new.id);
        let maker = match new.shape {
            Shape::Direct => Role::Member,
            Shape::Group => Role::Owner,
        };
        // They see everything, whatever epoch it begins in.
        self.seat(new.id, new.maker.id, maker, Seq(1))?;
        for other in others {
            self.seat(new.id, other, Role::Member, Seq(1))?;
        }
        let room = member_room(self.connection, new.id)?.ok_or(LogErrorKind::NotFound)?;
        Ok((room, true))
    }
}

pub(super) fn member_room(connection: &Connection, room: RoomId) -> rusqlite::Result<Option<MemberRoom>> {
    let found = connection
        .prepare_cached("SELECT kind, name FROM rooms WHERE id = ?1 AND kind IN ('direct', 'group')")?
        .query_row([room], |row| Ok((rows::parsed(row, 0)?, rows::maybe(row, 1)?)))
        .optional()?;
    let Some((shape, name)) = found else { return Ok(None) };
    let members = connection
        .prepare_cached(
            "SELECT users.id, users.kind, users.name, role, read_seq FROM participants
             JOIN users ON users.id = user_id WHERE room_id = ?1 ORDER BY place",
        )?
        .query_map([room], |row| member(row, 0))?
        .collect::<Result<_, _>>()?;
    Ok(Some(MemberRoom::new(room, shape, name, members)))
}

/// A member, from the columns of a person, a role and a mark, which begin with `first`.
pub(super) fn member(row: &Row<'_>, first: usize) -> rusqlite::Result<Member> {
    Ok(Member {
        user: rows::user(row, first)?,
        role: rows::parsed(row, first + 3)?,
        read: row.get(first + 4)?,
    })
}

pub(super) fn membership(
    connection: &Connection,
    room: RoomId,
    user: UserId,
) -> rusqlite::Result<Option<Membership>> {
    connection
        .prepare_cached("SELECT role, from_seq FROM participants WHERE room_id = ?1 AND user_id = ?2")?
        .query_row(params![room, user], |row| {
            Ok(Membership { role: rows::parsed(row, 0)?, from: row.get(1)? })
        })
        .optional()
}

pub(super) fn member_ids(connection: &Connection, room: RoomId) -> rusqlite::Result<Vec<UserId>> {
    connection
        .prepare_cached("SELECT user_id FROM participants WHERE room_id = ?1 ORDER BY place")?
        .query_map([room], |row| row.get(0))?
        .collect()
}

/// Room by room, until there are enough: a large group may have them all.
pub(super) fn contacts(connection: &Connection, user: UserId, limit: usize) -> rusqlite::Result<Vec<UserId>> {
    let mut rooms = connection.prepare_cached(
        "SELECT rooms.id FROM participants JOIN rooms ON rooms.id = room_id
         WHERE user_id = ?1 ORDER BY last_ts DESC, rooms.id DESC",
    )?;
    let mut rooms = rooms.query([user])?;
    let mut seen = BTreeSet::from([user]);
    let mut contacts = Vec::new();
    while let Some(room) = rooms.next()? {
        for other in member_ids(connection, room.get(0)?)? {
            if contacts.len() >= limit {
                return Ok(contacts);
            }
            if seen.insert(other) {
                contacts.push(other);
            }
        }
    }
    Ok(contacts)
}
