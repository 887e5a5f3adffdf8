//! From one life of the server to the next: what of the last one is still there, and how another begins.

use std::{collections::BTreeMap, sync::LazyLock};

use redis::{Script, Value, from_redis_value, streams::StreamRangeReply};

use super::{
    RedisLog, Standing,
    keys::{self, Names},
    link::Wire,
    outbox,
};
use crate::{
    archive::Fence,
    event::{Entry, PARTITIONS, RoomId, Seq},
    log::{LogError, LogErrorKind},
};

/// Entries of an outbox that are read at once.
const STEP: usize = 1000;
/// Keys looked at in one go when an old generation is swept out.
const SCAN: usize = 1000;

static FENCE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("fence.lua")));
static BEGIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("begin.lua")));

/// What answers where Redis should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Nothing.
    Silent,
    /// The life of the process that was agreed on.
    Same,
    /// Another one, or one that has lost its memory.
    Other,
}

impl RedisLog {
    /// Who answers, held against what was agreed on.
    pub async fn server(&self, fence: &Fence) -> Server {
        let Ok(mut wire) = self.link.wire().await else { return Server::Silent };
        let mut pipeline = redis::pipe();
        for partition in 0..PARTITIONS {
            pipeline.hmget(keys::meta(partition), &["generation", "run"]);
        }
        let Ok(answers) = self.ask(&mut wire, &pipeline).await else { return Server::Silent };
        let generation = fence.generation.to_string();
        let is_as_agreed = |answer| {
            let meta = from_redis_value::<[Option<String>; 2]>(answer);
            matches!(meta, Ok([Some(g), Some(run)]) if g == generation && run == fence.run_id)
        };
        match *wire.run_id == fence.run_id && answers.into_iter().all(is_as_agreed) {
            true => Server::Same,
            false => Server::Other,
        }
    }

    /// The run id of the process that answers now, if one does.
    pub async fn run_id(&self) -> Option<String> {
        self.link.wire().await.ok().map(|wire| wire.run_id.to_string())
    }

