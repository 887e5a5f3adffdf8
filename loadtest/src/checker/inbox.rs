//! An inbox beside the logs of its rooms: P1, P2, P5 and P9, for the one stream that has all of them.

use super::log::Fields;
use super::{Asked, Counts, Findings, Gaps, Kept, Kind, Promise, ReaderLog, Seen, Sight, Verdict};
use crate::cursor::Cursor;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::time::Duration;

/// What one person's streams of `/api/events` gave, and what they should have given.
#[derive(Clone, Default, Debug)]
pub struct Inbox {
    /// Whose it is, for messages.
    pub person: String,
    /// The rooms that the person is in.
    pub rooms: Vec<InboxRoom>,
    /// Every reader of it; those that read to the end have read from the beginning.
    pub readers: Vec<ReaderLog>,
    /// Whether a `gap` may occur.
    pub gaps: Gaps,
}

/// A room of an [`Inbox`].
#[derive(Clone, Default, Debug)]
pub struct InboxRoom {
    /// Its id.
    pub room: String,
    /// The first seq that is the person's to see.
    pub from: u64,
    /// The whole log at the end, ascending.
    pub log: Vec<Kept>,
}

/// Judges an inbox.
#[must_use]
pub fn check_inbox(inbox: &Inbox) -> Verdict {
    let mut findings = Findings::default();
    let given = given(inbox, &mut findings);
    for reader in &inbox.readers {
        walk(inbox, reader, &given, &mut findings);
    }
    against_rooms(inbox, &given, &mut findings);
    complete(inbox, &given, &mut findings);
    findings.verdict(count(inbox))
}

/// All that anybody was given, by its place in the inbox.
type Given<'a> = BTreeMap<Cursor, (&'a str, Duration)>;

/// One place, one event, whoever reads.
fn given<'a>(inbox: &'a Inbox, findings: &mut Findings) -> Given<'a> {
    let mut given = Given::new();
    for (reader, seen) in inbox.readers.iter().flat_map(|reader| reader.seen.iter().map(move |s| (reader, s)))
    {
        let Sight::Event { cursor, data } = &seen.what else { continue };
        let (first, _) = *given.entry(*cursor).or_insert((data, seen.at));
        let [one, other] = [Fields::of(first), Fields::of(data)];
        // A text that was deleted since is not given again.
        if one.id != other.id || (first != data && !one.scrubbed && !other.scrubbed) {
            let what = format!("reader {} of {} got other bytes for {cursor}", reader.name, inbox.person);
            findings.add(
                Promise::P1,
                Kind::DifferentBytes,
                seen.at,
                what,
                vec![first.to_owned(), data.clone()],
            );
        }
    }
    given
}

/// Follows a reader: it goes on where it was, and passes over nothing that others were given.
fn walk(inbox: &Inbox, reader: &ReaderLog, given: &Given<'_>, findings: &mut Findings) {
    let mut at: Option<Cursor> = None;
    let mut resumed = false;
    for seen in &reader.seen {
        let mut find = |promise, kind, what: &str| {
            let what = format!("reader {} of {}: {what}", reader.name, inbox.person);
            findings.add(promise, kind, seen.at, what, vec![format!("{:?}", seen.what)]);
        };
        match &seen.what {
            Sight::Connected(asked) => {
                resumed = matches!(asked, Asked::Own(_));
                at = if let Asked::Own(cursor) = asked { Some(*cursor) } else { None };
            }
            Sight::Hello(start) => {
                if at.is_some_and(|asked| asked != *start) {
                    find(
                        Promise::P5,
                        Kind::ResumedElsewhere,
                        &format!("asked for {at:?}, and hello says {start}"),
                    );
                }
                at = Some(*start);
            }
            Sight::Gap { cursor, .. } => {
                if inbox.gaps == Gaps::Forbidden {
                    find(
                        Promise::P4,
                        Kind::FalseGap,
                        &format!("a gap to {cursor}, and nothing can have been lost"),
                    );
                }
                at = Some(*cursor);
            }
            Sight::Event { cursor, .. } => {
                let promise = if resumed { Promise::P5 } else { Promise::P1 };
                match at {
                    None => find(Promise::Stream, Kind::NoHello, &format!("{cursor} before hello")),
                    Some(before) if *cursor <= before => {
                        find(promise, Kind::Repeat, &format!("{cursor} after {before}"));
                    }
                    Some(before) => {
                        let between = (Bound::Excluded(before), Bound::Excluded(*cursor));
                        if let Some((missed, _)) = given.range(between).next() {
                            find(promise, Kind::Hole, &format!("{cursor} after {before}, without {missed}"));
                        }
                    }
                }
                at = Some(*cursor);
            }
            Sight::Fault(what) => find(Promise::Stream, Kind::Fault, what),
            Sight::Reached(_) | Sight::Other { .. } | Sight::Ended(_) => {}
        }
    }
}

