//! What a browser forgives and a maru server must never send.

use super::Block;
use crate::cursor::Cursor;
use std::fmt;

/// Kept faults: enough to see a pattern, few enough for a stream that is wrong from end to end.
const KEPT: usize = 100;

/// Named events of CONTRACT.md §4.
const NAMES: [&str; 8] = ["hello", "live", "gap", "ping", "presence", "typing", "read", "bye"];

/// The rule that was broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A byte order mark at the start.
    ByteOrderMark,
    /// A line ended by CR or CRLF.
    CarriageReturn,
    /// A line of more than 1 MiB.
    LineTooLong,
    /// Bytes that are no UTF-8.
    InvalidUtf8,
    /// A comment line: everything that is not in the log is a named event.
    Comment,
    /// A field that the standard does not know.
    UnknownField,
    /// `event` or `id` twice in one block.
    RepeatedField,
    /// An id with NUL, which browsers ignore: the reader would come back with an old cursor.
    IdWithNul,
    /// An id that is no cursor.
    IdNotACursor,
    /// A retry of anything but digits.
    BadRetry,
    /// `retry` elsewhere than in `hello` or `bye`.
    StrayRetry,
    /// A block that moves the cursor (`id:`) without giving the event that it stands for.
    IdWithoutData,
    /// Any other block without `data:`: browsers drop it unseen.
    BlockWithoutData,
    /// A block without any field.
    EmptyBlock,
    /// More than one data line.
    ManyDataLines,
    /// Data that is not JSON.
    DataNotJson,
    /// An entry of the log without an id: a reader could not come back to it.
    EventWithoutId,
    /// `hello` or `gap` without the new cursor.
    ControlWithoutId,
    /// A named event other than `hello` and `gap` with an id.
    NamedEventWithId,
    /// A named event that the contract does not know.
    UnknownName,
    /// The server ended the stream in the middle of a block.
    UnfinishedBlock,
}

/// One broken rule and where it happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which rule.
    pub kind: FaultKind,
    /// The block, counted from 0 at the start of the stream.
    pub block: u64,
    /// The line or data in question, shortened.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in block {}: {:?}", self.kind, self.block, self.text)
    }
}

/// Collects faults.
#[derive(Default)]
pub(super) struct Watch {
    faults: Vec<Fault>,
}

impl Watch {
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub(super) fn note(&mut self, kind: FaultKind, block: u64, text: &[u8]) {
        if self.faults.len() < KEPT {
            let text = String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned();
            self.faults.push(Fault { kind, block, text });
        }
    }

    /// Judges a whole block at its end.
    pub(super) fn block(&mut self, block: &Block, number: u64) {
        let mut note = |kind, text: &str| self.note(kind, number, text.as_bytes());
        let name = block.name.as_str();
        let data = block.data.trim_end_matches('\n');
        if block.fields == 0 {
            return note(FaultKind::EmptyBlock, "");
        }
        match (block.data_lines, &block.id) {
            (0, Some(id)) => return note(FaultKind::IdWithoutData, id),
            (0, None) => return note(FaultKind::BlockWithoutData, name),
            (1, _) if serde_json::from_str::<serde::de::IgnoredAny>(data).is_err() => {
                note(FaultKind::DataNotJson, data);
            }
            (1, _) => {}
            _ => note(FaultKind::ManyDataLines, data),
        }
        match (name, &block.id) {
            ("", None) => note(FaultKind::EventWithoutId, data),
            ("hello" | "gap", None) => note(FaultKind::ControlWithoutId, data),
            ("" | "hello" | "gap", Some(id)) => {
                if id.parse::<Cursor>().is_err() {
                    note(FaultKind::IdNotACursor, id);
                }
            }
            (_, Some(id)) => note(FaultKind::NamedEventWithId, id),
            (_, None) => {}
        }
        if !name.is_empty() && !NAMES.contains(&name) {
            note(FaultKind::UnknownName, name);
        }
        if block.retry.is_some() && !matches!(name, "hello" | "bye") {
            note(FaultKind::StrayRetry, name);
        }
    }
}
