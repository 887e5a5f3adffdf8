//! What is read of a room: the newest part from Redis, what lies below it from the archive, joined by seq.
//!
//! The stream of a room in Redis is trimmed only below what the archive has. So whatever lies below its first entry
//! is the archive's, and above it nothing is missing.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use redis::{Pipeline, Value, from_redis_value, streams::StreamRangeReply};

use super::{
    Agreed, RedisLog, fenced,
    keys::{self, Names},
    link::Wire,
};
use crate::{
    event::{Cursor, Epoch, Event, EventKind, Extent, Frame, LogId, Part, Room, RoomId, Seq},
    log::{LogError, LogErrorKind},
};

/// The head of a room, as readers may see it: `tip` is the last event that has reached the server's durability.
pub(crate) struct Head {
    pub(crate) extent: Extent,
    pub(crate) has_fixes: bool,
}

/// The end of a room's log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tip {
    pub(super) seq: Seq,
    /// Up to where the archive has it.
    pub(super) archived: Seq,
    /// Of its last event, in ms since 1970.
    pub(super) ts: i64,
}

/// What became of a message since it was written, as far as the archive may not know of it yet.
#[derive(Clone, Debug)]
pub(crate) enum Fix {
    Deleted,
    Edited { text: Arc<str>, ts: i64 },
}

/// Corrections of a part of a log, by the message's seq.
pub(crate) type Fixes = HashMap<Seq, Fix>;

/// A part of a log.
pub(crate) struct Window {
    /// Ascending, as written.
    events: Vec<Event>,
    /// What corrects them, as far as Redis knows.
    fixes: Fixes,
    /// From which seq on they are from Redis, and their corrections with them.
    here: Seq,
}

impl Window {
    fn archived(events: Vec<Event>) -> Self {
        Window { events, fixes: Fixes::new(), here: Seq::MAX }
    }

    /// As readers get it.
    pub(crate) fn frames(mut self) -> Vec<Frame> {
        scrub(&mut self.events, &self.fixes);
        self.events.iter().map(Frame::new).collect()
    }
}

/// What a room is read from, a question each: the server's of this pod, or the simulator's.
pub(crate) trait Layers {
    /// The room's head; `None` when the archive has all there is of the room.
    async fn head(&self, room: RoomId) -> Result<Option<Head>, LogError>;
    /// Of what is here, up to `limit` events above `after` and up to `tip`, ascending.
    async fn oldest(&self, room: RoomId, after: Seq, tip: Seq, limit: usize) -> Result<Vec<Event>, LogError>;
    /// Of what is here, the newest `count` events below `end`, ascending.
    async fn newest(&self, room: RoomId, end: Seq, count: usize) -> Result<Vec<Event>, LogError>;
    /// What corrects these messages, as far as it is here.
    async fn fixes(&self, room: RoomId, messages: &[Seq]) -> Result<Fixes, LogError>;
    /// See [`Archive::after`](crate::archive::Archive::after).
    async fn archived_after(
        &self,
        room: &Room,
        after: Seq,
        upto: Seq,
        limit: usize,
    ) -> Result<Vec<Event>, LogError>;
    /// See [`Archive::before`](crate::archive::Archive::before).
    async fn archived_before(&self, room: &Room, below: Seq, count: usize) -> Result<Vec<Event>, LogError>;
}

/// Up to `limit` events above `after`, ascending, with what corrects them.
pub(crate) async fn after<L: Layers>(
    layers: &L,
    room: &Room,
    after: Seq,
    limit: usize,
) -> Result<Window, LogError> {
    let Some(head) = layers.head(room.id).await? else {
        return Ok(Window::archived(layers.archived_after(room, after, Seq::MAX, limit).await?));
    };
    let tip = head.extent.tip;
    if after >= tip || limit == 0 {
        return Ok(Window::archived(Vec::new()));
    }
    let mut events = layers.oldest(room.id, after, tip, limit).await?;
    let here = events.first().map_or(tip.next(), |event| event.seq);
    if here > after.next() {
        let mut older = layers.archived_after(room, after, here.before(), limit).await?;
        events.truncate(limit - older.len().min(limit));
        older.append(&mut events);
        events = older;
    }
    let fixes = fixes(layers, room.id, &head, &events).await?;
    Ok(Window { events, fixes, here })
}

