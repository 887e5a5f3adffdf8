//! What one of thousands of readers keeps of its stream: not the events, only that they are all there.
//!
//! It reads chunk frames and lines, exactly and however they are cut, and looks at nothing but the first bytes of each
//! line: `id: 1-42`, `event: live`. JSON is never parsed. The full parser is [`crate::sse`]; a test holds the two
//! against each other.

mod marks;

use marks::Marks;
pub(crate) use marks::{Order, Step};

use crate::cursor::Cursor;
use crate::http::{ChunkedDecoder, Framing, Head, parse_head};
use memchr::memchr;
use std::sync::{Arc, Mutex};

/// The session's cookie.
pub(crate) const SESSION: &str = "maru_session";

/// So much of each line is looked at (bytes): `id: ` and a cursor of two u64 fit.
const LINE: usize = 45;

/// Something that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    /// `hello`, starting from this cursor.
    Hello(Cursor),
    /// `live`: the replay is over.
    Live,
    /// An entry of the log, the next one as it must be.
    Event(Cursor),
    /// Another server waits for this answer before the reader is live.
    Asked(&'static [u8]),
    /// `ping`.
    Ping,
    /// `presence`.
    Presence,
    /// Any other named event that carries no cursor, but `bye`.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    None,
    Hello,
    Live,
    Ping,
    Presence,
    Gap,
    Bye,
    Other,
}

/// Why there is no more to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// The server ended the stream, as it may. In most load tests it must not.
    Ended(&'static str),
    /// It broke the order or the framing.
    Wrong(String),
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended(how) => f.write_str(how),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

/// The state of one stream. See the module's words.
pub(crate) struct Counter {
    /// The head as far as it came; empty again as soon as it is whole.
    head: Vec<u8>,
    /// The cookie that makes whoever comes back the same guest.
    session: Option<Box<str>>,
    body: Option<Body>,
    sense: Sense,
}

/// How the body is cut.
enum Body {
    Chunked(ChunkedDecoder),
    /// Not at all: it ends with the connection, or it is a WebSocket's.
    Bare,
}

/// What is made of the body.
enum Sense {
    /// A room's log, strictly: of a maru or the floor.
    Lines(Lines),
    /// Messages of ours in whatever another server puts around them.
    Marks(Marks),
}

struct Lines {
    line: [u8; LINE],
    /// How long the line is so far; may be more than is kept.
    length: u32,
    name: Name,
    id: Option<Cursor>,
    has_data: bool,
    /// The last event; before `hello` the cursor that was asked for, if one was.
    last: Option<Cursor>,
    stop: Option<Stop>,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self::from_cursor(None)
    }

    /// One that comes back: its stream must begin after this cursor.
    pub(crate) fn from_cursor(last: Option<Cursor>) -> Self {
        let lines = Lines {
            line: [0; LINE],
            length: 0,
            name: Name::None,
            id: None,
            has_data: false,
            last,
            stop: None,
        };
        Self { head: Vec::new(), session: None, body: None, sense: Sense::Lines(lines) }
    }

    /// For another server, where a reader is live after these steps.
    pub(crate) fn of_marks(steps: &'static [Step], order: Arc<Mutex<Order>>) -> Self {
        let sense = Sense::Marks(Marks::new(steps, order));
        Self { head: Vec::new(), session: None, body: None, sense }
    }

    /// Where this reader is.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        match &self.sense {
            Sense::Lines(lines) => lines.last,
            Sense::Marks(_) => None,
        }
    }

    /// Where this reader is if it is between two events, so that the next bytes mean the same to all who are here.
    pub(crate) fn at_rest(&self) -> Option<Cursor> {
        match (&self.body, &self.sense) {
            (Some(Body::Chunked(chunks)), Sense::Lines(lines)) if chunks.is_between_chunks() => {
                let is_at_rest =
                    lines.length == 0 && lines.name == Name::None && lines.id.is_none() && !lines.has_data;
                lines.last.filter(|_| is_at_rest && !chunks.is_done())
            }
            _ => None,
        }
    }

    /// This reader got the bytes that brought another one from where this is [at rest](Self::at_rest) to `cursor`.
    pub(crate) fn follow(&mut self, cursor: Cursor) {
        if let Sense::Lines(lines) = &mut self.sense {
            lines.last = Some(cursor);
        }
    }

    /// The value of the session's cookie, if the server has set one.
    pub(crate) fn take_session(&mut self) -> Option<Box<str>> {
        self.session.take()
    }

    /// Takes the next bytes of the connection and tells what came with them.
    ///
    /// # Errors
    /// Whatever breaks the order or the framing, and `gap`; and [`Stop::Ended`] after a `bye` or at the end.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(Note)) -> Result<(), Stop> {
        let Self { head, session, body, sense } = self;
        if let Some(body) = body {
            return body.feed(bytes, sense, &mut tell);
        }
        head.extend_from_slice(bytes);
        let Some((parsed, length)) = parse_head(head)? else { return Ok(()) };
        let Some(begun) = sense.body(&parsed)? else {
            return Err(Stop::Wrong(format!("no such stream: {}", String::from_utf8_lossy(head))));
        };
        *session = parsed.headers.set_cookie(SESSION).map(Box::from);
        let rest = std::mem::take(head);
        body.insert(begun).feed(&rest[length..], sense, &mut tell)
    }
}

