//! A MySQL whose commits fail, take long, or happen without anybody being told. What it keeps of rooms and epochs it
//! decides as the archive does; what statements do is here once more, over maps.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use uuid::Uuid;

use super::{
    link::{Broken, Host, Link, request},
    time::{Group, Rng, Time},
};
use crate::{
    archive::{
        ArchiveError, ArchiveErrorKind, Fence, FirstAnswer, Head, Lost, PodRow, PodView, Stored,
        room::{Ended, Held, whole_since},
        store::highest,
    },
    event::{Ban, Cursor, Entry, Epoch, Event, EventKind, Extent, Room, RoomId, Seq, Status, UserId},
};

/// After this long without an answer nobody knows what became of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// For so long the lock of somebody who says nothing is kept.
const LOCK: Duration = Duration::from_secs(60);

/// What goes wrong with commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    #[default]
    None,
    /// They fail, once in so many times: nothing is done.
    Fails(u64),
    /// Nobody is told whether they were done, once in so many times.
    Unknown(u64),
    /// They take so much longer, at most.
    Slow(Duration),
}

#[derive(Default)]
pub(super) struct Tables {
    pub(super) messages: BTreeMap<(RoomId, Seq), Entry>,
    pub(super) rooms: BTreeMap<RoomId, Held>,
    pub(super) epochs: BTreeMap<RoomId, BTreeMap<Epoch, (Seq, Seq)>>,
    /// Until when they live, and for which generation they gave back.
    pods: BTreeMap<Uuid, (Duration, i64)>,
    pub(super) fence: Option<Fence>,
    returned: BTreeMap<(RoomId, Seq), Entry>,
    pub(super) bans: Vec<Ban>,
    lock: Option<(Group, u64, Duration)>,
    /// Places that were handed in with another event.
    pub(super) conflicts: Vec<(RoomId, Seq)>,
}

pub(super) struct MySql {
    time: Time,
    rng: Rng,
    pub(super) host: Rc<Host>,
    pub(super) trouble: Cell<Trouble>,
    pub(super) tables: RefCell<Tables>,
    locks: Cell<u64>,
}

impl MySql {
    pub(super) fn new(time: &Time, seed: u64) -> Rc<Self> {
        let fence = Fence { generation: 0, is_agreed: true, run_id: String::new(), losses: 0 };
        Rc::new(MySql {
            time: time.clone(),
            rng: Rng::of(seed, 2),
            host: Rc::new(Host::new()),
            trouble: Cell::default(),
            tables: RefCell::new(Tables { fence: Some(fence), ..Tables::default() }),
            locks: Cell::new(0),
        })
    }

    /// Reads.
    pub(super) async fn read<R: 'static>(
        self: &Rc<Self>,
        link: &Rc<Link>,
        work: impl FnOnce(&Tables) -> R + 'static,
    ) -> Result<R, ArchiveError> {
        let here = Rc::clone(self);
        self.ask(link, move || Some(work(&here.tables.borrow()))).await
    }

    /// One transaction.
    pub(super) async fn transact<R: 'static>(
        self: &Rc<Self>,
        link: &Rc<Link>,
        work: impl FnOnce(&mut Tables, Duration) -> R + 'static,
    ) -> Result<R, ArchiveError> {
        if let Trouble::Slow(by) = self.trouble.get() {
            self.time.sleep(by.mul_f64(self.rng.share())).await;
        }
        let here = Rc::clone(self);
        let commit = move || {
            let mut tables = here.tables.borrow_mut();
            let now = here.time.now();
            match here.trouble.get() {
                Trouble::Fails(times) if here.rng.one_in(times) => None,
                Trouble::Unknown(times) if here.rng.one_in(times) => {
                    if here.rng.one_in(2) {
                        work(&mut tables, now);
                    }
                    None
                }
                _ => Some(work(&mut tables, now)),
            }
        };
        self.ask(link, commit).await
    }

    async fn ask<R: 'static>(
        self: &Rc<Self>,
        link: &Rc<Link>,
        work: impl FnOnce() -> Option<R> + 'static,
    ) -> Result<R, ArchiveError> {
        let done = request(link, &self.host, self.host.life.get(), PATIENCE, work).await;
        match done {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(unavailable("the commit failed")),
            Err(Broken::Gone) => {
                // Another connection is made, and not at once.
                self.time.sleep(Duration::from_millis(5)).await;
                Err(unavailable("the connection broke"))
            }
            Err(Broken::Late) => Err(unavailable("there was no answer")),
        }
    }

    /// `GET_LOCK`; the number of the lock.
    pub(super) async fn lock(
        self: &Rc<Self>,
        link: &Rc<Link>,
        group: Group,
    ) -> Result<Option<u64>, ArchiveError> {
        self.locks.set(self.locks.get() + 1);
        let number = self.locks.get();
        let here = Rc::clone(self);
        let lock = move || {
            let (mut tables, now) = (here.tables.borrow_mut(), here.time.now());
            let is_free = tables.lock.is_none_or(|(_, _, heard)| now > heard + LOCK);
            if is_free {
                tables.lock = Some((group, number, now));
            }
            Some(is_free.then_some(number))
        };
        let got = self.ask(link, lock).await;
        if got.is_err() {
            // It is a lock of the connection, which is closed.
            self.tables.borrow_mut().unlock(number);
        }
        got
    }

    /// Connections of a process that died are closed, and its lock is let go of.
    pub(super) fn lost(&self, group: Group) {
        let mut tables = self.tables.borrow_mut();
        if tables.lock.is_some_and(|(owner, ..)| owner == group) {
            tables.lock = None;
        }
    }

    /// It was killed and is started again: what was committed is there.
    pub(super) fn restart(&self, lives: u64) {
        self.host.life.set(lives);
        self.tables.borrow_mut().lock = None;
    }
}

