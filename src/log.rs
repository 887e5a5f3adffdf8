//! The ordered log: it numbers, keeps and announces.
//!
//! A log gives every event of a room its place, exactly once and for good, and answers only when the event
//! has reached the durability asked for. What it announces, it announces in order, per room, and only after
//! that (P3). What it may not do: lose what it answered for, give a seq twice, or announce what it may yet
//! lose.

use std::{fmt, sync::Arc, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::{
    Aside, Cursor, Draft, Event, Extent, Frame, LogId, Name, Part, Room, RoomKind, Seq, User, UserId,
};

mod members;
pub(crate) mod redis;
mod sqlite;

pub use members::Known;
pub use redis::{
    Agreed, Backlog, Batch, Look, Move, Moved, Outbox, Owned, Parts, Quiet, RedisFigures, RedisLog, Renames,
    Server, Standing, Tips, Ward, What,
};
pub use sqlite::{SqliteLog, new_epoch};

/// For how long an event that was shown may be held by nobody, in ms: until its pod has its answer, or gives it up.
pub(crate) const SHOWN_MS: i64 = 60_000;
/// How long an idempotency key is remembered, in ms: 24 h.
pub const KEY_LIFE_MS: i64 = 24 * 60 * 60 * 1000;

/// Between the end of a person's last stream in a room and their leave.
pub const GRACE: Duration = Duration::from_secs(10);

/// Whose idempotency keys these are: a user, or, for people without a session, their address in disguise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Who(pub Uuid);

/// How safe an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// In Redis, and in the memory of the pod that took it.
    Buffered,
    /// Committed on disk, in SQLite or MySQL.
    Stored,
}

/// Something to add to a room's log.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where.
    pub room: Room,
    /// Who speaks.
    pub user: User,
    /// Whose keys.
    pub who: Who,
    /// What.
    pub draft: Draft,
    /// How safe it is to be before it is answered for, if safer than all else here.
    pub ack: Option<Ack>,
}

/// What became of an [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The event's own id.
    pub id: Uuid,
    /// Its place.
    pub cursor: Cursor,
    /// When it was taken, in ms since 1970.
    pub ts: i64,
    /// The key was known: this is the answer of the first time.
    pub duplicate: bool,
    /// How safe it is.
    pub durability: Ack,
}

/// What a log tells: in order, per room.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An event has its place.
    Appended(LogId, Frame),
    /// Retention took everything below this seq.
    Trimmed(LogId, Seq),
    /// People came into a room, or left it.
    Passed(LogId, Passed),
    /// Something for those who listen now.
    Told(LogId, Aside),
}

/// A person, as others are told of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub id: UserId,
    /// Their name now.
    pub name: Name,
}

/// Who came into a room and who left it, over all pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Passed {
    /// Grows with each that the server says: a backplane may bring them in another order.
    pub turn: u64,
    /// Were not there on any pod before.
    pub joined: Vec<Person>,
    /// Are not there any more, their grace being over.
    pub left: Vec<Person>,
    /// How many people are there now.
    pub online: usize,
}

impl Notice {
    /// What another pod said about a log: an event as [`Frame::said`] has it, an [`Aside`], `t <seq>`, or `p <json>`
    /// of a [`Passed`]. `None` when it says nothing that is known here.
    pub fn heard(log: LogId, said: &[u8]) -> Option<Self> {
        if let Some(first) = said.strip_prefix(b"t ") {
            return Some(Notice::Trimmed(log, std::str::from_utf8(first).ok()?.parse().ok()?));
        }
        if let Some(passed) = said.strip_prefix(b"p ") {
            return Some(Notice::Passed(log, serde_json::from_slice(passed).ok()?));
        }
        if let Some(aside) = Aside::heard(said) {
            return Some(Notice::Told(log, aside));
        }
        Frame::heard(said).map(|frame| Notice::Appended(log, frame))
    }
}

