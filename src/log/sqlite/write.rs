//! The one writer: batches, and what stands in a batch.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::JoinHandle,
};

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::keys::{self, Known};
use crate::{
    clock,
    event::{
        ClientId, Cursor, Draft, EPOCH_STRIDE, Epoch, Event, EventKind, Extent, Frame, RoomId, Seq, User,
        UserId,
    },
    faults::{self, Fault},
    log::{Ack, Append, LogError, LogErrorKind, Notice, Placed},
};

/// Jobs that may wait for the writer; over it POSTs are answered 503 before anything is accepted.
const QUEUE: usize = 8192;
/// Jobs in one transaction: enough that the disk's sync is shared, few enough that the first does not wait
/// long for the last.
const BATCH: usize = 512;
/// Rooms whose heads the writer remembers; a room that is not among them is read again.
const HEADS: usize = 16_384;
/// Rows that retention and the pruning of keys take in one step, so that nobody waits long behind them.
const STEP: usize = 500;

type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// What the writer can be asked to do.
pub(super) enum Job {
    Append(Append, Reply<Placed>),
    Revoke { session: i64, until: i64, reply: Reply<()> },
    Trim { horizon: i64, reply: Reply<bool> },
}

/// The way to the writer; closing it ends the writer once it has done what is queued.
#[derive(Debug)]
pub(super) struct Queue(Mutex<Option<SyncSender<Job>>>);

impl Queue {
    pub(super) fn push(&self, job: Job) -> Result<(), LogError> {
        let queue = self.0.lock().expect("no panic while locked");
        let queue = queue.as_ref().ok_or(LogErrorKind::Unavailable)?;
        queue.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => LogErrorKind::Overloaded.into(),
            TrySendError::Disconnected(_) => LogErrorKind::Unavailable.into(),
        })
    }

    pub(super) fn close(&self) {
        self.0.lock().expect("no panic while locked").take();
    }
}

pub(super) fn start(
    connection: Connection,
    announce: impl FnMut(Vec<Notice>) + Send + 'static,
) -> rusqlite::Result<(Queue, JoinHandle<()>)> {
    let epoch = connection.query_row("SELECT epoch FROM store", [], |row| row.get(0))?;
    let (queue, jobs) = mpsc::sync_channel(QUEUE);
    let writer = Writer { connection, epoch, heads: HashMap::new(), announce };
    let thread = std::thread::Builder::new()
        .name("log-writer".into())
        .spawn(move || writer.run(&jobs))
        .expect("a thread can be had at start");
    Ok((Queue(Mutex::new(Some(queue))), thread))
}

/// The end of a room's log, as the writer knows it.
#[derive(Clone, Copy)]
struct Head {
    epoch: Epoch,
    tip: Seq,
    last_ts: i64,
    is_new: bool,
}

struct Writer<A> {
    connection: Connection,
    /// Of rooms that are yet to be made.
    epoch: Epoch,
    heads: HashMap<RoomId, Head>,
    announce: A,
}

