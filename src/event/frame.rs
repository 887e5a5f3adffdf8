//! An event as the bytes that every reader gets: encoded once, shared by all.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::{Cursor, Event, EventKind, Gap, LogId, RoomId, Seq, UserId, aside::is_object};

const BEFORE_CURSOR: &str = "id: ";
const BEFORE_JSON: &str = "\ndata: ";
const END: &str = "\n\n";
/// What begins an event that one pod tells the others.
const SAID: &str = "e ";
/// What begins an entry of an inbox that one pod tells the others.
const SAID_INBOX: &str = "i ";
/// The JSON of an entry that cannot be given any more.
const GONE: &str = r#"{"type":"gone"}"#;

/// What a [`Frame`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// An event of the log.
    Event(EventKind),
    /// A gap, as those get it who read live. Its place is that of the last event that is missing, so it has its
    /// order among the events and no event has its place.
    Gap,
    /// An entry of an inbox whose event cannot be given any more.
    Gone,
}

/// Which event an entry of an inbox points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// In whose log it is.
    pub room: RoomId,
    /// Its place there.
    pub seq: Seq,
}

/// A message that frames may belong to, in a room's log or in an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `None`: of the room whose log this is.
    pub room: Option<RoomId>,
    /// Its place in the room's log.
    pub message: Seq,
}

/// What a frame that passes takes away from those before it, wherever they are kept for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The texts of a message and of its edits.
    Text(Subject),
    /// Of an inbox: all that is of a room whose member its person is not any more.
    Room(RoomId),
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
    /// Of an entry of an inbox: where its event is.
    pub origin: Option<Origin>,
    bytes: Bytes,
    json_at: u8,
}

impl Frame {
    /// Encodes an event.
    pub fn new(event: &Event) -> Self {
        Frame::encoded(event, event.cursor(), None)
    }

    /// Encodes an event as the entry of an inbox at `cursor` that points to it: the same JSON with another `id:`.
    pub fn pointing(event: &Event, room: RoomId, cursor: Cursor) -> Self {
        Frame::encoded(event, cursor, Some(Origin { room, seq: event.seq }))
    }

    /// The same for an event that is encoded already.
    #[must_use]
    pub fn pointed_to(&self, room: RoomId, cursor: Cursor) -> Self {
        let origin = Some(Origin { room, seq: self.cursor.seq });
        Frame::around(cursor, self.kind, self.target, origin, &self.json())
    }

    /// An entry of an inbox whose event cannot be given any more: the person left its room, or retention took it.
    pub fn gone(cursor: Cursor) -> Self {
        Frame::around(cursor, FrameKind::Gone, None, None, GONE.as_bytes())
    }

    fn encoded(event: &Event, cursor: Cursor, origin: Option<Origin>) -> Self {
        let mut block = Vec::with_capacity(256 + event.text.as_ref().map_or(0, |text| text.len()));
        block.extend_from_slice(BEFORE_CURSOR.as_bytes());
        block.extend_from_slice(cursor.to_string().as_bytes());
        block.extend_from_slice(BEFORE_JSON.as_bytes());
        let json_at = u8::try_from(block.len()).expect("a cursor has at most 27 bytes");
        serde_json::to_writer(&mut block, event).expect("an event is plain data, and memory does not fail");
        block.extend_from_slice(END.as_bytes());
        let kind = FrameKind::Event(event.kind);
        Frame { cursor, kind, target: event.target, origin, bytes: block.into(), json_at }
    }

