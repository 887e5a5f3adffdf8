//! Reading back.

use std::sync::Arc;

use mysql_async::{Conn, Value};
use uuid::Uuid;

use super::{
    Archive, ArchiveError, ArchiveErrorKind, room,
    rows::{self, id},
    shapes::in_list,
    transaction::Work,
};
use crate::event::{Cursor, Event, Extent, Room, RoomId, Seq, UserId};

/// What a room's log goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where it begins and ends.
    pub extent: Extent,
    /// The latest time of its events, in ms since 1970; 0 when there was none.
    pub last_ts: i64,
}

/// The event that an idempotency key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstAnswer {
    /// Its own id.
    pub id: Uuid,
    /// Its place.
    pub cursor: Cursor,
    /// When it was taken, in ms since 1970.
    pub ts: i64,
    /// Hash of its text.
    pub text: [u8; 16],
}

impl Archive {
    /// Where the room's log begins and ends, with every loss of the store taken into account. A room that
    /// is not there is empty, not an error.
    pub async fn extent(&self, room: RoomId) -> Result<Extent, ArchiveError> {
        self.head(room).await.map(|head| head.extent)
    }

    /// What the room's log goes on from, with every loss of the store taken into account.
    pub async fn head(&self, room: RoomId) -> Result<Head, ArchiveError> {
        let mut head = match self.known_head(room).await? {
            Known::Missing(losses) => return Ok(Head { extent: Extent::empty(losses), last_ts: 0 }),
            Known::Unsettled => self.transact(&Settle(room)).await?,
            Known::Settled(head) => head,
        };
        let present = head.extent.epoch;
        if present.0 > 1 {
            let sql = "SELECT epoch, base, last FROM epochs WHERE room_id = ? ORDER BY epoch";
            let past = self
                .rows(sql, vec![id(room.0)], |row| Ok((row.epoch()?, row.take::<u64>()? + 1..=row.take()?)));
            // Another pod may have ended the present epoch in between.
            head.extent.past = past.await?.into_iter().filter(|(epoch, _)| *epoch < present).collect();
        }
        Ok(head)
    }

    async fn known_head(&self, room: RoomId) -> Result<Known, ArchiveError> {
        let sql = "SELECT fence.losses, rooms.losses, epoch, base, tip, first_seq, last_ts
                   FROM fence LEFT JOIN rooms ON rooms.id = ?";
        let found = self.rows(sql, vec![id(room.0)], |row| {
            let losses: u32 = row.take()?;
            Ok(match row.take::<Option<u32>>()? {
                None => Known::Missing(losses),
                Some(known) if known < losses => Known::Unsettled,
                Some(_) => Known::Settled(Head {
                    extent: Extent {
                        epoch: row.epoch()?,
                        base: row.seq()?,
                        tip: row.seq()?,
                        first: row.seq()?,
                        past: Vec::new(),
                    },
                    last_ts: row.take()?,
                }),
            })
        });
        found.await?.pop().ok_or_else(|| ArchiveError::new(ArchiveErrorKind::Unreadable, "no fence"))
    }

    /// Up to `limit` events above `after` and not above `upto`, ascending, as written (deleted ones without
    /// text).
    pub async fn after(
        &self,
        room: &Room,
        after: Seq,
        upto: Seq,
        limit: usize,
    ) -> Result<Vec<Event>, ArchiveError> {
        let sql = format!(
            "SELECT {} FROM messages WHERE room_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            rows::EVENT
        );
        let params: Vec<Value> = vec![id(room.id.0), after.0.into(), upto.0.into(), limit.into()];
        self.rows(&sql, params, |row| rows::event(&room.label, row)).await
    }

    /// The newest `limit` events below `below`, ascending, as written (deleted ones without text).
    pub async fn before(&self, room: &Room, below: Seq, limit: usize) -> Result<Vec<Event>, ArchiveError> {
        let sql = format!(
            "SELECT {} FROM messages WHERE room_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
            rows::EVENT
        );
        let params: Vec<Value> = vec![id(room.id.0), below.0.into(), limit.into()];
        let mut events = self.rows(&sql, params, |row| rows::event(&room.label, row)).await?;
        events.reverse();
        Ok(events)
    }

