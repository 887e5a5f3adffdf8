//! The outbox: what has been taken and is on its way into the archive. For the pod that owns a partition.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::LazyLock,
    time::Duration,
};

use redis::{
    Script, Value,
    aio::MultiplexedConnection,
    from_redis_value,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};
use uuid::Uuid;

use super::{
    Agreed, RedisLog, Standing,
    keys::{self, Names},
    link::WAIT,
};
use crate::{
    clock,
    event::{Entry, Key, LogId, PARTITIONS, RoomId, Seq},
    log::{LogError, LogErrorKind},
};

/// Events that a room keeps in Redis, whatever the archive has: what readers come back for most.
pub(crate) const KEPT: u64 = 200;
/// How long a correction is kept after the archive has it, in ms: longer than anybody's look at the archive takes.
pub(crate) const FIX_KEPT_MS: i64 = 60_000;
/// A room that nobody has spoken in for so long is let go of, in ms.
const QUIET_MS: i64 = 60 * 60 * 1000;
/// Entries asked of one partition in one go, at least, where there is more than a batch takes: from few partitions
/// many entries, which are of few rooms, rather than a few of each.
const RUN: usize = 100;
/// Rooms looked at in one go to see whether they are quiet.
const RETIRE_STEP: usize = 200;

static OWN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("own.lua")));
static ARCHIVED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("archived.lua")));
static RETIRE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("retire.lua")));

/// A partition that this pod owns for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Which.
    pub partition: u8,
    /// What the owner's writes carry: another owner has another.
    pub token: u64,
}

/// What is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Entries in all outboxes.
    pub entries: u64,
    /// The time of the oldest of them, in ms since 1970.
    pub oldest: Option<i64>,
    /// Entries that are not in all inboxes yet.
    pub mail: u64,
}

/// Entries on their way, and where they stand in their partitions.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The generation that the places are of.
    pub(crate) agreed: Agreed,
    /// In the order of each partition's counter.
    pub entries: Vec<Entry>,
    /// The last place of each partition in this batch.
    pub upto: BTreeMap<u8, u64>,
}

/// The outboxes, or the mail, as the writer reads them.
pub struct Outbox {
    agreed: Agreed,
    /// Which of the two.
    name: fn(Names, u8) -> String,
    connection: MultiplexedConnection,
    read_to: BTreeMap<u8, (u64, u64)>,
    /// Partitions that gave as much as they were asked for: there may be more. In the order of their turns.
    more: VecDeque<u8>,
}

