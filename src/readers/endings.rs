//! How streams end, all of them: told, left, thrown out.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Occupant, Source, Why,
    hall::{Hall, NOWHERE, State},
    private::Private,
    sweep::{Given, give_private},
    wire::{Close, Wire},
};

impl<S: Source, O: Occupant, W: Wire> Hall<S, O, W> {
    /// Ends everybody who is meant, with this block as their last.
    pub fn end_all(&mut self, select: &O::Select, bye: &Bytes) {
        let meant = |key: &u32| {
            let occupant = self.seats.get(*key).and_then(|seat| seat.occupant.as_ref());
            occupant.is_some_and(|occupant| occupant.is_meant(select))
        };
        let meant: Vec<u32> = match O::within(select) {
            None => (0..self.seats.bound()).filter(meant).collect(),
            Some(log) => {
                let room = self.by_log.get(&log).and_then(|room| self.rooms.get(*room));
                room.map(|room| room.members.all().iter().copied().filter(meant).collect())
                    .unwrap_or_default()
            }
        };
        for key in meant {
            self.end(key, Why::Told, Some(bye.clone()));
        }
    }

    /// Ends everybody, and whoever comes later, spread at random over `window` from now on.
    pub fn drain(&mut self, window: Duration) {
        self.rounds.drain(window);
    }

    /// Ends everybody, and whoever comes later, now.
    pub fn close(&mut self) {
        self.drain(Duration::ZERO);
        for key in 0..self.seats.bound() {
            self.end(key, Why::Draining(Duration::ZERO), None);
        }
    }

    /// Ends a stream at the next chunk boundary: `bye`, the end of the body, and its occupant is gone.
    pub(super) fn end(&mut self, key: u32, why: Why, bye: Option<Bytes>) {
        let Some(seat) = self.seats.get(key).filter(|seat| seat.occupant.is_some()) else { return };
        let bye = bye.unwrap_or_else(|| (self.bye)(why));
        let last = match (&seat.private, self.rooms.get(seat.room)) {
            (Some(private), _) => Private::last(private.rest(), &bye),
            (None, Some(room)) => Private::last(room.ring.rest_of_chunk(seat.cursor), &bye),
            (None, None) => Private::last(&[], &bye),
        };
        self.depart(key, why);
        let Some(seat) = self.seats.get_mut(key) else { return };
        seat.private = Some(Box::new(last));
        seat.state = State::Ending;
        seat.since = self.rounds.now;
        self.send_last(key);
    }

    /// Closes a stream where it is.
    pub(super) fn leave(&mut self, key: u32, why: Why, how: Close) {
        self.depart(key, why);
        if let Some(seat) = self.seats.remove(key) {
            self.tally.readers -= 1;
            self.wire.close(seat.socket, how);
        }
    }

    /// Takes a reader out of its room, if it is still in it, and drops its occupant.
    fn depart(&mut self, key: u32, why: Why) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        let Some(occupant) = seat.occupant.take() else { return };
        seat.private = None;
        let (room_key, place) = (std::mem::replace(&mut seat.room, NOWHERE), seat.place);
        self.departed += 1;
        self.tally.ended[why.index()] += 1;
        if let Some(room) = self.rooms.get_mut(room_key) {
            let seats = &mut self.seats;
            room.members
                .remove(place, |key, place| seats.get_mut(key).expect("members have seats").place = place);
            if room.members.is_empty() {
                self.shut(room_key);
            } else {
                self.settle(room_key);
            }
        }
        drop(occupant);
    }

    /// Takes down a room that nobody is in.
    fn shut(&mut self, key: u32) {
        let Some(room) = self.rooms.remove(key) else { return };
        self.by_log.remove(&room.source.log());
        self.tally.rings -= 1;
        self.tally.ring_bytes -= room.ring.len() as i64;
        if room.queued {
            self.sweeps.retain(|&queued| queued != key);
            self.pauses.retain(|&(_, paused)| paused != key);
        }
        if room.warm {
            self.warm.retain(|&warm| warm != key);
        }
        room.source.leave(self.thread);
    }

    /// Sends the last bytes of an ended stream.
    pub(super) fn send_last(&mut self, key: u32) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        match give_private(seat, &mut self.wire, &mut self.scratch, &mut self.tally, self.rounds.now) {
            Given::All => {
                self.wire.finish(&seat.socket);
                seat.state = State::Lingering;
                seat.since = self.rounds.now;
            }
            Given::Some => {}
            Given::Gone => self.leave(key, Why::Left, Close::Gently),
        }
    }
}
