//! One HTTP/1.1 connection from its first head to its end, or to a seat in the reading room.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    App, answer,
    body::Outgoing,
    framing::{Limits, Phase},
    io::Io,
    line::{Line, Seat, patience},
    problem::Problem,
};

/// How long, and how many bytes, a client may go on sending after the last answer, so that it reads the answer
/// before it learns that nobody listens any more.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 64 << 10);

enum End {
    /// A stream goes on without hyper.
    Seated(Box<Seat>),
    /// All that was asked is answered, or the connection broke.
    Done,
    /// The other side took too long.
    TooSlow,
}

/// Serves what comes on a connection. It ends after the answer under way when `app` stops, or soon after that if there
/// is none. Gives the socket back when its stream goes on in the reading room, which only a [`Line`] with seats does.
pub(super) async fn serve<S>(app: Arc<App>, socket: S, line: Arc<Line>) -> Option<(S, Box<Seat>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bounds = &app.bounds;
    let limits = Limits {
        target: bounds.uri as usize,
        head: bounds.head as usize,
        fields: bounds.fields as usize,
        ..Limits::default()
    };
    let io = Io::new(socket, limits, Duration::from_secs(bounds.head_time.into()), Arc::clone(&line));
    let service = {
        let (app, line) = (Arc::clone(&app), Arc::clone(&line));
        // Boxed, because a connection that is taken apart must be `Unpin`.
        service_fn(move |request: Request<Incoming>| {
            let answering = answer(Arc::clone(&app), Arc::clone(&line), request);
            let line = Arc::clone(&line);
            Box::pin(
                async move { Ok::<_, Infallible>(answering.await.map(|body| Outgoing::new(body, line))) },
            )
        })
    };
    let mut connection = http1::Builder::new()
        // The limits are those of `framing`; hyper's are wider, so that it never answers by itself.
        .max_headers(128)
        .max_buf_size(2 * limits.head.max(32 << 10))
        .serve_connection(io, service);

    let mut timer = pin!(patience());
    let mut stopping = pin!(app.hung_up());
    let mut is_stopping = false;
    let end = poll_fn(|cx| {
        if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if connection.poll_without_shutdown(cx).is_ready() {
            return Poll::Ready(End::Done);
        }
        if let Some(seat) = line.take_seat() {
            return Poll::Ready(End::Seated(seat));
        }
        line.poll_overdue(timer.as_mut(), cx).map(|()| End::TooSlow)
    })
    .await;

    let (mut socket, refusal, phase) = connection.into_parts().io.into_parts();
    match end {
        End::Seated(seat) => return Some((socket, seat)),
        End::Done => {
            if let Some(refusal) = refusal.filter(|refusal| refusal.at_boundary) {
                app.metrics.refused_heads.inc();
                _ = socket.write_all(&written(&Problem::from(refusal))).await;
            }
            linger(socket).await;
        }
        End::TooSlow if phase == Phase::Head => {
            let problem = Problem::new(
                hyper::StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "the head of the request took too long",
            );
            refuse(socket, &problem).await;
        }
        End::TooSlow => {}
    }
    None
}

/// Answers whatever was sent with this problem, and ends.
pub(super) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, problem: &Problem) {
    _ = tokio::time::timeout(LINGER.0, socket.write_all(&written(problem))).await;
    linger(socket).await;
}

/// A problem as the bytes of a whole HTTP/1.1 answer, for where hyper never saw the request.
fn written(problem: &Problem) -> Vec<u8> {
    let status = problem.status();
    let document = problem.document();
    let mut answer = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or("Error"),
        document.len()
    )
    .into_bytes();
    answer.extend_from_slice(&document);
    answer
}

/// Ends the sending side and reads on for a moment: a socket that is closed with bytes unread is reset, and the
/// client may lose the answer (RFC 9112 §9.6).
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) {
    let (time, bytes) = LINGER;
    let drain = async {
        socket.shutdown().await?;
        let mut left = bytes;
        let mut discarded = [0; 4096];
        while left > 0 {
            match socket.read(&mut discarded).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        std::io::Result::Ok(())
    };
    // Whether the client stays to the end is its own affair.
    _ = tokio::time::timeout(time, drain).await;
}
