//! One append, until the script has all that it asks for; and those of many speakers on their way together.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use redis::{RedisError, RedisResult, Script, Value};
use tokio::sync::{oneshot, watch};

use super::{
    Agreed, RedisLog, Standing,
    call::{APPEND, Answer, Call},
    fenced,
    held::Held,
    keys,
    link::Wire,
    members,
    stored::Stored,
};
use crate::{
    archive::Participant,
    clock,
    event::{Draft, Entry, Frame, LogId, RoomId, RoomKind, Seq, UserId},
    faults::{self, Fault},
    log::{Ack, Append, LogError, LogErrorKind, Placed},
};

/// Entries of one partition's outbox, at most: while the archive is away, POSTs are refused beyond it.
pub(crate) const OUTBOX: u64 = 100_000;
/// How often one append may be sent: each time with something more that it was asked for.
const TRIES: usize = 8;
/// Appends that leave together, about: what the server reads in one go (16 KiB). It works on these while the next
/// gather and the answers to those before are given.
const TOGETHER: usize = 16;
/// How long an answer may wait for the archive.
pub(crate) const STORED: Duration = Duration::from_secs(10);

static SEED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("seed.lua")));

/// An append that is about to be sent, and where its answer is awaited.
pub(super) struct Leaving {
    call: Call,
    answered: oneshot::Sender<Result<Answered, LogError>>,
}

/// What was sent, to whom, and the answer.
pub(crate) struct Answered {
    pub(crate) call: Call,
    pub(crate) agreed: Agreed,
    pub(crate) answer: Answer,
}

/// What an append asks for on its way: of the servers of this pod, or of the simulator's.
pub(crate) trait Taking {
    /// Sends it to the script, and holds what that took.
    async fn send(&self, call: Call) -> Result<Answered, LogError>;
    /// Makes the head of its room from what the archive has.
    async fn seed(&self, call: &Call, agreed: &Agreed, retired: &str) -> Result<(), LogError>;
    /// The first answer that the archive knows for its key.
    async fn ask_for_key(&self, call: &Call) -> Result<Option<Placed>, LogError>;
    /// Who wrote a message, by the archive.
    async fn author(&self, room: RoomId, message: Seq) -> Result<Option<UserId>, LogError>;
    /// The server is not the one that was agreed on.
    fn suspect(&self);
}

/// Sends the append until the script has all that it asks for.
pub(crate) async fn take<T: Taking>(taking: &T, mut call: Call) -> Result<Placed, LogError> {
    for _ in 0..TRIES {
        let answered = taking.send(call).await?;
        call = answered.call;
        let durability = Ack::Buffered;
        match answered.answer {
            Answer::Done { cursor, ts, .. } => {
                return Ok(Placed { id: call.event.id, cursor, ts, duplicate: false, durability });
            }
            Answer::Known { cursor, ts, id } => {
                return Ok(Placed { id, cursor, ts, duplicate: true, durability });
            }
            // What is asked of the archive is rare, and its futures are large.
            Answer::NoRoom { retired } => Box::pin(taking.seed(&call, &answered.agreed, &retired)).await?,
            Answer::Ask => {
                if let Some(placed) = Box::pin(taking.ask_for_key(&call)).await? {
                    return Ok(placed);
                }
                call.is_unknown = true;
            }
            Answer::Target => {
                let target = call.event.target.ok_or(LogErrorKind::NotFound)?;
                let author = Box::pin(taking.author(call.room.id, target)).await?;
                call.author = Some(author.ok_or(LogErrorKind::NotFound)?);
            }
            Answer::Fenced => {
                taking.suspect();
                return Err(fenced());
            }
            Answer::Reused => return Err(LogErrorKind::KeyReused.into()),
            Answer::NotFound => return Err(LogErrorKind::NotFound.into()),
            Answer::NotYours => return Err(LogErrorKind::NotYours.into()),
            Answer::NoChange => return Err(LogErrorKind::NoChange.into()),
            Answer::Crowded => return Err(LogErrorKind::Crowded.into()),
            Answer::Full => return Err(LogErrorKind::Overloaded.into()),
        }
    }
    Err(LogErrorKind::Unavailable.into())
}