impl RedisLog {
    /// Takes partitions, or keeps them, for this long; gives those that are this pod's now.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn own(&self, pod: Uuid, partitions: &[u8], time: Duration) -> Result<Vec<Owned>, LogError> {
        let agreed = self.agreed()?;
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        pipeline.load_script(&OWN).ignore();
        for partition in partitions {
            let mut own = OWN.key(keys::meta(*partition));
            own.arg(agreed.generation).arg(&*agreed.run_id).arg(pod.simple().to_string());
            own.arg(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            pipeline.invoke_script(&own);
        }
        let mut connection = self.pool.get().await.map_err(unreachable)?;
        let answers: Vec<Vec<String>> = pipeline.query_async(&mut connection).await?;
        let mut owned = Vec::new();
        for (answer, partition) in answers.into_iter().zip(partitions) {
            match &answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["OK", token] => owned.push(Owned {
                    partition: *partition,
                    token: token.parse().map_err(|_| LogErrorKind::Unavailable)?,
                }),
                ["FENCED"] => {
                    self.suspect();
                    return Err(super::fenced());
                }
                _ => {}
            }
        }
        Ok(owned)
    }

    /// A reader of the outboxes, as long as what is agreed on now stands.
    ///
    /// # Errors
    /// When there is no connection to be had.
    pub async fn outbox(&self) -> Result<Outbox, LogError> {
        self.reader_of(Names::out).await
    }

    pub(super) async fn reader_of(&self, name: fn(Names, u8) -> String) -> Result<Outbox, LogError> {
        let (_, agreed) = self.ready().await?;
        let connection = self.link.patient().await?;
        Ok(Outbox { agreed, name, connection, read_to: BTreeMap::new(), more: VecDeque::new() })
    }

    /// The archive has this batch: trims what has to go, and lets readers and whoever waits for it know. Gives the
    /// partitions in which that was done: the others are somebody else's by now, who does it again.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn archived(&self, batch: &Batch, owned: &[Owned]) -> Result<BTreeSet<u8>, LogError> {
        let agreed = &batch.agreed;
        let (mut rooms, mut asked) = (batch.rooms(), Vec::new());
        let mut pipeline = redis::pipe();
        pipeline.load_script(&ARCHIVED).ignore();
        for (partition, n) in &batch.upto {
            let Some(owned) = owned.iter().find(|owned| owned.partition == *partition) else { continue };
            asked.push(*partition);
            let rooms = rooms.remove(partition).unwrap_or_default();
            let names = agreed.names();
            let mut archived = ARCHIVED.key(keys::meta(*partition));
            archived.key(names.out(*partition));
            archived.arg(agreed.generation).arg(&*agreed.run_id).arg(owned.token).arg(*n);
            archived.arg(clock::millis()).arg(KEPT).arg(FIX_KEPT_MS);
            for (room, seq) in rooms {
                archived.key(names.room(room)).key(names.log(room)).key(names.fix(room)).arg(seq.0);
            }
            pipeline.invoke_script(&archived);
        }
        let mut connection = self.pool.get().await.map_err(unreachable)?;
        let answers: Vec<Vec<String>> = pipeline.query_async(&mut connection).await?;
        if answers.iter().any(|answer| answer.first().is_some_and(|word| word == "FENCED")) {
            self.suspect();
            return Err(super::fenced());
        }
        let is_done = |answer: &Vec<String>| answer.first().is_some_and(|word| word == "OK");
        Ok(asked.into_iter().zip(answers).filter(|(_, answer)| is_done(answer)).map(|(p, _)| p).collect())
    }

    /// Lets go of rooms of an owned partition that have been quiet for long.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn retire(&self, owned: Owned) -> Result<u64, LogError> {
        let agreed = self.agreed()?;
        let (names, partition) = (agreed.names(), owned.partition);
        let mut connection = self.pool.get().await.map_err(unreachable)?;
        let mut oldest = redis::cmd("ZRANGE");
        oldest.arg(names.recent(partition)).arg(0).arg(RETIRE_STEP - 1);
        let oldest: Vec<Vec<u8>> = oldest.query_async(&mut connection).await?;
        let rooms: Vec<RoomId> =
            oldest.iter().filter_map(|id| Uuid::from_slice(id).ok().map(RoomId)).collect();
        if rooms.is_empty() {
            return Ok(0);
        }
        let mut retire = RETIRE.key(keys::meta(partition));
        retire.key(names.recent(partition)).key(names.marked(partition));
        retire.arg(agreed.generation).arg(&*agreed.run_id).arg(owned.token).arg(clock::millis() - QUIET_MS);
        for room in rooms {
            retire.key(names.room(room)).key(names.log(room)).key(names.fix(room));
            retire.key(names.members(room)).key(names.read(room));
            retire.arg(&room.0.as_bytes()[..]);
        }
        let answer: Vec<String> = retire.invoke_async(&mut connection).await?;
        Ok(answer.get(1).and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// What waits in all outboxes, and in the mail.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn backlog(&self) -> Result<Backlog, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        for partition in 0..PARTITIONS {
            let out = agreed.names().out(partition);
            pipeline.xlen(&out).xrange_count(&out, "-", "+", 1).xlen(agreed.names().mail(partition));
        }
        let answers = self.ask(&mut wire, &pipeline).await?;
        let mut backlog = Backlog::default();
        for of_partition in answers.chunks_exact(3) {
            backlog.entries += from_redis_value::<u64>(of_partition[0].clone())?;
            let first: StreamRangeReply = from_redis_value(of_partition[1].clone())?;
            let ts = first.ids.first().and_then(|id| Some(read(id)?.event.ts));
            backlog.oldest = [backlog.oldest, ts].into_iter().flatten().min();
            backlog.mail += from_redis_value::<u64>(of_partition[2].clone())?;
        }
        Ok(backlog)
    }
}

impl Outbox {
    /// Is this still what was agreed on?
    pub fn stands(&self, standing: &Standing) -> bool {
        standing.is(&self.agreed)
    }

