//! What the handles of a backplane and the task that listens share.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep_until, timeout},
};

use super::{
    BackplaneErrorKind, Ear, Figures, Inbound,
    interest::{Interest, Step},
};
use crate::event::LogId;

/// How long `subscribe` waits for the server.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer of the server may take before the link counts as cut.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// First and longest pause between two tries to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Causes remembered as logged. A server has few; one that words each failure anew is logged so.
const CAUSES: usize = 16;

/// See the module.
pub(super) struct Link {
    ear: Ear,
    interest: Mutex<Interest>,
    /// There is something to do for the task.
    wake: Notify,
    /// The server has answered: who waits looks again.
    answered: watch::Sender<()>,
    is_up: AtomicBool,
    is_closed: AtomicBool,
    messages_in: AtomicU64,
    unknown: AtomicU64,
    cuts: AtomicU64,
    dropped: AtomicU64,
    /// Why the link is down, as logged since it was last up.
    causes: Mutex<HashSet<String>>,
}

impl Link {
    pub(super) fn new(ear: Ear) -> Self {
        Link {
            ear,
            interest: Mutex::default(),
            wake: Notify::new(),
            answered: watch::Sender::new(()),
            is_up: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            messages_in: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            causes: Mutex::default(),
        }
    }

    /// For a server that is this process: it knows at once.
    pub(super) fn subscribe_here(&self, log: LogId) {
        self.interest().want(log);
        self.advance();
    }

    /// Takes all steps that are due, where they need no telling.
    pub(super) fn advance(&self) {
        while let Some(step) = self.next() {
            self.done(&step);
        }
    }

    /// Waits until the server knows of it, for at most [`PATIENCE`].
    pub(super) async fn subscribe(&self, log: LogId) {
        let mut answered = self.answered.subscribe();
        if self.interest().want(log) {
            return;
        }
        self.wake.notify_one();
        let known =
            async { while answered.changed().await.is_ok() && !self.interest().is_subscribed(log) {} };
        if timeout(PATIENCE, known).await.is_err() {
            let mut interest = self.interest();
            if !interest.is_subscribed(log) {
                interest.owe();
            }
        }
    }

    pub(super) fn unsubscribe(&self, log: LogId) {
        self.interest().leave(log, Instant::now());
        self.wake.notify_one();
    }

    /// Something came in, on a channel that is this log's or nobody's.
    pub(super) fn hear(&self, log: Option<LogId>, bytes: impl FnOnce() -> Bytes) {
        let Some(log) = log else {
            self.unknown.fetch_add(1, Relaxed);
            return;
        };
        // The server may not have heard yet that nobody listens.
        if self.interest().has(log) {
            self.messages_in.fetch_add(1, Relaxed);
            (self.ear)(Inbound::Said(log, bytes()));
        }
    }

    /// What to tell the server now; one at a time.
    pub(super) fn next(&self) -> Option<Step> {
        self.interest().next(Instant::now())
    }

    pub(super) fn done(&self, step: &Step) {
        self.interest().done(step);
        self.answered.send_replace(());
    }

    pub(super) fn failed(&self, step: &Step) {
        self.interest().failed(step);
    }

    /// The server knows nothing of us.
    pub(super) fn begin(&self) {
        self.interest().lost();
    }

    /// Something may have been missed.
    pub(super) fn owe(&self) {
        self.interest().owe();
    }

    /// Between steps, with a link that is whole: tells what is owed as soon as it may.
    pub(super) fn settle(&self) {
        // Not within the condition: the ear may subscribe.
        let tells = self.interest().settle();
        if tells {
            self.up();
            self.causes.lock().expect("no panic while locked").clear();
            (self.ear)(Inbound::Missed);
        }
    }

    /// The link is whole.
    pub(super) fn up(&self) {
        self.is_up.store(true, Relaxed);
    }

    /// The link was cut.
    pub(super) fn cut(&self) {
        self.is_up.store(false, Relaxed);
        self.cuts.fetch_add(1, Relaxed);
    }

    /// The link let go of a message.
    pub(super) fn let_go(&self) {
        self.dropped.fetch_add(1, Relaxed);
        self.wake();
    }

    /// Messages that it let go of.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// For good.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Relaxed);
        self.is_up.store(false, Relaxed);
    }

    /// Can something be said now?
    pub(super) fn check(&self) -> Result<(), BackplaneErrorKind> {
        match (self.is_closed(), self.is_up()) {
            (true, _) => Err(BackplaneErrorKind::Closed),
            (false, false) => Err(BackplaneErrorKind::Unavailable),
            (false, true) => Ok(()),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }

    /// Logs why the link is down or does not work: each cause once, until it works again.
    pub(super) fn complain(&self, cause: &dyn fmt::Display) {
        let cause = cause.to_string();
        let mut causes = self.causes.lock().expect("no panic while locked");
        if causes.len() == CAUSES {
            causes.clear();
        }
        if causes.insert(cause.clone()) {
            tracing::warn!(error = cause, "the backplane has no link; trying again");
        }
    }

    /// Wakes the task.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Resolves when there may be something to do, at `latest` then.
    pub(super) async fn woken(&self, latest: Instant) {
        let due = self.interest().due().map_or(latest, |due| due.min(latest));
        tokio::select! {
            () = self.wake.notified() => {}
            () = sleep_until(due.into()) => {}
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Relaxed)
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            subscriptions: self.interest().len(),
            messages_in: self.messages_in.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            cuts: self.cuts.load(Relaxed),
            dropped: self.dropped(),
            is_connected: self.is_up(),
        }
    }

    fn interest(&self) -> MutexGuard<'_, Interest> {
        self.interest.lock().expect("no panic while locked")
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.figures().fmt(f)
    }
}

/// How long to wait before the try with this number, from 1 on: twice as long each time, and less at random so
/// that pods do not come back all at once.
pub(super) fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let full = PAUSE.0.saturating_mul(1 << doublings).min(PAUSE.1);
    full.mul_f64(rand::random_range(0.5..=1.0))
}

/// The task that listens: it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task(Mutex<Option<JoinHandle<()>>>);

impl Task {
    pub(super) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Task(Mutex::new(Some(tokio::spawn(future))))
    }

    /// Ends it; resolves when it has let go of what it holds.
    pub(super) async fn end(&self) {
        let task = self.0.lock().expect("no panic while locked").take();
        if let Some(task) = task {
            task.abort();
            _ = task.await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = self.0.get_mut().expect("no panic while locked").take() {
            task.abort();
        }
    }
}