/// Waits until the archive has a room's log up to `seq`; false when what was agreed on is no more. In another generation
/// a place says nothing of what stood there: whoever asks again with the same key is told what the archive has.
pub(crate) async fn is_stored(
    stored: &Stored,
    mut standing: watch::Receiver<Standing>,
    agreed: &Agreed,
    room: RoomId,
    seq: Seq,
) -> bool {
    if faults::is_on(Fault::AnswerBeforeCommit) {
        return true;
    }
    let has_ended = |standing: &Standing| matches!(standing, Standing::Agreed(present) if present != agreed);
    tokio::select! {
        biased;
        // The sender is there as long as its log is.
        _ = standing.wait_for(has_ended) => false,
        () = stored.wait(room, seq) => true,
    }
}

/// The server has this entry: holds it. Unless the pods have moved on meanwhile: then it may be lost with the server,
/// and this pod has given back without it.
pub(crate) fn hold(
    held: &mut Held,
    standing: &Standing,
    agreed: &Agreed,
    n: u64,
    entry: Entry,
) -> Result<(), LogError> {
    if !standing.is(agreed) {
        return Err(LogError::from(LogErrorKind::OutcomeUnknown).told());
    }
    held.hold(LogId::from(entry.room).partition(), n, entry);
    Ok(())
}

impl Taking for Arc<RedisLog> {
    async fn send(&self, call: Call) -> Result<Answered, LogError> {
        RedisLog::send(self, call).await
    }

    async fn seed(&self, call: &Call, agreed: &Agreed, retired: &str) -> Result<(), LogError> {
        RedisLog::seed(self, call, agreed, retired).await
    }

    async fn ask_for_key(&self, call: &Call) -> Result<Option<Placed>, LogError> {
        RedisLog::ask_for_key(self, call).await
    }

    async fn author(&self, room: RoomId, message: Seq) -> Result<Option<UserId>, LogError> {
        Ok(self.archive.author(room, message).await?)
    }

    fn suspect(&self) {
        RedisLog::suspect(self);
    }
}

impl RedisLog {
    pub(in crate::log) async fn append(self: &Arc<Self>, append: Append) -> Result<Placed, LogError> {
        let wants_stored = append.ack == Some(Ack::Stored) || self.ack == Ack::Stored;
        let room = append.room.id;
        let (standing, agreed) = (self.standing.subscribe(), self.agreed()?);
        let placed = self.take(append).await?;
        if !wants_stored {
            return Ok(placed);
        }
        let stored = is_stored(&self.stored, standing, &agreed, room, placed.cursor.seq);
        match tokio::time::timeout(STORED, stored).await {
            Ok(true) => Ok(Placed { durability: Ack::Stored, ..placed }),
            _ => Err(LogErrorKind::OutcomeUnknown.into()),
        }
    }

    async fn take(self: &Arc<Self>, append: Append) -> Result<Placed, LogError> {
        if self.lock_held().is_full() {
            return Err(LogErrorKind::Overloaded.into());
        }
        let is_of_members = matches!(append.draft, Draft::Open | Draft::Join { .. } | Draft::Leave { .. });
        match append.room.kind {
            RoomKind::Members => {}
            RoomKind::Open if !is_of_members => {}
            RoomKind::Open | RoomKind::Inbox => return Err(LogErrorKind::NotFound.into()),
        }
        let channel = self.channel.map(|channel| channel(append.room.id.into()));
        take(self, Call::new(append, channel)).await
    }

    /// Sends it together with others that are about to be sent. In tasks of their own, which go on when clients hang up:
    /// what the server took is to be held here.
    async fn send(self: &Arc<Self>, call: Call) -> Result<Answered, LogError> {
        let since = Instant::now();
        let (answered, answer) = oneshot::channel();
        let gathered = {
            let mut leaving = self.lock_leaving();
            leaving.push(Leaving { call, answered });
            leaving.len()
        };
        if gathered == 1 || gathered == TOGETHER {
            let log = Arc::clone(self);
            tokio::spawn(async move {
                if gathered == 1 {
                    // Everybody who can speak now does so first: a busy pod sends many, an idle one does not wait.
                    tokio::task::yield_now().await;
                }
                log.send_gathered().await;
            });
        }
        let answered = answer.await.map_err(|_| LogErrorKind::OutcomeUnknown)??;
        self.figures.append_seconds.observe(since.elapsed().as_secs_f64());
        Ok(answered)
    }

