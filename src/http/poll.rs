//! `?poll=1`: for networks that buffer streams.

use std::{sync::Arc, time::Duration};

use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    access::{Entry, seen_from},
    answer::json,
    body::Body,
    call::Call,
    problem::Problem,
    start::{self, Beginning, begin},
    stream,
};
use crate::{
    chat::Select,
    clock,
    event::{Cursor, Extent, Frame, Gap},
    hub::{Held, Start, crossings, gaps_before, gaps_to},
};

/// How long an answer waits for something to say.
const WAIT: Duration = Duration::from_secs(25);
/// Bytes of events in one answer, about.
const MOST: usize = 256 << 10;
/// Events read from the log for one answer.
const EVENTS: usize = 500;

#[derive(Serialize)]
struct Polled<'a> {
    events: Vec<Box<RawValue>>,
    cursor: Cursor,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<&'a Gap>,
}

/// What there is after the cursor, waiting a while for something.
pub(super) async fn answer(call: &mut Call, entry: Entry, start: &Start) -> Result<Response<Body>, Problem> {
    call.line.begin_poll();
    let room = &entry.room;
    let (visit, session) = stream::admit(call, room, entry.known).await?;
    let chat = &call.app.chat;
    // Before the last look at what was taken away, so that nothing falls between.
    let mut endings = chat.endings(&visit);
    if call.app.revoked.contains(session.id) {
        return Err(over());
    }
    call.let_in(room, Some(&session)).await?;
    let from = seen_from(chat, room, session.user.id).await?;
    let feed = Arc::clone(visit.room().feed());
    let mut listener = feed.listen();
    let Beginning { mut gap, newest, mut at, extent } = begin(&*call.app, &feed, start, from).await?;
    let until = Instant::now() + WAIT;
    let expires = Instant::now() + Duration::from_secs(session.expires.saturating_sub(clock::seconds()));
    // Nothing yet is not nothing at all: that is seen below.
    let mut told = if newest.is_empty() { Told::default() } else { tell(newest, at, &extent) };
    while told.is_empty() && gap.is_none() {
        let heard = listener.hear(at.seq, MOST);
        let held = Held { frames: heard.frames, extent: heard.extent };
        let (frames, extent) = start::after(&*call.app, held, room, at.seq, EVENTS).await?;
        told = tell(frames, at, &extent.seen_from(from));
        if told.is_empty() {
            tokio::select! {
                () = listener.changed() => {}
                () = tokio::time::sleep_until(until) => break,
                () = tokio::time::sleep_until(expires) => return Err(over()),
                () = call.app.stopped() => break,
                select = endings.told() => return ended(select, at),
            }
        }
    }
    if let Some(select) = endings.due() {
        return ended(select, at);
    }
    gap = gap.or(told.gap);
    if let Some(gap) = &gap {
        call.app.metrics.gaps.inc();
        at = gap.to;
    }
    let cursor = told.events.last().map_or(at, |frame| frame.cursor);
    let events = told.events.iter().filter_map(raw).collect();
    Ok(json(StatusCode::OK, &Polled { events, cursor, gap: gap.as_ref() }))
}

fn over() -> Problem {
    Problem::unauthenticated("the session is over")
}

/// The answer to somebody who may hear no more here, or who has to ask again.
fn ended(select: Select, at: Cursor) -> Result<Response<Body>, Problem> {
    match select {
        Select::Session(_) => Err(over()),
        Select::Member { .. } => Err(Problem::not_found()),
        Select::Banned(_) => Err(Problem::forbidden("you are shut out of this room")),
        Select::Unsure(_) | Select::Everyone => {
            Ok(json(StatusCode::OK, &Polled { events: Vec::new(), cursor: at, gap: None }))
        }
    }
}

/// What one answer tells: a gap at most, and events without a gap between them. The next begins with its own.
#[derive(Debug, Default)]
struct Told {
    gap: Option<Gap>,
    events: Vec<Frame>,
}

impl Told {
    fn is_empty(&self) -> bool {
        self.gap.is_none() && self.events.is_empty()
    }
}

/// The first of `frames`, which are all that was delivered after `at` or a beginning of it, for one answer.
fn tell(frames: Vec<Frame>, mut at: Cursor, log: &Extent) -> Told {
    let mut told = Told::default();
    // A new epoch begins where this one has nothing more to give.
    let mut gaps = if frames.is_empty() { crossings(at, log.epoch, log) } else { Vec::new() };
    for frame in frames {
        let before = if frame.is_gap() { gaps_to } else { gaps_before }(at, frame.cursor, log);
        if !told.events.is_empty() && !before.is_empty() {
            break;
        }
        gaps.extend(before);
        at = frame.cursor;
        if !frame.is_gap() {
            told.events.push(frame);
        }
    }
    if let (Some(first), Some(last)) = (gaps.first(), gaps.last()) {
        told.gap = Some(Gap { to: last.to, ..first.clone() });
    }
    told
}

/// The very bytes that streams carry; none where another pod told what is no JSON.
fn raw(frame: &Frame) -> Option<Box<RawValue>> {
    let json = String::from_utf8(frame.json().to_vec()).ok()?;
    RawValue::from_string(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Epoch, GapReason, Seq},
        hub::tests::{frame, frame_of},
    };

    /// Epoch 1 had 1–3, epoch 2 has 1,001–1,002.
    fn log() -> Extent {
        let past = vec![(Epoch(1), 1..=3)];
        Extent { epoch: Epoch(2), base: Seq(1000), tip: Seq(1002), first: Seq(1), past }
    }

    fn told(frames: Vec<Frame>, at: Cursor) -> (Option<(Cursor, Cursor)>, Vec<u64>) {
        let told = tell(frames, at, &log());
        let gap = told.gap.map(|gap| (gap.from.unwrap(), gap.to));
        (gap, told.events.iter().map(|frame| frame.cursor.seq.0).collect())
    }

    #[test]
    fn an_answer_tells_of_one_epoch_and_the_next_begins_with_its_gap() {
        let (end, base) = (Cursor::new(1, 3), Cursor::new(2, 1000));
        let gap = Frame::gap(&Gap { from: Some(end), to: base, reason: GapReason::Epoch });
        let new = [frame_of(2, 1001), frame_of(2, 1002)];
        // With the gap in memory, and as the log gives it.
        for between in [vec![gap], vec![]] {
            let all = [vec![frame(2), frame(3)], between.clone(), new.to_vec()].concat();
            assert_eq!(told(all, Cursor::new(1, 1)), (None, vec![2, 3]));
            let rest = [between, new.to_vec()].concat();
            assert_eq!(told(rest, end), (Some((end, base)), vec![1001, 1002]));
        }
        assert_eq!(told(new.to_vec(), base), (None, vec![1001, 1002]));
        assert_eq!(told(vec![], end), (Some((end, base)), vec![]));
    }

    #[test]
    fn a_hole_is_a_gap_of_its_own_answer() {
        let (from, to) = (Cursor::new(1, 1), Cursor::new(1, 2));
        assert_eq!(told(vec![frame(1), frame(3)], Cursor::new(1, 0)), (None, vec![1]));
        assert_eq!(told(vec![frame(3)], from), (Some((from, to)), vec![3]));
    }
}
