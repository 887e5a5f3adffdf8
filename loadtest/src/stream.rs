//! Listening: one connection of an event stream, and a reader that comes back by its cursor.
//!
//! [`Stream`] is one connection. [`Reader`] is what a person sees as one reader: it reconnects with its cursor
//! and writes down all it gets for the [`checker`](crate::checker).

use crate::checker::{Asked, Clock, End, ReaderLog};
use crate::cursor::Cursor;
use crate::http::{Body, Client, Error, ErrorKind, Head, Headers, Request};
use crate::sse::{self, Event, Fault};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What reading gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// An event.
    Event(Event),
    /// Nothing until the deadline.
    Quiet,
    /// The server ended the stream in order: last chunk, or close where there are no chunks.
    Ended,
}

/// How to open a stream.
#[derive(Clone, Debug)]
pub struct Listen {
    request: Request,
    source: Option<IpAddr>,
    timeout: Duration,
}

impl Listen {
    /// `GET target`, such as `/r/lobby?since=all`. Opening may take 10 s.
    #[must_use]
    pub fn to(target: &str) -> Self {
        let request = Request::new("GET", target).header("Accept", "text/event-stream");
        Self { request, source: None, timeout: Duration::from_secs(10) }
    }

    /// Adds a header field: a cookie, a token.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Comes from this address.
    #[must_use]
    pub fn from_source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Starts after this cursor, by the header that EventSource uses.
    #[must_use]
    pub fn after(self, cursor: &str) -> Self {
        self.header("Last-Event-ID", cursor)
    }

    /// How long opening may take, head included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Opens the stream.
    ///
    /// # Errors
    /// By [`ErrorKind`]; an answer that is no event stream is [`ErrorKind::Framing`], with its status in words.
    pub fn open(&self, server: SocketAddr) -> Result<Stream, Error> {
        let mut client = Client::new(server).timeout(self.timeout);
        if let Some(source) = self.source {
            client = client.from_source(source);
        }
        let (head, body) = client.open(&self.request)?;
        let kind = head.headers.get("content-type").unwrap_or_default();
        let is_stream =
            kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("text/event-stream"));
        if head.status != 200 || !is_stream {
            return Err(Error::new(ErrorKind::Framing, format!("no stream: {} {kind:?}", head.status)));
        }
        Ok(Stream { head, body, parser: sse::Parser::new(), ready: VecDeque::new() })
    }
}

/// One connection of an event stream. Dropping it cuts it.
pub struct Stream {
    head: Head,
    body: Body,
    parser: sse::Parser,
    ready: VecDeque<Event>,
}

impl Stream {
    /// The header fields of the answer.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// The next event, waiting for it until the deadline.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the connection broke without an end, [`ErrorKind::Framing`] for broken chunks.
    pub fn next_event(&mut self, deadline: Instant) -> Result<Next, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Next::Event(event));
            }
            match self.body.read(deadline) {
                Ok(Some(bytes)) => {
                    self.parser.feed(&bytes);
                    self.ready.extend(std::iter::from_fn(|| self.parser.next_event()));
                }
                Ok(None) => {
                    self.parser.finish();
                    return Ok(Next::Ended);
                }
                Err(e) if e.kind == ErrorKind::TimedOut => return Ok(Next::Quiet),
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads on until an event of this name (`message` for entries of the log) and returns it.
    ///
    /// # Errors
    /// As [`Self::next_event`]; the deadline and the stream's end are errors here.
    pub fn wait_for(&mut self, name: &str, deadline: Instant) -> Result<Event, Error> {
        loop {
            match self.next_event(deadline)? {
                Next::Event(event) if event.name == name => return Ok(event),
                Next::Event(_) => {}
                Next::Quiet => return Err(Error::new(ErrorKind::TimedOut, format!("no {name:?} came"))),
                Next::Ended => return Err(Error::new(ErrorKind::Closed, format!("ended before {name:?}"))),
            }
        }
    }

    /// The `Last-Event-ID` of a reconnection now, counting only events that were taken.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// The reconnection time that the stream asked for (milliseconds).
    #[must_use]
    pub fn retry(&self) -> Option<u64> {
        self.parser.retry()
    }

    /// What a maru server must never send and this one did.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        self.parser.faults()
    }

    /// Whether all that was read so far ends at the end of a chunk and of a block.
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        self.body.is_between_chunks() && self.parser.is_between_blocks()
    }

    /// The connection itself, for half-closing it or for reading nothing.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.body.socket()
    }
}

