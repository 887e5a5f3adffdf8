//! How the other threads speak to a reader thread: a queue under a lock, and a bell beside it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use rustix::event::{EventfdFlags, eventfd};

use super::{NewReader, Occupant, Source};
use crate::event::{Frame, LogId};

/// A burst may make the queue this long (entries) and leave it so; beyond, its memory is given back.
const KEPT: usize = 1024;

/// What the hub tells a reader thread.
pub(crate) enum Post {
    Event(LogId, Frame),
    Aside(LogId, u64, Bytes),
}

/// What the layers above want of a reader thread.
pub(crate) enum Order<S: Source, O: Occupant> {
    Seat(NewReader<S, O>),
    End(O::Select, Bytes),
    Drain(Duration),
    Close,
}

/// Wakes one thread out of its `epoll_wait`: an eventfd that is watched edge-triggered and never read, since
/// its counter takes 2^64 − 2 rings.
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    fn ring(&self) {
        // It can fail only when the counter is full, and then the bell has been rung.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A queue with one taker, who takes everything at once: what comes in a burst is taken together, and only its
/// first entry rings the bell. Never long: the taker looks after every 256 sends, and posting is quick.
pub(crate) struct Mailbox<T> {
    /// `None` once the taker has gone.
    queue: Mutex<Option<Vec<T>>>,
    bell: Arc<Bell>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Mailbox { queue: Mutex::new(Some(Vec::new())), bell }
    }

    /// Adds to the end; dropped when nobody takes any more.
    pub(crate) fn push(&self, entry: T) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entries) = queue.as_mut() else {
            drop(queue);
            // Dropping it may call back into whoever pushed, so not under the lock.
            return drop(entry);
        };
        let was_empty = entries.is_empty();
        entries.push(entry);
        drop(queue);
        if was_empty {
            self.bell.ring();
        }
    }

    /// Swaps the queue for `taken`, which must be empty and lends it its memory.
    pub(crate) fn take(&self, taken: &mut Vec<T>) {
        debug_assert!(taken.is_empty());
        if taken.capacity() > KEPT {
            *taken = Vec::new();
        }
        if let Some(entries) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            std::mem::swap(entries, taken);
        }
    }

    /// From now on everything that is pushed is dropped.
    pub(crate) fn shut(&self) {
        let left = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(left);
    }
}

/// Where the hub posts what happens, by thread: those numbers that [`Source::join`] was
/// called with. Posting takes a short lock and never calls back, so it may be done under the hub's own.
#[derive(Clone)]
pub struct Postbox(Arc<[Arc<Mailbox<Post>>]>);

impl Postbox {
    pub(crate) fn new(boxes: Vec<Arc<Mailbox<Post>>>) -> Self {
        Postbox(boxes.into())
    }

    /// How many reader threads there are: their numbers are below this.
    pub fn threads(&self) -> usize {
        self.0.len()
    }

    /// The next event of a log. A deletion also takes the text out of what the thread still holds.
    pub fn event(&self, thread: usize, log: LogId, frame: Frame) {
        self.0[thread].push(Post::Event(log, frame));
    }

    /// A block that is not in the log, in its place among the events: presence, typing. It is the `count`th.
    pub fn aside(&self, thread: usize, log: LogId, count: u64, block: Bytes) {
        self.0[thread].push(Post::Aside(log, count, block));
    }
}

#[cfg(test)]
impl Postbox {
    /// The box of one thread that does not run, and a look at what was posted to it since the last.
    pub(crate) fn alone() -> (Self, impl FnMut() -> Vec<Post>) {
        let mailbox = Arc::new(Mailbox::new(Arc::new(Bell::new().expect("a descriptor can be had"))));
        let taking = Arc::clone(&mailbox);
        let look = move || {
            let mut posts = Vec::new();
            taking.take(&mut posts);
            posts
        };
        (Postbox::new(vec![mailbox]), look)
    }
}
