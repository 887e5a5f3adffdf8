//! What maru's own code asks of its servers, as a pod of the simulator answers it: one message each.

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    link::Broken,
    mysql::{Tables, unavailable},
    pod::Pod,
    time::before,
};
use crate::{
    archive::{ArchiveError, Fence, Lost, PodView},
    event::{Cursor, Entry, Event, Extent, Frame, LogId, Room, RoomId, Seq, UserId},
    http::start::Replayed,
    hub::{Feed, REACH, ReadLog},
    log::{
        Ack, Agreed, Append, LogError, LogErrorKind, Placed, SHOWN_MS, Server, Standing, Tips,
        redis::{
            append::{Answered, OUTBOX, STORED, Taking, hold, is_stored, take},
            call::{Answer, Call},
            keys::DAY_MS,
            read::{Fix, Fixes, Head, Layers, after, below},
        },
    },
    pods::{
        HURRY, LEASE_MS,
        turn::{Guard, Ports},
    },
};

/// The right to lead an agreement.
pub(super) struct Lead {
    pod: Rc<Pod>,
    number: u64,
}

impl Lead {
    async fn transact<R: 'static>(
        &self,
        work: impl FnOnce(&mut Tables, Duration) -> R + 'static,
    ) -> Result<R, ArchiveError> {
        let number = self.number;
        // Whoever has lost the lock has lost its connection with it.
        let locked = move |tables: &mut Tables, now| tables.hold(number, now).then(|| work(tables, now));
        let done = self.pod.world.mysql.transact(&self.pod.archive, locked).await?;
        done.ok_or_else(|| unavailable("the lock is gone"))
    }
}

impl Guard for Lead {
    async fn begin(&mut self, run_id: &str) -> Result<i64, ArchiveError> {
        let run_id = run_id.to_owned();
        self.transact(move |tables, _| tables.begin(run_id)).await
    }

    async fn agree(&mut self, lost: Lost) -> Result<Fence, ArchiveError> {
        self.transact(move |tables, now| tables.agree(lost, now)).await
    }

    async fn hold(&mut self) -> Result<(), ArchiveError> {
        self.transact(|_, _| ()).await
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.pod.world.mysql.tables.borrow_mut().unlock(self.number);
    }
}

impl Ports for Rc<Pod> {
    type Guard = Lead;

    async fn renew(&self) -> Result<PodView, ArchiveError> {
        let id = self.id;
        let ttl = Duration::from_millis(LEASE_MS.unsigned_abs());
        self.world.mysql.transact(&self.archive, move |tables, now| tables.renew(id, now, ttl)).await
    }

    async fn remove(&self, pod: Uuid) -> Result<(), ArchiveError> {
        self.world.mysql.transact(&self.archive, move |tables, _| tables.remove(pod)).await
    }

    async fn fence(&self) -> Result<Fence, ArchiveError> {
        self.world.mysql.read(&self.archive, Tables::fence).await
    }

    async fn lock_fence(&self) -> Result<Option<Lead>, ArchiveError> {
        let number = self.world.mysql.lock(&self.archive, self.group).await?;
        Ok(number.map(|number| Lead { pod: Rc::clone(self), number }))
    }

    async fn give_back(&self, entries: &[Entry]) -> Result<(), ArchiveError> {
        if entries.is_empty() {
            return Ok(());
        }
        let entries = entries.to_vec();
        self.world.mysql.transact(&self.archive, move |tables, _| tables.give_back(&entries)).await
    }

    async fn give_late(&self, entries: &[Entry]) -> Result<(), ArchiveError> {
        let entries = entries.to_vec();
        self.world.mysql.transact(&self.archive, move |tables, _| _ = tables.take(&entries)).await
    }

    async fn gave_back(&self, generation: i64) -> Result<(), ArchiveError> {
        let id = self.id;
        self.world.mysql.transact(&self.archive, move |tables, _| tables.gave_back(id, generation)).await
    }

