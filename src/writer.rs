//! From the outbox into the archive.
//!
//! Each partition has one owner at a time. It reads the outboxes of all its partitions, stores what it found in one
//! transaction, and only then lets the log trim. Everything it does may be done twice: by itself after a failure,
//! or by two pods that each take themselves for the owner. The owner also fills inboxes (`mail`), and sees to people.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use prometheus_client::metrics::{
    counter::Counter,
    histogram::{Histogram, exponential_buckets},
};
use rand::RngExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use crate::{
    archive::{Archive, ArchiveError, Stored},
    clock,
    event::{Entry, Frame, PARTITIONS},
    log::{Ack, Batch, LogError, Outbox, Owned, RedisLog},
};

pub(crate) mod lease;
mod mail;
mod marks;
pub(crate) mod people;
pub(crate) mod storing;
#[cfg(test)]
mod tests;

use lease::shares;
use storing::Desk;

/// Rows of one transaction, at most.
pub(crate) const ROWS: usize = 1000;
/// Batches that are under way side by side, each of partitions of its own: while one is made ready, the other is at
/// the database.
const LANES: u8 = 2;
/// How long a batch waits to be filled.
pub(crate) const FILL: Duration = Duration::from_millis(20);
/// How long a read of the outboxes waits for something.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
/// How long a partition stays with an owner that does not say anything.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// How often an owner says something.
pub(crate) const RENEW: Duration = Duration::from_millis(1500);
/// How often it looks for rooms that have been quiet for long.
const RETIRE: Duration = Duration::from_secs(60);
/// Between two tries to store a batch: from and to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

const _: () = assert!(RENEW.as_millis() * 3 < LEASE.as_millis());

/// What is counted here.
#[derive(Debug)]
pub struct Figures {
    /// Rows of batches that were stored.
    pub batch_rows: Histogram,
    /// Storing a batch, with all its tries.
    pub store_seconds: Histogram,
    /// Tries that failed.
    pub failures: Counter,
    /// Rows that were put aside because the archive refuses them.
    pub quarantined: Counter,
    /// Places that the archive has with another event: an alarm.
    pub conflicts: Counter,
    /// From an event's `ts` to its place in all inboxes.
    pub inbox_seconds: Histogram,
}

impl Figures {
    fn new() -> Self {
        Figures {
            batch_rows: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            store_seconds: clock::latency(),
            failures: Counter::default(),
            quarantined: Counter::default(),
            conflicts: Counter::default(),
            inbox_seconds: clock::latency(),
        }
    }
}

/// The writer of this pod.
pub struct Writer {
    log: Arc<RedisLog>,
    archive: Archive,
    pod: Uuid,
    pods: watch::Receiver<Vec<Uuid>>,
    owned: Mutex<Vec<Owned>>,
    figures: Figures,
}

impl Writer {
    /// Starts to write: `pods` are those that live, which share the partitions between them.
    pub fn start(
        log: Arc<RedisLog>,
        archive: Archive,
        pod: Uuid,
        pods: watch::Receiver<Vec<Uuid>>,
    ) -> Arc<Self> {
        let writer =
            Arc::new(Writer { log, archive, pod, pods, owned: Mutex::default(), figures: Figures::new() });
        tokio::spawn(keep_leases(Arc::downgrade(&writer)));
        for lane in 0..LANES {
            let (batches, to_store) = mpsc::channel(1);
            let (stored, to_finish) = mpsc::channel(1);
            tokio::spawn(read(Arc::downgrade(&writer), lane, batches));
            tokio::spawn(store(Arc::downgrade(&writer), to_store, stored));
            tokio::spawn(finish(Arc::downgrade(&writer), to_finish));
        }
        tokio::spawn(people::tend(Arc::downgrade(&writer)));
        tokio::spawn(mail::carry(Arc::downgrade(&writer)));
        tokio::spawn(marks::keep(Arc::downgrade(&writer)));
        writer
    }

    /// What is counted.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// How many partitions this pod owns.
    pub fn partitions(&self) -> usize {
        self.owned().len()
    }

    /// Gives its partitions back, so that others need not wait for their time to end.
    pub async fn close(&self) {
        let owned: Vec<u8> = self.owned().iter().map(|owned| owned.partition).collect();
        _ = self.log.own(self.pod, &owned, Duration::ZERO).await;
    }

    fn owned(&self) -> Vec<Owned> {
        self.owned.lock().expect("no panic while locked").clone()
    }

    fn owned_in(&self, lane: u8) -> Vec<Owned> {
        let mut owned = self.owned();
        owned.retain(|owned| owned.partition % LANES == lane);
        owned
    }

    /// Takes what it should have and gives back what it should not.
    async fn keep(&self) {
        let pods = self.pods.borrow().clone();
        let (mine, surplus) = shares(self.pod, 0..PARTITIONS, &pods, &self.owned());
        let owned = match self.log.own(self.pod, &mine, LEASE).await {
            Ok(owned) => owned,
            // It may be the owner still; if not, what it writes is refused.
            Err(e) => {
                tracing::debug!(error = %e, "partitions could not be taken");
                return;
            }
        };
        *self.owned.lock().expect("no panic while locked") = owned;
        _ = self.log.own(self.pod, &surplus, Duration::ZERO).await;
    }

