//! One log that has readers here.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Ears, Memory,
    listener::{Asides, Heard, Listener},
    order::{Look, Next, Order, Read, Verdict},
    resume,
    tail::Tail,
};
use crate::{
    event::{Cursor, Entry, Event, Extent, Frame, LogId, MOST_ENTRIES, Room, RoomKind, Seq},
    log::{LogError, LogErrorKind, SHOWN_MS},
    readers::{Joined, Place, Postbox, Source},
};

/// Bytes of events that one tail keeps: as much as a live reader may be behind.
const TAIL: usize = 1 << 20;
/// The same while memory is short.
const TAIL_WHEN_SHORT: usize = 16 << 10;

/// A log that has readers on this pod: its newest events, and who is told of the next.
pub struct Feed {
    room: Room,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    postbox: Postbox,
    memory: Arc<Memory>,
    ears: Arc<Ears>,
}

#[derive(Debug)]
struct State {
    /// `tip` in it is that of the opening; the present one is the order's.
    opened: Opened,
    /// Events that the log has at most.
    most: u64,
    order: Order,
    tail: Tail,
    asides: Asides,
    /// One bit for each reader thread that is posted to.
    threads: u64,
    /// A tip that the log had at the last comparison, and this feed had not.
    missed: Option<Cursor>,
}

impl State {
    /// The log as far as it was delivered here.
    fn extent(&self) -> Extent {
        match &self.opened {
            Opened::Yes(extent) => {
                let tip = self.order.last().seq;
                let first = extent.first.max(Seq(tip.next().0.saturating_sub(self.most)));
                Extent { tip, first, ..extent.clone() }
            }
            Opened::NotYet | Opened::Failed(_) => unreachable!("a feed is given out when it is open"),
        }
    }
}

/// What a replay finds in memory, and the log at the same moment.
#[derive(Debug)]
pub struct Held {
    /// The frames after a place, about as many bytes as were asked for; `None` when some of them are no longer in
    /// memory.
    pub frames: Option<Vec<Frame>>,
    /// The log, of which everything up to its tip was delivered here, and nothing above.
    pub extent: Extent,
}

#[derive(Debug)]
enum Opened {
    NotYet,
    Yes(Extent),
    Failed(LogErrorKind),
}

impl Feed {
    pub(super) fn new(room: Room, postbox: Postbox, memory: Arc<Memory>, ears: Arc<Ears>) -> Self {
        let state = State {
            opened: Opened::NotYet,
            most: if room.kind == RoomKind::Inbox { MOST_ENTRIES as u64 } else { u64::MAX },
            order: Order::opening(),
            tail: Tail::new(Seq(0)),
            asides: Asides::default(),
            threads: 0,
            missed: None,
        };
        Feed { room, state: Mutex::new(state), changed: watch::Sender::new(0), postbox, memory, ears }
    }

    /// Whose log it is.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Where the log begins and ends now.
    pub fn extent(&self) -> Extent {
        self.lock().extent()
    }

    /// The end of the log.
    pub fn tip(&self) -> Cursor {
        self.extent().tip()
    }

    /// The newest `count` events, if they are in memory.
    pub fn last(&self, count: usize) -> Option<Vec<Frame>> {
        let state = self.lock();
        let Opened::Yes(extent) = &state.opened else { return None };
        state.tail.last(count, extent.first)
    }

    /// The events of a room in memory that are of this time or later, in ms since 1970.
    pub(super) fn shown(&self, since: i64) -> Vec<Entry> {
        if self.room.kind == RoomKind::Inbox {
            return Vec::new();
        }
        let frames = self.lock().tail.since(since);
        let event = |frame: &Frame| serde_json::from_slice::<Event>(&frame.json()).ok();
        frames.iter().filter_map(event).map(|event| Entry::of_shown(self.room.id, event)).collect()
    }

    /// What is in memory above `after`, about `limit` bytes of it, and the log at this moment.
    pub fn after(&self, after: Seq, limit: usize) -> Held {
        let state = self.lock();
        Held { frames: state.tail.after(after, limit), extent: state.extent() }
    }

