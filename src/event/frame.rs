//! An event as the bytes that every reader gets: encoded once, shared by all.

use bytes::Bytes;
use serde::Serialize;

use super::{Cursor, Event, EventKind, Seq};

const BEFORE_CURSOR: &str = "id: ";
const BEFORE_JSON: &str = "\ndata: ";
const END: &str = "\n\n";

/// A log event as one block of an event stream (WHATWG HTML §9.2.5): `id: <cursor>`, one `data:` line of
/// JSON, an empty line. JSON escapes `\r` and `\n`, so no text can end the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Place in the log.
    pub cursor: Cursor,
    /// What it is.
    pub kind: EventKind,
    /// Of an edit or a deletion: the message it is about.
    pub target: Option<Seq>,
    bytes: Bytes,
    json_at: u8,
}

impl Frame {
    /// Encodes an event.
    pub fn new(event: &Event) -> Self {
        let mut block = Vec::with_capacity(256 + event.text.as_ref().map_or(0, |text| text.len()));
        block.extend_from_slice(BEFORE_CURSOR.as_bytes());
        block.extend_from_slice(event.cursor().to_string().as_bytes());
        block.extend_from_slice(BEFORE_JSON.as_bytes());
        let json_at = u8::try_from(block.len()).expect("a cursor has at most 27 bytes");
        serde_json::to_writer(&mut block, event).expect("an event is plain data, and memory does not fail");
        block.extend_from_slice(END.as_bytes());
        Frame { cursor: event.cursor(), kind: event.kind, target: event.target, bytes: block.into(), json_at }
    }

    /// The block, ready for a stream.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The event's JSON alone.
    pub fn json(&self) -> Bytes {
        self.bytes.slice(usize::from(self.json_at)..self.bytes.len() - END.len())
    }

    /// Is this the message at `message`, or an edit of it? Those are what a deletion takes the text from.
    pub fn belongs_to(&self, message: Seq) -> bool {
        match self.kind {
            EventKind::Message => self.cursor.seq == message,
            EventKind::Edit => self.target == Some(message),
            EventKind::Delete => false,
        }
    }

    /// The same frame with the text taken away.
    #[must_use]
    pub fn scrubbed(&self) -> Self {
        let event: Event = serde_json::from_slice(&self.json()).expect("a frame holds the JSON of an event");
        Frame::new(&event.scrubbed())
    }
}

/// A block that is not in the log: `event: <name>`, with an `id:` only where the reader's place changes
/// (`hello`, `gap`), and a `retry:` in ms only in `hello` and `bye`.
pub fn named<T: Serialize>(name: &str, id: Option<Cursor>, retry: Option<u32>, data: &T) -> Bytes {
    let mut block = format!("event: {name}\n");
    if let Some(cursor) = id {
        block.push_str(&format!("id: {cursor}\n"));
    }
    if let Some(ms) = retry {
        block.push_str(&format!("retry: {ms}\n"));
    }
    block.push_str("data: ");
    let mut block = block.into_bytes();
    serde_json::to_writer(&mut block, data).expect("what is not in the log is plain data too");
    block.extend_from_slice(END.as_bytes());
    block.into()
}

/// `event: bye`: why a stream ends, and in how many ms to come back.
pub fn bye(code: &str, retry: u32) -> Bytes {
    #[derive(Serialize)]
    struct Bye<'a> {
        code: &'a str,
    }
    named("bye", None, Some(retry), &Bye { code })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::event::{User, UserId, UserKind};

    fn event(text: &str) -> Event {
        Event {
            room: Arc::from("lobby"),
            epoch: crate::event::Epoch(1),
            seq: Seq(42),
            id: Uuid::nil(),
            kind: EventKind::Message,
            target: None,
            user: User { id: UserId(Uuid::nil()), name: "Ann".parse().unwrap(), kind: UserKind::Guest },
            text: Some(Arc::from(text)),
            status: None,
            edited: None,
            ts: 1732240000123,
            client_id: None,
        }
    }

    #[test]
    fn the_fields_have_their_order() {
        let frame = Frame::new(&event("hi"));
        let expected = concat!(
            "id: 1-42\ndata: {\"room\":\"lobby\",\"epoch\":1,\"seq\":42,",
            "\"id\":\"00000000-0000-0000-0000-000000000000\",\"type\":\"message\",",
            "\"user\":{\"id\":\"00000000-0000-0000-0000-000000000000\",\"name\":\"Ann\",\"kind\":\"guest\"},",
            "\"text\":\"hi\",\"ts\":1732240000123}\n\n"
        );
        assert_eq!(frame.bytes(), expected);
    }

    #[test]
    fn a_scrubbed_frame_says_so() {
        let frame = Frame::new(&event("secret")).scrubbed();
        let json = String::from_utf8(frame.json().to_vec()).unwrap();
        assert!(json.contains(r#""text":"","status":"deleted""#) && !json.contains("secret"), "{json}");
    }

    proptest! {
        #[test]
        fn no_text_ends_its_line(text in any::<String>()) {
            let frame = Frame::new(&event(&text));
            let block = std::str::from_utf8(frame.bytes()).unwrap();
            prop_assert_eq!(block.matches(['\n', '\r']).count(), 3);
            let back: Event = serde_json::from_slice(&frame.json()).unwrap();
            prop_assert_eq!(&*back.text.unwrap(), &text);
        }
    }

    #[test]
    fn hostile_texts_come_back_as_they_were() {
        for text in [
            "\r",
            "\n",
            "\r\n\r\n",
            "\0",
            "\u{feff}",
            "\u{2028}\u{2029}",
            "data: x",
            "\nid: 9-9\n\n",
            "한국어",
            "👩‍👩‍👧‍👦",
            "</script>",
        ] {
            let back: Event = serde_json::from_slice(&Frame::new(&event(text)).json()).unwrap();
            assert_eq!(&*back.text.unwrap(), text);
        }
    }
}