impl<A: FnMut(Vec<Notice>)> Writer<A> {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut appends = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Append(append, reply) => appends.push((append, reply)),
                    Job::Revoke { session, until, reply } => {
                        _ = reply.send(self.revoke(session, until).map_err(Into::into));
                    }
                    Job::Trim { horizon, reply } => _ = reply.send(self.trim(horizon).map_err(Into::into)),
                }
                if appends.len() < BATCH {
                    next = jobs.try_recv().ok();
                }
            }
            self.write(appends);
            if faults::is_on(Fault::AnswerBeforeCommit) {
                self.commit_late();
            }
        }
        if let Err(e) = self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(error = %e, "the store was closed without a checkpoint");
        }
    }

    /// A fault: batches go into an outer transaction, which is committed now and then.
    fn commit_late(&mut self) {
        let held = match self.connection.is_autocommit() {
            true => "BEGIN",
            false if rand::random_ratio(1, 200) => "COMMIT",
            false => return,
        };
        self.connection.execute_batch(held).expect("the store works");
    }

    /// One batch: commit, announce, answer; or nothing of it and an error for each.
    fn write(&mut self, appends: Vec<(Append, Reply<Placed>)>) {
        if appends.is_empty() {
            return;
        }
        match self.commit(&appends) {
            Ok((answers, notices)) => {
                (self.announce)(notices);
                for ((_, reply), answer) in appends.into_iter().zip(answers) {
                    // Whoever hung up meanwhile asks again with the same client_id.
                    _ = reply.send(answer);
                }
            }
            Err(e) => {
                tracing::error!(error = %e, events = appends.len(), "a batch could not be stored");
                // What the batch gave out in memory was never committed.
                self.heads.clear();
                for (_, reply) in appends {
                    _ = reply.send(Err(LogErrorKind::Unavailable.into()));
                }
            }
        }
    }

    #[allow(clippy::type_complexity)]
    fn commit(
        &mut self,
        appends: &[(Append, Reply<Placed>)],
    ) -> rusqlite::Result<(Vec<Result<Placed, LogError>>, Vec<Notice>)> {
        if self.heads.len() > HEADS {
            self.heads.clear();
        }
        let transaction = self.connection.savepoint()?;
        let now = clock::millis();
        let mut batch = Batch { connection: &transaction, epoch: self.epoch, heads: &mut self.heads, now };
        let mut answers = Vec::with_capacity(appends.len());
        let mut notices = Vec::with_capacity(appends.len());
        let mut touched = Vec::new();
        for (append, _) in appends {
            answers.push(match batch.place(append)? {
                Ok((placed, Some(event))) => {
                    touched.push(append.room.id);
                    notices.push(Notice::Appended(append.room.id.into(), Frame::new(&event)));
                    Ok(placed)
                }
                Ok((placed, None)) => Ok(placed),
                Err(kind) => Err(kind.into()),
            });
        }
        touched.sort_unstable();
        touched.dedup();
        for room in touched {
            batch.keep_head(room)?;
        }
        keys::prune(&transaction, now, appends.len())?;
        transaction.commit()?;
        Ok((answers, notices))
    }

    fn revoke(&mut self, session: i64, until: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.savepoint()?;
        transaction.execute("INSERT OR REPLACE INTO revoked VALUES (?1, ?2)", [session, until])?;
        transaction.execute("DELETE FROM revoked WHERE until <= unixepoch()", [])?;
        transaction.commit()
    }

    /// Takes the oldest [`STEP`] events if they are from before `horizon`; true when there may be more.
    fn trim(&mut self, horizon: i64) -> rusqlite::Result<bool> {
        let transaction = self.connection.savepoint()?;
        let mut gone: HashMap<RoomId, Seq> = HashMap::new();
        let mut rows = Vec::new();
        {
            let mut oldest =
                transaction.prepare_cached("SELECT n, room_id, seq, ts FROM messages ORDER BY n LIMIT ?1")?;
            let mut found = oldest.query([STEP])?;
            while let Some(row) = found.next()? {
                if row.get::<_, i64>(3)? >= horizon {
                    break;
                }
                rows.push(row.get::<_, i64>(0)?);
                let seq: Seq = row.get(2)?;
                let last = gone.entry(row.get(1)?).or_insert(seq);
                *last = seq.max(*last);
            }
            let mut delete = transaction.prepare_cached("DELETE FROM messages WHERE n = ?1")?;
            for n in &rows {
                delete.execute([n])?;
            }
            let mut first = transaction.prepare_cached("UPDATE rooms SET first_seq = ?2 WHERE id = ?1")?;
            for (room, last) in &gone {
                first.execute(params![room, last.next()])?;
            }
        }
        transaction.commit()?;
        if !gone.is_empty() {
            let trimmed = gone.into_iter().map(|(room, last)| Notice::Trimmed(room.into(), last.next()));
            (self.announce)(trimmed.collect());
        }
        Ok(rows.len() == STEP)
    }
}

/// One transaction at work.
struct Batch<'a> {
    connection: &'a Connection,
    epoch: Epoch,
    heads: &'a mut HashMap<RoomId, Head>,
    now: i64,
}

type Placement = Result<(Placed, Option<Event>), LogErrorKind>;

