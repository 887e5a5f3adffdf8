//! The one rule that heals: what is next is delivered, what was is dropped, what comes too early waits for the
//! hole before it to fill, and what has not filled soon is read from the log.
//!
//! A state machine without I/O and without a clock: it says when somebody has to look after it, and that somebody
//! (at most one at a time) asks what is to be read and brings what was found.

use std::collections::BTreeMap;

use super::resume::{crossings, end_of, gaps_before, gaps_to};
use crate::{
    event::{Cursor, Extent, Frame, Gap, GapReason, Seq},
    faults::{self, Fault},
};

/// Events that may wait for a hole to fill. Over it the newest are let go: the log has them.
const PARKED: usize = 1024;

/// What to do with an announced event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one; with those that waited behind it.
    Deliver(Vec<Frame>),
    /// It was here before, or it waits and somebody is looking after the hole.
    Nothing,
    /// It waits; somebody has to begin to look after the hole.
    Wait,
}

/// What whoever looks after the holes finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// There is no hole, and nothing more to look after.
    Nothing,
    /// There is a hole that may still fill by itself: to look again in 10 ms.
    Again,
    /// To be read now; until it is settled everything waits.
    Read(Read),
}

/// What is to be read from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// The events after this place.
    pub(super) after: Cursor,
    /// And before them the log's extent: more may have changed than is known here.
    pub(super) afresh: bool,
    /// The highest place known of.
    known: Cursor,
}

/// What is to be done after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Done,
    /// To look again at once.
    Look,
    /// The log has not what it should have: to look again later.
    Retry,
}

/// What of a log has been delivered here, and what waits.
#[derive(Debug)]
pub(super) struct Order {
    last: Cursor,
    /// The highest place that the log is known to have.
    known: Cursor,
    /// More may have happened than was announced.
    suspects: bool,
    state: State,
    parked: BTreeMap<Seq, Frame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No hole is known, and nobody looks after this log.
    Quiet,
    /// Somebody does, and is to read at the next look.
    Due,
    /// Somebody does; at the last look, if there was one, the hole was after this place.
    Waiting(Option<Cursor>),
    /// A read is under way.
    Reading,
}

impl Order {
    /// Nothing is delivered until the first read has said where the log ends.
    pub(super) fn opening() -> Self {
        Order {
            last: Cursor::NOWHERE,
            known: Cursor::NOWHERE,
            suspects: false,
            state: State::Reading,
            parked: BTreeMap::new(),
        }
    }

    /// Everything up to `last` is here. Gives what waited behind it, and whether somebody has to look after a hole.
    pub(super) fn open(&mut self, last: Cursor, log: &Extent) -> (Vec<Frame>, bool) {
        self.last = last;
        self.known = self.known.max(log.tip());
        let deliver = self.follow();
        let is_behind = self.known > self.last;
        self.state = if is_behind { State::Due } else { State::Quiet };
        (deliver, is_behind)
    }

    /// An event was announced.
    pub(super) fn observe(&mut self, frame: Frame) -> Verdict {
        let at = frame.cursor;
        if at.seq <= self.last.seq || at.epoch < self.last.epoch {
            return Verdict::Nothing;
        }
        if self.state != State::Reading && at == self.after_last() {
            self.last = at;
            let mut deliver = vec![frame];
            deliver.append(&mut self.follow());
            return Verdict::Deliver(deliver);
        }
        if faults::is_on(Fault::NoRepair) {
            self.last = at;
            return Verdict::Deliver(vec![frame]);
        }
        self.parked.insert(at.seq, frame);
        self.bound();
        if self.know(at) { Verdict::Wait } else { Verdict::Nothing }
    }

    /// The log has something at `place`, it is said. True when somebody has to begin to look after it.
    pub(super) fn know(&mut self, place: Cursor) -> bool {
        self.known = self.known.max(place);
        self.wake(State::Waiting(None))
    }

    /// Anything may have happened: the log has to be read. True when somebody has to begin to look after it.
    pub(super) fn suspect(&mut self) -> bool {
        self.suspects = true;
        self.wake(State::Due)
    }

    fn wake(&mut self, state: State) -> bool {
        let was_quiet = self.state == State::Quiet && !faults::is_on(Fault::NoRepair);
        if was_quiet {
            self.state = state;
        }
        was_quiet
    }

    /// Looks after the hole, if there is one.
    pub(super) fn look(&mut self) -> Look {
        if !self.suspects && self.known <= self.last {
            self.state = State::Quiet;
            return Look::Nothing;
        }
        let is_due = self.suspects || self.state == State::Due;
        if !is_due && self.state != State::Waiting(Some(self.last)) {
            self.state = State::Waiting(Some(self.last));
            return Look::Again;
        }
        let afresh = std::mem::take(&mut self.suspects) || self.known.epoch > self.last.epoch;
        self.state = State::Reading;
        Look::Read(Read { after: self.last, afresh, known: self.known })
    }