    async fn server(&self, fence: &Fence) -> Server {
        let Ok(wire) = self.wire(&self.ask).await else { return Server::Silent };
        let (generation, run_id) = (fence.generation, fence.run_id.clone());
        let is_agreed = self.on(&self.ask, &wire, move |store| {
            store.partitions.keys().all(|partition| store.is_agreed(*partition, generation, &run_id))
        });
        match is_agreed.await {
            Err(_) => Server::Silent,
            Ok(is_agreed) if is_agreed && wire.run_id == fence.run_id => Server::Same,
            Ok(_) => Server::Other,
        }
    }

    async fn run_id(&self) -> Option<String> {
        self.wire(&self.ask).await.ok().map(|wire| wire.run_id)
    }

    async fn survivors(&self, partition: u8) -> Result<Vec<Entry>, LogError> {
        if !self.world.partitions.contains(&partition) {
            // Nobody ever speaks there.
            return Ok(Vec::new());
        }
        self.unchecked(move |store| {
            let of = store.partitions.get_mut(&partition).expect("it is there");
            let Some(meta) = &mut of.meta else { return Vec::new() };
            meta.run_id = String::new();
            of.out.values().cloned().collect()
        })
        .await
    }

    async fn say_what_is_missing(&self, generation: i64, shown: &[Entry]) -> Result<(), LogError> {
        let Some(taken_in) = self.generation.get() else { return Ok(()) };
        let places = self.held.borrow().places();
        let shown: BTreeMap<RoomId, Seq> = shown.iter().map(|entry| (entry.room, entry.event.seq)).collect();
        self.unchecked(move |store| {
            let has_all = store.partitions.iter().all(|(partition, of)| {
                let n = places[usize::from(*partition)];
                of.meta.as_ref().is_some_and(|meta| meta.generation == taken_in && meta.n >= n)
            });
            let has_shown = shown
                .iter()
                .all(|(room, shown)| store.of(*room).rooms.get(room).is_some_and(|head| head.seq >= *shown));
            if !(has_all && has_shown) {
                store.missing.insert(generation);
            }
        })
        .await
    }

    async fn keys_kept(&self, generation: i64) -> Result<Option<i64>, LogError> {
        self.unchecked(move |store| {
            let since = store.partitions.values().map(|of| Some(of.meta.as_ref()?.keys_since));
            let since = since.collect::<Option<Vec<i64>>>()?.into_iter().max();
            since.filter(|_| !store.missing.contains(&generation))
        })
        .await
    }

    async fn begin(&self, generation: i64, run_id: &str, keys_since: i64) -> Result<(), LogError> {
        for partition in self.world.partitions.clone() {
            let wire = self.wire(&self.ask).await.map_err(|_| LogErrorKind::Unavailable)?;
            if wire.run_id != run_id {
                return Err(LogErrorKind::Unavailable.into());
            }
            let run_id = run_id.to_owned();
            let begin = move |store: &mut super::redis::Store| {
                store.begin(partition, generation, &run_id, keys_since)
            };
            if !matches!(self.on(&self.ask, &wire, begin).await, Ok(true)) {
                return Err(LogErrorKind::Unavailable.into());
            }
        }
        Ok(())
    }

    async fn all_marks(&self) -> Result<[Vec<u64>; 2], LogError> {
        let partitions: Vec<u8> = self.world.partitions.iter().copied().collect();
        self.look(partitions, |store| {
            let metas = || store.partitions.values().filter_map(|of| of.meta.as_ref());
            [metas().map(|meta| meta.n).collect(), metas().map(|meta| meta.archived).collect()]
        })
        .await
    }

    async fn sweep_old(&self, _generation: i64) {}

    fn held(&self) -> Vec<Entry> {
        self.held.borrow().all()
    }

    fn shown(&self) -> Vec<Entry> {
        if self.stored_only() { Vec::new() } else { self.feeds.shown(Pod::millis(self) - SHOWN_MS) }
    }

