//! The logs that have readers on this pod.
//!
//! A [`Feed`] is one of them: the newest events in memory, in order and without a hole, and who is to be told of
//! the next. What the log announces comes in by [`Feeds::hear`]; what came too early waits there until the hole
//! before it has filled or was read. What was not announced at all is found by [`Hub::compare`]. Readers that have caught up sit in the reading room or hold a [`Listener`].

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    backplane::Backplane,
    event::{Aside, Cursor, Entry, Extent, Frame, LogId, Room, RoomId, Seq, UserId},
    log::{Log, LogError, LogErrorKind, Notice, Passed, SHOWN_MS},
    readers::Postbox,
};

mod feed;
mod listener;
mod order;
pub(crate) mod repair;
mod resume;
mod tail;
#[cfg(test)]
pub(crate) mod tests;

pub use feed::{Feed, Held};
pub use listener::{Heard, Listener};
pub use resume::{DEFAULT_HISTORY, Plan, Start, crossings, gaps_before, gaps_to, plan};

/// Events read into memory when a log gets its first reader: what most new readers begin with.
const PRELOAD: usize = DEFAULT_HISTORY + 14;

/// How long a reader who is further than this pod waits for it.
pub(crate) const REACH: Duration = Duration::from_secs(5);

/// All feeds of this pod, by log.
pub struct Feeds {
    by_log: Mutex<HashMap<LogId, Weak<Feed>>>,
    holes: mpsc::UnboundedSender<Weak<Feed>>,
    postbox: Postbox,
    memory: Arc<Memory>,
    ears: Arc<Ears>,
    repairs: AtomicU64,
    gaps: AtomicU64,
}

/// Events of feeds that nobody holds any more which are remembered, at most.
const LATELY: usize = 10_000;

/// Who is told of people, and of what was shown. They must not block: nothing else is heard meanwhile.
#[derive(Default)]
struct Ears {
    /// What feeds showed that nobody holds any more, where it matters.
    lately: OnceLock<Mutex<VecDeque<Entry>>>,
    /// Of those who come into rooms and go.
    people: OnceLock<Box<dyn Fn(LogId, Passed) + Send + Sync>>,
    /// Of those who are not members of a room any more.
    leavers: OnceLock<Box<dyn Fn(RoomId, UserId) + Send + Sync>>,
}

impl Ears {
    /// Nobody holds a feed any more that showed these.
    fn keep(&self, shown: impl FnOnce() -> Vec<Entry>) {
        let Some(lately) = self.lately.get() else { return };
        let mut lately = lately.lock().expect("no panic while locked");
        lately.extend(shown());
        let newest = lately.iter().map(|entry| entry.event.ts).max().unwrap_or_default();
        lately.retain(|entry| entry.event.ts >= newest - SHOWN_MS);
        let surplus = lately.len().saturating_sub(LATELY);
        lately.drain(..surplus);
    }

    fn left(&self, room: RoomId, user: UserId) {
        if let Some(ear) = self.leavers.get() {
            ear(room, user);
        }
    }
}

