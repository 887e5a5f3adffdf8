//! A Redis that can lose what it was last told: the models of the scripts, over partitions that are kept, copied and
//! put back.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use uuid::Uuid;

use super::{link::Host, time::Time};
use crate::{
    archive::Head,
    event::{Entry, Extent, LogId, RoomId, Seq},
    log::redis::{
        call::{Answer, Call},
        model::Partition,
        presence::model::People,
    },
};

/// What the server has in memory.
#[derive(Clone, Default)]
pub(super) struct Store {
    pub(super) partitions: BTreeMap<u8, Partition>,
    pub(super) people: BTreeMap<u8, People>,
    /// `base`, `first` and `past` of the heads.
    pub(super) extents: BTreeMap<RoomId, Extent>,
    /// How far each room's partition was when it was last spoken in.
    pub(super) recent: BTreeMap<RoomId, u64>,
    /// Generations that begin with something missing.
    pub(super) missing: BTreeSet<i64>,
}

/// How much the server has after it was started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// All that it answered for.
    All,
    /// What it had so long before.
    Older(Duration),
    /// Nothing.
    Nothing,
}

pub(super) struct Redis {
    time: Time,
    pub(super) host: Rc<Host>,
    lives: Cell<u64>,
    pub(super) store: RefCell<Store>,
    copies: RefCell<Vec<(Duration, Store)>>,
    /// Entries that a room keeps.
    pub(super) kept: u64,
}

impl Redis {
    pub(super) fn new(time: &Time, partitions: &BTreeSet<u8>, kept: u64) -> Rc<Self> {
        let mut store = Store::default();
        for partition in partitions {
            store.partitions.insert(*partition, Partition::default());
            store.people.insert(*partition, People::default());
        }
        Rc::new(Redis {
            time: time.clone(),
            host: Rc::new(Host::new()),
            lives: Cell::new(1),
            store: RefCell::new(store),
            copies: RefCell::default(),
            kept,
        })
    }

    pub(super) fn run_id(&self) -> String {
        format!("run{}", self.host.life.get())
    }

    /// By its own clock, in ms.
    pub(super) fn millis(&self) -> i64 {
        i64::try_from(self.time.now().as_millis()).expect("a run is short")
    }

    /// What it has now may be put back later.
    pub(super) fn copy(&self) {
        let copy = self.store.borrow().clone();
        self.copies.borrow_mut().push((self.time.now(), copy));
    }

    pub(super) fn kill(&self) {
        self.host.life.set(0);
    }

    pub(super) fn start(&self, kept: Kept) {
        match kept {
            Kept::All => {}
            Kept::Nothing => self.flush(),
            Kept::Older(by) => {
                let then = self.time.now().saturating_sub(by);
                let copies = self.copies.borrow();
                let copy = copies.iter().rev().find(|(at, _)| *at <= then).or(copies.first());
                if let Some((_, copy)) = copy {
                    *self.store.borrow_mut() = copy.clone();
                }
            }
        }
        self.lives.set(self.lives.get() + 1);
        self.host.life.set(self.lives.get());
    }

    /// It goes on running, with nothing.
    pub(super) fn flush(&self) {
        let mut store = self.store.borrow_mut();
        let partitions: Vec<u8> = store.partitions.keys().copied().collect();
        *store = Store::default();
        for partition in partitions {
            store.partitions.insert(partition, Partition::default());
            store.people.insert(partition, People::default());
        }
    }
}

impl Store {
    pub(super) fn of(&mut self, room: RoomId) -> &mut Partition {
        self.partitions
            .get_mut(&LogId::from(room).partition())
            .expect("the partitions of all rooms are there")
    }

    pub(super) fn is_agreed(&self, partition: u8, generation: i64, run_id: &str) -> bool {
        self.partitions[&partition].is_agreed(generation, run_id)
    }

    /// `begin.lua`: false when a newer generation has begun.
    pub(super) fn begin(&mut self, partition: u8, generation: i64, run_id: &str, keys_since: i64) -> bool {
        let of = self.partitions.get_mut(&partition).expect("it is asked of those that are");
        let meta = of.meta.as_ref().map(|meta| (meta.generation, meta.run_id.clone()));
        if meta.as_ref().is_some_and(|(present, _)| *present > generation) {
            return false;
        }
        if meta != Some((generation, run_id.to_owned())) {
            let is_other = meta.is_none_or(|(present, _)| present != generation);
            of.begin_anew(generation, run_id, keys_since, is_other);
            if is_other {
                self.people.insert(partition, People::default());
                self.extents.retain(|room, _| LogId::from(*room).partition() != partition);
                self.recent.retain(|room, _| LogId::from(*room).partition() != partition);
            }
        }
        true
    }

    /// `append.lua`; with the partition's counter behind it.
    pub(super) fn append(
        &mut self,
        call: &Call,
        generation: i64,
        run_id: &str,
        now: i64,
        outbox: u64,
    ) -> (Answer, u64) {
        let room = call.room.id;
        let answer = self.of(room).append(call, generation, run_id, now, outbox);
        let n = self.of(room).meta.as_ref().map_or(0, |meta| meta.n);
        if matches!(answer, Answer::Done { .. }) {
            self.recent.insert(room, n);
        }
        (answer, n)
    }

    /// `seed.lua`
    pub(super) fn seed(&mut self, room: RoomId, head: &Head, retired: u64) {
        let is_there = self.of(room).rooms.contains_key(&room);
        if self.of(room).seed(room, &head.extent, head.last_ts, retired, &[]) && !is_there {
            let n = self.of(room).meta.as_ref().map_or(0, |meta| meta.n);
            self.extents.insert(room, head.extent.clone());
            self.recent.entry(room).or_insert(n);
        }
    }

    /// The head of a room as readers may see it.
    pub(super) fn extent(&self, room: RoomId, stored_only: bool) -> Option<Extent> {
        let partition = &self.partitions[&LogId::from(room).partition()];
        let head = partition.rooms.get(&room)?;
        let extent = self.extents.get(&room)?;
        let tip = if stored_only { head.archived } else { head.seq };
        Some(Extent { tip, ..extent.clone() })
    }

    /// `archived.lua`: false when the partition is another's.
    pub(super) fn archived(
        &mut self,
        partition: u8,
        token: u64,
        n: u64,
        rooms: &BTreeMap<RoomId, Seq>,
        now: i64,
        kept: u64,
    ) -> bool {
        let of = self.partitions.get_mut(&partition).expect("it is asked of those that are");
        if of.meta.as_ref().is_none_or(|meta| meta.token != token) {
            return false;
        }
        of.archived_up_to(n, rooms, now, kept, crate::log::redis::outbox::FIX_KEPT_MS);
        true
    }

    pub(super) fn outbox(&self, partition: u8, after: u64, limit: usize) -> Vec<(u64, Entry)> {
        let out = &self.partitions[&partition].out;
        out.range(after + 1..).take(limit).map(|(n, entry)| (*n, entry.clone())).collect()
    }

    /// Takes a partition for a pod; its token.
    pub(super) fn own(&mut self, partition: u8, pod: Uuid, now: i64, time: Duration) -> Option<u64> {
        let time = i64::try_from(time.as_millis()).expect("a lease is short");
        self.partitions.get_mut(&partition)?.own(pod, now, time)
    }
}