    fn release_all(&self) {
        self.held.borrow_mut().clear();
    }

    fn stand(&self, standing: Standing) {
        if let Standing::Agreed(agreed) = &standing {
            self.generation.set(Some(agreed.generation));
        }
        self.standing.send_if_modified(|present| {
            let is_new = *present != standing;
            *present = standing;
            is_new
        });
    }

    fn is_standing(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Agreed(_))
    }

    fn see(&self, live: Vec<Uuid>) {
        self.live.send_if_modified(|known| {
            let is_new = *known != live;
            *known = live;
            is_new
        });
    }

    fn took_up(&self, left_out: bool) {
        self.feeds.look_again();
        if left_out {
            self.world.note.borrow_mut().left_out += 1;
            self.streams.end_all();
        }
    }

    fn leads(&self) {
        self.world.note.borrow_mut().fences += 1;
    }

    async fn pause(&self) {
        self.sleep(HURRY / 2).await;
    }

    fn millis(&self) -> i64 {
        Pod::millis(self)
    }
}

impl Pod {
    /// Asks whatever process answers.
    async fn unchecked<R: 'static>(
        &self,
        work: impl FnOnce(&mut super::redis::Store) -> R + 'static,
    ) -> Result<R, LogError> {
        let wire = self.wire(&self.ask).await.map_err(|_| LogErrorKind::Unavailable)?;
        self.on(&self.ask, &wire, work).await.map_err(|_| LogErrorKind::Unavailable.into())
    }

    /// `RedisLog::tips`
    pub(super) async fn tips(&self, tips: &mut Tips) -> Result<Vec<(RoomId, Cursor)>, LogError> {
        let mut by_partition: BTreeMap<u8, Vec<RoomId>> = BTreeMap::new();
        for room in self.feeds.rooms() {
            by_partition.entry(LogId::from(room).partition()).or_default().push(room);
        }
        let asked: Vec<u8> = self.world.partitions.iter().copied().collect();
        let of = asked.clone();
        let marks = self.look(asked.clone(), move |store| {
            let meta = |partition: &u8| store.partitions[partition].meta.as_ref().map(|m| (m.n, m.archived));
            of.iter().map(|partition| meta(partition).unwrap_or_default()).collect::<Vec<_>>()
        });
        let marks = marks.await?;
        tips.of(self.agreed()?.generation);
        let mut changed: Vec<(u64, Vec<RoomId>)> = Vec::new();
        for (partition, (n, archived)) in asked.iter().zip(marks) {
            self.held.borrow_mut().release(*partition, archived);
            let Some(rooms) = by_partition.get(partition) else { continue };
            if let Some([since, _]) =
                tips.look(*partition, [if self.stored_only() { archived } else { n }, 0])
            {
                changed.push((since, rooms.clone()));
            }
        }
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let stored_only = self.stored_only();
        self.look(asked, move |store| {
            let mut ends = Vec::new();
            for (since, rooms) in &changed {
                for room in rooms.iter().filter(|room| store.recent.get(room).is_some_and(|n| n > since)) {
                    ends.extend(store.extent(*room, stored_only).map(|extent| (*room, extent.tip())));
                }
            }
            ends
        })
        .await
    }

    /// `RedisLog::append`
    pub(super) async fn append(self: &Rc<Self>, append: Append) -> Result<Placed, LogError> {
        let wants_stored = append.ack == Some(Ack::Stored) || self.stored_only();
        let room = append.room.id;
        if self.held.borrow().is_full() {
            return Err(LogErrorKind::Overloaded.into());
        }
        let mut call = Call::new(append, None);
        call.event.id = Uuid::from_u64_pair(self.rng.next(), self.rng.next());
        let standing = self.standing.subscribe();
        let agreed = self.agreed()?;
        let placed = take(self, call).await?;
        if !wants_stored {
            return Ok(placed);
        }
        self.waits.notify_one();
        let stored = is_stored(&self.stored, standing, &agreed, room, placed.cursor.seq);
        if let Some(true) = before(stored, self.world.time.sleep(STORED)).await {
            return Ok(Placed { durability: Ack::Stored, ..placed });
        }
        Err(LogErrorKind::OutcomeUnknown.into())
    }
}

