//! Somebody's rooms: as the archive lists them, put right by what it does not have yet.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use redis::from_redis_value;
use uuid::Uuid;

use super::{
    RedisLog,
    members::Here,
    read::{Tip, events},
};
use crate::{
    archive::{Pick, Row},
    event::{Event, EventKind, ListPlace, Listed, MOST_UNREAD, MemberRoom, PARTITIONS, RoomId, Seq, UserId},
    log::LogError,
};

/// Events of one room that the archive does not have which are looked at.
const ABOVE: usize = 1000;
/// Rooms of one partition that the archive lacks something of which are looked at: it follows within some ms.
const LATELY: isize = 100;
/// Rooms that are asked of the archive in one go, at most.
const MOST: usize = 1000;

/// A room on its way into the list.
struct Draft {
    row: Row,
    room: MemberRoom,
    here: Option<Here>,
    /// What Redis has above what the archive has, if it has the room.
    above: Vec<Event>,
}

impl RedisLog {
    pub(in crate::log) async fn rooms_of(
        &self,
        user: UserId,
        after: Option<ListPlace>,
        limit: usize,
    ) -> Result<Vec<Listed>, LogError> {
        let limit = limit.clamp(1, MOST);
        let ahead = self.ahead_of_archive(user, after, limit).await?;
        let mut found: BTreeMap<Reverse<ListPlace>, Listed> = BTreeMap::new();
        let (mut from, mut step) = (after, limit);
        loop {
            let also = if from == after { &ahead[..] } else { &[] };
            let rows = self.archive.list(&Pick { user, after: from, limit: step, also }).await?;
            let mut places: Vec<ListPlace> = rows
                .iter()
                .filter(|row| row.mine.is_some() && from.is_none_or(|from| row.place < from))
                .map(|row| row.place)
                .collect();
            places.sort_unstable_by_key(|place| Reverse(*place));
            for listed in self.put_right(user, rows).await? {
                // What has moved on since was on a page before this one.
                if after.is_none_or(|after| listed.place < after) {
                    found.insert(Reverse(listed.place), listed);
                }
            }
            // Whatever was not looked at yet lies behind all that was: rooms only ever move to the front.
            from = places.get(step - 1).copied();
            if from.is_none() || found.len() >= limit {
                return Ok(found.into_values().take(limit).collect());
            }
            step = (2 * step).min(MOST);
        }
    }

    /// Rooms in which something happened that the archive does not have yet, and which therefore stand elsewhere in the
    /// list: of those behind `after`, the first.
    async fn ahead_of_archive(
        &self,
        user: UserId,
        after: Option<ListPlace>,
        limit: usize,
    ) -> Result<Vec<RoomId>, LogError> {
        let rooms = self.rooms_lately().await?;
        let answers = self.look_over(super::members::partitions(&rooms), |pipeline, names| {
            for room in &rooms {
                pipeline.hmget(names.room(*room), Tip::FIELDS);
                pipeline.hexists(names.members(*room), &user.0.as_bytes()[..]);
            }
        });
        let mut ahead: Vec<ListPlace> = Vec::new();
        for (pair, room) in answers.await?.chunks_exact(2).zip(&rooms) {
            let fields: Vec<Option<String>> = from_redis_value(pair[0].clone())?;
            let Some(tip) = Tip::read(&fields) else { continue };
            let is_member: bool = from_redis_value(pair[1].clone())?;
            let place = ListPlace { ts: tip.ts, room: *room };
            if is_member && tip.archived < tip.seq && after.is_none_or(|after| place < after) {
                ahead.push(place);
            }
        }
        ahead.sort_unstable_by_key(|place| Reverse(*place));
        Ok(ahead.into_iter().take(limit).map(|place| place.room).collect())
    }

    /// The rooms, of anybody, of which the archive lacks something: the newest of each partition.
    async fn rooms_lately(&self) -> Result<Vec<RoomId>, LogError> {
        let all: Vec<u8> = (0..PARTITIONS).collect();
        let marks = self.marks(&all).await?;
        let behind: Vec<(u8, u64)> = all
            .into_iter()
            .zip(marks)
            .filter(|(_, mark)| mark.n > mark.archived)
            .map(|(partition, mark)| (partition, mark.archived))
            .collect();
        let answers = self.look_over(behind.iter().map(|(partition, _)| *partition), |pipeline, names| {
            for (partition, archived) in &behind {
                let above = format!("({archived}");
                pipeline.zrevrangebyscore_limit(names.recent(*partition), "+inf", above, 0, LATELY);
            }
        });
        let mut rooms = Vec::new();
        for answer in answers.await? {
            let ids: Vec<Vec<u8>> = from_redis_value(answer)?;
            rooms.extend(ids.iter().filter_map(|id| Uuid::from_slice(id).ok()).map(RoomId));
        }
        Ok(rooms)
    }

