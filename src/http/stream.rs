//! Streams: where they start, what they replay, and how they go on.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use hyper::{HeaderMap, Response, Version, header};
use rand::RngExt;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    App,
    access::{Entry, seen_from},
    answer::with_type,
    body::{Body, Piece, StreamBody},
    call::Call,
    line::{Seat, Transport},
    poll,
    problem::Problem,
    request_id::RequestId,
    start::{self, Beginning, Then, asked, begin, gaps_at, then},
};
use crate::{
    chat::{Endings, Select, Visit},
    event::{Cursor, Extent, Frame, Gap, Room, RoomKind, Seq, User},
    faults::{self, Fault},
    hub::{Feed, Start},
    identity::Session,
    log::{LogError, LogErrorKind},
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
    /// None of an inbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    user: &'a User,
    cursor: Cursor,
    tip: Cursor,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<usize>,
    /// The client gave a cursor, and the stream goes on exactly from there.
    resumed: bool,
}

/// `event: live`
#[derive(Serialize)]
struct Live {
    tip: Cursor,
}

/// Opens a stream of a room or an inbox, or answers a poll, if the caller may enter.
pub(super) async fn open(call: &mut Call, entry: Result<Entry, Problem>) -> Result<Response<Body>, Problem> {
    let format = Format::of(call);
    let is_poll = call.query("poll").is_some_and(|poll| poll == "1");
    let opened = match entry {
        Ok(entry) => {
            let start = asked(call)?;
            if call.is_head() {
                // Who will hear nothing does not come in.
                return Ok(respond(format, Body::empty()));
            }
            if is_poll {
                return poll::answer(call, entry, &start).await;
            }
            admit(call, &entry.room, entry.known).await.map(|admitted| (start, admitted))
        }
        Err(problem) => Err(problem),
    };
    // A browser takes any other status than 200 for the end of it all.
    match opened {
        Ok((start, (visit, session))) => Ok(write(call, format, start, visit, &session)),
        // What the client has to change itself.
        Err(problem) if is_poll || !problem.passes() => Err(problem),
        Err(problem) => {
            call.app.metrics.refused_stream(problem.code());
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
    call.let_in(room, Some(&session)).await?;
    let room = call.app.chat.room(room).await?;
    let visit = call.app.chat.doors().admit(room, &session, call.client()).map_err(Problem::rate_limited)?;
    visit.entered().await;
    Ok((visit, session))
}

fn write(call: &mut Call, format: Format, start: Start, visit: Visit, session: &Session) -> Response<Body> {
    call.line.begin_stream();
    let (pieces, written) = mpsc::channel(1);
    // Only a plain HTTP/1.1 event stream goes on in the reading room.
    let is_plain = call.version() == Version::HTTP_11 && call.line.transport() == Transport::Plain;
    let seats = is_plain && format == Format::Sse;
    // Before the last look at what was taken away, so that nothing falls between.
    let endings = call.app.chat.endings(&visit);
    let writer = Writer { app: Arc::clone(&call.app), format, pieces, waiting: BytesMut::new(), endings };
    let user = session.user.clone();
    let run = RequestId::carried(async move { writer.run(&start, visit, user, seats).await });
    respond(format, Body::Stream(StreamBody::new(run, written, Arc::clone(&call.line))))
}

/// A fault: whoever listens only now has nothing of what came since the replay.
async fn tip_later(feed: &Feed) -> Seq {
    tokio::time::sleep(Duration::from_millis(5)).await;
    feed.tip().seq
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
    /// It is to end.
    Told(Select),
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
    endings: Endings,
}

impl Writer {
    async fn run(mut self, start: &Start, visit: Visit, user: User, seats: bool) {
        if self.app.revoked.contains(visit.session()) || visit.is_banned() {
            return;
        }
        let feed = Arc::clone(visit.room().feed());
        // So that what is told during the replay is told to this reader too.
        let listener = feed.listen();
        let stopped = match self.replay(start, &visit, &user).await {
            Ok(at) if seats && !self.app.is_draining() => {
                let after = if faults::is_on(Fault::NoSeam) { tip_later(&feed).await } else { at.seq };
                let Writer { pieces, endings, .. } = self;
                let seat = Piece::Seat(Box::new(Seat { feed, after, visit, listener, endings }));
                // The connection takes the seat when all before it is flushed, or is gone.
                _ = pieces.send(seat).await;
                // The body ends when its sender is dropped, and this one must not end.
                return pieces.closed().await;
            }
            Ok(at) => courteous::go_on(&mut self, at, &visit, listener).await,
            Err(stop) => Err(stop),
        };
        let code = match stopped {
            Ok(()) | Err(Stop::Gone) => return,
            Err(Stop::Log(e)) => Problem::from(e).code(),
            Err(Stop::Told(select)) => select.code(),
        };
        let bye = self.format.bye(code, rand::rng().random_range(1000..4000));
        _ = self.pieces.send(Piece::Bytes(bye)).await;
    }

    /// From where on this person sees the log, now that they will hear when they do not any more.
    async fn seen_from(&self, room: &Room, user: &User) -> Result<Seq, Stop> {
        seen_from(&self.app.chat, room, user.id).await.map_err(|e| match e.kind {
            LogErrorKind::NotFound => Stop::Told(Select::Member { room: room.id, user: user.id }),
            _ => Stop::Log(e),
        })
    }

    /// Writes everything up to now; gives the place of the last event written.
    async fn replay(&mut self, start: &Start, visit: &Visit, user: &User) -> Result<Cursor, Stop> {
        let feed = Arc::clone(visit.room().feed());
        let room = feed.room();
        let sees_from = self.seen_from(room, user).await?;
        let Beginning { gap, newest, mut at, extent } = begin(&*self.app, &feed, start, sees_from).await?;
        // A client that is cut off between this and the gap must be told of the gap when it comes back.
        let from = gap.as_ref().map_or(at, |gap| gap.from.unwrap_or(Cursor::NOWHERE));
        let is_room = room.kind != RoomKind::Inbox;
        let hello = Hello {
            room: is_room.then_some(&room.label),
            user,
            cursor: from,
            tip: extent.tip(),
            online: is_room.then(|| visit.room().online()),
            resumed: matches!(start, Start::After(_)) && gap.is_none(),
        };
        let retry = rand::rng().random_range(1000..=3000);
        self.push(&self.format.named("hello", Some(from), Some(retry), &hello));
        self.flush().await?;
        if let Some(gap) = gap {
            self.push_gap(&gap);
        }
        at = self.push_events(&newest, at, &extent).await?;
        let crossed = loop {
            let held = feed.after(at.seq, STEP);
            let (frames, extent) = start::after(&*self.app, held, room, at.seq, EVENTS).await?;
            let extent = extent.seen_from(sees_from);
            match then(&frames, at, &extent) {
                Then::Give => at = self.push_events(&frames, at, &extent).await?,
                Then::Skip(gap, to) => {
                    self.push_gap(&gap);
                    at = to;
                }
                Then::Live(crossed) => break crossed,
            }
        };
        for gap in crossed {
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
            for gap in gaps_at(at, frame, extent) {
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
        if let Some(select) = self.endings.due() {
            return Err(Stop::Told(select));
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let bytes = self.waiting.split().freeze();
        self.pieces.send(Piece::Bytes(bytes)).await.map_err(|_| Stop::Gone)
    }
}

/// How long until a stream that may be quiet gets a ping: 15 s ± 20 %.
fn quiet() -> Duration {
    Duration::from_millis(rand::rng().random_range(12_000..18_000))
}
