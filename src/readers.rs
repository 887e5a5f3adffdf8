//! The reading room: where streams wait once they have caught up.
//!
//! A few *reader threads*, about one per core, own the sockets of all plain HTTP/1.1 streams. Nothing in here is
//! async. A thread has one epoll instance, and for each log that it has readers of one [`Ring`]: the newest
//! events as ready HTTP chunks, one after the other, as far back as its slowest reader still lacks them. A
//! reader is a few words in a slab: descriptor, ring, byte cursor, time of last progress. An idle one has no
//! task, timer, channel or buffer.
//!
//! ```text
//!   hub ── event, aside ──► mailbox ──► ring ──┬─ sweep: one send(2) per reader ──► sockets
//!   http ── seat ─────────► mailbox ──► seats ─┘           ▲
//!                                                          └── epoll: writable again, gone
//! ```
//!
//! - **A sweep** goes over the readers of a ring and sends each all that it lacks with one `send(2)`. What is
//!   posted meanwhile waits for the next sweep and goes out together; so the cost of a busy room is bounded by
//!   its readers and not by its events.
//! - **A short write** makes a reader *blocked*: it is left alone until epoll says that there is room again. Its
//!   cursor is its backlog. [`Rules::behind`] bounds how far back a ring goes for it.
//! - **Private bytes** (a backlog at the beginning, a ping, a `bye`) go out at chunk boundaries only. They are
//!   boxed, and nearly nobody has any.
//! - **Rounds** pass every seat about once a second: who is quiet gets a ping, who takes nothing is ended, and so
//!   is who has overstayed.
//! - **Leaving is `Drop`**: the [`Occupant`] of a seat is dropped on the reader thread when its stream ends.
//!
//! [`Hall`] is all of this without a system call, driven by a [`Wire`]; `thread` puts it on epoll.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;

use crate::event::{Frame, LogId, Seq};

mod endings;
#[cfg(test)]
mod fakes;
mod hall;
#[cfg(test)]
mod live;
mod mailbox;
mod members;
#[cfg(test)]
mod model;
mod private;
mod ring;
mod rounds;
mod slab;
mod stats;
mod sweep;
mod thread;
mod wire;

pub use hall::Hall;
pub use mailbox::Postbox;
pub use ring::Ring;
pub use stats::Stats;
pub use wire::{Close, Sent, Wire};

#[cfg(test)]
pub(crate) use mailbox::Post;
use mailbox::{Bell, Mailbox, Order};
use thread::{ReaderThread, Sockets};

/// What the reading room knows of the person on a seat. Dropped when the reader has left: leaving is `Drop`.
pub trait Occupant: Send + 'static {
    /// Whom to end: a session, a person, an address.
    type Select: Clone + Send + 'static;

    /// Is this one of them? Asked of every reader, so it should only compare.
    fn is_meant(&self, select: &Self::Select) -> bool;

    /// The log whose readers alone can be meant; `None` when it may be any: then every reader is asked.
    fn within(_select: &Self::Select) -> Option<LogId> {
        None
    }

    /// When its session ends, in seconds since 1970 (UTC). Asked about once a second.
    fn expires(&self) -> u32;
}

/// Up to where somebody has what a [`Source`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The last event.
    pub event: Seq,
    /// How many asides there had been, by the source's count.
    pub aside: u64,
}

/// What lies between two places.
#[derive(Debug)]
pub struct Joined {
    /// The events, and the gaps among them.
    pub frames: Vec<Frame>,
    /// The asides, as far as they are kept.
    pub asides: Vec<Bytes>,
    /// The second place.
    pub end: Place,
}

/// A log's recent tail, as the hub keeps it: where a ring starts from.
///
/// It keeps posting to a thread from the first [`join`](Self::join) until [`leave`](Self::leave), in order, and
/// under the same lock that `join` takes; so what there is, is either in what `join` gives or is posted after it.
/// Both are called from reader threads.
pub trait Source: Send + Sync + 'static {
    /// While somebody has one, asides are kept for them.
    type Ear: Send + 'static;

    /// Which log this is the tail of.
    fn log(&self) -> LogId;

    /// Atomically: from now on events and asides are posted to `thread`, and here is what comes after `after` up to
    /// and with `upto` or, without it, up to the newest.
    ///
    /// `None`: the events are no longer in memory, or `after` lies beyond the newest; then `thread` is not joined
    /// by this call, but stays joined if it was.
    fn join(&self, thread: usize, after: Place, upto: Option<Place>) -> Option<Joined>;

    /// The last reader of this log on `thread` has gone: no more posts to it.
    fn leave(&self, thread: usize);
}

/// Someone who comes from the front desk: a stream whose head and replay are written.
pub struct NewReader<S: Source, O, K = OwnedFd> {
    /// The connection, at a chunk boundary of a chunked HTTP/1.1 body (RFC 9112 §7.1), with nothing buffered
    /// above it.
    pub socket: K,
    /// The tail of the log that it reads.
    pub source: Arc<S>,
    /// Up to where it was given everything.
    pub after: Place,
    /// What keeps the asides after that place, until it sits.
    pub ear: S::Ear,
    /// A block to send once it has all there is at this moment: `live`, where that was not said yet.
    pub live: Option<Bytes>,
    /// Who it is.
    pub occupant: O,
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It closed its side, or the connection broke. Gets no `bye`.
    Left,
    /// More than [`Rules::behind`] bytes behind.
    TooSlow,
    /// Took no byte for [`Rules::stuck`]. Gets no `bye`: it would not take it.
    Stuck,
    /// The session is over.
    Expired,
    /// What it lacks is no longer in memory; its cursor finds it in the log.
    Lost,
    /// The pod goes away and sends its readers off within this time.
    Draining(Duration),
    /// Somebody called [`ReadingRoom::end`], which has a `bye` of its own.
    Told,
}

