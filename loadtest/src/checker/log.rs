//! The log as it is at the end: whole in itself, and what everything else is held against.

use super::{Findings, Gaps, History, Kept, Kind, Promise};
use crate::cursor::Cursor;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What the end of a history shows at the end of time.
const AT_THE_END: Duration = Duration::MAX;

/// An event's JSON, as far as the checker looks into it.
pub(super) struct Fields {
    pub(super) cursor: Option<Cursor>,
    pub(super) room: String,
    pub(super) id: String,
    pub(super) ts: u64,
    pub(super) user: String,
    pub(super) client_id: Option<String>,
    pub(super) text: Option<String>,
    /// A deleted message is given without its text: the one exception to *the same bytes*.
    pub(super) scrubbed: bool,
    /// History lists an edited message with its new text.
    pub(super) edited: bool,
}

impl Fields {
    pub(super) fn of(data: &str) -> Self {
        let json: Value = serde_json::from_str(data).unwrap_or_default();
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let place = json["epoch"].as_u64().zip(json["seq"].as_u64());
        Self {
            cursor: place.map(|(epoch, seq)| Cursor::new(epoch, seq)),
            room: text(&json["room"]).unwrap_or_default(),
            id: text(&json["id"]).unwrap_or_default(),
            ts: json["ts"].as_u64().unwrap_or_default(),
            user: text(&json["user"]["id"]).unwrap_or_default(),
            client_id: text(&json["client_id"]),
            text: text(&json["text"]),
            scrubbed: json["status"] == "deleted",
            edited: !json["edited"].is_null(),
        }
    }
}

/// The kept events by cursor. Empty when the end is not known.
pub(super) struct Log<'a> {
    pub(super) known: bool,
    pub(super) events: BTreeMap<Cursor, (&'a Kept, Fields)>,
    pub(super) by_id: HashMap<String, Cursor>,
}

impl<'a> Log<'a> {
    /// Reads the end of the history and judges it by itself.
    pub(super) fn read(history: &'a History, findings: &mut Findings) -> Self {
        let mut log = Self { known: history.end.is_some(), events: BTreeMap::new(), by_id: HashMap::new() };
        let mut last: Option<(Cursor, u64)> = None;
        let mut keys: HashMap<(String, String), Cursor> = HashMap::new();
        let mut find = |promise, kind, what| findings.add(promise, kind, AT_THE_END, what, Vec::new());
        for kept in history.end.iter().flatten() {
            let (at, fields) = (kept.cursor, Fields::of(&kept.data));
            if fields.cursor != Some(at) {
                find(Promise::P7, Kind::WrongPlace, format!("history has {} at {at}", kept.data));
            }
            if last.is_none() && at.seq != 1 && history.gaps == Gaps::Forbidden {
                find(Promise::P1, Kind::LogBroken, format!("the history begins with {at}"));
            }
            if let Some((before, ts)) = last {
                let follows =
                    at == before.next() || (at.epoch > before.epoch && history.gaps == Gaps::Allowed);
                if !follows {
                    find(Promise::P1, Kind::LogBroken, format!("in the history {at} follows {before}"));
                }
                if fields.ts < ts {
                    find(
                        Promise::P1,
                        Kind::TimeWentBack,
                        format!("ts {} at {at} after {ts} at {before}", fields.ts),
                    );
                }
            }
            if let Some(twin) = log.by_id.insert(fields.id.clone(), at) {
                find(Promise::P2, Kind::KeptTwice, format!("id {} is kept at {twin} and at {at}", fields.id));
            }
            if let Some(client_id) = &fields.client_id
                && let Some(twin) = keys.insert((fields.user.clone(), client_id.clone()), at)
            {
                let what = format!("client_id {client_id:?} of {} made {twin} and {at}", fields.user);
                find(Promise::P6, Kind::TwoEvents, what);
            }
            last = Some((at, fields.ts));
            log.events.insert(at, (kept, fields));
        }
        log
    }

    /// Where the log ends.
    pub(super) fn tip(&self) -> Option<Cursor> {
        self.events.last_key_value().map(|(cursor, _)| *cursor)
    }
}
