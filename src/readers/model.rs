//! The hall against a plain model: every reader has a list of what it should get, and must get just that.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Hall, NewReader, Place, Rules, Stats, Why,
    fakes::{Guest, Pipe, Pipes, Post, Tail, Want, chunks, read, secret},
    hall::State,
};
use crate::event::{EventKind, LogId, Seq, named};

const BEHIND: usize = 4000;
const ROOMS: usize = 2;

struct Reader {
    room: usize,
    want: Vec<Want>,
    /// From which byte on which message's texts may no longer begin.
    silent: Vec<(usize, u64)>,
    here: bool,
}

struct World {
    hall: Hall<Tail, Guest, Pipes>,
    tails: Vec<Arc<Tail>>,
    /// What the rings have, where there are any.
    heads: [Option<u64>; ROOMS],
    /// How many asides they have had.
    told: [u64; ROOMS],
    readers: Vec<Reader>,
    left: Arc<Mutex<Vec<usize>>>,
    stats: Arc<Stats>,
    asides: u32,
    tick: u32,
}

#[derive(Clone, Debug)]
enum Op {
    Message(usize, usize),
    Edit(usize, u64, usize),
    Delete(usize, u64),
    Aside(usize),
    Deliver(usize, usize),
    Forget(usize, usize),
    Join(usize, u64, u64, usize),
    Room(usize, usize),
    Gone(usize),
    End(usize),
    Spurious(usize),
    Slice,
    Work,
    Tick(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let room = 0..ROOMS;
    let reader = 0..24usize;
    prop_oneof![
        6 => (room.clone(), 0..300usize).prop_map(|(room, len)| Op::Message(room, len)),
        2 => (room.clone(), 0..8u64, 0..300usize).prop_map(|(room, back, len)| Op::Edit(room, back, len)),
        2 => (room.clone(), 0..8u64).prop_map(|(room, back)| Op::Delete(room, back)),
        2 => room.clone().prop_map(Op::Aside),
        8 => (room.clone(), 1..6usize).prop_map(|(room, n)| Op::Deliver(room, n)),
        1 => (room.clone(), 0..6usize).prop_map(|(room, n)| Op::Forget(room, n)),
        5 => (room, 0..6u64, 0..4u64, 0..900usize)
            .prop_map(|(room, back, aside, window)| Op::Join(room, back, aside, window)),
        8 => (reader.clone(), 1..700usize).prop_map(|(reader, n)| Op::Room(reader, n)),
        1 => reader.clone().prop_map(Op::Gone),
        1 => (0..5usize).prop_map(Op::End),
        1 => reader.prop_map(Op::Spurious),
        6 => Just(Op::Slice),
        4 => Just(Op::Work),
        4 => (1..12u32).prop_map(Op::Tick),
    ]
}

impl World {
    fn new(slice: usize) -> Self {
        let stats = Arc::new(Stats::default());
        let rules = Rules {
            ping: Duration::from_millis(100),
            stuck: Duration::from_millis(400),
            behind: BEHIND,
            linger: Duration::from_millis(50),
            pause: Duration::from_millis(10),
            tick: Duration::from_millis(10),
        };
        let bye = Arc::new(|_: Why| named("bye", None, None, &0));
        let tail = |n| Tail { log: LogId(Uuid::from_u128(n)), state: Mutex::default() };
        let mut hall = Hall::new(7, rules, bye, Arc::clone(&stats), Pipes::default());
        hall.slice = slice;
        World {
            hall,
            tails: (0..ROOMS as u128).map(|n| Arc::new(tail(n))).collect(),
            heads: [None; ROOMS],
            told: [0; ROOMS],
            readers: Vec::new(),
            left: Arc::default(),
            stats,
            asides: 0,
            tick: 0,
        }
    }

    fn tip(&self, room: usize) -> u64 {
        self.tails[room].state.lock().unwrap().frames.len() as u64
    }

    fn give(&mut self, room: usize, want: Want) {
        for reader in self.readers.iter_mut().filter(|reader| reader.here && reader.room == room) {
            reader.want.push(want);
        }
    }

    /// The ring of `room` was given the event `seq`: what was deleted by it may not begin any more.
    fn given(&mut self, room: usize, seq: u64) {
        self.give(room, Want::Event(seq));
        let deleted = self.tails[room].state.lock().unwrap().deleted.clone();
        let pipes = &self.hall.wire().0;
        for (number, reader) in self.readers.iter_mut().enumerate().filter(|(_, reader)| reader.room == room)
        {
            let of_this = deleted.iter().filter(|(by, _)| *by == seq);
            reader.silent.extend(of_this.map(|(_, target)| (pipes[number].got.len(), *target)));
        }
    }