    /// A read failed: to look again later. Meanwhile what is next is delivered.
    pub(super) fn put_off(&mut self) {
        self.suspects = true;
        self.state = State::Due;
    }

    /// A read has come back with `found`: all that the log has from its place up to `covered`. Where `log` was
    /// read, it was read before them. Gives what is to be delivered now: events and the gaps between them.
    pub(super) fn settle(
        &mut self,
        read: &Read,
        found: Vec<Frame>,
        covered: Seq,
        log: &Extent,
    ) -> (Vec<Frame>, Next) {
        let mut deliver = Vec::new();
        if log.epoch >= self.last.epoch {
            self.parked.extend(found.into_iter().map(|frame| (frame.cursor.seq, frame)));
            self.weave(covered, log, &mut deliver);
            self.bound();
        }
        if read.afresh {
            self.known = self.known.max(log.tip());
        }
        let is_stuck = deliver.is_empty();
        if is_stuck && read.afresh && self.known == read.known && log.tip() < self.known {
            // It was announced, and the log does not have it: it was never there, or is no more.
            self.known = log.tip().max(self.last);
            self.parked.retain(|_, frame| frame.cursor <= log.tip());
        }
        let next = if self.known <= self.last {
            if self.suspects { Next::Look } else { Next::Done }
        } else if self.last >= read.known {
            // Another hole, which may fill by itself.
            self.state = State::Waiting(None);
            return (deliver, Next::Look);
        } else {
            self.suspects |= is_stuck;
            if is_stuck && read.afresh { Next::Retry } else { Next::Look }
        };
        self.state = if next == Next::Done { State::Quiet } else { State::Due };
        (deliver, next)
    }

    /// The newest place delivered.
    pub(super) fn last(&self) -> Cursor {
        self.last
    }

    /// Takes what is parked in order, and the gaps before it where it is sure that nothing will fill them.
    fn weave(&mut self, covered: Seq, log: &Extent, deliver: &mut Vec<Frame>) {
        while let Some(entry) = self.parked.first_entry() {
            let at = entry.get().cursor;
            if at.epoch > log.epoch {
                // The extent that tells of this epoch has to be read first.
                return;
            }
            if at.seq <= self.last.seq || is_lost(at, log) {
                entry.remove();
                continue;
            }
            for gap in gaps_before(self.last, at, log) {
                if at.seq > covered || is_owed(&gap, log) {
                    return;
                }
                self.last = gap.to;
                deliver.push(Frame::gap(&gap));
            }
            self.last = at;
            deliver.push(entry.remove());
        }
        if covered == Seq::MAX {
            let oldest = log.before(log.first);
            let trimmed =
                if oldest.seq > self.last.seq { gaps_to(self.last, oldest, log) } else { Vec::new() };
            let at = trimmed.last().map_or(self.last, |gap| gap.to);
            for gap in trimmed.into_iter().chain(crossings(at, log.epoch, log)) {
                self.last = gap.to;
                deliver.push(Frame::gap(&gap));
            }
        }
    }

    /// Takes what is parked right behind the last.
    fn follow(&mut self) -> Vec<Frame> {
        let mut deliver = Vec::new();
        while let Some(entry) = self.parked.first_entry() {
            let at = entry.get().cursor;
            if at.seq > self.last.seq && at != (Cursor { seq: self.last.seq.next(), ..self.last }) {
                break;
            }
            let frame = entry.remove();
            if at.seq > self.last.seq {
                self.last = at;
                deliver.push(frame);
            }
        }
        deliver
    }

    fn after_last(&self) -> Cursor {
        Cursor { seq: self.last.seq.next(), ..self.last }
    }

    fn bound(&mut self) {
        while self.parked.len() > PARKED {
            self.parked.pop_last();
        }
    }
}

/// Was this event announced in an epoch that, as is known now, ended without it?
fn is_lost(at: Cursor, log: &Extent) -> bool {
    at.epoch < log.epoch && end_of(at.epoch, log).is_none_or(|end| at.seq > end)
}

/// Is this a hole in the present epoch, which has none but those that retention leaves?
fn is_owed(gap: &Gap, log: &Extent) -> bool {
    let within = gap.from.is_some_and(|from| from.epoch == gap.to.epoch);
    within && gap.to.epoch == log.epoch && gap.reason == GapReason::Epoch
}

#[cfg(test)]
mod tests;