impl Body {
    fn feed(&mut self, bytes: &[u8], sense: &mut Sense, tell: &mut impl FnMut(Note)) -> Result<(), Stop> {
        let is_done = match self {
            Self::Chunked(chunks) => {
                chunks.feed_each(bytes, |piece| sense.feed(piece, tell))?;
                chunks.is_done()
            }
            Self::Bare => {
                sense.feed(bytes, tell);
                false
            }
        };
        match (sense.stop(), is_done) {
            (Some(stop), _) => Err(stop),
            (None, true) => Err(Stop::Ended("the server ended the stream")),
            (None, false) => Ok(()),
        }
    }
}

impl Sense {
    /// The body that this head announces, if it is that of a stream.
    fn body(&self, head: &Head) -> Result<Option<Body>, String> {
        Ok(match (self, head.status, head.framing("GET")?) {
            (_, 200, Framing::Chunked) => Some(Body::Chunked(ChunkedDecoder::new())),
            (Self::Marks(_), 200, Framing::UntilClose) | (Self::Marks(_), 101, _) => Some(Body::Bare),
            _ => None,
        })
    }

    fn feed(&mut self, piece: &[u8], tell: &mut impl FnMut(Note)) {
        match self {
            Self::Lines(lines) => lines.feed(piece, tell),
            Self::Marks(marks) => marks.feed(piece, tell),
        }
    }

    fn stop(&mut self) -> Option<Stop> {
        match self {
            Self::Lines(lines) => lines.stop.take(),
            Self::Marks(marks) => marks.wrong.take().map(Stop::Wrong),
        }
    }
}

impl Lines {
    fn feed(&mut self, mut piece: &[u8], tell: &mut impl FnMut(Note)) {
        while let Some(end) = memchr(b'\n', piece) {
            self.append(&piece[..end]);
            piece = &piece[end + 1..];
            if let Err(stop) = self.end_of_line(tell) {
                self.stop.get_or_insert(stop);
            }
            self.length = 0;
        }
        self.append(piece);
    }

    fn append(&mut self, piece: &[u8]) {
        let have = self.length as usize;
        if have < LINE {
            let n = piece.len().min(LINE - have);
            self.line[have..have + n].copy_from_slice(&piece[..n]);
        }
        // A line of 4 GiB does not come: the server's own limits are far below.
        self.length = self.length.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
    }

