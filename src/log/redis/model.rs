//! The rules of the scripts once more, over plain values: state and call in, state and answer out.
//!
//! A property test sends the same calls here and to a real server and compares every answer and what is kept, so that
//! this can stand for Redis wherever Redis is simulated.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    call::{Act, Answer, Call},
    keys::DAY_MS,
};
use crate::{
    archive::Participant,
    event::{
        Cursor, Entry, Epoch, EventKind, Extent, MOST_MEMBERS, Membership, Role, RoomId, RoomKind, Seq,
        UserId,
    },
};

/// One partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partition {
    pub(crate) meta: Option<Meta>,
    pub(crate) rooms: BTreeMap<RoomId, Head>,
    pub(crate) out: BTreeMap<u64, Entry>,
    pub(crate) mail: BTreeMap<u64, Entry>,
    keys: BTreeMap<(RoomId, Uuid, i64, [u8; 16]), Known>,
}

/// `meta`
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) generation: i64,
    pub(crate) run_id: String,
    pub(crate) n: u64,
    pub(crate) archived: u64,
    pub(crate) keys_since: i64,
    pub(crate) retired: u64,
    /// Whose the partition is, until when by the server's clock, and what the owner's writes carry.
    pub(crate) owner: Option<Uuid>,
    pub(crate) until: i64,
    pub(crate) token: u64,
}

/// `room`, `log`, `fix`, `members` and `read` of one room.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) epoch: Epoch,
    /// Its log has no event yet.
    pub(crate) is_new: bool,
    pub(crate) members: BTreeMap<UserId, Membership>,
    pub(crate) read: BTreeMap<UserId, Seq>,
    pub(crate) seq: Seq,
    pub(crate) ts: i64,
    pub(crate) archived: Seq,
    pub(crate) log: BTreeMap<Seq, Entry>,
    pub(crate) fixes: BTreeMap<Seq, Fixed>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) kind: EventKind,
    pub(crate) n: u64,
    pub(crate) ts: i64,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    text: [u8; 16],
    id: Uuid,
    cursor: Cursor,
    ts: i64,
}

impl Partition {
    /// `begin.lua`, on a partition that has nothing.
    pub(crate) fn begin(&mut self, generation: i64, run_id: &str, keys_since: i64) {
        let run_id = run_id.to_owned();
        let (owner, until, token) = (None, 0, 0);
        let meta =
            Meta { generation, run_id, n: 0, archived: 0, keys_since, retired: 0, owner, until, token };
        self.meta = Some(meta);
    }

    /// The same on one that may have an older generation: with another, all names but those of the keys are others.
    pub(crate) fn begin_anew(&mut self, generation: i64, run_id: &str, keys_since: i64, is_other: bool) {
        if is_other {
            *self = Partition { keys: std::mem::take(&mut self.keys), ..Partition::default() };
        }
        self.begin(generation, run_id, keys_since);
    }

    /// `own.lua`: the token, if it is this pod's now.
    pub(crate) fn own(&mut self, pod: Uuid, now: i64, time: i64) -> Option<u64> {
        let meta = self.meta.as_mut()?;
        let is_mine = meta.owner == Some(pod);
        if !is_mine && meta.until > now {
            return None;
        }
        meta.token += u64::from(!is_mine);
        (meta.owner, meta.until) = ((time > 0).then_some(pod), now + time);
        Some(meta.token)
    }

    pub(crate) fn is_agreed(&self, generation: i64, run_id: &str) -> bool {
        self.meta.as_ref().is_some_and(|meta| meta.generation == generation && meta.run_id == run_id)
    }

