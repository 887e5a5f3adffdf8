//! One reader thread without its system calls: seats, rings, and what happens to them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    Farewell, Joined, NewReader, Occupant, Place, Rules, Source, Stats, Why,
    members::Members,
    private::Private,
    ring::Ring,
    rounds::Rounds,
    slab::Slab,
    stats::Tally,
    sweep::SLICE,
    wire::{Close, Wire},
};
use bytes::Bytes;

use crate::event::{Frame, LogId, Taken};

/// A seat: the whole of what a reader costs.
pub(super) struct Seat<K, O> {
    pub(super) socket: K,
    /// Key of its room; [`NOWHERE`] once it is ended.
    pub(super) room: u32,
    /// Where it stands in the room's [`Members`].
    pub(super) place: u32,
    /// The tick of the last byte taken, or at which it got into its state.
    pub(super) since: u32,
    /// Offset in the ring of the first byte not yet sent.
    pub(super) cursor: u64,
    pub(super) private: Option<Box<Private>>,
    /// `None` once it is ended.
    pub(super) occupant: Option<O>,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Takes what there is.
    Open,
    /// Is owed something and waits for the edge.
    Blocked,
    /// Ended; waits for the edge to send its last bytes.
    Ending,
    /// Ended and told everything; waits until the other side closes too.
    Lingering,
}

pub(super) const NOWHERE: u32 = u32::MAX;

// A seat with an occupant of 40 bytes; more would be felt at a million readers.
const _: () = assert!(size_of::<Seat<std::os::fd::OwnedFd, [u64; 5]>>() <= 96);

/// A log that somebody here reads.
pub(super) struct Room<S> {
    pub(super) source: Arc<S>,
    pub(super) ring: Ring,
    /// How many asides of the log there had been when the last was put in.
    pub(super) aside: u64,
    pub(super) members: Members,
    /// The ring's head when the sweep under way began, if one is.
    pub(super) sweep: Option<u64>,
    /// It is in the queue of sweeps or waits for the end of its pause.
    pub(super) queued: bool,
    /// It is in the list of rings that have memory.
    pub(super) warm: bool,
    /// Tick of the last post.
    pub(super) posted: u32,
    /// When the last sweep began, and since when there was no break between sweeps; ms since the room opened.
    pub(super) began: u64,
    pub(super) hot: Option<u64>,
}

/// A reader thread's readers and rings, and all that is done with them, as a state machine: events, asides,
/// orders, edges and the clock go in; calls of the [`Wire`] come out.
pub struct Hall<S: Source, O: Occupant, W: Wire> {
    pub(super) thread: usize,
    pub(super) rules: Rules,
    pub(super) wire: W,
    pub(super) bye: Farewell,
    stats: Arc<Stats>,
    pub(super) tally: Tally,
    pub(super) seats: Slab<Seat<W::Socket, O>>,
    pub(super) rooms: Slab<Room<S>>,
    pub(super) by_log: HashMap<LogId, u32>,
    /// Rooms with bytes to give out, in the order of their turns.
    pub(super) sweeps: VecDeque<u32>,
    /// Rooms with bytes to give out later: from when on, in ms since the room opened.
    pub(super) pauses: Vec<(u64, u32)>,
    /// Rooms whose rings have memory.
    pub(super) warm: Vec<u32>,
    pub(super) rounds: Rounds,
    pub(super) scratch: Vec<u8>,
    /// Sends between two looks at the mailbox.
    pub(super) slice: usize,
    /// Occupants who have left since [`departed`](Self::departed) was asked.
    pub(super) departed: usize,
}

impl<S: Source, O: Occupant, W: Wire> Hall<S, O, W> {
    /// An empty hall, at time 0, for the reader thread of this number.
    pub fn new(thread: usize, rules: Rules, bye: Farewell, stats: Arc<Stats>, wire: W) -> Self {
        Hall {
            thread,
            wire,
            bye,
            stats,
            tally: Tally::default(),
            seats: Slab::new(),
            rooms: Slab::new(),
            by_log: HashMap::new(),
            sweeps: VecDeque::new(),
            pauses: Vec::new(),
            warm: Vec::new(),
            rounds: Rounds::new(&rules),
            rules,
            scratch: Vec::new(),
            slice: SLICE,
            departed: 0,
        }
    }

