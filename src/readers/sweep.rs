//! How bytes get from rings to sockets.

use super::{
    Occupant, Source, Why,
    hall::{Hall, Room, Seat, State},
    ring::Ring,
    slab::Slab,
    stats::Tally,
    wire::{Close, Sent, Wire},
};

/// Sends between two looks at the mailbox: below 1 ms.
pub(super) const SLICE: usize = 256;

/// A ring is hot when it was swept without a break for so long, in ms.
const HOT: u64 = 100;

/// What came of giving a reader all that it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    All,
    Some,
    Gone,
}

impl<S: Source, O: Occupant, W: Wire> Hall<S, O, W> {
    /// Does a slice of what there is to do. The caller looks for edges and mail and calls again, at once if
    /// [`rest`](Self::rest) says so.
    pub fn work(&mut self) {
        self.take_up_paused();
        let mut budget = self.slice - self.look_around(self.slice);
        while budget > 0 {
            let Some(key) = self.sweeps.pop_front() else { break };
            budget = budget.saturating_sub(self.sweep(key, budget).max(1));
        }
        self.count();
    }

    fn take_up_paused(&mut self) {
        let now = self.rounds.ms;
        let sweeps = &mut self.sweeps;
        self.pauses.retain(|&(due, key)| {
            let wait = due > now;
            if !wait {
                sweeps.push_back(key);
            }
            wait
        });
    }

    /// Goes over at most `budget` of a room's readers, from where the last call stopped, and sends each what it
    /// lacks. Not finished, the room goes to the end of the queue, so that a small room does not wait for a
    /// large one. Returns what it took of the budget.
    pub(super) fn sweep(&mut self, key: u32, budget: usize) -> usize {
        let Some(room) = self.rooms.get_mut(key) else { return 0 };
        if room.sweep.is_none() {
            room.sweep = Some(room.ring.head());
            room.began = self.rounds.ms;
            room.members.begin();
        }
        let mut used = 0;
        // Looked up anew after each who was not like the others: the last reader takes the room along.
        while let Some(room) = self.rooms.get_mut(key) {
            if used == budget && !room.members.due().is_empty() {
                self.sweeps.push_back(key);
                break;
            }
            // One is left of the budget: whom a stretch has stopped at may be in the midst of a chunk, and must
            // not be left open like that.
            let stretched = (budget - used).saturating_sub(1);
            let now = self.rounds.now;
            used += stretch(room, &mut self.seats, &mut self.wire, &mut self.tally, now, stretched);
            let Some(member) = room.members.due().first().copied() else {
                self.finish(key);
                break;
            };
            used += 1;
            let seat = self.seats.get_mut(member).expect("members have seats");
            match give(seat, &room.ring, &mut self.wire, &mut self.scratch, &mut self.tally, self.rounds.now)
            {
                Given::All => room.members.had(1),
                Given::Some => self.block(member),
                Given::Gone => self.leave(member, Why::Left, Close::Gently),
            }
        }
        used
    }

    /// Everybody has had their turn: ends who is too far behind, gives up what nobody lacks, and sees to what
    /// has come meanwhile.
    fn finish(&mut self, key: u32) {
        let Some(room) = self.rooms.get(key) else { return };
        let head = room.ring.head();
        let behind = |seat: &Seat<W::Socket, O>| {
            (head - seat.cursor) as usize + seat.private.as_ref().map_or(0, |private| private.len())
        };
        let blocked = room.members.blocked().iter();
        let slow: Vec<u32> = blocked
            .copied()
            .filter(|&member| self.seats.get(member).is_some_and(|seat| behind(seat) > self.rules.behind))
            .collect();
        for member in slow {
            self.end(member, Why::TooSlow, None);
        }
        let Some(room) = self.rooms.get_mut(key) else { return };
        let swept_to = room.sweep.take().unwrap_or(head);
        room.members.begin();
        let blocked = room.members.blocked().iter();
        let cursors = blocked.filter_map(|&member| self.seats.get(member)).map(|seat| seat.cursor);
        let slowest = cursors.min().unwrap_or(swept_to).min(swept_to);
        self.tally.sweeps += 1;
        self.tally.ring_bytes -= (slowest - room.ring.tail()) as i64;
        room.ring.trim(slowest);
        room.queued = swept_to < room.ring.head();
        if !room.queued {
            room.hot = None;
            return;
        }
        let now = self.rounds.ms;
        let hot_since = *room.hot.get_or_insert(now);
        let due = room.began + self.rules.pause.as_millis() as u64;
        if now - hot_since >= HOT && due > now {
            self.pauses.push((due, key));
            self.tally.pauses += 1;
        } else {
            self.sweeps.push_back(key);
        }
    }

