//! An event as the bytes that every reader gets: encoded once, shared by all.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::{Cursor, Event, EventKind, Gap, Seq};

const BEFORE_CURSOR: &str = "id: ";
const BEFORE_JSON: &str = "\ndata: ";
const END: &str = "\n\n";
/// What begins an event that one pod tells the others.
const SAID: &str = "e ";

/// What a [`Frame`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// An event of the log.
    Event(EventKind),
    /// A gap, as those get it who read live. Its place is that of the last event that is missing, so it has its
    /// order among the events and no event has its place.
    Gap,
}

/// A log event as one block of an event stream (WHATWG HTML §9.2.5): `id: <cursor>`, one `data:` line of
/// JSON, an empty line. JSON escapes `\r` and `\n`, so no text can end the line. Or the gap before one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Place in the log.
    pub cursor: Cursor,
    /// What it is.
    pub kind: FrameKind,
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
        let kind = FrameKind::Event(event.kind);
        Frame { cursor: event.cursor(), kind, target: event.target, bytes: block.into(), json_at }
    }

    /// A gap, ready for a stream: `event: gap`, with the place behind it as its `id:`.
    pub fn gap(gap: &Gap) -> Self {
        let bytes = named("gap", Some(gap.to), None, gap);
        let json_at = bytes.iter().position(|b| *b == b'{').expect("a gap is a JSON object");
        let json_at = u8::try_from(json_at).expect("a name and a cursor are short");
        Frame { cursor: gap.to, kind: FrameKind::Gap, target: None, bytes, json_at }
    }

    /// The block, ready for a stream.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The JSON alone.
    pub fn json(&self) -> Bytes {
        self.bytes.slice(usize::from(self.json_at)..self.bytes.len() - END.len())
    }

    /// Is it a gap, and no event?
    pub fn is_gap(&self) -> bool {
        self.kind == FrameKind::Gap
    }

    /// Of a deletion: the message that it takes away.
    pub fn deletes(&self) -> Option<Seq> {
        self.target.filter(|_| self.kind == FrameKind::Event(EventKind::Delete))
    }

    /// Is this the message at `message`, or an edit of it? Those are what a deletion takes the text from.
    pub fn belongs_to(&self, message: Seq) -> bool {
        match self.kind {
            FrameKind::Event(EventKind::Message) => self.cursor.seq == message,
            FrameKind::Event(EventKind::Edit) => self.target == Some(message),
            FrameKind::Event(EventKind::Delete) | FrameKind::Gap => false,
        }
    }

    /// The same frame with the text taken away.
    #[must_use]
    pub fn scrubbed(&self) -> Self {
        match serde_json::from_slice::<Event>(&self.json()) {
            Ok(event) => Frame::new(&event.scrubbed()),
            // It came from elsewhere and is no event: nothing in it is worth keeping.
            Err(_) => Frame::around(self.cursor, self.kind, self.target, b"{}"),
        }
    }

    /// The event as one pod tells the others: `e <epoch>-<seq> <m|e|d> <target or -> <json>`, ASCII but for
    /// the JSON. A gap is nothing to tell: every pod finds its own, and none hears another's.
    pub fn said(&self) -> Bytes {
        let kind = match self.kind {
            FrameKind::Event(EventKind::Message) => 'm',
            FrameKind::Event(EventKind::Edit) => 'e',
            FrameKind::Event(EventKind::Delete) => 'd',
            FrameKind::Gap => 'g',
        };
        let target = self.target.map_or_else(|| "-".into(), |target| target.to_string());
        let head = format!("{SAID}{} {kind} {target} ", self.cursor);
        [head.as_bytes(), &self.json()].concat().into()
    }

    /// What another pod told, by [`said`](Self::said). The JSON is not parsed, which would cost more than all
    /// the rest, but it cannot end its line in a stream; `None` for everything that is not such a payload.
    pub fn heard(payload: &[u8]) -> Option<Self> {
        let payload = std::str::from_utf8(payload).ok()?.strip_prefix(SAID)?;
        let mut words = payload.splitn(4, ' ');
        let cursor: Cursor = words.next()?.parse().ok().filter(|cursor: &Cursor| cursor.seq > Seq(0))?;
        let kind = match words.next()? {
            "m" => EventKind::Message,
            "e" => EventKind::Edit,
            "d" => EventKind::Delete,
            _ => return None,
        };
        let target = match (kind, words.next()?) {
            (EventKind::Message, "-") => None,
            (EventKind::Edit | EventKind::Delete, target) => {
                Some(target.parse().ok().filter(|target| *target < cursor.seq)?)
            }
            (EventKind::Message, _) => return None,
        };
        let json = words.next()?.as_bytes();
        let is_object = json.first() == Some(&b'{') && json.len() > 1 && json.last() == Some(&b'}');
        let is_line = !json.iter().any(|b| *b < b' ');
        (is_object && is_line).then(|| Frame::around(cursor, FrameKind::Event(kind), target, json))
    }

    /// The `ts` of an event that was told, in ms since 1970. No text can pretend to be it, since a quotation mark
    /// within a string has a backslash before it.
    pub fn ts_of(said: &[u8]) -> Option<i64> {
        const FIELD: &[u8] = b",\"ts\":";
        let at = said.windows(FIELD.len()).rposition(|window| window == FIELD)? + FIELD.len();
        let digits = said[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        std::str::from_utf8(&said[at..at + digits]).ok()?.parse().ok()
    }

    /// The frame of an event whose JSON is ready.
    fn around(cursor: Cursor, kind: FrameKind, target: Option<Seq>, json: &[u8]) -> Self {
        let place = cursor.to_string();
        let json_at = BEFORE_CURSOR.len() + place.len() + BEFORE_JSON.len();
        let mut block = BytesMut::with_capacity(json_at + json.len() + END.len());
        for part in [BEFORE_CURSOR.as_bytes(), place.as_bytes(), BEFORE_JSON.as_bytes(), json, END.as_bytes()]
        {
            block.put_slice(part);
        }
        let json_at = u8::try_from(json_at).expect("a cursor has at most 27 bytes");
        Frame { cursor, kind, target, bytes: block.freeze(), json_at }
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
    use crate::event::{GapReason, User, UserId, UserKind};

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

    fn kinds() -> [Event; 3] {
        let message = event("hi\r\n");
        let edit = Event { kind: EventKind::Edit, target: Some(Seq(7)), ..message.clone() };
        let delete = Event { kind: EventKind::Delete, target: Some(Seq(7)), text: None, ..message.clone() };
        [message, edit, delete]
    }

    #[test]
    fn what_is_said_is_heard_as_the_same_frame() {
        let controls = Event { text: Some(Arc::from("\u{7f}\t\0")), ..event("") };
        for frame in kinds().iter().chain([&controls]).map(Frame::new) {
            assert_eq!(Frame::heard(&frame.said()), Some(frame));
        }
        let said = Frame::new(&kinds()[1]).said();
        assert!(said.starts_with(b"e 1-42 e 7 {\"room\":\"lobby\","));
    }

    #[test]
    fn what_would_break_a_stream_is_not_heard() {
        let payloads = [
            "",
            "e ",
            "e 1-42 m - ",
            "e 1-42 m - {",
            "e 1-42 m - [1]",
            "e 1-42 m - {\n}",
            "e 1-42 m - {\"text\":\"\r\n\ndata: x\"}",
            "e 1-0 m - {}",
            "e 0-1 m - {}",
            "e 1-42 m 7 {}",
            "e 1-42 e - {}",
            "e 1-42 d 43 {}",
            "e 1-42 g - {}",
            "e  1-42 m - {}",
            "f 1-42 m - {}",
        ];
        for payload in payloads {
            assert_eq!(Frame::heard(payload.as_bytes()), None, "{payload:?}");
        }
        assert_eq!(Frame::heard(b"e 1-42 m - {\"text\":\"\xff\"}"), None);
    }

    #[test]
    fn what_was_heard_and_is_no_event_can_be_scrubbed() {
        let frame = Frame::heard(b"e 1-42 m - {\"text\":\"secret\"}").unwrap();
        assert_eq!(frame.scrubbed().bytes(), "id: 1-42\ndata: {}\n\n");
    }

    #[test]
    fn a_gap_is_a_frame_at_the_place_behind_it() {
        let to = Cursor::new(2, 1000);
        let gap = Gap { from: Some(Cursor::new(1, 7)), to, reason: GapReason::Epoch };
        let frame = Frame::gap(&gap);
        assert_eq!((frame.cursor, frame.is_gap()), (to, true));
        let json = "{\"from\":\"1-7\",\"to\":\"2-1000\",\"reason\":\"epoch\"}";
        assert_eq!(frame.bytes(), &format!("event: gap\nid: 2-1000\ndata: {json}\n\n"));
        assert_eq!(frame.json(), json);
        assert!(Frame::heard(&frame.said()).is_none());
    }

    proptest! {
        #[test]
        fn no_payload_makes_more_than_one_block(
            head in "(e )?([0-9]{0,3}-[0-9]{0,3})? ?[medg]? ?(-|[0-9]{0,3})? ?",
            rest in proptest::collection::vec(any::<u8>(), 0..40),
            braces in any::<bool>(),
        ) {
            let mut payload = head.into_bytes();
            payload.extend(if braces { [b"{", &rest[..], b"}"].concat() } else { rest });
            if let Some(frame) = Frame::heard(&payload) {
                let block = std::str::from_utf8(frame.bytes()).unwrap();
                prop_assert_eq!(block.matches(['\n', '\r']).count(), 3);
                prop_assert_eq!(frame.said(), payload);
            }
        }

        #[test]
        fn any_text_is_heard_as_it_was_said(text in any::<String>()) {
            let frame = Frame::new(&event(&text));
            prop_assert_eq!(Frame::heard(&frame.said()), Some(frame));
        }
    }
}
