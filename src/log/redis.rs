//! The log of many pods: Redis numbers, orders and buffers; the archive keeps.
//!
//! One script adds an event, with all its checks before any effect. What a pod has taken stays in its memory until
//! the archive has it, so that a server that comes back with less can be given back what it lost. Which server, and
//! which generation of it, the pods have agreed on is the [`Standing`]; while they have not, nothing is taken.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use bytes::Bytes;
use redis::{RedisError, Script, Value};
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use super::{Ack, LogError, LogErrorKind, SHOWN_MS};
use crate::{
    archive::{Archive, ArchiveError},
    clock,
    event::{Entry, LogId, Seq},
};

pub(crate) mod append;
pub(crate) mod call;
mod check;
mod figures;
pub(crate) mod generation;
pub(crate) mod held;
mod inbox;
pub(crate) mod keys;
mod link;
mod list;
mod mail;
mod marks;
mod members;
#[cfg(test)]
pub(crate) mod model;
pub(crate) mod outbox;
pub(crate) mod presence;
pub(crate) mod read;
mod renames;
pub(crate) mod stored;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tips;

pub(crate) use check::is_old;
pub use figures::RedisFigures;
pub use generation::Server;
pub use outbox::{Backlog, Batch, Outbox, Owned};
pub use presence::{Look, Move, Moved, Quiet, Ward, What};
pub use renames::Renames;
pub use tips::Tips;

use append::Leaving;
use held::Held;
use keys::Names;
use link::{Link, Wire};
use stored::Stored;

/// Bytes of events that a pod holds until the archive has them; over it nothing more is taken.
pub(crate) const HELD: usize = 64 << 20;

static FORGET: std::sync::LazyLock<Script> =
    std::sync::LazyLock::new(|| Script::new(include_str!("redis/forget.lua")));

/// The server that the pods agreed on: which life of which process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Counts how often they had to agree; part of the names of keys.
    pub generation: i64,
    /// Of the process (`INFO server`).
    pub run_id: Arc<str>,
}

impl Agreed {
    fn names(&self) -> Names {
        Names { generation: self.generation }
    }
}

/// Where this pod stands with the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may take events.
    Agreed(Agreed),
    /// The server is not the one that was agreed on, or nobody knows yet.
    Fenced,
}

impl Standing {
    /// Is this what is agreed on?
    pub(crate) fn is(&self, agreed: &Agreed) -> bool {
        matches!(self, Standing::Agreed(present) if present == agreed)
    }
}

/// The highest place that each partition gave to this pod, in a generation.
struct Taken {
    generation: i64,
    places: Vec<u64>,
}

/// What the log of many pods is made with.
pub struct Parts {
    /// `redis://…` or `rediss://…`, with user and password if there are any.
    pub url: String,
    /// This pod, as the others know it.
    pub pod: Uuid,
    /// Where history is kept.
    pub archive: Archive,
    /// The durability that an event has before it is answered for and shown.
    pub ack: Ack,
    /// The channel of a log, if the script is to publish to it: Redis is the backplane. Otherwise this pod does it.
    pub channel: Option<fn(LogId) -> String>,
    /// Where goes what this pod is to publish. When there is no room in it something is not published, and readers
    /// find it by the tip check.
    pub said: mpsc::Sender<(LogId, Bytes)>,
}

/// The logs of all rooms, in Redis and the archive.
pub struct RedisLog {
    appends: Link,
    link: Link,
    pool: deadpool_redis::Pool,
    pod: Uuid,
    pub(super) archive: Archive,
    ack: Ack,
    channel: Option<fn(LogId) -> String>,
    said: mpsc::Sender<(LogId, Bytes)>,
    standing: watch::Sender<Standing>,
    /// The last generation that was agreed on.
    generation: Mutex<Option<i64>>,
    suspicion: Notify,
    leaving: Mutex<Vec<Leaving>>,
    held: Mutex<Held>,
    stored: Stored,
    figures: RedisFigures,
    gone: presence::GoneEar,
    shown: OnceLock<Shown>,
}

/// Gives what readers here were shown since a time, in ms since 1970.
type Shown = Box<dyn Fn(i64) -> Vec<Entry> + Send + Sync>;

impl std::fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisLog")
    }
}

