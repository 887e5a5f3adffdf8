//! What was done and seen: values only, so that a verdict can be had from hand-made histories too.

use crate::cursor::Cursor;
use crate::sse::Event;
use std::time::{Duration, Instant};

/// The common clock of a history. Copies tell the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn now(self) -> Duration {
        self.0.elapsed()
    }
}

/// Everything that happened in one room.
#[derive(Clone, Default, Debug)]
pub struct History {
    /// The room, for messages.
    pub room: String,
    /// Every POST, in any order.
    pub attempts: Vec<Attempt>,
    /// Every reader.
    pub readers: Vec<ReaderLog>,
    /// Every server that was told to end.
    pub drains: Vec<Drain>,
    /// The whole log as it is at the end, ascending; `None` where it could not be had, and then nothing is
    /// decided about acknowledged loss.
    pub end: Option<Vec<Kept>>,
    /// Whether a `gap` may occur at all in this history.
    pub gaps: Gaps,
}

/// Whether parts of the log may have become unreadable in this history.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Gaps {
    /// Nothing was trimmed and no store was harmed: any `gap` is a violation.
    #[default]
    Forbidden,
    /// Retention or a fault took a part away: it must be announced.
    Allowed,
}

/// One POST and how it came out.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Who spoke: whatever the server keeps `client_id`s apart by.
    pub person: String,
    /// The idempotency key, if one was given.
    pub client_id: Option<String>,
    /// Which server was asked, by any name; empty where it is not known.
    pub server: String,
    /// What was asked for.
    pub act: Act,
    /// Before the first byte was sent.
    pub sent: Duration,
    /// When the outcome was known.
    pub answered: Duration,
    /// How it came out.
    pub outcome: Outcome,
}

/// What a POST (or PATCH or DELETE) asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// A message with this text.
    Say(String),
    /// Another text for the message at a seq.
    Edit {
        /// The message's seq.
        target: u64,
        /// The new text.
        text: String,
    },
    /// The deletion of the message at a seq.
    Delete {
        /// The message's seq.
        target: u64,
    },
}

/// How a POST came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// 201, or 200 for a duplicate.
    Acknowledged(Ack),
    /// An answer that says that nothing was accepted, or no connection at all (status 0).
    Refused {
        /// The status code.
        status: u16,
        /// The stable `code` of the problem.
        code: String,
    },
    /// No answer, or one that leaves it open: it may have been carried out.
    Unknown(String),
}

/// An acknowledgement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// Where the event is.
    pub cursor: Cursor,
    /// The event's id.
    pub id: String,
    /// Milliseconds since 1970.
    pub ts: u64,
    /// Whether the server says that it had answered this `client_id` before.
    pub duplicate: bool,
}

/// A server that was told to end (SIGTERM), and what became of that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drain {
    /// Which, by the name that [`Attempt::server`] and [`Sight::Reached`] have for it.
    pub server: String,
    /// When it was told.
    pub told: Duration,
    /// How long it takes connections and messages as before, from then on.
    pub accepts: Duration,
    /// Over how long it sends off its readers after that.
    pub window: Duration,
    /// When it was first seen to be unready.
    pub unready: Option<Duration>,
    /// When it had ended, and its exit status.
    pub ended: Option<(Duration, i32)>,
}

/// One event of the log at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Where it is.
    pub cursor: Cursor,
    /// Its JSON as it was given.
    pub data: String,
}

/// What a connection asked to start from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// No cursor; the query decides.
    Fresh,
    /// The cursor that the reader itself had got to.
    Own(Cursor),
    /// Something that a test chose: another cursor, or nothing that is one.
    Chosen(String),
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The reader cut it.
    Cut,
    /// The server ended it in order.
    Ended,
    /// It broke.
    Broken(String),
}

/// One thing that a reader saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sight {
    /// A connection was opened.
    Connected(Asked),
    /// Which server that led to, by any name.
    Reached(String),
    /// `hello`, with the cursor from which this stream starts.
    Hello(Cursor),
    /// An entry of the log.
    Event {
        /// Its id line.
        cursor: Cursor,
        /// Its data, byte for byte.
        data: String,
    },
    /// `gap`, with the new cursor.
    Gap {
        /// Its id line.
        cursor: Cursor,
        /// Its data.
        data: String,
    },
    /// Any other event: `live`, `presence`, `bye` …
    Other {
        /// The event's name.
        name: String,
        /// Its data.
        data: String,
    },
    /// Something that a maru server must never send.
    Fault(String),
    /// The connection ended.
    Ended(End),
}

/// A sight and its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Time since the start of the history.
    pub at: Duration,
    /// What was seen.
    pub what: Sight,
}

/// All that one reader saw, across its connections, in order.
#[derive(Clone, Default, Debug)]
pub struct ReaderLog {
    pub(super) name: String,
    pub(super) seen: Vec<Seen>,
    pub(super) to_the_end: bool,
    cursor: Option<Cursor>,
}

impl ReaderLog {
    /// A reader that has seen nothing yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The reader's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything it saw.
    #[must_use]
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// The cursor that it would come back with: the last id it got, whatever event it was on.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// The entries of the log that it got, in order.
    pub fn events(&self) -> impl Iterator<Item = (Cursor, &str)> {
        self.seen.iter().filter_map(|s| match &s.what {
            Sight::Event { cursor, data } => Some((*cursor, data.as_str())),
            _ => None,
        })
    }

    /// Writes down a new connection.
    pub fn connected(&mut self, at: Duration, asked: Asked) {
        self.note(at, Sight::Connected(asked));
    }

    /// Writes down which server a connection led to.
    pub fn reached(&mut self, at: Duration, server: String) {
        self.note(at, Sight::Reached(server));
    }

    /// Writes down an event as the SSE parser gave it.
    pub fn saw(&mut self, at: Duration, event: &Event) {
        let data = event.data.clone();
        let cursor = event.id.as_ref().and_then(|id| id.parse().ok());
        let what = match (event.name.as_str(), cursor) {
            ("message", Some(cursor)) => Sight::Event { cursor, data },
            ("hello", Some(cursor)) => Sight::Hello(cursor),
            ("gap", Some(cursor)) => Sight::Gap { cursor, data },
            ("message" | "hello" | "gap", None) => {
                Sight::Fault(format!("{} with id {:?}: {data}", event.name, event.id))
            }
            (name, _) => Sight::Other { name: name.to_owned(), data },
        };
        self.note(at, what);
    }

    /// Writes down anything, for readers by other means (polling, NDJSON) and for hand-made histories.
    pub fn note(&mut self, at: Duration, what: Sight) {
        if let Sight::Hello(cursor) | Sight::Event { cursor, .. } | Sight::Gap { cursor, .. } = &what {
            self.cursor = Some(*cursor);
        }
        self.seen.push(Seen { at, what });
    }

    /// Writes down something that a maru server must never send.
    pub fn fault(&mut self, at: Duration, what: String) {
        self.note(at, Sight::Fault(what));
    }

    /// Writes down the end of a connection.
    pub fn ended(&mut self, at: Duration, how: End) {
        self.note(at, Sight::Ended(how));
    }

    /// Claims that this reader read until the end of the log: whatever it lacks there was lost.
    pub fn reads_to_the_end(&mut self) {
        self.to_the_end = true;
    }
}
