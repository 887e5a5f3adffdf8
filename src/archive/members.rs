//! Who is in the rooms that have members, and how far they have read. It follows from the rooms' logs: a join or a
//! leave counts when it is later than the last that did, so batches may come twice and in any order.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::{Conn, Row, Value, prelude::Queryable};

use super::{
    Archive, ArchiveError, room,
    rows::{Columns, id},
    shapes::{Insert, in_list, select_in},
    transaction::Work,
};
use crate::{
    clock,
    event::{Entry, EventKind, Extent, Membership, Name, NewRoom, Role, RoomId, Seq, Shape, User, UserId},
};

/// Somebody who is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Who.
    pub user: UserId,
    /// What they are there.
    pub membership: Membership,
    /// Up to where they have read.
    pub read: Seq,
}

/// A room with members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathering {
    /// Of what kind.
    pub shape: Shape,
    /// A group's, if it was given one.
    pub name: Option<Name>,
    /// Who is in it.
    pub members: Vec<Participant>,
    /// The same people, by the names that they have now.
    pub people: Vec<User>,
}

/// How far people have read rooms.
pub type Marks = BTreeMap<(RoomId, UserId), Seq>;

/// Bytes of one statement here: rows are short.
const MAX_BYTES: usize = 1 << 19;

impl Archive {
    /// Makes a room with members: true when it is new, false when it was there. `None` when one of them is nobody.
    pub async fn make_room(&self, new: &NewRoom) -> Result<Option<bool>, ArchiveError> {
        self.transact(&Make(new)).await
    }

    /// The members of a room; `None` when there is no such room, or it has none by its kind.
    pub async fn members(&self, room: RoomId) -> Result<Option<Vec<Participant>>, ArchiveError> {
        let sql = "SELECT participants.user_id, participants.kind, from_seq, read_seq
                   FROM rooms LEFT JOIN participants ON room_id = rooms.id AND left_seq IS NULL
                   WHERE rooms.id = ? AND rooms.kind <> 'open'";
        let found = self.rows(sql, vec![id(room.0)], |row| match row.hash()? {
            Some(user) => participant(UserId(uuid::Uuid::from_bytes(user)), row).map(Some),
            None => Ok(None),
        });
        let found = found.await?;
        Ok((!found.is_empty()).then(|| found.into_iter().flatten().collect()))
    }

    /// What somebody is in a room.
    pub async fn membership(&self, room: RoomId, user: UserId) -> Result<Option<Membership>, ArchiveError> {
        let sql = "SELECT kind, from_seq, read_seq FROM participants
                   WHERE room_id = ? AND user_id = ? AND left_seq IS NULL";
        let found = self.rows(sql, vec![id(room.0), id(user.0)], |row| participant(user, row));
        Ok(found.await?.pop().map(|participant| participant.membership))
    }

    /// What somebody is in those of these rooms that they are in.
    pub async fn memberships(
        &self,
        user: UserId,
        rooms: &[RoomId],
    ) -> Result<Vec<(RoomId, Membership)>, ArchiveError> {
        let mut found = Vec::with_capacity(rooms.len());
        for chunk in rooms.chunks(1000) {
            let keys: Vec<Vec<Value>> = chunk.iter().map(|room| vec![id(room.0)]).collect();
            let sql = "SELECT room_id, kind, from_seq, read_seq FROM participants
                       WHERE user_id = ? AND left_seq IS NULL AND room_id IN";
            let (sql, params) = in_list(sql, &[id(user.0)], &keys, "");
            let member = |row: &mut Columns| {
                let room = RoomId(row.id()?);
                Ok((room, participant(user, row)?.membership))
            };
            found.append(&mut self.rows(&sql, params, member).await?);
        }
        Ok(found)
    }

    /// A room with its members; `None` as of [`Archive::members`].
    pub async fn gathering(&self, room: RoomId) -> Result<Option<Gathering>, ArchiveError> {
        let sql = "SELECT rooms.kind, rooms.name, users.id, users.kind, users.name, participants.kind,
                   from_seq, read_seq
                   FROM rooms LEFT JOIN participants ON room_id = rooms.id AND left_seq IS NULL
                   LEFT JOIN users ON users.id = user_id WHERE rooms.id = ? AND rooms.kind <> 'open'";
        let mut gathering: Option<Gathering> = None;
        let found = self.rows(sql, vec![id(room.0)], |row| {
            let (shape, name) = (row.parsed()?, name(row)?);
            let member = match row.is_null() {
                true => None,
                false => Some(row.user().and_then(|user| Ok((participant(user.id, row)?, user)))?),
            };
            Ok((shape, name, member))
        });
        for (shape, name, member) in found.await? {
            let gathering = gathering.get_or_insert_with(|| Gathering::empty(shape, name));
            gathering.extend(member);
        }
        Ok(gathering)
    }

