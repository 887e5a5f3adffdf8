//! Feeds with their readers, against logs that lose parts.

use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::*;
use crate::{
    event::{Epoch, Slug},
    hub::{
        Feeds, crossings, gaps_before, gaps_to,
        tests::{frame, frame_of},
    },
    readers::Post,
};

fn unopened(limit: usize) -> (Arc<Feed>, impl FnMut() -> Vec<Post>) {
    let room = Room::from(&"lobby".parse::<Slug>().unwrap());
    let (postbox, posted) = Postbox::alone();
    let memory = Arc::new(Memory { held: AtomicUsize::new(0), limit });
    (Arc::new(Feed::new(room, postbox, memory, Arc::default())), posted)
}

fn feed(tip: u64, limit: usize) -> (Arc<Feed>, impl FnMut() -> Vec<Frame>) {
    let (feed, mut posted) = unopened(limit);
    let extent = Extent { epoch: Epoch(1), base: Seq(0), tip: Seq(tip), first: Seq(1), past: vec![] };
    let newest = (1..=tip).map(frame).collect();
    assert!(!feed.open(extent, newest));
    (feed, move || events(posted()))
}

fn events(posts: Vec<Post>) -> Vec<Frame> {
    let events = posts.into_iter().filter_map(|post| match post {
        Post::Event(_, frame) => Some(frame),
        Post::Aside(..) => None,
    });
    events.collect()
}

fn place(event: Seq) -> Place {
    Place { event, aside: 0 }
}

#[test]
fn each_bit_is_a_thread() {
    assert_eq!(threads(0).count(), 0);
    assert_eq!(threads(0b1011 | 1 << 63).collect::<Vec<_>>(), [0, 1, 3, 63]);
}

#[test]
fn who_is_behind_at_two_comparisons_is_looked_after() {
    let (feed, _) = feed(5, usize::MAX);
    assert!(!feed.compare(Cursor::new(1, 5)));
    assert!(!feed.compare(Cursor::new(1, 7)));
    // It got those meanwhile, and is behind by others.
    feed.announce(frame(6));
    feed.announce(frame(7));
    assert!(!feed.compare(Cursor::new(1, 8)));
    assert!(feed.compare(Cursor::new(1, 8)));
    assert!(!feed.compare(Cursor::new(1, 8)), "somebody looks after it already");
}

#[test]
fn what_was_shown_is_remembered_when_the_last_reader_has_gone() {
    let (feeds, _holes) = Feeds::new(Postbox::alone().0, usize::MAX);
    feeds.remember_shown();
    let room = Room::from(&"lobby".parse::<Slug>().unwrap());
    let (feed, _) = feeds.find_or_insert(&room);
    let extent = Extent { epoch: Epoch(1), base: Seq(0), tip: Seq(1), first: Seq(1), past: vec![] };
    feed.open(extent, vec![frame(1)]);
    feed.announce(frame(2));
    let seqs = || feeds.shown(0).iter().map(|entry| (entry.room, entry.event.seq.0)).collect::<Vec<_>>();
    let both = [(room.id, 1), (room.id, 2)];
    assert_eq!(seqs(), both);
    drop(feed);
    assert_eq!(seqs(), both);
    assert!(feeds.shown(1).is_empty(), "they are older than that");
}

#[test]
fn a_tip_of_a_new_epoch_is_looked_after_at_once() {
    let (feed, _) = feed(5, usize::MAX);
    assert!(feed.compare(Cursor::new(2, 1000)));
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
                assert!(!feed.announce(frame(said)));
            }
            // What was announced may be announced again.
            for seq in said.saturating_sub(again) + 1..=said {
                assert!(!feed.announce(frame(seq)));
            }
            said
        };
        let mut got = Vec::new();
        let mut at = Seq(cursor);
        for (n, limit) in steps {
            for frame in feed.after(at, limit).frames.unwrap() {
                at = frame.cursor.seq;
                got.push(at.0);
            }
            say(n);
        }
        let joined = feed.join(0, place(at), None).unwrap();
        got.extend(joined.frames.iter().map(|frame| frame.cursor.seq.0));
        let said = say(later);
        got.extend(posted().iter().map(|frame| frame.cursor.seq.0));
        prop_assert!(joined.end.event.0 <= said);
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
        if let Some(frames) = feed.after(Seq(after), usize::MAX).frames {
            let seqs: Vec<_> = frames.iter().map(|frame| frame.cursor.seq.0).collect();
            prop_assert_eq!(seqs, (after + 1..=said).collect::<Vec<_>>());
        }
    }

    /// What is told after a stream began to listen comes to it once, in order: with the seat or posted.
    #[test]
    fn between_listening_and_sitting_no_aside_is_lost(before in 0u64..4, on_the_way in 0u64..20, after in 0u64..4) {
        let (feed, mut posted) = unopened(usize::MAX);
        feed.open(Extent::empty(0), vec![]);
        let mut n = 0;
        let mut tell = |count| for _ in 0..count {
            n += 1;
            feed.aside(&Bytes::from(n.to_string()));
        };
        tell(before);
        let listener = feed.listen();
        tell(on_the_way);
        let joined = feed.join(0, Place { event: Seq(0), aside: listener.place() }, None).unwrap();
        drop(listener);
        tell(after);
        let mut got = joined.asides;
        for post in posted() {
            if let Post::Aside(_, count, block) = post {
                prop_assert!(count > joined.end.aside);
                got.push(block);
            }
        }
        let expected: Vec<_> = (before + 1..=before + on_the_way + after).map(|n| Bytes::from(n.to_string())).collect();
        prop_assert_eq!(got, expected);
    }
}

