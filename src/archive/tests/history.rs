//! Against lists that are kept by hand.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// What can be added to a room; places among its messages are drawn as parts of 255.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Say,
    Edit(u8),
    Delete(u8),
}

fn asks(count: usize) -> impl Strategy<Value = Vec<(usize, Ask)>> {
    let ask = prop_oneof![
        6 => Just(Ask::Say),
        2 => any::<u8>().prop_map(Ask::Edit),
        1 => any::<u8>().prop_map(Ask::Delete),
    ];
    proptest::collection::vec((0..7usize, ask), count)
}

/// A list of events as SQLite's log would keep it.
#[derive(Default)]
struct Model {
    events: Vec<Event>,
    messages: Vec<Seq>,
}

impl Model {
    fn add(&mut self, room: &Room, ask: Ask) -> Entry {
        let seq = self.events.len() as u64 + 1;
        let drawn = |part: u8| self.messages[usize::from(part) * self.messages.len() / 256].0;
        let entry = match ask {
            Ask::Edit(part) if !self.messages.is_empty() => {
                edited(room, seq, drawn(part), &format!("e{seq}"))
            }
            Ask::Delete(part) if !self.messages.is_empty() => deleted(room, seq, drawn(part)),
            _ => said(room, seq, &format!("t{seq}")),
        };
        let mut event = entry.event.clone();
        match (event.kind, event.target) {
            (EventKind::Message, _) => self.messages.push(event.seq),
            (EventKind::Edit, Some(target)) if self.at(target).status.is_some() => event = event.scrubbed(),
            (EventKind::Delete, target) => {
                for event in self.events.iter_mut().filter(|event| event.kind != EventKind::Delete) {
                    if Some(event.seq) == target || event.target == target {
                        *event = event.clone().scrubbed();
                    }
                }
            }
            _ => {}
        }
        self.events.push(event);
        entry
    }

    fn at(&self, seq: Seq) -> &Event {
        &self.events[usize::try_from(seq.0).unwrap() - 1]
    }

    fn edits(&self) -> Vec<(Seq, Arc<str>, i64)> {
        let mut last: HashMap<Seq, &Event> = HashMap::new();
        for edit in self.events.iter().filter(|event| event.kind == EventKind::Edit) {
            last.insert(edit.target.unwrap(), edit);
        }
        let edited = self.messages.iter().filter(|seq| self.at(**seq).status.is_none());
        edited.filter_map(|seq| last.get(seq).map(|e| (*seq, e.text.clone().unwrap(), e.ts))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn history_comes_back_as_it_was_written(
        asks in asks(5_000),
        sizes in proptest::collection::vec((1..1000usize, any::<bool>()), 100),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bed = Bed::new().await;
            let rooms: Vec<Room> = (0..7).map(|n| room(&format!("room{n}"))).collect();
            let mut models: Vec<Model> = (0..7).map(|_| Model::default()).collect();
            let entries: Vec<Entry> = asks.iter().map(|(n, ask)| models[*n].add(&rooms[*n], *ask)).collect();
            let mut rest = &entries[..];
            for (size, is_repeated) in sizes.iter().cycle() {
                let (batch, after) = rest.split_at(rest.len().min(*size));
                bed.store(batch).await;
                if *is_repeated {
                    bed.store(batch).await;
                }
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            for (room, model) in rooms.iter().zip(&models) {
                assert_eq!(bed.all(room).await, model.events);
                let end = Seq(model.events.len() as u64);
                let newest = bed.archive.before(room, end, 50).await.unwrap();
                assert_eq!(newest, model.events[model.events.len() - 51..model.events.len() - 1]);
                let part = bed.archive.after(room, Seq(10), Seq(20), 7).await.unwrap();
                assert_eq!(part, model.events[10..17]);
                let part = bed.archive.after(room, Seq(10), Seq(12), 7).await.unwrap();
                assert_eq!(part, model.events[10..12]);
                assert_eq!(bed.archive.edited(room.id, &model.messages).await.unwrap(), model.edits());
                assert_eq!(bed.archive.extent(room.id).await.unwrap().tip, end);
            }
        });
    }
}

/// What happens to three rooms over a store that dies now and then.
#[derive(Clone, Debug)]
enum Act {
    Say(usize),
    /// Of what waits: so many.
    Store(usize),
    /// The store is gone; of what waits these are held by somebody. True: nobody knows what was lost.
    Die(u32, bool),
    /// So much of what was not given back comes late.
    Late(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (0..3usize).prop_map(Act::Say),
        2 => (0..6usize).prop_map(Act::Store),
        1 => (any::<u32>(), any::<bool>()).prop_map(|(held, unknown)| Act::Die(held, unknown)),
        1 => (0..4usize).prop_map(Act::Late),
    ];
    proptest::collection::vec(act, 1..60)
}

#[derive(Default)]
struct World {
    /// What the store before the archive knows of its rooms.
    tips: HashMap<RoomId, Cursor>,
    waiting: Vec<Entry>,
    dropped: Vec<Entry>,
    used: HashMap<(RoomId, Seq), Uuid>,
    given: Vec<Entry>,
}

impl World {
    async fn act(&mut self, bed: &Bed, rooms: &[Room], act: &Act) {
        match act {
            Act::Say(n) => {
                let room = &rooms[*n];
                let tip = match self.tips.get(&room.id) {
                    Some(tip) => *tip,
                    None => bed.archive.head(room.id).await.unwrap().extent.tip(),
                };
                let entry = said_in(room, Cursor { seq: tip.seq.next(), ..tip }, "x");
                self.tips.insert(room.id, entry.event.cursor());
                let twice = self.used.insert((room.id, entry.event.seq), entry.event.id);
                assert_eq!(twice, None, "{} was used twice", entry.event.cursor());
                self.waiting.push(entry);
            }
            Act::Store(count) => {
                let batch: Vec<Entry> = self.waiting.drain(..self.waiting.len().min(*count)).collect();
                bed.store(&batch).await;
                self.given.extend(batch);
            }
            Act::Die(held, is_unknown) => self.die(bed, *held, *is_unknown).await,
            Act::Late(count) => {
                let late: Vec<Entry> = self.dropped.drain(..self.dropped.len().min(*count)).collect();
                bed.archive.give_late(&late).await.unwrap();
                self.given.extend(late);
            }
        }
    }