/// What was given is what the rooms have, in their order, and nobody else's.
fn against_rooms(inbox: &Inbox, given: &Given<'_>, findings: &mut Findings) {
    let logs: HashMap<&str, (u64, HashMap<Cursor, &str>)> = inbox
        .rooms
        .iter()
        .map(|InboxRoom { room, from, log }| {
            let log = log.iter().map(|kept| (kept.cursor, kept.data.as_str())).collect();
            (room.as_str(), (*from, log))
        })
        .collect();
    let mut last: HashMap<&str, Cursor> = HashMap::new();
    for (cursor, (data, at)) in given {
        let fields = Fields::of(data);
        let mut find = |promise, kind, what: &str| {
            let what = format!("{cursor} in the inbox of {}: {what}", inbox.person);
            findings.add(promise, kind, *at, what, vec![(*data).to_owned()]);
        };
        let (Some((room, (from, log))), Some(place)) = (logs.get_key_value(&*fields.room), fields.cursor)
        else {
            find(Promise::P9, Kind::Foreign, "of a room that they are not in");
            continue;
        };
        if place.seq < *from {
            find(Promise::P9, Kind::Foreign, "of the time before they came");
        }
        match log.get(&place).map(|kept| (Fields::of(kept), *kept)) {
            None => find(Promise::P3, Kind::Phantom, "the room does not have it"),
            Some((truth, kept)) => {
                let changed_since = truth.scrubbed || truth.edited;
                if truth.id != fields.id || (!changed_since && kept != *data) {
                    find(Promise::P7, Kind::Disagreement, &format!("the room has {kept}"));
                }
            }
        }
        if let Some(before) = last.insert(room, place).filter(|before| *before >= place) {
            let kind = if before == place { Kind::Repeat } else { Kind::OutOfOrder };
            find(Promise::P1, kind, &format!("{place} of the room after {before}"));
        }
    }
}

/// Whoever read to the end has all there is; and unless a part was lost, that is all of the rooms.
fn complete(inbox: &Inbox, given: &Given<'_>, findings: &mut Findings) {
    let mut find = |kind, what: String| findings.add(Promise::P2, kind, Duration::MAX, what, Vec::new());
    let end = given.last_key_value().map(|(cursor, _)| *cursor);
    let complete = || inbox.readers.iter().filter(|reader| reader.to_the_end);
    for reader in complete().filter(|reader| reader.cursor() < end) {
        let what = format!(
            "reader {} of {} has only got to {:?} of {end:?}",
            reader.name,
            inbox.person,
            reader.cursor()
        );
        find(Kind::LacksTheEnd, what);
    }
    let was_told = |seen: &Seen| matches!(seen.what, Sight::Gap { .. });
    if complete().next().is_none() || inbox.readers.iter().any(|reader| reader.seen.iter().any(was_told)) {
        return;
    }
    let ids: HashSet<String> = given.values().map(|(data, _)| Fields::of(data).id).collect();
    for InboxRoom { room, from, log } in &inbox.rooms {
        let mine = log.iter().filter(|kept| kept.cursor.seq >= *from);
        let missing: Vec<_> = mine.filter(|kept| !ids.contains(&Fields::of(&kept.data).id)).collect();
        if let Some(first) = missing.first() {
            let (count, person) = (missing.len(), &inbox.person);
            find(Kind::Lost, format!("the inbox of {person} lacks {count} of {room}, first {}", first.data));
        }
    }
}

fn count(inbox: &Inbox) -> Counts {
    let sights =
        |f: fn(&Sight) -> bool| inbox.readers.iter().flat_map(|r| &r.seen).filter(|s| f(&s.what)).count();
    Counts {
        readers: inbox.readers.len(),
        connections: sights(|s| matches!(s, Sight::Connected(_))),
        deliveries: sights(|s| matches!(s, Sight::Event { .. })),
        gaps: sights(|s| matches!(s, Sight::Gap { .. })),
        kept: inbox.rooms.iter().map(|room| room.log.len()).sum(),
        ..Counts::default()
    }
}
