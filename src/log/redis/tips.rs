//! How far the logs are: what was missed, what the archive has by now, and who answers there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use redis::from_redis_value;

use super::{RedisLog, inbox::epoch, keys, read::tip_of};
use crate::{
    event::{Cursor, LogId, RoomId, Seq, UserId},
    log::LogError,
};

/// How often it is looked whether what somebody waits for is in the archive.
const STORED_EVERY: Duration = Duration::from_millis(10);

/// What was seen of each partition when it was last looked at.
#[derive(Debug, Default)]
pub struct Tips {
    generation: i64,
    /// The partition's counters, at the last look and at the one before: of its log, and of its inboxes.
    seen: HashMap<u8, [[u64; 2]; 2]>,
}

impl Tips {
    /// They are of this generation: what was seen in another says nothing.
    pub(crate) fn of(&mut self, generation: i64) {
        if self.generation != generation {
            *self = Tips { generation, seen: HashMap::new() };
        }
    }

    /// A partition's counters are these now; gives those of the look before the last, if they were others then.
    pub(crate) fn look(&mut self, partition: u8, now: [u64; 2]) -> Option<[u64; 2]> {
        let seen = self.seen.entry(partition).or_default();
        let [last, since] = *seen;
        *seen = [now, last];
        (now != since).then_some(since)
    }
}

/// How far a partition is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) n: u64,
    pub(super) archived: u64,
    inbox_turn: u64,
}

/// What changed in a partition since a look.
struct Changed<'a> {
    partition: u8,
    /// The counters then.
    since: [u64; 2],
    logs: &'a [RoomId],
}

impl RedisLog {
    /// The ends of those of these logs, of rooms or inboxes, that grew since the look before the last. Looks at `meta`
    /// once for each partition, and only at the logs of those that changed. Also lets go of what the archive has by now.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn tips(&self, logs: &[RoomId], tips: &mut Tips) -> Result<Vec<(RoomId, Cursor)>, LogError> {
        let mut by_partition: HashMap<u8, Vec<RoomId>> = HashMap::new();
        for log in logs {
            by_partition.entry(LogId::from(*log).partition()).or_default().push(*log);
        }
        let mut asked: Vec<u8> = by_partition.keys().copied().collect();
        asked.extend(self.lock_held().partitions());
        // One at least: so that a server that is another now is noticed before anybody speaks.
        asked.push(0);
        asked.sort_unstable();
        asked.dedup();
        let marks = self.marks(&asked).await?;
        let generation = self.agreed()?.generation;
        tips.of(generation);
        let mut changed = Vec::new();
        for (partition, mark) in asked.into_iter().zip(marks) {
            self.lock_held().release(partition, mark.archived);
            let now = [if self.gives_out_stored_only() { mark.archived } else { mark.n }, mark.inbox_turn];
            let Some(logs) = by_partition.get(&partition) else { continue };
            if let Some(since) = tips.look(partition, now) {
                changed.push(Changed { partition, since, logs });
            }
        }
        self.ends(&self.recent(&changed).await?).await
    }

    /// How far partitions are.
    pub(super) async fn marks(&self, partitions: &[u8]) -> Result<Vec<Mark>, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        for partition in partitions {
            pipeline.hmget(keys::meta(*partition), &["generation", "run", "n", "archived", "inbox_turn"]);
        }
        let mut marks = Vec::with_capacity(partitions.len());
        for answer in self.ask(&mut wire, &pipeline).await? {
            let meta: Vec<Option<String>> = from_redis_value(answer)?;
            if !agreed.is(&meta) {
                self.suspect();
                return Err(super::fenced());
            }
            let number = |at: usize| meta[at].as_ref().and_then(|s| s.parse().ok()).unwrap_or(0);
            marks.push(Mark { n: number(2), archived: number(3), inbox_turn: number(4) });
        }
        Ok(marks)
    }

    /// Those of the logs that grew since, by the counters of their partitions: rooms first, then inboxes.
    async fn recent(&self, changed: &[Changed<'_>]) -> Result<[Vec<RoomId>; 2], LogError> {
        let mut found = [Vec::new(), Vec::new()];
        if changed.is_empty() {
            return Ok(found);
        }
        let (mut wire, agreed) = self.ready().await?;
        let names = agreed.names();
        let mut pipeline = redis::pipe();
        for Changed { partition, since: [n, turn], .. } in changed {
            pipeline.zrangebyscore(names.recent(*partition), format!("({n}"), "+inf");
            pipeline.zrangebyscore(names.inboxes(*partition), format!("({turn}"), "+inf");
        }
        for (answers, changed) in self.ask(&mut wire, &pipeline).await?.chunks_exact(2).zip(changed) {
            for (answer, found) in answers.iter().zip(&mut found) {
                let recent: HashSet<Vec<u8>> = from_redis_value(answer.clone())?;
                found.extend(changed.logs.iter().filter(|log| recent.contains(&log.0.as_bytes()[..])));
            }
        }
        Ok(found)
    }

    async fn ends(&self, [rooms, inboxes]: &[Vec<RoomId>; 2]) -> Result<Vec<(RoomId, Cursor)>, LogError> {
        if rooms.is_empty() && inboxes.is_empty() {
            return Ok(Vec::new());
        }
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        for room in rooms {
            pipeline.hmget(agreed.names().room(*room), &["epoch", "seq", "archived"]);
        }
        for inbox in inboxes {
            pipeline.hget(agreed.names().mailbox(UserId(inbox.0)), "tip");
        }
        let mut answers = self.ask(&mut wire, &pipeline).await?.into_iter();
        let mut ends = Vec::with_capacity(answers.len());
        for (answer, room) in answers.by_ref().take(rooms.len()).zip(rooms) {
            let fields: Vec<Option<String>> = from_redis_value(answer)?;
            // A room that is not there was let go of because it is quiet.
            ends.extend(tip_of(&fields, self.gives_out_stored_only()).map(|tip| (*room, tip)));
        }
        for (answer, inbox) in answers.zip(inboxes) {
            let tip: Option<u64> = from_redis_value(answer)?;
            ends.extend(tip.map(|tip| (*inbox, Cursor { epoch: epoch(agreed.generation), seq: Seq(tip) })));
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
