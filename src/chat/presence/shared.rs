//! The people of one room over many pods, as one of the pods takes part in it.
//!
//! The server has who is in; this pod has its own streams. Whoever's first stream opens here, or whose last one ends,
//! *waits* to be told to the server, *flies* while the server is told, and then is *settled*. What is told is what is
//! so at the moment of telling, so that many changes of one person are one, and saying something twice is no harm.
//! What the others in the room are told comes from the server alone, by [`Shared::hear`].

use std::time::Instant;

use super::{
    Change, Rules,
    here::{Ended, Entered, Here, Renamed},
    telling::Telling,
};
use crate::{
    event::{Name, RoomId, User, UserId, UserKind},
    log::{Move, Moved, Passed, Quiet, What},
    packed::Packed,
};

/// People without a stream here whose newest name is known to have been told; then it begins anew.
const NAMED: usize = 64;
/// People who may wait who came and went before the server heard of them: beyond it they are forgotten.
const WAITING: usize = 64;
/// People who were told to the server and not yet heard of, at most: somebody waits for that, and not for long.
const UNHEARD: usize = 1024;
/// While more are yet to be heard of, those who wait are not woken by each.
const CALM: usize = 64;

/// Somebody whose state here the server does not know, or may not.
#[derive(Debug)]
struct Waiting {
    /// The server may know that they were here.
    is_known: bool,
    /// The server forgot them, and nobody is to be told that they came.
    is_forgotten: bool,
    /// Who it was, when their grace ended in the meantime.
    gone: Option<User>,
}

/// Somebody of whom the server is being told.
#[derive(Debug)]
struct Flight {
    is_forgotten: bool,
    gone: Option<User>,
    /// It was heard already that they came.
    is_heard: bool,
}

/// One room of a pod among many.
#[derive(Debug)]
pub(crate) struct Shared {
    here: Here,
    telling: Telling,
    waiting: Packed<UserId, Waiting>,
    flying: Packed<UserId, Flight>,
    /// Came, as the server said, and the room has not heard of it yet.
    unheard: Packed<UserId, ()>,
    /// Names of people who speak here and listen elsewhere, as last told; those yet to be told.
    named: Packed<UserId, Name>,
    to_name: Vec<(UserId, Name)>,
    names_flying: usize,
    /// The server has people of this pod here, as far as it was told; and will, when those who fly have landed.
    is_held: bool,
    lands_held: bool,
    /// People on all pods, as last heard.
    online: Option<usize>,
    /// The last turn in which it was said.
    turn: u64,
    /// How often that was heard, now and when those who fly took off.
    heard: u64,
    heard_before: u64,
}

impl Shared {
    /// An empty room.
    pub(crate) fn new(rules: Rules) -> Self {
        Shared {
            here: Here::new(rules.grace),
            telling: Telling::new(rules),
            waiting: Packed::default(),
            flying: Packed::default(),
            unheard: Packed::default(),
            named: Packed::default(),
            to_name: Vec::new(),
            names_flying: 0,
            is_held: false,
            lands_held: false,
            online: None,
            turn: 0,
            heard: 0,
            heard_before: 0,
        }
    }

    /// A stream of this person opens here.
    pub(crate) fn enter(&mut self, user: UserId, name: &Name, kind: UserKind) {
        let is_renamed = self.here.rename(user, name) == Renamed::Changed;
        match self.here.enter(user, name, kind) {
            Entered::New => self.touch(user, false),
            Entered::Back => self.touch(user, true),
            Entered::More if is_renamed => self.touch(user, true),
            Entered::More => {}
        }
    }

    /// A stream of this person here is over.
    pub(crate) fn leave(&mut self, user: UserId, now: Instant) {
        if self.here.leave(user, now) == Ended::Stays {
            return;
        }
        let never_was = self.waiting.get_mut(&user).is_some_and(|waiting| !waiting.is_known);
        if never_was && self.waiting.len() > WAITING {
            self.waiting.remove(&user);
        } else {
            self.touch(user, true);
        }
    }