    /// The wire that it was given.
    pub fn wire(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Seats taken, those of ended streams with bytes in flight included.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Is nobody here?
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Occupants who have left since this was last asked.
    pub fn departed(&mut self) -> usize {
        std::mem::take(&mut self.departed)
    }

    /// Brings [`Stats`] up to date.
    pub fn count(&mut self) {
        self.tally.hand_in(&self.stats);
    }

    /// The hub posted an event. It goes out with the next sweep.
    pub fn event(&mut self, log: LogId, frame: Frame) {
        if let Some(&room) = self.by_log.get(&log) {
            self.append(room, frame);
        }
    }

    /// The hub posted a block that is not in the log, the `count`th of that log. It goes out with the next sweep.
    pub fn aside(&mut self, log: LogId, count: u64, block: &[u8]) {
        let Some(&key) = self.by_log.get(&log) else { return };
        let Some(room) = self.rooms.get_mut(key) else { return };
        // Who joined has brought it already, if it is not above.
        if count > room.aside {
            room.aside = count;
            self.put(key, |ring| ring.push_aside(block));
        }
    }

    /// Seats a reader and gives it what there is.
    pub fn seat(&mut self, new: NewReader<S, O, W::Socket>) {
        let NewReader { socket, source, after, ear, live, occupant } = new;
        let joined = self.join(&source, after);
        drop(ear);
        let seat = Seat {
            socket,
            room: NOWHERE,
            place: 0,
            since: self.rounds.now,
            cursor: 0,
            private: None,
            occupant: Some(occupant),
            state: State::Open,
        };
        let key = self.seats.insert(seat);
        self.tally.readers += 1;
        let seat = self.seats.get_mut(key).expect("it sat down just now");
        if let Some((room_key, backlog, mut blocks)) = joined {
            let room = self.rooms.get_mut(room_key).expect("it was joined just now");
            seat.room = room_key;
            seat.place = room.members.add(key);
            seat.cursor = room.ring.head();
            blocks.extend(live);
            if !backlog.is_empty() || !blocks.is_empty() {
                seat.private = Some(Box::new(Private::backlog(backlog, blocks)));
            }
        }
        if !self.wire.watch(&seat.socket, key) {
            self.leave(key, Why::Left, Close::Gently);
        } else if let Some(window) = self.rounds.over() {
            self.end(key, Why::Draining(window), None);
        } else if joined_nowhere(seat) {
            self.end(key, Why::Lost, None);
        } else {
            self.resume(key);
        }
    }

    /// The room of a log, brought to `after` at least, and what its ring lacks of what comes after that: events and
    /// asides.
    fn join(&mut self, source: &Arc<S>, after: Place) -> Option<(u32, Vec<Frame>, Vec<Bytes>)> {
        let log = source.log();
        let Some(&key) = self.by_log.get(&log) else {
            let Joined { frames, asides, end } = source.join(self.thread, after, None)?;
            let room = Room {
                source: Arc::clone(source),
                ring: Ring::new(end.event),
                aside: end.aside,
                members: Members::default(),
                sweep: None,
                queued: false,
                warm: false,
                posted: self.rounds.now,
                began: 0,
                hot: None,
            };
            let key = self.rooms.insert(room);
            self.by_log.insert(log, key);
            self.tally.rings += 1;
            return Some((key, frames, asides));
        };
        let place = self.place(key)?;
        if after.event > place.event || after.aside > place.aside {
            // The front desk has what is still in our mailbox. Posts that the ring has by then are dropped.
            let upto = Place { event: after.event.max(place.event), aside: after.aside.max(place.aside) };
            let Joined { frames, asides, end } = source.join(self.thread, place, Some(upto))?;
            for frame in frames {
                self.append(key, frame);
            }
            for block in asides {
                self.put(key, |ring| ring.push_aside(&block));
            }
            self.rooms.get_mut(key)?.aside = end.aside;
        }
        let place = self.place(key)?;
        if after == place {
            return Some((key, Vec::new(), Vec::new()));
        }
        let Joined { frames, asides, .. } = source.join(self.thread, after, Some(place))?;
        Some((key, frames, asides))
    }

    /// Up to where a room's ring has everything.
    fn place(&self, key: u32) -> Option<Place> {
        let room = self.rooms.get(key)?;
        Some(Place { event: room.ring.newest(), aside: room.aside })
    }

    fn append(&mut self, key: u32, frame: Frame) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        if frame.cursor.seq <= room.ring.newest() {
            return;
        }
        if let Some(taken) = frame.takes(room.source.log()) {
            self.scrub(key, taken);
        }
        self.put(key, |ring| ring.push(frame));
    }

    fn put(&mut self, key: u32, put: impl FnOnce(&mut Ring)) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let before = room.ring.head();
        put(&mut room.ring);
        room.posted = self.rounds.now;
        self.tally.appended += 1;
        self.tally.ring_bytes += (room.ring.head() - before) as i64;
        if !room.warm {
            room.warm = true;
            self.warm.push(key);
        }
        if !room.queued {
            room.queued = true;
            self.sweeps.push_back(key);
        }
        if room.ring.len() > 2 * self.rules.behind {
            // More than a slow reader may cost has come at once: give it out before more comes.
            self.sweeps.retain(|&queued| queued != key);
            self.pauses.retain(|&(_, paused)| paused != key);
            self.sweep(key, usize::MAX);
        }
    }

    /// Takes a deleted text, or a room that somebody left, out of everything that is kept here.
    fn scrub(&mut self, key: u32, taken: Taken) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let (seats, members) = (&mut self.seats, &room.members);
        let before = room.ring.len() as i64;
        room.ring.scrub(taken, |scrubbed| {
            if let Some(swept_to) = &mut room.sweep {
                *swept_to = scrubbed.carry(*swept_to).0;
            }
            for &member in members.all() {
                let seat = seats.get_mut(member).expect("members have seats");
                let (cursor, rest) = scrubbed.carry(seat.cursor);
                seat.cursor = cursor;
                if let Some(rest) = rest {
                    seat.private = Some(Box::new(Private::begun(rest)));
                }
            }
        });
        self.tally.ring_bytes += room.ring.len() as i64 - before;
        for &member in members.all() {
            if let Some(private) = &mut seats.get_mut(member).expect("members have seats").private {
                private.scrub(taken);
            }
        }
    }

    /// There is room in this socket again.
    pub fn writable(&mut self, key: u32) {
        match self.seats.get(key).map(|seat| seat.state) {
            Some(State::Blocked) => self.resume(key),
            Some(State::Ending) => self.send_last(key),
            Some(State::Open | State::Lingering) | None => {}
        }
    }

    /// The other side has closed, in half at least, or broken off.
    pub fn gone(&mut self, key: u32) {
        self.leave(key, Why::Left, Close::Gently);
    }
}

fn joined_nowhere<K, O>(seat: &Seat<K, O>) -> bool {
    seat.room == NOWHERE
}