/// What the hub counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Logs that are open.
    pub feeds: usize,
    /// Bytes that their tails hold.
    pub tail_bytes: usize,
    /// Reads of holes so far.
    pub repairs: u64,
    /// Gaps told to those who read live: new epochs, and what could not be read.
    pub gaps: u64,
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
    /// The receiver gets the feeds that have to be looked after: each at most once at a time.
    pub fn new(postbox: Postbox, memory: usize) -> (Arc<Self>, mpsc::UnboundedReceiver<Weak<Feed>>) {
        #[expect(clippy::disallowed_methods, reason = "at most one entry of each feed")]
        let (holes, to_repair) = mpsc::unbounded_channel();
        let memory = Arc::new(Memory { held: AtomicUsize::new(0), limit: memory });
        let (repairs, gaps) = (AtomicU64::new(0), AtomicU64::new(0));
        let (by_log, ears) = (Mutex::default(), Arc::default());
        let feeds = Feeds { by_log, holes, postbox, memory, ears, repairs, gaps };
        (Arc::new(feeds), to_repair)
    }

    /// What the log announces, in any order, from any pod: what is early waits, what is known is dropped.
    pub fn hear(&self, notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                Notice::Appended(log, frame) => {
                    let Some(feed) = self.find(log) else { continue };
                    if feed.announce(frame) {
                        self.look_after(&feed);
                    }
                }
                Notice::Trimmed(log, first) => {
                    if let Some(feed) = self.find(log) {
                        feed.trim(first);
                    }
                }
                Notice::Told(log, aside) => {
                    if let Some(feed) = self.find(log) {
                        feed.aside(&aside.block());
                    }
                }
                Notice::Passed(log, passed) => {
                    if let Some(ear) = self.ears.people.get() {
                        ear(log, passed);
                    }
                }
            }
        }
    }

    /// Of [`Hub::compare`].
    pub(crate) fn compare(&self, tips: &[(RoomId, Cursor)]) {
        for (room, tip) in tips {
            if let Some(feed) = self.find((*room).into()).filter(|feed| feed.compare(*tip)) {
                self.look_after(&feed);
            }
        }
    }

    /// Of [`Hub::look_again`].
    pub(crate) fn look_again(&self) {
        for feed in self.open().iter().filter(|feed| feed.suspect()) {
            self.look_after(feed);
        }
    }

    /// Sees to it that the feed gets what the log has up to `place`, if the log has that: true when it is worth waiting.
    pub(crate) async fn seek<L: ReadLog>(
        &self,
        log: &L,
        feed: &Arc<Feed>,
        place: Cursor,
    ) -> Result<bool, LogError> {
        let tip = log.extent(feed.room()).await?.tip();
        if place > tip {
            return Ok(false);
        }
        if feed.know(tip) {
            self.look_after(feed);
        }
        Ok(true)
    }

    /// From now on it is remembered for a while what was shown by feeds that nobody holds any more.
    pub(crate) fn remember_shown(&self) {
        _ = self.ears.lately.set(Mutex::default());
    }

    /// The events of rooms that readers here were shown and that are of this time or later, in ms since 1970, as far as
    /// they are in memory.
    pub(crate) fn shown(&self, since: i64) -> Vec<Entry> {
        let mut shown: Vec<Entry> = self.open().iter().flat_map(|feed| feed.shown(since)).collect();
        if let Some(lately) = self.ears.lately.get() {
            let lately = lately.lock().expect("no panic while locked");
            shown.extend(lately.iter().filter(|entry| entry.event.ts >= since).cloned());
        }
        shown
    }

    pub(crate) fn rooms(&self) -> Vec<RoomId> {
        self.open().iter().map(|feed| feed.room().id).collect()
    }

    /// The feeds that are open, in the order of their rooms' ids: it does not depend on how they are kept.
    fn open(&self) -> Vec<Arc<Feed>> {
        let mut feeds: Vec<_> = {
            let by_log = self.by_log.lock().expect("no panic while locked");
            by_log.values().filter_map(Weak::upgrade).collect()
        };
        feeds.retain(|feed| feed.is_open());
        feeds.sort_unstable_by_key(|feed| feed.room().id);
        feeds
    }

    fn look_after(&self, feed: &Arc<Feed>) {
        // The receiver only goes away with the whole pod.
        _ = self.holes.send(Arc::downgrade(feed));
    }

    fn find(&self, log: LogId) -> Option<Arc<Feed>> {
        self.by_log.lock().expect("no panic while locked").get(&log)?.upgrade()
    }

    /// The feed could not be read in: the next who wants it tries again.
    pub(crate) fn forget(&self, feed: &Feed) {
        self.by_log.lock().expect("no panic while locked").remove(&feed.room().id.into());
    }

    /// The feed of a log, and whether it is new and has to be opened.
    pub(crate) fn find_or_insert(&self, room: &Room) -> (Arc<Feed>, bool) {
        let mut by_log = self.by_log.lock().expect("no panic while locked");
        let log = LogId::from(room.id);
        if let Some(feed) = by_log.get(&log).and_then(Weak::upgrade) {
            return (feed, false);
        }
        let (memory, ears) = (Arc::clone(&self.memory), Arc::clone(&self.ears));
        let feed = Arc::new(Feed::new(room.clone(), self.postbox.clone(), memory, ears));
        by_log.insert(log, Arc::downgrade(&feed));
        (feed, true)
    }
}

/// Feeds together with the log that they are read from.
#[derive(Clone)]
pub struct Hub {
    feeds: Arc<Feeds>,
    log: Log,
    backplane: Backplane,
}

impl Hub {
    /// Joins the two, and repairs holes from now on (one at a time for each feed) until `feeds` is gone.
    pub fn new(
        feeds: Arc<Feeds>,
        log: Log,
        backplane: Backplane,
        holes: mpsc::UnboundedReceiver<Weak<Feed>>,
    ) -> Self {
        let hub = Hub { feeds, log, backplane };
        tokio::spawn(repair::run(hub.clone(), holes));
        hub
    }

    /// The tips that the log has, brought about twice a second. What a feed lacks now and lacked at the comparison
    /// before (so that it is not merely on its way) is read; a new epoch is crossed to at once. Rooms that are not
    /// open here do not matter; one that was missed has to be in the next comparison too.
    pub fn compare(&self, tips: &[(RoomId, Cursor)]) {
        self.feeds.compare(tips);
    }