    /// This person has another name now; true when they were in here.
    pub(crate) fn rename(&mut self, user: UserId, name: &Name) -> bool {
        self.telling.rename(user, name);
        match self.here.rename(user, name) {
            Renamed::Changed if self.here.find(&user).is_some() => self.touch(user, true),
            // In their grace here; they may be on another pod.
            Renamed::Changed => self.name(user, name),
            Renamed::Same => {}
            Renamed::Unknown => return false,
        }
        true
    }

    /// This person, who may be in on another pod alone, has this name.
    pub(crate) fn name(&mut self, user: UserId, name: &Name) {
        if self.named.get_mut(&user).is_some_and(|known| known == name) {
            return;
        }
        if self.named.len() >= NAMED {
            self.named = Packed::default();
        }
        self.named.insert(user, name.clone());
        self.to_name.retain(|(other, _)| *other != user);
        if self.to_name.len() < NAMED {
            self.to_name.push((user, name.clone()));
        }
    }

    /// The server has another life and forgot everybody: they are all told again, and those in their grace too.
    pub(crate) fn restore(&mut self) {
        let all: Vec<UserId> = self.here.people().map(|user| user.id).collect();
        for user in all {
            self.touch(user, true);
        }
        self.waiting.each(|waiting| waiting.is_forgotten = true);
        self.unheard = Packed::default();
        self.is_held = false;
        self.online = None;
        self.turn = 0;
    }

    /// The server took this pod for dead: whoever is here is told again.
    pub(crate) fn tell_again(&mut self) {
        let all: Vec<UserId> = self.here.present().map(|user| user.id).collect();
        for user in all {
            self.touch(user, true);
        }
    }

    fn touch(&mut self, user: UserId, is_known: bool) {
        match self.waiting.get_mut(&user) {
            Some(waiting) => waiting.is_known |= is_known,
            None => {
                self.waiting.insert(user, Waiting { is_known, is_forgotten: false, gone: None });
            }
        }
    }

