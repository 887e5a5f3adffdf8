//! One log that has readers here.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Memory, Plan, Start,
    listener::{Asides, Heard, Listener},
    order::{Order, Verdict},
    resume,
    tail::Tail,
};
use crate::{
    event::{Cursor, Extent, Frame, LogId, Room, Seq},
    log::{LogError, LogErrorKind},
    readers::{Postbox, Source},
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
}

#[derive(Debug)]
struct State {
    /// `tip` in it is that of the opening; the present one is the order's.
    opened: Opened,
    order: Order,
    tail: Tail,
    asides: Asides,
    /// One bit for each reader thread that is posted to.
    threads: u64,
}

#[derive(Debug)]
enum Opened {
    NotYet,
    Yes(Extent),
    Failed(LogErrorKind),
}

impl Feed {
    pub(super) fn new(room: Room, postbox: Postbox, memory: Arc<Memory>) -> Self {
        let state = State {
            opened: Opened::NotYet,
            order: Order::opening(),
            tail: Tail::new(Seq(0)),
            asides: Asides::default(),
            threads: 0,
        };
        Feed { room, state: Mutex::new(state), changed: watch::Sender::new(0), postbox, memory }
    }

    /// Whose log it is.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Where the log begins and ends now.
    pub fn extent(&self) -> Extent {
        let state = self.lock();
        match &state.opened {
            Opened::Yes(extent) => Extent { tip: state.order.last(), ..extent.clone() },
            Opened::NotYet | Opened::Failed(_) => unreachable!("a feed is given out when it is open"),
        }
    }

    /// The end of the log.
    pub fn tip(&self) -> Cursor {
        self.extent().tip()
    }

    /// Where a stream starts, and the extent that this was decided on.
    pub fn plan(&self, start: &Start) -> (Plan, Extent) {
        let extent = self.extent();
        (resume::plan(start, &extent), extent)
    }

    /// The newest `count` events, if they are in memory.
    pub fn last(&self, count: usize) -> Option<Vec<Frame>> {
        let state = self.lock();
        let Opened::Yes(extent) = &state.opened else { return None };
        state.tail.last(count, extent.first)
    }

    /// The events above `after`, about `limit` bytes of them, if they are in memory.
    pub fn after(&self, after: Seq, limit: usize) -> Option<Vec<Frame>> {
        self.lock().tail.after(after, limit)
    }

