//! Who is in the rooms, over all pods: what the pods tell the server, and what is asked of it.
//!
//! A pod says when a person's first stream in a room opens there and when their last one ends, and nothing of what is in
//! between. Everything here may be said twice. It belongs to a generation like all else: another begins empty, and
//! every pod says again who is there.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation, Value, from_redis_value};
use uuid::Uuid;

use super::{
    Agreed, RedisLog,
    keys::{self, Names},
};
use crate::{
    event::{LogId, Name, RoomId, User, UserId, UserKind},
    log::{GRACE, LogError, LogErrorKind},
};

mod gone;
#[cfg(test)]
pub(crate) mod model;
mod owner;
#[cfg(test)]
mod tests;

pub(super) use gone::GoneEar;
pub use owner::Ward;

static ENTER: LazyLock<Script> = LazyLock::new(|| script(include_str!("presence/enter.lua")));
static LEAVE: LazyLock<Script> = LazyLock::new(|| script(include_str!("presence/leave.lua")));
static RENAME: LazyLock<Script> = LazyLock::new(|| script(include_str!("presence/rename.lua")));

/// Who hears of a coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Nobody: it is said again, to a server that forgot it.
    Yes,
    /// The others in the room, if the person was not there.
    No,
}

/// What became of a person on this pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// They have streams here.
    Enter(Name, UserKind, Quiet),
    /// They have none here any more.
    Leave {
        /// And nobody else has any in this room.
        is_last: bool,
        /// Who it is, if they are to have their grace even when the server knows nothing of them: it forgot.
        again: Option<(Name, UserKind)>,
    },
    /// They have another name.
    Rename(Name),
}

/// One transition of one person in one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where.
    pub room: RoomId,
    /// Who.
    pub user: UserId,
    /// What.
    pub what: What,
}

/// What the server made of a [`Move`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// People in the room then, those in their grace included.
    pub online: usize,
    /// The others are told of it.
    pub is_told: bool,
    /// Of somebody who entered: this pod had nobody in the room, as far as the server knew.
    pub is_first: bool,
}

/// What the server has of this pod and of some rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// In how many rooms of each partition asked for this pod has people.
    pub held: Vec<usize>,
    /// People in each room asked for.
    pub online: Vec<usize>,
}

/// Fields and values of `here`.
type Found = Vec<(Vec<u8>, Vec<u8>)>;

impl RedisLog {
    /// Tells the server, in this order.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one of `agreed`: some of it may be done.
    pub async fn move_people(&self, agreed: &Agreed, moves: &[Move]) -> Result<Vec<Moved>, LogError> {
        let (mut wire, now) = self.ready().await?;
        if now != *agreed {
            return Err(LogErrorKind::Unavailable.into());
        }
        let mut pipeline = redis::pipe();
        for script in [&ENTER, &LEAVE, &RENAME] {
            pipeline.load_script(script).ignore();
        }
        for each in moves {
            pipeline.invoke_script(&self.invocation(agreed, each));
        }
        let answers = self.ask(&mut wire, &pipeline).await?;
        let mut moved = Vec::with_capacity(moves.len());
        for (answer, each) in answers.into_iter().zip(moves) {
            moved.push(self.said(each.room, answer)?);
        }
        match moved.len() == moves.len() {
            true => Ok(moved),
            false => Err(LogErrorKind::Unavailable.into()),
        }
    }