/// Times and bounds of the reading room.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A reader that got nothing for this long, ± 20 %, gets a ping.
    pub ping: Duration,
    /// A reader that is owed bytes and took none for this long is ended.
    pub stuck: Duration,
    /// Bytes that a reader may be behind, and so about what a ring may hold.
    pub behind: usize,
    /// How long an ended reader may take to accept its last bytes, and again to close its side.
    pub linger: Duration,
    /// Least time between two sweeps of a ring that has been swept without a break for 100 ms.
    pub pause: Duration,
    /// The clock's step: everything above but `pause` is this exact. A round takes [`ROUND`] of them.
    pub tick: Duration,
}

/// Ticks in which every seat is looked at once.
pub const ROUND: u32 = 3;

impl Default for Rules {
    fn default() -> Self {
        Rules {
            ping: Duration::from_secs(15),
            stuck: Duration::from_secs(30),
            behind: 1 << 20,
            linger: Duration::from_secs(5),
            pause: Duration::from_millis(10),
            tick: Duration::from_millis(250),
        }
    }
}

/// Makes the `bye` block of a stream that the reading room ends by itself, with a `retry:` of its own.
pub type Farewell = Arc<dyn Fn(Why) -> Bytes + Send + Sync>;

/// The handle on all reader threads. Its clones are the same room; when the last is dropped, the threads end
/// their readers and then themselves.
pub struct ReadingRoom<S: Source, O: Occupant> {
    shared: Arc<Shared<S, O>>,
}

impl<S: Source, O: Occupant> Clone for ReadingRoom<S, O> {
    fn clone(&self) -> Self {
        ReadingRoom { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<S: Source, O: Occupant> {
    desks: Vec<Desk<S, O>>,
    postbox: Postbox,
    stats: Arc<Stats>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Where one thread takes orders.
struct Desk<S: Source, O: Occupant> {
    orders: Arc<Mailbox<Order<S, O>>>,
    /// Its readers, those on their way included.
    load: Arc<AtomicUsize>,
}

impl<S: Source, O: Occupant> ReadingRoom<S, O> {
    /// Starts `threads` reader threads. `bye` makes the last block of a stream that ends for a reason of the
    /// room's own; it is called on reader threads. Fails when the system gives no more descriptors or threads.
    pub fn open(
        threads: usize,
        rules: Rules,
        bye: impl Fn(Why) -> Bytes + Send + Sync + 'static,
    ) -> io::Result<Self> {
        assert!(threads > 0, "somebody has to read to them");
        let stats = Arc::new(Stats::default());
        let bye: Farewell = Arc::new(bye);
        let (mut desks, mut boxes, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..threads {
            let bell = Arc::new(Bell::new()?);
            let posts = Arc::new(Mailbox::new(Arc::clone(&bell)));
            let orders = Arc::new(Mailbox::new(Arc::clone(&bell)));
            let load = Arc::new(AtomicUsize::new(0));
            let sockets = Sockets::new(&bell)?;
            let hall = Hall::new(number, rules, Arc::clone(&bye), Arc::clone(&stats), sockets);
            let thread = ReaderThread::new(hall, Arc::clone(&posts), Arc::clone(&orders), Arc::clone(&load));
            boxes.push(posts);
            desks.push(Desk { orders, load });
            let name = format!("maru-reader-{number}");
            handles.push(std::thread::Builder::new().name(name).spawn(move || thread.run())?);
        }
        let postbox = Postbox::new(boxes);
        let shared = Shared { desks, postbox, stats, threads: Mutex::new(handles) };
        Ok(ReadingRoom { shared: Arc::new(shared) })
    }

    /// Where the hub posts what happens.
    pub fn postbox(&self) -> Postbox {
        self.shared.postbox.clone()
    }

    /// What it counts.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }

    /// Gives a reader a seat at the thread with the fewest. Who takes rights away by [`end`](Self::end) reaches
    /// everybody who was seated before that call; so look once more *after* `seat` whether the rights that
    /// were looked at before it still stand, and if not, `end` again.
    pub fn seat(&self, reader: NewReader<S, O>) {
        let load = |desk: &&Desk<S, O>| desk.load.load(Ordering::Relaxed);
        let desk = self.shared.desks.iter().min_by_key(load).expect("there is at least one thread");
        desk.load.fetch_add(1, Ordering::Relaxed);
        desk.orders.push(Order::Seat(reader));
    }

    /// Ends everybody who is meant: nothing more of their log reaches them, but for a chunk already begun, then
    /// the block `bye`, then the end of the body.
    pub fn end(&self, select: &O::Select, bye: &Bytes) {
        self.order(|| Order::End(select.clone(), bye.clone()));
    }

    /// Ends everybody, now and from now on, spread at random over `window`.
    pub fn drain(&self, window: Duration) {
        self.order(|| Order::Drain(window));
    }

    /// Ends everybody at once and waits for the threads to end, which takes at most [`Rules::linger`] twice.
    /// Called on many clones or twice, the later calls return at once.
    pub fn close(&self) {
        self.order(|| Order::Close);
        let threads = std::mem::take(&mut *self.shared.threads.lock().expect("nobody panics holding it"));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a reader thread had panicked");
            }
        }
    }

    fn order(&self, order: impl Fn() -> Order<S, O>) {
        for desk in &self.shared.desks {
            desk.orders.push(order());
        }
    }
}

impl<S: Source, O: Occupant> Drop for Shared<S, O> {
    fn drop(&mut self) {
        for desk in &self.desks {
            desk.orders.push(Order::Close);
        }
    }
}
