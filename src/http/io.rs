//! The socket as hyper sees it. In HTTP/1.1: whole heads with one reading, deadlines, and a sign when all is flushed. In
//! HTTP/2: a deadline for what is written.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    framing::{Framing, Limits, Phase, Refusal},
    line::Line,
};

/// How long a connection may be quiet between two requests. Longer than the 60 s after which proxies usually
/// close theirs, so that it is them who close.
pub(super) const IDLE: Duration = Duration::from_secs(75);
/// A client that takes no byte for this long is gone.
pub(super) const STUCK: Duration = Duration::from_secs(30);
/// Bytes read from a socket at once.
const READ: usize = 8 << 10;

pub(crate) struct Io<S> {
    socket: S,
    framing: Framing,
    line: Arc<Line>,
    head_time: Duration,
    /// Whom to wake when all is answered and nothing more will be read.
    end_waits: Option<Waker>,
}

impl<S> Io<S> {
    /// A socket from which the `line` expects the first head already.
    pub(crate) fn new(socket: S, limits: Limits, head_time: Duration, line: Arc<Line>) -> Self {
        Io { socket, framing: Framing::new(limits), line, head_time, end_waits: None }
    }

    /// The socket alone, and why nothing more was read from it, if there was a reason.
    pub(crate) fn into_parts(self) -> (S, Option<Refusal>, Phase) {
        let phase = self.framing.phase();
        (self.socket, self.framing.refusal(), phase)
    }

    fn receive(&mut self, received: &[u8]) {
        let before = self.framing.phase();
        let heads = self.framing.heads();
        self.framing.take(received);
        let after = self.framing.phase();
        if self.framing.heads() > heads {
            // A request is being answered; its handler bounds the time for its body.
            self.line.expect_read(None);
        } else if before == Phase::Idle && after == Phase::Head && heads > 0 {
            self.line.expect_read(Some(self.head_time));
        }
    }
}

impl<S: AsyncRead + Unpin> Read for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let ready = this.framing.ready();
            if !ready.is_empty() {
                let passed = ready.len().min(buffer.remaining());
                buffer.put_slice(&ready[..passed]);
                this.framing.pass(passed);
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = this.framing.refusal() {
                // hyper takes an end that it sees while it answers for a client that has gone, and drops the
                // answer; so the end waits until all that was asked before is answered.
                if refusal.at_boundary && this.is_answering() {
                    this.end_waits = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                return Poll::Ready(Ok(()));
            }
            let mut received = [MaybeUninit::uninit(); READ];
            let mut received = ReadBuf::uninit(&mut received);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut received))?;
            if received.filled().is_empty() {
                // A client that sends no more may still wait for its answer (RFC 9112 §9.6). Not so for one that
                // listens: its end is how one learns that it has gone.
                let is_whole = this.framing.phase() != Phase::Body;
                if is_whole && this.is_answering() && !this.line.is_listening() {
                    this.end_waits = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                return Poll::Ready(Ok(()));
            }
            this.receive(received.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Io<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, bytes);
        this.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_flush(cx))?;
        this.line.flushed();
        if !this.is_answering()
            && let Some(waker) = this.end_waits.take()
        {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

impl<S> Io<S> {
    /// Is there a request whose answer hyper has not been given whole?
    fn is_answering(&self) -> bool {
        self.line.answers() < self.framing.heads()
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending if !self.line.is_write_expected() => self.line.expect_write(Some(STUCK)),
            Poll::Pending => {}
            Poll::Ready(_) => {
                self.line.expect_write(None);
                match self.framing.phase() {
                    Phase::Idle => self.line.expect_read(Some(IDLE)),
                    // It came together with the request before.
                    Phase::Head => self.line.expect_read(Some(self.head_time)),
                    Phase::Body | Phase::Refused => {}
                }
            }
        }
        written
    }
}

/// A socket whose `line` knows when it takes nothing.
pub(super) struct Watched<S> {
    socket: S,
    line: Arc<Line>,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, line: Arc<Line>) -> Self {
        Watched { socket, line }
    }

    fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        match &written {
            Poll::Pending if !self.line.is_write_expected() => self.line.expect_write(Some(STUCK)),
            Poll::Pending => {}
            Poll::Ready(_) => self.line.expect_write(None),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.wrote(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
