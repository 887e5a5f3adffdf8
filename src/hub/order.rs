//! The one rule that heals: what is next is delivered, what was is dropped, what comes too early waits until
//! the hole before it has been read from the log.

use crate::event::{Frame, Seq};

/// Events that may wait for a hole to be read. Over it they are let go: the log has them.
const PARKED: usize = 1024;

/// What to do with an announced event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one.
    Deliver(Frame),
    /// It was here before, or it waits for a read that is under way.
    Nothing,
    /// It waits; what lies between is to be read from the log, from after this seq on.
    ReadAfter(Seq),
}

/// What of a log has been delivered here, and what waits.
#[derive(Debug)]
pub(super) struct Order {
    last: Seq,
    is_reading: bool,
    parked: Vec<Frame>,
}

impl Order {
    /// Nothing is delivered until the first read has said where the log ends.
    pub(super) fn opening() -> Self {
        Order { last: Seq(0), is_reading: true, parked: Vec::new() }
    }

    /// An event was announced.
    pub(super) fn observe(&mut self, frame: Frame) -> Verdict {
        if self.is_reading {
            self.park(frame);
            return Verdict::Nothing;
        }
        let seq = frame.cursor.seq;
        if seq <= self.last {
            Verdict::Nothing
        } else if seq == self.last.next() {
            self.last = seq;
            Verdict::Deliver(frame)
        } else {
            self.park(frame);
            self.is_reading = true;
            Verdict::ReadAfter(self.last)
        }
    }

    /// A read has come back with `found` (ascending), all that the log had up to `tip`: gives what is to be
    /// delivered now, and whether there is another hole to read, after that seq.
    pub(super) fn settle(&mut self, found: Vec<Frame>, tip: Seq) -> (Vec<Frame>, Option<Seq>) {
        let mut deliver = found;
        deliver.retain(|frame| frame.cursor.seq > self.last);
        self.last = self.last.max(tip);
        self.is_reading = false;
        let mut parked = std::mem::take(&mut self.parked);
        parked.sort_unstable_by_key(|frame| frame.cursor.seq);
        let mut hole = None;
        for frame in parked {
            match self.observe(frame) {
                Verdict::Deliver(frame) => deliver.push(frame),
                Verdict::Nothing => {}
                Verdict::ReadAfter(seq) => hole = Some(seq),
            }
        }
        (deliver, hole)
    }

    /// The newest seq delivered.
    pub(super) fn last(&self) -> Seq {
        self.last
    }

    /// The end of the hole that is being read.
    pub(super) fn before_parked(&self) -> Seq {
        self.parked.iter().map(|frame| frame.cursor.seq.before()).min().unwrap_or(self.last)
    }

    fn park(&mut self, frame: Frame) {
        if self.parked.len() < PARKED {
            self.parked.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::tests::frame;

    fn seqs(frames: &[Frame]) -> Vec<u64> {
        frames.iter().map(|frame| frame.cursor.seq.0).collect()
    }

    #[test]
    fn the_next_is_delivered_and_the_known_dropped() {
        let mut order = Order::opening();
        assert_eq!(order.settle(vec![], Seq(2)), (vec![], None));
        assert_eq!(order.observe(frame(2)), Verdict::Nothing);
        assert_eq!(order.observe(frame(3)), Verdict::Deliver(frame(3)));
        assert_eq!(order.observe(frame(3)), Verdict::Nothing);
    }

    #[test]
    fn what_comes_early_waits_for_the_hole() {
        let mut order = Order::opening();
        order.settle(vec![], Seq(0));
        assert_eq!(order.observe(frame(3)), Verdict::ReadAfter(Seq(0)));
        assert_eq!(order.observe(frame(4)), Verdict::Nothing);
        let (delivered, hole) = order.settle(vec![frame(1), frame(2)], Seq(2));
        assert_eq!((seqs(&delivered), hole), (vec![1, 2, 3, 4], None));
    }

    proptest! {
        /// Announcements come late, twice, in any order or not at all; the log has everything up to `tip`.
        #[test]
        fn whatever_is_announced_each_event_is_delivered_once_in_order(
            tip in 0u64..40,
            announced in proptest::collection::vec(1u64..40, 0..80),
            opened_at in 0usize..80,
        ) {
            let mut order = Order::opening();
            let mut delivered = Vec::new();
            let mut highest = 0;
            let mut start = None;
            for (i, seq) in announced.iter().chain(std::iter::once(&40)).enumerate() {
                // What is announced is in the log.
                highest = highest.max(*seq);
                let mut read = None;
                if i == opened_at.min(announced.len()) {
                    let tip = tip.max(highest - 1);
                    start = Some(tip);
                    let (now, hole) = order.settle(vec![], Seq(tip));
                    delivered.extend(seqs(&now));
                    read = hole;
                }
                match order.observe(frame(*seq)) {
                    Verdict::Deliver(frame) => delivered.push(frame.cursor.seq.0),
                    Verdict::Nothing => {}
                    Verdict::ReadAfter(seq) => read = Some(seq),
                }
                while let Some(seq) = read {
                    let found = (seq.0 + 1..=highest).map(frame).collect();
                    let (now, hole) = order.settle(found, Seq(highest));
                    delivered.extend(seqs(&now));
                    read = hole;
                }
            }
            let start = start.unwrap();
            prop_assert_eq!(delivered, (start + 1..=40.max(start)).collect::<Vec<_>>());
        }
    }
}