    fn deliver(&mut self, room: usize) {
        let log = self.tails[room].log;
        let Some(post) = self.tails[room].state.lock().unwrap().posts.pop_front() else { return };
        match post {
            Post::Event(frame) => {
                let seq = frame.cursor.seq.0;
                if self.heads[room].is_some_and(|head| seq > head) {
                    self.heads[room] = Some(seq);
                    self.given(room, seq);
                }
                self.hall.event(log, frame);
            }
            Post::Aside(n, count) => {
                if self.heads[room].is_some() && count > self.told[room] {
                    self.told[room] = count;
                    self.give(room, Want::Aside(n));
                }
                self.hall.aside(log, count, &named("aside", None, None, &n));
            }
        }
    }

    fn join(&mut self, room: usize, back: u64, aside: u64, window: usize) {
        let number = self.readers.len();
        let after = self.tip(room).saturating_sub(back);
        let asides = self.tails[room].state.lock().unwrap().asides.clone();
        let heard = (asides.len() as u64).saturating_sub(aside);
        let forgotten = self.tails[room].state.lock().unwrap().forgotten as u64;
        let mut want = Vec::new();
        let mut silent = Vec::new();
        let known = match self.heads[room] {
            Some(head) if after > head => forgotten <= head,
            Some(head) if after == head => true,
            _ => forgotten <= after,
        };
        if let Some(head) = self.heads[room].filter(|head| after <= *head || forgotten <= *head) {
            // Whatever becomes of the reader, the ring is brought to where it is.
            for seq in head + 1..=after {
                self.given(room, seq);
            }
            for n in self.told[room] + 1..=heard {
                self.give(room, Want::Aside(asides[n as usize - 1]));
            }
            self.heads[room] = Some(head.max(after));
            self.told[room] = self.told[room].max(heard);
        }
        if known {
            let tip = self.tip(room);
            if self.heads[room].is_none() {
                (self.heads[room], self.told[room]) = (Some(tip), asides.len() as u64);
            }
            let (head, told) = (self.heads[room].unwrap(), self.told[room]);
            want.extend((after + 1..=head).map(Want::Event));
            want.extend((heard + 1..=told).map(|n| Want::Aside(asides[n as usize - 1])));
            want.push(Want::Live);
            let deleted = &self.tails[room].state.lock().unwrap().deleted;
            silent.extend(deleted.iter().filter(|(by, _)| *by <= head).map(|(_, target)| (0, *target)));
        }
        self.readers.push(Reader { room, want, silent, here: known });
        self.hall.wire().0.push(Pipe { window, ..Pipe::default() });
        self.hall.seat(NewReader {
            socket: number,
            source: Arc::clone(&self.tails[room]),
            after: Place { event: Seq(after), aside: heard },
            ear: (),
            live: Some(named("live", None, None, &0)),
            occupant: Guest { number, left: Arc::clone(&self.left) },
        });
    }

    fn edge(&mut self, reader: usize, n: usize) {
        let Some(pipe) = self.hall.wire().0.get_mut(reader) else { return };
        pipe.window += n;
        if std::mem::take(&mut pipe.starved)
            && let Some(key) = pipe.key
        {
            self.hall.writable(key);
        }
    }

    fn work(&mut self) {
        self.hall.work();
        while self.hall.rest() == Some(Duration::ZERO) {
            self.hall.work();
        }
    }

    fn act(&mut self, op: &Op) {
        match *op {
            Op::Message(room, len) => {
                let text = format!("{}{}", secret(self.tip(room) + 1), "x".repeat(len));
                self.tails[room].state.lock().unwrap().append(EventKind::Message, None, Some(&text));
            }
            Op::Edit(room, back, len) => {
                let target = self.tip(room).saturating_sub(back).max(1);
                let text = format!("{}{}", secret(target), "y".repeat(len));
                self.tails[room].state.lock().unwrap().append(EventKind::Edit, Some(target), Some(&text));
            }
            Op::Delete(room, back) => {
                let target = self.tip(room).saturating_sub(back).max(1);
                self.tails[room].state.lock().unwrap().append(EventKind::Delete, Some(target), None);
            }
            Op::Aside(room) => {
                self.asides += 1;
                let mut state = self.tails[room].state.lock().unwrap();
                state.asides.push(self.asides);
                let count = state.asides.len() as u64;
                if state.joined {
                    state.posts.push_back(Post::Aside(self.asides, count));
                }
            }
            Op::Deliver(room, n) => (0..n).for_each(|_| self.deliver(room)),
            Op::Forget(room, n) => {
                let mut state = self.tails[room].state.lock().unwrap();
                state.forgotten = (state.forgotten + n).min(state.frames.len());
            }
            Op::Join(room, back, aside, window) => {
                if self.readers.len() < 24 {
                    self.join(room, back, aside, window);
                }
            }
            Op::Room(reader, n) => self.edge(reader, n),
            Op::Gone(reader) => {
                if let Some(pipe) = self.hall.wire().0.get_mut(reader) {
                    pipe.gone = true;
                    if let Some(key) = pipe.key
                        && reader % 2 == 0
                    {
                        self.hall.gone(key);
                    }
                }
            }
            Op::End(select) => self.hall.end_all(&select, &named("bye", None, None, &0)),
            Op::Spurious(reader) => {
                if let Some(key) = self.hall.wire().0.get(reader).and_then(|pipe| pipe.key) {
                    self.hall.writable(key);
                }
            }
            Op::Slice => self.hall.work(),
            Op::Work => self.work(),
            Op::Tick(ticks) => {
                self.tick += ticks;
                self.hall.clock(Duration::from_millis(10) * self.tick, Duration::from_secs(1_700_000_000));
                self.hall.work();
            }
        }
        self.see();
    }

