//! The newest part of a log, in memory: what readers that come back soon are served from.

use std::collections::VecDeque;

use super::resume::end_of;
use crate::{
    event::{Epoch, Extent, Frame, LogId, Seq, Taken},
    faults::{self, Fault},
};

/// Frames of the newest events, with a gap wherever one is missing, bounded in bytes.
#[derive(Debug)]
pub(super) struct Tail {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Every event above this seq is here.
    start: Seq,
}

impl Tail {
    /// A tail that has everything after `start`, of which there is nothing yet.
    pub(super) fn new(start: Seq) -> Self {
        Tail { frames: VecDeque::new(), bytes: 0, start }
    }

    /// The next event of this log. A deletion takes the texts that it is about out of memory.
    pub(super) fn push(&mut self, frame: Frame, log: LogId) {
        if let Some(taken) = frame.takes(log).filter(|_| !faults::is_on(Fault::NoScrub)) {
            self.scrub(taken);
        }
        self.bytes += frame.bytes().len();
        self.frames.push_back(frame);
    }

    /// Lets go of the oldest until at most `limit` bytes are left.
    pub(super) fn shrink(&mut self, limit: usize) {
        while self.bytes > limit {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.bytes().len();
            self.start = oldest.cursor.seq;
        }
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
    }

    /// Retention has taken everything below `first`.
    pub(super) fn trim(&mut self, first: Seq) {
        while self.frames.front().is_some_and(|frame| frame.cursor.seq < first) {
            let oldest = self.frames.pop_front().expect("there is a front");
            self.bytes -= oldest.bytes().len();
            self.start = oldest.cursor.seq;
        }
    }

    /// A new epoch begins after `old`: what was given in that one and the log does not know of any more is let go.
    pub(super) fn cross(&mut self, old: Epoch, log: &Extent) {
        let Some(end) = end_of(old, log) else { return };
        while self.frames.back().is_some_and(|frame| frame.cursor.epoch == old && frame.cursor.seq > end) {
            let lost = self.frames.pop_back().expect("there is a back");
            self.bytes -= lost.bytes().len();
        }
        self.start = self.start.min(end);
    }

    /// The frames above `after`, up to about `limit` bytes of them (at least one, if there is one); `None`
    /// when some of them are no longer here.
    pub(super) fn after(&self, after: Seq, limit: usize) -> Option<Vec<Frame>> {
        if after < self.start {
            return None;
        }
        let from = self.frames.partition_point(|frame| frame.cursor.seq <= after);
        let mut bytes = 0;
        let frames = self.frames.range(from..).take_while(|frame| {
            let fits = bytes < limit;
            bytes += frame.bytes().len();
            fits
        });
        Some(frames.cloned().collect())
    }

    /// The events that are of this time or later, in ms since 1970. Times do not go back within a log.
    pub(super) fn since(&self, since: i64) -> Vec<Frame> {
        let is_late = |frame: &&Frame| Frame::ts_of(&frame.json()).is_none_or(|ts| ts >= since);
        let newest = self.frames.iter().rev().filter(|frame| !frame.is_gap()).take_while(is_late);
        let mut found: Vec<Frame> = newest.cloned().collect();
        found.reverse();
        found
    }

    /// The time of the newest event, in ms since 1970; 0 when there is none.
    pub(super) fn newest(&self) -> i64 {
        let newest = self.frames.iter().rev().find(|frame| !frame.is_gap());
        newest.and_then(|frame| Frame::ts_of(&frame.json())).unwrap_or_default()
    }

    /// The newest `count` events, if all of them are here; below `first_kept` the log has no others. Without gaps.
    pub(super) fn last(&self, count: usize, first_kept: Seq) -> Option<Vec<Frame>> {
        let has_all = self.start < first_kept;
        let events = self.frames.iter().rev().filter(|frame| !frame.is_gap());
        let mut newest: Vec<_> = events.take(count).cloned().collect();
        if newest.len() < count && !has_all {
            return None;
        }
        newest.reverse();
        Some(newest)
    }

    /// Memory held by frames, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn scrub(&mut self, taken: Taken) {
        for frame in &mut self.frames {
            if let Some(without) = frame.without(taken) {
                self.bytes = self.bytes - frame.bytes().len() + without.bytes().len();
                *frame = without;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::tests::{deletion, frame};

    const LOG: LogId = LogId(uuid::Uuid::nil());

    #[test]
    fn a_deleted_text_leaves_memory() {
        let mut tail = Tail::new(Seq(0));
        tail.push(frame(1), LOG);
        tail.push(frame(2), LOG);
        tail.push(deletion(3, 1), LOG);
        let frames = tail.after(Seq(0), usize::MAX).unwrap();
        assert_eq!(frames[0], frame(1).scrubbed());
        assert_eq!(frames[1], frame(2));
        let held: usize = frames.iter().map(|frame| frame.bytes().len()).sum();
        assert_eq!(held, tail.bytes());
    }

    proptest! {
        #[test]
        fn a_tail_gives_what_the_log_has_or_says_that_it_cannot(
            start in 0u64..10, len in 0u64..30, limit in 0usize..8000, after in 0u64..50, count in 0usize..40,
        ) {
            let mut tail = Tail::new(Seq(start));
            for seq in start + 1..=start + len {
                tail.push(frame(seq), LOG);
                tail.shrink(limit);
            }
            prop_assert!(tail.bytes() <= limit);
            let log: Vec<_> = (1..=start + len).collect();
            if let Some(frames) = tail.after(Seq(after), usize::MAX) {
                let expected: Vec<_> = log.iter().copied().filter(|seq| *seq > after).collect();
                prop_assert_eq!(frames.iter().map(|f| f.cursor.seq.0).collect::<Vec<_>>(), expected);
            }
            if let Some(frames) = tail.last(count, Seq(1)) {
                let expected = &log[log.len().saturating_sub(count)..];
                prop_assert_eq!(frames.iter().map(|f| f.cursor.seq.0).collect::<Vec<_>>(), expected);
            }
        }
    }
}