    /// What comes next in the outboxes of these partitions, up to `limit` entries of it. First what is new in those
    /// that were empty, and then, as far as there is room, more of those that were not, in turns. Where nothing is
    /// known to be there it waits up to `patience` for something. A partition that is owned anew is read from its
    /// beginning: what is still there.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn read(
        &mut self,
        owned: &[Owned],
        limit: usize,
        patience: Option<Duration>,
    ) -> Result<Batch, LogError> {
        let mut batch = Batch::of(&self.agreed);
        self.read_to.retain(|partition, (token, _)| {
            owned.iter().any(|owned| owned.partition == *partition && owned.token == *token)
        });
        self.more.retain(|partition| owned.iter().any(|owned| owned.partition == *partition));
        let patience = patience.filter(|_| self.more.is_empty());
        let calm: Vec<Owned> =
            owned.iter().filter(|owned| !self.more.contains(&owned.partition)).copied().collect();
        let count = (limit / calm.len().max(1)).max(1);
        self.read_of(&calm, count, patience, &mut batch).await?;
        while batch.entries.len() < limit && !self.more.is_empty() {
            let left = limit - batch.entries.len();
            let turns = self.more.len().min(left.div_ceil(RUN));
            let turns: Vec<u8> = self.more.drain(..turns).collect();
            let busy: Vec<Owned> =
                owned.iter().filter(|owned| turns.contains(&owned.partition)).copied().collect();
            self.read_of(&busy, (left / busy.len().max(1)).max(1), None, &mut batch).await?;
        }
        Ok(batch)
    }

    /// Up to `count` entries of each of these.
    async fn read_of(
        &mut self,
        owned: &[Owned],
        count: usize,
        patience: Option<Duration>,
        batch: &mut Batch,
    ) -> Result<(), LogError> {
        if owned.is_empty() {
            return Ok(());
        }
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(count);
        if let Some(patience) = patience {
            let ms = u64::try_from(patience.min(WAIT).as_millis()).unwrap_or(u64::MAX);
            read.arg("BLOCK").arg(ms.max(1));
        }
        read.arg("STREAMS");
        for owned in owned {
            read.arg((self.name)(self.agreed.names(), owned.partition));
        }
        for owned in owned {
            let (_, place) = self.read_to.entry(owned.partition).or_insert((owned.token, 0));
            read.arg(format!("{place}-0"));
        }
        let answer: Value = read.query_async(&mut self.connection).await?;
        if matches!(answer, Value::Nil) {
            return Ok(());
        }
        let found: StreamReadReply = from_redis_value(answer)?;
        let names = self.agreed.names();
        for stream in found.keys {
            let Some(owned) = owned.iter().find(|owned| (self.name)(names, owned.partition) == stream.key)
            else {
                continue;
            };
            for id in &stream.ids {
                let Some(n) = id.id.split_once('-').and_then(|(n, _)| n.parse().ok()) else { continue };
                batch.take(owned.partition, n, read_or_say(id));
                self.read_to.insert(owned.partition, (owned.token, n));
            }
            if stream.ids.len() >= count {
                self.more.push_back(owned.partition);
            }
        }
        Ok(())
    }
}

impl Batch {
    pub(crate) fn of(agreed: &Agreed) -> Self {
        Batch { agreed: agreed.clone(), entries: Vec::new(), upto: BTreeMap::new() }
    }

    /// Is it of what is agreed on now? A place of an older generation says nothing of this one.
    pub fn stands(&self, standing: &Standing) -> bool {
        standing.is(&self.agreed)
    }

    pub(crate) fn take(&mut self, partition: u8, n: u64, entry: Option<Entry>) {
        self.upto.insert(partition, n);
        self.entries.extend(entry);
    }

    /// How far it brings each room, by partition.
    pub(crate) fn rooms(&self) -> BTreeMap<u8, BTreeMap<RoomId, Seq>> {
        let mut rooms: BTreeMap<u8, BTreeMap<RoomId, Seq>> = BTreeMap::new();
        for entry in &self.entries {
            let partition = LogId::from(entry.room).partition();
            let last = rooms.entry(partition).or_default().entry(entry.room).or_insert(Seq(0));
            *last = entry.event.seq.max(*last);
        }
        rooms
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.upto.is_empty()
    }

    /// Adds what came after it.
    pub fn append(&mut self, later: Batch) {
        self.entries.extend(later.entries);
        self.upto.extend(later.upto);
    }
}

/// An entry, or a word in the log that nobody can read it.
pub(super) fn read_or_say(id: &StreamId) -> Option<Entry> {
    let entry = read(id);
    if entry.is_none() {
        tracing::error!(id = id.id, "an entry of the outbox cannot be read; it does not reach the archive");
    }
    entry
}

/// An entry as `append.lua` wrote it.
pub(super) fn read(id: &StreamId) -> Option<Entry> {
    let field = |name| id.get::<Vec<u8>>(name);
    let room = RoomId(Uuid::from_slice(&field("r")?).ok()?);
    let event = serde_json::from_slice(&field("e")?).ok()?;
    let key = field("k").filter(|key| !key.is_empty());
    let key = match key {
        Some(key) => Some(Key { key: key.try_into().ok()?, text: field("t")?.try_into().ok()? }),
        None => None,
    };
    Some(Entry { room, event, key })
}

pub(super) fn unreachable(e: deadpool_redis::PoolError) -> LogError {
    LogError::new(LogErrorKind::Unavailable, e)
}