    /// The archive has it: trims, and tells readers if they were not to see it before.
    async fn done(&self, batch: &Batch) {
        #[expect(clippy::cast_precision_loss, reason = "rows of a batch are few")]
        self.figures.batch_rows.observe(batch.entries.len() as f64);
        let archived = storing::trim(self, batch).await;
        if self.log.ack() == Ack::Stored {
            for entry in archived {
                self.log.say(entry.room.into(), Frame::new(&entry.event).said());
            }
        }
    }
}

impl Desk for Writer {
    async fn store(&self, entries: &[Entry]) -> Result<Stored, ArchiveError> {
        self.archive.store(entries).await
    }

    async fn quarantine(&self, entry: &Entry, error: &str) -> Result<(), ArchiveError> {
        self.archive.quarantine(entry, error).await
    }

    async fn archived(&self, batch: &Batch) -> Result<BTreeSet<u8>, LogError> {
        self.log.archived(batch, &self.owned()).await
    }

    fn stands(&self, batch: &Batch) -> bool {
        batch.stands(&self.log.standing().borrow())
    }

    async fn pause(&self, time: Duration) {
        sleep(time).await;
    }

    fn jitter(&self) -> f64 {
        rand::rng().random_range(0.5..1.0)
    }

    fn failed(&self) {
        self.figures.failures.inc();
    }

    fn stored(&self, stored: &Stored) {
        for (room, seq) in &stored.conflicts {
            tracing::error!(room = %room.0, %seq, "the archive has another event at this place");
        }
        self.figures.conflicts.inc_by(stored.conflicts.len() as u64);
    }

    fn put_aside(&self, entry: &Entry, error: &str) {
        let (room, seq) = (entry.room.0, entry.event.seq);
        tracing::error!(%room, %seq, error, "the archive refuses an event; it was put aside");
        self.figures.quarantined.inc();
    }
}

async fn keep_leases(writer: Weak<Writer>) {
    let (mut standing, mut pods) = match writer.upgrade() {
        Some(writer) => (writer.log.standing(), writer.pods.clone()),
        None => return,
    };
    let mut retire_at = Instant::now() + RETIRE;
    loop {
        let Some(writer) = writer.upgrade() else { return };
        writer.keep().await;
        if Instant::now() >= retire_at {
            retire_at = Instant::now() + RETIRE;
            for owned in writer.owned() {
                _ = writer.log.retire(owned).await;
            }
        }
        drop(writer);
        tokio::select! {
            () = sleep(RENEW) => {}
            changed = pods.changed() => if changed.is_err() { return },
            changed = standing.changed() => if changed.is_err() { return },
        }
    }
}

async fn read(writer: Weak<Writer>, lane: u8, batches: mpsc::Sender<Batch>) {
    let mut outbox: Option<Outbox> = None;
    loop {
        let Some(writer) = writer.upgrade() else { return };
        let standing = writer.log.standing().borrow().clone();
        outbox = outbox.filter(|outbox| outbox.stands(&standing));
        let read = async {
            let outbox = match &mut outbox {
                Some(outbox) => outbox,
                None => outbox.insert(writer.log.outbox().await?),
            };
            fill(&writer, lane, outbox).await
        };
        match read.await {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                drop(writer);
                if batches.send(batch).await.is_err() {
                    return;
                }
                continue;
            }
            Err(_) => outbox = None,
        }
        if outbox.is_none() || writer.owned_in(lane).is_empty() {
            drop(writer);
            sleep(PATIENCE / 5).await;
        }
    }
}

/// One batch: as much as there is, up to its bound, within the time that it may take to fill.
async fn fill(writer: &Writer, lane: u8, outbox: &mut Outbox) -> Result<Batch, LogError> {
    let mut batch = outbox.read(&writer.owned_in(lane), ROWS, Some(PATIENCE)).await?;
    let until = Instant::now() + FILL;
    while !batch.is_empty() && batch.entries.len() < ROWS && Instant::now() < until {
        sleep_until(until).await;
        let room = ROWS - batch.entries.len();
        batch.append(outbox.read(&writer.owned_in(lane), room, None).await?);
    }
    Ok(batch)
}

async fn store(writer: Weak<Writer>, mut batches: mpsc::Receiver<Batch>, stored: mpsc::Sender<Batch>) {
    while let Some(batch) = batches.recv().await {
        let Some(writer) = writer.upgrade() else { return };
        let since = Instant::now();
        if storing::store(&*writer, &batch).await {
            writer.figures.store_seconds.observe(since.elapsed().as_secs_f64());
            drop(writer);
            if stored.send(batch).await.is_err() {
                return;
            }
        }
    }
}

/// Trims one batch while the next is being stored.
async fn finish(writer: Weak<Writer>, mut stored: mpsc::Receiver<Batch>) {
    while let Some(batch) = stored.recv().await {
        let Some(writer) = writer.upgrade() else { return };
        writer.done(&batch).await;
    }
}
