//! Streams: where they start, what they replay, and how they go on.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use hyper::{HeaderMap, Response, Version, header};
use rand::RngExt;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    App,
    answer::with_type,
    body::{Body, Piece, StreamBody},
    call::Call,
    line::Seat,
    poll,
    problem::Problem,
    start::{self, Beginning, asked, begin},
};
use crate::{
    chat::{Select, Visit},
    event::{Cursor, Extent, Frame, Gap, Room, User},
    faults::{self, Fault},
    hub::{Plan, Start, crossings, gaps_before, gaps_to, plan},
    identity::Session,
    log::LogError,
};

mod courteous;
mod format;

use format::Format;

/// Bytes of events that are given to the connection at once while replaying.
const STEP: usize = 64 << 10;
/// Events read from the log at once while replaying.
const EVENTS: usize = 500;

/// `event: hello`
#[derive(Serialize)]
struct Hello<'a> {
    room: &'a str,
    user: &'a User,
    cursor: Cursor,
    tip: Cursor,
    online: usize,
    /// The client gave a cursor, and the stream goes on exactly from there.
    resumed: bool,
}

/// `event: live`
#[derive(Serialize)]
struct Live {
    tip: Cursor,
}

/// Opens a stream of a room, or answers a poll.
pub(super) async fn open(call: &mut Call, room: &Room) -> Result<Response<Body>, Problem> {
    let known = call.session()?;
    let start = asked(call)?;
    let format = Format::of(call);
    if call.is_head() {
        // Who will hear nothing does not come in.
        return Ok(respond(format, Body::empty()));
    }
    if call.query("poll").is_some_and(|poll| poll == "1") {
        return poll::answer(call, room, known, &start).await;
    }
    // From here on a browser would take any other status than 200 for the end of it all.
    match admit(call, room, known).await {
        Ok((visit, session)) => Ok(write(call, format, start, visit, &session)),
        // What the client has to change itself.
        Err(problem) if !problem.passes() => Err(problem),
        Err(problem) => {
            call.app.metrics.refused_streams.inc();
            Ok(refuse(call, format, problem.code()))
        }
    }
}

/// Lets the caller in, as a guest made on the spot if need be.
pub(super) async fn admit(
    call: &mut Call,
    room: &Room,
    known: Option<(Session, super::call::Shown)>,
) -> Result<(Visit, Session), Problem> {
    if call.app.chat.doors().streams() >= call.app.most_streams {
        return Err(Problem::overloaded());
    }
    let session = match known {
        Some((session, shown)) => {
            call.renew(&session, shown);
            session
        }
        None => {
            let session = call.guest()?;
            call.give_cookie(&session);
            session
        }
    };
    let room = call.app.chat.room(room).await?;
    let visit = call.app.chat.doors().admit(room, &session, call.client()).map_err(Problem::rate_limited)?;
    visit.entered().await;
    Ok((visit, session))
}

fn write(call: &mut Call, format: Format, start: Start, visit: Visit, session: &Session) -> Response<Body> {
    call.line.begin_stream();
    let (pieces, body) = mpsc::channel(1);
    // Only a plain HTTP/1.1 event stream goes on in the reading room.
    let seats = call.version() == Version::HTTP_11 && format == Format::Sse;
    let writer = Writer { app: Arc::clone(&call.app), format, pieces, waiting: BytesMut::new() };
    let user = session.user.clone();
    tokio::spawn(async move { writer.run(&start, visit, user, seats).await });
    respond(format, Body::Stream(StreamBody { pieces: body, line: Arc::clone(&call.line) }))
}

/// 200, when to come back, why, and the end: a browser comes back by itself.
fn refuse(call: &Call, format: Format, code: &str) -> Response<Body> {
    let retry = rand::rng().random_range(3000..10_000);
    call.line.begin_stream();
    respond(format, Body::full(format.bye(code, retry)))
}

fn respond(format: Format, body: Body) -> Response<Body> {
    let mut response = with_type(hyper::StatusCode::OK, format.content_type(), body);
    let headers: &mut HeaderMap = response.headers_mut();
    let fixed = [
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::CONNECTION, "close"),
        (header::VARY, "Accept"),
    ];
    for (name, value) in fixed {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    headers.insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response
}

/// Why a stream's writer stopped.
enum Stop {
    /// Nobody takes what it writes.
    Gone,
    /// The log could not be read.
    Log(LogError),
}

impl From<LogError> for Stop {
    fn from(e: LogError) -> Self {
        Stop::Log(e)
    }
}

/// Writes one stream: hello, replay, live, and then the rest, or a seat in the reading room.
struct Writer {
    app: Arc<App>,
    format: Format,
    pieces: mpsc::Sender<Piece>,
    /// Written, but not worth a piece of its own yet.
    waiting: BytesMut,
}