/// The newest `count` events below `below`, ascending, with what corrects them. While the archive is away,
/// those of them that are here, unless there are none.
pub(crate) async fn below<L: Layers>(
    layers: &L,
    room: &Room,
    below: Seq,
    count: usize,
) -> Result<Window, LogError> {
    let Some(head) = layers.head(room.id).await? else {
        return Ok(Window::archived(layers.archived_before(room, below, count).await?));
    };
    let end = head.extent.tip.next().min(below);
    let mut events = layers.newest(room.id, end, count).await?;
    let here = events.first().map_or(end, |event| event.seq);
    if events.len() < count && here > head.extent.first {
        match layers.archived_before(room, here, count - events.len()).await {
            Ok(mut older) => {
                older.append(&mut events);
                events = older;
            }
            Err(e) if events.is_empty() => return Err(e),
            Err(_) => {}
        }
    }
    let fixes = fixes(layers, room.id, &head, &events).await?;
    Ok(Window { events, fixes, here })
}

/// What corrects these events.
async fn fixes<L: Layers>(
    layers: &L,
    room: RoomId,
    head: &Head,
    events: &[Event],
) -> Result<Fixes, LogError> {
    let mut asked: Vec<Seq> = events.iter().filter_map(message_of).collect();
    asked.sort_unstable();
    asked.dedup();
    if !head.has_fixes || asked.is_empty() {
        return Ok(Fixes::new());
    }
    layers.fixes(room, &asked).await
}

impl RedisLog {
    pub(in crate::log) async fn extent(&self, room: RoomId) -> Result<Extent, LogError> {
        match self.head(room).await? {
            Some(head) => Ok(head.extent),
            None => Ok(self.archive.extent(room).await?),
        }
    }

    pub(in crate::log) async fn read(
        &self,
        room: &Room,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Frame>, LogError> {
        Ok(self::after(self, room, after, limit).await?.frames())
    }

    pub(in crate::log) async fn last(&self, room: &Room, count: usize) -> Result<Vec<Frame>, LogError> {
        Ok(below(self, room, Seq::MAX, count).await?.frames())
    }

    pub(in crate::log) async fn page(
        &self,
        room: &Room,
        part: Part,
        limit: usize,
    ) -> Result<Vec<Event>, LogError> {
        let Window { mut events, fixes, here } = match part {
            Part::Newest => below(self, room, Seq::MAX, limit).await?,
            Part::Before(seq) => below(self, room, seq, limit).await?,
            Part::After(seq) => after(self, room, seq, limit).await?,
        };
        scrub(&mut events, &fixes);
        // Of what is here, all corrections are here too.
        let older = events.iter().filter(|event| event.seq < here && is_standing(event));
        let older: Vec<Seq> = older.map(|event| event.seq).filter(|seq| !fixes.contains_key(seq)).collect();
        let mut edits: HashMap<Seq, (Arc<str>, i64)> = HashMap::new();
        if !older.is_empty() {
            let found = self.archive.edited(room.id, &older).await?;
            edits.extend(found.into_iter().map(|(seq, text, ts)| (seq, (text, ts))));
        }
        for (seq, fix) in fixes {
            if let Fix::Edited { text, ts } = fix {
                edits.insert(seq, (text, ts));
            }
        }
        for event in events.iter_mut().filter(|event| is_standing(event)) {
            if let Some((text, ts)) = edits.remove(&event.seq) {
                event.text = Some(text);
                event.edited = Some(ts);
            }
        }
        Ok(events)
    }

    /// Asks about a room, in one transaction with the check that this is the server that the pods agreed on.
    pub(super) async fn look(
        &self,
        room: RoomId,
        ask: impl FnOnce(&mut Pipeline, Names),
    ) -> Result<Vec<Value>, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let partition = LogId::from(room).partition();
        let mut pipeline = redis::pipe();
        pipeline.atomic().hmget(keys::meta(partition), &["generation", "run"]);
        ask(&mut pipeline, agreed.names());
        let mut answers = self.ask(&mut wire, &pipeline).await?;
        let meta: Vec<Option<String>> = from_redis_value(answers.remove(0))?;
        if !agreed.is(&meta) {
            self.suspect();
            return Err(fenced());
        }
        Ok(answers)
    }

