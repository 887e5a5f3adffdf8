//! What comes with time. No reader has a timer: a round passes all seats every [`ROUND`] ticks, a share of them
//! at each tick, and looks at who is due for something.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::{
    Occupant, ROUND, Rules, Source, Why,
    hall::{Hall, State},
    private::Private,
    ring::put_chunk,
    wire::{Close, Sent, Wire},
};
use crate::event::named;

/// Seats looked at between two looks at the mailbox.
const LOOKS: usize = 8192;

/// Ticks for which an empty ring keeps its memory after the last post.
const WARM: u32 = 12;

/// An empty ring with more memory than this (bytes) does not keep it.
const LARGE: usize = 64 << 10;

/// The clock and where the round is.
pub(super) struct Rounds {
    /// Ticks since the hall was opened; 34 years of the usual ones fit.
    pub(super) now: u32,
    /// The same in ms.
    pub(super) ms: u64,
    since_open: Duration,
    since_1970: Duration,
    tick: Duration,
    /// The next seat to look at, and how many are to be looked at by now.
    next: u32,
    owed: usize,
    /// Quiet for `ping` ticks and up to `spread` more: time for a ping.
    ping: u32,
    spread: u32,
    stuck: u32,
    linger: u32,
    drain: Option<Drain>,
}

struct Drain {
    from: u32,
    ticks: u32,
    window: Duration,
}

/// What a page sees of a ping.
#[derive(Serialize)]
struct Ping {
    /// ms since 1970.
    ts: u64,
}

impl Rounds {
    pub(super) fn new(rules: &Rules) -> Self {
        let ticks = |time: Duration| time.as_nanos().div_ceil(rules.tick.as_nanos()) as u32;
        // 15 s ± 20 %: drawn from 80 to 120 %, less what the round may come late.
        let (least, most) = (ticks(rules.ping * 4 / 5), ticks(rules.ping * 6 / 5));
        Rounds {
            now: 0,
            ms: 0,
            since_open: Duration::ZERO,
            since_1970: Duration::ZERO,
            tick: rules.tick,
            next: 0,
            owed: 0,
            ping: least,
            spread: (most - least).saturating_sub(ROUND + 1),
            stuck: ticks(rules.stuck),
            linger: ticks(rules.linger),
            drain: None,
        }
    }

    pub(super) fn drain(&mut self, window: Duration) {
        let ticks = window.as_nanos().div_ceil(self.tick.as_nanos()) as u32;
        self.drain = Some(Drain { from: self.now, ticks, window });
    }

    /// The window of a drain whose time is over.
    pub(super) fn over(&self) -> Option<Duration> {
        let drain = self.drain.as_ref()?;
        (self.now - drain.from >= drain.ticks).then_some(drain.window)
    }

    /// The window of the drain, if this reader's turn in it has come.
    fn drained(&self, key: u32) -> Option<Duration> {
        let drain = self.drain.as_ref()?;
        (self.now - drain.from >= draw(key, drain.from, drain.ticks)).then_some(drain.window)
    }

    fn ping_is_due(&self, key: u32, since: u32) -> bool {
        let quiet = self.now - since;
        quiet >= self.ping && quiet >= self.ping + draw(key, since, self.spread)
    }
}

/// A number up to and with `most`, the same for the same arguments: what spreads readers without a word of
/// memory for it (Fibonacci hashing, then the finish of MurmurHash3).
fn draw(key: u32, since: u32, most: u32) -> u32 {
    let mut x = key.wrapping_mul(0x9E37_79B9) ^ since.wrapping_mul(0x85EB_CA6B);
    x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
    x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
    x ^= x >> 16;
    ((u64::from(x) * (u64::from(most) + 1)) >> 32) as u32
}

impl<S: Source, O: Occupant, W: Wire> Hall<S, O, W> {
    /// Tells the time: since the hall was opened, by a clock that never goes back, and since 1970.
    pub fn clock(&mut self, since_open: Duration, since_1970: Duration) {
        let now = (since_open.as_nanos() / self.rules.tick.as_nanos()) as u32;
        let rounds = &mut self.rounds;
        let ticks = now - rounds.now;
        rounds.now = now;
        rounds.ms = since_open.as_millis() as u64;
        rounds.since_open = since_open;
        rounds.since_1970 = since_1970;
        if ticks > 0 {
            let seats = self.seats.bound() as usize;
            // While draining the share of a tick is everybody, so that short windows are kept too.
            let share = if rounds.drain.is_some() { seats } else { seats.div_ceil(ROUND as usize) };
            rounds.owed = rounds.owed.saturating_add(share.saturating_mul(ticks as usize)).min(seats);
            self.cool();
        }
    }

