//! What happens in the rooms of one person, as a log of pointers. It lives as long as a generation: the next has another
//! epoch, and seqs that no other had.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redis::{Value, from_redis_value, streams::StreamRangeReply};
use uuid::Uuid;

use super::{
    RedisLog, members,
    read::{Fix, Fixes, events, message_of, read_fix},
};
use crate::{
    event::{Cursor, Epoch, Event, EventKind, Extent, Frame, Membership, Origin, RoomId, Seq, UserId},
    log::{LogError, LogErrorKind},
};

/// By how much the seqs of a generation's inboxes are moved on.
const STRIDE: i64 = 1 << 32;

/// The epoch of all inboxes of a generation.
pub(super) fn epoch(generation: i64) -> Epoch {
    Epoch(u32::try_from(generation).unwrap_or(u32::MAX - 1) + 1)
}

/// The place before the first of any inbox of a generation.
pub(super) fn base(generation: i64) -> Seq {
    Seq((generation * STRIDE).cast_unsigned())
}

/// An entry of an inbox.
#[derive(Clone, Copy, Debug)]
struct Pointer {
    seq: Seq,
    to: Origin,
}

/// What somebody may see of a room.
#[derive(Clone, Copy, Debug)]
struct Sight {
    /// Redis has the room: the archive is not asked whether they are a member.
    is_here: bool,
    membership: Option<Membership>,
    has_fixes: bool,
}

/// Events that pointers lead to, and from where on their rooms are seen.
#[derive(Default)]
struct Found {
    sights: HashMap<RoomId, Sight>,
    events: HashMap<(RoomId, Seq), Event>,
    fixes: HashMap<RoomId, Fixes>,
    /// Why some are not found.
    failed: Option<LogError>,
}

impl RedisLog {
    pub(in crate::log) async fn inbox_extent(&self, user: UserId) -> Result<Extent, LogError> {
        let answers = self.look(RoomId(user.0), |pipeline, names| {
            pipeline.hget(names.mailbox(user), "tip").xrange_count(names.inbox(user), "-", "+", 1);
        });
        let answers = answers.await?;
        let generation = self.agreed()?.generation;
        let base = base(generation);
        let tip: Option<u64> = from_redis_value(answers[0].clone())?;
        let tip = tip.map_or(base, Seq);
        let first = pointers(&answers[1])?.first().map_or(tip.next(), |pointer| pointer.seq);
        Ok(Extent { epoch: epoch(generation), base, tip, first, past: Vec::new() })
    }