    async fn send_gathered(&self) {
        let leaving = std::mem::take(&mut *self.lock_leaving());
        if leaving.is_empty() {
            return;
        }
        let (mut wire, agreed) = match self.ready_for_appends().await {
            Ok(ready) => ready,
            Err(e) => {
                for each in leaving {
                    _ = each.answered.send(Err(LogError::from(e.kind).told()));
                }
                return;
            }
        };
        let now = clock::millis();
        let command = |each: &Leaving| each.call.command(agreed.names(), &agreed.run_id, now, OUTBOX);
        let answers = wire.run_all(&APPEND, leaving.iter().map(command).collect()).await;
        for (Leaving { call, answered }, answer) in leaving.into_iter().zip(answers) {
            let answer = self.heard(&call, &wire, &agreed, answer);
            let agreed = agreed.clone();
            // Whoever hung up meanwhile asks again with the same client_id.
            _ = answered.send(answer.map(|answer| Answered { call, agreed, answer }));
        }
    }

    /// Reads one answer. What the server took is held from here on, and handed on.
    fn heard(
        &self,
        call: &Call,
        wire: &Wire,
        agreed: &Agreed,
        said: RedisResult<Vec<Value>>,
    ) -> Result<Answer, LogError> {
        let said = said.map_err(|e| self.not_done(wire, e))?;
        let answer = Answer::read(&said).ok_or(LogErrorKind::Unavailable)?;
        if let Answer::Done { cursor, ts, n } = answer {
            self.hold(call.placed(cursor, ts), agreed, n)?;
        }
        Ok(answer)
    }

    /// What the server refused it has not done; of what it did not answer, nobody knows.
    fn not_done(&self, wire: &Wire, e: RedisError) -> LogError {
        self.appends.failed(wire, &e);
        if e.is_io_error() || e.is_timeout() || e.is_connection_dropped() {
            self.figures.unknown.inc();
            return LogError::new(LogErrorKind::OutcomeUnknown, e).told();
        }
        e.into()
    }

    /// The server has it: hold it, and hand it on.
    fn hold(&self, entry: Entry, agreed: &Agreed, n: u64) -> Result<(), LogError> {
        let log = LogId::from(entry.room);
        let said =
            (self.ack == Ack::Buffered && self.channel.is_none()).then(|| Frame::new(&entry.event).said());
        {
            // Who stops taking does so before it looks at what is held.
            let mut held = self.lock_held();
            let is_held = hold(&mut held, &self.standing.borrow(), agreed, n, entry);
            is_held.inspect_err(|_| _ = self.figures.unknown.inc())?;
        }
        if let Some(said) = said {
            self.say(log, said);
        }
        Ok(())
    }

    /// Makes the head of a room from what the archive has. A room with members has to be known there.
    async fn seed(&self, call: &Call, agreed: &Agreed, retired: &str) -> Result<(), LogError> {
        let room = call.room.id;
        let members = match call.room.kind {
            RoomKind::Members => self.archive.members(room).await?.ok_or(LogErrorKind::NotFound)?,
            RoomKind::Open | RoomKind::Inbox => Vec::new(),
        };
        let head = self.archive.head(room).await?;
        let extent = head.extent;
        let past: Vec<_> =
            extent.past.iter().map(|(epoch, seqs)| (epoch.0, *seqs.start(), *seqs.end())).collect();
        let past = serde_json::to_string(&past).expect("numbers are plain data");
        let partition = LogId::from(room).partition();
        let mut seed = SEED.prepare_invoke();
        let names = agreed.names();
        seed.key(keys::meta(partition)).key(names.room(room)).key(names.recent(partition));
        seed.key(names.members(room)).key(names.read(room));
        seed.arg(agreed.generation).arg(&*agreed.run_id).arg(retired);
        seed.arg(extent.epoch.0).arg(extent.base.0).arg(extent.tip.0).arg(head.last_ts);
        seed.arg(extent.first.0).arg(past).arg(&room.0.as_bytes()[..]);
        for Participant { user, membership, read } in &members {
            seed.arg(&user.0.as_bytes()[..]).arg(members::written(membership)).arg(read.0);
        }
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
