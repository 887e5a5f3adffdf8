//! One HTTP/2 connection (RFC 9113), over TLS, or without it for proxies that know.
//!
//! hyper and h2 frame and bound what one connection may send; what is added here: heads are held to the limits of HTTP/1.1,
//! streams that nobody takes and connections that nobody uses end, and so does one that begins streams to give them up.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::{
    Request, Response,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    header::{self, HeaderValue},
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    App, Stage, answer,
    body::Body,
    framing::Refusal,
    io::{IDLE, STUCK, Watched},
    line::{Line, patience},
    problem::Problem,
    proxy,
};

/// Streams at once on one connection: a browser's tabs share one, and a proxy has more connections.
const STREAMS: u32 = 250;
/// Bytes of answers that one stream holds beside the log, until its client takes them.
const SEND_BUFFER: usize = 64 << 10;
/// Bytes of a whole answer that are given to the connection at once.
const PIECE: usize = 16 << 10;
/// Bytes that a client may send ahead: on a stream, where a body of 16 KiB is the most by default, and on a connection.
const WINDOWS: (u32, u32) = (64 << 10, 256 << 10);
/// Bytes of whole answers that wait for the client, on all streams of a connection: a room's history has up to 1 MiB a page.
const WAITING: usize = 4 << 20;
/// How often a client is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// So many streams may be given up by the client within this time. A reload of a page with everything on it gives up
/// some ten; more than this is work without end for nobody (CVE-2023-44487).
const GIVEN_UP: (u32, Duration) = (200, Duration::from_secs(10));
/// How long a client may take to leave when it was told to.
const LEAVE: Duration = Duration::from_secs(1);

/// What a connection and its streams share.
struct Connection {
    /// Of the connection itself: whether it is used, and whether its socket takes what is written.
    line: Arc<Line>,
    /// The line of the stream that is begun just now.
    begun: Mutex<Option<Arc<Line>>>,
    open: AtomicUsize,
    waiting: AtomicUsize,
    is_leaving: AtomicBool,
    is_flooded: AtomicBool,
    given_up: Mutex<(Instant, u32)>,
    /// Believed to speak for many: they may all go at once.
    is_proxy: bool,
    driver: AtomicWaker,
}