impl Taking for Rc<Pod> {
    async fn send(&self, call: Call) -> Result<Answered, LogError> {
        // In a task of its own, which goes on when the client hangs up.
        let (answer, answered) = tokio::sync::oneshot::channel();
        let pod = Rc::clone(self);
        self.spawn(async move { _ = answer.send(pod.send_append(call).await) });
        answered.await.map_err(|_| LogErrorKind::OutcomeUnknown)?
    }

    async fn seed(&self, call: &Call, agreed: &Agreed, retired: &str) -> Result<(), LogError> {
        let room = call.room.id;
        let head = self.world.mysql.transact(&self.archive, move |tables, _| tables.head(room)).await?;
        let (wire, now) = self.ready(&self.appends).await?;
        if now != *agreed {
            return Err(LogErrorKind::Unavailable.into());
        }
        let retired = retired.parse().unwrap_or(0);
        let seed = move |store: &mut super::redis::Store| {
            if store.is_agreed(LogId::from(room).partition(), now.generation, &now.run_id) {
                store.seed(room, &head, retired);
            }
        };
        self.on(&self.appends, &wire, seed).await.map_err(|_| LogErrorKind::Unavailable.into())
    }

    async fn ask_for_key(&self, call: &Call) -> Result<Option<Placed>, LogError> {
        let Some(key) = call.key else { return Ok(None) };
        let (room, since) = (call.room.id, Pod::millis(self) - DAY_MS);
        let found = move |tables: &Tables| tables.find_key(room, &key.key, since);
        let Some(first) = self.world.mysql.read(&self.archive, found).await? else { return Ok(None) };
        if first.text != key.text {
            return Err(LogErrorKind::KeyReused.into());
        }
        let durability = Ack::Stored;
        Ok(Some(Placed { id: first.id, cursor: first.cursor, ts: first.ts, duplicate: true, durability }))
    }

    async fn author(&self, room: RoomId, message: Seq) -> Result<Option<UserId>, LogError> {
        Ok(self.world.mysql.read(&self.archive, move |tables| tables.author(room, message)).await?)
    }

    fn suspect(&self) {
        Pod::suspect(self);
    }
}

impl Pod {
    async fn send_append(self: Rc<Self>, call: Call) -> Result<Answered, LogError> {
        let (wire, agreed) = self.ready(&self.appends).await?;
        let now = self.millis();
        let (sent, to, world) = (call.clone(), agreed.clone(), Rc::clone(&self.world));
        let publishes = self.world.plan.by_redis && !self.stored_only();
        let append = move |store: &mut super::redis::Store| {
            let (answer, n) = store.append(&sent, to.generation, &to.run_id, now, OUTBOX);
            if let (Answer::Done { cursor, ts, .. }, true) = (&answer, publishes) {
                let entry = sent.placed(*cursor, *ts);
                world.publish_event(&entry);
            }
            (answer, n)
        };
        let (answer, _) =
            self.on(&self.appends, &wire, append).await.map_err(|_: Broken| LogErrorKind::OutcomeUnknown)?;
        if let Answer::Done { cursor, ts, n } = answer {
            let entry = call.placed(cursor, ts);
            let said = Frame::new(&entry.event).said();
            hold(&mut self.held.borrow_mut(), &self.standing.borrow(), &agreed, n, entry)?;
            if !self.world.plan.by_redis && !self.stored_only() {
                self.say(call.room.id.into(), said);
            }
        }
        Ok(Answered { call, agreed, answer })
    }
}

