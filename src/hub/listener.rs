//! Readers that are not in the reading room: over TLS, HTTP/2 or HTTP/1.0, as NDJSON, or polling.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use super::Feed;
use crate::event::{Extent, Frame, Seq};

/// Blocks kept for listeners that are a little late; over it the oldest are let go, being ephemeral.
const ASIDES: usize = 32;

/// What there is for a listener.
#[derive(Debug)]
pub struct Heard {
    /// The events after its place; `None` when some of them are no longer in memory.
    pub frames: Option<Vec<Frame>>,
    /// Blocks that are not in the log.
    pub asides: Vec<Bytes>,
    /// The log at this moment: everything up to its tip was delivered.
    pub extent: Extent,
}

/// An ear on one log. Leaving is `Drop`.
pub struct Listener {
    feed: Arc<Feed>,
    changed: watch::Receiver<u64>,
    asides: u64,
}

impl Listener {
    pub(super) fn new(feed: Arc<Feed>, mut changed: watch::Receiver<u64>, asides: u64) -> Self {
        changed.mark_changed();
        Listener { feed, changed, asides }
    }

    /// What there is after `after`, about `limit` bytes of it.
    pub fn hear(&mut self, after: Seq, limit: usize) -> Heard {
        self.changed.mark_unchanged();
        self.feed.hear(after, limit, &mut self.asides)
    }

    /// How many blocks there had been, that are not in the log, when it last heard.
    pub fn place(&self) -> u64 {
        self.asides
    }

    /// Waits until there may be something new.
    pub async fn changed(&mut self) {
        // The sender lives in the feed, which this listener holds.
        _ = self.changed.changed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.feed.unlisten();
    }
}

/// The newest blocks that are not in the log, kept while there are listeners.
#[derive(Debug, Default)]
pub(super) struct Asides {
    listeners: usize,
    newest: VecDeque<Bytes>,
    /// How many there have been.
    count: u64,
}

impl Asides {
    /// A listener comes; gives its place.
    pub(super) fn enter(&mut self) -> u64 {
        self.listeners += 1;
        self.count
    }

    pub(super) fn leave(&mut self) {
        self.listeners -= 1;
        if self.listeners == 0 {
            self.newest = VecDeque::new();
        }
    }

    /// True when there is a listener to tell.
    pub(super) fn push(&mut self, block: &Bytes) -> bool {
        self.count += 1;
        if self.listeners == 0 {
            return false;
        }
        if self.newest.len() == ASIDES {
            self.newest.pop_front();
        }
        self.newest.push_back(block.clone());
        true
    }

    /// How many there have been.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Those after `place`, which moves on.
    pub(super) fn after(&self, place: &mut u64) -> Vec<Bytes> {
        let from = std::mem::replace(place, self.count);
        self.between(from, self.count)
    }

    /// Those after the first `from`, up to and with `upto`, as far as they are kept.
    pub(super) fn between(&self, from: u64, upto: u64) -> Vec<Bytes> {
        let oldest = self.count - self.newest.len() as u64;
        let kept = self.newest.iter().zip(oldest + 1..);
        kept.filter(|(_, n)| (from + 1..=upto).contains(n)).map(|(block, _)| block.clone()).collect()
    }
}
