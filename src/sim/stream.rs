//! One stream, on the pod's side: what `http/stream.rs` writes, as its own code decides it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use loadtest::checker::Sight;
use tokio::sync::Notify;

use super::{
    pod::Pod,
    time::{Rng, Time, either},
};
use crate::{
    event::{Cursor, Extent, Frame, Gap, LogId, Room, RoomId, Seq, User, UserId},
    faults::{self, Fault},
    http::start::{Beginning, Then, after, begin, gaps_at, then},
    hub::{Feed, Listener, Start},
    log::LogError,
    readers::{Place, Post, Source},
};

const STEP: usize = 64 << 10;
const EVENTS: usize = 500;

/// The client's end of a stream.
pub(super) struct Conn {
    arriving: RefCell<VecDeque<(Duration, Option<Sight>)>>,
    bell: Notify,
    /// The client has hung up.
    pub(super) gone: Cell<bool>,
    left: Notify,
}

impl Conn {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Conn {
            arriving: RefCell::default(),
            bell: Notify::new(),
            gone: Cell::new(false),
            left: Notify::new(),
        })
    }

    /// What arrives next; `None` at the end.
    pub(super) async fn next(&self, time: &Time) -> Option<Sight> {
        loop {
            let next = self.arriving.borrow().front().map(|(at, _)| *at);
            match next {
                Some(at) if at <= time.now() => {
                    let arrived = self.arriving.borrow_mut().pop_front();
                    return arrived.and_then(|(_, sight)| sight);
                }
                Some(at) => time.sleep_until(at).await,
                None => self.bell.notified().await,
            }
        }
    }

    pub(super) fn hang_up(&self) {
        self.gone.set(true);
        self.left.notify_one();
    }
}

/// The pod's end. Dropping it ends the stream.
struct Mouth {
    conn: Rc<Conn>,
    time: Time,
    rng: Rng,
    last: Cell<Duration>,
}

impl Mouth {
    fn say(&self, sight: Option<Sight>) {
        let at = (self.time.now() + self.rng.micros(100, 3000)).max(self.last.get());
        self.last.set(at);
        self.conn.arriving.borrow_mut().push_back((at, sight));
        self.conn.bell.notify_one();
    }

    fn gap(&self, gap: &Gap) {
        self.say(Some(Sight::Gap { cursor: cursor(gap.to), data: String::new() }));
    }

    fn frame(&self, frame: &Frame) {
        let data = String::from_utf8_lossy(&frame.json()).into_owned();
        let cursor = cursor(frame.cursor);
        self.say(Some(if frame.is_gap() {
            Sight::Gap { cursor, data }
        } else {
            Sight::Event { cursor, data }
        }));
    }
}

impl Drop for Mouth {
    fn drop(&mut self) {
        self.say(None);
    }
}

pub(super) fn cursor(at: Cursor) -> loadtest::cursor::Cursor {
    loadtest::cursor::Cursor::new(u64::from(at.epoch.0), at.seq.0)
}

/// A stream that is open.
struct Seat {
    room: RoomId,
    user: UserId,
    is_ended: Cell<bool>,
    bell: Notify,
    /// Posted to it by the reader thread, if it sits there.
    sits: Cell<bool>,
    newest: Cell<Seq>,
    posts: RefCell<Vec<Frame>>,
}

/// The streams of a pod.
#[derive(Default)]
pub(super) struct Streams(RefCell<Vec<Rc<Seat>>>);

impl Streams {
    /// Ends those in a room whose people are meant.
    pub(super) fn end(&self, room: RoomId, is_meant: impl Fn(UserId) -> bool) {
        for seat in self.0.borrow().iter().filter(|seat| seat.room == room && is_meant(seat.user)) {
            seat.is_ended.set(true);
            seat.bell.notify_one();
        }
    }

    pub(super) fn end_all(&self) {
        for seat in self.0.borrow().iter() {
            seat.is_ended.set(true);
            seat.bell.notify_one();
        }
    }

    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }

    /// What the hub posted to the reader thread goes to those who sit there.
    pub(super) fn post(&self, posts: Vec<Post>) {
        for post in posts {
            let Post::Event(log, frame) = post else { continue };
            let seats = self.0.borrow();
            let readers = seats.iter().filter(|seat| seat.sits.get() && LogId::from(seat.room) == log);
            for seat in readers.filter(|seat| frame.cursor.seq > seat.newest.get()) {
                seat.newest.set(frame.cursor.seq);
                seat.posts.borrow_mut().push(frame.clone());
                seat.bell.notify_one();
            }
        }
    }

    fn leave(&self, seat: &Rc<Seat>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, seat));
    }
}

/// A person is in a room while they have one.
struct Visit {
    pod: Rc<Pod>,
    seat: Rc<Seat>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let now = self.pod.instant();
        self.pod.shared(self.seat.room, |shared| shared.leave(self.seat.user, now));
        self.pod.more_people.notify_one();
        self.pod.streams.leave(&self.seat);
    }
}