    /// Everything may have been missed, for the link to the other pods was cut: every feed reads its log's extent
    /// and what comes after its last event, a few at a time.
    pub fn look_again(&self) {
        self.feeds.look_again();
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
                    hub.feeds.forget(&feed);
                    feed.fail(e.kind);
                }
            });
        }
        feed.opened().await?;
        Ok(feed)
    }

    /// From now on `ear` is called with whoever comes into the rooms that are open here, or leaves them, as the other
    /// pods say it; once for all. It must not block.
    pub fn hear_of_people(&self, ear: impl Fn(LogId, Passed) + Send + Sync + 'static) {
        _ = self.feeds.ears.people.set(Box::new(ear));
    }

    /// From now on `ear` is called with whoever is not a member of a room any more that is open here, before its readers
    /// have that or anything later; once for all. It must not block.
    pub fn hear_of_leavers(&self, ear: impl Fn(RoomId, UserId) + Send + Sync + 'static) {
        _ = self.feeds.ears.leavers.set(Box::new(ear));
    }

    /// Something that those hear who listen to a log on this pod.
    pub fn tell(&self, log: LogId, aside: Aside) {
        self.feeds.hear(vec![Notice::Told(log, aside)]);
    }

    /// The rooms that somebody here reads, as far as they are open.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.feeds.rooms()
    }

    /// Sees to it that this pod has heard of everything up to `place`, if the log has that: a reader who comes from
    /// another pod may be further than this one.
    ///
    /// # Errors
    /// When the log cannot be read, or not in time.
    pub async fn reach(&self, feed: &Arc<Feed>, place: Cursor) -> Result<(), LogError> {
        if place <= feed.tip()
            || !self.log.has_other_pods()
            || !self.feeds.seek(&self.log, feed, place).await?
        {
            return Ok(());
        }
        let reached = tokio::time::timeout(REACH, feed.reached(place)).await;
        reached.map_err(|_| LogErrorKind::Unavailable.into())
    }

    /// Forgets the feeds that nobody holds any more, and listens to their logs no longer.
    pub fn sweep(&self) {
        let mut by_log = self.feeds.by_log.lock().expect("no panic while locked");
        by_log.retain(|log, feed| {
            let is_held = feed.strong_count() > 0;
            if !is_held {
                // Under the lock, so that it does not overtake whoever opens the log anew.
                self.backplane.unsubscribe(*log);
            }
            is_held
        });
    }

    /// What it counts.
    pub fn figures(&self) -> Figures {
        Figures {
            feeds: self.feeds.by_log.lock().expect("no panic while locked").len(),
            tail_bytes: self.feeds.memory.held.load(Ordering::Relaxed),
            repairs: self.feeds.repairs.load(Ordering::Relaxed),
            gaps: self.feeds.gaps.load(Ordering::Relaxed),
        }
    }

    async fn read_in(&self, feed: &Arc<Feed>) -> Result<(), LogError> {
        // Interest before the last look: what is said from now on is heard.
        self.backplane.subscribe(feed.room().id.into()).await;
        read_in(&self.feeds, &self.log, feed).await
    }
}

/// What the hub asks of a log: of [`Log`], or of the one that the simulator has.
pub(crate) trait ReadLog {
    async fn extent(&self, room: &Room) -> Result<Extent, LogError>;
    async fn read(&self, room: &Room, after: Seq, limit: usize) -> Result<Vec<Frame>, LogError>;
    async fn last(&self, room: &Room, count: usize) -> Result<Vec<Frame>, LogError>;
}

impl ReadLog for Log {
    async fn extent(&self, room: &Room) -> Result<Extent, LogError> {
        Log::extent(self, room).await
    }

    async fn read(&self, room: &Room, after: Seq, limit: usize) -> Result<Vec<Frame>, LogError> {
        Log::read(self, room, after, limit).await
    }

    async fn last(&self, room: &Room, count: usize) -> Result<Vec<Frame>, LogError> {
        Log::last(self, room, count).await
    }
}

/// Reads in a feed that listens already.
pub(crate) async fn read_in<L: ReadLog>(feeds: &Feeds, log: &L, feed: &Arc<Feed>) -> Result<(), LogError> {
    loop {
        // In this order: what is appended in between is in the second answer, or is announced and parked.
        let extent = log.extent(feed.room()).await?;
        let newest = log.last(feed.room(), PRELOAD).await?;
        if newest.last().is_some_and(|frame| frame.cursor.epoch > extent.epoch) {
            // A new epoch began in between.
            continue;
        }
        if feed.open(extent, newest) {
            feeds.look_after(feed);
        }
        return Ok(());
    }
}
