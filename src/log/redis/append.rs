//! One append, until the script has all that it asks for.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use redis::{Script, Value};

use super::{
    Agreed, RedisLog,
    call::{Answer, Call},
    fenced, keys,
    link::Wire,
};
use crate::{
    clock,
    event::{Cursor, Frame, LogId},
    log::{Ack, Append, LogError, LogErrorKind, Placed},
};

/// Entries of one partition's outbox, at most: while the archive is away, POSTs are refused beyond it.
const OUTBOX: u64 = 100_000;
/// How often one append may be sent: each time with something more that it was asked for.
const TRIES: usize = 8;
/// How long an answer may wait for the archive.
const STORED: Duration = Duration::from_secs(10);

static SEED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("seed.lua")));

impl RedisLog {
    pub(in crate::log) async fn append(self: &Arc<Self>, append: Append) -> Result<Placed, LogError> {
        // It goes on when its client hangs up: what the server took is to be held here.
        let log = Arc::clone(self);
        let placed = tokio::spawn(async move { log.place(append).await });
        placed.await.map_err(|_| LogErrorKind::Unavailable)?
    }

    async fn place(&self, append: Append) -> Result<Placed, LogError> {
        let wants_stored = append.ack == Some(Ack::Stored) || self.ack == Ack::Stored;
        let room = append.room.id;
        let placed = self.take(append).await?;
        if !wants_stored {
            return Ok(placed);
        }
        let stored = self.stored.wait(room, placed.cursor.seq);
        match tokio::time::timeout(STORED, stored).await {
            Ok(()) => Ok(Placed { durability: Ack::Stored, ..placed }),
            Err(_) => Err(LogErrorKind::OutcomeUnknown.into()),
        }
    }

    /// Sends the append until the script has all that it asks for.
    async fn take(&self, append: Append) -> Result<Placed, LogError> {
        if self.lock_held().is_full() {
            return Err(LogErrorKind::Overloaded.into());
        }
        let channel = self.channel.map(|channel| channel(append.room.id.into()));
        let mut call = Call::new(append, channel);
        for _ in 0..TRIES {
            let (wire, agreed) = self.ready_for_appends().await?;
            match self.send(&call, wire, &agreed).await? {
                Answer::Done { cursor, ts, n } => return self.done(&call, &agreed, cursor, ts, n),
                Answer::Known { cursor, ts, id } => {
                    let durability = Ack::Buffered;
                    return Ok(Placed { id, cursor, ts, duplicate: true, durability });
                }
                Answer::NoRoom { retired } => self.seed(&call, &agreed, &retired).await?,
                Answer::Ask => {
                    if let Some(placed) = self.ask_for_key(&call).await? {
                        return Ok(placed);
                    }
                    call.is_unknown = true;
                }
                Answer::Target => {
                    let target = call.event.target.ok_or(LogErrorKind::NotFound)?;
                    let author = self.archive.author(call.room.id, target).await?;
                    call.author = Some(author.ok_or(LogErrorKind::NotFound)?);
                }
                Answer::Fenced => {
                    self.suspect();
                    return Err(fenced());
                }
                Answer::Reused => return Err(LogErrorKind::KeyReused.into()),
                Answer::NotFound => return Err(LogErrorKind::NotFound.into()),
                Answer::NotYours => return Err(LogErrorKind::NotYours.into()),
                Answer::Full => return Err(LogErrorKind::Overloaded.into()),
            }
        }
        Err(LogErrorKind::Unavailable.into())
    }

    async fn send(&self, call: &Call, mut wire: Wire, agreed: &Agreed) -> Result<Answer, LogError> {
        let since = Instant::now();
        let invocation = call.invocation(agreed.names(), &agreed.run_id, clock::millis(), OUTBOX);
        match wire.run::<Vec<Value>>(&invocation).await {
            Ok(said) => {
                self.figures.append_seconds.observe(since.elapsed().as_secs_f64());
                Answer::read(&said).ok_or_else(|| LogErrorKind::Unavailable.into())
            }
            Err(e) => {
                self.appends.failed(&wire, &e);
                // What the server refused it has not done; of what it did not answer, nobody knows.
                if e.is_io_error() || e.is_timeout() || e.is_connection_dropped() {
                    self.figures.unknown.inc();
                    return Err(LogError::new(LogErrorKind::OutcomeUnknown, e).told());
                }
                Err(e.into())
            }
        }
    }

    /// The server has it: hold it, and hand it on. Unless the pods have moved on meanwhile: then it may be lost with
    /// the server, and this pod has given back without it.
    fn done(
        &self,
        call: &Call,
        agreed: &Agreed,
        cursor: Cursor,
        ts: i64,
        n: u64,
    ) -> Result<Placed, LogError> {
        let entry = call.placed(cursor, ts);
        let log = LogId::from(call.room.id);
        let id = entry.event.id;
        let said =
            (self.ack == Ack::Buffered && self.channel.is_none()).then(|| Frame::new(&entry.event).said());
        {
            // Who stops taking does so before it looks at what is held.
            let mut held = self.lock_held();
            if !self.standing.borrow().is(agreed) {
                self.figures.unknown.inc();
                return Err(LogError::from(LogErrorKind::OutcomeUnknown).told());
            }
            held.hold(log.partition(), n, entry);
        }
        if let Some(said) = said {
            self.say(log, said);
        }
        Ok(Placed { id, cursor, ts, duplicate: false, durability: Ack::Buffered })
    }

    /// Makes the head of a room from what the archive has.
    async fn seed(&self, call: &Call, agreed: &Agreed, retired: &str) -> Result<(), LogError> {
        let room = call.room.id;
        let head = self.archive.head(room).await?;
        let extent = head.extent;
        let past: Vec<_> =
            extent.past.iter().map(|(epoch, seqs)| (epoch.0, *seqs.start(), *seqs.end())).collect();
        let past = serde_json::to_string(&past).expect("numbers are plain data");
        let partition = LogId::from(room).partition();
        let mut seed = SEED.prepare_invoke();
        seed.key(keys::meta(partition)).key(agreed.names().room(room)).key(agreed.names().recent(partition));
        seed.arg(agreed.generation).arg(&*agreed.run_id).arg(retired);
        seed.arg(extent.epoch.0).arg(extent.base.0).arg(extent.tip.0).arg(head.last_ts);
        seed.arg(extent.first.0).arg(past).arg(&room.0.as_bytes()[..]);
        let (mut wire, now) = self.ready_for_appends().await?;
        if now != *agreed {
            return Err(LogErrorKind::Unavailable.into());
        }
        // Whatever it says, the next try of the append finds out.
        match wire.run::<Value>(&seed).await {
            Ok(_) => Ok(()),
            Err(e) => {
                self.appends.failed(&wire, &e);
                Err(e.into())
            }
        }
    }

    /// The first answer that the archive knows for this key.
    async fn ask_for_key(&self, call: &Call) -> Result<Option<Placed>, LogError> {
        let Some(key) = &call.key else { return Ok(None) };
        let since = clock::millis() - keys::DAY_MS;
        let Some(first) = self.archive.find_key(call.room.id, &key.key, since).await? else {
            return Ok(None);
        };
        if first.text != key.text {
            return Err(LogErrorKind::KeyReused.into());
        }
        let durability = Ack::Stored;
        Ok(Some(Placed { id: first.id, cursor: first.cursor, ts: first.ts, duplicate: true, durability }))
    }
}