pub(super) fn unavailable(why: &'static str) -> ArchiveError {
    ArchiveError::new(ArchiveErrorKind::Unavailable, why)
}

impl Tables {
    pub(super) fn fence(&self) -> Fence {
        self.fence.clone().expect("it has its row")
    }

    pub(super) fn unlock(&mut self, number: u64) {
        if self.lock.is_some_and(|(_, owner, _)| owner == number) {
            self.lock = None;
        }
    }

    /// Says that the one with this lock is there; false when it is another's.
    pub(super) fn hold(&mut self, number: u64, now: Duration) -> bool {
        match &mut self.lock {
            Some((_, owner, heard)) if *owner == number => {
                *heard = now;
                true
            }
            _ => false,
        }
    }

    pub(super) fn renew(&mut self, pod: Uuid, now: Duration, ttl: Duration) -> PodView {
        let fence = self.fence();
        let was_listed = self.pods.contains_key(&pod);
        self.pods.entry(pod).or_insert((Duration::ZERO, fence.generation)).0 = now + ttl;
        let row = |(id, (until, gave_back)): (&Uuid, &(Duration, i64))| PodRow {
            id: *id,
            is_live: *until > now,
            gave_back: *gave_back,
        };
        PodView { fence, pods: self.pods.iter().map(row).collect(), was_listed }
    }

    pub(super) fn remove(&mut self, pod: Uuid) {
        self.pods.remove(&pod);
    }

    pub(super) fn gave_back(&mut self, pod: Uuid, generation: i64) {
        if let Some((_, gave)) = self.pods.get_mut(&pod) {
            *gave = generation.max(*gave);
        }
    }

