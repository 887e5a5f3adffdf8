//! How pods hear each other.
//!
//! A backplane carries bytes about a log from any pod to every pod that has readers of that log. It may lose,
//! repeat and reorder what it carries: the hub heals by reading the log. What it owes is [`Inbound::Missed`]
//! whenever it may have lost something, and that only once it hears everything again, so that whoever reads
//! the log then has no hole between the two.
//!
//! | | named | `publish` is done when |
//! |---|---|---|
//! | [`Local`] | | everybody in the process has heard it |
//! | [`Redis`] | `maru:{<partition>}:say:<hex of the log>` | PUBLISH was answered |
//! | [`Nats`] | `maru.<partition>.<hex of the log>` | an echo came back on the same connection |
//!
//! What is listened to is kept by `Interest`, which knows neither Redis nor NATS; what the handles and the task
//! of a backplane share is a `Link`.

use std::{error::Error, fmt, io, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use crate::event::LogId;

mod interest;
mod link;
mod local;
mod nats;
mod redis;
#[cfg(test)]
mod tests;

pub use local::{Bus, Local};
pub use nats::Nats;
pub(crate) use nats::address as nats_address;
pub use redis::Redis;

/// What a backplane brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Somebody said this about a log that this pod listens to.
    Said(LogId, Bytes),
    /// The link was cut or let go of some, and is whole again: anything may have been missed until now.
    /// Said after each connect, the first one too.
    Missed,
}

/// Where it is brought to: called in the order of arrival. Must not block: nothing else arrives meanwhile.
type Ear = Arc<dyn Fn(Inbound) + Send + Sync>;

/// How pods hear each other. A closed set of backends; a clone is another handle of the same one.
#[derive(Clone, Debug)]
pub enum Backplane {
    /// All in this process.
    Local(Local),
    /// Redis pub/sub.
    Redis(Redis),
    /// NATS core.
    Nats(Nats),
}

impl Backplane {
    /// For a pod that is alone: it hears itself.
    pub fn local(ear: impl Fn(Inbound) + Send + Sync + 'static) -> Self {
        Backplane::on(&Bus::default(), ear)
    }

    /// For several pods in one process: they hear whoever is on the same bus.
    pub fn on(bus: &Bus, ear: impl Fn(Inbound) + Send + Sync + 'static) -> Self {
        Backplane::Local(Local::new(bus, Arc::new(ear)))
    }

    /// Over a Redis at `redis://` or `rediss://`, with `user:password@` if it wants them; the number of a
    /// database is ignored, since pub/sub has none. Connects in the background, so it is to be called within a
    /// tokio runtime, and connects again whenever the link is cut.
    ///
    /// # Errors
    /// When the URL is not one of Redis.
    pub fn redis(url: &str, ear: impl Fn(Inbound) + Send + Sync + 'static) -> io::Result<Self> {
        Redis::new(url, Arc::new(ear)).map(Backplane::Redis)
    }

    /// Over a NATS at `nats://` or `tls://`, with `user:password@` or `token@` if it wants them; needs the
    /// right to `maru.>` and `_INBOX.>`. Connects as [`Backplane::redis`] does.
    ///
    /// # Errors
    /// When the URL is not one of NATS.
    pub fn nats(url: &str, ear: impl Fn(Inbound) + Send + Sync + 'static) -> io::Result<Self> {
        Nats::new(url, Arc::new(ear)).map(Backplane::Nats)
    }

    /// From when this resolves on, what is said about the log is brought here (unless lost). Twice is once.
    ///
    /// While the server does not answer it waits for one second and returns anyway: [`Inbound::Missed`]
    /// follows once the server has heard of it.
    pub async fn subscribe(&self, log: LogId) {
        match self {
            Backplane::Local(local) => local.subscribe(log),
            Backplane::Redis(redis) => redis.subscribe(log).await,
            Backplane::Nats(nats) => nats.subscribe(log).await,
        }
    }

    /// Nobody here listens to it any more: takes effect after a second, unless `subscribe` comes before, since
    /// readers who go often come back. Never blocks.
    pub fn unsubscribe(&self, log: LogId) {
        match self {
            Backplane::Local(local) => local.unsubscribe(log),
            Backplane::Redis(redis) => redis.unsubscribe(log),
            Backplane::Nats(nats) => nats.unsubscribe(log),
        }
    }

