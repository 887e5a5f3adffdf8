//! What the owner of a partition does for the people in it: leaves that are due, and pods that died.

use std::{collections::BTreeMap, sync::LazyLock};

use redis::{Script, ScriptInvocation, Value, from_redis_value};
use uuid::Uuid;

use super::{grace_ms, pod_keys, script};
use crate::{
    event::{LogId, RoomId},
    log::{
        LogError, LogErrorKind,
        redis::{Agreed, Owned, RedisLog, keys},
    },
};

/// Graces of one partition that are looked at in one go.
const REAP_STEP: usize = 200;
/// People of a room that are looked at in one go when a pod died.
const BURY_STEP: usize = 500;

static REAP: LazyLock<Script> = LazyLock::new(|| script(include_str!("reap.lua")));
static BURY: LazyLock<Script> = LazyLock::new(|| script(include_str!("bury.lua")));

/// What the owner finds in one of its partitions.
#[derive(Debug)]
pub struct Ward {
    /// Which.
    pub owned: Owned,
    /// Pods that have people there.
    pub pods: Vec<Uuid>,
    /// Graces that are over, the oldest first; not all if there are many.
    due: Vec<(RoomId, Vec<u8>)>,
}

impl Ward {
    /// Is there nothing that is due?
    pub fn is_quiet(&self) -> bool {
        self.due.is_empty()
    }
}

impl RedisLog {
    /// What there is to do in these partitions.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn wards(&self, owned: &[Owned]) -> Result<Vec<Ward>, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for owned in owned {
            pipeline.smembers(agreed.names().pods(owned.partition));
            pipeline.zrange_withscores(agreed.names().grace(owned.partition), 0, REAP_STEP as isize - 1);
        }
        let mut answers = self.ask(&mut wire, &pipeline).await?.into_iter();
        let (seconds, micros): (u64, u64) = from_redis_value(answers.next().unwrap_or(Value::Nil))?;
        let now = seconds * 1000 + micros / 1000;
        let mut wards = Vec::with_capacity(owned.len());
        for owned in owned {
            let mut next = || answers.next().unwrap_or(Value::Nil);
            let pods: Vec<Vec<u8>> = from_redis_value(next())?;
            let graces: Vec<(Vec<u8>, f64)> = from_redis_value(next())?;
            #[expect(clippy::cast_precision_loss, reason = "ms since 1970 are below 2^53")]
            let due = graces.into_iter().filter(|(_, due)| *due <= now as f64);
            let due = due.filter_map(|(who, _)| {
                let (room, user) = who.split_at_checked(16)?;
                Some((RoomId(Uuid::from_slice(room).ok()?), user.to_vec()))
            });
            let pods = pods.iter().filter_map(|pod| Uuid::from_slice(pod).ok()).collect();
            wards.push(Ward { owned: *owned, pods, due: due.collect() });
        }
        Ok(wards)
    }

    /// Whoever's grace is over there has left.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on, or the partition is another's by now.
    pub async fn reap(&self, ward: &Ward) -> Result<(), LogError> {
        let mut rooms: BTreeMap<RoomId, Vec<&[u8]>> = BTreeMap::new();
        for (room, user) in &ward.due {
            rooms.entry(*room).or_default().push(user);
        }
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        pipeline.load_script(&REAP).ignore();
        for (room, users) in &rooms {
            let channel = self.channel.map_or_else(String::new, |channel| channel((*room).into()));
            let reap = reaping(&agreed, ward.owned.token, *room, users, &channel);
            pipeline.invoke_script(&reap);
        }
        let answers = self.ask(&mut wire, &pipeline).await?;
        for (answer, room) in answers.into_iter().zip(rooms.keys()) {
            self.tell_gone(*room, &answer);
            self.said(*room, answer)?;
        }
        Ok(())
    }

    /// The pod died: nobody has streams on it any more.
    ///
    /// # Errors
    /// As [`RedisLog::reap`].
    pub async fn bury(&self, owned: Owned, pod: Uuid) -> Result<(), LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let names = agreed.names();
        let at = names.at(owned.partition, pod);
        let found = self.ask(&mut wire, redis::pipe().smembers(&at)).await?.pop().unwrap_or(Value::Nil);
        let rooms: Vec<Vec<u8>> = from_redis_value(found)?;
        let rooms: Vec<RoomId> =
            rooms.iter().filter_map(|room| Uuid::from_slice(room).ok().map(RoomId)).collect();
        if rooms.is_empty() {
            let pods = names.pods(owned.partition);
            self.ask(&mut wire, redis::pipe().srem(pods, &pod.as_bytes()[..])).await?;
        }
        for room in rooms {
            let mut cursor = String::from("0");
            loop {
                let bury = burying(&agreed, owned.token, room, pod, &cursor, grace_ms());
                let answer = wire.run::<Vec<String>>(&bury).await;
                let answer = answer.inspect_err(|e| self.link.failed(&wire, e))?;
                match <[String; 2]>::try_from(answer) {
                    Ok([_, next]) if next == "0" => break,
                    Ok([_, next]) => cursor = next,
                    Err(_) => return Err(LogErrorKind::Unavailable.into()),
                }
            }
        }
        Ok(())
    }
}

/// The call of the script that lets those of these people go whose grace is over.
pub(super) fn reaping(
    agreed: &Agreed,
    token: u64,
    room: RoomId,
    users: &[&[u8]],
    channel: &str,
) -> ScriptInvocation<'static> {
    let partition = LogId::from(room).partition();
    let mut reap = REAP.key(keys::meta(partition));
    reap.key(agreed.names().here(room)).key(agreed.names().grace(partition));
    reap.arg(agreed.generation).arg(&*agreed.run_id).arg(token);
    reap.arg(&room.0.as_bytes()[..]).arg(channel);
    for user in users {
        reap.arg(*user);
    }
    reap
}

/// The call of the script that takes a pod from the people of a room, from `cursor` on.
pub(super) fn burying(
    agreed: &Agreed,
    token: u64,
    room: RoomId,
    pod: Uuid,
    cursor: &str,
    grace_ms: u64,
) -> ScriptInvocation<'static> {
    let mut bury = BURY.key(keys::meta(LogId::from(room).partition()));
    bury.key(agreed.names().here(room));
    for key in pod_keys(agreed.names(), room, pod) {
        bury.key(key);
    }
    bury.arg(agreed.generation).arg(&*agreed.run_id).arg(token);
    bury.arg(&room.0.as_bytes()[..]).arg(&pod.as_bytes()[..]).arg(grace_ms);
    bury.arg(cursor).arg(BURY_STEP);
    bury
}
