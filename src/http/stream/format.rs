//! The two ways to write a stream: as an event stream, or as one JSON object a line.

use bytes::Bytes;
use hyper::header;
use serde::Serialize;

use crate::{
    event::{self, Cursor, Frame},
    http::call::Call,
};

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `text/event-stream` (WHATWG HTML §9.2).
    Sse,
    /// `application/x-ndjson`: `event` and `cursor` are fields of each line.
    Ndjson,
}

impl Format {
    /// What the client asks for.
    pub(super) fn of(call: &Call) -> Self {
        let accept = call.header(header::ACCEPT).and_then(Result::ok).unwrap_or_default();
        if accept.contains("application/x-ndjson") { Format::Ndjson } else { Format::Sse }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Sse => "text/event-stream",
            Format::Ndjson => "application/x-ndjson",
        }
    }

    /// An event of the log, or a gap in it.
    pub(super) fn event(self, frame: &Frame) -> Bytes {
        match self {
            Format::Sse => frame.bytes().clone(),
            Format::Ndjson if frame.is_gap() => self.aside(frame.bytes()),
            Format::Ndjson => line("message", Some(&frame.cursor.to_string()), None, &frame.json()),
        }
    }

    /// What is not in the log.
    pub(super) fn named<T: Serialize>(
        self,
        name: &str,
        cursor: Option<Cursor>,
        retry: Option<u32>,
        data: &T,
    ) -> Bytes {
        self.aside(&event::named(name, cursor, retry, data))
    }

    /// Why the stream ends, and in how many ms to come back.
    pub(super) fn bye(self, code: &str, retry: u32) -> Bytes {
        self.aside(&event::bye(code, retry))
    }

    /// A block that was made for event streams.
    pub(super) fn aside(self, block: &Bytes) -> Bytes {
        if self == Format::Sse {
            return block.clone();
        }
        let (mut name, mut cursor, mut retry, mut data) = ("message", None, None, &b"{}"[..]);
        for text in std::str::from_utf8(block).unwrap_or_default().lines() {
            match text.split_once(": ") {
                Some(("event", value)) => name = value,
                Some(("id", value)) => cursor = Some(value),
                Some(("retry", value)) => retry = Some(value),
                Some(("data", value)) => data = value.as_bytes(),
                _ => {}
            }
        }
        line(name, cursor, retry, data)
    }
}

/// A JSON object with up to three more fields in front.
fn line(name: &str, cursor: Option<&str>, retry: Option<&str>, object: &[u8]) -> Bytes {
    let mut line = format!("{{\"event\":\"{name}\"").into_bytes();
    // `hello` and `live` say their cursor themselves.
    if let Some(cursor) = cursor.filter(|_| !object.windows(10).any(|w| w == b"\"cursor\":\"")) {
        line.extend_from_slice(format!(",\"cursor\":\"{cursor}\"").as_bytes());
    }
    if let Some(ms) = retry {
        line.extend_from_slice(format!(",\"retry\":{ms}").as_bytes());
    }
    if object.len() > 2 {
        line.push(b',');
    }
    line.extend_from_slice(&object[1..]);
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        event::{Gap, GapReason},
        hub::tests::frame,
    };

    fn parsed(line: &Bytes) -> Value {
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn a_line_has_the_event_and_its_cursor() {
        let line = parsed(&Format::Ndjson.event(&frame(7)));
        assert_eq!(
            (&line["event"], &line["cursor"], &line["seq"]),
            (&json!("message"), &json!("1-7"), &json!(7))
        );
    }

    #[test]
    fn a_gap_in_the_log_is_a_named_event() {
        let (from, to) = (Some(Cursor::new(1, 7)), Cursor::new(2, 100));
        let gap = Gap { from, to, reason: GapReason::Epoch };
        let frame = Frame::gap(&gap);
        assert_eq!(Format::Sse.event(&frame), Format::Sse.named("gap", Some(to), None, &gap));
        let line = parsed(&Format::Ndjson.event(&frame));
        let expected =
            json!({"event": "gap", "cursor": "2-100", "from": "1-7", "to": "2-100", "reason": "epoch"});
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_not_in_the_log_has_its_name() {
        let bye = parsed(&Format::Ndjson.bye("draining", 1000));
        assert_eq!(bye, json!({"event": "bye", "retry": 1000, "code": "draining"}));
        let gap = parsed(&Format::Ndjson.named("gap", Some(Cursor::new(1, 2)), None, &json!({"from": null})));
        assert_eq!(gap, json!({"event": "gap", "cursor": "1-2", "from": null}));
        assert_eq!(parsed(&Format::Ndjson.named("live", None, None, &json!({}))), json!({"event": "live"}));
    }
}
