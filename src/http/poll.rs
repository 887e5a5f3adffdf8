//! `?poll=1`: for networks that buffer streams.

use std::{sync::Arc, time::Duration};

use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    answer::json,
    body::Body,
    call::{Call, Shown},
    problem::Problem,
    start::{Beginning, begin, frames_of},
    stream,
};
use crate::{
    event::{Cursor, Frame, Room},
    hub::{Gap, Start, crossings, gaps_before},
    identity::Session,
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
pub(super) async fn answer(
    call: &mut Call,
    room: &Room,
    known: Option<(Session, Shown)>,
    start: &Start,
) -> Result<Response<Body>, Problem> {
    call.line.begin_poll();
    let (visit, _session) = stream::admit(call, room, known).await?;
    let feed = Arc::clone(visit.room().feed());
    let mut listener = feed.listen();
    let Beginning { mut gap, newest: mut frames, mut at, extent } =
        begin(&feed, call.app.chat.log(), start).await?;
    let until = Instant::now() + WAIT;
    while frames.is_empty() && gap.is_none() {
        frames = match listener.hear(at.seq, MOST).frames {
            Some(frames) => frames,
            None => frames_of(&call.app.chat.log().read(room, at.seq, EVENTS).await?),
        };
        if frames.is_empty() {
            // A new epoch begins where this one has nothing more to give.
            gap = crossings(at, extent.epoch, &extent).into_iter().next();
            if gap.is_some() {
                break;
            }
            tokio::select! {
                () = listener.changed() => {}
                () = tokio::time::sleep_until(until) => break,
                () = call.app.stopped() => break,
            }
        } else {
            let mut gaps = gaps_before(at, frames[0].cursor, &extent).into_iter();
            gap = gaps
                .next()
                .map(|first| Gap { to: gaps.next_back().map_or(first.to, |last| last.to), ..first });
        }
    }
    // One answer tells of one epoch: the next begins with its gap.
    let epoch = frames.first().map(|frame| frame.cursor.epoch);
    frames.retain(|frame| Some(frame.cursor.epoch) == epoch);
    if let Some(gap) = &gap {
        call.app.metrics.gaps.inc();
        at = gap.to;
    }
    let events = frames.iter().map(raw).collect();
    let cursor = frames.last().map_or(at, |frame| frame.cursor);
    Ok(json(StatusCode::OK, &Polled { events, cursor, gap: gap.as_ref() }))
}

/// The very bytes that streams carry.
fn raw(frame: &Frame) -> Box<RawValue> {
    let json = String::from_utf8(frame.json().to_vec()).expect("JSON is UTF-8");
    RawValue::from_string(json).expect("a frame holds JSON")
}