    /// Gives up what a ring held for a blocked reader that was the last to lack it.
    pub(super) fn settle(&mut self, key: u32) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        if !room.queued && room.members.blocked().is_empty() {
            self.tally.ring_bytes -= room.ring.len() as i64;
            room.ring.trim(room.ring.head());
        }
    }

    /// Gives one reader what it lacks, out of turn.
    pub(super) fn resume(&mut self, key: u32) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        let home = seat.room;
        let Some(room) = self.rooms.get_mut(home) else { return };
        let given =
            give(seat, &room.ring, &mut self.wire, &mut self.scratch, &mut self.tally, self.rounds.now);
        match (given, seat.state) {
            (Given::All, State::Blocked) => {
                seat.state = State::Open;
                let (place, seats) = (seat.place, &mut self.seats);
                room.members.unblock(place, |key, place| {
                    seats.get_mut(key).expect("members have seats").place = place;
                });
                self.settle(home);
            }
            (Given::Some, State::Open) => self.block(key),
            (Given::All | Given::Some, _) => {}
            (Given::Gone, _) => self.leave(key, Why::Left, Close::Gently),
        }
    }

    /// This reader is owed something and waits for the edge.
    pub(super) fn block(&mut self, key: u32) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        seat.state = State::Blocked;
        seat.since = self.rounds.now;
        let (place, seats) = (seat.place, &mut self.seats);
        room.members.block(place, |key, place| seats.get_mut(key).expect("members have seats").place = place);
    }
}

/// Goes over the readers who are due as long as each lacks the same as the first and takes all of it; says how
/// many those were. Whoever is next is due for [`give`], if anybody is: perhaps again, with what is left to send.
///
/// This loop is where the reading room spends its time, and nearly all of that in the kernel, whose way through
/// TCP fills the cache of instructions. Each line of code more that is run here pushes some of that out: going
/// through `give` for everybody, a delivery costs 1.10 × a bare `send(2)`, of which 0.02 are its own
/// instructions; with this loop it is 1.02.
fn stretch<S, W: Wire, O>(
    room: &mut Room<S>,
    seats: &mut Slab<Seat<W::Socket, O>>,
    wire: &mut W,
    tally: &mut Tally,
    now: u32,
    budget: usize,
) -> usize {
    let due = room.members.due();
    let Some(from) = due.first().and_then(|&first| seats.get(first)).map(|seat| seat.cursor) else {
        return 0;
    };
    let (bytes, head) = (room.ring.from(from), room.ring.head());
    if bytes.is_empty() {
        return 0;
    }
    let mut like = 0;
    for &member in due.iter().take(budget) {
        let Some(seat) = seats.get_mut(member) else { break };
        debug_assert!(seat.private.is_none(), "who is open has all that is private");
        if seat.cursor != from {
            break;
        }
        match wire.send(&seat.socket, bytes) {
            Sent::Took(n) if n == bytes.len() => {}
            Sent::Took(n) => {
                seat.cursor += n as u64;
                tally.bytes += n as i64;
                tally.deliveries += room.ring.chunks_between(from, seat.cursor) as i64;
                break;
            }
            Sent::Blocked | Sent::Gone => break,
        }
        seat.cursor = head;
        seat.since = now;
        like += 1;
    }
    tally.sends += like as i64;
    tally.bytes += (like * bytes.len()) as i64;
    tally.deliveries += (like * room.ring.chunks_between(from, head)) as i64;
    room.members.had(like);
    like
}

/// Sends a reader what it lacks: nearly always one `send(2)`.
fn give<W: Wire, O>(
    seat: &mut Seat<W::Socket, O>,
    ring: &Ring,
    wire: &mut W,
    scratch: &mut Vec<u8>,
    tally: &mut Tally,
    now: u32,
) -> Given {
    if seat.private.is_some() {
        let given = give_private(seat, wire, scratch, tally, now);
        if given != Given::All {
            return given;
        }
    }
    let bytes = ring.from(seat.cursor);
    if bytes.is_empty() {
        return Given::All;
    }
    let (given, n) = hand_over(&seat.socket, bytes, wire, tally);
    if n > 0 {
        let from = seat.cursor;
        seat.cursor += n as u64;
        seat.since = now;
        tally.deliveries += ring.chunks_between(from, seat.cursor) as i64;
    }
    given
}

/// Sends a reader its private bytes. They are gone when all of them are sent.
pub(super) fn give_private<W: Wire, O>(
    seat: &mut Seat<W::Socket, O>,
    wire: &mut W,
    scratch: &mut Vec<u8>,
    tally: &mut Tally,
    now: u32,
) -> Given {
    while let Some(private) = &mut seat.private {
        scratch.clear();
        private.fill(scratch);
        if scratch.is_empty() {
            seat.private = None;
            break;
        }
        let (given, n) = hand_over(&seat.socket, scratch, wire, tally);
        if n > 0 {
            seat.since = now;
            tally.deliveries += private.sent(n) as i64;
        }
        if given != Given::All {
            return given;
        }
    }
    Given::All
}

/// One `send(2)`, counted: what came of it and how many bytes were taken.
fn hand_over<W: Wire>(socket: &W::Socket, bytes: &[u8], wire: &mut W, tally: &mut Tally) -> (Given, usize) {
    let sent = wire.send(socket, bytes);
    let n = if let Sent::Took(n) = sent { n } else { 0 };
    tally.sends += i64::from(n > 0);
    tally.bytes += n as i64;
    if n == bytes.len() {
        return (Given::All, n);
    }
    tally.short_writes += 1;
    (if sent == Sent::Gone { Given::Gone } else { Given::Some }, n)
}