/// Serves what comes on a connection that speaks HTTP/2. When `app` stops, or soon after, the client is told to begin no
/// more streams here (GOAWAY); it ends with the last one.
pub(super) async fn serve<S>(app: Arc<App>, socket: S, line: Arc<Line>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = Arc::new(Connection {
        begun: Mutex::new(None),
        open: AtomicUsize::new(0),
        waiting: AtomicUsize::new(0),
        is_leaving: AtomicBool::new(false),
        is_flooded: AtomicBool::new(false),
        given_up: Mutex::new((Instant::now(), 0)),
        is_proxy: proxy::is_trusted(line.peer(), &app.trusted_proxies),
        driver: AtomicWaker::new(),
        line,
    });
    let service = {
        let (app, connection) = (Arc::clone(&app), Arc::clone(&connection));
        service_fn(move |request| {
            let line = connection.begin();
            let answering = answer_one(Arc::clone(&app), Arc::clone(&connection), line, request);
            // Boxed, or a stream would keep the room for it as long as it goes on.
            Box::pin(async { Ok::<_, Infallible>(answering.await) })
        })
    };
    let io = TokioIo::new(Watched::new(socket, Arc::clone(&connection.line)));
    let served = http2::Builder::new(Streams(Arc::clone(&connection)))
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        // Wider than what is let pass, so that most that is too large has a proper answer; h2 counts 32 bytes for each
        // field on top (RFC 9113 §6.5.2).
        .max_header_list_size(2 * (app.bounds.head + 32 * app.bounds.fields))
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .serve_connection(io, service);

    let mut served = pin!(served);
    let mut timer = pin!(patience());
    let mut stopping = pin!(app.hung_up());
    let (mut is_stopping, mut has_left) = (false, false);
    poll_fn(|cx| {
        connection.driver.register(cx.waker());
        if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            connection.leave();
        }
        if served.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if connection.is_flooded.load(Ordering::Relaxed) {
            app.metrics.http2_floods.inc();
            tracing::debug!(peer = %connection.line.peer(), "too many streams were given up");
            return Poll::Ready(());
        }
        if connection.line.poll_overdue(timer.as_mut(), cx).is_ready() {
            let is_used = connection.open.load(Ordering::Acquire) > 0;
            if connection.line.is_stuck() || has_left && !is_used {
                return Poll::Ready(());
            }
            if is_used {
                // Begun just as the one before it ended.
                connection.line.expect_read(None);
            } else {
                connection.leave();
            }
            cx.waker().wake_by_ref();
        }
        if connection.is_leaving.load(Ordering::Relaxed) && !has_left {
            has_left = true;
            served.as_mut().graceful_shutdown();
            if connection.open.load(Ordering::Acquire) == 0 {
                connection.line.expect_read(Some(LEAVE));
            }
            // So that the GOAWAY is written.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

/// Answers one request, if its head is within the limits.
async fn answer_one(
    app: Arc<App>,
    connection: Arc<Connection>,
    line: Arc<Line>,
    mut request: Request<Incoming>,
) -> Response<Paced> {
    let mut response = match check(&app, &mut request) {
        Ok(()) => answer(Arc::clone(&app), Arc::clone(&line), request).await,
        Err(refusal) => {
            app.metrics.refused_heads.inc();
            Problem::from(refusal).into_response()
        }
    };
    // A connection is ended in another way here (RFC 9113 §8.2.2).
    response.headers_mut().remove(header::CONNECTION);
    if *app.stage.borrow() != Stage::Serving {
        // Whoever keeps this connection, as proxies do, asks elsewhere the next time.
        connection.leave();
    }
    if connection.waiting.load(Ordering::Relaxed) > WAITING && !matches!(response.body(), Body::Stream(_)) {
        response = Problem::overloaded().into_response();
    }
    response.map(|body| Paced::new(body, line, connection))
}

/// Holds a head to the limits that heads have in HTTP/1.1, and gives it the `Host` that they have.
fn check(app: &App, request: &mut Request<Incoming>) -> Result<(), Refusal> {
    let bounds = &app.bounds;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > bounds.uri as usize {
        return Err(Refusal::uri_too_long());
    }
    let fields = request.headers();
    if fields.len() > bounds.fields as usize {
        return Err(Refusal::head_too_large("the head has too many fields"));
    }
    // As they would be written in HTTP/1.1: with a colon, a space and the end of the line.
    let size: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if target + size > bounds.head as usize {
        return Err(Refusal::head_too_large("the head of the request is too large"));
    }
    // RFC 9113 §8.3.1: the two mean the same, so that one that differs is meant for somebody else.
    let Some(authority) = request.uri().authority() else { return Ok(()) };
    let authority =
        HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::bad("the authority is none"))?;
    if fields.get_all(header::HOST).iter().any(|host| *host != authority) {
        return Err(Refusal::bad("Host and :authority name two hosts"));
    }
    request.headers_mut().insert(header::HOST, authority);
    Ok(())
}

impl Connection {
    /// A stream is begun: gives its line.
    fn begin(&self) -> Arc<Line> {
        let line = Arc::new(Line::new(self.line.peer(), self.line.transport()));
        *self.begun.lock().expect("no panic while locked") = Some(Arc::clone(&line));
        line
    }

    /// The client is to begin no more streams here.
    fn leave(&self) {
        if !self.is_leaving.swap(true, Ordering::Relaxed) {
            self.driver.wake();
        }
    }

    fn opened(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.line.expect_read(None);
    }

    /// A stream has ended; `line` is its own.
    fn closed(&self, line: &Line) {
        if line.answers() == 0 && !self.is_proxy {
            let mut given_up = self.given_up.lock().expect("no panic while locked");
            if given_up.0.elapsed() > GIVEN_UP.1 {
                *given_up = (Instant::now(), 0);
            }
            given_up.1 += 1;
            if given_up.1 > GIVEN_UP.0 {
                self.is_flooded.store(true, Ordering::Relaxed);
                self.driver.wake();
            }
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let is_leaving = self.is_leaving.load(Ordering::Relaxed);
            self.line.expect_read(Some(if is_leaving { LEAVE } else { IDLE }));
            self.driver.wake();
        }
    }
}

/// Runs the streams of a connection, each for as long as its client takes what it is given.
#[derive(Clone)]
struct Streams(Arc<Connection>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let connection = Arc::clone(&self.0);
        // hyper hands over a stream as soon as the service was called for it.
        let begun = connection.begun.lock().expect("no panic while locked").take();
        let line = begun.expect("each stream is begun by the service");
        connection.opened();
        tokio::spawn(async move {
            let mut timer = pin!(patience());
            {
                let mut stream = pin!(stream);
                poll_fn(|cx| match stream.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(()),
                    // What is dropped before its end is reset.
                    Poll::Pending => line.poll_overdue(timer.as_mut(), cx),
                })
                .await;
            }
            connection.closed(&line);
        });
    }
}

/// The body of an answer, in pieces, the next of which is asked for when the client has room for it.
struct Paced {
    body: Body,
    line: Arc<Line>,
    connection: Arc<Connection>,
    /// Bytes of it that count as waiting.
    counted: usize,
    has_ended: bool,
}

impl Paced {
    fn new(body: Body, line: Arc<Line>, connection: Arc<Connection>) -> Self {
        let counted = match &body {
            Body::Full(bytes) => bytes.len(),
            Body::Stream(_) => 0,
        };
        connection.waiting.fetch_add(counted, Ordering::Relaxed);
        // From now on it waits for the client.
        line.expect_write(Some(STUCK));
        Paced { body, line, connection, counted, has_ended: false }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.connection.waiting.fetch_sub(self.counted, Ordering::Relaxed);
        if self.has_ended || self.body.is_end_stream() {
            self.line.answered();
        }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        this.line.expect_write(None);
        let frame = match &mut this.body {
            Body::Full(bytes) if bytes.len() > PIECE => Some(Ok(Frame::data(bytes.split_to(PIECE)))),
            body => ready!(Pin::new(body).poll_frame(cx)),
        };
        match frame {
            Some(_) => this.line.expect_write(Some(STUCK)),
            None => this.has_ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