    /// Tells everybody who is caught up something that is not in the log: a ready block without an `id:`.
    pub fn aside(&self, block: &Bytes) {
        let mut state = self.lock();
        for thread in threads(state.threads) {
            self.postbox.aside(thread, self.room.id.into(), block.clone());
        }
        if state.asides.push(block) {
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
        Heard { frames: state.tail.after(after, limit), asides: state.asides.after(asides) }
    }

    pub(super) fn unlisten(&self) {
        self.lock().asides.leave();
    }

    /// Waits until the log has been read in.
    pub(super) async fn opened(&self) -> Result<(), LogError> {
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

    /// The log was read in: `newest` are its last events (fewer than `asked`: there are no others).
    pub(super) fn open(&self, extent: Extent, newest: Vec<Frame>, asked: usize) -> Option<Seq> {
        let mut state = self.lock();
        let start = match newest.first() {
            Some(oldest) if newest.len() == asked => oldest.cursor.seq.before(),
            Some(_) => extent.first.before(),
            None => extent.tip,
        };
        let tip = newest.last().map_or(extent.tip, |frame| frame.cursor.seq.max(extent.tip));
        state.tail = Tail::new(start);
        state.opened = Opened::Yes(extent);
        let (deliver, hole) = state.order.settle(newest, tip);
        self.deliver(state, deliver);
        hole
    }

    pub(super) fn fail(&self, kind: LogErrorKind) {
        self.lock().opened = Opened::Failed(kind);
        self.changed.send_modify(|n| *n += 1);
    }

    /// An event was announced; gives the seq after which a hole has to be read.
    pub(super) fn announce(&self, frame: Frame) -> Option<Seq> {
        let mut state = self.lock();
        match state.order.observe(frame) {
            Verdict::Deliver(frame) => self.deliver(state, vec![frame]),
            Verdict::Nothing => {}
            Verdict::ReadAfter(seq) => return Some(seq),
        }
        None
    }

    /// What a hole held; gives the next hole.
    pub(super) fn settle(&self, found: Vec<Frame>) -> Option<Seq> {
        let mut state = self.lock();
        // A hole that the log has nothing of was trimmed by retention.
        let tip = found.last().map_or_else(|| state.order.before_parked(), |frame| frame.cursor.seq);
        let (deliver, hole) = state.order.settle(found, tip);
        self.deliver(state, deliver);
        hole
    }

    pub(super) fn trim(&self, first: Seq) {
        let mut state = self.lock();
        if let Opened::Yes(extent) = &mut state.opened {
            extent.first = first;
        }
        let before = state.tail.bytes();
        state.tail.trim(first);
        self.memory.adjust(before, state.tail.bytes());
    }

    /// In order, under the one lock: into memory, to the reader threads, to the listeners.
    fn deliver(&self, mut state: MutexGuard<'_, State>, frames: Vec<Frame>) {
        let before = state.tail.bytes();
        for frame in frames {
            for thread in threads(state.threads) {
                self.postbox.event(thread, self.room.id.into(), frame.clone());
            }
            state.tail.push(frame);
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
        let held = self.lock().tail.bytes();
        self.memory.adjust(held, 0);
    }
}

impl Source for Feed {
    fn log(&self) -> LogId {
        self.room.id.into()
    }

    fn join(&self, thread: usize, after: Seq, upto: Option<Seq>) -> Option<(Vec<Frame>, Seq)> {
        let mut state = self.lock();
        let newest = state.order.last();
        let mut frames = state.tail.after(after, usize::MAX).filter(|_| after <= newest)?;
        let end = upto.unwrap_or(newest);
        frames.retain(|frame| frame.cursor.seq <= end);
        state.threads |= 1 << thread;
        Some((frames, end))
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
mod tests {
    use std::sync::atomic::AtomicUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        event::{Epoch, Slug},
        hub::tests::frame,
    };

    fn feed(tip: u64, limit: usize) -> (Feed, impl FnMut() -> Vec<Frame>) {
        let room = Room::from(&"lobby".parse::<Slug>().unwrap());
        let (postbox, posted) = Postbox::alone();
        let feed = Feed::new(room, postbox, Arc::new(Memory { held: AtomicUsize::new(0), limit }));
        let extent = Extent { epoch: Epoch(1), base: Seq(0), tip: Seq(tip), first: Seq(1), past: vec![] };
        let newest = (1..=tip).map(frame).collect();
        assert_eq!(feed.open(extent, newest, usize::MAX), None);
        (feed, posted)
    }

    #[test]
    fn each_bit_is_a_thread() {
        assert_eq!(threads(0).count(), 0);
        assert_eq!(threads(0b1011 | 1 << 63).collect::<Vec<_>>(), [0, 1, 3, 63]);
    }

    proptest! {
        /// A reader replays in steps of any size while others speak, takes a seat at any moment, and gets each
        /// event once: by its replay, with the seat, or posted.
        #[test]
        fn between_replay_and_live_nothing_is_lost_and_nothing_comes_twice(
            tip in 0u64..20,
            cursor in 0u64..20,
            steps in proptest::collection::vec((0u64..4, 0usize..2000), 0..12),
            later in 0u64..5,
            again in 0u64..3,
        ) {
            let cursor = cursor.min(tip);
            let (feed, mut posted) = feed(tip, usize::MAX);
            let mut said = tip;
            let mut say = |n: u64| {
                for _ in 0..n {
                    said += 1;
                    assert_eq!(feed.announce(frame(said)), None);
                }
                // What was announced may be announced again.
                for seq in said.saturating_sub(again) + 1..=said {
                    assert_eq!(feed.announce(frame(seq)), None);
                }
                said
            };
            let mut got = Vec::new();
            let mut at = Seq(cursor);
            for (n, limit) in steps {
                for frame in feed.after(at, limit).unwrap() {
                    at = frame.cursor.seq;
                    got.push(at.0);
                }
                say(n);
            }
            let (with_seat, end) = feed.join(0, at, None).unwrap();
            got.extend(with_seat.iter().map(|frame| frame.cursor.seq.0));
            let said = say(later);
            got.extend(posted().iter().map(|frame| frame.cursor.seq.0));
            prop_assert!(end.0 <= said);
            prop_assert_eq!(got, (cursor + 1..=said).collect::<Vec<_>>());
            feed.leave(0);
            feed.announce(frame(said + 1));
            prop_assert!(posted().is_empty());
        }

        /// However short memory is, a feed gives what it has without a hole, or says that it has not.
        #[test]
        fn a_feed_that_is_short_of_memory_leaves_nothing_out(said in 1u64..200, limit in 0usize..20_000, after in 0u64..200) {
            let (feed, _) = feed(0, limit);
            for seq in 1..=said {
                feed.announce(frame(seq));
            }
            if let Some(frames) = feed.after(Seq(after), usize::MAX) {
                let seqs: Vec<_> = frames.iter().map(|frame| frame.cursor.seq.0).collect();
                prop_assert_eq!(seqs, (after + 1..=said).collect::<Vec<_>>());
            }
        }
    }
}
