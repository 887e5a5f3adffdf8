//! The one writer: what has queued goes into one transaction, and is answered for after its commit.

use std::{
    sync::{
        Mutex,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{
    faults::{self, Fault},
    log::{LogError, LogErrorKind, Notice},
};

mod append;
mod batch;
mod disk;
mod epoch;
mod inbox;
mod trim;

pub(super) use batch::Batch;
use batch::Remembered;
pub(super) use disk::write_anew;
use disk::{Disk, is_io};
pub(super) use epoch::new_epoch;

/// Jobs that may wait for the writer; over it POSTs are answered 503 before anything is accepted.
const QUEUE: usize = 8192;
/// Jobs in one transaction: enough that the disk's sync is shared, few enough that the first does not wait
/// long for the last.
const BATCH: usize = 512;

/// Why a job was not done.
pub(super) enum Failed {
    /// It may not be; it has changed nothing.
    Refused(LogErrorKind),
    /// The store failed, and with it the whole batch.
    Store(rusqlite::Error),
}

impl From<LogErrorKind> for Failed {
    fn from(kind: LogErrorKind) -> Self {
        Failed::Refused(kind)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Failed::Store(error)
    }
}

pub(super) type Answer<T> = Result<T, Failed>;

/// Something to write, and who waits for what comes of it.
trait Job: Send {
    /// Does it, in the transaction of its batch.
    fn work(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()>;
    /// The batch was committed.
    fn answer(self: Box<Self>);
    /// It was not, or nobody knows.
    fn fail(self: Box<Self>, why: LogErrorKind);
}

struct Asked<F, T> {
    work: Option<F>,
    found: Option<Result<T, LogErrorKind>>,
    reply: oneshot::Sender<Result<T, LogErrorKind>>,
}

impl<T: Send, F: FnOnce(&mut Batch<'_>) -> Answer<T> + Send> Job for Asked<F, T> {
    fn work(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        self.found = Some(match work(batch) {
            Ok(found) => Ok(found),
            Err(Failed::Refused(kind)) => Err(kind),
            Err(Failed::Store(e)) => return Err(e),
        });
        Ok(())
    }

    fn answer(self: Box<Self>) {
        if let Some(found) = self.found {
            // Whoever hung up meanwhile asks again with the same client_id.
            _ = self.reply.send(found);
        }
    }

    fn fail(self: Box<Self>, why: LogErrorKind) {
        _ = self.reply.send(Err(why));
    }
}

/// Why a batch was not stored.
struct Unstored {
    error: rusqlite::Error,
    /// Its commit was begun.
    is_at_commit: bool,
}

impl Unstored {
    /// What those are told who asked for it.
    fn kind(&self) -> LogErrorKind {
        // The end of a commit may be in the write-ahead log, where a process that starts next finds it.
        match self.is_at_commit && is_io(&self.error) {
            true => LogErrorKind::OutcomeUnknown,
            false => LogErrorKind::Unavailable,
        }
    }
}

impl From<rusqlite::Error> for Unstored {
    fn from(error: rusqlite::Error) -> Self {
        Unstored { error, is_at_commit: false }
    }
}

/// The way to the writer; closing it ends the writer once it has done what is queued.
#[derive(Debug)]
pub(super) struct Queue(Mutex<Option<SyncSender<Box<dyn Job>>>>);

impl Queue {
    /// Has the writer do something, in its turn, and waits until it is stored.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Answer<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        self.push(Box::new(Asked { work: Some(work), found: None, reply }))?;
        let answer = answer.await.unwrap_or(Err(LogErrorKind::Unavailable));
        // That the store fails is said by the writer.
        answer.map_err(|kind| LogError::from(kind).told())
    }

    fn push(&self, job: Box<dyn Job>) -> Result<(), LogError> {
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
    let remembered = Remembered::new(&connection)?;
    let (queue, jobs) = mpsc::sync_channel(QUEUE);
    let writer = Writer { connection, remembered, disk: Disk::default(), announce };
    let thread = std::thread::Builder::new()
        .name("log-writer".into())
        .spawn(move || writer.run(&jobs))
        .expect("a thread can be had at start");
    Ok((Queue(Mutex::new(Some(queue))), thread))
}

struct Writer<A> {
    connection: Connection,
    remembered: Remembered,
    disk: Disk,
    announce: A,
}

impl<A: FnMut(Vec<Notice>)> Writer<A> {
    fn run(mut self, jobs: &Receiver<Box<dyn Job>>) {
        while let Ok(first) = jobs.recv() {
            if !self.disk.is_sound(&self.connection) {
                first.fail(LogErrorKind::Unavailable);
                continue;
            }
            self.write(first, jobs);
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
            false if rand::random_ratio(1, 30) => "COMMIT",
            false => return,
        };
        self.connection.execute_batch(held).expect("the store works");
    }

    /// One batch: commit, announce, answer; or nothing of it and an error for each.
    fn write(&mut self, first: Box<dyn Job>, jobs: &Receiver<Box<dyn Job>>) {
        let mut done = vec![first];
        match self.commit(&mut done, jobs) {
            Ok(notices) => {
                self.disk.worked();
                (self.announce)(notices);
                done.into_iter().for_each(Job::answer);
            }
            Err(unstored) => {
                self.remembered.forget();
                self.disk.failed(&unstored.error, done.len());
                done.into_iter().for_each(|job| job.fail(unstored.kind()));
            }
        }
    }

    /// Does the first job, and what else waits as long as the batch has room.
    fn commit(
        &mut self,
        done: &mut Vec<Box<dyn Job>>,
        jobs: &Receiver<Box<dyn Job>>,
    ) -> Result<Vec<Notice>, Unstored> {
        let transaction = self.connection.savepoint()?;
        let mut batch = Batch::new(&transaction, &mut self.remembered);
        while let Some(job) = done.last_mut() {
            job.work(&mut batch)?;
            if done.len() >= BATCH || batch.is_full() {
                break;
            }
            match jobs.try_recv() {
                Ok(job) => done.push(job),
                Err(_) => break,
            }
        }
        let notices = batch.finish()?;
        transaction.commit().map_err(|error| Unstored { error, is_at_commit: true })?;
        Ok(notices)
    }
}
