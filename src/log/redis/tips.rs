//! How far the logs are: what was missed, what the archive has by now, and who answers there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::from_redis_value;

use super::{RedisLog, keys, read::tip_of};
use crate::{
    event::{Cursor, LogId, RoomId, Seq},
    log::LogError,
};

/// How often it is looked whether what somebody waits for is in the archive.
const STORED_EVERY: Duration = Duration::from_millis(10);

/// What was seen of each partition when it was last looked at.
#[derive(Debug, Default)]
pub struct Tips {
    generation: i64,
    /// The partition's counter, at the last look and at the one before.
    seen: HashMap<u8, [u64; 2]>,
}

impl RedisLog {
    /// The ends of those of these rooms whose logs grew since the look before the last. Looks at `meta` once for each
    /// partition, and only at the rooms of those that changed. Also lets go of what the archive has by now.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn tips(&self, rooms: &[RoomId], tips: &mut Tips) -> Result<Vec<(RoomId, Cursor)>, LogError> {
        let mut by_partition: HashMap<u8, Vec<RoomId>> = HashMap::new();
        for room in rooms {
            by_partition.entry(LogId::from(*room).partition()).or_default().push(*room);
        }
        let mut asked: Vec<u8> = by_partition.keys().copied().collect();
        asked.extend(self.lock_held().partitions());
        // One at least: so that a server that is another now is noticed before anybody speaks.
        asked.push(0);
        asked.sort_unstable();
        asked.dedup();
        let marks = self.marks(&asked).await?;
        let generation = self.agreed()?.generation;
        if tips.generation != generation {
            *tips = Tips { generation, seen: HashMap::new() };
        }
        let mut changed = Vec::new();
        for (partition, [n, archived]) in asked.into_iter().zip(marks) {
            self.lock_held().release(partition, archived);
            let now = if self.gives_out_stored_only() { archived } else { n };
            let Some(rooms) = by_partition.get(&partition) else { continue };
            let seen = tips.seen.entry(partition).or_default();
            let [last, before] = *seen;
            *seen = [now, last];
            if now > before {
                changed.push((partition, before, rooms));
            }
        }
        let candidates = self.recent(&changed).await?;
        self.ends(&candidates).await
    }

    /// `n` and `archived` of partitions.
    pub(super) async fn marks(&self, partitions: &[u8]) -> Result<Vec<[u64; 2]>, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        for partition in partitions {
            pipeline.hmget(keys::meta(*partition), &["generation", "run", "n", "archived"]);
        }
        let mut marks = Vec::with_capacity(partitions.len());
        for answer in self.ask(&mut wire, &pipeline).await? {
            let meta: Vec<Option<String>> = from_redis_value(answer)?;
            if !agreed.is(&meta) {
                self.suspect();
                return Err(super::fenced());
            }
            let number = |at: usize| meta[at].as_ref().and_then(|s| s.parse().ok());
            marks.push([number(2), number(3)].map(|mark| mark.unwrap_or(0)));
        }
        Ok(marks)
    }

    /// Those rooms that were spoken in since, by the partition's counter.
    async fn recent(&self, changed: &[(u8, u64, &Vec<RoomId>)]) -> Result<Vec<RoomId>, LogError> {
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        for (partition, since, _) in changed {
            pipeline.zrangebyscore(agreed.names().recent(*partition), format!("({since}"), "+inf");
        }
        let mut found = Vec::new();
        for (answer, (_, _, rooms)) in self.ask(&mut wire, &pipeline).await?.into_iter().zip(changed) {
            let recent: std::collections::HashSet<Vec<u8>> = from_redis_value(answer)?;
            found.extend(rooms.iter().filter(|room| recent.contains(&room.0.as_bytes()[..])));
        }
        Ok(found)
    }

    async fn ends(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Cursor)>, LogError> {
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        for room in rooms {
            pipeline.hmget(agreed.names().room(*room), &["epoch", "seq", "archived"]);
        }
        let mut ends = Vec::with_capacity(rooms.len());
        for (answer, room) in self.ask(&mut wire, &pipeline).await?.into_iter().zip(rooms) {
            let fields: Vec<Option<String>> = from_redis_value(answer)?;
            // A room that is not there was let go of because it is quiet.
            ends.extend(tip_of(&fields, self.gives_out_stored_only()).map(|tip| (*room, tip)));
        }
        Ok(ends)
    }

    /// Tells whoever waits for the archive how far it is, until the log is gone.
    pub async fn tell_stored(log: std::sync::Weak<RedisLog>) {
        loop {
            tokio::time::sleep(STORED_EVERY).await;
            let Some(log) = log.upgrade() else { return };
            // What cannot be read now is read the next time; whoever waits has a time-out.
            _ = log.look_at_stored().await;
        }
    }

    async fn look_at_stored(self: &Arc<Self>) -> Result<(), LogError> {
        let rooms = self.stored.rooms();
        if rooms.is_empty() {
            return Ok(());
        }
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        for room in &rooms {
            let meta = keys::meta(LogId::from(*room).partition());
            pipeline.hmget(meta, &["generation", "run"]).hget(agreed.names().room(*room), "archived");
        }
        let answers = self.ask(&mut wire, &pipeline).await?;
        for (pair, room) in answers.chunks_exact(2).zip(rooms) {
            let meta: Vec<Option<String>> = from_redis_value(pair[0].clone())?;
            if !agreed.is(&meta) {
                self.suspect();
                continue;
            }
            // A room that is not here any more is in the archive in full.
            let archived: Option<u64> = from_redis_value(pair[1].clone())?;
            self.stored.tell(room, archived.map_or(Seq::MAX, Seq));
        }
        Ok(())
    }
}
