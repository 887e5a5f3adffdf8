//! P1 and P5: what each reader got, and whether all got the same.

use super::log::{Fields, Log};
use super::{Asked, Findings, Gaps, History, Kind, Outcome, Promise, ReaderLog, Sight};
use crate::cursor::Cursor;
use std::collections::HashMap;
use std::ops::Bound;
use std::time::Duration;

/// What was seen first at a cursor: the event as written and as it is after its deletion.
#[derive(Default)]
struct FirstSeen<'a> {
    whole: Option<(&'a str, &'a str)>,
    scrubbed: Option<(&'a str, &'a str)>,
}

pub(super) fn check<'a>(history: &'a History, log: &Log<'_>, findings: &mut Findings) {
    let mut bytes: HashMap<Cursor, FirstSeen<'a>> = HashMap::new();
    let real = real_cursors(history, log);
    for reader in &history.readers {
        let start = Position::Unknown;
        let walk =
            Walk { reader, history, log, real: &real, findings, at: start, honest: true, resumed_at: None };
        walk.walk();
        same_bytes(reader, log, &mut bytes, findings);
    }
}

/// Every cursor that the server gave to anybody, and since when.
fn real_cursors(history: &History, log: &Log<'_>) -> HashMap<Cursor, Duration> {
    let seen = history.readers.iter().flat_map(|r| &r.seen).filter_map(|s| Some((got(&s.what)?, s.at)));
    let acked = history.attempts.iter().filter_map(|a| match &a.outcome {
        Outcome::Acknowledged(ack) => Some((ack.cursor, a.answered)),
        _ => None,
    });
    let start =
        log.events.keys().next().filter(|c| c.seq == 1).map(|c| (Cursor::new(c.epoch, 0), Duration::ZERO));
    let mut real = HashMap::new();
    for (cursor, at) in seen.chain(acked).chain(start) {
        let since = real.entry(cursor).or_insert(at);
        *since = at.min(*since);
    }
    real
}

/// Where a reader is in the log, as far as can be said.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Position {
    /// Before the first `hello`.
    Unknown,
    /// It asked with something that is no cursor: a `gap` has to say where it is.
    Lost,
    /// It has everything up to here.
    At(Cursor),
}

/// Follows one reader through all that it saw.
struct Walk<'a, 'b> {
    reader: &'a ReaderLog,
    history: &'a History,
    log: &'a Log<'b>,
    real: &'a HashMap<Cursor, Duration>,
    findings: &'a mut Findings,
    at: Position,
    /// Whether the cursor it asked with came from the server. One that was made up may be answered by a step back.
    honest: bool,
    /// The cursor that this connection asked for, until its first event.
    resumed_at: Option<Cursor>,
}

impl Walk<'_, '_> {
    fn walk(mut self) {
        for (i, seen) in self.reader.seen.iter().enumerate() {
            match &seen.what {
                Sight::Connected(asked) => self.connected(i, asked),
                Sight::Hello(start) => self.hello(i, *start),
                Sight::Event { cursor, .. } => self.event(i, *cursor),
                Sight::Gap { cursor, .. } => self.gap(i, *cursor),
                Sight::Fault(what) => self.find(i, Promise::Stream, Kind::Fault, what),
                Sight::Reached(_) | Sight::Other { .. } | Sight::Ended(_) => {}
            }
        }
        let (Some(tip), true) = (self.log.tip(), self.reader.to_the_end) else { return };
        let end = match self.at {
            Position::At(cursor) => cursor,
            Position::Unknown | Position::Lost => Cursor::new(0, 0),
        };
        if end != tip {
            let last = self.reader.seen.len().saturating_sub(1);
            let what = format!("read to the end, which is {tip}, and has only got to {end}");
            self.find(last, Promise::P2, Kind::LacksTheEnd, &what);
        }
    }

    fn connected(&mut self, i: usize, asked: &Asked) {
        let before = self.at;
        (self.at, self.honest, self.resumed_at) = match asked {
            Asked::Fresh => (Position::Unknown, true, None),
            Asked::Own(cursor) => (Position::At(*cursor), true, Some(*cursor)),
            Asked::Chosen(text) => text.parse().map_or((Position::Lost, false, None), |cursor| {
                let honest = self.real.get(&cursor).is_some_and(|since| *since <= self.reader.seen[i].at);
                (Position::At(cursor), honest, Some(cursor))
            }),
        };
        if matches!(asked, Asked::Own(_)) && self.at != before {
            let what = format!("its record says {before:?}, and it came back with {asked:?}");
            self.find(i, Promise::Stream, Kind::BadRecord, &what);
        }
    }

    fn hello(&mut self, i: usize, start: Cursor) {
        match self.at {
            Position::Unknown => self.at = Position::At(start),
            Position::At(asked) if self.honest && asked != start => {
                // Whoever loses the connection right here comes back with `start`: what lies between is lost silently.
                let what = format!("asked for {asked} and hello starts at {start}");
                self.find(i, Promise::P5, Kind::ResumedElsewhere, &what);
            }
            Position::At(_) | Position::Lost => {}
        }
    }