    /// Ends the appends of a partition, and gives what its outbox still has.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn survivors(&self, partition: u8) -> Result<Vec<Entry>, LogError> {
        let mut wire = self.link.wire().await?;
        let meta = keys::meta(partition);
        let fenced = wire.run::<Value>(&FENCE.key(&meta)).await;
        self.checked(&wire, fenced)?;
        let answers = self.ask(&mut wire, redis::pipe().hget(&meta, "generation")).await?;
        let generation: Option<i64> = from_redis_value(answers.into_iter().next().unwrap_or(Value::Nil))?;
        let Some(generation) = generation else { return Ok(Vec::new()) };
        let out = Names { generation }.out(partition);
        let mut found = Vec::new();
        let mut from = String::from("-");
        loop {
            let mut answers = self.ask(&mut wire, redis::pipe().xrange_count(&out, &from, "+", STEP)).await?;
            let step: StreamRangeReply = from_redis_value(answers.remove(0))?;
            let Some(last) = step.ids.last() else { return Ok(found) };
            from = format!("({}", last.id);
            for id in &step.ids {
                found.extend(outbox::read_or_say(id));
            }
        }
    }

    /// Looks whether the server still has all that it took from this pod, and all that was `shown` here, and leaves a
    /// note there for the one who begins the next `generation` if it has not.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn say_what_is_missing(&self, generation: i64, shown: &[Entry]) -> Result<(), LogError> {
        let Some(taken) = self.taken() else { return Ok(()) };
        let names = Names { generation: taken.generation };
        let shown: BTreeMap<RoomId, Seq> = shown.iter().map(|entry| (entry.room, entry.event.seq)).collect();
        let mut wire = self.link.wire().await?;
        let mut pipeline = redis::pipe();
        for partition in 0..PARTITIONS {
            pipeline.hmget(keys::meta(partition), &["generation", "n"]);
        }
        for room in shown.keys() {
            pipeline.hget(names.room(*room), "seq");
        }
        let mut answers = self.ask(&mut wire, &pipeline).await?.into_iter();
        let has_taken = answers.by_ref().zip(taken.places).all(|(answer, n)| {
            let meta = from_redis_value::<[Option<u64>; 2]>(answer);
            matches!(meta, Ok([Some(g), Some(kept)]) if g.cast_signed() == taken.generation && kept >= n)
        });
        let has_shown = answers.zip(shown.values()).all(|(answer, shown)| {
            matches!(from_redis_value::<Option<u64>>(answer), Ok(Some(kept)) if kept >= shown.0)
        });
        if !(has_taken && has_shown) {
            let key = Names { generation }.missing();
            self.ask(&mut wire, redis::pipe().set(key, 1)).await?;
        }
        Ok(())
    }

    /// Since when idempotency keys are complete at the server, in ms since 1970; `None` when it lost some: then
    /// `generation` is the first that has them all.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn keys_kept(&self, generation: i64) -> Result<Option<i64>, LogError> {
        let mut wire = self.link.wire().await?;
        let mut pipeline = redis::pipe();
        pipeline.exists(Names { generation }.missing());
        for partition in 0..PARTITIONS {
            pipeline.hget(keys::meta(partition), "keys_since");
        }
        let mut answers = self.ask(&mut wire, &pipeline).await?.into_iter();
        if answers.next().is_none_or(|missing| missing != Value::Int(0)) {
            return Ok(None);
        }
        let since = answers.map(|answer| from_redis_value::<Option<i64>>(answer).ok().flatten());
        Ok(since.collect::<Option<Vec<i64>>>().and_then(|since| since.into_iter().max()))
    }

    /// Begins a generation, with empty logs and outboxes, on the process `run_id`. Idempotency keys are complete there
    /// since `keys_since`, in ms since 1970.
    ///
    /// # Errors
    /// When the server does not answer, is another by now, or has a newer generation.
    pub async fn begin(&self, generation: i64, run_id: &str, keys_since: i64) -> Result<(), LogError> {
        let mut wire = self.link.wire().await?;
        if *wire.run_id != *run_id {
            return Err(LogErrorKind::Unavailable.into());
        }
        for partition in 0..PARTITIONS {
            let mut begin = BEGIN.key(keys::meta(partition));
            begin.arg(generation).arg(run_id).arg(keys_since);
            let answer = wire.run::<Vec<String>>(&begin).await;
            if self.checked(&wire, answer)?.first().is_none_or(|word| word != "OK") {
                return Err(LogErrorKind::Unavailable.into());
            }
        }
        Ok(())
    }

    /// Takes away what older generations left, as far as it can be had now; what is left is left for the next time.
    pub async fn sweep_old(&self, generation: i64) {
        if let Err(e) = self.sweep(generation).await {
            tracing::warn!(error = %e, "keys of older generations are still there");
        }
    }

    async fn sweep(&self, generation: i64) -> Result<(), LogError> {
        let mut connection = self.pool.get().await.map_err(outbox::unreachable)?;
        let mut cursor = String::from("0");
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg("maru:{*}:*").arg("COUNT").arg(SCAN);
            let (next, found): (String, Vec<String>) = scan.query_async(&mut connection).await?;
            let old: Vec<String> = found.into_iter().filter(|key| is_older(key, generation)).collect();
            if !old.is_empty() {
                () = redis::cmd("UNLINK").arg(old).query_async(&mut connection).await?;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// What was taken and what is archived, of all partitions.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn all_marks(&self) -> Result<[Vec<u64>; 2], LogError> {
        let all: Vec<u8> = (0..PARTITIONS).collect();
        let marks = self.marks(&all).await?;
        Ok([marks.iter().map(|mark| mark.n).collect(), marks.iter().map(|mark| mark.archived).collect()])
    }

    pub(super) fn checked<T>(&self, wire: &Wire, answer: redis::RedisResult<T>) -> Result<T, LogError> {
        answer.map_err(|e| {
            self.link.failed(wire, &e);
            e.into()
        })
    }

    /// What is agreed on now.
    ///
    /// # Errors
    /// When nothing is.
    pub fn agreed(&self) -> Result<super::Agreed, LogError> {
        match &*self.standing.borrow() {
            Standing::Agreed(agreed) => Ok(agreed.clone()),
            Standing::Fenced => Err(super::fenced()),
        }
    }
}

/// Is this the key of a generation before this one?
fn is_older(key: &str, generation: i64) -> bool {
    key.split(':').nth(2).and_then(|part| part.parse().ok()).is_some_and(|of: i64| of < generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_older_generations_are_swept() {
        for (key, is_old) in [
            ("maru:{1}:2:out", true),
            ("maru:{1}:2:log:00ff", true),
            ("maru:{1}:3:out", false),
            ("maru:{1}:4:out", false),
            ("maru:{1}:meta", false),
            ("maru:{1}:idem:00ff:00ff:2", false),
        ] {
            assert_eq!(is_older(key, 3), is_old, "{key}");
        }
    }
}