    /// `append.lua`
    pub(crate) fn append(
        &mut self,
        call: &Call,
        generation: i64,
        run_id: &str,
        now: i64,
        outbox: u64,
    ) -> Answer {
        if !self.is_agreed(generation, run_id) {
            return Answer::Fenced;
        }
        let meta = self.meta.as_mut().expect("it is agreed on");
        let Some(head) = self.rooms.get_mut(&call.room.id) else {
            return Answer::NoRoom { retired: meta.retired.to_string() };
        };
        let has_members = call.room.kind == RoomKind::Members;
        if has_members && let Some(refused) = head.refuses(call) {
            return refused;
        }
        if let Some(key) = &call.key {
            let on = |day: i64| (call.room.id, call.who, day, key.key);
            let today = now.div_euclid(DAY_MS);
            let known = [today, today - 1, today + 1].into_iter().find_map(|day| self.keys.get(&on(day)));
            match known {
                Some(known) if known.ts > now - DAY_MS => {
                    return match known.text == key.text {
                        true => Answer::Known { cursor: known.cursor, ts: known.ts, id: known.id },
                        false => Answer::Reused,
                    };
                }
                Some(_) => {}
                None if !call.is_unknown && meta.keys_since > now - DAY_MS => return Answer::Ask,
                None => {}
            }
        }
        if let Some(target) = call.event.target {
            if head.fixes.get(&target).is_some_and(|fixed| fixed.kind == EventKind::Delete) {
                return Answer::NotFound;
            }
            let author = match head.log.get(&target) {
                Some(found) if found.event.kind != EventKind::Message => return Answer::NotFound,
                Some(found) => found.event.user.id,
                None => match call.author {
                    Some(author) => author,
                    None => return Answer::Target,
                },
            };
            if author != call.actor && !matches!(call.act, Act::Moderate(_)) {
                return Answer::NotYours;
            }
        }
        let mail = if has_members { self.mail.len() } else { 0 };
        if self.out.len().max(mail) as u64 >= outbox {
            return Answer::Full;
        }
        meta.n += 1;
        head.seq = head.seq.next();
        head.ts = head.ts.max(now);
        let cursor = Cursor { epoch: head.epoch, seq: head.seq };
        let entry = call.placed(cursor, head.ts);
        head.log.insert(head.seq, entry.clone());
        if let Some(key) = &call.key {
            let known = Known { text: key.text, id: entry.event.id, cursor, ts: head.ts };
            self.keys.insert((call.room.id, call.who, now.div_euclid(DAY_MS), key.key), known);
        }
        if let Some(target) = call.event.target {
            let text = match call.event.kind {
                EventKind::Edit => call.event.text.as_deref().unwrap_or_default().to_owned(),
                _ => String::new(),
            };
            head.fixes.insert(target, Fixed { kind: call.event.kind, n: meta.n, ts: head.ts, text });
        }
        if has_members {
            head.change_members(call);
            self.mail.insert(meta.n, Entry { key: None, ..entry.clone() });
        }
        head.is_new = false;
        self.out.insert(meta.n, entry);
        Answer::Done { cursor, ts: head.ts, n: meta.n }
    }

    /// `seed.lua`; true when it says `OK`.
    pub(crate) fn seed(
        &mut self,
        room: RoomId,
        extent: &Extent,
        ts: i64,
        retired: u64,
        members: &[Participant],
    ) -> bool {
        if self.meta.as_ref().is_none_or(|meta| meta.retired != retired) {
            return false;
        }
        self.rooms.entry(room).or_insert_with(|| Head {
            epoch: extent.epoch,
            is_new: extent.tip == extent.base && extent.past.iter().all(|(_, seqs)| seqs.is_empty()),
            members: members.iter().map(|member| (member.user, member.membership)).collect(),
            read: members.iter().map(|member| (member.user, member.read)).collect(),
            seq: extent.tip,
            ts,
            archived: extent.tip,
            log: BTreeMap::new(),
            fixes: BTreeMap::new(),
        });
        true
    }

    /// `archived.lua`: the archive has everything up to `n`.
    pub(crate) fn archived(&mut self, n: u64, now: i64, kept: u64, fix_kept: i64) {
        let mut last: BTreeMap<RoomId, Seq> = BTreeMap::new();
        for entry in self.out.range(..=n).map(|(_, entry)| entry) {
            last.insert(entry.room, entry.event.seq);
        }
        self.archived_up_to(n, &last, now, kept, fix_kept);
    }

    /// The same of a batch that brings the rooms so far.
    pub(crate) fn archived_up_to(
        &mut self,
        n: u64,
        last: &BTreeMap<RoomId, Seq>,
        now: i64,
        kept: u64,
        fix_kept: i64,
    ) {
        let Some(meta) = self.meta.as_mut() else { return };
        meta.archived = meta.archived.max(n);
        let n = meta.archived;
        self.out.retain(|at, _| *at > n);
        for (room, seq) in last {
            let Some(head) = self.rooms.get_mut(room) else { continue };
            let seq = *seq;
            head.archived = head.archived.max(seq);
            let first = Seq(head.archived.0.min(head.seq.0.saturating_sub(kept)) + 1);
            head.log.retain(|seq, _| *seq >= first);
            head.fixes.retain(|seq, fixed| *seq >= first || fixed.n > n || fixed.ts >= now - fix_kept);
        }
    }
}

impl Head {
    /// What members may not do, and what is so already.
    fn refuses(&self, call: &Call) -> Option<Answer> {
        if !matches!(call.act, Act::Moderate(_)) && !self.members.contains_key(&call.actor) {
            return Some(Answer::NotFound);
        }
        if call.act == Act::Open {
            return (!self.is_new).then_some(Answer::NoChange);
        }
        let is_member = self.members.contains_key(&call.act.member()?);
        let is_join = call.event.kind == EventKind::Join;
        if is_member == is_join {
            return Some(Answer::NoChange);
        }
        (is_join && self.members.len() >= MOST_MEMBERS).then_some(Answer::Crowded)
    }

    /// After the event has its place.
    fn change_members(&mut self, call: &Call) {
        match (call.event.kind, call.act.member()) {
            (EventKind::Message, _) => {
                self.read.insert(call.actor, self.seq);
            }
            (EventKind::Join, Some(member)) => {
                self.members.insert(member, Membership { role: Role::Member, from: self.seq });
                self.read.insert(member, self.seq.before());
            }
            (EventKind::Leave, Some(member)) => {
                self.members.remove(&member);
                self.read.remove(&member);
            }
            _ => {}
        }
    }
}