    /// Who shares a room with somebody, those of the newest activity first.
    pub async fn contacts(&self, user: UserId, limit: usize) -> Result<Vec<UserId>, ArchiveError> {
        let sql = "SELECT other.user_id FROM participants mine JOIN rooms ON rooms.id = mine.room_id
                   JOIN participants other ON other.room_id = mine.room_id AND other.left_seq IS NULL
                   AND other.user_id <> mine.user_id
                   WHERE mine.user_id = ? AND mine.left_seq IS NULL
                   GROUP BY other.user_id ORDER BY MAX(last_ts) DESC, other.user_id LIMIT ?";
        let params: Vec<Value> = vec![id(user.0), limit.into()];
        self.rows(sql, params, |row| Ok(UserId(row.id()?))).await
    }

    /// Keeps how far people have read; what was further before stays.
    pub async fn mark(&self, marks: &Marks) -> Result<(), ArchiveError> {
        self.transact(&Mark(marks)).await
    }

    /// Somebody has read a room up to there, at most to its end: the mark if it moved, and else nothing. `None` when
    /// they are no member.
    pub async fn mark_one(
        &self,
        room: RoomId,
        user: UserId,
        seq: Seq,
    ) -> Result<Option<Option<Seq>>, ArchiveError> {
        self.transact(&MarkOne { room, user, seq }).await
    }
}

impl Gathering {
    pub(super) fn empty(shape: Shape, name: Option<Name>) -> Self {
        Gathering { shape, name, members: Vec::new(), people: Vec::new() }
    }

    pub(super) fn extend(&mut self, members: impl IntoIterator<Item = (Participant, User)>) {
        for (member, user) in members {
            self.members.push(member);
            self.people.push(user);
        }
    }
}

/// kind, from_seq, read_seq
pub(super) fn participant(user: UserId, row: &mut Columns) -> Result<Participant, ArchiveError> {
    let membership = Membership { role: row.parsed()?, from: row.seq()? };
    Ok(Participant { user, membership, read: row.seq()? })
}

/// A room's name.
pub(super) fn name(row: &mut Columns) -> Result<Option<Name>, ArchiveError> {
    if row.is_null() {
        row.skip(1);
        return Ok(None);
    }
    row.parsed().map(Some)
}

struct Make<'a>(&'a NewRoom);

impl Work for Make<'_> {
    type Output = Option<bool>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<bool>, ArchiveError> {
        let NewRoom { id: room, shape, name, maker, others } = self.0;
        let others: BTreeSet<UserId> = others.iter().copied().filter(|other| *other != maker.id).collect();
        let keys: Vec<Vec<Value>> = others.iter().map(|user| vec![id(user.0)]).collect();
        if !keys.is_empty() {
            let known = select_in(conn, "SELECT id FROM users WHERE id IN", &[], &keys, "").await?;
            if known.len() < keys.len() {
                return Ok(None);
            }
        }
        let losses = room::losses_to_stay(conn).await?;
        let empty = Extent::empty(losses);
        let now = clock::millis();
        let row: Vec<Value> = vec![
            id(room.0),
            shape.as_str().into(),
            name.as_ref().map(Name::as_str).into(),
            empty.epoch.0.into(),
            empty.base.0.into(),
            empty.tip.0.into(),
            empty.first.0.into(),
            now.into(),
            losses.into(),
            now.into(),
        ];
        let rooms = Insert {
            into: "rooms (id, kind, name, epoch, base, tip, first_seq, last_ts, losses, created)",
            otherwise: "id = id",
            max_bytes: MAX_BYTES,
        };
        if rooms.run(conn, &[row]).await? == 0 {
            return Ok(Some(false));
        }
        let owner = if *shape == Shape::Group { Role::Owner } else { Role::Member };
        let members = others.iter().map(|other| (*other, Role::Member)).chain([(maker.id, owner)]);
        let row = |(user, role): (UserId, Role)| -> Vec<Value> {
            vec![id(room.0), id(user.0), role.as_str().into(), empty.first.0.into(), Value::NULL, 0.into()]
        };
        let rows: Vec<Vec<Value>> = members.map(row).collect();
        insert("user_id = user_id").run(conn, &rows).await?;
        let person: Vec<Value> =
            vec![id(maker.id.0), maker.kind.as_str().into(), maker.name.as_str().into(), now.into()];
        conn.exec_drop(
            "INSERT INTO users (id, kind, name, created) VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE id = id",
            person,
        )
        .await?;
        Ok(Some(true))
    }
}