    /// Takes note of who has left, and checks what must hold at every moment.
    fn see(&mut self) {
        for &number in self.left.lock().unwrap().iter() {
            self.readers[number].here = false;
        }
        for room in 0..ROOMS {
            let inhabited = self.readers.iter().any(|reader| reader.here && reader.room == room);
            if !inhabited {
                self.heads[room] = None;
            }
            assert_eq!(self.tails[room].state.lock().unwrap().joined, inhabited);
        }
        for seat in (0..self.hall.seats.bound()).filter_map(|key| self.hall.seats.get(key)) {
            let Some(room) = self.hall.rooms.get(seat.room) else { continue };
            assert!((room.ring.tail()..=room.ring.head()).contains(&seat.cursor), "a cursor beside the ring");
            let boundary = room.ring.rest_of_chunk(seat.cursor).is_empty();
            assert!(boundary || seat.private.is_none(), "private bytes in the midst of a chunk");
            assert!(boundary && seat.private.is_none() || seat.state == State::Blocked, "open, and begun");
        }
        let held = self.stats.ring_bytes.load(Ordering::Relaxed) as usize;
        assert!(held <= ROOMS * (2 * BEHIND + 1000), "rings hold {held} bytes");
    }

    /// What a reader got must be a beginning of what it should get, and all of it if it is still here.
    fn check(&mut self, number: usize) {
        let reader = &self.readers[number];
        let pipe = &self.hall.wire().0[number];
        let written = &self.tails[reader.room].state.lock().unwrap().written;
        let (blocks, ended) = chunks(&pipe.got);
        let mut got = Vec::new();
        for (at, block) in blocks {
            if block.starts_with("event: ping\n") {
                continue;
            }
            for (from, message) in &reader.silent {
                assert!(
                    at < *from || !block.contains(&secret(*message)),
                    "{message} was said again: {block}"
                );
            }
            got.push(read(&block, written));
        }
        let bye = got.last() == Some(&Want::Bye);
        assert!(bye || !ended, "a body ends with a bye");
        assert!(ended || !bye || pipe.closed.is_some(), "after a bye the body ends");
        assert!(!ended || pipe.finished || pipe.closed.is_some());
        if bye {
            got.pop();
        }
        assert!(reader.want.starts_with(&got), "got {got:?}\nwanted {:?}", reader.want);
        if reader.here {
            assert_eq!(got, reader.want, "of reader {number}");
            assert!(!ended && pipe.closed.is_none());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_gets_its_stream_and_nothing_else(
        slice in 1..7usize,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new(slice);
        for op in &ops {
            world.act(op);
        }
        // Everything that is under way arrives.
        for room in 0..ROOMS {
            world.act(&Op::Deliver(room, 1000));
        }
        world.act(&Op::Work);
        for reader in 0..world.readers.len() {
            world.act(&Op::Room(reader, 1 << 20));
        }
        world.act(&Op::Tick(2));
        world.act(&Op::Work);
        for reader in 0..world.readers.len() {
            world.check(reader);
        }
        let held = world.stats.ring_bytes.load(Ordering::Relaxed);
        prop_assert_eq!(held, 0, "everybody has everything, and still it is kept");
        // And everybody leaves.
        world.hall.close();
        for _ in 0..3 {
            world.act(&Op::Tick(10));
            world.act(&Op::Work);
        }
        prop_assert!(world.hall.is_empty());
        let mut left = std::mem::take(&mut *world.left.lock().unwrap());
        left.sort_unstable();
        prop_assert_eq!(left, (0..world.readers.len()).collect::<Vec<_>>(), "each occupant goes once");
        prop_assert!(world.hall.wire().0.iter().all(|pipe| pipe.closed.is_some()));
        prop_assert_eq!(world.stats.readers.load(Ordering::Relaxed), 0);
        prop_assert_eq!(world.stats.rings.load(Ordering::Relaxed), 0);
    }
}