    /// Rooms as they are now, without those that somebody is not in.
    async fn put_right(&self, user: UserId, rows: Vec<Row>) -> Result<Vec<Listed>, LogError> {
        let mut drafts = self.drafts(rows).await?;
        drafts.retain(|draft| draft.has(user));
        // By the marks of now, which are in Redis.
        let behind = drafts.iter().map(|draft| (draft.row.place.room, draft.read(user), draft.row.tip.seq));
        let behind: Vec<(RoomId, Seq)> =
            behind.filter(|(_, read, known)| read < known).map(|(room, read, _)| (room, read)).collect();
        let deletions = drafts.iter().map(|draft| draft.deleted().len()).max().unwrap_or(0);
        let mut counted: BTreeMap<RoomId, Vec<Seq>> = BTreeMap::new();
        for (room, seq) in self.archive.unread(user, &behind, MOST_UNREAD + deletions).await? {
            counted.entry(room).or_default().push(seq);
        }
        let listed = drafts.into_iter().map(|draft| {
            let counted = counted.remove(&draft.row.place.room).unwrap_or_default();
            draft.listed(user, &counted)
        });
        Ok(listed.collect())
    }

    async fn drafts(&self, rows: Vec<Row>) -> Result<Vec<Draft>, LogError> {
        let rooms: Vec<RoomId> = rows.iter().map(|row| row.place.room).collect();
        let answers = self.look_over(super::members::partitions(&rooms), |pipeline, names| {
            for row in &rows {
                let room = row.place.room;
                pipeline.hmget(names.room(room), Tip::FIELDS);
                pipeline.hgetall(names.members(room)).hgetall(names.read(room));
                pipeline.xrange_count(names.log(room), format!("{}-0", row.tip.seq.next()), "+", ABOVE);
            }
        });
        let mut above = Vec::with_capacity(rows.len());
        let mut gathered = Vec::with_capacity(rows.len());
        let mut ends = Vec::with_capacity(rows.len());
        for (answers, row) in answers.await?.chunks_exact(4).zip(rows) {
            let here = Here::read(&answers[..3])?;
            let mut found = events(answers.get(3))?;
            let visible = here.as_ref().map_or(Seq(0), |here| self.visible(&here.tip));
            found.retain(|event| event.seq <= visible);
            above.push(found);
            gathered.push((row.place.room, row.gathering.clone(), here));
            ends.push(row);
        }
        self.add_newest(&ends, &mut above).await?;
        let rooms = self.with_members(gathered).await?;
        let all = ends.into_iter().zip(rooms).zip(above);
        Ok(all.map(|((row, (room, here)), above)| Draft { row, room, here, above }).collect())
    }

    /// Where there are more than were looked at, the last of them is wanted too.
    async fn add_newest(&self, rows: &[Row], above: &mut [Vec<Event>]) -> Result<(), LogError> {
        let cut = rows.iter().zip(above).filter(|(_, above)| above.len() == ABOVE);
        let (rooms, cut): (Vec<RoomId>, Vec<&mut Vec<Event>>) =
            cut.map(|(row, above)| (row.place.room, above)).unzip();
        let answers = self.look_over(super::members::partitions(&rooms), |pipeline, names| {
            for room in &rooms {
                pipeline.xrevrange_count(names.log(*room), "+", "-", 1);
            }
        });
        for (answer, above) in answers.await?.iter().zip(cut) {
            let known = above.last().map_or(Seq(0), |event| event.seq);
            above.extend(events(Some(answer))?.into_iter().filter(|event| event.seq > known));
        }
        Ok(())
    }

    /// The last of a room's events that readers may see.
    fn visible(&self, tip: &Tip) -> Seq {
        if self.gives_out_stored_only() { tip.archived } else { tip.seq }
    }
}

impl Draft {
    fn has(&self, user: UserId) -> bool {
        match &self.here {
            Some(here) => here.members.contains_key(&user),
            None => self.row.mine.is_some(),
        }
    }

    fn read(&self, user: UserId) -> Seq {
        let archived = self.row.mine.as_ref().map_or(Seq(0), |mine| mine.read);
        let here = self.here.as_ref().and_then(|here| here.read.get(&user)).copied();
        here.map_or(archived, |here| here.max(archived))
    }

    /// Messages that were deleted, as the archive does not know yet.
    fn deleted(&self) -> HashSet<Seq> {
        let deletions = self.above.iter().filter(|event| event.kind == EventKind::Delete);
        deletions.filter_map(|event| event.target).collect()
    }

    /// `counted`: the unread messages that the archive has.
    fn listed(self, user: UserId, counted: &[Seq]) -> Listed {
        let (read, known, deleted) = (self.read(user), self.row.tip.seq, self.deleted());
        let below = counted.iter().filter(|seq| **seq <= known && !deleted.contains(seq)).count();
        let is_unread = |event: &&Event| {
            event.kind == EventKind::Message
                && event.user.id != user
                && event.seq > read
                && !deleted.contains(&event.seq)
        };
        let above = self.above.iter().filter(is_unread).count();
        let end = self.above.into_iter().last();
        Listed {
            room: self.room,
            place: ListPlace {
                ts: end.as_ref().map_or(self.row.place.ts, |end| end.ts.max(self.row.place.ts)),
                ..self.row.place
            },
            tip: end.as_ref().map_or(self.row.tip, Event::cursor).max(self.row.tip),
            last: end.or(self.row.mine.and_then(|mine| mine.last)),
            read,
            unread: (below + above).min(MOST_UNREAD),
        }
    }
}
