//! What becomes of a batch: stored, however long it takes, and only then let go of. What it asks for is a [`Desk`]: the
//! writer's own, or that of the simulator.

use std::{collections::BTreeSet, time::Duration};

use super::{PAUSE, ROWS};
use crate::{
    archive::{ArchiveError, ArchiveErrorKind, Stored},
    event::{Entry, LogId},
    faults::{self, Fault},
    log::{Batch, LogError},
};

/// What a batch asks of the archive, of the log and of its writer.
pub(crate) trait Desk {
    async fn store(&self, entries: &[Entry]) -> Result<Stored, ArchiveError>;
    async fn quarantine(&self, entry: &Entry, error: &str) -> Result<(), ArchiveError>;
    /// See [`RedisLog::archived`](crate::log::RedisLog::archived).
    async fn archived(&self, batch: &Batch) -> Result<BTreeSet<u8>, LogError>;
    /// Is the batch of what is agreed on now?
    fn stands(&self, batch: &Batch) -> bool;
    async fn pause(&self, time: Duration);
    /// From a half to a whole, so that not all come back at once.
    fn jitter(&self) -> f64;
    fn failed(&self);
    fn stored(&self, stored: &Stored);
    fn put_aside(&self, entry: &Entry, error: &str);
}

/// Stores a batch; true when the log may let go of it. If not, its generation has ended.
pub(crate) async fn store<D: Desk>(desk: &D, batch: &Batch) -> bool {
    if faults::is_on(Fault::BlindTrimming) {
        trim(desk, batch).await;
    }
    let mut is_stored = true;
    for entries in batch.entries.chunks(ROWS) {
        is_stored &= keep_storing(desk, batch, entries).await.is_some();
    }
    is_stored
}

/// The archive has it: the log lets go of it. Gives the entries of which readers may be told: those of partitions that
/// are somebody else's by now are told of when the log knows that they are archived.
pub(crate) async fn trim<'a, D: Desk>(desk: &D, batch: &'a Batch) -> Vec<&'a Entry> {
    loop {
        match desk.archived(batch).await {
            Ok(done) => {
                let is_done = |entry: &&Entry| done.contains(&LogId::from(entry.room).partition());
                return batch.entries.iter().filter(is_done).collect();
            }
            Err(e) => tracing::debug!(error = %e, "the outbox could not be trimmed; trying again"),
        }
        desk.pause(PAUSE.0).await;
        if !desk.stands(batch) {
            return Vec::new();
        }
    }
}

/// Stores entries of a batch, however long it takes; `None` when its generation ended meanwhile: then they were
/// read from the outbox once more, and stored with all else that was known.
async fn keep_storing<D: Desk>(desk: &D, batch: &Batch, entries: &[Entry]) -> Option<()> {
    let mut pause = PAUSE.0;
    loop {
        match desk.store(entries).await {
            Ok(stored) => {
                desk.stored(&stored);
                return Some(());
            }
            Err(e) if e.kind == ArchiveErrorKind::Refused => return store_apart(desk, batch, entries).await,
            Err(e) => {
                if pause == PAUSE.0 {
                    tracing::warn!(error = %e, rows = entries.len(), "a batch could not be stored; trying again");
                }
                desk.failed();
            }
        }
        if !desk.stands(batch) {
            return None;
        }
        desk.pause(pause.mul_f64(desk.jitter())).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// The archive refuses something in here: halves it until it is found, and puts that aside.
async fn store_apart<D: Desk>(desk: &D, batch: &Batch, entries: &[Entry]) -> Option<()> {
    if let [entry] = entries {
        return put_aside(desk, batch, entry).await;
    }
    let (first, second) = entries.split_at(entries.len() / 2);
    Box::pin(keep_storing(desk, batch, first)).await?;
    Box::pin(keep_storing(desk, batch, second)).await
}

async fn put_aside<D: Desk>(desk: &D, batch: &Batch, entry: &Entry) -> Option<()> {
    loop {
        let put_aside = match desk.store(std::slice::from_ref(entry)).await {
            Ok(_) => return Some(()),
            Err(e) if e.kind == ArchiveErrorKind::Refused => {
                let error = e.to_string();
                desk.quarantine(entry, &error).await.map(|()| error)
            }
            Err(e) => Err(e),
        };
        match put_aside {
            Ok(error) => {
                desk.put_aside(entry, &error);
                return Some(());
            }
            Err(_) => desk.failed(),
        }
        if !desk.stands(batch) {
            return None;
        }
        desk.pause(PAUSE.1).await;
    }
}