    pub(in crate::log) async fn inbox_read(
        &self,
        user: UserId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Frame>, LogError> {
        let answers = self.look(RoomId(user.0), |pipeline, names| {
            pipeline.xrange_count(names.inbox(user), format!("{}-0", after.next()), "+", limit);
        });
        let pointers = pointers(&answers.await?[0])?;
        let (frames, failed) = self.resolve(user, &pointers).await?;
        match failed {
            Some(e) => Err(e),
            None => Ok(frames.into_iter().flatten().collect()),
        }
    }

    /// While the archive is away: those of them that can be given, unless there are none.
    pub(in crate::log) async fn inbox_last(
        &self,
        user: UserId,
        count: usize,
    ) -> Result<Vec<Frame>, LogError> {
        let answers = self.look(RoomId(user.0), |pipeline, names| {
            pipeline.xrevrange_count(names.inbox(user), "+", "-", count);
        });
        let mut pointers = pointers(&answers.await?[0])?;
        pointers.reverse();
        let (frames, failed) = self.resolve(user, &pointers).await?;
        let mut newest: Vec<Frame> = frames.into_iter().rev().map_while(|frame| frame).collect();
        newest.reverse();
        match failed {
            Some(e) if newest.is_empty() => Err(e),
            _ => Ok(newest),
        }
    }

    /// What these entries are now; nothing where the archive, which would know, does not answer.
    async fn resolve(
        &self,
        user: UserId,
        pointers: &[Pointer],
    ) -> Result<(Vec<Option<Frame>>, Option<LogError>), LogError> {
        if pointers.is_empty() {
            return Ok((Vec::new(), None));
        }
        let mut found = self.look_for(user, pointers).await?;
        self.look_in_archive(user, pointers, &mut found).await;
        self.look_for_fixes(&mut found).await?;
        let epoch = epoch(self.agreed()?.generation);
        let frames = pointers.iter().map(|pointer| {
            let cursor = Cursor { epoch, seq: pointer.seq };
            match found.given(user, pointer.to) {
                Some(event) => Some(Frame::pointing(&event, pointer.to.room, cursor)),
                None if found.failed.is_some() && !found.knows(pointer.to) => None,
                None => Some(Frame::gone(cursor)),
            }
        });
        Ok((frames.collect(), found.failed.take()))
    }

    /// What Redis has of it.
    async fn look_for(&self, user: UserId, pointers: &[Pointer]) -> Result<Found, LogError> {
        let rooms: BTreeSet<RoomId> = pointers.iter().map(|pointer| pointer.to.room).collect();
        let rooms: Vec<RoomId> = rooms.into_iter().collect();
        let answers = self.look_over(members::partitions(&rooms), |pipeline, names| {
            for room in &rooms {
                pipeline.hexists(names.room(*room), "seq");
                pipeline.hget(names.members(*room), &user.0.as_bytes()[..]).hlen(names.fix(*room));
            }
            for Pointer { to, .. } in pointers {
                let place = format!("{}-0", to.seq);
                pipeline.xrange(names.log(to.room), &place, &place);
            }
        });
        let mut answers = answers.await?;
        let entries = answers.split_off(3 * rooms.len());
        let mut found = Found::default();
        for (of_room, room) in answers.chunks_exact(3).zip(rooms) {
            let sight = Sight {
                is_here: from_redis_value(of_room[0].clone())?,
                membership: members::membership(&of_room[1])?,
                has_fixes: from_redis_value::<u64>(of_room[2].clone())? > 0,
            };
            found.sights.insert(room, sight);
        }
        for (entry, Pointer { to, .. }) in entries.iter().zip(pointers) {
            if let Some(event) = events(Some(entry))?.pop() {
                found.events.insert((to.room, to.seq), event);
            }
        }
        Ok(found)
    }

    /// What only the archive has of it: events, and in which of the rooms somebody is.
    async fn look_in_archive(&self, user: UserId, pointers: &[Pointer], found: &mut Found) {
        let places = pointers.iter().map(|pointer| (pointer.to.room, pointer.to.seq));
        let missing: Vec<_> = places.filter(|place| !found.events.contains_key(place)).collect();
        let elsewhere = found.sights.iter().filter(|(_, sight)| !sight.is_here).map(|(room, _)| *room);
        let elsewhere: Vec<RoomId> = elsewhere.collect();
        if missing.is_empty() && elsewhere.is_empty() {
            return;
        }
        let asked = async {
            let events = self.archive.events(&missing).await?;
            Ok((events, self.archive.memberships(user, &elsewhere).await?))
        };
        match asked.await {
            Ok((events, memberships)) => {
                found.events.extend(events.into_iter().map(|(room, event)| ((room, event.seq), event)));
                for (room, membership) in memberships {
                    found.sights.entry(room).and_modify(|sight| sight.membership = Some(membership));
                }
            }
            Err(e) => found.failed = Some(crate::archive::ArchiveError::into(e)),
        }
    }

    /// What corrects the events that were found.
    async fn look_for_fixes(&self, found: &mut Found) -> Result<(), LogError> {
        let mut asked: BTreeMap<RoomId, BTreeSet<Seq>> = BTreeMap::new();
        for ((room, _), event) in &found.events {
            let has_fixes = found.sights.get(room).is_some_and(|sight| sight.has_fixes);
            if let Some(message) = message_of(event).filter(|_| has_fixes) {
                asked.entry(*room).or_default().insert(message);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let rooms: Vec<RoomId> = asked.keys().copied().collect();
        let answers = self.look_over(members::partitions(&rooms), |pipeline, names| {
            for (room, messages) in &asked {
                let fields: Vec<String> = messages.iter().map(Seq::to_string).collect();
                pipeline.hmget(names.fix(*room), &fields);
            }
        });
        for (answer, (room, messages)) in answers.await?.into_iter().zip(asked) {
            let fixes: Vec<Option<Vec<u8>>> = from_redis_value(answer)?;
            let fixes =
                messages.into_iter().zip(fixes).filter_map(|(seq, fix)| Some((seq, read_fix(&fix?)?)));
            found.fixes.insert(room, fixes.collect());
        }
        Ok(())
    }
}

impl Found {
    /// The event, as somebody may see it now.
    fn given(&self, user: UserId, to: Origin) -> Option<Event> {
        let event = self.events.get(&(to.room, to.seq))?;
        let from = self.sights.get(&to.room)?.membership.map(|membership| membership.from);
        // Whoever left may know that they did.
        let is_own_leave = event.kind == EventKind::Leave && event.user.id == user;
        if !is_own_leave && from.is_none_or(|from| to.seq < from) {
            return None;
        }
        let fix = || self.fixes.get(&to.room)?.get(&message_of(event)?);
        let is_deleted = matches!(fix(), Some(Fix::Deleted));
        Some(if is_deleted { event.clone().scrubbed() } else { event.clone() })
    }

    /// Was everything found that there is to know of it, although the archive did not answer?
    fn knows(&self, to: Origin) -> bool {
        self.events.contains_key(&(to.room, to.seq))
            && self.sights.get(&to.room).is_some_and(|sight| sight.is_here)
    }
}

/// The entries of an answer to `XRANGE` or `XREVRANGE` of an inbox.
fn pointers(answer: &Value) -> Result<Vec<Pointer>, LogError> {
    let found: StreamRangeReply = from_redis_value(answer.clone())?;
    let pointer = |id: &redis::streams::StreamId| {
        let seq = id.id.split_once('-')?.0.parse().ok()?;
        let room = RoomId(Uuid::from_slice(&id.get::<Vec<u8>>("r")?).ok()?);
        Some(Pointer { seq, to: Origin { room, seq: id.get::<String>("s")?.parse().ok()? } })
    };
    found.ids.iter().map(|id| pointer(id).ok_or_else(|| LogErrorKind::Unavailable.into())).collect()
}
