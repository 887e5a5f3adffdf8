//! Looks after holes: waits a moment whether they fill, reads them from the log, tries again while it cannot be read.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::RngExt;
use tokio::sync::{Semaphore, mpsc};

use super::{
    Feed, Hub,
    order::{Look, Next, Read},
};
use crate::{
    event::{Extent, Frame, Seq},
    log::LogError,
};

/// How long an event may be early before the hole before it is read: pods publish side by side.
const EARLY: Duration = Duration::from_millis(10);
/// Events read from the log at once.
const STEP: usize = 1000;
/// Feeds that read at the same time; when a link was cut, all of them want to.
const READS: usize = 32;
/// The first wait after the log could not be read, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What those who repair share.
struct Repair {
    hub: Hub,
    reads: Semaphore,
    /// The log cannot be read, and that was said.
    is_out: AtomicBool,
}

/// Looks after each feed that comes in, until it has no hole or nobody holds it any more.
pub(super) async fn run(hub: Hub, mut holes: mpsc::UnboundedReceiver<Weak<Feed>>) {
    let repair = Arc::new(Repair { hub, reads: Semaphore::new(READS), is_out: AtomicBool::new(false) });
    while let Some(feed) = holes.recv().await {
        let repair = Arc::clone(&repair);
        tokio::spawn(async move { repair.look_after(feed).await });
    }
}

impl Repair {
    async fn look_after(&self, feed: Weak<Feed>) {
        let mut backoff = Backoff::default();
        loop {
            let Some(held) = feed.upgrade() else { return };
            let Some(pause) = self.look(&held, &mut backoff).await else { return };
            drop(held);
            tokio::time::sleep(pause).await;
        }
    }

    /// Does what there is to do; gives when to look again.
    async fn look(&self, feed: &Feed, backoff: &mut Backoff) -> Option<Duration> {
        let _turn = self.reads.acquire().await.expect("it is never closed");
        let read = match feed.look() {
            Look::Nothing => return None,
            Look::Again => return Some(EARLY),
            Look::Read(read) => read,
        };
        self.hub.feeds.repairs.fetch_add(1, Ordering::Relaxed);
        let (log, found) = match self.read(feed, &read).await {
            Ok(read) => read,
            Err(e) => {
                feed.put_off();
                if !self.is_out.swap(true, Ordering::Relaxed) {
                    tracing::warn!(error = %e, "holes cannot be read from the log; trying again");
                }
                return Some(backoff.next());
            }
        };
        if self.is_out.swap(false, Ordering::Relaxed) {
            tracing::info!("holes can be read from the log again");
        }
        let covered = found.last().filter(|_| found.len() == STEP).map_or(Seq::MAX, |last| last.cursor.seq);
        let (next, gaps) = feed.settle(&read, log, found, covered);
        self.hub.feeds.gaps.fetch_add(gaps as u64, Ordering::Relaxed);
        match next {
            Next::Done => None,
            Next::Look => {
                *backoff = Backoff::default();
                Some(Duration::ZERO)
            }
            Next::Retry => Some(backoff.next()),
        }
    }

    /// The extent first: what it says is over is over when the events are read.
    async fn read(&self, feed: &Feed, read: &Read) -> Result<(Option<Extent>, Vec<Frame>), LogError> {
        let log = &self.hub.log;
        let extent = if read.afresh { Some(log.extent(feed.room()).await?) } else { None };
        Ok((extent, log.read(feed.room(), read.after.seq, STEP).await?))
    }
}

/// Waits that double, each drawn from its upper half so that not all come back at once.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Backoff(BACKOFF.0)
    }
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (2 * wait).min(BACKOFF.1);
        wait.mul_f64(rand::rng().random_range(0.5..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_two_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] >= BACKOFF.0 / 2 && waits[0] < BACKOFF.0);
        assert!(waits[19] >= BACKOFF.1 / 2 && waits.iter().all(|wait| *wait < BACKOFF.1));
    }
}
