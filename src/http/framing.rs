//! One reading of HTTP/1.1 framing (RFC 9112): where a head ends, how long its body is, where the next head
//! begins.
//!
//! hyper is lenient where others are lenient in another way (a bare LF ends a line, equal `Content-Length`s
//! count as one), and a head with two readings lets one request hide inside another. [`Framing`] therefore
//! stands between the socket and hyper and passes on only whole heads that have exactly one reading, byte for
//! byte as they came, and their bodies. The first thing that is not so is answered with a [`Refusal`], and
//! nothing after it is passed.
//!
//! It does no I/O. What reads the socket does, in this order: hand out [`Framing::ready`] and say with
//! [`Framing::pass`] how much was taken; when nothing is ready and there is a [`Framing::refusal`], show the
//! end of the stream; otherwise read and [`Framing::take`]. Kept this way, at most one head and one read are
//! ever in memory, and nothing at all between two requests.

mod body;
mod head;
#[cfg(test)]
mod tests;

/// Empty lines skipped before a request line: RFC 9112 §2.2 asks for at least one, since old clients send
/// CR LF after a body; more than two is no client that we know.
const EMPTY_LINES: u8 = 2;

/// How much of a request there may be, in bytes, before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of the request target.
    pub(super) target: usize,
    /// Bytes of a head, from its request line to the empty line that ends it.
    pub(super) head: usize,
    /// Fields in a head, or in a trailer.
    pub(super) fields: usize,
    /// Bytes of a trailer, with the empty line that ends it.
    pub(super) trailer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { target: 4 << 10, head: 16 << 10, fields: 64, trailer: 4 << 10 }
    }
}

/// Why no further byte of a connection is read; the rest of the problem document is written by who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// HTTP status: 400, 414 or 431.
    pub(super) status: u16,
    /// Stable, for programs.
    pub(super) code: &'static str,
    /// A sentence, for people.
    pub(super) detail: &'static str,
    /// Everything passed so far is whole requests, so that hyper may be shown the end and this may be the next
    /// answer. Otherwise a body broke off, and whoever reads that body will see it end early.
    pub(super) at_boundary: bool,
}

impl Refusal {
    fn new(status: u16, code: &'static str, detail: &'static str) -> Self {
        Refusal { status, code, detail, at_boundary: true }
    }

    pub(super) fn bad(detail: &'static str) -> Self {
        Refusal::new(400, "bad_request", detail)
    }

    pub(super) fn uri_too_long() -> Self {
        Refusal::new(414, "uri_too_long", "the request target is too long")
    }

    pub(super) fn head_too_large(detail: &'static str) -> Self {
        Refusal::new(431, "head_too_large", detail)
    }
}

/// What the connection is waiting for, so that it can have a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The next head, of which nothing has come yet.
    Idle,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// Nothing: what came was refused.
    Refused,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum State {
    /// A head that starts `start` bytes into what is held, after so many `empty` lines.
    Head {
        empty: u8,
        start: usize,
    },
    /// The last `left` bytes of a body.
    Body {
        left: u64,
    },
    ChunkLine,
    /// The last `left` bytes of a chunk.
    Chunk {
        left: u64,
    },
    /// The CR LF after a chunk's bytes.
    ChunkEnd,
    Trailer,
    Refused(Refusal),
}

const NEXT_HEAD: State = State::Head { empty: 0, start: 0 };

/// The framing of one connection's bytes, from the first on.
#[derive(Debug)]
pub(super) struct Framing {
    limits: Limits,
    /// `..passed` is gone already, `passed..ready` may go, `ready..` is held until it is whole.
    buffer: Vec<u8>,
    passed: usize,
    ready: usize,
    /// Where the line begins that is being collected, counted from `ready`.
    line: usize,
    state: State,
    heads: u64,
}

impl Framing {
    /// A connection of which no byte has come.
    pub(super) fn new(limits: Limits) -> Self {
        Framing { limits, buffer: Vec::new(), passed: 0, ready: 0, line: 0, state: NEXT_HEAD, heads: 0 }
    }

    /// Bytes that may be passed on. After them comes what the socket brings, or the end, if there is a
    /// [`Framing::refusal`].
    pub(super) fn ready(&self) -> &[u8] {
        &self.buffer[self.passed..self.ready]
    }

    /// The first `n` of the ready bytes were passed on.
    pub(super) fn pass(&mut self, n: usize) {
        self.passed += n;
        assert!(self.passed <= self.ready, "passed on more than was ready");
        if self.passed == self.ready {
            self.buffer.drain(..self.ready);
            (self.passed, self.ready) = (0, 0);
            if self.buffer.is_empty() {
                self.buffer = Vec::new(); // an idle connection holds no memory here
            }
        }
    }

