//! Where a stream, or a poll, starts.

use std::sync::Arc;

use super::{App, call::Call, problem::Problem};
use crate::{
    event::{Cursor, Extent, Frame, Gap, GapReason, Room, Seq},
    faults::{self, Fault},
    hub::{DEFAULT_HISTORY, Feed, Held, Plan, Start, plan},
    log::LogError,
};

/// Where the stream is to start: the header, else the cursor of the query, else `since`, else `history`.
pub(super) fn asked(call: &Call) -> Result<Start, Problem> {
    let cursor = |cursor: &str| match cursor.parse::<Cursor>() {
        Ok(cursor) if faults::is_on(Fault::ResumeOffByOne) => {
            Start::After(Cursor { seq: cursor.seq.next(), ..cursor })
        }
        Ok(cursor) => Start::After(cursor),
        Err(_) => Start::Malformed,
    };
    match call.header("last-event-id") {
        Some(Ok("")) | None => {}
        Some(Ok(given)) => return Ok(cursor(given)),
        Some(Err(())) => return Ok(Start::Malformed),
    }
    if let Some(given) = call.query("last_event_id").filter(|given| !given.is_empty()) {
        return Ok(cursor(&given));
    }
    match call.query("since").as_deref() {
        None | Some("") => {}
        Some("all") => return Ok(Start::All),
        Some("live") => return Ok(Start::Live),
        Some(given) => return Ok(cursor(given)),
    }
    let most = call.app.bounds.history as usize;
    let Some(history) = call.query("history") else { return Ok(Start::Last(DEFAULT_HISTORY.min(most))) };
    let count = history.parse().ok().filter(|count| *count <= most);
    count
        .map(Start::Last)
        .ok_or_else(|| Problem::bad_request(format!("history is a number from 0 to {most}")))
}

/// How a stream begins.
pub(super) struct Beginning {
    /// What cannot be given.
    pub(super) gap: Option<Gap>,
    /// The first events, where not all after `at` are wanted.
    pub(super) newest: Vec<Frame>,
    /// The place before the first event.
    pub(super) at: Cursor,
    /// The log that all this was decided on.
    pub(super) extent: Extent,
}

/// Finds the beginning that was asked for, by somebody who sees the log from `from` on.
pub(super) async fn begin(
    app: &App,
    feed: &Arc<Feed>,
    start: &Start,
    from: Seq,
) -> Result<Beginning, LogError> {
    let chat = &app.chat;
    if let Start::After(place) = start {
        chat.reach(feed, *place).await?;
    }
    let tip = feed.tip();
    if from > tip.seq {
        // They came in by another pod: what this one has not heard of is not for them either.
        chat.reach(feed, Cursor { seq: from, ..tip }).await?;
    }
    let log = feed.extent();
    let kept = log.first;
    let extent = log.seen_from(from);
    let (count, lost) = match plan(start, &extent) {
        Plan::After(at) => return Ok(Beginning { gap: None, newest: Vec::new(), at, extent }),
        Plan::GapThenAfter(mut gap, at) => {
            if gap.reason == GapReason::Retention && kept < from {
                gap.reason = GapReason::Membership;
            }
            return Ok(Beginning { gap: Some(gap), newest: Vec::new(), at, extent });
        }
        Plan::Last(count) => (count, None),
        Plan::GapThenLast(from) => (DEFAULT_HISTORY, Some(from)),
    };
    let (newest, extent) = match feed.last(count) {
        Some(newest) => (newest, extent),
        None => {
            app.metrics.replay_reads.inc();
            let newest = chat.log().last(feed.room(), count).await?;
            (newest, feed.extent().seen_from(from))
        }
    };
    let newest = delivered(newest, &extent);
    let at = newest
        .first()
        .map_or(extent.tip(), |first| Cursor { seq: first.cursor.seq.before(), ..first.cursor });
    let gap = lost.map(|from| Gap { from, to: at, reason: GapReason::Unknown });
    Ok(Beginning { gap, newest, at, extent })
}

/// The frames after a place: from the feed's memory, else read from the log; and what the feed had delivered then.
/// What it had not comes live.
pub(super) async fn after(
    app: &App,
    held: Held,
    room: &Room,
    after: Seq,
    limit: usize,
) -> Result<(Vec<Frame>, Extent), LogError> {
    let Held { frames, extent } = held;
    let frames = match frames {
        Some(frames) => frames,
        None => {
            app.metrics.replay_reads.inc();
            delivered(app.chat.log().read(room, after, limit).await?, &extent)
        }
    };
    Ok((frames, extent))
}

/// Those of them that the feed has delivered, and that may be seen.
fn delivered(mut frames: Vec<Frame>, log: &Extent) -> Vec<Frame> {
    frames.retain(|frame| (log.first..=log.tip).contains(&frame.cursor.seq));
    frames
}
