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
    Feed, Feeds, Hub, ReadLog,
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
        let draw = rand::rng().random();
        let looked = look(&self.hub.feeds, &self.hub.log, feed, backoff, draw).await;
        match looked.read {
            Some(Err(e)) if !self.is_out.swap(true, Ordering::Relaxed) => {
                tracing::warn!(error = %e, "holes cannot be read from the log; trying again");
            }
            Some(Ok(())) if self.is_out.swap(false, Ordering::Relaxed) => {
                tracing::info!("holes can be read from the log again");
            }
            _ => {}
        }
        looked.pause
    }
}

/// What came of one look after a feed.
pub(crate) struct Looked {
    /// When to look again; `None`: there is nothing more to look after.
    pub(crate) pause: Option<Duration>,
    /// Whether the log could be read, if it was to be.
    read: Option<Result<(), LogError>>,
}

/// Does what there is to do for a feed. A wait is drawn by `draw`, from 0 to 1.
pub(crate) async fn look<L: ReadLog>(
    feeds: &Feeds,
    log: &L,
    feed: &Feed,
    backoff: &mut Backoff,
    draw: f64,
) -> Looked {
    let read = match feed.look() {
        Look::Nothing => return Looked { pause: None, read: None },
        Look::Again => return Looked { pause: Some(EARLY), read: None },
        Look::Read(read) => read,
    };
    feeds.repairs.fetch_add(1, Ordering::Relaxed);
    let (extent, found) = match read_hole(log, feed, &read).await {
        Ok(read) => read,
        Err(e) => {
            feed.put_off();
            return Looked { pause: Some(backoff.next(draw)), read: Some(Err(e)) };
        }
    };
    let covered = found.last().filter(|_| found.len() == STEP).map_or(Seq::MAX, |last| last.cursor.seq);
    let (next, gaps) = feed.settle(&read, extent, found, covered);
    feeds.gaps.fetch_add(gaps as u64, Ordering::Relaxed);
    let pause = match next {
        Next::Done => None,
        Next::Look => {
            *backoff = Backoff::default();
            Some(Duration::ZERO)
        }
        Next::Retry => Some(backoff.next(draw)),
    };
    Looked { pause, read: Some(Ok(())) }
}

/// The extent first: what it says is over is over when the events are read.
async fn read_hole<L: ReadLog>(
    log: &L,
    feed: &Feed,
    read: &Read,
) -> Result<(Option<Extent>, Vec<Frame>), LogError> {
    let extent = if read.afresh { Some(log.extent(feed.room()).await?) } else { None };
    Ok((extent, log.read(feed.room(), read.after.seq, STEP).await?))
}

/// Waits that double, each drawn from its upper half so that not all come back at once.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Backoff(BACKOFF.0)
    }
}

impl Backoff {
    fn next(&mut self, draw: f64) -> Duration {
        let wait = self.0;
        self.0 = (2 * wait).min(BACKOFF.1);
        wait.mul_f64(0.5 + draw / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_two_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..20).map(|_| backoff.next(rand::rng().random())).collect();
        assert!(waits[0] >= BACKOFF.0 / 2 && waits[0] < BACKOFF.0);
        assert!(waits[19] >= BACKOFF.1 / 2 && waits.iter().all(|wait| *wait < BACKOFF.1));
    }
}
