//! What strangers send, read by the very files that read it in the server, and what has to be true of whatever comes
//! out. Each function is the body of the target of its name; a panic is a finding.
//!
//! The files are those of `../src` (links), and not a library's: they import nothing of ours, and to watch them one need
//! not build a server with a database around them.

#![allow(dead_code, unreachable_pub)] // Not all of a file is asked for here.

use event::{
    ClientId, Cursor, Epoch, Event, EventKind, Extent, Frame, Name, Seq, Slug, Text, User, UserId, UserKind,
};
use hub::resume::{self, Plan, Start};
use uuid::Uuid;

pub mod event;

pub mod hub {
    pub mod resume;
}

mod http {
    mod framing;
    mod json;

    pub(crate) fn object<T: serde::de::DeserializeOwned>(body: &[u8]) -> Option<T> {
        json::object(body).ok()
    }

    /// All that is passed on of these pieces of a connection, and the status of the refusal.
    pub(crate) fn framed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Option<u16>) {
        let mut framing = framing::Framing::new(framing::Limits::default());
        let mut passed = Vec::new();
        for piece in pieces {
            framing.take(piece);
            passed.extend_from_slice(framing.ready());
            framing.pass(framing.ready().len());
        }
        (passed, framing.refusal().map(|refusal| refusal.status))
    }
}

fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// A cursor has one spelling, or two: with zeros in front.
pub fn cursor(input: &[u8]) {
    let Some(cursor) = text(input).and_then(|s| s.parse::<Cursor>().ok()) else { return };
    assert!(cursor.epoch > Epoch(0) && cursor.seq <= Seq::MAX);
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    let json = serde_json::to_string(&cursor).unwrap();
    assert_eq!(json, format!("\"{cursor}\""));
}

/// A room's name is its own name, and nothing that a key or a path is made of.
pub fn slug(input: &[u8]) {
    let Some(slug) = text(input).and_then(|s| s.parse::<Slug>().ok()) else { return };
    let name = slug.as_str();
    assert_eq!(name.parse(), Ok(slug.clone()));
    assert!((1..=Slug::MAX_CHARS).contains(&name.chars().count()));
    assert!(name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_'), "{name:?}");
    assert!(Uuid::try_parse(name).is_err() && name != "search");
}

/// A person's name is its own name, and shows what it is.
pub fn name(input: &[u8]) {
    let Some(name) = text(input).and_then(|s| s.parse::<Name>().ok()) else { return };
    let shown = name.as_str();
    assert_eq!(shown.parse(), Ok(name.clone()));
    assert!((1..=Name::MAX_CHARS).contains(&shown.chars().count()) && shown.trim() == shown);
    assert!(
        !shown
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'))
    );
}

/// The body of a POST that is JSON.
pub fn body(input: &[u8]) {
    #[derive(serde::Deserialize)]
    struct Spoken {
        text: String,
        #[serde(default)]
        client_id: Option<String>,
    }
    let Some(Spoken { text, client_id }) = http::object::<Spoken>(input) else { return };
    let client_id = client_id.and_then(|id| id.parse::<ClientId>().ok());
    if let Ok(text) = text.parse::<Text>() {
        is_one_block(&said(1, &text, "Ann", client_id));
    }
}

/// Where a stream starts that asks with this header, in logs with one epoch and with several.
pub fn last_event_id(input: &[u8]) {
    let start = match text(input).map(str::parse) {
        Some(Ok(cursor)) => Start::After(cursor),
        _ => Start::Malformed,
    };
    let young = Extent { epoch: Epoch(1), base: Seq(0), tip: Seq(40), first: Seq(11), past: Vec::new() };
    let past = vec![(Epoch(1), 1..=40), (Epoch(3), 1001..=1007)];
    let old = Extent { epoch: Epoch(4), base: Seq(2000), tip: Seq(2003), first: Seq(31), past };
    for log in [young, old, Extent::empty(0), Extent::empty(2)] {
        let (gap, at) = match resume::plan(&start, &log) {
            Plan::After(at) => (None, at),
            Plan::GapThenAfter(gap, at) => {
                assert_eq!(gap.to, at);
                (Some(gap), at)
            }
            Plan::Last(_) => unreachable!("nobody asked for the last"),
            Plan::GapThenLast(_) => continue,
        };
        // It stands in the log, and no reader is moved without being told so.
        assert!(at >= log.before(log.first) && at <= log.tip(), "{at} in {log:?}");
        assert!(gap.is_some() || start == Start::After(at), "{start:?} became {at}");
        for gap in resume::gaps_to(at, log.tip(), &log) {
            assert!(gap.from < Some(gap.to) && gap.to <= log.tip(), "{gap:?} of {log:?}");
        }
    }
}

/// Whatever comes on a connection, and however it is cut, has one reading; what is passed on is what came.
pub fn head(input: &[u8]) {
    let (passed, refusal) = http::framed(std::iter::once(input));
    assert!(input.starts_with(&passed));
    for size in [1, 7] {
        assert_eq!(http::framed(input.chunks(size)), (passed.clone(), refusal), "in pieces of {size}");
    }
}

/// What is said by whom, under which id of their own: parts that end with a zero byte.
pub fn frame(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == 0).map(String::from_utf8_lossy);
    let mut part = || parts.next().unwrap_or_default();
    let (said_text, name, id) = (part(), part(), part());
    if let Ok(text) = said_text.parse() {
        is_one_block(&said(u64::MAX >> 11, &text, &name, id.parse().ok()));
    }
}

/// What another pod is said to have told.
pub fn heard(input: &[u8]) {
    let Some(frame) = Frame::heard(input) else { return };
    assert_eq!(Frame::heard(&frame.said()), Some(frame.clone()));
    assert!(!frame.json().contains(&b'\n') && !frame.json().contains(&b'\r'));
    assert_eq!(frame.scrubbed().cursor, frame.cursor);
}

fn said(seq: u64, text: &Text, name: &str, client_id: Option<ClientId>) -> Event {
    Event {
        room: "lobby".into(),
        epoch: Epoch(1),
        seq: Seq(seq),
        id: Uuid::nil(),
        kind: EventKind::Message,
        target: None,
        user: User {
            id: UserId(Uuid::nil()),
            name: name.parse().unwrap_or_else(|_| "Ann".parse().unwrap()),
            kind: UserKind::Guest,
        },
        by: None,
        text: Some(text.shared()),
        status: None,
        edited: None,
        ts: 1_732_240_000_123,
        client_id,
    }
}

/// It is three lines of an event stream, as the WHATWG's parser reads them, and says what was said.
fn is_one_block(event: &Event) {
    let frame = Frame::new(event);
    let block = text(frame.bytes()).expect("a stream is UTF-8");
    let lines: Vec<_> = block.split(['\r', '\n']).collect();
    let [id, data, "", ""] = lines[..] else { panic!("{} lines: {block:?}", lines.len()) };
    assert_eq!(id.strip_prefix("id: "), Some(event.cursor().to_string().as_str()));
    let json = data.strip_prefix("data: ").expect("data is behind the id");
    assert_eq!(serde_json::from_str::<Event>(json).unwrap(), *event);
    assert_eq!(Frame::heard(&frame.said()), Some(frame));
}
