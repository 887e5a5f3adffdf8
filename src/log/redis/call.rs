//! One append as the script takes it, and what the script answers.

use std::sync::{Arc, LazyLock};

use redis::{Cmd, Script, Value};
use uuid::Uuid;

use super::keys::{self, DAY_MS, Names};
use crate::{
    event::{
        Cursor, Draft, Entry, Epoch, Event, EventKind, Key, LogId, MOST_MEMBERS, Right, Room, RoomKind, Seq,
        UserId,
    },
    log::Append,
};

/// How many keys the script takes.
const KEYS: usize = 9;
/// How many more, of a room with members.
const MEMBERS_KEYS: usize = 3;
/// Arguments of the whole command, at most.
const ARGS: usize = 3 + KEYS + 18 + MEMBERS_KEYS + 4;
/// Bytes of the command beside the event's own, about.
const OVERHEAD: usize = 800;

pub(super) static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("append.lua")));

/// An append that is under way: what it is, and what was learned for it so far.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) room: Room,
    /// The event, yet without epoch, seq and ts.
    pub(crate) event: Event,
    pub(crate) who: Uuid,
    /// Whoever does it.
    pub(crate) actor: UserId,
    pub(crate) act: Act,
    pub(crate) key: Option<Key>,
    /// The archive was asked for the key and does not know it.
    pub(crate) is_unknown: bool,
    /// The author of the target, by the archive.
    pub(crate) author: Option<UserId>,
    /// Where it is to be published by the script itself.
    pub(crate) channel: Option<String>,
}

/// By which right something is done, and with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A member's; of a message, its author's.
    Speak,
    /// Of whoever may take away any message, and send away anybody.
    Moderate(Option<UserId>),
    Open,
    Join(UserId),
    Leave(UserId),
}