    /// How long there is nothing to do unless something comes; `None` for ever.
    pub fn rest(&self) -> Option<Duration> {
        let rounds = &self.rounds;
        if !self.sweeps.is_empty() || rounds.owed > 0 {
            return Some(Duration::ZERO);
        }
        let tick = (!self.seats.is_empty() || !self.warm.is_empty()).then(|| rounds.tick * (rounds.now + 1));
        let pause = self.pauses.iter().map(|&(due, _)| Duration::from_millis(due)).min();
        let next = tick.into_iter().chain(pause).min()?;
        Some(next.saturating_sub(rounds.since_open))
    }

    /// Looks at the seats that the clock says are to be looked at, up to a slice of them. Returns how many bytes
    /// were sent to, at most `budget`.
    pub(super) fn look_around(&mut self, budget: usize) -> usize {
        if self.rounds.owed == 0 {
            return 0;
        }
        let ping = self.ping();
        let mut sends = 0;
        for _ in 0..LOOKS {
            if self.rounds.owed == 0 || sends == budget {
                break;
            }
            if self.rounds.next >= self.seats.bound() {
                self.rounds.next = 0;
            }
            sends += usize::from(self.look_at(self.rounds.next, &ping));
            self.rounds.next += 1;
            self.rounds.owed -= 1;
        }
        sends
    }

    /// Does what time has brought to one reader; true if that sent something.
    fn look_at(&mut self, key: u32, ping: &[u8]) -> bool {
        let rounds = &self.rounds;
        let Some(seat) = self.seats.get(key) else { return false };
        let (state, waited) = (seat.state, rounds.now - seat.since);
        if let Some(occupant) = &seat.occupant {
            if u64::from(occupant.expires()) <= rounds.since_1970.as_secs() {
                self.end(key, Why::Expired, None);
                return true;
            }
            if let Some(window) = rounds.drained(key) {
                self.end(key, Why::Draining(window), None);
                return true;
            }
        }
        match state {
            State::Open => rounds.ping_is_due(key, seat.since) && self.ping_one(key, ping),
            State::Blocked if waited >= rounds.stuck => {
                // Room may have come without an edge yet: the kernel waits for a third of its buffer.
                self.resume(key);
                let still =
                    self.seats.get(key).is_some_and(|seat| self.rounds.now - seat.since >= self.rounds.stuck);
                if still {
                    self.leave(key, Why::Stuck, Close::Hard);
                }
                true
            }
            State::Ending if waited > rounds.linger => {
                self.leave(key, Why::Left, Close::Hard);
                false
            }
            State::Lingering if waited > rounds.linger => {
                self.leave(key, Why::Left, Close::Gently);
                false
            }
            State::Blocked | State::Ending | State::Lingering => false,
        }
    }

    /// Sends a ping to a reader that is at a chunk boundary, as all are that are open.
    fn ping_one(&mut self, key: u32, ping: &[u8]) -> bool {
        let Some(seat) = self.seats.get_mut(key) else { return false };
        let sent = self.wire.send(&seat.socket, ping);
        let n = if let Sent::Took(n) = sent { n } else { 0 };
        self.tally.bytes += n as i64;
        self.tally.sends += i64::from(n > 0);
        self.tally.pings += i64::from(n > 0);
        match sent {
            Sent::Gone => self.leave(key, Why::Left, Close::Gently),
            _ if n == ping.len() => {
                self.tally.deliveries += 1;
                seat.since = self.rounds.now;
            }
            _ => {
                self.tally.short_writes += 1;
                let rest = Bytes::copy_from_slice(&ping[n..]);
                seat.private = Some(Box::new(Private::begun(rest)));
                self.block(key);
            }
        }
        true
    }

    fn ping(&self) -> Vec<u8> {
        let ts = self.rounds.since_1970.as_millis() as u64;
        let mut chunk = Vec::new();
        put_chunk(&mut chunk, &named("ping", None, None, &Ping { ts }));
        chunk
    }

    /// Gives back the memory of rings that have been quiet, or had a burst.
    fn cool(&mut self) {
        let (rooms, now) = (&mut self.rooms, self.rounds.now);
        self.warm.retain(|&key| {
            let Some(room) = rooms.get_mut(key) else { return false };
            let quiet = now - room.posted > WARM;
            if room.ring.is_empty() && (quiet || room.ring.capacity() > LARGE) {
                room.ring.release();
                room.warm = false;
            }
            room.warm
        });
    }
}