/// A log that can lose its end, as other pods see it, and a feed of it here.
struct World<P> {
    feed: Arc<Feed>,
    posted: P,
    log: Extent,
    kept: Vec<Frame>,
    read: Option<Pending>,
    is_looked_after: bool,
    /// Replaying, then seated.
    reader: Reader,
}

struct Pending {
    read: Read,
    log: Option<Extent>,
    found: Option<Vec<Frame>>,
}

struct Reader {
    at: Cursor,
    got: Vec<Frame>,
    is_seated: bool,
}

/// Events read at once.
const STEP: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Somebody speaks on another pod, and it is announced here or not.
    Say(bool),
    /// An event is announced again, or late.
    Announce(usize),
    /// The log loses its newest events, and a new epoch begins.
    Lose(usize),
    /// It also loses one of an epoch that is over.
    LoseOld(usize),
    /// 10 ms pass, or what is read comes one step further.
    Later,
    Fail,
    Suspect,
    Compare,
    /// The reader gets so many bytes of its replay.
    Replay(usize),
    Sit,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => any::<bool>().prop_map(Op::Say),
        4 => (0usize..20).prop_map(Op::Announce),
        2 => (0usize..4).prop_map(Op::Lose),
        1 => (0usize..20).prop_map(Op::LoseOld),
        8 => Just(Op::Later),
        1 => Just(Op::Fail),
        1 => Just(Op::Suspect),
        2 => Just(Op::Compare),
        4 => (0usize..2000).prop_map(Op::Replay),
        1 => Just(Op::Sit),
    ]
}

impl<P: FnMut() -> Vec<Post>> World<P> {
    fn act(&mut self, op: Op) {
        match op {
            Op::Say(is_heard) => {
                self.log.tip = self.log.tip.next();
                let frame = frame_of(self.log.epoch.0, self.log.tip.0);
                self.kept.push(frame.clone());
                if is_heard {
                    self.is_looked_after |= self.feed.announce(frame);
                }
            }
            Op::Announce(back) => {
                let n = self.kept.len().checked_sub(back + 1);
                if let Some(frame) = n.map(|n| self.kept[n].clone()) {
                    self.is_looked_after |= self.feed.announce(frame);
                }
            }
            Op::Lose(n) => {
                let log = &mut self.log;
                let end = Seq(log.tip.0.saturating_sub(n as u64).max(log.base.0));
                self.kept.retain(|frame| frame.cursor.seq <= end);
                log.past.push((log.epoch, log.base.0 + 1..=end.0));
                let base = Seq(log.tip.0 + 100);
                (log.epoch, log.base, log.tip) = (Epoch(log.epoch.0 + 1), base, base);
            }
            Op::LoseOld(n) => {
                if self.kept.get(n).is_some_and(|frame| frame.cursor.epoch < self.log.epoch) {
                    self.kept.remove(n);
                }
            }
            Op::Later => self.later(),
            Op::Fail => {
                if self.read.take().is_some() {
                    self.feed.put_off();
                }
            }
            Op::Suspect => self.is_looked_after |= self.feed.suspect(),
            Op::Compare => self.is_looked_after |= self.feed.compare(self.log.tip()),
            Op::Replay(limit) => self.replay(limit),
            Op::Sit => self.sit(),
        }
    }

    fn later(&mut self) {
        let Some(mut pending) = self.read.take() else {
            if self.is_looked_after {
                match self.feed.look() {
                    Look::Nothing => self.is_looked_after = false,
                    Look::Again => {}
                    Look::Read(read) => {
                        let log = read.afresh.then(|| self.log.clone());
                        self.read = Some(Pending { read, log, found: None });
                    }
                }
            }
            return;
        };
        match pending.found.take() {
            None => {
                let after = self.kept.iter().filter(|frame| frame.cursor.seq > pending.read.after.seq);
                pending.found = Some(after.take(STEP).cloned().collect());
                self.read = Some(pending);
            }
            Some(found) => {
                let end = found.last().filter(|_| found.len() == STEP);
                let covered = end.map_or(Seq::MAX, |last| last.cursor.seq);
                let (next, _) = self.feed.settle(&pending.read, pending.log, found, covered);
                self.is_looked_after = next != Next::Done;
            }
        }
    }

