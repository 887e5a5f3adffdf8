//! Somebody's rooms, those of the newest activity first.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use mysql_async::Value;
use uuid::Uuid;

use super::{
    Archive, ArchiveError,
    members::{self, Gathering, Participant},
    rows::{self, Columns, id},
    shapes::in_list,
};
use crate::event::{Cursor, Event, ListPlace, RoomId, Seq, User, UserId};

/// Which rooms are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// Whose.
    pub user: UserId,
    /// Those behind this place, from the first on without one.
    pub after: Option<ListPlace>,
    /// So many of them.
    pub limit: usize,
    /// And these, whether they are theirs or not; up to 1,000.
    pub also: &'a [RoomId],
}

/// A room as the archive has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which, with its place in the list.
    pub place: ListPlace,
    /// Who is in it.
    pub gathering: Gathering,
    /// The end of its log.
    pub tip: Cursor,
    /// What the room is to the one who asks; `None` when they are no member.
    pub mine: Option<Mine>,
}

/// A room as one of its members finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mine {
    /// The last event.
    pub last: Option<Event>,
    /// Up to where they have read.
    pub read: Seq,
}

/// `page` has a LIMIT, so that each of its rooms is looked at once and not once for each member. Members have a row each,
/// and the last event stands in the asker's.
static LIST: LazyLock<[String; 2]> = LazyLock::new(|| {
    let before = "WITH newest AS (
            SELECT rooms.id FROM participants JOIN rooms ON rooms.id = participants.room_id
            WHERE participants.user_id = ? AND left_seq IS NULL
            AND (last_ts < ? OR last_ts = ? AND rooms.id < ?) ORDER BY last_ts DESC, rooms.id DESC LIMIT ?
        ), picked AS (SELECT id FROM newest UNION SELECT id FROM rooms WHERE kind <> 'open' AND id IN";
    let after = format!(
        "), page AS (
            SELECT rooms.id, rooms.kind, rooms.name, epoch, tip, last_ts,
            (SELECT seq FROM messages FORCE INDEX (PRIMARY) WHERE room_id = rooms.id
             ORDER BY room_id DESC, seq DESC LIMIT 1) AS last_seq
            FROM picked JOIN rooms ON rooms.id = picked.id LIMIT {MOST}
        )
        SELECT page.id, page.kind, page.name, page.epoch, tip, last_ts,
        users.id, users.kind, users.name, member.kind, from_seq, read_seq, {}
        FROM page LEFT JOIN participants member ON member.room_id = page.id AND member.left_seq IS NULL
        LEFT JOIN users ON users.id = member.user_id
        LEFT JOIN messages last ON last.room_id = page.id AND last.seq = last_seq AND member.user_id = ?",
        rows::event_of("last")
    );
    [before.to_owned(), after]
});

/// More rooms than are ever asked for at once.
const MOST: usize = 10_000;
/// Rooms of one statement that counts: the smallest that is enough is taken, so that few are to be prepared.
const COUNTED: [usize; 4] = [1, 10, 30, 100];

impl Archive {
    /// Rooms of somebody, in no order, in one statement.
    pub async fn list(&self, pick: &Pick<'_>) -> Result<Vec<Row>, ArchiveError> {
        let me = || id(pick.user.0);
        let (ts, room) = pick.after.map_or((i64::MAX, Uuid::max()), |ListPlace { ts, room }| (ts, room.0));
        let first: [Value; 5] = [me(), ts.into(), ts.into(), id(room), pick.limit.into()];
        let mut also: Vec<Vec<Value>> = pick.also.iter().map(|room| vec![id(room.0)]).collect();
        if also.is_empty() {
            also.push(vec![id(Uuid::nil())]);
        }
        let [before, after] = &*LIST;
        let (sql, mut params) = in_list(before, &first, &also, after);
        params.push(me());
        let mut found: Vec<Row> = Vec::new();
        let mut at: HashMap<RoomId, usize> = HashMap::new();
        for (mut row, members) in self.rows(&sql, params, |row| one(pick.user, row)).await? {
            let index = *at.entry(row.place.room).or_insert(found.len());
            match found.get_mut(index) {
                Some(known) => {
                    known.gathering.extend(members);
                    known.mine = known.mine.take().or(row.mine);
                }
                None => {
                    row.gathering.extend(members);
                    found.push(row);
                }
            }
        }
        Ok(found)
    }

    /// Up to `limit` messages of others that stand above a place, of each of these rooms: of up to 100 in one statement,
    /// which looks at what it counts and at no message before.
    pub async fn unread(
        &self,
        user: UserId,
        above: &[(RoomId, Seq)],
        limit: usize,
    ) -> Result<Vec<(RoomId, Seq)>, ArchiveError> {
        const ONE: &str =
            "(SELECT room_id, seq FROM messages WHERE room_id = ? AND seq > ? AND kind = 'message'
                           AND status IS NULL AND user_id <> ? ORDER BY seq LIMIT ?)";
        let mut found = Vec::new();
        for rooms in above.chunks(COUNTED[3]) {
            let shape = COUNTED.into_iter().find(|shape| *shape >= rooms.len()).unwrap_or(COUNTED[3]);
            let nowhere = (RoomId(Uuid::nil()), Seq(0));
            let padded = rooms.iter().chain(std::iter::repeat(&nowhere)).take(shape);
            let params = padded.flat_map(|(room, seq)| -> [Value; 4] {
                [id(room.0), seq.0.into(), id(user.0), limit.into()]
            });
            let sql = vec![ONE; shape].join(" UNION ALL ");
            let unread =
                self.rows(&sql, params.collect::<Vec<_>>(), |row| Ok((RoomId(row.id()?), row.seq()?)));
            found.append(&mut unread.await?);
        }
        Ok(found)
    }
}

/// A room, without its members, and the member of this row.
fn one(me: UserId, row: &mut Columns) -> Result<(Row, Option<(Participant, User)>), ArchiveError> {
    let room = RoomId(row.id()?);
    let gathering = Gathering::empty(row.parsed()?, members::name(row)?);
    let tip = Cursor { epoch: row.epoch()?, seq: row.seq()? };
    let ts = row.take()?;
    let mut found = Row { place: ListPlace { ts, room }, gathering, tip, mine: None };
    if row.is_null() {
        return Ok((found, None));
    }
    let user = row.user()?;
    let member = members::participant(user.id, row)?;
    if user.id == me {
        let last = match row.is_null() {
            true => None,
            false => Some(rows::event(&Arc::from(room.0.to_string()), row)?),
        };
        found.mine = Some(Mine { last, read: member.read });
    }
    Ok((found, Some((member, user))))
}
