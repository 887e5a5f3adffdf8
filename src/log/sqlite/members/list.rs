//! Somebody's rooms, those with the newest activity first.

use std::{cmp::Reverse, collections::HashMap, sync::LazyLock};

use rusqlite::{Connection, Row, params};

use super::rooms::member;
use crate::{
    event::{Cursor, ListPlace, Listed, MOST_UNREAD, Member, MemberRoom, Room, RoomId, UserId},
    log::sqlite::rows,
};

/// Columns before those of the event.
const EVENT: usize = 9;

/// A page in one statement: first its places, then a row each room with its last event, and a row each member. The
/// last event is never one that was edited since, for the edit would be the last. `CROSS` keeps the order of the joins:
/// left to itself, SQLite goes through the members of all rooms there are.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let event = rows::event_of("event");
    let nothing = rows::EVENT.split(", ").map(|_| "NULL").collect::<Vec<_>>().join(", ");
    format!(
        "WITH page AS MATERIALIZED (
             SELECT rooms.id, rooms.last_ts FROM participants mine CROSS JOIN rooms ON rooms.id = mine.room_id
             WHERE mine.user_id = ?1 AND (rooms.last_ts, rooms.id) < (?2, ?3)
             ORDER BY rooms.last_ts DESC, rooms.id DESC LIMIT ?4
         )
         SELECT page.id, NULL, page.last_ts, rooms.kind, rooms.name, rooms.epoch, rooms.tip, mine.read_seq,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM messages
                 WHERE room_id = page.id AND seq > mine.read_seq AND counted IS NOT NULL AND user_id <> ?1
                 LIMIT {MOST_UNREAD})),
             {event}
         FROM page
         CROSS JOIN rooms ON rooms.id = page.id
         CROSS JOIN participants mine ON mine.room_id = page.id AND mine.user_id = ?1
         LEFT JOIN messages event ON event.room_id = page.id
             AND event.seq = (SELECT MAX(seq) FROM messages WHERE room_id = page.id)
         UNION ALL
         SELECT page.id, member.place, users.id, users.kind, users.name, member.role, member.read_seq, NULL, NULL,
             {nothing}
         FROM page
         CROSS JOIN participants member ON member.room_id = page.id
         CROSS JOIN users ON users.id = member.user_id"
    )
});

pub(super) fn rooms_of(
    connection: &Connection,
    user: UserId,
    after: Option<ListPlace>,
    limit: usize,
) -> rusqlite::Result<Vec<Listed>> {
    let mut page: Vec<Listed> = Vec::new();
    let mut members: HashMap<RoomId, Vec<(i64, Member)>> = HashMap::new();
    let mut statement = connection.prepare_cached(&PAGE)?;
    let (ts, room) =
        after.map_or((i64::MAX, Vec::new()), |place| (place.ts, place.room.0.as_bytes().to_vec()));
    let mut found = statement.query(params![user, ts, room, limit])?;
    while let Some(row) = found.next()? {
        match row.get(1)? {
            None => page.push(listed(row)?),
            Some(place) => members.entry(row.get(0)?).or_default().push((place, member(row, 2)?)),
        }
    }
    page.sort_unstable_by_key(|listed| Reverse(listed.place));
    for Listed { room, .. } in &mut page {
        let mut of_room = members.remove(&room.id).unwrap_or_default();
        of_room.sort_unstable_by_key(|(place, _)| *place);
        let of_room = of_room.into_iter().map(|(_, member)| member).collect();
        *room = MemberRoom::new(room.id, room.shape, room.name.take(), of_room);
    }
    Ok(page)
}

/// A room, without its members.
fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    let id: RoomId = row.get(0)?;
    let has_event = row.get::<_, Option<u64>>(EVENT)?.is_some();
    let last = has_event.then(|| rows::event(&Room::of_members(id).label, row, EVENT)).transpose()?;
    let room = MemberRoom::new(id, rows::parsed(row, 3)?, rows::maybe(row, 4)?, Vec::new());
    Ok(Listed {
        room,
        place: ListPlace { ts: row.get(2)?, room: id },
        last,
        tip: Cursor { epoch: row.get(5)?, seq: row.get(6)? },
        read: row.get(7)?,
        unread: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::sqlite::migrate;

    #[test]
    fn a_page_reads_no_rooms_but_its_own() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate::up(&mut connection).unwrap();
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", *PAGE)).unwrap();
        let steps = explained.query_map([0; 4], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        let is_bounded = |step: &&String| {
            let scan = step.strip_prefix("SCAN ");
            scan.is_none_or(|what| what == "page" || what.starts_with("(subquery"))
        };
        assert_eq!(steps.iter().find(|step| !is_bounded(step)), None, "{steps:#?}");
        assert!(!steps.iter().any(|step| step.contains("AUTOMATIC")), "{steps:#?}");
    }
}
