//! A strict, incremental reader of event streams (WHATWG HTML §9.2.6, *Interpreting an event stream*).
//!
//! [`Parser`] does exactly what a browser does with the bytes and, beside that, keeps a list of [`Fault`]s: what a
//! browser forgives but a maru server must never send. Bytes may come in pieces of any size.
//!
//! ```
//! let mut parser = loadtest::sse::Parser::new();
//! parser.feed(b"id: 1-42\ndata: {\"seq\":42}\n\n");
//! let event = parser.next_event().unwrap();
//! assert_eq!((event.name.as_str(), event.last_event_id.as_str()), ("message", "1-42"));
//! assert!(parser.faults().is_empty());
//! ```

mod strict;

pub use strict::{Fault, FaultKind};

use std::collections::VecDeque;

/// A line longer than this is an error of the sender: no event of maru comes near (bytes).
const LINE_LIMIT: usize = 1 << 20;

/// One event as a page would get it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The event's name; `message` when the block named none.
    pub name: String,
    /// The data lines joined by LF. Invalid UTF-8 has become U+FFFD (and a [`Fault`]).
    pub data: String,
    /// What the browser would send as `Last-Event-ID` from now on.
    pub last_event_id: String,
    /// The id that this very block carried, if it did.
    pub id: Option<String>,
    /// The reconnection time that this very block set, in milliseconds.
    pub retry: Option<u64>,
}

/// The fields of the block being read.
#[derive(Default)]
struct Block {
    name: String,
    data: String,
    data_lines: u32,
    id: Option<String>,
    retry: Option<u64>,
    fields: u32,
}

/// Reads a stream of bytes into events. See the module's words.
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was CR and ended a line: an LF right after it belongs to it.
    after_cr: bool,
    bom_settled: bool,
    block: Block,
    blocks: u64,
    last_event_id: String,
    retry: Option<u64>,
    ready: VecDeque<Event>,
    watch: strict::Watch,
}

impl Parser {
    /// A parser at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream. Events that became complete wait for [`Self::next_event`].
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                continue;
            }
            match byte {
                b'\n' => self.end_of_line(),
                b'\r' => {
                    self.watch.note(FaultKind::CarriageReturn, self.blocks, b"");
                    self.after_cr = true;
                    self.end_of_line();
                }
                _ if self.line.len() < LINE_LIMIT => self.line.push(byte),
                _ => self.watch.note(FaultKind::LineTooLong, self.blocks, b""),
            }
        }
    }

    /// The next complete event, oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// The `Last-Event-ID` of a reconnection now: the last id seen, also that of a block without data.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time last set by the stream, in milliseconds.
    #[must_use]
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Whether the stream is between two blocks: an end here loses nothing.
    #[must_use]
    pub fn is_between_blocks(&self) -> bool {
        self.line.is_empty() && self.block.fields == 0
    }

    /// What a maru server must never send and this one did (at most a hundred are kept).
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        self.watch.faults()
    }

    /// The stream has ended. An unfinished block is dropped, as the standard says, and counted as a fault:
    /// use it only where the server ended the stream, not where the reader cut it.
    pub fn finish(&mut self) {
        if !self.is_between_blocks() {
            let rest = std::mem::take(&mut self.line);
            self.watch.note(FaultKind::UnfinishedBlock, self.blocks, &rest);
            self.block = Block::default();
        }
    }

    fn end_of_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if !self.bom_settled {
            self.bom_settled = true;
            if line.starts_with(b"\xef\xbb\xbf") {
                self.watch.note(FaultKind::ByteOrderMark, self.blocks, &line);
                line.drain(..3);
            }
        }
        if line.is_empty() {
            self.dispatch();
        } else if line[0] == b':' {
            self.watch.note(FaultKind::Comment, self.blocks, &line);
        } else {
            self.field(&line);
        }
        line.clear();
        self.line = line;
    }

    fn field(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            self.watch.note(FaultKind::InvalidUtf8, self.blocks, line);
        }
        let (name, value) = text
            .split_once(':')
            .map_or((&*text, ""), |(name, value)| (name, value.strip_prefix(' ').unwrap_or(value)));
        self.block.fields += 1;
        match name {
            "event" => {
                if !self.block.name.is_empty() {
                    self.watch.note(FaultKind::RepeatedField, self.blocks, line);
                }
                value.clone_into(&mut self.block.name);
            }
            "data" => {
                self.block.data.push_str(value);
                self.block.data.push('\n');
                self.block.data_lines += 1;
            }
            "id" if value.contains('\0') => self.watch.note(FaultKind::IdWithNul, self.blocks, line),
            "id" => {
                if self.block.id.is_some() {
                    self.watch.note(FaultKind::RepeatedField, self.blocks, line);
                }
                self.block.id = Some(value.to_owned());
            }
            // An empty value counts as no digits, as browsers have it.
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                match value.parse() {
                    Ok(milliseconds) => self.block.retry = Some(milliseconds),
                    Err(_) => self.watch.note(FaultKind::BadRetry, self.blocks, line),
                }
            }
            "retry" => self.watch.note(FaultKind::BadRetry, self.blocks, line),
            _ => self.watch.note(FaultKind::UnknownField, self.blocks, line),
        }
        // The reconnection time counts from its line on, the id only from the end of its block on.
        self.retry = self.block.retry.or(self.retry);
    }

    fn dispatch(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.watch.block(&block, self.blocks);
        self.blocks += 1;
        if let Some(id) = &block.id {
            self.last_event_id.clone_from(id);
        }
        if block.data_lines == 0 {
            return;
        }
        let mut data = block.data;
        data.pop();
        let name = if block.name.is_empty() { "message".to_owned() } else { block.name };
        let last_event_id = self.last_event_id.clone();
        self.ready.push_back(Event { name, data, last_event_id, id: block.id, retry: block.retry });
    }
}

#[cfg(test)]
mod tests;