    /// Is there something to tell the server?
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.to_name.is_empty()
    }

    /// Does the server have this room for this pod, if it has forgotten nothing?
    pub(crate) fn is_held(&self) -> bool {
        !self.here.is_quiet() && self.waiting.is_empty() && self.flying.is_empty()
    }

    /// Up to `limit` moves to tell the server now; [`Shared::landed`] or [`Shared::failed`] has to come before the
    /// next. With `Quiet::Yes` nobody is told of who comes.
    pub(crate) fn take(&mut self, room: RoomId, limit: usize, quiet: Quiet) -> Vec<Move> {
        let next: Vec<UserId> = self.waiting.entries().iter().take(limit).map(|(user, _)| *user).collect();
        let mut moves = Vec::with_capacity(next.len());
        for user in next {
            let Some(Waiting { is_forgotten, gone, .. }) = self.waiting.remove(&user) else { continue };
            let what = match self.here.find(&user) {
                Some(User { name, kind, .. }) => {
                    What::Enter(name, kind, if is_forgotten { Quiet::Yes } else { quiet })
                }
                None => {
                    let again = self.here.find_leaving(&user).or_else(|| gone.clone());
                    let again = again.filter(|_| is_forgotten).map(|User { name, kind, .. }| (name, kind));
                    What::Leave { is_last: self.here.is_quiet(), again }
                }
            };
            self.flying.insert(user, Flight { is_forgotten, gone, is_heard: false });
            moves.push(Move { room, user, what });
        }
        self.names_flying = self.to_name.len().min(limit - moves.len());
        for (user, name) in &self.to_name[..self.names_flying] {
            moves.push(Move { room, user: *user, what: What::Rename(name.clone()) });
        }
        self.heard_before = self.heard;
        self.lands_held = !self.here.is_quiet();
        moves
    }

    /// The server did all of them.
    pub(crate) fn landed(&mut self, moved: &[Moved]) {
        let flying = std::mem::take(&mut self.flying);
        if self.unheard.len() > UNHEARD {
            self.unheard = Packed::default();
        }
        for ((user, flight), moved) in flying.entries().iter().zip(moved) {
            if moved.is_told && !flight.is_heard {
                self.unheard.insert(*user, ());
            }
        }
        self.to_name.drain(..self.names_flying);
        if self.is_held && moved.iter().any(|moved| moved.is_first) {
            // It had forgotten those who were here before.
            self.tell_again();
        }
        self.is_held = self.lands_held;
        if let Some(last) = moved.last() {
            self.counted(last.online, self.heard_before);
        }
    }

    /// Some of them may have been done.
    pub(crate) fn failed(&mut self) {
        for (user, flight) in std::mem::take(&mut self.flying).into_entries() {
            self.touch(user, true);
            if let Some(waiting) = self.waiting.get_mut(&user) {
                waiting.is_forgotten |= flight.is_forgotten;
                waiting.gone = waiting.gone.take().or(flight.gone);
            }
        }
        self.names_flying = 0;
        // So that what was not told of people is told, and what an answer said that was lost is so again.
        self.named = Packed::default();
        self.tell_again();
    }

    /// What the server said to all pods. Gives what to tell the others here.
    pub(crate) fn hear(&mut self, passed: Passed, now: Instant) -> Option<Change> {
        let Passed { turn, joined, left, online } = passed;
        self.heard += 1;
        if turn > self.turn {
            self.turn = turn;
            self.online = Some(online);
        }
        let online = self.online.unwrap_or(online);
        for person in joined {
            if let Some(flight) = self.flying.get_mut(&person.id) {
                flight.is_heard = true;
            }
            self.unheard.remove(&person.id);
            self.telling.came(person);
        }
        for person in left {
            self.telling.went(person);
        }
        self.telling.tell(now, online)
    }

    /// How often the number of people was heard; for [`Shared::counted`].
    pub(crate) fn heard(&self) -> u64 {
        self.heard
    }

    /// The server was asked how many people there are, when that had been heard `heard` times.
    pub(crate) fn counted(&mut self, online: usize, heard: u64) {
        if self.heard == heard {
            self.online = Some(online);
        }
    }

    /// What has become due by now.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Change> {
        while let Some(user) = self.here.gone(now) {
            let id = user.id;
            if let Some(waiting) = self.waiting.get_mut(&id) {
                waiting.gone = Some(user);
            } else if let Some(flight) = self.flying.get_mut(&id) {
                flight.gone = Some(user);
            }
        }
        self.telling.tell(now, self.online())
    }

    /// When [`Shared::tick`] is to be called next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.here.due().into_iter().chain(self.telling.due()).min()
    }

    /// Does the server know of this person here, and has the room heard of it?
    pub(crate) fn is_settled(&mut self, user: &UserId) -> bool {
        self.waiting.get_mut(user).is_none()
            && self.flying.get_mut(user).is_none()
            && self.unheard.get_mut(user).is_none()
    }

    /// Are so few yet to be heard of that whoever waits for one may look at each? In a storm they look less often.
    pub(crate) fn is_calm(&self) -> bool {
        self.unheard.len() <= CALM
    }

    /// Nobody waits for it any more.
    pub(crate) fn give_up(&mut self, user: &UserId) {
        self.unheard.remove(user);
    }

    /// How many people are in on all pods, as far as is known here.
    pub(crate) fn online(&self) -> usize {
        let here = self.here.online();
        match self.online {
            Some(online) if self.waiting.is_empty() && self.flying.is_empty() => online,
            // Who is here is here, whatever the server says of it later.
            known => known.unwrap_or(0).max(here),
        }
    }

    /// Who is in on this pod, up to `limit` of them.
    pub(crate) fn people(&self, limit: usize) -> Vec<User> {
        self.here.people().take(limit).collect()
    }
}

#[cfg(test)]
mod tests;