    /// Tells everybody who is caught up something that is not in the log: a ready block without an `id:`.
    pub fn aside(&self, block: &Bytes) {
        let mut state = self.lock();
        let has_listeners = state.asides.push(block);
        for thread in threads(state.threads) {
            self.postbox.aside(thread, self.room.id.into(), state.asides.count(), block.clone());
        }
        if has_listeners {
            drop(state);
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// An ear on this log for a stream that does not sit in the reading room.
    pub fn listen(self: &Arc<Self>) -> Listener {
        let place = self.lock().asides.enter();
        Listener::new(Arc::clone(self), self.changed.subscribe(), place)
    }

    pub(super) fn hear(&self, after: Seq, limit: usize, asides: &mut u64) -> Heard {
        let state = self.lock();
        let frames = state.tail.after(after, limit);
        Heard { frames, asides: state.asides.after(asides), extent: state.extent() }
    }

    pub(super) fn unlisten(&self) {
        self.lock().asides.leave();
    }

    /// Waits until the log has been read in.
    pub(crate) async fn opened(&self) -> Result<(), LogError> {
        let mut changed = self.changed.subscribe();
        loop {
            match &self.lock().opened {
                Opened::Yes(_) => return Ok(()),
                Opened::Failed(kind) => return Err((*kind).into()),
                Opened::NotYet => {}
            }
            changed.changed().await.map_err(|_| LogErrorKind::Unavailable)?;
        }
    }

    /// The log was read in, its extent first: `newest` are its last events, of no newer epoch. True when there is a
    /// hole to look after.
    pub(super) fn open(&self, extent: Extent, newest: Vec<Frame>) -> bool {
        let mut state = self.lock();
        let is_empty = extent.first > extent.tip;
        let last = newest.last().map(|frame| frame.cursor).filter(|last| last.epoch == extent.epoch);
        let last = last.unwrap_or(if is_empty { extent.tip() } else { extent.base() });
        // Whatever the log has below that, it is asked for.
        let start = newest.first().map_or(last.seq, |oldest| oldest.cursor.seq.before());
        state.tail = Tail::new(start);
        let (mut deliver, is_behind) = state.order.open(last, &extent);
        state.opened = Opened::Yes(extent);
        deliver.splice(0..0, newest);
        self.deliver(state, deliver);
        is_behind
    }

    pub(crate) fn fail(&self, kind: LogErrorKind) {
        self.lock().opened = Opened::Failed(kind);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Has it been read in?
    pub(super) fn is_open(&self) -> bool {
        matches!(self.lock().opened, Opened::Yes(_))
    }

    /// An event was announced. True when somebody has to begin to look after a hole.
    pub(super) fn announce(&self, frame: Frame) -> bool {
        let mut state = self.lock();
        match state.order.observe(frame) {
            Verdict::Deliver(frames) => self.deliver(state, frames),
            Verdict::Nothing => {}
            Verdict::Wait => return true,
        }
        false
    }

    /// The log has a tip. True when it was missed at the comparison before this one and is still, or is of a new
    /// epoch, and somebody has to begin to look after it.
    pub(super) fn compare(&self, tip: Cursor) -> bool {
        let mut state = self.lock();
        if !matches!(state.opened, Opened::Yes(_)) {
            return false;
        }
        let last = state.order.last();
        let missed = state.missed.replace(tip).filter(|missed| *missed > last);
        if tip.epoch > last.epoch || missed.is_some() {
            state.missed = None;
            return state.order.suspect();
        }
        if tip <= last {
            state.missed = None;
        }
        false
    }

    /// Anything may have been missed. True when somebody has to begin to look after it.
    pub(super) fn suspect(&self) -> bool {
        let mut state = self.lock();
        // Who is being read in is asked for everything anyway, from the extent on.
        matches!(state.opened, Opened::Yes(_)) && state.order.suspect()
    }

    /// The log has something at `place`. True when somebody has to begin to look after it.
    pub(super) fn know(&self, place: Cursor) -> bool {
        self.lock().order.know(place)
    }

    /// Waits until everything up to `place` is here.
    pub(crate) async fn reached(&self, place: Cursor) {
        let mut changed = self.changed.subscribe();
        while self.tip() < place {
            // The sender is this feed's own.
            _ = changed.changed().await;
        }
    }

    /// What whoever looks after the holes has to do now.
    pub(super) fn look(&self) -> Look {
        self.lock().order.look()
    }

    /// A read failed.
    pub(super) fn put_off(&self) {
        self.lock().order.put_off();
    }

    /// What was read, all that the log has up to `covered`; `log` is its extent, if that was read before. Gives what
    /// to do next, and how many gaps were told.
    pub(super) fn settle(
        &self,
        read: &Read,
        log: Option<Extent>,
        found: Vec<Frame>,
        covered: Seq,
    ) -> (Next, usize) {
        let mut state = self.lock();
        let known = state.extent();
        let log = log.unwrap_or_else(|| known.clone());
        let (deliver, next) = state.order.settle(read, found, covered, &log);
        let epoch = state.order.last().epoch;
        if log.epoch >= epoch {
            state.opened = Opened::Yes(resume::until(&log, epoch));
        }
        if epoch > known.epoch {
            let before = state.tail.bytes();
            state.tail.cross(known.epoch, &log);
            self.memory.adjust(before, state.tail.bytes());
        }
        let gaps = deliver.iter().filter(|frame| frame.is_gap()).count();
        self.deliver(state, deliver);
        (next, gaps)
    }

    pub(super) fn trim(&self, first: Seq) {
        let mut state = self.lock();
        if let Opened::Yes(extent) = &mut state.opened {
            extent.first = extent.first.max(first);
        }
        let before = state.tail.bytes();
        state.tail.trim(first);
        self.memory.adjust(before, state.tail.bytes());
    }

    /// Events and gaps in order, under the one lock: into memory, to the reader threads, to the listeners. Whoever is
    /// to hear no more is told of before there is anything to hear.
    fn deliver(&self, mut state: MutexGuard<'_, State>, frames: Vec<Frame>) {
        if self.room.kind == RoomKind::Members {
            frames.iter().filter_map(Frame::leaver).for_each(|user| self.ears.left(self.room.id, user));
        }
        let (before, log) = (state.tail.bytes(), LogId::from(self.room.id));
        for frame in frames {
            for thread in threads(state.threads) {
                self.postbox.event(thread, log, frame.clone());
            }
            state.tail.push(frame, log);
        }
        self.memory.adjust(before, state.tail.bytes());
        let held = state.tail.bytes();
        state.tail.shrink(if self.memory.is_short() { TAIL_WHEN_SHORT } else { TAIL });
        self.memory.adjust(held, state.tail.bytes());
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.ears.keep(|| {
            let newest = self.lock().tail.newest();
            self.shown(newest - SHOWN_MS)
        });
        let held = self.lock().tail.bytes();
        self.memory.adjust(held, 0);
    }
}

impl Source for Feed {
    type Ear = Listener;

    fn log(&self) -> LogId {
        self.room.id.into()
    }

    fn join(&self, thread: usize, after: Place, upto: Option<Place>) -> Option<Joined> {
        let mut state = self.lock();
        let newest = Place { event: state.order.last().seq, aside: state.asides.count() };
        let end = upto.unwrap_or(newest);
        let mut frames = match state.tail.after(after.event, usize::MAX) {
            _ if after.event > newest.event => return None,
            Some(frames) => frames,
            None if end.event <= after.event => Vec::new(),
            None => return None,
        };
        frames.retain(|frame| frame.cursor.seq <= end.event);
        state.threads |= 1 << thread;
        Some(Joined { frames, asides: state.asides.between(after.aside, end.aside), end })
    }

    fn leave(&self, thread: usize) {
        self.lock().threads &= !(1 << thread);
    }
}

/// The threads whose bits are set.
fn threads(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let thread = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (thread < u64::BITS).then_some(thread as usize)
    })
}

#[cfg(test)]
mod tests;