    /// As `http::stream` does it.
    fn replay(&mut self, limit: usize) {
        if self.reader.is_seated {
            return;
        }
        let Held { frames, extent } = self.feed.after(self.reader.at.seq, limit.max(1));
        for frame in frames.expect("memory is not short") {
            let gaps = if frame.is_gap() { gaps_to } else { gaps_before };
            for gap in gaps(self.reader.at, frame.cursor, &extent) {
                self.reader.got.push(Frame::gap(&gap));
            }
            self.reader.at = frame.cursor;
            if !frame.is_gap() {
                self.reader.got.push(frame);
            }
        }
    }

    fn sit(&mut self) {
        if self.reader.is_seated {
            return;
        }
        let extent = loop {
            let Held { frames, extent } = self.feed.after(self.reader.at.seq, 1);
            if frames.is_some_and(|frames| frames.is_empty()) {
                break extent;
            }
            self.replay(1);
        };
        for gap in crossings(self.reader.at, extent.epoch, &extent) {
            self.reader.at = gap.to;
            self.reader.got.push(Frame::gap(&gap));
        }
        let joined = self.feed.join(0, place(self.reader.at.seq), None).expect("it is at the end");
        self.reader.got.extend(joined.frames);
        self.reader.is_seated = true;
    }
}

/// Checks that `got` goes on from `start` without a silent gap, crosses to each epoch once, and has all that was kept.
fn check(got: &[Frame], start: Cursor, log: &Extent, kept: &[Frame]) -> Result<(), TestCaseError> {
    let mut at = start;
    let mut crossed = Vec::new();
    for frame in got {
        prop_assert!(frame.cursor.seq > at.seq, "{:?} after {at}", frame.cursor);
        if frame.is_gap() {
            if frame.cursor.epoch > at.epoch {
                crossed.push(frame.cursor);
            }
        } else {
            prop_assert_eq!(frame.cursor, Cursor { seq: at.seq.next(), ..at });
        }
        at = frame.cursor;
    }
    prop_assert_eq!(at, log.tip());
    let begun =
        log.past.iter().skip(1).map(|(epoch, seqs)| Cursor { epoch: *epoch, seq: Seq(seqs.start() - 1) });
    let begun: Vec<_> = begun.chain((!log.past.is_empty()).then(|| log.base())).collect();
    prop_assert_eq!(crossed, begun);
    let events: Vec<_> = got.iter().filter(|frame| !frame.is_gap()).map(|frame| frame.cursor).collect();
    for frame in kept.iter().filter(|frame| frame.cursor.seq > start.seq) {
        prop_assert!(events.contains(&frame.cursor), "{} is missing", frame.cursor);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Whatever is announced, lost and read when: who reads live and who replays and sits down at any moment get
    /// every event that was not lost once, in order, and one gap for each epoch that begins.
    #[test]
    fn a_new_epoch_is_crossed_to_once_by_everybody(
        tip in 0u64..6,
        cursor in 0u64..6,
        ops in proptest::collection::vec(op(), 0..80),
    ) {
        let (feed, posted) = unopened(usize::MAX);
        let log = Extent { epoch: Epoch(1), base: Seq(0), tip: Seq(tip), first: Seq(1), past: vec![] };
        let kept: Vec<_> = (1..=tip).map(frame).collect();
        feed.open(log.clone(), kept.clone());
        feed.join(0, place(Seq(tip)), None);
        let start = Cursor::new(1, cursor.min(tip));
        let reader = Reader { at: start, got: Vec::new(), is_seated: false };
        let mut world = World { feed, posted, log, kept, read: None, is_looked_after: false, reader };
        // One on the courteous path.
        let mut listened = (Cursor::new(1, tip), Vec::new());
        let mut listener = world.feed.listen();
        for op in ops.iter().copied().chain([Op::Suspect]).chain([Op::Later; 400]).chain([Op::Sit]) {
            world.act(op);
            for frame in listener.hear(listened.0.seq, 400).frames.unwrap() {
                listened.0 = frame.cursor;
                listened.1.push(frame);
            }
        }
        prop_assert!(!world.is_looked_after);
        prop_assert_eq!(world.feed.extent(), world.log.clone());
        let live = events((world.posted)());
        check(&live, Cursor::new(1, tip), &world.log, &world.kept)?;
        let mut heard = listened.1;
        for frame in listener.hear(listened.0.seq, usize::MAX).frames.unwrap() {
            heard.push(frame);
        }
        check(&heard, Cursor::new(1, tip), &world.log, &world.kept)?;
        let at = world.reader.got.last().map_or(Seq(start.seq.0), |last| last.cursor.seq);
        world.reader.got.extend(live.into_iter().filter(|frame| frame.cursor.seq > at));
        check(&world.reader.got, start, &world.log, &world.kept)?;
    }
}
