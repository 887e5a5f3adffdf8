//! What a connection and the requests on it share.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use crate::{
    chat::{Endings, Visit},
    event::Seq,
    hub::{Feed, Listener},
};

/// A place in the reading room, taken when everything before it is written.
pub(crate) struct Seat {
    pub(crate) feed: Arc<Feed>,
    /// The last event that was written.
    pub(crate) after: Seq,
    pub(crate) visit: Visit,
    /// What is told, but not logged, until the seat is taken.
    pub(crate) listener: Listener,
    /// Whether it is to end, until the seat is taken.
    pub(crate) endings: Endings,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP alone.
    Plain,
    /// TLS, which this process ends.
    Tls,
}

/// One connection, as seen by its socket, its driver and its requests. Of HTTP/2, each stream has one, and the connection
/// has one for itself.
pub(crate) struct Line {
    peer: IpAddr,
    transport: Transport,
    born: Instant,
    seat: Mutex<Option<Box<Seat>>>,
    stage: AtomicU8,
    /// ms after `born`; `u64::MAX`: none.
    read_deadline: AtomicU64,
    write_deadline: AtomicU64,
    is_stream: AtomicBool,
    is_polled: AtomicBool,
    answered: AtomicU64,
}

const NO_SEAT: u8 = 0;
const OFFERED: u8 = 1;
const FLUSHED: u8 = 2;

impl Line {
    pub(crate) fn new(peer: IpAddr, transport: Transport) -> Self {
        Line {
            peer,
            transport,
            born: Instant::now(),
            seat: Mutex::new(None),
            stage: AtomicU8::new(NO_SEAT),
            read_deadline: AtomicU64::new(u64::MAX),
            write_deadline: AtomicU64::new(u64::MAX),
            is_stream: AtomicBool::new(false),
            is_polled: AtomicBool::new(false),
            answered: AtomicU64::new(0),
        }
    }

    /// The other end, as the socket knows it.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// The body has said all that it will; the reader goes on from this seat.
    pub(crate) fn offer(&self, seat: Box<Seat>) {
        *self.seat.lock().expect("no panic while locked") = Some(seat);
        self.stage.store(OFFERED, Ordering::Release);
    }

    /// hyper has flushed the socket, which it does only when it holds nothing more itself.
    pub(crate) fn flushed(&self) {
        _ = self.stage.compare_exchange(OFFERED, FLUSHED, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The seat, once everything before it is written.
    pub(crate) fn take_seat(&self) -> Option<Box<Seat>> {
        if self.stage.load(Ordering::Acquire) != FLUSHED {
            return None;
        }
        self.seat.lock().expect("no panic while locked").take()
    }

    /// An answer has been given to hyper whole.
    pub(crate) fn answered(&self) {
        self.is_polled.store(false, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Release);
    }

    /// How many answers have been.
    pub(crate) fn answers(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }

    /// From now on this connection only streams: it may be quiet for as long as it likes.
    pub(crate) fn begin_stream(&self) {
        self.is_stream.store(true, Ordering::Relaxed);
        self.expect_read(None);
    }

    /// The answer under way waits for something to happen.
    pub(crate) fn begin_poll(&self) {
        self.is_polled.store(true, Ordering::Relaxed);
    }

    /// Is the client one that listens, and is gone when it sends no more?
    pub(crate) fn is_listening(&self) -> bool {
        self.is_stream.load(Ordering::Relaxed) || self.is_polled.load(Ordering::Relaxed)
    }

    /// The next bytes from the client, if they are awaited, must come within this time.
    pub(crate) fn expect_read(&self, within: Option<Duration>) {
        let within = within.filter(|_| !self.is_stream.load(Ordering::Relaxed));
        self.read_deadline.store(self.after(within), Ordering::Relaxed);
    }

    /// The client must take the next bytes within this time.
    pub(crate) fn expect_write(&self, within: Option<Duration>) {
        self.write_deadline.store(self.after(within), Ordering::Relaxed);
    }

    pub(crate) fn is_write_expected(&self) -> bool {
        self.write_deadline.load(Ordering::Relaxed) != u64::MAX
    }

    /// Has the client taken nothing for too long?
    pub(crate) fn is_stuck(&self) -> bool {
        self.write_deadline.load(Ordering::Relaxed) <= self.after(Some(Duration::ZERO))
    }

    /// When to give up, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let first =
            self.read_deadline.load(Ordering::Relaxed).min(self.write_deadline.load(Ordering::Relaxed));
        (first != u64::MAX).then(|| self.born + Duration::from_millis(first))
    }

    /// Ready when the deadline that there is now has passed; `timer` is one that [`patience`] gave.
    pub(crate) fn poll_overdue(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline().map(tokio::time::Instant::from_std) else {
            return Poll::Pending;
        };
        // With each request the deadline moves, nearly always away: the timer is then left to ring and look again.
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if deadline <= tokio::time::Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn after(&self, within: Option<Duration>) -> u64 {
        let at = within.map(|within| self.born.elapsed() + within);
        at.map_or(u64::MAX, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A timer for [`Line::poll_overdue`].
pub(crate) fn patience() -> Sleep {
    // As good as never, until it is set.
    sleep_until((Instant::now() + Duration::from_secs(24 * 60 * 60)).into())
}
