//! Where a stream, or a poll, starts.

use std::sync::Arc;

use super::{App, call::Call, problem::Problem};
use crate::{
    event::{Cursor, Extent, Frame, Gap, GapReason, Room, Seq},
    faults::{self, Fault},
    hub::{DEFAULT_HISTORY, Feed, Held, Plan, Start, crossings, gaps_before, gaps_to, plan},
    log::LogError,
};

/// Where the stream is to start: the header, else the cursor of the query, else `since`, else `history`.
pub(super) fn asked(call: &Call) -> Result<Start, Problem> {
    let cursor = |cursor: &str| cursor.parse().map_or(Start::Malformed, after_cursor);
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

/// To go on after the last event that somebody has.
pub(crate) fn after_cursor(cursor: Cursor) -> Start {
    let one_too_late = u64::from(faults::is_on(Fault::ResumeOffByOne));
    Start::After(Cursor { seq: Seq(cursor.seq.0 + one_too_late), ..cursor })
}

/// What a replay does after it has read.
#[derive(Debug)]
pub(crate) enum Then {
    /// There was something: give it, and read on.
    Give,
    /// What was still to come has gone meanwhile: announce it, and read on from there.
    Skip(Gap, Cursor),
    /// That is all, but for the epochs that have begun since.
    Live(Vec<Gap>),
}

/// What to do at a place behind which this was found.
pub(crate) fn then(found: &[Frame], at: Cursor, extent: &Extent) -> Then {
    if !found.is_empty() {
        return Then::Give;
    }
    match plan(&Start::After(at), extent) {
        Plan::GapThenAfter(gap, to) => Then::Skip(gap, to),
        _ => Then::Live(crossings(at, extent.epoch, extent)),
    }
}

/// The gaps to announce to a reader before this frame of a replay.
pub(crate) fn gaps_at(at: Cursor, frame: &Frame, extent: &Extent) -> Vec<Gap> {
    // A gap that was told to those who read live is only a place here: this reader may come from another.
    let gaps = if frame.is_gap() { gaps_to } else { gaps_before };
    gaps(at, frame.cursor, extent)
}

/// How a stream begins.
pub(crate) struct Beginning {
    /// What cannot be given.
    pub(crate) gap: Option<Gap>,
    /// The first events, where not all after `at` are wanted.
    pub(crate) newest: Vec<Frame>,
    /// The place before the first event.
    pub(crate) at: Cursor,
    /// The log that all this was decided on.
    pub(crate) extent: Extent,
}

/// What a replay reads where the feed's memory does not reach: of the pod's own log, or of the simulator's.
pub(crate) trait Replayed {
    /// See [`Hub::reach`](crate::hub::Hub::reach).
    async fn reach(&self, feed: &Arc<Feed>, place: Cursor) -> Result<(), LogError>;
    async fn read(&self, room: &Room, after: Seq, limit: usize) -> Result<Vec<Frame>, LogError>;
    async fn last(&self, room: &Room, count: usize) -> Result<Vec<Frame>, LogError>;
}

impl Replayed for App {
    async fn reach(&self, feed: &Arc<Feed>, place: Cursor) -> Result<(), LogError> {
        self.chat.reach(feed, place).await
    }

    async fn read(&self, room: &Room, after: Seq, limit: usize) -> Result<Vec<Frame>, LogError> {
        self.metrics.replay_reads.inc();
        self.chat.log().read(room, after, limit).await
    }

    async fn last(&self, room: &Room, count: usize) -> Result<Vec<Frame>, LogError> {
        self.metrics.replay_reads.inc();
        self.chat.log().last(room, count).await
    }
}

/// Finds the beginning that was asked for, by somebody who sees the log from `from` on.
pub(crate) async fn begin<L: Replayed>(
    log: &L,
    feed: &Arc<Feed>,
    start: &Start,
    from: Seq,
) -> Result<Beginning, LogError> {
    if let Start::After(place) = start {
        log.reach(feed, *place).await?;
    }
    let tip = feed.tip();
    if from > tip.seq {
        // They came in by another pod: what this one has not heard of is not for them either.
        log.reach(feed, Cursor { seq: from, ..tip }).await?;
    }
    let extent = feed.extent();
    let kept = extent.first;
    let extent = extent.seen_from(from);
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
            let newest = log.last(feed.room(), count).await?;
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
pub(crate) async fn after<L: Replayed>(
    log: &L,
    held: Held,
    room: &Room,
    after: Seq,
    limit: usize,
) -> Result<(Vec<Frame>, Extent), LogError> {
    let Held { frames, extent } = held;
    let frames = match frames {
        Some(frames) => frames,
        None => delivered(log.read(room, after, limit).await?, &extent),
    };
    Ok((frames, extent))
}

/// Those of them that the feed has delivered, and that may be seen.
fn delivered(mut frames: Vec<Frame>, log: &Extent) -> Vec<Frame> {
    frames.retain(|frame| (log.first..=log.tip).contains(&frame.cursor.seq));
    frames
}