/// One reader across its reconnections, as the checker understands the word.
pub struct Reader {
    listen: Listen,
    server: SocketAddr,
    clock: Clock,
    stream: Option<Stream>,
    log: ReaderLog,
}

impl Reader {
    /// A reader that has not connected yet. `listen` should carry no cursor of its own.
    #[must_use]
    pub fn new(name: &str, clock: Clock, server: SocketAddr, listen: Listen) -> Self {
        Self { listen, server, clock, stream: None, log: ReaderLog::new(name) }
    }

    /// Where the next connection goes.
    pub fn move_to(&mut self, server: SocketAddr) {
        self.server = server;
    }

    /// The cursor it would come back with.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.log.cursor()
    }

    /// What it has got so far.
    #[must_use]
    pub fn log(&self) -> &ReaderLog {
        &self.log
    }

    /// The connection, while there is one.
    #[must_use]
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// Connects (cutting a connection that is there), with its cursor if it has one.
    ///
    /// # Errors
    /// As [`Listen::open`]; the reader stays without a connection and may try again.
    pub fn connect(&mut self) -> Result<(), Error> {
        let asked = self.log.cursor().map_or(Asked::Fresh, Asked::Own);
        self.connect_asking(asked)
    }

    /// Connects asking for something else than its own cursor.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_asking(&mut self, asked: Asked) -> Result<(), Error> {
        self.cut();
        let listen = match &asked {
            Asked::Fresh => self.listen.clone(),
            Asked::Own(cursor) => self.listen.clone().after(&cursor.to_string()),
            Asked::Chosen(text) => self.listen.clone().after(text),
        };
        let at = self.clock.now();
        self.stream = Some(listen.open(self.server)?);
        self.log.connected(at, asked);
        self.log.reached(at, self.server.to_string());
        Ok(())
    }

    /// The next event, written down. [`Next::Ended`] when there is no connection (any more): a connection that
    /// broke is no error here, since coming back is what a reader does.
    pub fn next(&mut self, deadline: Instant) -> Next {
        let Some(stream) = &mut self.stream else { return Next::Ended };
        let next = stream.next_event(deadline);
        let at = self.clock.now();
        match next {
            Ok(Next::Event(event)) => {
                self.log.saw(at, &event);
                Next::Event(event)
            }
            Ok(Next::Quiet) => Next::Quiet,
            Ok(Next::Ended) => self.leave(End::Ended),
            Err(error) => {
                if error.kind == ErrorKind::Framing {
                    self.log.fault(at, error.what.clone());
                }
                self.leave(End::Broken(error.what))
            }
        }
    }

    /// Reads on until this holds for an event, and says whether one came before the deadline and the end.
    pub fn read_until(&mut self, deadline: Instant, mut done: impl FnMut(&Event) -> bool) -> bool {
        loop {
            match self.next(deadline) {
                Next::Event(event) if done(&event) => return true,
                Next::Event(_) => {}
                Next::Quiet | Next::Ended => return false,
            }
        }
    }

    /// Reads, and comes back as often as it must, until it stands at `tip` or behind it in the log; says whether
    /// it got there before the deadline.
    pub fn read_to(&mut self, tip: Cursor, deadline: Instant) -> bool {
        while self.cursor().is_none_or(|c| c < tip) {
            if Instant::now() >= deadline {
                return false;
            }
            if self.stream.is_none() && self.connect().is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.next(deadline);
        }
        true
    }

    /// Cuts the connection, wherever the stream is just now.
    pub fn cut(&mut self) {
        self.leave(End::Cut);
    }

    fn leave(&mut self, how: End) -> Next {
        if let Some(stream) = self.stream.take() {
            let at = self.clock.now();
            stream.faults().iter().for_each(|fault| self.log.fault(at, fault.to_string()));
            self.log.ended(at, how);
        }
        Next::Ended
    }

    /// Cuts the connection and hands over what the reader got.
    #[must_use]
    pub fn into_log(mut self) -> ReaderLog {
        self.cut();
        self.log
    }

    /// As [`Self::into_log`], for a reader that claims to have got everything up to the end of the log.
    #[must_use]
    pub fn into_complete_log(self) -> ReaderLog {
        let mut log = self.into_log();
        log.reads_to_the_end();
        log
    }
}

#[cfg(test)]
mod tests;