    /// A gap, ready for a stream: `event: gap`, with the place behind it as its `id:`.
    pub fn gap(gap: &Gap) -> Self {
        let bytes = named("gap", Some(gap.to), None, gap);
        let json_at = bytes.iter().position(|b| *b == b'{').expect("a gap is a JSON object");
        let json_at = u8::try_from(json_at).expect("a name and a cursor are short");
        Frame { cursor: gap.to, kind: FrameKind::Gap, target: None, origin: None, bytes, json_at }
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
    pub fn deletes(&self) -> Option<Subject> {
        let target = self.target.filter(|_| self.kind == FrameKind::Event(EventKind::Delete));
        target.map(|message| self.subject(message))
    }

    /// What it takes away from those before it in this log.
    pub fn takes(&self, log: LogId) -> Option<Taken> {
        if let Some(message) = self.deletes() {
            return Some(Taken::Text(message));
        }
        let origin = self.origin?;
        // The log of an inbox has the id of its person.
        self.leaver().filter(|leaver| leaver.0 == log.0).map(|_| Taken::Room(origin.room))
    }

    /// This frame without what was taken away; `None` when nothing of it was.
    pub fn without(&self, taken: Taken) -> Option<Self> {
        match taken {
            Taken::Text(message) => self.belongs_to(message).then(|| self.scrubbed()),
            Taken::Room(room) => {
                self.origin.is_some_and(|origin| origin.room == room).then(|| Frame::gone(self.cursor))
            }
        }
    }

    /// Is this the message, or an edit of it? Those are what a deletion takes the text from.
    pub fn belongs_to(&self, message: Subject) -> bool {
        let seq = self.origin.map_or(self.cursor.seq, |origin| origin.seq);
        match self.kind {
            FrameKind::Event(EventKind::Message) => self.subject(seq) == message,
            FrameKind::Event(EventKind::Edit) => {
                self.target.is_some_and(|target| self.subject(target) == message)
            }
            _ => false,
        }
    }

    fn subject(&self, message: Seq) -> Subject {
        Subject { room: self.origin.map(|origin| origin.room), message }
    }

    /// Of a leave: who is not a member any more.
    pub fn leaver(&self) -> Option<UserId> {
        if self.kind != FrameKind::Event(EventKind::Leave) {
            return None;
        }
        serde_json::from_slice::<Event>(&self.json()).ok().map(|event| event.user.id)
    }

    /// The same frame with the text taken away.
    #[must_use]
    pub fn scrubbed(&self) -> Self {
        match serde_json::from_slice::<Event>(&self.json()) {
            Ok(event) => Frame::encoded(&event.scrubbed(), self.cursor, self.origin),
            // It came from elsewhere and is no event: nothing in it is worth keeping.
            Err(_) => Frame::around(self.cursor, self.kind, self.target, self.origin, b"{}"),
        }
    }

    /// The event as one pod tells the others: `e <epoch>-<seq> <kind> <target or -> <json>`, and an entry of an
    /// inbox `i <epoch>-<seq> <room> <seq there> <kind> <target or -> <json>`; ASCII but for the JSON. The kind is
    /// the first letter of its word. A gap is nothing to tell: every pod finds its own, and none hears another's.
    pub fn said(&self) -> Bytes {
        let kind = match self.kind {
            FrameKind::Event(kind) => kind.letter(),
            FrameKind::Gap | FrameKind::Gone => '-',
        };
        let target = self.target.map_or_else(|| "-".into(), |target| target.to_string());
        let head = match self.origin {
            None => format!("{SAID}{} {kind} {target} ", self.cursor),
            Some(Origin { room, seq }) => {
                format!("{SAID_INBOX}{} {} {seq} {kind} {target} ", self.cursor, room.0)
            }
        };
        [head.as_bytes(), &self.json()].concat().into()
    }

    /// What another pod told, by [`said`](Self::said). The JSON is not parsed, which would cost more than all
    /// the rest, but it cannot end its line in a stream; `None` for everything that is not such a payload.
    pub fn heard(payload: &[u8]) -> Option<Self> {
        let payload = std::str::from_utf8(payload).ok()?;
        let (is_inbox, payload) = match payload.strip_prefix(SAID) {
            Some(rest) => (false, rest),
            None => (true, payload.strip_prefix(SAID_INBOX)?),
        };
        let mut words = payload.splitn(if is_inbox { 6 } else { 4 }, ' ');
        let is_place = |seq: &Seq| *seq > Seq(0);
        let cursor: Cursor = words.next()?.parse().ok().filter(|cursor: &Cursor| is_place(&cursor.seq))?;
        let origin = match is_inbox {
            false => None,
            true => Some(Origin {
                room: RoomId(words.next()?.parse().ok()?),
                seq: words.next()?.parse().ok().filter(is_place)?,
            }),
        };
        let kind = EventKind::of_letter(words.next()?)?;
        let seq = origin.map_or(cursor.seq, |origin| origin.seq);
        let target = match (kind, words.next()?) {
            (EventKind::Edit | EventKind::Delete, target) => {
                Some(target.parse().ok().filter(|target| *target < seq)?)
            }
            (_, "-") => None,
            _ => return None,
        };
        let json = words.next()?.as_bytes();
        is_object(json).then(|| Frame::around(cursor, FrameKind::Event(kind), target, origin, json))
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
    fn around(
        cursor: Cursor,
        kind: FrameKind,
        target: Option<Seq>,
        origin: Option<Origin>,
        json: &[u8],
    ) -> Self {
        let place = cursor.to_string();
        let json_at = BEFORE_CURSOR.len() + place.len() + BEFORE_JSON.len();
        let mut block = BytesMut::with_capacity(json_at + json.len() + END.len());
        for part in [BEFORE_CURSOR.as_bytes(), place.as_bytes(), BEFORE_JSON.as_bytes(), json, END.as_bytes()]
        {
            block.put_slice(part);
        }
        let json_at = u8::try_from(json_at).expect("a cursor has at most 27 bytes");
        Frame { cursor, kind, target, origin, bytes: block.freeze(), json_at }
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
            by: None,
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
    fn a_leave_takes_its_room_out_of_the_leavers_inbox_alone() {
        let (ann, bob) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let (room, other) = (RoomId(Uuid::from_u128(3)), RoomId(Uuid::from_u128(4)));
        let said = Frame::pointing(&event("secret"), room, Cursor::new(1, 7));
        let elsewhere = Frame::pointing(&event("kept"), other, Cursor::new(1, 8));
        let user = User { id: ann, ..event("").user };
        let leave = Event { kind: EventKind::Leave, seq: Seq(43), text: None, user, ..event("") };
        let left = Frame::pointing(&leave, room, Cursor::new(1, 9));
        assert_eq!(left.takes(LogId(bob.0)), None);
        let taken = left.takes(LogId(ann.0)).unwrap();
        assert_eq!(said.without(taken), Some(Frame::gone(said.cursor)));
        assert_eq!(elsewhere.without(taken), None);
        assert_eq!(Frame::gone(said.cursor).without(taken), None);
        // In the room itself it takes nothing away.
        assert_eq!(Frame::new(&leave).takes(room.into()), None);
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

    fn kinds() -> [Event; 5] {
        let message = event("hi\r\n");
        let edit = Event { kind: EventKind::Edit, target: Some(Seq(7)), ..message.clone() };
        let delete = Event { kind: EventKind::Delete, target: Some(Seq(7)), text: None, ..message.clone() };
        let join =
            Event { kind: EventKind::Join, text: None, by: Some(message.user.clone()), ..message.clone() };
        let leave = Event { kind: EventKind::Leave, by: None, ..join.clone() };
        [message, edit, delete, join, leave]
    }

    #[test]
    fn what_is_said_is_heard_as_the_same_frame() {
        let controls = Event { text: Some(Arc::from("\u{7f}\t\0")), ..event("") };
        for frame in kinds().iter().chain([&controls]).map(Frame::new) {
            assert_eq!(Frame::heard(&frame.said()), Some(frame));
        }
        for event in kinds() {
            let frame = Frame::pointing(&event, RoomId(Uuid::from_u128(9)), Cursor::new(3, 7));
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
            "e 1-42 - - {}",
            "e 1-42 join - {}",
            "e 1-42 l 7 {}",
            "i 1-42 m - {}",
            "i 1-42 room 1 m - {}",
            "i 1-42 00000000-0000-0000-0000-000000000009 0 m - {}",
            "i 1-42 00000000-0000-0000-0000-000000000009 7 e 7 {}",
            "e  1-42 m - {}",
            "f 1-42 m - {}",
        ];
        for payload in payloads {
            assert_eq!(Frame::heard(payload.as_bytes()), None, "{payload:?}");
        }
        assert_eq!(Frame::heard(b"e 1-42 m - {\"text\":\"\xff\"}"), None);
    }

    #[test]
    fn an_entry_of_an_inbox_belongs_to_its_message_and_not_to_its_own_place() {
        let room = RoomId(Uuid::from_u128(9));
        let [message, edit, delete, ..] = kinds();
        let message = Event { seq: Seq(7), ..message };
        let at = |event: &Event, room, n| Frame::pointing(event, room, Cursor::new(1, n));
        let deleted = at(&delete, room, 100).deletes().unwrap();
        assert!(at(&message, room, 98).belongs_to(deleted) && at(&edit, room, 99).belongs_to(deleted));
        assert!(!at(&message, RoomId(Uuid::from_u128(8)), 7).belongs_to(deleted));
        assert!(!at(&Event { seq: Seq(8), ..message.clone() }, room, 7).belongs_to(deleted));
        assert!(!Frame::new(&message).belongs_to(deleted));
        let scrubbed = at(&message, room, 98).scrubbed();
        assert_eq!(
            (scrubbed.cursor, scrubbed.origin),
            (Cursor::new(1, 98), Some(Origin { room, seq: Seq(7) }))
        );
    }

    #[test]
    fn a_leave_says_who() {
        let [.., join, leave] = kinds();
        assert_eq!(Frame::new(&leave).leaver(), Some(leave.user.id));
        assert_eq!(Frame::new(&join).leaver(), None);
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