    /// Why nothing further will be ready, if it is so.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self.state {
            State::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What is waited for.
    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::Head { start, .. } if self.held().len() == start => Phase::Idle,
            State::Head { .. } => Phase::Head,
            State::Refused(_) => Phase::Refused,
            _ => Phase::Body,
        }
    }

    /// How many heads were whole and good so far.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Takes what the socket brought. Best called only when nothing is ready, since what is taken is kept.
    pub(super) fn take(&mut self, mut incoming: &[u8]) {
        while let [first, ..] = incoming {
            let taken = match self.state {
                State::Refused(_) => return,
                State::Body { left } => {
                    let taken = self.take_body(left, incoming);
                    let left = left - taken as u64;
                    self.state = if left == 0 { NEXT_HEAD } else { State::Body { left } };
                    taken
                }
                State::Chunk { left } => {
                    let taken = self.take_body(left, incoming);
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk { left } };
                    taken
                }
                _ => {
                    let taken = self.take_plain(incoming);
                    let checked = if taken == 0 { self.take_byte(*first) } else { self.check_room() };
                    if let Err(refusal) = checked {
                        return self.refuse(refusal);
                    }
                    taken.max(1)
                }
            };
            incoming = &incoming[taken..];
        }
    }

    /// Bytes that say nothing about framing need not be held.
    fn take_body(&mut self, left: u64, incoming: &[u8]) -> usize {
        let taken = usize::try_from(left).map_or(incoming.len(), |left| left.min(incoming.len()));
        self.buffer.extend_from_slice(&incoming[..taken]);
        self.release();
        taken
    }

    /// The bytes in front that no line ends with, where any are good as long as there is room.
    fn take_plain(&mut self, incoming: &[u8]) -> usize {
        let is_after_cr = self.held()[self.line..].last() == Some(&b'\r');
        if is_after_cr || !matches!(self.state, State::Head { .. } | State::Trailer) {
            return 0;
        }
        let is_plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        let plain = incoming.iter().position(|byte| !is_plain(byte)).unwrap_or(incoming.len());
        self.buffer.extend_from_slice(&incoming[..plain]);
        plain
    }

    /// A byte of something that is made of lines: refused at once if no good line can have it there.
    fn take_byte(&mut self, byte: u8) -> Result<(), Refusal> {
        let after_cr = self.held()[self.line..].last() == Some(&b'\r');
        match byte {
            b'\n' if after_cr => {}
            b'\n' => return Err(Refusal::bad("a line ends with CR LF, not with LF alone")),
            _ if after_cr => return Err(Refusal::bad("CR stands only before LF")),
            b'\r' | b'\t' | b' '..=b'~' | 0x80.. => {}
            _ => return Err(Refusal::bad("a control character has no place here")),
        }
        self.buffer.push(byte);
        self.check_room()?;
        if byte == b'\n' { self.end_line() } else { Ok(()) }
    }

    fn check_room(&self) -> Result<(), Refusal> {
        let held = self.held();
        let line = &held[self.line..];
        match self.state {
            State::Head { start, .. }
                if self.line == start && line.len() > head::longest_line(&self.limits) =>
            {
                Err(head::line_too_long(line))
            }
            State::Head { start, .. } if held.len() - start > self.limits.head => {
                Err(Refusal::head_too_large("the head is too large"))
            }
            State::ChunkLine if line.len() > body::LONGEST_CHUNK_LINE => {
                Err(Refusal::bad("a chunk's line is too long"))
            }
            State::ChunkEnd if *line != b"\r\n"[..line.len()] => {
                Err(Refusal::bad("a chunk is longer than its line says"))
            }
            State::Trailer if held.len() > self.limits.trailer => {
                Err(Refusal::head_too_large("the trailer is too large"))
            }
            _ => Ok(()),
        }
    }

    fn end_line(&mut self) -> Result<(), Refusal> {
        let held = &self.buffer[self.ready..];
        let line = &held[self.line..held.len() - b"\r\n".len()];
        let next = match self.state {
            State::Head { empty, start } if self.line == start && line.is_empty() => {
                if empty == EMPTY_LINES {
                    return Err(Refusal::bad("too many empty lines before a request"));
                }
                self.state = State::Head { empty: empty + 1, start: held.len() };
                None
            }
            State::Head { start, .. } if self.line == start => {
                head::request_line(line, &self.limits)?;
                None
            }
            State::Head { start, .. } if line.is_empty() => {
                let body = head::read(&held[start..], &self.limits)?;
                self.heads += 1;
                Some(match body {
                    head::Body::Length(0) => NEXT_HEAD,
                    head::Body::Length(left) => State::Body { left },
                    head::Body::Chunked => State::ChunkLine,
                })
            }
            State::ChunkLine => Some(match body::chunk_size(line)? {
                0 => State::Trailer,
                left => State::Chunk { left },
            }),
            State::ChunkEnd => Some(State::ChunkLine),
            State::Trailer if line.is_empty() => {
                body::check_trailer(held, &self.limits)?;
                Some(NEXT_HEAD)
            }
            _ => None,
        };
        match next {
            Some(state) => {
                self.state = state;
                self.release();
            }
            None => self.line = held.len(),
        }
        Ok(())
    }

    /// What came but is not whole yet.
    fn held(&self) -> &[u8] {
        &self.buffer[self.ready..]
    }

    fn release(&mut self) {
        self.ready = self.buffer.len();
        self.line = 0;
    }

    fn refuse(&mut self, refusal: Refusal) {
        let at_boundary = matches!(self.state, State::Head { .. });
        self.state = State::Refused(Refusal { at_boundary, ..refusal });
        self.buffer.truncate(self.ready);
        self.line = 0;
    }
}
