//! How far people have read: kept in Redis while the room is there, and brought to the archive now and then.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use redis::{Script, from_redis_value};
use uuid::Uuid;

use super::{Owned, RedisLog, fenced, keys};
use crate::{
    archive::Marks,
    event::{LogId, RoomId, Seq, UserId},
    log::{LogError, LogErrorKind},
};

/// Rooms of one partition whose marks are brought to the archive in one go.
const STEP: usize = 100;

static MARK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("mark.lua")));
static MARKED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("marked.lua")));

/// Rooms of a partition, with the number of the last mark of each.
type Found = Vec<(Vec<u8>, String)>;

impl RedisLog {
    pub(in crate::log) async fn mark_read(
        &self,
        room: RoomId,
        user: UserId,
        seq: Seq,
    ) -> Result<Option<Seq>, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let (names, partition) = (agreed.names(), LogId::from(room).partition());
        let mut mark = MARK.key(keys::meta(partition));
        mark.key(names.room(room))
            .key(names.members(room))
            .key(names.read(room))
            .key(names.marked(partition));
        mark.arg(agreed.generation).arg(&*agreed.run_id);
        mark.arg(&room.0.as_bytes()[..]).arg(&user.0.as_bytes()[..]).arg(seq.0);
        mark.arg(if self.gives_out_stored_only() { "archived" } else { "seq" });
        let answer = wire.run::<Vec<String>>(&mark).await;
        let answer = self.checked(&wire, answer)?;
        match &answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["OK", read] => Ok(read.parse().ok()),
            ["SAME"] => Ok(None),
            ["NOTFOUND"] => Err(LogErrorKind::NotFound.into()),
            ["NOROOM"] => {
                let marked = self.archive.mark_one(room, user, seq).await?;
                marked.ok_or_else(|| LogErrorKind::NotFound.into())
            }
            ["FENCED"] => {
                self.suspect();
                Err(fenced())
            }
            _ => Err(LogErrorKind::Unavailable.into()),
        }
    }

    /// Brings marks of these partitions to the archive; true when there may be more.
    ///
    /// # Errors
    /// When the server or the archive does not answer, or the server is not the one that was agreed on.
    pub async fn keep_marks(&self, owned: &[Owned]) -> Result<bool, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let names = agreed.names();
        let mut pipeline = redis::pipe();
        for owned in owned {
            pipeline.zrange_withscores(names.marked(owned.partition), 0, STEP as isize - 1);
        }
        let mut found: BTreeMap<u8, Found> = BTreeMap::new();
        for (answer, owned) in self.ask(&mut wire, &pipeline).await?.into_iter().zip(owned) {
            let rooms: Found = from_redis_value(answer)?;
            if !rooms.is_empty() {
                found.insert(owned.partition, rooms);
            }
        }
        let is_more = found.values().any(|rooms| rooms.len() == STEP);
        for (partition, rooms) in found {
            let ids = rooms.iter().filter_map(|(room, _)| Uuid::from_slice(room).ok().map(RoomId));
            let marks = self.marks_of(&ids.collect::<Vec<_>>()).await?;
            self.archive.mark(&marks).await?;
            let mut marked = MARKED.key(keys::meta(partition));
            marked.key(names.marked(partition)).arg(agreed.generation).arg(&*agreed.run_id);
            for (room, number) in rooms {
                marked.arg(room).arg(number);
            }
            let answer = wire.run::<Vec<String>>(&marked).await;
            self.checked(&wire, answer)?;
        }
        Ok(is_more)
    }

    async fn marks_of(&self, rooms: &[RoomId]) -> Result<Marks, LogError> {
        let answers = self.look_over(super::members::partitions(rooms), |pipeline, names| {
            for room in rooms {
                pipeline.hgetall(names.read(*room));
            }
        });
        let mut marks = Marks::new();
        for (answer, room) in answers.await?.into_iter().zip(rooms) {
            let read: HashMap<Vec<u8>, u64> = from_redis_value(answer)?;
            for (user, seq) in read {
                if let Ok(user) = Uuid::from_slice(&user) {
                    marks.insert((*room, UserId(user)), Seq(seq));
                }
            }
        }
        Ok(marks)
    }
}