/// Serves one stream to its end.
pub(super) async fn serve(pod: Rc<Pod>, room: Room, user: User, start: Start, conn: Rc<Conn>, seats: bool) {
    let rng = Rng::of(pod.rng.next(), 5);
    let mouth = Mouth { conn: Rc::clone(&conn), time: pod.world.time.clone(), rng, last: Cell::default() };
    if pod.is_banned(room.id, user.id) {
        mouth.say(Some(Sight::Other { name: "forbidden".into(), data: String::new() }));
        return;
    }
    let Ok(feed) = pod.open(&room).await else { return };
    let seat = Rc::new(Seat {
        room: room.id,
        user: user.id,
        is_ended: Cell::new(false),
        bell: Notify::new(),
        sits: Cell::new(false),
        newest: Cell::new(Seq(0)),
        posts: RefCell::default(),
    });
    pod.streams.0.borrow_mut().push(Rc::clone(&seat));
    pod.shared(room.id, |shared| shared.enter(user.id, &user.name, user.kind));
    pod.more_people.notify_one();
    let visit = Visit { pod: Rc::clone(&pod), seat };
    // Now that it would be told: was it told before?
    if pod.is_banned(room.id, user.id) {
        return;
    }
    let listener = feed.listen();
    let stream = async {
        let Ok(at) = replay(&pod, &feed, &start, &mouth, &visit.seat).await else { return };
        if seats {
            sit(&pod, &feed, &visit.seat, at, &listener, &mouth).await;
        } else {
            go_on(&visit.seat, at, listener, &mouth).await;
        }
    };
    either(stream, async {
        while !conn.gone.get() {
            conn.left.notified().await;
        }
    })
    .await;
}

/// `Writer::replay`
async fn replay(
    pod: &Rc<Pod>,
    feed: &Arc<Feed>,
    start: &Start,
    mouth: &Mouth,
    seat: &Seat,
) -> Result<Cursor, Stopped> {
    let room = feed.room();
    let Beginning { gap, newest, mut at, extent } = begin(&**pod, feed, start, Seq(0)).await?;
    let from = gap.as_ref().map_or(at, |gap| gap.from.unwrap_or(Cursor::NOWHERE));
    mouth.say(Some(Sight::Hello(cursor(from))));
    mouth.say(Some(Sight::Other { name: "tip".into(), data: extent.tip().to_string() }));
    if let Some(gap) = gap {
        mouth.gap(&gap);
    }
    at = push(mouth, &newest, at, &extent);
    let crossed = loop {
        if seat.is_ended.get() {
            return Err(Stopped);
        }
        let held = feed.after(at.seq, STEP);
        let (frames, extent) = after(&**pod, held, room, at.seq, EVENTS).await?;
        match then(&frames, at, &extent) {
            Then::Give => at = push(mouth, &frames, at, &extent),
            Then::Skip(gap, to) => {
                mouth.gap(&gap);
                at = to;
            }
            Then::Live(crossed) => break crossed,
        }
    };
    for gap in crossed {
        mouth.gap(&gap);
        at = gap.to;
    }
    Ok(at)
}

fn push(mouth: &Mouth, frames: &[Frame], mut at: Cursor, extent: &Extent) -> Cursor {
    for frame in frames {
        gaps_at(at, frame, extent).iter().for_each(|gap| mouth.gap(gap));
        if !frame.is_gap() {
            mouth.frame(frame);
        }
        at = frame.cursor;
    }
    at
}

/// In the reading room: joined to the feed, and then posted to.
async fn sit(pod: &Pod, feed: &Arc<Feed>, seat: &Seat, at: Cursor, listener: &Listener, mouth: &Mouth) {
    // The way from the front desk to the reader thread.
    pod.sleep(pod.rng.micros(50, 5000)).await;
    let after = if faults::is_on(Fault::NoSeam) { feed.tip().seq } else { at.seq };
    pod.take_posts();
    let Some(joined) = feed.join(0, Place { event: after, aside: listener.place() }, None) else { return };
    seat.sits.set(true);
    seat.newest.set(joined.end.event.max(after));
    joined.frames.iter().for_each(|frame| mouth.frame(frame));
    while !seat.is_ended.get() {
        let posts = std::mem::take(&mut *seat.posts.borrow_mut());
        posts.iter().for_each(|frame| mouth.frame(frame));
        if posts.is_empty() {
            seat.bell.notified().await;
        }
    }
}

/// On the courteous path: `courteous::go_on`.
async fn go_on(seat: &Seat, mut at: Cursor, mut listener: Listener, mouth: &Mouth) {
    while !seat.is_ended.get() {
        let Some(frames) = listener.hear(at.seq, STEP).frames else { return };
        for frame in &frames {
            mouth.frame(frame);
            at = frame.cursor;
        }
        if frames.is_empty() {
            either(listener.changed(), seat.bell.notified()).await;
        }
    }
}

/// It is to end, or the log cannot be read: the client comes back.
struct Stopped;

impl From<LogError> for Stopped {
    fn from(_: LogError) -> Self {
        Stopped
    }
}