    fn end_of_line(&mut self, tell: &mut impl FnMut(Note)) -> Result<(), Stop> {
        let kept = &self.line[..LINE.min(self.length as usize)];
        match kept {
            [] => self.end_of_block(tell)?,
            [b'd', b'a', b't', b'a', b':', ..] => self.has_data = true,
            [b'i', b'd', b':', b' ', cursor @ ..] => {
                let text = std::str::from_utf8(cursor).map_err(|e| e.to_string())?;
                self.id = Some(text.parse().map_err(|e| format!("{e}"))?);
            }
            b"event: hello" => self.name = Name::Hello,
            b"event: live" => self.name = Name::Live,
            b"event: ping" => self.name = Name::Ping,
            b"event: presence" => self.name = Name::Presence,
            b"event: gap" => self.name = Name::Gap,
            b"event: bye" => self.name = Name::Bye,
            [b'e', b'v', b'e', b'n', b't', b':', ..] => self.name = Name::Other,
            [b'r', b'e', b't', b'r', b'y', b':', ..] => {}
            other => {
                return Err(Stop::Wrong(format!("a strange line: {:?}", String::from_utf8_lossy(other))));
            }
        }
        Ok(())
    }

    fn end_of_block(&mut self, tell: &mut impl FnMut(Note)) -> Result<(), Stop> {
        let name = std::mem::replace(&mut self.name, Name::None);
        let id = self.id.take();
        if !std::mem::take(&mut self.has_data) {
            return Err(Stop::Wrong("a block without data".to_owned()));
        }
        let note = match (name, id) {
            (Name::None, Some(cursor)) => {
                let before = self.last.replace(cursor);
                if before.map(Cursor::next) != Some(cursor) {
                    let before = before.map_or("nothing".to_owned(), |b| b.to_string());
                    return Err(Stop::Wrong(format!(
                        "lost, repeated or out of order: {cursor} after {before}"
                    )));
                }
                Note::Event(cursor)
            }
            (Name::Hello, Some(cursor)) => match self.last.replace(cursor) {
                Some(asked) if asked != cursor => {
                    return Err(Stop::Wrong(format!("the stream begins at {cursor} and not at {asked}")));
                }
                _ => Note::Hello(cursor),
            },
            (Name::Live, None) => Note::Live,
            (Name::Ping, None) => Note::Ping,
            (Name::Presence, None) => Note::Presence,
            (Name::Other, None) => Note::Other,
            (Name::Bye, _) => return Err(Stop::Ended("the server said bye")),
            (Name::Gap, _) => return Err(Stop::Wrong("the server announced a gap".to_owned())),
            (_, id) => return Err(Stop::Wrong(format!("a block with the wrong fields (id {id:?})"))),
        };
        tell(note);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Parser;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn chunk(block: &str) -> String {
        format!("{:x}\r\n{block}\r\n", block.len())
    }

    fn event(seq: u64) -> String {
        format!("id: 1-{seq}\ndata: {{\"text\":\"{}\"}}\n\n", "안녕 id: 9-9 ".repeat(seq as usize % 30))
    }

    fn hello(seq: u64) -> String {
        format!("event: hello\nid: 1-{seq}\nretry: 1500\ndata: {{}}\n\n")
    }

    fn run(bytes: &[u8], size: usize) -> (Vec<Note>, Result<(), Stop>) {
        let (mut counter, mut notes) = (Counter::new(), Vec::new());
        let result = bytes.chunks(size).try_for_each(|piece| counter.feed(piece, |note| notes.push(note)));
        (notes, result)
    }

    #[test]
    fn it_sees_what_the_full_parser_sees_however_the_bytes_are_cut() {
        let blocks: Vec<String> = [hello(4), event(5), "event: live\ndata: {}\n\n".to_owned()]
            .into_iter()
            .chain((6..60).map(event))
            .chain(["event: ping\ndata: {}\n\n".to_owned(), "event: presence\ndata: {}\n\n".to_owned()])
            .collect();
        let mut parser = Parser::new();
        blocks.iter().for_each(|block| parser.feed(block.as_bytes()));
        let full: Vec<Note> = std::iter::from_fn(|| parser.next_event())
            .map(|e| match (e.name.as_str(), e.id) {
                ("message", Some(id)) => Note::Event(id.parse().unwrap()),
                ("hello", Some(id)) => Note::Hello(id.parse().unwrap()),
                ("live", None) => Note::Live,
                ("ping", None) => Note::Ping,
                ("presence", None) => Note::Presence,
                other => panic!("{other:?}"),
            })
            .collect();
        // Several blocks in a chunk, and one block in several chunks, are both allowed by HTTP.
        let stream = blocks.concat();
        for chunk_size in [7, 100, 5000] {
            let mut bytes = HEAD.as_bytes().to_vec();
            for piece in stream.as_bytes().chunks(chunk_size) {
                bytes.extend(
                    format!("{:x}\r\n", piece.len()).bytes().chain(piece.iter().copied()).chain(*b"\r\n"),
                );
            }
            for size in [1, 2, 3, 50, 1000, 100_000] {
                let (notes, result) = run(&bytes, size);
                assert_eq!((notes, result), (full.clone(), Ok(())), "{chunk_size} {size}");
            }
        }
    }

    #[test]
    fn anything_lost_repeated_or_out_of_order_is_an_error() {
        let stream = |blocks: &[String]| {
            let bytes = HEAD.to_owned() + &blocks.iter().map(|b| chunk(b)).collect::<String>();
            run(bytes.as_bytes(), 64).1
        };
        assert_eq!(stream(&[hello(4), event(5), event(6)]), Ok(()));
        let wrong: [&[String]; 9] = [
            &[hello(4), event(5), event(7)],
            &[hello(4), event(5), event(5)],
            &[hello(4), event(6), event(5)],
            &[event(5)],
            &[hello(4), "event: gap\nid: 1-9\ndata: {}\n\n".to_owned()],
            &[hello(4), "event: bye\ndata: {}\n\n".to_owned()],
            &[hello(4), "id: 1-5\n\n".to_owned()],
            &[hello(4), "data: {}\n\n".to_owned()],
            &[hello(4), "event: ping\nid: 1-5\ndata: {}\n\n".to_owned()],
        ];
        for blocks in wrong {
            assert!(stream(blocks).is_err(), "{blocks:?}");
        }
        let ended = |bytes: String| matches!(run(bytes.as_bytes(), 64).1, Err(Stop::Ended(_)));
        assert!(ended(format!("{HEAD}{}0\r\n\r\n", chunk(&hello(4)))));
        assert!(ended(format!("{HEAD}{}", chunk("event: bye\ndata: {}\n\n"))));
        assert!(run(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", 64).1.is_err());
    }

    #[test]
    fn whoever_comes_back_goes_on_where_they_were() {
        let bytes = format!("{HEAD}{}{}", chunk(&hello(4)), chunk(&event(5)));
        let feed = |counter: &mut Counter| counter.feed(bytes.as_bytes(), |_| ());
        let mut same = Counter::from_cursor(Some(Cursor::new(1, 4)));
        assert_eq!((feed(&mut same), same.cursor()), (Ok(()), Some(Cursor::new(1, 5))));
        assert!(matches!(feed(&mut Counter::from_cursor(Some(Cursor::new(1, 3)))), Err(Stop::Wrong(_))));
        let with_cookie = bytes.replacen("\r\n\r\n", "\r\nSet-Cookie: maru_session=v1.x; Path=/\r\n\r\n", 1);
        let mut guest = Counter::new();
        guest.feed(with_cookie.as_bytes(), |_| ()).unwrap();
        assert_eq!(guest.take_session().as_deref(), Some("v1.x"));
    }

    #[test]
    fn a_reader_costs_little_memory() {
        assert!(size_of::<Counter>() <= 208, "{}", size_of::<Counter>());
        let mut counter = Counter::new();
        counter.feed((HEAD.to_owned() + &chunk(&hello(4))).as_bytes(), |_| ()).unwrap();
        assert_eq!((counter.head.capacity(), counter.cursor()), (0, Some(Cursor::new(1, 4))));
    }
}