    /// Asks about several partitions. That the pods agreed on this server in all of them is looked at behind the
    /// answers: what was read before is then of this generation, and in full.
    pub(super) async fn look_over(
        &self,
        partitions: impl Iterator<Item = u8>,
        ask: impl FnOnce(&mut Pipeline, Names),
    ) -> Result<Vec<Value>, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let partitions: BTreeSet<u8> = partitions.collect();
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        ask(&mut pipeline, agreed.names());
        for partition in &partitions {
            pipeline.hmget(keys::meta(*partition), &["generation", "run"]);
        }
        let mut answers = self.ask(&mut wire, &pipeline).await?;
        for meta in answers.split_off(answers.len().saturating_sub(partitions.len())) {
            if !agreed.is(&from_redis_value::<Vec<Option<String>>>(meta)?) {
                self.suspect();
                return Err(fenced());
            }
        }
        Ok(answers)
    }

    pub(super) async fn ask(&self, wire: &mut Wire, pipeline: &Pipeline) -> Result<Vec<Value>, LogError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let answers = wire.ask(pipeline).await;
        self.checked(wire, answers)
    }
}

impl Layers for RedisLog {
    async fn head(&self, room: RoomId) -> Result<Option<Head>, LogError> {
        let fields = ["epoch", "base", "seq", "archived", "first", "past"];
        let answers = self.look(room, |pipeline, names| {
            pipeline.hmget(names.room(room), &fields).hlen(names.fix(room));
        });
        let answers = answers.await?;
        let [fields, fixes] = &answers[..] else { return Err(LogErrorKind::Unavailable.into()) };
        let fields: Vec<Option<String>> = from_redis_value(fields.clone())?;
        let [Some(epoch), Some(base), Some(seq), Some(archived), Some(first), Some(past)] = &fields[..]
        else {
            return Ok(None);
        };
        let number = |s: &String| s.parse::<u64>().map_err(|_| LogError::from(LogErrorKind::Unavailable));
        let tip = if self.gives_out_stored_only() { number(archived)? } else { number(seq)? };
        let epoch = u32::try_from(number(epoch)?).map_err(|_| LogErrorKind::Unavailable)?;
        let past: Vec<(u32, u64, u64)> = serde_json::from_str(past).map_err(|_| LogErrorKind::Unavailable)?;
        let extent = Extent {
            epoch: Epoch(epoch),
            base: Seq(number(base)?),
            tip: Seq(tip),
            first: Seq(number(first)?),
            past: past.into_iter().map(|(epoch, from, to)| (Epoch(epoch), from..=to)).collect(),
        };
        let has_fixes = from_redis_value::<u64>(fixes.clone())? > 0;
        Ok(Some(Head { extent, has_fixes }))
    }

    async fn oldest(&self, room: RoomId, after: Seq, tip: Seq, limit: usize) -> Result<Vec<Event>, LogError> {
        let range = |pipeline: &mut Pipeline, names: Names| {
            let range = redis::cmd("XRANGE")
                .arg(names.log(room))
                .arg(format!("{}-0", after.next()))
                .arg(format!("{tip}-0"))
                .arg("COUNT")
                .arg(limit)
                .take();
            pipeline.add_command(range);
        };
        events(self.look(room, range).await?.first())
    }

    async fn newest(&self, room: RoomId, end: Seq, count: usize) -> Result<Vec<Event>, LogError> {
        let range = |pipeline: &mut Pipeline, names: Names| {
            let range = redis::cmd("XREVRANGE")
                .arg(names.log(room))
                .arg(format!("{}-0", end.before()))
                .arg("-")
                .arg("COUNT")
                .arg(count)
                .take();
            pipeline.add_command(range);
        };
        let mut events = events(self.look(room, range).await?.first())?;
        events.reverse();
        Ok(events)
    }

