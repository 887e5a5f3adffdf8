//! Whether a run kept the promises. The checker decides on what speakers and readers saw; what it has no rule for yet
//! is looked at here, over the same records: texts that were deleted, people who were shut out, presence, convergence.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use loadtest::{
    checker::{Act, Gaps, History, Kept, Kind, Outcome, Sight, check},
    cursor::Cursor,
};

use super::{
    reader::Reader,
    speaker::Speaker,
    stream::cursor,
    world::{World, user},
};
use crate::event::{LogId, RoomId, UserId};

/// How long somebody who was shut out may still hear something: P9's second, and the way to the client.
const HEARD: Duration = Duration::from_millis(1100);
/// After a fault a pod has so long to be as the others are (P10).
pub(super) const HEALED: Duration = Duration::from_secs(5);

/// All that one run left.
pub(super) struct Record {
    pub(super) world: Rc<World>,
    pub(super) speakers: Vec<Rc<Speaker>>,
    pub(super) readers: Vec<Rc<Reader>>,
    /// What did not come true in time.
    pub(super) late: Vec<String>,
}

impl Record {
    /// Everything that is not as promised.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut all = self.late.clone();
        let (may_tear, may_lose) = (self.world.plan.may_tear(), self.world.plan.may_lose());
        for (number, room) in self.world.rooms.iter().enumerate() {
            let history = self.history(number);
            let is_torn = history.gaps == Gaps::Allowed;
            if is_torn && !may_tear {
                all.push(format!("{} began a new epoch, and no two faults met", history.room));
            }
            let counted = check(&history).violations;
            let counted =
                counted.into_iter().filter(|v| !(is_torn && may_lose && Record::is_excused(v.kind)));
            all.extend(counted.map(|violation| violation.to_string()));
            self.stored_is_kept(number, &history, &mut all);
            self.deleted_is_gone(number, &history, &mut all);
            self.banned_hear_nothing(number, &mut all);
            if self.world.plan.presence {
                self.people_are_who_reads(number, room.id, &mut all);
            }
        }
        if !may_tear {
            self.comings_and_goings_take_turns(&mut all);
        }
        for (room, seq) in &self.world.mysql.tables.borrow().conflicts {
            all.push(format!("P2: two events were given the place {seq} of {}", room.0));
        }
        all
    }

    /// Where two faults met and it was announced: what is lost is lost, also between what is not, and a deletion too; and
    /// what a pod brings late stands in the epoch that the others have left.
    fn is_excused(kind: Kind) -> bool {
        use Kind::{Disagreement, FalseGap, LogBroken, Lost, Phantom, ResumedElsewhere, TwoEvents};
        matches!(kind, Lost | Phantom | LogBroken | ResumedElsewhere | FalseGap | TwoEvents | Disagreement)
    }

    fn history(&self, number: usize) -> History {
        let room = &self.world.rooms[number];
        let tables = self.world.mysql.tables.borrow();
        let end: Vec<Kept> = tables
            .messages
            .iter()
            .filter(|((of, _), _)| *of == room.id)
            .map(|(_, entry)| Kept {
                cursor: cursor(entry.event.cursor()),
                data: serde_json::to_string(&entry.event).expect("an event is plain data"),
            })
            .collect();
        let epoch = tables.rooms.get(&room.id).map_or(1, |held| held.epoch.0);
        let attempts = self.speakers.iter().filter(|speaker| speaker.room == number);
        let readers = self.readers.iter().filter(|reader| reader.room == number);
        History {
            room: room.label.to_string(),
            attempts: attempts.flat_map(|speaker| speaker.attempts.borrow().clone()).collect(),
            readers: readers.map(|reader| reader.log.borrow().clone()).collect(),
            end: Some(end),
            gaps: if epoch > 1 { Gaps::Allowed } else { Gaps::Forbidden },
            ..History::default()
        }
    }

    /// P2, also where more is lost than can be given back.
    fn stored_is_kept(&self, number: usize, history: &History, all: &mut Vec<String>) {
        let kept: BTreeSet<Cursor> = history.end.iter().flatten().map(|kept| kept.cursor).collect();
        for (_, placed) in self.world.note.borrow().stored.iter().filter(|(room, _)| *room == number) {
            let at = cursor(placed.cursor);
            if !kept.contains(&at) {
                all.push(format!("P2: {at} of {} was answered for as stored, and is lost", history.room));
            }
        }
    }

    /// A stream that begins after a deletion does not give the text out again.
    fn deleted_is_gone(&self, number: usize, history: &History, all: &mut Vec<String>) {
        let mut deleted: BTreeMap<u64, Cursor> = BTreeMap::new();
        for attempt in &history.attempts {
            if let (Act::Delete { target }, Outcome::Acknowledged(ack)) = (&attempt.act, &attempt.outcome) {
                deleted.insert(*target, ack.cursor);
            }
        }
        for reader in self.readers.iter().filter(|reader| reader.room == number) {
            let log = reader.log.borrow();
            let mut knows: Option<Cursor> = None;
            for seen in log.seen() {
                match &seen.what {
                    Sight::Other { name, data } if name == "tip" => knows = data.parse().ok(),
                    Sight::Event { cursor, data } => {
                        let by = deleted.get(&cursor.seq).filter(|by| knows.is_some_and(|tip| **by <= tip));
                        if let Some(by) = by.filter(|_| !data.contains(r#""status":"deleted""#)) {
                            all.push(format!(
                                "section 3: {cursor} was deleted by {by}, and reader {} got its text at {:.3} s",
                                log.name(),
                                seen.at.as_secs_f64()
                            ));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// P9
    fn banned_hear_nothing(&self, number: usize, all: &mut Vec<String>) {
        let note = self.world.note.borrow();
        for (_, who, since) in note.bans.iter().filter(|(room, ..)| *room == number) {
            let meant = |reader: &&Rc<Reader>| reader.room == number && user(reader.person).id == *who;
            for reader in self.readers.iter().filter(meant) {
                let log = reader.log.borrow();
                let heard = log.seen().iter().filter(|seen| matches!(seen.what, Sight::Event { .. }));
                let mut late =
                    heard.filter(|seen| seen.at > *since + HEARD && self.world.plan.is_calm(seen.at, HEALED));
                if let Some(seen) = late.next() {
                    let [since, at] = [*since, seen.at].map(|time| time.as_secs_f64());
                    let name = log.name();
                    all.push(format!(
                        "P9: reader {name} was shut out at {since:.3} s, and heard something at {at:.3} s"
                    ));
                }
            }
        }
    }

    /// Who is in a room in the end is who reads there, on every pod.
    fn people_are_who_reads(&self, number: usize, room: RoomId, all: &mut Vec<String>) {
        let reads = self.readers.iter().filter(|reader| reader.room == number && reader.has_stream.get());
        let reads: BTreeSet<UserId> = reads.map(|reader| user(reader.person).id).collect();
        let store = self.world.redis.store.borrow();
        let people = &store.people[&LogId::from(room).partition()];
        let here: BTreeSet<UserId> =
            people.here.keys().filter(|(of, _)| *of == room).map(|(_, user)| *user).collect();
        if here != reads {
            all.push(format!(
                "presence: {} people read room {number}, and {} are said to be in",
                reads.len(),
                here.len()
            ));
        }
        for pod in self.world.pods.borrow().iter().flatten() {
            let Some(online) = pod.people.borrow().get(&room).map(crate::chat::presence::Shared::online)
            else {
                continue;
            };
            if online != reads.len() {
                let number_of_pod = pod.number;
                all.push(format!(
                    "presence: pod {number_of_pod} says that {online} are in room {number}, and {} are",
                    reads.len()
                ));
            }
        }
    }

    /// Nobody comes twice without having gone, or goes twice. Who comes just after Redis forgot everybody comes quietly.
    fn comings_and_goings_take_turns(&self, all: &mut Vec<String>) {
        let mut is_in: BTreeMap<(RoomId, UserId), bool> = BTreeMap::new();
        let are_some_quiet = self.world.note.borrow().fences > 1;
        for (at, room, passed) in &self.world.note.borrow().passed {
            let came = passed.joined.iter().map(|person| (person, true));
            for (person, comes) in came.chain(passed.left.iter().map(|person| (person, false))) {
                if is_in.insert((*room, person.id), comes).unwrap_or(false) == comes
                    && (comes || !are_some_quiet)
                {
                    let what = if comes { "came" } else { "left" };
                    all.push(format!(
                        "presence: {} {what} twice, at {:.3} s",
                        person.name.as_str(),
                        at.as_secs_f64()
                    ));
                }
            }
        }
    }
}