    fn invocation(&self, agreed: &Agreed, each: &Move) -> ScriptInvocation<'static> {
        let channel = match self.channel {
            Some(channel) => channel(each.room.into()),
            None => String::new(),
        };
        invocation(agreed, self.pod, each, &channel, grace_ms())
    }

    /// Reads what a script of presence answered, and hands on what is to be said of it.
    fn said(&self, room: RoomId, answer: Value) -> Result<Moved, LogError> {
        let answer: Vec<String> = from_redis_value(answer)?;
        match &answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["OK", online, said, rest @ ..] => {
                if self.channel.is_none() && !said.is_empty() {
                    self.say(room.into(), said.as_bytes().to_vec().into());
                }
                let online = online.parse().map_err(|_| LogErrorKind::Unavailable)?;
                let is_first = rest.contains(&"first");
                Ok(Moved { online, is_told: !said.is_empty(), is_first })
            }
            ["FENCED"] => {
                self.suspect();
                Err(LogErrorKind::Unavailable.into())
            }
            _ => Err(LogErrorKind::Unavailable.into()),
        }
    }

    /// What the server has of this pod in these partitions, and how many people it has in these rooms.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn look_at_people(&self, partitions: &[u8], rooms: &[RoomId]) -> Result<Look, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let mut pipeline = redis::pipe();
        for partition in partitions {
            pipeline.scard(agreed.names().at(*partition, self.pod));
        }
        for room in rooms {
            pipeline.hlen(agreed.names().here(*room));
        }
        // Even with nothing to ask: that it answers is an answer.
        pipeline.ping();
        let mut answers = self.ask(&mut wire, &pipeline).await?.into_iter().map(from_redis_value);
        let held = answers.by_ref().take(partitions.len()).collect::<Result<_, _>>()?;
        let online = answers.take(rooms.len()).collect::<Result<_, _>>()?;
        Ok(Look { held, online })
    }

    /// How many people are in a room, and about `limit` of them (in the same order on every pod).
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn people(&self, room: RoomId, limit: usize) -> Result<(usize, Vec<User>), LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let here = agreed.names().here(room);
        let mut pipeline = redis::pipe();
        pipeline.hlen(&here);
        if limit > 0 {
            pipeline.cmd("HSCAN").arg(&here).arg(0).arg("COUNT").arg(limit);
        }
        let mut answers = self.ask(&mut wire, &pipeline).await?.into_iter();
        let online = from_redis_value(answers.next().unwrap_or(Value::Int(0)))?;
        let mut people = Vec::new();
        if let Some(found) = answers.next() {
            let (_, found): (Value, Found) = from_redis_value(found)?;
            people.extend(found.iter().filter_map(|(user, person)| read(user, person)).take(limit));
        }
        Ok((online, people))
    }
}

/// The call of the script on this generation, which the process `run_id` has.
fn invocation(
    agreed: &Agreed,
    pod: Uuid,
    each: &Move,
    channel: &str,
    grace_ms: u64,
) -> ScriptInvocation<'static> {
    let Move { room, user, what } = each;
    let user = &user.0.as_bytes()[..];
    let begin = |script: &'static Script| {
        let mut call = script.prepare_invoke();
        call.key(keys::meta(LogId::from(*room).partition())).key(agreed.names().here(*room));
        call.arg(agreed.generation).arg(&*agreed.run_id);
        call
    };
    let of_pod = |script| {
        let mut call = begin(script);
        for key in pod_keys(agreed.names(), *room, pod) {
            call.key(key);
        }
        call.arg(&room.0.as_bytes()[..]).arg(user).arg(&pod.as_bytes()[..]);
        call
    };
    match what {
        What::Enter(name, kind, quiet) => {
            let mut call = of_pod(&ENTER);
            let quiet = if *quiet == Quiet::Yes { "quiet" } else { "" };
            call.arg(kind.as_str()).arg(name.as_str()).arg(quiet).arg(channel);
            call
        }
        What::Leave { is_last, again } => {
            let mut call = of_pod(&LEAVE);
            call.arg(grace_ms).arg(if *is_last { "last" } else { "" });
            match again {
                Some((name, kind)) => call.arg(kind.as_str()).arg(name.as_str()),
                None => call.arg("").arg(""),
            };
            call
        }
        What::Rename(name) => {
            let mut call = begin(&RENAME);
            call.arg(user).arg(name.as_str());
            call
        }
    }
}

/// `grace`, `at` and `pods`, as the scripts take them.
fn pod_keys(names: Names, room: RoomId, pod: Uuid) -> [String; 3] {
    let partition = LogId::from(room).partition();
    [names.grace(partition), names.at(partition, pod), names.pods(partition)]
}

fn grace_ms() -> u64 {
    u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX)
}

/// A script that begins with what they share.
fn script(rest: &str) -> Script {
    Script::new(&[include_str!("presence/person.lua"), rest].concat())
}

/// A person as `person.lua` writes them.
fn read(user: &[u8], person: &[u8]) -> Option<User> {
    let id = UserId(Uuid::from_slice(user).ok()?);
    let colon = person.iter().position(|byte| *byte == b':')?;
    let head = std::str::from_utf8(&person[..colon]).ok()?;
    let (kind, count) = head.split_at(head.find(|c: char| c.is_ascii_digit())?);
    let pods = 16 * count.parse::<usize>().ok()?;
    let name = std::str::from_utf8(person.get(colon + 1 + pods..)?).ok()?;
    Some(User { id, name: name.parse().ok()?, kind: kind.parse().ok()? })
}