impl Act {
    fn word(self) -> &'static str {
        match self {
            Act::Speak => "speak",
            Act::Moderate(_) => "moderate",
            Act::Open => "open",
            Act::Join(_) => "join",
            Act::Leave(_) => "leave",
        }
    }

    /// Who joins or leaves.
    pub(super) fn member(self) -> Option<UserId> {
        match self {
            Act::Moderate(member) => member,
            Act::Join(member) | Act::Leave(member) => Some(member),
            Act::Speak | Act::Open => None,
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Fenced,
    NoRoom { retired: String },
    Known { cursor: Cursor, ts: i64, id: Uuid },
    Reused,
    Ask,
    Target,
    NotFound,
    NotYours,
    NoChange,
    Crowded,
    Full,
    Done { cursor: Cursor, ts: i64, n: u64 },
}

impl Call {
    pub(crate) fn new(append: Append, channel: Option<String>) -> Self {
        let Append { room, user, who, draft, ack: _ } = append;
        let actor = user.id;
        let mut act = Act::Speak;
        let mut event = Event {
            room: Arc::clone(&room.label),
            epoch: Epoch(0),
            seq: Seq(0),
            id: Uuid::now_v7(),
            kind: EventKind::Message,
            target: None,
            user,
            by: None,
            text: None,
            status: None,
            edited: None,
            ts: 0,
            client_id: None,
        };
        let mut key = None;
        match draft {
            Draft::Message { text, client_id } => {
                key = client_id.as_ref().map(|id| Key::new(who.0, id, &text));
                event.text = Some(text.shared());
                event.client_id = client_id;
            }
            Draft::Edit { target, text } => {
                event.kind = EventKind::Edit;
                event.target = Some(target);
                event.text = Some(text.shared());
            }
            Draft::Delete { target, right } => {
                event.kind = EventKind::Delete;
                event.target = Some(target);
                if right == Right::Moderator {
                    act = Act::Moderate(None);
                }
            }
            Draft::Open => {
                event.kind = EventKind::Join;
                act = Act::Open;
            }
            Draft::Join { member } => {
                event.kind = EventKind::Join;
                act = Act::Join(member.id);
                let by = std::mem::replace(&mut event.user, member);
                event.by = Some(by).filter(|by| by.id != event.user.id);
            }
            Draft::Leave { member } => {
                event.kind = EventKind::Leave;
                act = if member.id == actor { Act::Leave(actor) } else { Act::Moderate(Some(member.id)) };
                let by = std::mem::replace(&mut event.user, member);
                event.by = Some(by).filter(|by| by.id != event.user.id);
            }
        }
        Call { room, event, who: who.0, actor, act, key, is_unknown: false, author: None, channel }
    }

    /// The call of the script on this generation, which the process `run_id` has; with at most so many entries in the
    /// outbox.
    pub(super) fn command(&self, names: Names, run_id: &str, now: i64, outbox: u64) -> Cmd {
        let (room, event) = (self.room.id, &self.event);
        let partition = LogId::from(room).partition();
        let json = to_json(event);
        let [head, middle, tail] = pieces(&json);
        let decimal = |seq: Option<Seq>| seq.map_or_else(String::new, |seq| seq.to_string());
        let has_members = self.room.kind == RoomKind::Members;
        let mut call = Cmd::with_capacity(ARGS, OVERHEAD + json.len());
        call.arg("EVALSHA").arg(APPEND.get_hash()).arg(if has_members { KEYS + MEMBERS_KEYS } else { KEYS });
        call.arg(keys::meta(partition))
            .arg(names.room(room))
            .arg(names.log(room))
            .arg(names.fix(room))
            .arg(names.out(partition))
            .arg(names.recent(partition))
            .arg(keys::idem(room, self.who, now))
            .arg(keys::idem(room, self.who, now - DAY_MS))
            .arg(keys::idem(room, self.who, now + DAY_MS));
        if has_members {
            call.arg(names.members(room)).arg(names.read(room)).arg(names.mail(partition));
        }
        let author = match self.act {
            Act::Moderate(_) => "*".to_owned(),
            _ => self.actor.0.to_string(),
        };
        call.arg(names.generation)
            .arg(run_id)
            .arg(now)
            .arg(&room.0.as_bytes()[..])
            .arg(outbox)
            .arg(event.kind.as_str())
            .arg(&event.id.as_bytes()[..])
            .arg(head)
            .arg(middle)
            .arg(tail)
            .arg(self.key.as_ref().map_or(&[][..], |key| &key.key))
            .arg(self.key.as_ref().map_or(&[][..], |key| &key.text))
            .arg(if self.is_unknown { "known" } else { "" })
            .arg(decimal(event.target))
            .arg(author)
            .arg(self.author.map_or_else(String::new, |author| author.0.to_string()))
            .arg(event.text.as_deref().filter(|_| event.kind == EventKind::Edit).unwrap_or_default())
            .arg(self.channel.as_deref().unwrap_or_default());
        if has_members {
            call.arg(&self.actor.0.as_bytes()[..]).arg(self.act.word());
            call.arg(self.act.member().as_ref().map_or(&[][..], |member| member.0.as_bytes()))
                .arg(MOST_MEMBERS);
        }
        call
    }

    /// The event in its place.
    pub(crate) fn placed(&self, cursor: Cursor, ts: i64) -> Entry {
        let event = Event { epoch: cursor.epoch, seq: cursor.seq, ts, ..self.event.clone() };
        Entry { room: self.room.id, event, key: self.key }
    }
}

/// An event's JSON, in which they are 0, without its epoch, seq and ts, which the script puts in: up to the epoch, from
/// after the seq up to the ts, and the rest. Within a string no quote stands bare, so these are found where they are.
fn pieces(json: &str) -> [&str; 3] {
    let (epoch, seq, ts) = (r#","epoch":"#, r#"0,"seq":0"#, r#","ts":"#);
    let head = json.find(epoch).expect("an event has an epoch") + epoch.len();
    let middle = head + seq.len();
    let tail = middle + json[middle..].find(ts).expect("an event has a ts") + ts.len();
    [&json[..head], &json[middle..tail], &json[tail + "0".len()..]]
}

fn to_json(event: &Event) -> String {
    serde_json::to_string(event).expect("an event is plain data")
}

impl Answer {
    /// Reads what the script said; `None` when it is nothing that the script says.
    pub(super) fn read(said: &[Value]) -> Option<Self> {
        let (word, rest) = said.split_first()?;
        Some(match (text(word)?, rest) {
            ("FENCED", []) => Answer::Fenced,
            ("NOROOM", [retired]) => Answer::NoRoom { retired: text(retired)?.to_owned() },
            ("KNOWN", [epoch, seq, ts, id]) => Answer::Known {
                cursor: Cursor::new(number(epoch)?, number(seq)?),
                ts: number(ts)?,
                id: Uuid::from_slice(bytes(id)?).ok()?,
            },
            ("REUSED", []) => Answer::Reused,
            ("ASK", []) => Answer::Ask,
            ("TARGET", []) => Answer::Target,
            ("NOTFOUND", []) => Answer::NotFound,
            ("NOTYOURS", []) => Answer::NotYours,
            ("NOCHANGE", []) => Answer::NoChange,
            ("CROWDED", []) => Answer::Crowded,
            ("FULL", []) => Answer::Full,
            ("OK", [epoch, seq, ts, n]) => Answer::Done {
                cursor: Cursor::new(number(epoch)?, number(seq)?),
                ts: number(ts)?,
                n: number(n)?,
            },
            _ => return None,
        })
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    text(value)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::redis::tests::event;

    proptest! {
        #[test]
        fn the_pieces_with_the_numbers_between_are_the_event(
            text in any::<String>(), label in any::<String>(), client_id in "\\PC{0,20}", target in any::<Option<u32>>(),
            epoch in 1u32.., seq in 1u64..1 << 53, ts in 0i64..1 << 53,
        ) {
            let event = Event {
                room: label.into(),
                text: Some(text.into()),
                client_id: client_id.parse().ok(),
                target: target.map(|target| Seq(target.into())),
                epoch: Epoch(0),
                ts: 0,
                ..event(0)
            };
            let json = to_json(&event);
            let [head, middle, tail] = pieces(&json);
            let event = Event { epoch: Epoch(epoch), seq: Seq(seq), ts, ..event };
            prop_assert_eq!(format!("{head}{epoch},\"seq\":{seq}{middle}{ts}{tail}"), to_json(&event));
        }
    }
}