/// Why a log did not do what it was asked.
#[derive(Debug)]
pub struct LogError {
    /// What to do about it.
    pub kind: LogErrorKind,
    /// That there is an outage was logged where it began: it need not be said of every request.
    pub is_told: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What to do about a [`LogError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogErrorKind {
    /// There is no such message (any more).
    NotFound,
    /// It is somebody else's message.
    NotYours,
    /// It is so already: there is nothing to add.
    NoChange,
    /// The room has as many members as there may be.
    Crowded,
    /// The idempotency key stands for another text.
    KeyReused,
    /// Too much is waiting already; nothing was accepted.
    Overloaded,
    /// The store does not answer or cannot write; nothing was accepted.
    Unavailable,
    /// The store did not answer in time: it may have been accepted. Asking again with the same key finds out.
    OutcomeUnknown,
}

impl From<LogErrorKind> for LogError {
    fn from(kind: LogErrorKind) -> Self {
        LogError { kind, is_told: false, source: None }
    }
}

impl LogError {
    fn new(kind: LogErrorKind, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        LogError { kind, is_told: false, source: Some(Box::new(source)) }
    }

    fn told(self) -> Self {
        LogError { is_told: true, ..self }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            LogErrorKind::NotFound => "no such message",
            LogErrorKind::NotYours => "somebody else's message",
            LogErrorKind::NoChange => "it is so already",
            LogErrorKind::Crowded => "the room is full",
            LogErrorKind::KeyReused => "idempotency key used for another text",
            LogErrorKind::Overloaded => "too much is waiting",
            LogErrorKind::Unavailable => "the store is unavailable",
            LogErrorKind::OutcomeUnknown => "the store did not say what became of it",
        })?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The logs of all rooms. A closed set of backends.
#[derive(Clone, Debug)]
pub enum Log {
    /// One machine: SQLite is the log.
    Sqlite(Arc<SqliteLog>),
    /// Many pods: Redis numbers and buffers, MySQL keeps.
    Redis(Arc<RedisLog>),
}

impl Log {
    /// May a room grow by what others take?
    pub fn has_other_pods(&self) -> bool {
        matches!(self, Log::Redis(_))
    }

    /// Adds to a room's log; answers when it is stored.
    pub async fn append(&self, append: Append) -> Result<Placed, LogError> {
        match self {
            Log::Sqlite(log) => log.append(append).await,
            Log::Redis(log) => log.append(append).await,
        }
    }

    /// Where the room's log begins and ends. A room that nobody has spoken in is empty, not an error.
    pub async fn extent(&self, room: &Room) -> Result<Extent, LogError> {
        match self {
            Log::Sqlite(log) => log.extent(room.clone()).await,
            Log::Redis(log) if room.kind == RoomKind::Inbox => log.inbox_extent(UserId(room.id.0)).await,
            Log::Redis(log) => log.extent(room.id).await,
        }
    }

    /// Up to `limit` events above `after`, ascending, as written (deleted ones scrubbed). Of an inbox, what its
    /// entries point to now.
    pub async fn read(&self, room: &Room, after: Seq, limit: usize) -> Result<Vec<Frame>, LogError> {
        match self {
            Log::Sqlite(log) => log.read(room.clone(), after, limit).await,
            Log::Redis(log) if room.kind == RoomKind::Inbox => {
                log.inbox_read(UserId(room.id.0), after, limit).await
            }
            Log::Redis(log) => log.read(room, after, limit).await,
        }
    }

    /// The newest `count` events, ascending, as [`read`](Self::read) has them.
    pub async fn last(&self, room: &Room, count: usize) -> Result<Vec<Frame>, LogError> {
        match self {
            Log::Sqlite(log) => log.last(room.clone(), count).await,
            Log::Redis(log) if room.kind == RoomKind::Inbox => log.inbox_last(UserId(room.id.0), count).await,
            Log::Redis(log) => log.last(room, count).await,
        }
    }

    /// Up to `limit` events of a part, ascending, as listed: edited messages with their new text.
    pub async fn page(&self, room: &Room, part: Part, limit: usize) -> Result<Vec<Event>, LogError> {
        match self {
            Log::Sqlite(log) => log.page(room.clone(), part, limit).await,
            Log::Redis(log) => log.page(room, part, limit).await,
        }
    }

    /// Takes a session's rights away for good, until `until` (seconds since 1970), when it would have expired.
    pub async fn revoke(&self, session: i64, until: i64) -> Result<(), LogError> {
        match self {
            Log::Sqlite(log) => log.revoke(session, until).await,
            Log::Redis(log) => log.revoke(session, until).await,
        }
    }

    /// Sessions revoked and not yet expired, with their expiry in seconds since 1970.
    pub async fn revoked(&self) -> Result<Vec<(i64, i64)>, LogError> {
        match self {
            Log::Sqlite(log) => log.revoked().await,
            Log::Redis(log) => {
                let revoked = log.revoked(0).await?;
                Ok(revoked.into_iter().map(|(_, session, until)| (session, until)).collect())
            }
        }
    }

    /// Lets go of events from before `horizon` (ms since 1970), in small steps; true when there is more to do.
    pub async fn trim(&self, horizon: i64) -> Result<bool, LogError> {
        match self {
            Log::Sqlite(log) => log.trim(horizon).await,
            Log::Redis(log) => log.trim(horizon).await,
        }
    }

    /// Writes what is queued and closes the store.
    pub async fn close(&self) {
        match self {
            Log::Sqlite(log) => log.close().await,
            // What it has taken is Redis's already.
            Log::Redis(_) => {}
        }
    }
}