impl Writer {
    async fn run(mut self, start: &Start, visit: Visit, user: User, seats: bool) {
        // Before the last look at what was revoked, so that nothing falls between.
        let endings = self.app.chat.endings();
        if self.app.revoked.contains(visit.session()) {
            return;
        }
        let feed = Arc::clone(visit.room().feed());
        // So that what is told during the replay is told to this reader too.
        let listener = feed.listen();
        let stopped = match self.replay(start, &visit, &user).await {
            Ok(at) if seats && !self.app.is_draining() => {
                let after = if faults::is_on(Fault::NoSeam) { feed.tip().seq } else { at.seq };
                let seat = Piece::Seat(Box::new(Seat { feed, after, visit, listener }));
                // The connection takes the seat when all before it is flushed, or is gone.
                _ = self.pieces.send(seat).await;
                // The body ends when its sender is dropped, and this one must not end.
                return self.pieces.closed().await;
            }
            Ok(at) => courteous::go_on(&mut self, at, &visit, listener, endings).await,
            Err(stop) => Err(stop),
        };
        if let Err(Stop::Log(e)) = stopped {
            let problem = Problem::from(e);
            let bye = self.format.bye(problem.code(), rand::rng().random_range(1000..4000));
            _ = self.pieces.send(Piece::Bytes(bye)).await;
        }
    }

    /// Writes everything up to now; gives the place of the last event written.
    async fn replay(&mut self, start: &Start, visit: &Visit, user: &User) -> Result<Cursor, Stop> {
        let feed = Arc::clone(visit.room().feed());
        let Beginning { gap, newest, mut at, extent } = begin(&self.app.chat, &feed, start).await?;
        // A client that is cut off between this and the gap must be told of the gap when it comes back.
        let from = gap.as_ref().map_or(at, |gap| gap.from.unwrap_or(Cursor::NOWHERE));
        let hello = Hello {
            room: &feed.room().label,
            user,
            cursor: from,
            tip: extent.tip(),
            online: visit.room().online(),
            resumed: matches!(start, Start::After(_)) && gap.is_none(),
        };
        let retry = rand::rng().random_range(1000..=3000);
        self.push(&self.format.named("hello", Some(from), Some(retry), &hello));
        self.flush().await?;
        if let Some(gap) = gap {
            self.push_gap(&gap);
        }
        at = self.push_events(&newest, at, &extent).await?;
        let extent = loop {
            let held = feed.after(at.seq, STEP);
            let log = self.app.chat.log();
            let (frames, extent) = start::after(held, log, feed.room(), at.seq, EVENTS).await?;
            if !frames.is_empty() {
                at = self.push_events(&frames, at, &extent).await?;
            } else if let Plan::GapThenAfter(gap, to) = plan(&Start::After(at), &extent) {
                // What was still to come has gone meanwhile.
                self.push_gap(&gap);
                at = to;
            } else {
                break extent;
            }
        };
        for gap in crossings(at, extent.epoch, &extent) {
            self.push_gap(&gap);
            at = gap.to;
        }
        self.push(&self.format.named("live", None, None, &Live { tip: at }));
        self.flush().await?;
        Ok(at)
    }

    /// Writes events, and a gap wherever a new epoch begins or something is missing; gives the place of the last.
    async fn push_events(
        &mut self,
        frames: &[Frame],
        mut at: Cursor,
        extent: &Extent,
    ) -> Result<Cursor, Stop> {
        for frame in frames {
            // A gap that was told to those who read live is only a place here: this reader may come from another.
            let gaps = if frame.is_gap() { gaps_to } else { gaps_before };
            for gap in gaps(at, frame.cursor, extent) {
                self.push_gap(&gap);
            }
            if !frame.is_gap() {
                self.push(&self.format.event(frame));
            }
            at = frame.cursor;
            if self.waiting.len() >= STEP {
                self.flush().await?;
            }
        }
        Ok(at)
    }

    fn push_gap(&mut self, gap: &Gap) {
        self.app.metrics.gaps.inc();
        self.push(&self.format.named("gap", Some(gap.to), None, gap));
    }

    fn push(&mut self, block: &Bytes) {
        self.waiting.extend_from_slice(block);
    }

    /// Gives what is written to the connection, as one piece.
    async fn flush(&mut self) -> Result<(), Stop> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let bytes = self.waiting.split().freeze();
        self.pieces.send(Piece::Bytes(bytes)).await.map_err(|_| Stop::Gone)
    }
}

/// Is this session's stream among those that end?
fn is_meant(select: &Select, visit: &Visit) -> bool {
    crate::readers::Occupant::is_meant(visit, select)
}

/// How long until a stream that may be quiet gets a ping: 15 s ± 20 %.
fn quiet() -> Duration {
    Duration::from_millis(rand::rng().random_range(12_000..18_000))
}