    /// Those events, of any rooms with members, that are here, as written (deleted ones without text).
    pub async fn events(&self, places: &[(RoomId, Seq)]) -> Result<Vec<(RoomId, Event)>, ArchiveError> {
        let sql = format!("SELECT room_id, {} FROM messages WHERE (room_id, seq) IN", rows::EVENT);
        let mut found = Vec::with_capacity(places.len());
        for chunk in places.chunks(1000) {
            let keys: Vec<Vec<Value>> =
                chunk.iter().map(|(room, seq)| vec![id(room.0), seq.0.into()]).collect();
            let (sql, params) = in_list(&sql, &[], &keys, "");
            let events = self.rows(&sql, params, |row| {
                let room = RoomId(row.id()?);
                Ok((room, rows::event(&Room::of_members(room).label, row)?))
            });
            found.append(&mut events.await?);
        }
        Ok(found)
    }

    /// Of those of up to 1,000 messages that were edited and not deleted: the last edit's text and its time
    /// in ms since 1970, ascending.
    pub async fn edited(
        &self,
        room: RoomId,
        seqs: &[Seq],
    ) -> Result<Vec<(Seq, Arc<str>, i64)>, ArchiveError> {
        let mut found = Vec::new();
        for chunk in seqs.chunks(1000) {
            let keys: Vec<Vec<Value>> = chunk.iter().map(|seq| vec![seq.0.into()]).collect();
            let (sql, params) = in_list(
                "SELECT message.seq, edit.text, edit.ts FROM messages message
                 JOIN messages edit ON edit.room_id = message.room_id AND edit.seq = message.edit_seq
                 WHERE message.room_id = ? AND message.kind = 'message' AND message.status IS NULL
                 AND message.seq IN",
                &[id(room.0)],
                &keys,
                "ORDER BY message.seq",
            );
            let edits = self.rows(&sql, params, |row| {
                Ok((row.seq()?, Arc::from(row.take::<Option<String>>()?.unwrap_or_default()), row.take()?))
            });
            found.append(&mut edits.await?);
        }
        Ok(found)
    }

    /// Who wrote this message; nobody when it is none, or is deleted.
    pub async fn author(&self, room: RoomId, message: Seq) -> Result<Option<UserId>, ArchiveError> {
        let sql = "SELECT user_id FROM messages
                   WHERE room_id = ? AND seq = ? AND kind = 'message' AND status IS NULL";
        let params: Vec<Value> = vec![id(room.0), message.0.into()];
        Ok(self.rows(sql, params, |row| Ok(UserId(row.id()?))).await?.pop())
    }

    /// The first event with this key that is younger than `since_ts` (ms since 1970).
    pub async fn find_key(
        &self,
        room: RoomId,
        key: &[u8; 16],
        since_ts: i64,
    ) -> Result<Option<FirstAnswer>, ArchiveError> {
        let sql = "SELECT id, epoch, seq, ts, idem_text FROM messages
                   WHERE room_id = ? AND idem = ? AND ts > ? AND idem_text IS NOT NULL ORDER BY seq LIMIT 1";
        let params: Vec<Value> = vec![id(room.0), key.to_vec().into(), since_ts.into()];
        let found = self.rows(sql, params, |row| {
            Ok(FirstAnswer {
                id: row.id()?,
                cursor: Cursor { epoch: row.epoch()?, seq: row.seq()? },
                ts: row.take()?,
                text: row.hash()?.unwrap_or_default(),
            })
        });
        Ok(found.await?.pop())
    }
}

/// What the tables say of a room.
enum Known {
    /// Nothing, in a store that lost a part this often.
    Missing(u32),
    /// It has not taken the last loss into account.
    Unsettled,
    /// All there is, without the past.
    Settled(Head),
}

/// Has a room take all losses into account.
struct Settle(RoomId);

impl Work for Settle {
    type Output = Head;

    async fn run(&self, conn: &mut Conn) -> Result<Head, ArchiveError> {
        let losses = room::losses(conn).await?;
        let mut rooms = room::lock(conn, &[self.0]).await?;
        let Some(held) = rooms.get_mut(&self.0) else {
            return Ok(Head { extent: Extent::empty(losses), last_ts: 0 });
        };
        if let Some(ended) = held.settle(losses) {
            ended.keep(conn, self.0).await?;
        }
        let head = Head {
            extent: Extent {
                epoch: held.epoch,
                base: held.base,
                tip: held.tip,
                first: held.first,
                past: Vec::new(),
            },
            last_ts: held.last_ts,
        };
        room::keep(conn, &rooms).await?;
        Ok(head)
    }
}