    fn gap(&mut self, i: usize, to: Cursor) {
        if self.honest && self.history.gaps == Gaps::Forbidden {
            let what = format!("a gap to {to}, and nothing can have been lost");
            self.find(i, Promise::P4, Kind::FalseGap, &what);
        } else if let (true, Position::At(from)) = (self.honest, self.at) {
            if to < from {
                self.find(i, Promise::P1, Kind::GapBack, &format!("a gap from {from} back to {to}"));
            } else if let Some((kept, _)) =
                self.log.events.range((Bound::Excluded(from), Bound::Included(to))).next()
            {
                let what = format!("a gap from {from} to {to} goes over {kept}, which was kept");
                self.find(i, Promise::P4, Kind::FalseGap, &what);
            }
        }
        self.at = Position::At(to);
        // From here on it is the server's own word that counts.
        self.honest = true;
        self.resumed_at = None;
    }

    fn event(&mut self, i: usize, cursor: Cursor) {
        let resumed_at = self.resumed_at.take();
        let before = match std::mem::replace(&mut self.at, Position::At(cursor)) {
            Position::At(before) => before,
            Position::Unknown => {
                return self.find(i, Promise::Stream, Kind::NoHello, &format!("{cursor} before hello"));
            }
            Position::Lost => {
                let what = format!("{cursor} after a cursor that is none, and no gap");
                return self.find(i, Promise::P4, Kind::SilentBadCursor, &what);
            }
        };
        if cursor == before.next() {
            return;
        }
        let promise = if resumed_at.is_some() { Promise::P5 } else { Promise::P1 };
        let way = resumed_at.map_or(String::new(), |from| format!(" (resuming from {from})"));
        let earlier = &self.reader.seen[..i];
        let (kind, what) = if cursor > before && cursor.epoch > before.epoch {
            (Kind::SilentEpoch, format!("{cursor} after {before}{way}, and no gap between the epochs"))
        } else if cursor > before {
            (Kind::Hole, format!("{cursor} after {before}{way}: {} missing", cursor.seq - before.seq - 1))
        } else if let Some(first) = earlier.iter().rposition(|s| got(&s.what) == Some(cursor)) {
            let ago = earlier[first].at;
            (Kind::Repeat, format!("{cursor} again{way}, first seen at {:.6} s", ago.as_secs_f64()))
        } else if cursor == before && resumed_at.is_some() {
            (Kind::Repeat, format!("{cursor} again{way}"))
        } else {
            (Kind::OutOfOrder, format!("{cursor} after {before}{way}"))
        };
        self.find(i, promise, kind, &what);
    }

    fn find(&mut self, i: usize, promise: Promise, kind: Kind, what: &str) {
        let seen = &self.reader.seen;
        let around = i.saturating_sub(4)..seen.len().min(i + 3);
        let context = around.map(|j| {
            let mark = if i == j { "→" } else { " " };
            let line = format!("{mark} {:.6} s {:?}", seen[j].at.as_secs_f64(), seen[j].what);
            line.chars().take(400).collect()
        });
        let context = context.collect();
        let at = seen.get(i).map_or(Duration::MAX, |s| s.at);
        let what = format!("reader {} of {}: {what}", self.reader.name, self.history.room);
        self.findings.add(promise, kind, at, what, context);
    }
}

fn got(sight: &Sight) -> Option<Cursor> {
    match sight {
        Sight::Event { cursor, .. } => Some(*cursor),
        _ => None,
    }
}

/// Compares a reader's bytes with everybody's, and with the log.
fn same_bytes<'a>(
    reader: &'a ReaderLog,
    log: &Log<'_>,
    bytes: &mut HashMap<Cursor, FirstSeen<'a>>,
    findings: &mut Findings,
) {
    for seen in &reader.seen {
        let Sight::Event { cursor, data } = &seen.what else { continue };
        let first = bytes.entry(*cursor).or_default();
        let known = [first.whole, first.scrubbed];
        if known.iter().flatten().any(|(_, bytes)| bytes == data) {
            continue;
        }
        let fields = Fields::of(data);
        let place = if fields.scrubbed { &mut first.scrubbed } else { &mut first.whole };
        let mut find = |promise, kind, what, context| findings.add(promise, kind, seen.at, what, context);
        if let Some((other, bytes)) = *place {
            let context = vec![format!("{other}: {bytes}"), format!("{}: {data}", reader.name)];
            let what = format!("readers {other} and {} got different bytes for {cursor}", reader.name);
            find(Promise::P1, Kind::DifferentBytes, what, context);
            continue;
        }
        *place = Some((&reader.name, data));
        if fields.cursor != Some(*cursor) {
            find(Promise::P1, Kind::WrongPlace, format!("id {cursor} carries {data}"), Vec::new());
        }
        match log.events.get(cursor) {
            None if log.known && log.events.keys().next().is_none_or(|first| first < cursor) => {
                let what = format!("reader {} got {cursor}, which the log does not have", reader.name);
                find(Promise::P3, Kind::Phantom, what, vec![data.clone()]);
            }
            Some((kept, truth)) if differs(&fields, truth, data, &kept.data) => {
                let what = format!("stream and history differ about {cursor}");
                find(Promise::P7, Kind::Disagreement, what, vec![data.clone(), kept.data.clone()]);
            }
            _ => {}
        }
    }
}

/// Whether a streamed event and the kept one cannot be the same event. The text may have gone or changed since.
fn differs(seen: &Fields, kept: &Fields, seen_data: &str, kept_data: &str) -> bool {
    let changed_since = kept.scrubbed || kept.edited;
    let same = seen.id == kept.id && seen.user == kept.user && seen.ts == kept.ts;
    !same || (!changed_since && seen_data != kept_data)
}