    pub(super) fn give_back(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.returned.entry((entry.room, entry.event.seq)).or_insert_with(|| entry.clone());
        }
    }

    /// `Begin`
    pub(super) fn begin(&mut self, run_id: String) -> i64 {
        let fence = self.fence();
        if fence.is_agreed {
            self.returned.clear();
        }
        let generation = fence.generation + 1;
        self.fence = Some(Fence { generation, is_agreed: false, run_id, ..fence });
        generation
    }

    /// `Agree`
    pub(super) fn agree(&mut self, lost: Lost, now: Duration) -> Fence {
        let fence = self.fence();
        let losses = fence.losses + u32::from(lost == Lost::Unknown);
        let entries: Vec<Entry> = std::mem::take(&mut self.returned).into_values().collect();
        let touched: BTreeSet<RoomId> = entries.iter().map(|entry| entry.room).collect();
        let before: BTreeMap<RoomId, Held> = touched
            .into_iter()
            .map(|room| {
                self.settle(room);
                (room, self.rooms[&room].clone())
            })
            .collect();
        self.take(&entries);
        for (room, old) in before {
            let mut held = self.rooms[&room].clone();
            let (from, owed) = whole_since(&old, &held);
            let range = (room, from.next())..=(room, held.tip);
            let kept = if from < held.tip { self.messages.range(range).count() as u64 } else { 0 };
            if kept != owed {
                held.losses = losses;
                let ended = held.move_on();
                self.end(room, ended);
            }
            self.rooms.insert(room, held);
        }
        self.pods.retain(|_, (until, gave_back)| *until > now || *gave_back >= fence.generation);
        let fence = Fence { is_agreed: true, losses, ..fence };
        self.fence = Some(fence.clone());
        fence
    }

    fn end(&mut self, room: RoomId, ended: Ended) {
        let epochs = self.epochs.entry(room).or_default();
        let (_, last) = epochs.entry(ended.epoch).or_insert((ended.base, ended.last));
        *last = ended.last.max(*last);
    }

    /// Makes the room if need be, and has it take all losses into account.
    fn settle(&mut self, room: RoomId) {
        let losses = self.fence().losses;
        let mut held = self.rooms.get(&room).cloned().unwrap_or_else(|| Held::empty(losses));
        if let Some(ended) = held.settle(losses) {
            self.end(room, ended);
        }
        self.rooms.insert(room, held);
    }

    /// `store::take`
    pub(super) fn take(&mut self, entries: &[Entry]) -> Stored {
        let mut sorted: Vec<&Entry> = entries.iter().collect();
        sorted.sort_by_key(|entry| (entry.room, entry.event.seq));
        let mut conflicts = Vec::new();
        sorted.iter().for_each(|entry| self.settle(entry.room));
        sorted.retain(|entry| {
            let place = (entry.room, entry.event.seq);
            let kept = self.messages.entry(place).or_insert_with(|| (*entry).clone());
            let is_same = kept.event.id == entry.event.id;
            if !is_same {
                conflicts.push(place);
            }
            is_same
        });
        let rooms: BTreeSet<RoomId> = sorted.iter().map(|entry| entry.room).collect();
        rooms.iter().for_each(|room| self.scrub(*room));
        for (room, highest) in highest(&sorted) {
            let mut held = self.rooms[&room].clone();
            for entry in highest {
                let begins = held.may_begin_with(&entry.event) && self.begins_an_epoch(room, held.first);
                if let Some(ended) = held.take(&entry.event, begins) {
                    self.end(room, ended);
                }
            }
            self.rooms.insert(room, held);
        }
        self.conflicts.extend(&conflicts);
        Stored { conflicts }
    }

    fn begins_an_epoch(&self, room: RoomId, first: Seq) -> bool {
        self.epochs.get(&room).is_some_and(|epochs| epochs.values().any(|(base, _)| *base == first.before()))
    }

    /// What is deleted has no text, and neither have its edits.
    fn scrub(&mut self, room: RoomId) {
        let of_room = (room, Seq(0))..=(room, Seq::MAX);
        let deletions = self.messages.range(of_room.clone()).map(|(_, entry)| &entry.event);
        let gone: BTreeSet<Seq> = deletions
            .filter(|event| event.kind == EventKind::Delete)
            .filter_map(|event| event.target)
            .collect();
        if gone.is_empty() {
            return;
        }
        for (_, entry) in self.messages.range_mut(of_room) {
            let event = &mut entry.event;
            let message = match event.kind {
                EventKind::Message => Some(event.seq),
                EventKind::Edit => event.target,
                _ => None,
            };
            if event.status.is_none() && message.is_some_and(|message| gone.contains(&message)) {
                *event = event.clone().scrubbed();
            }
        }
    }

    pub(super) fn head(&mut self, room: RoomId) -> Head {
        let losses = self.fence().losses;
        if !self.rooms.contains_key(&room) {
            return Head { extent: Extent::empty(losses), last_ts: 0 };
        }
        self.settle(room);
        let Held { epoch, base, tip, first, last_ts, .. } = self.rooms[&room];
        let past = self.epochs.get(&room).into_iter().flatten();
        let past = past.filter(|(of, _)| **of < epoch).map(|(of, (base, last))| (*of, base.0 + 1..=last.0));
        Head { extent: Extent { epoch, base, tip, first, past: past.collect() }, last_ts }
    }

    pub(super) fn after(&self, room: &Room, after: Seq, upto: Seq, limit: usize) -> Vec<Event> {
        if after >= upto {
            return Vec::new();
        }
        let range = self.messages.range((room.id, after.next())..=(room.id, upto));
        range.take(limit).map(|(_, entry)| entry.event.clone()).collect()
    }

    pub(super) fn before(&self, room: &Room, below: Seq, limit: usize) -> Vec<Event> {
        let range = self.messages.range((room.id, Seq(0))..(room.id, below)).rev();
        let mut events: Vec<Event> = range.take(limit).map(|(_, entry)| entry.event.clone()).collect();
        events.reverse();
        events
    }

    pub(super) fn author(&self, room: RoomId, message: Seq) -> Option<UserId> {
        let event = &self.messages.get(&(room, message))?.event;
        let stands = event.kind == EventKind::Message && event.status != Some(Status::Deleted);
        stands.then_some(event.user.id)
    }

    pub(super) fn find_key(&self, room: RoomId, key: &[u8; 16], since: i64) -> Option<FirstAnswer> {
        let of_room = self.messages.range((room, Seq(0))..=(room, Seq::MAX)).map(|(_, entry)| entry);
        let mut found = of_room.filter_map(|entry| Some((entry, entry.key?)));
        let (entry, key) = found.find(|(entry, known)| known.key == *key && entry.event.ts > since)?;
        let event = &entry.event;
        let cursor = Cursor { epoch: event.epoch, seq: event.seq };
        Some(FirstAnswer { id: event.id, cursor, ts: event.ts, text: key.text })
    }
}