    async fn die(&mut self, bed: &Bed, held: u32, is_unknown: bool) {
        let mut guard = bed.archive.lock_fence().await.unwrap().unwrap();
        guard.begin("another").await.unwrap();
        let waiting = std::mem::take(&mut self.waiting);
        let lasts: HashMap<RoomId, Seq> = waiting.iter().map(|e| (e.room, e.event.seq)).collect();
        let (mut back, mut dropped) = (Vec::new(), Vec::new());
        for (n, entry) in waiting.into_iter().enumerate() {
            // If the last of a room were missing too, somebody would have had to say that he did not answer.
            let is_last = !is_unknown && lasts[&entry.room] == entry.event.seq;
            if is_last || held >> (n % 32) & 1 == 1 { back.push(entry) } else { dropped.push(entry) }
        }
        bed.archive.give_back(&back).await.unwrap();
        bed.archive.give_back(&back).await.unwrap();
        guard.agree(if is_unknown { Lost::Unknown } else { Lost::Nothing }).await.unwrap();
        guard.release().await.unwrap();
        self.given.extend(back);
        self.dropped.extend(dropped);
        self.tips.clear();
    }

    async fn check(&self, bed: &Bed, rooms: &[Room]) {
        for room in rooms {
            let mut expected: Vec<Event> =
                self.given.iter().filter(|e| e.room == room.id).map(|e| e.event.clone()).collect();
            expected.sort_by_key(|event| event.seq);
            let found = bed.all(room).await;
            assert_eq!(found, expected);
            let extent = bed.archive.extent(room.id).await.unwrap();
            for event in &found {
                let before = extent.before(event.seq);
                assert_eq!(before.epoch, event.epoch, "{} is of an epoch of {extent:?}", event.cursor());
                assert!(extent.first <= event.seq && event.seq <= extent.tip, "{extent:?}");
            }
            assert!(extent.past.windows(2).all(|pair| pair[0].1.end() <= pair[1].1.start()), "{extent:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn no_place_is_given_twice(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bed = Bed::new().await;
            let rooms = [room("a"), room("b"), room("c")];
            let mut world = World::default();
            for act in &acts {
                world.act(&bed, &rooms, act).await;
            }
            world.check(&bed, &rooms).await;
        });
    }
}