impl Layers for Pod {
    async fn head(&self, room: RoomId) -> Result<Option<Head>, LogError> {
        let stored_only = self.stored_only();
        self.look(vec![LogId::from(room).partition()], move |store| {
            let extent = store.extent(room, stored_only)?;
            Some(Head { extent, has_fixes: !store.of(room).rooms[&room].fixes.is_empty() })
        })
        .await
    }

    async fn oldest(&self, room: RoomId, after: Seq, tip: Seq, limit: usize) -> Result<Vec<Event>, LogError> {
        self.look(vec![LogId::from(room).partition()], move |store| {
            let Some(head) = store.of(room).rooms.get(&room) else { return Vec::new() };
            head.log.range(after.next()..=tip).take(limit).map(|(_, entry)| entry.event.clone()).collect()
        })
        .await
    }

    async fn newest(&self, room: RoomId, end: Seq, count: usize) -> Result<Vec<Event>, LogError> {
        self.look(vec![LogId::from(room).partition()], move |store| {
            let Some(head) = store.of(room).rooms.get(&room) else { return Vec::new() };
            let newest = head.log.range(..end).rev().take(count);
            let mut events: Vec<Event> = newest.map(|(_, entry)| entry.event.clone()).collect();
            events.reverse();
            events
        })
        .await
    }

    async fn fixes(&self, room: RoomId, messages: &[Seq]) -> Result<Fixes, LogError> {
        let messages = messages.to_vec();
        self.look(vec![LogId::from(room).partition()], move |store| {
            let Some(head) = store.of(room).rooms.get(&room) else { return Fixes::new() };
            let fix = |seq: &Seq| {
                let fixed = head.fixes.get(seq)?;
                Some((
                    *seq,
                    match fixed.kind {
                        crate::event::EventKind::Delete => Fix::Deleted,
                        _ => Fix::Edited { text: Arc::from(fixed.text.as_str()), ts: fixed.ts },
                    },
                ))
            };
            messages.iter().filter_map(fix).collect()
        })
        .await
    }

    async fn archived_after(
        &self,
        room: &Room,
        after: Seq,
        upto: Seq,
        limit: usize,
    ) -> Result<Vec<Event>, LogError> {
        let room = room.clone();
        Ok(self
            .world
            .mysql
            .read(&self.archive, move |tables| tables.after(&room, after, upto, limit))
            .await?)
    }

    async fn archived_before(&self, room: &Room, end: Seq, count: usize) -> Result<Vec<Event>, LogError> {
        let room = room.clone();
        Ok(self.world.mysql.read(&self.archive, move |tables| tables.before(&room, end, count)).await?)
    }
}

impl ReadLog for Pod {
    async fn extent(&self, room: &Room) -> Result<Extent, LogError> {
        let id = room.id;
        match self.head(id).await? {
            Some(head) => Ok(head.extent),
            None => {
                let head = self.world.mysql.transact(&self.archive, move |tables, _| tables.head(id)).await?;
                Ok(head.extent)
            }
        }
    }

    async fn read(&self, room: &Room, from: Seq, limit: usize) -> Result<Vec<Frame>, LogError> {
        Ok(after(self, room, from, limit).await?.frames())
    }

    async fn last(&self, room: &Room, count: usize) -> Result<Vec<Frame>, LogError> {
        Ok(below(self, room, Seq::MAX, count).await?.frames())
    }
}

impl Replayed for Pod {
    async fn reach(&self, feed: &Arc<Feed>, place: Cursor) -> Result<(), LogError> {
        if place <= feed.tip() || !self.feeds.seek(self, feed, place).await? {
            return Ok(());
        }
        let reached = before(feed.reached(place), self.world.time.sleep(REACH)).await;
        reached.ok_or_else(|| LogErrorKind::Unavailable.into())
    }

    async fn read(&self, room: &Room, from: Seq, limit: usize) -> Result<Vec<Frame>, LogError> {
        ReadLog::read(self, room, from, limit).await
    }

    async fn last(&self, room: &Room, count: usize) -> Result<Vec<Frame>, LogError> {
        ReadLog::last(self, room, count).await
    }
}