    async fn fixes(&self, room: RoomId, messages: &[Seq]) -> Result<Fixes, LogError> {
        let fields: Vec<String> = messages.iter().map(Seq::to_string).collect();
        let answers = self.look(room, |pipeline, names| {
            pipeline.hmget(names.fix(room), &fields);
        });
        let found: Vec<Option<Vec<u8>>> = from_redis_value(answers.await?.swap_remove(0))?;
        let fixes = messages.iter().zip(found).filter_map(|(seq, fix)| Some((*seq, read_fix(&fix?)?)));
        Ok(fixes.collect())
    }

    async fn archived_after(
        &self,
        room: &Room,
        after: Seq,
        upto: Seq,
        limit: usize,
    ) -> Result<Vec<Event>, LogError> {
        Ok(self.archive.after(room, after, upto, limit).await?)
    }

    async fn archived_before(&self, room: &Room, below: Seq, count: usize) -> Result<Vec<Event>, LogError> {
        Ok(self.archive.before(room, below, count).await?)
    }
}

impl Agreed {
    /// Is this `generation, run` of a partition's `meta` what was agreed on?
    pub(super) fn is(&self, meta: &[Option<String>]) -> bool {
        matches!(meta, [Some(generation), Some(run), ..]
            if *generation == self.generation.to_string() && **run == *self.run_id)
    }
}

/// A message that was not deleted.
fn is_standing(event: &Event) -> bool {
    event.kind == EventKind::Message && event.status.is_none()
}

/// The message that this is, or is an edit of.
pub(super) fn message_of(event: &Event) -> Option<Seq> {
    match event.kind {
        EventKind::Message => Some(event.seq),
        EventKind::Edit => event.target,
        EventKind::Delete | EventKind::Join | EventKind::Leave => None,
    }
}

/// Takes the texts of deleted messages away.
fn scrub(events: &mut [Event], fixes: &Fixes) {
    for event in events {
        let fix = message_of(event).and_then(|message| fixes.get(&message));
        if matches!(fix, Some(Fix::Deleted)) {
            *event = event.clone().scrubbed();
        }
    }
}

/// `d<n>:<ts>:` or `e<n>:<ts>:<text>`
pub(super) fn read_fix(fix: &[u8]) -> Option<Fix> {
    let fix = std::str::from_utf8(fix).ok()?;
    let mut parts = fix.splitn(3, ':');
    let (kind, ts, text) = (parts.next()?, parts.next()?, parts.next()?);
    match kind.as_bytes().first()? {
        b'd' => Some(Fix::Deleted),
        b'e' => Some(Fix::Edited { text: text.into(), ts: ts.parse().ok()? }),
        _ => None,
    }
}

/// The events of an answer to `XRANGE` or `XREVRANGE`.
pub(super) fn events(answer: Option<&Value>) -> Result<Vec<Event>, LogError> {
    let answer = answer.ok_or(LogErrorKind::Unavailable)?;
    let found: StreamRangeReply = from_redis_value(answer.clone())?;
    let event = |id: redis::streams::StreamId| {
        let json: Vec<u8> = id.get("e")?;
        serde_json::from_slice(&json).ok()
    };
    found.ids.into_iter().map(|id| event(id).ok_or_else(|| LogErrorKind::Unavailable.into())).collect()
}

impl Tip {
    pub(super) const FIELDS: &[&str] = &["seq", "archived", "ts"];

    /// Reads these; `None` when there is no such room here.
    pub(super) fn read(fields: &[Option<String>]) -> Option<Self> {
        let [Some(seq), Some(archived), Some(ts)] = fields else { return None };
        Some(Tip { seq: seq.parse().ok()?, archived: archived.parse().ok()?, ts: ts.parse().ok()? })
    }
}

/// The place of a room's end as `HMGET room epoch seq archived` says it.
pub(super) fn tip_of(fields: &[Option<String>], stored_only: bool) -> Option<Cursor> {
    let [Some(epoch), Some(seq), Some(archived)] = fields else { return None };
    let seq = if stored_only { archived } else { seq };
    Some(Cursor::new(epoch.parse().ok()?, seq.parse().ok()?))
}