fn insert(otherwise: &str) -> Insert<'_> {
    let into = "participants (room_id, user_id, kind, from_seq, left_seq, read_seq)";
    Insert { into, otherwise, max_bytes: MAX_BYTES }
}

/// Assignments are made from the left, each seeing those before it. `VALUES(from_seq)` is the seq of the join or the
/// leave in both. Who was a member all the time is the maker, whose join begins the log.
const CHANGED: &str = "
    read_seq = GREATEST(read_seq, VALUES(read_seq)),
    kind = IF(VALUES(left_seq) IS NULL AND VALUES(from_seq) > GREATEST(from_seq, left_seq), VALUES(kind), kind),
    from_seq = IF(VALUES(left_seq) IS NULL AND VALUES(from_seq) > GREATEST(from_seq, COALESCE(left_seq, 0)),
        VALUES(from_seq), from_seq),
    left_seq = IF(VALUES(left_seq) > GREATEST(from_seq, COALESCE(left_seq, 0)), VALUES(left_seq),
        IF(left_seq < from_seq, NULL, left_seq))";

const READ: &str = "read_seq = GREATEST(read_seq, VALUES(read_seq))";

/// Members follow the entries of a batch, which are in the order of rooms and seqs; and whoever spoke has read as far.
pub(super) async fn follow(conn: &mut Conn, entries: &[&Entry]) -> Result<(), ArchiveError> {
    let mut changes: Vec<Vec<Value>> = Vec::new();
    let mut marks = Marks::new();
    for entry in entries.iter().filter(|entry| entry.has_members()) {
        let (user, seq) = (entry.event.user.id, entry.event.seq);
        let left_and_read = match entry.event.kind {
            EventKind::Join => (Value::NULL, seq.before().0),
            EventKind::Leave => (seq.0.into(), 0),
            EventKind::Message => {
                let mark = marks.entry((entry.room, user)).or_insert(seq);
                *mark = seq.max(*mark);
                continue;
            }
            EventKind::Edit | EventKind::Delete => continue,
        };
        let (left, read) = left_and_read;
        let role = Role::Member.as_str().into();
        changes.push(vec![id(entry.room.0), id(user.0), role, seq.0.into(), left, read.into()]);
    }
    insert(CHANGED).run(conn, &changes).await?;
    insert(READ).run(conn, &marked(&marks)).await.map(drop)
}

/// Marks as rows. Who has none yet is no member until their join comes in, whatever its seq.
fn marked(marks: &Marks) -> Vec<Vec<Value>> {
    let row = |((room, user), seq): (&(RoomId, UserId), &Seq)| -> Vec<Value> {
        let role = Role::Member.as_str().into();
        vec![id(room.0), id(user.0), role, 0.into(), 0.into(), seq.0.into()]
    };
    marks.iter().map(row).collect()
}

struct Mark<'a>(&'a Marks);

impl Work for Mark<'_> {
    type Output = ();

    async fn run(&self, conn: &mut Conn) -> Result<(), ArchiveError> {
        insert(READ).run(conn, &marked(self.0)).await.map(drop)
    }
}

struct MarkOne {
    room: RoomId,
    user: UserId,
    seq: Seq,
}

impl Work for MarkOne {
    type Output = Option<Option<Seq>>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<Option<Seq>>, ArchiveError> {
        let sql = "SELECT tip, read_seq FROM participants JOIN rooms ON rooms.id = room_id
                   WHERE room_id = ? AND user_id = ? AND left_seq IS NULL FOR UPDATE";
        let found: Option<Row> = conn.exec_first(sql, vec![id(self.room.0), id(self.user.0)]).await?;
        let Some(mut found) = found.map(Columns::new) else { return Ok(None) };
        let seq = self.seq.min(found.seq()?);
        if seq <= found.seq()? {
            return Ok(Some(None));
        }
        let params: Vec<Value> = vec![seq.0.into(), id(self.room.0), id(self.user.0)];
        let update = "UPDATE participants SET read_seq = ? WHERE room_id = ? AND user_id = ?";
        conn.exec_drop(update, params).await?;
        Ok(Some(Some(seq)))
    }
}