    /// Says all this, in this order, to every pod that listens, this one included; resolves when the server has
    /// it. After an error some of it may have been said, or may yet be.
    ///
    /// # Errors
    /// [`Unavailable`](BackplaneErrorKind::Unavailable) while there is no link, or when no answer came within
    /// 5 s; see [`BackplaneErrorKind`].
    pub async fn publish(&self, said: Vec<(LogId, Bytes)>) -> Result<(), BackplaneError> {
        match self {
            Backplane::Local(local) => local.publish(said),
            Backplane::Redis(redis) => redis.publish(said).await,
            Backplane::Nats(nats) => nats.publish(said).await,
        }
    }

    /// How it fares.
    pub fn figures(&self) -> Figures {
        match self {
            Backplane::Local(local) => local.figures(),
            Backplane::Redis(redis) => redis.figures(),
            Backplane::Nats(nats) => nats.figures(),
        }
    }

    /// Hears and says nothing any more; the connections are closed. So they are when the last handle goes.
    pub async fn close(&self) {
        match self {
            Backplane::Local(local) => local.close(),
            Backplane::Redis(redis) => redis.close().await,
            Backplane::Nats(nats) => nats.close().await,
        }
    }
}

/// How a backplane fares. Counts are since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Logs listened to now, those included that nobody has listened to for less than a second.
    pub subscriptions: usize,
    /// Messages brought.
    pub messages_in: u64,
    /// Messages on channels whose name is not a log's.
    pub unknown: u64,
    /// Times that the link was cut. Redis cuts it also when this pod reads too slowly, and does not say so.
    pub cuts: u64,
    /// NATS: messages let go of since they came faster than they were read; at least that many.
    pub dropped: u64,
    /// Is everything heard now?
    pub is_connected: bool,
}

/// Why something could not be said.
#[derive(Debug)]
pub struct BackplaneError {
    /// What to do about it.
    pub kind: BackplaneErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What to do about a [`BackplaneError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackplaneErrorKind {
    /// There is no link, or no answer in time: it may work later.
    Unavailable,
    /// The server does not take it, because of its size or for want of rights: trying again is of no use.
    Refused,
    /// It was closed here.
    Closed,
}

impl BackplaneError {
    fn new(kind: BackplaneErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        BackplaneError { kind, source: Some(source.into()) }
    }
}

impl From<BackplaneErrorKind> for BackplaneError {
    fn from(kind: BackplaneErrorKind) -> Self {
        BackplaneError { kind, source: None }
    }
}

impl fmt::Display for BackplaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BackplaneErrorKind::Unavailable => "the backplane is unavailable",
            BackplaneErrorKind::Refused => "the backplane refused it",
            BackplaneErrorKind::Closed => "the backplane is closed",
        })?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for BackplaneError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The Redis channel on which is said what happens in a log: `maru:{17}:say:` and 32 hex digits. The partition
/// is its hash tag, so that the script which appends to a log may publish there in a cluster, too.
pub fn channel(log: LogId) -> String {
    format!("maru:{{{}}}:say:{}", log.partition(), log.0.simple())
}

/// The log whose [`channel`] this is.
fn log_of_channel(name: &str) -> Option<LogId> {
    let (partition, hex) = name.strip_prefix("maru:{")?.split_once("}:say:")?;
    log_of(partition, hex)
}

/// The NATS subject on which is said what happens in a log.
pub(crate) fn subject(log: LogId) -> String {
    format!("maru.{}.{}", log.partition(), log.0.simple())
}

/// The log whose [`subject`] this is.
fn log_of_subject(name: &str) -> Option<LogId> {
    let (partition, hex) = name.strip_prefix("maru.")?.split_once('.')?;
    log_of(partition, hex)
}

fn log_of(partition: &str, hex: &str) -> Option<LogId> {
    // Uuid reads hyphens and braces, too.
    let log = LogId((hex.len() == 32).then(|| Uuid::try_parse(hex).ok())??);
    (partition.parse() == Ok(log.partition())).then_some(log)
}
