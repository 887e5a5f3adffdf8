//! The logs that have readers on this pod.
//!
//! A [`Feed`] is one of them: the newest events in memory, in order and without a hole, and who is to be told of
//! the next. What the log announces comes in by [`Feeds::hear`]; what came too early waits there until the hole
//! before it has been read. Readers that have caught up sit in the reading room or hold a [`Listener`].

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::mpsc;

use crate::{
    event::{Frame, LogId, Room, Seq},
    log::{Log, LogError, Notice},
    readers::Postbox,
};

mod feed;
mod listener;
mod order;
mod resume;
mod tail;
#[cfg(test)]
pub(crate) mod tests;

pub use feed::Feed;
pub use listener::{Heard, Listener};
pub use resume::{DEFAULT_HISTORY, Gap, GapReason, Plan, Start, crossings, gaps_before, plan};

/// Events read into memory when a log gets its first reader: what most new readers begin with.
const PRELOAD: usize = DEFAULT_HISTORY + 14;
/// Events read from the log at once when there is a hole.
const REPAIR_STEP: usize = 1000;

/// All feeds of this pod, by log.
pub struct Feeds {
    by_log: Mutex<HashMap<LogId, Weak<Feed>>>,
    holes: mpsc::UnboundedSender<(Arc<Feed>, Seq)>,
    postbox: Postbox,
    memory: Arc<Memory>,
    repairs: AtomicU64,
}

/// What all tails together hold, and may.
#[derive(Debug)]
struct Memory {
    held: AtomicUsize,
    limit: usize,
}

impl Memory {
    fn is_short(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.limit
    }

    fn adjust(&self, before: usize, after: usize) {
        if after >= before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

impl Feeds {
    /// Feeds that post to `postbox` and keep at most about `memory` bytes of events.
    ///
    /// The receiver gets the holes to repair: at most one at a time from each feed.
    pub fn new(postbox: Postbox, memory: usize) -> (Arc<Self>, mpsc::UnboundedReceiver<(Arc<Feed>, Seq)>) {
        #[expect(clippy::disallowed_methods, reason = "at most one hole of each feed")]
        let (holes, to_repair) = mpsc::unbounded_channel();
        let memory = Arc::new(Memory { held: AtomicUsize::new(0), limit: memory });
        let feeds = Feeds { by_log: Mutex::default(), holes, postbox, memory, repairs: AtomicU64::new(0) };
        (Arc::new(feeds), to_repair)
    }

    /// What the log announces. Called by one thread, in order.
    pub fn hear(&self, notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                Notice::Appended(log, frame) => {
                    let Some(feed) = self.find(log) else { continue };
                    if let Some(after) = feed.announce(frame) {
                        // The receiver only goes away with the whole pod.
                        _ = self.holes.send((feed, after));
                    }
                }
                Notice::Trimmed(log, first) => {
                    if let Some(feed) = self.find(log) {
                        feed.trim(first);
                    }
                }
            }
        }
    }

    fn find(&self, log: LogId) -> Option<Arc<Feed>> {
        self.by_log.lock().expect("no panic while locked").get(&log)?.upgrade()
    }

    /// The feed of a log, and whether it is new and has to be opened.
    fn find_or_insert(&self, room: &Room) -> (Arc<Feed>, bool) {
        let mut by_log = self.by_log.lock().expect("no panic while locked");
        let log = LogId::from(room.id);
        if let Some(feed) = by_log.get(&log).and_then(Weak::upgrade) {
            return (feed, false);
        }
        let feed = Arc::new(Feed::new(room.clone(), self.postbox.clone(), Arc::clone(&self.memory)));
        by_log.insert(log, Arc::downgrade(&feed));
        (feed, true)
    }
}

/// Feeds together with the log that they are read from.
#[derive(Clone)]
pub struct Hub {
    feeds: Arc<Feeds>,
    log: Log,
}

impl Hub {
    /// Joins the two, and repairs holes from now on (one at a time for each feed) until `feeds` is gone.
    pub fn new(feeds: Arc<Feeds>, log: Log, mut holes: mpsc::UnboundedReceiver<(Arc<Feed>, Seq)>) -> Self {
        let hub = Hub { feeds, log };
        let repairing = hub.clone();
        tokio::spawn(async move {
            while let Some((feed, after)) = holes.recv().await {
                let hub = repairing.clone();
                tokio::spawn(async move { hub.repair(&feed, after).await });
            }
        });
        hub
    }

    /// The feed of a room, read in when nobody here had it open.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn open(&self, room: &Room) -> Result<Arc<Feed>, LogError> {
        let (feed, is_new) = self.feeds.find_or_insert(room);
        if is_new {
            // Others wait for it too, so it goes on when this client hangs up.
            let (hub, feed) = (self.clone(), Arc::clone(&feed));
            tokio::spawn(async move {
                if let Err(e) = hub.read_in(&feed).await {
                    tracing::error!(error = %e, "a room could not be opened");
                    hub.feeds.by_log.lock().expect("no panic while locked").remove(&feed.room().id.into());
                    feed.fail(e.kind);
                }
            });
        }
        feed.opened().await?;
        Ok(feed)
    }

    /// Forgets the feeds that nobody holds any more.
    pub fn sweep(&self) {
        self.feeds.by_log.lock().expect("no panic while locked").retain(|_, feed| feed.strong_count() > 0);
    }

    /// Feeds that are open, bytes that their tails hold, holes repaired so far.
    pub fn figures(&self) -> (usize, usize, u64) {
        let open = self.feeds.by_log.lock().expect("no panic while locked").len();
        (open, self.feeds.memory.held.load(Ordering::Relaxed), self.feeds.repairs.load(Ordering::Relaxed))
    }

    async fn read_in(&self, feed: &Arc<Feed>) -> Result<(), LogError> {
        // In this order: what is appended in between is in the second answer, or is announced and parked.
        let extent = self.log.extent(feed.room().id).await?;
        let newest = self.log.last(feed.room(), PRELOAD).await?;
        let hole = feed.open(extent, newest.iter().map(Frame::new).collect(), PRELOAD);
        if let Some(after) = hole {
            self.repair(feed, after).await;
        }
        Ok(())
    }

    /// Reads what lies between the last event delivered and those that wait, until nothing is missing.
    async fn repair(&self, feed: &Arc<Feed>, after: Seq) {
        let mut hole = Some(after);
        while let Some(after) = hole {
            self.feeds.repairs.fetch_add(1, Ordering::Relaxed);
            match self.log.read(feed.room(), after, REPAIR_STEP).await {
                Ok(events) => hole = feed.settle(events.iter().map(Frame::new).collect()),
                Err(e) => {
                    tracing::warn!(error = %e, "a hole could not be read; trying again");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
        }
    }
}
