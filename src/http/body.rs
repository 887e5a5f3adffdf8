//! What answers are made of.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame as HttpFrame, SizeHint};
use tokio::sync::mpsc;

use super::line::{Line, Seat};

/// A whole answer, or a stream.
pub(crate) enum Body {
    Full(Bytes),
    Stream(StreamBody),
}

/// A stream: blocks until it ends, or until its reader takes a seat in the reading room.
///
/// Its writer is a part of it and no task of its own: nothing has to be woken on the way from one to the other, and who
/// hangs up takes the writer along.
pub(crate) struct StreamBody {
    /// None once it has written all.
    writer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pieces: mpsc::Receiver<Piece>,
    line: Arc<Line>,
}

impl StreamBody {
    /// What `writer` sends, until it has ended.
    pub(crate) fn new(
        writer: impl Future<Output = ()> + Send + 'static,
        pieces: mpsc::Receiver<Piece>,
        line: Arc<Line>,
    ) -> Self {
        StreamBody { writer: Some(Box::pin(writer)), pieces, line }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if let Poll::Ready(piece) = self.pieces.poll_recv(cx) {
            return Poll::Ready(piece);
        }
        if let Some(writer) = &mut self.writer
            && writer.as_mut().poll(cx).is_ready()
        {
            self.writer = None;
        }
        self.pieces.poll_recv(cx)
    }
}

/// What a stream's writer hands to its connection.
pub(crate) enum Piece {
    /// Bytes of the body.
    Bytes(Bytes),
    /// Everything so far is written: the reader goes on from a seat.
    Seat(Box<Seat>),
}

impl Body {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Body::Full(bytes.into())
    }

    pub(crate) fn empty() -> Self {
        Body::Full(Bytes::new())
    }
}

/// The body of an answer on its way out. When hyper has taken all of it, the answer counts as given.
pub(crate) struct Outgoing {
    body: Body,
    line: Arc<Line>,
}

impl Outgoing {
    pub(crate) fn new(body: Body, line: Arc<Line>) -> Self {
        Outgoing { body, line }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.line.answered();
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Full(bytes) => Poll::Ready(Some(Ok(HttpFrame::data(std::mem::take(bytes))))),
            Body::Stream(stream) => match ready!(stream.poll_piece(cx)) {
                Some(Piece::Bytes(bytes)) => Poll::Ready(Some(Ok(HttpFrame::data(bytes)))),
                Some(Piece::Seat(seat)) => {
                    // The connection sees the seat once hyper has flushed what it holds. Nothing wakes this
                    // body again: the connection is taken from under it.
                    stream.line.offer(seat);
                    Poll::Pending
                }
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}