impl Batch<'_> {
    /// Checks first, effects after: an append that is refused has changed nothing.
    fn place(&mut self, append: &Append) -> rusqlite::Result<Placement> {
        let room = append.room.id;
        match &append.draft {
            Draft::Message { text, client_id } => {
                if let Some(key) = client_id {
                    match keys::find(self.connection, room, append.who, key, text, self.now)? {
                        Known::Same(placed) => return Ok(Ok((placed, None))),
                        Known::Other => return Ok(Err(LogErrorKind::KeyReused)),
                        Known::Fresh => {}
                    }
                }
                let mut event = self.number(append, EventKind::Message)?;
                event.text = Some(text.shared());
                event.client_id.clone_from(client_id);
                let placed = self.insert(append, &event)?;
                if let Some(key) = client_id {
                    keys::keep(self.connection, room, append.who, key, text, &placed)?;
                }
                Ok(Ok((placed, Some(event))))
            }
            Draft::Edit { target, text } => {
                if let Err(kind) = self.check_own(room, *target, &append.user)? {
                    return Ok(Err(kind));
                }
                let mut event = self.number(append, EventKind::Edit)?;
                event.target = Some(*target);
                event.text = Some(text.shared());
                let placed = self.insert(append, &event)?;
                self.connection
                    .prepare_cached("UPDATE messages SET edit_seq = ?3 WHERE room_id = ?1 AND seq = ?2")?
                    .execute(params![room, target, event.seq])?;
                Ok(Ok((placed, Some(event))))
            }
            Draft::Delete { target } => {
                if let Err(kind) = self.check_own(room, *target, &append.user)? {
                    return Ok(Err(kind));
                }
                let mut event = self.number(append, EventKind::Delete)?;
                event.target = Some(*target);
                let placed = self.insert(append, &event)?;
                self.connection
                    .prepare_cached(
                        "UPDATE messages SET text = '', status = 'deleted'
                         WHERE room_id = ?1 AND (seq = ?2 OR (target = ?2 AND kind = 'edit'))",
                    )?
                    .execute(params![room, target])?;
                Ok(Ok((placed, Some(event))))
            }
        }
    }

    fn check_own(
        &self,
        room: RoomId,
        target: Seq,
        user: &User,
    ) -> rusqlite::Result<Result<(), LogErrorKind>> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT user_id FROM messages
                 WHERE room_id = ?1 AND seq = ?2 AND kind = 'message' AND status IS NULL",
            )?
            .query_row(params![room, target], |row| row.get::<_, UserId>(0))
            .optional()?;
        Ok(match found {
            None => Err(LogErrorKind::NotFound),
            Some(author) if author != user.id => Err(LogErrorKind::NotYours),
            Some(_) => Ok(()),
        })
    }

    /// The next event of the room, still without what its kind adds.
    fn number(&mut self, append: &Append, kind: EventKind) -> rusqlite::Result<Event> {
        let head = self.head(append.room.id)?;
        head.tip = head.tip.next();
        let head = *head;
        let ts = head.last_ts.max(self.now);
        self.heads.insert(append.room.id, Head { last_ts: ts, ..head });
        Ok(Event {
            room: append.room.label.clone(),
            epoch: head.epoch,
            seq: head.tip,
            id: Uuid::now_v7(),
            kind,
            target: None,
            user: append.user.clone(),
            text: None,
            status: None,
            edited: None,
            ts,
            client_id: None,
        })
    }

    fn head(&mut self, room: RoomId) -> rusqlite::Result<&mut Head> {
        if !self.heads.contains_key(&room) {
            let found = self
                .connection
                .prepare_cached("SELECT epoch, tip, last_ts FROM rooms WHERE id = ?1")?
                .query_row([room], |row| {
                    Ok(Head { epoch: row.get(0)?, tip: row.get(1)?, last_ts: row.get(2)?, is_new: false })
                })
                .optional()?;
            let fresh = Head {
                epoch: self.epoch,
                tip: Extent::empty(self.epoch.0 - 1).tip,
                last_ts: 0,
                is_new: true,
            };
            self.heads.insert(room, found.unwrap_or(fresh));
        }
        Ok(self.heads.get_mut(&room).expect("it was just put there"))
    }

    fn insert(&mut self, append: &Append, event: &Event) -> rusqlite::Result<Placed> {
        let room = append.room.id;
        if self.head(room)?.is_new {
            self.connection
                .prepare_cached(
                    "INSERT INTO rooms (id, kind, slug, epoch, base, tip, first_seq, last_ts, created)
                     VALUES (?1, 'open', ?2, ?3, ?4, ?4, ?5, ?6, ?6)",
                )?
                .execute(params![
                    room,
                    append.room.label,
                    event.epoch,
                    event.seq.before(),
                    event.seq,
                    event.ts
                ])?;
            self.head(room)?.is_new = false;
        }
        self.connection
            .prepare_cached(
                "INSERT INTO users (id, kind, name, created) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE name <> excluded.name",
            )?
            .execute(params![event.user.id, event.user.kind.as_str(), event.user.name.as_str(), event.ts])?;
        self.connection
            .prepare_cached(
                "INSERT INTO messages
                 (room_id, seq, epoch, id, kind, user_id, user_kind, user_name, text, target, ts, client_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                room,
                event.seq,
                event.epoch,
                event.id,
                event.kind.as_str(),
                event.user.id,
                event.user.kind.as_str(),
                event.user.name.as_str(),
                event.text,
                event.target,
                event.ts,
                event.client_id.as_ref().map(ClientId::as_str),
            ])?;
        Ok(Placed {
            id: event.id,
            cursor: Cursor { epoch: event.epoch, seq: event.seq },
            ts: event.ts,
            duplicate: false,
            durability: Ack::Stored,
        })
    }

    fn keep_head(&mut self, room: RoomId) -> rusqlite::Result<()> {
        let head = *self.head(room)?;
        self.connection
            .prepare_cached("UPDATE rooms SET tip = ?2, last_ts = ?3 WHERE id = ?1")?
            .execute(params![room, head.tip, head.last_ts])?;
        Ok(())
    }
}

/// Begins a new epoch in every room, and for every room that is yet to be made.
pub(super) fn new_epoch(connection: &mut Connection) -> rusqlite::Result<u32> {
    let transaction = connection.transaction()?;
    let epoch: u32 =
        transaction.query_row("UPDATE store SET epoch = epoch + 1 RETURNING epoch", [], |row| row.get(0))?;
    transaction.execute("INSERT INTO epochs SELECT id, epoch, base, tip FROM rooms", [])?;
    transaction.execute(
        "UPDATE rooms SET first_seq = CASE first_seq WHEN tip + 1 THEN tip + ?2 + 1 ELSE first_seq END,
         epoch = ?1, base = tip + ?2, tip = tip + ?2",
        params![epoch, EPOCH_STRIDE],
    )?;
    transaction.commit()?;
    Ok(epoch)
}
