//! What is told beside the log: gone when it is not heard.

use bytes::Bytes;
use serde::Serialize;

/// What an [`Aside`] is about: the name of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Somebody is writing.
    Typing,
    /// Somebody has read up to a place.
    Read,
    /// People came or went.
    Presence,
}

impl Topic {
    /// The `event:` of the block.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Typing => "typing",
            Topic::Read => "read",
            Topic::Presence => "presence",
        }
    }
}

/// Something for those who listen to a log now: a named event without an `id:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// What it is about.
    pub topic: Topic,
    json: Bytes,
}

impl Aside {
    /// Something to tell.
    pub fn new<T: Serialize>(topic: Topic, data: &T) -> Self {
        let json = serde_json::to_vec(data).expect("what is told beside the log is plain data");
        Aside { topic, json: json.into() }
    }

    /// The block, ready for a stream.
    pub fn block(&self) -> Bytes {
        let head = format!("event: {}\ndata: ", self.topic.as_str());
        [head.as_bytes(), &self.json, b"\n\n"].concat().into()
    }

    /// As one pod tells the others: `a <topic> <json>`.
    pub fn said(&self) -> Bytes {
        [b"a ", self.topic.as_str().as_bytes(), b" ", &self.json].concat().into()
    }

    /// What another pod told, by [`said`](Self::said); `None` for everything that is not such a payload.
    pub fn heard(payload: &[u8]) -> Option<Self> {
        let payload = std::str::from_utf8(payload).ok()?.strip_prefix("a ")?;
        let (topic, json) = payload.split_once(' ')?;
        let topic =
            [Topic::Typing, Topic::Read, Topic::Presence].into_iter().find(|t| t.as_str() == topic)?;
        is_object(json.as_bytes()).then(|| Aside { topic, json: Bytes::copy_from_slice(json.as_bytes()) })
    }
}

/// Looks it like a JSON object on one line? It is not parsed, but it cannot end its line in a stream.
pub(super) fn is_object(json: &[u8]) -> bool {
    let is_object = json.first() == Some(&b'{') && json.len() > 1 && json.last() == Some(&b'}');
    is_object && !json.iter().any(|b| *b < b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_as_the_same_block() {
        let aside = Aside::new(Topic::Typing, &serde_json::json!({ "text": "\r\n\ndata: x" }));
        assert_eq!(Aside::heard(&aside.said()), Some(aside.clone()));
        assert_eq!(aside.block(), "event: typing\ndata: {\"text\":\"\\r\\n\\ndata: x\"}\n\n");
        for wrong in ["", "a ", "a typing", "a typing ", "a hello {}", "a typing {\n}", "a typing []"] {
            assert_eq!(Aside::heard(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