impl RedisLog {
    /// A log that takes nothing until [`RedisLog::stand`] says that it may.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(parts: Parts) -> io::Result<Arc<Self>> {
        let Parts { url, pod, archive, ack, channel, said } = parts;
        let link = Link::new(&url)?;
        Ok(Arc::new(RedisLog {
            appends: Link::new(&url)?,
            pool: link.pool()?,
            link,
            pod,
            archive,
            ack,
            channel: channel.filter(|_| ack == Ack::Buffered),
            said,
            standing: watch::Sender::new(Standing::Fenced),
            generation: Mutex::default(),
            suspicion: Notify::new(),
            leaving: Mutex::default(),
            held: Mutex::new(Held::new(HELD)),
            stored: Stored::default(),
            figures: RedisFigures::new(),
            gone: presence::GoneEar::default(),
            shown: OnceLock::new(),
        }))
    }

    /// Sentences about settings of the server that put promises at risk.
    pub async fn warnings(&self) -> Vec<String> {
        match self.link.wire().await {
            Ok(mut wire) => check::warnings(&mut wire).await,
            Err(e) => vec![format!("its settings could not be checked: {e}")],
        }
    }

    /// Where it stands.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Takes events from now on, or no more.
    pub fn stand(&self, standing: Standing) {
        if let Standing::Agreed(agreed) = &standing {
            *self.generation.lock().expect("no panic while locked") = Some(agreed.generation);
        }
        self.standing.send_if_modified(|present| {
            let is_new = *present != standing;
            *present = standing;
            is_new
        });
    }

    /// Waits until something looks as if the server were not the one that was agreed on.
    pub async fn suspected(&self) {
        self.suspicion.notified().await;
    }

    /// What the server gave places to in the generation that this pod works or worked in; `None` when it never did.
    fn taken(&self) -> Option<Taken> {
        let generation = *self.generation.lock().expect("no panic while locked");
        Some(Taken { generation: generation?, places: self.lock_held().places() })
    }

    /// What this pod has taken and the archive does not have.
    pub fn held(&self) -> Vec<Entry> {
        self.lock_held().all()
    }

    /// From now on `shown` is asked for what readers here were shown since a time, in ms since 1970; once for all.
    pub fn remember_shown(&self, shown: impl Fn(i64) -> Vec<Entry> + Send + Sync + 'static) {
        _ = self.shown.set(Box::new(shown));
    }

    /// What readers here were shown lately and the archive may not have.
    pub fn shown(&self) -> Vec<Entry> {
        match self.shown.get() {
            Some(shown) if self.ack == Ack::Buffered => shown(clock::millis() - SHOWN_MS),
            _ => Vec::new(),
        }
    }

    /// All of that is safe now.
    pub fn release_all(&self) {
        self.lock_held().clear();
    }

    /// Bytes of events that this pod has taken and the archive does not have, about.
    pub fn held_bytes(&self) -> usize {
        self.lock_held().bytes()
    }

    /// What is counted.
    pub fn figures(&self) -> &RedisFigures {
        &self.figures
    }

    /// The durability that an event has before it is shown.
    pub fn ack(&self) -> Ack {
        self.ack
    }

    /// Hands something on to be published.
    pub fn say(&self, log: LogId, said: Bytes) {
        if self.said.try_send((log, said)).is_err() {
            self.figures.unsaid.inc();
        }
    }

    pub(super) async fn revoke(&self, session: i64, until: i64) -> Result<(), LogError> {
        Ok(self.archive.revoke(session, until).await?)
    }

    /// Sessions revoked after the `after`th and not yet expired: number, session, expiry in s since 1970. Numbers may
    /// become visible out of order.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn revoked(&self, after: i64) -> Result<Vec<(i64, i64, i64)>, LogError> {
        Ok(self.archive.revoked(after).await?)
    }

    pub(super) async fn trim(&self, horizon: i64) -> Result<bool, LogError> {
        let trimmed = self.archive.trim(horizon, 500).await?;
        let (mut wire, agreed) = self.ready().await?;
        for (room, first) in &trimmed.rooms {
            let partition = LogId::from(*room).partition();
            let mut forget = FORGET.prepare_invoke();
            forget.key(keys::meta(partition)).key(agreed.names().room(*room)).key(agreed.names().log(*room));
            forget.arg(agreed.generation).arg(&*agreed.run_id).arg(first.0);
            let answer = wire.run::<Value>(&forget).await;
            self.checked(&wire, answer)?;
        }
        for (room, first) in trimmed.rooms {
            self.say(room.into(), trimmed_below(first));
        }
        Ok(trimmed.is_more)
    }

    /// The connection to ask on, if it leads to the server that was agreed on.
    async fn ready(&self) -> Result<(Wire, Agreed), LogError> {
        self.ready_on(&self.link).await
    }

    async fn ready_for_appends(&self) -> Result<(Wire, Agreed), LogError> {
        self.ready_on(&self.appends).await
    }

    async fn ready_on(&self, link: &Link) -> Result<(Wire, Agreed), LogError> {
        let agreed = self.agreed()?;
        let wire = link.wire().await?;
        if wire.run_id == agreed.run_id {
            return Ok((wire, agreed));
        }
        // It may lead to a process that is no more, which shows only when something is sent.
        link.forget(&wire);
        let wire = link.wire().await?;
        if wire.run_id != agreed.run_id {
            self.suspect();
            return Err(fenced());
        }
        Ok((wire, agreed))
    }

    fn gives_out_stored_only(&self) -> bool {
        self.ack == Ack::Stored
    }

    fn suspect(&self) {
        self.figures.fenced.inc();
        self.suspicion.notify_one();
    }

    fn lock_leaving(&self) -> MutexGuard<'_, Vec<Leaving>> {
        self.leaving.lock().expect("no panic while locked")
    }

    fn lock_held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while locked")
    }
}

/// What is said to the readers of a log of which retention took everything below `first`.
fn trimmed_below(first: Seq) -> Bytes {
    format!("t {first}").into()
}

/// Nothing is agreed on, or not this: the pods say in the log what they do about it.
pub(crate) fn fenced() -> LogError {
    LogError::from(LogErrorKind::Unavailable).told()
}

impl From<RedisError> for LogError {
    fn from(source: RedisError) -> Self {
        // The link says when it goes and comes.
        LogError::new(LogErrorKind::Unavailable, source).told()
    }
}

impl From<redis::ParsingError> for LogError {
    fn from(source: redis::ParsingError) -> Self {
        LogError::new(LogErrorKind::Unavailable, source)
    }
}

impl From<ArchiveError> for LogError {
    fn from(source: ArchiveError) -> Self {
        LogError::new(LogErrorKind::Unavailable, source)
    }
}
